/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "latido/event.h"

static const char *const cpu_mode[] = {"cpu", "mode"};

static void fill(struct lt_snapshot *s, double base)
{
	lt_snapshot_begin(s);
	lt_snapshot_value(s, "node_load1", LT_KIND_GAUGE, base);
	lt_snapshot_family(s, "node_cpu_seconds_total", LT_KIND_COUNTER, cpu_mode, 2);
	lt_snapshot_row(s, (const char *const[]){"0", "idle"}, base + 1);
	lt_snapshot_row(s, (const char *const[]){"0", "user"}, base + 2);
	lt_snapshot_family(s, "node_empty", LT_KIND_GAUGE, cpu_mode, 2);
	lt_snapshot_value(s, "node_boot_time_seconds", LT_KIND_GAUGE, NAN);
}

static void builds_series_in_order(void **state)
{
	struct lt_snapshot *s = lt_snapshot_new(100);
	struct lt_event e = {0};
	struct lt_err err;

	(void)state;
	fill(s, 0.5);
	assert_int_equal(lt_snapshot_event(s, &e, &err), LT_OK);
	assert_int_equal(e.n, 4);
	assert_int_equal(e.shape->n_series, 4);
	assert_string_equal(e.shape->series[0].text, "node_load1");
	assert_int_equal(e.shape->series[0].kind, LT_KIND_GAUGE);
	assert_string_equal(
		e.shape->series[1].text, "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}");
	assert_int_equal(e.shape->series[1].kind, LT_KIND_COUNTER);
	assert_string_equal(e.shape->series[2].labels[1].name, "mode");
	assert_string_equal(e.shape->series[2].labels[1].value, "user");
	assert_string_equal(e.shape->series[3].name, "node_boot_time_seconds");
	assert_true(lt_event_value(&e, 0) == 0.5 && lt_event_value(&e, 2) == 2.5);
	assert_true(isnan(lt_event_value(&e, 3)));
	lt_snapshot_free(s);
}

static void same_names_give_the_same_shape(void **state)
{
	struct lt_snapshot *s = lt_snapshot_new(100);
	struct lt_event a = {0}, b = {0};
	struct lt_shape *first;
	struct lt_err err;

	(void)state;
	fill(s, 1);
	assert_int_equal(lt_snapshot_event(s, &a, &err), LT_OK);
	first = a.shape;
	fill(s, 2);
	assert_int_equal(lt_snapshot_event(s, &b, &err), LT_OK);
	assert_ptr_equal(b.shape, first);
	assert_true(lt_event_value(&b, 0) == 2);

	fill(s, 3);
	lt_snapshot_value(s, "node_new", LT_KIND_GAUGE, 3);
	assert_int_equal(lt_snapshot_event(s, &b, &err), LT_OK);
	assert_int_equal(b.n, 5);
	assert_string_equal(b.shape->series[4].text, "node_new");
	lt_snapshot_free(s);
}

/* Two mounts whose names differ only in bytes that no label may have stay two series. */
static void odd_label_values_are_repaired_and_stay_distinct(void **state)
{
	static const char *const mountpoint[] = {"mountpoint"};
	struct lt_snapshot *s = lt_snapshot_new(100);
	struct lt_event e = {0};
	struct lt_err err;
	char a[3000], b[3000];

	(void)state;
	memset(a, 'x', sizeof(a));
	memcpy(a + 1000, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 10);
	a[sizeof(a) - 1] = '\0';
	memcpy(b, a, sizeof(a));
	b[2500] = 'y';
	lt_snapshot_begin(s);
	lt_snapshot_family(s, "node_filesystem_size_bytes", LT_KIND_GAUGE, mountpoint, 1);
	lt_snapshot_row(s, (const char *const[]){"/mnt/\xff"}, 1);
	lt_snapshot_row(s, (const char *const[]){"/mnt/\xfe"}, 2);
	lt_snapshot_row(s, (const char *const[]){a}, 3);
	lt_snapshot_row(s, (const char *const[]){b}, 4);
	lt_snapshot_row(s, (const char *const[]){"/\xe2\x82"}, 5);
	lt_snapshot_row(s, (const char *const[]){""}, 6);
	assert_int_equal(lt_snapshot_event(s, &e, &err), LT_OK);
	assert_int_equal(e.n, 6);
	for (uint32_t i = 0; i < e.n; i++) {
		const struct lt_label *l = &e.shape->series[i].labels[0];

		assert_true(lt_utf8_valid(l->value, l->value_len));
		assert_true(l->value_len <= LT_LABEL_VALUE_MAX);
	}
	assert_memory_equal(e.shape->series[0].labels[0].value, "/mnt/\xef\xbf\xbd~", 9);
	assert_int_equal(strlen(e.shape->series[0].labels[0].value), 8 + 17);
	assert_memory_equal(e.shape->series[4].labels[0].value, "/\xef\xbf\xbd\xef\xbf\xbd~", 8);
	lt_snapshot_free(s);
}

