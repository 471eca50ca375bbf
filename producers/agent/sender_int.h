/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_SENDER_INT_H
#define LATIDO_AGENT_SENDER_INT_H

#include "latido/log.h"
#include "latido/ranges.h"
#include "latido/stats.h"
#include "queue.h"
#include "sender.h"

/*
 * sender.c: life, events in, time; sender_send.c: what goes out; sender_ack.c: what comes back;
 * sender_stats.c: metrics.
 */

#define ACK_WAIT_NS  (2 * LT_NS_PER_S)
#define REORDER_NS   (2 * LT_NS_PER_S)
/* A store with little to do acknowledges seldom. */
#define STALL_MIN_NS (30 * LT_NS_PER_S)
#define TICK_NS      LT_NS_PER_S
#define LIVE_BYTES   (1 << 20)
#define WINDOW_MAX   1024

/* Events sent at about the same time. */
struct sent {
	uint64_t lo, hi;
	int64_t mono_ns;
};

struct lt_sender {
	struct lt_sender_options opt;
	const struct lt_agent_conf *conf;
	char *metrics_topic, *backlog_topic, *ack_topic, *status_topic;
	struct lt_spool *spool;
	struct lt_waker waker;
	struct lt_bus *bus;
	bool end_to_end; /* the store acknowledges; else the bus does */
	bool connected, draining;
	bool renumber_due; /* it failed, for want of room */
	uint64_t renumber_after;
	const char *renumber_why;
	int64_t later_epoch_ns;
	uint64_t birth_conn; /* of our newest birth that the broker has shown us; 0 = none */
	bool twin_seen;
	bool checked; /* an acknowledgement was seen, or waited for: numbers are good */
	uint64_t generation;
	struct lt_timer ack_timer, tick_timer, more_timer;

	struct lt_agent_queue *live;
	int64_t live_ns[64]; /* when the newest were pushed, by seq */
	struct lt_buf body, payload;
	uint64_t announced_hash;
	int64_t announced_ns;

	struct lt_ranges sent_live, sent_backlog; /* not acknowledged end to end */
	uint64_t n_backlog;                       /* in sent_backlog */
	struct sent *log;                         /* ring, oldest first */
	size_t log_head, log_n, log_cap;
	uint64_t window;
	int64_t halved_ns;
	double tokens;
	int64_t tokens_ns, progress_ns, stall_ns;
	struct lt_spool_record record;

	struct lt_complaint refused_complaint, stall_complaint, ack_complaint, epoch_complaint,
		twin_complaint;
	struct lt_counter live_sent, backlog_sent, resent, delivered, refused, acks, bad_acks,
		epochs, bytes, stalls, twins, shapes_asked, live_late;
};

/* sender.c */
uint64_t sender_held(struct lt_sender *s);

/* sender_send.c */
void sender_pump(struct lt_sender *s);

/* sender_ack.c */
/** sender_note_sent() - @seq was handed to the bus now. */
void sender_note_sent(struct lt_sender *s, uint64_t seq);
/** sender_forget_sent() - [lo, hi] is not under way any more. Return: how many were. */
uint64_t sender_forget_sent(struct lt_sender *s, uint64_t lo, uint64_t hi);
/** sender_unsend() - what was sent before @before_ns and lies at or below @upto is to be sent again. */
void sender_unsend(struct lt_sender *s, int64_t before_ns, uint64_t upto);
/** sender_ack_timer() - nobody can tell any more than is known now: go on. */
void sender_ack_timer(void *arg);

#endif
