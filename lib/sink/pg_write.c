/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "pg_copy.h"
#include "sink_pg.h"

/*
 * One batch, one transaction: COPY first, progress by compare-and-set last and in one round trip with
 * COMMIT, so that row locks live for that. Unnumbered events with a time have no progress to compare: their epochs' rows
 * are locked first, then the table itself is asked what is there already.
 */

#define COPY_CHUNK (32 << 10) /* stays in the cache until it is sent */
#define COLUMNS    "(time, seq, source_id, epoch_id, shape_id, vals)"
#define COPY_MAIN  "COPY snapshot " COLUMNS " FROM STDIN BINARY"
#define COPY_STRAY "COPY snapshot_stray " COLUMNS " FROM STDIN BINARY"

/* ---- what is new ---- */

static void stage_epoch(struct lt_sink_pg *s, struct lt_pg_epoch *ep)
{
	if (ep->staged)
		return;
	ep->staged = true;
	ep->oldest_seq = 0;
	lt_pg_have_copy(&ep->next, &ep->have);
	if (s->n_staged == s->staged_cap) {
		s->staged_cap = s->staged_cap ? 2 * s->staged_cap : 64;
		s->staged = lt_realloc(s->staged, s->staged_cap * sizeof(*s->staged));
	}
	s->staged[s->n_staged++] = ep;
}

static bool timed_unnumbered(const struct lt_pg_row *r)
{
	return !r->epoch->epoch && r->event->has_time;
}

static int by_id(const void *a, const void *b)
{
	const struct lt_pg_epoch *x = *(struct lt_pg_epoch *const *)a,
				 *y = *(struct lt_pg_epoch *const *)b;

	return (x->id > y->id) - (x->id < y->id);
}

int lt_pg_stage(struct lt_sink_pg *s, const struct lt_batch *b, int64_t wall_ns, struct lt_err *err)
{
	int64_t keep_ns = s->conf->store.retention_ms * LT_NS_PER_MS;
	int64_t year_2000_ns = INT64_C(946684800) * LT_NS_PER_S;
	int64_t lo_ns = keep_ns ? wall_ns - keep_ns : year_2000_ns;
	int64_t hi_ns = wall_ns + s->conf->limits.max_ahead_ms * LT_NS_PER_MS;

	s->n_rows = 0;
	s->duplicates = 0;
	s->gaps.n = 0;
	s->copied_bytes = 0;
	if (s->rows_cap < b->n) {
		s->rows_cap = b->n;
		s->rows = lt_realloc(s->rows, b->n * sizeof(*s->rows));
	}
	for (size_t i = 0; i < b->n; i++) {
		const struct lt_event *e = b->events[i];
		struct lt_pg_epoch *ep = s->event_epochs[i];
		bool inside = e->time_ns >= lo_ns && e->time_ns <= hi_ns;

		if (lt_pg_passed(s, e)) {
			s->duplicates++;
			continue;
		}
		if (ep->epoch) {
			stage_epoch(s, ep);
			if ((int64_t)e->oldest_seq > ep->oldest_seq)
				ep->oldest_seq = (int64_t)e->oldest_seq;
			if (!lt_pg_have_add(&ep->next, (int64_t)e->seq)) {
				s->duplicates++;
				continue;
			}
		}
		if (inside) {
			int rc = lt_pg_partition_for(s, lt_pg_time_us(e->time_ns), &inside, err);

			if (rc != LT_OK)
				return rc;
		}
		s->rows[s->n_rows++] = (struct lt_pg_row){
			.event = e,
			.index = (uint32_t)i,
			.epoch = ep,
			.shape_id = lt_pg_shape_id(e->shape),
			.stray = !inside,
		};
	}
	/* Only now: what a later event gives up may stand before it in the same batch. */
	for (size_t i = 0; i < s->n_staged; i++) {
		struct lt_pg_epoch *ep = s->staged[i];

		lt_pg_have_give_up(&ep->next, ep->oldest_seq, ep->id, &s->gaps);
		lt_pg_have_limit(&ep->next, LT_PG_ISLANDS_MAX, ep->id, &s->gaps);
	}
	/* The order in which rows of progress are locked. */
	if (s->n_staged)
		qsort(s->staged, s->n_staged, sizeof(*s->staged), by_id);
	return LT_OK;
}

