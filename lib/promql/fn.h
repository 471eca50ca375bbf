/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_PROMQL_FN_H
#define LATIDO_PROMQL_FN_H

#include "eval_int.h"

/* The functions of the language, for the table in functions.c. */

int pq_fn_rate(const struct pq_window *w, double *out);
int pq_fn_increase(const struct pq_window *w, double *out);
int pq_fn_delta(const struct pq_window *w, double *out);
int pq_fn_irate(const struct pq_window *w, double *out);
int pq_fn_idelta(const struct pq_window *w, double *out);
int pq_fn_changes(const struct pq_window *w, double *out);
int pq_fn_resets(const struct pq_window *w, double *out);
int pq_fn_deriv(const struct pq_window *w, double *out);
int pq_fn_predict_linear(const struct pq_window *w, double *out);
int pq_fn_holt_winters(const struct pq_window *w, double *out);
int pq_fn_avg_over_time(const struct pq_window *w, double *out);
int pq_fn_sum_over_time(const struct pq_window *w, double *out);
int pq_fn_min_over_time(const struct pq_window *w, double *out);
int pq_fn_max_over_time(const struct pq_window *w, double *out);
int pq_fn_count_over_time(const struct pq_window *w, double *out);
int pq_fn_last_over_time(const struct pq_window *w, double *out);
int pq_fn_present_over_time(const struct pq_window *w, double *out);
int pq_fn_quantile_over_time(const struct pq_window *w, double *out);
int pq_fn_stdvar_over_time(const struct pq_window *w, double *out);
int pq_fn_stddev_over_time(const struct pq_window *w, double *out);

int pq_fn_math(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_date(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_absent(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_clamp(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_clamp_min(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_clamp_max(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_round(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_sort(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_sort_desc(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_vector(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_timestamp(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_label_replace(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_label_join(struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);
int pq_fn_histogram_quantile(
	struct pq_eval *ev, struct pq_node *n, int64_t t_ms, struct pq_vec *out);

#endif
