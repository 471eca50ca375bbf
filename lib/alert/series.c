/* SPDX-License-Identifier: MIT */
#include "series.h"

#include <stdlib.h>
#include <string.h>

#include "selectors.h"
#include "series_int.h"

#define CAP_FIRST 4
#define CAP_SPARE 8 /* a full buffer grows unless an eighth of it is free after cleaning, ... */
#define CAP_MORE  5 /* ... by a fifth of what it holds: most windows stay as they are once full */

int64_t lt_as_last_ms(const struct lt_as_series *s)
{
	return s->n ? as_time(s, s->n - 1) : INT64_MIN;
}

/* ---- the table of series ---- */

static size_t place(const struct lt_as *a, const struct lt_labels *l)
{
	size_t i = l->hash & (a->cap - 1);

	while (a->table[i] && a->table[i]->labels != l)
		i = (i + 1) & (a->cap - 1);
	return i;
}

static void grow_table(struct lt_as *a)
{
	struct lt_as_series **old = a->table;
	size_t cap = a->cap;

	a->cap = cap ? cap * 2 : 1024;
	a->table = lt_calloc(a->cap, sizeof(struct lt_as_series *));
	a->bytes += (a->cap - cap) * sizeof(*old);
	for (size_t i = 0; i < cap; i++)
		if (old[i])
			a->table[place(a, old[i]->labels)] = old[i];
	free(old);
}

/* Those behind the gap that would not be found any more move up (Knuth 6.4, algorithm R). */
static void leave_table(struct lt_as *a, const struct lt_as_series *s)
{
	size_t mask = a->cap - 1, hole = place(a, s->labels), i = hole;

	a->table[hole] = NULL;
	for (;;) {
		size_t home;

		i = (i + 1) & mask;
		if (!a->table[i])
			break;
		home = a->table[i]->labels->hash & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			a->table[hole] = a->table[i];
			a->table[i] = NULL;
			hole = i;
		}
	}
	a->n--;
}

static void show(struct lt_as *a)
{
	struct lt_label_pool_info pool;

	lt_label_pool_info(a->pool, &pool);
	lt_gauge_set(&a->info->series, (int64_t)a->n);
	lt_gauge_set(&a->info->samples_bytes, (int64_t)a->bytes);
	lt_gauge_set(&a->info->bytes,
		(int64_t)(a->bytes + pool.bytes + (a->now ? lt_selectors_bytes(a->now) : 0)));
}

/* ---- those that nobody writes ---- */

static void enlist(struct lt_as *a, struct lt_as_series *s)
{
	if (a->n_orphans == a->cap_orphans) {
		a->cap_orphans = a->cap_orphans ? a->cap_orphans * 2 : 64;
		a->orphans = lt_realloc(a->orphans, a->cap_orphans * sizeof(struct lt_as_series *));
	}
	a->orphans[a->n_orphans++] = s;
	s->orphan = (uint32_t)a->n_orphans;
}

static void delist(struct lt_as *a, struct lt_as_series *s)
{
	struct lt_as_series *last = a->orphans[--a->n_orphans];

	a->orphans[s->orphan - 1] = last;
	last->orphan = s->orphan;
	s->orphan = 0;
}

void lt_as_get(struct lt_as *a, struct lt_as_series *s)
{
	if (s->refs++ == 0)
		delist(a, s);
}

void lt_as_put(struct lt_as *a, struct lt_as_series *s)
{
	if (--s->refs == 0)
		enlist(a, s);
}

static void drop(struct lt_as *a, struct lt_as_series *s)
{
	leave_table(a, s);
	delist(a, s);
	a->bytes -= sizeof(*s) + s->cap * AS_STEP_BYTES;
	lt_labels_put(a->pool, s->labels);
	free(s->v);
	free(s);
	lt_counter_add(&a->info->removed, 1);
}

