/* SPDX-License-Identifier: MIT */
/*
 * The store's put() against a bare COPY of the same rows into the same table: what do sequence
 * checks, progress and bookkeeping cost? Batch by batch in turns, on a private PostgreSQL. The time
 * includes waiting for the disk and for whoever else uses the machine; the CPU time, of this process
 * and of the connections' backends, does not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../lib/sink/pg_conn.h"
#include "../../lib/sink/pg_copy.h"
#include "../support/bench.h"
#include "../support/private_postgres.h"
#include "../support/store_load.h"
#include "latido/clock.h"
#include "latido/log.h"

#define SOURCES  1000
#define BACKENDS 8

struct bench {
	struct store_load load;
	struct lt_pg bare;
	struct lt_buf buf;
	int64_t time_ns;
	pid_t bare_backend, backends[BACKENDS]; /* backends: of the sink */
	size_t n_backends;
};

/* What one side took. */
struct cost {
	int64_t ns, client_ns, server_ns; /* the latter two: CPU time */
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "store_bench: %s: %s\n", what, why);
	exit(1);
}

static int64_t cpu_ns(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
		die("CPU time", "not to be had");
	return t.tv_sec * LT_NS_PER_S + t.tv_nsec;
}

/* Who serves the sink: everybody in this database but our own connection. */
static void find_backends(struct bench *b)
{
	static const char sql[] = "SELECT pid, pid = pg_backend_pid() FROM pg_stat_activity "
				  "WHERE datname = current_database() AND "
				  "backend_type = 'client backend'";
	struct pg_result *r = NULL;
	struct lt_err err = {0};

	if (lt_pg_query(&b->bare, sql, NULL, 0, &r, &err))
		die("backends", err.msg);
	for (size_t i = 0; i < lt_pg_rows(r); i++) {
		pid_t pid = (pid_t)lt_pg_int(r, i, 0);

		if (lt_pg_int(r, i, 1))
			b->bare_backend = pid;
		else if (b->n_backends < BACKENDS)
			b->backends[b->n_backends++] = pid;
	}
	lt_pg_result_free(r);
	if (!b->bare_backend || !b->n_backends)
		die("backends", "not found");
}

static int64_t sink_backends_ns(const struct bench *b)
{
	int64_t sum = 0;

	for (size_t i = 0; i < b->n_backends; i++)
		sum += cpu_ns(b->backends[i]);
	return sum;
}

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
		lt_pg_copy_end(&b->bare, &err) || lt_pg_exec(&b->bare, "COMMIT", &err))
		die("bare COPY", err.msg);
}

static void run_bare(struct bench *b, size_t n, struct cost *c)
{
	int64_t start = lt_mono_ns(), client = cpu_ns(0);

	copy(b, n);
	c->client_ns += cpu_ns(0) - client;
	c->ns += lt_mono_ns() - start;
}

static void run_put(struct bench *b, size_t n, struct cost *c)
{
	int64_t client = cpu_ns(0);

	c->ns += store_load_put(&b->load, n);
	c->client_ns += cpu_ns(0) - client;
}

static void show(const struct bench_run *run, const char *name, enum bench_role role, size_t values,
	const struct cost *c)
{
	bench_result(run, name, role, "values/s", (double)values * 1e9 / (double)c->ns);
	bench_result(run, name, role, "CPU s/M values",
		(double)(c->client_ns + c->server_ns) / 1e3 / (double)values);
}

/* About so many seconds of batches. */
static void compare(struct bench *b, const struct bench_run *run, size_t n_events)
{
	struct cost put = {0}, bare = {0};
	int64_t limit_ns = (int64_t)(run->seconds * LT_NS_PER_S);
	size_t values = 0;

	for (unsigned i = 0; put.ns + bare.ns < limit_ns; i++) {
		b->time_ns += LT_NS_PER_MS;
		b->load.next_source = 0;
		store_load_next(&b->load, n_events, &b->time_ns, 0);
		if (i == 2) { /* ids are looked up, statements prepared */
			put = (struct cost){.server_ns = -sink_backends_ns(b)};
			bare = (struct cost){.server_ns = -cpu_ns(b->bare_backend)};
			values = 0;
		}
		/* Who goes first takes turns as well. */
		if (i % 2)
			run_bare(b, n_events, &bare);
		run_put(b, n_events, &put);
		if (i % 2 == 0)
			run_bare(b, n_events, &bare);
		values += n_events * b->load.shape->n_series;
	}
	put.server_ns += sink_backends_ns(b);
	bare.server_ns += cpu_ns(b->bare_backend);
	show(run, "latido-store's sink", BENCH_SUBJECT, values, &put);
	show(run, "bare COPY", BENCH_CEILING, values, &bare);
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
	if (lt_pg_connect(&b.bare, &b.load.conf.postgres, &err))
		die("connection", err.msg);
	find_backends(&b);
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
