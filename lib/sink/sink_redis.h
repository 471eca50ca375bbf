/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_SINK_REDIS_PRIVATE_H
#define LATIDO_SINK_REDIS_PRIVATE_H

#include "latido/clock.h"
#include "latido/event.h"
#include "latido/redis_layout.h"
#include "latido/stats.h"

/*
 * What latido-hot remembers of each source between batches. It is a cache: Redis guards itself, so
 * losing any of it (restart, eviction) costs a full write instead of a delta and nothing else.
 *
 * Everything here runs on the sink's thread. Shapes are interned once more into a table of this
 * thread, because references to the runtime's shapes end with the batch.
 */

#define HOT_STREAMS_MAX   32 /* remembered of one source */
#define HOT_PENDING_MAX   16 /* partial frames of one stream that wait for their turn */
#define HOT_SHAPE_HEX_LEN (LT_REDIS_HASH_LEN - 1)

/** struct hot_shape - the sink's notes, in the user slot of a private lt_shape */
struct hot_shape {
	char hex[HOT_SHAPE_HEX_LEN + 1];
	unsigned generation; /* of hot_state when its key was last seen in Redis */
	int64_t seen_mono_ns;
	bool inline_only; /* the key is taken by other bytes: never refer to it by hash */
	size_t holders;   /* streams and frames */
	/* Field names that differ from the series text (see hot_field()), NULL when none does. */
	char **alias;
	uint32_t n_alias;
};

/** struct hot_frame - the values of one event, copied, in the terms of its private shape */
struct hot_frame {
	struct hot_frame *next;
	struct lt_shape *shape; /* one reference */
	uint8_t *values;
	size_t cap;
	uint64_t epoch, seq;
	int64_t time_ms; /* sampled, but not later than it arrived */
	uint32_t interval_ms;
	bool partial;
	bool guard; /* unnumbered with a time of its own: refuse what is older */
};

struct hot_mark {
	uint64_t epoch, seq;
	int64_t time_ms;
	bool any;
};

struct hot_source;

struct hot_stream {
	struct hot_stream *next;
	struct hot_source *source;
	struct hot_mark newest, saved; /* accepted; and as it was before this batch */
	uint64_t batch;                /* the one that @saved belongs to */
	int64_t used_mono_ns;
	struct lt_shape *shape;    /* of the last event, one reference */
	struct hot_frame *written; /* what Redis holds for sure; NULL = not known */
	struct hot_frame *pending; /* to be written, oldest first; several only of partial events */
	struct hot_frame *flying;  /* sent, answer not yet read */
	bool flying_full;
	char name[LT_STREAM_MAX + 1];
};

/* Intrusive list; a link that is in no list points to itself. */
struct hot_link {
	struct hot_link *prev, *next;
};

struct hot_source {
	struct hot_link lru;    /* by last event, oldest first */
	struct hot_link recent; /* by last hash write, oldest first; all that wait are in it */
	struct hot_source *chain;
	uint64_t name_hash;
	struct hot_stream *streams;
	unsigned n_streams;
	unsigned n_pending; /* streams with pending frames */
	uint64_t epoch, saved_epoch;
	struct hot_mark top, saved_top; /* of the window */
	uint64_t batch;
	int64_t seen_ms; /* largest in this batch */
	int64_t used_mono_ns, written_mono_ns;
	int64_t hash_expire_mono_ns, window_expire_mono_ns; /* when next to be renewed */
	double window_event_bytes;                          /* moving average */
	size_t bytes;
	char name[LT_SOURCE_MAX + 1];
};

struct hot_state {
	struct hot_source **buckets;
	size_t n_buckets, n_sources;
	uint64_t seed;
	struct hot_link lru, recent;
	struct lt_shapes *shapes;
	size_t bytes, max_bytes; /* of sources with their frames and the shapes they hold */
	size_t n_pending;        /* sources with something pending */
	int64_t interval_ns;     /* between two writes of one hash */
	int64_t idle_ns;         /* sources silent for longer are forgotten */
	uint64_t batch;
	unsigned generation; /* rises when Redis may have lost shapes */
	struct hot_frame *spare;
	size_t n_spare;
};

void hot_state_init(struct hot_state *st, double max_rate_hz, int64_t idle_ms, size_t max_bytes,
	size_t shape_bytes, uint32_t max_series);
void hot_state_fini(struct hot_state *st);

/** hot_begin() - start of a batch; hot_undo() takes back what is accepted from here on. */
void hot_begin(struct hot_state *st);

