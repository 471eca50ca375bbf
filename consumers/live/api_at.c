/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/sink/pg_values.h"
#include "live.h"

/*
 * GET /api/v1/nodes/<source>/at: all that a source said last at an instant of the past. Rows of
 * snapshot do not say of which stream they are, and the shape of a process table changes with every
 * process; but a metric's name belongs to one stream. So each name is taken from the newest event
 * that has it, whole: what was gone by then is not shown.
 */

#define NAMES_MAX  64
#define SERIES_MAX 20000
#define SEPARATOR  '\001' /* between names: in none of them */

/*
 * $1 source, $2 time in ms, $3 names ("" = all). Of at most 5 000 events of the five minutes before
 * the newest one, the newest of each of at most 500 shapes.
 */
static const char select_state[] =
	"WITH src AS MATERIALIZED (SELECT id FROM source WHERE name = $1::text), "
	"last AS MATERIALIZED (SELECT time FROM snapshot WHERE source_id = (SELECT id FROM src) "
	"AND time <= 'epoch'::timestamptz + $2::int8 * interval '1 millisecond' "
	"ORDER BY time DESC LIMIT 1), "
	"recent AS (SELECT time, seq, epoch_id, shape_id FROM snapshot "
	"WHERE source_id = (SELECT id FROM src) AND time <= (SELECT time FROM last) "
	"AND time > (SELECT time FROM last) - interval '5 minutes' "
	"ORDER BY time DESC, seq DESC LIMIT 5000), "
	"shapes AS MATERIALIZED (SELECT DISTINCT ON (shape_id) * FROM recent "
	"ORDER BY shape_id, time DESC, seq DESC), "
	"few AS MATERIALIZED (SELECT * FROM shapes ORDER BY time DESC, seq DESC LIMIT 500), "
	"owned AS MATERIALIZED (SELECT DISTINCT ON (e.name) e.name, f.shape_id "
	"FROM few f JOIN shape_series p ON p.shape_id = f.shape_id JOIN series e ON e.id = "
	"p.series_id "
	"WHERE $3::text = '' OR e.name = ANY(string_to_array($3::text, chr(1))) "
	"ORDER BY e.name, f.time DESC, f.seq DESC), "
	"told AS (SELECT f.* FROM few f WHERE f.shape_id IN (SELECT shape_id FROM owned)) "
	"SELECT (extract(epoch FROM t.time) * 1000)::int8, (SELECT epoch FROM epoch WHERE id = "
	"t.epoch_id), t.seq, e.name, e.labels::text, e.kind::int4, v.value, t.shape_id, "
	"(SELECT (extract(epoch FROM time) * 1000)::int8 FROM last) "
	"FROM told t CROSS JOIN LATERAL (SELECT s.vals FROM snapshot s "
	"WHERE s.source_id = (SELECT id FROM src) AND s.time = t.time AND s.seq = t.seq "
	"AND s.shape_id = t.shape_id AND s.epoch_id = t.epoch_id LIMIT 1) x "
	"CROSS JOIN LATERAL unnest(x.vals) WITH ORDINALITY AS v (value, pos) "
	"JOIN shape_series p ON p.shape_id = t.shape_id AND p.pos = v.pos "
	"JOIN series e ON e.id = p.series_id "
	"JOIN owned o ON o.name = e.name AND o.shape_id = t.shape_id "
	"ORDER BY t.time DESC, t.seq DESC, t.shape_id, p.pos LIMIT 20001";

static const char select_last[] =
	"SELECT (extract(epoch FROM time) * 1000)::int8 FROM snapshot "
	"WHERE source_id = (SELECT id FROM source WHERE name = $1::text) "
	"AND time <= 'epoch'::timestamptz + $2::int8 * interval '1 millisecond' "
	"ORDER BY time DESC LIMIT 1";

struct at_job {
	struct answer_job a;
	char source[LT_SOURCE_MAX + 1];
	int64_t at_ms;
	struct lt_buf names;
};

static void put_text(struct lt_buf *b, const struct pg_result *r, size_t row, size_t col)
{
	size_t n;
	const char *s = lt_pg_bytes(r, row, col, &n);

	lt_buf_json_str(b, s, n);
}

static bool same_event(const struct pg_result *r, size_t a, size_t b)
{
	return lt_pg_int(r, a, 0) == lt_pg_int(r, b, 0) &&
	       lt_pg_int(r, a, 2) == lt_pg_int(r, b, 2) && lt_pg_int(r, a, 7) == lt_pg_int(r, b, 7);
}

