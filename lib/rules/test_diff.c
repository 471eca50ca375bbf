/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "test_int.h"

/* What is expected and what is there, as a list of differences. */

static int cmp_pairs(
	const struct lt_rule_pair *a, size_t na, const struct lt_rule_pair *b, size_t nb)
{
	int c = 0;

	for (size_t i = 0; !c && i < na && i < nb; i++) {
		c = strcmp(a[i].name, b[i].name);
		if (!c)
			c = strcmp(a[i].value, b[i].value);
	}
	return c ? c : (na > nb) - (na < nb);
}

static int cmp_labels(const struct test_alert *a, const struct test_alert *b)
{
	return cmp_pairs(a->labels, a->n_labels, b->labels, b->n_labels);
}

static int cmp_alerts(const void *pa, const void *pb)
{
	const struct test_alert *a = pa, *b = pb;
	int c = cmp_labels(a, b);

	return c ? c
		 : cmp_pairs(a->annotations, a->n_annotations, b->annotations, b->n_annotations);
}

static void put_pairs(struct lt_buf *out, const struct lt_rule_pair *p, size_t n)
{
	lt_buf_char(out, '{');
	for (size_t i = 0; i < n; i++) {
		lt_buf_printf(out, "%s%s=", i ? ", " : "", p[i].name);
		gofmt_quote(out, p[i].value, strlen(p[i].value));
	}
	lt_buf_char(out, '}');
}

static void put_alert(struct lt_buf *out, char sign, const struct test_alert *a)
{
	lt_buf_printf(out, "      %c ", sign);
	put_pairs(out, a->labels, a->n_labels);
	if (a->n_annotations) {
		lt_buf_printf(out, "\n      %c     annotations ", sign);
		put_pairs(out, a->annotations, a->n_annotations);
	}
	lt_buf_char(out, '\n');
}

static const char *value_of(const struct test_alert *a, const char *name)
{
	for (size_t i = 0; i < a->n_annotations; i++) {
		if (!strcmp(a->annotations[i].name, name))
			return a->annotations[i].value;
	}
	return NULL;
}

static void put_annotation(struct lt_buf *out, char sign, const char *name, const char *value)
{
	if (!value)
		return;
	lt_buf_printf(out, "      %c     annotation %s: ", sign, name);
	gofmt_quote(out, value, strlen(value));
	lt_buf_char(out, '\n');
}

/* The same labels on both sides: only the annotations that differ. */
static void put_annotations(
	struct lt_buf *out, const struct test_alert *exp, const struct test_alert *got)
{
	lt_buf_str(out, "        ");
	put_pairs(out, exp->labels, exp->n_labels);
	lt_buf_char(out, '\n');
	for (size_t i = 0; i < exp->n_annotations; i++) {
		const char *name = exp->annotations[i].name, *value = value_of(got, name);

		if (value && !strcmp(value, exp->annotations[i].value))
			continue;
		put_annotation(out, '-', name, exp->annotations[i].value);
		put_annotation(out, '+', name, value);
	}
	for (size_t i = 0; i < got->n_annotations; i++) {
		if (!value_of(exp, got->annotations[i].name))
			put_annotation(
				out, '+', got->annotations[i].name, got->annotations[i].value);
	}
}

bool test_diff_alerts(struct lt_buf *out, struct test_alert *exp, size_t n_exp,
	struct test_alert *got, size_t n_got)
{
	size_t i = 0, j = 0;
	bool same = n_exp == n_got;

	if (n_exp)
		qsort(exp, n_exp, sizeof(*exp), cmp_alerts);
	if (n_got)
		qsort(got, n_got, sizeof(*got), cmp_alerts);
	for (; same && i < n_exp; i++)
		same = !cmp_alerts(&exp[i], &got[i]);
	if (same)
		return true;
	lt_buf_str(out, "      (- expected, + there)\n");
	for (i = 0; i < n_exp || j < n_got;) {
		int c = i == n_exp ? 1 : j == n_got ? -1 : cmp_labels(&exp[i], &got[j]);

		if (c < 0)
			put_alert(out, '-', &exp[i++]);
		else if (c > 0)
			put_alert(out, '+', &got[j++]);
		else if (cmp_alerts(&exp[i], &got[j]))
			put_annotations(out, &exp[i++], &got[j++]);
		else
			put_alert(out, ' ', &exp[i++]), j++;
	}
	return false;
}

/* ---- values of expressions ---- */

static int cmp_values(const void *pa, const void *pb, void *pool)
{
	const struct test_value *a = pa, *b = pb;

	return lt_labels_cmp(pool, a->labels, b->labels);
}

static void put_value(
	struct lt_buf *out, const struct lt_label_pool *pool, char sign, const struct test_value *v)
{
	lt_buf_printf(out, "      %c ", sign);
	lt_labels_format(pool, v->labels, out);
	lt_buf_char(out, ' ');
	gofmt_float(out, v->v, 'g', -1);
	lt_buf_char(out, '\n');
}

bool test_diff_values(struct lt_buf *out, const struct lt_label_pool *pool, struct test_value *exp,
	size_t n_exp, struct test_value *got, size_t n_got)
{
	size_t i = 0, j = 0;
	bool same = n_exp == n_got;

	if (n_exp)
		qsort_r(exp, n_exp, sizeof(*exp), cmp_values, (void *)(uintptr_t)pool);
	if (n_got)
		qsort_r(got, n_got, sizeof(*got), cmp_values, (void *)(uintptr_t)pool);
	/* as promtool: exactly equal, so a NaN never is */
	for (; same && i < n_exp; i++)
		same = exp[i].labels == got[i].labels && exp[i].v == got[i].v;
	if (same)
		return true;
	lt_buf_str(out, "      (- expected, + there)\n");
	for (i = 0; i < n_exp || j < n_got;) {
		int c = i == n_exp   ? 1
			: j == n_got ? -1
				     : lt_labels_cmp(pool, exp[i].labels, got[j].labels);

		if (!c && exp[i].v == got[j].v) {
			put_value(out, pool, ' ', &exp[i]);
			i++;
			j++;
			continue;
		}
		if (c <= 0)
			put_value(out, pool, '-', &exp[i++]);
		if (c >= 0)
			put_value(out, pool, '+', &got[j++]);
	}
	return false;
}
