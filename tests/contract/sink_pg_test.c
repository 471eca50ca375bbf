/* SPDX-License-Identifier: MIT */
/* The PostgreSQL sink against a real server: what is stored, once, by one store or by two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above. */
#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/sink/sink_pg.h"
#include "../support/pg_fixture.h"
#include "latido/clock.h"

#define ROWS "SELECT count(*) FROM snapshot"

static void test_rows_as_sent(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	double odd[] = {NAN, -INFINITY};

	pg_event(f, "node1", PG_EPOCH, 1);
	pg_event(f, "node1", PG_EPOCH, 2)->values = (const uint8_t *)odd;
	pg_event(f, "dev:1", PG_EPOCH + 1, 1)->device = true;
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, ROWS), 3);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM source"), 2);
	assert_string_equal(
		pg_cell(f, "SELECT string_agg(name || ' ' || kind, ',' ORDER BY name) FROM source"),
		"dev:1 device,node1 node");
	assert_string_equal(pg_cell(f, "SELECT string_agg(name || labels::text || kind, ',' "
				       "ORDER BY name) FROM series"),
		"test_a{}1,test_b{\"x\": \"1\"}2");
	assert_string_equal(
		pg_cell(f, "SELECT string_agg(seq || vals::text, ' ' ORDER BY seq) FROM snapshot "
			   "JOIN source o ON o.id = source_id WHERE o.name = 'node1'"),
		"1{1,2} 2{NaN,-Infinity}");
	/* NaN is "no value". */
	assert_int_equal(pg_int(f, "SELECT count(*) FROM sample WHERE source = 'node1'"), 3);
	assert_int_equal(
		pg_int(f, "SELECT (extract(epoch FROM time) * 1000000)::bigint FROM snapshot "
			  "JOIN source o ON o.id = source_id WHERE o.name = 'dev:1'"),
		(f->now_ns + LT_NS_PER_MS) / 1000);
	assert_string_equal(pg_cell(f, "SELECT string_agg(upto || above::text, ' ' ORDER BY upto) "
				       "FROM progress"),
		"1{} 2{}");
	pg_sink_free(s);
}

static void test_sizes_of_snapshots(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	struct lt_shape *plain = f->shape;
	/* within a page, barely, toasted, the limit of one event */
	static const size_t sizes[] = {1, 1000, 5000, 100000};
	static char names[100000][12];
	static const char *list[100001];

	for (size_t i = 0; i < LT_ARRAY_LEN(names); i++) {
		snprintf(names[i], sizeof(names[i]), "m%zu", i);
		list[i] = names[i];
	}
	for (size_t k = 0; k < LT_ARRAY_LEN(sizes); k++) {
		size_t n = sizes[k];
		const char *end = list[n];

		list[n] = NULL;
		f->shape = pg_shape(f, list);
		list[n] = end;
		pg_event(f, "node1", PG_EPOCH, (int64_t)n + 1);
		pg_put_ok(f, s);
		lt_shape_put(f->shape);
	}
	f->shape = plain;
	assert_string_equal(
		pg_cell(f, "SELECT string_agg(cardinality(vals)::text, ' ' ORDER BY seq) "
			   "FROM snapshot"),
		"1 1000 5000 100000");
	assert_int_equal(pg_int(f, "SELECT count(*) FROM latido_values('node1', until => "
				   "now() + interval '1 hour')"),
		106001);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM series"), 100000);
	assert_int_equal(
		pg_int(f, "SELECT value::bigint FROM sample WHERE name = 'm99999'"), 100000);
	pg_sink_free(s);
}

static void test_duplicates(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	uint64_t before = lt_counter_get(&lt_pg_stats.duplicates);

	for (int i = 0; i < 3; i++) {
		for (int64_t seq = 1; seq <= 5; seq++) {
			pg_event(f, "node1", PG_EPOCH, seq);
			pg_event(f, "node1", PG_EPOCH, seq); /* in the batch as well */
		}
		pg_put_ok(f, s);
	}
	assert_int_equal(pg_int(f, ROWS), 5);
	assert_int_equal(lt_counter_get(&lt_pg_stats.duplicates) - before, 25);
	pg_sink_free(s);
	/* A new process learns from the table what is there. */
	s = pg_sink_open(f);
	for (int64_t seq = 1; seq <= 6; seq++)
		pg_event(f, "node1", PG_EPOCH, seq);
	pg_event(f, "node1", PG_EPOCH + 1, 1); /* another life */
	pg_event(f, "node2", PG_EPOCH, 1);     /* another source */
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, ROWS), 8);
	pg_sink_free(s);
}

