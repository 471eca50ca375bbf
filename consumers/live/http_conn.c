/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "http_int.h"
#include "latido/clock.h"

/* What the kernel may hold of one stream: a slow client must not hide megabytes there. */
#define STREAM_SNDBUF 131072
#define LINGER_MS     2000
#define LINGER_MAX    (1u << 20)
#define END_MS        1000

static void next_request(struct http_conn *c);

static void set_deadline(struct http_conn *c, int64_t ms)
{
	c->deadline_ns = lt_mono_ns() + ms * LT_NS_PER_MS;
	c->queued = http_stream_queued(c);
}

/* Longest waiting first: whoever begins to wait goes to the end. */
static void set_state(struct http_conn *c, enum conn_state state)
{
	c->state = state;
	TAILQ_REMOVE(&c->server->conns, c, link);
	TAILQ_INSERT_TAIL(&c->server->conns, c, link);
}

static void drop_request(struct http_conn *c)
{
	http_params_fini(&c->req.query);
	free(c->head);
	c->head = NULL;
	c->has_req = false;
	memset(&c->req, 0, sizeof(c->req));
}

void http_conn_free(struct http_conn *c)
{
	struct http_server *s = c->server;

	if (c->state == CONN_STREAM && c->ops) {
		const struct http_stream_ops *ops = c->ops;

		c->ops = NULL;
		ops->closed(c->stream_arg);
	}
	if (c->has_req && c->req.on_gone)
		c->req.on_gone(c->req.gone_arg);
	drop_request(c);
	TAILQ_REMOVE(&s->conns, c, link);
	s->n_conns--;
	if (c->tls) {
		SSL *ssl = bufferevent_openssl_get_ssl(c->bev);

		/* Say goodbye without waiting for the answer (RFC 8446, 6.1). */
		if (ssl && !c->broken && !c->handshake) {
			SSL_set_shutdown(ssl, SSL_RECEIVED_SHUTDOWN);
			SSL_shutdown(ssl);
		}
	}
	bufferevent_free(c->bev);
	free(c);
}

/* ---- requests ---- */

/* The last address of X-Forwarded-For is the one that our proxy itself saw. */
static void see_through_proxy(struct http_conn *c, struct http_req *req)
{
	const struct http_options *o = &c->server->opt;
	const char *from, *proto;
	bool trusted = false;

	for (size_t i = 0; i < o->n_proxies; i++)
		trusted |= !strcmp(o->proxies[i], c->peer);
	if (!trusted)
		return;
	from = http_header(&req->head, "x-forwarded-for");
	proto = http_header(&req->head, "x-forwarded-proto");
	if (proto)
		req->secure = !strcmp(proto, "https");
	if (!from)
		return;
	if (strrchr(from, ','))
		from = strrchr(from, ',') + 1;
	from += strspn(from, " \t");
	if (strspn(from, "0123456789abcdefABCDEF:.") == strlen(from) && *from &&
		strlen(from) < sizeof(req->peer))
		snprintf(req->peer, sizeof(req->peer), "%s", from);
}

static void refuse(struct http_conn *c, int status)
{
	static const struct {
		int status;
		const char *why;
	} reasons[] = {
		{400, "malformed request"},
		{405, "only GET, HEAD and POST are answered"},
		{408, "the request did not arrive in time"},
		{411, "Content-Length is missing"},
		{413, "the body is too large"},
		{414, "the address is too long"},
		{417, "unknown expectation"},
		{431, "the headers are too large"},
		{501, "not implemented"},
		{505, "only HTTP/1.0 and HTTP/1.1 are spoken"},
	};
	const char *why = "malformed request";

	for (size_t i = 0; i < LT_ARRAY_LEN(reasons); i++)
		if (reasons[i].status == status)
			why = reasons[i].why;
	c->close_after = true;
	c->broken = true;
	c->has_req = true;
	c->req.conn = c;
	c->req.secure = c->tls;
	http_reply_error(&c->req, status, 0, "%s", why);
}

