/* SPDX-License-Identifier: MIT */
/* What the Redis sink remembers and how it words its commands; no server involved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/sink/sink_redis.h"

#define MS LT_NS_PER_MS
#define S  LT_NS_PER_S

struct fixture {
	struct hot_state st;
	struct lt_shapes *shapes; /* the runtime's */
	struct lt_redis_cmd cmd;
	int64_t now;
};

static int setup(void **state)
{
	struct fixture *f = lt_calloc(1, sizeof(*f));

	f->shapes = lt_shapes_new(1 << 20, 1000);
	f->now = 1000 * S;
	hot_state_init(&f->st, 2, 60000, 1 << 20, 1 << 20, 1000);
	hot_begin(&f->st);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hot_state_fini(&f->st);
	lt_shapes_free(f->shapes);
	lt_redis_cmd_fini(&f->cmd);
	free(f);
	return 0;
}

/* An event with the one value @v under @name; released by drop(). */
static struct lt_event event(struct fixture *f, const char *source, uint64_t epoch, uint64_t seq,
	const char *name, double v)
{
	struct lt_snapshot *snap = lt_snapshot_new(10);
	struct lt_event e = {.source = source, .stream = ""};
	static uint8_t values[8];

	lt_snapshot_begin(snap);
	lt_snapshot_value(snap, name, LT_KIND_GAUGE, v);
	assert_int_equal(lt_snapshot_event(snap, &e, NULL), LT_OK);
	memcpy(values, e.values, 8);
	e.values = values;
	e.shape = lt_shapes_intern(f->shapes, e.shape->bytes, e.shape->size, NULL);
	assert_non_null(e.shape);
	lt_snapshot_free(snap);
	e.epoch = epoch;
	e.seq = seq;
	e.time_ns = 5000 * MS;
	e.arrived_ns = 6000 * MS;
	e.has_time = true;
	return e;
}

static int accept_as(struct fixture *f, struct lt_event e, struct hot_stream **s)
{
	struct hot_stream *dummy;
	int rc = hot_accept(&f->st, &e, f->now, s ? s : &dummy, NULL);

	lt_shape_put(e.shape);
	return rc;
}

static int accept(struct fixture *f, uint64_t epoch, uint64_t seq)
{
	return accept_as(f, event(f, "a", epoch, seq, "v", 1), NULL);
}

/* Accept and stage; true when the stream is full. */
static bool stage(struct fixture *f, struct lt_event e, struct hot_stream **out)
{
	struct hot_stream *s;
	bool full;

	assert_true(hot_accept(&f->st, &e, f->now, &s, NULL) > 0);
	full = hot_stage(&f->st, s, s->shape, &e, f->now);
	lt_shape_put(e.shape);
	*out = s;
	return full;
}

static void test_accept(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(accept(f, 10, 5), HOT_TOP);
	assert_int_equal(accept(f, 10, 5), HOT_OLD);
	assert_int_equal(accept(f, 10, 4), HOT_OLD);
	assert_int_equal(accept(f, 10, 6), HOT_TOP);
	assert_int_equal(accept(f, 11, 1), HOT_TOP);
	assert_int_equal(accept(f, 10, 7), HOT_OLD);
	assert_int_equal(accept(f, 11, 2), HOT_TOP);
	/* Unnumbered ones have no place above numbered ones in the window. */
	assert_int_equal(accept(f, 0, 0), HOT_NEW);
}

static void test_accept_by_stream(void **state)
{
	struct fixture *f = *state;
	struct lt_event e = event(f, "a", 10, 9, "v", 1);

	assert_int_equal(accept(f, 10, 5), HOT_TOP);
	e.stream = "slow";
	assert_int_equal(accept_as(f, e, NULL), HOT_TOP);
	assert_int_equal(accept(f, 10, 6), HOT_NEW);
	e = event(f, "a", 10, 9, "v", 1);
	e.stream = "slow";
	assert_int_equal(accept_as(f, e, NULL), HOT_OLD);
}

