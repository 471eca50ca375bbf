/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_SINK_REDIS_H
#define LATIDO_SINK_REDIS_H

#include "latido/consumer.h"
#include "latido/stats.h"

/*
 * The hot state: each event into Redis 7 as schemas/redis/README.md describes. Uses the
 * configuration sections redis, hot and limits.
 */
extern const struct lt_sink_ops lt_sink_redis_ops;

/** Counters of the sink, one set a process. */
extern const struct lt_stat lt_sink_redis_stats[];
extern const size_t lt_sink_redis_stats_n;

#endif
