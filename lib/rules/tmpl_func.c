/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tmpl.h"

/* The functions that templates know: Go's own and Prometheus's. */

static struct tval boolean(bool b)
{
	return (struct tval){.kind = TV_BOOL, .b = b};
}

/* ---- logic and comparison ---- */

/* and, or: tmpl_exec.c evaluates them, this only makes them known. */
static struct tval f_logic(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)r;
	return a[n - 1];
}

static struct tval f_not(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)r;
	(void)n;
	return boolean(!tmpl_truth(a));
}

static bool is_basic(const struct tval *v)
{
	return v->kind == TV_BOOL || v->kind == TV_INT || v->kind == TV_FLOAT ||
	       v->kind == TV_STRING;
}

static int compare(const struct tval *a, const struct tval *b)
{
	size_t n;
	int c;

	switch (a->kind) {
	case TV_BOOL:
		return (int)a->b - (int)b->b;
	case TV_INT:
		return (a->i > b->i) - (a->i < b->i);
	case TV_FLOAT:
		/* NaN: neither; callers look at that first */
		return (a->f > b->f) - (a->f < b->f);
	default:
		n = a->len < b->len ? a->len : b->len;
		c = memcmp(a->s, b->s, n);
		return c ? c : (a->len > b->len) - (a->len < b->len);
	}
}

static bool has_nan(const struct tval *a, const struct tval *b)
{
	return a->kind == TV_FLOAT && (a->f != a->f || b->f != b->f);
}

static struct tval uncomparable(struct tmpl_run *r, const struct tval *v)
{
	struct lt_buf b = {0};

	gofmt_value(&b, v);
	tmpl_fail(r, TMPL_OWN "non-comparable type %s: %s", b.data, tmpl_type_name(v));
	lt_buf_fini(&b);
	return (struct tval){.kind = TV_NIL};
}

static struct tval f_eq(struct tmpl_run *r, const struct tval *a, size_t n)
{
	if (n < 2)
		return tmpl_fail(r, TMPL_OWN "missing argument for comparison");
	if (a->kind == TV_LABELS || a->kind == TV_ARGS || a->kind == TV_VECTOR)
		return uncomparable(r, a);
	for (size_t i = 1; i < n; i++) {
		if (a->kind != a[i].kind)
			return tmpl_fail(r, TMPL_OWN "incompatible types for comparison");
		if (a->kind == TV_NIL || (is_basic(a) && !has_nan(a, &a[i]) && !compare(a, &a[i])))
			return boolean(true);
	}
	return boolean(false);
}

static struct tval f_ne(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct tval v = f_eq(r, a, n);

	v.b = !v.b;
	return v;
}

/* -1, 0, 1; 2: not comparable in this order (NaN); failed. */
static int order(struct tmpl_run *r, const struct tval *a)
{
	if (!is_basic(&a[0]) || !is_basic(&a[1])) {
		tmpl_fail(r, TMPL_OWN "invalid type for comparison");
		return 2;
	}
	if (a[0].kind != a[1].kind) {
		tmpl_fail(r, TMPL_OWN "incompatible types for comparison");
		return 2;
	}
	if (a->kind == TV_BOOL) {
		tmpl_fail(r, TMPL_OWN "invalid type for comparison");
		return 2;
	}
	return has_nan(&a[0], &a[1])       ? 2
	       : compare(&a[0], &a[1]) < 0 ? -1
					   : compare(&a[0], &a[1]) > 0;
}

static struct tval f_lt(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)n;
	return boolean(order(r, a) == -1);
}

static struct tval f_le(struct tmpl_run *r, const struct tval *a, size_t n)
{
	int o = order(r, a);

	(void)n;
	return boolean(o == -1 || o == 0);
}

/* Go: gt is not le, ge is not lt, so a NaN is "greater" than everything. */
static struct tval f_gt(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct tval v = f_le(r, a, n);

	v.b = !v.b;
	return v;
}

static struct tval f_ge(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct tval v = f_lt(r, a, n);

	v.b = !v.b;
	return v;
}

