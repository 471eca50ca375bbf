/* SPDX-License-Identifier: MIT */
#include <malloc.h>

#include "agent.h"

static const char *admin_listen(const struct lt_config *conf)
{
	return conf->agent.admin;
}

static int64_t drain_timeout_ms(const struct lt_config *conf)
{
	return conf->agent.drain_timeout_ms;
}

static const struct lt_option options[] = {
	{"once", NULL, "take one snapshot, with --print, and exit", &lt_agent_options.once, NULL},
	{"print", NULL, "write it as JSON to standard output; no bus is needed",
		&lt_agent_options.print, NULL},
	{"list-metrics", NULL, "list all metrics with kind and help, and exit",
		&lt_agent_options.list_metrics, NULL},
};

static const struct lt_daemon latido_agent = {
	.name = "latido-agent",
	.comp = "agent",
	.synopsis = "Samples the metrics of this node and publishes them as events.",
	.options = options,
	.n_options = LT_ARRAY_LEN(options),
	.admin_listen = admin_listen,
	.drain_timeout_ms = drain_timeout_ms,
	.command = lt_agent_command,
	.start = lt_agent_start,
	.drain = lt_agent_drain,
	.fini = lt_agent_fini,
};

int main(int argc, char **argv)
{
	/* The MQTT client has threads that allocate little: an arena for each would be memory that
	 * an agent on every node should not take. */
	mallopt(M_ARENA_MAX, 1);
	return lt_daemon_main(&latido_agent, argc, argv);
}
