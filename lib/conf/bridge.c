/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "sections.h"

#define SECTION lt_bridge_conf

static const struct lt_conf_key keys[] = {
	KEY(STRING, "admin", admin, "127.0.0.1:9506", .max = 256,
		.help = "Listen address of /metrics, /healthz and /readyz; empty: none."),
	KEY(STRING, "mqtt_url", mqtt_url, "", .max = 1024,
		.help = "Where nodes and devices publish: mqtt://HOST:PORT or mqtts://HOST:PORT; "
			"everything else about it is said by bus.mqtt. Empty: bus.url, which is "
			"MQTT's then."),
	KEY(STRING, "kafka_url", kafka_url, "", .max = 1024,
		.help = "Where it goes: kafka://HOST:PORT,... or kafkas://HOST:PORT,...; topics, "
			"users and certificates are those of bus.kafka. Empty: bus.url, which is "
			"Kafka's then."),
	KEY(STRING, "device_group", device_group, "", .max = 64,
		.help = "Bridges with the same word here share what devices send: each message "
			"goes to one of them (MQTT shared subscription). Empty: this bridge takes "
			"every message of every device. Numbered events, those of agents, are in "
			"no need of it."),
	KEY(STRING, "inbox_dir", inbox_dir, "", .max = 1024,
		.help = "Folder for what devices have sent and Kafka has not got yet, written "
			"before the MQTT broker hears that it arrived. Empty: none, and a bridge "
			"that is killed may lose the last events of devices."),
	KEY(SIZE, "inbox_max_bytes", inbox_max_bytes, "256MiB", .min = MIB, .max = 1024 * GIB,
		.help = "Its size, more than twice bus.queue_bytes; when it is full the oldest "
			"are dropped from it and counted."),
	KEY(DURATION, "drain_timeout", drain_timeout_ms, "10s", .min = 0, .max = HOUR,
		.help = "After SIGTERM, how long to wait until Kafka has what was received."),
};

static void check(struct lt_conf_check *k, const void *section)
{
	const struct lt_bridge_conf *c = section;

	lt_check_address(k, "admin", c->admin);
	if (*c->mqtt_url)
		lt_check_bus_url(k, "mqtt_url", c->mqtt_url, "mqtt");
	if (*c->kafka_url)
		lt_check_bus_url(k, "kafka_url", c->kafka_url, "kafka");
	if (strpbrk(c->device_group, "+#/"))
		lt_conf_reject(k, "device_group", "a word without + # and /");
	if (*c->inbox_dir)
		lt_check_absolute(k, "inbox_dir", c->inbox_dir);
}

const struct lt_conf_section lt_bridge_section = {
	.name = "bridge",
	.help = "latido-bridge, which carries what nodes and devices publish from MQTT to Kafka.",
	.offset = offsetof(struct lt_config, bridge),
	.keys = keys,
	.n_keys = LT_ARRAY_LEN(keys),
	.check = check,
};
