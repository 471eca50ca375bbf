/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CLI_TEXT_H
#define LATIDO_CLI_TEXT_H

#include "latido/mem.h"

/**
 * text_init() - take the character set of the locale; before the others
 *
 * Where it is not UTF-8, characters beyond ASCII are shown as '?'.
 */
void text_init(void);

/**
 * text_clean() - append text that came from outside so that a terminal only prints it
 * @columns: at most so many are used; what is longer ends with '~'. SIZE_MAX = no limit.
 *
 * Control characters, what redirects text (bidirectional formatting), malformed UTF-8 and
 * characters without a width become '?' or U+FFFD; no character is cut in two.
 * Return: columns used.
 */
size_t text_clean(struct lt_buf *out, const char *s, size_t n, size_t columns);

enum text_align { TEXT_LEFT = 0, TEXT_RIGHT };
/** text_cell() - text_clean() padded to exactly @columns. */
void text_cell(struct lt_buf *out, const char *s, size_t columns, enum text_align align);

/* Numbers for people; "-" for NaN. */
void text_percent(struct lt_buf *out, double v);
/** text_bytes() - "0", "812", "1.4k", "23M": at most 5 columns, powers of 1024. */
void text_bytes(struct lt_buf *out, double v);
/** text_age() - "0.8s", "12s", "3m", "5h", "2d". */
void text_age(struct lt_buf *out, double seconds);

#endif
