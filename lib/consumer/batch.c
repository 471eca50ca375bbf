/* SPDX-License-Identifier: MIT */
#include "batch.h"

#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"

void lt_msgs_init(struct lt_msgs *l)
{
	l->head = NULL;
	l->tail = &l->head;
	l->n = 0;
}

void lt_msgs_push(struct lt_msgs *l, struct lt_bus_msg *m)
{
	m->next = NULL;
	*l->tail = m;
	l->tail = &m->next;
	l->n++;
}

struct lt_bus_msg *lt_msgs_pop(struct lt_msgs *l)
{
	struct lt_bus_msg *m = l->head;

	if (m)
		lt_msgs_remove(l, m);
	return m;
}

bool lt_msgs_remove(struct lt_msgs *l, struct lt_bus_msg *m)
{
	for (struct lt_bus_msg **at = &l->head; *at; at = &(*at)->next) {
		if (*at != m)
			continue;
		*at = m->next;
		if (l->tail == &m->next)
			l->tail = at;
		m->next = NULL;
		l->n--;
		return true;
	}
	return false;
}

void lt_fill_init(struct lt_fill *f)
{
	memset(f, 0, sizeof(*f));
	lt_msgs_init(&f->msgs);
}

void lt_fill_add(struct lt_fill *f, struct lt_event *first, struct lt_bus_msg *m, int64_t since_ns)
{
	if (!f->oldest_mono_ns)
		f->oldest_mono_ns = lt_mono_ns();
	if (!f->since_ns || since_ns < f->since_ns)
		f->since_ns = since_ns;
	for (struct lt_event *e = first; e; e = e->next) {
		if (f->batch.n == f->cap) {
			f->cap = f->cap ? f->cap * 2 : 256;
			f->batch.events =
				lt_realloc(f->batch.events, f->cap * sizeof(*f->batch.events));
		}
		e->msg = m;
		f->batch.events[f->batch.n++] = e;
	}
	f->bytes += m->size;
	lt_msgs_push(&f->msgs, m);
}

/* The list links of the events are only needed until they are in the batch. */
static void release_event(struct lt_event *e)
{
	e->next = NULL;
	lt_events_release(e);
}

struct lt_bus_msg *lt_fill_poison(struct lt_fill *f, size_t i)
{
	struct lt_event *e = f->batch.events[i];
	struct lt_bus_msg *m = e->msg;

	if (!lt_msgs_remove(&f->msgs, m))
		m = NULL;
	release_event(e);
	f->batch.n--;
	memmove(f->batch.events + i, f->batch.events + i + 1,
		(f->batch.n - i) * sizeof(*f->batch.events));
	return m;
}

bool lt_fill_empty(const struct lt_fill *f)
{
	return f->batch.n == 0 && f->spans.n == 0;
}

void lt_fill_clear(struct lt_fill *f, struct lt_bus *bus)
{
	struct lt_bus_msg *m;

	for (size_t i = 0; i < f->batch.n; i++)
		release_event(f->batch.events[i]);
	while ((m = lt_msgs_pop(&f->msgs)))
		lt_bus_done(bus, m);
	f->batch.n = f->batch.n_spans = f->batch.n_gaps = 0;
	f->spans.n = f->gaps.n = 0;
	f->bytes = 0;
	f->oldest_mono_ns = 0;
	f->since_ns = 0;
	lt_arena_reset(&f->arena);
}

void lt_fill_fini(struct lt_fill *f, struct lt_bus *bus)
{
	lt_fill_clear(f, bus);
	lt_arena_fini(&f->arena);
	free(f->spans.items);
	free(f->gaps.items);
	free(f->batch.events);
}
