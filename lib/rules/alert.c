/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "rules_int.h"

/* The life of alerts: what Prometheus's AlertingRule.Eval and sendAlerts do. */

#define UNCONFIRMED_MS 60000

const char *lt_alert_event_name(enum lt_alert_event e)
{
	static const char *const names[] = {"pending", "firing", "resolved", "cancelled"};

	return names[e];
}

static void tell(const struct lt_rules_sink *sink, const struct alert *a, enum lt_alert_event e,
	int64_t t_ms)
{
	if (sink && sink->event)
		sink->event(sink->ctx, &a->pub, e, t_ms);
}

/* ---- what comes in ---- */

struct incoming {
	const struct lt_labels *labels;
	struct alert *known; /* NULL: new */
};

static bool same_value(double a, double b)
{
	return value_bits(a) == value_bits(b);
}

/* The labels of the alert for element @i; those of the last evaluation when it is the same one. */
static const struct lt_labels *labels_for(struct lt_rules *r, struct rule *rule, size_t i,
	int64_t t_ms, const struct lt_promql_storage *storage)
{
	const struct lt_promql_sample *s = &r->result.vector[i];
	struct made *m;

	if (!rule->labels_constant)
		return expand_labels(r, rule, s, t_ms, storage);
	m = made_at(rule, i);
	if (m->from != s->labels) {
		lt_labels_put(r->pool, m->from);
		lt_labels_put(r->pool, m->to);
		m->from = lt_labels_get(s->labels);
		m->to = expand_labels(r, rule, s, t_ms, storage);
	}
	return lt_labels_get(m->to);
}

static void put_all(struct lt_rules *r, struct incoming *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		lt_labels_put(r->pool, in[i].labels);
}

/* Label sets of all elements; two that are equal are an error. References go to the caller. */
static int collect(struct lt_rules *r, struct rule *rule, int64_t t_ms,
	const struct lt_promql_storage *storage, struct incoming *in, struct lt_err *err)
{
	size_t n = r->result.n;

	/* templates may query, and then r->result stays as it is: they have a result of their own */
	for (size_t i = 0; i < n; i++)
		in[i].labels = labels_for(r, rule, i, t_ms, storage);
	seen_begin(r, n);
	for (size_t i = 0; i < n; i++) {
		if (!seen_add(r, in[i].labels)) {
			put_all(r, in, n);
			return lt_fail(err, LT_EINVAL, LT_CLS_POISON, "rules.eval",
				"vector contains metrics with the same labelset after applying "
				"alert labels");
		}
		in[i].known = alert_set_find(&rule->alerts, in[i].labels);
	}
	return LT_OK;
}

static bool keeps_firing(const struct rule *rule, const struct alert *a, int64_t t_ms)
{
	int64_t since = a->pub.keep_since_ms ? a->pub.keep_since_ms : t_ms;

	return a->pub.state == LT_ALERT_FIRING && rule->pub.keep_firing_ms > 0 &&
	       t_ms - since < rule->pub.keep_firing_ms;
}

static bool in_grace(const struct alert *a, int64_t t_ms)
{
	const struct rule *rule = (const struct rule *)a->pub.rule;

	if (a->pub.state == LT_ALERT_INACTIVE)
		return false;
	return t_ms < a->grace_until_ms ||
	       (t_ms < rule->hold_until_ms && a->pub.active_ms < rule->hold_since_ms);
}

/* ---- steps ---- */

static void forget(struct lt_rules *r, struct rule *rule, struct alert *a)
{
	alert_set_remove(&rule->alerts, a);
	alert_free(r->pool, a);
}

void alert_end(struct alert *a, int64_t t_ms, const struct lt_rules_sink *sink)
{
	bool fired = a->pub.state == LT_ALERT_FIRING;

	a->pub.state = LT_ALERT_INACTIVE;
	a->pub.resolved_ms = t_ms;
	a->grace_until_ms = 0;
	tell(sink, a, fired ? LT_ALERT_RESOLVED : LT_ALERT_CANCELLED, t_ms);
}

static struct alert *begin(
	struct lt_rules *r, struct rule *rule, const struct lt_labels *labels, int64_t t_ms)
{
	struct alert *a = lt_calloc(1, sizeof(*a));

