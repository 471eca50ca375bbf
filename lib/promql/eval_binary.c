/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "eval_int.h"

/* Operators between vectors, and between a vector and a scalar. */

double pq_binary(enum pq_tok op, double l, double r)
{
	switch (op) {
	case T_ADD:
		return l + r;
	case T_SUB:
		return l - r;
	case T_MUL:
		return l * r;
	case T_DIV:
		return l / r;
	case T_MOD:
		return fmod(l, r);
	case T_POW:
		return pow(l, r);
	case T_ATAN2:
		return atan2(l, r);
	case T_EQ:
		return l == r;
	case T_NE:
		return l != r;
	case T_LT:
		return l < r;
	case T_LE:
		return l <= r;
	case T_GT:
		return l > r;
	default:
		return l >= r;
	}
}

/* Does the result lose the metric name? */
static bool drops_name(const struct pq_node *n)
{
	return PQ_DROPS_NAME(n->bin.op) || n->bin.return_bool;
}

/* ---- vector and scalar ---- */

static int with_scalar(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	bool swap = n->bin.l->type == LT_PROMQL_SCALAR, cmp = PQ_IS_CMP(n->bin.op);
	struct pq_node *vec = swap ? n->bin.r : n->bin.l;
	enum pq_tok op = n->bin.op;
	bool drop = drops_name(n);
	size_t kept = 0;
	double scalar;
	int rc = pq_eval_scalar(ev, swap ? n->bin.l : n->bin.r, t_ms, &scalar);

	if (rc == LT_OK)
		rc = pq_eval_vector(ev, vec, t_ms, out);
	if (rc != LT_OK)
		return rc;
	for (size_t i = 0; i < out->n; i++) {
		struct lt_promql_sample s = out->s[i];
		double v = swap ? pq_binary(op, scalar, s.v) : pq_binary(op, s.v, scalar);

		/* A comparison filters, and the vector's value stays. */
		if (cmp && !n->bin.return_bool) {
			if (v == 0)
				continue;
			v = s.v;
		}
		if (drop)
			s.labels = pq_drop_name(ev, &n->bin.result, kept, s.labels);
		s.v = v;
		out->s[kept++] = s;
	}
	out->n = kept;
	if (!drop)
		return LT_OK;
	pq_cache_trim(ev, &n->bin.result, kept);
	return pq_dropped(ev, vec, out);
}

/* ---- vector and vector ---- */

/* What of its labels decides with which elements of the other side this one goes together. */
static const struct lt_labels *signature(struct pq_eval *ev, const struct pq_node *n,
	struct pq_cache *c, size_t i, const struct lt_labels *in)
{
	const struct pq_list *l = n->bin.on ? &n->bin.match : &n->bin.ignore;
	const struct lt_labels *out = pq_cache_get(c, i, in, NULL);

	return out ? out
		   : pq_cache_put(ev, c, i, in, NULL,
			     lt_labels_keep(ev->pool, in, l->sym, l->n, n->bin.on));
}

static void set_operator(struct pq_eval *ev, struct pq_node *n, const struct pq_vec *l,
	const struct pq_vec *r, struct pq_vec *out)
{
	bool is_or = n->bin.op == T_OR;
	const struct pq_vec *base = is_or ? l : r, *test = is_or ? r : l;
	struct pq_cache *base_sig = is_or ? &n->bin.lsig : &n->bin.rsig;
	struct pq_cache *test_sig = is_or ? &n->bin.rsig : &n->bin.lsig;
	bool keep_found = n->bin.op == T_AND, found;
	struct pq_map sigs;

	pq_map_new(ev->arena, &sigs, base->n);
	for (size_t i = 0; i < base->n; i++)
		pq_map_at(&sigs, signature(ev, n, base_sig, i, base->s[i].labels), &found);
	pq_vec_new(ev, out, l->n + (is_or ? r->n : 0));
	if (is_or) {
		if (l->n)
			memcpy(out->s, l->s, l->n * sizeof(*l->s));
		out->n = l->n;
	}
	for (size_t i = 0; i < test->n; i++) {
		const struct lt_labels *sig = signature(ev, n, test_sig, i, test->s[i].labels);

		if ((pq_map_find(&sigs, sig) != NULL) == keep_found)
			out->s[out->n++] = test->s[i];
	}
}

