/* SPDX-License-Identifier: MIT */
/*
 * JSON messages: which form it is, and what the forms share.
 *
 * An object with an object "metrics" is the Event form; one with "ts" and an object "values" is
 * ThingsBoard's; any other is flat: its numbers are the metrics. An array is a list of these.
 * On the topic of one metric a bare value will do.
 */
#include "decode_json.h"

#include <math.h>
#include <string.h>

#define OP "event.json"

int json_bad(struct json_msg *m)
{
	return decode_refuse(m->d, LT_REASON_DECODE, OP, "at byte %zu: %s",
		(size_t)(m->j.p - m->j.start), m->j.error);
}

void json_msg_begin(struct json_msg *m)
{
	m->h = (struct decode_head){.source = "", .stream = ""};
	m->meta = (struct json_meta){0};
	m->n_ignored = 0;
	shape_writer_reset(&m->s->writer);
	lt_buf_reset(&m->s->index);
	lt_buf_reset(&m->s->name);
	if (m->d->origin)
		lt_buf_str(&m->s->name, m->d->origin->metric);
}

int json_msg_add(struct json_msg *m, struct shape_text name, const struct shape_text *keys,
	const struct shape_text *values, size_t n_labels, double value)
{
	struct shape_writer *w = &m->s->writer;
	const struct lt_decode_limits *l = &m->d->limits;
	enum lt_kind kind;
	struct shape_text unit;

	if (w->n_series >= l->max_series)
		return decode_refuse(m->d, LT_REASON_LIMITS, OP,
			"more than limits.max_series = %u values", l->max_series);
	/* Short keys deep inside long ones: the names may be many times as long as the message. */
	if (w->shape.len + w->family.len > l->max_bytes)
		return decode_refuse(m->d, LT_REASON_LIMITS, OP,
			"the names of the series take more than limits.max_bytes = %zu",
			l->max_bytes);
	json_meta_find(&m->meta, name, shapes_seed(m->d->t), &kind, &unit);
	shape_writer_next_in(w, name, kind, keys, n_labels, unit);
	for (size_t i = 0; i < n_labels; i++)
		shape_writer_label(w, values[i].s, values[i].len);
	shape_writer_value(w, value);
	return LT_OK;
}

int json_msg_finish(struct json_msg *m)
{
	struct shape_writer *w = &m->s->writer;
	struct decode *d = m->d;
	struct lt_shape *shape;
	struct lt_event *e;
	int code;

	shape_writer_finish(w);
	code = decode_check(d, &m->h);
	if (code != LT_OK)
		return code;
	if (w->n_series == 0)
		return decode_refuse(d, LT_REASON_DECODE, OP,
			"no numeric value in it (%u members ignored)", m->n_ignored);
	if (d->n_events >= EVENT_LIST_MAX)
		return decode_refuse(
			d, LT_REASON_LIMITS, OP, "a list of more than %d events", EVENT_LIST_MAX);
	shape = shapes_intern(d->t, w->shape.data, w->shape.len, 0, &d->reason, d->err);
	if (!shape)
		return LT_EDATA;
	e = decode_add(d, &m->h, shape, lt_arena_dup(d->arena, w->values.data, w->values.len));
	e->n_ignored = m->n_ignored;
	return LT_OK;
}

int json_string(
	struct json_msg *m, const struct json_value *v, const char *what, const char **s, size_t *n)
{
	char *copy;

	if (v->type != JSON_STRING)
		return decode_refuse(m->d, LT_REASON_DECODE, OP, "%s must be a string", what);
	*s = v->s;
	*n = v->len;
	if (v->escaped) {
		copy = lt_arena_alloc(m->d->arena, v->len);
		*n = json_unescape(v, copy);
		*s = copy;
	}
	return LT_OK;
}

int json_u64(struct json_msg *m, const struct json_value *v, const char *what, uint64_t *out)
{
	size_t i;
	double x;

	*out = 0;
	if (v->type != JSON_NUMBER && v->type != JSON_STRING)
		return decode_refuse(m->d, LT_REASON_DECODE, OP, "%s must be a number", what);
	for (i = 0; i < v->len && v->s[i] >= '0' && v->s[i] <= '9'; i++)
		if (__builtin_mul_overflow(*out, 10, out) ||
			__builtin_add_overflow(*out, (uint64_t)(v->s[i] - '0'), out))
			*out = UINT64_MAX;
	if (i == v->len && i)
		return LT_OK;
	/* 1.7e1 is a whole number as well */
	if (!text_number(v->s, v->len, &x) || !(x >= 0) || x != floor(x))
		return decode_refuse(m->d, LT_REASON_DECODE, OP,
			"%s must be a whole number, not negative", what);
	*out = x > (double)LT_EXACT_INT ? UINT64_MAX : (uint64_t)x;
	return LT_OK;
}

