/* SPDX-License-Identifier: MIT */
/* What producers build their events with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "event_int.h"
#include "shape_write.h"

struct lt_snapshot {
	struct shape_writer w;
	struct lt_shapes *table;
	struct lt_shape *shape; /* of the last event; our reference */
	struct lt_buf clean;    /* scratch for label values that need repair */
	size_t n_keys;
	bool plain_twice; /* a family without labels got a second row */
	uint32_t max_series;
};

/* A parsed shape that takes more than this has no sensible use in one process. */
#define SHAPE_BYTES_MAX (64 << 20)

struct lt_snapshot *lt_snapshot_new(uint32_t max_series)
{
	struct lt_snapshot *s = lt_calloc(1, sizeof(*s));

	/* No cache: only the shape in use is kept. */
	s->table = shapes_new(0, max_series, SHAPE_BYTES_MAX);
	s->max_series = max_series;
	return s;
}

void lt_snapshot_free(struct lt_snapshot *s)
{
	if (!s)
		return;
	lt_shape_put(s->shape);
	lt_shapes_free(s->table);
	shape_writer_fini(&s->w);
	lt_buf_fini(&s->clean);
	free(s);
}

void lt_snapshot_begin(struct lt_snapshot *s)
{
	shape_writer_reset(&s->w);
	s->n_keys = 0;
	s->plain_twice = false;
}

void lt_snapshot_family(struct lt_snapshot *s, const char *name, enum lt_kind kind,
	const char *const *keys, size_t n_keys)
{
	struct shape_text key[LT_LABELS_MAX + 1];

	/* One more than is allowed reaches shape_parse(), which says so. */
	if (n_keys > LT_ARRAY_LEN(key))
		n_keys = LT_ARRAY_LEN(key);
	for (size_t i = 0; i < n_keys; i++)
		key[i] = (struct shape_text){keys[i], strlen(keys[i])};
	shape_writer_family(&s->w, (struct shape_text){name, strlen(name)}, kind, key, n_keys,
		(struct shape_text){"", 0});
	s->n_keys = n_keys;
}

/*
 * Makes a value fit: invalid bytes become U+FFFD, what is too long is cut. Then two different
 * values could look the same, and the whole snapshot would be refused because somebody has made
 * two mounts with strange names; so a hash of the original goes behind it. It is seeded, for the
 * same somebody could forge two of one hash; hence such a value is not the same after a restart.
 */
static void add_repaired(struct lt_snapshot *s, const char *value, size_t n)
{
	static const char replacement[] = "\xef\xbf\xbd";
	char suffix[20];
	size_t i = 0;

	snprintf(suffix, sizeof(suffix), "~%016llx",
		(unsigned long long)XXH3_64bits_withSeed(value, n, shapes_seed(s->table)));
	lt_buf_reset(&s->clean);
	while (i < n) {
		size_t len = 1;

		while (len <= 4 && i + len <= n && !lt_utf8_valid(value + i, len))
			len++;
		if (len > 4 || i + len > n)
			len = 0;
		if (s->clean.len + (len ? len : 3) > LT_LABEL_VALUE_MAX - strlen(suffix))
			break;
		if (len)
			lt_buf_add(&s->clean, value + i, len);
		else
			lt_buf_add(&s->clean, replacement, 3);
		i += len ? len : 1;
	}
	lt_buf_str(&s->clean, suffix);
	shape_writer_label(&s->w, s->clean.data, s->clean.len);
}

void lt_snapshot_row(struct lt_snapshot *s, const char *const *label_values, double value)
{
	if (s->n_keys == 0 && s->w.n_rows > 0)
		s->plain_twice = true;
	for (size_t i = 0; i < s->n_keys; i++) {
		size_t n = strlen(label_values[i]);

		if (n > LT_LABEL_VALUE_MAX || !lt_utf8_valid(label_values[i], n))
			add_repaired(s, label_values[i], n);
		else
			shape_writer_label(&s->w, label_values[i], n);
	}
	shape_writer_value(&s->w, value);
}

void lt_snapshot_value(struct lt_snapshot *s, const char *name, enum lt_kind kind, double value)
{
	lt_snapshot_family(s, name, kind, NULL, 0);
	lt_snapshot_row(s, NULL, value);
}

int lt_snapshot_event(struct lt_snapshot *s, struct lt_event *e, struct lt_err *err)
{
	struct shape_writer *w = &s->w;
	enum lt_reason reason;

	shape_writer_finish(w);
	if (s->plain_twice)
		return lt_fail(err, LT_EDATA, LT_CLS_POISON, "event.snapshot",
			"a family without labels got two rows");
	if (!s->shape || s->shape->size != w->shape.len ||
		memcmp(s->shape->bytes, w->shape.data, w->shape.len) != 0) {
		struct lt_shape *shape =
			shapes_intern(s->table, w->shape.data, w->shape.len, 0, &reason, err);

		if (!shape)
			return LT_EDATA;
		lt_shape_put(s->shape);
		s->shape = shape;
	}
	e->shape = s->shape;
	e->values = (const uint8_t *)w->values.data;
	e->n = w->n_series;
	return LT_OK;
}
