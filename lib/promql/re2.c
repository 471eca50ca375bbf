/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "promql_int.h"

/*
 * From RE2's syntax, as Go's regexp package reads it (github.com/google/re2/wiki/Syntax), to PCRE2's:
 * whatever PCRE2 would read differently is refused or written otherwise. So a pattern means here what
 * it means in Prometheus, and backtracking-only features (references, lookaround) are no way in.
 */

struct re2 {
	const char *s;
	size_t n, at;
	struct lt_buf *out;
	char *why;
	size_t why_size;
	unsigned depth;
	unsigned groups; /* capturing, named ones included */
};

#define RE2_DEPTH_MAX  200
#define RE2_REPEAT_MAX 1000
#define RE2_GROUPS_MAX 1000

static bool bad(struct re2 *r, size_t from, size_t to, const char *what)
{
	if (to > r->n)
		to = r->n;
	if (to > from + 60)
		to = from + 60;
	snprintf(r->why, r->why_size, "error parsing regexp: %s: `%.*s`", what, (int)(to - from),
		r->s + from);
	return false;
}

static int at(const struct re2 *r, size_t ahead)
{
	return r->at + ahead < r->n ? (unsigned char)r->s[r->at + ahead] : -1;
}

static bool is_word(int c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void put_char(struct re2 *r, uint32_t ch)
{
	if (ch < 0x80 && is_word((int)ch))
		lt_buf_char(r->out, (char)ch);
	else
		lt_buf_printf(r->out, "\\x{%x}", ch);
}

/* \x7f, \x{10ffff}, octal, \n, punctuation: one character. Return: false when it is none. */
static bool escaped_char(struct re2 *r, uint32_t *ch)
{
	static const char letters[] = "afnrtv", values[] = "\a\f\n\r\t\v";
	size_t from = r->at;
	int c = at(r, 1);
	const char *simple = c > 0 ? strchr(letters, c) : NULL;

	r->at += 2;
	*ch = 0;
	if (simple) {
		*ch = (unsigned char)values[simple - letters];
		return true;
	}
	if (c == '0' || (c >= '1' && c <= '7' && at(r, 0) >= '0' && at(r, 0) <= '7')) {
		*ch = (uint32_t)(c - '0');
		for (int i = 0; i < 2 && at(r, 0) >= '0' && at(r, 0) <= '7'; i++)
			*ch = *ch * 8 + (uint32_t)(r->s[r->at++] - '0');
		return true;
	}
	if (c == 'x') {
		bool brace = at(r, 0) == '{';
		unsigned digits = 0;

		if (brace)
			r->at++;
		while ((brace || digits < 2) && at(r, 0) > 0 &&
			strchr("0123456789abcdefABCDEF", at(r, 0))) {
			int h = at(r, 0);

			*ch = *ch * 16 + (uint32_t)(h <= '9' ? h - '0' : (h | 0x20) - 'a' + 10);
			if (*ch > 0x10ffff)
				return bad(r, from, r->at + 1, "invalid escape sequence");
			digits++;
			r->at++;
		}
		if (brace ? !digits || at(r, 0) != '}' : digits != 2)
			return bad(r, from, r->at + 1, "invalid escape sequence");
		if (brace)
			r->at++;
		if (*ch >= 0xd800 && *ch < 0xe000)
			return bad(r, from, r->at, "invalid escape sequence");
		return true;
	}
	if (c < 0)
		return bad(r, from, r->at, "trailing backslash at end of expression");
	if (c < 0x80 && !is_word(c)) {
		*ch = (uint32_t)c;
		return true;
	}
	return bad(r, from, r->at, "invalid escape sequence");
}

/* \d \w \s and their negations. */
static bool perl_class(struct re2 *r, bool inside)
{
	/* Those of Go know ASCII alone, and \s has no vertical tab. */
	static const struct {
		char letter;
		const char *set, *negated;
	} classes[] = {
		{'d', "0-9", NULL},
		{'s', "\\t\\n\\f\\r ", NULL},
		{'w', "0-9A-Za-z_", NULL},
		{'D', "0-9", "\\x00-/:-\\x{10ffff}"},
		{'S', "\\t\\n\\f\\r ", "\\x00-\\x08\\x0b\\x0e-\\x1f!-\\x{10ffff}"},
		{'W', "0-9A-Za-z_", "\\x00-/:-@\\[-\\^`{-\\x{10ffff}"},
	};

	for (size_t i = 0; i < LT_ARRAY_LEN(classes); i++) {
		if (at(r, 1) != classes[i].letter)
			continue;
		if (inside)
			lt_buf_str(
				r->out, classes[i].negated ? classes[i].negated : classes[i].set);
		else
			lt_buf_printf(
				r->out, "[%s%s]", classes[i].negated ? "^" : "", classes[i].set);
		r->at += 2;
		return true;
	}
	return false;
}

/* \pL, \p{Greek}, \P{^Greek}. Return: 1, 0: something else, -1: error. */
static int unicode_class(struct re2 *r)
{
	size_t from = r->at, name, len;
	bool negated;

	if (at(r, 1) != 'p' && at(r, 1) != 'P')
		return 0;
	negated = at(r, 1) == 'P';
	r->at += 2;
	if (at(r, 0) != '{') {
		name = r->at++;
		len = 1;
	} else {
		const char *close = memchr(r->s + r->at, '}', r->n - r->at);

		if (!close)
			return bad(r, from, r->n, "invalid character class range") ? 1 : -1;
		name = r->at + 1;
		len = (size_t)(close - r->s) - name;
		r->at = (size_t)(close - r->s) + 1;
	}
	if (len && r->s[name] == '^') {
		negated = !negated;
		name++;
		len--;
	}
	if (name + len > r->n || !len || len > 40)
		return bad(r, from, r->at, "invalid character class range") ? 1 : -1;
	for (size_t i = 0; i < len; i++)
		if (!is_word((unsigned char)r->s[name + i]) && r->s[name + i] != '_')
			return bad(r, from, r->at, "invalid character class range") ? 1 : -1;
	lt_buf_printf(r->out, "\\%c{%.*s}", negated ? 'P' : 'p', (int)len, r->s + name);
	return 1;
}

/* One end of a range inside []. */
static bool class_char(struct re2 *r, size_t open, uint32_t *ch)
{
	if (at(r, 0) < 0)
		return bad(r, open, r->n, "missing closing ]");
	if (at(r, 0) == '\\')
		return escaped_char(r, ch);
	r->at += pq_utf8_next(r->s + r->at, r->n - r->at, ch);
	return true;
}

static bool posix_class(struct re2 *r)
{
	static const char *const known[] = {"alnum", "alpha", "ascii", "blank", "cntrl", "digit",
		"graph", "lower", "print", "punct", "space", "upper", "word", "xdigit"};

	for (size_t i = 0; i < LT_ARRAY_LEN(known); i++) {
		for (int neg = 0; neg < 2; neg++) {
			char b[20];
			int len = snprintf(b, sizeof(b), "[:%s%s:]", neg ? "^" : "", known[i]);

			if (r->n - r->at >= (size_t)len &&
				memcmp(r->s + r->at, b, (size_t)len) == 0) {
				lt_buf_str(r->out, b);
				r->at += (size_t)len;
				return true;
			}
		}
	}
	return false;
}

static bool char_class(struct re2 *r)
{
	size_t open = r->at++;
	bool first = true;

	lt_buf_char(r->out, '[');
	if (at(r, 0) == '^') {
		lt_buf_char(r->out, '^');
		r->at++;
	}
	for (; at(r, 0) != ']' || first; first = false) {
		size_t from = r->at;
		uint32_t lo, hi;
		int u;

		/* A minus is itself only at the ends. */
		if (at(r, 0) == '-' && !first && at(r, 1) != ']' && at(r, 1) >= 0) {
			uint32_t ch;
			size_t len = pq_utf8_next(r->s + r->at + 1, r->n - r->at - 1, &ch);

			return bad(r, from, from + 1 + len, "invalid character class range");
		}
		if (at(r, 0) == '[' && at(r, 1) == ':') {
			const char *close = strstr(r->s + r->at + 2, ":]");

			if (posix_class(r))
				continue;
			if (close)
				return bad(r, from, (size_t)(close - r->s) + 2,
					"invalid character class range");
		}
		if (at(r, 0) == '\\') {
			u = unicode_class(r);
			if (u < 0)
				return false;
			if (u || perl_class(r, true))
				continue;
		}
		if (!class_char(r, open, &lo))
			return false;
		hi = lo;
		if (at(r, 0) == '-' && at(r, 1) >= 0 && at(r, 1) != ']') {
			r->at++;
			if (!class_char(r, open, &hi))
				return false;
			if (hi < lo)
				return bad(r, from, r->at, "invalid character class range");
		}
		put_char(r, lo);
		if (hi != lo) {
			lt_buf_char(r->out, '-');
			put_char(r, hi);
		}
	}
	r->at++;
	lt_buf_char(r->out, ']');
	return true;
}

/* {2}, {2,}, {2,5}. Return: 1, 0: an ordinary brace, -1: error. */
static int counted(struct re2 *r)
{
	size_t from = r->at, p = from + 1;
	long lo = 0, hi;

	if (p >= r->n || r->s[p] < '0' || r->s[p] > '9')
		return 0;
	for (; p < r->n && r->s[p] >= '0' && r->s[p] <= '9'; p++)
		lo = lo > RE2_REPEAT_MAX ? lo : lo * 10 + (r->s[p] - '0');
	hi = lo;
	if (p < r->n && r->s[p] == ',') {
		p++;
		if (p < r->n && r->s[p] >= '0' && r->s[p] <= '9') {
			for (hi = 0; p < r->n && r->s[p] >= '0' && r->s[p] <= '9'; p++)
				hi = hi > RE2_REPEAT_MAX ? hi : hi * 10 + (r->s[p] - '0');
		} else {
			hi = -1;
		}
	}
	if (p >= r->n || r->s[p] != '}')
		return 0;
	r->at = p + 1;
	if (lo > RE2_REPEAT_MAX || hi > RE2_REPEAT_MAX || (hi >= 0 && hi < lo))
		return bad(r, from, p + 1, "invalid repeat count") ? 1 : -1;
	lt_buf_add(r->out, r->s + from, p + 1 - from);
	return 1;
}

/* Behind something repeatable: at most one quantifier. */
static bool quantifier(struct re2 *r)
{
	size_t from = r->at;
	int again = 0;

	if (at(r, 0) == '*' || at(r, 0) == '+' || at(r, 0) == '?') {
		lt_buf_char(r->out, (char)at(r, 0));
		r->at++;
	} else if (at(r, 0) == '{') {
		int c = counted(r);

		if (c <= 0)
			return c == 0;
	} else {
		return true;
	}
	if (at(r, 0) == '?') {
		lt_buf_char(r->out, '?');
		r->at++;
	}
	if (at(r, 0) == '{') {
		struct re2 look = *r;
		struct lt_buf none = {0};

		look.out = &none;
		again = counted(&look);
		lt_buf_fini(&none);
	}
	if (again || at(r, 0) == '*' || at(r, 0) == '+' || at(r, 0) == '?')
		return bad(r, from, r->at + 1, "invalid nested repetition operator");
	return true;
}

static bool alternation(struct re2 *r);

/* Behind "(". */
static bool group(struct re2 *r)
{
	size_t from = r->at - 1;

	if (++r->depth > RE2_DEPTH_MAX)
		return bad(r, from, r->n, "expression nests too deeply");
	if (at(r, 0) == '?' && at(r, 1) == 'P' && at(r, 2) == '<') {
		const char *close = memchr(r->s + r->at, '>', r->n - r->at);
		size_t name = r->at + 3, len = close ? (size_t)(close - r->s) - name : 0;

		/* PCRE2 takes names of 32 characters. */
		if (len > 32 || !pq_label_name_valid(r->s + name, len))
			return bad(r, from, close ? name + len + 1 : r->n, "invalid named capture");
		lt_buf_printf(r->out, "(?P<%.*s>", (int)len, r->s + name);
		r->at = name + len + 1;
		r->groups++;
	} else if (at(r, 0) == '?') {
		bool minus = false, any = false;

		lt_buf_str(r->out, "(?");
		for (r->at++; at(r, 0) > 0 && at(r, 0) != ':' && at(r, 0) != ')'; r->at++) {
			if (at(r, 0) == '-' && !minus)
				minus = true, any = false;
			else if (strchr("imsU", at(r, 0)))
				any = true;
			else
				return bad(
					r, from, r->at + 1, "invalid or unsupported Perl syntax");
			lt_buf_char(r->out, (char)at(r, 0));
		}
		if (at(r, 0) < 0)
			return bad(r, from, r->n, "missing argument to repetition operator");
		if (minus && !any)
			return bad(r, from, r->at + 1, "invalid or unsupported Perl syntax");
		if (at(r, 0) == ')') { /* flags to the end of the group around */
			if (!any)
				return bad(r, from, r->at + 1,
					"missing argument to repetition operator");
			r->at++;
			lt_buf_char(r->out, ')');
			r->depth--;
			if (at(r, 0) > 0 && strchr("*+?", at(r, 0)))
				return bad(r, r->at, r->at + 1,
					"missing argument to repetition operator");
			return true;
		}
		r->at++;
		lt_buf_char(r->out, ':');
	} else {
		lt_buf_char(r->out, '(');
		r->groups++;
	}
	if (r->groups > RE2_GROUPS_MAX)
		return bad(r, from, r->at, "too many groups");
	if (!alternation(r))
		return false;
	if (at(r, 0) != ')')
		return bad(r, 0, r->n, "missing closing )");
	r->at++;
	lt_buf_char(r->out, ')');
	r->depth--;
	return quantifier(r);
}

static bool escape(struct re2 *r)
{
	int c = at(r, 1), u;
	uint32_t ch;

	if (c == 'Q') { /* literal up to \E */
		const char *end;
		size_t len;

		r->at += 2;
		end = strstr(r->s + r->at, "\\E");
		len = end ? (size_t)(end - r->s) - r->at : r->n - r->at;
		for (size_t stop = r->at + len; r->at < stop;) {
			r->at += pq_utf8_next(r->s + r->at, r->n - r->at, &ch);
			put_char(r, ch);
		}
		if (end)
			r->at += 2;
		return len == 0 || quantifier(r);
	}
	if (c > 0 && strchr("AbBz", c)) {
		lt_buf_printf(r->out, "(?:\\%c)", c);
		r->at += 2;
		return quantifier(r);
	}
	u = unicode_class(r);
	if (u < 0)
		return false;
	if (u || perl_class(r, false))
		return quantifier(r);
	if (!escaped_char(r, &ch))
		return false;
	put_char(r, ch);
	return quantifier(r);
}

static bool alternation(struct re2 *r)
{
	while (r->at < r->n) {
		int c = at(r, 0);
		uint32_t ch;
		bool ok = true;

		switch (c) {
		case ')':
			if (!r->depth)
				return bad(r, 0, r->n, "unexpected )");
			return true;
		case '|':
			lt_buf_char(r->out, '|');
			r->at++;
			break;
		case '(':
			r->at++;
			ok = group(r);
			break;
		case '[':
			ok = char_class(r) && quantifier(r);
			break;
		case '\\':
			ok = escape(r);
			break;
		case '*':
		case '+':
		case '?':
			return bad(r, r->at, r->at + 1, "missing argument to repetition operator");
		case '.':
			lt_buf_char(r->out, '.');
			r->at++;
			ok = quantifier(r);
			break;
		case '^':
		case '$':
			/* PCRE2 would not repeat these. */
			lt_buf_printf(r->out, "(?:%c)", c);
			r->at++;
			ok = quantifier(r);
			break;
		case '{': {
			int q = counted(r);

			if (q)
				return q > 0 ? bad(r, r->at - 1, r->at,
						       "missing argument to repetition operator")
					     : false;
		}
			/* fall through */
		default:
			r->at += pq_utf8_next(r->s + r->at, r->n - r->at, &ch);
			put_char(r, ch);
			ok = quantifier(r);
		}
		if (!ok)
			return false;
	}
	return true;
}

bool pq_re2_to_pcre(const char *s, size_t n, struct lt_buf *out, char *why, size_t why_size)
{
	struct re2 r = {.s = s, .n = n, .out = out, .why = why, .why_size = why_size};

	if (!lt_utf8_valid(s, n)) {
		snprintf(why, why_size, "error parsing regexp: invalid UTF-8");
		return false;
	}
	return alternation(&r);
}
