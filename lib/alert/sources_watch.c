/* SPDX-License-Identifier: MIT */
/* Which sources there are: who is silent, who came back after the bus did, whose clock is off. */
#include <stdlib.h>

#include "latido/clock.h"
#include "sources_int.h"

#define SILENT_INTERVALS 3
#define DOWN_EVERY_MS    1000 /* up = 0 is said again at the source's interval, at most so often */

static struct lt_source_mark newest_of(const struct source *src)
{
	struct lt_source_mark out = {.t_ms = INT64_MIN};

	for (const struct stream *st = src->streams; st; st = st->next) {
		if (st->last_ms > out.t_ms)
			out.t_ms = st->last_ms;
		if (st->epoch > out.epoch || (st->epoch == out.epoch && st->seq > out.seq)) {
			out.epoch = st->epoch;
			out.seq = st->seq;
		}
	}
	return out;
}

void lt_sources_each(const struct lt_sources *t,
	void (*fn)(void *ctx, const struct lt_source_state *s), void *ctx)
{
	for (size_t i = 0; i < t->cap; i++)
		for (const struct source *src = t->table[i]; src; src = src->next)
			fn(ctx, &(struct lt_source_state){.name = src->name,
					.device = src->device,
					.since = src->since,
					.newest = newest_of(src),
					.back = src->back,
					.shift_ms = src->shift_ms});
}

enum lt_back lt_sources_back(const struct lt_sources *t)
{
	bool any = false, all = true;

	for (size_t i = 0; i < t->cap; i++) {
		for (const struct source *src = t->table[i]; src; src = src->next) {
			any |= src->back;
			all &= src->back || src->silent;
		}
	}
	return !any ? LT_BACK_NONE : all ? LT_BACK_ALL : LT_BACK_SOME;
}

size_t lt_sources_count(const struct lt_sources *t)
{
	return t->n;
}

void lt_sources_known(
	struct lt_sources *t, const char *name, bool device, int64_t seen_ms, uint32_t interval_ms)
{
	struct source *src = sources_find(t, name, device);

	if (!src || src->arrived_ms >= seen_ms)
		return;
	src->arrived_ms = seen_ms;
	if (interval_ms && (!src->interval_ms || interval_ms < src->interval_ms))
		src->interval_ms = interval_ms;
}

/* ---- silence ---- */

static void silence_stream(struct lt_sources *t, struct stream *st, int64_t t_ms)
{
	st->silent = true;
	for (const struct binding *b = st->bindings; b; b = b->next)
		for (uint32_t i = 0; i < b->n; i++)
			if (b->s[i])
				lt_as_end(t->a, b->s[i], t_ms);
	sources_unbind(t, st);
}

/* Return: whether it is to be forgotten. */
static bool check_source(struct lt_sources *t, struct source *src, int64_t known_ms)
{
	int64_t limit_ms = src->interval_ms ? SILENT_INTERVALS * (int64_t)src->interval_ms
					    : t->opts.silence_ms;
	int64_t every_ms = src->interval_ms > DOWN_EVERY_MS ? src->interval_ms : DOWN_EVERY_MS;

	for (struct stream *st = src->streams; st; st = st->next)
		if (!st->silent && st->interval_ms &&
			known_ms - st->arrived_ms > SILENT_INTERVALS * (int64_t)st->interval_ms)
			silence_stream(t, st, known_ms);
	if (known_ms - src->arrived_ms <= limit_ms)
		return false;
	if (!src->silent) {
		for (struct stream *st = src->streams; st; st = st->next)
			if (!st->silent)
				silence_stream(t, st, known_ms);
		src->silent = true;
		src->down_ms = INT64_MIN;
	}
	if (known_ms - src->arrived_ms > t->opts.forget_ms) {
		if (src->up)
			lt_as_end(t->a, src->up, known_ms);
		sources_tell(t, src, true);
		return true;
	}
	sources_bind_up(t, src);
	if (src->up && (src->down_ms == INT64_MIN || known_ms - src->down_ms >= every_ms)) {
		src->down_ms = known_ms;
		if (known_ms > lt_as_last_ms(src->up))
			lt_as_append(t->a, src->up, known_ms, 0);
	}
	return false;
}

void lt_sources_check(struct lt_sources *t, int64_t known_ms)
{
	int64_t silent = 0;

	for (size_t i = 0; i < t->cap; i++) {
		for (struct source **at = &t->table[i]; *at;) {
			struct source *src = *at;

			if (check_source(t, src, known_ms)) {
				*at = src->next;
				sources_drop(t, src);
				t->n--;
				continue;
			}
			silent += src->silent;
			at = &src->next;
		}
	}
	lt_gauge_set(&t->info->sources, (int64_t)t->n);
	lt_gauge_set(&t->info->silent, silent);
}

void lt_sources_pause(struct lt_sources *t, int64_t now_ms)
{
	for (size_t i = 0; i < t->cap; i++) {
		for (struct source *src = t->table[i]; src; src = src->next) {
			src->back = false;
			if (src->silent)
				continue;
			src->arrived_ms = now_ms;
			for (struct stream *st = src->streams; st; st = st->next)
				st->arrived_ms = now_ms;
		}
	}
}

void lt_sources_shift(struct lt_sources *t, int64_t by_ms)
{
	for (size_t i = 0; i < t->cap; i++) {
		for (struct source *src = t->table[i]; src; src = src->next) {
			if (src->arrived_ms != INT64_MIN)
				src->arrived_ms += by_ms;
			if (src->since.t_ms != INT64_MAX)
				src->since.t_ms += by_ms;
			if (src->down_ms != INT64_MIN)
				src->down_ms += by_ms;
			src->skew_ms = src->votes = 0;
			for (struct stream *st = src->streams; st; st = st->next) {
				if (st->arrived_ms != INT64_MIN)
					st->arrived_ms += by_ms;
				if (st->last_ms != INT64_MIN)
					st->last_ms += by_ms;
			}
		}
	}
}
