/* SPDX-License-Identifier: MIT */
#include "backfill.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../event/json_read.h"
#include "../sink/pg_values.h"
#include "latido/clock.h"
#include "latido/event.h"
#include "latido/log.h"
#include "latido/promql.h"
#include "selectors.h"

#define SOURCES_AT_ONCE 8
#define TRIES           3  /* of a source by itself, then it is left out */
#define CHUNKS_MAX      4  /* that wait for the engine */
#define CLASSES_MAX     16 /* different windows; beyond, the longest counts */

static const char list_sources[] =
	"SELECT id::int8, name, kind = 'device' FROM source\n"
	"WHERE last_seen IS NULL OR last_seen > to_timestamp($1::int8 / 1000.0) ORDER BY id";
static const char list_series[] =
	"SELECT id::int8, name, labels::text FROM series WHERE $1::text = '' OR name IN "
	"(SELECT jsonb_array_elements_text(nullif($1::text, '')::jsonb)) ORDER BY id";
/*
 * $1 sources, $2 until when each, $3 series (lists), $4 from, $5 step (ms). Which shapes a source
 * used, by the first few snapshots of each of 60 pieces; then of each shape the first snapshot of
 * each step, by the index.
 */
static const char read_samples[] =
	"WITH asked AS MATERIALIZED (\n"
	"  SELECT id, until, greatest(1, (until - $4::int8) / 60) AS piece\n"
	"  FROM unnest($1::text::int[], $2::text::int8[]) o(id, until)),\n"
	"used AS MATERIALIZED (\n"
	"  SELECT o.id, o.until, x.shape_id, min(t.ms) - min(o.piece) AS lo,\n"
	"    max(t.ms) + 2 * min(o.piece) AS hi\n"
	"  FROM asked o CROSS JOIN LATERAL generate_series($4::int8, o.until, o.piece) t(ms)\n"
	"  CROSS JOIN LATERAL (\n"
	"    SELECT n.shape_id FROM snapshot n\n"
	"    WHERE n.source_id = o.id AND n.time >= to_timestamp(t.ms / 1000.0)\n"
	"      AND n.time < to_timestamp((t.ms + o.piece) / 1000.0)\n"
	"    ORDER BY n.time LIMIT 8) x\n"
	"  WHERE x.shape_id IN (\n"
	"    SELECT p.shape_id FROM shape_series p WHERE p.series_id = ANY($3::text::int[]))\n"
	"  GROUP BY 1, 2, 3)\n"
	"SELECT u.id::int8, p.series_id::int8,\n"
	"  array_agg(floor(extract(epoch FROM s.time) * 1000)::int8 ORDER BY s.time),\n"
	"  array_agg(s.vals[p.pos] ORDER BY s.time)\n"
	"FROM used u CROSS JOIN LATERAL\n"
	"  generate_series(greatest($4::int8, u.lo), least(u.until, u.hi), $5::int8) g(ms)\n"
	"CROSS JOIN LATERAL (\n"
	"  SELECT n.time, n.vals FROM snapshot n WHERE n.source_id = u.id\n"
	"    AND n.shape_id = u.shape_id AND n.time >= to_timestamp(g.ms / 1000.0)\n"
	"    AND n.time < to_timestamp(least(g.ms + $5::int8, u.until) / 1000.0)\n"
	"  ORDER BY n.time LIMIT 1) s\n"
	"JOIN shape_series p ON p.shape_id = u.shape_id AND p.series_id = ANY($3::text::int[])\n"
	"WHERE s.vals[p.pos] <> 'NaN' GROUP BY 1, 2";

/* A series as PostgreSQL has it: without its source. */
struct known {
	int64_t id;
	const char *name;
	struct lt_label_text *labels;
	size_t n_labels;
};

/* A source that lacks something. */
struct origin {
	int64_t id, until_ms;
	const char *name;
	bool device;
};

/* All series whose longest window is this. */
struct window {
	int64_t back_ms;
	struct lt_buf ids;
};

/* The job in hand; the thread's own. */
struct work {
	struct lt_backfill_job *job;
	struct lt_label_pool *pool;
	struct lt_promql_expr **exprs;
	struct lt_selectors *selectors;
	struct lt_arena arena;
	struct known *series; /* by id, as the next */
	struct origin *origins;
	size_t n_series, n_origins;
	struct window windows[CLASSES_MAX];
	size_t n_windows;
	bool listed;
	size_t window, origin, at_once, tries; /* where reading is */
};

