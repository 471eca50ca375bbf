/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "latido/log.h"
#include "latido/stats.h"
#include "live.h"

/*
 * Every request passes here: first the checks that no route may forget, then the table. Whatever is
 * not marked open needs a session or a token.
 */

static struct lt_counter requests, refused;

static const struct lt_stat route_stats[] = {
	{"latido_live_requests_total", LT_STAT_COUNTER, NULL, "Requests that were well-formed.",
		&requests, NULL},
	{"latido_live_refused_requests_total", LT_STAT_COUNTER, NULL,
		"Requests without a session or token, or of another site's page.", &refused, NULL},
};

struct route {
	const char *path;
	enum { EXACT = 0, PREFIX } how; /* PREFIX: the rest of the path is an argument */
	bool post; /* POST only; otherwise GET and HEAD, and for Prometheus's API all three */
	bool open; /* answered without a login */
	void (*plain)(struct live *l, struct http_req *req);
	void (*rest)(struct live *l, struct http_req *req, const char *rest);
	void (*who)(struct live *l, struct http_req *req, const struct caller *who);
};

static void open_stream(struct live *l, struct http_req *req, const struct caller *who)
{
	streams_open(l->streams, req, who->login);
}

static void one_node(struct live *l, struct http_req *req, const char *rest)
{
	const char *slash = strchr(rest, '/');
	char source[LT_SOURCE_MAX + 1];
	size_t n = slash ? (size_t)(slash - rest) : strlen(rest);

	if (!lt_source_valid(rest, n) ||
		(slash && strcmp(slash, "/window") != 0 && strcmp(slash, "/at") != 0)) {
		http_reply_error(req, 404, 0, "there is nothing here");
		return;
	}
	memcpy(source, rest, n);
	source[n] = '\0';
	if (slash && !strcmp(slash, "/at"))
		api_at(l, req, source);
	else if (slash)
		api_window(l, req, source);
	else
		api_node(l, req, source);
}

static const struct route routes[] = {
	{"/api/v1/session", EXACT, .open = true, .who = login_get_session},
	{"/api/v1/login", EXACT, .post = true, .open = true, .who = login_post},
	{"/api/v1/logout", EXACT, .post = true, .open = true, .who = login_logout},
	{"/api/v1/share", EXACT, .post = true, .open = true, .who = login_share},
	{"/api/v1/config", EXACT, .plain = api_config},
	{"/api/v1/status", EXACT, .plain = api_status},
	{"/api/v1/pipeline", EXACT, .plain = api_pipeline},
	{"/api/v1/nodes", EXACT, .plain = api_nodes},
	{"/api/v1/nodes/", PREFIX, .rest = one_node},
	{"/api/v1/shapes/", PREFIX, .rest = api_shape},
	{"/api/v1/series", EXACT, .plain = api_series},
	{"/api/v1/alerts", EXACT, .plain = api_alerts},
	{"/api/v1/stream", EXACT, .who = open_stream},
	{"/metrics", EXACT, .plain = api_metrics},
	{"/prometheus/api/v1/", PREFIX, .rest = prom_handle},
};

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static const struct route *find(const char *path)
{
	for (size_t i = 0; i < LT_ARRAY_LEN(routes); i++)
		if (routes[i].how == EXACT ? !strcmp(path, routes[i].path)
					   : starts(path, routes[i].path))
			return &routes[i];
	return NULL;
}

static void refuse_method(struct http_req *req)
{
	http_reply_error(req, 405, 0, "this method is not answered here");
}

static void refuse_unknown(struct http_req *req)
{
	static const char text[] =
		"{\"error\":\"log in first, or send a bearer token (latido-live --add-token)\"}\n";
	const struct http_reply r = {.status = 401,
		.type = "application/json",
		.headers = "WWW-Authenticate: Bearer realm=\"latido\"\r\n",
		.data = text,
		.size = sizeof(text) - 1,
		.borrowed = true};

	lt_counter_add(&refused, 1);
	http_reply(req, &r);
}

