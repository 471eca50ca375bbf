/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_COLLECTORS_H
#define LATIDO_AGENT_COLLECTORS_H

#include <stdio.h>

#include "collector.h"

/**
 * The collectors that run, and what becomes of each: "up"; "absent", where the machine does not have
 * what it reads, looked for again once a minute; "failed", begun anew at the next sample. None
 * stops the others.
 */
struct lt_collectors;

/**
 * lt_collectors_new() - begin those that agent.collectors names, or all
 * @conf: borrowed for their life.
 * @once: for one sample only: wait for slow answers.
 *
 * Return: NULL with @err (CONFIG): an expression is not one.
 */
struct lt_collectors *lt_collectors_new(
	const struct lt_agent_conf *conf, bool once, struct lt_err *err);
void lt_collectors_free(struct lt_collectors *cs);

/**
 * lt_collectors_sample() - one snapshot of everything
 * @out: begun by this function.
 * @e: shape, values and n are set as by lt_snapshot_event(), time_ns to when sampling began.
 *
 * A collector whose series are not valid together (a name twice) is left out of the snapshot.
 * Return: LT_OK, or LT_EDATA when no valid snapshot is left.
 */
int lt_collectors_sample(struct lt_collectors *cs, struct lt_snapshot *out, struct lt_event *e,
	struct lt_err *err) LT_MUST_CHECK;

/** lt_collectors_stats() - register latido_agent_collector_* for /metrics. */
void lt_collectors_stats(struct lt_collectors *cs);

/** lt_collectors_errors() - failed samples of a collector so far; 0 for one that does not run. */
uint64_t lt_collectors_errors(struct lt_collectors *cs, const char *name);

/** lt_collectors_find_metric() - the row of the tables that stands for a name, or NULL. */
const struct lt_metric *lt_collectors_find_metric(const char *name);

/**
 * lt_collectors_list() - name, kind and help of every metric, as a table
 *
 * Patterns are followed by the names that this machine has of them.
 */
void lt_collectors_list(struct lt_collectors *cs, FILE *out);

#endif
