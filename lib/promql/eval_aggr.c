/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>

#include "eval_int.h"

/* Aggregations: sum by (...) (...) and so on. */

struct group {
	const struct lt_labels *labels;
	double value, mean;
	uint64_t count;
	/* topk and bottomk: a heap; quantile: all values. */
	struct lt_promql_sample *heap;
	size_t n, cap;
};

/* ---- topk and bottomk ---- */

/*
 * The heap is that of Go's container/heap, since which of several equal values stays depends on it:
 * topk keeps the smallest on top, bottomk the largest, NaN always before anything else.
 */
static bool before(bool top, double a, double b)
{
	return isnan(a) || (top ? a < b : a > b);
}

static void swap(struct lt_promql_sample *a, struct lt_promql_sample *b)
{
	struct lt_promql_sample s = *a;

	*a = *b;
	*b = s;
}

static void heap_push(struct lt_promql_sample *h, size_t n, bool top)
{
	for (size_t j = n - 1; j > 0;) {
		size_t i = (j - 1) / 2;

		if (!before(top, h[j].v, h[i].v))
			return;
		swap(&h[i], &h[j]);
		j = i;
	}
}

/* Take the first of @n out: it is last then. */
static void heap_pop(struct lt_promql_sample *h, size_t n, bool top)
{
	size_t i = 0;

	swap(&h[0], &h[--n]);
	for (;;) {
		size_t j = 2 * i + 1;

		if (j >= n)
			return;
		if (j + 1 < n && before(top, h[j + 1].v, h[j].v))
			j++;
		if (!before(top, h[j].v, h[i].v))
			return;
		swap(&h[i], &h[j]);
		i = j;
	}
}

static void keep_best(struct group *g, struct lt_promql_sample s, size_t k, bool top)
{
	if (g->n >= k) {
		double first = g->heap[0].v;

		if (!(top ? first < s.v : first > s.v) && !isnan(first))
			return;
		if (k == 1) {
			g->heap[0] = s;
			return;
		}
		heap_pop(g->heap, g->n, top);
		g->n--;
	}
	g->heap[g->n++] = s;
	heap_push(g->heap, g->n, top);
}

/* ---- quantile ---- */

static int by_value(const void *a, const void *b)
{
	return pq_value_cmp(*(const double *)a, *(const double *)b);
}

double pq_quantile(double q, double *v, size_t n)
{
	double rank, lower, upper, weight;

	if (n == 0 || isnan(q))
		return NAN;
	if (q < 0)
		return -INFINITY;
	if (q > 1)
		return INFINITY;
	qsort(v, n, sizeof(*v), by_value);
	rank = q * ((double)n - 1);
	lower = fmax(0, floor(rank));
	upper = fmin((double)n - 1, lower + 1);
	weight = rank - floor(rank);
	return v[(size_t)lower] * (1 - weight) + v[(size_t)upper] * weight;
}

/* ---- one group ---- */

static void group_room(struct pq_eval *ev, struct group *g, size_t limit)
{
	struct lt_promql_sample *h;

	if (g->n < g->cap || g->n >= limit)
		return;
	g->cap = g->cap ? g->cap * 2 : 4;
	h = lt_arena_alloc(ev->arena, g->cap * sizeof(*h));
	if (g->n)
		memcpy(h, g->heap, g->n * sizeof(*h));
	g->heap = h;
}

static void group_first(struct group *g, enum pq_tok op, double v)
{
	g->value = v;
	g->mean = v;
	g->count = 1;
	if (op == T_STDDEV || op == T_STDVAR)
		g->value = 0;
	else if (op == T_GROUP)
		g->value = 1;
}

static void group_mean(struct group *g, double v)
{
	g->count++;
	if (isinf(g->mean)) {
		/* An infinity stays: what follows would make NaN of it. */
		if (isinf(v) && (g->mean > 0) == (v > 0))
			return;
		if (!isinf(v) && !isnan(v))
			return;
	}
	g->mean += v / (double)g->count - g->mean / (double)g->count;
}

static void group_add(struct group *g, enum pq_tok op, double v)
{
	double delta;

	switch (op) {
	case T_SUM:
		g->value += v;
		break;
	case T_AVG:
		group_mean(g, v);
		break;
	case T_MAX:
		if (g->value < v || isnan(g->value))
			g->value = v;
		break;
	case T_MIN:
		if (g->value > v || isnan(g->value))
			g->value = v;
		break;
	case T_STDDEV:
	case T_STDVAR:
		g->count++;
		delta = v - g->mean;
		g->mean += delta / (double)g->count;
		g->value += delta * (v - g->mean);
		break;
	default:
		g->count++;
	}
}

static double group_value(struct pq_eval *ev, const struct group *g, enum pq_tok op, double param)
{
	double *v;

	switch (op) {
	case T_AVG:
		return g->mean;
	case T_COUNT:
	case T_COUNT_VALUES:
		return (double)g->count;
	case T_STDVAR:
		return g->value / (double)g->count;
	case T_STDDEV:
		return sqrt(g->value / (double)g->count);
	case T_QUANTILE:
		v = lt_arena_alloc(ev->arena, g->n * sizeof(*v));
		for (size_t i = 0; i < g->n; i++)
			v[i] = g->heap[i].v;
		return pq_quantile(param, v, g->n);
	default:
		return g->value;
	}
}

