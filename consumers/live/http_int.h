/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_HTTP_INT_H
#define LATIDO_LIVE_HTTP_INT_H

#include <sys/queue.h>

#include "http.h"

struct bufferevent;

enum conn_state {
	CONN_IDLE = 0, /* between requests, nothing received */
	CONN_HEAD,     /* a head has begun, or TLS is being set up */
	CONN_BODY,
	CONN_BUSY,  /* the request is with its handler */
	CONN_REPLY, /* the answer is being sent */
	CONN_STREAM,
	CONN_END,    /* being sent, then closed */
	CONN_LINGER, /* closed for writing; what still comes is thrown away */
};

struct http_conn {
	TAILQ_ENTRY(http_conn) link; /* by time of the last change from waiting to working */
	struct http_server *server;
	struct bufferevent *bev;
	int fd;
	enum conn_state state;
	bool tls, handshake, close_after, broken;
	int64_t deadline_ns; /* 0 = none */
	size_t queued;       /* at the last deadline, to see progress */
	size_t lingered;     /* bytes thrown away */
	char peer[64];
	char *head; /* copy of the request's head and body */
	struct http_req req;
	bool has_req;
	const struct http_stream_ops *ops;
	void *stream_arg;
};

TAILQ_HEAD(conn_list, http_conn);

struct evconnlistener;
struct event;

struct http_server {
	struct lt_loop *loop;
	struct http_options opt;
	struct evconnlistener *listener;
	struct ssl_ctx_st *tls;
	struct event *sweep;
	struct conn_list conns;
	size_t n_conns;
	bool stopping;
};

/* http_conn.c */
void http_conn_new(struct http_server *s, int fd, const char *peer);
void http_conn_free(struct http_conn *c);
void http_conn_sweep(struct http_conn *c, int64_t now_ns);
void http_conn_replied(struct http_conn *c, bool close);

#endif
