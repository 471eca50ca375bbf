/* SPDX-License-Identifier: MIT */
#include "spans.h"

#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"

static bool same(const struct lt_bus_span *a, const struct lt_bus_span *b)
{
	return a->partition == b->partition && strcmp(a->log, b->log) == 0;
}

static struct lt_bus_span *find(struct lt_bus_span *items, size_t n, const struct lt_bus_span *s)
{
	for (size_t i = 0; i < n; i++)
		if (same(&items[i], s))
			return &items[i];
	return NULL;
}

struct lt_bus_span *lt_spans_find(const struct lt_spans *l, const struct lt_bus_span *s)
{
	return find(l->items, l->n, s);
}

struct lt_bus_span *lt_spans_add(struct lt_spans *l, const struct lt_bus_span *s)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 16;
		l->items = lt_realloc(l->items, l->cap * sizeof(*l->items));
	}
	l->items[l->n] = *s;
	return &l->items[l->n++];
}

void lt_spans_fini(struct lt_spans *l)
{
	free(l->items);
	*l = (struct lt_spans){0};
}

/* The batch's own lists. */
static void extend(struct lt_fill *f, const struct lt_bus_span *s)
{
	struct lt_bus_span *have = lt_spans_find(&f->spans, s);

	if (have)
		have->next = s->next;
	else
		lt_spans_add(&f->spans, s);
	f->batch.spans = f->spans.items;
	f->batch.n_spans = f->spans.n;
	if (!f->oldest_mono_ns)
		f->oldest_mono_ns = lt_mono_ns();
}

bool lt_spans_take(struct lt_spans *seen, struct lt_fill *f, const struct lt_bus_msg *m)
{
	struct lt_bus_span one = {m->log, m->partition, m->offset, m->offset + 1};
	struct lt_bus_span *s = lt_spans_find(seen, &one);

	if (!s)
		s = lt_spans_add(seen, &one);
	else if (m->offset < s->next)
		return false;
	else /* the log may have holes: they were read, too */
		one.first = s->next;
	s->next = one.next;
	extend(f, &one);
	return true;
}

void lt_spans_lost(struct lt_spans *seen, struct lt_fill *f, const struct lt_bus_span *gap)
{
	struct lt_bus_span after = {gap->log, gap->partition, gap->first, gap->next};
	struct lt_bus_span *s = lt_spans_find(seen, gap);

	if (s)
		s->next = gap->next;
	else
		lt_spans_add(seen, &after);
	extend(f, &after);
	lt_spans_add(&f->gaps, gap);
	f->batch.gaps = f->gaps.items;
	f->batch.n_gaps = f->gaps.n;
}

void lt_spans_seek(struct lt_spans *seen, const struct lt_fill *a, const struct lt_fill *b,
	const struct lt_bus_span *parts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct lt_bus_span *s = lt_spans_find(seen, &parts[i]);

		if (s && (lt_spans_find(&a->spans, s) || (b && lt_spans_find(&b->spans, s))))
			continue;
		if (!s)
			s = lt_spans_add(seen, &parts[i]);
		s->next = parts[i].first;
	}
}
