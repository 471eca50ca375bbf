/* SPDX-License-Identifier: MIT */
/*
 * Who sends when. Each source has a due time; a heap gives the next one. A source whose connection
 * is full waits in that connection's list, and its latency counts from when it was due, not from
 * when it could be sent: a slow server cannot make its own figures look good ("coordinated
 * omission").
 */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latido/log.h"
#include "load.h"

#define TICK_NS    (LT_NS_PER_S / 10)
#define SEND_MAX   512  /* at a stretch; then acknowledgements get their turn */
#define CHECK_MAX  5000 /* sources looked at for lost events, each tick */
#define RESEND_MAX 500
#define CONNECT_NS (30 * LT_NS_PER_S)

static uint64_t next_random(struct load_run *r)
{
	r->rng ^= r->rng << 13;
	r->rng ^= r->rng >> 7;
	r->rng ^= r->rng << 17;
	return r->rng;
}

/* ---- the heap ---- */

static void heap_put(struct load_run *r, struct load_source *s)
{
	size_t i = r->n_heap++;

	while (i > 0 && r->heap[(i - 1) / 2]->due_ns > s->due_ns) {
		r->heap[i] = r->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	r->heap[i] = s;
}

static struct load_source *heap_take(struct load_run *r)
{
	struct load_source *top = r->heap[0], *last = r->heap[--r->n_heap];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < r->n_heap) {
		if (child + 1 < r->n_heap && r->heap[child + 1]->due_ns < r->heap[child]->due_ns)
			child++;
		if (last->due_ns <= r->heap[child]->due_ns)
			break;
		r->heap[i] = r->heap[child];
		i = child;
	}
	r->heap[i] = last;
	return top;
}

/* ---- the end ---- */

/* The broker has said what it had to say. */
static bool reported(const struct load_run *r)
{
	for (size_t p = 0; p < r->plan->n_paths; p++)
		for (unsigned i = 0; i < r->plan->paths[p].n_connections; i++)
			if (lt_bus_inflight(r->plan->paths[p].connections[i].bus))
				return false;
	return true;
}

static void finish(struct load_run *r)
{
	lt_loop_stop(&r->loop);
}

static void stop_issuing(struct load_run *r)
{
	if (r->stopping)
		return;
	r->stopping = true;
	r->ended_ns = lt_mono_ns();
	r->n_heap = 0;
	for (size_t p = 0; p < r->plan->n_paths; p++)
		for (unsigned i = 0; i < r->plan->paths[p].n_connections; i++) {
			r->plan->paths[p].connections[i].first = NULL;
			r->plan->paths[p].connections[i].last =
				&r->plan->paths[p].connections[i].first;
		}
}

void load_run_fail(struct load_run *r, const struct lt_err *err)
{
	cli_notice("%s", err->msg);
	r->code = LT_EXIT_FAILURE;
	finish(r);
}

static bool all_issued(const struct load_run *r, int64_t now_ns)
{
	const struct load_plan *p = r->plan;

	return (p->count && r->issued >= p->count) ||
	       (p->duration_ns && now_ns - r->began_ns >= p->duration_ns);
}

/* ---- sending ---- */

/* A simulated node was restarted: it begins a new sequence when the old one is acknowledged. */
static bool restart(struct load_run *r, struct load_source *s, int64_t wall_ns)
{
	int64_t boot_ns =
		r->plan->sim ? load_sim_boot_ns(r->plan->sim, s->number, wall_ns) : s->boot_ns;

	if (boot_ns == s->boot_ns)
		return true;
	if (s->oldest <= s->seq)
		return false;
	s->boot_ns = boot_ns;
	s->epoch = (uint64_t)(wall_ns / LT_NS_PER_US);
	s->seq = 0;
	s->oldest = 1;
	return true;
}

static void schedule(struct load_run *r, struct load_source *s, int64_t now_ns)
{
	const struct load_plan *p = r->plan;
	int64_t span = p->interval_max_ns - p->interval_min_ns;

	if (p->interval_max_ns == 0)
		s->due_ns = now_ns; /* as fast as possible: due is when it can be sent */
	else
		s->due_ns += p->interval_min_ns +
			     (span ? (int64_t)(next_random(r) % (uint64_t)(span + 1)) : 0);
	heap_put(r, s);
}

