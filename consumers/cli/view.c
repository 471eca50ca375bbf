/* SPDX-License-Identifier: MIT */
#include "view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define SOURCE_MIN 10

#define RESET "\033[0m"

static const struct column {
	const char *name;  /* on the command line */
	const char *title; /* above the column */
	unsigned width;
	char key;
	unsigned char drop; /* on a narrow terminal; 0 = never, 1 = first */
} columns[VIEW_MAX] = {
	[VIEW_SOURCE] = {"source", "SOURCE", SOURCE_MIN, 'n', 0},
	[VIEW_STATE] = {"state", "STATE", 5, 's', 0},
	[VIEW_CPU] = {"cpu", "CPU%", 6, 'c', 6},
	[VIEW_MEM] = {"memory", "MEM%", 6, 'm', 5},
	[VIEW_DISK] = {"disk", "DISK%", 6, 'd', 4},
	[VIEW_RX] = {"receive", "RX/s", 6, 'r', 2},
	[VIEW_TX] = {"transmit", "TX/s", 6, 't', 1},
	[VIEW_LOAD] = {"load", "LOAD1", 7, 'l', 3},
	[VIEW_AGE] = {"age", "AGE", 6, 'a', 0},
};

enum view_column view_column_of(const char *name)
{
	enum view_column c = VIEW_SOURCE;

	while (c < VIEW_MAX && strcmp(columns[c].name, name))
		c++;
	return c;
}

enum view_column view_column_of_key(int key)
{
	enum view_column c = VIEW_SOURCE;

	while (c < VIEW_MAX && columns[c].key != key)
		c++;
	return c;
}

const char *view_column_name(enum view_column c)
{
	return columns[c].name;
}

char view_column_key(enum view_column c)
{
	return columns[c].key;
}

/* ---- order ---- */

static double value_of(const struct fleet_row *r, enum view_column c)
{
	switch (c) {
	case VIEW_STATE:
		return r->state;
	case VIEW_CPU:
		return r->cpu_pct;
	case VIEW_MEM:
		return r->mem_pct;
	case VIEW_DISK:
		return r->disk_pct;
	case VIEW_RX:
		return r->rx_bytes_s;
	case VIEW_TX:
		return r->tx_bytes_s;
	case VIEW_LOAD:
		return r->load1;
	case VIEW_AGE:
		return r->age_s;
	default:
		return NAN;
	}
}

struct order {
	enum view_column by;
	int sign;
};

static int compare_values(double a, double b, int sign)
{
	if (isnan(a) || isnan(b))
		return (isnan(a) != 0) - (isnan(b) != 0);
	return sign * ((a < b) - (a > b));
}

static int compare(const void *pa, const void *pb, void *arg)
{
	const struct fleet_row *a = pa, *b = pb;
	const struct order *o = arg;
	int d = 0;

	if (o->by == VIEW_SOURCE)
		return o->sign * strcmp(a->source, b->source);
	d = compare_values(value_of(a, o->by), value_of(b, o->by), o->sign);
	if (!d && o->by == VIEW_STATE)
		d = compare_values(a->cpu_pct, b->cpu_pct, o->sign);
	return d ? d : strcmp(a->source, b->source);
}

void view_sort(struct fleet_row *rows, size_t n, enum view_column by, bool reverse)
{
	struct order o = {by, reverse ? -1 : 1};

	if (n)
		qsort_r(rows, n, sizeof(*rows), compare, &o);
}

/* ---- layout ---- */

static unsigned total(const struct view_layout *l)
{
	unsigned sum = 0;

	for (int c = 0; c < VIEW_MAX; c++)
		if (l->width[c])
			sum += l->width[c] + (c ? 1 : 0);
	return sum;
}

