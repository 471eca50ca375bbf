/* SPDX-License-Identifier: MIT */
#include "bridge.h"

static const char *admin_listen(const struct lt_config *conf)
{
	return conf->bridge.admin;
}

static int64_t drain_timeout_ms(const struct lt_config *conf)
{
	return conf->bridge.drain_timeout_ms;
}

static const struct lt_daemon bridge = {
	.name = "latido-bridge",
	.comp = "bridge",
	.synopsis = "Carry what nodes and devices publish from MQTT to Kafka.",
	.admin_listen = admin_listen,
	.drain_timeout_ms = drain_timeout_ms,
	.start = lt_bridge_start,
	.drain = lt_bridge_drain,
	.fini = lt_bridge_fini,
};

int main(int argc, char **argv)
{
	return lt_daemon_main(&bridge, argc, argv);
}
