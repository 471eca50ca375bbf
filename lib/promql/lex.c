/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "promql_int.h"

static const char *const names[] = {
	[T_LPAREN] = "(",
	[T_RPAREN] = ")",
	[T_LBRACE] = "{",
	[T_RBRACE] = "}",
	[T_LBRACKET] = "[",
	[T_RBRACKET] = "]",
	[T_COMMA] = ",",
	[T_EQL] = "=",
	[T_COLON] = ":",
	[T_EQ_REGEX] = "=~",
	[T_NE_REGEX] = "!~",
	[T_ADD] = "+",
	[T_SUB] = "-",
	[T_MUL] = "*",
	[T_DIV] = "/",
	[T_MOD] = "%",
	[T_POW] = "^",
	[T_ATAN2] = "atan2",
	[T_EQ] = "==",
	[T_NE] = "!=",
	[T_LT] = "<",
	[T_LE] = "<=",
	[T_GT] = ">",
	[T_GE] = ">=",
	[T_AND] = "and",
	[T_OR] = "or",
	[T_UNLESS] = "unless",
	[T_SUM] = "sum",
	[T_AVG] = "avg",
	[T_COUNT] = "count",
	[T_MIN] = "min",
	[T_MAX] = "max",
	[T_GROUP] = "group",
	[T_STDDEV] = "stddev",
	[T_STDVAR] = "stdvar",
	[T_TOPK] = "topk",
	[T_BOTTOMK] = "bottomk",
	[T_COUNT_VALUES] = "count_values",
	[T_QUANTILE] = "quantile",
	[T_OFFSET] = "offset",
	[T_BY] = "by",
	[T_WITHOUT] = "without",
	[T_ON] = "on",
	[T_IGNORING] = "ignoring",
	[T_GROUP_LEFT] = "group_left",
	[T_GROUP_RIGHT] = "group_right",
	[T_BOOL] = "bool",
	[T_START] = "start",
	[T_END] = "end",
};

const char *pq_tok_name(enum pq_tok t)
{
	return t < LT_ARRAY_LEN(names) ? names[t] : NULL;
}

/* ---- failures ---- */

void pq_lex_fail(struct pq_lexer *l, uint32_t pos, const char *fmt, ...)
{
	va_list ap;

	if (l->failed)
		return;
	l->failed = true;
	l->fail_pos = pos;
	va_start(ap, fmt);
	vsnprintf(l->reason, sizeof(l->reason), fmt, ap);
	va_end(ap);
}

void pq_unexpected(
	struct pq_lexer *l, const struct pq_token *t, const char *context, const char *expected)
{
	struct lt_buf b = {0};
	const char *name = pq_tok_name(t->type);

	if (l->failed)
		return;
	lt_buf_str(&b, "unexpected ");
	if (t->type == T_EOF) {
		lt_buf_str(&b, "end of input");
	} else if (PQ_IS_OP(t->type)) {
		lt_buf_printf(&b, "<op:%s>", name);
	} else if (PQ_IS_AGGR(t->type)) {
		lt_buf_printf(&b, "<aggr:%s>", name);
	} else if (PQ_IS_KEY(t->type)) {
		lt_buf_printf(&b, "<%s>", name);
	} else {
		const char *kind = t->type == T_IDENT      ? "identifier "
				   : t->type == T_METRIC   ? "metric identifier "
				   : t->type == T_STRING   ? "string "
				   : t->type == T_NUMBER   ? "number "
				   : t->type == T_DURATION ? "duration "
							   : "";
		bool cut = t->len > 40;

		lt_buf_str(&b, kind);
		pq_quote(&b, l->text + t->pos, cut ? 40 : t->len);
		if (cut)
			lt_buf_str(&b, "...");
	}
	if (context)
		lt_buf_printf(&b, " in %s", context);
	if (expected)
		lt_buf_printf(&b, ", expected %s", expected);
	pq_lex_fail(l, t->pos, "%s", b.data);
	lt_buf_fini(&b);
}

struct lt_promql_pos pq_pos(const char *text, uint32_t offset)
{
	struct lt_promql_pos p = {offset, 1, 1};

	for (uint32_t i = 0; i < offset; i++) {
		p.column++;
		if (text[i] == '\n') {
			p.line++;
			p.column = 1;
		}
	}
	return p;
}

