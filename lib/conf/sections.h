/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONF_SECTIONS_H
#define LATIDO_CONF_SECTIONS_H

#include "latido/config.h"

/* The tables that schema.c puts together, one file each, and what their check hooks share. */

extern const struct lt_conf_section lt_log_section;
extern const struct lt_conf_section lt_bus_section;
extern const struct lt_conf_section lt_redis_section;
extern const struct lt_conf_section lt_postgres_section;
extern const struct lt_conf_section lt_limits_section;
extern const struct lt_conf_section lt_agent_section;
extern const struct lt_conf_section lt_hot_section;
extern const struct lt_conf_section lt_store_section;
extern const struct lt_conf_section lt_alert_section;
extern const struct lt_conf_section lt_bridge_section;
extern const struct lt_conf_section lt_live_section;

#define KEY(type, name, field, def, ...)                                                \
	{                                                                               \
		name, LT_CONF_##type, offsetof(struct SECTION, field), def, __VA_ARGS__ \
	}

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define KIB    1024LL
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)

/** lt_check_address() - "host:port" or "[v6]:port"; empty is fine. */
void lt_check_address(struct lt_conf_check *k, const char *key, const char *value);
/** lt_check_host_port() - the same for the middle of a URL, where the port may be missing. */
void lt_check_host_port(
	struct lt_conf_check *k, const char *key, const char *text, size_t len, bool port_needed);
/**
 * lt_check_bus_url() - a bus URL of one kind, host and port in form
 * @kind: "mqtt" or "kafka"; with an s behind it, it is TLS.
 */
void lt_check_bus_url(struct lt_conf_check *k, const char *key, const char *url, const char *kind);
/** lt_check_regex() - a POSIX extended regular expression. */
void lt_check_regex(struct lt_conf_check *k, const char *key, const char *value);
/** lt_check_absolute() - a path from the root. */
void lt_check_absolute(struct lt_conf_check *k, const char *key, const char *value);
/** lt_check_pair() - two keys of which one is of no use without the other. */
void lt_check_pair(struct lt_conf_check *k, const char *key_a, const char *a, const char *key_b,
	const char *b);

#endif
