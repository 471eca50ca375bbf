/* SPDX-License-Identifier: MIT */
/* The engine's rules: loading, reloading, taking states over from Redis, what evaluations say. */
#include <stdlib.h>
#include <string.h>

#include "engine_int.h"
#include "latido/clock.h"
#include "latido/log.h"

#define SLACK_MS 2000 /* evaluations may be so late */

/* ---- what an evaluation says ---- */

bool engine_append(void *ctx, const struct lt_labels *labels, int64_t t_ms, double v)
{
	struct lt_engine *e = ctx;
	struct lt_as_series *s = lt_as_series(e->store, labels);

	if (!s) /* no rule reads it */
		return true;
	return lt_as_append(e->store, s, t_ms, v);
}

static bool is_firing(const struct lt_alert *a)
{
	return a && a->state == LT_ALERT_FIRING;
}

/*
 * For those who are told, alerts with the same labels are one, whichever rules they come from: it
 * begins with the first of them and ends with the last. Return: there is nothing to tell.
 */
static bool join_twin(
	struct lt_engine *e, const struct lt_alert *a, enum lt_alert_event ev, int64_t t_ms)
{
	const struct lt_alert *twin = lt_rules_twin(e->rules, a);

	if (!twin)
		return false;
	switch (ev) {
	case LT_ALERT_BEGAN:
		return true;
	case LT_ALERT_FIRED:
		return is_firing(twin);
	case LT_ALERT_CANCELLED:
		lt_outputs_refresh(e->outputs, e->rules, twin);
		return true;
	case LT_ALERT_RESOLVED:
		break;
	}
	if (is_firing(twin)) {
		lt_outputs_refresh(e->outputs, e->rules, twin);
		return true;
	}
	lt_outputs_event(e->outputs, e->rules, a, ev, t_ms);
	lt_outputs_event(e->outputs, e->rules, twin, LT_ALERT_BEGAN, t_ms);
	return true;
}

void engine_event(void *ctx, const struct lt_alert *a, enum lt_alert_event ev, int64_t t_ms)
{
	struct lt_engine *e = ctx;

	if (e->role != LT_ROLE_LEAD || join_twin(e, a, ev, t_ms))
		return;
	lt_outputs_event(e->outputs, e->rules, a, ev, t_ms);
	if (ev == LT_ALERT_FIRED)
		lt_hist_add(&e->info->fire_seconds, lt_wall_ns() - t_ms * LT_NS_PER_MS);
}

void engine_send(void *ctx, const struct lt_alert *a, int64_t t_ms)
{
	struct lt_engine *e = ctx;

	(void)t_ms;
	if (e->role != LT_ROLE_LEAD)
		return;
	if (a->state != LT_ALERT_INACTIVE || !is_firing(lt_rules_twin(e->rules, a)))
		lt_outputs_send(e->outputs, e->rules, a);
}

void engine_changed(void *ctx, const struct lt_alert *a)
{
	struct lt_engine *e = ctx;

	if (e->role == LT_ROLE_LEAD && !is_firing(lt_rules_twin(e->rules, a)))
		lt_outputs_refresh(e->outputs, e->rules, a);
}

/* ---- configuration ---- */

static void free_rules_conf(struct engine_rules_conf *c)
{
	for (size_t i = 0; i < c->n_globs; i++)
		free(c->globs[i]);
	free(c->globs);
	*c = (struct engine_rules_conf){0};
}

static void copy_rules_conf(struct engine_rules_conf *to, const struct lt_alert_conf *c)
{
	free_rules_conf(to);
	to->n_globs = c->rules.n;
	to->globs = lt_calloc(c->rules.n + 1, sizeof(*to->globs));
	for (size_t i = 0; i < c->rules.n; i++)
		to->globs[i] = lt_strdup(c->rules.items[i]);
	to->interval_ms = c->interval_ms;
	to->resend_ms = c->resend_ms;
	to->max_rule_series = c->max_rule_series;
	to->max_samples = c->max_samples;
}

