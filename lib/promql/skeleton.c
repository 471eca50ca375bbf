/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "promql_int.h"

/* What is not written yet: so that others can link. This file goes with the next deliveries. */

static int absent(struct lt_err *err)
{
	return lt_fail(
		err, LT_EINVAL, LT_CLS_CONFIG, "promql", "expressions are not available yet");
}

void pq_quote(struct lt_buf *out, const char *s, size_t n)
{
	lt_buf_json_str(out, s, n);
}

void lt_promql_limits_defaults(struct lt_promql_limits *l)
{
	(void)l;
}

void lt_points_add(struct lt_points *a, int64_t t_ms, double v)
{
	if (a->n == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 64;
		a->p = lt_realloc(a->p, a->cap * sizeof(*a->p));
	}
	a->p[a->n++] = (struct lt_point){t_ms, v};
}

void lt_points_fini(struct lt_points *a)
{
	free(a->p);
	*a = (struct lt_points){0};
}

const char *lt_promql_type_name(enum lt_promql_type t)
{
	(void)t;
	return "none";
}

int lt_promql_parse(struct lt_label_pool *pool, const char *text, size_t len,
	const struct lt_promql_limits *limits, struct lt_promql_expr **out,
	struct lt_promql_pos *at, struct lt_err *err)
{
	(void)pool, (void)text, (void)len, (void)limits, (void)out;
	if (at)
		*at = (struct lt_promql_pos){0, 1, 1};
	return absent(err);
}

void lt_promql_free(struct lt_promql_expr *e)
{
	(void)e;
}

enum lt_promql_type lt_promql_expr_type(const struct lt_promql_expr *e)
{
	(void)e;
	return LT_PROMQL_NONE;
}

void lt_promql_format(const struct lt_promql_expr *e, struct lt_buf *out)
{
	(void)e, (void)out;
}

int lt_promql_parse_metric(struct lt_label_pool *pool, const char *text, size_t len,
	const struct lt_labels **out, struct lt_promql_pos *at, struct lt_err *err)
{
	(void)pool, (void)text, (void)len, (void)out, (void)at;
	return absent(err);
}

int lt_promql_parse_values(const char *text, size_t len, struct lt_promql_seq **out, size_t *n,
	struct lt_promql_pos *at, struct lt_err *err)
{
	(void)text, (void)len, (void)out, (void)n, (void)at;
	return absent(err);
}

bool lt_promql_parse_duration(const char *s, size_t n, int64_t *ms)
{
	(void)s, (void)n, (void)ms;
	return false;
}

void lt_promql_format_duration(struct lt_buf *out, int64_t ms)
{
	(void)out, (void)ms;
}

void lt_promql_format_float(struct lt_buf *out, double v)
{
	lt_buf_double(out, v);
}

size_t lt_promql_selector_count(const struct lt_promql_expr *e)
{
	(void)e;
	return 0;
}

const struct lt_promql_selector *lt_promql_selector(const struct lt_promql_expr *e, size_t i)
{
	(void)e, (void)i;
	return NULL;
}

int lt_matcher_match(const struct lt_matcher *m, const char *value, size_t len, struct lt_err *err)
{
	(void)m, (void)value, (void)len;
	return absent(err);
}

int lt_promql_selector_match(const struct lt_label_pool *pool, const struct lt_promql_selector *s,
	const struct lt_labels *l, struct lt_err *err)
{
	(void)pool, (void)s, (void)l;
	return absent(err);
}

bool lt_promql_selector_same(const struct lt_promql_selector *a, const struct lt_promql_selector *b)
{
	return a == b;
}

void lt_promql_result_fini(struct lt_promql_result *r)
{
	(void)r;
}

void lt_promql_result_sort(struct lt_promql_result *r)
{
	(void)r;
}

int lt_promql_eval(struct lt_promql_expr *e, int64_t t_ms, const struct lt_promql_storage *s,
	struct lt_promql_result *out, struct lt_err *err)
{
	(void)e, (void)t_ms, (void)s, (void)out;
	return absent(err);
}

int lt_promql_eval_range(struct lt_promql_expr *e, int64_t start_ms, int64_t end_ms,
	int64_t step_ms, const struct lt_promql_storage *s, struct lt_promql_result *out,
	struct lt_err *err)
{
	(void)e, (void)start_ms, (void)end_ms, (void)step_ms, (void)s, (void)out;
	return absent(err);
}

struct lt_promql_mem *lt_promql_mem_new(struct lt_label_pool *pool)
{
	(void)pool;
	return NULL;
}

void lt_promql_mem_free(struct lt_promql_mem *m)
{
	(void)m;
}

bool lt_promql_mem_add(
	struct lt_promql_mem *m, const struct lt_labels *labels, int64_t t_ms, double v)
{
	(void)m, (void)labels, (void)t_ms, (void)v;
	return false;
}

const struct lt_promql_storage *lt_promql_mem_storage(struct lt_promql_mem *m)
{
	(void)m;
	return NULL;
}
