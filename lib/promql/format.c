/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "promql_int.h"

static void labels(
	const struct lt_promql_expr *e, const struct pq_list *l, uint32_t n, struct lt_buf *out)
{
	lt_buf_char(out, '(');
	for (uint32_t i = 0; i < n; i++)
		lt_buf_printf(out, "%s%s", i ? ", " : "", lt_sym_text(e->pool, l->sym[i], NULL));
	lt_buf_char(out, ')');
}

static void when(const struct pq_when *w, struct lt_buf *out)
{
	if (w->at == AT_TIME)
		lt_buf_printf(out, " @ %s%lld.%03lld", w->at_ms < 0 ? "-" : "",
			llabs((long long)w->at_ms) / 1000, llabs((long long)w->at_ms) % 1000);
	else if (w->at)
		lt_buf_str(out, w->at == AT_START ? " @ start()" : " @ end()");
	if (w->has_offset) {
		lt_buf_str(out, " offset ");
		lt_promql_format_duration(out, w->offset_ms);
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void selector(const struct lt_promql_expr *e, const struct pq_node *n, struct lt_buf *out)
{
	static const char *const ops[] = {"=", "!=", "=~", "!~"};
	const struct lt_promql_selector *s = n->sel.pub;
	uint32_t count = s->n_matchers - (n->sel.name != NULL);
	char **texts = lt_calloc(count + 1, sizeof(char *));

	for (uint32_t i = 0; i < count; i++) {
		const struct lt_matcher *m = &s->matchers[i];
		struct lt_buf b = {0};

		lt_buf_printf(&b, "%s%s", lt_sym_text(e->pool, m->name, NULL), ops[m->op]);
		pq_quote(&b, m->text, m->text_len);
		texts[i] = b.data;
	}
	qsort(texts, count, sizeof(char *), by_text);
	if (n->sel.name)
		lt_buf_str(out, n->sel.name);
	for (uint32_t i = 0; i < count; i++) {
		lt_buf_printf(out, "%c%s", i ? ',' : '{', texts[i]);
		free(texts[i]);
	}
	if (count)
		lt_buf_char(out, '}');
	free(texts);
	if (n->sel.range_ms) {
		lt_buf_char(out, '[');
		lt_promql_format_duration(out, n->sel.range_ms);
		lt_buf_char(out, ']');
	}
	when(&n->sel.when, out);
}

static void format(const struct lt_promql_expr *e, const struct pq_node *n, struct lt_buf *out);

static void binary(const struct lt_promql_expr *e, const struct pq_node *n, struct lt_buf *out)
{
	format(e, n->bin.l, out);
	lt_buf_printf(out, " %s", pq_tok_name(n->bin.op));
	if (n->bin.return_bool)
		lt_buf_str(out, " bool");
	if (n->bin.has_match) {
		lt_buf_str(out, n->bin.on ? " on " : " ignoring ");
		labels(e, &n->bin.match, n->bin.match.n, out);
	}
	if (n->bin.card == CARD_MANY_TO_ONE || n->bin.card == CARD_ONE_TO_MANY) {
		lt_buf_str(out, n->bin.card == CARD_MANY_TO_ONE ? " group_left " : " group_right ");
		labels(e, &n->bin.include, n->bin.include.n, out);
	}
	lt_buf_char(out, ' ');
	format(e, n->bin.r, out);
}

static void format(const struct lt_promql_expr *e, const struct pq_node *n, struct lt_buf *out)
{
	uint32_t by;

	switch (n->kind) {
	case N_NUMBER:
		/* Not "+Inf": a plus sign in front would be read as an operator. */
		if (n->number == INFINITY)
			lt_buf_str(out, "Inf");
		else
			pq_float_g(out, n->number);
		break;
	case N_STRING:
		pq_quote(out, n->str.s, n->str.n);
		break;
	case N_SELECTOR:
		selector(e, n, out);
		break;
	case N_SUBQUERY:
		format(e, n->subq.expr, out);
		lt_buf_char(out, '[');
		lt_promql_format_duration(out, n->subq.range_ms);
		lt_buf_char(out, ':');
		if (n->subq.step_ms)
			lt_promql_format_duration(out, n->subq.step_ms);
		lt_buf_char(out, ']');
		when(&n->subq.when, out);
		break;
	case N_UNARY:
		lt_buf_str(out, pq_tok_name(n->unary.op));
		format(e, n->unary.expr, out);
		break;
	case N_PAREN:
		lt_buf_char(out, '(');
		format(e, n->paren.expr, out);
		lt_buf_char(out, ')');
		break;
	case N_BINARY:
		binary(e, n, out);
		break;
	case N_AGGR:
		lt_buf_str(out, pq_tok_name(n->aggr.op));
		/* The label of count_values was added at the end. */
		by = n->aggr.by.n - (n->aggr.op == T_COUNT_VALUES && !n->aggr.without);
		if (n->aggr.without || by) {
			lt_buf_str(out, n->aggr.without ? " without " : " by ");
			labels(e, &n->aggr.by, by, out);
			lt_buf_char(out, ' ');
		}
		lt_buf_char(out, '(');
		if (n->aggr.param) {
			format(e, n->aggr.param, out);
			lt_buf_str(out, ", ");
		}
		format(e, n->aggr.expr, out);
		lt_buf_char(out, ')');
		break;
	case N_CALL:
		lt_buf_printf(out, "%s(", n->call.fn->name);
		for (uint32_t i = 0; i < n->call.n_args; i++) {
			lt_buf_str(out, i ? ", " : "");
			format(e, n->call.args[i], out);
		}
		lt_buf_char(out, ')');
		break;
	}
}

void lt_promql_format(const struct lt_promql_expr *e, struct lt_buf *out)
{
	format(e, e->root, out);
}
