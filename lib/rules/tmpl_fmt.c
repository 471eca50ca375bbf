/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "tmpl.h"

/* Go's fmt and strconv, for the types that templates know. */

#define MAX_WIDTH 10000 /* larger ones are %!(BADWIDTH), larger than Go's own limit nobody needs */

/* From this exponent on the shortest form of a number has one. */
#define GO_EXPONENT 6

struct flags {
	bool plus, minus, sharp, space, zero;
	bool has_width, has_prec;
	int width, prec;
};

/* ---- numbers ---- */

/* The fewest digits that read back as @v: "d.ddde+xx" in @out. */
static int shortest(double v, char *out, size_t size)
{
	for (int prec = 0; prec < 17; prec++) {
		snprintf(out, size, "%.*e", prec, v);
		if (strtod(out, NULL) == v)
			return prec;
	}
	return 16;
}

void gofmt_float(struct lt_buf *out, double v, char verb, int prec)
{
	char text[400];
	int digits, exp;

	if (isnan(v)) {
		lt_buf_str(out, "NaN");
		return;
	}
	if (isinf(v)) {
		lt_buf_str(out, v > 0 ? "+Inf" : "-Inf");
		return;
	}
	if (prec >= 0) {
		lt_buf_printf(out, verb == 'f' ? "%.*f" : verb == 'e' ? "%.*e" : "%.*g", prec, v);
		return;
	}
	digits = shortest(v, text, sizeof(text));
	exp = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
	if (verb == 'e' || (verb == 'g' && (exp < -4 || exp >= GO_EXPONENT)))
		lt_buf_str(out, text);
	else
		lt_buf_printf(out, "%.*f", digits > exp ? digits - exp : 0, v);
}

/* Hexadecimal as Go writes it: C's %a, with two digits of exponent at least. */
static void put_hex_float(struct lt_buf *out, double v, int prec, bool upper)
{
	char text[400], *p;

	if (isnan(v) || isinf(v)) {
		gofmt_float(out, v, 'g', -1);
		return;
	}
	if (prec < 0)
		snprintf(text, sizeof(text), upper ? "%A" : "%a", v);
	else
		snprintf(text, sizeof(text), upper ? "%.*A" : "%.*a", prec, v);
	p = strpbrk(text, "pP");
	if (!p) {
		lt_buf_str(out, text);
		return;
	}
	lt_buf_add(out, text, (size_t)(p - text) + 2);
	if (!p[3])
		lt_buf_char(out, '0');
	lt_buf_str(out, p + 2);
}

void gofmt_time(struct lt_buf *out, int64_t ns)
{
	char text[LT_RFC3339_LEN];
	size_t len;

	lt_rfc3339_format(ns, 9, text);
	text[10] = ' ';
	len = strlen(text) - 1; /* without Z */
	while (text[len - 1] == '0')
		len--;
	if (text[len - 1] == '.')
		len--;
	lt_buf_add(out, text, len);
	lt_buf_str(out, " +0000 UTC");
}

/* ---- quoting ---- */

static size_t rune_at(const char *s, size_t left, unsigned long *c)
{
	unsigned char b = (unsigned char)*s;
	size_t n = b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : b >= 0xc0 ? 2 : 1;

	if (n > left || !lt_utf8_valid(s, n)) {
		*c = 0xfffd;
		return 1;
	}
	*c = n == 1 ? b : b & (0x7fu >> n);
	for (size_t i = 1; i < n; i++)
		*c = *c << 6 | ((unsigned char)s[i] & 0x3fu);
	return n;
}

/* What strconv.IsPrint refuses of what occurs: controls, separators, surrogates, private use. */
static bool is_print(unsigned long c)
{
	if (c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad)
		return false;
	if ((c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) ||
		(c >= 0x205f && c <= 0x206f) || c == 0x1680 || c == 0x3000 || c == 0xfeff)
		return false;
	return !(c >= 0xe000 && c <= 0xf8ff) && !(c >= 0xfff0 && c <= 0xfffb) && c < 0xe0000 &&
	       (c & 0xfffe) != 0xfffe;
}

