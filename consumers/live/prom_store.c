/* SPDX-License-Identifier: MIT */
#include "prom.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/event/json_read.h"
#include "../../lib/sink/pg_values.h"
#include "latido/clock.h"

#define MS(p)    "('epoch'::timestamptz + " p "::int8 * interval '1 millisecond')"
/* Milliseconds as a Prometheus would have them. */
#define TO_MS(t) "floor(extract(epoch FROM " t ") * 1000)::int8"

/* More snapshots than this of all sources: plain selectors are read step by step. */
#define ROWS_MAX 200000

static const char select_sources[] =
	"SELECT id::int8, name, kind = 'device' FROM source ORDER BY id";
static const char select_series[] =
	"SELECT id::int8, name, labels::text, kind::int4 FROM series "
	"WHERE $1::text = '' OR name = $1::text ORDER BY id LIMIT 50001";

/* $1 sources, $2 series (lists of ids), $3 from, $4 to (ms, inclusive) */
static const char select_all[] =
	"SELECT o.id::int8, p.series_id::int8, "
	"array_agg(" TO_MS("s.time") " ORDER BY s.time), array_agg(s.vals[p.pos] ORDER BY "
				     "s.time) "
				     "FROM unnest($1::text::int[]) o(id) CROSS JOIN "
				     "LATERAL (SELECT n.time, n.shape_id, n.vals "
				     "FROM snapshot n WHERE n.source_id = o.id AND n.time "
				     ">= " MS("$3") " AND n.time < " MS(
					     "($4::int8 + 1)") ") s "
							       "JOIN shape_series p ON "
							       "p.shape_id = s.shape_id "
							       "AND p.series_id = "
							       "ANY($2::text::int[]) "
							       "WHERE s.vals[p.pos] <> "
							       "'NaN' GROUP BY 1, 2";

/* The same, but of each step's look-back the newest snapshot only. $5 look-back, $6 step */
static const char select_steps[] =
	"SELECT o.id::int8, p.series_id::int8, "
	"array_agg(" TO_MS(
		"s.time") " ORDER BY s.time), array_agg(s.vals[p.pos] ORDER BY s.time) "
			  "FROM unnest($1::text::int[]) o(id) "
			  "CROSS JOIN generate_series($3::int8, $4::int8, $6::int8) t(ms) "
			  "CROSS JOIN LATERAL (SELECT n.time, n.shape_id, n.vals FROM snapshot n "
			  "WHERE n.source_id = o.id AND n.time < " MS(
				  "(t.ms + 1)") " AND n.time > " MS("(t.ms - $5::int8)") " AND "
											 "n.shape_"
											 "id = "
											 "ANY("
											 "ARRAY("
											 "SELECT "
											 "DISTINCT "
											 "q.shape_"
											 "id FROM "
											 "shape_"
											 "series q "
											 "WHERE "
											 "q.series_"
											 "id = "
											 "ANY($2::"
											 "text::"
											 "int[]))) "
											 "ORDER BY "
											 "n.time "
											 "DESC "
											 "LIMIT 1) "
											 "s "
											 "JOIN "
											 "shape_"
											 "series p "
											 "ON "
											 "p.shape_"
											 "id = "
											 "s.shape_"
											 "id AND "
											 "p.series_"
											 "id = "
											 "ANY($2::"
											 "text::"
											 "int[]) "
											 "WHERE "
											 "s.vals[p."
											 "pos] <> "
											 "'NaN' "
											 "GROUP BY "
											 "1, 2";

