/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_KAFKA_TOPICS_H
#define LATIDO_KAFKA_TOPICS_H

#include "latido/bus.h"
#include "latido/config.h"
#include "latido/err.h"

/*
 * The topics that Latido needs in Kafka: what they should be like, making them, comparing. For the
 * command line; everything here blocks, for as long as the brokers take and at most half a minute.
 */

#define LT_KAFKA_TOPICS     4
#define LT_KAFKA_TOPIC_KEYS 6

struct lt_kafka_topic {
	const char *name; /* borrowed from the configuration */
	int32_t partitions;
	int32_t copies; /* replication factor */
	struct {
		const char *key;
		char value[32];
	} keys[LT_KAFKA_TOPIC_KEYS];
	size_t n_keys;
};

struct lt_kafka_topics_wish {
	int32_t partitions;   /* of the events; 0: 12 */
	int32_t copies;       /* 0: 3, or as many as there are brokers */
	int64_t retention_ms; /* of the events; 0: 7 days */
};

/** enum lt_kafka_topic_state - what was found or done */
enum lt_kafka_topic_state {
	LT_TOPIC_CREATED = 0,
	LT_TOPIC_EXISTS, /* create: left as it is */
	LT_TOPIC_SAME,   /* check: as it should be */
	LT_TOPIC_MISSING,
	LT_TOPIC_DIFFERS, /* check: one call for each difference */
	LT_TOPIC_FAILED,
};

/** told for each topic; @text: what differs, or why it failed; else "" */
typedef void (*lt_kafka_topics_fn)(
	void *arg, const char *topic, enum lt_kafka_topic_state state, const char *text);

/**
 * lt_kafka_topics_create() - make the topics that do not exist; others are not touched
 * Return: LT_OK: all are there. Else the first reason in @err.
 */
int lt_kafka_topics_create(const struct lt_bus_conf *conf, const struct lt_kafka_topics_wish *wish,
	lt_kafka_topics_fn fn, void *arg, struct lt_err *err) LT_MUST_CHECK;
/**
 * lt_kafka_topics_check() - compare what is there with what create would make
 *
 * More partitions or copies than wished, and longer retention, are no difference.
 * Return: LT_OK: no difference; LT_ECONFLICT: some; else the brokers could not be asked.
 */
int lt_kafka_topics_check(const struct lt_bus_conf *conf, const struct lt_kafka_topics_wish *wish,
	lt_kafka_topics_fn fn, void *arg, struct lt_err *err) LT_MUST_CHECK;

/** told for each message; valid during the call. Return: false ends the scan. */
typedef bool (*lt_kafka_scan_fn)(void *arg, const struct lt_bus_msg *m);

/**
 * lt_kafka_scan() - read a topic from its oldest message to where it ends now
 *
 * In order inside each partition. m->topic is the Kafka topic. Nothing is committed.
 */
int lt_kafka_scan(const struct lt_bus_conf *conf, const char *log, lt_kafka_scan_fn fn, void *arg,
	struct lt_err *err) LT_MUST_CHECK;

#endif
