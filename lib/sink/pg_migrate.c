/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "latido/log.h"
#include "pg_copy.h"
#include "sink_pg.h"

/*
 * Numbered files under schemas/sql, compiled in (embed_sql.S). Forward only: an applied file never
 * changes, a new one is added. The table remembers the digest of each.
 */

#define LOCK_ID    "7809634510551053616"
#define MIGRATE_MS 3600000 /* an index over old data may take its time */

#define MIGRATION(version, name) extern const char lt_sql_##version[], lt_sql_##version##_end[];

MIGRATION(0001, "tables")
MIGRATION(0002, "store")
MIGRATION(0003, "views")
MIGRATION(0004, "kafka")
MIGRATION(0005, "alerts")
MIGRATION(0006, "metricas")
MIGRATION(0007, "rollup")
MIGRATION(0008, "advance")
MIGRATION(0009, "shapes")

static struct lt_migration embedded[] = {
	{1, "0001_tables.sql", lt_sql_0001, 0},
	{2, "0002_store.sql", lt_sql_0002, 0},
	{3, "0003_views.sql", lt_sql_0003, 0},
	{4, "0004_kafka.sql", lt_sql_0004, 0},
	{5, "0005_alerts.sql", lt_sql_0005, 0},
	{6, "0006_metricas.sql", lt_sql_0006, 0},
	{7, "0007_rollup.sql", lt_sql_0007, 0},
	{8, "0008_advance.sql", lt_sql_0008, 0},
	{9, "0009_shapes.sql", lt_sql_0009, 0},
};

const struct lt_migration *lt_migrations(size_t *n)
{
	static const char *const ends[] = {lt_sql_0001_end, lt_sql_0002_end, lt_sql_0003_end,
		lt_sql_0004_end, lt_sql_0005_end, lt_sql_0006_end, lt_sql_0007_end, lt_sql_0008_end,
		lt_sql_0009_end};

	_Static_assert(LT_ARRAY_LEN(ends) == LT_ARRAY_LEN(embedded), "a file without its end");
	for (size_t i = 0; i < LT_ARRAY_LEN(embedded); i++)
		if (!embedded[i].size)
			embedded[i].size = (size_t)(ends[i] - embedded[i].sql);
	*n = LT_ARRAY_LEN(embedded);
	return embedded;
}

static int digest(
	struct lt_pg *pg, const struct lt_migration *m, struct lt_buf *out, struct lt_err *err)
{
	struct pg_result *r = NULL;
	size_t size;
	const char *p;
	int rc = lt_pg_query(pg, "SELECT sha256($1::bytea)",
		(struct lt_pg_param[]){{m->sql, m->size}}, 1, &r, err);

	if (rc != LT_OK)
		return rc;
	p = lt_pg_bytes(r, 0, 0, &size);
	lt_buf_reset(out);
	lt_buf_add(out, p, size);
	lt_pg_result_free(r);
	return LT_OK;
}

static int table_exists(struct lt_pg *pg, bool *exists, struct lt_err *err)
{
	struct pg_result *r = NULL;
	int rc = lt_pg_query(
		pg, "SELECT to_regclass('schema_migration') IS NOT NULL", NULL, 0, &r, err);

	if (rc == LT_OK)
		*exists = lt_pg_int(r, 0, 0);
	lt_pg_result_free(r);
	return rc;
}

/* How many of @list are applied, which must be the first ones, unchanged. */
static int check(struct lt_pg *pg, const struct lt_migration *list, size_t n, size_t *applied,
	struct lt_err *err)
{
	struct pg_result *r = NULL;
	struct lt_buf sum = {0};
	bool exists = false;
	int rc = table_exists(pg, &exists, err);

	*applied = 0;
	if (rc != LT_OK || !exists)
		return rc;
	rc = lt_pg_query(pg, "SELECT version, name, sha256 FROM schema_migration ORDER BY version",
		NULL, 0, &r, err);
	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r); i++) {
		int64_t version = lt_pg_int(r, i, 0);
		const char *name = lt_pg_bytes(r, i, 1, NULL);
		size_t size;
		const char *p = lt_pg_bytes(r, i, 2, &size);

		if (i >= n || list[i].version < version) {
			rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "pg.schema",
				"the database has migration %s, which this latido-store does not "
				"know: install the newer latido-store, or use another database",
				name);
			break;
		}
		if (list[i].version > version) {
			rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "pg.schema",
				"the database has a migration %s that is not in this latido-store: "
				"it belongs to another program or branch; use another database",
				name);
			break;
		}
		rc = digest(pg, &list[i], &sum, err);
		if (rc == LT_OK && (sum.len != size || memcmp(sum.data, p, size)))
			rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "pg.schema",
				"%s was changed after it had been applied to this database: "
				"restore that file, and put the change into a new migration",
				list[i].name);
		++*applied;
	}
	lt_buf_fini(&sum);
	lt_pg_result_free(r);
	return rc;
}

