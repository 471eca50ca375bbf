/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_BACKFILL_INT_H
#define LATIDO_ALERT_BACKFILL_INT_H

#include "../sink/pg_conn.h"
#include "backfill.h"
#include "selectors.h"

/*
 * One job of a backfill: which series and sources, read source by source. backfill.c has the thread,
 * backfill_read.c the questions.
 */

#define BACKFILL_CLASSES_MAX 16   /* different windows; beyond, the longest counts */
#define BACKFILL_POLL_MS     2000 /* between looks at what latido-store has written */

/* A series as PostgreSQL has it: without its source. */
struct backfill_known {
	int64_t id;
	const char *name;
	struct lt_label_text *labels;
	size_t n_labels;
};

/* A source that lacks something. */
struct backfill_origin {
	int64_t id, until_ms, shift_ms;
	const char *name;
	bool device;
	bool due;           /* is to be read (again) in this pass */
	bool waits;         /* latido-store lacks something of it that was heard here: */
	int64_t epoch, seq; /* up to there it must have all */
	int64_t upto;       /* it has all up to there */
};

/* All series whose longest window is this. */
struct backfill_window {
	int64_t back_ms;
	struct lt_buf ids;
};

/* The job in hand; zero-initialised: none. */
struct backfill_work {
	const struct lt_config *conf;
	struct lt_backfill_info *info;
	struct lt_backfill_job *job;
	struct lt_label_pool *pool;
	struct lt_promql_expr **exprs;
	struct lt_selectors *selectors;
	struct lt_arena arena;
	struct backfill_known *series; /* by id, as the next */
	struct backfill_origin *origins;
	size_t n_series, n_origins;
	struct backfill_window windows[BACKFILL_CLASSES_MAX];
	size_t n_windows;
	bool listed, looked;
	size_t window, origin, at_once, tries; /* where reading is */
	int64_t moved_ns;                      /* latido-store brought something last */
};

/** backfill_begin() - take a job; the work is empty. */
void backfill_begin(struct backfill_work *w, struct lt_backfill_job *job);
/** backfill_end() - it is empty again. */
void backfill_end(struct backfill_work *w);

enum {
	BACKFILL_DONE = 0,
	BACKFILL_MORE,
	BACKFILL_WAIT, /* for latido-store: in BACKFILL_POLL_MS again */
};
/**
 * backfill_step() - one piece of the job, in about the time of one statement
 * @chunk: what was read, the caller's to free; NULL: nothing.
 *
 * Return: one of the above, or a code: it is tried again by the next call.
 */
int backfill_step(struct backfill_work *w, struct lt_pg *pg, struct lt_backfill_chunk **chunk,
	struct lt_err *err);

#endif
