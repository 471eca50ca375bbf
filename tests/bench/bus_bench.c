/* SPDX-License-Identifier: MIT */
/*
 * Messages a second from lt_bus_publish() to lt_bus_poll(), at QoS 1, and what they cost.
 *
 *	bus_bench [URL [MESSAGES [BYTES [WINDOW]]]]
 *
 * By default mem://bench. With MQTT the publisher is a process of its own, as in real life: paho
 * has one lock a process. Time is from the first message received to the last one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/mem.h"

#define TOPIC "latido/v1/nodes/bench/metrics"

struct side {
	struct lt_loop loop;
	struct lt_bus_conf conf;
	struct lt_bus *bus;
	bool publishes, reads;
	size_t n, sent, reported, got;
	char *data;
	size_t size;
	int64_t first_ns, last_ns;
	int ready_fd; /* where the reader says that it has subscribed, or -1 */
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bus_bench: %s: %s\n", what, why);
	exit(1);
}

static void check_end(struct side *s)
{
	if ((!s->publishes || s->reported == s->n) && (!s->reads || s->got >= s->n))
		lt_loop_stop(&s->loop);
}

static void publish(struct side *s)
{
	struct lt_bus_out m = {.topic = TOPIC,
		.data = s->data,
		.size = s->size,
		.content_type = "application/x-protobuf"};

	while (s->publishes && s->sent < s->n) {
		struct lt_err err;
		int rc;

		m.token = s->sent;
		rc = lt_bus_publish(s->bus, &m, &err);
		if (rc == LT_EFULL)
			return;
		if (rc != LT_OK)
			die("publish", err.msg);
		s->sent++;
	}
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct side *s = arg;

	(void)resumed;
	if (!connected)
		die("connection", err->msg);
	if (s->ready_fd >= 0 && write(s->ready_fd, "r", 1) != 1)
		die("pipe", "write");
	publish(s);
}

static void on_readable(void *arg)
{
	struct side *s = arg;
	struct lt_bus_msg *m[64];
	size_t n;

	while ((n = lt_bus_poll(s->bus, m, LT_ARRAY_LEN(m))) > 0) {
		s->last_ns = lt_mono_ns();
		if (s->got == 0)
			s->first_ns = s->last_ns;
		s->got += n;
		for (size_t i = 0; i < n; i++)
			lt_bus_done(s->bus, m[i]);
	}
	check_end(s);
}

static void on_writable(void *arg)
{
	publish(arg);
}

static void on_delivered(void *arg, uint64_t token, int code, const struct lt_err *err)
{
	struct side *s = arg;

	(void)token;
	if (code != LT_OK)
		die("delivered", err->msg);
	s->reported++;
	publish(s);
	check_end(s);
}

static double cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void run(struct side *s, const char *role)
{
	struct lt_bus_handler h = {.arg = s,
		.state = on_state,
		.readable = on_readable,
		.writable = on_writable,
		.delivered = on_delivered};
	const char *topic = TOPIC;
	struct lt_bus_options opt = {
		.comp = role, .durable = true, .topics = &topic, .n_topics = s->reads};
	struct lt_err err;

	if (lt_loop_init(&s->loop, &err) < 0)
		die("loop", err.msg);
	s->bus = lt_bus_new(&s->conf, &opt, &h, &s->loop, &err);
	if (!s->bus || lt_bus_open(s->bus, &err) < 0)
		die("bus", err.msg);
	lt_loop_run(&s->loop);
	lt_bus_free(s->bus);
	lt_loop_fini(&s->loop);
	if (s->reads)
		printf("%s: %zu messages of %zu bytes, %.0f a second\n", s->conf.url, s->got,
			s->size, (double)s->got * 1e9 / (double)(s->last_ns - s->first_ns));
	printf("  %s: %.1f us of CPU a message\n", role, cpu_us() / (double)s->n);
}

static size_t number(int argc, char **argv, int i, size_t def)
{
	return argc > i ? (size_t)strtoull(argv[i], NULL, 10) : def;
}

int main(int argc, char **argv)
{
	struct side s = {.ready_fd = -1};
	int p[2], status = 0;
	pid_t child;
	char c;

	s.conf.url = argc > 1 ? argv[1] : (char *)"mem://bench";
	s.n = number(argc, argv, 2, 100000);
	s.size = number(argc, argv, 3, 200);
	s.data = lt_calloc(1, s.size + 1);
	s.conf.queue_bytes = 256 << 20;
	s.conf.mqtt.max_inflight = (int64_t)number(argc, argv, 4, 100);
	s.conf.mqtt.keepalive_ms = 60000;
	s.conf.mqtt.session_expiry_ms = 60000;
	s.conf.mqtt.connect_timeout_ms = 10000;
	s.conf.backoff_base_ms = s.conf.backoff_cap_ms = 1000;
	if (strncmp(s.conf.url, "mem:", 4) == 0) {
		s.publishes = s.reads = true;
		run(&s, "both");
		free(s.data);
		return 0;
	}
	if (pipe(p) < 0)
		die("pipe", "cannot make one");
	child = fork();
	if (child == 0) {
		if (read(p[0], &c, 1) != 1)
			die("reader", "it did not subscribe");
		s.publishes = true;
		run(&s, "publisher");
		fflush(stdout);
		_exit(0);
	}
	s.reads = true;
	s.ready_fd = p[1];
	run(&s, "reader");
	free(s.data);
	waitpid(child, &status, 0);
	return status == 0 ? 0 : 1;
}
