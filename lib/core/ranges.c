/* SPDX-License-Identifier: MIT */
#include "latido/ranges.h"

#include <stdlib.h>
#include <string.h>

#include "latido/mem.h"

void lt_ranges_fini(struct lt_ranges *s)
{
	free(s->r);
	memset(s, 0, sizeof(*s));
}

void lt_ranges_clear(struct lt_ranges *s)
{
	s->n = 0;
}

/* Index of the first range that ends at or above @seq. */
static size_t find(const struct lt_ranges *s, uint64_t seq)
{
	size_t lo = 0, hi = s->n;

	if (!s->n || s->r[s->n - 1].hi < seq)
		return s->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->r[mid].hi < seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Puts @n ranges in the place of those in [from, to). */
static void replace(
	struct lt_ranges *s, size_t from, size_t to, const struct lt_range *with, size_t n)
{
	size_t rest = s->n - to, size = s->n - (to - from) + n;

	if (size > s->cap) {
		s->cap = size * 2;
		s->r = lt_realloc(s->r, s->cap * sizeof(*s->r));
	}
	if (rest)
		memmove(s->r + from + n, s->r + to, rest * sizeof(*s->r));
	if (n)
		memcpy(s->r + from, with, n * sizeof(*s->r));
	s->n = size;
}

uint64_t lt_ranges_count(const struct lt_ranges *s, uint64_t lo, uint64_t hi)
{
	uint64_t count = 0;

	for (size_t i = find(s, lo); lo <= hi && i < s->n && s->r[i].lo <= hi; i++) {
		uint64_t a = s->r[i].lo > lo ? s->r[i].lo : lo;
		uint64_t b = s->r[i].hi < hi ? s->r[i].hi : hi;

		count += b - a + 1;
	}
	return count;
}

uint64_t lt_ranges_add(struct lt_ranges *s, uint64_t lo, uint64_t hi)
{
	struct lt_range merged = {lo, hi};
	uint64_t fresh;
	size_t from, to;

	if (lo > hi)
		return 0;
	fresh = hi - lo + 1 - lt_ranges_count(s, lo, hi);
	if (!fresh)
		return 0;
	from = find(s, lo ? lo - 1 : 0); /* a neighbour joins too */
	for (to = from; to < s->n && (hi == UINT64_MAX || s->r[to].lo <= hi + 1); to++) {
		if (s->r[to].lo < merged.lo)
			merged.lo = s->r[to].lo;
		if (s->r[to].hi > merged.hi)
			merged.hi = s->r[to].hi;
	}
	replace(s, from, to, &merged, 1);
	return fresh;
}

uint64_t lt_ranges_remove(struct lt_ranges *s, uint64_t lo, uint64_t hi)
{
	uint64_t count = lt_ranges_count(s, lo, hi);
	struct lt_range rest[2];
	size_t from, to, n = 0;

	if (!count)
		return 0;
	from = find(s, lo);
	for (to = from; to < s->n && s->r[to].lo <= hi; to++)
		;
	if (s->r[from].lo < lo)
		rest[n++] = (struct lt_range){s->r[from].lo, lo - 1};
	if (s->r[to - 1].hi > hi)
		rest[n++] = (struct lt_range){hi + 1, s->r[to - 1].hi};
	replace(s, from, to, rest, n);
	return count;
}

bool lt_ranges_contains(const struct lt_ranges *s, uint64_t seq)
{
	size_t i = find(s, seq);

	return i < s->n && s->r[i].lo <= seq;
}

uint64_t lt_ranges_missing(const struct lt_ranges *s, uint64_t seq)
{
	size_t i = find(s, seq);

	return i < s->n && s->r[i].lo <= seq ? s->r[i].hi + 1 : seq;
}

uint64_t lt_ranges_max(const struct lt_ranges *s)
{
	return s->n ? s->r[s->n - 1].hi : 0;
}
