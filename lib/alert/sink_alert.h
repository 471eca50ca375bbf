/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_SINK_H
#define LATIDO_ALERT_SINK_H

#include "engine.h"
#include "latido/consumer.h"

/*
 * The engine as a sink of the consumer runtime: the loop decodes while the sink's thread takes
 * events over and evaluates.
 */
extern const struct lt_sink_ops lt_sink_alert_ops;

/** lt_sink_alert_engine() - its engine; what another thread may call, see engine.h. */
struct lt_engine *lt_sink_alert_engine(struct lt_sink *s);
/** lt_sink_alert_publisher() - before the sink is started; borrowed. */
void lt_sink_alert_publisher(struct lt_sink *s, struct lt_publisher *p);

/** lt_alert_info - the figures of this process; lt_alert_stats_add() registers them. */
extern struct lt_engine_info lt_alert_info;
void lt_alert_stats_add(void);

#endif
