/* SPDX-License-Identifier: MIT */
#include "promql_int.h"

/* Expressions that ask one thing of each sample: which samples change their answer is known at once. */

/* "number op selector" the other way round. */
static enum lt_promql_cmp mirrored(enum lt_promql_cmp cmp)
{
	switch (cmp) {
	case LT_CMP_LT:
		return LT_CMP_GT;
	case LT_CMP_LE:
		return LT_CMP_GE;
	case LT_CMP_GT:
		return LT_CMP_LT;
	case LT_CMP_GE:
		return LT_CMP_LE;
	default:
		return cmp;
	}
}

static bool is_plain(const struct pq_node *n)
{
	return n->kind == N_SELECTOR && !n->sel.range_ms && !n->sel.when.has_offset &&
	       n->sel.when.at == AT_NONE;
}

bool lt_promql_threshold(const struct lt_promql_expr *e, struct lt_promql_threshold *out)
{
	const struct pq_node *n = pq_strip(e->root), *sel, *number;

	if (n->kind != N_BINARY || !PQ_IS_CMP(n->bin.op) || n->bin.return_bool)
		return false;
	sel = pq_strip(n->bin.l);
	number = pq_strip(n->bin.r);
	out->cmp = (enum lt_promql_cmp)(n->bin.op - T_EQ);
	if (sel->is_const) {
		number = sel;
		sel = pq_strip(n->bin.r);
		out->cmp = mirrored(out->cmp);
	}
	if (!number->is_const || !is_plain(sel))
		return false;
	out->sel = sel->sel.pub;
	out->number = number->number;
	return true;
}

bool lt_promql_beyond(const struct lt_promql_threshold *t, double v)
{
	if (lt_promql_is_stale(v))
		return false;
	switch (t->cmp) {
	case LT_CMP_EQ:
		return v == t->number;
	case LT_CMP_NE:
		return v != t->number;
	case LT_CMP_LT:
		return v < t->number;
	case LT_CMP_LE:
		return v <= t->number;
	case LT_CMP_GT:
		return v > t->number;
	case LT_CMP_GE:
		return v >= t->number;
	}
	return false;
}
