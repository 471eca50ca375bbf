/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "pg_copy.h"
#include "sink_pg.h"

/*
 * Daily partitions of snapshot: made days ahead and on demand, dropped as wholes when they are past
 * retention.
 *
 * Expiry is COMMENT, DETACH CONCURRENTLY, DROP, each its own transaction, so that neither readers
 * nor writers wait. The comment marks what a crash left in between; tables that somebody detached
 * to keep them do not have it. A clock that leaps must not take the data with it: see held().
 */

#define DAY_US       INT64_C(86400000000)
#define DETACH_MS    2000 /* it waits for readers of the partition; ingestion waits for it */
#define LEAP_NS      (3600 * LT_NS_PER_S)
#define HOLD_NS      (24 * 3600 * LT_NS_PER_S)
#define RETENTION_ID "7809634510551053618"

static int load(struct lt_sink_pg *s, struct lt_err *err)
{
	static const char sql[] = "SELECT lo, hi FROM latido_partition "
				  "WHERE NOT detaching AND lo IS NOT NULL ORDER BY lo";
	struct pg_result *r = NULL;
	int rc;

	if (s->partitions_loaded)
		return LT_OK;
	rc = lt_pg_query(&s->pg, sql, NULL, 0, &r, err);
	if (rc != LT_OK)
		return rc;
	s->n_partitions = lt_pg_rows(r);
	s->partitions = lt_realloc(
		s->partitions, (s->n_partitions ? s->n_partitions : 1) * sizeof(*s->partitions));
	for (size_t i = 0; i < s->n_partitions; i++)
		s->partitions[i] = (struct lt_pg_partition){lt_pg_int(r, i, 0), lt_pg_int(r, i, 1)};
	lt_pg_result_free(r);
	s->partitions_loaded = true;
	return LT_OK;
}

void lt_pg_partitions_forget(struct lt_sink_pg *s)
{
	s->partitions_loaded = false;
}

