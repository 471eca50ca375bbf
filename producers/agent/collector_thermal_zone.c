/* SPDX-License-Identifier: MIT */
/* /sys/class/thermal: temperatures of zones, states of cooling devices. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "collector.h"

struct item {
	char *name; /* number behind the prefix */
	char type[LT_LABEL_VALUE_MAX + 1];
	struct lt_procfile cur; /* temp, or cur_state */
	struct lt_procfile max; /* max_state */
	double cur_value, max_value;
};

struct items {
	struct item *v;
	size_t n;
};

struct state {
	struct items zones, coolers;
	int64_t rescan_ns;
};

static const struct lt_metric metrics[] = {
	{"node_thermal_zone_temp", LT_KIND_GAUGE, "Zone temperature in Celsius"},
	{"node_cooling_device_cur_state", LT_KIND_GAUGE,
		"Current throttle state of the cooling device"},
	{"node_cooling_device_max_state", LT_KIND_GAUGE,
		"Maximum throttle state of the cooling device"},
};

static void items_clear(struct items *x, struct lt_collect_env *env)
{
	for (size_t i = 0; i < x->n; i++) {
		free(x->v[i].name);
		lt_collect_drop(env, &x->v[i].cur);
		lt_collect_drop(env, &x->v[i].max);
	}
	free(x->v);
	*x = (struct items){0};
}

static int items_scan(struct items *x, struct lt_collect_env *env, const char *prefix,
	const char *cur, const char *max, struct lt_err *err)
{
	char *dir = lt_collect_path(env->conf->sysfs, "class/thermal");
	char **names;
	int n = lt_collect_children(dir, prefix, &names, err);

	items_clear(x, env);
	if (n > 0)
		x->v = lt_calloc((size_t)n, sizeof(*x->v));
	for (int i = 0; i < n; i++) {
		struct item *it = &x->v[x->n];
		char *path = lt_collect_path(dir, "%s/type", names[i]);
		bool ok = lt_procfile_once(path, it->type, sizeof(it->type));
		double v;

		free(path);
		if (!ok) /* going away just now */
			continue;
		lt_procfile_init(&it->cur, lt_collect_path(dir, "%s/%s", names[i], cur), true);
		if (lt_procfile_number(&it->cur, &v, NULL) == LT_EAGAIN) {
			lt_procfile_fini(&it->cur); /* switched off */
			memset(it, 0, sizeof(*it));
			continue;
		}
		it->name = lt_strdup(names[i] + strlen(prefix));
		lt_collect_keep(env, &it->cur);
		if (max) {
			lt_procfile_init(
				&it->max, lt_collect_path(dir, "%s/%s", names[i], max), true);
			lt_collect_keep(env, &it->max);
		}
		x->n++;
	}
	if (n >= 0)
		lt_collect_children_free(names, n);
	free(dir);
	return n < 0 ? n : LT_OK;
}

static int rescan(struct state *s, struct lt_collect_env *env, struct lt_err *err)
{
	int rc = items_scan(&s->zones, env, "thermal_zone", "temp", NULL, err);

	s->rescan_ns = env->mono_ns + LT_COLLECT_RESCAN_NS;
	if (rc != LT_OK)
		return rc;
	return items_scan(&s->coolers, env, "cooling_device", "cur_state", "max_state", err);
}

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	return rescan(state, env, err);
}

/* A sensor that does not answer has no value now, but keeps its place: NaN. One that is gone makes
 * us look again which there are. */
static double read_one(struct state *s, struct lt_procfile *f)
{
	double v;
	int rc = lt_procfile_number(f, &v, NULL);

	if (rc == LT_OK)
		return v;
	if (rc == LT_EAGAIN)
		s->rescan_ns = 0;
	return NAN;
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	static const char *const zone_keys[] = {"type", "zone"};
	static const char *const device_keys[] = {"name", "type"};
	struct state *s = state;

	if (env->mono_ns >= s->rescan_ns) {
		int rc = rescan(s, env, err);

		if (rc != LT_OK)
			return rc;
	}
	for (size_t i = 0; i < s->zones.n; i++)
		s->zones.v[i].cur_value = read_one(s, &s->zones.v[i].cur) / 1000.0;
	for (size_t i = 0; i < s->coolers.n; i++) {
		s->coolers.v[i].cur_value = read_one(s, &s->coolers.v[i].cur);
		s->coolers.v[i].max_value = read_one(s, &s->coolers.v[i].max);
	}
	lt_snapshot_family(out, metrics[0].name, metrics[0].kind, zone_keys, 2);
	for (size_t i = 0; i < s->zones.n; i++)
		lt_snapshot_row(out, (const char *const[]){s->zones.v[i].type, s->zones.v[i].name},
			s->zones.v[i].cur_value);
	lt_snapshot_family(out, metrics[1].name, metrics[1].kind, device_keys, 2);
	for (size_t i = 0; i < s->coolers.n; i++)
		lt_snapshot_row(out,
			(const char *const[]){s->coolers.v[i].name, s->coolers.v[i].type},
			s->coolers.v[i].cur_value);
	lt_snapshot_family(out, metrics[2].name, metrics[2].kind, device_keys, 2);
	for (size_t i = 0; i < s->coolers.n; i++)
		lt_snapshot_row(out,
			(const char *const[]){s->coolers.v[i].name, s->coolers.v[i].type},
			s->coolers.v[i].max_value);
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	items_clear(&s->zones, env);
	items_clear(&s->coolers, env);
}

const struct lt_collector lt_collector_thermal_zone = {
	.name = "thermal_zone",
	.help = "temperatures of thermal zones, states of cooling devices",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
