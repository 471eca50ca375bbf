/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CLI_FLEET_H
#define LATIDO_CLI_FLEET_H

#include "latido/config.h"
#include "latido/event.h"
#include "latido/fleet.h"

/*
 * All sources as Redis shows them (schemas/redis/README.md): who was seen when, and what the newest
 * events of each window say. Rates come from the counters of two events. One thread at a time.
 */

/** struct fleet_row - one source; NaN = not known */
struct fleet_row {
	char source[LT_SOURCE_MAX + 1];
	enum lt_fleet_state state;
	int64_t seen_ms;
	double age_s;
	double cpu_pct, mem_pct, disk_pct; /* used */
	double rx_bytes_s, tx_bytes_s;
	double load1;
};

struct fleet_table {
	struct fleet_row *rows;
	size_t n;
	int64_t now_ms;  /* Redis's clock */
	size_t left_out; /* sources beyond FLEET_MAX */
};

#define FLEET_MAX 20000

struct fleet;

/** fleet_new() - Return: NULL with @err (CONFIG). @conf is borrowed. */
struct fleet *fleet_new(const struct lt_config *conf, struct lt_err *err);
void fleet_free(struct fleet *f);
/** fleet_where() - address of Redis for messages. */
const char *fleet_where(const struct fleet *f);

/**
 * fleet_refresh() - read what is new; connects when necessary; blocks up to redis.timeout a step
 * @out: freed by fleet_table_fini(); rows in order of name.
 */
int fleet_refresh(struct fleet *f, struct fleet_table *out, struct lt_err *err) LT_MUST_CHECK;
void fleet_table_fini(struct fleet_table *t);
/** fleet_interrupt() - make a blocked fleet_refresh() return; any thread. */
void fleet_interrupt(struct fleet *f);

#endif
