/* SPDX-License-Identifier: MIT */
/* What the Redis sink writes, and what it never overwrites, in a real Redis. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/redis_fixture.h"
#include "latido/clock.h"

static void test_first_event_is_everywhere(void **state)
{
	struct rd_fixture *f = *state;
	const struct lt_reply *r;

	rd_add(f, "a", EPOCH, 7, "load=0.5 mem{kind}=1e300 _epoch=3");
	rd_put(f);
	assert_field(f, "a", "load", "0.5");
	assert_field(f, "a", "mem{kind=\"x\"}", "1e+300");
	assert_field(f, "a", "_epoch{}", "3");
	assert_field(f, "a", "_epoch", "1763700000000000");
	assert_field(f, "a", "_seq", "7");
	assert_field(f, "a", "_time", "1763700000000");
	assert_field(f, "a", "_interval", "1000");
	r = CALL(f, "XRANGE", "latido:window:a", "-", "+");
	assert_int_equal(lt_reply_n(r), 1);
	assert_string_equal(
		lt_reply_str(lt_reply_at(lt_reply_at(r, 0), 0), NULL), "1763700000000000-7");
	assert_string_equal(TEXT(f, "ZSCORE", "latido:seen", "a"), "1763700000000");
	assert_string_equal(TEXT(f, "HGET", "latido:meta", "layout"), "1");
	assert_in_range(lt_reply_int(CALL(f, "TTL", "latido:node:a")), 3500, 3600);
	assert_in_range(lt_reply_int(CALL(f, "TTL", "latido:window:a")), 3500, 3600);
}

/* What a reader does: the entry, the shape by its hash, the values. */
static void test_window_decodes_with_shape_key(void **state)
{
	struct rd_fixture *f = *state;
	struct lt_shapes *t = lt_shapes_new(1 << 20, 1000);
	const struct lt_decode_limits limits = {1 << 20, 1000};
	struct lt_origin origin = {.source = "a"};
	struct lt_event *e;
	struct lt_shape *shape;
	enum lt_reason reason;
	uint64_t missing;
	struct lt_err err;
	char key[64], packed[4096];
	const struct lt_reply *r;
	const char *s;
	size_t n, len;

	rd_put_one(f, "a", 7, "load=0.5 temp=21.5");
	r = CALL(f, "XRANGE", "latido:window:a", "-", "+");
	s = lt_reply_str(lt_reply_at(lt_reply_at(lt_reply_at(r, 0), 1), 1), &n);
	assert_in_range(n, 1, sizeof(packed));
	memcpy(packed, s, n);
	assert_int_equal(
		lt_decode(t, &limits, &origin, packed, n, &f->arena, &e, &reason, &missing, &err),
		LT_ESHAPE);
	snprintf(key, sizeof(key), "latido:shape:%016llx", (unsigned long long)missing);
	r = CALL(f, "GET", key);
	s = lt_reply_str(r, &len);
	shape = lt_shapes_intern(t, s, len, &err);
	assert_non_null(shape);
	lt_shapes_announce(t, "a", shape);
	lt_shape_put(shape);
	assert_int_equal(
		lt_decode(t, &limits, &origin, packed, n, &f->arena, &e, &reason, &missing, &err),
		LT_OK);
	assert_int_equal(e->seq, 7);
	assert_int_equal(e->n, 2);
	assert_string_equal(e->shape->series[1].text, "temp");
	assert_true(lt_event_value(e, 1) == 21.5);
	lt_events_release(e);
	lt_shapes_free(t);
}

static void test_older_never_overwrites_newer(void **state)
{
	struct rd_fixture *f = *state;

	rd_put_one(f, "a", 10, "v=10");
	rd_put_one(f, "a", 9, "v=9");
	assert_field(f, "a", "v", "10");
	/* Also not by a sink that knows nothing yet: Redis itself refuses. */
	rd_restart_sink(f);
	rd_put_one(f, "a", 8, "v=8");
	rd_put_one(f, "a", 10, "v=8");
	assert_field(f, "a", "v", "10");
	assert_int_equal(lt_reply_int(CALL(f, "XLEN", "latido:window:a")), 1);
	rd_put_one(f, "a", 11, "v=11");
	assert_field(f, "a", "v", "11");
}