/* Labels of the result of @many's element and the one that it goes with. */
static const struct lt_labels *result_labels(struct pq_eval *ev, const struct pq_node *n,
	const struct lt_labels *many, const struct lt_labels *one)
{
	const struct lt_labels *l = lt_labels_get(many), *next;

	if (drops_name(n)) {
		next = lt_labels_without_name(ev->pool, l);
		lt_labels_put(ev->pool, l);
		l = next;
	}
	if (n->bin.card == CARD_ONE_TO_ONE) {
		next = lt_labels_keep(ev->pool, l, n->bin.match.sym, n->bin.match.n, n->bin.on);
		lt_labels_put(ev->pool, l);
		l = next;
	}
	for (uint32_t i = 0; i < n->bin.include.n; i++) {
		struct lt_label_text t;
		size_t len;

		t.name = lt_sym_text(ev->pool, n->bin.include.sym[i], &len);
		t.name_len = (uint32_t)len;
		t.value = lt_sym_text(
			ev->pool, lt_labels_value_sym(one, n->bin.include.sym[i]), &len);
		t.value_len = (uint32_t)len;
		next = lt_labels_with(ev->pool, l, &t, 1);
		lt_labels_put(ev->pool, l);
		l = next;
	}
	if (n->bin.return_bool) {
		next = lt_labels_without_name(ev->pool, l);
		lt_labels_put(ev->pool, l);
		l = next;
	}
	return l;
}

static int duplicate(struct pq_eval *ev, const struct pq_node *n, const struct lt_labels *a,
	const struct lt_labels *b)
{
	const struct pq_list *list = n->bin.on ? &n->bin.match : &n->bin.ignore;
	const struct lt_labels *group = lt_labels_keep(ev->pool, a, list->sym, list->n, n->bin.on);
	struct lt_buf text = {0};
	int rc;

	lt_buf_str(&text, "found duplicate series for the match group ");
	pq_labels_string(ev->pool, group, &text);
	lt_buf_printf(&text, " on the %s hand-side of the operation: [",
		n->bin.card == CARD_ONE_TO_MANY ? "left" : "right");
	pq_labels_string(ev->pool, a, &text);
	lt_buf_str(&text, ", ");
	pq_labels_string(ev->pool, b, &text);
	lt_buf_str(&text,
		"];many-to-many matching not allowed: matching labels must be unique on one side");
	rc = lt_fail(ev->err, LT_EINVAL, LT_CLS_POISON, "promql.eval", "%s", text.data);
	lt_buf_fini(&text);
	lt_labels_put(ev->pool, group);
	return rc;
}

static int multiple(struct pq_eval *ev, const struct pq_node *n)
{
	return lt_fail(ev->err, LT_EINVAL, LT_CLS_POISON, "promql.eval", "%s",
		n->bin.card == CARD_ONE_TO_ONE
			? "multiple matches for labels: many-to-one matching must be explicit "
			  "(group_left/group_right)"
			: "multiple matches for labels: grouping labels must ensure unique "
			  "matches");
}