/* ---- text ---- */

static struct tval take(struct tmpl_run *r, struct lt_buf *b)
{
	struct tval v = tmpl_string(r, b);

	lt_buf_fini(b);
	return v;
}

static struct tval f_print(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct lt_buf b = {0};

	gofmt_sprint(&b, a, n);
	return take(r, &b);
}

static struct tval f_println(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct lt_buf b = {0};

	for (size_t i = 0; i < n; i++) {
		if (i)
			lt_buf_char(&b, ' ');
		gofmt_sprint(&b, &a[i], 1);
	}
	lt_buf_char(&b, '\n');
	return take(r, &b);
}

static struct tval f_printf(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct lt_buf b = {0};

	gofmt_printf(&b, a->s, a->len, a + 1, n - 1);
	return take(r, &b);
}

static struct tval f_safe_html(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)n;
	(void)r;
	return *a;
}

/* ---- collections ---- */

static struct tval f_len(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct tval v = {.kind = TV_INT};

	(void)n;
	switch (a->kind) {
	case TV_STRING:
		v.i = (int64_t)a->len;
		return v;
	case TV_LABELS:
	case TV_ARGS:
		v.i = (int64_t)a->map->n;
		return v;
	case TV_VECTOR:
		v.i = (int64_t)a->vec->n;
		return v;
	case TV_NIL:
		return tmpl_fail(r, TMPL_OWN "len of nil pointer");
	default:
		return tmpl_fail(r, TMPL_OWN "len of type %s", tmpl_type_name(a));
	}
}

static bool index_in(struct tmpl_run *r, const struct tval *i, size_t len, bool end_too)
{
	if (i->kind != TV_INT) {
		tmpl_fail(r, TMPL_OWN "cannot index slice/array with type %s", tmpl_type_name(i));
		return false;
	}
	if (i->i < 0 || (uint64_t)i->i > len || (!end_too && (uint64_t)i->i == len)) {
		tmpl_fail(r, TMPL_OWN "index out of range: %lld", (long long)i->i);
		return false;
	}
	return true;
}

static struct tval index_one(struct tmpl_run *r, const struct tval *of, const struct tval *i)
{
	switch (of->kind) {
	case TV_NIL:
		return tmpl_fail(r, TMPL_OWN "index of untyped nil");
	case TV_STRING:
		if (!index_in(r, i, of->len, false))
			return *of;
		return (struct tval){.kind = TV_INT, .i = (unsigned char)of->s[i->i]};
	case TV_VECTOR:
		if (!index_in(r, i, of->vec->n, false))
			return *of;
		return (struct tval){.kind = TV_SAMPLE, .sample = of->vec->s[i->i]};
	case TV_LABELS:
	case TV_ARGS:
		if (i->kind != TV_STRING)
			return tmpl_fail(r, TMPL_OWN "value has type %s; should be string",
				tmpl_type_name(i));
		for (size_t k = 0; k < of->map->n; k++) {
			if (!strcmp(of->map->e[k].name, i->s))
				return of->map->e[k].v;
		}
		return of->kind == TV_LABELS ? tmpl_text("", 0) : (struct tval){.kind = TV_NIL};
	default:
		return tmpl_fail(r, TMPL_OWN "can't index item of type %s", tmpl_type_name(of));
	}
}

static struct tval f_index(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct tval v = a[0];

	for (size_t i = 1; i < n && !r->failed; i++)
		v = index_one(r, &v, &a[i]);
	return v;
}

static struct tval f_slice(struct tmpl_run *r, const struct tval *a, size_t n)
{
	size_t lo = 0, len = a->kind == TV_STRING ? a->len : a->kind == TV_VECTOR ? a->vec->n : 0;
	size_t hi = len;
	struct tvec *v;

