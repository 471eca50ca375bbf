/* SPDX-License-Identifier: MIT */
/*
 * Empties a full MQTT queue and drops what it gets, to see what each layer above the broker costs:
 *
 *	mqtt_drain LAYER HOST PORT PREFIX CLIENT_ID MESSAGES
 *
 * LAYER paho: its callback frees the message. bus: lt_bus_poll() and lt_bus_done(), as a consumer does
 * it. decode: and lt_decode() between them. MESSAGES 0: make the session and end, so that the broker
 * keeps what comes. Otherwise end after so many, and print how long they took from the first one on, and
 * how much CPU time.
 */
#include <MQTTAsync.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/event.h"
#include "latido/mem.h"

#define SESSION_S 3600

struct drain {
	const char *host, *id;
	int port;
	char *filter;
	unsigned long wanted, got;
	int64_t first_ns, last_ns, first_cpu_ns;
	sem_t ready, all; /* paho */
	/* bus */
	const char *prefix;
	bool decodes;
	struct lt_loop loop;
	struct lt_bus *bus;
	struct lt_shapes *shapes;
	struct lt_arena arena;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "mqtt_drain: %s: %s\n", what, why ? why : "failed");
	_exit(1);
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * LT_NS_PER_S + t.tv_nsec;
}

/* Return: it was the last one. */
static bool count(struct drain *d, size_t n)
{
	if (d->got == 0) {
		d->first_ns = lt_mono_ns();
		d->first_cpu_ns = cpu_ns();
	}
	d->got += n;
	if (d->got < d->wanted)
		return false;
	d->last_ns = lt_mono_ns();
	return true;
}

static void show(const struct drain *d)
{
	printf("{\"messages\": %lu, \"seconds\": %.6f, \"cpu_seconds\": %.6f}\n", d->got,
		(double)(d->last_ns - d->first_ns) / LT_NS_PER_S,
		(double)(cpu_ns() - d->first_cpu_ns) / LT_NS_PER_S);
	fflush(stdout);
	_exit(0); /* the session stays */
}

/* ---- paho alone ---- */

static int on_message(void *arg, char *name, int len, MQTTAsync_message *m)
{
	struct drain *d = arg;

	(void)len;
	MQTTAsync_freeMessage(&m);
	MQTTAsync_free(name);
	if (d->got < d->wanted && count(d, 1))
		sem_post(&d->all);
	return 1;
}

static void on_lost(void *arg, char *why)
{
	(void)arg;
	die("connection", why);
}

static void on_failure(void *arg, MQTTAsync_failureData5 *f)
{
	(void)arg;
	die("MQTT", f->message);
}

static void on_subscribed(void *arg, MQTTAsync_successData5 *data)
{
	struct drain *d = arg;

	(void)data;
	sem_post(&d->ready);
}

static void with_paho(struct drain *d)
{
	MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
	MQTTAsync_connectOptions opt = MQTTAsync_connectOptions_initializer5;
	MQTTAsync_responseOptions answer = MQTTAsync_responseOptions_initializer;
	MQTTProperties props = MQTTProperties_initializer;
	MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL,
		.value.integer4 = SESSION_S};
	char *uri = lt_asprintf("tcp://%s:%d", d->host, d->port);
	MQTTAsync client;

	sem_init(&d->ready, 0, 0);
	sem_init(&d->all, 0, 0);
	if (MQTTAsync_createWithOptions(&client, uri, d->id, MQTTCLIENT_PERSISTENCE_NONE, NULL,
		    &create) != MQTTASYNC_SUCCESS)
		die("client", NULL);
	MQTTAsync_setCallbacks(client, d, on_lost, on_message, NULL);
	MQTTProperties_add(&props, &expiry);
	opt.connectProperties = &props;
	opt.cleanstart = 0;
	opt.onSuccess5 = on_subscribed;
	opt.onFailure5 = on_failure;
	opt.context = d;
	if (MQTTAsync_connect(client, &opt) != MQTTASYNC_SUCCESS)
		die("connect", NULL);
	sem_wait(&d->ready);
	if (d->wanted) {
		sem_wait(&d->all);
		show(d);
	}
	answer.onSuccess5 = on_subscribed;
	answer.onFailure5 = on_failure;
	answer.context = d;
	if (MQTTAsync_subscribe(client, d->filter, 1, &answer) != MQTTASYNC_SUCCESS)
		die("subscribe", NULL);
	sem_wait(&d->ready);
	_exit(0);
}