static void test_accept_unnumbered(void **state)
{
	struct fixture *f = *state;
	struct lt_event e = event(f, "d", 0, 0, "v", 1);

	assert_int_equal(accept_as(f, e, NULL), HOT_TOP);
	assert_int_equal(accept_as(f, event(f, "d", 0, 0, "v", 1), NULL), HOT_TOP);
	e = event(f, "d", 0, 0, "v", 1);
	e.time_ns -= 1 * MS;
	assert_int_equal(accept_as(f, e, NULL), HOT_OLD);
	e = event(f, "d", 0, 0, "v", 1);
	e.time_ns = e.arrived_ns = 1000 * MS;
	e.has_time = false;
	assert_int_equal(accept_as(f, e, NULL), HOT_TOP);
}

static void test_time_is_not_later_than_arrival(void **state)
{
	struct lt_event e = {.time_ns = 9000 * MS, .arrived_ns = 6000 * MS};

	(void)state;
	assert_int_equal(hot_time_ms(&e), 6000);
	e.time_ns = 100 * MS;
	assert_int_equal(hot_time_ms(&e), 100);
}

static void test_undo(void **state)
{
	struct fixture *f = *state;
	struct hot_stream *s;

	accept(f, 10, 5);
	hot_begin(&f->st);
	assert_int_equal(accept(f, 10, 6), HOT_TOP);
	assert_int_equal(accept_as(f, event(f, "a", 12, 1, "v", 1), &s), HOT_TOP);
	hot_undo(&f->st, s);
	hot_undo(&f->st, s);
	/* The same batch again. */
	hot_begin(&f->st);
	assert_int_equal(accept(f, 10, 5), HOT_OLD);
	assert_int_equal(accept(f, 10, 6), HOT_TOP);
	assert_int_equal(accept(f, 12, 1), HOT_TOP);
}

static void test_deferral(void **state)
{
	struct fixture *f = *state;
	struct hot_stream *a, *b;

	assert_true(hot_next_due_ns(&f->st, f->now) == INT64_MAX);
	stage(f, event(f, "a", 1, 1, "v", 1), &a);
	assert_true(hot_due(&f->st, a->source, f->now));
	assert_ptr_equal(hot_next_due_source(&f->st, f->now), a->source);
	hot_take_off(&f->st, a, f->now);
	assert_true(a->flying_full);
	hot_landed(&f->st, a);
	assert_null(hot_next_due_source(&f->st, f->now));

	f->now += 100 * MS;
	stage(f, event(f, "b", 1, 1, "v", 1), &b);
	hot_take_off(&f->st, b, f->now);
	hot_landed(&f->st, b);
	stage(f, event(f, "b", 1, 2, "v", 2), &b);
	stage(f, event(f, "a", 1, 2, "v", 2), &a);
	stage(f, event(f, "a", 1, 3, "v", 3), &a);
	assert_int_equal(f->st.n_pending, 2);
	assert_null(hot_next_due_source(&f->st, f->now));
	assert_int_equal(hot_next_due_ns(&f->st, f->now), 400 * MS);
	f->now += 400 * MS;
	assert_ptr_equal(hot_next_due_source(&f->st, f->now), a->source);
	hot_take_off(&f->st, a, f->now);
	assert_false(a->flying_full);
	assert_int_equal(a->flying->seq, 3);
	hot_landed(&f->st, a);
	assert_null(hot_next_due_source(&f->st, f->now));
	assert_int_equal(hot_next_due_ns(&f->st, f->now), 100 * MS);
	assert_ptr_equal(hot_any_pending(&f->st), b->source);
}

static void test_put_back(void **state)
{
	struct fixture *f = *state;
	struct hot_stream *s;

	stage(f, event(f, "a", 1, 1, "v", 1), &s);
	hot_take_off(&f->st, s, f->now);
	hot_put_back(&f->st, s);
	assert_int_equal(f->st.n_pending, 1);
	assert_int_equal(s->pending->seq, 1);
	f->now += S;
	assert_ptr_equal(hot_next_due_source(&f->st, f->now), s->source);
	/* Superseded meanwhile. */
	hot_take_off(&f->st, s, f->now);
	stage(f, event(f, "a", 1, 2, "v", 1), &s);
	hot_put_back(&f->st, s);
	assert_int_equal(s->pending->seq, 2);
	assert_null(s->pending->next);
}

