/* SPDX-License-Identifier: MIT */
#include "collectors.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "latido/stats.h"
#include "top.h"

#define FILES_MAX       320
#define ABSENT_RETRY_NS (60 * LT_NS_PER_S)

extern const struct lt_collector lt_collector_cpu, lt_collector_diskstats, lt_collector_filesystem,
	lt_collector_hwmon, lt_collector_kmod, lt_collector_latido, lt_collector_loadavg,
	lt_collector_meminfo, lt_collector_netdev, lt_collector_netstat, lt_collector_pressure,
	lt_collector_processes, lt_collector_sockstat, lt_collector_stat, lt_collector_thermal_zone,
	lt_collector_time, lt_collector_timex, lt_collector_uname, lt_collector_vmstat;

const struct lt_collector *const lt_collectors_all[] = {
	&lt_collector_time, /* first: nearest to the time of the event */
	&lt_collector_cpu,
	&lt_collector_stat,
	&lt_collector_loadavg,
	&lt_collector_meminfo,
	&lt_collector_vmstat,
	&lt_collector_pressure,
	&lt_collector_diskstats,
	&lt_collector_filesystem,
	&lt_collector_netdev,
	&lt_collector_netstat,
	&lt_collector_sockstat,
	&lt_collector_processes,
	&lt_collector_uname,
	&lt_collector_timex,
	&lt_collector_hwmon,
	&lt_collector_thermal_zone,
	&lt_collector_latido,
	&lt_collector_kmod, /* last: what the others have read */
	NULL,
};

enum status { FAILED = 0, UP, ABSENT };

struct slot {
	const struct lt_collector *c;
	void *state;
	enum status status;
	bool told_absent;
	bool excluded; /* its series are not valid; this sample goes without it */
	int64_t retry_ns;
	struct lt_complaint complaint;
	struct lt_counter errors;
	struct lt_gauge duration_ns;
	struct lt_gauge up;
	char *labels;
};

struct lt_collectors {
	struct lt_collect_env env;
	struct slot *slots;
	size_t n;
	struct lt_stat *stats;
};

/* ---- which ---- */

static bool wanted(const struct lt_agent_conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->collectors.n; i++)
		if (strcmp(conf->collectors.items[i], name) == 0)
			return true;
	return conf->collectors.n == 0;
}

/* ---- life of one ---- */

static void end(struct lt_collectors *cs, struct slot *s)
{
	if (s->state && s->c->fini)
		s->c->fini(s->state, &cs->env);
	free(s->state);
	s->state = NULL;
}

static void begin(struct lt_collectors *cs, struct slot *s, struct lt_err *err)
{
	int rc;

	s->state = lt_calloc(1, s->c->state_size);
	rc = s->c->init ? s->c->init(s->state, &cs->env, err) : LT_OK;
	if (rc == LT_OK) {
		s->status = UP;
		return;
	}
	end(cs, s);
	if (rc == LT_EAGAIN) {
		s->status = ABSENT;
		s->retry_ns = cs->env.mono_ns + ABSENT_RETRY_NS;
	} else {
		s->status = FAILED;
	}
}

static void tell_absent(struct slot *s, const struct lt_err *err)
{
	if (!s->told_absent)
		lt_log(LT_INFO, "collector_absent", LT_S("collector", s->c->name),
			LT_S("reason", err->msg));
	s->told_absent = true;
	lt_gauge_set(&s->up, 0);
}

static void tell_failed(struct slot *s, const struct lt_err *err)
{
	lt_counter_add(&s->errors, 1);
	lt_gauge_set(&s->up, 0);
	lt_complain(&s->complaint, LT_WARN, "collector_failed", LT_S("collector", s->c->name),
		LT_S("err", err->msg));
}

/* Sensors and interfaces together, and processes, may each keep so many files open: with what is
 * open anyway below the limit of this process, usually 1024. */
static unsigned files_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= 3 * FILES_MAX)
		return FILES_MAX;
	return (unsigned)(limit.rlim_cur / 3);
}

/* Nearly every collector would be "absent" without it: a mistake, not a small machine. */
static int check_procfs(const char *path, struct lt_err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "agent.procfs",
			"agent.procfs: %s: %s; set it to where proc is mounted", path,
			strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "agent.procfs",
			"agent.procfs: %s is not a directory; set it to where proc is mounted",
			path);
	return LT_OK;
}

