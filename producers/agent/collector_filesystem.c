/* SPDX-License-Identifier: MIT */
/* Sizes of mounted file systems. mounts.c asks them, for statfs(2) may hang. */
#include <stdlib.h>
#include <string.h>

#include "collector.h"
#include "latido/clock.h"
#include "mounts.h"

/* As node_exporter's --collector.filesystem.mount-timeout. */
#define OVERDUE_NS (5 * LT_NS_PER_S)

struct state {
	struct lt_procfile init_mounts; /* the mounts of the machine */
	struct lt_procfile own_mounts;  /* ours, where the former may not be read */
	struct lt_procfile *f;
	struct lt_match *ignore_types, *ignore_mounts;
	struct lt_mounts *mounts;
	struct lt_buf text; /* what the list was made from */
	bool listed;
};

static const struct lt_metric metrics[] = {
	{"node_filesystem_device_error", LT_KIND_GAUGE,
		"Whether an error occurred while getting statistics for the given device."},
	{"node_filesystem_readonly", LT_KIND_GAUGE, "Filesystem read-only status."},
	{"node_filesystem_size_bytes", LT_KIND_GAUGE, "Filesystem size in bytes."},
	{"node_filesystem_free_bytes", LT_KIND_GAUGE, "Filesystem free space in bytes."},
	{"node_filesystem_avail_bytes", LT_KIND_GAUGE,
		"Filesystem space available to non-root users in bytes."},
	{"node_filesystem_files", LT_KIND_GAUGE, "Filesystem total file nodes."},
	{"node_filesystem_files_free", LT_KIND_GAUGE, "Filesystem total free file nodes."},
};
enum { DEVICE_ERROR, READONLY, SIZE, FREE, AVAIL, FILES, FILES_FREE };

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	const struct lt_agent_conf *conf = env->conf;
	struct state *s = state;

	lt_procfile_init(&s->init_mounts, lt_collect_path(conf->procfs, "1/mounts"), false);
	lt_procfile_init(&s->own_mounts, lt_collect_path(conf->procfs, "mounts"), false);
	s->ignore_types =
		lt_match_new("agent.filesystem_ignore_types", conf->filesystem_ignore_types, err);
	if (!s->ignore_types)
		return LT_ECONF;
	s->ignore_mounts =
		lt_match_new("agent.filesystem_ignore_mounts", conf->filesystem_ignore_mounts, err);
	if (!s->ignore_mounts)
		return LT_ECONF;
	s->mounts = lt_mounts_new(OVERDUE_NS, statfs);
	s->f = &s->init_mounts;
	if (lt_procfile_read(s->f, NULL) == LT_OK)
		return LT_OK;
	s->f = &s->own_mounts; /* hidepid */
	return lt_procfile_read(s->f, err);
}

/* "\040" and the like; fstab(5). */
static char *unescape(struct lt_token t)
{
	char *s = lt_malloc(t.len + 1);
	size_t n = 0;

	for (size_t i = 0; i < t.len; i++) {
		const char *p = t.p + i;

		if (*p == '\\' && i + 3 < t.len && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' &&
			p[2] <= '7' && p[3] >= '0' && p[3] <= '7') {
			char c = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));

			if (c) { /* no path has a NUL */
				s[n++] = c;
				i += 3;
				continue;
			}
		}
		s[n++] = *p;
	}
	s[n] = '\0';
	return s;
}

static bool has_option(struct lt_token options, const char *wanted)
{
	size_t n = strlen(wanted);

	while (options.len) {
		const char *comma = memchr(options.p, ',', options.len);
		size_t len = comma ? (size_t)(comma - options.p) : options.len;

		if (len == n && memcmp(options.p, wanted, n) == 0)
			return true;
		if (!comma)
			break;
		options.p += len + 1;
		options.len -= len + 1;
	}
	return false;
}

/* Where a container sees the machine's root as @rootfs, mount points are shown without it. */
static const char *strip_root(const char *rootfs, const char *mountpoint)
{
	size_t n = strlen(rootfs);

	while (n && rootfs[n - 1] == '/')
		n--;
	if (n == 0 || strncmp(mountpoint, rootfs, n) != 0)
		return mountpoint;
	if (mountpoint[n] == '\0')
		return "/";
	return mountpoint[n] == '/' ? mountpoint + n : mountpoint;
}

/* NULL: not wanted */
static struct lt_mount *make_mount(struct state *s, struct lt_collect_env *env,
	struct lt_token device, struct lt_token where, struct lt_token type,
	struct lt_token options)
{
	struct lt_mount *m = lt_calloc(1, sizeof(*m));
	char *raw = unescape(where);
	const char *mountpoint = strip_root(env->conf->rootfs, raw);

