/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "sender_int.h"

static double figure_live(void *p)
{
	return (double)lt_agent_queue_events(((struct lt_sender *)p)->live);
}

static double figure_live_bytes(void *p)
{
	return (double)lt_agent_queue_bytes(((struct lt_sender *)p)->live);
}

static double figure_window(void *p)
{
	return (double)((struct lt_sender *)p)->window;
}

static double figure_unacked(void *p)
{
	const struct lt_sender *s = p;

	return (double)(lt_ranges_count(&s->sent_live, 1, UINT64_MAX) + s->n_backlog);
}

void lt_sender_stats(struct lt_sender *s)
{
	static struct lt_stat table[17];
	const struct lt_stat rows[LT_ARRAY_LEN(table)] = {
		{"latido_agent_events_sent_total", LT_STAT_COUNTER, "topic=\"metrics\"",
			"Events handed to the bus, first time or again.", &s->live_sent, NULL},
		{"latido_agent_events_sent_total", LT_STAT_COUNTER, "topic=\"backlog\"",
			"Events handed to the bus, first time or again.", &s->backlog_sent, NULL},
		{"latido_agent_events_resent_total", LT_STAT_COUNTER, NULL,
			"Events given up as lost on the way, to be sent again.", &s->resent, NULL},
		{"latido_agent_events_delivered_total", LT_STAT_COUNTER, NULL,
			"Events that the broker has acknowledged.", &s->delivered, NULL},
		{"latido_agent_events_dropped_total", LT_STAT_COUNTER, "reason=\"refused\"",
			"Events lost before the broker had them.", &s->refused, NULL},
		{"latido_agent_published_bytes_total", LT_STAT_COUNTER, NULL,
			"Payload bytes of events handed to the bus.", &s->bytes, NULL},
		{"latido_agent_acks_total", LT_STAT_COUNTER, NULL,
			"Acknowledgements received from the store.", &s->acks, NULL},
		{"latido_agent_acks_invalid_total", LT_STAT_COUNTER, NULL,
			"Acknowledgements that could not be read.", &s->bad_acks, NULL},
		{"latido_agent_ack_stalls_total", LT_STAT_COUNTER, NULL,
			"Times that the store was silent for too long.", &s->stalls, NULL},
		{"latido_agent_epochs_total", LT_STAT_COUNTER, NULL,
			"New epochs begun while running.", &s->epochs, NULL},
		{"latido_agent_twins_total", LT_STAT_COUNTER, NULL,
			"Times that another agent with this source was seen.", &s->twins, NULL},
		{"latido_agent_shape_requests_total", LT_STAT_COUNTER, NULL,
			"Times that the store asked for names and labels.", &s->shapes_asked, NULL},
		{"latido_agent_queue_events", LT_STAT_GAUGE_FN, NULL,
			"Live events that wait to be sent.", s, figure_live},
		{"latido_agent_queue_bytes", LT_STAT_GAUGE_FN, NULL,
			"Memory of live events that wait to be sent.", s, figure_live_bytes},
		{"latido_agent_events_late_total", LT_STAT_COUNTER, NULL,
			"Events that could not be sent at once and became backlog.", &s->live_late,
			NULL},
		{"latido_agent_unacked_events", LT_STAT_GAUGE_FN, NULL,
			"Events sent and not yet acknowledged by the store.", s, figure_unacked},
		{"latido_agent_backlog_window", LT_STAT_GAUGE_FN, NULL,
			"Backlog events that may be on their way at once.", s, figure_window},
	};

	memcpy(table, rows, sizeof(table));
	lt_stats_add(table, LT_ARRAY_LEN(table));
	lt_spool_stats(s->spool);
}
