/* SPDX-License-Identifier: MIT */
/* The JSON form (schemas/latido/v1/event.schema.json): hand-made, not ProtoJSON, which would write
 * 64-bit integers as strings and bytes as base64. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "event_int.h"
#include "latido/clock.h"

static void add_u64(struct lt_buf *out, const char *key, uint64_t v)
{
	if (v)
		lt_buf_printf(out, ",\"%s\":%llu", key, (unsigned long long)v);
}

static void add_time(struct lt_buf *out, int64_t ns)
{
	char text[LT_RFC3339_LEN];

	lt_rfc3339_format(ns, ns % LT_NS_PER_MS == 0 ? 3 : ns % LT_NS_PER_US == 0 ? 6 : 9, text);
	lt_buf_printf(out, ",\"time\":\"%s\"", text);
}

static void add_value(struct lt_buf *out, double v)
{
	if (isnan(v))
		lt_buf_str(out, "null");
	else if (isinf(v))
		lt_buf_str(out, v > 0 ? "\"+Inf\"" : "\"-Inf\"");
	else
		lt_buf_double(out, v);
}

/* What the series' text does not say. Names of metrics need no JSON escapes. */
static void add_metadata(struct lt_buf *out, const struct lt_shape *s)
{
	static const char *const kinds[] = {"", "gauge", "counter"};
	const struct shape_entry *e = (const struct shape_entry *)s;
	const char *sep = ",\"types\":{";
	const struct shape_metric *m;

	for (m = e->metrics; m < e->metrics + e->n_metrics; m++) {
		const struct lt_series *x = &s->series[m->first];

		if (x->kind == LT_KIND_UNKNOWN)
			continue;
		lt_buf_printf(out, "%s\"%s\":\"%s\"", sep, x->name, kinds[x->kind]);
		sep = ",";
	}
	if (sep[1] == '\0')
		lt_buf_char(out, '}');
	sep = ",\"units\":{";
	for (m = e->metrics; m < e->metrics + e->n_metrics; m++) {
		if (!m->unit[0])
			continue;
		lt_buf_printf(out, "%s\"%s\":", sep, s->series[m->first].name);
		lt_buf_json_str(out, m->unit, strlen(m->unit));
		sep = ",";
	}
	if (sep[1] == '\0')
		lt_buf_char(out, '}');
}

void lt_encode_json(const struct lt_event *e, struct lt_buf *out)
{
	const struct lt_shape *s = e->shape;

	lt_buf_str(out, "{\"source\":");
	lt_buf_json_str(out, e->source, strlen(e->source));
	add_u64(out, "epoch", e->epoch);
	add_u64(out, "seq", e->seq);
	if (e->has_time && e->time_ns)
		add_time(out, e->time_ns);
	add_u64(out, "oldest", e->oldest_seq);
	if (e->stream && e->stream[0]) {
		lt_buf_str(out, ",\"stream\":");
		lt_buf_json_str(out, e->stream, strlen(e->stream));
	}
	/* on a device's topic the default is true */
	if (e->partial || e->device)
		lt_buf_printf(out, ",\"partial\":%s", e->partial ? "true" : "false");
	add_u64(out, "interval_ms", e->interval_ms);
	lt_buf_str(out, ",\"metrics\":{");
	for (uint32_t i = 0; i < e->n; i++) {
		if (i)
			lt_buf_char(out, ',');
		lt_buf_json_str(out, s->series[i].text, s->series[i].text_len);
		lt_buf_char(out, ':');
		add_value(out, lt_event_value(e, i));
	}
	lt_buf_char(out, '}');
	add_metadata(out, s);
	lt_buf_char(out, '}');
}
