/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "promql_int.h"

/*
 * Recursive descent over the grammar of Prometheus. Functions return NULL (or false) after the first
 * failure, which the lexer keeps. Types are checked afterwards (check.c).
 */

struct parser {
	struct lt_promql_expr *e;
	struct pq_lexer l;
	struct pq_token cur;
	uint32_t depth;
};

static struct pq_node *expression(struct parser *p, int level);

/* ---- tokens and nodes ---- */

static void next(struct parser *p)
{
	pq_lex(&p->l, &p->cur);
}

static bool accept(struct parser *p, enum pq_tok t)
{
	if (p->cur.type != t)
		return false;
	next(p);
	return true;
}

static struct pq_node *node_new(struct parser *p, enum pq_kind kind, uint32_t pos)
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

static const char *token_text(struct parser *p)
{
	return lt_arena_str(&p->e->arena, p->l.text + p->cur.pos, p->cur.len);
}

/* ---- label matchers ---- */

static bool matcher(struct parser *p, struct lt_matcher *m)
{
	const char *name = p->l.text + p->cur.pos;
	uint32_t name_len = p->cur.len, pos = p->cur.pos;
	char why[300];

	*m = (struct lt_matcher){0};
	if (p->cur.type != T_IDENT) {
		pq_unexpected(&p->l, &p->cur, "label matching", "identifier or \"}\"");
		return false;
	}
	next(p);
	switch (p->cur.type) {
	case T_EQL:
		m->op = LT_MATCH_EQ;
		break;
	case T_NE:
		m->op = LT_MATCH_NE;
		break;
	case T_EQ_REGEX:
		m->op = LT_MATCH_RE;
		break;
	case T_NE_REGEX:
		m->op = LT_MATCH_NRE;
		break;
	default:
		pq_unexpected(&p->l, &p->cur, "label matching", "label matching operator");
		return false;
	}
	next(p);
	if (p->cur.type != T_STRING) {
		pq_unexpected(&p->l, &p->cur, "label matching", "string");
		return false;
	}
	m->name = pq_sym(p->e, name, name_len);
	m->text = pq_unquote(&p->l, &p->cur, &p->e->arena, &m->text_len);
	if (!m->text)
		return false;
	m->value = pq_sym(p->e, m->text, m->text_len);
	if (m->op == LT_MATCH_RE || m->op == LT_MATCH_NRE) {
		m->regex = pq_regex_new(m->text, m->text_len, &p->e->limits, why, sizeof(why));
		if (!m->regex) {
			pq_lex_fail(&p->l, pos, "%s", why);
			return false;
		}
	}
	next(p);
	return true;
}

#define MATCHERS_MAX 64

static struct pq_node *selector(struct parser *p)
{
	struct lt_promql_expr *e = p->e;
	struct pq_node *n = node_new(p, N_SELECTOR, p->cur.pos);
	struct lt_promql_selector *s = lt_arena_alloc(&e->arena, sizeof(*s));
	struct lt_matcher m[MATCHERS_MAX + 1];
	uint32_t count = 0;
	bool ok = true;

	memset(s, 0, sizeof(*s));
	n->sel.pub = s;
	if (p->cur.type != T_LBRACE) {
		n->sel.name = token_text(p);
		next(p);
	}
	if (p->cur.type == T_LBRACE) {
		next(p);
		while (ok && p->cur.type != T_RBRACE) {
			uint32_t pos = p->cur.pos;

			if (count == MATCHERS_MAX) {
				pq_lex_fail(
					&p->l, pos, "more than %d label matchers", MATCHERS_MAX);
				ok = false;
				break;
			}
			ok = matcher(p, &m[count]);
			count += ok;
			if (ok && p->cur.type != T_RBRACE && !accept(p, T_COMMA)) {
				pq_unexpected(&p->l, &p->cur, "label matching", "\",\" or \"}\"");
				ok = false;
			}
		}
		if (ok)
			next(p);
	}
	if (n->sel.name) {
		size_t len = strlen(n->sel.name);

		m[count] = (struct lt_matcher){.op = LT_MATCH_EQ,
			.name = LT_SYM_NAME,
			.value = pq_sym(e, n->sel.name, len),
			.text = n->sel.name,
			.text_len = len};
		count++;
	}
	/* Known to the expression even after a failure: their regular expressions must be freed. */
	s->matchers = lt_arena_dup(&e->arena, m, count * sizeof(*m));
	s->n_matchers = count;
	s->index = (uint32_t)e->n_sel;
	s->pos = pq_pos(p->l.text, n->pos);
	if (e->n_sel == e->cap_sel) {
		e->cap_sel = e->cap_sel ? e->cap_sel * 2 : 8;
		e->sel = lt_realloc(e->sel, e->cap_sel * sizeof(struct lt_promql_selector *));
	}
	e->sel[e->n_sel++] = s;
	return ok ? n : NULL;
}

