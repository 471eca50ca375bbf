/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TESTS_FUZZ_EVENT_CHECK_H
#define LATIDO_TESTS_FUZZ_EVENT_CHECK_H

/* What holds for every event, however strange the message that it came from. */

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "latido/event.h"

/* Small, so that eviction is part of the game. */
#define FUZZ_TABLE_BYTES (1 << 20)
#define FUZZ_MAX_SERIES  2000

static inline void require(bool ok)
{
	if (!ok)
		abort();
}

static inline void check_shape(const struct lt_shape *s)
{
	require(s->n_series > 0 && s->n_series <= FUZZ_MAX_SERIES);
	require(s->hash == XXH3_64bits(s->bytes, s->size));
	for (uint32_t i = 0; i < s->n_series; i++) {
		const struct lt_series *x = &s->series[i];

		require(lt_metric_name_valid(x->name, x->name_len));
		require(strlen(x->name) == x->name_len && strlen(x->text) == x->text_len);
		require(memcmp(x->text, x->name, x->name_len) == 0);
		require(lt_utf8_valid(x->text, x->text_len));
		require(x->kind <= LT_KIND_COUNTER && x->n_labels <= LT_LABELS_MAX);
		for (unsigned k = 0; k < x->n_labels; k++) {
			const struct lt_label *l = &x->labels[k];

			require(lt_label_name_valid(l->name, l->name_len));
			require(strlen(l->name) == l->name_len);
			require(strlen(l->value) == l->value_len);
			require(l->value_len <= LT_LABEL_VALUE_MAX);
			require(k == 0 || strcmp(l[-1].name, l->name) < 0);
		}
	}
}

static inline void check_event(const struct lt_event *e)
{
	require(lt_source_valid(e->source, strlen(e->source)));
	require(strlen(e->stream) <= LT_STREAM_MAX);
	require(!e->epoch == !e->seq && e->epoch <= LT_EXACT_INT && e->seq <= LT_EXACT_INT);
	require(e->oldest_seq <= e->seq && (!e->has_time || e->time_ns > 0));
	require(e->n == e->shape->n_series);
	check_shape(e->shape);
}

static inline bool same_double(double a, double b)
{
	return (a == b && signbit(a) == signbit(b)) || (isnan(a) && isnan(b));
}

static inline void check_same(const struct lt_event *a, const struct lt_event *b)
{
	require(strcmp(a->source, b->source) == 0 && strcmp(a->stream, b->stream) == 0);
	require(a->epoch == b->epoch && a->seq == b->seq && a->oldest_seq == b->oldest_seq);
	require(a->has_time == b->has_time && a->time_ns == b->time_ns);
	require(a->interval_ms == b->interval_ms && a->partial == b->partial);
	require(a->n == b->n);
	for (uint32_t i = 0; i < a->n; i++) {
		require(strcmp(a->shape->series[i].text, b->shape->series[i].text) == 0);
		require(a->shape->series[i].kind == b->shape->series[i].kind);
		require(same_double(lt_event_value(a, i), lt_event_value(b, i)));
	}
}

/* Decodes what was encoded; that must succeed and give the same event. */
static inline void check_decodes_to(struct lt_shapes *t, const struct lt_origin *o,
	const struct lt_buf *msg, const struct lt_event *want)
{
	struct lt_decode_limits limits = {.max_bytes = 64 << 20, .max_series = FUZZ_MAX_SERIES};
	struct lt_arena arena = {0};
	struct lt_event *got;
	enum lt_reason reason;
	uint64_t missing;

	require(lt_decode(t, &limits, o, msg->data, msg->len, &arena, &got, &reason, &missing,
			NULL) == LT_OK);
	require(got->next == NULL);
	check_event(got);
	check_same(want, got);
	lt_events_release(got);
	lt_arena_fini(&arena);
}

/* @o: where the event came from. Its encodings say the same, and are stable. */
static inline void check_encodings(
	struct lt_shapes *t, const struct lt_origin *o, const struct lt_event *e)
{
	struct lt_buf first = {0}, second = {0};
	/* text ends a second before the last nanosecond that int64 holds */
	bool late = e->has_time && e->time_ns > INT64_MAX - 2 * INT64_C(1000000000);

	lt_encode_protobuf(e, true, &first);
	check_decodes_to(t, o, &first, e);
	lt_buf_reset(&first);
	lt_encode_protobuf(e, false, &first);
	check_decodes_to(t, o, &first, e);
	if (!late) {
		lt_buf_reset(&first);
		lt_encode_json(e, &first);
		require(lt_utf8_valid(first.data, first.len));
		check_decodes_to(t, o, &first, e);
		lt_encode_json(e, &second);
		require(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	}
	lt_buf_fini(&first);
	lt_buf_fini(&second);
}

/* After everything was released: no reference is left that would keep shapes in the table. */
static inline void check_table(const struct lt_shapes *t)
{
	struct lt_shapes_info info;

	lt_shapes_info(t, &info);
	require(info.bytes <= FUZZ_TABLE_BYTES);
}

/* One message from outside. */
static inline void fuzz_message(
	struct lt_shapes *t, const struct lt_origin *o, const uint8_t *data, size_t size)
{
	struct lt_decode_limits limits = {.max_bytes = 1 << 20, .max_series = FUZZ_MAX_SERIES};
	struct lt_arena arena = {0};
	struct lt_event *first, *e;
	enum lt_reason reason;
	uint64_t missing;
	struct lt_err err = {0};
	int code = lt_decode(t, &limits, o, data, size, &arena, &first, &reason, &missing, &err);

	require(arena.total <= 256 * size + (64 << 10));
	if (code == LT_OK) {
		require(first != NULL && reason == LT_REASON_NONE);
		for (e = first; e; e = e->next) {
			check_event(e);
			/* a long list says the same many times */
			if (e == first || !e->next)
				check_encodings(t, o, e);
		}
	} else {
		require(first == NULL && (code == LT_EDATA || code == LT_ESHAPE));
		require(reason != LT_REASON_NONE && err.code == code && err.msg[0]);
		require(lt_utf8_valid(err.msg, strlen(err.msg)));
	}
	lt_events_release(first);
	lt_arena_fini(&arena);
	check_table(t);
}

#endif
