/* SPDX-License-Identifier: MIT */
#include "latido/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "latido/clock.h"

int lt_loop_init(struct lt_loop *l, struct lt_err *err)
{
	evthread_use_pthreads();
	l->base = event_base_new();
	if (!l->base)
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "loop.init",
			"cannot make an event loop: %s", strerror(errno));
	return LT_OK;
}

void lt_loop_fini(struct lt_loop *l)
{
	if (l->base)
		event_base_free(l->base);
	l->base = NULL;
}

void lt_loop_run(struct lt_loop *l)
{
	event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

void lt_loop_stop(struct lt_loop *l)
{
	event_base_loopbreak(l->base);
}

static void timer_cb(evutil_socket_t fd, short what, void *arg)
{
	struct lt_timer *t = arg;

	(void)fd;
	(void)what;
	t->fn(t->arg);
}

void lt_timer_init(struct lt_timer *t, struct lt_loop *l, lt_loop_fn fn, void *arg)
{
	t->fn = fn;
	t->arg = arg;
	t->ev = event_new(l->base, -1, 0, timer_cb, t);
	if (!t->ev)
		abort(); /* event_new fails only for want of memory or a freed base */
}

void lt_timer_start_ns(struct lt_timer *t, int64_t delay_ns)
{
	struct timeval tv;

	if (delay_ns < 0)
		delay_ns = 0;
	tv.tv_sec = delay_ns / LT_NS_PER_S;
	tv.tv_usec = (delay_ns % LT_NS_PER_S + 999) / 1000;
	if (tv.tv_usec == 1000000) {
		tv.tv_sec++;
		tv.tv_usec = 0;
	}
	event_add(t->ev, &tv);
}

void lt_timer_stop(struct lt_timer *t)
{
	if (t->ev)
		event_del(t->ev);
}

bool lt_timer_pending(const struct lt_timer *t)
{
	return t->ev && event_pending(t->ev, EV_TIMEOUT, NULL);
}

void lt_timer_fini(struct lt_timer *t)
{
	if (t->ev)
		event_free(t->ev);
	t->ev = NULL;
}

static void waker_cb(evutil_socket_t fd, short what, void *arg)
{
	struct lt_waker *w = arg;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0 && errno == EAGAIN)
		return;
	w->fn(w->arg);
}

int lt_waker_init(
	struct lt_waker *w, struct lt_loop *l, lt_loop_fn fn, void *arg, struct lt_err *err)
{
	w->fn = fn;
	w->arg = arg;
	w->ev = NULL;
	w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (w->fd < 0)
		return lt_fail(
			err, LT_EIO, LT_CLS_FATAL, "loop.waker", "eventfd: %s", strerror(errno));
	w->ev = event_new(l->base, w->fd, EV_READ | EV_PERSIST, waker_cb, w);
	if (!w->ev || event_add(w->ev, NULL) < 0) {
		lt_waker_fini(w);
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "loop.waker",
			"cannot add an eventfd to the loop");
	}
	return LT_OK;
}

void lt_waker_wake(struct lt_waker *w)
{
	uint64_t one = 1;
	ssize_t n;

	do {
		n = write(w->fd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
	/* EAGAIN: the counter is at its top, so a wake is pending anyway. */
}

void lt_waker_fini(struct lt_waker *w)
{
	if (!w->fn)
		return;
	if (w->ev)
		event_free(w->ev);
	if (w->fd >= 0)
		close(w->fd);
	*w = (struct lt_waker){.fd = -1};
}
