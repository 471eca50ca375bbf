/* SPDX-License-Identifier: MIT */
#include "pg_conn.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "latido/mem.h"

/* The server's statement_timeout comes first: its error leaves the connection usable. */
#define GRACE_MS 2000

enum lt_class lt_pg_class(const char *sqlstate, bool worked, int *code)
{
	const char *s = sqlstate;

	if (!strcmp(s, "40001") || !strcmp(s, "40P01")) {
		*code = LT_ECONFLICT;
		return LT_CLS_RETRY;
	}
	/* Our own COPY encoding does not fit the table: no event is at fault. */
	if (!strcmp(s, "22P03") || !strcmp(s, "22P04")) {
		*code = LT_EINVAL;
		return LT_CLS_FATAL;
	}
	/* Data exceptions, constraints, program limits, RAISE in a trigger. */
	if (!strncmp(s, "22", 2) || !strncmp(s, "23", 2) || !strncmp(s, "54", 2) ||
		!strncmp(s, "P0", 2)) {
		*code = LT_EDATA;
		return LT_CLS_POISON;
	}
	if (!strncmp(s, "28", 2) || !strcmp(s, "42501") || !strcmp(s, "3D000")) {
		*code = LT_EAUTH;
		return worked ? LT_CLS_RETRY : LT_CLS_CONFIG;
	}
	if (!strncmp(s, "42", 2) || !strncmp(s, "3F", 2) || !strncmp(s, "0A", 2)) {
		*code = LT_ECONF;
		return worked ? LT_CLS_RETRY : LT_CLS_CONFIG;
	}
	*code = !strcmp(s, "57014") || !strcmp(s, "55P03") ? LT_ETIMEOUT : LT_EIO;
	return LT_CLS_RETRY;
}

/* The first line of libpq's text, and DETAIL and HINT behind it; LOCATION is of no use here. */
static void message_copy(char *out, size_t size, const char *msg)
{
	size_t n = 0;

	while (*msg && n + 3 < size) {
		size_t len = strcspn(msg, "\n");

		if (len && strncmp(msg, "LOCATION:", 9) && strncmp(msg, "LINE ", 5)) {
			if (n) {
				out[n++] = ';';
				out[n++] = ' ';
			}
			if (len > size - 1 - n)
				len = size - 1 - n;
			memcpy(out + n, msg, len);
			n += len;
			msg += len;
			msg += strcspn(msg, "\n");
		} else {
			msg += len;
		}
		msg += *msg == '\n';
	}
	out[n] = '\0';
}

/* A failure of the connection: nothing can be said about what was under way. */
static int fail_conn(struct lt_pg *c, const char *op, struct lt_err *err)
{
	char msg[400] = "not connected";

	if (c->conn)
		message_copy(msg, sizeof(msg), PQerrorMessage(c->conn));
	lt_pg_close(c);
	c->sqlstate[0] = '\0';
	return lt_fail(err, LT_EIO, LT_CLS_RETRY, op, "PostgreSQL: %s", msg);
}

static int fail_result(struct lt_pg *c, const PGresult *r, const char *op, struct lt_err *err)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *where = PQresultErrorField(r, PG_DIAG_CONTEXT);
	char msg[360], ctx[100] = "";
	enum lt_class cls;
	int code;

	if (!state || PQstatus(c->conn) == CONNECTION_BAD)
		return fail_conn(c, op, err);
	memcpy(c->sqlstate, state, 5);
	c->sqlstate[5] = '\0';
	cls = lt_pg_class(state, c->worked, &code);
	message_copy(msg, sizeof(msg), PQresultErrorMessage(r));
	if (where && !strstr(msg, where))
		message_copy(ctx, sizeof(ctx), where);
	return lt_fail(err, code, cls, op, "PostgreSQL: %s (%s)%s%s", msg, c->sqlstate,
		*ctx ? " at " : "", ctx);
}

static void on_notice(void *arg, const PGresult *r)
{
	const char *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

	(void)arg;
	if (!text)
		return;
	if (severity && !strcmp(severity, "WARNING"))
		lt_log(LT_WARN, "pg_warning", LT_S("text", text));
	else
		lt_log(LT_DEBUG, "pg_notice", LT_S("text", text));
}

