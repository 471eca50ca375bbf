/* SPDX-License-Identifier: MIT */
#include "sink_alert.h"

#include <stdlib.h>
#include <string.h>

#include "latido/log.h"

struct lt_engine_info lt_alert_info;

struct sink_alert {
	struct lt_sink sink;
	const struct lt_config *conf;
	struct lt_engine *engine;
};

static struct sink_alert *of(struct lt_sink *s)
{
	return (struct sink_alert *)s;
}

static void interrupt(struct lt_sink *s)
{
	lt_engine_interrupt(of(s)->engine);
}

static int init(struct lt_sink *s, const struct lt_config *conf, struct lt_err *err)
{
	struct sink_alert *a = of(s);
	struct lt_buf report = {0};

	a->conf = conf;
	a->engine = lt_engine_new(conf, &lt_alert_info, &report, err);
	for (char *line = report.len ? strtok(report.data, "\n") : NULL; line;
		line = strtok(NULL, "\n"))
		if (*line != ' ') /* the source line and the caret are for people at a terminal */
			lt_log_kv(a->engine ? LT_WARN : LT_ERROR,
				a->engine ? "rules" : "rules_refused", LT_KVS(LT_S("err", line)));
	lt_buf_fini(&report);
	if (!a->engine)
		return err->code;
	s->interrupt = interrupt;
	return LT_OK;
}

static int open_(struct lt_sink *s, struct lt_err *err)
{
	return lt_engine_open(of(s)->engine, err);
}

static int put(struct lt_sink *s, const struct lt_batch *b, size_t *bad, struct lt_err *err)
{
	(void)bad;
	(void)err;
	lt_engine_events(of(s)->engine, b->events, b->n);
	return LT_OK;
}

static int64_t tick(struct lt_sink *s, struct lt_err *err)
{
	(void)err;
	return lt_engine_tick(of(s)->engine);
}

static int flush(struct lt_sink *s, struct lt_err *err)
{
	(void)err;
	lt_engine_close(of(s)->engine, of(s)->conf->alert.drain_timeout_ms * 3 / 4);
	return LT_OK;
}

static void fini(struct lt_sink *s)
{
	lt_engine_free(of(s)->engine);
}

const struct lt_sink_ops lt_sink_alert_ops = {
	.name = "rules",
	.size = sizeof(struct sink_alert),
	.init = init,
	.open = open_,
	.put = put,
	.tick = tick,
	.flush = flush,
	.fini = fini,
};

struct lt_engine *lt_sink_alert_engine(struct lt_sink *s)
{
	return of(s)->engine;
}

void lt_sink_alert_publisher(struct lt_sink *s, struct lt_publisher *p)
{
	lt_engine_publisher(of(s)->engine, p);
}

/* ---- figures ---- */

#define I lt_alert_info
#define COUNTER(name, labels, help, field)                          \
	{                                                           \
		name, LT_STAT_COUNTER, labels, help, &I.field, NULL \
	}
#define GAUGE(name, labels, help, field)                          \
	{                                                         \
		name, LT_STAT_GAUGE, labels, help, &I.field, NULL \
	}
#define HIST(name, labels, help, field)                          \
	{                                                        \
		name, LT_STAT_HIST, labels, help, &I.field, NULL \
	}
#define EVENTS_HELP  "Events that were not taken, by reason."
#define DROPPED_HELP "What an output that was down for too long never got."
#define WAITING_HELP "What waits for an output."

static double ms_as_seconds(void *p)
{
	return (double)lt_gauge_get(p) / 1000;
}

