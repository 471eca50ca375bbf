/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "promql_int.h"

/* What is done once for an expression: types, limits, constants, windows of its selectors. */

struct check {
	struct lt_promql_expr *e;
	struct pq_lexer *l;
};

void lt_promql_limits_defaults(struct lt_promql_limits *l)
{
	static const struct lt_promql_limits d = {
		.max_text_bytes = 65536,
		.max_depth = 256,
		.max_regex_bytes = 4096,
		.regex_match_limit = 100000,
		.regex_heap_kib = 1024,
		.max_series = 1000000,
		.max_samples = 50000000,
		.max_steps = 11000,
		.max_window_ms = INT64_C(400) * 86400000,
		.lookback_ms = 300000,
		.subquery_step_ms = 60000,
	};

	l->max_text_bytes = l->max_text_bytes ? l->max_text_bytes : d.max_text_bytes;
	l->max_depth = l->max_depth ? l->max_depth : d.max_depth;
	l->max_regex_bytes = l->max_regex_bytes ? l->max_regex_bytes : d.max_regex_bytes;
	l->regex_match_limit = l->regex_match_limit ? l->regex_match_limit : d.regex_match_limit;
	l->regex_heap_kib = l->regex_heap_kib ? l->regex_heap_kib : d.regex_heap_kib;
	l->max_series = l->max_series ? l->max_series : d.max_series;
	l->max_samples = l->max_samples ? l->max_samples : d.max_samples;
	l->max_steps = l->max_steps ? l->max_steps : d.max_steps;
	l->max_window_ms = l->max_window_ms ? l->max_window_ms : d.max_window_ms;
	l->lookback_ms = l->lookback_ms ? l->lookback_ms : d.lookback_ms;
	l->subquery_step_ms = l->subquery_step_ms ? l->subquery_step_ms : d.subquery_step_ms;
}

const char *lt_promql_type_name(enum lt_promql_type t)
{
	static const char *const names[] = {
		"none", "scalar", "string", "instant vector", "range vector"};

	return t < LT_ARRAY_LEN(names) ? names[t] : "none";
}

static bool fail(struct check *c, uint32_t pos, const char *why)
{
	pq_lex_fail(c->l, pos, "%s", why);
	return false;
}

static bool check(struct check *c, struct pq_node *n);

static bool expect(
	struct check *c, struct pq_node *n, enum lt_promql_type want, const char *context)
{
	if (!check(c, n))
		return false;
	if (n->type == want)
		return true;
	pq_lex_fail(c->l, n->pos, "expected type %s in %s, got %s", lt_promql_type_name(want),
		context, lt_promql_type_name(n->type));
	return false;
}

static void set_const(struct pq_node *n, double v)
{
	n->is_const = true;
	n->number = v;
}

/* @list with the metric name. */
static struct pq_list with_name(struct lt_promql_expr *e, const struct pq_list *list)
{
	struct pq_list out = {
		.sym = lt_arena_alloc(&e->arena, (list->n + 1) * sizeof(uint32_t)), .n = list->n};

	for (uint32_t i = 0; i < list->n; i++)
		out.sym[i] = list->sym[i];
	out.sym[out.n++] = LT_SYM_NAME;
	return out;
}

/* ---- one kind of node after the other ---- */

static bool check_selector(struct check *c, struct pq_node *n)
{
	struct lt_promql_selector *s = n->sel.pub;
	bool selects = false;

	s->name = LT_SYM_NONE;
	n->names = NAMES_ANY;
	for (uint32_t i = 0; i < s->n_matchers; i++) {
		const struct lt_matcher *m = &s->matchers[i];
		bool outside = n->sel.name && i + 1 == s->n_matchers;
		int empty = lt_matcher_match(m, "", 0, NULL);

		if (m->name == LT_SYM_NAME && n->sel.name && !outside) {
			pq_lex_fail(c->l, n->pos,
				"metric name must not be set twice: \"%s\" or \"%s\"", n->sel.name,
				m->text);
			return false;
		}
		selects |= empty == 0;
		if (m->name == LT_SYM_NAME && m->op == LT_MATCH_EQ) {
			s->name = m->value;
			n->names = m->value == LT_SYM_NONE ? NAMES_NONE : NAMES_ONE;
		}
	}
	if (!selects)
		return fail(
			c, n->pos, "vector selector must contain at least one non-empty matcher");
	s->range_ms = n->sel.range_ms;
	n->type = s->range_ms ? LT_PROMQL_MATRIX : LT_PROMQL_VECTOR;
	return true;
}

