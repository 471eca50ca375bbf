/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <string.h>

#include "tmpl_lex.h"

static bool is_space(int c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Letters beyond ASCII are taken as they come; no Prometheus name has any. */
static bool is_word(int c)
{
	return c == '_' || isalnum(c) || c >= 0x80;
}

static int at(const struct lexer *l, size_t i)
{
	return l->at + i < l->len ? (unsigned char)l->text[l->at + i] : -1;
}

static struct tok make(const struct lexer *l, enum tok_kind kind, size_t start)
{
	return (struct tok){kind, l->text + start, l->at - start, (uint32_t)start};
}

static struct tok fail(struct lexer *l, size_t start, const char *why)
{
	l->error = why;
	return (struct tok){TOK_ERROR, l->text + start, 0, (uint32_t)start};
}

static bool starts(const struct lexer *l, size_t i, const char *what)
{
	size_t n = strlen(what);

	return l->at + i + n <= l->len && !memcmp(l->text + l->at + i, what, n);
}

/* " -}}" from here on: the text behind the action is trimmed. */
static bool trims_right(const struct lexer *l)
{
	return is_space(at(l, 0)) && starts(l, 1, "-}}");
}

/* A comment at the beginning of an action; NULL, or what is wrong with it. */
static const char *skip_comment(struct lexer *l)
{
	const char *end = memmem(l->text + l->at, l->len - l->at, "*/", 2);

	if (!end)
		return "unclosed comment";
	l->at = (size_t)(end + 2 - l->text);
	if (trims_right(l)) {
		l->at += 4;
		l->trim_next = true;
	} else if (starts(l, 0, "}}")) {
		l->at += 2;
	} else {
		return "comment ends before closing delimiter";
	}
	return NULL;
}

/* Text up to the next action; empty text is left out by the parser. */
static struct tok lex_text(struct lexer *l)
{
	size_t start = l->at, end;
	const char *left = memmem(l->text + l->at, l->len - l->at, "{{", 2);
	struct tok t;

	if (l->trim_next) {
		while (start < l->len && is_space((unsigned char)l->text[start]))
			start++;
		l->trim_next = false;
	}
	end = left ? (size_t)(left - l->text) : l->len;
	l->at = end;
	if (left && starts(l, 2, "-") && is_space(at(l, 3))) {
		while (end > start && is_space((unsigned char)l->text[end - 1]))
			end--;
	}
	if (start > end)
		start = end;
	t = (struct tok){TOK_TEXT, l->text + start, end - start, (uint32_t)start};
	return t;
}

static struct tok lex_left(struct lexer *l)
{
	size_t start = l->at;
	const char *why;

	l->at += 2;
	if (at(l, 0) == '-' && is_space(at(l, 1)))
		l->at += 2;
	if (starts(l, 0, "/*")) {
		why = skip_comment(l);
		if (why)
			return fail(l, start, why);
		return tmpl_lex(l);
	}
	l->inside = true;
	l->parens = 0;
	return make(l, TOK_LEFT, start);
}

static struct tok lex_quoted(struct lexer *l, char quote, enum tok_kind kind, const char *why)
{
	size_t start = l->at++;

	for (;; l->at++) {
		int c = at(l, 0);

		if (c < 0 || (c == '\n' && quote != '`'))
			return fail(l, start, why);
		if (c == '\\' && quote != '`')
			l->at++;
		else if (c == quote)
			break;
	}
	l->at++;
	return make(l, kind, start);
}

static struct tok lex_word(struct lexer *l, enum tok_kind kind)
{
	static const char *const keywords[] = {"if", "else", "end", "range", "with", "break",
		"continue", "define", "template", "block"};
	size_t start = l->at++;
	struct tok t;

	while (is_word(at(l, 0)))
		l->at++;
	t = make(l, kind, start);
	for (size_t i = 0; kind == TOK_IDENT && i < LT_ARRAY_LEN(keywords); i++) {
		if (strlen(keywords[i]) == t.len && !memcmp(keywords[i], t.s, t.len))
			t.kind = TOK_KEYWORD;
	}
	/* What may follow a name directly. */
	if (at(l, 0) >= 0 && !is_space(at(l, 0)) && !strchr(".,|:=)(", at(l, 0)) &&
		!starts(l, 0, "}}"))
		return fail(l, l->at, "bad character");
	return t;
}

static struct tok lex_number(struct lexer *l)
{
	size_t start = l->at++;

	while (is_word(at(l, 0)) || at(l, 0) == '.' ||
		((at(l, 0) == '+' || at(l, 0) == '-') && strchr("eEpP", l->text[l->at - 1])))
		l->at++;
	return make(l, TOK_NUMBER, start);
}

static struct tok lex_space(struct lexer *l)
{
	size_t start = l->at;

	while (is_space(at(l, 0))) {
		if (trims_right(l))
			break;
		l->at++;
	}
	return make(l, TOK_SPACE, start);
}

static struct tok lex_right(struct lexer *l, size_t size)
{
	size_t start = l->at;

	if (l->parens)
		return fail(l, start, "unclosed left paren");
	l->at += size;
	l->inside = false;
	l->trim_next = size > 2;
	return make(l, TOK_RIGHT, start);
}

static struct tok lex_sign(struct lexer *l, enum tok_kind kind, size_t size)
{
	size_t start = l->at;

	l->at += size;
	return make(l, kind, start);
}

static struct tok lex_inside(struct lexer *l)
{
	int c = at(l, 0);

	if (trims_right(l))
		return lex_right(l, 4);
	if (starts(l, 0, "}}"))
		return lex_right(l, 2);
	if (c < 0)
		return fail(l, l->at, "unclosed action");
	if (is_space(c))
		return lex_space(l);
	switch (c) {
	case '"':
		return lex_quoted(l, '"', TOK_STRING, "unterminated quoted string");
	case '`':
		return lex_quoted(l, '`', TOK_RAW, "unterminated raw quoted string");
	case '\'':
		return lex_quoted(l, '\'', TOK_CHAR, "unterminated character constant");
	case '|':
		return lex_sign(l, TOK_PIPE, 1);
	case ',':
		return lex_sign(l, TOK_COMMA, 1);
	case '=':
		return lex_sign(l, TOK_ASSIGN, 1);
	case ':':
		if (at(l, 1) != '=')
			return fail(l, l->at, "expected :=");
		return lex_sign(l, TOK_DECLARE, 2);
	case '(':
		l->parens++;
		return lex_sign(l, TOK_LPAREN, 1);
	case ')':
		if (--l->parens < 0)
			return fail(l, l->at, "unexpected right paren");
		return lex_sign(l, TOK_RPAREN, 1);
	case '$':
		return lex_word(l, TOK_VAR);
	case '.':
		if (at(l, 1) < '0' || at(l, 1) > '9') {
			if (is_word(at(l, 1)))
				return lex_word(l, TOK_FIELD);
			return lex_sign(l, TOK_DOT, 1);
		}
		return lex_number(l);
	default:
		if (isdigit(c) || c == '+' || c == '-')
			return lex_number(l);
		if (is_word(c))
			return lex_word(l, TOK_IDENT);
		return fail(l, l->at, "unexpected character");
	}
}

struct tok tmpl_lex(struct lexer *l)
{
	if (l->inside)
		return lex_inside(l);
	if (starts(l, 0, "{{") && !l->trim_next)
		return lex_left(l);
	if (l->at >= l->len)
		return (struct tok){.kind = TOK_EOF, .pos = (uint32_t)l->len, .s = ""};
	return lex_text(l);
}
