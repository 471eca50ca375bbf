/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "pg_copy.h"
#include "sink_pg.h"

/*
 * Positions in Kafka's partitions, table kafka_progress. What we believe of each partition is kept
 * here; a batch moves it from there to the end of its span, or the transaction is rolled back.
 */

static bool same(const struct lt_pg_position *p, const char *log, int32_t partition)
{
	return p->partition == partition && strcmp(p->log, log) == 0;
}

static struct lt_pg_position *find(struct lt_sink_pg *s, const char *log, int32_t partition)
{
	for (size_t i = 0; i < s->n_positions; i++)
		if (same(&s->positions[i], log, partition))
			return &s->positions[i];
	return NULL;
}

static struct lt_pg_position *make(struct lt_sink_pg *s, const char *log, int32_t partition)
{
	struct lt_pg_position *p = find(s, log, partition);

	if (p)
		return p;
	s->positions = lt_realloc(s->positions, (s->n_positions + 1) * sizeof(*s->positions));
	p = &s->positions[s->n_positions++];
	*p = (struct lt_pg_position){
		.log = lt_strdup(log), .partition = partition, .next = -1, .from = -1, .to = -1};
	return p;
}

void lt_pg_positions_forget(struct lt_sink_pg *s)
{
	for (size_t i = 0; i < s->n_positions; i++)
		s->positions[i].loaded = false;
}

void lt_pg_positions_fini(struct lt_sink_pg *s)
{
	for (size_t i = 0; i < s->n_positions; i++)
		free(s->positions[i].log);
	free(s->positions);
	s->positions = NULL;
	s->n_positions = 0;
}

static int load(struct lt_sink_pg *s, struct lt_err *err)
{
	static const char sql[] = "SELECT topic, part, next_offset FROM kafka_progress";
	struct pg_result *r = NULL;
	int rc = lt_pg_query(&s->pg, sql, NULL, 0, &r, err);

	if (rc != LT_OK)
		return rc;
	for (size_t i = 0; i < s->n_positions; i++) {
		s->positions[i].next = -1;
		s->positions[i].loaded = true;
	}
	for (size_t i = 0; i < lt_pg_rows(r); i++) {
		size_t size;
		const char *topic = lt_pg_bytes(r, i, 0, &size);
		int32_t partition = (int32_t)lt_pg_int(r, i, 1);

		for (size_t k = 0; k < s->n_positions; k++) {
			struct lt_pg_position *p = &s->positions[k];

			if (p->partition == partition && strlen(p->log) == size &&
				memcmp(p->log, topic, size) == 0)
				p->next = lt_pg_int(r, i, 2);
		}
	}
	lt_pg_result_free(r);
	return LT_OK;
}

int lt_pg_positions(struct lt_sink *sink, struct lt_bus_span *parts, size_t n, struct lt_err *err)
{
	struct lt_sink_pg *s = (struct lt_sink_pg *)sink;
	int rc;

	for (size_t i = 0; i < n; i++)
		make(s, parts[i].log, parts[i].partition);
	rc = load(s, err);
	if (rc != LT_OK) {
		if (err)
			err->cls = LT_CLS_RETRY;
		return rc;
	}
	for (size_t i = 0; i < n; i++)
		parts[i].first = make(s, parts[i].log, parts[i].partition)->next;
	return LT_OK;
}

static bool begins_anew(const struct lt_batch *b, const struct lt_pg_position *p)
{
	for (size_t i = 0; i < b->n_gaps; i++)
		if (b->gaps[i].next < b->gaps[i].first &&
			same(p, b->gaps[i].log, b->gaps[i].partition))
			return true;
	return false;
}

/*
 * Does what the table has fit the batch? What is stored already is passed over; a span that begins
 * behind the position leaves a hole. Where the log began anew, offsets cannot be compared: only the
 * position at which the batch was begun tells that it has not been stored.
 */
static const struct lt_bus_span *misfit(struct lt_sink_pg *s, const struct lt_batch *b)
{
	for (size_t i = 0; i < b->n_spans; i++) {
		const struct lt_bus_span *span = &b->spans[i];
		const struct lt_pg_position *p = find(s, span->log, span->partition);
		int64_t first = span->first > 0 ? span->first : 0;
		int64_t at = p->next > 0 ? p->next : 0; /* no row: nothing was read */

		if (first > at || (first < at && begins_anew(b, p)))
			return span;
	}
	return NULL;
}

static int load_fitting(struct lt_sink_pg *s, const struct lt_batch *b, struct lt_err *err)
{
	const struct lt_bus_span *span;
	bool known = true;
	int rc;

	s->astray = false;
	for (size_t i = 0; i < b->n_spans; i++)
		known &= make(s, b->spans[i].log, b->spans[i].partition)->loaded;
	if (known && !misfit(s, b))
		return LT_OK;
	rc = load(s, err);
	if (rc != LT_OK)
		return rc;
	span = misfit(s, b);
	if (!span)
		return LT_OK;
	s->astray = true;
	return lt_fail(err, LT_ECONFLICT, LT_CLS_RETRY, "pg.positions",
		"%s, partition %d: kafka_progress has offset %lld, the batch begins at %lld: the "
		"table "
		"was set back or another store went on",
		span->log, (int)span->partition,
		(long long)find(s, span->log, span->partition)->next, (long long)span->first);
}

