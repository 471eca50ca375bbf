/* SPDX-License-Identifier: MIT */
#include "sources_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "latido/clock.h"
#include "latido/log.h"

#define BINDINGS_MAX 64   /* of a stream whose events are partial */
#define STREAMS_MAX  16   /* of a source */
#define SKEW_SAME_MS 2000 /* lags that differ by less are the same lag */
#define SKEW_VOTES   3    /* events with the same lag make it a wrong clock */

struct lt_sources *lt_sources_new(
	struct lt_as *a, const struct lt_sources_opts *opts, struct lt_sources_info *info)
{
	struct lt_sources *t = lt_calloc(1, sizeof(*t));

	t->a = a;
	t->pool = lt_as_pool(a);
	t->opts = *opts;
	t->info = info;
	t->cap = 256;
	t->table = lt_calloc(t->cap, sizeof(struct source *));
	t->next_plan = 1;
	return t;
}

/* ---- bindings ---- */

static void free_binding(struct lt_sources *t, struct binding *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		if (b->s[i])
			lt_as_put(t->a, b->s[i]);
	free(b);
}

void sources_unbind(struct lt_sources *t, struct stream *st)
{
	struct binding *b;

	while ((b = st->bindings)) {
		st->bindings = b->next;
		free_binding(t, b);
	}
}

/* What stands in an event, as a scrape would have it. Return: number of labels. */
static size_t event_labels(const struct lt_series *s, struct lt_label_text out[LT_LABELS_MAX])
{
	for (size_t i = 0; i < s->n_labels; i++) {
		const struct lt_label *l = &s->labels[i];
		const char *name = l->name;

		if (strcmp(name, "instance") == 0)
			name = "exported_instance";
		else if (strcmp(name, "job") == 0)
			name = "exported_job";
		out[i] = (struct lt_label_text){
			name, l->value, (uint32_t)strlen(name), l->value_len};
	}
	return s->n_labels;
}

static size_t own_labels(
	const struct source *src, const char *name, size_t name_len, struct lt_label_text out[3])
{
	out[0] = (struct lt_label_text){"__name__", name, 8, (uint32_t)name_len};
	out[1] = (struct lt_label_text){"instance", src->name, 8, (uint32_t)strlen(src->name)};
	out[2] = src->device ? (struct lt_label_text){"job", "device", 3, 6}
			     : (struct lt_label_text){"job", "node", 3, 4};
	return 3;
}

static struct plan *plan_of(struct lt_sources *t, struct lt_shape *shape)
{
	struct plan *p = shape->user;
	struct lt_label_text labels[LT_LABELS_MAX];
	uint32_t n = 0, *idx;

	if (p && p->generation == lt_as_generation(t->a))
		return p;
	idx = lt_malloc((shape->n_series + 1) * sizeof(*idx));
	for (uint32_t i = 0; i < shape->n_series; i++) {
		const struct lt_series *s = &shape->series[i];
		size_t n_labels = event_labels(s, labels);

		if (lt_as_may_want(t->a, s->name, s->name_len, labels, n_labels))
			idx[n++] = i;
	}
	free(p);
	p = lt_malloc(sizeof(*p) + n * sizeof(*idx));
	p->id = t->next_plan++;
	p->generation = lt_as_generation(t->a);
	p->n = n;
	memcpy(p->idx, idx, n * sizeof(*idx));
	free(idx);
	shape->user = p;
	shape->user_free = free;
	lt_counter_add(&t->info->plans, 1);
	return p;
}

static struct lt_as_series *series_of(
	struct lt_sources *t, struct source *src, const struct lt_series *s, int64_t t_ms)
{
	struct lt_label_text labels[LT_LABELS_MAX + 3];
	size_t n = event_labels(s, labels);
	const struct lt_labels *set;
	struct lt_as_series *found;

	n += own_labels(src, s->name, s->name_len, labels + n);
	set = lt_labels_intern(t->pool, labels, n);
	found = lt_as_find(t->a, set);
	if (!found) {
		/* One source whose names never end must not take all the room. */
		if (t_ms - src->made_ms > LT_MADE_MS || t_ms < src->made_ms) {
			src->made = 0;
			src->made_ms = t_ms;
		}
		if (src->made < t->opts.max_source_series) {
			found = lt_as_series(t->a, set);
			src->made += found != NULL;
		} else {
			lt_counter_add(&t->info->crowded, 1);
			lt_complain(&t->crowded, LT_ERROR, "source_series_limit",
				LT_S("source", src->name), LT_U("series", src->made),
				LT_S("err", "more new series than alert.max_source_series; "
					    "further ones are left out"));
		}
	}
	lt_labels_put(t->pool, set);
	return found;
}