static bool check_subquery(struct check *c, struct pq_node *n)
{
	const struct lt_promql_limits *lim = &c->e->limits;
	int64_t step = n->subq.step_ms ? n->subq.step_ms : lim->subquery_step_ms;

	if (!check(c, n->subq.expr))
		return false;
	if (n->subq.expr->type != LT_PROMQL_VECTOR) {
		static const char *const names[] = {"none", "scalar", "string", "vector", "matrix"};

		pq_lex_fail(c->l, n->pos,
			"subquery is only allowed on instant vector, got %s instead",
			names[n->subq.expr->type]);
		return false;
	}
	if (n->subq.range_ms / step >= lim->max_steps) {
		pq_lex_fail(c->l, n->pos,
			"subquery of %lld steps, %u are allowed: use a longer step",
			(long long)(n->subq.range_ms / step) + 1, lim->max_steps);
		return false;
	}
	n->type = LT_PROMQL_MATRIX;
	n->names = n->subq.expr->names;
	return true;
}

static bool check_unary(struct check *c, struct pq_node *n)
{
	struct pq_node *expr = n->unary.expr;

	if (!check(c, expr))
		return false;
	n->type = expr->type;
	n->names = n->unary.op == T_SUB ? NAMES_NONE : expr->names;
	if (n->type != LT_PROMQL_SCALAR && n->type != LT_PROMQL_VECTOR) {
		pq_lex_fail(c->l, n->pos,
			"unary expression only allowed on expressions of type scalar or instant "
			"vector, "
			"got \"%s\"",
			lt_promql_type_name(n->type));
		return false;
	}
	if (expr->is_const)
		set_const(n, n->unary.op == T_SUB ? -expr->number : expr->number);
	return true;
}

static bool check_matching(struct check *c, struct pq_node *n)
{
	const char *op = pq_tok_name(n->bin.op);

	if (PQ_IS_SET(n->bin.op)) {
		if (n->bin.card != CARD_ONE_TO_ONE) {
			pq_lex_fail(c->l, n->pos, "no grouping allowed for \"%s\" operation", op);
			return false;
		}
		n->bin.card = CARD_MANY_TO_MANY;
	}
	n->bin.ignore = with_name(c->e, &n->bin.match);
	if (n->bin.op == T_OR)
		n->names = n->bin.l->names == NAMES_NONE && n->bin.r->names == NAMES_NONE
				   ? NAMES_NONE
				   : NAMES_ANY;
	else if (PQ_DROPS_NAME(n->bin.op) || n->bin.return_bool)
		n->names = NAMES_NONE;
	else if (n->bin.card == CARD_ONE_TO_MANY)
		n->names = n->bin.r->names;
	else
		n->names = n->bin.l->names;
	for (uint32_t k = 0; k < n->bin.include.n; k++)
		if (n->bin.include.sym[k] == LT_SYM_NAME)
			n->names = NAMES_ANY;
	return true;
}

