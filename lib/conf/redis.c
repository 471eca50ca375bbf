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

static void check(struct lt_conf_check *k, const void *section)
{
	const struct lt_redis_conf *c = section;
	const char *rest, *path, *q;

	if (c->username[0] && !c->password[0])
		lt_conf_reject(k, "username", "a user needs redis.password_file too");
	if (strchr(c->url, '@')) {
		lt_conf_reject_hidden(k, "url",
			"credentials do not belong into the URL; use redis.username and "
			"redis.password_file");
		return;
	}
	if (!strncmp(c->url, "unix://", 7)) {
		rest = c->url + 7;
		q = strchr(rest, '?');
		if (*rest != '/')
			lt_conf_reject(k, "url", "expected unix:///PATH, with three slashes");
		else if ((q ? (size_t)(q - rest) : strlen(rest)) > 107)
			lt_conf_reject(k, "url", "a socket's path is at most 107 bytes long");
		else if (q && (strncmp(q, "?db=", 4) || !is_database(q + 4)))
			lt_conf_reject(k, "url", "only ?db=NUMBER may follow the path");
		return;
	}
	if (strncmp(c->url, "redis://", 8)) {
		lt_conf_reject(k, "url",
			"expected redis://HOST:PORT/DATABASE or unix:///PATH, for example "
			"redis://127.0.0.1:6379/0");
		return;
	}
	rest = c->url + 8;
	path = rest + strcspn(rest, "/");
	lt_check_host_port(k, "url", rest, (size_t)(path - rest), false);
	if (path[0] && path[1] && !is_database(path + 1))
		lt_conf_reject(
			k, "url", "the part after the port is a database number, for example /0");
}

const struct lt_conf_section lt_redis_section = {
	.name = "redis",
	.help = "Redis, which holds the live state; written by latido-hot, read by latido top.",
	.offset = offsetof(struct lt_config, redis),
	.keys = keys,
	.n_keys = LT_ARRAY_LEN(keys),
	.check = check,
};
