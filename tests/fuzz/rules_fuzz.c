/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "latido/rules.h"

/*
 * Any rule file is refused with a report or accepted; what is accepted can be evaluated, over series
 * that its expressions may find, and its alerts survive being written and read.
 */

static struct lt_promql_mem *make_storage(struct lt_label_pool *pool)
{
	struct lt_promql_mem *mem = lt_promql_mem_new(pool);
	static const struct lt_label_text l[] = {{"__name__", "x", 8, 1}, {"a", "b", 1, 1}};

	for (size_t n = 1; n <= 2; n++) {
		const struct lt_labels *set = lt_labels_intern(pool, l, n);

		for (int64_t t = 0; t < 5; t++)
			lt_promql_mem_add(mem, set, t * 1000, (double)(t * t));
		lt_labels_put(pool, set);
	}
	return mem;
}

static bool on_append(void *ctx, const struct lt_labels *l, int64_t t_ms, double v)
{
	return lt_promql_mem_add(ctx, l, t_ms, v);
}

static void use(struct lt_label_pool *pool, struct lt_rules *r)
{
	const struct lt_rules_restore_opts opts = {.t_ms = 5000};
	struct lt_promql_mem *mem = make_storage(pool);
	const struct lt_rules_sink sink = {.ctx = mem, .append = on_append};
	struct lt_buf saved = {0};
	struct lt_err err;

	for (int64_t t = 1000; t < 4000; t += 1000) {
		for (size_t i = 0; i < lt_rules_group_count(r); i++)
			lt_rules_group_eval(
				r, lt_rules_group(r, i), t, lt_promql_mem_storage(mem), &sink);
	}
	lt_rules_export(r, &saved);
	if (lt_rules_restore(r, saved.data, saved.len, &opts, NULL, NULL, &err))
		abort();
	lt_buf_fini(&saved);
	lt_promql_mem_free(mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct lt_promql_limits limits = {.max_samples = 10000, .max_steps = 100};
	const struct lt_rules_opts opts = {.promql = &limits, .max_alerts = 100};
	struct lt_label_pool *pool = lt_label_pool_new();
	struct lt_buf report = {0};
	struct lt_rules *r = NULL;
	struct lt_err err = {0};

	if (!lt_rules_load_text(pool, &opts, "fuzz", (const char *)data, size, &r, &report, &err))
		use(pool, r);
	else if (!report.len)
		abort();
	lt_rules_free(r);
	lt_label_pool_free(pool);
	lt_buf_fini(&report);
	return 0;
}