static void test_replaced_epoch_does_not_come_back(void **state)
{
	struct rd_fixture *f = *state;

	rd_put_one(f, "a", 500, "v=1");
	rd_add(f, "a", EPOCH + 1, 1, "v=2");
	rd_put(f);
	assert_field(f, "a", "v", "2");
	assert_field(f, "a", "_seq", "1");
	rd_put_one(f, "a", 501, "v=3");
	assert_field(f, "a", "v", "2");
	rd_restart_sink(f);
	rd_put_one(f, "a", 502, "v=3");
	assert_field(f, "a", "v", "2");
	rd_add(f, "a", EPOCH + 1, 2, "v=4");
	rd_put(f);
	assert_field(f, "a", "v", "4");
}

static void test_only_changed_fields_are_written(void **state)
{
	struct rd_fixture *f = *state;
	uint64_t before;

	rd_put_one(f, "a", 1, "one=1 two=2 three=3");
	/* Somebody's note in a field that does not change shows that it is not written again. */
	CALL(f, "HSET", "latido:node:a", "one", "untouched");
	before = rd_counter("latido_hot_hash_fields_total", NULL);
	rd_put_one(f, "a", 2, "one=1 two=5 three=3");
	assert_int_equal(rd_counter("latido_hot_hash_fields_total", NULL) - before, 1);
	assert_field(f, "a", "one", "untouched");
	assert_field(f, "a", "two", "5");
	assert_field(f, "a", "_seq", "2");
}

static void test_vanished_fields_go(void **state)
{
	struct rd_fixture *f = *state;

	rd_put_one(f, "a", 1, "one=1 two=2 three=3");
	rd_put_one(f, "a", 2, "two=2 zero=0");
	assert_no_field(f, "a", "one");
	assert_no_field(f, "a", "three");
	assert_field(f, "a", "two", "2");
	assert_field(f, "a", "zero", "0");
	/* Vanished while nobody watched: the old shape is looked up. */
	rd_restart_sink(f);
	rd_put_one(f, "a", 3, "zero=1 four=4");
	assert_no_field(f, "a", "two");
	assert_field(f, "a", "zero", "1");
	assert_field(f, "a", "four", "4");
}

static void test_vanished_fields_go_without_old_shape(void **state)
{
	struct rd_fixture *f = *state;
	char key[64];
	struct lt_event *e;
	uint64_t resets = rd_counter("latido_hot_hash_resets_total", NULL);

	rd_put_one(f, "a", 1, "one=1 two=2");
	e = rd_add(f, "a", EPOCH, 2, "other=7");
	e->stream = "slow";
	rd_put(f);
	rd_restart_sink(f);
	snprintf(key, sizeof(key), "latido:shape:%s", FIELD(f, "a", "_shape"));
	assert_int_equal(lt_reply_int(CALL(f, "DEL", key)), 1);
	rd_put_one(f, "a", 3, "two=3");
	assert_int_equal(rd_counter("latido_hot_hash_resets_total", NULL) - resets, 1);
	assert_no_field(f, "a", "one");
	assert_field(f, "a", "two", "3");
	assert_in_range(lt_reply_int(CALL(f, "TTL", "latido:node:a")), 3500, 3600);
	/* The other stream comes back in full, and its guard was kept. */
	e = rd_add(f, "a", EPOCH, 2, "other=8");
	e->stream = "slow";
	rd_put(f);
	assert_no_field(f, "a", "other");
	e = rd_add(f, "a", EPOCH, 4, "other=7");
	e->stream = "slow";
	rd_put(f);
	assert_field(f, "a", "other", "7");
}

/* Whatever somebody wrote into our own fields, the next complete snapshot is written. */
static void test_damaged_fields_are_overcome(void **state)
{
	static const char *const shapes[] = {
		"", "-", "nonsense", "\n", "0123456789abcdef0123456789abcdef"};
	struct rd_fixture *f = *state;
	uint64_t seq = 1;

	rd_put_one(f, "a", seq, "one=1 two=2");
	for (size_t i = 0; i < LT_ARRAY_LEN(shapes); i++) {
		CALL(f, "HSET", "latido:node:a", "_shape", shapes[i], "_seq", "x", "_time", "",
			"left", "over");
		rd_restart_sink(f);
		rd_put_one(f, "a", ++seq, "one=1 two=3");
		assert_field(f, "a", "two", "3");
		assert_no_field(f, "a", "left");
		rd_put_one(f, "a", ++seq, "one=1 two=2");
		assert_field(f, "a", "two", "2");
	}
}

