/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/core/ready.h"
#include "../support/fake_sink.h"
#include "latido/bus_mem.h"
#include "latido/clock.h"
#include "latido/consumer.h"
#include "latido/daemon.h"
#include "latido/log.h"
#include "latido/stats.h"

/* The runtime on the in-memory bus with a scripted sink. */

#define DEADLINE_S 60

/* ---- the world around one test ---- */

static struct {
	struct lt_loop loop;
	struct lt_conf *conf;
	struct lt_config *c;
	struct lt_bus *publisher;
	struct lt_consumer *consumer;
	struct lt_snapshot *snap;
	struct lt_timer poll;
	bool (*until)(void);
	int64_t deadline_ns;
	bool drained, complete;
	struct lt_err failure;
	struct lt_buf letters; /* bodies of the dead letters, a line each */
	size_t n_letters;
} w;

static void on_letters(void *arg)
{
	struct lt_bus_msg *m;

	(void)arg;
	while (w.publisher && lt_bus_poll(w.publisher, &m, 1) == 1) {
		lt_buf_add(&w.letters, m->data, m->size);
		lt_buf_char(&w.letters, '\n');
		w.n_letters++;
		lt_bus_done(w.publisher, m);
	}
}

static void on_poll(void *arg)
{
	(void)arg;
	if (w.until() || lt_mono_ns() > w.deadline_ns)
		lt_loop_stop(&w.loop);
	else
		lt_timer_start_ns(&w.poll, LT_NS_PER_MS);
}

/* Runs the loop until @cond holds; the deadline is only there so that a failure ends. */
static void run_until(bool (*cond)(void))
{
	w.until = cond;
	w.deadline_ns = lt_mono_ns() + DEADLINE_S * LT_NS_PER_S;
	lt_timer_start_ns(&w.poll, 0);
	lt_loop_run(&w.loop);
	assert_true(cond());
}

static void on_failed(void *arg, const struct lt_err *err)
{
	(void)arg;
	w.failure = *err;
}

static void on_drained(void *arg, bool complete)
{
	(void)arg;
	w.drained = true;
	w.complete = complete;
}

static bool publisher_up(void)
{
	struct lt_err err;

	return lt_bus_publish(w.publisher,
		       &(struct lt_bus_out){.topic = "up", .data = "", .at_most_once = true},
		       &err) == LT_OK;
}

static bool consumer_up(void)
{
	struct lt_buf out = {0};
	bool up;

	lt_stats_render(&out); /* touches every gauge on the way */
	lt_buf_fini(&out);
	pthread_mutex_lock(&fake_sink.mutex);
	up = fake_sink.opens > 0;
	pthread_mutex_unlock(&fake_sink.mutex);
	return up;
}

static void start_consumer(void)
{
	struct lt_consumer_options opt = {.comp = "test",
		.conf = w.c,
		.batch = &w.c->hot.batch,
		.drain_timeout_ms = w.c->hot.drain_timeout_ms,
		.sink = &fake_sink_ops,
		.failed = on_failed,
		.drained = on_drained};
	struct lt_err err = {0};

	w.consumer = lt_consumer_new(&opt, &w.loop, &err);
	assert_non_null(w.consumer);
	assert_int_equal(lt_consumer_start(w.consumer, &err), LT_OK);
	run_until(consumer_up);
}

static int setup(void **state)
{
	static const char *const letters[] = {"latido/v1/deadletter/test", "ack/+"};
	static unsigned hub;
	char url[64];
	const char *overrides[] = {
		url, "hot.batch.max_events=100", "hot.batch.linger=0", "hot.drain_timeout=5s"};
	struct lt_buf errors = {0};
	struct lt_err err = {0};

	(void)state;
	memset(&w, 0, sizeof(w));
	fake_sink_reset();
	lt_log_setup("test", LT_ERROR, LT_LOG_LOGFMT);
	snprintf(url, sizeof(url), "bus.url=mem://consumer%u", hub++);
	w.conf = lt_conf_load(
		&lt_config_schema, NULL, 0, NULL, overrides, LT_ARRAY_LEN(overrides), &errors);
	if (!w.conf)
		fail_msg("%s", errors.data);
	lt_buf_fini(&errors);
	w.c = lt_conf_root(w.conf);
	assert_int_equal(lt_loop_init(&w.loop, &err), LT_OK);
	lt_timer_init(&w.poll, &w.loop, on_poll, NULL);
	w.publisher = lt_bus_new(&w.c->bus,
		&(struct lt_bus_options){.comp = "publisher", .topics = letters, .n_topics = 2},
		&(struct lt_bus_handler){.readable = on_letters}, &w.loop, &err);
	assert_non_null(w.publisher);
	assert_int_equal(lt_bus_open(w.publisher, &err), LT_OK);
	run_until(publisher_up);
	w.snap = lt_snapshot_new(1000);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lt_consumer_free(w.consumer);
	lt_bus_free(w.publisher);
	lt_snapshot_free(w.snap);
	lt_timer_fini(&w.poll);
	lt_loop_fini(&w.loop);
	lt_conf_free(w.conf);
	lt_buf_fini(&w.letters);
	lt_buf_fini(&fake_sink.shape);
	lt_stats_clear();
	return 0;
}

