/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/alert/sources.h"
#include "latido/clock.h"

/* The series store and the way of events into it: shapes, staleness, windows, limits, clocks. */

#define T0    INT64_C(1763700000000) /* ms */
#define EXPRS 8

struct fixture {
	struct lt_label_pool *pool;
	struct lt_as *store;
	struct lt_as_info info;
	struct lt_sources *sources;
	struct lt_sources_info sources_info;
	struct lt_promql_expr *exprs[EXPRS];
	size_t n_exprs;
	struct lt_shapes *shapes;
	struct lt_snapshot *snapshot;
	uint64_t seq;
	size_t told, told_gone;
};

static const struct lt_as_limits limits = {.max_series = 1000,
	.max_bytes = 1 << 24,
	.max_points = 64,
	.max_window_ms = 86400000,
	.dense_ms = 900000,
	.slack_ms = 2000};

static void changed(void *ctx, const char *source, bool device, uint32_t interval_ms, bool gone)
{
	struct fixture *f = ctx;

	(void)source;
	(void)device;
	(void)interval_ms;
	f->told++;
	f->told_gone += gone;
}

static struct fixture *setup_limits(const struct lt_as_limits *l, size_t max_sources)
{
	struct fixture *f = lt_calloc(1, sizeof(*f));

	f->pool = lt_label_pool_new();
	f->store = lt_as_new(f->pool, l, &f->info);
	f->sources = lt_sources_new(f->store,
		&(struct lt_sources_opts){.max_lag_ms = 60000,
			.silence_ms = 300000,
			.forget_ms = 3600000,
			.max_sources = max_sources,
			.max_source_series = 600,
			.changed = changed,
			.ctx = f},
		&f->sources_info);
	f->shapes = lt_shapes_new(1 << 24, 100000);
	return f;
}

static struct fixture *setup(void)
{
	return setup_limits(&limits, 100);
}

static void teardown(struct fixture *f)
{
	lt_sources_free(f->sources);
	lt_as_free(f->store);
	for (size_t i = 0; i < f->n_exprs; i++)
		lt_promql_free(f->exprs[i]);
	lt_shapes_free(f->shapes);
	lt_label_pool_free(f->pool);
	free(f);
}

static struct lt_promql_expr *parse(struct fixture *f, const char *text)
{
	struct lt_err err;

	assert_int_equal(lt_promql_parse(f->pool, text, strlen(text), NULL, &f->exprs[f->n_exprs],
				 NULL, &err),
		LT_OK);
	return f->exprs[f->n_exprs++];
}

static int add(struct fixture *f, const struct lt_promql_expr *e, struct lt_err *err)
{
	int rc = LT_OK;

	for (size_t i = 0; rc == LT_OK && i < lt_promql_selector_count(e); i++)
		rc = lt_as_select(f->store, lt_promql_selector(e, i), err);
	return rc;
}

/* Rules of one expression each. */
static void rules(struct fixture *f, const char *first, ...)
{
	struct lt_err err;
	va_list ap;

	lt_as_begin(f->store);
	va_start(ap, first);
	for (const char *text = first; text; text = va_arg(ap, const char *))
		assert_int_equal(add(f, parse(f, text), &err), LT_OK);
	va_end(ap);
	lt_as_commit(f->store);
}

static double eval(struct fixture *f, size_t i, int64_t t_ms, size_t *n)
{
	struct lt_promql_result r = {0};
	struct lt_err err;
	double v;

	assert_int_equal(
		lt_promql_eval(f->exprs[i], t_ms, lt_as_storage(f->store), &r, &err), LT_OK);
	assert_int_equal(r.type, LT_PROMQL_VECTOR);
	*n = r.n;
	v = r.n ? r.vector[0].v : NAN;
	lt_promql_result_fini(&r);
	return v;
}

static void assert_value(struct fixture *f, size_t i, int64_t t_ms, double want)
{
	size_t n;
	double v = eval(f, i, t_ms, &n);

	assert_int_equal(n, 1);
	assert_true(fabs(v - want) < 1e-9);
}

static void assert_none(struct fixture *f, size_t i, int64_t t_ms)
{
	size_t n;

	eval(f, i, t_ms, &n);
	assert_int_equal(n, 0);
}

