/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_int.h"

/* Runs rule tests as promtool does: every group at every evaluation interval, from 1970 on. */

#define MAX_EVALUATIONS 10000000

/* An input series, given to the storage as time goes on. */
struct input {
	const struct lt_labels *labels;
	struct lt_promql_seq *values;
	size_t n, next;
};

/* What a series had last, to tell a repeated sample from a contradicting one. */
struct last {
	const struct lt_labels *labels;
	int64_t t_ms;
	double v;
};

struct run {
	const struct test_file *file;
	const struct test_group *test;
	struct report *rep;
	struct lt_buf *out; /* what failed */
	struct lt_label_pool *pool;
	struct lt_promql_mem *mem;
	struct lt_promql_limits limits;
	struct lt_rules *rules;
	struct group **order;
	struct input *inputs;
	size_t n_inputs;
	struct last *last;
	size_t n_last, cap_last;
	bool failed;
};

static void say(struct run *r, const char *fmt, ...) LT_PRINTF(2, 3);

static void say(struct run *r, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->failed = true;
	lt_buf_str(r->out, "    ");
	if (r->test->name)
		lt_buf_printf(r->out, "name: %s, ", r->test->name);
	lt_buf_printf(r->out, "%s\n", text);
}

/* ---- samples ---- */

static struct last *last_slot(struct run *r, const struct lt_labels *l)
{
	size_t i = (size_t)l->hash & (r->cap_last - 1);

	while (r->last[i].labels && r->last[i].labels != l)
		i = (i + 1) & (r->cap_last - 1);
	return &r->last[i];
}

static struct last *last_of(struct run *r, const struct lt_labels *l)
{
	struct last *old = r->last, *s;
	size_t cap = r->cap_last;

	if (2 * (r->n_last + 1) > cap) {
		r->cap_last = cap ? 2 * cap : 256;
		r->last = lt_calloc(r->cap_last, sizeof(*r->last));
		for (size_t i = 0; i < cap; i++) {
			if (old[i].labels)
				*last_slot(r, old[i].labels) = old[i];
		}
		free(old);
	}
	s = last_slot(r, l);
	if (!s->labels) {
		*s = (struct last){lt_labels_get(l), INT64_MIN, 0};
		r->n_last++;
	}
	return s;
}

/* As Prometheus's head block: what repeats the last sample is fine, what contradicts it is not. */
static bool append(void *ctx, const struct lt_labels *l, int64_t t_ms, double v)
{
	struct run *r = ctx;
	struct last *s = last_of(r, l);

	if (t_ms == s->t_ms && value_bits(s->v) == value_bits(v))
		return true;
	if (t_ms <= s->t_ms)
		return false;
	s->t_ms = t_ms;
	s->v = v;
	return lt_promql_mem_add(r->mem, l, t_ms, v);
}

static void give_samples(struct run *r, int64_t until_ms)
{
	for (size_t i = 0; i < r->n_inputs; i++) {
		struct input *in = &r->inputs[i];

		for (; in->next < in->n; in->next++) {
			int64_t t_ms = (int64_t)in->next * r->test->interval_ms;

			if (t_ms > until_ms)
				break;
			if (!in->values[in->next].omitted)
				append(r, in->labels, t_ms, in->values[in->next].v);
		}
	}
}

static bool read_inputs(struct run *r)
{
	size_t errors = r->rep->n_errors;

	r->inputs = lt_calloc(r->test->n_series + 1, sizeof(*r->inputs));
	for (size_t i = 0; i < r->test->n_series; i++) {
		const struct test_series *s = &r->test->series[i];
		struct input in = {0};
		struct lt_promql_pos at = {0};
		struct lt_err err = {0};
		struct doc_pos pos = s->pos;

		if (lt_promql_parse_metric(
			    r->pool, s->series, s->series_len, &in.labels, &at, &err)) {
			if (s->series_node)
				pos = doc_pos_in(s->series_node, at.offset);
			report_error(r->rep, &pos, "series: %s", err.msg);
			continue;
		}
		if (lt_promql_parse_values(
			    s->values, s->values_len, &in.values, &in.n, &at, &err)) {
			if (s->values_node)
				pos = doc_pos_in(s->values_node, at.offset);
			report_error(r->rep, &pos, "values: %s", err.msg);
			lt_labels_put(r->pool, in.labels);
			continue;
		}
		/* of several lines for one series the last counts */
		for (size_t j = 0; j < r->n_inputs; j++) {
			if (r->inputs[j].labels == in.labels)
				r->inputs[j].n = 0;
		}
		r->inputs[r->n_inputs++] = in;
	}
	return r->rep->n_errors == errors;
}