/* ---- lists of labels, durations ---- */

static bool grouping(struct parser *p, struct pq_list *out)
{
	uint32_t sym[256];

	out->n = 0;
	if (!accept(p, T_LPAREN)) {
		pq_unexpected(&p->l, &p->cur, "grouping opts", "\"(\"");
		return false;
	}
	while (p->cur.type != T_RPAREN) {
		const char *s = p->l.text + p->cur.pos;

		if (p->cur.type == T_EOF || !pq_label_name_valid(s, p->cur.len)) {
			pq_unexpected(&p->l, &p->cur, "grouping opts", "label");
			return false;
		}
		if (out->n == LT_ARRAY_LEN(sym)) {
			pq_lex_fail(&p->l, p->cur.pos, "more than %zu labels", LT_ARRAY_LEN(sym));
			return false;
		}
		sym[out->n++] = pq_sym(p->e, s, p->cur.len);
		next(p);
		if (p->cur.type != T_RPAREN && !accept(p, T_COMMA)) {
			pq_unexpected(&p->l, &p->cur, "grouping opts", "\",\" or \")\"");
			return false;
		}
	}
	next(p);
	out->sym = lt_arena_dup(&p->e->arena, sym, (out->n + 1) * sizeof(*sym));
	return true;
}

static bool duration(struct parser *p, const char *context, const char *expected, int64_t *ms)
{
	const char *s = p->l.text + p->cur.pos;

	if (p->cur.type != T_DURATION) {
		pq_unexpected(&p->l, &p->cur, context, expected);
		return false;
	}
	if (!lt_promql_parse_duration(s, p->cur.len, ms)) {
		pq_lex_fail(&p->l, p->cur.pos, "not a valid duration string: \"%.*s\"",
			(int)(p->cur.len < 60 ? p->cur.len : 60), s);
		return false;
	}
	if (*ms == 0) {
		pq_lex_fail(&p->l, p->cur.pos, "duration must be greater than 0");
		return false;
	}
	next(p);
	return true;
}

/* ---- what may follow an operand: ranges, offset, @ ---- */

static struct pq_node *brackets(struct parser *p, struct pq_node *n)
{
	uint32_t pos = p->cur.pos;
	int64_t range, step = 0;
	struct pq_node *sub;

	next(p);
	if (!duration(p, "subquery selector", "duration", &range))
		return NULL;
	if (p->cur.type == T_RBRACKET) {
		const char *why = NULL;

		if (n->kind != N_SELECTOR || n->sel.range_ms)
			why = "ranges only allowed for vector selectors";
		else if (n->sel.when.has_offset)
			why = "no offset modifiers allowed before range";
		else if (n->sel.when.at)
			why = "no @ modifiers allowed before range";
		if (why) {
			pq_lex_fail(&p->l, pos, "%s", why);
			return NULL;
		}
		next(p);
		n->sel.range_ms = range;
		return n;
	}
	if (p->cur.type != T_COLON) {
		pq_unexpected(&p->l, &p->cur, "subquery or range", "\":\" or \"]\"");
		return NULL;
	}
	next(p);
	if (p->cur.type != T_RBRACKET &&
		!duration(p, "subquery selector", "duration or \"]\"", &step))
		return NULL;
	if (!accept(p, T_RBRACKET)) {
		pq_unexpected(&p->l, &p->cur, "subquery selector", "\"]\"");
		return NULL;
	}
	sub = node_new(p, N_SUBQUERY, n->pos);
	sub->subq.expr = n;
	sub->subq.range_ms = range;
	sub->subq.step_ms = step;
	return sub;
}

static struct pq_when *when(struct parser *p, struct pq_node *n, const char *modifier)
{
	if (n->kind == N_SELECTOR)
		return &n->sel.when;
	if (n->kind == N_SUBQUERY)
		return &n->subq.when;
	pq_lex_fail(&p->l, n->pos,
		"%s modifier must be preceded by an instant vector selector or range vector "
		"selector "
		"or a subquery",
		modifier);
	return NULL;
}

static bool offset(struct parser *p, struct pq_node *n)
{
	struct pq_when *w;
	int64_t ms;
	bool minus;

	next(p);
	minus = accept(p, T_SUB);
	if (!duration(p, "offset", "duration", &ms))
		return false;
	w = when(p, n, "offset");
	if (!w)
		return false;
	if (w->has_offset) {
		pq_lex_fail(&p->l, n->pos, "offset may not be set multiple times");
		return false;
	}
	w->has_offset = true;
	w->offset_ms = minus ? -ms : ms;
	return true;
}

