/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rules_int.h"

#define DEFAULT_INTERVAL_MS  1000
#define DEFAULT_RESEND_MS    60000
#define DEFAULT_RETENTION_MS 900000
#define DEFAULT_MAX_ALERTS   100000
#define MAX_FILES            10000

/* ---- values of keys ---- */

const struct node *load_get(const struct node *map, const char *key)
{
	for (const struct node *c = map->child; c; c = c->next) {
		if (!strcmp(c->key->text, key))
			return c;
	}
	return NULL;
}

void load_unknown(struct report *rep, const struct node *map, const char *const *known)
{
	struct lt_buf names = {0};

	for (size_t i = 0; known[i]; i++)
		lt_buf_printf(&names, "%s%s", i ? ", " : "", known[i]);
	for (const struct node *c = map->child; c; c = c->next) {
		size_t i = 0;

		while (known[i] && strcmp(known[i], c->key->text))
			i++;
		if (!known[i])
			report_error(rep, &c->key->pos, "unknown key \"%.60s\" (known here: %s)",
				c->key->text, names.data);
	}
	lt_buf_fini(&names);
}

const char *load_string(struct report *rep, const struct node *n, const char *what)
{
	if (node_is_null(n))
		return NULL;
	if (n->kind != NODE_SCALAR) {
		report_error(rep, &n->pos, "%s must be a text, not a %s", what,
			n->kind == NODE_MAP ? "map" : "list");
		return NULL;
	}
	return n->text;
}

bool load_duration(struct report *rep, const struct node *n, const char *what, int64_t *ms)
{
	const char *text;

	*ms = 0;
	if (node_is_null(n))
		return true;
	text = load_string(rep, n, what);
	if (!text)
		return false;
	if (lt_promql_parse_duration(text, n->len, ms))
		return true;
	report_error(rep, &n->pos, "%s: not a valid duration: \"%.60s\" (like 30s, 5m, 1h30m)",
		what, text);
	return false;
}

bool load_int(struct report *rep, const struct node *n, const char *what, int64_t *v)
{
	char *end;

	*v = 0;
	if (node_is_null(n))
		return true;
	if (n->kind == NODE_SCALAR && n->style == STYLE_PLAIN) {
		errno = 0;
		*v = strtoll(n->text, &end, 10);
		if (!*end && end != n->text && !errno)
			return true;
	}
	report_error(rep, &n->pos, "%s must be an integer", what);
	return false;
}

static int by_name(const void *pa, const void *pb)
{
	const struct lt_rule_pair *a = pa, *b = pb;

	return strcmp(a->name, b->name);
}

const struct lt_rule_pair *load_pairs(
	struct lt_rules *r, struct report *rep, const struct node *map, const char *what, size_t *n)
{
	struct lt_rule_pair *p;

	*n = 0;
	if (node_is_null(map))
		return NULL;
	if (map->kind != NODE_MAP) {
		report_error(rep, &map->pos, "%s must be a map of names to texts", what);
		return NULL;
	}
	p = lt_arena_alloc(&r->arena, (map->n + 1) * sizeof(*p));
	for (const struct node *c = map->child; c; c = c->next) {
		const char *text = "";

		if (!node_is_null(c))
			text = load_string(rep, c, what);
		p[*n].name = lt_arena_str(&r->arena, c->key->text, c->key->len);
		p[(*n)++].value = lt_arena_str(&r->arena, text ? text : "", text ? c->len : 0);
		if (node_is_null(c))
			p[*n - 1].value = "";
	}
	qsort(p, *n, sizeof(*p), by_name);
	return p;
}

/* ---- groups ---- */

static struct group *new_group(struct lt_rules *r, const struct node *n, const char *name)
{
	struct group *g = lt_arena_alloc(&r->arena, sizeof(*g));
	const char *file = n->pos.file->name;

	*g = (struct group){0};
	g->pub.file = lt_arena_str(&r->arena, file, strlen(file));
	g->pub.name = lt_arena_str(&r->arena, name, strlen(name));
	g->pub.interval_ms = r->opts.interval_ms;
	return g;
}

