/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_EVENT_WIRE_H
#define LATIDO_EVENT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * The protobuf wire format, as far as proto3 uses it
 * (protobuf.dev/programming-guides/encoding): reading without copying, writing into room that the
 * caller has made. Groups (wire types 3 and 4) do not exist in proto3 and are refused.
 */

enum wire_type { WIRE_VARINT = 0, WIRE_I64 = 1, WIRE_LEN = 2, WIRE_I32 = 5 };

#define WIRE_VARINT_MAX 10

/** struct wire - reader over bytes that it borrows */
struct wire {
	const uint8_t *p, *end;
	const char *error; /* static text, set when wire_next() returns -1 */
};

/** struct wire_field - one field as read; p points into the input */
struct wire_field {
	uint32_t num;
	uint32_t type; /* enum wire_type */
	uint64_t u;    /* VARINT, I64, I32 */
	const uint8_t *p;
	size_t len; /* LEN */
};

static inline uint64_t wire_get_le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	return v;
}

static inline void wire_put_le64(uint8_t *p, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	memcpy(p, &v, 8);
}

/** wire_varint() - at most 10 bytes, the tenth at most 1; longer forms than needed are legal. */
static inline bool wire_varint(struct wire *w, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t b;

		if (w->p == w->end) {
			w->error = "ends inside a varint";
			return false;
		}
		b = *w->p++;
		if (shift == 63 && b > 1) {
			w->error = "has a varint of more than 64 bits";
			return false;
		}
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			*out = v;
			return true;
		}
	}
	w->error = "has a varint of more than 64 bits";
	return false;
}

/** wire_next() - read one field. Return: 1, 0 at the end, -1 when malformed (w->error says how). */
static inline int wire_next(struct wire *w, struct wire_field *f)
{
	uint64_t tag, len;

	if (w->p == w->end)
		return 0;
	if (!wire_varint(w, &tag))
		return -1;
	if (tag > UINT32_MAX || tag >> 3 == 0) {
		w->error = "has a field number out of range";
		return -1;
	}
	f->num = (uint32_t)(tag >> 3);
	f->type = tag & 7;
	switch (f->type) {
	case WIRE_VARINT:
		return wire_varint(w, &f->u) ? 1 : -1;
	case WIRE_I64:
		if (w->end - w->p < 8)
			goto truncated;
		f->p = w->p;
		f->u = wire_get_le64(w->p);
		w->p += 8;
		return 1;
	case WIRE_LEN:
		if (!wire_varint(w, &len))
			return -1;
		if (len > (uint64_t)(w->end - w->p))
			goto truncated;
		f->p = w->p;
		f->len = (size_t)len;
		w->p += len;
		return 1;
	case WIRE_I32:
		if (w->end - w->p < 4)
			goto truncated;
		f->u = (uint64_t)w->p[0] | (uint64_t)w->p[1] << 8 | (uint64_t)w->p[2] << 16 |
		       (uint64_t)w->p[3] << 24;
		w->p += 4;
		return 1;
	default:
		w->error = "has a wire type that proto3 does not use";
		return -1;
	}
truncated:
	w->error = "ends inside a field";
	return -1;
}

static inline size_t wire_varint_size(uint64_t v)
{
	return (size_t)(70 - __builtin_clzll(v | 1)) / 7;
}

static inline uint8_t *wire_put_varint(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

/** wire_put_tag() - field numbers up to 15 only: one byte. */
static inline uint8_t *wire_put_tag(uint8_t *p, unsigned num, enum wire_type type)
{
	*p++ = (uint8_t)(num << 3 | type);
	return p;
}

static inline uint8_t *wire_put_len(uint8_t *p, unsigned num, const void *bytes, size_t n)
{
	p = wire_put_tag(p, num, WIRE_LEN);
	p = wire_put_varint(p, n);
	if (n)
		memcpy(p, bytes, n);
	return p + n;
}

#endif
