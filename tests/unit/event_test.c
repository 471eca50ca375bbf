/* SPDX-License-Identifier: MIT */
/* The protobuf decoder and lt_decode()'s rules, on messages that are written here byte by byte. */
#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "latido/event.h"

#define ARRIVED INT64_C(1763700099000000000)

static struct lt_shapes *table;
static struct lt_arena arena;
static struct lt_event *got;
static enum lt_reason reason;
static uint64_t missing;
static struct lt_err err;
static struct lt_buf msg, shape;

static int setup(void **state)
{
	(void)state;
	table = lt_shapes_new(64 << 20, 100000);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lt_events_release(got);
	got = NULL;
	lt_arena_fini(&arena);
	lt_buf_fini(&msg);
	lt_buf_fini(&shape);
	lt_shapes_free(table);
	return 0;
}

/* ---- a second encoder, as simple as can be ---- */

static void varint(struct lt_buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		lt_buf_char(b, (char)(v | 0x80));
	lt_buf_char(b, (char)v);
}

static void f_varint(struct lt_buf *b, unsigned num, uint64_t v)
{
	varint(b, num << 3);
	varint(b, v);
}

static void f_i64(struct lt_buf *b, unsigned num, uint64_t v)
{
	varint(b, num << 3 | 1);
	for (int i = 0; i < 8; i++)
		lt_buf_char(b, (char)(v >> (8 * i)));
}

static void f_len(struct lt_buf *b, unsigned num, const void *p, size_t n)
{
	varint(b, num << 3 | 2);
	varint(b, n);
	lt_buf_add(b, p, n);
}

static void f_str(struct lt_buf *b, unsigned num, const char *s)
{
	f_len(b, num, s, strlen(s));
}

static void f_double(struct lt_buf *b, unsigned num, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, 8);
	f_i64(b, num, bits);
}

static void plain_family(struct lt_buf *b, const char *name)
{
	struct lt_buf family = {0};

	f_str(&family, 1, name);
	f_len(b, 1, family.data, family.len);
	lt_buf_fini(&family);
}

/* @n series m0, m1, ... */
static void make_shape(unsigned n)
{
	char name[32];

	lt_buf_reset(&shape);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "m%u", i);
		plain_family(&shape, name);
	}
}

static void add_values(struct lt_buf *b, unsigned n)
{
	double v[100000];

	for (unsigned i = 0; i < n; i++)
		v[i] = i + 0.5;
	f_len(b, 7, v, n * 8);
}

/* A valid event of worker1 with @n series. */
static void make_event(unsigned n)
{
	make_shape(n);
	lt_buf_reset(&msg);
	f_str(&msg, 1, "worker1");
	f_i64(&msg, 2, 1763700000000000);
	f_varint(&msg, 3, 17);
	f_len(&msg, 6, shape.data, shape.len);
	add_values(&msg, n);
}

static int decode_as(const struct lt_origin *o, const void *p, size_t n)
{
	lt_events_release(got);
	lt_arena_reset(&arena);
	missing = 0;
	err.msg[0] = '\0';
	return lt_decode(table, NULL, o, p, n, &arena, &got, &reason, &missing, &err);
}

static int decode(void)
{
	static const struct lt_origin o = {.source = "worker1", .arrived_ns = ARRIVED};

	return decode_as(&o, msg.data, msg.len);
}

static void accepted(void)
{
	if (decode() != LT_OK)
		fail_msg("%s", err.msg);
	assert_int_equal(reason, LT_REASON_NONE);
}

static void refused(enum lt_reason why, const char *says)
{
	assert_int_equal(decode(), LT_EDATA);
	if (reason != why || !strstr(err.msg, says))
		fail_msg("%s: %s", lt_reason_name(reason), err.msg);
	assert_int_equal(err.cls, LT_CLS_POISON);
	assert_null(got);
}

/* ---- what is accepted ---- */

static void all_fields(void **state)
{
	(void)state;
	make_event(2);
	f_i64(&msg, 4, 1763700000250000000);
	f_varint(&msg, 5, 12);
	f_i64(&msg, 8, XXH3_64bits(shape.data, shape.len));
	f_str(&msg, 9, "slow");
	f_varint(&msg, 10, 1);
	f_varint(&msg, 11, 1000);
	accepted();
	assert_string_equal(got->source, "worker1");
	assert_string_equal(got->stream, "slow");
	assert_true(got->epoch == 1763700000000000 && got->seq == 17 && got->oldest_seq == 12);
	assert_true(got->has_time && got->time_ns == INT64_C(1763700000250000000));
	assert_true(got->arrived_ns == ARRIVED && got->partial && got->interval_ms == 1000);
	assert_true(!got->device && got->n == 2 && !got->next && got->n_ignored == 0);
	assert_true(lt_event_value(got, 0) == 0.5 && lt_event_value(got, 1) == 1.5);
	assert_string_equal(got->shape->series[1].text, "m1");
}

