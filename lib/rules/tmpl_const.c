/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tmpl_parse.h"

/* Constants in templates: texts, characters, numbers. */

static size_t put_utf8(char *out, unsigned long c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* @n digits of @base at @s. Return: -1 when they are no digits. */
static long digits(const char *s, const char *end, size_t n, int base)
{
	char text[12], *stop;
	long v;

	if ((size_t)(end - s) < n)
		return -1;
	memcpy(text, s, n);
	text[n] = '\0';
	if (strspn(text, base == 16 ? "0123456789abcdefABCDEF" : "01234567") != n)
		return -1;
	v = strtol(text, &stop, base);
	return v;
}

/*
 * One character of a quoted text as Go's strconv.UnquoteChar.
 * @bytes: at least 4. Return: where the next begins, NULL: not one.
 */
static const char *unquote_char(const char *s, const char *end, char quote, char *bytes, size_t *n)
{
	static const char names[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
	const char *name;
	size_t width;
	long v;

	*n = 1;
	if (*s != '\\') {
		bytes[0] = *s;
		return s + 1;
	}
	if (++s == end)
		return NULL;
	name = strchr(names, *s);
	if (*s && name) {
		bytes[0] = values[name - names];
		return s + 1;
	}
	if (*s == quote) {
		bytes[0] = quote;
		return s + 1;
	}
	if (*s >= '0' && *s <= '7') {
		v = digits(s, end, 3, 8);
		bytes[0] = (char)v;
		return v < 0 || v > 255 ? NULL : s + 3;
	}
	width = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0;
	v = width ? digits(s + 1, end, width, 16) : -1;
	if (v < 0)
		return NULL;
	if (width == 2)
		bytes[0] = (char)v;
	else
		*n = put_utf8(bytes, (unsigned long)v);
	return *n ? s + 1 + width : NULL;
}

struct tnode *tparse_string(struct parser *p)
{
	struct tnode *n = tparse_node(p, TN_STRING, p->tok.pos);
	const char *s = p->tok.s + 1, *end = p->tok.s + p->tok.len - 1;
	char *out = lt_arena_alloc(p->arena, p->tok.len + 1);
	char bytes[4];
	size_t size;

	n->text = out;
	n->end = p->tok.pos + (uint32_t)p->tok.len;
	while (s < end) {
		if (p->tok.kind == TOK_RAW) {
			if (*s != '\r')
				out[n->len++] = *s;
			s++;
			continue;
		}
		s = unquote_char(s, end, '"', bytes, &size);
		if (!s)
			return tparse_fail(p, p->tok.pos, "invalid syntax in string");
		memcpy(out + n->len, bytes, size);
		n->len += size;
	}
	if (memchr(out, '\0', n->len))
		return tparse_fail(p, p->tok.pos, "NUL character in string");
	out[n->len] = '\0';
	tparse_advance(p);
	return n;
}

struct tnode *tparse_char(struct parser *p)
{
	struct tnode *n = tparse_node(p, TN_NUMBER, p->tok.pos);
	const char *s = p->tok.s + 1, *end = p->tok.s + p->tok.len - 1;
	char bytes[8];
	size_t size = 0, one;
	long c = 0;

	n->end = p->tok.pos + (uint32_t)p->tok.len;
	/* one escape, or the bytes of one character */
	do {
		s = s < end ? unquote_char(s, end, '\'', bytes + size, &one) : NULL;
		size += s ? one : 0;
	} while (s && size < 4 && one == 1 && (unsigned char)bytes[0] >= 0xc0 &&
		 size < (size_t)((unsigned char)bytes[0] >= 0xf0   ? 4
				 : (unsigned char)bytes[0] >= 0xe0 ? 3
								   : 2));
	if (s != end || !size || !lt_utf8_valid(bytes, size))
		return tparse_fail(p, p->tok.pos, "malformed character constant: %.*s",
			(int)p->tok.len, p->tok.s);
	c = (unsigned char)bytes[0];
	if (size > 1)
		c &= 0x7f >> size;
	for (size_t i = 1; i < size; i++)
		c = c << 6 | (bytes[i] & 0x3f);
	n->is_int = true;
	n->i = c;
	n->f = (double)c;
	tparse_advance(p);
	return n;
}

/* A number's text without the underscores that Go lets stand between digits. */
static size_t plain_number(const struct tok *t, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < t->len && n + 1 < size; i++) {
		if (t->s[i] != '_')
			out[n++] = t->s[i];
	}
	out[n] = '\0';
	return n;
}

struct tnode *tparse_number(struct parser *p)
{
	struct tnode *n = tparse_node(p, TN_NUMBER, p->tok.pos);
	char text[80], *end, *d = text;
	int base = 10;
	bool hex;

	n->end = p->tok.pos + (uint32_t)p->tok.len;
	if (p->tok.len >= sizeof(text) - 1 || !plain_number(&p->tok, text, sizeof(text)))
		return tparse_fail(p, p->tok.pos, "bad number syntax");
	if (text[strlen(text) - 1] == 'i')
		return tparse_fail(p, p->tok.pos, "complex numbers are not supported");
	d += *d == '+' || *d == '-';
	hex = d[0] == '0' && (d[1] | 32) == 'x';
	if (strpbrk(text, hex ? ".pP" : ".eE")) {
		n->f = strtod(text, &end);
		if (*end || end == text || strspn(d, "0123456789abcdefABCDEFxXpP+-.") != strlen(d))
			return tparse_fail(p, p->tok.pos, "bad number syntax: \"%s\"", text);
	} else {
		if (hex)
			base = 16, d += 2;
		else if (d[0] == '0' && (d[1] | 32) == 'o')
			base = 8, d += 2;
		else if (d[0] == '0' && (d[1] | 32) == 'b')
			base = 2, d += 2;
		else if (d[0] == '0' && d[1])
			base = 8;
		errno = 0;
		n->i = strtoll(d, &end, base);
		if (*end || end == d || errno || *d == '+' || *d == '-')
			return tparse_fail(p, p->tok.pos, "bad number syntax: \"%s\"", text);
		if (text[0] == '-')
			n->i = -n->i;
		n->is_int = true;
		n->f = (double)n->i;
	}
	tparse_advance(p);
	return n;
}