/* ---- rules ---- */

static size_t place_in_order(const struct run *r, const struct group *g)
{
	for (size_t i = 0; i < r->file->n_order; i++) {
		if (!strcmp(r->file->order[i], g->pub.name))
			return i;
	}
	return 0;
}

static void order_groups(struct run *r)
{
	size_t n = r->rules->n_groups;

	r->order = lt_malloc((n + 1) * sizeof(struct group *));
	for (size_t i = 0; i < n; i++) {
		size_t at = i, place = place_in_order(r, r->rules->groups[i]);

		for (; at && place_in_order(r, r->order[at - 1]) > place; at--)
			r->order[at] = r->order[at - 1];
		r->order[at] = r->rules->groups[i];
	}
}

static bool load(struct run *r, const struct lt_rules_opts *base)
{
	struct lt_rules_opts o = base ? *base : (struct lt_rules_opts){0};
	size_t errors = r->rep->n_errors, n = r->test->n_external_labels;
	struct lt_label_text *ext = lt_calloc(n + 1, sizeof(*ext));

	for (size_t i = 0; i < n; i++) {
		const struct lt_rule_pair *p = &r->test->external_labels[i];

		ext[i] = (struct lt_label_text){
			p->name, p->value, (uint32_t)strlen(p->name), (uint32_t)strlen(p->value)};
	}
	o.external_labels = ext;
	o.n_external_labels = n;
	o.external_url = r->test->external_url;
	o.interval_ms = r->test->interval_ms;
	o.promql = &r->limits;
	o.any_query = true;
	o.counters = NULL;
	r->rules = rules_new(r->pool, &o);
	rules_read(r->rules, r->rep, r->file->rule_files, r->file->n_rule_files);
	order_groups(r);
	free(ext);
	return r->rep->n_errors == errors;
}

/* ---- alerts ---- */

struct got {
	struct test_alert *a;
	size_t n, cap;
	struct lt_arena arena;
};

static void add_got(struct run *r, struct got *g, const struct lt_alert *a)
{
	const struct lt_labels *l = a->labels;
	struct lt_rule_pair *p = lt_arena_alloc(&g->arena, (l->n + 1) * sizeof(*p));

	for (size_t i = 0; i < l->n; i++)
		p[i] = (struct lt_rule_pair){lt_sym_text(r->pool, l->pair[i].name, NULL),
			lt_sym_text(r->pool, l->pair[i].value, NULL)};
	if (g->n == g->cap) {
		g->cap = g->cap ? 2 * g->cap : 16;
		g->a = lt_realloc(g->a, g->cap * sizeof(*g->a));
	}
	g->a[g->n++] = (struct test_alert){p, a->annotations, l->n, a->n_annotations};
}

static void check_alerts(struct run *r, const struct test_alerts *t)
{
	struct lt_buf diff = {0}, time = {0};
	struct got g = {0};

	for (size_t i = 0; i < r->rules->n_groups; i++) {
		const struct group *group = r->order[i];

		for (size_t j = 0; j < group->pub.n_rules; j++) {
			const struct rule *rule = (const struct rule *)group->pub.rules[j];

			if (rule->pub.kind != LT_RULE_ALERT || strcmp(rule->pub.name, t->name))
				continue;
			for (const struct alert *a = rule->alerts.first; a; a = a->next) {
				if (a->pub.state == LT_ALERT_FIRING)
					add_got(r, &g, &a->pub);
			}
		}
	}
	if (!test_diff_alerts(&diff, t->alerts, t->n, g.a, g.n)) {
		lt_promql_format_duration(&time, t->t_ms);
		say(r, "alertname: %s, time: %s (line %zu)", t->name, time.data, t->pos.line);
		lt_buf_add(r->out, diff.data, diff.len);
	}
	lt_buf_fini(&diff);
	lt_buf_fini(&time);
	lt_arena_fini(&g.arena);
	free(g.a);
}

