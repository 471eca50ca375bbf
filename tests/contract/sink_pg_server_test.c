/* SPDX-License-Identifier: MIT */
/*
 * The PostgreSQL sink and its server: refused, hung, killed and interrupted connections,
 * partitions, retention and migrations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above. */
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/sink/sink_pg.h"
#include "../support/pg_fixture.h"
#include "../support/private_postgres.h"
#include "latido/clock.h"

#define ROWS  "SELECT count(*) FROM snapshot"
#define DAY_S 86400

/* ---- connections ---- */

static void assert_open_fails(struct lt_sink *s, enum lt_class cls, const char *says)
{
	struct lt_err err = {0};

	assert_true(s->ops->open(s, &err) < 0);
	if (err.cls != cls || !strstr(err.msg, says))
		fail_msg("expected class %d and \"%s\", got %d: %s", cls, says, err.cls, err.msg);
}

static void test_refused(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_new(f);
	char dsn[1200];
	struct lt_err err;

	f->conf.postgres.dsn = dsn;
	snprintf(dsn, sizeof(dsn), "%s dbname=nowhere", private_postgres_dsn());
	assert_open_fails(s, LT_CLS_CONFIG, "nowhere");
	snprintf(dsn, sizeof(dsn), "%s user=nobody_here", f->dsn);
	assert_open_fails(s, LT_CLS_CONFIG, "nobody_here");
	snprintf(dsn, sizeof(dsn), "%s dbname=%s user=store", private_postgres_tcp_dsn(), f->name);
	assert_open_fails(s, LT_CLS_CONFIG, "postgres.password");
	f->conf.postgres.password = (char *)"wrong";
	assert_open_fails(s, LT_CLS_CONFIG, "28P01");
	f->conf.postgres.password = (char *)"secret";
	assert_int_equal(s->ops->open(s, &err), LT_OK);
	/* It has worked: from now on that passes. */
	f->conf.postgres.password = (char *)"wrong";
	assert_open_fails(s, LT_CLS_RETRY, "28P01");
	snprintf(dsn, sizeof(dsn), "host=/nonexistent dbname=x");
	assert_open_fails(s, LT_CLS_RETRY, "/nonexistent");
	snprintf(dsn, sizeof(dsn), "%s dbname=nowhere", private_postgres_dsn());
	assert_open_fails(s, LT_CLS_RETRY, "nowhere");
	pg_sink_free(s);
	/* A server that is not there is worth waiting for, also the first time. */
	s = pg_sink_new(f);
	snprintf(dsn, sizeof(dsn), "host=127.0.0.1 port=1 dbname=x");
	assert_open_fails(s, LT_CLS_RETRY, "127.0.0.1");
	pg_sink_free(s);
	f->conf.postgres.password = (char *)"";
}

static void test_bad_dsn(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink_pg s = {.sink.ops = &lt_sink_pg_ops};
	struct lt_err err;

	f->conf.postgres.dsn = (char *)"hots=localhost";
	assert_int_equal(lt_sink_pg_ops.init(&s.sink, &f->conf, &err), LT_ECONF);
	assert_int_equal(err.cls, LT_CLS_CONFIG);
	lt_sink_pg_ops.fini(&s.sink);
}

static void test_wrong_encoding(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_new(f);
	char sql[128], dsn[600];

	snprintf(sql, sizeof(sql),
		"CREATE DATABASE %s_latin OWNER store ENCODING 'LATIN1' LOCALE 'C' TEMPLATE "
		"template0",
		f->name);
	pg_sql(f, sql);
	snprintf(
		dsn, sizeof(dsn), "%s dbname=%s_latin user=store", private_postgres_dsn(), f->name);
	f->conf.postgres.dsn = dsn;
	assert_open_fails(s, LT_CLS_CONFIG, "UTF8");
	pg_sink_free(s);
}

static void test_no_permission(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_new(f);
	char sql[128];

	snprintf(sql, sizeof(sql), "ALTER DATABASE %s OWNER TO latido", f->name);
	pg_sql(f, sql);
	assert_open_fails(s, LT_CLS_CONFIG, "42501");
	pg_sink_free(s);
}

