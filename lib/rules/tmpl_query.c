/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "tmpl.h"

/* What templates query: a storage that keeps only what rules select must know it before. */

struct finder {
	struct lt_arena *arena;
	void (*fn)(void *ctx, const char *text, const struct tnode *at);
	void *ctx;
};

/* The text of a constant format, with something that parses in place of what is not known. */
static const char *fill_format(struct lt_arena *arena, const char *fmt, size_t len)
{
	struct lt_buf b = {0};
	const char *text;

	for (size_t i = 0; i < len; i++) {
		if (fmt[i] != '%') {
			lt_buf_char(&b, fmt[i]);
			continue;
		}
		i++;
		while (i < len && strchr("+-# 0123456789.", fmt[i]))
			i++;
		if (i < len && fmt[i] == '%') {
			lt_buf_char(&b, '%');
		} else if (i < len && fmt[i] == 'q') {
			lt_buf_str(&b, "\"" TMPL_HOLE "\"");
		} else if (i < len && strchr("sv", fmt[i])) {
			lt_buf_str(&b, TMPL_HOLE);
		} else if (i < len && strchr("defgEG", fmt[i])) {
			lt_buf_char(&b, '1');
		} else {
			lt_buf_fini(&b);
			return NULL;
		}
	}
	text = lt_arena_str(arena, b.data ? b.data : "", b.len);
	lt_buf_fini(&b);
	return text;
}

static const struct tnode *only_word(const struct tnode *n)
{
	while (n && n->kind == TN_PIPE && n->n == 1 && !n->n_decl && n->child->n == 1)
		n = n->child->child;
	return n;
}

static const char *text_of_command(struct lt_arena *arena, const struct tnode *cmd)
{
	const struct tnode *name = cmd->child, *fmt;

	if (cmd->n == 1) {
		name = only_word(name);
		return name->kind == TN_STRING ? lt_arena_str(arena, name->text, name->len) : NULL;
	}
	if (name->kind != TN_IDENT || strcmp(name->text, "printf"))
		return NULL;
	fmt = only_word(name->next);
	return fmt->kind == TN_STRING ? fill_format(arena, fmt->text, fmt->len) : NULL;
}

/* What a word gives, as far as it is known. */
static const char *text_of(struct lt_arena *arena, const struct tnode *n)
{
	n = only_word(n);
	if (n->kind == TN_STRING)
		return lt_arena_str(arena, n->text, n->len);
	if (n->kind == TN_PIPE && n->n == 1 && !n->n_decl)
		return text_of_command(arena, n->child);
	return NULL;
}

/* x | printf "..." : the format alone counts. */
static const char *text_before(
	struct lt_arena *arena, const struct tnode *pipe, const struct tnode *query)
{
	const struct tnode *c = pipe->child;

	while (c && c->next != query)
		c = c->next;
	return c && c->child ? text_of_command(arena, c) : NULL;
}

static void walk(struct finder *f, const struct tnode *n);

static void walk_pipe(struct finder *f, const struct tnode *pipe)
{
	const char *text;

	for (const struct tnode *c = pipe->child; c; c = c->next) {
		if (c->child->kind == TN_IDENT && !strcmp(c->child->text, "query")) {
			if (c->n > 1)
				text = text_of(f->arena, c->child->next);
			else
				text = text_before(f->arena, pipe, c);
			f->fn(f->ctx, text, c);
		}
		for (const struct tnode *w = c->child; w; w = w->next)
			walk(f, w);
	}
}

static void walk(struct finder *f, const struct tnode *n)
{
	switch (n->kind) {
	case TN_LIST:
		for (const struct tnode *c = n->child; c; c = c->next)
			walk(f, c);
		return;
	case TN_PIPE:
		walk_pipe(f, n);
		return;
	case TN_CHAIN:
		walk(f, n->child);
		return;
	default:
		if (n->pipe)
			walk(f, n->pipe);
		if (n->body)
			walk(f, n->body);
		if (n->otherwise)
			walk(f, n->otherwise);
		return;
	}
}

void tmpl_queries(const struct tmpl *t, struct lt_arena *arena,
	void (*fn)(void *ctx, const char *text, const struct tnode *at), void *ctx)
{
	struct finder f = {arena, fn, ctx};

	walk(&f, t->root);
}
