/* SPDX-License-Identifier: MIT */
/* COPY BINARY and array parameters, byte for byte; SQLSTATE classes; the hash table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above. */
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "../../lib/sink/pg_conn.h"
#include "../../lib/sink/pg_copy.h"
#include "../../lib/sink/pg_map.h"

static void assert_bytes(struct lt_buf *b, const void *want, size_t n)
{
	assert_int_equal(b->len, n);
	assert_memory_equal(b->data, want, n);
	lt_buf_fini(b);
}

static void test_frame(void **state)
{
	static const unsigned char want[] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n',
		0, /* end of the signature */
		0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	struct lt_buf b = {0};

	(void)state;
	lt_pg_copy_header(&b);
	lt_pg_copy_trailer(&b);
	assert_bytes(&b, want, sizeof(want));
}

static void test_row(void **state)
{
	/* 1.0, -2.5, NaN as they come from the wire: little-endian, at an odd address. */
	static const unsigned char values[] = {0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 4,
		0xc0, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f};
	static const unsigned char want[] = {0, 6,         /* columns */
		0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1,        /* time: 1 us after 2000-01-01 */
		0, 0, 0, 8, 0, 0x20, 0, 0, 0, 0, 0, 0,     /* seq: 2^53 */
		0, 0, 0, 4, 0, 0, 1, 2,                    /* source_id */
		0, 0, 0, 4, 0, 0, 0, 3,                    /* epoch_id */
		0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff,        /* shape_id */
		0, 0, 0, 56,                               /* bytes of the array */
		0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0xbd,     /* one dimension, no NULLs, float8 */
		0, 0, 0, 3, 0, 0, 0, 1,                    /* elements, first index */
		0, 0, 0, 8, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0,  /* 1.0 */
		0, 0, 0, 8, 0xc0, 4, 0, 0, 0, 0, 0, 0,     /* -2.5 */
		0, 0, 0, 8, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0}; /* NaN */
	struct lt_event e = {.seq = UINT64_C(1) << 53,
		.time_ns = INT64_C(946684800000001999),
		.values = values + 1,
		.n = 3};
	struct lt_buf b = {0};

	(void)state;
	lt_pg_copy_row(&b, &e, 258, 3, INT32_MAX);
	assert_bytes(&b, want, sizeof(want));
}

static void test_row_without_values(void **state)
{
	static const unsigned char array[] = {0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0xbd};
	struct lt_event e = {.time_ns = 0};
	struct lt_buf b = {0};

	(void)state;
	lt_pg_copy_row(&b, &e, 1, 1, 1);
	assert_int_equal(b.len, 2 + 24 + 24 + sizeof(array));
	assert_memory_equal(b.data + 50, array, sizeof(array));
	lt_buf_fini(&b);
}

static void test_time_rounds_down(void **state)
{
	const int64_t day = INT64_C(86400000000);

	(void)state;
	assert_int_equal(lt_pg_time_us(INT64_C(946684800) * 1000000000), 0);
	assert_int_equal(lt_pg_time_us(0), -10957 * day);
	assert_int_equal(lt_pg_time_us(1), -10957 * day);
	assert_int_equal(lt_pg_time_us(999), -10957 * day);
	assert_int_equal(lt_pg_time_us(1000), -10957 * day + 1);
	assert_int_equal(lt_pg_time_us(-1), -10957 * day - 1);
	assert_int_equal(lt_pg_time_us(-1000), -10957 * day - 1);
	assert_int_equal(lt_pg_time_us(-1001), -10957 * day - 2);
	assert_true(lt_pg_time_us(INT64_MIN) < 0);
	assert_true(lt_pg_time_us(INT64_MAX) > 0);
}

static void test_arrays(void **state)
{
	static const unsigned char empty[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25};
	static const unsigned char ints[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0,
		0, 1, 0, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff};
	static const unsigned char longs[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0,
		0, 1, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};
	static const unsigned char texts[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0,
		0, 1, 0, 0, 0, 2, 'a', 'b', 0, 0, 0, 0};
	struct lt_buf b = {0};

	(void)state;
	lt_pg_array(&b, LT_PG_TEXT, 0);
	assert_bytes(&b, empty, sizeof(empty));
	lt_pg_array(&b, LT_PG_INT4, 2);
	lt_pg_array_i4(&b, 7);
	lt_pg_array_i4(&b, -1);
	assert_bytes(&b, ints, sizeof(ints));
	lt_pg_array(&b, LT_PG_INT8, 1);
	lt_pg_array_i8(&b, INT64_C(0x0102030405060708));
	assert_bytes(&b, longs, sizeof(longs));
	lt_pg_array(&b, LT_PG_TEXT, 2);
	lt_pg_array_bytes(&b, "ab", 2);
	lt_pg_array_bytes(&b, "", 0);
	assert_bytes(&b, texts, sizeof(texts));
}

