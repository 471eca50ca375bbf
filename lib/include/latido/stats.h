/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_STATS_H
#define LATIDO_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/mem.h"

/**
 * Counters, gauges and latency histograms of this process, shown by /metrics in Prometheus text
 * format. Any thread may change them; a reader sees each value whole, not all of one instant.
 */
struct lt_counter {
	_Atomic uint64_t v;
};
struct lt_gauge {
	_Atomic int64_t v;
};

static inline void lt_counter_add(struct lt_counter *c, uint64_t n)
{
	atomic_fetch_add_explicit(&c->v, n, memory_order_relaxed);
}
static inline uint64_t lt_counter_get(struct lt_counter *c)
{
	return atomic_load_explicit(&c->v, memory_order_relaxed);
}
static inline void lt_gauge_set(struct lt_gauge *g, int64_t v)
{
	atomic_store_explicit(&g->v, v, memory_order_relaxed);
}
static inline void lt_gauge_add(struct lt_gauge *g, int64_t v)
{
	atomic_fetch_add_explicit(&g->v, v, memory_order_relaxed);
}
static inline int64_t lt_gauge_get(struct lt_gauge *g)
{
	return atomic_load_explicit(&g->v, memory_order_relaxed);
}

/*
 * Latency histogram: four buckets an octave from 16 us to about 67 s, so a quantile read from it
 * is at most 19 % off. Times are kept in nanoseconds and shown in seconds.
 */
#define LT_HIST_BUCKETS 88
struct lt_hist {
	_Atomic uint64_t bucket[LT_HIST_BUCKETS + 1]; /* the last one is +Inf */
	_Atomic uint64_t sum_ns;
};

/** lt_hist_add() - negative values (clocks that disagree) count as 0. */
void lt_hist_add(struct lt_hist *h, int64_t ns);
/** lt_hist_bound_ns() - upper bound of bucket @i. */
int64_t lt_hist_bound_ns(size_t i);

enum lt_stat_type {
	LT_STAT_COUNTER = 0,
	LT_STAT_GAUGE,
	LT_STAT_HIST,
	LT_STAT_GAUGE_FN,
	LT_STAT_COUNTER_FN,
};

/**
 * struct lt_stat - one described metric of a component's static table
 * @name: full Prometheus name with unit suffix ("latido_store_commits_total").
 * @labels: NULL or constant label text without braces ("reason=\"decode\"").
 * @p: the struct lt_counter, lt_gauge or lt_hist; for GAUGE_FN and COUNTER_FN the function's argument.
 *
 * Rows of the same name stand next to each other in one table.
 */
struct lt_stat {
	const char *name;
	enum lt_stat_type type;
	const char *labels;
	const char *help;
	void *p;
	double (*fn)(void *p);
};

/**
 * lt_stats_add() - register a table for /metrics; it must outlive the process's last reader
 *
 * Once: of a table that is there already only its size is taken over (it grew or shrank). Loop thread.
 */
void lt_stats_add(const struct lt_stat *table, size_t n);
/** lt_stats_clear() - forget all tables (end of a daemon, tests). */
void lt_stats_clear(void);
/**
 * lt_stats_each() - call @fn with each registered counter and gauge; loop thread
 * @fn: @first: the first row of its name.
 *
 * All rows of a name come one after the other, also of names that several tables have. Histograms
 * are passed over.
 */
void lt_stats_each(
	void (*fn)(void *arg, const struct lt_stat *s, bool first, double value), void *arg);
/** lt_stats_named() - the same for the rows of one name only. */
void lt_stats_named(const char *name,
	void (*fn)(void *arg, const struct lt_stat *s, bool first, double value), void *arg);
/** lt_stats_render() - all registered metrics as Prometheus text format 0.0.4. Loop thread. */
void lt_stats_render(struct lt_buf *out);

#endif
