/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BUS_H
#define LATIDO_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/config.h"
#include "latido/err.h"
#include "latido/loop.h"

/*
 * The transport. Implementations (mem, mqtt, kafka) sit behind one table; programs use the
 * lt_bus_*() functions only. Addresses are the MQTT topics of design.md section 3 on every bus:
 * the Kafka transport maps them to its own topics and keys and back (lib/bus/bus_kafka_map.c).
 * Everything here runs on the loop's thread; client library threads only push into bounded queues
 * and wake the loop.
 */

struct lt_bus;

enum lt_bus_caps {
	LT_BUS_DEFER_ACK = 1,  /* lt_bus_done() is what acknowledges to the broker */
	LT_BUS_PARTITIONS = 2, /* partition and offset are set; order holds inside a partition */
	LT_BUS_RETAIN = 4,     /* retained messages and wills */
	LT_BUS_HEADERS = 8,    /* headers are carried; elsewhere they are ignored */
};

struct lt_bus_header {
	const char *name;
	const void *value;
	size_t size;
};

/**
 * struct lt_bus_span - offsets [first, next) of one partition
 * @log: name of the Kafka topic; interned, valid as long as the bus.
 */
struct lt_bus_span {
	const char *log;
	int32_t partition;
	int64_t first, next;
};

/**
 * struct lt_bus_msg - one received message
 *
 * Belongs to the bus; the holder gives it back by lt_bus_done(). Everything it points to is valid
 * until then.
 */
struct lt_bus_msg {
	const char *topic; /* NUL-terminated */
	const char *key;   /* or NULL (MQTT) */
	const void *data;
	size_t size;
	const char *content_type; /* or NULL */
	int32_t partition;        /* -1 without LT_BUS_PARTITIONS */
	int64_t offset;           /* -1 likewise */
	const char *log;          /* as in lt_bus_span, or NULL */
	const struct lt_bus_header *headers;
	size_t n_headers;
	int64_t arrived_ns; /* wall clock when the client library handed it over */
	/* Since when it waits for us, wall clock: what Kafka noted (LogAppendTime), but never the clock
	 * of who sent it; else when the client library handed it over. */
	int64_t since_ns;
	bool retained;
	bool redelivered;
	struct lt_bus_msg *next; /* free for the holder */
	uint64_t kept;           /* what lt_bus_keep.keep() returned */
	bool replayed;           /* made by lt_bus_replay() */
};

/** struct lt_bus_out - one message to publish; borrowed for the call */
struct lt_bus_out {
	const char *topic;
	const char *key; /* or NULL */
	const void *data;
	size_t size;
	const char *content_type; /* or NULL */
	bool retain;
	bool at_most_once; /* QoS 0: no delivery report, never resent */
	bool kept;       /* the caller has it still: missing permission is told at once, LT_EAUTH */
	bool name_topic; /* with LT_BUS_HEADERS: header mqtt-topic in any case */
	int64_t time_ns; /* with LT_BUS_HEADERS: when it arrived; 0 = now */
	uint32_t expiry_s;                   /* 0 = none */
	uint64_t token;                      /* handed to delivered() */
	const struct lt_bus_header *headers; /* with LT_BUS_HEADERS */
	size_t n_headers;
};

/**
 * struct lt_bus_handler - what the bus tells its user, on the loop's thread
 *
 * All may be NULL. They are never called from inside an lt_bus_*() call of the user, and may call
 * all of them but lt_bus_free().
 */
struct lt_bus_handler {
	void *arg;
	/* connected; @resumed: the broker still has our session (subscriptions, queue). Or lost, or
	 * a connect failed: @err says why (class CONFIG: credentials, certificate; retried anyway).
	 * Connected twice in a row: the session was lost while reading had stopped. */
	void (*state)(void *arg, bool connected, bool resumed, const struct lt_err *err);
	/* there may be messages to lt_bus_poll() */
	void (*readable)(void *arg);
	/* after LT_EFULL: try again */
	void (*writable)(void *arg);
	/* exactly once for each accepted publish that is not at_most_once. LT_OK: the broker has it.
	 * LT_EDATA or LT_EAUTH: it refused this message for good. */
	void (*delivered)(void *arg, uint64_t token, int code, const struct lt_err *err);
	/* before each connect: the last will of this connection. Leave *topic NULL for none.
	 * @payload is empty; topic is borrowed until the call returns. The broker publishes it
	 * retained, at QoS 1, when the connection broke and is not back within seconds (MQTT: 5). */
	void (*will)(void *arg, const char **topic, struct lt_buf *payload);
	/* LT_BUS_PARTITIONS: set by users who keep their positions themselves. These partitions are
	 * ours from now on and are read once lt_bus_seek() has said from where. */
	void (*assigned)(void *arg, const struct lt_bus_span *parts, size_t n);
	/* [first, next) was deleted before it was read (retention), or next < first: the log is
	 * shorter than it was. Reading goes on at next. */
	void (*lost)(void *arg, const struct lt_bus_span *gap);
};

/**
 * struct lt_bus_keep - a log for received messages, written before the broker hears of it
 * @keep: on a thread of the client library, for QoS 1 and 2; may block for the time of a write.
 *	Return: a number for done(), or 0: not kept.
 * @done: from lt_bus_done(), loop thread.
 */
struct lt_bus_keep {
	void *arg;
	uint64_t (*keep)(void *arg, const struct lt_bus_msg *m);
	void (*done)(void *arg, uint64_t kept);
};