/* ---- trouble in the middle ---- */

static void test_statement_timeout(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	struct lt_err err;
	size_t bad;

	f->conf.postgres.timeout_ms = 200;
	assert_int_equal(s->ops->open(s, &err), LT_OK);
	pg_event(f, "node1", PG_EPOCH, 1);
	pg_sql(f, "BEGIN; LOCK TABLE snapshot");
	assert_int_equal(pg_put(f, s, &bad, &err), LT_ETIMEOUT);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	pg_sql(f, "COMMIT");
	f->conf.postgres.timeout_ms = 20000;
	assert_int_equal(s->ops->open(s, &err), LT_OK);
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, ROWS), 1);
	pg_sink_free(s);
}

/* The machine hangs: connections stay, nothing answers. */
static void test_hung_server(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	struct lt_err err;
	size_t bad;

	f->conf.postgres.timeout_ms = 100;
	assert_int_equal(s->ops->open(s, &err), LT_OK);
	private_postgres_do("pause");
	pg_event(f, "node1", PG_EPOCH, 1);
	assert_int_equal(pg_put(f, s, &bad, &err), LT_ETIMEOUT);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	assert_int_equal(s->ops->open(s, &err), LT_ETIMEOUT);
	private_postgres_do("resume");
	f->conf.postgres.timeout_ms = 20000;
	assert_int_equal(s->ops->open(s, &err), LT_OK);
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, ROWS), 1);
	pg_sink_free(s);
}

static void *interrupt_when_waiting(void *arg)
{
	struct pg_fixture *f = ((void **)arg)[0];
	struct lt_sink *s = ((void **)arg)[1];

	for (int64_t end = lt_mono_ns() + 30 * LT_NS_PER_S; lt_mono_ns() < end;)
		if (pg_int(f, "SELECT count(*) FROM pg_locks l JOIN pg_database d "
			      "ON d.oid = l.database WHERE NOT granted AND "
			      "d.datname = current_database()"))
			break;
	s->interrupt(s);
	return NULL;
}

static void test_interrupt(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	struct lt_err err;
	pthread_t t;
	size_t bad;

	pg_event(f, "node1", PG_EPOCH, 1);
	pg_sql(f, "BEGIN; LOCK TABLE snapshot");
	assert_int_equal(pthread_create(&t, NULL, interrupt_when_waiting, (void *[]){f, s}), 0);
	assert_int_equal(pg_put(f, s, &bad, &err), LT_ESTOPPED);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	pthread_join(t, NULL);
	/* It stays interrupted: nothing may block any more on the way out. */
	assert_int_equal(s->ops->open(s, &err), LT_ESTOPPED);
	pg_sql(f, "COMMIT");
	assert_int_equal(pg_int(f, ROWS), 0);
	pg_sink_free(s);
}

static void test_backend_terminated(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	struct lt_err err;
	size_t bad;

	pg_event(f, "node1", PG_EPOCH, 1);
	pg_put_ok(f, s);
	pg_event(f, "node1", PG_EPOCH, 2);
	pg_sql(f, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
		  "WHERE datname = current_database() AND pid <> pg_backend_pid()");
	assert_int_equal(pg_put(f, s, &bad, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	assert_int_equal(pg_put(f, s, &bad, &err), LT_EIO); /* not connected */
	assert_true(s->ops->tick(s, &err) < 0);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	assert_int_equal(s->ops->open(s, &err), LT_OK);
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, ROWS), 2);
	pg_sink_free(s);
}

struct killer {
	int64_t after_ns;
};

static void *kill_server(void *arg)
{
	const struct killer *k = arg;

	/* Not a wait for something: the moment of death is what varies. */
	nanosleep(&(struct timespec){.tv_nsec = k->after_ns}, NULL);
	private_postgres_do("kill");
	return NULL;
}