	a->pub = (struct lt_alert){
		.state = LT_ALERT_PENDING,
		.labels = labels,
		.active_ms = t_ms,
		.rule = &rule->pub,
		.rule_file = rule->pub.group->file,
		.rule_group = rule->pub.group->name,
		.rule_name = rule->pub.name,
		.fingerprint = alert_hash(r, labels),
	};
	alert_set_add(&rule->alerts, a);
	return a;
}

/* A resolved alert that is true again is a new one, as in Prometheus. */
static void take(struct lt_rules *r, struct rule *rule, struct incoming *in, size_t i, int64_t t_ms,
	const struct lt_promql_storage *storage)
{
	const struct lt_promql_sample *s = &r->result.vector[i];
	struct alert *a = in->known;
	struct lt_arena_mark mark;

	if (a && a->pub.state == LT_ALERT_INACTIVE) {
		forget(r, rule, a);
		a = NULL;
	}
	if (a)
		lt_labels_put(r->pool, in->labels);
	else
		in->known = begin(r, rule, in->labels, t_ms);
	if (!a || a->old_text || !rule->annotations_constant || !same_value(a->pub.value, s->v)) {
		mark = lt_arena_mark(&r->scratch);
		alert_annotate(in->known, expand_annotations(r, rule, s, t_ms, storage),
			rule->pub.n_annotations);
		lt_arena_rewind(&r->scratch, mark);
	}
	in->known->pub.value = s->v;
	in->known->in_result = true;
	in->known->old_text = false;
}

/* Since when its expression has found nothing; 0: it does. */
static void keep_since(struct alert *a, int64_t t_ms, const struct lt_rules_sink *sink)
{
	if (a->pub.keep_since_ms == t_ms)
		return;
	a->pub.keep_since_ms = t_ms;
	if (sink && sink->changed && a->pub.state == LT_ALERT_FIRING)
		sink->changed(sink->ctx, &a->pub);
}

/* An alert that the expression does not give now. Return: is it held on? */
static bool absent(struct lt_rules *r, struct rule *rule, struct alert *a, int64_t t_ms,
	const struct lt_rules_sink *sink)
{
	bool keep = false;

	if (in_grace(a, t_ms))
		return true;
	if (a->pub.state == LT_ALERT_FIRING && rule->pub.keep_firing_ms > 0) {
		if (!a->pub.keep_since_ms)
			keep_since(a, t_ms, sink);
		keep = keeps_firing(rule, a, t_ms);
	}
	if (keep)
		return true;
	if (a->pub.state == LT_ALERT_PENDING) {
		alert_end(a, t_ms, sink);
		forget(r, rule, a);
	} else if (a->pub.state == LT_ALERT_FIRING) {
		alert_end(a, t_ms, sink);
	} else if (t_ms - a->pub.resolved_ms > r->opts.resolved_retention_ms) {
		forget(r, rule, a);
	}
	return false;
}

/* ---- series ---- */

static const struct lt_labels *alert_series(
	struct lt_rules *r, struct rule *rule, struct alert *a, size_t which)
{
	static const char *const states[] = {NULL, "pending", "firing"};
	struct lt_arena_mark mark = lt_arena_mark(&r->scratch);
	struct lt_label_text *set;
	size_t n = 0;

	if (a->series[which])
		return a->series[which];
	set = lt_arena_alloc(&r->scratch, (rule->pub.n_labels + 3) * sizeof(*set));
	/* Prometheus begins with the rule's labels as they are written: where a template gave
	 * nothing, its text stays in these series. */
	for (size_t i = 0; i < rule->pub.n_labels; i++) {
		const struct lt_rule_pair *p = &rule->pub.labels[i];

		if (*lt_labels_value(r->pool, a->pub.labels, p->name))
			continue;
		set[n++] = (struct lt_label_text){
			p->name, p->value, (uint32_t)strlen(p->name), (uint32_t)strlen(p->value)};
	}
	set[n++] = which ? (struct lt_label_text){"__name__", "ALERTS", 8, 6}
			 : (struct lt_label_text){"__name__", "ALERTS_FOR_STATE", 8, 16};
	set[n++] = (struct lt_label_text){
		"alertname", rule->pub.name, 9, (uint32_t)strlen(rule->pub.name)};
	if (which)
		set[n++] = (struct lt_label_text){
			"alertstate", states[which], 10, (uint32_t)strlen(states[which])};
	a->series[which] = lt_labels_with(r->pool, a->pub.labels, set, n);
	lt_arena_rewind(&r->scratch, mark);
	return a->series[which];
}

