/* SPDX-License-Identifier: MIT */
#include "consumer_int.h"

#include <stdlib.h>
#include <string.h>

#include "figures.h"
#include "latido/clock.h"
#include "latido/daemon.h"
#include "latido/deadletter.h"
#include "latido/inbox.h"
#include "latido/log.h"
#include "latido/outbox.h"

#define POLL_MAX      64  /* messages a call of lt_bus_poll() */
#define POLL_BUDGET   512 /* messages a turn of the loop, so that timers and jobs get theirs */
#define RETRY_BASE_MS 100
#define RETRY_CAP_MS  5000

static int64_t put_started_ns;

static void pump(struct lt_consumer *c);

/* ---- messages in ---- */

void consumer_reject(
	struct lt_consumer *c, struct lt_bus_msg *m, enum lt_reason reason, const char *error)
{
	lt_deadletters_add(&c->letters, m, reason, error);
}

/* Since when @m waits: our own figures have come by the way that we know both ends of. */
static int64_t waits_since(struct lt_consumer *c, const struct lt_bus_msg *m,
	const struct lt_origin *origin, const struct lt_event *first)
{
	if (!origin->device && !first->seq && first->has_time &&
		lt_self_is(c->self, origin->source) && lt_lag_came(&c->lag, first->time_ns))
		return first->time_ns;
	return m->since_ns;
}

/* Decodes @m into the batch; @m belongs to the batch, the parking or the dead letters afterwards. */
void consumer_decode(
	struct lt_consumer *c, struct lt_bus_msg *m, const struct lt_origin *origin, bool may_park)
{
	enum lt_reason reason = LT_REASON_DECODE;
	struct lt_arena_mark mark = lt_arena_mark(&c->filling->arena);
	struct lt_event *first = NULL;
	struct lt_err err = {0};
	uint64_t hash = 0;
	int rc;

	rc = lt_decode(c->shapes, &c->limits, origin, m->data, m->size, &c->filling->arena, &first,
		&reason, &hash, &err);
	if (rc < 0) /* a stream of bad messages must not fill the arena */
		lt_arena_rewind(&c->filling->arena, mark);
	if (rc == LT_ESHAPE) {
		if (may_park && lt_parking_add(&c->parking, m, origin, hash)) {
			lt_counter_add(&lt_consumer_figures.parked, 1);
			consumer_schedule_park(c);
		} else {
			consumer_reject(c, m, LT_REASON_UNKNOWN_SHAPE,
				"the announced shape is not known and the waiting list is full");
		}
		return;
	}
	if (rc < 0) {
		consumer_reject(c, m, reason, err.msg);
		return;
	}
	for (const struct lt_event *e = first; e; e = e->next) {
		lt_counter_add(&lt_consumer_figures.events, 1);
		lt_counter_add(&lt_consumer_figures.values, e->n);
	}
	if (!first) { /* a valid message without an event (an empty JSON list) */
		lt_bus_done(c->bus, m);
		return;
	}
	lt_fill_add(c->filling, first, m, waits_since(c, m, origin, first));
	if (c->parking.n && may_park)
		consumer_unpark(c, origin->source, first->shape->hash);
}

static void take(struct lt_consumer *c, struct lt_bus_msg *m)
{
	struct lt_origin origin;
	struct lt_err err = {0};

	lt_counter_add(&lt_consumer_figures.messages, 1);
	lt_counter_add(&lt_consumer_figures.bytes, m->size);
	if (c->positions && !lt_spans_take(&c->seen, c->filling, m)) {
		lt_bus_done(c->bus, m);
		return;
	}
	lt_outbox_earn(c->outbox, 1);
	if (lt_origin_from_topic(&origin, c->opt.conf->bus.prefix, m->topic, &err) < 0) {
		consumer_reject(c, m, LT_REASON_SOURCE_MISMATCH, err.msg);
		return;
	}
	origin.arrived_ns = m->arrived_ns;
	origin.content_type = m->content_type;
	consumer_decode(c, m, &origin, true);
}

static bool has_room(const struct lt_consumer *c)
{
	return c->filling->batch.n < (size_t)c->opt.batch->max_events &&
	       c->filling->bytes < (size_t)c->opt.batch->max_bytes;
}

/* Messages that wait for the sink's answer hold up the rest: a backlog of them would else be
 * refused in the moment that the answer takes. */