static void dispatch(struct http_conn *c)
{
	struct http_req *req = &c->req;

	c->deadline_ns = 0;
	set_state(c, CONN_BUSY);
	see_through_proxy(c, req);
	if (!http_params_parse(&req->query, req->head.query, strlen(req->head.query))) {
		http_reply_error(req, 400, 0, "malformed parameters");
		return;
	}
	c->server->opt.handler(c->server->opt.arg, req);
}

/* Head and body are there: copied out, so that parsing may change them and input can go on. */
static void take_request(struct http_conn *c, struct evbuffer *in, size_t head)
{
	size_t size = head + c->req.head.body_bytes, used;
	struct http_req *req = &c->req;

	c->head = lt_malloc(size + 1);
	evbuffer_remove(in, c->head, size);
	c->head[size] = '\0';
	if (http_parse_head(c->head, head, &req->head, &used) != 200) {
		refuse(c, 400);
		return;
	}
	req->body = c->head + head;
	req->body_size = size - head;
	req->conn = c;
	req->secure = c->tls;
	memcpy(req->peer, c->peer, sizeof(req->peer));
	c->has_req = true;
	if (!req->head.keep_alive)
		c->close_after = true;
	dispatch(c);
}

static void read_request(struct http_conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	size_t have = evbuffer_get_length(in), used, part;
	char head[HTTP_HEAD_MAX + 1];
	int rc;

	if (!have)
		return;
	if (c->state == CONN_IDLE) {
		set_state(c, CONN_HEAD);
		set_deadline(c, c->server->opt.limits.head_ms);
	}
	part = have < sizeof(head) ? have : sizeof(head);
	evbuffer_copyout(in, head, part);
	rc = http_parse_head(head, part, &c->req.head, &used);
	if (rc == 0)
		return;
	if (rc != 200) {
		refuse(c, rc);
		return;
	}
	if (have < used + c->req.head.body_bytes) {
		if (c->state == CONN_HEAD) {
			set_state(c, CONN_BODY);
			set_deadline(c, c->server->opt.limits.body_ms);
			if (c->req.head.expect_continue)
				bufferevent_write(c->bev, "HTTP/1.1 100 Continue\r\n\r\n", 25);
		}
		return;
	}
	take_request(c, in, used);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct http_conn *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);

	switch (c->state) {
	case CONN_IDLE:
	case CONN_HEAD:
	case CONN_BODY:
		read_request(c);
		break;
	case CONN_STREAM:
	case CONN_END:
	case CONN_LINGER:
		c->lingered += evbuffer_get_length(in);
		evbuffer_drain(in, evbuffer_get_length(in));
		if (c->lingered > LINGER_MAX)
			http_conn_free(c);
		break;
	case CONN_BUSY:
	case CONN_REPLY:
		break; /* the next request waits; the read watermark bounds it */
	}
}

/* The answer is out. */
static void finish_reply(struct http_conn *c)
{
	if (!c->close_after && !c->server->stopping) {
		next_request(c);
		return;
	}
	/* Closing with unread input would reset the connection and could take the answer with it. */
	if (c->broken && !c->tls) {
		set_state(c, CONN_LINGER);
		set_deadline(c, LINGER_MS);
		shutdown(c->fd, SHUT_WR);
		on_read(c->bev, c);
		return;
	}
	http_conn_free(c);
}

static void next_request(struct http_conn *c)
{
	set_state(c, CONN_IDLE);
	set_deadline(c, c->server->opt.limits.idle_ms);
	read_request(c);
}

static void on_write(struct bufferevent *bev, void *arg)
{
	struct http_conn *c = arg;

	if (evbuffer_get_length(bufferevent_get_output(bev)))
		return;
	if (c->state == CONN_REPLY)
		finish_reply(c);
	else if (c->state == CONN_STREAM)
		c->ops->drained(c->stream_arg);
	else if (c->state == CONN_END)
		http_conn_free(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct http_conn *c = arg;

	(void)bev;
	if (what & BEV_EVENT_CONNECTED) {
		c->handshake = false;
		return;
	}
	/* A half-closed client may still read its answer, but an unanswered one is not worth it. */
	if ((what & BEV_EVENT_EOF) && c->state == CONN_REPLY) {
		c->close_after = true;
		return;
	}
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
		c->broken = true;
		http_conn_free(c);
	}
}

