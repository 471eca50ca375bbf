/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_RULES_TMPL_H
#define LATIDO_RULES_TMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/mem.h"
#include "latido/rules.h"

/*
 * Templates of labels and annotations: Go's text/template (as of Go 1.19) with the functions that
 * Prometheus 2.42 gives alert rules. Not there, and refused by tmpl_parse(): define, template, block,
 * call, js, complex numbers, methods of times.
 *
 * tmpl_lex.c, tmpl_parse.c, tmpl_const.c	text -> nodes
 * tmpl_exec.c			nodes + data -> text
 * tmpl_func.c, tmpl_human.c, tmpl_text.c	the functions
 * tmpl_query.c		what is queried
 * tmpl_fmt.c, tmpl_printf.c	Go's fmt: %v and friends
 */

#define TMPL_MAX_DEPTH  100
#define TMPL_MAX_OUTPUT (256u * 1024)
#define TMPL_MAX_STEPS  1000000

/* ---- nodes ---- */

enum tnode_kind {
	TN_LIST = 0,
	TN_TEXT,
	TN_ACTION,
	TN_IF,
	TN_RANGE,
	TN_WITH,
	TN_BREAK,
	TN_CONTINUE,
	TN_PIPE,
	TN_COMMAND,
	TN_IDENT,
	TN_VAR,
	TN_DOT,
	TN_FIELD,
	TN_CHAIN,
	TN_NIL,
	TN_BOOL,
	TN_NUMBER,
	TN_STRING,
};

struct tmpl_func;

struct tnode {
	enum tnode_kind kind;
	uint32_t pos;        /* in the template, as Go names it in messages */
	uint32_t start, end; /* what of the template it is */
	struct tnode *next;
	/* LIST: what it holds; PIPE: commands; COMMAND: words; CHAIN: what the fields are of */
	struct tnode *child;
	size_t n;
	/* ACTION, IF, RANGE, WITH */
	struct tnode *pipe, *body, *otherwise;
	/* PIPE: variables that take its value */
	const char *decl[2];
	size_t n_decl;
	bool assign; /* = instead of := */
	/* TEXT, IDENT, STRING (unquoted), VAR: name with its $ */
	const char *text;
	size_t len;
	const struct tmpl_func *func;
	/* VAR, FIELD, CHAIN */
	const char **fields;
	size_t n_fields;
	/* BOOL, NUMBER */
	bool truth, is_int;
	int64_t i;
	double f;
};

struct tmpl {
	const char *name; /* "__alert_<rule>", in messages */
	const char *text;
	size_t len;
	struct tnode *root;
	bool constant; /* no action in it */
};

/**
 * tmpl_parse() - into @arena
 * @at: out: on failure, the byte of @text.
 */
int tmpl_parse(struct lt_arena *arena, const char *name, const char *text, size_t len,
	struct tmpl **out, size_t *at, struct lt_err *err);

/**
 * tmpl_queries() - every call of query()
 * @fn: @text: what is queried; NULL when that is not known before. Of a printf with a constant
 *	format, the text with TMPL_HOLE for what verbs of text and 1 for what verbs of numbers
 *	give.
 */
#define TMPL_HOLE "latido:unknown:text"
void tmpl_queries(const struct tmpl *t, struct lt_arena *arena,
	void (*fn)(void *ctx, const char *text, const struct tnode *at), void *ctx);

/* ---- values ---- */

enum tval_kind {
	TV_NIL = 0,
	TV_BOOL,
	TV_INT,
	TV_FLOAT,
	TV_STRING,
	TV_LABELS, /* map[string]string */
	TV_ARGS,   /* map[string]interface {} */
	TV_VECTOR,
	TV_SAMPLE,
	TV_TIME,
	TV_DATA, /* what . is in the beginning */
};

struct tval {
	enum tval_kind kind;
	union {
		bool b;
		int64_t i; /* INT; TIME: nanoseconds since 1970 */
		double f;
		struct {
			const char *s;
			size_t len;
		};
		const struct tmap *map;
		const struct tvec *vec;
		const struct tsample *sample;
	};
};

/** struct tmap - entries by name */
struct tmap {
	size_t n;
	struct tmap_entry {
		const char *name;
		struct tval v;
	} e[];
};

struct tsample {
	const struct tmap *labels;
	double v;
};

struct tvec {
	size_t n;
	struct tsample *s[];
};

/* ---- execution ---- */

