/* SPDX-License-Identifier: MIT */
#include "bridge.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "flight.h"
#include "have.h"
#include "latido/broker.h"
#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/deadletter.h"
#include "latido/inbox.h"
#include "latido/log.h"
#include "latido/self.h"

#define POLL_MAX     64
#define POLL_BUDGET  512 /* messages a turn of the loop */
#define FORBIDDEN_NS (5 * LT_NS_PER_S)

/* Delivery reports of Kafka: dead letters count from 1, the others are pointers. */
#define FLIGHT_TOKEN (UINT64_C(1) << 63)

struct bridge {
	struct lt_ctx *ctx;
	const struct lt_config *conf;
	struct lt_bus_conf in_conf, control_conf,
		out_conf; /* conf->bus, but for url and client_id */
	char *client_id, *control_id, *name;
	char *topics[3];

	struct lt_bus *in, *out;
	struct lt_control *control;
	struct lt_have *have;
	struct lt_inbox *inbox; /* NULL = none */
	struct lt_waker inbox_waker;
	struct lt_deadletters letters;
	struct lt_shapes *shapes;
	struct lt_decode_limits limits;
	struct lt_arena arena;
	struct lt_flights flights;
	struct lt_self *self;     /* NULL = none */
	struct lt_broker *broker; /* NULL = none */

	struct lt_timer more, forbidden, drain_limit;
	struct lt_complaint in_complaint, out_complaint, forbidden_complaint;
	bool in_up, control_up;
	bool in_open;  /* what an earlier life left in the inbox has been read */
	bool in_empty; /* the last poll returned nothing; readable() will come */
	bool pumping, draining, ended;
};

static void pump(struct bridge *b);

/* ---- to Kafka ---- */

static void refuse(struct bridge *b, struct lt_flight *f, enum lt_reason reason, const char *error)
{
	struct lt_bus_msg *m = f->msg;

	lt_flight_end(&b->flights, f);
	lt_deadletters_add(&b->letters, m, reason, error);
}

/* The message is as good as all others: a human has to allow it. */
static void forbidden(struct bridge *b, const struct lt_err *err)
{
	lt_complain(&b->forbidden_complaint, LT_ERROR, "kafka_forbids", LT_S("err", err->msg),
		LT_S("remedy", "allow the bridge's user to write to the topic; nothing is "
			       "lost meanwhile"));
	if (!lt_timer_pending(&b->forbidden))
		lt_timer_start_ns(&b->forbidden, FORBIDDEN_NS);
}

/* Return: false: not now; it is the first of those that wait. */
static bool send(struct bridge *b, struct lt_flight *f)
{
	const struct lt_bus_msg *m = f->msg;
	struct lt_err err = {0};
	int rc = lt_bus_publish(b->out,
		&(struct lt_bus_out){.topic = m->topic,
			.key = f->origin.source,
			.data = m->data,
			.size = m->size,
			.content_type = m->content_type,
			.name_topic = true,
			.time_ns = m->arrived_ns,
			.token = FLIGHT_TOKEN | (uint64_t)(uintptr_t)f},
		&err);

	if (rc == LT_EAUTH)
		forbidden(b, &err);
	if (rc == LT_EFULL || rc == LT_ESTOPPED || rc == LT_EAUTH)
		return false;
	if (rc < 0) {
		lt_counter_add(&lt_bridge_stats.refused, 1);
		refuse(b, f, LT_REASON_CONFLICT, err.msg);
	}
	return true;
}

static void send_waiting(struct bridge *b)
{
	struct lt_flight *f;

	while (!lt_timer_pending(&b->forbidden) && (f = lt_flight_waiting(&b->flights))) {
		if (!send(b, f)) {
			lt_flight_wait(&b->flights, f, true);
			return;
		}
	}
}

static void delivered(struct bridge *b, struct lt_flight *f)
{
	struct lt_bus_msg *m = f->msg;

	for (size_t i = 0; i < f->n; i++)
		lt_have_add(
			b->have, &f->origin, f->ids[i].epoch, f->ids[i].seq, f->ids[i].oldest_seq);
	lt_counter_add(&lt_bridge_stats.delivered, 1);
	lt_hist_add(&lt_bridge_stats.seconds, lt_mono_ns() - f->mono_ns);
	lt_flight_end(&b->flights, f);
	lt_bus_done(b->in, m);
	lt_release(&b->forbidden_complaint, "kafka_accepts_again");
}

