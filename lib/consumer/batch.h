/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONSUMER_BATCH_H
#define LATIDO_CONSUMER_BATCH_H

#include "latido/bus.h"
#include "latido/consumer.h"
#include "latido/event.h"

/** struct lt_msgs - list of held messages, in order, linked by ->next */
struct lt_msgs {
	struct lt_bus_msg *head, **tail;
	size_t n;
};

void lt_msgs_init(struct lt_msgs *l);
void lt_msgs_push(struct lt_msgs *l, struct lt_bus_msg *m);
struct lt_bus_msg *lt_msgs_pop(struct lt_msgs *l);
/** lt_msgs_remove() - Return: was @m in the list? */
bool lt_msgs_remove(struct lt_msgs *l, struct lt_bus_msg *m);

/** struct lt_spans - list of spans; see spans.h */
struct lt_spans {
	struct lt_bus_span *items;
	size_t n, cap;
};

/** struct lt_fill - a batch being filled or made durable: events, their memory, their messages */
struct lt_fill {
	struct lt_batch batch; /* what the sink sees */
	size_t cap;
	struct lt_arena arena;
	struct lt_msgs msgs;
	size_t bytes;
	struct lt_spans spans, gaps; /* batch.spans, batch.gaps */
	int64_t oldest_mono_ns;      /* of the first event or span; 0 when empty */
	int64_t since_ns;            /* the earliest of lt_fill_add(); 0 when empty */
};

/** lt_fill_empty() - nothing for the sink in it. */
bool lt_fill_empty(const struct lt_fill *f);

void lt_fill_init(struct lt_fill *f);
/**
 * lt_fill_add() - @first and its list come from @m, which now belongs to the batch
 * @since_ns: since when they wait, wall clock.
 */
void lt_fill_add(struct lt_fill *f, struct lt_event *first, struct lt_bus_msg *m, int64_t since_ns);
/**
 * lt_fill_poison() - take event @i out
 *
 * The other events of the same message (a JSON list) stay: they live in the arena.
 * Return: its message, which belongs to the caller now; NULL when an earlier event of the same
 * message was poison already.
 */
struct lt_bus_msg *lt_fill_poison(struct lt_fill *f, size_t i);
/** lt_fill_clear() - drop the references of the events and give their messages back to @bus. */
void lt_fill_clear(struct lt_fill *f, struct lt_bus *bus);
void lt_fill_fini(struct lt_fill *f, struct lt_bus *bus);

#endif
