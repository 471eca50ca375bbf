/* SPDX-License-Identifier: MIT */
/* {"source":..,"epoch":..,"seq":..,"time":..,"metrics":{"name{label=\"value\"}":1.5}} */
#include "decode_json.h"

#include <string.h>

#define OP "event.json"

enum key {
	KEY_SOURCE = 0,
	KEY_EPOCH,
	KEY_SEQ,
	KEY_TIME,
	KEY_TS,
	KEY_OLDEST,
	KEY_STREAM,
	KEY_PARTIAL,
	KEY_INTERVAL_MS,
	KEY_METRICS,
	KEY_TYPES,
	KEY_UNITS,
	KEY_UNDER_EPOCH,
	KEY_UNDER_SEQ,
	KEY_N,
};

static const char *const key_names[KEY_N] = {
	[KEY_SOURCE] = "source",
	[KEY_EPOCH] = "epoch",
	[KEY_SEQ] = "seq",
	[KEY_TIME] = "time",
	[KEY_TS] = "ts",
	[KEY_OLDEST] = "oldest",
	[KEY_STREAM] = "stream",
	[KEY_PARTIAL] = "partial",
	[KEY_INTERVAL_MS] = "interval_ms",
	[KEY_METRICS] = "metrics",
	[KEY_TYPES] = "types",
	[KEY_UNITS] = "units",
	/* as devices call them in the other forms */
	[KEY_UNDER_EPOCH] = "_epoch",
	[KEY_UNDER_SEQ] = "_seq",
};

static enum key find_key(const char *s, size_t n)
{
	enum key k = 0;

	while (k < KEY_N && (strlen(key_names[k]) != n || memcmp(key_names[k], s, n) != 0))
		k++;
	return k;
}

static int metrics(struct json_msg *m)
{
	bool device = m->d->origin && m->d->origin->device, first = true;
	struct json_value key, v;
	char quoted[EVENT_QUOTE_LEN];
	int more, code;
	double x;

	while ((more = json_member(&m->j, &first, &key)) > 0) {
		const char *s;
		size_t n;

		if (!json_value(&m->j, &v))
			break;
		if (v.type <= JSON_ARRAY && device) {
			s = json_text(&key, &m->s->text, &n);
			lt_buf_reset(&m->s->name);
			event_metric_name(&m->s->name, s, n);
			code = json_flat_value(m, &v);
			if (code != LT_OK)
				return code;
			continue;
		}
		if (!json_scalar(m, &v, &x)) {
			if (device && v.type == JSON_STRING) {
				m->n_ignored++;
				continue;
			}
			s = json_text(&key, &m->s->text, &n);
			return decode_refuse(m->d, LT_REASON_DECODE, OP,
				"metric %s is neither a finite number nor null, \"NaN\", \"+Inf\", "
				"\"-Inf\"",
				event_quote(quoted, s, n));
		}
		s = json_text(&key, &m->s->text, &n);
		code = json_series(m, s, n, x);
		if (code != LT_OK)
			return code;
	}
	return more == 0 ? LT_OK : json_bad(m);
}

static int field(struct json_msg *m, enum key k, const struct json_value *v)
{
	struct decode_head *h = &m->h;
	int64_t time_ns;
	uint64_t u;
	int code = LT_OK;

	switch (k) {
	case KEY_SOURCE:
		return json_string(m, v, "source", &h->source, &h->source_len);
	case KEY_STREAM:
		return json_string(m, v, "stream", &h->stream, &h->stream_len);
	case KEY_EPOCH:
	case KEY_UNDER_EPOCH:
		return json_u64(m, v, "epoch", &h->epoch);
	case KEY_SEQ:
	case KEY_UNDER_SEQ:
		return json_u64(m, v, "seq", &h->seq);
	case KEY_OLDEST:
		return json_u64(m, v, "oldest", &h->oldest_seq);
	case KEY_TIME:
	case KEY_TS:
		code = json_time(m, v, &time_ns);
		if (code != LT_OK)
			return code;
		if (!time_ns && (v->type != JSON_NUMBER && v->type != JSON_NULL))
			return decode_refuse(m->d, LT_REASON_DECODE, OP,
				"%s must be RFC 3339 text, or a number of ms or s", key_names[k]);
		if (time_ns && (k == KEY_TIME || !h->time_ns))
			h->time_ns = time_ns;
		return LT_OK;
	case KEY_PARTIAL:
		if (v->type != JSON_BOOL)
			return decode_refuse(
				m->d, LT_REASON_DECODE, OP, "partial must be true or false");
		h->partial = v->truth;
		return LT_OK;
	case KEY_INTERVAL_MS:
		code = json_u64(m, v, "interval_ms", &u);
		if (code == LT_OK && u > UINT32_MAX)
			return decode_refuse(
				m->d, LT_REASON_LIMITS, OP, "interval_ms must be below 2^32");
		h->interval_ms = (uint32_t)u;
		return code;
	case KEY_METRICS:
		if (v->type != JSON_OBJECT)
			return decode_refuse(
				m->d, LT_REASON_DECODE, OP, "metrics must be an object");
		return metrics(m);
	default: /* types and units were read before; others are counted */
		if (k == KEY_N)
			m->n_ignored++;
		return json_skip(&m->j, v) ? LT_OK : json_bad(m);
	}
}

int json_event_form(struct json_msg *m, const struct json *types, const struct json *units)
{
	bool first = true;
	struct json_value key, v;
	unsigned seen = 0;
	int more, code;

	m->h.partial = m->d->origin && m->d->origin->device;
	code = json_meta_read(m, types, units);
	if (code != LT_OK)
		return code;
	while ((more = json_member(&m->j, &first, &key)) > 0) {
		size_t n;
		const char *s = json_text(&key, &m->s->text, &n);
		enum key k = find_key(s, n);

		if (k < KEY_N && seen & 1u << k)
			return decode_refuse(
				m->d, LT_REASON_DECODE, OP, "%s stands there twice", key_names[k]);
		seen |= k < KEY_N ? 1u << k : 0;
		if (!json_value(&m->j, &v))
			break;
		code = field(m, k, &v);
		if (code != LT_OK)
			return code;
	}
	return more == 0 ? json_msg_finish(m) : json_bad(m);
}
