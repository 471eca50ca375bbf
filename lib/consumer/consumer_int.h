/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONSUMER_INT_H
#define LATIDO_CONSUMER_INT_H

#include "batch.h"
#include "lag.h"
#include "latido/broker.h"
#include "latido/clock.h"
#include "latido/consumer.h"
#include "latido/deadletter.h"
#include "latido/inbox.h"
#include "latido/log.h"
#include "latido/outbox.h"
#include "latido/self.h"
#include "parking.h"
#include "sink_thread.h"
#include "spans.h"

/* consumer.c: the flow; consumer_shapes.c: messages whose announced shape is not known. */

struct lt_consumer {
	struct lt_consumer_options opt;
	struct lt_loop *loop;
	struct lt_bus *bus;
	char *topics[3];
	struct lt_sink *sink;
	struct lt_sink_thread thread;
	struct lt_shapes *shapes;
	struct lt_decode_limits limits;

	struct lt_fill fills[2];
	struct lt_fill *filling; /* the loop decodes into this one */
	struct lt_fill *putting; /* with the sink, or waiting for its retry; NULL: none */
	bool bus_empty;          /* the last poll returned nothing; readable() will come */
	struct lt_parking parking;
	char asked_source[LT_SOURCE_MAX + 1]; /* of the FIND_SHAPE job under way */
	bool asked_device;
	struct lt_deadletters letters;
	/* for sinks that keep their positions */
	bool positions;
	struct lt_spans seen;
	struct lt_spans unplaced; /* assigned, position not known yet */
	struct lt_spans asked;    /* of the POSITIONS job under way */
	struct lt_outbox *outbox;
	struct lt_self *self;     /* NULL = none */
	struct lt_broker *broker; /* NULL = none */
	struct lt_lag lag;
	struct lt_inbox *inbox; /* NULL = none */
	struct lt_waker inbox_waker;

	struct lt_timer more, linger, retry, tick, park, drain_limit;
	struct lt_backoff backoff;
	struct lt_complaint sink_complaint, bus_complaint;
	bool open, tick_due;
	bool draining, flushed, ended;
};

/* consumer.c */
void consumer_reject(
	struct lt_consumer *c, struct lt_bus_msg *m, enum lt_reason reason, const char *error);
/** consumer_decode() - @m belongs to the batch, the parking or the dead letters afterwards. */
void consumer_decode(
	struct lt_consumer *c, struct lt_bus_msg *m, const struct lt_origin *origin, bool may_park);
void consumer_sink_failed(struct lt_consumer *c, const struct lt_err *err);

/* consumer_shapes.c */
void consumer_schedule_park(struct lt_consumer *c);
void consumer_unpark(struct lt_consumer *c, const char *source, uint64_t hash);
void consumer_expire_parked(struct lt_consumer *c, int64_t mono_ns);
/** consumer_shape_answered() - the FIND_SHAPE job is done. */
void consumer_shape_answered(struct lt_consumer *c, const struct lt_job *job);

#endif
