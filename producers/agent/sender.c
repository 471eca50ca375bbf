/* SPDX-License-Identifier: MIT */
#include "sender.h"

#include <stdlib.h>
#include <string.h>

#include "latido/ack.h"
#include "latido/clock.h"
#include "latido/log.h"
#include "latido/stats.h"
#include "payload.h"
#include "queue.h"
#include "sender_int.h"

#define ACK_WAIT_NS     (2 * LT_NS_PER_S)
#define WRITTEN_WAIT_NS (20 * LT_NS_PER_MS)
#define REORDER_NS      (2 * LT_NS_PER_S)
/* A store with little to do acknowledges seldom. */
#define STALL_MIN_NS    (30 * LT_NS_PER_S)
#define STALL_MAX_NS    (120 * LT_NS_PER_S)
#define LATER_EPOCH_NS  (60 * LT_NS_PER_S)
#define TICK_NS         LT_NS_PER_S
#define LIVE_BYTES      (1 << 20)
#define LIVE_AGE_NS     (10 * LT_NS_PER_S)
#define WINDOW_FIRST    32
#define WINDOW_MIN      4
#define WINDOW_MAX      1024
/* Backlog in the bus's own window: live events find room at once. */
#define BUS_SHARE       32
#define EXPIRY_S        300

static uint64_t held(struct lt_sender *s)
{
	struct lt_spool_info info;

	lt_spool_info(s->spool, &info);
	return info.held;
}

static void pump_all(struct lt_sender *s);

/* ---- what was sent, and when ---- */

static void note_sent(struct lt_sender *s, uint64_t seq)
{
	int64_t now_ns = lt_mono_ns();
	struct sent *last = s->log_n ? &s->log[(s->log_head + s->log_n - 1) % s->log_cap] : NULL;

	if (last && last->hi + 1 == seq && now_ns - last->mono_ns < TICK_NS / 4) {
		last->hi = seq;
		return;
	}
	if (s->log_n == s->log_cap) {
		size_t cap = s->log_cap ? 2 * s->log_cap : 64;
		struct sent *grown = lt_malloc(cap * sizeof(*grown));

		for (size_t i = 0; i < s->log_n; i++)
			grown[i] = s->log[(s->log_head + i) % s->log_cap];
		free(s->log);
		s->log = grown;
		s->log_cap = cap;
		s->log_head = 0;
	}
	s->log[(s->log_head + s->log_n++) % s->log_cap] = (struct sent){seq, seq, now_ns};
}

static uint64_t forget_sent(struct lt_sender *s, uint64_t lo, uint64_t hi)
{
	uint64_t n = lt_ranges_remove(&s->sent_backlog, lo, hi);

	s->n_backlog -= n;
	return n + lt_ranges_remove(&s->sent_live, lo, hi);
}

static void halve(struct lt_sender *s)
{
	int64_t now_ns = lt_mono_ns();

	if (now_ns - s->halved_ns < REORDER_NS)
		return; /* one loss, seen several times */
	s->halved_ns = now_ns;
	s->window = s->window / 2 > WINDOW_MIN ? s->window / 2 : WINDOW_MIN;
}

/*
 * When the last of what has arrived was sent. Messages of one sender reach the store in order, at
 * whatever speed: what was sent well before that and has not arrived will not arrive.
 */
static int64_t newest_acknowledged_ns(const struct lt_sender *s)
{
	for (size_t i = s->log_n; i > 0; i--) {
		const struct sent *e = &s->log[(s->log_head + i - 1) % s->log_cap];
		uint64_t waiting = lt_ranges_count(&s->sent_live, e->lo, e->hi) +
				   lt_ranges_count(&s->sent_backlog, e->lo, e->hi);

		if (waiting < e->hi - e->lo + 1)
			return e->mono_ns;
	}
	return INT64_MIN / 2;
}

