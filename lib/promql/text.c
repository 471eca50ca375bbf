/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "promql_int.h"

/* ---- UTF-8 ---- */

size_t pq_utf8_next(const char *s, size_t n, uint32_t *ch)
{
	unsigned char c = (unsigned char)s[0];
	size_t len = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

	*ch = c;
	if (len == 1)
		return 1;
	if (len > n || !lt_utf8_valid(s, len)) {
		*ch = 0xfffd;
		return 1;
	}
	*ch = len == 2 ? c & 0x1f : len == 3 ? c & 0x0f : c & 0x07;
	for (size_t i = 1; i < len; i++)
		*ch = *ch << 6 | ((unsigned char)s[i] & 0x3f);
	return len;
}

size_t pq_utf8_put(char out[4], uint32_t ch)
{
	if (ch < 0x80) {
		out[0] = (char)ch;
		return 1;
	}
	if (ch < 0x800) {
		out[0] = (char)(0xc0 | ch >> 6);
		out[1] = (char)(0x80 | (ch & 0x3f));
		return 2;
	}
	if (ch < 0x10000) {
		out[0] = (char)(0xe0 | ch >> 12);
		out[1] = (char)(0x80 | (ch >> 6 & 0x3f));
		out[2] = (char)(0x80 | (ch & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | ch >> 18);
	out[1] = (char)(0x80 | (ch >> 12 & 0x3f));
	out[2] = (char)(0x80 | (ch >> 6 & 0x3f));
	out[3] = (char)(0x80 | (ch & 0x3f));
	return 4;
}

/* strconv.Quote, but for characters that are not printable by Unicode's tables above Latin-1. */
void pq_quote(struct lt_buf *out, const char *s, size_t n)
{
	static const char special[] = "\a\b\f\n\r\t\v\\\"", letters[] = "abfnrtv\\\"";

	lt_buf_char(out, '"');
	for (size_t i = 0; i < n;) {
		uint32_t ch;
		size_t len = pq_utf8_next(s + i, n - i, &ch);
		const char *at = ch && ch < 0x80 ? strchr(special, (int)ch) : NULL;

		if (at) {
			lt_buf_char(out, '\\');
			lt_buf_char(out, letters[at - special]);
		} else if (ch == 0xfffd && len == 1) {
			lt_buf_printf(out, "\\x%02x", (unsigned char)s[i]);
		} else if (ch < 0x20 || ch == 0x7f) {
			lt_buf_printf(out, "\\x%02x", ch);
		} else if ((ch >= 0x80 && ch <= 0xa0) || ch == 0xad || ch == 0xfeff ||
			   (ch >= 0x2028 && ch <= 0x2029) || (ch >= 0xe000 && ch <= 0xf8ff)) {
			lt_buf_printf(out, "\\u%04x", ch);
		} else {
			lt_buf_add(out, s + i, len);
		}
		i += len;
	}
	lt_buf_char(out, '"');
}

bool pq_label_name_valid(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (!(c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    (i && c >= '0' && c <= '9')))
			return false;
	}
	return n > 0;
}

/* ---- numbers ---- */

/* Shortest digits that read back as @v > 0, finite. Return: their number; @exp: of the first one. */
static int shortest(double v, char digits[20], int *exp)
{
	char b[40];
	int n = 0;

	for (int prec = 0; prec < 17; prec++) {
		snprintf(b, sizeof(b), "%.*e", prec, v);
		if (strtod(b, NULL) == v)
			break;
	}
	for (const char *p = b; *p != 'e'; p++)
		if (*p != '.')
			digits[n++] = *p;
	while (n > 1 && digits[n - 1] == '0')
		n--;
	*exp = (int)strtol(strchr(b, 'e') + 1, NULL, 10);
	return n;
}

static bool float_special(struct lt_buf *out, double v)
{
	if (isnan(v))
		lt_buf_str(out, "NaN");
	else if (isinf(v))
		lt_buf_str(out, v > 0 ? "+Inf" : "-Inf");
	else
		return false;
	return true;
}

void lt_promql_format_float(struct lt_buf *out, double v)
{
	char d[20];
	int n, exp;

	if (float_special(out, v))
		return;
	if (signbit(v))
		lt_buf_char(out, '-');
	if (v == 0) {
		lt_buf_char(out, '0');
		return;
	}
	n = shortest(fabs(v), d, &exp);
	if (exp < 0)
		lt_buf_char(out, '0');
	for (int i = 0; i <= exp; i++)
		lt_buf_char(out, i < n ? d[i] : '0');
	if (exp >= 0 ? n <= exp + 1 : false)
		return;
	lt_buf_char(out, '.');
	for (int i = -1; i > exp; i--)
		lt_buf_char(out, '0');
	for (int i = exp >= 0 ? exp + 1 : 0; i < n; i++)
		lt_buf_char(out, d[i]);
}

void pq_float_g(struct lt_buf *out, double v)
{
	char d[20];
	int n, exp;

	if (!isfinite(v) || v == 0) {
		lt_promql_format_float(out, v);
		return;
	}
	n = shortest(fabs(v), d, &exp);
	if (exp >= -4 && exp < 21) {
		lt_promql_format_float(out, v);
		return;
	}
	if (v < 0)
		lt_buf_char(out, '-');
	lt_buf_char(out, d[0]);
	if (n > 1) {
		lt_buf_char(out, '.');
		lt_buf_add(out, d + 1, (size_t)n - 1);
	}
	lt_buf_printf(out, "e%c%02d", exp < 0 ? '-' : '+', abs(exp));
}

bool pq_parse_float(const char *s, size_t n, double *v)
{
	char b[512], *end;
	size_t sign = n && (s[0] == '+' || s[0] == '-');
	bool hex = n > sign + 1 && s[sign] == '0' && (s[sign + 1] | 0x20) == 'x';

	/* strtod() also takes blanks, nan(...), and hexadecimals without exponent. */
	if (n == sign || n >= sizeof(b) || memchr(s, '(', n))
		return false;
	if (!strchr("0123456789.iInN", s[sign]) || (sign && (s[1] | 0x20) == 'n'))
		return false;
	if (hex && !memchr(s, 'p', n) && !memchr(s, 'P', n))
		return false;
	memcpy(b, s, n);
	b[n] = '\0';
	*v = strtod(b, &end);
	if (end != b + n)
		return false;
	return !isinf(*v) || (s[sign] | 0x20) == 'i';
}

bool pq_parse_number(const char *s, size_t n, double *v)
{
	size_t at = 0;
	unsigned base = 10;
	uint64_t sum = 0;

	if (n > 2 && s[0] == '0' && (s[1] | 0x20) == 'x') {
		base = 16;
		at = 2;
	} else if (n > 1 && s[0] == '0') {
		base = 8;
		at = 1;
	}
	for (; at < n; at++) {
		unsigned d = s[at] >= '0' && s[at] <= '9' ? (unsigned)(s[at] - '0')
							  : (unsigned)((s[at] | 0x20) - 'a' + 10);

		if (d >= base || sum > ((uint64_t)INT64_MAX - d) / base)
			return pq_parse_float(s, n, v);
		sum = sum * base + d;
	}
	*v = (double)sum;
	return true;
}

/* ---- durations ---- */

static const struct {
	const char *unit;
	int64_t ms;
	bool exact; /* printed only when the rest is a multiple of it */
} units[] = {
	{"y", INT64_C(365) * 86400000, true},
	{"w", INT64_C(7) * 86400000, true},
	{"d", 86400000, false},
	{"h", 3600000, false},
	{"m", 60000, false},
	{"s", 1000, false},
	{"ms", 1, false},
};

bool lt_promql_parse_duration(const char *s, size_t n, int64_t *ms)
{
	size_t at = 0, unit = 0;
	int64_t sum = 0;

	if (n == 1 && s[0] == '0') {
		*ms = 0;
		return true;
	}
	while (at < n) {
		int64_t number = 0;
		size_t first = at, len;

		for (; at < n && s[at] >= '0' && s[at] <= '9'; at++) {
			if (number > INT64_C(1000000000000000))
				return false;
			number = number * 10 + (s[at] - '0');
		}
		if (at == first)
			return false;
		for (; unit < LT_ARRAY_LEN(units); unit++) {
			len = strlen(units[unit].unit);
			if (n - at >= len && memcmp(s + at, units[unit].unit, len) == 0 &&
				(at + len == n || (s[at + len] >= '0' && s[at + len] <= '9')))
				break;
		}
		if (unit == LT_ARRAY_LEN(units))
			return false;
		/* Prometheus: nanoseconds in an int64. */
		if (number > (INT64_MAX / 1000000 - sum) / units[unit].ms)
			return false;
		sum += number * units[unit].ms;
		at += strlen(units[unit].unit);
		unit++;
	}
	*ms = sum;
	return n > 0;
}

void lt_promql_format_duration(struct lt_buf *out, int64_t ms)
{
	if (ms == 0) {
		lt_buf_str(out, "0s");
		return;
	}
	if (ms < 0)
		lt_buf_char(out, '-');
	ms = ms < 0 ? -ms : ms;
	for (size_t i = 0; i < LT_ARRAY_LEN(units); i++) {
		if (units[i].exact && ms % units[i].ms)
			continue;
		if (ms / units[i].ms)
			lt_buf_printf(out, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
		ms %= units[i].ms;
	}
}

void pq_labels_string(const struct lt_label_pool *p, const struct lt_labels *l, struct lt_buf *out)
{
	size_t n;

	lt_buf_char(out, '{');
	for (size_t i = 0; i < l->n; i++) {
		const char *text = lt_sym_text(p, l->pair[i].value, &n);

		lt_buf_printf(out, "%s%s=", i ? ", " : "", lt_sym_text(p, l->pair[i].name, NULL));
		pq_quote(out, text, n);
	}
	lt_buf_char(out, '}');
}