void engine_copy_conf(struct lt_engine *e, const struct lt_alert_conf *c)
{
	copy_rules_conf(&e->rules_conf, c);
}

void engine_free_conf(struct lt_engine *e)
{
	free_rules_conf(&e->rules_conf);
	free_rules_conf(&e->fresh);
}

void lt_engine_rules_opts(const struct lt_alert_conf *c, struct lt_rules_opts *opts,
	struct lt_promql_limits *limits, struct lt_label_text **labels)
{
	*labels = lt_calloc(c->external_labels.n + 1, sizeof(**labels));
	for (size_t i = 0; i < c->external_labels.n; i++) {
		const char *name = c->external_labels.keys[i];
		const char *value = c->external_labels.values[i];

		(*labels)[i] = (struct lt_label_text){
			name, value, (uint32_t)strlen(name), (uint32_t)strlen(value)};
	}
	*limits = (struct lt_promql_limits){
		.max_series = (uint32_t)c->max_rule_series,
		.max_samples = (uint64_t)c->max_samples,
		.subquery_step_ms = c->interval_ms,
	};
	lt_promql_limits_defaults(limits);
	*opts = (struct lt_rules_opts){
		.interval_ms = c->interval_ms,
		.resend_delay_ms = c->resend_ms,
		.max_alerts = (uint32_t)(c->max_rule_series < 100000 ? c->max_rule_series : 100000),
		.external_labels = *labels,
		.n_external_labels = c->external_labels.n,
		.external_url = c->external_url,
		.promql = limits,
	};
}

/* ---- loading ---- */

static int accept_selector(void *ctx, const struct lt_promql_selector *sel, struct lt_err *err)
{
	return lt_as_accept(ctx, sel, err);
}

static int register_selectors(struct lt_as *store, const struct lt_rules *rules, struct lt_err *err)
{
	const struct lt_promql_expr *expr;

	lt_as_begin(store);
	for (size_t i = 0; (expr = lt_rules_expr(rules, i)); i++) {
		for (size_t k = 0; k < lt_promql_selector_count(expr); k++) {
			int rc = lt_as_select(store, lt_promql_selector(expr, k), err);

			if (rc == LT_OK)
				continue;
			lt_as_abort(store);
			return rc;
		}
	}
	return LT_OK;
}

void engine_limits(const struct lt_alert_conf *c, struct lt_as_limits *limits)
{
	*limits = (struct lt_as_limits){
		.max_series = (size_t)c->max_series,
		.max_bytes = (size_t)c->max_bytes,
		.max_points = (uint32_t)c->max_points,
		.max_window_ms = c->max_window_ms,
		.dense_ms = c->dense_window_ms,
		.slack_ms = c->delay_ms + SLACK_MS,
	};
}

int lt_engine_check(const char *const *globs, size_t n, const struct lt_alert_conf *conf,
	const struct lt_rules_opts *opts, struct lt_buf *out)
{
	struct lt_label_pool *pool = lt_label_pool_new();
	struct lt_rules_opts strict = *opts;
	struct lt_as_info info = {0};
	struct lt_as_limits limits;
	int rc;

	engine_limits(conf, &limits);
	strict.accept = accept_selector;
	strict.ctx = lt_as_new(pool, &limits, &info);
	rc = lt_rules_check(globs, n, &strict, out);
	lt_as_free(strict.ctx);
	lt_label_pool_free(pool);
	return rc;
}

static int load(struct lt_engine *e, struct lt_rules **out, struct engine_looks *looks,
	struct lt_buf *report, struct lt_err *err)
{
	struct lt_alert_conf conf = e->conf->alert;
	struct lt_promql_limits limits;
	struct lt_label_text *labels;
	struct lt_rules_opts opts;
	int rc;

