/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "consumer_int.h"

/* Messages whose announced shape is not known: parked, asked for, given up. */

void consumer_schedule_park(struct lt_consumer *c)
{
	int64_t deadline_ns;

	if (lt_timer_pending(&c->park))
		return;
	deadline_ns = lt_parking_next_deadline(&c->parking);
	if (deadline_ns < INT64_MAX)
		lt_timer_start_ns(&c->park, deadline_ns - lt_mono_ns());
}

void consumer_unpark(struct lt_consumer *c, const char *source, uint64_t hash)
{
	struct lt_parked *p;

	while ((p = lt_parking_take(&c->parking, source, hash))) {
		consumer_decode(c, p->msg, &p->origin, false);
		free(p);
	}
}

/* The store, which agents listen to, asks an agent; everybody hears the answer. */
static void need_shape(struct lt_consumer *c, const char *source, bool device, uint64_t hash)
{
	if (c->opt.backlog && !device)
		lt_outbox_need_shape(c->outbox, c->opt.conf->bus.prefix, source, hash);
}

void consumer_expire_parked(struct lt_consumer *c, int64_t mono_ns)
{
	struct lt_parked *p;

	while ((p = lt_parking_expired(&c->parking, mono_ns))) {
		consumer_reject(c, p->msg, LT_REASON_UNKNOWN_SHAPE,
			"the announced shape did not arrive in time");
		if (p->asks)
			need_shape(c, p->origin.source, p->origin.device, p->hash);
		free(p);
	}
}

static void shape_found(struct lt_consumer *c, const struct lt_job *job)
{
	struct lt_err err = {0};
	struct lt_shape *s;

	s = lt_shapes_intern(c->shapes, job->bytes.data, job->bytes.len, &err);
	if (!s || s->hash != job->hash) {
		lt_log(LT_ERROR, "stored_shape_damaged", LT_S("sink", c->sink->ops->name),
			LT_S("err", s ? "its hash differs" : err.msg));
		lt_shape_put(s);
		return;
	}
	lt_shapes_announce(c->shapes, c->asked_source, s);
	consumer_unpark(c, c->asked_source, job->hash);
	lt_shape_put(s);
}

void consumer_shape_answered(struct lt_consumer *c, const struct lt_job *job)
{
	if (job->rc == LT_OK)
		shape_found(c, job);
	else if (job->rc == LT_EAGAIN)
		need_shape(c, c->asked_source, c->asked_device, job->hash);
	/* Whoever still waits after that: the shape is unknown, damaged, or was not looked for. */
	lt_parking_set(&c->parking, c->asked_source, job->hash,
		job->rc == LT_OK || job->rc == LT_EAGAIN ? LT_PARK_UNKNOWN : LT_PARK_UNASKED);
	consumer_schedule_park(c);
	if (job->rc != LT_OK && job->rc != LT_EAGAIN)
		consumer_sink_failed(c, &job->err);
}
