/* SPDX-License-Identifier: MIT */
/*
 * Ten thousand sources that come back at once, with what an outage left in their spools:
 *
 *	comeback CONFIG SOURCES BACKLOG VALUES LIVE_MS GREEDY_EVERY GREEDY_TIMES
 *
 * Each source n0, n1, ... holds BACKLOG events, every GREEDY_EVERY-th GREEDY_TIMES as many, and adds a
 * live one each LIVE_MS, all by turns over a few connections. They do what an agent's sender does
 * (producers/agent/sender*.c): the backlog goes to .../backlog in a window that grows with each
 * acknowledgement and is halved by a loss; an event is done when the store has acknowledged it; what
 * the acknowledgement shows as a hole, though something sent two seconds later has arrived, is sent
 * again, and everything when nothing comes at all.
 *
 * Ends when every source's backlog is acknowledged, and prints what happened as JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/tool.h"
#include "latido/ack.h"
#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/conf.h"
#include "latido/event.h"
#include "latido/log.h"
#include "latido/ranges.h"

#define CONNECTIONS 4
#define WINDOW_MIN  4
#define WINDOW_MAX  1024
#define REORDER_NS  (2 * LT_NS_PER_S)
#define STALL_NS    (30 * LT_NS_PER_S)
#define TICK_NS     (20 * LT_NS_PER_MS)

struct source {
	uint64_t backlog; /* numbers 1..backlog were there before */
	uint64_t next_live;
	struct lt_ranges have, sent; /* sent: and not acknowledged */
	int64_t *sent_ns;            /* of each of the backlog */
	uint64_t done;               /* of the backlog */
	uint64_t window, under_way;
	bool queued;                    /* in world.ready */
	int64_t newest_ns, progress_ns; /* newest: when the last of what arrived was sent */
};

struct world {
	struct lt_loop loop;
	struct lt_bus *bus[CONNECTIONS];
	const struct lt_config *conf;
	struct lt_timer tick;
	struct lt_buf body, wire;
	struct lt_event event;
	struct source *sources;
	unsigned long n, values, live_ms;
	uint64_t epoch, live_turn;
	unsigned long *ready, ready_head, n_ready; /* ring: who may send backlog, in turn */
	uint64_t backlog, done, finished, published, resent, acks;
	int64_t began_ns, first_finished_ns;
	size_t prefix_len;
	int code;
};

static int send_event(struct world *w, unsigned long i, uint64_t seq, bool backlog)
{
	struct source *s = &w->sources[i];
	char topic[256], name[24];
	uint64_t oldest = lt_ranges_missing(&s->have, 1);

	snprintf(name, sizeof(name), "n%lu", i);
	snprintf(topic, sizeof(topic), "%s/nodes/%s/%s", w->conf->bus.prefix, name,
		backlog ? "backlog" : "metrics");
	w->event.source = name;
	w->event.epoch = w->epoch;
	w->event.seq = seq;
	w->event.oldest_seq = oldest < seq ? oldest : seq;
	w->event.time_ns = lt_wall_ns() - (int64_t)(s->backlog - seq) * LT_NS_PER_S;
	w->event.has_time = true;
	lt_buf_reset(&w->wire);
	lt_encode_protobuf(&w->event, true, &w->wire);
	return lt_bus_publish(w->bus[i % CONNECTIONS],
		&(struct lt_bus_out){.topic = topic,
			.data = w->wire.data,
			.size = w->wire.len,
			.content_type = "application/x-protobuf;proto=latido.v1.Event"},
		NULL);
}

static uint64_t to_send(const struct source *s)
{
	uint64_t seq = 1, before;

	do {
		before = seq;
		seq = lt_ranges_missing(&s->have, seq);
		seq = lt_ranges_missing(&s->sent, seq);
	} while (seq != before);
	return seq <= s->backlog ? seq : 0;
}

static void enqueue(struct world *w, unsigned long i)
{
	if (w->sources[i].queued)
		return;
	w->sources[i].queued = true;
	w->ready[(w->ready_head + w->n_ready++) % w->n] = i;
}

/* One event of each source that may send one, by turns, until the connections are full. */
static void pump(struct world *w)
{
	while (w->n_ready) {
		unsigned long i = w->ready[w->ready_head];
		struct source *s = &w->sources[i];
		uint64_t seq = s->under_way < s->window ? to_send(s) : 0;

		if (seq && send_event(w, i, seq, true) != LT_OK)
			return;
		w->ready_head = (w->ready_head + 1) % w->n;
		w->n_ready--;
		s->queued = false;
		if (!seq)
			continue;
		w->published++;
		s->under_way += lt_ranges_add(&s->sent, seq, seq);
		s->sent_ns[seq - 1] = lt_mono_ns();
		enqueue(w, i);
	}
}

