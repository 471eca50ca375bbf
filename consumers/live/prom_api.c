/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "latido/clock.h"
#include "live.h"
#include "prom.h"

/*
 * /prometheus/api/v1/...: Prometheus's HTTP API, as of release 2.42, over the series of PostgreSQL:
 * what Grafana's data source asks. Answers and error texts are Prometheus's.
 */

#define STEPS_MAX 11000

enum what { PROM_QUERY = 0, PROM_RANGE, PROM_SERIES, PROM_LABELS, PROM_VALUES, PROM_METADATA };

struct prom_job {
	struct answer_job a;
	enum what what;
	const struct http_params *query;
	struct http_params own; /* of the URL and of a form */
	int64_t start_ms, end_ms, step_ms;
	char *expr;
	char label[LT_LABEL_NAME_MAX + 1];
	char **matches;
	size_t n_matches;
	size_t limit;
};

/* ---- answers ---- */

static void put_error(struct prom_job *j, int status, const char *type, const char *fmt, ...)
	LT_PRINTF(4, 5);

static void put_error(struct prom_job *j, int status, const char *type, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	lt_buf_reset(&j->a.body);
	lt_buf_printf(&j->a.body, "{\"status\":\"error\",\"errorType\":\"%s\",\"error\":", type);
	lt_buf_json_str(&j->a.body, text, strlen(text));
	lt_buf_str(&j->a.body, "}");
	j->a.status = status;
}

/* What went wrong while an expression was evaluated, or series were read. */
static void put_failure(struct prom_job *j, const struct lt_err *err)
{
	switch (err->code) {
	case LT_ETIMEOUT:
		put_error(j, 503, "timeout", "query timed out in expression evaluation");
		break;
	case LT_EINVAL:
	case LT_EFULL:
	case LT_EDATA:
		put_error(j, 422, "execution", "%s", err->msg);
		break;
	default:
		put_error(j, 503, "unavailable", "%s", err->msg);
	}
}

/* 1435781451.781, as Prometheus writes milliseconds. */
static void put_time(struct lt_buf *b, int64_t ms)
{
	lt_buf_printf(b, "%" PRId64, ms / 1000);
	if (ms % 1000)
		lt_buf_printf(b, ".%03" PRId64, ms % 1000);
}

static void put_point(struct lt_buf *b, int64_t ms, double v)
{
	lt_buf_char(b, '[');
	put_time(b, ms);
	lt_buf_str(b, ",\"");
	lt_promql_format_float(b, v);
	lt_buf_str(b, "\"]");
}

static void put_labels(
	struct lt_buf *b, const struct lt_label_pool *pool, const struct lt_labels *l)
{
	lt_buf_char(b, '{');
	for (unsigned i = 0; i < l->n; i++) {
		size_t n;
		const char *s = lt_sym_text(pool, l->pair[i].name, &n);

		if (i)
			lt_buf_char(b, ',');
		lt_buf_json_str(b, s, n);
		lt_buf_char(b, ':');
		s = lt_sym_text(pool, l->pair[i].value, &n);
		lt_buf_json_str(b, s, n);
	}
	lt_buf_char(b, '}');
}

static void put_result(
	struct lt_buf *b, const struct lt_label_pool *pool, const struct lt_promql_result *r)
{
	static const char *const names[] = {"none", "scalar", "string", "vector", "matrix"};

	lt_buf_printf(b, "{\"status\":\"success\",\"data\":{\"resultType\":\"%s\",\"result\":",
		names[r->type]);
	if (r->type == LT_PROMQL_SCALAR) {
		put_point(b, r->t_ms, r->scalar);
	} else if (r->type == LT_PROMQL_STRING) {
		lt_buf_char(b, '[');
		put_time(b, r->t_ms);
		lt_buf_char(b, ',');
		lt_buf_json_str(b, r->string, r->string_len);
		lt_buf_char(b, ']');
	} else {
		lt_buf_char(b, '[');
		for (size_t i = 0; i < r->n; i++) {
			lt_buf_str(b, i ? ",{\"metric\":" : "{\"metric\":");
			if (r->type == LT_PROMQL_VECTOR) {
				put_labels(b, pool, r->vector[i].labels);
				lt_buf_str(b, ",\"value\":");
				put_point(b, r->t_ms, r->vector[i].v);
			} else {
				put_labels(b, pool, r->matrix[i].labels);
				lt_buf_str(b, ",\"values\":[");
				for (size_t k = 0; k < r->matrix[i].n; k++) {
					if (k)
						lt_buf_char(b, ',');
					put_point(b, r->matrix[i].points[k].t_ms,
						r->matrix[i].points[k].v);
				}
				lt_buf_char(b, ']');
			}
			lt_buf_char(b, '}');
		}
		lt_buf_char(b, ']');
	}
	lt_buf_str(b, "}}");
}

