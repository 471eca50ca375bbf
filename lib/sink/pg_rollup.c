/* SPDX-License-Identifier: MIT */
#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "pg_copy.h"
#include "sink_pg.h"

/*
 * Roll-ups: five minutes of a source in one row (0007_rollup.sql), for charts of weeks. They are
 * computed from the stored rows, never from what passes by: a late event, a second store or a crash
 * make no difference.
 *
 * The transaction that stores rows marks their five minutes. A mark is renewed when it is MARK_NS old
 * and rows still come, and is taken when it is twice as old by the server's clock: by then whoever
 * relied on it has committed. Marks are taken with a compare-and-set, so that one that was renewed
 * meanwhile stays.
 */

#define BUCKET_US INT64_C(300000000)
#define MARK_NS   (300 * LT_NS_PER_S)
#define BUDGET_NS (50 * LT_NS_PER_MS) /* at once: rows wait meanwhile */
#define REST      4                   /* then so many times as long for rows */
#define IDLE_NS   (5 * LT_NS_PER_S)
#define PAGE      "500"
#define SHAPES    512 /* whose series are remembered */
#define ROLLUP_ID "7809634510551053619"

/* ---- marks ---- */

static int64_t bucket_of(int64_t time_us)
{
	return (time_us / BUCKET_US - (time_us % BUCKET_US < 0)) * BUCKET_US;
}

static bool is_marked(const struct lt_pg_source *src, int64_t bucket_us, int64_t now_ns)
{
	for (size_t i = 0; i < LT_PG_MARKS; i++)
		if (src->marks[i].mono_ns && src->marks[i].bucket_us == bucket_us &&
			now_ns - src->marks[i].mono_ns < MARK_NS)
			return true;
	return false;
}

static int by_bucket(const void *a, const void *b)
{
	const struct lt_pg_mark *x = a, *y = b;

	if (x->bucket_us != y->bucket_us)
		return x->bucket_us < y->bucket_us ? -1 : 1;
	return (x->source->id > y->source->id) - (x->source->id < y->source->id);
}

void lt_pg_rollup_last(struct lt_sink_pg *s)
{
	static const char sql[] =
		"INSERT INTO rollup_dirty (time, source_id) "
		"SELECT * FROM unnest($1::timestamptz[], $2::int[]) "
		"ON CONFLICT (time, source_id) DO UPDATE SET marked = now(), next = true";
	int64_t now_ns = lt_mono_ns();
	struct lt_buf *times, *ids;
	size_t n = 0;

	for (size_t i = 0; i < s->n_rows; i++) {
		const struct lt_pg_row *r = &s->rows[i];
		struct lt_pg_mark m = {
			r->epoch->source, bucket_of(lt_pg_time_us(r->event->time_ns))};

		if (r->skip || r->stray || is_marked(m.source, m.bucket_us, now_ns))
			continue;
		/* Rows of a source mostly come one after the other. */
		if (n && s->marks[n - 1].source == m.source &&
			s->marks[n - 1].bucket_us == m.bucket_us)
			continue;
		if (n == s->marks_cap) {
			s->marks_cap = n ? 2 * n : 64;
			s->marks = lt_realloc(s->marks, s->marks_cap * sizeof(*s->marks));
		}
		s->marks[n++] = m;
	}
	s->n_marks = 0;
	if (!n)
		return;
	/* The order of row locks; what is there twice is marked once. */
	qsort(s->marks, n, sizeof(*s->marks), by_bucket);
	for (size_t i = 0; i < n; i++)
		if (!i || by_bucket(&s->marks[i], &s->marks[s->n_marks - 1]) != 0)
			s->marks[s->n_marks++] = s->marks[i];
	times = lt_pg_last(s, sql, 2);
	ids = times + 1;
	lt_pg_array(times, LT_PG_TIMESTAMPTZ, s->n_marks);
	lt_pg_array(ids, LT_PG_INT4, s->n_marks);
	for (size_t i = 0; i < s->n_marks; i++) {
		lt_pg_array_i8(times, s->marks[i].bucket_us);
		lt_pg_array_i4(ids, s->marks[i].source->id);
	}
}

