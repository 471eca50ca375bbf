/* SPDX-License-Identifier: MIT */
/* The Redis sink and a server that dies, forgets, refuses or is full; several writers; bounds. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/redis_fixture.h"
#include "latido/clock.h"

static void test_flushall_is_healed_by_the_next_event(void **state)
{
	struct rd_fixture *f = *state;
	char key[64];

	rd_put_one(f, "a", 1, "one=1 two=2");
	CALL(f, "FLUSHALL");
	rd_put_one(f, "a", 2, "one=1 two=3");
	assert_field(f, "a", "one", "1");
	assert_field(f, "a", "two", "3");
	snprintf(key, sizeof(key), "latido:shape:%s", FIELD(f, "a", "_shape"));
	assert_int_equal(lt_reply_int(CALL(f, "EXISTS", key)), 1);
	assert_string_equal(TEXT(f, "HGET", "latido:meta", "layout"), "1");
	assert_in_range(lt_reply_int(CALL(f, "TTL", "latido:node:a")), 3500, 3600);
}

static void test_killed_and_back_empty(void **state)
{
	struct rd_fixture *f = *state;
	struct lt_err err;

	rd_put_one(f, "a", 1, "one=1 two=2");
	rd_server_kill();
	rd_add(f, "a", EPOCH, 2, "one=1 two=3");
	assert_int_equal(rd_try_put(f, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	assert_int_equal(f->sink->ops->open(f->sink, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	rd_server_start();
	rd_connect_eyes(f);
	rd_sink_open(f);
	rd_put(f); /* the same batch again */
	assert_field(f, "a", "one", "1");
	assert_field(f, "a", "two", "3");
	assert_int_equal(lt_reply_int(CALL(f, "XLEN", "latido:window:a")), 1);
}