struct how {
	int64_t time_ms, arrived_ms; /* 0: both the same */
	uint32_t interval_ms;
	bool partial, device, unnumbered, keep_seq, fill;
	const char *stream;
};

static void event(struct fixture *f, const char *source, struct how h, ...)
{
	struct lt_decode_limits dl = {1 << 20, 100000};
	struct lt_origin origin = {.device = h.device};
	struct lt_arena arena = {0};
	struct lt_buf json = {0};
	struct lt_event *e = NULL;
	enum lt_reason reason;
	struct lt_err err;
	const char *name;
	uint64_t hash;
	bool first = true;
	va_list ap;

	if (!h.arrived_ms)
		h.arrived_ms = h.time_ms;
	lt_buf_printf(&json, "{\"source\":\"%s\",\"ts\":%lld,\"interval_ms\":%u,\"partial\":%s,",
		source, (long long)h.time_ms, h.interval_ms, h.partial ? "true" : "false");
	if (!h.unnumbered)
		lt_buf_printf(&json, "\"epoch\":1,\"seq\":%llu,",
			(unsigned long long)(h.keep_seq ? f->seq : ++f->seq));
	if (h.stream)
		lt_buf_printf(&json, "\"stream\":\"%s\",", h.stream);
	lt_buf_str(&json, "\"metrics\":{");
	va_start(ap, h);
	while ((name = va_arg(ap, const char *))) {
		double v = va_arg(ap, double);

		lt_buf_str(&json, first ? "" : ",");
		lt_buf_json_str(&json, name, strlen(name));
		lt_buf_char(&json, ':');
		if (isnan(v))
			lt_buf_str(&json, "null");
		else
			lt_buf_double(&json, v);
		first = false;
	}
	va_end(ap);
	lt_buf_str(&json, "}}");
	strcpy(origin.source, source);
	origin.arrived_ns = h.arrived_ms * LT_NS_PER_MS;
	assert_int_equal(lt_decode(f->shapes, &dl, &origin, json.data, json.len, &arena, &e,
				 &reason, &hash, &err),
		LT_OK);
	if (h.fill)
		lt_sources_fill(f->sources, e, h.arrived_ms);
	else
		lt_sources_event(f->sources, e, h.arrived_ms, INT64_MIN);
	lt_events_release(e);
	lt_arena_fini(&arena);
	lt_buf_fini(&json);
}

#define AT(s, ...)                                               \
	(struct how)                                             \
	{                                                        \
		.time_ms = T0 + (int64_t)((s)*1000), __VA_ARGS__ \
	}

static void only_what_rules_select(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "a{mode=\"idle\"}", "sum(b)", NULL);
	event(f, "n1", AT(0), "a{mode=\"idle\"}", 1.0, "a{mode=\"user\"}", 2.0, "b", 3.0, "c", 4.0,
		NULL);
	assert_int_equal(lt_gauge_get(&f->info.series), 0); /* shown at the next sweep */
	lt_as_sweep(f->store, T0);
	assert_int_equal(lt_gauge_get(&f->info.series), 2);
	assert_value(f, 0, T0, 1);
	assert_value(f, 1, T0, 3);
	teardown(f);
}

static void instance_and_job_are_added(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "a{instance=\"n1\",job=\"node\"}", "a{job=\"device\",instance=~\"d.*\"}",
		"b{exported_instance=\"x\",exported_job=\"y\",instance=\"n1\"}",
		"up{instance=\"n1\"}", NULL);
	event(f, "n1", AT(0), "a", 1.0, "b{instance=\"x\",job=\"y\"}", 5.0, NULL);
	event(f, "n2", AT(0), "a", 2.0, NULL);
	event(f, "d1", AT(0, .device = true), "a", 3.0, NULL);
	assert_value(f, 0, T0, 1);
	assert_value(f, 1, T0, 3);
	assert_value(f, 2, T0, 5);
	assert_value(f, 3, T0, 1);
	teardown(f);
}

static void windows_are_exact(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "count_over_time(a[60s])", "rate(a[60s])", "a", NULL);
	for (int i = 0; i <= 300; i++)
		event(f, "n1", AT(i), "a", (double)(i * 2), NULL);
	assert_value(f, 0, T0 + 300000, 61); /* Prometheus 2.42: both ends count */
	assert_value(f, 1, T0 + 300000, 2);
	assert_value(f, 2, T0 + 300000, 600);
	/* What is out of every window is not kept. */
	assert_true(lt_gauge_get(&f->info.samples_bytes) < 20000);
	teardown(f);
}