/* ---- worker: expressions ---- */

static int parse(struct prom_job *j, struct lt_label_pool *pool, const char *text,
	const char *parameter, struct lt_promql_expr **out)
{
	const struct lt_promql_limits limits = {
		.max_samples = PROM_SAMPLES_MAX, .lookback_ms = PROM_LOOKBACK_MS};
	struct lt_promql_pos at;
	struct lt_err err;
	int rc = lt_promql_parse(pool, text, strlen(text), &limits, out, &at, &err);

	if (rc != LT_OK)
		put_error(j, 400, "bad_data",
			"invalid parameter \"%s\": %" PRIu32 ":%" PRIu32 ": parse error: %s",
			parameter, at.line, at.column, err.msg);
	return rc;
}

/* The one name that all selectors demand, or NULL. */
static const char *common_name(const struct lt_label_pool *pool, const struct lt_promql_expr *e)
{
	uint32_t name = LT_SYM_NONE;

	for (size_t i = 0; i < lt_promql_selector_count(e); i++) {
		uint32_t one = lt_promql_selector(e, i)->name;

		if (one == LT_SYM_NONE || (name != LT_SYM_NONE && name != one))
			return NULL;
		name = one;
	}
	return name == LT_SYM_NONE ? NULL : lt_sym_text(pool, name, NULL);
}

static void run_query(struct prom_job *j, struct worker *w)
{
	struct prom_store store = {0};
	struct lt_promql_storage storage = prom_storage;
	struct lt_promql_result result = {0};
	struct lt_promql_expr *e = NULL;
	struct lt_label_pool *pool = NULL;
	struct lt_err err = {0};
	int rc;

	/* Sources and series are read into a pool of their own, so the text is parsed twice: first
	 * for its errors and the name that it asks for. */
	pool = lt_label_pool_new();
	rc = parse(j, pool, j->expr, "query", &e);
	if (rc == LT_OK && lt_promql_selector_count(e))
		rc = prom_open(&store, w, common_name(pool, e), &err);
	else
		store.pool = lt_label_pool_new();
	lt_promql_free(e);
	lt_label_pool_free(pool);
	e = NULL;
	if (j->a.status == 0 && rc == LT_OK)
		rc = parse(j, store.pool, j->expr, "query", &e);
	if (rc == LT_OK && j->what == PROM_RANGE && lt_promql_expr_type(e) != LT_PROMQL_SCALAR &&
		lt_promql_expr_type(e) != LT_PROMQL_VECTOR) {
		put_error(j, 400, "bad_data",
			"invalid expression type \"%s\" for range query, must be Scalar or instant "
			"Vector",
			lt_promql_expr_type(e) == LT_PROMQL_MATRIX
				? "range vector"
				: lt_promql_type_name(lt_promql_expr_type(e)));
		rc = LT_EINVAL;
	}
	if (rc == LT_OK) {
		storage.ctx = &store;
		if (j->what == PROM_RANGE) {
			store.start_ms = j->start_ms;
			store.end_ms = j->end_ms;
			store.step_ms = j->step_ms;
			rc = lt_promql_eval_range(
				e, j->start_ms, j->end_ms, j->step_ms, &storage, &result, &err);
			if (rc == LT_OK)
				lt_promql_result_sort(&result);
		} else {
			rc = lt_promql_eval(e, j->start_ms, &storage, &result, &err);
		}
	}
	if (rc == LT_OK) {
		put_result(&j->a.body, store.pool, &result);
		j->a.status = 200;
	} else if (j->a.status == 0) {
		put_failure(j, &err);
		j->a.err = err;
	}
	lt_promql_result_fini(&result);
	lt_promql_free(e);
	prom_fini(&store);
}

