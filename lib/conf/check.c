/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "sections.h"

/* 0, a free one, is for listening only. */
static bool is_port(const char *s, size_t n, bool zero)
{
	long port = 0;

	if (n == 0 || n > 5)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s[i]))
			return false;
		port = port * 10 + (s[i] - '0');
	}
	return port <= 65535 && (port || zero);
}

void lt_check_host_port(
	struct lt_conf_check *k, const char *key, const char *text, size_t len, bool port_needed)
{
	const char *end = text + len, *host_end, *close;

	if (len && *text == '[') {
		close = memchr(text, ']', len);
		if (!close || close == text + 1) {
			lt_conf_reject(k, key,
				"an IPv6 address stands in [ and ], for example "
				"[::1]:9501");
			return;
		}
		host_end = close + 1;
	} else {
		host_end = memchr(text, ':', len);
		if (!host_end)
			host_end = end;
		if (host_end == text) {
			lt_conf_reject(k, key, "the host is missing, for example 127.0.0.1%s",
				host_end < end ? host_end : "");
			return;
		}
		for (const char *p = text; p < host_end; p++) {
			if (isspace((unsigned char)*p) || strchr(",;[]\"'\\", *p)) {
				lt_conf_reject(k, key, "'%c' cannot be part of a host name", *p);
				return;
			}
		}
	}
	if (host_end == end) {
		if (port_needed)
			lt_conf_reject(k, key, "the port is missing, for example 127.0.0.1:9501");
		return;
	}
	if (*host_end != ':' || !is_port(host_end + 1, (size_t)(end - host_end - 1), port_needed))
		lt_conf_reject(k, key,
			"after the host a port is expected, a colon and a number up to 65535; an "
			"IPv6 address stands in [ and ]");
}

void lt_check_address(struct lt_conf_check *k, const char *key, const char *value)
{
	if (value[0])
		lt_check_host_port(k, key, value, strlen(value), true);
}

/*
 * How many nodes regcomp(3) makes of an expression, about. It writes repetitions out, a+ as aa* and
 * a{3} as aaa, so nested ones multiply: fifty characters can take all the memory there is.
 */
#define REGEX_MAX_NODES 5000
#define REGEX_MAX_DEPTH 64

/* Characters of a bracket expression, from its '[' on. */
static size_t bracket_size(const char *s)
{
	const char *p = s + 1;

	if (*p == '^')
		p++;
	if (*p == ']')
		p++;
	while (*p && *p != ']') {
		if (p[0] == '[' && p[1] && strchr(":.=", p[1])) {
			const char end[] = {p[1], ']', '\0'}, *close = strstr(p + 2, end);

			p = close ? close + 2 : p + 1;
		} else {
			p++;
		}
	}
	return (size_t)(p - s) + (*p == ']');
}

/* "{3,5}" -> 5, "{3,}" -> 4; 1 when it is none. */
static double repetition(const char *s)
{
	char *end;
	double from = (double)strtoul(s + 1, &end, 10), to = from;

	if (*end == ',')
		to = end[1] == '}' ? from + 1 : (double)strtoul(end + 1, &end, 10);
	return to > from ? to : from > 1 ? from : 1;
}

static double regex_nodes(const char *s)
{
	double outer[REGEX_MAX_DEPTH], sum = 0, last = 0, times;
	size_t depth = 0, n;

	for (; *s; s += n) {
		n = 1;
		times = *s == '+' ? 2 : *s == '{' ? repetition(s) : 1;
		if (*s == '(') {
			if (depth == REGEX_MAX_DEPTH)
				return REGEX_MAX_NODES + 1.0;
			outer[depth++] = sum;
			sum = last = 0;
		} else if (*s == ')' && depth) {
			last = sum + 1;
			sum = outer[--depth] + last;
		} else if (times > 1) {
			sum += last * (times - 1);
			last *= times;
		} else if (!strchr("*?|", *s)) {
			n = *s == '[' ? bracket_size(s) : *s == '\\' && s[1] ? 2 : 1;
			last = 1;
			sum++;
		}
	}
	return sum;
}

void lt_check_regex(struct lt_conf_check *k, const char *key, const char *value)
{
	regex_t re;
	char text[128];
	int rc;

	if (!value[0])
		return;
	if (regex_nodes(value) > REGEX_MAX_NODES) {
		lt_conf_reject(k, key, "its repetitions multiply to too much; nest fewer of them");
		return;
	}
	rc = regcomp(&re, value, REG_EXTENDED | REG_NOSUB);
	if (!rc) {
		regfree(&re);
		return;
	}
	regerror(rc, &re, text, sizeof(text));
	lt_conf_reject(k, key, "not a POSIX extended regular expression: %s", text);
}

void lt_check_absolute(struct lt_conf_check *k, const char *key, const char *value)
{
	if (value[0] != '/')
		lt_conf_reject(k, key, "must be an absolute path, starting with /");
}

void lt_check_pair(
	struct lt_conf_check *k, const char *key_a, const char *a, const char *key_b, const char *b)
{
	if (a[0] && !b[0])
		lt_conf_reject(k, key_a, "is of no use without %s", key_b);
	else if (b[0] && !a[0])
		lt_conf_reject(k, key_b, "is of no use without %s", key_a);
}
