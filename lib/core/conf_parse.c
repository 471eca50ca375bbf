/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <yaml.h>

#include "conf_priv.h"

/*
 * From libyaml's events, not its documents: only events tell an alias from the node it stands for,
 * an explicit tag from a resolved one, and let us stop at a depth before anything deep is built.
 */

struct frame {
	struct lt_conf_node *node, *last; /* a map or list, and its last child */
	struct lt_conf_node *key;         /* of a map: the key that waits for its value */
};

struct builder {
	struct lt_conf_run *run;
	const struct lt_conf_source *src;
	struct lt_arena *arena;
	struct lt_conf_node *root;
	size_t n_documents;
	struct frame stack[LT_CONF_MAX_DEPTH];
	size_t depth;
};

static struct lt_conf_pos mark_pos(const struct builder *b, const yaml_mark_t *m)
{
	return (struct lt_conf_pos){.src = b->src, .line = m->line + 1, .col = m->column + 1};
}

static void attach(struct builder *b, struct lt_conf_node *node)
{
	struct frame *f;

	if (!b->depth) {
		b->root = node;
		return;
	}
	f = &b->stack[b->depth - 1];
	if (f->node->kind == LT_NODE_MAP && !f->key) {
		f->key = node;
		return;
	}
	node->key = f->key;
	f->key = NULL;
	if (f->last)
		f->last->next = node;
	else
		f->node->child = node;
	f->last = node;
	f->node->n++;
}

static struct lt_conf_node *add_node(
	struct builder *b, enum lt_conf_node_kind kind, const yaml_event_t *ev)
{
	struct lt_conf_node *n = lt_arena_alloc(b->arena, sizeof(*n));

	*n = (struct lt_conf_node){.kind = kind, .pos = mark_pos(b, &ev->start_mark)};
	attach(b, n);
	return n;
}

/* Things that YAML has and a configuration does not need. Names are not shown: an unquoted password
 * may look like one. Return: true when there was one. */
static bool refuse(struct builder *b, const yaml_event_t *ev, const yaml_char_t *anchor,
	const yaml_char_t *tag)
{
	struct lt_conf_pos pos = mark_pos(b, &ev->start_mark);

	if (anchor)
		lt_conf_say(b->run, LT_CONF_ERROR, &pos, NULL, false,
			"anchors are not supported; write the value out, or quote it if it starts "
			"with &");
	if (tag)
		lt_conf_say(b->run, LT_CONF_ERROR, &pos, NULL, false,
			"tags are not supported; remove it, or quote the value if it starts with "
			"!");
	return anchor || tag;
}

static bool push(struct builder *b, enum lt_conf_node_kind kind, const yaml_event_t *ev,
	const yaml_char_t *anchor, const yaml_char_t *tag)
{
	struct lt_conf_pos pos = mark_pos(b, &ev->start_mark);
	struct lt_conf_node *n;

	if (b->depth == LT_CONF_MAX_DEPTH) {
		lt_conf_say(b->run, LT_CONF_ERROR, &pos, NULL, false,
			"nested deeper than %d levels", LT_CONF_MAX_DEPTH);
		return false;
	}
	refuse(b, ev, anchor, tag);
	n = add_node(b, kind, ev);
	b->stack[b->depth++] = (struct frame){.node = n};
	return true;
}

static void add_scalar(struct builder *b, const yaml_event_t *ev)
{
	bool bad = refuse(b, ev, ev->data.scalar.anchor, ev->data.scalar.tag);
	struct lt_conf_node *n = add_node(b, bad ? LT_NODE_BAD : LT_NODE_SCALAR, ev);

	n->plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	n->len = ev->data.scalar.length;
	n->text = lt_arena_str(b->arena, (const char *)ev->data.scalar.value, n->len);
}

static void add_alias(struct builder *b, const yaml_event_t *ev)
{
	struct lt_conf_pos pos = mark_pos(b, &ev->start_mark);

	lt_conf_say(b->run, LT_CONF_ERROR, &pos, NULL, false,
		"aliases are not supported; write the value out, or quote it if it starts with *");
	add_node(b, LT_NODE_BAD, ev)->text = "";
}

static bool start_document(struct builder *b, const yaml_event_t *ev)
{
	struct lt_conf_pos pos = mark_pos(b, &ev->start_mark);

	if (!b->n_documents++)
		return true;
	lt_conf_say(b->run, LT_CONF_ERROR, &pos, NULL, false,
		"a second document starts here; a configuration is one document, use several -c");
	return false;
}