	if (a->kind != TV_STRING && a->kind != TV_VECTOR)
		return tmpl_fail(r, TMPL_OWN "can't slice item of type %s", tmpl_type_name(a));
	if (a->kind == TV_STRING && n == 4)
		return tmpl_fail(r, TMPL_OWN "cannot 3-index slice a string");
	for (size_t i = 1; i < n; i++) {
		if (!index_in(r, &a[i], len, true))
			return *a;
	}
	if (n > 1)
		lo = (size_t)a[1].i;
	if (n > 2)
		hi = (size_t)a[2].i;
	if (lo > hi)
		return tmpl_fail(r, TMPL_OWN "invalid slice index: %zu > %zu", lo, hi);
	if (a->kind == TV_STRING)
		return tmpl_text(lt_arena_str(r->arena, a->s + lo, hi - lo), hi - lo);
	v = lt_arena_alloc(r->arena, sizeof(*v) + (hi - lo) * sizeof(v->s[0]));
	v->n = hi - lo;
	memcpy(v->s, a->vec->s + lo, v->n * sizeof(v->s[0]));
	return (struct tval){.kind = TV_VECTOR, .vec = v};
}

static struct tval f_args(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct tmap *m = lt_arena_alloc(r->arena, sizeof(*m) + n * sizeof(m->e[0]));
	char name[24];

	m->n = 0;
	/* by name: arg10 stands before arg2 */
	for (size_t i = 0; i < n; i++) {
		size_t at = m->n++;
		size_t len = (size_t)snprintf(name, sizeof(name), "arg%zu", i);

		for (; at && strcmp(m->e[at - 1].name, name) > 0; at--)
			m->e[at] = m->e[at - 1];
		m->e[at].name = lt_arena_str(r->arena, name, len);
		m->e[at].v = a[i];
	}
	return (struct tval){.kind = TV_ARGS, .map = m};
}

/* ---- queries ---- */

static struct tval f_query(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct lt_err err = {0};
	struct tvec *v = NULL;

	(void)n;
	if (!r->env->query)
		return tmpl_fail(r, TMPL_OWN "there is nothing to query");
	if (r->env->query(r->env->query_ctx, a->s, a->len, r->arena, &v, &err))
		return tmpl_fail(r, TMPL_OWN "%.380s", err.msg);
	return (struct tval){.kind = TV_VECTOR, .vec = v};
}

static struct tval f_first(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)n;
	if (!a->vec->n)
		return tmpl_fail(r, TMPL_OWN "first() called on vector with no elements");
	return (struct tval){.kind = TV_SAMPLE, .sample = a->vec->s[0]};
}

static struct tval f_value(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)r;
	(void)n;
	return (struct tval){.kind = TV_FLOAT, .f = a->sample->v};
}

static struct tval sample_label(const struct tsample *s, const char *name)
{
	for (size_t i = 0; i < s->labels->n; i++) {
		if (!strcmp(s->labels->e[i].name, name))
			return s->labels->e[i].v;
	}
	return tmpl_text("", 0);
}

static struct tval f_label(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)r;
	(void)n;
	return sample_label(a[1].sample, a[0].s);
}

static struct tval f_strvalue(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)r;
	(void)n;
	return sample_label(a->sample, "__value__");
}

static struct tval f_sort_by_label(struct tmpl_run *r, const struct tval *a, size_t n)
{
	const struct tvec *from;
	struct tvec *v;

	(void)n;
	from = a[1].vec;
	v = lt_arena_dup(r->arena, from, sizeof(*v) + from->n * sizeof(v->s[0]));
	/* stable, and bounded by the steps of a run: bottom-up merging */
	for (size_t width = 1; width < v->n; width *= 2) {
		struct tvec *next = lt_arena_dup(r->arena, v, sizeof(*v) + v->n * sizeof(v->s[0]));

		for (size_t lo = 0; lo < v->n; lo += 2 * width) {
			size_t mid = lo + width < v->n ? lo + width : v->n;
			size_t hi = lo + 2 * width < v->n ? lo + 2 * width : v->n;
			size_t i = lo, j = mid;

			for (size_t k = lo; k < hi; k++) {
				bool left = i < mid;

				if (left && j < hi)
					left = strcmp(sample_label(v->s[i], a[0].s).s,
						       sample_label(v->s[j], a[0].s).s) <= 0;
				next->s[k] = left ? v->s[i++] : v->s[j++];
			}
		}
		v = next;
	}
	return (struct tval){.kind = TV_VECTOR, .vec = v};
}

