/* SPDX-License-Identifier: MIT */
/*
 * What devices send as it is: {"temp":21.5}, {"AM2301":{"Temperature":21.5}}, {"ts":..,"values":{..}},
 * 21.5. Nested names join with '_', elements of arrays get the label index, text that is no number
 * is passed over.
 */
#include "decode_json.h"

#include <string.h>

#define OP "event.json"

/* Numbers lie this deep at most. */
#define DEPTH_MAX 32

static int add(struct json_msg *m, double x)
{
	static const struct shape_text key = {"index", 5};
	struct shape_text name = {m->s->name.data, m->s->name.len};
	struct shape_text index = {m->s->index.data, m->s->index.len};
	char quoted[EVENT_QUOTE_LEN];

	if (name.len > LT_LABEL_NAME_MAX)
		return decode_refuse(m->d, LT_REASON_LIMITS, OP,
			"metric name %s is longer than %d bytes",
			event_quote(quoted, name.s, name.len), LT_LABEL_NAME_MAX);
	return json_msg_add(m, name, &key, &index, index.len > 0, x);
}

static int value(struct json_msg *m, const struct json_value *v, unsigned depth);

/* Appends to a name or index; the caller cuts it off again. */
static void append(struct lt_buf *b, const char *sep)
{
	if (b->len)
		lt_buf_str(b, sep);
}

static void cut(struct lt_buf *b, size_t len)
{
	b->len = len;
	if (b->data)
		b->data[len] = '\0';
}

static int member(
	struct json_msg *m, const char *key, size_t n, const struct json_value *v, unsigned depth)
{
	size_t len = m->s->name.len;
	int code;

	append(&m->s->name, "_");
	event_metric_name(&m->s->name, key, n);
	code = value(m, v, depth);
	cut(&m->s->name, len);
	return code;
}

static int object(struct json_msg *m, unsigned depth)
{
	struct json_value key, v;
	bool first = true;
	int more, code;

	while ((more = json_member(&m->j, &first, &key)) > 0) {
		size_t n;
		const char *s;

		if (!json_value(&m->j, &v))
			break;
		s = json_text(&key, &m->s->text, &n);
		code = member(m, s, n, &v, depth);
		if (code != LT_OK)
			return code;
	}
	return more == 0 ? LT_OK : json_bad(m);
}

static int array(struct json_msg *m, unsigned depth)
{
	size_t len = m->s->index.len;
	struct json_value v;
	bool first = true;
	int more, code;

	for (unsigned i = 0; (more = json_item(&m->j, &first)) > 0; i++) {
		if (!json_value(&m->j, &v))
			break;
		append(&m->s->index, ".");
		lt_buf_printf(&m->s->index, "%u", i);
		code = value(m, &v, depth);
		cut(&m->s->index, len);
		if (code != LT_OK)
			return code;
	}
	return more == 0 ? LT_OK : json_bad(m);
}

static int value(struct json_msg *m, const struct json_value *v, unsigned depth)
{
	double x;

	if (v->type <= JSON_ARRAY) {
		if (depth == DEPTH_MAX)
			return decode_refuse(m->d, LT_REASON_LIMITS, OP,
				"values are nested deeper than %d", DEPTH_MAX);
		return v->type == JSON_OBJECT ? object(m, depth + 1) : array(m, depth + 1);
	}
	if (json_scalar(m, v, &x))
		return add(m, x);
	if (v->type == JSON_NUMBER)
		return decode_refuse(m->d, LT_REASON_DECODE, OP,
			"at byte %zu: a number beyond the range of double",
			(size_t)(m->j.p - m->j.start));
	m->n_ignored++;
	return LT_OK;
}

int json_flat_value(struct json_msg *m, const struct json_value *v)
{
	m->h.partial = true;
	return value(m, v, 0);
}