/* ---- worker: which series there are ---- */

struct found {
	struct prom_job *j;
	struct prom_store *store;
	struct lt_promql_expr **selectors; /* one selector each; none = everything */
	size_t n_selectors;
	const struct lt_labels **sets; /* distinct, referenced */
	size_t n;
	int rc;
	struct lt_err err;
};

static void on_pair(void *arg, const struct prom_source *o, const struct prom_series *x)
{
	struct found *f = arg;
	const struct lt_labels *l;
	bool hit = f->n_selectors == 0;

	if (f->rc != LT_OK)
		return;
	l = prom_labels(f->store, o, x);
	for (size_t i = 0; i < f->n_selectors && !hit && f->rc == LT_OK; i++) {
		int rc = lt_promql_selector_match(
			f->store->pool, lt_promql_selector(f->selectors[i], 0), l, &f->err);

		if (rc < 0)
			f->rc = rc;
		hit = rc == 1;
	}
	if (!hit) {
		lt_labels_put(f->store->pool, l);
		return;
	}
	if ((f->n & (f->n - 1)) == 0)
		f->sets = lt_realloc(
			f->sets, (f->n ? 2 * f->n : 1) * sizeof(const struct lt_labels *));
	f->sets[f->n++] = l;
}

static __thread const struct lt_label_pool *sorting;

static int by_labels(const void *a, const void *b)
{
	return lt_labels_cmp(
		sorting, *(const struct lt_labels *const *)a, *(const struct lt_labels *const *)b);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_strings(struct lt_buf *b, const char **list, size_t n)
{
	const char *last = NULL;

	if (n)
		qsort(list, n, sizeof(char *), by_text);
	lt_buf_str(b, "{\"status\":\"success\",\"data\":[");
	for (size_t i = 0; i < n; i++) {
		if (last && !strcmp(last, list[i]))
			continue;
		if (last)
			lt_buf_char(b, ',');
		last = list[i];
		lt_buf_json_str(b, last, strlen(last));
	}
	lt_buf_str(b, "]}");
}

static void put_names(struct lt_buf *b, const struct found *f)
{
	const char **list = NULL;
	uint32_t *seen = NULL;
	size_t n = 0, n_seen = 0;

	/* Few names in many sets: symbols tell at once what is there already. */
	for (size_t i = 0; i < f->n; i++)
		for (unsigned k = 0; k < f->sets[i]->n; k++) {
			uint32_t sym = f->sets[i]->pair[k].name;

			if (sym >= n_seen) {
				size_t more = 2 * (size_t)sym + 64;

				seen = lt_realloc(seen, more * sizeof(*seen));
				memset(seen + n_seen, 0, (more - n_seen) * sizeof(*seen));
				n_seen = more;
			}
			if (seen[sym])
				continue;
			seen[sym] = 1;
			list = lt_realloc(list, (n + 1) * sizeof(char *));
			list[n++] = lt_sym_text(f->store->pool, sym, NULL);
		}
	put_strings(b, list, n);
	free(list);
	free(seen);
}

static void put_values(struct lt_buf *b, const struct found *f, const char *label)
{
	const char **list = lt_calloc(f->n + 1, sizeof(char *));
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++) {
		const char *v = lt_labels_value(f->store->pool, f->sets[i], label);

		if (*v)
			list[n++] = v;
	}
	put_strings(b, list, n);
	free(list);
}

static void put_series(struct lt_buf *b, struct found *f)
{
	sorting = f->store->pool;
	if (f->n)
		qsort(f->sets, f->n, sizeof(*f->sets), by_labels);
	lt_buf_str(b, "{\"status\":\"success\",\"data\":[");
	for (size_t i = 0; i < f->n; i++) {
		if (i && f->sets[i] == f->sets[i - 1])
			continue;
		if (i)
			lt_buf_char(b, ',');
		put_labels(b, f->store->pool, f->sets[i]);
	}
	lt_buf_str(b, "]}");
}

