/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BUS_MQTT_H
#define LATIDO_BUS_MQTT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus_int.h"
#include "bus_queue.h"
#include "latido/mem.h"

/*
 * MQTT 5 over paho's asynchronous client, and why it looks like this.
 *
 * paho has one lock, one sending and one receiving thread for a whole process. It holds the lock
 * while it calls us, while it resolves host names, and it wants the lock to send. Therefore:
 *
 * - The loop's thread never calls paho. Each connection has a worker thread of ours that does:
 *   bus_mqtt.c (the loop's side) leaves requests in struct mq_worker, bus_mqtt_link.c carries them
 *   out and posts events. Both sides share struct mq_core under its one lock. Order of locks:
 *   paho's, then ours.
 * - paho acknowledges a message when the callback returns, and a callback that waited for space
 *   would stop all sending and every keep-alive of the process: a consumer that waits for its dead
 *   letter to be delivered would wait for ever. So the callback takes every message at once, and
 *   when bus.queue_bytes is reached the *connection* is given up: a regular DISCONNECT, the session
 *   stays at the broker and collects, and when half of the budget is free we connect again. What
 *   arrives until the DISCONNECT is through (a few packets) is over the budget; beyond twice the
 *   budget the callback waits PAUSE_SLICE_MS a message as a brake.
 * - For that, reading and publishing are two connections: <id> subscribes, <id>-pub publishes (and
 *   is opened with the first publish). A bus without topics has one connection, <id>. The last
 *   will belongs to the publishing one.
 * - Each attempt to connect gets a paho client of its own, destroyed afterwards: an attempt can be
 *   given up at any time, and no message is left in paho that it would send by itself.
 */

enum mq_role { MQ_RX = 0, MQ_TX, MQ_ROLES };

/* Publishes that the broker may owe us an answer for; a larger window gains nothing (measured). */
#define MQ_WINDOW_MAX       256
/* A quick reconnect is no death: the broker waits this long before it publishes the will. */
#define MQ_WILL_DELAY_S     5
/* Session of a publishing connection with a will; must outlive the delay. */
#define MQ_WILL_SESSION_S   30
/* The smallest limit on incoming packets that we ask of a broker, whatever bus.queue_bytes is. */
#define MQ_PACKET_MIN_BYTES (16 << 20)

enum mq_ev_type {
	MQ_EV_UP = 0,     /* CONNACK */
	MQ_EV_SUBSCRIBED, /* all filters granted */
	MQ_EV_FAILED,     /* connecting or subscribing failed */
	MQ_EV_LOST,
	MQ_EV_PAUSED, /* disconnected because the queue is full */
	MQ_EV_CLOSED, /* the link is destroyed: nothing comes from it any more */
};

/* What happened to a link, for the loop. */
struct mq_ev {
	struct mq_ev *next;
	enum mq_ev_type type;
	enum mq_role role;
	unsigned gen;
	bool session;        /* UP: the broker knows our session */
	uint32_t max_packet; /* UP: 0 = no limit */
	uint32_t window;     /* UP: Receive Maximum */
	bool takeover;       /* LOST: the broker said so */
	bool silent;         /* LOST: without a reason */
	struct lt_err err;   /* FAILED, LOST */
};

struct mq_core;
struct mq_worker;

/* One attempt to connect and the connection that comes of it. */
struct mq_link {
	struct mq_worker *w;
	unsigned gen;
	char *will_topic; /* NULL: no will */
	struct lt_buf will;
	void *handle; /* MQTTAsync; written by the worker before paho knows us */
	/* under core->lock */
	bool up;
	bool over;     /* FAILED, LOST or PAUSED is posted or being composed */
	bool pausing;  /* the callback asked for a DISCONNECT */
	bool diagnose; /* the attempt failed; the worker is to find out why */
	int fail_code;
	char fail_text[64];
	char tls_text[192];
};

/* One connection's worker thread and what it is asked to do; under core->lock. */
struct mq_worker {
	struct mq_core *core;
	enum mq_role role;
	bool started, exited;
	pthread_t thread;
	pthread_cond_t work;
	struct mq_link *open; /* to be opened */
	struct mq_link *cur;  /* opened */
	bool subscribe, close, quit;
	bool subscribed_before; /* with subscribe: retained messages only for new filters */
	struct lt_out *send, **send_end;
	/* set before the thread starts */
	char *client_id;
	bool clean_start;
	uint32_t expiry_s;
	/* the worker's own */
	unsigned address;     /* which of the host's addresses is tried */
	uint32_t keepalive_s; /* lowered when the broker wants it */
};

