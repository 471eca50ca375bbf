/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "latido/clock.h"
#include "live.h"

/* What is answered from memory: the fleet, one node, shapes, configuration, status. */

static int64_t now_ms(void)
{
	return lt_wall_ns() / LT_NS_PER_MS;
}

/* "cpu,mem" or "all". Return: false: an unknown column. */
static bool parse_columns(const char *text, unsigned *out)
{
	*out = 0;
	if (!text || !*text)
		return true;
	if (!strcmp(text, "all")) {
		*out = (1u << COLS) - 1;
		return true;
	}
	while (*text) {
		size_t n = strcspn(text, ","), c = 0;

		while (c < COLS && (strlen(hub_columns[c]) != n || memcmp(hub_columns[c], text, n)))
			c++;
		if (c == COLS)
			return false;
		*out |= 1u << c;
		text += n + (text[n] == ',');
	}
	return true;
}

static void put_columns(struct lt_buf *b)
{
	lt_buf_str(b, "\"columns\":[");
	for (size_t i = 0; i < COLS; i++)
		lt_buf_printf(b, i ? ",\"%s\"" : "\"%s\"", hub_columns[i]);
	lt_buf_char(b, ']');
}

void api_nodes(struct live *l, struct http_req *req)
{
	struct hub *h = l->hub;
	struct lt_buf b = {0};
	unsigned spark;
	bool first = true;
	char id[40];

	if (!parse_columns(http_param(&req->query, "spark", 0), &spark)) {
		http_reply_error(req, 400, 0,
			"spark: expected all, or columns such as cpu,mem,disk,rx,tx,io,load,main");
		return;
	}
	hub_flush(h); /* so that the stream goes on exactly behind what is shown */
	hub_id(h, h->last_id, id);
	lt_buf_printf(&b, "{\"time_ms\":%" PRId64 ",\"stream_id\":\"%s\",", now_ms(), id);
	put_columns(&b);
	lt_buf_printf(&b, ",\"spark_step_ms\":%d,\"spark_end_ms\":%" PRId64 ",\"nodes\":[",
		SPARK_STEP_MS, (now_ms() / SPARK_STEP_MS + 1) * SPARK_STEP_MS);
	for (size_t i = 0; i < h->n_sources; i++) {
		if (!h->sources[i]->seen_ms)
			continue;
		if (!first)
			lt_buf_char(&b, ',');
		first = false;
		hub_put_node(&b, h->sources[i], spark);
	}
	lt_buf_str(&b, "]}\n");
	http_reply_buf(req, 200, "application/json", &b);
}

static void put_stream(struct lt_buf *b, const struct hub_stream *st)
{
	char shape[33];

	hub_shape_id(st->shape, shape);
	lt_buf_printf(b,
		"{\"stream\":\"%s\",\"epoch\":%" PRIu64 ",\"seq\":%" PRIu64 ",\"time_ms\":%" PRId64
		",\"interval_ms\":%u,\"partial\":%s,\"shape\":\"%s\",\"series\":",
		st->name, st->epoch, st->seq, st->time_ms, st->interval_ms,
		st->partial ? "true" : "false", shape);
	hub_put_shape(b, st->shape);
	lt_buf_str(b, ",\"values\":[");
	for (uint32_t i = 0; i < st->n; i++) {
		const struct lt_event e = {.values = st->values};

		if (i)
			lt_buf_char(b, ',');
		json_number(b, lt_event_value(&e, i));
	}
	lt_buf_str(b, "]}");
}

void api_node(struct live *l, struct http_req *req, const char *source)
{
	struct hub *h = l->hub;
	const struct hub_source *s = hub_find(h, source);
	struct lt_buf b = {0};
	bool first = true;
	char id[40];

	if (!s || !s->seen_ms) {
		http_reply_error(req, 404, 0, "no node or device named %s was seen", source);
		return;
	}
	hub_flush(h);
	hub_id(h, h->last_id, id);
	hub_put_node(&b, s, 0);
	b.len--; /* the object goes on */
	lt_buf_printf(&b, ",\"stream_id\":\"%s\",\"streams\":[", id);
	for (size_t i = 0; i < s->n_streams; i++) {
		if (!s->streams[i].known)
			continue;
		if (!first)
			lt_buf_char(&b, ',');
		first = false;
		put_stream(&b, &s->streams[i]);
	}
	lt_buf_str(&b, "]}\n");
	http_reply_buf(req, 200, "application/json", &b);
}

