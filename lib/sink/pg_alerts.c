/* SPDX-License-Identifier: MIT */
#include <endian.h>
#include <string.h>

#include "latido/sink_pg.h"
#include "pg_conn.h"

/* What latido alerts --history shows: the table that latido-alert writes. */

static const char sql[] =
	"SELECT (extract(epoch FROM at) * 1000)::bigint, (extract(epoch FROM active_at) * "
	"1000)::bigint, fingerprint, state, name, coalesce(source, ''), value IS NULL, "
	"coalesce(value, 0)::text, labels::text, annotations::text, rule::text "
	"FROM (SELECT * FROM alert_event WHERE ($1::text = '' OR source = $1::text) "
	"AND ($2::text = '' OR name = $2::text) "
	"AND ($3::text = '' OR labels->>'severity' = $3::text) "
	"AND ($4::text = '' OR state = $4::text) "
	"AND at >= timestamptz 'epoch' + $5::int8 * interval '1 millisecond' "
	"AND at <= timestamptz 'epoch' + $6::int8 * interval '1 millisecond' "
	"ORDER BY at DESC, fingerprint, state LIMIT $7::int8) x "
	"ORDER BY at, fingerprint, array_position("
	"ARRAY['pending', 'firing', 'resolved', 'cancelled'], state)";

static const char *text(const struct pg_result *r, size_t row, size_t col, size_t *n)
{
	return lt_pg_bytes(r, row, col, n);
}

int lt_pg_list_alerts(const struct lt_config *conf, const struct lt_alert_query *q,
	void (*each)(void *arg, const struct lt_alert_row *row), void *arg, struct lt_err *err)
{
	struct lt_pg pg = {.interrupt_fd = -1};
	uint64_t from = htobe64((uint64_t)q->from_ms), to = htobe64((uint64_t)q->to_ms);
	uint64_t limit = htobe64((uint64_t)q->limit);
	struct pg_result *r = NULL;
	int rc = lt_pg_connect(&pg, &conf->postgres, err);

	if (rc == LT_OK)
		rc = lt_pg_query(&pg, sql,
			(struct lt_pg_param[]){{q->source, strlen(q->source)},
				{q->name, strlen(q->name)}, {q->severity, strlen(q->severity)},
				{q->state, strlen(q->state)}, {&from, sizeof(from)},
				{&to, sizeof(to)}, {&limit, sizeof(limit)}},
			7, &r, err);
	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r); i++) {
		struct lt_alert_row row = {
			.at_ms = lt_pg_int(r, i, 0), .active_ms = lt_pg_int(r, i, 1)};

		row.fingerprint = text(r, i, 2, &row.fingerprint_len);
		row.state = text(r, i, 3, &row.state_len);
		row.name = text(r, i, 4, &row.name_len);
		row.source = text(r, i, 5, &row.source_len);
		row.value = text(r, i, 7, &row.value_len);
		if (lt_pg_int(r, i, 6))
			row.value_len = 0;
		row.labels = text(r, i, 8, &row.labels_len);
		row.annotations = text(r, i, 9, &row.annotations_len);
		row.rule = text(r, i, 10, &row.rule_len);
		each(arg, &row);
	}
	lt_pg_result_free(r);
	lt_pg_close(&pg);
	return rc;
}