void lt_pg_rollup_marked(struct lt_sink_pg *s, bool committed)
{
	int64_t now_ns = lt_mono_ns();

	for (size_t i = 0; committed && i < s->n_marks; i++) {
		struct lt_pg_source *src = s->marks[i].source;
		size_t k = 0;

		while (k < LT_PG_MARKS && src->marks[k].bucket_us != s->marks[i].bucket_us)
			k++;
		if (k == LT_PG_MARKS)
			k = src->next_mark++ % LT_PG_MARKS;
		src->marks[k].bucket_us = s->marks[i].bucket_us;
		src->marks[k].mono_ns = now_ns;
	}
	s->n_marks = 0;
}

/* Whoever stores more of it now has to mark it again, whatever the clocks said. */
static void unmark(struct lt_sink_pg *s, int32_t source_id, int64_t bucket_us)
{
	struct lt_pg_source *src;
	size_t i = 0;

	while ((src = lt_pg_map_next(&s->sources, &i))) {
		if (src->id != source_id)
			continue;
		for (size_t k = 0; k < LT_PG_MARKS; k++)
			if (src->marks[k].bucket_us == bucket_us)
				src->marks[k].mono_ns = 0;
	}
}

/* ---- reading ---- */

/* Series of a shape by position, remembered for the next five minutes. */
struct shape_series {
	int32_t shape_id; /* 0 = free */
	uint32_t n;       /* positions */
	int32_t *ids;     /* 0 = none; negative: a counter's */
};

/* One series in the five minutes. */
struct sums {
	int32_t id;
	bool counter, any; /* any: last is known */
	int64_t last_us;
	double last;
	int32_t n, rate_n;
	double lo, hi, total, rate_lo, rate_hi, rate_total;
};

struct lt_pg_rollup {
	struct shape_series shapes[SHAPES];
	size_t next_shape;
	struct sums *sums; /* of the five minutes under way */
	size_t n_sums, cap;
	int32_t *table; /* open addressing, index + 1 into sums */
	size_t slots;
};

static uint32_t get32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return be32toh(v);
}

static double get_double(const unsigned char *p)
{
	uint64_t bits;
	double v;

	memcpy(&bits, p, 8);
	bits = be64toh(bits);
	memcpy(&v, &bits, 8);
	return v;
}

/* Elements of a one-dimensional float8[] without NULLs; each 12 bytes, the value in the last 8. */
static const unsigned char *elements(
	const struct pg_result *r, size_t row, size_t col, uint32_t *n, struct lt_err *err)
{
	size_t size;
	const unsigned char *p = (const unsigned char *)lt_pg_bytes(r, row, col, &size);

	*n = 0;
	if (size >= 12 && get32(p) == 0)
		return p + size;
	if (size >= 20 && get32(p) == 1 && get32(p + 4) == 0) {
		*n = get32(p + 12);
		if (size == 20 + (size_t)*n * 12)
			return p + 20;
	}
	lt_fail(err, LT_EDATA, LT_CLS_RETRY, "pg.rollup", "snapshot.vals is no array of numbers");
	return NULL;
}

static void grow_table(struct lt_pg_rollup *u)
{
	free(u->table);
	u->slots = u->slots ? 2 * u->slots : 1024;
	u->table = lt_calloc(u->slots, sizeof(*u->table));
	for (size_t i = 0; i < u->n_sums; i++) {
		size_t at = (uint32_t)u->sums[i].id * 2654435761u % u->slots;

		while (u->table[at])
			at = (at + 1) % u->slots;
		u->table[at] = (int32_t)i + 1;
	}
}

static struct sums *sums_of(struct lt_pg_rollup *u, int32_t id, bool counter)
{
	size_t at;

