/* SPDX-License-Identifier: MIT */
/* Rare errors of brokers, injected by librdkafka's mock cluster: nothing lost, each told once. */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/bus_peer.h"
#include "latido/log.h"
#include "latido/stats.h"

#define PRODUCE      0
#define FETCH        1
#define COMMIT       8
#define HEARTBEAT    12
#define N            200
#define EVENTS_TOPIC "latido/v1/nodes/w1/metrics"

static rd_kafka_t *owner;
static rd_kafka_mock_cluster_t *mock;
static struct lt_loop loop;
static char url[512], topic[32];

static int setup(void **state)
{
	static unsigned serial;
	struct lt_err err;
	char text[256];

	(void)state;
	owner = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof(text));
	mock = rd_kafka_mock_cluster_new(owner, 3);
	snprintf(topic, sizeof(topic), "m%u", serial++);
	if (rd_kafka_mock_topic_create(mock, topic, 1, 3))
		return -1;
	snprintf(url, sizeof(url), "kafka://%s", rd_kafka_mock_cluster_bootstraps(mock));
	peer_kafka_topic = topic;
	return lt_loop_init(&loop, &err);
}

static int teardown(void **state)
{
	(void)state;
	lt_loop_fini(&loop);
	rd_kafka_mock_cluster_destroy(mock);
	rd_kafka_destroy(owner);
	peer_kafka_topic = NULL;
	lt_stats_clear();
	return 0;
}

static char one[] = "1", in_flight[] = "max.in.flight.requests.per.connection";
static char *property[] = {in_flight}, *value[] = {one};
static const struct lt_conf_map one_request = {.keys = property, .values = value, .n = 1};

static void open_peers(struct peer *sub, struct peer *pub, bool durable)
{
	peer_conf(sub, &loop, url, "sub");
	peer_open(sub, (const char *[]){"latido/v1/nodes/+/metrics", NULL}, durable, false);
	peer_conf(pub, &loop, url, "pub");
	/*
	 * One request at a time: the mock does not check sequence numbers. It would take the second
	 * of two after it has refused the first, from which librdkafka, with every real broker
	 * rightly, concludes that the first was stored too.
	 */
	pub->conf.kafka.properties = one_request;
	peer_open(pub, NULL, false, false);
	peer_wait_up(sub);
	peer_wait_up(pub);
}

/* All from @from on were received in order, each at least once. */
static void assert_all(const struct peer *sub, int from, int to)
{
	int next = from;

	for (size_t i = 0; i < sub->n_got; i++) {
		int n = atoi(sub->got[i].data);

		if (n > next)
			fail_msg("%d is missing: %d came instead", next, n);
		next += n == next;
	}
	assert_int_equal(next, to);
}

static void publish(struct peer *pub, int from, int to)
{
	char text[16];

	for (int i = from; i < to; i++) {
		snprintf(text, sizeof(text), "%d", i);
		peer_publish_text(pub, EVENTS_TOPIC, text);
	}
}

static bool got_last(void *arg)
{
	struct peer *p = arg;
	char last[16];

	snprintf(last, sizeof(last), "%d", N - 1);
	return peer_has(p, EVENTS_TOPIC, last);
}

static bool got_each(void *arg)
{
	struct peer *p = arg;
	char text[16];

	for (int i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "%d", i);
		if (!peer_has(p, EVENTS_TOPIC, text))
			return false;
	}
	return true;
}

static void produce_with(size_t n, const rd_kafka_resp_err_t *errors, bool ordered)
{
	struct peer sub, pub;

	open_peers(&sub, &pub, false);
	publish(&pub, 0, N / 2);
	peer_wait_reported(&pub);
	rd_kafka_mock_push_request_errors_array(mock, PRODUCE, n, errors);
	publish(&pub, N / 2, N);
	peer_wait_reported(&pub);
	for (size_t i = 0; i < pub.n_tokens; i++)
		assert_int_equal(pub.codes[i], LT_OK);
	spin(&loop, got_each, &sub);
	if (ordered)
		assert_all(&sub, 0, N);
	peer_close(&pub);
	peer_close(&sub);
}

