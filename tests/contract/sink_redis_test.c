/* SPDX-License-Identifier: MIT */
/*
 * The Redis sink against a real Redis: a private one on a unix socket, which some tests kill,
 * restart empty or flush.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the four above. */
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "latido/clock.h"
#include "latido/redis.h"
#include "latido/sink_redis.h"

#define EPOCH UINT64_C(1763700000000000)
#define T0_MS INT64_C(1763700000000)

/* ---- the server ---- */

static struct {
	char folder[64], socket[96];
	pid_t pid;
} server;

static void server_start(void)
{
	server.pid = fork();
	assert_true(server.pid >= 0);
	if (server.pid == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 1);
		dup2(null, 2);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server.socket,
			"--save", "", "--dir", server.folder, "--databases", "4", (char *)NULL);
		_exit(127);
	}
}

static void server_kill(void)
{
	if (server.pid <= 0)
		return;
	kill(server.pid, SIGKILL);
	waitpid(server.pid, NULL, 0);
	server.pid = 0;
}

static int suite_setup(void **state)
{
	(void)state;
	strcpy(server.folder, "/tmp/latido-redis-XXXXXX");
	assert_non_null(mkdtemp(server.folder));
	snprintf(server.socket, sizeof(server.socket), "%s/redis.sock", server.folder);
	server_start();
	return 0;
}

static int suite_teardown(void **state)
{
	(void)state;
	server_kill();
	unlink(server.socket);
	rmdir(server.folder);
	return 0;
}

/* ---- one test's sink ---- */

struct fixture {
	char url[128];
	struct lt_config conf;
	struct lt_sink *sink;
	struct lt_redis *redis; /* the test's own eyes */
	struct lt_redis_cmd cmd;
	struct lt_shapes *shapes;
	struct lt_arena arena;
	struct lt_event *events[64];
	size_t n;
	int64_t now_ms;
};

static void connect_eyes(struct fixture *f)
{
	struct lt_err err;

	for (int64_t end = lt_mono_ns() + 30 * LT_NS_PER_S;;) {
		if (lt_redis_connect(f->redis, &err) == LT_OK)
			return;
		if (lt_mono_ns() > end)
			fail_msg("Redis does not answer: %s", err.msg);
		usleep(5000);
	}
}

static struct lt_sink *sink_new(struct fixture *f)
{
	struct lt_sink *s = lt_calloc(1, lt_sink_redis_ops.size);
	struct lt_err err;

	s->ops = &lt_sink_redis_ops;
	if (s->ops->init(s, &f->conf, &err) != LT_OK)
		fail_msg("init: %s", err.msg);
	return s;
}

static void sink_free(struct lt_sink *s)
{
	s->ops->fini(s);
	free(s);
}

static void sink_open(struct fixture *f)
{
	struct lt_err err;

	if (f->sink->ops->open(f->sink, &err) != LT_OK)
		fail_msg("open: %s", err.msg);
}

static const struct lt_reply *call(struct fixture *f, const char *first, ...)
{
	static struct lt_reply *reply; /* of the previous call */
	struct lt_err err;
	const char *arg;
	va_list ap;

	lt_reply_free(reply);
	reply = NULL;
	if (!first)
		return NULL;
	lt_redis_begin(&f->cmd, first);
	va_start(ap, first);
	while ((arg = va_arg(ap, const char *)))
		lt_redis_str(&f->cmd, arg);
	va_end(ap);
	if (lt_redis_append(f->redis, &f->cmd, &err) != LT_OK ||
		lt_redis_read(f->redis, &reply, &err) != LT_OK)
		fail_msg("%s: %s", first, err.msg);
	return reply;
}

#define CALL(f, ...)                      call(f, __VA_ARGS__, (const char *)NULL)
#define TEXT(f, ...)                      lt_reply_str(CALL(f, __VA_ARGS__), NULL)
#define FIELD(f, src, field)              TEXT(f, "HGET", "latido:node:" src, field)
#define assert_field(f, src, field, want) assert_string_equal(FIELD(f, src, field), want)
#define assert_no_field(f, src, field) \
	assert_int_equal(lt_reply_int(CALL(f, "HEXISTS", "latido:node:" src, field)), 0)