struct lt_bus_options {
	const char *comp;          /* names the client: "latido-<comp>-<host>" unless configured */
	bool durable;              /* keep the session (subscriptions and queue) over disconnects */
	const char *const *topics; /* to subscribe, MQTT filters; borrowed for the call */
	size_t n_topics;
	bool no_retained; /* do not send retained messages on subscription */
	bool publishes; /* with topics: connected only when it can publish, too; otherwise the way to
			 * publish may be opened by the first message, which takes MQTT a second or
			 * two */
	const struct lt_bus_keep *keep; /* NULL = none; borrowed for the life of the bus */
	/* LT_BUS_PARTITIONS, not durable: read from what was accepted at this time (wall clock) on;
	 * 0: only what comes from now on. */
	int64_t since_ns;
};

/**
 * lt_bus_new() - by the scheme of conf->url
 * @conf: borrowed for the life of the bus.
 *
 * No I/O. Return: NULL with @err (CONFIG) for an unknown scheme or a malformed URL.
 */
struct lt_bus *lt_bus_new(const struct lt_bus_conf *conf, const struct lt_bus_options *opt,
	const struct lt_bus_handler *handler, struct lt_loop *loop, struct lt_err *err);
unsigned lt_bus_caps(const struct lt_bus *b);
/** lt_bus_name() - "mqtt" etc., for logs and readiness. */
const char *lt_bus_name(const struct lt_bus *b);

/** lt_bus_open() - start connecting; goes on for ever, with capped, jittered backoff. */
int lt_bus_open(struct lt_bus *b, struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_bus_publish() - hand over one message; copies it
 *
 * Accepted messages are kept and sent again after a reconnect until the broker acknowledges them
 * (at least once), unless at_most_once.
 * Return: LT_OK; LT_EFULL: not connected or mqtt.max_inflight reached, writable() follows;
 * LT_EDATA: can never be sent (too large for the broker, bad topic); LT_ESTOPPED.
 */
int lt_bus_publish(struct lt_bus *b, const struct lt_bus_out *m, struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_bus_poll() - take up to @max received messages, oldest first; never blocks
 * Return: how many. 0: readable() follows.
 */
size_t lt_bus_poll(struct lt_bus *b, struct lt_bus_msg **out, size_t max);

/**
 * lt_bus_done() - the message is durable, dead-lettered or deliberately dropped; frees it
 *
 * Received messages that are not done count against bus.queue_bytes; when that is reached the bus
 * stops reading from the broker until half of it is free. A durable session collects meanwhile and
 * loses nothing, though the last messages before may come a second time; without one (MQTT),
 * messages of that time are not delivered. Publishing is not affected.
 */
void lt_bus_done(struct lt_bus *b, struct lt_bus_msg *m);

/**
 * lt_bus_seek() - answer to assigned(): read each partition from .first on
 *
 * first < 0: the user knows no position: the oldest that there is. Partitions that were taken away
 * meanwhile are passed over.
 */
void lt_bus_seek(struct lt_bus *b, const struct lt_bus_span *parts, size_t n);

/**
 * lt_bus_unread() - stop reading these partitions until lt_bus_seek() says from where
 *
 * Messages of them that are held stay valid until lt_bus_done(), and may come again. Partitions
 * that are not ours, or not being read, are passed over.
 */
void lt_bus_unread(struct lt_bus *b, const struct lt_bus_span *parts, size_t n);

/** lt_bus_replay() - a message that does not come from the bus; given back by lt_bus_done() too. */
struct lt_bus_msg *lt_bus_replay(
	const char *topic, const void *data, size_t size, const char *content_type);

/** lt_bus_inflight() - publishes accepted and not yet reported. */
size_t lt_bus_inflight(const struct lt_bus *b);

/**
 * lt_bus_stop_reading() - take nothing more from the broker (first step of draining)
 *
 * What was acknowledged to the broker before this returns is still delivered by lt_bus_poll();
 * after it nothing more is acknowledged, and a durable session gets it when it is opened again.
 * Publishing goes on. Blocks until the subscription is closed: about a millisecond, at most 1.5 s.
 */
void lt_bus_stop_reading(struct lt_bus *b);

/** lt_bus_free() - disconnect (regularly: no will is sent) and free; blocks for at most 2 s. */
void lt_bus_free(struct lt_bus *b);

/* ---- for implementations ---- */

/** struct lt_bus_ops - one transport; each member has the contract of its lt_bus_*() above */
struct lt_bus_ops {
	const char *scheme; /* "mem", "mqtt"; several URL schemes may share one table */
	size_t size; /* of the implementation's struct, whose first member is struct lt_bus */
	unsigned caps;
	int (*init)(struct lt_bus *b, const struct lt_bus_options *opt, struct lt_err *err);
	int (*open)(struct lt_bus *b, struct lt_err *err);
	int (*publish)(struct lt_bus *b, const struct lt_bus_out *m, struct lt_err *err);
	size_t (*poll)(struct lt_bus *b, struct lt_bus_msg **out, size_t max);
	void (*done)(struct lt_bus *b, struct lt_bus_msg *m);
	void (*seek)(struct lt_bus *b, const struct lt_bus_span *parts, size_t n);   /* or NULL */
	void (*unread)(struct lt_bus *b, const struct lt_bus_span *parts, size_t n); /* or NULL */
	size_t (*inflight)(const struct lt_bus *b);
	void (*stop_reading)(struct lt_bus *b);
	void (*fini)(struct lt_bus *b); /* also after a failed init */
};

struct lt_bus {
	const struct lt_bus_ops *ops;
	const struct lt_bus_conf *conf;
	struct lt_bus_handler handler;
	struct lt_loop *loop;
	const struct lt_bus_keep *keep;
	size_t told_held, told_inflight; /* see lt_bus_fill() */
};

#endif
