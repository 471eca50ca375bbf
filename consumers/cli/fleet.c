/* SPDX-License-Identifier: MIT */
#include "fleet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/redis_layout.h"

#define ENTRIES          8 /* of each window and refresh: enough for two snapshots of each stream */
#define CHUNK            64 /* windows in one pipeline */
#define SHAPES_MAX_BYTES (64 << 20)

struct node {
	char source[LT_SOURCE_MAX + 1];
	char last_id[64]; /* of its window, "" = nothing read yet */
	struct lt_fleet_sample sample;
	int64_t seen_ms, read_seen_ms; /* now, and when its window was last read */
	bool present;
	bool readable; /* its name is one that latido-hot can have written */
};

struct fleet {
	const struct lt_config *conf;
	struct lt_redis *redis;
	struct lt_redis_cmd cmd;
	struct lt_shapes *shapes;
	struct lt_arena arena;
	struct node *nodes; /* sorted by name */
	size_t n, cap;
	size_t left_out;
	int64_t now_ms;
};

struct fleet *fleet_new(const struct lt_config *conf, struct lt_err *err)
{
	struct fleet *f = lt_calloc(1, sizeof(*f));

	f->conf = conf;
	f->redis = lt_redis_new(&conf->redis, err);
	if (!f->redis) {
		free(f);
		return NULL;
	}
	f->shapes = lt_shapes_new(SHAPES_MAX_BYTES, (uint32_t)conf->limits.max_series);
	return f;
}

void fleet_free(struct fleet *f)
{
	if (!f)
		return;
	lt_redis_free(f->redis);
	lt_redis_cmd_fini(&f->cmd);
	lt_shapes_free(f->shapes);
	lt_arena_fini(&f->arena);
	free(f->nodes);
	free(f);
}

const char *fleet_where(const struct fleet *f)
{
	return lt_redis_where(f->redis);
}

void fleet_interrupt(struct fleet *f)
{
	lt_redis_interrupt(f->redis);
}

void fleet_table_fini(struct fleet_table *t)
{
	free(t->rows);
	*t = (struct fleet_table){0};
}

/* ---- who is there ---- */

static int read_clock(struct fleet *f, struct lt_err *err)
{
	struct lt_reply *r;
	int rc;

	lt_redis_begin(&f->cmd, "TIME");
	rc = lt_redis_call(f->redis, &f->cmd, &r, err);
	if (rc != LT_OK)
		return rc;
	f->now_ms = strtoll(lt_reply_str(lt_reply_at(r, 0), NULL), NULL, 10) * 1000 +
		    strtoll(lt_reply_str(lt_reply_at(r, 1), NULL), NULL, 10) / 1000;
	lt_reply_free(r);
	return LT_OK;
}

static int by_source(const void *a, const void *b)
{
	return strcmp(((const struct node *)a)->source, ((const struct node *)b)->source);
}

static void see(struct fleet *f, size_t known, const char *name, size_t len, const char *score)
{
	struct node *node, key;

	if (len > LT_SOURCE_MAX || memchr(name, '\0', len)) {
		f->left_out++;
		return;
	}
	memcpy(key.source, name, len);
	key.source[len] = '\0';
	node = known ? bsearch(&key, f->nodes, known, sizeof(*f->nodes), by_source) : NULL;
	if (!node) {
		if (f->n >= FLEET_MAX) {
			f->left_out++;
			return;
		}
		if (f->n == f->cap) {
			f->cap = f->cap ? 2 * f->cap : 64;
			f->nodes = lt_realloc(f->nodes, f->cap * sizeof(*f->nodes));
		}
		node = &f->nodes[f->n++];
		*node = (struct node){.readable = lt_source_valid(name, len)};
		memcpy(node->source, key.source, len + 1);
		lt_fleet_sample_init(&node->sample);
	}
	node->seen_ms = (int64_t)strtod(score, NULL);
	node->present = true;
}

static int read_seen(struct fleet *f, struct lt_err *err)
{
	size_t known = f->n, kept = 0, len;
	struct lt_reply *r;
	const char *name;
	int rc;

	lt_redis_begin(&f->cmd, "ZRANGE");
	lt_redis_str(&f->cmd, LT_REDIS_SEEN);
	lt_redis_str(&f->cmd, "0");
	lt_redis_str(&f->cmd, "-1");
	lt_redis_str(&f->cmd, "WITHSCORES");
	rc = lt_redis_call(f->redis, &f->cmd, &r, err);
	if (rc != LT_OK)
		return rc;
	f->left_out = 0;
	for (size_t i = 0; i < f->n; i++)
		f->nodes[i].present = false;
	for (size_t i = 0; i + 1 < lt_reply_n(r); i += 2) {
		name = lt_reply_str(lt_reply_at(r, i), &len);
		see(f, known, name, len, lt_reply_str(lt_reply_at(r, i + 1), NULL));
	}
	lt_reply_free(r);
	for (size_t i = 0; i < f->n; i++)
		if (f->nodes[i].present)
			f->nodes[kept++] = f->nodes[i];
	f->n = kept;
	if (f->n)
		qsort(f->nodes, f->n, sizeof(*f->nodes), by_source);
	return LT_OK;
}

/* ---- what they say ---- */

static bool fetch_shape(struct fleet *f, const char *source, uint64_t hash)
{
	struct lt_shape *shape;

	if (lt_redis_find_shape(f->redis, f->shapes, hash, &shape, NULL) != LT_OK)
		return false;
	lt_shapes_announce(f->shapes, source, shape);
	lt_shape_put(shape);
	return true;
}