static const struct lt_stat table[] = {
	GAUGE("latido_alert_series", NULL, "Series kept.", store.series),
	GAUGE("latido_alert_series_bytes", NULL, "Memory of series with labels and lists.",
		store.bytes),
	GAUGE("latido_alert_sample_bytes", NULL, "Of it, series and their samples.",
		store.samples_bytes),
	GAUGE("latido_alert_selectors", NULL, "Different selectors in all rules.", store.selectors),
	COUNTER("latido_alert_series_removed_total", NULL, "Series that ended.", store.removed),
	COUNTER("latido_alert_series_refused_total", NULL,
		"Times a series was left out because of alert.max_series or alert.max_bytes.",
		store.refused),
	COUNTER("latido_alert_patterns_gave_up_total", NULL,
		"Series that a selector left out since its regular expression took too many steps.",
		store.gave_up),
	COUNTER("latido_alert_source_series_refused_total", NULL,
		"Times a series was left out because of alert.max_source_series.", sources.crowded),
	COUNTER("latido_alert_samples_out_of_order_total", NULL,
		"Samples that were not newer than the last one of their series.",
		store.out_of_order),
	COUNTER("latido_alert_samples_thinned_total", NULL,
		"Samples dropped where only windows longer than alert.dense_window need them.",
		store.thinned),
	GAUGE("latido_alert_rules_cold", NULL,
		"Rules whose windows are not complete yet; what was active before is held.",
		rules_cold),
	COUNTER("latido_alert_backfill_samples_total", NULL,
		"Samples of long windows that were read from PostgreSQL.", backfill.samples),
	GAUGE("latido_alert_backfill_waiting", NULL,
		"Sources of which PostgreSQL has not got yet what they kept during an outage.",
		backfill.waiting),
	COUNTER("latido_alert_backfill_failures_total", NULL,
		"Times reading them failed; it is tried again.", backfill.failures),
	COUNTER("latido_alert_backfill_skipped_total", NULL,
		"Sources left out of it because reading their samples failed several times.",
		backfill.skipped),
	GAUGE("latido_alert_sources", NULL, "Sources known.", sources.sources),
	GAUGE("latido_alert_sources_silent", NULL, "Of these, silent.", sources.silent),
	COUNTER("latido_alert_events_total", NULL, "Events seen.", sources.events),
	COUNTER("latido_alert_values_total", NULL, "Values of them that some rule selects.",
		sources.values),
	COUNTER("latido_alert_late_events_total", NULL,
		"Events that came after their instant was evaluated; they count from then on.",
		sources.late),
	COUNTER("latido_alert_skewed_events_total", NULL,
		"Events of sources with a wrong clock; their times of arrival are used.",
		sources.skewed),
	COUNTER("latido_alert_ahead_events_total", NULL,
		"Events from more than alert.max_lag in the future; likewise.", sources.ahead),
	COUNTER("latido_alert_events_dropped_total", "reason=\"old\"", EVENTS_HELP, sources.old),
	COUNTER("latido_alert_events_dropped_total", "reason=\"lag\"", EVENTS_HELP,
		sources.lagging),
	COUNTER("latido_alert_events_dropped_total", "reason=\"sources\"", EVENTS_HELP,
		sources.refused),
	COUNTER("latido_alert_plans_total", NULL, "Shapes that were looked through for rules.",
		sources.plans),
	COUNTER("latido_alert_bindings_total", NULL, "Shapes of a source that were connected.",
		sources.bindings),
	GAUGE("latido_alert_groups", NULL, "Rule groups.", groups),
	GAUGE("latido_alert_rules", NULL, "Rules loaded.", rules_loaded),
	GAUGE("latido_alert_rules_failing", NULL, "Rules whose last evaluation failed.",
		rules_failing),
	COUNTER("latido_alert_evaluations_total", NULL, "Evaluations of single rules.",
		rules.evaluations),
	COUNTER("latido_alert_evaluation_failures_total", NULL, "Of these, failed.",
		rules.failures),
	COUNTER("latido_alert_template_failures_total", NULL, "Templates that failed.",
		rules.template_failures),
	COUNTER("latido_alert_evaluations_missed_total", NULL,
		"Evaluations of groups left out because there was no time.", missed),
	COUNTER("latido_alert_looks_total", NULL,
		"Looks at single rules between two evaluations of their groups.", looks),
	{"latido_alert_group_lag_seconds", LT_STAT_GAUGE_FN, NULL,
		"How late the group is that has waited longest for its evaluation.", &I.lag_ms,
		ms_as_seconds},
	HIST("latido_alert_group_seconds", NULL, "How long the evaluation of a group takes.",
		rules.group_seconds),
	HIST("latido_alert_batch_seconds", NULL, "How long taking over a batch of events takes.",
		batch_seconds),
	HIST("latido_alert_arrival_to_rules_seconds", NULL,
		"From an event's arrival until it is taken over.", event_seconds),
	HIST("latido_alert_fire_seconds", NULL,
		"From the instant evaluated for until an alert is handed on.", fire_seconds),
	GAUGE("latido_alert_alerts", "state=\"pending\"", "Alerts now.", pending),
	GAUGE("latido_alert_alerts", "state=\"firing\"", "Alerts now.", firing),
	GAUGE("latido_alert_reload_successful", NULL,
		"Whether the last reading of the rule files went well.", reload_ok),
	COUNTER("latido_alert_reloads_total", NULL, "Readings of the rule files after the first.",
		reloads),
	COUNTER("latido_alert_clock_jumps_total", NULL, "Times this machine's clock was set.",
		clock_jumps),
	GAUGE("latido_alert_leader", NULL, "Whether this instance notifies.", outputs.state.leader),
	COUNTER("latido_alert_takeovers_total", NULL, "Times it began to.",
		outputs.state.takeovers),
	COUNTER("latido_alert_lease_requests_total", NULL,
		"Times it asked for the lease, or to go on with it: five times in alert.lease.",
		outputs.state.lease_asked),
	COUNTER("latido_alert_state_commits_total", NULL, "Changes written to Redis.",
		outputs.state.commits),
	COUNTER("latido_alert_state_failures_total", NULL, "Times Redis did not take them.",
		outputs.state.failures),
	COUNTER("latido_alert_history_rows_total", NULL, "Transitions written to PostgreSQL.",
		outputs.history.written),
	COUNTER("latido_alert_published_total", NULL, "Messages published on the bus.",
		outputs.publish.published),
	GAUGE("latido_alert_output_waiting", "output=\"redis\"", WAITING_HELP,
		outputs.state.waiting),
	GAUGE("latido_alert_output_waiting", "output=\"postgres\"", WAITING_HELP,
		outputs.history.waiting),
	GAUGE("latido_alert_output_waiting", "output=\"bus\"", WAITING_HELP,
		outputs.publish.waiting),
	COUNTER("latido_alert_output_dropped_total", "output=\"redis\"", DROPPED_HELP,
		outputs.state.dropped),
	COUNTER("latido_alert_output_dropped_total", "output=\"postgres\"", DROPPED_HELP,
		outputs.history.dropped),
	COUNTER("latido_alert_output_dropped_total", "output=\"bus\"", DROPPED_HELP,
		outputs.publish.dropped),
	COUNTER("latido_alert_output_refused_total", "output=\"postgres\"",
		"What an output refused for good.", outputs.history.refused),
	COUNTER("latido_alert_output_refused_total", "output=\"bus\"",
		"What an output refused for good.", outputs.publish.refused),
};

void lt_alert_stats_add(void)
{
	lt_stats_add(table, LT_ARRAY_LEN(table));
}