static bool may_read(const struct lt_consumer *c)
{
	return has_room(c) && !c->parking.n_due;
}

static void fill_from_bus(struct lt_consumer *c)
{
	struct lt_bus_msg *msgs[POLL_MAX];
	size_t budget = POLL_BUDGET;
	struct lt_bus_msg *kept;

	c->bus_empty = false;
	/* First what an earlier life had received and not processed. */
	while (c->inbox && budget && !c->draining && has_room(c) &&
		(kept = lt_inbox_next(c->inbox))) {
		take(c, kept);
		budget--;
	}
	while (budget && may_read(c)) {
		size_t room = (size_t)c->opt.batch->max_events - c->filling->batch.n;
		size_t want = budget < POLL_MAX ? budget : POLL_MAX;
		size_t n = lt_bus_poll(c->bus, msgs, room < want ? room : want);

		if (n == 0) {
			c->bus_empty = true;
			return;
		}
		for (size_t i = 0; i < n; i++)
			take(c, msgs[i]);
		budget -= n;
	}
}

/* ---- batches out ---- */

static bool batch_due(const struct lt_consumer *c)
{
	const struct lt_fill *f = c->filling;

	if (lt_fill_empty(f))
		return false;
	/* A position moves past a message only when that is stored or its dead letter is. */
	if (c->positions && !(lt_deadletters_empty(&c->letters) && c->parking.n == 0))
		return false;
	return c->draining || !has_room(c) ||
	       lt_mono_ns() - f->oldest_mono_ns >= c->opt.batch->linger_ms * LT_NS_PER_MS;
}

static void put(struct lt_consumer *c)
{
	put_started_ns = lt_mono_ns();
	lt_gauge_set(&lt_consumer_figures.putting, (int64_t)c->putting->batch.n);
	lt_sink_thread_submit(&c->thread, LT_JOB_PUT, &c->putting->batch, 0);
}

static bool work_left(const struct lt_consumer *c)
{
	return c->putting || !lt_fill_empty(c->filling) || !c->bus_empty || c->parking.n;
}

/* Gives the idle sink its next job, the most urgent first. */
static void next_job(struct lt_consumer *c)
{
	struct lt_parked *p;

	if (c->ended || lt_sink_thread_busy(&c->thread))
		return;
	if (c->draining && !work_left(c) && !c->open) {
		c->flushed = true; /* deferred writes of a sink that is away are not waited for */
		return;
	}
	if (lt_timer_pending(&c->retry))
		return;
	if (!c->open) {
		lt_sink_thread_submit(&c->thread, LT_JOB_OPEN, NULL, 0);
	} else if (c->unplaced.n) {
		struct lt_spans idle = c->asked;

		c->asked = c->unplaced;
		c->unplaced = idle;
		c->unplaced.n = 0;
		lt_sink_thread_ask(&c->thread, c->asked.items, c->asked.n);
	} else if (c->putting) {
		if (!c->positions || lt_deadletters_empty(&c->letters))
			put(c);
	} else if (c->parking.n_due && (p = lt_parking_unasked(&c->parking))) {
		uint64_t hash = p->hash;

		strcpy(c->asked_source, p->origin.source);
		c->asked_device = p->origin.device;
		lt_parking_set(&c->parking, c->asked_source, hash, LT_PARK_ASKED);
		lt_sink_thread_submit(&c->thread, LT_JOB_FIND_SHAPE, NULL, hash);
	} else if (batch_due(c)) {
		c->putting = c->filling;
		c->filling = &c->fills[c->putting == &c->fills[0]];
		put(c);
	} else if (c->tick_due) {
		c->tick_due = false;
		lt_sink_thread_submit(&c->thread, LT_JOB_TICK, NULL, 0);
	} else if (c->draining && !work_left(c) && !c->flushed) {
		lt_sink_thread_submit(&c->thread, LT_JOB_FLUSH, NULL, 0);
	}
}

static void end_drain(struct lt_consumer *c, bool complete)
{
	if (c->ended)
		return;
	c->ended = true;
	if (!complete)
		lt_log(LT_ERROR, "drain_incomplete",
			LT_U("events", c->filling->batch.n +
					       (c->putting ? c->putting->batch.n : 0) +
					       c->parking.n),
			LT_S("deadletters", lt_deadletters_empty(&c->letters) ? "sent" : "unsent"));
	lt_outbox_flush(c->outbox, true);
	c->opt.drained(c->opt.arg, complete);
}