static void a_short_window_keeps_little(void **state)
{
	struct fixture *f = setup();
	int64_t bytes;

	(void)state;
	rules(f, "a", NULL);
	for (int i = 0; i <= 20; i++)
		event(f, "n1", AT(i), "a", (double)i, NULL);
	lt_as_sweep(f->store, T0 + 20000);
	bytes = lt_gauge_get(&f->info.samples_bytes);
	for (int i = 21; i <= 2000; i++)
		event(f, "n1", AT(i), "a", (double)i, NULL);
	lt_as_sweep(f->store, T0 + 2000000);
	assert_int_equal(lt_gauge_get(&f->info.samples_bytes), bytes);
	assert_value(f, 0, T0 + 2000000, 2000);
	teardown(f);
}

static void a_long_window_is_thinned_out(void **state)
{
	struct fixture *f = setup();
	size_t n;
	double count;

	(void)state;
	rules(f, "count_over_time(a[6h])", "count_over_time(a[1m])", "rate(a[6h])",
		"max_over_time(a[6h])", NULL);
	for (int i = 0; i <= 40000; i++)
		event(f, "n1", AT(i), "a", (double)i, NULL);
	count = eval(f, 0, T0 + 40000000, &n);
	assert_true(count >= 64 && count < 400);
	assert_value(f, 1, T0 + 40000000, 61); /* the short one has all of its samples */
	assert_true(fabs(eval(f, 2, T0 + 40000000, &n) - 1) < 0.02);
	assert_value(f, 3, T0 + 40000000, 40000);
	assert_true(lt_counter_get(&f->info.thinned) > 30000);
	teardown(f);
}

static void too_long_windows_and_fixed_times_are_refused(void **state)
{
	struct fixture *f = setup();
	struct lt_err err;

	(void)state;
	lt_as_begin(f->store);
	assert_int_equal(add(f, parse(f, "rate(a[2d])"), &err), LT_EINVAL);
	assert_non_null(strstr(err.msg, "2d"));
	assert_non_null(strstr(err.msg, "alert.max_window"));
	assert_int_equal(add(f, parse(f, "a @ 1763700000"), &err), LT_EINVAL);
	assert_int_equal(add(f, parse(f, "max_over_time(a[5m:1m] offset 2d)"), &err), LT_EINVAL);
	lt_as_abort(f->store);
	teardown(f);
}

static void missing_from_a_snapshot_is_stale(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "a", "b", "count_over_time(b[1m])", NULL);
	event(f, "n1", AT(0), "a", 1.0, "b", 1.0, NULL);
	event(f, "n1", AT(1), "a", 2.0, NULL);
	assert_value(f, 0, T0 + 1500, 2);
	assert_value(f, 1, T0 + 500, 1);
	assert_none(f, 1, T0 + 1500);
	assert_value(f, 2, T0 + 1500, 1);
	event(f, "n1", AT(2), "a", 3.0, "b", 5.0, NULL); /* and comes back */
	assert_value(f, 1, T0 + 2500, 5);
	assert_value(f, 2, T0 + 2500, 2);
	event(f, "n1", AT(3), "a", 3.0, "b", NAN, NULL); /* no value is no series */
	assert_none(f, 1, T0 + 3500);
	teardown(f);
}

static void partial_events_end_nothing(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "a", "b", NULL);
	event(f, "d1", AT(0, .partial = true, .device = true), "a", 1.0, NULL);
	event(f, "d1", AT(1, .partial = true, .device = true), "b", 2.0, NULL);
	event(f, "d1", AT(2, .partial = true, .device = true), "a", NAN, "b", 3.0, NULL);
	assert_value(f, 0, T0 + 3000, 1);
	assert_value(f, 1, T0 + 3000, 3);
	teardown(f);
}

static void streams_end_only_their_own(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "a", "b", NULL);
	event(f, "n1", AT(0, .interval_ms = 1000), "a", 1.0, NULL);
	event(f, "n1", AT(0.1, .interval_ms = 60000, .stream = "slow"), "b", 2.0, NULL);
	event(f, "n1", AT(1, .interval_ms = 1000), "a", 2.0, NULL);
	assert_value(f, 1, T0 + 2000, 2);
	/* The quick one is silent, the slow one not yet. */
	lt_sources_check(f->sources, T0 + 5000);
	assert_none(f, 0, T0 + 6000);
	assert_value(f, 1, T0 + 4000, 2);
	teardown(f);
}

