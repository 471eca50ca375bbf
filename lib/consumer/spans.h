/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONSUMER_SPANS_H
#define LATIDO_CONSUMER_SPANS_H

#include <stdbool.h>

#include "batch.h"

/*
 * For sinks that keep their positions: which offsets of which partition were taken from the bus,
 * and which of them the batches stand for: from where reading began, or the end of the batch before
 * (-1: from the oldest), to behind the last message; so spans follow each other without holes. After a rebalance messages come again that are still
 * held; they are recognised here.
 */

/** lt_spans_find() - of @s's partition, or NULL. */
struct lt_bus_span *lt_spans_find(const struct lt_spans *l, const struct lt_bus_span *s);
struct lt_bus_span *lt_spans_add(struct lt_spans *l, const struct lt_bus_span *s);
void lt_spans_fini(struct lt_spans *l);

/**
 * lt_spans_take() - @m was polled and will be part of @f
 * @seen: of the consumer: .next is what comes next in each partition.
 *
 * Return: false: a batch has it already, it is to be dropped.
 */
bool lt_spans_take(struct lt_spans *seen, struct lt_fill *f, const struct lt_bus_msg *m);
/** lt_spans_lost() - the bus goes on at gap->next, which may lie below what was seen. */
void lt_spans_lost(struct lt_spans *seen, struct lt_fill *f, const struct lt_bus_span *gap);
/** lt_spans_seek() - partitions are read again from .first; batches that hold some stay valid. */
void lt_spans_seek(struct lt_spans *seen, const struct lt_fill *a, const struct lt_fill *b,
	const struct lt_bus_span *parts, size_t n);

#endif
