/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_SELECTORS_H
#define LATIDO_ALERT_SELECTORS_H

#include "series.h"

/* The selectors of all rules, equal ones once, each with the list of its series. */

#define LT_LOOKBACK_MS 300000 /* of an instant selector */

struct lt_selectors;

struct lt_selectors *lt_selectors_new(struct lt_label_pool *pool);
void lt_selectors_free(struct lt_selectors *t);
size_t lt_selectors_n(const struct lt_selectors *t);
int64_t lt_selectors_longest_ms(const struct lt_selectors *t);
size_t lt_selectors_bytes(const struct lt_selectors *t);

/** lt_selectors_add() - @sel: borrowed as long as @t. */
void lt_selectors_add(
	struct lt_selectors *t, const struct lt_promql_selector *sel, const struct lt_keep *keep);
bool lt_selectors_may_want(const struct lt_selectors *t, const char *name, size_t name_len,
	const struct lt_label_text *labels, size_t n);
/** lt_selectors_may_back_ms() - the longest window that could want it; -1: none could. */
int64_t lt_selectors_may_back_ms(const struct lt_selectors *t, const char *name, size_t name_len,
	const struct lt_label_text *labels, size_t n);
/**
 * lt_selectors_join() - put a series into the lists of all that select it
 * @keep: out: the most that any of them needs.
 *
 * Return: false when none does.
 */
bool lt_selectors_join(struct lt_selectors *t, const struct lt_labels *labels, const void *series,
	struct lt_keep *keep);
/**
 * lt_selectors_watch() - tell when a sample of @t->sel crosses it
 * @crossed_ms: becomes the time of the newest such sample if that is later; as long as @s.
 */
void lt_selectors_watch(
	struct lt_selectors *s, const struct lt_promql_threshold *t, int64_t *crossed_ms);
/**
 * lt_selectors_sample() - a new sample of a series that is watched; its labels are only looked at
 * as far as the metric's name: it may be told for a series that its selector does not want
 * @before: the one before it; a staleness marker if there was none.
 */
void lt_selectors_sample(const struct lt_selectors *s, const struct lt_labels *labels,
	double before, int64_t t_ms, double v);
/** lt_selectors_gave_up() - did a pattern meet its limit since the last call? @err: the last one's. */
bool lt_selectors_gave_up(struct lt_selectors *t, struct lt_err *err);
/** lt_selectors_leave() - it is to be taken out by lt_selectors_tidy(), before labels are freed. */
void lt_selectors_leave(struct lt_selectors *t, const struct lt_labels *labels);
void lt_selectors_tidy(struct lt_selectors *t);
/** lt_selectors_find() - the list of @sel. Return: false: it was never added. */
bool lt_selectors_find(const struct lt_selectors *t, const struct lt_promql_selector *sel,
	const struct lt_promql_series **out, size_t *n);

#endif
