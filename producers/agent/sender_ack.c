/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "latido/ack.h"
#include "latido/clock.h"
#include "latido/status.h"
#include "sender_int.h"

/* What was sent and what of it the store has: acknowledgements, resends, new epochs. */

#define LATER_EPOCH_NS (60 * LT_NS_PER_S)
#define WINDOW_MIN     4

#define TWIN_REMEDY                                                                  \
	"another agent uses this agent.source: give each its own, and each its own " \
	"bus.mqtt.client_id; until then events may be stored twice"

/* ---- what was sent, and when ---- */

void sender_note_sent(struct lt_sender *s, uint64_t seq)
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

uint64_t sender_forget_sent(struct lt_sender *s, uint64_t lo, uint64_t hi)
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
void sender_unsend(struct lt_sender *s, int64_t before_ns, uint64_t upto)
{
	size_t kept = 0, n = s->log_n;
	uint64_t again = 0;

	for (size_t i = 0; i < n; i++) {
		struct sent *e = &s->log[(s->log_head + i) % s->log_cap];

		if (e->mono_ns < before_ns && e->lo <= upto) {
			uint64_t hi = e->hi < upto ? e->hi : upto;

			again += sender_forget_sent(s, e->lo, hi);
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
		LT_U("events_renumbered", sender_held(s)));
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
void sender_ack_timer(void *arg)
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
	sender_pump(s);
}

/* ---- acknowledgements ---- */

static void acknowledged(struct lt_sender *s, const struct lt_ack *a, uint64_t limit)
{
	uint64_t n = 0;

	for (size_t i = 0; i < a->n && a->have[i].lo <= limit; i++) {
		uint64_t hi = a->have[i].hi < limit ? a->have[i].hi : limit;

		n += lt_spool_done(s->spool, a->have[i].lo, hi);
		sender_forget_sent(s, a->have[i].lo, hi);
	}
	if (!n)
		return;
	s->progress_ns = lt_mono_ns();
	s->stall_ns = STALL_MIN_NS;
	lt_release(&s->stall_complaint, "store_acknowledges_again", LT_U("held", sender_held(s)));
	if (s->n_backlog || s->window < WINDOW_MAX)
		s->window = s->window + n < WINDOW_MAX ? s->window + n : WINDOW_MAX;
}

static void on_ack(struct lt_sender *s, const struct lt_ack *a)
{
	uint64_t epoch = lt_spool_epoch(s->spool), top = a->n ? a->have[a->n - 1].hi : 0;
	enum lt_spool_doubt doubt = lt_spool_doubt(s->spool);
	bool first = !s->checked;

	lt_counter_add(&s->acks, 1);
	if (a->need_shape) {
		lt_counter_add(&s->shapes_asked, 1);
		s->announced_hash = 0;
	}
	if (!a->epoch)
		return; /* nothing but that */
	if (a->epoch < epoch) {
		/* Of an earlier life; if it is the retained one, there is none of ours yet. */
		if (first)
			sender_ack_timer(s);
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
				LT_S("remedy", TWIN_REMEDY));
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
	sender_unsend(s, newest_acknowledged_ns(s) - REORDER_NS, top);
}

/* ---- another agent with our source ---- */

/*
 * Two agents under one name: a disk that was cloned and both run, or one configuration on two
 * machines. Each sees the other's birth. If they went on in one epoch, what the store has of the
 * one would take events of the other out of its spool.
 */
static void on_status(struct lt_sender *s, const struct lt_status *st, bool retained)
{
	if (!st->online || !*st->run)
		return;
	if (strcmp(st->run, s->opt.run) == 0) {
		s->birth_conn = st->conn;
		return;
	}
	/* Retained: may be from before us; then it is older than our own. */
	if (retained && (!s->birth_conn || st->conn <= s->birth_conn))
		return;
	lt_counter_add(&s->twins, 1);
	lt_complain(&s->twin_complaint, LT_ERROR, "source_used_twice",
		LT_S("source", s->opt.source), LT_U("other_epoch", st->epoch),
		LT_S("remedy", TWIN_REMEDY));
	if (!s->twin_seen || st->epoch == lt_spool_epoch(s->spool)) {
		s->twin_seen = true;
		renumber(s, st->epoch, "another agent runs under this source");
	}
}

void lt_sender_readable(struct lt_sender *s)
{
	struct lt_bus_msg *m;
	struct lt_status st;
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
		if (strcmp(m->topic, s->status_topic) == 0 && m->size > 0 &&
			lt_status_parse(&st, m->data, m->size, NULL) == LT_OK)
			on_status(s, &st, m->retained);
		lt_bus_done(s->bus, m);
	}
	sender_pump(s);
}
