/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "promql_int.h"

/* Series in memory, sorted by labels once something is selected. */

struct mem_series {
	const struct lt_labels *labels;
	struct lt_points points;
};

struct lt_promql_mem {
	struct lt_label_pool *pool;
	struct lt_promql_storage storage;
	struct mem_series **series;
	size_t n, cap;
	bool sorted;
	/* Label sets to series; open addressing. */
	struct mem_series **slots;
	size_t mask;
	/* What select() gave out during an evaluation. */
	struct lt_promql_series **given;
	size_t n_given, cap_given;
};

void lt_points_add(struct lt_points *a, int64_t t_ms, double v)
{
	if (a->n == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 16;
		a->p = lt_realloc(a->p, a->cap * sizeof(*a->p));
	}
	a->p[a->n++] = (struct lt_point){t_ms, v};
}

struct lt_point *lt_points_room(struct lt_points *a, size_t n)
{
	if (a->cap - a->n < n) {
		a->cap = a->n + n + a->cap / 2;
		a->p = lt_realloc(a->p, a->cap * sizeof(*a->p));
	}
	return a->p + a->n;
}

void lt_points_fini(struct lt_points *a)
{
	free(a->p);
	*a = (struct lt_points){0};
}

static struct mem_series **slot(struct lt_promql_mem *m, const struct lt_labels *l)
{
	size_t at = (size_t)l->hash & m->mask;

	while (m->slots[at] && m->slots[at]->labels != l)
		at = (at + 1) & m->mask;
	return &m->slots[at];
}

static void grow(struct lt_promql_mem *m)
{
	m->mask = m->mask * 2 + 1;
	free(m->slots);
	m->slots = lt_calloc(m->mask + 1, sizeof(struct mem_series *));
	for (size_t i = 0; i < m->n; i++)
		*slot(m, m->series[i]->labels) = m->series[i];
}

bool lt_promql_mem_add(
	struct lt_promql_mem *m, const struct lt_labels *labels, int64_t t_ms, double v)
{
	struct mem_series **at = slot(m, labels), *s = *at;

	if (!s) {
		s = *at = lt_calloc(1, sizeof(*s));
		s->labels = lt_labels_get(labels);
		if (m->n == m->cap) {
			m->cap = m->cap ? m->cap * 2 : 16;
			m->series = lt_realloc(m->series, m->cap * sizeof(struct mem_series *));
		}
		m->series[m->n++] = s;
		m->sorted = false;
		if (m->n * 4 > m->mask * 3)
			grow(m);
	}
	if (s->points.n && s->points.p[s->points.n - 1].t_ms >= t_ms)
		return false;
	lt_points_add(&s->points, t_ms, v);
	return true;
}

static int by_labels(const void *a, const void *b, void *pool)
{
	return lt_labels_cmp(pool, (*(struct mem_series *const *)a)->labels,
		(*(struct mem_series *const *)b)->labels);
}

static void mem_done(void *ctx)
{
	struct lt_promql_mem *m = ctx;

	for (size_t i = 0; i < m->n_given; i++)
		free(m->given[i]);
	m->n_given = 0;
}

static int mem_select(void *ctx, const struct lt_promql_expr *e,
	const struct lt_promql_selector *sel, int64_t mint_ms, int64_t maxt_ms,
	const struct lt_promql_series **out, size_t *n, struct lt_err *err)
{
	struct lt_promql_mem *m = ctx;
	struct lt_promql_series *list;
	size_t count = 0, cap = 16;

	(void)e;
	if (!m->sorted && m->n) {
		qsort_r(m->series, m->n, sizeof(struct mem_series *), by_labels, m->pool);
		m->sorted = true;
	}
	list = lt_malloc(cap * sizeof(*list));
	for (size_t i = 0; i < m->n; i++) {
		const struct lt_points *p = &m->series[i]->points;
		int rc;

		if (!p->n || p->p[0].t_ms > maxt_ms || p->p[p->n - 1].t_ms < mint_ms)
			continue;
		rc = lt_promql_selector_match(m->pool, sel, m->series[i]->labels, err);
		if (rc < 0) {
			free(list);
			return rc;
		}
		if (!rc)
			continue;
		if (count == cap) {
			cap *= 2;
			list = lt_realloc(list, cap * sizeof(*list));
		}
		list[count++] = (struct lt_promql_series){m->series[i]->labels, m->series[i]};
	}
	if (m->n_given == m->cap_given) {
		m->cap_given = m->cap_given ? m->cap_given * 2 : 8;
		m->given = lt_realloc(m->given, m->cap_given * sizeof(struct lt_promql_series *));
	}
	m->given[m->n_given++] = list;
	*out = list;
	*n = count;
	return LT_OK;
}

/* Index of the first sample at or after @t_ms. */
static size_t first_from(const struct lt_points *p, int64_t t_ms)
{
	size_t lo = 0, hi = p->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->p[mid].t_ms < t_ms)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool mem_last(
	void *ctx, const void *series, int64_t mint_ms, int64_t maxt_ms, struct lt_point *out)
{
	const struct mem_series *s = series;
	size_t at = first_from(&s->points, maxt_ms + 1);

	(void)ctx;
	if (at == 0 || s->points.p[at - 1].t_ms < mint_ms)
		return false;
	*out = s->points.p[at - 1];
	return true;
}

static void mem_range(
	void *ctx, const void *series, int64_t mint_ms, int64_t maxt_ms, struct lt_points *out)
{
	const struct mem_series *s = series;

	(void)ctx;
	for (size_t i = first_from(&s->points, mint_ms);
		i < s->points.n && s->points.p[i].t_ms <= maxt_ms; i++)
		lt_points_add(out, s->points.p[i].t_ms, s->points.p[i].v);
}

struct lt_promql_mem *lt_promql_mem_new(struct lt_label_pool *pool)
{
	struct lt_promql_mem *m = lt_calloc(1, sizeof(*m));

	m->pool = pool;
	m->mask = 63;
	m->slots = lt_calloc(m->mask + 1, sizeof(struct mem_series *));
	m->storage = (struct lt_promql_storage){.ctx = m,
		.select = mem_select,
		.last = mem_last,
		.range = mem_range,
		.done = mem_done};
	return m;
}

void lt_promql_mem_free(struct lt_promql_mem *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++) {
		lt_labels_put(m->pool, m->series[i]->labels);
		lt_points_fini(&m->series[i]->points);
		free(m->series[i]);
	}
	mem_done(m);
	free(m->given);
	free(m->series);
	free(m->slots);
	free(m);
}

const struct lt_promql_storage *lt_promql_mem_storage(struct lt_promql_mem *m)
{
	return &m->storage;
}
