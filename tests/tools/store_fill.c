/* SPDX-License-Identifier: MIT */
/*
 * Fills latido-store's tables through its own sink, for benchmarks:
 *
 *	store_fill DSN SOURCES VALUES
 *
 * Each line of standard input asks for more: "EVENTS STEP_MS", so many events of each source, the last
 * of them now, the others in such steps before it. Answers with a JSON object a line: how many values
 * and the seconds that the sink took for them, 1000 events a transaction. Sequences go on from line
 * to line.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../support/store_load.h"
#include "latido/clock.h"
#include "latido/log.h"

#define BATCH 1000

static int64_t fill(struct store_load *l, size_t events, int64_t step_ns)
{
	int64_t time_ns = lt_wall_ns() - ((int64_t)events - 1) * step_ns, took_ns = 0;

	for (size_t left = events * l->n_sources, n; left > 0; left -= n) {
		n = left < BATCH ? left : BATCH;
		store_load_next(l, n, &time_ns, step_ns);
		took_ns += store_load_put(l, n);
	}
	return took_ns;
}

int main(int argc, char **argv)
{
	struct store_load l;
	size_t sources, values;
	char line[128];

	if (argc != 4) {
		fprintf(stderr, "usage: store_fill DSN SOURCES VALUES\n");
		return 2;
	}
	sources = strtoul(argv[2], NULL, 10);
	values = strtoul(argv[3], NULL, 10);
	if (!sources || !values)
		return 2;
	lt_log_set_level(LT_WARN);
	store_load_open(&l, argv[1], sources, BATCH);
	store_load_shape(&l, values);
	while (fgets(line, sizeof(line), stdin)) {
		char *end;
		size_t events = strtoul(line, &end, 10);
		int64_t took_ns = fill(&l, events, strtoll(end, NULL, 10) * LT_NS_PER_MS);

		printf("{\"values\": %zu, \"seconds\": %.4f}\n", events * sources * values,
			(double)took_ns / LT_NS_PER_S);
		fflush(stdout);
	}
	store_load_close(&l);
	return 0;
}
