/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TEST_FAKE_SINK_H
#define LATIDO_TEST_FAKE_SINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "latido/consumer.h"

/*
 * A scripted sink: it notes what it was told to make durable, and fails, blocks or knows shapes as
 * the test says. One for the program.
 */

#define FAKE_SEEN_MAX 8192

struct fake_sink {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	uint64_t seqs[FAKE_SEEN_MAX]; /* durable, in order */
	size_t n, opens, puts, flushes, largest;
	int fail_opens, fail_puts, fail_finds; /* with RETRY, so many times */
	enum lt_class open_class;
	uint64_t poison_seq;
	bool answer; /* put() publishes the highest number under three topics */
	bool block;  /* put() waits until it is cleared */
	bool blocked;
	struct lt_buf shape; /* find_shape() answers this */
	size_t finds;
};
extern struct fake_sink fake_sink;
extern const struct lt_sink_ops fake_sink_ops;

/** fake_sink_reset() - it holds nothing and does what it is told; its shape stays. */
void fake_sink_reset(void);
/** fake_sink_interrupt() - a put() that waits goes on. */
void fake_sink_interrupt(struct lt_sink *s);

#endif
