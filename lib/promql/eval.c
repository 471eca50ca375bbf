/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval_int.h"

/*
 * Evaluation walks the tree for one instant; subqueries and range evaluations do so for each of
 * theirs. Arrays are allocated in the arena of the result and freed all at once with the next
 * evaluation. Samples of one series are looked at where the storage puts them; when an expression is
 * evaluated at many instants, they are read once for all.
 */

int pq_spend(struct pq_eval *ev, uint64_t n)
{
	ev->samples += n;
	if (ev->samples > ev->e->limits.max_samples)
		return lt_fail(ev->err, LT_EFULL, LT_CLS_POISON, "promql.eval",
			"the expression needs more than %llu samples: narrow its selectors or "
			"windows, "
			"or raise the limit",
			(unsigned long long)ev->e->limits.max_samples);
	return LT_OK;
}

void pq_vec_new(struct pq_eval *ev, struct pq_vec *out, size_t n)
{
	out->s = lt_arena_alloc(ev->arena, n * sizeof(*out->s) + 1);
	out->n = 0;
}

void pq_hold(struct pq_eval *ev, const struct lt_labels *l)
{
	if (ev->n_held == ev->cap_held) {
		ev->cap_held = ev->cap_held ? ev->cap_held * 2 : 64;
		ev->held = lt_realloc(ev->held, ev->cap_held * sizeof(struct lt_labels *));
	}
	ev->held[ev->n_held++] = l;
}

/* ---- caches and maps ---- */

const struct lt_labels *pq_cache_put(struct pq_eval *ev, struct pq_cache *c, size_t i,
	const struct lt_labels *in, const struct lt_labels *in2, const struct lt_labels *out)
{
	/* Positions are filled one after the other; a cache that was trimmed has holes. */
	while (c->n <= i) {
		if (c->n == c->cap) {
			c->cap += c->cap < 1024 ? c->cap + 16 : c->cap / 4;
			c->e = lt_realloc(c->e, c->cap * sizeof(*c->e));
		}
		c->e[c->n++] = (struct pq_cached){0};
	}
	if (c->e[i].out) {
		pq_hold(ev, c->e[i].out);
		lt_labels_put(ev->pool, c->e[i].in);
		lt_labels_put(ev->pool, c->e[i].in2);
	}
	c->e[i].in = lt_labels_get(in);
	c->e[i].in2 = in2 ? lt_labels_get(in2) : NULL;
	c->e[i].out = out;
	return out;
}

void pq_cache_trim(struct pq_eval *ev, struct pq_cache *c, size_t n)
{
	if (ev->stepping)
		return;
	while (c->n > n) {
		struct pq_cached *e = &c->e[--c->n];

		if (e->out) {
			pq_hold(ev, e->out);
			lt_labels_put(ev->pool, e->in);
			lt_labels_put(ev->pool, e->in2);
		}
	}
	if (c->cap > 64 && c->n < c->cap / 4) {
		c->cap /= 2; /* a shrinking result gives memory back in a few evaluations */
		c->e = lt_realloc(c->e, c->cap * sizeof(*c->e));
	}
}

void pq_map_new(struct lt_arena *arena, struct pq_map *m, size_t n)
{
	uint32_t slots = 8;

	while (slots < n + n / 2)
		slots *= 2;
	m->mask = slots - 1;
	m->key = lt_arena_alloc(arena, slots * sizeof(struct lt_labels *));
	memset(m->key, 0, slots * sizeof(struct lt_labels *));
	m->value = lt_arena_alloc(arena, slots * sizeof(*m->value));
}

int pq_unique(struct pq_eval *ev, const struct pq_vec *v)
{
	struct lt_arena_mark mark = lt_arena_mark(ev->arena);
	struct pq_map m;
	bool found = false;

	if (v->n < 2)
		return LT_OK;
	pq_map_new(ev->arena, &m, v->n);
	for (size_t i = 0; i < v->n && !found; i++)
		pq_map_at(&m, v->s[i].labels, &found);
	lt_arena_rewind(ev->arena, mark);
	if (found)
		return lt_fail(ev->err, LT_EINVAL, LT_CLS_POISON, "promql.eval",
			"vector cannot contain metrics with the same labelset");
	return LT_OK;
}

