/* SPDX-License-Identifier: MIT */
/* What lt_bus_*() promises, on every transport that is available. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/bus_fixture.h"
#include "latido/clock.h"

static char *text(const char *prefix, int i)
{
	static char buf[64];

	snprintf(buf, sizeof(buf), "%s%d", prefix, i);
	return buf;
}

/* Numbers @from to @to-1 were received on @on in this order, each at least once. */
static void assert_sequence(const struct peer *p, const char *on, int from, int to)
{
	int next = from;

	for (size_t i = 0; i < p->n_got; i++) {
		int n = atoi(p->got[i].data);

		if (strcmp(p->got[i].topic, on) != 0)
			continue;
		if (n > next)
			fail_msg("%d is missing: %d came instead", next, n);
		next += n == next;
	}
	assert_int_equal(next, to);
}

static void in_order_and_reported_once(void **state)
{
	enum { N = 600 };
	const char *t[3] = {topic("a"), topic("b"), topic("c")};
	struct peer sub, pub;

	(void)state;
	open_peer(&sub, "sub", topic("#"), false);
	open_peer(&pub, "pub", NULL, false);
	assert_int_equal(lt_bus_caps(pub.bus) & LT_BUS_RETAIN, LT_BUS_RETAIN);
	assert_string_equal(lt_bus_name(pub.bus), impl->name);
	for (int i = 0; i < N; i++)
		peer_publish_text(&pub, t[i % 3], text("", i / 3));
	peer_wait_reported(&pub);
	for (size_t i = 0; i < pub.n_tokens; i++)
		assert_int_equal(pub.codes[i], LT_OK);
	peer_wait_got(&sub, N);
	assert_int_equal(sub.n_got, N);
	for (int i = 0; i < 3; i++)
		assert_sequence(&sub, t[i], 0, N / 3);
	peer_close(&pub);
	peer_close(&sub);
}

static void any_payload(void **state)
{
	enum { BIG = 1 << 20 };
	const char *t = topic("x");
	struct lt_bus_out m = {.topic = t, .data = "{\"a\":1}", .size = 7};
	char *big = lt_malloc(BIG);
	struct peer sub, pub;

	(void)state;
	for (int i = 0; i < BIG; i++)
		big[i] = (char)(i * 7 + i / 251);
	open_peer(&sub, "sub", t, false);
	open_peer(&pub, "pub", NULL, false);
	peer_publish(&pub, t, big, BIG, false);
	peer_publish(&pub, t, NULL, 0, false);
	peer_publish(&pub, t, "a\0b", 3, false);
	m.content_type = "application/json";
	m.expiry_s = 3600;
	assert_int_equal(peer_try_publish(&pub, &m, NULL), LT_OK);
	peer_wait_reported(&pub);
	peer_wait_got(&sub, 4);
	assert_int_equal(sub.got[0].size, BIG);
	assert_memory_equal(sub.got[0].data, big, BIG);
	assert_null(sub.got[0].content_type);
	assert_int_equal(sub.got[1].size, 0);
	assert_int_equal(sub.got[2].size, 3);
	assert_memory_equal(sub.got[2].data, "a\0b", 3);
	assert_string_equal(sub.got[3].data, "{\"a\":1}");
	assert_string_equal(sub.got[3].content_type, "application/json");
	assert_false(sub.got[3].retained);
	assert_false(sub.got[3].redelivered);
	free(big);
	peer_close(&pub);
	peer_close(&sub);
}

static void bad_topics_are_refused_at_once(void **state)
{
	static const char *const bad[] = {"", "a/+", "a/#", "a\nb", "\xff"};
	struct lt_bus_out m = {.data = "x", .size = 1};
	struct lt_err err;
	struct peer pub;

	(void)state;
	open_peer(&pub, "pub", NULL, false);
	for (size_t i = 0; i < LT_ARRAY_LEN(bad); i++) {
		m.topic = bad[i];
		assert_int_equal(peer_try_publish(&pub, &m, &err), LT_EDATA);
		assert_int_equal(err.cls, LT_CLS_POISON);
	}
	peer_publish_text(&pub, topic("still"), "works");
	peer_wait_reported(&pub);
	peer_close(&pub);
}

