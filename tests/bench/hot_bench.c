/* SPDX-License-Identifier: MIT */
/*
 * The hot state's put() beside a bare pipelined loop that sends the same commands: what do building
 * them, remembering what Redis has, and understanding the answers cost?
 *
 * The commands of a run are recorded once on the way to Redis, byte by byte. Then both take turns on
 * the empty Redis whose port BENCH_REDIS_PORT names (hot.py starts it): the sink anew, and the
 * recording, a batch ahead of the answers, which are only counted. The clock is made up, one
 * event a second of each source, so that every run has the same commands; half of the values change
 * from one event to the next.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../support/bench.h"
#include "latido/clock.h"
#include "latido/conf.h"
#include "latido/consumer.h"
#include "latido/event.h"
#include "latido/log.h"
#include "latido/sink_redis.h"

#define EPOCH UINT64_C(1763700000000000)
#define BATCH 512
#define WARM  1 /* events of each source before time is taken */

struct recorder {
	int listener, client, server;
	pthread_t thread;
	struct lt_buf bytes;
};

struct load {
	size_t n_sources, n_values, n_events; /* of each source, after the warm ones */
	char (*names)[32];
	struct lt_event *events;
	struct lt_event **list;
	double *values; /* of all sources at one time */
	struct lt_shapes *shapes;
	struct lt_shape *shape;
	int64_t begin_ns;
};

/* Where a batch ends in the recording, and how many answers it has. */
struct mark {
	size_t end, answers;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "hot_bench: %s: %s\n", what, why);
	exit(1);
}

static int64_t real_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * LT_NS_PER_S + t.tv_nsec;
}

/* ---- Redis, bare ---- */

static int redis_port(void)
{
	const char *text = getenv("BENCH_REDIS_PORT");
	int port = text ? atoi(text) : 0;

	if (port <= 0)
		die("BENCH_REDIS_PORT", "run tests/bench/hot.py");
	return port;
}

static int dial(int port)
{
	const struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		die("Redis", "it cannot be reached");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static void send_all(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);

		if (sent <= 0)
			die("send", "the connection broke");
		data += sent;
		n -= (size_t)sent;
	}
}

/* Counts complete answers in what arrives; answers inside of arrays belong to them. */
struct counter {
	char line[64];
	size_t len, skip; /* of the line so far; of a string still to come */
	size_t nested;    /* elements of arrays still to come */
	size_t n;
};

static void count_one(struct counter *c)
{
	if (c->nested > 0)
		c->nested--;
	if (c->nested == 0)
		c->n++;
}

static void count_line(struct counter *c)
{
	long n = strtol(c->line + 1, NULL, 10);

	if (c->line[0] == '-')
		die("Redis", c->line);
	if (c->line[0] == '$' && n >= 0) {
		c->skip = (size_t)n + 2;
	} else if (c->line[0] == '*' && n > 0) {
		/* The array counts when its last element does. */
		c->nested += (size_t)n - (c->nested > 0);
	} else {
		count_one(c);
	}
}

static void count(struct counter *c, const char *data, size_t n)
{
	for (size_t i = 0; i < n;) {
		if (c->skip > 0) {
			size_t part = c->skip < n - i ? c->skip : n - i;

			i += part;
			c->skip -= part;
			if (c->skip == 0)
				count_one(c);
			continue;
		}
		if (data[i] == '\n') {
			c->line[c->len] = '\0';
			c->len = 0;
			count_line(c);
		} else if (c->len < sizeof(c->line) - 1) {
			c->line[c->len++] = data[i];
		}
		i++;
	}
}

/* Until there were @wanted since @c was empty. */
static void read_answers(int fd, struct counter *c, size_t wanted)
{
	static char data[1 << 16];

	while (c->n < wanted) {
		ssize_t n = recv(fd, data, sizeof(data), 0);

		if (n <= 0)
			die("recv", "the connection broke");
		count(c, data, (size_t)n);
	}
}

static void empty_redis(int fd)
{
	static const char text[] = "*1\r\n$8\r\nFLUSHALL\r\n";
	struct counter c = {0};

	send_all(fd, text, sizeof(text) - 1);
	read_answers(fd, &c, 1);
}

/* ---- recording ---- */

static void *record(void *arg)
{
	struct recorder *r = arg;
	struct pollfd p[2];
	static char data[1 << 16];

	r->client = accept(r->listener, NULL, NULL);
	p[0] = (struct pollfd){.fd = r->client, .events = POLLIN};
	p[1] = (struct pollfd){.fd = r->server, .events = POLLIN};
	while (poll(p, 2, -1) > 0)
		for (int i = 0; i < 2; i++) {
			ssize_t n;

			if (!p[i].revents)
				continue;
			n = recv(p[i].fd, data, sizeof(data), 0);
			if (n <= 0)
				return NULL;
			if (i == 0)
				lt_buf_add(&r->bytes, data, (size_t)n);
			send_all(p[1 - i].fd, data, (size_t)n);
		}
	return NULL;
}