static bool check_binary(struct check *c, struct pq_node *n)
{
	struct pq_node *l = n->bin.l, *r = n->bin.r;
	enum pq_tok op = n->bin.op;
	bool scalars;

	if (!check(c, l) || !check(c, r))
		return false;
	scalars = l->type == LT_PROMQL_SCALAR && r->type == LT_PROMQL_SCALAR;
	if (n->bin.return_bool && !PQ_IS_CMP(op))
		return fail(
			c, n->bin.op_pos, "bool modifier can only be used on comparison operators");
	if (PQ_IS_CMP(op) && !n->bin.return_bool && scalars)
		return fail(c, n->bin.op_pos, "comparisons between scalars must use BOOL modifier");
	for (uint32_t i = 0; n->bin.on && i < n->bin.match.n; i++)
		for (uint32_t k = 0; k < n->bin.include.n; k++)
			if (n->bin.match.sym[i] == n->bin.include.sym[k]) {
				pq_lex_fail(c->l, n->bin.op_pos,
					"label \"%s\" must not occur in ON and GROUP clause at "
					"once",
					lt_sym_text(c->e->pool, n->bin.match.sym[i], NULL));
				return false;
			}
	for (int side = 0; side < 2; side++) {
		const struct pq_node *s = side ? r : l;

		if (s->type != LT_PROMQL_SCALAR && s->type != LT_PROMQL_VECTOR)
			return fail(c, s->pos,
				"binary expression must contain only scalar and instant vector "
				"types");
	}
	if (l->type == LT_PROMQL_VECTOR && r->type == LT_PROMQL_VECTOR) {
		n->type = LT_PROMQL_VECTOR;
		return check_matching(c, n);
	}
	if (n->bin.match.n)
		return fail(c, n->pos, "vector matching only allowed between instant vectors");
	if (PQ_IS_SET(op)) {
		pq_lex_fail(c->l, n->pos,
			"set operator \"%s\" not allowed in binary scalar expression",
			pq_tok_name(op));
		return false;
	}
	n->type = scalars ? LT_PROMQL_SCALAR : LT_PROMQL_VECTOR;
	if (PQ_DROPS_NAME(op) || n->bin.return_bool)
		n->names = NAMES_NONE;
	else
		n->names = l->type == LT_PROMQL_VECTOR ? l->names : r->names;
	if (l->is_const && r->is_const)
		set_const(n, pq_binary(op, l->number, r->number));
	return true;
}

static bool check_aggr(struct check *c, struct pq_node *n)
{
	enum pq_tok op = n->aggr.op;
	struct pq_node *param = n->aggr.param;

	if (!expect(c, n->aggr.expr, LT_PROMQL_VECTOR, "aggregation expression"))
		return false;
	if (param && !expect(c, param, op == T_COUNT_VALUES ? LT_PROMQL_STRING : LT_PROMQL_SCALAR,
			     "aggregation parameter"))
		return false;
	n->type = LT_PROMQL_VECTOR;
	n->names = NAMES_NONE;
	n->aggr.drop = with_name(c->e, &n->aggr.by);
	for (uint32_t i = 0; i < n->aggr.by.n && !n->aggr.without; i++)
		if (n->aggr.by.sym[i] == LT_SYM_NAME)
			n->names = n->aggr.expr->names;
	if (op == T_TOPK || op == T_BOTTOMK)
		n->names = n->aggr.expr->names;
	if (op == T_COUNT_VALUES) {
		struct pq_node *s = pq_strip(param);

		if (!pq_label_name_valid(s->str.s, s->str.n)) {
			pq_lex_fail(c->l, s->pos, "invalid label name \"%s\"", s->str.s);
			return false;
		}
		n->aggr.value_label = pq_sym(c->e, s->str.s, s->str.n);
		if (n->aggr.value_label == LT_SYM_NAME)
			n->names = NAMES_ANY;
		if (!n->aggr.without) { /* the new label is one of the group's */
			struct pq_list by = with_name(c->e, &n->aggr.by);

			by.sym[by.n - 1] = n->aggr.value_label;
			n->aggr.by = by;
		}
	}
	return true;
}

/* Labels of the vector that absent() makes: what the selector demands by "=". */
static const struct lt_labels *absent_labels(struct check *c, const struct pq_node *arg)
{
	struct lt_label_text t[128];
	size_t n = 0;

	if (arg->kind != N_SELECTOR)
		return lt_labels_empty(c->e->pool);
	for (uint32_t i = 0; i < arg->sel.pub->n_matchers; i++) {
		const struct lt_matcher *m = &arg->sel.pub->matchers[i];
		bool before = false;

		if (m->name == LT_SYM_NAME)
			continue;
		/* A second condition on a label takes it out again. */
		for (uint32_t k = 0; k < i; k++)
			before |= arg->sel.pub->matchers[k].name == m->name &&
				  arg->sel.pub->matchers[k].op == LT_MATCH_EQ;
		t[n].name = lt_sym_text(c->e->pool, m->name, NULL);
		t[n].name_len = (uint32_t)strlen(t[n].name);
		t[n].value = m->text;
		t[n].value_len = m->op == LT_MATCH_EQ && !before ? (uint32_t)m->text_len : 0;
		n++;
	}
	return lt_labels_intern(c->e->pool, t, n);
}