static void pump(struct lt_consumer *c)
{
	int64_t linger_ns;

	if (c->ended)
		return;
	fill_from_bus(c);
	if (c->draining && c->bus_empty) /* no announcement can come any more */
		consumer_expire_parked(c, INT64_MAX);
	next_job(c);
	/* next_job() may have swapped the batches and so made room. */
	if (!c->bus_empty && may_read(c))
		lt_timer_start_ns(&c->more, 0);
	linger_ns =
		c->filling->oldest_mono_ns + c->opt.batch->linger_ms * LT_NS_PER_MS - lt_mono_ns();
	/* Not when it is over and something else than time is waited for. */
	if (!lt_fill_empty(c->filling) && linger_ns > 0 && !batch_due(c) &&
		!lt_timer_pending(&c->linger))
		lt_timer_start_ns(&c->linger, linger_ns);
	lt_gauge_set(&lt_consumer_figures.filling, (int64_t)c->filling->batch.n);
	lt_gauge_set(&lt_consumer_figures.parking, (int64_t)c->parking.n);
	lt_gauge_set(&lt_consumer_figures.letters, (int64_t)c->letters.n);
	if (c->draining && c->flushed && !work_left(c) && lt_deadletters_empty(&c->letters) &&
		!lt_sink_thread_busy(&c->thread) &&
		(!c->opt.finished || c->opt.finished(c->opt.arg)))
		end_drain(c, true);
}

/* ---- answers of the sink ---- */

void consumer_sink_failed(struct lt_consumer *c, const struct lt_err *err)
{
	int64_t wait_ms;

	if (err->cls != LT_CLS_RETRY) {
		c->ended = true;
		c->opt.failed(c->opt.arg, err);
		return;
	}
	wait_ms = lt_backoff_next_ms(&c->backoff);
	lt_counter_add(&lt_consumer_figures.retries, 1);
	lt_complain(&c->sink_complaint, LT_WARN, "sink_retry", LT_S("sink", c->sink->ops->name),
		LT_S("op", err->op), LT_I("wait_ms", wait_ms), LT_S("err", err->msg));
	lt_ready_set(c->sink->ops->name, false, err->msg);
	c->open = false;
	lt_timer_start_ns(&c->retry, wait_ms * LT_NS_PER_MS);
}

static void sink_works(struct lt_consumer *c)
{
	lt_backoff_reset(&c->backoff);
	lt_release(&c->sink_complaint, "sink_recovered", LT_S("sink", c->sink->ops->name));
}

/* Nothing of what is held was stored, and reading went on behind the sink's positions: all that is
 * held is dropped, and read again from there. Dead letters are sent all the same. */
static void read_again(struct lt_consumer *c, const struct lt_err *err)
{
	struct lt_parked *p;

	lt_counter_add(&lt_consumer_figures.rereads, 1);
	lt_log(LT_WARN, "read_again", LT_S("sink", c->sink->ops->name),
		LT_U("partitions", c->seen.n), LT_S("err", err->msg));
	lt_fill_clear(c->putting, c->bus);
	lt_fill_clear(c->filling, c->bus);
	c->putting = NULL;
	lt_gauge_set(&lt_consumer_figures.putting, 0);
	while ((p = lt_parking_take(&c->parking, NULL, 0))) {
		lt_bus_done(c->bus, p->msg);
		free(p);
	}
	lt_bus_unread(c->bus, c->seen.items, c->seen.n);
	for (size_t i = 0; i < c->seen.n; i++)
		if (!lt_spans_find(&c->unplaced, &c->seen.items[i]))
			lt_spans_add(&c->unplaced, &c->seen.items[i]);
	c->seen.n = 0;
}

