/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../lib/alert/engine.h"
#include "latido/clock.h"
#include "latido/log.h"

/*
 * The engine of latido-alert in simulated time, without Redis and PostgreSQL: what outages of the bus
 * and a clock that is set do to windows and alerts. The backfill is the one below, which answers what
 * a test wants.
 */

#define T0     INT64_C(1763700000000) /* ms; a full hour is 400 s later */
#define MIN_MS INT64_C(60000)

static struct {
	struct lt_backfill_job *job;
	struct lt_backfill_chunk *chunk;
	size_t asked, given_up;
	bool done;
} fake;

struct lt_backfill *lt_backfill_start(
	const struct lt_config *conf, struct lt_backfill_info *info, struct lt_err *err)
{
	(void)conf;
	(void)info;
	(void)err;
	return (struct lt_backfill *)&fake;
}

void lt_backfill_stop(struct lt_backfill *b)
{
	(void)b;
	lt_backfill_job_free(fake.job);
	lt_backfill_chunk_free(fake.chunk);
	fake.job = NULL;
	fake.chunk = NULL;
}

void lt_backfill_ask(struct lt_backfill *b, struct lt_backfill_job *job)
{
	lt_backfill_stop(b);
	fake.job = job;
	fake.asked += job != NULL;
	fake.given_up += job == NULL;
	fake.done = false;
}

struct lt_backfill_chunk *lt_backfill_take(struct lt_backfill *b)
{
	struct lt_backfill_chunk *c = fake.chunk;

	(void)b;
	fake.chunk = NULL;
	return c;
}

bool lt_backfill_done(struct lt_backfill *b)
{
	(void)b;
	return fake.done && !fake.chunk;
}

/* ---- a site ---- */

struct fixture {
	struct lt_engine_info info;
	struct lt_engine *engine;
	struct lt_conf *conf;
	struct lt_shapes *shapes;
	const char *source; /* whose events are sent */
	char rules[32];
	int64_t now_ms;  /* wall clock */
	int64_t mono_ms; /* monotonic clock */
	uint64_t seq;
};

static void set_clock(const struct fixture *f)
{
	lt_clock_fake(true, f->mono_ms * LT_NS_PER_MS, f->now_ms * LT_NS_PER_MS);
}

/* Time passes. */
static void pass(struct fixture *f, int64_t ms)
{
	f->now_ms += ms;
	f->mono_ms += ms;
	set_clock(f);
}

/* The clock is set. */
static void leap(struct fixture *f, int64_t ms)
{
	f->now_ms += ms;
	set_clock(f);
}

static void run(struct fixture *f, int64_t ms)
{
	for (; ms > 0; ms -= 500) {
		pass(f, 500);
		lt_engine_tick(f->engine);
	}
}

static void event_of(struct fixture *f, int64_t ago_ms, double temp)
{
	const struct lt_decode_limits limits = {1 << 20, 1000};
	struct lt_origin origin = {.arrived_ns = f->now_ms * LT_NS_PER_MS};
	struct lt_event *e = NULL;
	struct lt_arena arena = {0};
	struct lt_buf json = {0};
	enum lt_reason reason;
	uint64_t hash;

	lt_buf_printf(&json,
		"{\"source\":\"%s\",\"ts\":%lld,\"interval_ms\":10000,\"epoch\":7,\"seq\":%llu,"
		"\"metrics\":{\"temp\":%g,\"ticks\":%llu}}",
		f->source, (long long)(f->now_ms - ago_ms), (unsigned long long)f->seq + 1, temp,
		(unsigned long long)f->seq + 1);
	f->seq++;
	strcpy(origin.source, f->source);
	assert_int_equal(lt_decode(f->shapes, &limits, &origin, json.data, json.len, &arena, &e,
				 &reason, &hash, NULL),
		LT_OK);
	lt_engine_events(f->engine, &e, 1);
	lt_events_release(e);
	lt_arena_fini(&arena);
	lt_buf_fini(&json);
}

static void event(struct fixture *f, double temp)
{
	event_of(f, 0, temp);
}

/* The source sends every 10 s. */
static void send_for(struct fixture *f, int64_t ms, double temp)
{
	for (; ms > 0; ms -= 10000) {
		event(f, temp);
		run(f, 10000);
	}
}

static struct fixture *setup(const char *rules)
{
	struct fixture *f = lt_calloc(1, sizeof(*f));
	struct lt_buf text = {0}, report = {0};
	struct lt_err err;
	int fd;