/* The series of @st that the snapshot does not have any more end here. */
static void end_others(
	struct lt_sources *t, const struct binding *old, const struct binding *b, int64_t t_ms)
{
	t->mark++;
	for (uint32_t i = 0; b && i < b->n; i++)
		if (b->s[i])
			b->s[i]->mark = t->mark;
	for (uint32_t i = 0; i < old->n; i++)
		if (old->s[i] && old->s[i]->mark != t->mark)
			lt_as_end(t->a, old->s[i], t_ms);
}

static void drop_least_used(struct lt_sources *t, struct stream *st)
{
	struct binding **oldest = NULL;
	size_t n = 0;

	for (struct binding **at = &st->bindings; *at; at = &(*at)->next) {
		n++;
		if (!oldest || (*at)->used_ms < (*oldest)->used_ms)
			oldest = at;
	}
	if (n > BINDINGS_MAX) {
		struct binding *b = *oldest;

		*oldest = b->next;
		free_binding(t, b);
	}
}

static struct binding *binding_of(struct lt_sources *t, struct source *src, struct stream *st,
	const struct lt_event *e, const struct plan *p, int64_t t_ms)
{
	struct binding *b;

	for (b = st->bindings; b; b = b->next)
		if (b->plan == p->id)
			return b;
	b = lt_malloc(sizeof(*b) + p->n * sizeof(b->s[0]));
	b->plan = p->id;
	b->generation = p->generation;
	b->n = p->n;
	for (uint32_t i = 0; i < p->n; i++) {
		b->s[i] = series_of(t, src, &e->shape->series[p->idx[i]], t_ms);
		if (b->s[i])
			lt_as_get(t->a, b->s[i]);
	}
	if (!e->partial)
		for (const struct binding *old = st->bindings; old; old = old->next)
			end_others(t, old, b, t_ms);
	/* Of other rules than those of now nobody will ask again. */
	if (!e->partial || (st->bindings && st->bindings->generation != b->generation))
		sources_unbind(t, st);
	b->next = st->bindings;
	st->bindings = b;
	b->used_ms = t_ms;
	drop_least_used(t, st);
	lt_counter_add(&t->info->bindings, 1);
	return b;
}

void sources_bind_up(struct lt_sources *t, struct source *src)
{
	struct lt_label_text labels[3];
	const struct lt_labels *set;

	if (src->generation == lt_as_generation(t->a))
		return;
	src->generation = lt_as_generation(t->a);
	if (src->up)
		lt_as_put(t->a, src->up);
	set = lt_labels_intern(t->pool, labels, own_labels(src, "up", 2, labels));
	src->up = lt_as_series(t->a, set);
	if (src->up)
		lt_as_get(t->a, src->up);
	lt_labels_put(t->pool, set);
}

/* ---- sources ---- */

void sources_tell(const struct lt_sources *t, const struct source *src, bool gone)
{
	if (t->opts.changed)
		t->opts.changed(t->opts.ctx, src->name, src->device, src->interval_ms, gone);
}

void sources_drop(struct lt_sources *t, struct source *src)
{
	struct stream *st;

	while ((st = src->streams)) {
		src->streams = st->next;
		sources_unbind(t, st);
		free(st);
	}
	if (src->up)
		lt_as_put(t->a, src->up);
	free(src);
}

void lt_sources_free(struct lt_sources *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->cap; i++) {
		while (t->table[i]) {
			struct source *src = t->table[i];

			t->table[i] = src->next;
			sources_drop(t, src);
		}
	}
	free(t->table);
	free(t);
}

static void grow(struct lt_sources *t)
{
	struct source **old = t->table;
	size_t cap = t->cap;

	t->cap *= 2;
	t->table = lt_calloc(t->cap, sizeof(struct source *));
	for (size_t i = 0; i < cap; i++) {
		while (old[i]) {
			struct source *src = old[i];

			old[i] = src->next;
			src->next = t->table[src->hash & (t->cap - 1)];
			t->table[src->hash & (t->cap - 1)] = src;
		}
	}
	free(old);
}

struct source *sources_find(struct lt_sources *t, const char *name, bool device)
{
	uint64_t hash = XXH3_64bits(name, strlen(name)) ^ device;
	struct source *src;
	size_t n = strlen(name) + 1;