static bool covered(const struct lt_sink_pg *s, int64_t time_us)
{
	size_t lo = 0, hi = s->n_partitions;

	while (lo < hi) { /* the last one that begins at or before */
		size_t mid = lo + (hi - lo) / 2;

		if (s->partitions[mid].lo_us <= time_us)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && time_us < s->partitions[lo - 1].hi_us;
}

static int64_t day_of(int64_t time_us)
{
	return time_us / DAY_US - (time_us % DAY_US < 0);
}

static int ensure(struct lt_sink_pg *s, int64_t time_us, bool limited, bool *ok, struct lt_err *err)
{
	static const char sql[] =
		"SELECT latido_partition_create('2000-01-01'::date + $1::bigint::int)";
	struct lt_buf *day = &s->param[0];
	struct pg_result *r = NULL;
	int rc = load(s, err);

	*ok = true;
	if (rc != LT_OK || covered(s, time_us))
		return rc;
	if (limited && s->n_partitions >= LT_PG_PARTITIONS_MAX) {
		*ok = false;
		return LT_OK;
	}
	lt_buf_reset(day);
	lt_pg_array_i8(day, day_of(time_us));
	rc = lt_pg_query(&s->pg, sql, (struct lt_pg_param[]){{day->data + 4, 8}}, 1, &r, err);
	if (rc != LT_OK && !strcmp(s->pg.sqlstate, "42P17")) {
		/* Somebody made a partition that covers a part of this day, maybe this one. */
		lt_complain(&s->overlap_complaint, LT_WARN, "pg_partition_overlap",
			LT_S("err", err ? err->msg : NULL));
		s->partitions_loaded = false;
		rc = load(s, err);
		*ok = rc == LT_OK && covered(s, time_us);
		return rc;
	}
	if (rc != LT_OK)
		return rc;
	if (lt_pg_int(r, 0, 0))
		lt_counter_add(&lt_pg_stats.partitions_made, 1);
	lt_pg_result_free(r);
	s->partitions_loaded = false;
	return load(s, err);
}

int lt_pg_partition_for(struct lt_sink_pg *s, int64_t time_us, bool *ok, struct lt_err *err)
{
	return ensure(s, time_us, true, ok, err);
}

int lt_pg_partitions_ahead(struct lt_sink_pg *s, struct lt_err *err)
{
	int64_t now_us = lt_pg_time_us(lt_wall_ns());
	int rc = LT_OK;
	bool ok;

	s->partitions_loaded = false; /* another store may have dropped some */
	for (int64_t d = 0; rc == LT_OK && d <= s->conf->store.partitions_ahead; d++)
		rc = ensure(s, now_us + d * DAY_US, false, &ok, err);
	return rc;
}

/* ---- retention ---- */

/*
 * When the wall clock leapt against the monotonic one, nothing is dropped for a day: time for
 * somebody, or for NTP, to put it right.
 */
static bool held(struct lt_sink_pg *s)
{
	int64_t mono_ns = lt_mono_ns();
	int64_t offset_ns = lt_wall_ns() - mono_ns;
	int64_t leap_ns = offset_ns - s->clock_offset_ns;

	if (s->clock_offset_ns && (leap_ns > LEAP_NS || leap_ns < -LEAP_NS)) {
		s->retention_held_until_ns = mono_ns + HOLD_NS;
		lt_log(LT_ERROR, "retention_held", LT_I("clock_leapt_s", leap_ns / LT_NS_PER_S),
			LT_S("remedy", "check the clock; nothing is dropped for 24 h, or until a "
				       "restart"));
	}
	s->clock_offset_ns = offset_ns;
	return s->retention_held_until_ns && mono_ns < s->retention_held_until_ns;
}

/* @table is quoted by the server (regclass). */
static int ddl(struct lt_sink_pg *s, const char *before, const char *table, const char *after,
	struct lt_err *err)
{
	char *sql = lt_asprintf("%s %s %s", before, table, after);
	int rc = lt_pg_exec(&s->pg, sql, err);

	free(sql);
	return rc;
}

/* @detaching: a DETACH was begun and not finished. */
static int drop_partition(
	struct lt_sink_pg *s, const char *table, bool attached, bool detaching, struct lt_err *err)
{
	int rc = LT_OK;

	if (attached && !detaching) {
		rc = ddl(s, "COMMENT ON TABLE", table, "IS 'latido: expired'", err);
		if (rc == LT_OK)
			rc = ddl(s, "ALTER TABLE snapshot DETACH PARTITION", table, "CONCURRENTLY",
				err);
	} else if (attached) {
		rc = ddl(s, "ALTER TABLE snapshot DETACH PARTITION", table, "FINALIZE", err);
	}
	if (rc == LT_OK)
		rc = ddl(s, "DROP TABLE", table, "", err);
	if (rc != LT_OK) {
		lt_err_prefix(err, "dropping the expired partition %s", table);
		return rc;
	}
	s->partitions_loaded = false;
	lt_counter_add(&lt_pg_stats.partitions_dropped, 1);
	lt_log(LT_INFO, "pg_partition_dropped", LT_S("table", table));
	return LT_OK;
}

static int drop_oldest(struct lt_sink_pg *s, bool *more, struct lt_err *err)
{
	/* Both clocks have to agree that it is over. */
	static const char sql[] =
		"SELECT partition::text, true, detaching FROM latido_partition "
		"WHERE (detaching AND obj_description(partition, 'pg_class') = 'latido: expired') "
		"OR hi <= least($1::timestamptz, now() - $2::bigint * interval '1 ms') "
		"UNION ALL "
		"SELECT c.oid::regclass::text, false, false FROM pg_class c "
		"WHERE c.relkind = 'r' AND NOT c.relispartition AND c.relname LIKE 'snapshot\\_%' "
		"AND obj_description(c.oid, 'pg_class') = 'latido: expired' "
		"ORDER BY 3 DESC, 2, 1 LIMIT 2";
	struct lt_buf *p = s->param;
	struct pg_result *r = NULL;
	int64_t keep_ms = s->conf->store.retention_ms;
	int rc;

	lt_buf_reset(&p[0]);
	lt_buf_reset(&p[1]);
	lt_pg_array_i8(&p[0], lt_pg_time_us(lt_wall_ns() - keep_ms * LT_NS_PER_MS));
	lt_pg_array_i8(&p[1], keep_ms);
	rc = lt_pg_query(&s->pg, sql,
		(struct lt_pg_param[]){{p[0].data + 4, 8}, {p[1].data + 4, 8}}, 2, &r, err);
	if (rc == LT_OK && lt_pg_rows(r))
		rc = drop_partition(
			s, lt_pg_bytes(r, 0, 0, NULL), lt_pg_int(r, 0, 1), lt_pg_int(r, 0, 2), err);
	*more = rc == LT_OK && lt_pg_rows(r) > 1;
	lt_pg_result_free(r);
	return rc;
}

static int timeout_set(struct lt_sink_pg *s, int64_t ms, struct lt_err *err)
{
	char sql[64];

	snprintf(sql, sizeof(sql), "SET statement_timeout = %lld", (long long)ms);
	return lt_pg_exec(&s->pg, sql, err);
}

int lt_pg_retention(struct lt_sink_pg *s, bool *more, struct lt_err *err)
{
	struct pg_result *r = NULL;
	bool locked;
	int rc, rc2;

	*more = false;
	if (!s->conf->store.retention_ms || held(s))
		return LT_OK;
	rc = lt_pg_query(&s->pg, "SELECT pg_try_advisory_lock(" RETENTION_ID ")", NULL, 0, &r, err);
	if (rc != LT_OK)
		return rc;
	locked = lt_pg_int(r, 0, 0);
	lt_pg_result_free(r);
	if (!locked)
		return LT_OK; /* another store is at it */
	if (DETACH_MS < s->pg.timeout_ms)
		rc = timeout_set(s, DETACH_MS, err);
	if (rc == LT_OK)
		rc = drop_oldest(s, more, err);
	if (!s->pg.conn)
		return rc;
	rc2 = timeout_set(s, s->pg.timeout_ms, rc == LT_OK ? err : NULL);
	if (rc2 == LT_OK)
		rc2 = lt_pg_query(&s->pg, "SELECT pg_advisory_unlock(" RETENTION_ID ")", NULL, 0,
			NULL, rc == LT_OK ? err : NULL);
	return rc == LT_OK ? rc2 : rc;
}

int lt_pg_expire_rest(struct lt_sink_pg *s, struct lt_err *err)
{
	static const char strays[] = "DELETE FROM snapshot_stray "
				     "WHERE arrived < now() - $1::bigint * interval '1 ms'";
	static const char shapes[] = "SELECT latido_drop_shapes($1::bigint * interval '1 ms')";
	/* As far back as there are partitions: roll-ups of what is gone go, too. */
	static const char rollups[] =
		"DELETE FROM rollup WHERE time < (SELECT min(lo) FROM latido_partition)";
	static const char marks[] =
		"DELETE FROM rollup_dirty WHERE time < (SELECT min(lo) FROM latido_partition)";
	static const char epochs[] = "SELECT latido_close_epochs('24 hours')";
	struct lt_buf *p = s->param;
	struct pg_result *r = NULL;
	int rc;

	rc = lt_pg_query(&s->pg, epochs, NULL, 0, &r, err);
	if (rc != LT_OK)
		return rc;
	lt_counter_add(&lt_pg_stats.gap_events, (uint64_t)lt_pg_int(r, 0, 0));
	lt_pg_result_free(r);
	if (!s->conf->store.retention_ms || held(s))
		return LT_OK;
	lt_buf_reset(&p[0]);
	lt_buf_reset(&p[1]);
	lt_pg_array_i8(&p[0], s->conf->store.retention_ms);
	/* A row may be in the future by max_ahead, and its partition lives to the end of its day. */
	lt_pg_array_i8(&p[1],
		s->conf->store.retention_ms + s->conf->limits.max_ahead_ms + 2 * DAY_US / 1000);
	rc = lt_pg_query(&s->pg, strays, (struct lt_pg_param[]){{p[0].data + 4, 8}}, 1, NULL, err);
	if (rc == LT_OK)
		rc = lt_pg_query(
			&s->pg, shapes, (struct lt_pg_param[]){{p[1].data + 4, 8}}, 1, NULL, err);
	if (rc == LT_OK)
		rc = lt_pg_query(&s->pg, rollups, NULL, 0, NULL, err);
	if (rc == LT_OK)
		rc = lt_pg_query(&s->pg, marks, NULL, 0, NULL, err);
	return rc;
}
