/* SPDX-License-Identifier: MIT */
/*
 * From the bytes of a Shape message to struct lt_shape. Two walks over the bytes: the first checks
 * and counts, the second fills one block of exactly the size that was counted.
 */
#include <stdlib.h>
#include <xxhash.h>

#include "event_int.h"
#include "wire.h"

#define OP "event.shape"

/* One Family message: what it says once, and where its rows are. */
struct family {
	const char *name, *unit;
	size_t name_len, unit_len;
	uint64_t kind;
	uint32_t n_keys;
	size_t n_values;
	struct {
		const char *s;
		size_t len;
	} key[LT_LABELS_MAX];
	struct wire body;
};

struct parse {
	uint32_t max_series;
	uint64_t seed;
	enum lt_reason reason;
	struct lt_err *err;
	/* counted by the first walk */
	size_t n_series, n_labels, n_metrics, n_families;
	size_t chars;
	/* filled by the second */
	struct lt_series *series;
	struct lt_label *labels;
	struct shape_metric *metrics;
	char *text;
};

static int refuse(struct parse *p, enum lt_reason reason, const struct family *f, const char *what)
{
	char quoted[EVENT_QUOTE_LEN];

	p->reason = reason;
	if (!f)
		return lt_fail(p->err, LT_EDATA, LT_CLS_POISON, OP, "shape: %s", what);
	return lt_fail(p->err, LT_EDATA, LT_CLS_POISON, OP, "shape: family %zu %s: %s",
		p->n_families, event_quote(quoted, f->name, f->name_len), what);
}

static int refuse_text(
	struct parse *p, const struct family *f, const char *what, const void *s, size_t n)
{
	char family[EVENT_QUOTE_LEN], quoted[EVENT_QUOTE_LEN];

	p->reason = LT_REASON_LIMITS;
	return lt_fail(p->err, LT_EDATA, LT_CLS_POISON, OP, "shape: family %zu %s: %s %s",
		p->n_families, event_quote(family, f->name, f->name_len), what,
		event_quote(quoted, s, n));
}

/* Reads everything of a family but its label values, which it checks and counts. */
static int scan_family(struct parse *p, const struct wire_field *at, struct family *f)
{
	struct wire w = {.p = at->p, .end = at->p + at->len};
	struct wire_field x;
	int more;

	*f = (struct family){.name = "", .unit = "", .body = w};
	while ((more = wire_next(&w, &x)) > 0) {
		if (x.num > FAMILY_UNIT)
			continue;
		if (x.type != (x.num == FAMILY_KIND ? WIRE_VARINT : WIRE_LEN))
			return refuse(p, LT_REASON_DECODE, f, "a field has the wrong wire type");
		switch (x.num) {
		case FAMILY_NAME:
			f->name = (const char *)x.p;
			f->name_len = x.len;
			break;
		case FAMILY_KIND:
			f->kind = x.u;
			break;
		case FAMILY_LABEL_KEY:
			if (f->n_keys == LT_LABELS_MAX)
				return refuse(p, LT_REASON_LIMITS, f, "more than 32 labels");
			f->key[f->n_keys].s = (const char *)x.p;
			f->key[f->n_keys++].len = x.len;
			break;
		case FAMILY_LABEL_VALUE:
			if (x.len > LT_LABEL_VALUE_MAX)
				return refuse_text(
					p, f, "label value longer than 1024 bytes:", x.p, x.len);
			if (!lt_utf8_valid((const char *)x.p, x.len))
				return refuse_text(p, f,
					"label value is not valid UTF-8 without NUL:", x.p, x.len);
			f->n_values++;
			break;
		case FAMILY_UNIT:
			f->unit = (const char *)x.p;
			f->unit_len = x.len;
			break;
		}
	}
	if (more < 0)
		return refuse(p, LT_REASON_DECODE, f, w.error);
	return LT_OK;
}

static int check_family(struct parse *p, const struct family *f)
{
	if (!lt_metric_name_valid(f->name, f->name_len))
		return refuse(p, LT_REASON_LIMITS, f,
			"not a metric name ([a-zA-Z_:][a-zA-Z0-9_:]*, at most 128 bytes)");
	if (f->unit_len > EVENT_UNIT_MAX || !lt_utf8_valid(f->unit, f->unit_len))
		return refuse_text(p, f, "bad unit", f->unit, f->unit_len);
	for (uint32_t i = 0; i < f->n_keys; i++) {
		size_t a = i ? f->key[i - 1].len : 0, b = f->key[i].len;

		if (!lt_label_name_valid(f->key[i].s, b))
			return refuse_text(p, f,
				"not a label name ([a-zA-Z_][a-zA-Z0-9_]*, at most 128 bytes):",
				f->key[i].s, b);
		if (i) {
			int cmp = memcmp(f->key[i - 1].s, f->key[i].s, a < b ? a : b);

			if (cmp > 0 || (cmp == 0 && a >= b))
				return refuse_text(p, f, "label names not sorted or not unique at",
					f->key[i].s, b);
		}
	}
	if (f->n_keys == 0 ? f->n_values != 0 : f->n_values % f->n_keys != 0)
		return refuse(p, LT_REASON_DECODE, f,
			"the number of label values is no multiple of the number of labels");
	return LT_OK;
}