static struct lt_bus_out pending;
static bool taken;

/* The bus took the pending message; tries once more when it has not. */
static bool published(void)
{
	struct lt_err err = {0};
	int rc;

	if (taken)
		return true;
	rc = lt_bus_publish(w.publisher, &pending, &err);
	if (rc != LT_OK && rc != LT_EFULL)
		fail_msg("publish: %s", err.msg);
	taken = rc == LT_OK;
	return taken;
}

static void publish(const char *topic, const void *data, size_t size)
{
	pending = (struct lt_bus_out){.topic = topic, .data = data, .size = size};
	taken = false;
	if (!published())
		run_until(published);
}

/* One event of source n1 with one value, its shape inline or by hash. */
static void publish_event(uint64_t seq, bool inline_shape)
{
	struct lt_event e = {.source = "n1",
		.stream = "",
		.epoch = 1000,
		.seq = seq,
		.oldest_seq = 1,
		.time_ns = 1795237200250000000,
		.interval_ms = 1000};
	struct lt_buf out = {0};
	struct lt_err err = {0};

	lt_snapshot_begin(w.snap);
	lt_snapshot_value(w.snap, "a", LT_KIND_GAUGE, (double)seq);
	assert_int_equal(lt_snapshot_event(w.snap, &e, &err), LT_OK);
	lt_encode_protobuf(&e, inline_shape, &out);
	publish("latido/v1/nodes/n1/metrics", out.data, out.len);
	lt_buf_fini(&out);
}

static size_t want_seen, want_letters;
static bool seen_enough(void)
{
	bool yes;

	pthread_mutex_lock(&fake_sink.mutex);
	yes = fake_sink.n >= want_seen && w.n_letters >= want_letters;
	pthread_mutex_unlock(&fake_sink.mutex);
	return yes;
}

static void run_until_seen(size_t events, size_t letters)
{
	want_seen = events;
	want_letters = letters;
	run_until(seen_enough);
	assert_int_equal(fake_sink.n, events);
	assert_int_equal(w.n_letters, letters);
}

static bool is_drained(void)
{
	return w.drained;
}

static bool sink_blocked(void)
{
	bool yes;

	pthread_mutex_lock(&fake_sink.mutex);
	yes = fake_sink.blocked;
	pthread_mutex_unlock(&fake_sink.mutex);
	return yes;
}

static bool is_unready(void)
{
	return !lt_ready_all();
}

/* ---- tests ---- */

static void events_arrive_once_and_in_order(void **state)
{
	(void)state;
	start_consumer();
	for (uint64_t i = 1; i <= 3000; i++)
		publish_event(i, true);
	run_until_seen(3000, 0);
	for (size_t i = 0; i < 3000; i++)
		assert_int_equal(fake_sink.seqs[i], i + 1);
	assert_true(fake_sink.largest <= 100);
}

static void dead_letters_wait_for_permission(void **state)
{
	const char *hub = w.c->bus.url + strlen("mem://");

	(void)state;
	start_consumer();
	run_until(lt_ready_all);
	lt_bus_mem_refuse_publish(hub, "latido/v1/deadletter/#", LT_EAUTH);
	for (int i = 0; i < 3; i++)
		publish("latido/v1/nodes/n1/metrics", "\x0a\xffjunk", 6);
	publish_event(1, true);
	run_until(is_unready);
	run_until_seen(1, 0);
	lt_bus_mem_refuse_publish(hub, NULL, 0);
	run_until_seen(1, 3);
	run_until(lt_ready_all);
}

