/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_WORKERS_H
#define LATIDO_LIVE_WORKERS_H

#include "../../lib/sink/pg_conn.h"
#include "http.h"
#include "latido/config.h"
#include "latido/event.h"
#include "latido/loop.h"
#include "latido/redis.h"

/*
 * Threads for what blocks: SQL, reading windows from Redis, hashing passwords, large answers. Jobs
 * queue up to a bound. A job whose client went away is not begun, or its query is cancelled.
 */

struct workers;

/** struct worker - what one thread has; connections are made when they are first needed */
struct worker {
	const struct lt_config *conf;
	struct lt_postgres_conf pg_conf;
	struct lt_pg pg;
	struct lt_redis *redis;
	struct lt_shapes *shapes; /* of this thread */
};

/** struct job - one piece of work; embedded in its own struct as first member */
struct job {
	void (*run)(struct job *j, struct worker *w); /* worker's thread */
	/* Loop's thread, always called once; frees the job. @cancelled: nobody waits for it. */
	void (*done)(struct job *j);
	_Atomic bool cancelled;
	struct worker *on; /* NULL unless it is being run; under the pool's lock */
	struct job *next;
};

struct workers *workers_new(struct lt_loop *loop, const struct lt_config *conf, size_t threads,
	size_t max_queue, struct lt_err *err);
/** workers_submit() - Return: false: the queue is full; the job stays the caller's. */
bool workers_submit(struct workers *w, struct job *j);
/** workers_cancel() - nobody waits any more; done() is still called. Loop thread. */
void workers_cancel(struct workers *w, struct job *j);
size_t workers_queued(struct workers *w);
/** workers_free() - cancels everything, waits for the threads, calls what is left of done(). */
void workers_free(struct workers *w);

/* ---- for jobs ---- */

/** worker_pg() - the thread's connection, made if need be. */
int worker_pg(struct worker *w, struct lt_err *err) LT_MUST_CHECK;
int worker_redis(struct worker *w, struct lt_err *err) LT_MUST_CHECK;

/**
 * struct answer_job - a job that answers one HTTP request
 *
 * run() fills status and body; the reply is sent by answer_done(), unless the client is gone.
 */
struct answer_job {
	struct job job;
	struct workers *pool;
	struct http_req *req; /* NULL when the client is gone; loop thread */
	int status;
	const char *type;
	struct lt_buf body;
	struct lt_err err; /* when status is 0: turned into 503, 504 or 500 */
	void (*failed)(
		void *arg, const struct lt_err *err); /* told on the loop; NULL err = worked */
	void *failed_arg;
	void (*fini)(struct answer_job *a); /* frees what is behind the struct */
};
/**
 * answer_submit() - run it for @req; a full queue is answered with 503
 * Return: false: answered already, @a was freed.
 */
bool answer_submit(struct workers *pool, struct answer_job *a, struct http_req *req);

#endif
