/* SPDX-License-Identifier: MIT */
/* Dead letters as documents: written, read back, and read when somebody else wrote them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "latido/letter.h"

static struct lt_arena arena;
static struct lt_letter got;
static struct lt_err err;

static int parse(const char *text)
{
	lt_arena_reset(&arena);
	return lt_letter_parse(&got, text, strlen(text), &arena, &err);
}

static void test_back_and_forth(void **state)
{
	uint8_t body[300];
	struct lt_buf text = {0};
	struct lt_letter l = {.consumer = "store",
		.reason = "decode",
		.error = "\"quoted\"\n",
		.topic = "latido/v1/nodes/ñ/metrics",
		.content_type = "application/json",
		.time_ns = 1763700000250000000,
		.partition = 3,
		.offset = 123456789012345,
		.size = 1000,
		.truncated = true,
		.body = body};

	(void)state;
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 7);
	/* All lengths of padding. */
	for (size_t n = 0; n <= sizeof(body); n += n < 8 ? 1 : 73) {
		l.body_size = n;
		lt_buf_reset(&text);
		lt_letter_format(&l, &text);
		assert_int_equal(parse(text.data), LT_OK);
		assert_int_equal(got.body_size, n);
		assert_memory_equal(got.body, body, n);
	}
	assert_string_equal(got.consumer, l.consumer);
	assert_string_equal(got.reason, l.reason);
	assert_string_equal(got.error, l.error);
	assert_string_equal(got.topic, l.topic);
	assert_string_equal(got.content_type, l.content_type);
	assert_null(got.key);
	assert_int_equal(got.time_ns, l.time_ns);
	assert_int_equal(got.partition, 3);
	assert_int_equal(got.offset, 123456789012345);
	assert_int_equal(got.size, 1000);
	assert_true(got.truncated);
	lt_buf_fini(&text);
}

static void test_of_others(void **state)
{
	static const char *const bad[] = {"", "no document", "[]", "{", "{\"body\":\"abc\"}",
		"{\"body\":\"ab*=\"}", "{\"body\":\"a===\"}", "{} x", "{\"error\":}"};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(bad); i++)
		if (parse(bad[i]) != LT_EDATA)
			fail_msg("accepted: %s", bad[i]);
	/* What is missing, of another type or senseless is not known. */
	assert_int_equal(
		parse("{\"consumer\":7,\"topic\":null,\"time\":\"yesterday\",\"offset\":1e300,"
		      "\"partition\":-7,\"size\":-1,\"key\":\"a\\u0000b\",\"more\":{\"x\":[1]},"
		      "\"body\":\"\\u0041QID\"}"),
		LT_OK);
	assert_null(got.consumer);
	assert_null(got.topic);
	assert_null(got.key);
	assert_int_equal(got.time_ns, 0);
	assert_int_equal(got.offset, -1);
	assert_int_equal(got.partition, -1);
	assert_int_equal(got.size, 0);
	assert_int_equal(got.body_size, 3);
	assert_memory_equal(got.body, "\1\2\3", 3);
	assert_int_equal(parse("{}"), LT_OK);
	assert_int_equal(got.body_size, 0);
	lt_arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_back_and_forth),
		cmocka_unit_test(test_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