static bool number_token(struct parser *p, double *v)
{
	const char *s = p->l.text + p->cur.pos;

	if (!pq_parse_number(s, p->cur.len, v)) {
		pq_lex_fail(&p->l, p->cur.pos, "error parsing number: \"%.*s\"",
			(int)(p->cur.len < 60 ? p->cur.len : 60), s);
		return false;
	}
	next(p);
	return true;
}

static bool at_modifier(struct parser *p, struct pq_node *n)
{
	struct pq_when *w, new = {0};
	double v = 0;

	next(p);
	if (p->cur.type == T_START || p->cur.type == T_END) {
		new.at = p->cur.type == T_START ? AT_START : AT_END;
		next(p);
		if (!accept(p, T_LPAREN) || !accept(p, T_RPAREN)) {
			pq_unexpected(&p->l, &p->cur, "@", "\"()\"");
			return false;
		}
	} else {
		bool minus = p->cur.type == T_SUB;

		if (p->cur.type == T_SUB || p->cur.type == T_ADD)
			next(p);
		if (p->cur.type != T_NUMBER) {
			pq_unexpected(&p->l, &p->cur, "@", "timestamp");
			return false;
		}
		if (!number_token(p, &v))
			return false;
		v = minus ? -v : v;
		/* Also the milliseconds must fit, with room for offsets and ranges. */
		if (!(fabs(v) < 9e15)) {
			pq_lex_fail(&p->l, n->pos, "timestamp out of bounds for @ modifier: %f", v);
			return false;
		}
		new.at = AT_TIME;
		new.at_ms = (int64_t)round(v * 1000);
	}
	w = when(p, n, "@");
	if (!w)
		return false;
	if (w->at) {
		pq_lex_fail(&p->l, n->pos, "@ <timestamp> may not be set multiple times");
		return false;
	}
	w->at = new.at;
	w->at_ms = new.at_ms;
	return true;
}

static struct pq_node *postfix(struct parser *p, struct pq_node *n)
{
	while (n) {
		if (p->cur.type == T_LBRACKET)
			n = brackets(p, n);
		else if (p->cur.type == T_OFFSET)
			n = offset(p, n) ? n : NULL;
		else if (p->cur.type == T_AT)
			n = at_modifier(p, n) ? n : NULL;
		else
			break;
	}
	return n;
}

/* ---- operands ---- */

static bool arguments(struct parser *p, struct pq_node ***args, uint32_t *n)
{
	struct pq_node *a[256];

	*n = 0;
	next(p);
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

			next(p);
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
	next(p);
	*args = lt_arena_dup(&p->e->arena, a, (*n + 1) * sizeof(struct pq_node *));
	return true;
}

static bool aggregate_modifier(struct parser *p, struct pq_node *n)
{
	if (p->cur.type != T_BY && p->cur.type != T_WITHOUT)
		return true;
	n->aggr.without = p->cur.type == T_WITHOUT;
	next(p);
	return grouping(p, &n->aggr.by);
}

static struct pq_node *aggregate(struct parser *p)
{
	struct pq_node *n = node_new(p, N_AGGR, p->cur.pos), **args;
	bool modifier;
	uint32_t n_args, want;

	n->aggr.op = p->cur.type;
	next(p);
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

static struct pq_node *call(struct parser *p, struct pq_token name)
{
	struct pq_node *n = node_new(p, N_CALL, name.pos);
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

static struct pq_node *operand(struct parser *p)
{
	struct pq_token t = p->cur;
	struct pq_lexer look;
	struct pq_token after;
	struct pq_node *n;

	switch (t.type) {
	case T_NUMBER:
		n = node_new(p, N_NUMBER, t.pos);
		return number_token(p, &n->number) ? n : NULL;
	case T_STRING:
		n = node_new(p, N_STRING, t.pos);
		n->str.s = pq_unquote(&p->l, &t, &p->e->arena, &n->str.n);
		if (!n->str.s)
			return NULL;
		next(p);
		return n;
	case T_LPAREN:
		n = node_new(p, N_PAREN, t.pos);
		next(p);
		n->paren.expr = expression(p, 0);
		if (!n->paren.expr)
			return NULL;
		if (!accept(p, T_RPAREN)) {
			pq_unexpected(&p->l, &p->cur, NULL, NULL);
			return NULL;
		}
		return n;
	case T_LBRACE:
	case T_METRIC:
		return selector(p);
	default:
		break;
	}
	/* Identifiers, and keywords that may be metric names. */
	if (t.type != T_IDENT && !PQ_IS_SET(t.type) && !PQ_IS_AGGR(t.type) && t.type != T_BY &&
		t.type != T_WITHOUT && t.type != T_OFFSET && t.type != T_START && t.type != T_END) {
		if (t.type == T_EOF && t.pos >= p->l.len && p->e->n_nodes == 0)
			pq_lex_fail(&p->l, 0, "no expression found in input");
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
		next(p);
		return call(p, t);
	}
	if (PQ_IS_AGGR(t.type) && (after.type == T_IDENT || after.type == T_NUMBER)) {
		pq_unexpected(&p->l, &after, "aggregation", NULL);
		return NULL;
	}
	return selector(p);
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

static struct pq_node *unary(struct parser *p)
{
	struct pq_token t = p->cur;
	struct pq_node *expr, *n;

