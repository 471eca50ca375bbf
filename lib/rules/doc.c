/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "doc.h"

/* What aliases and merges may make of a document, in nodes that are visited or copied. */
#define MAX_NODES 1000000

struct anchor {
	const char *name;
	struct node *node;
	struct anchor *next;
};

struct frame {
	struct node *node, *last;
	struct node *key;
	bool merging;                  /* the key is << */
	const struct node *merge_from; /* its value: taken up when the map is complete */
};

struct builder {
	struct report *rep;
	struct doc_file *file;
	struct node *root;
	struct anchor *anchors;
	struct frame stack[DOC_MAX_DEPTH];
	size_t depth, n_nodes;
	size_t n_documents;
};

static struct doc_pos mark_pos(const struct builder *b, const yaml_mark_t *m)
{
	return (struct doc_pos){.file = b->file, .line = m->line + 1, .col = m->column + 1};
}

bool node_is_null(const struct node *n)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL"};

	if (!n)
		return true;
	if (n->kind != NODE_SCALAR || n->style != STYLE_PLAIN)
		return false;
	for (size_t i = 0; i < LT_ARRAY_LEN(words); i++) {
		if (!strcmp(n->text, words[i]))
			return true;
	}
	return false;
}

static struct node *map_get(const struct node *map, const struct node *key)
{
	for (struct node *c = map->child; c; c = c->next) {
		if (c->key->len == key->len && !memcmp(c->key->text, key->text, key->len))
			return c;
	}
	return NULL;
}

static bool too_many(struct builder *b, const struct doc_pos *pos)
{
	if (++b->n_nodes <= MAX_NODES)
		return false;
	report_error(b->rep, pos, "more than %d values in one file", MAX_NODES);
	return true;
}

static void append(struct frame *f, struct node *node)
{
	if (f->last)
		f->last->next = node;
	else
		f->node->child = node;
	f->last = node;
	f->node->n++;
}

/* The entries of a map behind <<, where the map has no such key of its own before. */
static bool merge_map(struct builder *b, struct frame *f, const struct node *from)
{
	for (const struct node *c = from->child; c; c = c->next) {
		struct node *copy;

		if (map_get(f->node, c->key))
			continue;
		if (too_many(b, &from->pos))
			return false;
		copy = lt_arena_dup(&b->rep->arena, c, sizeof(*c));
		copy->next = NULL;
		append(f, copy);
	}
	return true;
}

static bool merge(struct builder *b, struct frame *f, const struct node *from)
{
	if (from->kind == NODE_MAP)
		return merge_map(b, f, from);
	if (from->kind == NODE_SEQ) {
		for (const struct node *c = from->child; c; c = c->next) {
			if (c->kind != NODE_MAP)
				break;
			if (!merge_map(b, f, c))
				return false;
			if (!c->next)
				return true;
		}
	}
	report_error(b->rep, &from->pos, "<< takes a map or a list of maps");
	return false;
}

static bool attach(struct builder *b, struct node *node)
{
	struct frame *f;
	struct node *old;

	if (!b->depth) {
		b->root = node;
		return true;
	}
	f = &b->stack[b->depth - 1];
	if (f->node->kind == NODE_MAP && !f->key) {
		if (node->kind != NODE_SCALAR) {
			report_error(b->rep, &node->pos, "a key must be a text");
			return false;
		}
		f->key = node;
		f->merging = node->style == STYLE_PLAIN && !strcmp(node->text, "<<");
		return true;
	}
	if (f->merging) {
		/* done when the value is complete: merge_done() */
		node->key = f->key;
		return true;
	}
	if (f->node->kind == NODE_MAP) {
		old = map_get(f->node, f->key);
		if (old) {
			report_error(b->rep, &f->key->pos,
				"key \"%s\" is there twice, first in line %zu", f->key->text,
				old->key->pos.line);
		}
		node->key = f->key;
		f->key = NULL;
	}
	append(f, node);
	return true;
}

/* A value behind << is complete. */
static bool merge_done(struct builder *b, const struct node *value)
{
	struct frame *f = b->depth ? &b->stack[b->depth - 1] : NULL;

	if (!f || !f->merging)
		return true;
	if (f->merge_from) {
		report_error(b->rep, &f->key->pos, "key \"<<\" is there twice");
		return false;
	}
	f->merging = false;
	f->key = NULL;
	f->merge_from = value;
	return true;
}

static void set_anchor(struct builder *b, const yaml_char_t *name, struct node *node)
{
	struct anchor *a;

	if (!name)
		return;
	a = lt_arena_alloc(&b->rep->arena, sizeof(*a));
	a->name = lt_arena_str(&b->rep->arena, (const char *)name, strlen((const char *)name));
	a->node = node;
	a->next = b->anchors;
	b->anchors = a;
}

