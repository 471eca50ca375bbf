/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_HTTP_H
#define LATIDO_LIVE_HTTP_H

#include "http_parse.h"
#include "latido/loop.h"

/*
 * HTTP/1.1 on libevent's bufferevents, with or without TLS. One request of a connection is answered
 * at a time; an answer may come later. Everything runs on the loop's thread.
 *
 * Nobody holds a connection for nothing: a head has to be complete within head_ms, a body within
 * body_ms, an answer must move every write_ms, an idle connection ends after idle_ms; when the server is full the one that
 * waits longest without a request is closed.
 */

struct http_server;
struct http_conn;
struct ssl_ctx_st;

struct http_limits {
	size_t max_conns;
	int64_t head_ms, body_ms, idle_ms, write_ms;
};

/** struct http_req - one request; valid until it is answered or on_gone was called */
struct http_req {
	struct http_head head;
	struct http_params query;
	const char *body;
	size_t body_size;
	char peer[64]; /* address of the client; behind a trusted proxy as that says */
	bool secure;   /* the browser spoke TLS */
	char user[72]; /* set by whoever checks the session */
	struct http_conn *conn;
	/* The client went away before it was answered: @req is not valid after this. */
	void (*on_gone)(void *arg);
	void *gone_arg;
};

typedef void (*http_handler)(void *arg, struct http_req *req);

struct http_options {
	struct http_limits limits;
	const char *const *proxies; /* addresses whose X-Forwarded-For and -Proto are believed */
	size_t n_proxies;
	http_handler handler;
	void *arg;
	/* Headers of every answer, lines with CRLF; may be NULL. */
	const char *(*headers)(void *arg, bool secure);
};

/** http_server_new() - no I/O; @opt is copied, what it points to borrowed. */
struct http_server *http_server_new(struct lt_loop *loop, const struct http_options *opt);
/** http_server_listen() - "127.0.0.1:8420", "[::]:8420". Return: LT_OK or CONFIG. */
int http_server_listen(
	struct http_server *s, const char *address, struct lt_err *err) LT_MUST_CHECK;
int http_server_port(const struct http_server *s);
/** http_server_tls() - new connections speak TLS with @ctx (one reference is taken); NULL: none. */
void http_server_tls(struct http_server *s, struct ssl_ctx_st *ctx);
/** http_server_stop() - accept nothing more; connections without a request are closed. */
void http_server_stop(struct http_server *s);
/** http_server_conns() - open connections. */
size_t http_server_conns(const struct http_server *s);
void http_server_free(struct http_server *s);

/* ---- answers; each ends @req ---- */

struct http_reply {
	int status;
	const char *type;    /* Content-Type, or NULL */
	const char *headers; /* further lines with CRLF, or NULL */
	const char *cache;   /* Cache-Control; NULL = no-store */
	const void *data;    /* copied, or with @borrowed valid for ever */
	size_t size;
	bool borrowed;
	bool close; /* end the connection afterwards */
};
void http_reply(struct http_req *req, const struct http_reply *r);
/** http_reply_buf() - 200 with the content of @body, which is taken and left empty. */
void http_reply_buf(struct http_req *req, int status, const char *type, struct lt_buf *body);
/** http_reply_error() - {"error": ...}; @retry_after_s 0 = none. */
void http_reply_error(struct http_req *req, int status, int retry_after_s, const char *fmt, ...)
	LT_PRINTF(4, 5);

/* ---- streams ---- */

/** struct http_bytes - bytes that many streams send; counted references, loop thread */
struct http_bytes {
	unsigned refs;
	size_t size;
	char data[];
};
struct http_bytes *http_bytes_new(const void *data, size_t size);
void http_bytes_put(struct http_bytes *b);

struct http_stream_ops {
	void (*drained)(void *arg); /* everything has been handed to the kernel */
	void (*closed)(void *arg);  /* the connection is gone */
};
/**
 * http_stream_begin() - answer 200 and keep the connection for http_stream_send()
 * @type: Content-Type. Ends @req.
 */
struct http_conn *http_stream_begin(
	struct http_req *req, const char *type, const struct http_stream_ops *ops, void *arg);
/** http_stream_send() - one more reference of @b is queued; nothing is copied. */
void http_stream_send(struct http_conn *c, struct http_bytes *b);
void http_stream_copy(struct http_conn *c, const void *data, size_t size);
/** http_stream_queued() - bytes that the kernel has not taken. */
size_t http_stream_queued(const struct http_conn *c);
/** http_stream_end() - close when all is sent, at the latest after a second; closed() is not called. */
void http_stream_end(struct http_conn *c);
/** http_stream_cut() - close now; closed() is not called. */
void http_stream_cut(struct http_conn *c);

#endif
