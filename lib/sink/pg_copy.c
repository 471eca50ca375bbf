/* SPDX-License-Identifier: MIT */
#include "pg_copy.h"

#include <endian.h>
#include <string.h>

#include "latido/clock.h"

/* 2000-01-01 in seconds since 1970. */
#define PG_ORIGIN_S INT64_C(946684800)

static char *put2(char *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, 2);
	return p + 2;
}

static char *put4(char *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, 4);
	return p + 4;
}

static char *put8(char *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, 8);
	return p + 8;
}

int64_t lt_pg_time_us(int64_t wall_ns)
{
	int64_t us = wall_ns / LT_NS_PER_US;

	if (wall_ns % LT_NS_PER_US < 0)
		us--;
	return us - PG_ORIGIN_S * 1000000;
}

void lt_pg_copy_header(struct lt_buf *out)
{
	/* signature, flags, length of the header's extension */
	static const char header[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";

	lt_buf_add(out, header, sizeof(header));
}

void lt_pg_copy_trailer(struct lt_buf *out)
{
	lt_buf_add(out, "\377\377", 2);
}

void lt_pg_copy_row(struct lt_buf *out, const struct lt_event *e, int32_t source_id,
	int32_t epoch_id, int32_t shape_id)
{
	/* An array without elements has no dimension. */
	size_t vals = e->n ? 20 + 12 * (size_t)e->n : 12;
	size_t size = 2 + 2 * (4 + 8) + 3 * (4 + 4) + 4 + vals;
	char *p = lt_buf_room(out, size);

	p = put2(p, 6);
	p = put4(p, 8);
	p = put8(p, (uint64_t)lt_pg_time_us(e->time_ns));
	p = put4(p, 8);
	p = put8(p, e->seq);
	p = put4(p, 4);
	p = put4(p, (uint32_t)source_id);
	p = put4(p, 4);
	p = put4(p, (uint32_t)epoch_id);
	p = put4(p, 4);
	p = put4(p, (uint32_t)shape_id);
	p = put4(p, (uint32_t)vals);
	p = put4(p, e->n ? 1 : 0); /* dimensions */
	p = put4(p, 0);            /* no NULLs */
	p = put4(p, LT_PG_FLOAT8);
	if (e->n) {
		p = put4(p, e->n);
		p = put4(p, 1); /* first index */
	}
	for (uint32_t i = 0; i < e->n; i++) {
		uint64_t bits;

		memcpy(&bits, e->values + 8 * (size_t)i, 8);
		p = put4(p, 8);
		p = put8(p, le64toh(bits));
	}
	out->len += size;
	out->data[out->len] = '\0';
}

void lt_pg_array(struct lt_buf *out, enum lt_pg_oid type, size_t n)
{
	char *p = lt_buf_room(out, 20);

	p = put4(p, n ? 1 : 0);
	p = put4(p, 0);
	p = put4(p, type);
	out->len += 12;
	if (n) {
		p = put4(p, (uint32_t)n);
		put4(p, 1);
		out->len += 8;
	}
	out->data[out->len] = '\0';
}

void lt_pg_array_i4(struct lt_buf *out, int32_t v)
{
	char *p = put4(lt_buf_room(out, 8), 4);

	put4(p, (uint32_t)v);
	out->len += 8;
	out->data[out->len] = '\0';
}

void lt_pg_array_i8(struct lt_buf *out, int64_t v)
{
	char *p = put4(lt_buf_room(out, 12), 8);

	put8(p, (uint64_t)v);
	out->len += 12;
	out->data[out->len] = '\0';
}

void lt_pg_array_bytes(struct lt_buf *out, const void *p, size_t n)
{
	put4(lt_buf_room(out, 4 + n), (uint32_t)n);
	out->len += 4;
	lt_buf_add(out, p, n);
}
