/* SPDX-License-Identifier: MIT */
/* Addresses to Kafka's topics and keys, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/bus/bus_kafka_map.h"

static const struct lt_bus_conf conf = {
	.prefix = (char *)"latido/v1",
	.kafka = {.topic = (char *)"m",
		.deadletter_topic = (char *)"d",
		.alerts_topic = (char *)"a"},
};

static void check(const char *topic, const char *own, const char *log, const char *key, bool named)
{
	struct lt_kafka_place p;
	struct lt_buf back = {0};

	lt_kafka_place_of(&p, &conf, topic, own);
	assert_string_equal(p.log, log);
	if (key) {
		assert_int_equal(p.key_len, strlen(key));
		assert_memory_equal(p.key, key, p.key_len);
	} else {
		assert_null(p.key);
	}
	assert_int_equal(p.name_topic, named);
	lt_kafka_topic_of(&back, &conf, p.log, p.key ? p.key : "", p.key_len, named ? topic : NULL,
		named ? strlen(topic) : 0);
	if (!strstr(topic, "backlog")) /* becomes metrics: it is one log */
		assert_string_equal(back.data, topic);
	lt_buf_fini(&back);
}

static void there_and_back(void **state)
{
	(void)state;
	check("latido/v1/nodes/w1/metrics", NULL, "m", "w1", false);
	check("latido/v1/nodes/w1/backlog", NULL, "m", "w1", false);
	check("latido/v1/devices/d/metrics", NULL, "m", "d", true);
	check("latido/v1/devices/d/metrics/a/b", "d", "m", "d", true);
	check("latido/v1/deadletter/store", "w1", "d", "w1", true);
	check("latido/v1/deadletter/store", NULL, "d", NULL, true);
	check("latido/v1/alerts/0123", NULL, "a", "0123", false);
	check("other/thing/x", NULL, "m", "thing", true);
	check("one", NULL, "m", "one", true);
}

static void assert_topic(
	const char *log, const char *key, size_t key_len, const char *named, const char *expected)
{
	struct lt_buf out = {0};

	lt_kafka_topic_of(&out, &conf, log, key, key_len, named, named ? strlen(named) : 0);
	assert_string_equal(out.data, expected);
	lt_buf_fini(&out);
}

static void strangers(void **state)
{
	(void)state;
	/* A record of another program: the key alone says whose it is. */
	assert_topic("m", "w1", 2, NULL, "latido/v1/nodes/w1/metrics");
	assert_topic("m", "", 0, NULL, "latido/v1/nodes//metrics");
	assert_topic("m", "w\0x", 3, NULL, "latido/v1/nodes//metrics");
	/* A name that contradicts the key is not believed. */
	assert_topic("m", "w1", 2, "latido/v1/devices/w2/metrics", "latido/v1/nodes/w1/metrics");
	assert_topic("m", "w1", 2, "", "latido/v1/nodes/w1/metrics");
	assert_topic("d", "w1", 2, NULL, "latido/v1/deadletter/unknown");
}

static void assert_logs(const char *filter, const char *expected)
{
	const char *logs[3];
	char got[8] = "";
	size_t n = lt_kafka_logs(&conf, filter, logs);

	for (size_t i = 0; i < n; i++)
		strcat(got, logs[i]);
	assert_string_equal(got, expected);
}

static void filters(void **state)
{
	(void)state;
	assert_logs("latido/v1/nodes/+/metrics", "m");
	assert_logs("latido/v1/devices/+/metrics/#", "m");
	assert_logs("latido/v1/deadletter/+", "d");
	assert_logs("latido/v1/alerts/#", "a");
	assert_logs("#", "dam");
	assert_logs("latido/v1/#", "dam");
	assert_logs("latido/v1/+/x", "dam");
	assert_logs("latido/v1/nodes", "m");
	assert_logs("latido/+/deadletter/store", "dm");
	assert_logs("other/#", "m");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(strangers),
		cmocka_unit_test(filters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
