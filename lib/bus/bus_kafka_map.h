/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BUS_KAFKA_MAP_H
#define LATIDO_BUS_KAFKA_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "latido/config.h"
#include "latido/mem.h"

/*
 * Between the addresses that programs use (design.md section 3, MQTT's) and Kafka's topics, keys
 * and headers:
 *
 *	<prefix>/nodes/<source>/metrics    bus.kafka.topic, key <source>
 *	<prefix>/nodes/<source>/backlog    the same: a log has no need of a second path
 *	<prefix>/devices/<id>/metrics/...  bus.kafka.topic, key <id>, header mqtt-topic
 *	<prefix>/deadletter/<consumer>     bus.kafka.deadletter_topic
 *	<prefix>/alerts/<fingerprint>      bus.kafka.alerts_topic, key <fingerprint>
 *	anything else                      bus.kafka.topic, key = second level, header mqtt-topic
 */

#define LT_KAFKA_H_TOPIC        "mqtt-topic"
#define LT_KAFKA_H_CONTENT_TYPE "content-type"

/** struct lt_kafka_place - where a message with some address goes; points into the arguments */
struct lt_kafka_place {
	const char *log;
	const char *key;
	size_t key_len;
	bool name_topic; /* needs the header mqtt-topic to be found again */
};

/** lt_kafka_place_of() - @key: the publisher's own, or NULL. */
void lt_kafka_place_of(struct lt_kafka_place *p, const struct lt_bus_conf *conf, const char *topic,
	const char *key);

/**
 * lt_kafka_topic_of() - append the address of a received message to @out
 * @named: value of its header mqtt-topic, or NULL.
 *
 * A name is believed only when it agrees with the key, which is what orders messages and decides
 * whose they are.
 */
void lt_kafka_topic_of(struct lt_buf *out, const struct lt_bus_conf *conf, const char *log,
	const char *key, size_t key_len, const char *named, size_t named_len);

/** lt_kafka_logs() - Kafka topics in which messages of @filter can be; at most 3. */
size_t lt_kafka_logs(const struct lt_bus_conf *conf, const char *filter, const char *logs[3]);

#endif