void view_fit(struct view_layout *l, const struct fleet_row *rows, size_t n, unsigned limit)
{
	size_t longest = SOURCE_MIN;
	unsigned rest;

	for (int c = 0; c < VIEW_MAX; c++)
		l->width[c] = columns[c].width;
	for (size_t i = 0; i < n; i++) {
		struct lt_buf b = {0};
		size_t w = text_clean(&b, rows[i].source, strlen(rows[i].source), SIZE_MAX);

		lt_buf_fini(&b);
		if (w > longest)
			longest = w;
	}
	if (!limit) {
		l->width[VIEW_SOURCE] = (unsigned)longest;
		return;
	}
	for (unsigned drop = 1; total(l) > limit && drop <= 6; drop++)
		for (int c = 0; c < VIEW_MAX; c++)
			if (columns[c].drop == drop)
				l->width[c] = 0;
	rest = total(l) - SOURCE_MIN;
	if (limit > rest + SOURCE_MIN) {
		l->width[VIEW_SOURCE] = limit - rest;
		if (l->width[VIEW_SOURCE] > longest)
			l->width[VIEW_SOURCE] = (unsigned)longest;
	}
}

void view_header(const struct view_layout *l, struct lt_buf *out)
{
	for (int c = 0; c < VIEW_MAX; c++) {
		bool sorted = l->colour && (int)l->sort == c;

		if (!l->width[c])
			continue;
		if (c)
			lt_buf_char(out, ' ');
		if (sorted)
			lt_buf_str(out, "\033[4m");
		text_cell(out, columns[c].title, l->width[c],
			c <= VIEW_STATE ? TEXT_LEFT : TEXT_RIGHT);
		if (sorted)
			lt_buf_str(out, "\033[24m");
	}
}

/* ---- rows ---- */

/* Never by colour alone: the state is a word, the others are numbers. */
static const char *colour_of(const struct fleet_row *r, enum view_column c)
{
	static const char red[] = "\033[31m", yellow[] = "\033[33m", green[] = "\033[32m";
	double v = value_of(r, c), warn = 80, bad = 90;

	switch (c) {
	case VIEW_STATE:
	case VIEW_AGE:
		return r->state == LT_FLEET_STALE  ? red
		       : r->state == LT_FLEET_LATE ? yellow
		       : c == VIEW_STATE           ? green
						   : NULL;
	case VIEW_CPU:
	case VIEW_MEM:
		break;
	case VIEW_DISK:
		warn = 85;
		bad = 95;
		break;
	default:
		return NULL;
	}
	return v >= bad ? red : v >= warn ? yellow : NULL;
}

static void cell_text(const struct fleet_row *r, enum view_column c, struct lt_buf *out)
{
	switch (c) {
	case VIEW_SOURCE:
		lt_buf_str(out, r->source);
		break;
	case VIEW_STATE:
		lt_buf_str(out, lt_fleet_state_word(r->state));
		break;
	case VIEW_CPU:
	case VIEW_MEM:
	case VIEW_DISK:
		text_percent(out, value_of(r, c));
		break;
	case VIEW_RX:
	case VIEW_TX:
		text_bytes(out, value_of(r, c));
		break;
	case VIEW_LOAD:
		if (isnan(r->load1))
			lt_buf_char(out, '-');
		else
			lt_buf_printf(out, "%.2f", r->load1);
		break;
	default:
		text_age(out, r->age_s);
	}
}

void view_row(const struct view_layout *l, const struct fleet_row *r, struct lt_buf *out)
{
	struct lt_buf cell = {0};

	for (int c = 0; c < VIEW_MAX; c++) {
		const char *colour = l->colour ? colour_of(r, (enum view_column)c) : NULL;

		if (!l->width[c])
			continue;
		if (c)
			lt_buf_char(out, ' ');
		lt_buf_reset(&cell);
		cell_text(r, (enum view_column)c, &cell);
		if (colour)
			lt_buf_str(out, colour);
		text_cell(out, cell.len ? cell.data : "", l->width[c],
			c <= VIEW_STATE ? TEXT_LEFT : TEXT_RIGHT);
		if (colour)
			lt_buf_str(out, RESET);
	}
	lt_buf_fini(&cell);
}

void view_summary(const struct fleet_table *t, struct lt_buf *out)
{
	size_t count[3] = {0};

	for (size_t i = 0; i < t->n; i++)
		count[t->rows[i].state]++;
	lt_buf_printf(out, "%zu %s: %zu live, %zu late, %zu stale", t->n,
		t->n == 1 ? "source" : "sources", count[LT_FLEET_LIVE], count[LT_FLEET_LATE],
		count[LT_FLEET_STALE]);
	if (t->left_out)
		lt_buf_printf(out, " (%zu more not shown)", t->left_out);
}
