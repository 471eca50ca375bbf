/* SPDX-License-Identifier: MIT */
/* /proc/net/dev; packets without a handler from /sys/class/net. */
#include <stdlib.h>
#include <string.h>

#include "collector.h"

#define COLUMNS 16

/* In the order of the columns, then what /proc/net/dev does not show. */
static const struct lt_metric metrics[COLUMNS + 1] = {
#define STATISTIC(x)                                                                           \
	{                                                                                      \
		"node_network_" x "_total", LT_KIND_COUNTER, "Network device statistic " x "." \
	}
	STATISTIC("receive_bytes"),
	STATISTIC("receive_packets"),
	STATISTIC("receive_errs"),
	STATISTIC("receive_drop"),
	STATISTIC("receive_fifo"),
	STATISTIC("receive_frame"),
	STATISTIC("receive_compressed"),
	STATISTIC("receive_multicast"),
	STATISTIC("transmit_bytes"),
	STATISTIC("transmit_packets"),
	STATISTIC("transmit_errs"),
	STATISTIC("transmit_drop"),
	STATISTIC("transmit_fifo"),
	STATISTIC("transmit_colls"),
	STATISTIC("transmit_carrier"),
	STATISTIC("transmit_compressed"),
	STATISTIC("receive_nohandler"),
};

struct dev {
	struct lt_device base;
	struct lt_procfile nohandler;
	bool has_nohandler;
	int64_t retry_ns;
	double v[COLUMNS + 1];
};

struct state {
	struct lt_procfile f;
	struct lt_match *ignore;
	struct lt_devices devs; /* struct dev */
};

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	struct state *s = state;

	s->devs.size = sizeof(struct dev);
	lt_procfile_init(&s->f, lt_collect_path(env->conf->procfs, "net/dev"), false);
	s->ignore =
		lt_match_new("agent.netdev_ignore_devices", env->conf->netdev_ignore_devices, err);
	return s->ignore ? lt_procfile_read(&s->f, err) : LT_ECONF;
}

static void dev_fini(void *device, struct lt_collect_env *env)
{
	struct dev *d = device;

	lt_collect_drop(env, &d->nohandler);
}

static struct dev *dev(const struct state *s, size_t i)
{
	return (struct dev *)s->devs.v + i;
}

/* The file of a new interface that says what /proc/net/dev does not. */
static void find_nohandler(struct dev *d, struct lt_collect_env *env)
{
	const char *name = d->base.name;

	/* a name that is a path elsewhere is not an interface */
	if (d->base.ignored || strchr(name, '/') || name[0] == '.')
		return;
	lt_procfile_init(&d->nohandler,
		lt_collect_path(env->conf->sysfs, "class/net/%s/statistics/rx_nohandler", name),
		true);
	lt_collect_keep(env, &d->nohandler);
}

static int read_devs(struct state *s, struct lt_collect_env *env, struct lt_err *err)
{
	const char *cursor = s->f.buf;
	struct lt_token line, key;
	size_t n = 0;

	/* two lines of headings */
	if (!lt_scan_line(&cursor, &line) || !lt_scan_line(&cursor, &line) ||
		!memchr(line.p, '|', line.len))
		return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "netdev.sample",
			"%s: does not begin with its two headings", s->f.path);
	while (lt_scan_line(&cursor, &line)) {
		const char *colon = memrchr(line.p, ':', line.len);
		struct lt_token name = line;
		struct dev *d;
		bool is_new;
		uint64_t v;

		if (line.len == 0)
			continue;
		if (!colon)
			return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "netdev.sample",
				"%s: a line has no \"interface:\"", s->f.path);
		name.len = (size_t)(colon - line.p);
		line.len -= name.len + 1;
		line.p = colon + 1;
		if (!lt_scan_word(&name, &key))
			continue;
		d = lt_devices_at(&s->devs, n++, key, s->ignore, &is_new);
		if (is_new)
			find_nohandler(d, env);
		if (d->base.ignored)
			continue;
		for (size_t i = 0; i < COLUMNS; i++) {
			if (!lt_scan_u64(&line, &v))
				return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "netdev.sample",
					"%s: %s has %zu numbers, not %d", s->f.path, d->base.name,
					i, COLUMNS);
			d->v[i] = (double)v;
		}
	}
	lt_devices_cut(&s->devs, n, dev_fini, env);
	return LT_OK;
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	static const char *const device[] = {"device"};
	struct state *s = state;
	int rc = lt_procfile_read(&s->f, err);

	if (rc == LT_OK)
		rc = read_devs(s, env, err);
	if (rc != LT_OK)
		return rc;
	for (size_t i = 0; i < s->devs.n; i++) {
		struct dev *d = dev(s, i);

		d->has_nohandler = false;
		if (!d->nohandler.path || env->mono_ns < d->retry_ns)
			continue;
		/* An interface that was replaced under its name: the old file gives ENODEV once. */
		d->has_nohandler =
			lt_procfile_number(&d->nohandler, &d->v[COLUMNS], NULL) == LT_OK ||
			lt_procfile_number(&d->nohandler, &d->v[COLUMNS], NULL) == LT_OK;
		if (!d->has_nohandler) /* a kernel before 4.6, or the /sys of another namespace */
			d->retry_ns = env->mono_ns + LT_COLLECT_RESCAN_NS;
	}
	for (size_t m = 0; m <= COLUMNS; m++) {
		lt_snapshot_family(out, metrics[m].name, metrics[m].kind, device, 1);
		for (size_t i = 0; i < s->devs.n; i++)
			if (!dev(s, i)->base.ignored && (m < COLUMNS || dev(s, i)->has_nohandler))
				lt_snapshot_row(out, (const char *const[]){dev(s, i)->base.name},
					dev(s, i)->v[m]);
	}
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	lt_procfile_fini(&s->f);
	lt_match_free(s->ignore);
	lt_devices_cut(&s->devs, 0, dev_fini, env);
}

const struct lt_collector lt_collector_netdev = {
	.name = "netdev",
	.help = "bytes, packets and errors of each network interface",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