static void wildcards(void **state)
{
	const char *filters[] = {topic("nodes/+/metrics"), topic("devices/#"), NULL};
	struct peer sub, pub;

	(void)state;
	start_peer(&sub, "sub");
	peer_open(&sub, filters, false, false);
	peer_wait_up(&sub);
	open_peer(&pub, "pub", NULL, false);
	peer_publish_text(&pub, topic("nodes/a/metrics"), "1");
	peer_publish_text(&pub, topic("nodes/a/backlog"), "no");
	peer_publish_text(&pub, topic("nodes/a/b/metrics"), "no");
	peer_publish_text(&pub, topic("nodes/metrics"), "no");
	peer_publish_text(&pub, topic("devices"), "2");
	peer_publish_text(&pub, topic("devices/d/metrics/t"), "3");
	peer_publish_text(&pub, topic("devicesx"), "no");
	peer_publish_text(&pub, topic("nodes/end/metrics"), "end");
	peer_wait_got(&sub, 4);
	assert_int_equal(sub.n_got, 4);
	assert_true(peer_has(&sub, topic("nodes/a/metrics"), "1"));
	assert_true(peer_has(&sub, topic("devices"), "2"));
	assert_true(peer_has(&sub, topic("devices/d/metrics/t"), "3"));
	assert_true(peer_has(&sub, topic("nodes/end/metrics"), "end"));
	peer_close(&pub);
	peer_close(&sub);
}

static void retained(void **state)
{
	const char *t = topic("status"), *gone = topic("gone"), *end = topic("end");
	const char *filters[] = {topic("#"), NULL};
	struct peer pub, sub, without;

	(void)state;
	open_peer(&pub, "pub", NULL, false);
	peer_publish(&pub, t, "old", 3, true);
	peer_publish(&pub, t, "new", 3, true);
	peer_publish(&pub, gone, "x", 1, true);
	peer_publish(&pub, gone, NULL, 0, true);
	peer_wait_reported(&pub);
	open_peer(&sub, "sub", filters[0], false);
	start_peer(&without, "without");
	peer_open(&without, filters, false, true);
	peer_wait_up(&without);
	peer_publish(&pub, t, "live", 4, true);
	peer_publish_text(&pub, end, "end");
	peer_wait_got(&sub, 3);
	peer_wait_got(&without, 2);
	assert_int_equal(sub.n_got, 3);
	assert_string_equal(sub.got[0].data, "new");
	assert_true(sub.got[0].retained);
	assert_string_equal(sub.got[1].data, "live");
	assert_false(sub.got[1].retained);
	assert_int_equal(without.n_got, 2);
	assert_string_equal(without.got[0].data, "live");
	assert_false(without.got[0].retained);
	peer_close(&pub);
	peer_close(&sub);
	peer_close(&without);
}

/*
 * The one that is freed has no will published, the one whose connection breaks has. The freed one
 * goes first, so its will would have come first.
 */
static void will_on_death_only(void **state)
{
	const char *dead = topic("dead"), *freed = topic("freed");
	struct peer watcher, a, b, late;

	(void)state;
	peer_conf(&watcher, &loop, impl->direct_url(), id("watcher"));
	peer_open(&watcher, (const char *[]){topic("#"), NULL}, false, false);
	peer_wait_up(&watcher);
	start_peer(&a, "a");
	a.will_topic = dead;
	a.will_payload = "offline";
	peer_open(&a, NULL, false, false);
	start_peer(&b, "b");
	b.will_topic = freed;
	b.will_payload = "offline";
	peer_open(&b, NULL, false, false);
	peer_wait_up(&a);
	peer_wait_up(&b);
	assert_int_equal(a.n_wills, 1);
	peer_close(&b);
	impl->refuse(a.conf.mqtt.client_id);
	peer_wait_down(&a);
	peer_wait_got(&watcher, 1);
	assert_true(peer_has(&watcher, dead, "offline"));
	assert_int_equal(watcher.n_got, 1);
	/* Asked for again before each connect. */
	impl->refuse(NULL);
	peer_wait_up(&a);
	assert_true(a.n_wills >= 2);
	/* And retained. */
	open_peer(&late, "late", topic("#"), false);
	peer_wait_got(&late, 1);
	assert_true(late.got[0].retained);
	assert_string_equal(late.got[0].topic, dead);
	peer_close(&late);
	peer_close(&a);
	peer_close(&watcher);
}