static void put_done(struct lt_consumer *c, const struct lt_job *job)
{
	struct lt_bus_msg *m;

	if (job->rc < 0 && job->err.cls == LT_CLS_POISON && job->bad < c->putting->batch.n) {
		m = lt_fill_poison(c->putting, job->bad);
		if (m)
			consumer_reject(c, m, LT_REASON_CONFLICT, job->err.msg);
		if (!lt_fill_empty(c->putting))
			return; /* the rest is put again */
	} else if (job->rc < 0) {
		if (job->rc == LT_ECONFLICT && c->positions)
			read_again(c, &job->err);
		consumer_sink_failed(c, &job->err);
		return;
	} else {
		lt_counter_add(&lt_consumer_figures.batches, 1);
		lt_hist_add(&lt_consumer_figures.put_seconds, lt_mono_ns() - put_started_ns);
		lt_lag_done(&c->lag, c->putting->since_ns, lt_wall_ns(), lt_mono_ns());
		sink_works(c);
	}
	lt_fill_clear(c->putting, c->bus);
	c->putting = NULL;
	lt_gauge_set(&lt_consumer_figures.putting, 0);
}

static void schedule_tick(struct lt_consumer *c, const struct lt_job *job)
{
	if (job->tick_ns < 0)
		consumer_sink_failed(c, &job->tick_err);
	else if (job->tick_ns < INT64_MAX)
		lt_timer_start_ns(&c->tick, job->tick_ns);
	else
		lt_timer_stop(&c->tick);
}

static void on_job(void *arg, struct lt_job *job)
{
	struct lt_consumer *c = arg;

	if (c->ended)
		return;
	switch (job->type) {
	case LT_JOB_OPEN:
		if (job->rc < 0) {
			consumer_sink_failed(c, &job->err);
			break;
		}
		c->open = true;
		lt_ready_set(c->sink->ops->name, true, NULL);
		if (!c->putting)
			sink_works(c); /* else the put that failed has to succeed first */
		break;
	case LT_JOB_PUT:
		put_done(c, job);
		break;
	case LT_JOB_FIND_SHAPE:
		consumer_shape_answered(c, job);
		break;
	case LT_JOB_TICK:
		break;
	case LT_JOB_POSITIONS:
		if (job->rc < 0) {
			for (size_t i = 0; i < job->n_parts; i++)
				lt_spans_add(&c->unplaced, &job->parts[i]);
			consumer_sink_failed(c, &job->err);
			break;
		}
		lt_spans_seek(&c->seen, c->filling, c->putting, job->parts, job->n_parts);
		lt_bus_seek(c->bus, job->parts, job->n_parts);
		break;
	case LT_JOB_FLUSH:
		if (job->rc < 0)
			consumer_sink_failed(c, &job->err);
		else
			c->flushed = true;
		break;
	}
	if (job->rc == LT_OK && job->type != LT_JOB_FIND_SHAPE && job->type != LT_JOB_FLUSH &&
		job->type != LT_JOB_POSITIONS)
		schedule_tick(c, job);
	pump(c);
}

/* ---- timers ---- */

static void on_pump(void *arg)
{
	pump(arg);
}

static void on_tick(void *arg)
{
	struct lt_consumer *c = arg;

	c->tick_due = true;
	pump(c);
}

static void on_park(void *arg)
{
	struct lt_consumer *c = arg;

	consumer_expire_parked(c, lt_mono_ns());
	consumer_schedule_park(c);
	pump(c);
}

static void on_drain_limit(void *arg)
{
	end_drain(arg, false);
}

/* ---- the bus ---- */

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct lt_consumer *c = arg;
	const char *name = lt_bus_name(c->bus);

	lt_ready_set(name, connected, err ? err->msg : "not connected");
	if (connected) {
		lt_release(&c->bus_complaint, "bus_recovered", LT_S("bus", name));
		lt_log(LT_INFO, "bus_connected", LT_S("url", c->opt.conf->bus.url),
			LT_S("session", resumed ? "resumed" : "new"));
		lt_deadletters_send(&c->letters);
		if (!resumed) {
			lt_outbox_forgotten(c->outbox);
			lt_lag_lost(&c->lag);
		}
	} else {
		lt_complain(&c->bus_complaint,
			err && err->cls == LT_CLS_CONFIG ? LT_ERROR : LT_WARN, "bus_unavailable",
			LT_S("url", c->opt.conf->bus.url), LT_S("err", err ? err->msg : NULL));
	}
	lt_self_connected(c->self, connected);
	if (connected)
		lt_broker_start(c->broker);
	if (c->opt.bus_state)
		c->opt.bus_state(c->opt.arg, connected, resumed);
	if (c->draining)
		pump(c);
}

static void self_sent(void *arg, int64_t time_ns)
{
	lt_lag_sent(&((struct lt_consumer *)arg)->lag, time_ns);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return !a || (b && b < a) ? b : a;
}