static int apply_one(struct lt_pg *pg, const struct lt_migration *m, struct lt_err *err)
{
	static const char insert[] = "INSERT INTO schema_migration (version, name, sha256) "
				     "SELECT $1::bigint::int, $2::text, sha256($3::bytea)";
	struct lt_buf version = {0};
	int rc = lt_pg_exec(pg, "BEGIN", err);

	lt_pg_array_i8(&version, m->version);
	if (rc == LT_OK)
		rc = lt_pg_exec(pg, m->sql, err);
	if (rc == LT_OK)
		rc = lt_pg_query(pg, insert,
			(struct lt_pg_param[]){{version.data + 4, 8}, {m->name, strlen(m->name)},
				{m->sql, m->size}},
			3, NULL, err);
	if (rc == LT_OK)
		rc = lt_pg_exec(pg, "COMMIT", err);
	lt_buf_fini(&version);
	if (rc != LT_OK) {
		lt_pg_rollback(pg);
		lt_err_prefix(err, "migration %s", m->name);
	} else {
		lt_log(LT_INFO, "pg_migrated", LT_S("file", m->name));
	}
	return rc;
}

static int apply_missing(struct lt_pg *pg, const struct lt_migration *list, size_t n,
	size_t *applied, struct lt_err *err)
{
	size_t there;
	int rc;

	rc = lt_pg_exec(pg,
		"CREATE TABLE IF NOT EXISTS schema_migration (version int PRIMARY KEY, "
		"name text NOT NULL, sha256 bytea NOT NULL, "
		"applied timestamptz NOT NULL DEFAULT now())",
		err);
	if (rc == LT_OK)
		rc = check(pg, list, n, &there, err);
	for (size_t i = there; rc == LT_OK && i < n; i++) {
		rc = apply_one(pg, &list[i], err);
		if (rc == LT_OK)
			++*applied;
	}
	return rc;
}

static int apply_locked(struct lt_pg *pg, const struct lt_migration *list, size_t n,
	size_t *applied, struct lt_err *err)
{
	int64_t timeout_ms = pg->timeout_ms;
	char sql[64];
	int rc;

	/* A second store waits here while the first migrates. */
	pg->timeout_ms = MIGRATE_MS;
	snprintf(sql, sizeof(sql), "SET statement_timeout = %d", MIGRATE_MS);
	rc = lt_pg_exec(pg, sql, err);
	if (rc == LT_OK)
		rc = lt_pg_exec(pg, "SELECT pg_advisory_lock(" LOCK_ID ")", err);
	if (rc == LT_OK) {
		int rc2;

		rc = apply_missing(pg, list, n, applied, err);
		rc2 = pg->conn ? lt_pg_exec(pg, "SELECT pg_advisory_unlock(" LOCK_ID ")",
					 rc == LT_OK ? err : NULL)
			       : LT_OK;
		if (rc == LT_OK)
			rc = rc2;
	}
	pg->timeout_ms = timeout_ms;
	if (rc != LT_OK)
		return rc;
	snprintf(sql, sizeof(sql), "SET statement_timeout = %lld", (long long)timeout_ms);
	return lt_pg_exec(pg, sql, err);
}

int lt_pg_schema_apply(struct lt_pg *pg, const struct lt_migration *list, size_t n, bool apply,
	size_t *applied, struct lt_err *err)
{
	size_t there = 0, now = 0;
	int rc = check(pg, list, n, &there, err);

	if (applied)
		*applied = 0;
	if (rc != LT_OK || there == n)
		return rc;
	if (!apply)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "pg.schema",
			"the database schema is at version %d, this latido-store needs %d: run "
			"latido-store --migrate, or set store.migrate: true",
			there ? list[there - 1].version : 0, list[n - 1].version);
	rc = apply_locked(pg, list, n, &now, err);
	if (applied)
		*applied = now;
	return rc;
}

int lt_pg_migrate(const struct lt_config *conf, const struct lt_migration *list, size_t n,
	size_t *applied, struct lt_err *err)
{
	struct lt_pg pg = {.interrupt_fd = -1};
	int rc;

	if (!list)
		list = lt_migrations(&n);
	rc = lt_pg_check_dsn(conf->postgres.dsn, err);
	if (rc == LT_OK)
		rc = lt_pg_connect(&pg, &conf->postgres, err);
	if (rc == LT_OK)
		rc = lt_pg_schema_apply(&pg, list, n, true, applied, err);
	lt_pg_close(&pg);
	return rc;
}
