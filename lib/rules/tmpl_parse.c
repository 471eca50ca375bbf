/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tmpl_parse.h"

#define MAX_TEXT  (64u * 1024)
/* Words of a command, commands of a pipeline, fields of a chain. */
#define MAX_WORDS 256

/* Variables that Prometheus defines in front of every template. */
static const char *const given[] = {"$", "$labels", "$externalLabels", "$externalURL", "$value"};

void *tparse_fail(struct parser *p, size_t at, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	if (p->failed)
		return NULL;
	p->failed = true;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	*p->at = at;
	lt_fail(p->err, LT_EINVAL, LT_CLS_CONFIG, "template", "%s", text);
	return NULL;
}

void tparse_advance(struct parser *p)
{
	p->tok = tmpl_lex(&p->lex);
	if (p->tok.kind == TOK_ERROR)
		tparse_fail(p, p->tok.pos, "%s", p->lex.error);
}

static bool is(const struct parser *p, enum tok_kind kind)
{
	return !p->failed && p->tok.kind == kind;
}

static bool skip_space(struct parser *p)
{
	bool any = is(p, TOK_SPACE);

	while (is(p, TOK_SPACE))
		tparse_advance(p);
	return any;
}

static bool word_is(const struct parser *p, const char *word)
{
	return is(p, TOK_KEYWORD) && p->tok.len == strlen(word) &&
	       !memcmp(p->tok.s, word, p->tok.len);
}

struct tnode *tparse_node(struct parser *p, enum tnode_kind kind, uint32_t pos)
{
	struct tnode *n = lt_arena_alloc(p->arena, sizeof(*n));

	*n = (struct tnode){.kind = kind, .pos = pos, .start = pos, .end = pos};
	return n;
}

static void add_child(struct tnode *list, struct tnode *child)
{
	struct tnode **p = &list->child;

	while (*p)
		p = &(*p)->next;
	*p = child;
	list->n++;
	list->end = child->end;
}

static void *unexpected(struct parser *p, const char *where)
{
	if (p->tok.kind == TOK_EOF)
		return tparse_fail(p, p->tok.pos, "unexpected EOF");
	if (p->tok.kind == TOK_RIGHT)
		return tparse_fail(p, p->tok.pos, "unexpected \"}}\" in %s", where);
	return tparse_fail(p, p->tok.pos, "unexpected \"%.*s\" in %s",
		(int)(p->tok.len < 60 ? p->tok.len : 60), p->tok.s, where);
}

/* ---- variables ---- */

static bool known_var(const struct parser *p, const char *s, size_t len)
{
	for (size_t i = 0; i < p->n_vars; i++) {
		if (p->vars[i].len == len && !memcmp(p->vars[i].s, s, len))
			return true;
	}
	return false;
}

static void declare(struct parser *p, const char *s)
{
	if (p->n_vars == MAX_VARS) {
		tparse_fail(p, p->tok.pos, "more than %d variables", MAX_VARS);
		return;
	}
	p->vars[p->n_vars].s = s;
	p->vars[p->n_vars++].len = strlen(s);
}

static struct tnode *var_node(struct parser *p)
{
	struct tnode *n = tparse_node(p, TN_VAR, p->tok.pos);

	if (!known_var(p, p->tok.s, p->tok.len))
		return tparse_fail(
			p, p->tok.pos, "undefined variable \"%.*s\"", (int)p->tok.len, p->tok.s);
	n->text = lt_arena_str(p->arena, p->tok.s, p->tok.len);
	n->len = p->tok.len;
	n->end = p->tok.pos + (uint32_t)p->tok.len;
	tparse_advance(p);
	return n;
}

static struct tnode *ident_node(struct parser *p)
{
	static const struct {
		const char *word;
		enum tnode_kind kind;
		bool truth;
	} words[] = {{"true", TN_BOOL, true}, {"false", TN_BOOL, false}, {"nil", TN_NIL, false}};
	struct tnode *n = tparse_node(p, TN_IDENT, p->tok.pos);

	n->text = lt_arena_str(p->arena, p->tok.s, p->tok.len);
	n->len = p->tok.len;
	n->end = p->tok.pos + (uint32_t)p->tok.len;
	for (size_t i = 0; i < LT_ARRAY_LEN(words); i++) {
		if (strcmp(n->text, words[i].word))
			continue;
		n->kind = words[i].kind;
		n->truth = words[i].truth;
		tparse_advance(p);
		return n;
	}
	n->func = tmpl_func_find(n->text, n->len);
	if (!n->func)
		return tparse_fail(p, p->tok.pos, "function \"%.60s\" not defined", n->text);
	if (!n->func->fn)
		return tparse_fail(p, p->tok.pos, "function \"%s\" is not supported", n->text);
	tparse_advance(p);
	return n;
}