/** struct tmpl_env - the data of one execution */
struct tmpl_env {
	const struct tmap *labels, *external_labels;
	const char *external_url;
	double value;
	/* query(): an instant vector, in @arena. NULL: there is none. */
	int (*query)(void *ctx, const char *text, size_t len, struct lt_arena *arena,
		struct tvec **out, struct lt_err *err);
	void *query_ctx;
};

struct tmpl_var {
	const char *name;
	struct tval v;
};

/** struct tmpl_run - one execution under way */
struct tmpl_run {
	const struct tmpl *t;
	const struct tmpl_env *env;
	struct lt_arena *arena;
	struct lt_buf *out;
	const struct tnode *at; /* looked at last: where an error is */
	struct tmpl_var *vars;
	size_t n_vars, cap_vars;
	size_t steps, depth;
	size_t arena_base; /* in use before */
	bool failed;
	struct lt_buf why; /* what failed */
};

/**
 * tmpl_exec() - append the text that it gives
 * @arena: for what is needed meanwhile; the caller rewinds it.
 * @why: appended on failure, in Go's words: "template: __alert_X:1:120: executing ... ".
 *
 * Return: LT_OK or LT_EINVAL.
 */
int tmpl_exec(const struct tmpl *t, const struct tmpl_env *env, struct lt_arena *arena,
	struct lt_buf *out, struct lt_buf *why);
/** tmpl_node_text() - append a node as Go writes it in messages. */
void tmpl_node_text(struct lt_buf *out, const struct tmpl *t, const struct tnode *n);

/**
 * tmpl_fail() - the function at hand cannot go on; returns nil, and nothing more is executed
 * @fmt: begins with TMPL_OWN when the function itself failed, not Go's check of its arguments.
 */
#define TMPL_OWN "\x01"
struct tval tmpl_fail(struct tmpl_run *r, const char *fmt, ...) LT_PRINTF(2, 3);

/* ---- functions ---- */

/**
 * struct tmpl_func - a function of templates
 * @max: -1: any number. @fn: NULL: not supported.
 * @types: of its arguments: s text, v vector, p sample, a anything; the last one holds for all that
 *	follow. They are checked before @fn is called.
 */
struct tmpl_func {
	const char *name;
	int min, max;
	const char *types;
	struct tval (*fn)(struct tmpl_run *r, const struct tval *args, size_t n);
};
const struct tmpl_func *tmpl_func_find(const char *name, size_t len);

struct tval tmpl_string(struct tmpl_run *r, const struct lt_buf *b);
struct tval tmpl_text(const char *s, size_t len);
bool tmpl_truth(const struct tval *v);
const char *tmpl_type_name(const struct tval *v);

/* tmpl_human.c */
struct tval tf_humanize(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_humanize1024(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_humanize_duration(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_humanize_percentage(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_humanize_timestamp(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_to_time(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_parse_duration(struct tmpl_run *r, const struct tval *a, size_t n);

/* tmpl_text.c */
struct tval tf_title(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_upper(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_lower(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_match(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_replace(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_strip_port(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_strip_domain(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_html(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_urlquery(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_graph_link(struct tmpl_run *r, const struct tval *a, size_t n);
struct tval tf_table_link(struct tmpl_run *r, const struct tval *a, size_t n);
/** tmpl_query_escape() - Go's url.QueryEscape */
void tmpl_query_escape(struct lt_buf *out, const char *s, size_t len);

/* ---- Go's fmt ---- */

/** gofmt_value() - append %v of a value. */
void gofmt_value(struct lt_buf *out, const struct tval *v);
/** gofmt_printf() - append fmt.Sprintf. */
void gofmt_printf(
	struct lt_buf *out, const char *fmt, size_t len, const struct tval *args, size_t n);
/** gofmt_sprint() - append fmt.Sprint: spaces between operands that are both no strings. */
void gofmt_sprint(struct lt_buf *out, const struct tval *args, size_t n);
/** gofmt_float() - append strconv.FormatFloat(v, verb, prec, 64); prec -1: as many as needed. */
void gofmt_float(struct lt_buf *out, double v, char verb, int prec);
/** gofmt_quote() - append strconv.Quote. */
void gofmt_quote(struct lt_buf *out, const char *s, size_t len);
/** gofmt_time() - append time.Time.String() in UTC. */
void gofmt_time(struct lt_buf *out, int64_t ns);

#endif
