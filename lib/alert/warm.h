/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_WARM_H
#define LATIDO_ALERT_WARM_H

#include "latido/config.h"
#include "latido/redis.h"
#include "sources.h"

/** struct lt_warm_opts - what lt_warm_start() is to read */
struct lt_warm_opts {
	int64_t since_ms; /* events from then on, and at least a few of each source */
	bool windows;     /* false: only which sources there are; the events come from the bus */
	bool fill;        /* the sources are in use: only what they lack (lt_sources_fill()) */
};

/** struct lt_warm_info - what lt_warm_start() found */
struct lt_warm_info {
	size_t sources, events; /* events that were new */
	int64_t newest_ms;      /* when any source was seen last */
};

/**
 * lt_warm_start() - fill the windows from what latido-hot keeps in Redis; blocks
 * @redis: connected.
 *
 * Sources that were heard before and are silent now are known afterwards, so that up stays 0.
 */
int lt_warm_start(struct lt_redis *redis, const struct lt_config *conf, struct lt_sources *t,
	const struct lt_warm_opts *opts, struct lt_warm_info *info, struct lt_err *err);

#endif