/* Wait until the socket is ready, the deadline is over or somebody interrupts. */
static int wait_io(
	struct lt_pg *c, short events, int64_t deadline_ns, const char *op, struct lt_err *err)
{
	struct pollfd fds[2] = {
		{.fd = PQsocket(c->conn), .events = events},
		{.fd = c->interrupt_fd, .events = POLLIN},
	};

	for (;;) {
		int64_t left_ms = (deadline_ns - lt_mono_ns() + LT_NS_PER_MS - 1) / LT_NS_PER_MS;
		int n = poll(fds, 2, left_ms > 0 ? (int)left_ms : 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int e = errno;

			lt_pg_close(c);
			return lt_fail(err, LT_EIO, LT_CLS_RETRY, op, "poll: %s", strerror(e));
		}
		if (fds[1].revents) {
			lt_pg_close(c);
			return lt_fail(
				err, LT_ESTOPPED, LT_CLS_RETRY, op, "PostgreSQL: interrupted");
		}
		if (fds[0].revents)
			return LT_OK;
		if (left_ms <= 0) {
			lt_pg_close(c);
			return lt_fail(err, LT_ETIMEOUT, LT_CLS_RETRY, op,
				"PostgreSQL does not answer: gave up after %lld ms%s",
				(long long)c->timeout_ms + GRACE_MS,
				strcmp(op, "pg.commit") == 0 ? " for each statement" : "");
		}
	}
}

/* libpq gives up one host after tcp_user_timeout and goes to the next. */
static int64_t connect_deadline(const struct lt_pg *c, const char *dsn)
{
	int64_t hosts = 1;

	for (; *dsn; dsn++)
		hosts += *dsn == ',';
	return lt_mono_ns() + hosts * (c->timeout_ms + GRACE_MS) * LT_NS_PER_MS;
}

static int64_t deadline(const struct lt_pg *c)
{
	return lt_mono_ns() + (c->timeout_ms + GRACE_MS) * LT_NS_PER_MS;
}

/* Send everything that libpq has buffered; reads meanwhile, or both sides could wait for ever. */
static int flush_out(struct lt_pg *c, int64_t deadline_ns, const char *op, struct lt_err *err)
{
	for (;;) {
		int rc = PQflush(c->conn);

		if (rc == 0)
			return LT_OK;
		if (rc < 0)
			return fail_conn(c, op, err);
		rc = wait_io(c, POLLIN | POLLOUT, deadline_ns, op, err);
		if (rc != LT_OK)
			return rc;
		if (!PQconsumeInput(c->conn))
			return fail_conn(c, op, err);
	}
}

/* The next result, or NULL at the end of the command. */
static int next_result(
	struct lt_pg *c, int64_t deadline_ns, PGresult **out, const char *op, struct lt_err *err)
{
	while (PQisBusy(c->conn)) {
		int rc = wait_io(c, POLLIN, deadline_ns, op, err);

		if (rc != LT_OK)
			return rc;
		if (!PQconsumeInput(c->conn))
			return fail_conn(c, op, err);
	}
	*out = PQgetResult(c->conn);
	return LT_OK;
}

/* Read results to the end of the command. The last good one goes to @out, the first bad one wins. */
static int finish(
	struct lt_pg *c, int64_t deadline_ns, PGresult **out, const char *op, struct lt_err *err)
{
	PGresult *keep = NULL, *r;
	int rc, failed = LT_OK;

	for (;;) {
		rc = next_result(c, deadline_ns, &r, op, err);
		if (rc != LT_OK) {
			PQclear(keep);
			return rc;
		}
		if (!r)
			break;
		switch (PQresultStatus(r)) {
		case PGRES_TUPLES_OK:
		case PGRES_COMMAND_OK:
			PQclear(keep);
			keep = r;
			continue;
		case PGRES_COPY_IN:
		case PGRES_COPY_OUT:
		case PGRES_COPY_BOTH:
			/* Cannot happen with our statements, and would never end. */
			PQclear(r);
			PQclear(keep);
			lt_pg_close(c);
			return lt_fail(err, LT_EINVAL, LT_CLS_FATAL, op, "unexpected COPY");
		default:
			if (failed == LT_OK)
				failed = fail_result(c, r, op, err);
			PQclear(r);
			if (!c->conn) {
				PQclear(keep);
				return failed;
			}
		}
	}
	if (failed != LT_OK || !out) {
		PQclear(keep);
		return failed;
	}
	*out = keep;
	return LT_OK;
}

