/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tmpl.h"

/* What Prometheus puts in front of every template; places in messages count with it. */
#define PREAMBLE                                                       \
	"{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}" \
	"{{$externalURL := .ExternalURL}}{{$value := .Value}}"

enum flow { FLOW_NEXT = 0, FLOW_BREAK, FLOW_CONTINUE, FLOW_STOP };

static const struct tval nil = {.kind = TV_NIL};

struct tval tmpl_fail(struct tmpl_run *r, const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	if (!r->failed) {
		r->failed = true;
		va_start(ap, fmt);
		vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
		lt_buf_str(&r->why, text);
	}
	return nil;
}

static struct tval fail_at(struct tmpl_run *r, const struct tnode *n, const char *fmt, ...)
	LT_PRINTF(3, 4);

static struct tval fail_at(struct tmpl_run *r, const struct tnode *n, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	if (r->failed)
		return nil;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->at = n;
	return tmpl_fail(r, "%s", text);
}

/* A bound on time and memory, whatever loops and calls a template has. */
static bool may_go_on(struct tmpl_run *r, const struct tnode *n)
{
	if (r->failed)
		return false;
	if (++r->steps > TMPL_MAX_STEPS)
		fail_at(r, n, "more than %d steps", TMPL_MAX_STEPS);
	else if (r->out->len > TMPL_MAX_OUTPUT ||
		 r->arena->used - r->arena_base > 64u * TMPL_MAX_OUTPUT)
		fail_at(r, n, "more than %u bytes of output", TMPL_MAX_OUTPUT);
	return !r->failed;
}

/* ---- values ---- */

struct tval tmpl_text(const char *s, size_t len)
{
	return (struct tval){.kind = TV_STRING, .s = s, .len = len};
}

struct tval tmpl_string(struct tmpl_run *r, const struct lt_buf *b)
{
	return tmpl_text(lt_arena_str(r->arena, b->data ? b->data : "", b->len), b->len);
}

const char *tmpl_type_name(const struct tval *v)
{
	static const char *const names[] = {
		[TV_NIL] = "nil",
		[TV_BOOL] = "bool",
		[TV_INT] = "int",
		[TV_FLOAT] = "float64",
		[TV_STRING] = "string",
		[TV_LABELS] = "map[string]string",
		[TV_ARGS] = "map[string]interface {}",
		[TV_VECTOR] = "template.queryResult",
		[TV_SAMPLE] = "*template.sample",
		[TV_TIME] = "*time.Time",
		[TV_DATA] = "struct { Labels map[string]string; ExternalLabels map[string]string; "
			    "ExternalURL string; Value float64 }",
	};

	return names[v->kind];
}

bool tmpl_truth(const struct tval *v)
{
	switch (v->kind) {
	case TV_NIL:
		return false;
	case TV_BOOL:
		return v->b;
	case TV_INT:
		return v->i != 0;
	case TV_FLOAT:
		return v->f != 0;
	case TV_STRING:
		return v->len > 0;
	case TV_LABELS:
	case TV_ARGS:
		return v->map->n > 0;
	case TV_VECTOR:
		return v->vec->n > 0;
	default:
		return true;
	}
}

static const struct tval *map_get(const struct tmap *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++) {
		if (!strcmp(m->e[i].name, name))
			return &m->e[i].v;
	}
	return NULL;
}

static struct tval data_field(struct tmpl_run *r, const struct tnode *n, const char *name)
{
	static const struct tval dot = {.kind = TV_DATA};
	const struct tmpl_env *e = r->env;

	if (!strcmp(name, "Labels"))
		return (struct tval){.kind = TV_LABELS, .map = e->labels};
	if (!strcmp(name, "ExternalLabels"))
		return (struct tval){.kind = TV_LABELS, .map = e->external_labels};
	if (!strcmp(name, "ExternalURL"))
		return tmpl_text(e->external_url, strlen(e->external_url));
	if (!strcmp(name, "Value"))
		return (struct tval){.kind = TV_FLOAT, .f = e->value};
	return fail_at(r, n, "can't evaluate field %s in type %s", name, tmpl_type_name(&dot));
}

static struct tval eval_field(
	struct tmpl_run *r, const struct tnode *n, const struct tval *of, const char *name)
{
	const struct tval *found;