static void silence_is_down(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "up", "a", "count_over_time(up[1h])", NULL);
	for (int i = 0; i < 5; i++)
		event(f, "n1", AT(i, .interval_ms = 1000), "a", 1.0, NULL);
	lt_sources_check(f->sources, T0 + 7000); /* exactly three intervals */
	assert_value(f, 0, T0 + 7000, 1);
	assert_value(f, 1, T0 + 7000, 1);
	lt_sources_check(f->sources, T0 + 7001);
	assert_value(f, 0, T0 + 7001, 0);
	assert_none(f, 1, T0 + 7001);
	lt_sources_check(f->sources, T0 + 7200); /* not said again before an interval is over */
	lt_sources_check(f->sources, T0 + 8100);
	assert_value(f, 2, T0 + 9000, 7);
	assert_int_equal(lt_gauge_get(&f->sources_info.silent), 1);
	event(f, "n1", AT(9, .interval_ms = 1000), "a", 2.0, NULL);
	assert_value(f, 0, T0 + 9000, 1);
	assert_value(f, 1, T0 + 9000, 2);
	teardown(f);
}

static void down_lasts_and_ends(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "up == 0", NULL);
	event(f, "n1", AT(0, .interval_ms = 1000), "a", 1.0, NULL);
	for (int s = 1; s < 3600; s++) /* far beyond the look-back of five minutes */
		lt_sources_check(f->sources, T0 + s * 1000);
	assert_value(f, 0, T0 + 3599000, 0);
	assert_int_equal(f->told_gone, 0);
	lt_sources_check(f->sources, T0 + 3601000);
	assert_int_equal(f->told_gone, 1);
	assert_none(f, 0, T0 + 3602000);
	teardown(f);
}

static void known_sources_are_down_from_the_start(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "up", NULL);
	lt_sources_known(f->sources, "n9", false, T0 - 100000, 1000);
	lt_sources_check(f->sources, T0);
	assert_value(f, 0, T0, 0);
	teardown(f);
}

static void a_bus_that_was_away_is_no_silence(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "up", NULL);
	event(f, "n1", AT(0, .interval_ms = 1000), "a", 1.0, NULL);
	lt_sources_pause(f->sources, T0 + 60000);
	lt_sources_check(f->sources, T0 + 62000);
	assert_value(f, 0, T0 + 62000, 1);
	lt_sources_check(f->sources, T0 + 63001);
	assert_value(f, 0, T0 + 63001, 0);
	teardown(f);
}

static void old_events_change_nothing(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "a", NULL);
	event(f, "n1", AT(5), "a", 5.0, NULL);
	event(f, "n1", AT(6, .keep_seq = true), "a", 6.0, NULL); /* a duplicate by number */
	assert_value(f, 0, T0 + 7000, 5);
	event(f, "d1", AT(5, .unnumbered = true, .device = true), "b", 5.0, NULL);
	event(f, "d1", AT(4, .unnumbered = true, .device = true), "b", 4.0, NULL);
	assert_int_equal(lt_counter_get(&f->sources_info.old), 2);
	teardown(f);
}

static void a_clock_ahead_counts_as_arrival(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "a", NULL);
	event(f, "n1", AT(3600, .arrived_ms = T0), "a", 1.0, NULL);
	event(f, "n1", AT(3601, .arrived_ms = T0 + 1000), "a", 2.0, NULL);
	assert_value(f, 0, T0 + 500, 1);
	assert_value(f, 0, T0 + 1000, 2);
	assert_int_equal(lt_counter_get(&f->sources_info.ahead), 2);
	teardown(f);
}

static void a_clock_behind_is_found_out(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "count_over_time(a[1m])", NULL);
	for (int i = 0; i < 10; i++)
		event(f, "n1", AT(i - 7200, .arrived_ms = T0 + i * 1000), "a", (double)i, NULL);
	/* Two until it is believed, eight at their arrival. */
	assert_int_equal(lt_counter_get(&f->sources_info.lagging), 2);
	assert_value(f, 0, T0 + 9000, 8);
	teardown(f);
}