static struct node *new_node(struct builder *b, enum node_kind kind, const yaml_event_t *ev)
{
	struct node *n = lt_arena_alloc(&b->rep->arena, sizeof(*n));

	*n = (struct node){.kind = kind, .pos = mark_pos(b, &ev->start_mark)};
	return too_many(b, &n->pos) ? NULL : n;
}

static bool on_scalar(struct builder *b, const yaml_event_t *ev)
{
	struct node *n = new_node(b, NODE_SCALAR, ev);
	const char *text = (const char *)ev->data.scalar.value;

	if (!n)
		return false;
	n->len = ev->data.scalar.length;
	n->text = lt_arena_str(&b->rep->arena, text, n->len);
	switch (ev->data.scalar.style) {
	case YAML_SINGLE_QUOTED_SCALAR_STYLE:
		n->style = STYLE_SINGLE;
		break;
	case YAML_DOUBLE_QUOTED_SCALAR_STYLE:
		n->style = STYLE_DOUBLE;
		break;
	case YAML_LITERAL_SCALAR_STYLE:
		n->style = STYLE_LITERAL;
		break;
	case YAML_FOLDED_SCALAR_STYLE:
		n->style = STYLE_FOLDED;
		break;
	default:
		n->style = STYLE_PLAIN;
		break;
	}
	if (memchr(text, '\0', n->len)) {
		report_error(b->rep, &n->pos, "a text must not have NUL characters");
		return false;
	}
	set_anchor(b, ev->data.scalar.anchor, n);
	return attach(b, n) && (b->stack[b->depth ? b->depth - 1 : 0].key == n || merge_done(b, n));
}

static bool on_start(struct builder *b, enum node_kind kind, const yaml_event_t *ev)
{
	struct node *n = new_node(b, kind, ev);

	if (!n)
		return false;
	if (b->depth == DOC_MAX_DEPTH) {
		report_error(b->rep, &n->pos, "nested deeper than %d levels", DOC_MAX_DEPTH);
		return false;
	}
	if (!attach(b, n))
		return false;
	set_anchor(b,
		kind == NODE_MAP ? ev->data.mapping_start.anchor : ev->data.sequence_start.anchor,
		n);
	b->stack[b->depth++] = (struct frame){.node = n};
	return true;
}

static bool on_alias(struct builder *b, const yaml_event_t *ev)
{
	struct doc_pos pos = mark_pos(b, &ev->start_mark);
	struct node *copy;

	for (const struct anchor *a = b->anchors; a; a = a->next) {
		if (strcmp(a->name, (const char *)ev->data.alias.anchor))
			continue;
		for (size_t i = 0; i < b->depth; i++) {
			if (b->stack[i].node == a->node) {
				report_error(b->rep, &pos, "*%s contains itself", a->name);
				return false;
			}
		}
		if (too_many(b, &pos))
			return false;
		copy = lt_arena_dup(&b->rep->arena, a->node, sizeof(*copy));
		copy->next = NULL;
		copy->key = NULL;
		return attach(b, copy) &&
		       (b->stack[b->depth ? b->depth - 1 : 0].key == copy || merge_done(b, copy));
	}
	report_error(b->rep, &pos, "*%s: there is no such anchor", ev->data.alias.anchor);
	return false;
}

static bool on_event(struct builder *b, const yaml_event_t *ev)
{
	struct frame *done;
	struct doc_pos pos;

	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (++b->n_documents == 2) {
			pos = mark_pos(b, &ev->start_mark);
			report_warn(b->rep, &pos, "only the first document of a file is read");
		}
		return true;
	case YAML_SCALAR_EVENT:
		return on_scalar(b, ev);
	case YAML_ALIAS_EVENT:
		return on_alias(b, ev);
	case YAML_MAPPING_START_EVENT:
		return on_start(b, NODE_MAP, ev);
	case YAML_SEQUENCE_START_EVENT:
		return on_start(b, NODE_SEQ, ev);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		done = &b->stack[--b->depth];
		return (!done->merge_from || merge(b, done, done->merge_from)) &&
		       merge_done(b, done->node);
	default:
		return true;
	}
}