static void unsend(struct world *w, unsigned long i, uint64_t upto, int64_t before_ns)
{
	struct source *s = &w->sources[i];
	uint64_t again = 0;

	for (uint64_t seq = 1; seq <= s->backlog && seq <= upto; seq++)
		if (lt_ranges_contains(&s->sent, seq) && s->sent_ns[seq - 1] < before_ns)
			again += lt_ranges_remove(&s->sent, seq, seq);
	s->under_way -= again;
	enqueue(w, i);
	if (!again)
		return;
	w->resent += again;
	s->window = s->window / 2 > WINDOW_MIN ? s->window / 2 : WINDOW_MIN;
}

static void on_ack(struct world *w, unsigned long i, const struct lt_ack *a)
{
	struct source *s = &w->sources[i];
	uint64_t before = s->done;

	w->acks++;
	if (a->epoch != w->epoch || !a->n)
		return;
	for (size_t k = 0; k < a->n; k++) {
		uint64_t hi = a->have[k].hi < s->backlog ? a->have[k].hi : s->backlog;

		if (a->have[k].lo > hi)
			continue;
		for (uint64_t seq = a->have[k].lo; seq <= hi; seq++)
			if (lt_ranges_contains(&s->sent, seq) && s->sent_ns[seq - 1] > s->newest_ns)
				s->newest_ns = s->sent_ns[seq - 1];
		s->done += lt_ranges_add(&s->have, a->have[k].lo, hi);
		s->under_way -= lt_ranges_remove(&s->sent, a->have[k].lo, hi);
	}
	if (s->done == before)
		return;
	s->progress_ns = lt_mono_ns();
	s->window += s->done - before;
	if (s->window > WINDOW_MAX)
		s->window = WINDOW_MAX;
	w->done += s->done - before;
	unsend(w, i, a->have[a->n - 1].hi, s->newest_ns - REORDER_NS);
	if (s->done == s->backlog && before < s->backlog) {
		w->finished++;
		if (!w->first_finished_ns)
			w->first_finished_ns = lt_mono_ns();
		if (w->finished == w->n)
			lt_loop_stop(&w->loop);
	}
}

static void on_readable(void *arg)
{
	struct world *w = arg;
	struct lt_bus_msg *m;

	while (lt_bus_poll(w->bus[0], &m, 1) == 1) {
		/* <prefix>/nodes/n<i>/ack */
		const char *name = m->topic + w->prefix_len + strlen("/nodes/n");
		unsigned long i = strtoul(name, NULL, 10);
		struct lt_ack a;

		if (i < w->n && lt_ack_parse(&a, m->data, m->size, NULL) == LT_OK)
			on_ack(w, i, &a);
		lt_bus_done(w->bus[0], m);
	}
	pump(w);
}

static void on_writable(void *arg)
{
	pump(arg);
}

static void on_delivered(void *arg, uint64_t token, int code, const struct lt_err *err)
{
	(void)token;
	if (code < 0) {
		fprintf(stderr, "comeback: %s\n", err->msg);
		((struct world *)arg)->code = 1;
	}
	pump(arg);
}

static void on_tick(void *arg)
{
	struct world *w = arg;
	int64_t now_ns = lt_mono_ns();
	uint64_t due = (uint64_t)((double)(now_ns - w->began_ns) / 1e6 / (double)w->live_ms *
				  (double)w->n);

	lt_timer_start_ns(&w->tick, TICK_NS);
	for (; w->live_turn < due; w->live_turn++) {
		unsigned long i = w->live_turn % w->n;

		if (send_event(w, i, w->sources[i].next_live, false) != LT_OK)
			break;
		w->sources[i].next_live++;
		w->published++;
	}
	for (unsigned long i = 0; i < w->n; i++)
		if (now_ns - w->sources[i].progress_ns > STALL_NS) {
			unsend(w, i, UINT64_MAX, now_ns - STALL_NS);
			w->sources[i].progress_ns = now_ns;
		}
	pump(w);
}

