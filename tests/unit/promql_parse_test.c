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

static struct lt_label_pool *pool;

static int setup(void **state)
{
	(void)state;
	pool = lt_label_pool_new();
	return 0;
}

/* What expressions hold, they give back. */
static int teardown(void **state)
{
	struct lt_label_pool_info info;

	(void)state;
	lt_label_pool_info(pool, &info);
	assert_int_equal(info.sets, 0);
	assert_int_equal(info.symbols, 1);
	lt_label_pool_free(pool);
	return 0;
}

static struct lt_promql_expr *parse(const char *text)
{
	struct lt_promql_expr *e = NULL;
	struct lt_promql_pos at = {0};
	struct lt_err err = {0};

	if (lt_promql_parse(pool, text, strlen(text), NULL, &e, &at, &err) != LT_OK)
		fail_msg("%s: %u:%u: %s", text, at.line, at.column, err.msg);
	return e;
}

static void canonical_texts(void **state)
{
	static const char *const cases[][2] = {
		{"sum(x)by(b , a,)", "sum by (b, a) (x)"},
		{"sum by () (x)", "sum(x)"},
		{"topk without(a)(3,x)", "topk without (a) (3, x)"},
		{"COUNT_VALUES('v', x) by (a)", "count_values by (a) (\"v\", x)"},
		{"a+b*c^d^-e", "a + b * c ^ d ^ -e"},
		{"(a+b)*c", "(a + b) * c"},
		{"- 1 + - x", "-1 + -x"},
		{"+Inf ^ -nan", "+Inf ^ NaN"},
		{"0x1F + 017 + 1e3 + 1e-7 + 1e21", "31 + 15 + 1000 + 1e-07 + 1e+21"},
		{"x{b='2',a=~\"1\\n\",}[90m] offset -1d",
			"x{a=~\"1\\n\",b=\"2\"}[1h30m] offset -1d"},
		{"x @1.5 offset 1w", "x @ 1.500 offset 1w"},
		{"x offset 8d @ end()", "x @ end() offset 8d"},
		{"{__name__=\"x\"}", "{__name__=\"x\"}"},
		{"rate(x[5m])[1h:] @ -1", "rate(x[5m])[1h:] @ -1.000"},
		{"rate(x[5m])[1h:1m30s]", "rate(x[5m])[1h:1m30s]"},
		{"a == BOOL on (x,y) group_left() b", "a == bool on (x, y) group_left () b"},
		{"a / ignoring() group_right (z) b", "a / ignoring () group_right (z) b"},
		{"a and on() b unless c or d", "a and on () b unless c or d"},
		{"label_replace(x, `$1`, '', \"c\", \"\\u00e9\")", NULL},
		{"clamp_max((x), time( ))", "clamp_max((x), time())"},
		{"a # comment\n > 1", "a > 1"},
		{"1d", NULL},
		{"by offset 5m", "by offset 5m"},
		{"a:b:c{}", "a:b:c"},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(cases); i++) {
		struct lt_promql_expr *e, *again;
		struct lt_buf text = {0}, text2 = {0};

		if (!cases[i][1]) {
			assert_int_not_equal(lt_promql_parse(pool, cases[i][0], strlen(cases[i][0]),
						     NULL, &e, NULL, NULL),
				LT_OK);
			continue;
		}
		e = parse(cases[i][0]);
		lt_promql_format(e, &text);
		assert_string_equal(text.data, cases[i][1]);
		again = parse(text.data);
		lt_promql_format(again, &text2);
		assert_string_equal(text.data, text2.data);
		lt_promql_free(e);
		lt_promql_free(again);
		lt_buf_fini(&text);
		lt_buf_fini(&text2);
	}
}