void lt_as_sweep(struct lt_as *a, int64_t now_ms)
{
	size_t gone = 0;

	for (size_t i = 0; i < a->n_orphans; i++) {
		struct lt_as_series *s = a->orphans[i];

		/* The newest sample counts for instant selectors as long as they look back. */
		s->gone = s->unwanted || s->n == 0 ||
			  lt_as_last_ms(s) < now_ms - (int64_t)s->back_ms - LT_LOOKBACK_MS -
						     a->limits.slack_ms;
		gone += s->gone;
	}
	if (gone) {
		for (size_t i = 0; i < a->n_orphans; i++)
			if (a->orphans[i]->gone)
				lt_selectors_leave(a->now, a->orphans[i]->labels);
		lt_selectors_tidy(a->now);
		for (size_t i = a->n_orphans; i-- > 0;)
			if (a->orphans[i]->gone)
				drop(a, a->orphans[i]);
	}
	show(a);
}

/* ---- life ---- */

struct lt_label_pool *lt_as_pool(struct lt_as *a)
{
	return a->pool;
}

static int storage_select(void *ctx, const struct lt_promql_expr *e,
	const struct lt_promql_selector *sel, int64_t mint_ms, int64_t maxt_ms,
	const struct lt_promql_series **out, size_t *n, struct lt_err *err)
{
	struct lt_as *a = ctx;

	(void)e;
	(void)mint_ms;
	(void)maxt_ms;
	*n = 0;
	if (lt_selectors_find(a->now, sel, out, n))
		return LT_OK;
	return lt_fail(err, LT_EINVAL, LT_CLS_FATAL, "alert.select",
		"a selector that was never registered");
}

/*
 * The newest one at or before @t_ms; n: none. Samples are mostly evenly spaced, so the search begins
 * where it would then be and touches few lines of memory: with many series each one costs more than
 * all the arithmetic.
 */
static uint32_t at_or_before(const struct lt_as_series *s, int64_t t_ms)
{
	const uint32_t *off = as_offsets(s);
	uint32_t lo = 0, hi = s->n, guess, near = 2;
	int64_t want = t_ms - s->base_ms;

	if (!s->n || want < off[0])
		return s->n;
	if (want >= off[s->n - 1])
		return s->n - 1;
	/* Here off[0] <= want < off[n - 1]; what is looked for is in [lo, hi). */
	guess = (uint32_t)((uint64_t)(want - off[0]) * (s->n - 1) / (off[s->n - 1] - off[0]));
	if (off[guess] <= want) {
		for (lo = guess; lo + near < hi && off[lo + near] <= want; near *= 2)
			lo += near;
		hi = lo + near < hi ? lo + near : hi;
		lo++;
	} else {
		for (hi = guess; hi > near && off[hi - near] > want; near *= 2)
			hi -= near;
		lo = hi > near ? hi - near : 0;
	}
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (off[mid] <= want)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo - 1;
}

static bool storage_last(
	void *ctx, const void *series, int64_t mint_ms, int64_t maxt_ms, struct lt_point *out)
{
	const struct lt_as_series *s = series;
	uint32_t i = at_or_before(s, maxt_ms);

	(void)ctx;
	if (i == s->n) {
		/* An evaluation that is later than its slack: the sample that it is about is gone,
		 * which must not look as if the series had begun only now. */
		if (!s->n || !s->trimmed || as_time(s, 0) - maxt_ms > LT_LOOKBACK_MS)
			return false;
		out->t_ms = maxt_ms;
		out->v = s->v[0];
		return true;
	}
	if (as_time(s, i) < mint_ms)
		return false;
	out->t_ms = as_time(s, i);
	out->v = s->v[i];
	return true;
}

static void storage_range(
	void *ctx, const void *series, int64_t mint_ms, int64_t maxt_ms, struct lt_points *out)
{
	const struct lt_as_series *s = series;
	uint32_t from = at_or_before(s, mint_ms - 1), to = at_or_before(s, maxt_ms);
	const uint32_t *off = as_offsets(s);
	struct lt_point *p;

	(void)ctx;
	if (to == s->n)
		return;
	from = from == s->n ? 0 : from + 1;
	if (from > to)
		return;
	p = lt_points_room(out, to - from + 1);
	for (uint32_t i = from; i <= to; i++, p++) {
		p->t_ms = s->base_ms + off[i];
		p->v = s->v[i];
	}
	out->n += to - from + 1;
}

