/* SPDX-License-Identifier: MIT */
#include "sink_redis.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SPARE_MAX 64

/* ---- lists ---- */

static void link_init(struct hot_link *l)
{
	l->prev = l->next = l;
}

static void link_remove(struct hot_link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	link_init(l);
}

static void link_to_tail(struct hot_link *head, struct hot_link *l)
{
	link_remove(l);
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static struct hot_source *of_lru(struct hot_link *l)
{
	return (struct hot_source *)((char *)l - offsetof(struct hot_source, lru));
}

static struct hot_source *of_recent(struct hot_link *l)
{
	return (struct hot_source *)((char *)l - offsetof(struct hot_source, recent));
}

/* ---- shapes ---- */

/* What a shape holds beside its bytes is not told by its table; texts and labels dominate. */
static size_t shape_cost(const struct lt_shape *s)
{
	return 4 * s->size + s->n_series * (sizeof(struct lt_series) + 2 * sizeof(struct lt_label));
}

static struct lt_shape *shape_hold(struct hot_state *st, struct lt_shape *s)
{
	if (hot_shape_of(s)->holders++ == 0)
		st->bytes += shape_cost(s);
	return s;
}

static void shape_drop(struct hot_state *st, struct lt_shape *s)
{
	if (!s)
		return;
	if (--hot_shape_of(s)->holders == 0)
		st->bytes -= shape_cost(s);
	lt_shape_put(s);
}

/* ---- frames ---- */

static void charge(struct hot_state *st, struct hot_source *src, size_t n)
{
	src->bytes += n;
	st->bytes += n;
}

static void discharge(struct hot_state *st, struct hot_source *src, size_t n)
{
	src->bytes -= n;
	st->bytes -= n;
}

static struct hot_frame *frame_new(struct hot_state *st, struct hot_source *src, size_t size)
{
	struct hot_frame *f = st->spare;

	if (f) {
		st->spare = f->next;
		st->n_spare--;
		f->next = NULL;
	} else {
		f = lt_calloc(1, sizeof(*f));
	}
	/* Not only too small ones: a small frame must not hold a large one's memory. */
	if (f->cap < size || f->cap > 2 * size + 512) {
		free(f->values);
		f->cap = size + size / 8;
		f->values = lt_malloc(f->cap ? f->cap : 1);
	}
	charge(st, src, sizeof(*f) + f->cap);
	return f;
}

static void frame_free(struct hot_state *st, struct hot_source *src, struct hot_frame *f)
{
	if (!f)
		return;
	shape_drop(st, f->shape);
	f->shape = NULL;
	discharge(st, src, sizeof(*f) + f->cap);
	if (st->n_spare < SPARE_MAX && f->cap <= 64 * 1024) {
		f->next = st->spare;
		st->spare = f;
		st->n_spare++;
	} else {
		free(f->values);
		free(f);
	}
}

static void frames_free(struct hot_state *st, struct hot_source *src, struct hot_frame **list)
{
	while (*list) {
		struct hot_frame *f = *list;

		*list = f->next;
		frame_free(st, src, f);
	}
}

static void set_pending(struct hot_state *st, struct hot_stream *s, struct hot_frame *list)
{
	struct hot_source *src = s->source;
	bool was = s->pending != NULL;

	s->pending = list;
	if (!was && list && src->n_pending++ == 0)
		st->n_pending++;
	if (was && !list && --src->n_pending == 0)
		st->n_pending--;
}

static void drop_pending(struct hot_state *st, struct hot_stream *s)
{
	struct hot_frame *list = s->pending;

	set_pending(st, s, NULL);
	frames_free(st, s->source, &list);
}

/* ---- sources ---- */

void hot_state_init(struct hot_state *st, double max_rate_hz, int64_t idle_ms, size_t max_bytes,
	size_t shape_bytes, uint32_t max_series)
{
	*st = (struct hot_state){
		.n_buckets = 256,
		.max_bytes = max_bytes,
		.interval_ns = max_rate_hz > 0 ? (int64_t)(LT_NS_PER_S / max_rate_hz) : 0,
		.idle_ns = idle_ms * LT_NS_PER_MS,
		.generation = 1,
	};
	/* Senders choose their names: without a seed also the bucket that all of them share. */
	st->seed = lt_random_u64();
	st->buckets = lt_calloc(st->n_buckets, sizeof(struct hot_source *));
	st->shapes = lt_shapes_new(shape_bytes, max_series);
	link_init(&st->lru);
	link_init(&st->recent);
}

static void stream_free(struct hot_state *st, struct hot_stream *s)
{
	drop_pending(st, s);
	frames_free(st, s->source, &s->flying);
	frames_free(st, s->source, &s->written);
	shape_drop(st, s->shape);
	discharge(st, s->source, sizeof(*s));
	free(s);
}

static void source_free(struct hot_state *st, struct hot_source *src)
{
	struct hot_source **p = &st->buckets[src->name_hash & (st->n_buckets - 1)];

	while (*p != src)
		p = &(*p)->chain;
	*p = src->chain;
	st->n_sources--;
	while (src->streams) {
		struct hot_stream *s = src->streams;

		src->streams = s->next;
		stream_free(st, s);
	}
	link_remove(&src->lru);
	link_remove(&src->recent);
	discharge(st, src, sizeof(*src));
	free(src);
}

void hot_state_fini(struct hot_state *st)
{
	if (!st->buckets)
		return;
	while (st->lru.next != &st->lru)
		source_free(st, of_lru(st->lru.next));
	while (st->spare) {
		struct hot_frame *f = st->spare;

		st->spare = f->next;
		free(f->values);
		free(f);
	}
	lt_shapes_free(st->shapes);
	free(st->buckets);
	*st = (struct hot_state){0};
}

static void grow(struct hot_state *st)
{
	size_t n = st->n_buckets * 2;
	struct hot_source **fresh = lt_calloc(n, sizeof(*fresh));

	for (struct hot_link *l = st->lru.next; l != &st->lru; l = l->next) {
		struct hot_source *src = of_lru(l);

		src->chain = fresh[src->name_hash & (n - 1)];
		fresh[src->name_hash & (n - 1)] = src;
	}
	free(st->buckets);
	st->buckets = fresh;
	st->n_buckets = n;
}

static struct hot_source *source_find(const struct hot_state *st, const char *name, uint64_t hash)
{
	struct hot_source *src = st->buckets[hash & (st->n_buckets - 1)];

	while (src && (src->name_hash != hash || strcmp(src->name, name) != 0))
		src = src->chain;
	return src;
}

static uint64_t hash_of(const struct hot_state *st, const char *name)
{
	return XXH3_64bits_withSeed(name, strlen(name), st->seed);
}

uint64_t hot_epoch(const struct hot_state *st, const char *source)
{
	const struct hot_source *src = source_find(st, source, hash_of(st, source));

	return src ? src->epoch : 0;
}

static struct hot_source *source_get(struct hot_state *st, const char *name)
{
	size_t len = strlen(name);
	uint64_t hash = hash_of(st, name);
	struct hot_source *src = source_find(st, name, hash);

	if (src)
		return src;
	if (st->n_sources >= st->n_buckets)
		grow(st);
	src = lt_calloc(1, sizeof(*src));
	memcpy(src->name, name, len < LT_SOURCE_MAX ? len : LT_SOURCE_MAX);
	src->name_hash = hash;
	src->chain = st->buckets[hash & (st->n_buckets - 1)];
	st->buckets[hash & (st->n_buckets - 1)] = src;
	st->n_sources++;
	link_init(&src->lru);
	link_init(&src->recent);
	link_to_tail(&st->lru, &src->lru);
	charge(st, src, sizeof(*src));
	return src;
}

static struct hot_stream *stream_find(struct hot_source *src, const char *name)
{
	for (struct hot_stream *s = src->streams; s; s = s->next)
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}

/* The longest unused stream with nothing to write gives way. */
static void stream_make_room(struct hot_state *st, struct hot_source *src)
{
	struct hot_stream **victim = NULL;

	if (src->n_streams < HOT_STREAMS_MAX)
		return;
	for (struct hot_stream **p = &src->streams; *p; p = &(*p)->next) {
		if ((*p)->pending || (*p)->flying || (*p)->batch == st->batch)
			continue;
		if (!victim || (*p)->used_mono_ns < (*victim)->used_mono_ns)
			victim = p;
	}
	if (victim) {
		struct hot_stream *s = *victim;

		*victim = s->next;
		src->n_streams--;
		stream_free(st, s);
	}
}

static struct hot_stream *stream_get(struct hot_state *st, struct hot_source *src, const char *name)
{
	struct hot_stream *s = stream_find(src, name);

	if (s)
		return s;
	stream_make_room(st, src);
	s = lt_calloc(1, sizeof(*s));
	s->source = src;
	strncpy(s->name, name, LT_STREAM_MAX);
	s->next = src->streams;
	src->streams = s;
	src->n_streams++;
	charge(st, src, sizeof(*s));
	return s;
}

/* ---- what is news ---- */

void hot_begin(struct hot_state *st)
{
	st->batch++;
}

int64_t hot_time_ms(const struct lt_event *e)
{
	int64_t ns = e->time_ns < e->arrived_ns ? e->time_ns : e->arrived_ns;

	return ns / LT_NS_PER_MS;
}

static bool is_news(
	const struct hot_source *src, const struct hot_stream *s, const struct lt_event *e)
{
	const struct hot_mark *m = s ? &s->newest : NULL;

	if (e->epoch) {
		if (e->epoch < src->epoch)
			return false;
		return !m || !m->any || e->epoch > m->epoch || e->seq > m->seq;
	}
	/* The time of an event that carries none is when it arrived: nothing can be older. */
	return !m || !m->any || m->epoch || !e->has_time || hot_time_ms(e) >= m->time_ms;
}

static int recognise(struct hot_state *st, struct hot_stream *s, const struct lt_shape *shape,
	struct lt_err *err)
{
	struct lt_shape *mine = s->shape;

	if (mine && mine->hash == shape->hash && mine->size == shape->size &&
		!memcmp(mine->bytes, shape->bytes, shape->size))
		return LT_OK;
	mine = lt_shapes_intern(st->shapes, shape->bytes, shape->size, err);
	if (!mine)
		return LT_EDATA;
	shape_drop(st, s->shape);
	s->shape = shape_hold(st, mine);
	return LT_OK;
}

int hot_accept(struct hot_state *st, const struct lt_event *e, int64_t now_mono_ns,
	struct hot_stream **out, struct lt_err *err)
{
	struct hot_source *src = source_get(st, e->source);
	struct hot_stream *s = stream_find(src, e->stream);
	bool top;

	if (!is_news(src, s, e))
		return HOT_OLD;
	s = stream_get(st, src, e->stream);
	if (recognise(st, s, e->shape, err) != LT_OK)
		return LT_EDATA;
	if (src->batch != st->batch) {
		src->batch = st->batch;
		src->saved_epoch = src->epoch;
		src->saved_top = src->top;
		src->seen_ms = INT64_MIN;
	}
	if (s->batch != st->batch) {
		s->batch = st->batch;
		s->saved = s->newest;
	}
	src->used_mono_ns = s->used_mono_ns = now_mono_ns;
	link_to_tail(&st->lru, &src->lru);

	if (e->epoch > src->epoch)
		src->epoch = e->epoch;
	s->newest = (struct hot_mark){e->epoch, e->seq, hot_time_ms(e), true};
	if (s->newest.time_ms > src->seen_ms)
		src->seen_ms = s->newest.time_ms;
	/* Unnumbered events stand below all numbered ones of the window (id 0-n). */
	if (e->epoch)
		top = e->epoch > src->top.epoch ||
		      (e->epoch == src->top.epoch && e->seq > src->top.seq);
	else
		top = src->top.epoch == 0;
	if (top && e->epoch)
		src->top = s->newest;
	*out = s;
	return top ? HOT_TOP : HOT_NEW;
}

void hot_undo(struct hot_state *st, struct hot_stream *s)
{
	struct hot_source *src = s->source;

	if (s->batch == st->batch) {
		s->newest = s->saved;
		s->batch = 0;
	}
	if (src->batch == st->batch) {
		src->epoch = src->saved_epoch;
		src->top = src->saved_top;
		src->batch = 0;
	}
}

/* ---- deferred writes ---- */

bool hot_stage(struct hot_state *st, struct hot_stream *s, struct lt_shape *shape,
	const struct lt_event *e, int64_t now_mono_ns)
{
	struct hot_source *src = s->source;
	struct hot_frame *f = frame_new(st, src, 8 * (size_t)e->n);
	struct hot_frame **p, *list;
	unsigned n = 1;

	lt_shape_get(shape);
	f->shape = shape_hold(st, shape);
	memcpy(f->values, e->values, 8 * (size_t)e->n);
	f->epoch = e->epoch;
	f->seq = e->seq;
	f->time_ms = hot_time_ms(e);
	f->guard = !e->epoch && e->has_time;
	f->interval_ms = e->interval_ms;
	f->partial = e->partial;
	f->next = NULL;

	if (!f->partial)
		drop_pending(st, s);
	/* A newer partial event replaces the one of the same names and comes last. */
	list = s->pending;
	for (p = &list; *p; n++) {
		struct hot_frame *old = *p;

		if (old->partial && old->shape == f->shape) {
			*p = old->next;
			frame_free(st, src, old);
			n--;
		} else {
			p = &old->next;
		}
	}
	*p = f;
	set_pending(st, s, list);
	/* Whoever has something pending is in the list; who was not may be written now. */
	if (src->recent.next == &src->recent) {
		src->written_mono_ns = now_mono_ns - st->interval_ns;
		link_to_tail(st->recent.next, &src->recent);
	}
	return n >= HOT_PENDING_MAX;
}

bool hot_due(const struct hot_state *st, const struct hot_source *src, int64_t now_mono_ns)
{
	return now_mono_ns - src->written_mono_ns >= st->interval_ns;
}

struct hot_source *hot_next_due_source(struct hot_state *st, int64_t now_mono_ns)
{
	while (st->recent.next != &st->recent) {
		struct hot_source *src = of_recent(st->recent.next);

		if (!hot_due(st, src, now_mono_ns))
			return NULL;
		if (src->n_pending)
			return src;
		link_remove(&src->recent);
	}
	return NULL;
}

int64_t hot_next_due_ns(struct hot_state *st, int64_t now_mono_ns)
{
	int64_t left;

	if (!st->n_pending)
		return INT64_MAX;
	for (struct hot_link *l = st->recent.next; l != &st->recent; l = l->next) {
		struct hot_source *src = of_recent(l);

		if (!src->n_pending)
			continue;
		left = src->written_mono_ns + st->interval_ns - now_mono_ns;
		return left > 0 ? left : 0;
	}
	return 0;
}

struct hot_source *hot_any_pending(struct hot_state *st)
{
	if (!st->n_pending)
		return NULL;
	for (struct hot_link *l = st->recent.next; l != &st->recent; l = l->next)
		if (of_recent(l)->n_pending)
			return of_recent(l);
	return NULL;
}

void hot_take_off(struct hot_state *st, struct hot_stream *s, int64_t now_mono_ns)
{
	struct hot_source *src = s->source;

	frames_free(st, src, &s->flying);
	s->flying = s->pending;
	set_pending(st, s, NULL);
	/* A delta needs the same names, and a complete snapshot a complete one to differ from. */
	s->flying_full = !s->written || s->flying->next || s->written->shape != s->flying->shape ||
			 (s->written->partial && !s->flying->partial);
	src->written_mono_ns = now_mono_ns;
	link_to_tail(&st->recent, &src->recent);
}

void hot_landed(struct hot_state *st, struct hot_stream *s)
{
	frames_free(st, s->source, &s->written);
	while (s->flying && s->flying->next) {
		struct hot_frame *f = s->flying;

		s->flying = f->next;
		frame_free(st, s->source, f);
	}
	s->written = s->flying;
	s->flying = NULL;
}

void hot_refused(struct hot_state *st, struct hot_stream *s)
{
	frames_free(st, s->source, &s->flying);
	hot_forget_written(st, s);
}

void hot_put_back(struct hot_state *st, struct hot_stream *s)
{
	struct hot_frame *list = s->flying, **p = &list;

	if (!list)
		return;
	hot_forget_written(st, s);
	s->flying = NULL;
	if (s->pending && !s->pending->partial) {
		frames_free(st, s->source, &list);
		return;
	}
	while (*p)
		p = &(*p)->next;
	*p = s->pending;
	set_pending(st, s, list);
}

void hot_forget_written(struct hot_state *st, struct hot_stream *s)
{
	frames_free(st, s->source, &s->written);
}

/* ---- bounds ---- */

size_t hot_evict(struct hot_state *st, int64_t now_mono_ns)
{
	struct hot_link *l = st->lru.next;
	size_t n = 0;

	while (l != &st->lru) {
		struct hot_source *src = of_lru(l);
		bool idle = now_mono_ns - src->used_mono_ns > st->idle_ns;

		if (!idle && st->bytes <= st->max_bytes)
			break;
		l = l->next;
		if (src->n_pending)
			continue;
		source_free(st, src);
		n++;
	}
	return n;
}
