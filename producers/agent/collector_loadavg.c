/* SPDX-License-Identifier: MIT */
/* /proc/loadavg */
#include "collector.h"

struct state {
	struct lt_procfile f;
};

static const struct lt_metric metrics[] = {
	{"node_load1", LT_KIND_GAUGE, "1m load average."},
	{"node_load5", LT_KIND_GAUGE, "5m load average."},
	{"node_load15", LT_KIND_GAUGE, "15m load average."},
};

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	struct state *s = state;

	lt_procfile_init(&s->f, lt_collect_path(env->conf->procfs, "loadavg"), true);
	return lt_procfile_read(&s->f, err);
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	struct state *s = state;
	struct lt_token line, word;
	const char *cursor;
	double v[3];
	int rc = lt_procfile_read(&s->f, err);

	(void)env;
	if (rc != LT_OK)
		return rc;
	cursor = s->f.buf;
	for (size_t i = 0; i < 3; i++)
		if ((i == 0 && !lt_scan_line(&cursor, &line)) || !lt_scan_word(&line, &word) ||
			!lt_token_double(word, &v[i]))
			return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "loadavg.sample",
				"%s: does not begin with three numbers", s->f.path);
	for (size_t i = 0; i < 3; i++)
		lt_snapshot_value(out, metrics[i].name, metrics[i].kind, v[i]);
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	(void)env;
	lt_procfile_fini(&s->f);
}

const struct lt_collector lt_collector_loadavg = {
	.name = "loadavg",
	.help = "load averages",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
