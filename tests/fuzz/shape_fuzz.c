/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "event_check.h"

/*
 * Any bytes as a Shape: refused with a reason, or a shape that the snapshot builder can build again
 * series by series, and that is found again by its bytes.
 */

/* The same series through the builder; a family each, as the builder makes no assumptions. */
static void check_rebuilt(struct lt_snapshot *builder, const struct lt_shape *s)
{
	const char *keys[LT_LABELS_MAX], *values[LT_LABELS_MAX];
	struct lt_event e = {0};

	lt_snapshot_begin(builder);
	for (uint32_t i = 0; i < s->n_series; i++) {
		const struct lt_series *x = &s->series[i];

		for (unsigned k = 0; k < x->n_labels; k++) {
			keys[k] = x->labels[k].name;
			values[k] = x->labels[k].value;
		}
		lt_snapshot_family(builder, x->name, (enum lt_kind)x->kind, keys, x->n_labels);
		lt_snapshot_row(builder, values, i);
	}
	require(lt_snapshot_event(builder, &e, NULL) == LT_OK);
	require(e.n == s->n_series);
	check_shape(e.shape);
	for (uint32_t i = 0; i < e.n; i++) {
		require(strcmp(e.shape->series[i].text, s->series[i].text) == 0);
		require(e.shape->series[i].kind == s->series[i].kind);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lt_shapes *t;
	static struct lt_snapshot *builder;
	static uint8_t zeros[8 * FUZZ_MAX_SERIES];
	const struct lt_origin o = {.source = "a", .arrived_ns = 1};
	struct lt_err err = {0};
	struct lt_shape *s, *again;

	if (!t) {
		t = lt_shapes_new(FUZZ_TABLE_BYTES, FUZZ_MAX_SERIES);
		builder = lt_snapshot_new(FUZZ_MAX_SERIES);
	}
	s = lt_shapes_intern(t, data, size, &err);
	if (s) {
		struct lt_event e = {.source = "a",
			.stream = "",
			.shape = s,
			.values = zeros,
			.n = s->n_series,
			.time_ns = 1,
			.arrived_ns = 1};

		require(s->size == size && memcmp(s->bytes, data, size) == 0);
		check_shape(s);
		again = lt_shapes_intern(t, data, size, &err);
		require(again == s);
		lt_shape_put(again);
		lt_shapes_announce(t, "a", s);
		again = lt_shapes_announced(t, "a", s->hash);
		require(again == s || (again == NULL && s->collides));
		lt_shape_put(again);
		check_rebuilt(builder, s);
		if (!s->collides)
			check_encodings(t, &o, &e);
		lt_shape_put(s);
	} else {
		require(err.code == LT_EDATA && err.msg[0]);
		require(lt_utf8_valid(err.msg, strlen(err.msg)));
	}
	check_table(t);
	return 0;
}
