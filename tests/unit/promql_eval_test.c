/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "latido/promql.h"

/*
 * What answers are right is the business of tests/integration/test_promql_oracle.py. Here: what stays
 * from one evaluation to the next, limits, and the interface.
 */

static struct lt_label_pool *pool;
static struct lt_promql_mem *store;

static int setup(void **state)
{
	(void)state;
	pool = lt_label_pool_new();
	store = lt_promql_mem_new(pool);
	return 0;
}

static int teardown(void **state)
{
	struct lt_label_pool_info info;

	(void)state;
	lt_promql_mem_free(store);
	lt_promql_mem_free(NULL);
	/* Whatever was evaluated, no label set and no name is left behind. */
	lt_label_pool_info(pool, &info);
	assert_int_equal(info.sets, 0);
	assert_int_equal(info.symbols, 1);
	lt_label_pool_free(pool);
	return 0;
}

static void add(const char *metric, const char *values)
{
	const struct lt_labels *l;
	struct lt_promql_seq *v;
	size_t n;

	assert_int_equal(
		lt_promql_parse_metric(pool, metric, strlen(metric), &l, NULL, NULL), LT_OK);
	assert_int_equal(lt_promql_parse_values(values, strlen(values), &v, &n, NULL, NULL), LT_OK);
	for (size_t i = 0; i < n; i++)
		if (!v[i].omitted)
			assert_true(lt_promql_mem_add(store, l, (int64_t)i * 10000, v[i].v));
	free(v);
	lt_labels_put(pool, l);
}

static struct lt_promql_expr *parse(const char *text, const struct lt_promql_limits *limits)
{
	struct lt_promql_expr *e = NULL;
	struct lt_err err = {0};

	if (lt_promql_parse(pool, text, strlen(text), limits, &e, NULL, &err) != LT_OK)
		fail_msg("%s: %s", text, err.msg);
	return e;
}

/* The result as text, sorted by labels. */
static char *shown(struct lt_promql_result *r)
{
	struct lt_buf b = {0};

	lt_buf_str(&b, "");
	lt_promql_result_sort(r);
	for (size_t i = 0; i < r->n; i++) {
		lt_labels_format(pool, r->vector ? r->vector[i].labels : r->matrix[i].labels, &b);
		for (size_t k = 0; r->matrix && k < r->matrix[i].n; k++)
			lt_buf_printf(&b, " %lld:%g", (long long)r->matrix[i].points[k].t_ms,
				r->matrix[i].points[k].v);
		if (r->vector)
			lt_buf_printf(&b, " %g", r->vector[i].v);
		lt_buf_char(&b, '\n');
	}
	return b.data;
}

static void check(struct lt_promql_expr *e, int64_t t_ms, const char *want)
{
	struct lt_promql_result r = {0};
	struct lt_err err = {0};
	char *text;

	if (lt_promql_eval(e, t_ms, lt_promql_mem_storage(store), &r, &err) != LT_OK)
		fail_msg("%s", err.msg);
	text = shown(&r);
	assert_string_equal(text, want);
	free(text);
	lt_promql_result_fini(&r);
}

static void fails(const char *text, int64_t t_ms, const struct lt_promql_limits *limits, int code,
	const char *why)
{
	struct lt_promql_expr *e = parse(text, limits);
	struct lt_promql_result r = {0};
	struct lt_err err = {0};

	assert_int_equal(lt_promql_eval(e, t_ms, lt_promql_mem_storage(store), &r, &err), code);
	assert_int_equal(r.n, 0);
	if (!strstr(err.msg, why))
		fail_msg("%s: %s", text, err.msg);
	lt_promql_result_fini(&r);
	lt_promql_free(e);
}