struct lt_backfill {
	const struct lt_config *conf;
	struct lt_backfill_info *info;
	struct lt_pg pg;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct lt_backfill_job *asked; /* not yet begun */
	struct lt_backfill_chunk *first, **last;
	size_t n_chunks;
	bool quit, busy, stale; /* stale: what is being read is not wanted any more */
	struct work w;
	struct lt_backoff backoff;
	struct lt_complaint away;
};

void lt_backfill_job_free(struct lt_backfill_job *job)
{
	if (!job)
		return;
	for (size_t i = 0; i < job->n_exprs; i++)
		free(job->exprs[i]);
	for (size_t i = 0; i < job->n_sources; i++)
		free(job->sources[i].name);
	free(job->exprs);
	free(job->sources);
	free(job);
}

void lt_backfill_chunk_free(struct lt_backfill_chunk *c)
{
	if (!c)
		return;
	lt_arena_fini(&c->arena);
	free(c);
}

/* ---- a job ---- */

static void end_work(struct work *w)
{
	for (size_t i = 0; w->job && i < w->job->n_exprs; i++)
		lt_promql_free(w->exprs[i]);
	free(w->exprs);
	lt_selectors_free(w->selectors);
	for (size_t i = 0; i < w->n_windows; i++)
		lt_buf_fini(&w->windows[i].ids);
	lt_label_pool_free(w->pool);
	lt_arena_fini(&w->arena);
	free(w->series);
	free(w->origins);
	lt_backfill_job_free(w->job);
	*w = (struct work){0};
}

/* The long selectors of the job's expressions, in a pool of this thread. */
static void begin_work(struct lt_backfill *b, struct lt_backfill_job *job)
{
	struct work *w = &b->w;

	*w = (struct work){.job = job, .at_once = SOURCES_AT_ONCE};
	w->pool = lt_label_pool_new();
	w->selectors = lt_selectors_new(w->pool);
	w->exprs = lt_calloc(job->n_exprs + 1, sizeof(*w->exprs));
	for (size_t i = 0; i < job->n_exprs; i++) {
		if (lt_promql_parse(w->pool, job->exprs[i], strlen(job->exprs[i]), NULL,
			    &w->exprs[i], NULL, NULL) != LT_OK)
			continue; /* it was good when the rules were loaded */
		for (size_t k = 0; k < lt_promql_selector_count(w->exprs[i]); k++) {
			const struct lt_promql_selector *s = lt_promql_selector(w->exprs[i], k);
			struct lt_keep keep = {.back_ms = lt_as_window_ms(s)};

			if (keep.back_ms > job->shortest_ms)
				lt_selectors_add(w->selectors, s, &keep);
		}
	}
}

/* ---- what PostgreSQL has ---- */

static int by_name(const void *a, const void *b)
{
	const struct lt_backfill_source *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : x->device - y->device;
}

static int read_sources(struct lt_backfill *b, struct lt_err *err)
{
	struct work *w = &b->w;
	unsigned char since[8];
	int64_t back_ms = lt_selectors_longest_ms(w->selectors);
	const struct lt_pg_param param = pg_int8(w->job->now_ms - back_ms - 300000, since);
	struct pg_result *r = NULL;
	int rc = lt_pg_query(&b->pg, list_sources, &param, 1, &r, err);

	if (rc != LT_OK)
		return rc;
	qsort(w->job->sources, w->job->n_sources, sizeof(*w->job->sources), by_name);
	w->origins = lt_calloc(lt_pg_rows(r) + 1, sizeof(*w->origins));
	for (size_t i = 0; i < lt_pg_rows(r); i++) {
		struct origin *o = &w->origins[w->n_origins];
		size_t len;
		const char *name = lt_pg_bytes(r, i, 1, &len);
		struct lt_backfill_source key, *known;

		*o = (struct origin){.id = lt_pg_int(r, i, 0),
			.until_ms = w->job->now_ms,
			.name = lt_arena_str(&w->arena, name, len),
			.device = lt_pg_int(r, i, 2) != 0};
		key = (struct lt_backfill_source){.name = (char *)o->name, .device = o->device};
		known = bsearch(&key, w->job->sources, w->job->n_sources, sizeof(key), by_name);
		if (known && known->since_ms < o->until_ms)
			o->until_ms = known->since_ms;
		if (o->until_ms > w->job->now_ms - back_ms + LT_BACKFILL_TOLERANCE_MS)
			w->n_origins++;
	}
	lt_pg_result_free(r);
	return LT_OK;
}

