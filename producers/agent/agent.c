/* SPDX-License-Identifier: MIT */
#include "agent.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "collectors.h"
#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/log.h"
#include "latido/stats.h"
#include "queue.h"
#include "sched.h"
#include "sender.h"
#include "top.h"

#define TYPE_PROTOBUF "application/x-protobuf;proto=latido.v1.Event"
#define TYPE_JSON     "application/json"

/* Tokens of what is not an event; sequence numbers stay below 2^53. */
#define TOKEN_BIRTH   UINT64_MAX
#define TOKEN_OFFLINE (UINT64_MAX - 1)

/* After the drain limit: how long the offline status may still take. */
#define OFFLINE_NS LT_NS_PER_S

struct agent {
	struct lt_ctx *ctx;
	const struct lt_agent_conf *conf;
	char source[LT_SOURCE_MAX + 1];
	char *metrics_topic, *status_topic;
	char run[17]; /* names this process in its status */

	struct lt_collectors *collectors;
	struct lt_snapshot *snapshot;
	struct lt_sched sched;
	struct lt_timer tick_timer;
	struct lt_complaint sample_complaint, top_complaint;
	struct lt_top *top; /* NULL: not wanted */
	struct lt_snapshot *top_snapshot;

	uint64_t epoch, seq;
	struct lt_sender *sender;     /* with a spool; then queue is empty */
	struct lt_agent_queue *queue; /* without */
	struct lt_buf body, payload;
	struct lt_complaint full_complaint, refused_complaint;

	struct lt_bus *bus;
	struct lt_complaint bus_complaint;
	bool connected;
	bool retains; /* the bus keeps a status; elsewhere none is sent */
	bool birth_due;
	int64_t conn_us; /* names this connection, in birth and will */
	/* The shape that this connection has seen, and when; shape: announced. */
	uint64_t announced_hash;
	int64_t announced_ns;

	struct lt_timer drain_timer;
	bool flushing, leaving;
	bool offline_sent;
	bool limit_reached; /* of the drain; only the offline status is waited for */

	struct lt_counter ticks, missed, jumps, sample_errors, events, event_bytes, delivered,
		dropped, refused;
	struct lt_gauge series;
	struct lt_hist tick_time;
};

/* ---- own metrics ---- */

static double queue_events(void *p)
{
	return (double)lt_agent_queue_events(((struct agent *)p)->queue);
}

static double queue_bytes(void *p)
{
	return (double)lt_agent_queue_bytes(((struct agent *)p)->queue);
}

static double last_seq(void *p)
{
	return (double)((struct agent *)p)->seq;
}

static void register_stats(struct agent *a)
{
	static struct lt_stat table[8], queue_table[6];
	const struct lt_stat rows[LT_ARRAY_LEN(table)] = {
		{"latido_agent_ticks_total", LT_STAT_COUNTER, NULL, "Snapshots taken.", &a->ticks,
			NULL},
		{"latido_agent_missed_ticks_total", LT_STAT_COUNTER, NULL,
			"Intervals without a snapshot because the agent was late.", &a->missed,
			NULL},
		{"latido_agent_clock_jumps_total", LT_STAT_COUNTER, NULL,
			"Times that the wall clock was set by more than half an interval.",
			&a->jumps, NULL},
		{"latido_agent_sample_errors_total", LT_STAT_COUNTER, NULL,
			"Snapshots given up because they were not valid as a whole.",
			&a->sample_errors, NULL},
		{"latido_agent_tick_seconds", LT_STAT_HIST, NULL,
			"Time to sample, encode and hand over one snapshot.", &a->tick_time, NULL},
		{"latido_agent_series", LT_STAT_GAUGE, NULL, "Values in the last snapshot.",
			&a->series, NULL},
		{"latido_agent_events_total", LT_STAT_COUNTER, NULL,
			"Events made, each with the next sequence number.", &a->events, NULL},
		{"latido_agent_last_seq", LT_STAT_GAUGE_FN, NULL,
			"Sequence number of the last event.", a, last_seq},
	};
	const struct lt_stat queue_rows[LT_ARRAY_LEN(queue_table)] = {
		{"latido_agent_published_bytes_total", LT_STAT_COUNTER, NULL,
			"Payload bytes of events handed to the bus.", &a->event_bytes, NULL},
		{"latido_agent_events_delivered_total", LT_STAT_COUNTER, NULL,
			"Events that the broker has acknowledged.", &a->delivered, NULL},
		{"latido_agent_events_dropped_total", LT_STAT_COUNTER, "reason=\"queue_full\"",
			"Events lost before the broker had them.", &a->dropped, NULL},
		{"latido_agent_events_dropped_total", LT_STAT_COUNTER, "reason=\"refused\"",
			"Events lost before the broker had them.", &a->refused, NULL},
		{"latido_agent_queue_events", LT_STAT_GAUGE_FN, NULL,
			"Events not yet acknowledged by the broker.", a, queue_events},
		{"latido_agent_queue_bytes", LT_STAT_GAUGE_FN, NULL,
			"Memory of events not yet acknowledged by the broker.", a, queue_bytes},
	};

	memcpy(table, rows, sizeof(table));
	lt_stats_add(table, LT_ARRAY_LEN(table));
	if (a->sender) {
		lt_sender_stats(a->sender);
	} else {
		memcpy(queue_table, queue_rows, sizeof(queue_table));
		lt_stats_add(queue_table, LT_ARRAY_LEN(queue_table));
	}
	lt_collectors_stats(a->collectors);
}