/* What was sent before @before_ns and lies at or below @upto is to be sent again. */
static void unsend(struct lt_sender *s, int64_t before_ns, uint64_t upto)
{
	size_t kept = 0, n = s->log_n;
	uint64_t again = 0;

	for (size_t i = 0; i < n; i++) {
		struct sent *e = &s->log[(s->log_head + i) % s->log_cap];

		if (e->mono_ns < before_ns && e->lo <= upto) {
			uint64_t hi = e->hi < upto ? e->hi : upto;

			again += forget_sent(s, e->lo, hi);
			if (hi == e->hi)
				continue;
			e->lo = hi + 1;
		} else if (lt_ranges_count(&s->sent_live, e->lo, e->hi) +
				   lt_ranges_count(&s->sent_backlog, e->lo, e->hi) ==
			   0) {
			continue; /* all acknowledged */
		}
		s->log[(s->log_head + kept++) % s->log_cap] = *e;
	}
	s->log_n = kept;
	if (again) {
		lt_counter_add(&s->resent, again);
		halve(s);
	}
}

/* ---- a new epoch ---- */

static void renumber(struct lt_sender *s, uint64_t after_epoch, const char *why)
{
	uint64_t old = lt_spool_epoch(s->spool);
	struct lt_err err;

	if (lt_spool_renumber(s->spool, after_epoch, &err) != LT_OK) {
		lt_complain(&s->epoch_complaint, LT_ERROR, "epoch_failed",
			LT_S("source", s->opt.source), LT_S("err", err.msg));
		s->checked = false; /* nothing is sent until it worked */
		s->renumber_due = true;
		s->renumber_after = after_epoch;
		s->renumber_why = why;
		lt_timer_start_ns(&s->ack_timer, ACK_WAIT_NS);
		return;
	}
	s->renumber_due = false;
	lt_release(&s->epoch_complaint, "epoch_works");
	lt_counter_add(&s->epochs, 1);
	lt_log(LT_WARN, "epoch_new", LT_S("source", s->opt.source), LT_S("reason", why),
		LT_U("old_epoch", old), LT_U("epoch", lt_spool_epoch(s->spool)),
		LT_U("events_renumbered", held(s)));
	s->generation++;
	lt_ranges_clear(&s->sent_live);
	lt_ranges_clear(&s->sent_backlog);
	s->n_backlog = 0;
	s->log_n = 0;
	lt_agent_queue_free(s->live);
	s->live = lt_agent_queue_new(LIVE_BYTES);
	s->opt.epoch_changed(s->opt.arg);
}

/* Nobody can tell any more than is known now: go on. */
static void on_ack_timer(void *arg)
{
	struct lt_sender *s = arg;
	enum lt_spool_doubt doubt = lt_spool_doubt(s->spool);

	if (!s->connected)
		return;
	s->checked = true;
	if (s->renumber_due)
		renumber(s, s->renumber_after, s->renumber_why);
	else if (doubt != LT_SPOOL_TRUSTED && doubt != LT_SPOOL_NEW)
		renumber(s, 0, lt_spool_doubt_name(doubt));
	pump_all(s);
}

/* ---- acknowledgements ---- */

static void acknowledged(struct lt_sender *s, const struct lt_ack *a, uint64_t limit)
{
	uint64_t n = 0;

	for (size_t i = 0; i < a->n && a->have[i].lo <= limit; i++) {
		uint64_t hi = a->have[i].hi < limit ? a->have[i].hi : limit;

		n += lt_spool_done(s->spool, a->have[i].lo, hi);
		forget_sent(s, a->have[i].lo, hi);
	}
	if (!n)
		return;
	s->progress_ns = lt_mono_ns();
	s->stall_ns = STALL_MIN_NS;
	lt_release(&s->stall_complaint, "store_acknowledges_again", LT_U("held", held(s)));
	if (s->n_backlog || s->window < WINDOW_MAX)
		s->window = s->window + n < WINDOW_MAX ? s->window + n : WINDOW_MAX;
}

