/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "latido/event.h"

static void accepts_what_the_contract_lists(void **state)
{
	static const struct {
		const char *topic, *source, *metric;
		bool device, backlog;
	} good[] = {
		{"latido/v1/nodes/worker1/metrics", "worker1", "", false, false},
		{"latido/v1/nodes/worker1/backlog", "worker1", "", false, true},
		{"latido/v1/nodes/a.b_c:d-9/metrics", "a.b_c:d-9", "", false, false},
		{"latido/v1/devices/esp32/metrics", "esp32", "", true, false},
		{"latido/v1/devices/esp32/metrics/temperature", "esp32", "temperature", true,
			false},
		{"latido/v1/devices/esp32/metrics/room 1/t-out", "esp32", "room_1_t_out", true,
			false},
		{"latido/v1/devices/esp32/metrics/1st", "esp32", "_1st", true, false},
		{"latido/v1/devices/esp32/metrics/\xc3\xb1", "esp32", "_", true, false},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(good); i++) {
		struct lt_origin o = {.arrived_ns = 7, .metric = "old", .backlog = true};
		struct lt_err err;

		assert_int_equal(lt_origin_from_topic(&o, "latido/v1", good[i].topic, &err), LT_OK);
		assert_string_equal(o.source, good[i].source);
		assert_string_equal(o.metric, good[i].metric);
		assert_int_equal(o.device, good[i].device);
		assert_int_equal(o.backlog, good[i].backlog);
		assert_int_equal(o.arrived_ns, 7);
	}
}

static void refuses_everything_else(void **state)
{
	static const char *const bad[] = {
		"",
		"latido/v1",
		"latido/v1/",
		"latido/v2/nodes/a/metrics",
		"latido/v10/nodes/a/metrics",
		"/latido/v1/nodes/a/metrics",
		"latido/v1/nodes/metrics",
		"latido/v1/nodes//metrics",
		"latido/v1/nodes/a",
		"latido/v1/nodes/a/",
		"latido/v1/nodes/a/metrics/",
		"latido/v1/nodes/a/metrics/x",
		"latido/v1/nodes/a/status",
		"latido/v1/nodes/a b/metrics",
		"latido/v1/devices/a/backlog",
		"latido/v1/devices/a/metrics/",
		"latido/v1/devices/a/metrics//x",
		"latido/v1/devices/a/metrics/x/",
		"latido/v1/devices/a/metrics/\xff",
		"latido/v1/gateways/a/metrics",
	};
	char topic[400], *p;
	struct lt_origin o;
	struct lt_err err;

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(bad); i++) {
		err.msg[0] = '\0';
		assert_int_equal(lt_origin_from_topic(&o, "latido/v1", bad[i], &err), LT_EDATA);
		assert_int_equal(err.cls, LT_CLS_POISON);
		assert_true(strlen(err.msg) > 20);
	}
	p = strcpy(topic, "latido/v1/nodes/") + 16;
	memset(p, 'a', 129);
	strcpy(p + 129, "/metrics");
	assert_int_equal(lt_origin_from_topic(&o, "latido/v1", topic, &err), LT_EDATA);
	strcpy(p + 128, "/metrics");
	assert_int_equal(lt_origin_from_topic(&o, "latido/v1", topic, &err), LT_OK);

	p = strcpy(topic, "latido/v1/devices/a/metrics/") + 28;
	memset(p, 'm', 129);
	p[129] = '\0';
	assert_int_equal(lt_origin_from_topic(&o, "latido/v1", topic, &err), LT_EDATA);
	p[128] = '\0';
	assert_int_equal(lt_origin_from_topic(&o, "latido/v1", topic, &err), LT_OK);
	assert_int_equal(strlen(o.metric), 128);
}

static void names(void **state)
{
	(void)state;
	assert_true(lt_metric_name_valid("node:load1_", 11));
	assert_true(lt_metric_name_valid(":a", 2));
	assert_false(lt_metric_name_valid("1a", 2));
	assert_false(lt_metric_name_valid("a.b", 3));
	assert_false(lt_metric_name_valid("", 0));
	assert_true(lt_label_name_valid("_a9", 3));
	assert_false(lt_label_name_valid("a:b", 3));
	assert_false(lt_label_name_valid("9", 1));
	assert_false(lt_source_valid("", 0));
	assert_false(lt_source_valid("a/b", 3));
	assert_false(lt_source_valid("a\0b", 3));
	assert_string_equal(lt_reason_name(LT_REASON_TOO_LARGE), "too_large");
	assert_string_equal(lt_reason_name(LT_REASON_MAX), "none");
	for (int r = 0; r < LT_REASON_MAX; r++)
		assert_non_null(lt_reason_name((enum lt_reason)r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_what_the_contract_lists),
		cmocka_unit_test(refuses_everything_else),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests_name("topic", tests, NULL, NULL);
}
