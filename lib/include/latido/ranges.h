/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_RANGES_H
#define LATIDO_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct lt_ranges - a set of sequence numbers
 *
 * Zero-initialised is empty and valid. Ascending, apart from each other by at least one number.
 * Not thread-safe.
 */
struct lt_range {
	uint64_t lo, hi; /* both inclusive */
};

struct lt_ranges {
	struct lt_range *r;
	size_t n, cap;
};

void lt_ranges_fini(struct lt_ranges *s);
void lt_ranges_clear(struct lt_ranges *s);
/** lt_ranges_add() - all of [lo, hi]; nothing when lo > hi. Return: how many were not there. */
uint64_t lt_ranges_add(struct lt_ranges *s, uint64_t lo, uint64_t hi);
/** lt_ranges_remove() - Return: how many were there. */
uint64_t lt_ranges_remove(struct lt_ranges *s, uint64_t lo, uint64_t hi);
bool lt_ranges_contains(const struct lt_ranges *s, uint64_t seq);
/** lt_ranges_count() - how many of [lo, hi] are there. */
uint64_t lt_ranges_count(const struct lt_ranges *s, uint64_t lo, uint64_t hi);
/** lt_ranges_missing() - the first number at or above @seq that is not there. */
uint64_t lt_ranges_missing(const struct lt_ranges *s, uint64_t seq);
/** lt_ranges_max() - the highest number; 0 = empty. */
uint64_t lt_ranges_max(const struct lt_ranges *s);

#endif