void lt_pg_close(struct lt_pg *c)
{
	if (c->conn)
		PQfinish(c->conn);
	c->conn = NULL;
	c->n_stmts = 0;
}

int lt_pg_check_dsn(const char *dsn, struct lt_err *err)
{
	char *msg = NULL;
	PQconninfoOption *opts = PQconninfoParse(dsn, &msg);

	if (opts) {
		PQconninfoFree(opts);
		return LT_OK;
	}
	if (msg)
		msg[strcspn(msg, "\n")] = '\0';
	lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "pg.dsn",
		"postgres.dsn is not a libpq connection string: %s; write for example "
		"\"host=127.0.0.1 dbname=latido user=latido\" or postgresql://user@host/database",
		msg ? msg : "out of memory");
	PQfreemem(msg);
	return LT_ECONF;
}

/*
 * libpq gives no SQLSTATE for a refused connection, but writes it into its text when it is asked to
 * be verbose: "FATAL:  28P01: password …". That does not depend on the server's language.
 */
static void connect_sqlstate(const char *msg, char out[6])
{
	const char *p;

	out[0] = '\0';
	for (p = strstr(msg, ":  "); p; p = strstr(p + 1, ":  ")) {
		size_t n = strspn(p + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");

		if (n == 5 && p[8] == ':') {
			memcpy(out, p + 3, 5);
			out[5] = '\0';
		}
	}
}

static int fail_connect(struct lt_pg *c, struct lt_err *err)
{
	char msg[400];
	enum lt_class cls = LT_CLS_RETRY;
	int code = LT_EIO;

	message_copy(msg, sizeof(msg), PQerrorMessage(c->conn));
	connect_sqlstate(PQerrorMessage(c->conn), c->sqlstate);
	if (*c->sqlstate) {
		cls = lt_pg_class(c->sqlstate, c->worked, &code);
		if (cls == LT_CLS_POISON || cls == LT_CLS_FATAL) /* bad option in the DSN */
			cls = c->worked ? LT_CLS_RETRY : LT_CLS_CONFIG;
	} else if (PQconnectionNeedsPassword(c->conn)) {
		cls = c->worked ? LT_CLS_RETRY : LT_CLS_CONFIG;
		code = LT_EAUTH;
	}
	lt_pg_close(c);
	return lt_fail(err, code, cls, "pg.connect", "%s%s", msg,
		cls == LT_CLS_CONFIG ? "; check postgres.dsn and postgres.password" : "");
}

static int session_setup(struct lt_pg *c, struct lt_err *err)
{
	char sql[640];
	int rc;

	if (PQserverVersion(c->conn) < 150000) {
		int v = PQserverVersion(c->conn);

		lt_pg_close(c);
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "pg.connect",
			"PostgreSQL %d is too old: Latido needs 15 or later", v / 10000);
	}
	/*
	 * Nested loops keep the order of our sorted arrays, and with it the order of row locks.
	 * A transaction that is left alone (we hang) must not keep its locks from another store.
	 * An acknowledged event must survive a crash of the server, whatever the role's defaults.
	 */
	snprintf(sql, sizeof(sql),
		"SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET enable_hashjoin = off; "
		"SET enable_mergejoin = off; SET default_transaction_isolation = 'read committed'; "
		"SET statement_timeout = %lld; SET idle_in_transaction_session_timeout = %lld; "
		"SELECT set_config('synchronous_commit', 'on', false) "
		"WHERE current_setting('synchronous_commit') = 'off'",
		(long long)c->timeout_ms, (long long)c->timeout_ms + GRACE_MS);
	rc = lt_pg_exec(c, sql, err);
	if (rc != LT_OK)
		return rc;
	if (strcmp(PQparameterStatus(c->conn, "server_encoding"), "UTF8")) {
		rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "pg.connect",
			"the database \"%s\" is encoded in %s: create one with ENCODING 'UTF8'",
			PQdb(c->conn), PQparameterStatus(c->conn, "server_encoding"));
		lt_pg_close(c);
		return rc;
	}
	if (!strcmp(PQparameterStatus(c->conn, "in_hot_standby"), "on")) {
		lt_pg_close(c);
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "pg.connect",
			"this server is a standby; with several hosts in postgres.dsn add "
			"target_session_attrs=read-write");
	}
	return LT_OK;
}

