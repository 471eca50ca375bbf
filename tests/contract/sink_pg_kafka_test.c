/* SPDX-License-Identifier: MIT */
/* The positions in Kafka's partitions that PostgreSQL keeps: never over a hole, nothing twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above. */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/sink/sink_pg.h"
#include "../support/pg_fixture.h"

/* Puts a batch with one event without a number, which only its offset can tell from others. */
static int put(struct pg_fixture *f, struct lt_sink *s, int64_t offset, struct lt_bus_span span,
	struct lt_bus_span *gap)
{
	struct lt_bus_msg m = {.log = "t", .offset = offset, .topic = "x"};
	struct lt_event *e = pg_event(f, "dev1", 0, 0);
	struct lt_batch b = {f->events, f->n, &span, 1, gap, gap ? 1 : 0};
	struct lt_err err = {0};
	size_t bad;
	int rc;

	e->has_time = false;
	e->msg = &m;
	rc = s->ops->put(s, &b, &bad, &err);
	if (rc != LT_OK)
		assert_int_equal(err.cls, LT_CLS_RETRY);
	pg_clear(f);
	return rc;
}

static void assert_state(struct pg_fixture *f, int64_t rows, int64_t position, int64_t gaps)
{
	assert_int_equal(pg_int(f, "SELECT count(*) FROM snapshot"), rows);
	assert_int_equal(pg_int(f, "SELECT next_offset FROM kafka_progress"), position);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM gap"), gaps);
}

static int64_t stored_position(struct lt_sink *s)
{
	struct lt_bus_span part = {.log = "t"};

	assert_int_equal(s->ops->positions(s, &part, 1, NULL), LT_OK);
	return part.first;
}

static void never_over_a_hole(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);

	/* No row: reading began at the oldest, wherever that is. A batch from the middle is wrong. */
	assert_int_equal(put(f, s, 60, (struct lt_bus_span){"t", 0, 50, 100}, NULL), LT_ECONFLICT);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM kafka_progress"), 0);
	assert_int_equal(put(f, s, 60, (struct lt_bus_span){"t", 0, -1, 100}, NULL), LT_OK);
	assert_int_equal(put(f, s, 199, (struct lt_bus_span){"t", 0, 100, 200}, NULL), LT_OK);
	assert_state(f, 2, 200, 0);
	/* Set back, with the connection and what we believe in place; then after a new one. */
	pg_sql(f, "UPDATE kafka_progress SET next_offset = 100");
	assert_int_equal(
		put(f, s, 249, (struct lt_bus_span){"t", 0, 200, 250}, NULL), LT_ECONFLICT);
	assert_state(f, 2, 100, 0);
	assert_int_equal(s->ops->open(s, NULL), LT_OK);
	assert_int_equal(
		put(f, s, 249, (struct lt_bus_span){"t", 0, 200, 250}, NULL), LT_ECONFLICT);
	assert_state(f, 2, 100, 0);
	/* Read again from there. */
	assert_int_equal(stored_position(s), 100);
	assert_int_equal(put(f, s, 249, (struct lt_bus_span){"t", 0, 100, 250}, NULL), LT_OK);
	assert_state(f, 3, 250, 0);
	pg_sink_free(s);
}

/* A dead connection is noticed by a chore: the next one is asked, whatever was believed. */
static void a_new_connection_is_asked(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	uint64_t conflicts;

	assert_int_equal(put(f, s, 9, (struct lt_bus_span){"t", 0, 0, 10}, NULL), LT_OK);
	pg_sql(f, "UPDATE kafka_progress SET next_offset = 15");
	assert_int_equal(s->ops->open(s, NULL), LT_OK);
	conflicts = lt_counter_get(&lt_pg_stats.conflicts);
	assert_int_equal(put(f, s, 19, (struct lt_bus_span){"t", 0, 10, 20}, NULL), LT_OK);
	assert_state(f, 2, 20, 0);
	assert_int_equal(lt_counter_get(&lt_pg_stats.conflicts), conflicts);
	pg_sink_free(s);
}

/* The other one is ahead, and we believe the old position: only the table can tell. */
static void two_stores_in_turn(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *a = pg_sink_open(f), *b = pg_sink_open(f);
	uint64_t conflicts = lt_counter_get(&lt_pg_stats.conflicts);

	for (int64_t i = 0; i < 10; i++) {
		struct lt_bus_span span = {"t", 0, 10 * i, 10 * i + 10};

		assert_int_equal(put(f, i % 2 ? a : b, 10 * i + 9, span, NULL), LT_OK);
		assert_int_equal(put(f, i % 2 ? b : a, 10 * i + 9, span, NULL), LT_OK);
		assert_state(f, i + 1, 10 * i + 10, 0);
	}
	assert_true(lt_counter_get(&lt_pg_stats.conflicts) >= conflicts + 9);
	pg_sink_free(a);
	pg_sink_free(b);
}

static void the_log_begins_anew_once(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f), *other = pg_sink_open(f);
	struct lt_bus_span anew = {"t", 0, 1000, 6}, gap = {"t", 0, 1000, 0};

	assert_int_equal(put(f, s, 999, (struct lt_bus_span){"t", 0, 0, 1000}, NULL), LT_OK);
	assert_int_equal(put(f, s, 5, anew, &gap), LT_OK);
	assert_state(f, 2, 6, 1);
	/* The answer to COMMIT was lost: it is stored, and reading goes on at 6. */
	assert_int_equal(s->ops->open(s, NULL), LT_OK);
	assert_int_equal(put(f, s, 5, anew, &gap), LT_ECONFLICT);
	assert_state(f, 2, 6, 1);
	assert_int_equal(stored_position(s), 6);
	/* Another store went on; a zombie knows less. */
	assert_int_equal(put(f, other, 450, (struct lt_bus_span){"t", 0, 6, 500}, NULL), LT_OK);
	assert_state(f, 3, 500, 1);
	assert_int_equal(put(f, s, 5, anew, &gap), LT_ECONFLICT);
	assert_state(f, 3, 500, 1);
	assert_int_equal(put(f, s, 500, (struct lt_bus_span){"t", 0, 500, 501}, NULL), LT_OK);
	/* And ahead: a log whose start was deleted is a gap, once. */
	gap = (struct lt_bus_span){"t", 0, 501, 600};
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			put(f, s, 600, (struct lt_bus_span){"t", 0, 501, 601}, &gap), LT_OK);
		assert_int_equal(s->ops->open(s, NULL), LT_OK);
	}
	assert_state(f, 5, 601, 2);
	pg_sink_free(s);
	pg_sink_free(other);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, pg_setup, pg_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(never_over_a_hole),
		T(a_new_connection_is_asked),
		T(two_stores_in_turn),
		T(the_log_begins_anew_once),
	};

	return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