static const char *progress(struct pg_fixture *f)
{
	return pg_cell(f, "SELECT string_agg(upto || above::text, ' ' ORDER BY epoch_id) "
			  "FROM progress");
}

static void test_holes_and_gaps(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);

	for (int64_t seq = 10; seq > 5; seq--) /* out of order */
		pg_event(f, "node1", PG_EPOCH, seq);
	pg_event(f, "node1", PG_EPOCH, 1);
	pg_event(f, "node1", PG_EPOCH, 3);
	pg_put_ok(f, s);
	assert_string_equal(progress(f), "1{[3,4),[6,11)}");
	assert_int_equal(lt_gauge_get(&lt_pg_stats.holes), 2);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM latido_hole"), 2);
	pg_sink_free(s);

	s = pg_sink_open(f);
	pg_event(f, "node1", PG_EPOCH, 7); /* there, by the islands that were loaded */
	pg_event(f, "node1", PG_EPOCH, 2);
	pg_put_ok(f, s);
	assert_string_equal(progress(f), "3{[6,11)}");
	/* The source says that it cannot send 4 again; 5 is in the same batch, behind that. */
	pg_event(f, "node1", PG_EPOCH, 11)->oldest_seq = 6;
	pg_event(f, "node1", PG_EPOCH, 5);
	pg_put_ok(f, s);
	assert_string_equal(progress(f), "11{}");
	assert_string_equal(
		pg_cell(f, "SELECT string_agg(kind || lo || '-' || hi, ',') FROM gap"), "lost4-4");
	assert_int_equal(lt_gauge_get(&lt_pg_stats.holes), 0);
	pg_event(f, "node1", PG_EPOCH, 4); /* given up is given up */
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, ROWS), 10);
	pg_sink_free(s);
}

static void test_too_many_islands(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);

	for (int64_t i = 1; i <= LT_PG_ISLANDS_MAX + 2; i++)
		pg_event(f, "node1", PG_EPOCH, 2 * i);
	pg_put_ok(f, s);
	assert_string_equal(
		pg_cell(f, "SELECT string_agg(kind || lo || '-' || hi, ',' ORDER BY lo) FROM gap"),
		"islands1-1,islands3-3");
	assert_int_equal(pg_int(f, "SELECT upto FROM progress"), 4);
	assert_int_equal(pg_int(f, ROWS), LT_PG_ISLANDS_MAX + 2);
	pg_sink_free(s);
}

static void test_two_stores_in_turn(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *a = pg_sink_open(f), *b = pg_sink_open(f);
	uint64_t before = lt_counter_get(&lt_pg_stats.conflicts);

	/* Each believes to know the progress, and is wrong every time. */
	for (int64_t seq = 1; seq <= 20; seq++) {
		pg_event(f, "node1", PG_EPOCH, seq);
		pg_event(f, "node1", PG_EPOCH, 100 + 2 * seq);
		pg_put_ok(f, seq % 2 ? a : b);
		pg_event(f, "node1", PG_EPOCH, seq);
		pg_event(f, "node1", PG_EPOCH, 100 + 2 * seq);
		pg_put_ok(f, seq % 2 ? b : a);
	}
	assert_int_equal(pg_int(f, ROWS), 40);
	assert_int_equal(pg_int(f, "SELECT count(DISTINCT seq) FROM snapshot"), 40);
	assert_true(lt_counter_get(&lt_pg_stats.conflicts) > before);
	pg_sink_free(a);
	pg_sink_free(b);
}

struct racer {
	struct pg_fixture *f;
	struct lt_sink *sink;
	struct lt_event *events[2000];
	int rc;
	struct lt_err err;
};

#define RACE_EVENTS  2000
#define RACE_BATCH   25
#define RACE_RETRIES 100

