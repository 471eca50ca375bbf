/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../lib/alert/engine_int.h"
#include "latido/clock.h"
#include "latido/log.h"

/*
 * When the engine evaluates, in simulated time: the grid, and looks in between. There is no Redis: it
 * leads from the first tick on. Groups are evaluated at T0 + 100, T0 + 1100, ...
 */

#define T0 INT64_C(1763700000000) /* ms */

struct fixture {
	struct lt_engine *engine;
	struct lt_engine_info info;
	struct lt_conf *conf;
	struct lt_shapes *shapes;
	struct lt_buf log; /* what came out, in order */
	int64_t at_ms;     /* since T0 */
	int64_t cost_ms;   /* of an alert that fires */
	int64_t set_ms;    /* the wall clock was set by so much */
	uint64_t seq;
	char rules[64];
};

static void clock_at(struct fixture *f, int64_t at_ms)
{
	f->at_ms = at_ms;
	lt_clock_fake(true, LT_NS_PER_S * 1000 + at_ms * LT_NS_PER_MS,
		(T0 + f->set_ms + at_ms) * LT_NS_PER_MS);
}

static bool on_append(void *ctx, const struct lt_labels *l, int64_t t_ms, double v)
{
	struct fixture *f = ctx;

	if (!strcmp(lt_labels_value(f->engine->pool, l, "__name__"), "recorded"))
		lt_buf_printf(&f->log, "recorded %g +%lld\n", v, (long long)(t_ms - T0));
	else if (t_ms % 1000 != 100)
		lt_buf_printf(&f->log, "a sample off the grid +%lld\n", (long long)(t_ms - T0));
	return engine_append(f->engine, l, t_ms, v);
}

static void on_event(void *ctx, const struct lt_alert *a, enum lt_alert_event e, int64_t t_ms)
{
	struct fixture *f = ctx;

	lt_buf_printf(&f->log, "%s %s %s +%lld\n", lt_alert_event_name(e), a->rule_name,
		lt_labels_value(f->engine->pool, a->labels, "instance"), (long long)(t_ms - T0));
	engine_event(f->engine, a, e, t_ms);
	if (f->cost_ms)
		clock_at(f, f->at_ms + f->cost_ms);
}

static void on_send(void *ctx, const struct lt_alert *a, int64_t t_ms)
{
	struct fixture *f = ctx;

	lt_buf_printf(&f->log, "send %s%s +%lld\n", a->rule_name,
		a->state == LT_ALERT_INACTIVE ? " ended" : "", (long long)(t_ms - T0));
	engine_send(f->engine, a, t_ms);
}

/* Return: ms until it wants to be called again. */
static int64_t tick(struct fixture *f, int64_t at_ms)
{
	clock_at(f, at_ms);
	return lt_engine_tick(f->engine) / LT_NS_PER_MS;
}

static struct fixture *setup(const char *rules, const char *more)
{
	struct fixture *f = lt_calloc(1, sizeof(*f));
	struct lt_buf text = {0}, report = {0};
	struct lt_err err;
	int fd;

	strcpy(f->rules, "/tmp/alert-engine-test-XXXXXX");
	fd = mkstemp(f->rules);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, rules, strlen(rules)), strlen(rules));
	close(fd);
	lt_log_set_level(LT_ERROR);
	lt_buf_printf(&text,
		"redis: {url: \"redis://127.0.0.1:1/0\"}\n"
		"alert: {rules: [\"%s\"], history: false, publish: false, backfill: false,\n"
		"        restore_timeout: 0%s}\n",
		f->rules, more);
	f->conf = lt_conf_load_text(&lt_config_schema, "test", text.data, text.len, &report);
	if (!f->conf)
		fail_msg("%s", report.data);
	clock_at(f, -900);
	f->engine = lt_engine_new(lt_conf_root(f->conf), &f->info, &report, &err);
	if (!f->engine)
		fail_msg("%s\n%s", err.msg, report.data);
	f->engine->sink = (struct lt_rules_sink){f, on_append, on_event, on_send};
	f->shapes = lt_shapes_new(1 << 20, 1000);
	lt_buf_fini(&text);
	lt_buf_fini(&report);
	lt_engine_bus(f->engine, true, true);
	lt_buf_str(&f->log, "");
	tick(f, -800);
	tick(f, 100);
	lt_buf_reset(&f->log);
	lt_buf_str(&f->log, "");
	return f;
}

