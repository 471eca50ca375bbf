/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <strings.h>

#include "sections.h"

#define SECTION lt_postgres_conf

static const struct lt_conf_key keys[] = {
	KEY(STRING, "dsn", dsn, "host=/run/postgresql dbname=latido", .max = 4096,
		.help = "libpq connection string (host=... dbname=... user=... sslmode=...) or URI "
			"(postgresql://USER@HOST/DATABASE), without the password."),
	KEY(STRING, "password", password, "", .max = 4096, .flags = LT_CONF_SECRET,
		.help = "Password of the database user; empty: none, or what ~/.pgpass says."),
	KEY(DURATION, "timeout", timeout_ms, "30s", .min = 100, .max = HOUR,
		.help = "For connecting and for each statement; then the statement is cancelled, "
			"the connection made again and the batch repeated."),
};

/* Does the connection string set the password? As libpq reads it: keyword, spaces, '='. */
static bool has_password(const char *dsn)
{
	static const char name[] = "password";

	for (const char *p = dsn; (p = strcasestr(p, name)); p += sizeof(name) - 1) {
		const char *after = p + sizeof(name) - 1;

		if (p > dsn && !strchr(" \t\n?&", p[-1]))
			continue;
		if (after[strspn(after, " \t\n")] == '=')
			return true;
	}
	return false;
}

static void check(struct lt_conf_check *k, const void *section)
{
	const struct lt_postgres_conf *c = section;
	const char *authority, *at, *colon;
	bool in_uri = false;

	if (!strncmp(c->dsn, "postgresql://", 13) || !strncmp(c->dsn, "postgres://", 11)) {
		authority = strstr(c->dsn, "://") + 3;
		at = memchr(authority, '@', strcspn(authority, "/?#"));
		colon = at ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
		in_uri = colon != NULL;
	}
	if (in_uri || has_password(c->dsn))
		lt_conf_reject_hidden(
			k, "dsn", "the password does not belong here; use postgres.password_file");
	else if (!in_uri && strstr(c->dsn, "://") && strncmp(c->dsn, "postgres", 8))
		lt_conf_reject(k, "dsn", "expected postgresql://... or host=... dbname=...");
}

const struct lt_conf_section lt_postgres_section = {
	.name = "postgres",
	.help = "PostgreSQL, which holds everything; used by latido-store.",
	.offset = offsetof(struct lt_config, postgres),
	.keys = keys,
	.n_keys = LT_ARRAY_LEN(keys),
	.check = check,
};