static void *race(void *arg)
{
	struct racer *r = arg;

	for (size_t at = 0; at < RACE_EVENTS; at += RACE_BATCH) {
		struct lt_batch b = {r->events + at, RACE_BATCH};
		size_t bad;

		for (int i = 0; i < RACE_RETRIES; i++) { /* as the runtime does */
			r->rc = r->sink->ops->put(r->sink, &b, &bad, &r->err);
			if (r->rc == LT_OK || r->err.cls != LT_CLS_RETRY)
				break;
			r->rc = r->sink->ops->open(r->sink, &r->err);
		}
		if (r->rc != LT_OK)
			break;
	}
	return NULL;
}

/* Two stores receive the same events, each in its own order, at the same time. */
static void test_two_stores_at_once(void **state)
{
	struct pg_fixture *f = *state;
	struct racer racers[2] = {{.f = f}, {.f = f}};
	pthread_t threads[2];
	unsigned rng = 1;
	char source[16];

	for (int64_t i = 0; i < RACE_EVENTS; i++) {
		snprintf(source, sizeof(source), "node%d", (int)(i % 8));
		/* Every eighth source sends unnumbered events with a time. */
		if (i % 8 == 7)
			pg_event(f, source, 0, 0)->time_ns = f->now_ns + i * LT_NS_PER_MS;
		else
			pg_event(f, source, PG_EPOCH, 1 + i / 8);
	}
	for (int k = 0; k < 2; k++) {
		struct lt_shape *shape;

		memcpy(racers[k].events, f->events, sizeof(racers[k].events));
		for (size_t i = 0; i < RACE_EVENTS; i++) { /* neighbours change places */
			size_t j = i + (rng = rng * 1664525u + 1013904223u) % 20;

			if (j < RACE_EVENTS) {
				struct lt_event *t = racers[k].events[i];

				racers[k].events[i] = racers[k].events[j];
				racers[k].events[j] = t;
			}
		}
		/* Each process has its own table of shapes. */
		shape = lt_calloc(1, sizeof(*shape));
		*shape = *f->shape;
		shape->user = NULL;
		for (size_t i = 0; i < RACE_EVENTS; i++) {
			struct lt_event *e = lt_arena_dup(
				&f->arena, racers[k].events[i], sizeof(struct lt_event));

			e->shape = shape;
			racers[k].events[i] = e;
		}
		racers[k].sink = pg_sink_open(f);
	}
	for (int k = 0; k < 2; k++)
		assert_int_equal(pthread_create(&threads[k], NULL, race, &racers[k]), 0);
	for (int k = 0; k < 2; k++)
		pthread_join(threads[k], NULL);
	for (int k = 0; k < 2; k++) {
		struct lt_shape *shape = racers[k].events[0]->shape;

		if (racers[k].rc)
			fail_msg("%s: %s", racers[k].err.op, racers[k].err.msg);
		pg_sink_free(racers[k].sink);
		shape->user_free(shape->user);
		free(shape);
	}
	assert_int_equal(pg_int(f, ROWS), RACE_EVENTS);
	assert_int_equal(
		pg_int(f, "SELECT count(*) FROM (SELECT DISTINCT source_id, epoch_id, seq, "
			  "time FROM snapshot) d"),
		RACE_EVENTS);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM shape"), 1);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM progress p JOIN epoch e ON e.id = "
				   "p.epoch_id WHERE e.epoch <> 0 AND (upto <> 250 OR NOT "
				   "isempty(above))"),
		0);
}

static void test_unnumbered(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *a = pg_sink_open(f), *b = pg_sink_open(f);
	static const char *const others[] = {"test_c", NULL};
	struct lt_shape *plain = f->shape, *other = pg_shape(f, others);

	for (int i = 0; i < 3; i++) {
		pg_event(f, "dev1", 0, 0); /* with a time: once */
		pg_event(f, "dev1", 0, 0);
		pg_event(f, "dev2", 0, 0);
		pg_event(f, "dev1", 0, 0)->time_ns += LT_NS_PER_S;
		pg_event(f, "dev1", 0, 0)->time_ns = f->now_ns - 10 * 86400 * LT_NS_PER_S;
		f->shape = other;
		pg_event(f, "dev1", 0, 0);
		f->shape = plain;
		pg_put_ok(f, i % 2 ? b : a);
	}
	assert_int_equal(pg_int(f, ROWS), 4);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM snapshot_stray"), 1);
	for (int i = 0; i < 3; i++) {
		pg_event(f, "dev3", 0, 0)->has_time = false; /* without: each */
		pg_put_ok(f, a);
	}
	assert_int_equal(pg_int(f, ROWS), 7);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM progress WHERE upto <> 0"), 0);
	lt_shape_put(other);
	pg_sink_free(a);
	pg_sink_free(b);
}

