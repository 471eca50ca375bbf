/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_SELF_H
#define LATIDO_SELF_H

#include "latido/bus.h"
#include "latido/config.h"
#include "latido/stats.h"

/*
 * A daemon's own counters and gauges as events on the bus (bus.self_interval). They have no
 * number: one that is not sent is missed by nobody, the next one says as much.
 */
struct lt_self;

#define LT_SELF_TOKEN UINT64_MAX /* of their delivery reports: nobody waits for them */

/** struct lt_self_figures - events that were published, and that the bus did not take */
struct lt_self_figures {
	struct lt_counter events, dropped;
};

/**
 * lt_self_new() - publish on @bus from lt_self_connected() on; loop thread
 * @comp: the source is "<comp>.<host name>".
 * @bus, @conf, @figures: borrowed.
 * Return: NULL when conf->bus.self_interval_ms is 0; all functions here take that.
 */
struct lt_self *lt_self_new(const char *comp, const struct lt_config *conf, struct lt_bus *bus,
	struct lt_loop *loop, struct lt_self_figures *figures);
void lt_self_connected(struct lt_self *s, bool connected);
/** lt_self_writable() - the bus takes publishes again: what it had not taken, with newer values. */
void lt_self_writable(struct lt_self *s);
/** lt_self_stop() - nothing more from now on (draining). */
void lt_self_stop(struct lt_self *s);
/** lt_self_told() - call @sent with the time of each event that the bus has taken. */
void lt_self_told(struct lt_self *s, void (*sent)(void *arg, int64_t time_ns), void *arg);
/** lt_self_is() - whether @source is the source of these events. */
bool lt_self_is(const struct lt_self *s, const char *source);
void lt_self_free(struct lt_self *s);

#endif
