/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/bus/bus_int.h"

static void good(void **state)
{
	static const struct {
		const char *url, *scheme, *host;
		int port;
	} t[] = {
		{"mqtt://broker", "mqtt", "broker", 0},
		{"mqtt://broker:1884", "mqtt", "broker", 1884},
		{"MQTT://Broker.Example:1/", "mqtt", "Broker.Example", 1},
		{"mqtts://10.0.0.1:65535", "mqtts", "10.0.0.1", 65535},
		{"mqtt://[::1]", "mqtt", "::1", 0},
		{"mqtt://[fe80::1%eth0]:1883", "mqtt", "fe80::1%eth0", 1883},
		{"mem://", "mem", "", 0},
		{"mem://hub:1", "mem", "hub:1", 0},
		{"kafka://broker:9092", "kafka", "broker", 9092},
		{"kafkas://a:1,b:2,[::1]:3", "kafkas", "a", 1},
	};
	struct lt_bus_url u;
	struct lt_err err;

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(t); i++) {
		assert_int_equal(lt_bus_url_parse(&u, t[i].url, &err), LT_OK);
		assert_string_equal(u.scheme, t[i].scheme);
		assert_string_equal(u.host, t[i].host);
		assert_int_equal(u.port, t[i].port);
	}
}

static void bad(void **state)
{
	static const char *const t[] = {"", "broker", "broker:1883", "://broker", "mqtt:/broker",
		"mqtt://", "mqtt://:1883", "mqtt://broker:", "mqtt://broker:0",
		"mqtt://broker:65536", "mqtt://broker:123456", "mqtt://broker:18x",
		"mqtt://broker:-1", "mqtt://::1", "mqtt://[::1", "mqtt://[]:1", "mqtt://[host]:1",
		"mqtt://[::1]x", "mqtt://[::1]:", "mqtt://broker/topic", "mqtt://broker?x=1",
		"mqtt://bro ker", "mq_tt://broker", "averylongschemename://broker"};
	struct lt_bus_url u;
	struct lt_err err;
	char long_host[400];

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(t); i++) {
		assert_int_equal(lt_bus_url_parse(&u, t[i], &err), LT_ECONF);
		assert_int_equal(err.cls, LT_CLS_CONFIG);
		assert_non_null(strstr(err.msg, "bus.url"));
	}
	strcpy(long_host, "mqtt://");
	memset(long_host + 7, 'a', 300);
	long_host[307] = '\0';
	assert_int_equal(lt_bus_url_parse(&u, long_host, &err), LT_ECONF);
}

static void credentials_are_refused_and_not_repeated(void **state)
{
	struct lt_bus_url u;
	struct lt_err err;

	(void)state;
	assert_int_equal(lt_bus_url_parse(&u, "mqtt://joe:secret@broker:1883", &err), LT_ECONF);
	assert_null(strstr(err.msg, "secret"));
	assert_non_null(strstr(err.msg, "bus.mqtt.username"));
}

static struct lt_bus *make(const char *url, const char *topic, struct lt_err *err)
{
	static struct lt_bus_conf conf;
	struct lt_bus_options opt = {.comp = "test", .topics = &topic, .n_topics = 1};
	struct lt_bus_handler none = {0};

	conf.url = (char *)url;
	return lt_bus_new(&conf, &opt, &none, NULL, err);
}

static void new_refuses(void **state)
{
	struct lt_err err;

	(void)state;
	assert_null(make("amqp://broker", "a", &err));
	assert_int_equal(err.cls, LT_CLS_CONFIG);
	assert_non_null(strstr(err.msg, "'amqp'"));
	assert_null(make("broker", "a", &err));
	assert_null(make("mem://x", "a/#/b", &err));
	assert_non_null(strstr(err.msg, "a/#/b"));
}

static void client_id(void **state)
{
	struct lt_bus_conf conf = {.mqtt.client_id = (char *)"mine"};
	char *id = lt_bus_client_id(&conf, "store");

	(void)state;
	assert_string_equal(id, "mine");
	free(id);
	conf.mqtt.client_id = (char *)"";
	id = lt_bus_client_id(&conf, "store");
	assert_memory_equal(id, "latido-store-", 13);
	assert_true(strlen(id) > 13);
	free(id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),
		cmocka_unit_test(bad),
		cmocka_unit_test(credentials_are_refused_and_not_repeated),
		cmocka_unit_test(new_refuses),
		cmocka_unit_test(client_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