static void test_partial_events_delete_nothing(void **state)
{
	struct rd_fixture *f = *state;

	rd_add(f, "d", 0, 0, "temperature=21.5")->partial = true;
	rd_add(f, "d", 0, 0, "humidity=40")->partial = true;
	rd_put(f);
	assert_field(f, "d", "temperature", "21.5");
	assert_field(f, "d", "humidity", "40");
	rd_add(f, "d", 0, 0, "temperature=22")->partial = true;
	rd_put(f);
	assert_field(f, "d", "temperature", "22");
	assert_field(f, "d", "humidity", "40");
	assert_int_equal(lt_reply_int(CALL(f, "XLEN", "latido:window:d")), 3);
}

static void test_unnumbered_guarded_by_time(void **state)
{
	struct rd_fixture *f = *state;

	rd_add(f, "d", 0, 0, "v=1");
	rd_put(f);
	f->now_ms -= 5000;
	rd_add(f, "d", 0, 0, "v=2");
	rd_put(f);
	assert_field(f, "d", "v", "1");
	rd_restart_sink(f);
	rd_add(f, "d", 0, 0, "v=2");
	rd_put(f);
	assert_field(f, "d", "v", "1");
	f->now_ms += 6000;
	rd_add(f, "d", 0, 0, "v=3");
	rd_put(f);
	assert_field(f, "d", "v", "3");
	/* Without a time of its own an event is as new as its arrival, whatever our clock did. */
	f->now_ms -= 3600 * 1000;
	rd_add(f, "d", 0, 0, "v=4")->has_time = false;
	rd_put(f);
	assert_field(f, "d", "v", "4");
}

/* A clock that is a year ahead for one event must not look alive for a year, nor block the rest. */
static void test_future_clock_does_not_poison(void **state)
{
	struct rd_fixture *f = *state;

	rd_add(f, "d", 0, 0, "v=1")->time_ns += 365 * 86400 * LT_NS_PER_S;
	rd_put(f);
	assert_string_equal(TEXT(f, "ZSCORE", "latido:seen", "d"), "1763700000000");
	f->now_ms += 1000;
	rd_add(f, "d", 0, 0, "v=2");
	rd_put(f);
	assert_field(f, "d", "v", "2");
	assert_string_equal(TEXT(f, "ZSCORE", "latido:seen", "d"), "1763700001000");
}

static void test_seen_never_moves_back(void **state)
{
	struct rd_fixture *f = *state;

	rd_put_one(f, "a", 1, "v=1");
	f->now_ms -= 60000;
	rd_put_one(f, "a", 2, "v=2");
	assert_string_equal(TEXT(f, "ZSCORE", "latido:seen", "a"), "1763700000000");
	assert_field(f, "a", "v", "2");
}

static void test_streams_are_independent(void **state)
{
	struct rd_fixture *f = *state;

	rd_put_one(f, "a", 1, "v=1");
	rd_add(f, "a", EPOCH, 3, "w=3")->stream = "slow";
	rd_put(f);
	/* Late, but the newest of its stream; the window has passed it. */
	rd_put_one(f, "a", 2, "v=2");
	assert_field(f, "a", "v", "2");
	assert_field(f, "a", "w", "3");
	assert_field(f, "a", "_seq", "2");
	assert_field(f, "a", "_seq:slow", "3");
	assert_int_equal(lt_reply_int(CALL(f, "XLEN", "latido:window:a")), 2);
	/* A new epoch numbers all streams anew. */
	rd_add(f, "a", EPOCH + 5, 1, "v=7");
	rd_put(f);
	rd_add(f, "a", EPOCH + 5, 2, "w=8")->stream = "slow";
	rd_put(f);
	assert_field(f, "a", "w", "8");
	assert_field(f, "a", "_seq:slow", "2");
}

