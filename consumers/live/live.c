/* SPDX-License-Identifier: MIT */
#include "live.h"

#include <openssl/ssl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "latido/stats.h"
#include "live_daemon.h"

#define QUERY_QUEUE 128
#define HASH_QUEUE  16

#define CHORES_A_SECOND 4

#define DRAIN_NS (20 * LT_NS_PER_MS)

static struct live live;

static double connections(void *p)
{
	const struct live *l = p;

	return l->server ? (double)http_server_conns(l->server) : 0;
}

static double query_queue(void *p)
{
	const struct live *l = p;

	return l->queries ? (double)workers_queued(l->queries) : 0;
}

static double session_count(void *p)
{
	return (double)((const struct live *)p)->sessions.n;
}

static double source_count(void *p)
{
	const struct live *l = p;

	return l->hub ? (double)l->hub->n_sources : 0;
}

static double ring_bytes(void *p)
{
	const struct live *l = p;

	return l->hub ? (double)l->hub->ring_bytes : 0;
}

static const struct lt_stat stats[] = {
	{"latido_live_resume_bytes", LT_STAT_GAUGE_FN, NULL,
		"Frames kept for clients that come back (live.resume_bytes).", &live, ring_bytes},
	{"latido_live_connections", LT_STAT_GAUGE_FN, NULL, "Open connections, streams included.",
		&live, connections},
	{"latido_live_query_queue", LT_STAT_GAUGE_FN, NULL, "Questions that wait for a thread.",
		&live, query_queue},
	{"latido_live_sessions", LT_STAT_GAUGE_FN, NULL, "Sessions of users.", &live,
		session_count},
	{"latido_live_sources", LT_STAT_GAUGE_FN, NULL, "Nodes and devices known.", &live,
		source_count},
};

void live_pg_result(void *arg, const struct lt_err *err)
{
	struct live *l = arg;

	/* A statement that took too long, or was wrong, says nothing about the server. */
	if (!err)
		hub_set_postgres(l->hub, NULL);
	else if (err->code == LT_EIO || err->code == LT_EAUTH || err->code == LT_ECONF)
		hub_set_postgres(l->hub, err);
}

static void on_session_ended(void *arg, uint64_t id)
{
	struct live *l = arg;

	streams_end_login(l->streams, id);
}

/* The users file may have changed: whoever it does not name any more is out. */
static void check_users(struct live *l, bool now)
{
	static struct lt_complaint unreadable;
	struct lt_err err;

	if (l->conf->live.auth == LT_LIVE_NONE)
		return;
	if (users_refresh(&l->users, now, &err) != LT_OK)
		lt_complain(&unreadable, LT_ERROR, "users_unreadable", LT_S("err", err.msg));
	else
		lt_release(&unreadable, "users_read", LT_U("entries", l->users.n));
	if (now || l->users.generation != l->users_enforced)
		login_enforce(l);
}

/* Every second also what ends by itself: sessions that nobody uses, share links. */
static void on_chores(void *arg)
{
	struct live *l = arg;

	check_users(l, false);
	if (++l->chores_done % CHORES_A_SECOND == 0) {
		login_enforce(l);
		sessions_expire(&l->sessions, on_session_ended, l);
		sessions_save(&l->sessions);
	}
	lt_timer_start_ns(&l->chores, LT_NS_PER_S / CHORES_A_SECOND);
}

static int start_tls(struct live *l, const struct lt_config *conf, struct lt_err *err)
{
	struct ssl_ctx_st *tls;

	if (!*conf->live.tls.cert_file)
		return LT_OK;
	tls = tls_load(conf->live.tls.cert_file, conf->live.tls.key_file, err);
	if (!tls)
		return err->code;
	http_server_tls(l->server, tls);
	SSL_CTX_free(tls);
	return LT_OK;
}

static int start_users(struct live *l, struct lt_err *err)
{
	int rc;

	l->users.path = l->conf->live.users_file;
	if (l->conf->live.auth == LT_LIVE_NONE)
		return LT_OK;
	rc = users_refresh(&l->users, true, err);
	if (rc == LT_OK && l->users.n == 0)
		lt_log(LT_WARN, "nobody_can_log_in", LT_S("users_file", l->users.path),
			LT_S("remedy", "latido-live --add-user NAME"));
	return rc;
}

static int start(struct lt_ctx *ctx, struct lt_err *err)
{
	struct live *l = &live;
	const struct lt_live_conf *c = &ctx->conf->live;
	const struct http_options http = {
		.limits = {.max_conns = (size_t)c->max_clients,
			.head_ms = 10000,
			.body_ms = 20000,
			.idle_ms = 60000,
			.write_ms = 30000},
		.proxies = (const char *const *)c->proxies.items,
		.n_proxies = c->proxies.n,
		.handler = routes_handle,
		.headers = routes_headers,
		.arg = l,
	};
	int rc;

	if (sodium_init() < 0)
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "live.start", "libsodium does not start");
	l->ctx = ctx;
	l->conf = ctx->conf;
	lt_stats_add(hub_stats, hub_stats_n);
	lt_stats_add(stats, LT_ARRAY_LEN(stats));
	routes_init(l);
	rc = start_users(l, err);
	if (rc != LT_OK)
		return rc;
	sessions_load(&l->sessions, c->sessions_file, c->session_expire_ms);
	l->limiter = limiter_new(c->login_window_ms);
	l->server = http_server_new(&ctx->loop, &http);
	rc = start_tls(l, ctx->conf, err);
	if (rc != LT_OK)
		return rc;
	l->hub = hub_new(&ctx->loop, ctx->conf, err);
	l->streams = streams_new(&ctx->loop, ctx->conf, l->hub);
	l->queries = workers_new(&ctx->loop, ctx->conf, (size_t)c->workers, QUERY_QUEUE, err);
	l->hashing = l->queries ? workers_new(&ctx->loop, ctx->conf, 1, HASH_QUEUE, err) : NULL;
	if (!l->hashing)
		return err->code;
	lt_timer_init(&l->chores, &ctx->loop, on_chores, l);
	lt_timer_start_ns(&l->chores, LT_NS_PER_S);
	facts_start(l);
	pipeline_start(l);
	rc = http_server_listen(l->server, c->listen, err);
	if (rc != LT_OK)
		return rc;
	lt_log(LT_INFO, "listening", LT_S("address", c->listen),
		LT_I("port", http_server_port(l->server)),
		LT_S("tls", *c->tls.cert_file ? "yes" : "no"));
	/* Redis and PostgreSQL may be down: the page says so, and it is up. */
	lt_ready_set("http", true, "");
	return hub_start(l->hub, err);
}

