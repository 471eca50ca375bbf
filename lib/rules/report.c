/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doc.h"

#define MAX_SHOWN     100
#define EXCERPT_CHARS 120

void report_init(struct report *r, struct lt_buf *out)
{
	*r = (struct report){.out = out};
	r->files_tail = &r->files;
}

void report_fini(struct report *r)
{
	for (struct doc_file *f = r->files; f; f = f->next)
		free(f->lines);
	free(r->lines);
	lt_arena_fini(&r->arena);
}

static void add_line(
	struct report *r, const struct doc_pos *pos, bool warning, const char *fmt, va_list ap)
{
	char text[1024];

	if (warning)
		r->n_warnings++;
	else
		r->n_errors++;
	if (r->n_lines >= MAX_SHOWN)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	if (r->n_lines == r->cap_lines) {
		r->cap_lines = r->cap_lines ? 2 * r->cap_lines : 16;
		r->lines = lt_realloc(r->lines, r->cap_lines * sizeof(*r->lines));
	}
	r->lines[r->n_lines++] = (struct report_line){
		.pos = pos ? *pos : (struct doc_pos){0},
		.warning = warning,
		.text = lt_arena_str(&r->arena, text, strlen(text)),
	};
}

void report_error(struct report *r, const struct doc_pos *pos, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_line(r, pos, false, fmt, ap);
	va_end(ap);
}

void report_warn(struct report *r, const struct doc_pos *pos, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_line(r, pos, true, fmt, ap);
	va_end(ap);
}

/* ---- files ---- */

struct doc_file *doc_file_text(struct report *r, const char *name, const char *text, size_t len)
{
	struct doc_file *f = lt_arena_alloc(&r->arena, sizeof(*f));
	size_t cap = 64;

	*f = (struct doc_file){
		.name = lt_arena_str(&r->arena, name, strlen(name)),
		.text = lt_arena_str(&r->arena, text, len),
		.len = len,
		.lines = lt_malloc(cap * sizeof(*f->lines)),
		.n_lines = 1,
	};
	f->lines[0] = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\n')
			continue;
		if (f->n_lines == cap) {
			cap *= 2;
			f->lines = lt_realloc(f->lines, cap * sizeof(*f->lines));
		}
		f->lines[f->n_lines++] = i + 1;
	}
	*r->files_tail = f;
	r->files_tail = &f->next;
	return f;
}

/* Why the file cannot be used; NULL: it can. */
static const char *read_all(const char *path, struct lt_buf *b)
{
	FILE *in = fopen(path, "re");
	const char *why = NULL;
	size_t n = 0;

	if (!in)
		return strerror(errno);
	do {
		b->len += n;
		n = fread(lt_buf_room(b, 65536), 1, 65536, in);
	} while (n && b->len + n <= DOC_MAX_BYTES);
	if (ferror(in))
		why = strerror(errno);
	else if (n)
		why = "larger than 16 MiB";
	else if (memchr(b->data, '\0', b->len))
		why = "not a text: it has NUL characters";
	else if (!lt_utf8_valid(b->data, b->len))
		why = "not UTF-8 text";
	fclose(in);
	return why;
}

struct doc_file *doc_file_read(struct report *r, const char *path)
{
	struct lt_buf b = {0};
	const char *why = read_all(path, &b);
	struct doc_file *f = doc_file_text(r, path, why ? "" : b.data, why ? 0 : b.len);
	struct doc_pos pos = {.file = f};

	lt_buf_fini(&b);
	if (!why)
		return f;
	report_error(r, &pos, "%s", why);
	return NULL;
}

/* ---- text ---- */

static void put_text(struct lt_buf *out, const char *s, size_t len, size_t max_chars)
{
	size_t size;

	for (size_t i = 0, n = 0; i < len && n < max_chars; i += size, n++) {
		size = lt_utf8_step(s + i, len - i);
		if (s[i] == '\t' || lt_utf8_printable(s + i, size))
			lt_buf_add(out, s + i, size);
		else
			lt_buf_char(out, '?');
	}
}

static void put_excerpt(struct lt_buf *out, const struct doc_pos *pos)
{
	const struct doc_file *f = pos->file;
	const char *line = f->text + f->lines[pos->line - 1];
	size_t len = (pos->line < f->n_lines ? f->lines[pos->line] : f->len + 1) -
		     f->lines[pos->line - 1] - 1;
	size_t skip = pos->col > EXCERPT_CHARS - 20 ? pos->col - EXCERPT_CHARS / 2 : 0;
	size_t at = 0, n;
	struct lt_buf caret = {0};

	for (n = 0; n < skip && at < len; n++)
		at += lt_utf8_step(line + at, len - at);
	lt_buf_str(out, skip ? "  ..." : "  ");
	put_text(out, line + at, len - at, EXCERPT_CHARS);
	lt_buf_str(&caret, skip ? "     " : "  ");
	for (; n + 1 < pos->col && at < len; n++) {
		lt_buf_char(&caret, line[at] == '\t' ? '\t' : ' ');
		at += lt_utf8_step(line + at, len - at);
	}
	lt_buf_printf(out, "\n%s^\n", caret.data);
	lt_buf_fini(&caret);
}

static int by_place(const void *pa, const void *pb)
{
	const struct report_line *a = pa, *b = pb;

	if (a->pos.line != b->pos.line)
		return a->pos.line < b->pos.line ? -1 : 1;
	if (a->pos.col != b->pos.col)
		return a->pos.col < b->pos.col ? -1 : 1;
	return 0;
}

static void put_line(struct lt_buf *out, const struct report_line *l)
{
	if (l->pos.file) {
		put_text(out, l->pos.file->name, strlen(l->pos.file->name), SIZE_MAX);
		if (l->pos.line)
			lt_buf_printf(out, ":%zu:%zu", l->pos.line, l->pos.col);
		lt_buf_str(out, ": ");
	}
	lt_buf_str(out, l->warning ? "warning: " : "error: ");
	for (const char *p = l->text, *nl; *p; p = nl) {
		nl = strchrnul(p, '\n');
		put_text(out, p, (size_t)(nl - p), SIZE_MAX);
		if (*nl) {
			lt_buf_str(out, "\n  ");
			nl++;
		}
	}
	lt_buf_char(out, '\n');
	if (l->pos.line && l->pos.line <= l->pos.file->n_lines)
		put_excerpt(out, &l->pos);
}

static void put_file(struct report *r, const struct doc_file *f)
{
	struct report_line *own = lt_malloc((r->n_lines + 1) * sizeof(*own));
	size_t n = 0;

	for (size_t i = 0; i < r->n_lines; i++) {
		if (r->lines[i].pos.file == f)
			own[n++] = r->lines[i];
	}
	/* qsort() of glibc is a merge sort for arrays of this size: equal places keep their order */
	qsort(own, n, sizeof(*own), by_place);
	for (size_t i = 0; i < n; i++)
		put_line(r->out, &own[i]);
	free(own);
}

void report_flush(struct report *r)
{
	size_t hidden = r->n_errors + r->n_warnings - r->n_lines;

	if (r->out) {
		put_file(r, NULL);
		for (const struct doc_file *f = r->files; f; f = f->next)
			put_file(r, f);
		if (hidden)
			lt_buf_printf(r->out, "and %zu more\n", hidden);
	}
	r->n_lines = 0;
}