static size_t n_rows(const struct family *f)
{
	return f->n_keys ? f->n_values / f->n_keys : 1;
}

/* Bytes that a label value takes in the canonical text. */
static size_t escaped_len(const uint8_t *s, size_t n)
{
	size_t len = n;

	for (size_t i = 0; i < n; i++)
		len += s[i] == '"' || s[i] == '\\' || s[i] == '\n';
	return len;
}

static char *put_escaped(char *out, const uint8_t *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '"' || s[i] == '\\' || s[i] == '\n')
			*out++ = '\\';
		*out++ = s[i] == '\n' ? 'n' : (char)s[i];
	}
	return out;
}

static int count_family(struct parse *p, const struct family *f)
{
	size_t rows = n_rows(f), keys = 0;
	struct wire w = f->body;
	struct wire_field x;

	if (rows > p->max_series - p->n_series)
		return refuse(p, LT_REASON_LIMITS, f, "too many series (limits.max_series)");
	p->n_series += rows;
	p->n_labels += rows * f->n_keys;
	p->n_metrics += rows > 0;
	p->chars += f->name_len + 1 + f->unit_len + 1;
	for (uint32_t i = 0; i < f->n_keys; i++) {
		p->chars += f->key[i].len + 1;
		keys += f->key[i].len + 4; /* ="", */
	}
	/* name, then { and } unless there are no labels; one comma too many pays for the second */
	p->chars += rows * (f->name_len + keys + 1 + (f->n_keys > 0));
	while (wire_next(&w, &x) > 0)
		if (x.num == FAMILY_LABEL_VALUE)
			p->chars += x.len + 1 + escaped_len(x.p, x.len);
	return LT_OK;
}

static char *take(struct parse *p, const void *s, size_t n)
{
	char *at = p->text;

	if (n)
		memcpy(at, s, n);
	at[n] = '\0';
	p->text += n + 1;
	return at;
}

static void fill_family(struct parse *p, const struct family *f)
{
	const char *keys[LT_LABELS_MAX], *name = take(p, f->name, f->name_len), *unit;
	uint8_t kind = f->kind <= LT_KIND_COUNTER ? (uint8_t)f->kind : LT_KIND_UNKNOWN;
	struct wire w = f->body;
	struct wire_field x = {0};
	size_t rows = n_rows(f);

	unit = take(p, f->unit, f->unit_len);
	if (rows)
		*p->metrics++ = (struct shape_metric){(uint32_t)p->n_series, unit};
	for (uint32_t k = 0; k < f->n_keys; k++)
		keys[k] = take(p, f->key[k].s, f->key[k].len);
	for (size_t row = 0; row < rows; row++) {
		struct lt_series *s = p->series++;
		struct lt_label *first = p->labels;
		char *text;

		for (uint32_t k = 0; k < f->n_keys; p->labels++, k++) {
			do
				wire_next(&w, &x);
			while (x.num != FAMILY_LABEL_VALUE);
			*p->labels = (struct lt_label){
				.name = keys[k],
				.value = take(p, x.p, x.len),
				.name_len = (uint16_t)f->key[k].len,
				.value_len = (uint16_t)x.len,
			};
		}
		text = p->text;
		memcpy(text, name, f->name_len);
		text += f->name_len;
		for (uint32_t k = 0; k < f->n_keys; k++) {
			*text++ = k ? ',' : '{';
			memcpy(text, keys[k], first[k].name_len);
			text += first[k].name_len;
			*text++ = '=';
			*text++ = '"';
			text = put_escaped(
				text, (const uint8_t *)first[k].value, first[k].value_len);
			*text++ = '"';
		}
		if (f->n_keys)
			*text++ = '}';
		*text = '\0';
		*s = (struct lt_series){
			.name = name,
			.text = p->text,
			.text_len = (uint32_t)(text - p->text),
			.name_len = (uint16_t)f->name_len,
			.n_labels = (uint8_t)f->n_keys,
			.kind = kind,
			.labels = first,
		};
		p->text = text + 1;
	}
	p->n_series += rows;
}

static uint32_t table_size(uint32_t n)
{
	uint32_t size = 16;

	while (size < n * 2)
		size *= 2;
	return size;
}

static int refuse_series(struct parse *p, const struct lt_series *s, const char *what)
{
	char quoted[EVENT_QUOTE_LEN];

	p->reason = LT_REASON_LIMITS;
	return lt_fail(p->err, LT_EDATA, LT_CLS_POISON, OP, "shape: %s: %s", what,
		event_quote(quoted, s->text, s->text_len));
}

static int check_series_unique(struct parse *p, const struct shape_entry *e)
{
	uint32_t n = e->s.n_series, mask = table_size(n) - 1;
	uint32_t *slot = lt_calloc(mask + 1, sizeof(*slot));
	int code = LT_OK;

	for (uint32_t i = 0; i < n && code == LT_OK; i++) {
		const struct lt_series *s = &e->s.series[i], *o;
		uint32_t h = (uint32_t)XXH3_64bits_withSeed(s->text, s->text_len, p->seed) & mask;

		for (; slot[h] && code == LT_OK; h = (h + 1) & mask) {
			o = &e->s.series[slot[h] - 1];
			if (o->text_len == s->text_len &&
				memcmp(o->text, s->text, s->text_len) == 0)
				code = refuse_series(p, s, "twice the same series");
		}
		slot[h] = i + 1;
	}
	free(slot);
	return code;
}

