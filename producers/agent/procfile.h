/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_PROCFILE_H
#define LATIDO_AGENT_PROCFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/err.h"

/* A file of /proc or /sys is never larger; what is, is not one of ours. */
#define LT_PROCFILE_MAX_BYTES ((size_t)16 << 20)

/**
 * struct lt_procfile - a file of /proc or /sys that stays open and is read again and again
 *
 * Reading is pread(2) from offset 0 into a buffer that grows. The text is NUL-terminated; it may
 * hold NUL bytes of its own, which the scanners below treat as an end.
 */
struct lt_procfile {
	char *path;
	int fd; /* -1: closed; the next read opens it */
	bool single;
	bool transient; /* closed after each read: there are too many like it */
	char *buf;
	size_t len;
	size_t cap;
};

/**
 * lt_procfile_init() - describe the file; opens nothing
 * @single: its driver shows all of it by one read(2) when the buffer is large enough, so that a
 *	short read is its end; otherwise only an empty read is.
 * @path: taken over (heap).
 */
void lt_procfile_init(struct lt_procfile *f, char *path, bool single);
/** lt_procfile_fini() - safe on a zeroed one. */
void lt_procfile_fini(struct lt_procfile *f);

/**
 * lt_procfile_read() - read the whole file anew into f->buf, f->len
 *
 * After a failure the file is closed, so that the next read opens it afresh.
 * Return: LT_OK; LT_EAGAIN: there is no such file, device or value here (ENOENT, ENODEV, ENODATA,
 * EOPNOTSUPP ...); LT_EAUTH: not permitted; LT_EIO; LT_EDATA: larger than LT_PROCFILE_MAX_BYTES.
 */
int lt_procfile_read(struct lt_procfile *f, struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_procfile_number() - read a file that holds one number and nothing else; uses no buffer
 * Return: as above, or LT_EDATA: something else is in it.
 */
int lt_procfile_number(struct lt_procfile *f, double *value, struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_procfile_once() - first line of a small file, for names that do not change
 * @out: NUL-terminated, surrounding blanks cut; "" on failure.
 * Return: false when it cannot be read or does not fit.
 */
bool lt_procfile_once(const char *path, char *out, size_t size);

/* ---- scanning text; all of these stop at a NUL and never read behind it ---- */

/** struct lt_token - a piece of a text, not NUL-terminated */
struct lt_token {
	const char *p;
	size_t len;
};

/** lt_scan_line() - next line without its newline. Return: false at the end. */
bool lt_scan_line(const char **cursor, struct lt_token *line);
/** lt_scan_word() - next run of non-blanks inside @line; shortens it. Return: false at its end. */
bool lt_scan_word(struct lt_token *line, struct lt_token *word);
/** lt_scan_u64() - the next word as a decimal number. Return: false: none, not one, too large. */
bool lt_scan_u64(struct lt_token *line, uint64_t *v);
/** lt_token_u64() - the whole of @t as a decimal number. */
bool lt_token_u64(struct lt_token t, uint64_t *v);
/** lt_token_double() - the whole of @t as a number, sign, fraction and exponent allowed. */
bool lt_token_double(struct lt_token t, double *v);
bool lt_token_is(struct lt_token t, const char *s);

#endif
