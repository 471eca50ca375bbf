/* SPDX-License-Identifier: MIT */
/* Times by CPU from /proc/stat or latido_cpu.ko; throttling and isolation from /sys/devices/system/cpu. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector.h"

enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, GUEST, GUEST_NICE, N_TIMES };

static const char *const mode_names[STEAL + 1] = {
	[USER] = "user",
	[NICE] = "nice",
	[SYSTEM] = "system",
	[IDLE] = "idle",
	[IOWAIT] = "iowait",
	[IRQ] = "irq",
	[SOFTIRQ] = "softirq",
	[STEAL] = "steal",
};

/* Idle that falls by this many seconds: the CPU was away and starts again. */
#define JUMP_BACK_S 3.0
/* More rows than this of one kind are not believed. */
#define CPUS_MAX    65536

struct cpu {
	uint64_t id;
	uint64_t seen_tick;
	char label[24];
	double t[N_TIMES];
};

/* A throttle counter of a core or a package. */
struct throttle {
	struct lt_procfile f;
	uint64_t package, core;
	char package_label[24], core_label[24];
	double value;
	bool ok;
};

struct throttles {
	struct throttle *v;
	size_t n;
};

struct state {
	double hz;
	struct cpu *cpus; /* in the order of the file */
	size_t n, cap;
	struct throttles cores, packages;
	int64_t rescan_ns;
	char **isolated;
	size_t n_isolated;
};

static const struct lt_metric metrics[] = {
	{"node_cpu_seconds_total", LT_KIND_COUNTER, "Seconds the CPUs spent in each mode."},
	{"node_cpu_guest_seconds_total", LT_KIND_COUNTER,
		"Seconds the CPUs spent in guests (VMs) for each mode."},
	{"node_cpu_core_throttles_total", LT_KIND_COUNTER,
		"Number of times this CPU core has been throttled."},
	{"node_cpu_package_throttles_total", LT_KIND_COUNTER,
		"Number of times this CPU package has been throttled."},
	{"node_cpu_isolated", LT_KIND_GAUGE,
		"Whether each core is isolated, information from "
		"/sys/devices/system/cpu/isolated."},
};

/* "0-3,8": done once, isolation is a parameter of the boot. */
static void read_isolated(struct state *s, struct lt_collect_env *env)
{
	char text[LT_LABEL_VALUE_MAX + 1], *save = NULL;
	char *path = lt_collect_path(env->conf->sysfs, "devices/system/cpu/isolated");
	bool ok = lt_procfile_once(path, text, sizeof(text));

	free(path);
	if (!ok)
		return;
	for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		char *dash = strchr(p, '-');
		uint64_t lo, hi;

		if (dash)
			*dash++ = '\0';
		if (!lt_token_u64((struct lt_token){p, strlen(p)}, &lo))
			continue;
		hi = lo;
		if (dash && !lt_token_u64((struct lt_token){dash, strlen(dash)}, &hi))
			continue;
		for (; lo <= hi && s->n_isolated < CPUS_MAX; lo++) {
			char *label = lt_asprintf("%llu", (unsigned long long)lo);
			bool known = false;

			for (size_t i = 0; i < s->n_isolated && !known; i++)
				known = strcmp(s->isolated[i], label) == 0;
			if (known) {
				free(label);
				continue;
			}
			s->isolated =
				lt_realloc(s->isolated, (s->n_isolated + 1) * sizeof(*s->isolated));
			s->isolated[s->n_isolated++] = label;
		}
	}
}

static void throttles_clear(struct throttles *t, struct lt_collect_env *env)
{
	for (size_t i = 0; i < t->n; i++)
		lt_collect_drop(env, &t->v[i].f);
	free(t->v);
	*t = (struct throttles){0};
}

static void throttles_add(struct throttles *t, struct lt_collect_env *env, const char *cpu,
	const char *file, uint64_t package, uint64_t core)
{
	struct throttle *x;
	double v;

	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].package == package && t->v[i].core == core)
			return;
	t->v = lt_realloc(t->v, (t->n + 1) * sizeof(*t->v));
	x = &t->v[t->n];
	memset(x, 0, sizeof(*x));
	lt_procfile_init(&x->f,
		lt_collect_path(
			env->conf->sysfs, "devices/system/cpu/%s/thermal_throttle/%s", cpu, file),
		true);
	if (lt_procfile_number(&x->f, &v, NULL) != LT_OK) {
		lt_procfile_fini(&x->f); /* a sibling may have it */
		return;
	}
	lt_collect_keep(env, &x->f);
	x->package = package;
	x->core = core;
	snprintf(x->package_label, sizeof(x->package_label), "%llu", (unsigned long long)package);
	snprintf(x->core_label, sizeof(x->core_label), "%llu", (unsigned long long)core);
	t->n++;
}

