/* SPDX-License-Identifier: MIT */
#include "hub.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "latido/stats.h"

#define PARKED_MAX       64 /* of one source */
#define PARKED_BYTES_MAX (32u << 20)

struct hub_parked {
	struct hub_parked *next;
	uint64_t hash;
	bool old;
	size_t size;
	char data[];
};

const char *const hub_columns[COLS] = {"cpu", "mem", "disk", "rx", "tx", "io", "load", "main"};

struct hub_counters hub_counters;
static struct lt_hist event_to_hub;
static struct lt_counter undecoded;

static double count(void *p)
{
	return (double)*(uint64_t *)p;
}

const struct lt_stat hub_stats[] = {
	{"latido_live_events_total", LT_STAT_COUNTER_FN, NULL, "Events received from Redis.",
		&hub_counters.events, count},
	{"latido_live_lost_events_total", LT_STAT_COUNTER_FN, NULL,
		"Events dropped because they came faster than they could be read.",
		&hub_counters.lost, count},
	{"latido_live_undecoded_events_total", LT_STAT_COUNTER, NULL,
		"Messages on the live channel that are no events, or whose names nobody knew.",
		&undecoded, NULL},
	{"latido_live_skipped_events_total", LT_STAT_COUNTER_FN, NULL,
		"Events that slow clients were told they missed.", &hub_counters.skipped, count},
	{"latido_live_cut_clients_total", LT_STAT_COUNTER_FN, NULL,
		"Clients that took nothing for so long that they were cut off.", &hub_counters.cut,
		count},
	{"latido_live_resume_cut_total", LT_STAT_COUNTER_FN, NULL,
		"Frames that could not be kept as long as live.resume says.",
		&hub_counters.ring_cut, count},
	{"latido_live_clients", LT_STAT_GAUGE_FN, NULL, "Open streams.", &hub_counters.clients,
		count},
	{"latido_live_lagging_clients", LT_STAT_GAUGE_FN, NULL,
		"Open streams that are behind and get the newest state when they can take it.",
		&hub_counters.lagging, count},
	{"latido_live_following", LT_STAT_GAUGE_FN, NULL,
		"1 while what is in Redis was read and its live channels are followed.",
		&hub_counters.following, count},
	{"latido_live_event_to_hub_seconds", LT_STAT_HIST, NULL,
		"From the sampling of an event until it is known here; both clocks matter.",
		&event_to_hub, NULL},
};
const size_t hub_stats_n = LT_ARRAY_LEN(hub_stats);

/* ---- sources ---- */

static uint64_t hash_name(const struct hub *h, const char *s)
{
	uint64_t x = h->seed;

	for (; *s; s++)
		x = (x ^ (unsigned char)*s) * UINT64_C(1099511628211);
	return x ^ (x >> 29);
}

struct hub_source *hub_find(struct hub *h, const char *name)
{
	struct hub_source *s = h->buckets[hash_name(h, name) % h->n_buckets];

	while (s && strcmp(s->name, name))
		s = s->next;
	return s;
}

struct hub_source *hub_expect(struct hub *h, const char *name)
{
	struct hub_source *s = hub_find(h, name);
	struct hub_source **bucket;

	if (s)
		return s;
	if (h->n_sources == HUB_SOURCES) {
		static struct lt_complaint full;

		lt_complain(&full, LT_WARN, "too_many_sources", LT_I("limit", HUB_SOURCES));
		return NULL;
	}
	s = lt_calloc(1, sizeof(*s));
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->index = (uint32_t)h->n_sources;
	s->state = LT_FLEET_STALE;
	s->fresh = true;
	s->parked_last = &s->parked;
	lt_fleet_sample_init(&s->sample);
	for (size_t i = 0; i < COLS; i++)
		s->values[i] = NAN;
	hub_spark_init(s);
	if ((h->n_sources & (h->n_sources - 1)) == 0)
		h->sources = lt_realloc(h->sources,
			(h->n_sources ? 2 * h->n_sources : 1) * sizeof(struct hub_source *));
	h->sources[h->n_sources++] = s;
	bucket = &h->buckets[hash_name(h, name) % h->n_buckets];
	s->next = *bucket;
	*bucket = s;
	return s;
}

