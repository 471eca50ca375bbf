/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "hub.h"
#include "latido/clock.h"

void json_number(struct lt_buf *b, double v)
{
	if (isnan(v))
		lt_buf_str(b, "null");
	else if (isinf(v))
		lt_buf_str(b, v > 0 ? "\"+Inf\"" : "\"-Inf\"");
	else
		lt_buf_double(b, v);
}

/*
 * Few digits without printf(): the picture of a large fleet has fifty thousand of them. Return: false:
 * not one for this.
 */
static bool put_few(struct lt_buf *b, double v, int digits)
{
	static const double ten[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
	const double a = fabs(v);
	char text[24], *p = text + sizeof(text);
	int places = digits - 1;
	double unit = 1;
	uint64_t m;

	if (digits < 3 || digits > 4 || !(a >= 0.001 && a < 1e15))
		return false;
	places -= (a >= 10) + (a >= 100);
	places += (a < 1) + (a < 0.1) + (a < 0.01);
	while (a >= 1000 && a >= unit * ten[digits])
		unit *= 10;
	if (a >= 1000)
		places = 0;
	m = (uint64_t)(a / unit * ten[places] + 0.5) * (uint64_t)unit;
	while (places && m % 10 == 0) {
		m /= 10;
		places--;
	}
	if (places) {
		for (; places; places--, m /= 10)
			*--p = (char)('0' + m % 10);
		*--p = '.';
	}
	do
		*--p = (char)('0' + m % 10);
	while (m /= 10);
	if (v < 0)
		*--p = '-';
	lt_buf_add(b, p, (size_t)(text + sizeof(text) - p));
	return true;
}

void json_short(struct lt_buf *b, double v, int digits)
{
	char text[40];

	if (isnan(v) || isinf(v)) {
		json_number(b, v);
		return;
	}
	if (v == 0) {
		lt_buf_char(b, '0');
		return;
	}
	if (put_few(b, v, digits))
		return;
	if (fabs(v) >= 1000 && fabs(v) < 1e15) { /* whole, not 1.2e+06 */
		double unit = pow(10, fmax(0, floor(log10(fabs(v))) + 1 - digits));

		lt_buf_printf(b, "%.0f", round(v / unit) * unit);
		return;
	}
	snprintf(text, sizeof(text), "%.*g", digits, v);
	lt_buf_str(b, text);
}

void json_labels(struct lt_buf *b, const struct lt_series *s)
{
	lt_buf_char(b, '{');
	for (unsigned i = 0; i < s->n_labels; i++) {
		if (i)
			lt_buf_char(b, ',');
		lt_buf_json_str(b, s->labels[i].name, s->labels[i].name_len);
		lt_buf_char(b, ':');
		lt_buf_json_str(b, s->labels[i].value, s->labels[i].value_len);
	}
	lt_buf_char(b, '}');
}

const char *json_kind(unsigned kind)
{
	return kind == LT_KIND_GAUGE ? "gauge" : kind == LT_KIND_COUNTER ? "counter" : "unknown";
}

void hub_id(const struct hub *h, uint64_t id, char out[40])
{
	snprintf(out, 40, "%016" PRIx64 "-%" PRIu64, h->boot, id);
}

bool hub_parse_id(const struct hub *h, const char *text, uint64_t *id)
{
	char *end;

	if (strlen(text) < 18 || strlen(text) > 36 || text[16] != '-' || text[17] < '0' ||
		text[17] > '9' || strspn(text, "0123456789abcdef") != 16 ||
		strtoull(text, NULL, 16) != h->boot)
		return false;
	*id = strtoull(text + 17, &end, 10);
	return !*end && *id <= h->last_id;
}

void hub_shape_id(const struct lt_shape *s, char out[33])
{
	unsigned char digest[16];

	crypto_generichash(digest, sizeof(digest), s->bytes, s->size, NULL, 0);
	sodium_bin2hex(out, 33, digest, sizeof(digest));
}

void hub_put_shape(struct lt_buf *b, const struct lt_shape *s)
{
	lt_buf_char(b, '[');
	for (uint32_t i = 0; i < s->n_series; i++) {
		const struct lt_series *x = &s->series[i];

		lt_buf_str(b, i ? ",[" : "[");
		lt_buf_json_str(b, x->name, x->name_len);
		lt_buf_char(b, ',');
		json_labels(b, x);
		lt_buf_printf(b, ",\"%s\"]", json_kind(x->kind));
	}
	lt_buf_char(b, ']');
}

static void put_values(struct lt_buf *b, const struct hub_source *s)
{
	for (size_t i = 0; i < COLS; i++) {
		if (i)
			lt_buf_char(b, ',');
		if (i == COL_MAIN)
			json_number(b, s->values[i]);
		else
			json_short(b, s->values[i], 4);
	}
}

void hub_put_row(struct lt_buf *b, const struct hub_source *s, uint64_t seq, int64_t time_ms)
{
	lt_buf_printf(b, "[\"%s\",%" PRIu64 ",%" PRId64 ",", s->name, seq, time_ms);
	put_values(b, s);
	lt_buf_char(b, ']');
}

void hub_put_source(struct lt_buf *b, const struct hub_source *s)
{
	lt_buf_printf(b,
		"{\"source\":\"%s\",\"kind\":\"%s\",\"state\":\"%s\",\"seen_ms\":%" PRId64
		",\"interval_ms\":%u}",
		s->name, s->device ? "device" : "node", lt_fleet_state_word(s->state), s->seen_ms,
		s->sample.interval_ms);
}

static void put_label(struct lt_buf *b, bool *first, const char *name, const char *value)
{
	if (!*value)
		return;
	lt_buf_printf(b, *first ? "\"%s\":" : ",\"%s\":", name);
	lt_buf_json_str(b, value, strlen(value));
	*first = false;
}

/* Steps of the last five minutes, oldest first, up to the one that is going on now. */
static void put_spark(struct lt_buf *b, const struct hub_source *s, unsigned columns)
{
	int64_t now = lt_wall_ns() / LT_NS_PER_MS / SPARK_STEP_MS;
	uint32_t interval = s->sample.interval_ms;
	bool first = true;

	lt_buf_str(b, ",\"spark\":{");
	for (size_t c = 0; c < COLS; c++) {
		if (!(columns & 1u << c))
			continue;
		lt_buf_printf(b, first ? "\"%s\":[" : ",\"%s\":[", hub_columns[c]);
		first = false;
		for (int64_t k = now - SPARK_POINTS + 1; k <= now; k++) {
			bool held = k <= s->spark_slot && k > s->spark_slot - SPARK_POINTS;

			if (k > now - SPARK_POINTS + 1)
				lt_buf_char(b, ',');
			json_short(b, held ? (double)s->spark[c][k % SPARK_POINTS] : NAN, 3);
		}
		lt_buf_char(b, ']');
	}
	lt_buf_str(b, "},\"beat\":\"");
	for (int64_t k = now - SPARK_POINTS + 1; k <= now; k++) {
		bool held = k <= s->spark_slot && k > s->spark_slot - SPARK_POINTS;
		unsigned got = held ? s->beats[k % SPARK_POINTS] : 0;
		/* One less than planned is only where the steps are cut. */
		bool few = interval && interval < SPARK_STEP_MS &&
			   got + 1 < SPARK_STEP_MS / interval && k < now;
		bool due = interval && interval <= SPARK_STEP_MS && k >= s->spark_first;

		lt_buf_char(b, got                               ? (few ? 'w' : 'l')
			       : !s->has_row || !due || k == now ? '-'
								 : 'm');
	}
	lt_buf_char(b, '"');
}

void hub_put_node(struct lt_buf *b, const struct hub_source *s, unsigned spark)
{
	const struct lt_fleet_sample *f = &s->sample;
	bool first = true;

	hub_put_source(b, s);
	b->len--; /* the object goes on */
	lt_buf_printf(
		b, ",\"epoch\":%" PRIu64 ",\"seq\":%" PRIu64 ",\"labels\":{", s->epoch, s->seq);
	put_label(b, &first, "os", f->os);
	put_label(b, &first, "release", f->release);
	put_label(b, &first, "machine", f->machine);
	if (s->labels && *s->labels)
		lt_buf_printf(b, first ? "%s" : ",%s", s->labels);
	lt_buf_str(b, "},\"boot_time_s\":");
	json_number(b, f->boot_time_s);
	lt_buf_str(b, ",\"cpus\":");
	json_number(b, f->cpus ? (double)f->cpus : NAN);
	lt_buf_str(b, ",\"memory_bytes\":");
	json_number(b, f->memory_bytes);
	lt_buf_str(b, ",\"main\":");
	if (*f->main_series && s->device)
		lt_buf_json_str(b, f->main_series, strlen(f->main_series));
	else
		lt_buf_str(b, "null");
	lt_buf_str(b, ",\"values\":[");
	put_values(b, s);
	lt_buf_char(b, ']');
	if (spark)
		put_spark(b, s, spark);
	lt_buf_char(b, '}');
}

void hub_put_dependency(struct lt_buf *b, const struct hub_dependency *d)
{
	static const char *const states[] = {"unknown", "ok", "down"};

	lt_buf_printf(b, "{\"state\":\"%s\",\"since_ms\":%" PRId64, states[d->state], d->since_ms);
	if (*d->error) {
		lt_buf_str(b, ",\"error\":");
		lt_buf_json_str(b, d->error, strlen(d->error));
	}
	lt_buf_char(b, '}');
}

void hub_put_status(struct lt_buf *b, const struct hub *h)
{
	lt_buf_str(b, "{\"redis\":");
	hub_put_dependency(b, &h->redis);
	lt_buf_str(b, ",\"postgres\":");
	hub_put_dependency(b, &h->postgres);
	lt_buf_char(b, '}');
}

void hub_put_alerts(struct lt_buf *b, const struct hub *h)
{
	lt_buf_str(b, "{\"active\":[");
	for (size_t i = 0; i < h->n_alerts; i++) {
		if (i)
			lt_buf_char(b, ',');
		lt_buf_str(b, h->alerts[i].json);
	}
	lt_buf_str(b, "]}");
}

struct http_bytes *hub_frame_bytes(
	const struct hub *h, uint64_t id, const char *event, const char *data, size_t size)
{
	struct lt_buf b = {0};
	struct http_bytes *bytes;
	char text[40];

	if (id) {
		hub_id(h, id, text);
		lt_buf_printf(&b, "id: %s\n", text);
	}
	lt_buf_printf(&b, "event: %s\ndata: ", event);
	lt_buf_add(&b, data, size);
	lt_buf_str(&b, "\n\n");
	bytes = http_bytes_new(b.data, b.len);
	lt_buf_fini(&b);
	return bytes;
}

struct http_bytes *hub_fleet_now(struct hub *h)
{
	struct lt_buf data = {0};
	bool first = true;

	if (h->fleet_now && h->fleet_now_id == h->last_id && !h->n_rows)
		return h->fleet_now;
	http_bytes_put(h->fleet_now);
	lt_buf_str(&data, "{\"full\":true,\"rows\":[");
	for (size_t i = 0; i < h->n_sources; i++) {
		const struct hub_source *s = h->sources[i];

		if (!s->has_row)
			continue;
		if (!first)
			lt_buf_char(&data, ',');
		first = false;
		hub_put_row(&data, s, s->seq, s->seen_ms);
	}
	lt_buf_str(&data, "]}");
	h->fleet_now = hub_frame_bytes(h, h->last_id, "fleet", data.data, data.len);
	h->fleet_now_id = h->last_id;
	lt_buf_fini(&data);
	return h->fleet_now;
}
