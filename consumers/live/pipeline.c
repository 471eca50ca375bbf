/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/sink/pg_values.h"
#include "latido/clock.h"
#include "live.h"

/*
 * GET /api/v1/pipeline: how each part is doing. What the consumers say of themselves comes as events
 * of sources of their own (bus.self_interval) and is in memory; Redis and PostgreSQL are asked by a
 * worker, at most every FRESH_NS, however many look.
 */

#define FRESH_NS (2 * LT_NS_PER_S)
#define RATE_S   10

struct server_figures {
	int64_t mono_ns; /* 0 = never asked */
	double redis_ping_ms, used_memory, max_memory, evicted, redis_clients, commands;
	double pg_ping_ms, database_bytes, connections, commits, newest_ms, missing, gaps;
};

struct pipeline {
	struct server_figures now;
	double commands_per_s, commits_per_s;
	struct lt_timer second;
	struct {
		uint64_t events, lost, skipped;
	} at[RATE_S + 1]; /* counters of the last seconds */
	size_t seconds;   /* since the start */
	bool asking;      /* a job is under way; these get its answer */
	struct waiter *waiting;
};

struct waiter {
	struct live *live;
	struct http_req *req;
	struct waiter *next;
};

struct pipeline_job {
	struct job job;
	struct live *live;
	bool ask_redis, ask_pg;
	struct server_figures got;
};

static const struct server_figures nothing = {
	0, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};

static const char select_pg[] =
	"SELECT pg_database_size(current_database())::float8, "
	"(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())::float8, "
	"(SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())::float8, "
	"(SELECT extract(epoch FROM max(n.time)) * 1000 FROM (SELECT id FROM source "
	"ORDER BY last_seen DESC NULLS LAST LIMIT 8) o CROSS JOIN LATERAL (SELECT time FROM "
	"snapshot "
	"WHERE source_id = o.id ORDER BY time DESC LIMIT 1) n)::float8, "
	"(SELECT coalesce(sum(hi - lo + 1), 0) FROM latido_hole)::float8, "
	"(SELECT coalesce(sum(hi - lo + 1), 0) FROM gap)::float8";

/* ---- worker ---- */

/* A line "name:number" of INFO. */
static double info_value(const char *info, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = info; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (!strncmp(p, name, n) && p[n] == ':')
			return strtod(p + n + 1, NULL);
	return NAN;
}

static void ask_redis(struct worker *w, struct server_figures *f)
{
	struct lt_redis_cmd cmd = {0};
	struct lt_reply *reply;
	struct lt_err err;
	const char *text;
	int64_t began;

	if (worker_redis(w, &err) != LT_OK)
		return;
	began = lt_mono_ns();
	lt_redis_begin(&cmd, "INFO");
	if (lt_redis_call(w->redis, &cmd, &reply, &err) == LT_OK) {
		f->redis_ping_ms = (double)(lt_mono_ns() - began) / LT_NS_PER_MS;
		text = lt_reply_str(reply, NULL);
		f->used_memory = info_value(text, "used_memory");
		f->max_memory = info_value(text, "maxmemory");
		f->evicted = info_value(text, "evicted_keys");
		f->redis_clients = info_value(text, "connected_clients");
		f->commands = info_value(text, "total_commands_processed");
		lt_reply_free(reply);
	}
	lt_redis_cmd_fini(&cmd);
}

static void ask_pg(struct worker *w, struct server_figures *f)
{
	struct pg_result *r = NULL;
	struct lt_err err;
	int64_t began;

	if (worker_pg(w, &err) != LT_OK)
		return;
	began = lt_mono_ns();
	if (lt_pg_query(&w->pg, "SELECT 1", NULL, 0, NULL, &err) != LT_OK)
		return;
	f->pg_ping_ms = (double)(lt_mono_ns() - began) / LT_NS_PER_MS;
	if (lt_pg_query(&w->pg, select_pg, NULL, 0, &r, &err) == LT_OK) {
		f->database_bytes = pg_double(r, 0, 0);
		f->connections = pg_double(r, 0, 1);
		f->commits = pg_double(r, 0, 2);
		f->newest_ms = pg_double(r, 0, 3);
		f->missing = pg_double(r, 0, 4);
		f->gaps = pg_double(r, 0, 5);
	}
	lt_pg_result_free(r);
}

static void run(struct job *job, struct worker *w)
{
	struct pipeline_job *j = (struct pipeline_job *)job;

	if (j->ask_redis)
		ask_redis(w, &j->got);
	if (j->ask_pg)
		ask_pg(w, &j->got);
	j->got.mono_ns = lt_mono_ns();
}

