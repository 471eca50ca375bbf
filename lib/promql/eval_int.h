/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_PROMQL_EVAL_INT_H
#define LATIDO_PROMQL_EVAL_INT_H

#include <string.h>

#include "promql_int.h"

/* What the files of the evaluator share. */

/** struct pq_vec - an instant vector while it is computed; its array belongs to who holds it */
struct pq_vec {
	struct lt_promql_sample *s;
	size_t n;
};

/** struct pq_window - what a function of a range vector gets of one series; n is at least 1 */
struct pq_window {
	const struct lt_point *p;
	size_t n;
	int64_t start_ms, end_ms; /* of the range */
	int64_t t_ms;             /* of the evaluation */
	double range_s;
	double param[2]; /* the scalar arguments, from left to right */
	struct lt_err *err;
};

/** struct pq_source - the series of one selector during an evaluation */
struct pq_source {
	bool selected;
	const struct lt_promql_series *series;
	size_t n;
	/* When many instants are evaluated: the samples of each series, read once. */
	struct pq_loaded {
		const struct lt_point *p;
		size_t n, at; /* at: where the last search ended */
		bool done;
	} * loaded;
};

struct pq_eval {
	struct lt_promql_expr *e;
	const struct lt_promql_storage *st;
	struct lt_arena *arena; /* what a step computes */
	struct lt_arena *keep;  /* until the evaluation ends */
	struct lt_label_pool *pool;
	struct lt_err *err;
	int64_t start_ms, end_ms; /* of the whole evaluation */
	unsigned stepping;        /* > 0: more than one instant is evaluated */
	uint64_t samples;         /* read and computed */
	uint64_t samples_read;
	struct pq_source *src;
	struct lt_points points; /* of one series */
	/* Label sets that caches let go of, but that may still be in use. */
	const struct lt_labels **held;
	size_t n_held, cap_held;
};

int pq_eval_vector(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_eval_scalar(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, double *out);
int pq_eval_binary(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_eval_aggr(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
/** pq_eval_range_call() - a function with a range vector among its arguments. */
int pq_eval_range_call(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
/** pq_eval_instant() - a selector; @times: the samples' own times instead of their values. */
int pq_eval_instant(
	struct pq_eval *ev, struct pq_node *n, int64_t t_ms, bool times, struct pq_vec *out);
/** pq_when() - the time that modifiers make of @t_ms. */
int64_t pq_when(const struct pq_eval *ev, const struct pq_when *w, int64_t t_ms);
/** pq_source() - the series of a selector, once an evaluation. */
int pq_source(struct pq_eval *ev, const struct lt_promql_selector *s, struct pq_source **out);
/**
 * pq_window() - samples of series @i in [min, max] without staleness markers
 * @p: out, valid until the next call.
 */
int pq_window(struct pq_eval *ev, const struct lt_promql_selector *s, struct pq_source *src,
	size_t i, int64_t min, int64_t max, const struct lt_point **p, size_t *n);
int pq_eval_matrix(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct lt_promql_row **rows,
	size_t *n_rows);

/** pq_spend() - count @n samples. Return: LT_OK or LT_EFULL. */
int pq_spend(struct pq_eval *ev, uint64_t n);
/** pq_vec_new() - room for @n elements; out->n is 0. */
void pq_vec_new(struct pq_eval *ev, struct pq_vec *out, size_t n);
/** pq_hold() - keep a reference that is the caller's until the evaluation ends. */
void pq_hold(struct pq_eval *ev, const struct lt_labels *l);

/** pq_quantile() - sorts @v. */
double pq_quantile(double q, double *v, size_t n);
/** pq_value_cmp() - ascending, NaN first. */
static inline int pq_value_cmp(double a, double b)
{
	if (__builtin_isnan(a) || __builtin_isnan(b))
		return !!__builtin_isnan(b) - !!__builtin_isnan(a);
	return (a > b) - (a < b);
}

/** pq_ascending(), pq_descending() - order samples by value for qsort(), NaN last. */
int pq_ascending(const void *a, const void *b);
int pq_descending(const void *a, const void *b);

/* ---- caches of label sets ---- */

static inline const struct lt_labels *pq_cache_get(
	const struct pq_cache *c, size_t i, const struct lt_labels *in, const struct lt_labels *in2)
{
	return i < c->n && c->e[i].in == in && c->e[i].in2 == in2 ? c->e[i].out : NULL;
}
/** pq_cache_put() - takes over the reference to @out; gets its own to the others. Return: @out. */
const struct lt_labels *pq_cache_put(struct pq_eval *ev, struct pq_cache *c, size_t i,
	const struct lt_labels *in, const struct lt_labels *in2, const struct lt_labels *out);
/** pq_cache_trim() - forget what is behind the first @n, outside of subqueries. */
void pq_cache_trim(struct pq_eval *ev, struct pq_cache *c, size_t n);

/** pq_drop_name() - @in without its metric name. */
static inline const struct lt_labels *pq_drop_name(
	struct pq_eval *ev, struct pq_cache *c, size_t i, const struct lt_labels *in)
{
	const struct lt_labels *out = pq_cache_get(c, i, in, NULL);

	return out ? out : pq_cache_put(ev, c, i, in, NULL, lt_labels_without_name(ev->pool, in));
}

/** pq_unique() - Return: LT_OK, or LT_EINVAL when two elements have the same labels. */
int pq_unique(struct pq_eval *ev, const struct pq_vec *v);
/** pq_dropped() - pq_unique() where dropping the names of @from may have made some equal. */
static inline int pq_dropped(struct pq_eval *ev, const struct pq_node *from, const struct pq_vec *v)
{
	return from->names == NAMES_ANY ? pq_unique(ev, v) : LT_OK;
}

/* ---- label sets to numbers ---- */

struct pq_map {
	const struct lt_labels **key;
	uint32_t *value;
	uint32_t mask;
};

/** pq_map_new() - for up to @n keys. */
void pq_map_new(struct lt_arena *arena, struct pq_map *m, size_t n);
/** pq_map_at() - place of the value of @l; *@found: whether it was there. */
static inline uint32_t *pq_map_at(struct pq_map *m, const struct lt_labels *l, bool *found)
{
	uint32_t at = (uint32_t)l->hash & m->mask;

	while (m->key[at] && m->key[at] != l)
		at = (at + 1) & m->mask;
	*found = m->key[at] != NULL;
	m->key[at] = l;
	return &m->value[at];
}
static inline const uint32_t *pq_map_find(const struct pq_map *m, const struct lt_labels *l)
{
	uint32_t at = (uint32_t)l->hash & m->mask;

	while (m->key[at] && m->key[at] != l)
		at = (at + 1) & m->mask;
	return m->key[at] ? &m->value[at] : NULL;
}

#endif
