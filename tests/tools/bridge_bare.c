/* SPDX-License-Identifier: MIT */
/*
 * The least that carries messages from MQTT to Kafka, as the ceiling for latido-bridge: paho's callback
 * hands each message to librdkafka and returns; nothing is decoded, kept or acknowledged to anybody.
 *
 *	bridge_bare MQTT_URI FILTER CLIENT_ID KAFKA_SERVERS TOPIC MESSAGES
 *
 * MESSAGES 0: make the session and end, so that the broker keeps what comes. Otherwise end when Kafka
 * has reported so many, and print how long that took.
 */
#include <MQTTAsync.h>
#include <librdkafka/rdkafka.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static rd_kafka_t *rk;
static const char *topic, *filter;
static sem_t subscribed;
static unsigned long delivered;

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bridge_bare: %s: %s\n", what, why ? why : "failed");
	_exit(1);
}

static void on_report(rd_kafka_t *client, const rd_kafka_message_t *m, void *arg)
{
	(void)client;
	(void)arg;
	if (m->err)
		die("delivery", rd_kafka_err2str(m->err));
	delivered++;
}

/* The key is the source: what stands between the last two slashes. */
static int on_message(void *arg, char *name, int len, MQTTAsync_message *m)
{
	char *end = strrchr(name, '/'), *key = end;
	rd_kafka_resp_err_t rc;

	(void)arg;
	(void)len;
	while (key && key > name && key[-1] != '/')
		key--;
	do {
		rc = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic),
			RD_KAFKA_V_VALUE(m->payload, (size_t)m->payloadlen),
			RD_KAFKA_V_KEY(key, (size_t)(key ? end - key : 0)),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_BLOCK),
			RD_KAFKA_V_END);
	} while (rc == RD_KAFKA_RESP_ERR__QUEUE_FULL);
	if (rc)
		die("produce", rd_kafka_err2str(rc));
	MQTTAsync_freeMessage(&m);
	MQTTAsync_free(name);
	return 1;
}

static void on_lost(void *arg, char *why)
{
	(void)arg;
	die("connection to MQTT", why);
}

static void on_failure(void *arg, MQTTAsync_failureData *f)
{
	(void)arg;
	die("MQTT", f ? f->message : NULL);
}

static void on_subscribed(void *arg, MQTTAsync_successData *data)
{
	(void)arg;
	(void)data;
	sem_post(&subscribed);
}

static void on_connected(void *arg, MQTTAsync_successData *data)
{
	MQTTAsync_responseOptions opt = MQTTAsync_responseOptions_initializer;

	(void)data;
	opt.onSuccess = on_subscribed;
	opt.onFailure = on_failure;
	if (MQTTAsync_subscribe(arg, filter, 1, &opt) != MQTTASYNC_SUCCESS)
		die("subscribe", NULL);
}

static void open_kafka(const char *servers)
{
	static const char *const set[][2] = {{"enable.idempotence", "true"}, {"acks", "all"},
		{"partitioner", "murmur2_random"}, {"compression.codec", "zstd"},
		{"linger.ms", "5"}, {"queue.buffering.max.messages", "11000"}};
	const struct rd_kafka_metadata *known;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[256] = "";

	rd_kafka_conf_set(conf, "bootstrap.servers", servers, text, sizeof(text));
	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++)
		if (rd_kafka_conf_set(conf, set[i][0], set[i][1], text, sizeof(text)) !=
			RD_KAFKA_CONF_OK)
			die(set[i][0], text);
	rd_kafka_conf_set_dr_msg_cb(conf, on_report);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	if (!rk)
		die("librdkafka", text);
	/* The bridge is connected when its time begins; so is this. */
	if (rd_kafka_metadata(rk, 1, NULL, &known, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("Kafka", "no answer");
	rd_kafka_metadata_destroy(known);
}

int main(int argc, char **argv)
{
	MQTTAsync_connectOptions opt = MQTTAsync_connectOptions_initializer;
	MQTTAsync client;
	unsigned long wanted;
	double begun;

	if (argc != 7) {
		fprintf(stderr, "usage: bridge_bare MQTT_URI FILTER CLIENT_ID KAFKA_SERVERS TOPIC "
				"MESSAGES\n");
		return 2;
	}
	filter = argv[2];
	topic = argv[5];
	wanted = strtoul(argv[6], NULL, 10);
	sem_init(&subscribed, 0, 0);
	open_kafka(argv[4]);
	if (MQTTAsync_create(&client, argv[1], argv[3], MQTTCLIENT_PERSISTENCE_NONE, NULL) !=
		MQTTASYNC_SUCCESS)
		die("MQTT", NULL);
	MQTTAsync_setCallbacks(client, NULL, on_lost, on_message, NULL);
	begun = now_s();
	opt.cleansession = 0;
	opt.onSuccess = on_connected;
	opt.onFailure = on_failure;
	opt.context = client;
	if (MQTTAsync_connect(client, &opt) != MQTTASYNC_SUCCESS)
		die("connect", NULL);
	/* What the session kept comes before the answer; its reports make room meanwhile. */
	while (sem_trywait(&subscribed))
		rd_kafka_poll(rk, 10);
	while (delivered < wanted)
		rd_kafka_poll(rk, 100);
	printf("{\"messages\": %lu, \"seconds\": %.6f}\n", delivered, now_s() - begun);
	fflush(stdout);
	_exit(0); /* the session stays */
}