/* Series of one name may come in several families, with different labels; but a metric has one kind
 * and one unit. Leaves one entry of e->metrics for each name. */
static int unite_metrics(struct parse *p, struct shape_entry *e, struct shape_metric *metrics)
{
	uint32_t n = e->n_metrics, mask = table_size(n) - 1;
	uint32_t *slot = lt_calloc(mask + 1, sizeof(*slot));
	int code = LT_OK;

	e->n_metrics = 0;
	for (uint32_t i = 0; i < n && code == LT_OK; i++) {
		const struct lt_series *s = &e->s.series[metrics[i].first], *o;
		uint32_t h = (uint32_t)XXH3_64bits_withSeed(s->name, s->name_len, p->seed) & mask;

		for (; slot[h]; h = (h + 1) & mask) {
			o = &e->s.series[metrics[slot[h] - 1].first];
			if (o->name_len == s->name_len &&
				memcmp(o->name, s->name, s->name_len) == 0)
				break;
		}
		if (!slot[h]) {
			metrics[e->n_metrics++] = metrics[i];
			slot[h] = e->n_metrics;
		} else if (o->kind != s->kind ||
			   strcmp(metrics[slot[h] - 1].unit, metrics[i].unit) != 0) {
			code = refuse_series(p, s, "one metric with two kinds or units");
		}
	}
	free(slot);
	return code;
}

/* One walk over the families: the first (fill = false) checks and counts. */
static int walk(struct parse *p, const void *bytes, size_t size, bool fill)
{
	struct wire w = {.p = bytes, .end = (const uint8_t *)bytes + size};
	struct wire_field x;
	struct family f;
	int more, code;

	p->n_families = 0;
	while ((more = wire_next(&w, &x)) > 0) {
		if (x.num != SHAPE_FAMILY)
			continue;
		if (x.type != WIRE_LEN)
			return refuse(
				p, LT_REASON_DECODE, NULL, "a family has the wrong wire type");
		p->n_families++;
		code = scan_family(p, &x, &f);
		if (code != LT_OK)
			return code;
		if (fill) {
			fill_family(p, &f);
			continue;
		}
		code = check_family(p, &f);
		if (code == LT_OK)
			code = count_family(p, &f);
		if (code != LT_OK)
			return code;
	}
	return more < 0 ? refuse(p, LT_REASON_DECODE, NULL, w.error) : LT_OK;
}

struct shape_entry *shape_parse(const void *bytes, size_t size, uint64_t hash,
	const struct shape_limits *limits, uint64_t seed, enum lt_reason *reason,
	struct lt_err *err)
{
	struct parse p = {.max_series = limits->max_series, .seed = seed, .err = err};
	struct shape_entry *e = NULL;
	struct shape_metric *metrics;
	size_t mem;
	char *at;

	if (walk(&p, bytes, size, false) != LT_OK)
		goto out;
	if (p.n_series == 0) {
		refuse(&p, LT_REASON_LIMITS, NULL, "no series");
		goto out;
	}
	mem = sizeof(*e) + p.n_series * sizeof(*p.series) + p.n_labels * sizeof(*p.labels) +
	      p.n_metrics * sizeof(*p.metrics) + p.chars + size;
	if (mem > limits->max_bytes) {
		p.reason = LT_REASON_LIMITS;
		lt_fail(err, LT_EDATA, LT_CLS_POISON, OP,
			"shape: takes %zu bytes parsed, more than limits.shape_cache_bytes = %zu",
			mem, limits->max_bytes);
		goto out;
	}
	e = lt_malloc(mem);
	*e = (struct shape_entry){.mem = mem, .n_metrics = (uint32_t)p.n_metrics};
	at = (char *)(e + 1);
	p.series = (struct lt_series *)at;
	at += p.n_series * sizeof(*p.series);
	p.labels = (struct lt_label *)at;
	at += p.n_labels * sizeof(*p.labels);
	e->metrics = metrics = p.metrics = (struct shape_metric *)at;
	at += p.n_metrics * sizeof(*p.metrics);
	p.text = at;
	memcpy(at + p.chars, bytes, size);
	e->s = (struct lt_shape){
		.hash = hash,
		.bytes = (uint8_t *)at + p.chars,
		.size = size,
		.n_series = (uint32_t)p.n_series,
		.series = p.series,
	};
	p.n_series = 0;
	/* the first walk has accepted every byte, so this one cannot fail */
	if (walk(&p, bytes, size, true) != LT_OK || p.text != (const char *)e->s.bytes)
		abort();
	if (check_series_unique(&p, e) != LT_OK || unite_metrics(&p, e, metrics) != LT_OK) {
		free(e);
		e = NULL;
	}
out:
	*reason = p.reason;
	return e;
}