/* ---- subqueries ---- */

/* Rows being filled, instant after instant. */
struct rows {
	struct lt_arena *arena;
	struct pq_map map;
	struct lt_promql_row *row;
	size_t n, cap;
	size_t max_points;
};

static void rows_init(struct rows *r, struct lt_arena *arena, size_t max_points)
{
	memset(r, 0, sizeof(*r));
	r->arena = arena;
	r->max_points = max_points;
	r->cap = 16;
	r->row = lt_arena_alloc(arena, r->cap * sizeof(*r->row));
	pq_map_new(arena, &r->map, r->cap);
}

static struct lt_promql_row *rows_get(struct pq_eval *ev, struct rows *r, const struct lt_labels *l)
{
	bool found;
	uint32_t *at = pq_map_at(&r->map, l, &found);

	if (found)
		return &r->row[*at];
	pq_hold(ev, lt_labels_get(l));
	*at = (uint32_t)r->n;
	r->row[r->n++] = (struct lt_promql_row){.labels = l};
	if (r->n == r->cap) {
		struct lt_promql_row *row;

		r->cap *= 2;
		row = lt_arena_alloc(r->arena, r->cap * sizeof(*row));
		memcpy(row, r->row, r->n * sizeof(*row));
		r->row = row;
		pq_map_new(r->arena, &r->map, r->cap);
		for (size_t i = 0; i < r->n; i++)
			*pq_map_at(&r->map, r->row[i].labels, &found) = (uint32_t)i;
	}
	return &r->row[r->n - 1];
}

/* Arrays of points grow by doubling, when their size is a power of two. */
static void row_add(const struct rows *r, struct lt_promql_row *row, int64_t t_ms, double v)
{
	struct lt_point *p = (struct lt_point *)(uintptr_t)row->points;

	if ((row->n & (row->n - 1)) == 0) {
		size_t cap = row->n ? row->n * 2 : 1;

		if (cap > r->max_points && r->max_points > row->n)
			cap = r->max_points;
		p = lt_arena_alloc(r->arena, cap * sizeof(*p));
		if (row->n)
			memcpy(p, row->points, row->n * sizeof(*p));
		row->points = p;
	}
	p[row->n++] = (struct lt_point){t_ms, v};
}

static int fill_step(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct rows *r)
{
	size_t before = ev->n_held, after;
	struct pq_vec v;
	int rc;

	if (n->type == LT_PROMQL_SCALAR) {
		pq_vec_new(ev, &v, 1);
		v.s[0].labels = lt_labels_empty(ev->pool);
		pq_hold(ev, v.s[0].labels);
		v.n = 1;
		rc = pq_eval_scalar(ev, n, t_ms, &v.s[0].v);
	} else {
		rc = pq_eval_vector(ev, n, t_ms, &v);
	}
	if (rc == LT_OK)
		rc = pq_spend(ev, v.n);
	if (rc != LT_OK)
		return rc;
	after = ev->n_held;
	for (size_t i = 0; i < v.n; i++)
		row_add(r, rows_get(ev, r, v.s[i].labels), t_ms, v.s[i].v);
	/* The rows hold what they need; what the step held can go. */
	for (size_t i = before; i < after; i++)
		lt_labels_put(ev->pool, ev->held[i]);
	if (after > before) {
		memmove(&ev->held[before], &ev->held[after],
			(ev->n_held - after) * sizeof(struct lt_labels *));
		ev->n_held -= after - before;
	}
	if (r->n > ev->e->limits.max_series)
		return lt_fail(ev->err, LT_EFULL, LT_CLS_POISON, "promql.eval",
			"a subquery or range has more than %u series", ev->e->limits.max_series);
	return LT_OK;
}

/* Evaluate at many instants; what a step allocates is freed before the next one. */
static int fill(struct pq_eval *ev, struct pq_node *n, int64_t from, int64_t to, int64_t step,
	struct rows *r)
{
	struct lt_arena scratch = {0}, *outer = ev->arena;
	int rc = LT_OK;

	ev->arena = &scratch;
	ev->stepping++;
	for (int64_t t = from; t <= to && rc == LT_OK; t += step) {
		rc = fill_step(ev, n, t, r);
		lt_arena_reset(&scratch);
	}
	ev->stepping--;
	ev->arena = outer;
	lt_arena_fini(&scratch);
	return rc;
}

