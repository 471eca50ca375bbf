/* SPDX-License-Identifier: MIT */
#include "sender.h"

#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "sender_int.h"

#define STALL_MAX_NS (120 * LT_NS_PER_S)
#define WINDOW_FIRST 32

uint64_t sender_held(struct lt_sender *s)
{
	struct lt_spool_info info;

	lt_spool_info(s->spool, &info);
	return info.held;
}

/* ---- time ---- */

static void on_tick(void *arg)
{
	struct lt_sender *s = arg;
	int64_t now_ns = lt_mono_ns();
	/* A bus that acknowledges by itself reports on each event, whenever that may be. */
	bool waiting = s->end_to_end && (s->sent_live.n || s->sent_backlog.n);

	lt_timer_start_ns(&s->tick_timer, TICK_NS);
	if (!waiting || !s->connected)
		s->progress_ns = now_ns > s->progress_ns + s->stall_ns / 2
					 ? now_ns - s->stall_ns / 2
					 : s->progress_ns;
	else if (now_ns - s->progress_ns >= s->stall_ns) {
		lt_counter_add(&s->stalls, 1);
		lt_complain(&s->stall_complaint, LT_WARN, "store_silent",
			LT_U("held", sender_held(s)), LT_I("for_ms", s->stall_ns / LT_NS_PER_MS),
			LT_S("remedy", "is latido-store running and PostgreSQL up? events are "
				       "kept in the spool"));
		sender_unsend(s, now_ns - STALL_MIN_NS, UINT64_MAX);
		s->progress_ns = now_ns;
		s->stall_ns = 2 * s->stall_ns < STALL_MAX_NS ? 2 * s->stall_ns : STALL_MAX_NS;
	}
	sender_pump(s);
}

static void on_more(void *arg)
{
	sender_pump(arg);
}

static void spool_ready(void *arg)
{
	lt_waker_wake(&((struct lt_sender *)arg)->waker);
}

/* ---- events in ---- */

int lt_sender_push(struct lt_sender *s, struct lt_event *e, struct lt_err *err)
{
	bool json = s->conf->encoding == LT_ENC_JSON;
	const struct lt_shape *shape = json ? NULL : e->shape;
	uint64_t seq;

	e->epoch = e->seq = e->oldest_seq = 0;
	lt_buf_reset(&s->body);
	if (json)
		lt_encode_json(e, &s->body);
	else
		lt_encode_protobuf(e, false, &s->body);
	seq = lt_spool_append(s->spool, s->body.data, s->body.len, shape ? shape->bytes : NULL,
		shape ? shape->size : 0);
	if (!seq)
		return lt_fail(err, LT_EFULL, LT_CLS_CONFIG, "agent.spool",
			"an event of %zu bytes does not fit; make agent.spool.max_bytes and "
			"agent.spool.memory_bytes larger",
			s->body.len + (shape ? shape->size : 0));
	e->epoch = lt_spool_epoch(s->spool);
	e->seq = seq;
	s->live_ns[seq % LT_ARRAY_LEN(s->live_ns)] = lt_mono_ns();
	lt_counter_add(
		&s->live_late, lt_agent_queue_push(s->live, seq, s->body.data, s->body.len, shape));
	sender_pump(s);
	return LT_OK;
}

void lt_sender_state(struct lt_sender *s, bool connected)
{
	s->connected = connected;
	s->announced_hash = 0;
	if (!connected) {
		lt_timer_stop(&s->ack_timer);
		return;
	}
	s->progress_ns = lt_mono_ns();
	s->stall_ns = STALL_MIN_NS;
	if (!s->checked && s->end_to_end)
		lt_timer_start_ns(&s->ack_timer, ACK_WAIT_NS);
	else if (!s->checked)
		sender_ack_timer(s);
	sender_pump(s);
}

void lt_sender_drain(struct lt_sender *s)
{
	s->draining = true;
}

size_t lt_sender_pending(const struct lt_sender *s)
{
	return s->connected ? lt_agent_queue_events(s->live) : 0;
}

uint64_t lt_sender_epoch(struct lt_sender *s)
{
	return lt_spool_epoch(s->spool);
}