	if (2 * (u->n_sums + 1) > u->slots)
		grow_table(u);
	at = (uint32_t)id * 2654435761u % u->slots;
	for (; u->table[at]; at = (at + 1) % u->slots)
		if (u->sums[u->table[at] - 1].id == id)
			return &u->sums[u->table[at] - 1];
	if (u->n_sums == u->cap) {
		u->cap = u->cap ? 2 * u->cap : 512;
		u->sums = lt_realloc(u->sums, u->cap * sizeof(*u->sums));
	}
	u->sums[u->n_sums] = (struct sums){.id = id, .counter = counter};
	u->table[at] = (int32_t)++u->n_sums;
	return &u->sums[u->n_sums - 1];
}

static void reset(struct lt_pg_rollup *u)
{
	u->n_sums = 0;
	if (u->slots)
		memset(u->table, 0, u->slots * sizeof(*u->table));
}

/* As the live view asks for rates: by kind or by name. */
static int load_shape(
	struct lt_sink_pg *s, int32_t shape_id, struct shape_series **out, struct lt_err *err)
{
	static const char sql[] =
		"SELECT p.pos, p.series_id, e.kind = 2 OR right(e.name, 6) = '_total' "
		"FROM shape_series p JOIN series e ON e.id = p.series_id "
		"WHERE p.shape_id = $1::bigint::int ORDER BY p.pos";
	struct lt_pg_rollup *u = s->rollup;
	struct lt_buf *id = &s->param[0];
	struct pg_result *r = NULL;
	struct shape_series *x;
	size_t rows;
	int rc;

	for (size_t i = 0; i < SHAPES; i++)
		if (u->shapes[i].shape_id == shape_id) {
			*out = &u->shapes[i];
			return LT_OK;
		}
	lt_buf_reset(id);
	lt_pg_array_i8(id, shape_id);
	rc = lt_pg_query(&s->pg, sql, (struct lt_pg_param[]){{id->data + 4, 8}}, 1, &r, err);
	if (rc != LT_OK)
		return rc;
	x = &u->shapes[u->next_shape++ % SHAPES];
	free(x->ids);
	rows = lt_pg_rows(r);
	*x = (struct shape_series){
		.shape_id = shape_id, .n = rows ? (uint32_t)lt_pg_int(r, rows - 1, 0) : 0};
	x->ids = lt_calloc(x->n + 1, sizeof(*x->ids));
	for (size_t i = 0; i < rows; i++) {
		int32_t series = (int32_t)lt_pg_int(r, i, 1);

		x->ids[lt_pg_int(r, i, 0) - 1] = lt_pg_int(r, i, 2) ? -series : series;
	}
	lt_pg_result_free(r);
	*out = x;
	return LT_OK;
}

static void add_value(struct sums *x, double v)
{
	if (!x->n || v < x->lo)
		x->lo = v;
	if (!x->n || v > x->hi)
		x->hi = v;
	x->total += v;
	x->n++;
}

static void add_rate(struct sums *x, double v)
{
	if (!x->rate_n || v < x->rate_lo)
		x->rate_lo = v;
	if (!x->rate_n || v > x->rate_hi)
		x->rate_hi = v;
	x->rate_total += v;
	x->rate_n++;
}

/* @counted: in the five minutes; else only to compare the first values with. */
static void add_sample(struct sums *x, int64_t time_us, double v, bool counted)
{
	if (counted)
		add_value(x, v);
	if (!x->counter)
		return;
	if (counted && x->any && time_us > x->last_us)
		add_rate(x,
			(v >= x->last ? v - x->last : v) / ((double)(time_us - x->last_us) / 1e6));
	x->any = true;
	x->last_us = time_us;
	x->last = v;
}

/* Rows of time, shape_id, vals. */
static int add_rows(
	struct lt_sink_pg *s, const struct pg_result *r, bool counted, struct lt_err *err)
{
	for (size_t i = 0; i < lt_pg_rows(r); i++) {
		int64_t time_us = lt_pg_int(r, i, 0);
		struct shape_series *x;
		uint32_t n;
		const unsigned char *p = elements(r, i, 2, &n, err);
		int rc;

		if (!p)
			return LT_EDATA;
		rc = load_shape(s, (int32_t)lt_pg_int(r, i, 1), &x, err);
		if (rc != LT_OK)
			return rc;
		for (uint32_t k = 0; k < n && k < x->n; k++) {
			double v = get_double(p + (size_t)k * 12 + 4);
			int32_t id = x->ids[k];

			if (id && !isnan(v) && (counted || id < 0))
				add_sample(
					sums_of(s->rollup, abs(id), id < 0), time_us, v, counted);
		}
	}
	return LT_OK;
}

