/* SPDX-License-Identifier: MIT */
/*
 * Publishes numbered events of many sources as fast as the bus takes them, for tests and benchmarks:
 *
 *	bus_load CONFIG SOURCES EVENTS VALUES EPOCH [JUNK [FIRST]]
 *
 * Each source n0, n1, ... sends EVENTS events of EPOCH from seq FIRST (1) on, all sources by turns.
 * JUNK: after so many events one message that nobody can decode; 0: none. Ends with 0 when the broker has acknowledged all.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/tool.h"
#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/conf.h"
#include "latido/event.h"
#include "latido/log.h"

struct load {
	struct lt_loop loop;
	struct lt_bus *bus;
	const struct lt_config *conf;
	struct lt_snapshot *snapshot;
	struct lt_buf wire;
	unsigned long sources, values, epoch, junk, last_seq;
	unsigned long source, seq; /* next */
	uint64_t sent, reported, failed;
	bool all;
};

static void build(struct load *l, struct lt_event *e)
{
	static const char *const keys[] = {"i"};
	char i[24];

	lt_snapshot_begin(l->snapshot);
	lt_snapshot_family(l->snapshot, "load_value", LT_KIND_GAUGE, keys, 1);
	for (unsigned long k = 0; k < l->values; k++) {
		snprintf(i, sizeof(i), "%lu", k);
		lt_snapshot_row(
			l->snapshot, (const char *const[]){i}, (double)(l->seq * 31 + k * k) / 16);
	}
	if (lt_snapshot_event(l->snapshot, e, NULL) < 0)
		abort();
}

static int publish_junk(struct load *l, const char *source)
{
	char topic[256];

	snprintf(topic, sizeof(topic), "%s/nodes/%s/metrics", l->conf->bus.prefix, source);
	return lt_bus_publish(l->bus,
		&(struct lt_bus_out){.topic = topic, .data = "\x0a\xffjunk", .size = 6}, NULL);
}

static int publish(struct load *l, struct lt_event *e)
{
	char topic[256], source[32];

	snprintf(source, sizeof(source), "n%lu", l->source);
	snprintf(topic, sizeof(topic), "%s/nodes/%s/metrics", l->conf->bus.prefix, source);
	e->source = source;
	e->epoch = l->epoch;
	e->seq = l->seq;
	e->oldest_seq = 1;
	e->stream = "";
	e->time_ns = lt_wall_ns();
	e->has_time = true;
	e->interval_ms = 1000;
	lt_buf_reset(&l->wire);
	lt_encode_protobuf(e, true, &l->wire);
	return lt_bus_publish(l->bus,
		&(struct lt_bus_out){.topic = topic,
			.data = l->wire.data,
			.size = l->wire.len,
			.content_type = "application/x-protobuf;proto=latido.v1.Event"},
		NULL);
}

static void pump(struct load *l)
{
	struct lt_event e = {0};

	while (l->seq <= l->last_seq) {
		if (l->source == 0)
			build(l, &e);
		else if (!e.shape)
			build(l, &e);
		if (publish(l, &e) != LT_OK)
			return;
		l->sent++;
		if (l->junk && l->sent % l->junk == 0 && publish_junk(l, "n0") == LT_OK)
			l->sent++;
		if (++l->source == l->sources) {
			l->source = 0;
			l->seq++;
		}
	}
	l->all = true;
	if (l->reported == l->sent)
		lt_loop_stop(&l->loop);
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	(void)resumed;
	if (connected)
		pump(arg);
	else
		fprintf(stderr, "bus_load: %s\n", err->msg);
}

static void on_writable(void *arg)
{
	pump(arg);
}

static void on_delivered(void *arg, uint64_t token, int code, const struct lt_err *err)
{
	struct load *l = arg;

	(void)token;
	l->reported++;
	if (code < 0) {
		l->failed++;
		fprintf(stderr, "bus_load: %s\n", err->msg);
	}
	if (l->all && l->reported == l->sent)
		lt_loop_stop(&l->loop);
}

int main(int argc, char **argv)
{
	struct load l = {0};
	struct lt_bus_handler h = {
		.arg = &l, .state = on_state, .writable = on_writable, .delivered = on_delivered};
	struct lt_bus_options opt = {.comp = "load"};
	struct lt_err err = {0};
	struct lt_conf *conf;
	int64_t began_ns;

	if (argc < 6 || argc > 8) {
		fprintf(stderr,
			"usage: bus_load CONFIG SOURCES EVENTS VALUES EPOCH [JUNK [FIRST]]\n");
		return 2;
	}
	lt_log_setup("load", LT_WARN, LT_LOG_LOGFMT);
	conf = tool_conf(argv[1]);
	l.conf = lt_conf_root(conf);
	l.sources = strtoul(argv[2], NULL, 10);
	l.values = strtoul(argv[4], NULL, 10);
	l.epoch = strtoul(argv[5], NULL, 10);
	l.junk = argc > 6 ? strtoul(argv[6], NULL, 10) : 0;
	l.seq = argc > 7 ? strtoul(argv[7], NULL, 10) : 1;
	l.last_seq = l.seq + strtoul(argv[3], NULL, 10) - 1;
	l.snapshot = lt_snapshot_new((uint32_t)l.values + 1);
	if (lt_loop_init(&l.loop, &err) < 0)
		return 1;
	l.bus = lt_bus_new(&l.conf->bus, &opt, &h, &l.loop, &err);
	if (!l.bus || lt_bus_open(l.bus, &err) < 0) {
		fprintf(stderr, "bus_load: %s\n", err.msg);
		return 1;
	}
	began_ns = lt_mono_ns();
	lt_loop_run(&l.loop);
	printf("{\"events\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"seconds\": %.3f}\n", l.sent,
		l.failed, (double)(lt_mono_ns() - began_ns) / LT_NS_PER_S);
	lt_bus_free(l.bus);
	lt_loop_fini(&l.loop);
	lt_snapshot_free(l.snapshot);
	lt_buf_fini(&l.wire);
	lt_conf_free(conf);
	return l.failed ? 1 : 0;
}