static void failed_batches_are_put_again_as_a_whole(void **state)
{
	(void)state;
	fake_sink.fail_opens = 2;
	fake_sink.fail_puts = 3;
	start_consumer();
	for (uint64_t i = 1; i <= 250; i++)
		publish_event(i, true);
	run_until_seen(250, 0);
	for (size_t i = 0; i < 250; i++)
		assert_int_equal(fake_sink.seqs[i], i + 1);
	assert_true(fake_sink.opens >= 6); /* a failed put opens again */
}

static void configuration_errors_end_it(void **state)
{
	(void)state;
	fake_sink.fail_opens = 1;
	fake_sink.open_class = LT_CLS_CONFIG;
	start_consumer();
	publish_event(1, true);
	while (w.failure.code == 0)
		run_until(consumer_up);
	assert_int_equal(w.failure.cls, LT_CLS_CONFIG);
	assert_string_equal(w.failure.msg, "no server");
	assert_int_equal(fake_sink.n, 0);
}

static void poison_becomes_a_dead_letter_and_the_rest_goes_on(void **state)
{
	(void)state;
	fake_sink.poison_seq = 7;
	start_consumer();
	for (uint64_t i = 1; i <= 20; i++)
		publish_event(i, true);
	run_until_seen(19, 1);
	for (size_t i = 0; i < 19; i++)
		assert_int_equal(fake_sink.seqs[i], i + 1 + (i >= 6));
	assert_non_null(strstr(w.letters.data, "\"consumer\":\"test\""));
	assert_non_null(strstr(w.letters.data, "\"reason\":\"conflict\""));
	assert_non_null(strstr(w.letters.data, "cannot be stored"));
	assert_non_null(strstr(w.letters.data, "\"topic\":\"latido/v1/nodes/n1/metrics\""));
}

static void bad_messages_become_dead_letters_with_their_reason(void **state)
{
	char *huge = calloc(1, (size_t)w.c->limits.max_bytes + 1);

	(void)state;
	start_consumer();
	publish("latido/v1/nodes/n1/metrics", "\x0a\xff\xff", 3);
	publish("latido/v1/nodes/n2/metrics", "{\"source\":\"n1\",\"metrics\":{\"a\":1}}", 33);
	publish("latido/v1/nodes/b%20d/metrics", "{\"metrics\":{\"a\":1}}", 19);
	publish("latido/v1/devices/d1/metrics", huge, (size_t)w.c->limits.max_bytes + 1);
	publish_event(1, true);
	run_until_seen(1, 4);
	assert_non_null(strstr(w.letters.data, "\"reason\":\"decode\""));
	assert_non_null(strstr(w.letters.data, "\"body\":\"Cv//\""));
	assert_non_null(strstr(w.letters.data, "\"reason\":\"source_mismatch\""));
	assert_non_null(strstr(w.letters.data, "\"reason\":\"too_large\""));
	assert_non_null(strstr(w.letters.data, "\"truncated\":true"));
	free(huge);
}

static void announced_shapes_wait_for_their_names(void **state)
{
	(void)state;
	start_consumer();
	publish_event(1, false);
	publish_event(2, false);
	publish_event(3, true);
	run_until_seen(3, 0);
	/* The one that brings the shape comes first, then those that waited, in order. */
	assert_int_equal(fake_sink.seqs[0], 3);
	assert_int_equal(fake_sink.seqs[1], 1);
	assert_int_equal(fake_sink.seqs[2], 2);
	publish_event(4, false);
	run_until_seen(4, 0);
}

/* The sink holds the shape of publish_event()'s events. */
static void sink_knows_the_shape(void)
{
	struct lt_event e = {0};
	struct lt_err err = {0};

	lt_snapshot_begin(w.snap);
	lt_snapshot_value(w.snap, "a", LT_KIND_GAUGE, 1);
	assert_int_equal(lt_snapshot_event(w.snap, &e, &err), LT_OK);
	lt_buf_add(&fake_sink.shape, e.shape->bytes, e.shape->size);
}

static void announced_shapes_are_asked_from_the_sink(void **state)
{
	(void)state;
	sink_knows_the_shape();
	start_consumer();
	publish_event(1, false);
	publish_event(2, false);
	run_until_seen(2, 0);
	assert_int_equal(fake_sink.seqs[0], 1);
	assert_int_equal(fake_sink.finds, 1);
}

