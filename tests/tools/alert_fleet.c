/* SPDX-License-Identifier: MIT */
/*
 * Many sources, both as events on the bus and as scrape targets with the same values, for
 * tests/bench/alert.py:
 *
 *	alert_fleet CONFIG SOURCES SERIES INTERVAL_MS
 *
 * Prints "port N" (targets are /s/0, /s/1, ... there) and, on each line of standard input:
 *	begin		send an event of each source n0, n1, ... every INTERVAL_MS, spread over it
 *	together	the same, but all at its beginning, as agents on the clock's grid do
 *	jump N		bench_jump of source N is 1 from its next event on; when events are spread,
 *			that one is sent at once. Prints "jumped N <monotonic ns before sending>".
 *	back N		it is 0 again
 *	count		prints "count <events sent> <of these acknowledged> <scrapes> <late ms>": the
 *			most by which an event came after its time since the last question
 * Ends with its input.
 */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/conf.h"
#include "latido/event.h"
#include "latido/log.h"

#define CORES   4
#define DISKS   2
#define CLASSES 7 /* sources whose numbers are equal modulo this say the same */
#define TICK_NS (2 * LT_NS_PER_MS)

static const char *const modes[] = {
	"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"};
static const char *const fs[] = {"node_filesystem_avail_bytes", "node_filesystem_files",
	"node_filesystem_files_free", "node_filesystem_readonly", "node_filesystem_size_bytes"};
#define READONLY 3
#define FIRST_FS (1 + CORES * (uint32_t)LT_ARRAY_LEN(modes))
#define FIRST_1  (FIRST_FS + DISKS * (uint32_t)LT_ARRAY_LEN(fs))

struct text {
	struct lt_buf buf;
	int64_t t;
};

struct fleet {
	struct lt_loop loop;
	struct lt_timer timer;
	struct lt_bus *bus;
	const struct lt_config *conf;
	struct event *input;
	struct evhttp *http;
	struct lt_snapshot *snapshot;
	struct lt_event event; /* its shape */
	double *values;
	struct lt_buf wire, line;
	struct text texts[CLASSES][2];
	uint32_t sources, series;
	int64_t interval_ns;
	uint64_t epoch, *seq;
	uint8_t *jumping; /* 1: from the next event on, 2: said */
	bool together, running;
	int64_t begun_ns; /* monotonic; of the first interval */
	uint64_t due;     /* events from begun_ns on */
	uint64_t sent, reported, scrapes;
	int64_t late_ns;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "alert_fleet: %s: %s\n", what, why);
	exit(1);
}

/* ---- what they say ---- */

static void make_shape(struct fleet *f)
{
	static const char *const cpu_keys[] = {"cpu", "mode"};
	static const char *const fs_keys[] = {"device", "mountpoint"};
	static const char *const one[] = {"i"};
	char a[32], b[32];

	lt_snapshot_begin(f->snapshot);
	lt_snapshot_value(f->snapshot, "bench_jump", LT_KIND_GAUGE, 0);
	lt_snapshot_family(f->snapshot, "node_cpu_seconds_total", LT_KIND_COUNTER, cpu_keys, 2);
	for (int c = 0; c < CORES; c++)
		for (size_t m = 0; m < LT_ARRAY_LEN(modes); m++) {
			snprintf(a, sizeof(a), "%d", c);
			lt_snapshot_row(f->snapshot, (const char *[]){a, modes[m]}, 0);
		}
	for (size_t i = 0; i < LT_ARRAY_LEN(fs); i++) {
		lt_snapshot_family(f->snapshot, fs[i], LT_KIND_GAUGE, fs_keys, 2);
		for (int d = 0; d < DISKS; d++) {
			snprintf(a, sizeof(a), "/dev/sd%d", d);
			snprintf(b, sizeof(b), "/disk%d", d);
			lt_snapshot_row(f->snapshot, (const char *[]){a, b}, 0);
		}
	}
	lt_snapshot_value(f->snapshot, "node_memory_MemAvailable_bytes", LT_KIND_GAUGE, 0);
	lt_snapshot_value(f->snapshot, "node_memory_MemTotal_bytes", LT_KIND_GAUGE, 0);
	lt_snapshot_value(f->snapshot, "node_timex_sync_status", LT_KIND_GAUGE, 0);
	lt_snapshot_value(f->snapshot, "node_vmstat_oom_kill", LT_KIND_COUNTER, 0);
	lt_snapshot_family(f->snapshot, "node_other", LT_KIND_GAUGE, one, 1);
	for (uint32_t i = FIRST_1 + 4; i < f->series; i++) {
		snprintf(a, sizeof(a), "%u", i);
		lt_snapshot_row(f->snapshot, (const char *[]){a}, 0);
	}
	if (lt_snapshot_event(f->snapshot, &f->event, NULL) != LT_OK || f->event.n != f->series)
		die("series", "at least 48");
}

