/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_SENDER_H
#define LATIDO_AGENT_SENDER_H

#include "latido/bus.h"
#include "latido/config.h"
#include "latido/event.h"
#include "latido/spool.h"

/*
 * Events of one source from the spool to the store, and back the news of what it has.
 *
 * Every event goes to the spool and at the same time into a short queue in memory, from which it is
 * sent on .../metrics at once. What did not get away in time is the backlog: it is read from the
 * spool and sent on .../backlog, slower, beside the live events. Only an acknowledgement of the
 * store takes an event out of the spool (on a bus without retained messages: the bus's own).
 *
 * Sent again is what an acknowledgement shows as a hole although something sent two seconds later
 * has arrived, and everything, more and more slowly, while no acknowledgement comes at all. How much backlog may
 * be on its way grows with each acknowledgement and is halved with each loss, so that a thousand
 * agents that come back at once find out how much the broker carries.
 *
 * All on the loop's thread.
 */

struct lt_sender;

struct lt_sender_options {
	const struct lt_agent_conf *conf;
	const char *prefix; /* of the topics */
	const char *source;
	const char *run; /* of our status: names this process; borrowed */
	struct lt_loop *loop;
	void *arg;
	void (*epoch_changed)(void *arg); /* a new birth is due */
	void (*idle)(void *arg);          /* lt_sender_pending() may be 0 now */
};

/** lt_sender_new() - opens the spool. Return: NULL with @err. */
struct lt_sender *lt_sender_new(const struct lt_sender_options *opt, struct lt_err *err);
/** lt_sender_free() - writes what is in memory; the bus must be gone. Return: events lost. */
size_t lt_sender_free(struct lt_sender *s);
/** lt_sender_stats() - register metrics. */
void lt_sender_stats(struct lt_sender *s);

/** lt_sender_topics() - to subscribe to; borrowed. */
#define LT_SENDER_TOPICS 2
void lt_sender_topics(const struct lt_sender *s, const char *out[LT_SENDER_TOPICS]);
/** lt_sender_bus() - the bus to send on; it is not connected yet. */
void lt_sender_bus(struct lt_sender *s, struct lt_bus *bus);

/**
 * lt_sender_push() - take an event and send what can be sent
 * @e: without epoch and seq; they are set.
 * Return: LT_OK; LT_EFULL: it is larger than the spool's bounds allow.
 */
int lt_sender_push(struct lt_sender *s, struct lt_event *e, struct lt_err *err) LT_MUST_CHECK;

/* What the bus says. */
void lt_sender_state(struct lt_sender *s, bool connected);
void lt_sender_readable(struct lt_sender *s);
/** lt_sender_pump() - send what can be sent (also: writable). */
void lt_sender_pump(struct lt_sender *s);
/** lt_sender_delivered() - @token below LT_SENDER_TOKEN_END is ours. */
void lt_sender_delivered(struct lt_sender *s, uint64_t token, int code, const struct lt_err *err);
#define LT_SENDER_TOKEN_END (UINT64_C(1) << 63)

/** lt_sender_drain() - no more backlog; live events still go out. */
void lt_sender_drain(struct lt_sender *s);
/** lt_sender_pending() - live events that can be sent and are not; lt_bus_inflight() has the rest. */
size_t lt_sender_pending(const struct lt_sender *s);

uint64_t lt_sender_epoch(struct lt_sender *s);
uint64_t lt_sender_last_seq(struct lt_sender *s);
/** lt_sender_held() - events in the spool. */
uint64_t lt_sender_held(struct lt_sender *s);

#endif