static void errors_name_the_place(void **state)
{
	static const struct {
		const char *text;
		unsigned line, column;
		const char *why;
	} cases[] = {
		{"", 1, 1, "no expression found in input"},
		{"  # nothing\n", 1, 1, "no expression found in input"},
		{"foo +\n bar baz", 2, 6, "unexpected identifier \"baz\""},
		{"sum by foo", 1, 8,
			"unexpected identifier \"foo\" in grouping opts, expected \"(\""},
		{"foo{a=b}", 1, 7,
			"unexpected identifier \"b\" in label matching, expected string"},
		{"foo{a=~\"x(\"}", 1, 5, "error parsing regexp: missing closing ): `x(`"},
		{"foo{a=~\"(?=x)\"}", 1, 5, "invalid or unsupported Perl syntax: `(?=`"},
		{"foo{a=~\"(a)\\\\1\"}", 1, 5, "invalid escape sequence: `\\1`"},
		{"foo{a=~\"a**\"}", 1, 5, "invalid nested repetition operator"},
		{"rate(foo)", 1, 6,
			"expected type range vector in call to function \"rate\", got instant "
			"vector"},
		{"foo[5m] + 1", 1, 1,
			"binary expression must contain only scalar and instant vector types"},
		{"1 +\n2 > 3", 2, 3, "comparisons between scalars must use BOOL modifier"},
		{"foo and\n histogram_quantile(0.9, histogram_sum(bar))", 2, 26,
			"function \"histogram_sum\" is for native histograms, which are not "
			"supported"},
		{"mad_over_time(foo[5m])", 1, 1, "experimental"},
		{"nothing(foo)", 1, 1, "unknown function with name \"nothing\""},
		{"foo[0s]", 1, 5, "duration must be greater than 0"},
		{"foo[5m", 1, 7, "unclosed left bracket"},
		{"{a=\"\"}", 1, 1, "vector selector must contain at least one non-empty matcher"},
		{"foo offset 5m offset 1m", 1, 1, "offset may not be set multiple times"},
		{"'a", 1, 1, "unterminated quoted string"},
		{"\"\\xzz\"", 1, 2, "escape sequence"},
		{"foo{a=\"\xff\"}", 1, 8, "invalid UTF-8 rune"},
		{"label_replace(foo, \"a b\", \"\", \"\", \"\")", 1, 20,
			"invalid destination label name"},
		{"label_replace(foo, \"a\", \"\", \"\", \"[\")", 1, 33,
			"invalid regular expression in label_replace(): "},
		{"count_values(\"0\", foo)", 1, 14, "invalid label name \"0\""},
		{"rate(foo[1y]) + rate(bar[2y])", 1, 22, "longer than"},
		{"foo[300d:1m]", 1, 1, "subquery of 432001 steps, 11000 are allowed"},
		{"foo offset 401d", 1, 1, "longer than"},
		{"foo @ 1e17", 1, 1, "timestamp out of bounds"},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(cases); i++) {
		struct lt_promql_expr *e = NULL;
		struct lt_promql_pos at = {0};
		struct lt_err err = {0};

		assert_int_equal(lt_promql_parse(pool, cases[i].text, strlen(cases[i].text), NULL,
					 &e, &at, &err),
			LT_EINVAL);
		assert_null(e);
		if (!strstr(err.msg, cases[i].why) || at.line != cases[i].line ||
			at.column != cases[i].column)
			fail_msg("%s: %u:%u: %s", cases[i].text, at.line, at.column, err.msg);
	}
}

static void windows_of_selectors(void **state)
{
	static const struct {
		const char *text;
		bool absolute;
		int64_t from, to; /* back and ahead, or the absolute window */
		int64_t range;
	} cases[] = {
		{"x", false, 300000, 0, 0},
		{"rate(x[10m])", false, 600000, 0, 600000},
		{"x offset 1h", false, 3900000, -3600000, 0},
		{"x offset -1h", false, -3300000, 3600000, 0},
		{"max_over_time(rate(x[5m] offset 1m)[1h:30s] offset 1d)", false,
			300000 + 60000 + 3600000 + 86400000, -60000 - 86400000, 300000},
		{"x @ 1000", true, 700000, 1000000, 0},
		{"sum_over_time((x @ end())[1h:1m] offset 1h)", false, 300000, 0, 0},
		{"sum_over_time(x[1h:1m] @ 10000 offset 1m)", true,
			10000000 - 60000 - 3600000 - 300000, 10000000 - 60000, 0},
		{"topk(scalar(x offset 5m), vector(1))", false, 600000, -300000, 0},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(cases); i++) {
		struct lt_promql_expr *e = parse(cases[i].text);
		const struct lt_promql_selector *s = lt_promql_selector(e, 0);

		assert_int_equal(lt_promql_selector_count(e), 1);
		assert_int_equal(s->absolute, cases[i].absolute);
		assert_int_equal(s->relative, !cases[i].absolute);
		assert_int_equal(s->absolute ? s->abs_min_ms : s->back_ms, cases[i].from);
		assert_int_equal(s->absolute ? s->abs_max_ms : s->ahead_ms, cases[i].to);
		assert_int_equal(s->range_ms, cases[i].range);
		assert_string_equal(lt_sym_text(pool, s->name, NULL), "x");
		lt_promql_free(e);
	}
}

