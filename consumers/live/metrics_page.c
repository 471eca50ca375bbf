/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "live.h"

/*
 * GET /metrics: the newest values of all sources in Prometheus's text format 0.0.4, with the times at
 * which they were sampled. The loop only copies the values; sorting and writing is a worker's.
 */

#define OLDEST_MS (5 * 60 * 1000) /* as Prometheus looks back */

struct snap {
	char source[LT_SOURCE_MAX + 1];
	bool device;
	int64_t time_ms;
	const struct lt_shape *shape; /* referenced */
	uint8_t *values;
};

struct line {
	const struct lt_series *series;
	const struct snap *snap;
	uint32_t i;
};

struct metrics_job {
	struct answer_job a;
	struct snap *snaps;
	size_t n;
};

/* All lines of a metric stand together; those of a source one after the other. */
static int by_name(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	int rc = strcmp(x->series->name, y->series->name);

	if (rc)
		return rc;
	if (x->snap != y->snap)
		return x->snap < y->snap ? -1 : 1;
	return x->i < y->i ? -1 : x->i > y->i;
}

static void put_escaped(struct lt_buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			lt_buf_char(b, '\\');
		if (*s == '\n')
			lt_buf_str(b, "\\n");
		else
			lt_buf_char(b, *s);
	}
}

static void put_line(struct lt_buf *b, const struct line *l)
{
	const struct lt_event e = {.values = l->snap->values};

	lt_buf_add(b, l->series->name, l->series->name_len);
	lt_buf_printf(b, "{instance=\"%s\",job=\"%s\"", l->snap->source,
		l->snap->device ? "device" : "node");
	for (unsigned i = 0; i < l->series->n_labels; i++) {
		const struct lt_label *label = &l->series->labels[i];

		/* As Prometheus does with honor_labels off. */
		if (!strcmp(label->name, "instance") || !strcmp(label->name, "job"))
			lt_buf_printf(b, ",exported_%s=\"", label->name);
		else
			lt_buf_printf(b, ",%s=\"", label->name);
		put_escaped(b, label->value);
		lt_buf_char(b, '"');
	}
	lt_buf_str(b, "} ");
	lt_buf_double(b, lt_event_value(&e, l->i));
	lt_buf_printf(b, " %" PRId64 "\n", l->snap->time_ms);
}

static void run(struct job *job, struct worker *w)
{
	static const char *const types[] = {"untyped", "gauge", "counter"};
	struct metrics_job *j = (struct metrics_job *)job;
	struct line *lines;
	size_t n = 0, at = 0;

	(void)w;
	for (size_t i = 0; i < j->n; i++)
		n += j->snaps[i].shape->n_series;
	lines = lt_calloc(n + 1, sizeof(*lines));
	for (size_t i = 0; i < j->n; i++)
		for (uint32_t k = 0; k < j->snaps[i].shape->n_series; k++)
			lines[at++] = (struct line){&j->snaps[i].shape->series[k], &j->snaps[i], k};
	qsort(lines, n, sizeof(*lines), by_name);
	for (size_t i = 0; i < n && !job->cancelled; i++) {
		unsigned kind = lines[i].series->kind;

		if (i == 0 || strcmp(lines[i].series->name, lines[i - 1].series->name))
			lt_buf_printf(&j->a.body, "# TYPE %s %s\n", lines[i].series->name,
				types[kind < 3 ? kind : 0]);
		put_line(&j->a.body, &lines[i]);
	}
	free(lines);
	j->a.status = 200;
	j->a.type = "text/plain; version=0.0.4; charset=utf-8";
}

static void fini(struct answer_job *a)
{
	struct metrics_job *j = (struct metrics_job *)a;

	for (size_t i = 0; i < j->n; i++) {
		lt_shape_put((struct lt_shape *)(uintptr_t)j->snaps[i].shape);
		free(j->snaps[i].values);
	}
	free(j->snaps);
}

void api_metrics(struct live *l, struct http_req *req)
{
	struct metrics_job *j = lt_calloc(1, sizeof(*j));
	const struct hub *h = l->hub;
	int64_t oldest = lt_wall_ns() / LT_NS_PER_MS - OLDEST_MS;
	size_t cap = 0;

	for (size_t i = 0; i < h->n_sources; i++)
		cap += h->sources[i]->n_streams;
	j->snaps = lt_calloc(cap + 1, sizeof(*j->snaps));
	for (size_t i = 0; i < h->n_sources; i++) {
		const struct hub_source *s = h->sources[i];

		for (size_t k = 0; k < s->n_streams; k++) {
			const struct hub_stream *st = &s->streams[k];
			struct snap *snap = &j->snaps[j->n];

			if (!st->known || st->time_ms < oldest)
				continue;
			memcpy(snap->source, s->name, sizeof(snap->source));
			snap->device = s->device;
			snap->time_ms = st->time_ms;
			lt_shape_get(st->shape);
			snap->shape = st->shape;
			snap->values = lt_malloc(8 * (size_t)st->n + 1);
			memcpy(snap->values, st->values, 8 * (size_t)st->n);
			j->n++;
		}
	}
	j->a.job.run = run;
	j->a.fini = fini;
	answer_submit(l->queries, &j->a, req);
}
