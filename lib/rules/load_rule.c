/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rules_int.h"

/* Where in which rule the loader is: in front of each message. */
struct where {
	struct lt_rules *r;
	struct report *rep;
	const struct group *g;
	size_t index;
	const char *name;
};

static void complain(const struct where *w, const struct doc_pos *pos, const char *fmt, ...)
	LT_PRINTF(3, 4);

static void complain(const struct where *w, const struct doc_pos *pos, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	report_error(w->rep, pos, "group \"%.80s\", rule %zu, \"%.80s\": %s", w->g->pub.name,
		w->index + 1, w->name, text);
}

static bool is_label_name(const char *s)
{
	if (!isalpha((unsigned char)*s) && *s != '_')
		return false;
	for (; *s; s++) {
		if ((!isalnum((unsigned char)*s) && *s != '_') || (unsigned char)*s >= 0x80)
			return false;
	}
	return true;
}

static bool is_metric_name(const char *s)
{
	if (!isalpha((unsigned char)*s) && *s != '_' && *s != ':')
		return false;
	for (; *s; s++) {
		if ((!isalnum((unsigned char)*s) && *s != '_' && *s != ':') ||
			(unsigned char)*s >= 0x80)
			return false;
	}
	return true;
}

static bool accepted(
	const struct where *w, const struct lt_promql_selector *sel, struct lt_err *err)
{
	const struct lt_rules_opts *o = &w->r->opts;

	return !o->accept || o->accept(o->ctx, sel, err) == LT_OK;
}

/* ---- queries in templates ---- */

struct query_load {
	const struct where *w;
	const struct node *at; /* the template's scalar */
	const char *what;
};

static void put_matcher(
	struct lt_buf *b, const struct lt_label_pool *pool, const struct lt_matcher *m)
{
	static const char *const ops[] = {"=", "!=", "=~", "!~"};

	lt_buf_printf(
		b, "%s%s%s", b->len > 1 ? "," : "", lt_sym_text(pool, m->name, NULL), ops[m->op]);
	gofmt_quote(b, m->text, m->text_len);
}

/* One selector of a query whose matchers are not all known, as an expression of its own. */
static bool add_selector(
	const struct where *w, const struct lt_promql_selector *sel, struct lt_err *err)
{
	struct lt_buf b = {0};
	struct lt_promql_expr *e;
	int64_t window = sel->relative ? sel->back_ms : 0;
	bool any = false;
	int code;

	if (sel->absolute)
		return false;
	lt_buf_char(&b, '{');
	for (uint32_t i = 0; i < sel->n_matchers; i++) {
		const struct lt_matcher *m = &sel->matchers[i];

		if (strstr(m->text, TMPL_HOLE))
			continue;
		put_matcher(&b, w->r->pool, m);
		any = true;
	}
	lt_buf_str(&b, "}");
	if (window <= 0)
		window = 1;
	lt_buf_printf(&b, "[%lldms]", (long long)window);
	code = any ? lt_promql_parse(w->r->pool, b.data, b.len, &w->r->limits, &e, NULL, err)
		   : LT_EINVAL;
	lt_buf_fini(&b);
	if (code)
		return false;
	rules_add_expr(w->r, e);
	return true;
}

static bool has_hole(const struct lt_promql_selector *sel)
{
	for (uint32_t i = 0; i < sel->n_matchers; i++) {
		if (strstr(sel->matchers[i].text, TMPL_HOLE))
			return true;
	}
	return false;
}

static void on_query(void *ctx, const char *text, const struct tnode *at)
{
	const struct query_load *q = ctx;
	struct doc_pos pos = doc_pos_in(q->at, at->start);
	struct lt_promql_expr *e = NULL;
	struct lt_err err = {0};
	bool known = true, refused = false;

	if (q->w->r->opts.any_query)
		return;
	if (!text) {
		complain(q->w, &pos,
			"%s: query() is supported with a constant text, or one made by printf "
			"with a constant format",
			q->what);
		return;
	}
	if (lt_promql_parse(q->w->r->pool, text, strlen(text), &q->w->r->limits, &e, NULL, &err)) {
		complain(q->w, &pos, "%s: query(): %s", q->what, err.msg);
		return;
	}
	for (size_t i = 0; i < lt_promql_selector_count(e); i++) {
		const struct lt_promql_selector *sel = lt_promql_selector(e, i);

		if (!accepted(q->w, sel, &err)) {
			complain(q->w, &pos, "%s: query(): %s", q->what, err.msg);
			refused = true;
		}
		if (refused || !has_hole(sel))
			continue;
		known = false;
		if (!add_selector(q->w, sel, &err))
			complain(q->w, &pos,
				"%s: query(): it must be known when loading which metric is "
				"queried",
				q->what);
	}
	if (known || refused) {
		rules_add_expr(q->w->r, e);
		return;
	}
	/* the others of its selectors are kept by themselves as well */
	for (size_t i = 0; i < lt_promql_selector_count(e); i++) {
		if (!has_hole(lt_promql_selector(e, i)))
			add_selector(q->w, lt_promql_selector(e, i), &err);
	}
	lt_promql_free(e);
}