static int eval_subquery(struct pq_eval *ev, struct pq_node *n, int64_t t_ms,
	struct lt_promql_row **rows, size_t *n_rows)
{
	int64_t to = pq_when(ev, &n->subq.when, t_ms), from = to - n->subq.range_ms;
	int64_t step = n->subq.step_ms ? n->subq.step_ms : ev->e->limits.subquery_step_ms;
	int64_t first = step * (from / step);
	struct rows r;
	int rc;

	if (first < from)
		first += step;
	rows_init(&r, ev->arena, (size_t)(n->subq.range_ms / step) + 1);
	rc = fill(ev, n->subq.expr, first, to, step, &r);
	*rows = r.row;
	*n_rows = r.n;
	return rc;
}

int pq_eval_matrix(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct lt_promql_row **rows,
	size_t *n_rows)
{
	struct pq_source *src;
	int64_t ref;
	int rc;

	n = pq_strip(n);
	if (n->kind == N_SUBQUERY)
		return eval_subquery(ev, n, t_ms, rows, n_rows);
	ref = pq_when(ev, &n->sel.when, t_ms);
	rc = pq_source(ev, n->sel.pub, &src);
	if (rc != LT_OK)
		return rc;
	*rows = lt_arena_alloc(ev->arena, src->n * sizeof(**rows) + 1);
	*n_rows = 0;
	for (size_t i = 0; i < src->n; i++) {
		const struct lt_point *p;
		size_t count;

		rc = pq_window(ev, n->sel.pub, src, i, ref - n->sel.range_ms, ref, &p, &count);
		if (rc != LT_OK)
			return rc;
		if (count)
			(*rows)[(*n_rows)++] = (struct lt_promql_row){src->series[i].labels,
				lt_arena_dup(ev->arena, p, count * sizeof(*p)), count};
	}
	return LT_OK;
}

/* ---- functions of range vectors ---- */

static int range_value(struct pq_eval *ev, struct pq_node *n, struct pq_window *w,
	const struct lt_labels *labels, struct pq_vec *out)
{
	double v = 0;
	int rc = n->call.fn->range(w, &v);

	if (rc <= 0)
		return rc;
	if (!n->call.fn->keeps_name)
		labels = pq_drop_name(ev, &n->call.cache, out->n, labels);
	out->s[out->n++] = (struct lt_promql_sample){labels, v};
	return LT_OK;
}

int pq_eval_range_call(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	struct pq_window w = {.t_ms = t_ms, .err = ev->err};
	struct pq_node *m = NULL;
	unsigned params = 0;
	int64_t range, seconds, nanoseconds;
	int rc = LT_OK;

	for (uint32_t i = 0; i < n->call.n_args && rc == LT_OK; i++) {
		if (n->call.args[i]->type == LT_PROMQL_MATRIX)
			m = pq_strip(n->call.args[i]);
		else
			rc = pq_eval_scalar(ev, n->call.args[i], t_ms, &w.param[params++]);
	}
	if (rc != LT_OK)
		return rc;
	range = m->kind == N_SUBQUERY ? m->subq.range_ms : m->sel.range_ms;
	w.end_ms = pq_when(ev, m->kind == N_SUBQUERY ? &m->subq.when : &m->sel.when, t_ms);
	w.start_ms = w.end_ms - range;
	seconds = range / 1000;
	nanoseconds = range % 1000 * 1000000;
	w.range_s = (double)seconds + (double)nanoseconds / 1e9;
	if (m->kind == N_SUBQUERY) {
		struct lt_promql_row *rows;
		size_t n_rows;

		rc = eval_subquery(ev, m, t_ms, &rows, &n_rows);
		pq_vec_new(ev, out, rc == LT_OK ? n_rows : 0);
		for (size_t i = 0; rc == LT_OK && i < n_rows; i++) {
			w.p = rows[i].points;
			w.n = rows[i].n;
			rc = range_value(ev, n, &w, rows[i].labels, out);
		}
	} else {
		struct pq_source *src;

		rc = pq_source(ev, m->sel.pub, &src);
		pq_vec_new(ev, out, rc == LT_OK ? src->n : 0);
		for (size_t i = 0; rc == LT_OK && i < src->n; i++) {
			rc = pq_window(ev, m->sel.pub, src, i, w.start_ms, w.end_ms, &w.p, &w.n);
			if (rc == LT_OK && w.n)
				rc = range_value(ev, n, &w, src->series[i].labels, out);
		}
	}
	pq_cache_trim(ev, &n->call.cache, out->n);
	if (rc != LT_OK)
		return rc;
	if (n->call.absent) {
		struct lt_promql_sample absent = {n->call.absent, 1};

		out->n = !out->n;
		if (out->n)
			out->s = lt_arena_dup(ev->arena, &absent, sizeof(absent));
		return LT_OK;
	}
	return n->call.fn->keeps_name ? LT_OK : pq_dropped(ev, m, out);
}

