/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BUS_KAFKA_H
#define LATIDO_BUS_KAFKA_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "bus_int.h"
#include "bus_kafka_map.h"
#include "latido/clock.h"
#include "latido/log.h"
#include "latido/mem.h"
#include "latido/stats.h"

/*
 * Kafka by librdkafka; only lib/bus/bus_kafka*.c include this file.
 *
 * Everything runs on the loop's thread. librdkafka's own threads fill its queues and write to the
 * waker's descriptor. Three queues: events of the consumer (rebalances), events of the producer
 * (delivery reports), and messages. The first two are always served; messages stay in librdkafka
 * while bus.queue_bytes are held here, and librdkafka then stops fetching. What blocks in
 * librdkafka (metadata, watermarks) is asked by a thread of its own, bus_kafka_probe.c.
 */

/* How long one question to the brokers may take. */
#define KF_ASK_MS        2000
#define KF_TICK_NS       LT_NS_PER_S
#define KF_FORWARD_NS    (LT_NS_PER_S / 20)
#define KF_RESEND_NS     (LT_NS_PER_S / 2)
/* Ask again so often whether we may write meanwhile. */
#define KF_FORBIDDEN_NS  (2 * LT_NS_PER_S)
/* Look for new partitions and vanished topics this often. */
#define KF_LOOK_NS       (10 * LT_NS_PER_S)
#define KF_HEADERS_MAX   32
#define KF_MSG_OVERHEAD  256
#define KF_SERVE_MAX     1000
#define KF_UNKNOWN_TOPIC (-100000) /* pseudo code of a probe: a topic that is needed is missing */

struct kf;
struct kf_part;

/* A received message; one allocation besides librdkafka's. */
struct kf_in {
	struct lt_bus_msg m; /* first: lt_bus_done() gets it back as this */
	rd_kafka_message_t *rkm;
	struct kf_part *part;
	struct kf_in *next; /* of the partition, by offset */
	size_t cost_bytes;
	bool done;
};

/* One assignment of one partition; lives until its last message is done. */
struct kf_part {
	struct kf_part *next;
	struct lt_bus_span id;           /* log, partition; first: where reading starts */
	bool ours;                       /* not revoked */
	bool reading;                    /* handed to rd_kafka_assign() */
	bool asking;                     /* its limits are being asked */
	int64_t step, cleared;           /* offset that did not follow; explained up to */
	bool dirty;                      /* stored has not been told to librdkafka */
	int64_t stored;                  /* all below is done; -1: nothing yet */
	int64_t taken;                   /* next offset to come, -1: none came */
	struct kf_in *in_head, *in_tail; /* polled, oldest first; the head is not done */
};

/* An accepted publish. */
struct kf_out {
	struct kf_out *next; /* in the list of those to be sent again */
	uint64_t token;
	bool quiet;      /* at_most_once */
	bool kept;       /* the caller keeps it while permission is missing */
	bool main;       /* goes to the topic of the events */
	int64_t time_ms; /* its time stamp; 0 = when it is sent */
	/* only when it is to be sent again */
	char *log;
	void *data;
	size_t size;
	void *key;
	size_t key_len;
	rd_kafka_headers_t *headers;
};

/* What is asked of the brokers by the probe's thread, and the answer. */
struct kf_limits {
	struct kf_limits *next;
	struct lt_bus_span id; /* first, next: low and high watermark when rc is 0 */
	rd_kafka_resp_err_t rc;
	int64_t since; /* first offset accepted at kf.since_ms or later; -1: not asked */
};

struct kf_probe {
	struct kf *kf;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool running, quit;
	/* under the lock */
	rd_kafka_t *rk;          /* whom to ask */
	bool look, looked;       /* metadata wanted; answered */
	struct kf_limits *asked; /* watermarks wanted */
	struct kf_limits *known; /* answered */
	int rc;                  /* rd_kafka_resp_err_t or KF_UNKNOWN_TOPIC */
	const char *bad_log;     /* the topic that rc is about, or NULL */
	size_t n_logs;
	const char *logs[4];
	int32_t n_parts[4];
};

struct kf {
	struct lt_bus bus;
	char *comp, *group;
	char **filters;
	size_t n_filters;
	bool durable;
	int64_t since_ms; /* without a group: read from there; 0: from the end */
	bool opened, stopped, closing;
	rd_kafka_conf_t *in_conf, *out_conf; /* until open() */
	struct lt_waker waker;
	struct lt_timer tick, resend;
	struct lt_backoff backoff;

	bool connected;
	bool answers; /* brokers did when last looked for; connected is said when it has started, too */
	bool suspect; /* all brokers were reported down: look again */
	int64_t next_look_ns;
	struct lt_err last_error; /* what librdkafka complained about */
	struct lt_err posted;     /* to be told by state() */
	struct kf_probe probe;
	const char *names[8]; /* interned topic names */
	size_t n_names;

	/* consumer */
	rd_kafka_t *in;
	rd_kafka_queue_t *in_events, *msgs;
	const char *logs[4]; /* the one behind the last is NULL */
	size_t n_logs;
	size_t main_log; /* in logs: that of the events, or n_logs */
	struct kf_part *parts;
	bool cooperative;
	bool joined; /* had an assignment */
	size_t held_bytes, limit_bytes;
	bool want_readable; /* poll found nothing */
	bool starved;       /* because too much is held */
	bool blocked;       /* until a step in the offsets is explained */
	bool started;       /* without a group: partitions are set up */
	rd_kafka_message_t *batch[256];
	size_t batch_at, batch_n;

