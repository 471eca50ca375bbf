/* SPDX-License-Identifier: MIT */
/*
 * The Event message. Nothing is copied: source and stream (which need their NUL) apart, all that
 * an event refers to is the payload and the shape table.
 */
#include "event_int.h"
#include "wire.h"

#define OP "event.protobuf"

/* Fields as they stand in the message, the last one of each. */
struct fields {
	struct decode_head h;
	const uint8_t *shape;
	size_t shape_size;
	uint64_t shape_hash, time;
	/* values: the first run, and how many there are in all */
	const uint8_t *values;
	size_t values_size, n_runs;
};

static const char *field_name(uint32_t num)
{
	static const char *const names[] = {
		[EVENT_SOURCE] = "source",
		[EVENT_EPOCH] = "epoch",
		[EVENT_SEQ] = "seq",
		[EVENT_TIME_UNIX_NANO] = "time_unix_nano",
		[EVENT_OLDEST_SEQ] = "oldest_seq",
		[EVENT_SHAPE] = "shape",
		[EVENT_VALUES] = "values",
		[EVENT_SHAPE_HASH] = "shape_hash",
		[EVENT_STREAM] = "stream",
		[EVENT_PARTIAL] = "partial",
		[EVENT_INTERVAL_MS] = "interval_ms",
	};

	return names[num];
}

static bool type_fits(const struct wire_field *x)
{
	static const uint8_t types[] = {
		[EVENT_SOURCE] = WIRE_LEN,
		[EVENT_EPOCH] = WIRE_I64,
		[EVENT_SEQ] = WIRE_VARINT,
		[EVENT_TIME_UNIX_NANO] = WIRE_I64,
		[EVENT_OLDEST_SEQ] = WIRE_VARINT,
		[EVENT_SHAPE] = WIRE_LEN,
		[EVENT_VALUES] = WIRE_LEN,
		[EVENT_SHAPE_HASH] = WIRE_I64,
		[EVENT_STREAM] = WIRE_LEN,
		[EVENT_PARTIAL] = WIRE_VARINT,
		[EVENT_INTERVAL_MS] = WIRE_VARINT,
	};

	/* Parsers must take packed fields unpacked as well. */
	return x->type == types[x->num] || (x->num == EVENT_VALUES && x->type == WIRE_I64);
}

static int read_fields(struct decode *d, const uint8_t *p, size_t size, struct fields *f)
{
	struct wire w = {.p = p, .end = p + size};
	struct wire_field x;
	int more;

	while ((more = wire_next(&w, &x)) > 0) {
		if (x.num > EVENT_INTERVAL_MS)
			continue;
		if (!type_fits(&x))
			return decode_refuse(d, LT_REASON_DECODE, OP,
				"field %u (%s) has wire type %u", x.num, field_name(x.num), x.type);
		switch (x.num) {
		case EVENT_SOURCE:
			f->h.source = (const char *)x.p;
			f->h.source_len = x.len;
			break;
		case EVENT_EPOCH:
			f->h.epoch = x.u;
			break;
		case EVENT_SEQ:
			f->h.seq = x.u;
			break;
		case EVENT_TIME_UNIX_NANO:
			f->time = x.u;
			break;
		case EVENT_OLDEST_SEQ:
			f->h.oldest_seq = x.u;
			break;
		case EVENT_SHAPE:
			f->shape = x.p;
			f->shape_size = x.len;
			break;
		case EVENT_VALUES:
			if (x.type == WIRE_I64)
				x.len = 8;
			if (x.len % 8)
				return decode_refuse(d, LT_REASON_DECODE, OP,
					"values: %zu bytes are no whole number of doubles", x.len);
			if (f->n_runs++ == 0)
				f->values = x.p;
			f->values_size += x.len;
			break;
		case EVENT_SHAPE_HASH:
			f->shape_hash = x.u;
			break;
		case EVENT_STREAM:
			f->h.stream = (const char *)x.p;
			f->h.stream_len = x.len;
			break;
		case EVENT_PARTIAL:
			f->h.partial = x.u != 0;
			break;
		case EVENT_INTERVAL_MS:
			f->h.interval_ms = (uint32_t)x.u;
			break;
		}
	}
	if (more < 0)
		return decode_refuse(d, LT_REASON_DECODE, OP, "the message %s near byte %zu of %zu",
			w.error, (size_t)(w.p - p), size);
	return LT_OK;
}

/* Values in several runs, or unpacked, are legal and rare: bring them together. */
static const uint8_t *gather(struct decode *d, const uint8_t *p, size_t size, size_t total)
{
	uint8_t *all = lt_arena_alloc(d->arena, total), *at = all;
	struct wire w = {.p = p, .end = p + size};
	struct wire_field x;

	while (wire_next(&w, &x) > 0) {
		size_t n = x.type == WIRE_I64 ? 8 : x.len;

		if (x.num != EVENT_VALUES || n == 0)
			continue;
		memcpy(at, x.p, n);
		at += n;
	}
	return all;
}

int decode_protobuf(struct decode *d, const uint8_t *p, size_t size)
{
	struct fields f = {.h = {.source = "", .stream = ""}};
	struct lt_shape *shape;
	size_t n;
	int code = read_fields(d, p, size, &f);

	if (code == LT_OK)
		code = decode_check(d, &f.h);
	if (code != LT_OK)
		return code;
	if (f.time > INT64_MAX)
		return decode_refuse(d, LT_REASON_TIME_RANGE, OP,
			"time_unix_nano %llu is beyond the year 2262", (unsigned long long)f.time);
	f.h.time_ns = (int64_t)f.time;
	if (d->identity) {
		decode_add(d, &f.h, NULL, NULL);
		return LT_OK;
	}
	n = f.values_size / 8;
	if (n > d->limits.max_series)
		return decode_refuse(d, LT_REASON_LIMITS, OP,
			"%zu values, more than limits.max_series = %u", n, d->limits.max_series);
	if (f.shape_size) {
		shape = shapes_intern(
			d->t, f.shape, f.shape_size, f.shape_hash, &d->reason, d->err);
		if (!shape)
			return LT_EDATA;
	} else {
		if (!f.shape_hash)
			return decode_refuse(
				d, LT_REASON_DECODE, OP, "neither shape nor shape_hash");
		shape = shapes_announced(d->t, f.h.source, f.h.source_len, f.shape_hash);
		if (!shape) {
			d->missing_hash = f.shape_hash;
			d->reason = LT_REASON_UNKNOWN_SHAPE;
			return lt_fail(d->err, LT_ESHAPE, LT_CLS_RETRY, OP,
				"shape %016llx was not announced by %.*s",
				(unsigned long long)f.shape_hash, (int)f.h.source_len, f.h.source);
		}
	}
	if (shape->n_series != n) {
		code = decode_refuse(d, LT_REASON_SHAPE_MISMATCH, OP,
			"%zu values for a shape of %u series", n, shape->n_series);
		lt_shape_put(shape);
		return code;
	}
	if (f.shape_size)
		shapes_announce(d->t, f.h.source, f.h.source_len, shape);
	decode_add(d, &f.h, shape, f.n_runs == 1 ? f.values : gather(d, p, size, 8 * n));
	return LT_OK;
}
