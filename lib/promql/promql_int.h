/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_PROMQL_INT_H
#define LATIDO_PROMQL_INT_H

#include "latido/promql.h"

/** pq_quote() - append @s as a Go string literal (strconv.Quote). */
void pq_quote(struct lt_buf *out, const char *s, size_t n);

#endif