static void on_ack(struct lt_sender *s, const struct lt_ack *a)
{
	uint64_t epoch = lt_spool_epoch(s->spool), top = a->n ? a->have[a->n - 1].hi : 0;
	enum lt_spool_doubt doubt = lt_spool_doubt(s->spool);
	bool first = !s->checked;

	lt_counter_add(&s->acks, 1);
	if (a->need_shape)
		s->announced_hash = 0;
	if (a->epoch < epoch) {
		/* Of an earlier life; if it is the retained one, there is none of ours yet. */
		if (first)
			on_ack_timer(s);
		return;
	}
	if (s->renumber_due)
		return; /* the numbers here mean nothing any more */
	s->checked = true;
	lt_timer_stop(&s->ack_timer);
	if (a->epoch > epoch) {
		/* Two agents under one name would drive each other on and on: slowly, then. */
		if (s->later_epoch_ns && lt_mono_ns() - s->later_epoch_ns < LATER_EPOCH_NS) {
			lt_complain(&s->twin_complaint, LT_ERROR, "source_used_twice",
				LT_S("source", s->opt.source), LT_U("other_epoch", a->epoch),
				LT_S("remedy", "another agent seems to use this agent.source: "
					       "give each its own"));
			return;
		}
		s->later_epoch_ns = lt_mono_ns();
		renumber(s, a->epoch, "the store knows a later epoch of this source");
		return;
	}
	if (top > lt_spool_issued(s->spool) ||
		(doubt != LT_SPOOL_TRUSTED && doubt != LT_SPOOL_NEW)) {
		/*
		 * Somebody went on from this point before: this spool was put back. What it held
		 * then is what the store means; later numbers stand for something else there.
		 */
		acknowledged(s, a, lt_spool_base(s->spool));
		renumber(s, a->epoch,
			doubt != LT_SPOOL_TRUSTED
				? lt_spool_doubt_name(doubt)
				: "the store has numbers that this spool never issued");
		return;
	}
	acknowledged(s, a, UINT64_MAX);
	unsend(s, newest_acknowledged_ns(s) - REORDER_NS, top);
}

void lt_sender_readable(struct lt_sender *s)
{
	struct lt_bus_msg *m;
	struct lt_ack a;
	struct lt_err err;

	while (lt_bus_poll(s->bus, &m, 1) == 1) {
		if (strcmp(m->topic, s->ack_topic) == 0 && m->size > 0) {
			if (lt_ack_parse(&a, m->data, m->size, &err) == LT_OK) {
				on_ack(s, &a);
			} else {
				lt_counter_add(&s->bad_acks, 1);
				lt_complain(&s->ack_complaint, LT_WARN, "ack_invalid",
					LT_S("topic", m->topic), LT_S("err", err.msg));
			}
		}
		lt_bus_done(s->bus, m);
	}
	pump_all(s);
}

/* ---- sending ---- */

static uint64_t token(const struct lt_sender *s, uint64_t seq)
{
	return (s->generation & 0x3ff) << 53 | seq;
}

/* Return: LT_OK; LT_EFULL: not now; LT_EDATA: never (it is taken out of the spool). */
static int publish(struct lt_sender *s, uint64_t seq, bool backlog, const void *body, size_t size,
	const void *shape, size_t shape_size)
{
	uint64_t oldest = lt_spool_oldest(s->spool);
	struct lt_bus_out m;
	struct lt_err err;
	int rc;

	lt_payload_write(&s->payload, s->opt.source, lt_spool_epoch(s->spool), seq,
		oldest && oldest < seq ? oldest : seq, body, size, shape, shape_size);
	m = (struct lt_bus_out){.topic = backlog ? s->backlog_topic : s->metrics_topic,
		.key = s->opt.source,
		.data = s->payload.data,
		.size = s->payload.len,
		.content_type = lt_payload_type(body, size),
		.expiry_s = backlog || !s->end_to_end ? 0 : EXPIRY_S,
		.token = token(s, seq)};
	lt_spool_issue(s->spool, seq); /* before, not after: it may be killed between the two */
	rc = lt_bus_publish(s->bus, &m, &err);
	if (rc == LT_EFULL || rc == LT_ESTOPPED)
		return LT_EFULL;
	if (rc != LT_OK) {
		lt_counter_add(&s->refused, 1);
		lt_complain(&s->refused_complaint, LT_ERROR, "event_refused", LT_U("seq", seq),
			LT_U("bytes", m.size), LT_S("err", err.msg));
		lt_spool_done(s->spool, seq, seq);
		return LT_EDATA;
	}
	lt_counter_add(&s->bytes, m.size);
	note_sent(s, seq);
	if (backlog) {
		s->n_backlog += lt_ranges_add(&s->sent_backlog, seq, seq);
		lt_counter_add(&s->backlog_sent, 1);
	} else {
		lt_ranges_add(&s->sent_live, seq, seq);
		lt_counter_add(&s->live_sent, 1);
	}
	return LT_OK;
}

