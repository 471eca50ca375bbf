/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_SERIES_INT_H
#define LATIDO_ALERT_SERIES_INT_H

#include "series.h"

/* What series.c and series_fill.c share. */

#define AS_STEP_BYTES (sizeof(double) + sizeof(uint32_t))

struct lt_as {
	struct lt_label_pool *pool;
	struct lt_as_limits limits;
	struct lt_as_info *info;
	struct lt_promql_storage storage;
	struct lt_selectors *now, *next;
	uint32_t generation;
	struct lt_as_series **table; /* by labels; open addressing, a power of two */
	size_t n, cap;
	struct lt_as_series **orphans;
	size_t n_orphans, cap_orphans;
	size_t bytes; /* of series and their samples */
	struct lt_complaint full, gave_up;
};

static inline uint32_t *as_offsets(const struct lt_as_series *s)
{
	return (uint32_t *)(s->v + s->cap);
}

static inline int64_t as_time(const struct lt_as_series *s, uint32_t i)
{
	return s->base_ms + as_offsets(s)[i];
}

/** as_put() - behind the last one, where there is room. */
static inline void as_put(struct lt_as_series *s, int64_t t_ms, double v)
{
	s->v[s->n] = v;
	as_offsets(s)[s->n] = (uint32_t)(t_ms - s->base_ms);
	s->n++;
}

/** as_thin_out() - of samples that no short window needs, keep one in so much time. */
void as_thin_out(struct lt_as *a, struct lt_as_series *s, int64_t now_ms);

#endif
