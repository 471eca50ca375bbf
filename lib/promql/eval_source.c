/* SPDX-License-Identifier: MIT */
#include "eval_int.h"

/* Selectors: series and samples from the storage. */

#define FAR_AHEAD  8
#define NEAR_AHEAD 3

int64_t pq_when(const struct pq_eval *ev, const struct pq_when *w, int64_t t_ms)
{
	if (w->at == AT_TIME)
		t_ms = w->at_ms;
	else if (w->at)
		t_ms = w->at == AT_START ? ev->start_ms : ev->end_ms;
	return t_ms - w->offset_ms;
}

/* The series of a selector, once an evaluation. */
int pq_source(struct pq_eval *ev, const struct lt_promql_selector *s, struct pq_source **out)
{
	struct pq_source *src = &ev->src[s->index];
	int64_t min = s->absolute ? s->abs_min_ms : ev->start_ms - s->back_ms;
	int64_t max = s->absolute ? s->abs_max_ms : ev->end_ms + s->ahead_ms;

	*out = src;
	if (!src->selected) {
		int rc = ev->st->select(
			ev->st->ctx, ev->e, s, min, max, &src->series, &src->n, ev->err);

		if (rc != LT_OK)
			return rc;
		src->selected = true;
		if (src->n > ev->e->limits.max_series)
			return lt_fail(ev->err, LT_EFULL, LT_CLS_POISON, "promql.eval",
				"the selector at line %u, column %u has %zu series, %u are allowed",
				s->pos.line, s->pos.column, src->n, ev->e->limits.max_series);
	}
	if (ev->stepping && !src->loaded) {
		size_t bytes = src->n * sizeof(*src->loaded);

		src->loaded = lt_arena_alloc(ev->keep, bytes + 1);
		memset(src->loaded, 0, bytes);
	}
	return LT_OK;
}

/* All samples of series @i in the whole evaluation's window. */
static int load(
	struct pq_eval *ev, const struct lt_promql_selector *s, struct pq_source *src, size_t i)
{
	struct pq_loaded *l = &src->loaded[i];
	int64_t min = s->absolute ? s->abs_min_ms : ev->start_ms - s->back_ms;
	int64_t max = s->absolute ? s->abs_max_ms : ev->end_ms + s->ahead_ms;

	if (l->done)
		return LT_OK;
	ev->points.n = 0;
	ev->st->range(ev->st->ctx, src->series[i].series, min, max, &ev->points);
	l->done = true;
	l->n = ev->points.n;
	if (l->n)
		l->p = lt_arena_dup(ev->keep, ev->points.p, l->n * sizeof(*l->p));
	ev->samples_read += l->n;
	return pq_spend(ev, l->n);
}

/* Index of the first sample at or after @t_ms; searches from where it was last, mostly nearby. */
static size_t seek(struct pq_loaded *l, int64_t t_ms)
{
	size_t lo = 0, hi = l->n, step = 1;

	if (l->at > l->n)
		l->at = l->n;
	if (l->at < l->n && l->p[l->at].t_ms < t_ms) {
		lo = l->at + 1;
		while (lo + step < hi && l->p[lo + step].t_ms < t_ms) {
			lo += step;
			step *= 2;
		}
		hi = lo + step < hi ? lo + step + 1 : hi;
	} else {
		hi = l->at;
		while (hi > step && l->p[hi - step].t_ms >= t_ms) {
			hi -= step;
			step *= 2;
		}
		lo = hi > step ? hi - step : 0;
	}
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->p[mid].t_ms < t_ms)
			lo = mid + 1;
		else
			hi = mid;
	}
	l->at = lo;
	return lo;
}

/* Memory that the next ones need is fetched while this one is computed. */
static void look_ahead(const struct pq_eval *ev, const struct pq_source *src, size_t i)
{
	if (!ev->st->soon || ev->stepping)
		return;
	if (i + FAR_AHEAD < src->n)
		__builtin_prefetch(src->series[i + FAR_AHEAD].series);
	if (i + NEAR_AHEAD < src->n)
		ev->st->soon(ev->st->ctx, src->series[i + NEAR_AHEAD].series);
}

/* The sample that an instant selector sees. Return: 1, 0 or a code. */
static int newest(struct pq_eval *ev, const struct lt_promql_selector *s, struct pq_source *src,
	size_t i, int64_t ref_ms, struct lt_point *out)
{
	int64_t min = ref_ms - ev->e->limits.lookback_ms;

	if (!ev->stepping) {
		if (!ev->st->last(ev->st->ctx, src->series[i].series, min, ref_ms, out))
			return 0;
		ev->samples_read++;
	} else {
		struct pq_loaded *l = &src->loaded[i];
		int rc = load(ev, s, src, i);
		size_t at;

		if (rc != LT_OK)
			return rc;
		at = seek(l, ref_ms + 1);
		if (at == 0 || l->p[at - 1].t_ms < min)
			return 0;
		*out = l->p[at - 1];
	}
	return !lt_promql_is_stale(out->v);
}

int pq_eval_instant(
	struct pq_eval *ev, struct pq_node *n, int64_t t_ms, bool times, struct pq_vec *out)
{
	const struct lt_promql_selector *s = n->sel.pub;
	int64_t ref = pq_when(ev, &n->sel.when, t_ms);
	struct pq_source *src;
	int rc = pq_source(ev, s, &src);

	if (rc != LT_OK)
		return rc;
	pq_vec_new(ev, out, src->n);
	for (size_t i = 0; i < src->n; i++) {
		struct lt_point p;

		look_ahead(ev, src, i);
		rc = newest(ev, s, src, i, ref, &p);
		if (rc < 0)
			return rc;
		if (rc > 0)
			out->s[out->n++] = (struct lt_promql_sample){
				src->series[i].labels, times ? (double)p.t_ms / 1000 : p.v};
	}
	return pq_spend(ev, src->n);
}

/* Samples of series @i in [min, max] without staleness markers, in ev->points or where they lie. */
int pq_window(struct pq_eval *ev, const struct lt_promql_selector *s, struct pq_source *src,
	size_t i, int64_t min, int64_t max, const struct lt_point **p, size_t *n)
{
	struct pq_loaded *l;
	size_t from, to, kept = 0;
	bool stale = false;
	int rc;

	if (!ev->stepping) {
		look_ahead(ev, src, i);
		ev->points.n = 0;
		ev->st->range(ev->st->ctx, src->series[i].series, min, max, &ev->points);
		ev->samples_read += ev->points.n;
	} else {
		l = &src->loaded[i];
		rc = load(ev, s, src, i);
		if (rc != LT_OK)
			return rc;
		from = seek(l, min);
		for (to = from; to < l->n && l->p[to].t_ms <= max; to++)
			stale |= lt_promql_is_stale(l->p[to].v);
		*p = l->p + from;
		*n = to - from;
		rc = pq_spend(ev, to - from);
		if (!stale || rc != LT_OK)
			return rc;
		ev->points.n = 0;
		for (size_t k = from; k < to; k++)
			lt_points_add(&ev->points, l->p[k].t_ms, l->p[k].v);
	}
	while (kept < ev->points.n && !lt_promql_is_stale(ev->points.p[kept].v))
		kept++;
	for (size_t k = kept; k < ev->points.n; k++)
		if (!lt_promql_is_stale(ev->points.p[k].v))
			ev->points.p[kept++] = ev->points.p[k];
	ev->points.n = kept;
	*p = ev->points.p;
	*n = kept;
	return pq_spend(ev, kept);
}
