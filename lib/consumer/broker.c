/* SPDX-License-Identifier: MIT */
#include "latido/broker.h"

#include <stdlib.h>
#include <string.h>

#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/log.h"
#include "latido/stats.h"

/* Mosquitto says something every 10 s unless its sys_interval says otherwise. */
#define SILENT_NS (60 * LT_NS_PER_S)

/* Messages that the broker holds, those that it holds because they are retained, and those that
 * it did not queue for somebody because the queue was full (mosquitto(8), "Broker status"). */
enum { STORED, RETAINED, DROPPED, N_TOPICS };
static const char *const topics[N_TOPICS] = {
	[STORED] = "$SYS/broker/store/messages/count",
	[RETAINED] = "$SYS/broker/retained messages/count",
	[DROPPED] = "$SYS/broker/publish/messages/dropped",
};

struct lt_broker {
	const struct lt_bus_conf *conf;
	struct lt_bus_conf own; /* *conf but for the client id */
	char *client_id;
	struct lt_bus *bus; /* NULL before the first connect and after a refusal */
	struct lt_loop *loop;
	char *comp;
	struct lt_timer timer; /* for the first figure, or to leave */
	struct lt_complaint complaint;
	bool refused, told;
	bool known[N_TOPICS];
	uint64_t value[N_TOPICS];
};

static struct lt_gauge queued;
static struct lt_counter dropped;

static const struct lt_stat queue_table[] = {
	{"latido_broker_queued_messages", LT_STAT_GAUGE, NULL,
		"Messages that wait in the MQTT broker for anybody who has not taken them yet.",
		&queued, NULL},
};
static const struct lt_stat drop_table[] = {
	{"latido_broker_dropped_messages_total", LT_STAT_COUNTER, NULL,
		"Messages that the MQTT broker dropped at the bound of somebody's queue, since "
		"this "
		"program reads its figures.",
		&dropped, NULL},
};

static void show(const struct lt_broker *b)
{
	bool queue = b->known[STORED] && b->known[RETAINED];

	/* The two are not of one instant: what is retained may be ahead. */
	if (queue && b->value[STORED] > b->value[RETAINED])
		lt_gauge_set(&queued, (int64_t)(b->value[STORED] - b->value[RETAINED]));
	else
		lt_gauge_set(&queued, 0);
	lt_stats_add(queue_table, queue ? LT_ARRAY_LEN(queue_table) : 0);
	/* Once known it stays: a counter may pause. */
	if (b->told)
		lt_stats_add(drop_table, LT_ARRAY_LEN(drop_table));
}

static bool parse(const struct lt_bus_msg *m, uint64_t *v)
{
	const char *s = m->data;

	*v = 0;
	if (m->size == 0 || m->size > 18)
		return false;
	for (size_t i = 0; i < m->size; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		*v = *v * 10 + (uint64_t)(s[i] - '0');
	}
	return true;
}

/* Each figure is published when it has changed; the last one is retained for a minute at least. */
static void take(struct lt_broker *b, const struct lt_bus_msg *m)
{
	uint64_t v;

	for (size_t i = 0; i < N_TOPICS; i++) {
		if (strcmp(m->topic, topics[i]) != 0 || !parse(m, &v))
			continue;
		if (i == DROPPED && b->known[i])
			lt_counter_add(&dropped, v >= b->value[i] ? v - b->value[i] : v);
		else if (i == DROPPED && !m->retained && v)
			lt_counter_add(&dropped, 1); /* it has risen, nobody knows from where */
		b->known[i] = true;
		b->value[i] = v;
		b->told = true;
	}
}

static void on_readable(void *arg)
{
	struct lt_broker *b = arg;
	struct lt_bus_msg *m;

	while (lt_bus_poll(b->bus, &m, 1) == 1) {
		take(b, m);
		lt_bus_done(b->bus, m);
	}
	show(b);
	if (b->told)
		lt_timer_stop(&b->timer);
}

static void forget(struct lt_broker *b)
{
	b->known[STORED] = b->known[RETAINED] = false;
	show(b);
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct lt_broker *b = arg;

	(void)resumed;
	if (connected && !b->told) {
		lt_timer_start_ns(&b->timer, SILENT_NS);
	} else if (!connected) {
		lt_timer_stop(&b->timer);
		forget(b);
		if (!b->told)
			lt_complain(&b->complaint, LT_INFO, "broker_figures_missing",
				LT_S("err", err ? err->msg : NULL));
		if (err && err->code == LT_EAUTH && strcmp(err->op, "mqtt.subscribe") == 0) {
			b->refused = true;
			lt_timer_start_ns(&b->timer, 0);
		}
	}
}

static void on_timer(void *arg)
{
	struct lt_broker *b = arg;

	if (!b->refused) {
		lt_log(LT_INFO, "broker_figures_missing", LT_S("topic", topics[STORED]),
			LT_S("remedy", "let this user read $SYS/broker/# in the broker's ACL, and "
				       "set no sys_interval 0; or bus.mqtt.broker_figures: false"));
		return;
	}
	lt_bus_free(b->bus);
	b->bus = NULL;
}

struct lt_broker *lt_broker_new(
	const char *comp, const struct lt_bus_conf *conf, struct lt_loop *loop)
{
	struct lt_broker *b;

	if (!conf->mqtt.broker_figures || strncmp(conf->url, "mqtt", 4) != 0)
		return NULL;
	b = lt_calloc(1, sizeof(*b));
	b->conf = conf;
	b->loop = loop;
	b->comp = lt_asprintf("%s-broker", comp);
	b->own = *conf;
	if (conf->mqtt.client_id && conf->mqtt.client_id[0]) {
		b->client_id = lt_asprintf("%s-broker", conf->mqtt.client_id);
		b->own.mqtt.client_id = b->client_id;
	}
	lt_timer_init(&b->timer, loop, on_timer, b);
	return b;
}

void lt_broker_start(struct lt_broker *b)
{
	const struct lt_bus_handler handler = {
		.arg = b, .state = on_state, .readable = on_readable};
	const struct lt_bus_options options = {
		.comp = b ? b->comp : NULL, .topics = topics, .n_topics = N_TOPICS};
	struct lt_err err = {0};

	if (!b || b->bus || b->refused)
		return;
	b->bus = lt_bus_new(&b->own, &options, &handler, b->loop, &err);
	if (!b->bus || lt_bus_open(b->bus, &err) < 0) {
		lt_log(LT_WARN, "broker_figures_missing", LT_S("err", err.msg));
		b->refused = true;
		lt_timer_start_ns(&b->timer, 0);
	}
}

void lt_broker_free(struct lt_broker *b)
{
	if (!b)
		return;
	lt_timer_fini(&b->timer);
	lt_bus_free(b->bus);
	forget(b);
	free(b->client_id);
	free(b->comp);
	free(b);
}