static bool check_label_names(struct check *c, struct pq_node *n)
{
	const char *fn = n->call.fn->name;
	bool replace = strcmp(fn, "label_replace") == 0;

	for (uint32_t i = 1; i < n->call.n_args; i++) {
		struct pq_node *s = pq_strip(n->call.args[i]);
		const char *what = i == 1 ? "destination" : "source";

		if (i == 2 || (replace && i > 1) || pq_label_name_valid(s->str.s, s->str.n))
			continue;
		pq_lex_fail(
			c->l, s->pos, "invalid %s label name in %s(): %.100s", what, fn, s->str.s);
		return false;
	}
	if (replace) {
		struct pq_node *s = pq_strip(n->call.args[4]);
		char why[300];

		n->call.regex = pq_regex_new(s->str.s, s->str.n, &c->e->limits, why, sizeof(why));
		if (!n->call.regex) {
			pq_lex_fail(c->l, s->pos,
				"invalid regular expression in label_replace(): %s", why);
			return false;
		}
	}
	if (pq_strip(n->call.args[1])->str.n == 8 &&
		memcmp(pq_strip(n->call.args[1])->str.s, "__name__", 8) == 0)
		n->names = NAMES_ANY;
	return true;
}

static bool check_call(struct check *c, struct pq_node *n)
{
	const struct pq_func *fn = n->call.fn;
	uint32_t n_args = n->call.n_args, least = fn->n_args, most = fn->n_args;
	char context[60];

	if (fn->variadic) {
		least--;
		most = fn->variadic > 0 ? least + (uint32_t)fn->variadic : UINT32_MAX;
	}
	if (n_args < least || n_args > most) {
		const char *at_least = n_args < least ? "at least " : "at most ";

		pq_lex_fail(c->l, n->pos, "expected %s%u argument(s) in call to \"%s\", got %u",
			fn->variadic ? at_least : "", n_args < least ? least : most, fn->name,
			n_args);
		return false;
	}
	snprintf(context, sizeof(context), "call to function \"%s\"", fn->name);
	for (uint32_t i = 0; i < n_args; i++) {
		enum lt_promql_type want = fn->args[i < fn->n_args ? i : fn->n_args - 1u];

		if (!expect(c, n->call.args[i], want, context))
			return false;
	}
	n->type = fn->ret;
	n->names = fn->keeps_name ? n->call.args[0]->names : NAMES_NONE;
	if (strncmp(fn->name, "label_", 6) == 0)
		return check_label_names(c, n);
	if (strncmp(fn->name, "absent", 6) == 0)
		n->call.absent = absent_labels(c, pq_strip(n->call.args[0]));
	if (strcmp(fn->name, "pi") == 0)
		set_const(n, M_PI);
	return true;
}

static uint32_t higher(uint32_t h, const struct pq_node *n)
{
	return n && n->height > h ? n->height : h;
}

static uint32_t height(const struct pq_node *n)
{
	uint32_t h = 0;

	switch (n->kind) {
	case N_SUBQUERY:
		return higher(h, n->subq.expr) + 1;
	case N_UNARY:
		return higher(h, n->unary.expr) + 1;
	case N_PAREN:
		return higher(h, n->paren.expr) + 1;
	case N_BINARY:
		return higher(higher(h, n->bin.l), n->bin.r) + 1;
	case N_AGGR:
		return higher(higher(h, n->aggr.expr), n->aggr.param) + 1;
	case N_CALL:
		for (uint32_t i = 0; i < n->call.n_args; i++)
			h = higher(h, n->call.args[i]);
		return h + 1;
	default:
		return 1;
	}
}

