/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>

#include "fn.h"

/* Functions of range vectors: the samples of one series in a window to a value. */

/* Kahan's summation as improved by Neumaier; the sum is *sum + *c. */
static void kahan(double inc, double *sum, double *c)
{
	double t = *sum + inc;

	if (fabs(*sum) >= fabs(inc))
		*c += (*sum - t) + inc;
	else
		*c += (inc - t) + *sum;
	*sum = t;
}

/* ---- counters and gauges ---- */

/*
 * The difference over the window, extrapolated to its ends where samples are near enough to them to
 * expect that the series went on, and half a sample's distance otherwise.
 */
static int extrapolate(const struct pq_window *w, bool counter, bool rate, double *out)
{
	const struct lt_point *first = &w->p[0], *last = &w->p[w->n - 1];
	double value, to_start, to_end, sampled, average, threshold, interval, factor;

	if (w->n < 2)
		return 0;
	value = last->v - first->v;
	for (size_t i = 1; counter && i < w->n; i++)
		if (w->p[i].v < w->p[i - 1].v)
			value += w->p[i - 1].v;
	to_start = (double)(first->t_ms - w->start_ms) / 1000;
	to_end = (double)(w->end_ms - last->t_ms) / 1000;
	sampled = (double)(last->t_ms - first->t_ms) / 1000;
	average = sampled / (double)(w->n - 1);
	if (counter && value > 0 && first->v >= 0) {
		/* A counter was not below zero before. */
		double to_zero = sampled * (first->v / value);

		if (to_zero < to_start)
			to_start = to_zero;
	}
	threshold = average * 1.1;
	interval = sampled;
	interval += to_start < threshold ? to_start : average / 2;
	interval += to_end < threshold ? to_end : average / 2;
	factor = interval / sampled;
	if (rate)
		factor /= w->range_s;
	*out = value * factor;
	return 1;
}

int pq_fn_rate(const struct pq_window *w, double *out)
{
	return extrapolate(w, true, true, out);
}

int pq_fn_increase(const struct pq_window *w, double *out)
{
	return extrapolate(w, true, false, out);
}

int pq_fn_delta(const struct pq_window *w, double *out)
{
	return extrapolate(w, false, false, out);
}

static int last_two(const struct pq_window *w, bool rate, double *out)
{
	const struct lt_point *last, *prev;
	int64_t ms;

	if (w->n < 2)
		return 0;
	last = &w->p[w->n - 1];
	prev = last - 1;
	ms = last->t_ms - prev->t_ms;
	if (ms == 0)
		return 0;
	*out = rate && last->v < prev->v ? last->v : last->v - prev->v;
	if (rate)
		*out /= (double)ms / 1000;
	return 1;
}

int pq_fn_irate(const struct pq_window *w, double *out)
{
	return last_two(w, true, out);
}

int pq_fn_idelta(const struct pq_window *w, double *out)
{
	return last_two(w, false, out);
}

int pq_fn_changes(const struct pq_window *w, double *out)
{
	size_t changes = 0;

	for (size_t i = 1; i < w->n; i++)
		changes +=
			w->p[i].v != w->p[i - 1].v && !(isnan(w->p[i].v) && isnan(w->p[i - 1].v));
	*out = (double)changes;
	return 1;
}

int pq_fn_resets(const struct pq_window *w, double *out)
{
	size_t resets = 0;

	for (size_t i = 1; i < w->n; i++)
		resets += w->p[i].v < w->p[i - 1].v;
	*out = (double)resets;
	return 1;
}

/* ---- trends ---- */

/* Least squares; times relative to @at_ms. */
static void regression(const struct pq_window *w, int64_t at_ms, double *slope, double *intercept)
{
	double n = (double)w->n, x_sum = 0, x_c = 0, y_sum = 0, y_c = 0;
	double xy_sum = 0, xy_c = 0, xx_sum = 0, xx_c = 0, cov, var;
	bool constant = true;

	for (size_t i = 0; i < w->n; i++) {
		double x = (double)(w->p[i].t_ms - at_ms) / 1e3, y = w->p[i].v;

		if (i && y != w->p[0].v)
			constant = false;
		kahan(x, &x_sum, &x_c);
		kahan(y, &y_sum, &y_c);
		kahan(x * y, &xy_sum, &xy_c);
		kahan(x * x, &xx_sum, &xx_c);
	}
	if (constant) {
		*slope = isinf(w->p[0].v) ? NAN : 0;
		*intercept = isinf(w->p[0].v) ? NAN : w->p[0].v;
		return;
	}
	x_sum += x_c;
	y_sum += y_c;
	xy_sum += xy_c;
	xx_sum += xx_c;
	cov = xy_sum - x_sum * y_sum / n;
	var = xx_sum - x_sum * x_sum / n;
	*slope = cov / var;
	*intercept = y_sum / n - *slope * x_sum / n;
}

