/* SPDX-License-Identifier: MIT */
/*
 * The most that this PostgreSQL takes: rows made beforehand, by COPY BINARY, so many events in a
 * transaction.
 *
 *	copy_ceiling DSN EVENTS VALUES EVENTS_A_TRANSACTION [SOURCES [TABLE]]
 *
 * The rows are latido-store's, for the table snapshot, or, with TABLE, one for each value: (time, source,
 * series, value). SOURCES: so many take turns (100).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/sink/pg_conn.h"
#include "../../lib/sink/pg_copy.h"
#include "latido/clock.h"

static void copy_batch(struct lt_pg *pg, const char *sql, const struct lt_buf *rows)
{
	struct lt_err err = {0};

	if (lt_pg_copy_begin(pg, sql, &err) < 0 ||
		lt_pg_copy_data(pg, rows->data, rows->len, &err) < 0 ||
		lt_pg_copy_end(pg, &err) < 0 || lt_pg_exec(pg, "COMMIT", &err) < 0) {
		fprintf(stderr, "copy_ceiling: %s\n", err.msg);
		exit(1);
	}
}

static void add_samples(
	struct lt_buf *rows, const struct lt_event *e, const double *values, int32_t source)
{
	for (uint32_t i = 0; i < e->n; i++) {
		uint64_t bits;

		memcpy(&bits, &values[i], sizeof(bits));
		lt_buf_add(rows, (const char[]){0, 4}, 2);
		lt_pg_array_i8(rows, lt_pg_time_us(e->time_ns));
		lt_pg_array_i4(rows, source);
		lt_pg_array_i4(rows, (int32_t)i);
		lt_pg_array_i8(rows, (int64_t)bits);
	}
}

static void make_rows(struct lt_buf *rows, size_t n_events, size_t n_values, uint64_t seq,
	size_t n_sources, bool samples)
{
	double *values = lt_calloc(n_values, sizeof(*values));

	lt_pg_copy_header(rows);
	for (size_t i = 0; i < n_events; i++) {
		const int32_t source = 1000000 + (int32_t)((seq + i) % n_sources);
		const struct lt_event e = {.source = "ceiling",
			.stream = "",
			.epoch = 1,
			.seq = seq + i,
			.time_ns = lt_wall_ns(),
			.has_time = true,
			.values = (const uint8_t *)values,
			.n = (uint32_t)n_values};

		for (size_t k = 0; k < n_values; k++)
			values[k] = (double)((seq + i) * 31 + k * k) / 16;
		if (samples)
			add_samples(rows, &e, values, source);
		else
			lt_pg_copy_row(rows, &e, source, 1, 1);
	}
	lt_pg_copy_trailer(rows);
	free(values);
}

int main(int argc, char **argv)
{
	struct lt_pg pg = {.interrupt_fd = -1};
	struct lt_postgres_conf conf = {.password = (char *)"", .timeout_ms = 60000};
	size_t events, values, batch, n, sources;
	char sql[256];
	struct lt_err err = {0};
	struct lt_buf *rows;
	int64_t began_ns;

	if (argc < 5 || argc > 7) {
		fprintf(stderr, "usage: copy_ceiling DSN EVENTS VALUES EVENTS_A_TRANSACTION "
				"[SOURCES [TABLE]]\n");
		return 2;
	}
	conf.dsn = argv[1];
	events = strtoul(argv[2], NULL, 10);
	values = strtoul(argv[3], NULL, 10);
	batch = strtoul(argv[4], NULL, 10);
	sources = argc > 5 ? strtoul(argv[5], NULL, 10) : 100;
	snprintf(sql, sizeof(sql), "BEGIN; COPY %s FROM STDIN BINARY",
		argc > 6 ? argv[6] : "snapshot (time, seq, source_id, epoch_id, shape_id, vals)");
	if (!sources)
		return 2;
	n = batch ? (events + batch - 1) / batch : 0;
	rows = lt_calloc(n + 1, sizeof(*rows));
	for (size_t i = 0; i < n; i++)
		make_rows(&rows[i], batch, values, i * batch + 1, sources, argc > 6);
	if (lt_pg_connect(&pg, &conf, &err) < 0) {
		fprintf(stderr, "copy_ceiling: %s\n", err.msg);
		return 1;
	}
	began_ns = lt_mono_ns();
	for (size_t i = 0; i < n; i++)
		copy_batch(&pg, sql, &rows[i]);
	printf("{\"values\": %zu, \"seconds\": %.4f}\n", n * batch * values,
		(double)(lt_mono_ns() - began_ns) / LT_NS_PER_S);
	lt_pg_close(&pg);
	for (size_t i = 0; i < n; i++)
		lt_buf_fini(&rows[i]);
	free(rows);
	return 0;
}
