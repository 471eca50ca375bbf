/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TESTS_REDIS_FIXTURE_H
#define LATIDO_TESTS_REDIS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above. */
#include <cmocka.h>

#include "latido/redis.h"
#include "latido/sink_redis.h"

/*
 * What tests of the Redis sink share: a server for the program on a unix socket, which a test may
 * kill and start empty, and for each test a sink, events, and the test's own eyes.
 */

#define EPOCH UINT64_C(1763700000000000)
#define T0_MS INT64_C(1763700000000)

struct rd_fixture {
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

/* cmocka's group and test fixtures; *state is a struct rd_fixture. */
int rd_group_setup(void **state);
int rd_group_teardown(void **state);
int rd_setup(void **state);
int rd_teardown(void **state);

void rd_server_start(void);
void rd_server_kill(void);
/** rd_connect_eyes() - wait until the server answers the test itself. */
void rd_connect_eyes(struct rd_fixture *f);
/** rd_call() - one command, arguments up to NULL; the reply is valid until the next call. */
const struct lt_reply *rd_call(struct rd_fixture *f, const char *first, ...);
/** rd_counter() - a counter of the sink; @labels may be NULL. */
uint64_t rd_counter(const char *name, const char *labels);

struct lt_sink *rd_sink_new(struct rd_fixture *f);
void rd_sink_free(struct lt_sink *s);
void rd_sink_open(struct rd_fixture *f);
/** rd_restart_sink() - a new sink, which knows nothing. */
void rd_restart_sink(struct rd_fixture *f);

/**
 * rd_add() - an event into the next batch
 *
 * @pairs: "name=1 other=2.5"; names may have labels as name{key} whose value is "x".
 */
struct lt_event *rd_add(
	struct rd_fixture *f, const char *source, uint64_t epoch, uint64_t seq, const char *pairs);
int rd_try_put(struct rd_fixture *f, struct lt_err *err);
/** rd_put() - put the batch, which must succeed, and clear it. */
void rd_put(struct rd_fixture *f);
/** rd_put_one() - a batch of one event in EPOCH. */
void rd_put_one(struct rd_fixture *f, const char *source, uint64_t seq, const char *pairs);
/** rd_tick() - the sink's chores. Return: ns until the next. */
int64_t rd_tick(struct rd_fixture *f);

#define CALL(f, ...)                      rd_call(f, __VA_ARGS__, (const char *)NULL)
#define TEXT(f, ...)                      lt_reply_str(CALL(f, __VA_ARGS__), NULL)
#define FIELD(f, src, field)              TEXT(f, "HGET", "latido:node:" src, field)
#define assert_field(f, src, field, want) assert_string_equal(FIELD(f, src, field), want)
#define assert_no_field(f, src, field) \
	assert_int_equal(lt_reply_int(CALL(f, "HEXISTS", "latido:node:" src, field)), 0)

#endif
