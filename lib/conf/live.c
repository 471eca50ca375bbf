/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <string.h>

#include "sections.h"

#define SECTION lt_live_conf

static const char *const auths[] = {"password", "none", NULL};
static const char *const languages[] = {"auto", "en", "es", NULL};

static const struct lt_conf_key keys[] = {
	KEY(STRING, "admin", admin, "127.0.0.1:9505", .max = 256,
		.help = "Listen address of the program's own /metrics, /healthz and /readyz; "
			"empty: "
			"none."),
	KEY(STRING, "listen", listen, "127.0.0.1:8420", .min = 1, .max = 256,
		.help = "Where browsers and programs connect: ADDRESS:PORT, numeric. 0.0.0.0 and "
			"[::] are all addresses of the machine; use TLS then."),
	KEY(STRING, "tls.cert_file", tls.cert_file, "", .max = 4096, .flags = LT_CONF_RELOAD,
		.help = "PEM file with the server's certificate and those between it and the "
			"authority. Empty: no TLS. Read again at SIGHUP."),
	KEY(STRING, "tls.key_file", tls.key_file, "", .max = 4096, .flags = LT_CONF_RELOAD,
		.help = "PEM file with its private key, not encrypted."),
	KEY(ENUM, "auth", auth, "password", .choices = auths,
		.help = "password: nothing is shown without logging in or a bearer token. none: "
			"everybody who can connect sees everything; only on a loopback address."),
	KEY(STRING, "users_file", users_file, "/var/lib/latido-live/users", .max = 4096,
		.help = "Who may log in, one a line; written by latido-live --add-user, "
			"--add-token and --add-share, read again when it changes."),
	KEY(STRING, "sessions_file", sessions_file, "", .max = 4096,
		.help = "Where sessions are kept so that logins survive a restart, as digests. "
			"Empty: they end with the program."),
	KEY(DURATION, "session_expire", session_expire_ms, "7d", .min = MINUTE, .max = 365 * DAY,
		.help = "A session that was not used for so long ends."),
	KEY(INT, "login_attempts", login_attempts, "10", .min = 1, .max = 100000,
		.help = "Failed logins of one user from one address, within login_window, after "
			"which more are refused. Of one address, and of one user, five times as "
			"many."),
	KEY(DURATION, "login_window", login_window_ms, "5m", .min = SECOND, .max = DAY,
		.help = "See login_attempts."),
	KEY(LIST, "origins", origins, "", .min = 8, .max = 512,
		.help = "Addresses under which browsers see this server when a proxy stands "
			"before it, such as https://latido.example. The one that they connect to "
			"is always allowed."),
	KEY(LIST, "proxies", proxies, "", .min = 2, .max = 64,
		.help = "Addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto are "
			"believed."),
	KEY(STRING, "title", title, "Latido", .min = 1, .max = 128,
		.help = "Name of this installation, shown by the page."),
	KEY(STRING, "alertmanager_url", alertmanager_url, "", .max = 1024,
		.help = "Where alerts can be silenced: the page links to it. Empty: no link."),
	KEY(ENUM, "language", language, "auto", .choices = languages,
		.help = "Of the page; auto: as the browser asks."),
	KEY(INT, "max_clients", max_clients, "4096", .min = 8, .max = 1000000,
		.help = "Connections at once. When it is full, the one that waits longest without "
			"a request makes room."),
	KEY(DURATION, "flush", flush_ms, "100ms", .min = 10, .max = 10 * SECOND,
		.help = "Events of so long go to the browsers together."),
	KEY(SIZE, "client_queue", client_queue_bytes, "256KiB", .min = 16 * KIB, .max = GIB,
		.help = "What is held for one slow client; then it is told how many events it "
			"missed, and gets the newest state."),
	KEY(DURATION, "stall", stall_ms, "30s", .min = SECOND, .max = HOUR,
		.help = "A client that takes nothing for so long is cut off."),
	KEY(DURATION, "resume", resume_ms, "60s", .min = 0, .max = HOUR,
		.help = "A client that comes back within this time misses nothing,"),
	KEY(SIZE, "resume_bytes", resume_bytes, "32MiB", .min = KIB, .max = 4 * GIB,
		.help = "as far as so much memory goes."),
	KEY(INT, "workers", workers, "4", .min = 1, .max = 64,
		.help = "Threads for questions to PostgreSQL and Redis, each with a connection of "
			"its own."),
	KEY(DURATION, "query_timeout", query_timeout_ms, "15s", .min = 100, .max = HOUR,
		.help = "A question to PostgreSQL that takes longer is given up."),
	KEY(DURATION, "drain_timeout", drain_timeout_ms, "5s", .min = 0, .max = HOUR,
		.help = "After SIGTERM, how long to wait for answers that are under way."),
};

static bool is_loopback(const char *listen)
{
	return !strncmp(listen, "127.", 4) || !strncmp(listen, "[::1]:", 6);
}

static void check_origin(struct lt_conf_check *k, const char *s)
{
	const char *host = strstr(s, "://");

	if ((strncmp(s, "https://", 8) && strncmp(s, "http://", 7)) || !host[3] ||
		strpbrk(host + 3, "/?# "))
		lt_conf_reject(k, "origins",
			"\"%s\": expected https://HOST or https://HOST:PORT, without a path", s);
}

static void check(struct lt_conf_check *k, const void *section)
{
	const struct lt_live_conf *c = section;
	unsigned char address[16];

	lt_check_address(k, "admin", c->admin);
	lt_check_address(k, "listen", c->listen);
	lt_check_pair(k, "tls.cert_file", c->tls.cert_file, "tls.key_file", c->tls.key_file);
	if (c->auth == LT_LIVE_NONE && !is_loopback(c->listen))
		lt_conf_reject(k, "auth",
			"none is allowed on a loopback address only, and live.listen is %s; use "
			"password, or listen on 127.0.0.1",
			c->listen);
	if (c->auth == LT_LIVE_PASSWORD && !c->users_file[0])
		lt_conf_reject(k, "users_file", "is needed with auth: password");
	for (size_t i = 0; i < c->origins.n; i++)
		check_origin(k, c->origins.items[i]);
	for (size_t i = 0; i < c->proxies.n; i++)
		if (inet_pton(AF_INET, c->proxies.items[i], address) != 1 &&
			inet_pton(AF_INET6, c->proxies.items[i], address) != 1)
			lt_conf_reject(
				k, "proxies", "\"%s\" is not an IP address", c->proxies.items[i]);
	if (c->alertmanager_url[0] && strncmp(c->alertmanager_url, "http://", 7) &&
		strncmp(c->alertmanager_url, "https://", 8))
		lt_conf_reject(k, "alertmanager_url", "expected http://... or https://...");
}

const struct lt_conf_section lt_live_section = {
	.name = "live",
	.help = "latido-live, which shows the cluster to browsers.",
	.offset = offsetof(struct lt_config, live),
	.keys = keys,
	.n_keys = LT_ARRAY_LEN(keys),
	.check = check,
};
