/* SPDX-License-Identifier: MIT */
#include "pg_progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void lt_pg_have_fini(struct lt_pg_have *h)
{
	free(h->above);
	memset(h, 0, sizeof(*h));
}

void lt_pg_have_copy(struct lt_pg_have *to, const struct lt_pg_have *from)
{
	if (to->cap < from->n) {
		to->cap = from->n;
		to->above = lt_realloc(to->above, to->cap * sizeof(*to->above));
	}
	to->upto = from->upto;
	to->n = from->n;
	if (from->n)
		memcpy(to->above, from->above, from->n * sizeof(*to->above));
}

bool lt_pg_have_equal(const struct lt_pg_have *a, const struct lt_pg_have *b)
{
	return a->upto == b->upto && a->n == b->n &&
	       (!a->n || !memcmp(a->above, b->above, a->n * sizeof(*a->above)));
}

/* Index of the first island whose end is at or above @seq. Most events come in order: look at the
 * last island before searching. */
static size_t find(const struct lt_pg_have *h, int64_t seq)
{
	size_t lo = 0, hi = h->n;

	if (!h->n || h->above[h->n - 1].hi < seq)
		return h->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (h->above[mid].hi < seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool lt_pg_have_contains(const struct lt_pg_have *h, int64_t seq)
{
	size_t i;

	if (seq <= h->upto)
		return true;
	i = find(h, seq);
	return i < h->n && h->above[i].lo <= seq;
}

static void remove_at(struct lt_pg_have *h, size_t i, size_t count)
{
	memmove(h->above + i, h->above + i + count, (h->n - i - count) * sizeof(*h->above));
	h->n -= count;
}

static void insert_at(struct lt_pg_have *h, size_t i, struct lt_pg_range r)
{
	if (h->n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 4;
		h->above = lt_realloc(h->above, h->cap * sizeof(*h->above));
	}
	memmove(h->above + i + 1, h->above + i, (h->n - i) * sizeof(*h->above));
	h->above[i] = r;
	h->n++;
}

void lt_pg_have_append(struct lt_pg_have *h, struct lt_pg_range r)
{
	insert_at(h, h->n, r);
}

/* Islands that upto has reached are no islands any more. */
static void swallow(struct lt_pg_have *h)
{
	size_t i = 0;

	while (i < h->n && h->above[i].lo <= h->upto + 1) {
		if (h->above[i].hi > h->upto)
			h->upto = h->above[i].hi;
		i++;
	}
	if (i)
		remove_at(h, 0, i);
}

bool lt_pg_have_add(struct lt_pg_have *h, int64_t seq)
{
	size_t i;
	bool joins_left, joins_right;

	if (seq <= h->upto)
		return false;
	if (seq == h->upto + 1) {
		h->upto = seq;
		swallow(h);
		return true;
	}
	i = find(h, seq);
	if (i < h->n && h->above[i].lo <= seq)
		return false;
	joins_left = i > 0 && h->above[i - 1].hi + 1 == seq;
	joins_right = i < h->n && h->above[i].lo == seq + 1;
	if (joins_left && joins_right) {
		h->above[i - 1].hi = h->above[i].hi;
		remove_at(h, i, 1);
	} else if (joins_left) {
		h->above[i - 1].hi = seq;
	} else if (joins_right) {
		h->above[i].lo = seq;
	} else {
		insert_at(h, i, (struct lt_pg_range){seq, seq});
	}
	return true;
}

static void note(struct lt_pg_gaps *g, int32_t epoch_id, int64_t lo, int64_t hi, const char *kind)
{
	if (g->n == g->cap) {
		g->cap = g->cap ? 2 * g->cap : 8;
		g->items = lt_realloc(g->items, g->cap * sizeof(*g->items));
	}
	g->items[g->n++] = (struct lt_pg_gap){epoch_id, {lo, hi}, kind};
}

void lt_pg_have_give_up(
	struct lt_pg_have *h, int64_t oldest, int32_t epoch_id, struct lt_pg_gaps *gaps)
{
	while (h->upto < oldest - 1) {
		int64_t hi = oldest - 1;

		if (h->n && h->above[0].lo <= hi)
			hi = h->above[0].lo - 1;
		note(gaps, epoch_id, h->upto + 1, hi, "lost");
		h->upto = hi;
		swallow(h);
	}
}

void lt_pg_have_limit(struct lt_pg_have *h, size_t max, int32_t epoch_id, struct lt_pg_gaps *gaps)
{
	while (h->n > max) {
		note(gaps, epoch_id, h->upto + 1, h->above[0].lo - 1, "islands");
		h->upto = h->above[0].lo - 1;
		swallow(h);
	}
}

void lt_pg_have_text(const struct lt_pg_have *h, struct lt_buf *out)
{
	lt_buf_char(out, '{');
	for (size_t i = 0; i < h->n; i++)
		lt_buf_printf(out, "%s[%" PRId64 ",%" PRId64 ")", i ? "," : "", h->above[i].lo,
			h->above[i].hi + 1);
	lt_buf_char(out, '}');
}

void lt_pg_gaps_fini(struct lt_pg_gaps *g)
{
	free(g->items);
	memset(g, 0, sizeof(*g));
}