static int between_vectors(struct pq_eval *ev, struct pq_node *n, const struct pq_vec *l,
	const struct pq_vec *r, struct pq_vec *out)
{
	bool swap = n->bin.card == CARD_ONE_TO_MANY, found;
	const struct pq_vec *many = swap ? r : l, *one = swap ? l : r;
	struct pq_cache *many_sig = swap ? &n->bin.rsig : &n->bin.lsig;
	struct pq_cache *one_sig = swap ? &n->bin.lsig : &n->bin.rsig;
	bool filter = PQ_IS_CMP(n->bin.op) && !n->bin.return_bool;
	struct pq_map sigs, results;
	bool *used;

	pq_map_new(ev->arena, &sigs, one->n);
	for (size_t i = 0; i < one->n; i++) {
		const struct lt_labels *sig = signature(ev, n, one_sig, i, one->s[i].labels);
		uint32_t *at = pq_map_at(&sigs, sig, &found);

		if (found)
			return duplicate(ev, n, one->s[i].labels, one->s[*at].labels);
		*at = (uint32_t)i;
	}
	used = lt_arena_alloc(ev->arena, one->n + 1);
	memset(used, 0, one->n);
	if (n->bin.card != CARD_ONE_TO_ONE)
		pq_map_new(ev->arena, &results, many->n);
	pq_vec_new(ev, out, many->n);
	for (size_t i = 0; i < many->n; i++) {
		const struct lt_promql_sample *m = &many->s[i];
		const uint32_t *at = pq_map_find(&sigs, signature(ev, n, many_sig, i, m->labels));
		const struct lt_promql_sample *o;
		const struct lt_labels *labels;
		double v;

		if (!at)
			continue;
		o = &one->s[*at];
		v = swap ? pq_binary(n->bin.op, o->v, m->v) : pq_binary(n->bin.op, m->v, o->v);
		if (filter) {
			if (v == 0)
				continue;
			v = swap ? o->v : m->v;
		}
		if (n->bin.card == CARD_ONE_TO_ONE && used[*at])
			return multiple(ev, n);
		used[*at] = true;
		labels = pq_cache_get(&n->bin.result, out->n, m->labels, o->labels);
		if (!labels)
			labels = pq_cache_put(ev, &n->bin.result, out->n, m->labels, o->labels,
				result_labels(ev, n, m->labels, o->labels));
		if (n->bin.card != CARD_ONE_TO_ONE) {
			uint32_t *group = pq_map_at(&results, labels, &found);

			/* Equal labels: of one group, or of two that lost what made them differ. */
			if (found)
				return *group == *at ? multiple(ev, n)
						     : lt_fail(ev->err, LT_EINVAL, LT_CLS_POISON,
							       "promql.eval",
							       "vector cannot contain metrics with "
							       "the same labelset");
			*group = *at;
		}
		out->s[out->n++] = (struct lt_promql_sample){labels, v};
	}
	pq_cache_trim(ev, &n->bin.result, out->n);
	/* One to one, results differ where signatures do, unless these differ by the name alone. */
	for (uint32_t i = 0; n->bin.on && i < n->bin.match.n; i++)
		if (n->bin.match.sym[i] == LT_SYM_NAME && n->bin.card == CARD_ONE_TO_ONE)
			return pq_unique(ev, out);
	return LT_OK;
}

int pq_eval_binary(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	struct pq_vec l, r;
	int rc;

	if (n->bin.l->type == LT_PROMQL_SCALAR || n->bin.r->type == LT_PROMQL_SCALAR)
		return with_scalar(ev, n, t_ms, out);
	rc = pq_eval_vector(ev, n->bin.l, t_ms, &l);
	if (rc == LT_OK)
		rc = pq_eval_vector(ev, n->bin.r, t_ms, &r);
	if (rc != LT_OK)
		return rc;
	out->s = NULL;
	out->n = 0;
	if (l.n == 0 || r.n == 0) {
		if (n->bin.op == T_OR)
			*out = l.n ? l : r;
		else if (n->bin.op == T_UNLESS)
			*out = l;
	} else if (PQ_IS_SET(n->bin.op)) {
		set_operator(ev, n, &l, &r, out);
	} else {
		rc = between_vectors(ev, n, &l, &r, out);
	}
	pq_cache_trim(ev, &n->bin.lsig, l.n);
	pq_cache_trim(ev, &n->bin.rsig, r.n);
	if (rc == LT_OK && n->bin.op == T_OR)
		rc = pq_unique(ev, out);
	return rc;
}
