/* SPDX-License-Identifier: MIT */
/* What a backfill reads from PostgreSQL, a few sources at a time. */
#include <stdlib.h>
#include <string.h>

#include "../event/json_read.h"
#include "../sink/pg_values.h"
#include "backfill_int.h"
#include "latido/clock.h"
#include "latido/event.h"
#include "latido/log.h"
#include "latido/promql.h"

#define SOURCES_AT_ONCE 8
#define TRIES           3                   /* of a source by itself, then it is left out */
#define WAIT_NS         (300 * LT_NS_PER_S) /* without progress of any source that is waited for */

static const char list_sources[] =
	"SELECT id::int8, name, kind = 'device' FROM source\n"
	"WHERE last_seen IS NULL OR last_seen > to_timestamp($1::int8 / 1000.0) ORDER BY id";
static const char list_series[] =
	"SELECT id::int8, name, labels::text FROM series WHERE $1::text = '' OR name IN "
	"(SELECT jsonb_array_elements_text(nullif($1::text, '')::jsonb)) ORDER BY id";
/* $1 sources, $2 their epochs. */
static const char read_progress[] = "SELECT e.source_id::int8, p.upto\n"
				    "FROM unnest($1::text::int[], $2::text::int8[]) o(id, epoch)\n"
				    "JOIN epoch e ON e.source_id = o.id AND e.epoch = o.epoch\n"
				    "JOIN progress p ON p.epoch_id = e.id";
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

/* ---- a job ---- */

void backfill_end(struct backfill_work *w)
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
	lt_gauge_set(&w->info->waiting, 0);
	*w = (struct backfill_work){.conf = w->conf, .info = w->info};
}

