/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "conf_schema.h"

#define ONE(member) offsetof(struct test_conf, one.member) - offsetof(struct test_conf, one)
#define TWO(member) offsetof(struct test_conf, two.member) - offsetof(struct test_conf, two)

static const char *const colors[] = {"red", "green", "blue", NULL};

static const struct lt_conf_key one_keys[] = {
	{"flag", LT_CONF_BOOL, ONE(flag), "false", .flags = LT_CONF_RELOAD, .help = "A flag."},
	{"count", LT_CONF_INT, ONE(count), "3", 1, 10, .help = "A count."},
	{"free_count", LT_CONF_INT, ONE(free_count), "-5", .help = "Any whole number."},
	{"wait", LT_CONF_DURATION, ONE(wait_ms), "250ms", 0, 7 * 86400000LL, .help = "A wait."},
	{"size", LT_CONF_SIZE, ONE(size_bytes), "8MiB", 1, INT64_MAX, .help = "A size."},
	{"rate", LT_CONF_FLOAT, ONE(rate), "0.5", 0, 100, .help = "A rate."},
	{"text", LT_CONF_STRING, ONE(text), "", 0, 8, .help = "A short text."},
	{"word", LT_CONF_STRING, ONE(word), "some", 2, 0, .help = "A text of two or more."},
	{"color", LT_CONF_ENUM, ONE(color), "green", .choices = colors, .help = "A color."},
	{"names", LT_CONF_LIST, ONE(names), "a, b", 1, 8, .help = "Some names."},
	{"colors", LT_CONF_LIST, ONE(colors), "", .choices = colors, .help = "Some colors."},
	{"labels", LT_CONF_MAP, ONE(labels), "", 0, 100, .help = "Labels."},
	{"login.user", LT_CONF_STRING, ONE(login.user), "", .help = "Who."},
	{"login.password", LT_CONF_STRING, ONE(login.password), "", 0, 64, .flags = LT_CONF_SECRET,
		.help = "How."},
	{"login.inner.level", LT_CONF_INT, ONE(login.inner.level), "1", .help = "Level."},
	{"last", LT_CONF_STRING, ONE(last), "end", .help = "The last one."},
};

static const struct lt_conf_key two_keys[] = {
	{"count", LT_CONF_INT, TWO(count), "7", .help = "Another count."},
	{"token", LT_CONF_STRING, TWO(token), "", .flags = LT_CONF_SECRET, .help = "A token."},
};

static void check_two(struct lt_conf_check *k, const void *section)
{
	const char *at = (const char *)section;
	const char *token;
	int64_t count;

	memcpy(&count, at + TWO(count), sizeof(count));
	memcpy(&token, at + TWO(token), sizeof(token));
	if (count == 13)
		lt_conf_reject(k, "count", "is unlucky: %d", 13);
	if (count == 14)
		lt_conf_reject_hidden(k, "count", "is not to be shown");
	if (!strcmp(token, "bad"))
		lt_conf_reject(k, "token", "is no good");
}

static const struct lt_conf_section one = {
	.name = "one",
	.help = "The first section.",
	.offset = offsetof(struct test_conf, one),
	.keys = one_keys,
	.n_keys = LT_ARRAY_LEN(one_keys),
};
static const struct lt_conf_section two = {
	.name = "two",
	.help = "The second section.",
	.offset = offsetof(struct test_conf, two),
	.keys = two_keys,
	.n_keys = LT_ARRAY_LEN(two_keys),
	.check = check_two,
};
static const struct lt_conf_section *const sections[] = {&one, &two};

const struct lt_conf_schema test_schema = {
	.sections = sections,
	.n_sections = LT_ARRAY_LEN(sections),
	.root_size = sizeof(struct test_conf),
	.env_prefix = "LATIDO",
};
