/* SPDX-License-Identifier: MIT */
#include "sections.h"

#define SECTION lt_log_conf

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const formats[] = {"logfmt", "json", NULL};

static const struct lt_conf_key keys[] = {
	KEY(ENUM, "level", level, "info", .choices = levels, .flags = LT_CONF_RELOAD,
		.help = "What is logged: error is data at risk or a human needed, warn is degraded "
			"but retrying, info is the life cycle, debug adds a line for each batch."),
	KEY(ENUM, "format", format, "logfmt", .choices = formats,
		.help = "One line an event on stderr, as key=value pairs or as one JSON object."),
};

const struct lt_conf_section lt_log_section = {
	.name = "log",
	.help = "Logs of every program.",
	.offset = offsetof(struct lt_config, log),
	.keys = keys,
	.n_keys = LT_ARRAY_LEN(keys),
};