int pq_fn_deriv(const struct pq_window *w, double *out)
{
	double intercept;

	if (w->n < 2)
		return 0;
	regression(w, w->p[0].t_ms, out, &intercept);
	return 1;
}

int pq_fn_predict_linear(const struct pq_window *w, double *out)
{
	double slope, intercept;

	if (w->n < 2)
		return 0;
	regression(w, w->t_ms, &slope, &intercept);
	*out = slope * w->param[0] + intercept;
	return 1;
}

/* Double exponential smoothing. */
int pq_fn_holt_winters(const struct pq_window *w, double *out)
{
	double sf = w->param[0], tf = w->param[1], prev = 0, smooth, trend;
	bool smoothing = !(sf <= 0 || sf >= 1);

	if (!smoothing || tf <= 0 || tf >= 1)
		return lt_fail(w->err, LT_EINVAL, LT_CLS_POISON, "promql.eval",
			"invalid %s factor. Expected: 0 < %s < 1, got: %f",
			smoothing ? "trend" : "smoothing", smoothing ? "tf" : "sf",
			smoothing ? tf : sf);
	if (w->n < 2)
		return 0;
	smooth = w->p[0].v;
	trend = w->p[1].v - w->p[0].v;
	for (size_t i = 1; i < w->n; i++) {
		double x = sf * w->p[i].v, y;

		if (i > 1) {
			double change = tf * (smooth - prev), old = (1 - tf) * trend;

			trend = change + old;
		}
		y = (1 - sf) * (smooth + trend);
		prev = smooth;
		smooth = x + y;
	}
	*out = smooth;
	return 1;
}

/* ---- ..._over_time ---- */

int pq_fn_avg_over_time(const struct pq_window *w, double *out)
{
	double mean = 0, c = 0, count = 0;

	for (size_t i = 0; i < w->n; i++) {
		double v = w->p[i].v;

		count++;
		if (isinf(mean)) {
			/* An infinity stays: what follows would make NaN of it. */
			if (isinf(v) && (mean > 0) == (v > 0))
				continue;
			if (!isinf(v) && !isnan(v))
				continue;
		}
		kahan(v / count - mean / count, &mean, &c);
	}
	*out = isinf(mean) ? mean : mean + c;
	return 1;
}

int pq_fn_sum_over_time(const struct pq_window *w, double *out)
{
	double sum = 0, c = 0;

	for (size_t i = 0; i < w->n; i++)
		kahan(w->p[i].v, &sum, &c);
	*out = isinf(sum) ? sum : sum + c;
	return 1;
}

int pq_fn_min_over_time(const struct pq_window *w, double *out)
{
	double v = w->p[0].v;

	for (size_t i = 0; i < w->n; i++)
		if (w->p[i].v < v || isnan(v))
			v = w->p[i].v;
	*out = v;
	return 1;
}

int pq_fn_max_over_time(const struct pq_window *w, double *out)
{
	double v = w->p[0].v;

	for (size_t i = 0; i < w->n; i++)
		if (w->p[i].v > v || isnan(v))
			v = w->p[i].v;
	*out = v;
	return 1;
}

int pq_fn_count_over_time(const struct pq_window *w, double *out)
{
	*out = (double)w->n;
	return 1;
}

int pq_fn_last_over_time(const struct pq_window *w, double *out)
{
	*out = w->p[w->n - 1].v;
	return 1;
}

int pq_fn_present_over_time(const struct pq_window *w, double *out)
{
	*out = w->n > 0;
	return 1;
}

int pq_fn_quantile_over_time(const struct pq_window *w, double *out)
{
	double *v = lt_malloc(w->n * sizeof(*v));

	for (size_t i = 0; i < w->n; i++)
		v[i] = w->p[i].v;
	*out = pq_quantile(w->param[0], v, w->n);
	free(v);
	return 1;
}

int pq_fn_stdvar_over_time(const struct pq_window *w, double *out)
{
	double mean = 0, mean_c = 0, aux = 0, aux_c = 0, count = 0;

	for (size_t i = 0; i < w->n; i++) {
		double delta = w->p[i].v - (mean + mean_c);

		count++;
		kahan(delta / count, &mean, &mean_c);
		kahan(delta * (w->p[i].v - (mean + mean_c)), &aux, &aux_c);
	}
	*out = (aux + aux_c) / count;
	return 1;
}

int pq_fn_stddev_over_time(const struct pq_window *w, double *out)
{
	pq_fn_stdvar_over_time(w, out);
	*out = sqrt(*out);
	return 1;
}