/* {"node_load1":[{"type":"gauge","help":"","unit":""}]} */
static void put_metadata(struct prom_job *j, const struct prom_store *s)
{
	struct lt_buf *b = &j->a.body;
	const char *last = NULL, **names = lt_calloc(s->n_series + 1, sizeof(char *));
	size_t n = 0, shown = 0;
	const char *only = http_param(j->query, "metric", 0);

	for (size_t i = 0; i < s->n_series; i++)
		if (!only || !*only || !strcmp(only, s->series[i].name))
			names[n++] = s->series[i].name;
	if (n)
		qsort(names, n, sizeof(char *), by_text);
	lt_buf_str(b, "{\"status\":\"success\",\"data\":{");
	for (size_t i = 0; i < n && shown < j->limit; i++) {
		unsigned kind = 0;

		if (last && !strcmp(last, names[i]))
			continue;
		last = names[i];
		for (size_t k = 0; k < s->n_series && !kind; k++)
			if (!strcmp(s->series[k].name, last))
				kind = s->series[k].kind;
		if (shown++)
			lt_buf_char(b, ',');
		lt_buf_json_str(b, last, strlen(last));
		lt_buf_printf(
			b, ":[{\"type\":\"%s\",\"help\":\"\",\"unit\":\"\"}]", json_kind(kind));
	}
	lt_buf_str(b, "}}");
	free(names);
	j->a.status = 200;
}

static void run_found(struct prom_job *j, struct worker *w)
{
	struct prom_store store = {0};
	struct found f = {.j = j, .store = &store};
	struct lt_err err = {0};
	int rc = prom_open(&store, w, NULL, &err);

	if (rc == LT_OK && j->what == PROM_METADATA) {
		put_metadata(j, &store);
		prom_fini(&store);
		return;
	}
	f.selectors = lt_calloc(j->n_matches + 1, sizeof(struct lt_promql_expr *));
	for (size_t i = 0; i < j->n_matches && rc == LT_OK; i++) {
		rc = parse(j, store.pool, j->matches[i], "match[]", &f.selectors[i]);
		if (rc != LT_OK)
			break;
		f.n_selectors++;
		if (lt_promql_selector_count(f.selectors[i]) != 1 ||
			lt_promql_expr_type(f.selectors[i]) != LT_PROMQL_VECTOR) {
			put_error(j, 400, "bad_data",
				"invalid parameter \"match[]\": expected a series selector");
			rc = LT_EINVAL;
		}
	}
	if (rc == LT_OK)
		rc = prom_pairs(&store, j->start_ms, j->end_ms, on_pair, &f, &err);
	if (rc == LT_OK && f.rc != LT_OK) {
		rc = f.rc;
		err = f.err;
	}
	if (rc == LT_OK) {
		if (j->what == PROM_SERIES)
			put_series(&j->a.body, &f);
		else if (j->what == PROM_LABELS)
			put_names(&j->a.body, &f);
		else
			put_values(&j->a.body, &f, j->label);
		j->a.status = 200;
	} else if (j->a.status == 0) {
		put_failure(j, &err);
		j->a.err = err;
	}
	for (size_t i = 0; i < f.n; i++)
		lt_labels_put(store.pool, f.sets[i]);
	free(f.sets);
	for (size_t i = 0; i < f.n_selectors; i++)
		lt_promql_free(f.selectors[i]);
	free(f.selectors);
	prom_fini(&store);
}

static void run(struct job *job, struct worker *w)
{
	struct prom_job *j = (struct prom_job *)job;

	if (j->what == PROM_QUERY || j->what == PROM_RANGE)
		run_query(j, w);
	else
		run_found(j, w);
}

static void fini(struct answer_job *a)
{
	struct prom_job *j = (struct prom_job *)a;

	http_params_fini(&j->own);
	free(j->expr);
	for (size_t i = 0; i < j->n_matches; i++)
		free(j->matches[i]);
	free(j->matches);
}

/* ---- questions ---- */

static bool read_time(struct prom_job *j, const char *name, int64_t def, int64_t *out)
{
	const char *s = http_param(j->query, name, 0);

	*out = def;
	if (!s || !*s || http_time_ms(s, out))
		return true;
	if (j->what == PROM_RANGE)
		put_error(j, 400, "bad_data",
			"invalid parameter \"%s\": cannot parse \"%s\" to a valid timestamp", name,
			s);
	else
		put_error(j, 400, "bad_data",
			"invalid parameter \"%s\": Invalid time value for '%s': cannot parse "
			"\"%s\" "
			"to a valid timestamp",
			name, name, s);
	return false;
}