	switch (of->kind) {
	case TV_NIL:
		return fail_at(r, n, "nil data; no entry for key \"%s\"", name);
	case TV_LABELS:
	case TV_ARGS:
		found = map_get(of->map, name);
		if (found)
			return *found;
		return of->kind == TV_LABELS ? tmpl_text("", 0) : nil;
	case TV_SAMPLE:
		if (!strcmp(name, "Labels"))
			return (struct tval){.kind = TV_LABELS, .map = of->sample->labels};
		if (!strcmp(name, "Value"))
			return (struct tval){.kind = TV_FLOAT, .f = of->sample->v};
		break;
	case TV_DATA:
		return data_field(r, n, name);
	default:
		break;
	}
	return fail_at(r, n, "can't evaluate field %s in type %s", name, tmpl_type_name(of));
}

static struct tval eval_fields(struct tmpl_run *r, const struct tnode *n, struct tval v)
{
	for (size_t i = 0; i < n->n_fields && !r->failed; i++)
		v = eval_field(r, n, &v, n->fields[i]);
	return v;
}

/* ---- variables ---- */

static void push_var(struct tmpl_run *r, const char *name, struct tval v)
{
	if (r->n_vars == r->cap_vars) {
		r->cap_vars = r->cap_vars ? 2 * r->cap_vars : 16;
		r->vars = lt_realloc(r->vars, r->cap_vars * sizeof(*r->vars));
	}
	r->vars[r->n_vars++] = (struct tmpl_var){name, v};
}

static struct tmpl_var *find_var(struct tmpl_run *r, const char *name)
{
	for (size_t i = r->n_vars; i-- > 0;) {
		if (!strcmp(r->vars[i].name, name))
			return &r->vars[i];
	}
	return NULL;
}

/* ---- pipelines ---- */

static struct tval eval_pipe(struct tmpl_run *r, const struct tnode *pipe, struct tval dot);

static struct tval eval_word(struct tmpl_run *r, const struct tnode *n, struct tval dot);

/* Go checks each argument as soon as it is evaluated, and constants before that. */
static bool check_type(
	struct tmpl_run *r, char type, const struct tnode *word, const struct tval *v)
{
	static const struct {
		char type;
		enum tval_kind kind;
	} kinds[] = {{'s', TV_STRING}, {'v', TV_VECTOR}, {'p', TV_SAMPLE}};
	struct tval want = {0};
	struct lt_buf b = {0};

	for (size_t i = 0; i < LT_ARRAY_LEN(kinds); i++) {
		if (kinds[i].type == type)
			want.kind = kinds[i].kind;
	}
	if (type == 'a' || v->kind == want.kind)
		return true;
	if (word && word->kind == TN_NIL) {
		tmpl_fail(r, "cannot assign nil to %s", tmpl_type_name(&want));
	} else if (word &&
		   (word->kind == TN_NUMBER || word->kind == TN_BOOL || word->kind == TN_STRING)) {
		tmpl_node_text(&b, r->t, word);
		if (type == 's')
			tmpl_fail(r, "expected string; found %s", b.data);
		else
			tmpl_fail(r, "can't handle %s for arg of type %s", b.data,
				tmpl_type_name(&want));
	} else if (v->kind == TV_NIL) {
		tmpl_fail(r, "invalid value; expected %s", tmpl_type_name(&want));
	} else {
		tmpl_fail(r, "wrong type for value; expected %s; got %s", tmpl_type_name(&want),
			tmpl_type_name(v));
	}
	lt_buf_fini(&b);
	return false;
}

static char type_of_arg(const struct tmpl_func *f, size_t i)
{
	size_t n = strlen(f->types);

	return f->types[i < n ? i : n - 1];
}

/* and, or: what comes behind the answer is not evaluated. */
static bool short_circuit(struct tmpl_run *r, const struct tnode *word, size_t n, struct tval dot,
	const struct tval *last, struct tval *out)
{
	const char *name = word->text;
	bool until = !strcmp(name, "or");

	if (!until && strcmp(name, "and"))
		return false;
	for (const struct tnode *a = word->next; n; a = a->next, n--) {
		*out = eval_word(r, a, dot);
		if (r->failed || tmpl_truth(out) == until)
			return true;
	}
	if (last)
		*out = *last;
	return true;
}

static void wrong_number(
	struct tmpl_run *r, const struct tmpl_func *f, const struct tnode *name, size_t n)
{
	fail_at(r, name, "wrong number of args for %s: want %s%d got %zu", f->name,
		f->max < 0 ? "at least " : "", f->min, n);
}

/* The function's own error, not one of its arguments. */
static void own_failure(struct tmpl_run *r, const struct tmpl_func *f, const struct tnode *cmd)
{
	struct lt_buf b = {0};

	lt_buf_printf(&b, "error calling %s: %s", f->name, r->why.data + 1);
	lt_buf_fini(&r->why);
	r->why = b;
	r->at = cmd;
}