static void selectors_match(void **state)
{
	static const struct {
		const char *selector, *metric;
		int match;
	} cases[] = {
		{"up", "up{a=\"b\"}", 1},
		{"up", "down", 0},
		{"up{a=\"b\"}", "up{a=\"b\",c=\"d\"}", 1},
		{"up{a=\"\"}", "up", 1},
		{"up{a!=\"\"}", "up", 0},
		{"up{a=~\"b|c\"}", "up{a=\"c\"}", 1},
		{"up{a=~\"b|c\"}", "up{a=\"bc\"}", 0},
		{"up{a=~\"b.*\"}", "up{a=\"bcd\"}", 1},
		{"up{a=~\"b.*\"}", "up{a=\"abcd\"}", 0},
		{"up{a!~\"b.*\"}", "up", 1},
		{"up{a=~\"|b\"}", "up", 1},
		{"up{a=~\".*\"}", "up{a=\"x\\ny\"}", 0}, /* a dot is no end of line */
		{"up{a=~\"(?s).*\"}", "up{a=\"x\\ny\"}", 1},
		{"up{a=~\"x$\"}", "up{a=\"x\\n\"}", 0},
		{"up{a=~\"(?i)ÉTÉ\"}", "up{a=\"été\"}", 1},
		{"up{a=~\"\\\\d\\\\s\\\\w[[:alpha:]\\\\D]\"}", "up{a=\"1 x_\"}", 1},
		{"up{a=~\"\\\\s\"}", "up{a=\"\\v\"}", 0}, /* not in RE2's \s */
		{"up{a=~\"\\\\v\"}", "up{a=\"\\v\"}", 1},
		{"up{a=~\"\\\\p{Greek}\\\\PL\\\\x{e9}\\\\351\"}", "up{a=\"α1éé\"}", 1},
		{"up{a=~\"\\\\Qa.b\\\\E+\"}", "up{a=\"a.bbb\"}", 1},
		{"up{a=~\"a{2,3}|{x}\"}", "up{a=\"{x}\"}", 1},
		{"up{a=~\"a{2,3}\"}", "up{a=\"aaaa\"}", 0},
		{"{__name__=~\"u.\",a=~\"b+?\"}", "up{a=\"bb\"}", 1},
		{"up{a=~\"[]a]+[^]b][-x]\"}", "up{a=\"]ac-\"}", 1},
		{"up{a=~\"^a$|^(?:b)$\"}", "up{a=\"b\"}", 1},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(cases); i++) {
		struct lt_promql_expr *e = parse(cases[i].selector);
		const struct lt_labels *l;
		struct lt_err err = {0};

		assert_int_equal(lt_promql_parse_metric(pool, cases[i].metric,
					 strlen(cases[i].metric), &l, NULL, &err),
			LT_OK);
		if (lt_promql_selector_match(pool, lt_promql_selector(e, 0), l, &err) !=
			cases[i].match)
			fail_msg("%s and %s %s", cases[i].selector, cases[i].metric, err.msg);
		lt_labels_put(pool, l);
		lt_promql_free(e);
	}
}

static void same_selectors(void **state)
{
	struct lt_promql_expr *a = parse("x{a=\"1\",b=~\"2.\"}");
	struct lt_promql_expr *b = parse("rate({b=~\"2.\",__name__=\"x\",a=\"1\"}[5m])");
	struct lt_promql_expr *c = parse("x{a=\"1\",b!~\"2.\"}");

	(void)state;
	assert_true(lt_promql_selector_same(lt_promql_selector(a, 0), lt_promql_selector(b, 0)));
	assert_false(lt_promql_selector_same(lt_promql_selector(a, 0), lt_promql_selector(c, 0)));
	lt_promql_free(a);
	lt_promql_free(b);
	lt_promql_free(c);
}