/* {"cpu": "0"} as jsonb writes it, with the names that evaluation gives them. */
static size_t read_labels(
	struct lt_arena *arena, const char *json, size_t size, struct lt_label_text *out)
{
	struct lt_buf scratch = {0};
	struct json_value key, v;
	bool first = true;
	size_t n = 0, len;
	struct json j;

	json_init(&j, json, size);
	if (json_value(&j, &v) && v.type == JSON_OBJECT)
		while (n < LT_LABELS_MAX && json_member(&j, &first, &key) == 1 &&
			json_value(&j, &v) && v.type == JSON_STRING) {
			const char *s = json_text(&key, &scratch, &len);

			if (len == 8 && !memcmp(s, "instance", 8)) {
				s = "exported_instance";
				len = strlen(s);
			} else if (len == 3 && !memcmp(s, "job", 3)) {
				s = "exported_job";
				len = strlen(s);
			}
			out[n].name = lt_arena_str(arena, s, len);
			out[n].name_len = (uint32_t)len;
			s = json_text(&v, &scratch, &len);
			out[n].value = lt_arena_str(arena, s, len);
			out[n++].value_len = (uint32_t)len;
		}
	lt_buf_fini(&scratch);
	return n;
}

static void put_id(struct lt_buf *b, int64_t id)
{
	lt_buf_printf(b, b->len ? ",%lld" : "{%lld", (long long)id);
}

static struct window *window_of(struct work *w, int64_t back_ms)
{
	struct window *longest = &w->windows[0];

	for (size_t i = 0; i < w->n_windows; i++) {
		if (w->windows[i].back_ms == back_ms)
			return &w->windows[i];
		if (w->windows[i].back_ms > longest->back_ms)
			longest = &w->windows[i];
	}
	if (w->n_windows == CLASSES_MAX) {
		if (back_ms > longest->back_ms)
			longest->back_ms = back_ms;
		return longest;
	}
	w->windows[w->n_windows] = (struct window){.back_ms = back_ms};
	return &w->windows[w->n_windows++];
}

/* The metric names of all long selectors as a JSON array; "" when one demands none. */
static void wanted_names(const struct work *w, struct lt_buf *out)
{
	for (size_t i = 0; i < w->job->n_exprs; i++)
		for (size_t k = 0; w->exprs[i] && k < lt_promql_selector_count(w->exprs[i]); k++) {
			const struct lt_promql_selector *s = lt_promql_selector(w->exprs[i], k);
			size_t len;
			const char *name;

			if (lt_as_window_ms(s) <= w->job->shortest_ms)
				continue;
			if (s->name == LT_SYM_NONE) {
				lt_buf_reset(out);
				return;
			}
			name = lt_sym_text(w->pool, s->name, &len);
			lt_buf_char(out, out->len ? ',' : '[');
			lt_buf_json_str(out, name, len);
		}
	lt_buf_str(out, out->len ? "]" : "[]");
}

static int read_series(struct lt_backfill *b, struct lt_err *err)
{
	struct lt_label_text labels[LT_LABELS_MAX];
	struct lt_buf names = {0};
	struct work *w = &b->w;
	struct pg_result *r = NULL;
	struct lt_pg_param param;
	int rc;

	wanted_names(w, &names);
	param = (struct lt_pg_param){names.data ? names.data : "", names.len};
	rc = lt_pg_query(&b->pg, list_series, &param, 1, &r, err);
	lt_buf_fini(&names);
	if (rc != LT_OK)
		return rc;
	w->series = lt_calloc(lt_pg_rows(r) + 1, sizeof(*w->series));
	for (size_t i = 0; i < lt_pg_rows(r); i++) {
		size_t name_len, size;
		const char *name = lt_pg_bytes(r, i, 1, &name_len);
		const char *json = lt_pg_bytes(r, i, 2, &size);
		struct lt_arena_mark mark = lt_arena_mark(&w->arena);
		size_t n = read_labels(&w->arena, json, size, labels);
		int64_t back_ms = lt_selectors_may_back_ms(w->selectors, name, name_len, labels, n);

		if (back_ms < 0) {
			lt_arena_rewind(&w->arena, mark);
			continue;
		}
		w->series[w->n_series] = (struct known){.id = lt_pg_int(r, i, 0),
			.name = lt_arena_str(&w->arena, name, name_len),
			.labels = lt_arena_dup(&w->arena, labels, n * sizeof(*labels)),
			.n_labels = n};
		put_id(&window_of(w, back_ms)->ids, w->series[w->n_series++].id);
	}
	for (size_t i = 0; i < w->n_windows; i++)
		lt_buf_char(&w->windows[i].ids, '}');
	lt_pg_result_free(r);
	return LT_OK;
}

