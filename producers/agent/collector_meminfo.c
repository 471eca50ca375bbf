/* SPDX-License-Identifier: MIT */
/* /proc/meminfo: each kernel has its own lines, so the names come from the file. */
#include <stdlib.h>
#include <string.h>

#include "collector.h"

struct state {
	struct lt_procfile f;
	struct lt_names names;
	struct lt_pairs pairs;
};

static const struct lt_metric metrics[] = {
	{"node_memory_*_bytes", LT_KIND_GAUGE, "Memory information field *_bytes."},
	{"node_memory_*", LT_KIND_GAUGE, "Memory information field *."},
};

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	struct state *s = state;

	lt_procfile_init(&s->f, lt_collect_path(env->conf->procfs, "meminfo"), true);
	return lt_procfile_read(&s->f, err);
}

/* "Active(anon):" of a line with a unit is Active_anon_bytes. */
static char *make(struct lt_token unit, struct lt_token key, void *arg)
{
	struct lt_buf b = {0};

	(void)arg;
	lt_buf_str(&b, "node_memory_");
	for (size_t i = 0; i < key.len; i++) {
		if (key.p[i] == ')')
			continue;
		lt_buf_char(&b, key.p[i] == '(' ? '_' : key.p[i]);
	}
	if (unit.len)
		lt_buf_str(&b, "_bytes");
	return b.data;
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	struct state *s = state;
	struct lt_token line, key, number, unit;
	const char *cursor, *name;
	size_t i = 0;
	int rc = lt_procfile_read(&s->f, err);

	(void)env;
	if (rc != LT_OK)
		return rc;
	s->pairs.n = 0;
	cursor = s->f.buf;
	while (lt_scan_line(&cursor, &line)) {
		double v;

		if (!lt_scan_word(&line, &key))
			continue;
		if (key.len < 2 || key.p[key.len - 1] != ':' || !lt_scan_word(&line, &number) ||
			!lt_token_double(number, &v))
			return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "meminfo.sample",
				"%s: line %zu is not \"Name: number\"", s->f.path, i + 1);
		(void)lt_scan_word(&line, &unit); /* kB or nothing */
		key.len--;
		name = lt_names_at(&s->names, i++, unit, key, make, NULL);
		if (name)
			lt_pairs_add(&s->pairs, name, unit.len ? v * 1024 : v);
	}
	if (s->pairs.n == 0)
		return lt_fail(
			err, LT_EDATA, LT_CLS_RETRY, "meminfo.sample", "%s: empty", s->f.path);
	lt_pairs_emit(&s->pairs, out, LT_KIND_GAUGE);
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	(void)env;
	lt_procfile_fini(&s->f);
	lt_names_fini(&s->names);
	lt_pairs_fini(&s->pairs);
}

const struct lt_collector lt_collector_meminfo = {
	.name = "meminfo",
	.help = "memory, from /proc/meminfo",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
