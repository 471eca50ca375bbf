/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "rules_int.h"

/* Labels and annotations of an alert from the templates of its rule. */

struct querier {
	struct lt_rules *r;
	int64_t t_ms;
	const struct lt_promql_storage *storage;
};

static struct tmap *label_map(
	struct lt_arena *arena, const struct lt_label_pool *pool, const struct lt_labels *l)
{
	struct tmap *m = lt_arena_alloc(arena, sizeof(*m) + l->n * sizeof(m->e[0]));
	size_t len;

	m->n = l->n;
	for (size_t i = 0; i < l->n; i++) {
		const char *v = lt_sym_text(pool, l->pair[i].value, &len);

		m->e[i].name = lt_sym_text(pool, l->pair[i].name, NULL);
		m->e[i].v = tmpl_text(v, len);
	}
	return m;
}

/* The labels outlive the result in the arena: a template may query again. */
static struct tmap *kept_map(
	struct lt_arena *arena, const struct lt_label_pool *pool, const struct lt_labels *l)
{
	struct tmap *m = label_map(arena, pool, l);

	for (size_t i = 0; i < m->n; i++) {
		struct tval *v = &m->e[i].v;

		m->e[i].name = lt_arena_str(arena, m->e[i].name, strlen(m->e[i].name));
		v->s = lt_arena_str(arena, v->s, v->len);
	}
	return m;
}

/* A template's query(). */
static int run_query(void *ctx, const char *text, size_t len, struct lt_arena *arena,
	struct tvec **out, struct lt_err *err)
{
	const struct querier *q = ctx;
	struct lt_promql_result *res = &q->r->query_result;
	struct lt_promql_expr *e = NULL;
	struct lt_promql_pos at = {0};
	struct tsample *s;
	int code = lt_promql_parse(q->r->pool, text, len, &q->r->limits, &e, &at, err);

	if (code) {
		lt_err_prefix(err, "%u:%u: parse error", at.line, at.column);
		return code;
	}
	code = lt_promql_eval(e, q->t_ms, q->storage, res, err);
	if (!code && res->type != LT_PROMQL_VECTOR && res->type != LT_PROMQL_SCALAR)
		code = lt_fail(err, LT_EINVAL, LT_CLS_POISON, "rules.query",
			"rule result is not a vector or scalar");
	if (!code && res->type == LT_PROMQL_SCALAR) {
		struct tmap *none = lt_arena_alloc(arena, sizeof(*none));

		none->n = 0;
		*out = lt_arena_alloc(arena, sizeof(**out) + sizeof((*out)->s[0]));
		(*out)->n = 1;
		s = (*out)->s[0] = lt_arena_alloc(arena, sizeof(*s));
		*s = (struct tsample){none, res->scalar};
	} else if (!code) {
		*out = lt_arena_alloc(arena, sizeof(**out) + res->n * sizeof((*out)->s[0]));
		(*out)->n = res->n;
		for (size_t i = 0; i < res->n; i++) {
			s = (*out)->s[i] = lt_arena_alloc(arena, sizeof(*s));
			s->labels = kept_map(arena, q->r->pool, res->vector[i].labels);
			s->v = res->vector[i].v;
		}
	}
	lt_promql_free(e);
	return code;
}

/* One template; what fails becomes the text of the error, as in Prometheus. */
static const char *expand(struct lt_rules *r, const struct tmpl *t, const struct tmpl_env *env)
{
	struct lt_arena_mark mark;
	struct lt_buf why = {0};
	const char *text;

	if (t->constant)
		return t->text;
	lt_buf_reset(&r->text);
	mark = lt_arena_mark(&r->scratch);
	if (tmpl_exec(t, env, &r->scratch, &r->text, &why)) {
		lt_buf_reset(&r->text);
		lt_buf_printf(&r->text,
			"<error expanding template: error executing template %s: %s>", t->name,
			why.data);
		lt_buf_fini(&why);
		if (r->opts.counters)
			lt_counter_add(&r->opts.counters->template_failures, 1);
	}
	lt_arena_rewind(&r->scratch, mark);
	text = lt_arena_str(&r->scratch, r->text.data ? r->text.data : "", r->text.len);
	return text;
}

static void make_env(struct lt_rules *r, const struct lt_promql_sample *sample, struct querier *q,
	struct tmpl_env *env)
{
	*env = (struct tmpl_env){
		.labels = label_map(&r->scratch, r->pool, sample->labels),
		.external_labels = r->external_labels,
		.external_url = r->opts.external_url,
		.value = sample->v,
		.query = run_query,
		.query_ctx = q,
	};
}

const struct lt_labels *expand_labels(struct lt_rules *r, struct rule *rule,
	const struct lt_promql_sample *sample, int64_t t_ms,
	const struct lt_promql_storage *storage)
{
	struct lt_arena_mark mark = lt_arena_mark(&r->scratch);
	struct querier q = {r, t_ms, storage};
	const struct lt_labels *l;
	struct lt_label_text *set;
	struct tmpl_env env;
	size_t n = 0;

	make_env(r, sample, &q, &env);
	set = lt_arena_alloc(&r->scratch, (rule->pub.n_labels + 2) * sizeof(*set));
	set[n++] = (struct lt_label_text){"__name__", "", 8, 0};
	for (size_t i = 0; i < rule->pub.n_labels; i++) {
		const char *name = rule->pub.labels[i].name;
		const char *text;

		if (!strcmp(name, "alertname"))
			continue;
		text = expand(r, rule->label_tmpl[i], &env);
		set[n++] = (struct lt_label_text){
			name, text, (uint32_t)strlen(name), (uint32_t)strlen(text)};
	}
	set[n++] = (struct lt_label_text){
		"alertname", rule->pub.name, 9, (uint32_t)strlen(rule->pub.name)};
	l = lt_labels_with(r->pool, sample->labels, set, n);
	lt_arena_rewind(&r->scratch, mark);
	return l;
}

const struct lt_rule_pair *expand_annotations(struct lt_rules *r, struct rule *rule,
	const struct lt_promql_sample *sample, int64_t t_ms,
	const struct lt_promql_storage *storage)
{
	struct querier q = {r, t_ms, storage};
	struct lt_rule_pair *p =
		lt_arena_alloc(&r->scratch, (rule->pub.n_annotations + 1) * sizeof(*p));
	struct tmpl_env env;

	make_env(r, sample, &q, &env);
	for (size_t i = 0; i < rule->pub.n_annotations; i++) {
		p[i].name = rule->pub.annotations[i].name;
		p[i].value = expand(r, rule->annotation_tmpl[i], &env);
	}
	return p;
}
