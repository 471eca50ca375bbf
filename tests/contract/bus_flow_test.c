/* SPDX-License-Identifier: MIT */
/* What lt_bus_*() promises over the lives of brokers and consumers, and when too much comes. */
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

static bool tried_again(void *arg)
{
	return ((struct peer *)arg)->n_down > 1;
}

static void restart(bool empty)
{
	const char *t = topic("x");
	struct peer sub, tail, pub;

	open_peer(&sub, "sub", t, true);
	peers_up(&sub);
	assert_false(impl->like_mqtt && sub.resumed);
	open_peer(&tail, "tail", t, false);
	open_peer(&pub, "pub", NULL, false);
	peers_up(&tail, &pub);
	peer_publish_text(&pub, t, "1");
	peer_wait_got(&sub, 1);
	peer_wait_reported(&pub);
	impl->broker_stop();
	peer_wait_down(&sub);
	peer_wait_down(&tail);
	peer_wait_down(&pub);
	spin(&loop, tried_again, &tail);
	assert_int_equal(tail.n_up, 1); /* nobody is up while there is no broker */
	impl->broker_start(empty);
	peer_wait_up(&sub);
	peer_wait_up(&tail);
	peer_wait_up(&pub);
	assert_int_equal(sub.resumed, !empty);
	peer_publish_text(&pub, t, "2");
	/* What was not committed when a broker went away comes again from a log. */
	while (!peer_has(&sub, t, "2"))
		peer_wait_got(&sub, sub.n_got + 1);
	peer_wait_reported(&pub);
	if (impl->like_mqtt)
		assert_int_equal(sub.n_got, 2);
	peer_close(&pub);
	peer_close(&tail);
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
	if (!impl->like_mqtt)
		skip();
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
	peers_up(&sub, &lazy);
	sub_id = lt_strdup(sub.conf.mqtt.client_id);
	lazy_id = lt_strdup(lazy.conf.mqtt.client_id);
	peer_close(&sub);
	peer_close(&lazy);
	open_peer(&pub, "pub", NULL, false);
	peers_up(&pub);
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

static bool last_came(void *arg)
{
	struct flow *f = arg;

	return f->sub->n_got > 0 && atoi(f->sub->got[f->sub->n_got - 1].data) == f->last;
}

/* Give back in small steps until the last one has arrived. */
static bool drained(void *arg)
{
	struct flow *f = arg;

	peer_done_kept(f->sub, f->sub->n_kept < 5 ? f->sub->n_kept : 5);
	peer_poll(f->sub);
	return last_came(f);
}

static void back_pressure(void **state)
{
	enum { N = 400, SIZE = 2048, BUDGET = 256 << 10 };
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
	open_peer(&pub, "pub", back, false);
	peers_up(&sub, &pub);
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
	struct flow f = {&sub, N - 1};
	bool seen[N] = {false};
	char *sub_id;

	(void)state;
	open_peer(&watcher, "watcher", late, false);
	open_peer(&sub, "sub", t, true);
	open_peer(&pub, "pub", NULL, false);
	peers_up(&watcher, &sub, &pub);
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
	if (impl->like_mqtt) /* a log hands out in bursts: perhaps it had all */
		assert_true(sub.n_got < N);
	peer_close(&sub);
	peer_conf(&sub, &loop, impl->url(), sub_id);
	peer_open(&sub, (const char *[]){t, NULL}, true, false);
	peer_wait_up(&sub);
	assert_true(sub.resumed);
	spin(&loop, last_came, &f);
	for (size_t i = 0; i < sub.n_got; i++)
		seen[atoi(sub.got[i].data)] = true;
	for (int i = 0; i < N; i++)
		if (!seen[i])
			fail_msg("%d was acknowledged and not delivered", i);
	free(sub_id);
	peer_close(&sub);
	peer_close(&pub);
	peer_close(&watcher);
}

/* A change of the topics reaches the broker's session; what is not asked for is not delivered. */
static void topics_of_a_session_change(void **state)
{
	const char *a = topic("a"), *b = topic("b"), *c = topic("c");
	struct peer sub, pub;
	char *sub_id;

	(void)state;
	if (!impl->like_mqtt)
		skip();
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
	peers_up(&pub);
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
	if (impl->like_mqtt) /* Kafka's client is back before anybody notices */
		peer_wait_down(&sub);
	for (size_t i = 0; i < sub.n_kept; i++)
		assert_memory_equal(sub.kept[i]->data, sub.got[i].data, sub.got[i].size);
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
	T(broker_restarts_with_sessions),
	T(broker_comes_back_empty),
	T(durable_session_collects),
	T(back_pressure),
	T(stop_reading),
	T(topics_of_a_session_change),
	T(kept_messages_survive_the_connection),
	T(free_at_any_time),
};

int main(int argc, char **argv)
{
	return bus_suite_main(tests, LT_ARRAY_LEN(tests), argc, argv);
}
