/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "tmpl_fmt.h"

/* Go's fmt.Sprintf: formats. */

#define MAX_WIDTH 10000 /* larger ones are %!(BADWIDTH), larger than Go's own limit nobody needs */

struct printf_run {
	const char *p, *end;
	const struct tval *args;
	size_t n, next;
	struct lt_buf *out;
	bool reordered, good_index;
};

/* Digits at p. Return: false when there are none; *@v is -1 when it is too large. */
static bool parse_int(struct printf_run *r, int *v)
{
	const char *start = r->p;
	long n = 0;

	for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++) {
		if (n <= MAX_WIDTH)
			n = n * 10 + (*r->p - '0');
	}
	*v = n > MAX_WIDTH ? -1 : (int)n;
	return r->p > start;
}

/* "[3]": the number of the next operand. */
static void parse_index(struct printf_run *r)
{
	const char *close;
	int v;

	if (r->p >= r->end || *r->p != '[')
		return;
	r->reordered = true;
	close = memchr(r->p, ']', (size_t)(r->end - r->p));
	if (!close) {
		r->good_index = false;
		r->p++;
		return;
	}
	r->p++;
	if (!parse_int(r, &v) || r->p != close || v < 1 || (size_t)v > r->n)
		r->good_index = false;
	else
		r->next = (size_t)v - 1;
	r->p = close + 1;
}

/* A width or precision, from the text or, for '*', from an operand. */
static bool parse_size(struct printf_run *r, int *v, const char *bad)
{
	if (r->p < r->end && *r->p == '*') {
		r->p++;
		if (r->next < r->n && r->args[r->next].kind == TV_INT &&
			r->args[r->next].i >= -MAX_WIDTH && r->args[r->next].i <= MAX_WIDTH) {
			*v = (int)r->args[r->next++].i;
			return true;
		}
		if (r->next < r->n)
			r->next++;
		lt_buf_str(r->out, bad);
		return false;
	}
	if (!parse_int(r, v))
		return false;
	if (*v < 0) {
		lt_buf_str(r->out, bad);
		return false;
	}
	return true;
}

static void parse_flags(struct printf_run *r, struct fmt_flags *f)
{
	for (; r->p < r->end; r->p++) {
		switch (*r->p) {
		case '#':
			f->sharp = true;
			break;
		case '0':
			f->zero = !f->minus;
			break;
		case '+':
			f->plus = true;
			break;
		case '-':
			f->minus = true;
			f->zero = false;
			break;
		case ' ':
			f->space = true;
			break;
		default:
			return;
		}
	}
}

static void parse_sizes(struct printf_run *r, struct fmt_flags *f)
{
	parse_index(r);
	f->has_width = parse_size(r, &f->width, "%!(BADWIDTH)");
	if (f->has_width && f->width < 0) {
		f->width = -f->width;
		f->minus = true;
		f->zero = false;
	}
	if (r->p < r->end && *r->p == '.') {
		r->p++;
		parse_index(r);
		f->prec = 0;
		f->has_prec = true;
		if (r->p < r->end && (*r->p == '*' || (*r->p >= '0' && *r->p <= '9')))
			f->has_prec = parse_size(r, &f->prec, "%!(BADPREC)");
		if (f->prec < 0)
			f->has_prec = false;
	}
	parse_index(r);
}

/* Behind a '%'. */
static void put_verb(struct printf_run *r)
{
	struct fmt_flags f = {0};
	const char *verb;
	unsigned long c;
	size_t n;

	r->good_index = true;
	parse_flags(r, &f);
	parse_sizes(r, &f);
	if (r->p >= r->end) {
		lt_buf_str(r->out, "%!(NOVERB)");
		return;
	}
	verb = r->p;
	n = fmt_rune_at(r->p, (size_t)(r->end - r->p), &c);
	r->p += n;
	if (*verb == '%') {
		lt_buf_char(r->out, '%');
	} else if (!r->good_index) {
		lt_buf_printf(r->out, "%%!%.*s(BADINDEX)", (int)n, verb);
	} else if (r->next >= r->n) {
		lt_buf_printf(r->out, "%%!%.*s(MISSING)", (int)n, verb);
	} else if (*verb == 'T') {
		const char *type = r->args[r->next].kind == TV_NIL
					   ? "<nil>"
					   : tmpl_type_name(&r->args[r->next]);

		r->next++;
		fmt_string(r->out, &f, type, strlen(type), 's');
	} else {
		if (*verb == 'v') {
			f.syntax = f.sharp;
			f.sharp = f.plus = false;
		}
		fmt_value(r->out, &f, &r->args[r->next], n == 1 ? *verb : '?', 0);
		r->next++;
	}
}

void gofmt_printf(
	struct lt_buf *out, const char *fmt, size_t len, const struct tval *args, size_t n)
{
	struct printf_run r = {.p = fmt, .end = fmt + len, .args = args, .n = n, .out = out};
	const struct fmt_flags none = {0};
	const char *start;

	while (r.p < r.end) {
		start = r.p;
		r.p = memchr(start, '%', (size_t)(r.end - start));
		if (!r.p)
			r.p = r.end;
		lt_buf_add(out, start, (size_t)(r.p - start));
		if (r.p < r.end) {
			r.p++;
			put_verb(&r);
		}
	}
	if (r.reordered || r.next >= n)
		return;
	lt_buf_str(out, "%!(EXTRA ");
	for (size_t i = r.next; i < n; i++) {
		if (i > r.next)
			lt_buf_str(out, ", ");
		if (args[i].kind == TV_NIL) {
			lt_buf_str(out, "<nil>");
			continue;
		}
		lt_buf_printf(out, "%s=", tmpl_type_name(&args[i]));
		fmt_value(out, &none, &args[i], 'v', 0);
	}
	lt_buf_char(out, ')');
}
