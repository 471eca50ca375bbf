/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/redis_layout.h"
#include "live.h"

/* GET /api/v1/nodes/<source>/window: a window of Redis, turned into columns. */

#define NAMES_MAX    64
#define CHUNK        500     /* entries read at once */
#define VALUES_MAX   4000000 /* in one answer */
#define EVENTS_MAX   100000
#define WSTREAMS_MAX 16

/* One series' values; those of events before it appeared are missing. */
struct column {
	const struct lt_series *series; /* of a shape that the stream holds */
	double *values;
	size_t n, cap;
};

struct wstream {
	char name[LT_STREAM_MAX + 1];
	uint32_t interval_ms;
	int64_t *times;
	size_t n, cap;
	struct column *columns;
	size_t n_columns;
	struct lt_shape *shape; /* of the last event */
	uint32_t *at;           /* column of each of its series, UINT32_MAX = not wanted */
};

struct window_job {
	struct answer_job a;
	char source[LT_SOURCE_MAX + 1];
	char *names[NAMES_MAX];
	size_t n_names;
	int64_t since_ms;
	struct wstream streams[WSTREAMS_MAX];
	size_t n_streams;
	struct lt_shape **shapes; /* referenced until the end */
	size_t n_shapes;
	size_t n_values, n_events;
	bool truncated;
	struct lt_arena arena;
};

static bool wanted(const struct window_job *j, const char *name)
{
	for (size_t i = 0; i < j->n_names; i++)
		if (!strcmp(j->names[i], name))
			return true;
	return j->n_names == 0;
}

static struct wstream *stream_of(struct window_job *j, const char *name)
{
	struct wstream *st;

	for (size_t i = 0; i < j->n_streams; i++)
		if (!strcmp(j->streams[i].name, name))
			return &j->streams[i];
	if (j->n_streams == WSTREAMS_MAX)
		return NULL;
	st = &j->streams[j->n_streams++];
	snprintf(st->name, sizeof(st->name), "%s", name);
	return st;
}

static uint32_t column_of(struct wstream *st, const struct lt_series *s)
{
	for (size_t i = 0; i < st->n_columns; i++)
		if (!strcmp(st->columns[i].series->text, s->text))
			return (uint32_t)i;
	if ((st->n_columns & (st->n_columns - 1)) == 0)
		st->columns = lt_realloc(st->columns,
			(st->n_columns ? 2 * st->n_columns : 1) * sizeof(*st->columns));
	st->columns[st->n_columns] = (struct column){.series = s};
	return (uint32_t)st->n_columns++;
}

/* Where each value of this shape goes. */
static void use_shape(struct window_job *j, struct wstream *st, struct lt_shape *shape)
{
	bool first = st->n_columns == 0;

	st->shape = shape;
	st->at = lt_realloc(st->at, (shape->n_series + 1) * sizeof(*st->at));
	for (uint32_t i = 0; i < shape->n_series; i++) {
		const struct lt_series *s = &shape->series[i];

		if (!wanted(j, s->name)) {
			st->at[i] = UINT32_MAX;
			continue;
		}
		if (first) { /* the common case: all of them are new */
			if ((st->n_columns & (st->n_columns - 1)) == 0)
				st->columns = lt_realloc(
					st->columns, (st->n_columns ? 2 * st->n_columns : 1) *
							     sizeof(*st->columns));
			st->columns[st->n_columns] = (struct column){.series = s};
			st->at[i] = (uint32_t)st->n_columns++;
		} else {
			st->at[i] = column_of(st, s);
		}
	}
	for (size_t i = 0; i < j->n_shapes; i++)
		if (j->shapes[i] == shape)
			return;
	lt_shape_get(shape);
	j->shapes = lt_realloc(j->shapes, (j->n_shapes + 1) * sizeof(struct lt_shape *));
	j->shapes[j->n_shapes++] = shape;
}

static void set_value(struct column *c, size_t row, size_t cap, double v)
{
	if (c->cap < cap) {
		c->values = lt_realloc(c->values, cap * sizeof(*c->values));
		c->cap = cap;
	}
	while (c->n < row)
		c->values[c->n++] = __builtin_nan("");
	c->values[row] = v;
	c->n = row + 1;
}

