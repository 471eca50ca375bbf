/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONSUMER_SINK_THREAD_H
#define LATIDO_CONSUMER_SINK_THREAD_H

#include <pthread.h>

#include "latido/consumer.h"

/*
 * The sink's own thread: runs one job at a time, so that the loop decodes the next batch while
 * this one is made durable. The loop's thread submits a job when none is under way and is told by
 * a waker when it is done; between the two the job's fields belong to the sink's thread.
 */

enum lt_job_type {
	LT_JOB_OPEN,
	LT_JOB_PUT,
	LT_JOB_TICK,
	LT_JOB_FIND_SHAPE,
	LT_JOB_POSITIONS,
	LT_JOB_FLUSH
};

struct lt_job {
	enum lt_job_type type;
	const struct lt_batch *batch; /* PUT */
	uint64_t hash;                /* FIND_SHAPE */
	struct lt_buf bytes;          /* FIND_SHAPE: the answer */
	struct lt_bus_span *parts;    /* POSITIONS: question and answer; the submitter's */
	size_t n_parts;
	int rc;
	size_t bad; /* PUT, class POISON */
	struct lt_err err;
	/* OPEN, PUT and TICK end with a tick of their own; its failure says nothing about the batch. */
	int64_t tick_ns; /* until the next one at most; INT64_MAX = never; < 0 = code in tick_err */
	struct lt_err tick_err;
};

struct lt_sink_thread {
	struct lt_sink *sink;
	pthread_t thread;
	bool running;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	enum { LT_SLOT_IDLE = 0, LT_SLOT_SUBMITTED, LT_SLOT_DONE } slot;
	bool quit;
	struct lt_job job;
	struct lt_waker waker;
	void (*done)(void *arg, struct lt_job *job);
	void *arg;
};

/**
 * lt_sink_thread_start() - start the thread
 * @done: on the loop's thread after each job; the slot is idle again, so it may submit the next.
 */
int lt_sink_thread_start(struct lt_sink_thread *t, struct lt_sink *sink, struct lt_loop *loop,
	void (*done)(void *arg, struct lt_job *job), void *arg, struct lt_err *err);
bool lt_sink_thread_busy(struct lt_sink_thread *t);
/** lt_sink_thread_submit() - only when not busy. */
void lt_sink_thread_submit(struct lt_sink_thread *t, enum lt_job_type type,
	const struct lt_batch *batch, uint64_t hash);
/** lt_sink_thread_ask() - LT_JOB_POSITIONS, likewise; @parts stays until the job is done. */
void lt_sink_thread_ask(struct lt_sink_thread *t, struct lt_bus_span *parts, size_t n);
/** lt_sink_thread_stop() - interrupt what runs and join; safe when it never started. */
void lt_sink_thread_stop(struct lt_sink_thread *t);

#endif
