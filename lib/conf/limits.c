/* SPDX-License-Identifier: MIT */
#include "sections.h"

#define SECTION lt_limits_conf

static const struct lt_conf_key keys[] = {
	KEY(SIZE, "max_bytes", max_bytes, "1MiB", .min = KIB, .max = 256 * MIB,
		.help = "The largest message. Larger ones are dead-lettered without their body."),
	KEY(INT, "max_series", max_series, "100000", .min = 1, .max = 10000000,
		.help = "The most series in one event."),
	KEY(SIZE, "shape_cache_bytes", shape_cache_bytes, "64MiB", .min = MIB, .max = 64 * GIB,
		.help = "Memory for the shapes (names and labels) of the sources seen; the one not "
			"used for longest goes first."),
	KEY(DURATION, "max_ahead", max_ahead_ms, "10m", .min = SECOND, .max = 365 * DAY,
		.help = "How far in the future an event's time may be before its clock is taken "
			"for "
			"wrong."),
};

const struct lt_conf_section lt_limits_section = {
	.name = "limits",
	.help = "What the consumers accept from outside.",
	.offset = offsetof(struct lt_config, limits),
	.keys = keys,
	.n_keys = LT_ARRAY_LEN(keys),
};