/* ---- one part ---- */

static double value_of(const struct hub_stream *st, const uint8_t *values, uint32_t i)
{
	const struct lt_event e = {.values = values};

	return i < st->n ? lt_event_value(&e, i) : NAN;
}

/* Of a counter, between its last two events. */
static double rate_of(const struct hub_stream *st, uint32_t i)
{
	double now, before, s = (double)(st->time_ms - st->before_ms) / 1000;

	if (!st->before || s <= 0 || st->shape->series[i].kind != LT_KIND_COUNTER)
		return NAN;
	now = value_of(st, st->values, i);
	before = value_of(st, st->before, i);
	return (now >= before ? now - before : now) / s;
}

static bool named(const struct lt_series *x, const char *name)
{
	return x->name_len == strlen(name) && !memcmp(x->name, name, x->name_len);
}

/* Sum over the series of these names, up to a NULL; NaN when there is none. */
static double sum_of(const struct hub_stream *st, bool rate, const char *const *names)
{
	double sum = NAN;

	for (uint32_t i = 0; i < st->shape->n_series; i++)
		for (size_t k = 0; names[k]; k++) {
			double v;

			if (!named(&st->shape->series[i], names[k]))
				continue;
			v = rate ? rate_of(st, i) : value_of(st, st->values, i);
			if (!isnan(v))
				sum = isnan(sum) ? v : sum + v;
		}
	return sum;
}

static const struct {
	const char *key;
	bool rate;
	const char *names[7];
} summary[] = {
	{"messages_per_s", true,
		{"latido_consumer_messages_total", "latido_bridge_messages_total"}},
	{"events_per_s", true, {"latido_consumer_events_total", "latido_bridge_delivered_total"}},
	{"rejected_per_s", true,
		{"latido_consumer_rejected_total", "latido_bridge_rejected_total"}},
	{"dropped_per_s", true,
		{"latido_consumer_deadletters_refused_total",
			"latido_bridge_deadletters_refused_total", "latido_bus_gap_messages_total",
			"latido_spool_dropped_total", "latido_notify_dropped_total",
			"latido_alert_output_dropped_total"}},
	{"retries_per_s", true, {"latido_consumer_retries_total"}},
	{"waiting_events", false,
		{"latido_consumer_filling_events", "latido_consumer_putting_events",
			"latido_bridge_inflight_messages"}},
	{"queue_bytes", false, {"latido_bus_held_bytes"}},
	{"lag_messages", false, {"latido_bus_lag_messages"}},
	{"lag_seconds", false, {"latido_consumer_lag_seconds", "latido_bridge_lag_seconds"}},
};

/* What parts say of the MQTT broker; all that are alive say the same, some a little earlier. */
static const struct {
	const char *key;
	bool rate;
	const char *names[2];
} of_broker[] = {
	{"queued_messages", false, {"latido_broker_queued_messages"}},
	{"dropped_total", false, {"latido_broker_dropped_messages_total"}},
	{"dropped_per_s", true, {"latido_broker_dropped_messages_total"}},
};

static void put_part(struct lt_buf *b, const struct hub_source *s, const struct hub_stream *st)
{
	size_t dot = strcspn(s->name, ".");

	lt_buf_printf(b,
		"{\"source\":\"%s\",\"part\":\"%.*s\",\"host\":\"%s\",\"state\":\"%s\",\"seen_ms\":"
		"%" PRId64,
		s->name, (int)dot, s->name, s->name + dot + (s->name[dot] == '.'),
		lt_fleet_state_word(s->state), s->seen_ms);
	for (size_t i = 0; i < LT_ARRAY_LEN(summary); i++) {
		lt_buf_printf(b, ",\"%s\":", summary[i].key);
		json_number(b, sum_of(st, summary[i].rate, summary[i].names));
	}
	lt_buf_str(b, ",\"figures\":[");
	for (uint32_t i = 0; i < st->shape->n_series; i++) {
		const struct lt_series *x = &st->shape->series[i];

		lt_buf_str(b, i ? ",{\"name\":" : "{\"name\":");
		lt_buf_json_str(b, x->name, x->name_len);
		lt_buf_str(b, ",\"labels\":");
		json_labels(b, x);
		lt_buf_printf(b, ",\"kind\":\"%s\",\"value\":", json_kind(x->kind));
		json_number(b, value_of(st, st->values, i));
		lt_buf_str(b, ",\"per_s\":");
		json_number(b, rate_of(st, i));
		lt_buf_char(b, '}');
	}
	lt_buf_str(b, "]}");
}

