/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_SERIES_H
#define LATIDO_ALERT_SERIES_H

#include "latido/log.h"
#include "latido/promql.h"
#include "latido/stats.h"

/*
 * The series that some rule selects, each only as long as the longest window over it, and found by
 * selector without looking at labels: what expressions are evaluated over.
 *
 * A sample takes 12 bytes (value, offset in time). Everything belongs to one thread, that of the
 * label pool.
 *
 * Times are milliseconds since 1970.
 */

/** struct lt_keep - how much of a series is kept */
struct lt_keep {
	int64_t back_ms;  /* samples that are older are dropped, but for the newest of them */
	int64_t dense_ms; /* samples that are younger are all kept */
	bool watched;     /* lt_as_watch(): by some selector */
};

/** struct lt_as_series - one series */
struct lt_as_series {
	const struct lt_labels *labels;
	double *v; /* cap values, and behind them cap offsets from base_ms (uint32_t) */
	int64_t base_ms;
	uint32_t n, cap;
	uint32_t back_ms, dense_ms;
	uint32_t refs;   /* bindings that write to it */
	uint32_t orphan; /* 1 + place in the list of those without; 0: none */
	uint32_t mark;   /* free for the writer */
	bool trimmed;    /* older samples were there */
	bool unwanted;   /* no selector wants it any more */
	bool gone;       /* on its way out of the lists */
	bool watched;    /* each new sample is compared with thresholds */
};

struct lt_as_limits {
	size_t max_series;
	size_t max_bytes;
	uint32_t max_points; /* of one series; more are thinned out where they are not dense */
	int64_t max_window_ms;
	int64_t dense_ms; /* windows up to this are kept whole */
	int64_t slack_ms; /* evaluations lag behind the newest sample by at most this */
};

/** struct lt_as_info - for metrics; any thread */
struct lt_as_info {
	struct lt_gauge series, selectors, samples_bytes, bytes;
	struct lt_counter out_of_order, refused, removed, thinned, gave_up;
};

struct lt_as;

/** lt_as_new() - @limits: copied. @pool, @info: borrowed. */
struct lt_as *lt_as_new(
	struct lt_label_pool *pool, const struct lt_as_limits *limits, struct lt_as_info *info);
void lt_as_free(struct lt_as *a);
struct lt_label_pool *lt_as_pool(struct lt_as *a);

/* ---- selectors ---- */

/**
 * lt_as_begin() - start a new set of selectors; the old one goes on to count until lt_as_commit()
 */
void lt_as_begin(struct lt_as *a);
/**
 * lt_as_accept() - can a stream answer this selector?
 *
 * Return: LT_OK; LT_EINVAL (CONFIG): its window is larger than the limit, or it asks for a fixed
 * time, of which a stream keeps nothing.
 */
int lt_as_accept(const struct lt_as *a, const struct lt_promql_selector *sel, struct lt_err *err);
/**
 * lt_as_select() - one selector of the new set
 * @sel: must live until the set after this one is committed.
 *
 * Return: as lt_as_accept().
 */
int lt_as_select(
	struct lt_as *a, const struct lt_promql_selector *sel, struct lt_err *err) LT_MUST_CHECK;
/**
 * lt_as_watch() - tell whenever a new sample meets a threshold that the one before it did not
 * @t: copied; its selector is one of the new set, not necessarily the only one of that name: that
 *	it is told means that it is worth looking.
 * @crossed_ms: becomes the time of the newest such sample if that is later; lives as long as that
 *	set.
 */
void lt_as_watch(struct lt_as *a, const struct lt_promql_threshold *t, int64_t *crossed_ms);
/** lt_as_window_ms() - how far it looks back; 0: only to the newest sample. */
int64_t lt_as_window_ms(const struct lt_promql_selector *sel);
/** lt_as_abort() - the new set is not wanted. */
void lt_as_abort(struct lt_as *a);
/** lt_as_commit() - the new set counts from now on; series that nobody wants any more are dropped
 * once no binding refers to them. */
void lt_as_commit(struct lt_as *a);
/** lt_as_generation() - changes with each commit. */
uint32_t lt_as_generation(const struct lt_as *a);

/**
 * lt_as_may_want() - could a series with this name and these labels be selected?
 * @labels: without instance and job, which are left open.
 */
bool lt_as_may_want(const struct lt_as *a, const char *name, size_t name_len,
	const struct lt_label_text *labels, size_t n);

/* ---- series ---- */

/**
 * lt_as_series() - the series with these labels, made when it is selected and new
 * @labels: the caller keeps its reference.
 *
 * Return: NULL: nobody selects it, or a limit was met (counted in info).
 */
struct lt_as_series *lt_as_series(struct lt_as *a, const struct lt_labels *labels);
/** lt_as_find() - the same, but none is made. */
struct lt_as_series *lt_as_find(const struct lt_as *a, const struct lt_labels *labels);
/** lt_as_get(), lt_as_put() - a binding refers to it (no longer). */
void lt_as_get(struct lt_as *a, struct lt_as_series *s);
void lt_as_put(struct lt_as *a, struct lt_as_series *s);

/** lt_as_append() - Return: false: not newer than the last sample, dropped and counted. */
bool lt_as_append(struct lt_as *a, struct lt_as_series *s, int64_t t_ms, double v);
/**
 * lt_as_insert() - a sample that may be older than the newest one: where it belongs
 *
 * Return: false: there is one of that time, or it is older than what is kept.
 */
bool lt_as_insert(struct lt_as *a, struct lt_as_series *s, int64_t t_ms, double v);
/**
 * lt_as_fill() - samples that are missing, in order of time
 * @hole_ms: what is missing begins there; INT64_MAX: only the beginning is missing.
 *
 * Taken are those that are older than the first sample, and those from @hole_ms on that are not there
 * yet (LT_AS_SAME_MS: the clock by which a sample was noted may be another). Those that are older than
 * the window at @now_ms are left out, as is everything when alert.max_bytes is reached. Return: how
 * many were taken.
 */
size_t lt_as_fill(struct lt_as *a, struct lt_as_series *s, const int64_t *t_ms, const double *v,
	size_t n, int64_t hole_ms, int64_t now_ms);
#define LT_AS_SAME_MS 500
/** lt_as_end() - the series ends at @t_ms: a staleness marker unless the last sample is one. */
void lt_as_end(struct lt_as *a, struct lt_as_series *s, int64_t t_ms);
/** lt_as_last_ms() - time of the newest sample; INT64_MIN: none. */
int64_t lt_as_last_ms(const struct lt_as_series *s);

/** lt_as_sweep() - free series that nobody writes and whose samples are all out of their window. */
void lt_as_sweep(struct lt_as *a, int64_t now_ms);

/** lt_as_shift() - the clock was set: all samples move along. */
void lt_as_shift(struct lt_as *a, int64_t by_ms);
/** lt_as_longest_ms() - the longest window of any selector. */
int64_t lt_as_longest_ms(const struct lt_as *a);

/** lt_as_storage() - for lt_promql_eval(); valid as long as @a. */
const struct lt_promql_storage *lt_as_storage(struct lt_as *a);

#endif