/* ---- all of them ---- */

static const struct lt_labels *count_values_labels(
	struct pq_eval *ev, const struct pq_node *n, const struct lt_labels *in, double v)
{
	struct lt_label_text t;
	struct lt_buf text = {0};
	const struct lt_labels *with, *out;
	size_t len;

	lt_promql_format_float(&text, v);
	t.name = lt_sym_text(ev->pool, n->aggr.value_label, &len);
	t.name_len = (uint32_t)len;
	t.value = text.data;
	t.value_len = (uint32_t)text.len;
	with = lt_labels_with(ev->pool, in, &t, 1);
	lt_buf_fini(&text);
	if (n->aggr.without)
		out = lt_labels_keep(ev->pool, with, n->aggr.drop.sym, n->aggr.drop.n, false);
	else
		out = lt_labels_keep(ev->pool, with, n->aggr.by.sym, n->aggr.by.n, true);
	lt_labels_put(ev->pool, with);
	pq_hold(ev, out);
	return out;
}

static const struct lt_labels *group_labels(
	struct pq_eval *ev, struct pq_node *n, size_t i, const struct lt_promql_sample *s)
{
	const struct lt_labels *out;

	if (n->aggr.op == T_COUNT_VALUES)
		return count_values_labels(ev, n, s->labels, s->v);
	out = pq_cache_get(&n->aggr.cache, i, s->labels, NULL);
	if (out)
		return out;
	out = n->aggr.without
		      ? lt_labels_keep(ev->pool, s->labels, n->aggr.drop.sym, n->aggr.drop.n, false)
		      : lt_labels_keep(ev->pool, s->labels, n->aggr.by.sym, n->aggr.by.n, true);
	return pq_cache_put(ev, &n->aggr.cache, i, s->labels, NULL, out);
}

static int top_count(struct pq_eval *ev, double param, size_t *k)
{
	/* Go's bounds of what fits into an int64. */
	if (!(param <= 9223372036854774784.0 && param >= -9223372036854774784.0)) {
		struct lt_buf b = {0};
		int rc;

		pq_float_g(&b, param);
		rc = lt_fail(ev->err, LT_EINVAL, LT_CLS_POISON, "promql.eval",
			"Scalar value %s overflows int64", b.data);
		lt_buf_fini(&b);
		return rc;
	}
	*k = param < 1 ? 0 : (size_t)param;
	return LT_OK;
}

int pq_eval_aggr(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	enum pq_tok op = n->aggr.op;
	bool best = op == T_TOPK || op == T_BOTTOMK;
	struct group *groups = NULL;
	size_t n_groups = 0, cap = 0, k = SIZE_MAX;
	double param = 0;
	struct pq_vec in;
	struct pq_map map;
	int rc = pq_eval_vector(ev, n->aggr.expr, t_ms, &in);

	if (rc == LT_OK && n->aggr.param && op != T_COUNT_VALUES)
		rc = pq_eval_scalar(ev, n->aggr.param, t_ms, &param);
	if (rc == LT_OK && best)
		rc = top_count(ev, param, &k);
	out->n = 0;
	out->s = NULL;
	if (rc != LT_OK || k == 0)
		return rc;
	pq_map_new(ev->arena, &map, in.n);
	for (size_t i = 0; i < in.n; i++) {
		bool found;
		uint32_t *at = pq_map_at(&map, group_labels(ev, n, i, &in.s[i]), &found);
		struct group *g;

		if (!found) {
			if (n_groups == cap) {
				g = lt_arena_alloc(ev->arena, (cap * 2 + 4) * sizeof(*g));
				if (n_groups)
					memcpy(g, groups, n_groups * sizeof(*g));
				cap = cap * 2 + 4;
				groups = g;
			}
			*at = (uint32_t)n_groups;
			groups[n_groups++] =
				(struct group){.labels = group_labels(ev, n, i, &in.s[i])};
		}
		g = &groups[*at];
		if (best || op == T_QUANTILE)
			group_room(ev, g, k);
		if (best)
			keep_best(g, in.s[i], k, op == T_TOPK);
		else if (op == T_QUANTILE)
			g->heap[g->n++] = in.s[i];
		else if (!found)
			group_first(g, op, in.s[i].v);
		else
			group_add(g, op, in.s[i].v);
	}
	pq_cache_trim(ev, &n->aggr.cache, in.n);
	pq_vec_new(ev, out, best ? in.n : n_groups);
	for (size_t i = 0; i < n_groups; i++) {
		struct group *g = &groups[i];

		if (!best) {
			out->s[out->n++] =
				(struct lt_promql_sample){g->labels, group_value(ev, g, op, param)};
			continue;
		}
		qsort(g->heap, g->n, sizeof(*g->heap), op == T_TOPK ? pq_descending : pq_ascending);
		memcpy(out->s + out->n, g->heap, g->n * sizeof(*g->heap));
		out->n += g->n;
	}
	return LT_OK;
}
