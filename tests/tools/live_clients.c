/* SPDX-License-Identifier: MIT */
/*
 * Many streaming clients of latido-live, and the nodes that they watch:
 *
 *	live_clients PORT REDIS_URL CLIENTS STOPPED NODES SECONDS [VALUES [paced]]
 *
 * NODES nodes n0, n1, ... send one event a second for SECONDS seconds, into Redis as latido-hot
 * writes it. CLIENTS clients read /api/v1/stream, of which the first STOPPED stop reading once they
 * are connected. "paced": the next second begins when every client that reads has all of the last one,
 * however long or short that takes: those who read never have more than that before them. Prints one JSON object: what each client that reads got, beside what was sent:
 * "wrong" counts clients for which events + declared skips are not exactly what was sent. Exit code 0
 * when there is none.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latido/clock.h"
#include "latido/config.h"
#include "latido/event.h"
#include "latido/redis_layout.h"
#include "latido/stats.h"

#define EPOCH      UINT64_C(1763700000000000)
#define CATCH_UP_S 60

struct client {
	int fd;
	bool stopped, greeted, ended;
	struct lt_buf in;
	char event[16];
	uint64_t received, declared, repeated, holes;
	uint32_t *last; /* seq of each node */
	uint64_t base;  /* sum of last as of the first complete fleet */
	bool based;
};

struct load {
	unsigned long clients, stopped, nodes, seconds, values;
	bool paced;
	struct client *client;
	int epoll;
	const char *url;
	pthread_t feeder;
	_Atomic uint64_t sent, taken; /* taken: by everybody who reads, of every node */
	_Atomic bool go, fed, failed, given_up;
	struct lt_hist latency; /* sampling of an event to its row at a client */
};

/* ---- the nodes ---- */

static void build(struct lt_snapshot *s, struct lt_event *e, unsigned long values, uint64_t seq)
{
	static const char *const keys[] = {"i"};

	lt_snapshot_begin(s);
	lt_snapshot_value(s, "node_load1", LT_KIND_GAUGE, (double)(seq % 7));
	lt_snapshot_value(s, "node_memory_MemTotal_bytes", LT_KIND_GAUGE, 8e9);
	lt_snapshot_value(s, "node_memory_MemAvailable_bytes", LT_KIND_GAUGE, 3e9 + (double)seq);
	lt_snapshot_family(s, "load_value", LT_KIND_GAUGE, keys, 1);
	for (unsigned long k = 3; k < values; k++) {
		char text[24];
		const char *value = text;

		snprintf(text, sizeof(text), "%lu", k);
		lt_snapshot_row(s, &value, (double)(seq * k));
	}
	if (lt_snapshot_event(s, e, NULL) != LT_OK)
		abort();
}

static void command(struct lt_redis *r, struct lt_redis_cmd *c, bool *ok)
{
	*ok = *ok && lt_redis_append(r, c, NULL) == LT_OK;
}

static bool send_one(struct load *l, struct lt_redis *r, struct lt_redis_cmd *c,
	struct lt_snapshot *s, struct lt_buf *wire, unsigned long node, uint64_t seq)
{
	struct lt_event e = {
		.stream = "", .epoch = EPOCH, .seq = seq, .interval_ms = 1000, .has_time = true};
	char name[32], id[64];
	struct lt_reply *reply;
	bool ok = true;

	snprintf(name, sizeof(name), "n%lu", node);
	e.source = name;
	e.time_ns = lt_wall_ns();
	build(s, &e, l->values, seq);
	lt_buf_reset(wire);
	lt_encode_protobuf(&e, true, wire);
	lt_redis_begin(c, "ZADD");
	lt_redis_str(c, LT_REDIS_SEEN);
	lt_redis_str(c, "GT");
	lt_redis_i64(c, e.time_ns / LT_NS_PER_MS);
	lt_redis_str(c, name);
	command(r, c, &ok);
	lt_redis_begin(c, "XADD");
	lt_redis_key(c, LT_REDIS_WINDOW, name);
	lt_redis_str(c, "MAXLEN");
	lt_redis_str(c, "~");
	lt_redis_i64(c, 900);
	snprintf(id, sizeof(id), "%" PRIu64 "-%" PRIu64, EPOCH, seq);
	lt_redis_str(c, id);
	lt_redis_str(c, "e");
	lt_redis_arg(c, wire->data, wire->len);
	command(r, c, &ok);
	lt_redis_begin(c, "PUBLISH");
	lt_redis_key(c, LT_REDIS_LIVE, name);
	lt_redis_arg(c, wire->data, wire->len);
	command(r, c, &ok);
	for (int i = 0; i < 3 && ok; i++) {
		ok = lt_redis_read(r, &reply, NULL) == LT_OK &&
		     lt_reply_type(reply) != LT_REPLY_ERROR;
		lt_reply_free(ok ? reply : NULL);
	}
	return ok;
}

