/* SPDX-License-Identifier: MIT */
/* uname(2) */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "collector.h"

static const struct lt_metric metrics[] = {
	{"node_uname_info", LT_KIND_GAUGE,
		"Labeled system information as provided by the uname system call."},
};

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	static const char *const keys[] = {
		"domainname", "machine", "nodename", "release", "sysname", "version"};
	struct utsname u;

	(void)state;
	(void)env;
	if (uname(&u) < 0)
		return lt_fail(
			err, LT_EIO, LT_CLS_RETRY, "uname.sample", "uname: %s", strerror(errno));
	lt_snapshot_family(out, metrics[0].name, metrics[0].kind, keys, LT_ARRAY_LEN(keys));
	lt_snapshot_row(out,
		(const char *const[]){
			u.domainname, u.machine, u.nodename, u.release, u.sysname, u.version},
		1);
	return LT_OK;
}

const struct lt_collector lt_collector_uname = {
	.name = "uname",
	.help = "kernel, machine and host name",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = 1,
	.sample = sample,
};