/* The lines that a look at the newest samples, or at the ends of a window, begins with. */
static void storage_soon(void *ctx, const void *series)
{
	const struct lt_as_series *s = series;

	(void)ctx;
	if (!s->n)
		return;
	__builtin_prefetch(s->v + s->n - 1);
	__builtin_prefetch(s->v);
	__builtin_prefetch(as_offsets(s));
	__builtin_prefetch(as_offsets(s) + s->n - 1);
}

struct lt_as *lt_as_new(
	struct lt_label_pool *pool, const struct lt_as_limits *limits, struct lt_as_info *info)
{
	struct lt_as *a = lt_calloc(1, sizeof(*a));

	a->pool = pool;
	a->limits = *limits;
	a->info = info;
	a->storage = (struct lt_promql_storage){
		.ctx = a,
		.select = storage_select,
		.last = storage_last,
		.range = storage_range,
		.soon = storage_soon,
	};
	a->now = lt_selectors_new(pool);
	grow_table(a);
	return a;
}

void lt_as_free(struct lt_as *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->cap; i++) {
		struct lt_as_series *s = a->table[i];

		if (!s)
			continue;
		lt_labels_put(a->pool, s->labels);
		free(s->v);
		free(s);
	}
	lt_selectors_free(a->now);
	lt_selectors_free(a->next);
	free(a->table);
	free(a->orphans);
	free(a);
}

const struct lt_promql_storage *lt_as_storage(struct lt_as *a)
{
	return &a->storage;
}

uint32_t lt_as_generation(const struct lt_as *a)
{
	return a->generation;
}

/* ---- selectors ---- */

void lt_as_begin(struct lt_as *a)
{
	lt_selectors_free(a->next);
	a->next = lt_selectors_new(a->pool);
}

int64_t lt_as_window_ms(const struct lt_promql_selector *sel)
{
	int64_t back_ms = sel->relative && sel->back_ms > 0 ? sel->back_ms : 0;

	return sel->range_ms == 0 && back_ms <= LT_LOOKBACK_MS ? 0 : back_ms;
}

int lt_as_accept(const struct lt_as *a, const struct lt_promql_selector *sel, struct lt_err *err)
{
	int64_t window_ms = sel->relative ? sel->back_ms : 0;

	if (sel->absolute)
		return lt_fail(err, LT_EINVAL, LT_CLS_CONFIG, "alert.select",
			"\"@ <time>\" asks for samples of a fixed time, and a rule on the stream "
			"keeps only its last ones; use offset, or @ start() and @ end()");
	if (window_ms > a->limits.max_window_ms) {
		struct lt_buf have = {0}, most = {0};
		int rc;

		lt_promql_format_duration(&have, window_ms);
		lt_promql_format_duration(&most, a->limits.max_window_ms);
		rc = lt_fail(err, LT_EINVAL, LT_CLS_CONFIG, "alert.select",
			"it looks %s back, more than the %s of alert.max_window", have.data,
			most.data);
		lt_buf_fini(&have);
		lt_buf_fini(&most);
		return rc;
	}
	return LT_OK;
}

int lt_as_select(struct lt_as *a, const struct lt_promql_selector *sel, struct lt_err *err)
{
	struct lt_keep keep = {0};
	int rc = lt_as_accept(a, sel, err);

	if (rc != LT_OK)
		return rc;
	keep.back_ms = lt_as_window_ms(sel); /* the newest sample is kept in any case */
	keep.dense_ms = keep.back_ms <= a->limits.dense_ms ? keep.back_ms : 0;
	keep.back_ms += a->limits.slack_ms;
	keep.dense_ms += a->limits.slack_ms;
	lt_selectors_add(a->next, sel, &keep);
	return LT_OK;
}

void lt_as_watch(struct lt_as *a, const struct lt_promql_threshold *t, int64_t *crossed_ms)
{
	lt_selectors_watch(a->next, t, crossed_ms);
}

void lt_as_abort(struct lt_as *a)
{
	lt_selectors_free(a->next);
	a->next = NULL;
}

static bool join(struct lt_as *a, struct lt_as_series *s)
{
	struct lt_keep keep;

	if (!lt_selectors_join(a->now, s->labels, s, &keep))
		return false;
	s->back_ms = (uint32_t)keep.back_ms;
	s->dense_ms = (uint32_t)keep.dense_ms;
	s->watched = keep.watched;
	return true;
}