static void test_partial_frames_queue(void **state)
{
	struct fixture *f = *state;
	struct hot_stream *s;
	struct lt_event e;
	char name[16];

	for (int i = 0; i < HOT_PENDING_MAX; i++) {
		snprintf(name, sizeof(name), "m%d", i % (HOT_PENDING_MAX - 1));
		e = event(f, "d", 0, 0, name, i);
		e.partial = true;
		assert_false(stage(f, e, &s)); /* the last one replaces the first */
	}
	e = event(f, "d", 0, 0, "more", 1);
	e.partial = true;
	assert_true(stage(f, e, &s));
	/* A complete snapshot says it all. */
	stage(f, event(f, "d", 0, 0, "v", 1), &s);
	assert_null(s->pending->next);
	assert_false(s->pending->partial);
}

static void test_eviction(void **state)
{
	struct fixture *f = *state;
	struct hot_stream *s;
	char name[16];

	accept_as(f, event(f, "old", 1, 1, "v", 1), NULL);
	f->now += 40 * S;
	stage(f, event(f, "waits", 1, 1, "v", 1), &s);
	f->now += 40 * S;
	assert_int_equal(hot_evict(&f->st, f->now), 1); /* "old"; 60 s are over */
	f->now += 40 * S;
	assert_int_equal(hot_evict(&f->st, f->now), 0); /* something is pending */
	hot_take_off(&f->st, s, f->now);
	hot_landed(&f->st, s);
	assert_int_equal(hot_evict(&f->st, f->now), 1);
	assert_int_equal(f->st.n_sources, 0);
	assert_int_equal(f->st.bytes, 0);

	/* Beyond the bound the longest silent ones go. */
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		accept_as(f, event(f, name, 1, 1, "v", 1), NULL);
	}
	assert_true(f->st.bytes > f->st.max_bytes);
	assert_true(hot_evict(&f->st, f->now) > 0);
	assert_true(f->st.bytes <= f->st.max_bytes);
	assert_true(f->st.n_sources > 100);
	accept_as(f, event(f, "n4999", 1, 1, "v", 1), NULL);
	assert_int_equal(accept_as(f, event(f, "n4999", 1, 1, "v", 1), NULL), HOT_OLD);
	assert_int_equal(accept_as(f, event(f, "n0", 1, 1, "v", 1), NULL), HOT_TOP);
}

static void test_many_streams_of_one_source(void **state)
{
	struct fixture *f = *state;
	struct hot_stream *s;
	char name[16];

	for (uint64_t i = 1; i <= 10 * HOT_STREAMS_MAX; i++) {
		struct lt_event e = event(f, "a", 1, i, "v", 1);

		snprintf(name, sizeof(name), "s%d", (int)i);
		e.stream = name;
		hot_begin(&f->st);
		f->now += S;
		assert_int_equal(accept_as(f, e, &s), HOT_TOP);
	}
	assert_int_equal(s->source->n_streams, HOT_STREAMS_MAX);
}

static void test_field_names(void **state)
{
	struct fixture *f = *state;
	struct lt_snapshot *snap = lt_snapshot_new(10);
	const char *key = "k", *value = "v";
	struct lt_event e;
	size_t len;

	lt_snapshot_begin(snap);
	lt_snapshot_value(snap, "_seq:main", LT_KIND_GAUGE, 1);
	lt_snapshot_family(snap, "_epoch", LT_KIND_GAUGE, &key, 1);
	lt_snapshot_row(snap, &value, 2);
	lt_snapshot_value(snap, "plain", LT_KIND_GAUGE, 3);
	assert_int_equal(lt_snapshot_event(snap, &e, NULL), LT_OK);
	e.shape = lt_shapes_intern(f->shapes, e.shape->bytes, e.shape->size, NULL);
	assert_string_equal(hot_field(e.shape, 0, &len), "_seq:main{}");
	assert_int_equal(len, 11);
	assert_string_equal(hot_field(e.shape, 1, &len), "_epoch{k=\"v\"}");
	assert_int_equal(len, 13);
	assert_string_equal(hot_field(e.shape, 2, &len), "plain");
	assert_int_equal(strlen(hot_shape_ref(e.shape)), HOT_SHAPE_HEX_LEN);
	hot_shape_of(e.shape)->inline_only = true;
	assert_string_equal(hot_shape_ref(e.shape), "-");
	lt_shape_put(e.shape);
	lt_snapshot_free(snap);
}

