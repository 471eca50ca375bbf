/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "latido/labels.h"

#define L(N, V)                                                    \
	{                                                          \
		(N), (V), (uint32_t)strlen(N), (uint32_t)strlen(V) \
	}

static const struct lt_labels *three(struct lt_label_pool *p)
{
	const struct lt_label_text t[] = {
		L("job", "node"), L("__name__", "up"), L("instance", "a")};

	return lt_labels_intern(p, t, 3);
}

static void check_text(struct lt_label_pool *p, const struct lt_labels *l, const char *want)
{
	struct lt_buf b = {0};

	lt_labels_format(p, l, &b);
	assert_string_equal(b.data, want);
	lt_buf_fini(&b);
}

static void equal_sets_are_one(void **state)
{
	struct lt_label_pool *p = lt_label_pool_new();
	const struct lt_label_text t[] = {L("instance", "a"), L("job", "x"), L("empty", ""),
		L("__name__", "up"), L("job", "node"), L("", "no name")};
	const struct lt_labels *a = three(p), *b = lt_labels_intern(p, t, 6);

	(void)state;
	assert_ptr_equal(a, b);
	assert_int_equal(a->n, 3);
	check_text(p, a, "up{instance=\"a\", job=\"node\"}");
	assert_string_equal(lt_labels_value(p, a, "job"), "node");
	assert_string_equal(lt_labels_value(p, a, "nothing"), "");
	assert_string_equal(lt_sym_text(p, lt_labels_value_sym(a, LT_SYM_NAME), NULL), "up");
	lt_labels_put(p, a);
	lt_labels_put(p, b);
	lt_labels_put(p, NULL);
	lt_label_pool_free(p);
	lt_label_pool_free(NULL);
}

static void parts_and_changes(void **state)
{
	struct lt_label_pool *p = lt_label_pool_new();
	const struct lt_labels *a = three(p), *b, *c, *e;
	const struct lt_label_text change[] = {
		L("job", ""), L("zone", "z\"\n"), L("instance", "b")};
	uint32_t job = lt_sym_get(p, "job", 3), names[] = {job, LT_SYM_NAME};

	(void)state;
	b = lt_labels_with(p, a, change, 3);
	check_text(p, b, "up{instance=\"b\", zone=\"z\\\"\\n\"}");
	lt_labels_put(p, b);
	b = lt_labels_without_name(p, a);
	check_text(p, b, "{instance=\"a\", job=\"node\"}");
	c = lt_labels_keep(p, a, names, 2, false);
	check_text(p, c, "{instance=\"a\"}");
	lt_labels_put(p, c);
	c = lt_labels_keep(p, a, names, 2, true);
	check_text(p, c, "up{job=\"node\"}");
	e = lt_labels_empty(p);
	check_text(p, e, "{}");
	assert_true(lt_labels_cmp(p, e, a) < 0);
	assert_true(lt_labels_cmp(p, a, b) < 0); /* __name__ before instance */
	assert_int_equal(lt_labels_cmp(p, a, a), 0);
	assert_ptr_equal(lt_labels_get(a), a);
	lt_labels_put(p, a);
	lt_labels_put(p, a);
	lt_labels_put(p, b);
	lt_labels_put(p, c);
	lt_labels_put(p, e);
	lt_sym_put(p, job);
	lt_label_pool_free(p);
}

/* Names and values go with the last set that has them, and their places are used again. */
static void churn_leaves_nothing(void **state)
{
	struct lt_label_pool *p = lt_label_pool_new();
	const struct lt_labels **sets = calloc(20000, sizeof(struct lt_labels *));
	struct lt_label_pool_info before, during, after;
	char value[32];
	unsigned x = 1;

	(void)state;
	lt_label_pool_info(p, &before);
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 20000; i++) {
			struct lt_label_text t[] = {L("__name__", "m"), L("i", value)};

			snprintf(value, sizeof(value), "%u", i * 3 + (unsigned)round);
			t[1].value_len = (uint32_t)strlen(value);
			sets[i] = lt_labels_intern(p, t, 2);
		}
		lt_label_pool_info(p, &during);
		assert_int_equal(during.sets, 20000);
		assert_int_equal(during.symbols, 20003);
		/* In any order. */
		for (unsigned i = 0; i < 20000; i++, x = x * 1664525 + 1013904223) {
			unsigned k = x % 20000;
			const struct lt_labels *s = sets[k];

			sets[k] = sets[i];
			sets[i] = s;
		}
		for (unsigned i = 0; i < 20000; i++)
			lt_labels_put(p, sets[i]);
	}
	lt_label_pool_info(p, &after);
	assert_int_equal(after.sets, 0);
	assert_int_equal(after.symbols, before.symbols);
	free(sets);
	lt_label_pool_free(p);
}

/* What a label set costs: 24 bytes and 8 a label, and its part of the table. */
static void sets_are_small(void **state)
{
	struct lt_label_pool *p = lt_label_pool_new();
	const struct lt_labels **sets = calloc(40000, sizeof(struct lt_labels *));
	struct lt_label_pool_info info;

	(void)state;
	for (unsigned i = 0; i < 40000; i++) {
		char instance[16], cpu[16];
		struct lt_label_text t[] = {L("__name__", "node_cpu_seconds_total"),
			L("instance", instance), L("cpu", cpu), L("mode", i % 2 ? "idle" : "user"),
			L("job", "node")};

		snprintf(instance, sizeof(instance), "node%u", i / 16);
		snprintf(cpu, sizeof(cpu), "%u", i / 2 % 8);
		t[1].value_len = (uint32_t)strlen(instance);
		t[2].value_len = (uint32_t)strlen(cpu);
		sets[i] = lt_labels_intern(p, t, 5);
	}
	lt_label_pool_info(p, &info);
	assert_int_equal(info.sets, 40000);
	assert_true(info.bytes / 40000 < 100);
	for (unsigned i = 0; i < 40000; i++)
		lt_labels_put(p, sets[i]);
	free(sets);
	lt_label_pool_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_sets_are_one),
		cmocka_unit_test(parts_and_changes),
		cmocka_unit_test(churn_leaves_nothing),
		cmocka_unit_test(sets_are_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
