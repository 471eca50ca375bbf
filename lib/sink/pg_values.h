/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_PG_VALUES_H
#define LATIDO_PG_VALUES_H

#include "latido/mem.h"
#include "pg_conn.h"

/* PostgreSQL's binary values that pg_conn.h does not read. */

/** pg_double() - a float8; NaN for NULL. */
double pg_double(const struct pg_result *r, size_t row, size_t col);

/** struct pg_array - one-dimensional float8[] or int8[] without NULLs */
struct pg_array {
	const unsigned char *p;
	size_t n;
};
/** pg_array() - Return: false: it is something else. Borrows from the result. */
bool pg_array(const struct pg_result *r, size_t row, size_t col, struct pg_array *out);
double pg_array_double(const struct pg_array *a, size_t i);
int64_t pg_array_int(const struct pg_array *a, size_t i);

/** pg_int8() - a parameter; @out: 8 bytes that live as long as the parameter. */
struct lt_pg_param pg_int8(int64_t v, unsigned char out[8]);
struct lt_pg_param pg_text(const char *s);

#endif
