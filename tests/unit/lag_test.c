/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../lib/consumer/lag.h"
#include "latido/clock.h"

/* How far a consumer is behind: times are made up, so that none passes by itself. */

#define S        LT_NS_PER_S
#define WALL     (INT64_C(1700000000) * S) /* wall clock at mono 0 */
#define AT(mono) (WALL + (mono)), (mono)

static void nothing_published_is_nothing_behind(void **state)
{
	struct lt_lag l;

	(void)state;
	lt_lag_init(&l, 0, true);
	assert_int_equal(lt_lag_ns(&l, 0, AT(0)), 0);
	assert_int_equal(lt_lag_ns(&l, 0, AT(3600 * S)), 0);
	/* what was finished last counts for a while, then not any more */
	lt_lag_done(&l, WALL + 3600 * S, AT(3607 * S));
	assert_int_equal(lt_lag_ns(&l, 0, AT(3608 * S)), 7 * S);
	assert_int_equal(lt_lag_ns(&l, 0, AT(3621 * S)), 7 * S);
	assert_int_equal(lt_lag_ns(&l, 0, AT(3622 * S)), 0);
	/* a batch without events (dead letters alone) says nothing */
	lt_lag_done(&l, 0, AT(4000 * S));
	assert_int_equal(lt_lag_ns(&l, 0, AT(4000 * S)), 0);
}

static void the_oldest_inside_grows_older(void **state)
{
	struct lt_lag l;

	(void)state;
	lt_lag_init(&l, 0, true);
	assert_int_equal(lt_lag_ns(&l, WALL + 10 * S, AT(10 * S)), 0);
	assert_int_equal(lt_lag_ns(&l, WALL + 10 * S, AT(100 * S)), 90 * S);
	/* a clock that was set back shows nothing negative */
	assert_int_equal(lt_lag_ns(&l, WALL + 200 * S, AT(100 * S)), 0);
	lt_lag_done(&l, WALL + 200 * S, AT(100 * S));
	assert_int_equal(lt_lag_ns(&l, 0, AT(100 * S)), 0);
}

static void figures_of_ours_that_do_not_come_back(void **state)
{
	struct lt_lag l;

	(void)state;
	lt_lag_init(&l, 10000, true);
	for (int i = 1; i <= 5; i++)
		lt_lag_sent(&l, WALL + i * 10 * S);
	assert_int_equal(lt_lag_ns(&l, 0, AT(55 * S)), 45 * S);
	/* somebody else's, with the same name */
	assert_false(lt_lag_came(&l, WALL + 25 * S));
	assert_int_equal(lt_lag_ns(&l, 0, AT(55 * S)), 45 * S);
	/* the third comes: those before it are lost */
	assert_true(lt_lag_came(&l, WALL + 30 * S));
	assert_false(lt_lag_came(&l, WALL + 20 * S));
	assert_int_equal(lt_lag_ns(&l, WALL + 30 * S, AT(55 * S)), 25 * S);
	lt_lag_done(&l, WALL + 30 * S, AT(60 * S));
	assert_int_equal(lt_lag_ns(&l, 0, AT(60 * S)), 30 * S); /* as long as that one took */
	assert_int_equal(lt_lag_ns(&l, 0, AT(75 * S)), 35 * S); /* the fourth */
	assert_true(lt_lag_came(&l, WALL + 50 * S));
	lt_lag_done(&l, WALL + 50 * S, AT(75 * S));
	assert_int_equal(lt_lag_ns(&l, 0, AT(94 * S)), 25 * S); /* twice the interval */
	assert_int_equal(lt_lag_ns(&l, 0, AT(95 * S)), 0);
	lt_lag_sent(&l, WALL + 95 * S);
	lt_lag_lost(&l);
	assert_int_equal(lt_lag_ns(&l, 0, AT(200 * S)), 0);
}

/* In a group on Kafka somebody else may get them: only those that come say something. */
static void in_a_group_they_need_not_come_back(void **state)
{
	struct lt_lag l;

	(void)state;
	lt_lag_init(&l, 10000, false);
	for (int i = 1; i <= 200; i++)
		lt_lag_sent(&l, WALL + i * 10 * S);
	assert_int_equal(lt_lag_ns(&l, 0, AT(2000 * S)), 0);
	lt_lag_sent(&l, WALL + 2010 * S);
	assert_true(lt_lag_came(&l, WALL + 2010 * S));
	lt_lag_done(&l, WALL + 2010 * S, AT(2040 * S));
	assert_int_equal(lt_lag_ns(&l, 0, AT(2050 * S)), 30 * S);
	assert_int_equal(lt_lag_ns(&l, 0, AT(2060 * S)), 0);
}

static void a_long_row_keeps_its_oldest(void **state)
{
	struct lt_lag l;

	(void)state;
	lt_lag_init(&l, 1000, true);
	for (int i = 1; i <= 10000; i++) {
		lt_lag_sent(&l, WALL + i * S);
		assert_true(l.n_sent <= LT_LAG_SENT_MAX);
		assert_int_equal(lt_lag_ns(&l, 0, AT(i * S)), (i - 1) * S);
	}
	for (size_t i = 1; i < l.n_sent; i++)
		assert_true(l.sent_ns[i - 1] < l.sent_ns[i]);
	/* all of them come: those that were left out are passed over, and the row ends */
	for (int i = 1; i <= 10000; i++)
		lt_lag_came(&l, WALL + i * S);
	assert_int_equal(l.n_sent, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_published_is_nothing_behind),
		cmocka_unit_test(the_oldest_inside_grows_older),
		cmocka_unit_test(figures_of_ours_that_do_not_come_back),
		cmocka_unit_test(in_a_group_they_need_not_come_back),
		cmocka_unit_test(a_long_row_keeps_its_oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
