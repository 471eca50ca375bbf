/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/alert/series.h"
#include "latido/rules.h"

/* What hostile rules and sources meet: limits of series, memory, samples, steps and patterns. */

#define T0   INT64_C(1763700000000) /* ms */
#define N    100000
#define MOST 60000

struct fixture {
	struct lt_label_pool *pool;
	struct lt_as_info info;
	struct lt_as *store;
	struct lt_rules *rules;
	struct lt_rules_group *group; /* the first */
};

static struct fixture *setup(
	const struct lt_rules_opts *opts, size_t max_series, size_t max_bytes, const char *text)
{
	const struct lt_as_limits limits = {.max_series = max_series,
		.max_bytes = max_bytes,
		.max_points = 64,
		.max_window_ms = 86400000,
		.dense_ms = 900000,
		.slack_ms = 2000};
	struct fixture *f = lt_calloc(1, sizeof(*f));
	const struct lt_promql_expr *x;
	struct lt_buf report = {0};
	struct lt_err err;

	f->pool = lt_label_pool_new();
	f->store = lt_as_new(f->pool, &limits, &f->info);
	if (lt_rules_load_text(f->pool, opts, "t", text, strlen(text), &f->rules, &report, &err))
		fail_msg("%s", report.data);
	lt_buf_fini(&report);
	lt_as_begin(f->store);
	for (size_t i = 0; (x = lt_rules_expr(f->rules, i)); i++)
		for (size_t k = 0; k < lt_promql_selector_count(x); k++)
			assert_int_equal(
				lt_as_select(f->store, lt_promql_selector(x, k), &err), LT_OK);
	lt_as_commit(f->store);
	f->group = lt_rules_group(f->rules, 0);
	return f;
}

static void teardown(struct fixture *f)
{
	lt_as_free(f->store);
	lt_rules_free(f->rules);
	lt_label_pool_free(f->pool);
	free(f);
}

/* a{i="<i>", k="<k>"} with some samples. Return: was it taken? */
static bool put(struct fixture *f, const char *i, const char *k, int samples)
{
	const struct lt_label_text l[] = {{"__name__", "a", 8, 1}, {"i", i, 1, (uint32_t)strlen(i)},
		{"k", k, 1, (uint32_t)strlen(k)}};
	const struct lt_labels *set = lt_labels_intern(f->pool, l, 3);
	struct lt_as_series *s = lt_as_series(f->store, set);

	lt_labels_put(f->pool, set);
	for (int n = 0; s && n < samples; n++)
		lt_as_append(f->store, s, T0 + n * 1000, 1);
	return s != NULL;
}

static size_t eval(struct fixture *f, int64_t t_ms)
{
	const struct lt_rules_sink sink = {0};

	return lt_rules_group_eval(f->rules, f->group, t_ms, lt_as_storage(f->store), &sink);
}

static void assert_says(const struct fixture *f, size_t rule, const char *text)
{
	if (!strstr(f->group->rules[rule]->last_error, text))
		fail_msg("rule %zu: \"%s\"", rule, f->group->rules[rule]->last_error);
}