static void types_of_results(void **state)
{
	struct lt_promql_result r = {0};
	const struct lt_promql_storage *st = lt_promql_mem_storage(store);
	struct lt_promql_expr *e = parse("2 ^ 3 + time()", NULL);

	(void)state;
	assert_int_equal(lt_promql_expr_type(e), LT_PROMQL_SCALAR);
	assert_int_equal(lt_promql_eval(e, 1500, st, &r, NULL), LT_OK);
	assert_int_equal(r.type, LT_PROMQL_SCALAR);
	assert_true(r.scalar == 9.5);
	assert_int_equal(r.t_ms, 1500);
	lt_promql_free(e);
	/* One result for many expressions. */
	e = parse("(\"a\\u00e9\")", NULL);
	assert_int_equal(lt_promql_eval(e, 1500, st, &r, NULL), LT_OK);
	assert_int_equal(r.type, LT_PROMQL_STRING);
	assert_string_equal(r.string, "aé");
	assert_int_equal(r.string_len, 3);
	lt_promql_free(e);
	add("x{a=\"1\"}", "1 2 3");
	e = parse("x[15s]", NULL);
	assert_int_equal(lt_promql_expr_type(e), LT_PROMQL_MATRIX);
	check(e, 20000, "x{a=\"1\"} 10000:2 20000:3\n");
	assert_int_equal(lt_promql_eval(e, 20000, st, &r, NULL), LT_OK);
	assert_int_equal(r.samples_read, 2);
	lt_promql_result_fini(&r);
	lt_promql_free(e);
}

/* Label sets of the last time are used again; they follow what comes, goes and changes places. */
static void series_come_and_go(void **state)
{
	static const char *const texts[] = {"sum by (a) (-x * 2)", "x + on (a) group_left (c) y",
		"label_replace(x, \"d\", \"$1\", \"a\", \"(.*)\") or -x", "rate(x[30s]) > bool 0",
		"count by (d) (label_join(x, \"d\", \"-\", \"a\", \"b\") and on (a) y)",
		"max_over_time((-x)[30s:10s]) unless on (a) (x > 5)"};
	struct lt_promql_expr *e[LT_ARRAY_LEN(texts)];

	(void)state;
	add("x{a=\"2\",b=\"1\"}", "1x3 stale _ 5x5");
	add("x{a=\"3\",b=\"1\"}", "_ 2x8");
	add("x{a=\"1\",b=\"2\"}", "_x4 3x5");
	add("y{a=\"1\",c=\"7\"}", "1x9");
	add("y{a=\"2\",c=\"8\"}", "1 _x3 stale 1x4");
	add("y{a=\"3\",c=\"9\"}", "1x9");
	for (size_t i = 0; i < LT_ARRAY_LEN(texts); i++)
		e[i] = parse(texts[i], NULL);
	/* Forth and back: each against a fresh expression. */
	for (int round = 0; round < 40; round++) {
		int64_t t = (round * 7 % 20) * 5000;

		for (size_t i = 0; i < LT_ARRAY_LEN(texts); i++) {
			struct lt_promql_expr *fresh = parse(texts[i], NULL);
			struct lt_promql_result r = {0};
			char *want;

			assert_int_equal(
				lt_promql_eval(fresh, t, lt_promql_mem_storage(store), &r, NULL),
				LT_OK);
			want = shown(&r);
			check(e[i], t, want);
			free(want);
			lt_promql_result_fini(&r);
			lt_promql_free(fresh);
		}
	}
	for (size_t i = 0; i < LT_ARRAY_LEN(texts); i++)
		lt_promql_free(e[i]);
}

/* A result owns its labels, also when expression and series are gone. */
static void result_outlives_the_expression(void **state)
{
	struct lt_promql_result r = {0};
	struct lt_promql_expr *e;
	char *text;

	(void)state;
	add("x{a=\"1\"}", "1 2 3");
	e = parse("-x", NULL);
	assert_int_equal(lt_promql_eval(e, 20000, lt_promql_mem_storage(store), &r, NULL), LT_OK);
	lt_promql_free(e);
	lt_promql_mem_free(store);
	store = lt_promql_mem_new(pool);
	text = shown(&r);
	assert_string_equal(text, "{a=\"1\"} -3\n");
	free(text);
	lt_promql_result_fini(&r);
}

