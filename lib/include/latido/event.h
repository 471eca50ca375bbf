/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_EVENT_H
#define LATIDO_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/mem.h"

/*
 * One event is one snapshot: all values that one source sampled at one instant
 * (schemas/latido/v1/event.proto). The names and labels of the values are its shape: opaque bytes
 * that are parsed once and then recognised.
 */

#define LT_SOURCE_MAX       128 /* [A-Za-z0-9._:-]{1,128} */
#define LT_STREAM_MAX       64  /* same characters, may be empty */
#define LT_LABEL_NAME_MAX   128
#define LT_LABEL_VALUE_MAX  1024
#define LT_LABELS_MAX       32                  /* a series */
#define LT_EXACT_INT        (UINT64_C(1) << 53) /* seq and epoch stay at or below: JSON, Lua */
#define LT_EPOCH_KEY_STRLEN 20

enum lt_kind { LT_KIND_UNKNOWN = 0, LT_KIND_GAUGE = 1, LT_KIND_COUNTER = 2 };

struct lt_label {
	const char *name, *value; /* NUL-terminated, valid UTF-8 */
	uint16_t name_len, value_len;
};

/** struct lt_series - name and labels of one value */
struct lt_series {
	const char *name; /* metric name, NUL-terminated */
	const char *text; /* canonical: name{a="x",b="y"}, labels sorted, Prometheus escapes */
	uint32_t text_len;
	uint16_t name_len;
	uint8_t n_labels;
	uint8_t kind; /* enum lt_kind */
	const struct lt_label *labels;
};

/**
 * struct lt_shape - a parsed, validated, interned Shape; immutable
 *
 * Owned by its lt_shapes table and kept while referenced. Reference counts change on the table's
 * thread only; other threads may read a shape as long as an event that they hold refers to it.
 */
struct lt_shape {
	uint64_t hash;        /* XXH3-64 of bytes */
	const uint8_t *bytes; /* the serialized Shape message */
	size_t size;
	uint32_t n_series;
	_Atomic bool
		collides; /* another known shape has the same hash: never refer to it by hash */
	const struct lt_series *series;
	/* One slot for the process's sink (database ids, field names); the table frees it. */
	void *user;
	void (*user_free)(void *user);
};

/** struct lt_event - one decoded snapshot; borrows from its payload, its arena and the table */
struct lt_event {
	const char *source; /* NUL-terminated */
	const char *stream; /* "" = main */
	uint64_t epoch;     /* us; 0 = unnumbered */
	uint64_t seq;       /* 1, 2, ...; 0 = unnumbered */
	uint64_t oldest_seq;
	int64_t time_ns; /* sampled; arrival time when the sender gave none (see has_time) */
	uint32_t interval_ms;
	bool partial;
	bool has_time;          /* the sender gave a time; only then time_ns is encoded */
	bool device;            /* came on a device topic */
	struct lt_shape *shape; /* referenced by this event */
	const uint8_t *values;  /* n little-endian IEEE 754 doubles, unaligned */
	uint32_t n;             /* = shape->n_series */
	uint32_t n_ignored;     /* JSON: text and unknown keys that became no series */
	int64_t arrived_ns;     /* wall clock of the consumer */
	struct lt_event *next;  /* a JSON list yields several events from one message */
	struct lt_bus_msg *msg; /* set by the consumer runtime */
};

