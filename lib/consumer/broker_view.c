/* SPDX-License-Identifier: MIT */
#include "broker_view.h"

#include <string.h>

#define DIGITS_MAX 18

const char *const lt_broker_topics[LT_BROKER_FIGURES] = {
	[LT_BROKER_STORED] = "$SYS/broker/store/messages/count",
	[LT_BROKER_RETAINED] = "$SYS/broker/retained messages/count",
	[LT_BROKER_DROPPED] = "$SYS/broker/publish/messages/dropped",
};

static bool parse(const struct lt_bus_msg *m, uint64_t *v)
{
	const char *s = m->data;

	*v = 0;
	if (m->size == 0 || m->size > DIGITS_MAX)
		return false;
	for (size_t i = 0; i < m->size; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		*v = *v * 10 + (uint64_t)(s[i] - '0');
	}
	return true;
}

/*
 * Mosquitto publishes a figure when it has changed, and 2.0 retains it for a minute. So the first
 * one is either retained (where we begin to count) or new: it has risen, nobody knows from where.
 */
static void count_drops(struct lt_broker_view *v, uint64_t now, bool retained)
{
	uint64_t before = v->value[LT_BROKER_DROPPED];

	if (v->known[LT_BROKER_DROPPED])
		v->dropped += now >= before ? now - before : now; /* else it was restarted */
	else if (!retained && now)
		v->dropped++;
}

void lt_broker_view_take(struct lt_broker_view *v, const struct lt_bus_msg *m)
{
	uint64_t now;

	for (size_t i = 0; i < LT_BROKER_FIGURES; i++) {
		if (strcmp(m->topic, lt_broker_topics[i]) != 0 || !parse(m, &now))
			continue;
		if (i == LT_BROKER_DROPPED)
			count_drops(v, now, m->retained);
		v->known[i] = true;
		v->value[i] = now;
		v->told = true;
	}
}

void lt_broker_view_lost(struct lt_broker_view *v)
{
	v->known[LT_BROKER_STORED] = v->known[LT_BROKER_RETAINED] = false;
}

int64_t lt_broker_view_queued(const struct lt_broker_view *v)
{
	uint64_t stored = v->value[LT_BROKER_STORED], retained = v->value[LT_BROKER_RETAINED];

	if (!v->known[LT_BROKER_STORED] || !v->known[LT_BROKER_RETAINED])
		return -1;
	/* The two are not of one instant: what is retained may be ahead. */
	return stored > retained ? (int64_t)(stored - retained) : 0;
}
