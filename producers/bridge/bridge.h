/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BRIDGE_H
#define LATIDO_BRIDGE_H

#include "latido/daemon.h"

/*
 * latido-bridge: what nodes and devices publish, from MQTT to Kafka.
 *
 *	MQTT events ──► inbox (devices only) ──► whose is it? ──► Kafka, acks=all
 *	                                                             │ delivery report
 *	…/nodes/<source>/ack  ◄── outbox ◄── what Kafka has  ◄───────┘
 *
 * Payloads are passed on byte for byte; the key is the source, the MQTT topic and the content type
 * travel as headers, the message's time is its arrival here. Only what says whose event it is is
 * read (lt_identify()); what does not say that is dead-lettered in Kafka.
 *
 * Who acknowledges what. MQTT's own acknowledgements mean nothing more than that the bridge has
 * received a message. A numbered event is acknowledged to its source, in the document that the store
 * uses on plain MQTT, when Kafka has reported it (have.h); the agent keeps it until then and sends
 * it again if it does not come. What devices send is written to the inbox before MQTT hears of it,
 * and leaves it with Kafka's report.
 *
 * Several bridges. Each subscribes to all nodes and forwards what it gets; the store's check of
 * (source, epoch, seq) makes one of it. So a bridge that dies, hangs or is behind takes nothing
 * with it and delays nothing. A shared subscription of the nodes would be half the traffic, but
 * Mosquitto goes on giving a member that is away its share, for as long as its session lives, and
 * agents would send that again and again. Acknowledgements are retained, so the last one stands
 * for all: every bridge reads those of the others, and what it has and what they have is one set
 * that only grows. Whoever sees an acknowledgement that lacks something which it knows publishes the
 * union. Devices have no numbers: there bridge.device_group shares the messages out.
 *
 * A start. The acknowledgements are read back from the broker, over a session of their own that
 * no backlog holds up (control.h), and none is published before that is done. A broker that lost
 * them gets them again from whoever knows them.
 *
 * Backpressure. What was received and is not in Kafka is bounded by bus.queue_bytes, and again by
 * that in librdkafka; then nothing more is read from MQTT, whose broker keeps the session.
 *
 * All on the loop's thread, except the inbox's writing.
 */

int lt_bridge_start(struct lt_ctx *ctx, struct lt_err *err);
void lt_bridge_drain(struct lt_ctx *ctx);
void lt_bridge_fini(struct lt_ctx *ctx);

#endif