static uint64_t counter(const char *name, const char *labels)
{
	for (size_t i = 0; i < lt_sink_redis_stats_n; i++) {
		const struct lt_stat *s = &lt_sink_redis_stats[i];

		if (!strcmp(s->name, name) && (!labels || !strcmp(s->labels, labels)))
			return lt_counter_get(s->p);
	}
	fail_msg("no counter %s", name);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = lt_calloc(1, sizeof(*f));

	snprintf(f->url, sizeof(f->url), "unix://%s", server.socket);
	f->conf.redis = (struct lt_redis_conf){f->url, (char *)"", (char *)"", 5000};
	f->conf.hot.max_rate_hz = 1000000; /* at once, unless a test says otherwise */
	f->conf.hot.window_events = 100;
	f->conf.hot.window_bytes = 1 << 20;
	f->conf.hot.expire_ms = 3600 * 1000;
	f->conf.limits.max_series = 1000;
	f->conf.limits.max_bytes = 1 << 20;
	f->conf.limits.shape_cache_bytes = 1 << 20;
	f->now_ms = T0_MS;
	lt_clock_fake(false, 0, 0);
	f->redis = lt_redis_new(&f->conf.redis, NULL);
	assert_non_null(f->redis);
	if (!server.pid)
		server_start();
	connect_eyes(f);
	CALL(f, "FLUSHALL");
	f->shapes = lt_shapes_new(1 << 20, 1000);
	f->sink = sink_new(f);
	sink_open(f);
	*state = f;
	return 0;
}

static void drop_events(struct fixture *f)
{
	for (size_t i = 0; i < f->n; i++)
		lt_shape_put(f->events[i]->shape);
	f->n = 0;
	lt_arena_reset(&f->arena);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	lt_clock_fake(false, 0, 0);
	call(f, NULL);
	drop_events(f);
	sink_free(f->sink);
	lt_shapes_free(f->shapes);
	lt_arena_fini(&f->arena);
	lt_redis_cmd_fini(&f->cmd);
	lt_redis_free(f->redis);
	free(f);
	return 0;
}

/*
 * add() - an event into the next batch; @pairs: "name=1 other=2.5", names may have labels as
 * name{key} whose value is "x"
 */
static struct lt_event *add(
	struct fixture *f, const char *source, uint64_t epoch, uint64_t seq, const char *pairs)
{
	struct lt_snapshot *snap = lt_snapshot_new(1000);
	struct lt_event built = {.source = source, .stream = ""}, *e;
	char text[512], *save = NULL;
	struct lt_err err;