/* For /metrics. */
static int64_t lag_ns(void *arg)
{
	const struct lt_consumer *c = arg;
	int64_t since = earlier(c->putting ? c->putting->since_ns : 0, c->filling->since_ns);

	if (c->parking.head)
		since = earlier(since, c->parking.head->msg->since_ns);
	return lt_lag_ns(&c->lag, since, lt_wall_ns(), lt_mono_ns());
}

static void inbox_ready(void *arg)
{
	lt_waker_wake(&((struct lt_consumer *)arg)->inbox_waker);
}

static void on_writable(void *arg)
{
	struct lt_consumer *c = arg;

	/* First: it is one an interval, and the others may take all the room. */
	lt_self_writable(c->self);
	lt_deadletters_send(&c->letters);
	lt_outbox_flush(c->outbox, false);
	if (c->opt.writable)
		c->opt.writable(c->opt.arg);
	if (c->draining)
		pump(c);
}

static void on_delivered(void *arg, uint64_t token, int code, const struct lt_err *err)
{
	struct lt_consumer *c = arg;

	if (token == LT_SELF_TOKEN && code != LT_OK)
		lt_lag_lost(&c->lag);
	lt_deadletters_delivered(&c->letters, token, code, err);
	pump(c);
}

static void on_assigned(void *arg, const struct lt_bus_span *parts, size_t n)
{
	struct lt_consumer *c = arg;

	for (size_t i = 0; i < n; i++)
		lt_spans_add(&c->unplaced, &parts[i]);
	pump(c);
}

static void on_lost(void *arg, const struct lt_bus_span *gap)
{
	struct lt_consumer *c = arg;

	if (c->positions)
		lt_spans_lost(&c->seen, c->filling, gap);
	pump(c);
}

/* ---- life ---- */

struct lt_consumer *lt_consumer_new(
	const struct lt_consumer_options *opt, struct lt_loop *loop, struct lt_err *err)
{
	const struct lt_config *conf = opt->conf;
	struct lt_consumer *c = lt_calloc(1, sizeof(*c));
	struct lt_bus_handler handler = {.arg = c,
		.state = on_state,
		.readable = on_pump,
		.writable = on_writable,
		.delivered = on_delivered};
	struct lt_bus_options bus = {.comp = opt->client ? opt->client : opt->comp,
		.durable = !opt->everything,
		.since_ns = opt->since_ns,
		.no_retained = true,
		.publishes = opt->publishes,
		.topics = (const char *const *)c->topics,
		.n_topics = opt->backlog ? 3 : 2};

	if (opt->sink->positions)
		handler.assigned = on_assigned;
	handler.lost = on_lost;
	c->opt = *opt;
	c->loop = loop;
	lt_fill_init(&c->fills[0]);
	lt_fill_init(&c->fills[1]);
	c->filling = &c->fills[0];
	lt_parking_init(&c->parking, opt->sink->find_shape != NULL);
	lt_backoff_init(&c->backoff, RETRY_BASE_MS, RETRY_CAP_MS);
	c->limits.max_bytes = (size_t)conf->limits.max_bytes;
	c->limits.max_series = (uint32_t)conf->limits.max_series;
	c->shapes = lt_shapes_new((size_t)conf->limits.shape_cache_bytes, c->limits.max_series);
	c->topics[0] = lt_asprintf("%s/nodes/+/metrics", conf->bus.prefix);
	c->topics[1] = lt_asprintf("%s/devices/+/metrics/#", conf->bus.prefix);
	c->topics[2] = lt_asprintf("%s/nodes/+/backlog", conf->bus.prefix);
	lt_timer_init(&c->more, loop, on_pump, c);
	lt_timer_init(&c->linger, loop, on_pump, c);
	lt_timer_init(&c->retry, loop, on_pump, c);
	lt_timer_init(&c->tick, loop, on_tick, c);
	lt_timer_init(&c->park, loop, on_park, c);
	lt_timer_init(&c->drain_limit, loop, on_drain_limit, c);

	c->sink = lt_calloc(1, opt->sink->size);
	c->sink->ops = opt->sink;
	c->outbox = lt_outbox_new(loop);
	c->sink->outbox = c->outbox;
	if (c->sink->ops->init(c->sink, conf, err) < 0)
		goto fail;
	if (opt->inbox_dir && *opt->inbox_dir) {
		if (lt_waker_init(&c->inbox_waker, loop, on_pump, c, err) < 0)
			goto fail;
		c->inbox = lt_inbox_devices(opt->inbox_dir, opt->inbox_max_bytes, conf->bus.prefix,
			inbox_ready, c, err);
		if (!c->inbox)
			goto fail;
		lt_inbox_stats(c->inbox);
		bus.keep = lt_inbox_keep(c->inbox);
	}
	c->bus = lt_bus_new(&conf->bus, &bus, &handler, loop, err);
	if (!c->bus)
		goto fail;
	c->positions = opt->sink->positions && (lt_bus_caps(c->bus) & LT_BUS_PARTITIONS);
	lt_deadletters_init(&c->letters, c->bus, conf->bus.prefix, opt->comp,
		lt_consumer_figures.rejected, &lt_consumer_figures.refused_letters);
	if (lt_bus_caps(c->bus) & LT_BUS_RETAIN)
		lt_outbox_bus(c->outbox, c->bus);
	else
		c->sink->outbox = NULL; /* who published there has the bus's word */
	lt_outbox_stats(c->outbox);
	lt_consumer_figures_add(c->shapes, lag_ns, c);
	lt_lag_init(&c->lag, conf->bus.self_interval_ms,
		opt->everything || !(lt_bus_caps(c->bus) & LT_BUS_PARTITIONS));
	c->self = lt_self_new(opt->comp, conf, c->bus, loop, &lt_consumer_figures.self);
	lt_self_told(c->self, self_sent, c);
	c->broker = lt_broker_new(bus.comp, &conf->bus, loop);
	return c;
fail:
	lt_consumer_free(c);
	return NULL;
}