/* The long selectors of the job's expressions, in a pool of this thread. */
void backfill_begin(struct backfill_work *w, struct lt_backfill_job *job)
{
	w->job = job;
	w->at_once = SOURCES_AT_ONCE;
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

/* What is missing of a window of this length begins there. */
static int64_t begin_ms(const struct backfill_work *w, int64_t back_ms)
{
	int64_t from_ms = w->job->now_ms - back_ms;

	return from_ms > w->job->from_ms ? from_ms : w->job->from_ms;
}

static int read_sources(struct backfill_work *w, struct lt_pg *pg, struct lt_err *err)
{
	unsigned char since[8];
	int64_t back_ms = lt_selectors_longest_ms(w->selectors);
	const struct lt_pg_param param = pg_int8(w->job->now_ms - back_ms - 300000, since);
	struct pg_result *r = NULL;
	int rc = lt_pg_query(pg, list_sources, &param, 1, &r, err);

	if (rc != LT_OK)
		return rc;
	qsort(w->job->sources, w->job->n_sources, sizeof(*w->job->sources), by_name);
	w->origins = lt_calloc(lt_pg_rows(r) + 1, sizeof(*w->origins));
	for (size_t i = 0; i < lt_pg_rows(r); i++) {
		struct backfill_origin *o = &w->origins[w->n_origins];
		size_t len;
		const char *name = lt_pg_bytes(r, i, 1, &len);
		struct lt_backfill_source key, *known;

		*o = (struct backfill_origin){.id = lt_pg_int(r, i, 0),
			.until_ms = w->job->until_ms,
			.name = lt_arena_str(&w->arena, name, len),
			.device = lt_pg_int(r, i, 2) != 0};
		key = (struct lt_backfill_source){.name = (char *)o->name, .device = o->device};
		known = bsearch(&key, w->job->sources, w->job->n_sources, sizeof(key), by_name);
		if (known) {
			o->until_ms = known->until_ms;
			o->shift_ms = known->shift_ms;
			o->epoch = (int64_t)known->epoch;
			o->seq = (int64_t)known->seq;
		}
		o->due = true;
		o->waits = o->seq > 0;
		if (o->until_ms > begin_ms(w, back_ms) + LT_BACKFILL_TOLERANCE_MS)
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

static struct backfill_window *window_of(struct backfill_work *w, int64_t back_ms)
{
	struct backfill_window *longest = &w->windows[0];

	for (size_t i = 0; i < w->n_windows; i++) {
		if (w->windows[i].back_ms == back_ms)
			return &w->windows[i];
		if (w->windows[i].back_ms > longest->back_ms)
			longest = &w->windows[i];
	}
	if (w->n_windows == BACKFILL_CLASSES_MAX) {
		if (back_ms > longest->back_ms)
			longest->back_ms = back_ms;
		return longest;
	}
	w->windows[w->n_windows] = (struct backfill_window){.back_ms = back_ms};
	return &w->windows[w->n_windows++];
}

/* The metric names of all long selectors as a JSON array; "" when one demands none. */
static void wanted_names(const struct backfill_work *w, struct lt_buf *out)
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

static int read_series(struct backfill_work *w, struct lt_pg *pg, struct lt_err *err)
{
	struct lt_label_text labels[LT_LABELS_MAX];
	struct lt_buf names = {0};
	struct pg_result *r = NULL;
	struct lt_pg_param param;
	int rc;

	wanted_names(w, &names);
	param = (struct lt_pg_param){names.data ? names.data : "", names.len};
	rc = lt_pg_query(pg, list_series, &param, 1, &r, err);
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
		w->series[w->n_series] = (struct backfill_known){.id = lt_pg_int(r, i, 0),
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
	int64_t a = *(const int64_t *)id, b = ((const struct backfill_known *)x)->id;

	return a < b ? -1 : a > b;
}

static int origin_by_id(const void *id, const void *x)
{
	int64_t a = *(const int64_t *)id, b = ((const struct backfill_origin *)x)->id;

	return a < b ? -1 : a > b;
}

static struct lt_label_text label(const char *name, const char *value)
{
	return (struct lt_label_text){name, value, (uint32_t)strlen(name), (uint32_t)strlen(value)};
}

/* Into an arena of the chunk's own: the engine's thread reads it when this job may be over. */
static void own_labels(struct lt_backfill_chunk *c, struct lt_backfill_series *s,
	const struct backfill_known *x, const struct backfill_origin *o)
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

static int take_row(const struct backfill_work *w, struct lt_backfill_chunk *c,
	const struct pg_result *r, size_t row, struct lt_err *err)
{
	int64_t source = lt_pg_int(r, row, 0), series = lt_pg_int(r, row, 1);
	const struct backfill_origin *o =
		bsearch(&source, w->origins, w->n_origins, sizeof(*o), origin_by_id);
	const struct backfill_known *x =
		bsearch(&series, w->series, w->n_series, sizeof(*x), known_by_id);
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
		int64_t t_ms = pg_array_int(&times, i) + o->shift_ms;

		if (s->n && s->t_ms[s->n - 1] >= t_ms)
			continue;
		s->t_ms[s->n] = t_ms;
		s->v[s->n++] = pg_array_double(&values, i);
	}
	c->n++;
	return LT_OK;
}

/* The next few sources of the window in hand. */
static int read_chunk(struct backfill_work *w, struct lt_pg *pg, size_t end,
	struct lt_backfill_chunk **chunk, struct lt_err *err)
{
	const struct backfill_window *win = &w->windows[w->window];
	int64_t from_ms = begin_ms(w, win->back_ms);
	int64_t step_ms = win->back_ms / w->conf->alert.max_points + 1;
	struct lt_buf ids = {0}, until = {0};
	unsigned char from[8], step[8];
	struct pg_result *r = NULL;
	struct lt_backfill_chunk *c;
	size_t asked = 0;
	int rc;

	for (size_t i = w->origin; i < end; i++) {
		const struct backfill_origin *o = &w->origins[i];

		if (!o->due || o->until_ms <= from_ms + LT_BACKFILL_TOLERANCE_MS)
			continue;
		put_id(&ids, o->id);
		put_id(&until, o->until_ms - o->shift_ms);
		asked++;
	}
	lt_buf_char(&ids, '}');
	lt_buf_char(&until, '}');
	rc = !asked ? LT_OK
		    : lt_pg_query(pg, read_samples,
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
		rc = take_row(w, c, r, i, err);
	lt_pg_result_free(r);
	if (rc == LT_OK && c->n)
		*chunk = c;
	else
		lt_backfill_chunk_free(c);
	return rc;
}

/* What was asked may have been too much for one statement, or one source's rows are damaged. */
static void read_failed(struct backfill_work *w, const struct lt_err *why)
{
	if (w->at_once > 1) {
		w->at_once = 1;
		return;
	}
	if (++w->tries % TRIES)
		return;
	lt_counter_add(&w->info->skipped, 1);
	lt_log(LT_ERROR, "windows_source_skipped", LT_S("source", w->origins[w->origin].name),
		LT_S("err", why->msg));
	w->origins[w->origin].waits = false;
	w->origins[w->origin++].until_ms = INT64_MIN; /* nor in the windows that follow */
}

/* The next piece of the pass in hand. */
static int read_on(struct backfill_work *w, struct lt_pg *pg, struct lt_backfill_chunk **chunk,
	struct lt_err *err)
{
	size_t end = w->origin + w->at_once;
	int rc = read_chunk(w, pg, end < w->n_origins ? end : w->n_origins, chunk, err);

	if (rc == LT_OK) {
		w->origin = end;
		w->tries = 0;
		if (w->at_once < SOURCES_AT_ONCE)
			w->at_once *= 2;
	} else if (err->code != LT_ESTOPPED) {
		read_failed(w, err);
	}
	if (w->origin >= w->n_origins) {
		w->origin = 0;
		w->window++;
	}
	return rc;
}

/* ---- latido-store's progress ---- */

/* What latido-store has of one source by now. Return: did that change? */
static bool note_progress(struct backfill_work *w, int64_t id, int64_t upto)
{
	struct backfill_origin *o =
		bsearch(&id, w->origins, w->n_origins, sizeof(*o), origin_by_id);
	bool moved = o && upto > o->upto;

	if (!o)
		return false;
	o->upto = upto;
	if (o->waits && o->upto >= o->seq) {
		o->waits = false;
		o->due = true;
	}
	return moved;
}

static size_t count_waiting(const struct backfill_work *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n_origins; i++)
		n += w->origins[i].waits;
	return n;
}

/* Who may not read it is told once, and gets what is there. */
static int look_failed(struct backfill_work *w, const struct lt_pg *pg, int rc, struct lt_err *err)
{
	if (strcmp(pg->sqlstate, "42501") != 0) /* insufficient_privilege */
		return rc;
	lt_log(LT_WARN, "windows_progress_unknown", LT_S("err", err->msg));
	for (size_t i = 0; i < w->n_origins; i++)
		w->origins[i].waits = false;
	w->looked = true;
	return LT_OK;
}

/* Which sources are whole in PostgreSQL by now? */
static int look(struct backfill_work *w, struct lt_pg *pg, struct lt_err *err)
{
	struct lt_buf ids = {0}, epochs = {0};
	struct pg_result *r = NULL;
	bool moved = !w->looked;
	int rc;

	for (size_t i = 0; i < w->n_origins; i++) {
		if (!w->origins[i].waits)
			continue;
		put_id(&ids, w->origins[i].id);
		put_id(&epochs, w->origins[i].epoch);
	}
	if (!ids.len) {
		w->looked = true;
		return LT_OK;
	}
	lt_buf_char(&ids, '}');
	lt_buf_char(&epochs, '}');
	rc = lt_pg_query(pg, read_progress,
		(struct lt_pg_param[]){{ids.data, ids.len}, {epochs.data, epochs.len}}, 2, &r, err);
	lt_buf_fini(&ids);
	lt_buf_fini(&epochs);
	if (rc != LT_OK)
		return look_failed(w, pg, rc, err);
	for (size_t i = 0; i < lt_pg_rows(r); i++)
		moved |= note_progress(w, lt_pg_int(r, i, 0), lt_pg_int(r, i, 1));
	lt_pg_result_free(r);
	w->looked = true;
	if (moved)
		w->moved_ns = lt_mono_ns();
	lt_gauge_set(&w->info->waiting, (int64_t)count_waiting(w));
	return LT_OK;
}

/* A pass is over: is there to be another one, and now? */
static int after_pass(struct backfill_work *w, struct lt_pg *pg, struct lt_err *err)
{
	size_t waiting = count_waiting(w);
	bool due = false;
	int rc;

	if (!waiting || !w->n_windows)
		return BACKFILL_DONE;
	for (size_t i = 0; i < w->n_origins; i++)
		w->origins[i].due = false;
	rc = look(w, pg, err);
	if (rc != LT_OK)
		return rc;
	if (lt_mono_ns() - w->moved_ns > WAIT_NS) {
		lt_log(LT_WARN, "windows_not_awaited", LT_U("sources", waiting),
			LT_S("err",
				"latido-store brings nothing more of them; what is there counts"));
		for (size_t i = 0; i < w->n_origins; i++) {
			w->origins[i].due |= w->origins[i].waits;
			w->origins[i].waits = false;
		}
	}
	for (size_t i = 0; i < w->n_origins; i++)
		due |= w->origins[i].due;
	if (due)
		w->window = 0;
	return due ? BACKFILL_MORE : BACKFILL_WAIT;
}

int backfill_step(struct backfill_work *w, struct lt_pg *pg, struct lt_backfill_chunk **chunk,
	struct lt_err *err)
{
	int rc = LT_OK;

	*chunk = NULL;
	if (!pg->conn) {
		rc = lt_pg_connect(pg, &w->conf->postgres, err);
		w->moved_ns = lt_mono_ns(); /* while PostgreSQL was away nothing could come */
	}
	if (rc != LT_OK)
		return rc;
	if (!w->listed) {
		if (!w->origins)
			rc = read_sources(w, pg, err);
		if (rc == LT_OK && !w->series)
			rc = read_series(w, pg, err);
		if (rc == LT_OK)
			rc = look(w, pg, err);
		w->listed = rc == LT_OK;
	} else if (w->window < w->n_windows) {
		rc = read_on(w, pg, chunk, err);
	}
	if (rc != LT_OK || w->window < w->n_windows)
		return rc != LT_OK ? rc : BACKFILL_MORE;
	return after_pass(w, pg, err);
}
