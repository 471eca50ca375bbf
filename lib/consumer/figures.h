/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONSUMER_FIGURES_H
#define LATIDO_CONSUMER_FIGURES_H

#include "latido/event.h"
#include "latido/self.h"
#include "latido/stats.h"

/* What /metrics says about the runtime. One consumer a process; tests that run several share it. */

struct lt_consumer_figures {
	struct lt_counter messages, bytes, events, values, batches, retries, rereads, parked,
		refused_letters;
	struct lt_self_figures self;
	struct lt_counter rejected[LT_REASON_MAX];
	struct lt_gauge filling, putting, parking, letters;
	struct lt_hist put_seconds;
};
extern struct lt_consumer_figures lt_consumer_figures;

/**
 * lt_consumer_figures_add() - register them, with those of @shapes
 * @lag_ns: how far the consumer is behind; called with @arg until lt_consumer_figures_gone().
 */
void lt_consumer_figures_add(struct lt_shapes *shapes, int64_t (*lag_ns)(void *arg), void *arg);
/** lt_consumer_figures_gone() - @shapes is about to be freed. */
void lt_consumer_figures_gone(const struct lt_shapes *shapes);

#endif