static void wrong_snapshots_are_refused(void **state)
{
	struct lt_snapshot *s = lt_snapshot_new(3);
	struct lt_event e = {0};
	struct lt_err err;

	(void)state;
	lt_snapshot_begin(s);
	assert_int_equal(lt_snapshot_event(s, &e, &err), LT_EDATA);
	assert_non_null(strstr(err.msg, "no series"));

	lt_snapshot_begin(s);
	lt_snapshot_value(s, "a", LT_KIND_GAUGE, 1);
	lt_snapshot_value(s, "a", LT_KIND_GAUGE, 2);
	assert_int_equal(lt_snapshot_event(s, &e, &err), LT_EDATA);
	assert_non_null(strstr(err.msg, "twice the same series"));

	lt_snapshot_begin(s);
	lt_snapshot_family(s, "a", LT_KIND_GAUGE, NULL, 0);
	lt_snapshot_row(s, NULL, 1);
	lt_snapshot_row(s, NULL, 2);
	assert_int_equal(lt_snapshot_event(s, &e, &err), LT_EDATA);

	lt_snapshot_begin(s);
	lt_snapshot_value(s, "not a name", LT_KIND_GAUGE, 1);
	assert_int_equal(lt_snapshot_event(s, &e, &err), LT_EDATA);
	assert_non_null(strstr(err.msg, "not a metric name"));

	lt_snapshot_begin(s);
	fill(s, 1);
	assert_int_equal(lt_snapshot_event(s, &e, &err), LT_EDATA);
	assert_non_null(strstr(err.msg, "limits.max_series"));

	/* and it goes on after that */
	lt_snapshot_begin(s);
	lt_snapshot_value(s, "a", LT_KIND_GAUGE, 7);
	assert_int_equal(lt_snapshot_event(s, &e, &err), LT_OK);
	assert_true(lt_event_value(&e, 0) == 7);
	lt_snapshot_free(s);
}

static void round_trip_on_the_wire(void **state)
{
	struct lt_snapshot *s = lt_snapshot_new(100);
	struct lt_shapes *t = lt_shapes_new(1 << 20, 100);
	struct lt_origin o = {.source = "worker1", .arrived_ns = 99};
	struct lt_event e = {0}, *out;
	struct lt_arena arena = {0};
	struct lt_buf wire = {0}, again = {0};
	enum lt_reason reason;
	uint64_t missing;
	struct lt_err err;

	(void)state;
	fill(s, 0.25);
	assert_int_equal(lt_snapshot_event(s, &e, &err), LT_OK);
	e.source = "worker1";
	e.stream = "slow";
	e.epoch = 1763700000000000;
	e.seq = 17;
	e.oldest_seq = 12;
	e.time_ns = 1763700000250000000;
	e.has_time = true;
	e.interval_ms = 1000;
	e.partial = true;

	/* the hash alone is unknown until the shape was seen */
	lt_encode_protobuf(&e, false, &again);
	assert_int_equal(lt_decode(t, NULL, &o, again.data, again.len, &arena, &out, &reason,
				 &missing, &err),
		LT_ESHAPE);
	assert_int_equal(reason, LT_REASON_UNKNOWN_SHAPE);
	assert_true(missing == e.shape->hash);
	assert_null(out);

	lt_encode_protobuf(&e, true, &wire);
	for (int i = 0; i < 2; i++) {
		struct lt_buf *b = i ? &again : &wire;

		assert_int_equal(lt_decode(t, NULL, &o, b->data, b->len, &arena, &out, &reason,
					 &missing, &err),
			LT_OK);
		assert_string_equal(out->source, "worker1");
		assert_string_equal(out->stream, "slow");
		assert_true(out->epoch == e.epoch && out->seq == 17 && out->oldest_seq == 12);
		assert_true(out->time_ns == e.time_ns && out->has_time && out->partial);
		assert_int_equal(out->interval_ms, 1000);
		assert_int_equal(out->n, 4);
		assert_memory_equal(out->values, e.values, 32);
		assert_true((const char *)out->values > b->data &&
			    (const char *)out->values < b->data + b->len);
		assert_memory_equal(out->shape->bytes, e.shape->bytes, e.shape->size);
		lt_events_release(out);
	}
	lt_buf_fini(&wire);
	lt_buf_fini(&again);
	lt_arena_fini(&arena);
	lt_shapes_free(t);
	lt_snapshot_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(builds_series_in_order),
		cmocka_unit_test(same_names_give_the_same_shape),
		cmocka_unit_test(odd_label_values_are_repaired_and_stay_distinct),
		cmocka_unit_test(wrong_snapshots_are_refused),
		cmocka_unit_test(round_trip_on_the_wire),
	};

	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