static void each_publish_reported_once_over_reconnects(void **state)
{
	enum { N = 60 };
	const char *t = topic("x");
	struct peer sub, pub;

	(void)state;
	peer_conf(&sub, &loop, impl->direct_url(), id("sub"));
	peer_open(&sub, (const char *[]){t, NULL}, false, false);
	peer_wait_up(&sub);
	open_peer(&pub, "pub", NULL, false);
	for (int i = 0; i < N; i++) {
		if (i == 20)
			impl->hold(true);
		peer_publish_text(&pub, t, text("", i));
		if (i == 40) {
			impl->cut(pub.conf.mqtt.client_id);
			peer_wait_down(&pub);
			impl->hold(false);
			peer_wait_up(&pub);
		}
	}
	impl->cut(pub.conf.mqtt.client_id);
	peer_wait_reported(&pub);
	for (size_t i = 0; i < pub.n_tokens; i++)
		assert_int_equal(pub.codes[i], LT_OK);
	/* All are there; some perhaps twice. */
	for (int i = 0; i < N; i++) {
		while (!peer_has(&sub, t, text("", i)))
			peer_wait_got(&sub, sub.n_got + 1);
	}
	assert_true(pub.n_down >= 1);
	peer_close(&pub);
	peer_close(&sub);
}

static void full_then_writable(void **state)
{
	struct lt_bus_out m = {.topic = topic("x"), .data = "x", .size = 1};
	struct lt_err err;
	struct peer pub;

	(void)state;
	start_peer(&pub, "pub");
	pub.conf.mqtt.max_inflight = 10;
	peer_open(&pub, NULL, false, false);
	assert_int_equal(peer_try_publish(&pub, &m, &err), LT_EFULL);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	peer_wait_up(&pub);
	/* It waits for writable(), not for state(). */
	peer_publish(&pub, m.topic, "x", 1, false);
	peer_wait_reported(&pub);
	impl->hold(true);
	for (int i = 0; i < 10; i++)
		assert_int_equal(peer_try_publish(&pub, &m, &err), LT_OK);
	assert_int_equal(lt_bus_inflight(pub.bus), 10);
	assert_int_equal(peer_try_publish(&pub, &m, &err), LT_EFULL);
	assert_int_equal(lt_bus_inflight(pub.bus), 10);
	impl->hold(false);
	peer_publish(&pub, m.topic, "x", 1, false);
	peer_wait_reported(&pub);
	peer_close(&pub);
}

static void at_most_once_has_no_report(void **state)
{
	const char *t = topic("x");
	struct lt_bus_out m = {.topic = t, .data = "0", .size = 1, .at_most_once = true};
	struct peer sub, pub;

	(void)state;
	open_peer(&sub, "sub", t, false);
	open_peer(&pub, "pub", NULL, false);
	assert_int_equal(peer_try_publish(&pub, &m, NULL), LT_OK);
	assert_int_equal(lt_bus_inflight(pub.bus), 0);
	peer_wait_got(&sub, 1);
	peer_publish_text(&pub, t, "1");
	peer_wait_reported(&pub);
	assert_int_equal(pub.n_reported, 1);
	peer_wait_got(&sub, 2);
	peer_close(&pub);
	peer_close(&sub);
}

static bool failed_four_times(void *arg)
{
	return ((struct peer *)arg)->n_down >= 4;
}

static void down_at_start_and_for_long(void **state)
{
	const char *t = topic("x");
	struct peer p;

	(void)state;
	start_peer(&p, "p");
	impl->refuse(p.conf.mqtt.client_id);
	peer_open(&p, (const char *[]){t, NULL}, true, false);
	spin(&loop, failed_four_times, &p);
	assert_int_equal(p.err.cls, LT_CLS_RETRY);
	assert_int_equal(p.n_up, 0);
	impl->refuse(NULL);
	peer_wait_up(&p);
	assert_false(p.resumed);
	peer_publish_text(&p, t, "1");
	peer_wait_got(&p, 1);
	p.n_down = 0;
	impl->refuse(p.conf.mqtt.client_id);
	spin(&loop, failed_four_times, &p);
	impl->refuse(NULL);
	peer_wait_up(&p);
	assert_true(p.resumed);
	peer_publish_text(&p, t, "2");
	peer_wait_got(&p, 2);
	peer_close(&p);
}

static void restart(bool empty)
{
	const char *t = topic("x");
	struct peer sub, pub;

	open_peer(&sub, "sub", t, true);
	assert_false(sub.resumed);
	open_peer(&pub, "pub", NULL, false);
	peer_publish_text(&pub, t, "1");
	peer_wait_got(&sub, 1);
	peer_wait_reported(&pub);
	impl->broker_stop();
	peer_wait_down(&sub);
	peer_wait_down(&pub);
	impl->broker_start(empty);
	peer_wait_up(&sub);
	peer_wait_up(&pub);
	assert_int_equal(sub.resumed, !empty);
	peer_publish_text(&pub, t, "2");
	peer_wait_got(&sub, 2);
	peer_wait_reported(&pub);
	assert_string_equal(sub.got[1].data, "2");
	peer_close(&pub);
	peer_close(&sub);
}

