/* SPDX-License-Identifier: MIT */
/* Which of Latido's kernel modules the figures of this sample come from. */
#include "collector.h"

static const struct lt_metric metrics[] = {
	{"latido_kmod_loaded", LT_KIND_GAUGE,
		"Whether the figures come from Latido's kernel module."},
};

/* What was read for the values in this event: process states are older than this tick. */
static bool used(struct lt_collect_env *env, enum lt_kmod_file which)
{
	int64_t age = (int64_t)(env->tick - env->kmod.file[which].tick);

	if (env->kmod.file[which].tick &&
		age * env->conf->interval_ms <= env->conf->processes_interval_ms)
		return env->kmod.file[which].ok;
	return lt_kmod_read(&env->kmod, which, env->tick) != NULL;
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	static const char *const keys[] = {"module"};

	(void)state;
	(void)err;
	lt_snapshot_family(out, metrics[0].name, metrics[0].kind, keys, 1);
	for (int i = 0; i < LT_KMOD_N; i++)
		lt_snapshot_row(out, &lt_kmod_names[i], used(env, (enum lt_kmod_file)i));
	return LT_OK;
}

const struct lt_collector lt_collector_kmod = {
	.name = "kmod",
	.help = "whether Latido's kernel modules are used",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = 1,
	.sample = sample,
};
