/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CLI_VIEW_H
#define LATIDO_CLI_VIEW_H

#include "fleet.h"

/* How the rows of the fleet are shown: columns, order, colours. */

enum view_column {
	VIEW_SOURCE = 0,
	VIEW_STATE,
	VIEW_CPU,
	VIEW_MEM,
	VIEW_DISK,
	VIEW_RX,
	VIEW_TX,
	VIEW_LOAD,
	VIEW_AGE,
	VIEW_MAX,
};

/** view_column_of() - by its name on the command line ("cpu"); VIEW_MAX when there is none such. */
enum view_column view_column_of(const char *name);
const char *view_column_name(enum view_column c);
/** view_column_of_key() - by the key that sorts by it in `latido top`; VIEW_MAX likewise. */
enum view_column view_column_of_key(int key);
char view_column_key(enum view_column c);

/**
 * view_sort() - worst first: what needs attention is on top; names in their order
 * @reverse: the other way round. Unknown values are last in any case.
 */
void view_sort(struct fleet_row *rows, size_t n, enum view_column by, bool reverse);

/** struct view_layout - which columns are shown and how wide */
struct view_layout {
	unsigned width[VIEW_MAX]; /* 0 = not shown */
	bool colour;
	enum view_column sort;
	bool reverse;
};

/**
 * view_fit() - choose the columns
 * @columns: of the terminal; 0 = no limit, names are not cut.
 */
void view_fit(struct view_layout *l, const struct fleet_row *rows, size_t n, unsigned columns);
/** view_header() - append the line of titles, without a newline. */
void view_header(const struct view_layout *l, struct lt_buf *out);
/** view_row() - append one row, without a newline. */
void view_row(const struct view_layout *l, const struct fleet_row *r, struct lt_buf *out);
/** view_summary() - "12 sources: 10 live, 1 late, 1 stale". */
void view_summary(const struct fleet_table *t, struct lt_buf *out);

#endif