static void broker_restarts_with_sessions(void **state)
{
	(void)state;
	restart(false);
}

static void broker_comes_back_empty(void **state)
{
	(void)state;
	restart(true);
}

static void durable_session_collects(void **state)
{
	enum { N = 100 };
	const char *t = topic("x"), *filters[] = {t, NULL};
	struct peer sub, lazy, pub;
	char *sub_id, *lazy_id;

	(void)state;
	open_peer(&sub, "sub", t, true);
	open_peer(&lazy, "lazy", t, false);
	sub_id = lt_strdup(sub.conf.mqtt.client_id);
	lazy_id = lt_strdup(lazy.conf.mqtt.client_id);
	peer_close(&sub);
	peer_close(&lazy);
	open_peer(&pub, "pub", NULL, false);
	for (int i = 0; i < N; i++)
		peer_publish_text(&pub, t, text("", i));
	peer_wait_reported(&pub);
	peer_conf(&sub, &loop, impl->url(), sub_id);
	peer_open(&sub, filters, true, false);
	peer_conf(&lazy, &loop, impl->url(), lazy_id);
	peer_open(&lazy, filters, false, false);
	peer_wait_up(&sub);
	peer_wait_up(&lazy);
	assert_true(sub.resumed);
	assert_false(lazy.resumed);
	peer_publish_text(&pub, t, text("", N));
	peer_wait_got(&sub, N + 1);
	assert_sequence(&sub, t, 0, N + 1);
	peer_wait_got(&lazy, 1);
	assert_sequence(&lazy, t, N, N + 1);
	free(sub_id);
	free(lazy_id);
	peer_close(&sub);
	peer_close(&lazy);
	peer_close(&pub);
}

struct flow {
	struct peer *sub;
	int last;
};

/* Give back in small steps until the last one has arrived. */
static bool drained(void *arg)
{
	struct flow *f = arg;
	size_t n = f->sub->n_kept < 5 ? f->sub->n_kept : 5;

	peer_done_kept(f->sub, n);
	peer_poll(f->sub);
	return f->sub->n_got > 0 && atoi(f->sub->got[f->sub->n_got - 1].data) == f->last;
}

static void back_pressure(void **state)
{
	enum { N = 400, SIZE = 2048, BUDGET = 64 << 10 };
	const char *t = topic("x"), *back = topic("back");
	char payload[SIZE] = "";
	struct peer sub, pub;
	struct flow f = {&sub, N - 1};
	size_t before;

	(void)state;
	start_peer(&sub, "sub");
	sub.keep = true;
	sub.conf.queue_bytes = BUDGET;
	peer_open(&sub, (const char *[]){t, NULL}, true, false);
	peer_wait_up(&sub);
	open_peer(&pub, "pub", back, false);
	for (int i = 0; i < N; i++) {
		snprintf(payload, sizeof(payload), "%d", i);
		peer_publish(&pub, t, payload, sizeof(payload), false);
	}
	/* The broker has all; the subscriber took what its budget allows and some in flight. */
	peer_wait_reported(&pub);
	peer_wait_got(&sub, BUDGET / SIZE / 2);
	/* While it is full it can publish, and its own messages are answered. */
	for (int i = 0; i < 3; i++)
		peer_publish_text(&sub, back, text("", i));
	peer_wait_reported(&sub);
	peer_wait_got(&pub, 3);
	before = sub.n_got;
	assert_true(before * SIZE <= 4 * BUDGET);
	assert_int_equal(sub.n_down, 0);
	spin(&loop, drained, &f);
	assert_sequence(&sub, t, 0, N);
	assert_int_equal(sub.n_down, 0);
	peer_close(&pub);
	peer_close(&sub);
}

struct source {
	struct peer *pub;
	const char *t;
	int i, n;
	struct peer *until;
	size_t until_got;
};

static bool publish_some(void *arg)
{
	struct source *s = arg;

	for (int k = 0; k < 20 && s->i < s->n; k++, s->i++) {
		char *data = text("", s->i);
		struct lt_bus_out m = {.topic = s->t, .data = data, .size = strlen(data)};

		if (peer_try_publish(s->pub, &m, NULL) != LT_OK)
			break;
	}
	return s->until ? s->until->n_got >= s->until_got : s->i >= s->n;
}