/* ---- status: birth and last will ---- */

static void status_payload(const struct agent *a, const char *state, struct lt_buf *out)
{
	lt_buf_printf(out,
		"{\"state\":\"%s\",\"epoch\":%llu,\"conn\":%lld,\"run\":\"%s\",\"version\":", state,
		(unsigned long long)a->epoch, (long long)a->conn_us, a->run);
	lt_buf_json_str(out, lt_daemon_version(), strlen(lt_daemon_version()));
	lt_buf_printf(out, ",\"interval_ms\":%lld}", (long long)a->conf->interval_ms);
}

static void on_will(void *arg, const char **topic, struct lt_buf *payload)
{
	struct agent *a = arg;
	int64_t now_us = lt_wall_ns() / LT_NS_PER_US;

	/* It rises also when the clock was set back: an older will must not win over a newer birth. */
	a->conn_us = now_us > a->conn_us ? now_us : a->conn_us + 1;
	status_payload(a, "offline", payload);
	*topic = a->status_topic;
}

/* Return: whether the bus has taken it. */
static bool publish_status(struct agent *a, const char *state, uint64_t token)
{
	struct lt_buf text = {0};
	struct lt_bus_out m;
	struct lt_err err;
	int rc;

	status_payload(a, state, &text);
	m = (struct lt_bus_out){.topic = a->status_topic,
		.data = text.data,
		.size = text.len,
		.content_type = TYPE_JSON,
		.retain = true,
		.token = token};
	rc = lt_bus_publish(a->bus, &m, &err);
	lt_buf_fini(&text);
	if (rc == LT_OK || rc == LT_EFULL || rc == LT_ESTOPPED)
		return rc == LT_OK;
	lt_complain(&a->refused_complaint, LT_ERROR, "status_refused",
		LT_S("topic", a->status_topic), LT_S("err", err.msg));
	return true; /* for good: trying again would not help */
}

/* ---- drain ---- */

static void check_drained(struct agent *a)
{
	if (!a->flushing || a->leaving)
		return;
	if (a->sender && lt_sender_pending(a->sender) > 0)
		return;
	if (lt_agent_queue_events(a->queue) > 0)
		return; /* a broker that is away may come back within the limit */
	if (a->connected && a->retains && !a->offline_sent) {
		a->offline_sent = publish_status(a, "offline", TOKEN_OFFLINE);
		return; /* on_delivered() or writable() comes back here */
	}
	if (a->connected && lt_bus_inflight(a->bus) > 0)
		return;
	a->leaving = true;
	lt_timer_stop(&a->drain_timer);
	lt_log(LT_INFO, "drained", LT_S("source", a->source), LT_U("epoch", a->epoch),
		LT_U("seq", a->seq), LT_U("spooled", a->sender ? lt_sender_held(a->sender) : 0));
	lt_daemon_drained(a->ctx);
}

