/* SPDX-License-Identifier: MIT */
/* What bridges know of Kafka and tell each other: two of them, and a spectator, on a bus in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../producers/bridge/control.h"
#include "latido/bus_mem.h"
#include "latido/clock.h"

#define NAME "bridges"

static char url[] = "mem://" NAME, prefix[] = "latido/v1", spectator_id[] = "spectator";
static struct lt_bus_conf spectator_conf;
static struct lt_loop loop;
static struct lt_timer poll_timer;

struct side {
	char id[16];
	struct lt_bus_conf conf;
	struct lt_have *have;
	struct lt_control *control;
	bool connected;
};

static struct side east, west;
static struct lt_bus *spectator;
static char last[512]; /* acknowledgement of n1 */
static unsigned n_acks;

static void on_state(void *arg, bool connected, const struct lt_err *err)
{
	struct side *s = arg;

	(void)err;
	s->connected = connected;
}

static void on_progress(void *arg)
{
	(void)arg;
}

static void make_conf(struct lt_bus_conf *c, char *id)
{
	*c = (struct lt_bus_conf){.url = url, .prefix = prefix};
	c->queue_bytes = 1 << 20;
	c->backoff_base_ms = 10;
	c->backoff_cap_ms = 50;
	c->mqtt.client_id = id;
	c->mqtt.max_inflight = 100;
}

static void start(struct side *s, const char *id)
{
	struct lt_err err;
	struct lt_control_options opt;

	snprintf(s->id, sizeof(s->id), "%s", id);
	make_conf(&s->conf, s->id);
	s->have = lt_have_new(prefix);
	opt = (struct lt_control_options){.conf = &s->conf,
		.name = s->id,
		.have = s->have,
		.loop = &loop,
		.arg = s,
		.state = on_state,
		.progress = on_progress};
	s->control = lt_control_new(&opt, &err);
	assert_non_null(s->control);
	assert_int_equal(lt_control_open(s->control, &err), LT_OK);
}

static void stop(struct side *s)
{
	lt_control_free(s->control);
	lt_have_free(s->have);
	memset(s, 0, sizeof(*s));
}

/* ---- the loop, until something is so ---- */

static bool (*condition)(void);
static int64_t deadline_ns;

static void on_poll(void *arg)
{
	(void)arg;
	if (condition() || lt_mono_ns() > deadline_ns)
		lt_loop_stop(&loop);
	else
		lt_timer_start_ns(&poll_timer, LT_NS_PER_MS);
}