/* ---- pipelines ---- */

static struct tnode *parse_pipeline(struct parser *p, const char *where, enum tok_kind end);

static void take_field(struct parser *p, struct tnode *n)
{
	const char **grown = lt_arena_alloc(p->arena, (n->n_fields + 1) * sizeof(*grown));

	if (n->n_fields == MAX_WORDS) {
		tparse_fail(p, p->tok.pos, "more than %d fields", MAX_WORDS);
		return;
	}
	for (size_t i = 0; i < n->n_fields; i++)
		grown[i] = n->fields[i];
	/* as in Go: the place of .a.b is that of .b, of $x.a that of .a */
	if (n->kind != TN_CHAIN && n->n_fields == (n->kind == TN_FIELD))
		n->pos = p->tok.pos;
	grown[n->n_fields++] = lt_arena_str(p->arena, p->tok.s + 1, p->tok.len - 1);
	n->fields = grown;
	n->end = p->tok.pos + (uint32_t)p->tok.len;
	tparse_advance(p);
}

static struct tnode *parse_term(struct parser *p)
{
	struct tnode *n;

	switch (p->tok.kind) {
	case TOK_IDENT:
		return ident_node(p);
	case TOK_DOT:
		n = tparse_node(p, TN_DOT, p->tok.pos);
		n->end = p->tok.pos + 1;
		tparse_advance(p);
		return n;
	case TOK_VAR:
		return var_node(p);
	case TOK_FIELD:
		n = tparse_node(p, TN_FIELD, p->tok.pos);
		take_field(p, n);
		return n;
	case TOK_NUMBER:
		return tparse_number(p);
	case TOK_CHAR:
		return tparse_char(p);
	case TOK_STRING:
	case TOK_RAW:
		return tparse_string(p);
	case TOK_LPAREN:
		if (++p->depth > TMPL_MAX_DEPTH)
			return tparse_fail(
				p, p->tok.pos, "nested deeper than %d levels", TMPL_MAX_DEPTH);
		tparse_advance(p);
		n = parse_pipeline(p, "parenthesized pipeline", TOK_RPAREN);
		p->depth--;
		return n;
	default:
		return NULL;
	}
}

/* Does this pipeline end with toTime, whose methods are not here? */
static bool gives_time(const struct tnode *pipe)
{
	const struct tnode *c = pipe->child;

	while (c && c->next)
		c = c->next;
	return pipe->kind == TN_PIPE && c && c->child->kind == TN_IDENT &&
	       !strcmp(c->child->text, "toTime");
}

static struct tnode *parse_operand(struct parser *p)
{
	struct tnode *n = parse_term(p), *chain;

	if (!n || !is(p, TOK_FIELD))
		return n;
	switch (n->kind) {
	case TN_FIELD:
	case TN_VAR:
		break;
	case TN_BOOL:
	case TN_STRING:
	case TN_NUMBER:
	case TN_NIL:
	case TN_DOT:
		return tparse_fail(p, p->tok.pos, "unexpected . after term \"%.*s\"",
			(int)(n->end - n->start), p->t->text + n->start);
	default:
		if (gives_time(n))
			return tparse_fail(p, p->tok.pos, "methods of times are not supported");
		chain = tparse_node(p, TN_CHAIN, p->tok.pos);
		chain->start = n->start;
		chain->child = n;
		n = chain;
		break;
	}
	while (is(p, TOK_FIELD))
		take_field(p, n);
	return n;
}

static struct tnode *parse_command(struct parser *p)
{
	struct tnode *cmd = tparse_node(p, TN_COMMAND, 0), *operand;

	skip_space(p);
	cmd->pos = cmd->start = cmd->end = p->tok.pos;
	for (;;) {
		skip_space(p);
		if (p->failed)
			return NULL;
		operand = parse_operand(p);
		if (p->failed)
			return NULL;
		if (cmd->n == MAX_WORDS)
			return tparse_fail(
				p, p->tok.pos, "more than %d words in a command", MAX_WORDS);
		if (operand)
			add_child(cmd, operand);
		if (is(p, TOK_SPACE))
			continue;
		if (is(p, TOK_PIPE)) {
			tparse_advance(p);
			break;
		}
		if (is(p, TOK_RIGHT) || is(p, TOK_RPAREN) || p->failed)
			break;
		return unexpected(p, "operand");
	}
	if (p->failed)
		return NULL;
	if (!cmd->child)
		return tparse_fail(p, cmd->pos, "empty command");
	return cmd;
}