static void on_drain_limit(void *arg)
{
	struct agent *a = arg;
	size_t left = lt_agent_queue_events(a->queue);

	if (!a->limit_reached && left > 0) {
		a->ctx->exit_code = LT_EXIT_KILLED;
		lt_log(LT_ERROR, "drain_incomplete", LT_U("events_lost", left),
			LT_U("first_seq", lt_agent_queue_oldest_seq(a->queue)),
			LT_U("last_seq", a->seq),
			LT_S("remedy", "start the broker before the agent is stopped, or set a "
				       "longer agent.drain_timeout"));
	}
	/* A regular disconnect sends no will: without this the retained status would say online for
	 * ever. */
	if (!a->limit_reached && a->connected && a->retains) {
		a->limit_reached = true;
		if (!a->offline_sent)
			a->offline_sent = publish_status(a, "offline", TOKEN_OFFLINE);
		lt_timer_start_ns(&a->drain_timer, OFFLINE_NS);
		return;
	}
	a->leaving = true;
	lt_daemon_drained(a->ctx);
}

void lt_agent_drain(struct lt_ctx *ctx)
{
	struct agent *a = ctx->priv;

	/* Signals are events of the loop: a tick that was under way is done. */
	lt_timer_stop(&a->tick_timer);
	a->flushing = true;
	if (a->sender)
		lt_sender_drain(a->sender);
	lt_timer_start_ns(&a->drain_timer, a->conf->drain_timeout_ms * LT_NS_PER_MS);
	check_drained(a);
}

/* ---- publishing ---- */

static bool inline_shape(const struct agent *a, const struct lt_agent_entry *e)
{
	return a->conf->shape == LT_SHAPE_ALWAYS || !e->shape ||
	       e->shape->hash != a->announced_hash ||
	       lt_mono_ns() - a->announced_ns >= a->conf->announce_interval_ms * LT_NS_PER_MS;
}

/* Return: false when the bus takes no more now. */
static bool publish_one(struct agent *a, struct lt_agent_entry *e)
{
	bool with_shape = inline_shape(a, e);
	struct lt_bus_out m;
	struct lt_err err;
	int rc;

	lt_agent_entry_payload(e, with_shape, &a->payload);
	/*
	 * schema.md gives numbered live events an expiry of 300 s, because the agent's spool keeps
	 * what the store has not got. Without a spool and a backlog topic the broker's copy is the
	 * only one once it was acknowledged: an expiry would lose data while a store is away.
	 */
	m = (struct lt_bus_out){.topic = a->metrics_topic,
		.key = a->source,
		.data = a->payload.data,
		.size = a->payload.len,
		.content_type = e->shape ? TYPE_PROTOBUF : TYPE_JSON,
		.token = e->seq};
	rc = lt_bus_publish(a->bus, &m, &err);
	if (rc == LT_EFULL || rc == LT_ESTOPPED)
		return false;
	if (rc != LT_OK) {
		lt_counter_add(&a->refused, 1);
		lt_complain(&a->refused_complaint, LT_ERROR, "event_refused", LT_U("seq", e->seq),
			LT_U("bytes", m.size), LT_S("err", err.msg));
		lt_agent_queue_acknowledged(a->queue, e->seq);
		return true;
	}
	if (with_shape && e->shape) {
		a->announced_hash = e->shape->hash;
		a->announced_ns = lt_mono_ns();
	}
	lt_counter_add(&a->event_bytes, m.size);
	lt_agent_queue_sent(a->queue, e);
	return true;
}

