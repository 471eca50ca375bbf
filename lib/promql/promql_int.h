/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_PROMQL_INT_H
#define LATIDO_PROMQL_INT_H

#include "latido/promql.h"

/* What the files of lib/promql share: tokens, the tree of an expression, text helpers. */

/* ---- text (text.c, number.c) ---- */

/** pq_quote() - append @s as a Go string literal (strconv.Quote). */
void pq_quote(struct lt_buf *out, const char *s, size_t n);
/** pq_float_g() - append a float as Go's %v does: exponents below -4 and from 21 on. */
void pq_float_g(struct lt_buf *out, double v);
/**
 * pq_parse_float() - Go's strconv.ParseFloat
 *
 * Return: false when it is not a number or out of range.
 */
bool pq_parse_float(const char *s, size_t n, double *v);
/** pq_parse_number() - a number token: decimal or hexadecimal integer, octal by 0, or float. */
bool pq_parse_number(const char *s, size_t n, double *v);
/** pq_label_name_valid() - [a-zA-Z_][a-zA-Z0-9_]* */
bool pq_label_name_valid(const char *s, size_t n);
/** pq_labels_string() - {__name__="x", a="b"}: how error texts show a label set. */
void pq_labels_string(const struct lt_label_pool *p, const struct lt_labels *l, struct lt_buf *out);
/** pq_utf8_next() - decode one character; U+FFFD and 1 for an invalid byte. Return: its bytes. */
size_t pq_utf8_next(const char *s, size_t n, uint32_t *ch);
size_t pq_utf8_put(char out[4], uint32_t ch);

/* ---- tokens (lex.c) ---- */

enum pq_tok {
	T_EOF = 0,
	T_IDENT,  /* no colon */
	T_METRIC, /* identifier with a colon */
	T_NUMBER,
	T_DURATION,
	T_STRING,
	T_LPAREN,
	T_RPAREN,
	T_LBRACE,
	T_RBRACE,
	T_LBRACKET,
	T_RBRACKET,
	T_COMMA,
	T_EQL, /* = */
	T_COLON,
	T_AT,
	T_EQ_REGEX,
	T_NE_REGEX,
	/* Binary operators; PQ_IS_OP() counts on their order. */
	T_ADD,
	T_SUB,
	T_MUL,
	T_DIV,
	T_MOD,
	T_POW,
	T_ATAN2,
	T_EQ,
	T_NE,
	T_LT,
	T_LE,
	T_GT,
	T_GE,
	T_AND,
	T_OR,
	T_UNLESS,
	/* Aggregations. */
	T_SUM,
	T_AVG,
	T_COUNT,
	T_MIN,
	T_MAX,
	T_GROUP,
	T_STDDEV,
	T_STDVAR,
	T_TOPK,
	T_BOTTOMK,
	T_COUNT_VALUES,
	T_QUANTILE,
	/* Keywords. */
	T_OFFSET,
	T_BY,
	T_WITHOUT,
	T_ON,
	T_IGNORING,
	T_GROUP_LEFT,
	T_GROUP_RIGHT,
	T_BOOL,
	T_START,
	T_END,
};

#define PQ_IS_OP(t)      ((t) >= T_ADD && (t) <= T_UNLESS)
#define PQ_IS_CMP(t)     ((t) >= T_EQ && (t) <= T_GE)
#define PQ_IS_SET(t)     ((t) >= T_AND && (t) <= T_UNLESS)
#define PQ_IS_AGGR(t)    ((t) >= T_SUM && (t) <= T_QUANTILE)
/* Results of arithmetic have no metric name; atan2 keeps it: so does Prometheus. */
#define PQ_DROPS_NAME(t) ((t) >= T_ADD && (t) <= T_POW)
#define PQ_IS_KEY(t)     ((t) >= T_OFFSET && (t) <= T_BOOL)

struct pq_token {
	enum pq_tok type;
	uint32_t pos, len;
};

/** struct pq_lexer - reads one token after the other; its place in the grammar changes the rules */
struct pq_lexer {
	const char *text;
	uint32_t len, at;
	int parens;
	bool braces, brackets, colon;
	/* The first failure, of the lexer or of the parser; then every token is T_EOF. */
	bool failed;
	uint32_t fail_pos;
	char reason[400];
};

void pq_lex(struct pq_lexer *l, struct pq_token *out);
/** pq_lex_fail() - note the reason and the place, unless there is one already. */
void pq_lex_fail(struct pq_lexer *l, uint32_t pos, const char *fmt, ...) LT_PRINTF(3, 4);
/** pq_unexpected() - "unexpected X in context, expected Y" at token @t. */
void pq_unexpected(
	struct pq_lexer *l, const struct pq_token *t, const char *context, const char *expected);
/** pq_report() - hand the failure to the caller. Return: LT_EINVAL. */
int pq_report(const struct pq_lexer *l, struct lt_promql_pos *at, struct lt_err *err);
struct lt_promql_pos pq_pos(const char *text, uint32_t offset);
/** pq_unquote() - value of a string token, in @arena. Return: NULL after pq_lex_fail(). */
const char *pq_unquote(
	struct pq_lexer *l, const struct pq_token *t, struct lt_arena *arena, size_t *n);
/** pq_tok_name() - "+", "sum", ...; NULL for tokens without a fixed text. */
const char *pq_tok_name(enum pq_tok t);

/* ---- regular expressions (regex.c) ---- */

/**
 * pq_regex_new() - compile a pattern of RE2's syntax, anchored at both ends
 *
 * Return: NULL with the reason in @why.
 */
struct lt_regex *pq_regex_new(
	const char *s, size_t n, const struct lt_promql_limits *limits, char *why, size_t why_size);