/* What waits at the broker for a consumer that was away: none of it has its names inline. */
static void a_backlog_waits_for_the_answer_of_the_sink(void **state)
{
	(void)state;
	sink_knows_the_shape();
	start_consumer();
	for (uint64_t i = 1; i <= 1000; i++)
		publish_event(i, false);
	run_until_seen(1000, 0);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(fake_sink.seqs[i], i + 1);
}

static void a_sink_that_is_away_is_asked_again(void **state)
{
	(void)state;
	sink_knows_the_shape();
	fake_sink.fail_finds = 7; /* with the waits between them, longer than LT_PARK_NS */
	start_consumer();
	for (uint64_t i = 1; i <= 100; i++)
		publish_event(i, false);
	run_until_seen(100, 0);
	assert_int_equal(fake_sink.finds, 8);
}

static bool some_wait_for_their_shape(void)
{
	struct lt_buf out = {0};
	const char *line;
	bool yes;

	lt_stats_render(&out);
	line = strstr(out.data, "\nlatido_consumer_parked_messages ");
	yes = line && atoi(strchr(line + 1, ' ')) > 0;
	lt_buf_fini(&out);
	return yes;
}

static void draining_asks_for_shapes_first(void **state)
{
	static const char other[] =
		"{\"source\":\"n1\",\"epoch\":1000,\"seq\":1,\"metrics\":{\"b\":1}}";

	(void)state;
	sink_knows_the_shape();
	fake_sink.block = true;
	start_consumer();
	publish("latido/v1/nodes/n1/metrics", other, strlen(other));
	run_until(sink_blocked); /* so it cannot be asked */
	for (uint64_t i = 2; i <= 40; i++)
		publish_event(i, false);
	run_until(some_wait_for_their_shape);
	lt_consumer_drain(w.consumer);
	fake_sink_interrupt(NULL);
	run_until(is_drained);
	assert_true(w.complete);
	assert_int_equal(w.n_letters, 0);
	assert_true(fake_sink.n > 1);
	for (size_t i = 0; i < fake_sink.n; i++)
		assert_int_equal(fake_sink.seqs[i], i + 1);
}

static void shapes_that_never_come_are_dead_letters(void **state)
{
	(void)state;
	start_consumer();
	publish_event(1, false);
	run_until_seen(0, 1);
	assert_non_null(strstr(w.letters.data, "\"reason\":\"unknown_shape\""));
}

static void a_slow_sink_stops_the_reading_and_loses_nothing(void **state)
{
	(void)state;
	fake_sink.block = true;
	start_consumer();
	publish_event(1, true);
	run_until(sink_blocked);
	for (uint64_t i = 2; i <= 500; i++)
		publish_event(i, true);
	fake_sink_interrupt(NULL);
	run_until_seen(500, 0);
	assert_true(fake_sink.largest <= 100);
	for (size_t i = 0; i < 500; i++)
		assert_int_equal(fake_sink.seqs[i], i + 1);
}

static void draining_finishes_what_was_read(void **state)
{
	(void)state;
	w.c->hot.batch.linger_ms = 3600 * 1000; /* nothing is due by itself */
	start_consumer();
	for (uint64_t i = 1; i <= 50; i++)
		publish_event(i, true);
	publish("latido/v1/nodes/n1/metrics", "\x0a\xff\xff", 3);
	run_until_seen(0, 1); /* read in order, so the fifty are read as well */
	lt_consumer_drain(w.consumer);
	run_until(is_drained);
	assert_true(w.complete);
	assert_int_equal(fake_sink.n, 50);
	assert_int_equal(fake_sink.flushes, 1);
}

static void take_value(void *arg, const struct lt_stat *s, bool first, double value)
{
	(void)s;
	(void)first;
	*(double *)arg = value;
}

static double shown(const char *name)
{
	double value = -1;

	lt_stats_named(name, take_value, &value);
	return value;
}

static bool ten_figures_are_done(void)
{
	bool yes;

	pthread_mutex_lock(&fake_sink.mutex);
	yes = fake_sink.n >= 10;
	pthread_mutex_unlock(&fake_sink.mutex);
	return yes;
}

static bool is_late(void)
{
	return shown("latido_consumer_lag_seconds") > 0.5;
}