static bool need(struct prom_job *j, const char *name)
{
	const char *s = http_param(j->query, name, 0);

	if (s && *s)
		return true;
	if (!strcmp(name, "query"))
		put_error(j, 400, "bad_data",
			"invalid parameter \"query\": 1:1: parse error: no expression found in "
			"input");
	else if (!strcmp(name, "step"))
		put_error(j, 400, "bad_data",
			"invalid parameter \"step\": cannot parse \"\" to a valid duration");
	else
		put_error(j, 400, "bad_data",
			"invalid parameter \"%s\": cannot parse \"\" to a valid timestamp", name);
	return false;
}

static bool read_range(struct prom_job *j)
{
	const char *step;

	if (!need(j, "start") || !read_time(j, "start", 0, &j->start_ms) || !need(j, "end") ||
		!read_time(j, "end", 0, &j->end_ms))
		return false;
	if (j->end_ms < j->start_ms) {
		put_error(j, 400, "bad_data",
			"invalid parameter \"end\": end timestamp must not be before start time");
		return false;
	}
	if (!need(j, "step"))
		return false;
	step = http_param(j->query, "step", 0);
	if (!http_duration_ms(step, &j->step_ms)) {
		put_error(j, 400, "bad_data",
			"invalid parameter \"step\": cannot parse \"%s\" to a valid duration",
			step);
		return false;
	}
	if (j->step_ms <= 0) {
		put_error(j, 400, "bad_data",
			"invalid parameter \"step\": zero or negative query resolution step widths "
			"are not accepted. Try a positive integer");
		return false;
	}
	if ((j->end_ms - j->start_ms) / j->step_ms > STEPS_MAX) {
		put_error(j, 400, "bad_data",
			"exceeded maximum resolution of 11,000 points per timeseries. Try "
			"decreasing the query resolution (?step=XX)");
		return false;
	}
	return need(j, "query");
}

static bool read_matches(struct prom_job *j, bool needed)
{
	const char *s;

	for (size_t i = 0; (s = http_param(j->query, "match[]", i)); i++) {
		j->matches = lt_realloc(j->matches, (i + 1) * sizeof(char *));
		j->matches[j->n_matches++] = lt_strdup(s);
	}
	if (j->n_matches || !needed)
		return true;
	put_error(j, 400, "bad_data", "no match[] parameter provided");
	return false;
}

/* Return: false: answered with an error in the body. */
static bool read_question(struct prom_job *j)
{
	int64_t now = lt_wall_ns() / LT_NS_PER_MS;
	const char *limit;

	switch (j->what) {
	case PROM_QUERY:
		return read_time(j, "time", now, &j->start_ms) && need(j, "query");
	case PROM_RANGE:
		return read_range(j);
	case PROM_METADATA:
		limit = http_param(j->query, "limit", 0);
		j->limit = limit && *limit ? strtoul(limit, NULL, 10) : SIZE_MAX;
		return true;
	default:
		/* Prometheus looks through all its data; we through the last day. */
		return read_time(j, "start", now - 86400000, &j->start_ms) &&
		       read_time(j, "end", now, &j->end_ms) &&
		       read_matches(j, j->what == PROM_SERIES);
	}
}

/* GET's and POST's parameters alike. */
static bool read_form(struct prom_job *j, struct http_req *req)
{
	const char *type = http_header(&req->head, "content-type");

	if (!http_params_parse(&j->own, req->head.query, strlen(req->head.query)))
		return false;
	if (req->head.method == HTTP_POST && req->body_size &&
		(!type || strncasecmp(type, "application/x-www-form-urlencoded", 33) != 0 ||
			!http_params_parse(&j->own, req->body, req->body_size)))
		return false;
	j->query = &j->own;
	return true;
}

