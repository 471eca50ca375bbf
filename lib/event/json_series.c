/* SPDX-License-Identifier: MIT */
/* Series names as Prometheus writes them, and what an event says about metrics by name. */
#include "decode_json.h"

#include <string.h>
#include <xxhash.h>

#define OP "event.json"

/* One more than is allowed, so that parsing the shape is what refuses them. */
#define MAX (LT_LABELS_MAX + 1)

struct labels {
	struct shape_text key[MAX], value[MAX];
	size_t n;
};

/* Keeps labels sorted while they are added; equal ones end up side by side. */
static void insert(struct labels *l, struct shape_text key, struct shape_text value)
{
	size_t i = l->n++;

	for (; i > 0; i--) {
		const struct shape_text *k = &l->key[i - 1];
		int cmp = memcmp(k->s, key.s, k->len < key.len ? k->len : key.len);

		if (cmp < 0 || (cmp == 0 && k->len <= key.len))
			break;
		l->key[i] = l->key[i - 1];
		l->value[i] = l->value[i - 1];
	}
	l->key[i] = key;
	l->value[i] = value;
}

static char *skip_space(char *p, const char *end)
{
	while (p < end && *p == ' ')
		p++;
	return p;
}

/* Behind the opening quote: takes the escapes out where they stand. NULL: no closing quote. */
static char *value_text(char *p, const char *end, struct shape_text *value)
{
	char *out = p;

	value->s = p;
	for (; p < end && *p != '"'; p++) {
		if (*p == '\\' && p + 1 < end) {
			p++;
			*out++ = *p == 'n' ? '\n' : *p;
		} else {
			*out++ = *p;
		}
	}
	if (p == end)
		return NULL;
	value->len = (size_t)(out - value->s);
	return p + 1;
}

/* {a="x",b="y"}, to the end of the text. */
static bool labels(struct labels *l, char *p, const char *end)
{
	l->n = 0;
	for (p = skip_space(p + 1, end);; p = skip_space(p, end)) {
		struct shape_text key = {p, 0}, value;

		if (p < end && *p == '}')
			return p + 1 == end;
		if (l->n == MAX)
			return true; /* refused anyway */
		while (p < end && *p != '=' && *p != ' ' && *p != '"')
			p++;
		key.len = (size_t)(p - key.s);
		p = skip_space(p, end);
		if (p == end || *p != '=')
			return false;
		p = skip_space(p + 1, end);
		if (p == end || *p != '"')
			return false;
		p = value_text(p + 1, end, &value);
		if (!p)
			return false;
		insert(l, key, value);
		p = skip_space(p, end);
		if (p < end && *p == ',')
			p++;
		else if (p == end || *p != '}')
			return false;
	}
}

int json_series(struct json_msg *m, const char *s, size_t n, double value)
{
	const char *brace = memchr(s, '{', n);
	char quoted[EVENT_QUOTE_LEN];
	struct lt_buf *copy = &m->s->text;
	struct shape_text name = {s, brace ? (size_t)(brace - s) : n};
	struct labels l;

	if (!brace)
		return json_msg_add(m, name, NULL, NULL, 0, value);
	/* A copy to unescape in. The scratch may hold s itself, which is then moved to its place. */
	if (s != copy->data) {
		lt_buf_reset(copy);
		lt_buf_add(copy, s, n);
		name.s = copy->data;
	}
	if (!labels(&l, copy->data + name.len, copy->data + n))
		return decode_refuse(m->d, LT_REASON_DECODE, OP,
			"series %s: expected name{label=\"value\",...}", event_quote(quoted, s, n));
	return json_msg_add(m, name, l.key, l.value, l.n, value);
}

/* ---- types and units ---- */

struct json_meta_slot {
	struct shape_text name; /* .s NULL: free */
	enum lt_kind kind;
	struct shape_text unit;
};

static struct json_meta_slot *slot_of(
	const struct json_meta *meta, struct shape_text name, uint64_t seed)
{
	uint32_t h = (uint32_t)XXH3_64bits_withSeed(name.s, name.len, seed) & meta->mask;

	for (; meta->slots[h].name.s; h = (h + 1) & meta->mask) {
		const struct shape_text *x = &meta->slots[h].name;

		if (x->len == name.len && memcmp(x->s, name.s, name.len) == 0)
			break;
	}
	return &meta->slots[h];
}

void json_meta_find(const struct json_meta *meta, struct shape_text name, uint64_t seed,
	enum lt_kind *kind, struct shape_text *unit)
{
	const struct json_meta_slot *x;

	*kind = LT_KIND_UNKNOWN;
	*unit = (struct shape_text){"", 0};
	if (!meta->slots)
		return;
	x = slot_of(meta, name, seed);
	if (x->name.s) {
		*kind = x->kind;
		*unit = x->unit;
	}
}

static enum lt_kind kind_of(const char *s, size_t n)
{
	if (n == 5 && memcmp(s, "gauge", 5) == 0)
		return LT_KIND_GAUGE;
	if (n == 7 && memcmp(s, "counter", 7) == 0)
		return LT_KIND_COUNTER;
	return LT_KIND_UNKNOWN;
}

/* Reads the object at @at; with slots it stores, without it only counts. */
static int meta_object(
	struct json_msg *m, const struct json *at, const char *what, bool units, uint32_t *n)
{
	struct json_value v, key;
	bool first = true;
	int more = 1, code;

	m->j = *at;
	if (!json_value(&m->j, &v))
		return json_bad(m);
	if (v.type != JSON_OBJECT)
		return decode_refuse(m->d, LT_REASON_DECODE, OP, "%s must be an object", what);
	while ((more = json_member(&m->j, &first, &key)) > 0) {
		struct shape_text name, text;
		struct json_meta_slot *x;

		if (!json_value(&m->j, &v) || !json_skip(&m->j, &v))
			break;
		++*n;
		if (!m->meta.slots)
			continue;
		code = json_string(m, &key, what, &name.s, &name.len);
		if (code == LT_OK)
			code = json_string(m, &v, what, &text.s, &text.len);
		if (code != LT_OK)
			return code;
		x = slot_of(&m->meta, name, shapes_seed(m->d->t));
		x->name = name;
		if (units)
			x->unit = text;
		else
			x->kind = kind_of(text.s, text.len);
	}
	return more == 0 ? LT_OK : json_bad(m);
}

int json_meta_read(struct json_msg *m, const struct json *types, const struct json *units)
{
	struct json back = m->j;
	uint32_t n = 0, size = 16;
	int code = LT_OK;

	for (int store = 0; store < 2 && code == LT_OK; store++) {
		if (types)
			code = meta_object(m, types, "types", false, &n);
		if (units && code == LT_OK)
			code = meta_object(m, units, "units", true, &n);
		if (store || code != LT_OK || n == 0)
			break;
		while (size < n * 2)
			size *= 2;
		m->meta.mask = size - 1;
		m->meta.slots = lt_arena_alloc(m->d->arena, size * sizeof(*m->meta.slots));
		for (uint32_t i = 0; i < size; i++)
			m->meta.slots[i] = (struct json_meta_slot){.unit = {"", 0}};
	}
	if (code == LT_OK)
		m->j = back;
	return code;
}