/* "$x :=", "$i, $x :=" or "$x =" in front of a pipeline; leaves everything else as it is. */
static void parse_declaration(struct parser *p, struct tnode *pipe, bool is_range)
{
	struct lexer before = p->lex;
	struct tok tok = p->tok;

	while (is(p, TOK_VAR) && pipe->n_decl < 2) {
		pipe->decl[pipe->n_decl++] = lt_arena_str(p->arena, p->tok.s, p->tok.len);
		tparse_advance(p);
		skip_space(p);
		if (is(p, TOK_COMMA) && pipe->n_decl == 1) {
			if (!is_range) {
				tparse_fail(p, p->tok.pos, "too many declarations");
				return;
			}
			tparse_advance(p);
			skip_space(p);
			continue;
		}
		if (is(p, TOK_DECLARE) || is(p, TOK_ASSIGN)) {
			pipe->assign = is(p, TOK_ASSIGN);
			tparse_advance(p);
			return;
		}
		break;
	}
	if (p->failed)
		return;
	pipe->n_decl = 0;
	p->lex = before;
	p->tok = tok;
}

static bool executable(const struct tnode *n)
{
	return n->kind != TN_BOOL && n->kind != TN_DOT && n->kind != TN_NIL &&
	       n->kind != TN_NUMBER && n->kind != TN_STRING;
}

static struct tnode *parse_pipeline(struct parser *p, const char *where, enum tok_kind end)
{
	struct tnode *pipe = tparse_node(p, TN_PIPE, 0), *cmd;
	unsigned stage = 1;

	skip_space(p);
	pipe->pos = pipe->start = p->tok.pos;
	parse_declaration(p, pipe, !strcmp(where, "range"));
	for (;;) {
		skip_space(p);
		if (p->failed)
			return NULL;
		if (p->tok.kind == end) {
			pipe->end = p->tok.pos + (uint32_t)p->tok.len;
			tparse_advance(p);
			break;
		}
		cmd = parse_command(p);
		if (!cmd)
			return NULL;
		if (stage > MAX_WORDS)
			return tparse_fail(p, cmd->pos, "more than %d commands", MAX_WORDS);
		if (stage > 1 && !executable(cmd->child))
			return tparse_fail(
				p, cmd->pos, "non executable command in pipeline stage %u", stage);
		add_child(pipe, cmd);
		stage++;
	}
	if (!pipe->child)
		return tparse_fail(p, pipe->pos, "missing value for %s", where);
	for (size_t i = 0; i < pipe->n_decl && !pipe->assign; i++)
		declare(p, pipe->decl[i]);
	return p->failed ? NULL : pipe;
}

/* ---- lists and control ---- */

enum list_end { END_EOF = 0, END_END, END_ELSE };

static struct tnode *parse_list(struct parser *p, enum list_end *end);

static bool expect_right(struct parser *p, const char *where)
{
	skip_space(p);
	if (!is(p, TOK_RIGHT)) {
		if (!p->failed)
			unexpected(p, where);
		return false;
	}
	tparse_advance(p);
	return true;
}

static struct tnode *parse_control(struct parser *p, enum tnode_kind kind, const char *word)
{
	struct tnode *n = tparse_node(p, kind, p->tok.pos), *inner;
	size_t n_vars = p->n_vars;
	enum list_end end;

	if (++p->depth > TMPL_MAX_DEPTH)
		return tparse_fail(p, p->tok.pos, "nested deeper than %d levels", TMPL_MAX_DEPTH);
	n->pipe = parse_pipeline(p, word, TOK_RIGHT);
	if (!n->pipe)
		return NULL;
	p->range_depth += kind == TN_RANGE;
	n->body = parse_list(p, &end);
	p->range_depth -= kind == TN_RANGE;
	if (p->failed)
		return NULL;
	if (end == END_ELSE) {
		skip_space(p);
		if (kind == TN_IF && word_is(p, "if")) {
			/* {{else if x}} is {{else}}{{if x}} with one {{end}} for both. */
			tparse_advance(p);
			n->otherwise = tparse_node(p, TN_LIST, p->tok.pos);
			inner = parse_control(p, TN_IF, "if");
			if (!inner)
				return NULL;
			add_child(n->otherwise, inner);
			end = END_END;
		} else {
			if (!expect_right(p, "else"))
				return NULL;
			n->otherwise = parse_list(p, &end);
			if (end == END_ELSE)
				return tparse_fail(p, p->tok.pos, "expected end; found {{else}}");
		}
	}
	if (!p->failed && end == END_EOF)
		return tparse_fail(p, p->lex.len, "unexpected EOF");
	p->n_vars = n_vars;
	p->depth--;
	return p->failed ? NULL : n;
}

