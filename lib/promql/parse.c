/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parse_int.h"

/*
 * Recursive descent over the grammar of Prometheus. Functions return NULL (or false) after the first
 * failure, which the lexer keeps. Types are checked afterwards (check.c).
 */

static struct pq_node *expression(struct pq_parser *p, int level);

/* ---- tokens and nodes ---- */

void pq_next(struct pq_parser *p)
{
	pq_lex(&p->l, &p->cur);
}

bool pq_accept(struct pq_parser *p, enum pq_tok t)
{
	if (p->cur.type != t)
		return false;
	pq_next(p);
	return true;
}

struct pq_node *pq_node_new(struct pq_parser *p, enum pq_kind kind, uint32_t pos)
{
	struct lt_promql_expr *e = p->e;
	struct pq_node *n = lt_arena_alloc(&e->arena, sizeof(*n));

	memset(n, 0, sizeof(*n));
	n->kind = kind;
	n->pos = pos;
	if (e->n_nodes == e->cap_nodes) {
		e->cap_nodes = e->cap_nodes ? e->cap_nodes * 2 : 16;
		e->nodes = lt_realloc(e->nodes, e->cap_nodes * sizeof(struct pq_node *));
	}
	e->nodes[e->n_nodes++] = n;
	return n;
}

/* ---- operands ---- */

static bool arguments(struct pq_parser *p, struct pq_node ***args, uint32_t *n)
{
	struct pq_node *a[256];

	*n = 0;
	pq_next(p);
	while (p->cur.type != T_RPAREN) {
		if (*n == LT_ARRAY_LEN(a)) {
			pq_lex_fail(&p->l, p->cur.pos, "more than %zu arguments", LT_ARRAY_LEN(a));
			return false;
		}
		a[*n] = expression(p, 0);
		if (!a[(*n)++])
			return false;
		if (p->cur.type == T_COMMA) {
			uint32_t pos = p->cur.pos;

			pq_next(p);
			if (p->cur.type == T_RPAREN) {
				pq_lex_fail(&p->l, pos,
					"trailing commas not allowed in function call args");
				return false;
			}
		} else if (p->cur.type != T_RPAREN) {
			pq_unexpected(&p->l, &p->cur, NULL, NULL);
			return false;
		}
	}
	pq_next(p);
	*args = lt_arena_dup(&p->e->arena, a, (*n + 1) * sizeof(struct pq_node *));
	return true;
}

static bool aggregate_modifier(struct pq_parser *p, struct pq_node *n)
{
	if (p->cur.type != T_BY && p->cur.type != T_WITHOUT)
		return true;
	n->aggr.without = p->cur.type == T_WITHOUT;
	pq_next(p);
	return pq_grouping(p, &n->aggr.by);
}

static struct pq_node *aggregate(struct pq_parser *p)
{
	struct pq_node *n = pq_node_new(p, N_AGGR, p->cur.pos), **args;
	bool modifier;
	uint32_t n_args, want;

	n->aggr.op = p->cur.type;
	pq_next(p);
	modifier = p->cur.type == T_BY || p->cur.type == T_WITHOUT;
	if (modifier && !aggregate_modifier(p, n))
		return NULL;
	if (p->cur.type != T_LPAREN) {
		pq_unexpected(&p->l, &p->cur, "aggregation", NULL);
		return NULL;
	}
	if (!arguments(p, &args, &n_args) || (!modifier && !aggregate_modifier(p, n)))
		return NULL;
	want = n->aggr.op == T_TOPK || n->aggr.op == T_BOTTOMK || n->aggr.op == T_COUNT_VALUES ||
			       n->aggr.op == T_QUANTILE
		       ? 2
		       : 1;
	if (n_args == 0) {
		pq_lex_fail(&p->l, n->pos, "no arguments for aggregate expression provided");
		return NULL;
	}
	if (n_args != want) {
		pq_lex_fail(&p->l, n->pos,
			"wrong number of arguments for aggregate expression provided, expected %u, "
			"got %u",
			want, n_args);
		return NULL;
	}
	n->aggr.param = want == 2 ? args[0] : NULL;
	n->aggr.expr = args[want - 1];
	return n;
}

static struct pq_node *call(struct pq_parser *p, struct pq_token name)
{
	struct pq_node *n = pq_node_new(p, N_CALL, name.pos);
	const char *s = p->l.text + name.pos, *why;

	n->call.fn = pq_func_find(s, name.len);
	if (!n->call.fn) {
		why = pq_func_refused(s, name.len);
		pq_lex_fail(&p->l, name.pos,
			why ? "function \"%.*s\" %s" : "unknown function with name \"%.*s\"%s",
			(int)(name.len < 60 ? name.len : 60), s, why ? why : "");
		return NULL;
	}
	return arguments(p, &n->call.args, &n->call.n_args) ? n : NULL;
}

static struct pq_node *operand(struct pq_parser *p)
{
	struct pq_token t = p->cur;
	struct pq_lexer look;
	struct pq_token after;
	struct pq_node *n;

