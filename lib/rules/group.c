/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "rules_int.h"

/* One evaluation of a group: what Prometheus's Group.Eval does. And looks in between. */

static void set_error(struct rule *rule, const char *msg)
{
	free(rule->error);
	rule->error = msg ? lt_strdup(msg) : NULL;
	rule->pub.last_error = msg ? rule->error : "";
	rule->pub.healthy = !msg;
}

/* A scalar is a vector of one element without labels. */
static int as_vector(struct lt_rules *r, struct lt_promql_sample *one, struct lt_err *err)
{
	if (r->result.type == LT_PROMQL_VECTOR)
		return LT_OK;
	if (r->result.type != LT_PROMQL_SCALAR)
		return lt_fail(err, LT_EINVAL, LT_CLS_POISON, "rules.eval",
			"rule result is not a vector or scalar");
	*one = (struct lt_promql_sample){lt_labels_empty(r->pool), r->result.scalar};
	r->result.vector = one;
	r->result.n = 1;
	return LT_OK;
}

static void drop_scalar(struct lt_rules *r, const struct lt_promql_sample *one)
{
	if (r->result.vector != one)
		return;
	lt_labels_put(r->pool, one->labels);
	r->result.vector = NULL;
	r->result.n = 0;
}

/* ---- recording rules ---- */

static const struct lt_labels *record_labels(
	struct lt_rules *r, const struct rule *rule, const struct lt_labels *from)
{
	struct lt_arena_mark mark = lt_arena_mark(&r->scratch);
	struct lt_label_text *set =
		lt_arena_alloc(&r->scratch, (rule->pub.n_labels + 1) * sizeof(*set));
	const struct lt_labels *l;
	size_t n = 0;

	set[n++] = (struct lt_label_text){
		"__name__", rule->pub.name, 8, (uint32_t)strlen(rule->pub.name)};
	for (size_t i = 0; i < rule->pub.n_labels; i++) {
		const struct lt_rule_pair *p = &rule->pub.labels[i];

		set[n++] = (struct lt_label_text){
			p->name, p->value, (uint32_t)strlen(p->name), (uint32_t)strlen(p->value)};
	}
	l = lt_labels_with(r->pool, from, set, n);
	lt_arena_rewind(&r->scratch, mark);
	return l;
}

static const struct lt_labels *made_labels(
	struct lt_rules *r, struct rule *rule, size_t i, const struct lt_labels *from)
{
	struct made *m = made_at(rule, i);

	if (m->from != from) {
		lt_labels_put(r->pool, m->from);
		lt_labels_put(r->pool, m->to);
		m->from = lt_labels_get(from);
		m->to = record_labels(r, rule, from);
	}
	return lt_labels_get(m->to);
}

static int record_eval(
	struct lt_rules *r, struct rule *rule, struct series_list *out, struct lt_err *err)
{
	size_t n = r->result.n;
	uint32_t limit = rule->pub.group->limit;

	for (size_t i = 0; i < n; i++)
		series_list_add(out, made_labels(r, rule, i, r->result.vector[i].labels));
	seen_begin(r, n);
	for (size_t i = 0; i < n; i++) {
		if (!seen_add(r, out->l[i]))
			return lt_fail(err, LT_EINVAL, LT_CLS_POISON, "rules.eval",
				"vector contains metrics with the same labelset after applying "
				"rule labels");
	}
	if (limit && n > limit)
		return lt_fail(err, LT_EFULL, LT_CLS_POISON, "rules.eval",
			"exceeded limit of %u with %zu series", limit, n);
	return LT_OK;
}

/* ---- series ---- */

static double value_of(
	const struct lt_rules *r, const struct rule *rule, size_t i, const struct alert *a)
{
	if (rule->pub.kind == LT_RULE_RECORD)
		return r->result.vector[i].v;
	if (i & 1) { /* ALERTS_FOR_STATE, in whole seconds */
		int64_t s = (a->pub.active_ms + a->pub.paused_ms) / 1000;

		return (double)s;
	}
	return 1;
}

static void append(const struct lt_rules_sink *sink, const struct lt_labels *l, int64_t t_ms,
	double v, bool *taken)
{
	*taken = !sink || !sink->append || sink->append(sink->ctx, l, t_ms, v);
}

/* The next alert that gives samples. */
static const struct alert *next_active(const struct alert *a)
{
	while (a && a->pub.state == LT_ALERT_INACTIVE)
		a = a->next;
	return a;
}

/*
 * The samples of this evaluation, in the order of @now, and staleness markers for the series of the
 * one before that are not there any more. @now becomes the list of the next comparison.
 * Return: samples that were refused.
 */