void http_conn_new(struct http_server *s, int fd, const char *peer)
{
	struct http_conn *c = lt_calloc(1, sizeof(*c));
	const int flags = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS;
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	c->server = s;
	c->fd = fd;
	if (s->tls) {
		SSL *ssl = SSL_new(s->tls);

		c->tls = c->handshake = true;
		c->bev = ssl ? bufferevent_openssl_socket_new(
				       s->loop->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, flags)
			     : NULL;
		if (c->bev)
			bufferevent_openssl_set_allow_dirty_shutdown(c->bev, 1);
	} else {
		c->bev = bufferevent_socket_new(s->loop->base, fd, flags);
	}
	if (!c->bev) {
		evutil_closesocket(fd);
		free(c);
		return;
	}
	memcpy(c->peer, peer, sizeof(c->peer));
	TAILQ_INSERT_TAIL(&s->conns, c, link);
	s->n_conns++;
	c->state = c->tls ? CONN_HEAD : CONN_IDLE;
	set_deadline(c, s->opt.limits.head_ms);
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, HTTP_HEAD_MAX + HTTP_BODY_MAX + 1024);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* Its deadline is over. */
void http_conn_sweep(struct http_conn *c, int64_t now_ns)
{
	size_t queued = http_stream_queued(c);

	(void)now_ns;
	if ((c->state == CONN_HEAD || c->state == CONN_BODY) && !c->handshake &&
		evbuffer_get_length(bufferevent_get_input(c->bev))) {
		refuse(c, 408);
	} else if (c->state == CONN_REPLY && queued < c->queued) {
		set_deadline(c, c->server->opt.limits.write_ms);
	} else {
		http_conn_free(c);
	}
}

/* ---- answers ---- */