bool json_scalar(struct json_msg *m, const struct json_value *v, double *out)
{
	const char *s;
	size_t n;

	switch (v->type) {
	case JSON_NUMBER:
		return text_number(v->s, v->len, out);
	case JSON_BOOL:
		*out = v->truth;
		return true;
	case JSON_NULL:
		*out = NAN;
		return true;
	case JSON_STRING:
		s = json_text(v, &m->s->text, &n);
		while (n && s[0] == ' ')
			s++, n--;
		while (n && s[n - 1] == ' ')
			n--;
		return text_number(s, n, out);
	default:
		return false;
	}
}

/* Behind the opening brace of an object that is an event. */
static int object(struct json_msg *m)
{
	struct json look = m->j, types, units;
	bool first = true, metrics = false, values = false, ts = false, has_types = false,
	     has_units = false;
	struct json_value key, v;
	int more;

	while ((more = json_member(&look, &first, &key)) > 0) {
		struct json at = look;

		if (!json_value(&look, &v) || !json_skip(&look, &v))
			break;
		if (key.escaped)
			continue;
		metrics |= v.type == JSON_OBJECT && key.len == 7 && !memcmp(key.s, "metrics", 7);
		values |= v.type == JSON_OBJECT && key.len == 6 && !memcmp(key.s, "values", 6);
		ts |= key.len == 2 && !memcmp(key.s, "ts", 2);
		if (key.len == 5 && !memcmp(key.s, "types", 5)) {
			has_types = true;
			types = at;
		} else if (key.len == 5 && !memcmp(key.s, "units", 5)) {
			has_units = true;
			units = at;
		}
	}
	if (more != 0) {
		m->j = look;
		return json_bad(m);
	}
	json_msg_begin(m);
	if (metrics)
		return json_event_form(m, has_types ? &types : NULL, has_units ? &units : NULL);
	return json_flat_form(m, values && ts);
}

/* Behind the opening bracket: events, or the elements of the topic's metric. */
static int array(struct json_msg *m, const struct json_value *v)
{
	struct json look = m->j;
	struct json_value x;
	bool first = true;
	int more = json_item(&look, &first), code;

	if (more == 0)
		return decode_refuse(m->d, LT_REASON_DECODE, OP, "an empty list");
	if (m->d->origin && m->d->origin->metric[0] && more > 0 && json_value(&look, &x) &&
		x.type != JSON_OBJECT) {
		json_msg_begin(m);
		code = json_flat_value(m, v);
		return code == LT_OK ? json_msg_finish(m) : code;
	}
	first = true;
	while ((more = json_item(&m->j, &first)) > 0) {
		if (!json_value(&m->j, &x))
			break;
		if (x.type != JSON_OBJECT)
			return decode_refuse(m->d, LT_REASON_DECODE, OP,
				"at byte %zu: a list must hold objects",
				(size_t)(m->j.p - m->j.start));
		code = object(m);
		if (code != LT_OK)
			return code;
	}
	return more == 0 ? LT_OK : json_bad(m);
}

int decode_json(struct decode *d, const char *p, size_t size)
{
	const struct lt_origin *o = d->origin;
	struct json_msg m = {.d = d, .s = shapes_scratch(d->t)};
	struct json_value v;
	int code;

	json_init(&m.j, p, size);
	while (m.j.p < m.j.end && (*m.j.p == ' ' || (*m.j.p >= '\t' && *m.j.p <= '\r')))
		m.j.p++;
	if (o && o->metric[0] && m.j.p < m.j.end && !strchr("{[\"", *m.j.p)) {
		json_msg_begin(&m);
		return json_flat_text(&m, m.j.p, (size_t)(m.j.end - m.j.p));
	}
	if (!json_value(&m.j, &v))
		return json_bad(&m);
	if (v.type == JSON_OBJECT) {
		code = object(&m);
	} else if (v.type == JSON_ARRAY) {
		code = array(&m, &v);
	} else if (o && o->metric[0]) {
		json_msg_begin(&m);
		code = json_flat_value(&m, &v);
		if (code == LT_OK)
			code = json_msg_finish(&m);
	} else {
		return decode_refuse(d, LT_REASON_DECODE, OP,
			"a bare value needs a metric's name in its topic: "
			"devices/<id>/metrics/<name>");
	}
	if (code == LT_OK && !json_end(&m.j))
		return json_bad(&m);
	return code;
}
