/* SPDX-License-Identifier: MIT */
/* Samples that are missing in a series, where they belong. */
#include <stdlib.h>

#include "series_int.h"

/* Is this one missing? @next: the first sample that is later; the caller moves it along. */
static bool is_missing(const struct lt_as_series *s, uint32_t next, int64_t t_ms, int64_t hole_ms)
{
	if (next == 0 && s->n && t_ms < as_time(s, 0))
		return true;
	if (s->n && t_ms < hole_ms)
		return false;
	return (next == 0 || t_ms - as_time(s, next - 1) >= LT_AS_SAME_MS) &&
	       (next == s->n || as_time(s, next) - t_ms >= LT_AS_SAME_MS);
}

size_t lt_as_fill(struct lt_as *a, struct lt_as_series *s, const int64_t *t_ms, const double *v,
	size_t n, int64_t hole_ms, int64_t now_ms)
{
	struct lt_as_series old = *s;
	uint32_t next = 0, cap;
	size_t taken = 0;

	if (a->bytes >= a->limits.max_bytes)
		return 0;
	while (n && *t_ms < now_ms - (int64_t)s->back_ms) {
		t_ms++;
		v++;
		n--;
	}
	for (size_t i = 0; i < n; i++) {
		while (next < s->n && as_time(s, next) <= t_ms[i])
			next++;
		taken += is_missing(s, next, t_ms[i], hole_ms);
	}
	if (!taken)
		return 0;
	/* Both in order into memory of its own. */
	cap = old.n + (uint32_t)taken + 1;
	if (cap < old.cap)
		cap = old.cap;
	s->v = lt_malloc(cap * AS_STEP_BYTES);
	s->cap = cap;
	s->n = 0;
	s->base_ms = old.n && as_time(&old, 0) < t_ms[0] ? as_time(&old, 0) : t_ms[0];
	next = 0;
	for (size_t i = 0; i <= n; i++) {
		while (next < old.n && (i == n || as_time(&old, next) <= t_ms[i])) {
			as_put(s, as_time(&old, next), old.v[next]);
			next++;
		}
		if (i < n && is_missing(&old, next, t_ms[i], hole_ms))
			as_put(s, t_ms[i], v[i]);
	}
	a->bytes += cap * AS_STEP_BYTES;
	a->bytes -= old.cap * AS_STEP_BYTES;
	free(old.v);
	if (s->n > a->limits.max_points && s->dense_ms < s->back_ms)
		as_thin_out(a, s, now_ms);
	return taken;
}