static void fill(struct fleet *f, uint32_t class, bool jump, int64_t t)
{
	double *v = f->values;
	uint32_t n = 0;

	v[n++] = jump;
	while (n < FIRST_FS)
		v[n++] = (double)t * 0.9 + class;
	for (size_t i = 0; i < LT_ARRAY_LEN(fs); i++)
		for (int d = 0; d < DISKS; d++)
			v[n++] = i == READONLY ? 0 : 1e9 + (double)(t % 1000);
	v[n++] = 4e9 + (double)(t % 1000);
	v[n++] = 8e9;
	v[n++] = 1;
	v[n++] = 0;
	for (uint32_t i = 0; n < f->series; i++)
		v[n++] = (double)(t % 1000 + i);
}

/* ---- as targets ---- */

static void on_scrape(struct evhttp_request *req, void *arg)
{
	struct fleet *f = arg;
	const char *path = evhttp_request_get_uri(req);
	unsigned long n = strncmp(path, "/s/", 3) ? ULONG_MAX : strtoul(path + 3, NULL, 10);
	int64_t t = lt_wall_ns() / LT_NS_PER_S;
	struct text *x;

	if (n >= f->sources) {
		evhttp_send_error(req, 404, NULL);
		return;
	}
	x = &f->texts[n % CLASSES][f->jumping[n] > 0];
	if (x->t != t) {
		x->t = t;
		lt_buf_reset(&x->buf);
		fill(f, (uint32_t)n % CLASSES, f->jumping[n] > 0, t);
		for (uint32_t i = 0; i < f->series; i++) {
			lt_buf_str(&x->buf, f->event.shape->series[i].text);
			lt_buf_char(&x->buf, ' ');
			lt_buf_double(&x->buf, f->values[i]);
			lt_buf_char(&x->buf, '\n');
		}
	}
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type",
		"text/plain; version=0.0.4");
	evbuffer_add(evhttp_request_get_output_buffer(req), x->buf.data, x->buf.len);
	evhttp_send_reply(req, 200, "OK", NULL);
	f->scrapes++;
}

static void listen_http(struct fleet *f)
{
	struct evhttp_bound_socket *s;
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	f->http = evhttp_new(f->loop.base);
	evhttp_set_gencb(f->http, on_scrape, f);
	s = evhttp_bind_socket_with_handle(f->http, "127.0.0.1", 0);
	if (!s || getsockname(evhttp_bound_socket_get_fd(s), (struct sockaddr *)&at, &len) < 0)
		die("listen", "no port");
	printf("port %u\n", ntohs(at.sin_port));
}

/* ---- as events ---- */

static int send_event(struct fleet *f, uint32_t n)
{
	char topic[128], source[32];
	struct lt_event *e = &f->event;
	struct lt_err err;
	int64_t at_ns;
	int rc;

	snprintf(source, sizeof(source), "n%u", n);
	snprintf(topic, sizeof(topic), "%s/nodes/%s/metrics", f->conf->bus.prefix, source);
	e->source = source;
	e->stream = "";
	e->epoch = f->epoch;
	e->seq = f->seq[n] + 1;
	e->oldest_seq = 1;
	e->time_ns = lt_wall_ns();
	e->has_time = true;
	e->interval_ms = (uint32_t)(f->interval_ns / LT_NS_PER_MS);
	fill(f, n % CLASSES, f->jumping[n], e->time_ns / LT_NS_PER_S);
	e->values = (const uint8_t *)f->values;
	lt_buf_reset(&f->wire);
	lt_encode_protobuf(e, true, &f->wire);
	at_ns = lt_mono_ns();
	rc = lt_bus_publish(f->bus,
		&(struct lt_bus_out){.topic = topic,
			.data = f->wire.data,
			.size = f->wire.len,
			.content_type = "application/x-protobuf;proto=latido.v1.Event"},
		&err);
	if (rc == LT_OK) {
		f->seq[n]++;
		f->sent++;
		if (f->jumping[n] == 1) {
			printf("jumped %u %" PRId64 "\n", n, at_ns);
			f->jumping[n] = 2;
		}
	} else if (rc != LT_EFULL) {
		die("publish", err.msg);
	}
	return rc;
}

static int64_t due_ns(const struct fleet *f)
{
	uint64_t round = f->due / f->sources, n = f->due % f->sources;
	int64_t at_ns = f->begun_ns + (int64_t)round * f->interval_ns;

	return f->together ? at_ns : at_ns + f->interval_ns * (int64_t)n / f->sources;
}