static void reported(struct bridge *b, struct lt_flight *f, int code, const struct lt_err *err)
{
	if (code == LT_OK) {
		delivered(b, f);
	} else if (code == LT_EAUTH) {
		forbidden(b, err);
		lt_flight_wait(&b->flights, f, false);
	} else {
		lt_counter_add(&lt_bridge_stats.refused, 1);
		refuse(b, f, LT_REASON_CONFLICT, err->msg);
	}
}

/* ---- from MQTT ---- */

static bool known(const struct bridge *b, const struct lt_origin *o, const struct lt_event *first)
{
	for (const struct lt_event *e = first; e; e = e->next)
		if (!e->seq || !lt_have_has(b->have, o, e->epoch, e->seq))
			return false;
	return first != NULL;
}

/* Return: LT_OK; else @reason and @err say why the message cannot be passed on. */
static int identify(struct bridge *b, const struct lt_bus_msg *m, struct lt_origin *o,
	struct lt_event **first, enum lt_reason *reason, struct lt_err *err)
{
	*first = NULL;
	*reason = LT_REASON_SOURCE_MISMATCH;
	if (lt_origin_from_topic(o, b->conf->bus.prefix, m->topic, err) < 0)
		return LT_EDATA;
	o->arrived_ns = m->arrived_ns;
	o->content_type = m->content_type;
	return lt_identify(
		b->shapes, &b->limits, o, m->data, m->size, &b->arena, first, reason, err);
}

static void take(struct bridge *b, struct lt_bus_msg *m)
{
	struct lt_arena_mark mark = lt_arena_mark(&b->arena);
	struct lt_origin o = {0};
	struct lt_event *first;
	enum lt_reason reason;
	struct lt_err err = {0};
	struct lt_flight *f;

	lt_counter_add(&lt_bridge_stats.messages, 1);
	lt_counter_add(&lt_bridge_stats.bytes, m->size);
	lt_control_earn(b->control);
	if (identify(b, m, &o, &first, &reason, &err) < 0) {
		lt_deadletters_add(&b->letters, m, reason, err.msg);
	} else if (known(b, &o, first)) {
		lt_counter_add(&lt_bridge_stats.known, 1);
		lt_have_repeat(b->have, &o);
		lt_bus_done(b->in, m);
	} else {
		f = lt_flight_begin(&b->flights, m, &o, first);
		if (!send(b, f))
			lt_flight_wait(&b->flights, f, false);
	}
	lt_events_release(first);
	lt_arena_rewind(&b->arena, mark);
}

/* A dead letter was accepted: what is known to be its source need not send it again. */
static void letter_accepted(void *arg, const struct lt_bus_msg *m)
{
	struct bridge *b = arg;
	struct lt_arena_mark mark = lt_arena_mark(&b->arena);
	struct lt_origin o = {0};
	struct lt_event *first;
	enum lt_reason reason;

	if (identify(b, m, &o, &first, &reason, NULL) == LT_OK)
		for (const struct lt_event *e = first; e; e = e->next)
			if (e->seq)
				lt_have_add(b->have, &o, e->epoch, e->seq, e->oldest_seq);
	lt_events_release(first);
	lt_arena_rewind(&b->arena, mark);
}

static bool has_room(const struct bridge *b)
{
	return !b->flights.waiting && b->flights.bytes < (size_t)b->conf->bus.queue_bytes;
}

/* What an earlier life left comes first, and alone: what the broker has would else fill the inbox. */
static void read_inbox(struct bridge *b, size_t *budget)
{
	struct lt_bus_msg *m;
	struct lt_err err;

	while (!b->in_open && !b->draining && *budget && has_room(b)) {
		m = b->inbox ? lt_inbox_next(b->inbox) : NULL;
		if (m) {
			take(b, m);
			--*budget;
			continue;
		}
		if (b->inbox && lt_inbox_replaying(b->inbox))
			return;
		b->in_open = true;
		lt_ready_set("mqtt", false, "connecting");
		if (lt_bus_open(b->in, &err) < 0) {
			b->ended = true;
			lt_daemon_fail(b->ctx, &err);
		}
	}
}

