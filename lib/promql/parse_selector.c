/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parse_int.h"

/* Selectors, lists of labels, and what may stand behind an operand. */

static const char *token_text(struct pq_parser *p)
{
	return lt_arena_str(&p->e->arena, p->l.text + p->cur.pos, p->cur.len);
}

/* ---- label matchers ---- */

static bool matcher(struct pq_parser *p, struct lt_matcher *m)
{
	const char *name = p->l.text + p->cur.pos;
	uint32_t name_len = p->cur.len, pos = p->cur.pos;
	char why[300];

	*m = (struct lt_matcher){0};
	if (p->cur.type != T_IDENT) {
		pq_unexpected(&p->l, &p->cur, "label matching", "identifier or \"}\"");
		return false;
	}
	pq_next(p);
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
	pq_next(p);
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
	pq_next(p);
	return true;
}

#define MATCHERS_MAX 64

struct pq_node *pq_selector(struct pq_parser *p)
{
	struct lt_promql_expr *e = p->e;
	struct pq_node *n = pq_node_new(p, N_SELECTOR, p->cur.pos);
	struct lt_promql_selector *s = lt_arena_alloc(&e->arena, sizeof(*s));
	struct lt_matcher m[MATCHERS_MAX + 1];
	uint32_t count = 0;
	bool ok = true;

	memset(s, 0, sizeof(*s));
	n->sel.pub = s;
	if (p->cur.type != T_LBRACE) {
		n->sel.name = token_text(p);
		pq_next(p);
	}
	if (p->cur.type == T_LBRACE) {
		pq_next(p);
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
			if (ok && p->cur.type != T_RBRACE && !pq_accept(p, T_COMMA)) {
				pq_unexpected(&p->l, &p->cur, "label matching", "\",\" or \"}\"");
				ok = false;
			}
		}
		if (ok)
			pq_next(p);
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

bool pq_grouping(struct pq_parser *p, struct pq_list *out)
{
	uint32_t sym[256];

	out->n = 0;
	if (!pq_accept(p, T_LPAREN)) {
		pq_unexpected(&p->l, &p->cur, "grouping opts", "\"(\"");
		return false;
	}
	while (p->cur.type != T_RPAREN) {
		const char *s = p->l.text + p->cur.pos;

		/* Inf and NaN are numbers outside of braces, not names. */
		if (p->cur.type == T_EOF || p->cur.type == T_NUMBER ||
			!pq_label_name_valid(s, p->cur.len)) {
			pq_unexpected(&p->l, &p->cur, "grouping opts", "label");
			return false;
		}
		if (out->n == LT_ARRAY_LEN(sym)) {
			pq_lex_fail(&p->l, p->cur.pos, "more than %zu labels", LT_ARRAY_LEN(sym));
			return false;
		}
		sym[out->n++] = pq_sym(p->e, s, p->cur.len);
		pq_next(p);
		if (p->cur.type != T_RPAREN && !pq_accept(p, T_COMMA)) {
			pq_unexpected(&p->l, &p->cur, "grouping opts", "\",\" or \")\"");
			return false;
		}
	}
	pq_next(p);
	out->sym = lt_arena_dup(&p->e->arena, sym, (out->n + 1) * sizeof(*sym));
	return true;
}

static bool duration(struct pq_parser *p, const char *context, const char *expected, int64_t *ms)
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
	pq_next(p);
	return true;
}

/* ---- what may follow an operand: ranges, offset, @ ---- */

static struct pq_node *brackets(struct pq_parser *p, struct pq_node *n)
{
	uint32_t pos = p->cur.pos;
	int64_t range, step = 0;
	struct pq_node *sub;

	pq_next(p);
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
		pq_next(p);
		n->sel.range_ms = range;
		return n;
	}
	if (p->cur.type != T_COLON) {
		pq_unexpected(&p->l, &p->cur, "subquery or range", "\":\" or \"]\"");
		return NULL;
	}
	pq_next(p);
	if (p->cur.type != T_RBRACKET &&
		!duration(p, "subquery selector", "duration or \"]\"", &step))
		return NULL;
	if (!pq_accept(p, T_RBRACKET)) {
		pq_unexpected(&p->l, &p->cur, "subquery selector", "\"]\"");
		return NULL;
	}
	sub = pq_node_new(p, N_SUBQUERY, n->pos);
	sub->subq.expr = n;
	sub->subq.range_ms = range;
	sub->subq.step_ms = step;
	return sub;
}

static struct pq_when *when(struct pq_parser *p, struct pq_node *n, const char *modifier)
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

static bool offset(struct pq_parser *p, struct pq_node *n)
{
	struct pq_when *w;
	int64_t ms;
	bool minus;

	pq_next(p);
	minus = pq_accept(p, T_SUB);
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

bool pq_number_token(struct pq_parser *p, double *v)
{
	const char *s = p->l.text + p->cur.pos;

	if (!pq_parse_number(s, p->cur.len, v)) {
		pq_lex_fail(&p->l, p->cur.pos, "error parsing number: \"%.*s\"",
			(int)(p->cur.len < 60 ? p->cur.len : 60), s);
		return false;
	}
	pq_next(p);
	return true;
}

static bool at_modifier(struct pq_parser *p, struct pq_node *n)
{
	struct pq_when *w, new = {0};
	double v = 0;

	pq_next(p);
	if (p->cur.type == T_START || p->cur.type == T_END) {
		new.at = p->cur.type == T_START ? AT_START : AT_END;
		pq_next(p);
		if (!pq_accept(p, T_LPAREN) || !pq_accept(p, T_RPAREN)) {
			pq_unexpected(&p->l, &p->cur, "@", "\"()\"");
			return false;
		}
	} else {
		bool minus = p->cur.type == T_SUB;

		if (p->cur.type == T_SUB || p->cur.type == T_ADD)
			pq_next(p);
		if (p->cur.type != T_NUMBER) {
			pq_unexpected(&p->l, &p->cur, "@", "timestamp");
			return false;
		}
		if (!pq_number_token(p, &v))
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

struct pq_node *pq_postfix(struct pq_parser *p, struct pq_node *n)
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

/* ---- metrics in text form ---- */

int lt_promql_parse_metric(struct lt_label_pool *pool, const char *text, size_t len,
	const struct lt_labels **out, struct lt_promql_pos *at, struct lt_err *err)
{
	struct lt_promql_expr e = {.pool = pool};
	struct pq_parser p = {.e = &e};
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
	pq_next(&p);
	if (p.cur.type != T_EOF && p.cur.type != T_NUMBER && p.cur.type != T_STRING &&
		p.cur.type != T_LPAREN && (p.cur.type >= T_IDENT || p.cur.type == T_LBRACE))
		n = pq_selector(&p);
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
