/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../producers/agent/sched.h"
#include "latido/clock.h"

#define S  LT_NS_PER_S
#define MS LT_NS_PER_MS

static void delays_end_on_the_second(void **state)
{
	struct lt_sched s;

	(void)state;
	lt_sched_init(&s, 1000);
	assert_true(lt_sched_delay_ns(&s, 1795247263 * S) == S);
	assert_true(lt_sched_delay_ns(&s, 1795247263 * S + 1) == S - 1);
	assert_true(lt_sched_delay_ns(&s, 1795247263 * S + 999 * MS) == MS);
	assert_true(lt_sched_delay_ns(&s, -1) == 1);
	assert_true(lt_sched_delay_ns(&s, -1 * S) == S);
	lt_sched_init(&s, 15000);
	assert_true((lt_sched_delay_ns(&s, 1795247263 * S) + 1795247263 * S) % (15 * S) == 0);
}

static void one_tick_a_slot(void **state)
{
	struct lt_sched s;

	(void)state;
	lt_sched_init(&s, 1000);
	/* Timers fire late by something, now and then early: no tick is lost or doubled. */
	for (int64_t i = 0; i < 1000; i++) {
		int64_t late = (i * 7919) % 400 * MS;

		if (i > 0)
			assert_false(lt_sched_due(&s, (100 + i) * S - 1, (5 + i) * S - 1));
		assert_true(lt_sched_due(&s, (100 + i) * S + late, (5 + i) * S + late));
		assert_false(lt_sched_due(&s, (100 + i) * S + late + 1, (5 + i) * S + late + 1));
	}
	assert_int_equal(s.missed, 0);
	assert_int_equal(s.jumps, 0);
}

static void late_ticks_are_counted(void **state)
{
	struct lt_sched s;

	(void)state;
	lt_sched_init(&s, 1000);
	assert_true(lt_sched_due(&s, 100 * S, 0));
	assert_true(lt_sched_due(&s, 105 * S + 3 * MS, 5 * S + 3 * MS));
	assert_int_equal(s.missed, 4);
	assert_int_equal(s.jumps, 0);
	assert_true(lt_sched_due(&s, 106 * S, 6 * S));
	assert_int_equal(s.missed, 4);
}

static void clock_set_forward(void **state)
{
	struct lt_sched s;

	(void)state;
	lt_sched_init(&s, 1000);
	assert_true(lt_sched_due(&s, 100 * S, 0));
	/* an hour: one tick, nothing missed */
	assert_true(lt_sched_due(&s, 3701 * S, 1 * S));
	assert_int_equal(s.missed, 0);
	assert_int_equal(s.jumps, 1);
	/* and three ticks were really missed when it was set again */
	assert_true(lt_sched_due(&s, 9000 * S, 5 * S));
	assert_int_equal(s.missed, 3);
	assert_int_equal(s.jumps, 2);
	assert_true(lt_sched_due(&s, 9001 * S, 6 * S));
	assert_int_equal(s.jumps, 2);
}

static void clock_set_back(void **state)
{
	struct lt_sched s;

	(void)state;
	lt_sched_init(&s, 1000);
	assert_true(lt_sched_due(&s, 10000 * S, 0));
	/* an hour: goes on at once, one tick a slot again */
	assert_true(lt_sched_due(&s, 6401 * S, 1 * S));
	assert_int_equal(s.jumps, 1);
	assert_false(lt_sched_due(&s, 6401 * S + 5 * MS, 1 * S + 5 * MS));
	assert_true(lt_sched_due(&s, 6402 * S, 2 * S));
	assert_int_equal(s.missed, 0);
	/* by 10 ms, over the edge into a slot that had its tick: no second one */
	assert_false(lt_sched_due(&s, 6402 * S - 9 * MS, 2 * S + 1 * MS));
	assert_false(lt_sched_due(&s, 6402 * S + 1 * MS, 2 * S + 11 * MS));
	assert_true(lt_sched_due(&s, 6403 * S, 3 * S + 10 * MS));
	assert_int_equal(s.missed, 0);
	assert_int_equal(s.jumps, 1);
}

static void sleep_of_the_machine(void **state)
{
	struct lt_sched s;

	(void)state;
	lt_sched_init(&s, 1000);
	assert_true(lt_sched_due(&s, 100 * S, 50 * S));
	/* the monotonic clock stands still meanwhile */
	assert_true(lt_sched_due(&s, 8 * 3600 * S, 51 * S));
	assert_int_equal(s.missed, 0);
	assert_int_equal(s.jumps, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_end_on_the_second),
		cmocka_unit_test(one_tick_a_slot),
		cmocka_unit_test(late_ticks_are_counted),
		cmocka_unit_test(clock_set_forward),
		cmocka_unit_test(clock_set_back),
		cmocka_unit_test(sleep_of_the_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
