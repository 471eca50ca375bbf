/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <wchar.h>

static bool utf8;

void text_init(void)
{
	setlocale(LC_CTYPE, "");
	utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
}

/* One character of @s, of at most 4 bytes. Return: its length; 0 = malformed. */
static size_t next_char(const unsigned char *s, size_t n, uint32_t *c)
{
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (len > n || !lt_utf8_valid((const char *)s, len))
		return 0;
	*c = len == 1 ? s[0] : s[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++)
		*c = *c << 6 | (s[i] & 0x3f);
	return len;
}

/* Columns of a character that may be printed as it is; 0 = it may not. */
static int width(uint32_t c)
{
	int w;

	if (c < 0x20 || (c >= 0x7f && c < 0xa0))
		return 0;
	if (c < 0x7f)
		return 1;
	/* Bidirectional formatting and joiners: what stands there would not be what is read. */
	if ((c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
		(c >= 0x2060 && c <= 0x206f) || c == 0xfeff || c == 0x061c)
		return 0;
	w = utf8 ? wcwidth((wchar_t)c) : 0;
	return w > 0 ? w : 0;
}

size_t text_clean(struct lt_buf *out, const char *s, size_t n, size_t columns)
{
	const char *bad = utf8 ? "\xef\xbf\xbd" : "?";
	size_t used = 0, mark = out->len, mark_used = 0;

	for (size_t i = 0; i < n;) {
		uint32_t c = 0;
		size_t len = next_char((const unsigned char *)s + i, n - i, &c);
		int w = len ? width(c) : 0;

		/* Where to cut when the rest does not fit: one column is left for the sign. */
		if (used < columns) {
			mark = out->len;
			mark_used = used;
		}
		if (used + (size_t)(w ? w : 1) > columns) {
			out->len = mark;
			if (out->data)
				out->data[mark] = '\0';
			if (mark_used < columns) {
				lt_buf_char(out, '~');
				mark_used++;
			}
			return mark_used;
		}
		if (w)
			lt_buf_add(out, s + i, len);
		else
			lt_buf_str(out, c && c < 0x80 ? "?" : bad);
		used += (size_t)(w ? w : 1);
		i += len ? len : 1;
	}
	return used;
}

void text_cell(struct lt_buf *out, const char *s, size_t columns, enum text_align align)
{
	size_t start = out->len;
	size_t used = text_clean(out, s, strlen(s), columns), pad = columns - used;

	for (size_t i = 0; i < pad; i++)
		lt_buf_char(out, ' ');
	if (align == TEXT_RIGHT && pad) {
		memmove(out->data + start + pad, out->data + start, out->len - start - pad);
		memset(out->data + start, ' ', pad);
	}
}

void text_percent(struct lt_buf *out, double v)
{
	if (isnan(v))
		lt_buf_char(out, '-');
	else
		lt_buf_printf(out, "%.1f", fmin(fmax(v, -99999), 99999));
}

void text_bytes(struct lt_buf *out, double v)
{
	static const char units[] = "kMGTPE";
	int unit = -1;

	if (isnan(v)) {
		lt_buf_char(out, '-');
		return;
	}
	while (v >= 999.5 && unit + 2 < (int)sizeof(units)) {
		v /= 1024;
		unit++;
	}
	if (unit < 0)
		lt_buf_printf(out, "%.0f", v);
	else
		lt_buf_printf(out, v < 9.95 ? "%.1f%c" : "%.0f%c", fmin(v, 9999), units[unit]);
}

void text_age(struct lt_buf *out, double s)
{
	if (isnan(s))
		lt_buf_char(out, '-');
	else if (s < 9.95)
		lt_buf_printf(out, "%.1fs", s < 0 ? 0 : s);
	else if (s < 99.5)
		lt_buf_printf(out, "%.0fs", s);
	else if (s < 5970)
		lt_buf_printf(out, "%.0fm", s / 60);
	else if (s < 48 * 3600)
		lt_buf_printf(out, "%.0fh", s / 3600);
	else
		lt_buf_printf(out, "%.0fd", s / 86400);
}
