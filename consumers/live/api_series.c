/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/sink/pg_values.h"
#include "latido/clock.h"
#include "live.h"

/*
 * GET /api/v1/series: history of one source from PostgreSQL in steps, with minimum, maximum and
 * average. Long ranges are read from roll-ups of five minutes (schemas/sql/0007_rollup.sql), and from
 * the snapshots where there is none yet. Only where those would be so many that reading them takes
 * seconds, the range is read thinned: the first snapshot of each of PROBES pieces, by the index.
 */

#define NAMES_MAX    16
#define MATCH_MAX    8
#define SERIES_MAX   500
#define ROWS_MAX     200000  /* snapshots that are read as they are */
#define VALUES_MAX   4000000 /* the same, times series */
#define PROBES       20000
#define ROLL_ROWS    20000 /* from so many on roll-ups are quicker */
#define BUCKET_MS    300000
#define RANGE_MAX_MS (400LL * 24 * 3600 * 1000)
#define SEPARATOR    '\001' /* between names: in none of them */

/*
 * $1 source, $2 names, $3 labels to match, $4 from, $5 to, $6 step (all ms), $7 labels to keep,
 * $8 distance of the probes.
 */
#define MS(p)    "('epoch'::timestamptz + " p "::int8 * interval '1 millisecond')"
#define KEEP_ALL "labels"
#define KEEP_SOME                                                                             \
	"(SELECT coalesce(jsonb_object_agg(k.key, k.value), '{}') FROM jsonb_each(labels) k " \
	"WHERE k.key = ANY(string_to_array($7::text, chr(1))))"
#define IS_COUNTER "(kind = 2 OR right(name, 6) = '_total')"

#define WITH(keep)                                                                              \
	"WITH unused AS (SELECT $6::int8, $7::text, $8::int8), "                                \
	"ser AS MATERIALIZED (SELECT id, name, " keep " AS labels, kind, " IS_COUNTER           \
	" AS counter, dense_rank() OVER (ORDER BY name, " keep ", kind) AS g FROM series "      \
	"WHERE name = ANY(string_to_array($2::text, chr(1))) AND labels @> $3::text::jsonb), "  \
	"pos AS MATERIALIZED (SELECT p.shape_id, p.pos, p.series_id AS id FROM shape_series p " \
	"JOIN ser ON ser.id = p.series_id), "                                                   \
	"src AS MATERIALIZED (SELECT id FROM source WHERE name = $1::text), "
#define ALL                                                                      \
	"snaps AS (SELECT time, shape_id, vals FROM snapshot WHERE source_id = " \
	"(SELECT id FROM src) AND time >= " MS("$4") " AND time < " MS("$5") "), "
#define THIN                                                                                       \
	"snaps AS (SELECT x.time, x.shape_id, x.vals FROM generate_series($4::int8, "              \
	"$5::int8 - 1, $8::int8) AS p(ms) CROSS JOIN LATERAL (SELECT s.time, s.shape_id, "         \
	"s.vals FROM snapshot s WHERE s.source_id = (SELECT id FROM src) "                         \
	"AND s.time >= " MS("p.ms") " AND s.time < " MS(                                           \
		"least(p.ms + $8::int8, $5::int8)") " AND s.shape_id = ANY(ARRAY(SELECT DISTINCT " \
						    "shape_id FROM pos)) ORDER BY s.time "         \
						    "LIMIT 1) x), "
#define RAW                                                                 \
	"raw AS (SELECT s.time, pos.id, s.vals[pos.pos] AS v FROM snaps s " \
	"JOIN pos ON pos.shape_id = s.shape_id WHERE s.vals[pos.pos] <> 'NaN'), "
