/* SPDX-License-Identifier: MIT */
/* What is stored of an epoch: random sequences against a model that is plainly right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above. */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/sink/pg_progress.h"

#define MODEL_MAX 400

/* The model: a flag for each sequence number, and which of them were given up. */
struct model {
	bool have[MODEL_MAX + 2];
};

static unsigned rng_state;

static unsigned rng(unsigned below)
{
	rng_state = rng_state * 1664525u + 1013904223u;
	return (rng_state >> 8) % below;
}

/* The representation is canonical: every island is apart, and says what the model says. */
static void assert_same(const struct lt_pg_have *h, const struct model *m)
{
	int64_t upto = 0, last = 0;

	while (upto < MODEL_MAX && m->have[upto + 1])
		upto++;
	assert_int_equal(h->upto, upto);
	for (int64_t i = 1; i <= MODEL_MAX; i++)
		assert_int_equal(lt_pg_have_contains(h, i), m->have[i]);
	last = h->upto;
	for (size_t i = 0; i < h->n; i++) {
		assert_true(h->above[i].lo > last + 1);
		assert_true(h->above[i].hi >= h->above[i].lo);
		last = h->above[i].hi;
	}
}

static void test_random_against_model(void **state)
{
	(void)state;
	for (unsigned run = 0; run < 300; run++) {
		struct lt_pg_have h = {0}, copy = {0};
		struct model m = {{false}};
		struct lt_pg_gaps gaps = {0};
		unsigned span;

		rng_state = 7 * run + 1;
		span = 2 + rng(MODEL_MAX - 1);
		for (unsigned i = 0; i < 2 * span; i++) {
			unsigned what = rng(20);

			if (what == 0) {
				int64_t oldest = 1 + rng(span);
				size_t before = gaps.n;
				bool lost[MODEL_MAX + 2] = {false};

				lt_pg_have_give_up(&h, oldest, 5, &gaps);
				for (size_t g = before; g < gaps.n; g++)
					for (int64_t s = gaps.items[g].missing.lo;
						s <= gaps.items[g].missing.hi; s++)
						lost[s] = true;
				for (int64_t s = 1; s < oldest; s++) {
					assert_int_equal(lost[s], !m.have[s]);
					m.have[s] = true;
				}
				for (int64_t s = oldest; s <= MODEL_MAX; s++)
					assert_false(lost[s]);
			} else {
				int64_t seq = 1 + rng(span);

				assert_int_equal(lt_pg_have_add(&h, seq), !m.have[seq]);
				m.have[seq] = true;
			}
			if (i % 16 == 0) {
				assert_same(&h, &m);
				lt_pg_have_copy(&copy, &h);
				assert_true(lt_pg_have_equal(&copy, &h));
			}
		}
		assert_same(&h, &m);
		lt_pg_have_fini(&h);
		lt_pg_have_fini(&copy);
		lt_pg_gaps_fini(&gaps);
	}
}

static char *text(const struct lt_pg_have *h)
{
	struct lt_buf b = {0};

	lt_pg_have_text(h, &b);
	return b.data;
}

static void assert_text(const struct lt_pg_have *h, int64_t upto, const char *want)
{
	char *got = text(h);

	assert_int_equal(h->upto, upto);
	assert_string_equal(got, want);
	free(got);
}

static void test_islands_join(void **state)
{
	struct lt_pg_have h = {0};

	(void)state;
	assert_text(&h, 0, "{}");
	assert_true(lt_pg_have_add(&h, 5));
	assert_true(lt_pg_have_add(&h, 7));
	assert_text(&h, 0, "{[5,6),[7,8)}");
	assert_true(lt_pg_have_add(&h, 6));
	assert_text(&h, 0, "{[5,8)}");
	assert_false(lt_pg_have_add(&h, 6));
	assert_true(lt_pg_have_add(&h, 4));
	assert_true(lt_pg_have_add(&h, 8));
	assert_text(&h, 0, "{[4,9)}");
	for (int64_t i = 1; i < 4; i++)
		assert_true(lt_pg_have_add(&h, i));
	assert_text(&h, 8, "{}");
	assert_false(lt_pg_have_add(&h, 1));
	lt_pg_have_fini(&h);
}

static void test_largest_sequence_number(void **state)
{
	struct lt_pg_have h = {0};
	struct lt_pg_gaps gaps = {0};
	int64_t top = INT64_C(1) << 53;

	(void)state;
	assert_true(lt_pg_have_add(&h, top));
	assert_text(&h, 0, "{[9007199254740992,9007199254740993)}");
	lt_pg_have_give_up(&h, top, 9, &gaps);
	assert_text(&h, top, "{}");
	assert_int_equal(gaps.n, 1);
	assert_int_equal(gaps.items[0].epoch_id, 9);
	assert_int_equal(gaps.items[0].missing.lo, 1);
	assert_int_equal(gaps.items[0].missing.hi, top - 1);
	assert_string_equal(gaps.items[0].kind, "lost");
	lt_pg_have_fini(&h);
	lt_pg_gaps_fini(&gaps);
}

static void test_give_up_with_nothing_missing(void **state)
{
	struct lt_pg_have h = {0};
	struct lt_pg_gaps gaps = {0};

	(void)state;
	lt_pg_have_give_up(&h, 0, 1, &gaps);
	lt_pg_have_give_up(&h, 1, 1, &gaps);
	assert_text(&h, 0, "{}");
	lt_pg_have_add(&h, 1);
	lt_pg_have_give_up(&h, 2, 1, &gaps);
	assert_text(&h, 1, "{}");
	assert_int_equal(gaps.n, 0);
	lt_pg_have_fini(&h);
}

static void test_too_many_islands(void **state)
{
	struct lt_pg_have h = {0};
	struct lt_pg_gaps gaps = {0};

	(void)state;
	for (int64_t i = 1; i <= 10; i++)
		lt_pg_have_add(&h, 10 * i);
	lt_pg_have_limit(&h, 10, 1, &gaps);
	assert_int_equal(gaps.n, 0);
	lt_pg_have_limit(&h, 8, 1, &gaps);
	assert_int_equal(h.n, 8);
	assert_int_equal(h.upto, 20);
	assert_int_equal(gaps.n, 2);
	assert_int_equal(gaps.items[0].missing.lo, 1);
	assert_int_equal(gaps.items[0].missing.hi, 9);
	assert_int_equal(gaps.items[1].missing.lo, 11);
	assert_int_equal(gaps.items[1].missing.hi, 19);
	assert_string_equal(gaps.items[1].kind, "islands");
	lt_pg_have_fini(&h);
	lt_pg_gaps_fini(&gaps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_against_model),
		cmocka_unit_test(test_islands_join),
		cmocka_unit_test(test_largest_sequence_number),
		cmocka_unit_test(test_give_up_with_nothing_missing),
		cmocka_unit_test(test_too_many_islands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