/*
 * What the page asks for first. The browser fetches it beside the page's files instead of after them,
 * so the first table is there a round trip or two earlier. Only with a session: others get 401.
 */
#define PRELOAD(path) "<" path ">; rel=preload; as=fetch; crossorigin"
static const char preloads[] = "Link: " PRELOAD("/api/v1/session") ", " PRELOAD(
	"/api/v1/nodes") ", " PRELOAD("/api/v1/config") "\r\n";

/* The page's own files are no secret; every path that is no file shows the page (deep links). */
static void serve_page(struct live *l, struct http_req *req)
{
	const char *path = req->head.path;
	struct caller who;

	if (req->head.method == HTTP_POST) {
		refuse_method(req);
		return;
	}
	if (strcmp(path, "/") != 0 && strcmp(path, "/index.html") != 0 &&
		assets_serve(req, path, ""))
		return;
	if (starts(path, "/api/") || starts(path, "/prometheus/") || starts(path, "/assets/") ||
		starts(path, "/metrics") ||
		!assets_serve(req, "/index.html", login_caller(l, req, &who) ? preloads : ""))
		http_reply_error(req, 404, 0, "there is nothing here");
}

static bool method_fits(const struct route *r, const struct http_req *req)
{
	if (r->rest == prom_handle)
		return true;
	return r->post == (req->head.method == HTTP_POST);
}

void routes_handle(void *arg, struct http_req *req)
{
	struct live *l = arg;
	const struct route *r = find(req->head.path);
	struct caller who = {0};

	lt_counter_add(&requests, 1);
	if (!login_host_ok(l, req)) {
		lt_counter_add(&refused, 1);
		http_reply_error(req, 403, 0,
			"without logins only loopback names are answered (Host: localhost)");
		return;
	}
	if (!r && !starts(req->head.path, "/api/") && !starts(req->head.path, "/prometheus/")) {
		serve_page(l, req);
		return;
	}
	if (!login_origin_ok(l, req)) {
		lt_counter_add(&refused, 1);
		http_reply_error(req, 403, 0,
			"the page that asks is not this server's; if a proxy stands between, name "
			"its address in live.origins");
		return;
	}
	if (!login_caller(l, req, &who) && !(r && r->open)) {
		refuse_unknown(req);
		return;
	}
	if (who.read_only && req->head.method == HTTP_POST && !(r && r->open)) {
		lt_counter_add(&refused, 1);
		http_reply_error(req, 403, 0, "a share link may only look: use GET, or log in");
		return;
	}
	if (!r)
		http_reply_error(req, 404, 0, "there is nothing here");
	else if (!method_fits(r, req))
		refuse_method(req);
	else if (r->plain)
		r->plain(l, req);
	else if (r->rest)
		r->rest(l, req, req->head.path + strlen(r->path));
	else
		r->who(l, req, &who);
}

const char *routes_headers(void *arg, bool secure)
{
	const struct live *l = arg;

	return secure ? l->tls_headers.data : l->common_headers.data;
}

void routes_init(struct live *l)
{
	lt_stats_add(route_stats, LT_ARRAY_LEN(route_stats));
	lt_buf_str(&l->common_headers,
		"Content-Security-Policy: default-src 'none'; script-src 'self'; "
		"worker-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
		"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
		"frame-ancestors 'none'\r\n"
		"X-Content-Type-Options: nosniff\r\n"
		"X-Frame-Options: DENY\r\n"
		"Referrer-Policy: no-referrer\r\n"
		"Cross-Origin-Opener-Policy: same-origin\r\n"
		"Cross-Origin-Resource-Policy: same-origin\r\n"
		"Permissions-Policy: camera=(), geolocation=(), microphone=(), payment=(), "
		"usb=()\r\n"
		"Vary: Accept-Encoding, Cookie\r\n");
	lt_buf_str(&l->tls_headers, l->common_headers.data);
	lt_buf_str(&l->tls_headers, "Strict-Transport-Security: max-age=31536000\r\n");
}