static void defaults(void **state)
{
	(void)state;
	make_shape(1);
	lt_buf_reset(&msg);
	f_str(&msg, 1, "worker1");
	f_len(&msg, 6, shape.data, shape.len);
	add_values(&msg, 1);
	accepted();
	assert_string_equal(got->stream, "");
	assert_true(got->epoch == 0 && got->seq == 0 && got->oldest_seq == 0);
	assert_true(!got->has_time && got->time_ns == ARRIVED && !got->partial);
}

static void fields_in_any_order_and_repeated(void **state)
{
	(void)state;
	make_shape(2);
	lt_buf_reset(&msg);
	f_varint(&msg, 3, 99);
	f_str(&msg, 9, "wrong stream!");
	f_len(&msg, 6, "not a shape", 11);
	add_values(&msg, 2);
	f_str(&msg, 1, "first");
	f_varint(&msg, 3, 17);
	f_str(&msg, 9, "");
	f_len(&msg, 6, shape.data, shape.len);
	f_i64(&msg, 2, 5);
	f_str(&msg, 1, "worker1");
	accepted();
	assert_true(got->seq == 17 && got->epoch == 5 && got->stream[0] == '\0');
}

static void unknown_fields_are_skipped(void **state)
{
	(void)state;
	make_event(1);
	f_varint(&msg, 12, UINT64_MAX);
	f_i64(&msg, 13, 1);
	f_str(&msg, 2000, "text");
	varint(&msg, 3000 << 3 | 5); /* I32 */
	lt_buf_add(&msg, "\1\2\3\4", 4);
	varint(&msg, ((uint64_t)0x1fffffff << 3) | 0);
	varint(&msg, 1);
	accepted();
}

static void varints_may_be_longer_than_needed(void **state)
{
	(void)state;
	make_event(1);
	lt_buf_add(&msg, "\x58\xe8\x87\x80\x80\x00", 6);                          /* 11: 1000 */
	lt_buf_add(&msg, "\xd0\x00\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00", 12); /* 10: 1 */
	accepted();
	assert_true(got->interval_ms == 1000 && got->partial);
}

static void values_in_pieces(void **state)
{
	double some[2] = {1, 2};

	(void)state;
	make_shape(5);
	lt_buf_reset(&msg);
	f_str(&msg, 1, "worker1");
	f_len(&msg, 7, some, 16);
	f_len(&msg, 7, "", 0);
	f_double(&msg, 7, 3);
	f_len(&msg, 6, shape.data, shape.len);
	f_double(&msg, 7, NAN);
	f_double(&msg, 7, -INFINITY);
	accepted();
	assert_true(lt_event_value(got, 0) == 1 && lt_event_value(got, 1) == 2);
	assert_true(lt_event_value(got, 2) == 3 && isnan(lt_event_value(got, 3)));
	assert_true(lt_event_value(got, 4) == -INFINITY);

	/* one value, unpacked: no copy needed */
	make_shape(1);
	lt_buf_reset(&msg);
	f_str(&msg, 1, "worker1");
	f_len(&msg, 6, shape.data, shape.len);
	f_double(&msg, 7, 3);
	accepted();
	assert_true(lt_event_value(got, 0) == 3);
}

