/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>

#include "fn.h"

/* Functions of instant vectors. */

/* The vector argument @arg, to be changed in place by map_end(). */
static int map_begin(
	struct pq_eval *ev, struct pq_node *n, uint32_t arg, int64_t t_ms, struct pq_vec *out)
{
	return pq_eval_vector(ev, n->call.args[arg], t_ms, out);
}

/* Values were replaced: take the names away. */
static int map_end(struct pq_eval *ev, struct pq_node *n, struct pq_vec *out)
{
	for (size_t i = 0; i < out->n; i++)
		out->s[i].labels = pq_drop_name(ev, &n->call.cache, i, out->s[i].labels);
	pq_cache_trim(ev, &n->call.cache, out->n);
	return pq_dropped(ev, n->call.args[0], out);
}

int pq_fn_math(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	int rc = map_begin(ev, n, 0, t_ms, out);

	if (rc != LT_OK)
		return rc;
	for (size_t i = 0; i < out->n; i++)
		out->s[i].v = n->call.fn->math(out->s[i].v);
	return map_end(ev, n, out);
}

static void one(struct pq_eval *ev, const struct lt_labels *labels, double v, struct pq_vec *out)
{
	pq_vec_new(ev, out, 1);
	out->s[out->n++] = (struct lt_promql_sample){labels, v};
}

static void one_without_labels(struct pq_eval *ev, double v, struct pq_vec *out)
{
	one(ev, lt_labels_empty(ev->pool), v, out);
	pq_hold(ev, out->s[0].labels);
}

/* A float as seconds in an int64, as Go converts it on amd64. */
static int64_t to_seconds(double v)
{
	return v > -9223372036854775808.0 && v < 9223372036854775808.0 ? (int64_t)v : INT64_MIN;
}

int pq_fn_date(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	int rc;

	if (n->call.n_args == 0) {
		one_without_labels(ev, n->call.fn->date(t_ms / 1000), out);
		return LT_OK;
	}
	rc = map_begin(ev, n, 0, t_ms, out);
	if (rc != LT_OK)
		return rc;
	for (size_t i = 0; i < out->n; i++)
		out->s[i].v = n->call.fn->date(to_seconds(out->s[i].v));
	return map_end(ev, n, out);
}

int pq_fn_absent(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	int rc = pq_eval_vector(ev, n->call.args[0], t_ms, out);

	if (rc != LT_OK)
		return rc;
	if (out->n)
		out->n = 0;
	else
		one(ev, n->call.absent, 1, out);
	return LT_OK;
}

/* math.Max and math.Min of Go: an infinity wins over NaN. */
static double go_max(double a, double b)
{
	if (a == INFINITY || b == INFINITY)
		return INFINITY;
	if (isnan(a) || isnan(b))
		return NAN;
	if (a == 0 && a == b)
		return signbit(a) ? b : a;
	return a > b ? a : b;
}

static double go_min(double a, double b)
{
	if (a == -INFINITY || b == -INFINITY)
		return -INFINITY;
	if (isnan(a) || isnan(b))
		return NAN;
	if (a == 0 && a == b)
		return signbit(a) ? a : b;
	return a < b ? a : b;
}

static int clamp(
	struct pq_eval *ev, struct pq_node *n, int64_t t_ms, bool min, bool max, struct pq_vec *out)
{
	double lo = 0, hi = 0;
	int rc = map_begin(ev, n, 0, t_ms, out);

	if (rc == LT_OK && min)
		rc = pq_eval_scalar(ev, n->call.args[1], t_ms, &lo);
	if (rc == LT_OK && max)
		rc = pq_eval_scalar(ev, n->call.args[min ? 2 : 1], t_ms, &hi);
	if (rc != LT_OK)
		return rc;
	if (min && max && hi < lo) {
		out->n = 0;
		return LT_OK;
	}
	for (size_t i = 0; i < out->n; i++) {
		double v = out->s[i].v;

		v = max ? go_min(hi, v) : v;
		out->s[i].v = min ? go_max(lo, v) : v;
	}
	return map_end(ev, n, out);
}

int pq_fn_clamp(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	return clamp(ev, n, t_ms, true, true, out);
}

int pq_fn_clamp_min(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	return clamp(ev, n, t_ms, true, false, out);
}

int pq_fn_clamp_max(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	return clamp(ev, n, t_ms, false, true, out);
}

int pq_fn_round(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	double nearest = 1, inverse;
	int rc = map_begin(ev, n, 0, t_ms, out);

	if (rc == LT_OK && n->call.n_args > 1)
		rc = pq_eval_scalar(ev, n->call.args[1], t_ms, &nearest);
	if (rc != LT_OK)
		return rc;
	inverse = 1.0 / nearest;
	for (size_t i = 0; i < out->n; i++)
		out->s[i].v = floor(out->s[i].v * inverse + 0.5) / inverse;
	return map_end(ev, n, out);
}

