/* SPDX-License-Identifier: MIT */
/*
 * What the engine of latido-alert costs: 10 000 sources (ALERT_SOURCES: so many) with 400 values each
 * at one event a second, 100 rules like the default ones. Time is simulated, so a busy machine only
 * takes longer: CPU seconds for each simulated second are the share of one core. Decoding is part of
 * it, the bus is not (tests/bench/alert.py has both, beside Prometheus). A round is
 * --seconds simulated ones.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/alert/engine.h"
#include "../support/bench.h"
#include "latido/clock.h"
#include "latido/log.h"

#define CORES          4
#define DISKS          2
#define VALUES         400
#define RULES_IN_GROUP 10
#define WARM           130 /* simulated seconds until the windows are full */
#define SAMPLES        10000

/* CPU time of the evaluation of a group, in ms, by order of measuring. */
static double group_ms[SAMPLES];
static size_t n_groups;

struct load {
	struct lt_snapshot *snap;
	struct lt_shapes *shapes;
	struct lt_arena arena;
	struct lt_buf payload;
};

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	size_t total = 0, pages = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%zu %zu", &total, &pages) != 2)
		pages = 0;
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* One event of a source, as an agent makes it. */
static void fill(struct load *l, struct lt_event *e, int source, int t)
{
	static const char *const modes[] = {
		"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"};
	static const char *const cpu_keys[] = {"cpu", "mode"};
	static const char *const fs_keys[] = {"device", "mountpoint"};
	static const char *const fs[] = {"node_filesystem_avail_bytes", "node_filesystem_files",
		"node_filesystem_files_free", "node_filesystem_readonly",
		"node_filesystem_size_bytes"};
	static const char *const one[] = {"i"};
	char a[32], b[32];
	int n = 0;

	lt_snapshot_begin(l->snap);
	lt_snapshot_family(l->snap, "node_cpu_seconds_total", LT_KIND_COUNTER, cpu_keys, 2);
	for (int c = 0; c < CORES; c++)
		for (size_t m = 0; m < LT_ARRAY_LEN(modes); m++, n++) {
			snprintf(a, sizeof(a), "%d", c);
			lt_snapshot_row(l->snap, (const char *[]){a, modes[m]},
				(double)t * 0.9 + source % 7);
		}
	for (size_t f = 0; f < LT_ARRAY_LEN(fs); f++) {
		lt_snapshot_family(l->snap, fs[f], LT_KIND_GAUGE, fs_keys, 2);
		for (int d = 0; d < DISKS; d++, n++) {
			snprintf(a, sizeof(a), "/dev/sd%c", 'a' + d);
			snprintf(b, sizeof(b), "/disk%d", d);
			lt_snapshot_row(l->snap, (const char *[]){a, b},
				f == 3 ? 0 : 1e9 + 1e6 * (double)(f + (size_t)d) + t);
		}
	}
	lt_snapshot_value(l->snap, "node_memory_MemAvailable_bytes", LT_KIND_GAUGE, 4e9 + t);
	lt_snapshot_value(l->snap, "node_memory_MemTotal_bytes", LT_KIND_GAUGE, 8e9);
	lt_snapshot_value(l->snap, "node_timex_sync_status", LT_KIND_GAUGE, 1);
	lt_snapshot_value(l->snap, "node_vmstat_oom_kill", LT_KIND_COUNTER, 0);
	n += 4;
	lt_snapshot_family(l->snap, "node_other", LT_KIND_GAUGE, one, 1);
	for (int i = 0; n < VALUES; i++, n++) {
		snprintf(a, sizeof(a), "%d", i);
		lt_snapshot_row(l->snap, (const char *[]){a}, (double)(t * i));
	}
	if (lt_snapshot_event(l->snap, e, NULL) != LT_OK)
		abort();
}

