/* SPDX-License-Identifier: MIT */
#include "latido/redis.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* What a socket takes at once: larger buffers are moved about after each write. */
#define PUSH_BYTES (64 << 10)

struct lt_redis {
	const struct lt_redis_conf *conf;
	char *host; /* NULL: path */
	char *path;
	int port;
	int db;
	char *username; /* from the URL or the configuration, "" = none */
	char *password;
	char *where;
	redisContext *ctx;
	size_t unread;        /* bytes of commands since the last read */
	size_t buffered;      /* of these, not handed to the kernel yet */
	pthread_mutex_t lock; /* fd against interrupt from another thread */
	int fd;
};

/* ---- address ---- */

static int url_fail(struct lt_err *err, const char *url, const char *why)
{
	return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "redis.url",
		"redis.url \"%s\": %s; expected redis://[user@]host[:port][/db] or "
		"unix:///path[?db=n]",
		url, why);
}

static bool parse_uint(const char *s, size_t n, int max, int *out)
{
	long v = 0;

	if (n == 0 || n > 9)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (s[i] - '0');
	}
	if (v > max)
		return false;
	*out = (int)v;
	return true;
}

static int parse_unix(struct lt_redis *r, const char *url, struct lt_err *err)
{
	const char *path = url + strlen("unix://");
	const char *query = strchr(path, '?');
	size_t n = query ? (size_t)(query - path) : strlen(path);

	if (path[0] != '/' || n < 2)
		return url_fail(err, url, "the socket's path must be absolute");
	if (n >= 108)
		return url_fail(err, url, "the socket's path is longer than 107 bytes");
	if (query && (strncmp(query, "?db=", 4) ||
			     !parse_uint(query + 4, strlen(query + 4), 1 << 20, &r->db)))
		return url_fail(err, url, "only ?db=<number> may follow the path");
	r->path = lt_strndup(path, n);
	r->where = r->db ? lt_asprintf("%s db %d", r->path, r->db) : lt_strdup(r->path);
	return LT_OK;
}

static int parse_tcp(struct lt_redis *r, const char *url, struct lt_err *err)
{
	const char *p = url + strlen("redis://");
	const char *slash = strchr(p, '/');
	const char *end = slash ? slash : p + strlen(p);
	const char *at = memchr(p, '@', (size_t)(end - p));
	const char *colon;

	if (slash && slash[1] && !parse_uint(slash + 1, strlen(slash + 1), 1 << 20, &r->db))
		return url_fail(err, url, "the database after '/' must be a number");
	if (at) {
		if (memchr(p, ':', (size_t)(at - p)))
			return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "redis.url",
				"redis.url: a password in the URL would be shown in logs and "
				"process lists; "
				"use redis.password_file");
		free(r->username);
		r->username = lt_strndup(p, (size_t)(at - p));
		p = at + 1;
	}
	if (*p == '[') {
		const char *close = memchr(p, ']', (size_t)(end - p));

		if (!close)
			return url_fail(err, url, "']' is missing");
		r->host = lt_strndup(p + 1, (size_t)(close - p - 1));
		colon = close + 1;
		if (colon != end && *colon != ':')
			return url_fail(err, url, "unexpected text after ']'");
	} else {
		colon = memchr(p, ':', (size_t)(end - p));
		if (!colon)
			colon = end;
		r->host = lt_strndup(p, (size_t)(colon - p));
	}
	if (!r->host[0])
		return url_fail(err, url, "the host is missing");
	r->port = 6379;
	if (colon != end &&
		(!parse_uint(colon + 1, (size_t)(end - colon - 1), 65535, &r->port) || !r->port))
		return url_fail(err, url, "the port must be 1 to 65535");
	r->where = lt_asprintf(
		strchr(r->host, ':') ? "[%s]:%d/%d" : "%s:%d/%d", r->host, r->port, r->db);
	return LT_OK;
}

struct lt_redis *lt_redis_new(const struct lt_redis_conf *conf, struct lt_err *err)
{
	struct lt_redis *r = lt_calloc(1, sizeof(*r));
	int rc;

	r->conf = conf;
	r->fd = -1;
	r->username = lt_strdup(conf->username ? conf->username : "");
	r->password = lt_strdup(conf->password ? conf->password : "");
	pthread_mutex_init(&r->lock, NULL);
	if (!strncmp(conf->url, "unix://", strlen("unix://")))
		rc = parse_unix(r, conf->url, err);
	else if (!strncmp(conf->url, "redis://", strlen("redis://")))
		rc = parse_tcp(r, conf->url, err);
	else if (!strncmp(conf->url, "rediss://", strlen("rediss://")))
		rc = url_fail(err, conf->url,
			"TLS is not spoken; put stunnel beside Redis or use its Unix socket");
	else
		rc = url_fail(err, conf->url, "unknown scheme");
	if (rc == LT_OK && r->username[0] && !r->password[0])
		rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "redis.url",
			"redis: user \"%s\" without a password; set redis.password_file",
			r->username);
	if (rc != LT_OK) {
		lt_redis_free(r);
		return NULL;
	}
	return r;
}