static void a_backlog_is_left_out(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "count_over_time(a[1m])", NULL);
	/* Ten minutes of old events within a second: each has another lag. */
	for (int i = 0; i < 200; i++)
		event(f, "n1", AT(-600 + i * 3, .arrived_ms = T0 + i * 5), "a", (double)i, NULL);
	assert_true(lt_counter_get(&f->sources_info.lagging) > 150);
	assert_int_equal(lt_counter_get(&f->sources_info.skewed), 0);
	teardown(f);
}

static void a_clock_set_back_loses_nothing(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "a", "count_over_time(a[1m])", NULL);
	for (int i = 0; i < 5; i++)
		event(f, "n1", AT(i), "a", (double)i, NULL);
	for (int i = 5; i < 10; i++) /* 30 s back */
		event(f, "n1", AT(i - 30, .arrived_ms = T0 + i * 1000), "a", (double)i, NULL);
	assert_value(f, 0, T0 + 9000, 9);
	assert_value(f, 1, T0 + 9000, 10);
	teardown(f);
}

static void our_own_clock_is_set(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "deriv(a[1m])", "up", NULL);
	for (int i = 0; i < 60; i++)
		event(f, "n1", AT(i, .interval_ms = 1000), "a", (double)i, NULL);
	lt_as_shift(f->store, 3600000);
	lt_sources_shift(f->sources, 3600000);
	lt_sources_check(f->sources, T0 + 3600000 + 60000);
	assert_value(f, 1, T0 + 3600000 + 60000, 1);
	assert_value(f, 0, T0 + 3600000 + 59000, 1);
	/* And back: events of now are no older than those before, and who was silent still is. */
	lt_sources_check(f->sources, T0 + 3600000 + 120000);
	assert_value(f, 1, T0 + 3600000 + 120000, 0);
	lt_as_shift(f->store, -7200000);
	lt_sources_shift(f->sources, -7200000);
	for (int i = 130; i < 1000; i += 10) {
		lt_sources_check(f->sources, T0 - 3600000 + i * 1000);
		assert_value(f, 1, T0 - 3600000 + i * 1000, 0);
	}
	for (int i = 1000; i < 1060; i++)
		event(f, "n1", AT(i - 3600, .interval_ms = 1000), "a", (double)i, NULL);
	assert_value(f, 0, T0 - 3600000 + 1059000, 1);
	assert_int_equal(lt_counter_get(&f->sources_info.old), 0);
	teardown(f);
}

static void new_rules_keep_what_they_share(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "count_over_time(a[1m])", "b", NULL);
	for (int i = 0; i < 10; i++)
		event(f, "n1", AT(i), "a", (double)i, "b", 1.0, "c", 7.0, NULL);
	rules(f, "count_over_time(a[2m])", "c", NULL);
	for (int i = 10; i < 15; i++)
		event(f, "n1", AT(i), "a", (double)i, "b", 1.0, "c", 7.0, NULL);
	assert_value(f, 2, T0 + 14000, 15);
	assert_value(f, 3, T0 + 14000, 7);
	lt_as_sweep(f->store, T0 + 15000);
	assert_int_equal(lt_gauge_get(&f->info.series), 2); /* b is gone */
	teardown(f);
}

static void vanished_series_are_freed(void **state)
{
	struct fixture *f = setup();
	char name[64];

	(void)state;
	rules(f, "a", NULL);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "a{pod=\"p%d\"}", i);
		event(f, "n1", AT(i), name, 1.0, NULL);
	}
	lt_as_sweep(f->store, T0 + 500000);
	assert_true(lt_gauge_get(&f->info.series) < 320);
	lt_as_sweep(f->store, T0 + 5000000);
	assert_int_equal(lt_gauge_get(&f->info.series), 1);
	event(f, "n1", AT(5001), "a{pod=\"p499\"}", 4.0, NULL);
	assert_value(f, 0, T0 + 5001000, 4);
	teardown(f);
}