struct lt_collectors *lt_collectors_new(
	const struct lt_agent_conf *conf, bool once, struct lt_err *err)
{
	struct lt_collectors *cs;

	if (check_procfs(conf->procfs, err) < 0)
		return NULL;
	cs = lt_calloc(1, sizeof(*cs));
	cs->env.conf = conf;
	cs->env.files_max = files_max();
	cs->env.once = once;
	lt_kmod_init(&cs->env.kmod, conf);
	cs->env.tick = 1;
	cs->env.mono_ns = lt_mono_ns();
	cs->env.wall_ns = lt_wall_ns();
	for (size_t i = 0; lt_collectors_all[i]; i++)
		cs->n += wanted(conf, lt_collectors_all[i]->name);
	cs->slots = lt_calloc(cs->n, sizeof(*cs->slots));
	cs->n = 0;
	for (size_t i = 0; lt_collectors_all[i]; i++) {
		struct slot *s = &cs->slots[cs->n];
		struct lt_err why = {0};

		if (!wanted(conf, lt_collectors_all[i]->name))
			continue;
		s->c = lt_collectors_all[i];
		s->labels = lt_asprintf("collector=\"%s\"", s->c->name);
		cs->n++;
		begin(cs, s, &why);
		if (s->status == UP)
			continue;
		if (why.cls == LT_CLS_CONFIG) {
			if (err)
				*err = why;
			lt_collectors_free(cs);
			return NULL;
		}
		if (s->status == ABSENT)
			tell_absent(s, &why);
		else
			tell_failed(s, &why);
	}
	return cs;
}

void lt_collectors_free(struct lt_collectors *cs)
{
	if (!cs)
		return;
	for (size_t i = 0; i < cs->n; i++) {
		end(cs, &cs->slots[i]);
		free(cs->slots[i].labels);
	}
	lt_procfile_fini(&cs->env.stat);
	lt_kmod_fini(&cs->env.kmod);
	free(cs->slots);
	free(cs->stats);
	free(cs);
}

/* ---- sampling ---- */

static void sample_one(struct lt_collectors *cs, struct slot *s, struct lt_snapshot *out)
{
	struct lt_err err = {0};
	int rc;

	if (s->status == ABSENT && cs->env.mono_ns < s->retry_ns)
		return;
	if (s->status != UP) {
		begin(cs, s, &err);
		if (s->status == ABSENT) {
			tell_absent(s, &err);
			return;
		}
		if (s->status != UP) {
			tell_failed(s, &err);
			return;
		}
	}
	rc = s->c->sample(s->state, &cs->env, out, &err);
	if (rc == LT_OK) {
		s->told_absent = false;
		lt_gauge_set(&s->up, 1);
		lt_release(&s->complaint, "collector_works_again", LT_S("collector", s->c->name));
		return;
	}
	end(cs, s);
	s->status = FAILED; /* begun anew next time, which finds out if it is absent */
	tell_failed(s, &err);
}

static void sample_all(struct lt_collectors *cs, struct lt_snapshot *out)
{
	int64_t before, after;

	cs->env.tick++; /* also when it is taken again: everything is read anew */
	lt_snapshot_begin(out);
	before = lt_mono_ns();
	for (size_t i = 0; i < cs->n; i++) {
		if (cs->slots[i].excluded)
			continue;
		sample_one(cs, &cs->slots[i], out);
		after = lt_mono_ns();
		lt_gauge_set(&cs->slots[i].duration_ns, after - before);
		before = after;
	}
}

/* The snapshot as a whole was refused: find whose series are to blame by taking each alone. */
static bool exclude_invalid(struct lt_collectors *cs, struct lt_snapshot *out)
{
	bool found = false;

	for (size_t i = 0; i < cs->n; i++) {
		struct slot *s = &cs->slots[i];
		struct lt_err err = {0};
		struct lt_event e;

		cs->env.tick++;
		lt_snapshot_begin(out);
		/* a snapshot without any value would be refused too */
		lt_snapshot_value(out, "latido_agent_probe", LT_KIND_GAUGE, 0);
		sample_one(cs, s, out);
		if (lt_snapshot_event(out, &e, &err) == LT_OK)
			continue;
		s->excluded = true;
		found = true;
		tell_failed(s, &err);
	}
	return found;
}

int lt_collectors_sample(
	struct lt_collectors *cs, struct lt_snapshot *out, struct lt_event *e, struct lt_err *err)
{
	int rc;

	cs->env.mono_ns = lt_mono_ns();
	cs->env.wall_ns = lt_wall_ns();
	e->time_ns = cs->env.wall_ns;
	sample_all(cs, out);
	rc = lt_snapshot_event(out, e, err);
	if (rc == LT_OK)
		return rc;
	if (exclude_invalid(cs, out)) {
		sample_all(cs, out);
		rc = lt_snapshot_event(out, e, err);
	}
	for (size_t i = 0; i < cs->n; i++)
		cs->slots[i].excluded = false;
	return rc;
}

/* ---- own metrics ---- */

static double duration_s(void *p)
{
	const struct slot *s = p;

	return (double)lt_gauge_get((struct lt_gauge *)&s->duration_ns) / 1e9;
}

