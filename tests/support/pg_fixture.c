/* SPDX-License-Identifier: MIT */
#include "pg_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "private_postgres.h"

static struct lt_postgres_conf admin_conf(const char *database, char *dsn, size_t size)
{
	snprintf(dsn, size, "%s dbname=%s", private_postgres_dsn(), database);
	return (struct lt_postgres_conf){.dsn = dsn, .password = (char *)"", .timeout_ms = 30000};
}

static void admin(const char *database, const char *fmt, const char *name)
{
	char dsn[600], *sql = lt_asprintf("%s%s", fmt, name);
	struct lt_postgres_conf conf = admin_conf(database, dsn, sizeof(dsn));
	struct lt_pg pg = {.interrupt_fd = -1};
	struct lt_err err = {0};

	if (lt_pg_connect(&pg, &conf, &err) || lt_pg_exec(&pg, sql, &err))
		fail_msg("%s: %s", sql, err.msg);
	lt_pg_close(&pg);
	free(sql);
}

int pg_group_setup(void **state)
{
	(void)state;
	lt_log_set_level(LT_ERROR);
	if (private_postgres_start())
		return -1;
	admin("postgres", "CREATE ROLE store LOGIN PASSWORD 'secret'", "");
	return 0;
}

int pg_group_teardown(void **state)
{
	(void)state;
	private_postgres_stop();
	return 0;
}

int pg_setup(void **state)
{
	static unsigned count;
	static const char *const names[] = {"test_a", "test_b", NULL};
	struct pg_fixture *f = lt_calloc(1, sizeof(*f));
	char dsn[600];
	struct lt_postgres_conf eyes;
	struct lt_err err = {0};

	snprintf(f->name, sizeof(f->name), "t%u OWNER store", ++count);
	admin("postgres", "CREATE DATABASE ", f->name);
	*strchr(f->name, ' ') = '\0';
	snprintf(
		f->dsn, sizeof(f->dsn), "%s dbname=%s user=store", private_postgres_dsn(), f->name);
	f->conf.postgres.dsn = f->dsn;
	f->conf.postgres.password = (char *)"";
	f->conf.postgres.timeout_ms = 20000;
	f->conf.limits.max_ahead_ms = 600000;
	f->conf.store.retention_ms = INT64_C(7) * 86400000;
	f->conf.store.partitions_ahead = 3;
	f->conf.store.migrate = true;
	eyes = admin_conf(f->name, dsn, sizeof(dsn));
	f->eyes.interrupt_fd = -1;
	if (lt_pg_connect(&f->eyes, &eyes, &err))
		fail_msg("%s", err.msg);
	pg_sql(f, "RESET enable_hashjoin; RESET enable_mergejoin"); /* plans as users get them */
	f->shapes = lt_shapes_new(64 << 20, 200000);
	f->builder = lt_snapshot_new(200000);
	f->shape = pg_shape(f, names);
	f->now_ns = lt_wall_ns();
	*state = f;
	return 0;
}

int pg_teardown(void **state)
{
	struct pg_fixture *f = *state;

	pg_clear(f);
	lt_shape_put(f->shape);
	lt_snapshot_free(f->builder);
	lt_shapes_free(f->shapes);
	lt_arena_fini(&f->arena);
	lt_pg_close(&f->eyes);
	free(f);
	return 0;
}

struct lt_sink *pg_sink_new(struct pg_fixture *f)
{
	struct lt_sink *s = lt_calloc(1, lt_sink_pg_ops.size);
	struct lt_err err = {0};

	s->ops = &lt_sink_pg_ops;
	if (s->ops->init(s, &f->conf, &err))
		fail_msg("init: %s", err.msg);
	return s;
}

struct lt_sink *pg_sink_open(struct pg_fixture *f)
{
	struct lt_sink *s = pg_sink_new(f);
	struct lt_err err = {0};

	if (s->ops->open(s, &err))
		fail_msg("open: %s", err.msg);
	return s;
}

void pg_sink_free(struct lt_sink *s)
{
	s->ops->fini(s);
	free(s);
}

