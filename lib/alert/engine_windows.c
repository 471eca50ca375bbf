/* SPDX-License-Identifier: MIT */
/*
 * Are the windows of the rules complete? After a start, and for rules that are new, they reach back
 * only as far as Redis and the bus do; an outage of the bus leaves a hole in them. What is missing
 * comes from PostgreSQL; until it is there, or time has filled the windows, what was active before is
 * held.
 */
#include <stdlib.h>
#include <string.h>

#include "engine_int.h"
#include "latido/clock.h"
#include "latido/log.h"
#include "selectors.h"

#define SHORT_MS  LT_LOOKBACK_MS /* windows up to this fill while alert.grace holds, or soon after */
#define PASSES    16             /* recorded series that read recorded series */
#define TAKE_NS   (20 * LT_NS_PER_MS)
#define MATTERS   20     /* a hole that is less than this part of a window makes no rule cold */
#define SETTLE_MS 3000   /* from the first event on: by then live ones come again */
#define COME_MS   120000 /* by then sources are back, or it is done without them */

/* ---- what a rule needs ---- */

static const char *record_name(const struct engine_window *w)
{
	return w->rule->kind == LT_RULE_RECORD ? w->rule->name : NULL;
}

static bool is_made_here(const char *name)
{
	return !strcmp(name, "up") || !strcmp(name, "ALERTS") || !strcmp(name, "ALERTS_FOR_STATE");
}

/* One selector of a rule: how far it needs the series behind it. Return: did that change anything? */
static bool look_at(
	struct lt_engine *e, struct engine_window *w, const struct lt_promql_selector *s)
{
	const char *name = s->name == LT_SYM_NONE ? NULL : lt_sym_text(e->pool, s->name, NULL);
	int64_t own_ms = lt_as_window_ms(s), needs_ms = own_ms;
	bool stored = own_ms <= SHORT_MS || !name || !is_made_here(name);

	for (size_t i = 0; i < e->n_windows; i++) {
		const struct engine_window *o = &e->windows[i];
		const char *made = record_name(o);

		if (!made || (name && strcmp(made, name) != 0))
			continue;
		if (name && own_ms > SHORT_MS)
			stored = false;
		if (!name) /* it may find anything; records are hardly what is meant */
			continue;
		if (own_ms + o->needs_ms > needs_ms)
			needs_ms = own_ms + o->needs_ms;
		stored = stored && o->stored;
	}
	if (needs_ms <= w->needs_ms && (stored || !w->stored))
		return false;
	if (needs_ms > w->needs_ms)
		w->needs_ms = needs_ms;
	w->stored = w->stored && stored;
	return true;
}

static void find_needs(struct lt_engine *e)
{
	bool changed = true;

	for (int pass = 0; changed && pass < PASSES; pass++) {
		changed = false;
		for (size_t i = 0; i < e->n_windows; i++) {
			const struct lt_promql_expr *x = e->windows[i].rule->expr;

			for (size_t k = 0; k < lt_promql_selector_count(x); k++)
				changed |= look_at(e, &e->windows[i], lt_promql_selector(x, k));
		}
	}
}

/* ---- holding ---- */

/* Its beginning is missing. */
static bool is_short(const struct engine_window *w, int64_t now_ms)
{
	return w->needs_ms > SHORT_MS && !w->filled && now_ms < w->since_ms + w->needs_ms;
}

static bool is_holed(const struct engine_window *w, int64_t now_ms)
{
	return w->hole_ms && now_ms < w->hole_ms + w->needs_ms;
}

static bool is_cold(const struct engine_window *w, int64_t now_ms)
{
	return is_short(w, now_ms) || is_holed(w, now_ms);
}

/* Until time has filled it, alerts that began before @from_ms are held. */
static void hold_since(
	const struct engine_window *w, int64_t from_ms, int64_t *since_ms, int64_t *until_ms)
{
	if (from_ms > *since_ms)
		*since_ms = from_ms;
	if (from_ms + w->needs_ms > *until_ms)
		*until_ms = from_ms + w->needs_ms;
}