static void add_group(struct lt_rules *r, struct group *g)
{
	if (r->n_groups == r->cap_groups) {
		r->cap_groups = r->cap_groups ? 2 * r->cap_groups : 16;
		r->groups = lt_realloc(r->groups, r->cap_groups * sizeof(struct group *));
	}
	r->groups[r->n_groups++] = g;
}

static int cmp_rules(const struct rule *a, const struct rule *b)
{
	int c = strcmp(a->pub.name, b->pub.name);

	for (size_t i = 0; !c && i < a->pub.n_labels && i < b->pub.n_labels; i++) {
		c = strcmp(a->pub.labels[i].name, b->pub.labels[i].name);
		if (!c)
			c = strcmp(a->pub.labels[i].value, b->pub.labels[i].value);
	}
	return c ? c : (a->pub.n_labels > b->pub.n_labels) - (a->pub.n_labels < b->pub.n_labels);
}

static int by_identity(const void *pa, const void *pb)
{
	const struct rule *a = *(const struct rule *const *)pa,
			  *b = *(const struct rule *const *)pb;
	int c = cmp_rules(a, b);

	if (c)
		return c;
	return a->pub.line != b->pub.line
		       ? (a->pub.line > b->pub.line) - (a->pub.line < b->pub.line)
		       : (a->col > b->col) - (a->col < b->col);
}

/* The same name and labels twice in a file: promtool's lint, which names it and goes on. */
static void warn_duplicates(
	struct lt_rules *r, struct report *rep, const struct doc_file *f, size_t first_group)
{
	const struct rule **all;
	size_t n = 0;

	for (size_t i = first_group; i < r->n_groups; i++)
		n += r->groups[i]->pub.n_rules;
	all = lt_malloc((n + 1) * sizeof(*all));
	n = 0;
	for (size_t i = first_group; i < r->n_groups; i++) {
		for (size_t j = 0; j < r->groups[i]->pub.n_rules; j++)
			all[n++] = (const struct rule *)r->groups[i]->pub.rules[j];
	}
	qsort(all, n, sizeof(*all), by_identity);
	for (size_t i = 1; i < n; i++) {
		struct doc_pos pos = {f, all[i]->pub.line, all[i]->col};

		if (!cmp_rules(all[i - 1], all[i]))
			report_warn(rep, &pos,
				"duplicate rule: \"%.80s\" has the same labels in line %u",
				all[i]->pub.name, all[i - 1]->pub.line);
	}
	free(all);
}

static void load_group(
	struct lt_rules *r, struct report *rep, const struct node *n, size_t first_group)
{
	static const char *const known[] = {"name", "interval", "limit", "rules", NULL};
	const struct node *rules, *name_node;
	const char *name;
	struct lt_rule **list;
	struct group *g;
	int64_t ms, limit;
	size_t index = 0;

	if (n->kind != NODE_MAP) {
		report_error(rep, &n->pos, "a group must be a map");
		return;
	}
	load_unknown(rep, n, known);
	name_node = load_get(n, "name");
	name = load_string(rep, name_node, "name");
	if (!name || !*name) {
		report_error(rep, name_node ? &name_node->pos : &n->pos,
			"the name of a group must not be empty");
		name = "";
	}
	for (size_t i = first_group; *name && i < r->n_groups; i++) {
		if (!strcmp(r->groups[i]->pub.name, name))
			report_error(rep, &name_node->pos,
				"group name \"%.80s\" is repeated in the same file", name);
	}
	g = new_group(r, n, name);
	if (load_duration(rep, load_get(n, "interval"), "interval", &ms) && ms)
		g->pub.interval_ms = ms;
	if (load_int(rep, load_get(n, "limit"), "limit", &limit) && limit > 0)
		g->pub.limit = limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit;
	add_group(r, g);
	rules = load_get(n, "rules");
	if (node_is_null(rules))
		return;
	if (rules->kind != NODE_SEQ) {
		report_error(rep, &rules->pos, "rules must be a list");
		return;
	}
	list = lt_arena_alloc(&r->arena, (rules->n + 1) * sizeof(struct lt_rule *));
	g->pub.rules = list;
	for (const struct node *c = rules->child; c; c = c->next) {
		struct rule *rule = load_rule(r, rep, c, g, index++);

		if (rule)
			list[g->pub.n_rules++] = &rule->pub;
	}
}