static struct hub_stream *stream_of(struct hub_source *s, const char *name)
{
	struct hub_stream *st;

	for (size_t i = 0; i < s->n_streams; i++)
		if (!strcmp(s->streams[i].name, name))
			return &s->streams[i];
	if (s->n_streams == HUB_STREAMS)
		return NULL;
	s->streams = lt_realloc(s->streams, (s->n_streams + 1) * sizeof(*s->streams));
	st = &s->streams[s->n_streams++];
	memset(st, 0, sizeof(*st));
	snprintf(st->name, sizeof(st->name), "%s", name);
	return st;
}

void hub_warm(struct hub *h, struct hub_source *s)
{
	s->warm_until_ns = lt_mono_ns() + h->conf->live.resume_ms * LT_NS_PER_MS;
	if (s->warm_since)
		return;
	s->warm_since = h->last_id + 1;
	for (size_t i = 0; i < s->n_streams; i++)
		s->streams[i].told_id = 0;
}

void hub_set_facts(struct hub *h, const char *source, bool device, const char *labels)
{
	struct hub_source *s = hub_find(h, source);

	if (!s)
		return;
	if (!s->kind_known || s->device != device) {
		s->kind_known = true;
		s->device = device;
		s->fresh = true;
		h->sources_changed = true;
	}
	if (*labels || s->labels) {
		free(s->labels);
		s->labels = lt_strdup(labels);
	}
}

/* ---- events ---- */

/* Is it news for this stream? As the window and the hash decide: by (epoch, seq). */
static bool is_news(
	const struct hub_source *s, const struct hub_stream *st, const struct lt_event *e)
{
	if (!st->known)
		return e->epoch >= s->epoch || !e->epoch;
	if (e->epoch) {
		if (e->epoch != st->epoch)
			return e->epoch > st->epoch && e->epoch >= s->epoch;
		return e->seq > st->seq;
	}
	return !e->has_time || e->time_ns / LT_NS_PER_MS >= st->time_ms;
}

static void update_values(struct hub_source *s, const struct lt_event *e)
{
	const struct lt_fleet_sample *f = &s->sample;
	const double fresh[COLS] = {f->cpu_pct, f->mem_pct, f->disk_pct, f->rx_bytes_s,
		f->tx_bytes_s, f->io_bytes_s, f->load1, f->main};

	(void)e;
	memcpy(s->values, fresh, sizeof(fresh));
	if (!s->kind_known && s->device == f->is_node) {
		s->device = !f->is_node;
		s->fresh = true;
	}
}

static void note_seen(struct hub *h, struct hub_source *s, int64_t seen_ms)
{
	int64_t now = lt_wall_ns() / LT_NS_PER_MS;
	enum lt_fleet_state state;

	if (seen_ms > now)
		seen_ms = now; /* a clock that runs ahead does not make a dead node look alive */
	if (seen_ms > s->seen_ms)
		s->seen_ms = seen_ms;
	state = lt_fleet_state_of((double)(now - s->seen_ms) / 1000, s->sample.interval_ms);
	if (state != s->state) {
		s->state = state;
		s->fresh = true;
	}
	if (s->fresh && s->seen_ms)
		h->sources_changed = true;
}

/* The counter of these very events is among the figures of whoever sends them. */
static bool has_figures(const struct lt_shape *shape)
{
	static const char *const names[] = {
		"latido_consumer_self_events_total", "latido_bridge_self_events_total"};

	for (uint32_t i = 0; i < shape->n_series; i++)
		for (size_t k = 0; k < LT_ARRAY_LEN(names); k++)
			if (shape->series[i].name_len == strlen(names[k]) &&
				!memcmp(shape->series[i].name, names[k], strlen(names[k])))
				return true;
	return false;
}

