/* SPDX-License-Identifier: MIT */
#include "warm.h"

#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/redis_layout.h"
#include "series.h"

#define CHUNK      16 /* windows in one pipeline */
#define FEW        8  /* events, to begin with: two of each stream, and the interval */
#define ENTRIES    100000
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
	int64_t longest_ms, now_ms;
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

static void take_event(struct warm *w, struct member *m, const char *packed, size_t len)
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
	if (rc != LT_OK)
		return; /* it is a cache, and somebody else's key is no event */
	for (struct lt_event *e = events; e; e = e->next) {
		/* When it arrived is not known; it counts as punctual. */
		e->device = m->device;
		e->arrived_ns = e->time_ns;
		lt_sources_event(w->sources, e, w->now_ms, INT64_MIN);
		w->info->events++;
	}
	lt_events_release(events);
}

static void take_window(struct warm *w, struct member *m, const struct lt_reply *r)
{
	for (size_t i = lt_reply_n(r); i-- > 0;) { /* newest first */
		const struct lt_reply *fields = lt_reply_at(lt_reply_at(r, i), 1);

		for (size_t k = 0; k + 1 < lt_reply_n(fields); k += 2) {
			size_t len;
			const char *packed = lt_reply_str(lt_reply_at(fields, k + 1), &len);

			if (strcmp(lt_reply_str(lt_reply_at(fields, k), NULL), "e") == 0)
				take_event(w, m, packed, len);
		}
	}
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
	int64_t n = FEW;

	if (m->interval_ms)
		n += w->longest_ms / m->interval_ms;
	else
		n += w->longest_ms / 1000;
	return n < ENTRIES ? n : ENTRIES;
}

static int read_chunk(struct warm *w, size_t from, size_t to, struct lt_err *err)
{
	struct lt_reply *replies[CHUNK] = {0};
	int rc = LT_OK;

	for (size_t i = from; i < to && rc == LT_OK; i++) {
		lt_redis_begin(&w->cmd, "XREVRANGE");
		lt_redis_key(&w->cmd, LT_REDIS_WINDOW, w->members[i].name);
		lt_redis_str(&w->cmd, "+");
		lt_redis_str(&w->cmd, "-");
		lt_redis_str(&w->cmd, "COUNT");
		lt_redis_i64(&w->cmd, entries_of(w, &w->members[i]));
		rc = lt_redis_append(w->redis, &w->cmd, err);
	}
	/* All of them first: a shape may have to be asked for in between. */
	for (size_t i = from; i < to && rc == LT_OK; i++)
		rc = lt_redis_read(w->redis, &replies[i - from], err);
	for (size_t i = from; i < to; i++) {
		struct lt_reply *r = replies[i - from];

		if (rc == LT_OK) {
			guess_kind(&w->members[i], r);
			take_window(w, &w->members[i], r);
		}
		lt_reply_free(r);
	}
	return rc;
}

int lt_warm_start(struct lt_redis *redis, const struct lt_config *conf, struct lt_sources *t,
	int64_t longest_ms, bool windows, struct lt_warm_info *info, struct lt_err *err)
{
	struct warm w = {.redis = redis,
		.conf = conf,
		.sources = t,
		.info = info,
		.longest_ms = longest_ms,
		.now_ms = lt_wall_ns() / LT_NS_PER_MS};
	int rc;

	*info = (struct lt_warm_info){0};
	w.shapes = lt_shapes_new(SHAPES_MAX, (uint32_t)conf->limits.max_series);
	rc = lt_redis_check_layout(redis, err);
	if (rc == LT_OK)
		rc = read_seen(&w, err);
	if (rc == LT_OK)
		rc = read_kinds(&w, err);
	for (size_t i = 0; windows && i < w.n && rc == LT_OK; i += CHUNK)
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
