/* SPDX-License-Identifier: MIT */
/*
 * What an evaluation costs: ns of CPU time for each series that the expression reads, the first time
 * and once the label sets of the last time are known; and what label sets weigh. The storage knows the
 * series of each selector, as that of latido-alert does.
 *
 * 10 000 nodes, each with 8 modes of one CPU, 2 memory values, 2 disks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../support/bench.h"
#include "latido/clock.h"
#include "latido/promql.h"

#define NODES   10000
#define SAMPLES 13 /* two minutes, every 10 s */

static struct lt_label_pool *pool;
static struct lt_promql_mem *store;
static size_t n_series;

static void add(const char *name, const char *key, const char *value, unsigned node, unsigned seed)
{
	struct lt_label_text t[] = {{"__name__", name, 8, (uint32_t)strlen(name)},
		{"instance", NULL, 8, 0}, {"job", "node", 3, 4},
		{key, value, (uint32_t)strlen(key), (uint32_t)strlen(value)}};
	const struct lt_labels *l;
	char instance[32];

	t[1].value = instance;
	t[1].value_len = (uint32_t)snprintf(instance, sizeof(instance), "node%u:9100", node);
	l = lt_labels_intern(pool, t, *key ? 4 : 3);
	for (int i = 0; i < SAMPLES; i++)
		lt_promql_mem_add(store, l, i * 10000, (double)(seed % 97) + i * (seed % 13) * 0.1);
	lt_labels_put(pool, l);
	n_series++;
}

static void fill(unsigned nodes)
{
	static const char *const modes[] = {
		"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"};

	for (unsigned n = 0; n < nodes; n++) {
		for (unsigned m = 0; m < LT_ARRAY_LEN(modes); m++)
			add("node_cpu_seconds_total", "mode", modes[m], n, n * 8 + m);
		add("node_memory_MemAvailable_bytes", "", "", n, n);
		add("node_memory_MemTotal_bytes", "", "", n, n * 7 + 90);
		add("node_filesystem_avail_bytes", "mountpoint", "/", n, n * 3);
		add("node_filesystem_avail_bytes", "mountpoint", "/var", n, n * 5);
	}
}

/* What was selected for each selector of the expression at hand. */
static struct {
	struct lt_promql_series *s;
	size_t n;
} selected[8];

static int select_known(void *ctx, const struct lt_promql_expr *e,
	const struct lt_promql_selector *sel, int64_t mint_ms, int64_t maxt_ms,
	const struct lt_promql_series **out, size_t *n, struct lt_err *err)
{
	const struct lt_promql_storage *mem = lt_promql_mem_storage(store);

	(void)ctx;
	if (!selected[sel->index].s) {
		int rc = mem->select(mem->ctx, e, sel, mint_ms, maxt_ms, out, n, err);

		if (rc != LT_OK)
			return rc;
		selected[sel->index].s = lt_malloc(*n * sizeof(**out));
		memcpy(selected[sel->index].s, *out, *n * sizeof(**out));
		selected[sel->index].n = *n;
	}
	*out = selected[sel->index].s;
	*n = selected[sel->index].n;
	return LT_OK;
}

static void forget_selected(void)
{
	for (size_t i = 0; i < LT_ARRAY_LEN(selected); i++) {
		free(selected[i].s);
		selected[i].s = NULL;
	}
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * LT_NS_PER_S + t.tv_nsec;
}

/* ns of an evaluation once its label sets are known; of the first one in @first_ns. */
static int64_t measure(struct lt_promql_expr *e, int64_t *first_ns)
{
	const struct lt_promql_storage *mem = lt_promql_mem_storage(store);
	struct lt_promql_storage st = {
		.ctx = mem->ctx, .select = select_known, .last = mem->last, .range = mem->range};
	struct lt_promql_result r = {0};
	int64_t then = 0;
	struct lt_err err;
	size_t n;

	for (size_t i = 0; i < lt_promql_selector_count(e); i++) {
		const struct lt_promql_series *series;

		if (select_known(NULL, e, lt_promql_selector(e, i), 0, 120000, &series, &n, &err) !=
			LT_OK)
			exit(1);
	}
	for (int round = 0; round < 2; round++) {
		int64_t from = cpu_ns(), took;

		if (lt_promql_eval(e, 120000, &st, &r, &err) != LT_OK) {
			fprintf(stderr, "promql_bench: %s\n", err.msg);
			exit(1);
		}
		took = cpu_ns() - from;
		if (round == 0)
			*first_ns = took;
		then = took;
	}
	lt_promql_result_fini(&r);
	mem->done(mem->ctx);
	forget_selected();
	return then;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *text;
		unsigned series; /* a node */
	} cases[] = {
		{"node_memory_MemAvailable_bytes < 0", 1},
		{"node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.2", 2},
		{"node_cpu_seconds_total{mode=\"idle\"}", 1},
		{"rate(node_cpu_seconds_total[2m]) > 1e9", 8},
		{"100 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[2m])) * 100 "
		 "> 80",
			1},
		{"sum by (instance) (rate(node_cpu_seconds_total{mode!=\"idle\"}[2m]))", 7},
		{"predict_linear(node_filesystem_avail_bytes{mountpoint=~\"/|/home\"}[2m], 86400) "
		 "< 0",
			1},
		{"max_over_time(node_memory_MemAvailable_bytes[1m:10s])", 1},
		{"topk(10, node_cpu_seconds_total)", 8},
		{"count by (job) (node_filesystem_avail_bytes)", 2},
	};
	struct lt_label_pool_info info;
	struct bench_run b;

	bench_init(&b, "promql", "promql", 5, 1, argc, argv);
	pool = lt_label_pool_new();
	store = lt_promql_mem_new(pool);
	fill(NODES);
	lt_label_pool_info(pool, &info);
	bench_case(&b, "%zu series", n_series);
	bench_result(&b, "label sets with their texts", BENCH_SUBJECT, "bytes/series",
		(double)info.bytes / (double)n_series);
	for (b.round = 1; b.round <= b.rounds; b.round++)
		for (size_t i = 0; i < LT_ARRAY_LEN(cases); i++) {
			double series = (double)cases[i].series * NODES;
			struct lt_promql_expr *e;
			int64_t first, then;
			struct lt_err err;

			if (lt_promql_parse(pool, cases[i].text, strlen(cases[i].text), NULL, &e,
				    NULL, &err) != LT_OK) {
				fprintf(stderr, "promql_bench: %s\n", err.msg);
				return 1;
			}
			then = measure(e, &first);
			bench_case(&b, "%s", cases[i].text);
			bench_result(&b, "first evaluation", BENCH_SUBJECT, "ns CPU/series",
				(double)first / series);
			bench_result(
				&b, "then", BENCH_SUBJECT, "ns CPU/series", (double)then / series);
			lt_promql_free(e);
		}
	lt_promql_mem_free(store);
	lt_label_pool_free(pool);
	return 0;
}