int pq_report(const struct pq_lexer *l, struct lt_promql_pos *at, struct lt_err *err)
{
	if (at)
		*at = pq_pos(l->text, l->fail_pos < l->len ? l->fail_pos : l->len);
	return lt_fail(err, LT_EINVAL, LT_CLS_CONFIG, "promql.parse", "%s", l->reason);
}

/* ---- characters ---- */

static bool is_space(int c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static bool is_alpha(int c)
{
	return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(int c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The byte @ahead of here, -1 behind the end. */
static int peek(const struct pq_lexer *l, uint32_t ahead)
{
	return l->at + ahead < l->len ? (unsigned char)l->text[l->at + ahead] : -1;
}

/* A character as error texts show it: %q of Go. */
static const char *shown(const struct pq_lexer *l, uint32_t at, char out[16])
{
	uint32_t ch;
	size_t n;

	if (at >= l->len)
		return "end of input";
	n = pq_utf8_next(l->text + at, l->len - at, &ch);
	if (ch < 0x20 || ch == 0x7f || (ch == 0xfffd && n == 1))
		snprintf(out, 16, "'\\x%02x'", (unsigned char)l->text[at]);
	else
		snprintf(out, 16, "'%.*s'", (int)n, l->text + at);
	return out;
}

static void skip_blank(struct pq_lexer *l)
{
	for (;;) {
		while (is_space(peek(l, 0)))
			l->at++;
		if (peek(l, 0) != '#')
			return;
		while (l->at < l->len && l->text[l->at] != '\n' && l->text[l->at] != '\r')
			l->at++;
	}
}

/* ---- tokens of several characters ---- */

/* The digits, point and exponent of a number. Return: false when something alphanumeric follows. */
static bool scan_number(struct pq_lexer *l)
{
	bool hex = peek(l, 0) == '0' && (peek(l, 1) == 'x' || peek(l, 1) == 'X');

	if (hex)
		l->at += 2;
	while (hex ? is_hex(peek(l, 0)) : is_digit(peek(l, 0)))
		l->at++;
	if (peek(l, 0) == '.') {
		l->at++;
		while (hex ? is_hex(peek(l, 0)) : is_digit(peek(l, 0)))
			l->at++;
	}
	if (peek(l, 0) == 'e' || peek(l, 0) == 'E') {
		l->at++;
		if (peek(l, 0) == '+' || peek(l, 0) == '-')
			l->at++;
		while (is_digit(peek(l, 0)))
			l->at++;
	}
	return !is_alpha(peek(l, 0)) && !is_digit(peek(l, 0));
}

static void lex_number(struct pq_lexer *l, struct pq_token *t)
{
	t->type = T_NUMBER;
	if (l->brackets)
		t->type = T_DURATION;
	else if (scan_number(l))
		return;
	/* 5m, 1h30m: units are checked where the duration is read. */
	l->at = t->pos;
	while (is_digit(peek(l, 0)) || is_alpha(peek(l, 0)) || peek(l, 0) == '.')
		l->at++;
	t->type = T_DURATION;
	for (uint32_t i = t->pos; i < l->at; i++) {
		if (is_digit((unsigned char)l->text[i]))
			continue;
		if (i > t->pos && strchr("smhdwy", l->text[i]))
			continue;
		pq_lex_fail(l, t->pos, "bad number or duration syntax: \"%.*s\"",
			(int)(l->at - t->pos < 40 ? l->at - t->pos : 40), l->text + t->pos);
		return;
	}
	if (is_digit((unsigned char)l->text[l->at - 1]))
		pq_lex_fail(l, t->pos, "missing unit character in duration");
}

static void lex_word(struct pq_lexer *l, struct pq_token *t)
{
	bool colon = false;
	uint32_t n;

	while (is_alpha(peek(l, 0)) || is_digit(peek(l, 0)) || (peek(l, 0) == ':' && !l->braces)) {
		colon |= peek(l, 0) == ':';
		l->at++;
	}
	t->type = colon ? T_METRIC : T_IDENT;
	if (l->braces)
		return;
	n = l->at - t->pos;
	for (size_t i = T_ATAN2; i < LT_ARRAY_LEN(names); i++) {
		if (names[i] && is_alpha(names[i][0]) && strlen(names[i]) == n &&
			strncasecmp(names[i], l->text + t->pos, n) == 0)
			t->type = (enum pq_tok)i;
	}
	if (n == 3 && (strncasecmp(l->text + t->pos, "inf", 3) == 0 ||
			      strncasecmp(l->text + t->pos, "nan", 3) == 0))
		t->type = T_NUMBER;
}

static void lex_string(struct pq_lexer *l, struct pq_token *t)
{
	int quote = peek(l, 0);

	t->type = T_STRING;
	l->at++;
	for (;;) {
		int c = peek(l, 0);
		uint32_t ch;
		size_t n;

		if (c < 0 || (c == '\n' && quote != '`')) {
			pq_lex_fail(l, t->pos,
				quote == '`' ? "unterminated raw string"
					     : "unterminated quoted string");
			return;
		}
		n = pq_utf8_next(l->text + l->at, l->len - l->at, &ch);
		if (ch == 0xfffd && n == 1) {
			pq_lex_fail(l, l->at, "invalid UTF-8 rune");
			return;
		}
		l->at += (uint32_t)n;
		if (c == quote)
			return;
		if (c == '\\' && quote != '`') {
			if (peek(l, 0) < 0) {
				pq_lex_fail(l, t->pos, "escape sequence not terminated");
				return;
			}
			if (peek(l, 0) != '\n')
				l->at++;
		}
	}
}

/* A character inside {}. */
static bool lex_braces(struct pq_lexer *l, struct pq_token *t, int c)
{
	char b[16];

	switch (c) {
	case '=':
		t->type = peek(l, 1) == '~' ? T_EQ_REGEX : T_EQL;
		break;
	case '!':
		if (peek(l, 1) != '=' && peek(l, 1) != '~') {
			pq_lex_fail(l, t->pos, "unexpected character after '!' inside braces: %s",
				shown(l, l->at + 1, b));
			return false;
		}
		t->type = peek(l, 1) == '=' ? T_NE : T_NE_REGEX;
		break;
	case ',':
		t->type = T_COMMA;
		break;
	case '}':
		t->type = T_RBRACE;
		l->braces = false;
		break;
	case '{':
		pq_lex_fail(l, t->pos, "unexpected left brace '{'");
		return false;
	case -1:
		pq_lex_fail(l, t->pos, "unexpected end of input inside braces");
		return false;
	default:
		pq_lex_fail(
			l, t->pos, "unexpected character inside braces: %s", shown(l, l->at, b));
		return false;
	}
	l->at += t->type == T_EQ_REGEX || t->type == T_NE_REGEX || t->type == T_NE ? 2 : 1;
	return true;
}

static bool lex_bracket(struct pq_lexer *l, struct pq_token *t, int c)
{
	char b[16];

	switch (c) {
	case '[':
		if (l->brackets) {
			pq_lex_fail(l, t->pos, "unexpected left bracket '['");
			return false;
		}
		l->brackets = true;
		l->colon = false;
		t->type = T_LBRACKET;
		break;
	case ']':
		if (!l->brackets) {
			pq_lex_fail(l, t->pos, "unexpected right bracket ']'");
			return false;
		}
		l->brackets = false;
		t->type = T_RBRACKET;
		break;
	case ':':
		if (l->colon) {
			pq_lex_fail(l, t->pos, "unexpected colon ':'");
			return false;
		}
		l->colon = true;
		t->type = T_COLON;
		break;
	default:
		pq_lex_fail(l, t->pos, "unexpected character in range or subquery: %s",
			shown(l, l->at, b));
		return false;
	}
	l->at++;
	return true;
}

static bool lex_operator(struct pq_lexer *l, struct pq_token *t, int c)
{
	static const char single[] = "+-*/%^,@";
	static const enum pq_tok types[] = {
		T_ADD, T_SUB, T_MUL, T_DIV, T_MOD, T_POW, T_COMMA, T_AT};
	const char *at = c > 0 ? strchr(single, c) : NULL;
	bool eq = peek(l, 1) == '=';
	char b[16];

	if (at) {
		t->type = types[at - single];
	} else if (c == '(' || c == ')') {
		t->type = c == '(' ? T_LPAREN : T_RPAREN;
		l->parens += c == '(' ? 1 : -1;
		if (l->parens < 0) {
			pq_lex_fail(l, t->pos, "unexpected right parenthesis ')'");
			return false;
		}
	} else if (c == '{') {
		t->type = T_LBRACE;
		l->braces = true;
	} else if (c == '<' || c == '>') {
		t->type = c == '<' ? (eq ? T_LE : T_LT) : (eq ? T_GE : T_GT);
	} else if (c == '=' && peek(l, 1) != '~') {
		t->type = eq ? T_EQ : T_EQL;
	} else if (c == '!' && eq) {
		t->type = T_NE;
	} else if (c == '=' || c == '!') {
		pq_lex_fail(l, t->pos, "unexpected character after '%c': %s", c,
			shown(l, l->at + 1, b));
		return false;
	} else {
		pq_lex_fail(l, t->pos, "unexpected character: %s", shown(l, l->at, b));
		return false;
	}
	l->at += t->type == T_LE || t->type == T_GE || t->type == T_EQ || t->type == T_NE ? 2 : 1;
	return true;
}

void pq_lex(struct pq_lexer *l, struct pq_token *t)
{
	bool ok = true;
	int c;

	skip_blank(l);
	*t = (struct pq_token){T_EOF, l->at, 0};
	if (l->failed)
		return;
	c = peek(l, 0);
	if (c < 0 && !l->braces) {
		if (l->parens)
			pq_lex_fail(l, l->at, "unclosed left parenthesis");
		else if (l->brackets)
			pq_lex_fail(l, l->at, "unclosed left bracket");
		return;
	}
	if (c == '"' || c == '\'' || c == '`')
		lex_string(l, t);
	else if (is_alpha(c) && !l->brackets)
		lex_word(l, t);
	else if (l->braces)
		ok = lex_braces(l, t, c);
	else if (is_digit(c) || (c == '.' && is_digit(peek(l, 1))))
		lex_number(l, t);
	else if (l->brackets || c == '[' || c == ']')
		ok = lex_bracket(l, t, c);
	else if (c == ':')
		lex_word(l, t);
	else
		ok = lex_operator(l, t, c);
	if (!ok || l->failed)
		t->type = T_EOF;
	t->len = l->at - t->pos;
}

/* ---- strings ---- */

static int hex_value(int c)
{
	return is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* One escape, @s behind the backslash. Return: bytes read, 0 when it is not one. */
static size_t unescape(const char *s, size_t n, char quote, struct lt_buf *out)
{
	static const char simple[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
	size_t digits = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : 0;
	const char *at = s[0] ? strchr(simple, s[0]) : NULL;
	uint32_t ch = 0;
	char utf8[4];

	if (at || s[0] == quote) {
		lt_buf_char(out, at ? values[at - simple] : quote);
		return 1;
	}
	if (s[0] >= '0' && s[0] <= '7') {
		for (size_t i = 0; i < 3; i++) {
			if (i >= n || s[i] < '0' || s[i] > '7')
				return 0;
			ch = ch * 8 + (uint32_t)(s[i] - '0');
		}
		if (ch > 255)
			return 0;
		lt_buf_char(out, (char)ch);
		return 3;
	}
	if (!digits || n < digits + 1)
		return 0;
	for (size_t i = 1; i <= digits; i++) {
		if (!is_hex((unsigned char)s[i]))
			return 0;
		ch = ch * 16 + (uint32_t)hex_value((unsigned char)s[i]);
	}
	if (digits == 2) {
		lt_buf_char(out, (char)ch);
		return 3;
	}
	if (ch > 0x10ffff || (ch >= 0xd800 && ch < 0xe000))
		return 0;
	lt_buf_add(out, utf8, pq_utf8_put(utf8, ch));
	return digits + 1;
}

const char *pq_unquote(
	struct pq_lexer *l, const struct pq_token *t, struct lt_arena *arena, size_t *n)
{
	const char *s = l->text + t->pos + 1, *text;
	size_t len = t->len - 2;
	char quote = l->text[t->pos];
	struct lt_buf b = {0};

	if (quote == '`' || !memchr(s, '\\', len)) {
		*n = len;
		return lt_arena_str(arena, s, len);
	}
	for (size_t i = 0; i < len;) {
		size_t used;

		if (s[i] != '\\') {
			lt_buf_char(&b, s[i++]);
			continue;
		}
		used = i + 1 < len ? unescape(s + i + 1, len - i - 1, quote, &b) : 0;
		if (!used) {
			pq_lex_fail(l, t->pos + 1 + (uint32_t)i,
				"unknown or incomplete escape sequence in a string");
			lt_buf_fini(&b);
			return NULL;
		}
		i += used + 1;
	}
	*n = b.len;
	text = lt_arena_str(arena, b.data ? b.data : "", b.len);
	lt_buf_fini(&b);
	return text;
}