static int recorder_start(struct recorder *r)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);

	r->server = dial(redis_port());
	r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r->listener < 0 || bind(r->listener, (struct sockaddr *)&at, len) < 0 ||
		listen(r->listener, 1) < 0 ||
		getsockname(r->listener, (struct sockaddr *)&at, &len) < 0 ||
		pthread_create(&r->thread, NULL, record, r) != 0)
		die("recorder", "it does not start");
	return ntohs(at.sin_port);
}

/* Its bytes are complete: every answer was read by the client. */
static void recorder_stop(struct recorder *r)
{
	pthread_join(r->thread, NULL);
	close(r->client);
	close(r->server);
	close(r->listener);
}

/* Commands in a piece of a recording: arrays of strings. */
static size_t count_commands(const char *p, const char *end)
{
	size_t n = 0;

	for (; p < end; n++) {
		char *at;
		long args = strtol(p + 1, &at, 10);

		if (*p != '*')
			die("recording", "it is cut inside a command");
		for (at += 2; args > 0; args--) {
			size_t size = strtoul(at + 1, &at, 10);

			at += 2 + size + 2;
		}
		p = at;
	}
	return n;
}

/* ---- the events ---- */

static void load_make(struct load *l)
{
	static const char *const key = "i";
	struct lt_snapshot *s = lt_snapshot_new(100000);
	struct lt_event e = {0};
	struct lt_err err;
	char text[24];

	lt_snapshot_begin(s);
	lt_snapshot_family(s, "bench_value", LT_KIND_GAUGE, &key, 1);
	for (size_t i = 0; i < l->n_values; i++) {
		const char *value = text;

		snprintf(text, sizeof(text), "%zu", i);
		lt_snapshot_row(s, &value, 0);
	}
	if (lt_snapshot_event(s, &e, &err) != LT_OK)
		die("shape", err.msg);
	l->shapes = lt_shapes_new(16 << 20, 1000);
	l->shape = lt_shapes_intern(l->shapes, e.shape->bytes, e.shape->size, &err);
	if (!l->shape)
		die("shape", err.msg);
	lt_snapshot_free(s);
	l->names = lt_calloc(l->n_sources, sizeof(*l->names));
	for (size_t i = 0; i < l->n_sources; i++)
		snprintf(l->names[i], sizeof(l->names[i]), "node%zu", i);
	l->events = lt_calloc(BATCH, sizeof(*l->events));
	l->list = lt_calloc(BATCH, sizeof(struct lt_event *));
	l->values = lt_calloc(l->n_values, sizeof(*l->values));
	l->begin_ns = real_ns(CLOCK_REALTIME);
}

static void load_free(struct load *l)
{
	lt_shape_put(l->shape);
	lt_shapes_free(l->shapes);
	free(l->names);
	free(l->events);
	free(l->list);
	free(l->values);
}

static size_t batches_of(const struct load *l, size_t events)
{
	return (l->n_sources + BATCH - 1) / BATCH * events;
}

/* Batch @i of all: the clock goes on with each event of all sources. */
static size_t load_batch(struct load *l, size_t i)
{
	const size_t each = batches_of(l, 1), seq = i / each + 1, first = i % each * BATCH;
	size_t n = l->n_sources - first < BATCH ? l->n_sources - first : BATCH;
	int64_t now_ns = l->begin_ns + (int64_t)seq * LT_NS_PER_S;

	lt_clock_fake(true, now_ns, now_ns);
	for (size_t k = 0; k < l->n_values; k++)
		l->values[k] = (double)(k % 2 ? k : seq * 31 + k * k) / 16;
	for (size_t k = 0; k < n; k++) {
		l->events[k] = (struct lt_event){.source = l->names[first + k],
			.stream = "",
			.epoch = EPOCH,
			.seq = seq,
			.time_ns = now_ns,
			.has_time = true,
			.interval_ms = 1000,
			.shape = l->shape,
			.values = (const uint8_t *)l->values,
			.n = l->shape->n_series,
			.arrived_ns = now_ns};
		l->list[k] = &l->events[k];
	}
	return n;
}

struct took {
	int64_t ns, cpu_ns;
};

/* All events through a sink of its own; @recorded to @marks: notes for the bare loop, or NULL. */
static struct took run_sink(
	struct load *l, int port, const struct lt_buf *recorded, size_t *begin, struct mark *marks)
{
	const size_t warm = batches_of(l, WARM), all = warm + batches_of(l, l->n_events);
	struct lt_sink *sink = lt_calloc(1, lt_sink_redis_ops.size);
	struct lt_buf text = {0}, report = {0};
	struct took t = {0};
	struct lt_conf *conf;
	struct lt_err err;