int pq_ascending(const void *a, const void *b)
{
	double x = ((const struct lt_promql_sample *)a)->v;
	double y = ((const struct lt_promql_sample *)b)->v;

	if (isnan(x) || isnan(y))
		return !!isnan(x) - !!isnan(y);
	return (x > y) - (x < y);
}

int pq_descending(const void *a, const void *b)
{
	double x = ((const struct lt_promql_sample *)a)->v;
	double y = ((const struct lt_promql_sample *)b)->v;

	if (isnan(x) || isnan(y))
		return !!isnan(x) - !!isnan(y);
	return (x < y) - (x > y);
}

int pq_fn_sort(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	int rc = pq_eval_vector(ev, n->call.args[0], t_ms, out);

	if (rc == LT_OK && out->n)
		qsort(out->s, out->n, sizeof(*out->s), pq_ascending);
	return rc;
}

int pq_fn_sort_desc(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	int rc = pq_eval_vector(ev, n->call.args[0], t_ms, out);

	if (rc == LT_OK && out->n)
		qsort(out->s, out->n, sizeof(*out->s), pq_descending);
	return rc;
}

int pq_fn_vector(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	double v;
	int rc = pq_eval_scalar(ev, n->call.args[0], t_ms, &v);

	one_without_labels(ev, v, out);
	return rc;
}

int pq_fn_timestamp(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	struct pq_node *arg = pq_strip(n->call.args[0]);
	int rc;

	/* Only a selector's elements have times of their own. */
	if (arg->kind == N_SELECTOR) {
		rc = pq_eval_instant(ev, arg, t_ms, true, out);
	} else {
		rc = pq_eval_vector(ev, arg, t_ms, out);
		for (size_t i = 0; rc == LT_OK && i < out->n; i++)
			out->s[i].v = (double)t_ms / 1000;
	}
	return rc == LT_OK ? map_end(ev, n, out) : rc;
}

/* ---- labels ---- */

/* @in with the label that argument 1 names set to a text; empty: without it. */
static const struct lt_labels *with_label(struct pq_eval *ev, struct pq_node *n,
	const struct lt_labels *in, const struct lt_buf *value)
{
	const struct pq_node *dst = pq_strip(n->call.args[1]);
	struct lt_label_text t = {.name = dst->str.s,
		.name_len = (uint32_t)dst->str.n,
		.value = value->data,
		.value_len = (uint32_t)value->len};

	return lt_labels_with(ev->pool, in, &t, 1);
}

static int replaced(struct pq_eval *ev, struct pq_node *n, const struct lt_labels *in,
	const struct lt_labels **out)
{
	const struct pq_node *tmpl = pq_strip(n->call.args[2]), *src = pq_strip(n->call.args[3]);
	struct lt_buf value = {0};
	const char *text;
	size_t len;
	int rc;

	text = lt_labels_value(ev->pool, in, src->str.s);
	len = strlen(text);
	rc = pq_regex_expand(n->call.regex, text, len, tmpl->str.s, tmpl->str.n, &value, ev->err);
	if (rc >= 0)
		*out = rc ? with_label(ev, n, in, &value) : lt_labels_get(in);
	lt_buf_fini(&value);
	return rc < 0 ? rc : LT_OK;
}

static const struct lt_labels *joined(
	struct pq_eval *ev, struct pq_node *n, const struct lt_labels *in)
{
	const struct pq_node *sep = pq_strip(n->call.args[2]);
	struct lt_buf value = {0};
	const struct lt_labels *out;

	for (uint32_t i = 3; i < n->call.n_args; i++) {
		if (i > 3)
			lt_buf_add(&value, sep->str.s, sep->str.n);
		lt_buf_str(&value, lt_labels_value(ev->pool, in, pq_strip(n->call.args[i])->str.s));
	}
	out = with_label(ev, n, in, &value);
	lt_buf_fini(&value);
	return out;
}

static int relabel(
	struct pq_eval *ev, struct pq_node *n, int64_t t_ms, bool replace, struct pq_vec *out)
{
	int rc = pq_eval_vector(ev, n->call.args[0], t_ms, out);

	for (size_t i = 0; rc == LT_OK && i < out->n; i++) {
		const struct lt_labels *in = out->s[i].labels, *new;

		new = pq_cache_get(&n->call.cache, i, in, NULL);
		if (!new) {
			if (replace)
				rc = replaced(ev, n, in, &new);
			else
				new = joined(ev, n, in);
			if (rc != LT_OK)
				return rc;
			pq_cache_put(ev, &n->call.cache, i, in, NULL, new);
		}
		out->s[i].labels = new;
	}
	if (rc != LT_OK)
		return rc;
	pq_cache_trim(ev, &n->call.cache, out->n);
	return pq_unique(ev, out);
}