static void announced_shapes(void **state)
{
	static const struct lt_origin other = {.source = "worker2"};
	uint64_t hash;
	struct lt_shape *s;

	(void)state;
	make_event(3);
	hash = XXH3_64bits(shape.data, shape.len);
	lt_buf_reset(&msg);
	f_str(&msg, 1, "worker1");
	add_values(&msg, 3);
	f_i64(&msg, 8, hash);
	assert_int_equal(decode(), LT_ESHAPE);
	assert_true(missing == hash && got == NULL);
	assert_int_equal(reason, LT_REASON_UNKNOWN_SHAPE);

	/* from where shapes are stored */
	s = lt_shapes_intern(table, shape.data, shape.len, &err);
	assert_non_null(s);
	assert_int_equal(decode(), LT_ESHAPE);
	lt_shapes_announce(table, "worker1", s);
	lt_shape_put(s);
	accepted();
	assert_ptr_equal(got->shape, s);

	/* what one source announced says nothing about another */
	lt_buf_reset(&msg);
	f_str(&msg, 1, "worker2");
	add_values(&msg, 3);
	f_i64(&msg, 8, hash);
	assert_int_equal(decode_as(&other, msg.data, msg.len), LT_ESHAPE);

	/* and inline it announces itself */
	f_len(&msg, 6, shape.data, shape.len);
	assert_int_equal(decode_as(&other, msg.data, msg.len), LT_OK);
	assert_ptr_equal(got->shape, s);
	lt_buf_reset(&msg);
	f_str(&msg, 1, "worker2");
	add_values(&msg, 3);
	f_i64(&msg, 8, hash);
	assert_int_equal(decode_as(&other, msg.data, msg.len), LT_OK);
}

static void devices_may_omit_their_source(void **state)
{
	static const struct lt_origin o = {.source = "esp32", .device = true, .arrived_ns = 5};

	(void)state;
	make_shape(1);
	lt_buf_reset(&msg);
	f_i64(&msg, 2, 3);
	f_varint(&msg, 3, 1);
	f_len(&msg, 6, shape.data, shape.len);
	add_values(&msg, 1);
	assert_int_equal(decode_as(&o, msg.data, msg.len), LT_OK);
	assert_string_equal(got->source, "esp32");
	assert_true(got->device && !got->partial);
	refused(LT_REASON_DECODE, "no source");
	/* neither topic nor key: the payload has to say it */
	assert_int_equal(decode_as(NULL, msg.data, msg.len), LT_EDATA);
	make_event(1);
	assert_int_equal(decode_as(NULL, msg.data, msg.len), LT_OK);
}

/* A known shape costs the event itself, whatever the number of values, and no look at a name. */
static void known_shapes_cost_nothing_by_value(void **state)
{
	size_t used[2];
	struct lt_shapes_info before, after;

	(void)state;
	for (int round = 0; round < 2; round++) {
		struct mallinfo2 heap;

		make_event(round ? 400 : 4);
		accepted();
		lt_shapes_info(table, &before);
		heap = mallinfo2();
		accepted();
		assert_true(mallinfo2().uordblks == heap.uordblks);
		lt_shapes_info(table, &after);
		assert_true(after.misses == before.misses && after.hits == before.hits + 1);
		used[round] = arena.used;
		assert_true((const char *)got->values > msg.data &&
			    (const char *)got->values + 8 * got->n <= msg.data + msg.len);
	}
	assert_int_equal(used[0], used[1]);
}

static void the_most_that_is_allowed(void **state)
{
	struct lt_arena_block *block;

	(void)state;
	make_event(1);
	lt_buf_reset(&shape);
	/* 100 000 series fit 1 MiB only as rows of one label */
	struct lt_buf family = {0};

	f_str(&family, 1, "m");
	f_str(&family, 3, "k");
	for (unsigned i = 0; i < 100001; i++) {
		char v[3] = {
			(char)('0' + i % 60), (char)('0' + i / 60 % 60), (char)('0' + i / 3600)};

		if (i == 100000) {
			lt_buf_reset(&shape);
			f_len(&shape, 1, family.data, family.len);
		}
		f_len(&family, 4, v, 3);
	}
	lt_buf_reset(&msg);
	f_str(&msg, 1, "worker1");
	f_len(&msg, 6, shape.data, shape.len);
	add_values(&msg, 1);
	refused(LT_REASON_SHAPE_MISMATCH, "1 values for a shape of 100000 series");
	lt_buf_reset(&shape);
	f_len(&shape, 1, family.data, family.len);
	lt_buf_reset(&msg);
	f_str(&msg, 1, "worker1");
	f_len(&msg, 6, shape.data, shape.len);
	add_values(&msg, 1);
	refused(LT_REASON_LIMITS, "too many series");
	lt_buf_fini(&family);
	block = arena.head;
	assert_true(block == NULL || arena.total < 1 << 20);
}

/* ---- what is refused ---- */