static void *feed(void *arg)
{
	struct load *l = arg;
	const struct lt_redis_conf conf = {.url = (char *)(uintptr_t)l->url, .timeout_ms = 30000};
	struct lt_redis *r = lt_redis_new(&conf, NULL);
	struct lt_snapshot *s = lt_snapshot_new(100000);
	struct lt_redis_cmd cmd = {0};
	struct lt_buf wire = {0};
	bool ok = r && lt_redis_connect(r, NULL) == LT_OK;
	int64_t begin;

	for (unsigned long n = 0; n < l->nodes && ok; n++)
		ok = send_one(l, r, &cmd, s, &wire, n, 1);
	while (ok && !l->go)
		usleep(1000);
	begin = lt_mono_ns();
	for (uint64_t seq = 2; seq < l->seconds + 2 && ok; seq++) {
		while (l->paced && l->taken + 1 < seq && !l->given_up)
			usleep(1000);
		for (unsigned long n = 0; n < l->nodes && ok; n++) {
			/* evenly over the second, as a fleet is */
			int64_t at = begin + (int64_t)(seq - 2) * LT_NS_PER_S +
				     (int64_t)n * LT_NS_PER_S / (int64_t)l->nodes;
			int64_t left = at - lt_mono_ns();

			if (left > 0 && !l->paced)
				usleep((useconds_t)(left / 1000));
			ok = send_one(l, r, &cmd, s, &wire, n, seq);
			l->sent++;
		}
	}
	l->failed = !ok;
	l->fed = true;
	lt_buf_fini(&wire);
	lt_redis_cmd_fini(&cmd);
	lt_snapshot_free(s);
	lt_redis_free(r);
	return NULL;
}

/* ---- the clients ---- */

static uint64_t sum(const struct load *l, const struct client *c)
{
	uint64_t total = 0;

	for (unsigned long n = 0; n < l->nodes; n++)
		total += c->last[n];
	return total;
}

/* ["n12",seq,time_ms,... */
static void take_rows(struct load *l, struct client *c, const char *data)
{
	bool full = strstr(data, "{\"full\":true") == data;
	int64_t now_ms = lt_wall_ns() / LT_NS_PER_MS;

	for (const char *p = data; (p = strstr(p, "[\"n"));) {
		char *end;
		unsigned long node = strtoul(p + 3, &end, 10);
		uint64_t seq = strtoull(end + 2, &end, 10);
		int64_t time_ms = strtoll(end + 1, &end, 10);

		p = end;
		if (node >= l->nodes)
			continue;
		if (full) {
			c->last[node] = (uint32_t)seq;
			continue;
		}
		lt_hist_add(&l->latency, (now_ms - time_ms) * LT_NS_PER_MS);
		if (seq <= c->last[node])
			c->repeated++;
		else if (seq != c->last[node] + 1)
			c->holes++;
		if (seq > c->last[node])
			c->received++;
		c->last[node] = (uint32_t)seq;
	}
	if (full && !c->based) {
		c->based = true;
		c->base = sum(l, c);
	}
}

static void take_line(struct load *l, struct client *c, char *line)
{
	if (!strncmp(line, "event: ", 7)) {
		snprintf(c->event, sizeof(c->event), "%s", line + 7);
	} else if (!strncmp(line, "data: ", 6)) {
		if (!strcmp(c->event, "fleet"))
			take_rows(l, c, line + 6);
		else if (!strcmp(c->event, "skip"))
			c->declared += strtoull(strchr(line, ':') + 12, NULL, 10);
		else if (!strcmp(c->event, "alerts"))
			c->greeted = true;
	}
}

static void read_client(struct load *l, struct client *c)
{
	ssize_t n = recv(c->fd, lt_buf_room(&c->in, 65536), 65536, MSG_DONTWAIT);
	size_t at = 0;

	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			c->ended = true;
			epoll_ctl(l->epoll, EPOLL_CTL_DEL, c->fd, NULL);
		}
		return;
	}
	c->in.len += (size_t)n;
	for (char *lf; (lf = memchr(c->in.data + at, '\n', c->in.len - at));) {
		*lf = '\0';
		take_line(l, c, c->in.data + at);
		at = (size_t)(lf - c->in.data) + 1;
	}
	memmove(c->in.data, c->in.data + at, c->in.len - at);
	c->in.len -= at;
}

