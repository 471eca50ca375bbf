/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_KEEPER_H
#define LATIDO_KEEPER_H

#include "latido/bus.h"

/*
 * The keeper of dead letters on MQTT, which keeps none itself: a session of its own that subscribes to
 * <prefix>/deadletter/# and writes what comes to a spool, before the broker hears that it arrived.
 * `latido deadletter` reads that. Nothing is ever done in there: the oldest letters are dropped,
 * counted, at the bounds. On a bus that keeps its messages (Kafka) there is nothing to do.
 *
 * Loop thread.
 */

struct lt_keeper;

struct lt_keeper_options {
	const struct lt_bus_conf *bus; /* borrowed for the keeper's life */
	const char *dir;               /* empty: no keeper */
	int64_t max_bytes, max_age_ms;
	struct lt_loop *loop;
};

/**
 * lt_keeper_start() - Return: LT_OK, with *@out NULL when none is wanted or needed; or an error
 * (CONFIG: the folder is not usable or in use).
 */
int lt_keeper_start(struct lt_keeper **out, const struct lt_keeper_options *opt,
	struct lt_err *err) LT_MUST_CHECK;
/** lt_keeper_free() - the broker keeps for the session what comes from now on; NULL is fine. */
void lt_keeper_free(struct lt_keeper *k);

#endif