static void start(struct live *l, struct http_req *req, enum what what, const char *label)
{
	struct prom_job *j = lt_calloc(1, sizeof(*j));

	j->what = what;
	j->a.job.run = run;
	j->a.fini = fini;
	j->a.failed = live_pg_result;
	j->a.failed_arg = l;
	if (label)
		snprintf(j->label, sizeof(j->label), "%s", label);
	if (!read_form(j, req))
		put_error(j, 400, "bad_data", "error parsing form values");
	else if (read_question(j) && (what == PROM_QUERY || what == PROM_RANGE))
		j->expr = lt_strdup(http_param(j->query, "query", 0));
	if (j->a.status) {
		http_reply_buf(req, j->a.status, "application/json", &j->a.body);
		fini(&j->a);
		free(j);
		return;
	}
	answer_submit(l->queries, &j->a, req);
}

static void reply_text(struct http_req *req, const char *text)
{
	const struct http_reply r = {.status = 200,
		.type = "application/json",
		.data = text,
		.size = strlen(text),
		.borrowed = true};

	http_reply(req, &r);
}

static void refuse_label(struct http_req *req, const char *label, size_t len)
{
	struct lt_buf b = {0}, why = {0};

	lt_buf_str(&why, "invalid label name: \"");
	lt_buf_add(&why, label, len);
	lt_buf_char(&why, '"');
	lt_buf_str(&b, "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":");
	lt_buf_json_str(&b, why.data, why.len);
	lt_buf_char(&b, '}');
	http_reply_buf(req, 400, "application/json", &b);
	lt_buf_fini(&why);
}

/*
 * Where Prometheus takes no POST, the status tells Grafana to ask again by GET: not every version of
 * it knows beforehand.
 */
static bool only_get(struct http_req *req, bool post_too)
{
	if (post_too || req->head.method != HTTP_POST)
		return true;
	http_reply_error(req, 405, 0, "ask by GET");
	return false;
}

void prom_handle(struct live *l, struct http_req *req, const char *path)
{
	static const char empty[] = "{\"status\":\"success\",\"data\":[]}";
	static const struct {
		const char *path, *text;
	} fixed[] = {
		/* The release whose expression language is spoken: Grafana asks to know its features. */
		{"status/buildinfo", "{\"status\":\"success\",\"data\":{\"version\":\"2.42.0\","
				     "\"revision\":\"latido\","
				     "\"branch\":\"latido\",\"buildUser\":\"\",\"buildDate\":\"\","
				     "\"goVersion\":\"\"}}"},
		{"query_exemplars", empty},
		{"rules", "{\"status\":\"success\",\"data\":{\"groups\":[]}}"},
		{"alerts", "{\"status\":\"success\",\"data\":{\"alerts\":[]}}"},
		{"targets", "{\"status\":\"success\",\"data\":{\"activeTargets\":[],"
			    "\"droppedTargets\":[]}}"},
		{"status/config", "{\"status\":\"success\",\"data\":{\"yaml\":\"\"}}"},
		{"status/flags", "{\"status\":\"success\",\"data\":{}}"},
	};
	static const struct {
		const char *path;
		enum what what;
	} asked[] = {{"query", PROM_QUERY}, {"query_range", PROM_RANGE}, {"series", PROM_SERIES},
		{"labels", PROM_LABELS}, {"metadata", PROM_METADATA}};
	const char *slash;

	for (size_t i = 0; i < LT_ARRAY_LEN(asked); i++)
		if (!strcmp(path, asked[i].path)) {
			if (only_get(req, asked[i].what != PROM_METADATA))
				start(l, req, asked[i].what, NULL);
			return;
		}
	for (size_t i = 0; i < LT_ARRAY_LEN(fixed); i++)
		if (!strcmp(path, fixed[i].path)) {
			if (only_get(req, !strcmp(path, "query_exemplars")))
				reply_text(req, fixed[i].text);
			return;
		}
	slash = !strncmp(path, "label/", 6) ? strchr(path + 6, '/') : NULL;
	if (slash && !strcmp(slash, "/values")) {
		if (!only_get(req, false))
			return;
		char label[LT_LABEL_NAME_MAX + 1];

		if (slash - path - 6 < (ptrdiff_t)sizeof(label) &&
			lt_label_name_valid(path + 6, (size_t)(slash - path - 6))) {
			snprintf(label, sizeof(label), "%.*s", (int)(slash - path - 6), path + 6);
			start(l, req, PROM_VALUES, label);
			return;
		}
		refuse_label(req, path + 6, (size_t)(slash - path - 6));
		return;
	}
	http_reply_error(req, 404, 0, "there is nothing here");
}