static void one_source_does_not_take_all(void **state)
{
	struct fixture *f = setup();
	char name[64];
	size_t n;

	(void)state;
	rules(f, "a", NULL);
	for (int i = 0; i < 800; i++) {
		snprintf(name, sizeof(name), "a{i=\"%d\"}", i);
		event(f, "evil", AT(i / 100.0, .partial = true), name, 1.0, NULL);
	}
	assert_int_equal(lt_counter_get(&f->sources_info.crowded), 200);
	event(f, "n1", AT(9), "a", 2.0, NULL);
	eval(f, 0, T0 + 9000, &n);
	assert_int_equal(n, 601);
	event(f, "evil", AT(310, .partial = true), "a{i=\"700\"}", 1.0, NULL);
	assert_int_equal(lt_counter_get(&f->sources_info.crowded), 200);
	teardown(f);
}

/* The one series with this text. */
static struct lt_as_series *series(struct fixture *f, const char *text)
{
	const struct lt_labels *l;
	struct lt_as_series *s;

	assert_int_equal(
		lt_promql_parse_metric(f->pool, text, strlen(text), &l, NULL, NULL), LT_OK);
	s = lt_as_series(f->store, l);
	lt_labels_put(f->pool, l);
	assert_non_null(s);
	return s;
}

static void older_samples_find_their_place(void **state)
{
	struct fixture *f = setup();
	struct lt_as_series *s;

	(void)state;
	rules(f, "sum_over_time(a[60s])", "count_over_time(a[60s])", "a offset 30s", NULL);
	s = series(f, "a{instance=\"n1\"}");
	for (int i = 0; i < 40; i += 2)
		assert_true(lt_as_append(f->store, s, T0 + i * 1000, i));
	/* Into the gaps, in any order, twice, and before the first. */
	for (int i = 39; i > 0; i -= 2)
		assert_true(lt_as_insert(f->store, s, T0 + i * 1000, i));
	for (int i = 39; i > 0; i -= 3)
		assert_false(lt_as_insert(f->store, s, T0 + i * 1000, 99));
	for (int i = 1; i <= 10; i++)
		assert_true(lt_as_insert(f->store, s, T0 - i * 1000, -i));
	assert_false(lt_as_insert(f->store, s, T0 - 400000, 99)); /* out of every window */
	assert_value(f, 0, T0 + 39000, 780 - 55);
	assert_value(f, 1, T0 + 39000, 50);
	assert_value(f, 2, T0 + 25500, -5);
	assert_int_equal(lt_as_last_ms(s), T0 + 39000);
	assert_true(lt_as_append(f->store, s, T0 + 40000, 40));
	assert_value(f, 1, T0 + 40000, 51);
	teardown(f);
}

static void a_window_gets_its_beginning_later(void **state)
{
	struct fixture *f = setup();
	enum { N = 600 };
	static int64_t t_ms[N];
	static double v[N];
	struct lt_as_series *s;
	size_t n;

	(void)state;
	rules(f, "count_over_time(a[1h])", "min_over_time(a[1h])", "rate(a[1h])", "a",
		"a{instance=\"gone\"}", NULL);
	s = series(f, "a{instance=\"n1\"}");
	for (int i = 0; i < 60; i++)
		lt_as_append(f->store, s, T0 + i * 1000, 600 + i);
	/* Every 10 s of the 100 minutes before, and a few that are there already. */
	for (int i = 0; i < N; i++) {
		t_ms[i] = T0 + 5000 + (i - N + 1) * INT64_C(10000);
		v[i] = 600 + (double)(i - N) / 10;
	}
	n = lt_as_fill(f->store, s, t_ms, v, N, INT64_MAX, T0 + 60000);
	assert_true(
		n > 350 && n <= 361); /* the hour, and no more than max_points allows for long */
	assert_true(eval(f, 0, T0 + 59000, &n) <= 64 + 60 + 2);
	assert_true(eval(f, 1, T0 + 59000, &n) < 570);
	assert_value(f, 3, T0 + 59000, 659);
	assert_int_equal(lt_as_fill(f->store, s, t_ms, v, N, INT64_MAX, T0 + 60000), 0);
	/* The rest of its life it is like any other. */
	for (int i = 60; i < 4000; i++)
		assert_true(lt_as_append(f->store, s, T0 + i * 1000, 600 + i));
	assert_true(eval(f, 1, T0 + 3999000, &n) >= 600 + 399);
	assert_value(f, 3, T0 + 3999000, 4599);
	/* One that nobody has sent since. */
	s = series(f, "a{instance=\"gone\"}");
	assert_true(lt_as_fill(f->store, s, t_ms, v, N, INT64_MAX, T0) > 300);
	assert_value(f, 4, T0 + 5000, 599.9);
	lt_as_end(f->store, s, lt_as_last_ms(s) + 1);
	assert_none(f, 4, T0 + 60000);
	teardown(f);
}

