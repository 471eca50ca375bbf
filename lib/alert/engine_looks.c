/* SPDX-License-Identifier: MIT */
/*
 * Looks: an alerting rule without `for` is evaluated between two instants of its group's grid when
 * an event may have changed its answer, so that its alerts do not wait for the grid. A look only
 * lets alerts fire (lt_rules_look()); everything else is the grid's.
 *
 * When: of "<selector> <comparison> <number>", when a sample met it that the one before it did not:
 * that is seen as samples come in, for any number of sources. Of other expressions, when events came
 * that any rule wants. Not just before an instant of the grid, where agents' snapshots come in and
 * sources stand at different seconds. Nor where what evaluations write is compared with events: it
 * is as old as the last one, and "x unless ALERTS" would find what is never true on the grid.
 *
 * What looks may cost: as an account that fills with time. One for all thresholds, one for each other
 * rule; what they may take together is a fiftieth of a core, twice. So an expression over many
 * sources is looked at rarely: what it finds comes with the grid. Of thresholds, the one that has to
 * wait for the account comes first the next time.
 */
#include <stdlib.h>
#include <string.h>

#include "engine_int.h"
#include "latido/clock.h"

#define INTERVAL_MS 5000 /* groups with a longer one want to be evaluated rarely */
#define BEFORE_MS   100  /* the next instant is so near: it will do */
#define BEHIND_MS   200  /* so much is not taken over yet: there is no time for looks */
#define APART_NS    (100 * LT_NS_PER_MS) /* looks at one rule */
#define SHARE       50                   /* of a core */
#define SAVED_NS    (2 * LT_NS_PER_S)    /* of what was not used */
#define ROUND_NS    (20 * LT_NS_PER_MS)  /* then events are taken over first */

/* ---- which rules ---- */

static bool may_be_looked_at(const struct lt_rule *r)
{
	return r->kind == LT_RULE_ALERT && !r->for_ms && r->group->interval_ms <= INTERVAL_MS;
}

/* What every evaluation of the group writes; other groups' series are as old on the grid as between. */
static bool is_written_with(const struct lt_rules_group *g, const char *name)
{
	if (!strcmp(name, "ALERTS") || !strcmp(name, "ALERTS_FOR_STATE"))
		return true;
	for (size_t i = 0; i < g->n_rules; i++)
		if (g->rules[i]->kind == LT_RULE_RECORD && !strcmp(g->rules[i]->name, name))
			return true;
	return false;
}

static bool reads_evaluations(const struct lt_rule *r, struct lt_as *store)
{
	for (size_t k = 0; k < lt_promql_selector_count(r->expr); k++) {
		uint32_t name = lt_promql_selector(r->expr, k)->name;

		if (name == LT_SYM_NONE ||
			is_written_with(r->group, lt_sym_text(lt_as_pool(store), name, NULL)))
			return true;
	}
	return false;
}

void engine_looks_new(struct engine_looks *l, const struct lt_rules *rules, struct lt_as *store)
{
	struct lt_promql_threshold t;
	struct engine_look *look;
	size_t n = 0;

	for (size_t g = 0; g < lt_rules_group_count(rules); g++)
		n += lt_rules_group(rules, g)->n_rules;
	*l = (struct engine_looks){.all = lt_calloc(n + 1, sizeof(*l->all))};
	look = l->all;
	for (size_t g = 0; g < lt_rules_group_count(rules); g++) {
		const struct lt_rules_group *group = lt_rules_group(rules, g);

		for (size_t i = 0; i < group->n_rules; i++, look++) {
			look->wanted = may_be_looked_at(group->rules[i]);
			if (!look->wanted)
				continue;
			look->by_value = lt_promql_threshold(group->rules[i]->expr, &t);
			look->crossed_ms = INT64_MIN;
			if (look->by_value)
				lt_as_watch(store, &t, &look->crossed_ms);
			else if (reads_evaluations(group->rules[i], store))
				look->wanted = false;
			else
				l->n_others++;
		}
	}
}

