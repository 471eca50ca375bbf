/* SPDX-License-Identifier: MIT */
/* Sockets by protocol, /proc/net/sockstat and sockstat6. */
#include <string.h>
#include <unistd.h>

#include "collector.h"

struct state {
	struct lt_procfile v4, v6;
	double page_bytes;
	struct lt_names names;
	struct lt_pairs pairs;
};

static const struct lt_metric metrics[] = {
	{"node_sockstat_sockets_used", LT_KIND_GAUGE, "Number of IPv4 sockets in use."},
	{"node_sockstat_*_inuse", LT_KIND_GAUGE, "Number of * sockets in state inuse."},
	{"node_sockstat_*_orphan", LT_KIND_GAUGE, "Number of * sockets in state orphan."},
	{"node_sockstat_*_tw", LT_KIND_GAUGE, "Number of * sockets in state tw."},
	{"node_sockstat_*_alloc", LT_KIND_GAUGE, "Number of * sockets in state alloc."},
	{"node_sockstat_*_mem", LT_KIND_GAUGE, "Memory of * sockets in pages."},
	{"node_sockstat_*_mem_bytes", LT_KIND_GAUGE, "Memory of * sockets in bytes."},
	{"node_sockstat_*_memory", LT_KIND_GAUGE, "Memory of * fragments in bytes."},
};

static const char *const states[] = {"inuse", "orphan", "tw", "alloc", "mem", "memory"};

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	struct state *s = state;
	int rc4, rc6;

	s->page_bytes = (double)sysconf(_SC_PAGESIZE);
	lt_procfile_init(&s->v4, lt_collect_path(env->conf->procfs, "net/sockstat"), true);
	lt_procfile_init(&s->v6, lt_collect_path(env->conf->procfs, "net/sockstat6"), true);
	rc6 = lt_procfile_read(&s->v6, err);
	rc4 = lt_procfile_read(&s->v4, err);
	return rc4 == LT_EAGAIN ? rc6 : rc4; /* either alone is fine */
}

static char *make(struct lt_token protocol, struct lt_token key, void *arg)
{
	(void)arg;
	return lt_asprintf(
		"node_sockstat_%.*s_%.*s", (int)protocol.len, protocol.p, (int)key.len, key.p);
}

/* "TCP: inuse 4 orphan 0 tw 36 alloc 5 mem 232" */
static int read_file(
	struct state *s, const struct lt_procfile *f, bool v6, size_t *i, struct lt_err *err)
{
	const char *cursor = f->buf, *name;
	struct lt_token line, protocol, key;

	while (lt_scan_line(&cursor, &line)) {
		bool sockets;
		uint64_t v;

		if (!lt_scan_word(&line, &protocol))
			continue;
		if (protocol.len < 2 || protocol.p[protocol.len - 1] != ':')
			return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "sockstat.sample",
				"%s: a line does not begin with \"PROTOCOL:\"", f->path);
		protocol.len--;
		sockets = lt_token_is(protocol, "sockets");
		while (lt_scan_word(&line, &key)) {
			bool wanted = false;

			if (!lt_scan_u64(&line, &v))
				return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "sockstat.sample",
					"%s: \"%.*s\" is not followed by a number", f->path,
					(int)(key.len < 32 ? key.len : 32), key.p);
			if (sockets)
				wanted = !v6 && lt_token_is(key, "used");
			else
				for (size_t k = 0; k < LT_ARRAY_LEN(states) && !wanted; k++)
					wanted = lt_token_is(key, states[k]);
			if (!wanted)
				continue;
			name = lt_names_at(&s->names, (*i)++, protocol, key, make, NULL);
			if (name)
				lt_pairs_add(&s->pairs, name, (double)v);
			if (!lt_token_is(key, "mem"))
				continue;
			name = lt_names_at(&s->names, (*i)++, protocol,
				(struct lt_token){"mem_bytes", 9}, make, NULL);
			if (name)
				lt_pairs_add(&s->pairs, name, (double)v * s->page_bytes);
		}
	}
	return LT_OK;
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	struct state *s = state;
	size_t i = 0;
	int rc = lt_procfile_read(&s->v4, err);

	(void)env;
	s->pairs.n = 0;
	if (rc == LT_OK)
		rc = read_file(s, &s->v4, false, &i, err);
	if (rc != LT_OK && rc != LT_EAGAIN)
		return rc;
	rc = lt_procfile_read(&s->v6, err);
	if (rc == LT_OK)
		rc = read_file(s, &s->v6, true, &i, err);
	if (rc != LT_OK && (rc != LT_EAGAIN || i == 0))
		return rc;
	lt_pairs_emit(&s->pairs, out, LT_KIND_GAUGE);
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	(void)env;
	lt_procfile_fini(&s->v4);
	lt_procfile_fini(&s->v6);
	lt_names_fini(&s->names);
	lt_pairs_fini(&s->pairs);
}

const struct lt_collector lt_collector_sockstat = {
	.name = "sockstat",
	.help = "sockets by protocol",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
