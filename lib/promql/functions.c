/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fn.h"

/* ---- numbers ---- */

/* The formulas of Go, so that the last digits agree. */
static double fn_log2(double v)
{
	int exp;
	double frac;

	if (!(v > 0) || isinf(v))
		return log2(v);
	frac = frexp(v, &exp);
	return frac == 0.5 ? (double)(exp - 1) : log(frac) * (1 / M_LN2) + (double)exp;
}

static double fn_log10(double v)
{
	return fn_log2(v) * (M_LN2 / M_LN10);
}

static double fn_rad(double v)
{
	return v * M_PI / 180;
}

static double fn_deg(double v)
{
	return v * 180 / M_PI;
}

static double fn_sgn(double v)
{
	return v < 0 ? -1 : v > 0 ? 1 : v;
}

/* ---- dates ---- */

struct date {
	uint64_t days; /* since a Monday, 1 January of a year that is 1 modulo 400 */
	uint64_t second;
	unsigned year_day; /* from 0 */
	unsigned month, day;
	int64_t year;
};

/*
 * The proleptic Gregorian calendar in 64 bits that wrap around, as Go's package time: also the times
 * of impossible values agree.
 */
static struct date date_of(int64_t unix_s)
{
	static const unsigned before[] = {
		0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
	/* From the first of January of the year -292277022399. */
	uint64_t abs_s = (uint64_t)unix_s + UINT64_C(9223371966579724800) + UINT64_C(62135596800);
	struct date d = {.days = abs_s / 86400, .second = abs_s % 86400};
	uint64_t rest = d.days, n, years;
	unsigned day;
	bool leap;

	n = rest / 146097;
	years = 400 * n;
	rest -= 146097 * n;
	n = rest / 36524;
	n -= n >> 2;
	years += 100 * n;
	rest -= 36524 * n;
	n = rest / 1461;
	years += 4 * n;
	rest -= 1461 * n;
	n = rest / 365;
	n -= n >> 2;
	years += n;
	rest -= 365 * n;
	d.year = (int64_t)(years + (uint64_t)INT64_C(-292277022399));
	d.year_day = (unsigned)rest;
	leap = d.year % 4 == 0 && (d.year % 100 != 0 || d.year % 400 == 0);
	day = d.year_day;
	if (leap && day >= 59) {
		if (day == 59) {
			d.month = 2;
			d.day = 29;
			return d;
		}
		day--;
	}
	d.month = day / 31 + 1;
	if (day >= before[d.month])
		d.month++;
	d.day = day - before[d.month - 1] + 1;
	return d;
}

static double fn_minute(int64_t s)
{
	uint64_t minute = date_of(s).second % 3600 / 60;

	return (double)minute;
}

static double fn_hour(int64_t s)
{
	uint64_t hour = date_of(s).second / 3600;

	return (double)hour;
}

static double fn_day_of_week(int64_t s)
{
	return (double)((date_of(s).days + 1) % 7);
}

static double fn_day_of_month(int64_t s)
{
	return date_of(s).day;
}

static double fn_day_of_year(int64_t s)
{
	return date_of(s).year_day + 1;
}

static double fn_days_in_month(int64_t s)
{
	static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	struct date d = date_of(s);
	bool leap = d.year % 4 == 0 && (d.year % 100 != 0 || d.year % 400 == 0);

	return days[d.month - 1] + (d.month == 2 && leap);
}

static double fn_month(int64_t s)
{
	return date_of(s).month;
}

static double fn_year(int64_t s)
{
	return (double)date_of(s).year;
}

/* ---- the table ---- */

#define S LT_PROMQL_SCALAR
#define T LT_PROMQL_STRING
#define V LT_PROMQL_VECTOR
#define M LT_PROMQL_MATRIX

#define MATH(NAME, FN)                                                            \
	{                                                                         \
		.name = (NAME), .n_args = 1, .args = {V}, .ret = V, .math = (FN), \
		.call = pq_fn_math                                                \
	}
#define DATE(NAME, FN)                                                                           \
	{                                                                                        \
		.name = (NAME), .n_args = 1, .variadic = 1, .args = {V}, .ret = V, .date = (FN), \
		.call = pq_fn_date                                                               \
	}
#define RANGE(NAME, FN)                                                            \
	{                                                                          \
		.name = (NAME), .n_args = 1, .args = {M}, .ret = V, .range = (FN), \
		.call = pq_eval_range_call                                         \
	}

/* By name. */
static const struct pq_func functions[] = {
	MATH("abs", fabs),
	{.name = "absent", .n_args = 1, .args = {V}, .ret = V, .call = pq_fn_absent},
	{.name = "absent_over_time",
		.n_args = 1,
		.args = {M},
		.ret = V,
		.keeps_name = true,
		.range = pq_fn_present_over_time,
		.call = pq_eval_range_call},
	MATH("acos", acos),
	MATH("acosh", acosh),
	MATH("asin", asin),
	MATH("asinh", asinh),
	MATH("atan", atan),
	MATH("atanh", atanh),
	RANGE("avg_over_time", pq_fn_avg_over_time),
	MATH("ceil", ceil),
	RANGE("changes", pq_fn_changes),
	{.name = "clamp", .n_args = 3, .args = {V, S, S}, .ret = V, .call = pq_fn_clamp},
	{.name = "clamp_max", .n_args = 2, .args = {V, S}, .ret = V, .call = pq_fn_clamp_max},
	{.name = "clamp_min", .n_args = 2, .args = {V, S}, .ret = V, .call = pq_fn_clamp_min},
	MATH("cos", cos),
	MATH("cosh", cosh),
	RANGE("count_over_time", pq_fn_count_over_time),
	DATE("day_of_month", fn_day_of_month),
	DATE("day_of_week", fn_day_of_week),
	DATE("day_of_year", fn_day_of_year),
	DATE("days_in_month", fn_days_in_month),
	MATH("deg", fn_deg),
	RANGE("delta", pq_fn_delta),
	RANGE("deriv", pq_fn_deriv),
	MATH("exp", exp),
	MATH("floor", floor),
	{.name = "histogram_quantile",
		.n_args = 2,
		.args = {S, V},
		.ret = V,
		.call = pq_fn_histogram_quantile},
	{.name = "holt_winters",
		.n_args = 3,
		.args = {M, S, S},
		.ret = V,
		.range = pq_fn_holt_winters,
		.call = pq_eval_range_call},
	DATE("hour", fn_hour),
	RANGE("idelta", pq_fn_idelta),
	RANGE("increase", pq_fn_increase),
	RANGE("irate", pq_fn_irate),
	{.name = "label_join",
		.n_args = 4,
		.variadic = -1,
		.args = {V, T, T, T},
		.ret = V,
		.keeps_name = true,
		.call = pq_fn_label_join},
	{.name = "label_replace",
		.n_args = 5,
		.args = {V, T, T, T, T},
		.ret = V,
		.keeps_name = true,
		.call = pq_fn_label_replace},
	{.name = "last_over_time",
		.n_args = 1,
		.args = {M},
		.ret = V,
		.keeps_name = true,
		.range = pq_fn_last_over_time,
		.call = pq_eval_range_call},
	MATH("ln", log),
	MATH("log10", fn_log10),
	MATH("log2", fn_log2),
	RANGE("max_over_time", pq_fn_max_over_time),
	RANGE("min_over_time", pq_fn_min_over_time),
	DATE("minute", fn_minute),
	DATE("month", fn_month),
	{.name = "pi", .ret = S},
	{.name = "predict_linear",
		.n_args = 2,
		.args = {M, S},
		.ret = V,
		.range = pq_fn_predict_linear,
		.call = pq_eval_range_call},
	RANGE("present_over_time", pq_fn_present_over_time),
	{.name = "quantile_over_time",
		.n_args = 2,
		.args = {S, M},
		.ret = V,
		.range = pq_fn_quantile_over_time,
		.call = pq_eval_range_call},
	MATH("rad", fn_rad),
	RANGE("rate", pq_fn_rate),
	RANGE("resets", pq_fn_resets),
	{.name = "round",
		.n_args = 2,
		.variadic = 1,
		.args = {V, S},
		.ret = V,
		.call = pq_fn_round},
	{.name = "scalar", .n_args = 1, .args = {V}, .ret = S},
	MATH("sgn", fn_sgn),
	MATH("sin", sin),
	MATH("sinh", sinh),
	{.name = "sort",
		.n_args = 1,
		.args = {V},
		.ret = V,
		.keeps_name = true,
		.call = pq_fn_sort},
	{.name = "sort_desc",
		.n_args = 1,
		.args = {V},
		.ret = V,
		.keeps_name = true,
		.call = pq_fn_sort_desc},
	MATH("sqrt", sqrt),
	RANGE("stddev_over_time", pq_fn_stddev_over_time),
	RANGE("stdvar_over_time", pq_fn_stdvar_over_time),
	RANGE("sum_over_time", pq_fn_sum_over_time),
	MATH("tan", tan),
	MATH("tanh", tanh),
	{.name = "time", .ret = S},
	{.name = "timestamp", .n_args = 1, .args = {V}, .ret = V, .call = pq_fn_timestamp},
	{.name = "vector", .n_args = 1, .args = {S}, .ret = V, .call = pq_fn_vector},
	DATE("year", fn_year),
};

struct key {
	const char *s;
	size_t n;
};

static int by_name(const void *key, const void *fn)
{
	const struct key *k = key;
	const char *name = ((const struct pq_func *)fn)->name;
	int c = strncmp(k->s, name, k->n);

	return c ? c : -(name[k->n] != '\0');
}

const struct pq_func *pq_func_find(const char *s, size_t n)
{
	struct key k = {s, n};

	return bsearch(&k, functions, LT_ARRAY_LEN(functions), sizeof(functions[0]), by_name);
}

const char *pq_func_refused(const char *s, size_t n)
{
	static const struct {
		const char *name, *why;
	} refused[] = {
		{"histogram_avg", "is for native histograms, which are not supported"},
		{"histogram_count", "is for native histograms, which are not supported"},
		{"histogram_fraction", "is for native histograms, which are not supported"},
		{"histogram_quantiles", "is for native histograms, which are not supported"},
		{"histogram_stddev", "is for native histograms, which are not supported"},
		{"histogram_stdvar", "is for native histograms, which are not supported"},
		{"histogram_sum", "is for native histograms, which are not supported"},
		{"double_exponential_smoothing",
			"is not supported: it is called holt_winters here, as in Prometheus 2.42"},
		{"mad_over_time", "is experimental in newer releases of Prometheus, not supported"},
		{"sort_by_label", "is experimental in newer releases of Prometheus, not supported"},
		{"sort_by_label_desc",
			"is experimental in newer releases of Prometheus, not supported"},
		{"info", "is experimental in newer releases of Prometheus, not supported"},
		{"first_over_time",
			"is experimental in newer releases of Prometheus, not supported"},
		{"ts_of_first_over_time",
			"is experimental in newer releases of Prometheus, not supported"},
		{"ts_of_last_over_time",
			"is experimental in newer releases of Prometheus, not supported"},
		{"ts_of_max_over_time",
			"is experimental in newer releases of Prometheus, not supported"},
		{"ts_of_min_over_time",
			"is experimental in newer releases of Prometheus, not supported"},
		{"limitk", "is experimental in newer releases of Prometheus, not supported"},
		{"limit_ratio", "is experimental in newer releases of Prometheus, not supported"},
	};

	for (size_t i = 0; i < LT_ARRAY_LEN(refused); i++)
		if (strlen(refused[i].name) == n && memcmp(refused[i].name, s, n) == 0)
			return refused[i].why;
	return NULL;
}