/* Return: false when there is no point in going on. */
static bool take(struct builder *b, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		return start_document(b, ev);
	case YAML_MAPPING_START_EVENT:
		return push(b, LT_NODE_MAP, ev, ev->data.mapping_start.anchor,
			ev->data.mapping_start.tag);
	case YAML_SEQUENCE_START_EVENT:
		return push(b, LT_NODE_SEQ, ev, ev->data.sequence_start.anchor,
			ev->data.sequence_start.tag);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		b->depth--;
		return true;
	case YAML_SCALAR_EVENT:
		add_scalar(b, ev);
		return true;
	case YAML_ALIAS_EVENT:
		add_alias(b, ev);
		return true;
	default:
		return true;
	}
}

/* Does the secret of an earlier line go on in the line of the error? Then show nothing of it. */
static bool in_multiline_text(const yaml_parser_t *p)
{
	return p->context && strstr(p->context, "scalar") &&
	       p->context_mark.line != p->problem_mark.line;
}

static void say_syntax(struct builder *b, const yaml_parser_t *p)
{
	struct lt_conf_pos pos = mark_pos(b, &p->problem_mark);
	const char *problem = p->problem ? p->problem : "cannot be parsed";
	bool tab = false;

	if (p->error == YAML_MEMORY_ERROR) {
		pos.line = 0;
		problem = "out of memory";
	} else if (p->error == YAML_READER_ERROR) {
		/* the reader knows a byte offset only */
		pos.line = pos.col = 1;
		for (size_t i = 0; i < p->problem_offset && i < b->src->size; i++) {
			pos.col++;
			if (b->src->data[i] == '\n') {
				pos.line++;
				pos.col = 1;
			}
		}
	} else if (p->problem_mark.index < b->src->size) {
		size_t line = 1, i = 0;

		for (; i < b->src->size && line < pos.line; i++)
			line += b->src->data[i] == '\n';
		i += p->problem_mark.column;
		tab = i < b->src->size && b->src->data[i] == '\t';
	}
	if (tab)
		lt_conf_say(b->run, LT_CONF_ERROR, &pos, NULL, false,
			"a tab cannot indent in YAML; use spaces");
	else
		lt_conf_say(b->run, LT_CONF_ERROR, &pos, NULL, in_multiline_text(p),
			"not valid YAML: %s%s%s%s", problem, p->context ? " (" : "",
			p->context ? p->context : "", p->context ? ")" : "");
}

/* Bytes that are no text would make libyaml's message and our excerpt useless. */
static bool is_text(struct lt_conf_run *run, const struct lt_conf_source *src)
{
	struct lt_conf_pos pos = {.src = src, .line = 1};
	const char *p = src->data, *end = p + src->size, *nl;

	for (; p < end; p = nl + 1, pos.line++) {
		nl = memchr(p, '\n', (size_t)(end - p));
		if (!nl)
			nl = end;
		if (!lt_utf8_valid(p, (size_t)(nl - p)))
			break;
	}
	if (p >= end)
		return true;
	for (pos.col = 1; p < nl; pos.col++) {
		size_t n = 1;

		while (n < 4 && n < (size_t)(nl - p) && !lt_utf8_valid(p, n))
			n++;
		if (!lt_utf8_valid(p, n))
			break;
		p += n;
	}
	lt_conf_say(run, LT_CONF_ERROR, &pos, NULL, true,
		"not UTF-8 text; save the file in that encoding");
	return false;
}

struct lt_conf_node *lt_conf_parse(
	struct lt_conf_run *run, const struct lt_conf_source *src, struct lt_arena *arena)
{
	struct builder b = {.run = run, .src = src, .arena = arena};
	yaml_parser_t parser;
	yaml_event_t ev;
	bool end = false, complete = true;

	if (!is_text(run, src))
		return NULL;
	if (!yaml_parser_initialize(&parser)) {
		struct lt_conf_pos pos = {.src = src};

		lt_conf_say(run, LT_CONF_ERROR, &pos, NULL, false, "out of memory");
		return NULL;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)src->data, src->size);
	while (!end) {
		if (!yaml_parser_parse(&parser, &ev)) {
			say_syntax(&b, &parser);
			complete = false;
			break;
		}
		end = ev.type == YAML_STREAM_END_EVENT;
		if (!take(&b, &ev)) {
			complete = false;
			end = true;
		}
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&parser);
	return complete ? b.root : NULL;
}