static void publish(struct agent *a)
{
	struct lt_agent_entry *e;

	if (!a->connected)
		return;
	if (a->birth_due)
		a->birth_due = !publish_status(a, "online", TOKEN_BIRTH);
	if (a->sender) {
		lt_sender_pump(a->sender); /* comes back by on_sender_idle() */
		return;
	}
	while (!a->birth_due && (e = lt_agent_queue_next(a->queue)) &&
		lt_agent_queue_may_send(a->queue, e))
		if (!publish_one(a, e))
			break;
	check_drained(a);
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct agent *a = arg;
	const char *name = lt_bus_name(a->bus);

	a->connected = connected;
	lt_ready_set(name, connected, err ? err->msg : "not connected");
	if (!connected) {
		lt_complain(&a->bus_complaint,
			err && err->cls == LT_CLS_CONFIG ? LT_ERROR : LT_WARN, "bus_unavailable",
			LT_S("url", a->ctx->conf->bus.url),
			LT_U("queued", lt_agent_queue_events(a->queue)),
			LT_S("err", err ? err->msg : NULL));
		if (a->sender)
			lt_sender_state(a->sender, false);
		check_drained(a);
		return;
	}
	lt_release(&a->bus_complaint, "bus_recovered", LT_S("bus", name));
	lt_log(LT_INFO, "bus_connected", LT_S("url", a->ctx->conf->bus.url),
		LT_S("session", resumed ? "resumed" : "new"),
		LT_U("queued", lt_agent_queue_events(a->queue)));
	a->birth_due = a->retains && !a->leaving && !a->offline_sent;
	a->announced_hash = 0;
	if (a->sender)
		lt_sender_state(a->sender, true);
	publish(a);
}

static void on_writable(void *arg)
{
	publish(arg);
}

static void on_readable(void *arg)
{
	struct agent *a = arg;

	if (a->sender)
		lt_sender_readable(a->sender);
}

static void on_sender_idle(void *arg)
{
	check_drained(arg);
}

static void on_new_epoch(void *arg)
{
	struct agent *a = arg;

	a->epoch = lt_sender_epoch(a->sender);
	a->seq = lt_sender_last_seq(a->sender);
	a->birth_due = a->retains && !a->leaving && !a->offline_sent;
}

static void on_delivered(void *arg, uint64_t token, int code, const struct lt_err *err)
{
	struct agent *a = arg;

	if (token == TOKEN_OFFLINE && a->limit_reached) {
		on_drain_limit(a);
		return;
	}
	if (token == TOKEN_BIRTH || token == TOKEN_OFFLINE) {
		if (code != LT_OK)
			lt_complain(&a->refused_complaint, LT_ERROR, "status_refused",
				LT_S("topic", a->status_topic), LT_S("err", err ? err->msg : ""));
		check_drained(a);
		return;
	}
	if (a->sender) {
		lt_sender_delivered(a->sender, token, code, err);
		return;
	}
	lt_agent_queue_acknowledged(a->queue, token);
	if (code == LT_OK) {
		lt_counter_add(&a->delivered, 1);
		lt_release(&a->refused_complaint, "events_accepted_again");
	} else {
		lt_counter_add(&a->refused, 1);
		lt_complain(&a->refused_complaint, LT_ERROR, "event_refused", LT_U("seq", token),
			LT_S("err", err ? err->msg : ""));
	}
	publish(a);
}

/* ---- ticks ---- */

static void push(struct agent *a, const struct lt_event *e)
{
	bool json = a->conf->encoding == LT_ENC_JSON;
	size_t dropped;

	lt_buf_reset(&a->body);
	if (json)
		lt_encode_json(e, &a->body);
	else
		lt_encode_protobuf(e, false, &a->body);
	dropped = lt_agent_queue_push(
		a->queue, e->seq, a->body.data, a->body.len, json ? NULL : e->shape);
	if (dropped) {
		lt_counter_add(&a->dropped, dropped);
		lt_complain(&a->full_complaint, LT_ERROR, "queue_full",
			LT_U("dropped_total", lt_counter_get(&a->dropped)),
			LT_U("oldest_seq", lt_agent_queue_oldest_seq(a->queue)),
			LT_S("remedy", "the broker is away or too slow; a larger "
				       "agent.queue_max_bytes bridges longer"));
	} else if (lt_agent_queue_bytes(a->queue) < (size_t)a->conf->queue_max_bytes / 2) {
		/* Not at the edge: there events of different sizes would make it come and go. */
		lt_release(&a->full_complaint, "queue_has_room",
			LT_U("dropped_total", lt_counter_get(&a->dropped)));
	}
}