void lt_pg_unstage(struct lt_sink_pg *s, bool committed)
{
	for (size_t i = 0; i < s->n_staged; i++) {
		struct lt_pg_epoch *ep = s->staged[i];

		ep->staged = false;
		if (committed) {
			struct lt_pg_have old = ep->have;

			s->holes += ep->next.n - old.n;
			ep->have = ep->next;
			ep->next = old;
		}
	}
	s->n_staged = 0;
	lt_gauge_set(&lt_pg_stats.holes, (int64_t)s->holes);
}

/* ---- COPY ---- */

static int copy_rows(
	struct lt_sink_pg *s, size_t lo, size_t hi, bool stray, bool *begun, struct lt_err *err)
{
	struct lt_buf *buf = &s->copy;
	size_t i;
	int rc;

	for (i = lo; i < hi && (s->rows[i].skip || s->rows[i].stray != stray); i++)
		;
	if (i == hi)
		return LT_OK;
	if (*begun)
		rc = lt_pg_copy_begin(&s->pg, stray ? COPY_STRAY : COPY_MAIN, err);
	else
		rc = lt_pg_copy_begin(
			&s->pg, stray ? "BEGIN; " COPY_STRAY : "BEGIN; " COPY_MAIN, err);
	if (rc != LT_OK)
		return rc;
	*begun = true;
	lt_buf_reset(buf);
	lt_pg_copy_header(buf);
	for (; i < hi; i++) {
		const struct lt_pg_row *r = &s->rows[i];

		if (r->skip || r->stray != stray)
			continue;
		lt_pg_copy_row(buf, r->event, r->epoch->source->id, r->epoch->id, r->shape_id);
		if (buf->len < COPY_CHUNK)
			continue;
		rc = lt_pg_copy_data(&s->pg, buf->data, buf->len, err);
		if (rc != LT_OK)
			return rc;
		s->copied_bytes += buf->len;
		lt_buf_reset(buf);
	}
	lt_pg_copy_trailer(buf);
	s->copied_bytes += buf->len;
	rc = lt_pg_copy_data(&s->pg, buf->data, buf->len, err);
	return rc == LT_OK ? lt_pg_copy_end(&s->pg, err) : rc;
}

static int begin(struct lt_sink_pg *s, bool *begun, struct lt_err *err)
{
	if (*begun)
		return LT_OK;
	*begun = true;
	return lt_pg_exec(&s->pg, "BEGIN", err);
}

/* ---- unnumbered events with a time ---- */

static int lock_unnumbered(struct lt_sink_pg *s, struct lt_err *err)
{
	static const char sql[] = "SELECT FROM progress WHERE epoch_id = ANY ($1::int[]) "
				  "ORDER BY epoch_id FOR UPDATE";
	struct lt_buf *ids = &s->param[0];
	size_t n = 0;

	for (size_t i = 0; i < s->n_rows; i++)
		n += timed_unnumbered(&s->rows[i]);
	lt_buf_reset(ids);
	lt_pg_array(ids, LT_PG_INT4, n);
	for (size_t i = 0; i < s->n_rows; i++)
		if (timed_unnumbered(&s->rows[i]))
			lt_pg_array_i4(ids, s->rows[i].epoch->id);
	return lt_pg_query(&s->pg, sql, (struct lt_pg_param[]){lt_pg_param_buf(ids)}, 1, NULL, err);
}

