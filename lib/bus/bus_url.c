/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "bus_int.h"

static int bad(struct lt_err *err, const char *why)
{
	/* The URL itself is not shown: a password that was put there by mistake stays private. */
	return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "bus.url",
		"bus.url: %s; write mqtt://host:port or mqtts://host:port", why);
}

static int parse_port(struct lt_bus_url *u, const char *s, size_t n, struct lt_err *err)
{
	long port = 0;

	if (n == 0 || n > 5)
		return bad(err, "the port after ':' must be 1 to 65535");
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s[i]))
			return bad(err, "the port after ':' must be 1 to 65535");
		port = port * 10 + (s[i] - '0');
	}
	if (port < 1 || port > 65535)
		return bad(err, "the port after ':' must be 1 to 65535");
	u->port = (int)port;
	return LT_OK;
}

static int parse_host(struct lt_bus_url *u, const char *s, size_t n, struct lt_err *err)
{
	if (n >= sizeof(u->host))
		return bad(err, "the host name is too long");
	for (size_t i = 0; i < n; i++)
		if (!isgraph((unsigned char)s[i]) || strchr("\"\\<>^`{|}[]", s[i]))
			return bad(err, "the host name has a character that no host name has");
	memcpy(u->host, s, n);
	u->host[n] = '\0';
	return LT_OK;
}

int lt_bus_url_parse(struct lt_bus_url *u, const char *url, struct lt_err *err)
{
	const char *p = strstr(url, "://"), *end, *colon;
	size_t n = p ? (size_t)(p - url) : 0;

	memset(u, 0, sizeof(*u));
	if (!p || n == 0 || n >= sizeof(u->scheme))
		return bad(err, "there is no scheme");
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)url[i]) && !strchr("+-.", url[i]))
			return bad(err, "the scheme is malformed");
		u->scheme[i] = (char)tolower((unsigned char)url[i]);
	}
	p += 3;
	n = strcspn(p, "/?#");
	end = p + n;
	if (memchr(p, '@', n))
		return bad(err, "a user name does not belong here, but in bus.mqtt.username and "
				"bus.mqtt.password_file");
	if (end[0] && strcmp(end, "/") != 0)
		return bad(err, "there is something after the host and port");
	if (strcmp(u->scheme, "mem") == 0)
		return parse_host(u, p, n, err);
	if (n == 0)
		return bad(err, "there is no host name");
	if (strncmp(u->scheme, "kafka", 5) ==
		0) /* a list of brokers, of which the first is shown */
		n = strcspn(p, ",/?#");
	end = p + n;
	if (*p == '[') {
		const char *close = memchr(p, ']', n);

		if (!close)
			return bad(err, "the ']' after the IPv6 address is missing");
		if (close + 1 < end && close[1] != ':')
			return bad(err, "there is something between ']' and the port");
		if (close == p + 1 || !memchr(p, ':', (size_t)(close - p)))
			return bad(err, "only an IPv6 address stands in brackets");
		if (close + 1 < end && parse_port(u, close + 2, (size_t)(end - close - 2), err) < 0)
			return LT_ECONF;
		return parse_host(u, p + 1, (size_t)(close - p - 1), err);
	}
	colon = memchr(p, ':', n);
	if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1)))
		return bad(err, "an IPv6 address must stand in brackets");
	if (colon == p)
		return bad(err, "there is no host name");
	if (colon && parse_port(u, colon + 1, (size_t)(end - colon - 1), err) < 0)
		return LT_ECONF;
	return parse_host(u, p, (size_t)((colon ? colon : end) - p), err);
}
