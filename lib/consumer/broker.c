/* SPDX-License-Identifier: MIT */
#include "latido/broker.h"

#include <stdlib.h>
#include <string.h>

#include "broker_view.h"
#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/log.h"
#include "latido/stats.h"

/* Mosquitto says something every 10 s unless its sys_interval says otherwise. */
#define SILENT_NS (60 * LT_NS_PER_S)

struct lt_broker {
	struct lt_bus_conf own; /* *conf but for the client id */
	char *client_id;
	struct lt_bus *bus; /* NULL before the first connect and after a refusal */
	struct lt_loop *loop;
	char *comp;
	struct lt_timer timer; /* for the first figure, or to leave */
	struct lt_complaint complaint;
	bool refused;
	struct lt_broker_view view;
	uint64_t counted; /* of view.dropped */
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
		"Messages that the MQTT broker dropped because somebody's queue was full, since "
		"this program reads its figures.",
		&dropped, NULL},
};

static void show(struct lt_broker *b)
{
	int64_t n = lt_broker_view_queued(&b->view);

	lt_gauge_set(&queued, n < 0 ? 0 : n);
	lt_stats_add(queue_table, n < 0 ? 0 : LT_ARRAY_LEN(queue_table));
	lt_counter_add(&dropped, b->view.dropped - b->counted);
	b->counted = b->view.dropped;
	/* Once known it stays: a counter may pause. */
	if (b->view.told)
		lt_stats_add(drop_table, LT_ARRAY_LEN(drop_table));
}

static void on_readable(void *arg)
{
	struct lt_broker *b = arg;
	struct lt_bus_msg *m;

	while (lt_bus_poll(b->bus, &m, 1) == 1) {
		lt_broker_view_take(&b->view, m);
		lt_bus_done(b->bus, m);
	}
	show(b);
	if (b->view.told)
		lt_timer_stop(&b->timer);
}

static void forget(struct lt_broker *b)
{
	lt_broker_view_lost(&b->view);
	show(b);
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct lt_broker *b = arg;

	(void)resumed;
	if (connected && !b->view.told) {
		lt_timer_start_ns(&b->timer, SILENT_NS);
	} else if (!connected) {
		lt_timer_stop(&b->timer);
		forget(b);
		if (!b->view.told)
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
		lt_log(LT_INFO, "broker_figures_missing",
			LT_S("topic", lt_broker_topics[LT_BROKER_STORED]),
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
	const struct lt_bus_options options = {.comp = b ? b->comp : NULL,
		.topics = lt_broker_topics,
		.n_topics = LT_BROKER_FIGURES};
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