/* Marks the rows whose source, shape and time are stored already, or stand earlier in the batch. */
static int skip_known(struct lt_sink_pg *s, struct lt_err *err)
{
	static const char sql[] =
		"SELECT ord FROM latido_known_events($1::int[], $2::int[], $3::timestamptz[])"
		" ORDER BY ord";
	struct lt_buf *sources = &s->param[0], *shapes = &s->param[1], *times = &s->param[2];
	struct pg_result *r = NULL;
	size_t n = 0, at = 0, ord = 0;
	int rc;

	for (size_t i = 0; i < s->n_rows; i++)
		n += timed_unnumbered(&s->rows[i]);
	for (size_t i = 0; i < 3; i++)
		lt_buf_reset(&s->param[i]);
	lt_pg_array(sources, LT_PG_INT4, n);
	lt_pg_array(shapes, LT_PG_INT4, n);
	lt_pg_array(times, LT_PG_TIMESTAMPTZ, n);
	for (size_t i = 0; i < s->n_rows; i++) {
		const struct lt_pg_row *row = &s->rows[i];

		if (!timed_unnumbered(row))
			continue;
		lt_pg_array_i4(sources, row->epoch->source->id);
		lt_pg_array_i4(shapes, row->shape_id);
		lt_pg_array_i8(times, lt_pg_time_us(row->event->time_ns));
	}
	rc = lt_pg_query(&s->pg, sql,
		(struct lt_pg_param[]){
			lt_pg_param_buf(sources), lt_pg_param_buf(shapes), lt_pg_param_buf(times)},
		3, &r, err);
	if (rc != LT_OK)
		return rc;
	for (size_t i = 0; i < s->n_rows && at < lt_pg_rows(r); i++) {
		if (!timed_unnumbered(&s->rows[i]) || (int64_t)++ord != lt_pg_int(r, at, 0))
			continue;
		s->rows[i].skip = true;
		s->duplicates++;
		at++;
	}
	lt_pg_result_free(r);
	return LT_OK;
}

/* ---- gaps and progress ---- */

struct lt_buf *lt_pg_last(struct lt_sink_pg *s, const char *sql, size_t n)
{
	struct lt_pg_last *l = &s->last[s->n_last++];

	l->sql = sql;
	l->n = n;
	for (size_t i = 0; i < n; i++)
		lt_buf_reset(&l->param[i]);
	return l->param;
}

static void add_gaps(struct lt_sink_pg *s)
{
	static const char sql[] =
		"INSERT INTO gap (epoch_id, kind, lo, hi) "
		"SELECT * FROM unnest($1::int[], $2::text[], $3::bigint[], $4::bigint[])";
	struct lt_buf *p = lt_pg_last(s, sql, 4);
	size_t n = s->gaps.n;

	lt_pg_array(&p[0], LT_PG_INT4, n);
	lt_pg_array(&p[1], LT_PG_TEXT, n);
	lt_pg_array(&p[2], LT_PG_INT8, n);
	lt_pg_array(&p[3], LT_PG_INT8, n);
	for (size_t i = 0; i < n; i++) {
		const struct lt_pg_gap *g = &s->gaps.items[i];

		lt_pg_array_i4(&p[0], g->epoch_id);
		lt_pg_array_bytes(&p[1], g->kind, strlen(g->kind));
		lt_pg_array_i8(&p[2], g->missing.lo);
		lt_pg_array_i8(&p[3], g->missing.hi);
	}
}

static bool changed(const struct lt_pg_epoch *ep)
{
	return !lt_pg_have_equal(&ep->have, &ep->next);
}

static bool plain(const struct lt_pg_epoch *ep)
{
	return !ep->have.n && !ep->next.n;
}

/* Progress without islands, the common case, costs a third of progress with them. */
static void add_progress(struct lt_sink_pg *s, bool islands)
{
	static const char sql_plain[] =
		"SELECT latido_advance($1::int[], $2::bigint[], $3::bigint[])";
	static const char sql_islands[] =
		"SELECT latido_advance_islands($1::int[], $2::bigint[], $3::bigint[], $4::text[], "
		"$5::text[])";
	struct lt_buf *p, *text = &s->param[0];
	size_t n = 0;

	for (size_t i = 0; i < s->n_staged; i++)
		n += changed(s->staged[i]) && plain(s->staged[i]) != islands;
	if (!n)
		return;
	p = lt_pg_last(s, islands ? sql_islands : sql_plain, islands ? 5 : 3);
	for (size_t i = 0; i < (islands ? 5 : 3); i++)
		lt_pg_array(&p[i], i == 0 ? LT_PG_INT4 : i < 3 ? LT_PG_INT8 : LT_PG_TEXT, n);
	for (size_t i = 0; i < s->n_staged; i++) {
		const struct lt_pg_epoch *ep = s->staged[i];

		if (!changed(ep) || plain(ep) == islands)
			continue;
		lt_pg_array_i4(&p[0], ep->id);
		lt_pg_array_i8(&p[1], ep->have.upto);
		lt_pg_array_i8(&p[2], ep->next.upto);
		if (!islands)
			continue;
		lt_buf_reset(text);
		lt_pg_have_text(&ep->have, text);
		lt_pg_array_bytes(&p[3], text->data, text->len);
		lt_buf_reset(text);
		lt_pg_have_text(&ep->next, text);
		lt_pg_array_bytes(&p[4], text->data, text->len);
	}
}