	/* producer */
	rd_kafka_t *out;
	rd_kafka_queue_t *out_events;
	size_t inflight; /* accepted and not reported, without at_most_once */
	size_t n_out;    /* with */
	bool want_writable;
	bool broken;             /* fatal error: to be replaced */
	struct lt_err forbidden; /* that was because we may not write; until a producer lives */
	int64_t forbidden_ns;    /* since then */
	struct lt_complaint forbids;
	struct kf_out *again, **again_end;
};

static inline struct kf *kf_of(struct lt_bus *b)
{
	return (struct kf *)b;
}

/* ---- bus_kafka_conf.c ---- */

/** kf_conf_make() - the configuration of a client; the caller owns it. NULL: @err names the key. */
rd_kafka_conf_t *kf_conf_make(struct kf *k, bool consumer, struct lt_err *err);

/* ---- bus_kafka.c ---- */

const char *kf_intern(struct kf *k, const char *name);
/** kf_note() - remember what librdkafka says is wrong; it explains a failed connection later. */
void kf_note(struct kf *k, rd_kafka_resp_err_t rc, const char *text);
void kf_wake(struct kf *k);
/** kf_error() - turn librdkafka's code into ours. @what: for the message. */
int kf_error(struct lt_err *err, int rc, const char *op, const char *what, const char *text);

/* ---- bus_kafka_in.c ---- */

int kf_in_open(struct kf *k, struct lt_err *err);
void kf_in_serve(struct kf *k);
/** kf_in_flush() - tell librdkafka what may be committed. */
void kf_in_flush(struct kf *k);
void kf_in_lag(struct kf *k);
size_t kf_in_poll(struct lt_bus *b, struct lt_bus_msg **out, size_t max);
void kf_in_done(struct lt_bus *b, struct lt_bus_msg *m);
bool kf_in_pending(struct kf *k);
void kf_in_fini(struct kf *k);

/* ---- bus_kafka_part.c ---- */

/** kf_part_find() - the partition if it is ours now, or NULL. */
struct kf_part *kf_part_find(struct kf *k, const char *log, int32_t partition);
/** kf_part_forget() - drop messages of @p (NULL: all) that were taken and not handed out yet. */
void kf_part_forget(struct kf *k, const struct kf_part *p);
/**
 * kf_part_forward() - every partition's messages to msgs, again
 *
 * librdkafka takes the forwarding off a partition's queue when it stops to fetch it, which it does some
 * time after it was told to; when reading starts again, also of the others in the eager protocol, nothing
 * would come out.
 */
void kf_part_forward(struct kf *k);
/** kf_part_rebalance() - the group gives us partitions or takes them. */
void kf_part_rebalance(struct kf *k, rd_kafka_event_t *ev);
/** kf_part_step() - true: @offset does not follow, and what that means is being asked. */
bool kf_part_step(struct kf *k, struct kf_part *p, int64_t offset);
/**
 * kf_part_complain() - log an error of the assignment and free it; NULL: nothing
 *
 * What librdkafka answers may be worth a line; a group that moved on meanwhile is not.
 */
void kf_part_complain(const char *what, rd_kafka_error_t *error);
void kf_part_seek(struct lt_bus *b, const struct lt_bus_span *parts, size_t n);
void kf_part_unread(struct lt_bus *b, const struct lt_bus_span *parts, size_t n);
/** kf_part_looked() - metadata is known: without a group, ask where the partitions end. */
void kf_part_looked(struct kf *k);
/** kf_part_limits() - the answer to kf_probe_limits(). */
void kf_part_limits(struct kf *k, const struct kf_limits *l);

/* ---- bus_kafka_out.c ---- */

int kf_out_publish(struct lt_bus *b, const struct lt_bus_out *m, struct lt_err *err);
int kf_out_open(struct kf *k, struct lt_err *err);
void kf_out_serve(struct kf *k);
/** kf_out_forbidden() - we may not write anything: say so, and try a new producer now and then. */
void kf_out_forbidden(struct kf *k);
void kf_out_resend(struct kf *k);
void kf_out_fini(struct kf *k);

/* ---- bus_kafka_probe.c ---- */

int kf_probe_start(struct kf_probe *p, struct kf *k, struct lt_err *err);
/** kf_probe_look() - ask for the metadata of all logs; kf_wake() when answered. */
void kf_probe_look(struct kf_probe *p);
/** kf_probe_limits() - ask for the watermarks of a partition; kf_part_limits() gets the answer. */
void kf_probe_limits(struct kf_probe *p, const struct lt_bus_span *part);
/** kf_probe_rk() - whom to ask from now on; waits until the former is not in use. NULL: nobody. */
void kf_probe_rk(struct kf_probe *p, rd_kafka_t *rk);
void kf_probe_stop(struct kf_probe *p);

/* Figures of this process's Kafka clients. */
struct kf_stats {
	struct lt_counter assigned, revoked, lost_spans, lost_offsets, resent, rebuilt, throttled,
		throttled_ms;
	struct lt_gauge partitions, lag, lag_max;
};
extern struct kf_stats kf_stats;

#endif