static void teardown(struct fixture *f)
{
	lt_clock_fake(false, 0, 0);
	lt_engine_free(f->engine);
	lt_shapes_free(f->shapes);
	lt_conf_free(f->conf);
	lt_buf_fini(&f->log);
	unlink(f->rules);
	free(f);
}

/* An event of a source with x, taken over, and a tick; it has waited since it arrived. */
static int64_t late_event(
	struct fixture *f, int64_t at_ms, int64_t arrived_ms, const char *source, double x)
{
	const struct lt_decode_limits limits = {1 << 20, 1000};
	struct lt_origin origin = {.arrived_ns = (T0 + f->set_ms + arrived_ms) * LT_NS_PER_MS};
	struct lt_arena arena = {0};
	struct lt_buf json = {0};
	struct lt_event *e = NULL;
	enum lt_reason reason;
	struct lt_err err;
	uint64_t hash;

	clock_at(f, at_ms);
	lt_buf_printf(&json,
		"{\"source\":\"%s\",\"ts\":%lld,\"interval_ms\":60000,\"epoch\":1,"
		"\"seq\":%llu,\"metrics\":{\"x\":%g}}",
		source, (long long)(T0 + f->set_ms + arrived_ms), (unsigned long long)++f->seq, x);
	strcpy(origin.source, source);
	assert_int_equal(lt_decode(f->shapes, &limits, &origin, json.data, json.len, &arena, &e,
				 &reason, &hash, &err),
		LT_OK);
	lt_engine_events(f->engine, &e, 1);
	lt_events_release(e);
	lt_arena_fini(&arena);
	lt_buf_fini(&json);
	return tick(f, at_ms);
}

static int64_t event(struct fixture *f, int64_t at_ms, const char *source, double x)
{
	return late_event(f, at_ms, at_ms, source, x);
}

static uint64_t looks(struct fixture *f)
{
	return lt_counter_get(&f->info.looks);
}

#define expect(f, text)                                   \
	do {                                              \
		assert_string_equal((f)->log.data, text); \
		lt_buf_reset(&(f)->log);                  \
		lt_buf_str(&(f)->log, "");                \
	} while (0)

#define GROUP(rules) "groups: [{name: g, rules: [" rules "]}]\n"

static void an_alert_does_not_wait_for_the_grid(void **state)
{
	struct fixture *f = setup(GROUP("{record: recorded, expr: 'x'},"
					"{alert: Now, expr: 'x > 5'},"
					"{alert: Sum, expr: 'sum by (instance) (x) > 5'},"
					"{alert: For, expr: 'x > 5', for: 1s},"
					"{alert: Read, expr: 'recorded > 1000'}"),
		"");

	(void)state;
	event(f, 400, "a", 9);
	expect(f, "firing Now a +400\nsend Now +400\nfiring Sum a +400\nsend Sum +400\n");
	/* What is recorded, `for` and what fires already are the grid's. */
	tick(f, 1100);
	expect(f, "recorded 9 +1100\npending For a +1100\n");
	tick(f, 2099);
	expect(f, "");
	tick(f, 2100);
	expect(f, "recorded 9 +2100\nfiring For a +2100\nsend For +2100\n");
	/* So are ends. */
	event(f, 2400, "a", 1);
	expect(f, "");
	tick(f, 3100);
	expect(f, "recorded 1 +3100\nresolved Now a +3100\nsend Now ended +3100\n"
		  "resolved Sum a +3100\nsend Sum ended +3100\n"
		  "resolved For a +3100\nsend For ended +3100\n");
	/* It lived through an evaluation: it may come again at once. */
	event(f, 3400, "a", 9);
	expect(f, "firing Now a +3400\nsend Now +3400\nfiring Sum a +3400\nsend Sum +3400\n");
	teardown(f);
}

