/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_SCHED_H
#define LATIDO_AGENT_SCHED_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct lt_sched - when to sample: once in each slot of the wall clock
 *
 * Slot k is [k * interval, (k + 1) * interval) since 1970: all nodes sample at the same instants,
 * and nothing drifts, for each delay is computed from the clock anew. Pure: the caller gives the
 * times and owns the timer.
 */
struct lt_sched {
	int64_t interval_ns;
	bool started;
	int64_t slot; /* of the last tick */
	int64_t wall_ns, mono_ns;
	uint64_t missed; /* slots without a tick */
	uint64_t jumps;  /* the wall clock was set by more than half an interval */
};

void lt_sched_init(struct lt_sched *s, int64_t interval_ms);

/** lt_sched_delay_ns() - from now to the begin of the next slot; more than 0. */
int64_t lt_sched_delay_ns(const struct lt_sched *s, int64_t wall_ns);

/**
 * lt_sched_due() - the timer has fired: is it time for a tick?
 *
 * False: the timer was early, or the clock was set back inside the slot; start it again. A clock
 * that was set counts as a jump, not as missed ticks: how many were missed is then told by the
 * monotonic clock. There is never more than one tick for what was missed.
 */
bool lt_sched_due(struct lt_sched *s, int64_t wall_ns, int64_t mono_ns);

#endif