	conf.interval_ms = e->rules_conf.interval_ms;
	conf.resend_ms = e->rules_conf.resend_ms;
	conf.max_rule_series = e->rules_conf.max_rule_series;
	conf.max_samples = e->rules_conf.max_samples;
	lt_engine_rules_opts(&conf, &opts, &limits, &labels);
	opts.counters = &e->info->rules;
	opts.folders = true;
	opts.accept = accept_selector;
	opts.ctx = e->store;
	rc = lt_rules_load(e->pool, &opts, (const char *const *)e->rules_conf.globs,
		e->rules_conf.n_globs, out, report, err);
	free(labels);
	if (rc != LT_OK)
		return rc;
	rc = register_selectors(e->store, *out, err);
	if (rc == LT_OK) {
		engine_looks_new(looks, *out, e->store);
	} else {
		lt_rules_free(*out);
		*out = NULL;
	}
	return rc;
}

static void loaded(struct lt_engine *e, int64_t now_ms)
{
	size_t n = 0;

	engine_grid(e, now_ms);
	for (size_t i = 0; i < e->n_groups; i++)
		n += e->groups[i].group->n_rules;
	lt_gauge_set(&e->info->rules_loaded, (int64_t)n);
	lt_log(LT_INFO, "rules_loaded", LT_U("files", lt_rules_file_count(e->rules)),
		LT_U("groups", e->n_groups), LT_U("rules", n),
		LT_I("selectors", lt_gauge_get(&e->info->store.selectors)));
}

int engine_load(struct lt_engine *e, struct lt_buf *report, struct lt_err *err)
{
	int rc = load(e, &e->rules, &e->looks, report, err);

	if (rc != LT_OK)
		return rc;
	lt_as_commit(e->store);
	lt_gauge_set(&e->info->reload_ok, 1);
	engine_windows_load(e, lt_wall_ns() / LT_NS_PER_MS);
	loaded(e, lt_wall_ns() / LT_NS_PER_MS);
	return LT_OK;
}

/* A line of the log for each line of the report. */
static void log_report(enum lt_log_level level, const char *id, const struct lt_buf *report)
{
	const char *p = report->len ? report->data : "";

	while (*p) {
		size_t n = strcspn(p, "\n");
		char *line = lt_strndup(p, n);

		if (n && *p != ' ')
			lt_log_kv(level, id, LT_KVS(LT_S("err", line)));
		free(line);
		p += n + (p[n] == '\n');
	}
}

/* New rules in place of the old ones, with the states of their alerts. */
static int replace(struct lt_engine *e, int64_t now_ms)
{
	struct lt_rules *fresh = NULL, *old = e->rules;
	struct engine_looks looks = {0};
	struct lt_buf report = {0};
	struct lt_err err;
	int rc = load(e, &fresh, &looks, &report, &err);

	log_report(
		rc == LT_OK ? LT_WARN : LT_ERROR, rc == LT_OK ? "rules" : "rules_refused", &report);
	lt_buf_fini(&report);
	if (rc != LT_OK) {
		lt_log(LT_ERROR, "rules_reload_failed", LT_S("kept", "old"), LT_S("err", err.msg));
		lt_gauge_set(&e->info->reload_ok, 0);
		return rc;
	}
	lt_as_commit(e->store);
	e->rules = fresh;
	lt_rules_adopt(fresh, old, e->evaluated_ms ? e->evaluated_ms : now_ms, &e->sink);
	lt_rules_free(old);
	engine_looks_free(&e->looks);
	e->looks = looks;
	engine_windows_load(e, now_ms);
	lt_gauge_set(&e->info->reload_ok, 1);
	return LT_OK;
}

void lt_engine_reload(struct lt_engine *e, const struct lt_alert_conf *conf)
{
	pthread_mutex_lock(&e->lock);
	copy_rules_conf(&e->fresh, conf);
	e->reload = true;
	pthread_mutex_unlock(&e->lock);
}

void engine_take_reload(struct lt_engine *e, int64_t now_ms)
{
	struct engine_rules_conf old;
	bool reload;

	pthread_mutex_lock(&e->lock);
	reload = e->reload;
	e->reload = false;
	if (reload) {
		old = e->rules_conf;
		e->rules_conf = e->fresh;
		e->fresh = (struct engine_rules_conf){0};
	}
	pthread_mutex_unlock(&e->lock);
	if (!reload)
		return;
	lt_counter_add(&e->info->reloads, 1);
	if (replace(e, now_ms) == LT_OK) {
		free_rules_conf(&old);
		loaded(e, e->evaluated_ms ? e->evaluated_ms : now_ms);
	} else {
		free_rules_conf(&e->rules_conf);
		e->rules_conf = old;
	}
}

