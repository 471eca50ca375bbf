/* SPDX-License-Identifier: MIT */
#include "shape_write.h"

#include "event_int.h"
#include "wire.h"

void shape_writer_fini(struct shape_writer *w)
{
	lt_buf_fini(&w->shape);
	lt_buf_fini(&w->family);
	lt_buf_fini(&w->head);
	lt_buf_fini(&w->values);
}

void shape_writer_reset(struct shape_writer *w)
{
	lt_buf_reset(&w->shape);
	lt_buf_reset(&w->values);
	w->head_len = 0;
	w->n_rows = w->n_series = 0;
}

static void add_len(struct lt_buf *b, unsigned num, const void *s, size_t n)
{
	uint8_t *start = (uint8_t *)lt_buf_room(b, 1 + WIRE_VARINT_MAX + n);
	uint8_t *end = wire_put_len(start, num, s, n);

	b->len += (size_t)(end - start);
}

static void build_head(struct lt_buf *h, struct shape_text name, enum lt_kind kind,
	const struct shape_text *keys, size_t n_keys)
{
	h->len = 0;
	add_len(h, FAMILY_NAME, name.s, name.len);
	if (kind != LT_KIND_UNKNOWN) {
		uint8_t *p = (uint8_t *)lt_buf_room(h, 2);

		p = wire_put_tag(p, FAMILY_KIND, WIRE_VARINT);
		wire_put_varint(p, kind);
		h->len += 2;
	}
	for (size_t i = 0; i < n_keys; i++)
		add_len(h, FAMILY_LABEL_KEY, keys[i].s, keys[i].len);
}

static void close_family(struct shape_writer *w)
{
	if (w->head_len && w->n_rows) {
		if (w->unit_len)
			add_len(&w->family, FAMILY_UNIT, w->unit, w->unit_len);
		add_len(&w->shape, SHAPE_FAMILY, w->family.data, w->family.len);
	}
	w->head_len = 0;
	w->n_rows = 0;
}

/* Begins the family whose head is in w->head. */
static void open_family(struct shape_writer *w, size_t n_keys, struct shape_text unit)
{
	close_family(w);
	w->family.len = 0;
	lt_buf_add(&w->family, w->head.data, w->head.len);
	w->head_len = w->head.len;
	w->keyed = n_keys > 0;
	w->unit = unit.s;
	w->unit_len = unit.len;
}

void shape_writer_family(struct shape_writer *w, struct shape_text name, enum lt_kind kind,
	const struct shape_text *keys, size_t n_keys, struct shape_text unit)
{
	build_head(&w->head, name, kind, keys, n_keys);
	open_family(w, n_keys, unit);
}

void shape_writer_next_in(struct shape_writer *w, struct shape_text name, enum lt_kind kind,
	const struct shape_text *keys, size_t n_keys, struct shape_text unit)
{
	build_head(&w->head, name, kind, keys, n_keys);
	/* Without labels a family has one series; the same again is for shape_parse() to refuse. */
	if (w->keyed && w->head_len == w->head.len &&
		memcmp(w->family.data, w->head.data, w->head_len) == 0)
		return;
	open_family(w, n_keys, unit);
}

void shape_writer_label(struct shape_writer *w, const char *value, size_t n)
{
	add_len(&w->family, FAMILY_LABEL_VALUE, value, n);
}

void shape_writer_value(struct shape_writer *w, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, 8);
	wire_put_le64((uint8_t *)lt_buf_room(&w->values, 8), bits);
	w->values.len += 8;
	w->n_rows++;
	w->n_series++;
}

void shape_writer_finish(struct shape_writer *w)
{
	close_family(w);
}
