/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "latido/promql.h"

/*
 * The input is an expression. What is accepted has a canonical text that means the same, and is
 * evaluated, twice and over a range, on a few series: an answer or an error, within limits, and
 * nothing is left behind in the pool. It is also tried as a metric, as values and as a duration.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct lt_label_pool *pool;
static struct lt_promql_mem *store;
static const struct lt_promql_limits limits = {.max_text_bytes = 4096,
	.max_depth = 60,
	.max_samples = 20000,
	.max_steps = 200,
	.regex_match_limit = 2000,
	.regex_heap_kib = 64};

static void add(const char *metric, const char *values)
{
	const struct lt_labels *l;
	struct lt_promql_seq *v;
	size_t n;

	if (lt_promql_parse_metric(pool, metric, strlen(metric), &l, NULL, NULL) != LT_OK ||
		lt_promql_parse_values(values, strlen(values), &v, &n, NULL, NULL) != LT_OK)
		abort();
	for (size_t i = 0; i < n; i++)
		if (!v[i].omitted)
			lt_promql_mem_add(store, l, (int64_t)i * 15000, v[i].v);
	free(v);
	lt_labels_put(pool, l);
}

static void set_up(void)
{
	pool = lt_label_pool_new();
	store = lt_promql_mem_new(pool);
	add("a{x=\"1\",y=\"1\"}", "1+1x20 0+2x10");
	add("a{x=\"1\",y=\"2\"}", "1 NaN Inf -Inf stale _x5 3x10");
	add("a{x=\"2\",y=\"1\"}", "_x3 5-1x20");
	add("b{x=\"1\"}", "1x40");
	add("b{x=\"2\"}", "-1x10 stale _x10 7");
	add("h_bucket{le=\"1\"}", "0+1x40");
	add("h_bucket{le=\"+Inf\"}", "0+3x40");
}

static void evaluate(struct lt_promql_expr *e, struct lt_promql_result *r)
{
	const struct lt_promql_storage *st = lt_promql_mem_storage(store);
	static const int64_t times[] = {300000, 450000, 449999};
	struct lt_err err = {0};

	for (size_t i = 0; i < LT_ARRAY_LEN(times); i++) {
		err.msg[0] = '\0';
		if (lt_promql_eval(e, times[i], st, r, &err) != LT_OK) {
			if (!err.msg[0] || r->n)
				abort();
			continue;
		}
		lt_promql_result_sort(r);
	}
	if (lt_promql_eval_range(e, 0, 600000, 100000, st, r, &err) == LT_OK)
		lt_promql_result_sort(r);
}

static void expression(const char *text, size_t n)
{
	struct lt_promql_expr *e, *again;
	struct lt_promql_result r = {0};
	struct lt_buf one = {0}, two = {0};
	struct lt_promql_pos at;
	struct lt_err err;

	if (lt_promql_parse(pool, text, n, &limits, &e, &at, &err) != LT_OK) {
		if (!err.msg[0] || at.offset > n || !at.line || !at.column)
			abort();
		return;
	}
	lt_promql_format(e, &one);
	/* Only the length may have grown too much. */
	if (lt_promql_parse(pool, one.data, one.len, NULL, &again, NULL, &err) == LT_OK) {
		lt_promql_format(again, &two);
		if (one.len != two.len || memcmp(one.data, two.data, one.len) != 0)
			abort();
		if (lt_promql_selector_count(e) != lt_promql_selector_count(again))
			abort();
		lt_promql_free(again);
	} else if (one.len <= 65536) {
		abort();
	}
	evaluate(e, &r);
	lt_promql_result_fini(&r);
	lt_promql_free(e);
	lt_buf_fini(&one);
	lt_buf_fini(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct lt_label_pool_info before, after;
	const struct lt_labels *l;
	struct lt_promql_seq *v;
	int64_t ms;
	size_t n;

	if (!pool)
		set_up();
	lt_label_pool_info(pool, &before);
	expression(text, size);
	if (lt_promql_parse_metric(pool, text, size, &l, NULL, NULL) == LT_OK)
		lt_labels_put(pool, l);
	if (size < 40 && lt_promql_parse_values(text, size, &v, &n, NULL, NULL) == LT_OK)
		free(v);
	lt_promql_parse_duration(text, size, &ms);
	lt_label_pool_info(pool, &after);
	if (before.sets != after.sets || before.symbols != after.symbols)
		abort();
	return 0;
}
