/* SPDX-License-Identifier: MIT */
#include "collector_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "latido/clock.h"
#include "latido/log.h"

void cl_advance(struct cl_fixture *f, int64_t ns)
{
	f->now_ns += ns;
	lt_clock_fake(true, f->now_ns, INT64_C(1795247263000000000) + f->now_ns);
}

void cl_open(struct cl_fixture *f, const char *name)
{
	if (name) {
		f->names[0] = (char *)name;
		f->names[1] = (char *)"uname";
		f->conf.collectors = (struct lt_conf_list){f->names, 2};
	}
	f->cs = lt_collectors_new(&f->conf, false, &f->err);
}

struct cl_fixture *cl_new(const char *from)
{
	struct cl_fixture *f = calloc(1, sizeof(*f));

	tree_init(&f->tree, from);
	snprintf(f->procfs, sizeof(f->procfs), "%s/proc", f->tree.root);
	snprintf(f->sysfs, sizeof(f->sysfs), "%s/sys", f->tree.root);
	snprintf(f->rootfs, sizeof(f->rootfs), "%s/root", f->tree.root);
	f->conf = (struct lt_agent_conf){.interval_ms = 1000,
		.procfs = f->procfs,
		.sysfs = f->sysfs,
		.rootfs = f->rootfs,
		.processes_interval_ms = 5000,
		.filesystem_ignore_types = (char *)"^(overlay|proc|sysfs)$",
		.filesystem_ignore_mounts = (char *)"^/(dev|proc|run|sys|mnt|media)($|/)",
		.diskstats_ignore_devices =
			(char *)"^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$",
		.netdev_ignore_devices = (char *)"^lo$"};
	mkdir(f->procfs, 0755); /* may come with @from, else an empty one */
	f->snapshot = lt_snapshot_new(100000);
	lt_log_setup("test", LT_ERROR, LT_LOG_LOGFMT);
	cl_advance(f, 1000 * LT_NS_PER_S);
	return f;
}

void cl_free(struct cl_fixture *f)
{
	lt_collectors_free(f->cs);
	lt_snapshot_free(f->snapshot);
	tree_fini(&f->tree);
	lt_clock_fake(false, 0, 0);
	free(f);
}

void cl_sample(struct cl_fixture *f)
{
	int rc;

	cl_advance(f, LT_NS_PER_S);
	rc = lt_collectors_sample(f->cs, f->snapshot, &f->e, &f->err);
	if (rc != LT_OK)
		fail_msg("%s", f->err.msg);
}

bool cl_has(const struct cl_fixture *f, const char *series, double *v)
{
	for (uint32_t i = 0; i < f->e.n; i++)
		if (strcmp(f->e.shape->series[i].text, series) == 0) {
			*v = lt_event_value(&f->e, i);
			return true;
		}
	return false;
}

void cl_expect(const struct cl_fixture *f, const char *series, double want)
{
	double v = 0;

	if (!cl_has(f, series, &v))
		fail_msg("%s is missing", series);
	if (v != want)
		fail_msg("%s is %.17g, not %.17g", series, v, want);
}

void cl_expect_none(const struct cl_fixture *f, const char *series)
{
	double v = 0;

	if (cl_has(f, series, &v))
		fail_msg("%s is there: %.17g", series, v);
}

size_t cl_count(const struct cl_fixture *f, const char *prefix)
{
	size_t n = 0;

	for (uint32_t i = 0; i < f->e.n; i++)
		n += strncmp(f->e.shape->series[i].text, prefix, strlen(prefix)) == 0;
	return n;
}