/* The arguments of a built command, joined by spaces. */
static const char *words(const struct lt_redis_cmd *c)
{
	static char out[1024];
	const char *p = c->args.data, *end = p + c->args.len;
	size_t at = 0;

	while (p < end) {
		char *after;
		size_t n = strtoul(p + 1, &after, 10);

		assert_int_equal(*p, '$');
		assert_memory_equal(after, "\r\n", 2);
		assert_true(at + n + 2 < sizeof(out));
		memcpy(out + at, after + 2, n);
		at += n;
		out[at++] = ' ';
		assert_memory_equal(after + 2 + n, "\r\n", 2);
		p = after + 4 + n;
	}
	out[at ? at - 1 : 0] = '\0';
	return out;
}

static void test_fcall_words(void **state)
{
	struct fixture *f = *state;
	struct hot_fcall how = {.expire_s = 60, .max_fields = 99};
	struct hot_stream *s;
	struct lt_event e;
	char hex[HOT_SHAPE_HEX_LEN + 1];
	char want[512];

	stage(f, event(f, "a", 7, 1, "v", 0.1), &s);
	snprintf(hex, sizeof(hex), "%s", hot_shape_ref(s->shape));
	hot_take_off(&f->st, s, f->now);
	hot_fcall_build(&f->cmd, s, &how);
	snprintf(want, sizeof(want),
		"FCALL latido_apply 1 latido:node:a  7 1 5000 0 0 %s 0 0   60 99 0000000000 v 0.1",
		hex);
	assert_string_equal(words(&f->cmd), want);
	assert_int_equal(how.fields, 1);
	hot_landed(&f->st, s);

	/* The same value again: a delta without fields. */
	stage(f, event(f, "a", 7, 2, "v", 0.1), &s);
	hot_take_off(&f->st, s, f->now);
	how = (struct hot_fcall){.max_fields = 99};
	hot_fcall_build(&f->cmd, s, &how);
	snprintf(want, sizeof(want),
		"FCALL latido_apply 1 latido:node:a  7 2 5000 0 0 %s 7 1 5000  0 99 0000000000",
		hex);
	assert_string_equal(words(&f->cmd), want);
	hot_landed(&f->st, s);

	/* Another name: full, the old one is deleted. */
	stage(f, event(f, "a", 7, 3, "w", -2), &s);
	hot_take_off(&f->st, s, f->now);
	assert_true(s->flying_full);
	how = (struct hot_fcall){
		.previous = s->written->shape, .previous_ref = hex, .max_fields = 99};
	hot_fcall_build(&f->cmd, s, &how);
	snprintf(want, sizeof(want),
		"FCALL latido_apply 1 latido:node:a  7 3 5000 0 0 %s 0 0  %s 0 99 0000000001 v w "
		"-2",
		hot_shape_ref(s->shape), hex);
	assert_string_equal(words(&f->cmd), want);

	/* Unnumbered and partial: guarded by time, no shape. */
	e = event(f, "d", 0, 0, "v", 3);
	e.partial = true;
	e.stream = "s";
	e.interval_ms = 500;
	stage(f, e, &s);
	hot_take_off(&f->st, s, f->now);
	how = (struct hot_fcall){0};
	hot_fcall_build(&f->cmd, s, &how);
	assert_string_equal(words(&f->cmd),
		"FCALL latido_apply 1 latido:node:d s 0 0 5000 1 500  0 0   0 0 0000000000 v 3");
}