static void put_place(struct lt_sink_pg *s, int32_t source_id, int64_t bucket_us)
{
	for (size_t i = 0; i < 2; i++) {
		lt_buf_reset(&s->param[i + 1]);
		lt_pg_array_i8(&s->param[i + 1], i ? bucket_us : source_id);
	}
}

/* What the first rates are made from: the newest event of each shape before it. */
static int read_before(
	struct lt_sink_pg *s, int32_t source_id, int64_t bucket_us, struct lt_err *err)
{
	static const char sql[] =
		"SELECT time, shape_id, vals FROM (SELECT DISTINCT ON (shape_id) time, seq, "
		"shape_id, vals FROM (SELECT time, seq, shape_id, vals FROM snapshot "
		"WHERE source_id = $1::bigint::int AND time < $2::timestamptz "
		"AND time >= $2::timestamptz - interval '1 day' ORDER BY time DESC LIMIT 400) x "
		"ORDER BY shape_id, time DESC, seq DESC) y ORDER BY time, seq, shape_id";
	struct pg_result *r = NULL;
	int rc;

	put_place(s, source_id, bucket_us);
	rc = lt_pg_query(&s->pg, sql,
		(struct lt_pg_param[]){{s->param[1].data + 4, 8}, {s->param[2].data + 4, 8}}, 2, &r,
		err);
	if (rc == LT_OK)
		rc = add_rows(s, r, false, err);
	lt_pg_result_free(r);
	return rc;
}

static int read_bucket(
	struct lt_sink_pg *s, int32_t source_id, int64_t bucket_us, struct lt_err *err)
{
	static const char sql[] =
		"SELECT time, shape_id, vals, seq FROM snapshot "
		"WHERE source_id = $1::bigint::int AND time >= $2::timestamptz "
		"AND time < $3::timestamptz "
		"AND (time, seq, shape_id) > ($2::timestamptz, $4::bigint, $5::bigint::int) "
		"ORDER BY time, seq, shape_id LIMIT " PAGE;
	int64_t key[5] = {source_id, bucket_us, bucket_us + BUCKET_US, -1, 0};
	size_t page = strtoul(PAGE, NULL, 10), rows;
	int rc;

	do {
		struct pg_result *r = NULL;
		struct lt_pg_param p[5];

		for (size_t i = 0; i < 5; i++) {
			lt_buf_reset(&s->param[i + 1]);
			lt_pg_array_i8(&s->param[i + 1], key[i]);
			p[i] = (struct lt_pg_param){s->param[i + 1].data + 4, 8};
		}
		rc = lt_pg_query(&s->pg, sql, p, 5, &r, err);
		if (rc == LT_OK)
			rc = add_rows(s, r, true, err);
		rows = rc == LT_OK ? lt_pg_rows(r) : 0;
		if (rows) {
			key[1] = lt_pg_int(r, rows - 1, 0);
			key[3] = lt_pg_int(r, rows - 1, 3);
			key[4] = lt_pg_int(r, rows - 1, 1);
		}
		lt_pg_result_free(r);
	} while (rows == page);
	return rc;
}

/* ---- writing ---- */