static void tick(struct lt_engine *e, struct lt_engine_info *info)
{
	uint64_t before = lt_counter_get(&info->rules.evaluations), n;
	double cpu = cpu_seconds();

	lt_engine_tick(e);
	n = (lt_counter_get(&info->rules.evaluations) - before) / RULES_IN_GROUP;
	if (n && n_groups < SAMPLES)
		group_ms[n_groups++] = (cpu_seconds() - cpu) / (double)n * 1000;
}

static void second(struct lt_engine *e, struct lt_engine_info *info, struct load *l, int sources,
	int64_t start_ms, int t)
{
	const struct lt_decode_limits limits = {1 << 20, 100000};
	struct lt_event event = {
		.epoch = 1, .seq = (uint64_t)t + 1, .has_time = true, .interval_ms = 1000};
	char name[32];

	for (int s = 0; s < sources; s++) {
		int64_t at_ns = (start_ms + t * 1000 + s * 1000 / sources) * LT_NS_PER_MS;
		struct lt_origin origin = {.arrived_ns = at_ns};
		struct lt_event *decoded = NULL;
		enum lt_reason reason;
		uint64_t hash;

		/* Building it is the sender's work: once a second, with the time and name of each. */
		if (s == 0)
			fill(l, &event, s, t);
		snprintf(name, sizeof(name), "node-%05d", s);
		strcpy(origin.source, name);
		event.source = name;
		event.stream = "";
		event.time_ns = at_ns;
		lt_buf_reset(&l->payload);
		lt_encode_protobuf(&event, true, &l->payload);
		lt_arena_reset(&l->arena);
		if (lt_decode(l->shapes, &limits, &origin, l->payload.data, l->payload.len,
			    &l->arena, &decoded, &reason, &hash, NULL) != LT_OK)
			abort();
		lt_clock_fake(true, at_ns, at_ns);
		lt_engine_events(e, &decoded, 1);
		lt_events_release(decoded);
		if (s % 100 == 0)
			tick(e, info);
	}
	lt_clock_fake(true, (start_ms + t * 1000 + 999) * LT_NS_PER_MS,
		(start_ms + t * 1000 + 999) * LT_NS_PER_MS);
	tick(e, info);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double quantile(double q)
{
	return n_groups ? group_ms[(size_t)(q * (double)(n_groups - 1))] : 0;
}

static void write_rules(const char *path)
{
	static const char *const exprs[] = {
		"1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[1m])) >",
		"node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100 <",
		"node_filesystem_avail_bytes / node_filesystem_size_bytes * 100 <",
		"up <",
		"node_filesystem_files_free / node_filesystem_files <",
		"node_timex_sync_status <",
		"node_filesystem_readonly >",
		"increase(node_vmstat_oom_kill[2m]) >",
		"avg by (instance) (rate(node_cpu_seconds_total{mode=\"iowait\"}[1m])) > 1 +",
		"predict_linear(node_filesystem_avail_bytes[2m], 86400) <",
	};
	FILE *f = fopen(path, "we");

	if (!f)
		abort();
	fprintf(f, "groups:\n");
	for (int g = 0; g < 10; g++) {
		fprintf(f, "- name: g%d\n  rules:\n", g);
		for (int i = 0; i < RULES_IN_GROUP; i++) {
			fprintf(f, "  - alert: A%d_%d\n    expr: ", g, i);
			fprintf(f, "%s %g", exprs[i], 0.01 * (g + 1) + (i == 0 ? 0.85 : 0));
			fprintf(f, "\n    for: 2m\n    labels: {severity: warning}\n");
		}
	}
	fclose(f);
}

/* What the sender's side takes of a second. */
static double encode_seconds(struct load *l, int sources)
{
	struct lt_event event = {.source = "node-00000", .stream = "", .epoch = 1, .seq = 1};
	double begun = cpu_seconds();

	fill(l, &event, 0, 1);
	for (int i = 0; i < sources; i++) {
		lt_buf_reset(&l->payload);
		lt_encode_protobuf(&event, true, &l->payload);
	}
	return cpu_seconds() - begun;
}

static void show(
	const struct bench_run *run, struct lt_engine_info *info, double share, size_t resident)
{
	double series = (double)lt_gauge_get(&info->store.series);

	qsort(group_ms, n_groups, sizeof(*group_ms), by_size);
	bench_result(
		run, "decoding, series, evaluation", BENCH_SUBJECT, "% of a core", share * 100);
	bench_result(run, "series kept", BENCH_SUBJECT, "series", series);
	bench_result(
		run, "resident memory", BENCH_SUBJECT, "bytes/series", (double)resident / series);
	bench_result(run, "of it samples", BENCH_SUBJECT, "bytes/series",
		(double)lt_gauge_get(&info->store.samples_bytes) / series);
	bench_result(run, "evaluation of a group, p50", BENCH_SUBJECT, "ms CPU", quantile(0.5));
	bench_result(run, "evaluation of a group, p99", BENCH_SUBJECT, "ms CPU", quantile(0.99));
	bench_result(run, "rules that failed", BENCH_SUBJECT, "evaluations",
		(double)lt_counter_get(&info->rules.failures));
}

int main(int argc, char **argv)
{
	const char *env = getenv("ALERT_SOURCES");
	int sources = env ? atoi(env) : 10000, t;
	static struct lt_engine_info info;
	char rules[] = "/tmp/alert-bench-XXXXXX";
	struct lt_buf text = {0}, report = {0};
	struct load l = {0};
	struct lt_engine *e;
	struct lt_conf *conf;
	struct lt_err err;
	int64_t start_ms = lt_wall_ns() / LT_NS_PER_S * 1000 + 1000;
	struct bench_run run;
	size_t before;
	int fd;

	bench_init(&run, "rules", "alert", 2, 5, argc, argv);
	if (sources < 1) {
		fprintf(stderr, "alert_bench: ALERT_SOURCES: %s\n", env);
		return 2;
	}
	fd = mkstemp(rules);
	if (fd < 0)
		return 1;
	close(fd);
	write_rules(rules);
	lt_log_set_level(LT_ERROR);
	lt_buf_printf(&text,
		"redis: {url: \"redis://127.0.0.1:1/0\"}\n"
		"alert: {rules: [\"%s\"], history: false, publish: false, restore_timeout: 0}\n",
		rules);
	conf = lt_conf_load_text(&lt_config_schema, "bench", text.data, text.len, &report);
	if (!conf) {
		fprintf(stderr, "%s", report.data);
		return 1;
	}
	lt_clock_fake(true, start_ms * LT_NS_PER_MS, start_ms * LT_NS_PER_MS);
	e = lt_engine_new(lt_conf_root(conf), &info, &report, &err);
	if (!e) {
		fprintf(stderr, "%s\n%s\n", err.msg, report.data);
		return 1;
	}
	l.snap = lt_snapshot_new(1000);
	l.shapes = lt_shapes_new(1 << 26, 100000);
	lt_engine_bus(e, true, true);
	before = resident_bytes();
	bench_case(
		&run, "%d sources x %d values a second, 100 rules in 10 groups", sources, VALUES);
	for (t = 0; t < WARM; t++)
		second(e, &info, &l, sources, start_ms, t);
	for (run.round = 1; run.round <= run.rounds; run.round++) {
		const int until = t + (int)(run.seconds < 1 ? 1 : run.seconds), from = t;
		double cpu = cpu_seconds();

		n_groups = 0;
		for (; t < until; t++)
			second(e, &info, &l, sources, start_ms, t);
		cpu = cpu_seconds() - cpu;
		show(&run, &info, cpu / (until - from) - encode_seconds(&l, sources),
			resident_bytes() - before);
	}
	lt_clock_fake(false, 0, 0);
	lt_engine_free(e);
	lt_snapshot_free(l.snap);
	lt_shapes_free(l.shapes);
	lt_arena_fini(&l.arena);
	lt_buf_fini(&l.payload);
	lt_buf_fini(&text);
	lt_buf_fini(&report);
	lt_conf_free(conf);
	unlink(rules);
	return 0;
}