/* Return: LT_OK: sent, or nothing to send; LT_EFULL: not now. */
static int issue(struct load_run *r, struct load_source *s, int64_t now_ns)
{
	/* The wall clock at which it was due: late events are late, not renamed. */
	int64_t wall_ns = lt_wall_ns() - (now_ns - s->due_ns);
	struct load_sent *sent;
	struct lt_err err;
	int rc;

	if (s->seq - s->oldest + 1 >= LOAD_WINDOW || !restart(r, s, wall_ns))
		return LT_EFULL;
	s->seq++;
	sent = load_sent(s, s->seq);
	*sent = (struct load_sent){.due_ns = s->due_ns, .wall_ns = wall_ns};
	if (s->path->recording)
		sent->record = (uint32_t)(r->issued % s->path->recording->n);
	rc = load_path_send(s, s->seq, false, &err);
	if (rc == LT_OK) {
		r->issued++;
		r->under_way++;
		return LT_OK;
	}
	s->seq--;
	if (rc == LT_EDATA || rc == LT_ESTOPPED)
		load_run_fail(r, &err);
	return LT_EFULL;
}

static void wait_for(struct load_source *s)
{
	struct load_connection *c = &s->path->connections[s->connection];

	s->next = NULL;
	*c->last = s;
	c->last = &s->next;
}

static void pump(void *arg)
{
	struct load_run *r = arg;
	int64_t now_ns = lt_mono_ns();
	unsigned n = 0;

	if (!r->started || r->stopping)
		return;
	if (all_issued(r, now_ns)) {
		stop_issuing(r);
		return;
	}
	while (r->n_heap && r->heap[0]->due_ns <= now_ns && n++ < SEND_MAX) {
		struct load_source *s = heap_take(r);
		struct load_connection *c = &s->path->connections[s->connection];

		if (all_issued(r, now_ns)) {
			stop_issuing(r);
			return;
		}
		/* Who waits already goes first. */
		if (!c->first && issue(r, s, now_ns) == LT_OK)
			schedule(r, s, now_ns);
		else
			wait_for(s);
		if (r->stopping)
			return;
	}
	if (r->n_heap)
		lt_timer_start_ns(&r->again, r->heap[0]->due_ns - now_ns);
}

/* Those that wait for their own window stay; the others are sent in their order. */
void load_run_writable(struct load_connection *c)
{
	struct load_run *r = c->path->run;
	struct load_source *list = c->first;
	int64_t now_ns = lt_mono_ns();

	c->first = NULL;
	c->last = &c->first;
	while (list) {
		struct load_source *s = list;

		list = s->next;
		if (!r->stopping && !all_issued(r, now_ns) && !c->first &&
			issue(r, s, now_ns) == LT_OK)
			schedule(r, s, now_ns);
		else if (!r->stopping)
			wait_for(s);
	}
	pump(r);
}

/* ---- what was lost on the way is sent again ---- */

static unsigned resend(struct load_run *r, struct load_source *s, int64_t now_ns, unsigned most)
{
	unsigned n = 0;

	for (uint64_t seq = s->oldest; seq <= s->seq && n < most; seq++) {
		struct load_sent *sent = load_sent(s, seq);
		struct lt_err err;

		if (sent->acknowledged || now_ns - sent->sent_ns < r->plan->resend_ns)
			continue;
		if (load_path_send(s, seq, true, &err) != LT_OK)
			return most;
		n++;
	}
	return n;
}

static void check_lost(struct load_run *r, int64_t now_ns)
{
	unsigned left = RESEND_MAX;

	for (uint32_t i = 0; i < CHECK_MAX && i < r->plan->sources && left > 0; i++) {
		struct load_source *s = &r->sources[r->check_at];

		r->check_at = (r->check_at + 1) % r->plan->sources;
		if (s->oldest <= s->seq) {
			unsigned n = resend(r, s, now_ns, left);

			left -= n < left ? n : left;
		}
	}
}

static void retry_waiting(struct load_run *r)
{
	for (size_t p = 0; p < r->plan->n_paths; p++)
		for (unsigned i = 0; i < r->plan->paths[p].n_connections; i++)
			if (r->plan->paths[p].connections[i].first)
				load_run_writable(&r->plan->paths[p].connections[i]);
}

