/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TESTS_COLLECTOR_FIXTURE_H
#define LATIDO_TESTS_COLLECTOR_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "../../producers/agent/collectors.h"
#include "tree.h"

/* The agent's collectors on a copy of a tree of files, with a clock of their own. */

#define CL_SERVER "tests/data/proc/server"

struct cl_fixture {
	struct tree tree;
	struct lt_agent_conf conf;
	char procfs[300], sysfs[300], rootfs[300];
	char *names[2];
	struct lt_collectors *cs;
	struct lt_snapshot *snapshot;
	struct lt_event e;
	struct lt_err err;
	int64_t now_ns;
};

/** cl_new() - on a copy of the folder @from; NULL: on empty folders. */
struct cl_fixture *cl_new(const char *from);
void cl_free(struct cl_fixture *f);
/** cl_open() - @name: the collector to run, beside uname, or NULL: all. */
void cl_open(struct cl_fixture *f, const char *name);
void cl_advance(struct cl_fixture *f, int64_t ns);
/** cl_sample() - one second later; the values are in f->e. */
void cl_sample(struct cl_fixture *f);

bool cl_has(const struct cl_fixture *f, const char *series, double *v);
void cl_expect(const struct cl_fixture *f, const char *series, double want);
void cl_expect_none(const struct cl_fixture *f, const char *series);
/** cl_count() - how many series begin with @prefix. */
size_t cl_count(const struct cl_fixture *f, const char *prefix);

#endif