	memset(&fake, 0, sizeof(fake));
	f->source = "n1";
	lt_log_set_level(LT_ERROR);
	strcpy(f->rules, "/tmp/alert-engine-XXXXXX");
	fd = mkstemp(f->rules);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, rules, strlen(rules)), strlen(rules));
	close(fd);
	lt_buf_printf(&text,
		"redis: {url: \"redis://127.0.0.1:1/0\"}\n"
		"alert: {rules: [\"%s\"], history: false, publish: false, restore_timeout: 0}\n",
		f->rules);
	f->conf = lt_conf_load_text(&lt_config_schema, "t", text.data, text.len, &report);
	if (!f->conf)
		fail_msg("%s", report.data);
	f->now_ms = f->mono_ms = T0;
	set_clock(f);
	f->engine = lt_engine_new(lt_conf_root(f->conf), &f->info, &report, &err);
	if (!f->engine)
		fail_msg("%s %s", err.msg, report.data);
	lt_buf_fini(&text);
	lt_buf_fini(&report);
	f->shapes = lt_shapes_new(1 << 20, 1000);
	assert_int_equal(lt_engine_open(f->engine, &err), LT_OK);
	lt_engine_bus(f->engine, true, true);
	run(f, 5000);
	return f;
}

static void teardown(struct fixture *f)
{
	lt_clock_fake(false, 0, 0);
	lt_engine_free(f->engine);
	lt_shapes_free(f->shapes);
	lt_conf_free(f->conf);
	unlink(f->rules);
	free(f);
}

static void cut(struct fixture *f, int64_t ms)
{
	lt_engine_bus(f->engine, false, false);
	run(f, 1000);
	pass(f, ms - 1000);
	lt_engine_bus(f->engine, true, true);
	run(f, 500);
}

#define COLD(f)    lt_gauge_get(&(f)->info.rules_cold)
#define FIRING(f)  lt_gauge_get(&(f)->info.firing)
#define PENDING(f) lt_gauge_get(&(f)->info.pending)

/* PostgreSQL has a sample each minute of [from, to). */
static void answer(int64_t from_ms, int64_t to_ms, double v)
{
	size_t n = (size_t)((to_ms - from_ms + MIN_MS - 1) / MIN_MS);
	struct lt_backfill_chunk *c = lt_calloc(1, sizeof(*c));
	struct lt_backfill_series *s = lt_arena_alloc(&c->arena, sizeof(*s));
	struct lt_label_text *l = lt_arena_alloc(&c->arena, 3 * sizeof(*l));

	l[0] = (struct lt_label_text){"__name__", "temp", 8, 4};
	l[1] = (struct lt_label_text){"instance", "n1", 8, 2};
	l[2] = (struct lt_label_text){"job", "node", 3, 4};
	*s = (struct lt_backfill_series){.labels = l, .n_labels = 3, .n = n};
	s->t_ms = lt_arena_alloc(&c->arena, n * sizeof(*s->t_ms));
	s->v = lt_arena_alloc(&c->arena, n * sizeof(*s->v));
	for (size_t i = 0; i < n; i++) {
		s->t_ms[i] = from_ms + (int64_t)i * MIN_MS;
		s->v[i] = v;
	}
	c->series = s;
	c->n = 1;
	fake.chunk = c;
}

/* What a start lacks is there. */
static void settle(struct fixture *f)
{
	assert_int_equal(fake.asked, 1);
	fake.done = true;
	run(f, 2000);
	assert_int_equal(COLD(f), 0);
}

static const char long_rules[] = "groups:\n"
				 "- name: g\n"
				 "  interval: 5s\n"
				 "  rules:\n"
				 "  - {alert: Hot, expr: 'max_over_time(temp[30m]) > 50'}\n"
				 "  - {alert: Many, expr: 'count_over_time(temp[2h]) > 1e6'}\n"
				 "  - {alert: Now, expr: 'temp > 50'}\n";

/* ---- outages of the bus ---- */