static void many_series_under_one_rule(void **state)
{
	static const char text[] =
		"groups: [{name: g, rules: ["
		"{alert: Wide, expr: 'a > 0'},"
		"{alert: Many, expr: 'a{k=~\"[12]\"} > 0'},"
		"{alert: Costly, expr: 'sum(avg_over_time(a{k=~\"[1-4]\"}[1m])) > 0'},"
		"{alert: Small, expr: 'a{i=\"7\"} > 0'},"
		"{record: few, expr: 'count(a{k=\"1\"})'}]}]";
	const struct lt_promql_limits cost = {.max_series = MOST, .max_samples = 150000};
	const struct lt_rules_opts opts = {.promql = &cost, .max_alerts = 5000};
	struct fixture *f = setup(&opts, N, 1 << 28, text);
	char i_text[16], k_text[2] = "0";

	(void)state;
	for (int i = 0; i < N + 1000; i++) {
		snprintf(i_text, sizeof(i_text), "%d", i);
		k_text[0] = (char)('0' + i % 10);
		assert_int_equal(put(f, i_text, k_text, 5), i < N);
	}
	assert_int_equal(lt_counter_get(&f->info.refused), 1000);
	assert_int_equal(eval(f, T0 + 5000), 3);
	assert_says(f, 0, "has 100000 series, 60000 are allowed");
	assert_says(f, 1, "more than 5000 alerts of one rule (20000)");
	assert_says(f, 2, "needs more than 150000 samples");
	/* The others go on. */
	assert_true(f->group->rules[3]->healthy);
	assert_int_equal(f->group->rules[3]->n_firing, 1);
	assert_true(f->group->rules[4]->healthy);
	teardown(f);
}

static void huge_windows_are_refused_with_their_place(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"groups: [{name: g, rules: [{alert: A, expr: 'rate(a[1h:1ms]) > 0'}]}]",
			"t:1:51: error: group \"g\", rule 1, \"A\": could not parse expression: "
			"subquery of 3600001 steps, 11000 are allowed"},
		{"groups: [{name: g, rules: [{alert: A, expr: 'rate(a[99y]) > 0'}]}]", "t:1:"},
	};
	const struct lt_rules_opts opts = {0};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(cases); i++) {
		struct lt_label_pool *pool = lt_label_pool_new();
		struct lt_buf report = {0};
		struct lt_rules *r = NULL;
		struct lt_err err;

		assert_int_equal(lt_rules_load_text(pool, &opts, "t", cases[i].text,
					 strlen(cases[i].text), &r, &report, &err),
			LT_ECONF);
		if (!strstr(report.data, cases[i].why))
			fail_msg("%s", report.data);
		lt_buf_fini(&report);
		lt_label_pool_free(pool);
	}
}

static void memory_is_bounded(void **state)
{
	const struct lt_rules_opts opts = {0};
	struct fixture *f = setup(&opts, N, 200000,
		"groups: [{name: g, rules: [{alert: A, expr: 'sum_over_time(a[1d]) > 0'}]}]");
	char text[16];

	(void)state;
	for (int i = 0; i < 10000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		put(f, text, "x", 20);
	}
	lt_as_sweep(f->store, T0 + 20000);
	assert_true(lt_counter_get(&f->info.refused) > 9000);
	assert_true(lt_gauge_get(&f->info.samples_bytes) < 210000);
	assert_int_equal(eval(f, T0 + 20000), 0);
	assert_true(f->group->rules[0]->n_firing > 100);
	teardown(f);
}

/* RE2 takes such patterns in its stride; PCRE2 would count to 2^100. */
static void patterns_that_explode_are_given_up(void **state)
{
	const struct lt_rules_opts opts = {0};
	struct fixture *f = setup(&opts, N, 1 << 28,
		"groups: [{name: g, rules: ["
		"{alert: A, expr: 'a{i=~\"(a|aa)+(a|aa)+(a|aa)+\"}'},"
		"{alert: B, expr: 'a{k=\"other\"}'}]}]");
	char most[128] = {0};

	(void)state;
	memset(most, 'a', 100);
	most[100] = 'c';
	assert_false(put(f, most, "x", 1));
	assert_int_equal(lt_counter_get(&f->info.gave_up), 1);
	assert_true(put(f, "aaaa", "x", 1));
	assert_true(put(f, most, "other", 1)); /* another rule takes it */
	assert_int_equal(eval(f, T0 + 500), 0);
	assert_int_equal(f->group->rules[0]->n_firing, 1);
	assert_int_equal(f->group->rules[1]->n_firing, 1);
	teardown(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_series_under_one_rule),
		cmocka_unit_test(huge_windows_are_refused_with_their_place),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(patterns_that_explode_are_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
