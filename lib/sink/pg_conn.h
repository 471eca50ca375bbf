/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_PG_CONN_H
#define LATIDO_PG_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/config.h"
#include "latido/err.h"

/*
 * libpq behind a few blocking calls that never block longer than their deadline and can be
 * interrupted from another thread. pg_conn.c alone includes libpq-fe.h.
 */

struct pg_conn;   /* libpq's PGconn */
struct pg_result; /* libpq's PGresult */

#define LT_PG_STMTS 64

struct lt_pg {
	struct pg_conn *conn; /* NULL: not connected */
	int interrupt_fd;     /* eventfd; readable = give up; -1: cannot be interrupted */
	int64_t timeout_ms;   /* of one call; the server gets it as statement_timeout */
	bool worked;          /* was usable once: refusals are temporary from then on */
	char sqlstate[6];     /* of the last failure; "" when the connection itself failed */
	const char *stmts[LT_PG_STMTS]; /* prepared in this connection, by address of their text */
	size_t n_stmts;
};

/** struct lt_pg_param - one parameter in binary format; its type comes from a cast in the text */
struct lt_pg_param {
	const void *data;
	size_t size;
};

/** lt_pg_check_dsn() - is it a well-formed connection string? No I/O. */
int lt_pg_check_dsn(const char *dsn, struct lt_err *err) LT_MUST_CHECK;

/** lt_pg_connect() - connect and set up the session; a former connection is closed first. */
int lt_pg_connect(
	struct lt_pg *c, const struct lt_postgres_conf *conf, struct lt_err *err) LT_MUST_CHECK;
/** lt_pg_close() - safe when not connected. An open transaction is gone with it. */
void lt_pg_close(struct lt_pg *c);
/** lt_pg_where() - "user@host:port/database" for logs; @out of any size. */
void lt_pg_where(const struct lt_pg *c, char *out, size_t size);

/** lt_pg_exec() - one or more statements without parameters or results. */
int lt_pg_exec(struct lt_pg *c, const char *sql, struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_pg_query() - one statement with parameters; results in binary format
 * @sql: a constant: prepared at its first use in a connection and found again by its address.
 * @out: freed by lt_pg_result_free(); may be NULL.
 */
int lt_pg_query(struct lt_pg *c, const char *sql, const struct lt_pg_param *params, size_t n,
	struct pg_result **out, struct lt_err *err) LT_MUST_CHECK;
void lt_pg_result_free(struct pg_result *r);
size_t lt_pg_rows(const struct pg_result *r);
/** lt_pg_affected() - rows that an INSERT, UPDATE or DELETE changed. */
size_t lt_pg_affected(struct pg_result *r);
bool lt_pg_null(const struct pg_result *r, size_t row, size_t col);
/** lt_pg_int() - boolean, int2, int4, int8, date or timestamptz (us since 2000); NULL is 0. */
int64_t lt_pg_int(const struct pg_result *r, size_t row, size_t col);
/** lt_pg_bytes() - text or bytea; valid until the result is freed. */
const char *lt_pg_bytes(const struct pg_result *r, size_t row, size_t col, size_t *size);

/** lt_pg_copy_begin() - COPY … FROM STDIN; other statements may stand in front of it. */
int lt_pg_copy_begin(struct lt_pg *c, const char *sql, struct lt_err *err) LT_MUST_CHECK;
int lt_pg_copy_data(struct lt_pg *c, const void *p, size_t n, struct lt_err *err) LT_MUST_CHECK;
int lt_pg_copy_end(struct lt_pg *c, struct lt_err *err) LT_MUST_CHECK;

#define LT_PG_CALLS       8 /* of one lt_pg_commit() */
#define LT_PG_CALL_PARAMS 5

/** struct lt_pg_call - a statement of lt_pg_commit() */
struct lt_pg_call {
	const char *sql; /* as in lt_pg_query() */
	struct lt_pg_param params[LT_PG_CALL_PARAMS];
	size_t n;
};

/**
 * lt_pg_commit() - the last statements of the open transaction and COMMIT, in one round trip
 *
 * Results are dropped, so the statements themselves must fail when something is not as it should
 * be; what stands behind a failed one is not carried out. The transaction is then still open.
 */
int lt_pg_commit(struct lt_pg *c, const struct lt_pg_call *calls, size_t n,
	struct lt_err *err) LT_MUST_CHECK;

/** lt_pg_rollback() - leave a transaction if there is one; closes the connection if it must. */
void lt_pg_rollback(struct lt_pg *c);

/**
 * lt_pg_class() - what a SQLSTATE means for us
 * @code: out: LT_ECONFLICT (redo at once), LT_EDATA, LT_EAUTH, LT_ECONF, LT_ETIMEOUT or LT_EIO.
 */
enum lt_class lt_pg_class(const char *sqlstate, bool worked, int *code);

#endif