/* Which shapes a source used: the first few snapshots behind each of 60 points of time. */
static const char select_pairs[] =
	"WITH used AS MATERIALIZED (SELECT DISTINCT o.id, x.shape_id FROM source o "
	"CROSS JOIN generate_series($1::int8, $2::int8, greatest(1, ($2::int8 - $1::int8) / 60)) "
	"t(ms) "
	"CROSS JOIN LATERAL (SELECT n.shape_id FROM snapshot n WHERE n.source_id = o.id "
	"AND n.time >= " MS("t.ms") " AND n.time < " MS(
		"($2::int8 + 1)") " ORDER BY n.time LIMIT 3) x) "
				  "SELECT DISTINCT u.id::int8, p.series_id::int8 FROM used u "
				  "JOIN shape_series p ON p.shape_id = u.shape_id ORDER BY 1, 2";

/* ---- sources and series ---- */

/* {"cpu": "0", "mode": "idle"} as jsonb writes it. */
static void read_labels(struct prom_series *x, const char *json, size_t size)
{
	struct lt_buf text = {0}, scratch = {0};
	struct json_value key, v;
	size_t at[2 * LT_LABELS_MAX + 1], n = 0, len;
	bool first = true;
	struct json j;

	json_init(&j, json, size);
	if (json_value(&j, &v) && v.type == JSON_OBJECT)
		while (n < 2 * LT_LABELS_MAX && json_member(&j, &first, &key) == 1 &&
			json_value(&j, &v) && v.type == JSON_STRING) {
			const char *s = json_text(&key, &scratch, &len);

			at[n++] = text.len;
			lt_buf_add(&text, s, len);
			lt_buf_reset(&scratch);
			s = json_text(&v, &scratch, &len);
			at[n++] = text.len;
			lt_buf_add(&text, s, len);
			lt_buf_reset(&scratch);
		}
	at[n] = text.len;
	x->labels = lt_calloc(n / 2 + 1, sizeof(*x->labels));
	x->n_labels = n / 2;
	x->text = text.data;
	for (size_t i = 0; i < n; i += 2)
		x->labels[i / 2] = (struct lt_label_text){text.data + at[i], text.data + at[i + 1],
			(uint32_t)(at[i + 1] - at[i]), (uint32_t)(at[i + 2] - at[i + 1])};
	lt_buf_fini(&scratch);
}

static char *copy_text(const struct pg_result *r, size_t row, size_t col)
{
	size_t n;
	const char *s = lt_pg_bytes(r, row, col, &n);

	return lt_strndup(s, n);
}

int prom_open(struct prom_store *s, struct worker *w, const char *name, struct lt_err *err)
{
	const struct lt_pg_param param = pg_text(name ? name : "");
	struct pg_result *r = NULL;
	int rc = worker_pg(w, err);

	s->worker = w;
	s->pool = lt_label_pool_new();
	if (rc == LT_OK)
		rc = lt_pg_query(&w->pg, select_sources, NULL, 0, &r, err);
	if (rc != LT_OK)
		return rc;
	s->sources = lt_calloc(lt_pg_rows(r) + 1, sizeof(*s->sources));
	for (size_t i = 0; i < lt_pg_rows(r); i++)
		s->sources[s->n_sources++] = (struct prom_source){
			lt_pg_int(r, i, 0), copy_text(r, i, 1), lt_pg_int(r, i, 2) != 0};
	lt_pg_result_free(r);
	r = NULL;
	rc = lt_pg_query(&w->pg, select_series, &param, 1, &r, err);
	if (rc != LT_OK)
		return rc;
	if (lt_pg_rows(r) > PROM_SERIES_MAX)
		rc = lt_fail(err, LT_EFULL, LT_CLS_POISON, "prom.series",
			"there are more than %d series: name the metric", PROM_SERIES_MAX);
	s->series = lt_calloc(lt_pg_rows(r) + 1, sizeof(*s->series));
	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r); i++) {
		struct prom_series *x = &s->series[s->n_series++];
		size_t size;
		const char *json = lt_pg_bytes(r, i, 2, &size);

		x->id = lt_pg_int(r, i, 0);
		x->name = copy_text(r, i, 1);
		x->kind = (uint8_t)lt_pg_int(r, i, 3);
		read_labels(x, json, size);
	}
	lt_pg_result_free(r);
	return rc;
}

