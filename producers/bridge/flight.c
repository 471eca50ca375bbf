/* SPDX-License-Identifier: MIT */
#include "flight.h"

#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"

/* What a message costs beside its bytes. */
#define OVERHEAD_BYTES 512

struct lt_bridge_stats lt_bridge_stats;

static const struct lt_flights *shown;
static const struct lt_have *shown_have;

void lt_flights_init(struct lt_flights *l)
{
	*l = (struct lt_flights){0};
	l->waiting_end = &l->waiting;
}

struct lt_flight *lt_flight_begin(struct lt_flights *l, struct lt_bus_msg *m,
	const struct lt_origin *o, const struct lt_event *first)
{
	struct lt_flight *f;
	size_t n = 0;

	for (const struct lt_event *e = first; e; e = e->next)
		n += e->seq > 0;
	f = lt_malloc(sizeof(*f) + n * sizeof(f->ids[0]));
	*f = (struct lt_flight){.msg = m, .origin = *o, .mono_ns = lt_mono_ns(), .prev = l->last};
	f->origin.content_type = NULL;
	for (const struct lt_event *e = first; e; e = e->next) {
		if (!e->seq)
			continue;
		f->ids[f->n].epoch = e->epoch;
		f->ids[f->n].seq = e->seq;
		f->ids[f->n++].oldest_seq = e->oldest_seq;
	}
	f->bytes = m->size + strlen(m->topic) + n * sizeof(f->ids[0]) + OVERHEAD_BYTES;
	*(l->last ? &l->last->next : &l->first) = f;
	l->last = f;
	l->n++;
	l->bytes += f->bytes;
	return f;
}

void lt_flight_end(struct lt_flights *l, struct lt_flight *f)
{
	*(f->prev ? &f->prev->next : &l->first) = f->next;
	*(f->next ? &f->next->prev : &l->last) = f->prev;
	l->n--;
	l->bytes -= f->bytes;
	free(f);
}

void lt_flight_wait(struct lt_flights *l, struct lt_flight *f, bool first)
{
	if (first) {
		f->next_waiting = l->waiting;
		if (!l->waiting)
			l->waiting_end = &f->next_waiting;
		l->waiting = f;
		return;
	}
	f->next_waiting = NULL;
	*l->waiting_end = f;
	l->waiting_end = &f->next_waiting;
}

struct lt_flight *lt_flight_waiting(struct lt_flights *l)
{
	struct lt_flight *f = l->waiting;

	if (!f)
		return NULL;
	l->waiting = f->next_waiting;
	if (!l->waiting)
		l->waiting_end = &l->waiting;
	return f;
}

struct lt_flight *lt_flight_any(struct lt_flights *l)
{
	l->waiting = NULL;
	l->waiting_end = &l->waiting;
	return l->first;
}

/* ---- /metrics ---- */

static double in_flight(void *p)
{
	(void)p;
	return shown ? (double)shown->n : 0;
}

static double in_flight_bytes(void *p)
{
	(void)p;
	return shown ? (double)shown->bytes : 0;
}

static double lag_seconds(void *p)
{
	(void)p;
	return shown && shown->first ? (double)(lt_mono_ns() - shown->first->mono_ns) / LT_NS_PER_S
				     : 0;
}

static double sources(void *p)
{
	(void)p;
	return shown_have ? (double)lt_have_sources(shown_have) : 0;
}

#define REJECTED(r, word)                                                                        \
	{                                                                                        \
		"latido_bridge_rejected_total", LT_STAT_COUNTER, "reason=\"" word "\"",          \
			"Messages dead-lettered, by reason.", &lt_bridge_stats.rejected[r], NULL \
	}

static const struct lt_stat stat_table[] = {
	{"latido_bridge_messages_total", LT_STAT_COUNTER, NULL,
		"Messages taken from MQTT, and from what an earlier life left in the inbox.",
		&lt_bridge_stats.messages, NULL},
	{"latido_bridge_bytes_total", LT_STAT_COUNTER, NULL, "Their payload.",
		&lt_bridge_stats.bytes, NULL},
	{"latido_bridge_delivered_total", LT_STAT_COUNTER, NULL,
		"Messages that Kafka has reported.", &lt_bridge_stats.delivered, NULL},
	{"latido_bridge_known_total", LT_STAT_COUNTER, NULL,
		"Messages not forwarded because Kafka has them already.", &lt_bridge_stats.known,
		NULL},
	{"latido_bridge_refused_total", LT_STAT_COUNTER, NULL,
		"Messages that Kafka refused for good; they are dead-lettered.",
		&lt_bridge_stats.refused, NULL},
	REJECTED(LT_REASON_DECODE, "decode"),
	REJECTED(LT_REASON_SHAPE_MISMATCH, "shape_mismatch"),
	REJECTED(LT_REASON_SOURCE_MISMATCH, "source_mismatch"),
	REJECTED(LT_REASON_TOO_LARGE, "too_large"),
	REJECTED(LT_REASON_LIMITS, "limits"),
	REJECTED(LT_REASON_TIME_RANGE, "time_range"),
	REJECTED(LT_REASON_CONFLICT, "conflict"),
	{"latido_bridge_deadletters_refused_total", LT_STAT_COUNTER, NULL,
		"Dead letters that Kafka refused for good: their messages are lost.",
		&lt_bridge_stats.refused_letters, NULL},
	{"latido_bridge_inflight_messages", LT_STAT_GAUGE_FN, NULL,
		"Messages received and not yet reported by Kafka.", NULL, in_flight},
	{"latido_bridge_inflight_bytes", LT_STAT_GAUGE_FN, NULL, "Their memory.", NULL,
		in_flight_bytes},
	{"latido_bridge_lag_seconds", LT_STAT_GAUGE_FN, NULL, "Age of the oldest of them.", NULL,
		lag_seconds},
	{"latido_bridge_delivery_seconds", LT_STAT_HIST, NULL,
		"From taking a message to Kafka's report.", &lt_bridge_stats.seconds, NULL},
	{"latido_bridge_sources_refused_total", LT_STAT_COUNTER, NULL,
		"Events of sources beyond those that can be known: forwarded, not acknowledged.",
		&lt_bridge_stats.overfull, NULL},
	{"latido_bridge_self_events_total", LT_STAT_COUNTER, NULL,
		"Events of these figures that were published (bus.self_interval).",
		&lt_bridge_stats.self.events, NULL},
	{"latido_bridge_self_dropped_total", LT_STAT_COUNTER, NULL,
		"Events of these figures that the bus did not take.", &lt_bridge_stats.self.dropped,
		NULL},
	{"latido_bridge_sources", LT_STAT_GAUGE_FN, NULL,
		"Sources whose acknowledgements are known.", NULL, sources},
};

void lt_bridge_stats_add(const struct lt_flights *l, const struct lt_have *h)
{
	shown = l;
	shown_have = h;
	lt_stats_add(stat_table, LT_ARRAY_LEN(stat_table));
}

void lt_bridge_stats_end(void)
{
	shown = NULL;
	shown_have = NULL;
}
