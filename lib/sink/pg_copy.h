/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_PG_COPY_H
#define LATIDO_PG_COPY_H

#include "latido/event.h"

/*
 * PostgreSQL's binary formats, written without libpq: rows of COPY BINARY into snapshot, and arrays
 * as statement parameters. Everything is big-endian.
 */

/** lt_pg_time_us() - microseconds since 2000-01-01 UTC, as timestamptz has it; rounds down. */
int64_t lt_pg_time_us(int64_t wall_ns);

void lt_pg_copy_header(struct lt_buf *out);
/** lt_pg_copy_row() - columns time, seq, source_id, epoch_id, shape_id, vals. */
void lt_pg_copy_row(struct lt_buf *out, const struct lt_event *e, int32_t source_id,
	int32_t epoch_id, int32_t shape_id);
void lt_pg_copy_trailer(struct lt_buf *out);

/** enum lt_pg_oid - element types of arrays (pg_type.dat; fixed for ever) */
enum lt_pg_oid {
	LT_PG_BYTEA = 17,
	LT_PG_INT8 = 20,
	LT_PG_INT4 = 23,
	LT_PG_TEXT = 25,
	LT_PG_FLOAT8 = 701,
	LT_PG_TIMESTAMPTZ = 1184,
};

/** lt_pg_array() - start a one-dimensional array of exactly @n elements; they follow. */
void lt_pg_array(struct lt_buf *out, enum lt_pg_oid type, size_t n);
void lt_pg_array_i4(struct lt_buf *out, int32_t v);
/** lt_pg_array_i8() - int8, and timestamptz by lt_pg_time_us(). */
void lt_pg_array_i8(struct lt_buf *out, int64_t v);
void lt_pg_array_bytes(struct lt_buf *out, const void *p, size_t n);

#endif
