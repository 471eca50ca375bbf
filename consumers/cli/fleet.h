/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CLI_FLEET_H
#define LATIDO_CLI_FLEET_H

#include "latido/config.h"
#include "latido/event.h"

/*
 * All sources as Redis shows them (schemas/redis/README.md): who was seen when, and what the newest
 * events of each window say. Rates come from the counters of two events. One thread at a time.
 */

enum fleet_state { FLEET_LIVE = 0, FLEET_LATE, FLEET_STALE };
const char *fleet_state_word(enum fleet_state s);

/** struct fleet_row - one source; NaN = not known */
struct fleet_row {
	char source[LT_SOURCE_MAX + 1];
	enum fleet_state state;
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

/* ---- fleet_sample.c: what one event says ---- */

/** struct fleet_counters - of one instant, to be compared with those of another */
struct fleet_counters {
	bool any;
	int64_t time_ns;
	double a, b; /* CPU: idle and total seconds; network: received and transmitted bytes */
};

/** struct fleet_sample - what is remembered of one source */
struct fleet_sample {
	struct fleet_counters cpu, net;
	double cpu_pct, mem_pct, disk_pct, rx_bytes_s, tx_bytes_s, load1;
	uint32_t interval_ms; /* shortest of its streams' */
};

void fleet_sample_init(struct fleet_sample *s);
/** fleet_sample_add() - take over what @e says; parses names once for each shape. */
void fleet_sample_add(struct fleet_sample *s, const struct lt_event *e);
/** fleet_state_of() - by the age of the newest event. */
enum fleet_state fleet_state_of(double age_s, uint32_t interval_ms);

#endif