/* SIGKILL for the whole server at different moments of a stream; nothing is lost or doubled. */
static void test_server_killed(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	struct lt_err err;
	int64_t seq = 0;
	size_t bad;

	for (int round = 0; round < 4; round++) {
		struct killer k = {round * 7 * LT_NS_PER_MS};
		int64_t stop = 0;
		pthread_t t;

		lt_pg_close(&f->eyes);
		assert_int_equal(pthread_create(&t, NULL, kill_server, &k), 0);
		for (;;) {
			int rc;

			for (int i = 0; i < 50; i++)
				pg_event(f, "node1", PG_EPOCH, seq + 1 + i);
			rc = pg_put(f, s, &bad, &err);
			if (rc != LT_OK) {
				assert_int_equal(err.cls, LT_CLS_RETRY);
				break;
			}
			seq += 50;
			pg_clear(f);
			assert_true(++stop < 100000);
		}
		pthread_join(t, NULL);
		private_postgres_do("start");
		assert_int_equal(s->ops->open(s, &err), LT_OK);
		pg_put_ok(f, s); /* the same batch again, whether it was committed or not */
		seq += 50;
	}
	{
		char dsn[1200];
		struct lt_postgres_conf conf = {
			.dsn = dsn, .password = (char *)"", .timeout_ms = 20000};

		snprintf(dsn, sizeof(dsn), "%s dbname=%s", private_postgres_dsn(), f->name);
		assert_int_equal(lt_pg_connect(&f->eyes, &conf, &err), LT_OK);
	}
	assert_int_equal(pg_int(f, ROWS), seq);
	assert_int_equal(pg_int(f, "SELECT count(DISTINCT seq) FROM snapshot"), seq);
	assert_int_equal(pg_int(f, "SELECT upto FROM progress"), seq);
	pg_sink_free(s);
}

/* ---- partitions ---- */

static void test_partitions(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);

	assert_int_equal(pg_int(f, "SELECT count(*) FROM latido_partition"), 4);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM latido_partition p JOIN pg_class c ON "
				   "c.oid = p.partition WHERE 'toast_tuple_target=8160' = ANY "
				   "(c.reloptions) AND hi - lo = interval '1 day'"),
		4);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM pg_index i JOIN latido_partition p ON "
				   "p.partition = i.indrelid"),
		8);
	/* Late but inside retention; too late; too early; just inside. */
	pg_event(f, "node1", PG_EPOCH, 1)->time_ns -= 3 * DAY_S * LT_NS_PER_S;
	pg_event(f, "node1", PG_EPOCH, 2)->time_ns -= 8 * DAY_S * LT_NS_PER_S;
	pg_event(f, "node1", PG_EPOCH, 3)->time_ns += 3600 * LT_NS_PER_S;
	pg_event(f, "node1", PG_EPOCH, 4)->time_ns += 300 * LT_NS_PER_S;
	pg_event(f, "node1", PG_EPOCH, 5)->time_ns = 0;
	pg_event(f, "node1", PG_EPOCH, 6)->time_ns = INT64_MAX;
	pg_event(f, "node1", PG_EPOCH, 7)->time_ns = INT64_MIN + 1;
	pg_put_ok(f, s);
	assert_string_equal(
		pg_cell(f, "SELECT string_agg(seq::text, ' ' ORDER BY seq) FROM snapshot"), "1 4");
	assert_string_equal(
		pg_cell(f, "SELECT string_agg(seq::text, ' ' ORDER BY seq) FROM snapshot_stray"),
		"2 3 5 6 7");
	assert_int_equal(pg_int(f, "SELECT count(*) FROM latido_partition"), 5);
	assert_int_equal(pg_int(f, "SELECT upto FROM progress"), 7);
	/* Without retention, everything since 2000. */
	f->conf.store.retention_ms = 0;
	pg_event(f, "node1", PG_EPOCH, 8)->time_ns = INT64_C(946684800) * LT_NS_PER_S;
	pg_event(f, "node1", PG_EPOCH, 9)->time_ns = INT64_C(946684799) * LT_NS_PER_S;
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, ROWS), 3);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM snapshot_20000101"), 1);
	pg_sink_free(s);
}

