/* SPDX-License-Identifier: MIT */
/*
 * Messages a second from lt_bus_publish() to lt_bus_poll(), at QoS 1, and the CPU time of both
 * sides: through memory, and through the broker that BENCH_BUS_URL names (tests/bench/run.py's
 * "bus" starts one). With MQTT the publisher is a process of its own, as in real life: paho has one
 * lock a process. Time is from the first message received to the last one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../support/bench.h"
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
	int64_t cpu_ns;
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

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * LT_NS_PER_S + t.tv_nsec;
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

	s->cpu_ns = cpu_ns();
	if (lt_loop_init(&s->loop, &err) < 0)
		die("loop", err.msg);
	s->bus = lt_bus_new(&s->conf, &opt, &h, &s->loop, &err);
	if (!s->bus || lt_bus_open(s->bus, &err) < 0)
		die("bus", err.msg);
	lt_loop_run(&s->loop);
	lt_bus_free(s->bus);
	lt_loop_fini(&s->loop);
	s->cpu_ns = cpu_ns() - s->cpu_ns;
}

static void show(const struct bench_run *b, const struct side *s, const char *cpu_of)
{
	if (s->reads)
		bench_result(b, "messages", BENCH_SUBJECT, "messages/s",
			(double)s->got * 1e9 / (double)(s->last_ns - s->first_ns));
	bench_result(
		b, cpu_of, BENCH_SUBJECT, "us CPU/message", (double)s->cpu_ns / 1e3 / (double)s->n);
}

/* One process has both ends. */
static void through_memory(const struct bench_run *b, struct side s)
{
	s.publishes = s.reads = true;
	run(&s, "both");
	show(b, &s, "publisher and reader");
}

/* A side as a process: paho does not survive a fork, so this one never touches it. */
static pid_t begin(const struct bench_run *b, struct side *s, const char *role)
{
	pid_t child = fork();

	if (child < 0)
		die(role, "no process");
	if (child > 0)
		return child;
	run(s, role);
	show(b, s, role);
	_exit(0);
}

static void through_broker(const struct bench_run *b, struct side s)
{
	pid_t child[2];
	int p[2];
	char c;

	if (pipe(p) < 0)
		die("pipe", "cannot make one");
	s.reads = true;
	s.ready_fd = p[1];
	child[0] = begin(b, &s, "reader");
	close(p[1]);
	if (read(p[0], &c, 1) != 1)
		die("reader", "it did not subscribe");
	s.reads = false;
	s.publishes = true;
	s.ready_fd = -1;
	child[1] = begin(b, &s, "publisher");
	for (int i = 0, status; i < 2; i++)
		if (waitpid(child[i], &status, 0) != child[i] || status != 0)
			die("a side", "it failed");
	close(p[0]);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {200, 2000};
	const char *broker = getenv("BENCH_BUS_URL");
	struct bench_run b;

	bench_init(&b, "bus", "bus", 3, 1, argc, argv);
	for (b.round = 1; b.round <= b.rounds; b.round++)
		for (size_t i = 0; i < LT_ARRAY_LEN(sizes); i++) {
			struct side s = {.ready_fd = -1, .size = sizes[i]};

			s.data = lt_calloc(1, s.size + 1);
			s.conf.queue_bytes = 256 << 20;
			s.conf.mqtt.max_inflight = 1000;
			s.conf.mqtt.keepalive_ms = 60000;
			s.conf.mqtt.session_expiry_ms = 60000;
			s.conf.mqtt.connect_timeout_ms = 10000;
			s.conf.backoff_base_ms = s.conf.backoff_cap_ms = 1000;
			s.conf.url = (char *)"mem://bench";
			s.n = (size_t)(1000000 * b.seconds);
			bench_case(&b, "through memory, %zu bytes a message", s.size);
			through_memory(&b, s);
			if (broker) {
				s.conf.url = lt_strdup(broker);
				s.n = (size_t)(20000 * b.seconds);
				bench_case(&b, "through Mosquitto, QoS 1, %zu bytes a message",
					s.size);
				through_broker(&b, s);
				free(s.conf.url);
			}
			free(s.data);
		}
	return 0;
}
