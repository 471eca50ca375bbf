/* SPDX-License-Identifier: MIT */
#include "warm.h"

#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/redis_layout.h"
#include "series.h"

#define CHUNK      16     /* windows in one pipeline */
#define FEW        8      /* events, to begin with: two of each stream, and the interval */
#define ENTRIES    100000 /* of one source */
#define PAGES      1000
#define SHAPES_MAX (64 << 20)

struct member {
	char name[LT_SOURCE_MAX + 1];
	int64_t seen_ms;
	uint32_t interval_ms;
	bool known; /* kind and interval were written down */
	bool device;
};

struct warm {
	struct lt_redis *redis;
	const struct lt_config *conf;
	struct lt_sources *sources;
	struct lt_warm_info *info;
	const struct lt_warm_opts *opts;
	int64_t now_ms;
	struct lt_shapes *shapes;
	struct lt_arena arena;
	struct lt_redis_cmd cmd;
	struct member *members;
	size_t n;
};

static int call(struct warm *w, struct lt_reply **r, struct lt_err *err)
{
	return lt_redis_call(w->redis, &w->cmd, r, err);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

static int read_seen(struct warm *w, struct lt_err *err)
{
	struct lt_reply *r;
	int rc;

	lt_redis_begin(&w->cmd, "ZRANGE");
	lt_redis_str(&w->cmd, LT_REDIS_SEEN);
	lt_redis_str(&w->cmd, "0");
	lt_redis_str(&w->cmd, "-1");
	lt_redis_str(&w->cmd, "WITHSCORES");
	rc = call(w, &r, err);
	if (rc != LT_OK)
		return rc;
	w->members = lt_calloc(lt_reply_n(r) / 2 + 1, sizeof(*w->members));
	for (size_t i = 0; i + 1 < lt_reply_n(r); i += 2) {
		struct member *m = &w->members[w->n];
		size_t len;
		const char *name = lt_reply_str(lt_reply_at(r, i), &len);

		if (!lt_source_valid(name, len))
			continue;
		memcpy(m->name, name, len);
		m->seen_ms = (int64_t)strtod(lt_reply_str(lt_reply_at(r, i + 1), NULL), NULL);
		w->n++;
	}
	lt_reply_free(r);
	qsort(w->members, w->n, sizeof(*w->members), by_name);
	return LT_OK;
}

static int read_kinds(struct warm *w, struct lt_err *err)
{
	struct lt_reply *r;
	int rc;

	lt_redis_begin(&w->cmd, "HGETALL");
	lt_redis_str(&w->cmd, LT_REDIS_ALERT_SOURCES);
	rc = call(w, &r, err);
	if (rc != LT_OK)
		return rc;
	for (size_t i = 0; i + 1 < lt_reply_n(r); i += 2) {
		const char *value = lt_reply_str(lt_reply_at(r, i + 1), NULL);
		const char *space = strchr(value, ' ');
		struct member key = {0}, *m;
		size_t len;
		const char *name = lt_reply_str(lt_reply_at(r, i), &len);

		if (!lt_source_valid(name, len) || !space)
			continue;
		memcpy(key.name, name, len);
		m = bsearch(&key, w->members, w->n, sizeof(key), by_name);
		if (!m)
			continue;
		m->known = true;
		m->device = strncmp(value, "device", 6) == 0;
		m->interval_ms = (uint32_t)strtoul(space + 1, NULL, 10);
	}
	lt_reply_free(r);
	return LT_OK;
}

/* ---- windows ---- */

static bool fetch_shape(struct warm *w, const char *source, uint64_t hash)
{
	struct lt_shape *shape;

	if (lt_redis_find_shape(w->redis, w->shapes, hash, &shape, NULL) != LT_OK)
		return false;
	lt_shapes_announce(w->shapes, source, shape);
	lt_shape_put(shape);
	return true;
}

/* NULL: it is a cache, and somebody else's key is no event. Released by the caller. */
static struct lt_event *decode(
	struct warm *w, const struct member *m, const char *packed, size_t len)
{
	const struct lt_decode_limits limits = {
		(size_t)w->conf->limits.max_bytes, (uint32_t)w->conf->limits.max_series};
	struct lt_origin origin = {.arrived_ns = w->now_ms * LT_NS_PER_MS, .device = m->device};
	struct lt_event *events = NULL;
	enum lt_reason reason;
	uint64_t hash;
	int rc;

	strcpy(origin.source, m->name);
	lt_arena_reset(&w->arena);
	rc = lt_decode(
		w->shapes, &limits, &origin, packed, len, &w->arena, &events, &reason, &hash, NULL);
	if (rc == LT_ESHAPE && fetch_shape(w, m->name, hash))
		rc = lt_decode(w->shapes, &limits, &origin, packed, len, &w->arena, &events,
			&reason, &hash, NULL);
	return rc == LT_OK ? events : NULL;
}

static void take_event(struct warm *w, struct member *m, const char *packed, size_t len)
{
	struct lt_event *events = decode(w, m, packed, len);

	for (struct lt_event *e = events; e; e = e->next) {
		/* When it arrived is not known; it counts as punctual. */
		e->device = m->device;
		e->arrived_ns = e->time_ns;
		if (!w->opts->fill)
			lt_sources_event(w->sources, e, w->now_ms, INT64_MIN);
		if (!w->opts->fill || lt_sources_fill(w->sources, e, w->now_ms))
			w->info->events++;
	}
	if (events)
		lt_events_release(events);
}

/* The packed event of an entry of the stream. */
static const char *packed_of(const struct lt_reply *entry, size_t *len)
{
	const struct lt_reply *fields = lt_reply_at(entry, 1);

	for (size_t k = 0; k + 1 < lt_reply_n(fields); k += 2)
		if (strcmp(lt_reply_str(lt_reply_at(fields, k), NULL), "e") == 0)
			return lt_reply_str(lt_reply_at(fields, k + 1), len);
	return NULL;
}

static void take_page(struct warm *w, struct member *m, const struct lt_reply *r)
{
	for (size_t i = lt_reply_n(r); i-- > 0;) { /* newest first */
		size_t len;
		const char *packed = packed_of(lt_reply_at(r, i), &len);

		if (packed)
			take_event(w, m, packed, len);
	}
}

/* Does the page end behind what is wanted, so that there may be more? */
static bool wants_more(
	struct warm *w, const struct member *m, const struct lt_reply *r, int64_t asked)
{
	struct lt_event *events = NULL;
	const char *packed;
	size_t len;
	bool more;

	if ((int64_t)lt_reply_n(r) < asked)
		return false;
	packed = packed_of(lt_reply_at(r, lt_reply_n(r) - 1), &len);
	if (packed)
		events = decode(w, m, packed, len);
	if (!events)
		return false;
	more = events->time_ns / LT_NS_PER_MS > w->opts->since_ms;
	lt_events_release(events);
	return more;
}

/* Unnumbered events stand under epoch 0: hardly a node's. */
static void guess_kind(struct member *m, const struct lt_reply *r)
{
	const char *id;

	if (m->known || !lt_reply_n(r))
		return;
	id = lt_reply_str(lt_reply_at(lt_reply_at(r, 0), 0), NULL);
	m->device = strncmp(id, "0-", 2) == 0;
}

static int64_t entries_of(const struct warm *w, const struct member *m)
{
	int64_t span_ms = w->now_ms - w->opts->since_ms;
	int64_t n = FEW;

	if (span_ms > 0)
		n += span_ms / (m->interval_ms ? m->interval_ms : 1000);
	return n < ENTRIES ? n : ENTRIES;
}

/* @before: the id of the oldest entry that is known; NULL: none is. */
static int ask(struct warm *w, const struct member *m, const char *before, struct lt_err *err)
{
	lt_redis_begin(&w->cmd, "XREVRANGE");
	lt_redis_key(&w->cmd, LT_REDIS_WINDOW, m->name);
	if (before)
		lt_redis_key(&w->cmd, "(", before);
	else
		lt_redis_str(&w->cmd, "+");
	lt_redis_str(&w->cmd, "-");
	lt_redis_str(&w->cmd, "COUNT");
	lt_redis_i64(&w->cmd, entries_of(w, m));
	return lt_redis_append(w->redis, &w->cmd, err);
}

/* The window of one source, of which the first page was read: oldest events first. */
static int take_window(
	struct warm *w, struct member *m, const struct lt_reply *first, struct lt_err *err)
{
	struct lt_reply *pages[PAGES];
	const struct lt_reply *last = first;
	int64_t asked = entries_of(w, m), most = ENTRIES / asked;
	size_t n = 0;
	int rc = LT_OK;

	/* Several streams, or a shorter interval than was known: there are more of them. */
	while (rc == LT_OK && n < PAGES && (int64_t)n < most && wants_more(w, m, last, asked)) {
		const struct lt_reply *entry = lt_reply_at(last, lt_reply_n(last) - 1);

		rc = ask(w, m, lt_reply_str(lt_reply_at(entry, 0), NULL), err);
		if (rc == LT_OK)
			rc = lt_redis_read(w->redis, &pages[n], err);
		if (rc == LT_OK)
			last = pages[n++];
	}
	while (n-- > 0) {
		if (rc == LT_OK)
			take_page(w, m, pages[n]);
		lt_reply_free(pages[n]);
	}
	if (rc == LT_OK)
		take_page(w, m, first);
	return rc;
}

static int read_chunk(struct warm *w, size_t from, size_t to, struct lt_err *err)
{
	struct lt_reply *replies[CHUNK] = {0};
	int rc = LT_OK;

	for (size_t i = from; i < to && rc == LT_OK; i++) {
		rc = ask(w, &w->members[i], NULL, err);
	}
	/* All of them first: a shape may have to be asked for in between. */
	for (size_t i = from; i < to && rc == LT_OK; i++)
		rc = lt_redis_read(w->redis, &replies[i - from], err);
	for (size_t i = from; i < to; i++) {
		struct lt_reply *r = replies[i - from];

		if (rc == LT_OK) {
			guess_kind(&w->members[i], r);
			rc = take_window(w, &w->members[i], r, err);
		}
		lt_reply_free(r);
	}
	return rc;
}

int lt_warm_start(struct lt_redis *redis, const struct lt_config *conf, struct lt_sources *t,
	const struct lt_warm_opts *opts, struct lt_warm_info *info, struct lt_err *err)
{
	struct warm w = {.redis = redis,
		.conf = conf,
		.sources = t,
		.info = info,
		.opts = opts,
		.now_ms = lt_wall_ns() / LT_NS_PER_MS};
	int rc;

	*info = (struct lt_warm_info){0};
	w.shapes = lt_shapes_new(SHAPES_MAX, (uint32_t)conf->limits.max_series);
	rc = lt_redis_check_layout(redis, err);
	if (rc == LT_OK)
		rc = read_seen(&w, err);
	if (rc == LT_OK)
		rc = read_kinds(&w, err);
	for (size_t i = 0; opts->windows && i < w.n && rc == LT_OK; i += CHUNK)
		rc = read_chunk(&w, i, i + CHUNK < w.n ? i + CHUNK : w.n, err);
	for (size_t i = 0; i < w.n && rc == LT_OK; i++) {
		const struct member *m = &w.members[i];

		lt_sources_known(t, m->name, m->device, m->seen_ms, m->interval_ms);
		if (m->seen_ms > info->newest_ms)
			info->newest_ms = m->seen_ms;
	}
	info->sources = w.n;
	lt_shapes_free(w.shapes);
	lt_arena_fini(&w.arena);
	lt_redis_cmd_fini(&w.cmd);
	free(w.members);
	return rc;
}
