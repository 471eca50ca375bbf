/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "promql_int.h"

int lt_matcher_match(const struct lt_matcher *m, const char *value, size_t len, struct lt_err *err)
{
	int rc;

	if (m->op == LT_MATCH_EQ || m->op == LT_MATCH_NE)
		return (len == m->text_len && memcmp(value, m->text, len) == 0) ==
		       (m->op == LT_MATCH_EQ);
	rc = pq_regex_match(m->regex, value, len, err);
	return rc < 0 ? rc : (rc > 0) == (m->op == LT_MATCH_RE);
}

int lt_promql_selector_match(const struct lt_label_pool *pool, const struct lt_promql_selector *s,
	const struct lt_labels *l, struct lt_err *err)
{
	/* Symbols first: they cost nothing. */
	for (uint32_t i = 0; i < s->n_matchers; i++) {
		const struct lt_matcher *m = &s->matchers[i];

		if (!m->regex &&
			(lt_labels_value_sym(l, m->name) == m->value) != (m->op == LT_MATCH_EQ))
			return 0;
	}
	for (uint32_t i = 0; i < s->n_matchers; i++) {
		const struct lt_matcher *m = &s->matchers[i];
		const char *text;
		size_t n;
		int rc;

		if (!m->regex)
			continue;
		text = lt_sym_text(pool, lt_labels_value_sym(l, m->name), &n);
		rc = lt_matcher_match(m, text, n, err);
		if (rc <= 0)
			return rc;
	}
	return 1;
}

static bool has(const struct lt_promql_selector *s, const struct lt_matcher *m)
{
	for (uint32_t i = 0; i < s->n_matchers; i++)
		if (s->matchers[i].op == m->op && s->matchers[i].name == m->name &&
			s->matchers[i].value == m->value)
			return true;
	return false;
}

bool lt_promql_selector_same(const struct lt_promql_selector *a, const struct lt_promql_selector *b)
{
	for (uint32_t i = 0; i < a->n_matchers; i++)
		if (!has(b, &a->matchers[i]))
			return false;
	for (uint32_t i = 0; i < b->n_matchers; i++)
		if (!has(a, &b->matchers[i]))
			return false;
	return true;
}