void lt_redis_free(struct lt_redis *r)
{
	if (!r)
		return;
	lt_redis_close(r);
	free(r->host);
	free(r->path);
	free(r->username);
	if (r->password)
		explicit_bzero(r->password, strlen(r->password));
	free(r->password);
	free(r->where);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

const char *lt_redis_where(const struct lt_redis *r)
{
	return r->where;
}

/* ---- connection ---- */

static int io_fail(struct lt_redis *r, const char *op, struct lt_err *err)
{
	int saved = errno;
	const char *why = r->ctx->errstr;
	int code = LT_EIO;

	/* A receive timeout shows as EAGAIN on the blocking socket. */
	if (r->ctx->err == REDIS_ERR_IO && (saved == EAGAIN || saved == ETIMEDOUT)) {
		why = "no answer in time";
		code = LT_ETIMEOUT;
	}
	lt_fail(err, code, LT_CLS_RETRY, op, "Redis %s: %s", r->where, why);
	lt_redis_close(r);
	return code;
}

bool lt_redis_connected(const struct lt_redis *r)
{
	return r->ctx != NULL;
}

void lt_redis_close(struct lt_redis *r)
{
	if (!r->ctx)
		return;
	pthread_mutex_lock(&r->lock);
	r->fd = -1;
	pthread_mutex_unlock(&r->lock);
	redisFree(r->ctx);
	r->ctx = NULL;
	r->unread = r->buffered = 0;
}

void lt_redis_interrupt(struct lt_redis *r)
{
	pthread_mutex_lock(&r->lock);
	if (r->fd >= 0)
		shutdown(r->fd, SHUT_RDWR);
	pthread_mutex_unlock(&r->lock);
}

static int login(struct lt_redis *r, struct lt_err *err)
{
	struct lt_redis_cmd c = {0};
	int rc = LT_OK;

	if (r->password[0]) {
		lt_redis_begin(&c, "AUTH");
		if (r->username[0])
			lt_redis_str(&c, r->username);
		lt_redis_str(&c, r->password);
		rc = lt_redis_call(r, &c, NULL, err);
		explicit_bzero(c.args.data, c.args.len);
		if (rc == LT_EDATA) /* "AUTH called without any password configured" */
			rc = lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, "redis.auth",
				"Redis %s has no password set, but redis.password is configured",
				r->where);
	}
	if (rc == LT_OK && r->db) {
		lt_redis_begin(&c, "SELECT");
		lt_redis_i64(&c, r->db);
		rc = lt_redis_call(r, &c, NULL, err);
		if (rc == LT_EDATA)
			rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "redis.select",
				"Redis %s: database %d does not exist there", r->where, r->db);
	}
	if (rc == LT_OK) {
		/* LOADING, NOAUTH and the like show here and not in the middle of a batch. */
		lt_redis_begin(&c, "PING");
		rc = lt_redis_call(r, &c, NULL, err);
	}
	lt_redis_cmd_fini(&c);
	return rc;
}

int lt_redis_connect(struct lt_redis *r, struct lt_err *err)
{
	int64_t ms = r->conf->timeout_ms > 0 ? r->conf->timeout_ms : 5000;
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	int rc;

	lt_redis_close(r);
	r->ctx = r->host ? redisConnectWithTimeout(r->host, r->port, tv)
			 : redisConnectUnixWithTimeout(r->path, tv);
	if (!r->ctx)
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "redis.connect", "Redis %s: no memory",
			r->where);
	if (r->ctx->err)
		return io_fail(r, "redis.connect", err);
	if (redisSetTimeout(r->ctx, tv) != REDIS_OK ||
		(r->host && redisEnableKeepAlive(r->ctx) != REDIS_OK))
		return io_fail(r, "redis.connect", err);
	pthread_mutex_lock(&r->lock);
	r->fd = r->ctx->fd;
	pthread_mutex_unlock(&r->lock);
	rc = login(r, err);
	if (rc != LT_OK)
		lt_redis_close(r);
	return rc;
}

/* ---- commands ---- */

void lt_redis_cmd_fini(struct lt_redis_cmd *c)
{
	lt_buf_fini(&c->args);
}