	snprintf(text, sizeof(text), "%s", pairs);
	lt_snapshot_begin(snap);
	for (char *p = strtok_r(text, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
		char *eq = strchr(p, '='), *brace = strchr(p, '{');
		const char *key = "", *value = "x";

		*eq = '\0';
		if (brace) {
			*brace = '\0';
			key = brace + 1;
			brace[strlen(key)] = '\0'; /* the closing brace */
		}
		lt_snapshot_family(snap, p, LT_KIND_GAUGE, &key, brace ? 1 : 0);
		lt_snapshot_row(snap, &value, strtod(eq + 1, NULL));
	}
	if (lt_snapshot_event(snap, &built, &err) != LT_OK)
		fail_msg("snapshot: %s", err.msg);
	e = lt_arena_alloc(&f->arena, sizeof(*e));
	*e = (struct lt_event){
		.source = lt_arena_str(&f->arena, source, strlen(source)),
		.stream = "",
		.epoch = epoch,
		.seq = seq,
		.time_ns = f->now_ms * LT_NS_PER_MS,
		.arrived_ns = f->now_ms * LT_NS_PER_MS + 3000,
		.has_time = true,
		.interval_ms = 1000,
		.n = built.n,
		.values = lt_arena_dup(&f->arena, built.values, 8 * (size_t)built.n),
		.shape = lt_shapes_intern(f->shapes, built.shape->bytes, built.shape->size, &err),
	};
	assert_non_null(e->shape);
	lt_snapshot_free(snap);
	f->events[f->n++] = e;
	return e;
}

static int try_put(struct fixture *f, struct lt_err *err)
{
	struct lt_batch b = {f->events, f->n};
	size_t bad = 0;

	return f->sink->ops->put(f->sink, &b, &bad, err);
}

static void put(struct fixture *f)
{
	struct lt_err err;

	if (try_put(f, &err) != LT_OK)
		fail_msg("put: %s", err.msg);
	drop_events(f);
}

static void put_one(struct fixture *f, const char *source, uint64_t seq, const char *pairs)
{
	add(f, source, EPOCH, seq, pairs);
	put(f);
}

static int64_t tick(struct fixture *f)
{
	struct lt_err err;
	int64_t ns = f->sink->ops->tick(f->sink, &err);

	if (ns < 0)
		fail_msg("tick: %s", err.msg);
	return ns;
}

static void restart_sink(struct fixture *f)
{
	sink_free(f->sink);
	f->sink = sink_new(f);
	sink_open(f);
}

/* ---- tests ---- */

static void test_first_event_is_everywhere(void **state)
{
	struct fixture *f = *state;
	const struct lt_reply *r;

	add(f, "a", EPOCH, 7, "load=0.5 mem{kind}=1e300 _epoch=3");
	put(f);
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
	struct fixture *f = *state;
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

	put_one(f, "a", 7, "load=0.5 temp=21.5");
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
	struct fixture *f = *state;

	put_one(f, "a", 10, "v=10");
	put_one(f, "a", 9, "v=9");
	assert_field(f, "a", "v", "10");
	/* Also not by a sink that knows nothing yet: Redis itself refuses. */
	restart_sink(f);
	put_one(f, "a", 8, "v=8");
	put_one(f, "a", 10, "v=8");
	assert_field(f, "a", "v", "10");
	assert_int_equal(lt_reply_int(CALL(f, "XLEN", "latido:window:a")), 1);
	put_one(f, "a", 11, "v=11");
	assert_field(f, "a", "v", "11");
}

static void test_replaced_epoch_does_not_come_back(void **state)
{
	struct fixture *f = *state;

	put_one(f, "a", 500, "v=1");
	add(f, "a", EPOCH + 1, 1, "v=2");
	put(f);
	assert_field(f, "a", "v", "2");
	assert_field(f, "a", "_seq", "1");
	put_one(f, "a", 501, "v=3");
	assert_field(f, "a", "v", "2");
	restart_sink(f);
	put_one(f, "a", 502, "v=3");
	assert_field(f, "a", "v", "2");
	add(f, "a", EPOCH + 1, 2, "v=4");
	put(f);
	assert_field(f, "a", "v", "4");
}

static void test_only_changed_fields_are_written(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	put_one(f, "a", 1, "one=1 two=2 three=3");
	/* Somebody's note in a field that does not change shows that it is not written again. */
	CALL(f, "HSET", "latido:node:a", "one", "untouched");
	before = counter("latido_hot_hash_fields_total", NULL);
	put_one(f, "a", 2, "one=1 two=5 three=3");
	assert_int_equal(counter("latido_hot_hash_fields_total", NULL) - before, 1);
	assert_field(f, "a", "one", "untouched");
	assert_field(f, "a", "two", "5");
	assert_field(f, "a", "_seq", "2");
}

static void test_vanished_fields_go(void **state)
{
	struct fixture *f = *state;

	put_one(f, "a", 1, "one=1 two=2 three=3");
	put_one(f, "a", 2, "two=2 zero=0");
	assert_no_field(f, "a", "one");
	assert_no_field(f, "a", "three");
	assert_field(f, "a", "two", "2");
	assert_field(f, "a", "zero", "0");
	/* Vanished while nobody watched: the old shape is looked up. */
	restart_sink(f);
	put_one(f, "a", 3, "zero=1 four=4");
	assert_no_field(f, "a", "two");
	assert_field(f, "a", "zero", "1");
	assert_field(f, "a", "four", "4");
}

static void test_vanished_fields_go_without_old_shape(void **state)
{
	struct fixture *f = *state;
	char key[64];
	struct lt_event *e;
	uint64_t resets = counter("latido_hot_hash_resets_total", NULL);

	put_one(f, "a", 1, "one=1 two=2");
	e = add(f, "a", EPOCH, 2, "other=7");
	e->stream = "slow";
	put(f);
	restart_sink(f);
	snprintf(key, sizeof(key), "latido:shape:%s", FIELD(f, "a", "_shape"));
	assert_int_equal(lt_reply_int(CALL(f, "DEL", key)), 1);
	put_one(f, "a", 3, "two=3");
	assert_int_equal(counter("latido_hot_hash_resets_total", NULL) - resets, 1);
	assert_no_field(f, "a", "one");
	assert_field(f, "a", "two", "3");
	assert_in_range(lt_reply_int(CALL(f, "TTL", "latido:node:a")), 3500, 3600);
	/* The other stream comes back in full, and its guard was kept. */
	e = add(f, "a", EPOCH, 2, "other=8");
	e->stream = "slow";
	put(f);
	assert_no_field(f, "a", "other");
	e = add(f, "a", EPOCH, 4, "other=7");
	e->stream = "slow";
	put(f);
	assert_field(f, "a", "other", "7");
}

/* Whatever somebody wrote into our own fields, the next complete snapshot is written. */
static void test_damaged_fields_are_overcome(void **state)
{
	static const char *const shapes[] = {
		"", "-", "nonsense", "\n", "0123456789abcdef0123456789abcdef"};
	struct fixture *f = *state;
	uint64_t seq = 1;

	put_one(f, "a", seq, "one=1 two=2");
	for (size_t i = 0; i < LT_ARRAY_LEN(shapes); i++) {
		CALL(f, "HSET", "latido:node:a", "_shape", shapes[i], "_seq", "x", "_time", "",
			"left", "over");
		restart_sink(f);
		put_one(f, "a", ++seq, "one=1 two=3");
		assert_field(f, "a", "two", "3");
		assert_no_field(f, "a", "left");
		put_one(f, "a", ++seq, "one=1 two=2");
		assert_field(f, "a", "two", "2");
	}
}

static void test_partial_events_delete_nothing(void **state)
{
	struct fixture *f = *state;

	add(f, "d", 0, 0, "temperature=21.5")->partial = true;
	add(f, "d", 0, 0, "humidity=40")->partial = true;
	put(f);
	assert_field(f, "d", "temperature", "21.5");
	assert_field(f, "d", "humidity", "40");
	add(f, "d", 0, 0, "temperature=22")->partial = true;
	put(f);
	assert_field(f, "d", "temperature", "22");
	assert_field(f, "d", "humidity", "40");
	assert_int_equal(lt_reply_int(CALL(f, "XLEN", "latido:window:d")), 3);
}

static void test_unnumbered_guarded_by_time(void **state)
{
	struct fixture *f = *state;

	add(f, "d", 0, 0, "v=1");
	put(f);
	f->now_ms -= 5000;
	add(f, "d", 0, 0, "v=2");
	put(f);
	assert_field(f, "d", "v", "1");
	restart_sink(f);
	add(f, "d", 0, 0, "v=2");
	put(f);
	assert_field(f, "d", "v", "1");
	f->now_ms += 6000;
	add(f, "d", 0, 0, "v=3");
	put(f);
	assert_field(f, "d", "v", "3");
	/* Without a time of its own an event is as new as its arrival, whatever our clock did. */
	f->now_ms -= 3600 * 1000;
	add(f, "d", 0, 0, "v=4")->has_time = false;
	put(f);
	assert_field(f, "d", "v", "4");
}

/* A clock that is a year ahead for one event must not look alive for a year, nor block the rest. */
static void test_future_clock_does_not_poison(void **state)
{
	struct fixture *f = *state;

	add(f, "d", 0, 0, "v=1")->time_ns += 365 * 86400 * LT_NS_PER_S;
	put(f);
	assert_string_equal(TEXT(f, "ZSCORE", "latido:seen", "d"), "1763700000000");
	f->now_ms += 1000;
	add(f, "d", 0, 0, "v=2");
	put(f);
	assert_field(f, "d", "v", "2");
	assert_string_equal(TEXT(f, "ZSCORE", "latido:seen", "d"), "1763700001000");
}

static void test_seen_never_moves_back(void **state)
{
	struct fixture *f = *state;

	put_one(f, "a", 1, "v=1");
	f->now_ms -= 60000;
	put_one(f, "a", 2, "v=2");
	assert_string_equal(TEXT(f, "ZSCORE", "latido:seen", "a"), "1763700000000");
	assert_field(f, "a", "v", "2");
}

static void test_streams_are_independent(void **state)
{
	struct fixture *f = *state;

	put_one(f, "a", 1, "v=1");
	add(f, "a", EPOCH, 3, "w=3")->stream = "slow";
	put(f);
	/* Late, but the newest of its stream; the window has passed it. */
	put_one(f, "a", 2, "v=2");
	assert_field(f, "a", "v", "2");
	assert_field(f, "a", "w", "3");
	assert_field(f, "a", "_seq", "2");
	assert_field(f, "a", "_seq:slow", "3");
	assert_int_equal(lt_reply_int(CALL(f, "XLEN", "latido:window:a")), 2);
	/* A new epoch numbers all streams anew. */
	add(f, "a", EPOCH + 5, 1, "v=7");
	put(f);
	add(f, "a", EPOCH + 5, 2, "w=8")->stream = "slow";
	put(f);
	assert_field(f, "a", "w", "8");
	assert_field(f, "a", "_seq:slow", "2");
}

static void test_rate_is_bounded_and_the_last_value_arrives(void **state)
{
	struct fixture *f = *state;
	int64_t mono = 1000 * LT_NS_PER_S, wall = (T0_MS + 10) * LT_NS_PER_MS;
	uint64_t writes;

	f->conf.hot.max_rate_hz = 2;
	lt_clock_fake(true, mono, wall);
	restart_sink(f);
	put_one(f, "a", 1, "v=1");
	assert_field(f, "a", "v", "1");
	writes = counter("latido_hot_hash_writes_total", "kind=\"delta\"");
	for (int i = 2; i <= 5; i++) {
		char pair[16];

		mono += 100 * LT_NS_PER_MS;
		lt_clock_fake(true, mono, wall);
		snprintf(pair, sizeof(pair), "v=%d", i);
		put_one(f, "a", (uint64_t)i, pair);
	}
	/* Deferred, while window and seen have them all. */
	assert_field(f, "a", "v", "1");
	assert_int_equal(lt_reply_int(CALL(f, "XLEN", "latido:window:a")), 5);
	assert_in_range(tick(f), 1, 100 * LT_NS_PER_MS);
	assert_field(f, "a", "v", "1");
	lt_clock_fake(true, mono + 100 * LT_NS_PER_MS, wall);
	assert_true(tick(f) > 0);
	assert_field(f, "a", "v", "5");
	assert_field(f, "a", "_seq", "5");
	assert_int_equal(counter("latido_hot_hash_writes_total", "kind=\"delta\"") - writes, 1);
}

static void test_deferred_partial_events_are_all_kept(void **state)
{
	struct fixture *f = *state;
	int64_t mono = 1000 * LT_NS_PER_S;
	struct lt_err err;

	f->conf.hot.max_rate_hz = 1;
	lt_clock_fake(true, mono, (T0_MS + 10) * LT_NS_PER_MS);
	restart_sink(f);
	add(f, "d", 0, 0, "a=1")->partial = true;
	put(f);
	add(f, "d", 0, 0, "b=2")->partial = true;
	add(f, "d", 0, 0, "c=3")->partial = true;
	add(f, "d", 0, 0, "b=4 a=5")->partial = true;
	put(f);
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
	struct fixture *f = *state;
	struct lt_err err;
	char pair[32];

	f->conf.hot.max_rate_hz = 0.01;
	restart_sink(f);
	for (int i = 0; i < 60; i++) {
		snprintf(pair, sizeof(pair), "m%d=%d", i, i);
		add(f, "d", 0, 0, pair)->partial = true;
	}
	put(f);
	assert_int_equal(f->sink->ops->flush(f->sink, &err), LT_OK);
	assert_field(f, "d", "m0", "0");
	assert_field(f, "d", "m31", "31");
	assert_field(f, "d", "m59", "59");
}

static void test_flushall_is_healed_by_the_next_event(void **state)
{
	struct fixture *f = *state;
	char key[64];

	put_one(f, "a", 1, "one=1 two=2");
	CALL(f, "FLUSHALL");
	put_one(f, "a", 2, "one=1 two=3");
	assert_field(f, "a", "one", "1");
	assert_field(f, "a", "two", "3");
	snprintf(key, sizeof(key), "latido:shape:%s", FIELD(f, "a", "_shape"));
	assert_int_equal(lt_reply_int(CALL(f, "EXISTS", key)), 1);
	assert_string_equal(TEXT(f, "HGET", "latido:meta", "layout"), "1");
	assert_in_range(lt_reply_int(CALL(f, "TTL", "latido:node:a")), 3500, 3600);
}

static void test_killed_and_back_empty(void **state)
{
	struct fixture *f = *state;
	struct lt_err err;

	put_one(f, "a", 1, "one=1 two=2");
	server_kill();
	add(f, "a", EPOCH, 2, "one=1 two=3");
	assert_int_equal(try_put(f, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	assert_int_equal(f->sink->ops->open(f->sink, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	server_start();
	connect_eyes(f);
	sink_open(f);
	put(f); /* the same batch again */
	assert_field(f, "a", "one", "1");
	assert_field(f, "a", "two", "3");
	assert_int_equal(lt_reply_int(CALL(f, "XLEN", "latido:window:a")), 1);
}

/* A deferred write must survive a connection that dies before it. */
static void test_deferred_write_survives_reconnect(void **state)
{
	struct fixture *f = *state;
	int64_t mono = 1000 * LT_NS_PER_S;
	struct lt_err err;

	f->conf.hot.max_rate_hz = 1;
	lt_clock_fake(true, mono, (T0_MS + 10) * LT_NS_PER_MS);
	restart_sink(f);
	put_one(f, "a", 1, "v=1");
	put_one(f, "a", 2, "v=2");
	CALL(f, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
	lt_clock_fake(true, mono + LT_NS_PER_S, (T0_MS + 10) * LT_NS_PER_MS);
	assert_true(f->sink->ops->tick(f->sink, &err) < 0);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	sink_open(f);
	lt_clock_fake(true, mono + 2 * LT_NS_PER_S, (T0_MS + 10) * LT_NS_PER_MS);
	tick(f);
	assert_field(f, "a", "v", "2");
}

static void test_wrong_type_does_not_block(void **state)
{
	struct fixture *f = *state;
	uint64_t errors = counter("latido_hot_key_errors_total", NULL);

	CALL(f, "SET", "latido:node:bad", "somebody's");
	CALL(f, "SET", "latido:window:bad", "somebody's");
	CALL(f, "SET", "latido:seen", "somebody's");
	add(f, "bad", EPOCH, 1, "v=1");
	add(f, "good", EPOCH, 1, "v=1");
	put(f);
	assert_field(f, "good", "v", "1");
	assert_int_equal(counter("latido_hot_key_errors_total", NULL) - errors, 3);
	CALL(f, "DEL", "latido:node:bad", "latido:seen");
	put_one(f, "bad", 2, "v=2");
	assert_field(f, "bad", "v", "2");
	assert_string_equal(TEXT(f, "ZSCORE", "latido:seen", "bad"), "1763700000000");
}

static void test_foreign_shape_key_means_inline(void **state)
{
	struct fixture *f = *state;
	struct lt_event *e = add(f, "a", EPOCH, 1, "one=1");
	char key[64];
	size_t n;

	snprintf(key, sizeof(key), "latido:shape:%016llx", (unsigned long long)e->shape->hash);
	CALL(f, "SET", key, "other bytes with the same hash");
	put(f);
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
	struct fixture *f = *state;
	struct lt_event *e = add(f, "a", EPOCH, 1, "one=1 two=2");
	struct lt_buf bytes = {0}, want = {0};
	uint64_t hash = e->shape->hash;
	struct lt_err err;
	char key[64];

	lt_buf_add(&want, e->shape->bytes, e->shape->size);
	put(f);
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
	struct fixture *f = *state;
	struct lt_sink *second;
	struct lt_err err;

	CALL(f, "HSET", "latido:meta", "layout", "2");
	second = sink_new(f);
	assert_int_equal(second->ops->open(second, &err), LT_ECONF);
	assert_int_equal(err.cls, LT_CLS_CONFIG);
	assert_non_null(strstr(err.msg, "layout 2"));
	assert_non_null(strstr(err.msg, "redis.url"));
	sink_free(second);
}

static void test_read_only_and_full_redis_are_retried(void **state)
{
	struct fixture *f = *state;
	struct lt_err err;

	add(f, "a", EPOCH, 1, "v=1");
	CALL(f, "CONFIG", "SET", "maxmemory", "1");
	assert_int_equal(try_put(f, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	assert_non_null(strstr(err.msg, "OOM"));
	CALL(f, "CONFIG", "SET", "maxmemory", "0");
	sink_open(f);
	put(f);
	assert_field(f, "a", "v", "1");

	CALL(f, "REPLICAOF", "127.0.0.1", "1");
	add(f, "a", EPOCH, 2, "v=2");
	assert_int_equal(try_put(f, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	CALL(f, "REPLICAOF", "NO", "ONE");
	sink_open(f);
	put(f);
	assert_field(f, "a", "v", "2");
}

static void test_function_library_lost(void **state)
{
	struct fixture *f = *state;
	struct lt_err err;

	CALL(f, "FUNCTION", "FLUSH");
	add(f, "a", EPOCH, 1, "v=1");
	assert_int_equal(try_put(f, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	sink_open(f);
	put(f);
	assert_field(f, "a", "v", "1");
}

static void test_passwords(void **state)
{
	struct fixture *f = *state;
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
	restart_sink(f);
	put_one(f, "a", 1, "one=1 two=2");
	CALL(f, "DEL", "latido:node:a");
	put_one(f, "a", 2, "one=1 three=2");
	restart_sink(f);
	add(f, "a", EPOCH + 1, 1, "four=1");
	put(f);
	for (int i = 2; i < 9; i++) { /* beyond the bound of the hash */
		char pair[16];

		snprintf(pair, sizeof(pair), "m%d=1", i);
		add(f, "a", EPOCH + 1, (uint64_t)i, pair)->partial = true;
		put(f);
	}
	tick(f);
	assert_field(f, "a", "m8", "1");
	assert_no_field(f, "a", "m2");
	/* Refused at start: a human has to act. Refused later: somebody is at work. */
	CALL(f, "ACL", "SETUSER", "hot", "-fcall");
	add(f, "a", EPOCH + 1, 9, "m9=1");
	assert_int_equal(try_put(f, &err), LT_EAUTH);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	CALL(f, "ACL", "SETUSER", "hot", "+fcall");
	sink_open(f);
	put(f);
	assert_field(f, "a", "m9", "1");
	CALL(f, "ACL", "DELUSER", "hot");
}

static void test_two_writers(void **state)
{
	struct fixture *f = *state;
	struct lt_sink *first = f->sink, *second = sink_new(f);
	struct lt_err err;

	assert_int_equal(second->ops->open(second, &err), LT_OK);
	put_one(f, "a", 1, "one=1 two=1");
	f->sink = second;
	put_one(f, "a", 2, "one=2 two=1");
	/* The first one's delta would leave out what the second has changed back and forth. */
	f->sink = first;
	put_one(f, "a", 3, "one=1 two=1");
	assert_field(f, "a", "one", "1");
	assert_field(f, "a", "two", "1");
	assert_field(f, "a", "_seq", "3");
	f->sink = second;
	put_one(f, "a", 3, "one=9 two=9");
	assert_field(f, "a", "one", "1");
	f->sink = first;
	sink_free(second);
}

static void test_window_is_bounded(void **state)
{
	struct fixture *f = *state;

	f->conf.hot.window_events = 10;
	restart_sink(f);
	for (uint64_t i = 1; i <= 400; i++) {
		add(f, "a", EPOCH, i, "v=1");
		if (f->n == 50)
			put(f);
	}
	/* "~" trims whole nodes of up to 100 entries. */
	assert_in_range(lt_reply_int(CALL(f, "XLEN", "latido:window:a")), 10, 110);
	assert_field(f, "a", "_seq", "400");
}

static void test_hash_is_bounded(void **state)
{
	struct fixture *f = *state;
	char pair[32];

	f->conf.limits.max_series = 10;
	restart_sink(f);
	for (int i = 0; i < 200; i++) {
		snprintf(pair, sizeof(pair), "made_up_%d=1", i);
		add(f, "d", 0, 0, pair)->partial = true;
		if (f->n == 20)
			put(f);
	}
	assert_in_range(lt_reply_int(CALL(f, "HLEN", "latido:node:d")), 1, 80);
	assert_field(f, "d", "made_up_199", "1");
}

static void test_large_batch(void **state)
{
	struct fixture *f = *state;
	struct lt_event **many = lt_calloc(3000, sizeof(*many));
	struct lt_batch b = {many, 3000};
	struct lt_err err;
	size_t bad;
	char name[32];

	for (int i = 0; i < 3000; i++) {
		struct lt_event *e;

		if (i % 60 == 0) {
			snprintf(name, sizeof(name), "node%d", i / 60);
			add(f, name, EPOCH, 1, "one=1 two=2 three{device}=3");
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
	struct fixture *f = *state;
	int64_t mono = 1000 * LT_NS_PER_S, wall = (T0_MS + 10) * LT_NS_PER_MS;
	uint64_t gone = counter("latido_hot_forgotten_sources_total", NULL);

	f->conf.hot.expire_ms = 60000;
	lt_clock_fake(true, mono, wall);
	restart_sink(f);
	put_one(f, "a", 1, "one=1 two=2");
	mono += 200 * LT_NS_PER_S;
	wall += 200 * LT_NS_PER_S;
	lt_clock_fake(true, mono, wall);
	tick(f);
	assert_int_equal(counter("latido_hot_forgotten_sources_total", NULL) - gone, 1);
	/* Nobody shows it as a node any more either. */
	assert_int_equal(lt_reply_int(CALL(f, "ZCARD", "latido:seen")), 0);
	f->now_ms += 200000;
	put_one(f, "a", 2, "one=1 three=3");
	assert_no_field(f, "a", "two");
	assert_field(f, "a", "three", "3");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

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
	return cmocka_run_group_tests(tests, suite_setup, suite_teardown);
}
