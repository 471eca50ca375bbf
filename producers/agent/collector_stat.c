/* SPDX-License-Identifier: MIT */
/* The single numbers of /proc/stat. */
#include "collector.h"

static const struct lt_metric metrics[] = {
	{"node_intr_total", LT_KIND_COUNTER, "Total number of interrupts serviced."},
	{"node_context_switches_total", LT_KIND_COUNTER, "Total number of context switches."},
	{"node_forks_total", LT_KIND_COUNTER, "Total number of forks."},
	{"node_boot_time_seconds", LT_KIND_GAUGE, "Node boot time, in unixtime."},
	{"node_procs_running", LT_KIND_GAUGE, "Number of processes in runnable state."},
	{"node_procs_blocked", LT_KIND_GAUGE,
		"Number of processes blocked waiting for I/O to complete."},
};

/* The line of each of the metrics above. */
static const char *const keys[LT_ARRAY_LEN(metrics)] = {
	"intr",
	"ctxt",
	"processes",
	"btime",
	"procs_running",
	"procs_blocked",
};

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	(void)state;
	return lt_collect_stat(env, err);
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	bool have[LT_ARRAY_LEN(metrics)] = {false};
	uint64_t v[LT_ARRAY_LEN(metrics)];
	struct lt_token line, key;
	const char *cursor;
	size_t n = 0;
	int rc = lt_collect_stat(env, err);

	(void)state;
	if (rc != LT_OK)
		return rc;
	cursor = env->stat.buf;
	while (lt_scan_line(&cursor, &line)) {
		if (!lt_scan_word(&line, &key))
			continue;
		for (size_t i = 0; i < LT_ARRAY_LEN(metrics); i++) {
			if (have[i] || !lt_token_is(key, keys[i]))
				continue;
			if (!lt_scan_u64(&line, &v[i]))
				return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "stat.sample",
					"%s: %s is not followed by a number", env->stat.path,
					keys[i]);
			have[i] = true;
			n++;
		}
	}
	if (n == 0)
		return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "stat.sample",
			"%s: has none of its lines (intr, ctxt, ...)", env->stat.path);
	for (size_t i = 0; i < LT_ARRAY_LEN(metrics); i++)
		if (have[i])
			lt_snapshot_value(out, metrics[i].name, metrics[i].kind, (double)v[i]);
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	(void)state;
	lt_collect_stat_close(env);
}

const struct lt_collector lt_collector_stat = {
	.name = "stat",
	.help = "interrupts, context switches, forks, boot time, running and blocked processes",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = 1,
	.init = init,
	.sample = sample,
	.fini = fini,
};