void gofmt_quote(struct lt_buf *out, const char *s, size_t len)
{
	static const char specials[] = "\a\b\f\n\r\t\v", names[] = "abfnrtv";
	const char *special;
	unsigned long c;
	size_t n;

	lt_buf_char(out, '"');
	for (size_t i = 0; i < len; i += n) {
		n = rune_at(s + i, len - i, &c);
		if (n == 1 && (unsigned char)s[i] >= 0x80) {
			lt_buf_printf(out, "\\x%02x", (unsigned char)s[i]);
		} else if (c == '"' || c == '\\') {
			lt_buf_printf(out, "\\%c", (char)c);
		} else if (is_print(c)) {
			lt_buf_add(out, s + i, n);
		} else {
			special = c && c < 0x20 ? strchr(specials, (char)c) : NULL;
			if (special)
				lt_buf_printf(out, "\\%c", names[special - specials]);
			else if (c < 0x80)
				lt_buf_printf(out, "\\x%02lx", c);
			else
				lt_buf_printf(out, c < 0x10000 ? "\\u%04lx" : "\\U%08lx", c);
		}
	}
	lt_buf_char(out, '"');
}

/* ---- one operand ---- */

static size_t count_runes(const char *s, size_t len)
{
	unsigned long c;
	size_t n = 0;

	for (size_t i = 0; i < len; n++)
		i += rune_at(s + i, len - i, &c);
	return n;
}

static void pad(struct lt_buf *out, const struct flags *f, const char *s, size_t len, bool zero)
{
	size_t runes = count_runes(s, len);
	size_t fill = f->has_width && (size_t)f->width > runes ? (size_t)f->width - runes : 0;

	if (f->minus)
		lt_buf_add(out, s, len);
	for (; fill; fill--)
		lt_buf_char(out, zero && !f->minus ? '0' : ' ');
	if (!f->minus)
		lt_buf_add(out, s, len);
}

/* @text has its sign; with the zero flag the sign stands before the zeros. */
static void pad_number(struct lt_buf *out, const struct flags *f, const char *text, size_t len)
{
	struct flags rest = *f;
	bool sign = len && (*text == '-' || *text == '+' || *text == ' ');

	if (!f->zero || !f->has_width || f->minus || !sign) {
		pad(out, f, text, len, f->zero);
		return;
	}
	lt_buf_char(out, *text);
	rest.width--;
	pad(out, &rest, text + 1, len - 1, true);
}

static void put_float(struct lt_buf *out, const struct flags *f, double v, char verb)
{
	struct flags plain = *f;
	struct lt_buf b = {0};
	bool finite = isfinite(v);
	int prec = f->has_prec ? f->prec : -1;

	if ((f->plus || f->space) && !(signbit(v) && !isnan(v)) && !isinf(v))
		lt_buf_char(&b, f->plus ? '+' : ' ');
	switch (verb) {
	case 'v':
	case 'g':
	case 'G':
		gofmt_float(&b, v, 'g', prec);
		break;
	case 'x':
	case 'X':
		put_hex_float(&b, v, prec, verb == 'X');
		break;
	default:
		gofmt_float(&b, v, (char)(verb | 32), prec < 0 ? 6 : prec);
		break;
	}
	for (size_t i = 0; (verb == 'G' || verb == 'E') && i < b.len; i++) {
		if (b.data[i] == 'e')
			b.data[i] = 'E';
	}
	if (!finite)
		plain.zero = false;
	pad_number(out, &plain, b.data, b.len);
	lt_buf_fini(&b);
}

static void put_int(struct lt_buf *out, const struct flags *f, int64_t v, char verb)
{
	struct lt_buf b = {0};
	uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;
	char digits[72];
	size_t n = sizeof(digits);
	unsigned base = verb == 'x' || verb == 'X'   ? 16
			: verb == 'o' || verb == 'O' ? 8
			: verb == 'b'                ? 2
						     : 10;
	const char *set = verb == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	size_t least = f->has_prec && f->prec >= 0 ? (size_t)f->prec : 0;

	if (v < 0)
		lt_buf_char(&b, '-');
	else if (f->plus || f->space)
		lt_buf_char(&b, f->plus ? '+' : ' ');
	do {
		digits[--n] = set[u % base];
		u /= base;
	} while (u);
	if (f->sharp && base == 16)
		lt_buf_str(&b, verb == 'X' ? "0X" : "0x");
	else if (verb == 'O' || (f->sharp && base == 8))
		lt_buf_str(&b, verb == 'O' ? "0o" : "0");
	else if (f->sharp && base == 2)
		lt_buf_str(&b, "0b");
	for (size_t i = sizeof(digits) - n; i < least; i++)
		lt_buf_char(&b, '0');
	lt_buf_add(&b, digits + n, sizeof(digits) - n);
	pad_number(out, f, b.data, b.len);
	lt_buf_fini(&b);
}

