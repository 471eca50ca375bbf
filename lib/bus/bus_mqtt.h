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
 *   bus_mqtt.c (the loop's side) leaves requests in struct lt_mq_worker, bus_mqtt_link.c carries them
 *   out and posts events. Both sides share struct lt_mq_core under its one lock. Order of locks:
 *   paho's, then ours.
 * - paho acknowledges a message when the callback returns, and a callback that waited for space
 *   would stop all sending and every keep-alive of the process: a consumer that waits for its dead
 *   letter to be delivered would wait for ever. So the callback takes every message at once, and
 *   when bus.queue_bytes is reached the *connection* is given up: a regular DISCONNECT, the session
 *   stays at the broker and collects, and when half of the budget is free we connect again. What
 *   arrives until the DISCONNECT is through (a few packets) is over the budget; beyond twice the
 *   budget the callback waits PAUSE_SLICE_MS a message as a brake. Because connecting takes paho up
 *   to two seconds, it brakes for BRAKE_MS a message in the last quarter of the budget already: a
 *   user who is slower than the broker, but works, keeps the connection. Not before the
 *   subscription is granted: with a backlog behind it the SUBSCRIBE would not get through.
 * - For that, reading and publishing are two connections: <id> subscribes, <id>-pub publishes (and
 *   is opened with the first publish). A bus without topics has one connection, <id>. The last
 *   will belongs to the publishing one.
 * - Each attempt to connect gets a paho client of its own, destroyed afterwards: an attempt can be
 *   given up at any time, and no message is left in paho that it would send by itself.
 */

enum lt_mq_role { LT_MQ_RX = 0, LT_MQ_TX, LT_MQ_ROLES };

/* Publishes that the broker may owe us an answer for; a larger window gains nothing (measured). */
#define LT_MQ_WINDOW_MAX       256
/* A quick reconnect is no death: the broker waits this long before it publishes the will. */
#define LT_MQ_WILL_DELAY_S     5
/* Session of a publishing connection with a will; must outlive the delay. */
#define LT_MQ_WILL_SESSION_S   30
/* The smallest limit on incoming packets that we ask of a broker, whatever bus.queue_bytes is. */
#define LT_MQ_PACKET_MIN_BYTES (16 << 20)

enum lt_mq_ev_type {
	LT_MQ_EV_UP = 0,     /* CONNACK */
	LT_MQ_EV_SUBSCRIBED, /* all filters granted */
	LT_MQ_EV_FAILED,     /* connecting or subscribing failed */
	LT_MQ_EV_LOST,
	LT_MQ_EV_PAUSED, /* disconnected because the queue is full */
	LT_MQ_EV_CLOSED, /* the link is destroyed: nothing comes from it any more */
};

/* What happened to a link, for the loop. */
struct lt_mq_ev {
	struct lt_mq_ev *next;
	enum lt_mq_ev_type type;
	enum lt_mq_role role;
	unsigned gen;
	bool session;        /* UP: the broker knows our session */
	uint32_t max_packet; /* UP: 0 = no limit */
	uint32_t window;     /* UP: Receive Maximum */
	bool takeover;       /* LOST: the broker said so */
	bool silent;         /* LOST: without a reason */
	struct lt_err err;   /* FAILED, LOST */
};

struct lt_mq_core;
struct lt_mq_worker;

/* One attempt to connect and the connection that comes of it. */
struct lt_mq_link {
	struct lt_mq_worker *w;
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
struct lt_mq_worker {
	struct lt_mq_core *core;
	enum lt_mq_role role;
	bool started, exited;
	pthread_t thread;
	pthread_cond_t work;
	struct lt_mq_link *open; /* to be opened */
	struct lt_mq_link *cur;  /* opened */
	bool subscribe, close, quit;
	bool subscribed_before; /* with subscribe: retained messages only for new filters */
	bool subscribing;       /* from the wish until it is granted, or the link is closed */
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
struct lt_mq_core {
	pthread_mutex_t lock;
	pthread_cond_t idle;  /* for the loop: something it waits for may be over */
	pthread_cond_t space; /* for the callback */
	unsigned refs;
	bool detached; /* the bus is gone */
	struct lt_waker waker;
	struct lt_inq in;
	size_t limit_bytes;
	int64_t given_back_ns; /* lt_mono_ns() of the last time */
	bool stopping;         /* nothing more is wanted */
	struct lt_mq_ev *events, **events_end;
	struct lt_out *acked, **acked_end;
	size_t unacked; /* handed to a worker, result not known */
	struct lt_mq_worker w[LT_MQ_ROLES];

	/* constant after init */
	char *host;
	int port;
	bool tls, verify_hostname, no_retained;
	const struct lt_bus_keep *keep; /* NULL when the bus is gone; under lock */
	char *username, *password, *ca_file, *cert_file, *key_file;
	int connect_timeout_s; /* more than the loop's own */
	char **topics;
	size_t n_topics;

	/* the loop's; here because the worker may outlive the bus while it holds some */
	struct lt_outq out;
};

/*
 * The loop's end of the queue of received messages. What was given back is still in the queue, and
 * counts there, until lt_mq_in_flush() or the next lt_mq_in_poll().
 */
struct lt_mq_in {
	struct lt_mq_core *core;
	lt_loop_fn readable;
	void *arg;
	struct lt_timer look;
	int64_t told_ns;   /* when the user was last told to poll */
	bool dense;        /* not long after the time before */
	bool found;        /* and there was something */
	size_t held_bytes; /* as far as the loop has seen, without what was given back */
	struct lt_in *back;
	size_t n_back, back_bytes;
};

/* ---- bus_mqtt_in.c ---- */

/** lt_mq_in_init() - @readable: there may be messages to poll. */
void lt_mq_in_init(struct lt_mq_in *in, struct lt_mq_core *core, struct lt_loop *loop,
	lt_loop_fn readable, void *arg);
/** lt_mq_in_fini() - safe on a zeroed one. What was given back is the queue's to free. */
void lt_mq_in_fini(struct lt_mq_in *in);
/** lt_mq_in_announce() - the queue had become readable. */
void lt_mq_in_announce(struct lt_mq_in *in);
size_t lt_mq_in_poll(struct lt_mq_in *in, struct lt_bus_msg **out, size_t max);
/** lt_mq_in_done() - give a message back. Return: lt_mq_in_flush() is due. */
bool lt_mq_in_done(struct lt_mq_in *in, struct lt_bus_msg *m);
void lt_mq_in_flush(struct lt_mq_in *in);

/* ---- bus_mqtt_core.c ---- */

/** lt_mq_core_new() - copies what the workers need of @conf, which may be gone before them. */
struct lt_mq_core *lt_mq_core_new(const struct lt_bus_conf *conf, const struct lt_bus_url *url,
	const struct lt_bus_options *opt);
/** lt_mq_core_put() - drop one reference; called without the lock. */
void lt_mq_core_put(struct lt_mq_core *core);
/** lt_mq_post() - queue a copy of an event for the loop and wake it; takes the lock. */
void lt_mq_post(struct lt_mq_worker *w, const struct lt_mq_ev *ev);
void lt_mq_wake_locked(struct lt_mq_core *core);

int lt_mq_worker_start(struct lt_mq_worker *w, struct lt_err *err) LT_MUST_CHECK;
/** lt_mq_worker_idle_locked() - no link is open or being opened or closed. */
bool lt_mq_worker_idle_locked(const struct lt_mq_worker *w);
struct lt_mq_link *lt_mq_link_new(struct lt_mq_worker *w, unsigned gen);
void lt_mq_link_free(struct lt_mq_link *l);

/* ---- bus_mqtt_link.c: all that calls paho ---- */

/** lt_mq_link_open() - start to connect; worker's thread. Results come as events. */
void lt_mq_link_open(struct lt_mq_link *l);
/** lt_mq_link_subscribe() - @before: retained messages only for filters that are new. */
void lt_mq_link_subscribe(struct lt_mq_link *l, bool before);
/** lt_mq_link_send() - hand one message to paho; @o may be gone when it returns. */
void lt_mq_link_send(struct lt_mq_link *l, struct lt_out *o);
/** lt_mq_link_close() - DISCONNECT if connected, destroy, free: no callback comes after it. */
void lt_mq_link_close(struct lt_mq_link *l);
/** lt_mq_link_diagnose() - turn a failed attempt into an error and post it. */
void lt_mq_link_diagnose(struct lt_mq_link *l);

/* ---- bus_mqtt_err.c ---- */

/** lt_mq_err_connack() - why the broker refused us. Return: the code in @err. */
int lt_mq_err_connack(const struct lt_mq_worker *w, int reason, struct lt_err *err);
/** lt_mq_err_subscribe() - a filter was refused. */
int lt_mq_err_subscribe(const char *filter, int reason, struct lt_err *err);
/** lt_mq_err_disconnect() - the broker sent a DISCONNECT. */
int lt_mq_err_disconnect(const struct lt_mq_worker *w, int reason, struct lt_err *err);
/** lt_mq_err_puback() - the broker refused a message for good. */
int lt_mq_err_puback(int reason, const char *topic, struct lt_err *err);
/** lt_mq_err_tls() - @text is OpenSSL's error line, or empty. */
int lt_mq_err_tls(const struct lt_mq_core *core, const char *text, struct lt_err *err);
/** lt_mq_err_tcp() - resolve and connect once more to see what is wrong. Return: LT_OK: nothing. */
int lt_mq_err_tcp(const struct lt_mq_core *core, struct lt_err *err);
/** lt_mq_err_resolve() - @rc is getaddrinfo()'s. */
int lt_mq_err_resolve(const struct lt_mq_core *core, int rc, struct lt_err *err);

#endif
