/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "sections.h"

#define SECTION lt_bus_conf

static const struct lt_conf_key keys[] = {
	KEY(STRING, "url", url, "mqtt://127.0.0.1:1883", .min = 1, .max = 1024,
		.help = "The message bus: mqtt://HOST:PORT, mqtts://HOST:PORT for TLS, or mem:// "
			"inside one process for tests. Without a port it is 1883, with TLS 8883."),
	KEY(STRING, "prefix", prefix, "latido/v1", .min = 1, .max = 256,
		.help = "What every topic starts with. Agents, consumers and devices of one site "
			"use the same one."),
	KEY(SIZE, "queue_bytes", queue_bytes, "64MiB", .min = MIB, .max = 16 * GIB,
		.help = "Messages that were received and are not yet stored may take so much "
			"memory; then no more is read from the broker, which keeps them."),
	KEY(STRING, "mqtt.client_id", mqtt.client_id, "", .max = 256,
		.help = "Name of the session at the broker; two clients with the same one throw "
			"each other out. Empty: latido-PROGRAM-HOSTNAME."),
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

static void check_url(struct lt_conf_check *k, const struct lt_bus_conf *c)
{
	const char *rest = strstr(c->url, "://");
	bool tls = !strncmp(c->url, "mqtts://", 8);
	size_t host;

	if (!strncmp(c->url, "mem://", 6))
		return;
	if (!strncmp(c->url, "kafka://", 8)) {
		lt_conf_reject(k, "url",
			"Kafka is not in this build; use mqtt:// or mqtts://, and a bridge");
		return;
	}
	if (!rest || (!tls && strncmp(c->url, "mqtt://", 7))) {
		lt_conf_reject(k, "url",
			"expected mqtt://HOST:PORT or mqtts://HOST:PORT, "
			"for example mqtt://127.0.0.1:1883");
		return;
	}
	rest += 3;
	if (strchr(rest, '@')) {
		lt_conf_reject_hidden(k, "url",
			"credentials do not belong into the URL; use mqtt.username and "
			"mqtt.password_file");
		return;
	}
	host = strcspn(rest, "/?#");
	if (rest[host] && strcmp(rest + host, "/"))
		lt_conf_reject(
			k, "url", "nothing may follow the port; topics start with bus.prefix");
	else
		lt_check_host_port(k, "url", rest, host, false);
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
