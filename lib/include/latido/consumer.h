/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONSUMER_H
#define LATIDO_CONSUMER_H

#include "latido/bus.h"
#include "latido/config.h"
#include "latido/daemon.h"
#include "latido/event.h"

/*
 * The consumer runtime: poll -> decode -> batch -> sink -> done.
 *
 * The loop's thread polls the bus and decodes into one batch while the sink's thread makes the
 * other one durable. A batch goes to the sink when it is full, linger_ms old or we are draining,
 * and the sink is idle. Messages are given back to the bus only after the sink reported them
 * durable, or after their dead letter was accepted.
 */

/** struct lt_batch - events for the sink; read-only there, valid until put() returns */
struct lt_batch {
	struct lt_event **events; /* in order of arrival; none is NULL */
	size_t n;
	/*
	 * For sinks with positions(), on a bus with LT_BUS_PARTITIONS: what of each partition the
	 * batch stands for, with the messages that gave no event; at most one span a partition.
	 * Such a batch may have no events at all. Event e comes from e->msg->log, partition, offset.
	 */
	struct lt_bus_span *spans;
	size_t n_spans;
	struct lt_bus_span *gaps; /* as handler.lost() of the bus told them, in order */
	size_t n_gaps;
};

struct lt_sink;
struct lt_outbox;

/**
 * lt_outbox_put() - publish something about what was made durable (retained, QoS 1)
 *
 * For a sink's own news: an acknowledgement to each source. From any thread, never blocks. A
 * message that still waits is replaced by a newer one for the same topic; they leave in order of
 * their first arrival, a tenth of a second apart for a topic, and altogether at most one for every
 * LT_OUTBOX_SHARE messages that were consumed, but all when nothing has come for half a second, so
 * that answers never load the broker.
 *
 * The last one of each topic is remembered, and all are published again when the broker has
 * forgotten our session, and with it, perhaps, what it had retained.
 * @urgent: ahead of the others and without regard to that share: what a start finds out.
 */
void lt_outbox_put(
	struct lt_outbox *b, const char *topic, const void *data, size_t size, bool urgent);
#define LT_OUTBOX_SHARE 12

/**
 * struct lt_sink_ops - a place where events are made durable
 *
 * All but init and fini run on the sink's own thread and may block up to the configured timeout;
 * none sleeps or retries by itself. The runtime acts on the error's class: RETRY: the whole batch
 * again after a backoff; POISON: event *bad is dead-lettered and the rest put again; CONFIG and
 * FATAL: the daemon stops.
 */
struct lt_sink_ops {
	const char *name; /* "postgres", "redis": readiness and logs */
	size_t size;      /* of the implementation's struct, whose first member is struct lt_sink */
	int (*init)(struct lt_sink *s, const struct lt_config *conf, struct lt_err *err);
	/* Connect, migrate, load; called before the first put() and again after RETRY errors. */
	int (*open)(struct lt_sink *s, struct lt_err *err);
	/* Make all of @b durable or nothing of it matter: a batch may be put again. */
	int (*put)(struct lt_sink *s, const struct lt_batch *b, size_t *bad, struct lt_err *err);
	/* Chores (deferred writes, partitions, retention); called after open(), after every put() and
	 * when the time that it asked for has come. Return: ns until it wants to be called
	 * again, at most; < 0 = error in @err. May be NULL. */
	int64_t (*tick)(struct lt_sink *s, struct lt_err *err);
	/* The bytes of an announced shape, from what the sink keeps. LT_EAGAIN = not known. May be NULL. */
	int (*find_shape)(
		struct lt_sink *s, uint64_t hash, struct lt_buf *bytes, struct lt_err *err);
	/* The sink keeps where to read on, and moves it in put() together with the events. Sets
	 * .first of each part; < 0: nothing known of this one. NULL: the bus keeps it. */
	int (*positions)(
		struct lt_sink *s, struct lt_bus_span *parts, size_t n, struct lt_err *err);
	/* Last call on the sink's thread, draining: finish deferred writes. May be NULL. */
	int (*flush)(struct lt_sink *s, struct lt_err *err);
	void (*fini)(struct lt_sink *
			s); /* loop thread, after the sink's thread ended; also after a failed init */
};

struct lt_sink {
	const struct lt_sink_ops *ops;
	/* Abort what blocks (cancel a statement, close a socket); any thread. Set by init, may be NULL. */
	void (*interrupt)(struct lt_sink *s);
	/* Set by the runtime before init; NULL outside of one (tests). */
	struct lt_outbox *outbox;
};

struct lt_consumer;

struct lt_consumer_options {
	const char *comp; /* "hot", "store" */
	const struct lt_config *conf;
	const struct lt_batch_conf *batch;
	int64_t drain_timeout_ms;
	const struct lt_sink_ops *sink;
	bool backlog;          /* also read .../backlog */
	bool publishes;        /* as in lt_bus_options: more than a dead letter now and then */
	const char *inbox_dir; /* log of what devices send; NULL or empty = none */
	int64_t inbox_max_bytes;
	const char *client; /* names the client of the bus; NULL: comp */
	/* Every event, whoever else reads: no group, no session. What was missed is not sent later;
	 * on Kafka, reading begins at @since_ns. */
	bool everything;
	int64_t since_ns;
	void *arg;
	/* Loop thread; any may be NULL. */
	void (*bus_state)(void *arg, bool connected, bool resumed);
	void (*writable)(void *arg); /* the bus takes publishes again */
	bool (*finished)(void *arg); /* draining: may we leave? asked again after each report */
	void (*failed)(void *arg, const struct lt_err *err); /* CONFIG or FATAL */
	void (*drained)(void *arg, bool complete); /* complete: nothing accepted is missing */
};

struct lt_consumer *lt_consumer_new(
	const struct lt_consumer_options *opt, struct lt_loop *loop, struct lt_err *err);
int lt_consumer_start(struct lt_consumer *c, struct lt_err *err) LT_MUST_CHECK;
/** lt_consumer_drain() - stop reading, finish what was read, then drained(). */
void lt_consumer_drain(struct lt_consumer *c);
void lt_consumer_free(struct lt_consumer *c);
/** lt_consumer_sink() - the sink; it belongs to its own thread once it was started. */
struct lt_sink *lt_consumer_sink(struct lt_consumer *c);
/** lt_consumer_bus() - to publish on; loop thread. Delivery reports of others are not told. */
struct lt_bus *lt_consumer_bus(struct lt_consumer *c);

/*
 * A daemon that is one consumer: what its struct lt_daemon calls. start() takes over @opt's batch,
 * sink and backlog; the rest of it comes from @ctx.
 */
int lt_consumer_daemon_start(struct lt_ctx *ctx, const struct lt_consumer_options *opt,
	struct lt_err *err) LT_MUST_CHECK;
/** lt_consumer_daemon_new() - the same without lt_consumer_start(); ctx->priv is the consumer. */
int lt_consumer_daemon_new(struct lt_ctx *ctx, const struct lt_consumer_options *opt,
	struct lt_err *err) LT_MUST_CHECK;
void lt_consumer_daemon_drain(struct lt_ctx *ctx);
void lt_consumer_daemon_fini(struct lt_ctx *ctx);

#endif