void lt_collectors_stats(struct lt_collectors *cs)
{
	cs->stats = lt_calloc(3 * cs->n, sizeof(*cs->stats));
	for (size_t i = 0; i < cs->n; i++) {
		struct slot *s = &cs->slots[i];

		cs->stats[i] = (struct lt_stat){"latido_agent_collector_up", LT_STAT_GAUGE,
			s->labels, "Whether the last sample of this collector succeeded.", &s->up,
			NULL};
		cs->stats[cs->n + i] = (struct lt_stat){"latido_agent_collector_errors_total",
			LT_STAT_COUNTER, s->labels, "Samples of this collector that failed.",
			&s->errors, NULL};
		cs->stats[2 * cs->n + i] = (struct lt_stat){
			"latido_agent_collector_duration_seconds", LT_STAT_GAUGE_FN, s->labels,
			"How long the last sample of this collector took.", s, duration_s};
	}
	lt_stats_add(cs->stats, 3 * cs->n);
}

uint64_t lt_collectors_errors(struct lt_collectors *cs, const char *name)
{
	for (size_t i = 0; i < cs->n; i++)
		if (strcmp(cs->slots[i].c->name, name) == 0)
			return lt_counter_get(&cs->slots[i].errors);
	return 0;
}

/* ---- the list of metrics ---- */

/* "a_*_b" stands for @name; [*star, *star + *len) is what the '*' is there. */
static bool stands_for(const char *pattern, const char *name, const char **star, size_t *len)
{
	const char *p = strchr(pattern, '*');
	size_t head, tail, n = strlen(name);

	*star = "";
	*len = 0;
	if (!p)
		return strcmp(pattern, name) == 0;
	head = (size_t)(p - pattern);
	tail = strlen(p + 1);
	if (n < head + tail || strncmp(pattern, name, head) != 0 ||
		strcmp(p + 1, name + n - tail) != 0)
		return false;
	*star = name + head;
	*len = n - head - tail;
	return true;
}

static const struct lt_metric *find_in(const struct lt_collector *c, const char *name)
{
	const char *star;
	size_t len;

	for (size_t i = 0; i < c->n_metrics; i++)
		if (stands_for(c->metrics[i].name, name, &star, &len))
			return &c->metrics[i];
	return NULL;
}

const struct lt_metric *lt_collectors_find_metric(const char *name)
{
	for (size_t i = 0; lt_collectors_all[i]; i++) {
		const struct lt_metric *m = find_in(lt_collectors_all[i], name);

		if (m)
			return m;
	}
	return NULL;
}

static const char *kind_name(enum lt_kind kind)
{
	switch (kind) {
	case LT_KIND_GAUGE:
		return "gauge";
	case LT_KIND_COUNTER:
		return "counter";
	default:
		return "unknown";
	}
}

static void print_row(FILE *out, const char *name, enum lt_kind kind, const char *help)
{
	fprintf(out, "%-50s %-8s %s\n", name, kind_name(kind), help);
}

static void print_found(FILE *out, const struct lt_metric *m, const char *name)
{
	struct lt_buf help = {0};
	const char *star;
	size_t len;

	(void)stands_for(m->name, name, &star, &len);
	for (const char *p = m->help; *p; p++) {
		if (*p == '*')
			lt_buf_add(&help, star, len);
		else
			lt_buf_char(&help, *p);
	}
	print_row(out, name, m->kind, help.data ? help.data : "");
	lt_buf_fini(&help);
}

/* The names of a shape that @m stands for, each once. */
static void print_names(FILE *out, const struct lt_collector *c, const struct lt_metric *m,
	const struct lt_shape *shape)
{
	const char *last = "";

	for (uint32_t i = 0; i < shape->n_series; i++) {
		const char *name = shape->series[i].name;

		if (strcmp(name, last) != 0 && find_in(c, name) == m)
			print_found(out, m, name);
		last = name;
	}
}

void lt_collectors_list(struct lt_collectors *cs, FILE *out)
{
	struct lt_snapshot *snapshot = lt_snapshot_new(100000);

	for (size_t i = 0; lt_collectors_all[i]; i++) {
		const struct lt_collector *c = lt_collectors_all[i];
		struct lt_event e = {0};
		struct slot *s = NULL;

		for (size_t j = 0; j < cs->n && !s; j++)
			if (cs->slots[j].c == c)
				s = &cs->slots[j];
		fprintf(out, "%s# %s: %s%s\n", i ? "\n" : "", c->name, c->help,
			!s                    ? " (not in agent.collectors)"
			: s->status == ABSENT ? " (not on this machine)"
					      : "");
		lt_snapshot_begin(snapshot);
		if (s)
			sample_one(cs, s, snapshot);
		if (lt_snapshot_event(snapshot, &e, NULL) != LT_OK)
			e.shape = NULL;
		for (size_t m = 0; m < c->n_metrics; m++) {
			print_row(out, c->metrics[m].name, c->metrics[m].kind, c->metrics[m].help);
			if (e.shape && strchr(c->metrics[m].name, '*'))
				print_names(out, c, &c->metrics[m], e.shape);
		}
	}
	fprintf(out, "\n# stream %s, with agent.processes_stream: the top processes\n",
		LT_TOP_STREAM);
	for (size_t i = 0; i < LT_TOP_METRICS; i++)
		print_row(out, lt_top_metrics[i].name, lt_top_metrics[i].kind,
			lt_top_metrics[i].help);
	lt_snapshot_free(snapshot);
}
