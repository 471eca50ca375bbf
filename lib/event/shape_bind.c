/* SPDX-License-Identifier: MIT */
/*
 * Announcements: (source, hash) -> shape. Scoped to the source, since anybody can forge two shapes
 * of one hash: a source that does so hurts only itself. Bounded for each source, so that one that
 * announces a new shape with every event pushes out none but its own, and as a whole.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "event_int.h"

#define PER_SOURCE 16

struct shape_binding {
	uint64_t hash;         /* of the shape */
	struct shape_entry *e; /* NULL: this source announced two shapes under the hash */
	struct shape_binding *chain;
	struct shape_binding *newer, *older;          /* by last use */
	struct shape_binding *next_of_shape, **pprev; /* of e */
	uint32_t bucket;
	uint32_t source_len;
	char source[];
};

void shape_bindings_init(struct shape_bindings *b, size_t table_bytes, uint64_t seed)
{
	size_t max = table_bytes / 512;

	b->max = max < 1024 ? 1024 : max > 1 << 20 ? 1 << 20 : (uint32_t)max;
	b->seed = seed;
	b->n_buckets = 1024;
	while (b->n_buckets < b->max)
		b->n_buckets *= 2;
	b->bucket = lt_calloc(b->n_buckets, sizeof(struct shape_binding *));
}

void shape_bindings_fini(struct shape_bindings *b)
{
	while (b->newest) {
		struct shape_binding *older = b->newest->older;

		free(b->newest);
		b->newest = older;
	}
	free(b->bucket);
}

/* All bindings of a source share a bucket, which makes counting them cheap. */
static uint32_t bucket_of(const struct shape_bindings *b, const char *source, size_t n)
{
	return (uint32_t)XXH3_64bits_withSeed(source, n, b->seed) & (b->n_buckets - 1);
}

static void lru_out(struct shape_bindings *b, struct shape_binding *x)
{
	*(x->newer ? &x->newer->older : &b->newest) = x->older;
	*(x->older ? &x->older->newer : &b->oldest) = x->newer;
}

static void lru_in(struct shape_bindings *b, struct shape_binding *x)
{
	x->newer = NULL;
	x->older = b->newest;
	*(b->newest ? &b->newest->newer : &b->oldest) = x;
	b->newest = x;
}

static void link_shape(struct shape_binding *x, struct shape_entry *e)
{
	x->e = e;
	x->pprev = &e->bindings;
	x->next_of_shape = e->bindings;
	if (e->bindings)
		e->bindings->pprev = &x->next_of_shape;
	e->bindings = x;
}

static void unlink_shape(struct shape_binding *x)
{
	if (!x->e)
		return;
	*x->pprev = x->next_of_shape;
	if (x->next_of_shape)
		x->next_of_shape->pprev = x->pprev;
	x->e = NULL;
}

static void forget(struct shape_bindings *b, struct shape_binding *x)
{
	struct shape_binding **at = &b->bucket[x->bucket];

	while (*at != x)
		at = &(*at)->chain;
	*at = x->chain;
	unlink_shape(x);
	lru_out(b, x);
	free(x);
	b->n--;
}

static bool same_source(const struct shape_binding *x, const char *source, size_t n)
{
	return x->source_len == n && memcmp(x->source, source, n) == 0;
}

static void touch(struct shape_bindings *b, struct shape_binding *x)
{
	if (b->newest == x)
		return;
	lru_out(b, x);
	lru_in(b, x);
}

struct shape_entry *shape_bindings_find(
	struct shape_bindings *b, const char *source, size_t source_len, uint64_t hash)
{
	struct shape_binding *x = b->bucket[bucket_of(b, source, source_len)];

	for (; x; x = x->chain) {
		if (x->hash == hash && same_source(x, source, source_len)) {
			touch(b, x);
			return x->e;
		}
	}
	return NULL;
}

void shape_bindings_add(
	struct shape_bindings *b, const char *source, size_t source_len, struct shape_entry *e)
{
	uint32_t bucket = bucket_of(b, source, source_len), own = 0;
	struct shape_binding *x, *last = NULL;

	/* New ones go in front, so the last of a source in the chain was announced first. */
	for (x = b->bucket[bucket]; x; x = x->chain) {
		if (!same_source(x, source, source_len))
			continue;
		if (x->hash == e->s.hash) {
			if (x->e != e)
				unlink_shape(x);
			touch(b, x);
			return;
		}
		own++;
		last = x;
	}
	if (own >= PER_SOURCE)
		forget(b, last);
	else if (b->n >= b->max)
		forget(b, b->oldest);
	x = lt_malloc(sizeof(*x) + source_len);
	*x = (struct shape_binding){
		.hash = e->s.hash,
		.chain = b->bucket[bucket],
		.bucket = bucket,
		.source_len = (uint32_t)source_len,
	};
	memcpy(x->source, source, source_len);
	b->bucket[bucket] = x;
	link_shape(x, e);
	lru_in(b, x);
	b->n++;
}

void shape_bindings_drop(struct shape_bindings *b, struct shape_entry *e)
{
	while (e->bindings)
		forget(b, e->bindings);
}
