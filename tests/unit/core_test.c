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

#include "latido/clock.h"
#include "latido/err.h"
#include "latido/mem.h"
#include "latido/stats.h"

static void err_is_filled_and_prefixed(void **state)
{
	struct lt_err err = {0};
	char big[1000];

	(void)state;
	assert_int_equal(lt_fail(&err, LT_EIO, LT_CLS_RETRY, "x.y", "n=%d", 7), LT_EIO);
	assert_string_equal(err.msg, "n=7");
	assert_string_equal(err.op, "x.y");
	lt_err_prefix(&err, "file %s", "f");
	assert_string_equal(err.msg, "file f: n=7");
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	lt_err_prefix(&err, "%s", big);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_int_equal(lt_fail(NULL, LT_EDATA, LT_CLS_POISON, "x", "y"), LT_EDATA);
}

static void buf_grows_and_terminates(void **state)
{
	struct lt_buf b = {0};

	(void)state;
	for (int i = 0; i < 1000; i++)
		lt_buf_printf(&b, "%d,", i);
	assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
	assert_int_equal(b.data[b.len], 0);
	lt_buf_reset(&b);
	assert_string_equal(b.data, "");
	lt_buf_fini(&b);
	assert_null(b.data);
}

static void assert_json(const char *in, size_t n, const char *want)
{
	struct lt_buf b = {0};

	lt_buf_json_str(&b, in, n);
	assert_string_equal(b.data, want);
	lt_buf_fini(&b);
}

static void json_strings_are_escaped(void **state)
{
	(void)state;
	assert_json("a\"b\\c\n\x01", 7, "\"a\\\"b\\\\c\\n\\u0001\"");
	assert_json("\xc3\xb1\xf0\x9f\x98\x80", 6, "\"\xc3\xb1\xf0\x9f\x98\x80\"");
	assert_json("x\xff\xc3", 3, "\"x\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_json("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); /* surrogate */
	assert_json("", 0, "\"\"");
}

static void utf8_is_checked(void **state)
{
	(void)state;
	assert_true(lt_utf8_valid("ma\303\261ana", 7));
	assert_false(lt_utf8_valid("a\0b", 3));
	assert_false(lt_utf8_valid("\xc0\xaf", 2));         /* overlong */
	assert_false(lt_utf8_valid("\xf4\x90\x80\x80", 4)); /* beyond U+10FFFF */
	assert_false(lt_utf8_valid("\xe2\x82", 2));         /* cut */
}

static void doubles_read_back(void **state)
{
	static const double values[] = {0, -0.0, 1, -1, 0.1, 1.0 / 3, 1e15, 1e15 + 2, 1e300, 5e-324,
		123456789.25, 9007199254740993.0, -2147483648.0, 999999999999999.0};
	struct lt_buf b = {0};
	uint64_t rng = 42;

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(values) + 20000; i++) {
		double v, back;

		if (i < LT_ARRAY_LEN(values)) {
			v = values[i];
		} else {
			rng = rng * 6364136223846793005u + 1442695040888963407u;
			memcpy(&v, &rng, sizeof(v));
			if (!isfinite(v))
				continue;
		}
		lt_buf_reset(&b);
		lt_buf_double(&b, v);
		back = strtod(b.data, NULL);
		assert_memory_equal(&back, &v, sizeof(v));
	}
	lt_buf_reset(&b);
	lt_buf_double(&b, 0.1);
	lt_buf_char(&b, ' ');
	lt_buf_double(&b, 42);
	lt_buf_char(&b, ' ');
	lt_buf_double(&b, (double)NAN);
	lt_buf_char(&b, ' ');
	lt_buf_double(&b, -HUGE_VAL);
	assert_string_equal(b.data, "0.1 42 NaN -Inf");
	lt_buf_fini(&b);
}

