/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "latido/event.h"
#include "sections.h"

#define SECTION lt_alert_conf

static const struct lt_conf_key keys[] = {
	KEY(STRING, "admin", admin, "127.0.0.1:9504", .max = 256,
		.help = "Listen address of /metrics, /healthz and /readyz; empty: none."),
	KEY(LIST, "rules", rules,
		"/usr/share/latido/alerts/*.yaml, /usr/local/share/latido/alerts/*.yaml, "
		"/etc/latido/alerts/*.yaml",
		.min = 1, .max = 4096, .flags = LT_CONF_RELOAD,
		.help = "Rule files in Prometheus's format, or patterns of their names; the "
			"first two are where `make install` puts the default rules. SIGHUP reads "
			"them again; when there is an "
			"error in them the old rules stay."),
	KEY(DURATION, "interval", interval_ms, "1s", .min = 100, .max = DAY,
		.flags = LT_CONF_RELOAD,
		.help = "How often groups are evaluated that have no interval of their own."),
	KEY(DURATION, "delay", delay_ms, "0", .min = 0, .max = MINUTE,
		.help = "Rules are evaluated for an instant when so much time has passed since: "
			"how "
			"long events may be on their way and still count. What comes later counts "
			"from the next evaluation on. 0 is right where clocks and paths are good."),
	KEY(DURATION, "max_lag", max_lag_ms, "1m", .min = SECOND, .max = 4 * MINUTE,
		.help = "An event may be so much older than its arrival. If all of a source's are "
			"older by the same time its clock is wrong, and times of arrival are used; "
			"else they are left out."),
	KEY(DURATION, "silence", silence_ms, "5m", .min = SECOND, .max = DAY,
		.help = "A source that names no interval is down (up is 0) after so long a "
			"silence. "
			"The others are after three of their own intervals."),
	KEY(DURATION, "forget", forget_ms, "24h", .min = MINUTE, .max = 365 * DAY,
		.help = "A source that is silent for so long is no longer known: its alerts end."),
	KEY(DURATION, "max_window", max_window_ms, "7d", .min = MINUTE, .max = 24 * DAY,
		.help = "Rules that look further back are refused."),
	KEY(DURATION, "dense_window", dense_window_ms, "15m", .min = SECOND, .max = DAY,
		.help = "Windows up to this keep every sample. Of what only longer ones need, at "
			"most max_points of a series are kept."),
	KEY(INT, "max_points", max_points, "1024", .min = 16, .max = 1000000,
		.help = "Samples of one series that are kept for windows longer than dense_window, "
			"evenly spread over the window."),
	KEY(INT, "max_series", max_series, "2000000", .min = 1, .max = 100000000,
		.help = "Series kept altogether; further ones are left out and counted."),
	KEY(SIZE, "max_bytes", max_bytes, "2GiB", .min = MIB, .max = 1024 * GIB,
		.help = "Memory for series; when it is reached, further series are left out and "
			"counted."),
	KEY(INT, "max_rule_series", max_rule_series, "200000", .min = 1, .max = 100000000,
		.flags = LT_CONF_RELOAD,
		.help = "Series that one selector may find, and alerts that one rule may have; a "
			"rule with more fails and says so."),
	KEY(INT, "max_samples", max_samples, "50000000", .min = 1000, .max = 10000000000,
		.flags = LT_CONF_RELOAD,
		.help = "Samples that one evaluation of a rule may read; a rule that needs more "
			"fails and says so."),
	KEY(INT, "max_sources", max_sources, "100000", .min = 1, .max = 10000000,
		.help = "Sources that are known at a time."),
	KEY(INT, "max_source_series", max_source_series, "20000", .min = 1, .max = 100000000,
		.help = "New series of one source in five minutes that are kept; further ones are "
			"left out and counted."),
	KEY(STRING, "instance", instance, "", .max = LT_SOURCE_MAX,
		.help = "Names this latido-alert among several that share one Redis and one set of "
			"rules; one of them notifies. Empty: host name and process."),
	KEY(DURATION, "lease", lease_ms, "5s", .min = SECOND, .max = 5 * MINUTE,
		.help = "When the one that notifies is not heard of in Redis for so long, another "
			"takes over."),
	KEY(DURATION, "restore_timeout", restore_timeout_ms, "30s", .min = 0, .max = HOUR,
		.help = "At start, how long to wait for Redis, which has the states of alerts and "
			"the recent events. Then it is done without, and alerts that fired "
			"before are notified again."),
	KEY(DURATION, "outage_tolerance", outage_tolerance_ms, "1h", .min = 0, .max = 30 * DAY,
		.help = "Pending alerts go on after a restart if nobody evaluated for less than "
			"this."),
	KEY(DURATION, "grace", grace_ms, "10s", .min = 0, .max = HOUR,
		.help = "After a restart an alert whose expression finds nothing is kept for so "
			"long, since its source may not have been heard again yet."),
	KEY(DURATION, "resend", resend_ms, "1m", .min = SECOND, .max = DAY, .flags = LT_CONF_RELOAD,
		.help = "How often active alerts are sent to the Alertmanagers again."),
	KEY(MAP, "external_labels", external_labels, "",
		.help = "Labels that every alert gets when it leaves."),
	KEY(STRING, "external_url", external_url, "", .max = 2048,
		.help = "Where people find this site's dashboard; alerts link to it."),
	KEY(LIST, "alertmanagers", alertmanagers, "", .min = 1, .max = 2048,
		.help = "Base URLs of Prometheus Alertmanagers; all of them are told "
			"(http://alerts:9093). User and password may stand in them."),
	KEY(LIST, "webhooks", webhooks, "", .min = 1, .max = 2048,
		.help = "URLs that get every transition once, by POST, as a CloudEvent in JSON."),
	KEY(STRING, "webhook_secret", webhook_secret, "", .max = 4096, .flags = LT_CONF_SECRET,
		.help = "Key of the HMAC-SHA256 in the header Latido-Signature of webhooks. Empty: "
			"not signed."),
	KEY(DURATION, "webhook_max_age", webhook_max_age_ms, "24h", .min = MINUTE, .max = 30 * DAY,
		.help = "After so long a transition that a webhook does not take is given up."),
	KEY(INT, "queue", queue, "10000", .min = 10, .max = 10000000,
		.help = "What waits for each output that is down; when it is full the oldest goes, "
			"and is counted."),
	KEY(BOOL, "history", history, "true",
		.help = "Whether transitions go to the table alert_event of PostgreSQL."),
	KEY(DURATION, "history_retention", history_retention_ms, "90d", .min = 0,
		.max = 36500 * DAY, .help = "How long they stay there. 0: for ever."),
	KEY(BOOL, "backfill", backfill, "true",
		.help = "Whether what long windows lack after a start or an outage of the bus, and "
			"neither Redis nor Kafka has, is read from PostgreSQL, in the background."),
	KEY(BOOL, "publish", publish, "true",
		.help = "Whether transitions go to the bus (alerts/<fingerprint>)."),
	KEY(INT, "batch.max_events", batch.max_events, "1000", .min = 1, .max = 100000,
		.help = "Events that are taken over at a time,"),
	KEY(SIZE, "batch.max_bytes", batch.max_bytes, "8MiB", .min = KIB, .max = GIB,
		.help = "or so many bytes,"),
	KEY(DURATION, "batch.linger", batch.linger_ms, "0", .min = 0, .max = SECOND,
		.help = "or what came in so long a time. 0: as soon as the ones before are."),
	KEY(DURATION, "drain_timeout", drain_timeout_ms, "10s", .min = 0, .max = HOUR,
		.help = "After SIGTERM, how long to go on telling what is to be told."),
};

