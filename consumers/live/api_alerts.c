/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/event/json_read.h"
#include "../../lib/sink/pg_values.h"
#include "latido/clock.h"
#include "live.h"

/* GET /api/v1/alerts: the active ones from memory, what happened before from PostgreSQL. */

#define HISTORY_MAX 1000
#define WEEK_MS     (7LL * 24 * 3600 * 1000)

struct alerts_job {
	struct answer_job a;
	struct lt_buf active;
	int64_t from_ms, to_ms, limit;
	char source[LT_SOURCE_MAX + 1];
	char fingerprint[17];
};

/* $1 from, $2 to (ms), $3 source, $4 fingerprint ("" = any), $5 how many */
static const char select_history[] =
	"SELECT fingerprint, state, (extract(epoch FROM active_at) * 1000)::int8, "
	"(extract(epoch FROM at) * 1000)::int8, value, labels::text, annotations::text, rule::text "
	"FROM alert_event WHERE at >= 'epoch'::timestamptz + $1::int8 * interval '1 millisecond' "
	"AND at < 'epoch'::timestamptz + $2::int8 * interval '1 millisecond' "
	"AND ($3::text = '' OR source = $3::text) "
	"AND ($4::text = '' OR fingerprint = $4::text) ORDER BY at DESC, fingerprint LIMIT "
	"$5::int8";

static void put_text(struct lt_buf *b, const struct pg_result *r, size_t row, size_t col)
{
	size_t n;
	const char *s = lt_pg_bytes(r, row, col, &n);

	lt_buf_json_str(b, s, n);
}

static void put_json(struct lt_buf *b, const struct pg_result *r, size_t row, size_t col)
{
	size_t n;
	const char *s = lt_pg_bytes(r, row, col, &n);

	lt_buf_add(b, s, n); /* jsonb's own text */
}

static void put_event(struct lt_buf *b, const struct pg_result *r, size_t row)
{
	lt_buf_str(b, row ? ",{\"fingerprint\":" : "{\"fingerprint\":");
	put_text(b, r, row, 0);
	lt_buf_str(b, ",\"state\":");
	put_text(b, r, row, 1);
	lt_buf_printf(b, ",\"active_at_ms\":%" PRId64 ",\"at_ms\":%" PRId64 ",\"value\":",
		lt_pg_int(r, row, 2), lt_pg_int(r, row, 3));
	json_number(b, pg_double(r, row, 4));
	lt_buf_str(b, ",\"labels\":");
	put_json(b, r, row, 5);
	lt_buf_str(b, ",\"annotations\":");
	put_json(b, r, row, 6);
	lt_buf_str(b, ",\"rule\":");
	put_json(b, r, row, 7);
	lt_buf_char(b, '}');
}

static void run(struct job *job, struct worker *w)
{
	struct alerts_job *j = (struct alerts_job *)job;
	unsigned char from[8], to[8], limit[8];
	const struct lt_pg_param params[] = {pg_int8(j->from_ms, from), pg_int8(j->to_ms, to),
		pg_text(j->source), pg_text(j->fingerprint), pg_int8(j->limit, limit)};
	struct pg_result *r = NULL;
	int rc = worker_pg(w, &j->a.err);

	if (rc == LT_OK)
		rc = lt_pg_query(
			&w->pg, select_history, params, LT_ARRAY_LEN(params), &r, &j->a.err);
	/* No such table: a database of before there were alerts. */
	if (rc != LT_OK && strcmp(w->pg.sqlstate, "42P01") != 0)
		return;
	lt_buf_add(&j->a.body, j->active.data, j->active.len);
	lt_buf_str(&j->a.body, ",\"history\":[");
	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r); i++)
		put_event(&j->a.body, r, i);
	lt_buf_str(&j->a.body, "]}\n");
	lt_pg_result_free(r);
	j->a.status = 200;
}

static void fini(struct answer_job *a)
{
	lt_buf_fini(&((struct alerts_job *)a)->active);
}

/* Is it of this source? Its label instance says so. */
static bool is_of(const char *text, const char *source)
{
	struct json_value key, v;
	bool first = true, inner = true, found = false;
	struct json j;

	json_init(&j, text, strlen(text));
	if (!json_value(&j, &v))
		return false;
	while (json_member(&j, &first, &key) == 1 && json_value(&j, &v)) {
		if (v.type != JSON_OBJECT || key.len != 6 || memcmp(key.s, "labels", 6)) {
			if (!json_skip(&j, &v))
				return false;
			continue;
		}
		while (json_member(&j, &inner, &key) == 1 && json_value(&j, &v)) {
			if (key.len == 8 && !memcmp(key.s, "instance", 8) && v.type == JSON_STRING)
				found = v.len == strlen(source) && !memcmp(v.s, source, v.len);
			if (!json_skip(&j, &v))
				return false;
		}
	}
	return found;
}

/* "{"active":[...]", the object goes on. */
static void put_active(struct lt_buf *b, const struct hub *h, const struct alerts_job *j)
{
	bool first = true;

	lt_buf_str(b, "{\"active\":[");
	for (size_t i = 0; i < h->n_alerts; i++) {
		const struct hub_alert *a = &h->alerts[i];

		if ((*j->fingerprint && strcmp(a->fingerprint, j->fingerprint) != 0) ||
			(*j->source && !is_of(a->json, j->source)))
			continue;
		if (!first)
			lt_buf_char(b, ',');
		first = false;
		lt_buf_str(b, a->json);
	}
	lt_buf_char(b, ']');
}

static const char *read_question(struct alerts_job *j, const struct http_req *req)
{
	const char *history = http_param(&req->query, "history", 0);
	const char *from = http_param(&req->query, "from", 0);
	const char *to = http_param(&req->query, "to", 0);
	const char *source = http_param(&req->query, "source", 0);
	const char *fingerprint = http_param(&req->query, "fingerprint", 0);

	if (history) {
		size_t n = strspn(history, "0123456789");

		if (!n || n > 4 || history[n] || atol(history) > HISTORY_MAX)
			return "history: expected a number up to 1000";
		j->limit = atol(history);
	}
	j->to_ms = lt_wall_ns() / LT_NS_PER_MS + 1000;
	if (to && !http_time_ms(to, &j->to_ms))
		return "to: expected seconds since 1970 or RFC 3339";
	j->from_ms = j->to_ms - WEEK_MS;
	if (from && !http_time_ms(from, &j->from_ms))
		return "from: expected seconds since 1970 or RFC 3339";
	if (source) {
		if (!lt_source_valid(source, strlen(source)))
			return "source: expected the name of a node or device";
		snprintf(j->source, sizeof(j->source), "%s", source);
	}
	if (fingerprint) {
		if (strlen(fingerprint) != 16 || strspn(fingerprint, "0123456789abcdef") != 16)
			return "fingerprint: expected 16 hexadecimal digits";
		memcpy(j->fingerprint, fingerprint, 17);
	}
	return NULL;
}

void api_alerts(struct live *l, struct http_req *req)
{
	struct alerts_job *j = lt_calloc(1, sizeof(*j));
	const char *problem = read_question(j, req);

	if (problem) {
		free(j);
		http_reply_error(req, 400, 0, "%s", problem);
		return;
	}
	put_active(&j->active, l->hub, j);
	if (j->limit == 0) {
		lt_buf_str(&j->active, ",\"history\":[]}\n");
		http_reply_buf(req, 200, "application/json", &j->active);
		free(j);
		return;
	}
	j->a.job.run = run;
	j->a.fini = fini;
	j->a.failed = live_pg_result;
	j->a.failed_arg = l;
	answer_submit(l->queries, &j->a, req);
}