/* As the C library writes it: the fewest digits from 15 on that read back. */
static void doubles_are_what_printf_writes(void **state)
{
	static const double powers[] = {
		1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e15};
	struct lt_buf b = {0};
	uint64_t rng = 7;

	(void)state;
	for (size_t i = 0; i < 200000; i++) {
		double v;
		char want[40];

		rng = rng * 6364136223846793005u + 1442695040888963407u;
		/* Whole numbers of every length, divided by a power of ten, and their neighbours. */
		v = (double)((int64_t)rng >> (8 + (rng >> 3) % 54)) /
		    powers[(rng >> 40) % LT_ARRAY_LEN(powers)];
		if (i % 4 == 3)
			v = nextafter(v, (rng >> 20) % 2 ? HUGE_VAL : -HUGE_VAL);
		for (int digits = 15; digits <= 17; digits++) {
			snprintf(want, sizeof(want), "%.*g", digits, v);
			if (strtod(want, NULL) == v)
				break;
		}
		lt_buf_reset(&b);
		lt_buf_double(&b, v);
		/* From 1e15 on printf() turns to exponents, and so do we. */
		assert_string_equal(b.data, want);
	}
	lt_buf_fini(&b);
}

static void base64_follows_rfc4648(void **state)
{
	static const char *const want[] = {
		"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	struct lt_buf b = {0};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(want); i++) {
		lt_buf_reset(&b);
		lt_buf_base64(&b, "foobar", i);
		assert_string_equal(b.data, want[i]);
	}
	lt_buf_fini(&b);
}

static void arena_rewinds_and_resets(void **state)
{
	struct lt_arena a = {0};
	struct lt_arena_mark empty = lt_arena_mark(&a), mark;
	char *kept;

	(void)state;
	kept = lt_arena_str(&a, "kept", 4);
	mark = lt_arena_mark(&a);
	for (int i = 0; i < 100; i++)
		memset(lt_arena_alloc(&a, 1000), i, 1000);
	assert_true(a.total >= 100000);
	lt_arena_rewind(&a, mark);
	assert_string_equal(kept, "kept");
	assert_int_equal(a.used, 8);
	assert_int_equal(a.total, 4096);
	for (int i = 0; i < 100; i++)
		memset(lt_arena_alloc(&a, 1000), i, 1000);
	lt_arena_reset(&a);
	assert_int_equal(a.used, 0);
	assert_int_equal((uintptr_t)lt_arena_alloc(&a, 3) % 8, 0);
	lt_arena_fini(&a);
	lt_arena_rewind(&a, empty);
	assert_null(a.head);
}

static void rfc3339_both_ways(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2026-11-21T05:00:00.250Z", INT64_C(1795237200250000000)},
		{"2026-11-21T06:30:00.25+01:30", INT64_C(1795237200250000000)},
		{"2026-11-21 05:00:00.250z", INT64_C(1795237200250000000)},
		{"1969-12-31T23:59:59.999999999Z", -1},
		{"2024-02-29T00:00:00Z", INT64_C(1709164800000000000)},
		{"2262-04-11T23:47:16.854775807Z", INT64_MAX},
	};
	static const char *const bad[] = {"", "2026-11-21", "2026-11-21T05:00:00",
		"2026-13-21T05:00:00Z", "2026-02-29T05:00:00Z", "2026-11-21T24:00:00Z",
		"2026-11-21T05:00:00.Z", "2026-11-21T05:00:00Zx", "2026-11-21T05:00:00+1:30",
		"9999-01-01T00:00:00Z", "2262-04-11T23:47:16.854775808Z",
		"2026-11-21T05:00:00+01:30x", "x026-11-21T05:00:00Z"};
	char out[LT_RFC3339_LEN];
	int64_t ns;

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(good); i++) {
		assert_true(lt_rfc3339_parse(good[i].text, strlen(good[i].text), &ns));
		assert_int_equal(ns, good[i].ns);
	}
	ns = 77;
	for (size_t i = 0; i < LT_ARRAY_LEN(bad); i++)
		assert_false(lt_rfc3339_parse(bad[i], strlen(bad[i]), &ns));
	assert_int_equal(ns, 77);
	lt_rfc3339_format(INT64_C(1795237200250000000), 3, out);
	assert_string_equal(out, "2026-11-21T05:00:00.250Z");
	lt_rfc3339_format(-1, 9, out);
	assert_string_equal(out, "1969-12-31T23:59:59.999999999Z");
	lt_rfc3339_format(0, 0, out);
	assert_string_equal(out, "1970-01-01T00:00:00Z");
}

