/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_EVENT_SHAPE_WRITE_H
#define LATIDO_EVENT_SHAPE_WRITE_H

#include "latido/event.h"

/**
 * struct shape_writer - builds the bytes of a Shape and its values, series by series
 *
 * Keeps its memory from one use to the next. It checks nothing: shape_parse() does. Usage:
 * reset, then for each series family() (or next_in() when it may continue the open one), one
 * label() per key, value(); at last finish().
 */
struct shape_writer {
	struct lt_buf shape;  /* finished families */
	struct lt_buf family; /* the open one */
	struct lt_buf head;   /* scratch: how the next family begins */
	struct lt_buf values; /* little-endian doubles */
	size_t head_len;      /* of the open family, 0 = none open */
	uint32_t n_rows;      /* of the open family */
	uint32_t n_series;
	bool keyed; /* the open family has labels */
	const char *unit;
	size_t unit_len;
};

/** struct shape_text - a name with its length; not NUL-terminated */
struct shape_text {
	const char *s;
	size_t len;
};

void shape_writer_fini(struct shape_writer *w);
void shape_writer_reset(struct shape_writer *w);
/** shape_writer_family() - close the open family and begin another. @unit: borrowed until closed. */
void shape_writer_family(struct shape_writer *w, struct shape_text name, enum lt_kind kind,
	const struct shape_text *keys, size_t n_keys, struct shape_text unit);
/** shape_writer_next_in() - the same, unless the open family begins alike: then go on with it. */
void shape_writer_next_in(struct shape_writer *w, struct shape_text name, enum lt_kind kind,
	const struct shape_text *keys, size_t n_keys, struct shape_text unit);
void shape_writer_label(struct shape_writer *w, const char *value, size_t n);
/** shape_writer_value() - ends a row. */
void shape_writer_value(struct shape_writer *w, double v);
/** shape_writer_finish() - close the last family: shape and values are complete. */
void shape_writer_finish(struct shape_writer *w);

#endif