/*
 * A function with the @n words behind its name, and what was piped into it.
 * @whole: what is named when the function itself fails.
 */
static struct tval call(struct tmpl_run *r, const struct tnode *whole, const struct tnode *name,
	size_t n, struct tval dot, const struct tval *last)
{
	const struct tmpl_func *f = name->func;
	size_t n_args = n + (last ? 1 : 0), i = 0;
	struct tval *args, out = nil;

	r->at = name;
	if ((int)n_args < f->min || (f->max >= 0 && (int)n_args > f->max)) {
		wrong_number(r, f, name, n_args);
		return nil;
	}
	if (short_circuit(r, name, n, dot, last, &out))
		return out;
	args = lt_arena_alloc(r->arena, (n_args + 1) * sizeof(*args));
	for (const struct tnode *a = name->next; i < n; a = a->next) {
		args[i] = eval_word(r, a, dot);
		if (r->failed || !check_type(r, type_of_arg(f, i), a, &args[i]))
			return nil;
		i++;
	}
	if (last) {
		args[i] = *last;
		if (!check_type(r, type_of_arg(f, i), NULL, last))
			return nil;
	}
	out = f->fn(r, args, n_args);
	if (r->failed && r->why.data && r->why.data[0] == TMPL_OWN[0])
		own_failure(r, f, whole);
	return out;
}

/* A single word as an argument. */
static struct tval eval_word(struct tmpl_run *r, const struct tnode *n, struct tval dot)
{
	struct tmpl_var *var;

	if (!may_go_on(r, n))
		return nil;
	r->at = n;
	switch (n->kind) {
	case TN_DOT:
		return dot;
	case TN_NIL:
		return nil;
	case TN_BOOL:
		return (struct tval){.kind = TV_BOOL, .b = n->truth};
	case TN_NUMBER:
		if (n->is_int)
			return (struct tval){.kind = TV_INT, .i = n->i};
		return (struct tval){.kind = TV_FLOAT, .f = n->f};
	case TN_STRING:
		return tmpl_text(n->text, n->len);
	case TN_VAR:
		var = find_var(r, n->text);
		if (!var)
			return fail_at(r, n, "undefined variable: %s", n->text);
		return eval_fields(r, n, var->v);
	case TN_FIELD:
		return eval_fields(r, n, dot);
	case TN_CHAIN:
		return eval_fields(r, n, eval_word(r, n->child, dot));
	case TN_PIPE:
		return eval_pipe(r, n, dot);
	case TN_IDENT:
		return call(r, n, n, 0, dot, NULL);
	default:
		return nil;
	}
}

static struct tval eval_command(
	struct tmpl_run *r, const struct tnode *cmd, struct tval dot, const struct tval *last)
{
	const struct tnode *first = cmd->child;
	struct lt_buf b = {0};

	if (first->kind == TN_IDENT)
		return may_go_on(r, cmd) ? call(r, cmd, first, cmd->n - 1, dot, last) : nil;
	if (cmd->n > 1 || last) {
		if (first->kind == TN_FIELD || first->kind == TN_CHAIN ||
			(first->kind == TN_VAR && first->n_fields))
			return fail_at(r, first, "%s is not a method but has arguments",
				first->fields[first->n_fields - 1]);
		tmpl_node_text(&b, r->t, first);
		fail_at(r, first, "can't give argument to non-function %s", b.data);
		lt_buf_fini(&b);
		return nil;
	}
	if (first->kind == TN_NIL)
		return fail_at(r, first, "nil is not a command");
	return eval_word(r, first, dot);
}

/* The value of a pipeline, whatever takes it. */
static struct tval eval_commands(struct tmpl_run *r, const struct tnode *pipe, struct tval dot)
{
	struct tval v = nil;
	bool first = true;

	r->at = pipe;
	if (++r->depth > TMPL_MAX_DEPTH)
		return fail_at(r, pipe, "nested deeper than %d levels", TMPL_MAX_DEPTH);
	for (const struct tnode *c = pipe->child; c && !r->failed; c = c->next) {
		v = eval_command(r, c, dot, first ? NULL : &v);
		first = false;
	}
	r->depth--;
	return v;
}

static struct tval eval_pipe(struct tmpl_run *r, const struct tnode *pipe, struct tval dot)
{
	struct tval v = eval_commands(r, pipe, dot);
	struct tmpl_var *var;

	for (size_t i = 0; i < pipe->n_decl && !r->failed; i++) {
		var = pipe->assign ? find_var(r, pipe->decl[i]) : NULL;
		if (var)
			var->v = v;
		else if (pipe->assign)
			return tmpl_fail(r, "undefined variable: %s", pipe->decl[i]);
		else
			push_var(r, pipe->decl[i], v);
	}
	return v;
}

