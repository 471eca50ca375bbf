/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BRIDGE_HAVE_H
#define LATIDO_BRIDGE_HAVE_H

#include "latido/ack.h"
#include "latido/event.h"
#include "latido/outbox.h"

/*
 * What Kafka has of the newest epoch of each source, by this bridge's deliveries and by what
 * acknowledgements say, and the acknowledgements that say so. Loop thread.
 */

struct lt_have;

struct lt_have *lt_have_new(const char *prefix);
void lt_have_free(struct lt_have *h);

/** lt_have_has() - whether Kafka has this event; false also when it cannot be known any more. */
bool lt_have_has(const struct lt_have *h, const struct lt_origin *o, uint64_t epoch, uint64_t seq);
/**
 * lt_have_add() - Kafka has reported it
 * @oldest_seq: of the event: what lies below will not be asked for again.
 */
void lt_have_add(struct lt_have *h, const struct lt_origin *o, uint64_t epoch, uint64_t seq,
	uint64_t oldest_seq);
/** lt_have_repeat() - it was sent although Kafka has it: its source does not know that. */
void lt_have_repeat(struct lt_have *h, const struct lt_origin *o);
/** lt_have_told() - the acknowledgement that the broker has now: ours, or of another bridge. */
void lt_have_told(struct lt_have *h, const struct lt_origin *o, const struct lt_ack *a);

/** lt_have_reading() - acknowledgements are being read from the broker: none is published. */
void lt_have_reading(struct lt_have *h);
/** lt_have_read() - all have been told; those that the broker has not are to be published. */
void lt_have_read(struct lt_have *h);

/** lt_have_flush() - hand over the acknowledgements that are due. */
void lt_have_flush(struct lt_have *h, struct lt_outbox *out);
/** lt_have_due() - some are due, or are being read. */
bool lt_have_due(const struct lt_have *h);
size_t lt_have_sources(const struct lt_have *h);

#endif
