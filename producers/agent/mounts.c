/* SPDX-License-Identifier: MIT */
#include "mounts.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "latido/clock.h"
#include "latido/mem.h"

#define THREADS_MAX    8
#define STACK_BYTES    ((size_t)128 << 10)
#define NO_PROGRESS_NS (20 * LT_NS_PER_MS) /* then another worker helps */

struct lt_mounts {
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	lt_mounts_statfs_fn fn;
	int64_t overdue_ns;
	struct lt_mount **list;
	size_t n;
	struct lt_mount *first, *last; /* waiting to be asked */
	uint64_t round;
	size_t outstanding; /* of this round */
	uint64_t finished;
	unsigned threads, running;
	bool closed;
	bool abandoned; /* the owner has gone; the last thread frees */
};

void lt_mount_free(struct lt_mount *m)
{
	free(m->device);
	free(m->mountpoint);
	free(m->fstype);
	free(m->path);
	free(m);
}

static void pool_free(struct lt_mounts *ms)
{
	pthread_cond_destroy(&ms->work);
	pthread_cond_destroy(&ms->done);
	pthread_mutex_destroy(&ms->lock);
	free(ms);
}

struct lt_mounts *lt_mounts_new(int64_t overdue_ns, lt_mounts_statfs_fn fn)
{
	struct lt_mounts *ms = lt_calloc(1, sizeof(*ms));
	pthread_condattr_t attr;

	ms->overdue_ns = overdue_ns;
	ms->fn = fn;
	pthread_mutex_init(&ms->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ms->work, &attr);
	pthread_cond_init(&ms->done, &attr);
	pthread_condattr_destroy(&attr);
	return ms;
}

/* The real clock, also when a test has set a fake one: this is about threads. */
static struct timespec in_ns(int64_t ns)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ns += ts.tv_nsec;
	ts.tv_sec += (time_t)(ns / LT_NS_PER_S);
	ts.tv_nsec = (long)(ns % LT_NS_PER_S);
	return ts;
}

static void dequeue(struct lt_mounts *ms, struct lt_mount *m)
{
	struct lt_mount *prev = NULL;

	for (struct lt_mount *x = ms->first; x != m; x = x->next_waiting)
		prev = x;
	if (prev)
		prev->next_waiting = m->next_waiting;
	else
		ms->first = m->next_waiting;
	if (ms->last == m)
		ms->last = prev;
	m->next_waiting = NULL;
	m->waiting = false;
}

static void *worker(void *arg)
{
	struct lt_mounts *ms = arg;
	bool last;

	pthread_mutex_lock(&ms->lock);
	while (!ms->closed) {
		struct lt_mount *m = ms->first;
		struct statfs buf;
		int e;

		if (!m) {
			if (ms->threads - ms->running > 1)
				break; /* one that waits is enough */
			pthread_cond_wait(&ms->work, &ms->lock);
			continue;
		}
		dequeue(ms, m);
		m->running = true;
		ms->running++;
		pthread_mutex_unlock(&ms->lock);
		e = ms->fn(m->path, &buf) < 0 ? errno : 0;
		pthread_mutex_lock(&ms->lock);
		ms->running--;
		m->running = false;
		m->answer = buf;
		m->answer_errno = e;
		m->fresh = true;
		ms->finished++;
		if (m->round == ms->round)
			ms->outstanding--;
		if (!m->listed)
			lt_mount_free(m);
		pthread_cond_signal(&ms->done);
	}
	ms->threads--;
	last = ms->abandoned && ms->threads == 0;
	pthread_cond_signal(&ms->done);
	pthread_mutex_unlock(&ms->lock);
	if (last)
		pool_free(ms);
	return NULL;
}

static void start_worker(struct lt_mounts *ms)
{
	pthread_attr_t attr;
	pthread_t t;

	if (ms->threads == THREADS_MAX)
		return;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &attr, worker, ms) == 0)
		ms->threads++; /* the worker waits for our lock */
	pthread_attr_destroy(&attr);
}

static void forget(struct lt_mounts *ms, struct lt_mount *m)
{
	if (m->waiting)
		dequeue(ms, m);
	m->listed = false;
	if (!m->running)
		lt_mount_free(m); /* else its worker does */
}

