/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine_int.h"
#include "latido/clock.h"
#include "latido/log.h"
#include "warm.h"

#define IDLE_NS      (200 * LT_NS_PER_MS) /* between ticks with nothing due */
#define CHECK_MS     200                  /* between looks for silent sources */
#define SWEEP_NS     (10 * LT_NS_PER_S)
#define QUIET_NS     (500 * LT_NS_PER_MS) /* without events: nothing is on its way */
#define SPREAD_MS    5000                 /* groups with a longer interval are spread over it */
#define BEHIND       10                   /* intervals; then evaluations are left out */
#define LATE_MS      1000                 /* events wait for so long: likewise, and at once */
#define JUMP_MS      1000
#define TRUST_MS     10000 /* Redis saw somebody so recently: what it says of the others holds */
#define SLACK_MS     5000
#define REWARM_NS    (2 * LT_NS_PER_S) /* by then latido-hot has what we did not hear */
#define CAUGHT_UP_MS 1000
#define FILLING_NS   (10 * LT_NS_PER_MS) /* between ticks while windows are being filled */

/* ---- life ---- */

static void changed(void *ctx, const char *source, bool device, uint32_t interval_ms, bool gone)
{
	struct lt_engine *e = ctx;

	if (e->role != LT_ROLE_FOLLOW)
		lt_outputs_source(e->outputs, source, device, interval_ms, gone);
}

static bool start_backfill(struct lt_engine *e, struct lt_err *err)
{
	if (!e->conf->alert.backfill)
		return true;
	e->backfill = lt_backfill_start(e->conf, &e->info->backfill, err);
	return e->backfill != NULL;
}

struct lt_engine *lt_engine_new(const struct lt_config *conf, struct lt_engine_info *info,
	struct lt_buf *report, struct lt_err *err)
{
	const struct lt_alert_conf *c = &conf->alert;
	struct lt_engine *e = lt_calloc(1, sizeof(*e));
	const struct lt_sources_opts sources = {
		.max_lag_ms = c->max_lag_ms,
		.silence_ms = c->silence_ms,
		.forget_ms = c->forget_ms,
		.max_sources = (size_t)c->max_sources,
		.max_source_series = (uint32_t)c->max_source_series,
		.changed = changed,
		.ctx = e,
	};
	struct lt_as_limits limits;

	engine_limits(c, &limits);
	e->conf = conf;
	e->info = info;
	pthread_mutex_init(&e->lock, NULL);
	e->pool = lt_label_pool_new();
	e->store = lt_as_new(e->pool, &limits, &info->store);
	e->sources = lt_sources_new(e->store, &sources, &info->sources);
	e->sink = (struct lt_rules_sink){.ctx = e,
		.append = engine_append,
		.event = engine_event,
		.send = engine_send,
		.changed = engine_changed};
	e->offset_ns = lt_wall_ns() - lt_mono_ns();
	e->paused = true;
	engine_copy_conf(e, c);
	e->started_mono_ns = lt_mono_ns();
	e->redis = lt_redis_new(&conf->redis, err);
	if (e->redis && engine_load(e, report, err) == LT_OK && start_backfill(e, err))
		e->outputs = lt_outputs_start(conf, &info->outputs, err);
	if (!e->outputs) {
		lt_engine_free(e);
		return NULL;
	}
	return e;
}

void lt_engine_free(struct lt_engine *e)
{
	if (!e)
		return;
	lt_engine_close(e, 0);
	lt_backfill_stop(e->backfill);
	engine_windows_free(e->windows, e->n_windows);
	lt_sources_free(e->sources);
	lt_as_free(e->store);
	lt_rules_free(e->rules);
	lt_label_pool_free(e->pool);
	engine_free_conf(e);
	lt_redis_free(e->redis);
	lt_buf_fini(&e->inheritance.alerts);
	pthread_mutex_destroy(&e->lock);
	engine_looks_free(&e->looks);
	free(e->groups);
	free(e);
}

void lt_engine_close(struct lt_engine *e, int64_t deadline_ms)
{
	lt_outputs_stop(e->outputs, deadline_ms);
	e->outputs = NULL;
}