	m->fstype = lt_strndup(type.p, type.len);
	m->device = lt_strndup(device.p, device.len);
	m->mountpoint = lt_strdup(mountpoint);
	m->path = *env->conf->rootfs && strcmp(env->conf->rootfs, "/") != 0
			  ? lt_asprintf("%s%s", env->conf->rootfs, mountpoint)
			  : lt_strdup(mountpoint);
	m->readonly = has_option(options, "ro");
	free(raw);
	if (!lt_match(s->ignore_mounts, m->mountpoint) && !lt_match(s->ignore_types, m->fstype))
		return m;
	lt_mount_free(m);
	return NULL;
}

static int list_mounts(struct state *s, struct lt_collect_env *env, struct lt_err *err)
{
	struct lt_mount **list = NULL, *m;
	const char *cursor = s->f->buf;
	struct lt_token line, device, where, type, options;
	size_t n = 0, cap = 0;

	while (lt_scan_line(&cursor, &line)) {
		if (!lt_scan_word(&line, &device))
			continue;
		if (!lt_scan_word(&line, &where) || !lt_scan_word(&line, &type) ||
			!lt_scan_word(&line, &options)) {
			for (size_t i = 0; i < n; i++)
				lt_mount_free(list[i]);
			free(list);
			return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "filesystem.sample",
				"%s: a line is not \"device mountpoint type options\"", s->f->path);
		}
		m = make_mount(s, env, device, where, type, options);
		/* mounted over: the same labels once */
		for (size_t i = 0; m && i < n; i++) {
			if (strcmp(list[i]->mountpoint, m->mountpoint) == 0 &&
				strcmp(list[i]->device, m->device) == 0 &&
				strcmp(list[i]->fstype, m->fstype) == 0) {
				lt_mount_free(m);
				m = NULL;
			}
		}
		if (!m)
			continue;
		if (n == cap) {
			cap = cap ? 2 * cap : 16;
			list = lt_realloc(list, cap * sizeof(struct lt_mount *));
		}
		list[n++] = m;
	}
	lt_mounts_list(s->mounts, list, n);
	return LT_OK;
}

static double value_of(const struct lt_mount *m, int metric)
{
	double unit = (double)m->buf.f_bsize;

	switch (metric) {
	case DEVICE_ERROR:
		return m->error;
	case READONLY:
		return m->readonly;
	case SIZE:
		return (double)m->buf.f_blocks * unit;
	case FREE:
		return (double)m->buf.f_bfree * unit;
	case AVAIL:
		return (double)m->buf.f_bavail * unit;
	case FILES:
		return (double)m->buf.f_files;
	default:
		return (double)m->buf.f_ffree;
	}
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	static const char *const keys[] = {"device", "fstype", "mountpoint"};
	struct state *s = state;
	struct lt_mount *const *list;
	int64_t patience_ns = env->conf->interval_ms * LT_NS_PER_MS / 8;
	size_t n;
	int rc = lt_procfile_read(s->f, err);

	if (rc != LT_OK)
		return rc;
	if (!s->listed || s->text.len != s->f->len ||
		memcmp(s->text.data, s->f->buf, s->f->len) != 0) {
		rc = list_mounts(s, env, err);
		if (rc != LT_OK)
			return rc;
		lt_buf_reset(&s->text);
		lt_buf_add(&s->text, s->f->buf, s->f->len);
		s->listed = true;
	}
	if (patience_ns > 100 * LT_NS_PER_MS)
		patience_ns = 100 * LT_NS_PER_MS;
	n = lt_mounts_ask(s->mounts, env->once ? OVERDUE_NS : patience_ns, &list);
	for (int metric = 0; metric <= FILES_FREE; metric++) {
		lt_snapshot_family(out, metrics[metric].name, metrics[metric].kind, keys, 3);
		for (size_t i = 0; i < n; i++) {
			const struct lt_mount *m = list[i];

			/* With an error there is nothing else to say; without an answer yet
			 * nothing at all. */
			if (metric == DEVICE_ERROR ? m->error || m->answered
						   : !m->error && m->answered)
				lt_snapshot_row(out,
					(const char *const[]){m->device, m->fstype, m->mountpoint},
					value_of(m, metric));
		}
	}
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	(void)env;
	lt_mounts_free(s->mounts);
	lt_procfile_fini(&s->init_mounts);
	lt_procfile_fini(&s->own_mounts);
	lt_match_free(s->ignore_types);
	lt_match_free(s->ignore_mounts);
	lt_buf_fini(&s->text);
}

const struct lt_collector lt_collector_filesystem = {
	.name = "filesystem",
	.help = "size and free space of mounted file systems",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