static bool inline_shape(const struct lt_sender *s, const struct lt_agent_entry *e)
{
	return s->conf->shape == LT_SHAPE_ALWAYS || !e->shape ||
	       e->shape->hash != s->announced_hash ||
	       lt_mono_ns() - s->announced_ns >= s->conf->announce_interval_ms * LT_NS_PER_MS;
}

/* Live events wait for the write (not for the sync) unless the disk is slow: see spool.h. */
static bool safe_to_send(struct lt_sender *s, uint64_t seq)
{
	int64_t age_ns;

	if (lt_spool_written(s->spool, seq))
		return true;
	age_ns = lt_mono_ns() - s->live_ns[seq % LT_ARRAY_LEN(s->live_ns)];
	if (age_ns >= WRITTEN_WAIT_NS)
		return true;
	lt_timer_start_ns(&s->more_timer, WRITTEN_WAIT_NS - age_ns);
	return false;
}

static void send_live(struct lt_sender *s)
{
	struct lt_agent_entry *e;

	while ((e = lt_agent_queue_next(s->live)) && safe_to_send(s, e->seq)) {
		bool with_shape = inline_shape(s, e);
		uint64_t seq = e->seq;
		int rc = publish(s, seq, false, e->body, e->size,
			with_shape && e->shape ? e->shape->bytes : NULL,
			with_shape && e->shape ? e->shape->size : 0);

		if (rc == LT_EFULL)
			break;
		if (rc == LT_OK && with_shape && e->shape) {
			s->announced_hash = e->shape->hash;
			s->announced_ns = lt_mono_ns();
		}
		lt_agent_queue_acknowledged(s->live, seq);
	}
}

/* While nothing is connected: what is not fresh any more is backlog. */
static void expire_live(struct lt_sender *s)
{
	const struct lt_agent_entry *e;
	int64_t now_ns = lt_mono_ns();

	while ((e = lt_agent_queue_next(s->live)) &&
		(lt_agent_queue_events(s->live) > LT_ARRAY_LEN(s->live_ns) ||
			now_ns - s->live_ns[e->seq % LT_ARRAY_LEN(s->live_ns)] > LIVE_AGE_NS))
		lt_agent_queue_acknowledged(s->live, e->seq);
}

static bool take_token(struct lt_sender *s)
{
	int64_t now_ns = lt_mono_ns();
	double rate = (double)s->conf->backlog_rate, burst = rate / 10 + 1;

	s->tokens += rate * (double)(now_ns - s->tokens_ns) / (double)LT_NS_PER_S;
	s->tokens_ns = now_ns;
	if (s->tokens > burst)
		s->tokens = burst;
	if (s->tokens >= 1) {
		s->tokens -= 1;
		return true;
	}
	lt_timer_start_ns(&s->more_timer, (int64_t)((1 - s->tokens) / rate * 1e9) + LT_NS_PER_MS);
	return false;
}

/* The lowest event that waits for nothing but its turn; 0 = none. */
static uint64_t next_backlog(struct lt_sender *s)
{
	uint64_t limit = lt_agent_queue_oldest_seq(s->live), seq = 1, before;

	do {
		before = seq;
		seq = lt_spool_next_held(s->spool, seq);
		if (!seq || (limit && seq >= limit))
			return 0;
		seq = lt_ranges_missing(&s->sent_live, seq);
		seq = lt_ranges_missing(&s->sent_backlog, seq);
	} while (seq != before);
	return seq;
}