/* ---- samples ---- */

static int known_by_id(const void *id, const void *x)
{
	int64_t a = *(const int64_t *)id, b = ((const struct known *)x)->id;

	return a < b ? -1 : a > b;
}

static int origin_by_id(const void *id, const void *x)
{
	int64_t a = *(const int64_t *)id, b = ((const struct origin *)x)->id;

	return a < b ? -1 : a > b;
}

static struct lt_label_text label(const char *name, const char *value)
{
	return (struct lt_label_text){name, value, (uint32_t)strlen(name), (uint32_t)strlen(value)};
}

/* Into an arena of the chunk's own: the engine's thread reads it when this job may be over. */
static void own_labels(struct lt_backfill_chunk *c, struct lt_backfill_series *s,
	const struct known *x, const struct origin *o)
{
	struct lt_label_text *l;

	s->labels = l = lt_arena_alloc(&c->arena, (x->n_labels + 3) * sizeof(*l));
	l[s->n_labels++] = label("__name__", x->name);
	l[s->n_labels++] = label("instance", o->name);
	l[s->n_labels++] = label("job", o->device ? "device" : "node");
	memcpy(l + s->n_labels, x->labels, x->n_labels * sizeof(*l));
	s->n_labels += x->n_labels;
	for (size_t i = 0; i < s->n_labels; i++) {
		l[i].name = lt_arena_str(&c->arena, l[i].name, l[i].name_len);
		l[i].value = lt_arena_str(&c->arena, l[i].value, l[i].value_len);
	}
}

static int take_row(struct lt_backfill *b, struct lt_backfill_chunk *c, const struct pg_result *r,
	size_t row, struct lt_err *err)
{
	struct work *w = &b->w;
	int64_t source = lt_pg_int(r, row, 0), series = lt_pg_int(r, row, 1);
	const struct origin *o =
		bsearch(&source, w->origins, w->n_origins, sizeof(*o), origin_by_id);
	const struct known *x = bsearch(&series, w->series, w->n_series, sizeof(*x), known_by_id);
	struct lt_backfill_series *s = &c->series[c->n];
	struct pg_array times, values;

	if (!pg_array(r, row, 2, &times) || !pg_array(r, row, 3, &values) || times.n != values.n)
		return lt_fail(err, LT_EDATA, LT_CLS_FATAL, "alert.backfill",
			"PostgreSQL answered with something else than arrays");
	if (!o || !x || !times.n)
		return LT_OK;
	*s = (struct lt_backfill_series){0};
	own_labels(c, s, x, o);
	s->t_ms = lt_arena_alloc(&c->arena, times.n * sizeof(*s->t_ms));
	s->v = lt_arena_alloc(&c->arena, times.n * sizeof(*s->v));
	for (size_t i = 0; i < times.n; i++) {
		int64_t t_ms = pg_array_int(&times, i);

		if (s->n && s->t_ms[s->n - 1] >= t_ms)
			continue;
		s->t_ms[s->n] = t_ms;
		s->v[s->n++] = pg_array_double(&values, i);
	}
	c->n++;
	return LT_OK;
}

static void hand_over(struct lt_backfill *b, struct lt_backfill_chunk *c)
{
	pthread_mutex_lock(&b->lock);
	while (b->n_chunks >= CHUNKS_MAX && !b->quit && !b->stale)
		pthread_cond_wait(&b->cond, &b->lock);
	if (b->quit || b->stale) {
		lt_backfill_chunk_free(c);
	} else {
		*b->last = c;
		b->last = &c->next;
		b->n_chunks++;
	}
	pthread_mutex_unlock(&b->lock);
}

