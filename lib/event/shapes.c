/* SPDX-License-Identifier: MIT */
/* The table of known shapes: found by hash and compared as a whole, bounded in bytes. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "event_int.h"

struct lt_shapes {
	struct shape_entry **bucket;
	uint32_t n_buckets;
	uint32_t max_series;
	size_t max_bytes, max_shape_bytes;
	uint64_t seed; /* senders choose hashes, names and sources; they do not know this */
	struct shape_entry *newest, *oldest; /* unreferenced ones */
	struct shape_bindings bindings;
	struct decode_scratch scratch;
	struct lt_shapes_info info;
};

static struct shape_entry *entry(struct lt_shape *s)
{
	return (struct shape_entry *)s;
}

struct lt_shapes *shapes_new(size_t max_bytes, uint32_t max_series, size_t max_shape_bytes)
{
	struct lt_shapes *t = lt_calloc(1, sizeof(*t));

	t->max_bytes = max_bytes;
	t->max_shape_bytes = max_shape_bytes;
	t->max_series = max_series;
	t->n_buckets = 64;
	t->bucket = lt_calloc(t->n_buckets, sizeof(struct shape_entry *));
	t->seed = lt_random_u64();
	shape_bindings_init(&t->bindings, max_bytes, t->seed);
	return t;
}

struct lt_shapes *lt_shapes_new(size_t max_bytes, uint32_t max_series)
{
	return shapes_new(max_bytes, max_series, max_bytes);
}

static struct shape_entry **bucket_of(const struct lt_shapes *t, uint64_t hash)
{
	uint64_t mixed = (hash ^ t->seed) * ((t->seed >> 7) | 1);

	return &t->bucket[(mixed ^ mixed >> 32) & (t->n_buckets - 1)];
}

static void entry_free(struct shape_entry *e)
{
	if (e->s.user && e->s.user_free)
		e->s.user_free(e->s.user);
	free(e);
}

void lt_shapes_free(struct lt_shapes *t)
{
	if (!t)
		return;
	shape_bindings_fini(&t->bindings);
	for (uint32_t i = 0; i < t->n_buckets; i++) {
		while (t->bucket[i]) {
			struct shape_entry *next = t->bucket[i]->chain;

			entry_free(t->bucket[i]);
			t->bucket[i] = next;
		}
	}
	free(t->bucket);
	shape_writer_fini(&t->scratch.writer);
	lt_buf_fini(&t->scratch.key);
	lt_buf_fini(&t->scratch.text);
	lt_buf_fini(&t->scratch.name);
	lt_buf_fini(&t->scratch.index);
	free(t);
}

static void lru_out(struct lt_shapes *t, struct shape_entry *e)
{
	*(e->newer ? &e->newer->older : &t->newest) = e->older;
	*(e->older ? &e->older->newer : &t->oldest) = e->newer;
	e->newer = e->older = NULL;
}

static void lru_in(struct lt_shapes *t, struct shape_entry *e)
{
	e->newer = NULL;
	e->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = e;
	t->newest = e;
}

static void evict(struct lt_shapes *t)
{
	while (t->info.bytes > t->max_bytes && t->oldest) {
		struct shape_entry *e = t->oldest;
		struct shape_entry **at = bucket_of(t, e->s.hash);

		while (*at != e)
			at = &(*at)->chain;
		*at = e->chain;
		lru_out(t, e);
		shape_bindings_drop(&t->bindings, e);
		t->info.bytes -= e->mem;
		t->info.shapes--;
		t->info.evictions++;
		entry_free(e);
	}
}

void lt_shape_get(struct lt_shape *s)
{
	struct shape_entry *e = entry(s);

	if (e->refs++ == 0)
		lru_out(e->table, e);
}

void lt_shape_put(struct lt_shape *s)
{
	struct shape_entry *e = entry(s);

	if (!s || --e->refs > 0)
		return;
	lru_in(e->table, e);
	evict(e->table);
}

static void grow(struct lt_shapes *t)
{
	struct shape_entry **old = t->bucket;
	uint32_t n = t->n_buckets;

	t->n_buckets = n * 2;
	t->bucket = lt_calloc(t->n_buckets, sizeof(struct shape_entry *));
	for (uint32_t i = 0; i < n; i++) {
		while (old[i]) {
			struct shape_entry *e = old[i], **to = bucket_of(t, e->s.hash);

			old[i] = e->chain;
			e->chain = *to;
			*to = e;
		}
	}
	free(old);
}