int lt_consumer_start(struct lt_consumer *c, struct lt_err *err)
{
	int rc;

	lt_ready_set(lt_bus_name(c->bus), false, "connecting");
	lt_ready_set(c->sink->ops->name, false, "connecting");
	rc = lt_sink_thread_start(&c->thread, c->sink, c->loop, on_job, c, err);
	if (rc < 0)
		return rc;
	next_job(c); /* opens the sink */
	return lt_bus_open(c->bus, err);
}

void lt_consumer_drain(struct lt_consumer *c)
{
	c->draining = true;
	lt_timer_start_ns(&c->drain_limit, c->opt.drain_timeout_ms * LT_NS_PER_MS);
	lt_self_stop(c->self);
	lt_bus_stop_reading(c->bus);
	pump(c);
}

void lt_consumer_free(struct lt_consumer *c)
{
	struct lt_parked *p;

	if (!c)
		return;
	c->ended = true;
	if (c->inbox)
		lt_inbox_freeze(c->inbox);
	lt_sink_thread_stop(&c->thread);
	if (c->bus) {
		while ((p = lt_parking_take(&c->parking, NULL, 0))) {
			lt_bus_done(c->bus, p->msg);
			free(p);
		}
		lt_deadletters_fini(&c->letters);
	}
	lt_spans_fini(&c->seen);
	lt_spans_fini(&c->unplaced);
	lt_spans_fini(&c->asked);
	lt_fill_fini(&c->fills[0], c->bus);
	lt_fill_fini(&c->fills[1], c->bus);
	if (c->outbox)
		lt_outbox_bus(c->outbox, NULL);
	lt_self_free(c->self);
	lt_broker_free(c->broker);
	lt_bus_free(c->bus);
	if (c->sink)
		c->sink->ops->fini(c->sink);
	free(c->sink);
	lt_inbox_free(c->inbox);
	lt_waker_fini(&c->inbox_waker);
	lt_outbox_free(c->outbox);
	lt_consumer_figures_gone(c->shapes);
	lt_shapes_free(c->shapes);
	lt_timer_fini(&c->more);
	lt_timer_fini(&c->linger);
	lt_timer_fini(&c->retry);
	lt_timer_fini(&c->tick);
	lt_timer_fini(&c->park);
	lt_timer_fini(&c->drain_limit);
	for (size_t i = 0; i < LT_ARRAY_LEN(c->topics); i++)
		free(c->topics[i]);
	free(c);
}

struct lt_sink *lt_consumer_sink(struct lt_consumer *c)
{
	return c->sink;
}

struct lt_bus *lt_consumer_bus(struct lt_consumer *c)
{
	return c->bus;
}