/* ---- the transaction ---- */

static bool nothing_to_write(const struct lt_sink_pg *s)
{
	if (s->n_rows || lt_pg_positions_change(s))
		return false;
	for (size_t i = 0; i < s->n_staged; i++)
		if (changed(s->staged[i]))
			return false;
	return true;
}

static int commit(struct lt_sink_pg *s, struct lt_err *err)
{
	struct lt_pg_call calls[LT_PG_CALLS];

	s->n_last = 0;
	if (s->gaps.n)
		add_gaps(s);
	add_progress(s, false);
	add_progress(s, true);
	lt_pg_positions_last(s);
	lt_pg_rollup_last(s);
	for (size_t i = 0; i < s->n_last; i++) {
		calls[i].sql = s->last[i].sql;
		calls[i].n = s->last[i].n;
		for (size_t k = 0; k < s->last[i].n; k++)
			calls[i].params[k] = lt_pg_param_buf(&s->last[i].param[k]);
	}
	return lt_pg_commit(&s->pg, calls, s->n_last, err);
}

int lt_pg_write(struct lt_sink_pg *s, struct lt_err *err)
{
	bool begun = false, timed = false;
	int rc = LT_OK;

	s->wrote = !nothing_to_write(s);
	if (!s->wrote)
		return LT_OK;
	for (size_t i = 0; i < s->n_rows && !timed; i++)
		timed = timed_unnumbered(&s->rows[i]);
	if (timed) {
		rc = begin(s, &begun, err);
		if (rc == LT_OK)
			rc = lock_unnumbered(s, err);
		if (rc == LT_OK)
			rc = skip_known(s, err);
	}
	if (rc == LT_OK)
		rc = copy_rows(s, 0, s->n_rows, false, &begun, err);
	if (rc == LT_OK)
		rc = copy_rows(s, 0, s->n_rows, true, &begun, err);
	if (rc == LT_OK)
		rc = begin(s, &begun, err);
	if (rc == LT_OK)
		rc = commit(s, err);
	if (rc != LT_OK)
		lt_pg_rollback(&s->pg);
	return rc;
}

/* Are rows [lo, hi) accepted? Nothing of it stays. */
static int try_rows(struct lt_sink_pg *s, size_t lo, size_t hi, struct lt_err *err)
{
	bool begun = false;
	int rc = copy_rows(s, lo, hi, false, &begun, err);

	if (rc == LT_OK)
		rc = copy_rows(s, lo, hi, true, &begun, err);
	if (rc == LT_OK && begun)
		rc = lt_pg_exec(&s->pg, "SET CONSTRAINTS ALL IMMEDIATE", err);
	lt_pg_rollback(&s->pg);
	return rc;
}

int lt_pg_find_bad(struct lt_sink_pg *s, size_t *bad, struct lt_err *err)
{
	size_t lo = 0, hi = s->n_rows;
	struct lt_err first = {0};
	int rc;

	if (!hi)
		return LT_EAGAIN;
	/* Somewhere in [lo, hi) is one. */
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		rc = try_rows(s, lo, mid, &first);
		if (rc == LT_EDATA) {
			hi = mid;
		} else if (rc == LT_OK) {
			lo = mid;
		} else {
			if (err)
				*err = first;
			return rc;
		}
	}
	rc = try_rows(s, lo, hi, &first);
	if (rc == LT_OK)
		return LT_EAGAIN; /* each row alone is fine */
	if (err)
		*err = first;
	*bad = s->rows[lo].index;
	return rc;
}
