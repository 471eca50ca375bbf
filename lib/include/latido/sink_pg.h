/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_SINK_PG_H
#define LATIDO_SINK_PG_H

#include "latido/consumer.h"

/**
 * lt_sink_pg_ops - PostgreSQL: one row a snapshot, numbered events exactly once
 *
 * Reads the sections postgres, store (retention, partitions_ahead, migrate) and limits. Errors:
 * RETRY for everything that passes by itself; POISON for an event that PostgreSQL refuses for its
 * data; CONFIG for refused credentials, a missing database or an unsuitable schema as long as it
 * has never worked, afterwards RETRY (servers are rebuilt under running stores).
 */
extern const struct lt_sink_ops lt_sink_pg_ops;

/** struct lt_migration - one numbered file of schemas/sql, compiled in */
struct lt_migration {
	int version;
	const char *name; /* "0001_tables.sql" */
	const char *sql;  /* NUL-terminated */
	size_t size;
};

/** lt_migrations() - all, ascending by version. */
const struct lt_migration *lt_migrations(size_t *n);

/**
 * lt_pg_migrate() - bring the database of @conf to this binary's schema; blocks
 * @list, @n: what to apply; NULL = lt_migrations().
 * @applied: out, may be NULL: how many were applied now.
 *
 * Each migration in its own transaction, all under an advisory lock: of two stores that start at
 * once the second waits and then finds them done.
 * Return: LT_OK; CONFIG: an applied file was changed, or the database is newer than this binary.
 */
int lt_pg_migrate(const struct lt_config *conf, const struct lt_migration *list, size_t n,
	size_t *applied, struct lt_err *err) LT_MUST_CHECK;

/** struct lt_gap_row - sequence numbers of one epoch that PostgreSQL does not hold */
struct lt_gap_row {
	char source[LT_SOURCE_MAX + 1]; /* "" = not of a source (kind bus) */
	char kind[16];                  /* as in table gap; "open" = it may still come */
	int64_t epoch, lo, hi;          /* both inclusive */
	int64_t noticed_us;
	const char
		*detail;   /* a JSON object, not NUL-terminated; of kind bus: topic and partition */
	size_t detail_len; /* 0 = none */
};

/**
 * lt_pg_list_gaps() - table gap, oldest first; blocks
 * @source: "" = all. @open: also the holes that may still be filled.
 */
int lt_pg_list_gaps(const struct lt_config *conf, const char *source, bool open,
	void (*each)(void *arg, const struct lt_gap_row *row), void *arg,
	struct lt_err *err) LT_MUST_CHECK;

/** struct lt_alert_row - one row of alert_event; texts are not NUL-terminated, "" = none */
struct lt_alert_row {
	int64_t at_ms, active_ms;
	const char *fingerprint, *state, *name, *source, *value;
	const char *labels, *annotations, *rule; /* JSON objects */
	size_t fingerprint_len, state_len, name_len, source_len, value_len, labels_len,
		annotations_len, rule_len;
};

/** struct lt_alert_query - "" = all; the newest @limit between two times, Unix ms */
struct lt_alert_query {
	const char *source, *name, *severity, *state;
	int64_t from_ms, to_ms, limit;
};

/** lt_pg_list_alerts() - table alert_event, oldest first; blocks. */
int lt_pg_list_alerts(const struct lt_config *conf, const struct lt_alert_query *q,
	void (*each)(void *arg, const struct lt_alert_row *row), void *arg,
	struct lt_err *err) LT_MUST_CHECK;

#endif