	switch (t.type) {
	case T_NUMBER:
		n = pq_node_new(p, N_NUMBER, t.pos);
		return pq_number_token(p, &n->number) ? n : NULL;
	case T_STRING:
		n = pq_node_new(p, N_STRING, t.pos);
		n->str.s = pq_unquote(&p->l, &t, &p->e->arena, &n->str.n);
		if (!n->str.s)
			return NULL;
		pq_next(p);
		return n;
	case T_LPAREN:
		n = pq_node_new(p, N_PAREN, t.pos);
		pq_next(p);
		n->paren.expr = expression(p, 0);
		if (!n->paren.expr)
			return NULL;
		if (!pq_accept(p, T_RPAREN)) {
			pq_unexpected(&p->l, &p->cur, NULL, NULL);
			return NULL;
		}
		return n;
	case T_LBRACE:
	case T_METRIC:
		return pq_selector(p);
	default:
		break;
	}
	/* Identifiers, and keywords that may be metric names. */
	if (t.type != T_IDENT && !PQ_IS_SET(t.type) && !PQ_IS_AGGR(t.type) && t.type != T_BY &&
		t.type != T_WITHOUT && t.type != T_OFFSET && t.type != T_START && t.type != T_END) {
		pq_unexpected(&p->l, &t, NULL, NULL);
		return NULL;
	}
	look = p->l;
	pq_lex(&look, &after);
	if (PQ_IS_AGGR(t.type) &&
		(after.type == T_LPAREN || after.type == T_BY || after.type == T_WITHOUT)) {
		return aggregate(p);
	}
	if (t.type == T_IDENT && after.type == T_LPAREN) {
		pq_next(p);
		return call(p, t);
	}
	if (PQ_IS_AGGR(t.type) && (after.type == T_IDENT || after.type == T_NUMBER)) {
		pq_unexpected(&p->l, &after, "aggregation", NULL);
		return NULL;
	}
	return pq_selector(p);
}

/* ---- operators ---- */

/* How tightly an operator binds. */
static int precedence(enum pq_tok t)
{
	switch (t) {
	case T_OR:
		return 1;
	case T_AND:
	case T_UNLESS:
		return 2;
	case T_ADD:
	case T_SUB:
		return 4;
	case T_MUL:
	case T_DIV:
	case T_MOD:
	case T_ATAN2:
		return 5;
	case T_POW:
		return 6;
	default:
		return 3;
	}
}

static struct pq_node *unary(struct pq_parser *p)
{
	struct pq_token t = p->cur;
	struct pq_node *expr, *n;

	pq_next(p);
	expr = expression(p, precedence(T_MUL) + 1);
	if (!expr)
		return NULL;
	if (expr->kind == N_NUMBER) {
		if (t.type == T_SUB)
			expr->number = -expr->number;
		expr->pos = t.pos;
		return expr;
	}
	n = pq_node_new(p, N_UNARY, t.pos);
	n->unary.op = t.type;
	n->unary.expr = expr;
	return n;
}

static bool binary_modifiers(struct pq_parser *p, struct pq_node *n)
{
	n->bin.return_bool = pq_accept(p, T_BOOL);
	if (p->cur.type != T_ON && p->cur.type != T_IGNORING)
		return true;
	n->bin.on = p->cur.type == T_ON;
	n->bin.has_match = true;
	pq_next(p);
	if (!pq_grouping(p, &n->bin.match))
		return false;
	if (p->cur.type != T_GROUP_LEFT && p->cur.type != T_GROUP_RIGHT)
		return true;
	n->bin.card = p->cur.type == T_GROUP_LEFT ? CARD_MANY_TO_ONE : CARD_ONE_TO_MANY;
	pq_next(p);
	return p->cur.type != T_LPAREN || pq_grouping(p, &n->bin.include);
}

static struct pq_node *expression(struct pq_parser *p, int level)
{
	struct pq_node *l, *n;

	if (++p->depth > p->e->limits.max_depth) {
		pq_lex_fail(&p->l, p->cur.pos, "expression nests deeper than %u levels",
			p->e->limits.max_depth);
		return NULL;
	}
	if (p->cur.type == T_ADD || p->cur.type == T_SUB)
		l = unary(p);
	else
		l = pq_postfix(p, operand(p));
	while (l && PQ_IS_OP(p->cur.type) && precedence(p->cur.type) >= level) {
		enum pq_tok op = p->cur.type;

		n = pq_node_new(p, N_BINARY, l->pos);
		n->bin.op = op;
		n->bin.op_pos = p->cur.pos;
		n->bin.l = l;
		pq_next(p);
		if (!binary_modifiers(p, n))
			return NULL;
		n->bin.r = expression(p, precedence(op) + (op == T_POW ? 0 : 1));
		l = n->bin.r ? n : NULL;
	}
	p->depth--;
	return l;
}

/* ---- expressions ---- */

int lt_promql_parse(struct lt_label_pool *pool, const char *text, size_t len,
	const struct lt_promql_limits *limits, struct lt_promql_expr **out,
	struct lt_promql_pos *at, struct lt_err *err)
{
	struct lt_promql_expr *e = lt_calloc(1, sizeof(*e));
	struct pq_parser p = {.e = e};
	bool ok = false;

	*out = NULL;
	e->pool = pool;
	if (limits)
		e->limits = *limits;
	lt_promql_limits_defaults(&e->limits);
	p.l.text = e->text = lt_strndup(text, len);
	p.l.len = (uint32_t)(len <= UINT32_MAX ? len : UINT32_MAX);
	if (len > e->limits.max_text_bytes) {
		pq_lex_fail(&p.l, 0, "expression of %zu bytes, %u are allowed", len,
			e->limits.max_text_bytes);
	} else {
		pq_next(&p);
		if (p.cur.type == T_EOF)
			pq_lex_fail(&p.l, 0, "no expression found in input");
		e->root = expression(&p, 0);
		if (e->root && p.cur.type != T_EOF)
			pq_unexpected(&p.l, &p.cur, NULL, NULL);
		ok = e->root && !p.l.failed && pq_check(e, &p.l);
	}
	if (!ok) {
		int rc = pq_report(&p.l, at, err);

		lt_promql_free(e);
		return rc;
	}
	*out = e;
	return LT_OK;
}
