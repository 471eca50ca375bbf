/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TEST_BUS_FIXTURE_H
#define LATIDO_TEST_BUS_FIXTURE_H

#include <stdbool.h>

#include "bus_peer.h"

/*
 * What a transport must be able to do to be tested, and the two that can. "mqtt" needs a broker,
 * which tests/integration/test_bus_contract.py provides: LT_TEST_MQTT_URL is its address and
 * LT_TEST_MQTT_CTL the number of a socket that takes the lines "stop", "kill", "start" and
 * "start-empty" and answers "ok".
 */
struct bus_impl {
	const char *name;
	bool like_mqtt; /* retained messages, wills, one client an id */
	bool (*available)(void);
	void (*setup)(void);    /* before each test */
	void (*teardown)(void); /* after each test */
	/* Address for buses whose connection the test breaks. */
	const char *(*url)(void);
	/* Address past the place where it breaks. */
	const char *(*direct_url)(void);
	/* The connections of url() are reset; @client_id names the one that the test means. */
	void (*cut)(const char *client_id);
	/* Likewise, and new connections to url() are refused until refuse(NULL). */
	void (*refuse)(const char *client_id);
	/* The broker's answers do not arrive at url(). */
	void (*hold)(bool on);
	void (*broker_stop)(void);
	/* @empty: without sessions and retained messages. */
	void (*broker_start)(bool empty);
};

extern const struct bus_impl bus_impl_mem;
extern const struct bus_impl bus_impl_mqtt;
extern const struct bus_impl bus_impl_kafka; /* bus_fixture_kafka.c; LT_TEST_KAFKA_... alike */

/* The one under test, and the loop of the running test. */
extern const struct bus_impl *impl;
/** control() - one line for the broker's keeper, by the socket that the variable @env names. */
void control(const char *env, const char *line);
extern struct lt_loop loop;

/** fixture_setup() - cmocka's setup of each test: a new loop, impl's setup. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/** id() - a client id of this test only; valid until the test ends. */
const char *id(const char *name);
/** topic() - a topic or filter of this test only; likewise. */
const char *topic(const char *name);

/** open_peer() - url(), a client id from @name; does not wait. */
void open_peer(struct peer *p, const char *name, const char *filter, bool durable);
/**
 * peers_up() - wait until these are connected
 *
 * Open first, then wait: paho needs two seconds for a connection when all others are idle.
 */
#define peers_up(...) peers_up_at((struct peer *[]){__VA_ARGS__, NULL})
void peers_up_at(struct peer **p);
/** start_peer() - configured only: the test changes p->conf, then calls peer_open(). */
void start_peer(struct peer *p, const char *name);

/** text() - @prefix and a number; valid until the next call. */
char *text(const char *prefix, int i);
/** assert_sequence() - numbers @from to @to-1 came on @on in this order, each at least once. */
void assert_sequence(const struct peer *p, const char *on, int from, int to);

struct CMUnitTest;
/**
 * bus_suite_main() - run the tests on every available transport, or on that in LT_TEST_BUS
 *
 * An argument is a pattern for the names of the tests to run. Return: the exit code.
 */
int bus_suite_main(const struct CMUnitTest *tests, size_t n, int argc, char **argv);

#endif
