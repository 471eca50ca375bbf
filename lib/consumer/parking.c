/* SPDX-License-Identifier: MIT */
#include "parking.h"

#include <string.h>

#include "latido/clock.h"

void lt_parking_init(struct lt_parking *p, bool may_ask)
{
	*p = (struct lt_parking){.may_ask = may_ask};
	p->tail = &p->head;
}

static bool is_of(const struct lt_parked *e, const char *source)
{
	return strcmp(e->origin.source, source) == 0;
}

static void set_state(struct lt_parking *p, struct lt_parked *e, enum lt_park_state state)
{
	p->n_due -= e->state != LT_PARK_UNKNOWN;
	p->n_due += state != LT_PARK_UNKNOWN;
	e->state = state;
	e->deadline_mono_ns = lt_mono_ns() + LT_PARK_NS;
}

bool lt_parking_add(
	struct lt_parking *p, struct lt_bus_msg *m, const struct lt_origin *origin, uint64_t hash)
{
	enum lt_park_state state = p->may_ask ? LT_PARK_UNASKED : LT_PARK_UNKNOWN;
	struct lt_parked *entry;
	size_t unknown = 0;
	bool asked = false;

	for (entry = p->head; entry; entry = entry->next) {
		if (!is_of(entry, origin->source))
			continue;
		unknown += entry->state == LT_PARK_UNKNOWN;
		if (entry->hash == hash)
			state = entry->state;
		asked = asked || (entry->hash == hash && entry->asks);
	}
	if (unknown >= LT_PARK_PER_SOURCE || p->n >= LT_PARK_TOTAL)
		return false;
	entry = lt_calloc(1, sizeof(*entry));
	entry->msg = m;
	entry->origin = *origin;
	entry->origin.content_type = m->content_type;
	entry->hash = hash;
	entry->asks = state == LT_PARK_UNKNOWN && !asked;
	p->n_due++; /* as the initial state has it */
	set_state(p, entry, state);
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
	p->n_due -= entry->state != LT_PARK_UNKNOWN;
	return entry;
}

struct lt_parked *lt_parking_take(struct lt_parking *p, const char *source, uint64_t hash)
{
	for (struct lt_parked **at = &p->head; *at; at = &(*at)->next)
		if ((!source || is_of(*at, source)) && (!hash || (*at)->hash == hash))
			return unlink_at(p, at);
	return NULL;
}

struct lt_parked *lt_parking_expired(struct lt_parking *p, int64_t mono_ns)
{
	for (struct lt_parked **at = &p->head; *at; at = &(*at)->next)
		if ((*at)->state == LT_PARK_UNKNOWN && (*at)->deadline_mono_ns <= mono_ns)
			return unlink_at(p, at);
	return NULL;
}

int64_t lt_parking_next_deadline(const struct lt_parking *p)
{
	int64_t next = INT64_MAX;

	for (const struct lt_parked *e = p->head; e; e = e->next)
		if (e->state == LT_PARK_UNKNOWN && e->deadline_mono_ns < next)
			next = e->deadline_mono_ns;
	return next;
}

struct lt_parked *lt_parking_unasked(struct lt_parking *p)
{
	for (struct lt_parked *e = p->head; e; e = e->next)
		if (e->state == LT_PARK_UNASKED)
			return e;
	return NULL;
}

void lt_parking_set(
	struct lt_parking *p, const char *source, uint64_t hash, enum lt_park_state state)
{
	for (struct lt_parked *e = p->head; e; e = e->next)
		if (e->hash == hash && is_of(e, source))
			set_state(p, e, state);
}
