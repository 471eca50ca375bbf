/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BRIDGE_FLIGHT_H
#define LATIDO_BRIDGE_FLIGHT_H

#include "have.h"
#include "latido/bus.h"
#include "latido/self.h"
#include "latido/stats.h"

/* Messages that were received and that Kafka has not reported yet. Loop thread. */

struct lt_flight {
	struct lt_flight *prev, *next; /* in order of arrival */
	struct lt_flight *next_waiting;
	struct lt_bus_msg *msg;
	struct lt_origin origin;
	size_t bytes;
	int64_t mono_ns;
	size_t n; /* numbered events in it */
	struct {
		uint64_t epoch, seq, oldest_seq;
	} ids[];
};

struct lt_flights {
	struct lt_flight *first, *last;
	struct lt_flight *waiting, **waiting_end; /* not accepted by the bus */
	size_t n, bytes;
};

void lt_flights_init(struct lt_flights *l);
/** lt_flight_begin() - @m belongs to the flight; @first: its events. */
struct lt_flight *lt_flight_begin(struct lt_flights *l, struct lt_bus_msg *m,
	const struct lt_origin *o, const struct lt_event *first);
/** lt_flight_end() - forget it, but for its message. It must not wait. */
void lt_flight_end(struct lt_flights *l, struct lt_flight *f);
/** lt_flight_wait() - it is to be sent later; @first: before all others. */
void lt_flight_wait(struct lt_flights *l, struct lt_flight *f, bool first);
/** lt_flight_waiting() - the next one to be sent, taken out of the list; NULL = none. */
struct lt_flight *lt_flight_waiting(struct lt_flights *l);
/** lt_flight_any() - one of those that there are, not waiting any more; NULL = none. */
struct lt_flight *lt_flight_any(struct lt_flights *l);

/* One bridge a process. */
extern struct lt_bridge_stats {
	struct lt_counter messages, bytes, delivered, known, refused, refused_letters, overfull;
	struct lt_counter rejected[LT_REASON_MAX];
	struct lt_self_figures self;
	struct lt_hist seconds;
} lt_bridge_stats;

void lt_bridge_stats_add(const struct lt_flights *l, const struct lt_have *h);
/** lt_bridge_stats_end() - what was given to lt_bridge_stats_add() goes away. */
void lt_bridge_stats_end(void);

#endif