/* Two lives of one consumer: what the first one acknowledged it has, the second gets the rest. */
static void stop_reading(void **state)
{
	enum { N = 2000 };
	const char *t = topic("x"), *late = topic("late");
	struct peer sub, pub, watcher;
	struct source s = {&pub, t, 0, N, &sub, N / 4};
	bool seen[N] = {false};
	char *sub_id;

	(void)state;
	open_peer(&watcher, "watcher", late, false);
	open_peer(&sub, "sub", t, true);
	open_peer(&pub, "pub", NULL, false);
	sub_id = lt_strdup(sub.conf.mqtt.client_id);
	spin(&loop, publish_some, &s);
	sub.idle = true;
	lt_bus_stop_reading(sub.bus);
	peer_poll(&sub);
	/* Publishing goes on. */
	peer_publish_text(&sub, late, "from the draining one");
	peer_wait_reported(&sub);
	peer_wait_got(&watcher, 1);
	s.until = NULL;
	spin(&loop, publish_some, &s);
	peer_wait_reported(&pub);
	/* Nothing has come since. */
	peer_poll(&sub);
	for (size_t i = 0; i < sub.n_got; i++)
		seen[atoi(sub.got[i].data)] = true;
	assert_true(sub.n_got < N);
	peer_close(&sub);
	peer_conf(&sub, &loop, impl->url(), sub_id);
	peer_open(&sub, (const char *[]){t, NULL}, true, false);
	peer_wait_up(&sub);
	assert_true(sub.resumed);
	for (int i = 0; i < N; i++) {
		while (!seen[i]) {
			size_t from = sub.n_got;

			for (size_t k = 0; k < from; k++)
				seen[atoi(sub.got[k].data)] = true;
			if (!seen[i])
				peer_wait_got(&sub, from + 1);
		}
	}
	free(sub_id);
	peer_close(&sub);
	peer_close(&pub);
	peer_close(&watcher);
}

static bool one_complains(void *arg)
{
	struct peer *p = arg;

	return p[0].worst.code != LT_OK || p[1].worst.code != LT_OK;
}

static void two_with_one_id(void **state)
{
	struct peer p[2];
	const struct lt_err *err;
	const char *client_id;

	(void)state;
	open_peer(&p[0], "same", NULL, false);
	client_id = p[0].conf.mqtt.client_id;
	peer_conf(&p[1], &loop, impl->url(), client_id);
	peer_open(&p[1], NULL, false, false);
	spin(&loop, one_complains, p);
	err = p[0].worst.code != LT_OK ? &p[0].worst : &p[1].worst;
	assert_int_equal(err->cls, LT_CLS_CONFIG);
	assert_non_null(strstr(err->msg, client_id));
	assert_non_null(strstr(err->msg, "bus.mqtt.client_id"));
	/* Retried anyway: it recovers when the other one is gone. */
	peer_close(&p[1]);
	peer_wait_up(&p[0]);
	peer_close(&p[0]);
}

static void two_in_one_process_talk(void **state)
{
	const char *to_a = topic("a"), *to_b = topic("b");
	struct peer a, b;

	(void)state;
	open_peer(&a, "a", to_a, true);
	open_peer(&b, "b", to_b, false);
	for (int i = 0; i < 50; i++) {
		peer_publish_text(&a, to_b, text("", i));
		peer_publish_text(&b, to_a, text("", i));
	}
	peer_wait_reported(&a);
	peer_wait_reported(&b);
	peer_wait_got(&a, 50);
	peer_wait_got(&b, 50);
	assert_sequence(&a, to_a, 0, 50);
	assert_sequence(&b, to_b, 0, 50);
	peer_close(&a);
	peer_close(&b);
}