/* Gives @e its number and hands it over. */
static void deliver(struct agent *a, struct lt_event *e)
{
	struct lt_err err = {0};

	if (a->sender) {
		if (lt_sender_push(a->sender, e, &err) == LT_OK) {
			lt_counter_add(&a->events, 1);
			a->epoch = lt_sender_epoch(a->sender);
			a->seq = lt_sender_last_seq(a->sender);
		} else {
			lt_counter_add(&a->sample_errors, 1);
			lt_complain(&a->full_complaint, LT_ERROR, "event_too_large",
				LT_S("err", err.msg));
		}
		if (a->birth_due)
			publish(a);
		return;
	}
	e->epoch = a->epoch;
	e->seq = ++a->seq; /* given only to an event that exists: no holes */
	e->oldest_seq = lt_agent_queue_oldest_seq(a->queue);
	if (e->oldest_seq == 0)
		e->oldest_seq = e->seq;
	push(a, e);
	lt_counter_add(&a->events, 1);
	publish(a);
}

static void sample(struct agent *a)
{
	struct lt_event e = {.source = a->source,
		.stream = "",
		.has_time = true,
		.interval_ms = (uint32_t)a->conf->interval_ms};
	struct lt_err err = {0};

	if (lt_collectors_sample(a->collectors, a->snapshot, &e, &err) != LT_OK) {
		lt_counter_add(&a->sample_errors, 1);
		lt_complain(
			&a->sample_complaint, LT_ERROR, "snapshot_invalid", LT_S("err", err.msg));
		return;
	}
	lt_release(&a->sample_complaint, "snapshot_valid_again");
	lt_gauge_set(&a->series, e.n);
	deliver(a, &e);
}

/* The stream of the top processes, when it is wanted and due. */
static void sample_top(struct agent *a)
{
	struct lt_event e = {.source = a->source,
		.stream = LT_TOP_STREAM,
		.has_time = true,
		.interval_ms = (uint32_t)a->conf->processes_interval_ms};
	struct lt_err err = {0};

	if (!a->top || !lt_top_due(a->top, lt_mono_ns()))
		return;
	if (lt_top_sample(a->top, a->top_snapshot, &e, &err) != LT_OK) {
		lt_counter_add(&a->sample_errors, 1);
		lt_complain(&a->top_complaint, LT_ERROR, "processes_invalid", LT_S("err", err.msg));
		return;
	}
	lt_release(&a->top_complaint, "processes_valid_again");
	deliver(a, &e);
}

static void on_tick(void *arg)
{
	struct agent *a = arg;
	int64_t begin_ns = lt_mono_ns();

	if (lt_sched_due(&a->sched, lt_wall_ns(), begin_ns)) {
		sample(a);
		sample_top(a);
		lt_counter_add(&a->ticks, 1);
		lt_counter_add(&a->missed, a->sched.missed - lt_counter_get(&a->missed));
		lt_counter_add(&a->jumps, a->sched.jumps - lt_counter_get(&a->jumps));
		lt_hist_add(&a->tick_time, lt_mono_ns() - begin_ns);
	}
	lt_timer_start_ns(&a->tick_timer, lt_sched_delay_ns(&a->sched, lt_wall_ns()));
}

/* ---- life ---- */

static void name_run(char out[17])
{
	uint64_t r;

	/* Only to differ from others: the clock and our number are good enough. */
	if (getrandom(&r, sizeof(r), GRND_NONBLOCK) != sizeof(r))
		r = (uint64_t)lt_wall_ns() * 0x9e3779b97f4a7c15 ^ (uint64_t)getpid();
	snprintf(out, 17, "%016" PRIx64, r);
}

