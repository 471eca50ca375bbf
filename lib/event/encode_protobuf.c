/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "event_int.h"
#include "wire.h"

static uint8_t *put_i64(uint8_t *p, unsigned num, uint64_t v)
{
	if (!v)
		return p;
	p = wire_put_tag(p, num, WIRE_I64);
	wire_put_le64(p, v);
	return p + 8;
}

static uint8_t *put_varint(uint8_t *p, unsigned num, uint64_t v)
{
	return v ? wire_put_varint(wire_put_tag(p, num, WIRE_VARINT), v) : p;
}

static uint8_t *put_str(uint8_t *p, unsigned num, const char *s, size_t n)
{
	return n ? wire_put_len(p, num, s, n) : p;
}

/* In the order of the field numbers and without default values, like other encoders, so that equal
 * events are equal bytes. */
void lt_encode_protobuf(const struct lt_event *e, bool inline_shape, struct lt_buf *out)
{
	const struct lt_shape *shape = e->shape;
	size_t source_len = strlen(e->source), stream_len = e->stream ? strlen(e->stream) : 0;
	size_t shape_size, values_size = 8 * (size_t)e->n;
	uint8_t *start, *p;

	/* A hash that stands for two shapes stands for none. */
	if (shape->collides)
		inline_shape = true;
	shape_size = inline_shape ? shape->size : 0;
	/* eleven fields: tag and at most ten bytes of varint each */
	start = p = (uint8_t *)lt_buf_room(out,
		11 * (1 + WIRE_VARINT_MAX) + source_len + stream_len + shape_size + values_size);
	p = put_str(p, EVENT_SOURCE, e->source, source_len);
	p = put_i64(p, EVENT_EPOCH, e->epoch);
	p = put_varint(p, EVENT_SEQ, e->seq);
	p = put_i64(p, EVENT_TIME_UNIX_NANO, e->has_time ? (uint64_t)e->time_ns : 0);
	p = put_varint(p, EVENT_OLDEST_SEQ, e->oldest_seq);
	if (inline_shape)
		p = wire_put_len(p, EVENT_SHAPE, shape->bytes, shape->size);
	p = wire_put_len(p, EVENT_VALUES, e->values, values_size);
	p = put_i64(p, EVENT_SHAPE_HASH, shape->hash);
	p = put_str(p, EVENT_STREAM, e->stream, stream_len);
	p = put_varint(p, EVENT_PARTIAL, e->partial);
	p = put_varint(p, EVENT_INTERVAL_MS, e->interval_ms);
	*p = '\0';
	out->len += (size_t)(p - start);
}