/* Another store, whose clock is ahead, dropped the partition that this one knows. */
static void test_partition_gone(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);

	pg_event(f, "node1", PG_EPOCH, 1);
	pg_put_ok(f, s);
	pg_sql(f, "DO $$ DECLARE r record; BEGIN FOR r IN SELECT partition FROM latido_partition "
		  "LOOP "
		  "EXECUTE format('DROP TABLE %s', r.partition); END LOOP; END $$");
	pg_event(f, "node1", PG_EPOCH, 2);
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, ROWS), 1);
	assert_int_equal(pg_int(f, "SELECT upto FROM progress"), 2);
	pg_sink_free(s);
}

/* A partition that somebody made covers half of a day: that day's other half is stray. */
static void test_partition_overlap(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	int64_t late_s = f->now_ns / LT_NS_PER_S / DAY_S * DAY_S - 3 * DAY_S;
	char sql[200];

	snprintf(sql, sizeof(sql),
		"CREATE TABLE half PARTITION OF snapshot FOR VALUES FROM (to_timestamp(%lld)) "
		"TO (to_timestamp(%lld))",
		(long long)late_s, (long long)late_s + DAY_S / 2);
	pg_sql(f, sql);
	pg_event(f, "node1", PG_EPOCH, 1)->time_ns = (late_s + DAY_S - 1) * LT_NS_PER_S;
	pg_put_ok(f, s);
	pg_event(f, "node1", PG_EPOCH, 2)->time_ns = (late_s + 1) * LT_NS_PER_S;
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, "SELECT seq FROM snapshot_stray"), 1);
	assert_int_equal(pg_int(f, "SELECT seq FROM snapshot"), 2);
	pg_sink_free(s);
}

/* Chores until @sql is @want. */
static void tick_until(struct pg_fixture *f, struct lt_sink *s, const char *sql, int64_t want)
{
	struct lt_err err = {0};
	int64_t now_ns = lt_mono_ns(), wait;

	for (int i = 0; i < 100; i++) {
		wait = s->ops->tick(s, &err);
		if (wait < 0)
			fail_msg("tick: %s", err.msg);
		if (pg_int(f, sql) == want)
			break;
		now_ns += wait;
		lt_clock_fake(true, now_ns, f->now_ns);
	}
	lt_clock_fake(false, 0, 0);
	assert_int_equal(pg_int(f, sql), want);
}

static void test_retention(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);

	/* As the store's role: it drops only what it owns. */
	pg_sql(f, "SET ROLE store");
	pg_sql(f, "SELECT latido_partition_create(d::date) FROM generate_series("
		  "now() at time zone 'utc' - interval '12 days', now() at time zone 'utc', "
		  "interval '1 day') d");
	assert_int_equal(pg_int(f, "SELECT count(*) FROM latido_partition"), 16);
	/* Kept by hand, and left by a crash between DETACH and DROP. */
	pg_sql(f, "DO $$ DECLARE t text; BEGIN "
		  "SELECT partition INTO t FROM latido_partition ORDER BY lo LIMIT 1; "
		  "EXECUTE format('ALTER TABLE snapshot DETACH PARTITION %s', t); "
		  "EXECUTE format('ALTER TABLE %s RENAME TO snapshot_kept', t); END $$");
	pg_sql(f, "CREATE TABLE snapshot_20200101 (LIKE snapshot); "
		  "COMMENT ON TABLE snapshot_20200101 IS 'latido: expired'");
	tick_until(f, s, "SELECT count(*) FROM latido_partition", 11);
	tick_until(f, s, "SELECT count(*) FROM pg_class WHERE relname = 'snapshot_20200101'", 0);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM latido_partition WHERE hi <= now() - "
				   "interval '7 days'"),
		0);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM snapshot_kept"), 0);
	/* Nothing without retention. */
	f->conf.store.retention_ms = 0;
	pg_sql(f, "SELECT latido_partition_create('2001-01-01')");
	tick_until(f, s, "SELECT count(*) FROM latido_partition", 12);
	pg_sink_free(s);
}

