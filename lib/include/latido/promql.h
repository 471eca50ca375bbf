/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_PROMQL_H
#define LATIDO_PROMQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/err.h"
#include "latido/labels.h"
#include "latido/mem.h"

/*
 * Prometheus's expression language, as of release 2.42, for float series. Specification:
 * prometheus.io/docs/prometheus/2.42/querying and, where that is silent, what the server answers
 * (tests/integration/test_promql_oracle.py compares both).
 *
 * An expression is parsed once (types checked, constants folded, regular expressions compiled) and
 * evaluated often. It keeps the label sets of its last results, so an expression, its label pool and
 * its storage belong to one thread at a time.
 */

/* ---- limits ---- */

/** struct lt_promql_limits - what one expression may cost; 0 in a field: its default */
struct lt_promql_limits {
	uint32_t max_text_bytes;  /* of an expression (65 536) */
	uint32_t max_depth;       /* nesting of an expression, operators in a row included (256) */
	uint32_t max_regex_bytes; /* of one pattern (4 096) */
	uint32_t regex_match_limit; /* steps of PCRE2 for one label value (100 000) */
	uint32_t regex_heap_kib;    /* PCRE2's memory for one label value (1 024) */
	uint32_t max_series;        /* that one selector or one result may have (1 000 000) */
	uint64_t max_samples;       /* read and computed by one evaluation (50 000 000) */
	uint32_t max_steps;         /* of a subquery or of a range evaluation (11 000) */
	int64_t max_window_ms;      /* largest range, offset and subquery together (400 days) */
	int64_t lookback_ms;        /* of instant selectors (300 000) */
	int64_t subquery_step_ms;   /* of [1h:]; Prometheus: its evaluation interval (60 000) */
};
/** lt_promql_limits_defaults() - fill every field that is 0. */
void lt_promql_limits_defaults(struct lt_promql_limits *l);

/* ---- values ---- */

/** LT_PROMQL_STALE_BITS - the NaN that ends a series: Prometheus's staleness marker */
#define LT_PROMQL_STALE_BITS UINT64_C(0x7ff0000000000002)

static inline double lt_promql_stale(void)
{
	uint64_t bits = LT_PROMQL_STALE_BITS;
	double v;

	__builtin_memcpy(&v, &bits, 8);
	return v;
}

static inline bool lt_promql_is_stale(double v)
{
	uint64_t bits;

	__builtin_memcpy(&bits, &v, 8);
	return bits == LT_PROMQL_STALE_BITS;
}

/** struct lt_point - one value at one time */
struct lt_point {
	int64_t t_ms;
	double v;
};

/** struct lt_points - growable array of points; zero-initialised is empty and valid */
struct lt_points {
	struct lt_point *p;
	size_t n, cap;
};
void lt_points_add(struct lt_points *a, int64_t t_ms, double v);
/** lt_points_room() - make room for @n more. Return: where they go; a->n is the caller's to raise. */
struct lt_point *lt_points_room(struct lt_points *a, size_t n);
void lt_points_fini(struct lt_points *a);

/* ---- parsing ---- */

enum lt_promql_type {
	LT_PROMQL_NONE = 0,
	LT_PROMQL_SCALAR,
	LT_PROMQL_STRING,
	LT_PROMQL_VECTOR,
	LT_PROMQL_MATRIX,
};
/** lt_promql_type_name() - "scalar", "string", "instant vector", "range vector". */
const char *lt_promql_type_name(enum lt_promql_type t);

/** struct lt_promql_pos - a place in an expression's text */
struct lt_promql_pos {
	uint32_t offset; /* bytes from the beginning */
	uint32_t line;   /* from 1 */
	uint32_t column; /* bytes, from 1 */
};

struct lt_promql_expr;

/**
 * lt_promql_parse() - read, check and prepare an expression
 * @pool: outlives the expression.
 * @limits: copied; NULL: defaults. Those of evaluation are kept in the expression.
 * @at: out, may be NULL: on failure, where.
 * @err: the reason alone, in Prometheus's words where it has some, without the position.
 *
 * What is not supported (native histograms, functions that Prometheus 2.42 does not know, regular
 * expressions that RE2 does not know) is refused at its position.
 * Return: LT_OK or LT_EINVAL (CONFIG).
 */
int lt_promql_parse(struct lt_label_pool *pool, const char *text, size_t len,
	const struct lt_promql_limits *limits, struct lt_promql_expr **out,
	struct lt_promql_pos *at, struct lt_err *err) LT_MUST_CHECK;
/** lt_promql_free() - NULL is fine. */
void lt_promql_free(struct lt_promql_expr *e);

enum lt_promql_type lt_promql_expr_type(const struct lt_promql_expr *e);
/** lt_promql_format() - append the canonical text; parsing it gives an equal expression. */
void lt_promql_format(const struct lt_promql_expr *e, struct lt_buf *out);

