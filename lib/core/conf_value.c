/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conf_priv.h"

#define OP "conf.value"

struct unit {
	const char *name;
	int64_t factor;
};

/* Largest first. */
static const struct unit durations[] = {
	{"d", 86400000},
	{"h", 3600000},
	{"m", 60000},
	{"s", 1000},
	{"ms", 1},
};
static const struct unit sizes[] = {
	{"TiB", 1LL << 40},
	{"GiB", 1LL << 30},
	{"MiB", 1LL << 20},
	{"KiB", 1LL << 10},
	{"B", 1},
};

static int bad(struct lt_err *err, const char *want, const char *text, size_t len)
{
	char q[96];

	if (!len)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP, "expected %s, got nothing", want);
	return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP, "expected %s, got %s", want,
		lt_conf_quote(text, len, q));
}

const char *lt_conf_type_name(enum lt_conf_type t)
{
	switch (t) {
	case LT_CONF_BOOL:
		return "true or false";
	case LT_CONF_INT:
		return "a whole number";
	case LT_CONF_FLOAT:
		return "a number";
	case LT_CONF_DURATION:
		return "a duration with its unit (250ms, 30s, 5m, 12h, 7d)";
	case LT_CONF_SIZE:
		return "a size with its unit (4096B, 64KiB, 8MiB, 1GiB)";
	case LT_CONF_STRING:
		return "a string";
	case LT_CONF_ENUM:
		return "one word";
	case LT_CONF_LIST:
		return "a list such as [a, b]";
	case LT_CONF_MAP:
		return "a map such as {key: value}";
	}
	return "a value";
}

/* ---- numbers ---- */

/* Digits from *p up to @end; false when there is none or the number does not fit. */
static bool scan_digits(const char **p, const char *end, int64_t *v)
{
	const char *s = *p;

	for (*v = 0; s < end && isdigit((unsigned char)*s); s++) {
		if (__builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, *s - '0', v))
			return false;
	}
	if (s == *p)
		return false;
	*p = s;
	return true;
}

static bool scan_int(const char *text, size_t len, int64_t *v)
{
	const char *p = text, *end = text + len;
	bool minus = len && *p == '-';

	if (len && (*p == '-' || *p == '+'))
		p++;
	/* 010 is eight in YAML 1.1 and ten in 1.2 */
	if (end - p > 1 && *p == '0')
		return false;
	if (!scan_digits(&p, end, v) || p != end)
		return false;
	if (minus)
		*v = -*v;
	return true;
}

static bool scan_float(const char *text, size_t len, double *v)
{
	char buf[64], *end;
	locale_t c;

	if (!len || len >= sizeof(buf))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)text[i]) && !strchr("+-.eE", text[i]))
			return false;
		buf[i] = text[i];
	}
	buf[len] = '\0';
	c = newlocale(LC_ALL_MASK, "C", NULL);
	*v = c ? strtod_l(buf, &end, c) : strtod(buf, &end);
	if (c)
		freelocale(c);
	return end == buf + len && isfinite(*v);
}

static const struct unit *find_unit(const struct unit *units, size_t n, const char *s, size_t len)
{
	for (size_t i = 0; i < n; i++) {
		if (strlen(units[i].name) == len && !memcmp(units[i].name, s, len))
			return &units[i];
	}
	return NULL;
}

/* "1h30m", "8MiB": numbers with units, the larger ones first. */
static bool scan_units(const struct unit *units, size_t n, const char *text, size_t len, int64_t *v)
{
	const char *p = text, *end = text + len, *name;
	const struct unit *u, *last = NULL;
	int64_t x;

	*v = 0;
	if (len == 1 && *p == '0')
		return true;
	do {
		if (!scan_digits(&p, end, &x))
			return false;
		for (name = p; p < end && isalpha((unsigned char)*p); p++)
			;
		u = find_unit(units, n, name, (size_t)(p - name));
		if (!u || (last && u <= last))
			return false;
		if (__builtin_mul_overflow(x, u->factor, &x) || __builtin_add_overflow(*v, x, v))
			return false;
		last = u;
	} while (p < end);
	return true;
}

