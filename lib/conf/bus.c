/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "sections.h"

#define SECTION lt_bus_conf

static const char *const starts[] = {"earliest", "latest", NULL};
static const char *const rebalances[] = {"cooperative", "eager", NULL};

static const struct lt_conf_key keys[] = {
	KEY(STRING, "url", url, "mqtt://127.0.0.1:1883", .min = 1, .max = 1024,
		.help = "The message bus: mqtt://HOST:PORT, mqtts://HOST:PORT for TLS, "
			"kafka://HOST:PORT,HOST:PORT,..., kafkas://... for TLS, or mem:// inside "
			"one process for tests. Without a port it is 1883, with TLS 8883, for "
			"Kafka 9092."),
	KEY(STRING, "prefix", prefix, "latido/v1", .min = 1, .max = 256,
		.help = "What every topic starts with. Agents, consumers and devices of one site "
			"use the same one."),
	KEY(SIZE, "queue_bytes", queue_bytes, "64MiB", .min = MIB, .max = 16 * GIB,
		.help = "Messages that were received and are not yet stored may take so much "
			"memory; then no more is read from the broker, which keeps them."),
	KEY(DURATION, "self_interval", self_interval_ms, "0", .min = 0, .max = HOUR,
		.help = "How often latido-store, latido-hot, latido-alert and latido-bridge "
			"publish what they show on /metrics, histograms excepted, as the source "
			"PROGRAM.HOSTNAME "
			"(store.db1): the default alert rules about the pipeline itself need it, "
			"for "
			"example 10s. 0: never."),
	KEY(STRING, "mqtt.client_id", mqtt.client_id, "", .max = 256,
		.help = "Name of the session at the broker; two clients with the same one throw "
			"each other out. Empty: latido-PROGRAM-HOSTNAME."),
	KEY(BOOL, "mqtt.broker_figures", mqtt.broker_figures, "true",
		.help = "Whether consumers and the bridge read from Mosquitto how much waits in "
			"its queues and what it dropped ($SYS/broker/..., by a connection of "
			"their own), and show it as latido_broker_queued_messages and "
			"latido_broker_dropped_messages_total. A broker that has no such topics, "
			"or allows nobody to read them, is asked once."),
	KEY(STRING, "mqtt.username", mqtt.username, "", .max = 1024,
		.help = "User at the broker; empty: none."),
	KEY(STRING, "mqtt.password", mqtt.password, "", .max = 4096, .flags = LT_CONF_SECRET,
		.help = "Password at the broker."),
	KEY(STRING, "mqtt.ca_file", mqtt.ca_file, "", .max = 4095,
		.help = "PEM file with the authorities that may sign the broker's certificate. "
			"Empty: the system's. Only with mqtts://."),
	KEY(STRING, "mqtt.cert_file", mqtt.cert_file, "", .max = 4095,
		.help = "PEM file with our own certificate, for brokers that ask for one. Only "
			"with "
			"mqtts://, and together with key_file."),
	KEY(STRING, "mqtt.key_file", mqtt.key_file, "", .max = 4095,
		.help = "PEM file with the private key of cert_file, not encrypted."),
	KEY(BOOL, "mqtt.verify_hostname", mqtt.verify_hostname, "true",
		.help = "With mqtts://, whether the broker's certificate must name the host of "
			"bus.url. False is for tests."),
	KEY(DURATION, "mqtt.keepalive", mqtt.keepalive_ms, "30s", .min = SECOND,
		.max = 65535 * SECOND,
		.help = "A connection without traffic is probed this often; the broker gives a "
			"silent client up after one and a half times as long."),
	KEY(DURATION, "mqtt.session_expiry", mqtt.session_expiry_ms, "1h", .min = 0,
		.max = 365 * DAY,
		.help = "How long the broker keeps subscriptions and queued messages of a consumer "
			"that is away. Longer survives longer stops and takes more of the broker's "
			"memory. 0: the session ends with the connection."),
	KEY(DURATION, "mqtt.connect_timeout", mqtt.connect_timeout_ms, "10s", .min = 100,
		.max = 5 * MINUTE,
		.help = "A connection that is not established by then is given up and tried "
			"again."),
	KEY(INT, "mqtt.max_inflight", mqtt.max_inflight, "1000", .min = 1, .max = 65535,
		.help = "Messages published and not yet acknowledged by the broker."),
	KEY(STRING, "kafka.topic", kafka.topic, "latido.metrics", .min = 1, .max = 249,
		.help = "Kafka topic of the events; the key is the source."),
	KEY(STRING, "kafka.deadletter_topic", kafka.deadletter_topic, "latido.deadletter", .min = 1,
		.max = 249, .help = "Kafka topic of what could not be decoded."),
	KEY(STRING, "kafka.alerts_topic", kafka.alerts_topic, "latido.alerts", .min = 1, .max = 249,
		.help = "Kafka topic of the alerts."),
	KEY(STRING, "kafka.group", kafka.group, "", .max = 255,
		.help = "Consumer group: members of one group share the partitions. Empty: "
			"latido-PROGRAM."),
	KEY(ENUM, "kafka.start", kafka.start, "earliest", .choices = starts,
		.help = "Where a consumer begins that has no position yet."),
	KEY(ENUM, "kafka.rebalance", kafka.rebalance, "cooperative", .choices = rebalances,
		.help = "How partitions move between members: cooperative moves only those that "
			"change hands, eager takes all away for a moment. All members of a group "
			"need the same."),
	KEY(STRING, "kafka.compression", kafka.compression, "zstd", .min = 1, .max = 16,
		.help = "Compression of what is published: zstd, lz4, snappy, gzip or none."),
	KEY(DURATION, "kafka.linger", kafka.linger_ms, "5ms", .min = 0, .max = MINUTE,
		.help = "Publishes wait this long for others, to travel in one batch."),
	KEY(DURATION, "kafka.session_timeout", kafka.session_timeout_ms, "30s", .min = 500,
		.max = 30 * MINUTE,
		.help = "A member that is silent for so long loses its partitions to the others."),
	KEY(INT, "kafka.max_inflight", kafka.max_inflight, "10000", .min = 1, .max = 10000000,
		.help = "Messages published and not yet acknowledged by the broker."),
	KEY(STRING, "kafka.username", kafka.username, "", .max = 1024,
		.help = "User at the broker (SASL); empty: none."),
	KEY(STRING, "kafka.password", kafka.password, "", .max = 4096, .flags = LT_CONF_SECRET,
		.help = "Password at the broker."),
	KEY(STRING, "kafka.sasl_mechanism", kafka.sasl_mechanism, "SCRAM-SHA-256", .min = 1,
		.max = 32,
		.help = "With kafka.username: SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN. PLAIN shows "
			"the password to whoever listens unless TLS is on."),
	KEY(STRING, "kafka.ca_file", kafka.ca_file, "", .max = 4095,
		.help = "PEM file with the authorities that may sign the brokers' certificates. "
			"Empty: the system's. Only with kafkas://."),
	KEY(STRING, "kafka.cert_file", kafka.cert_file, "", .max = 4095,
		.help = "PEM file with our own certificate, for brokers that ask for one. Only "
			"with kafkas://, and together with key_file."),
	KEY(STRING, "kafka.key_file", kafka.key_file, "", .max = 4095,
		.help = "PEM file with the private key of cert_file, not encrypted."),
	KEY(BOOL, "kafka.verify_hostname", kafka.verify_hostname, "true",
		.help = "With kafkas://, whether a broker's certificate must name its host."),
	KEY(MAP, "kafka.properties", kafka.properties, "",
		.help = "Any further properties of librdkafka by their own names, such as "
			"fetch.wait.max.ms: they have the last word."),
	KEY(DURATION, "backoff_base", backoff_base_ms, "250ms", .min = 10, .max = MINUTE,
		.help = "Wait before the first try to connect again; doubles with each try and is "
			"jittered."),
	KEY(DURATION, "backoff_cap", backoff_cap_ms, "30s", .min = 100, .max = HOUR,
		.help = "The longest such wait."),
};