/* @fill: sources are in use already. */
static int warm(struct lt_engine *e, int64_t since_ms, bool fill, struct lt_err *err)
{
	bool from_bus = strncmp(e->conf->bus.url, "kafka", 5) == 0;
	int64_t now_ms = lt_wall_ns() / LT_NS_PER_MS, start_ns = lt_mono_ns();
	const struct lt_warm_opts opts = {.since_ms = since_ms, .windows = !from_bus, .fill = fill};
	struct lt_warm_info info;
	int rc;

	rc = lt_redis_connect(e->redis, err);
	if (rc == LT_OK)
		rc = lt_warm_start(e->redis, e->conf, e->sources, &opts, &info, err);
	lt_redis_close(e->redis);
	if (rc != LT_OK)
		return rc;
	/* What was published since then, before we begin to hear, nobody has. */
	if (!fill && info.newest_ms > 0 && info.newest_ms < now_ms)
		e->heard_ms = info.newest_ms;
	if (info.newest_ms > now_ms - TRUST_MS)
		lt_sources_check(e->sources, now_ms - SLACK_MS);
	lt_log(LT_INFO, "warmed", LT_U("sources", info.sources), LT_U("events", info.events),
		LT_I("ms", (lt_mono_ns() - start_ns) / LT_NS_PER_MS));
	return LT_OK;
}

void lt_engine_publisher(struct lt_engine *e, struct lt_publisher *p)
{
	lt_outputs_publisher(e->outputs, p);
}

int lt_engine_open(struct lt_engine *e, struct lt_err *err)
{
	int rc;

	if (e->open)
		return LT_OK;
	rc = warm(e, lt_wall_ns() / LT_NS_PER_MS - lt_as_longest_ms(e->store), false, err);
	if (rc != LT_OK && err->cls != LT_CLS_RETRY)
		return rc;
	if (rc != LT_OK && lt_mono_ns() - e->started_mono_ns <
				   e->conf->alert.restore_timeout_ms * LT_NS_PER_MS)
		return rc;
	if (rc != LT_OK)
		lt_log(LT_WARN, "not_warmed", LT_S("err", err->msg));
	e->open = true;
	e->opened_ms = lt_wall_ns() / LT_NS_PER_MS;
	if (!e->heard_ms)
		e->heard_ms = e->opened_ms;
	return LT_OK;
}

void lt_engine_interrupt(struct lt_engine *e)
{
	lt_redis_interrupt(e->redis);
}

/* ---- events ---- */

void lt_engine_events(struct lt_engine *e, struct lt_event *const *events, size_t n)
{
	int64_t start_ns = lt_mono_ns(), now_ns = lt_wall_ns(), newest_ns = 0;

	for (size_t i = 0; i < n; i++) {
		lt_sources_event(e->sources, events[i], now_ns / LT_NS_PER_MS, e->evaluated_ms);
		if (events[i]->arrived_ns > newest_ns)
			newest_ns = events[i]->arrived_ns;
	}
	if (!n)
		return;
	e->put_mono_ns = lt_mono_ns();
	e->heard_ms = now_ns / LT_NS_PER_MS;
	e->behind_ns = now_ns > newest_ns ? now_ns - newest_ns : 0;
	lt_hist_add(&e->info->event_seconds, e->behind_ns);
	lt_hist_add(&e->info->batch_seconds, e->put_mono_ns - start_ns);
}

/* Everything that arrived until then has been taken over. */
static int64_t known_ms(const struct lt_engine *e, int64_t now_ms)
{
	if (lt_mono_ns() - e->put_mono_ns > QUIET_NS || e->behind_ns < QUIET_NS / 10)
		return now_ms;
	return now_ms - e->behind_ns / LT_NS_PER_MS;
}

/* ---- the grid ---- */

static int64_t phase_ms(const struct lt_rules_group *g)
{
	uint64_t h = UINT64_C(14695981039346656037);

	if (g->interval_ms < 1000)
		return 0;
	if (g->interval_ms <= SPREAD_MS)
		return LT_GRID_PHASE_MS;
	for (const char *p = g->file; *p; p++)
		h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
	for (const char *p = g->name; *p; p++)
		h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
	return (int64_t)(h % (uint64_t)(g->interval_ms / 1000)) * 1000 + LT_GRID_PHASE_MS;
}

/* The first instant of the group's grid after @t_ms. */
static int64_t next_on_grid(const struct lt_rules_group *g, int64_t t_ms)
{
	int64_t phase = phase_ms(g), since = t_ms - phase;

	return t_ms - (since % g->interval_ms) + g->interval_ms;
}

void engine_grid(struct lt_engine *e, int64_t t_ms)
{
	struct engine_look *look = e->looks.all;

	e->n_groups = lt_rules_group_count(e->rules);
	e->groups = lt_realloc(e->groups, (e->n_groups + 1) * sizeof(*e->groups));
	for (size_t i = 0; i < e->n_groups; i++) {
		struct lt_rules_group *g = lt_rules_group(e->rules, i);

		e->groups[i] = (struct engine_group){
			.group = g, .looks = look, .next_ms = next_on_grid(g, t_ms)};
		look += g->n_rules;
	}
	lt_gauge_set(&e->info->groups, (int64_t)e->n_groups);
}