static int by_name(const void *a, const void *b)
{
	return strcmp(
		(*(struct hub_source *const *)a)->name, (*(struct hub_source *const *)b)->name);
}

static const struct hub_stream *figures_of(const struct hub_source *s)
{
	for (size_t i = 0; i < s->n_streams; i++)
		if (s->streams[i].figures && s->streams[i].known)
			return &s->streams[i];
	return NULL;
}

static void put_parts(struct lt_buf *b, const struct hub *h)
{
	struct hub_source **list = lt_malloc((h->n_sources + 1) * sizeof(*list));
	size_t n = 0;

	for (size_t i = 0; i < h->n_sources; i++)
		if (h->sources[i]->seen_ms && figures_of(h->sources[i]))
			list[n++] = h->sources[i];
	qsort(list, n, sizeof(*list), by_name);
	for (size_t i = 0; i < n; i++) {
		if (i)
			lt_buf_char(b, ',');
		put_part(b, list[i], figures_of(list[i]));
	}
	free(list);
}

static void put_broker(struct lt_buf *b, const struct hub *h)
{
	for (size_t k = 0; k < LT_ARRAY_LEN(of_broker); k++) {
		double most = NAN;

		for (size_t i = 0; i < h->n_sources; i++) {
			const struct hub_source *s = h->sources[i];
			const struct hub_stream *st = figures_of(s);
			double v = st && s->seen_ms && s->state != LT_FLEET_STALE
					   ? sum_of(st, of_broker[k].rate, of_broker[k].names)
					   : NAN;

			if (!isnan(v) && !(most >= v))
				most = v;
		}
		lt_buf_printf(b, "%s\"%s\":", k ? "," : "{", of_broker[k].key);
		json_number(b, most);
	}
	lt_buf_char(b, '}');
}

/* ---- the answer ---- */

static void put_figure(struct lt_buf *b, const char *name, double v)
{
	lt_buf_printf(b, ",\"%s\":", name);
	json_number(b, v);
}

static void put_total(struct lt_buf *b, const char *name, uint64_t now, uint64_t before, double s)
{
	lt_buf_printf(b, ",\"%s_total\":%" PRIu64 ",\"%s_per_s\":", name, now, name);
	json_short(b, s > 0 ? (double)(now - before) / s : 0, 6);
}

static void put_live(struct lt_buf *b, struct live *l)
{
	const struct pipeline *p = l->pipeline;
	size_t back = p->seconds < RATE_S ? p->seconds : RATE_S;
	size_t was = (p->seconds - back) % (RATE_S + 1);

	lt_buf_printf(b, "{\"clients\":%" PRIu64 ",\"clients_lagging\":%" PRIu64,
		hub_counters.clients, hub_counters.lagging);
	put_total(b, "events", hub_counters.events, p->at[was].events, (double)back);
	put_total(b, "lost", hub_counters.lost, p->at[was].lost, (double)back);
	put_total(b, "skipped", hub_counters.skipped, p->at[was].skipped, (double)back);
	lt_buf_printf(b, ",\"cut_total\":%" PRIu64 ",\"query_queue\":%zu,\"last_event_ms\":",
		hub_counters.cut, workers_queued(l->queries));
	json_number(b, l->hub->last_event_ms ? (double)l->hub->last_event_ms : NAN);
	lt_buf_char(b, '}');
}

static void put_sources(struct lt_buf *b, const struct hub *h)
{
	size_t n[3] = {0};

	for (size_t i = 0; i < h->n_sources; i++)
		if (h->sources[i]->seen_ms)
			n[h->sources[i]->state]++;
	lt_buf_printf(b, "{\"live\":%zu,\"late\":%zu,\"stale\":%zu}", n[LT_FLEET_LIVE],
		n[LT_FLEET_LATE], n[LT_FLEET_STALE]);
}

