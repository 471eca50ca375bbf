/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/bus/bus_int.h"

static void match(void **state)
{
	static const struct {
		const char *filter, *topic;
		bool match;
	} t[] = {
		{"a/b", "a/b", true},
		{"a/b", "a/bc", false},
		{"a/b", "a", false},
		{"a", "a/b", false},
		{"a/+", "a/b", true},
		{"a/+", "a/", true},
		{"a/+", "a", false},
		{"a/+", "a/b/c", false},
		{"+/b", "a/b", true},
		{"+/b", "/b", true},
		{"+", "a", true},
		{"+", "/a", false},
		{"/+", "/a", true},
		{"+/+", "/a", true},
		{"#", "a", true},
		{"#", "a/b/c", true},
		{"#", "/", true},
		{"a/#", "a", true},
		{"a/#", "a/", true},
		{"a/#", "a/b/c", true},
		{"a/#", "ab", false},
		{"a/+/#", "a", false},
		{"a/+/#", "a/b", true},
		{"a/+/c", "a/b/c", true},
		{"a/+/c", "a/b/d", false},
		{"+/+/#", "a", false},
		{"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false},
		{"$SYS/#", "$SYS/x", true},
		{"$SYS/+", "$SYS/x", true},
		{"$share/g/a/+", "a/b", true},
		{"$share/g/a/+", "g/a/b", false},
		{"$share/g/#", "$SYS/x", false},
		{"latido/v1/nodes/+/metrics", "latido/v1/nodes/w-1/metrics", true},
		{"latido/v1/nodes/+/metrics", "latido/v1/nodes/w-1/backlog", false},
		{"latido/v1/devices/+/metrics/#", "latido/v1/devices/d/metrics", true},
		{"a//b", "a//b", true},
		{"a/+/b", "a//b", true},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(t); i++) {
		assert_true(lt_topic_filter_valid(t[i].filter));
		if (lt_topic_match(t[i].filter, t[i].topic) != t[i].match)
			fail_msg("%s on %s", t[i].filter, t[i].topic);
	}
}

static void filters(void **state)
{
	static const char *const bad[] = {"", "a/#/b", "#a", "a#", "a+", "+a", "a/b+/c", "##",
		"a/##", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#",
		"a\nb", "a\xff"};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(bad); i++)
		if (lt_topic_filter_valid(bad[i]))
			fail_msg("'%s' is taken for a filter", bad[i]);
	assert_false(lt_topic_filter_valid(NULL));
	assert_true(lt_topic_filter_valid("$share/g/#"));
	assert_true(lt_topic_filter_valid("/"));
}

static void topics(void **state)
{
	static const char *const bad[] = {"", "a/+", "#", "a#", "a\tb", "a\x01", "a\x7f",
		"\xc2\x85", "\xef\xbf\xbf", "\xef\xb7\x90", "\xf0\x9f\xbf\xbf", "\xc0\x80",
		"a\xc3"};
	static char longest[65537];

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(bad); i++)
		if (lt_topic_valid(bad[i]))
			fail_msg("'%s' is taken for a topic", bad[i]);
	assert_false(lt_topic_valid(NULL));
	assert_true(lt_topic_valid("a"));
	assert_true(lt_topic_valid("/a//b"));
	assert_true(lt_topic_valid("caf\xc3\xa9/\xe2\x82\xac/\xf0\x9f\x98\x80"));
	memset(longest, 'a', 65536);
	assert_false(lt_topic_valid(longest));
	longest[65535] = '\0';
	assert_true(lt_topic_valid(longest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(match),
		cmocka_unit_test(filters),
		cmocka_unit_test(topics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
