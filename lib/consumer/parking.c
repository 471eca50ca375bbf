/* SPDX-License-Identifier: MIT */
#include "parking.h"

#include <string.h>

#include "latido/clock.h"

void lt_parking_init(struct lt_parking *p)
{
	p->head = NULL;
	p->tail = &p->head;
	p->n = 0;
}

bool lt_parking_add(
	struct lt_parking *p, struct lt_bus_msg *m, const struct lt_origin *origin, uint64_t hash)
{
	struct lt_parked *entry;
	size_t same = 0;
	bool asked = false;

	for (entry = p->head; entry; entry = entry->next) {
		if (strcmp(entry->origin.source, origin->source) != 0)
			continue;
		same++;
		asked |= entry->hash == hash;
	}
	if (same >= LT_PARK_PER_SOURCE || p->n >= LT_PARK_TOTAL)
		return false;
	entry = lt_calloc(1, sizeof(*entry));
	entry->msg = m;
	entry->origin = *origin;
	entry->origin.content_type = m->content_type;
	entry->hash = hash;
	entry->asked = asked;
	entry->deadline_mono_ns = lt_mono_ns() + LT_PARK_NS;
	*p->tail = entry;
	p->tail = &entry->next;
	p->n++;
	return true;
}

static struct lt_parked *unlink_at(struct lt_parking *p, struct lt_parked **at)
{
	struct lt_parked *entry = *at;

	*at = entry->next;
	if (p->tail == &entry->next)
		p->tail = at;
	entry->next = NULL;
	p->n--;
	return entry;
}

struct lt_parked *lt_parking_take(struct lt_parking *p, const char *source, uint64_t hash)
{
	for (struct lt_parked **at = &p->head; *at; at = &(*at)->next)
		if ((!source || strcmp((*at)->origin.source, source) == 0) &&
			(!hash || (*at)->hash == hash))
			return unlink_at(p, at);
	return NULL;
}

struct lt_parked *lt_parking_expired(struct lt_parking *p, int64_t mono_ns)
{
	/* In order of arrival, so the head is the first to expire. */
	if (p->head && p->head->deadline_mono_ns <= mono_ns)
		return unlink_at(p, &p->head);
	return NULL;
}

struct lt_parked *lt_parking_unasked(struct lt_parking *p)
{
	for (struct lt_parked *entry = p->head; entry; entry = entry->next) {
		if (entry->asked)
			continue;
		entry->asked = true;
		return entry;
	}
	return NULL;
}
