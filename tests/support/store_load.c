/* SPDX-License-Identifier: MIT */
#include "store_load.h"

#include <stdio.h>
#include <stdlib.h>

#include "latido/clock.h"
#include "latido/mem.h"
#include "latido/sink_pg.h"

#define EPOCH      UINT64_C(1763700000000000)
#define VALUES_MAX 1000

static void die(const char *what, const struct lt_err *err)
{
	fprintf(stderr, "store: %s: %s\n", what, err->msg);
	exit(1);
}

void store_load_open(struct store_load *l, const char *dsn, size_t n_sources, size_t n_max)
{
	struct lt_err err;

	*l = (struct store_load){.n_sources = n_sources, .n_max = n_max};
	l->conf.postgres.dsn = (char *)(uintptr_t)dsn;
	l->conf.postgres.password = (char *)"";
	l->conf.postgres.timeout_ms = 60000;
	l->conf.limits.max_ahead_ms = 600000;
	l->conf.store.partitions_ahead = 1;
	l->conf.store.migrate = true;
	l->sink = lt_calloc(1, lt_sink_pg_ops.size);
	l->sink->ops = &lt_sink_pg_ops;
	if (l->sink->ops->init(l->sink, &l->conf, &err) || l->sink->ops->open(l->sink, &err))
		die("open", &err);
	l->shapes = lt_shapes_new(16 << 20, VALUES_MAX);
	l->events = lt_calloc(n_max, sizeof(*l->events));
	l->list = lt_calloc(n_max, sizeof(struct lt_event *));
	l->names = lt_calloc(n_sources, sizeof(*l->names));
	l->seq = lt_calloc(n_sources, sizeof(*l->seq));
	l->values = lt_calloc(VALUES_MAX, sizeof(*l->values));
	for (size_t i = 0; i < n_sources; i++)
		snprintf(l->names[i], sizeof(l->names[i]), "node%zu", i);
}

void store_load_close(struct store_load *l)
{
	l->sink->ops->fini(l->sink);
	free(l->sink);
	if (l->shape)
		lt_shape_put(l->shape);
	lt_shapes_free(l->shapes);
	free(l->events);
	free(l->list);
	free(l->names);
	free(l->seq);
	free(l->values);
}

void store_load_shape(struct store_load *l, size_t n_values)
{
	struct lt_snapshot *s = lt_snapshot_new(VALUES_MAX);
	static const char *const key = "i";
	struct lt_event e = {0};
	struct lt_err err;

	lt_snapshot_begin(s);
	lt_snapshot_family(s, "bench_value", LT_KIND_GAUGE, &key, 1);
	for (size_t i = 0; i < n_values; i++) {
		char text[24];
		const char *value = text;

		snprintf(text, sizeof(text), "%zu", i);
		lt_snapshot_row(s, &value, 0);
	}
	if (l->shape)
		lt_shape_put(l->shape);
	if (lt_snapshot_event(s, &e, &err))
		die("shape", &err);
	l->shape = lt_shapes_intern(l->shapes, e.shape->bytes, e.shape->size, &err);
	if (!l->shape)
		die("shape", &err);
	lt_snapshot_free(s);
}

void store_load_next(struct store_load *l, size_t n, int64_t *time_ns, int64_t step_ns)
{
	for (size_t i = 0; i < l->shape->n_series; i++)
		l->values[i] = (double)(*time_ns / LT_NS_PER_MS % 100000 + (int64_t)(i * i)) / 16;
	for (size_t i = 0; i < n; i++) {
		size_t source = l->next_source;

		l->events[i] = (struct lt_event){.source = l->names[source],
			.stream = "",
			.epoch = EPOCH,
			.seq = ++l->seq[source],
			.time_ns = *time_ns,
			.has_time = true,
			.shape = l->shape,
			.values = (const uint8_t *)l->values,
			.n = l->shape->n_series,
			.arrived_ns = *time_ns};
		l->list[i] = &l->events[i];
		l->next_source = (source + 1) % l->n_sources;
		if (l->next_source == 0)
			*time_ns += step_ns;
	}
}

int64_t store_load_put(struct store_load *l, size_t n)
{
	struct lt_batch batch = {l->list, n};
	int64_t start = lt_mono_ns();
	struct lt_err err;
	size_t bad;

	if (l->sink->ops->put(l->sink, &batch, &bad, &err))
		die("put", &err);
	return lt_mono_ns() - start;
}
