/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TESTS_PG_FIXTURE_H
#define LATIDO_TESTS_PG_FIXTURE_H

#include <stdarg.h>
#include <stdint.h>

#include "../../lib/sink/pg_conn.h"
#include "latido/sink_pg.h"

/*
 * What tests of the PostgreSQL sink share: a server for the program, and for each test a database
 * that belongs to the ordinary role "store", a configuration, events, and the test's own eyes.
 */

#define PG_EPOCH INT64_C(1763700000000000)

struct pg_fixture {
	char name[32];
	char dsn[600];
	struct lt_config conf;
	struct lt_pg eyes; /* superuser, in the same database */
	struct lt_shapes *shapes;
	struct lt_snapshot *builder;
	struct lt_shape *shape; /* two series: test_a, test_b{x="1"} */
	struct lt_arena arena;
	struct lt_event *events[6000];
	size_t n;
	int64_t now_ns;
};

/* cmocka's group and test fixtures; *state is a struct pg_fixture. */
int pg_group_setup(void **state);
int pg_group_teardown(void **state);
int pg_setup(void **state);
int pg_teardown(void **state);

struct lt_sink *pg_sink_new(struct pg_fixture *f);
struct lt_sink *pg_sink_open(struct pg_fixture *f);
void pg_sink_free(struct lt_sink *s);

/** pg_shape() - @names: metric names that end with NULL; one more reference for the fixture. */
struct lt_shape *pg_shape(struct pg_fixture *f, const char *const *names);
/** pg_event() - append an event to the batch; time: now, values 1, 2, ... */
struct lt_event *pg_event(struct pg_fixture *f, const char *source, int64_t epoch, int64_t seq);
/** pg_clear() - an empty batch. */
void pg_clear(struct pg_fixture *f);
int pg_put(struct pg_fixture *f, struct lt_sink *s, size_t *bad, struct lt_err *err);
/** pg_put_ok() - put the batch, which must succeed, and clear it. */
void pg_put_ok(struct pg_fixture *f, struct lt_sink *s);

/** pg_int() - the one number that a query returns; fails the test when it does not. */
int64_t pg_int(struct pg_fixture *f, const char *sql);
/** pg_cell() - the one text; valid until the next call. */
const char *pg_cell(struct pg_fixture *f, const char *sql);
void pg_sql(struct pg_fixture *f, const char *sql);

#endif