static bool topology(struct lt_collect_env *env, const char *cpu, const char *file, uint64_t *v)
{
	char text[LT_LABEL_VALUE_MAX + 1];
	char *path =
		lt_collect_path(env->conf->sysfs, "devices/system/cpu/%s/topology/%s", cpu, file);
	bool ok = lt_procfile_once(path, text, sizeof(text)) &&
		  lt_token_u64((struct lt_token){text, strlen(text)}, v);

	free(path);
	return ok;
}

static void rescan(struct state *s, struct lt_collect_env *env)
{
	char *dir = lt_collect_path(env->conf->sysfs, "devices/system/cpu");
	char **names;
	int n = lt_collect_children(dir, "cpu", &names, NULL);

	free(dir);
	throttles_clear(&s->cores, env);
	throttles_clear(&s->packages, env);
	for (int i = 0; i < n; i++) {
		uint64_t package, core;

		if (!topology(env, names[i], "physical_package_id", &package) ||
			!topology(env, names[i], "core_id", &core))
			continue;
		throttles_add(&s->cores, env, names[i], "core_throttle_count", package, core);
		throttles_add(&s->packages, env, names[i], "package_throttle_count", package, 0);
	}
	if (n >= 0)
		lt_collect_children_free(names, n);
	s->rescan_ns = env->mono_ns + LT_COLLECT_RESCAN_NS;
}

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	struct state *s = state;
	long hz = sysconf(_SC_CLK_TCK);

	s->hz = hz > 0 ? (double)hz : 100;
	read_isolated(s, env);
	return lt_collect_stat(env, err);
}

static struct cpu *find(struct state *s, uint64_t id, size_t guess)
{
	struct cpu *c;

	if (guess < s->n && s->cpus[guess].id == id)
		return &s->cpus[guess];
	for (size_t i = 0; i < s->n; i++)
		if (s->cpus[i].id == id)
			return &s->cpus[i];
	if (s->n == CPUS_MAX)
		return NULL;
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->cpus = lt_realloc(s->cpus, s->cap * sizeof(*s->cpus));
	}
	/* In its place, so that rows stay sorted when a CPU comes online. */
	for (guess = s->n; guess > 0 && s->cpus[guess - 1].id > id; guess--)
		s->cpus[guess] = s->cpus[guess - 1];
	c = &s->cpus[guess];
	memset(c, 0, sizeof(*c));
	c->id = id;
	snprintf(c->label, sizeof(c->label), "%llu", (unsigned long long)id);
	s->n++;
	return c;
}

/* Counters of the kernel's time accounting slip back now and then (idle and iowait above all): what
 * was shown once is not taken back. */
static void update(struct cpu *c, const double *t)
{
	if (c->t[IDLE] - t[IDLE] >= JUMP_BACK_S)
		memset(c->t, 0, sizeof(c->t));
	for (size_t i = 0; i < N_TIMES; i++)
		if (t[i] > c->t[i])
			c->t[i] = t[i];
}

/* From latido_cpu.ko. Return: false: not there, or not understood. */
static bool read_kmod(struct state *s, struct lt_collect_env *env)
{
	static const char *const keys[N_TIMES] = {
		[USER] = "user_ns",
		[NICE] = "nice_ns",
		[SYSTEM] = "system_ns",
		[IDLE] = "idle_ns",
		[IOWAIT] = "iowait_ns",
		[IRQ] = "irq_ns",
		[SOFTIRQ] = "softirq_ns",
		[STEAL] = "steal_ns",
		[GUEST] = "guest_ns",
		[GUEST_NICE] = "guest_nice_ns",
	};
	const char *text = lt_kmod_read(&env->kmod, LT_KMOD_CPU, env->tick), *row;
	uint64_t id, v;
	size_t n = 0;

	if (!text)
		return false;
	while (lt_kmod_cpu_next(&text, &id, &row)) {
		double t[N_TIMES];
		struct cpu *c;

		for (size_t i = 0; i < N_TIMES; i++) {
			if (!lt_kmod_u64(row, keys[i], &v)) {
				lt_kmod_refuse(&env->kmod, LT_KMOD_CPU, keys[i]);
				return false;
			}
			t[i] = (double)v / 1e9;
		}
		c = find(s, id, n);
		if (!c || c->seen_tick == env->tick)
			continue;
		update(c, t);
		c->seen_tick = env->tick;
		n++;
	}
	if (n == 0)
		lt_kmod_refuse(&env->kmod, LT_KMOD_CPU, "cpus");
	return n > 0;
}

/* CPUs that are offline have no line: their counters are left out, not shown as 0, and are taken up
 * where they are when the CPU comes back. */
