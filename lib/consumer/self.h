/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONSUMER_SELF_H
#define LATIDO_CONSUMER_SELF_H

#include "latido/bus.h"
#include "latido/config.h"

/*
 * The consumer's own counters and gauges as events on the bus (bus.self_interval). They have no
 * number: one that is not sent is missed by nobody, the next one says as much.
 */
struct lt_self;

/**
 * lt_self_new() - publish on @bus from lt_self_connected() on; loop thread
 * @comp: the source is "<comp>.<host name>".
 * @bus, @conf: borrowed.
 * Return: NULL when conf->bus.self_interval_ms is 0; all functions here take that.
 */
struct lt_self *lt_self_new(
	const char *comp, const struct lt_config *conf, struct lt_bus *bus, struct lt_loop *loop);
void lt_self_connected(struct lt_self *s, bool connected);
/** lt_self_writable() - the bus takes publishes again: what it had not taken, with newer values. */
void lt_self_writable(struct lt_self *s);
/** lt_self_stop() - nothing more from now on (draining). */
void lt_self_stop(struct lt_self *s);
void lt_self_free(struct lt_self *s);

#endif