void lt_redis_begin(struct lt_redis_cmd *c, const char *name)
{
	lt_buf_reset(&c->args);
	c->n = 0;
	lt_redis_str(c, name);
}

/* Numbers are written by hand: this runs once for each field of each snapshot. */
static char *digits(char *end, uint64_t v)
{
	do {
		*--end = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return end;
}

#define HEADER_MAX 24

/* "$<n>\r\n" in front of @end. */
static char *header(char *end, char type, uint64_t n)
{
	*--end = '\n';
	*--end = '\r';
	end = digits(end, n);
	*--end = type;
	return end;
}

void lt_redis_arg2(struct lt_redis_cmd *c, const void *a, size_t na, const void *b, size_t nb)
{
	char text[HEADER_MAX];
	const char *from = header(text + sizeof(text), '$', na + nb);
	size_t n = (size_t)(text + sizeof(text) - from);
	char *p = lt_buf_room(&c->args, n + na + nb + 2);

	memcpy(p, from, n);
	if (na)
		memcpy(p + n, a, na);
	if (nb)
		memcpy(p + n + na, b, nb);
	memcpy(p + n + na + nb, "\r\n", 3);
	c->args.len += n + na + nb + 2;
	c->n++;
}

void lt_redis_arg(struct lt_redis_cmd *c, const void *p, size_t n)
{
	lt_redis_arg2(c, p, n, NULL, 0);
}

void lt_redis_str(struct lt_redis_cmd *c, const char *s)
{
	lt_redis_arg(c, s, strlen(s));
}

void lt_redis_i64(struct lt_redis_cmd *c, int64_t v)
{
	char text[24];
	bool negative = v < 0;
	char *p = digits(text + sizeof(text), negative ? 0 - (uint64_t)v : (uint64_t)v);

	if (negative)
		*--p = '-';
	lt_redis_arg(c, p, (size_t)(text + sizeof(text) - p));
}

void lt_redis_u64(struct lt_redis_cmd *c, uint64_t v)
{
	char text[24];
	char *p = digits(text + sizeof(text), v);

	lt_redis_arg(c, p, (size_t)(text + sizeof(text) - p));
}

void lt_redis_key(struct lt_redis_cmd *c, const char *prefix, const char *rest)
{
	lt_redis_arg2(c, prefix, strlen(prefix), rest, strlen(rest));
}

/* Redis works on what it has while the next commands are made. Blocks while its buffers are full;
 * it reads also while its answers are not fetched. */
static int push(struct lt_redis *r, struct lt_err *err)
{
	int done = 0;

	while (!done)
		if (redisBufferWrite(r->ctx, &done) != REDIS_OK)
			return io_fail(r, "redis.send", err);
	r->buffered = 0;
	return LT_OK;
}

int lt_redis_append(struct lt_redis *r, const struct lt_redis_cmd *c, struct lt_err *err)
{
	char text[HEADER_MAX];
	const char *from;
	size_t n;

	if (!r->ctx)
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "redis.send", "Redis %s: not connected",
			r->where);
	from = header(text + sizeof(text), '*', c->n);
	n = (size_t)(text + sizeof(text) - from);
	/* It takes any bytes; one command in two pieces saves a copy. */
	if (redisAppendFormattedCommand(r->ctx, from, n) != REDIS_OK ||
		redisAppendFormattedCommand(r->ctx, c->args.data, c->args.len) != REDIS_OK)
		return io_fail(r, "redis.send", err);
	r->unread += n + c->args.len;
	r->buffered += n + c->args.len;
	return r->buffered >= PUSH_BYTES ? push(r, err) : LT_OK;
}

size_t lt_redis_unread_bytes(const struct lt_redis *r)
{
	return r->unread;
}

/* ---- replies ---- */

static const redisReply *raw(const struct lt_reply *r)
{
	return (const redisReply *)r;
}

enum lt_reply_type lt_reply_type(const struct lt_reply *r)
{
	switch (raw(r)->type) {
	case REDIS_REPLY_STRING:
		return LT_REPLY_STRING;
	case REDIS_REPLY_STATUS:
		return LT_REPLY_STATUS;
	case REDIS_REPLY_INTEGER:
		return LT_REPLY_INT;
	case REDIS_REPLY_ARRAY:
		return LT_REPLY_ARRAY;
	case REDIS_REPLY_ERROR:
		return LT_REPLY_ERROR;
	default:
		return LT_REPLY_NIL;
	}
}

int64_t lt_reply_int(const struct lt_reply *r)
{
	return raw(r)->type == REDIS_REPLY_INTEGER ? raw(r)->integer : 0;
}