/* ---- the tree ---- */

int pq_eval_scalar(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, double *out)
{
	double l = 0, r = 0;
	struct pq_vec v;
	int rc;

	n = pq_strip(n);
	*out = 0;
	if (n->is_const) {
		*out = n->number;
		return LT_OK;
	}
	switch (n->kind) {
	case N_UNARY:
		rc = pq_eval_scalar(ev, n->unary.expr, t_ms, &l);
		*out = n->unary.op == T_SUB ? -l : l;
		return rc;
	case N_BINARY:
		rc = pq_eval_scalar(ev, n->bin.l, t_ms, &l);
		if (rc == LT_OK)
			rc = pq_eval_scalar(ev, n->bin.r, t_ms, &r);
		*out = pq_binary(n->bin.op, l, r);
		return rc;
	default: /* time(), scalar() */
		if (n->call.n_args == 0) {
			*out = (double)t_ms / 1000;
			return LT_OK;
		}
		rc = pq_eval_vector(ev, n->call.args[0], t_ms, &v);
		if (rc == LT_OK)
			*out = v.n == 1 ? v.s[0].v : NAN;
		return rc;
	}
}

static int eval_minus(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	int rc = pq_eval_vector(ev, n->unary.expr, t_ms, out);

	if (rc != LT_OK || n->unary.op == T_ADD)
		return rc;
	for (size_t i = 0; i < out->n; i++)
		out->s[i] = (struct lt_promql_sample){
			pq_drop_name(ev, &n->unary.cache, i, out->s[i].labels), -out->s[i].v};
	pq_cache_trim(ev, &n->unary.cache, out->n);
	return pq_dropped(ev, n->unary.expr, out);
}

int pq_eval_vector(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	n = pq_strip(n);
	switch (n->kind) {
	case N_SELECTOR:
		return pq_eval_instant(ev, n, t_ms, false, out);
	case N_UNARY:
		return eval_minus(ev, n, t_ms, out);
	case N_BINARY:
		return pq_eval_binary(ev, n, t_ms, out);
	case N_AGGR:
		return pq_eval_aggr(ev, n, t_ms, out);
	default:
		return n->call.fn->call(ev, n, t_ms, out);
	}
}

/* ---- the outside ---- */

static void result_reset(struct lt_promql_result *r)
{
	for (size_t i = 0; i < r->n && r->vector; i++)
		lt_labels_put(r->pool, r->vector[i].labels);
	for (size_t i = 0; i < r->n && r->matrix; i++)
		lt_labels_put(r->pool, r->matrix[i].labels);
	lt_arena_reset(&r->arena);
	*r = (struct lt_promql_result){.arena = r->arena};
}

void lt_promql_result_fini(struct lt_promql_result *r)
{
	result_reset(r);
	lt_arena_fini(&r->arena);
}

static void eval_begin(struct pq_eval *ev, struct lt_promql_expr *e,
	const struct lt_promql_storage *s, struct lt_promql_result *out, struct lt_err *err)
{
	result_reset(out);
	*ev = (struct pq_eval){.e = e,
		.st = s,
		.arena = &out->arena,
		.keep = &out->arena,
		.pool = e->pool,
		.err = err};
	ev->src = lt_arena_alloc(ev->arena, e->n_sel * sizeof(*ev->src) + 1);
	memset(ev->src, 0, e->n_sel * sizeof(*ev->src));
}