/** enum hot_verdict - what hot_accept() thinks of an event */
enum hot_verdict {
	HOT_OLD = 0, /* something newer was seen */
	HOT_NEW,     /* apply and publish; the window's top is already beyond it */
	HOT_TOP,     /* and append it to the window */
};

/**
 * hot_accept() - is this event news?
 * @out: its stream when it is.
 *
 * Return: HOT_OLD changes nothing. LT_EDATA < 0 when the shape cannot be parsed here.
 */
int hot_accept(struct hot_state *st, const struct lt_event *e, int64_t now_mono_ns,
	struct hot_stream **out, struct lt_err *err);
/** hot_epoch() - the newest epoch of a source; 0 = none known. */
uint64_t hot_epoch(const struct hot_state *st, const char *source);
/** hot_undo() - forget that @s and its source accepted anything in this batch. */
void hot_undo(struct hot_state *st, struct hot_stream *s);

/** hot_time_ms() - the event's time, but not later than it arrived. */
int64_t hot_time_ms(const struct lt_event *e);

/**
 * hot_stage() - the event's values wait to be written to the hash
 * @shape: the private one that hot_accept() found for it.
 *
 * Return: true when @s now holds so many partial frames that it must be written at once.
 */
bool hot_stage(struct hot_state *st, struct hot_stream *s, struct lt_shape *shape,
	const struct lt_event *e, int64_t now_mono_ns);

/** hot_due() - may the hash of @src be written at @now? */
bool hot_due(const struct hot_state *st, const struct hot_source *src, int64_t now_mono_ns);
/** hot_next_due_source() - a source whose deferred write is due, or NULL. */
struct hot_source *hot_next_due_source(struct hot_state *st, int64_t now_mono_ns);
/** hot_next_due_ns() - until one is due; INT64_MAX when nothing is pending. */
int64_t hot_next_due_ns(struct hot_state *st, int64_t now_mono_ns);
/** hot_any_pending() - a source with something pending, due or not; NULL = none. */
struct hot_source *hot_any_pending(struct hot_state *st);

/** hot_take_off() - pending frames of @s become flying; the source counts as written at @now. */
void hot_take_off(struct hot_state *st, struct hot_stream *s, int64_t now_mono_ns);
/** hot_landed() - the flying frames are in Redis. */
void hot_landed(struct hot_state *st, struct hot_stream *s);
/** hot_refused() - Redis has newer ones: drop what flew and what we thought to know. */
void hot_refused(struct hot_state *st, struct hot_stream *s);
/** hot_put_back() - not known whether they arrived: pending again, unless superseded. */
void hot_put_back(struct hot_state *st, struct hot_stream *s);
/** hot_forget_written() - the next write of @s is full. */
void hot_forget_written(struct hot_state *st, struct hot_stream *s);

/**
 * hot_evict() - forget idle sources, and the longest silent ones beyond the memory bound
 *
 * Sources with pending writes stay. Return: how many were forgotten.
 */
size_t hot_evict(struct hot_state *st, int64_t now_mono_ns);

/* ---- sink_redis_cmd.c ---- */

/** hot_shape_of() - the sink's notes on a private shape, made at first use. */
struct hot_shape *hot_shape_of(struct lt_shape *s);

/**
 * hot_field() - name of the hash field of series @i
 *
 * The series text, except that a series without labels whose name begins with '_' gets "{}"
 * appended (Prometheus reads it as the same series): "_epoch" and the like are ours.
 */
const char *hot_field(struct lt_shape *s, uint32_t i, size_t *len);

/** hot_shape_ref() - what stands in _shape: the hash, or "-" when it cannot be looked up by it. */
const char *hot_shape_ref(struct lt_shape *s);

/** struct hot_fcall - how to write a stream's flying frames */
struct hot_fcall {
	struct lt_shape *previous; /* fields of it that vanished are deleted; NULL = none */
	const char *previous_ref;  /* or NULL; "*" = reset what is unknown */
	int64_t expire_s;          /* 0 = leave */
	int64_t max_fields;
	size_t fields; /* out: written */
};

/**
 * hot_fcall_build() - FCALL latido_apply for the flying frames of @s
 * @st: s->flying_full says whether against s->written or all fields.
 */
void hot_fcall_build(struct lt_redis_cmd *c, struct hot_stream *s, struct hot_fcall *how);

/** hot_window_maxlen() - events that the window may hold by count and by bytes; at least 1. */
int64_t hot_window_maxlen(int64_t max_events, int64_t max_bytes, double event_bytes);

#endif
