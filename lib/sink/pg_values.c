/* SPDX-License-Identifier: MIT */
#include "pg_values.h"

#include <endian.h>
#include <math.h>
#include <string.h>

/* header of a one-dimensional array: dimensions, flags, element type, length, lower bound */
#define ARRAY_HEAD 20
#define ELEMENT    12 /* length, value */

static uint32_t get32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return be32toh(v);
}

static uint64_t get64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return be64toh(v);
}

static double to_double(uint64_t bits)
{
	double v;

	memcpy(&v, &bits, 8);
	return v;
}

double pg_double(const struct pg_result *r, size_t row, size_t col)
{
	size_t size;
	const char *p = lt_pg_bytes(r, row, col, &size);

	return lt_pg_null(r, row, col) || size != 8 ? NAN : to_double(get64(p));
}

bool pg_array(const struct pg_result *r, size_t row, size_t col, struct pg_array *out)
{
	size_t size;
	const unsigned char *p = (const unsigned char *)lt_pg_bytes(r, row, col, &size);

	*out = (struct pg_array){0};
	if (lt_pg_null(r, row, col))
		return true;
	if (size >= 12 && get32(p) == 0)
		return true;
	if (size < ARRAY_HEAD || get32(p) != 1 || get32(p + 4) != 0)
		return false;
	out->n = get32(p + 12);
	out->p = p + ARRAY_HEAD;
	return size == ARRAY_HEAD + out->n * ELEMENT;
}

double pg_array_double(const struct pg_array *a, size_t i)
{
	return to_double(get64(a->p + i * ELEMENT + 4));
}

int64_t pg_array_int(const struct pg_array *a, size_t i)
{
	return (int64_t)get64(a->p + i * ELEMENT + 4);
}

struct lt_pg_param pg_int8(int64_t v, unsigned char out[8])
{
	uint64_t be = htobe64((uint64_t)v);

	memcpy(out, &be, 8);
	return (struct lt_pg_param){out, 8};
}

struct lt_pg_param pg_text(const char *s)
{
	return (struct lt_pg_param){s, strlen(s)};
}
