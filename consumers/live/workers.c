/* SPDX-License-Identifier: MIT */
#include "workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "latido/redis_layout.h"
#include "latido/stats.h"

static struct lt_counter refused;

static const struct lt_stat stats[] = {
	{"latido_live_refused_queries_total", LT_STAT_COUNTER, NULL,
		"Questions answered with 503 because too many waited for a thread.", &refused,
		NULL},
};

struct thread {
	struct worker worker;
	struct workers *pool;
	pthread_t id;
	bool running;
};

struct workers {
	struct thread *threads;
	size_t n;
	struct lt_waker waker;
	size_t max_queue;
	pthread_mutex_t lock; /* all below */
	pthread_cond_t cond;
	struct job *first, **last, *finished, **finished_last;
	size_t queued;
	bool stop;
};

/* ---- a worker's thread ---- */

int worker_pg(struct worker *w, struct lt_err *err)
{
	int rc;

	if (w->pg.conn)
		return LT_OK;
	rc = lt_pg_connect(&w->pg, &w->pg_conf, err);
	if (rc != LT_OK)
		return rc;
	/*
	 * The store's session keeps the order of row locks; here the planner may choose. A client
	 * that went away ends its query within a second.
	 */
	rc = lt_pg_exec(&w->pg,
		"SET application_name = 'latido-live'; SET default_transaction_read_only = on; "
		"SET work_mem = '32MB'; SET jit = off; SET enable_hashjoin = on; "
		"SET enable_mergejoin = on; "
		"SET client_connection_check_interval = '1s'",
		err);
	if (rc != LT_OK)
		lt_pg_close(&w->pg);
	return rc;
}

int worker_redis(struct worker *w, struct lt_err *err)
{
	int rc;

	if (lt_redis_connected(w->redis))
		return LT_OK;
	rc = lt_redis_connect(w->redis, err);
	return rc == LT_OK ? lt_redis_check_layout(w->redis, err) : rc;
}

static void drain_interrupt(struct worker *w)
{
	uint64_t n;
	ssize_t rc = read(w->pg.interrupt_fd, &n, sizeof(n));

	(void)rc; /* nothing there is fine */
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	struct workers *p = t->pool;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		struct job *j = p->first;

		if (!j) {
			pthread_cond_wait(&p->cond, &p->lock);
			continue;
		}
		p->first = j->next;
		if (!p->first)
			p->last = &p->first;
		p->queued--;
		j->next = NULL;
		j->on = &t->worker;
		drain_interrupt(&t->worker);
		pthread_mutex_unlock(&p->lock);
		if (!j->cancelled)
			j->run(j, &t->worker);
		pthread_mutex_lock(&p->lock);
		j->on = NULL;
		*p->finished_last = j;
		p->finished_last = &j->next;
		lt_waker_wake(&p->waker);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* ---- the loop's side ---- */

static void on_finished(void *arg)
{
	struct workers *p = arg;
	struct job *j, *next;

	pthread_mutex_lock(&p->lock);
	j = p->finished;
	p->finished = NULL;
	p->finished_last = &p->finished;
	pthread_mutex_unlock(&p->lock);
	for (; j; j = next) {
		next = j->next;
		j->done(j);
	}
}

static int thread_init(
	struct thread *t, struct workers *p, const struct lt_config *conf, struct lt_err *err)
{
	struct worker *w = &t->worker;

	t->pool = p;
	w->conf = conf;
	w->pg_conf = conf->postgres;
	if (w->pg_conf.timeout_ms > conf->live.query_timeout_ms)
		w->pg_conf.timeout_ms = conf->live.query_timeout_ms;
	w->redis = lt_redis_new(&conf->redis, err);
	if (!w->redis)
		return err->code;
	w->shapes = lt_shapes_new(
		(size_t)conf->limits.shape_cache_bytes, (uint32_t)conf->limits.max_series);
	w->pg.interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->pg.interrupt_fd < 0)
		return lt_fail(
			err, LT_EIO, LT_CLS_FATAL, "live.workers", "eventfd: %s", strerror(errno));
	return LT_OK;
}

static int thread_start(struct thread *t, struct lt_err *err)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&t->id, NULL, thread_main, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "live.workers",
			"cannot start a thread: %s", strerror(rc));
	t->running = true;
	return LT_OK;
}