static void test_poison(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	struct lt_err err;
	size_t bad = 99;

	pg_sql(f, "ALTER TABLE snapshot ADD CONSTRAINT unlucky CHECK (seq NOT IN (13, 77))");
	pg_sql(f, "ALTER TABLE snapshot_stray ADD CONSTRAINT unlucky CHECK (seq <> 50)");
	for (int64_t seq = 1; seq <= 100; seq++)
		pg_event(f, "node1", PG_EPOCH, seq);
	f->events[49]->time_ns = 0; /* a stray */
	for (size_t want = 0; want < 3; want++) {
		static const uint64_t seqs[] = {13, 50, 77};

		assert_int_equal(pg_put(f, s, &bad, &err), LT_EDATA);
		assert_int_equal(err.cls, LT_CLS_POISON);
		assert_non_null(strstr(err.msg, "unlucky"));
		assert_int_equal(f->events[bad]->seq, seqs[want]);
		assert_int_equal(pg_int(f, ROWS), 0);
		memmove(f->events + bad, f->events + bad + 1, (--f->n - bad) * sizeof(*f->events));
	}
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, ROWS), 97);
	assert_string_equal(progress(f), "12{[14,50),[51,77),[78,101)}");
	/* A name that is refused is found as well. */
	pg_sql(f, "ALTER TABLE source ADD CONSTRAINT nobody CHECK (name <> 'nobody')");
	pg_event(f, "node2", PG_EPOCH, 1);
	pg_event(f, "nobody", PG_EPOCH, 1);
	assert_int_equal(pg_put(f, s, &bad, &err), LT_EDATA);
	assert_int_equal(bad, 1);
	f->n = 1;
	pg_put_ok(f, s);
	/* And a shape. */
	pg_sql(f, "ALTER TABLE series ADD CONSTRAINT nameless CHECK (name <> 'nameless')");
	f->n = 0;
	pg_event(f, "node2", PG_EPOCH, 2);
	lt_shape_put(f->shape);
	f->shape = pg_shape(f, (const char *const[]){"nameless", NULL});
	pg_event(f, "node2", PG_EPOCH, 3);
	assert_int_equal(pg_put(f, s, &bad, &err), LT_EDATA);
	assert_int_equal(bad, 1);
	/* What no event explains blocks, and says so: it is not the events' fault. */
	pg_sql(f, "ALTER TABLE progress ADD CONSTRAINT stuck CHECK (upto <> 2)");
	f->n = 0;
	lt_shape_put(f->shape);
	f->shape = pg_shape(f, (const char *const[]){"test_a", NULL});
	pg_event(f, "node2", PG_EPOCH, 2);
	assert_int_equal(pg_put(f, s, &bad, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	assert_non_null(strstr(err.msg, "stuck"));
	pg_sink_free(s);
}

static void test_hostile_labels(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	char names[LT_LABELS_MAX][8];
	const char *keys[LT_LABELS_MAX], *values[LT_LABELS_MAX];
	char *long_value = lt_malloc(LT_LABEL_VALUE_MAX + 1);
	struct lt_event e = {0};
	struct lt_err err;

	memset(long_value, 'v', LT_LABEL_VALUE_MAX);
	long_value[LT_LABEL_VALUE_MAX] = '\0';
	for (size_t i = 0; i < LT_LABELS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "k%02zu", i);
		keys[i] = names[i];
		values[i] = long_value;
	}
	lt_snapshot_begin(f->builder);
	lt_snapshot_family(f->builder, "large", LT_KIND_GAUGE, keys, LT_LABELS_MAX);
	lt_snapshot_row(f->builder, values, 1);
	lt_snapshot_family(f->builder, "odd", LT_KIND_GAUGE, keys, 2);
	lt_snapshot_row(f->builder,
		(const char *const[]){"\"\\\n\t\x01{},", "\xc3\xa9\xf0\x9f\x92\x93"}, 2);
	lt_snapshot_row(f->builder, (const char *const[]){"", "'; DROP TABLE snapshot; --"}, 3);
	assert_int_equal(lt_snapshot_event(f->builder, &e, &err), LT_OK);
	lt_shape_put(f->shape);
	f->shape = lt_shapes_intern(f->shapes, e.shape->bytes, e.shape->size, &err);
	assert_non_null(f->shape);
	pg_event(f, "node1", PG_EPOCH, 1);
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM series"), 3);
	assert_int_equal(
		pg_int(f, "SELECT length(labels->>'k31') FROM series WHERE name = 'large'"),
		LT_LABEL_VALUE_MAX);
	assert_int_equal(
		pg_int(f, "SELECT count(*) FROM sample WHERE name = 'odd' AND value = 2 AND "
			  "labels->>'k00' = E'\"\\\\\\n\\t\\x01{},' AND "
			  "labels->>'k01' = U&'\\00e9\\+01F493'"),
		1);
	free(long_value);
	pg_sink_free(s);
}

