/* SPDX-License-Identifier: MIT */
/*
 * The store's put() against a bare COPY of the same rows into the same table: what do sequence
 * checks, progress and bookkeeping cost? Both in one run, taking turns, on a private PostgreSQL.
 *
 * */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/sink/pg_copy.h"
#include "../../lib/sink/sink_pg.h"
#include "../support/bench.h"
#include "../support/private_postgres.h"
#include "latido/clock.h"
#include "latido/log.h"

#define SOURCES 1000
#define EPOCH   INT64_C(1763700000000000)

static void die(const char *what, const struct lt_err *err)
{
	fprintf(stderr, "store_bench: %s: %s\n", what, err->msg);
	private_postgres_stop();
	exit(1);
}

struct bench {
	struct lt_config conf;
	char dsn[600];
	struct lt_sink *sink;
	struct lt_pg bare;
	struct lt_shape *shape;
	struct lt_event events[SOURCES];
	struct lt_event *list[SOURCES];
	char names[SOURCES][32];
	double *values;
	struct lt_buf buf;
	int64_t seq, time_ns;
};

static struct lt_shape *make_shape(struct lt_shapes *t, size_t n)
{
	struct lt_snapshot *b = lt_snapshot_new(1000);
	struct lt_event e = {0};
	struct lt_err err;
	struct lt_shape *s;
	char label[24];

	lt_snapshot_begin(b);
	lt_snapshot_family(b, "bench_value", LT_KIND_GAUGE, (const char *const[]){"i"}, 1);
	for (size_t i = 0; i < n; i++) {
		snprintf(label, sizeof(label), "%zu", i);
		lt_snapshot_row(b, (const char *const[]){label}, 0);
	}
	if (lt_snapshot_event(b, &e, &err))
		die("shape", &err);
	s = lt_shapes_intern(t, e.shape->bytes, e.shape->size, &err);
	if (!s)
		die("shape", &err);
	lt_snapshot_free(b);
	return s;
}

/* One event of each of the first @n sources; the next in all their sequences. */
static void next_batch(struct bench *b, size_t n)
{
	b->seq++;
	b->time_ns += LT_NS_PER_MS;
	for (size_t i = 0; i < n; i++) {
		b->events[i] = (struct lt_event){.source = b->names[i],
			.stream = "",
			.epoch = (uint64_t)EPOCH,
			.seq = (uint64_t)b->seq,
			.time_ns = b->time_ns,
			.has_time = true,
			.shape = b->shape,
			.values = (const uint8_t *)b->values,
			.n = b->shape->n_series,
			.arrived_ns = b->time_ns};
		b->list[i] = &b->events[i];
	}
}

static int64_t run_put(struct bench *b, size_t n)
{
	struct lt_batch batch = {b->list, n};
	int64_t start = lt_mono_ns();
	struct lt_err err;
	size_t bad;

	if (b->sink->ops->put(b->sink, &batch, &bad, &err))
		die("put", &err);
	return lt_mono_ns() - start;
}

static int64_t run_bare(struct bench *b, size_t n)
{
	int64_t start = lt_mono_ns();
	struct lt_err err;
	int rc;

	lt_buf_reset(&b->buf);
	lt_pg_copy_header(&b->buf);
	for (size_t i = 0; i < n; i++)
		lt_pg_copy_row(&b->buf, b->list[i], (int32_t)i, (int32_t)i, 1);
	lt_pg_copy_trailer(&b->buf);
	rc = lt_pg_copy_begin(&b->bare,
		"BEGIN; COPY snapshot (time, seq, source_id, epoch_id, shape_id, vals) "
		"FROM STDIN BINARY",
		&err);
	if (rc == LT_OK)
		rc = lt_pg_copy_data(&b->bare, b->buf.data, b->buf.len, &err);
	if (rc == LT_OK)
		rc = lt_pg_copy_end(&b->bare, &err);
	if (rc == LT_OK)
		rc = lt_pg_exec(&b->bare, "COMMIT", &err);
	if (rc != LT_OK)
		die("bare COPY", &err);
	return lt_mono_ns() - start;
}

/* About so many seconds of batches; what both sides took, in M values/s. */
static void compare(struct bench *b, const struct bench_run *run, size_t n_events)
{
	int64_t put_ns = 0, bare_ns = 0, limit = (int64_t)(run->seconds * LT_NS_PER_S);
	size_t n = 0;

	for (unsigned i = 0; put_ns + bare_ns < limit; i++) {
		int64_t put, bare;

		next_batch(b, n_events);
		/* Who goes first takes turns as well. */
		bare = i % 2 ? run_bare(b, n_events) : 0;
		put = run_put(b, n_events);
		bare = i % 2 ? bare : run_bare(b, n_events);
		if (i < 2) /* ids are looked up, statements prepared */
			continue;
		put_ns += put;
		bare_ns += bare;
		n += n_events * b->shape->n_series;
	}
	bench_result(run, "latido-store's sink", BENCH_SUBJECT, "values/s",
		(double)n * 1e9 / (double)put_ns);
	bench_result(
		run, "bare COPY", BENCH_CEILING, "values/s", (double)n * 1e9 / (double)bare_ns);
}

static void measure(struct bench *b, struct bench_run *run)
{
	static const size_t sizes[] = {60, 400}, events[] = {10, 100, 1000};
	struct lt_shapes *shapes = lt_shapes_new(16 << 20, 1000);

	for (run->round = 1; run->round <= run->rounds; run->round++)
		for (size_t i = 0; i < LT_ARRAY_LEN(sizes); i++) {
			b->shape = make_shape(shapes, sizes[i]);
			for (size_t j = 0; j < LT_ARRAY_LEN(events); j++) {
				bench_case(run, "%zu values an event, %zu events a transaction",
					sizes[i], events[j]);
				compare(b, run, events[j]);
			}
			lt_shape_put(b->shape);
		}
	lt_shapes_free(shapes);
}

int main(int argc, char **argv)
{
	static struct bench b;
	struct bench_run run;
	struct lt_err err;

	bench_init(&run, "store", "1", 5, 2, argc, argv);
	lt_log_set_level(LT_ERROR);
	if (private_postgres_start())
		return 1;
	snprintf(b.dsn, sizeof(b.dsn), "%s dbname=latido", private_postgres_dsn());
	b.conf.postgres.dsn = b.dsn;
	b.conf.postgres.password = (char *)"";
	b.conf.postgres.timeout_ms = 60000;
	b.conf.limits.max_ahead_ms = 600000;
	b.conf.store.partitions_ahead = 1;
	b.conf.store.migrate = true;
	b.sink = lt_calloc(1, lt_sink_pg_ops.size);
	b.sink->ops = &lt_sink_pg_ops;
	b.bare.interrupt_fd = -1;
	if (b.sink->ops->init(b.sink, &b.conf, &err) || b.sink->ops->open(b.sink, &err) ||
		lt_pg_connect(&b.bare, &b.conf.postgres, &err))
		die("open", &err);
	b.time_ns = lt_wall_ns();
	b.values = lt_calloc(1000, sizeof(*b.values));
	for (size_t i = 0; i < SOURCES; i++)
		snprintf(b.names[i], sizeof(b.names[i]), "node%zu", i);
	measure(&b, &run);
	lt_pg_close(&b.bare);
	b.sink->ops->fini(b.sink);
	free(b.sink);
	free(b.values);
	lt_buf_fini(&b.buf);
	private_postgres_stop();
	return 0;
}
