/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_ENGINE_H
#define LATIDO_ALERT_ENGINE_H

#include "backfill.h"
#include "latido/event.h"
#include "outputs.h"
#include "sources.h"

/*
 * Rules over the stream: takes events over, evaluates groups when their time has come, hands on what
 * becomes of alerts. All on one thread, which never waits for an output; lt_engine_bus() and
 * lt_engine_reload() may be called from another.
 *
 * When a group is evaluated for an instant t: t is on the group's grid (multiples of its interval,
 * LT_GRID_PHASE_MS behind the full second, where agents' snapshots have just arrived; groups of more
 * than a few seconds are spread over their interval), and everything that arrived until t +
 * alert.delay has been taken over. Later events count from the next evaluation on.
 *
 * Between two instants, rules without `for` are looked at when events may have made them true
 * (engine_looks.c).
 */

#define LT_GRID_PHASE_MS 100

struct lt_engine_info {
	struct lt_as_info store;
	struct lt_sources_info sources;
	struct lt_rules_counters rules;
	struct lt_outputs_info outputs;
	struct lt_gauge groups, rules_loaded, rules_failing, pending, firing, lag_ms, reload_ok;
	struct lt_gauge rules_cold;
	struct lt_backfill_info backfill;
	struct lt_counter missed, clock_jumps, reloads;
	struct lt_counter looks; /* at single rules, between two instants of the grid */
	struct lt_hist
		event_seconds; /* from arrival of a batch's newest event until it is taken over */
	struct lt_hist
		fire_seconds; /* from the instant evaluated for until an alert is handed on */
	struct lt_hist batch_seconds;
};

struct lt_engine;

/** lt_engine_rules_opts() - how this configuration has rules loaded; borrows from @conf. */
void lt_engine_rules_opts(const struct lt_alert_conf *conf, struct lt_rules_opts *opts,
	struct lt_promql_limits *limits, struct lt_label_text **labels);

/**
 * lt_engine_check() - latido-alert --check-rules: lt_rules_check(), and what a stream cannot answer
 * @out: for a human.
 */
int lt_engine_check(const char *const *globs, size_t n, const struct lt_alert_conf *conf,
	const struct lt_rules_opts *opts, struct lt_buf *out);

/**
 * lt_engine_new() - load the rules, start the outputs; loop thread
 * @report: errors and warnings of the rule files, a line each.
 */
struct lt_engine *lt_engine_new(const struct lt_config *conf, struct lt_engine_info *info,
	struct lt_buf *report, struct lt_err *err);
void lt_engine_free(struct lt_engine *e);

/** lt_engine_publisher() - the way to the bus, before lt_engine_open(); borrowed. */
void lt_engine_publisher(struct lt_engine *e, struct lt_publisher *p);
/** lt_engine_open() - fill the windows; RETRY errors: call again. */
int lt_engine_open(struct lt_engine *e, struct lt_err *err);
/** lt_engine_interrupt() - make lt_engine_open() give up; any thread. */
void lt_engine_interrupt(struct lt_engine *e);
void lt_engine_events(struct lt_engine *e, struct lt_event *const *events, size_t n);
/** lt_engine_tick() - evaluate what is due. Return: ns until it wants to be called again. */
int64_t lt_engine_tick(struct lt_engine *e);
/** lt_engine_close() - deliver what waits, at most so long. */
void lt_engine_close(struct lt_engine *e, int64_t deadline_ms);

/** lt_engine_bus() - the bus came or went; any thread. */
void lt_engine_bus(struct lt_engine *e, bool connected, bool resumed);
/** lt_engine_reload() - read the rule files of @conf at the next tick; any thread. */
void lt_engine_reload(struct lt_engine *e, const struct lt_alert_conf *conf);

#endif