/*
 * Shared by the loop and the workers, and freed by the last of them: a worker that hangs in a name
 * server's time-out does not keep lt_bus_free() waiting.
 */
struct mq_core {
	pthread_mutex_t lock;
	pthread_cond_t idle;  /* for the loop: something it waits for may be over */
	pthread_cond_t space; /* for the callback */
	unsigned refs;
	bool detached; /* the bus is gone */
	struct lt_waker waker;
	struct lt_inq in;
	size_t limit_bytes;
	bool stopping; /* nothing more is wanted */
	struct mq_ev *events, **events_end;
	struct lt_out *acked, **acked_end;
	size_t unacked;   /* handed to a worker, result not known */
	uint64_t foreign; /* received but not asked for by any filter of ours */
	struct mq_worker w[MQ_ROLES];

	/* constant after init */
	char *host;
	int port;
	bool tls, verify_hostname, no_retained;
	char *username, *password, *ca_file, *cert_file, *key_file;
	int connect_timeout_s; /* more than the loop's own */
	char **topics;
	size_t n_topics;

	/* the loop's; here because the worker may outlive the bus while it holds some */
	struct lt_outq out;
};

/* ---- bus_mqtt_core.c ---- */

/** mq_core_new() - copies what the workers need of @conf, which may be gone before them. */
struct mq_core *mq_core_new(const struct lt_bus_conf *conf, const struct lt_bus_url *url,
	const struct lt_bus_options *opt);
/** mq_core_put() - drop one reference; called without the lock. */
void mq_core_put(struct mq_core *core);
/** mq_post() - queue an event for the loop; takes the lock. Return: the event's copy is owned. */
void mq_post(struct mq_worker *w, const struct mq_ev *ev);
void mq_wake_locked(struct mq_core *core);

int mq_worker_start(struct mq_worker *w, struct lt_err *err) LT_MUST_CHECK;
/** mq_worker_idle_locked() - no link is open or being opened or closed. */
bool mq_worker_idle_locked(const struct mq_worker *w);
struct mq_link *mq_link_new(struct mq_worker *w, unsigned gen);
void mq_link_free(struct mq_link *l);

/* ---- bus_mqtt_link.c: all that calls paho ---- */

/** mq_link_open() - start to connect; worker's thread. Results come as events. */
void mq_link_open(struct mq_link *l);
/** mq_link_subscribe() - @before: retained messages only for filters that are new. */
void mq_link_subscribe(struct mq_link *l, bool before);
/** mq_link_send() - hand one message to paho; @o may be gone when it returns. */
void mq_link_send(struct mq_link *l, struct lt_out *o);
/** mq_link_close() - DISCONNECT if connected, destroy, free: no callback comes after it. */
void mq_link_close(struct mq_link *l);
/** mq_link_diagnose() - turn a failed attempt into an error and post it. */
void mq_link_diagnose(struct mq_link *l);

/* ---- bus_mqtt_err.c ---- */

/** mq_err_connack() - why the broker refused us. Return: the code in @err. */
int mq_err_connack(const struct mq_worker *w, int reason, struct lt_err *err);
/** mq_err_subscribe() - a filter was refused. */
int mq_err_subscribe(const char *filter, int reason, struct lt_err *err);
/** mq_err_disconnect() - the broker sent a DISCONNECT. */
int mq_err_disconnect(const struct mq_worker *w, int reason, struct lt_err *err);
/** mq_err_puback() - the broker refused a message for good. */
int mq_err_puback(int reason, const char *topic, struct lt_err *err);
/** mq_err_tls() - @text is OpenSSL's error line, or empty. */
int mq_err_tls(const struct mq_core *core, const char *text, struct lt_err *err);
/** mq_err_tcp() - resolve and connect once more to see what is wrong. Return: LT_OK: nothing. */
int mq_err_tcp(const struct mq_core *core, struct lt_err *err);
/** mq_err_resolve() - @rc is getaddrinfo()'s. */
int mq_err_resolve(const struct mq_core *core, int rc, struct lt_err *err);

#endif
