/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <string.h>

#include "bus_int.h"
#include "latido/mem.h"

#define TOPIC_MAX_BYTES 65535

/* Length of the UTF-8 sequence at @s, which is valid UTF-8; its code point in @cp. */
static size_t next_char(const unsigned char *s, uint32_t *cp)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	*cp = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++)
		*cp = *cp << 6 | (s[i] & 0x3f);
	return n;
}

bool lt_text_valid(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	uint32_t cp;

	if (n > TOPIC_MAX_BYTES || !lt_utf8_valid(s, n))
		return false;
	for (size_t i = 0; i < n;) {
		i += next_char(p + i, &cp);
		if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0xfdd0 && cp <= 0xfdef) ||
			(cp & 0xfffe) == 0xfffe)
			return false;
	}
	return true;
}

bool lt_topic_valid(const char *topic)
{
	size_t n = topic ? strlen(topic) : 0;

	return n > 0 && lt_text_valid(topic, n) && !strpbrk(topic, "+#");
}

/* Skip "$share/<group>/". Return: NULL when the group or the filter behind it is missing. */
static const char *skip_share(const char *filter)
{
	const char *slash;

	if (strncmp(filter, "$share/", 7) != 0)
		return filter;
	slash = strchr(filter + 7, '/');
	if (!slash || slash == filter + 7 ||
		strcspn(filter + 7, "+#") < (size_t)(slash - filter - 7))
		return NULL;
	return slash[1] ? slash + 1 : NULL;
}

bool lt_topic_filter_valid(const char *filter)
{
	size_t n = filter ? strlen(filter) : 0;
	const char *p;

	if (n == 0 || !lt_text_valid(filter, n))
		return false;
	p = skip_share(filter);
	if (!p)
		return false;
	for (;; p++) {
		size_t level = strcspn(p, "/");

		if (level > 1 && (memchr(p, '+', level) || memchr(p, '#', level)))
			return false;
		if (p[0] == '#')
			return p[1] == '\0';
		p += level;
		if (!*p)
			return true;
	}
}

bool lt_topic_match(const char *filter, const char *topic)
{
	const char *f = skip_share(filter), *t = topic;

	if (!f || (*t == '$' && (*f == '+' || *f == '#')))
		return false;
	for (;;) {
		size_t nf = strcspn(f, "/"), nt = strcspn(t, "/");

		if (f[0] == '#')
			return true;
		if (!(nf == 1 && f[0] == '+') && (nf != nt || memcmp(f, t, nf) != 0))
			return false;
		f += nf;
		t += nt;
		/* "a/#" also matches "a". */
		if (!*t)
			return !*f || strcmp(f, "/#") == 0;
		if (!*f)
			return false;
		f++;
		t++;
	}
}