/* A deferred write must survive a connection that dies before it. */
static void test_deferred_write_survives_reconnect(void **state)
{
	struct rd_fixture *f = *state;
	int64_t mono = 1000 * LT_NS_PER_S;
	struct lt_err err;

	f->conf.hot.max_rate_hz = 1;
	lt_clock_fake(true, mono, (T0_MS + 10) * LT_NS_PER_MS);
	rd_restart_sink(f);
	rd_put_one(f, "a", 1, "v=1");
	rd_put_one(f, "a", 2, "v=2");
	CALL(f, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
	lt_clock_fake(true, mono + LT_NS_PER_S, (T0_MS + 10) * LT_NS_PER_MS);
	assert_true(f->sink->ops->tick(f->sink, &err) < 0);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	rd_sink_open(f);
	lt_clock_fake(true, mono + 2 * LT_NS_PER_S, (T0_MS + 10) * LT_NS_PER_MS);
	rd_tick(f);
	assert_field(f, "a", "v", "2");
}

static void test_wrong_type_does_not_block(void **state)
{
	struct rd_fixture *f = *state;
	uint64_t errors = rd_counter("latido_hot_key_errors_total", NULL);

	CALL(f, "SET", "latido:node:bad", "somebody's");
	CALL(f, "SET", "latido:window:bad", "somebody's");
	CALL(f, "SET", "latido:seen", "somebody's");
	rd_add(f, "bad", EPOCH, 1, "v=1");
	rd_add(f, "good", EPOCH, 1, "v=1");
	rd_put(f);
	assert_field(f, "good", "v", "1");
	assert_int_equal(rd_counter("latido_hot_key_errors_total", NULL) - errors, 3);
	CALL(f, "DEL", "latido:node:bad", "latido:seen");
	rd_put_one(f, "bad", 2, "v=2");
	assert_field(f, "bad", "v", "2");
	assert_string_equal(TEXT(f, "ZSCORE", "latido:seen", "bad"), "1763700000000");
}

static void test_foreign_shape_key_means_inline(void **state)
{
	struct rd_fixture *f = *state;
	struct lt_event *e = rd_add(f, "a", EPOCH, 1, "one=1");
	char key[64];
	size_t n;

	snprintf(key, sizeof(key), "latido:shape:%016llx", (unsigned long long)e->shape->hash);
	CALL(f, "SET", key, "other bytes with the same hash");
	rd_put(f);
	assert_string_equal(TEXT(f, "GET", key), "other bytes with the same hash");
	lt_reply_str(
		lt_reply_at(
			lt_reply_at(
				lt_reply_at(CALL(f, "XRANGE", "latido:window:a", "-", "+"), 0), 1),
			1),
		&n);
	{
		const struct lt_reply *r = CALL(f, "XRANGE", "latido:window:a", "-", "+");
		const char *s = lt_reply_str(lt_reply_at(lt_reply_at(lt_reply_at(r, 0), 1), 1), &n);

		assert_non_null(memmem(s, n, "one", 3)); /* the name is inside */
	}
	assert_field(f, "a", "one", "1");
	assert_field(f, "a", "_shape", "-");
}

static void test_find_shape(void **state)
{
	struct rd_fixture *f = *state;
	struct lt_event *e = rd_add(f, "a", EPOCH, 1, "one=1 two=2");
	struct lt_buf bytes = {0}, want = {0};
	uint64_t hash = e->shape->hash;
	struct lt_err err;
	char key[64];

	lt_buf_add(&want, e->shape->bytes, e->shape->size);
	rd_put(f);
	assert_int_equal(f->sink->ops->find_shape(f->sink, hash, &bytes, &err), LT_OK);
	assert_int_equal(bytes.len, want.len);
	assert_memory_equal(bytes.data, want.data, want.len);
	lt_buf_reset(&bytes);
	assert_int_equal(f->sink->ops->find_shape(f->sink, hash + 1, &bytes, &err), LT_EAGAIN);
	snprintf(key, sizeof(key), "latido:shape:%016llx", (unsigned long long)hash + 2);
	CALL(f, "SET", key, "garbage");
	assert_int_equal(f->sink->ops->find_shape(f->sink, hash + 2, &bytes, &err), LT_EAGAIN);
	assert_int_equal(bytes.len, 0);
	lt_buf_fini(&bytes);
	lt_buf_fini(&want);
}

static void test_other_layout_is_refused(void **state)
{
	struct rd_fixture *f = *state;
	struct lt_sink *second;
	struct lt_err err;

	CALL(f, "HSET", "latido:meta", "layout", "2");
	second = rd_sink_new(f);
	assert_int_equal(second->ops->open(second, &err), LT_ECONF);
	assert_int_equal(err.cls, LT_CLS_CONFIG);
	assert_non_null(strstr(err.msg, "layout 2"));
	assert_non_null(strstr(err.msg, "redis.url"));
	rd_sink_free(second);
}

static void test_read_only_and_full_redis_are_retried(void **state)
{
	struct rd_fixture *f = *state;
	struct lt_err err;

	rd_add(f, "a", EPOCH, 1, "v=1");
	CALL(f, "CONFIG", "SET", "maxmemory", "1");
	assert_int_equal(rd_try_put(f, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	assert_non_null(strstr(err.msg, "OOM"));
	CALL(f, "CONFIG", "SET", "maxmemory", "0");
	rd_sink_open(f);
	rd_put(f);
	assert_field(f, "a", "v", "1");

	CALL(f, "REPLICAOF", "127.0.0.1", "1");
	rd_add(f, "a", EPOCH, 2, "v=2");
	assert_int_equal(rd_try_put(f, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	CALL(f, "REPLICAOF", "NO", "ONE");
	rd_sink_open(f);
	rd_put(f);
	assert_field(f, "a", "v", "2");
}

static void test_function_library_lost(void **state)
{
	struct rd_fixture *f = *state;
	struct lt_err err;

	CALL(f, "FUNCTION", "FLUSH");
	rd_add(f, "a", EPOCH, 1, "v=1");
	assert_int_equal(rd_try_put(f, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	rd_sink_open(f);
	rd_put(f);
	assert_field(f, "a", "v", "1");
}

static void test_passwords(void **state)
{
	struct rd_fixture *f = *state;
	struct lt_redis_conf conf = f->conf.redis;
	struct lt_redis *r;
	struct lt_err err;

	conf.password = (char *)"wrong";
	r = lt_redis_new(&conf, &err);
	assert_int_equal(lt_redis_connect(r, &err), LT_EAUTH); /* none is set there */
	assert_int_equal(err.cls, LT_CLS_CONFIG);
	lt_redis_free(r);
	/* The permissions that schemas/redis/README.md gives to the writer are enough for all it does. */
	CALL(f, "ACL", "SETUSER", "hot", "on", ">right", "~latido:*", "&latido:*", "+ping",
		"+select", "+hget", "+hset", "+hmget", "+hlen", "+hkeys", "+hdel", "+del", "+get",
		"+set", "+expire", "+xadd", "+zadd", "+zremrangebyscore", "+publish", "+fcall",
		"+function|list", "+function|load");
	CALL(f, "FUNCTION", "FLUSH");
	conf.username = (char *)"hot";
	r = lt_redis_new(&conf, &err);
	assert_int_equal(lt_redis_connect(r, &err), LT_EAUTH);
	lt_redis_free(r);
	f->conf.redis.username = (char *)"hot";
	f->conf.redis.password = (char *)"right";
	f->conf.limits.max_series = 2;
	rd_restart_sink(f);
	rd_put_one(f, "a", 1, "one=1 two=2");
	CALL(f, "DEL", "latido:node:a");
	rd_put_one(f, "a", 2, "one=1 three=2");
	rd_restart_sink(f);
	rd_add(f, "a", EPOCH + 1, 1, "four=1");
	rd_put(f);
	for (int i = 2; i < 9; i++) { /* beyond the bound of the hash */
		char pair[16];

		snprintf(pair, sizeof(pair), "m%d=1", i);
		rd_add(f, "a", EPOCH + 1, (uint64_t)i, pair)->partial = true;
		rd_put(f);
	}
	rd_tick(f);
	assert_field(f, "a", "m8", "1");
	assert_no_field(f, "a", "m2");
	/* Refused at start: a human has to act. Refused later: somebody is at work. */
	CALL(f, "ACL", "SETUSER", "hot", "-fcall");
	rd_add(f, "a", EPOCH + 1, 9, "m9=1");
	assert_int_equal(rd_try_put(f, &err), LT_EAUTH);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	CALL(f, "ACL", "SETUSER", "hot", "+fcall");
	rd_sink_open(f);
	rd_put(f);
	assert_field(f, "a", "m9", "1");
	CALL(f, "ACL", "DELUSER", "hot");
}

static void test_two_writers(void **state)
{
	struct rd_fixture *f = *state;
	struct lt_sink *first = f->sink, *second = rd_sink_new(f);
	struct lt_err err;

	assert_int_equal(second->ops->open(second, &err), LT_OK);
	rd_put_one(f, "a", 1, "one=1 two=1");
	f->sink = second;
	rd_put_one(f, "a", 2, "one=2 two=1");
	/* The first one's delta would leave out what the second has changed back and forth. */
	f->sink = first;
	rd_put_one(f, "a", 3, "one=1 two=1");
	assert_field(f, "a", "one", "1");
	assert_field(f, "a", "two", "1");
	assert_field(f, "a", "_seq", "3");
	f->sink = second;
	rd_put_one(f, "a", 3, "one=9 two=9");
	assert_field(f, "a", "one", "1");
	f->sink = first;
	rd_sink_free(second);
}

static void test_window_is_bounded(void **state)
{
	struct rd_fixture *f = *state;

	f->conf.hot.window_events = 10;
	rd_restart_sink(f);
	for (uint64_t i = 1; i <= 400; i++) {
		rd_add(f, "a", EPOCH, i, "v=1");
		if (f->n == 50)
			rd_put(f);
	}
	/* "~" trims whole nodes of up to 100 entries. */
	assert_in_range(lt_reply_int(CALL(f, "XLEN", "latido:window:a")), 10, 110);
	assert_field(f, "a", "_seq", "400");
}

static void test_hash_is_bounded(void **state)
{
	struct rd_fixture *f = *state;
	char pair[32];

	f->conf.limits.max_series = 10;
	rd_restart_sink(f);
	for (int i = 0; i < 200; i++) {
		snprintf(pair, sizeof(pair), "made_up_%d=1", i);
		rd_add(f, "d", 0, 0, pair)->partial = true;
		if (f->n == 20)
			rd_put(f);
	}
	assert_in_range(lt_reply_int(CALL(f, "HLEN", "latido:node:d")), 1, 80);
	assert_field(f, "d", "made_up_199", "1");
}

static void test_large_batch(void **state)
{
	struct rd_fixture *f = *state;
	struct lt_event **many = lt_calloc(3000, sizeof(*many));
	struct lt_batch b = {many, 3000};
	struct lt_err err;
	size_t bad;
	char name[32];

	for (int i = 0; i < 3000; i++) {
		struct lt_event *e;

		if (i % 60 == 0) {
			snprintf(name, sizeof(name), "node%d", i / 60);
			rd_add(f, name, EPOCH, 1, "one=1 two=2 three{device}=3");
			f->n = 0; /* kept by many[] */
		}
		e = lt_arena_alloc(&f->arena, sizeof(*e));
		*e = *f->events[0];
		if (i % 60)
			lt_shape_get(e->shape);
		e->seq = (uint64_t)(i % 60) + 1;
		many[i] = e;
	}
	assert_int_equal(f->sink->ops->put(f->sink, &b, &bad, &err), LT_OK);
	assert_int_equal(lt_reply_int(CALL(f, "ZCARD", "latido:seen")), 50);
	assert_field(f, "node49", "_seq", "60");
	assert_int_equal(lt_reply_int(CALL(f, "XLEN", "latido:window:node0")), 60);
	for (int i = 0; i < 3000; i++)
		lt_shape_put(many[i]->shape);
	free(many);
}

static void test_forgotten_sources_cost_nothing_but_a_full_write(void **state)
{
	struct rd_fixture *f = *state;
	int64_t mono = 1000 * LT_NS_PER_S, wall = (T0_MS + 10) * LT_NS_PER_MS;
	uint64_t gone = rd_counter("latido_hot_forgotten_sources_total", NULL);

	f->conf.hot.expire_ms = 60000;
	lt_clock_fake(true, mono, wall);
	rd_restart_sink(f);
	rd_put_one(f, "a", 1, "one=1 two=2");
	mono += 200 * LT_NS_PER_S;
	wall += 200 * LT_NS_PER_S;
	lt_clock_fake(true, mono, wall);
	rd_tick(f);
	assert_int_equal(rd_counter("latido_hot_forgotten_sources_total", NULL) - gone, 1);
	/* Nobody shows it as a node any more either. */
	assert_int_equal(lt_reply_int(CALL(f, "ZCARD", "latido:seen")), 0);
	f->now_ms += 200000;
	rd_put_one(f, "a", 2, "one=1 three=3");
	assert_no_field(f, "a", "two");
	assert_field(f, "a", "three", "3");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, rd_setup, rd_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_flushall_is_healed_by_the_next_event),
		TEST(test_killed_and_back_empty),
		TEST(test_deferred_write_survives_reconnect),
		TEST(test_wrong_type_does_not_block),
		TEST(test_foreign_shape_key_means_inline),
		TEST(test_find_shape),
		TEST(test_other_layout_is_refused),
		TEST(test_read_only_and_full_redis_are_retried),
		TEST(test_function_library_lost),
		TEST(test_passwords),
		TEST(test_two_writers),
		TEST(test_window_is_bounded),
		TEST(test_hash_is_bounded),
		TEST(test_large_batch),
		TEST(test_forgotten_sources_cost_nothing_but_a_full_write),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, rd_group_setup, rd_group_teardown);
}