#define VALUES "val AS (SELECT r.time, ser.g, r.v FROM raw r JOIN ser ON ser.id = r.id), "
#define RATES                                                                                \
	"dif AS (SELECT r.time, r.id, r.v, lag(r.v) OVER w AS bv, lag(r.time) OVER w AS bt " \
	"FROM raw r WINDOW w AS (PARTITION BY r.id ORDER BY r.time)), "                      \
	"val AS (SELECT d.time, ser.g, CASE WHEN NOT ser.counter THEN d.v ELSE "             \
	"(CASE WHEN d.v >= d.bv THEN d.v - d.bv ELSE d.v END) / "                            \
	"extract(epoch FROM d.time - d.bt)::float8 END AS v FROM dif d "                     \
	"JOIN ser ON ser.id = d.id WHERE NOT ser.counter OR d.time > d.bt), "
/* In a span between roll-ups, a sample before it may be missing: no rate from further away. */
#define RATES_IN_HOLES                                                                         \
	"dif AS (SELECT r.time, r.id, r.v, lag(r.v) OVER w AS bv, lag(r.time) OVER w AS bt "   \
	"FROM raw r WINDOW w AS (PARTITION BY r.id ORDER BY r.time)), "                        \
	"val AS (SELECT d.time, ser.g, CASE WHEN NOT ser.counter THEN d.v ELSE "               \
	"(CASE WHEN d.v >= d.bv THEN d.v - d.bv ELSE d.v END) / "                              \
	"extract(epoch FROM d.time - d.bt)::float8 END AS v FROM dif d "                       \
	"JOIN ser ON ser.id = d.id WHERE date_bin('5 minutes', d.time, 'epoch') IN (SELECT b " \
	"FROM "                                                                                \
	"hole) AND (NOT ser.counter OR (d.time > d.bt AND d.time - d.bt < '10 minutes'))), "
#define SUMS "pts AS (SELECT time, g, sum(v) AS v FROM val GROUP BY time, g), "
#define EACH "pts AS (SELECT time, g, v FROM val), "
#define BIN  "date_bin($6::int8 * interval '1 millisecond', time, 'epoch') AS b"
#define TELL                                                                              \
	"SELECT n.name, n.labels::text, n.kind::int4, "                                   \
	"array_agg((extract(epoch FROM b) * 1000)::int8 ORDER BY b), "                    \
	"array_agg(lo ORDER BY b), array_agg(hi ORDER BY b), array_agg(av ORDER BY b), "  \
	"n.parts FROM st JOIN (SELECT g, name, labels, kind, count(*) AS parts FROM ser " \
	"GROUP BY g, name, labels, kind) n USING (g) "                                    \
	"GROUP BY g, n.name, n.labels, n.kind, n.parts ORDER BY g LIMIT 501"
#define STEPS                                                                          \
	"st AS (SELECT g, " BIN ", min(v) AS lo, max(v) AS hi, avg(v) AS av FROM pts " \
	"GROUP BY 1, 2) " TELL

/*
 * Which five minutes have a roll-up of all their rows, and which have to be read: @from, @to are
 * parameters in ms. After a late event the first rates of the following ones are not right either.
 */
#define HOLES(from, to)                                                                            \
	"good AS MATERIALIZED (SELECT r.time AS b FROM rollup r WHERE r.source_id = "              \
	"(SELECT id FROM src) AND NOT r.rates AND r.time >= " MS(from) " AND r.time <= " MS(       \
		to) " - interval '5 minutes' AND NOT EXISTS (SELECT FROM rollup_dirty d "          \
		    "WHERE d.time = r.time AND d.source_id = r.source_id) AND NOT EXISTS (SELECT " \
		    "FROM "                                                                        \
		    "rollup_dirty d WHERE d.time = r.time - interval '5 minutes' AND d.source_id " \
		    "= "                                                                           \
		    "r.source_id AND d.next)), "                                                   \
		    "hole AS MATERIALIZED (SELECT b FROM generate_series(date_bin('5 "             \
		    "minutes', " MS(from) ", 'epoch'), " MS(                                       \
			    to) " - interval '1 microsecond', interval '5 minutes') b "            \
				"EXCEPT SELECT b FROM good), "
#define READ_HOLES(need)                                                                      \
	"need AS MATERIALIZED (" need "), "                                                   \
	"snaps AS (SELECT s.time, s.shape_id, s.vals FROM need n CROSS JOIN LATERAL (SELECT " \
	"time, shape_id, vals FROM snapshot WHERE source_id = (SELECT id FROM src) "          \
	"AND time >= greatest(n.b, " MS(                                                      \
		"$4") ") AND time < least(n.b + interval '5 minutes', " MS("$5") ")) s), "