static struct lt_shape *find(struct lt_shapes *t, const void *bytes, size_t size, uint64_t hash)
{
	for (struct shape_entry *e = *bucket_of(t, hash); e; e = e->chain) {
		if (e->s.hash == hash && e->s.size == size &&
			memcmp(e->s.bytes, bytes, size) == 0) {
			lt_shape_get(&e->s);
			t->info.hits++;
			return &e->s;
		}
	}
	return NULL;
}

/* Chance does not bring two shapes under one hash in the life of the universe; somebody who forges
 * them shall not make others search long lists. */
#define SAME_HASH_MAX 4

static bool hash_full(const struct lt_shapes *t, uint64_t hash)
{
	unsigned n = 0;

	for (const struct shape_entry *o = *bucket_of(t, hash); o; o = o->chain)
		n += o->s.hash == hash;
	return n >= SAME_HASH_MAX;
}

static void add(struct lt_shapes *t, struct shape_entry *e)
{
	struct shape_entry **bucket, *o;

	if (t->info.shapes >= t->n_buckets)
		grow(t);
	bucket = bucket_of(t, e->s.hash);
	for (o = *bucket; o; o = o->chain) {
		if (o->s.hash == e->s.hash) {
			o->s.collides = e->s.collides = true;
			t->info.collisions++;
		}
	}
	e->table = t;
	e->refs = 1;
	e->chain = *bucket;
	*bucket = e;
	t->info.shapes++;
	t->info.bytes += e->mem;
	evict(t);
}

struct lt_shape *shapes_intern(struct lt_shapes *t, const void *bytes, size_t size,
	uint64_t claimed, enum lt_reason *reason, struct lt_err *err)
{
	struct lt_shape *s;
	struct shape_entry *e;
	uint64_t hash;

	/* Equal bytes under the claimed hash prove the claim: no need to compute it. */
	if (claimed) {
		s = find(t, bytes, size, claimed);
		if (s)
			return s;
	}
	hash = XXH3_64bits(bytes, size);
	if (claimed && claimed != hash) {
		*reason = LT_REASON_SHAPE_MISMATCH;
		lt_fail(err, LT_EDATA, LT_CLS_POISON, "event.shape",
			"shape_hash is %016llx, but the XXH3-64 of shape is %016llx",
			(unsigned long long)claimed, (unsigned long long)hash);
		return NULL;
	}
	if (!claimed) {
		s = find(t, bytes, size, hash);
		if (s)
			return s;
	}
	t->info.misses++;
	if (hash_full(t, hash)) {
		*reason = LT_REASON_LIMITS;
		lt_fail(err, LT_EDATA, LT_CLS_POISON, "event.shape",
			"shape: %d others have the same hash %016llx: forged", SAME_HASH_MAX,
			(unsigned long long)hash);
		return NULL;
	}
	e = shape_parse(bytes, size, hash,
		&(struct shape_limits){t->max_series, t->max_shape_bytes}, t->seed, reason, err);
	if (!e)
		return NULL;
	add(t, e);
	return &e->s;
}

struct lt_shape *lt_shapes_intern(
	struct lt_shapes *t, const void *bytes, size_t size, struct lt_err *err)
{
	enum lt_reason reason;

	return shapes_intern(t, bytes, size, 0, &reason, err);
}

struct lt_shape *shapes_announced(
	struct lt_shapes *t, const char *source, size_t source_len, uint64_t hash)
{
	struct shape_entry *e = shape_bindings_find(&t->bindings, source, source_len, hash);

	if (!e)
		return NULL;
	lt_shape_get(&e->s);
	return &e->s;
}

struct lt_shape *lt_shapes_announced(struct lt_shapes *t, const char *source, uint64_t hash)
{
	return shapes_announced(t, source, strlen(source), hash);
}

void shapes_announce(struct lt_shapes *t, const char *source, size_t source_len, struct lt_shape *s)
{
	shape_bindings_add(&t->bindings, source, source_len, entry(s));
}

void lt_shapes_announce(struct lt_shapes *t, const char *source, struct lt_shape *s)
{
	shapes_announce(t, source, strlen(source), s);
}

struct decode_scratch *shapes_scratch(struct lt_shapes *t)
{
	return &t->scratch;
}

uint64_t shapes_seed(const struct lt_shapes *t)
{
	return t->seed;
}

void lt_shapes_info(const struct lt_shapes *t, struct lt_shapes_info *out)
{
	*out = t->info;
}