/* A series about which a pattern could not decide is left out of that selector, and said. */
static void report_patterns(struct lt_as *a)
{
	struct lt_err err;

	if (!lt_selectors_gave_up(a->now, &err))
		return;
	lt_counter_add(&a->info->gave_up, 1);
	lt_complain(&a->gave_up, LT_ERROR, "pattern_gave_up", LT_S("err", err.msg));
}

void lt_as_commit(struct lt_as *a)
{
	lt_selectors_free(a->now);
	a->now = a->next;
	a->next = NULL;
	a->generation++;
	for (size_t i = 0; i < a->cap; i++) {
		struct lt_as_series *s = a->table[i];

		if (s)
			s->unwanted = !join(a, s);
	}
	report_patterns(a);
	lt_gauge_set(&a->info->selectors, (int64_t)lt_selectors_n(a->now));
	show(a);
}

bool lt_as_may_want(const struct lt_as *a, const char *name, size_t name_len,
	const struct lt_label_text *labels, size_t n)
{
	return lt_selectors_may_want(a->now, name, name_len, labels, n);
}

/* ---- series ---- */

struct lt_as_series *lt_as_find(const struct lt_as *a, const struct lt_labels *labels)
{
	struct lt_as_series *s = a->table[place(a, labels)];

	return s && !s->unwanted ? s : NULL;
}

struct lt_as_series *lt_as_series(struct lt_as *a, const struct lt_labels *labels)
{
	struct lt_as_series *s = a->table[place(a, labels)];
	struct lt_keep keep;

	if (s)
		return s->unwanted ? NULL : s;
	if (!lt_selectors_join(a->now, labels, NULL, &keep)) {
		report_patterns(a);
		return NULL;
	}
	if (a->n >= a->limits.max_series || a->bytes >= a->limits.max_bytes) {
		lt_counter_add(&a->info->refused, 1);
		lt_complain(&a->full, LT_ERROR, "series_limit", LT_U("series", a->n),
			LT_U("bytes", a->bytes),
			LT_S("err", a->n >= a->limits.max_series
					    ? "more series are selected than alert.max_series"
					    : "the windows take more than alert.max_bytes"));
		return NULL;
	}
	s = lt_calloc(1, sizeof(*s));
	s->labels = lt_labels_get(labels);
	join(a, s);
	report_patterns(a);
	if (a->n * 4 >= a->cap * 3)
		grow_table(a);
	a->table[place(a, labels)] = s;
	a->n++;
	a->bytes += sizeof(*s);
	enlist(a, s);
	return s;
}

/* ---- samples ---- */

static void move(struct lt_as_series *s, uint32_t to, uint32_t from)
{
	s->v[to] = s->v[from];
	as_offsets(s)[to] = as_offsets(s)[from];
}

void as_thin_out(struct lt_as *a, struct lt_as_series *s, int64_t now_ms)
{
	int64_t gap_ms = (int64_t)s->back_ms / a->limits.max_points;
	int64_t dense_ms = now_ms - (int64_t)s->dense_ms, kept_ms = INT64_MIN;
	uint32_t n = 0, i = 0;

	for (; i < s->n && as_time(s, i) < dense_ms; i++) {
		int64_t t_ms = as_time(s, i);

		if (kept_ms != INT64_MIN && t_ms < kept_ms + gap_ms && !lt_promql_is_stale(s->v[i]))
			continue;
		kept_ms = t_ms;
		move(s, n++, i);
	}
	lt_counter_add(&a->info->thinned, i - n);
	for (; i < s->n; i++)
		move(s, n++, i);
	s->n = n;
}

static void rebase(struct lt_as_series *s)
{
	uint32_t *off = as_offsets(s), first = off[0];

	s->base_ms += first;
	for (uint32_t i = 0; i < s->n; i++)
		off[i] -= first;
}

