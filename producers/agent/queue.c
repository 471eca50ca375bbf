/* SPDX-License-Identifier: MIT */
#include "queue.h"

#include <stdlib.h>
#include <string.h>

struct lt_agent_queue {
	size_t max_bytes, bytes, in_flight_bytes, events;
	struct lt_agent_entry *first, *last;
	struct lt_agent_entry *unsent; /* the oldest; those before it are in flight */
	struct lt_queued_shape *shape; /* of the newest; one reference */
};

static size_t cost(const struct lt_agent_entry *e)
{
	return sizeof(*e) + e->size;
}

static void shape_put(struct lt_agent_queue *q, struct lt_queued_shape *s)
{
	if (!s || --s->refs > 0)
		return;
	q->bytes -= sizeof(*s) + s->size;
	free(s);
}

static struct lt_queued_shape *shape_get(struct lt_agent_queue *q, const struct lt_shape *shape)
{
	struct lt_queued_shape *s = q->shape;

	if (!s || s->hash != shape->hash || s->size != shape->size ||
		memcmp(s->bytes, shape->bytes, s->size) != 0) {
		shape_put(q, q->shape);
		s = lt_malloc(sizeof(*s) + shape->size);
		s->refs = 1; /* ours, until the next shape */
		s->hash = shape->hash;
		s->size = shape->size;
		memcpy(s->bytes, shape->bytes, shape->size);
		q->shape = s;
		q->bytes += sizeof(*s) + s->size;
	}
	s->refs++;
	return s;
}

struct lt_agent_queue *lt_agent_queue_new(size_t max_bytes)
{
	struct lt_agent_queue *q = lt_calloc(1, sizeof(*q));

	q->max_bytes = max_bytes;
	return q;
}

/* @prev: the entry before @e, or NULL. */
static void remove_entry(
	struct lt_agent_queue *q, struct lt_agent_entry *prev, struct lt_agent_entry *e)
{
	if (prev)
		prev->next = e->next;
	else
		q->first = e->next;
	if (q->last == e)
		q->last = prev;
	if (q->unsent == e)
		q->unsent = e->next;
	q->bytes -= cost(e);
	if (e->in_flight)
		q->in_flight_bytes -= cost(e);
	q->events--;
	shape_put(q, e->shape);
	free(e);
}

void lt_agent_queue_free(struct lt_agent_queue *q)
{
	if (!q)
		return;
	while (q->first)
		remove_entry(q, NULL, q->first);
	shape_put(q, q->shape);
	free(q);
}

static struct lt_agent_entry *before(const struct lt_agent_queue *q, const struct lt_agent_entry *e)
{
	struct lt_agent_entry *prev = NULL;

	for (struct lt_agent_entry *x = q->first; x != e; x = x->next)
		prev = x;
	return prev;
}

size_t lt_agent_queue_push(struct lt_agent_queue *q, uint64_t seq, const void *body, size_t size,
	const struct lt_shape *shape)
{
	struct lt_agent_entry *e = lt_malloc(sizeof(*e) + size);
	size_t dropped = 0;

	*e = (struct lt_agent_entry){.seq = seq, .size = size};
	memcpy(e->body, body, size);
	e->shape = shape ? shape_get(q, shape) : NULL;
	if (q->last)
		q->last->next = e;
	else
		q->first = e;
	q->last = e;
	if (!q->unsent)
		q->unsent = e;
	q->bytes += cost(e);
	q->events++;
	while (q->bytes > q->max_bytes && q->unsent) {
		remove_entry(q, before(q, q->unsent), q->unsent);
		dropped++;
	}
	return dropped;
}

struct lt_agent_entry *lt_agent_queue_next(struct lt_agent_queue *q)
{
	return q->unsent;
}

bool lt_agent_queue_may_send(const struct lt_agent_queue *q, const struct lt_agent_entry *e)
{
	return q->in_flight_bytes == 0 || q->in_flight_bytes + cost(e) <= q->max_bytes / 2;
}

void lt_agent_queue_sent(struct lt_agent_queue *q, struct lt_agent_entry *e)
{
	e->in_flight = true;
	q->in_flight_bytes += cost(e);
	q->unsent = e->next;
}

bool lt_agent_queue_acknowledged(struct lt_agent_queue *q, uint64_t seq)
{
	struct lt_agent_entry *prev = NULL;

	/* Nearly always the first: brokers acknowledge in order. */
	for (struct lt_agent_entry *e = q->first; e && e->seq <= seq; prev = e, e = e->next) {
		if (e->seq != seq)
			continue;
		remove_entry(q, prev, e);
		return true;
	}
	return false;
}

uint64_t lt_agent_queue_oldest_seq(const struct lt_agent_queue *q)
{
	return q->first ? q->first->seq : 0;
}

size_t lt_agent_queue_events(const struct lt_agent_queue *q)
{
	return q->events;
}

size_t lt_agent_queue_bytes(const struct lt_agent_queue *q)
{
	return q->bytes;
}

/* Fields of a protobuf message may come in any order, so the shape goes behind the rest. */
#define SHAPE_TAG (6 << 3 | 2) /* Event.shape, length-delimited */

void lt_agent_entry_payload(const struct lt_agent_entry *e, bool inline_shape, struct lt_buf *out)
{
	lt_buf_reset(out);
	lt_buf_add(out, e->body, e->size);
	if (!e->shape || !inline_shape)
		return;
	lt_buf_char(out, SHAPE_TAG);
	for (uint64_t n = e->shape->size;; n >>= 7) {
		lt_buf_char(out, (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
		if (n <= 0x7f)
			break;
	}
	lt_buf_add(out, e->shape->bytes, e->shape->size);
}