static void put_series(
	struct lt_rules *r, struct rule *rule, struct alert *a, struct series_list *out)
{
	series_list_add(out, lt_labels_get(alert_series(r, rule, a, a->pub.state)));
	series_list_add(out, lt_labels_get(alert_series(r, rule, a, 0)));
}

/* ---- the evaluation ---- */

/* The number of alerts that will be there; the group's limit is looked at before anything changes. */
static size_t count_active(
	const struct rule *rule, const struct incoming *in, size_t n, int64_t t_ms)
{
	size_t count = n;

	for (size_t i = 0; i < n; i++) {
		if (in[i].known)
			in[i].known->in_result = true;
	}
	for (const struct alert *a = rule->alerts.first; a; a = a->next) {
		if (!a->in_result && (keeps_firing(rule, a, t_ms) || in_grace(a, t_ms)))
			count++;
	}
	return count;
}

static void end_all(struct lt_rules *r, struct rule *rule, int64_t t_ms, int64_t interval_ms,
	const struct lt_rules_sink *sink)
{
	while (rule->alerts.first) {
		struct alert *a = rule->alerts.first;

		if (a->pub.state != LT_ALERT_INACTIVE) {
			bool fired = a->pub.state == LT_ALERT_FIRING;

			alert_end(a, t_ms, sink);
			if (fired)
				alert_send(r, a, t_ms, interval_ms, sink);
		}
		forget(r, rule, a);
	}
}

static int check_limits(struct lt_rules *r, struct rule *rule, struct incoming *in, int64_t t_ms,
	int64_t interval_ms, const struct lt_rules_sink *sink, struct lt_err *err)
{
	size_t n = r->result.n, active = count_active(rule, in, n, t_ms);
	uint32_t limit = rule->pub.group->limit;

	if (limit && active > limit) {
		end_all(r, rule, t_ms, interval_ms, sink);
		return lt_fail(err, LT_EFULL, LT_CLS_POISON, "rules.eval",
			"exceeded limit of %u with %zu alerts", limit, active);
	}
	if (active > r->opts.max_alerts)
		return lt_fail(err, LT_EFULL, LT_CLS_POISON, "rules.eval",
			"more than %u alerts of one rule (%zu): they stay as they are",
			r->opts.max_alerts, active);
	return LT_OK;
}

static void advance(struct rule *rule, struct alert *a, bool is_new, int64_t t_ms,
	const struct lt_rules_sink *sink)
{
	if (a->pub.state == LT_ALERT_PENDING &&
		t_ms - a->pub.active_ms - a->pub.paused_ms >= rule->pub.for_ms &&
		(a->in_result || !in_grace(a, t_ms))) {
		a->pub.state = LT_ALERT_FIRING;
		a->pub.fired_ms = t_ms;
		tell(sink, a, LT_ALERT_FIRED, t_ms);
	} else if (is_new) {
		tell(sink, a, LT_ALERT_BEGAN, t_ms);
	}
}

int alert_eval(struct lt_rules *r, struct rule *rule, int64_t t_ms, int64_t interval_ms,
	const struct lt_promql_storage *storage, const struct lt_rules_sink *sink,
	struct series_list *out_series, struct lt_err *err)
{
	size_t n = r->result.n;
	struct incoming *in = lt_arena_alloc(&r->scratch, (n + 1) * sizeof(*in));
	struct alert *next;
	int code = collect(r, rule, t_ms, storage, in, err);