static void resize(struct lt_as *a, struct lt_as_series *s, uint32_t cap)
{
	double *v = lt_malloc(cap * AS_STEP_BYTES);

	if (s->n) {
		memcpy(v, s->v, s->n * sizeof(*v));
		memcpy(v + cap, as_offsets(s), s->n * sizeof(uint32_t));
	}
	a->bytes += cap * AS_STEP_BYTES;
	a->bytes -= s->cap * AS_STEP_BYTES;
	free(s->v);
	s->v = v;
	s->cap = cap;
}

static void make_room(struct lt_as *a, struct lt_as_series *s, int64_t now_ms)
{
	int64_t cut_ms = now_ms - (int64_t)s->back_ms;
	uint32_t old = 0;

	while (old + 1 < s->n && as_time(s, old + 1) < cut_ms)
		old++;
	if (old) {
		s->n -= old;
		memmove(s->v, s->v + old, s->n * sizeof(*s->v));
		memmove(as_offsets(s), as_offsets(s) + old, s->n * sizeof(uint32_t));
		s->trimmed = true;
	}
	if (s->n > a->limits.max_points && s->dense_ms < s->back_ms)
		as_thin_out(a, s, now_ms);
	if (s->n)
		rebase(s);
	if (s->n + 1 + s->cap / CAP_SPARE > s->cap)
		resize(a, s, s->cap ? s->n + s->n / CAP_MORE + CAP_FIRST : CAP_FIRST);
}

bool lt_as_append(struct lt_as *a, struct lt_as_series *s, int64_t t_ms, double v)
{
	if (s->n && t_ms <= as_time(s, s->n - 1)) {
		lt_counter_add(&a->info->out_of_order, 1);
		return false;
	}
	/* An offset of 2^32 ms (49 days): what is that far apart shares no window. */
	if (s->n && t_ms - s->base_ms > INT64_C(0x7fffffff)) {
		make_room(a, s, t_ms);
		if (t_ms - s->base_ms > INT64_C(0x7fffffff))
			s->n = 0;
	}
	if (s->watched)
		lt_selectors_sample(
			a->now, s->labels, s->n ? s->v[s->n - 1] : lt_promql_stale(), t_ms, v);
	if (s->n == s->cap)
		make_room(a, s, t_ms);
	if (s->n == 0)
		s->base_ms = t_ms;
	as_put(s, t_ms, v);
	return true;
}

bool lt_as_insert(struct lt_as *a, struct lt_as_series *s, int64_t t_ms, double v)
{
	int64_t newest_ms = lt_as_last_ms(s);
	uint32_t at;

	if (t_ms > newest_ms)
		return lt_as_append(a, s, t_ms, v);
	if (t_ms < newest_ms - (int64_t)s->back_ms)
		return false;
	if (s->n == s->cap)
		make_room(a, s, newest_ms);
	at = at_or_before(s, t_ms);
	if (at != s->n && as_time(s, at) == t_ms)
		return false;
	at = at == s->n ? 0 : at + 1;
	if (at == 0) {
		uint32_t by = (uint32_t)(as_time(s, 0) - t_ms), from = as_offsets(s)[0];

		s->base_ms = t_ms;
		for (uint32_t i = 0; i < s->n; i++)
			as_offsets(s)[i] += by - from;
	}
	memmove(s->v + at + 1, s->v + at, (s->n - at) * sizeof(*s->v));
	memmove(as_offsets(s) + at + 1, as_offsets(s) + at, (s->n - at) * sizeof(uint32_t));
	s->v[at] = v;
	as_offsets(s)[at] = (uint32_t)(t_ms - s->base_ms);
	s->n++;
	return true;
}

void lt_as_end(struct lt_as *a, struct lt_as_series *s, int64_t t_ms)
{
	if (!s->n || lt_promql_is_stale(s->v[s->n - 1]))
		return;
	if (t_ms <= as_time(s, s->n - 1))
		t_ms = as_time(s, s->n - 1) + 1;
	lt_as_append(a, s, t_ms, lt_promql_stale());
}

void lt_as_shift(struct lt_as *a, int64_t by_ms)
{
	for (size_t i = 0; i < a->cap; i++)
		if (a->table[i])
			a->table[i]->base_ms += by_ms;
}

int64_t lt_as_longest_ms(const struct lt_as *a)
{
	return lt_selectors_longest_ms(a->now);
}