static void put_rune(struct lt_buf *out, const struct flags *f, int64_t v)
{
	char text[5];
	size_t n;

	if (v < 0 || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		v = 0xfffd;
	if (v < 0x80) {
		n = (size_t)snprintf(text, sizeof(text), "%c", v ? (char)v : '?');
	} else if (v < 0x800) {
		n = (size_t)snprintf(text, sizeof(text), "%c%c", (char)(0xc0 | v >> 6),
			(char)(0x80 | (v & 0x3f)));
	} else if (v < 0x10000) {
		n = (size_t)snprintf(text, sizeof(text), "%c%c%c", (char)(0xe0 | v >> 12),
			(char)(0x80 | (v >> 6 & 0x3f)), (char)(0x80 | (v & 0x3f)));
	} else {
		n = (size_t)snprintf(text, sizeof(text), "%c%c%c%c", (char)(0xf0 | v >> 18),
			(char)(0x80 | (v >> 12 & 0x3f)), (char)(0x80 | (v >> 6 & 0x3f)),
			(char)(0x80 | (v & 0x3f)));
	}
	pad(out, f, text, n, f->zero);
}

static void put_string(
	struct lt_buf *out, const struct flags *f, const char *s, size_t len, char verb)
{
	struct lt_buf b = {0};
	unsigned long c;

	if (f->has_prec && f->prec >= 0) {
		size_t cut = 0;

		if (verb == 'x' || verb == 'X') {
			cut = len < (size_t)f->prec ? len : (size_t)f->prec;
		} else {
			for (int i = 0; i < f->prec && cut < len; i++)
				cut += rune_at(s + cut, len - cut, &c);
		}
		len = cut;
	}
	if (verb == 'q') {
		if (f->sharp && !memchr(s, '`', len))
			lt_buf_printf(&b, "`%.*s`", (int)len, s);
		else
			gofmt_quote(&b, s, len);
	} else if (verb == 'x' || verb == 'X') {
		for (size_t i = 0; i < len; i++) {
			if (f->space && i)
				lt_buf_char(&b, ' ');
			if (f->sharp && (!i || f->space))
				lt_buf_str(&b, verb == 'x' ? "0x" : "0X");
			lt_buf_printf(&b, verb == 'x' ? "%02x" : "%02X", (unsigned char)s[i]);
		}
	} else {
		lt_buf_add(&b, s, len);
	}
	pad(out, f, b.data ? b.data : "", b.len, f->zero);
	lt_buf_fini(&b);
}

static bool verb_fits(enum tval_kind kind, char verb)
{
	switch (kind) {
	case TV_BOOL:
		return strchr("vt", verb);
	case TV_INT:
		return strchr("vdboOxXcqU", verb);
	case TV_FLOAT:
		return strchr("veEfFgGxX", verb);
	case TV_STRING:
		return strchr("vsxXq", verb);
	case TV_TIME:
		return strchr("vsxXq", verb);
	case TV_NIL:
		return verb == 'v';
	default:
		return true; /* what it holds decides */
	}
}

static void put_value(
	struct lt_buf *out, const struct flags *f, const struct tval *v, char verb, int depth);

static void put_bad(struct lt_buf *out, const struct tval *v, char verb)
{
	const struct flags none = {0};

	lt_buf_printf(out, "%%!%c(", verb);
	if (v->kind == TV_NIL) {
		lt_buf_str(out, "<nil>");
	} else {
		lt_buf_printf(out, "%s=", tmpl_type_name(v));
		put_value(out, &none, v, 'v', 0);
	}
	lt_buf_char(out, ')');
}

static void put_map(struct lt_buf *out, const struct flags *f, const struct tmap *m, char verb)
{
	struct tval key = {.kind = TV_STRING};

	lt_buf_str(out, "map[");
	for (size_t i = 0; i < m->n; i++) {
		if (i)
			lt_buf_char(out, ' ');
		key = tmpl_text(m->e[i].name, strlen(m->e[i].name));
		put_value(out, f, &key, verb, 1);
		lt_buf_char(out, ':');
		put_value(out, f, &m->e[i].v, verb, 1);
	}
	lt_buf_char(out, ']');
}

static void put_struct(
	struct lt_buf *out, const struct flags *f, const struct tsample *s, char verb)
{
	struct tval v = {.kind = TV_FLOAT, .f = s->v};

	lt_buf_char(out, '{');
	put_map(out, f, s->labels, verb);
	lt_buf_char(out, ' ');
	put_value(out, f, &v, verb, 1);
	lt_buf_char(out, '}');
}

static void put_vector(struct lt_buf *out, const struct flags *f, const struct tvec *v, char verb)
{
	/* Go prints the addresses of the elements here; their values are of more use. */
	lt_buf_char(out, '[');
	for (size_t i = 0; i < v->n; i++) {
		if (i)
			lt_buf_char(out, ' ');
		put_struct(out, f, v->s[i], verb);
	}
	lt_buf_char(out, ']');
}

static void put_value(
	struct lt_buf *out, const struct flags *f, const struct tval *v, char verb, int depth)
{
	struct lt_buf b = {0};

	if (!verb_fits(v->kind, verb)) {
		put_bad(out, v, verb);
		return;
	}
	switch (v->kind) {
	case TV_NIL:
		pad(out, f, "<nil>", 5, false);
		return;
	case TV_BOOL:
		pad(out, f, v->b ? "true" : "false", v->b ? 4 : 5, f->zero);
		return;
	case TV_INT:
		if (verb == 'c')
			put_rune(out, f, v->i);
		else if (verb == 'q') {
			put_rune(&b, &(struct flags){0}, v->i);
			lt_buf_printf(out, "'%s'", b.data);
		} else if (verb == 'U')
			lt_buf_printf(out, "U+%04" PRIX64, (uint64_t)v->i);
		else
			put_int(out, f, v->i, verb);
		break;
	case TV_FLOAT:
		put_float(out, f, v->f, verb);
		break;
	case TV_STRING:
		put_string(out, f, v->s, v->len, verb);
		break;
	case TV_TIME:
		gofmt_time(&b, v->i);
		put_string(out, f, b.data, b.len, verb);
		break;
	case TV_LABELS:
	case TV_ARGS:
		put_map(out, f, v->map, verb);
		break;
	case TV_SAMPLE:
		if (!depth)
			lt_buf_char(out, '&');
		put_struct(out, f, v->sample, verb);
		break;
	case TV_VECTOR:
		put_vector(out, f, v->vec, verb);
		break;
	case TV_DATA:
		lt_buf_str(out, "{}");
		break;
	}
	lt_buf_fini(&b);
}

void gofmt_value(struct lt_buf *out, const struct tval *v)
{
	const struct flags none = {0};

	/* a template prints what a pointer points to */
	put_value(out, &none, v, 'v', v->kind == TV_SAMPLE);
}

void gofmt_sprint(struct lt_buf *out, const struct tval *args, size_t n)
{
	const struct flags none = {0};

	for (size_t i = 0; i < n; i++) {
		if (i && args[i].kind != TV_STRING && args[i - 1].kind != TV_STRING)
			lt_buf_char(out, ' ');
		put_value(out, &none, &args[i], 'v', 0);
	}
}

/* ---- printf ---- */

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

static void parse_flags(struct printf_run *r, struct flags *f)
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

static void parse_sizes(struct printf_run *r, struct flags *f)
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
	struct flags f = {0};
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
	n = rune_at(r->p, (size_t)(r->end - r->p), &c);
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
		put_string(r->out, &f, type, strlen(type), 's');
	} else {
		put_value(r->out, &f, &r->args[r->next], n == 1 ? *verb : '?', 0);
		r->next++;
	}
}

void gofmt_printf(
	struct lt_buf *out, const char *fmt, size_t len, const struct tval *args, size_t n)
{
	struct printf_run r = {.p = fmt, .end = fmt + len, .args = args, .n = n, .out = out};
	const struct flags none = {0};
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
		put_value(out, &none, &args[i], 'v', 0);
	}
	lt_buf_char(out, ')');
}