void prom_fini(struct prom_store *s)
{
	for (size_t i = 0; i < s->n_chunks; i++) {
		lt_labels_put(s->pool, s->chunks[i].labels);
		free(s->chunks[i].times);
		free(s->chunks[i].values);
	}
	free(s->chunks);
	for (size_t i = 0; i < s->n_lists; i++)
		free(s->lists[i]);
	free(s->lists);
	for (size_t i = 0; i < s->n_sources; i++)
		free(s->sources[i].name);
	free(s->sources);
	for (size_t i = 0; i < s->n_series; i++) {
		free(s->series[i].name);
		free(s->series[i].labels);
		free(s->series[i].text);
	}
	free(s->series);
	lt_label_pool_free(s->pool);
}

static const char *job_of(const struct prom_source *o)
{
	return o->device ? "device" : "node";
}

static struct lt_label_text label(const char *name, const char *value)
{
	return (struct lt_label_text){name, value, (uint32_t)strlen(name), (uint32_t)strlen(value)};
}

static bool label_is(const struct lt_label_text *l, const char *name)
{
	return l->name_len == strlen(name) && !memcmp(l->name, name, l->name_len);
}

const struct lt_labels *prom_labels(
	struct prom_store *s, const struct prom_source *o, const struct prom_series *x)
{
	struct lt_label_text all[LT_LABELS_MAX + 3];
	size_t n = 0;

	for (size_t i = 0; i < x->n_labels; i++) {
		struct lt_label_text l = x->labels[i];

		/* As Prometheus does with honor_labels off. */
		if (label_is(&l, "instance"))
			l = (struct lt_label_text){"exported_instance", l.value, 17, l.value_len};
		else if (label_is(&l, "job"))
			l = (struct lt_label_text){"exported_job", l.value, 12, l.value_len};
		all[n++] = l;
	}
	all[n++] = label("__name__", x->name);
	all[n++] = label("instance", o->name);
	all[n++] = label("job", job_of(o));
	return lt_labels_intern(s->pool, all, n);
}

int prom_source_matches(struct prom_store *s, const struct lt_promql_selector *sel,
	const struct prom_source *o, struct lt_err *err)
{
	for (uint32_t i = 0; i < sel->n_matchers; i++) {
		const struct lt_matcher *m = &sel->matchers[i];
		const char *name = lt_sym_text(s->pool, m->name, NULL), *value = NULL;
		int rc;

		if (!strcmp(name, "instance"))
			value = o->name;
		else if (!strcmp(name, "job"))
			value = job_of(o);
		if (!value)
			continue;
		rc = lt_matcher_match(m, value, strlen(value), err);
		if (rc != 1)
			return rc;
	}
	return 1;
}

/* ---- samples ---- */

static void put_id(struct lt_buf *b, int64_t id)
{
	lt_buf_printf(b, b->len ? ",%lld" : "{%lld", (long long)id);
}