/* ---- roles ---- */

static void restore(struct lt_engine *e, const char *json, size_t len, int64_t down_ms,
	int64_t now_ms, int64_t grace_ms)
{
	const struct lt_rules_restore_opts opts = {
		.t_ms = now_ms,
		.down_ms = down_ms && down_ms < now_ms ? down_ms : now_ms,
		.tolerance_ms = e->conf->alert.outage_tolerance_ms,
		.grace_ms = grace_ms,
	};
	struct lt_err err;
	size_t n = 0;

	if (lt_rules_restore(e->rules, json, len, &opts, &e->sink, &n, &err) != LT_OK)
		lt_log(LT_ERROR, "alerts_not_restored", LT_S("err", err.msg));
	lt_log(LT_INFO, "alerts_restored", LT_U("alerts", n));
}

static void lead(struct lt_engine *e, bool merge, int64_t now_ms)
{
	bool first = e->role == LT_ROLE_NONE;

	e->role = LT_ROLE_LEAD;
	/* What we evaluated as a follower was never told; the leader's states are the ones that
	 * were. The windows and recorded series stay, and so do the rules: files are read when
	 * somebody says so. */
	if (!first && !merge)
		lt_rules_forget(e->rules);
	if (e->inheritance.alerts.len)
		restore(e, e->inheritance.alerts.data, e->inheritance.alerts.len,
			e->inheritance.evaluated_ms, now_ms, e->conf->alert.grace_ms);
	if (e->paused && !merge) /* until now it was counted */
		e->paused_ms = now_ms;
	if (merge)
		lt_outputs_resync(e->outputs, e->rules);
	if (!merge)
		engine_grid(e, now_ms);
	lt_rules_resend(e->rules);
	pthread_mutex_lock(&e->lock);
	e->republish = true;
	pthread_mutex_unlock(&e->lock);
	lt_buf_fini(&e->inheritance.alerts);
}

void engine_take_role(struct lt_engine *e, int64_t now_ms)
{
	struct lt_state *state = lt_outputs_state(e->outputs);

	switch (lt_state_take(state, &e->inheritance)) {
	case LT_NEWS_FOLLOW:
		e->role = LT_ROLE_FOLLOW;
		break;
	case LT_NEWS_LEAD:
		lead(e, false, now_ms);
		break;
	case LT_NEWS_MERGE:
		lead(e, true, now_ms);
		break;
	case LT_NEWS_RESYNC:
		lt_outputs_resync(e->outputs, e->rules);
		break;
	case LT_NEWS_NONE:
		break;
	}
	if (e->role == LT_ROLE_NONE && lt_mono_ns() - e->started_mono_ns >
					       e->conf->alert.restore_timeout_ms * LT_NS_PER_MS) {
		lt_log(LT_WARN, "leading_without_redis",
			LT_S("err", "alerts that fired before are notified again"));
		lt_state_force(state);
		e->role = LT_ROLE_LEAD;
		engine_grid(e, now_ms);
	}
}

void engine_clock_jump(struct lt_engine *e, int64_t by_ms, int64_t now_ms)
{
	struct lt_buf alerts = {0};

	/* Forward: the time that was jumped over counts as if nobody had evaluated. Backward, `for`
	 * takes longer by as much; evaluations go on. */
	if (by_ms > 0 && e->role == LT_ROLE_LEAD && e->evaluated_ms) {
		lt_rules_export(e->rules, &alerts);
		lt_rules_forget(e->rules);
		restore(e, alerts.data, alerts.len, now_ms - by_ms, now_ms, 0);
		lt_buf_fini(&alerts);
	}
	lt_rules_set_clock(e->rules, by_ms, now_ms);
	e->evaluated_ms = 0;
}