/* Only what is missing, whatever is there; the other clock is 20 ms ahead. */
static void a_hole_in_the_middle_is_filled(void **state)
{
	struct fixture *f = setup();
	enum { N = 200 };
	int64_t t_ms[N];
	double v[N];
	struct lt_as_series *s;
	size_t bytes;

	(void)state;
	rules(f, "count_over_time(a[10m])", "changes(a[10m])", "resets(a[10m])", "a", NULL);
	s = series(f, "a{instance=\"n1\"}");
	for (int i = 0; i < N; i++) {
		t_ms[i] = T0 + i * 1000 + 20;
		v[i] = i;
		if (i < 50 || i == 77 || i >= 110)
			lt_as_append(f->store, s, T0 + i * 1000, i);
	}
	/* Of what is before the hole nothing counts, whatever it is. */
	v[20] = 1e6;
	t_ms[20] += 300;
	assert_int_equal(
		lt_as_fill(f->store, s, t_ms, v, N, T0 + 40000, T0 + 200000), 110 - 50 - 1);
	assert_value(f, 0, T0 + 199000, N);
	assert_value(f, 1, T0 + 199000, N - 1);
	assert_value(f, 2, T0 + 199000, 0);
	assert_value(f, 3, T0 + 70500, 70);
	assert_value(f, 3, T0 + 199000, 199);
	lt_as_sweep(f->store, T0 + 199000);
	bytes = (size_t)lt_gauge_get(&f->info.samples_bytes);
	assert_int_equal(lt_as_fill(f->store, s, t_ms, v, N, T0 + 40000, T0 + 200000), 0);
	/* Behind the last one, too: its source did not come back. */
	t_ms[0] = T0 + 260000;
	assert_int_equal(lt_as_fill(f->store, s, t_ms, v, 1, T0 + 40000, T0 + 261000), 1);
	assert_value(f, 0, T0 + 261000, N + 1);
	/* All of it older than the window. */
	assert_int_equal(lt_as_fill(f->store, s, t_ms, v, 1, INT64_MIN, T0 + 9000000), 0);
	for (int i = 261; i < 2000; i++)
		assert_true(lt_as_append(f->store, s, T0 + i * 1000, i));
	assert_value(f, 0, T0 + 1999000, 601);
	lt_as_sweep(f->store, T0 + 1999000);
	assert_true((size_t)lt_gauge_get(&f->info.samples_bytes) < 8 * bytes);
	teardown(f);
}

/* Against the plain way: any samples, any hole, before, between and behind. */
static void holes_anywhere(void **state)
{
	enum { SPAN = 400 };
	unsigned seed = 20261121;

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct fixture *f = setup();
		double want[SPAN], v[SPAN];
		int64_t t_ms[SPAN];
		int from = rand_r(&seed) % SPAN, have = rand_r(&seed) % 100, first = -1;
		struct lt_as_series *s;
		size_t n = 0, filled = 0;

		rules(f, "a", "count_over_time(a[10m])", NULL);
		s = series(f, "a{instance=\"n1\"}");
		for (int i = 0; i < SPAN; i++) {
			want[i] = NAN;
			if (rand_r(&seed) % 100 >= have)
				continue;
			want[i] = i;
			first = first < 0 ? i : first;
			lt_as_append(f->store, s, T0 + i * 1000, i);
		}
		for (int i = 0; i < SPAN; i++) {
			if (rand_r(&seed) % 3)
				continue;
			t_ms[n] = T0 + i * 1000;
			v[n++] = 1000 + i;
			if (isnan(want[i]) && (i >= from || first < 0 || i < first)) {
				want[i] = 1000 + i;
				filled++;
			}
		}
		assert_int_equal(
			lt_as_fill(f->store, s, t_ms, v, n, T0 + from * 1000, T0 + SPAN * 1000),
			filled);
		for (int i = 0, count = 0; i < SPAN; i++) {
			count += !isnan(want[i]);
			if (isnan(want[i]))
				continue;
			assert_value(f, 0, T0 + i * 1000, want[i]);
			assert_value(f, 1, T0 + i * 1000, count);
		}
		teardown(f);
	}
}

