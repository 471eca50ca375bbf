/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_LIVE_H
#define LATIDO_LIVE_LIVE_H

#include "hub.h"
#include "latido/daemon.h"
#include "sessions.h"
#include "stream.h"
#include "users.h"
#include "workers.h"

/* What latido-live consists of. Loop thread only, but for what workers.h says. */

struct pipeline;

struct live {
	struct lt_ctx *ctx;
	const struct lt_config *conf;
	struct http_server *server;
	struct hub *hub;
	struct streams *streams;
	struct workers *queries;
	struct workers *hashing; /* one thread: 64 MiB and a core at most for all logins */
	struct users users;
	struct sessions sessions;
	struct limiter *limiter;
	struct pipeline *pipeline;
	struct lt_timer chores, facts, drained;
	struct lt_buf common_headers, tls_headers;
	bool ask_all_facts, draining;
	unsigned chores_done;
	uint64_t
		users_enforced; /* generation of users that sessions and streams were checked with */
	int64_t drain_until_ns;
};

/** struct caller - who asks */
struct caller {
	const char *user; /* NULL: nobody who is known */
	uint64_t session; /* 0: a token, or no login needed */
	uint64_t login;   /* names session or token, for its streams; 0: no login needed */
	bool read_only;   /* a share link's session: GET only */
	int64_t until_ms; /* then: its end */
};

/* routes.c */
void routes_handle(void *arg, struct http_req *req);
const char *routes_headers(void *arg, bool secure);
void routes_init(struct live *l);

/* login.c */
/** login_caller() - the session or token of a request; @text: where the user's name is put. */
bool login_caller(struct live *l, struct http_req *req, struct caller *out);
/** login_origin_ok() - is the Origin header, if there is one, this server's? */
bool login_origin_ok(struct live *l, struct http_req *req);
/** login_host_ok() - without logins: is the Host a loopback name, so that no other site's page asks? */
bool login_host_ok(struct live *l, struct http_req *req);
void login_get_session(struct live *l, struct http_req *req, const struct caller *who);
/** login_enforce() - end sessions and streams of users, tokens and links that are no more. */
void login_enforce(struct live *l);
void login_share(struct live *l, struct http_req *req, const struct caller *who);
void login_post(struct live *l, struct http_req *req, const struct caller *who);
void login_logout(struct live *l, struct http_req *req, const struct caller *who);

/* api_fleet.c */
void api_nodes(struct live *l, struct http_req *req);
void api_node(struct live *l, struct http_req *req, const char *source);
void api_shape(struct live *l, struct http_req *req, const char *id);
void api_config(struct live *l, struct http_req *req);
void api_status(struct live *l, struct http_req *req);

/* api_window.c, api_at.c, api_series.c, api_alerts.c, metrics_page.c */
void api_window(struct live *l, struct http_req *req, const char *source);
void api_at(struct live *l, struct http_req *req, const char *source);
void api_series(struct live *l, struct http_req *req);
void api_alerts(struct live *l, struct http_req *req);
void api_metrics(struct live *l, struct http_req *req);
#define API_MAX_STEPS 5000

/* prom_api.c: what is behind /prometheus/api/v1/ */
void prom_handle(struct live *l, struct http_req *req, const char *path);

/* pipeline.c */
void api_pipeline(struct live *l, struct http_req *req);
void pipeline_start(struct live *l);
void pipeline_free(struct live *l);

/* facts.c: what PostgreSQL knows of the sources, asked now and then */
void facts_start(struct live *l);

/* assets.c */
/**
 * assets_serve() - a file of the page. Return: false: there is no such file.
 * @more: further header lines with CRLF, or "".
 */
bool assets_serve(struct http_req *req, const char *path, const char *more);

/* tls.c */
/** tls_load() - certificate and key; NULL with @err. */
struct ssl_ctx_st *tls_load(const char *cert, const char *key, struct lt_err *err);

/** live_pg_result() - answer_job.failed: what a query's end says about PostgreSQL. */
void live_pg_result(void *arg, const struct lt_err *err);

#endif