void lt_mounts_free(struct lt_mounts *ms)
{
	struct timespec until;
	bool last;

	if (!ms)
		return;
	pthread_mutex_lock(&ms->lock);
	for (size_t i = 0; i < ms->n; i++)
		forget(ms, ms->list[i]);
	free(ms->list);
	ms->list = NULL;
	ms->n = 0;
	/* Workers that wait for work leave at once; those that hang find the pool closed later. */
	ms->closed = true;
	pthread_cond_broadcast(&ms->work);
	until = in_ns(LT_NS_PER_S);
	while (ms->threads > ms->running &&
		pthread_cond_timedwait(&ms->done, &ms->lock, &until) == 0)
		;
	last = ms->threads == 0;
	ms->abandoned = true;
	pthread_mutex_unlock(&ms->lock);
	if (last)
		pool_free(ms);
}

static bool same(const struct lt_mount *a, const struct lt_mount *b)
{
	return strcmp(a->path, b->path) == 0 && strcmp(a->device, b->device) == 0 &&
	       strcmp(a->fstype, b->fstype) == 0 && strcmp(a->mountpoint, b->mountpoint) == 0;
}

void lt_mounts_list(struct lt_mounts *ms, struct lt_mount **list, size_t n)
{
	pthread_mutex_lock(&ms->lock);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < ms->n; j++) {
			struct lt_mount *old = ms->list[j];

			if (!old || !same(old, list[i]))
				continue;
			old->readonly = list[i]->readonly;
			lt_mount_free(list[i]);
			list[i] = old;
			ms->list[j] = NULL;
			break;
		}
		list[i]->listed = true;
	}
	for (size_t j = 0; j < ms->n; j++)
		if (ms->list[j])
			forget(ms, ms->list[j]);
	free(ms->list);
	ms->list = list;
	ms->n = n;
	pthread_mutex_unlock(&ms->lock);
}

static void enqueue_all(struct lt_mounts *ms, int64_t now_ns)
{
	ms->round++;
	ms->outstanding = 0;
	for (size_t i = 0; i < ms->n; i++) {
		struct lt_mount *m = ms->list[i];

		if (m->waiting || m->running)
			continue;
		m->waiting = true;
		m->round = ms->round;
		m->asked_ns = now_ns;
		if (ms->last)
			ms->last->next_waiting = m;
		else
			ms->first = m;
		ms->last = m;
		ms->outstanding++;
	}
}

static void wait_for_answers(struct lt_mounts *ms, int64_t patience_ns)
{
	while (ms->outstanding > 0 && patience_ns > 0) {
		int64_t slice_ns = patience_ns < NO_PROGRESS_NS ? patience_ns : NO_PROGRESS_NS;
		uint64_t finished = ms->finished;
		struct timespec until = in_ns(slice_ns);

		while (ms->outstanding > 0 &&
			pthread_cond_timedwait(&ms->done, &ms->lock, &until) == 0)
			;
		patience_ns -= slice_ns;
		if (ms->first && ms->finished == finished)
			start_worker(ms);
	}
}

size_t lt_mounts_ask(struct lt_mounts *ms, int64_t patience_ns, struct lt_mount *const **out)
{
	int64_t now_ns = lt_mono_ns();

	pthread_mutex_lock(&ms->lock);
	enqueue_all(ms, now_ns);
	if (ms->first && ms->threads == ms->running) /* none, or all hang */
		start_worker(ms);
	pthread_cond_signal(&ms->work);
	wait_for_answers(ms, patience_ns);
	now_ns = lt_mono_ns();
	for (size_t i = 0; i < ms->n; i++) {
		struct lt_mount *m = ms->list[i];

		if (m->fresh) {
			m->error = m->answer_errno != 0;
			if (!m->error)
				m->buf = m->answer;
			m->answered = !m->error;
			m->fresh = false;
		} else if (now_ns - m->asked_ns >= ms->overdue_ns) {
			m->error = true;
		}
	}
	*out = ms->list;
	pthread_mutex_unlock(&ms->lock);
	return ms->n;
}

unsigned lt_mounts_threads(struct lt_mounts *ms)
{
	unsigned n;

	pthread_mutex_lock(&ms->lock);
	n = ms->threads;
	pthread_mutex_unlock(&ms->lock);
	return n;
}