static void take_event(struct hub *h, struct hub_source *s, const struct lt_event *e, bool old)
{
	struct hub_stream *st = stream_of(s, e->stream);
	uint8_t *before;
	int64_t before_ms;
	size_t size = 8 * (size_t)e->n;
	bool same_shape;
	int64_t now = lt_wall_ns();

	if (!st || !is_news(s, st, e))
		return;
	hub_counters.events++;
	if (!old)
		lt_hist_add(&event_to_hub, now - e->time_ns);
	same_shape = st->known && st->shape == e->shape && st->epoch == e->epoch;
	before = st->values;
	before_ms = st->time_ms;
	if (st->shape != e->shape) {
		lt_shape_put(st->shape);
		lt_shape_get(e->shape);
		st->shape = e->shape;
		st->figures = !*st->name && has_figures(e->shape);
	}
	st->values = lt_malloc(size ? size : 1);
	if (size)
		memcpy(st->values, e->values, size);
	st->n = e->n;
	st->known = true;
	st->epoch = e->epoch;
	st->seq = e->seq;
	st->time_ms = e->time_ns / LT_NS_PER_MS;
	st->interval_ms = e->interval_ms;
	st->partial = e->partial;
	if (e->epoch > s->epoch || (e->epoch == s->epoch && e->seq > s->seq)) {
		s->epoch = e->epoch;
		s->seq = e->seq;
	}
	lt_fleet_sample_add(&s->sample, e);
	update_values(s, e);
	s->has_row = true;
	note_seen(h, s, st->time_ms);
	hub_spark_add(s, st->time_ms);
	if (st->time_ms > h->last_event_ms)
		h->last_event_ms = st->time_ms;
	if (h->n_rows++)
		lt_buf_char(&h->rows, ',');
	hub_put_row(&h->rows, s, e->seq, st->time_ms);
	if (s->warm_since)
		hub_node_frame(h, s, st, same_shape && st->told_id ? before : NULL);
	free(st->before);
	st->before = NULL;
	if (st->figures && same_shape) {
		st->before = before;
		st->before_ms = before_ms;
	} else {
		free(before);
	}
	if (!lt_timer_pending(&h->flush))
		lt_timer_start_ns(&h->flush, h->conf->live.flush_ms * LT_NS_PER_MS);
}

static void park(
	struct hub *h, struct hub_source *s, const char *data, size_t size, uint64_t hash, bool old)
{
	struct hub_parked *p;

	upstream_want_shape(h->upstream, hash);
	if (s->n_parked == PARKED_MAX || h->n_parked_bytes + size > PARKED_BYTES_MAX) {
		lt_counter_add(&undecoded, 1);
		return;
	}
	p = lt_malloc(sizeof(*p) + size);
	*p = (struct hub_parked){.hash = hash, .old = old, .size = size};
	memcpy(p->data, data, size);
	*s->parked_last = p;
	s->parked_last = &p->next;
	s->n_parked++;
	h->n_parked_bytes += size;
}

/* Return: the hash of the shape that is missing, else 0. */
static uint64_t decode(struct hub *h, struct hub_source *s, const char *data, size_t size, bool old)
{
	const struct lt_decode_limits limits = {
		(size_t)h->conf->limits.max_bytes, (uint32_t)h->conf->limits.max_series};
	struct lt_origin origin = {.arrived_ns = lt_wall_ns()};
	enum lt_reason reason;
	struct lt_event *first = NULL;
	uint64_t missing = 0;
	int rc;

	snprintf(origin.source, sizeof(origin.source), "%s", s->name);
	rc = lt_decode(h->shapes, &limits, &origin, data, size, &h->arena, &first, &reason,
		&missing, NULL);
	if (rc == LT_OK) {
		for (struct lt_event *e = first; e; e = e->next)
			take_event(h, s, e, old);
		lt_events_release(first);
	} else if (rc != LT_ESHAPE) {
		lt_counter_add(&undecoded, 1);
	}
	lt_arena_reset(&h->arena);
	return rc == LT_ESHAPE ? missing : 0;
}