static const struct prom_source *source_by_id(const struct prom_store *s, int64_t id)
{
	for (size_t lo = 0, hi = s->n_sources; lo < hi;) {
		size_t mid = (lo + hi) / 2;

		if (s->sources[mid].id == id)
			return &s->sources[mid];
		if (s->sources[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static const struct prom_series *series_by_id(const struct prom_store *s, int64_t id)
{
	for (size_t lo = 0, hi = s->n_series; lo < hi;) {
		size_t mid = (lo + hi) / 2;

		if (s->series[mid].id == id)
			return &s->series[mid];
		if (s->series[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* The sources and the series that can match; @series: at least one of the sources' would. */
static int choose(struct prom_store *s, const struct lt_promql_selector *sel,
	struct lt_buf *sources, size_t *n_sources, struct lt_buf *series, struct lt_err *err)
{
	const struct prom_source *first = NULL;
	int rc;

	*n_sources = 0;
	for (size_t i = 0; i < s->n_sources; i++) {
		rc = prom_source_matches(s, sel, &s->sources[i], err);
		if (rc < 0)
			return rc;
		if (!rc)
			continue;
		if (!first)
			first = &s->sources[i];
		put_id(sources, s->sources[i].id);
		++*n_sources;
	}
	for (size_t i = 0; first && i < s->n_series; i++) {
		const struct lt_labels *l = prom_labels(s, first, &s->series[i]);

		rc = lt_promql_selector_match(s->pool, sel, l, err);
		lt_labels_put(s->pool, l);
		if (rc < 0)
			return rc;
		if (rc)
			put_id(series, s->series[i].id);
	}
	return LT_OK;
}

static int add_chunk(
	struct prom_store *s, const struct pg_result *r, size_t row, struct lt_err *err)
{
	const struct prom_source *o = source_by_id(s, lt_pg_int(r, row, 0));
	const struct prom_series *x = series_by_id(s, lt_pg_int(r, row, 1));
	struct pg_array times, values;
	struct prom_chunk *c;

	if (!o || !x)
		return LT_OK; /* newer than our list of them */
	if (!pg_array(r, row, 2, &times) || !pg_array(r, row, 3, &values) || times.n != values.n)
		return lt_fail(err, LT_EDATA, LT_CLS_FATAL, "prom.read",
			"PostgreSQL answered with something else than arrays");
	s->n_samples += times.n;
	if (s->n_samples > PROM_SAMPLES_MAX)
		return lt_fail(err, LT_EFULL, LT_CLS_POISON, "prom.read",
			"query processing would load too many samples into memory in query "
			"execution");
	if ((s->n_chunks & (s->n_chunks - 1)) == 0)
		s->chunks = lt_realloc(
			s->chunks, (s->n_chunks ? 2 * s->n_chunks : 1) * sizeof(*s->chunks));
	c = &s->chunks[s->n_chunks++];
	c->labels = prom_labels(s, o, x);
	c->times = lt_malloc(times.n * sizeof(*c->times) + 1);
	c->values = lt_malloc(times.n * sizeof(*c->values) + 1);
	c->n = 0;
	for (size_t i = 0; i < times.n; i++) {
		int64_t t = pg_array_int(&times, i);

		/* Two within one millisecond, or the same twice: the later one. */
		if (c->n && c->times[c->n - 1] == t)
			c->n--;
		c->times[c->n] = t;
		c->values[c->n++] = pg_array_double(&values, i);
	}
	return LT_OK;
}

/* Is all that an evaluation wants of this selector the newest sample of each step? */
static bool by_steps(const struct prom_store *s, const struct lt_promql_selector *sel,
	int64_t span_ms, size_t n_sources)
{
	return s->step_ms && sel->range_ms == 0 && sel->relative && !sel->absolute &&
	       sel->back_ms <= PROM_LOOKBACK_MS && sel->ahead_ms == 0 &&
	       span_ms / 1000 * (int64_t)n_sources > ROWS_MAX && s->step_ms > 2000;
}

static int by_labels(const void *a, const void *b)
{
	const struct lt_promql_series *x = a, *y = b;

	return x->labels < y->labels ? -1 : x->labels > y->labels;
}

static int on_select(void *ctx, const struct lt_promql_expr *e,
	const struct lt_promql_selector *sel, int64_t mint_ms, int64_t maxt_ms,
	const struct lt_promql_series **out, size_t *n, struct lt_err *err)
{
	struct prom_store *s = ctx;
	struct lt_buf sources = {0}, series = {0};
	unsigned char from[8], to[8], back[8], step[8];
	struct pg_result *r = NULL;
	size_t n_sources, before = s->n_chunks, kept = 0;
	struct lt_promql_series *list;
	bool steps;
	int rc = choose(s, sel, &sources, &n_sources, &series, err);

	(void)e;
	*out = NULL;
	*n = 0;
	if (rc != LT_OK || !sources.len || !series.len || maxt_ms < mint_ms)
		goto out;
	lt_buf_char(&sources, '}');
	lt_buf_char(&series, '}');
	steps = by_steps(s, sel, maxt_ms - mint_ms, n_sources);
	{
		const struct lt_pg_param params[] = {{sources.data, sources.len},
			{series.data, series.len}, pg_int8(steps ? s->start_ms : mint_ms, from),
			pg_int8(steps ? s->end_ms : maxt_ms, to), pg_int8(PROM_LOOKBACK_MS, back),
			pg_int8(s->step_ms, step)};

		rc = lt_pg_query(&s->worker->pg, steps ? select_steps : select_all, params,
			steps ? 6 : 4, &r, err);
	}
	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r); i++)
		rc = add_chunk(s, r, i, err);
	lt_pg_result_free(r);
	if (rc != LT_OK)
		goto out;
	list = lt_calloc(s->n_chunks - before + 1, sizeof(*list));
	for (size_t i = before; i < s->n_chunks; i++) {
		if (lt_promql_selector_match(s->pool, sel, s->chunks[i].labels, NULL) != 1)
			continue;
		list[(*n)++].labels = s->chunks[i].labels;
		list[*n - 1].series = (const void *)(uintptr_t)(i + 1); /* chunks may still move */
	}
	qsort(list, *n, sizeof(*list), by_labels);
	/* A counter that was once unknown: two series of one name. The first has to do. */
	for (size_t i = 0; i < *n; i++)
		if (!kept || list[i].labels != list[kept - 1].labels)
			list[kept++] = list[i];
	*n = kept;
	s->lists = lt_realloc(s->lists, (s->n_lists + 1) * sizeof(struct lt_promql_series *));
	s->lists[s->n_lists++] = list;
	*out = list;
out:
	lt_buf_fini(&sources);
	lt_buf_fini(&series);
	return rc;
}

/* The first index whose time is above @t. */
static size_t upper(const struct prom_chunk *c, int64_t t)
{
	size_t lo = 0, hi = c->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (c->times[mid] <= t)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const struct prom_chunk *chunk_of(void *ctx, const void *series)
{
	return &((struct prom_store *)ctx)->chunks[(uintptr_t)series - 1];
}

static bool on_last(
	void *ctx, const void *series, int64_t mint_ms, int64_t maxt_ms, struct lt_point *out)
{
	const struct prom_chunk *c = chunk_of(ctx, series);
	size_t i = upper(c, maxt_ms);

	if (i == 0 || c->times[i - 1] < mint_ms)
		return false;
	*out = (struct lt_point){c->times[i - 1], c->values[i - 1]};
	return true;
}

static void on_range(
	void *ctx, const void *series, int64_t mint_ms, int64_t maxt_ms, struct lt_points *out)
{
	const struct prom_chunk *c = chunk_of(ctx, series);

	for (size_t i = upper(c, mint_ms - 1); i < c->n && c->times[i] <= maxt_ms; i++)
		lt_points_add(out, c->times[i], c->values[i]);
}

const struct lt_promql_storage prom_storage = {
	.select = on_select,
	.last = on_last,
	.range = on_range,
};

int prom_pairs(struct prom_store *s, int64_t from_ms, int64_t to_ms,
	void (*each)(void *arg, const struct prom_source *o, const struct prom_series *x),
	void *arg, struct lt_err *err)
{
	unsigned char from[8], to[8];
	const struct lt_pg_param params[] = {pg_int8(from_ms, from), pg_int8(to_ms, to)};
	struct pg_result *r = NULL;
	int rc = lt_pg_query(&s->worker->pg, select_pairs, params, 2, &r, err);

	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r); i++) {
		const struct prom_source *o = source_by_id(s, lt_pg_int(r, i, 0));
		const struct prom_series *x = series_by_id(s, lt_pg_int(r, i, 1));

		if (o && x)
			each(arg, o, x);
	}
	lt_pg_result_free(r);
	return rc;
}