static void test_classes(void **state)
{
	static const struct {
		const char *sqlstate;
		enum lt_class fresh, worked;
		int code;
	} cases[] = {
		{"40001", LT_CLS_RETRY, LT_CLS_RETRY, LT_ECONFLICT},
		{"40P01", LT_CLS_RETRY, LT_CLS_RETRY, LT_ECONFLICT},
		{"22001", LT_CLS_POISON, LT_CLS_POISON, LT_EDATA},
		{"23514", LT_CLS_POISON, LT_CLS_POISON, LT_EDATA},
		{"54000", LT_CLS_POISON, LT_CLS_POISON, LT_EDATA},
		{"P0001", LT_CLS_POISON, LT_CLS_POISON, LT_EDATA},
		{"22P03", LT_CLS_FATAL, LT_CLS_FATAL, LT_EINVAL},
		{"28P01", LT_CLS_CONFIG, LT_CLS_RETRY, LT_EAUTH},
		{"28000", LT_CLS_CONFIG, LT_CLS_RETRY, LT_EAUTH},
		{"3D000", LT_CLS_CONFIG, LT_CLS_RETRY, LT_EAUTH},
		{"42501", LT_CLS_CONFIG, LT_CLS_RETRY, LT_EAUTH},
		{"42P01", LT_CLS_CONFIG, LT_CLS_RETRY, LT_ECONF},
		{"53100", LT_CLS_RETRY, LT_CLS_RETRY, LT_EIO},
		{"53200", LT_CLS_RETRY, LT_CLS_RETRY, LT_EIO},
		{"53300", LT_CLS_RETRY, LT_CLS_RETRY, LT_EIO},
		{"57P01", LT_CLS_RETRY, LT_CLS_RETRY, LT_EIO},
		{"57P03", LT_CLS_RETRY, LT_CLS_RETRY, LT_EIO},
		{"57014", LT_CLS_RETRY, LT_CLS_RETRY, LT_ETIMEOUT},
		{"08006", LT_CLS_RETRY, LT_CLS_RETRY, LT_EIO},
		{"25006", LT_CLS_RETRY, LT_CLS_RETRY, LT_EIO},
		{"XX000", LT_CLS_RETRY, LT_CLS_RETRY, LT_EIO},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(cases); i++) {
		int code;

		assert_int_equal(lt_pg_class(cases[i].sqlstate, false, &code), cases[i].fresh);
		assert_int_equal(code, cases[i].code);
		assert_int_equal(lt_pg_class(cases[i].sqlstate, true, &code), cases[i].worked);
	}
}

static bool same(const void *item, const void *key)
{
	return *(const int *)item == *(const int *)key;
}

static void test_map(void **state)
{
	static int items[1000];
	struct lt_pg_map m = {0};
	bool seen[1000] = {false};
	size_t at = 0, n = 0;
	int *p, absent = 1000;

	(void)state;
	assert_null(lt_pg_map_find(&m, 1, same, &absent));
	for (int i = 0; i < 1000; i++) {
		items[i] = i;
		lt_pg_map_add(&m, (uint64_t)i % 10, &items[i]); /* long chains */
	}
	for (int i = 0; i < 1000; i++)
		assert_ptr_equal(lt_pg_map_find(&m, (uint64_t)i % 10, same, &i), &items[i]);
	assert_null(lt_pg_map_find(&m, 0, same, &absent));
	for (; (p = lt_pg_map_next(&m, &at)); n++) {
		assert_false(seen[*p]);
		seen[*p] = true;
	}
	assert_int_equal(n, 1000);
	lt_pg_map_fini(&m);
	assert_int_equal(m.n, 0);
}

static void test_dsn(void **state)
{
	struct lt_err err;

	(void)state;
	assert_int_equal(lt_pg_check_dsn("host=/run/postgresql dbname=latido", &err), LT_OK);
	assert_int_equal(lt_pg_check_dsn("postgresql://u@h/d?sslmode=require", &err), LT_OK);
	assert_int_equal(lt_pg_check_dsn("hots=localhost", &err), LT_ECONF);
	assert_int_equal(err.cls, LT_CLS_CONFIG);
	assert_non_null(strstr(err.msg, "hots"));
	assert_non_null(strstr(err.msg, "postgres.dsn"));
	assert_int_equal(lt_pg_check_dsn("nonsense", &err), LT_ECONF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame),
		cmocka_unit_test(test_row),
		cmocka_unit_test(test_row_without_values),
		cmocka_unit_test(test_time_rounds_down),
		cmocka_unit_test(test_arrays),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_dsn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