static const struct lt_shape *find_shape(const struct hub *h, const char *id)
{
	const struct lt_shape *last = NULL;
	char have[33];

	for (size_t i = 0; i < h->n_sources; i++) {
		const struct hub_source *s = h->sources[i];

		for (size_t k = 0; k < s->n_streams; k++) {
			const struct lt_shape *shape = s->streams[k].shape;

			if (!shape || shape == last) /* equal machines share one */
				continue;
			last = shape;
			hub_shape_id(shape, have);
			if (!strcmp(have, id))
				return shape;
		}
	}
	/* One that was replaced a moment ago may still be in the ring. */
	for (const struct hub_frame *f = h->ring; f; f = f->next) {
		if (!f->shape || f->shape == last)
			continue;
		last = f->shape;
		hub_shape_id(f->shape, have);
		if (!strcmp(have, id))
			return f->shape;
	}
	return NULL;
}

void api_shape(struct live *l, struct http_req *req, const char *id)
{
	const struct lt_shape *shape = NULL;
	struct http_reply r = {.status = 200,
		.type = "application/json",
		.cache = "private, max-age=31536000, immutable"};
	struct lt_buf b = {0};

	if (strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32)
		shape = find_shape(l->hub, id);
	if (!shape) {
		http_reply_error(req, 404, 0, "no source sends this shape now");
		return;
	}
	lt_buf_printf(&b, "{\"shape\":\"%s\",\"series\":", id);
	hub_put_shape(&b, shape);
	lt_buf_str(&b, "}\n");
	r.data = b.data;
	r.size = b.len;
	http_reply(req, &r);
	lt_buf_fini(&b);
}

void api_config(struct live *l, struct http_req *req)
{
	static const char *const languages[] = {"auto", "en", "es"};
	const struct lt_live_conf *c = &l->conf->live;
	struct lt_buf b = {0};

	lt_buf_str(&b, "{\"title\":");
	lt_buf_json_str(&b, c->title, strlen(c->title));
	lt_buf_printf(&b, ",\"version\":\"%s\",\"alertmanager_url\":", lt_daemon_version());
	lt_buf_json_str(&b, c->alertmanager_url, strlen(c->alertmanager_url));
	lt_buf_printf(&b, ",\"language\":\"%s\",", languages[c->language]);
	put_columns(&b);
	lt_buf_printf(&b,
		",\"spark_points\":%d,\"spark_step_ms\":%d,\"max_steps\":%d,\"retention_ms\":"
		"%" PRId64 ",\"server_ms\":%" PRId64 "}\n",
		SPARK_POINTS, SPARK_STEP_MS, API_MAX_STEPS, l->conf->store.retention_ms, now_ms());
	http_reply_buf(req, 200, "application/json", &b);
}

void api_status(struct live *l, struct http_req *req)
{
	const struct hub *h = l->hub;
	struct lt_buf b = {0};

	hub_put_status(&b, h);
	b.len--; /* the object goes on */
	lt_buf_printf(&b,
		",\"server_ms\":%" PRId64 ",\"started_ms\":%" PRId64 ",\"events_total\":%" PRIu64
		",\"lost_total\":%" PRIu64 ",\"clients\":%" PRIu64 ",\"clients_lagging\":%" PRIu64
		",\"skipped_total\":%" PRIu64 ",\"cut_total\":%" PRIu64 ",\"last_event_ms\":",
		now_ms(), h->started_ms, hub_counters.events, hub_counters.lost,
		hub_counters.clients, hub_counters.lagging, hub_counters.skipped, hub_counters.cut);
	json_number(&b, h->last_event_ms ? (double)h->last_event_ms : NAN);
	lt_buf_str(&b, "}\n");
	http_reply_buf(req, 200, "application/json", &b);
}