static void take_message(struct hub *h, const struct upstream_msg *m)
{
	struct hub_source *s = hub_expect(h, m->source);
	uint64_t missing;

	if (!s)
		return;
	/* A window that we asked for, and events that came meanwhile: those were all. */
	if (m->number == 1)
		s->filling = !s->has_row && !s->parked;
	if (m->number && !s->filling)
		return;
	if (s->parked) { /* in order */
		park(h, s, m->data, m->size, s->parked->hash, m->old);
		return;
	}
	missing = decode(h, s, m->data, m->size, m->old);
	if (missing)
		park(h, s, m->data, m->size, missing, m->old);
}

/* A shape came, or is known not to exist: go on with those that waited for it. */
static void unpark(struct hub *h, struct hub_source *s, uint64_t hash, struct lt_shape *shape)
{
	while (s->parked && s->parked->hash == hash) {
		struct hub_parked *p = s->parked;
		uint64_t missing;

		if (shape)
			lt_shapes_announce(h->shapes, s->name, shape);
		missing = decode(h, s, p->data, p->size, p->old);
		if (missing && missing != hash) {
			p->hash = hash = missing;
			upstream_want_shape(h->upstream, missing);
			return;
		}
		if (missing)
			lt_counter_add(&undecoded, 1);
		s->parked = p->next;
		if (!s->parked)
			s->parked_last = &s->parked;
		s->n_parked--;
		h->n_parked_bytes -= p->size;
		free(p);
		if (s->parked)
			s->parked->hash = hash;
	}
}

static void take_shape(struct hub *h, const struct upstream_msg *m)
{
	uint64_t hash = (uint64_t)m->number;
	struct lt_shape *shape = NULL;

	if (m->size)
		shape = lt_shapes_intern(h->shapes, m->data, m->size, NULL);
	if (shape && shape->hash != hash) {
		lt_shape_put(shape);
		shape = NULL;
	}
	for (size_t i = 0; i < h->n_sources; i++)
		unpark(h, h->sources[i], hash, shape);
	lt_shape_put(shape);
}

static void set_dependency(struct hub *h, struct hub_dependency *d, bool ok, const char *error)
{
	struct lt_buf data = {0};
	int state = ok ? 1 : 2;

	if (ok)
		error = "";
	if (d->state == state && !strcmp(d->error, error))
		return;
	if (d->state != state)
		d->since_ms = lt_wall_ns() / LT_NS_PER_MS;
	d->state = state;
	snprintf(d->error, sizeof(d->error), "%s", error);
	hub_put_status(&data, h);
	hub_tell(h, "status", &data);
	lt_buf_fini(&data);
}

void hub_set_postgres(struct hub *h, const struct lt_err *err)
{
	set_dependency(h, &h->postgres, !err, err ? err->msg : "");
}

static void on_message(void *arg, const struct upstream_msg *m)
{
	struct hub *h = arg;
	struct hub_source *s;

	switch (m->kind) {
	case UP_EVENT:
		take_message(h, m);
		break;
	case UP_SHAPE:
		take_shape(h, m);
		break;
	case UP_SEEN:
		/* Its first events may have been published just before we subscribed. */
		if (!m->old && !hub_find(h, m->source))
			upstream_want_window(h->upstream, m->source);
		s = hub_expect(h, m->source);
		if (s)
			note_seen(h, s, m->number);
		break;
	case UP_ALERTS:
		hub_take_alerts(h, m->data, m->size);
		break;
	case UP_CAUGHT_UP:
		break;
	case UP_STATE:
		hub_counters.following = m->number != 0;
		set_dependency(h, &h->redis, m->number != 0, m->data);
		break;
	case UP_LOST:
		hub_counters.lost += (uint64_t)m->number;
		lt_log(LT_WARN, "events_lost", LT_I("events", m->number));
		break;
	}
}

static void on_batch_end(void *arg)
{
	struct hub *h = arg;

	if (h->sources_changed && !lt_timer_pending(&h->flush))
		lt_timer_start_ns(&h->flush, h->conf->live.flush_ms * LT_NS_PER_MS);
}