static void on_tick(void *arg)
{
	struct load_run *r = arg;
	int64_t now_ns = lt_mono_ns();

	lt_timer_start_ns(&r->tick, TICK_NS);
	if (!r->started) {
		if (now_ns - r->began_ns > CONNECT_NS) {
			cli_notice("no connection within %d s", (int)(CONNECT_NS / LT_NS_PER_S));
			r->code = LT_EXIT_FAILURE;
			finish(r);
		}
		return;
	}
	pump(r);
	/* Windows open by acknowledgements, which no writable() announces. */
	retry_waiting(r);
	check_lost(r, now_ns);
	load_progress(r, now_ns);
	if (!r->stopping)
		return;
	if (r->under_way == 0 && reported(r)) {
		finish(r);
	} else if (now_ns - r->ended_ns > r->plan->drain_ns && r->under_way == 0) {
		finish(r);
	} else if (now_ns - r->ended_ns > r->plan->drain_ns) {
		cli_notice("%" PRIu64 " events are not acknowledged after %.3g s; %s", r->under_way,
			(double)r->plan->drain_ns / 1e9,
			r->plan->paths[0].store_acks
				? "does latido-store (or latido-bridge) run? --ack broker does not "
				  "wait for it"
				: "does the broker answer?");
		r->code = LT_EXIT_FAILURE;
		finish(r);
	}
}

/* ---- life ---- */

static void begin(struct load_run *r)
{
	const struct load_plan *p = r->plan;
	int64_t now_ns = lt_mono_ns();
	int64_t spread_ns = (p->interval_min_ns + p->interval_max_ns) / 2;

	r->started = true;
	r->began_ns = r->rate_ns = now_ns;
	for (uint32_t i = 0; i < p->sources; i++) {
		/* Spread over one interval, as nodes that were started at any time. */
		r->sources[i].due_ns = now_ns + (int64_t)((double)spread_ns * i / p->sources);
		heap_put(r, &r->sources[i]);
	}
	pump(r);
}

void load_run_state(struct load_run *r)
{
	if (r->started)
		return;
	for (size_t p = 0; p < r->plan->n_paths; p++)
		if (!load_path_up(&r->plan->paths[p]))
			return;
	begin(r);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct load_run *r = arg;

	(void)sig;
	(void)what;
	if (r->interrupted || !r->started) {
		r->code = LT_EXIT_KILLED;
		finish(r);
	}
	r->interrupted = true;
	stop_issuing(r);
}

static int prepare(struct load_run *r, struct lt_err *err)
{
	static const int signals[] = {SIGINT, SIGTERM};
	struct load_plan *plan = r->plan;
	int rc;

	lt_timer_init(&r->tick, &r->loop, on_tick, r);
	lt_timer_init(&r->again, &r->loop, pump, r);
	for (size_t i = 0; i < LT_ARRAY_LEN(signals); i++) {
		r->signals[i] = evsignal_new(r->loop.base, signals[i], on_signal, r);
		event_add(r->signals[i], NULL);
	}
	if (plan->sim)
		r->values = lt_malloc(8 * (size_t)load_sim_shape(plan->sim)->n_series);
	rc = load_sources_make(r, err);
	r->began_ns = lt_mono_ns();
	for (size_t i = 0; rc == LT_OK && i < plan->n_paths; i++)
		rc = load_path_open(&plan->paths[i], r, plan->connections, err);
	return rc;
}

int load_run(struct load_plan *plan)
{
	struct load_run *r = lt_calloc(1, sizeof(*r));
	struct lt_err err = {0};
	int code;

	r->plan = plan;
	r->rng = plan->seed * 2 + 1;
	r->tty = isatty(STDERR_FILENO);
	/* The bus logs what it does; here only what a person at a terminal has to know. */
	lt_log_setup("load", LT_ERROR, LT_LOG_LOGFMT);
	if (lt_loop_init(&r->loop, &err) != LT_OK || prepare(r, &err) != LT_OK) {
		cli_notice("%s", err.msg);
		r->code = lt_exit_code(&err);
	} else {
		lt_timer_start_ns(&r->tick, TICK_NS);
		lt_loop_run(&r->loop);
		if (r->started && load_report(r) != LT_OK)
			r->code = LT_EXIT_FAILURE;
	}
	for (size_t i = 0; i < plan->n_paths; i++)
		load_path_fini(&plan->paths[i]);
	for (size_t i = 0; i < LT_ARRAY_LEN(r->signals); i++)
		if (r->signals[i])
			event_free(r->signals[i]);
	lt_timer_fini(&r->tick);
	lt_timer_fini(&r->again);
	load_sources_free(r);
	lt_buf_fini(&r->wire);
	lt_buf_fini(&r->topic);
	free(r->values);
	lt_loop_fini(&r->loop);
	code = r->code;
	free(r);
	return code;
}
