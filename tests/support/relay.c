/* SPDX-License-Identifier: MIT */
#include "relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS_MAX   64
#define CHUNK_BYTES 65536
#define BIND_TRIES  6000

/* One direction of one connection. */
struct flow {
	int from, to;
	size_t len, off;
	char buf[CHUNK_BYTES];
};

struct pair {
	struct flow up, down; /* up: client to server */
};

struct relay {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t done;
	int wake[2];
	int listener;
	int keeper; /* bound to the port as well: nobody else gets it while nothing listens */
	int port, target_port;
	bool refuse, hold, cut, quit;
	unsigned asked, answered; /* requests to the thread */
	struct pair *pairs[PAIRS_MAX];
};

static void die(const char *what)
{
	perror(what);
	abort();
}

/* Whoever has the port for a moment, as the source of a connection, gives it back: the keeper has it. */
static bool bind_patiently(int fd, const struct sockaddr_in *a)
{
	for (int i = 0; bind(fd, (const struct sockaddr *)a, sizeof(*a)) < 0; i++) {
		if (errno != EADDRINUSE || i == BIND_TRIES)
			return false;
		poll(NULL, 0, 10);
	}
	return true;
}

static int bind_to(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		!bind_patiently(fd, &a))
		die("relay: bind");
	return fd;
}

static int listen_on(int port)
{
	int fd = bind_to(port);

	if (listen(fd, 64) < 0)
		die("relay: listen");
	return fd;
}

static int connect_to(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void reset(int fd)
{
	struct linger l = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

static void drop_pair(struct relay *r, size_t i, bool rst)
{
	struct pair *p = r->pairs[i];

	if (!p)
		return;
	if (rst) {
		reset(p->up.from);
		reset(p->up.to);
	} else {
		close(p->up.from);
		close(p->up.to);
	}
	free(p);
	r->pairs[i] = NULL;
}

static void accept_one(struct relay *r)
{
	int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC), to, on = 1;
	size_t i = 0;

	if (fd < 0)
		return;
	to = connect_to(r->target_port);
	while (i < PAIRS_MAX && r->pairs[i])
		i++;
	if (to < 0 || i == PAIRS_MAX) {
		reset(fd);
		if (to >= 0)
			close(to);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	r->pairs[i] = calloc(1, sizeof(struct pair));
	if (!r->pairs[i])
		die("relay: calloc");
	r->pairs[i]->up.from = r->pairs[i]->down.to = fd;
	r->pairs[i]->up.to = r->pairs[i]->down.from = to;
}

/* Return: false when the connection has ended. */
static bool pass(struct flow *f, short revents_from, short revents_to)
{
	ssize_t n;

	if (f->len == 0 && (revents_from & (POLLIN | POLLHUP | POLLERR))) {
		n = recv(f->from, f->buf, sizeof(f->buf), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return false;
		f->len = n > 0 ? (size_t)n : 0;
		f->off = 0;
	}
	if (f->len > 0 && ((revents_to & POLLOUT) || f->off == 0)) {
		n = send(f->to, f->buf + f->off, f->len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n > 0) {
			f->off += (size_t)n;
			f->len -= (size_t)n;
		}
	}
	return true;
}

/* Carry out what was asked; with the lock. */
static void obey(struct relay *r)
{
	if (r->cut || r->refuse)
		for (size_t i = 0; i < PAIRS_MAX; i++)
			drop_pair(r, i, true);
	r->cut = false;
	if (r->refuse && r->listener >= 0) {
		close(r->listener);
		r->listener = -1;
	} else if (!r->refuse && r->listener < 0) {
		r->listener = listen_on(r->port);
	}
	r->answered = r->asked;
	pthread_cond_broadcast(&r->done);
}

/* An end that nothing is wanted of is left out: poll() would report its hang-up for ever. */
static void watch(struct pollfd *p, int fd, bool in, bool out)
{
	p->events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0));
	p->fd = p->events ? fd : -1;
}

static void *relay_main(void *arg)
{
	struct relay *r = arg;
	struct pollfd p[2 + 2 * PAIRS_MAX];
	char drain[64];

	for (;;) {
		bool hold;

		pthread_mutex_lock(&r->lock);
		if (r->quit)
			break;
		obey(r);
		hold = r->hold;
		pthread_mutex_unlock(&r->lock);
		p[0] = (struct pollfd){.fd = r->wake[0], .events = POLLIN};
		p[1] = (struct pollfd){.fd = r->listener, .events = POLLIN};
		for (size_t i = 0; i < PAIRS_MAX; i++) {
			struct pair *q = r->pairs[i];

			p[2 + 2 * i].fd = p[3 + 2 * i].fd = -1;
			p[2 + 2 * i].revents = p[3 + 2 * i].revents = 0;
			if (!q)
				continue;
			watch(&p[2 + 2 * i], q->up.from, q->up.len == 0, q->down.len > 0 && !hold);
			watch(&p[3 + 2 * i], q->up.to, q->down.len == 0 && !hold, q->up.len > 0);
		}
		if (poll(p, sizeof(p) / sizeof(p[0]), -1) < 0 && errno != EINTR)
			die("relay: poll");
		if (p[0].revents && read(r->wake[0], drain, sizeof(drain)) < 0 && errno != EINTR)
			die("relay: read");
		if (p[1].revents)
			accept_one(r);
		for (size_t i = 0; i < PAIRS_MAX; i++) {
			struct pair *q = r->pairs[i];
			short c = p[2 + 2 * i].revents, s = p[3 + 2 * i].revents;

			if (!q)
				continue;
			if (!pass(&q->up, c, s) || (!hold && !pass(&q->down, s, c)))
				drop_pair(r, i, false);
		}
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static void ask(struct relay *r)
{
	unsigned mine = ++r->asked;

	if (write(r->wake[1], "x", 1) != 1)
		die("relay: write");
	while ((int)(r->answered - mine) < 0)
		pthread_cond_wait(&r->done, &r->lock);
}

struct relay *relay_new(int target_port)
{
	return relay_new_at(0, target_port);
}

struct relay *relay_new_at(int port, int target_port)
{
	struct relay *r = calloc(1, sizeof(*r));
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	if (!r || pipe(r->wake) < 0)
		die("relay: pipe");
	r->target_port = target_port;
	r->keeper = bind_to(port);
	if (getsockname(r->keeper, (struct sockaddr *)&a, &len) < 0)
		die("relay: getsockname");
	r->port = ntohs(a.sin_port);
	r->listener = listen_on(r->port);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->done, NULL);
	if (pthread_create(&r->thread, NULL, relay_main, r) != 0)
		die("relay: pthread_create");
	return r;
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->quit = true;
	if (write(r->wake[1], "x", 1) != 1)
		die("relay: write");
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	for (size_t i = 0; i < PAIRS_MAX; i++)
		drop_pair(r, i, false);
	if (r->listener >= 0)
		close(r->listener);
	close(r->keeper);
	close(r->wake[0]);
	close(r->wake[1]);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->done);
	free(r);
}

int relay_port(const struct relay *r)
{
	return r->port;
}

void relay_cut(struct relay *r)
{
	pthread_mutex_lock(&r->lock);
	r->cut = true;
	ask(r);
	pthread_mutex_unlock(&r->lock);
}

void relay_refuse(struct relay *r, bool on)
{
	pthread_mutex_lock(&r->lock);
	r->refuse = on;
	ask(r);
	pthread_mutex_unlock(&r->lock);
}

void relay_hold(struct relay *r, bool on)
{
	pthread_mutex_lock(&r->lock);
	r->hold = on;
	ask(r);
	pthread_mutex_unlock(&r->lock);
}