static void check_prefix(struct lt_conf_check *k, const char *prefix)
{
	size_t n = strlen(prefix);

	if (strpbrk(prefix, "+#"))
		lt_conf_reject(k, "prefix", "a prefix has no wildcards (+ and #)");
	else if (prefix[0] == '/' || prefix[n - 1] == '/' || strstr(prefix, "//"))
		lt_conf_reject(k, "prefix",
			"has an empty level; write it without leading, trailing or double /, "
			"for example latido/v1");
	else if (prefix[0] == '$')
		lt_conf_reject(k, "prefix", "topics that start with $ belong to the broker");
}

static void check_kafka_hosts(struct lt_conf_check *k, const char *key, const char *p)
{
	if (strchr(p, '@')) {
		lt_conf_reject_hidden(k, key,
			"credentials do not belong into the URL; use bus.kafka.username and "
			"bus.kafka.password_file");
		return;
	}
	for (;; p++) {
		size_t host = strcspn(p, ",/?#");

		lt_check_host_port(k, key, p, host, false);
		p += host;
		if (*p != ',')
			break;
	}
	if (*p && strcmp(p, "/") != 0)
		lt_conf_reject(
			k, key, "nothing may follow the last port; the topic is bus.kafka.topic");
}

static void check_mqtt_host(struct lt_conf_check *k, const char *key, const char *p)
{
	size_t host = strcspn(p, "/?#");

	if (strchr(p, '@'))
		lt_conf_reject_hidden(k, key,
			"credentials do not belong into the URL; use bus.mqtt.username and "
			"bus.mqtt.password_file");
	else if (p[host] && strcmp(p + host, "/"))
		lt_conf_reject(k, key, "nothing may follow the port; topics start with bus.prefix");
	else
		lt_check_host_port(k, key, p, host, false);
}