#define NEED_HOLES "SELECT b FROM hole"
#define NEED_BEFORE                                                                             \
	"SELECT DISTINCT x.b FROM hole h CROSS JOIN LATERAL (VALUES (h.b), (h.b - interval '5 " \
	"minutes')) x (b)"
#define ROLLED(rows)                                                                            \
	"rol AS (SELECT r.time, ser.g, u.n, u.lo, u.hi, u.total FROM rollup r "                 \
	"CROSS JOIN LATERAL unnest(r.series, r.n, r.lo, r.hi, r.total) "                        \
	"AS u (id, n, lo, hi, total) JOIN ser ON ser.id = u.id "                                \
	"WHERE r.source_id = (SELECT id FROM src) AND r.time >= " MS("$4") " AND r.time < " MS( \
		"$5") " AND " rows " AND r.time IN (SELECT b FROM good)), "
#define ROLLED_VALUES "NOT r.rates"
#define ROLLED_RATES  "r.rates = ser.counter"
/* Of a sum of several series, roll-ups give bounds of minimum and maximum. */
#define ROLLED_SUMS                                                                          \
	"sums AS (SELECT time, g, max(n) AS n, sum(lo) AS lo, sum(hi) AS hi, sum(total) AS " \
	"total FROM rol GROUP BY time, g), "
#define ROLLED_STEPS(from)                                                                  \
	"st AS (SELECT g, b, min(lo) AS lo, max(hi) AS hi, sum(total) / sum(n) AS av FROM " \
	"(SELECT g, " BIN ", lo, hi, total, n FROM " from " UNION ALL "                     \
	"SELECT g, " BIN ", v, v, v, 1 FROM pts) p GROUP BY 1, 2) " TELL

enum reading { READ_ALL = 0, READ_THINNED, READ_ROLLED };

/* [reading][rates][summed]; prepared and found again by the address of each text. */
static const char *const statements[3][2][2] = {
	{{WITH(KEEP_ALL) ALL RAW VALUES EACH STEPS, WITH(KEEP_SOME) ALL RAW VALUES SUMS STEPS},
		{WITH(KEEP_ALL) ALL RAW RATES EACH STEPS,
			WITH(KEEP_SOME) ALL RAW RATES SUMS STEPS}},
	{{WITH(KEEP_ALL) THIN RAW VALUES EACH STEPS, WITH(KEEP_SOME) THIN RAW VALUES SUMS STEPS},
		{WITH(KEEP_ALL) THIN RAW RATES EACH STEPS,
			WITH(KEEP_SOME) THIN RAW RATES SUMS STEPS}},
	{{WITH(KEEP_ALL) HOLES("$4", "$5") READ_HOLES(NEED_HOLES)
			 RAW VALUES EACH ROLLED(ROLLED_VALUES) ROLLED_STEPS("rol"),
		 WITH(KEEP_SOME) HOLES("$4", "$5") READ_HOLES(NEED_HOLES)
			 RAW VALUES SUMS ROLLED(ROLLED_VALUES) ROLLED_SUMS ROLLED_STEPS("sums")},
		{WITH(KEEP_ALL) HOLES("$4", "$5") READ_HOLES(NEED_BEFORE)
				RAW RATES_IN_HOLES EACH ROLLED(ROLLED_RATES) ROLLED_STEPS("rol"),
			WITH(KEEP_SOME) HOLES("$4", "$5") READ_HOLES(NEED_BEFORE)
				RAW RATES_IN_HOLES SUMS ROLLED(ROLLED_RATES)
					ROLLED_SUMS ROLLED_STEPS("sums")}},
};