	if (code)
		return code;
	for (struct alert *a = rule->alerts.first; a; a = a->next)
		a->in_result = false;
	code = check_limits(r, rule, in, t_ms, interval_ms, sink, err);
	if (code) {
		put_all(r, in, n);
		return code;
	}
	for (size_t i = 0; i < n; i++)
		take(r, rule, &in[i], i, t_ms, storage);
	rule->pub.n_pending = rule->pub.n_firing = 0;
	for (struct alert *a = rule->alerts.first; a; a = next) {
		bool is_new = a->pub.active_ms == t_ms && a->pub.state == LT_ALERT_PENDING &&
			      !a->series[0];

		next = a->next;
		if (!a->in_result) {
			if (!absent(r, rule, a, t_ms, sink))
				continue;
		} else {
			keep_since(a, 0, sink);
			a->grace_until_ms = 0;
		}
		advance(rule, a, is_new, t_ms, sink);
		if (a->pub.state == LT_ALERT_PENDING)
			rule->pub.n_pending++;
		else
			rule->pub.n_firing++;
		put_series(r, rule, a, out_series);
	}
	for (struct alert *a = rule->alerts.first; a; a = a->next)
		alert_send(r, a, t_ms, interval_ms, sink);
	return LT_OK;
}

/*
 * May a look let it fire? One that an evaluation ended before any had confirmed it is likely to be
 * true only between them: for a while it waits for one, so as not to come and go with each.
 */
static bool may_begin(const struct alert *a, int64_t t_ms, int64_t interval_ms)
{
	if (!a)
		return true;
	return a->pub.state == LT_ALERT_INACTIVE &&
	       (a->pub.resolved_ms - a->pub.fired_ms >= interval_ms ||
		       t_ms - a->pub.resolved_ms >= UNCONFIRMED_MS);
}

size_t alert_look(struct lt_rules *r, struct rule *rule, int64_t t_ms, int64_t interval_ms,
	const struct lt_promql_storage *storage, const struct lt_rules_sink *sink)
{
	size_t n = r->result.n, fresh = 0, active = rule->pub.n_pending + rule->pub.n_firing;
	struct incoming *in = lt_arena_alloc(&r->scratch, (n + 1) * sizeof(*in));
	uint32_t limit = rule->pub.group->limit;
	struct lt_err err;

	if (collect(r, rule, t_ms, storage, in, &err) != LT_OK)
		return 0;
	for (size_t i = 0; i < n; i++)
		fresh += may_begin(in[i].known, t_ms, interval_ms);
	active += fresh;
	if (!fresh || (limit && active > limit) || active > r->opts.max_alerts) {
		put_all(r, in, n);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		if (!may_begin(in[i].known, t_ms, interval_ms)) {
			lt_labels_put(r->pool, in[i].labels);
			continue;
		}
		take(r, rule, &in[i], i, t_ms, storage);
		advance(rule, in[i].known, true, t_ms, sink);
		alert_send(r, in[i].known, t_ms, interval_ms, sink);
	}
	rule->pub.n_firing += fresh;
	return fresh;
}

static bool needs_sending(const struct lt_rules *r, const struct alert *a, int64_t t_ms)
{
	if (a->pub.state == LT_ALERT_PENDING)
		return false;
	if (!a->sent || (a->pub.state == LT_ALERT_INACTIVE && a->pub.resolved_ms > a->pub.sent_ms))
		return true;
	return a->pub.sent_ms + r->opts.resend_delay_ms < t_ms;
}

void alert_send(struct lt_rules *r, struct alert *a, int64_t t_ms, int64_t interval_ms,
	const struct lt_rules_sink *sink)
{
	int64_t delta = r->opts.resend_delay_ms;

	if (!needs_sending(r, a, t_ms))
		return;
	if (interval_ms > delta)
		delta = interval_ms;
	a->sent = true;
	a->pub.sent_ms = t_ms;
	a->pub.valid_until_ms = t_ms + 4 * delta;
	if (sink && sink->send)
		sink->send(sink->ctx, &a->pub, t_ms);
}

void lt_rules_each_alert(
	const struct lt_rules *r, void (*fn)(void *ctx, const struct lt_alert *a), void *ctx)
{
	for (size_t i = 0; i < r->n_groups; i++) {
		for (size_t j = 0; j < r->groups[i]->pub.n_rules; j++) {
			const struct rule *rule = (const struct rule *)r->groups[i]->pub.rules[j];

			for (const struct alert *a = rule->alerts.first; a; a = a->next)
				fn(ctx, &a->pub);
		}
	}
}

void lt_rules_hold(
	struct lt_rules *r, const struct lt_rule *rule, int64_t since_ms, int64_t until_ms)
{
	struct rule *own = (struct rule *)rule->group->rules[rule->index];

