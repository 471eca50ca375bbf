/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_FLEET_H
#define LATIDO_FLEET_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/event.h"

/*
 * What a row of the fleet says about one source, taken from its events: latido top and the live view
 * show the same figures. Rates come from the counters of two events. One thread at a time; the
 * shapes' user slot is used.
 */

enum lt_fleet_state { LT_FLEET_LIVE = 0, LT_FLEET_LATE, LT_FLEET_STALE };
const char *lt_fleet_state_word(enum lt_fleet_state s);
/**
 * lt_fleet_state_of() - by the age of the newest event
 *
 * Late after 2.5 intervals and 5 s, stale after 5 and 15 s; sources that announce no interval: 60 s
 * and 300 s.
 */
enum lt_fleet_state lt_fleet_state_of(double age_s, uint32_t interval_ms);

/** struct lt_fleet_counters - of one instant, to be compared with those of another */
struct lt_fleet_counters {
	bool any;
	int64_t time_ns;
	double a,
		b; /* CPU: idle and total seconds; network: received and transmitted bytes; disks */
};

#define LT_FLEET_LABEL_MAX 64
#define LT_FLEET_MAIN_MAX  192

/** struct lt_fleet_sample - what is remembered of one source; NaN = not known */
struct lt_fleet_sample {
	struct lt_fleet_counters cpu, net, io;
	double cpu_pct, mem_pct, disk_pct; /* used; disk: the fullest file system */
	double rx_bytes_s, tx_bytes_s, io_bytes_s, load1;
	double boot_time_s, memory_bytes;
	double main; /* newest value of the first series of a source that is no node */
	char main_series[LT_FLEET_MAIN_MAX];
	uint32_t cpus;
	uint32_t interval_ms; /* shortest of its streams' */
	bool is_node;         /* sends a node's metrics */
	char os[LT_FLEET_LABEL_MAX], release[LT_FLEET_LABEL_MAX], machine[LT_FLEET_LABEL_MAX];
};

void lt_fleet_sample_init(struct lt_fleet_sample *s);
/** lt_fleet_sample_add() - take over what @e says; parses names once for each shape. */
void lt_fleet_sample_add(struct lt_fleet_sample *s, const struct lt_event *e);

#endif