/* A reader of the expired partition keeps it for a while, and ingestion does not wait for it. */
static void test_retention_and_a_reader(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s;
	struct lt_pg reader = {.interrupt_fd = -1};
	struct lt_err err;
	int64_t wait;

	f->conf.store.retention_ms = 0;
	s = pg_sink_open(f);
	pg_sql(f, "SET ROLE store");
	pg_sql(f, "SELECT latido_partition_create('2020-01-01')");
	f->conf.store.retention_ms = INT64_C(7) * 86400000;
	assert_int_equal(lt_pg_connect(&reader, &f->conf.postgres, &err), LT_OK);
	assert_int_equal(
		lt_pg_exec(&reader, "BEGIN; SELECT count(*) FROM snapshot_20200101", &err), LT_OK);
	wait = s->ops->tick(s, &err);
	assert_true(wait >= 0);
	pg_event(f, "node1", PG_EPOCH, 1);
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, ROWS), 1);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM latido_partition WHERE detaching"), 1);
	assert_int_equal(lt_pg_exec(&reader, "COMMIT", &err), LT_OK);
	lt_pg_close(&reader);
	tick_until(f, s, "SELECT count(*) FROM pg_class WHERE relname = 'snapshot_20200101'", 0);
	pg_sink_free(s);
}

/* The clock leaps by years while the store runs: it must not take the data with it. */
static void test_retention_and_a_leaping_clock(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	struct lt_err err;
	int64_t mono_ns = lt_mono_ns();

	f->conf.store.retention_ms = 0;
	pg_sql(f, "SET ROLE store");
	pg_sql(f, "SELECT latido_partition_create(current_date - 6)");
	f->conf.store.retention_ms = INT64_C(7) * 86400000;
	assert_true(s->ops->tick(s, &err) >= 0);
	for (int i = 0; i < 5; i++) {
		mono_ns += 3600 * LT_NS_PER_S;
		lt_clock_fake(true, mono_ns, f->now_ns + 1000 * DAY_S * LT_NS_PER_S);
		assert_true(s->ops->tick(s, &err) >= 0);
	}
	lt_clock_fake(false, 0, 0);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM latido_partition WHERE hi < now()"), 1);
	pg_sink_free(s);
}

static void test_hourly_chores(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);

	pg_event(f, "node1", PG_EPOCH, 1)->time_ns = 0;
	pg_event(f, "node1", PG_EPOCH, 4);
	pg_event(f, "node1", PG_EPOCH, 6);
	pg_event(f, "node1", PG_EPOCH + 1, 3);
	pg_put_ok(f, s);
	pg_sql(f, "UPDATE snapshot_stray SET arrived = now() - interval '8 days'");
	pg_sql(f, "UPDATE progress SET changed = now() - interval '25 hours'");
	tick_until(f, s, "SELECT count(*) FROM snapshot_stray", 0);
	/* The replaced epoch's holes are final, the newest one's are not. */
	assert_string_equal(
		pg_cell(f, "SELECT string_agg(kind || lo || '-' || hi, ',' ORDER BY lo) FROM gap"),
		"replaced2-3,replaced5-5");
	assert_string_equal(
		pg_cell(f, "SELECT string_agg(upto || above::text, ' ' ORDER BY epoch_id) "
			   "FROM progress"),
		"6{} 0{[3,4)}");
	/* This store's idea of it is old now, which it finds out. */
	pg_event(f, "node1", PG_EPOCH, 5);
	pg_event(f, "node1", PG_EPOCH, 7);
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, ROWS), 4);
	pg_sink_free(s);
}

/* ---- migrations ---- */

static const struct lt_migration one[] = {{1, "0001_one.sql", "CREATE TABLE one (a int);", 25}};
static const struct lt_migration two[] = {{1, "0001_one.sql", "CREATE TABLE one (a int);", 25},
	{2, "0002_two.sql", "CREATE TABLE two (a int); INSERT INTO two VALUES (1);", 53}};