static bool eval_all(struct run *r, int64_t t_ms)
{
	const struct lt_promql_storage *storage = lt_promql_mem_storage(r->mem);
	const struct lt_rules_sink sink = {.ctx = r, .append = append};
	struct lt_buf time = {0};
	bool good = true;

	for (size_t i = 0; i < r->rules->n_groups; i++) {
		struct group *g = r->order[i];

		lt_rules_group_eval(r->rules, &g->pub, t_ms, storage, &sink);
		for (size_t j = 0; j < g->pub.n_rules; j++) {
			if (g->pub.rules[j]->healthy)
				continue;
			lt_buf_reset(&time);
			lt_promql_format_duration(&time, t_ms);
			say(r, "rule: %s, time: %s, error: %s", g->pub.rules[j]->name, time.data,
				g->pub.rules[j]->last_error);
			good = false;
		}
	}
	lt_buf_fini(&time);
	return good;
}

static int64_t last_time(const struct test_group *t)
{
	int64_t max = 0;

	for (size_t i = 0; i < t->n_alerts; i++)
		max = t->alerts[i].t_ms > max ? t->alerts[i].t_ms : max;
	for (size_t i = 0; i < t->n_exprs; i++)
		max = t->exprs[i].t_ms > max ? t->exprs[i].t_ms : max;
	return max;
}

/* ---- expressions ---- */

static bool expected_values(struct run *r, const struct test_expr *e, struct test_value *out)
{
	struct lt_promql_pos at = {0};
	struct lt_err err = {0};

	for (size_t i = 0; i < e->n; i++) {
		out[i].v = e->samples[i].v;
		if (lt_promql_parse_metric(r->pool, e->samples[i].labels, e->samples[i].len,
			    &out[i].labels, &at, &err)) {
			say(r, "expr: %s, labels %s: %u:%u: %s (line %zu)", e->expr,
				e->samples[i].labels, at.line, at.column, err.msg, e->pos.line);
			while (i--)
				lt_labels_put(r->pool, out[i].labels);
			return false;
		}
	}
	return true;
}

static void compare_values(struct run *r, const struct test_expr *e,
	const struct lt_promql_result *res, const char *time)
{
	struct test_value *exp = lt_calloc(e->n + 1, sizeof(*exp)), *got;
	bool scalar = res->type == LT_PROMQL_SCALAR;
	size_t n = scalar ? 1 : res->n;
	struct lt_buf diff = {0};

	if (!expected_values(r, e, exp)) {
		free(exp);
		return;
	}
	got = lt_calloc(n + 1, sizeof(*got));
	for (size_t i = 0; i < n; i++) {
		if (scalar)
			got[i] = (struct test_value){lt_labels_empty(r->pool), res->scalar};
		else
			got[i] = (struct test_value){
				lt_labels_get(res->vector[i].labels), res->vector[i].v};
	}
	if (!test_diff_values(&diff, r->pool, exp, e->n, got, n)) {
		say(r, "expr: %s, time: %s (line %zu)", e->expr, time, e->pos.line);
		lt_buf_add(r->out, diff.data, diff.len);
	}
	for (size_t i = 0; i < e->n; i++)
		lt_labels_put(r->pool, exp[i].labels);
	for (size_t i = 0; i < n; i++)
		lt_labels_put(r->pool, got[i].labels);
	lt_buf_fini(&diff);
	free(exp);
	free(got);
}

