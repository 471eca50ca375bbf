/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "notify_int.h"

static uint64_t hash_of(const char *s)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * UINT64_C(1099511628211);
	return h;
}

void message_free(struct message *m)
{
	if (!m)
		return;
	free(m->key);
	free(m->body);
	free(m);
}

struct message *queue_find(const struct queue *q, const char *key)
{
	uint64_t h = hash_of(key);
	struct message *m = q->cap ? q->slots[h & (q->cap - 1)] : NULL;

	while (m && (m->hash != h || strcmp(m->key, key)))
		m = m->chain;
	return m;
}

static void link_slot(struct queue *q, struct message *m)
{
	struct message **slot = &q->slots[m->hash & (q->cap - 1)];

	m->chain = *slot;
	*slot = m;
}

static void enter(struct queue *q, struct message *m)
{
	m->hash = hash_of(m->key);
	if (q->n == q->cap) {
		q->cap = q->cap ? 2 * q->cap : 64;
		free(q->slots);
		q->slots = lt_calloc(q->cap, sizeof(struct message *));
		for (struct message *old = q->first; old; old = old->next)
			link_slot(q, old);
	}
	link_slot(q, m);
	q->n++;
	q->bytes += m->len;
}

void queue_push(struct queue *q, struct message *m)
{
	enter(q, m);
	m->prev = q->last;
	m->next = NULL;
	if (q->last)
		q->last->next = m;
	else
		q->first = m;
	q->last = m;
}

void queue_unshift(struct queue *q, struct message *m)
{
	enter(q, m);
	m->next = q->first;
	m->prev = NULL;
	if (q->first)
		q->first->prev = m;
	else
		q->last = m;
	q->first = m;
}

void queue_remove(struct queue *q, struct message *m)
{
	struct message **slot = &q->slots[m->hash & (q->cap - 1)];

	while (*slot != m)
		slot = &(*slot)->chain;
	*slot = m->chain;
	if (m->prev)
		m->prev->next = m->next;
	else
		q->first = m->next;
	if (m->next)
		m->next->prev = m->prev;
	else
		q->last = m->prev;
	q->n--;
	q->bytes -= m->len;
}

void queue_fini(struct queue *q)
{
	for (struct message *m = q->first, *next; m; m = next) {
		next = m->next;
		message_free(m);
	}
	free(q->slots);
	*q = (struct queue){0};
}