static void read_bus(struct bridge *b, size_t *budget)
{
	struct lt_bus_msg *msgs[POLL_MAX];

	while (b->in_open && *budget && has_room(b)) {
		size_t n = lt_bus_poll(b->in, msgs, *budget < POLL_MAX ? *budget : POLL_MAX);

		for (size_t i = 0; i < n; i++)
			take(b, msgs[i]);
		b->in_empty = n == 0;
		if (n == 0)
			return;
		*budget -= n;
	}
}

/* ---- the end ---- */

static void end_drain(struct bridge *b, bool complete)
{
	if (b->ended)
		return;
	b->ended = true;
	if (!complete) {
		lt_log(LT_ERROR, "drain_incomplete", LT_U("messages", b->flights.n),
			LT_S("deadletters", lt_deadletters_empty(&b->letters) ? "sent" : "unsent"),
			LT_S("acknowledgements", lt_control_idle(b->control) ? "sent" : "unsent"));
		b->ctx->exit_code = LT_EXIT_KILLED;
	}
	lt_daemon_drained(b->ctx);
}

static void drain_on(struct bridge *b)
{
	if (b->flights.n || !lt_deadletters_empty(&b->letters) || (b->in_open && !b->in_empty))
		return;
	lt_control_flush(b->control, true);
	if (lt_control_idle(b->control))
		end_drain(b, true);
}

static void pump(struct bridge *b)
{
	size_t budget = POLL_BUDGET;

	if (b->ended)
		return;
	send_waiting(b);
	read_inbox(b, &budget);
	read_bus(b, &budget);
	if (!budget)
		lt_timer_start_ns(&b->more, 0);
	if (b->draining)
		drain_on(b);
}

static void on_pump(void *arg)
{
	pump(arg);
}

static void on_drain_limit(void *arg)
{
	end_drain(arg, false);
}

static void inbox_ready(void *arg)
{
	lt_waker_wake(&((struct bridge *)arg)->inbox_waker);
}

/* ---- what the buses say ---- */

static void mqtt_state(struct bridge *b, const char *session, const struct lt_err *err)
{
	bool up = b->in_up && b->control_up;

	if (err)
		lt_complain(&b->in_complaint, err->cls == LT_CLS_CONFIG ? LT_ERROR : LT_WARN,
			"bus_unavailable", LT_S("url", b->in_conf.url), LT_S("session", session),
			LT_S("err", err->msg));
	else
		lt_log(LT_INFO, "bus_connected", LT_S("url", b->in_conf.url),
			LT_S("session", session));
	if (up)
		lt_release(&b->in_complaint, "bus_recovered", LT_S("url", b->in_conf.url));
	if (b->in_open)
		lt_ready_set("mqtt", up, err ? err->msg : "connecting");
}

static void on_in_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct bridge *b = arg;

	b->in_up = connected;
	if (connected)
		lt_broker_start(b->broker);
	mqtt_state(b, resumed ? "events, resumed" : "events", err);
}

static void on_control_state(void *arg, bool connected, const struct lt_err *err)
{
	struct bridge *b = arg;

	b->control_up = connected;
	mqtt_state(b, "control", err);
	if (b->draining)
		pump(b);
}

static void on_progress(void *arg)
{
	struct bridge *b = arg;

	if (b->draining)
		pump(b);
}

static void on_out_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct bridge *b = arg;

	(void)resumed;
	lt_ready_set("kafka", connected, err ? err->msg : "not connected");
	lt_self_connected(b->self, connected);
	if (connected) {
		lt_release(&b->out_complaint, "bus_recovered", LT_S("url", b->out_conf.url));
		lt_log(LT_INFO, "bus_connected", LT_S("url", b->out_conf.url));
		lt_deadletters_send(&b->letters);
		pump(b);
	} else {
		lt_complain(&b->out_complaint,
			err && err->cls == LT_CLS_CONFIG ? LT_ERROR : LT_WARN, "bus_unavailable",
			LT_S("url", b->out_conf.url), LT_S("err", err ? err->msg : NULL));
	}
}

static void on_out_writable(void *arg)
{
	struct bridge *b = arg;

	/* First: what waits would take all the room, and nobody would hear of it. */
	lt_self_writable(b->self);
	lt_deadletters_send(&b->letters);
	pump(b);
}

