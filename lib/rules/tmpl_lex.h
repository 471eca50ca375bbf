/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_RULES_TMPL_LEX_H
#define LATIDO_RULES_TMPL_LEX_H

#include "tmpl.h"

enum tok_kind {
	TOK_EOF = 0,
	TOK_ERROR,
	TOK_TEXT,
	TOK_LEFT,  /* {{ */
	TOK_RIGHT, /* }} */
	TOK_SPACE,
	TOK_IDENT,
	TOK_KEYWORD,
	TOK_FIELD, /* .x */
	TOK_DOT,
	TOK_VAR, /* $x or $ */
	TOK_NUMBER,
	TOK_CHAR,
	TOK_STRING,
	TOK_RAW,
	TOK_PIPE,
	TOK_LPAREN,
	TOK_RPAREN,
	TOK_DECLARE, /* := */
	TOK_ASSIGN,  /* = */
	TOK_COMMA,
};

struct tok {
	enum tok_kind kind;
	const char *s;
	size_t len;
	uint32_t pos;
};

struct lexer {
	const char *text;
	size_t len, at;
	bool inside;    /* an action */
	bool trim_next; /* the text that follows loses its leading space */
	int parens;
	const char *error; /* of TOK_ERROR */
};

struct tok tmpl_lex(struct lexer *l);

#endif