/* Labels that are in the result get references, all others are let go. */
static void eval_end(struct pq_eval *ev, struct lt_promql_result *out, int rc)
{
	out->pool = ev->pool;
	out->samples_read = ev->samples_read;
	if (rc != LT_OK) {
		out->n = 0;
		out->vector = NULL;
		out->matrix = NULL;
		out->type = LT_PROMQL_NONE;
	}
	for (size_t i = 0; i < out->n; i++)
		lt_labels_get(out->vector ? out->vector[i].labels : out->matrix[i].labels);
	for (size_t i = 0; i < ev->n_held; i++)
		lt_labels_put(ev->pool, ev->held[i]);
	free(ev->held);
	if (ev->st->done)
		ev->st->done(ev->st->ctx);
	lt_points_fini(&ev->points);
}

int lt_promql_eval(struct lt_promql_expr *e, int64_t t_ms, const struct lt_promql_storage *s,
	struct lt_promql_result *out, struct lt_err *err)
{
	struct pq_node *root = pq_strip(e->root);
	struct pq_vec v = {0};
	struct pq_eval ev;
	int rc = LT_OK;

	eval_begin(&ev, e, s, out, err);
	ev.start_ms = ev.end_ms = out->t_ms = t_ms;
	out->type = root->type;
	switch (root->type) {
	case LT_PROMQL_SCALAR:
		rc = pq_eval_scalar(&ev, root, t_ms, &out->scalar);
		break;
	case LT_PROMQL_STRING:
		out->string = lt_arena_str(&out->arena, root->str.s, root->str.n);
		out->string_len = root->str.n;
		break;
	case LT_PROMQL_VECTOR:
		rc = pq_eval_vector(&ev, root, t_ms, &v);
		out->vector = v.s;
		out->n = v.n;
		break;
	default:
		rc = pq_eval_matrix(&ev, root, t_ms, &out->matrix, &out->n);
	}
	eval_end(&ev, out, rc);
	return rc;
}

int lt_promql_eval_range(struct lt_promql_expr *e, int64_t start_ms, int64_t end_ms,
	int64_t step_ms, const struct lt_promql_storage *s, struct lt_promql_result *out,
	struct lt_err *err)
{
	struct pq_node *root = pq_strip(e->root);
	struct pq_eval ev;
	struct rows r;
	int rc;

	result_reset(out);
	if (root->type != LT_PROMQL_SCALAR && root->type != LT_PROMQL_VECTOR)
		return lt_fail(err, LT_EINVAL, LT_CLS_POISON, "promql.eval",
			"invalid expression type \"%s\" for range query, must be Scalar or instant "
			"Vector",
			lt_promql_type_name(root->type));
	if (step_ms <= 0 || end_ms < start_ms ||
		(end_ms - start_ms) / step_ms >= e->limits.max_steps)
		return lt_fail(err, LT_EINVAL, LT_CLS_POISON, "promql.eval",
			"a range needs a step above 0, an end that is not before its start, and at "
			"most %u steps",
			e->limits.max_steps);
	eval_begin(&ev, e, s, out, err);
	ev.start_ms = start_ms;
	ev.end_ms = end_ms;
	out->t_ms = end_ms;
	out->type = LT_PROMQL_MATRIX;
	rows_init(&r, ev.arena, (size_t)((end_ms - start_ms) / step_ms) + 1);
	rc = fill(&ev, root, start_ms, end_ms, step_ms, &r);
	out->matrix = r.row;
	out->n = r.n;
	eval_end(&ev, out, rc);
	return rc;
}

static int sample_by_labels(const void *a, const void *b, void *pool)
{
	return lt_labels_cmp(pool, ((const struct lt_promql_sample *)a)->labels,
		((const struct lt_promql_sample *)b)->labels);
}

static int row_by_labels(const void *a, const void *b, void *pool)
{
	return lt_labels_cmp(pool, ((const struct lt_promql_row *)a)->labels,
		((const struct lt_promql_row *)b)->labels);
}

void lt_promql_result_sort(struct lt_promql_result *r)
{
	if (r->vector && r->n)
		qsort_r(r->vector, r->n, sizeof(*r->vector), sample_by_labels, r->pool);
	if (r->matrix && r->n)
		qsort_r(r->matrix, r->n, sizeof(*r->matrix), row_by_labels, r->pool);
}