static void on_out_delivered(void *arg, uint64_t token, int code, const struct lt_err *err)
{
	struct bridge *b = arg;

	if (token == LT_SELF_TOKEN)
		return;
	if (token & FLIGHT_TOKEN)
		reported(b, (struct lt_flight *)(uintptr_t)(token & ~FLIGHT_TOKEN), code, err);
	else
		lt_deadletters_delivered(&b->letters, token, code, err);
	/* A batch of reports comes at once: look around when all are in. */
	if (!lt_timer_pending(&b->more))
		lt_timer_start_ns(&b->more, 0);
}

/* ---- life ---- */

static bool is_kind(const char *url, const char *kind)
{
	return strncmp(url, kind, strlen(kind)) == 0;
}

static int choose_urls(struct bridge *b, struct lt_err *err)
{
	const struct lt_config *c = b->conf;

	b->in_conf = b->control_conf = b->out_conf = c->bus;
	b->in_conf.url = c->bridge.mqtt_url[0] ? c->bridge.mqtt_url : c->bus.url;
	b->out_conf.url = c->bridge.kafka_url[0] ? c->bridge.kafka_url : c->bus.url;
	b->control_conf.url = b->in_conf.url;
	if (!is_kind(b->in_conf.url, "mqtt"))
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "bridge.start",
			"bridge.mqtt_url is empty and bus.url is %s: set bridge.mqtt_url to where "
			"nodes and devices publish",
			b->in_conf.url);
	if (!is_kind(b->out_conf.url, "kafka"))
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "bridge.start",
			"bridge.kafka_url is empty and bus.url is %s: set bridge.kafka_url to the "
			"Kafka that it goes to",
			b->out_conf.url);
	return LT_OK;
}

static void choose_names(struct bridge *b)
{
	const char *id = b->conf->bus.mqtt.client_id;
	char host[256] = "";

	if (gethostname(host, sizeof(host) - 1) < 0 || !host[0])
		strcpy(host, "localhost");
	b->client_id = id[0] ? lt_strdup(id) : lt_asprintf("latido-bridge-%s", host);
	b->control_id = lt_asprintf("%s-control", b->client_id);
	b->name = lt_strdup(b->client_id);
	for (char *p = b->name; (p = strpbrk(p, "/+#"));)
		*p = '_';
	b->in_conf.mqtt.client_id = b->client_id;
	b->control_conf.mqtt.client_id = b->control_id;
}

static int open_inbox(struct bridge *b, struct lt_err *err)
{
	const struct lt_bridge_conf *c = &b->conf->bridge;

	if (!c->inbox_dir[0])
		return LT_OK;
	if (c->inbox_max_bytes <= 2 * b->conf->bus.queue_bytes)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "bridge.start",
			"bridge.inbox_max_bytes must be more than twice bus.queue_bytes: that much "
			"may "
			"have been received from devices before Kafka has it");
	if (lt_waker_init(&b->inbox_waker, &b->ctx->loop, on_pump, b, err) < 0)
		return err->code;
	b->inbox = lt_inbox_devices(
		c->inbox_dir, c->inbox_max_bytes, b->conf->bus.prefix, inbox_ready, b, err);
	if (!b->inbox)
		return err->code;
	lt_inbox_stats(b->inbox);
	return LT_OK;
}

static int make_buses(struct bridge *b, struct lt_err *err)
{
	const struct lt_bus_handler in_handler = {
		.arg = b, .state = on_in_state, .readable = on_pump};
	const struct lt_bus_handler out_handler = {.arg = b,
		.state = on_out_state,
		.writable = on_out_writable,
		.delivered = on_out_delivered};
	const struct lt_bus_options in = {.comp = "bridge",
		.durable = true,
		.no_retained = true,
		.topics = (const char *const *)b->topics,
		.n_topics = LT_ARRAY_LEN(b->topics),
		.keep = b->inbox ? lt_inbox_keep(b->inbox) : NULL};
	const struct lt_bus_options out = {.comp = "bridge"};
	const struct lt_control_options control = {.conf = &b->control_conf,
		.name = b->name,
		.have = b->have,
		.loop = &b->ctx->loop,
		.arg = b,
		.state = on_control_state,
		.progress = on_progress};
	const char *prefix = b->conf->bus.prefix, *group = b->conf->bridge.device_group;

	b->topics[0] = lt_asprintf("%s/nodes/+/metrics", prefix);
	b->topics[1] = lt_asprintf("%s/nodes/+/backlog", prefix);
	b->topics[2] = lt_asprintf("%s%s%s%s/devices/+/metrics/#", group[0] ? "$share/" : "", group,
		group[0] ? "/" : "", prefix);
	b->in = lt_bus_new(&b->in_conf, &in, &in_handler, &b->ctx->loop, err);
	b->control = b->in ? lt_control_new(&control, err) : NULL;
	b->out = b->control ? lt_bus_new(&b->out_conf, &out, &out_handler, &b->ctx->loop, err)
			    : NULL;
	if (!b->out)
		return err->code;
	b->broker = lt_broker_new("bridge", &b->in_conf, &b->ctx->loop);
	/* To Kafka, where those are who read what comes through a bridge. */
	b->self = lt_self_new("bridge", b->conf, b->out, &b->ctx->loop, &lt_bridge_stats.self);
	return LT_OK;
}