void load_groups(struct lt_rules *r, struct report *rep, const struct node *root)
{
	static const char *const known[] = {"groups", NULL};
	const struct node *groups;
	size_t first = r->n_groups;

	if (node_is_null(root))
		return;
	if (root->kind != NODE_MAP) {
		report_error(rep, &root->pos, "a rule file must be a map with the key groups");
		return;
	}
	load_unknown(rep, root, known);
	groups = load_get(root, "groups");
	if (node_is_null(groups))
		return;
	if (groups->kind != NODE_SEQ) {
		report_error(rep, &groups->pos, "groups must be a list");
		return;
	}
	for (const struct node *c = groups->child; c; c = c->next)
		load_group(r, rep, c, first);
	warn_duplicates(r, rep, root->pos.file, first);
}

/* ---- files ---- */

void rules_read_file(struct lt_rules *r, struct report *rep, struct doc_file *f)
{
	struct node *root;

	r->n_files++;
	if (doc_parse(rep, f, &root))
		load_groups(r, rep, root);
}

struct names {
	char **items;
	size_t n, cap;
};

static void add_name(struct names *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (!strcmp(l->items[i], name))
			return;
	}
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 16;
		l->items = lt_realloc(l->items, l->cap * sizeof(char *));
	}
	l->items[l->n++] = lt_strdup(name);
}

/* Return: false when no file matches. */
static bool match_glob(struct report *rep, struct names *l, const char *pattern)
{
	glob_t g = {0};
	int code;

	if (!strpbrk(pattern, "*?[")) {
		add_name(l, pattern);
		return true;
	}
	code = glob(pattern, 0, NULL, &g);
	if (code == GLOB_NOMATCH)
		return false;
	if (code)
		report_error(rep, NULL, "%s: %s", pattern,
			code == GLOB_ABORTED ? "a folder cannot be read" : "no memory");
	for (size_t i = 0; !code && i < g.gl_pathc && l->n < MAX_FILES; i++)
		add_name(l, g.gl_pathv[i]);
	if (!code)
		globfree(&g);
	return true;
}

static int cmp_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void rules_read(struct lt_rules *r, struct report *rep, const char *const *globs, size_t n_globs)
{
	struct names l = {0};
	bool *matched = lt_calloc(n_globs + 1, sizeof(*matched));

	for (size_t i = 0; i < n_globs; i++)
		matched[i] = match_glob(rep, &l, globs[i]);
	for (size_t i = 0; i < n_globs; i++) {
		if (!matched[i] && !(r->opts.folders && l.n))
			report_warn(rep, NULL, "no file matches %s", globs[i]);
	}
	free(matched);
	if (l.n)
		qsort(l.items, l.n, sizeof(char *), cmp_name);
	for (size_t i = 0; i < l.n; i++) {
		struct doc_file *f = doc_file_read(rep, l.items[i]);

		if (f)
			rules_read_file(r, rep, f);
		free(l.items[i]);
	}
	free(l.items);
}

/* ---- the set ---- */

struct lt_rules *rules_new(struct lt_label_pool *pool, const struct lt_rules_opts *opts)
{
	struct lt_rules *r = lt_calloc(1, sizeof(*r));
	const struct lt_rules_opts none = {0};
	struct tmap *m;

	r->pool = pool;
	r->opts = opts ? *opts : none;
	if (!r->opts.interval_ms)
		r->opts.interval_ms = DEFAULT_INTERVAL_MS;
	if (!r->opts.resend_delay_ms)
		r->opts.resend_delay_ms = DEFAULT_RESEND_MS;
	if (!r->opts.resolved_retention_ms)
		r->opts.resolved_retention_ms = DEFAULT_RETENTION_MS;
	if (!r->opts.max_alerts)
		r->opts.max_alerts = DEFAULT_MAX_ALERTS;
	if (r->opts.promql)
		r->limits = *r->opts.promql;
	lt_promql_limits_defaults(&r->limits);
	r->opts.promql = &r->limits;
	r->opts.external_url = r->opts.external_url ? r->opts.external_url : "";
	r->opts.external_url =
		lt_arena_str(&r->arena, r->opts.external_url, strlen(r->opts.external_url));
	m = lt_arena_alloc(&r->arena, sizeof(*m) + r->opts.n_external_labels * sizeof(m->e[0]));
	m->n = 0;
	for (size_t i = 0; i < r->opts.n_external_labels; i++) {
		const struct lt_label_text *l = &r->opts.external_labels[i];
		const char *name = lt_arena_str(&r->arena, l->name, l->name_len);
		size_t at = m->n++;

		for (; at && strcmp(m->e[at - 1].name, name) > 0; at--)
			m->e[at] = m->e[at - 1];
		m->e[at].name = name;
		m->e[at].v =
			tmpl_text(lt_arena_str(&r->arena, l->value, l->value_len), l->value_len);
	}
	r->external_labels = m;
	r->opts.external_labels = NULL;
	return r;
}