static void put_units(struct lt_buf *b, const struct unit *units, int64_t v)
{
	if (!v) {
		lt_buf_char(b, '0');
		return;
	}
	while (v % units->factor)
		units++;
	lt_buf_printf(b, "%lld%s", (long long)(v / units->factor), units->name);
}

void lt_conf_put_number(struct lt_buf *b, enum lt_conf_type t, int64_t v)
{
	if (t == LT_CONF_DURATION)
		put_units(b, durations, v);
	else if (t == LT_CONF_SIZE)
		put_units(b, sizes, v);
	else
		lt_buf_printf(b, "%lld", (long long)v);
}

void lt_conf_put_bounds(struct lt_buf *b, const struct lt_conf_key *key)
{
	if (key->max == INT64_MAX) {
		lt_buf_str(b, "at least ");
		lt_conf_put_number(b, key->type, key->min);
		return;
	}
	lt_conf_put_number(b, key->type, key->min);
	lt_buf_str(b, " to ");
	lt_conf_put_number(b, key->type, key->max);
}

static int out_of_bounds(
	const struct lt_conf_key *key, const char *text, size_t len, struct lt_err *err)
{
	struct lt_buf b = {0};
	char q[96];
	int rc;

	lt_conf_put_bounds(&b, key);
	rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP, "out of bounds (%s): %s", b.data,
		lt_conf_quote(text, len, q));
	lt_buf_fini(&b);
	return rc;
}

static bool in_bounds(const struct lt_conf_key *key, double v)
{
	return (!key->min && !key->max) || (v >= (double)key->min && v <= (double)key->max);
}

static int scan_number(const struct lt_conf_key *key, const char *text, size_t len, int form,
	union lt_conf_value *out, struct lt_err *err)
{
	bool ok = false;
	double v = 0;

	switch (key->type) {
	case LT_CONF_INT:
		ok = form != LT_FORM_QUOTED && scan_int(text, len, &out->i);
		v = (double)out->i;
		break;
	case LT_CONF_FLOAT:
		ok = form != LT_FORM_QUOTED && scan_float(text, len, &out->f);
		v = out->f;
		break;
	case LT_CONF_DURATION:
		ok = scan_units(durations, LT_ARRAY_LEN(durations), text, len, &out->i);
		v = (double)out->i;
		break;
	default:
		ok = scan_units(sizes, LT_ARRAY_LEN(sizes), text, len, &out->i);
		v = (double)out->i;
		break;
	}
	if (!ok)
		return bad(err, lt_conf_type_name(key->type), text, len);
	if (!in_bounds(key, v))
		return out_of_bounds(key, text, len, err);
	return LT_OK;
}

/* ---- words and strings ---- */

static bool equals(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && !memcmp(text, word, len);
}

static int scan_bool(const char *text, size_t len, int form, bool *out, struct lt_err *err)
{
	*out = equals(text, len, "true");
	if (!*out && !equals(text, len, "false"))
		return bad(err, "true or false", text, len);
	if (form == LT_FORM_QUOTED)
		return bad(err, "true or false without quotes", text, len);
	return LT_OK;
}

/* "wrn" is not one of error, warn, info, debug; did you mean warn? */
static int not_a_choice(
	const struct lt_conf_key *key, const char *text, size_t len, struct lt_err *err)
{
	struct lt_conf_guess g;
	struct lt_buf b = {0};
	char q[96];
	int rc;

	lt_conf_guess_init(&g, text, len);
	for (size_t i = 0; key->choices[i]; i++) {
		lt_buf_printf(&b, "%s%s", i ? ", " : "", key->choices[i]);
		lt_conf_guess_try(&g, key->choices[i], strlen(key->choices[i]));
	}
	rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP, "not one of %s: %s%s%s%s", b.data,
		lt_conf_quote(text, len, q), g.best ? "; did you mean " : "", g.best ? g.best : "",
		g.best ? "?" : "");
	lt_buf_fini(&b);
	return rc;
}