static void backoff_stays_between_its_bounds(void **state)
{
	struct lt_backoff b;
	bool capped = false;

	(void)state;
	lt_backoff_init(&b, 100, 5000);
	for (int i = 0; i < 200; i++) {
		int64_t ms = lt_backoff_next_ms(&b);

		assert_true(ms >= 50 && ms <= 5000);
		if (i == 0)
			assert_true(ms <= 100);
		capped |= ms > 2500;
	}
	assert_true(capped);
	lt_backoff_reset(&b);
	assert_true(lt_backoff_next_ms(&b) <= 100);
}

static struct lt_counter counter;
static struct lt_gauge gauge;
static struct lt_hist hist;

static void histogram_puts_each_value_below_its_bound(void **state)
{
	(void)state;
	for (size_t i = 1; i < LT_HIST_BUCKETS; i++)
		assert_true(lt_hist_bound_ns(i) > lt_hist_bound_ns(i - 1));
	for (size_t i = 0; i < LT_HIST_BUCKETS; i++) {
		struct lt_hist h = {0};

		lt_hist_add(&h, lt_hist_bound_ns(i));
		assert_int_equal(h.bucket[i], 1);
		lt_hist_add(&h, lt_hist_bound_ns(i) + 1);
		assert_int_equal(h.bucket[i + 1], 1);
	}
	lt_hist_add(&hist, -5);
	lt_hist_add(&hist, INT64_MAX);
	assert_int_equal(hist.bucket[0], 1);
	assert_int_equal(hist.bucket[LT_HIST_BUCKETS], 1);
}

static double seven(void *p)
{
	(void)p;
	return 7.5;
}

static void stats_are_prometheus_text(void **state)
{
	static const struct lt_stat table[] = {
		{"t_total", LT_STAT_COUNTER, "a=\"x\"", "Help.", &counter, NULL},
		{"t_total", LT_STAT_COUNTER, "a=\"y\"", "Help.", &counter, NULL},
		{"t_level", LT_STAT_GAUGE, NULL, "Level.", &gauge, NULL},
		{"t_fn", LT_STAT_GAUGE_FN, NULL, "Fn.", NULL, seven},
		{"t_seconds", LT_STAT_HIST, NULL, "Time.", &hist, NULL},
	};
	struct lt_buf out = {0};

	(void)state;
	lt_counter_add(&counter, 3);
	lt_gauge_set(&gauge, -4);
	lt_stats_add(table, LT_ARRAY_LEN(table));
	lt_stats_render(&out);
	assert_memory_equal(out.data,
		"# HELP t_total Help.\n# TYPE t_total counter\nt_total{a=\"x\"} 3\n"
		"t_total{a=\"y\"} 3\n# HELP t_level Level.\n# TYPE t_level gauge\nt_level -4\n"
		"# HELP t_fn Fn.\n# TYPE t_fn gauge\nt_fn 7.5\n",
		150);
	assert_non_null(strstr(out.data, "t_seconds_bucket{le=\"1.6e-05\"} 1\n"));
	assert_non_null(strstr(out.data, "t_seconds_bucket{le=\"+Inf\"} 2\n"));
	assert_non_null(strstr(out.data, "t_seconds_count 2\n"));
	lt_stats_clear();
	lt_buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(err_is_filled_and_prefixed),
		cmocka_unit_test(buf_grows_and_terminates),
		cmocka_unit_test(json_strings_are_escaped),
		cmocka_unit_test(utf8_is_checked),
		cmocka_unit_test(doubles_read_back),
		cmocka_unit_test(doubles_are_what_printf_writes),
		cmocka_unit_test(base64_follows_rfc4648),
		cmocka_unit_test(arena_rewinds_and_resets),
		cmocka_unit_test(rfc3339_both_ways),
		cmocka_unit_test(backoff_stays_between_its_bounds),
		cmocka_unit_test(histogram_puts_each_value_below_its_bound),
		cmocka_unit_test(stats_are_prometheus_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