static void test_rate_is_bounded_and_the_last_value_arrives(void **state)
{
	struct rd_fixture *f = *state;
	int64_t mono = 1000 * LT_NS_PER_S, wall = (T0_MS + 10) * LT_NS_PER_MS;
	uint64_t writes;

	f->conf.hot.max_rate_hz = 2;
	lt_clock_fake(true, mono, wall);
	rd_restart_sink(f);
	rd_put_one(f, "a", 1, "v=1");
	assert_field(f, "a", "v", "1");
	writes = rd_counter("latido_hot_hash_writes_total", "kind=\"delta\"");
	for (int i = 2; i <= 5; i++) {
		char pair[16];

		mono += 100 * LT_NS_PER_MS;
		lt_clock_fake(true, mono, wall);
		snprintf(pair, sizeof(pair), "v=%d", i);
		rd_put_one(f, "a", (uint64_t)i, pair);
	}
	/* Deferred, while window and seen have them all. */
	assert_field(f, "a", "v", "1");
	assert_int_equal(lt_reply_int(CALL(f, "XLEN", "latido:window:a")), 5);
	assert_in_range(rd_tick(f), 1, 100 * LT_NS_PER_MS);
	assert_field(f, "a", "v", "1");
	lt_clock_fake(true, mono + 100 * LT_NS_PER_MS, wall);
	assert_true(rd_tick(f) > 0);
	assert_field(f, "a", "v", "5");
	assert_field(f, "a", "_seq", "5");
	assert_int_equal(rd_counter("latido_hot_hash_writes_total", "kind=\"delta\"") - writes, 1);
}

static void test_deferred_partial_events_are_all_kept(void **state)
{
	struct rd_fixture *f = *state;
	int64_t mono = 1000 * LT_NS_PER_S;
	struct lt_err err;

	f->conf.hot.max_rate_hz = 1;
	lt_clock_fake(true, mono, (T0_MS + 10) * LT_NS_PER_MS);
	rd_restart_sink(f);
	rd_add(f, "d", 0, 0, "a=1")->partial = true;
	rd_put(f);
	rd_add(f, "d", 0, 0, "b=2")->partial = true;
	rd_add(f, "d", 0, 0, "c=3")->partial = true;
	rd_add(f, "d", 0, 0, "b=4 a=5")->partial = true;
	rd_put(f);
	assert_no_field(f, "d", "b");
	/* As at shutdown: what is deferred is written at once. */
	assert_int_equal(f->sink->ops->flush(f->sink, &err), LT_OK);
	assert_field(f, "d", "a", "5");
	assert_field(f, "d", "b", "4");
	assert_field(f, "d", "c", "3");
}

/* More shapes than may wait: written early rather than lost. */
static void test_many_partial_shapes(void **state)
{
	struct rd_fixture *f = *state;
	struct lt_err err;
	char pair[32];

	f->conf.hot.max_rate_hz = 0.01;
	rd_restart_sink(f);
	for (int i = 0; i < 60; i++) {
		snprintf(pair, sizeof(pair), "m%d=%d", i, i);
		rd_add(f, "d", 0, 0, pair)->partial = true;
	}
	rd_put(f);
	assert_int_equal(f->sink->ops->flush(f->sink, &err), LT_OK);
	assert_field(f, "d", "m0", "0");
	assert_field(f, "d", "m31", "31");
	assert_field(f, "d", "m59", "59");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, rd_setup, rd_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_first_event_is_everywhere),
		TEST(test_window_decodes_with_shape_key),
		TEST(test_older_never_overwrites_newer),
		TEST(test_replaced_epoch_does_not_come_back),
		TEST(test_only_changed_fields_are_written),
		TEST(test_vanished_fields_go),
		TEST(test_vanished_fields_go_without_old_shape),
		TEST(test_damaged_fields_are_overcome),
		TEST(test_partial_events_delete_nothing),
		TEST(test_unnumbered_guarded_by_time),
		TEST(test_future_clock_does_not_poison),
		TEST(test_seen_never_moves_back),
		TEST(test_streams_are_independent),
		TEST(test_rate_is_bounded_and_the_last_value_arrives),
		TEST(test_deferred_partial_events_are_all_kept),
		TEST(test_many_partial_shapes),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, rd_group_setup, rd_group_teardown);
}