struct lt_shape *pg_shape(struct pg_fixture *f, const char *const *names)
{
	struct lt_event e = {0};
	struct lt_err err = {0};
	struct lt_shape *s;

	lt_snapshot_begin(f->builder);
	for (; *names; names++) {
		if (!strcmp(*names, "test_b")) {
			lt_snapshot_family(
				f->builder, *names, LT_KIND_COUNTER, (const char *const[]){"x"}, 1);
			lt_snapshot_row(f->builder, (const char *const[]){"1"}, 0);
		} else {
			lt_snapshot_value(f->builder, *names, LT_KIND_GAUGE, 0);
		}
	}
	if (lt_snapshot_event(f->builder, &e, &err))
		fail_msg("shape: %s", err.msg);
	s = lt_shapes_intern(f->shapes, e.shape->bytes, e.shape->size, &err);
	if (!s)
		fail_msg("shape: %s", err.msg);
	return s;
}

struct lt_event *pg_event(struct pg_fixture *f, const char *source, int64_t epoch, int64_t seq)
{
	struct lt_event *e = lt_arena_alloc(&f->arena, sizeof(*e));
	uint32_t n = f->shape->n_series;
	double *values = lt_arena_alloc(&f->arena, n * sizeof(*values) + 8);

	for (uint32_t i = 0; i < n; i++)
		values[i] = i + 1;
	*e = (struct lt_event){
		.source = lt_arena_str(&f->arena, source, strlen(source)),
		.stream = "",
		.epoch = (uint64_t)epoch,
		.seq = (uint64_t)seq,
		.time_ns = f->now_ns + seq * LT_NS_PER_MS,
		.has_time = true,
		.shape = f->shape,
		.values = (const uint8_t *)values,
		.n = n,
		.arrived_ns = f->now_ns,
	};
	assert_true(f->n < LT_ARRAY_LEN(f->events));
	f->events[f->n++] = e;
	return e;
}

void pg_clear(struct pg_fixture *f)
{
	f->n = 0;
	lt_arena_reset(&f->arena);
}

int pg_put(struct pg_fixture *f, struct lt_sink *s, size_t *bad, struct lt_err *err)
{
	struct lt_batch b = {f->events, f->n};

	memset(err, 0, sizeof(*err));
	return s->ops->put(s, &b, bad, err);
}

void pg_put_ok(struct pg_fixture *f, struct lt_sink *s)
{
	struct lt_err err;
	size_t bad;

	if (pg_put(f, s, &bad, &err))
		fail_msg("put: %s: %s", err.op, err.msg);
	pg_clear(f);
}

static struct pg_result *one(struct pg_fixture *f, const char *sql)
{
	struct pg_result *r = NULL;
	struct lt_err err = {0};

	/* Prepared statements are found by address, and a test's texts may share one. */
	f->eyes.n_stmts = LT_PG_STMTS;
	memset(f->eyes.stmts, 0, sizeof(f->eyes.stmts));
	if (lt_pg_query(&f->eyes, sql, NULL, 0, &r, &err))
		fail_msg("%s: %s", sql, err.msg);
	if (lt_pg_rows(r) != 1)
		fail_msg("%s: %zu rows", sql, lt_pg_rows(r));
	return r;
}

int64_t pg_int(struct pg_fixture *f, const char *sql)
{
	struct pg_result *r = one(f, sql);
	int64_t v = lt_pg_int(r, 0, 0);

	lt_pg_result_free(r);
	return v;
}

const char *pg_cell(struct pg_fixture *f, const char *sql)
{
	static char text[1024];
	struct pg_result *r = one(f, sql);

	snprintf(text, sizeof(text), "%s", lt_pg_bytes(r, 0, 0, NULL));
	lt_pg_result_free(r);
	return text;
}

void pg_sql(struct pg_fixture *f, const char *sql)
{
	struct lt_err err = {0};

	if (lt_pg_exec(&f->eyes, sql, &err))
		fail_msg("%s: %s", sql, err.msg);
}
