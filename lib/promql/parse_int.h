/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_PROMQL_PARSE_INT_H
#define LATIDO_PROMQL_PARSE_INT_H

#include "promql_int.h"

/* What the files of the parser share. Functions fail once; the lexer keeps the reason. */

struct pq_parser {
	struct lt_promql_expr *e;
	struct pq_lexer l;
	struct pq_token cur;
	uint32_t depth;
};

void pq_next(struct pq_parser *p);
bool pq_accept(struct pq_parser *p, enum pq_tok t);
struct pq_node *pq_node_new(struct pq_parser *p, enum pq_kind kind, uint32_t pos);
/** pq_selector() - a metric name, matchers in braces, or both; NULL after a failure. */
struct pq_node *pq_selector(struct pq_parser *p);
/** pq_grouping() - label names in parentheses. */
bool pq_grouping(struct pq_parser *p, struct pq_list *out);
bool pq_number_token(struct pq_parser *p, double *v);
/** pq_postfix() - ranges, subqueries, offset and @ behind @n; NULL after a failure. */
struct pq_node *pq_postfix(struct pq_parser *p, struct pq_node *n);

#endif