/* ---- control ---- */

static enum flow walk(struct tmpl_run *r, const struct tnode *list, struct tval dot);

static enum flow walk_item(struct tmpl_run *r, const struct tnode *n, struct tval dot,
	struct tval key, struct tval item)
{
	const struct tnode *pipe = n->pipe;
	size_t mark = r->n_vars;
	struct tval v[2] = {item, item};
	struct tmpl_var *var;
	enum flow flow;

	(void)dot;
	if (pipe->n_decl == 2)
		v[0] = key;
	for (size_t i = 0; i < pipe->n_decl; i++) {
		var = pipe->assign ? find_var(r, pipe->decl[i]) : NULL;
		if (var)
			var->v = v[i];
		else
			push_var(r, pipe->decl[i], v[i]);
	}
	flow = walk(r, n->body, item);
	r->n_vars = mark;
	return flow;
}

static enum flow walk_range(struct tmpl_run *r, const struct tnode *n, struct tval dot)
{
	enum flow flow = FLOW_NEXT;
	struct tval v, key, item;
	size_t count = 0;

	/* its variables take the items, not the pipeline's value */
	v = eval_commands(r, n->pipe, dot);
	if (r->failed)
		return FLOW_STOP;
	if (v.kind == TV_VECTOR) {
		count = v.vec->n;
	} else if (v.kind == TV_LABELS || v.kind == TV_ARGS) {
		count = v.map->n;
	} else if (v.kind != TV_NIL) {
		struct lt_buf b = {0};

		gofmt_value(&b, &v);
		tmpl_fail(r, "range can't iterate over %s", b.data ? b.data : "");
		lt_buf_fini(&b);
		return FLOW_STOP;
	}
	if (!count)
		return n->otherwise ? walk(r, n->otherwise, dot) : FLOW_NEXT;
	for (size_t i = 0; i < count && flow != FLOW_BREAK && flow != FLOW_STOP; i++) {
		if (v.kind == TV_VECTOR) {
			key = (struct tval){.kind = TV_INT, .i = (int64_t)i};
			item = (struct tval){.kind = TV_SAMPLE, .sample = v.vec->s[i]};
		} else {
			key = tmpl_text(v.map->e[i].name, strlen(v.map->e[i].name));
			item = v.map->e[i].v;
		}
		flow = walk_item(r, n, dot, key, item);
	}
	return flow == FLOW_STOP ? FLOW_STOP : FLOW_NEXT;
}

static enum flow walk_if(struct tmpl_run *r, const struct tnode *n, struct tval dot)
{
	size_t mark = r->n_vars;
	enum flow flow = FLOW_NEXT;
	struct tval v = eval_pipe(r, n->pipe, dot);

	if (r->failed)
		return FLOW_STOP;
	if (tmpl_truth(&v))
		flow = walk(r, n->body, n->kind == TN_WITH ? v : dot);
	else if (n->otherwise)
		flow = walk(r, n->otherwise, dot);
	r->n_vars = mark;
	return flow;
}

static void print(struct tmpl_run *r, const struct tval *v)
{
	struct tval f = {.kind = TV_FLOAT, .f = r->env->value};

	if (v->kind == TV_NIL)
		lt_buf_str(r->out, "<no value>");
	else if (v->kind == TV_DATA) {
		lt_buf_char(r->out, '{');
		gofmt_value(r->out, &(struct tval){.kind = TV_LABELS, .map = r->env->labels});
		lt_buf_char(r->out, ' ');
		gofmt_value(
			r->out, &(struct tval){.kind = TV_LABELS, .map = r->env->external_labels});
		lt_buf_printf(r->out, " %s ", r->env->external_url);
		gofmt_value(r->out, &f);
		lt_buf_char(r->out, '}');
	} else
		gofmt_value(r->out, v);
}

static enum flow walk_node(struct tmpl_run *r, const struct tnode *n, struct tval dot)
{
	struct tval v;

	switch (n->kind) {
	case TN_TEXT:
		lt_buf_add(r->out, n->text, n->len);
		return FLOW_NEXT;
	case TN_ACTION:
		v = eval_pipe(r, n->pipe, dot);
		if (!r->failed && !n->pipe->n_decl)
			print(r, &v);
		return FLOW_NEXT;
	case TN_IF:
	case TN_WITH:
		return walk_if(r, n, dot);
	case TN_RANGE:
		return walk_range(r, n, dot);
	case TN_BREAK:
		return FLOW_BREAK;
	case TN_CONTINUE:
		return FLOW_CONTINUE;
	default:
		return FLOW_NEXT;
	}
}