#define until(c)                                                        \
	do {                                                            \
		condition = c;                                          \
		deadline_ns = lt_mono_ns() + 30 * LT_NS_PER_S;          \
		lt_timer_start_ns(&poll_timer, 0);                      \
		lt_loop_run(&loop);                                     \
		if (!condition())                                       \
			fail_msg("not in time: " #c ", last %s", last); \
	} while (0)

static void on_readable(void *arg)
{
	struct lt_bus_msg *m;

	(void)arg;
	while (lt_bus_poll(spectator, &m, 1) == 1) {
		snprintf(last, sizeof(last), "%.*s", (int)m->size, (const char *)m->data);
		n_acks++;
		lt_bus_done(spectator, m);
	}
}

static const struct lt_origin n1 = {.source = "n1"};

static void add(struct side *s, uint64_t epoch, uint64_t lo, uint64_t hi)
{
	for (uint64_t seq = lo; seq <= hi; seq++)
		lt_have_add(s->have, &n1, epoch, seq, 1);
}

static bool both_idle(void)
{
	return east.connected && west.connected && lt_control_idle(east.control) &&
	       lt_control_idle(west.control);
}

static bool one_to_eight(void)
{
	return both_idle() && strcmp(last, "{\"epoch\":5,\"have\":[[1,8]]}") == 0;
}

static bool epoch_six(void)
{
	return both_idle() && strcmp(last, "{\"epoch\":6,\"have\":[[2,2]]}") == 0;
}

static int set_up(void **state)
{
	static const char *const topics[] = {"latido/v1/nodes/n1/ack"};
	const struct lt_bus_options opt = {.topics = topics, .n_topics = 1};
	const struct lt_bus_handler h = {.readable = on_readable};

	(void)state;
	lt_bus_mem_reset(NAME);
	last[0] = '\0';
	n_acks = 0;
	if (lt_loop_init(&loop, NULL) < 0)
		return -1;
	lt_timer_init(&poll_timer, &loop, on_poll, NULL);
	make_conf(&spectator_conf, spectator_id);
	spectator = lt_bus_new(&spectator_conf, &opt, &h, &loop, NULL);
	if (!spectator || lt_bus_open(spectator, NULL) < 0)
		return -1;
	start(&east, "east");
	start(&west, "west");
	until(both_idle);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stop(&east);
	stop(&west);
	lt_bus_free(spectator);
	lt_timer_fini(&poll_timer);
	lt_loop_fini(&loop);
	return 0;
}

static void test_union(void **state)
{
	(void)state;
	add(&east, 5, 1, 5);
	add(&west, 5, 1, 3);
	add(&west, 5, 6, 8);
	until(one_to_eight);
	assert_true(lt_have_has(east.have, &n1, 5, 7));
	assert_true(lt_have_has(west.have, &n1, 5, 5));
	assert_false(lt_have_has(west.have, &n1, 5, 9));
	assert_false(lt_have_has(west.have, &n1, 4, 5));
	/* They agree, and so they are silent. */
	assert_true(n_acks <= 6);
}

static void test_new_one_reads_back(void **state)
{
	(void)state;
	add(&east, 5, 1, 8);
	until(one_to_eight);
	stop(&west);
	start(&west, "north");
	until(both_idle);
	assert_true(lt_have_has(west.have, &n1, 5, 8));
	/* What it adds does not take anything away. */
	lt_have_add(west.have, &n1, 5, 9, 1);
	lt_have_add(west.have, &n1, 5, 8, 1);
	until(both_idle);
	assert_true(lt_have_has(east.have, &n1, 5, 1));
}

static void test_broker_forgets(void **state)
{
	(void)state;
	add(&east, 5, 1, 8);
	until(one_to_eight);
	lt_bus_mem_down(NAME, true);
	lt_bus_mem_forget(NAME);
	last[0] = '\0';
	lt_bus_mem_down(NAME, false);
	until(one_to_eight);
}

static void test_new_epoch(void **state)
{
	(void)state;
	add(&east, 5, 1, 8);
	until(one_to_eight);
	add(&west, 6, 2, 2);
	add(&east, 5, 9, 9); /* late, of the earlier life */
	until(epoch_six);
	assert_false(lt_have_has(east.have, &n1, 5, 1));
	assert_true(lt_have_has(east.have, &n1, 6, 2));
}

static void test_holes_are_bounded(void **state)
{
	const struct lt_origin device = {.source = "n1", .device = true};

	(void)state;
	/* Every second number, for ever. */
	for (uint64_t seq = 2; seq <= 40000; seq += 2)
		lt_have_add(east.have, &n1, 5, seq, 1);
	assert_true(lt_have_has(east.have, &n1, 5, 40000));
	assert_false(lt_have_has(east.have, &n1, 5, 2));
	/* What its source does not keep any more is forgotten first. */
	for (uint64_t seq = 40002; seq <= 40020; seq += 2)
		lt_have_add(east.have, &n1, 5, seq, 40001);
	assert_false(lt_have_has(east.have, &n1, 5, 40000 - 2 * 16));
	/* A device of the same name is another source. */
	assert_false(lt_have_has(east.have, &device, 5, 40000));
	assert_int_equal(lt_have_sources(east.have), 1);
	for (unsigned i = 0; i < 1000; i++) {
		struct lt_origin o = {0};

		snprintf(o.source, sizeof(o.source), "many%u", i);
		lt_have_add(east.have, &o, 5, 1, 1);
		assert_true(lt_have_has(east.have, &o, 5, 1));
	}
	assert_int_equal(lt_have_sources(east.have), 1001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_union, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_new_one_reads_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_broker_forgets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_new_epoch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_holes_are_bounded, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