static void parse_error(struct builder *b, const yaml_parser_t *p)
{
	/* Errors of the reader (encoding) have an offset instead of a mark. */
	struct doc_pos pos = mark_pos(b, &p->problem_mark);

	if (p->error == YAML_READER_ERROR) {
		pos.line = 1;
		while (pos.line < b->file->n_lines && b->file->lines[pos.line] <= p->problem_offset)
			pos.line++;
		pos.col = p->problem_offset - b->file->lines[pos.line - 1] + 1;
	}
	if (p->context)
		report_error(b->rep, &pos, "not YAML: %s, %s", p->problem, p->context);
	else
		report_error(b->rep, &pos, "not YAML: %s", p->problem ? p->problem : "no memory");
}

bool doc_parse(struct report *r, struct doc_file *f, struct node **root)
{
	struct builder b = {.rep = r, .file = f};
	size_t errors = r->n_errors;
	yaml_parser_t parser;
	yaml_event_t ev;
	bool end = false;

	*root = NULL;
	if (!yaml_parser_initialize(&parser)) {
		report_error(r, NULL, "%s: no memory", f->name);
		return false;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)f->text, f->len);
	while (!end) {
		if (!yaml_parser_parse(&parser, &ev)) {
			if (b.n_documents < 2)
				parse_error(&b, &parser);
			break;
		}
		end = ev.type == YAML_STREAM_END_EVENT;
		if (!on_event(&b, &ev) || b.n_documents > 1)
			end = true;
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&parser);
	*root = b.root;
	return r->n_errors == errors;
}

/* ---- places inside a scalar ---- */

struct walk {
	const char *p, *end; /* in the file */
	enum node_style style;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t utf8_size(const char *p)
{
	unsigned char c = (unsigned char)*p;

	return c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
}

/* Bytes of a double-quoted scalar's escape at @p. */
static size_t escape_size(const char *p)
{
	switch (p[1]) {
	case 'x':
		return 4;
	case 'u':
		return 6;
	case 'U':
		return 10;
	default:
		return p[1] ? 2 : 1;
	}
}

/* Is the backslash here one that ends the line, and stands for nothing? */
static bool is_continuation(const char *p)
{
	if (*p != '\\')
		return false;
	for (p++; *p == ' ' || *p == '\t'; p++)
		;
	return *p == '\n' || *p == '\r';
}

static void skip_blanks(struct walk *w)
{
	while (w->p < w->end &&
		(is_blank(*w->p) || (w->style == STYLE_DOUBLE && is_continuation(w->p))))
		w->p++;
}

/*
 * One character of the value: what is not white space stands in the file one by one in the same
 * order, whatever a style does with breaks and indentation.
 */
static void step(struct walk *w, const char *value, size_t size)
{
	size_t n = size;

	if (w->style == STYLE_DOUBLE && *w->p == '\\' && !is_continuation(w->p)) {
		w->p += escape_size(w->p);
		return;
	}
	if (is_blank(*value)) {
		if (*w->p == *value && *value != '\n')
			w->p++;
		return;
	}
	skip_blanks(w);
	if (w->style == STYLE_DOUBLE && *w->p == '\\')
		n = escape_size(w->p);
	else if (w->style == STYLE_SINGLE && *w->p == '\'')
		n = 2;
	w->p += n;
}

struct doc_pos doc_pos_in(const struct node *s, size_t offset)
{
	const struct doc_file *f = s->pos.file;
	struct walk w = {.style = s->style, .end = f->text + f->len};
	struct doc_pos pos = s->pos;
	size_t line = s->pos.line, size;
	const char *start;

	if (s->kind != NODE_SCALAR || !line || line > f->n_lines)
		return pos;
	w.p = f->text + f->lines[line - 1];
	for (size_t i = 1; i < s->pos.col && w.p < w.end; i++)
		w.p += utf8_size(w.p);
	if (s->style == STYLE_SINGLE || s->style == STYLE_DOUBLE)
		w.p++;
	if (s->style == STYLE_LITERAL || s->style == STYLE_FOLDED) {
		w.p = memchr(w.p, '\n', (size_t)(w.end - w.p));
		if (!w.p)
			return pos;
		skip_blanks(&w);
	}
	if (offset > s->len)
		offset = s->len;
	for (size_t i = 0; i < offset && w.p < w.end; i += size) {
		size = utf8_size(s->text + i);
		step(&w, s->text + i, size);
	}
	/* The place of a character, not of the blanks before it. */
	if (offset < s->len && !is_blank(s->text[offset]))
		skip_blanks(&w);
	if (w.p > w.end)
		w.p = w.end;
	while (line < f->n_lines && f->text + f->lines[line] <= w.p)
		line++;
	start = f->text + f->lines[line - 1];
	pos.line = line;
	pos.col = 1;
	while (start < w.p) {
		start += utf8_size(start);
		pos.col++;
	}
	return pos;
}