/** lt_event_value() - value @i. */
static inline double lt_event_value(const struct lt_event *e, uint32_t i)
{
	uint64_t bits;
	double v;

	__builtin_memcpy(&bits, e->values + 8 * (size_t)i, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	bits = __builtin_bswap64(bits);
#endif
	__builtin_memcpy(&v, &bits, 8);
	return v;
}

/* ---- the shape table ---- */

struct lt_shapes;

/**
 * lt_shapes_new() - table of known shapes
 * @max_bytes: memory for parsed shapes; least recently used, unreferenced ones are dropped first.
 * @max_series: of one shape.
 */
struct lt_shapes *lt_shapes_new(size_t max_bytes, uint32_t max_series);
void lt_shapes_free(struct lt_shapes *t);

/**
 * lt_shapes_intern() - the shape with these bytes, parsed and validated when new
 *
 * Known bytes are found by hash and compared as a whole: XXH3 is no defence against forgery.
 * Return: a shape with one more reference, or NULL with @err (POISON: says what is wrong and where).
 */
struct lt_shape *lt_shapes_intern(
	struct lt_shapes *t, const void *bytes, size_t size, struct lt_err *err);

/**
 * lt_shapes_announced() - the shape that @source announced under @hash
 *
 * Only shapes that this source itself sent inline, or that lt_shapes_announce() bound to it, are
 * found. Return: a shape with one more reference, or NULL.
 */
struct lt_shape *lt_shapes_announced(struct lt_shapes *t, const char *source, uint64_t hash);
void lt_shapes_announce(struct lt_shapes *t, const char *source, struct lt_shape *s);

void lt_shape_get(struct lt_shape *s);
/** lt_shape_put() - drop a reference; NULL is fine. */
void lt_shape_put(struct lt_shape *s);

struct lt_shapes_info {
	uint64_t shapes, bytes, hits, misses, evictions, collisions;
};
void lt_shapes_info(const struct lt_shapes *t, struct lt_shapes_info *out);

/* ---- decoding ---- */

/** enum lt_reason - why a message was refused; the word stands in the dead letter and in /metrics */
enum lt_reason {
	LT_REASON_NONE = 0,
	LT_REASON_DECODE,         /* not a well-formed event in any known encoding */
	LT_REASON_SHAPE_MISMATCH, /* shape_hash is not the hash of shape, or values do not fit it */
	LT_REASON_SOURCE_MISMATCH, /* payload and topic (or key) name different sources */
	LT_REASON_TOO_LARGE,       /* longer than limits.max_bytes */
	LT_REASON_LIMITS,        /* too many series, too long a name, bad characters, duplicates */
	LT_REASON_TIME_RANGE,    /* not representable */
	LT_REASON_CONFLICT,      /* refused by the sink */
	LT_REASON_UNKNOWN_SHAPE, /* announced shape that nobody could supply in time */
	LT_REASON_MAX,
};
const char *lt_reason_name(enum lt_reason r);

/** struct lt_origin - where a message came from */
struct lt_origin {
	char source[LT_SOURCE_MAX + 1];     /* from the topic or key */
	char metric[LT_LABEL_NAME_MAX + 1]; /* devices/<id>/metrics/<metric>, else "" */
	bool device;
	bool backlog;
	int64_t arrived_ns;
	const char *content_type; /* or NULL */
};

/**
 * lt_origin_from_topic() - read an MQTT metrics topic
 * @prefix: "latido/v1".
 *
 * Accepts <prefix>/nodes/<source>/metrics, .../backlog and <prefix>/devices/<id>/metrics[/<name...>]
 * (further levels join with '_').
 * Return: LT_OK or LT_EDATA.
 */
int lt_origin_from_topic(struct lt_origin *o, const char *prefix, const char *topic,
	struct lt_err *err) LT_MUST_CHECK;

bool lt_source_valid(const char *s, size_t n);
/** lt_metric_name_valid() - [a-zA-Z_:][a-zA-Z0-9_:]* of at most LT_LABEL_NAME_MAX bytes. */
bool lt_metric_name_valid(const char *s, size_t n);
bool lt_label_name_valid(const char *s, size_t n);

struct lt_decode_limits {
	size_t max_bytes;
	uint32_t max_series;
};

/**
 * lt_decode() - a message's events, whatever their encoding (protobuf, Event JSON, device JSON)
 * @t: shape table; inline shapes are interned and bound to their source.
 * @payload: must stay valid as long as the events (protobuf values are not copied).
 * @arena: owns the events; the caller holds one shape reference per event, dropped by
 *	lt_events_release().
 * @out: first event; the rest by ->next.
 * @reason: set when the code is LT_EDATA or LT_ESHAPE.
 *
 * An event with a known shape costs no allocation per value and parses no name. All or nothing:
 * when one event of a list is bad the message is refused.
 * Return: LT_OK; LT_EDATA (POISON); LT_ESHAPE: announced shape not known, @missing_hash says which.
 */
int lt_decode(struct lt_shapes *t, const struct lt_decode_limits *limits,
	const struct lt_origin *origin, const void *payload, size_t size, struct lt_arena *arena,
	struct lt_event **out, enum lt_reason *reason, uint64_t *missing_hash,
	struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_identify() - whose events a message holds, and which; for those who pass messages on
 *
 * As lt_decode(), but of a protobuf event only what lies outside of shape and values is looked at,
 * so an announced shape need not be known, and a wrong one is found by whoever decodes it. Such
 * events have no shape (NULL) and no values.
 * Return: LT_OK or LT_EDATA (POISON).
 */
int lt_identify(struct lt_shapes *t, const struct lt_decode_limits *limits,
	const struct lt_origin *origin, const void *payload, size_t size, struct lt_arena *arena,
	struct lt_event **out, enum lt_reason *reason, struct lt_err *err) LT_MUST_CHECK;

/** lt_events_release() - drop the shape references of a list of events. */
void lt_events_release(struct lt_event *first);

/* ---- encoding ---- */

/**
 * lt_encode_protobuf() - append the wire form of @e
 * @inline_shape: true: shape and hash; false: the hash alone.
 */
void lt_encode_protobuf(const struct lt_event *e, bool inline_shape, struct lt_buf *out);
/**
 * lt_encode_json() - append the JSON form; NaN is null, infinities "+Inf" and "-Inf"
 *
 * Lossless: lt_decode() makes the same event of it, kinds and units included ("types", "units").
 */
void lt_encode_json(const struct lt_event *e, struct lt_buf *out);

/* ---- building (producers) ---- */

/**
 * struct lt_snapshot - builds the shape and the values of one event, family by family
 *
 * Reused from tick to tick without allocation once it has grown. When the names are the same as
 * last time, lt_snapshot_event() returns the same shape.
 */
struct lt_snapshot;

struct lt_snapshot *lt_snapshot_new(uint32_t max_series);
void lt_snapshot_free(struct lt_snapshot *s);
void lt_snapshot_begin(struct lt_snapshot *s);
/**
 * lt_snapshot_family() - start a family
 * @keys: label names, sorted; borrowed until the next family or _event().
 *
 * A family that gets no row is left out. A family name may be started once only.
 */
void lt_snapshot_family(struct lt_snapshot *s, const char *name, enum lt_kind kind,
	const char *const *keys, size_t n_keys);
/**
 * lt_snapshot_row() - add a value
 * @label_values: n_keys strings. One with invalid UTF-8 or of more than LT_LABEL_VALUE_MAX bytes is
 *	repaired and gets "~" and a hash behind it, so that different ones stay different.
 */
void lt_snapshot_row(struct lt_snapshot *s, const char *const *label_values, double value);
/** lt_snapshot_value() - a family without labels and its one value. */
void lt_snapshot_value(struct lt_snapshot *s, const char *name, enum lt_kind kind, double value);
/**
 * lt_snapshot_stats() - this process's own counters and gauges (stats.h) as families; loop thread
 * @name: this one only, if there is one; NULL: all. Histograms are passed over.
 * @texts: scratch space; as it was afterwards.
 *
 * A row whose label names are not those of the first one of its name is left out.
 */
struct lt_arena;
void lt_snapshot_stats(struct lt_snapshot *s, const char *name, struct lt_arena *texts);
/**
 * lt_snapshot_event() - finish: fills shape, values and n of @e
 *
 * They stay valid until the next _begin(); the caller sets the other fields.
 * Return: LT_OK, or LT_EDATA when the series are not valid (duplicate names, too many).
 */
int lt_snapshot_event(struct lt_snapshot *s, struct lt_event *e, struct lt_err *err) LT_MUST_CHECK;

#endif
