/* SPDX-License-Identifier: MIT */
/* Pressure stall information, /proc/pressure (Linux 4.20; psi=1 where it is off). */
#include <string.h>

#include "collector.h"

enum { CPU, IO, MEMORY, N_FILES };
static const char *const file_names[N_FILES] = {"cpu", "io", "memory"};

struct state {
	struct lt_procfile f[N_FILES];
};

static const struct lt_metric metrics[] = {
	{"node_pressure_cpu_waiting_seconds_total", LT_KIND_COUNTER,
		"Total time in seconds that processes have waited for CPU time"},
	{"node_pressure_io_waiting_seconds_total", LT_KIND_COUNTER,
		"Total time in seconds that processes have waited due to IO congestion"},
	{"node_pressure_io_stalled_seconds_total", LT_KIND_COUNTER,
		"Total time in seconds no process could make progress due to IO congestion"},
	{"node_pressure_memory_waiting_seconds_total", LT_KIND_COUNTER,
		"Total time in seconds that processes have waited for memory"},
	{"node_pressure_memory_stalled_seconds_total", LT_KIND_COUNTER,
		"Total time in seconds no process could make progress due to memory congestion"},
};

static const struct {
	int file;
	const char *line;
} where[LT_ARRAY_LEN(metrics)] = {
	{CPU, "some"},
	{IO, "some"},
	{IO, "full"},
	{MEMORY, "some"},
	{MEMORY, "full"},
};

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	struct state *s = state;

	for (size_t i = 0; i < N_FILES; i++)
		lt_procfile_init(&s->f[i],
			lt_collect_path(env->conf->procfs, "pressure/%s", file_names[i]), true);
	for (size_t i = 0; i < N_FILES; i++) {
		int rc = lt_procfile_read(&s->f[i], err);

		if (rc != LT_OK)
			return rc;
	}
	return LT_OK;
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=123", microseconds */
static bool total_of(const struct lt_procfile *f, const char *which, double *seconds)
{
	struct lt_token line, word;
	const char *cursor = f->buf;
	uint64_t us;

	while (lt_scan_line(&cursor, &line)) {
		if (!lt_scan_word(&line, &word) || !lt_token_is(word, which))
			continue;
		while (lt_scan_word(&line, &word)) {
			if (word.len < 6 || memcmp(word.p, "total=", 6) != 0)
				continue;
			if (!lt_token_u64((struct lt_token){word.p + 6, word.len - 6}, &us))
				return false;
			*seconds = (double)us / 1000.0 / 1000.0;
			return true;
		}
	}
	return false;
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	struct state *s = state;
	double v[LT_ARRAY_LEN(metrics)];

	(void)env;
	for (size_t i = 0; i < N_FILES; i++) {
		int rc = lt_procfile_read(&s->f[i], err);

		if (rc != LT_OK)
			return rc;
	}
	for (size_t i = 0; i < LT_ARRAY_LEN(metrics); i++)
		if (!total_of(&s->f[where[i].file], where[i].line, &v[i]))
			return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "pressure.sample",
				"%s: has no line \"%s ... total=<microseconds>\"",
				s->f[where[i].file].path, where[i].line);
	for (size_t i = 0; i < LT_ARRAY_LEN(metrics); i++)
		lt_snapshot_value(out, metrics[i].name, metrics[i].kind, v[i]);
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	(void)env;
	for (size_t i = 0; i < N_FILES; i++)
		lt_procfile_fini(&s->f[i]);
}

const struct lt_collector lt_collector_pressure = {
	.name = "pressure",
	.help = "pressure stall information of CPU, memory and I/O",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