	for (src = t->table[hash & (t->cap - 1)]; src; src = src->next)
		if (src->hash == hash && src->device == device && strcmp(src->name, name) == 0)
			return src;
	if (t->n >= t->opts.max_sources) {
		lt_counter_add(&t->info->refused, 1);
		lt_complain(&t->full, LT_ERROR, "source_limit", LT_U("sources", t->n),
			LT_S("refused", name));
		return NULL;
	}
	if (t->n >= t->cap)
		grow(t);
	src = lt_calloc(1, sizeof(*src) + n);
	memcpy(src->name, name, n);
	src->hash = hash;
	src->device = device;
	src->arrived_ms = INT64_MIN;
	src->since.t_ms = INT64_MAX;
	src->generation = lt_as_generation(t->a) - 1;
	src->next = t->table[hash & (t->cap - 1)];
	t->table[hash & (t->cap - 1)] = src;
	t->n++;
	lt_gauge_set(&t->info->sources, (int64_t)t->n);
	return src;
}

static struct stream *stream_of(struct source *src, const char *name)
{
	struct stream **at = &src->streams, *st;
	size_t n = strlen(name) + 1, count = 0;

	for (; (st = *at); at = &st->next, count++)
		if (strcmp(st->name, name) == 0)
			return st;
	if (count >= STREAMS_MAX)
		return NULL;
	st = *at = lt_calloc(1, sizeof(*st) + n);
	memcpy(st->name, name, n);
	st->last_ms = st->arrived_ms = INT64_MIN;
	return st;
}

/* ---- the time of an event ---- */

/* An event that came too late: is it the clock of its source? Return: its time, or INT64_MIN. */
static int64_t lagging(struct lt_sources *t, struct source *src, int64_t t_ms, int64_t arrived_ms)
{
	int64_t lag_ms = arrived_ms - t_ms;

	if (src->skew_ms && llabs(lag_ms - src->skew_ms) <= t->opts.max_lag_ms) {
		lt_counter_add(&t->info->skewed, 1);
		t_ms += src->skew_ms;
		return t_ms < arrived_ms ? t_ms : arrived_ms;
	}
	if (src->votes && llabs(lag_ms - src->lag_ms) <= SKEW_SAME_MS)
		src->votes++;
	else
		src->votes = 1;
	src->lag_ms = lag_ms;
	if (src->votes < SKEW_VOTES) {
		lt_counter_add(&t->info->lagging, 1);
		return INT64_MIN;
	}
	src->skew_ms = lag_ms;
	src->votes = 0;
	lt_counter_add(&t->info->skewed, 1);
	lt_complain(&t->skewed, LT_WARN, "clock_skew", LT_S("source", src->name),
		LT_I("behind_ms", lag_ms),
		LT_S("err", "its clock is wrong, or its events are on their way for that long; "
			    "times of arrival are used"));
	return arrived_ms;
}

static int64_t time_of(struct lt_sources *t, struct source *src, const struct stream *st,
	const struct lt_event *e, int64_t arrived_ms)
{
	int64_t t_ms = e->time_ns / LT_NS_PER_MS;

	if (t_ms > arrived_ms) {
		if (t_ms - arrived_ms > t->opts.max_lag_ms)
			lt_counter_add(&t->info->ahead, 1);
		t_ms = arrived_ms;
	} else if (arrived_ms - t_ms > t->opts.max_lag_ms) {
		t_ms = lagging(t, src, t_ms, arrived_ms);
	} else {
		src->votes = 0;
		src->skew_ms = 0;
	}
	/* Numbered, and newer than what we have: the source's clock was set back. */
	if (t_ms != INT64_MIN && e->seq && t_ms <= st->last_ms && arrived_ms > st->last_ms)
		t_ms = arrived_ms;
	return t_ms;
}

/* A source's own interval is that of its quickest stream. */
static void set_interval(
	struct lt_sources *t, struct source *src, struct stream *st, uint32_t interval_ms)
{
	uint32_t least_ms = 0;

	st->interval_ms = interval_ms;
	for (const struct stream *o = src->streams; o; o = o->next)
		if (o->interval_ms && (!least_ms || o->interval_ms < least_ms))
			least_ms = o->interval_ms;
	if (least_ms == src->interval_ms)
		return;
	src->interval_ms = least_ms;
	sources_tell(t, src, false);
}

static bool is_old(const struct stream *st, const struct lt_event *e)
{
	if (!e->seq || !st->epoch)
		return false;
	return e->epoch < st->epoch || (e->epoch == st->epoch && e->seq <= st->seq);
}

/* ---- events ---- */

