/* SPDX-License-Identifier: MIT */
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "test_int.h"

/* promtool's format of rule tests; unknown keys and wrong types are errors, as there. */

#define DEFAULT_INTERVAL_MS 60000

struct reader {
	struct report *rep;
	struct lt_arena *arena;
};

static bool is_map(struct reader *r, const struct node *n, const char *what)
{
	if (n->kind == NODE_MAP)
		return true;
	report_error(r->rep, &n->pos, "%s must be a map", what);
	return false;
}

/* The items of a list; NULL and none when it is not there or not one. */
static const struct node *items(
	struct reader *r, const struct node *map, const char *key, size_t *n)
{
	const struct node *list = load_get(map, key);

	*n = 0;
	if (node_is_null(list))
		return NULL;
	if (list->kind != NODE_SEQ) {
		report_error(r->rep, &list->pos, "%s must be a list", key);
		return NULL;
	}
	*n = list->n;
	return list->child;
}

static const char *text(struct reader *r, const struct node *map, const char *key)
{
	return load_string(r->rep, load_get(map, key), key);
}

static const char **texts(struct reader *r, const struct node *map, const char *key, size_t *n)
{
	const struct node *c = items(r, map, key, n);
	const char **out = lt_arena_alloc(r->arena, (*n + 1) * sizeof(char *));
	size_t i = 0;

	for (; c; c = c->next) {
		const char *s = load_string(r->rep, c, key);

		out[i++] = s ? s : "";
	}
	return out;
}

static bool parse_float(const char *s, double *v)
{
	static const char *const words[] = {".inf", "+.inf", "-.inf", ".nan"};
	char *end;

	for (size_t i = 0; i < LT_ARRAY_LEN(words); i++) {
		if (!strcasecmp(s, words[i])) {
			*v = i == 3 ? NAN : i == 2 ? -INFINITY : INFINITY;
			return true;
		}
	}
	if (!*s || !strpbrk(s, "0123456789") || strpbrk(s, " pPnN"))
		return false;
	*v = strtod(s, &end);
	return !*end;
}

static double number(struct reader *r, const struct node *n)
{
	double v = 0;

	if (node_is_null(n))
		return 0;
	if (n->kind != NODE_SCALAR || n->style != STYLE_PLAIN || !parse_float(n->text, &v))
		report_error(r->rep, &n->pos, "value must be a number");
	return v;
}

static int by_name(const void *pa, const void *pb)
{
	const struct lt_rule_pair *a = pa, *b = pb;

	return strcmp(a->name, b->name);
}

/* @first: NULL, or a value for the label alertname, which replaces one that is there. */
static const struct lt_rule_pair *pairs(struct reader *r, const struct node *map, const char *what,
	const char *alertname, size_t *n)
{
	size_t cap = (map && map->kind == NODE_MAP ? map->n : 0) + 1;
	struct lt_rule_pair *p = lt_arena_alloc(r->arena, cap * sizeof(*p));

	*n = 0;
	if (alertname)
		p[(*n)++] = (struct lt_rule_pair){"alertname", alertname};
	if (!node_is_null(map) && is_map(r, map, what)) {
		for (const struct node *c = map->child; c; c = c->next) {
			const char *value = load_string(r->rep, c, what);

			if (alertname && !strcmp(c->key->text, "alertname"))
				continue;
			p[(*n)++] = (struct lt_rule_pair){c->key->text, value ? value : ""};
		}
	}
	qsort(p, *n, sizeof(*p), by_name);
	return p;
}

static void read_series(struct reader *r, const struct node *test, struct test_group *g)
{
	static const char *const known[] = {"series", "values", NULL};
	const struct node *c = items(r, test, "input_series", &g->n_series);
	size_t i = 0;

	g->series = lt_arena_alloc(r->arena, (g->n_series + 1) * sizeof(*g->series));
	for (; c; c = c->next) {
		struct test_series *s = &g->series[i++];
		const char *series, *values;

		*s = (struct test_series){.pos = c->pos, .series = "", .values = ""};
		if (!is_map(r, c, "an input series"))
			continue;
		load_unknown(r->rep, c, known);
		series = text(r, c, "series");
		values = text(r, c, "values");
		s->series = series ? series : "";
		s->values = values ? values : "";
		s->series_len = strlen(s->series);
		s->values_len = strlen(s->values);
		s->series_node = load_get(c, "series");
		s->values_node = load_get(c, "values");
	}
}