void rules_add_expr(struct lt_rules *r, struct lt_promql_expr *e)
{
	if (r->n_exprs == r->cap_exprs) {
		r->cap_exprs = r->cap_exprs ? 2 * r->cap_exprs : 32;
		r->exprs = lt_realloc(r->exprs, r->cap_exprs * sizeof(struct lt_promql_expr *));
	}
	r->exprs[r->n_exprs++] = e;
}

static int finish(struct lt_rules *r, struct report *rep, struct lt_rules **out, struct lt_err *err)
{
	size_t n = rep->n_errors;

	report_flush(rep);
	report_fini(rep);
	if (n) {
		lt_rules_free(r);
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "rules.load",
			"%zu error%s in rule files", n, n == 1 ? "" : "s");
	}
	*out = r;
	return LT_OK;
}

int lt_rules_load(struct lt_label_pool *pool, const struct lt_rules_opts *opts,
	const char *const *globs, size_t n_globs, struct lt_rules **out, struct lt_buf *report,
	struct lt_err *err)
{
	struct lt_rules *r = rules_new(pool, opts);
	struct report rep;

	report_init(&rep, report);
	rules_read(r, &rep, globs, n_globs);
	return finish(r, &rep, out, err);
}

int lt_rules_load_text(struct lt_label_pool *pool, const struct lt_rules_opts *opts,
	const char *name, const char *text, size_t len, struct lt_rules **out,
	struct lt_buf *report, struct lt_err *err)
{
	struct lt_rules *r = rules_new(pool, opts);
	struct report rep;
	struct doc_file *f;

	report_init(&rep, report);
	f = doc_file_text(&rep, name, text, len);
	if (memchr(text, '\0', len) || !lt_utf8_valid(text, len))
		report_error(&rep, &(struct doc_pos){.file = f}, "not UTF-8 text");
	else
		rules_read_file(r, &rep, f);
	return finish(r, &rep, out, err);
}

void lt_rules_free(struct lt_rules *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_groups; i++) {
		struct group *g = r->groups[i];

		for (size_t j = 0; j < g->pub.n_rules; j++) {
			struct rule *rule = (struct rule *)g->pub.rules[j];

			alert_set_fini(r->pool, &rule->alerts);
			series_list_fini(r->pool, &rule->before);
			for (size_t k = 0; k < rule->n_made; k++) {
				lt_labels_put(r->pool, rule->made[k].from);
				lt_labels_put(r->pool, rule->made[k].to);
			}
			free(rule->made);
			free(rule->error);
		}
		series_list_fini(r->pool, &g->stale);
	}
	series_list_fini(r->pool, &r->orphans);
	for (size_t i = 0; i < r->n_exprs; i++)
		lt_promql_free(r->exprs[i]);
	lt_promql_result_fini(&r->result);
	lt_promql_result_fini(&r->query_result);
	free(r->exprs);
	free(r->groups);
	free(r->seen);
	lt_buf_fini(&r->text);
	lt_arena_fini(&r->scratch);
	lt_arena_fini(&r->arena);
	free(r);
}

size_t lt_rules_group_count(const struct lt_rules *r)
{
	return r->n_groups;
}

struct lt_rules_group *lt_rules_group(const struct lt_rules *r, size_t i)
{
	return i < r->n_groups ? &r->groups[i]->pub : NULL;
}

size_t lt_rules_file_count(const struct lt_rules *r)
{
	return r->n_files;
}

const struct lt_promql_expr *lt_rules_expr(const struct lt_rules *r, size_t i)
{
	return i < r->n_exprs ? r->exprs[i] : NULL;
}
