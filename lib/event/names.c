/* SPDX-License-Identifier: MIT */
/* Which characters sources, metrics and labels may have. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "event_int.h"

enum { C_FIRST = 1, C_NAME = 2, C_COLON = 4, C_SOURCE = 8 };

/* By byte, so that no locale has a say. */
static unsigned char_class(unsigned char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		return C_FIRST | C_NAME | C_SOURCE;
	if (c >= '0' && c <= '9')
		return C_NAME | C_SOURCE;
	if (c == '_')
		return C_FIRST | C_NAME | C_SOURCE;
	if (c == ':')
		return C_COLON | C_SOURCE;
	if (c == '.' || c == '-')
		return C_SOURCE;
	return 0;
}

static bool all(const char *s, size_t n, unsigned allowed)
{
	for (size_t i = 0; i < n; i++)
		if (!(char_class((unsigned char)s[i]) & allowed))
			return false;
	return true;
}

bool lt_source_valid(const char *s, size_t n)
{
	return n >= 1 && n <= LT_SOURCE_MAX && all(s, n, C_SOURCE);
}

bool lt_metric_name_valid(const char *s, size_t n)
{
	return n >= 1 && n <= LT_LABEL_NAME_MAX && all(s, 1, C_FIRST | C_COLON) &&
	       all(s, n, C_NAME | C_COLON);
}

bool lt_label_name_valid(const char *s, size_t n)
{
	return n >= 1 && n <= LT_LABEL_NAME_MAX && all(s, 1, C_FIRST) && all(s, n, C_NAME);
}

void event_metric_name(struct lt_buf *out, const char *s, size_t n)
{
	if (out->len == 0 && (n == 0 || (s[0] >= '0' && s[0] <= '9')))
		lt_buf_char(out, '_');
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (char_class(c) & (C_NAME | C_COLON))
			lt_buf_char(out, (char)c);
		else if ((c & 0xc0) != 0x80) /* one '_' a character, not a byte of UTF-8 */
			lt_buf_char(out, '_');
	}
}

const char *event_quote(char out[EVENT_QUOTE_LEN], const void *s, size_t n)
{
	const unsigned char *p = s;
	size_t len = 0, i;

	out[len++] = '"';
	for (i = 0; i < n && len < EVENT_QUOTE_LEN - 10; i++) {
		if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"' && p[i] != '\\')
			out[len++] = (char)p[i];
		else
			len += (size_t)snprintf(out + len, 5, "\\x%02x", p[i]);
	}
	snprintf(out + len, EVENT_QUOTE_LEN - len, "\"%s", i < n ? "..." : "");
	return out;
}

const char *lt_reason_name(enum lt_reason r)
{
	static const char *const names[LT_REASON_MAX] = {
		[LT_REASON_NONE] = "none",
		[LT_REASON_DECODE] = "decode",
		[LT_REASON_SHAPE_MISMATCH] = "shape_mismatch",
		[LT_REASON_SOURCE_MISMATCH] = "source_mismatch",
		[LT_REASON_TOO_LARGE] = "too_large",
		[LT_REASON_LIMITS] = "limits",
		[LT_REASON_TIME_RANGE] = "time_range",
		[LT_REASON_CONFLICT] = "conflict",
		[LT_REASON_UNKNOWN_SHAPE] = "unknown_shape",
	};

	return (unsigned)r < LT_REASON_MAX ? names[r] : "none";
}