static int scan_choice(
	const struct lt_conf_key *key, const char *text, size_t len, int *out, struct lt_err *err)
{
	for (*out = 0; key->choices[*out]; ++*out) {
		if (equals(text, len, key->choices[*out]))
			return LT_OK;
	}
	return not_a_choice(key, text, len, err);
}

/* What YAML readers take for null: without quotes it is more likely a slip than a string. */
static bool is_null(const char *text, size_t len)
{
	return !len || equals(text, len, "~") || equals(text, len, "null") ||
	       equals(text, len, "Null") || equals(text, len, "NULL");
}

int lt_conf_scan_item(const struct lt_conf_key *key, const char *text, size_t len, int form,
	char **out, struct lt_err *err)
{
	int choice;

	if (form == LT_FORM_PLAIN && is_null(text, len))
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP,
			"expected a string, got nothing; write \"\" for an empty one");
	if (memchr(text, '\0', len))
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP, "holds a NUL byte");
	if (!lt_utf8_valid(text, len))
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP, "is not UTF-8 text");
	if (!len && key->min)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP, "must not be empty");
	if (len < (size_t)key->min)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP,
			"is too short: %zu bytes, at least %lld are needed", len,
			(long long)key->min);
	if (key->max && len > (size_t)key->max)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP,
			"is too long: %zu bytes, at most %lld fit", len, (long long)key->max);
	if (key->type == LT_CONF_LIST && key->choices) {
		int rc = scan_choice(key, text, len, &choice, err);

		if (rc)
			return rc;
	}
	*out = lt_strndup(text, len);
	return LT_OK;
}

int lt_conf_scan_map_key(const char *text, size_t len, char **out, struct lt_err *err)
{
	if (!len)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP, "a key must not be empty");
	if (len > LT_CONF_MAP_KEY_MAX)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP,
			"a key is too long: %zu bytes, at most %d fit", len, LT_CONF_MAP_KEY_MAX);
	if (!lt_utf8_valid(text, len))
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP, "a key is not UTF-8 text");
	*out = lt_strndup(text, len);
	return LT_OK;
}

/* ---- lists and maps ---- */

void lt_conf_list_add(struct lt_conf_list *l, char *item)
{
	l->items = lt_realloc(l->items, (l->n + 1) * sizeof(*l->items));
	l->items[l->n++] = item;
}

void lt_conf_map_add(struct lt_conf_map *m, char *key, char *value)
{
	m->keys = lt_realloc(m->keys, (m->n + 1) * sizeof(*m->keys));
	m->values = lt_realloc(m->values, (m->n + 1) * sizeof(*m->values));
	m->keys[m->n] = key;
	m->values[m->n++] = value;
}

static void trim(const char **text, size_t *len)
{
	while (*len && isspace((unsigned char)**text)) {
		++*text;
		--*len;
	}
	while (*len && isspace((unsigned char)(*text)[*len - 1]))
		--*len;
}

/* One item of "a, b" or one pair of "k=v, l=w". */
static int scan_part(const struct lt_conf_key *key, const char *p, size_t n,
	union lt_conf_value *out, struct lt_err *err)
{
	const char *value, *eq;
	char *name = NULL, *item = NULL;
	size_t n_value;
	int rc;

