/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_PG_PROGRESS_H
#define LATIDO_PG_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/mem.h"

/*
 * What is stored of one epoch of a source: 1..upto without a hole, and islands above it. Pure
 * logic: the database and the batch that is being built both have one of these.
 */

struct lt_pg_range {
	int64_t lo, hi; /* both inclusive */
};

struct lt_pg_have {
	int64_t upto;
	struct lt_pg_range *above; /* ascending, apart from each other and from upto by a hole */
	size_t n, cap;
};

/** struct lt_pg_gaps - holes that were given up, for table gap */
struct lt_pg_gaps {
	struct lt_pg_gap {
		int32_t epoch_id;
		struct lt_pg_range missing;
		const char *kind;
	} * items;
	size_t n, cap;
};

void lt_pg_have_fini(struct lt_pg_have *h);
void lt_pg_have_copy(struct lt_pg_have *to, const struct lt_pg_have *from);
bool lt_pg_have_equal(const struct lt_pg_have *a, const struct lt_pg_have *b);
bool lt_pg_have_contains(const struct lt_pg_have *h, int64_t seq);

/** lt_pg_have_add() - Return: false when @seq (> 0) was there already. */
bool lt_pg_have_add(struct lt_pg_have *h, int64_t seq);
/** lt_pg_have_append() - for loading: @r lies above all that is there. */
void lt_pg_have_append(struct lt_pg_have *h, struct lt_pg_range r);

/**
 * lt_pg_have_give_up() - nothing below @oldest can come any more
 *
 * Each hole below it goes to @gaps; upto jumps over them.
 */
void lt_pg_have_give_up(
	struct lt_pg_have *h, int64_t oldest, int32_t epoch_id, struct lt_pg_gaps *gaps);
/** lt_pg_have_limit() - give up the lowest holes until at most @max islands are left. */
void lt_pg_have_limit(struct lt_pg_have *h, size_t max, int32_t epoch_id, struct lt_pg_gaps *gaps);

/** lt_pg_have_text() - append the islands as text of an int8multirange: {[5,8),[11,12)}. */
void lt_pg_have_text(const struct lt_pg_have *h, struct lt_buf *out);

void lt_pg_gaps_fini(struct lt_pg_gaps *g);

#endif