static int by_series(const void *a, const void *b)
{
	const struct sums *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static void put_double(struct lt_buf *out, double v)
{
	int64_t bits;

	memcpy(&bits, &v, 8);
	lt_pg_array_i8(out, bits);
}

/* Five arrays at @p: of values, or of rates. */
static void put_arrays(const struct lt_pg_rollup *u, bool rates, struct lt_buf *p)
{
	static const enum lt_pg_oid types[5] = {
		LT_PG_INT4, LT_PG_INT4, LT_PG_FLOAT8, LT_PG_FLOAT8, LT_PG_FLOAT8};
	size_t n = 0;

	for (size_t i = 0; i < u->n_sums; i++)
		n += (rates ? u->sums[i].rate_n : u->sums[i].n) > 0;
	for (size_t k = 0; k < 5; k++) {
		lt_buf_reset(&p[k]);
		lt_pg_array(&p[k], types[k], n);
	}
	for (size_t i = 0; i < u->n_sums; i++) {
		const struct sums *x = &u->sums[i];

		if (!(rates ? x->rate_n : x->n))
			continue;
		lt_pg_array_i4(&p[0], x->id);
		lt_pg_array_i4(&p[1], rates ? x->rate_n : x->n);
		put_double(&p[2], rates ? x->rate_lo : x->lo);
		put_double(&p[3], rates ? x->rate_hi : x->hi);
		put_double(&p[4], rates ? x->rate_total : x->total);
	}
}

static int store(struct lt_sink_pg *s, int32_t source_id, int64_t bucket_us, int64_t mark_us,
	struct lt_err *err)
{
	static const char sql[] =
		"SELECT latido_rollup_store($1::bigint::int, $2::timestamptz, $3::timestamptz, "
		"$4::int[], $5::int[], $6::float8[], $7::float8[], $8::float8[], "
		"$9::int[], $10::int[], $11::float8[], $12::float8[], $13::float8[])";
	struct lt_buf bufs[13] = {{0}};
	struct lt_pg_param p[13];
	int rc;

	qsort(s->rollup->sums, s->rollup->n_sums, sizeof(*s->rollup->sums), by_series);
	lt_pg_array_i8(&bufs[0], source_id);
	lt_pg_array_i8(&bufs[1], bucket_us);
	lt_pg_array_i8(&bufs[2], mark_us);
	put_arrays(s->rollup, false, &bufs[3]);
	put_arrays(s->rollup, true, &bufs[8]);
	for (size_t i = 0; i < 13; i++)
		p[i] = i < 3 ? (struct lt_pg_param){bufs[i].data + 4, 8}
			     : lt_pg_param_buf(&bufs[i]);
	rc = lt_pg_query(&s->pg, sql, p, 13, NULL, err);
	for (size_t i = 0; i < 13; i++)
		lt_buf_fini(&bufs[i]);
	return rc;
}

static int compute(struct lt_sink_pg *s, int32_t source_id, int64_t bucket_us, int64_t mark_us,
	struct lt_err *err)
{
	int64_t began_ns = lt_mono_ns();
	int rc;

	reset(s->rollup);
	unmark(s, source_id, bucket_us); /* before it is read */
	rc = read_before(s, source_id, bucket_us, err);
	if (rc == LT_OK)
		rc = read_bucket(s, source_id, bucket_us, err);
	if (rc == LT_OK)
		rc = store(s, source_id, bucket_us, mark_us, err);
	if (rc == LT_OK) {
		lt_counter_add(&lt_pg_stats.rollups, 1);
		lt_hist_add(&lt_pg_stats.rollup_seconds, lt_mono_ns() - began_ns);
	}
	return rc;
}

/* @locked: out: false: another store is at it. */
static int lock(struct lt_sink_pg *s, bool *locked, struct lt_err *err)
{
	struct pg_result *r = NULL;
	int rc =
		lt_pg_query(&s->pg, "SELECT pg_try_advisory_lock(" ROLLUP_ID ")", NULL, 0, &r, err);

	*locked = rc == LT_OK && lt_pg_int(r, 0, 0);
	lt_pg_result_free(r);
	return rc;
}

/* One that cannot be computed is no reason to compute no other: its turn comes again in an hour. */
static int put_off(
	struct lt_sink_pg *s, int32_t source_id, int64_t bucket_us, const struct lt_err *why)
{
	static const char sql[] = "UPDATE rollup_dirty SET marked = now() + interval '50 minutes' "
				  "WHERE source_id = $1::bigint::int AND time = $2::timestamptz";

	lt_counter_add(&lt_pg_stats.rollups_failed, 1);
	lt_log(LT_WARN, "rollup_put_off", LT_I("source_id", source_id), LT_S("op", why->op),
		LT_S("err", why->msg));
	put_place(s, source_id, bucket_us);
	return lt_pg_query(&s->pg, sql,
		(struct lt_pg_param[]){{s->param[1].data + 4, 8}, {s->param[2].data + 4, 8}}, 2,
		NULL, NULL);
}

/* Marks of rows from before there were roll-ups: a day of a source, when nothing else waits. */
static int mark_past(struct lt_sink_pg *s, struct lt_err *err)
{
	struct pg_result *r = NULL;
	int rc = lt_pg_query(&s->pg, "SELECT latido_rollup_more()::int", NULL, 0, &r, err);

	if (rc == LT_OK && lt_pg_int(r, 0, 0))
		s->rollup_again_ns = BUDGET_NS;
	lt_pg_result_free(r);
	return rc;
}

static int take_marks(struct lt_sink_pg *s, struct lt_err *err)
{
	static const char sql[] =
		"SELECT time, source_id, marked, (SELECT count(*) FROM (SELECT FROM rollup_dirty "
		"WHERE marked < now() - interval '10 minutes' LIMIT 10000) w) FROM rollup_dirty "
		"WHERE marked < now() - interval '10 minutes' ORDER BY time DESC, source_id LIMIT "
		"50";
	int64_t began_ns = lt_mono_ns(), used_ns = 0, waiting;
	struct pg_result *r = NULL;
	size_t i = 0;
	int rc = lt_pg_query(&s->pg, sql, NULL, 0, &r, err);

	waiting = rc == LT_OK && lt_pg_rows(r) ? lt_pg_int(r, 0, 3) : 0;
	for (; rc == LT_OK && i < lt_pg_rows(r) && used_ns < BUDGET_NS; i++) {
		int32_t source_id = (int32_t)lt_pg_int(r, i, 1);
		int64_t bucket_us = lt_pg_int(r, i, 0);

		rc = compute(s, source_id, bucket_us, lt_pg_int(r, i, 2), err);
		if (rc != LT_OK && s->pg.conn)
			rc = put_off(s, source_id, bucket_us, err);
		used_ns = lt_mono_ns() - began_ns;
	}
	lt_gauge_set(&lt_pg_stats.rollups_waiting, waiting - (int64_t)i);
	if (rc == LT_OK && i && (i < lt_pg_rows(r) || i == 50))
		s->rollup_again_ns = REST * used_ns;
	if (rc == LT_OK && !lt_pg_rows(r))
		rc = mark_past(s, err);
	lt_pg_result_free(r);
	return rc;
}

int lt_pg_rollup(struct lt_sink_pg *s, bool *more, struct lt_err *err)
{
	bool locked;
	int rc, rc2;

	*more = false;
	s->rollup_again_ns = IDLE_NS;
	if (!s->rollup)
		s->rollup = lt_calloc(1, sizeof(*s->rollup));
	rc = lock(s, &locked, err);
	if (rc != LT_OK || !locked)
		return rc;
	rc = take_marks(s, err);
	if (!s->pg.conn)
		return rc;
	rc2 = lt_pg_query(&s->pg, "SELECT pg_advisory_unlock(" ROLLUP_ID ")", NULL, 0, NULL,
		rc == LT_OK ? err : NULL);
	return rc == LT_OK ? rc2 : rc;
}

void lt_pg_rollup_forget(struct lt_sink_pg *s)
{
	for (size_t i = 0; s->rollup && i < SHAPES; i++)
		s->rollup->shapes[i].shape_id = 0;
}

void lt_pg_rollup_fini(struct lt_sink_pg *s)
{
	free(s->marks);
	if (!s->rollup)
		return;
	for (size_t i = 0; i < SHAPES; i++)
		free(s->rollup->shapes[i].ids);
	free(s->rollup->sums);
	free(s->rollup->table);
	free(s->rollup);
	s->rollup = NULL;
}