static void thresholds_are_looked_at_when_crossed(void **state)
{
	struct fixture *f = setup(GROUP("{alert: Now, expr: '5 < (x)', labels: {s: a}},"
					"{alert: Two, expr: 'x{instance=\"b\"} >= 2 + 5'}"),
		"");
	uint64_t before;

	(void)state;
	event(f, 200, "a", 5);
	event(f, 300, "b", 5);
	assert_int_equal(looks(f), 0);
	event(f, 400, "a", 6);
	expect(f, "firing Now a +400\nsend Now +400\n");
	assert_int_equal(looks(f), 1);
	/* It is beyond, whatever comes. */
	event(f, 600, "a", 5.5);
	assert_int_equal(looks(f), 1);
	event(f, 700, "b", 7);
	expect(f, "firing Now b +700\nsend Now +700\nfiring Two b +700\nsend Two +700\n");
	assert_int_equal(looks(f), 3);
	/* Crossed just after a look: at the next one. */
	assert_in_range(event(f, 730, "c", 8), 69, 70);
	expect(f, "");
	tick(f, 800);
	expect(f, "firing Now c +800\nsend Now +800\n");
	/* The grid's next instant is near. */
	event(f, 1050, "d", 8);
	expect(f, "");
	tick(f, 1100);
	expect(f, "firing Now d +1100\nsend Now +1100\n");
	/* What the grid has seen is not looked at. */
	before = looks(f);
	event(f, 1300, "d", 8);
	assert_int_equal(looks(f), before);
	teardown(f);
}

/* An evaluation that comes late has not seen what came behind its instant. */
static void what_an_evaluation_could_not_see_is_looked_at(void **state)
{
	struct fixture *f = setup(GROUP("{alert: Now, expr: 'x > 5'},"
					"{alert: Sum, expr: 'sum by (instance) (x) > 5'}"),
		"");

	(void)state;
	event(f, 1150, "a", 9);
	expect(f, "firing Now a +1150\nsend Now +1150\nfiring Sum a +1150\nsend Sum +1150\n");
	/* What it has seen is not looked at again. */
	event(f, 2050, "b", 9);
	tick(f, 2100);
	expect(f, "firing Now b +2100\nsend Now +2100\nfiring Sum b +2100\nsend Sum +2100\n");
	assert_int_equal(looks(f), 2);
	tick(f, 2400);
	assert_int_equal(looks(f), 2);
	teardown(f);
}

/* What evaluations write is as old as the last one; on the grid none of these is ever true. */
static void what_evaluations_write_is_not_compared_in_between(void **state)
{
	struct fixture *f = setup(GROUP("{record: recorded, expr: 'x * 2'},"
					"{alert: Now, expr: 'x > 5'},"
					"{alert: More, expr: 'x > recorded'},"
					"{alert: Any, expr: 'x > {__name__=\"recorded\"}'},"
					"{alert: Alone, expr: 'x > 5 unless on (instance) "
					"ALERTS{alertname=\"Now\"}'}"),
		"");

	(void)state;
	event(f, 400, "a", 1);
	tick(f, 1100);
	expect(f, "recorded 2 +1100\n");
	event(f, 1400, "a", 9);
	expect(f, "firing Now a +1400\nsend Now +1400\n");
	tick(f, 2100);
	expect(f, "recorded 18 +2100\n");
	teardown(f);
}

static void silence_is_an_event(void **state)
{
	struct fixture *f = setup(GROUP("{alert: Down, expr: 'up == 0'}"), "");

	(void)state;
	event(f, 400, "a", 1); /* every minute */
	for (int64_t at_ms = 1100; at_ms <= 180100; at_ms += 1000)
		tick(f, at_ms);
	expect(f, "");
	tick(f, 180450);
	expect(f, "firing Down a +180450\nsend Down +180450\n");
	teardown(f);
}

static void what_is_spent_is_left_to_the_grid(void **state)
{
	struct fixture *f = setup(GROUP("{alert: Now, expr: 'x > 5'},"
					"{alert: Sum, expr: 'sum by (instance) (x) > 5'}"),
		"");

	(void)state;
	f->engine->looks.paid_mono_ns = f->engine->looks.all[1].paid_mono_ns =
		lt_mono_ns() + LT_NS_PER_S;
	assert_in_range(event(f, 400, "a", 9), 1, 700);
	assert_int_equal(looks(f), 0);
	tick(f, 1100);
	expect(f, "firing Now a +1100\nsend Now +1100\nfiring Sum a +1100\nsend Sum +1100\n");
	event(f, 1400, "b", 9);
	expect(f, "firing Now b +1400\nsend Now +1400\nfiring Sum b +1400\nsend Sum +1400\n");
	teardown(f);
}

