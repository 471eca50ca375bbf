/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_RULES_DOC_H
#define LATIDO_RULES_DOC_H

#include "latido/mem.h"

/*
 * YAML documents with the place of everything in them, and the report of what is wrong there.
 */

#define DOC_MAX_BYTES (16u * 1024 * 1024)
#define DOC_MAX_DEPTH 32

/** struct doc_pos - a place in a file; line and column (characters) count from 1, 0: the file */
struct doc_pos {
	const struct doc_file *file;
	size_t line, col;
};

/** struct doc_file - one text; lives in the report's arena */
struct doc_file {
	const char *name;
	const char *text; /* with a NUL behind it */
	size_t len;
	size_t *lines; /* offset of each line */
	size_t n_lines;
	struct doc_file *next;
};

enum node_kind { NODE_SCALAR = 0, NODE_SEQ, NODE_MAP };
enum node_style { STYLE_PLAIN = 0, STYLE_SINGLE, STYLE_DOUBLE, STYLE_LITERAL, STYLE_FOLDED };

/**
 * struct node - a value
 *
 * An alias stands as a copy of the node that it means (children shared), so that a node may be met
 * several times.
 */
struct node {
	enum node_kind kind;
	enum node_style style;
	struct doc_pos pos;
	const char *text; /* scalar, NUL-terminated, no NUL inside */
	size_t len;
	struct node *key; /* of the map entry whose value this is */
	struct node *child, *next;
	size_t n;
};

/** struct report - errors and warnings of one run */
struct report {
	struct lt_buf *out; /* may be NULL */
	struct lt_arena arena;
	struct doc_file *files, **files_tail;
	struct report_line {
		struct doc_pos pos;
		bool warning;
		const char *text;
	} * lines;
	size_t n_lines, cap_lines;
	size_t n_errors, n_warnings;
};

void report_init(struct report *r, struct lt_buf *out);
void report_fini(struct report *r);
/** report_error(), report_warn() - @pos may be NULL: no place. */
void report_error(struct report *r, const struct doc_pos *pos, const char *fmt, ...)
	LT_PRINTF(3, 4);
void report_warn(struct report *r, const struct doc_pos *pos, const char *fmt, ...) LT_PRINTF(3, 4);
/** report_flush() - write what was reported to @out, sorted by place within each file. */
void report_flush(struct report *r);

/** doc_file_text() - a file from memory; the text is copied. */
struct doc_file *doc_file_text(struct report *r, const char *name, const char *text, size_t len);
/** doc_file_read() - a file from the disk. Return: NULL: reported. */
struct doc_file *doc_file_read(struct report *r, const char *path);
/**
 * doc_parse() - the first document
 * @root: out: NULL when there is nothing in it.
 * Return: false: reported.
 */
bool doc_parse(struct report *r, struct doc_file *f, struct node **root);
/** doc_pos_in() - the place of byte @offset of a scalar's text. */
struct doc_pos doc_pos_in(const struct node *scalar, size_t offset);

/** node_is_null() - nothing there, or a plain ~ or null */
bool node_is_null(const struct node *n);

#endif
