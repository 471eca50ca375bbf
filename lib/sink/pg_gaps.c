/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "latido/sink_pg.h"
#include "pg_conn.h"

/* What latido gaps shows: holes that were given up, and, asked for, those that may still close. */

/* One statement, so that a hole that closes meanwhile is not shown twice. */
static const char sql[] =
	"SELECT s.name, e.epoch, g.kind, g.lo, g.hi, "
	"(extract(epoch FROM g.noticed) * 1000000)::bigint AS noticed, g.detail::text "
	"FROM gap g LEFT JOIN epoch e ON e.id = g.epoch_id LEFT JOIN source s ON s.id = "
	"e.source_id "
	"WHERE $1::text = '' OR s.name = $1::text "
	"UNION ALL "
	"SELECT s.name, e.epoch, 'open', lower(hole), upper(hole) - 1, "
	"(extract(epoch FROM p.changed) * 1000000)::bigint, NULL "
	"FROM progress p JOIN epoch e ON e.id = p.epoch_id JOIN source s ON s.id = e.source_id "
	"CROSS JOIN LATERAL unnest(int8multirange(int8range(p.upto + 1, upper(p.above))) - "
	"p.above) "
	"AS hole "
	"WHERE $2::boolean AND NOT isempty(p.above) AND ($1::text = '' OR s.name = $1::text) "
	"ORDER BY 6, 1, 2, 4";

int lt_pg_list_gaps(const struct lt_config *conf, const char *source, bool open,
	void (*each)(void *arg, const struct lt_gap_row *row), void *arg, struct lt_err *err)
{
	struct lt_pg pg = {.interrupt_fd = -1};
	const char yes = open ? 1 : 0;
	struct pg_result *r = NULL;
	struct lt_gap_row row;
	int rc = lt_pg_connect(&pg, &conf->postgres, err);

	if (rc == LT_OK)
		rc = lt_pg_query(&pg, sql,
			(struct lt_pg_param[]){{source, strlen(source)}, {&yes, 1}}, 2, &r, err);
	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r); i++) {
		const char *text;
		size_t n;

		memset(&row, 0, sizeof(row));
		text = lt_pg_bytes(r, i, 0, &n);
		memcpy(row.source, text, n < sizeof(row.source) ? n : sizeof(row.source) - 1);
		row.epoch = lt_pg_int(r, i, 1);
		text = lt_pg_bytes(r, i, 2, &n);
		memcpy(row.kind, text, n < sizeof(row.kind) ? n : sizeof(row.kind) - 1);
		row.lo = lt_pg_int(r, i, 3);
		row.hi = lt_pg_int(r, i, 4);
		row.noticed_us = lt_pg_int(r, i, 5);
		row.detail = lt_pg_bytes(r, i, 6, &row.detail_len);
		each(arg, &row);
	}
	lt_pg_result_free(r);
	lt_pg_close(&pg);
	return rc;
}
