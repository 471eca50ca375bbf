/* SPDX-License-Identifier: MIT */
/*
 * The most that this PostgreSQL takes: the same rows, made beforehand, by COPY BINARY into the same
 * table, so many in a transaction.
 *
 *	copy_ceiling DSN EVENTS VALUES EVENTS_A_TRANSACTION
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../lib/sink/pg_conn.h"
#include "../../lib/sink/pg_copy.h"
#include "latido/clock.h"

static void copy_batch(struct lt_pg *pg, const struct lt_buf *rows)
{
	static const char sql[] =
		"BEGIN; COPY snapshot (time, seq, source_id, epoch_id, shape_id, vals) "
		"FROM STDIN BINARY";
	struct lt_err err = {0};

	if (lt_pg_copy_begin(pg, sql, &err) < 0 ||
		lt_pg_copy_data(pg, rows->data, rows->len, &err) < 0 ||
		lt_pg_copy_end(pg, &err) < 0 || lt_pg_exec(pg, "COMMIT", &err) < 0) {
		fprintf(stderr, "copy_ceiling: %s\n", err.msg);
		exit(1);
	}
}

static void make_rows(struct lt_buf *rows, size_t n_events, size_t n_values, uint64_t seq)
{
	double *values = lt_calloc(n_values, sizeof(*values));

	lt_pg_copy_header(rows);
	for (size_t i = 0; i < n_events; i++) {
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
		lt_pg_copy_row(rows, &e, 1000000 + (int32_t)(i % 100), 1, 1);
	}
	lt_pg_copy_trailer(rows);
	free(values);
}

int main(int argc, char **argv)
{
	struct lt_pg pg = {.interrupt_fd = -1};
	struct lt_postgres_conf conf = {.password = (char *)"", .timeout_ms = 60000};
	size_t events, values, batch, n;
	struct lt_err err = {0};
	struct lt_buf *rows;
	int64_t began_ns;

	if (argc != 5) {
		fprintf(stderr, "usage: copy_ceiling DSN EVENTS VALUES EVENTS_A_TRANSACTION\n");
		return 2;
	}
	conf.dsn = argv[1];
	events = strtoul(argv[2], NULL, 10);
	values = strtoul(argv[3], NULL, 10);
	batch = strtoul(argv[4], NULL, 10);
	n = batch ? (events + batch - 1) / batch : 0;
	rows = lt_calloc(n + 1, sizeof(*rows));
	for (size_t i = 0; i < n; i++)
		make_rows(&rows[i], batch, values, i * batch + 1);
	if (lt_pg_connect(&pg, &conf, &err) < 0) {
		fprintf(stderr, "copy_ceiling: %s\n", err.msg);
		return 1;
	}
	began_ns = lt_mono_ns();
	for (size_t i = 0; i < n; i++)
		copy_batch(&pg, &rows[i]);
	printf("{\"values\": %zu, \"seconds\": %.4f}\n", n * batch * values,
		(double)(lt_mono_ns() - began_ns) / LT_NS_PER_S);
	lt_pg_close(&pg);
	for (size_t i = 0; i < n; i++)
		lt_buf_fini(&rows[i]);
	free(rows);
	return 0;
}