static void test_window_maxlen(void **state)
{
	(void)state;
	assert_int_equal(hot_window_maxlen(900, 4 << 20, 500), 900);
	assert_int_equal(hot_window_maxlen(900, 4 << 20, 8192), 512);
	assert_int_equal(hot_window_maxlen(900, 4 << 20, 1e9), 1);
	assert_int_equal(hot_window_maxlen(900, 4 << 20, 0), 900);
}

/* ---- the client's addresses ---- */

static void check_url(const char *url, const char *where)
{
	struct lt_redis_conf conf = {(char *)url, (char *)"", (char *)"secret", 1000};
	struct lt_err err = {0};
	struct lt_redis *r = lt_redis_new(&conf, &err);

	if (where) {
		assert_non_null(r);
		assert_string_equal(lt_redis_where(r), where);
		assert_false(lt_redis_connected(r));
	} else {
		assert_null(r);
		assert_int_equal(err.cls, LT_CLS_CONFIG);
		assert_non_null(strstr(err.msg, "redis.url"));
		assert_null(strstr(err.msg, "hunter2"));
	}
	lt_redis_free(r);
}

static void test_urls(void **state)
{
	(void)state;
	check_url("redis://localhost", "localhost:6379/0");
	check_url("redis://127.0.0.1:7000/3", "127.0.0.1:7000/3");
	check_url("redis://hot@example.org:7000/", "example.org:7000/0");
	check_url("redis://[::1]:7000/1", "[::1]:7000/1");
	check_url("redis://[::1]", "[::1]:6379/0");
	check_url("unix:///run/redis.sock", "/run/redis.sock");
	check_url("unix:///run/redis.sock?db=2", "/run/redis.sock db 2");
	check_url("", NULL);
	check_url("localhost:6379", NULL);
	check_url("redis://", NULL);
	check_url("redis://:6379", NULL);
	check_url("redis://host:0", NULL);
	check_url("redis://host:70000", NULL);
	check_url("redis://host:12x", NULL);
	check_url("redis://host/x", NULL);
	check_url("redis://[::1", NULL);
	check_url("redis://[::1]x", NULL);
	check_url("redis://user:hunter2@host", NULL);
	check_url("rediss://host", NULL);
	check_url("unix://relative", NULL);
	check_url("unix:///run/redis.sock?x=1", NULL);
	check_url("unix:///0123456789012345678901234567890123456789012345678901234567890123456789"
		  "01234567890123456789012345678901234567890123456789",
		NULL);
}

static void test_command_words(void **state)
{
	struct lt_redis_cmd c = {0};

	(void)state;
	lt_redis_begin(&c, "SET");
	lt_redis_key(&c, "latido:", "x");
	lt_redis_arg(&c, "a\0b", 3);
	lt_redis_i64(&c, INT64_MIN);
	lt_redis_u64(&c, UINT64_MAX);
	lt_redis_str(&c, "");
	assert_int_equal(c.n, 6);
	assert_int_equal(c.args.len, 9 + 14 + 9 + 27 + 27 + 6);
	assert_memory_equal(c.args.data,
		"$3\r\nSET\r\n$8\r\nlatido:x\r\n$3\r\na\0b\r\n$20\r\n-9223372036854775808\r\n"
		"$20\r\n18446744073709551615\r\n$0\r\n\r\n",
		c.args.len);
	lt_redis_begin(&c, "PING");
	assert_int_equal(c.n, 1);
	assert_memory_equal(c.args.data, "$4\r\nPING\r\n", c.args.len);
	lt_redis_cmd_fini(&c);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_accept),
		TEST(test_accept_by_stream),
		TEST(test_accept_unnumbered),
		cmocka_unit_test(test_time_is_not_later_than_arrival),
		TEST(test_undo),
		TEST(test_deferral),
		TEST(test_put_back),
		TEST(test_partial_frames_queue),
		TEST(test_eviction),
		TEST(test_many_streams_of_one_source),
		TEST(test_field_names),
		TEST(test_fcall_words),
		cmocka_unit_test(test_window_maxlen),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_command_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
