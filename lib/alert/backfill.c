/* SPDX-License-Identifier: MIT */
#include "backfill.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "backfill_int.h"
#include "latido/clock.h"
#include "latido/log.h"

#define CHUNKS_MAX 4 /* that wait for the engine */

struct lt_backfill {
	struct lt_backfill_info *info;
	struct lt_pg pg;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct lt_backfill_job *asked; /* not yet begun */
	struct lt_backfill_chunk *first, **last;
	size_t n_chunks;
	bool quit, busy, stale; /* stale: what is being read is not wanted any more */
	struct backfill_work w;
	struct lt_backoff backoff;
	struct lt_complaint away;
};

static void hand_over(struct lt_backfill *b, struct lt_backfill_chunk *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&b->lock);
	while (b->n_chunks >= CHUNKS_MAX && !b->quit && !b->stale)
		pthread_cond_wait(&b->cond, &b->lock);
	if (b->quit || b->stale) {
		lt_backfill_chunk_free(c);
	} else {
		*b->last = c;
		b->last = &c->next;
		b->n_chunks++;
	}
	pthread_mutex_unlock(&b->lock);
}

/* ---- the thread ---- */

static void wait_until(struct lt_backfill *b, int64_t mono_ns)
{
	struct timespec t = {.tv_sec = mono_ns / LT_NS_PER_S, .tv_nsec = mono_ns % LT_NS_PER_S};

	pthread_cond_timedwait(&b->cond, &b->lock, &t);
}

/* With the lock: a new job, or that the old one is not wanted any more. */
static void take_job(struct lt_backfill *b)
{
	struct lt_backfill_job *job = b->asked;

	b->asked = NULL;
	b->stale = false;
	pthread_mutex_unlock(&b->lock);
	backfill_end(&b->w);
	if (job)
		backfill_begin(&b->w, job);
	else
		lt_pg_close(&b->pg);
	pthread_mutex_lock(&b->lock);
}

static void *backfill_main(void *arg)
{
	struct lt_backfill *b = arg;
	struct lt_backfill_chunk *chunk;
	struct lt_err err = {0};

	pthread_setname_np(pthread_self(), "alert-backfill");
	pthread_mutex_lock(&b->lock);
	while (!b->quit) {
		int64_t again_ns = 0;
		int rc;

		if (b->stale)
			take_job(b);
		if (!b->w.job) {
			if (!b->stale) {
				b->busy = false;
				pthread_cond_wait(&b->cond, &b->lock);
			}
			continue;
		}
		pthread_mutex_unlock(&b->lock);
		rc = backfill_step(&b->w, &b->pg, &chunk, &err);
		hand_over(b, chunk);
		if (rc < 0) {
			lt_counter_add(&b->info->failures, 1);
			lt_complain(&b->away, LT_WARN, "windows_not_read", LT_S("err", err.msg));
			again_ns = lt_backoff_next_ms(&b->backoff) * LT_NS_PER_MS;
		} else {
			lt_backoff_reset(&b->backoff);
			lt_release(&b->away, "windows_read_again");
		}
		if (rc == BACKFILL_WAIT)
			again_ns = BACKFILL_POLL_MS * LT_NS_PER_MS;
		if (rc == BACKFILL_DONE)
			backfill_end(&b->w);
		if (rc <= BACKFILL_DONE)
			lt_pg_close(&b->pg);
		pthread_mutex_lock(&b->lock);
		again_ns = again_ns ? again_ns + lt_mono_ns() : 0;
		while (!b->quit && !b->stale && lt_mono_ns() < again_ns)
			wait_until(b, again_ns);
	}
	pthread_mutex_unlock(&b->lock);
	backfill_end(&b->w);
	lt_pg_close(&b->pg);
	return NULL;
}

static void free_chunks(struct lt_backfill *b)
{
	struct lt_backfill_chunk *c;

	while ((c = b->first)) {
		b->first = c->next;
		lt_backfill_chunk_free(c);
	}
	b->last = &b->first;
	b->n_chunks = 0;
}

void lt_backfill_ask(struct lt_backfill *b, struct lt_backfill_job *job)
{
	pthread_mutex_lock(&b->lock);
	lt_backfill_job_free(b->asked);
	b->asked = job;
	b->stale = true;
	b->busy = true;
	free_chunks(b);
	pthread_cond_broadcast(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

struct lt_backfill_chunk *lt_backfill_take(struct lt_backfill *b)
{
	struct lt_backfill_chunk *c;

	pthread_mutex_lock(&b->lock);
	c = b->first;
	if (c) {
		b->first = c->next;
		if (!b->first)
			b->last = &b->first;
		b->n_chunks--;
		pthread_cond_broadcast(&b->cond);
	}
	pthread_mutex_unlock(&b->lock);
	return c;
}

bool lt_backfill_done(struct lt_backfill *b)
{
	bool done;

	pthread_mutex_lock(&b->lock);
	done = !b->busy && !b->first;
	pthread_mutex_unlock(&b->lock);
	return done;
}

struct lt_backfill *lt_backfill_start(
	const struct lt_config *conf, struct lt_backfill_info *info, struct lt_err *err)
{
	struct lt_backfill *b = lt_calloc(1, sizeof(*b));
	pthread_condattr_t mono;
	sigset_t all, old;
	int rc;

	b->info = info;
	b->w = (struct backfill_work){.conf = conf, .info = info};
	b->last = &b->first;
	b->pg.interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	lt_backoff_init(&b->backoff, 500, 30000);
	pthread_mutex_init(&b->lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&b->cond, &mono);
	pthread_condattr_destroy(&mono);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&b->thread, NULL, backfill_main, b);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		lt_fail(err, LT_EIO, LT_CLS_FATAL, "alert.backfill", "cannot start a thread: %s",
			strerror(rc));
		close(b->pg.interrupt_fd);
		free(b);
		return NULL;
	}
	return b;
}

void lt_backfill_stop(struct lt_backfill *b)
{
	uint64_t one = 1;

	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	b->quit = true;
	pthread_cond_broadcast(&b->cond);
	pthread_mutex_unlock(&b->lock);
	if (write(b->pg.interrupt_fd, &one, sizeof(one)) < 0)
		lt_log(LT_DEBUG, "alert_backfill_interrupt");
	pthread_join(b->thread, NULL);
	free_chunks(b);
	lt_backfill_job_free(b->asked);
	close(b->pg.interrupt_fd);
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->cond);
	free(b);
}