/* $1 source, $2 from, $3 to, $4 where counting ends: snapshots without a roll-up. */
static const char count_unrolled[] =
	"WITH src AS MATERIALIZED (SELECT id FROM source WHERE name = $1::text), " HOLES("$2",
		"$3") "one AS (SELECT 1) SELECT count(*) FROM (SELECT FROM hole h CROSS JOIN "
		      "LATERAL (SELECT FROM snapshot s WHERE s.source_id = (SELECT id FROM src) "
		      "AND s.time >= h.b AND s.time < h.b + interval '5 minutes') x "
		      "LIMIT $4::int8) y";

struct series_job {
	struct answer_job a;
	char source[LT_SOURCE_MAX + 1];
	struct lt_buf names, match, keep;
	int64_t from_ms, to_ms, step_ms;
	int64_t rows, series; /* about; rows of snapshots */
	enum reading reading;
	bool rate, by;
};

/* ---- worker ---- */

static void put_doubles(struct lt_buf *b, const char *name, const struct pg_array *a)
{
	lt_buf_printf(b, ",\"%s\":[", name);
	for (size_t i = 0; i < a->n; i++) {
		if (i)
			lt_buf_char(b, ',');
		json_short(b, pg_array_double(a, i), 12);
	}
	lt_buf_char(b, ']');
}

static bool put_series(struct lt_buf *b, const struct pg_result *r, size_t row)
{
	struct pg_array times, lo, hi, av;
	const char *s;
	size_t n;

	if (!pg_array(r, row, 3, &times) || !pg_array(r, row, 4, &lo) ||
		!pg_array(r, row, 5, &hi) || !pg_array(r, row, 6, &av) || lo.n != times.n ||
		hi.n != times.n || av.n != times.n)
		return false;
	s = lt_pg_bytes(r, row, 0, &n);
	lt_buf_str(b, row ? ",{\"name\":" : "{\"name\":");
	lt_buf_json_str(b, s, n);
	s = lt_pg_bytes(r, row, 1, &n);
	lt_buf_str(b, ",\"labels\":");
	lt_buf_add(b, s, n); /* jsonb's own text */
	lt_buf_printf(
		b, ",\"kind\":\"%s\",\"time_ms\":[", json_kind((unsigned)lt_pg_int(r, row, 2)));
	for (size_t i = 0; i < times.n; i++)
		lt_buf_printf(b, i ? ",%" PRId64 : "%" PRId64, pg_array_int(&times, i));
	lt_buf_char(b, ']');
	put_doubles(b, "min", &lo);
	put_doubles(b, "max", &hi);
	put_doubles(b, "avg", &av);
	lt_buf_char(b, '}');
	return true;
}

static int64_t probe_ms(const struct series_job *j)
{
	int64_t range = j->to_ms - j->from_ms, ms = range / PROBES + 1;

	return ms * VALUES_MAX < range * j->series ? range * j->series / VALUES_MAX : ms;
}

static bool too_much(int64_t rows, int64_t series)
{
	return rows > ROWS_MAX || rows * series > VALUES_MAX;
}

/* All, from roll-ups, or thinned? */
static int choose(struct series_job *j, struct worker *w, struct lt_err *err)
{
	unsigned char from[8], to[8], limit[8];
	const struct lt_pg_param params[] = {pg_text(j->source), pg_int8(j->from_ms, from),
		pg_int8(j->to_ms, to), pg_int8(ROWS_MAX + 1, limit)};
	bool much = too_much(j->rows, j->series);
	struct pg_result *r = NULL;
	int64_t unrolled;
	int rc;

	/* Where both give the same: what is quicker. */
	if (!much && (j->by || j->rows < ROLL_ROWS || j->step_ms % BUCKET_MS))
		return LT_OK;
	rc = lt_pg_query(&w->pg, count_unrolled, params, LT_ARRAY_LEN(params), &r, err);
	if (rc != LT_OK)
		return rc;
	unrolled = lt_pg_int(r, 0, 0);
	lt_pg_result_free(r);
	if (!much) {
		j->reading = unrolled < j->rows / 4 ? READ_ROLLED : READ_ALL;
	} else if (too_much(unrolled, j->series)) {
		j->reading = READ_THINNED;
	} else {
		j->reading = READ_ROLLED;
		j->step_ms = (j->step_ms + BUCKET_MS - 1) / BUCKET_MS * BUCKET_MS;
	}
	return LT_OK;
}

