/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef LATIDO_KMOD_FMT_H
#define LATIDO_KMOD_FMT_H

#include "pure.h"

/*
 * The documents under /proc/latido: integers and fixed point, keys in fixed order. They are an
 * interface: keys are appended, never renamed, moved or removed (README.md lists them).
 *
 * Pure functions from structs to text in a buffer of the caller's; no locks, no allocation.
 */

/** struct lt_fmt - text being written; full: it did not fit and is to be thrown away */
struct lt_fmt {
	char *buf;
	size_t size;
	size_t len;
	bool full;
};

/** lt_fmt_init() - write to @buf (may be NULL when @size is 0); there is no NUL at the end. */
void lt_fmt_init(struct lt_fmt *f, char *buf, size_t size);

/**
 * lt_fmt_json() - @n bytes of any sort as a JSON string with its quotes
 *
 * Control characters are \u00XX; each byte that is no part of valid UTF-8 (RFC 3629) becomes U+FFFD,
 * as \ufffd.
 */
void lt_fmt_json(struct lt_fmt *f, const char *s, size_t n);

/** enum lt_cpu_mode - as the columns of /proc/stat; guest time is also in user and nice */
enum lt_cpu_mode {
	LT_CPU_USER = 0,
	LT_CPU_NICE,
	LT_CPU_SYSTEM,
	LT_CPU_IDLE,
	LT_CPU_IOWAIT,
	LT_CPU_IRQ,
	LT_CPU_SOFTIRQ,
	LT_CPU_STEAL,
	LT_CPU_GUEST,
	LT_CPU_GUEST_NICE,
	LT_CPU_MODES
};

/** struct lt_cpu_head - usage of all CPUs together, in hundredths of a percent */
struct lt_cpu_head {
	uint32_t usage;
	uint64_t window_ms; /* that it is measured over; before the first full second: since boot */
	uint64_t samples;   /* taken so far */
	uint32_t online;
};

/** struct lt_cpu_row - one online CPU */
struct lt_cpu_row {
	uint32_t cpu;
	uint32_t usage; /* as in the head */
	uint64_t ns[LT_CPU_MODES];
};

/** lt_fmt_cpu_begin() - then a row for each CPU, then lt_fmt_cpu_end(). */
void lt_fmt_cpu_begin(struct lt_fmt *f, const struct lt_cpu_head *h);
void lt_fmt_cpu_row(struct lt_fmt *f, const struct lt_cpu_row *r, bool first);
void lt_fmt_cpu_end(struct lt_fmt *f);

/** struct lt_ram - bytes, as /proc/meminfo has them in kB */
struct lt_ram {
	uint64_t total, free, available, buffers, cached, shared;
	uint64_t slab_reclaimable, slab_unreclaimable;
};

void lt_fmt_ram(struct lt_fmt *f, const struct lt_ram *r);

/* Every state that the kernel shows for a task, and one place for any that it may come to show. */
#define LT_TASK_STATES "RSDTtXZPI"
#define LT_N_STATES    10

/** lt_state_index() - of a letter of LT_TASK_STATES; others have the last. */
unsigned int lt_state_index(char state);

/** struct lt_procs - how many processes (by the state of their first thread) and threads */
struct lt_procs {
	uint64_t processes[LT_N_STATES];
	uint64_t threads[LT_N_STATES];
};

void lt_fmt_procs(struct lt_fmt *f, const struct lt_procs *p);

/** struct lt_task - a process */
struct lt_task {
	int pid; /* in the initial namespace */
	const char *comm;
	size_t comm_len;
	char state;
	uint32_t threads;
	uint64_t rss_bytes;
	uint64_t cpu_ns;
	uint64_t start_ns;  /* since boot, suspended time included; with pid, its identity */
	const char *cgroup; /* path in the cgroup2 hierarchy; NULL: none, or too long */
	size_t cgroup_len;
};

/** lt_fmt_task() - one line with its newline. */
void lt_fmt_task(struct lt_fmt *f, const struct lt_task *t);

#endif
