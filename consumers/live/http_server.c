/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "http_int.h"
#include "latido/clock.h"
#include "latido/log.h"
#include "latido/stats.h"

/* A thousand browsers that come back at once after a restart must not wait for SYN retries. */
#define BACKLOG 4096

static void peer_text(const struct sockaddr *sa, char out[64])
{
	char text[INET6_ADDRSTRLEN] = "unix";

	if (sa->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)sa)->sin_addr, text, sizeof(text));
	else if (sa->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)sa)->sin6_addr, text,
			sizeof(text));
	/* ::ffff:192.0.2.1 and 192.0.2.1 are one client. */
	snprintf(
		out, 64, "%s", strncmp(text, "::ffff:", 7) || !strchr(text, '.') ? text : text + 7);
}

static struct lt_counter turned_away;

static const struct lt_stat stats[] = {
	{"latido_live_turned_away_total", LT_STAT_COUNTER, NULL,
		"Connections closed because live.max_clients are open: the idlest one, or the new "
		"one.",
		&turned_away, NULL},
};

/* The server is full: whoever has waited longest without a request makes room. */
static bool make_room(struct http_server *s)
{
	struct http_conn *c;

	TAILQ_FOREACH(c, &s->conns, link)
	{
		if (c->state <= CONN_BODY || c->state == CONN_LINGER) {
			http_conn_free(c);
			return true;
		}
	}
	return false;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa,
	int len, void *arg)
{
	struct http_server *s = arg;
	char peer[64];

	(void)listener;
	(void)len;
	if (s->n_conns >= s->opt.limits.max_conns) {
		static struct lt_complaint full;

		lt_counter_add(&turned_away, 1);
		if (!make_room(s)) {
			lt_complain(&full, LT_WARN, "connections_full",
				LT_U("max_clients", s->opt.limits.max_conns));
			evutil_closesocket(fd);
			return;
		}
	}
	peer_text(sa, peer);
	http_conn_new(s, (int)fd, peer);
}

/* Out of descriptors: closing one lets the next accept succeed; without that the loop would spin. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	static struct lt_complaint trouble;
	struct http_server *s = arg;

	(void)listener;
	lt_complain(&trouble, LT_ERROR, "accept_failed", LT_S("err", strerror(errno)));
	make_room(s);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct http_server *s = arg;
	int64_t now = lt_mono_ns();
	struct http_conn *c, *next;

	(void)fd;
	(void)what;
	for (c = TAILQ_FIRST(&s->conns); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->deadline_ns && now >= c->deadline_ns)
			http_conn_sweep(c, now);
	}
}

static void raise_file_limit(size_t want)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) || lim.rlim_cur >= want + 64)
		return;
	lim.rlim_cur = lim.rlim_max == RLIM_INFINITY || lim.rlim_max >= want + 64 ? want + 64
										  : lim.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &lim) || lim.rlim_cur < want + 64)
		lt_log(LT_WARN, "few_descriptors", LT_U("limit", lim.rlim_cur),
			LT_U("max_clients", want));
}

struct http_server *http_server_new(struct lt_loop *loop, const struct http_options *opt)
{
	static const struct timeval second = {.tv_sec = 0, .tv_usec = 500000};
	struct http_server *s = lt_calloc(1, sizeof(*s));

	lt_stats_add(stats, LT_ARRAY_LEN(stats));
	s->loop = loop;
	s->opt = *opt;
	TAILQ_INIT(&s->conns);
	raise_file_limit(opt->limits.max_conns);
	s->sweep = event_new(loop->base, -1, EV_PERSIST, on_sweep, s);
	event_add(s->sweep, &second);
	return s;
}

int http_server_listen(struct http_server *s, const char *address, struct lt_err *err)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM};
	const char *colon = strrchr(address, ':');
	struct addrinfo *found = NULL;
	size_t n = colon ? (size_t)(colon - address) : 0;
	char host[64] = "";

	if (n > 2 && address[0] == '[' && address[n - 1] == ']')
		snprintf(host, sizeof(host), "%.*s", (int)n - 2, address + 1);
	else if (n)
		snprintf(host, sizeof(host), "%.*s", (int)n, address);
	if (!n || getaddrinfo(host, colon + 1, &hints, &found))
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "live.listen",
			"live.listen: not an address: \"%s\"; write it as 127.0.0.1:8420, "
			"0.0.0.0:8420 or [::]:8420",
			address);
	s->listener = evconnlistener_new_bind(s->loop->base, on_accept, s,
		LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG,
		found->ai_addr, (int)found->ai_addrlen);
	freeaddrinfo(found);
	if (!s->listener)
		return lt_fail(err, LT_EIO, LT_CLS_CONFIG, "live.listen",
			"cannot listen on %s: %s; choose another live.listen or stop what uses it",
			address, strerror(errno));
	evconnlistener_set_error_cb(s->listener, on_accept_error);
	return LT_OK;
}

int http_server_port(const struct http_server *s)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	memset(&ss, 0, sizeof(ss));
	if (!s->listener ||
		getsockname(evconnlistener_get_fd(s->listener), (struct sockaddr *)&ss, &len) < 0)
		return -1;
	return ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
					      : ((struct sockaddr_in *)&ss)->sin_port);
}

void http_server_tls(struct http_server *s, struct ssl_ctx_st *ctx)
{
	if (ctx)
		SSL_CTX_up_ref(ctx);
	SSL_CTX_free(s->tls);
	s->tls = ctx;
}

void http_server_stop(struct http_server *s)
{
	struct http_conn *c, *next;

	s->stopping = true;
	if (s->listener)
		evconnlistener_free(s->listener);
	s->listener = NULL;
	for (c = TAILQ_FIRST(&s->conns); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->state <= CONN_BODY || c->state == CONN_LINGER)
			http_conn_free(c);
	}
}

size_t http_server_conns(const struct http_server *s)
{
	return s->n_conns;
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	if (s->listener)
		evconnlistener_free(s->listener);
	while (!TAILQ_EMPTY(&s->conns))
		http_conn_free(TAILQ_FIRST(&s->conns));
	event_free(s->sweep);
	SSL_CTX_free(s->tls);
	free(s);
}
