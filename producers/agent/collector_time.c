/* SPDX-License-Identifier: MIT */
/* The clock, its zone and its sources. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "collector.h"
#include "latido/clock.h"

struct source {
	char device[12];
	struct lt_procfile current;
	char *now; /* label: what current said last, as it stands in the file */
	char **available;
	size_t n_available;
};

struct state {
	struct source *sources;
	size_t n;
};

static const struct lt_metric metrics[] = {
	{"node_time_seconds", LT_KIND_GAUGE, "System time in seconds since epoch (1970)."},
	{"node_time_zone_offset_seconds", LT_KIND_GAUGE, "System time zone offset in seconds."},
	{"node_time_clocksource_available_info", LT_KIND_GAUGE,
		"Available clocksources read from '/sys/devices/system/clocksource'."},
	{"node_time_clocksource_current_info", LT_KIND_GAUGE,
		"Current clocksource read from '/sys/devices/system/clocksource'."},
};

static void add_available(struct source *src, const char *text)
{
	struct lt_token line = {text, strlen(text)}, word;

	while (lt_scan_word(&line, &word)) {
		char *name = lt_strndup(word.p, word.len);
		bool known = false;

		for (size_t i = 0; i < src->n_available && !known; i++)
			known = strcmp(src->available[i], name) == 0;
		if (known) {
			free(name);
			continue;
		}
		src->available = lt_realloc(
			src->available, (src->n_available + 1) * sizeof(*src->available));
		src->available[src->n_available++] = name;
	}
}

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	struct state *s = state;
	char *dir = lt_collect_path(env->conf->sysfs, "devices/system/clocksource");
	char **names;
	int n = lt_collect_children(dir, "clocksource", &names, NULL);

	(void)err; /* a machine without clock sources in /sys still has the time */
	tzset();
	if (n > 0)
		s->sources = lt_calloc((size_t)n, sizeof(*s->sources));
	for (int i = 0; i < n; i++) {
		struct source *src = &s->sources[s->n];
		char text[LT_LABEL_VALUE_MAX + 1];
		char *path = lt_collect_path(dir, "%s/available_clocksource", names[i]);

		/* numbered as they are found, as node_exporter does */
		snprintf(src->device, sizeof(src->device), "%d", i);
		if (lt_procfile_once(path, text, sizeof(text)))
			add_available(src, text);
		free(path);
		lt_procfile_init(&src->current,
			lt_collect_path(dir, "%s/current_clocksource", names[i]), true);
		s->n++;
	}
	if (n >= 0)
		lt_collect_children_free(names, n);
	free(dir);
	return LT_OK;
}

static void read_current(struct source *src)
{
	const char *cursor;
	struct lt_token line;
	char *label;

	if (lt_procfile_read(&src->current, NULL) != LT_OK) {
		free(src->now);
		src->now = NULL;
		return;
	}
	cursor = src->current.buf;
	if (!lt_scan_line(&cursor, &line))
		line = (struct lt_token){"", 0};
	if (src->now && lt_token_is(line, src->now))
		return;
	label = lt_strndup(line.p, line.len);
	free(src->now);
	src->now = label;
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	static const char *const zone_keys[] = {"time_zone"};
	static const char *const source_keys[] = {"clocksource", "device"};
	struct state *s = state;
	int64_t now_ns = lt_wall_ns();
	time_t now = (time_t)(now_ns / LT_NS_PER_S);
	struct tm tm;

	(void)env;
	if (!localtime_r(&now, &tm))
		return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "time.sample",
			"the clock shows a time that no calendar has");
	for (size_t i = 0; i < s->n; i++)
		read_current(&s->sources[i]);

	lt_snapshot_value(out, metrics[0].name, metrics[0].kind, (double)now_ns / 1e9);
	lt_snapshot_family(out, metrics[1].name, metrics[1].kind, zone_keys, 1);
	lt_snapshot_row(out, (const char *const[]){tm.tm_zone}, (double)tm.tm_gmtoff);
	lt_snapshot_family(out, metrics[2].name, metrics[2].kind, source_keys, 2);
	for (size_t i = 0; i < s->n; i++)
		for (size_t j = 0; j < s->sources[i].n_available; j++)
			lt_snapshot_row(out,
				(const char *const[]){
					s->sources[i].available[j], s->sources[i].device},
				1);
	lt_snapshot_family(out, metrics[3].name, metrics[3].kind, source_keys, 2);
	for (size_t i = 0; i < s->n; i++)
		if (s->sources[i].now)
			lt_snapshot_row(out,
				(const char *const[]){s->sources[i].now, s->sources[i].device}, 1);
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	(void)env;
	for (size_t i = 0; i < s->n; i++) {
		struct source *src = &s->sources[i];

		lt_procfile_fini(&src->current);
		free(src->now);
		for (size_t j = 0; j < src->n_available; j++)
			free(src->available[j]);
		free(src->available);
	}
	free(s->sources);
}

const struct lt_collector lt_collector_time = {
	.name = "time",
	.help = "time, zone and clock sources",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
