/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_PROM_H
#define LATIDO_LIVE_PROM_H

#include "latido/labels.h"
#include "latido/promql.h"
#include "workers.h"

/*
 * The series of PostgreSQL as Prometheus would have them: __name__, the labels of the series, and
 * instance and job of the source. One set of them lives as long as one question. Worker threads.
 */

#define PROM_SERIES_MAX  50000
#define PROM_SAMPLES_MAX 20000000
#define PROM_LOOKBACK_MS 300000

struct prom_source {
	int64_t id;
	char *name;
	bool device;
};

struct prom_series {
	int64_t id;
	char *name;
	struct lt_label_text *labels; /* of the series; point into text */
	size_t n_labels;
	char *text;
	uint8_t kind;
};

/** struct prom_chunk - samples of one series of one source, by time */
struct prom_chunk {
	const struct lt_labels *labels;
	int64_t *times;
	double *values;
	size_t n;
};

struct prom_store {
	struct worker *worker;
	struct lt_label_pool *pool;
	struct prom_source *sources;
	size_t n_sources;
	struct prom_series *series;
	size_t n_series;
	/* Of a range evaluation, for what can be read thinned; step_ms 0 = instant. */
	int64_t start_ms, end_ms, step_ms;
	struct prom_chunk *chunks; /* of all selectors so far */
	size_t n_chunks, n_samples;
	struct lt_promql_series **lists; /* handed to the evaluator */
	size_t n_lists;
	_Atomic bool *cancelled;
};

/** prom_open() - sources, and series of one name (NULL = all). */
int prom_open(
	struct prom_store *s, struct worker *w, const char *name, struct lt_err *err) LT_MUST_CHECK;
void prom_fini(struct prom_store *s);
/** prom_labels() - the label set of a series of a source, with one more reference. */
const struct lt_labels *prom_labels(
	struct prom_store *s, const struct prom_source *o, const struct prom_series *x);
/** prom_source_matches() - do the matchers on instance and job match? */
int prom_source_matches(struct prom_store *s, const struct lt_promql_selector *sel,
	const struct prom_source *o, struct lt_err *err);
/** prom_select() - lt_promql_storage.select. */
extern const struct lt_promql_storage prom_storage;

/** prom_pairs() - which source has which series in a span of time, about; each pair to @each. */
int prom_pairs(struct prom_store *s, int64_t from_ms, int64_t to_ms,
	void (*each)(void *arg, const struct prom_source *o, const struct prom_series *x),
	void *arg, struct lt_err *err) LT_MUST_CHECK;

#endif