static void thresholds(void **state)
{
	static const struct {
		const char *text;
		int cmp; /* -1: it is none */
		double met, missed;
	} cases[] = {
		{"x == 1", LT_CMP_EQ, 1, 2},
		{"x != 1", LT_CMP_NE, NAN, 1},
		{"(x{a=\"b\"}) < 2 - 1", LT_CMP_LT, 0.5, 1},
		{"x <= 1", LT_CMP_LE, 1, 1.5},
		{"x > -1", LT_CMP_GT, 0, -1},
		{"x >= 1", LT_CMP_GE, 1, NAN},
		{"0.8 < x", LT_CMP_GT, 0.9, 0.8},
		{"1 >= (((x)))", LT_CMP_LE, 1, INFINITY},
		{"1 == x", LT_CMP_EQ, 1, 0},
		{"x > bool 1", -1, 0, 0},
		{"x > y", -1, 0, 0},
		{"x > scalar(y)", -1, 0, 0},
		{"x > time()", -1, 0, 0},
		{"x offset 1m > 1", -1, 0, 0},
		{"x @ end() > 1", -1, 0, 0},
		{"-x > 1", -1, 0, 0},
		{"x > 1 and y", -1, 0, 0},
		{"rate(x[1m]) > 1", -1, 0, 0},
		{"x + 1", -1, 0, 0},
		{"x", -1, 0, 0},
		{"1 > bool 2", -1, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(cases); i++) {
		struct lt_promql_expr *e = parse(cases[i].text);
		struct lt_promql_threshold t;
		bool found = lt_promql_threshold(e, &t);

		if (found != (cases[i].cmp >= 0))
			fail_msg("%s", cases[i].text);
		if (found) {
			assert_int_equal(t.cmp, cases[i].cmp);
			assert_ptr_equal(t.sel, lt_promql_selector(e, 0));
			assert_true(lt_promql_beyond(&t, cases[i].met));
			assert_false(lt_promql_beyond(&t, cases[i].missed));
			assert_false(lt_promql_beyond(&t, lt_promql_stale()));
		}
		lt_promql_free(e);
	}
}

static void hostile_texts_are_bounded(void **state)
{
	static const char *const units[] = {"(", "-", "sum(", "a+", "a or ", "a^",
		"a[1h:1m] offset "
		"1m+",
		"abs(", "1-", "{", "sum by (a) (a /"};
	struct lt_promql_expr *e;
	struct lt_promql_pos at;
	struct lt_err err;
	char *text = malloc(70000);

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(units); i++) {
		size_t n = 0, len = strlen(units[i]);

		for (; n + len < 60000; n += len)
			memcpy(text + n, units[i], len);
		text[n++] = 'a';
		assert_int_equal(lt_promql_parse(pool, text, n, NULL, &e, &at, &err), LT_EINVAL);
		if (units[i][0] != '{')
			assert_non_null(strstr(err.msg, "nests deeper than 256 levels"));
	}
	memset(text, 'a', 70000);
	assert_int_equal(lt_promql_parse(pool, text, 70000, NULL, &e, &at, &err), LT_EINVAL);
	assert_non_null(strstr(err.msg, "65536 are allowed"));
	/* Groups, too, and patterns. */
	memcpy(text, "a{b=~\"", 6);
	memset(text + 6, '(', 3000);
	memcpy(text + 3006, "\"}", 2);
	assert_int_equal(lt_promql_parse(pool, text, 3008, NULL, &e, &at, &err), LT_EINVAL);
	assert_non_null(strstr(err.msg, "nests too deeply"));
	memset(text + 6, 'x', 5000);
	memcpy(text + 5006, "\"}", 2);
	assert_int_equal(lt_promql_parse(pool, text, 5008, NULL, &e, &at, &err), LT_EINVAL);
	assert_non_null(strstr(err.msg, "4096 are allowed"));
	free(text);
}

/* A pattern that explodes gives up with an error instead of hanging. */
static void exploding_patterns_give_up(void **state)
{
	static const char *const patterns[] = {
		"(a+)+b", "(a|aa)+b", "(.*)*x.*(.*)*y", "(?:a?){30}a{30}b", "(.*.*.*.*.*.*)*z"};
	char value[4001];

	(void)state;
	memset(value, 'a', 4000);
	value[4000] = '\0';
	for (size_t i = 0; i < LT_ARRAY_LEN(patterns); i++) {
		char text[100];
		struct lt_promql_expr *e;
		struct lt_err err = {0};
		int rc;

		snprintf(text, sizeof(text), "x{a=~\"%s\"}", patterns[i]);
		e = parse(text);
		rc = lt_matcher_match(&lt_promql_selector(e, 0)->matchers[0], value, 4000, &err);
		/* PCRE2 may also see at once that a needed character is missing. */
		assert_true(rc == LT_EINVAL || rc == 0);
		if (rc)
			assert_non_null(strstr(err.msg, "gives up after too many steps"));
		lt_promql_free(e);
	}
}