static void heads_that_contradict_themselves(void **state)
{
	static const struct lt_origin other = {.source = "worker2"};

	(void)state;
	make_event(1);
	assert_int_equal(decode_as(&other, msg.data, msg.len), LT_EDATA);
	assert_int_equal(reason, LT_REASON_SOURCE_MISMATCH);
	f_str(&msg, 1, "worker1\0");
	f_len(&msg, 1, "worker1\0", 8);
	refused(LT_REASON_LIMITS, "source");
	make_event(1);
	f_str(&msg, 1, "");
	refused(LT_REASON_DECODE, "no source");
	make_event(1);
	f_str(&msg, 9, "a b");
	refused(LT_REASON_LIMITS, "stream");
	make_event(1);
	f_str(&msg, 9, "12345678901234567890123456789012345678901234567890123456789012345");
	refused(LT_REASON_LIMITS, "stream");
	make_event(1);
	f_varint(&msg, 3, (UINT64_C(1) << 53) + 1);
	refused(LT_REASON_LIMITS, "2^53");
	f_varint(&msg, 3, UINT64_C(1) << 53);
	accepted();
	f_i64(&msg, 2, (UINT64_C(1) << 53) + 1);
	refused(LT_REASON_LIMITS, "2^53");
	f_i64(&msg, 2, 0);
	refused(LT_REASON_DECODE, "both or neither");
	f_i64(&msg, 2, 1);
	f_varint(&msg, 3, 0);
	refused(LT_REASON_DECODE, "both or neither");
	make_event(1);
	f_varint(&msg, 5, 18);
	refused(LT_REASON_DECODE, "oldest");
	make_event(1);
	f_i64(&msg, 4, UINT64_C(1) << 63);
	refused(LT_REASON_TIME_RANGE, "2262");
	f_i64(&msg, 4, (UINT64_C(1) << 63) - 1);
	accepted();
}

static void shape_and_values_that_do_not_fit(void **state)
{
	double many[4] = {0};

	(void)state;
	make_event(1);
	f_i64(&msg, 8, 12345);
	refused(LT_REASON_SHAPE_MISMATCH, "XXH3");
	make_event(3);
	f_double(&msg, 7, 1);
	refused(LT_REASON_SHAPE_MISMATCH, "4 values for a shape of 3");
	make_shape(3);
	lt_buf_reset(&msg);
	f_str(&msg, 1, "worker1");
	f_len(&msg, 6, shape.data, shape.len);
	refused(LT_REASON_SHAPE_MISMATCH, "0 values");
	f_len(&msg, 7, many, 31);
	refused(LT_REASON_DECODE, "whole number of doubles");
	lt_buf_reset(&msg);
	f_str(&msg, 1, "worker1");
	f_len(&msg, 7, many, 32);
	refused(LT_REASON_DECODE, "neither shape nor shape_hash");
	make_event(1);
	f_len(&msg, 6, "\x0a\x7f", 2);
	refused(LT_REASON_DECODE, "shape");
}