static void hold(struct lt_engine *e, int64_t now_ms)
{
	int64_t cold = 0;

	for (size_t i = 0; i < e->n_windows; i++) {
		const struct engine_window *w = &e->windows[i];
		int64_t since_ms = e->back_ms, until_ms = e->back_ms + e->conf->alert.grace_ms;

		if (is_short(w, now_ms))
			hold_since(w, w->since_ms, &since_ms, &until_ms);
		if (is_holed(w, now_ms))
			hold_since(w, w->hole_ms, &since_ms, &until_ms);
		cold += is_cold(w, now_ms);
		lt_rules_hold(e->rules, w->rule, since_ms, until_ms);
	}
	lt_gauge_set(&e->info->rules_cold, cold);
	e->cold = cold > 0;
}

void engine_windows_free(struct engine_window *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(w[i].text);
	free(w);
}

void engine_windows_load(struct lt_engine *e, int64_t now_ms)
{
	struct engine_window *old = e->windows;
	size_t n_old = e->n_windows, n = 0, k = 0;

	for (size_t g = 0; g < lt_rules_group_count(e->rules); g++)
		n += lt_rules_group(e->rules, g)->n_rules;
	e->windows = lt_calloc(n + 1, sizeof(*e->windows));
	e->n_windows = n;
	for (size_t g = 0; g < lt_rules_group_count(e->rules); g++) {
		const struct lt_rules_group *group = lt_rules_group(e->rules, g);

		for (size_t i = 0; i < group->n_rules; i++, k++)
			e->windows[k] = (struct engine_window){.rule = group->rules[i],
				.text = lt_strdup(group->rules[i]->expr_text),
				.since_ms = now_ms,
				.stored = true};
	}
	find_needs(e);
	/* Most often they are the rules of before, in the same order. */
	for (size_t i = 0; i < n; i++) {
		struct engine_window *w = &e->windows[i];

		for (size_t j = 0; j < n_old; j++) {
			const struct engine_window *o = &old[(i + j) % n_old];

			if (o->needs_ms < w->needs_ms || strcmp(o->text, w->text) != 0)
				continue;
			w->since_ms = o->since_ms;
			w->hole_ms = o->hole_ms;
			w->filled = o->filled;
			w->asked = o->asked;
			break;
		}
		if (w->needs_ms > SHORT_MS && w->since_ms == now_ms)
			e->ask_windows = true;
	}
	engine_windows_free(old, n_old);
	hold(e, now_ms);
}

/* Is anything being filled? It is not wanted any more. */
static void stop_filling(struct lt_engine *e)
{
	if (e->filling)
		lt_backfill_ask(e->backfill, NULL);
	e->filling = false;
}

static void open_hole(struct lt_engine *e, int64_t now_ms)
{
	int64_t gone_ms = now_ms - e->heard_ms;
	/* The last events may have been on their way. */
	int64_t from_ms = e->heard_ms - e->conf->alert.max_lag_ms;
	bool wanted = false;

	for (size_t i = 0; i < e->n_windows; i++) {
		struct engine_window *w = &e->windows[i];

		if (w->needs_ms <= SHORT_MS)
			continue;
		wanted = true;
		if (gone_ms > w->needs_ms / MATTERS)
			w->hole_ms = now_ms;
		e->ask_windows |= e->filling && is_short(w, now_ms);
	}
	if (!wanted)
		return;
	stop_filling(e);
	if (!e->hole.to_ms || from_ms < e->hole.from_ms)
		e->hole.from_ms = from_ms;
	e->hole.to_ms = e->hole.heard_ms = now_ms;
	e->hole.asked = false;
	lt_log(LT_INFO, "windows_hole", LT_I("ms", gone_ms));
}

void engine_windows_back(struct lt_engine *e, int64_t now_ms)
{
	e->back_ms = now_ms;
	if (now_ms - e->heard_ms > LT_BACKFILL_TOLERANCE_MS)
		open_hole(e, now_ms);
	hold(e, now_ms);
}

void engine_windows_shift(struct lt_engine *e, int64_t by_ms, int64_t now_ms)
{
	for (size_t i = 0; i < e->n_windows; i++) {
		e->windows[i].since_ms += by_ms;
		if (e->windows[i].hole_ms)
			e->windows[i].hole_ms += by_ms;
	}
	e->hole.from_ms += by_ms;
	e->hole.heard_ms += by_ms;
	if (e->hole.to_ms)
		e->hole.to_ms += by_ms;
	e->opened_ms += by_ms;
	if (e->back_ms)
		e->back_ms += by_ms;
	hold(e, now_ms);
}

