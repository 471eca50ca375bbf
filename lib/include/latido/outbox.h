/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_OUTBOX_H
#define LATIDO_OUTBOX_H

#include "latido/consumer.h"
#include "latido/log.h"

/* What a sink wants published, see lt_outbox_put(). All below on the loop's thread. */

#define LT_OUTBOX_TOKEN UINT64_MAX /* of its delivery reports */
#define LT_OUTBOX_MAX   (1 << 17)  /* topics that are known; a further one is dropped and counted */

struct lt_outbox *lt_outbox_new(struct lt_loop *loop);
void lt_outbox_free(struct lt_outbox *b);
/** lt_outbox_bus() - where to; NULL: nowhere (any more). */
void lt_outbox_bus(struct lt_outbox *b, struct lt_bus *bus);
/** lt_outbox_forgotten() - connected, and the broker did not know our session. */
void lt_outbox_forgotten(struct lt_outbox *b);
/** lt_outbox_earn() - @messages were consumed. */
void lt_outbox_earn(struct lt_outbox *b, size_t messages);
/** lt_outbox_flush() - publish what may be published; @all: whatever it costs (draining). */
void lt_outbox_flush(struct lt_outbox *b, bool all);
/**
 * lt_outbox_need_shape() - ask an agent to send the names and labels that it announced as @hash
 *
 * At once, and not retained: what is not answered is asked again when more of it comes.
 */
void lt_outbox_need_shape(
	struct lt_outbox *b, const char *prefix, const char *source, uint64_t hash);
/** lt_outbox_empty() - none waits for its turn. */
bool lt_outbox_empty(struct lt_outbox *b);
/** lt_outbox_stats() - register metrics; once a process. */
void lt_outbox_stats(struct lt_outbox *b);

#endif
