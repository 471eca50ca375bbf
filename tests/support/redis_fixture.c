/* SPDX-License-Identifier: MIT */
#include "redis_fixture.h"

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

/* ---- the server ---- */

static struct {
	char folder[64], socket[96];
	pid_t pid;
} server;

void rd_server_start(void)
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

void rd_server_kill(void)
{
	if (server.pid <= 0)
		return;
	kill(server.pid, SIGKILL);
	waitpid(server.pid, NULL, 0);
	server.pid = 0;
}

int rd_group_setup(void **state)
{
	(void)state;
	strcpy(server.folder, "/tmp/latido-redis-XXXXXX");
	assert_non_null(mkdtemp(server.folder));
	snprintf(server.socket, sizeof(server.socket), "%s/redis.sock", server.folder);
	rd_server_start();
	return 0;
}

int rd_group_teardown(void **state)
{
	(void)state;
	rd_server_kill();
	unlink(server.socket);
	rmdir(server.folder);
	return 0;
}

/* ---- one test's sink ---- */

void rd_connect_eyes(struct rd_fixture *f)
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

struct lt_sink *rd_sink_new(struct rd_fixture *f)
{
	struct lt_sink *s = lt_calloc(1, lt_sink_redis_ops.size);
	struct lt_err err;

	s->ops = &lt_sink_redis_ops;
	if (s->ops->init(s, &f->conf, &err) != LT_OK)
		fail_msg("init: %s", err.msg);
	return s;
}

void rd_sink_free(struct lt_sink *s)
{
	s->ops->fini(s);
	free(s);
}

void rd_sink_open(struct rd_fixture *f)
{
	struct lt_err err;

	if (f->sink->ops->open(f->sink, &err) != LT_OK)
		fail_msg("open: %s", err.msg);
}

const struct lt_reply *rd_call(struct rd_fixture *f, const char *first, ...)
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

uint64_t rd_counter(const char *name, const char *labels)
{
	for (size_t i = 0; i < lt_sink_redis_stats_n; i++) {
		const struct lt_stat *s = &lt_sink_redis_stats[i];

		if (!strcmp(s->name, name) && (!labels || !strcmp(s->labels, labels)))
			return lt_counter_get(s->p);
	}
	fail_msg("no counter %s", name);
	return 0;
}

int rd_setup(void **state)
{
	struct rd_fixture *f = lt_calloc(1, sizeof(*f));

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
		rd_server_start();
	rd_connect_eyes(f);
	CALL(f, "FLUSHALL");
	f->shapes = lt_shapes_new(1 << 20, 1000);
	f->sink = rd_sink_new(f);
	rd_sink_open(f);
	*state = f;
	return 0;
}

static void rd_clear(struct rd_fixture *f)
{
	for (size_t i = 0; i < f->n; i++)
		lt_shape_put(f->events[i]->shape);
	f->n = 0;
	lt_arena_reset(&f->arena);
}

int rd_teardown(void **state)
{
	struct rd_fixture *f = *state;

	lt_clock_fake(false, 0, 0);
	rd_call(f, NULL);
	rd_clear(f);
	rd_sink_free(f->sink);
	lt_shapes_free(f->shapes);
	lt_arena_fini(&f->arena);
	lt_redis_cmd_fini(&f->cmd);
	lt_redis_free(f->redis);
	free(f);
	return 0;
}

struct lt_event *rd_add(
	struct rd_fixture *f, const char *source, uint64_t epoch, uint64_t seq, const char *pairs)
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

int rd_try_put(struct rd_fixture *f, struct lt_err *err)
{
	struct lt_batch b = {f->events, f->n};
	size_t bad = 0;

	return f->sink->ops->put(f->sink, &b, &bad, err);
}

void rd_put(struct rd_fixture *f)
{
	struct lt_err err;

	if (rd_try_put(f, &err) != LT_OK)
		fail_msg("put: %s", err.msg);
	rd_clear(f);
}

void rd_put_one(struct rd_fixture *f, const char *source, uint64_t seq, const char *pairs)
{
	rd_add(f, source, EPOCH, seq, pairs);
	rd_put(f);
}

int64_t rd_tick(struct rd_fixture *f)
{
	struct lt_err err;
	int64_t ns = f->sink->ops->tick(f->sink, &err);

	if (ns < 0)
		fail_msg("tick: %s", err.msg);
	return ns;
}

void rd_restart_sink(struct rd_fixture *f)
{
	rd_sink_free(f->sink);
	f->sink = rd_sink_new(f);
	rd_sink_open(f);
}
