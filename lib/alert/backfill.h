/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_BACKFILL_H
#define LATIDO_ALERT_BACKFILL_H

#include "latido/config.h"
#include "latido/labels.h"
#include "latido/mem.h"
#include "latido/stats.h"

/*
 * What long windows lack and neither Redis nor the bus has, from what latido-store wrote to
 * PostgreSQL: their beginning after a start, the time of an outage of the bus. On a thread of its own
 * with its own connection, thinned out to alert.max_points a window, in pieces that the engine's
 * thread takes over when it has time.
 *
 * After an outage latido-store gets what agents kept meanwhile only now. So the job names for each
 * source an event up to which something is missing, and is done when what latido-store has reaches
 * without holes up to there: a source is read at once, and once more when that is so. When nothing of
 * those that are waited for has come for five minutes, what is there counts.
 *
 * A source whose samples cannot be read is left out after a few tries, counted and logged: the others
 * get theirs.
 *
 * Only what events brought is there: no recorded series, no up, no ALERTS.
 */

#define LT_BACKFILL_TOLERANCE_MS 10000 /* a source that is complete but for so much is complete */

struct lt_backfill_info {
	struct lt_counter samples, failures, skipped;
	struct lt_gauge waiting; /* sources of which latido-store has not got all yet */
};

/** struct lt_backfill_source - a source and what it lacks here */
struct lt_backfill_source {
	char *name;
	bool device;
	int64_t until_ms;    /* it lacks nothing from then on */
	int64_t shift_ms;    /* its samples have its own times, which PostgreSQL has, and so much */
	uint64_t epoch, seq; /* PostgreSQL will have all up to there; 0: not known */
};

/** struct lt_backfill_job - what is missing; all heap, handed over */
struct lt_backfill_job {
	char **exprs; /* whose long selectors are to be filled */
	size_t n_exprs;
	struct lt_backfill_source *sources;
	size_t n_sources;
	int64_t now_ms;
	int64_t from_ms;     /* nothing is lacking before */
	int64_t until_ms;    /* of sources that are not named */
	int64_t shortest_ms; /* windows up to this are not long */
};
void lt_backfill_job_free(struct lt_backfill_job *job);

/** struct lt_backfill_series - samples of one series, in order of time; its labels as evaluated */
struct lt_backfill_series {
	struct lt_label_text *labels;
	size_t n_labels;
	int64_t *t_ms;
	double *v;
	size_t n;
};

/** struct lt_backfill_chunk - of a few sources */
struct lt_backfill_chunk {
	struct lt_backfill_chunk *next;
	struct lt_arena arena;
	struct lt_backfill_series *series;
	size_t n;
};
void lt_backfill_chunk_free(struct lt_backfill_chunk *c);

struct lt_backfill;

/** lt_backfill_start() - @conf: sections postgres and alert; borrowed. */
struct lt_backfill *lt_backfill_start(
	const struct lt_config *conf, struct lt_backfill_info *info, struct lt_err *err);
/** lt_backfill_stop() - at once; NULL is fine. */
void lt_backfill_stop(struct lt_backfill *b);
/** lt_backfill_ask() - take this job, in place of the one before. NULL: none is wanted any more. */
void lt_backfill_ask(struct lt_backfill *b, struct lt_backfill_job *job);
/** lt_backfill_take() - the next piece, the caller's to free; NULL: none now. */
struct lt_backfill_chunk *lt_backfill_take(struct lt_backfill *b);
/** lt_backfill_done() - has all of the job been read and taken? */
bool lt_backfill_done(struct lt_backfill *b);

#endif