static void not_leader(void **state)
{
	const rd_kafka_resp_err_t errors[] = {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
		RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
		RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
		RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
		RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR};

	(void)state;
	produce_with(LT_ARRAY_LEN(errors), errors, true);
}

/* A batch that librdkafka gave up goes again, perhaps behind what was accepted after it. */
static void producer_is_fenced(void **state)
{
	const rd_kafka_resp_err_t errors[] = {
		RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH};

	(void)state;
	produce_with(LT_ARRAY_LEN(errors), errors, false);
}

static void too_large_is_refused_for_good(void **state)
{
	struct peer sub, pub;

	(void)state;
	open_peers(&sub, &pub, false);
	rd_kafka_mock_push_request_errors(mock, PRODUCE, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	publish(&pub, 0, 1);
	peer_wait_reported(&pub);
	assert_int_equal(pub.codes[0], LT_EDATA);
	assert_int_equal(pub.publish_err.cls, LT_CLS_POISON);
	assert_non_null(strstr(pub.publish_err.msg, "max.message.bytes"));
	/* The others go on. */
	publish(&pub, 0, N);
	peer_wait_reported(&pub);
	spin(&loop, got_last, &sub);
	assert_all(&sub, 0, N);
	peer_close(&pub);
	peer_close(&sub);
}

static void permission_is_refused_for_good(void **state)
{
	struct peer sub, pub;

	(void)state;
	open_peers(&sub, &pub, false);
	rd_kafka_mock_push_request_errors(
		mock, PRODUCE, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	publish(&pub, 0, 1);
	peer_wait_reported(&pub);
	assert_int_equal(pub.codes[0], LT_EAUTH);
	peer_close(&pub);
	peer_close(&sub);
}

static void leader_and_coordinator_move(void **state)
{
	struct peer sub, pub;

	(void)state;
	open_peers(&sub, &pub, true);
	publish(&pub, 0, N / 4);
	peer_wait_got(&sub, N / 4);
	rd_kafka_mock_partition_set_leader(mock, topic, 0, 2);
	rd_kafka_mock_coordinator_set(mock, "group", "sub", 3);
	rd_kafka_mock_push_request_errors(mock, HEARTBEAT, 2,
		RD_KAFKA_RESP_ERR_NOT_COORDINATOR_FOR_GROUP,
		RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
	rd_kafka_mock_push_request_errors(
		mock, COMMIT, 1, RD_KAFKA_RESP_ERR_NOT_COORDINATOR_FOR_GROUP);
	publish(&pub, N / 4, N / 2);
	rd_kafka_mock_partition_set_leader(mock, topic, 0, 3);
	rd_kafka_mock_coordinator_set(mock, "group", "sub", 1);
	rd_kafka_mock_push_request_errors(mock, FETCH, 2,
		RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH);
	publish(&pub, N / 2, N);
	peer_wait_reported(&pub);
	spin(&loop, got_last, &sub);
	assert_all(&sub, 0, N);
	peer_close(&pub);
	peer_close(&sub);
}

static void slow_brokers(void **state)
{
	struct peer sub, pub;

	(void)state;
	for (int i = 1; i <= 3; i++)
		rd_kafka_mock_broker_set_rtt(mock, i, 300);
	open_peers(&sub, &pub, false);
	publish(&pub, 0, N);
	peer_wait_reported(&pub);
	spin(&loop, got_last, &sub);
	assert_all(&sub, 0, N);
	peer_close(&pub);
	peer_close(&sub);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(not_leader),
		T(producer_is_fenced),
		T(too_large_is_refused_for_good),
		T(permission_is_refused_for_good),
		T(leader_and_coordinator_move),
		T(slow_brokers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