static void series_notation(void **state)
{
	static const struct {
		const char *text;
		const char *want; /* numbers, _ and s */
		unsigned column;  /* of the error, 0: none */
	} cases[] = {
		{"", "", 0},
		{"1 -2 +3.5e1", "1 -2 35 ", 0},
		{"1x3", "1 1 1 1 ", 0},
		{"1+2x3  10-1x2", "1 3 5 7 10 9 8 ", 0},
		{"_ _x3 stale NaN -Inf", "_ _ _ _ s nan -inf ", 0},
		{"0x2", "0 0 0 ", 0},
		{"-1-1x1", "-1 -2 ", 0},
		{"1 foo", NULL, 3},
		{"1x", NULL, 3},
		{"1+1", NULL, 4},
		{"1 stalex2", NULL, 8},
		{"1x99999999999", NULL, 10},
		{"1x999999 1x999999", NULL, 18},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(cases); i++) {
		struct lt_promql_seq *v;
		struct lt_promql_pos at;
		struct lt_buf text = {0};
		struct lt_err err;
		size_t n;
		int rc = lt_promql_parse_values(
			cases[i].text, strlen(cases[i].text), &v, &n, &at, &err);

		if (!cases[i].want) {
			assert_int_equal(rc, LT_EINVAL);
			assert_int_equal(at.column, cases[i].column);
			continue;
		}
		assert_int_equal(rc, LT_OK);
		lt_buf_str(&text, "");
		for (size_t k = 0; k < n; k++) {
			if (v[k].omitted)
				lt_buf_str(&text, "_ ");
			else if (lt_promql_is_stale(v[k].v))
				lt_buf_str(&text, "s ");
			else
				lt_buf_printf(&text, "%g ", v[k].v);
		}
		assert_string_equal(text.data ? text.data : "", cases[i].want);
		lt_buf_fini(&text);
		free(v);
	}
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ms; /* -1: none */
		const char *shown;
	} cases[] = {
		{"0", 0, "0s"},
		{"5m", 300000, "5m"},
		{"1h30m", 5400000, "1h30m"},
		{"90m", 5400000, "1h30m"},
		{"1500ms", 1500, "1s500ms"},
		{"14d", 1209600000, "2w"},
		{"8d", 691200000, "8d"},
		{"1y1w", 32140800000, "372d"},
		{"1y", 31536000000, "1y"},
		{"", -1, NULL},
		{"5", -1, NULL},
		{"m", -1, NULL},
		{"1m1h", -1, NULL},
		{"1.5m", -1, NULL},
		{"1h 1m", -1, NULL},
		{"1mx", -1, NULL},
		{"99999999999999999y", -1, NULL},
		{"300y", -1, NULL},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(cases); i++) {
		struct lt_buf b = {0};
		int64_t ms = -1;
		bool ok = lt_promql_parse_duration(cases[i].text, strlen(cases[i].text), &ms);

		assert_int_equal(ok, cases[i].ms >= 0);
		if (!ok)
			continue;
		assert_int_equal(ms, cases[i].ms);
		lt_promql_format_duration(&b, ms);
		assert_string_equal(b.data, cases[i].shown);
		lt_buf_fini(&b);
	}
}

static void numbers_as_text(void **state)
{
	static const struct {
		double v;
		const char *want;
	} cases[] = {
		{0, "0"},
		{-0.0, "-0"},
		{1, "1"},
		{-1.5, "-1.5"},
		{0.1, "0.1"},
		{123456789, "123456789"},
		{1e21, "1000000000000000000000"},
		{1.5e-7, "0.00000015"},
		{1.0 / 3, "0.3333333333333333"},
		{5e-324, NULL},
		{INFINITY, "+Inf"},
		{-INFINITY, "-Inf"},
		{NAN, "NaN"},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(cases); i++) {
		struct lt_buf b = {0};

		lt_promql_format_float(&b, cases[i].v);
		if (cases[i].want)
			assert_string_equal(b.data, cases[i].want);
		else
			assert_true(strtod(b.data, NULL) == cases[i].v);
		lt_buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(canonical_texts),
		cmocka_unit_test(errors_name_the_place),
		cmocka_unit_test(windows_of_selectors),
		cmocka_unit_test(selectors_match),
		cmocka_unit_test(same_selectors),
		cmocka_unit_test(thresholds),
		cmocka_unit_test(hostile_texts_are_bounded),
		cmocka_unit_test(exploding_patterns_give_up),
		cmocka_unit_test(series_notation),
		cmocka_unit_test(durations),
		cmocka_unit_test(numbers_as_text),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
