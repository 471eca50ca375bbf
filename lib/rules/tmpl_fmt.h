/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_RULES_TMPL_FMT_H
#define LATIDO_RULES_TMPL_FMT_H

#include "tmpl.h"

/* What tmpl_fmt.c (operands) and tmpl_printf.c (formats) share. */

/** struct fmt_flags - between '%' and the verb */
struct fmt_flags {
	bool plus, minus, sharp, space, zero;
	bool syntax; /* %#v: as Go would write it */
	bool has_width, has_prec;
	int width, prec;
};

/** fmt_value() - one operand; @depth: 0, or inside another. */
void fmt_value(
	struct lt_buf *out, const struct fmt_flags *f, const struct tval *v, char verb, int depth);
void fmt_string(
	struct lt_buf *out, const struct fmt_flags *f, const char *s, size_t len, char verb);
/** fmt_rune_at() - the character at @s, U+FFFD when it is none. Return: its bytes. */
size_t fmt_rune_at(const char *s, size_t left, unsigned long *c);

#endif