/* Events come newest first; rows are turned round when they are written. */
static bool add_event(struct window_job *j, const struct lt_event *e)
{
	struct wstream *st;
	int64_t ms = e->time_ns / LT_NS_PER_MS;

	if (ms <= j->since_ms)
		return true;
	st = stream_of(j, e->stream);
	if (!st)
		return true;
	if (st->shape != e->shape)
		use_shape(j, st, e->shape);
	if (!st->interval_ms)
		st->interval_ms = e->interval_ms;
	j->n_values += st->n_columns + 1;
	if (j->n_values > VALUES_MAX || ++j->n_events > EVENTS_MAX) {
		j->truncated = true;
		return false;
	}
	if (st->n == st->cap) {
		st->cap = st->cap ? 2 * st->cap : 64;
		st->times = lt_realloc(st->times, st->cap * sizeof(*st->times));
	}
	for (uint32_t i = 0; i < e->n; i++)
		if (st->at[i] != UINT32_MAX)
			set_value(&st->columns[st->at[i]], st->n, st->cap, lt_event_value(e, i));
	st->times[st->n++] = ms;
	return true;
}

static int decode(struct window_job *j, struct worker *w, const char *data, size_t size, bool *more,
	struct lt_err *err)
{
	const struct lt_decode_limits limits = {
		(size_t)w->conf->limits.max_bytes, (uint32_t)w->conf->limits.max_series};
	struct lt_origin origin = {.arrived_ns = lt_wall_ns()};
	enum lt_reason reason;
	struct lt_event *first;
	uint64_t missing;
	int rc;

	snprintf(origin.source, sizeof(origin.source), "%s", j->source);
	rc = lt_decode(w->shapes, &limits, &origin, data, size, &j->arena, &first, &reason,
		&missing, NULL);
	if (rc == LT_ESHAPE) {
		struct lt_shape *shape;

		rc = lt_redis_find_shape(w->redis, w->shapes, missing, &shape, err);
		if (rc == LT_EAGAIN)
			return LT_OK; /* nobody knows its names any more */
		if (rc != LT_OK)
			return rc;
		lt_shapes_announce(w->shapes, j->source, shape);
		lt_shape_put(shape);
		rc = lt_decode(w->shapes, &limits, &origin, data, size, &j->arena, &first, &reason,
			&missing, NULL);
	}
	if (rc != LT_OK)
		return LT_OK;
	for (struct lt_event *e = first; e && *more; e = e->next)
		*more = add_event(j, e);
	lt_events_release(first);
	lt_arena_reset(&j->arena);
	return LT_OK;
}

/* Newest first, in pieces: what a window holds is bounded by its writer, not by us. */
static int read_window(struct window_job *j, struct worker *w, struct lt_err *err)
{
	struct lt_redis_cmd cmd = {0};
	char last[80] = "+";
	bool more = true;
	int rc = LT_OK;

	while (rc == LT_OK && more && !j->a.job.cancelled) {
		struct lt_reply *entries;
		size_t n;

		lt_redis_begin(&cmd, "XREVRANGE");
		lt_redis_key(&cmd, LT_REDIS_WINDOW, j->source);
		lt_redis_str(&cmd, last);
		lt_redis_str(&cmd, "-");
		lt_redis_str(&cmd, "COUNT");
		lt_redis_i64(&cmd, CHUNK);
		rc = lt_redis_call(w->redis, &cmd, &entries, err);
		if (rc != LT_OK)
			break;
		n = lt_reply_n(entries);
		for (size_t i = 0; i < n && rc == LT_OK && more; i++) {
			const struct lt_reply *entry = lt_reply_at(entries, i);
			const struct lt_reply *fields = lt_reply_at(entry, 1);
			size_t size;
			const char *data;

			snprintf(last, sizeof(last), "(%s",
				lt_reply_str(lt_reply_at(entry, 0), NULL));
			if (lt_reply_n(fields) < 2)
				continue;
			data = lt_reply_str(lt_reply_at(fields, 1), &size);
			rc = decode(j, w, data, size, &more, err);
		}
		more = more && n == CHUNK;
		lt_reply_free(entries);
	}
	lt_redis_cmd_fini(&cmd);
	return rc;
}

