/* SPDX-License-Identifier: GPL-2.0 */
#ifndef LATIDO_KMOD_PROCS_H
#define LATIDO_KMOD_PROCS_H

#include <linux/seq_file.h>

/* Pids looked at under one rcu_read_lock(): others get their turn however many there are. */
#define LATIDO_PIDS_AT_ONCE 256

/* tasks.c: /proc/latido/tasks */
extern const struct seq_operations latido_tasks_ops;
extern const unsigned int latido_tasks_state_size;

#endif
