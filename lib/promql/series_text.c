/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "promql_int.h"

/*
 * promtool's notation of a series' values in unit tests of rules: items with blanks between them.
 *
 *	1.5 -2 NaN	a value
 *	_ _x3		no sample, three times
 *	1x3		1 1 1 1: the value and three more
 *	1+2x3 10-1x2	1 3 5 7, 10 9 8
 *	stale		a staleness marker
 */

#define VALUES_MAX 1000000

struct values {
	const char *s;
	size_t n, at;
	struct lt_promql_seq *v;
	size_t count, cap;
	const char *why;
};

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static int peek(const struct values *p)
{
	return p->at < p->n ? (unsigned char)p->s[p->at] : -1;
}

static bool fail(struct values *p, const char *why)
{
	if (!p->why)
		p->why = why;
	return false;
}

static bool add(struct values *p, double v, bool omitted)
{
	if (p->count == VALUES_MAX)
		return fail(p, "more than 1000000 values");
	if (p->count == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 16;
		p->v = lt_realloc(p->v, p->cap * sizeof(*p->v));
	}
	p->v[p->count++] = (struct lt_promql_seq){v, omitted};
	return true;
}

/* Digits, or Inf or NaN; the sign is read before. */
static bool number(struct values *p, double *out)
{
	size_t from = p->at;

	if (p->n - p->at >= 3 && (strncasecmp(p->s + p->at, "inf", 3) == 0 ||
					 strncasecmp(p->s + p->at, "nan", 3) == 0)) {
		p->at += 3;
	} else {
		while (is_digit(peek(p)) || peek(p) == '.')
			p->at++;
		if (p->at > from && (peek(p) == 'e' || peek(p) == 'E')) {
			p->at++;
			if (peek(p) == '+' || peek(p) == '-')
				p->at++;
			while (is_digit(peek(p)))
				p->at++;
		}
	}
	if (p->at == from || !pq_parse_number(p->s + from, p->at - from, out)) {
		p->at = from;
		return fail(p, "expected a number, \"stale\" or \"_\"");
	}
	return true;
}

static bool repetitions(struct values *p, uint64_t *out)
{
	size_t from = ++p->at;

	*out = 0;
	while (is_digit(peek(p))) {
		*out = *out * 10 + (uint64_t)(p->s[p->at++] - '0');
		if (*out > VALUES_MAX)
			return fail(p, "more than 1000000 values");
	}
	return p->at > from || fail(p, "expected a number of repetitions behind \"x\"");
}

static bool signed_number(struct values *p, double *out)
{
	int sign = peek(p);

	if (sign == '+' || sign == '-')
		p->at++;
	if (!number(p, out))
		return false;
	if (sign == '-')
		*out = -*out;
	return true;
}

static bool item(struct values *p)
{
	uint64_t times = 0;
	double v, step = 0;

	if (peek(p) == '_') {
		times = 1;
		p->at++;
		if (peek(p) == 'x' && !repetitions(p, &times))
			return false;
		while (times--)
			if (!add(p, 0, true))
				return false;
		return true;
	}
	if (p->n - p->at >= 5 && memcmp(p->s + p->at, "stale", 5) == 0) {
		p->at += 5;
		return add(p, lt_promql_stale(), false);
	}
	if (!signed_number(p, &v))
		return false;
	if ((peek(p) == '+' || peek(p) == '-') && !signed_number(p, &step))
		return false;
	if (peek(p) == 'x') {
		if (!repetitions(p, &times))
			return false;
	} else if (step != 0) {
		return fail(p, "expected \"x\" and a number of repetitions");
	}
	for (uint64_t i = 0; i <= times; i++) {
		if (!add(p, v, false))
			return false;
		v += step;
	}
	return true;
}

int lt_promql_parse_values(const char *text, size_t len, struct lt_promql_seq **out, size_t *n,
	struct lt_promql_pos *at, struct lt_err *err)
{
	struct values p = {.s = text, .n = len};

	for (;;) {
		while (p.at < len && strchr(" \t\r\n", text[p.at]) && text[p.at])
			p.at++;
		if (p.at >= len || !item(&p))
			break;
		if (p.at < len && (!text[p.at] || !strchr(" \t\r\n", text[p.at]))) {
			fail(&p, "expected a blank between two values");
			break;
		}
	}
	if (p.why) {
		free(p.v);
		if (at)
			*at = pq_pos(text, (uint32_t)p.at);
		return lt_fail(
			err, LT_EINVAL, LT_CLS_CONFIG, "promql.parse", "series values: %s", p.why);
	}
	*out = p.v ? p.v : lt_calloc(1, sizeof(*p.v));
	*n = p.count;
	return LT_OK;
}
