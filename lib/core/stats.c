/* SPDX-License-Identifier: MIT */
#include "latido/stats.h"

#include <stdio.h>
#include <string.h>

#include "latido/clock.h"

#define MAX_TABLES 32
#define FIRST_NS   16000 /* bound of bucket 0 */

static struct {
	const struct lt_stat *table;
	size_t n;
} tables[MAX_TABLES];
static size_t n_tables;

/* 16 us times 2^(1/4), 2^(2/4), 2^(3/4), in whole nanoseconds. */
static const int64_t quarter[4] = {16000, 19027, 22627, 26909};

int64_t lt_hist_bound_ns(size_t i)
{
	return quarter[i % 4] << i / 4;
}

void lt_hist_add(struct lt_hist *h, int64_t ns)
{
	size_t i = 0;

	if (ns < 0)
		ns = 0;
	if (ns > FIRST_NS) {
		/* Octave by the position of the top bit, then at most four steps. */
		unsigned octave = 63 - (unsigned)__builtin_clzll((uint64_t)ns / FIRST_NS);

		i = octave * 4;
		while (i < LT_HIST_BUCKETS && ns > lt_hist_bound_ns(i))
			i++;
		if (i > LT_HIST_BUCKETS)
			i = LT_HIST_BUCKETS;
	}
	atomic_fetch_add_explicit(&h->bucket[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum_ns, (uint64_t)ns, memory_order_relaxed);
}

void lt_stats_add(const struct lt_stat *table, size_t n)
{
	for (size_t i = 0; i < n_tables; i++) {
		if (tables[i].table == table) {
			tables[i].n = n;
			return;
		}
	}
	if (n_tables == MAX_TABLES)
		return; /* our own bug; the metrics test would miss the names */
	tables[n_tables].table = table;
	tables[n_tables++].n = n;
}

void lt_stats_clear(void)
{
	n_tables = 0;
}

static void render_name(struct lt_buf *out, const char *name, const char *suffix,
	const char *labels, const char *le)
{
	lt_buf_str(out, name);
	lt_buf_str(out, suffix);
	if (labels || le) {
		lt_buf_char(out, '{');
		lt_buf_str(out, labels ? labels : "");
		if (labels && le)
			lt_buf_char(out, ',');
		if (le)
			lt_buf_printf(out, "le=\"%s\"", le);
		lt_buf_char(out, '}');
	}
	lt_buf_char(out, ' ');
}

static void render_hist(struct lt_buf *out, const struct lt_stat *s)
{
	struct lt_hist *h = s->p;
	uint64_t count = 0;

	for (size_t i = 0; i <= LT_HIST_BUCKETS; i++) {
		char le[32] = "+Inf";

		count += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
		if (i < LT_HIST_BUCKETS)
			snprintf(le, sizeof(le), "%.9g", (double)lt_hist_bound_ns(i) / 1e9);
		render_name(out, s->name, "_bucket", s->labels, le);
		lt_buf_printf(out, "%llu\n", (unsigned long long)count);
	}
	render_name(out, s->name, "_sum", s->labels, NULL);
	lt_buf_double(out, (double)atomic_load_explicit(&h->sum_ns, memory_order_relaxed) / 1e9);
	lt_buf_char(out, '\n');
	render_name(out, s->name, "_count", s->labels, NULL);
	lt_buf_printf(out, "%llu\n", (unsigned long long)count);
}

static void render_one(struct lt_buf *out, const struct lt_stat *s)
{
	if (s->type == LT_STAT_HIST) {
		render_hist(out, s);
		return;
	}
	render_name(out, s->name, "", s->labels, NULL);
	if (s->type == LT_STAT_COUNTER)
		lt_buf_printf(out, "%llu", (unsigned long long)lt_counter_get(s->p));
	else if (s->type == LT_STAT_GAUGE)
		lt_buf_printf(out, "%lld", (long long)lt_gauge_get(s->p));
	else
		lt_buf_double(out, s->fn(s->p));
	lt_buf_char(out, '\n');
}

void lt_stats_render(struct lt_buf *out)
{
	static const char *const types[] = {"counter", "gauge", "histogram", "gauge", "counter"};

	for (size_t t = 0; t < n_tables; t++) {
		const char *last = NULL;

		for (size_t i = 0; i < tables[t].n; i++) {
			const struct lt_stat *s = &tables[t].table[i];

			if (!last || strcmp(last, s->name) != 0)
				lt_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", s->name, s->help,
					s->name, types[s->type]);
			last = s->name;
			render_one(out, s);
		}
	}
}

static double value_of(const struct lt_stat *s)
{
	if (s->type == LT_STAT_COUNTER)
		return (double)lt_counter_get(s->p);
	if (s->type == LT_STAT_GAUGE)
		return (double)lt_gauge_get(s->p);
	return s->fn(s->p);
}

/* Whether a row before row @i of table @t has its name. */
static bool seen_before(size_t t, size_t i)
{
	const char *name = tables[t].table[i].name;

	for (size_t u = 0; u <= t; u++) {
		for (size_t j = 0; j < (u == t ? i : tables[u].n); j++) {
			if (strcmp(tables[u].table[j].name, name) == 0)
				return true;
		}
	}
	return false;
}

static void each_of(const char *name, size_t t, size_t i,
	void (*fn)(void *arg, const struct lt_stat *s, bool first, double value), void *arg)
{
	bool first = true;

	for (; t < n_tables; t++, i = 0) {
		for (; i < tables[t].n; i++) {
			const struct lt_stat *s = &tables[t].table[i];

			if (s->type == LT_STAT_HIST || strcmp(s->name, name) != 0)
				continue;
			fn(arg, s, first, value_of(s));
			first = false;
		}
	}
}

void lt_stats_each(
	void (*fn)(void *arg, const struct lt_stat *s, bool first, double value), void *arg)
{
	for (size_t t = 0; t < n_tables; t++) {
		for (size_t i = 0; i < tables[t].n; i++) {
			if (!seen_before(t, i))
				each_of(tables[t].table[i].name, t, i, fn, arg);
		}
	}
}

void lt_stats_named(const char *name,
	void (*fn)(void *arg, const struct lt_stat *s, bool first, double value), void *arg)
{
	each_of(name, 0, 0, fn, arg);
}
