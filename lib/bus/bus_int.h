/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BUS_INT_H
#define LATIDO_BUS_INT_H

#include <stdbool.h>
#include <stddef.h>

#include "latido/bus.h"
#include "latido/stats.h"

/* What the implementations of the bus share; programs do not include this file. */

extern const struct lt_bus_ops lt_bus_kafka_ops;
extern const struct lt_bus_ops lt_bus_mem_ops;
extern const struct lt_bus_ops lt_bus_mqtt_ops;

/* Of all buses of the process; shown by /metrics from the first lt_bus_new() on. */
struct lt_bus_stats {
	struct lt_counter connected; /* times a bus was up again, or for the first time */
	struct lt_counter failed;    /* connections lost or not made */
	struct lt_counter paused;    /* times bus.queue_bytes was reached */
	struct lt_counter foreign;   /* received by a subscription that nobody asked for any more */
	struct lt_counter delivered; /* publishes that the broker has */
	struct lt_counter refused;   /* publishes that it refused for good */
	struct lt_counter full;      /* publishes put off */
	struct lt_gauge held, inflight;
};
extern struct lt_bus_stats lt_bus_stats;

/** lt_bus_fill() - an implementation says how full its queues are; 0, 0 before it ends. */
void lt_bus_fill(struct lt_bus *b, size_t held_bytes, size_t inflight);

/** struct lt_bus_url - scheme://host[:port], taken apart; fixed size, no ownership */
struct lt_bus_url {
	char scheme[16];
	char host[256]; /* without the brackets of an IPv6 address */
	int port;       /* 0: none given */
};

/**
 * lt_bus_url_parse() - take a bus.url apart
 *
 * Refuses user names (they have keys of their own, so that passwords do not end up in logs), paths
 * and query strings. Return: LT_OK or LT_ECONF (CONFIG) with what to write instead.
 */
int lt_bus_url_parse(struct lt_bus_url *u, const char *url, struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_bus_client_id() - the configured client id, or "latido-<comp>-<host name>"
 *
 * Return: heap string, the caller frees it.
 */
char *lt_bus_client_id(const struct lt_bus_conf *conf, const char *comp);

/**
 * lt_topic_valid() - may be published to
 *
 * UTF-8 of 1 to 65535 bytes without wildcards, control characters and non-characters: a broker
 * closes the connection on those, and the message would be sent again for ever.
 */
bool lt_topic_valid(const char *topic);
/** lt_topic_filter_valid() - may be subscribed to: '+' and '#' only where MQTT allows them. */
bool lt_topic_filter_valid(const char *filter);
/**
 * lt_topic_match() - MQTT 5, section 4.7
 * @filter: valid; "$share/<group>/" in front is skipped.
 *
 * Topics that begin with '$' are not matched by a leading wildcard.
 */
bool lt_topic_match(const char *filter, const char *topic);
/** lt_text_valid() - UTF-8 that may be sent in an MQTT string: no control or non-characters. */
bool lt_text_valid(const char *s, size_t n);

#endif