/* ---- our bus ---- */

static void decode(struct drain *d, const struct lt_bus_msg *m)
{
	static const struct lt_decode_limits limits = {.max_bytes = 1 << 20, .max_series = 100000};
	struct lt_event *first = NULL;
	enum lt_reason reason;
	struct lt_origin origin;
	uint64_t hash;
	struct lt_err err;

	if (lt_origin_from_topic(&origin, d->prefix, m->topic, &err) < 0)
		die("topic", err.msg);
	origin.arrived_ns = m->arrived_ns;
	origin.content_type = m->content_type;
	if (lt_decode(d->shapes, &limits, &origin, m->data, m->size, &d->arena, &first, &reason,
		    &hash, &err) < 0)
		die("event", err.msg);
	lt_events_release(first);
	lt_arena_reset(&d->arena);
}

static void on_readable(void *arg)
{
	struct drain *d = arg;
	struct lt_bus_msg *m[64];
	size_t n;

	while ((n = lt_bus_poll(d->bus, m, LT_ARRAY_LEN(m))) > 0) {
		for (size_t i = 0; i < n; i++) {
			if (d->decodes)
				decode(d, m[i]);
			lt_bus_done(d->bus, m[i]);
		}
		if (count(d, n))
			show(d);
	}
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct drain *d = arg;

	(void)resumed;
	if (!connected)
		die("connection", err->msg);
	if (!d->wanted)
		_exit(0);
}

static void with_bus(struct drain *d)
{
	struct lt_bus_handler h = {.arg = d, .state = on_state, .readable = on_readable};
	const char *topics[] = {d->filter};
	struct lt_bus_options opt = {
		.comp = "drain", .durable = true, .topics = topics, .n_topics = 1};
	struct lt_bus_conf conf = {.url = lt_asprintf("mqtt://%s:%d", d->host, d->port),
		.queue_bytes = 64 << 20,
		.backoff_base_ms = 1000,
		.backoff_cap_ms = 1000};
	struct lt_err err;

	conf.mqtt.client_id = (char *)d->id;
	conf.mqtt.max_inflight = 1000;
	conf.mqtt.keepalive_ms = 60000;
	conf.mqtt.session_expiry_ms = SESSION_S * 1000;
	conf.mqtt.connect_timeout_ms = 30000;
	d->shapes = lt_shapes_new(64 << 20, 100000);
	if (lt_loop_init(&d->loop, &err) < 0)
		die("loop", err.msg);
	d->bus = lt_bus_new(&conf, &opt, &h, &d->loop, &err);
	if (!d->bus || lt_bus_open(d->bus, &err) < 0)
		die("bus", err.msg);
	lt_loop_run(&d->loop);
}

int main(int argc, char **argv)
{
	static struct drain d;

	if (argc != 7) {
		fprintf(stderr, "usage: mqtt_drain paho|bus|decode HOST PORT PREFIX CLIENT_ID "
				"MESSAGES\n");
		return 2;
	}
	d.host = argv[2];
	d.port = atoi(argv[3]);
	d.prefix = argv[4];
	d.filter = lt_asprintf("%s/nodes/+/metrics", argv[4]);
	d.id = argv[5];
	d.wanted = strtoul(argv[6], NULL, 10);
	d.decodes = strcmp(argv[1], "decode") == 0;
	if (strcmp(argv[1], "paho") == 0)
		with_paho(&d);
	else
		with_bus(&d);
	return 0;
}