static void test_find_shape(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	struct lt_buf bytes = {0};
	struct lt_err err;

	assert_int_equal(s->ops->find_shape(s, f->shape->hash, &bytes, &err), LT_EAGAIN);
	pg_event(f, "node1", PG_EPOCH, 1);
	pg_put_ok(f, s);
	assert_int_equal(s->ops->find_shape(s, f->shape->hash, &bytes, &err), LT_OK);
	assert_int_equal(bytes.len, f->shape->size);
	assert_memory_equal(bytes.data, f->shape->bytes, bytes.len);
	/* A forged collision: nobody can tell which of the two was announced. */
	pg_sql(f, "INSERT INTO shape (sha256, hash, n, bytes) SELECT sha256('x'), hash, 0, 'x' "
		  "FROM shape");
	assert_int_equal(s->ops->find_shape(s, f->shape->hash, &bytes, &err), LT_EAGAIN);
	lt_buf_fini(&bytes);
	pg_sink_free(s);
}

/* A shape that was dropped as unused is made again, under a new id. */
static void test_dropped_shape(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	struct lt_err err;
	int64_t id;

	pg_event(f, "node1", PG_EPOCH, 1);
	pg_put_ok(f, s);
	id = pg_int(f, "SELECT id FROM shape");
	pg_sql(f, "UPDATE shape SET last_used = current_date - 30");
	assert_int_equal(pg_int(f, "SELECT latido_drop_shapes('40 days')"), 0);
	/* A store that comes back marks it as used. */
	assert_int_equal(s->ops->open(s, &err), LT_OK);
	pg_event(f, "node1", PG_EPOCH, 2);
	pg_put_ok(f, s);
	assert_int_equal(pg_int(f, "SELECT latido_drop_shapes('9 days')"), 0);
	pg_sql(f, "UPDATE shape SET last_used = current_date - 30");
	assert_int_equal(pg_int(f, "SELECT latido_drop_shapes('9 days')"), 1);
	assert_int_equal(s->ops->open(s, &err), LT_OK);
	pg_event(f, "node1", PG_EPOCH, 3);
	pg_put_ok(f, s);
	assert_true(pg_int(f, "SELECT id FROM shape") > id);
	assert_int_equal(pg_int(f, "SELECT count(*) FROM sample WHERE name = 'test_a'"), 1);
	pg_sink_free(s);
}

static void test_last_seen(void **state)
{
	struct pg_fixture *f = *state;
	struct lt_sink *s = pg_sink_open(f);
	struct lt_err err;

	pg_event(f, "node1", PG_EPOCH, 1);
	pg_put_ok(f, s);
	assert_int_equal(s->ops->flush(s, &err), LT_OK);
	assert_int_equal(pg_int(f, "SELECT (extract(epoch FROM last_seen) * 1000000)::bigint "
				   "FROM source"),
		f->now_ns / 1000);
	pg_sink_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rows_as_sent, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_sizes_of_snapshots, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_duplicates, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_holes_and_gaps, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_too_many_islands, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_two_stores_in_turn, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_two_stores_at_once, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_unnumbered, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_poison, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_hostile_labels, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_find_shape, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_dropped_shape, pg_setup, pg_teardown),
		cmocka_unit_test_setup_teardown(test_last_seen, pg_setup, pg_teardown),
	};

	return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