uint64_t lt_sender_last_seq(struct lt_sender *s)
{
	return lt_spool_next_seq(s->spool) - 1;
}

uint64_t lt_sender_held(struct lt_sender *s)
{
	return sender_held(s);
}

/* ---- life ---- */

void lt_sender_topics(const struct lt_sender *s, const char *out[LT_SENDER_TOPICS])
{
	out[0] = s->ack_topic;
	out[1] = s->status_topic;
}

void lt_sender_bus(struct lt_sender *s, struct lt_bus *bus)
{
	s->bus = bus;
	s->end_to_end = lt_bus_caps(bus) & LT_BUS_RETAIN;
	lt_timer_start_ns(&s->tick_timer, TICK_NS);
}

static void log_spool(struct lt_sender *s)
{
	struct lt_spool_info i;

	lt_spool_info(s->spool, &i);
	lt_log(LT_INFO, "spool_open", LT_S("dir", s->conf->spool.dir), LT_U("epoch", i.epoch),
		LT_U("next_seq", i.next_seq), LT_U("held", i.held),
		LT_U("disk_bytes", i.disk_bytes), LT_U("cut_bytes", i.cut_bytes),
		LT_U("damaged", i.damaged),
		LT_S("doubt", lt_spool_doubt_name(lt_spool_doubt(s->spool))));
}

struct lt_sender *lt_sender_new(const struct lt_sender_options *opt, struct lt_err *err)
{
	struct lt_sender *s = lt_calloc(1, sizeof(*s));
	const struct lt_agent_conf *c = opt->conf;
	const struct lt_spool_options spool = {.dir = c->spool.dir,
		.source = opt->source,
		.name = "agent",
		.max_bytes = c->spool.max_bytes,
		.max_age_ms = c->spool.max_age_ms,
		.memory_bytes = c->spool.memory_bytes,
		.sync = (enum lt_spool_sync)c->spool.sync,
		.sync_interval_ms = c->spool.sync_interval_ms,
		.ready = spool_ready,
		.arg = s};

	s->opt = *opt;
	s->conf = c;
	s->window = WINDOW_FIRST;
	s->stall_ns = STALL_MIN_NS;
	lt_timer_init(&s->ack_timer, opt->loop, sender_ack_timer, s);
	lt_timer_init(&s->tick_timer, opt->loop, on_tick, s);
	lt_timer_init(&s->more_timer, opt->loop, on_more, s);
	s->live = lt_agent_queue_new(LIVE_BYTES);
	s->metrics_topic = lt_asprintf("%s/nodes/%s/metrics", opt->prefix, opt->source);
	s->backlog_topic = lt_asprintf("%s/nodes/%s/backlog", opt->prefix, opt->source);
	s->ack_topic = lt_asprintf("%s/nodes/%s/ack", opt->prefix, opt->source);
	s->status_topic = lt_asprintf("%s/nodes/%s/status", opt->prefix, opt->source);
	if (lt_waker_init(&s->waker, opt->loop, on_more, s, err) != LT_OK ||
		lt_spool_open(&s->spool, &spool, err) != LT_OK) {
		lt_sender_free(s);
		return NULL;
	}
	log_spool(s);
	return s;
}

size_t lt_sender_free(struct lt_sender *s)
{
	size_t lost;

	if (!s)
		return 0;
	lost = lt_spool_close(s->spool, s->conf->drain_timeout_ms);
	lt_timer_fini(&s->ack_timer);
	lt_timer_fini(&s->tick_timer);
	lt_timer_fini(&s->more_timer);
	lt_waker_fini(&s->waker);
	lt_agent_queue_free(s->live);
	lt_ranges_fini(&s->sent_live);
	lt_ranges_fini(&s->sent_backlog);
	lt_spool_record_fini(&s->record);
	lt_buf_fini(&s->body);
	lt_buf_fini(&s->payload);
	free(s->log);
	free(s->metrics_topic);
	free(s->backlog_topic);
	free(s->ack_topic);
	free(s->status_topic);
	free(s);
	return lost;
}