/** lt_promql_parse_metric() - a label set in text form: name{a="b"}, {a="b"}. */
int lt_promql_parse_metric(struct lt_label_pool *pool, const char *text, size_t len,
	const struct lt_labels **out, struct lt_promql_pos *at, struct lt_err *err) LT_MUST_CHECK;
/** struct lt_promql_seq - one value of promtool's series notation */
struct lt_promql_seq {
	double v; /* staleness marker for "stale" */
	bool omitted;
};
/**
 * lt_promql_parse_values() - promtool's series notation: "1+1x5 _x3 stale -1.5 NaN"
 * @out: heap array of @n, the caller's to free().
 */
int lt_promql_parse_values(const char *text, size_t len, struct lt_promql_seq **out, size_t *n,
	struct lt_promql_pos *at, struct lt_err *err) LT_MUST_CHECK;
/** lt_promql_parse_duration() - "1h30m", "15s", "100ms", "0". Return: false when @s is not one. */
bool lt_promql_parse_duration(const char *s, size_t n, int64_t *ms);
/** lt_promql_format_duration() - append it as Prometheus does: "1h30m", "0s". */
void lt_promql_format_duration(struct lt_buf *out, int64_t ms);
/** lt_promql_format_float() - append the shortest decimal without exponent; NaN, +Inf, -Inf. */
void lt_promql_format_float(struct lt_buf *out, double v);

/* ---- selectors ---- */

enum lt_match_op { LT_MATCH_EQ = 0, LT_MATCH_NE, LT_MATCH_RE, LT_MATCH_NRE };

struct lt_regex;

/** struct lt_matcher - a condition on one label; a missing label has the value "" */
struct lt_matcher {
	enum lt_match_op op;
	uint32_t name;    /* symbol */
	uint32_t value;   /* EQ, NE: symbol, LT_SYM_NONE for "" */
	const char *text; /* value or pattern as written, without quotes; NUL-terminated */
	size_t text_len;
	struct lt_regex *regex; /* RE, NRE: compiled, anchored at both ends */
};

/**
 * struct lt_promql_selector - one selector of an expression, and what it needs
 *
 * An evaluation at t reads samples in [t - back_ms, t + ahead_ms] (range, look-back, offset and
 * enclosing subqueries together), and if @absolute, also in [abs_min_ms, abs_max_ms], because it or
 * a subquery around it has "@ <time>". @start() and end() are t in an instant evaluation.
 */
struct lt_promql_selector {
	uint32_t index; /* 0, 1, ... in an expression, from left to right */
	uint32_t n_matchers;
	const struct lt_matcher *matchers;
	uint32_t name; /* symbol of the metric name when a matcher demands one, else LT_SYM_NONE */
	bool relative; /* back_ms and ahead_ms count */
	bool absolute; /* abs_min_ms and abs_max_ms count */
	int64_t back_ms;  /* may be negative: with a negative offset only later samples count */
	int64_t ahead_ms; /* 0 or less (an offset) in most expressions; > 0: samples after t */
	int64_t abs_min_ms, abs_max_ms;
	int64_t range_ms; /* of the selector itself; 0: instant */
	struct lt_promql_pos pos;
};

size_t lt_promql_selector_count(const struct lt_promql_expr *e);
const struct lt_promql_selector *lt_promql_selector(const struct lt_promql_expr *e, size_t i);

/** lt_matcher_match() - does a label value match? Return: 1, 0, or LT_EINVAL: regex limit met. */
int lt_matcher_match(const struct lt_matcher *m, const char *value, size_t len, struct lt_err *err);
/** lt_promql_selector_match() - do all matchers match? Return: 1, 0, or LT_EINVAL: regex limit met. */
int lt_promql_selector_match(const struct lt_label_pool *pool, const struct lt_promql_selector *s,
	const struct lt_labels *l, struct lt_err *err);
/** lt_promql_selector_same() - equal matchers (of one pool), so that both select the same series. */
bool lt_promql_selector_same(
	const struct lt_promql_selector *a, const struct lt_promql_selector *b);

/**
 * struct lt_promql_threshold - what "<selector> <comparison> <number>" demands of a sample
 * @sel: instant, without offset; the expression's.
 */
struct lt_promql_threshold {
	const struct lt_promql_selector *sel;
	enum lt_promql_cmp {
		LT_CMP_EQ = 0,
		LT_CMP_NE,
		LT_CMP_LT,
		LT_CMP_LE,
		LT_CMP_GT,
		LT_CMP_GE
	} cmp;
	double number;
};
/** lt_promql_threshold() - is the expression one, in either order? Without bool. */
bool lt_promql_threshold(const struct lt_promql_expr *e, struct lt_promql_threshold *out);
/** lt_promql_beyond() - does a sample meet it? Staleness markers do not. */
bool lt_promql_beyond(const struct lt_promql_threshold *t, double v);

/* ---- storage ---- */

