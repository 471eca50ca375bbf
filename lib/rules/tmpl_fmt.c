/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "tmpl_fmt.h"

/* Go's fmt and strconv, for the types that templates know. */

/* From this exponent on the shortest form of a number has one. */
#define GO_EXPONENT 6

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

/*
 * Hexadecimal as Go writes it: C's %a, with two digits of exponent at least. C rounds 0x1.e8p+45 to
 * 0x2p+45 where Go has 0x1p+46.
 */
static void put_hex_float(struct lt_buf *out, double v, int prec, bool upper)
{
	char text[400], *p, *lead;
	long exp;

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
	exp = strtol(p + 1, NULL, 10);
	lead = strpbrk(text, "xX") + 1;
	if (*lead == '2') {
		*lead = '1';
		exp++;
	}
	lt_buf_add(out, text, (size_t)(p - text) + 1);
	lt_buf_printf(out, "%c%02ld", exp < 0 ? '-' : '+', labs(exp));
}

/* %b: the mantissa as an integer and the power of two. */
static void put_binary_float(struct lt_buf *out, double v)
{
	uint64_t bits, mantissa;
	int exp;

	memcpy(&bits, &v, sizeof(bits));
	mantissa = bits & ((UINT64_C(1) << 52) - 1);
	exp = (int)(bits >> 52 & 0x7ff);
	if (exp)
		mantissa |= UINT64_C(1) << 52;
	else
		exp = 1;
	lt_buf_printf(out, "%" PRIu64 "p%+d", mantissa, exp - 1075);
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

size_t fmt_rune_at(const char *s, size_t left, unsigned long *c)
{
	unsigned char b = (unsigned char)*s;
	size_t n = lt_utf8_step(s, left);

	if (n == 1) {
		*c = b < 0x80 ? b : 0xfffd;
		return 1;
	}
	*c = b & (0x7fu >> n);
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

/* @quote: the character that needs a backslash; @ascii: nothing beyond ASCII stays as it is. */
static void put_escaped(struct lt_buf *out, const char *s, size_t len, char quote, bool ascii)
{
	static const char specials[] = "\a\b\f\n\r\t\v", names[] = "abfnrtv";
	const char *special;
	unsigned long c;
	size_t n;

	for (size_t i = 0; i < len; i += n) {
		n = fmt_rune_at(s + i, len - i, &c);
		if (n == 1 && (unsigned char)s[i] >= 0x80) {
			lt_buf_printf(out, "\\x%02x", (unsigned char)s[i]);
		} else if (c == (unsigned char)quote || c == '\\') {
			lt_buf_printf(out, "\\%c", (char)c);
		} else if (is_print(c) && (c < 0x80 || !ascii)) {
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
}

void gofmt_quote(struct lt_buf *out, const char *s, size_t len)
{
	lt_buf_char(out, '"');
	put_escaped(out, s, len, '"', false);
	lt_buf_char(out, '"');
}

/* ---- one operand ---- */

static size_t count_runes(const char *s, size_t len)
{
	unsigned long c;
	size_t n = 0;

	for (size_t i = 0; i < len; n++)
		i += fmt_rune_at(s + i, len - i, &c);
	return n;
}

static void pad(struct lt_buf *out, const struct fmt_flags *f, const char *s, size_t len, bool zero)
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
static void pad_number(struct lt_buf *out, const struct fmt_flags *f, const char *text, size_t len)
{
	struct fmt_flags rest = *f;
	bool sign = len && (*text == '-' || *text == '+' || *text == ' ');

	if (!f->zero || !f->has_width || f->minus || !sign) {
		pad(out, f, text, len, f->zero);
		return;
	}
	lt_buf_char(out, *text);
	rest.width--;
	pad(out, &rest, text + 1, len - 1, true);
}

/*
 * The '#' flag: a decimal point always, and for %g and %x (not %X) the zeros behind it. @b holds
 * digits without sign, perhaps with an exponent.
 */
static void sharpen(struct lt_buf *b, char verb, int prec)
{
	int digits = strchr("vgGx", verb) ? (prec < 0 ? 6 : prec) : 0;
	bool hex = verb == 'x' || verb == 'X', point = false, nonzero = false;
	struct lt_buf tail = {0};
	size_t i;

	for (i = 0; i < b->len; i++) {
		char c = b->data[i];

		if (c == 'p' || c == 'P' || (!hex && (c == 'e' || c == 'E')))
			break;
		if (c == '.') {
			point = true;
			continue;
		}
		if (c != '0')
			nonzero = true;
		if (nonzero)
			digits--;
	}
	lt_buf_add(&tail, b->data + i, b->len - i);
	b->len = i;
	if (!point) {
		if (i == 1 && b->data[0] == '0')
			digits--;
		lt_buf_char(b, '.');
	}
	for (; digits > 0; digits--)
		lt_buf_char(b, '0');
	if (tail.len)
		lt_buf_add(b, tail.data, tail.len);
	lt_buf_fini(&tail);
}

/* Go's fmt.fmtFloat. */
static void put_float(struct lt_buf *out, const struct fmt_flags *f, double v, char verb)
{
	struct fmt_flags plain = *f;
	struct lt_buf b = {0};
	int prec = f->has_prec ? f->prec : strchr("eEfF", verb) ? 6 : -1;
	char sign = signbit(v) && !isnan(v) ? '-' : f->space && !f->plus ? ' ' : '+';
	double u = isnan(v) ? v : fabs(v);

	if (isnan(v) || isinf(v)) {
		plain.zero = false;
		if (!isnan(v) || f->space || f->plus)
			lt_buf_char(&b, sign);
		lt_buf_str(&b, isnan(v) ? "NaN" : "Inf");
		pad(out, &plain, b.data, b.len, false);
		lt_buf_fini(&b);
		return;
	}
	if (verb == 'b')
		put_binary_float(&b, u);
	else if (verb == 'x' || verb == 'X')
		put_hex_float(&b, u, prec, verb == 'X');
	else
		gofmt_float(&b, u, verb == 'v' ? 'g' : (char)(verb | 32), prec);
	for (size_t i = 0; (verb == 'G' || verb == 'E') && i < b.len; i++) {
		if (b.data[i] == 'e')
			b.data[i] = 'E';
	}
	if (f->sharp && verb != 'b')
		sharpen(&b, verb, prec);
	if (f->plus || sign != '+') {
		struct lt_buf whole = {0};

		lt_buf_char(&whole, sign);
		lt_buf_add(&whole, b.data, b.len);
		pad_number(out, f, whole.data, whole.len);
		lt_buf_fini(&whole);
	} else {
		pad(out, f, b.data, b.len, f->zero);
	}
	lt_buf_fini(&b);
}

static void put_int(struct lt_buf *out, const struct fmt_flags *f, int64_t v, char verb)
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
	struct fmt_flags plain = *f;

	/* zeros by precision or by width; both together: by precision */
	if (f->has_prec)
		plain.zero = false;
	if (f->has_prec && !f->prec && !v) {
		pad(out, &plain, "", 0, false);
		return;
	}

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
	pad_number(out, &plain, b.data, b.len);
	lt_buf_fini(&b);
}

/* %c and %q of an integer: the character. */
static void put_rune(struct lt_buf *out, const struct fmt_flags *f, int64_t v, bool quoted)
{
	struct lt_buf b = {0};
	char text[5];
	size_t n;

	if (v < 0 || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		v = 0xfffd;
	text[0] = (char)v;
	if (v < 0x80) {
		n = 1;
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
	if (!quoted) {
		pad(out, f, text, n, f->zero);
		return;
	}
	lt_buf_char(&b, '\'');
	put_escaped(&b, text, n, '\'', f->plus);
	lt_buf_char(&b, '\'');
	pad(out, f, b.data, b.len, f->zero);
	lt_buf_fini(&b);
}

void fmt_string(struct lt_buf *out, const struct fmt_flags *f, const char *s, size_t len, char verb)
{
	struct lt_buf b = {0};
	unsigned long c;

	if (f->has_prec && f->prec >= 0) {
		size_t cut = 0;

		if (verb == 'x' || verb == 'X') {
			cut = len < (size_t)f->prec ? len : (size_t)f->prec;
		} else {
			for (int i = 0; i < f->prec && cut < len; i++)
				cut += fmt_rune_at(s + cut, len - cut, &c);
		}
		len = cut;
	}
	if (verb == 'q' || f->syntax) {
		if (f->sharp && !memchr(s, '`', len))
			lt_buf_printf(&b, "`%.*s`", (int)len, s);
		else {
			lt_buf_char(&b, '"');
			put_escaped(&b, s, len, '"', f->plus);
			lt_buf_char(&b, '"');
		}
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
		return strchr("vbeEfFgGxX", verb);
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

static void put_bad(struct lt_buf *out, const struct fmt_flags *f, const struct tval *v, char verb)
{

	lt_buf_printf(out, "%%!%c(", verb);
	if (v->kind == TV_NIL) {
		lt_buf_str(out, "<nil>");
	} else {
		lt_buf_printf(out, "%s=", tmpl_type_name(v));
		fmt_value(out, f, v, 'v', 0);
	}
	lt_buf_char(out, ')');
}

static void put_map(struct lt_buf *out, const struct fmt_flags *f, const struct tmap *m, char verb)
{
	struct tval key = {.kind = TV_STRING};

	lt_buf_str(out, f->syntax ? "map[string]string{" : "map[");
	for (size_t i = 0; i < m->n; i++) {
		if (i)
			lt_buf_str(out, f->syntax ? ", " : " ");
		key = tmpl_text(m->e[i].name, strlen(m->e[i].name));
		fmt_value(out, f, &key, verb, 1);
		lt_buf_char(out, ':');
		fmt_value(out, f, &m->e[i].v, verb, 1);
	}
	lt_buf_char(out, f->syntax ? '}' : ']');
}

static void put_struct(
	struct lt_buf *out, const struct fmt_flags *f, const struct tsample *s, char verb)
{
	struct tval v = {.kind = TV_FLOAT, .f = s->v};

	lt_buf_char(out, '{');
	put_map(out, f, s->labels, verb);
	lt_buf_char(out, ' ');
	fmt_value(out, f, &v, verb, 1);
	lt_buf_char(out, '}');
}

static void put_vector(
	struct lt_buf *out, const struct fmt_flags *f, const struct tvec *v, char verb)
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

void fmt_value(
	struct lt_buf *out, const struct fmt_flags *f, const struct tval *v, char verb, int depth)
{
	struct lt_buf b = {0};

	if (!verb_fits(v->kind, verb)) {
		put_bad(out, f, v, verb);
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
		if (verb == 'c' || verb == 'q')
			put_rune(out, f, v->i, verb == 'q');
		else if (verb == 'U')
			lt_buf_printf(out, "U+%04" PRIX64, (uint64_t)v->i);
		else
			put_int(out, f, v->i, verb);
		break;
	case TV_FLOAT:
		put_float(out, f, v->f, verb);
		break;
	case TV_STRING:
		fmt_string(out, f, v->s, v->len, verb);
		break;
	case TV_TIME:
		gofmt_time(&b, v->i);
		fmt_string(out, f, b.data, b.len, verb);
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
	const struct fmt_flags none = {0};

	/* a template prints what a pointer points to */
	fmt_value(out, &none, v, 'v', v->kind == TV_SAMPLE);
}

void gofmt_sprint(struct lt_buf *out, const struct tval *args, size_t n)
{
	const struct fmt_flags none = {0};

	for (size_t i = 0; i < n; i++) {
		if (i && args[i].kind != TV_STRING && args[i - 1].kind != TV_STRING)
			lt_buf_char(out, ' ');
		fmt_value(out, &none, &args[i], 'v', 0);
	}
}
