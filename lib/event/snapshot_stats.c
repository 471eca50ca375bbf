/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "latido/event.h"
#include "latido/stats.h"

#define LABELS_MAX 8 /* of a row of our tables; they have one or two */

struct pair {
	const char *name, *value;
};

struct run {
	struct lt_snapshot *out;
	struct lt_arena *texts;
	struct pair family[LABELS_MAX]; /* names of the labels of the family under way */
	size_t n_family;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct pair *)a)->name, ((const struct pair *)b)->name);
}

/* Reads a="x",b="y" with the escapes of Prometheus's text format. -1: not that. */
static int read_labels(struct lt_arena *arena, const char *text, struct pair *out)
{
	int n = 0;

	while (text && *text) {
		size_t len = strcspn(text, "=");
		size_t used = 0;
		char *value;

		if (n == LABELS_MAX || len > LT_LABEL_NAME_MAX || text[len] != '=' ||
			text[len + 1] != '"')
			return -1;
		out[n].name = lt_arena_str(arena, text, len);
		text += len + 2;
		out[n++].value = value = lt_arena_str(arena, text, strlen(text));
		for (; *text != '"'; text++) {
			bool escaped = *text == '\\';

			if (escaped)
				text++;
			if (!*text)
				return -1;
			value[used++] = escaped && *text == 'n' ? '\n' : *text;
		}
		value[used] = '\0';
		text++;
		if (*text == ',')
			text++;
	}
	qsort(out, (size_t)n, sizeof(*out), by_name);
	return n;
}

static bool of_family(const struct run *r, const struct pair *pairs, size_t n)
{
	if (n != r->n_family)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(r->family[i].name, pairs[i].name) != 0)
			return false;
	}
	return true;
}

static void add_row(void *arg, const struct lt_stat *stat, bool first, double value)
{
	struct run *r = arg;
	bool counts = stat->type == LT_STAT_COUNTER || stat->type == LT_STAT_COUNTER_FN;
	struct pair pairs[LABELS_MAX];
	const char *keys[LABELS_MAX], *values[LABELS_MAX];
	int n = read_labels(r->texts, stat->labels, pairs);

	if (n < 0) {
		if (first)
			r->n_family = SIZE_MAX; /* no row is of it */
		return;
	}
	for (int i = 0; i < n; i++) {
		keys[i] = pairs[i].name;
		values[i] = pairs[i].value;
	}
	if (first) {
		r->n_family = (size_t)n;
		memcpy(r->family, pairs, sizeof(pairs));
		lt_snapshot_family(r->out, stat->name, counts ? LT_KIND_COUNTER : LT_KIND_GAUGE,
			keys, (size_t)n);
	} else if (!of_family(r, pairs, (size_t)n)) {
		return;
	}
	lt_snapshot_row(r->out, values, value);
}

void lt_snapshot_stats(struct lt_snapshot *s, const char *name, struct lt_arena *texts)
{
	struct lt_arena_mark mark = lt_arena_mark(texts);
	struct run r = {.out = s, .texts = texts};

	if (name)
		lt_stats_named(name, add_row, &r);
	else
		lt_stats_each(add_row, &r);
	lt_arena_rewind(texts, mark);
}
