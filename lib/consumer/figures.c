/* SPDX-License-Identifier: MIT */
#include "figures.h"

#include <stddef.h>

#include "latido/clock.h"

struct lt_consumer_figures lt_consumer_figures;

static struct lt_shapes *known_shapes;
static int64_t (*known_lag_ns)(void *arg);
static void *known_lag_arg;

static double lag_seconds(void *p)
{
	(void)p;
	return known_shapes ? (double)known_lag_ns(known_lag_arg) / LT_NS_PER_S : 0;
}

static double shapes_known(void *p)
{
	struct lt_shapes_info info = {0};

	if (known_shapes)
		lt_shapes_info(known_shapes, &info);
	return (double)*(uint64_t *)((char *)&info + (size_t)p);
}

#define REJECTED(r, word)                                                                 \
	{                                                                                 \
		"latido_consumer_rejected_total", LT_STAT_COUNTER, "reason=\"" word "\"", \
			"Messages refused and dead-lettered, by reason.",                 \
			&lt_consumer_figures.rejected[r], NULL                            \
	}
#define SHAPES(field) (void *)offsetof(struct lt_shapes_info, field), shapes_known

static const struct lt_stat stat_table[] = {
	{"latido_consumer_messages_total", LT_STAT_COUNTER, NULL, "Messages taken from the bus.",
		&lt_consumer_figures.messages, NULL},
	{"latido_consumer_bytes_total", LT_STAT_COUNTER, NULL, "Payload bytes taken from the bus.",
		&lt_consumer_figures.bytes, NULL},
	{"latido_consumer_events_total", LT_STAT_COUNTER, NULL,
		"Events decoded and handed to the sink.", &lt_consumer_figures.events, NULL},
	{"latido_consumer_values_total", LT_STAT_COUNTER, NULL, "Values of those events.",
		&lt_consumer_figures.values, NULL},
	REJECTED(LT_REASON_DECODE, "decode"),
	REJECTED(LT_REASON_SHAPE_MISMATCH, "shape_mismatch"),
	REJECTED(LT_REASON_SOURCE_MISMATCH, "source_mismatch"),
	REJECTED(LT_REASON_TOO_LARGE, "too_large"),
	REJECTED(LT_REASON_LIMITS, "limits"),
	REJECTED(LT_REASON_TIME_RANGE, "time_range"),
	REJECTED(LT_REASON_CONFLICT, "conflict"),
	REJECTED(LT_REASON_UNKNOWN_SHAPE, "unknown_shape"),
	{"latido_consumer_deadletters_refused_total", LT_STAT_COUNTER, NULL,
		"Dead letters that the broker refused for good: their messages are lost.",
		&lt_consumer_figures.refused_letters, NULL},
	{"latido_consumer_deadletters_waiting", LT_STAT_GAUGE, NULL,
		"Dead letters that the broker has not accepted yet; their messages count as held.",
		&lt_consumer_figures.letters, NULL},
	{"latido_consumer_batches_total", LT_STAT_COUNTER, NULL, "Batches made durable.",
		&lt_consumer_figures.batches, NULL},
	{"latido_consumer_retries_total", LT_STAT_COUNTER, NULL,
		"Times the sink failed and was tried again.", &lt_consumer_figures.retries, NULL},
	{"latido_consumer_rereads_total", LT_STAT_COUNTER, NULL,
		"Times that Kafka was read again from the positions in PostgreSQL.",
		&lt_consumer_figures.rereads, NULL},
	{"latido_consumer_parked_total", LT_STAT_COUNTER, NULL,
		"Messages that had to wait for an announced shape.", &lt_consumer_figures.parked,
		NULL},
	{"latido_consumer_parked_messages", LT_STAT_GAUGE, NULL,
		"Messages that wait for an announced shape now.", &lt_consumer_figures.parking,
		NULL},
	{"latido_consumer_self_events_total", LT_STAT_COUNTER, NULL,
		"Events of these figures that were published (bus.self_interval).",
		&lt_consumer_figures.self.events, NULL},
	{"latido_consumer_self_dropped_total", LT_STAT_COUNTER, NULL,
		"Events of these figures that the bus did not take.",
		&lt_consumer_figures.self.dropped, NULL},
	{"latido_consumer_filling_events", LT_STAT_GAUGE, NULL, "Events in the batch being filled.",
		&lt_consumer_figures.filling, NULL},
	{"latido_consumer_putting_events", LT_STAT_GAUGE, NULL,
		"Events in the batch being made durable.", &lt_consumer_figures.putting, NULL},
	{"latido_consumer_put_seconds", LT_STAT_HIST, NULL,
		"From handing a batch to the sink until it is durable.",
		&lt_consumer_figures.put_seconds, NULL},
	{"latido_consumer_lag_seconds", LT_STAT_GAUGE_FN, NULL,
		"How long the oldest that is not finished has waited: in this program, in Kafka, "
		"and with bus.self_interval in the MQTT broker's queue.",
		NULL, lag_seconds},
	{"latido_consumer_shapes", LT_STAT_GAUGE_FN, NULL, "Shapes known.", SHAPES(shapes)},
	{"latido_consumer_shape_bytes", LT_STAT_GAUGE_FN, NULL, "Memory of the shape table.",
		SHAPES(bytes)},
	{"latido_consumer_shape_evictions_total", LT_STAT_COUNTER_FN, NULL,
		"Shapes dropped for want of room.", SHAPES(evictions)},
};

void lt_consumer_figures_add(struct lt_shapes *shapes, int64_t (*lag_ns)(void *arg), void *arg)
{
	known_shapes = shapes;
	known_lag_ns = lag_ns;
	known_lag_arg = arg;
	lt_stats_add(stat_table, LT_ARRAY_LEN(stat_table));
}

void lt_consumer_figures_gone(const struct lt_shapes *shapes)
{
	if (known_shapes == shapes)
		known_shapes = NULL;
}
