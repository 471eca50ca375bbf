/* SPDX-License-Identifier: GPL-2.0 */
#ifndef LATIDO_KMOD_COMPAT_H
#define LATIDO_KMOD_COMPAT_H

/*
 * Everything that differs between the kernels that the modules are for: 5.15 to 6.12. What is not
 * here was chosen because it is the same in all of them: proc_create_single_data() and
 * proc_create_seq_private() instead of proc_ops, task_state_to_char() instead of ->state or
 * ->__state, get_task_comm(), get_mm_rss().
 */
#include <linux/cgroup.h>
#include <linux/pid_namespace.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 15, 0)
#error "Latido's modules are for kernels from 5.15 on"
#endif

/* The first pid from @nr on in the initial namespace, under RCU; find_ge_pid() with its export. */
static inline struct pid *lt_find_ge_pid(int nr)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0)
	return find_ge_pid(nr, &init_pid_ns);
#else
	return idr_get_next(&init_pid_ns.idr, &nr);
#endif
}

/*
 * Path of a task in the cgroup2 hierarchy, under RCU. Return: length, or a negative number: none, or
 * longer than @size. What is too long is reported as its whole length before 6.9, as an error since.
 */
static inline int lt_task_cgroup(struct task_struct *task, char *buf, size_t size)
{
#ifdef CONFIG_CGROUPS
	int n = cgroup_path(task_dfl_cgroup(task), buf, size);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : n;
#else
	return -EOPNOTSUPP;
#endif
}

#endif