static void check_urls(struct lt_conf_check *k, const char *key, const struct lt_conf_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (strncmp(list->items[i], "http://", 7) != 0 &&
			strncmp(list->items[i], "https://", 8) != 0)
			lt_conf_reject_hidden(k, key, "expected URLs with http:// or https://");
}

static void check(struct lt_conf_check *k, const void *section)
{
	const struct lt_alert_conf *c = section;

	lt_check_address(k, "admin", c->admin);
	check_urls(k, "alertmanagers", &c->alertmanagers);
	check_urls(k, "webhooks", &c->webhooks);
	if (*c->instance && !lt_source_valid(c->instance, strlen(c->instance)))
		lt_conf_reject(k, "instance", "letters, digits and . _ : - only");
	for (size_t i = 0; i < c->external_labels.n; i++)
		if (!lt_label_name_valid(
			    c->external_labels.keys[i], strlen(c->external_labels.keys[i])))
			lt_conf_reject(k, "external_labels", "'%s' is not a label name",
				c->external_labels.keys[i]);
}

const struct lt_conf_section lt_alert_section = {
	.name = "alert",
	.help = "latido-alert, which evaluates alert rules on the stream.",
	.offset = offsetof(struct lt_config, alert),
	.keys = keys,
	.n_keys = LT_ARRAY_LEN(keys),
	.check = check,
};