static void broken_messages(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *says;
	} bad[] = {
		{"\x12", 1, "near byte"}, /* no length */
		{"\x0a\x05"
		 "abc",
			5, "inside a field"}, /* string beyond the end */
		{"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10, "inside a field"},
		{"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "inside a field"},
		{"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, "64 bits"},
		{"\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12, "64 bits"},
		{"\x18\x80", 2, "inside a varint"}, {"\x18", 1, "inside a varint"},
		{"\x11\1\2\3\4\5\6\7", 8, "inside a field"},
		{"\x00\x01", 2, "field number"},                 /* field 0 */
		{"\x80\x80\x80\x80\x10\x01", 6, "field number"}, /* field 2^29 */
		{"\x63", 1, "wire type"},                        /* group */
		{"\x64", 1, "wire type"}, {"\x66", 1, "wire type"}, {"\x67", 1, "wire type"},
		{"\x08\x01", 2, "field 1 (source) has wire type 0"},
		{"\x10\x01", 2, "field 2 (epoch) has wire type 0"},
		{"\x1a\x00", 2, "field 3 (seq) has wire type 2"},
		{"\x38\x01", 2, "field 7 (values) has wire type 0"},
		{"\x65\1\2\3", 4, "inside a field"}, /* unknown I32 */
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(bad); i++) {
		make_event(1);
		lt_buf_add(&msg, bad[i].bytes, bad[i].n);
		if (i == 0)
			msg.data[msg.len - 1] = 0x0a; /* a second source, cut off */
		refused(LT_REASON_DECODE, bad[i].says);
	}
}

/* Every prefix of a message is refused or decodes, and nothing else happens (sanitizers watch). */
static void every_truncation(void **state)
{
	unsigned ok = 0;

	(void)state;
	make_event(3);
	f_varint(&msg, 5, 12);
	f_str(&msg, 9, "slow");
	f_i64(&msg, 8, XXH3_64bits(shape.data, shape.len));
	for (size_t n = 1; n <= msg.len; n++) {
		static const struct lt_origin o = {.source = "worker1"};
		char *exact = lt_malloc(n); /* so that a read behind it is seen */
		int code;

		memcpy(exact, msg.data, n);
		code = decode_as(&o, exact, n);
		assert_true(code == LT_OK || (code == LT_EDATA && err.msg[0] && !got));
		ok += code == LT_OK;
		lt_events_release(got);
		got = NULL;
		free(exact);
	}
	/* whole, and where the optional fields at the end start */
	assert_int_equal(ok, 4);
}

static void sizes(void **state)
{
	static const struct lt_decode_limits limits = {.max_bytes = 100, .max_series = 3};
	static const struct lt_origin o = {.source = "worker1"};

	(void)state;
	make_event(4);
	lt_events_release(got);
	assert_int_equal(lt_decode(table, &limits, &o, msg.data, msg.len, &arena, &got, &reason,
				 &missing, &err),
		LT_EDATA);
	assert_int_equal(reason, LT_REASON_LIMITS);
	assert_non_null(strstr(err.msg, "limits.max_series = 3"));
	make_event(9);
	assert_int_equal(lt_decode(table, &limits, &o, msg.data, msg.len, &arena, &got, &reason,
				 &missing, &err),
		LT_EDATA);
	assert_int_equal(reason, LT_REASON_TOO_LARGE);
	assert_int_equal(
		lt_decode(table, &limits, &o, "", 0, &arena, &got, &reason, &missing, &err),
		LT_EDATA);
	assert_int_equal(reason, LT_REASON_DECODE);
	/* errors are optional */
	assert_int_equal(
		lt_decode(table, &limits, &o, "x", 1, &arena, &got, &reason, &missing, NULL),
		LT_EDATA);
}

/* Who passes messages on needs no shape, and is not stopped by a wrong one. */
static void identity(void **state)
{
	static const struct lt_origin o = {.source = "worker1", .arrived_ns = ARRIVED};
	static const char list[] =
		"[{\"source\":\"worker1\",\"epoch\":5,\"seq\":1,\"metrics\":{\"a\":1}},"
		"{\"source\":\"worker1\",\"metrics\":{\"a\":2}}]";

	(void)state;
	make_event(3);
	f_varint(&msg, 5, 4);
	f_len(&msg, 6, "\xff", 1);
	lt_events_release(got);
	lt_arena_reset(&arena);
	assert_int_equal(
		lt_identify(table, NULL, &o, msg.data, msg.len, &arena, &got, &reason, &err),
		LT_OK);
	assert_string_equal(got->source, "worker1");
	assert_int_equal(got->epoch, 1763700000000000);
	assert_int_equal(got->seq, 17);
	assert_int_equal(got->oldest_seq, 4);
	assert_null(got->shape);
	assert_null(got->next);
	assert_int_equal(
		lt_identify(table, NULL, &o, list, strlen(list), &arena, &got, &reason, &err),
		LT_OK);
	assert_int_equal(got->seq, 1);
	assert_int_equal(got->next->seq, 0);
	lt_events_release(got);
	lt_buf_reset(&msg);
	f_str(&msg, 1, "worker2");
	assert_int_equal(
		lt_identify(table, NULL, &o, msg.data, msg.len, &arena, &got, &reason, &err),
		LT_EDATA);
	assert_int_equal(reason, LT_REASON_SOURCE_MISMATCH);
	assert_null(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_fields),
		cmocka_unit_test(defaults),
		cmocka_unit_test(fields_in_any_order_and_repeated),
		cmocka_unit_test(unknown_fields_are_skipped),
		cmocka_unit_test(varints_may_be_longer_than_needed),
		cmocka_unit_test(values_in_pieces),
		cmocka_unit_test(announced_shapes),
		cmocka_unit_test(devices_may_omit_their_source),
		cmocka_unit_test(known_shapes_cost_nothing_by_value),
		cmocka_unit_test(the_most_that_is_allowed),
		cmocka_unit_test(heads_that_contradict_themselves),
		cmocka_unit_test(shape_and_values_that_do_not_fit),
		cmocka_unit_test(broken_messages),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(sizes),
		cmocka_unit_test(identity),
	};

	return cmocka_run_group_tests_name("event", tests, setup, teardown);
}
