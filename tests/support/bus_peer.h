/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TEST_BUS_PEER_H
#define LATIDO_TEST_BUS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/bus.h"

/*
 * A bus with a user that writes down what it is told; several share the test's loop. Everything
 * here fails the running cmocka test when it does not come true in time.
 */

struct got {
	char *topic;
	char *data; /* NUL added */
	size_t size;
	char *content_type;
	bool retained;
	bool redelivered;
};

struct peer {
	struct lt_loop *loop;
	struct lt_bus *bus;
	struct lt_bus_conf conf;

	/* set before peer_open() */
	bool keep; /* poll, but do not call lt_bus_done() */
	bool idle; /* do not poll */
	const char *will_topic;
	const char *will_payload;

	/* told by the bus */
	bool connected, resumed;
	unsigned n_up, n_down, n_writable, n_wills;
	struct lt_err err;   /* of the last state(false) */
	struct lt_err worst; /* the last one of class CONFIG */
	struct got *got;
	size_t n_got;
	struct lt_bus_msg **kept;
	size_t n_kept;
	unsigned *reports; /* by token: how often delivered() was called */
	int *codes;
	size_t n_tokens, n_reported;
	struct lt_err publish_err; /* of the last delivered() with an error */
};

/** peer_conf() - a configuration with short delays; @client_id is copied. */
void peer_conf(struct peer *p, struct lt_loop *loop, const char *url, const char *client_id);
/** peer_kafka_topic - what peer_conf() sets as bus.kafka.topic; NULL: the default. */
extern const char *peer_kafka_topic;
/** peer_open() - make the bus and open it; does not wait. @topics: NULL-terminated, may be NULL. */
void peer_open(struct peer *p, const char *const *topics, bool durable, bool no_retained);
/** peer_close() - lt_bus_free() and forget everything. */
void peer_close(struct peer *p);

/** spin() - run the loop until @cond(@arg). */
#define spin(loop, cond, arg) spin_at(loop, cond, arg, #cond, __FILE__, __LINE__)
void spin_at(struct lt_loop *loop, bool (*cond)(void *), void *arg, const char *what,
	const char *file, int line);

void peer_wait_up(struct peer *p);
void peer_wait_down(struct peer *p);
void peer_wait_got(struct peer *p, size_t n);
/** peer_wait_reported() - delivered() was called for each accepted publish. */
void peer_wait_reported(struct peer *p);
/** peer_wait_worst() - an error of class CONFIG was reported; it is in worst. */
void peer_wait_worst(struct peer *p);

/** peer_publish() - with the next token; waits while LT_EFULL. */
void peer_publish(struct peer *p, const char *topic, const void *data, size_t size, bool retain);
void peer_publish_text(struct peer *p, const char *topic, const char *text);
/** peer_try_publish() - once. Return: lt_bus_publish()'s; the token is used only with LT_OK. */
int peer_try_publish(struct peer *p, const struct lt_bus_out *m, struct lt_err *err);
/** peer_done_kept() - lt_bus_done() for the oldest @n that were kept. */
void peer_done_kept(struct peer *p, size_t n);
/** peer_poll() - take what is there. */
void peer_poll(struct peer *p);
/** peer_has() - received a message with this payload on this topic. */
bool peer_has(const struct peer *p, const char *topic, const char *text);
size_t peer_count(const struct peer *p, const char *topic);

#endif