/* The next few sources of the window in hand. */
static int read_chunk(struct lt_backfill *b, size_t end, struct lt_err *err)
{
	struct work *w = &b->w;
	const struct window *win = &w->windows[w->window];
	int64_t from_ms = w->job->now_ms - win->back_ms;
	int64_t step_ms = win->back_ms / b->conf->alert.max_points + 1;
	struct lt_buf ids = {0}, until = {0};
	unsigned char from[8], step[8];
	struct pg_result *r = NULL;
	struct lt_backfill_chunk *c;
	size_t asked = 0;
	int rc;

	for (size_t i = w->origin; i < end; i++) {
		if (w->origins[i].until_ms <= from_ms + LT_BACKFILL_TOLERANCE_MS)
			continue;
		put_id(&ids, w->origins[i].id);
		put_id(&until, w->origins[i].until_ms);
		asked++;
	}
	lt_buf_char(&ids, '}');
	lt_buf_char(&until, '}');
	rc = !asked ? LT_OK
		    : lt_pg_query(&b->pg, read_samples,
			      (struct lt_pg_param[]){{ids.data, ids.len}, {until.data, until.len},
				      {win->ids.data, win->ids.len}, pg_int8(from_ms, from),
				      pg_int8(step_ms, step)},
			      5, &r, err);
	lt_buf_fini(&ids);
	lt_buf_fini(&until);
	if (rc != LT_OK || !asked)
		return rc;
	c = lt_calloc(1, sizeof(*c));
	c->series = lt_arena_alloc(&c->arena, (lt_pg_rows(r) + 1) * sizeof(*c->series));
	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r); i++)
		rc = take_row(b, c, r, i, err);
	lt_pg_result_free(r);
	if (rc == LT_OK && c->n)
		hand_over(b, c);
	else
		lt_backfill_chunk_free(c);
	return rc;
}

/* What was asked may have been too much for one statement, or one source's rows are damaged. */
static void read_failed(struct lt_backfill *b, const struct lt_err *why)
{
	struct work *w = &b->w;

	if (w->at_once > 1) {
		w->at_once = 1;
		return;
	}
	if (++w->tries % TRIES)
		return;
	lt_counter_add(&b->info->skipped, 1);
	lt_log(LT_ERROR, "windows_source_skipped", LT_S("source", w->origins[w->origin].name),
		LT_S("err", why->msg));
	w->origins[w->origin++].until_ms = INT64_MIN; /* nor in the windows that follow */
}

/* One step of the job. Return: 1: there is more to do; 0: it is done; or a code. */
static int step(struct lt_backfill *b, struct lt_err *err)
{
	struct work *w = &b->w;
	int rc = LT_OK;

	if (!b->pg.conn)
		rc = lt_pg_connect(&b->pg, &b->conf->postgres, err);
	if (rc == LT_OK && !w->listed) {
		if (!w->origins)
			rc = read_sources(b, err);
		if (rc == LT_OK && !w->series)
			rc = read_series(b, err);
		w->listed = rc == LT_OK;
	} else if (rc == LT_OK && w->window < w->n_windows) {
		size_t end = w->origin + w->at_once;

		rc = read_chunk(b, end < w->n_origins ? end : w->n_origins, err);
		if (rc == LT_OK) {
			w->origin = end;
			w->tries = 0;
			if (w->at_once < SOURCES_AT_ONCE)
				w->at_once *= 2;
		} else if (err->code != LT_ESTOPPED) {
			read_failed(b, err);
		}
		if (w->origin >= w->n_origins) {
			w->origin = 0;
			w->window++;
		}
	}
	return rc != LT_OK ? rc : w->window < w->n_windows;
}

/* ---- the thread ---- */

static void wait_until(struct lt_backfill *b, int64_t mono_ns)
{
	struct timespec t = {.tv_sec = mono_ns / LT_NS_PER_S, .tv_nsec = mono_ns % LT_NS_PER_S};

	pthread_cond_timedwait(&b->cond, &b->lock, &t);
}

/* With the lock: a new job, or that the old one is not wanted any more. */
static void take_job(struct lt_backfill *b)
{
	struct lt_backfill_job *job = b->asked;

	b->asked = NULL;
	b->stale = false;
	pthread_mutex_unlock(&b->lock);
	end_work(&b->w);
	if (job)
		begin_work(b, job);
	else
		lt_pg_close(&b->pg);
	pthread_mutex_lock(&b->lock);
}

