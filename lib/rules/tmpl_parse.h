/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_RULES_TMPL_PARSE_H
#define LATIDO_RULES_TMPL_PARSE_H

#include "tmpl_lex.h"

#define MAX_VARS 64

/** struct parser - one template being read; tmpl_parse.c and tmpl_const.c */
struct parser {
	struct lexer lex;
	struct lt_arena *arena;
	struct tmpl *t;
	struct tok tok; /* the next one */
	struct lt_err *err;
	size_t *at;
	bool failed;
	unsigned depth, range_depth;
	struct {
		const char *s;
		size_t len;
	} vars[MAX_VARS];
	size_t n_vars;
};

/** tparse_fail() - remember the first thing that is wrong; returns NULL. */
void *tparse_fail(struct parser *p, size_t at, const char *fmt, ...) LT_PRINTF(3, 4);
/** tparse_advance() - to the next token. */
void tparse_advance(struct parser *p);
struct tnode *tparse_node(struct parser *p, enum tnode_kind kind, uint32_t pos);

/** tparse_string(), tparse_char(), tparse_number() - the constant at p->tok; NULL: failed. */
struct tnode *tparse_string(struct parser *p);
struct tnode *tparse_char(struct parser *p);
struct tnode *tparse_number(struct parser *p);

#endif