void pq_regex_free(struct lt_regex *r);
/** pq_regex_match() - Return: 1, 0 or LT_EINVAL when a limit was met. */
int pq_regex_match(struct lt_regex *r, const char *s, size_t n, struct lt_err *err);
/**
 * pq_regex_expand() - append @tmpl with $1, ${name} replaced by groups of the match of @s
 *
 * Go's regexp.Expand. Return: 1, 0 when @s does not match, or LT_EINVAL.
 */
int pq_regex_expand(struct lt_regex *r, const char *s, size_t n, const char *tmpl, size_t tmpl_len,
	struct lt_buf *out, struct lt_err *err);
/** pq_re2_to_pcre() - check the syntax as Go's regexp does and write it in PCRE2's. */
bool pq_re2_to_pcre(const char *s, size_t n, struct lt_buf *out, char *why, size_t why_size);

/* ---- the tree ---- */

enum pq_kind {
	N_NUMBER,
	N_STRING,
	N_SELECTOR,
	N_SUBQUERY,
	N_UNARY,
	N_BINARY,
	N_AGGR,
	N_CALL,
	N_PAREN
};
enum pq_at { AT_NONE = 0, AT_TIME, AT_START, AT_END };
enum pq_card { CARD_ONE_TO_ONE = 0, CARD_MANY_TO_ONE, CARD_ONE_TO_MANY, CARD_MANY_TO_MANY };
/* What is known of the metric names in a vector: none has one, all have the same, anything. */
enum pq_names { NAMES_NONE = 0, NAMES_ONE, NAMES_ANY };

/** struct pq_when - the modifiers of a selector or subquery */
struct pq_when {
	int64_t offset_ms;
	int64_t at_ms;
	enum pq_at at;
	bool has_offset;
};

struct pq_list {
	uint32_t *sym;
	uint32_t n;
};

/** struct pq_cache - label sets computed from label sets, by position; holds references */
struct pq_cache {
	struct pq_cached {
		const struct lt_labels *in, *in2, *out;
	} * e;
	size_t n, cap;
};

struct pq_node {
	enum pq_kind kind;
	enum lt_promql_type type;
	enum pq_names names;
	uint32_t pos;
	uint32_t height;
	bool is_const; /* a scalar known beforehand: number */
	double number;
	union {
		struct {
			const char *s;
			size_t n;
		} str;
		struct {
			struct lt_promql_selector *pub;
			struct pq_when when;
			int64_t range_ms; /* 0: instant */
			const char *name; /* as written before the braces, or NULL */
		} sel;
		struct {
			struct pq_node *expr;
			struct pq_when when;
			int64_t range_ms, step_ms; /* step 0: default */
		} subq;
		struct {
			struct pq_node *expr;
			enum pq_tok op;
			struct pq_cache cache;
		} unary;
		struct {
			struct pq_node *expr;
		} paren;
		struct {
			struct pq_node *l, *r;
			enum pq_tok op;
			uint32_t op_pos;
			bool return_bool, on;
			enum pq_card card;
			struct pq_list match, include;
			bool has_match;        /* on or ignoring was written */
			struct pq_list ignore; /* match and the metric name */
			struct pq_cache lsig, rsig, result;
		} bin;
		struct {
			struct pq_node *expr, *param;
			enum pq_tok op;
			bool without;
			struct pq_list by;
			struct pq_list drop;  /* by and the metric name */
			uint32_t value_label; /* count_values */
			struct pq_cache cache;
		} aggr;
		struct {
			const struct pq_func *fn;
			struct pq_node **args;
			uint32_t n_args;
			struct lt_regex *regex;         /* label_replace */
			const struct lt_labels *absent; /* absent, absent_over_time */
			struct pq_cache cache;
		} call;
	};
};

struct lt_promql_expr {
	struct lt_label_pool *pool;
	struct lt_promql_limits limits;
	struct lt_arena arena; /* the tree */
	struct pq_node *root;
	char *text;
	struct lt_promql_selector **sel;
	size_t n_sel, cap_sel;
	/* For lt_promql_free(). */
	struct pq_node **nodes;
	size_t n_nodes, cap_nodes;
	uint32_t *syms;
	size_t n_syms, cap_syms;
};

/** pq_strip() - without parentheses */
static inline struct pq_node *pq_strip(struct pq_node *n)
{
	while (n->kind == N_PAREN)
		n = n->paren.expr;
	return n;
}

/** pq_check() - types, limits, constants, windows (check.c). Return: false after pq_lex_fail(). */
bool pq_check(struct lt_promql_expr *e, struct pq_lexer *l);
/** pq_sym() - symbol of a text, released with the expression. */
uint32_t pq_sym(struct lt_promql_expr *e, const char *s, size_t n);

/* ---- functions (functions.c) ---- */

struct pq_window;
struct pq_eval;
struct pq_vec;

/** struct pq_func - a function of the language; exactly one of the last four is set */
struct pq_func {
	const char *name;
	uint8_t n_args;
	int8_t variadic; /* how many more (or, if 1, fewer) arguments; -1: any number */
	uint8_t args[5]; /* enum lt_promql_type */
	uint8_t ret;
	bool keeps_name;
	double (*math)(double);
	/* One series' samples to a value. Return: 1, 0: no value, or a code. */
	int (*range)(const struct pq_window *w, double *out);
	double (*date)(int64_t unix_s);
	int (*call)(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
};

const struct pq_func *pq_func_find(const char *s, size_t n);
/** pq_func_refused() - why a function that newer releases or histograms have is refused; or NULL. */
const char *pq_func_refused(const char *s, size_t n);
/** pq_binary() - an arithmetic operator on two numbers, or a comparison as 0 or 1. */
double pq_binary(enum pq_tok op, double l, double r);

#endif
