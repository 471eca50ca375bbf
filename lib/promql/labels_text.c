/* SPDX-License-Identifier: MIT */
#include "latido/labels.h"

#include <string.h>

#include "promql_int.h"

void lt_labels_format(const struct lt_label_pool *p, const struct lt_labels *l, struct lt_buf *out)
{
	uint32_t name = lt_labels_value_sym(l, LT_SYM_NAME);
	const char *sep = "";
	size_t n;

	if (name != LT_SYM_NONE)
		lt_buf_str(out, lt_sym_text(p, name, NULL));
	if (name != LT_SYM_NONE && l->n == 1)
		return;
	lt_buf_char(out, '{');
	for (size_t i = 0; i < l->n; i++) {
		const char *text;

		if (l->pair[i].name == LT_SYM_NAME)
			continue;
		lt_buf_str(out, sep);
		lt_buf_str(out, lt_sym_text(p, l->pair[i].name, NULL));
		lt_buf_char(out, '=');
		text = lt_sym_text(p, l->pair[i].value, &n);
		pq_quote(out, text, n);
		sep = ", ";
	}
	lt_buf_char(out, '}');
}
