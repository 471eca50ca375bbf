/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "conf_priv.h"

/* Would every YAML reader take this for a string as it stands, also inside [] and {}? */
static bool is_plain(const char *s)
{
	static const char *const words[] = {
		"null", "true", "false", "yes", "no", "on", "off", "y", "n"};

	if (!isalpha((unsigned char)*s) && *s != '/')
		return false;
	for (size_t i = 0; i < LT_ARRAY_LEN(words); i++) {
		if (!strcasecmp(s, words[i]))
			return false;
	}
	for (; *s; s++) {
		if (!isalnum((unsigned char)*s) && !strchr("/._-:", *s))
			return false;
		if (*s == ':' && !isalnum((unsigned char)s[1]) && s[1] != '/')
			return false;
	}
	return true;
}

/* One UTF-8 character; the text was validated when it came in. */
static unsigned long next_char(const char **s)
{
	const unsigned char *p = (const unsigned char *)*s;
	unsigned long c = *p++;
	int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

	if (more)
		c &= 0x3fUL >> more;
	for (; more && *p; more--)
		c = c << 6 | (*p++ & 0x3f);
	*s = (const char *)p;
	return c;
}

/* Characters that YAML refuses in a text or takes for the end of a line. */
static bool needs_escape(unsigned long c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
	       c == 0xfffe || c == 0xffff;
}

void lt_conf_put_string(struct lt_buf *b, const char *s)
{
	const char *at;
	unsigned long c;

	if (is_plain(s)) {
		lt_buf_str(b, s);
		return;
	}
	lt_buf_char(b, '"');
	while (*(at = s)) {
		c = next_char(&s);
		if (c == '"' || c == '\\')
			lt_buf_printf(b, "\\%c", (char)c);
		else if (c == '\n')
			lt_buf_str(b, "\\n");
		else if (c == '\t')
			lt_buf_str(b, "\\t");
		else if (needs_escape(c))
			lt_buf_printf(b, "\\u%04lx", c);
		else
			lt_buf_add(b, at, (size_t)(s - at));
	}
	lt_buf_char(b, '"');
}

void lt_conf_put_field(struct lt_buf *b, const struct lt_conf_key *key, const void *field)
{
	union lt_conf_value v = lt_conf_peek(key, field);

	switch (key->type) {
	case LT_CONF_BOOL:
		lt_buf_str(b, v.b ? "true" : "false");
		break;
	case LT_CONF_FLOAT:
		lt_buf_double(b, v.f);
		break;
	case LT_CONF_STRING:
		lt_conf_put_string(b, v.s);
		break;
	case LT_CONF_ENUM:
		lt_buf_str(b, key->choices[v.e]);
		break;
	case LT_CONF_LIST:
		lt_buf_char(b, '[');
		for (size_t i = 0; i < v.list.n; i++) {
			lt_buf_str(b, i ? ", " : "");
			lt_conf_put_string(b, v.list.items[i]);
		}
		lt_buf_char(b, ']');
		break;
	case LT_CONF_MAP:
		lt_buf_char(b, '{');
		for (size_t i = 0; i < v.map.n; i++) {
			lt_buf_str(b, i ? ", " : "");
			lt_conf_put_string(b, v.map.keys[i]);
			lt_buf_str(b, ": ");
			lt_conf_put_string(b, v.map.values[i]);
		}
		lt_buf_char(b, '}');
		break;
	default:
		lt_conf_put_number(b, key->type, v.i);
		break;
	}
}

void lt_conf_put_kind(struct lt_buf *b, const struct lt_conf_key *key)
{
	static const char *const names[] = {
		[LT_CONF_BOOL] = "true or false",
		[LT_CONF_INT] = "whole number",
		[LT_CONF_FLOAT] = "number",
		[LT_CONF_DURATION] = "duration",
		[LT_CONF_SIZE] = "size",
		[LT_CONF_STRING] = "string",
		[LT_CONF_ENUM] = "one of ",
		[LT_CONF_LIST] = "list",
		[LT_CONF_MAP] = "map of strings",
	};

	lt_buf_str(b, names[key->type]);
	if (key->choices) {
		if (key->type == LT_CONF_LIST)
			lt_buf_str(b, " of ");
		for (size_t i = 0; key->choices[i]; i++)
			lt_buf_printf(b, "%s%s", i ? ", " : "", key->choices[i]);
		return;
	}
	switch (key->type) {
	case LT_CONF_INT:
	case LT_CONF_FLOAT:
	case LT_CONF_DURATION:
	case LT_CONF_SIZE:
		if (key->min || key->max) {
			lt_buf_str(b, ", ");
			lt_conf_put_bounds(b, key);
		}
		break;
	case LT_CONF_STRING:
		if (key->min)
			lt_buf_str(b, ", not empty");
		break;
	default:
		break;
	}
}
