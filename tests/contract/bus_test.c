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

static void in_order_and_reported_once(void **state)
{
	enum { N = 600 };
	const char *t[3] = {topic("a"), topic("b"), topic("c")};
	struct peer sub, pub;

	(void)state;
	open_peer(&sub, "sub", topic("#"), false);
	open_peer(&pub, "pub", NULL, false);
	peers_up(&sub, &pub);
	assert_int_equal(lt_bus_caps(pub.bus) & LT_BUS_RETAIN, impl->like_mqtt ? LT_BUS_RETAIN : 0);
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
	peers_up(&sub, &pub);
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
	peers_up(&pub);
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
	open_peer(&pub, "pub", NULL, false);
	peers_up(&sub, &pub);
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
	if (!impl->like_mqtt)
		skip();
	open_peer(&pub, "pub", NULL, false);
	peers_up(&pub);
	peer_publish(&pub, t, "old", 3, true);
	peer_publish(&pub, t, "new", 3, true);
	peer_publish(&pub, gone, "x", 1, true);
	peer_publish(&pub, gone, NULL, 0, true);
	peer_wait_reported(&pub);
	open_peer(&sub, "sub", filters[0], false);
	peers_up(&sub);
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
	if (!impl->like_mqtt)
		skip();
	peer_conf(&watcher, &loop, impl->direct_url(), id("watcher"));
	peer_open(&watcher, (const char *[]){topic("#"), NULL}, false, false);
	start_peer(&a, "a");
	a.will_topic = dead;
	a.will_payload = "offline";
	peer_open(&a, NULL, false, false);
	start_peer(&b, "b");
	b.will_topic = freed;
	b.will_payload = "offline";
	peer_open(&b, NULL, false, false);
	peers_up(&watcher, &a, &b);
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
	peers_up(&late);
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
	peers_up(&pub);
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
	pub.conf.mqtt.max_inflight = pub.conf.kafka.max_inflight = 10;
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
	peers_up(&sub, &pub);
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
	assert_false(impl->like_mqtt && p.resumed);
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
	if (!impl->like_mqtt)
		skip();
	open_peer(&p[0], "same", NULL, false);
	peers_up(&p[0]);
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
	peers_up(&a, &b);
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
	T(two_with_one_id),
	T(two_in_one_process_talk),
};

int main(int argc, char **argv)
{
	return bus_suite_main(tests, LT_ARRAY_LEN(tests), argc, argv);
}
