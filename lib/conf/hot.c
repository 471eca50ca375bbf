/* SPDX-License-Identifier: MIT */
#include "sections.h"

#define SECTION lt_hot_conf

static const struct lt_conf_key keys[] = {
	KEY(STRING, "admin", admin, "127.0.0.1:9502", .max = 256,
		.help = "Listen address of /metrics, /healthz and /readyz; empty: none."),
	KEY(INT, "batch.max_events", batch.max_events, "512", .min = 1, .max = 100000,
		.help = "A batch goes to Redis when it holds so many events,"),
	KEY(SIZE, "batch.max_bytes", batch.max_bytes, "4MiB", .min = KIB, .max = GIB,
		.help = "or so many bytes,"),
	KEY(DURATION, "batch.linger", batch.linger_ms, "0", .min = 0, .max = MINUTE,
		.help = "or is so old. 0: as soon as Redis has taken the batch before."),
	KEY(DURATION, "drain_timeout", drain_timeout_ms, "10s", .min = 0, .max = HOUR,
		.help = "After SIGTERM, how long to go on writing what was received."),
	KEY(FLOAT, "max_rate_hz", max_rate_hz, "2", .min = 0, .max = 1000,
		.help = "How often in a second the hash of one node is written; more than 0. The "
			"window and the live channel get every event."),
	KEY(INT, "window_events", window_events, "900", .min = 1, .max = 1000000,
		.help = "Events of each source that its window stream keeps, about; 900 are 15 "
			"minutes at one a second."),
	KEY(SIZE, "window_bytes", window_bytes, "4MiB", .min = 64 * KIB, .max = 4 * GIB,
		.help = "The window of one source is shorter where its events are so large that it "
			"would take more than this."),
	KEY(DURATION, "expire", expire_ms, "24h", .min = MINUTE, .max = 365 * DAY,
		.help = "What Redis holds of a source that is silent for so long is dropped."),
};

static void check(struct lt_conf_check *k, const void *section)
{
	const struct lt_hot_conf *c = section;

	lt_check_address(k, "admin", c->admin);
	if (c->max_rate_hz < 0.001)
		lt_conf_reject(k, "max_rate_hz", "must be at least 0.001, once in 1000 seconds");
}

const struct lt_conf_section lt_hot_section = {
	.name = "hot",
	.help = "latido-hot, which keeps the live state in Redis.",
	.offset = offsetof(struct lt_config, hot),
	.keys = keys,
	.n_keys = LT_ARRAY_LEN(keys),
	.check = check,
};
