/* SPDX-License-Identifier: MIT */
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>

#include "latido/conf.h"
#include "latido/mem.h"

struct lt_conf *tool_conf(const char *path)
{
	const char *const paths[] = {path};
	struct lt_buf errors = {0};
	struct lt_conf *conf = lt_conf_load(&lt_config_schema, paths, 1, NULL, NULL, 0, &errors);

	if (!conf) {
		fprintf(stderr, "%s", errors.data);
		exit(78);
	}
	lt_buf_fini(&errors);
	return conf;
}