int lt_pg_positions_stage(struct lt_sink_pg *s, const struct lt_batch *b, struct lt_err *err)
{
	int rc;

	for (size_t i = 0; i < s->n_positions; i++)
		s->positions[i].to = -1;
	rc = load_fitting(s, b, err);
	if (rc != LT_OK)
		return rc;
	s->n_bus_gaps = 0;
	if (s->bus_gaps_cap < b->n_gaps) {
		s->bus_gaps_cap = b->n_gaps;
		s->bus_gaps = lt_realloc(s->bus_gaps, b->n_gaps * sizeof(struct lt_bus_span *));
	}
	for (size_t i = 0; i < b->n_spans; i++) {
		struct lt_pg_position *p = find(s, b->spans[i].log, b->spans[i].partition);

		p->from = p->next;
		p->to = b->spans[i].next > p->next || begins_anew(b, p) ? b->spans[i].next : -1;
	}
	for (size_t i = 0; i < b->n_gaps; i++) {
		const struct lt_bus_span *g = &b->gaps[i];
		struct lt_pg_position *p = make(s, g->log, g->partition);

		if (g->first < p->next && !begins_anew(b, p))
			continue; /* another store was here since */
		s->bus_gaps[s->n_bus_gaps++] = g;
		if (g->next < p->from) /* the log begins anew */
			p->from = g->next;
	}
	return LT_OK;
}

bool lt_pg_passed(struct lt_sink_pg *s, const struct lt_event *e)
{
	const struct lt_pg_position *p;

	if (!s->n_positions || !e->msg || !e->msg->log)
		return false;
	p = s->last_position < s->n_positions ? &s->positions[s->last_position] : NULL;
	if (!p || !same(p, e->msg->log, e->msg->partition)) {
		p = find(s, e->msg->log, e->msg->partition);
		if (!p)
			return false;
		s->last_position = (size_t)(p - s->positions);
	}
	return e->msg->offset < p->from;
}

bool lt_pg_positions_change(const struct lt_sink_pg *s)
{
	for (size_t i = 0; i < s->n_positions; i++)
		if (s->positions[i].to >= 0)
			return true;
	return s->n_bus_gaps > 0;
}

/* Topics, partitions and two offsets of each. */
static void begin_arrays(struct lt_buf *p, size_t n)
{
	lt_pg_array(&p[0], LT_PG_TEXT, n);
	lt_pg_array(&p[1], LT_PG_INT4, n);
	lt_pg_array(&p[2], LT_PG_INT8, n);
	lt_pg_array(&p[3], LT_PG_INT8, n);
}

static void add_bus_gaps(struct lt_sink_pg *s)
{
	static const char sql[] = "INSERT INTO gap (kind, lo, hi, detail) "
				  "SELECT 'bus', lo, greatest(lo, next - 1), jsonb_build_object("
				  "'topic', topic, 'partition', part, 'next', next) "
				  "FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) "
				  "AS n (topic, part, lo, next)";
	struct lt_buf *p = lt_pg_last(s, sql, 4);

	begin_arrays(p, s->n_bus_gaps);
	for (size_t i = 0; i < s->n_bus_gaps; i++) {
		const struct lt_bus_span *g = s->bus_gaps[i];

		lt_pg_array_bytes(&p[0], g->log, strlen(g->log));
		lt_pg_array_i4(&p[1], g->partition);
		lt_pg_array_i8(&p[2], g->first);
		lt_pg_array_i8(&p[3], g->next);
	}
}

void lt_pg_positions_last(struct lt_sink_pg *s)
{
	static const char sql[] = "SELECT latido_advance_kafka($1::text[], $2::int[], "
				  "$3::bigint[], $4::bigint[])";
	struct lt_buf *p;
	size_t n = 0;

	if (s->n_bus_gaps)
		add_bus_gaps(s);
	for (size_t i = 0; i < s->n_positions; i++)
		n += s->positions[i].to >= 0;
	if (!n)
		return;
	p = lt_pg_last(s, sql, 4);
	begin_arrays(p, n);
	for (size_t i = 0; i < s->n_positions; i++) {
		const struct lt_pg_position *at = &s->positions[i];

		if (at->to < 0)
			continue;
		lt_pg_array_bytes(&p[0], at->log, strlen(at->log));
		lt_pg_array_i4(&p[1], at->partition);
		lt_pg_array_i8(&p[2], at->next);
		lt_pg_array_i8(&p[3], at->to);
	}
}

void lt_pg_positions_done(struct lt_sink_pg *s, int rc)
{
	for (size_t i = 0; i < s->n_positions; i++) {
		struct lt_pg_position *p = &s->positions[i];

		if (rc == LT_OK && p->to >= 0)
			p->next = p->to;
		p->to = -1;
	}
	if (rc != LT_OK) /* also when it is not known whether the COMMIT arrived */
		lt_pg_positions_forget(s);
}