int pq_fn_label_replace(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	return relabel(ev, n, t_ms, true, out);
}

int pq_fn_label_join(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	return relabel(ev, n, t_ms, false, out);
}

/* ---- histograms ---- */

struct bucket {
	uint32_t histogram;
	double le, count;
};

static int by_histogram(const void *a, const void *b)
{
	const struct bucket *x = a, *y = b;

	if (x->histogram != y->histogram)
		return x->histogram < y->histogram ? -1 : 1;
	return pq_value_cmp(x->le, y->le);
}

/* Buckets of one histogram, by upper bound. */
static double bucket_quantile(double q, struct bucket *b, size_t n)
{
	double max, rank, start = 0, count;
	size_t kept = 0, lo = 0, hi;

	if (isnan(q))
		return NAN;
	if (q < 0)
		return -INFINITY;
	if (q > 1)
		return INFINITY;
	if (b[n - 1].le != INFINITY)
		return NAN;
	for (size_t i = 1; i < n; i++) {
		if (b[i].le == b[kept].le)
			b[kept].count += b[i].count;
		else
			b[++kept] = b[i];
	}
	n = kept + 1;
	/* Counts that fall are a result of scrapes at different times, or of rounding. */
	max = b[0].count;
	for (size_t i = 1; i < n; i++) {
		if (b[i].count > max)
			max = b[i].count;
		else if (b[i].count < max)
			b[i].count = max;
	}
	if (n < 2 || b[n - 1].count == 0)
		return NAN;
	rank = q * b[n - 1].count;
	for (hi = n - 1; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;

		if (b[mid].count >= rank)
			hi = mid;
		else
			lo = mid + 1;
	}
	if (lo == n - 1)
		return b[n - 2].le;
	if (lo == 0 && b[0].le <= 0)
		return b[0].le;
	count = b[lo].count;
	if (lo > 0) {
		start = b[lo - 1].le;
		count -= b[lo - 1].count;
		rank -= b[lo - 1].count;
	}
	return start + (b[lo].le - start) * (rank / count);
}

int pq_fn_histogram_quantile(
	struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out)
{
	const struct lt_labels **keys;
	size_t n_buckets = 0, n_keys = 0;
	struct bucket *b;
	struct pq_map map;
	struct pq_vec in;
	uint32_t le;
	double q;
	int rc = pq_eval_scalar(ev, n->call.args[0], t_ms, &q);

	if (rc == LT_OK)
		rc = pq_eval_vector(ev, n->call.args[1], t_ms, &in);
	if (rc != LT_OK)
		return rc;
	pq_map_new(ev->arena, &map, in.n);
	b = lt_arena_alloc(ev->arena, in.n * sizeof(*b) + 1);
	keys = lt_arena_alloc(ev->arena, in.n * sizeof(struct lt_labels *) + 1);
	le = lt_sym_get(ev->pool, "le", 2);
	for (size_t i = 0; i < in.n; i++) {
		const struct lt_labels *key;
		const char *text;
		bool found;
		uint32_t *at;
		size_t len;
		double bound;

		text = lt_sym_text(ev->pool, lt_labels_value_sym(in.s[i].labels, le), &len);
		if (!pq_parse_float(text, len, &bound))
			continue;
		key = pq_cache_get(&n->call.cache, i, in.s[i].labels, NULL);
		if (!key)
			key = pq_cache_put(ev, &n->call.cache, i, in.s[i].labels, NULL,
				lt_labels_keep(ev->pool, in.s[i].labels, &le, 1, false));
		at = pq_map_at(&map, key, &found);
		if (!found) {
			*at = (uint32_t)n_keys;
			keys[n_keys++] = key;
		}
		b[n_buckets++] = (struct bucket){*at, bound, in.s[i].v};
	}
	lt_sym_put(ev->pool, le);
	pq_cache_trim(ev, &n->call.cache, in.n);
	if (n_buckets)
		qsort(b, n_buckets, sizeof(*b), by_histogram);
	pq_vec_new(ev, out, n_keys);
	for (size_t i = 0, end; i < n_buckets; i = end) {
		const struct lt_labels *labels =
			lt_labels_without_name(ev->pool, keys[b[i].histogram]);

		for (end = i; end < n_buckets && b[end].histogram == b[i].histogram;)
			end++;
		pq_hold(ev, labels);
		out->s[out->n++] =
			(struct lt_promql_sample){labels, bucket_quantile(q, b + i, end - i)};
	}
	return pq_unique(ev, out);
}