static void drop_offline(struct state *s, uint64_t tick)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->cpus[i].seen_tick == tick)
			s->cpus[n++] = s->cpus[i];
	s->n = n;
}

static int read_times(struct state *s, struct lt_collect_env *env, struct lt_err *err)
{
	const char *cursor = env->stat.buf;
	struct lt_token line, key;
	size_t n = 0;

	while (lt_scan_line(&cursor, &line)) {
		double t[N_TIMES] = {0};
		uint64_t id, v;
		struct cpu *c;

		/* cpu, cpu0, cpu1 ... come first */
		if (!lt_scan_word(&line, &key) || key.len < 3 || memcmp(key.p, "cpu", 3) != 0)
			break;
		if (key.len == 3)
			continue;
		if (!lt_token_u64((struct lt_token){key.p + 3, key.len - 3}, &id))
			return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "cpu.sample",
				"%s: \"%.*s\" is not a CPU", env->stat.path,
				(int)(key.len < 32 ? key.len : 32), key.p);
		/* Old kernels have fewer columns; new ones may have more. */
		for (size_t i = 0; i < N_TIMES && lt_scan_u64(&line, &v); i++)
			t[i] = (double)v / s->hz;
		c = find(s, id, n);
		if (!c || c->seen_tick == env->tick)
			continue;
		update(c, t);
		c->seen_tick = env->tick;
		n++;
	}
	if (n == 0)
		return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "cpu.sample",
			"%s: has no line of a CPU", env->stat.path);
	return LT_OK;
}

static void emit_throttles(struct throttles *t, struct lt_snapshot *out,
	const struct lt_metric *metric, const char *const *keys, size_t n_keys)
{
	lt_snapshot_family(out, metric->name, metric->kind, keys, n_keys);
	for (size_t i = 0; i < t->n; i++) {
		/* core, package or package alone */
		const char *const labels[] = {t->v[i].core_label, t->v[i].package_label};

		if (t->v[i].ok)
			lt_snapshot_row(out, labels + (2 - n_keys), t->v[i].value);
	}
}

static void read_throttles(struct state *s, struct throttles *t)
{
	for (size_t i = 0; i < t->n; i++) {
		t->v[i].ok = lt_procfile_number(&t->v[i].f, &t->v[i].value, NULL) == LT_OK;
		if (!t->v[i].ok) /* went offline */
			s->rescan_ns = 0;
	}
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	static const char *const cpu_mode[] = {"cpu", "mode"};
	static const char *const core_package[] = {"core", "package"};
	struct state *s = state;

	if (!read_kmod(s, env)) {
		int rc = lt_collect_stat(env, err);

		if (rc == LT_OK)
			rc = read_times(s, env, err);
		if (rc != LT_OK)
			return rc;
	}
	drop_offline(s, env->tick);
	if (env->mono_ns >= s->rescan_ns)
		rescan(s, env);
	read_throttles(s, &s->cores);
	read_throttles(s, &s->packages);

	lt_snapshot_family(out, metrics[0].name, metrics[0].kind, cpu_mode, 2);
	for (size_t i = 0; i < s->n; i++)
		for (size_t m = 0; m <= STEAL; m++) {
			const char *const labels[] = {s->cpus[i].label, mode_names[m]};

			lt_snapshot_row(out, labels, s->cpus[i].t[m]);
		}
	/* Guest time is also inside user and nice. */
	lt_snapshot_family(out, metrics[1].name, metrics[1].kind, cpu_mode, 2);
	for (size_t i = 0; i < s->n; i++) {
		const char *const user[] = {s->cpus[i].label, "user"};
		const char *const nice[] = {s->cpus[i].label, "nice"};

		lt_snapshot_row(out, user, s->cpus[i].t[GUEST]);
		lt_snapshot_row(out, nice, s->cpus[i].t[GUEST_NICE]);
	}
	emit_throttles(&s->cores, out, &metrics[2], core_package, 2);
	emit_throttles(&s->packages, out, &metrics[3], core_package + 1, 1);
	lt_snapshot_family(out, metrics[4].name, metrics[4].kind, cpu_mode, 1);
	for (size_t i = 0; i < s->n_isolated; i++) {
		const char *const labels[] = {s->isolated[i]};

		lt_snapshot_row(out, labels, 1);
	}
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	lt_collect_stat_close(env);
	throttles_clear(&s->cores, env);
	throttles_clear(&s->packages, env);
	for (size_t i = 0; i < s->n_isolated; i++)
		free(s->isolated[i]);
	free(s->isolated);
	free(s->cpus);
}

const struct lt_collector lt_collector_cpu = {
	.name = "cpu",
	.help = "time of each CPU by mode, throttling, isolation",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