/* A threshold that is crossed all the time leaves the others their turn. */
static void nobody_is_left_to_the_grid_for_another(void **state)
{
	struct fixture *f = setup(GROUP("{alert: Often, expr: 'x > 5'},"
					"{alert: Other, expr: 'x > 6'},"
					"{alert: Sum, expr: 'sum by (instance) (x) > 99'}"),
		"");

	(void)state;
	f->engine->looks.paid_mono_ns = lt_mono_ns() + 300 * LT_NS_PER_MS;
	event(f, 200, "a", 9);
	f->cost_ms = 5;
	tick(f, 410);
	expect(f, "firing Often a +410\nsend Often +410\n");
	event(f, 500, "b", 9);
	expect(f, "");
	tick(f, 700);
	expect(f, "firing Other a +700\nsend Other +700\nfiring Other b +700\nsend Other +700\n");
	teardown(f);
}

static void what_the_grid_does_not_confirm_rests(void **state)
{
	struct fixture *f = setup(GROUP("{alert: Now, expr: 'x > 5'}"), "");

	(void)state;
	event(f, 400, "a", 9);
	event(f, 600, "a", 1);
	expect(f, "firing Now a +400\nsend Now +400\n");
	tick(f, 1100);
	expect(f, "resolved Now a +1100\nsend Now ended +1100\n");
	event(f, 1400, "a", 9);
	event(f, 1600, "a", 1);
	tick(f, 2100);
	expect(f, "");
	/* Another one does not, and on the grid nothing rests. */
	event(f, 2300, "b", 9);
	event(f, 2400, "a", 9);
	expect(f, "firing Now b +2300\nsend Now +2300\n");
	tick(f, 3100);
	expect(f, "firing Now a +3100\nsend Now +3100\n");
	teardown(f);
}

static void whoever_wants_less_gets_the_grid(void **state)
{
	static const char slow[] =
		"groups: [{name: g, interval: 10s, rules: [{alert: Now, expr: 'x > 5'}]}]\n";
	struct fixture *f = setup(GROUP("{alert: Now, expr: 'x > 5'}"), ", delay: 50ms");

	(void)state;
	event(f, 400, "a", 9);
	tick(f, 1149);
	expect(f, "");
	tick(f, 1150);
	expect(f, "firing Now a +1100\nsend Now +1100\n");
	teardown(f);
	f = setup(slow, "");
	event(f, 400, "a", 9);
	assert_int_equal(looks(f), 0);
	teardown(f);
	/* Nobody hears of what a follower finds. */
	f = setup(GROUP("{alert: Now, expr: 'x > 5'}"), "");
	f->engine->role = LT_ROLE_FOLLOW;
	event(f, 400, "a", 9);
	assert_int_equal(looks(f), 0);
	teardown(f);
}

static void evaluations_leave_time_for_events(void **state)
{
	struct fixture *f =
		setup(GROUP("{record: recorded, expr: 'x'}, {alert: A, expr: 'recorded > 9'}"), "");

	(void)state;
	event(f, 400, "a", 1);
	/* Not a second behind: what came due is evaluated, one after the other. */
	late_event(f, 3000, 2200, "a", 2);
	expect(f, "recorded 1 +1100\nrecorded 1 +2100\n");
	assert_int_equal(lt_counter_get(&f->info.missed), 0);
	/* More: the newest instant that can be known. */
	late_event(f, 7300, 5200, "a", 3);
	expect(f, "recorded 2 +5100\n");
	assert_int_equal(lt_counter_get(&f->info.missed), 2);
	/* As long as that took, events come first; in simulated time it took nothing. */
	f->engine->rest_mono_ns = lt_mono_ns() + 900 * LT_NS_PER_MS;
	assert_int_equal(late_event(f, 8100, 6200, "a", 4), 100);
	expect(f, "");
	late_event(f, 8200, 6300, "a", 5);
	expect(f, "recorded 3 +6100\n");
	/* It has caught up. */
	f->engine->rest_mono_ns = INT64_MAX;
	event(f, 9000, "a", 6);
	expect(f, "recorded 5 +7100\nrecorded 5 +8100\n");
	teardown(f);
}