static void send_backlog(struct lt_sender *s)
{
	uint64_t seq;

	while (s->n_backlog < s->window && lt_bus_inflight(s->bus) < BUS_SHARE &&
		(seq = next_backlog(s))) {
		int rc = lt_spool_read(s->spool, seq, &s->record);

		if (rc != LT_OK)
			return; /* ready() follows */
		if (s->record.seq != seq)
			continue; /* it was lost meanwhile */
		if (!take_token(s))
			return;
		rc = publish(s, seq, true, s->record.data.data, s->record.data.len,
			s->record.context.data, s->record.context.len);
		if (rc == LT_EFULL)
			return;
	}
}

static void pump_all(struct lt_sender *s)
{
	expire_live(s);
	if (s->connected && s->checked) {
		send_live(s);
		if (!s->draining)
			send_backlog(s);
	}
	s->opt.idle(s->opt.arg);
}

void lt_sender_pump(struct lt_sender *s)
{
	pump_all(s);
}

void lt_sender_delivered(struct lt_sender *s, uint64_t t, int code, const struct lt_err *err)
{
	uint64_t seq = t & (LT_EXACT_INT - 1);

	if (t >> 53 == (s->generation & 0x3ff)) {
		if (code != LT_OK) {
			lt_counter_add(&s->refused, 1);
			lt_complain(&s->refused_complaint, LT_ERROR, "event_refused",
				LT_U("seq", seq), LT_S("err", err ? err->msg : ""));
		}
		if (code != LT_OK || !s->end_to_end) {
			lt_spool_done(s->spool, seq, seq);
			forget_sent(s, seq, seq);
		}
	}
	if (code == LT_OK) {
		lt_counter_add(&s->delivered, 1);
		lt_release(&s->refused_complaint, "events_accepted_again");
	}
	pump_all(s);
}

/* ---- time ---- */

static void on_tick(void *arg)
{
	struct lt_sender *s = arg;
	int64_t now_ns = lt_mono_ns();
	bool waiting = s->sent_live.n || s->sent_backlog.n;

	lt_timer_start_ns(&s->tick_timer, TICK_NS);
	if (!waiting || !s->connected)
		s->progress_ns = now_ns > s->progress_ns + s->stall_ns / 2
					 ? now_ns - s->stall_ns / 2
					 : s->progress_ns;
	else if (now_ns - s->progress_ns >= s->stall_ns) {
		lt_counter_add(&s->stalls, 1);
		lt_complain(&s->stall_complaint, LT_WARN, "store_silent", LT_U("held", held(s)),
			LT_I("for_ms", s->stall_ns / LT_NS_PER_MS),
			LT_S("remedy", "is latido-store running and PostgreSQL up? events are "
				       "kept in the spool"));
		unsend(s, now_ns - STALL_MIN_NS, UINT64_MAX);
		s->progress_ns = now_ns;
		s->stall_ns = 2 * s->stall_ns < STALL_MAX_NS ? 2 * s->stall_ns : STALL_MAX_NS;
	}
	pump_all(s);
}

static void on_more(void *arg)
{
	pump_all(arg);
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
	lt_agent_queue_push(s->live, seq, s->body.data, s->body.len, shape);
	pump_all(s);
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
		on_ack_timer(s);
	pump_all(s);
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
	return held(s);
}

/* ---- life ---- */

const char *lt_sender_topic(const struct lt_sender *s)
{
	return s->ack_topic;
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
	lt_timer_init(&s->ack_timer, opt->loop, on_ack_timer, s);
	lt_timer_init(&s->tick_timer, opt->loop, on_tick, s);
	lt_timer_init(&s->more_timer, opt->loop, on_more, s);
	s->live = lt_agent_queue_new(LIVE_BYTES);
	s->metrics_topic = lt_asprintf("%s/nodes/%s/metrics", opt->prefix, opt->source);
	s->backlog_topic = lt_asprintf("%s/nodes/%s/backlog", opt->prefix, opt->source);
	s->ack_topic = lt_asprintf("%s/nodes/%s/ack", opt->prefix, opt->source);
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
	free(s);
	return lost;
}
