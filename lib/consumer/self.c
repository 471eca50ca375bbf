/* SPDX-License-Identifier: MIT */
#include "self.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "figures.h"
#include "latido/clock.h"
#include "latido/event.h"
#include "latido/log.h"
#include "latido/stats.h"

#define LABELS_MAX 8          /* of a row of our tables; they have one or two */
#define TOKEN      UINT64_MAX /* delivery is not waited for */

struct lt_self {
	struct lt_bus *bus;
	struct lt_timer timer;
	struct lt_snapshot *snapshot;
	struct lt_complaint complaint;
	struct lt_arena arena; /* label texts of one event */
	struct lt_buf body;
	char *topic;
	char source[LT_SOURCE_MAX + 1];
	int64_t interval_ms;
	char family[LABELS_MAX][LT_LABEL_NAME_MAX + 1]; /* sorted names of the family under way */
	size_t n_family;
	bool connected, stopped;
	bool waiting; /* the bus took nothing; it says when it does */
};

struct pair {
	const char *name, *value;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct pair *)a)->name, ((const struct pair *)b)->name);
}

/* Reads a="x",b="y" with the escapes of Prometheus's text format. -1: not that. */
static int read_labels(struct lt_arena *arena, const char *text, struct pair *out)
{
	int n = 0;

	while (text && *text) {
		size_t len = strcspn(text, "=");
		size_t used = 0;
		char *value;

		if (n == LABELS_MAX || len > LT_LABEL_NAME_MAX || text[len] != '=' ||
			text[len + 1] != '"')
			return -1;
		out[n].name = lt_arena_str(arena, text, len);
		text += len + 2;
		out[n++].value = value = lt_arena_str(arena, text, strlen(text));
		for (; *text != '"'; text++) {
			bool escaped = *text == '\\';

			if (escaped)
				text++;
			if (!*text)
				return -1;
			value[used++] = escaped && *text == 'n' ? '\n' : *text;
		}
		value[used] = '\0';
		text++;
		if (*text == ',')
			text++;
	}
	qsort(out, (size_t)n, sizeof(*out), by_name);
	return n;
}

static bool of_family(const struct lt_self *s, const struct pair *pairs, size_t n)
{
	if (n != s->n_family)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(s->family[i], pairs[i].name) != 0)
			return false;
	}
	return true;
}

static void add_row(void *arg, const struct lt_stat *stat, bool first, double value)
{
	struct lt_self *s = arg;
	bool counts = stat->type == LT_STAT_COUNTER || stat->type == LT_STAT_COUNTER_FN;
	struct pair pairs[LABELS_MAX];
	const char *keys[LABELS_MAX], *values[LABELS_MAX];
	int n = read_labels(&s->arena, stat->labels, pairs);

	if (n < 0) {
		if (first)
			s->n_family = SIZE_MAX; /* no row is of it */
		return;
	}
	for (int i = 0; i < n; i++) {
		keys[i] = pairs[i].name;
		values[i] = pairs[i].value;
	}
	if (first) {
		s->n_family = (size_t)n;
		for (int i = 0; i < n; i++)
			strcpy(s->family[i], pairs[i].name);
		lt_snapshot_family(s->snapshot, stat->name,
			counts ? LT_KIND_COUNTER : LT_KIND_GAUGE, keys, (size_t)n);
	} else if (!of_family(s, pairs, (size_t)n)) {
		return;
	}
	lt_snapshot_row(s->snapshot, values, value);
}

static void publish(struct lt_self *s)
{
	struct lt_event e = {.source = s->source,
		.stream = "",
		.time_ns = lt_wall_ns(),
		.has_time = true,
		.interval_ms = (uint32_t)s->interval_ms};
	struct lt_bus_out out = {.topic = s->topic,
		.key = s->source,
		.content_type = "application/x-protobuf;proto=latido.v1.Event",
		.token = TOKEN};
	struct lt_err err = {0};
	int rc;

	lt_arena_reset(&s->arena);
	lt_buf_reset(&s->body);
	lt_snapshot_begin(s->snapshot);
	lt_stats_each(add_row, s);
	rc = lt_snapshot_event(s->snapshot, &e, &err);
	if (rc == LT_OK) {
		lt_encode_protobuf(&e, true, &s->body);
		out.data = s->body.data;
		out.size = s->body.len;
		rc = lt_bus_publish(s->bus, &out, &err);
	}
	if (rc == LT_EFULL) { /* on MQTT, publishing begins to connect with the first message */
		if (s->waiting)
			lt_counter_add(&lt_consumer_figures.self_dropped, 1);
		s->waiting = true;
		return;
	}
	s->waiting = false;
	if (rc == LT_OK) {
		lt_counter_add(&lt_consumer_figures.self_events, 1);
		lt_release(&s->complaint, "self_published", LT_S("source", s->source));
		return;
	}
	lt_counter_add(&lt_consumer_figures.self_dropped, 1);
	lt_complain(&s->complaint, LT_WARN, "self_not_published", LT_S("source", s->source),
		LT_S("err", err.msg));
}

static void on_timer(void *arg)
{
	struct lt_self *s = arg;

	if (s->stopped || !s->connected)
		return;
	publish(s);
	lt_timer_start_ns(&s->timer, s->interval_ms * LT_NS_PER_MS);
}

void lt_self_connected(struct lt_self *s, bool connected)
{
	if (!s)
		return;
	s->connected = connected;
	if (connected && !s->stopped && !lt_timer_pending(&s->timer))
		lt_timer_start_ns(&s->timer, 0);
	else if (!connected)
		lt_timer_stop(&s->timer);
}

void lt_self_writable(struct lt_self *s)
{
	if (s && s->waiting && s->connected && !s->stopped)
		publish(s);
}

void lt_self_stop(struct lt_self *s)
{
	if (!s)
		return;
	s->stopped = true;
	lt_timer_stop(&s->timer);
}

static void make_source(char *out, const char *comp)
{
	char host[256] = "";
	size_t n = 0;

	if (gethostname(host, sizeof(host) - 1) < 0 || !host[0])
		strcpy(host, "localhost");
	for (const char *p = comp; *p && n < LT_SOURCE_MAX - 1; p++)
		out[n++] = *p;
	out[n++] = '.';
	for (const char *p = host; *p && n < LT_SOURCE_MAX; p++)
		out[n++] = *p;
	out[n] = '\0';
	for (size_t i = 0; i < n; i++) {
		if (!lt_source_valid(&out[i], 1))
			out[i] = '_';
	}
}

struct lt_self *lt_self_new(
	const char *comp, const struct lt_config *conf, struct lt_bus *bus, struct lt_loop *loop)
{
	struct lt_self *s;

	if (!conf->bus.self_interval_ms)
		return NULL;
	s = lt_calloc(1, sizeof(*s));
	s->bus = bus;
	s->interval_ms = conf->bus.self_interval_ms;
	s->snapshot = lt_snapshot_new((uint32_t)conf->limits.max_series);
	make_source(s->source, comp);
	s->topic = lt_asprintf("%s/nodes/%s/metrics", conf->bus.prefix, s->source);
	lt_timer_init(&s->timer, loop, on_timer, s);
	return s;
}

void lt_self_free(struct lt_self *s)
{
	if (!s)
		return;
	lt_timer_fini(&s->timer);
	lt_snapshot_free(s->snapshot);
	lt_arena_fini(&s->arena);
	lt_buf_fini(&s->body);
	free(s->topic);
	free(s);
}
