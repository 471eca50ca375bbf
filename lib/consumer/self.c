/* SPDX-License-Identifier: MIT */
#include "latido/self.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latido/clock.h"
#include "latido/event.h"
#include "latido/log.h"

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
	struct lt_self_figures *figures;
	void (*sent)(void *arg, int64_t time_ns);
	void *sent_arg;
	bool connected, stopped;
	bool waiting; /* the bus took nothing; it says when it does */
};

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
		.token = LT_SELF_TOKEN};
	struct lt_err err = {0};
	int rc;

	lt_buf_reset(&s->body);
	lt_snapshot_begin(s->snapshot);
	lt_snapshot_stats(s->snapshot, NULL, &s->arena);
	rc = lt_snapshot_event(s->snapshot, &e, &err);
	if (rc == LT_OK) {
		lt_encode_protobuf(&e, true, &s->body);
		out.data = s->body.data;
		out.size = s->body.len;
		rc = lt_bus_publish(s->bus, &out, &err);
	}
	if (rc == LT_EFULL) { /* on MQTT, publishing begins to connect with the first message */
		if (s->waiting)
			lt_counter_add(&s->figures->dropped, 1);
		s->waiting = true;
		return;
	}
	s->waiting = false;
	if (rc == LT_OK) {
		lt_counter_add(&s->figures->events, 1);
		if (s->sent)
			s->sent(s->sent_arg, e.time_ns);
		lt_release(&s->complaint, "self_published", LT_S("source", s->source));
		return;
	}
	lt_counter_add(&s->figures->dropped, 1);
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

void lt_self_told(struct lt_self *s, void (*sent)(void *arg, int64_t time_ns), void *arg)
{
	if (!s)
		return;
	s->sent = sent;
	s->sent_arg = arg;
}

bool lt_self_is(const struct lt_self *s, const char *source)
{
	return s && strcmp(s->source, source) == 0;
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

struct lt_self *lt_self_new(const char *comp, const struct lt_config *conf, struct lt_bus *bus,
	struct lt_loop *loop, struct lt_self_figures *figures)
{
	struct lt_self *s;

	if (!conf->bus.self_interval_ms)
		return NULL;
	s = lt_calloc(1, sizeof(*s));
	s->bus = bus;
	s->figures = figures;
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