static void *backfill_main(void *arg)
{
	struct lt_backfill *b = arg;
	struct lt_err err = {0};

	pthread_setname_np(pthread_self(), "alert-backfill");
	pthread_mutex_lock(&b->lock);
	while (!b->quit) {
		int64_t retry_ns;
		int rc;

		if (b->stale)
			take_job(b);
		if (!b->w.job) {
			if (!b->stale) {
				b->busy = false;
				pthread_cond_wait(&b->cond, &b->lock);
			}
			continue;
		}
		pthread_mutex_unlock(&b->lock);
		rc = step(b, &err);
		if (rc < 0) {
			lt_counter_add(&b->info->failures, 1);
			lt_complain(&b->away, LT_WARN, "windows_not_read", LT_S("err", err.msg));
			lt_pg_close(&b->pg);
		} else {
			lt_backoff_reset(&b->backoff);
			lt_release(&b->away, "windows_read_again");
		}
		if (rc == 0) {
			end_work(&b->w);
			lt_pg_close(&b->pg);
		}
		pthread_mutex_lock(&b->lock);
		if (rc >= 0)
			continue;
		retry_ns = lt_mono_ns() + lt_backoff_next_ms(&b->backoff) * LT_NS_PER_MS;
		while (!b->quit && !b->stale && lt_mono_ns() < retry_ns)
			wait_until(b, retry_ns);
	}
	pthread_mutex_unlock(&b->lock);
	end_work(&b->w);
	lt_pg_close(&b->pg);
	return NULL;
}

static void free_chunks(struct lt_backfill *b)
{
	struct lt_backfill_chunk *c;

	while ((c = b->first)) {
		b->first = c->next;
		lt_backfill_chunk_free(c);
	}
	b->last = &b->first;
	b->n_chunks = 0;
}

void lt_backfill_ask(struct lt_backfill *b, struct lt_backfill_job *job)
{
	pthread_mutex_lock(&b->lock);
	lt_backfill_job_free(b->asked);
	b->asked = job;
	b->stale = true;
	b->busy = true;
	free_chunks(b);
	pthread_cond_broadcast(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

struct lt_backfill_chunk *lt_backfill_take(struct lt_backfill *b)
{
	struct lt_backfill_chunk *c;

	pthread_mutex_lock(&b->lock);
	c = b->first;
	if (c) {
		b->first = c->next;
		if (!b->first)
			b->last = &b->first;
		b->n_chunks--;
		pthread_cond_broadcast(&b->cond);
	}
	pthread_mutex_unlock(&b->lock);
	return c;
}

bool lt_backfill_done(struct lt_backfill *b)
{
	bool done;

	pthread_mutex_lock(&b->lock);
	done = !b->busy && !b->first;
	pthread_mutex_unlock(&b->lock);
	return done;
}

struct lt_backfill *lt_backfill_start(
	const struct lt_config *conf, struct lt_backfill_info *info, struct lt_err *err)
{
	struct lt_backfill *b = lt_calloc(1, sizeof(*b));
	pthread_condattr_t mono;
	sigset_t all, old;
	int rc;

	b->conf = conf;
	b->info = info;
	b->last = &b->first;
	b->pg.interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	lt_backoff_init(&b->backoff, 500, 30000);
	pthread_mutex_init(&b->lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&b->cond, &mono);
	pthread_condattr_destroy(&mono);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&b->thread, NULL, backfill_main, b);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		lt_fail(err, LT_EIO, LT_CLS_FATAL, "alert.backfill", "cannot start a thread: %s",
			strerror(rc));
		close(b->pg.interrupt_fd);
		free(b);
		return NULL;
	}
	return b;
}

void lt_backfill_stop(struct lt_backfill *b)
{
	uint64_t one = 1;

	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	b->quit = true;
	pthread_cond_broadcast(&b->cond);
	pthread_mutex_unlock(&b->lock);
	if (write(b->pg.interrupt_fd, &one, sizeof(one)) < 0)
		lt_log(LT_DEBUG, "alert_backfill_interrupt");
	pthread_join(b->thread, NULL);
	free_chunks(b);
	lt_backfill_job_free(b->asked);
	close(b->pg.interrupt_fd);
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->cond);
	free(b);
}
