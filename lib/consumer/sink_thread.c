/* SPDX-License-Identifier: MIT */
#include "sink_thread.h"

#include <signal.h>
#include <string.h>

static void run_job(struct lt_sink *s, struct lt_job *j)
{
	const struct lt_sink_ops *ops = s->ops;

	switch (j->type) {
	case LT_JOB_OPEN:
		j->rc = ops->open(s, &j->err);
		break;
	case LT_JOB_PUT:
		j->rc = ops->put(s, j->batch, &j->bad, &j->err);
		break;
	case LT_JOB_TICK:
		break;
	case LT_JOB_FIND_SHAPE:
		j->rc = ops->find_shape(s, j->hash, &j->bytes, &j->err);
		break;
	case LT_JOB_POSITIONS:
		j->rc = ops->positions(s, j->parts, j->n_parts, &j->err);
		return;
	case LT_JOB_FLUSH:
		j->rc = ops->flush ? ops->flush(s, &j->err) : LT_OK;
		return;
	}
	if (j->rc == LT_OK && j->type != LT_JOB_FIND_SHAPE && ops->tick)
		j->tick_ns = ops->tick(s, &j->tick_err);
}

static void *sink_main(void *arg)
{
	struct lt_sink_thread *t = arg;

	pthread_setname_np(pthread_self(), "sink");
	pthread_mutex_lock(&t->mutex);
	for (;;) {
		while (t->slot != LT_SLOT_SUBMITTED && !t->quit)
			pthread_cond_wait(&t->cond, &t->mutex);
		if (t->quit)
			break;
		pthread_mutex_unlock(&t->mutex);
		run_job(t->sink, &t->job);
		pthread_mutex_lock(&t->mutex);
		t->slot = LT_SLOT_DONE;
		lt_waker_wake(&t->waker);
	}
	pthread_mutex_unlock(&t->mutex);
	return NULL;
}

static void on_wake(void *arg)
{
	struct lt_sink_thread *t = arg;
	struct lt_job job;

	pthread_mutex_lock(&t->mutex);
	if (t->slot != LT_SLOT_DONE) {
		pthread_mutex_unlock(&t->mutex);
		return;
	}
	job = t->job;
	t->job.bytes = (struct lt_buf){0};
	t->slot = LT_SLOT_IDLE;
	pthread_mutex_unlock(&t->mutex);
	t->done(t->arg, &job);
	lt_buf_fini(&job.bytes);
}

int lt_sink_thread_start(struct lt_sink_thread *t, struct lt_sink *sink, struct lt_loop *loop,
	void (*done)(void *arg, struct lt_job *job), void *arg, struct lt_err *err)
{
	sigset_t all, old;
	int rc;

	t->sink = sink;
	t->done = done;
	t->arg = arg;
	rc = lt_waker_init(&t->waker, loop, on_wake, t, err);
	if (rc < 0)
		return rc;
	pthread_mutex_init(&t->mutex, NULL);
	pthread_cond_init(&t->cond, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&t->thread, NULL, sink_main, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0) {
		lt_waker_fini(&t->waker);
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "consumer.thread",
			"cannot start a thread: %s", strerror(rc));
	}
	t->running = true;
	return LT_OK;
}

bool lt_sink_thread_busy(struct lt_sink_thread *t)
{
	bool busy;

	pthread_mutex_lock(&t->mutex);
	busy = t->slot != LT_SLOT_IDLE;
	pthread_mutex_unlock(&t->mutex);
	return busy;
}

void lt_sink_thread_submit(struct lt_sink_thread *t, enum lt_job_type type,
	const struct lt_batch *batch, uint64_t hash)
{
	pthread_mutex_lock(&t->mutex);
	t->job = (struct lt_job){.type = type, .batch = batch, .hash = hash, .tick_ns = INT64_MAX};
	t->slot = LT_SLOT_SUBMITTED;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->mutex);
}

void lt_sink_thread_ask(struct lt_sink_thread *t, struct lt_bus_span *parts, size_t n)
{
	pthread_mutex_lock(&t->mutex);
	t->job = (struct lt_job){
		.type = LT_JOB_POSITIONS, .parts = parts, .n_parts = n, .tick_ns = INT64_MAX};
	t->slot = LT_SLOT_SUBMITTED;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->mutex);
}

void lt_sink_thread_stop(struct lt_sink_thread *t)
{
	if (!t->running)
		return;
	pthread_mutex_lock(&t->mutex);
	t->quit = true;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->mutex);
	if (t->sink->interrupt)
		t->sink->interrupt(t->sink);
	pthread_join(t->thread, NULL);
	t->running = false;
	lt_waker_fini(&t->waker);
	lt_buf_fini(&t->job.bytes);
	pthread_mutex_destroy(&t->mutex);
	pthread_cond_destroy(&t->cond);
}