/* ---- filling ---- */

struct asking {
	struct lt_backfill_job *job;
	int64_t most_ms,
		least_ms;  /* no source is complete since later, or since earlier than that */
	int64_t newest_ms; /* out: since when all are */
	int64_t hole_ms;   /* end of a hole in all of them; INT64_MIN: none is wanted */
	bool beginnings;   /* those are wanted */
};

static void need(struct lt_backfill_source *s, uint64_t epoch, uint64_t seq)
{
	if (!epoch || epoch < s->epoch)
		return;
	s->epoch = epoch;
	s->seq = seq;
}

static void add_source(void *ctx, const struct lt_source_state *s)
{
	struct asking *a = ctx;
	struct lt_backfill_source *out = &a->job->sources[a->job->n_sources++];
	int64_t since_ms = s->since.t_ms;

	if (since_ms > a->most_ms)
		since_ms = a->most_ms;
	if (since_ms < a->least_ms)
		since_ms = a->least_ms;
	if (since_ms > a->newest_ms)
		a->newest_ms = since_ms;
	*out = (struct lt_backfill_source){.name = lt_strdup(s->name),
		.device = s->device,
		.until_ms = a->hole_ms,
		.shift_ms = s->shift_ms};
	if (a->beginnings && since_ms > out->until_ms)
		out->until_ms = since_ms;
	if (a->beginnings && s->since.t_ms < INT64_MAX)
		need(out, s->since.epoch, s->since.seq - 1);
	if (a->hole_ms == INT64_MIN || !s->back)
		return;
	/* The first events after an outage may still be of its beginning (a client's queue). */
	if (s->newest.t_ms > out->until_ms)
		out->until_ms = s->newest.t_ms;
	need(out, s->newest.epoch, s->newest.seq);
}

/* What is missing; windows that turn out to be complete are marked as filled. */
static struct lt_backfill_job *make_job(struct lt_engine *e, int64_t now_ms, bool hole)
{
	struct asking a = {.job = lt_calloc(1, sizeof(*a.job)),
		.most_ms = now_ms,
		.hole_ms = hole ? e->hole.to_ms : INT64_MIN};
	struct lt_backfill_job *job = a.job;

	for (size_t i = 0; i < e->n_windows; i++) {
		if (!is_short(&e->windows[i], now_ms))
			continue;
		a.beginnings = true;
		/* For rules that came later nothing was kept before, whoever sent it. */
		if (e->windows[i].since_ms > e->opened_ms)
			a.least_ms = now_ms;
	}
	job->now_ms = now_ms;
	job->from_ms = a.beginnings ? 0 : e->hole.from_ms;
	job->until_ms = a.beginnings ? now_ms : e->hole.to_ms;
	job->shortest_ms = SHORT_MS;
	job->exprs = lt_calloc(e->n_windows + 1, sizeof(*job->exprs));
	job->sources = lt_calloc(lt_sources_count(e->sources) + 1, sizeof(*job->sources));
	lt_sources_each(e->sources, add_source, &a);
	if (!job->n_sources) /* nobody remembers who was there */
		a.newest_ms = now_ms;
	for (size_t i = 0; i < e->n_windows; i++) {
		struct engine_window *w = &e->windows[i];

		w->asked = false;
		if (is_short(w, now_ms) && w->stored &&
			a.newest_ms <= now_ms - w->needs_ms + LT_BACKFILL_TOLERANCE_MS)
			w->filled = true;
		if (!is_short(w, now_ms) && !(hole && w->needs_ms > SHORT_MS))
			continue;
		w->asked = true;
		job->exprs[job->n_exprs++] = lt_strdup(w->text);
	}
	return job;
}

static void ask(struct lt_engine *e, int64_t now_ms, bool hole)
{
	struct lt_backfill_job *job = make_job(e, now_ms, hole);

	e->ask_windows = false;
	e->hole.asked = hole;
	hold(e, now_ms);
	if (e->cold)
		lt_log(LT_INFO, "windows_cold", LT_I("rules", lt_gauge_get(&e->info->rules_cold)),
			LT_S("from", e->backfill ? "postgres" : "the stream alone"));
	if (!job->n_exprs || !e->backfill) {
		lt_backfill_job_free(job);
		if (hole)
			e->hole.to_ms = 0;
		return;
	}
	e->filled_samples = e->filled_series = 0;
	e->skipped_before = lt_counter_get(&e->info->backfill.skipped);
	e->asked_mono_ns = e->taken_mono_ns = lt_mono_ns();
	e->filling = true;
	lt_backfill_ask(e->backfill, job);
}

