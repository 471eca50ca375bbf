/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_SINK_REDIS_WRITE_H
#define LATIDO_SINK_REDIS_WRITE_H

#include "latido/log.h"
#include "latido/sink_redis.h"
#include "sink_redis.h"
#include "sink_redis_stats.h"

/*
 * Commands to Redis and what follows from its answers. A batch is sent in pipelines; every answer
 * is read by hot_finish(), after which hot_settle() leaves the state consistent, failed or not.
 */

#define HOT_RENEW_NS (60 * LT_NS_PER_S) /* how often expiry times are set anew */

/* What the answer to a sent command is for; answers come in the order of sending. */
enum op_kind {
	OP_SHAPE_SET = 0,
	OP_SHAPE_RENEW,
	OP_SHAPE_GET,
	OP_XADD,
	OP_PUBLISH,
	OP_APPLY,
	OP_OTHER,
};

struct op {
	enum op_kind kind;
	const char *key; /* for messages: prefix */
	struct hot_source *source;
	struct hot_stream *stream;
	struct lt_shape *shape; /* borrowed from what holds it during the batch */
	int64_t event_ns;       /* 0: not measured */
	size_t redo;            /* OP_SHAPE_GET: for which one */
};

/* A write that Redis wants in another form. */
struct redo {
	struct hot_stream *stream;
	char wanted[HOT_SHAPE_HEX_LEN + 1]; /* the shape in there; "" = send all fields */
	struct lt_shape *old;               /* one reference */
};

struct vec {
	void *items;
	size_t n, cap;
};

struct sink_redis {
	struct lt_sink base;
	const struct lt_config *conf;
	struct lt_redis *redis;
	struct hot_state st;
	struct lt_redis_cmd cmd;
	struct lt_buf packed;
	struct vec ops;      /* struct op, from ops_read on not answered */
	struct vec redos;    /* struct redo */
	struct vec accepted; /* struct accepted */
	struct vec flying;   /* struct hot_stream * */
	struct vec renew;    /* struct hot_source *: whose window expires anew */
	size_t ops_read;
	bool was_open;
	bool meta_due;
	int64_t chores_mono_ns; /* when next */
	struct lt_complaint key_complaint;
	struct lt_complaint collision_complaint;
	struct lt_complaint wide_complaint;
	struct lt_complaint epoch_complaint;
};

/* An accepted event and where it goes. */
struct accepted {
	const struct lt_event *event;
	struct hot_stream *stream;
	struct lt_shape *shape;
	bool top;
};

static inline struct sink_redis *hot_sink(struct lt_sink *s)
{
	return (struct sink_redis *)s;
}

void *hot_vec_add(struct vec *v, size_t size);
#define VEC_ADD(v, type)   ((type *)hot_vec_add(v, sizeof(type)))
#define VEC_AT(v, type, i) (&((type *)(v)->items)[i])

/** hot_send() - put s->cmd into the pipeline; reads the answers when it has grown long. */
int hot_send(struct sink_redis *s, struct op op, struct lt_err *err);
/** hot_ensure_shapes() - what accepted events are packed by can be looked up by readers. */
int hot_ensure_shapes(struct sink_redis *s, struct lt_err *err);
/** hot_send_event() - to the window and to the live channel. */
int hot_send_event(struct sink_redis *s, const struct accepted *a, struct lt_err *err);
/** hot_write_source() - all pending frames of @src to its hash. */
int hot_write_source(struct sink_redis *s, struct hot_source *src, struct lt_err *err);
/** hot_send_meta() - latido:meta. */
int hot_send_meta(struct sink_redis *s, struct lt_err *err);
/** hot_finish() - read what is outstanding and grant what Redis asks for, until it asks no more. */
int hot_finish(struct sink_redis *s, struct lt_err *err);
/** hot_drop_redos() - forget Redis's wishes. */
void hot_drop_redos(struct sink_redis *s);
/** hot_settle() - end of a batch or chore that came out as @rc; a failed connection is dropped. */
void hot_settle(struct sink_redis *s, int rc);

#endif
