/* SPDX-License-Identifier: MIT */
#include "sections.h"

static const struct lt_conf_section *const sections[] = {
	&lt_log_section,
	&lt_bus_section,
	&lt_redis_section,
	&lt_postgres_section,
	&lt_limits_section,
	&lt_agent_section,
	&lt_hot_section,
	&lt_store_section,
	&lt_alert_section,
	&lt_bridge_section,
	&lt_live_section,
};

const struct lt_conf_schema lt_config_schema = {
	.sections = sections,
	.n_sections = LT_ARRAY_LEN(sections),
	.root_size = sizeof(struct lt_config),
	.env_prefix = "LATIDO",
};
