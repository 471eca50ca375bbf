/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONSUMER_PARKING_H
#define LATIDO_CONSUMER_PARKING_H

#include "latido/bus.h"
#include "latido/event.h"

/*
 * Messages whose announced shape is not known here yet. They wait until the source sends the
 * shape, the sink finds it, or their time is over. That time begins when the sink has answered
 * that it does not know the shape either: a sink that is away costs no message. While an answer is
 * due the consumer reads nothing more, so those messages need no bound of their own.
 */

#define LT_PARK_NS         (2 * INT64_C(1000000000))
#define LT_PARK_PER_SOURCE 64
#define LT_PARK_TOTAL      4096

/** enum lt_park_state - what the sink says of the shape; the same for all of one source and hash */
enum lt_park_state {
	LT_PARK_UNASKED = 0,
	LT_PARK_ASKED,
	LT_PARK_UNKNOWN,
};

struct lt_parked {
	struct lt_parked *next;
	struct lt_bus_msg *msg;
	struct lt_origin origin;
	uint64_t hash;
	enum lt_park_state state;
	int64_t deadline_mono_ns; /* once the sink does not know it */
	bool asks; /* when its time is over, the source is to be asked again: one of those alike */
};

struct lt_parking {
	struct lt_parked *head, **tail; /* oldest first */
	size_t n;
	size_t n_due; /* whose answer is due: unasked or asked */
	bool may_ask;
};

/** lt_parking_init() - @may_ask: whether the sink can be asked for shapes. */
void lt_parking_init(struct lt_parking *p, bool may_ask);
/**
 * lt_parking_add() - @m waits for the shape @hash.
 *
 * Return: false when the source's bound (LT_PARK_PER_SOURCE with a shape that the sink does not
 * know) or the total one is reached; @m stays the caller's.
 */
bool lt_parking_add(
	struct lt_parking *p, struct lt_bus_msg *m, const struct lt_origin *origin, uint64_t hash);
/** lt_parking_take() - first message of @source with @hash, or of any with either wildcard
 * (NULL, 0). The caller frees the entry. */
struct lt_parked *lt_parking_take(struct lt_parking *p, const char *source, uint64_t hash);
/** lt_parking_expired() - first message whose time is over at @mono_ns, or NULL. */
struct lt_parked *lt_parking_expired(struct lt_parking *p, int64_t mono_ns);
/** lt_parking_next_deadline() - when the next one is over; INT64_MAX: none waits for that. */
int64_t lt_parking_next_deadline(const struct lt_parking *p);
/** lt_parking_unasked() - first message whose shape the sink is to be asked for, or NULL. */
struct lt_parked *lt_parking_unasked(struct lt_parking *p);
/** lt_parking_set() - the new state of all of @source with @hash. */
void lt_parking_set(
	struct lt_parking *p, const char *source, uint64_t hash, enum lt_park_state state);

#endif