static bool check(struct check *c, struct pq_node *n)
{
	bool ok = true;

	switch (n->kind) {
	case N_NUMBER:
		n->type = LT_PROMQL_SCALAR;
		n->is_const = true;
		break;
	case N_STRING:
		n->type = LT_PROMQL_STRING;
		break;
	case N_SELECTOR:
		ok = check_selector(c, n);
		break;
	case N_SUBQUERY:
		ok = check_subquery(c, n);
		break;
	case N_UNARY:
		ok = check_unary(c, n);
		break;
	case N_BINARY:
		ok = check_binary(c, n);
		break;
	case N_AGGR:
		ok = check_aggr(c, n);
		break;
	case N_CALL:
		ok = check_call(c, n);
		break;
	case N_PAREN:
		ok = check(c, n->paren.expr);
		n->type = n->paren.expr->type;
		n->names = n->paren.expr->names;
		if (n->paren.expr->is_const)
			set_const(n, n->paren.expr->number);
		break;
	}
	return ok;
}

/* ---- depth and windows ---- */

/* Chains of operators are deep trees although nothing is nested in the text. */
static bool check_height(struct check *c)
{
	/* Nodes are made before what is inside them, but for chains and postfixes: settle from the back. */
	for (bool changed = true; changed;) {
		changed = false;
		for (size_t i = c->e->n_nodes; i-- > 0;) {
			struct pq_node *n = c->e->nodes[i];
			uint32_t h = height(n);

			if (h > c->e->limits.max_depth) {
				pq_lex_fail(c->l, n->pos, "expression nests deeper than %u levels",
					c->e->limits.max_depth);
				return false;
			}
			changed |= h != n->height;
			n->height = h;
		}
	}
	return true;
}

/* When the node is evaluated: [lo, hi] around the time of the evaluation, or absolute. */
struct span {
	bool absolute;
	int64_t lo, hi;
};

static bool apply(
	struct check *c, struct span *s, const struct pq_when *w, int64_t range, uint32_t pos)
{
	int64_t max = c->e->limits.max_window_ms;

	if (w->at == AT_TIME)
		*s = (struct span){true, w->at_ms, w->at_ms};
	else if (w->at)
		*s = (struct span){false, 0, 0};
	/* All of these are below 2^61, so sums of two do not overflow. */
	if (range > max || w->offset_ms > max || w->offset_ms < -max) {
		pq_lex_fail(c->l, pos, "range or offset is longer than %lld ms", (long long)max);
		return false;
	}
	s->lo -= w->offset_ms + range;
	s->hi -= w->offset_ms;
	if (s->hi - s->lo > max || (!s->absolute && (s->lo < -max || s->hi > max))) {
		pq_lex_fail(c->l, pos, "the window of this selector is longer than %lld ms",
			(long long)max);
		return false;
	}
	return true;
}

static bool windows(struct check *c, struct pq_node *n, struct span s)
{
	switch (n->kind) {
	case N_SELECTOR: {
		struct lt_promql_selector *sel = n->sel.pub;
		int64_t range = sel->range_ms ? sel->range_ms : c->e->limits.lookback_ms;

		if (!apply(c, &s, &n->sel.when, range, n->pos))
			return false;
		sel->relative = !s.absolute;
		sel->absolute = s.absolute;
		if (s.absolute) {
			sel->abs_min_ms = s.lo;
			sel->abs_max_ms = s.hi;
		} else {
			sel->back_ms = -s.lo;
			sel->ahead_ms = s.hi;
		}
		return true;
	}
	case N_SUBQUERY:
		return apply(c, &s, &n->subq.when, n->subq.range_ms, n->pos) &&
		       windows(c, n->subq.expr, s);
	case N_UNARY:
		return windows(c, n->unary.expr, s);
	case N_PAREN:
		return windows(c, n->paren.expr, s);
	case N_BINARY:
		return windows(c, n->bin.l, s) && windows(c, n->bin.r, s);
	case N_AGGR:
		return (!n->aggr.param || windows(c, n->aggr.param, s)) &&
		       windows(c, n->aggr.expr, s);
	case N_CALL:
		for (uint32_t i = 0; i < n->call.n_args; i++)
			if (!windows(c, n->call.args[i], s))
				return false;
		return true;
	default:
		return true;
	}
}

bool pq_check(struct lt_promql_expr *e, struct pq_lexer *l)
{
	struct check c = {e, l};

	return check_height(&c) && check(&c, e->root) && windows(&c, e->root, (struct span){0});
}