static int query(struct series_job *j, struct worker *w, struct pg_result **r, struct lt_err *err)
{
	unsigned char from[8], to[8], step[8], probe[8];
	int rc = worker_pg(w, err);

	if (rc == LT_OK)
		rc = choose(j, w, err);
	if (rc != LT_OK)
		return rc;
	const struct lt_pg_param params[] = {
		pg_text(j->source),
		{j->names.data, j->names.len},
		{j->match.data, j->match.len},
		pg_int8(j->from_ms, from),
		pg_int8(j->to_ms, to),
		pg_int8(j->step_ms, step),
		{j->keep.len ? j->keep.data : "", j->keep.len},
		pg_int8(probe_ms(j), probe),
	};
	return lt_pg_query(&w->pg, statements[j->reading][j->rate][j->by], params,
		LT_ARRAY_LEN(params), r, err);
}

/* Do minimum and maximum hold for every stored value? */
static bool is_exact(const struct series_job *j, const struct pg_result *r)
{
	if (j->reading == READ_THINNED)
		return false;
	for (size_t i = 0; j->reading == READ_ROLLED && i < lt_pg_rows(r); i++)
		if (lt_pg_int(r, i, 7) > 1)
			return false;
	return true;
}

static void run(struct job *job, struct worker *w)
{
	struct series_job *j = (struct series_job *)job;
	struct pg_result *r = NULL;
	struct lt_buf *b = &j->a.body;
	size_t rows;

	if (query(j, w, &r, &j->a.err) != LT_OK)
		return;
	rows = lt_pg_rows(r);
	lt_buf_printf(b,
		"{\"source\":\"%s\",\"from_ms\":%" PRId64 ",\"to_ms\":%" PRId64
		",\"step_ms\":%" PRId64 ",\"sampled_ms\":%" PRId64
		",\"exact\":%s,\"truncated\":%s,\"series\":[",
		j->source, j->from_ms, j->to_ms, j->step_ms,
		j->reading == READ_THINNED ? probe_ms(j) : 0, is_exact(j, r) ? "true" : "false",
		rows > SERIES_MAX ? "true" : "false");
	for (size_t i = 0; i < rows && i < SERIES_MAX; i++) {
		if (!put_series(b, r, i)) {
			lt_fail(&j->a.err, LT_EDATA, LT_CLS_FATAL, "live.series",
				"PostgreSQL answered with something else than arrays");
			lt_pg_result_free(r);
			return;
		}
	}
	lt_pg_result_free(r);
	lt_buf_str(b, "]}\n");
	j->a.status = 200;
}

static void fini(struct answer_job *a)
{
	struct series_job *j = (struct series_job *)a;

	lt_buf_fini(&j->names);
	lt_buf_fini(&j->match);
	lt_buf_fini(&j->keep);
}

/* ---- the question ---- */

static bool read_names(struct series_job *j, const struct http_req *req)
{
	const char *name;
	size_t i;

	for (i = 0; (name = http_param(&req->query, "name", i)); i++) {
		if (i == NAMES_MAX || !lt_metric_name_valid(name, strlen(name)))
			return false;
		if (i)
			lt_buf_char(&j->names, SEPARATOR);
		lt_buf_str(&j->names, name);
	}
	return i > 0;
}

/* match=LABEL=VALUE ... as a JSON object. */
static bool read_match(struct series_job *j, const struct http_req *req)
{
	const char *text, *eq;

	lt_buf_char(&j->match, '{');
	for (size_t i = 0; (text = http_param(&req->query, "match", i)); i++) {
		eq = strchr(text, '=');
		if (i == MATCH_MAX || !eq || !lt_label_name_valid(text, (size_t)(eq - text)))
			return false;
		if (i)
			lt_buf_char(&j->match, ',');
		lt_buf_json_str(&j->match, text, (size_t)(eq - text));
		lt_buf_char(&j->match, ':');
		lt_buf_json_str(&j->match, eq + 1, strlen(eq + 1));
	}
	lt_buf_char(&j->match, '}');
	return true;
}

