/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef LATIDO_KMOD_RING_H
#define LATIDO_KMOD_RING_H

#include "pure.h"

/*
 * The last samples of the CPUs' times: what the usage over the last full second is computed from.
 * Pure; the caller gives memory and locks.
 */

/** struct lt_cpu_sample - a CPU at an instant; both 0: it was not online */
struct lt_cpu_sample {
	uint64_t busy_ns;
	uint64_t idle_ns; /* idle and iowait */
};

struct lt_ring {
	unsigned int n_cpus;
	unsigned int n_slots;
	unsigned int newest;
	unsigned int used;             /* slots that hold a sample */
	uint64_t *time_ns;             /* [n_slots] */
	struct lt_cpu_sample *samples; /* [n_slots * n_cpus] */
};

/** lt_ring_init() - empty; @n_slots is 2 or more. */
void lt_ring_init(struct lt_ring *r, unsigned int n_cpus, unsigned int n_slots, uint64_t *time_ns,
	struct lt_cpu_sample *samples);

/** lt_ring_next() - the oldest slot becomes the newest. Return: its zeroed samples, to be filled. */
struct lt_cpu_sample *lt_ring_next(struct lt_ring *r, uint64_t time_ns);

/** struct lt_ring_window - two samples, as slots */
struct lt_ring_window {
	unsigned int older, newer;
	uint64_t ns; /* between them */
};

/**
 * lt_ring_window() - the newest sample and the last one that is @window_ns (less @slack_ns) older
 * Return: false: none is that old yet; @w is then the oldest and the newest.
 */
bool lt_ring_window(
	const struct lt_ring *r, uint64_t window_ns, uint64_t slack_ns, struct lt_ring_window *w);

/**
 * lt_ring_usage() - share of the time that was not idle, in hundredths of a percent
 * @cpu: or n_cpus: all CPUs that were online at both times.
 *
 * Idle time slips back now and then: that counts as none.
 */
uint32_t lt_ring_usage(const struct lt_ring *r, const struct lt_ring_window *w, unsigned int cpu);

#endif