static void read_entry(struct fleet *f, struct node *node, const char *packed, size_t len)
{
	const struct lt_decode_limits limits = {
		(size_t)f->conf->limits.max_bytes, (uint32_t)f->conf->limits.max_series};
	struct lt_origin origin = {.arrived_ns = f->now_ms * LT_NS_PER_MS};
	struct lt_event *events = NULL;
	enum lt_reason reason;
	uint64_t hash;
	int rc;

	strcpy(origin.source, node->source);
	lt_arena_reset(&f->arena);
	rc = lt_decode(
		f->shapes, &limits, &origin, packed, len, &f->arena, &events, &reason, &hash, NULL);
	if (rc == LT_ESHAPE && fetch_shape(f, node->source, hash))
		rc = lt_decode(f->shapes, &limits, &origin, packed, len, &f->arena, &events,
			&reason, &hash, NULL);
	/* What cannot be read is not shown: the row then has fewer values. */
	if (rc != LT_OK)
		return;
	for (const struct lt_event *e = events; e; e = e->next)
		lt_fleet_sample_add(&node->sample, e);
	lt_events_release(events);
}

static void read_window(struct fleet *f, struct node *node, const struct lt_reply *r)
{
	/* News that the window has nothing of: it was deleted, and its ids may begin anew. */
	if (lt_reply_n(r) == 0 && node->seen_ms > node->read_seen_ms)
		node->last_id[0] = '\0';
	node->read_seen_ms = node->seen_ms;
	/* Newest first; rates want them in their own order. */
	for (size_t i = lt_reply_n(r); i-- > 0;) {
		const struct lt_reply *entry = lt_reply_at(r, i);
		const struct lt_reply *fields = lt_reply_at(entry, 1);
		size_t len;
		const char *packed;

		for (size_t k = 0; k + 1 < lt_reply_n(fields); k += 2) {
			if (strcmp(lt_reply_str(lt_reply_at(fields, k), NULL), "e"))
				continue;
			packed = lt_reply_str(lt_reply_at(fields, k + 1), &len);
			read_entry(f, node, packed, len);
		}
		snprintf(node->last_id, sizeof(node->last_id), "%s",
			lt_reply_str(lt_reply_at(entry, 0), NULL));
	}
}

static int ask_window(struct fleet *f, const struct node *node, struct lt_err *err)
{
	char after[72];

	lt_redis_begin(&f->cmd, "XREVRANGE");
	lt_redis_key(&f->cmd, LT_REDIS_WINDOW, node->source);
	lt_redis_str(&f->cmd, "+");
	snprintf(after, sizeof(after), node->last_id[0] ? "(%s" : "-", node->last_id);
	lt_redis_str(&f->cmd, after);
	lt_redis_str(&f->cmd, "COUNT");
	lt_redis_i64(&f->cmd, ENTRIES);
	return lt_redis_append(f->redis, &f->cmd, err);
}

static int read_windows(struct fleet *f, size_t from, size_t to, struct lt_err *err)
{
	struct lt_reply *replies[CHUNK] = {0};
	int rc = LT_OK;

	for (size_t i = from; i < to && rc == LT_OK; i++)
		if (f->nodes[i].readable)
			rc = ask_window(f, &f->nodes[i], err);
	/* All of them first: a shape may have to be asked for in between. */
	for (size_t i = from; i < to && rc == LT_OK; i++)
		if (f->nodes[i].readable)
			rc = lt_redis_read(f->redis, &replies[i - from], err);
	for (size_t i = from; i < to; i++) {
		struct lt_reply *r = replies[i - from];

		/* An error reply (somebody else's key) has no elements. */
		if (r && rc == LT_OK)
			read_window(f, &f->nodes[i], r);
		lt_reply_free(r);
	}
	return rc;
}

/* ---- the table ---- */

static void fill(const struct fleet *f, struct fleet_table *out)
{
	*out = (struct fleet_table){.rows = lt_calloc(f->n ? f->n : 1, sizeof(*out->rows)),
		.n = f->n,
		.now_ms = f->now_ms,
		.left_out = f->left_out};
	for (size_t i = 0; i < f->n; i++) {
		const struct node *node = &f->nodes[i];
		struct fleet_row *row = &out->rows[i];

		*row = (struct fleet_row){
			.seen_ms = node->seen_ms,
			.age_s = fmax(0, (double)(f->now_ms - node->seen_ms) / 1000),
			.cpu_pct = node->sample.cpu_pct,
			.mem_pct = node->sample.mem_pct,
			.disk_pct = node->sample.disk_pct,
			.rx_bytes_s = node->sample.rx_bytes_s,
			.tx_bytes_s = node->sample.tx_bytes_s,
			.load1 = node->sample.load1,
		};
		memcpy(row->source, node->source, sizeof(row->source));
		row->state = lt_fleet_state_of(row->age_s, node->sample.interval_ms);
	}
}

int fleet_refresh(struct fleet *f, struct fleet_table *out, struct lt_err *err)
{
	int rc = LT_OK;

	*out = (struct fleet_table){0};
	if (!lt_redis_connected(f->redis)) {
		rc = lt_redis_connect(f->redis, err);
		if (rc == LT_OK)
			rc = lt_redis_check_layout(f->redis, err);
		/* It may be another one, or an empty one: ids of before mean nothing there. */
		for (size_t i = 0; i < f->n; i++)
			f->nodes[i].last_id[0] = '\0';
	}
	if (rc == LT_OK)
		rc = read_seen(f, err);
	for (size_t i = 0; i < f->n && rc == LT_OK; i += CHUNK)
		rc = read_windows(f, i, i + CHUNK < f->n ? i + CHUNK : f->n, err);
	/* Last, so that nothing is younger than now. */
	if (rc == LT_OK)
		rc = read_clock(f, err);
	if (rc == LT_OK)
		fill(f, out);
	else
		lt_redis_close(f->redis);
	return rc;
}