static void take_series(struct lt_engine *e, const struct lt_backfill_series *s, int64_t now_ms)
{
	const struct lt_labels *labels = lt_labels_intern(e->pool, s->labels, s->n_labels);
	struct lt_as_series *x = lt_as_find(e->store, labels);
	size_t n;

	if (!x)
		x = lt_as_series(e->store, labels);
	lt_labels_put(e->pool, labels);
	if (!x)
		return;
	n = lt_as_fill(e->store, x, s->t_ms, s->v, s->n,
		e->hole.asked ? e->hole.from_ms : INT64_MAX, now_ms);
	/* Nobody sends it any more: it ended. */
	if (n && !x->refs && lt_as_last_ms(x) == s->t_ms[s->n - 1])
		lt_as_end(e->store, x, s->t_ms[s->n - 1] + 1);
	e->filled_series += n > 0;
	e->filled_samples += n;
	lt_counter_add(&e->info->backfill.samples, n);
}

static void filled(struct lt_engine *e, int64_t now_ms)
{
	bool whole = lt_counter_get(&e->info->backfill.skipped) == e->skipped_before;

	e->filling = false;
	/* Without a source they are not complete: only time fills them. What a reload brought since
	 * was not asked for. */
	for (size_t i = 0; i < e->n_windows; i++) {
		struct engine_window *w = &e->windows[i];

		if (!whole || !w->asked || !w->stored)
			continue;
		w->filled = true;
		if (e->hole.asked)
			w->hole_ms = 0;
	}
	if (e->hole.asked)
		e->hole.to_ms = 0;
	e->hole.asked = false;
	hold(e, now_ms);
	lt_log(LT_INFO, "windows_filled", LT_U("series", e->filled_series),
		LT_U("samples", e->filled_samples),
		LT_I("ms", (lt_mono_ns() - e->asked_mono_ns) / LT_NS_PER_MS),
		LT_I("rules_cold", lt_gauge_get(&e->info->rules_cold)));
}

/* Before anybody is heard the bus may not really be there: Kafka's connection comes and goes. */
static bool may_ask_hole(struct lt_engine *e, int64_t now_ms)
{
	enum lt_back back = e->hole.to_ms ? lt_sources_back(e->sources) : LT_BACK_NONE;

	if (back == LT_BACK_NONE)
		e->hole.heard_ms = now_ms;
	if (now_ms < e->hole.heard_ms + SETTLE_MS)
		return false;
	return back == LT_BACK_ALL || (back == LT_BACK_SOME && now_ms > e->hole.to_ms + COME_MS);
}

bool engine_windows_tick(struct lt_engine *e, int64_t now_ms, bool heard_all)
{
	int64_t start_ns = lt_mono_ns();
	struct lt_backfill_chunk *c;

	if (heard_all && (e->ask_windows || (e->hole.to_ms && !e->hole.asked))) {
		bool hole = may_ask_hole(e, now_ms);

		if (e->ask_windows || hole)
			ask(e, now_ms, hole);
	}
	while (e->filling && (c = lt_backfill_take(e->backfill))) {
		for (size_t i = 0; i < c->n; i++)
			take_series(e, &c->series[i], now_ms);
		lt_backfill_chunk_free(c);
		e->taken_mono_ns = lt_mono_ns();
		if (lt_mono_ns() - start_ns > TAKE_NS)
			return true;
	}
	if (e->filling && lt_backfill_done(e->backfill))
		filled(e, now_ms);
	if (e->cold && lt_mono_ns() - e->held_mono_ns > LT_NS_PER_S) {
		e->held_mono_ns = lt_mono_ns();
		hold(e, now_ms);
		if (!e->cold && !e->hole.asked)
			stop_filling(e); /* time did it first */
	}
	return e->filling && lt_mono_ns() - e->taken_mono_ns < LT_NS_PER_S;
}
