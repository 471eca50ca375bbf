/* SPDX-License-Identifier: MIT */
/* The agent itself: of what /metrics shows, what the default alert rules and operators look at. */
#include "collector.h"
#include "latido/stats.h"

struct state {
	struct lt_arena texts;
};

/* Each is shown where the agent has it: those of the spool with a spool. */
static const struct lt_metric metrics[] = {
	{"latido_start_time_seconds", LT_KIND_GAUGE, "When the agent started, seconds since 1970."},
	{"latido_agent_missed_ticks_total", LT_KIND_COUNTER,
		"Intervals without a snapshot because the agent was late."},
	{"latido_agent_sample_errors_total", LT_KIND_COUNTER,
		"Snapshots given up because they were not valid as a whole."},
	{"latido_agent_events_dropped_total", LT_KIND_COUNTER,
		"Events lost before the broker had them."},
	{"latido_agent_events_resent_total", LT_KIND_COUNTER,
		"Events given up as lost on the way, to be sent again."},
	{"latido_agent_ack_stalls_total", LT_KIND_COUNTER,
		"Times that the store was silent for too long."},
	{"latido_agent_queue_events", LT_KIND_GAUGE, "Events that wait to be sent."},
	{"latido_agent_unacked_events", LT_KIND_GAUGE,
		"Events sent and not yet acknowledged by the store."},
	{"latido_bus_connects_total", LT_KIND_COUNTER, "Times the bus became connected."},
	{"latido_bus_failures_total", LT_KIND_COUNTER,
		"Times a connection was lost or could not be made."},
	{"latido_spool_records", LT_KIND_GAUGE, "Events in the spool: not acknowledged."},
	{"latido_spool_disk_bytes", LT_KIND_GAUGE, "Size of the spool on disk."},
	{"latido_spool_disk_max_bytes", LT_KIND_GAUGE, "Bound of the size on disk."},
	{"latido_spool_memory_bytes", LT_KIND_GAUGE, "Memory of events that are not written yet."},
	{"latido_spool_errors_total", LT_KIND_COUNTER, "Failed operations on the disk."},
	{"latido_spool_dropped_total", LT_KIND_COUNTER,
		"Events lost, by the bound that was reached."},
};

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	struct state *s = state;

	(void)env;
	(void)err;
	for (size_t i = 0; i < LT_ARRAY_LEN(metrics); i++)
		lt_snapshot_stats(out, metrics[i].name, &s->texts);
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	(void)env;
	lt_arena_fini(&s->texts);
}

const struct lt_collector lt_collector_latido = {
	.name = "latido",
	.help = "the agent itself",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.sample = sample,
	.fini = fini,
};