const char *lt_reply_str(const struct lt_reply *r, size_t *len)
{
	enum lt_reply_type t = lt_reply_type(r);
	bool text = t == LT_REPLY_STRING || t == LT_REPLY_STATUS || t == LT_REPLY_ERROR;

	if (len)
		*len = text ? raw(r)->len : 0;
	return text ? raw(r)->str : "";
}

size_t lt_reply_n(const struct lt_reply *r)
{
	return raw(r)->type == REDIS_REPLY_ARRAY ? raw(r)->elements : 0;
}

const struct lt_reply *lt_reply_at(const struct lt_reply *r, size_t i)
{
	static const redisReply nil = {.type = REDIS_REPLY_NIL};

	if (i >= lt_reply_n(r))
		return (const struct lt_reply *)&nil;
	return (const struct lt_reply *)raw(r)->element[i];
}

void lt_reply_free(struct lt_reply *r)
{
	if (r)
		freeReplyObject(r);
}

int lt_redis_read(struct lt_redis *r, struct lt_reply **out, struct lt_err *err)
{
	void *reply = NULL;

	*out = NULL;
	if (!r->ctx)
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "redis.read", "Redis %s: not connected",
			r->where);
	errno = 0;
	if (redisGetReply(r->ctx, &reply) != REDIS_OK || !reply)
		return io_fail(r, "redis.read", err);
	r->unread = r->buffered = 0;
	*out = reply;
	return LT_OK;
}

int lt_redis_wait(struct lt_redis *r, int64_t timeout_ms, struct lt_reply **out, struct lt_err *err)
{
	struct pollfd pfd = {.fd = r->ctx ? r->ctx->fd : -1, .events = POLLIN};
	void *reply = NULL;
	int n, done = 0;

	*out = NULL;
	if (!r->ctx)
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "redis.read", "Redis %s: not connected",
			r->where);
	errno = 0;
	while (!done)
		if (redisBufferWrite(r->ctx, &done) != REDIS_OK)
			return io_fail(r, "redis.send", err);
	r->unread = r->buffered = 0;
	if (redisGetReplyFromReader(r->ctx, &reply) != REDIS_OK)
		return io_fail(r, "redis.read", err);
	if (!reply) {
		n = poll(&pfd, 1, (int)timeout_ms);
		if (n == 0 || (n < 0 && errno == EINTR))
			return LT_EAGAIN;
		if (n < 0 || redisBufferRead(r->ctx) != REDIS_OK ||
			redisGetReplyFromReader(r->ctx, &reply) != REDIS_OK)
			return io_fail(r, "redis.read", err);
	}
	*out = reply;
	return reply ? LT_OK : LT_EAGAIN;
}

int lt_redis_call(
	struct lt_redis *r, const struct lt_redis_cmd *c, struct lt_reply **out, struct lt_err *err)
{
	struct lt_reply *reply;
	int rc;

	if (out)
		*out = NULL;
	rc = lt_redis_append(r, c, err);
	if (rc == LT_OK)
		rc = lt_redis_read(r, &reply, err);
	if (rc != LT_OK)
		return rc;
	rc = lt_reply_fail(reply, "redis.reply", err);
	if (rc == LT_OK && out)
		*out = reply;
	else
		lt_reply_free(reply);
	return rc;
}

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

int lt_reply_fail(const struct lt_reply *r, const char *op, struct lt_err *err)
{
	/* What the server says while it cannot serve; the same command works later. */
	static const char *const later[] = {"LOADING", "READONLY", "OOM", "BUSY", "MISCONF",
		"MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "UNBLOCKED",
		"ERR Function not found", "ERR max number of clients"};
	static const char *const refused[] = {
		"NOAUTH", "WRONGPASS", "NOPERM", "ERR Client sent AUTH", "ERR AUTH", "DENIED"};
	const char *text;

	if (lt_reply_type(r) != LT_REPLY_ERROR)
		return LT_OK;
	text = lt_reply_str(r, NULL);
	for (size_t i = 0; i < LT_ARRAY_LEN(later); i++)
		if (starts(text, later[i]))
			return lt_fail(err, LT_EIO, LT_CLS_RETRY, op, "Redis: %s", text);
	for (size_t i = 0; i < LT_ARRAY_LEN(refused); i++)
		if (starts(text, refused[i]))
			return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, op,
				"Redis refuses us: %s; check redis.username, redis.password_file "
				"and the ACL",
				text);
	return lt_fail(err, LT_EDATA, LT_CLS_POISON, op, "Redis: %s", text);
}
