/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_EVENT_INT_H
#define LATIDO_EVENT_INT_H

#include "latido/event.h"
#include "shape_write.h"

/* What the files of lib/event share; nobody else includes it. */

/* Field numbers of schemas/latido/v1/event.proto; tests/integration/test_schema.py compares. */
enum event_field {
	EVENT_SOURCE = 1,
	EVENT_EPOCH = 2,
	EVENT_SEQ = 3,
	EVENT_TIME_UNIX_NANO = 4,
	EVENT_OLDEST_SEQ = 5,
	EVENT_SHAPE = 6,
	EVENT_VALUES = 7,
	EVENT_SHAPE_HASH = 8,
	EVENT_STREAM = 9,
	EVENT_PARTIAL = 10,
	EVENT_INTERVAL_MS = 11,
};
enum shape_field { SHAPE_FAMILY = 1 };
enum family_field {
	FAMILY_NAME = 1,
	FAMILY_KIND = 2,
	FAMILY_LABEL_KEY = 3,
	FAMILY_LABEL_VALUE = 4,
	FAMILY_UNIT = 5,
};

#define EVENT_UNIT_MAX       64    /* bytes of a unit */
#define EVENT_LIST_MAX       10000 /* events in one JSON message */
#define EVENT_DEFAULT_BYTES  (1 << 20)
#define EVENT_DEFAULT_SERIES 100000

/* ---- names.c ---- */

#define EVENT_QUOTE_LEN 72
/** event_quote() - @s for an error message: printable ASCII, cut, in double quotes. */
const char *event_quote(char out[EVENT_QUOTE_LEN], const void *s, size_t n);
/** event_metric_name() - append @s made into a metric name: other characters become '_'. */
void event_metric_name(struct lt_buf *out, const char *s, size_t n);

/* ---- shape_parse.c ---- */

struct shape_binding;

/** struct shape_entry - a shape in its table; the memory block also holds all it points to */
struct shape_entry {
	struct lt_shape s; /* first: an lt_shape in public is one of these */
	struct lt_shapes *table;
	uint32_t refs;
	uint32_t n_metrics;
	size_t mem; /* bytes of the block */
	const struct shape_metric *metrics;
	struct shape_entry *chain;         /* of its hash bucket */
	struct shape_entry *newer, *older; /* unreferenced ones, by last use */
	struct shape_binding *bindings;
};

/** struct shape_metric - what all series of one name share, in whatever families they come */
struct shape_metric {
	uint32_t first; /* its first series: name and kind */
	const char *unit;
};

struct shape_limits {
	uint32_t max_series;
	size_t max_bytes; /* of the parsed form */
};

/**
 * shape_parse() - check the bytes of a Shape message and build the table's entry
 * @seed: for hashing names that senders chose.
 *
 * Return: entry with refs = 0 and hash set, not in any list; NULL with @reason and @err.
 */
struct shape_entry *shape_parse(const void *bytes, size_t size, uint64_t hash,
	const struct shape_limits *limits, uint64_t seed, enum lt_reason *reason,
	struct lt_err *err);

/* ---- shapes.c ---- */

/** shapes_new() - lt_shapes_new() that keeps less than it accepts. */
struct lt_shapes *shapes_new(size_t max_bytes, uint32_t max_series, size_t max_shape_bytes);
/** shapes_seed() - for other tables keyed by what senders chose. */
uint64_t shapes_seed(const struct lt_shapes *t);

/**
 * shapes_intern() - lt_shapes_intern() for decoders
 * @claimed: the sender's shape_hash, 0 = none; it is verified.
 */
struct lt_shape *shapes_intern(struct lt_shapes *t, const void *bytes, size_t size,
	uint64_t claimed, enum lt_reason *reason, struct lt_err *err);
struct lt_shape *shapes_announced(
	struct lt_shapes *t, const char *source, size_t source_len, uint64_t hash);
void shapes_announce(
	struct lt_shapes *t, const char *source, size_t source_len, struct lt_shape *s);
/** struct decode_scratch - memory that JSON decoding keeps from message to message */
struct decode_scratch {
	struct shape_writer writer;
	struct lt_buf key, text;   /* strings without their escapes */
	struct lt_buf name, index; /* where in a device's document we are */
};
struct decode_scratch *shapes_scratch(struct lt_shapes *t);

/* ---- shape_bind.c ---- */

/** struct shape_bindings - which source announced which shape under which hash; bounded */
struct shape_bindings {
	struct shape_binding **bucket;
	uint32_t n_buckets, n, max;
	uint64_t seed;
	struct shape_binding *newest, *oldest;
};

void shape_bindings_init(struct shape_bindings *b, size_t table_bytes, uint64_t seed);
void shape_bindings_fini(struct shape_bindings *b);
struct shape_entry *shape_bindings_find(
	struct shape_bindings *b, const char *source, size_t source_len, uint64_t hash);
void shape_bindings_add(
	struct shape_bindings *b, const char *source, size_t source_len, struct shape_entry *e);
/** shape_bindings_drop() - forget all bindings of a shape that goes. */
void shape_bindings_drop(struct shape_bindings *b, struct shape_entry *e);

/* ---- decode.c ---- */

/** struct decode - one lt_decode() call */
struct decode {
	struct lt_shapes *t;
	struct lt_decode_limits limits;
	const struct lt_origin *origin;
	struct lt_arena *arena;
	enum lt_reason reason;
	uint64_t missing_hash;
	struct lt_err *err;
	struct lt_event *first, **tail;
	uint32_t n_events;
	bool identity; /* lt_identify(): a protobuf event's shape and values are not looked at */
};

/** struct decode_head - fields of an event as they stand in a payload, not yet checked */
struct decode_head {
	const char *source, *stream;
	size_t source_len, stream_len;
	uint64_t epoch, seq, oldest_seq;
	int64_t time_ns; /* 0 = none */
	uint32_t interval_ms;
	bool partial;
};

/** decode_refuse() - set reason and error. Return: LT_EDATA. */
int decode_refuse(struct decode *d, enum lt_reason reason, const char *op, const char *fmt, ...)
	LT_PRINTF(4, 5);
/** decode_check() - rules for the head, whatever the encoding; fills in the source. */
int decode_check(struct decode *d, struct decode_head *h);
/** decode_add() - append an event; takes over the reference to @shape. */
struct lt_event *decode_add(struct decode *d, const struct decode_head *h, struct lt_shape *shape,
	const uint8_t *values);

/* ---- decode_protobuf.c, decode_json.c ---- */

int decode_protobuf(struct decode *d, const uint8_t *p, size_t size);
int decode_json(struct decode *d, const char *p, size_t size);

#endif