/* A change of the topics reaches the broker's session; what is not asked for is not delivered. */
static void topics_of_a_session_change(void **state)
{
	const char *a = topic("a"), *b = topic("b"), *c = topic("c");
	struct peer sub, pub;
	char *sub_id;

	(void)state;
	start_peer(&sub, "sub");
	peer_open(&sub, (const char *[]){a, b, NULL}, true, false);
	peer_wait_up(&sub);
	sub_id = lt_strdup(sub.conf.mqtt.client_id);
	peer_close(&sub);
	peer_conf(&sub, &loop, impl->url(), sub_id);
	peer_open(&sub, (const char *[]){b, c, NULL}, true, false);
	peer_wait_up(&sub);
	assert_true(sub.resumed);
	open_peer(&pub, "pub", NULL, false);
	peer_publish_text(&pub, a, "no");
	peer_publish_text(&pub, b, "1");
	peer_publish_text(&pub, c, "2");
	peer_wait_got(&sub, 2);
	assert_int_equal(sub.n_got, 2);
	assert_true(peer_has(&sub, b, "1"));
	assert_true(peer_has(&sub, c, "2"));
	free(sub_id);
	peer_close(&sub);
	peer_close(&pub);
}

static void kept_messages_survive_the_connection(void **state)
{
	const char *t = topic("x");
	struct peer sub, pub;

	(void)state;
	start_peer(&sub, "sub");
	sub.keep = true;
	peer_open(&sub, (const char *[]){t, NULL}, true, false);
	peer_wait_up(&sub);
	peer_conf(&pub, &loop, impl->direct_url(), id("pub"));
	peer_open(&pub, NULL, false, false);
	for (int i = 0; i < 20; i++)
		peer_publish_text(&pub, t, text("", i));
	peer_wait_got(&sub, 20);
	impl->cut(sub.conf.mqtt.client_id);
	peer_wait_down(&sub);
	for (size_t i = 0; i < sub.n_kept; i++)
		assert_string_equal(sub.kept[i]->data, sub.got[i].data);
	peer_done_kept(&sub, 10);
	peer_wait_up(&sub);
	/* Ten are left to peer_close(), after ... */
	peer_done_kept(&sub, 5);
	sub.n_kept = 0; /* ... five that are never given back: lt_bus_free() has to */
	peer_close(&sub);
	peer_close(&pub);
}

static void free_at_any_time(void **state)
{
	const char *t = topic("x");
	struct peer p;
	int64_t start;

	(void)state;
	/* Not opened, just opened, refused, waiting for an answer, messages under way. */
	for (int step = 0; step < 5; step++) {
		struct lt_bus_handler none = {0};
		struct lt_bus_options opt = {.comp = "test", .topics = &t, .n_topics = 1};

		start_peer(&p, "p");
		impl->refuse(step == 2 ? p.conf.mqtt.client_id : NULL);
		impl->hold(step == 3);
		if (step == 0) {
			p.bus = lt_bus_new(&p.conf, &opt, &none, &loop, NULL);
			assert_non_null(p.bus);
		} else {
			peer_open(&p, (const char *[]){t, NULL}, true, false);
		}
		if (step == 2)
			peer_wait_down(&p);
		if (step == 4) {
			peer_wait_up(&p);
			peer_publish_text(&p, t, "1");
			impl->hold(true);
			for (int i = 0; i < 100; i++)
				peer_publish_text(&p, t, text("", i));
		}
		start = lt_mono_ns();
		peer_close(&p);
		/* It promises 2 s; a loaded machine may need longer to let us run. */
		assert_true(lt_mono_ns() - start < 10 * LT_NS_PER_S);
		impl->hold(false);
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

static const struct CMUnitTest tests[] = {
	T(in_order_and_reported_once),
	T(any_payload),
	T(bad_topics_are_refused_at_once),
	T(wildcards),
	T(retained),
	T(will_on_death_only),
	T(each_publish_reported_once_over_reconnects),
	T(full_then_writable),
	T(at_most_once_has_no_report),
	T(down_at_start_and_for_long),
	T(broker_restarts_with_sessions),
	T(broker_comes_back_empty),
	T(durable_session_collects),
	T(back_pressure),
	T(stop_reading),
	T(two_with_one_id),
	T(two_in_one_process_talk),
	T(topics_of_a_session_change),
	T(kept_messages_survive_the_connection),
	T(free_at_any_time),
};

/* An argument is a pattern for the names of the tests to run. */
int main(int argc, char **argv)
{
	static const struct bus_impl *const impls[] = {&bus_impl_mem, &bus_impl_mqtt};
	const char *only = getenv("LT_TEST_BUS");
	int failed = 0;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	for (size_t i = 0; i < LT_ARRAY_LEN(impls); i++) {
		impl = impls[i];
		if (!impl->available() || (only && strcmp(only, impl->name) != 0))
			continue;
		failed +=
			_cmocka_run_group_tests(impl->name, tests, LT_ARRAY_LEN(tests), NULL, NULL);
	}
	return failed ? 1 : 0;
}
