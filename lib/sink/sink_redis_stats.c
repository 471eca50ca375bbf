/* SPDX-License-Identifier: MIT */
#include "latido/sink_redis.h"

#include "sink_redis_stats.h"

struct hot_stats hot_stats;

#define COUNTER(n, l, field, h)                                  \
	{                                                        \
		n, LT_STAT_COUNTER, l, h, &hot_stats.field, NULL \
	}
#define GAUGE(n, field, h)                                        \
	{                                                         \
		n, LT_STAT_GAUGE, NULL, h, &hot_stats.field, NULL \
	}

const struct lt_stat lt_sink_redis_stats[] = {
	COUNTER("latido_hot_events_total", NULL, events,
		"Events published and applied or deferred."),
	COUNTER("latido_hot_old_events_total", NULL, old,
		"Events dropped because a newer one of their stream was seen."),
	COUNTER("latido_hot_window_events_total", NULL, window,
		"Events appended to a window stream."),
	COUNTER("latido_hot_window_duplicates_total", NULL, duplicates,
		"Events that the window stream had already, or that came after a newer one."),
	COUNTER("latido_hot_hash_writes_total", "kind=\"delta\"", deltas,
		"Writes of node hashes: changed fields, or all fields."),
	COUNTER("latido_hot_hash_writes_total", "kind=\"full\"", fulls,
		"Writes of node hashes: changed fields, or all fields."),
	COUNTER("latido_hot_hash_fields_total", NULL, fields, "Fields written to node hashes."),
	COUNTER("latido_hot_hash_refused_total", NULL, refused,
		"Writes that Redis refused because it holds a newer snapshot."),
	COUNTER("latido_hot_hash_rebased_total", NULL, rebased,
		"Deltas sent again in full because Redis held something else (flushed, another "
		"writer)."),
	COUNTER("latido_hot_hash_resets_total", NULL, resets,
		"Node hashes emptied before a full write because their old shape was not known."),
	COUNTER("latido_hot_deferred_total", NULL, deferred,
		"Events whose hash write waited for hot.max_rate_hz."),
	COUNTER("latido_hot_inline_shapes_total", NULL, inlined,
		"Events packed with their names because their shape's key is taken by another."),
	COUNTER("latido_hot_key_errors_total", NULL, key_errors,
		"Commands refused for one key (wrong type and the like)."),
	COUNTER("latido_hot_commands_total", NULL, commands, "Commands sent to Redis."),
	COUNTER("latido_hot_pipelines_total", NULL, pipelines, "Round trips to Redis."),
	COUNTER("latido_hot_connects_total", NULL, connects, "Connections made to Redis."),
	COUNTER("latido_hot_forgotten_sources_total", NULL, forgotten,
		"Sources dropped from memory: silent for hot.expire, or beyond the memory bound."),
	GAUGE("latido_hot_sources", sources, "Sources remembered."),
	GAUGE("latido_hot_pending_sources", pending, "Sources whose hash write is deferred."),
	GAUGE("latido_hot_state_bytes", bytes,
		"Memory of what is remembered of sources and shapes."),
	{"latido_hot_event_to_redis_seconds", LT_STAT_HIST, NULL,
		"From an event's own time until Redis has answered.", &hot_stats.latency, NULL},
};
const size_t lt_sink_redis_stats_n = LT_ARRAY_LEN(lt_sink_redis_stats);
