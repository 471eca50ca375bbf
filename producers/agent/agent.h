/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_H
#define LATIDO_AGENT_H

#include "latido/daemon.h"

/*
 * latido-agent: samples this node once an interval and publishes each snapshot as an event. The
 * functions below are those of struct lt_daemon.
 */

/** struct lt_agent_options - command line of the agent alone */
struct lt_agent_options {
	bool once, print, list_metrics;
};
extern struct lt_agent_options lt_agent_options;

/** lt_agent_command() - --once --print and --list-metrics. */
int lt_agent_command(struct lt_ctx *ctx);

int lt_agent_start(struct lt_ctx *ctx, struct lt_err *err);
void lt_agent_drain(struct lt_ctx *ctx);
void lt_agent_fini(struct lt_ctx *ctx);

/**
 * lt_agent_source() - agent.source or the host name
 * @out: at least LT_SOURCE_MAX + 1 bytes.
 * Return: LT_ECONF (CONFIG) when the host name cannot be one.
 */
int lt_agent_source(const struct lt_agent_conf *conf, char *out, struct lt_err *err);

#endif