static const char *status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {{200, "OK"}, {204, "No Content"}, {304, "Not Modified"}, {400, "Bad Request"},
		{401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"},
		{405, "Method Not Allowed"}, {408, "Request Timeout"}, {411, "Length Required"},
		{413, "Content Too Large"}, {414, "URI Too Long"}, {415, "Unsupported Media Type"},
		{417, "Expectation Failed"}, {422, "Unprocessable Content"},
		{429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"}, {501, "Not Implemented"},
		{503, "Service Unavailable"}, {504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"}};

	for (size_t i = 0; i < LT_ARRAY_LEN(texts); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Error";
}

static void put_head(struct http_conn *c, int status, const char *type, const char *cache,
	const char *headers, int64_t length, bool close)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	const struct http_options *o = &c->server->opt;
	const char *own = o->headers ? o->headers(o->arg, c->req.secure) : NULL;

	evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\nCache-Control: %s\r\n", status,
		status_text(status), cache ? cache : "no-store");
	if (type)
		evbuffer_add_printf(out, "Content-Type: %s\r\n", type);
	if (length >= 0)
		evbuffer_add_printf(out, "Content-Length: %lld\r\n", (long long)length);
	if (close)
		evbuffer_add_printf(out, "Connection: close\r\n");
	if (status == 405)
		evbuffer_add_printf(out, "Allow: GET, HEAD, POST\r\n");
	evbuffer_add_printf(out, "%s%s\r\n", own ? own : "", headers ? headers : "");
}

void http_reply(struct http_req *req, const struct http_reply *r)
{
	struct http_conn *c = req->conn;
	struct evbuffer *out = bufferevent_get_output(c->bev);
	bool body = req->head.method != HTTP_HEAD && r->status != 304 && r->status != 204;

	if (r->close)
		c->close_after = true;
	put_head(c, r->status, r->type, r->cache, r->headers,
		r->status == 204 || r->status == 304 ? -1 : (int64_t)r->size,
		c->close_after || c->server->stopping);
	if (body && r->size) {
		if (r->borrowed)
			evbuffer_add_reference(out, r->data, r->size, NULL, NULL);
		else
			evbuffer_add(out, r->data, r->size);
	}
	drop_request(c);
	set_state(c, CONN_REPLY);
	set_deadline(c, c->server->opt.limits.write_ms);
}

static void free_data(const void *data, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	free((void *)(uintptr_t)data);
}

void http_reply_buf(struct http_req *req, int status, const char *type, struct lt_buf *body)
{
	struct http_conn *c = req->conn;
	bool send = req->head.method != HTTP_HEAD && body->len;

	put_head(c, status, type, NULL, NULL, (int64_t)body->len,
		c->close_after || c->server->stopping);
	if (send) {
		evbuffer_add_reference(
			bufferevent_get_output(c->bev), body->data, body->len, free_data, NULL);
		memset(body, 0, sizeof(*body));
	} else {
		lt_buf_fini(body);
	}
	drop_request(c);
	set_state(c, CONN_REPLY);
	set_deadline(c, c->server->opt.limits.write_ms);
}

void http_reply_error(struct http_req *req, int status, int retry_after_s, const char *fmt, ...)
{
	char text[512], retry[48] = "";
	struct lt_buf body = {0};
	struct http_reply r = {.status = status, .type = "application/json"};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	lt_buf_str(&body, "{\"error\":");
	lt_buf_json_str(&body, text, strlen(text));
	if (retry_after_s) {
		lt_buf_printf(&body, ",\"retry_after_s\":%d", retry_after_s);
		snprintf(retry, sizeof(retry), "Retry-After: %d\r\n", retry_after_s);
		r.headers = retry;
	}
	lt_buf_str(&body, "}\n");
	r.data = body.data;
	r.size = body.len;
	http_reply(req, &r);
	lt_buf_fini(&body);
}

/* ---- streams ---- */

struct http_bytes *http_bytes_new(const void *data, size_t size)
{
	struct http_bytes *b = lt_malloc(sizeof(*b) + size);

	b->refs = 1;
	b->size = size;
	if (size)
		memcpy(b->data, data, size);
	return b;
}

void http_bytes_put(struct http_bytes *b)
{
	if (b && --b->refs == 0)
		free(b);
}

static void bytes_sent(const void *data, size_t size, void *arg)
{
	(void)data;
	(void)size;
	http_bytes_put(arg);
}

struct http_conn *http_stream_begin(
	struct http_req *req, const char *type, const struct http_stream_ops *ops, void *arg)
{
	struct http_conn *c = req->conn;
	int size = STREAM_SNDBUF;

	setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	put_head(c, 200, type, NULL, "X-Accel-Buffering: no\r\n", -1, true);
	drop_request(c);
	c->close_after = true;
	c->deadline_ns = 0;
	c->ops = ops;
	c->stream_arg = arg;
	c->lingered = 0;
	set_state(c, CONN_STREAM);
	return c;
}

void http_stream_send(struct http_conn *c, struct http_bytes *b)
{
	b->refs++;
	if (evbuffer_add_reference(
		    bufferevent_get_output(c->bev), b->data, b->size, bytes_sent, b) < 0)
		http_bytes_put(b);
}

void http_stream_copy(struct http_conn *c, const void *data, size_t size)
{
	evbuffer_add(bufferevent_get_output(c->bev), data, size);
}

size_t http_stream_queued(const struct http_conn *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->bev));
}

void http_stream_end(struct http_conn *c)
{
	c->ops = NULL;
	if (!http_stream_queued(c)) {
		http_conn_free(c);
		return;
	}
	set_state(c, CONN_END);
	set_deadline(c, END_MS);
}

void http_stream_cut(struct http_conn *c)
{
	c->ops = NULL;
	http_conn_free(c);
}