	lt_buf_printf(&text, "redis: {url: \"redis://127.0.0.1:%d/0\"}\nhot: {max_rate_hz: 1000}\n",
		port);
	conf = lt_conf_load_text(&lt_config_schema, "bench", text.data, text.len, &report);
	if (!conf)
		die("configuration", report.data);
	sink->ops = &lt_sink_redis_ops;
	load_batch(l, 0);
	if (sink->ops->init(sink, lt_conf_root(conf), &err) || sink->ops->open(sink, &err))
		die("open", err.msg);
	if (begin)
		*begin = recorded->len;
	for (size_t i = 0; i < all; i++) {
		struct lt_batch batch = {l->list, load_batch(l, i)};
		size_t bad, before = recorded ? recorded->len : 0;

		if (i == warm) {
			t.ns = real_ns(CLOCK_MONOTONIC);
			t.cpu_ns = real_ns(CLOCK_PROCESS_CPUTIME_ID);
		}
		if (sink->ops->put(sink, &batch, &bad, &err))
			die("put", err.msg);
		if (marks)
			marks[i] = (struct mark){
				recorded->len, count_commands(recorded->data + before,
						       recorded->data + recorded->len)};
	}
	t.ns = real_ns(CLOCK_MONOTONIC) - t.ns;
	t.cpu_ns = real_ns(CLOCK_PROCESS_CPUTIME_ID) - t.cpu_ns;
	lt_clock_fake(false, 0, 0);
	sink->ops->fini(sink);
	free(sink);
	lt_conf_free(conf);
	lt_buf_fini(&text);
	lt_buf_fini(&report);
	return t;
}

/* A batch is sent before the answers to the one before are read: Redis never waits. */
static struct took run_bare(const struct load *l, int fd, const struct lt_buf *recorded, size_t at,
	const struct mark *marks)
{
	const size_t warm = batches_of(l, WARM), all = warm + batches_of(l, l->n_events);
	struct counter c = {0};
	struct took t = {0};
	size_t sent = 0;

	for (size_t i = 0; i < all; i++) {
		if (i == warm) {
			read_answers(fd, &c, sent);
			t.ns = real_ns(CLOCK_MONOTONIC);
			t.cpu_ns = real_ns(CLOCK_PROCESS_CPUTIME_ID);
		}
		send_all(fd, recorded->data + at, marks[i].end - at);
		at = marks[i].end;
		read_answers(fd, &c, sent);
		sent += marks[i].answers;
	}
	read_answers(fd, &c, sent);
	t.ns = real_ns(CLOCK_MONOTONIC) - t.ns;
	t.cpu_ns = real_ns(CLOCK_PROCESS_CPUTIME_ID) - t.cpu_ns;
	return t;
}

static void show(const struct bench_run *run, const struct load *l, const char *name,
	enum bench_role role, struct took t)
{
	double n = (double)(l->n_sources * l->n_events * l->n_values);

	bench_result(run, name, role, "values/s", n * 1e9 / (double)t.ns);
	bench_result(run, name, role, "CPU s/M values", (double)t.cpu_ns / 1e3 / n);
}

/* ---- one case ---- */

struct taken {
	struct load l;
	struct lt_buf bytes;
	struct mark *marks;
	size_t begin; /* of the first batch, after what open() sent */
};

static void prepare(struct taken *c, double seconds, int control)
{
	struct recorder r = {0};
	size_t events = (size_t)(600000 * seconds / (double)(c->l.n_sources * c->l.n_values));

	c->l.n_events = events ? events : 1;
	load_make(&c->l);
	c->marks = lt_calloc(batches_of(&c->l, WARM + c->l.n_events), sizeof(*c->marks));
	empty_redis(control);
	run_sink(&c->l, recorder_start(&r), &r.bytes, &c->begin, c->marks);
	recorder_stop(&r);
	c->bytes = r.bytes;
}

int main(int argc, char **argv)
{
	struct taken all[] = {{.l = {10, 60}}, {.l = {100, 60}}, {.l = {1000, 60}},
		{.l = {10000, 60}}, {.l = {100, 400}}};
	struct bench_run run;
	int control;

	bench_init(&run, "hot", "2", 3, 0.5, argc, argv);
	lt_log_set_level(LT_ERROR);
	control = dial(redis_port());
	for (size_t i = 0; i < LT_ARRAY_LEN(all); i++)
		prepare(&all[i], run.seconds, control);
	for (run.round = 1; run.round <= run.rounds; run.round++)
		for (size_t i = 0; i < LT_ARRAY_LEN(all); i++) {
			struct taken *c = &all[i];

			bench_case(&run, "%zu values an event, half of them new, %zu sources",
				c->l.n_values, c->l.n_sources);
			empty_redis(control);
			show(&run, &c->l, "latido-hot's sink", BENCH_SUBJECT,
				run_sink(&c->l, redis_port(), NULL, NULL, NULL));
			empty_redis(control);
			show(&run, &c->l, "bare loop, same commands", BENCH_CEILING,
				run_bare(&c->l, control, &c->bytes, c->begin, c->marks));
		}
	for (size_t i = 0; i < LT_ARRAY_LEN(all); i++) {
		load_free(&all[i].l);
		lt_buf_fini(&all[i].bytes);
		free(all[i].marks);
	}
	close(control);
	return 0;
}