	(void)r;
	own->hold_since_ms = since_ms;
	own->hold_until_ms = until_ms;
}

const struct lt_alert *lt_rules_twin(const struct lt_rules *r, const struct lt_alert *a)
{
	const struct lt_alert *found = NULL;

	for (size_t i = 0; i < r->n_groups; i++) {
		for (size_t j = 0; j < r->groups[i]->pub.n_rules; j++) {
			const struct rule *rule = (const struct rule *)r->groups[i]->pub.rules[j];
			const struct alert *other;

			/* alertname is one of the labels */
			if (&rule->pub == a->rule || rule->pub.kind != LT_RULE_ALERT ||
				strcmp(rule->pub.name, a->rule_name) != 0)
				continue;
			other = alert_set_find(&rule->alerts, a->labels);
			if (other && other->pub.state > (found ? found->state : LT_ALERT_INACTIVE))
				found = &other->pub;
		}
	}
	return found;
}

void lt_rules_resend(struct lt_rules *r)
{
	for (size_t i = 0; i < r->n_groups; i++) {
		for (size_t j = 0; j < r->groups[i]->pub.n_rules; j++) {
			struct rule *rule = (struct rule *)r->groups[i]->pub.rules[j];

			for (struct alert *a = rule->alerts.first; a; a = a->next)
				a->sent = false;
		}
	}
}

static void pause_rule(struct rule *rule, int64_t by_ms, const struct lt_rules_sink *sink)
{
	for (struct alert *a = rule->alerts.first; a; a = a->next) {
		if (a->pub.state != LT_ALERT_PENDING)
			continue;
		a->pub.paused_ms += by_ms;
		if (sink && sink->changed)
			sink->changed(sink->ctx, &a->pub);
	}
}

void lt_rules_pause(struct lt_rules *r, int64_t by_ms, const struct lt_rules_sink *sink)
{
	for (size_t i = 0; i < r->n_groups; i++)
		for (size_t j = 0; j < r->groups[i]->pub.n_rules; j++)
			pause_rule((struct rule *)r->groups[i]->pub.rules[j], by_ms, sink);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void set_clock(struct alert *a, int64_t by_ms, int64_t now_ms)
{
	if (by_ms > 0) {
		if (a->pub.keep_since_ms)
			a->pub.keep_since_ms += by_ms;
		return;
	}
	a->pub.fired_ms = earlier(a->pub.fired_ms, now_ms);
	a->pub.resolved_ms = earlier(a->pub.resolved_ms, now_ms);
	a->pub.sent_ms = earlier(a->pub.sent_ms, now_ms);
	a->pub.keep_since_ms = earlier(a->pub.keep_since_ms, now_ms);
	if (a->grace_until_ms)
		a->grace_until_ms += by_ms;
}

void lt_rules_set_clock(struct lt_rules *r, int64_t by_ms, int64_t now_ms)
{
	for (size_t i = 0; i < r->n_groups; i++) {
		for (size_t j = 0; j < r->groups[i]->pub.n_rules; j++) {
			struct rule *rule = (struct rule *)r->groups[i]->pub.rules[j];

			for (struct alert *a = rule->alerts.first; a; a = a->next)
				set_clock(a, by_ms, now_ms);
		}
	}
}

void lt_rules_send(struct lt_rules *r, int64_t t_ms, const struct lt_rules_sink *sink)
{
	for (size_t i = 0; i < r->n_groups; i++) {
		const struct lt_rules_group *g = &r->groups[i]->pub;

		for (size_t j = 0; j < g->n_rules; j++) {
			struct rule *rule = (struct rule *)g->rules[j];

			for (struct alert *a = rule->alerts.first; a; a = a->next)
				alert_send(r, a, t_ms, g->interval_ms, sink);
		}
	}
}

void lt_rules_forget(struct lt_rules *r)
{
	for (size_t i = 0; i < r->n_groups; i++) {
		for (size_t j = 0; j < r->groups[i]->pub.n_rules; j++) {
			struct rule *rule = (struct rule *)r->groups[i]->pub.rules[j];

			alert_set_fini(r->pool, &rule->alerts);
			rule->pub.n_pending = rule->pub.n_firing = 0;
		}
	}
}
