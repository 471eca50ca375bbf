/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_OUTPUTS_H
#define LATIDO_ALERT_OUTPUTS_H

#include "history.h"
#include "latido/config.h"
#include "latido/rules.h"
#include "publish.h"
#include "state.h"

/*
 * Where transitions go: Redis and from there the webhooks, the Alertmanagers, PostgreSQL, the bus.
 * Each has a queue and a thread of its own. The engine's thread calls; only the leader does.
 */

struct lt_outputs;

struct lt_outputs_info {
	struct lt_state_info state;
	struct lt_history_info history;
	struct lt_publish_info publish;
};

/** lt_outputs_start() - loop thread; @conf: borrowed. What is down is no error. */
struct lt_outputs *lt_outputs_start(
	const struct lt_config *conf, struct lt_outputs_info *info, struct lt_err *err);
/** lt_outputs_publisher() - the way to the bus, before the first transition; borrowed. */
void lt_outputs_publisher(struct lt_outputs *o, struct lt_publisher *p);
/** lt_outputs_stop() - deliver what waits for at most so long. NULL is fine. */
void lt_outputs_stop(struct lt_outputs *o, int64_t deadline_ms);

struct lt_state *lt_outputs_state(struct lt_outputs *o);

/** lt_outputs_event() - one transition of an alert. */
void lt_outputs_event(struct lt_outputs *o, const struct lt_rules *r, const struct lt_alert *a,
	enum lt_alert_event e, int64_t t_ms);
/** lt_outputs_send() - an Alertmanager's due; also brings the values in Redis up to date. */
void lt_outputs_send(struct lt_outputs *o, const struct lt_rules *r, const struct lt_alert *a);
/** lt_outputs_refresh() - bring an active alert in Redis up to date. */
void lt_outputs_refresh(struct lt_outputs *o, const struct lt_rules *r, const struct lt_alert *a);
/** lt_outputs_resync() - Redis has to get everything anew. */
void lt_outputs_resync(struct lt_outputs *o, const struct lt_rules *r);
/** lt_outputs_republish() - the broker may have lost what it retained. */
void lt_outputs_republish(struct lt_outputs *o, const struct lt_rules *r, int64_t t_ms);
/** lt_outputs_source() - a source to remember, or (@gone) to forget. */
void lt_outputs_source(
	struct lt_outputs *o, const char *source, bool device, uint32_t interval_ms, bool gone);
/** lt_outputs_flush_sources() - write those (@wanted), or forget them. */
void lt_outputs_flush_sources(struct lt_outputs *o, bool wanted);

#endif
