/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CLI_FEED_H
#define LATIDO_CLI_FEED_H

#include "fleet.h"

/*
 * Reads the fleet on a thread of its own, so that a Redis that does not answer never keeps keys
 * from being answered.
 */
struct feed;

/** feed_start() - @conf is borrowed. Return: NULL with @err. */
struct feed *feed_start(const struct lt_config *conf, int64_t interval_ms, struct lt_err *err);
/** feed_stop() - end the thread and free; blocks up to the timeout of a connect. */
void feed_stop(struct feed *f);
/** feed_fd() - readable when feed_take() has something new. */
int feed_fd(const struct feed *f);

/** struct feed_news - what feed_take() found */
struct feed_news {
	bool table;  /* a new table was stored */
	bool failed; /* the last try failed: */
	char problem[512];
};

/**
 * feed_take() - what came since the last call
 * @table: replaced (and the old one freed) when there is a new one.
 */
void feed_take(struct feed *f, struct fleet_table *table, struct feed_news *news);
/** feed_hurry() - read again now. */
void feed_hurry(struct feed *f);
void feed_set_interval(struct feed *f, int64_t interval_ms);

#endif
