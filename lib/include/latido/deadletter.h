/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_DEADLETTER_H
#define LATIDO_DEADLETTER_H

#include "latido/bus.h"
#include "latido/event.h"
#include "latido/log.h"
#include "latido/stats.h"

/*
 * Messages that cannot be processed go to <prefix>/deadletter/<consumer>: with headers as they are,
 * where the bus has headers (Kafka), else in a document (latido/letter.h).
 *
 * A message is given back to the bus only when its dead letter was accepted by the broker; until
 * then it counts against bus.queue_bytes, so a bus that takes no dead letters stops the reading
 * and nothing is dropped silently. That holds for a missing permission, too: the letters wait,
 * /readyz names it under "deadletters", and they leave by themselves when it was granted.
 */

#define LT_DEADLETTER_BODY_MAX (512 * 1024) /* bytes of the body that are kept */

struct lt_deadletters {
	struct lt_bus *bus;
	struct lt_bus *from; /* whose messages they are; the same unless set after init */
	/* the dead letter of @m is where it will not be lost; before @m is given back. May be NULL */
	void (*accepted)(void *arg, const struct lt_bus_msg *m);
	void *arg;
	const char *comp;
	char *topic;
	struct lt_deadletter *waiting, **waiting_tail; /* not yet taken by the bus */
	struct lt_deadletter *sent;                    /* delivery not yet reported */
	size_t n;                                      /* waiting and sent */
	uint64_t next_token;
	bool forbidden;        /* for want of permission: one is tried now and then */
	struct lt_timer again; /* when the next one is */
	struct lt_complaint forbids;
	struct lt_counter *by_reason; /* LT_REASON_MAX counters */
	struct lt_counter *refused;   /* dead letters that the broker refused for good */
	struct lt_complaint complaints[LT_REASON_MAX]; /* one reason must not hide another */
	struct lt_buf envelope;
};

void lt_deadletters_init(struct lt_deadletters *d, struct lt_bus *bus, const char *prefix,
	const char *comp, struct lt_counter *by_reason, struct lt_counter *refused);
/** lt_deadletters_add() - @m now belongs here; logged (damped), counted by reason. */
void lt_deadletters_add(
	struct lt_deadletters *d, struct lt_bus_msg *m, enum lt_reason reason, const char *error);
/** lt_deadletters_send() - publish what waits, as far as the bus takes it. */
void lt_deadletters_send(struct lt_deadletters *d);
/** lt_deadletters_delivered() - the bus's delivery report. Return: was the token one of ours? */
bool lt_deadletters_delivered(
	struct lt_deadletters *d, uint64_t token, int code, const struct lt_err *err);
bool lt_deadletters_empty(const struct lt_deadletters *d);
void lt_deadletters_fini(struct lt_deadletters *d);

#endif
