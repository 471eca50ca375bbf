/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_WARM_H
#define LATIDO_ALERT_WARM_H

#include "latido/config.h"
#include "latido/redis.h"
#include "sources.h"

/** struct lt_warm_info - what lt_warm_start() found */
struct lt_warm_info {
	size_t sources, events;
	int64_t newest_ms; /* when any source was seen last */
};

/**
 * lt_warm_start() - fill the windows from what latido-hot keeps in Redis; blocks
 * @redis: connected.
 * @windows: false: only which sources there are; the events come from the bus.
 *
 * Sources that were heard before and are silent now are known afterwards, so that up stays 0.
 */
int lt_warm_start(struct lt_redis *redis, const struct lt_config *conf, struct lt_sources *t,
	int64_t longest_ms, bool windows, struct lt_warm_info *info, struct lt_err *err);

#endif
