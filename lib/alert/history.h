/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_HISTORY_H
#define LATIDO_ALERT_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/config.h"
#include "latido/stats.h"

/*
 * Transitions into the table alert_event, on a thread of its own, from a bounded queue. A transition
 * is there once, whoever writes it how often.
 */

struct lt_history_info {
	struct lt_gauge waiting;
	struct lt_counter written, dropped, refused;
};

struct lt_history;

/** lt_history_start() - @conf: sections postgres and alert; borrowed. */
struct lt_history *lt_history_start(
	const struct lt_config *conf, struct lt_history_info *info, struct lt_err *err);
/** lt_history_stop() - write what waits until @deadline_ms from now, then end. */
void lt_history_stop(struct lt_history *h, int64_t deadline_ms);
/**
 * lt_history_put() - one transition; never blocks, when the queue is full the oldest goes
 * @json: the AlertEvent (lt_alert_json()). @state: of it, static.
 */
void lt_history_put(struct lt_history *h, const char *json, size_t len, const char *state,
	double value, int64_t at_ms);

#endif
