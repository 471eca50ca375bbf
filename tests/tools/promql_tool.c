/* SPDX-License-Identifier: MIT */
/*
 * The expression language for tests in other languages. Lines of standard input, fields separated by
 * tabs; each but the first is answered by one line of JSON.
 *
 *	series	<name{label="value"}>	<t_ms> <value> <t_ms> <value> ...
 *	eval	<t_ms>	<expression>
 *	range	<start_ms>	<end_ms>	<step_ms>	<expression>
 *	parse	<expression>
 *	limit	<max_samples>	(of what is evaluated from then on)
 *
 * Answers: {"type":"vector","result":[[{labels},"value"],...]}, {"type":"matrix","result":[[{labels},
 * [[t_ms,"value"],...]],...]}, {"type":"scalar","result":"value"}, {"type":"string","result":"..."},
 * for parse {"text":"canonical","again":"the same of that","selectors":[[back_ms,ahead_ms],...]}, or
 * {"error":"...","code":"LT_EINVAL","at":[offset,line,column]} (at: only of expressions that are
 * wrong). Values have 17 digits; "stale" is a staleness marker. In expressions, \n and \t stand for
 * themselves as %0A and %09, and % as %25.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/promql.h"

static struct lt_label_pool *pool;
static struct lt_promql_mem *store;
static struct lt_promql_limits limits;

static void put_value(struct lt_buf *out, double v)
{
	if (lt_promql_is_stale(v))
		lt_buf_str(out, "\"stale\"");
	else if (isnan(v))
		lt_buf_str(out, "\"NaN\"");
	else if (isinf(v))
		lt_buf_str(out, v > 0 ? "\"+Inf\"" : "\"-Inf\"");
	else
		lt_buf_printf(out, "\"%.17g\"", v);
}

static void put_labels(struct lt_buf *out, const struct lt_labels *l)
{
	lt_buf_char(out, '{');
	for (size_t i = 0; i < l->n; i++) {
		size_t n;
		const char *text = lt_sym_text(pool, l->pair[i].name, &n);

		lt_buf_str(out, i ? "," : "");
		lt_buf_json_str(out, text, n);
		lt_buf_char(out, ':');
		text = lt_sym_text(pool, l->pair[i].value, &n);
		lt_buf_json_str(out, text, n);
	}
	lt_buf_char(out, '}');
}

static void put_error(
	struct lt_buf *out, int rc, const struct lt_err *err, const struct lt_promql_pos *at)
{
	lt_buf_str(out, "{\"error\":");
	lt_buf_json_str(out, err->msg, strlen(err->msg));
	lt_buf_printf(out, ",\"code\":\"%s\"", lt_code_name(rc));
	if (at)
		lt_buf_printf(out, ",\"at\":[%u,%u,%u]", at->offset, at->line, at->column);
	lt_buf_char(out, '}');
}

static void put_result(struct lt_buf *out, const struct lt_promql_result *r)
{
	static const char *const types[] = {"none", "scalar", "string", "vector", "matrix"};

	lt_buf_printf(out, "{\"type\":\"%s\",\"result\":", types[r->type]);
	if (r->type == LT_PROMQL_SCALAR)
		put_value(out, r->scalar);
	else if (r->type == LT_PROMQL_STRING)
		lt_buf_json_str(out, r->string, r->string_len);
	else
		lt_buf_char(out, '[');
	for (size_t i = 0; i < r->n; i++) {
		lt_buf_str(out, i ? ",[" : "[");
		put_labels(out, r->vector ? r->vector[i].labels : r->matrix[i].labels);
		lt_buf_char(out, ',');
		if (r->vector) {
			put_value(out, r->vector[i].v);
		} else {
			lt_buf_char(out, '[');
			for (size_t k = 0; k < r->matrix[i].n; k++) {
				lt_buf_printf(out, "%s[%lld,", k ? "," : "",
					(long long)r->matrix[i].points[k].t_ms);
				put_value(out, r->matrix[i].points[k].v);
				lt_buf_char(out, ']');
			}
			lt_buf_char(out, ']');
		}
		lt_buf_char(out, ']');
	}
	if (r->type == LT_PROMQL_VECTOR || r->type == LT_PROMQL_MATRIX)
		lt_buf_char(out, ']');
	lt_buf_char(out, '}');
}

static char *field(char **line)
{
	return strsep(line, "\t");
}

static long long integer(const char *s)
{
	return s ? strtoll(s, NULL, 10) : 0;
}

static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '%' && s[1] && s[2]) {
			char hex[3] = {s[1], s[2], '\0'};

			*to++ = (char)strtol(hex, NULL, 16);
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

static int add_series(char *line)
{
	const char *name = field(&line);
	const struct lt_labels *l;
	struct lt_promql_pos at;
	struct lt_err err;
	char *word;
	int rc = lt_promql_parse_metric(pool, name, strlen(name), &l, &at, &err);

	if (rc != LT_OK) {
		fprintf(stderr, "promql_tool: %s: %s\n", name, err.msg);
		return 1;
	}
	while ((word = strsep(&line, " "))) {
		const char *value = strsep(&line, " ");

		if (!value)
			break;
		lt_promql_mem_add(store, l, integer(word),
			strcmp(value, "stale") == 0 ? lt_promql_stale() : strtod(value, NULL));
	}
	lt_labels_put(pool, l);
	return 0;
}

static void put_parsed(struct lt_buf *out, const struct lt_promql_expr *e)
{
	struct lt_buf text = {0}, again = {0};
	struct lt_promql_expr *e2;

	lt_promql_format(e, &text);
	if (lt_promql_parse(pool, text.data, text.len, &limits, &e2, NULL, NULL) == LT_OK) {
		lt_promql_format(e2, &again);
		lt_promql_free(e2);
	}
	lt_buf_str(out, "{\"text\":");
	lt_buf_json_str(out, text.data, text.len);
	lt_buf_str(out, ",\"again\":");
	lt_buf_json_str(out, again.data ? again.data : "", again.len);
	lt_buf_str(out, ",\"selectors\":[");
	for (size_t i = 0; i < lt_promql_selector_count(e); i++) {
		const struct lt_promql_selector *s = lt_promql_selector(e, i);

		lt_buf_printf(out, "%s[%lld,%lld]", i ? "," : "",
			(long long)(s->absolute ? s->abs_min_ms : s->back_ms),
			(long long)(s->absolute ? s->abs_max_ms : s->ahead_ms));
	}
	lt_buf_str(out, "]}");
	lt_buf_fini(&text);
	lt_buf_fini(&again);
}

static void answer(const char *word, char *line, struct lt_buf *out)
{
	static struct lt_promql_result result;
	long long number[3] = {0};
	size_t n = strcmp(word, "eval") == 0 ? 1 : strcmp(word, "range") == 0 ? 3 : 0;
	struct lt_promql_expr *e;
	struct lt_promql_pos at;
	struct lt_err err;
	int rc;

	for (size_t i = 0; i < n; i++)
		number[i] = integer(field(&line));
	if (!line)
		line = (char[]){""};
	unescape(line);
	rc = lt_promql_parse(pool, line, strlen(line), &limits, &e, &at, &err);
	if (rc != LT_OK) {
		put_error(out, rc, &err, &at);
		return;
	}
	if (n == 0) {
		put_parsed(out, e);
		lt_promql_free(e);
		return;
	}
	/* Twice: the second time with the label sets of the first. */
	for (int i = 0; i < 2; i++) {
		const struct lt_promql_storage *st = lt_promql_mem_storage(store);

		rc = n == 1 ? lt_promql_eval(e, number[0], st, &result, &err)
			    : lt_promql_eval_range(
				      e, number[0], number[1], number[2], st, &result, &err);
	}
	if (rc != LT_OK)
		put_error(out, rc, &err, NULL);
	else
		put_result(out, &result);
	lt_promql_result_fini(&result);
	lt_promql_free(e);
}

int main(void)
{
	struct lt_buf out = {0};
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int rc = 0;

	pool = lt_label_pool_new();
	store = lt_promql_mem_new(pool);
	while (rc == 0 && (n = getline(&line, &cap, stdin)) > 0) {
		char *rest = line;
		const char *word;

		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		word = field(&rest);
		if (strcmp(word, "series") == 0) {
			rc = add_series(rest);
			continue;
		}
		if (strcmp(word, "limit") == 0) {
			limits.max_samples = (uint64_t)integer(rest);
			continue;
		}
		lt_buf_reset(&out);
		answer(word, rest, &out);
		puts(out.data);
		fflush(stdout);
	}
	lt_buf_fini(&out);
	free(line);
	lt_promql_mem_free(store);
	lt_label_pool_free(pool);
	return rc;
}
