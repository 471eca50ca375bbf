/* SPDX-License-Identifier: MIT */
/*
 * Kafka for the contract suite. LT_TEST_KAFKA_URL is a broker's plain listener,
 * LT_TEST_KAFKA_RELAY "<port to listen on>,<port behind it>": the broker tells clients that come
 * through the relay to come back to it. Each test has a topic of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "bus_fixture.h"
#include "latido/kafka_topics.h"
#include "relay.h"

static struct relay *relay;
static char url[64], topic_name[64];
static unsigned serial;
static bool broker_down;

static bool kafka_available(void)
{
	return getenv("LT_TEST_KAFKA_URL") && getenv("LT_TEST_KAFKA_RELAY");
}

static const char *kafka_direct_url(void)
{
	return getenv("LT_TEST_KAFKA_URL");
}

static const char *kafka_url(void)
{
	return url;
}

static void told(void *arg, const char *name, enum lt_kafka_topic_state state, const char *text)
{
	(void)arg;
	(void)text;
	if (state != LT_TOPIC_CREATED && state != LT_TOPIC_EXISTS)
		print_error("topic %s: %s\n", name, text);
}

static void make_topics(void)
{
	struct lt_kafka_topics_wish wish = {.partitions = 2};
	struct lt_err err = {0};
	struct peer p;

	peer_conf(&p, &loop, kafka_direct_url(), "topics");
	if (lt_kafka_topics_create(&p.conf, &wish, told, NULL, &err) < 0)
		fail_msg("topics: %s", err.msg);
	peer_close(&p);
}

static void kafka_setup(void)
{
	int port = 0, behind = 0;

	if (sscanf(getenv("LT_TEST_KAFKA_RELAY"), "%d,%d", &port, &behind) != 2)
		fail_msg("LT_TEST_KAFKA_RELAY is not \"port,port\"");
	relay = relay_new_at(port, behind);
	snprintf(url, sizeof(url), "kafka://127.0.0.1:%d", port);
	snprintf(topic_name, sizeof(topic_name), "t%ld.%u", (long)getpid(), serial++);
	peer_kafka_topic = topic_name;
	make_topics();
}

static void kafka_broker_stop(void)
{
	control("LT_TEST_KAFKA_CTL", "stop\n");
	broker_down = true;
}

static void kafka_broker_start(bool empty)
{
	control("LT_TEST_KAFKA_CTL", empty ? "start-empty\n" : "start\n");
	broker_down = false;
	if (empty)
		make_topics();
}

static void kafka_teardown(void)
{
	if (broker_down) /* the test failed in the middle */
		kafka_broker_start(true);
	relay_free(relay);
	relay = NULL;
	peer_kafka_topic = NULL;
}

static void kafka_cut(const char *client_id)
{
	(void)client_id;
	relay_cut(relay);
}

static void kafka_refuse(const char *client_id)
{
	relay_refuse(relay, client_id != NULL);
}

static void kafka_hold(bool on)
{
	relay_hold(relay, on);
}

const struct bus_impl bus_impl_kafka = {
	.name = "kafka",
	.available = kafka_available,
	.setup = kafka_setup,
	.teardown = kafka_teardown,
	.url = kafka_url,
	.direct_url = kafka_direct_url,
	.cut = kafka_cut,
	.refuse = kafka_refuse,
	.hold = kafka_hold,
	.broker_stop = kafka_broker_stop,
	.broker_start = kafka_broker_start,
};