static void read_expected(struct reader *r, const struct node *c, struct test_alerts *a)
{
	static const char *const known[] = {"exp_labels", "exp_annotations", NULL};
	size_t i = 0;

	c = items(r, c, "exp_alerts", &a->n);
	a->alerts = lt_arena_alloc(r->arena, (a->n + 1) * sizeof(*a->alerts));
	for (; c; c = c->next) {
		struct test_alert *e = &a->alerts[i++];

		*e = (struct test_alert){0};
		if (!is_map(r, c, "an expected alert"))
			continue;
		load_unknown(r->rep, c, known);
		e->labels =
			pairs(r, load_get(c, "exp_labels"), "exp_labels", a->name, &e->n_labels);
		e->annotations = pairs(r, load_get(c, "exp_annotations"), "exp_annotations", NULL,
			&e->n_annotations);
	}
}

static void read_alerts(struct reader *r, const struct node *test, struct test_group *g)
{
	static const char *const known[] = {"eval_time", "alertname", "exp_alerts", NULL};
	const struct node *c = items(r, test, "alert_rule_test", &g->n_alerts);
	size_t i = 0;

	g->alerts = lt_arena_alloc(r->arena, (g->n_alerts + 1) * sizeof(*g->alerts));
	for (; c; c = c->next) {
		struct test_alerts *a = &g->alerts[i++];
		const char *name;

		*a = (struct test_alerts){.pos = c->pos, .name = ""};
		if (!is_map(r, c, "an alert test"))
			continue;
		load_unknown(r->rep, c, known);
		load_duration(r->rep, load_get(c, "eval_time"), "eval_time", &a->t_ms);
		name = text(r, c, "alertname");
		if (!name || !*name)
			report_error(
				r->rep, &c->pos, "an item of alert_rule_test needs its alertname");
		else
			a->name = name;
		read_expected(r, c, a);
	}
}

static void read_samples(struct reader *r, const struct node *c, struct test_expr *e)
{
	static const char *const known[] = {"labels", "value", NULL};
	size_t i = 0;

	c = items(r, c, "exp_samples", &e->n);
	e->samples = lt_arena_alloc(r->arena, (e->n + 1) * sizeof(*e->samples));
	for (; c; c = c->next) {
		struct test_sample *s = &e->samples[i++];
		const char *labels;

		*s = (struct test_sample){.labels = ""};
		if (!is_map(r, c, "an expected sample"))
			continue;
		load_unknown(r->rep, c, known);
		labels = text(r, c, "labels");
		s->labels = labels ? labels : "";
		s->len = strlen(s->labels);
		s->v = number(r, load_get(c, "value"));
	}
}

static void read_exprs(struct reader *r, const struct node *test, struct test_group *g)
{
	static const char *const known[] = {"expr", "eval_time", "exp_samples", NULL};
	const struct node *c = items(r, test, "promql_expr_test", &g->n_exprs);
	size_t i = 0;

	g->exprs = lt_arena_alloc(r->arena, (g->n_exprs + 1) * sizeof(*g->exprs));
	for (; c; c = c->next) {
		struct test_expr *e = &g->exprs[i++];
		const char *expr;

		*e = (struct test_expr){.pos = c->pos, .expr = ""};
		if (!is_map(r, c, "an expression test"))
			continue;
		load_unknown(r->rep, c, known);
		load_duration(r->rep, load_get(c, "eval_time"), "eval_time", &e->t_ms);
		expr = text(r, c, "expr");
		e->expr = expr ? expr : "";
		e->len = strlen(e->expr);
		read_samples(r, c, e);
	}
}

