/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LOOP_H
#define LATIDO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/err.h"

struct event;
struct event_base;

/**
 * struct lt_loop - the event loop of a process (libevent)
 *
 * All functions here run on the loop's thread, except lt_waker_wake() and lt_loop_stop().
 */
struct lt_loop {
	struct event_base *base;
};

typedef void (*lt_loop_fn)(void *arg);

int lt_loop_init(struct lt_loop *l, struct lt_err *err) LT_MUST_CHECK;
void lt_loop_fini(struct lt_loop *l);
/** lt_loop_run() - until lt_loop_stop(). */
void lt_loop_run(struct lt_loop *l);
void lt_loop_stop(struct lt_loop *l);

/** struct lt_timer - one-shot timer on the monotonic clock; embedded in its owner. */
struct lt_timer {
	struct event *ev;
	lt_loop_fn fn;
	void *arg;
};

void lt_timer_init(struct lt_timer *t, struct lt_loop *l, lt_loop_fn fn, void *arg);
/** lt_timer_start_ns() - fires once after @delay_ns (< 0 counts as 0); restarts when pending. */
void lt_timer_start_ns(struct lt_timer *t, int64_t delay_ns);
void lt_timer_stop(struct lt_timer *t);
bool lt_timer_pending(const struct lt_timer *t);
/** lt_timer_fini() - safe on a zeroed timer. */
void lt_timer_fini(struct lt_timer *t);

/**
 * struct lt_waker - lets another thread run a function on the loop's thread (eventfd)
 *
 * Wakes coalesce: one call of fn may stand for several lt_waker_wake().
 */
struct lt_waker {
	struct event *ev;
	int fd;
	lt_loop_fn fn;
	void *arg;
};

int lt_waker_init(struct lt_waker *w, struct lt_loop *l, lt_loop_fn fn, void *arg,
	struct lt_err *err) LT_MUST_CHECK;
/** lt_waker_wake() - any thread, never blocks. */
void lt_waker_wake(struct lt_waker *w);
/** lt_waker_fini() - loop thread, when no other thread can wake any more; safe on a zeroed waker. */
void lt_waker_fini(struct lt_waker *w);

#endif