static void hole_of_40_minutes(double was, int64_t firing)
{
	struct fixture *f = setup(long_rules);
	int64_t cut_ms, back_ms, heard_ms;

	settle(f);
	send_for(f, 5 * MIN_MS, 100);
	assert_int_equal(FIRING(f), 2);
	cut_ms = f->now_ms;
	cut(f, 40 * MIN_MS);
	back_ms = f->now_ms;
	assert_int_equal(COLD(f), 2);
	/* Nothing is asked before the source is back; until then nothing that needs the past ends. */
	run(f, 15000);
	assert_int_equal(fake.asked, 1);
	assert_int_equal(FIRING(f), 1);
	heard_ms = f->now_ms;
	f->seq += 240;
	event(f, 10);
	run(f, 15000);
	assert_int_equal(fake.asked, 2);
	assert_int_equal(fake.job->n_exprs, 2);
	assert_int_equal(fake.job->n_sources, 1);
	assert_int_equal(fake.job->sources[0].epoch, 7);
	assert_int_equal(fake.job->sources[0].seq, 271); /* the newest that was heard */
	assert_int_equal(fake.job->sources[0].until_ms, heard_ms);
	assert_true(fake.job->from_ms <= cut_ms - 10000);
	assert_true(fake.job->from_ms >= cut_ms - 2 * MIN_MS);
	assert_true(fake.job->until_ms >= back_ms - 1000 && fake.job->until_ms <= back_ms);
	assert_int_equal(COLD(f), 2);
	assert_int_equal(FIRING(f), 1);
	answer(cut_ms - 10000, heard_ms, was);
	run(f, 20000);
	assert_int_equal(lt_counter_get(&f->info.backfill.samples), 40);
	assert_int_equal(COLD(f), 2);
	assert_int_equal(FIRING(f), 1);
	fake.done = true;
	run(f, 20000);
	assert_int_equal(COLD(f), 0);
	assert_int_equal(FIRING(f), firing);
	assert_int_equal(fake.asked, 2);
	teardown(f);
}

static void a_long_outage_is_filled(void **state)
{
	(void)state;
	hole_of_40_minutes(60, 1);
}

static void what_was_filled_decides(void **state)
{
	(void)state;
	hole_of_40_minutes(40, 0);
}

static void a_short_cut_leaves_no_hole(void **state)
{
	struct fixture *f = setup(long_rules);

	(void)state;
	settle(f);
	send_for(f, MIN_MS, 10);
	event(f, 10);
	cut(f, 8000);
	event(f, 10);
	run(f, 20000);
	assert_int_equal(COLD(f), 0);
	assert_int_equal(fake.asked, 1);
	teardown(f);
}

static void a_small_hole_is_filled_and_holds_nothing(void **state)
{
	struct fixture *f = setup(long_rules);

	(void)state;
	settle(f);
	send_for(f, 5 * MIN_MS, 100);
	cut(f, MIN_MS);
	assert_int_equal(COLD(f), 0);
	event(f, 10);
	run(f, 5000);
	assert_int_equal(fake.asked, 2);
	assert_int_equal(fake.job->n_exprs, 2);
	assert_int_equal(COLD(f), 0);
	teardown(f);
}

static void a_source_that_does_not_come_back_is_not_awaited(void **state)
{
	struct fixture *f = setup(long_rules);

	(void)state;
	settle(f);
	send_for(f, 5 * MIN_MS, 100);
	f->source = "n2";
	event(f, 10);
	cut(f, 40 * MIN_MS);
	run(f, 15000);
	event(f, 10);
	run(f, 10000);
	assert_int_equal(fake.asked, 1);
	event(f, 10);
	run(f, 10000); /* n1 is silent for three of its intervals */
	assert_int_equal(fake.asked, 2);
	assert_int_equal(fake.job->n_sources, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct lt_backfill_source *s = &fake.job->sources[i];

		assert_int_equal(s->seq, strcmp(s->name, "n1") ? 33 : 0);
		assert_true(strcmp(s->name, "n1") || s->until_ms == fake.job->until_ms);
	}
	fake.done = true;
	send_for(f, 20000, 10);
	assert_int_equal(COLD(f), 0);
	assert_int_equal(FIRING(f), 0);
	teardown(f);
}

/* Connected, but nobody is there: Kafka's connection stands before its broker does. */
static void a_bus_that_only_seems_to_be_back(void **state)
{
	struct fixture *f = setup(long_rules);
	int64_t cut_ms;

	(void)state;
	settle(f);
	send_for(f, 5 * MIN_MS, 100);
	cut_ms = f->now_ms;
	cut(f, 20000);
	run(f, 2 * MIN_MS);
	cut(f, 5 * MIN_MS);
	run(f, 3 * MIN_MS); /* connected all the time */
	assert_int_equal(fake.asked, 1);
	event(f, 10);
	run(f, 5000);
	assert_int_equal(fake.asked, 2);
	assert_true(fake.job->from_ms <= cut_ms - 10000);
	assert_int_equal(fake.job->sources[0].until_ms, f->now_ms - 5000);
	teardown(f);
}

