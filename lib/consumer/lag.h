/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONSUMER_LAG_H
#define LATIDO_CONSUMER_LAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How far a consumer is behind, in time. What waits inside the program has a time of its own
 * (lt_bus_msg.since_ns); what waits at an MQTT broker has none that could be trusted, since the
 * time in an event is by its source's clock. So our own figures (bus.self_interval) are followed:
 * they go through the same queue, and both ends are this program's clock. When nothing is
 * published nothing is behind.
 *
 * All times are handed in: wall clock, and mono where it is said. Loop thread.
 */

#define LT_LAG_SENT_MAX 64

struct lt_lag {
	int64_t sent_ns
		[LT_LAG_SENT_MAX]; /* figures of ours that have not come back, oldest first */
	size_t n_sent;
	int64_t last_ns;      /* how long the oldest of what was finished last had waited */
	int64_t last_mono_ns; /* when that was; 0 = never */
	int64_t keep_ns;      /* so long it counts */
	bool all_come;
};

/**
 * lt_lag_init()
 * @interval_ms: bus.self_interval.
 * @all_come: whatever is published comes to us; of a group on Kafka, another member may get it.
 */
void lt_lag_init(struct lt_lag *l, int64_t interval_ms, bool all_come);
/** lt_lag_sent() - the bus has taken figures of ours with this time. */
void lt_lag_sent(struct lt_lag *l, int64_t time_ns);
/**
 * lt_lag_came() - figures with this time have come back
 *
 * Return: whether they are ours, of this life; those before them do not come any more.
 */
bool lt_lag_came(struct lt_lag *l, int64_t time_ns);
/** lt_lag_lost() - the session has ended, or they were refused: none of them will come. */
void lt_lag_lost(struct lt_lag *l);
/** lt_lag_done() - a batch is durable; @since_ns: of the oldest in it. */
void lt_lag_done(struct lt_lag *l, int64_t since_ns, int64_t now_ns, int64_t mono_ns);
/**
 * lt_lag_ns() - the age of the oldest that is not finished, or how long the last one took
 * @since_ns: of the oldest inside the program; 0: nothing is there.
 */
int64_t lt_lag_ns(const struct lt_lag *l, int64_t since_ns, int64_t now_ns, int64_t mono_ns);

#endif