int json_flat_text(struct json_msg *m, const char *s, size_t n)
{
	struct json_value v = {.type = JSON_STRING, .s = s};
	char quoted[EVENT_QUOTE_LEN];
	double x;
	int code;

	while (n && (s[n - 1] == ' ' || (s[n - 1] >= '\t' && s[n - 1] <= '\r') || !s[n - 1]))
		n--;
	v.len = n;
	if ((n == 4 && memcmp(s, "true", 4) == 0) || (n == 5 && memcmp(s, "false", 5) == 0))
		v = (struct json_value){.type = JSON_BOOL, .truth = n == 4};
	else if (n == 4 && memcmp(s, "null", 4) == 0)
		v.type = JSON_NULL;
	if (!json_scalar(m, &v, &x))
		return decode_refuse(m->d, LT_REASON_DECODE, OP,
			"%s is no number, and the topic names one metric",
			event_quote(quoted, s, n));
	m->h.partial = true;
	code = add(m, x);
	return code == LT_OK ? json_msg_finish(m) : code;
}

static bool is(const char *s, size_t n, const char *w)
{
	return n == strlen(w) && memcmp(s, w, n) == 0;
}

/* Members of the outer object that are not metrics. Return: 1 done with it, 0 it may be a metric. */
static int reserved(struct json_msg *m, const char *s, size_t n, const struct json_value *v,
	int64_t *hora, int *code)
{
	int64_t time_ns;
	const char *text;
	size_t len;

	*code = LT_OK;
	if (is(s, n, "source")) {
		*code = json_string(m, v, "source", &m->h.source, &m->h.source_len);
		return 1;
	}
	if (is(s, n, "_seq")) {
		*code = json_u64(m, v, "_seq", &m->h.seq);
		return 1;
	}
	if (is(s, n, "_epoch")) {
		*code = json_u64(m, v, "_epoch", &m->h.epoch);
		return 1;
	}
	if (is(s, n, "ts") || is(s, n, "time") || is(s, n, "timestamp")) {
		*code = json_time(m, v, &time_ns);
		if (time_ns && !m->h.time_ns)
			m->h.time_ns = time_ns;
		else if (!time_ns)
			m->n_ignored++;
	} else if (is(s, n, "hora") && v->type == JSON_STRING) {
		text = json_text(v, &m->s->text, &len);
		if (!json_hora(text, len, hora))
			return 0;
		return 1;
	} else if (is(s, n, "api") && v->type == JSON_STRING) {
		/* which program speaks: the first users' documents say it, and have it in a column */
		text = json_text(v, &m->s->text, &len);
		if (len > 0 && len <= LT_LABEL_NAME_MAX && lt_utf8_valid(text, len))
			*code = json_msg_add(m, (struct shape_text){"api_info", 8},
				&(struct shape_text){"api", 3}, &(struct shape_text){text, len}, 1,
				1);
		else
			m->n_ignored++;
		return 1;
	} else if (is(s, n, "seq") || (n && s[0] == '_')) {
		m->n_ignored++;
	} else {
		return 0;
	}
	if (*code == LT_OK && !json_skip(&m->j, v))
		*code = json_bad(m);
	return 1;
}

int json_flat_form(struct json_msg *m, bool values)
{
	bool first = true;
	struct json_value key, v;
	int64_t hora = 0;
	int more, code;

	m->h.partial = true;
	while ((more = json_member(&m->j, &first, &key)) > 0) {
		size_t n;
		const char *s;

		if (!json_value(&m->j, &v))
			break;
		s = json_text(&key, &m->s->key, &n);
		if (!reserved(m, s, n, &v, &hora, &code)) {
			if (!values) {
				code = member(m, s, n, &v, 0);
			} else if (is(s, n, "values") && v.type == JSON_OBJECT) {
				code = object(m, 0);
			} else {
				m->n_ignored++;
				code = json_skip(&m->j, &v) ? LT_OK : json_bad(m);
			}
		}
		if (code != LT_OK)
			return code;
	}
	if (more != 0)
		return json_bad(m);
	if (!m->h.time_ns)
		m->h.time_ns = hora;
	return json_msg_finish(m);
}
