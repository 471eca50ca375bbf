/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_MEM_H
#define LATIDO_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/err.h"

/*
 * Allocation that does not fail: a daemon that cannot get memory says so and exits 1, and its
 * supervisor starts it again; what was accepted is in the spool, the broker or the database. Every
 * size that comes from outside is checked against a limit before it gets here.
 */
void *lt_malloc(size_t size) __attribute__((malloc, returns_nonnull));
void *lt_calloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *lt_realloc(void *p, size_t size) __attribute__((returns_nonnull));
char *lt_strdup(const char *s) __attribute__((malloc, returns_nonnull));
char *lt_strndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
/** lt_asprintf() - formatted heap string; the caller frees it. */
char *lt_asprintf(const char *fmt, ...) LT_PRINTF(1, 2);

/** lt_random_u64() - for hash seeds, jitter and names, not for keys; never fails, never 0. */
uint64_t lt_random_u64(void);

/**
 * struct lt_buf - growable byte string
 *
 * data[len] is always a NUL once anything was appended, so text can be used as a C string.
 * Zero-initialised is empty and valid. Not thread-safe.
 */
struct lt_buf {
	char *data;
	size_t len;
	size_t cap;
};

void lt_buf_fini(struct lt_buf *b);
/** lt_buf_reset() - empty, keeps the memory. */
void lt_buf_reset(struct lt_buf *b);
/** lt_buf_room() - make room for @n more bytes (plus NUL). Return: where they go. */
char *lt_buf_room(struct lt_buf *b, size_t n);
void lt_buf_add(struct lt_buf *b, const void *p, size_t n);
void lt_buf_str(struct lt_buf *b, const char *s);
void lt_buf_char(struct lt_buf *b, char c);
void lt_buf_printf(struct lt_buf *b, const char *fmt, ...) LT_PRINTF(2, 3);
/** lt_buf_json_str() - append a quoted JSON string; invalid UTF-8 becomes U+FFFD. */
void lt_buf_json_str(struct lt_buf *b, const char *s, size_t n);
/** lt_buf_double() - shortest text that reads back as the same double; NaN, +Inf, -Inf as such. */
void lt_buf_double(struct lt_buf *b, double v);
/** lt_buf_base64() - append standard base64 (RFC 4648, padded). */
void lt_buf_base64(struct lt_buf *b, const void *p, size_t n);

/** lt_utf8_valid() - RFC 3629 UTF-8 without NUL bytes. */
bool lt_utf8_valid(const char *s, size_t n);
/** lt_utf8_step() - bytes of the character at @s; 1 for what is none, so any text can be walked. */
size_t lt_utf8_step(const char *s, size_t left);
/** lt_utf8_printable() - what lt_utf8_step() found is nothing that a terminal would act on. */
bool lt_utf8_printable(const char *s, size_t n);

/**
 * struct lt_arena - bump allocator, freed as a whole
 *
 * Zero-initialised is empty and valid. Blocks grow geometrically from 4 KiB; lt_arena_reset()
 * keeps the largest one. Memory is 8-aligned and not cleared. Not thread-safe.
 */
struct lt_arena {
	struct lt_arena_block *head;
	size_t used;  /* bytes handed out since reset */
	size_t total; /* bytes held from the system */
};

void *lt_arena_alloc(struct lt_arena *a, size_t n) __attribute__((returns_nonnull));
void *lt_arena_dup(struct lt_arena *a, const void *p, size_t n) __attribute__((returns_nonnull));
/** lt_arena_str() - copy of @n bytes with a NUL behind them. */
char *lt_arena_str(struct lt_arena *a, const char *s, size_t n) __attribute__((returns_nonnull));
void lt_arena_reset(struct lt_arena *a);

/** struct lt_arena_mark - a point to return to */
struct lt_arena_mark {
	struct lt_arena_block *head;
	size_t head_used, used;
};
struct lt_arena_mark lt_arena_mark(const struct lt_arena *a);
/** lt_arena_rewind() - free everything that was allocated after @m was taken. */
void lt_arena_rewind(struct lt_arena *a, struct lt_arena_mark m);
void lt_arena_fini(struct lt_arena *a);

#endif
