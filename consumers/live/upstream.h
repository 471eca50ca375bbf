/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_UPSTREAM_H
#define LATIDO_LIVE_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/config.h"
#include "latido/event.h"
#include "latido/loop.h"

/*
 * The one connection to Redis that serves all browsers: a thread that subscribes to every source's
 * live channel and hands the messages to the loop in order. After each connect it first reads what
 * was missed from the windows, so that an outage of the connection leaves no hole; and twice a
 * second it looks at the active alerts.
 */

enum upstream_kind {
	UP_EVENT =
		0, /* @source, @data: a packed event; @number: see upstream_want_window(), or 0 */
	UP_SHAPE,  /* @data: a shape's bytes that events refer to */
	UP_SEEN,   /* @source, @number: time of its last event in ms */
	UP_ALERTS, /* @data: all of the hash, as pairs of NUL-terminated field and value */
	UP_CAUGHT_UP, /* what follows is live */
	UP_STATE,     /* @number: 1 connected, 0 not; @data: why */
	UP_LOST,      /* @number: messages that were dropped, because the loop did not keep up */
};

struct upstream_msg {
	enum upstream_kind kind;
	int64_t number;
	char source[LT_SOURCE_MAX + 1];
	bool old; /* an event from the window, not live; a source that was seen before we subscribed */
	size_t size;
	struct upstream_msg *next;
	char data[];
};

struct upstream;

/** struct upstream_position - the newest event that the loop has of a source */
struct upstream_position {
	char source[LT_SOURCE_MAX + 1];
	uint64_t epoch, seq;
};

struct upstream_options {
	const struct lt_config *conf;
	int64_t window_ms; /* how much of each window is wanted at first */
	/* Loop thread. The message is freed afterwards. */
	void (*message)(void *arg, const struct upstream_msg *m);
	void (*batch_end)(void *arg);
	/* Loop thread: where each source stands; a heap array, freed by the caller. */
	struct upstream_position *(*positions)(void *arg, size_t *n);
	void *arg;
};

struct upstream *upstream_start(
	struct lt_loop *loop, const struct upstream_options *opt, struct lt_err *err);
/** upstream_stop() - ends the thread; blocks for at most a moment. */
void upstream_stop(struct upstream *u);
/** upstream_want_shape() - events refer to a shape that is not known; UP_SHAPE follows if it is found. */
void upstream_want_shape(struct upstream *u, uint64_t hash);
/** upstream_want_window() - a source was seen, its events were not: UP_EVENTs follow, numbered 1, 2, ... */
void upstream_want_window(struct upstream *u, const char *source);

#endif
