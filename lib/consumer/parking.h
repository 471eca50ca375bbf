/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONSUMER_PARKING_H
#define LATIDO_CONSUMER_PARKING_H

#include "latido/bus.h"
#include "latido/event.h"

/*
 * Messages whose announced shape is not known here yet. They wait until the source sends the
 * shape, the sink finds it, or their time is over (schema.md, "Shape announcement on MQTT").
 */

#define LT_PARK_NS         (2 * INT64_C(1000000000))
#define LT_PARK_PER_SOURCE 64
#define LT_PARK_TOTAL      4096

struct lt_parked {
	struct lt_parked *next;
	struct lt_bus_msg *msg;
	struct lt_origin origin;
	uint64_t hash;
	int64_t deadline_mono_ns;
	bool asked; /* the sink was asked for this shape */
};

struct lt_parking {
	struct lt_parked *head, **tail; /* oldest first */
	size_t n;
};

void lt_parking_init(struct lt_parking *p);
/** lt_parking_add() - Return: false when the source's or the total bound is reached; @m stays the caller's. */
bool lt_parking_add(
	struct lt_parking *p, struct lt_bus_msg *m, const struct lt_origin *origin, uint64_t hash);
/** lt_parking_take() - first message of @source with @hash, or of any with either wildcard
 * (NULL, 0). The caller frees the entry. */
struct lt_parked *lt_parking_take(struct lt_parking *p, const char *source, uint64_t hash);
/** lt_parking_expired() - first message whose time is over at @mono_ns, or NULL. */
struct lt_parked *lt_parking_expired(struct lt_parking *p, int64_t mono_ns);
/** lt_parking_unasked() - first message whose shape the sink was not asked for; marks it. */
struct lt_parked *lt_parking_unasked(struct lt_parking *p);

#endif