int lt_pg_connect(struct lt_pg *c, const struct lt_postgres_conf *conf, struct lt_err *err)
{
	char user_timeout[24];
	/* Later ones win: the DSN over our defaults, the password over the DSN. */
	const char *keys[] = {"fallback_application_name", "tcp_user_timeout", "keepalives_idle",
		"keepalives_interval", "keepalives_count", "gssencmode", "dbname",
		"client_encoding", *conf->password ? "password" : NULL, NULL};
	const char *values[] = {"latido-store", user_timeout, "30", "10", "3", "disable", conf->dsn,
		"UTF8", conf->password, NULL};
	int64_t until;

	lt_pg_close(c);
	c->sqlstate[0] = '\0';
	c->timeout_ms = conf->timeout_ms;
	until = connect_deadline(c, conf->dsn);
	snprintf(user_timeout, sizeof(user_timeout), "%lld", (long long)c->timeout_ms);
	c->conn = PQconnectStartParams(keys, values, 1);
	if (!c->conn)
		return fail_conn(c, "pg.connect", err);
	PQsetErrorVerbosity(c->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(c->conn, on_notice, NULL);
	if (PQstatus(c->conn) == CONNECTION_BAD)
		return fail_connect(c, err);
	for (PostgresPollingStatusType st = PGRES_POLLING_WRITING; st != PGRES_POLLING_OK;) {
		int rc = wait_io(c, st == PGRES_POLLING_READING ? POLLIN : POLLOUT, until,
			"pg.connect", err);

		if (rc != LT_OK)
			return rc;
		st = PQconnectPoll(c->conn);
		if (st == PGRES_POLLING_FAILED)
			return fail_connect(c, err);
	}
	PQsetErrorVerbosity(c->conn, PQERRORS_DEFAULT);
	if (PQsetnonblocking(c->conn, 1))
		return fail_conn(c, "pg.connect", err);
	return session_setup(c, err);
}

void lt_pg_where(const struct lt_pg *c, char *out, size_t size)
{
	if (c->conn)
		snprintf(out, size, "%s@%s:%s/%s", PQuser(c->conn), PQhost(c->conn),
			PQport(c->conn), PQdb(c->conn));
	else
		snprintf(out, size, "not connected");
}

int lt_pg_exec(struct lt_pg *c, const char *sql, struct lt_err *err)
{
	int64_t until = deadline(c);
	int rc;

	if (!c->conn || !PQsendQuery(c->conn, sql))
		return fail_conn(c, "pg.exec", err);
	rc = flush_out(c, until, "pg.exec", err);
	return rc == LT_OK ? finish(c, until, NULL, "pg.exec", err) : rc;
}

static int prepare(struct lt_pg *c, const char *sql, char name[16], struct lt_err *err)
{
	int64_t until = deadline(c);
	size_t i;
	int rc;

	for (i = 0; i < c->n_stmts && c->stmts[i] != sql; i++)
		;
	if (i == LT_PG_STMTS) {
		name[0] = '\0'; /* the unnamed statement: prepared each time */
	} else {
		snprintf(name, 16, "lt%zu", i);
		if (i < c->n_stmts)
			return LT_OK;
	}
	if (!PQsendPrepare(c->conn, name, sql, 0, NULL))
		return fail_conn(c, "pg.prepare", err);
	rc = flush_out(c, until, "pg.prepare", err);
	if (rc == LT_OK)
		rc = finish(c, until, NULL, "pg.prepare", err);
	if (rc == LT_OK && i < LT_PG_STMTS)
		c->stmts[c->n_stmts++] = sql;
	return rc;
}

#define PARAMS_MAX 16

static bool send_prepared(
	struct lt_pg *c, const char *name, const struct lt_pg_param *params, size_t n)
{
	const char *values[PARAMS_MAX];
	int lengths[PARAMS_MAX], formats[PARAMS_MAX];

	for (size_t i = 0; i < n; i++) {
		values[i] = params[i].data ? params[i].data : "";
		lengths[i] = (int)params[i].size;
		formats[i] = 1;
	}
	return PQsendQueryPrepared(c->conn, name, (int)n, values, lengths, formats, 1);
}

int lt_pg_query(struct lt_pg *c, const char *sql, const struct lt_pg_param *params, size_t n,
	struct pg_result **out, struct lt_err *err)
{
	char name[16];
	int64_t until = deadline(c);
	int rc;

	if (!c->conn)
		return fail_conn(c, "pg.query", err);
	if (n > PARAMS_MAX)
		return lt_fail(err, LT_EINVAL, LT_CLS_FATAL, "pg.query", "too many parameters");
	rc = prepare(c, sql, name, err);
	if (rc != LT_OK)
		return rc;
	if (!send_prepared(c, name, params, n))
		return fail_conn(c, "pg.query", err);
	rc = flush_out(c, until, "pg.query", err);
	return rc == LT_OK ? finish(c, until, out, "pg.query", err) : rc;
}

void lt_pg_result_free(struct pg_result *r)
{
	PQclear(r);
}

size_t lt_pg_rows(const struct pg_result *r)
{
	return r ? (size_t)PQntuples(r) : 0;
}

size_t lt_pg_affected(struct pg_result *r)
{
	return r ? strtoull(PQcmdTuples(r), NULL, 10) : 0;
}

bool lt_pg_null(const struct pg_result *r, size_t row, size_t col)
{
	return PQgetisnull(r, (int)row, (int)col);
}

int64_t lt_pg_int(const struct pg_result *r, size_t row, size_t col)
{
	const char *p = PQgetvalue(r, (int)row, (int)col);
	uint64_t v8;
	uint32_t v4;
	uint16_t v2;

	switch (PQgetlength(r, (int)row, (int)col)) {
	case 1:
		return *p;
	case 2:
		memcpy(&v2, p, 2);
		return (int16_t)be16toh(v2);
	case 4:
		memcpy(&v4, p, 4);
		return (int32_t)be32toh(v4);
	case 8:
		memcpy(&v8, p, 8);
		return (int64_t)be64toh(v8);
	default:
		return 0;
	}
}

const char *lt_pg_bytes(const struct pg_result *r, size_t row, size_t col, size_t *size)
{
	if (size)
		*size = (size_t)PQgetlength(r, (int)row, (int)col);
	return PQgetvalue(r, (int)row, (int)col);
}

int lt_pg_copy_begin(struct lt_pg *c, const char *sql, struct lt_err *err)
{
	int64_t until = deadline(c);
	PGresult *r;
	int rc;

	if (!c->conn || !PQsendQuery(c->conn, sql))
		return fail_conn(c, "pg.copy", err);
	rc = flush_out(c, until, "pg.copy", err);
	if (rc != LT_OK)
		return rc;
	for (;;) {
		ExecStatusType st;

		rc = next_result(c, until, &r, "pg.copy", err);
		if (rc != LT_OK)
			return rc;
		if (!r)
			return lt_fail(err, LT_EINVAL, LT_CLS_FATAL, "pg.copy", "no COPY began");
		st = PQresultStatus(r);
		if (st == PGRES_COPY_IN) {
			PQclear(r);
			return LT_OK;
		}
		if (st != PGRES_COMMAND_OK) {
			rc = fail_result(c, r, "pg.copy", err);
			PQclear(r);
			if (c->conn) { /* read up to the end of the failed command */
				int rc2 = finish(c, until, NULL, "pg.copy", NULL);

				(void)rc2;
			}
			return rc;
		}
		PQclear(r);
	}
}

int lt_pg_copy_data(struct lt_pg *c, const void *p, size_t n, struct lt_err *err)
{
	int64_t until = deadline(c);

	if (!c->conn)
		return fail_conn(c, "pg.copy", err);
	while (n) {
		/* libpq buffers all that it cannot send: hand it over in pieces. */
		size_t part = n < 65536 ? n : 65536;
		int rc = PQputCopyData(c->conn, p, (int)part);

		if (rc < 0)
			return fail_conn(c, "pg.copy", err);
		if (rc == 1) {
			p = (const char *)p + part;
			n -= part;
		}
		rc = flush_out(c, until, "pg.copy", err);
		if (rc != LT_OK)
			return rc;
	}
	return LT_OK;
}

int lt_pg_copy_end(struct lt_pg *c, struct lt_err *err)
{
	int64_t until = deadline(c);
	int rc;

	if (!c->conn)
		return fail_conn(c, "pg.copy", err);
	for (;;) {
		int sent = PQputCopyEnd(c->conn, NULL);

		if (sent < 0)
			return fail_conn(c, "pg.copy", err);
		rc = flush_out(c, until, "pg.copy", err);
		if (rc != LT_OK)
			return rc;
		if (sent)
			return finish(c, until, NULL, "pg.copy", err);
	}
}

/* To the end of a pipeline; the first failure wins. */
static int finish_pipeline(struct lt_pg *c, int64_t deadline_ns, struct lt_err *err)
{
	int rc, failed = LT_OK;
	unsigned ends = 0;

	for (;;) {
		PGresult *r;
		ExecStatusType st;

		rc = next_result(c, deadline_ns, &r, "pg.commit", err);
		if (rc != LT_OK)
			return rc;
		/* NULL stands behind each statement's result: two of them, and the server is gone. */
		ends = r ? 0 : ends + 1;
		if (ends > 1)
			return fail_conn(c, "pg.commit", err);
		if (!r)
			continue;
		st = PQresultStatus(r);
		if (failed == LT_OK && st != PGRES_COMMAND_OK && st != PGRES_TUPLES_OK &&
			st != PGRES_PIPELINE_SYNC)
			failed = fail_result(c, r, "pg.commit", err);
		PQclear(r);
		if (!c->conn)
			return failed;
		if (st == PGRES_PIPELINE_SYNC)
			return failed;
	}
}

int lt_pg_commit(struct lt_pg *c, const struct lt_pg_call *calls, size_t n, struct lt_err *err)
{
	/* The server allows statement_timeout to each; who leaves before it ends does not know
	 * whether it commits. */
	int64_t until = deadline(c) + (int64_t)n * c->timeout_ms * LT_NS_PER_MS;
	char names[LT_PG_CALLS][16];
	int rc = LT_OK;

	if (!c->conn)
		return fail_conn(c, "pg.commit", err);
	if (n > LT_PG_CALLS)
		return lt_fail(err, LT_EINVAL, LT_CLS_FATAL, "pg.commit", "too many statements");
	for (size_t i = 0; rc == LT_OK && i < n; i++) {
		rc = prepare(c, calls[i].sql, names[i], err);
		if (rc == LT_OK && !*names[i])
			rc = lt_fail(err, LT_EINVAL, LT_CLS_FATAL, "pg.commit",
				"more than %d statements are prepared", LT_PG_STMTS);
	}
	if (rc != LT_OK)
		return rc;
	if (!PQenterPipelineMode(c->conn))
		return fail_conn(c, "pg.commit", err);
	for (size_t i = 0; i < n; i++)
		if (!send_prepared(c, names[i], calls[i].params, calls[i].n))
			return fail_conn(c, "pg.commit", err);
	if (!PQsendQueryParams(c->conn, "COMMIT", 0, NULL, NULL, NULL, NULL, 0) ||
		!PQpipelineSync(c->conn))
		return fail_conn(c, "pg.commit", err);
	rc = flush_out(c, until, "pg.commit", err);
	if (rc == LT_OK)
		rc = finish_pipeline(c, until, err);
	if (c->conn && !PQexitPipelineMode(c->conn))
		return fail_conn(c, "pg.commit", err);
	return rc;
}

void lt_pg_rollback(struct lt_pg *c)
{
	if (!c->conn || PQtransactionStatus(c->conn) == PQTRANS_IDLE)
		return;
	if (PQtransactionStatus(c->conn) == PQTRANS_ACTIVE || lt_pg_exec(c, "ROLLBACK", NULL))
		lt_pg_close(c);
}