static struct upstream_position *on_positions(void *arg, size_t *n)
{
	struct hub *h = arg;
	struct upstream_position *list = lt_calloc(h->n_sources + 1, sizeof(*list));

	*n = h->n_sources;
	for (size_t i = 0; i < h->n_sources; i++) {
		memcpy(list[i].source, h->sources[i]->name, sizeof(list[i].source));
		list[i].epoch = h->sources[i]->epoch;
		list[i].seq = h->sources[i]->seq;
	}
	return list;
}

/* ---- time ---- */

static void on_flush(void *arg)
{
	hub_flush(arg);
}

static void on_second(void *arg)
{
	struct hub *h = arg;
	int64_t now = lt_mono_ns();

	for (size_t i = 0; i < h->n_sources; i++) {
		struct hub_source *s = h->sources[i];

		note_seen(h, s, 0);
		if (s->watchers)
			hub_warm(h, s);
		else if (s->warm_since && now > s->warm_until_ns)
			s->warm_since = 0;
	}
	hub_trim_ring(h, false);
	on_batch_end(h);
	lt_timer_start_ns(&h->second, LT_NS_PER_S);
}

/* ---- life ---- */

struct hub *hub_new(struct lt_loop *loop, const struct lt_config *conf, struct lt_err *err)
{
	struct hub *h = lt_calloc(1, sizeof(*h));

	(void)err;
	h->loop = loop;
	h->conf = conf;
	h->boot = lt_random_u64();
	h->seed = lt_random_u64();
	h->started_ms = lt_wall_ns() / LT_NS_PER_MS;
	h->n_buckets = 4096;
	h->buckets = lt_calloc(h->n_buckets, sizeof(struct hub_source *));
	h->pending_last = &h->pending;
	h->ring_last = &h->ring;
	h->redis.name = "redis";
	h->postgres.name = "postgres";
	h->redis.since_ms = h->postgres.since_ms = h->started_ms;
	h->shapes = lt_shapes_new(
		(size_t)conf->limits.shape_cache_bytes, (uint32_t)conf->limits.max_series);
	lt_timer_init(&h->flush, loop, on_flush, h);
	lt_timer_init(&h->second, loop, on_second, h);
	lt_timer_start_ns(&h->second, LT_NS_PER_S);
	return h;
}

int hub_start(struct hub *h, struct lt_err *err)
{
	const struct upstream_options opt = {
		.conf = h->conf,
		.window_ms = (int64_t)SPARK_POINTS * SPARK_STEP_MS,
		.message = on_message,
		.batch_end = on_batch_end,
		.positions = on_positions,
		.arg = h,
	};

	h->upstream = upstream_start(h->loop, &opt, err);
	return h->upstream ? LT_OK : err->code;
}

void hub_stop(struct hub *h)
{
	upstream_stop(h->upstream);
	h->upstream = NULL;
	lt_timer_stop(&h->flush);
	lt_timer_stop(&h->second);
}

static void free_source(struct hub_source *s)
{
	struct hub_parked *p, *next;

	for (p = s->parked; p; p = next) {
		next = p->next;
		free(p);
	}
	for (size_t i = 0; i < s->n_streams; i++) {
		lt_shape_put(s->streams[i].shape);
		free(s->streams[i].values);
		free(s->streams[i].before);
	}
	free(s->streams);
	free(s->labels);
	free(s);
}

void hub_free(struct hub *h)
{
	struct hub_frame *f, *next;

	if (!h)
		return;
	hub_stop(h);
	for (f = h->pending; f; f = next) {
		next = f->next;
		hub_frame_free(f);
	}
	hub_trim_ring(h, true);
	http_bytes_put(h->fleet_now);
	hub_free_alerts(h);
	for (size_t i = 0; i < h->n_sources; i++)
		free_source(h->sources[i]);
	free(h->sources);
	free(h->buckets);
	lt_buf_fini(&h->rows);
	lt_timer_fini(&h->flush);
	lt_timer_fini(&h->second);
	lt_arena_fini(&h->arena);
	lt_shapes_free(h->shapes);
	free(h);
}