static bool is_late_no_more(void)
{
	return shown("latido_consumer_lag_seconds") < 0.5;
}

/* Nobody publishes anything but the consumer itself, about itself. */
static void its_own_figures_tell_how_late_it_is(void **state)
{
	(void)state;
	w.c->bus.self_interval_ms = 20;
	start_consumer();
	assert_true(shown("latido_consumer_lag_seconds") >= 0);
	run_until(ten_figures_are_done);
	run_until(is_late_no_more);
	pthread_mutex_lock(&fake_sink.mutex);
	fake_sink.block = true;
	pthread_mutex_unlock(&fake_sink.mutex);
	run_until(is_late);
	fake_sink_interrupt(NULL);
	run_until(is_late_no_more);
	/* there is no broker to ask */
	assert_true(shown("latido_broker_queued_messages") < 0);
}

static bool put_was_tried(void)
{
	bool yes;

	pthread_mutex_lock(&fake_sink.mutex);
	yes = fake_sink.puts > 0;
	pthread_mutex_unlock(&fake_sink.mutex);
	return yes;
}

static void draining_into_a_broken_sink_says_that_it_is_incomplete(void **state)
{
	(void)state;
	w.c->hot.drain_timeout_ms = 300;
	fake_sink.fail_puts = INT32_MAX;
	start_consumer();
	publish_event(1, true);
	run_until(put_was_tried);
	lt_consumer_drain(w.consumer);
	run_until(is_drained);
	assert_false(w.complete);
	assert_int_equal(fake_sink.n, 0);
}

static char answers[3][32];
static size_t n_answers;

static bool last_answers(void)
{
	const char *p = w.letters.data;

	n_answers = 0;
	/* A line each, in order: the last three numbers must be the last of each topic. */
	for (const char *end; p && (end = strchr(p, '\n')); p = end + 1) {
		int v = atoi(p);

		snprintf(answers[v % 3], sizeof(answers[0]), "%d", v);
		n_answers++;
	}
	return !strcmp(answers[0], "1200") && !strcmp(answers[1], "1198") &&
	       !strcmp(answers[2], "1199");
}

static bool answers_again(void)
{
	last_answers();
	return n_answers >= want_letters;
}

/* At most one answer for twelve messages; the newest of each topic arrives; none is forgotten. */
static void answers_are_few_and_the_newest(void **state)
{
	size_t before;

	(void)state;
	fake_sink.answer = true;
	start_consumer();
	for (uint64_t seq = 1; seq <= 1200; seq++)
		publish_event(seq, true);
	run_until(last_answers);
	assert_true(n_answers <= 1200 / LT_OUTBOX_SHARE + 20);
	before = n_answers;
	/* A broker that has forgotten everything is told again. */
	lt_bus_mem_down(w.c->bus.url + strlen("mem://"), true);
	lt_bus_mem_forget(w.c->bus.url + strlen("mem://"));
	lt_bus_mem_down(w.c->bus.url + strlen("mem://"), false);
	want_letters = before + 3;
	run_until(answers_again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(events_arrive_once_and_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(dead_letters_wait_for_permission, setup, teardown),
		cmocka_unit_test_setup_teardown(
			failed_batches_are_put_again_as_a_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(configuration_errors_end_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
			poison_becomes_a_dead_letter_and_the_rest_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(
			bad_messages_become_dead_letters_with_their_reason, setup, teardown),
		cmocka_unit_test_setup_teardown(
			announced_shapes_wait_for_their_names, setup, teardown),
		cmocka_unit_test_setup_teardown(
			announced_shapes_are_asked_from_the_sink, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_backlog_waits_for_the_answer_of_the_sink, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_sink_that_is_away_is_asked_again, setup, teardown),
		cmocka_unit_test_setup_teardown(draining_asks_for_shapes_first, setup, teardown),
		cmocka_unit_test_setup_teardown(
			shapes_that_never_come_are_dead_letters, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_slow_sink_stops_the_reading_and_loses_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(draining_finishes_what_was_read, setup, teardown),
		cmocka_unit_test_setup_teardown(
			draining_into_a_broken_sink_says_that_it_is_incomplete, setup, teardown),
		cmocka_unit_test_setup_teardown(
			its_own_figures_tell_how_late_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_are_few_and_the_newest, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
