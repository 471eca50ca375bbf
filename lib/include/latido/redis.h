/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_REDIS_H
#define LATIDO_REDIS_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/config.h"
#include "latido/err.h"
#include "latido/mem.h"

/*
 * A blocking, pipelining Redis client: the one file that knows the client library is
 * lib/sink/redis_client.c. One connection belongs to one thread; lt_redis_interrupt() alone may be
 * called from others.
 */

struct lt_redis;

/** lt_redis_new() - reads conf->url; no I/O. Return: NULL with @err (CONFIG) for a malformed URL. */
struct lt_redis *lt_redis_new(const struct lt_redis_conf *conf, struct lt_err *err);
void lt_redis_free(struct lt_redis *r);

/**
 * lt_redis_connect() - connect, authenticate, select the database
 *
 * An existing connection is closed first. Blocks up to redis.timeout.
 * Return: LT_OK; LT_EIO (RETRY): unreachable, loading; LT_EAUTH or LT_ECONF (CONFIG).
 */
int lt_redis_connect(struct lt_redis *r, struct lt_err *err) LT_MUST_CHECK;
bool lt_redis_connected(const struct lt_redis *r);
/** lt_redis_close() - drop the connection and whatever was not read. */
void lt_redis_close(struct lt_redis *r);
/** lt_redis_interrupt() - make what blocks return with an error; any thread. */
void lt_redis_interrupt(struct lt_redis *r);
/** lt_redis_where() - "127.0.0.1:6379/0" or "/run/redis.sock", for messages. */
const char *lt_redis_where(const struct lt_redis *r);

/* ---- sending ---- */

/** struct lt_redis_cmd - one command being built; zero-initialised is valid, reused, lt_buf inside */
struct lt_redis_cmd {
	struct lt_buf args;
	unsigned n;
};

void lt_redis_cmd_fini(struct lt_redis_cmd *c);
/** lt_redis_begin() - start over with a command name. */
void lt_redis_begin(struct lt_redis_cmd *c, const char *name);
void lt_redis_arg(struct lt_redis_cmd *c, const void *p, size_t n);
void lt_redis_str(struct lt_redis_cmd *c, const char *s);
void lt_redis_i64(struct lt_redis_cmd *c, int64_t v);
void lt_redis_u64(struct lt_redis_cmd *c, uint64_t v);
/** lt_redis_arg2() - two pieces as one argument; the second may be empty. */
void lt_redis_arg2(struct lt_redis_cmd *c, const void *a, size_t na, const void *b, size_t nb);
/** lt_redis_key() - @prefix and @rest as one argument. */
void lt_redis_key(struct lt_redis_cmd *c, const char *prefix, const char *rest);

/**
 * lt_redis_append() - put the command into the pipeline
 *
 * Sent when enough has come together, or before the next read. May block as a read.
 */
int lt_redis_append(
	struct lt_redis *r, const struct lt_redis_cmd *c, struct lt_err *err) LT_MUST_CHECK;
/** lt_redis_unread_bytes() - of the commands appended since the last read. */
size_t lt_redis_unread_bytes(const struct lt_redis *r);

/* ---- receiving ---- */

enum lt_reply_type {
	LT_REPLY_NIL = 0,
	LT_REPLY_STRING, /* bulk string */
	LT_REPLY_STATUS, /* "OK" */
	LT_REPLY_INT,
	LT_REPLY_ARRAY,
	LT_REPLY_ERROR,
};

/** struct lt_reply - one reply; what it points to lives until lt_reply_free() of the outermost */
struct lt_reply;

enum lt_reply_type lt_reply_type(const struct lt_reply *r);
int64_t lt_reply_int(const struct lt_reply *r); /* 0 unless INT */
/** lt_reply_str() - text of STRING, STATUS, ERROR (NUL-terminated, may hold NULs), else "". */
const char *lt_reply_str(const struct lt_reply *r, size_t *len);
size_t lt_reply_n(const struct lt_reply *r); /* elements of ARRAY, else 0 */
/** lt_reply_at() - element @i, owned by @r; beyond the end a NIL. */
const struct lt_reply *lt_reply_at(const struct lt_reply *r, size_t i);
void lt_reply_free(struct lt_reply *r);

/**
 * lt_redis_read() - the next reply of the pipeline, in order
 *
 * Sends what is unsent first. A failure closes the connection: what was in flight may or may not
 * have been carried out. Error replies are replies: see lt_reply_fail().
 * Return: LT_OK with *out to be freed; LT_EIO or LT_ETIMEOUT (RETRY).
 */
int lt_redis_read(struct lt_redis *r, struct lt_reply **out, struct lt_err *err) LT_MUST_CHECK;
/**
 * lt_redis_wait() - the next reply if it comes within @timeout_ms: for subscriptions
 *
 * Sends what is unsent first. Return: LT_OK with *out to be freed; LT_EAGAIN: none yet; LT_EIO (RETRY):
 * the connection is closed.
 */
int lt_redis_wait(struct lt_redis *r, int64_t timeout_ms, struct lt_reply **out,
	struct lt_err *err) LT_MUST_CHECK;
/** lt_redis_call() - append and read; an error reply is a failure. @out may be NULL. */
int lt_redis_call(struct lt_redis *r, const struct lt_redis_cmd *c, struct lt_reply **out,
	struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_reply_fail() - what an error reply means
 *
 * Return: LT_OK when @r is not an error; LT_EIO (RETRY): the server cannot now (loading, read-only,
 * out of memory, function library gone ...); LT_EAUTH (CONFIG): credentials or permissions; LT_EDATA (POISON): this
 * command or this key only (WRONGTYPE ...).
 */
int lt_reply_fail(const struct lt_reply *r, const char *op, struct lt_err *err) LT_MUST_CHECK;

#endif
