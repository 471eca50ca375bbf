/* SPDX-License-Identifier: MIT */
#include "sections.h"

#define SECTION lt_store_conf

static const struct lt_conf_key keys[] = {
	KEY(STRING, "admin", admin, "127.0.0.1:9503", .max = 256,
		.help = "Listen address of /metrics, /healthz and /readyz; empty: none."),
	KEY(INT, "batch.max_events", batch.max_events, "1000", .min = 1, .max = 100000,
		.help = "A transaction is committed when it holds so many events,"),
	KEY(SIZE, "batch.max_bytes", batch.max_bytes, "8MiB", .min = KIB, .max = GIB,
		.help = "or so many bytes,"),
	KEY(DURATION, "batch.linger", batch.linger_ms, "200ms", .min = 0, .max = MINUTE,
		.help = "or is so old. 0: as soon as the one before is committed."),
	KEY(DURATION, "drain_timeout", drain_timeout_ms, "10s", .min = 0, .max = HOUR,
		.help = "After SIGTERM, how long to go on storing what was received."),
	KEY(DURATION, "retention", retention_ms, "7d", .min = 0, .max = 36500 * DAY,
		.help = "Daily partitions that are older as a whole are dropped; at least 1d. 0: "
			"nothing is."),
	KEY(INT, "partitions_ahead", partitions_ahead, "3", .min = 1, .max = 60,
		.help = "Days for which partitions are made in advance."),
	KEY(BOOL, "migrate", migrate, "true",
		.help = "Whether the schema is brought up to date at start. If false, latido-store "
			"--migrate does it, and a database that is behind is an error."),
	KEY(STRING, "inbox_dir", inbox_dir, "", .max = 1024,
		.help = "Folder for what devices have sent and PostgreSQL has not got yet, written "
			"before the broker hears that it arrived. Empty: none, and a store that is "
			"killed may lose the last events of devices."),
	KEY(SIZE, "inbox_max_bytes", inbox_max_bytes, "256MiB", .min = MIB, .max = 1024 * GIB,
		.help = "Its size; when it is full the oldest are dropped from it and counted."),
	KEY(STRING, "deadletter_dir", deadletter_dir, "", .max = 1024,
		.help = "With MQTT: folder in which the dead letters of all consumers are kept, "
			"for "
			"latido deadletter. Empty: they are only published."),
	KEY(SIZE, "deadletter_max_bytes", deadletter_max_bytes, "64MiB", .min = MIB,
		.max = 1024 * GIB, .help = "Its size; the oldest letters are dropped, counted."),
	KEY(DURATION, "deadletter_max_age", deadletter_max_age_ms, "30d", .min = 0,
		.max = 36500 * DAY, .help = "How long letters are kept there; 0: no limit."),
};

static void check(struct lt_conf_check *k, const void *section)
{
	const struct lt_store_conf *c = section;

	lt_check_address(k, "admin", c->admin);
	if (*c->inbox_dir)
		lt_check_absolute(k, "inbox_dir", c->inbox_dir);
	if (*c->deadletter_dir)
		lt_check_absolute(k, "deadletter_dir", c->deadletter_dir);
	if (c->retention_ms > 0 && c->retention_ms < DAY)
		lt_conf_reject(k, "retention",
			"must be at least 1d, since partitions are days, or 0 to keep everything");
}

const struct lt_conf_section lt_store_section = {
	.name = "store",
	.help = "latido-store, which keeps everything in PostgreSQL.",
	.offset = offsetof(struct lt_config, store),
	.keys = keys,
	.n_keys = LT_ARRAY_LEN(keys),
	.check = check,
};
