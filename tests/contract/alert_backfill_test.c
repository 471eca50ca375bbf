/* SPDX-License-Identifier: MIT */
/* What latido-alert reads from PostgreSQL, and how it waits for what latido-store has not got yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above. */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/alert/backfill_int.h"
#include "../support/pg_fixture.h"
#include "latido/clock.h"
#include "latido/log.h"

#define MINUTE_NS (60 * LT_NS_PER_S)
#define STEPS_MAX 100
#define HEARD_MS  1000

struct job {
	struct pg_fixture *f;
	struct lt_sink *store;
	struct backfill_work work;
	struct lt_backfill_info info;
	struct lt_pg pg;
	int64_t now_ms;
	int64_t mono_ns, wall_ns; /* when it began to wait */
	size_t samples;           /* of test_a, of the last pass */
	double first, last;       /* of these */
	size_t n_labels;
};

/* Events of n1, a minute apart; number 10 is the first one that was heard. */
static void put(struct job *j, int64_t from, int64_t to)
{
	for (int64_t seq = from; seq <= to; seq++) {
		struct lt_event *e = pg_event(j->f, "n1", PG_EPOCH, seq);

		e->time_ns = (j->now_ms + HEARD_MS) * LT_NS_PER_MS - (10 - seq) * MINUTE_NS;
		((double *)e->values)[0] = (double)seq;
	}
	pg_put_ok(j->f, j->store);
}

static void begin(struct job *j, struct pg_fixture *f)
{
	struct lt_backfill_job *job = lt_calloc(1, sizeof(*job));

	*j = (struct job){.f = f, .now_ms = f->now_ns / LT_NS_PER_MS};
	f->conf.alert.max_points = 1000;
	j->store = pg_sink_open(f);
	j->pg.interrupt_fd = -1;
	j->work = (struct backfill_work){.conf = &f->conf, .info = &j->info};
	job->exprs = lt_calloc(1, sizeof(*job->exprs));
	job->exprs[job->n_exprs++] = lt_strdup("max_over_time(test_a[1h]) > 5");
	job->sources = lt_calloc(1, sizeof(*job->sources));
	job->sources[job->n_sources++] = (struct lt_backfill_source){.name = lt_strdup("n1"),
		.until_ms = j->now_ms,
		.shift_ms = -7,
		.epoch = PG_EPOCH,
		.seq = 9};
	job->now_ms = job->until_ms = j->now_ms;
	job->shortest_ms = 300000;
	backfill_begin(&j->work, job);
}

static void end(struct job *j)
{
	lt_clock_fake(false, 0, 0);
	backfill_end(&j->work);
	lt_pg_close(&j->pg);
	pg_sink_free(j->store);
}

static void take(struct job *j, struct lt_backfill_chunk *c)
{
	if (!c)
		return;
	assert_int_equal(c->n, 1);
	assert_int_equal(c->series[0].n_labels, 3);
	for (size_t i = 0; i < c->series[0].n; i++) {
		int64_t minutes = 10 - (int64_t)c->series[0].v[i];

		assert_int_equal(c->series[0].t_ms[i], j->now_ms + HEARD_MS - minutes * 60000 - 7);
	}
	j->samples = c->series[0].n;
	j->first = c->series[0].v[0];
	j->last = c->series[0].v[c->series[0].n - 1];
	lt_backfill_chunk_free(c);
}

/* Until it waits or is done. */
static int run(struct job *j)
{
	int rc = BACKFILL_MORE;

	j->samples = 0;
	for (int i = 0; rc == BACKFILL_MORE && i < STEPS_MAX; i++) {
		struct lt_backfill_chunk *c;
		struct lt_err err = {0};

		rc = backfill_step(&j->work, &j->pg, &c, &err);
		take(j, c);
		if (rc < 0)
			fail_msg("%s", err.msg);
	}
	return rc;
}

/* What is there at once, and all of it when the store has what came before number 10. */
static void test_waits_for_the_store(void **state)
{
	struct job j;

	begin(&j, *state);
	put(&j, 1, 3);
	put(&j, 10, 10);
	assert_int_equal(run(&j), BACKFILL_WAIT);
	assert_int_equal(j.samples, 3);
	assert_int_equal(lt_gauge_get(&j.info.waiting), 1);
	assert_int_equal(run(&j), BACKFILL_WAIT);
	assert_int_equal(j.samples, 0);
	put(&j, 6, 9); /* there is still a hole */
	assert_int_equal(run(&j), BACKFILL_WAIT);
	assert_int_equal(j.samples, 0);
	put(&j, 4, 5);
	assert_int_equal(run(&j), BACKFILL_DONE);
	assert_int_equal(j.samples, 9);
	assert_true(j.first == 1 && j.last == 9);
	assert_int_equal(lt_gauge_get(&j.info.waiting), 0);
	end(&j);
}

static void test_nothing_to_wait_for(void **state)
{
	struct job j;

	begin(&j, *state);
	put(&j, 1, 9);
	assert_int_equal(run(&j), BACKFILL_DONE);
	assert_int_equal(j.samples, 9);
	end(&j);
}

static void begin_to_wait(struct job *j, struct pg_fixture *f)
{
	begin(j, f);
	put(j, 1, 2);
	put(j, 10, 10);
	assert_int_equal(run(j), BACKFILL_WAIT);
	j->mono_ns = lt_mono_ns();
	j->wall_ns = lt_wall_ns();
}

static void pass(const struct job *j, int64_t minutes)
{
	lt_clock_fake(true, j->mono_ns + minutes * MINUTE_NS, j->wall_ns + minutes * MINUTE_NS);
}

/* A store that brings nothing is not waited for longer than five minutes; what it brings prolongs that. */
static void test_waiting_ends(void **state)
{
	struct job j;

	begin_to_wait(&j, *state);
	pass(&j, 4);
	put(&j, 3, 4);
	assert_int_equal(run(&j), BACKFILL_WAIT);
	pass(&j, 8);
	assert_int_equal(run(&j), BACKFILL_WAIT);
	assert_int_equal(j.samples, 0);
	put(&j, 6, 6);
	pass(&j, 10);
	assert_int_equal(run(&j), BACKFILL_DONE);
	assert_int_equal(j.samples, 5); /* what is there */
	assert_true(j.last == 6);
	end(&j);
}

/* While PostgreSQL was away the store could bring nothing. */
static void test_postgres_was_away(void **state)
{
	struct job j;

	begin_to_wait(&j, *state);
	lt_pg_close(&j.pg);
	pass(&j, 10);
	assert_int_equal(run(&j), BACKFILL_WAIT);
	put(&j, 3, 9);
	assert_int_equal(run(&j), BACKFILL_DONE);
	assert_int_equal(j.samples, 9);
	end(&j);
}

/* Who was allowed less than that by an earlier release gets what is there. */
static void test_progress_may_not_be_read(void **state)
{
	struct job j;

	begin(&j, *state);
	put(&j, 1, 3);
	put(&j, 10, 10);
	pg_sql(j.f, "REVOKE SELECT ON progress FROM store");
	assert_int_equal(run(&j), BACKFILL_DONE);
	assert_int_equal(j.samples, 3);
	assert_int_equal(lt_gauge_get(&j.info.waiting), 0);
	pg_sql(j.f, "GRANT SELECT ON progress TO store");
	end(&j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_waits_for_the_store, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_nothing_to_wait_for, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_waiting_ends, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_postgres_was_away, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(
			test_progress_may_not_be_read, pg_setup, pg_teardown),
	};

	lt_log_set_level(LT_ERROR);
	return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
