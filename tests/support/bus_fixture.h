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

/* The one under test, and the loop of the running test. */
extern const struct bus_impl *impl;
extern struct lt_loop loop;

/** fixture_setup() - cmocka's setup of each test: a new loop, impl's setup. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/** id() - a client id of this test only; valid until the test ends. */
const char *id(const char *name);
/** topic() - a topic or filter of this test only; likewise. */
const char *topic(const char *name);

/** open_peer() - url(), a client id from @name; waits until it is connected. */
void open_peer(struct peer *p, const char *name, const char *filter, bool durable);
/** start_peer() - configured only: the test changes p->conf, then calls peer_open(). */
void start_peer(struct peer *p, const char *name);

#endif
