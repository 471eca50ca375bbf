/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/bus/bus_mqtt.h"
#include "latido/clock.h"

#define BUDGET 1000000

struct fixture {
	struct lt_loop loop;
	struct lt_mq_core core;
	struct lt_mq_in in;
	unsigned told;
};

static void readable(void *arg)
{
	struct fixture *f = arg;

	f->told++;
	lt_loop_stop(&f->loop);
}

static int setup(void **state)
{
	struct fixture *f = lt_calloc(1, sizeof(*f));

	assert_int_equal(lt_loop_init(&f->loop, NULL), LT_OK);
	pthread_mutex_init(&f->core.lock, NULL);
	pthread_cond_init(&f->core.space, NULL);
	lt_inq_init(&f->core.in);
	f->core.limit_bytes = BUDGET;
	lt_mq_in_init(&f->in, &f->core, &f->loop, readable, f);
	lt_clock_fake(true, LT_NS_PER_S, LT_NS_PER_S);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	lt_clock_fake(false, 0, 0);
	lt_mq_in_fini(&f->in);
	lt_inq_fini(&f->core.in);
	pthread_cond_destroy(&f->core.space);
	pthread_mutex_destroy(&f->core.lock);
	lt_loop_fini(&f->loop);
	free(f);
	return 0;
}

/* As the client library's thread does it. Return: the loop would be woken. */
static bool arrives(struct fixture *f, size_t size)
{
	char *data = lt_calloc(1, size + 1);
	bool wake = lt_inq_push(&f->core.in, lt_in_new("a", 1, data, size, NULL, 0));

	free(data);
	return wake;
}

/* Takes and gives back all. Return: how many. */
static size_t take_all(struct fixture *f)
{
	struct lt_bus_msg *m[16];
	size_t n, sum = 0;

	while ((n = lt_mq_in_poll(&f->in, m, LT_ARRAY_LEN(m))) > 0) {
		for (size_t i = 0; i < n; i++)
			if (lt_mq_in_done(&f->in, m[i]))
				lt_mq_in_flush(&f->in);
		sum += n;
	}
	return sum;
}

static void each_message_wakes_while_they_are_few(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		lt_clock_fake(true, (i + 2) * LT_NS_PER_S, LT_NS_PER_S);
		assert_true(arrives(f, 10));
		lt_mq_in_announce(&f->in);
		assert_int_equal(take_all(f), 1);
		assert_false(lt_timer_pending(&f->in.look));
	}
	assert_int_equal(f->told, 3);
}

static void the_loop_looks_for_itself_while_they_are_many(void **state)
{
	struct fixture *f = *state;

	assert_true(arrives(f, 10));
	lt_mq_in_announce(&f->in);
	assert_int_equal(take_all(f), 1);
	/* The next one comes at once. */
	assert_true(arrives(f, 10));
	lt_mq_in_announce(&f->in);
	assert_int_equal(take_all(f), 1);
	assert_true(lt_timer_pending(&f->in.look));
	for (unsigned i = 3; i < 6; i++) {
		assert_false(arrives(f, 10));
		assert_false(arrives(f, 10));
		lt_loop_run(&f->loop); /* the timer */
		assert_int_equal(f->told, i);
		assert_int_equal(take_all(f), 2);
		assert_true(lt_timer_pending(&f->in.look));
	}
	/* A look that finds nothing is the last one. */
	lt_loop_run(&f->loop);
	assert_int_equal(f->told, 6);
	assert_int_equal(take_all(f), 0);
	assert_false(lt_timer_pending(&f->in.look));
	assert_true(arrives(f, 10));
}

static void what_is_given_back_goes_together(void **state)
{
	struct fixture *f = *state;
	struct lt_bus_msg *m[64];

	for (int i = 0; i < 64; i++)
		arrives(f, 10);
	assert_int_equal(lt_mq_in_poll(&f->in, m, 64), 64);
	assert_int_equal(f->in.held_bytes, f->core.in.held_bytes);
	for (int i = 0; i < 63; i++)
		assert_false(lt_mq_in_done(&f->in, m[i]));
	/* The loop counts it at once, the queue when it is taken off. */
	assert_int_equal(f->in.held_bytes * 64, f->core.in.held_bytes);
	assert_true(lt_mq_in_done(&f->in, m[63]));
	assert_int_equal(f->in.held_bytes, 0);
	lt_mq_in_flush(&f->in);
	assert_int_equal(f->core.in.held_bytes, 0);
	/* Large ones are not kept back. */
	arrives(f, BUDGET / 8);
	assert_int_equal(lt_mq_in_poll(&f->in, m, 1), 1);
	assert_true(lt_mq_in_done(&f->in, m[0]));
	/* And polling takes them off, too. */
	assert_int_equal(lt_mq_in_poll(&f->in, m, 1), 0);
	assert_int_equal(f->core.in.held_bytes, 0);
	/* One that is left to the end is the queue's. */
	arrives(f, 10);
	assert_int_equal(lt_mq_in_poll(&f->in, m, 1), 1);
	assert_false(lt_mq_in_done(&f->in, m[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			each_message_wakes_while_they_are_few, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_loop_looks_for_itself_while_they_are_many, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_given_back_goes_together, setup, teardown),
	};

	return cmocka_run_group_tests_name("bus_mqtt_in", tests, NULL, NULL);
}