/* ---- evaluation ---- */

static void count_states(struct lt_engine *e)
{
	int64_t pending = 0, firing = 0, failing = 0;

	for (size_t g = 0; g < e->n_groups; g++) {
		const struct lt_rules_group *group = e->groups[g].group;

		for (size_t i = 0; i < group->n_rules; i++) {
			pending += (int64_t)group->rules[i]->n_pending;
			firing += (int64_t)group->rules[i]->n_firing;
			failing += group->rules[i]->eval_ms && !group->rules[i]->healthy;
		}
	}
	lt_gauge_set(&e->info->pending, pending);
	lt_gauge_set(&e->info->firing, firing);
	lt_gauge_set(&e->info->rules_failing, failing);
}

static void complain(struct lt_engine *e, struct engine_group *g)
{
	(void)e;
	for (size_t i = 0; i < g->group->n_rules; i++) {
		const struct lt_rule *r = g->group->rules[i];

		if (r->healthy)
			continue;
		lt_complain(&g->failing, LT_ERROR, "rule_failed", LT_S("file", g->group->file),
			LT_S("group", g->group->name), LT_S("rule", r->name), LT_I("line", r->line),
			LT_S("err", r->last_error));
		return;
	}
}

static void evaluate(struct lt_engine *e, struct engine_group *g)
{
	size_t failed;

	e->at_ms = g->next_ms;
	failed = lt_rules_group_eval(
		e->rules, g->group, g->next_ms, lt_as_storage(e->store), &e->sink);
	engine_looks_evaluated(e, g);
	if (failed)
		complain(e, g);
	else
		lt_release(&g->failing, "rule_works", LT_S("group", g->group->name));
	if (g->next_ms > e->evaluated_ms)
		e->evaluated_ms = g->next_ms;
	g->next_ms += g->group->interval_ms;
}

static struct engine_group *first_due(const struct lt_engine *e)
{
	struct engine_group *first = NULL;

	for (size_t i = 0; i < e->n_groups; i++)
		if (!first || e->groups[i].next_ms < first->next_ms)
			first = &e->groups[i];
	return first;
}

/*
 * While events wait, evaluations leave them at least half of the time, and what came due meanwhile is
 * evaluated once: more evaluations than a machine can do must not keep it from hearing anybody.
 */
static int64_t evaluate_due(struct lt_engine *e, int64_t now_ms, int64_t until_ms)
{
	bool late = now_ms - until_ms > LATE_MS + e->conf->alert.delay_ms, any = false;
	int64_t start_ns = lt_mono_ns(), intervals = late ? 1 : BEHIND;
	struct engine_group *g;

	if (late && start_ns < e->rest_mono_ns)
		return now_ms + (e->rest_mono_ns - start_ns) / LT_NS_PER_MS;
	while ((g = first_due(e)) && g->next_ms <= until_ms) {
		int64_t behind_ms = until_ms - g->next_ms;

		if (behind_ms > intervals * g->group->interval_ms) {
			lt_counter_add(
				&e->info->missed, (uint64_t)(behind_ms / g->group->interval_ms));
			g->next_ms = next_on_grid(g->group, until_ms - g->group->interval_ms);
			continue;
		}
		evaluate(e, g);
		any = true;
	}
	if (any) {
		e->rest_mono_ns = 2 * lt_mono_ns() - start_ns;
		lt_state_evaluated(lt_outputs_state(e->outputs), e->evaluated_ms);
		count_states(e);
	}
	lt_gauge_set(&e->info->lag_ms,
		g && g->next_ms < now_ms - e->conf->alert.delay_ms ? now_ms - g->next_ms : 0);
	return g ? g->next_ms : INT64_MAX;
}

/* ---- around it ---- */

/* The wall clock was set: what is remembered moves along. */
static void watch_clock(struct lt_engine *e)
{
	int64_t offset_ns = lt_wall_ns() - lt_mono_ns();
	int64_t by_ms = (offset_ns - e->offset_ns) / LT_NS_PER_MS, now_ms;

	e->offset_ns = offset_ns;
	if (llabs(by_ms) < JUMP_MS)
		return;
	now_ms = lt_wall_ns() / LT_NS_PER_MS;
	lt_log(LT_WARN, "clock_jump", LT_I("by_ms", by_ms));
	lt_counter_add(&e->info->clock_jumps, 1);
	lt_as_shift(e->store, by_ms);
	lt_sources_shift(e->sources, by_ms);
	engine_windows_shift(e, by_ms, now_ms);
	e->heard_ms += by_ms;
	e->rewarm_ms += by_ms;
	if (e->paused_ms)
		e->paused_ms += by_ms;
	engine_clock_jump(e, by_ms, now_ms);
	engine_grid(e, now_ms - e->conf->alert.delay_ms);
}

