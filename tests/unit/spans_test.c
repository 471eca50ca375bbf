/* SPDX-License-Identifier: MIT */
/* Which offsets a batch stands for, over rebalances and losses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../lib/consumer/spans.h"

struct fixture {
	struct lt_spans seen;
	struct lt_fill a, b;
};

static int setup(void **state)
{
	struct fixture *f = lt_calloc(1, sizeof(*f));

	lt_fill_init(&f->a);
	lt_fill_init(&f->b);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	lt_spans_fini(&f->seen);
	lt_fill_fini(&f->a, NULL);
	lt_fill_fini(&f->b, NULL);
	free(f);
	return 0;
}

static bool take(struct fixture *f, struct lt_fill *fill, int32_t partition, int64_t offset)
{
	struct lt_bus_msg m = {.log = "t", .partition = partition, .offset = offset};

	return lt_spans_take(&f->seen, fill, &m);
}

static void assert_span(
	const struct lt_fill *f, size_t i, int32_t part, int64_t first, int64_t next)
{
	assert_true(i < f->batch.n_spans);
	assert_string_equal(f->batch.spans[i].log, "t");
	assert_int_equal(f->batch.spans[i].partition, part);
	assert_int_equal(f->batch.spans[i].first, first);
	assert_int_equal(f->batch.spans[i].next, next);
}

static void one_span_a_partition(void **state)
{
	struct fixture *f = *state;

	assert_true(lt_fill_empty(&f->a));
	for (int64_t i = 0; i < 40; i++)
		assert_true(take(f, &f->a, (int32_t)(i % 20), 100 + i));
	assert_false(lt_fill_empty(&f->a));
	assert_true(f->a.oldest_mono_ns > 0);
	assert_int_equal(f->a.batch.n_spans, 20);
	assert_span(&f->a, 3, 3, 103, 124);
	/* Kafka's offsets may have holes. */
	assert_true(take(f, &f->a, 3, 500));
	assert_span(&f->a, 3, 3, 103, 501);
	lt_fill_clear(&f->a, NULL);
	assert_true(lt_fill_empty(&f->a));
	assert_true(take(f, &f->a, 3, 501));
	assert_span(&f->a, 0, 3, 501, 502);
	/* A hole between two batches: the second one begins where the first one ended. */
	lt_fill_clear(&f->a, NULL);
	assert_true(take(f, &f->a, 3, 600));
	assert_span(&f->a, 0, 3, 502, 601);
}

/* Also when the log has a hole just there, or no position was known. */
static void a_span_begins_where_reading_began(void **state)
{
	struct fixture *f = *state;
	struct lt_bus_span at[] = {{"t", 0, 100, 0}, {"t", 1, -1, 0}};

	lt_spans_seek(&f->seen, &f->a, NULL, at, 2);
	assert_true(take(f, &f->a, 0, 103));
	assert_true(take(f, &f->a, 1, 7));
	assert_span(&f->a, 0, 0, 100, 104);
	assert_span(&f->a, 1, 1, -1, 8);
}

static void what_is_held_is_not_taken_twice(void **state)
{
	struct fixture *f = *state;
	struct lt_bus_span at = {"t", 0, 100, 0};

	for (int64_t i = 100; i < 110; i++)
		assert_true(take(f, &f->a, 0, i));
	/* Taken away and given back before the batch is stored: the position is the old one. */
	lt_spans_seek(&f->seen, &f->b, &f->a, &at, 1);
	for (int64_t i = 100; i < 110; i++)
		assert_false(take(f, &f->b, 0, i));
	assert_true(lt_fill_empty(&f->b));
	assert_true(take(f, &f->b, 0, 110));
	assert_span(&f->b, 0, 0, 110, 111);
}

static void a_position_that_was_set_back_is_obeyed(void **state)
{
	struct fixture *f = *state;
	struct lt_bus_span at = {"t", 0, 50, 0};

	assert_true(take(f, &f->a, 0, 100));
	lt_fill_clear(&f->a, NULL); /* stored */
	lt_spans_seek(&f->seen, &f->a, NULL, &at, 1);
	assert_true(take(f, &f->a, 0, 50));
	assert_span(&f->a, 0, 0, 50, 51);
}

static void losses(void **state)
{
	struct fixture *f = *state;
	struct lt_bus_span ahead = {"t", 0, 11, 500}, anew = {"t", 0, 501, 0};

	assert_true(take(f, &f->a, 0, 10));
	lt_spans_lost(&f->seen, &f->a, &ahead);
	assert_true(take(f, &f->a, 0, 500));
	assert_span(&f->a, 0, 0, 10, 501);
	assert_int_equal(f->a.batch.n_gaps, 1);
	assert_int_equal(f->a.batch.gaps[0].next, 500);
	/* A topic that was made anew begins below. */
	lt_fill_clear(&f->a, NULL);
	assert_int_equal(f->a.batch.n_gaps, 0);
	lt_spans_lost(&f->seen, &f->a, &anew);
	assert_false(lt_fill_empty(&f->a)); /* a loss alone is something to be stored */
	assert_true(take(f, &f->a, 0, 0));
	assert_span(&f->a, 0, 0, 501, 1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_span_a_partition),
		T(a_span_begins_where_reading_began),
		T(what_is_held_is_not_taken_twice),
		T(a_position_that_was_set_back_is_obeyed),
		T(losses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
