/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "latido/ranges.h"

/* Sets of numbers as ranges, against a plain table. */

static void test_ranges(void **state)
{
	struct lt_ranges s = {0};
	bool model[200] = {0};
	unsigned seed = 7;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint64_t lo = (uint64_t)rand_r(&seed) % 200, hi = lo + (uint64_t)rand_r(&seed) % 9;
		bool add = rand_r(&seed) % 2;
		uint64_t changed = 0, first = lo;

		if (hi > 199)
			hi = 199;
		for (uint64_t k = lo; k <= hi; k++) {
			changed += model[k] != add;
			model[k] = add;
		}
		assert_int_equal(
			add ? lt_ranges_add(&s, lo, hi) : lt_ranges_remove(&s, lo, hi), changed);
		while (first < 200 && model[first])
			first++;
		assert_int_equal(lt_ranges_missing(&s, lo), first);
		for (uint64_t k = 0; k < 200; k++)
			assert_int_equal(lt_ranges_contains(&s, k), model[k]);
		for (size_t k = 1; k < s.n; k++)
			assert_true(s.r[k - 1].hi + 1 < s.r[k].lo);
	}
	lt_ranges_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
