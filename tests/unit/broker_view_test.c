/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/consumer/broker_view.h"

static void say(struct lt_broker_view *v, const char *topic, const char *text, bool retained)
{
	const struct lt_bus_msg m = {
		.topic = topic, .data = text, .size = strlen(text), .retained = retained};

	lt_broker_view_take(v, &m);
}

#define SAY(v, figure, text) say(v, lt_broker_topics[LT_BROKER_##figure], text, false)
#define HAD(v, figure, text) say(v, lt_broker_topics[LT_BROKER_##figure], text, true)

static void a_queue_is_what_is_stored_and_not_retained(void **state)
{
	struct lt_broker_view v = {0};

	(void)state;
	assert_int_equal(lt_broker_view_queued(&v), -1);
	HAD(&v, STORED, "1050");
	assert_int_equal(lt_broker_view_queued(&v), -1);
	HAD(&v, RETAINED, "50");
	assert_int_equal(lt_broker_view_queued(&v), 1000);
	SAY(&v, RETAINED, "1060"); /* of a later instant */
	assert_int_equal(lt_broker_view_queued(&v), 0);
	lt_broker_view_lost(&v);
	assert_int_equal(lt_broker_view_queued(&v), -1);
	assert_true(v.told);
}

static void drops_are_counted_from_the_first_message(void **state)
{
	struct lt_broker_view v = {0};

	(void)state;
	HAD(&v, DROPPED, "500"); /* before our time */
	assert_int_equal(v.dropped, 0);
	SAY(&v, DROPPED, "507");
	assert_int_equal(v.dropped, 7);
	lt_broker_view_lost(&v);
	HAD(&v, DROPPED, "510"); /* while the connection was away */
	assert_int_equal(v.dropped, 10);
	lt_broker_view_lost(&v);
	HAD(&v, DROPPED, "4"); /* a new life of the broker */
	assert_int_equal(v.dropped, 14);
}

static void a_figure_that_expired_has_risen(void **state)
{
	struct lt_broker_view v = {0};

	(void)state;
	SAY(&v, DROPPED, "0"); /* the broker has just started */
	SAY(&v, DROPPED, "3");
	assert_int_equal(v.dropped, 3);
	memset(&v, 0, sizeof(v));
	SAY(&v, DROPPED, "1000");
	assert_int_equal(v.dropped, 1);
}

static void what_is_no_figure_changes_nothing(void **state)
{
	static const char *const bad[] = {"", "-1", "1.5", " 1", "1 ", "0x10", "1e3", "abc",
		"9999999999999999999", "18446744073709551616"};
	struct lt_broker_view v = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		SAY(&v, STORED, bad[i]);
		SAY(&v, RETAINED, bad[i]);
		SAY(&v, DROPPED, bad[i]);
	}
	say(&v, "$SYS/broker/uptime", "17", true);
	assert_false(v.told);
	assert_int_equal(v.dropped, 0);
	assert_int_equal(lt_broker_view_queued(&v), -1);
	SAY(&v, STORED, "999999999999999999");
	SAY(&v, RETAINED, "0");
	assert_int_equal(lt_broker_view_queued(&v), INT64_C(999999999999999999));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_queue_is_what_is_stored_and_not_retained),
		cmocka_unit_test(drops_are_counted_from_the_first_message),
		cmocka_unit_test(a_figure_that_expired_has_risen),
		cmocka_unit_test(what_is_no_figure_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
