/* SPDX-License-Identifier: MIT */
/*
 * /proc/meminfo: each kernel has its own lines, so the names come from the file. The lines that
 * latido_ram.ko has too are taken from there when it is loaded; swap, for example, it has not.
 */
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

/* Bytes of the line @key as latido_ram.ko has them. Return: false: it has no such line. */
static bool from_kmod(const char *text, struct lt_token key, double *bytes)
{
	static const char *const lines[][2] = {
		{"MemTotal", "total_bytes"},
		{"MemFree", "free_bytes"},
		{"MemAvailable", "available_bytes"},
		{"Buffers", "buffers_bytes"},
		{"Cached", "cached_bytes"},
		{"Shmem", "shared_bytes"},
		{"SReclaimable", "slab_reclaimable_bytes"},
		{"SUnreclaim", "slab_unreclaimable_bytes"},
	};
	uint64_t v;

	for (size_t i = 0; i < LT_ARRAY_LEN(lines); i++) {
		if (!lt_token_is(key, lines[i][0]))
			continue;
		if (!lt_kmod_u64(text, lines[i][1], &v))
			return false;
		*bytes = (double)v;
		return true;
	}
	return false;
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	struct state *s = state;
	struct lt_token line, key, number, unit;
	const char *cursor, *name, *kmod;
	size_t i = 0;
	int rc = lt_procfile_read(&s->f, err);
	uint64_t total;

	if (rc != LT_OK)
		return rc;
	kmod = lt_kmod_read(&env->kmod, LT_KMOD_RAM, env->tick);
	if (kmod && !lt_kmod_u64(kmod, "total_bytes", &total)) {
		lt_kmod_refuse(&env->kmod, LT_KMOD_RAM, "total_bytes");
		kmod = NULL;
	}
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
		if (unit.len)
			v *= 1024;
		if (kmod)
			(void)from_kmod(kmod, key, &v);
		if (name)
			lt_pairs_add(&s->pairs, name, v);
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
