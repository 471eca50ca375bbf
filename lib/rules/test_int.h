/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_RULES_TEST_INT_H
#define LATIDO_RULES_TEST_INT_H

#include "rules_int.h"

/* Rule test files: test_file.c reads them, test_run.c runs them, test_diff.c says what differs. */

struct test_series {
	struct doc_pos pos;
	const char *series, *values;
	size_t series_len, values_len;
	const struct node *series_node, *values_node;
};

struct test_alert {
	const struct lt_rule_pair *labels, *annotations; /* by name, labels with alertname */
	size_t n_labels, n_annotations;
};

struct test_alerts {
	struct doc_pos pos;
	int64_t t_ms;
	const char *name;
	struct test_alert *alerts;
	size_t n;
};

struct test_sample {
	const char *labels;
	size_t len;
	double v;
};

struct test_expr {
	struct doc_pos pos;
	int64_t t_ms;
	const char *expr;
	size_t len;
	struct test_sample *samples;
	size_t n;
};

struct test_group {
	const char *name; /* NULL: none */
	int64_t interval_ms;
	const char *external_url;
	const struct lt_rule_pair *external_labels;
	size_t n_external_labels;
	struct test_series *series;
	size_t n_series;
	struct test_alerts *alerts;
	size_t n_alerts;
	struct test_expr *exprs;
	size_t n_exprs;
};

struct test_file {
	const char **rule_files;
	size_t n_rule_files;
	int64_t interval_ms;
	const char **order;
	size_t n_order;
	struct test_group *groups;
	size_t n_groups;
};

/** test_file_read() - into the report's arena; false: reported. */
bool test_file_read(struct report *rep, const char *path, struct test_file *out);

/** test_diff_alerts() - true when they are equal; else what is different, appended. */
bool test_diff_alerts(struct lt_buf *out, struct test_alert *exp, size_t n_exp,
	struct test_alert *got, size_t n_got);

struct test_value {
	const struct lt_labels *labels;
	double v;
};
bool test_diff_values(struct lt_buf *out, const struct lt_label_pool *pool, struct test_value *exp,
	size_t n_exp, struct test_value *got, size_t n_got);

#endif
