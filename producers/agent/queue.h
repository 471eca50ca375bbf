/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_QUEUE_H
#define LATIDO_AGENT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/event.h"
#include "latido/mem.h"

/**
 * struct lt_agent_queue - events of one epoch that the broker has not acknowledged, in memory
 *
 * Bounded in bytes; when it is full the oldest that is not being sent is dropped and counted. This
 * is the place where the spool on disk will stand: push, peek, sent, acknowledged, oldest_seq are
 * what the agent asks of either.
 *
 * An event is encoded once, without its shape, which many share; the shape is put in while sending,
 * where it is wanted (lt_agent_entry_payload()).
 */
struct lt_agent_queue;

/** struct lt_queued_shape - the bytes of a shape, shared by the events that have it */
struct lt_queued_shape {
	size_t refs;
	uint64_t hash;
	size_t size;
	uint8_t bytes[];
};

/** struct lt_agent_entry - one event */
struct lt_agent_entry {
	uint64_t seq;
	bool in_flight;                /* the bus has it */
	struct lt_queued_shape *shape; /* NULL: body is all (JSON) */
	struct lt_agent_entry *next;
	size_t size;
	uint8_t body[];
};

struct lt_agent_queue *lt_agent_queue_new(size_t max_bytes);
void lt_agent_queue_free(struct lt_agent_queue *q);

/**
 * lt_agent_queue_push() - append one encoded event
 * @seq: larger than any before.
 * @shape: with a protobuf @body that refers to it by hash; NULL: @body is complete.
 *
 * Return: how many events had to be dropped for it; when it is larger than the queue, it is one of
 * them itself.
 */
size_t lt_agent_queue_push(struct lt_agent_queue *q, uint64_t seq, const void *body, size_t size,
	const struct lt_shape *shape);

/** lt_agent_queue_next() - the oldest that was not sent yet, or NULL. */
struct lt_agent_entry *lt_agent_queue_next(struct lt_agent_queue *q);

/**
 * lt_agent_queue_may_send() - whether @e may be given to the bus now
 *
 * At most half of the queue is in flight (or one event), so that there is something to drop other
 * than what the bus will deliver anyway.
 */
bool lt_agent_queue_may_send(const struct lt_agent_queue *q, const struct lt_agent_entry *e);
/** lt_agent_queue_sent() - the bus has accepted @e, which was lt_agent_queue_next(). */
void lt_agent_queue_sent(struct lt_agent_queue *q, struct lt_agent_entry *e);
/** lt_agent_queue_acknowledged() - remove @seq; unknown ones are ignored. Return: whether it was there. */
bool lt_agent_queue_acknowledged(struct lt_agent_queue *q, uint64_t seq);

/** lt_agent_queue_oldest_seq() - of what can still be sent; 0: empty. */
uint64_t lt_agent_queue_oldest_seq(const struct lt_agent_queue *q);
size_t lt_agent_queue_events(const struct lt_agent_queue *q);
size_t lt_agent_queue_bytes(const struct lt_agent_queue *q);

/** lt_agent_entry_payload() - the bytes to send, into @out (emptied first). */
void lt_agent_entry_payload(const struct lt_agent_entry *e, bool inline_shape, struct lt_buf *out);

#endif