/* ---- the server's address ---- */

static struct tval f_external_url(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)a;
	(void)n;
	return tmpl_text(r->env->external_url, strlen(r->env->external_url));
}

static struct tval f_path_prefix(struct tmpl_run *r, const struct tval *a, size_t n)
{
	const char *p = strstr(r->env->external_url, "://");
	size_t len;

	(void)a;
	(void)n;
	p = p ? strchr(p + 3, '/') : NULL;
	if (!p)
		return tmpl_text("", 0);
	len = strcspn(p, "?#");
	return tmpl_text(lt_arena_str(r->arena, p, len), len);
}

/* ---- the table ---- */

static const struct tmpl_func funcs[] = {
	{"and", 1, -1, "a", f_logic},
	{"args", 0, -1, "a", f_args},
	{"call", 0, -1, "a", NULL},
	{"eq", 1, -1, "a", f_eq},
	{"externalURL", 0, 0, "", f_external_url},
	{"first", 1, 1, "v", f_first},
	{"ge", 2, 2, "a", f_ge},
	{"graphLink", 1, 1, "s", tf_graph_link},
	{"gt", 2, 2, "a", f_gt},
	{"html", 0, -1, "a", tf_html},
	{"humanize", 1, 1, "a", tf_humanize},
	{"humanize1024", 1, 1, "a", tf_humanize1024},
	{"humanizeDuration", 1, 1, "a", tf_humanize_duration},
	{"humanizePercentage", 1, 1, "a", tf_humanize_percentage},
	{"humanizeTimestamp", 1, 1, "a", tf_humanize_timestamp},
	{"index", 1, -1, "a", f_index},
	{"js", 0, -1, "a", NULL},
	{"label", 2, 2, "sp", f_label},
	{"le", 2, 2, "a", f_le},
	{"len", 1, 1, "a", f_len},
	{"lt", 2, 2, "a", f_lt},
	{"match", 2, 2, "s", tf_match},
	{"ne", 2, 2, "a", f_ne},
	{"not", 1, 1, "a", f_not},
	{"or", 1, -1, "a", f_logic},
	{"parseDuration", 1, 1, "s", tf_parse_duration},
	{"pathPrefix", 0, 0, "", f_path_prefix},
	{"print", 0, -1, "a", f_print},
	{"printf", 1, -1, "sa", f_printf},
	{"println", 0, -1, "a", f_println},
	{"query", 1, 1, "s", f_query},
	{"reReplaceAll", 3, 3, "s", tf_replace},
	{"safeHtml", 1, 1, "s", f_safe_html},
	{"slice", 1, 4, "a", f_slice},
	{"sortByLabel", 2, 2, "sv", f_sort_by_label},
	{"stripDomain", 1, 1, "s", tf_strip_domain},
	{"stripPort", 1, 1, "s", tf_strip_port},
	{"strvalue", 1, 1, "p", f_strvalue},
	{"tableLink", 1, 1, "s", tf_table_link},
	{"title", 1, 1, "s", tf_title},
	{"toLower", 1, 1, "s", tf_lower},
	{"toTime", 1, 1, "a", tf_to_time},
	{"toUpper", 1, 1, "s", tf_upper},
	{"urlquery", 0, -1, "a", tf_urlquery},
	{"value", 1, 1, "p", f_value},
};

const struct tmpl_func *tmpl_func_find(const char *name, size_t len)
{
	for (size_t i = 0; i < LT_ARRAY_LEN(funcs); i++) {
		if (strlen(funcs[i].name) == len && !memcmp(funcs[i].name, name, len))
			return &funcs[i];
	}
	return NULL;
}