/* ---- templates ---- */

static bool queries(const struct tmpl *t)
{
	return strstr(t->text, "query") != NULL;
}

static struct tmpl **load_templates(const struct where *w, const struct node *map,
	const struct lt_rule_pair *pairs, size_t n, const char *what)
{
	struct tmpl **out = lt_arena_alloc(&w->r->arena, (n + 1) * sizeof(struct tmpl *));
	struct lt_buf name = {0};
	const char *kept;
	char label[120];

	lt_buf_printf(&name, "__alert_%s", w->name);
	kept = lt_arena_str(&w->r->arena, name.data, name.len);
	lt_buf_fini(&name);
	for (size_t i = 0; i < n; i++) {
		const struct node *at = load_get(map, pairs[i].name);
		struct lt_err err = {0};
		struct doc_pos pos;
		size_t where;

		snprintf(label, sizeof(label), "%s \"%.80s\"", what, pairs[i].name);
		out[i] = NULL;
		if (tmpl_parse(&w->r->arena, kept, pairs[i].value, strlen(pairs[i].value), &out[i],
			    &where, &err)) {
			pos = doc_pos_in(at, where);
			complain(w, &pos, "%s: %s", label, err.msg);
			continue;
		}
		tmpl_queries(out[i], &w->r->arena, on_query,
			&(struct query_load){.w = w, .at = at, .what = label});
	}
	return out;
}

/* ---- one rule ---- */

static void check_pairs(const struct where *w, const struct node *map, const struct lt_rule_pair *p,
	size_t n, const char *what)
{
	for (size_t i = 0; i < n; i++) {
		const struct node *at = load_get(map, p[i].name);

		if (!is_label_name(p[i].name) || (*what == 'l' && !strcmp(p[i].name, "__name__")))
			complain(w, &at->key->pos, "invalid %s name: %.80s", what, p[i].name);
	}
}

static void load_expr(const struct where *w, struct rule *rule, const struct node *n,
	const struct doc_pos *rule_pos)
{
	struct lt_promql_pos at = {0};
	struct lt_err err = {0};
	struct doc_pos pos;
	const char *text = load_string(w->rep, n, "expr");

	rule->pub.expr_text = "";
	if (n && n->kind != NODE_SCALAR)
		return;
	if (!text || !*text) {
		complain(w, n ? &n->pos : rule_pos, "field 'expr' must be set in rule");
		return;
	}
	rule->pub.expr_text = lt_arena_str(&w->r->arena, text, n->len);
	if (lt_promql_parse(w->r->pool, text, n->len, &w->r->limits, &rule->pub.expr, &at, &err)) {
		rule->pub.expr = NULL;
		pos = doc_pos_in(n, at.offset);
		complain(w, &pos, "could not parse expression: %s", err.msg);
		return;
	}
	rules_add_expr(w->r, rule->pub.expr);
	for (size_t i = 0; i < lt_promql_selector_count(rule->pub.expr); i++) {
		const struct lt_promql_selector *sel = lt_promql_selector(rule->pub.expr, i);

		if (accepted(w, sel, &err))
			continue;
		pos = doc_pos_in(n, sel->pos.offset);
		complain(w, &pos, "%s", err.msg);
	}
	/* Prometheus only finds this when it evaluates, again and again. */
	if (lt_promql_expr_type(rule->pub.expr) != LT_PROMQL_VECTOR &&
		lt_promql_expr_type(rule->pub.expr) != LT_PROMQL_SCALAR) {
		report_warn(w->rep, &n->pos,
			"group \"%.80s\", rule %zu, \"%.80s\": the expression gives a %s; every "
			"evaluation will fail: rule result is not a vector or scalar",
			w->g->pub.name, w->index + 1, w->name,
			lt_promql_type_name(lt_promql_expr_type(rule->pub.expr)));
	}
}

