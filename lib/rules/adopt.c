/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "rules_int.h"

/* State over a reload: Prometheus's Group.CopyState, and what it leaves to time limits elsewhere. */

static bool same_labels(const struct lt_rule *a, const struct lt_rule *b)
{
	if (a->n_labels != b->n_labels)
		return false;
	for (size_t i = 0; i < a->n_labels; i++) {
		if (strcmp(a->labels[i].name, b->labels[i].name) ||
			strcmp(a->labels[i].value, b->labels[i].value))
			return false;
	}
	return true;
}

static struct group *find_group(const struct lt_rules *r, const struct group *like)
{
	for (size_t i = 0; i < r->n_groups; i++) {
		if (!strcmp(r->groups[i]->pub.file, like->pub.file) &&
			!strcmp(r->groups[i]->pub.name, like->pub.name))
			return r->groups[i];
	}
	return NULL;
}

static struct rule *find_rule(const struct group *g, const struct rule *like)
{
	for (size_t i = 0; i < g->pub.n_rules; i++) {
		struct rule *rule = (struct rule *)g->pub.rules[i];

		if (!rule->done && rule->pub.kind == like->pub.kind &&
			!strcmp(rule->pub.name, like->pub.name) &&
			same_labels(&rule->pub, &like->pub))
			return rule;
	}
	return NULL;
}

static void move_list(struct series_list *to, struct series_list *from)
{
	for (size_t i = 0; i < from->n; i++)
		series_list_add(to, from->l[i]);
	from->n = 0;
}

static void take_over(struct rule *to, struct rule *from)
{
	to->done = true;
	to->before = from->before;
	from->before = (struct series_list){0};
	to->alerts = from->alerts;
	from->alerts = (struct alert_set){0};
	to->pub.n_pending = from->pub.n_pending;
	to->pub.n_firing = from->pub.n_firing;
	for (struct alert *a = to->alerts.first; a; a = a->next) {
		a->old_text = true;
		a->pub.rule = &to->pub;
		a->pub.rule_file = to->pub.group->file;
		a->pub.rule_group = to->pub.group->name;
		a->pub.rule_name = to->pub.name;
	}
}

/* The rule is gone: what it said is no longer so. */
static void end_alerts(struct lt_rules *old, struct rule *rule, int64_t t_ms, int64_t interval_ms,
	const struct lt_rules_sink *sink)
{
	for (struct alert *a = rule->alerts.first; a; a = a->next) {
		bool fired = a->pub.state == LT_ALERT_FIRING;

		if (a->pub.state == LT_ALERT_INACTIVE)
			continue;
		alert_end(a, t_ms, sink);
		if (fired)
			alert_send(old, a, t_ms, interval_ms, sink);
	}
	alert_set_fini(old->pool, &rule->alerts);
}

void lt_rules_adopt(
	struct lt_rules *r, struct lt_rules *old, int64_t t_ms, const struct lt_rules_sink *sink)
{
	for (size_t i = 0; i < r->n_groups; i++) {
		for (size_t j = 0; j < r->groups[i]->pub.n_rules; j++)
			((struct rule *)r->groups[i]->pub.rules[j])->done = false;
		r->groups[i]->evaluations = 0;
	}
	for (size_t i = 0; i < old->n_groups; i++) {
		struct group *from = old->groups[i], *to = find_group(r, from);

		if (to)
			to->pub.eval_ms = from->pub.eval_ms;
		move_list(to ? &to->stale : &r->orphans, &from->stale);
		for (size_t j = 0; j < from->pub.n_rules; j++) {
			struct rule *rule = (struct rule *)from->pub.rules[j];
			struct rule *match = to ? find_rule(to, rule) : NULL;

			rule->done = match != NULL;
			if (match)
				take_over(match, rule);
			else
				move_list(to ? &to->stale : &r->orphans, &rule->before);
		}
	}
	/* What ends, ends when all that stay are there: they may have the same labels. */
	for (size_t i = 0; i < old->n_groups; i++) {
		const struct lt_rules_group *from = &old->groups[i]->pub;

		for (size_t j = 0; j < from->n_rules; j++) {
			struct rule *rule = (struct rule *)from->rules[j];

			if (!rule->done)
				end_alerts(old, rule, t_ms, from->interval_ms, sink);
		}
	}
	move_list(&r->orphans, &old->orphans);
	r->has_orphans = r->orphans.n > 0;
}

/* Series of groups that are gone, unless another rule makes them now. */
void rules_mark_orphans(struct lt_rules *r, int64_t t_ms, const struct lt_rules_sink *sink)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_groups; i++) {
		if (!r->groups[i]->evaluations)
			return;
		for (size_t j = 0; j < r->groups[i]->pub.n_rules; j++)
			n += ((struct rule *)r->groups[i]->pub.rules[j])->before.n;
	}
	seen_begin(r, n);
	for (size_t i = 0; i < r->n_groups; i++) {
		for (size_t j = 0; j < r->groups[i]->pub.n_rules; j++) {
			const struct rule *rule = (struct rule *)r->groups[i]->pub.rules[j];

			for (size_t k = 0; k < rule->before.n; k++)
				seen_add(r, rule->before.l[k]);
		}
	}
	for (size_t i = 0; i < r->orphans.n; i++) {
		if (sink && sink->append && !seen_has(r, r->orphans.l[i]))
			sink->append(sink->ctx, r->orphans.l[i], t_ms, lt_promql_stale());
	}
	series_list_fini(r->pool, &r->orphans);
	r->has_orphans = false;
}
