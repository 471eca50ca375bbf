/* SPDX-License-Identifier: MIT */
/*
 * A subscriber that measures how late events are: from the time that an event carries until it is
 * decoded here.
 *
 *	lag CONFIG
 *
 * Prints "ready" once it has subscribed to the events of all sources, and after SIGTERM a JSON
 * object with their number and the quantiles in ms.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "../../producers/load/load.h"
#include "../support/tool.h"
#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/conf.h"
#include "latido/event.h"
#include "latido/log.h"

struct lag {
	struct lt_loop loop;
	struct lt_bus *bus;
	struct lt_shapes *shapes;
	struct lt_arena arena;
	struct lt_timer look;
	const struct lt_config *conf;
	struct load_hist hist;
	uint64_t refused;
};

static volatile sig_atomic_t stopping;

static void on_signal(int signum)
{
	(void)signum;
	stopping = 1;
}

static void on_look(void *arg)
{
	struct lag *l = arg;

	if (stopping)
		lt_loop_stop(&l->loop);
	else
		lt_timer_start_ns(&l->look, LT_NS_PER_S / 20);
}

static void take(struct lag *l, const struct lt_bus_msg *m)
{
	struct lt_event *first = NULL;
	struct lt_origin origin;
	enum lt_reason reason;
	uint64_t hash;

	lt_arena_reset(&l->arena);
	if (lt_origin_from_topic(&origin, l->conf->bus.prefix, m->topic, NULL) < 0) {
		l->refused++;
		return;
	}
	origin.arrived_ns = m->arrived_ns;
	origin.content_type = m->content_type;
	if (lt_decode(l->shapes, NULL, &origin, m->data, m->size, &l->arena, &first, &reason, &hash,
		    NULL) != LT_OK) {
		l->refused++;
		return;
	}
	for (const struct lt_event *e = first; e; e = e->next)
		load_hist_add(&l->hist, lt_wall_ns() - e->time_ns);
	lt_events_release(first);
}

static void on_readable(void *arg)
{
	struct lag *l = arg;
	struct lt_bus_msg *m[64];
	size_t n;

	while ((n = lt_bus_poll(l->bus, m, LT_ARRAY_LEN(m))) > 0)
		for (size_t i = 0; i < n; i++) {
			take(l, m[i]);
			lt_bus_done(l->bus, m[i]);
		}
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	(void)arg;
	(void)resumed;
	puts(connected ? "ready" : err->msg);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct lag l = {.shapes = lt_shapes_new(64 << 20, 100000)};
	struct lt_bus_handler h = {.arg = &l, .state = on_state, .readable = on_readable};
	struct lt_bus_options opt = {.comp = "lag", .n_topics = 1};
	struct lt_buf topic = {0};
	struct lt_err err = {0};
	struct lt_conf *conf;

	if (argc != 2) {
		fprintf(stderr, "usage: lag CONFIG\n");
		return 2;
	}
	lt_log_setup("lag", LT_WARN, LT_LOG_LOGFMT);
	conf = tool_conf(argv[1]);
	l.conf = lt_conf_root(conf);
	lt_buf_printf(&topic, "%s/nodes/+/metrics", l.conf->bus.prefix);
	opt.topics = (const char *const[]){topic.data};
	signal(SIGTERM, on_signal);
	if (lt_loop_init(&l.loop, &err) < 0)
		return 1;
	lt_timer_init(&l.look, &l.loop, on_look, &l);
	on_look(&l);
	l.bus = lt_bus_new(&l.conf->bus, &opt, &h, &l.loop, &err);
	if (!l.bus || lt_bus_open(l.bus, &err) < 0) {
		fprintf(stderr, "lag: %s\n", err.msg);
		return 1;
	}
	lt_loop_run(&l.loop);
	printf("{\"n\": %" PRIu64 ", \"refused\": %" PRIu64
	       ", \"p50\": %.3f, \"p99\": %.3f, \"p99.9\": %.3f}\n",
		l.hist.n, l.refused, (double)load_hist_quantile_ns(&l.hist, 0.5) / 1e6,
		(double)load_hist_quantile_ns(&l.hist, 0.99) / 1e6,
		(double)load_hist_quantile_ns(&l.hist, 0.999) / 1e6);
	lt_bus_free(l.bus);
	lt_timer_fini(&l.look);
	lt_loop_fini(&l.loop);
	lt_arena_fini(&l.arena);
	lt_shapes_free(l.shapes);
	lt_buf_fini(&topic);
	lt_conf_free(conf);
	return 0;
}
