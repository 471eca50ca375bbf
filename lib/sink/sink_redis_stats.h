/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_SINK_REDIS_STATS_H
#define LATIDO_SINK_REDIS_STATS_H

#include "latido/stats.h"

struct hot_stats {
	struct lt_counter events, old, window, duplicates, deltas, fulls, fields, refused, rebased,
		resets, deferred, inlined, key_errors, commands, pipelines, connects, forgotten;
	struct lt_gauge sources, pending, bytes;
	struct lt_hist latency;
};

extern struct hot_stats hot_stats;

#endif
