/* SPDX-License-Identifier: MIT */
#include "load.h"

#define STEP_BITS 5 /* log2(LOAD_HIST_STEPS) */

static size_t slot_of(uint64_t v)
{
	int top;

	if (v < LOAD_HIST_STEPS)
		return (size_t)v;
	top = 63 - __builtin_clzll(v);
	return (size_t)(top - STEP_BITS + 1) * LOAD_HIST_STEPS +
	       (size_t)((v >> (top - STEP_BITS)) & (LOAD_HIST_STEPS - 1));
}

/* The largest value of a slot. */
static int64_t bound_of(size_t slot)
{
	size_t octave = slot / LOAD_HIST_STEPS;
	uint64_t step = slot % LOAD_HIST_STEPS;

	if (octave == 0)
		return (int64_t)step;
	return (int64_t)(((LOAD_HIST_STEPS + step + 1) << (octave - 1)) - 1);
}

void load_hist_add(struct load_hist *h, int64_t ns)
{
	if (ns < 0)
		ns = 0;
	h->slot[slot_of((uint64_t)ns)]++;
	h->n++;
	if (ns > h->max_ns)
		h->max_ns = ns;
}

int64_t load_hist_quantile_ns(const struct load_hist *h, double q)
{
	uint64_t rank = (uint64_t)(q * (double)h->n), seen = 0;

	if (h->n == 0)
		return 0;
	if (rank >= h->n)
		rank = h->n - 1;
	for (size_t i = 0; i < LOAD_HIST_SLOTS; i++) {
		seen += h->slot[i];
		if (seen > rank)
			return bound_of(i) < h->max_ns ? bound_of(i) : h->max_ns;
	}
	return h->max_ns;
}
