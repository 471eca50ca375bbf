/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_PUBLISH_H
#define LATIDO_ALERT_PUBLISH_H

#include "latido/bus.h"
#include "latido/stats.h"

/* From the engine's thread to the bus: a bounded queue that the loop's thread empties. */

struct lt_publish_info {
	struct lt_gauge waiting;
	struct lt_counter published, dropped, refused;
};

struct lt_publisher;

struct lt_publisher *lt_publisher_new(
	struct lt_loop *loop, size_t queue_max, struct lt_publish_info *info, struct lt_err *err);
void lt_publisher_free(struct lt_publisher *p);
/** lt_publisher_bus() - where to; NULL: nowhere any more. Loop thread. */
void lt_publisher_bus(struct lt_publisher *p, struct lt_bus *bus);
/** lt_publisher_flush() - the bus takes messages again. Loop thread. */
void lt_publisher_flush(struct lt_publisher *p);
/** lt_publisher_empty() - is everything with the bus? Loop thread. */
bool lt_publisher_empty(struct lt_publisher *p);

/**
 * lt_publisher_put() - any thread, never blocks
 * @size: 0: an empty message, which clears a retained one (Kafka: a tombstone).
 * @retain: where the bus has retained messages.
 */
void lt_publisher_put(
	struct lt_publisher *p, const char *topic, const void *data, size_t size, bool retain);

#endif