int lt_bridge_start(struct lt_ctx *ctx, struct lt_err *err)
{
	struct bridge *b = lt_calloc(1, sizeof(*b));
	const struct lt_config *conf = ctx->conf;
	int rc;

	ctx->priv = b;
	b->ctx = ctx;
	b->conf = conf;
	b->limits.max_bytes = (size_t)conf->limits.max_bytes;
	b->limits.max_series = (uint32_t)conf->limits.max_series;
	lt_flights_init(&b->flights);
	lt_timer_init(&b->more, &ctx->loop, on_pump, b);
	lt_timer_init(&b->forbidden, &ctx->loop, on_pump, b);
	lt_timer_init(&b->drain_limit, &ctx->loop, on_drain_limit, b);
	b->shapes = lt_shapes_new((size_t)conf->limits.shape_cache_bytes, b->limits.max_series);
	b->have = lt_have_new(conf->bus.prefix);
	rc = choose_urls(b, err);
	if (rc < 0)
		return rc;
	choose_names(b);
	rc = open_inbox(b, err);
	if (rc == LT_OK)
		rc = make_buses(b, err);
	if (rc < 0)
		return rc;
	lt_deadletters_init(&b->letters, b->out, conf->bus.prefix, "bridge",
		lt_bridge_stats.rejected, &lt_bridge_stats.refused_letters);
	b->letters.from = b->in;
	b->letters.accepted = letter_accepted;
	b->letters.arg = b;
	lt_control_stats(b->control);
	lt_bridge_stats_add(&b->flights, b->have);
	lt_ready_set("kafka", false, "connecting");
	lt_ready_set("mqtt", false, "what the inbox holds goes to Kafka first");
	rc = lt_bus_open(b->out, err);
	if (rc == LT_OK)
		rc = lt_control_open(b->control, err);
	if (rc == LT_OK)
		pump(b);
	return rc;
}

void lt_bridge_drain(struct lt_ctx *ctx)
{
	struct bridge *b = ctx->priv;

	b->draining = true;
	lt_self_stop(b->self);
	lt_timer_start_ns(&b->drain_limit, ctx->daemon->drain_timeout_ms(ctx->conf) * LT_NS_PER_MS);
	if (b->in_open)
		lt_bus_stop_reading(b->in);
	lt_control_leave(b->control);
	b->in_empty = false;
	pump(b);
}

void lt_bridge_fini(struct lt_ctx *ctx)
{
	struct bridge *b = ctx->priv;
	struct lt_flight *f;

	if (!b)
		return;
	b->ended = true;
	if (b->inbox)
		lt_inbox_freeze(b->inbox);
	while ((f = lt_flight_any(&b->flights))) {
		struct lt_bus_msg *m = f->msg;

		lt_flight_end(&b->flights, f);
		lt_bus_done(b->in, m);
	}
	if (b->letters.bus)
		lt_deadletters_fini(&b->letters);
	lt_self_free(b->self);
	lt_broker_free(b->broker);
	lt_bus_free(b->out);
	lt_control_free(b->control);
	lt_bus_free(b->in);
	lt_inbox_free(b->inbox);
	lt_waker_fini(&b->inbox_waker);
	lt_bridge_stats_end();
	lt_have_free(b->have);
	lt_shapes_free(b->shapes);
	lt_arena_fini(&b->arena);
	lt_timer_fini(&b->more);
	lt_timer_fini(&b->forbidden);
	lt_timer_fini(&b->drain_limit);
	for (size_t i = 0; i < LT_ARRAY_LEN(b->topics); i++)
		free(b->topics[i]);
	free(b->client_id);
	free(b->control_id);
	free(b->name);
	free(b);
	ctx->priv = NULL;
}