static bool open_client(struct load *l, struct client *c, int port)
{
	static const char request[] = "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
	const struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
	int small = 4096;

	c->last = lt_calloc(l->nodes + 1, sizeof(*c->last));
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return false;
	if (c->stopped)
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	if (connect(c->fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ||
		send(c->fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
		return false;
	return c->stopped || epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) == 0;
}

static bool all_greeted(struct load *l)
{
	for (unsigned long i = l->stopped; i < l->clients; i++)
		if (!l->client[i].greeted && !l->client[i].ended)
			return false;
	return true;
}

static bool all_done(struct load *l)
{
	uint64_t least = l->seconds + 1;

	for (unsigned long i = l->stopped; i < l->clients; i++) {
		const struct client *c = &l->client[i];

		for (unsigned long n = 0; n < l->nodes && !c->ended; n++)
			if (c->last[n] < least)
				least = c->last[n];
	}
	l->taken = least;
	return least == l->seconds + 1;
}

/* Read until @done says so, or for so long. */
static bool turn(struct load *l, bool (*done)(struct load *), int64_t seconds)
{
	int64_t until = lt_mono_ns() + seconds * LT_NS_PER_S, looked = 0;
	struct epoll_event events[256];

	while (lt_mono_ns() < until && !l->failed) {
		int n = epoll_wait(l->epoll, events, LT_ARRAY_LEN(events), 20);

		for (int i = 0; i < n; i++)
			read_client(l, events[i].data.ptr);
		if (lt_mono_ns() - looked < LT_NS_PER_S / 50)
			continue;
		looked = lt_mono_ns();
		if (done(l))
			return true;
	}
	return false;
}

static double quantile_ms(const struct lt_hist *h, double q)
{
	uint64_t total = 0, seen = 0;

	for (size_t i = 0; i <= LT_HIST_BUCKETS; i++)
		total += h->bucket[i];
	for (size_t i = 0; i < LT_HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (total && (double)seen >= q * (double)total)
			return (double)lt_hist_bound_ns(i) / 1e6;
	}
	return -1;
}

static int report(struct load *l, bool complete)
{
	uint64_t received = 0, declared = 0, repeated = 0, holes = 0, wrong = 0, ended = 0;

	for (unsigned long i = l->stopped; i < l->clients; i++) {
		const struct client *c = &l->client[i];

		received += c->received;
		declared += c->declared;
		repeated += c->repeated;
		holes += c->holes;
		ended += c->ended;
		wrong += c->ended || !c->based ||
			 c->received + c->declared != sum(l, c) - c->base ||
			 (c->holes && !c->declared);
	}
	printf("{\"clients\": %lu, \"stopped\": %lu, \"sent\": %" PRIu64 ", \"received\": %" PRIu64
	       ", \"skipped\": %" PRIu64 ", \"repeated\": %" PRIu64 ", \"holes\": %" PRIu64
	       ", \"ended\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"complete\": %s, "
	       "\"p50_ms\": %.1f, \"p99_ms\": %.1f, \"max_ms\": %.1f}\n",
		l->clients, l->stopped, (uint64_t)l->sent, received, declared, repeated, holes,
		ended, wrong, complete ? "true" : "false", quantile_ms(&l->latency, 0.5),
		quantile_ms(&l->latency, 0.99), quantile_ms(&l->latency, 1));
	fflush(stdout);
	return wrong || !complete;
}

int main(int argc, char **argv)
{
	struct load l = {0};
	struct rlimit files;
	bool complete;
	int port;

	if (argc < 7 || argc > 9 || (argc == 9 && strcmp(argv[8], "paced") != 0)) {
		fprintf(stderr, "usage: live_clients PORT REDIS_URL CLIENTS STOPPED NODES SECONDS "
				"[VALUES [paced]]\n");
		return 2;
	}
	port = atoi(argv[1]);
	l.url = argv[2];
	l.clients = strtoul(argv[3], NULL, 10);
	l.stopped = strtoul(argv[4], NULL, 10);
	l.nodes = strtoul(argv[5], NULL, 10);
	l.seconds = strtoul(argv[6], NULL, 10);
	l.values = argc > 7 ? strtoul(argv[7], NULL, 10) : 60;
	l.paced = argc > 8;
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	l.client = lt_calloc(l.clients, sizeof(*l.client));
	if (pthread_create(&l.feeder, NULL, feed, &l))
		return 1;
	for (unsigned long i = 0; i < l.clients; i++) {
		l.client[i].stopped = i < l.stopped;
		if (!open_client(&l, &l.client[i], port)) {
			fprintf(stderr, "client %lu cannot connect: %s\n", i, strerror(errno));
			return 1;
		}
	}
	if (!turn(&l, all_greeted, CATCH_UP_S))
		fprintf(stderr, "not every client was greeted\n");
	l.go = true;
	complete = turn(&l, all_done, (int64_t)l.seconds + CATCH_UP_S);
	l.given_up = true;
	pthread_join(l.feeder, NULL);
	return report(&l, complete);
}
