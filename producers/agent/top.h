/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_TOP_H
#define LATIDO_AGENT_TOP_H

#include <stdbool.h>

#include "collector.h"

/** LT_TOP_STREAM - the stream of the top processes. */
#define LT_TOP_STREAM "processes"

/**
 * struct lt_top - the processes that use most CPU and most memory
 *
 * From /proc/latido/tasks where it can be read and agent.kmod is not off, else from /proc/PID/stat.
 * A process is its number and its start: a number that was given again is another one.
 */
struct lt_top;

/** lt_top_metrics - their table, for --list-metrics; LT_TOP_METRICS rows. */
#define LT_TOP_METRICS 2
extern const struct lt_metric lt_top_metrics[LT_TOP_METRICS];

struct lt_top *lt_top_new(const struct lt_agent_conf *conf);
void lt_top_free(struct lt_top *t);

/** lt_top_due() - agent.processes_interval is over. */
bool lt_top_due(const struct lt_top *t, int64_t mono_ns);

/**
 * lt_top_sample() - look at all processes; emit the top ones
 * @out: begun by this function. CPU use is that since the last sample; the first one has none.
 * @e: shape, values, n and time_ns are set.
 *
 * Return: LT_OK, or a negative code: /proc cannot be read.
 */
int lt_top_sample(struct lt_top *t, struct lt_snapshot *out, struct lt_event *e,
	struct lt_err *err) LT_MUST_CHECK;

#endif