static void staleness_and_lookback(void **state)
{
	struct lt_promql_limits limits = {.lookback_ms = 25000};
	struct lt_promql_expr *e, *few;

	(void)state;
	add("x", "1 2 stale _ 4");
	e = parse("x", NULL);
	few = parse("x", &limits);
	check(e, 10000, "x 2\n");
	check(e, 19999, "x 2\n");
	check(e, 20000, "");
	check(e, 39999, "");
	check(e, 40000 + 300000, "x 4\n");
	check(e, 40000 + 300001, "");
	check(few, 65000, "x 4\n");
	check(few, 65001, "");
	assert_int_equal(lt_promql_selector(few, 0)->back_ms, 25000);
	lt_promql_free(e);
	lt_promql_free(few);
	e = parse("count_over_time(x[1m])", NULL);
	check(e, 40000, "{} 3\n");
	lt_promql_free(e);
}

static void ranges_of_instants(void **state)
{
	struct lt_promql_result r = {0};
	struct lt_promql_expr *e = parse("x > 1 or vector(time())", NULL);
	const struct lt_promql_storage *st = lt_promql_mem_storage(store);
	struct lt_err err;
	char *text;

	(void)state;
	add("x{a=\"1\"}", "1 2 3 0");
	assert_int_equal(lt_promql_eval_range(e, 0, 30000, 10000, st, &r, &err), LT_OK);
	text = shown(&r);
	assert_string_equal(
		text, "{} 0:0 10000:10 20000:20 30000:30\nx{a=\"1\"} 10000:2 20000:3\n");
	free(text);
	assert_int_equal(lt_promql_eval_range(e, 0, 30000, 0, st, &r, &err), LT_EINVAL);
	assert_int_equal(r.n, 0);
	assert_int_equal(lt_promql_eval_range(e, 0, -1, 10, st, &r, &err), LT_EINVAL);
	assert_int_equal(lt_promql_eval_range(e, 0, 11000000, 1000, st, &r, &err), LT_EINVAL);
	lt_promql_free(e);
	e = parse("x[5m]", NULL);
	assert_int_equal(lt_promql_eval_range(e, 0, 10, 10, st, &r, &err), LT_EINVAL);
	lt_promql_free(e);
	lt_promql_result_fini(&r);
}

static void impossible_matches(void **state)
{
	(void)state;
	add("x{a=\"1\",b=\"1\"}", "1");
	add("x{a=\"1\",b=\"2\"}", "2");
	add("y{a=\"1\",c=\"1\"}", "3");
	add("z{a=\"1\",b=\"1\"}", "4");
	fails("y + on (a) x", 0, NULL, LT_EINVAL,
		"found duplicate series for the match group {a=\"1\"} on the right hand-side of "
		"the "
		"operation: [{__name__=\"x\", a=\"1\", b=\"2\"}, {__name__=\"x\", a=\"1\", "
		"b=\"1\"}];many-to-many matching not allowed");
	fails("x + on (a) y", 0, NULL, LT_EINVAL,
		"multiple matches for labels: many-to-one matching must be explicit");
	fails("x + on (a) group_left (b) y", 0, NULL, LT_EINVAL,
		"multiple matches for labels: grouping labels must ensure unique matches");
	fails("-{a=\"1\",b=\"1\"}", 0, NULL, LT_EINVAL,
		"vector cannot contain metrics with the same labelset");
	fails("holt_winters(x[1m], 2, 0.5)", 0, NULL, LT_EINVAL,
		"invalid smoothing factor. Expected: 0 < sf < 1, got: 2.000000");
	fails("topk(1e300, x)", 0, NULL, LT_EINVAL, "Scalar value 1e+300 overflows int64");
}

static void limits_are_named(void **state)
{
	struct lt_promql_limits few = {.max_samples = 100, .max_series = 3};

	(void)state;
	add("x{a=\"1\"}", "1x999");
	add("x{a=\"2\"}", "1x999");
	add("y{a=\"1\"}", "1");
	add("y{a=\"2\"}", "1");
	fails("x[1h]", 9990000, &few, LT_EFULL, "needs more than 100 samples");
	fails("max_over_time(x[1h:1m])", 9990000, &few, LT_EFULL, "needs more than 100 samples");
	fails("rate(x[1h])", 9990000, &few, LT_EFULL, "needs more than 100 samples");
	fails("sum_over_time(vector(1)[1h:10s])", 0, &few, LT_EFULL, "needs more than 100 samples");
	fails("{a!=\"\"}", 0, &few, LT_EFULL, "line 1, column 1 has 4 series, 3 are allowed");
	fails("x{b!~\"(a|aa)+c\"} and y{a=~\"1|2\"} and {a!=\"\"}", 0, &few, LT_EFULL, "column 38");
	fails("sum_over_time((label_replace(y, \"b\", \"y\", \"\", \"\") or y)[1m:1m])", 30000,
		&few, LT_EFULL, "more than 3 series");
}

