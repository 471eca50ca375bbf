/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TESTS_STORE_LOAD_H
#define LATIDO_TESTS_STORE_LOAD_H

#include "latido/config.h"
#include "latido/consumer.h"
#include "latido/event.h"

/*
 * The sink of latido-store without a bus: events of many sources made in memory and put. Errors end
 * the program with 1.
 */

struct store_load {
	struct lt_config conf;
	struct lt_sink *sink;
	struct lt_shapes *shapes;
	struct lt_shape *shape; /* of the events to come: store_load_shape() */
	struct lt_event *events;
	struct lt_event **list; /* what store_load_next() made */
	char (*names)[32];
	double *values;
	size_t n_sources, n_max;
	uint64_t *seq; /* the last one of each source */
	size_t next_source;
};

/** store_load_open() - @dsn must outlive @l; sources are node0, node1, ...; @n_max: events a batch. */
void store_load_open(struct store_load *l, const char *dsn, size_t n_sources, size_t n_max);
void store_load_close(struct store_load *l);
/** store_load_shape() - events have so many values from now on. */
void store_load_shape(struct store_load *l, size_t n_values);
/**
 * store_load_next() - the next @n events, one source after the other
 *
 * Sampled at *@time_ns, which goes on by @step_ns after the last source.
 */
void store_load_next(struct store_load *l, size_t n, int64_t *time_ns, int64_t step_ns);
/** store_load_put() - these events, in one transaction. Return: ns that it took. */
int64_t store_load_put(struct store_load *l, size_t n);

#endif
