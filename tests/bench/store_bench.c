/* SPDX-License-Identifier: MIT */
/*
 * The store's put() against a bare COPY of the same rows into the same table: what do sequence
 * checks, progress and bookkeeping cost? Batch by batch in turns, on a private PostgreSQL.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../../lib/sink/pg_conn.h"
#include "../../lib/sink/pg_copy.h"
#include "../support/bench.h"
#include "../support/private_postgres.h"
#include "../support/store_load.h"
#include "latido/clock.h"
#include "latido/log.h"

#define SOURCES 1000

struct bench {
	struct store_load load;
	struct lt_pg bare;
	struct lt_buf buf;
	int64_t time_ns;
};

static void copy(struct bench *b, size_t n)
{
	struct lt_err err = {0};

	lt_buf_reset(&b->buf);
	lt_pg_copy_header(&b->buf);
	for (size_t i = 0; i < n; i++)
		lt_pg_copy_row(&b->buf, b->load.list[i], (int32_t)i, (int32_t)i, 1);
	lt_pg_copy_trailer(&b->buf);
	if (lt_pg_copy_begin(&b->bare,
		    "BEGIN; COPY snapshot (time, seq, source_id, epoch_id, shape_id, vals) "
		    "FROM STDIN BINARY",
		    &err) ||
		lt_pg_copy_data(&b->bare, b->buf.data, b->buf.len, &err) ||
		lt_pg_copy_end(&b->bare, &err) || lt_pg_exec(&b->bare, "COMMIT", &err)) {
		fprintf(stderr, "store_bench: bare COPY: %s\n", err.msg);
		exit(1);
	}
}

static int64_t run_bare(struct bench *b, size_t n)
{
	int64_t start = lt_mono_ns();

	copy(b, n);
	return lt_mono_ns() - start;
}

/* About so many seconds of batches; what both sides took, in values a second. */
static void compare(struct bench *b, const struct bench_run *run, size_t n_events)
{
	int64_t put_ns = 0, bare_ns = 0, limit = (int64_t)(run->seconds * LT_NS_PER_S);
	size_t n = 0;

	for (unsigned i = 0; put_ns + bare_ns < limit; i++) {
		int64_t put, bare;

		b->time_ns += LT_NS_PER_MS;
		b->load.next_source = 0;
		store_load_next(&b->load, n_events, &b->time_ns, 0);
		/* Who goes first takes turns as well. */
		bare = i % 2 ? run_bare(b, n_events) : 0;
		put = store_load_put(&b->load, n_events);
		bare = i % 2 ? bare : run_bare(b, n_events);
		if (i < 2) /* ids are looked up, statements prepared */
			continue;
		put_ns += put;
		bare_ns += bare;
		n += n_events * b->load.shape->n_series;
	}
	bench_result(run, "latido-store's sink", BENCH_SUBJECT, "values/s",
		(double)n * 1e9 / (double)put_ns);
	bench_result(
		run, "bare COPY", BENCH_CEILING, "values/s", (double)n * 1e9 / (double)bare_ns);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {60, 400}, events[] = {10, 100, 1000};
	static struct bench b;
	struct bench_run run;
	struct lt_err err;
	char dsn[600];

	bench_init(&run, "store", "1", 5, 2, argc, argv);
	lt_log_set_level(LT_ERROR);
	if (private_postgres_start())
		return 1;
	snprintf(dsn, sizeof(dsn), "%s dbname=latido", private_postgres_dsn());
	store_load_open(&b.load, dsn, SOURCES, SOURCES);
	b.bare.interrupt_fd = -1;
	if (lt_pg_connect(&b.bare, &b.load.conf.postgres, &err)) {
		fprintf(stderr, "store_bench: %s\n", err.msg);
		return 1;
	}
	b.time_ns = lt_wall_ns();
	for (run.round = 1; run.round <= run.rounds; run.round++)
		for (size_t i = 0; i < LT_ARRAY_LEN(sizes); i++) {
			store_load_shape(&b.load, sizes[i]);
			for (size_t j = 0; j < LT_ARRAY_LEN(events); j++) {
				bench_case(&run, "%zu values an event, %zu events a transaction",
					sizes[i], events[j]);
				compare(&b, &run, events[j]);
			}
		}
	lt_pg_close(&b.bare);
	store_load_close(&b.load);
	lt_buf_fini(&b.buf);
	private_postgres_stop();
	return 0;
}