static void pump(struct fleet *f)
{
	int64_t now_ns = lt_mono_ns();

	while (f->running && due_ns(f) <= now_ns) {
		if (send_event(f, (uint32_t)(f->due % f->sources)) != LT_OK)
			return; /* on_writable() goes on */
		if (now_ns - due_ns(f) > f->late_ns)
			f->late_ns = now_ns - due_ns(f);
		f->due++;
	}
	if (f->running)
		lt_timer_start_ns(&f->timer, TICK_NS);
}

static void on_pump(void *arg)
{
	pump(arg);
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	(void)resumed;
	if (!connected)
		die("bus", err->msg);
	pump(arg);
}

static void on_delivered(void *arg, uint64_t token, int code, const struct lt_err *err)
{
	struct fleet *f = arg;

	(void)token;
	if (code != LT_OK)
		die("delivered", err->msg);
	f->reported++;
}

/* ---- orders ---- */

static void begin(struct fleet *f, bool together)
{
	int64_t wall_ns = lt_wall_ns();

	/* On the wall clock's grid. */
	f->begun_ns = lt_mono_ns() + f->interval_ns - wall_ns % f->interval_ns;
	f->together = together;
	f->due = 0;
	f->running = true;
	pump(f);
}

static void order(struct fleet *f, const char *line)
{
	unsigned long n = strtoul(line + strcspn(line, "0123456789"), NULL, 10);

	if (!strcmp(line, "begin") || !strcmp(line, "together")) {
		begin(f, *line == 't');
	} else if (!strncmp(line, "jump ", 5) && n < f->sources) {
		f->jumping[n] = 1;
		if (!f->together)
			send_event(f, (uint32_t)n);
	} else if (!strncmp(line, "back ", 5) && n < f->sources) {
		f->jumping[n] = 0;
	} else if (!strcmp(line, "count")) {
		printf("count %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 "\n", f->sent,
			f->reported, f->scrapes, f->late_ns / LT_NS_PER_MS);
		f->late_ns = 0;
	} else {
		die("what is this", line);
	}
}

static void on_input(evutil_socket_t fd, short what, void *arg)
{
	struct fleet *f = arg;
	char text[4096];
	ssize_t n = read(fd, text, sizeof(text));

	(void)what;
	if (n <= 0) {
		lt_loop_stop(&f->loop);
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (text[i] != '\n') {
			lt_buf_char(&f->line, text[i]);
			continue;
		}
		lt_buf_char(&f->line, '\0');
		order(f, f->line.data);
		lt_buf_reset(&f->line);
	}
}

int main(int argc, char **argv)
{
	struct lt_bus_handler handler = {
		.state = on_state, .writable = on_pump, .delivered = on_delivered};
	const struct lt_bus_options opt = {.comp = "fleet"};
	struct lt_buf report = {0};
	struct fleet f = {0};
	struct lt_conf *conf;
	struct lt_err err;

	if (argc != 5)
		die("usage", "alert_fleet CONFIG SOURCES SERIES INTERVAL_MS");
	setvbuf(stdout, NULL, _IOLBF, 0);
	lt_log_set_level(LT_ERROR);
	conf = lt_conf_load(
		&lt_config_schema, (const char *const[]){argv[1]}, 1, NULL, NULL, 0, &report);
	if (!conf)
		die("configuration", report.data);
	f.conf = lt_conf_root(conf);
	f.sources = (uint32_t)strtoul(argv[2], NULL, 10);
	f.series = (uint32_t)strtoul(argv[3], NULL, 10);
	f.interval_ns = strtoll(argv[4], NULL, 10) * LT_NS_PER_MS;
	f.epoch = (uint64_t)(lt_wall_ns() / LT_NS_PER_US);
	f.seq = lt_calloc(f.sources, sizeof(*f.seq));
	f.jumping = lt_calloc(f.sources, 1);
	f.values = lt_calloc(f.series, sizeof(*f.values));
	f.snapshot = lt_snapshot_new(f.series);
	make_shape(&f);
	handler.arg = &f;
	if (lt_loop_init(&f.loop, &err) < 0)
		die("loop", err.msg);
	lt_timer_init(&f.timer, &f.loop, on_pump, &f);
	listen_http(&f);
	f.bus = lt_bus_new(&f.conf->bus, &opt, &handler, &f.loop, &err);
	if (!f.bus || lt_bus_open(f.bus, &err) < 0)
		die("bus", err.msg);
	f.input = event_new(f.loop.base, 0, EV_READ | EV_PERSIST, on_input, &f);
	event_add(f.input, NULL);
	lt_loop_run(&f.loop);
	lt_bus_free(f.bus);
	return 0;
}