static void answer(struct live *l, struct http_req *req)
{
	const struct pipeline *p = l->pipeline;
	const struct server_figures *f = &p->now;
	struct lt_buf b = {0};

	lt_buf_printf(&b, "{\"server_ms\":%" PRId64 ",\"live\":", lt_wall_ns() / LT_NS_PER_MS);
	put_live(&b, l);
	lt_buf_str(&b, ",\"redis\":");
	hub_put_dependency(&b, &l->hub->redis);
	b.len--; /* the object goes on */
	put_figure(&b, "ping_ms", f->redis_ping_ms);
	put_figure(&b, "used_memory_bytes", f->used_memory);
	put_figure(&b, "max_memory_bytes", f->max_memory);
	put_figure(&b, "evicted_total", f->evicted);
	put_figure(&b, "connected_clients", f->redis_clients);
	put_figure(&b, "commands_per_s", p->commands_per_s);
	lt_buf_str(&b, "},\"postgres\":");
	hub_put_dependency(&b, &l->hub->postgres);
	b.len--;
	put_figure(&b, "ping_ms", f->pg_ping_ms);
	put_figure(&b, "database_bytes", f->database_bytes);
	put_figure(&b, "connections", f->connections);
	put_figure(&b, "commits_per_s", p->commits_per_s);
	put_figure(&b, "newest_ms", f->newest_ms);
	put_figure(&b, "missing_events", f->missing);
	put_figure(&b, "gap_events", f->gaps);
	lt_buf_str(&b, "},\"sources\":");
	put_sources(&b, l->hub);
	lt_buf_str(&b, ",\"broker\":");
	put_broker(&b, l->hub);
	lt_buf_str(&b, ",\"parts\":[");
	put_parts(&b, l->hub);
	lt_buf_str(&b, "]}\n");
	http_reply_buf(req, 200, "application/json", &b);
}

/* Increase a second; unknown after a restart of the server or without two answers. */
static double increase(double now, double before, double s)
{
	return s > 0 && now >= before ? (now - before) / s : NAN;
}

static void done(struct job *job)
{
	struct pipeline_job *j = (struct pipeline_job *)job;
	struct pipeline *p = j->live->pipeline;

	if (!job->cancelled && j->got.mono_ns > p->now.mono_ns) {
		double s = p->now.mono_ns ? (double)(j->got.mono_ns - p->now.mono_ns) / 1e9 : 0;

		p->commands_per_s = increase(j->got.commands, p->now.commands, s);
		p->commits_per_s = increase(j->got.commits, p->now.commits, s);
		p->now = j->got;
	}
	p->asking = false;
	while (p->waiting) {
		struct waiter *w = p->waiting;

		p->waiting = w->next;
		w->req->on_gone = NULL;
		answer(w->live, w->req);
		free(w);
	}
	free(j);
}

static void gone(void *arg)
{
	struct waiter *w = arg;

	for (struct waiter **at = &w->live->pipeline->waiting; *at; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			break;
		}
	free(w);
}

/* Return: false: the queue is full. */
static bool ask(struct live *l)
{
	struct pipeline_job *j = lt_calloc(1, sizeof(*j));

	j->live = l;
	j->got = nothing;
	/* One that is down is tried again by others; nobody waits for that here. */
	j->ask_redis = l->hub->redis.state != 2;
	j->ask_pg = l->hub->postgres.state != 2;
	j->job.run = run;
	j->job.done = done;
	if (!workers_submit(l->queries, &j->job)) {
		free(j);
		return false;
	}
	return true;
}

void api_pipeline(struct live *l, struct http_req *req)
{
	struct pipeline *p = l->pipeline;
	struct waiter *w;

	if (p->now.mono_ns && lt_mono_ns() - p->now.mono_ns < FRESH_NS) {
		answer(l, req);
		return;
	}
	if (!p->asking && !ask(l)) {
		/* That the queue is full is what this page is there to show. */
		answer(l, req);
		return;
	}
	p->asking = true;
	w = lt_calloc(1, sizeof(*w));
	w->live = l;
	w->req = req;
	w->next = p->waiting;
	p->waiting = w;
	req->on_gone = gone;
	req->gone_arg = w;
}

/* ---- life ---- */

static void on_second(void *arg)
{
	struct pipeline *p = arg;
	size_t at = ++p->seconds % (RATE_S + 1);

	p->at[at].events = hub_counters.events;
	p->at[at].lost = hub_counters.lost;
	p->at[at].skipped = hub_counters.skipped;
	lt_timer_start_ns(&p->second, LT_NS_PER_S);
}

void pipeline_start(struct live *l)
{
	struct pipeline *p = lt_calloc(1, sizeof(*p));

	l->pipeline = p;
	p->now = nothing;
	p->commands_per_s = p->commits_per_s = NAN;
	lt_timer_init(&p->second, &l->ctx->loop, on_second, p);
	lt_timer_start_ns(&p->second, LT_NS_PER_S);
}

void pipeline_free(struct live *l)
{
	if (!l->pipeline)
		return;
	lt_timer_fini(&l->pipeline->second);
	free(l->pipeline);
	l->pipeline = NULL;
}
