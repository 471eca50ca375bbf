/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/promql.h"
#include "tmpl.h"

/* Prometheus's functions that make numbers readable. */

#define STEPS 8

/* strconv.ParseFloat: decimal, hexadecimal, inf, infinity, nan; no spaces around. */
static bool parse_float(const char *s, double *v)
{
	const char *d = s + (*s == '+' || *s == '-');
	char *end;

	/* strtod() also takes blanks, nan(...), -nan, and hexadecimals without exponent. */
	if (!*d || !strchr("0123456789.iInN", *d) || strchr(s, '('))
		return false;
	if (d > s && (*d | 32) == 'n')
		return false;
	if (d[0] == '0' && (d[1] | 32) == 'x' && !strpbrk(d, "pP"))
		return false;
	*v = strtod(s, &end);
	return !*end;
}

/* A number, or a text that is one. */
static bool to_float(struct tmpl_run *r, const struct tval *a, double *v)
{
	struct lt_buf b = {0};

	switch (a->kind) {
	case TV_FLOAT:
		*v = a->f;
		return true;
	case TV_INT:
		*v = (double)a->i;
		return true;
	case TV_STRING:
		if (parse_float(a->s, v)) {
			if (isinf(*v) && !strpbrk(a->s, "iI")) {
				gofmt_quote(&b, a->s, a->len);
				tmpl_fail(r,
					TMPL_OWN
					"strconv.ParseFloat: parsing %s: value out of range",
					b.data);
				lt_buf_fini(&b);
				return false;
			}
			return true;
		}
		gofmt_quote(&b, a->s, a->len);
		tmpl_fail(r, TMPL_OWN "strconv.ParseFloat: parsing %.200s: invalid syntax", b.data);
		lt_buf_fini(&b);
		return false;
	case TV_NIL:
		tmpl_fail(r, TMPL_OWN "can't convert <nil> to float");
		return false;
	default:
		tmpl_fail(r, TMPL_OWN "can't convert %s to float", tmpl_type_name(a));
		return false;
	}
}

/* "%.4g" of Go */
static void put_4g(struct lt_buf *out, double v)
{
	gofmt_float(out, v, 'g', 4);
}

static struct tval take(struct tmpl_run *r, struct lt_buf *b)
{
	struct tval v = tmpl_string(r, b);

	lt_buf_fini(b);
	return v;
}

/* Divided by @unit until it is below, with the prefix for that. */
static const char *scale_up(double *v, double unit, const char *const prefixes[STEPS])
{
	const char *prefix = "";

	for (size_t i = 0; i < STEPS && fabs(*v) >= unit; i++) {
		prefix = prefixes[i];
		*v /= unit;
	}
	return prefix;
}

static const char *scale_down(double *v)
{
	static const char *const prefixes[STEPS] = {"m", "u", "n", "p", "f", "a", "z", "y"};
	const char *prefix = "";

	for (size_t i = 0; i < STEPS && fabs(*v) < 1; i++) {
		prefix = prefixes[i];
		*v *= 1000;
	}
	return prefix;
}

struct tval tf_humanize(struct tmpl_run *r, const struct tval *a, size_t n)
{
	static const char *const up[STEPS] = {"k", "M", "G", "T", "P", "E", "Z", "Y"};
	const char *prefix = "";
	struct lt_buf b = {0};
	double v;

	(void)n;
	if (!to_float(r, a, &v))
		return *a;
	if (v != 0 && isfinite(v))
		prefix = fabs(v) >= 1 ? scale_up(&v, 1000, up) : scale_down(&v);
	put_4g(&b, v);
	lt_buf_str(&b, prefix);
	return take(r, &b);
}

struct tval tf_humanize1024(struct tmpl_run *r, const struct tval *a, size_t n)
{
	static const char *const up[STEPS] = {"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"};
	const char *prefix = "";
	struct lt_buf b = {0};
	double v;

