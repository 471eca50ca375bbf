/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "promql_int.h"

/* The life of an expression behind its parsing. */

uint32_t pq_sym(struct lt_promql_expr *e, const char *s, size_t n)
{
	uint32_t sym = lt_sym_get(e->pool, s, n);

	if (sym == LT_SYM_NONE)
		return sym;
	if (e->n_syms == e->cap_syms) {
		e->cap_syms = e->cap_syms ? e->cap_syms * 2 : 16;
		e->syms = lt_realloc(e->syms, e->cap_syms * sizeof(*e->syms));
	}
	e->syms[e->n_syms++] = sym;
	return sym;
}

static void cache_fini(struct lt_label_pool *pool, struct pq_cache *c)
{
	for (size_t i = 0; i < c->n; i++) {
		lt_labels_put(pool, c->e[i].in);
		lt_labels_put(pool, c->e[i].in2);
		lt_labels_put(pool, c->e[i].out);
	}
	free(c->e);
	*c = (struct pq_cache){0};
}

static void node_fini(struct lt_label_pool *pool, struct pq_node *n)
{
	switch (n->kind) {
	case N_UNARY:
		cache_fini(pool, &n->unary.cache);
		break;
	case N_BINARY:
		cache_fini(pool, &n->bin.lsig);
		cache_fini(pool, &n->bin.rsig);
		cache_fini(pool, &n->bin.result);
		break;
	case N_AGGR:
		cache_fini(pool, &n->aggr.cache);
		break;
	case N_CALL:
		cache_fini(pool, &n->call.cache);
		pq_regex_free(n->call.regex);
		lt_labels_put(pool, n->call.absent);
		break;
	default:
		break;
	}
}

void lt_promql_free(struct lt_promql_expr *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n_nodes; i++)
		node_fini(e->pool, e->nodes[i]);
	for (size_t i = 0; i < e->n_sel; i++)
		for (uint32_t k = 0; k < e->sel[i]->n_matchers; k++)
			pq_regex_free(e->sel[i]->matchers[k].regex);
	for (size_t i = 0; i < e->n_syms; i++)
		lt_sym_put(e->pool, e->syms[i]);
	free(e->syms);
	free(e->sel);
	free(e->nodes);
	free(e->text);
	lt_arena_fini(&e->arena);
	free(e);
}

enum lt_promql_type lt_promql_expr_type(const struct lt_promql_expr *e)
{
	return e->root->type;
}

size_t lt_promql_selector_count(const struct lt_promql_expr *e)
{
	return e->n_sel;
}

const struct lt_promql_selector *lt_promql_selector(const struct lt_promql_expr *e, size_t i)
{
	return e->sel[i];
}
