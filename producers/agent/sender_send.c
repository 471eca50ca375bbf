/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "latido/clock.h"
#include "payload.h"
#include "sender_int.h"

/* Live events first, beside them the backlog at its own pace. */

#define WRITTEN_WAIT_NS (20 * LT_NS_PER_MS)
#define LIVE_AGE_NS     (10 * LT_NS_PER_S)
/* Backlog in the bus's own window: live events find room at once. Kafka takes it by the batch. */
#define BUS_SHARE       32
#define LOG_SHARE       512
#define EXPIRY_S        300

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
	if (s->end_to_end)
		sender_note_sent(s, seq);
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
		if (lt_agent_queue_acknowledged(s->live, e->seq))
			lt_counter_add(&s->live_late, 1);
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
	size_t share = s->end_to_end ? BUS_SHARE : LOG_SHARE;
	uint64_t seq;

	while (s->n_backlog < s->window && lt_bus_inflight(s->bus) < share &&
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

void sender_pump(struct lt_sender *s)
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
	sender_pump(s);
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
			sender_forget_sent(s, seq, seq);
			if (!s->end_to_end && s->window < WINDOW_MAX)
				s->window++;
		}
	}
	if (code == LT_OK) {
		lt_counter_add(&s->delivered, 1);
		lt_release(&s->refused_complaint, "events_accepted_again");
	}
	sender_pump(s);
}