static void the_next_outage_widens_the_hole(void **state)
{
	struct fixture *f = setup(long_rules);
	int64_t from_ms;

	(void)state;
	settle(f);
	send_for(f, 5 * MIN_MS, 100);
	cut(f, 20 * MIN_MS);
	event(f, 10);
	run(f, 5000);
	assert_int_equal(fake.asked, 2);
	from_ms = fake.job->from_ms;
	send_for(f, MIN_MS, 10);
	cut(f, 20 * MIN_MS);
	assert_int_equal(fake.given_up, 1);
	event(f, 10);
	run(f, 5000);
	assert_int_equal(fake.asked, 3);
	assert_int_equal(fake.job->from_ms, from_ms);
	fake.done = true;
	run(f, 20000);
	assert_int_equal(COLD(f), 0);
	/* What is whole is forgotten. */
	send_for(f, MIN_MS, 10);
	from_ms = f->now_ms;
	cut(f, 20 * MIN_MS);
	event(f, 10);
	run(f, 5000);
	assert_int_equal(fake.asked, 4);
	assert_true(fake.job->from_ms >= from_ms - 2 * MIN_MS);
	teardown(f);
}

/* The outage happens while the start's windows are still being filled. */
static void an_outage_during_the_start(void **state)
{
	struct fixture *f = setup(long_rules);

	(void)state;
	assert_int_equal(fake.asked, 1);
	send_for(f, MIN_MS, 100);
	assert_int_equal(COLD(f), 2);
	cut(f, 20 * MIN_MS);
	run(f, 5000);
	assert_int_equal(fake.asked, 2); /* the beginnings at once */
	assert_int_equal(fake.job->from_ms, 0);
	event(f, 10);
	run(f, 5000);
	assert_int_equal(fake.asked, 3); /* and with the hole, when the source is there */
	assert_int_equal(fake.job->from_ms, 0);
	assert_true(fake.job->sources[0].until_ms > T0 + 20 * MIN_MS);
	fake.done = true;
	run(f, 20000);
	assert_int_equal(COLD(f), 0);
	teardown(f);
}

/* What no database has is held until time has filled its window. */
static void what_is_made_here_waits_for_time(void **state)
{
	struct fixture *f = setup("groups:\n"
				  "- name: g\n"
				  "  interval: 5s\n"
				  "  rules:\n"
				  "  - {alert: Flaps, expr: 'changes(up[30m]) > 100'}\n"
				  "  - {alert: Was, expr: 'max_over_time(up[30m]) > 0'}\n");

	(void)state;
	run(f, 31 * MIN_MS);
	send_for(f, 5 * MIN_MS, 1);
	assert_int_equal(COLD(f), 0);
	assert_int_equal(FIRING(f), 1);
	cut(f, 40 * MIN_MS);
	run(f, 29 * MIN_MS); /* the source does not come back: up is 0 */
	assert_int_equal(COLD(f), 2);
	assert_int_equal(FIRING(f), 1);
	run(f, 2 * MIN_MS);
	assert_int_equal(COLD(f), 0);
	assert_int_equal(FIRING(f), 0);
	teardown(f);
}

/* What nobody could see does not count for `for`. */
static void an_outage_does_not_count_for_for(void **state)
{
	struct fixture *f = setup("groups:\n"
				  "- name: g\n"
				  "  rules:\n"
				  "  - {alert: Hot, expr: 'temp > 50', for: 5m}\n");

	(void)state;
	send_for(f, 3 * MIN_MS, 60);
	assert_int_equal(PENDING(f), 1);
	cut(f, 4 * MIN_MS);
	for (int i = 0; i < 11; i++) {
		assert_int_equal(PENDING(f), 1);
		assert_int_equal(FIRING(f), 0);
		send_for(f, 10000, 60);
	}
	send_for(f, 20000, 60);
	assert_int_equal(FIRING(f), 1);
	teardown(f);
}

/* ---- events that come late ---- */