static void reload(struct lt_ctx *ctx, const struct lt_config *fresh)
{
	struct live *l = &live;
	struct lt_err err;

	(void)ctx;
	check_users(l, true);
	if (!*l->conf->live.tls.cert_file)
		return;
	if (start_tls(l, fresh, &err) != LT_OK)
		lt_log(LT_ERROR, "certificate_kept", LT_S("err", err.msg));
}

/* Streams have been told; answers that are under way may go out. */
static void on_drained(void *arg)
{
	struct live *l = arg;

	if (http_server_conns(l->server) && lt_mono_ns() < l->drain_until_ns)
		lt_timer_start_ns(&l->drained, DRAIN_NS);
	else
		lt_daemon_drained(l->ctx);
}

static void drain(struct lt_ctx *ctx)
{
	struct live *l = &live;

	lt_timer_init(&l->drained, &ctx->loop, on_drained, l);
	l->drain_until_ns = lt_mono_ns() + ctx->conf->live.drain_timeout_ms * LT_NS_PER_MS;
	streams_stop(l->streams);
	http_server_stop(l->server);
	sessions_save(&l->sessions);
	on_drained(l);
}

static void fini(struct lt_ctx *ctx)
{
	struct live *l = &live;

	(void)ctx;
	if (l->hub)
		hub_stop(l->hub);
	workers_free(l->hashing);
	workers_free(l->queries);
	if (l->streams)
		streams_free(l->streams);
	http_server_free(l->server);
	pipeline_free(l);
	hub_free(l->hub);
	lt_timer_fini(&l->chores);
	lt_timer_fini(&l->facts);
	lt_timer_fini(&l->drained);
	users_fini(&l->users);
	sessions_fini(&l->sessions);
	limiter_free(l->limiter);
	lt_buf_fini(&l->common_headers);
	lt_buf_fini(&l->tls_headers);
	memset(l, 0, sizeof(*l));
}

static const char *admin_listen(const struct lt_config *conf)
{
	return conf->live.admin;
}

static int64_t drain_timeout_ms(const struct lt_config *conf)
{
	return conf->live.drain_timeout_ms;
}

static const char *add_user, *add_token, *add_share, *share_expires, *remove_user;

/* Where browsers find the page, as far as the configuration says. */
static char *page_url(const struct lt_live_conf *c)
{
	const char *scheme = *c->tls.cert_file ? "https" : "http";
	const char *port = strrchr(c->listen, ':');
	char host[256] = "localhost";

	if (c->origins.n)
		return lt_strdup(c->origins.items[0]);
	if (strncmp(c->listen, "0.0.0.0:", 8) && strncmp(c->listen, "[::]:", 5))
		return lt_asprintf("%s://%s", scheme, c->listen);
	gethostname(host, sizeof(host) - 1);
	return lt_asprintf("%s://%s%s", scheme, host, port);
}

static int command(struct lt_ctx *ctx)
{
	struct users_command c = {.path = ctx->conf->live.users_file,
		.user = add_user,
		.token = add_token,
		.share = add_share,
		.remove = remove_user,
		.expires = share_expires};
	char *url;
	int code;

	if (share_expires && !add_share) {
		fprintf(stderr, "latido-live: --expires belongs to --add-share\n");
		return LT_EXIT_USAGE;
	}
	if (!add_user && !add_token && !add_share && !remove_user)
		return -1;
	if (sodium_init() < 0)
		return LT_EXIT_FAILURE;
	c.url = url = page_url(&ctx->conf->live);
	code = users_command(&c);
	free(url);
	return code;
}

static const struct lt_option options[] = {
	{"add-user", "NAME", "ask for a password and let NAME log in with it", NULL, &add_user},
	{"add-token", "NAME", "print a bearer token for a program", NULL, &add_token},
	{"add-share", "NAME", "print a link that lets whoever opens it look", NULL, &add_share},
	{"expires", "TIME", "with --add-share: how long, such as 12h; default 30d", NULL,
		&share_expires},
	{"remove-user", "NAME", "take a user's password, token and link away", NULL, &remove_user},
};

const struct lt_daemon live_daemon = {
	.name = "latido-live",
	.comp = "live",
	.synopsis = "Show the cluster to browsers, and answer questions about it over HTTP.",
	.options = options,
	.n_options = LT_ARRAY_LEN(options),
	.admin_listen = admin_listen,
	.drain_timeout_ms = drain_timeout_ms,
	.command = command,
	.start = start,
	.reload = reload,
	.drain = drain,
	.fini = fini,
};
