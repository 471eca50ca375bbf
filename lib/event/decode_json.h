/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_EVENT_DECODE_JSON_H
#define LATIDO_EVENT_DECODE_JSON_H

#include "event_int.h"
#include "json_read.h"
#include "shape_write.h"

/* What the files that decode JSON share. */

struct json_meta_slot;

/** struct json_meta - "types" and "units" of an event, by metric name */
struct json_meta {
	struct json_meta_slot *slots;
	uint32_t mask;
};

/** struct json_msg - one event being read */
struct json_msg {
	struct decode *d;
	struct json j;
	struct decode_scratch *s;
	struct decode_head h;
	struct json_meta meta;
	uint32_t n_ignored;
};

/* ---- decode_json.c ---- */

/** json_bad() - refuse for what m->j.error says. Return: LT_EDATA. */
int json_bad(struct json_msg *m);
/** json_msg_begin() - ready for the series of one event. */
void json_msg_begin(struct json_msg *m);
/** json_msg_add() - append a series; names and values are checked when the shape is parsed. */
int json_msg_add(struct json_msg *m, struct shape_text name, const struct shape_text *keys,
	const struct shape_text *values, size_t n_labels, double value);
/** json_msg_finish() - the event is complete: check it and append it to the result. */
int json_msg_finish(struct json_msg *m);
/** json_string() - a string that lives as long as the event; @what names it in the error. */
int json_string(struct json_msg *m, const struct json_value *v, const char *what, const char **s,
	size_t *n);
/** json_u64() - a whole number, or a string of one; above UINT64_MAX becomes that. */
int json_u64(struct json_msg *m, const struct json_value *v, const char *what, uint64_t *out);
/** json_scalar() - number, boolean, null (NaN), numeric text. Return: false when none of them. */
bool json_scalar(struct json_msg *m, const struct json_value *v, double *out);

/* ---- json_time.c ---- */

/**
 * json_time() - a time as number (ms, below 10^11 s), text of one, or RFC 3339
 * @out: 0 when the text is no time at all.
 * Return: LT_OK, or LT_EDATA: a time that int64 nanoseconds since 1970 cannot hold.
 */
int json_time(struct json_msg *m, const struct json_value *v, int64_t *out);
/** json_hora() - "YYYY-MM-DD HH:MM:SS", UTC unless an offset follows. Return: false: it is none. */
bool json_hora(const char *s, size_t n, int64_t *out);

/* ---- json_series.c ---- */

/** json_series() - add name{label="value",...}, labels in any order. */
int json_series(struct json_msg *m, const char *s, size_t n, double value);
/** json_meta_read() - read the objects at the bookmarks @types and @units (NULL: none). */
int json_meta_read(struct json_msg *m, const struct json *types, const struct json *units);
/** json_meta_find() - UNKNOWN and "" when the event does not say. */
void json_meta_find(const struct json_meta *meta, struct shape_text name, uint64_t seed,
	enum lt_kind *kind, struct shape_text *unit);

/* ---- json_event.c, json_device.c: m->j stands behind the opening brace ---- */

int json_event_form(struct json_msg *m, const struct json *types, const struct json *units);
/** json_flat_form() - @values: only the members of the object "values" are metrics (ThingsBoard). */
int json_flat_form(struct json_msg *m, bool values);
/** json_flat_value() - series of one value under the name in m->s->name. */
int json_flat_value(struct json_msg *m, const struct json_value *v);
/** json_flat_text() - a message that is no JSON, on the topic of one metric. */
int json_flat_text(struct json_msg *m, const char *s, size_t n);

#endif