static void take_values(struct lt_sources *t, const struct lt_event *e, const struct plan *p,
	const struct binding *b, int64_t t_ms)
{
	for (uint32_t i = 0; i < p->n; i++) {
		struct lt_as_series *s = b->s[i];
		double v;

		if (!s)
			continue;
		v = lt_event_value(e, p->idx[i]);
		if (!isnan(v))
			lt_as_append(t->a, s, t_ms, v);
		else if (!e->partial)
			lt_as_end(t->a, s, t_ms);
	}
	lt_counter_add(&t->info->values, p->n);
}

static struct lt_source_mark mark(const struct lt_event *e, int64_t t_ms)
{
	return (struct lt_source_mark){.t_ms = t_ms, .epoch = e->seq ? e->epoch : 0, .seq = e->seq};
}

/* Return: the time of its samples; INT64_MAX: it was not taken. */
static int64_t take_event(struct lt_sources *t, struct source *src, const struct lt_event *e,
	int64_t now_ms, int64_t evaluated_ms)
{
	int64_t arrived_ms = e->arrived_ns / LT_NS_PER_MS, t_ms;
	struct stream *st = src ? stream_of(src, e->stream) : NULL;
	const struct plan *p;

	lt_counter_add(&t->info->events, 1);
	if (!st)
		return INT64_MAX;
	if (arrived_ms > now_ms)
		arrived_ms = now_ms;
	if (is_old(st, e)) {
		lt_counter_add(&t->info->old, 1);
		return INT64_MAX;
	}
	if (src->arrived_ms == INT64_MIN && !e->interval_ms)
		sources_tell(t, src, false);
	if (arrived_ms > src->arrived_ms)
		src->arrived_ms = arrived_ms;
	st->arrived_ms = arrived_ms;
	if (e->interval_ms != st->interval_ms)
		set_interval(t, src, st, e->interval_ms);
	t_ms = time_of(t, src, st, e, arrived_ms);
	if (e->seq) {
		st->epoch = e->epoch;
		st->seq = e->seq;
	}
	if (t_ms == INT64_MIN)
		return INT64_MAX;
	src->shift_ms = t_ms - e->time_ns / LT_NS_PER_MS;
	if (t_ms <= st->last_ms && !e->partial) {
		lt_counter_add(&t->info->old, 1);
		return INT64_MAX;
	}
	if (t_ms <= evaluated_ms)
		lt_counter_add(&t->info->late, 1);
	if (t_ms > st->last_ms)
		st->last_ms = t_ms;
	if (t_ms < src->since.t_ms)
		src->since = mark(e, t_ms);
	st->silent = src->silent = false;
	sources_bind_up(t, src);
	if (src->up && t_ms > lt_as_last_ms(src->up))
		lt_as_append(t->a, src->up, t_ms, 1);
	p = plan_of(t, e->shape);
	if (p->n || st->bindings) {
		struct binding *b = binding_of(t, src, st, e, p, t_ms);

		b->used_ms = t_ms;
		take_values(t, e, p, b, t_ms);
	}
	return t_ms;
}

void lt_sources_event(
	struct lt_sources *t, const struct lt_event *e, int64_t now_ms, int64_t evaluated_ms)
{
	struct source *src = sources_find(t, e->source, e->device);
	int64_t t_ms = take_event(t, src, e, now_ms, evaluated_ms);

	if (t_ms < INT64_MAX)
		src->back = true;
}

static const struct binding *find_binding(const struct stream *st, const struct plan *p)
{
	const struct binding *b;

	for (b = st->bindings; b; b = b->next)
		if (b->plan == p->id)
			return b;
	return NULL;
}

bool lt_sources_fill(struct lt_sources *t, const struct lt_event *e, int64_t now_ms)
{
	int64_t t_ms = e->time_ns / LT_NS_PER_MS;
	struct source *src = sources_find(t, e->source, e->device);
	struct stream *st = src ? stream_of(src, e->stream) : NULL;
	const struct binding *b;
	const struct plan *p;
	bool any = false;

	if (!st || t_ms > now_ms)
		return false;
	if (t_ms > st->last_ms && !is_old(st, e)) {
		take_event(t, src, e, now_ms, INT64_MIN);
		return true;
	}
	if (t_ms < src->since.t_ms)
		src->since = mark(e, t_ms);
	sources_bind_up(t, src);
	if (src->up)
		lt_as_insert(t->a, src->up, t_ms, 1);
	p = plan_of(t, e->shape);
	b = find_binding(st, p);
	for (uint32_t i = 0; i < p->n; i++) {
		double v = lt_event_value(e, p->idx[i]);
		struct lt_as_series *s;

		if (isnan(v))
			continue;
		s = b ? b->s[i] : series_of(t, src, &e->shape->series[p->idx[i]], t_ms);
		any |= s && lt_as_insert(t->a, s, t_ms, v);
	}
	return any;
}