static int make_event(struct world *w, struct lt_err *err)
{
	struct lt_snapshot *snap = lt_snapshot_new((uint32_t)w->values + 1);
	static const char *const keys[] = {"i"};
	char text[24];

	lt_snapshot_begin(snap);
	lt_snapshot_family(snap, "load_value", LT_KIND_GAUGE, keys, 1);
	for (unsigned long k = 0; k < w->values; k++) {
		snprintf(text, sizeof(text), "%lu", k);
		lt_snapshot_row(snap, (const char *const[]){text}, (double)k * 1.25);
	}
	w->event.stream = "";
	w->event.interval_ms = (uint32_t)w->live_ms;
	return lt_snapshot_event(snap, &w->event, err); /* it holds what the event points to */
}

static int open_buses(struct world *w, struct lt_err *err)
{
	static const char *const names[CONNECTIONS] = {"back0", "back1", "back2", "back3"};
	char *topic = lt_asprintf("%s/nodes/+/ack", w->conf->bus.prefix);
	struct lt_bus_handler h = {.arg = w,
		.writable = on_writable,
		.delivered = on_delivered,
		.readable = on_readable};
	int rc = LT_OK;

	for (int i = 0; i < CONNECTIONS && rc == LT_OK; i++) {
		struct lt_bus_options opt = {.comp = names[i],
			.topics = (const char *const *)&topic,
			.n_topics = i == 0};

		w->bus[i] = lt_bus_new(&w->conf->bus, &opt, &h, &w->loop, err);
		rc = w->bus[i] ? lt_bus_open(w->bus[i], err) : LT_ECONF;
	}
	free(topic);
	return rc;
}

int main(int argc, char **argv)
{
	struct world w = {0};
	struct lt_err err = {0};
	struct lt_conf *conf;
	uint64_t a[8] = {0};

	if (argc != 8) {
		fprintf(stderr,
			"usage: comeback CONFIG SOURCES BACKLOG VALUES LIVE_MS GREEDY_EVERY "
			"GREEDY_TIMES\n");
		return 2;
	}
	for (int i = 2; i < argc; i++)
		a[i] = strtoull(argv[i], NULL, 10);
	lt_log_setup("comeback", LT_WARN, LT_LOG_LOGFMT);
	conf = tool_conf(argv[1]);
	w.conf = lt_conf_root(conf);
	w.prefix_len = strlen(w.conf->bus.prefix);
	w.n = a[2];
	w.values = a[4];
	w.live_ms = a[5];
	w.epoch = (uint64_t)(lt_wall_ns() / LT_NS_PER_US);
	w.sources = lt_calloc(w.n, sizeof(*w.sources));
	w.ready = lt_calloc(w.n, sizeof(*w.ready));
	for (unsigned long i = 0; i < w.n; i++) {
		struct source *s = &w.sources[i];

		s->backlog = a[6] && i % a[6] == 0 ? a[3] * a[7] : a[3];
		s->next_live = s->backlog + 1;
		s->window = 32;
		s->progress_ns = lt_mono_ns();
		s->newest_ns = INT64_MIN / 2;
		s->sent_ns = lt_calloc(s->backlog, sizeof(*s->sent_ns));
		w.backlog += s->backlog;
		enqueue(&w, i);
	}
	if (make_event(&w, &err) < 0 || lt_loop_init(&w.loop, &err) < 0 ||
		open_buses(&w, &err) < 0) {
		fprintf(stderr, "comeback: %s\n", err.msg);
		return 1;
	}
	w.began_ns = lt_mono_ns();
	lt_timer_init(&w.tick, &w.loop, on_tick, &w);
	lt_timer_start_ns(&w.tick, TICK_NS);
	lt_loop_run(&w.loop);
	printf("{\"sources\": %lu, \"backlog\": %" PRIu64 ", \"published\": %" PRIu64
	       ", \"resent\": %" PRIu64 ", \"acks\": %" PRIu64
	       ", \"seconds\": %.1f, \"first_finished_s\": %.1f}\n",
		w.n, w.backlog, w.published, w.resent, w.acks,
		(double)(lt_mono_ns() - w.began_ns) / 1e9,
		(double)(w.first_finished_ns - w.began_ns) / 1e9);
	for (int i = 0; i < CONNECTIONS; i++)
		lt_bus_free(w.bus[i]);
	for (unsigned long i = 0; i < w.n; i++) {
		lt_ranges_fini(&w.sources[i].have);
		lt_ranges_fini(&w.sources[i].sent);
		free(w.sources[i].sent_ns);
	}
	free(w.sources);
	free(w.ready);
	lt_loop_fini(&w.loop);
	lt_buf_fini(&w.wire);
	lt_conf_free(conf);
	return w.code;
}
