/* SPDX-License-Identifier: MIT */
#include "json_read.h"

#include <string.h>

static bool fail(struct json *j, const char *what)
{
	j->error = what;
	return false;
}

static void skip_space(struct json *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
		j->p++;
}

void json_init(struct json *j, const char *p, size_t size)
{
	*j = (struct json){.p = p, .end = p + size, .start = p};
	/* RFC 8259 lets a parser ignore a byte order mark; some Windows programs write one. */
	if (size >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
		j->p += 3;
}

/* Value of four hexadecimal digits, or -1. */
static int hex4(const char *s, const char *end)
{
	int v = 0;

	if (end - s < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = s[i];

		if (c >= '0' && c <= '9')
			v = v * 16 + (c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v * 16 + ((c | 32) - 'a' + 10);
		else
			return -1;
	}
	return v;
}

/* Behind a backslash: checks the escape and moves over it. */
static bool escape(struct json *j)
{
	int u, low;

	if (j->p == j->end)
		return fail(j, "the text ends inside a string");
	if (*j->p != 'u') {
		if (!*j->p || !strchr("\"\\/bfnrt", *j->p))
			return fail(j, "unknown escape in a string");
		j->p++;
		return true;
	}
	u = hex4(j->p + 1, j->end);
	if (u < 0)
		return fail(j, "\\u needs four hexadecimal digits");
	if (u >= 0xdc00 && u <= 0xdfff)
		return fail(j, "low surrogate without a high one");
	if (u >= 0xd800 && u <= 0xdbff) {
		if (j->end - j->p < 11 || j->p[5] != '\\' || j->p[6] != 'u')
			return fail(j, "high surrogate without a low one");
		low = hex4(j->p + 7, j->end);
		if (low < 0xdc00 || low > 0xdfff)
			return fail(j, "high surrogate without a low one");
		j->p += 6;
	}
	j->p += 5;
	return true;
}

/* Behind the opening quote. */
static bool string(struct json *j, struct json_value *v)
{
	bool ascii = true;

	v->type = JSON_STRING;
	v->s = j->p;
	v->escaped = false;
	for (;;) {
		unsigned char c;

		if (j->p == j->end)
			return fail(j, "the text ends inside a string");
		c = (unsigned char)*j->p;
		if (c == '"')
			break;
		if (c < 0x20)
			return fail(j, "control character in a string");
		j->p++;
		if (c == '\\') {
			v->escaped = true;
			if (!escape(j))
				return false;
		}
		ascii &= c < 0x80;
	}
	v->len = (size_t)(j->p - v->s);
	if (!ascii && !lt_utf8_valid(v->s, v->len))
		return fail(j, "string is not valid UTF-8");
	j->p++;
	return true;
}

static bool digits(struct json *j)
{
	const char *start = j->p;

	while (j->p < j->end && *j->p >= '0' && *j->p <= '9')
		j->p++;
	return j->p > start;
}

static bool number(struct json *j, struct json_value *v)
{
	v->type = JSON_NUMBER;
	v->s = j->p;
	if (*j->p == '-')
		j->p++;
	if (j->p < j->end && *j->p == '0')
		j->p++;
	else if (!digits(j))
		return fail(j, "malformed number");
	if (j->p < j->end && *j->p == '.') {
		j->p++;
		if (!digits(j))
			return fail(j, "malformed number");
	}
	if (j->p < j->end && (*j->p == 'e' || *j->p == 'E')) {
		j->p++;
		if (j->p < j->end && (*j->p == '+' || *j->p == '-'))
			j->p++;
		if (!digits(j))
			return fail(j, "malformed number");
	}
	v->len = (size_t)(j->p - v->s);
	return true;
}

static bool word(struct json *j, const char *w)
{
	size_t n = strlen(w);

	if ((size_t)(j->end - j->p) < n || memcmp(j->p, w, n) != 0)
		return fail(j, "expected a JSON value");
	j->p += n;
	return true;
}

bool json_value(struct json *j, struct json_value *v)
{
	skip_space(j);
	if (j->p == j->end)
		return fail(j, "the text ends where a value should be");
	switch (*j->p) {
	case '{':
		j->p++;
		v->type = JSON_OBJECT;
		return true;
	case '[':
		j->p++;
		v->type = JSON_ARRAY;
		return true;
	case '"':
		j->p++;
		return string(j, v);
	case 't':
		v->type = JSON_BOOL;
		v->truth = true;
		return word(j, "true");
	case 'f':
		v->type = JSON_BOOL;
		v->truth = false;
		return word(j, "false");
	case 'n':
		v->type = JSON_NULL;
		return word(j, "null");
	default:
		if (*j->p == '-' || (*j->p >= '0' && *j->p <= '9'))
			return number(j, v);
		return fail(j, "expected a JSON value");
	}
}

/* Is there one more, or the closing @bracket? */
static int more(struct json *j, bool *first, char bracket)
{
	skip_space(j);
	if (j->p == j->end) {
		fail(j, "the text ends inside an object or array");
		return -1;
	}
	if (*j->p == bracket) {
		j->p++;
		return 0;
	}
	if (!*first) {
		if (*j->p != ',') {
			fail(j, "expected a comma or the closing bracket");
			return -1;
		}
		j->p++;
	}
	*first = false;
	return 1;
}

int json_member(struct json *j, bool *first, struct json_value *key)
{
	int code = more(j, first, '}');

	if (code != 1)
		return code;
	skip_space(j);
	if (j->p == j->end || *j->p != '"') {
		fail(j, "expected a key in double quotes");
		return -1;
	}
	j->p++;
	if (!string(j, key))
		return -1;
	skip_space(j);
	if (j->p == j->end || *j->p != ':') {
		fail(j, "expected a colon after a key");
		return -1;
	}
	j->p++;
	return 1;
}

int json_item(struct json *j, bool *first)
{
	return more(j, first, ']');
}

bool json_skip(struct json *j, const struct json_value *v)
{
	uint64_t arrays = 0; /* bit i: what is open at depth i is an array */
	unsigned depth = 0;
	struct json_value x = *v, key;
	bool first = true;

	if (x.type > JSON_ARRAY)
		return true;
	arrays = x.type == JSON_ARRAY;
	depth = 1;
	while (depth) {
		bool array = arrays >> (depth - 1) & 1;
		int code = array ? json_item(j, &first) : json_member(j, &first, &key);

		if (code < 0)
			return false;
		if (code == 0) {
			depth--;
			first = false;
			continue;
		}
		if (!json_value(j, &x))
			return false;
		if (x.type > JSON_ARRAY)
			continue;
		if (depth == JSON_DEPTH_MAX)
			return fail(j, "nested too deeply");
		arrays &= ~(UINT64_C(1) << depth);
		arrays |= (uint64_t)(x.type == JSON_ARRAY) << depth;
		depth++;
		first = true;
	}
	return true;
}

bool json_end(struct json *j)
{
	skip_space(j);
	return j->p == j->end || fail(j, "something follows the JSON value");
}

static char *put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 0x3f));
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	}
	return out;
}

size_t json_unescape(const struct json_value *v, char *out)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *s = v->s, *end = s + v->len, *start = out, *at;

	while (s < end) {
		uint32_t c;

		if (*s != '\\') {
			*out++ = *s++;
			continue;
		}
		s++;
		if (*s != 'u') {
			at = strchr(from, *s);
			*out++ = at ? to[at - from] : *s;
			s++;
			continue;
		}
		c = (uint32_t)hex4(s + 1, end);
		s += 5;
		if (c >= 0xd800 && c <= 0xdbff) {
			c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)hex4(s + 2, end) - 0xdc00);
			s += 6;
		}
		out = put_utf8(out, c);
	}
	return (size_t)(out - start);
}

const char *json_text(const struct json_value *v, struct lt_buf *scratch, size_t *n)
{
	if (!v->escaped) {
		*n = v->len;
		return v->s;
	}
	lt_buf_reset(scratch);
	*n = scratch->len = json_unescape(v, lt_buf_room(scratch, v->len));
	scratch->data[scratch->len] = '\0';
	return scratch->data;
}