/** struct lt_promql_series - one series as a storage hands it out */
struct lt_promql_series {
	const struct lt_labels *labels; /* of the expression's pool */
	const void *series;             /* the storage's own */
};

/**
 * struct lt_promql_storage - where an evaluation gets its samples
 *
 * All callbacks are called on the evaluating thread, during lt_promql_eval() only; what they hand out
 * must stay as it is until that returns.
 */
struct lt_promql_storage {
	void *ctx;
	/**
	 * @select: the series that match @sel (and may have samples in [mint_ms, maxt_ms])
	 *
	 * Called once a selector and evaluation. Stable order from call to call makes evaluations
	 * cheaper. @out: an array of the storage's. Return: LT_OK, or a code with @err, which ends
	 * the evaluation with that error.
	 */
	int (*select)(void *ctx, const struct lt_promql_expr *e,
		const struct lt_promql_selector *sel, int64_t mint_ms, int64_t maxt_ms,
		const struct lt_promql_series **out, size_t *n, struct lt_err *err);
	/**
	 * @last: the newest sample with mint_ms <= t <= maxt_ms, staleness markers included
	 *
	 * Return: false when there is none.
	 */
	bool (*last)(void *ctx, const void *series, int64_t mint_ms, int64_t maxt_ms,
		struct lt_point *out);
	/** @range: append all samples with mint_ms <= t <= maxt_ms to @out, by ascending time */
	void (*range)(void *ctx, const void *series, int64_t mint_ms, int64_t maxt_ms,
		struct lt_points *out);
	/** @soon: may be NULL; it will be asked for this series in a moment: a chance to prefetch */
	void (*soon)(void *ctx, const void *series);
	/** @done: may be NULL; the evaluation is over, what select() handed out is not used any more */
	void (*done)(void *ctx);
};

/* ---- evaluation ---- */

/** struct lt_promql_sample - an element of an instant vector */
struct lt_promql_sample {
	const struct lt_labels *labels;
	double v;
};

/** struct lt_promql_row - an element of a range vector */
struct lt_promql_row {
	const struct lt_labels *labels;
	const struct lt_point *points;
	size_t n;
};

/**
 * struct lt_promql_result - the answer; zero-initialised is valid and may be reused
 *
 * Owns its memory and references to its label sets until the next evaluation into it or
 * lt_promql_result_fini(). Vectors have no particular order, except after sort(), sort_desc(), topk
 * and bottomk; lt_promql_result_sort() gives one by labels.
 */
struct lt_promql_result {
	enum lt_promql_type type;
	int64_t t_ms;
	double scalar;
	const char *string; /* NUL-terminated */
	size_t string_len;
	struct lt_promql_sample *vector;
	struct lt_promql_row *matrix;
	size_t n;              /* elements of vector or matrix */
	uint64_t samples_read; /* from the storage */
	struct lt_arena arena; /* private, as is the pool */
	struct lt_label_pool *pool;
};
void lt_promql_result_fini(struct lt_promql_result *r);
void lt_promql_result_sort(struct lt_promql_result *r);

/**
 * lt_promql_eval() - evaluate at one instant
 * @e: its caches change; borrowed.
 * @t_ms: milliseconds since 1970.
 * @out: reused; on failure empty.
 *
 * A vector has the time @t_ms in all elements (as Prometheus's instant query answers). Return: LT_OK;
 * LT_EINVAL (POISON): the expression cannot be evaluated over these series, in Prometheus's words
 * (many-to-many matching, duplicate label sets); LT_EFULL (POISON): a limit was met, the text says
 * which; or what the storage returned.
 */
int lt_promql_eval(struct lt_promql_expr *e, int64_t t_ms, const struct lt_promql_storage *s,
	struct lt_promql_result *out, struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_promql_eval_range() - evaluate at start_ms, start_ms + step_ms, ... up to end_ms
 * @out: always a matrix; a scalar is one row without labels.
 *
 * The expression must be a scalar or an instant vector. Errors as lt_promql_eval().
 */
int lt_promql_eval_range(struct lt_promql_expr *e, int64_t start_ms, int64_t end_ms,
	int64_t step_ms, const struct lt_promql_storage *s, struct lt_promql_result *out,
	struct lt_err *err) LT_MUST_CHECK;

/* ---- a store in memory, for rule tests and tools ---- */

struct lt_promql_mem;

struct lt_promql_mem *lt_promql_mem_new(struct lt_label_pool *pool);
void lt_promql_mem_free(struct lt_promql_mem *m);
/** lt_promql_mem_add() - a sample; samples not newer than the series' last are ignored (false). */
bool lt_promql_mem_add(
	struct lt_promql_mem *m, const struct lt_labels *labels, int64_t t_ms, double v);
/** lt_promql_mem_storage() - valid as long as @m. */
const struct lt_promql_storage *lt_promql_mem_storage(struct lt_promql_mem *m);

#endif