/* Alertmanager takes what is not sent again for ended. */
static void alerts_are_sent_while_the_bus_is_away(void **state)
{
	struct fixture *f = setup(GROUP("{alert: Now, expr: 'x > 5'}"), ", grace: 10s");

	(void)state;
	event(f, 400, "a", 9);
	expect(f, "firing Now a +400\nsend Now +400\n");
	lt_engine_bus(f->engine, false, false);
	for (int64_t at_ms = 1000; at_ms <= 150000; at_ms += 200)
		tick(f, at_ms);
	expect(f, "send Now +60600\nsend Now +120800\n");
	lt_engine_bus(f->engine, true, true);
	event(f, 151000, "a", 1);
	for (int64_t at_ms = 151100; at_ms <= 161100; at_ms += 1000)
		tick(f, at_ms);
	expect(f, "resolved Now a +161100\nsend Now ended +161100\n");
	teardown(f);
}

/* What was told at a time that is yet to come now is resolved at once, and that is told. */
static void the_clock_is_set_back(void **state)
{
	struct fixture *f = setup(GROUP("{alert: Now, expr: 'x > 5'},"
					"{alert: Kept, expr: 'x > 5', keep_firing_for: 2s}"),
		"");

	(void)state;
	event(f, 400, "a", 9);
	expect(f, "firing Now a +400\nsend Now +400\nfiring Kept a +400\nsend Kept +400\n");
	event(f, 1050, "a", 1);
	tick(f, 1100);
	expect(f, "resolved Now a +1100\nsend Now ended +1100\n");
	f->set_ms = -3600000;
	tick(f, 2000);
	expect(f, "");
	tick(f, 3100);
	expect(f, "");
	tick(f, 4100);
	expect(f, "resolved Kept a +-3595900\nsend Kept ended +-3595900\n");
	event(f, 64400, "a", 9);
	expect(f, "send Now ended +-3535900\n" /* once more, as always */
		  "firing Now a +-3535600\nsend Now +-3535600\nfiring Kept a +-3535600\nsend Kept "
		  "+-3535600\n");
	teardown(f);
}

static void new_rules_are_looked_at(void **state)
{
	static const char fresh[] =
		GROUP("{alert: Now, expr: 'x > 50'}, {alert: Old, expr: 'x > 5'}");
	struct fixture *f = setup(GROUP("{alert: Old, expr: 'x > 5'}"), "");
	FILE *file;

	(void)state;
	event(f, 400, "a", 9);
	expect(f, "firing Old a +400\nsend Old +400\n");
	file = fopen(f->rules, "we");
	assert_non_null(file);
	fputs(fresh, file);
	fclose(file);
	lt_engine_reload(f->engine, &((const struct lt_config *)lt_conf_root(f->conf))->alert);
	tick(f, 500);
	expect(f, "");
	event(f, 700, "a", 90);
	expect(f, "firing Now a +700\nsend Now +700\n");
	teardown(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_alert_does_not_wait_for_the_grid),
		cmocka_unit_test(thresholds_are_looked_at_when_crossed),
		cmocka_unit_test(what_an_evaluation_could_not_see_is_looked_at),
		cmocka_unit_test(what_evaluations_write_is_not_compared_in_between),
		cmocka_unit_test(silence_is_an_event),
		cmocka_unit_test(what_is_spent_is_left_to_the_grid),
		cmocka_unit_test(nobody_is_left_to_the_grid_for_another),
		cmocka_unit_test(what_the_grid_does_not_confirm_rests),
		cmocka_unit_test(whoever_wants_less_gets_the_grid),
		cmocka_unit_test(evaluations_leave_time_for_events),
		cmocka_unit_test(alerts_are_sent_while_the_bus_is_away),
		cmocka_unit_test(the_clock_is_set_back),
		cmocka_unit_test(new_rules_are_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
