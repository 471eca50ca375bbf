/* SPDX-License-Identifier: MIT */
/* /proc/vmstat: of its more than 150 lines those that node_exporter takes. */
#include <stdlib.h>

#include "collector.h"

#define FIELDS "^(oom_kill|pgpg|pswp|pg.*fault).*"

struct state {
	struct lt_procfile f;
	struct lt_match *fields;
	struct lt_names names;
	struct lt_pairs pairs;
};

/* Counters, but node_exporter has never said so. */
static const struct lt_metric metrics[] = {
	{"node_vmstat_*", LT_KIND_UNKNOWN, "/proc/vmstat information field *."},
};

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	struct state *s = state;

	lt_procfile_init(&s->f, lt_collect_path(env->conf->procfs, "vmstat"), false);
	s->fields = lt_match_new("vmstat", FIELDS, err);
	return s->fields ? lt_procfile_read(&s->f, err) : LT_ECONF;
}

static char *make(struct lt_token group, struct lt_token key, void *arg)
{
	const struct state *s = arg;
	char *field = lt_strndup(key.p, key.len), *name = NULL;

	(void)group;
	if (lt_match(s->fields, field))
		name = lt_asprintf("node_vmstat_%s", field);
	free(field);
	return name;
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	struct state *s = state;
	struct lt_token line, key;
	const char *cursor, *name;
	size_t i = 0;
	int rc = lt_procfile_read(&s->f, err);

	(void)env;
	if (rc != LT_OK)
		return rc;
	s->pairs.n = 0;
	cursor = s->f.buf;
	while (lt_scan_line(&cursor, &line)) {
		uint64_t v;

		if (!lt_scan_word(&line, &key))
			continue;
		name = lt_names_at(&s->names, i++, (struct lt_token){"", 0}, key, make, s);
		if (!name)
			continue;
		if (!lt_scan_u64(&line, &v))
			return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "vmstat.sample",
				"%s: %s is not followed by a number", s->f.path, name);
		lt_pairs_add(&s->pairs, name, (double)v);
	}
	if (i == 0)
		return lt_fail(
			err, LT_EDATA, LT_CLS_RETRY, "vmstat.sample", "%s: empty", s->f.path);
	lt_pairs_emit(&s->pairs, out, LT_KIND_UNKNOWN);
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	(void)env;
	lt_procfile_fini(&s->f);
	lt_match_free(s->fields);
	lt_names_fini(&s->names);
	lt_pairs_fini(&s->pairs);
}

const struct lt_collector lt_collector_vmstat = {
	.name = "vmstat",
	.help = "paging, swapping, faults and OOM kills, from /proc/vmstat",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