static void put_stream(struct lt_buf *b, const struct wstream *st)
{
	lt_buf_printf(b, "{\"stream\":\"%s\",\"interval_ms\":%u,\"time_ms\":[", st->name,
		st->interval_ms);
	for (size_t i = st->n; i-- > 0;)
		lt_buf_printf(b, i + 1 < st->n ? ",%" PRId64 : "%" PRId64, st->times[i]);
	lt_buf_str(b, "],\"series\":[");
	for (size_t c = 0; c < st->n_columns; c++) {
		const struct column *col = &st->columns[c];

		lt_buf_str(b, c ? ",{\"name\":" : "{\"name\":");
		lt_buf_json_str(b, col->series->name, col->series->name_len);
		lt_buf_str(b, ",\"labels\":");
		json_labels(b, col->series);
		lt_buf_printf(b, ",\"kind\":\"%s\",\"values\":[", json_kind(col->series->kind));
		for (size_t i = st->n; i-- > 0;) {
			if (i + 1 < st->n)
				lt_buf_char(b, ',');
			json_number(b, i < col->n ? col->values[i] : __builtin_nan(""));
		}
		lt_buf_str(b, "]}");
	}
	lt_buf_str(b, "]}");
}

static void run(struct job *job, struct worker *w)
{
	struct window_job *j = (struct window_job *)job;
	struct lt_buf *b = &j->a.body;
	int rc = worker_redis(w, &j->a.err);

	if (rc == LT_OK)
		rc = read_window(j, w, &j->a.err);
	if (rc == LT_OK) {
		lt_buf_printf(b, "{\"source\":\"%s\",\"truncated\":%s,\"streams\":[", j->source,
			j->truncated ? "true" : "false");
		for (size_t i = 0; i < j->n_streams; i++) {
			if (i)
				lt_buf_char(b, ',');
			put_stream(b, &j->streams[i]);
		}
		lt_buf_str(b, "]}\n");
		j->a.status = 200;
	}
	/* References belong to this thread's table. */
	for (size_t i = 0; i < j->n_shapes; i++)
		lt_shape_put(j->shapes[i]);
	j->n_shapes = 0;
}

static void fini(struct answer_job *a)
{
	struct window_job *j = (struct window_job *)a;

	for (size_t i = 0; i < j->n_streams; i++) {
		struct wstream *st = &j->streams[i];

		for (size_t c = 0; c < st->n_columns; c++)
			free(st->columns[c].values);
		free(st->columns);
		free(st->times);
		free(st->at);
	}
	for (size_t i = 0; i < j->n_names; i++)
		free(j->names[i]);
	free(j->shapes);
	lt_arena_fini(&j->arena);
}

void api_window(struct live *l, struct http_req *req, const char *source)
{
	const char *since = http_param(&req->query, "since", 0), *name;
	const struct hub_source *s = hub_find(l->hub, source);
	struct window_job *j;
	int64_t since_ms = INT64_MIN;

	if (!s || !s->seen_ms) {
		http_reply_error(req, 404, 0, "no node or device named %s was seen", source);
		return;
	}
	if (since && !http_time_ms(since, &since_ms)) {
		http_reply_error(req, 400, 0, "since: expected seconds since 1970 or RFC 3339");
		return;
	}
	if (http_param(&req->query, "name", NAMES_MAX)) {
		http_reply_error(req, 400, 0, "at most %d names in one question", NAMES_MAX);
		return;
	}
	j = lt_calloc(1, sizeof(*j));
	snprintf(j->source, sizeof(j->source), "%s", source);
	j->since_ms = since_ms;
	while ((name = http_param(&req->query, "name", j->n_names)))
		j->names[j->n_names++] = lt_strdup(name);
	j->a.job.run = run;
	j->a.fini = fini;
	answer_submit(l->queries, &j->a, req);
}
