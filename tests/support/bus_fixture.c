/* SPDX-License-Identifier: MIT */
#include "bus_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "latido/bus_mem.h"
#include "latido/log.h"
#include "relay.h"

#define HUB "contract"

const struct bus_impl *impl;
struct lt_loop loop;

static unsigned serial;
static char *names[64];
static size_t n_names;

static const char *keep(char *s)
{
	assert_true(n_names < LT_ARRAY_LEN(names));
	names[n_names++] = s;
	return s;
}

/* The process id too: the broker may remember an earlier run. */
const char *id(const char *name)
{
	return keep(lt_asprintf("t%ld-%u-%s", (long)getpid(), serial, name));
}

const char *topic(const char *name)
{
	return keep(lt_asprintf("t%ld-%u/%s", (long)getpid(), serial, name));
}

int fixture_setup(void **state)
{
	struct lt_err err;

	(void)state;
	serial++;
	if (lt_loop_init(&loop, &err) < 0)
		return -1;
	if (impl->setup)
		impl->setup();
	return 0;
}

int fixture_teardown(void **state)
{
	(void)state;
	impl->teardown();
	lt_loop_fini(&loop);
	while (n_names > 0)
		free(names[--n_names]);
	return 0;
}

void start_peer(struct peer *p, const char *name)
{
	peer_conf(p, &loop, impl->url(), id(name));
}

void open_peer(struct peer *p, const char *name, const char *filter, bool durable)
{
	const char *topics[] = {filter, NULL};

	start_peer(p, name);
	peer_open(p, topics, durable, false);
}

void peers_up_at(struct peer **p)
{
	while (*p)
		peer_wait_up(*p++);
}

char *text(const char *prefix, int i)
{
	static char buf[64];

	snprintf(buf, sizeof(buf), "%s%d", prefix, i);
	return buf;
}

void assert_sequence(const struct peer *p, const char *on, int from, int to)
{
	int next = from;

	for (size_t i = 0; i < p->n_got; i++) {
		int n = atoi(p->got[i].data);

		if (strcmp(p->got[i].topic, on) != 0)
			continue;
		if (n > next)
			fail_msg("%d is missing: %d came instead", next, n);
		next += n == next;
	}
	assert_int_equal(next, to);
}

int bus_suite_main(const struct CMUnitTest *tests, size_t n, int argc, char **argv)
{
	static const struct bus_impl *const impls[] = {
		&bus_impl_mem, &bus_impl_mqtt, &bus_impl_kafka};
	const char *only = getenv("LT_TEST_BUS");
	int failed = 0;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	for (size_t i = 0; i < LT_ARRAY_LEN(impls); i++) {
		impl = impls[i];
		if (!impl->available() || (only && strcmp(only, impl->name) != 0))
			continue;
		failed += _cmocka_run_group_tests(impl->name, tests, n, NULL, NULL);
	}
	return failed ? 1 : 0;
}

/* ---- mem ---- */

static bool mem_available(void)
{
	return true;
}

static void mem_teardown(void)
{
	lt_bus_mem_reset(HUB);
}

static const char *mem_url(void)
{
	return "mem://" HUB;
}

static void mem_cut(const char *client_id)
{
	lt_bus_mem_cut(HUB, client_id);
}

static void mem_refuse(const char *client_id)
{
	struct lt_err err;

	lt_fail(&err, LT_EIO, LT_CLS_RETRY, "mem.connect", "connection refused");
	lt_bus_mem_refuse_connect(HUB, client_id ? &err : NULL);
	if (client_id)
		lt_bus_mem_cut(HUB, client_id);
}

static void mem_hold(bool on)
{
	lt_bus_mem_hold_acks(HUB, on);
}

static void mem_stop(void)
{
	lt_bus_mem_down(HUB, true);
}

static void mem_start(bool empty)
{
	if (empty)
		lt_bus_mem_forget(HUB);
	lt_bus_mem_down(HUB, false);
}

const struct bus_impl bus_impl_mem = {
	.name = "mem",
	.like_mqtt = true,
	.available = mem_available,
	.teardown = mem_teardown,
	.url = mem_url,
	.direct_url = mem_url,
	.cut = mem_cut,
	.refuse = mem_refuse,
	.hold = mem_hold,
	.broker_stop = mem_stop,
	.broker_start = mem_start,
};

/* ---- mqtt ---- */

static struct relay *relay;
static char relay_url[64];
static bool broker_down;

static bool mqtt_available(void)
{
	return getenv("LT_TEST_MQTT_URL") && getenv("LT_TEST_MQTT_CTL");
}

static const char *mqtt_direct_url(void)
{
	return getenv("LT_TEST_MQTT_URL");
}

static const char *mqtt_url(void)
{
	return relay_url;
}

static void mqtt_setup(void)
{
	relay = relay_new(atoi(strrchr(mqtt_direct_url(), ':') + 1));
	snprintf(relay_url, sizeof(relay_url), "mqtt://127.0.0.1:%d", relay_port(relay));
}

void control(const char *env, const char *line)
{
	int fd = atoi(getenv(env));
	char answer[256];
	ssize_t n;

	assert_int_equal(write(fd, line, strlen(line)), strlen(line));
	n = read(fd, answer, sizeof(answer) - 1);
	answer[n > 0 ? n : 0] = '\0';
	if (strcmp(answer, "ok\n") != 0)
		fail_msg("%s: %s", line, answer);
}

static void mqtt_broker_stop(void)
{
	control("LT_TEST_MQTT_CTL", "stop\n");
	broker_down = true;
}

static void mqtt_broker_start(bool empty)
{
	control("LT_TEST_MQTT_CTL", empty ? "start-empty\n" : "start\n");
	broker_down = false;
}

static void mqtt_teardown(void)
{
	if (broker_down) /* the test failed in the middle */
		mqtt_broker_start(true);
	relay_free(relay);
	relay = NULL;
}

static void mqtt_cut(const char *client_id)
{
	(void)client_id;
	relay_cut(relay);
}

static void mqtt_refuse(const char *client_id)
{
	relay_refuse(relay, client_id != NULL);
}

static void mqtt_hold(bool on)
{
	relay_hold(relay, on);
}

const struct bus_impl bus_impl_mqtt = {
	.name = "mqtt",
	.like_mqtt = true,
	.available = mqtt_available,
	.setup = mqtt_setup,
	.teardown = mqtt_teardown,
	.url = mqtt_url,
	.direct_url = mqtt_direct_url,
	.cut = mqtt_cut,
	.refuse = mqtt_refuse,
	.hold = mqtt_hold,
	.broker_stop = mqtt_broker_stop,
	.broker_start = mqtt_broker_start,
};