	(void)n;
	if (!to_float(r, a, &v))
		return *a;
	if (fabs(v) > 1 && isfinite(v))
		prefix = scale_up(&v, 1024, up);
	put_4g(&b, v);
	lt_buf_str(&b, prefix);
	return take(r, &b);
}

/* A second and more: the larger units as integers. */
static void put_long(struct lt_buf *b, double v)
{
	/* beyond int64 Go's conversion on amd64 gives the smallest one */
	int64_t all = fabs(v) < 9.2e18 ? (int64_t)fabs(v) : INT64_MIN;
	int64_t s = all % 60, m = all / 60 % 60, h = all / 3600 % 24, d = all / 86400;

	if (v < 0)
		lt_buf_char(b, '-');
	if (d)
		lt_buf_printf(b, "%lldd ", (long long)d);
	if (d || h)
		lt_buf_printf(b, "%lldh ", (long long)h);
	if (d || h || m) {
		lt_buf_printf(b, "%lldm %llds", (long long)m, (long long)s);
		return;
	}
	put_4g(b, fabs(v));
	lt_buf_char(b, 's');
}

struct tval tf_humanize_duration(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct lt_buf b = {0};
	const char *prefix;
	double v;

	(void)n;
	if (!to_float(r, a, &v))
		return *a;
	if (!isfinite(v)) {
		put_4g(&b, v);
	} else if (v == 0) {
		put_4g(&b, v);
		lt_buf_char(&b, 's');
	} else if (fabs(v) >= 1) {
		put_long(&b, v);
	} else {
		prefix = scale_down(&v);
		put_4g(&b, v);
		lt_buf_printf(&b, "%ss", prefix);
	}
	return take(r, &b);
}

struct tval tf_humanize_percentage(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct lt_buf b = {0};
	double v;

	(void)n;
	if (!to_float(r, a, &v))
		return *a;
	put_4g(&b, v * 100);
	lt_buf_char(&b, '%');
	return take(r, &b);
}

/* Milliseconds, as Prometheus's times have. Return: false when it is beyond what a time can be. */
static bool to_time(struct tmpl_run *r, double v, int64_t *ns)
{
	double all = v * 1e9;
	struct lt_buf b = {0};

	if (all > 9223372036854775807.0 || all < -9223372036854775808.0 ||
		all >= 9223372036854775808.0) {
		gofmt_float(&b, v, 'g', -1);
		tmpl_fail(r,
			TMPL_OWN "%s cannot be represented as a nanoseconds timestamp since it "
				 "overflows int64",
			b.data);
		lt_buf_fini(&b);
		return false;
	}
	*ns = (int64_t)all / 1000000 * 1000000;
	return true;
}

struct tval tf_humanize_timestamp(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct lt_buf b = {0};
	int64_t ns;
	double v;

	(void)n;
	if (!to_float(r, a, &v))
		return *a;
	if (!isfinite(v))
		put_4g(&b, v);
	else if (to_time(r, v, &ns))
		gofmt_time(&b, ns);
	return take(r, &b);
}

struct tval tf_to_time(struct tmpl_run *r, const struct tval *a, size_t n)
{
	int64_t ns = 0;
	double v;

	(void)n;
	if (!to_float(r, a, &v))
		return *a;
	if (!isfinite(v))
		return tmpl_fail(r, TMPL_OWN "value is NaN or Inf");
	if (!to_time(r, v, &ns))
		return *a;
	return (struct tval){.kind = TV_TIME, .i = ns};
}

struct tval tf_parse_duration(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct lt_buf b = {0};
	int64_t ms;

	(void)n;
	if (!lt_promql_parse_duration(a->s, a->len, &ms)) {
		if (!a->len)
			return tmpl_fail(r, TMPL_OWN "empty duration string");
		gofmt_quote(&b, a->s, a->len);
		tmpl_fail(r, TMPL_OWN "not a valid duration string: %.200s", b.data);
		lt_buf_fini(&b);
		return *a;
	}
	return (struct tval){.kind = TV_FLOAT, .f = (double)ms / 1000};
}