static void read_test(struct reader *r, const struct node *n, struct test_group *g)
{
	static const char *const known[] = {"interval", "input_series", "alert_rule_test",
		"promql_expr_test", "external_labels", "external_url", "name", NULL};

	*g = (struct test_group){.external_url = ""};
	if (!is_map(r, n, "a test"))
		return;
	load_unknown(r->rep, n, known);
	g->name = text(r, n, "name");
	load_duration(r->rep, load_get(n, "interval"), "interval", &g->interval_ms);
	g->external_url = text(r, n, "external_url");
	if (!g->external_url)
		g->external_url = "";
	g->external_labels = pairs(
		r, load_get(n, "external_labels"), "external_labels", NULL, &g->n_external_labels);
	read_series(r, n, g);
	read_alerts(r, n, g);
	read_exprs(r, n, g);
}

/* Relative names are meant from the folder of the test file. */
static void resolve(struct reader *r, const char *path, struct test_file *f)
{
	const char *slash = strrchr(path, '/');
	size_t dir = slash ? (size_t)(slash - path) + 1 : 0;

	for (size_t i = 0; i < f->n_rule_files; i++) {
		const char *name = f->rule_files[i];
		size_t len = strlen(name);
		char *whole;

		if (!len || *name == '/' || !dir)
			continue;
		whole = lt_arena_alloc(r->arena, dir + len + 1);
		memcpy(whole, path, dir);
		memcpy(whole + dir, name, len + 1);
		f->rule_files[i] = whole;
	}
}

/* What is not there is said, and nothing else, as by promtool: whatever is tested without it fails. */
static void drop_missing(struct reader *r, const struct node *root, struct test_file *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n_rule_files; i++) {
		glob_t g = {0};
		int code = glob(f->rule_files[i], 0, NULL, &g);

		if (code == GLOB_NOMATCH)
			report_warn(r->rep, &load_get(root, "rule_files")->pos,
				"no file matches %s", f->rule_files[i]);
		else
			f->rule_files[n++] = f->rule_files[i];
		if (!code)
			globfree(&g);
	}
	f->n_rule_files = n;
}

static void check_order(struct reader *r, const struct node *root, const struct test_file *f)
{
	for (size_t i = 0; i < f->n_order; i++) {
		for (size_t j = 0; j < i; j++) {
			if (!strcmp(f->order[i], f->order[j]))
				report_error(r->rep, &load_get(root, "group_eval_order")->pos,
					"group name repeated in evaluation order: %.80s",
					f->order[i]);
		}
	}
}

bool test_file_read(struct report *rep, const char *path, struct test_file *out)
{
	static const char *const known[] = {
		"rule_files", "evaluation_interval", "group_eval_order", "tests", NULL};
	struct reader r = {rep, &rep->arena};
	struct doc_file *f = doc_file_read(rep, path);
	size_t errors = rep->n_errors, i = 0;
	struct node *root;
	const struct node *c;

	*out = (struct test_file){.interval_ms = DEFAULT_INTERVAL_MS};
	if (!f || !doc_parse(rep, f, &root))
		return false;
	if (node_is_null(root))
		return true;
	if (!is_map(&r, root, "a test file"))
		return false;
	load_unknown(rep, root, known);
	out->rule_files = texts(&r, root, "rule_files", &out->n_rule_files);
	resolve(&r, path, out);
	drop_missing(&r, root, out);
	load_duration(rep, load_get(root, "evaluation_interval"), "evaluation_interval",
		&out->interval_ms);
	if (!out->interval_ms)
		out->interval_ms = DEFAULT_INTERVAL_MS;
	out->order = texts(&r, root, "group_eval_order", &out->n_order);
	check_order(&r, root, out);
	c = items(&r, root, "tests", &out->n_groups);
	out->groups = lt_arena_alloc(r.arena, (out->n_groups + 1) * sizeof(*out->groups));
	for (; c; c = c->next)
		read_test(&r, c, &out->groups[i++]);
	return rep->n_errors == errors;
}