/* A storage that cannot answer ends the evaluation with its own error. */
static int broken_select(void *ctx, const struct lt_promql_expr *e,
	const struct lt_promql_selector *sel, int64_t mint_ms, int64_t maxt_ms,
	const struct lt_promql_series **out, size_t *n, struct lt_err *err)
{
	assert_int_equal(mint_ms, 1000000 - 300000 - 60000);
	assert_int_equal(maxt_ms, 1000000 - 60000);
	assert_ptr_equal(sel, lt_promql_selector(e, 0));
	(void)out, (void)n;
	(*(int *)ctx)++;
	return lt_fail(err, LT_EIO, LT_CLS_RETRY, "test", "gone");
}

static void broken_done(void *ctx)
{
	*(int *)ctx += 10;
}

static void errors_of_the_storage(void **state)
{
	int calls = 0;
	struct lt_promql_storage st = {.ctx = &calls, .select = broken_select, .done = broken_done};
	struct lt_promql_expr *e = parse("sum(x offset 1m) + y", NULL);
	struct lt_promql_result r = {0};
	struct lt_err err;

	(void)state;
	assert_int_equal(lt_promql_eval(e, 1000000, &st, &r, &err), LT_EIO);
	assert_string_equal(err.msg, "gone");
	assert_int_equal(calls, 11);
	lt_promql_result_fini(&r);
	lt_promql_free(e);
}

/* 100 000 series under one expression, many times: nothing grows. */
static void many_series(void **state)
{
	struct lt_promql_expr *e =
		parse("100 - avg by (i) (rate(x[1m])) * 100 > 80 unless on (i) y < 0", NULL);
	struct lt_promql_result r = {0};
	struct lt_label_pool_info first, last;
	struct lt_err err = {0};

	(void)state;
	for (int i = 0; i < 100000; i++) {
		char i_text[16], k_text[16];
		struct lt_label_text t[] = {
			{"__name__", "x", 8, 1}, {"i", i_text, 1, 0}, {"k", k_text, 1, 0}};
		const struct lt_labels *l;

		t[1].value_len = (uint32_t)snprintf(i_text, sizeof(i_text), "%d", i / 10);
		t[2].value_len = (uint32_t)snprintf(k_text, sizeof(k_text), "%d", i % 10);
		l = lt_labels_intern(pool, t, 3);
		for (int k = 0; k < 4; k++)
			lt_promql_mem_add(store, l, k * 15000, k * (i % 7) * 0.01);
		lt_labels_put(pool, l);
	}
	for (int round = 0; round < 3; round++) {
		if (lt_promql_eval(e, 45000, lt_promql_mem_storage(store), &r, &err) != LT_OK)
			fail_msg("%s", err.msg);
		assert_int_equal(r.n, 10000);
		lt_label_pool_info(pool, round ? &last : &first);
	}
	assert_int_equal(first.sets, last.sets);
	assert_int_equal(first.symbols, last.symbols);
	lt_promql_result_fini(&r);
	lt_promql_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(types_of_results, setup, teardown),
		cmocka_unit_test_setup_teardown(series_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(result_outlives_the_expression, setup, teardown),
		cmocka_unit_test_setup_teardown(staleness_and_lookback, setup, teardown),
		cmocka_unit_test_setup_teardown(ranges_of_instants, setup, teardown),
		cmocka_unit_test_setup_teardown(impossible_matches, setup, teardown),
		cmocka_unit_test_setup_teardown(limits_are_named, setup, teardown),
		cmocka_unit_test_setup_teardown(errors_of_the_storage, setup, teardown),
		cmocka_unit_test_setup_teardown(many_series, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
