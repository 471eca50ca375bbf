/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BROKER_H
#define LATIDO_BROKER_H

#include "latido/config.h"
#include "latido/loop.h"

/*
 * What an MQTT broker says of its own queues: Mosquitto's $SYS topics, read by a connection beside
 * the one that they are about, because what is read through a queue comes after what waits in it.
 * Shown by /metrics as latido_broker_queued_messages and latido_broker_dropped_messages_total as
 * long as they are known. One of each a process; loop thread.
 */
struct lt_broker;

/**
 * lt_broker_new() - watch the broker of @conf from lt_broker_start() on
 * @comp: names the client unless bus.mqtt.client_id does; "-broker" is added.
 * @conf: borrowed.
 *
 * Return: NULL when it is no MQTT broker or bus.mqtt.broker_figures is false; all functions here
 * take that.
 */
struct lt_broker *lt_broker_new(
	const char *comp, const struct lt_bus_conf *conf, struct lt_loop *loop);
/** lt_broker_start() - the program itself is connected: begin, unless that was done before. */
void lt_broker_start(struct lt_broker *b);
void lt_broker_free(struct lt_broker *b);

#endif