void engine_looks_free(struct engine_looks *l)
{
	free(l->all);
	*l = (struct engine_looks){0};
}

/* ---- when ---- */

static uint64_t values(const struct lt_engine *e)
{
	return lt_counter_get(&e->info->sources.values);
}

static bool is_touched(const struct lt_engine *e, const struct engine_look *l)
{
	return l->by_value ? l->crossed_ms > INT64_MIN : l->values != values(e);
}

static void touched_no_more(const struct lt_engine *e, struct engine_look *l)
{
	l->crossed_ms = INT64_MIN;
	l->values = values(e);
}

/* An evaluation that is late has not seen what came behind its instant. */
void engine_looks_evaluated(struct lt_engine *e, struct engine_group *g)
{
	for (size_t i = 0; i < g->group->n_rules; i++) {
		struct engine_look *l = &g->looks[i];

		if (l->by_value ? l->crossed_ms <= g->next_ms : e->heard_ms <= g->next_ms)
			touched_no_more(e, l);
	}
}

static int64_t *account(struct lt_engine *e, struct engine_look *l)
{
	return l->by_value ? &e->looks.paid_mono_ns : &l->paid_mono_ns;
}

static void look(struct lt_engine *e, struct engine_group *g, size_t i, int64_t now_ms)
{
	int64_t start_ns = lt_mono_ns(), *paid_ns = account(e, &g->looks[i]);
	int64_t weight = g->looks[i].by_value ? SHARE : SHARE * (int64_t)e->looks.n_others;

	e->at_ms = now_ms;
	lt_rules_look(e->rules, g->group->rules[i], now_ms, lt_as_storage(e->store), &e->sink);
	touched_no_more(e, &g->looks[i]);
	g->looks[i].next_mono_ns = start_ns + APART_NS;
	if (*paid_ns < start_ns - SAVED_NS)
		*paid_ns = start_ns - SAVED_NS;
	*paid_ns += (lt_mono_ns() - start_ns) * weight;
	lt_counter_add(&e->info->looks, 1);
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Those from @first on, or those before it. Return: as engine_look(). */
static int64_t look_at_some(
	struct lt_engine *e, int64_t now_ms, int64_t start_ns, size_t first, bool before)
{
	int64_t wait_ns = INT64_MAX;

	for (size_t k = 0; k < e->n_groups; k++) {
		struct engine_group *g = &e->groups[k];

		if (now_ms <= g->next_ms - g->group->interval_ms || now_ms > g->next_ms - BEFORE_MS)
			continue;
		for (size_t i = 0; i < g->group->n_rules; i++) {
			struct engine_look *l = &g->looks[i];
			size_t at = (size_t)(l - e->looks.all);
			int64_t from_ns;

			if (!l->wanted || (at < first) != before || !is_touched(e, l))
				continue;
			from_ns = later(l->next_mono_ns, *account(e, l));
			if (from_ns <= start_ns) {
				if (lt_mono_ns() - start_ns > ROUND_NS)
					return 0;
				look(e, g, i, now_ms);
				continue;
			}
			wait_ns = sooner(wait_ns, from_ns - start_ns);
			if (l->by_value && l->next_mono_ns <= start_ns &&
				e->looks.first == SIZE_MAX)
				e->looks.first = at;
		}
	}
	return wait_ns;
}

int64_t engine_look(struct lt_engine *e, int64_t now_ms, int64_t known_ms)
{
	int64_t start_ns = lt_mono_ns(), wait_ns;
	size_t first = e->looks.first;

	if (e->role != LT_ROLE_LEAD || e->conf->alert.delay_ms || now_ms - known_ms > BEHIND_MS)
		return INT64_MAX;
	e->looks.first = SIZE_MAX;
	wait_ns = look_at_some(e, now_ms, start_ns, first, false);
	wait_ns = sooner(wait_ns, look_at_some(e, now_ms, start_ns, first, true));
	if (e->looks.first == SIZE_MAX)
		e->looks.first = 0;
	return wait_ns;
}