	next(p);
	expr = expression(p, precedence(T_MUL) + 1);
	if (!expr)
		return NULL;
	if (expr->kind == N_NUMBER) {
		if (t.type == T_SUB)
			expr->number = -expr->number;
		expr->pos = t.pos;
		return expr;
	}
	n = node_new(p, N_UNARY, t.pos);
	n->unary.op = t.type;
	n->unary.expr = expr;
	return n;
}

static bool binary_modifiers(struct parser *p, struct pq_node *n)
{
	n->bin.return_bool = accept(p, T_BOOL);
	if (p->cur.type != T_ON && p->cur.type != T_IGNORING)
		return true;
	n->bin.on = p->cur.type == T_ON;
	n->bin.has_match = true;
	next(p);
	if (!grouping(p, &n->bin.match))
		return false;
	if (p->cur.type != T_GROUP_LEFT && p->cur.type != T_GROUP_RIGHT)
		return true;
	n->bin.card = p->cur.type == T_GROUP_LEFT ? CARD_MANY_TO_ONE : CARD_ONE_TO_MANY;
	next(p);
	return p->cur.type != T_LPAREN || grouping(p, &n->bin.include);
}

static struct pq_node *expression(struct parser *p, int level)
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
		l = postfix(p, operand(p));
	while (l && PQ_IS_OP(p->cur.type) && precedence(p->cur.type) >= level) {
		enum pq_tok op = p->cur.type;

		n = node_new(p, N_BINARY, l->pos);
		n->bin.op = op;
		n->bin.op_pos = p->cur.pos;
		n->bin.l = l;
		next(p);
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
	struct parser p = {.e = e};
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
		next(&p);
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

/* ---- metrics in text form ---- */

int lt_promql_parse_metric(struct lt_label_pool *pool, const char *text, size_t len,
	const struct lt_labels **out, struct lt_promql_pos *at, struct lt_err *err)
{
	struct lt_promql_expr e = {.pool = pool};
	struct parser p = {.e = &e};
	const struct lt_matcher *m;
	struct pq_node *n = NULL;
	const struct lt_labels *l;
	struct lt_label_text labels[MATCHERS_MAX + 1];

	*out = NULL;
	lt_promql_limits_defaults(&e.limits);
	e.text = lt_strndup(text, len);
	p.l.text = e.text;
	p.l.len = (uint32_t)len;
	if (len > e.limits.max_text_bytes)
		pq_lex_fail(&p.l, 0, "%zu bytes, %u are allowed", len, e.limits.max_text_bytes);
	next(&p);
	if (p.cur.type != T_EOF && p.cur.type != T_NUMBER && p.cur.type != T_STRING &&
		p.cur.type != T_LPAREN && (p.cur.type >= T_IDENT || p.cur.type == T_LBRACE))
		n = selector(&p);
	if (!n || p.cur.type != T_EOF)
		pq_unexpected(&p.l, &p.cur, NULL, NULL);
	if (!p.l.failed) {
		m = n->sel.pub->matchers;
		for (uint32_t i = 0; i < n->sel.pub->n_matchers; i++) {
			if (m[i].op != LT_MATCH_EQ)
				pq_lex_fail(&p.l, n->pos, "a series has labels with \"=\" only");
			labels[i].name = lt_sym_text(pool, m[i].name, NULL);
			labels[i].name_len = (uint32_t)strlen(labels[i].name);
			labels[i].value = m[i].text;
			labels[i].value_len = (uint32_t)m[i].text_len;
		}
	}
	if (!p.l.failed) {
		l = lt_labels_intern(pool, labels, n->sel.pub->n_matchers);
		*out = l;
	} else {
		pq_report(&p.l, at, err);
	}
	for (size_t i = 0; i < e.n_sel; i++)
		for (uint32_t k = 0; k < e.sel[i]->n_matchers; k++)
			pq_regex_free(e.sel[i]->matchers[k].regex);
	for (size_t i = 0; i < e.n_syms; i++)
		lt_sym_put(pool, e.syms[i]);
	free(e.syms);
	free(e.sel);
	free(e.nodes);
	free(e.text);
	lt_arena_fini(&e.arena);
	return *out ? LT_OK : LT_EINVAL;
}