static bool read_by(struct series_job *j, const struct http_req *req)
{
	const char *by = http_param(&req->query, "by", 0);

	j->by = by != NULL;
	while (by && *by) {
		size_t n = strcspn(by, ",");

		if (!lt_label_name_valid(by, n))
			return false;
		if (j->keep.len)
			lt_buf_char(&j->keep, SEPARATOR);
		lt_buf_add(&j->keep, by, n);
		by += n + (by[n] == ',');
	}
	return true;
}

static const char *read_times(struct series_job *j, const struct http_req *req)
{
	const char *from = http_param(&req->query, "from", 0);
	const char *to = http_param(&req->query, "to", 0);
	const char *step = http_param(&req->query, "step", 0);

	j->to_ms = lt_wall_ns() / LT_NS_PER_MS;
	if (to && !http_time_ms(to, &j->to_ms))
		return "to: expected seconds since 1970 or RFC 3339";
	j->from_ms = j->to_ms - 3600000;
	if (from && !http_time_ms(from, &j->from_ms))
		return "from: expected seconds since 1970 or RFC 3339";
	if (j->from_ms >= j->to_ms)
		return "from must be before to";
	if (j->to_ms - j->from_ms > RANGE_MAX_MS)
		return "at most 400 days at once";
	j->step_ms = (j->to_ms - j->from_ms) / 300;
	if (j->step_ms < 1000)
		j->step_ms = 1000;
	if (step && (!http_duration_ms(step, &j->step_ms) || j->step_ms < 1))
		return "step: expected seconds or a duration such as 30s";
	if ((j->to_ms - j->from_ms) / j->step_ms > API_MAX_STEPS)
		return "at most 5000 steps: choose a longer step or a shorter range";
	return NULL;
}

/* How many series of the source have these names; its newest snapshots tell. */
static size_t count_series(const struct hub_source *s, const struct series_job *j)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_streams; i++) {
		const struct lt_shape *shape = s->streams[i].shape;

		for (uint32_t k = 0; shape && k < shape->n_series; k++)
			for (const char *p = j->names.data; p;
				p = strchr(p, SEPARATOR) ? strchr(p, SEPARATOR) + 1 : NULL)
				n += !strncmp(
					     p, shape->series[k].name, shape->series[k].name_len) &&
				     (p[shape->series[k].name_len] == SEPARATOR ||
					     !p[shape->series[k].name_len]);
	}
	return n ? n : 1;
}

void api_series(struct live *l, struct http_req *req)
{
	const char *source = http_param(&req->query, "source", 0);
	const char *rate = http_param(&req->query, "rate", 0), *problem = NULL;
	struct series_job *j = lt_calloc(1, sizeof(*j));
	const struct hub_source *s;

	if (!source || !lt_source_valid(source, strlen(source)))
		problem = "source: expected the name of a node or device";
	else if (!read_names(j, req))
		problem = "name: expected 1 to 16 metric names";
	else if (!read_match(j, req))
		problem = "match: expected LABEL=VALUE, at most 8";
	else if (!read_by(j, req))
		problem = "by: expected names of labels with commas between";
	else if (rate && strcmp(rate, "true") != 0 && strcmp(rate, "false") != 0)
		problem = "rate: expected true or false";
	else
		problem = read_times(j, req);
	if (problem) {
		fini(&j->a);
		free(j);
		http_reply_error(req, 400, 0, "%s", problem);
		return;
	}
	snprintf(j->source, sizeof(j->source), "%s", source);
	j->rate = rate && !strcmp(rate, "true");
	s = hub_find(l->hub, source);
	j->rows = (j->to_ms - j->from_ms) /
		  (s && s->sample.interval_ms ? s->sample.interval_ms : 1000);
	j->series = s ? (int64_t)count_series(s, j) : 1;
	j->a.job.run = run;
	j->a.fini = fini;
	j->a.failed = live_pg_result;
	j->a.failed_arg = l;
	answer_submit(l->queries, &j->a, req);
}
