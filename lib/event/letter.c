/* SPDX-License-Identifier: MIT */
#include "latido/letter.h"

#include <inttypes.h>
#include <string.h>

#include "event_int.h"
#include "json_read.h"
#include "latido/clock.h"

static void add_string(struct lt_buf *b, const char *key, const char *value)
{
	lt_buf_printf(b, "%s\"%s\":", b->data[b->len - 1] == '{' ? "" : ",", key);
	if (value)
		lt_buf_json_str(b, value, strlen(value));
	else
		lt_buf_str(b, "null");
}

void lt_letter_format(const struct lt_letter *l, struct lt_buf *out)
{
	char time[LT_RFC3339_LEN];

	lt_rfc3339_format(l->time_ns, 3, time);
	lt_buf_char(out, '{');
	add_string(out, "consumer", l->consumer);
	add_string(out, "reason", l->reason);
	add_string(out, "error", l->error);
	add_string(out, "time", time);
	add_string(out, "topic", l->topic);
	add_string(out, "key", l->key);
	add_string(out, "content_type", l->content_type);
	lt_buf_printf(out,
		",\"partition\":%d,\"offset\":%" PRId64 ",\"size\":%" PRIu64
		",\"truncated\":%s,\"body\":\"",
		l->partition, l->offset, l->size, l->truncated ? "true" : "false");
	lt_buf_base64(out, l->body, l->body_size);
	lt_buf_str(out, "\"}");
}

static int sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648, padded. Return: false when it is something else. */
static bool unbase64(const char *s, size_t n, uint8_t *out, size_t *size)
{
	size_t pad = n && s[n - 1] == '=' ? n > 1 && s[n - 2] == '=' ? 2 : 1 : 0;
	uint32_t bits = 0;
	unsigned have = 0;

	*size = 0;
	if (n % 4)
		return false;
	for (size_t i = 0; i < n - pad; i++) {
		int v = sextet(s[i]);

		if (v < 0)
			return false;
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[(*size)++] = (uint8_t)(bits >> have);
		}
	}
	return true;
}

static const char *text_of(const struct json_value *v, struct lt_arena *arena, size_t *n)
{
	char *s = lt_arena_alloc(arena, v->len + 1);

	*n = json_unescape(v, s);
	s[*n] = '\0';
	return s;
}

static int64_t number_of(const struct json_value *v)
{
	double d;

	/* Offsets and sizes of what we wrote are exact far beyond any real one. */
	return text_number(v->s, v->len, &d) && d >= -1 && d <= LT_EXACT_INT ? (int64_t)d : -1;
}

static bool is(const struct json_value *key, const char *name)
{
	return key->len == strlen(name) && memcmp(key->s, name, key->len) == 0;
}

static bool string_member(struct lt_letter *l, const struct json_value *key,
	const struct json_value *v, struct lt_arena *arena)
{
	const struct {
		const char *name, **to;
	} members[] = {{"consumer", &l->consumer}, {"reason", &l->reason}, {"error", &l->error},
		{"topic", &l->topic}, {"key", &l->key}, {"content_type", &l->content_type}};
	const char *text;
	size_t n, size;

	for (size_t i = 0; i < LT_ARRAY_LEN(members); i++) {
		if (!is(key, members[i].name))
			continue;
		text = text_of(v, arena, &n);
		if (strlen(text) == n)
			*members[i].to = text;
		return true;
	}
	if (is(key, "time")) {
		text = text_of(v, arena, &n);
		if (!lt_rfc3339_parse(text, n, &l->time_ns))
			l->time_ns = 0;
	} else if (is(key, "body")) {
		uint8_t *body = lt_arena_alloc(arena, v->len + 1);

		text = text_of(v, arena, &n);
		if (!unbase64(text, n, body, &size))
			return false;
		l->body = body;
		l->body_size = size;
	}
	return true;
}

static bool member(
	struct json *j, const struct json_value *key, struct lt_letter *l, struct lt_arena *arena)
{
	struct json_value v;

	if (!json_value(j, &v))
		return false;
	if (v.type == JSON_STRING)
		return string_member(l, key, &v, arena);
	if (v.type == JSON_BOOL && is(key, "truncated"))
		l->truncated = v.truth;
	if (v.type == JSON_NUMBER && is(key, "partition"))
		l->partition = (int32_t)number_of(&v);
	if (v.type == JSON_NUMBER && is(key, "offset"))
		l->offset = number_of(&v);
	if (v.type == JSON_NUMBER && is(key, "size") && number_of(&v) >= 0)
		l->size = (uint64_t)number_of(&v);
	return json_skip(j, &v);
}

int lt_letter_parse(struct lt_letter *out, const void *text, size_t size, struct lt_arena *arena,
	struct lt_err *err)
{
	struct json_value v, key;
	bool first = true;
	struct json j;
	int more = -1;

	*out = (struct lt_letter){.partition = -1, .offset = -1, .body = ""};
	json_init(&j, text, size);
	if (json_value(&j, &v) && v.type == JSON_OBJECT)
		while ((more = json_member(&j, &first, &key)) == 1)
			if (!member(&j, &key, out, arena)) {
				more = -1;
				break;
			}
	if (more == 0 && json_end(&j))
		return LT_OK;
	return lt_fail(err, LT_EDATA, LT_CLS_POISON, "letter.parse",
		"not a dead letter: %s at byte %td", j.error ? j.error : "unexpected value",
		j.p - j.start);
}