/* What was published while we were cut off, read from Redis when newer events are here already. */
static void events_that_were_missed_join(void **state)
{
	struct fixture *f = setup();

	(void)state;
	rules(f, "count_over_time(a[5m])", "count_over_time(b[5m])", "a", "b",
		"sum_over_time(up[5m])", NULL);
	event(f, "n1", AT(0), "a", 0.0, "b", 0.0, NULL);
	f->seq = 10;
	event(f, "n1", AT(10), "a", 10.0, "b", 10.0, NULL);
	for (int i = 9; i > 0; i--) {
		f->seq = (uint64_t)i;
		if (i == 5) /* a snapshot of another shape */
			event(f, "n1", AT(i, .keep_seq = true, .fill = true), "a", 5.0, NULL);
		else
			event(f, "n1", AT(i, .keep_seq = true, .fill = true), "a", (double)i, "b",
				(double)i, NULL);
	}
	f->seq = 10;
	event(f, "n1", AT(10, .keep_seq = true, .fill = true), "a", 99.0, "b", 99.0, NULL);
	assert_value(f, 0, T0 + 10000, 11);
	assert_value(f, 1, T0 + 10000, 10);
	assert_value(f, 2, T0 + 10000, 10);
	assert_value(f, 3, T0 + 10000, 10); /* the old shape ends nothing */
	assert_value(f, 4, T0 + 10000, 11);
	f->seq = 10;
	event(f, "n1", AT(11, .fill = true), "a", 11.0, "b", 11.0, NULL);
	event(f, "n1", AT(12), "a", 12.0, "b", 12.0, NULL);
	assert_value(f, 0, T0 + 12000, 13);
	assert_int_equal(lt_counter_get(&f->sources_info.old), 0);
	teardown(f);
}

static void limits_hold(void **state)
{
	struct lt_as_limits few = limits;
	struct fixture *f;
	char name[64];
	size_t n;

	(void)state;
	few.max_series = 50;
	f = setup_limits(&few, 3);
	rules(f, "a", "up", NULL);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "a{i=\"%d\"}", i);
		event(f, "d1", AT(i, .partial = true, .device = true), name, 1.0, NULL);
	}
	eval(f, 0, T0 + 99000, &n);
	assert_int_equal(n, 49); /* up is one */
	assert_int_equal(lt_counter_get(&f->info.refused), 51);
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		event(f, name, AT(200 + i), "a", 1.0, NULL);
	}
	assert_int_equal(lt_gauge_get(&f->sources_info.sources), 3);
	assert_int_equal(lt_counter_get(&f->sources_info.refused), 8);
	teardown(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_rules_select),
		cmocka_unit_test(instance_and_job_are_added),
		cmocka_unit_test(windows_are_exact),
		cmocka_unit_test(a_short_window_keeps_little),
		cmocka_unit_test(a_long_window_is_thinned_out),
		cmocka_unit_test(too_long_windows_and_fixed_times_are_refused),
		cmocka_unit_test(missing_from_a_snapshot_is_stale),
		cmocka_unit_test(partial_events_end_nothing),
		cmocka_unit_test(streams_end_only_their_own),
		cmocka_unit_test(silence_is_down),
		cmocka_unit_test(down_lasts_and_ends),
		cmocka_unit_test(known_sources_are_down_from_the_start),
		cmocka_unit_test(a_bus_that_was_away_is_no_silence),
		cmocka_unit_test(old_events_change_nothing),
		cmocka_unit_test(a_clock_ahead_counts_as_arrival),
		cmocka_unit_test(a_clock_behind_is_found_out),
		cmocka_unit_test(a_backlog_is_left_out),
		cmocka_unit_test(a_clock_set_back_loses_nothing),
		cmocka_unit_test(our_own_clock_is_set),
		cmocka_unit_test(new_rules_keep_what_they_share),
		cmocka_unit_test(vanished_series_are_freed),
		cmocka_unit_test(one_source_does_not_take_all),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(older_samples_find_their_place),
		cmocka_unit_test(a_window_gets_its_beginning_later),
		cmocka_unit_test(a_hole_in_the_middle_is_filled),
		cmocka_unit_test(holes_anywhere),
		cmocka_unit_test(events_that_were_missed_join),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
