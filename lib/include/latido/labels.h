/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LABELS_H
#define LATIDO_LABELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/mem.h"

/*
 * Label sets: interned, so that two equal ones of a pool are the same pointer. A store of series and
 * the expressions evaluated over it share one pool. The metric name is the label __name__, as in
 * Prometheus. A pool and all label sets of it belong to one thread (or to one lock of the caller's).
 *
 * A set of n labels takes 16 + 8 n bytes and a slot of 8 in the pool's table; names and values are
 * stored once in the pool, however many sets use them, and freed with the last of these.
 */

struct lt_label_pool;

/** struct lt_labels - a label set; immutable, reference-counted, unique in its pool */
struct lt_labels {
	uint64_t hash; /* seeded: differs from pool to pool */
	uint32_t refs;
	uint16_t n;
	uint16_t flags; /* the pool's own */
	/* Symbols, in byte order of the names' texts; no label has an empty value. */
	struct lt_labels_pair {
		uint32_t name, value;
	} pair[];
};

/** struct lt_label_text - one label as text; need not be NUL-terminated */
struct lt_label_text {
	const char *name, *value;
	uint32_t name_len, value_len;
};

/** LT_SYM_NONE - no symbol; LT_SYM_NAME: __name__, the same in all pools */
#define LT_SYM_NONE UINT32_C(0)
#define LT_SYM_NAME UINT32_C(1)

struct lt_label_pool *lt_label_pool_new(void);
/** lt_label_pool_free() - NULL is fine; label sets that are still referenced become invalid. */
void lt_label_pool_free(struct lt_label_pool *p);

struct lt_label_pool_info {
	size_t sets, symbols;
	size_t bytes; /* of sets, symbols and both tables */
};
void lt_label_pool_info(const struct lt_label_pool *p, struct lt_label_pool_info *out);

/**
 * lt_labels_intern() - the label set with these labels, with one more reference
 * @l: any order; labels with an empty value are left out; of several with one name the last counts.
 *
 * Characters are not checked: names and values come from what checked them (events, parser).
 */
const struct lt_labels *lt_labels_intern(
	struct lt_label_pool *p, const struct lt_label_text *l, size_t n);
/** lt_labels_empty() - {}, with one more reference. */
const struct lt_labels *lt_labels_empty(struct lt_label_pool *p);
/**
 * lt_labels_with() - @l with some labels set, replaced or (empty value) removed
 *
 * Return: with one more reference; @l keeps its own.
 */
const struct lt_labels *lt_labels_with(struct lt_label_pool *p, const struct lt_labels *l,
	const struct lt_label_text *set, size_t n);
/** lt_labels_without_name() - @l without __name__, with one more reference. */
const struct lt_labels *lt_labels_without_name(struct lt_label_pool *p, const struct lt_labels *l);

/**
 * lt_labels_keep() - the part of @l whose names are among @names (@keep), or are not (!@keep)
 *
 * Return: with one more reference.
 */
const struct lt_labels *lt_labels_keep(struct lt_label_pool *p, const struct lt_labels *l,
	const uint32_t *names, size_t n, bool keep);

/** lt_labels_get() - one more reference; returns @l. */
const struct lt_labels *lt_labels_get(const struct lt_labels *l);
/** lt_labels_put() - drop a reference; NULL is fine. */
void lt_labels_put(struct lt_label_pool *p, const struct lt_labels *l);

/** lt_sym_text() - text of a symbol, NUL-terminated, valid as long as a set uses it; "" for none. */
const char *lt_sym_text(const struct lt_label_pool *p, uint32_t sym, size_t *len);
/** lt_sym_get() - the symbol of a text, with a reference; lt_sym_put() drops it. */
uint32_t lt_sym_get(struct lt_label_pool *p, const char *s, size_t n);
void lt_sym_put(struct lt_label_pool *p, uint32_t sym);

/** lt_labels_value_sym() - symbol of the value of label @name, LT_SYM_NONE when not there. */
static inline uint32_t lt_labels_value_sym(const struct lt_labels *l, uint32_t name)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->pair[i].name == name)
			return l->pair[i].value;
	return LT_SYM_NONE;
}

/** lt_labels_value() - value of the label @name; "" when not there. */
const char *lt_labels_value(
	const struct lt_label_pool *p, const struct lt_labels *l, const char *name);

/** lt_labels_cmp() - order of Prometheus (names and values in turn, bytewise), for sorting output. */
int lt_labels_cmp(
	const struct lt_label_pool *p, const struct lt_labels *a, const struct lt_labels *b);

/** lt_labels_format() - append name{a="x", b="y"}; {} without labels; Go's quoting as Prometheus. */
void lt_labels_format(const struct lt_label_pool *p, const struct lt_labels *l, struct lt_buf *out);

#endif