/* Rows [@lo, @hi) are of one event. */
static void put_event(struct lt_buf *b, const struct pg_result *r, size_t lo, size_t hi)
{
	const char *labels;
	size_t n;

	lt_buf_printf(b,
		"{\"time_ms\":%" PRId64 ",\"epoch\":%" PRId64 ",\"seq\":%" PRId64 ",\"series\":[",
		lt_pg_int(r, lo, 0), lt_pg_int(r, lo, 1), lt_pg_int(r, lo, 2));
	for (size_t i = lo; i < hi; i++) {
		lt_buf_str(b, i > lo ? ",[" : "[");
		put_text(b, r, i, 3);
		labels = lt_pg_bytes(r, i, 4, &n);
		lt_buf_char(b, ',');
		lt_buf_add(b, labels, n); /* jsonb's own text */
		lt_buf_printf(b, ",\"%s\"]", json_kind((unsigned)lt_pg_int(r, i, 5)));
	}
	lt_buf_str(b, "],\"values\":[");
	for (size_t i = lo; i < hi; i++) {
		if (i > lo)
			lt_buf_char(b, ',');
		json_number(b, pg_double(r, i, 6));
	}
	lt_buf_str(b, "]}");
}

static void put_state(struct at_job *j, const struct pg_result *r, int64_t time_ms)
{
	struct lt_buf *b = &j->a.body;
	size_t rows = lt_pg_rows(r), n = rows > SERIES_MAX ? SERIES_MAX : rows;

	lt_buf_printf(b,
		"{\"source\":\"%s\",\"at_ms\":%" PRId64 ",\"time_ms\":%" PRId64
		",\"truncated\":%s,\"events\":[",
		j->source, j->at_ms, time_ms, rows > n ? "true" : "false");
	for (size_t lo = 0, hi; lo < n; lo = hi) {
		for (hi = lo + 1; hi < n && same_event(r, lo, hi); hi++)
			;
		if (lo)
			lt_buf_char(b, ',');
		put_event(b, r, lo, hi);
	}
	lt_buf_str(b, "]}\n");
	j->a.status = 200;
}

static void run(struct job *job, struct worker *w)
{
	struct at_job *j = (struct at_job *)job;
	struct pg_result *r = NULL, *last = NULL;
	unsigned char at[8];
	const struct lt_pg_param params[] = {pg_text(j->source), pg_int8(j->at_ms, at),
		{j->names.len ? j->names.data : "", j->names.len}};
	int rc = worker_pg(w, &j->a.err);

	if (rc == LT_OK)
		rc = lt_pg_query(&w->pg, select_state, params, 3, &r, &j->a.err);
	if (rc != LT_OK)
		return;
	if (lt_pg_rows(r)) {
		put_state(j, r, lt_pg_int(r, 0, 8));
	} else if (lt_pg_query(&w->pg, select_last, params, 2, &last, &j->a.err) == LT_OK) {
		/* It may have said something, but nothing of these names. */
		if (lt_pg_rows(last)) {
			put_state(j, r, lt_pg_int(last, 0, 0));
		} else {
			j->a.status = 404;
			lt_buf_printf(&j->a.body,
				"{\"error\":\"nothing of %s is stored at or before that time\"}\n",
				j->source);
		}
	}
	lt_pg_result_free(r);
	lt_pg_result_free(last);
}

static void fini(struct answer_job *a)
{
	lt_buf_fini(&((struct at_job *)a)->names);
}

static bool read_names(struct at_job *j, const struct http_req *req)
{
	const char *name;

	for (size_t i = 0; (name = http_param(&req->query, "name", i)); i++) {
		if (i == NAMES_MAX || !lt_metric_name_valid(name, strlen(name)))
			return false;
		if (i)
			lt_buf_char(&j->names, SEPARATOR);
		lt_buf_str(&j->names, name);
	}
	return true;
}

void api_at(struct live *l, struct http_req *req, const char *source)
{
	const char *time = http_param(&req->query, "time", 0), *problem = NULL;
	struct at_job *j = lt_calloc(1, sizeof(*j));

	if (!time || !http_time_ms(time, &j->at_ms))
		problem = "time: expected seconds since 1970 or RFC 3339";
	else if (!read_names(j, req))
		problem = "name: expected at most 64 metric names";
	if (problem) {
		fini(&j->a);
		free(j);
		http_reply_error(req, 400, 0, "%s", problem);
		return;
	}
	snprintf(j->source, sizeof(j->source), "%s", source);
	j->a.job.run = run;
	j->a.fini = fini;
	j->a.failed = live_pg_result;
	j->a.failed_arg = l;
	answer_submit(l->queries, &j->a, req);
}