static void check_expr(struct run *r, const struct test_expr *t)
{
	struct lt_promql_result res = {0};
	struct lt_promql_expr *e = NULL;
	struct lt_promql_pos at = {0};
	struct lt_buf time = {0};
	struct lt_err err = {0};

	lt_promql_format_duration(&time, t->t_ms);
	if (lt_promql_parse(r->pool, t->expr, t->len, &r->limits, &e, &at, &err)) {
		say(r, "expr: %s, time: %s, error: %u:%u: %s (line %zu)", t->expr, time.data,
			at.line, at.column, err.msg, t->pos.line);
	} else if (lt_promql_eval(e, t->t_ms, lt_promql_mem_storage(r->mem), &res, &err)) {
		say(r, "expr: %s, time: %s, error: %s (line %zu)", t->expr, time.data, err.msg,
			t->pos.line);
	} else if (res.type != LT_PROMQL_VECTOR && res.type != LT_PROMQL_SCALAR) {
		say(r,
			"expr: %s, time: %s, error: rule result is not a vector or scalar "
			"(line %zu)",
			t->expr, time.data, t->pos.line);
	} else {
		compare_values(r, t, &res, time.data);
	}
	lt_promql_result_fini(&res);
	lt_promql_free(e);
	lt_buf_fini(&time);
}

/* ---- one test ---- */

static void run_test(struct run *r)
{
	int64_t step = r->file->interval_ms, end = last_time(r->test);

	if (end / step > MAX_EVALUATIONS) {
		say(r, "more than %d evaluations in one test", MAX_EVALUATIONS);
		return;
	}
	for (int64_t t = 0; t <= end; t += step) {
		give_samples(r, t);
		if (!eval_all(r, t))
			return;
		/* an alert test between two evaluations looks at the one before */
		for (size_t i = 0; i < r->test->n_alerts; i++) {
			const struct test_alerts *a = &r->test->alerts[i];

			if (t <= a->t_ms && a->t_ms < t + step)
				check_alerts(r, a);
		}
	}
	for (size_t i = 0; i < r->test->n_exprs; i++)
		check_expr(r, &r->test->exprs[i]);
}

static bool test_one(const struct test_file *f, const struct test_group *t, struct report *rep,
	const struct lt_rules_opts *opts, struct lt_buf *out)
{
	struct run r = {.file = f, .test = t, .rep = rep, .out = out};
	bool good;

	if (opts && opts->promql)
		r.limits = *opts->promql;
	r.limits.subquery_step_ms = f->interval_ms;
	lt_promql_limits_defaults(&r.limits);
	r.pool = lt_label_pool_new();
	r.mem = lt_promql_mem_new(r.pool);
	good = read_inputs(&r);
	good = load(&r, opts) && good;
	if (good)
		run_test(&r);
	for (size_t i = 0; i < r.n_inputs; i++) {
		lt_labels_put(r.pool, r.inputs[i].labels);
		free(r.inputs[i].values);
	}
	for (size_t i = 0; i < r.cap_last; i++)
		lt_labels_put(r.pool, r.last[i].labels);
	free(r.inputs);
	free(r.last);
	free(r.order);
	lt_rules_free(r.rules);
	lt_promql_mem_free(r.mem);
	lt_label_pool_free(r.pool);
	return good && !r.failed;
}

static bool test_path(const char *path, const struct lt_rules_opts *opts, struct lt_buf *out)
{
	struct lt_buf failures = {0}, reports = {0};
	struct test_file f;
	struct report rep;
	bool good;

	report_init(&rep, &reports);
	good = test_file_read(&rep, path, &f);
	for (size_t i = 0; good && i < f.n_groups; i++) {
		/* what is wrong with the rule files is the same for every test */
		if (!test_one(&f, &f.groups[i], &rep, opts, &failures) && rep.n_errors)
			break;
	}
	good = good && !rep.n_errors && !failures.len;
	report_flush(&rep);
	report_fini(&rep);
	lt_buf_printf(out, "Unit Testing: %s\n", path);
	if (reports.len)
		lt_buf_add(out, reports.data, reports.len);
	if (failures.len)
		lt_buf_add(out, failures.data, failures.len);
	lt_buf_str(out, good ? "  SUCCESS\n\n" : "  FAILED\n\n");
	lt_buf_fini(&reports);
	lt_buf_fini(&failures);
	return good;
}

int lt_rules_test(const char *const *files, size_t n_files, const struct lt_rules_opts *opts,
	struct lt_buf *out)
{
	bool good = true;

	for (size_t i = 0; i < n_files; i++)
		good = test_path(files[i], opts, out) && good;
	return good ? LT_OK : LT_ECONF;
}