void lt_check_bus_url(struct lt_conf_check *k, const char *key, const char *url, const char *kind)
{
	size_t n = strlen(kind);
	const char *p = strstr(url, "://");

	if (!p || strncmp(url, kind, n) != 0 ||
		(p != url + n && (p != url + n + 1 || url[n] != 's')))
		lt_conf_reject(k, key, "expected %s://HOST:PORT or %ss://HOST:PORT", kind, kind);
	else if (!strcmp(kind, "kafka"))
		check_kafka_hosts(k, key, p + 3);
	else
		check_mqtt_host(k, key, p + 3);
}

static void check_kafka(struct lt_conf_check *k, const struct lt_bus_conf *c)
{
	bool tls = !strncmp(c->url, "kafkas://", 9);

	check_kafka_hosts(k, "url", strstr(c->url, "://") + 3);
	if (c->kafka.username[0] && strcmp(c->kafka.sasl_mechanism, "PLAIN") != 0 &&
		strcmp(c->kafka.sasl_mechanism, "SCRAM-SHA-256") != 0 &&
		strcmp(c->kafka.sasl_mechanism, "SCRAM-SHA-512") != 0)
		lt_conf_reject(k, "kafka.sasl_mechanism",
			"expected SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN");
	if (c->kafka.ca_file[0] && !tls)
		lt_conf_reject(k, "kafka.ca_file", "is of use with kafkas:// only; change bus.url");
	if (c->kafka.cert_file[0] && !tls)
		lt_conf_reject(
			k, "kafka.cert_file", "is of use with kafkas:// only; change bus.url");
}

static void check_url(struct lt_conf_check *k, const struct lt_bus_conf *c)
{
	const char *rest = strstr(c->url, "://");
	bool tls = !strncmp(c->url, "mqtts://", 8);

	if (!strncmp(c->url, "mem://", 6))
		return;
	if (!strncmp(c->url, "kafka://", 8) || !strncmp(c->url, "kafkas://", 9)) {
		check_kafka(k, c);
		return;
	}
	if (!rest || (!tls && strncmp(c->url, "mqtt://", 7))) {
		lt_conf_reject(k, "url",
			"expected mqtt://HOST:PORT, mqtts://HOST:PORT or kafka://HOST:PORT, "
			"for example mqtt://127.0.0.1:1883");
		return;
	}
	check_mqtt_host(k, "url", rest + 3);
	if (tls)
		return;
	if (c->mqtt.ca_file[0])
		lt_conf_reject(k, "mqtt.ca_file", "is of use with mqtts:// only; change bus.url");
	if (c->mqtt.cert_file[0])
		lt_conf_reject(k, "mqtt.cert_file", "is of use with mqtts:// only; change bus.url");
}

static void check(struct lt_conf_check *k, const void *section)
{
	const struct lt_bus_conf *c = section;

	check_prefix(k, c->prefix);
	check_url(k, c);
	lt_check_pair(k, "mqtt.cert_file", c->mqtt.cert_file, "mqtt.key_file", c->mqtt.key_file);
	lt_check_pair(
		k, "kafka.cert_file", c->kafka.cert_file, "kafka.key_file", c->kafka.key_file);
	if (c->kafka.password[0] && !c->kafka.username[0])
		lt_conf_reject(k, "kafka.password", "a password needs kafka.username too");
	if (c->mqtt.password[0] && !c->mqtt.username[0])
		lt_conf_reject(k, "mqtt.password", "a password needs mqtt.username too");
	if (c->backoff_cap_ms < c->backoff_base_ms)
		lt_conf_reject(k, "backoff_cap", "must not be shorter than bus.backoff_base");
}

const struct lt_conf_section lt_bus_section = {
	.name = "bus",
	.help = "The message bus between agents and consumers.",
	.offset = offsetof(struct lt_config, bus),
	.keys = keys,
	.n_keys = LT_ARRAY_LEN(keys),
	.check = check,
};