static void refuse_in_record(const struct where *w, const struct node *n, const char *key, bool set)
{
	if (set)
		complain(w, &load_get(n, key)->key->pos, "invalid field '%s' in recording rule",
			key);
}

static bool load_name(
	struct where *w, struct rule *rule, const struct node *record, const struct node *alert)
{
	const char *r = load_string(w->rep, record, "record");
	const char *a = load_string(w->rep, alert, "alert");

	r = r && *r ? r : NULL;
	a = a && *a ? a : NULL;
	w->name = a ? a : r ? r : "";
	if (r && a)
		complain(w, &record->key->pos, "only one of 'record' and 'alert' must be set");
	if (!r && !a)
		return false;
	rule->pub.kind = r ? LT_RULE_RECORD : LT_RULE_ALERT;
	w->name = lt_arena_str(&w->r->arena, w->name, strlen(w->name));
	rule->pub.name = w->name;
	if (r && !a && !is_metric_name(r))
		complain(w, &record->pos, "invalid recording rule name: %.80s", r);
	return true;
}

static void load_alert(const struct where *w, struct rule *rule, const struct node *n)
{
	const struct node *labels = load_get(n, "labels");
	const struct node *annotations = load_get(n, "annotations");

	check_pairs(w, annotations, rule->pub.annotations, rule->pub.n_annotations, "annotation");
	rule->label_tmpl = load_templates(w, labels, rule->pub.labels, rule->pub.n_labels, "label");
	rule->annotation_tmpl = load_templates(
		w, annotations, rule->pub.annotations, rule->pub.n_annotations, "annotation");
	rule->labels_constant = rule->annotations_constant = true;
	for (size_t i = 0; i < rule->pub.n_labels; i++) {
		if (!rule->label_tmpl[i] || !rule->label_tmpl[i]->constant)
			rule->labels_constant = false;
	}
	for (size_t i = 0; i < rule->pub.n_annotations; i++) {
		if (!rule->annotation_tmpl[i] || queries(rule->annotation_tmpl[i]))
			rule->annotations_constant = false;
	}
}

struct rule *load_rule(
	struct lt_rules *r, struct report *rep, const struct node *n, struct group *g, size_t index)
{
	static const char *const known[] = {
		"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations", NULL};
	struct where w = {.r = r, .rep = rep, .g = g, .index = index, .name = ""};
	size_t errors = rep->n_errors;
	struct rule *rule;

	if (n->kind != NODE_MAP) {
		report_error(rep, &n->pos, "a rule must be a map");
		return NULL;
	}
	rule = lt_arena_alloc(&r->arena, sizeof(*rule));
	*rule = (struct rule){.col = (uint32_t)n->pos.col};
	rule->pub = (struct lt_rule){.name = "",
		.line = (uint32_t)n->pos.line,
		.group = &g->pub,
		.index = index,
		.healthy = true,
		.last_error = ""};
	load_unknown(rep, n, known);
	if (!load_name(&w, rule, load_get(n, "record"), load_get(n, "alert")))
		complain(&w, &n->pos, "one of 'record' or 'alert' must be set");
	load_expr(&w, rule, load_get(n, "expr"), &n->pos);
	load_duration(rep, load_get(n, "for"), "for", &rule->pub.for_ms);
	load_duration(
		rep, load_get(n, "keep_firing_for"), "keep_firing_for", &rule->pub.keep_firing_ms);
	rule->pub.labels = load_pairs(r, rep, load_get(n, "labels"), "labels", &rule->pub.n_labels);
	rule->pub.annotations = load_pairs(
		r, rep, load_get(n, "annotations"), "annotations", &rule->pub.n_annotations);
	check_pairs(&w, load_get(n, "labels"), rule->pub.labels, rule->pub.n_labels, "label");
	if (rule->pub.kind == LT_RULE_ALERT) {
		load_alert(&w, rule, n);
	} else {
		refuse_in_record(&w, n, "annotations", rule->pub.n_annotations);
		refuse_in_record(&w, n, "for", rule->pub.for_ms);
		refuse_in_record(&w, n, "keep_firing_for", rule->pub.keep_firing_ms);
	}
	return rep->n_errors == errors ? rule : NULL;
}
