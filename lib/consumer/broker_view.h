/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONSUMER_BROKER_VIEW_H
#define LATIDO_CONSUMER_BROKER_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/bus.h"

/* Messages that the broker holds, those that it holds because they are retained, and those that
 * it did not queue for somebody because the queue was full (mosquitto(8), "Broker status"). */
enum lt_broker_figure {
	LT_BROKER_STORED,
	LT_BROKER_RETAINED,
	LT_BROKER_DROPPED,
	LT_BROKER_FIGURES
};

extern const char *const lt_broker_topics[LT_BROKER_FIGURES];

/** struct lt_broker_view - what the $SYS topics have said; zeroed at first */
struct lt_broker_view {
	bool known[LT_BROKER_FIGURES];
	uint64_t value[LT_BROKER_FIGURES];
	bool told;        /* anything, ever */
	uint64_t dropped; /* since the first message */
};

/** lt_broker_view_take() - one message; what is no figure changes nothing. */
void lt_broker_view_take(struct lt_broker_view *v, const struct lt_bus_msg *m);
/** lt_broker_view_lost() - the connection is lost: what the broker holds is not known. */
void lt_broker_view_lost(struct lt_broker_view *v);
/** lt_broker_view_queued() - messages that wait for somebody; -1 = not known. */
int64_t lt_broker_view_queued(const struct lt_broker_view *v);

#endif
