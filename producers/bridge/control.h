/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BRIDGE_CONTROL_H
#define LATIDO_BRIDGE_CONTROL_H

#include "have.h"
#include "latido/bus.h"

/*
 * The bridge's second MQTT session: acknowledgements out and in. It is not durable and carries no
 * events, so what is retained arrives at once however many events wait in the first one.
 *
 * On <prefix>/bridges/<name>/status the bridge retains that it is there. This message comes back
 * behind all retained acknowledgements: when it does, they have been read.
 */

struct lt_control;

struct lt_control_options {
	const struct lt_bus_conf *conf; /* url and client_id are those of this session; borrowed */
	const char *name;               /* of this bridge, one topic level */
	struct lt_have *have;
	struct lt_loop *loop;
	void *arg;
	void (*state)(void *arg, bool connected, const struct lt_err *err);
	void (*progress)(void *arg); /* something was published, or may be now */
};

struct lt_control *lt_control_new(const struct lt_control_options *opt, struct lt_err *err);
int lt_control_open(struct lt_control *c, struct lt_err *err) LT_MUST_CHECK;
/** lt_control_flush() - publish what is due; @all: at once, whatever it costs (draining). */
void lt_control_flush(struct lt_control *c, bool all);
/** lt_control_earn() - a message was taken: acknowledgements are a share of that. */
void lt_control_earn(struct lt_control *c);
/** lt_control_leave() - say that this bridge is going. */
void lt_control_leave(struct lt_control *c);
/** lt_control_idle() - nothing is due or under way, or nothing can be done about it. */
bool lt_control_idle(const struct lt_control *c);
void lt_control_stats(struct lt_control *c);
void lt_control_free(struct lt_control *c);

#endif