	trim(&p, &n);
	if (key->type == LT_CONF_LIST) {
		rc = lt_conf_scan_item(key, p, n, LT_FORM_BARE, &item, err);
		if (!rc)
			lt_conf_list_add(&out->list, item);
		return rc;
	}
	eq = memchr(p, '=', n);
	if (!eq)
		return bad(err, "pairs such as key=value, other=value", p, n);
	value = eq + 1;
	n_value = n - (size_t)(value - p);
	n = (size_t)(eq - p);
	trim(&p, &n);
	trim(&value, &n_value);
	rc = lt_conf_scan_map_key(p, n, &name, err);
	for (size_t i = 0; !rc && i < out->map.n; i++) {
		if (!strcmp(out->map.keys[i], name))
			rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP,
				"the key \"%.64s\" is "
				"there twice",
				name);
	}
	if (!rc)
		rc = lt_conf_scan_item(key, value, n_value, LT_FORM_BARE, &item, err);
	if (rc)
		free(name);
	else
		lt_conf_map_add(&out->map, name, item);
	return rc;
}

static int scan_parts(const struct lt_conf_key *key, const char *text, size_t len,
	union lt_conf_value *out, struct lt_err *err)
{
	const char *end, *comma;

	memset(out, 0, sizeof(*out));
	trim(&text, &len);
	for (end = text + len; len; len = (size_t)(end - text)) {
		comma = memchr(text, ',', len);
		if (scan_part(key, text, (size_t)((comma ? comma : end) - text), out, err)) {
			lt_conf_value_fini(key, out);
			return LT_ECONF;
		}
		text = comma ? comma + 1 : end;
	}
	return LT_OK;
}

/* ---- all types ---- */

int lt_conf_scan(const struct lt_conf_key *key, const char *text, size_t len, int form,
	union lt_conf_value *out, struct lt_err *err)
{
	memset(out, 0, sizeof(*out));
	switch (key->type) {
	case LT_CONF_BOOL:
		return scan_bool(text, len, form, &out->b, err);
	case LT_CONF_STRING:
		return lt_conf_scan_item(key, text, len, form, &out->s, err);
	case LT_CONF_ENUM:
		return scan_choice(key, text, len, &out->e, err);
	case LT_CONF_LIST:
	case LT_CONF_MAP:
		if (form != LT_FORM_BARE)
			return bad(err, lt_conf_type_name(key->type), text, len);
		return scan_parts(key, text, len, out, err);
	default:
		return scan_number(key, text, len, form, out, err);
	}
}

static void free_strings(char **s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(s[i]);
	free(s);
}

void lt_conf_value_fini(const struct lt_conf_key *key, union lt_conf_value *v)
{
	switch (key->type) {
	case LT_CONF_STRING:
		if (v->s && (key->flags & LT_CONF_SECRET))
			explicit_bzero(v->s, strlen(v->s));
		free(v->s);
		break;
	case LT_CONF_LIST:
		free_strings(v->list.items, v->list.n);
		break;
	case LT_CONF_MAP:
		free_strings(v->map.keys, v->map.n);
		free_strings(v->map.values, v->map.n);
		break;
	default:
		break;
	}
	memset(v, 0, sizeof(*v));
}

static size_t field_size(enum lt_conf_type t)
{
	switch (t) {
	case LT_CONF_BOOL:
		return sizeof(bool);
	case LT_CONF_FLOAT:
		return sizeof(double);
	case LT_CONF_STRING:
		return sizeof(char *);
	case LT_CONF_ENUM:
		return sizeof(int);
	case LT_CONF_LIST:
		return sizeof(struct lt_conf_list);
	case LT_CONF_MAP:
		return sizeof(struct lt_conf_map);
	default:
		return sizeof(int64_t);
	}
}

union lt_conf_value lt_conf_peek(const struct lt_conf_key *key, const void *field)
{
	union lt_conf_value v = {0};

	memcpy(&v, field, field_size(key->type));
	return v;
}

void lt_conf_field_fini(const struct lt_conf_key *key, void *field)
{
	union lt_conf_value v = lt_conf_peek(key, field);

	lt_conf_value_fini(key, &v);
	memset(field, 0, field_size(key->type));
}

void lt_conf_store(const struct lt_conf_key *key, void *field, union lt_conf_value *v)
{
	lt_conf_field_fini(key, field);
	memcpy(field, v, field_size(key->type));
	memset(v, 0, sizeof(*v));
}
