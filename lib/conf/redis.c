/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "sections.h"

#define SECTION lt_redis_conf

static const struct lt_conf_key keys[] = {
	KEY(STRING, "url", url, "redis://127.0.0.1:6379/0", .min = 1, .max = 1024,
		.help = "redis://HOST:PORT/DATABASE or unix:///PATH/OF/SOCKET, there with "
			"?db=DATABASE if it is not 0."),
	KEY(STRING, "username", username, "", .max = 1024,
		.help = "Redis user (an ACL of Redis 6 or later); empty: the default user."),
	KEY(STRING, "password", password, "", .max = 4096, .flags = LT_CONF_SECRET,
		.help = "Password of that user; empty: no authentication."),
	KEY(DURATION, "timeout", timeout_ms, "5s", .min = 10, .max = 5 * MINUTE,
		.help = "For connecting and for each batch of commands; then the connection is "
			"dropped and made again."),
};

/* "/0": digits up to 65535; Redis itself knows how many it has. */
static bool is_database(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n > 0 && n <= 5 && !s[n] && atol(s) <= 65535;
}

static void check_unix(struct lt_conf_check *k, const char *path)
{
	size_t n = strcspn(path, "?");

	if (*path != '/')
		lt_conf_reject(k, "url", "expected unix:///PATH, with three slashes");
	else if (n > 107)
		lt_conf_reject(k, "url", "a socket's path is at most 107 bytes long");
	else if (path[n] && (strncmp(path + n, "?db=", 4) || !is_database(path + n + 4)))
		lt_conf_reject(k, "url", "only ?db=NUMBER may follow the path");
}

/* [user@]host[:port][/database] */
static void check_tcp(struct lt_conf_check *k, const struct lt_redis_conf *c, const char *text)
{
	size_t n = strcspn(text, "/");
	const char *path = text + n, *at = memrchr(text, '@', n);

	if (at && memchr(text, ':', (size_t)(at - text))) {
		lt_conf_reject_hidden(k, "url",
			"the password does not belong into the URL; use redis.password_file");
		return;
	}
	if (at && !c->password[0])
		lt_conf_reject(k, "url", "a user needs redis.password_file too");
	if (at)
		text = at + 1;
	lt_check_host_port(k, "url", text, (size_t)(path - text), false);
	if (path[0] && path[1] && !is_database(path + 1))
		lt_conf_reject(
			k, "url", "the part after the port is a database number, for example /0");
}

static void check(struct lt_conf_check *k, const void *section)
{
	const struct lt_redis_conf *c = section;

	if (c->username[0] && !c->password[0])
		lt_conf_reject(k, "username", "a user needs redis.password_file too");
	if (!strncmp(c->url, "unix://", 7))
		check_unix(k, c->url + 7);
	else if (!strncmp(c->url, "redis://", 8))
		check_tcp(k, c, c->url + 8);
	else if (!strncmp(c->url, "rediss://", 9))
		lt_conf_reject(k, "url",
			"TLS to Redis is not in this build; put a tunnel such as stunnel between");
	else
		lt_conf_reject_hidden(k, "url",
			"expected redis://HOST:PORT/DATABASE or unix:///PATH, for example "
			"redis://127.0.0.1:6379/0");
}

const struct lt_conf_section lt_redis_section = {
	.name = "redis",
	.help = "Redis, which holds the live state; written by latido-hot, read by latido top.",
	.offset = offsetof(struct lt_config, redis),
	.keys = keys,
	.n_keys = LT_ARRAY_LEN(keys),
	.check = check,
};