static const struct lt_migration changed[] = {{1, "0001_one.sql", "CREATE TABLE one (b int);", 25}};
static const struct lt_migration broken[] = {{1, "0001_one.sql", "CREATE TABLE one (a int);", 25},
	{2, "0002_broken.sql", "CREATE TABLE two (a int); SELECT nonsense;", 42}};

static void assert_refused(
	struct pg_fixture *f, const struct lt_migration *list, size_t n, const char *says)
{
	struct lt_err err = {0};

	assert_true(lt_pg_migrate(&f->conf, list, n, NULL, &err) < 0);
	assert_int_equal(err.cls, LT_CLS_CONFIG);
	if (!strstr(err.msg, says))
		fail_msg("expected \"%s\": %s", says, err.msg);
}

static void test_migrations(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_err err = {0};
	size_t applied = 9;

	assert_int_equal(lt_pg_migrate(&f->conf, one, 1, &applied, &err), LT_OK);
	assert_int_equal(applied, 1);
	assert_int_equal(lt_pg_migrate(&f->conf, one, 1, &applied, &err), LT_OK);
	assert_int_equal(applied, 0);
	assert_refused(f, changed, 1, "0001_one.sql was changed");
	assert_refused(f, broken, 2, "0002_broken.sql");
	assert_int_equal(pg_int(f, "SELECT count(*) FROM pg_class WHERE relname = 'two'"), 0);
	assert_int_equal(lt_pg_migrate(&f->conf, two, 2, &applied, &err), LT_OK);
	assert_int_equal(applied, 1);
	assert_refused(f, one, 1, "0002_two.sql");
	assert_string_equal(pg_cell(f, "SELECT string_agg(version || name, ' ' ORDER BY version) "
				       "FROM schema_migration"),
		"10001_one.sql 20002_two.sql");
}

static void test_schema_behind(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_new(f);
	struct lt_err err = {0};
	size_t n;
	const struct lt_migration *list = lt_migrations(&n);

	f->conf.store.migrate = false;
	assert_open_fails(s, LT_CLS_CONFIG, "latido-store --migrate");
	assert_int_equal(lt_pg_migrate(&f->conf, list, n, NULL, &err), LT_OK);
	assert_int_equal(s->ops->open(s, &err), LT_OK);
	pg_sink_free(s);
}

static void *migrate(void *arg)
{
	void **a = arg;
	struct pg_fixture *f = a[0];
	struct lt_err *err = a[1];

	return lt_pg_migrate(&f->conf, NULL, 0, a[2], err) == LT_OK ? NULL : err;
}

static void test_migrate_at_once(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_err errs[4] = {{0}};
	size_t applied[4] = {0}, n, sum = 0;
	void *args[4][3], *failed;
	pthread_t threads[4];

	lt_migrations(&n);
	for (size_t i = 0; i < LT_ARRAY_LEN(threads); i++) {
		args[i][0] = f;
		args[i][1] = &errs[i];
		args[i][2] = &applied[i];
		assert_int_equal(pthread_create(&threads[i], NULL, migrate, args[i]), 0);
	}
	for (size_t i = 0; i < LT_ARRAY_LEN(threads); i++) {
		pthread_join(threads[i], &failed);
		if (failed)
			fail_msg("%s", errs[i].msg);
		sum += applied[i];
	}
	assert_int_equal(sum, n);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM schema_migration"), n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refused, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_bad_dsn, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_wrong_encoding, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_no_permission, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_statement_timeout, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_hung_server, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_interrupt, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_backend_terminated, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_server_killed, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_partitions, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_partition_gone, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_partition_overlap, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_retention, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_retention_and_a_reader, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(
			test_retention_and_a_leaping_clock, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_hourly_chores, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_migrations, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_schema_behind, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_migrate_at_once, pg_setup, pg_teardown),
	};

	return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