static size_t write_series(struct lt_rules *r, struct rule *rule, struct series_list *now,
	int64_t t_ms, const struct lt_rules_sink *sink)
{
	const struct alert *a = next_active(rule->alerts.first);
	bool same = now->n == rule->before.n, taken;
	size_t kept = 0, refused;

	for (size_t i = 0; i < now->n; i++) {
		append(sink, now->l[i], t_ms, value_of(r, rule, i, a), &taken);
		if (rule->pub.kind == LT_RULE_ALERT && (i & 1))
			a = next_active(a->next);
		if (!taken) {
			lt_labels_put(r->pool, now->l[i]);
			same = false;
			continue;
		}
		now->l[kept++] = now->l[i];
	}
	refused = now->n - kept;
	now->n = kept;
	if (!same || (kept && memcmp(now->l, rule->before.l, kept * sizeof(*now->l)))) {
		seen_begin(r, kept);
		for (size_t i = 0; i < kept; i++)
			seen_add(r, now->l[i]);
		for (size_t i = 0; i < rule->before.n; i++) {
			if (seen_has(r, rule->before.l[i]))
				continue;
			append(sink, rule->before.l[i], t_ms, lt_promql_stale(), &taken);
		}
	}
	series_list_fini(r->pool, &rule->before);
	rule->before = *now;
	*now = (struct series_list){0};
	return refused;
}

static void mark_stale(
	struct lt_rules *r, struct series_list *s, int64_t t_ms, const struct lt_rules_sink *sink)
{
	bool taken;

	for (size_t i = 0; i < s->n; i++)
		append(sink, s->l[i], t_ms, lt_promql_stale(), &taken);
	series_list_fini(r->pool, s);
}

/* ---- one rule ---- */

static int eval_rule(struct lt_rules *r, struct rule *rule, int64_t t_ms, int64_t interval_ms,
	const struct lt_promql_storage *storage, const struct lt_rules_sink *sink)
{
	struct lt_promql_sample one = {0};
	struct series_list now = {0};
	struct lt_err err = {0};
	int64_t start = lt_mono_ns();
	int code = lt_promql_eval(rule->pub.expr, t_ms, storage, &r->result, &err);
	size_t refused = 0;

	if (!code)
		code = as_vector(r, &one, &err);
	if (!code && rule->pub.kind == LT_RULE_RECORD)
		code = record_eval(r, rule, &now, &err);
	else if (!code)
		code = alert_eval(r, rule, t_ms, interval_ms, storage, sink, &now, &err);
	rule->pub.n_samples = code ? 0 : now.n;
	if (!code)
		refused = write_series(r, rule, &now, t_ms, sink);
	series_list_fini(r->pool, &now);
	drop_scalar(r, &one);
	/* as Prometheus: the rule is unhealthy, what it found stands */
	if (refused)
		lt_fail(&err, LT_EDATA, LT_CLS_POISON, "rules.eval",
			"%zu samples were refused: another one of that time is there, or a newer "
			"one",
			refused);
	set_error(rule, code || refused ? err.msg : NULL);
	rule->pub.eval_ms = t_ms;
	rule->pub.eval_ns = lt_mono_ns() - start;
	return code;
}

size_t lt_rules_look(struct lt_rules *r, const struct lt_rule *rule, int64_t t_ms,
	const struct lt_promql_storage *storage, const struct lt_rules_sink *sink)
{
	struct rule *own = (struct rule *)rule->group->rules[rule->index];
	struct lt_promql_sample one = {0};
	struct lt_err err;
	size_t fired = 0;

	lt_arena_reset(&r->scratch);
	if (lt_promql_eval(rule->expr, t_ms, storage, &r->result, &err) == LT_OK &&
		as_vector(r, &one, &err) == LT_OK)
		fired = alert_look(r, own, t_ms, rule->group->interval_ms, storage, sink);
	drop_scalar(r, &one);
	return fired;
}

size_t lt_rules_group_eval(struct lt_rules *r, struct lt_rules_group *g, int64_t t_ms,
	const struct lt_promql_storage *storage, const struct lt_rules_sink *sink)
{
	struct group *own = (struct group *)g;
	int64_t start = lt_mono_ns();
	size_t failed = 0;

	for (size_t i = 0; i < g->n_rules; i++) {
		lt_arena_reset(&r->scratch);
		if (eval_rule(r, (struct rule *)g->rules[i], t_ms, g->interval_ms, storage, sink))
			failed++;
	}
	mark_stale(r, &own->stale, t_ms, sink);
	own->evaluations++;
	if (r->has_orphans)
		rules_mark_orphans(r, t_ms, sink);
	g->eval_ms = t_ms;
	g->eval_ns = lt_mono_ns() - start;
	if (r->opts.counters) {
		lt_counter_add(&r->opts.counters->evaluations, g->n_rules);
		lt_counter_add(&r->opts.counters->failures, failed);
		lt_hist_add(&r->opts.counters->group_seconds, g->eval_ns);
	}
	return failed;
}
