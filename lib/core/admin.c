/* SPDX-License-Identifier: MIT */
#include "latido/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/daemon.h"
#include "latido/stats.h"
#include "ready.h"

struct lt_admin {
	struct evhttp *http;
	struct evhttp_bound_socket *socket;
};

#define MAX_HEADERS_BYTES 8192
#define MAX_BODY_BYTES    0
#define TIMEOUT_S         10

static void reply(struct evhttp_request *req, int code, const char *reason, const char *type,
	const struct lt_buf *body)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	struct evbuffer *out = evbuffer_new();

	evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "Cache-Control", "no-store");
	if (out && body->len)
		evbuffer_add(out, body->data, body->len);
	evhttp_send_reply(req, code, reason, out);
	if (out)
		evbuffer_free(out);
}

static void on_metrics(struct evhttp_request *req, void *arg)
{
	struct lt_buf body = {0};

	(void)arg;
	lt_stats_render(&body);
	reply(req, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", &body);
	lt_buf_fini(&body);
}

/* That this runs at all shows that the loop turns. */
static void on_healthz(struct evhttp_request *req, void *arg)
{
	struct lt_buf body = {0};

	(void)arg;
	lt_buf_str(&body, "ok\n");
	reply(req, 200, "OK", "text/plain; charset=utf-8", &body);
	lt_buf_fini(&body);
}

static void on_readyz(struct evhttp_request *req, void *arg)
{
	struct lt_buf body = {0};
	bool ready = lt_ready_render(&body);

	(void)arg;
	reply(req, ready ? 200 : 503, ready ? "OK" : "Service Unavailable", "application/json",
		&body);
	lt_buf_fini(&body);
}

static void on_version(struct evhttp_request *req, void *arg)
{
	struct lt_buf body = {0};

	(void)arg;
	lt_buf_printf(&body, "%s\n", lt_daemon_version());
	reply(req, 200, "OK", "text/plain; charset=utf-8", &body);
	lt_buf_fini(&body);
}

/* "127.0.0.1:9501", "[::1]:9501"; numeric, so that no start ever waits for a name server. */
static int parse_address(
	const char *text, struct sockaddr_storage *ss, int *len, struct lt_err *err)
{
	const char *colon = strrchr(text, ':');
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char host[64];
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	} else if (memchr(text, ':', n)) {
		n = 0; /* IPv6 without brackets: the port cannot be told */
	}
	/* getaddrinfo() takes 99999 and wraps it. */
	if (n == 0 || n >= sizeof(host) || !colon[1] || strlen(colon + 1) > 5 ||
		strtol(colon + 1, NULL, 10) > UINT16_MAX)
		goto bad;
	memcpy(host, text, n);
	host[n] = '\0';
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
		goto bad;
	memcpy(ss, found->ai_addr, found->ai_addrlen);
	*len = (int)found->ai_addrlen;
	freeaddrinfo(found);
	return LT_OK;
bad:
	return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "admin.listen",
		"not a listen address: \"%s\"; write it as 127.0.0.1:9501 or [::1]:9501", text);
}

struct lt_admin *lt_admin_new(struct lt_loop *loop, const char *address, struct lt_err *err)
{
	struct evconnlistener *listener;
	struct sockaddr_storage ss;
	struct lt_admin *a;
	int len = 0;

	if (parse_address(address, &ss, &len, err) < 0)
		return NULL;
	listener = evconnlistener_new_bind(loop->base, NULL, NULL,
		LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 128,
		(struct sockaddr *)&ss, len);
	if (!listener) {
		lt_fail(err, LT_EIO, LT_CLS_CONFIG, "admin.listen",
			"cannot listen on %s: %s; choose another address or stop what uses it",
			address, strerror(errno));
		return NULL;
	}
	a = lt_calloc(1, sizeof(*a));
	a->http = evhttp_new(loop->base);
	a->socket = a->http ? evhttp_bind_listener(a->http, listener) : NULL;
	if (!a->socket) {
		evconnlistener_free(listener);
		lt_admin_free(a);
		lt_fail(err, LT_EIO, LT_CLS_FATAL, "admin.listen", "cannot start an HTTP server");
		return NULL;
	}
	evhttp_set_allowed_methods(a->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_max_headers_size(a->http, MAX_HEADERS_BYTES);
	evhttp_set_max_body_size(a->http, MAX_BODY_BYTES);
	evhttp_set_timeout(a->http, TIMEOUT_S);
	evhttp_set_cb(a->http, "/metrics", on_metrics, NULL);
	evhttp_set_cb(a->http, "/healthz", on_healthz, NULL);
	evhttp_set_cb(a->http, "/readyz", on_readyz, NULL);
	evhttp_set_cb(a->http, "/version", on_version, NULL);
	return a;
}

int lt_admin_port(const struct lt_admin *a)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	memset(&ss, 0, sizeof(ss));
	if (getsockname(evhttp_bound_socket_get_fd(a->socket), (struct sockaddr *)&ss, &len) < 0)
		return -1;
	if (ss.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&ss)->sin6_port);
	return ntohs(((struct sockaddr_in *)&ss)->sin_port);
}

void lt_admin_free(struct lt_admin *a)
{
	if (!a)
		return;
	if (a->http)
		evhttp_free(a->http);
	free(a);
}