int lt_agent_start(struct lt_ctx *ctx, struct lt_err *err)
{
	struct lt_bus_options options = {.comp = "agent"};
	const char *topics[LT_SENDER_TOPICS];
	struct agent *a = lt_calloc(1, sizeof(*a));
	const struct lt_bus_handler handler = {.arg = a,
		.state = on_state,
		.writable = on_writable,
		.readable = on_readable,
		.delivered = on_delivered,
		.will = on_will};
	int rc;

	ctx->priv = a;
	a->ctx = ctx;
	a->conf = &ctx->conf->agent;
	lt_timer_init(&a->tick_timer, &ctx->loop, on_tick, a);
	lt_timer_init(&a->drain_timer, &ctx->loop, on_drain_limit, a);
	name_run(a->run);
	rc = lt_agent_source(a->conf, a->source, err);
	if (rc != LT_OK)
		return rc;
	a->metrics_topic = lt_asprintf("%s/nodes/%s/metrics", ctx->conf->bus.prefix, a->source);
	a->status_topic = lt_asprintf("%s/nodes/%s/status", ctx->conf->bus.prefix, a->source);
	/* One life of the sequence. Without a spool nothing is remembered from an earlier one, so
	 * the clock alone makes it rise. */
	a->epoch = lt_wall_ns() >= LT_NS_PER_US ? (uint64_t)(lt_wall_ns() / LT_NS_PER_US) : 1;
	if (*a->conf->spool.dir) {
		a->sender = lt_sender_new(&(struct lt_sender_options){.conf = a->conf,
						  .prefix = ctx->conf->bus.prefix,
						  .source = a->source,
						  .run = a->run,
						  .loop = &ctx->loop,
						  .arg = a,
						  .epoch_changed = on_new_epoch,
						  .idle = on_sender_idle},
			err);
		if (!a->sender)
			return LT_ECONF;
		a->epoch = lt_sender_epoch(a->sender);
		a->seq = lt_sender_last_seq(a->sender);
		/* Kafka's delivery reports are the acknowledgement: nothing to subscribe to. */
		if (strncmp(ctx->conf->bus.url, "kafka", 5) != 0) {
			lt_sender_topics(a->sender, topics);
			options.topics = topics;
			options.n_topics = LT_SENDER_TOPICS;
		}
	}
	a->queue = lt_agent_queue_new((size_t)a->conf->queue_max_bytes);
	a->snapshot = lt_snapshot_new((uint32_t)ctx->conf->limits.max_series);
	a->collectors = lt_collectors_new(a->conf, false, err);
	if (!a->collectors)
		return LT_ECONF;
	if (a->conf->processes_stream) {
		a->top = lt_top_new(a->conf);
		a->top_snapshot = lt_snapshot_new((uint32_t)ctx->conf->limits.max_series);
	}
	a->bus = lt_bus_new(&ctx->conf->bus, &options, &handler, &ctx->loop, err);
	if (!a->bus)
		return LT_ECONF;
	a->retains = lt_bus_caps(a->bus) & LT_BUS_RETAIN;
	if (a->sender)
		lt_sender_bus(a->sender, a->bus);
	lt_ready_set(lt_bus_name(a->bus), false, "connecting");
	rc = lt_bus_open(a->bus, err);
	if (rc != LT_OK)
		return rc;
	register_stats(a);
	lt_sched_init(&a->sched, a->conf->interval_ms);
	lt_timer_start_ns(&a->tick_timer, lt_sched_delay_ns(&a->sched, lt_wall_ns()));
	lt_log(LT_INFO, "sampling", LT_S("source", a->source), LT_U("epoch", a->epoch),
		LT_I("interval_ms", a->conf->interval_ms));
	return LT_OK;
}

void lt_agent_fini(struct lt_ctx *ctx)
{
	struct agent *a = ctx->priv;
	size_t lost;

	if (!a)
		return;
	lt_timer_fini(&a->tick_timer);
	lt_timer_fini(&a->drain_timer);
	lt_bus_free(a->bus);
	lost = lt_sender_free(a->sender);
	if (lost > 0) {
		ctx->exit_code = LT_EXIT_KILLED;
		lt_log(LT_ERROR, "spool_incomplete", LT_U("events_lost", lost),
			LT_S("dir", a->conf->spool.dir));
	}
	lt_collectors_free(a->collectors);
	lt_snapshot_free(a->snapshot);
	lt_top_free(a->top);
	lt_snapshot_free(a->top_snapshot);
	lt_agent_queue_free(a->queue);
	lt_buf_fini(&a->body);
	lt_buf_fini(&a->payload);
	free(a->metrics_topic);
	free(a->status_topic);
	free(a);
	ctx->priv = NULL;
}