struct workers *workers_new(struct lt_loop *loop, const struct lt_config *conf, size_t threads,
	size_t max_queue, struct lt_err *err)
{
	struct workers *p = lt_calloc(1, sizeof(*p));
	int rc;

	lt_stats_add(stats, LT_ARRAY_LEN(stats));
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->cond, NULL);
	p->last = &p->first;
	p->finished_last = &p->finished;
	p->max_queue = max_queue;
	p->threads = lt_calloc(threads, sizeof(*p->threads));
	p->n = threads;
	rc = lt_waker_init(&p->waker, loop, on_finished, p, err);
	for (size_t i = 0; i < threads; i++)
		p->threads[i].worker.pg.interrupt_fd = -1;
	for (size_t i = 0; i < threads && rc == LT_OK; i++) {
		rc = thread_init(&p->threads[i], p, conf, err);
		if (rc == LT_OK)
			rc = thread_start(&p->threads[i], err);
	}
	if (rc == LT_OK)
		return p;
	workers_free(p);
	return NULL;
}

bool workers_submit(struct workers *p, struct job *j)
{
	bool ok;

	j->next = NULL;
	j->on = NULL;
	pthread_mutex_lock(&p->lock);
	ok = p->queued < p->max_queue;
	if (ok) {
		*p->last = j;
		p->last = &j->next;
		p->queued++;
		pthread_cond_signal(&p->cond);
	}
	pthread_mutex_unlock(&p->lock);
	return ok;
}

static void interrupt(struct worker *w)
{
	uint64_t one = 1;
	ssize_t rc = write(w->pg.interrupt_fd, &one, sizeof(one));

	(void)rc; /* a full counter interrupts as well */
}

void workers_cancel(struct workers *p, struct job *j)
{
	pthread_mutex_lock(&p->lock);
	j->cancelled = true;
	if (j->on)
		interrupt(j->on);
	pthread_mutex_unlock(&p->lock);
}

size_t workers_queued(struct workers *p)
{
	size_t n;

	pthread_mutex_lock(&p->lock);
	n = p->queued;
	pthread_mutex_unlock(&p->lock);
	return n;
}

void workers_free(struct workers *p)
{
	struct job *j, *next;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->cond);
	for (size_t i = 0; i < p->n; i++) {
		if (!p->threads[i].running)
			continue;
		interrupt(&p->threads[i].worker);
		lt_redis_interrupt(p->threads[i].worker.redis);
	}
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < p->n; i++) {
		struct worker *w = &p->threads[i].worker;

		if (p->threads[i].running)
			pthread_join(p->threads[i].id, NULL);
		lt_pg_close(&w->pg);
		lt_redis_free(w->redis);
		lt_shapes_free(w->shapes);
		if (w->pg.interrupt_fd >= 0)
			close(w->pg.interrupt_fd);
	}
	on_finished(p);
	for (j = p->first; j; j = next) {
		next = j->next;
		j->cancelled = true;
		j->done(j);
	}
	lt_waker_fini(&p->waker);
	pthread_cond_destroy(&p->cond);
	pthread_mutex_destroy(&p->lock);
	free(p->threads);
	free(p);
}

/* ---- answers ---- */

static void answer_free(struct answer_job *a)
{
	lt_buf_fini(&a->body);
	if (a->fini)
		a->fini(a);
	free(a);
}

static void answer_gone(void *arg)
{
	struct answer_job *a = arg;

	a->req = NULL;
	workers_cancel(a->pool, &a->job);
}

static void answer_failed(struct answer_job *a)
{
	switch (a->err.code) {
	case LT_ETIMEOUT:
		http_reply_error(a->req, 504, 0,
			"the query took longer than live.query_timeout; ask for less: %s",
			a->err.msg);
		break;
	case LT_EIO:
	case LT_EAUTH:
	case LT_ESTOPPED:
		http_reply_error(a->req, 503, 2, "%s", a->err.msg);
		break;
	default:
		http_reply_error(a->req, 500, 0, "%s", a->err.msg);
	}
}

static void answer_done(struct job *j)
{
	struct answer_job *a = (struct answer_job *)j;

	if (a->failed && !j->cancelled)
		a->failed(a->failed_arg, a->err.code ? &a->err : NULL);
	if (a->req) {
		a->req->on_gone = NULL;
		if (a->status)
			http_reply_buf(a->req, a->status, a->type, &a->body);
		else
			answer_failed(a);
	}
	answer_free(a);
}

bool answer_submit(struct workers *pool, struct answer_job *a, struct http_req *req)
{
	a->pool = pool;
	a->req = req;
	a->job.done = answer_done;
	if (!a->type)
		a->type = "application/json";
	req->on_gone = answer_gone;
	req->gone_arg = a;
	if (workers_submit(pool, &a->job))
		return true;
	req->on_gone = NULL;
	lt_counter_add(&refused, 1);
	http_reply_error(req, 503, 1, "too many questions at once; try again");
	answer_free(a);
	return false;
}