static struct tnode *parse_loop_word(struct parser *p, enum tnode_kind kind)
{
	struct tnode *n = tparse_node(p, kind, p->tok.pos);
	const char *word = kind == TN_BREAK ? "break" : "continue";

	if (!p->range_depth)
		return tparse_fail(p, p->tok.pos, "{{%s}} outside {{range}}", word);
	tparse_advance(p);
	return expect_right(p, word) ? n : NULL;
}

/* Behind "{{". @end: what ended the list instead of an action. Return: NULL with *@end, or failed. */
static struct tnode *parse_action(struct parser *p, enum list_end *end)
{
	struct tnode *n;

	skip_space(p);
	if (word_is(p, "end")) {
		tparse_advance(p);
		*end = END_END;
		expect_right(p, "end");
		return NULL;
	}
	if (word_is(p, "else")) {
		tparse_advance(p);
		*end = END_ELSE;
		return NULL;
	}
	if (is(p, TOK_KEYWORD)) {
		if (word_is(p, "break"))
			return parse_loop_word(p, TN_BREAK);
		if (word_is(p, "continue"))
			return parse_loop_word(p, TN_CONTINUE);
		if (word_is(p, "if")) {
			tparse_advance(p);
			return parse_control(p, TN_IF, "if");
		}
		if (word_is(p, "range")) {
			tparse_advance(p);
			return parse_control(p, TN_RANGE, "range");
		}
		if (word_is(p, "with")) {
			tparse_advance(p);
			return parse_control(p, TN_WITH, "with");
		}
		return tparse_fail(
			p, p->tok.pos, "%.*s is not supported", (int)p->tok.len, p->tok.s);
	}
	n = tparse_node(p, TN_ACTION, p->tok.pos);
	n->pipe = parse_pipeline(p, "command", TOK_RIGHT);
	return n->pipe ? n : NULL;
}

static struct tnode *parse_list(struct parser *p, enum list_end *end)
{
	struct tnode *list = tparse_node(p, TN_LIST, p->tok.pos), **tail = &list->child, *n;
	enum list_end ended;

	*end = END_EOF;
	while (!p->failed && p->tok.kind != TOK_EOF) {
		if (p->tok.kind == TOK_TEXT) {
			n = p->tok.len ? tparse_node(p, TN_TEXT, p->tok.pos) : NULL;
			if (n) {
				n->text = p->tok.s;
				n->len = p->tok.len;
			}
			tparse_advance(p);
			if (!n)
				continue;
		} else {
			tparse_advance(p);
			ended = END_EOF;
			n = parse_action(p, &ended);
			if (ended != END_EOF) {
				*end = ended;
				return list;
			}
			if (!n)
				return list;
		}
		*tail = n;
		tail = &n->next;
	}
	return list;
}

int tmpl_parse(struct lt_arena *arena, const char *name, const char *text, size_t len,
	struct tmpl **out, size_t *at, struct lt_err *err)
{
	struct parser p = {.arena = arena, .err = err, .at = at};
	enum list_end end;

	p.t = lt_arena_alloc(arena, sizeof(*p.t));
	*p.t = (struct tmpl){.name = name, .len = len, .constant = !memmem(text, len, "{{", 2)};
	p.t->text = lt_arena_str(arena, text, len);
	*at = 0;
	if (len > MAX_TEXT)
		return lt_fail(err, LT_EINVAL, LT_CLS_CONFIG, "template", "longer than %u bytes",
			MAX_TEXT);
	p.lex = (struct lexer){.text = p.t->text, .len = len};
	for (size_t i = 0; i < LT_ARRAY_LEN(given); i++)
		declare(&p, given[i]);
	tparse_advance(&p);
	p.t->root = parse_list(&p, &end);
	if (!p.failed && end == END_END)
		tparse_fail(&p, p.tok.pos, "unexpected {{end}}");
	if (!p.failed && end == END_ELSE)
		tparse_fail(&p, p.tok.pos, "unexpected {{else}}");
	if (p.failed)
		return LT_EINVAL;
	*out = p.t;
	return LT_OK;
}