static enum flow walk(struct tmpl_run *r, const struct tnode *list, struct tval dot)
{
	enum flow flow = FLOW_NEXT;

	for (const struct tnode *n = list->child; n && flow == FLOW_NEXT; n = n->next) {
		if (!may_go_on(r, n))
			return FLOW_STOP;
		flow = walk_node(r, n, dot);
		if (r->failed)
			return FLOW_STOP;
	}
	return flow;
}

/* ---- messages ---- */

static void put_fields(struct lt_buf *out, const struct tnode *n)
{
	for (size_t i = 0; i < n->n_fields; i++)
		lt_buf_printf(out, ".%s", n->fields[i]);
}

static void put_pipe(struct lt_buf *out, const struct tmpl *t, const struct tnode *n)
{
	for (size_t i = 0; i < n->n_decl; i++)
		lt_buf_printf(out, "%s%s", i ? ", " : "", n->decl[i]);
	if (n->n_decl)
		lt_buf_str(out, n->assign ? " = " : " := ");
	for (const struct tnode *c = n->child; c; c = c->next) {
		if (c != n->child)
			lt_buf_str(out, " | ");
		tmpl_node_text(out, t, c);
	}
}

static void put_command(struct lt_buf *out, const struct tmpl *t, const struct tnode *n)
{
	for (const struct tnode *c = n->child; c; c = c->next) {
		if (c != n->child)
			lt_buf_char(out, ' ');
		if (c->kind == TN_PIPE)
			lt_buf_char(out, '(');
		tmpl_node_text(out, t, c);
		if (c->kind == TN_PIPE)
			lt_buf_char(out, ')');
	}
}

void tmpl_node_text(struct lt_buf *out, const struct tmpl *t, const struct tnode *n)
{
	switch (n->kind) {
	case TN_PIPE:
		put_pipe(out, t, n);
		return;
	case TN_COMMAND:
		put_command(out, t, n);
		return;
	case TN_IDENT:
		lt_buf_str(out, n->text);
		return;
	case TN_VAR:
		lt_buf_str(out, n->text);
		put_fields(out, n);
		return;
	case TN_FIELD:
		put_fields(out, n);
		return;
	case TN_CHAIN:
		if (n->child->kind == TN_PIPE)
			lt_buf_char(out, '(');
		tmpl_node_text(out, t, n->child);
		if (n->child->kind == TN_PIPE)
			lt_buf_char(out, ')');
		put_fields(out, n);
		return;
	default:
		lt_buf_add(out, t->text + n->start, n->end - n->start);
		return;
	}
}

/* ---- entry ---- */

/* "name:line:byte": as Go's ErrorContext, which knows the text with its preamble. */
static void put_place(struct lt_buf *out, const struct tmpl *t, const struct tnode *n)
{
	size_t line = 1, pos = n ? n->pos : 0, start = 0;

	for (size_t i = 0; i < pos; i++) {
		if (t->text[i] == '\n') {
			line++;
			start = i + 1;
		}
	}
	lt_buf_printf(
		out, "%s:%zu:%zu", t->name, line, pos - start + (start ? 0 : sizeof(PREAMBLE) - 1));
}

int tmpl_exec(const struct tmpl *t, const struct tmpl_env *env, struct lt_arena *arena,
	struct lt_buf *out, struct lt_buf *why)
{
	struct tmpl_run r = {
		.t = t, .env = env, .arena = arena, .out = out, .arena_base = arena->used};
	struct tval dot = {.kind = TV_DATA};
	size_t len = out->len;

	push_var(&r, "$", dot);
	push_var(&r, "$labels", (struct tval){.kind = TV_LABELS, .map = env->labels});
	push_var(&r, "$externalLabels",
		(struct tval){.kind = TV_LABELS, .map = env->external_labels});
	push_var(&r, "$externalURL", tmpl_text(env->external_url, strlen(env->external_url)));
	push_var(&r, "$value", (struct tval){.kind = TV_FLOAT, .f = env->value});
	walk(&r, t->root, dot);
	free(r.vars);
	if (r.failed) {
		out->len = len;
		lt_buf_str(why, "template: ");
		put_place(why, t, r.at);
		lt_buf_printf(why, ": executing \"%s\" at <", t->name);
		if (r.at)
			tmpl_node_text(why, t, r.at);
		lt_buf_printf(why, ">: %s", r.why.data);
	}
	lt_buf_fini(&r.why);
	return r.failed ? LT_EINVAL : LT_OK;
}