/* It counts from the next evaluation on, with its own time; nothing is evaluated again. */
static void a_late_event_counts_from_then_on(void **state)
{
	struct fixture *f =
		setup("groups:\n"
		      "- name: g\n"
		      "  rules:\n"
		      "  - {alert: Hot, expr: 'max_over_time(temp[20s]) > 50', for: 2s}\n");
	uint64_t evaluations;

	(void)state;
	send_for(f, 30000, 10);
	evaluations = lt_counter_get(&f->info.rules.evaluations);
	event_of(f, 5000, 60);
	assert_int_equal(lt_counter_get(&f->info.sources.late), 1);
	assert_int_equal(PENDING(f), 0);
	run(f, 1000);
	assert_int_equal(lt_counter_get(&f->info.rules.evaluations), evaluations + 1);
	assert_int_equal(PENDING(f), 1);
	run(f, 2500);
	assert_int_equal(FIRING(f), 1);
	/* More than alert.max_lag late: it is a backlog's, and no other's business. */
	event_of(f, 90000, 70);
	assert_int_equal(lt_counter_get(&f->info.sources.lagging), 1);
	/* Its window is that of its own time. */
	run(f, 10000);
	assert_int_equal(FIRING(f), 1);
	run(f, 3000);
	assert_int_equal(FIRING(f), 0);
	teardown(f);
}

/* ---- a clock that is set ---- */

static const char clock_rules[] = "groups:\n"
				  "- name: g\n"
				  "  rules:\n"
				  "  - {alert: Down, expr: 'up == 0'}\n"
				  "  - {alert: Slow, expr: 'rate(ticks[2m]) < 0.07'}\n"
				  "  - {alert: Fast, expr: 'rate(ticks[2m]) > 0.13'}\n"
				  "  - {alert: Hot, expr: 'temp > 50', for: 5m}\n"
				  "  - {alert: Warm, expr: 'temp > 30'}\n";

/* Jumped-over time does not count, and what is kept moves along: no series ends, no rate changes. */
static void the_clock_is_set_forward(void **state)
{
	struct fixture *f = setup(clock_rules);

	(void)state;
	send_for(f, 5 * MIN_MS, 40);
	assert_int_equal(FIRING(f), 1);
	send_for(f, 2 * MIN_MS, 60);
	assert_int_equal(PENDING(f), 1);
	leap(f, 60 * MIN_MS);
	run(f, 2000);
	assert_int_equal(lt_counter_get(&f->info.clock_jumps), 1);
	assert_int_equal(FIRING(f), 1);
	assert_int_equal(PENDING(f), 1);
	for (int i = 0; i < 17; i++) { /* almost three minutes */
		send_for(f, 10000, 60);
		assert_int_equal(FIRING(f), 1);
		assert_int_equal(PENDING(f), 1);
	}
	send_for(f, 30000, 60);
	assert_int_equal(FIRING(f), 2);
	assert_int_equal(PENDING(f), 0);
	teardown(f);
}

/* Evaluation goes on at once, although the instants were there before; `for` takes longer. */
static void the_clock_is_set_back(void **state)
{
	struct fixture *f = setup(clock_rules);
	uint64_t evaluations;

	(void)state;
	send_for(f, 5 * MIN_MS, 40);
	send_for(f, 2 * MIN_MS, 60);
	assert_int_equal(PENDING(f), 1);
	evaluations = lt_counter_get(&f->info.rules.evaluations);
	leap(f, -10 * MIN_MS);
	run(f, 10000);
	assert_true(lt_counter_get(&f->info.rules.evaluations) >= evaluations + 5 * 9);
	assert_int_equal(FIRING(f), 1);
	assert_int_equal(PENDING(f), 1);
	send_for(f, 11 * MIN_MS, 60);
	assert_int_equal(FIRING(f), 1);
	assert_int_equal(PENDING(f), 1);
	send_for(f, 3 * MIN_MS, 60);
	assert_int_equal(FIRING(f), 2);
	send_for(f, 20000, 10);
	assert_int_equal(FIRING(f), 0);
	assert_int_equal(PENDING(f), 0);
	teardown(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_long_outage_is_filled),
		cmocka_unit_test(what_was_filled_decides),
		cmocka_unit_test(a_short_cut_leaves_no_hole),
		cmocka_unit_test(a_small_hole_is_filled_and_holds_nothing),
		cmocka_unit_test(a_source_that_does_not_come_back_is_not_awaited),
		cmocka_unit_test(a_bus_that_only_seems_to_be_back),
		cmocka_unit_test(the_next_outage_widens_the_hole),
		cmocka_unit_test(an_outage_during_the_start),
		cmocka_unit_test(what_is_made_here_waits_for_time),
		cmocka_unit_test(an_outage_does_not_count_for_for),
		cmocka_unit_test(a_late_event_counts_from_then_on),
		cmocka_unit_test(the_clock_is_set_forward),
		cmocka_unit_test(the_clock_is_set_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