/* What was published between the look at Redis, or the loss of the bus, and our subscription. */
static void rewarm(struct lt_engine *e)
{
	struct lt_err err;

	if (warm(e, e->rewarm_ms, true, &err) != LT_OK)
		lt_log(LT_WARN, "not_warmed", LT_S("err", err.msg));
}

/* Return: is the bus there? What nobody could hear is nobody's silence. */
static bool watch_bus(struct lt_engine *e, int64_t now_ms)
{
	bool connected, republish;

	pthread_mutex_lock(&e->lock);
	connected = e->bus_connected;
	republish = e->republish && connected && e->role == LT_ROLE_LEAD;
	if (republish)
		e->republish = false;
	pthread_mutex_unlock(&e->lock);
	if (connected && e->paused) {
		lt_sources_pause(e->sources, now_ms);
		engine_grid(e, now_ms);
		engine_windows_back(e, now_ms);
		if (e->paused_ms)
			lt_rules_pause(e->rules, now_ms - e->paused_ms, &e->sink);
		/* A cut may have been noticed late: what counts is when something was heard last,
		 * and events may be as old as that when they arrive. */
		e->rewarm_ms = e->heard_ms - e->conf->alert.max_lag_ms;
		rewarm(e);
		e->rewarm_mono_ns = lt_mono_ns() + REWARM_NS;
	}
	if (!connected && !e->paused)
		e->paused_ms = now_ms;
	e->paused = !connected;
	if (republish)
		lt_outputs_republish(e->outputs, e->rules, now_ms);
	return connected;
}

int64_t lt_engine_tick(struct lt_engine *e)
{
	int64_t now_ms, until_ms, next_ms, wait_ns, look_ns;
	bool filling;

	if (!e->outputs)
		return INT64_MAX;
	watch_clock(e);
	now_ms = lt_wall_ns() / LT_NS_PER_MS;
	engine_take_reload(e, now_ms);
	engine_take_role(e, now_ms);
	if (!watch_bus(e, now_ms)) {
		/* What nobody can see is not over. */
		if (e->role == LT_ROLE_LEAD)
			lt_rules_send(e->rules, now_ms, &e->sink);
		return IDLE_NS;
	}
	if (e->rewarm_mono_ns && lt_mono_ns() >= e->rewarm_mono_ns) {
		e->rewarm_mono_ns = 0;
		rewarm(e);
	}
	until_ms = known_ms(e, now_ms);
	filling = engine_windows_tick(
		e, now_ms, !e->rewarm_mono_ns && until_ms > now_ms - CAUGHT_UP_MS);
	if (until_ms - e->checked_ms >= CHECK_MS || until_ms < e->checked_ms) {
		lt_sources_check(e->sources, until_ms);
		e->checked_ms = until_ms;
	}
	if (e->role == LT_ROLE_NONE)
		return IDLE_NS / 4;
	lt_outputs_flush_sources(e->outputs, e->role == LT_ROLE_LEAD);
	next_ms = evaluate_due(e, now_ms, until_ms - e->conf->alert.delay_ms);
	look_ns = engine_look(e, now_ms, until_ms);
	if (lt_mono_ns() - e->swept_mono_ns > SWEEP_NS) {
		lt_as_sweep(e->store, now_ms);
		e->swept_mono_ns = lt_mono_ns();
	}
	if (filling)
		return FILLING_NS;
	if (next_ms == INT64_MAX)
		return IDLE_NS;
	wait_ns = (next_ms + e->conf->alert.delay_ms) * LT_NS_PER_MS - lt_wall_ns();
	if (look_ns < wait_ns)
		wait_ns = look_ns;
	return wait_ns < 0 ? 0 : wait_ns < IDLE_NS ? wait_ns : IDLE_NS;
}

void lt_engine_bus(struct lt_engine *e, bool connected, bool resumed)
{
	pthread_mutex_lock(&e->lock);
	e->bus_connected = connected;
	if (connected && !resumed)
		e->republish = true;
	pthread_mutex_unlock(&e->lock);
}
