// SPDX-License-Identifier: GPL-2.0
/* latido_procs.ko: /proc/latido/procs, how many processes and threads are in which state. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "core.h"
#include "procs.h"

static unsigned short tasks_mode = 0400;
module_param(tasks_mode, ushort, 0444);
MODULE_PARM_DESC(tasks_mode, "mode of /proc/latido/tasks, octal: 0444, 0440 or 0400 (0400)");

static struct proc_dir_entry *procs_entry, *tasks_entry;

/* Return: the pid to go on at; 0: that was all. */
static int count_some(int nr, struct lt_procs *p)
{
	unsigned int i;

	rcu_read_lock();
	for (i = 0; nr && i < LATIDO_PIDS_AT_ONCE; i++) {
		struct pid *pid = lt_find_ge_pid(nr);
		struct task_struct *t;

		if (!pid) {
			nr = 0;
			break;
		}
		t = pid_task(pid, PIDTYPE_PID);
		if (t) {
			unsigned int state = lt_state_index(task_state_to_char(t));

			p->threads[state]++;
			if (pid_task(pid, PIDTYPE_TGID))
				p->processes[state]++;
		}
		nr = pid_nr(pid) + 1;
	}
	rcu_read_unlock();
	return nr;
}

static int show_procs(struct seq_file *m, void *v)
{
	struct lt_procs p = {0};
	struct lt_fmt f;
	int nr = 1;

	while ((nr = count_some(nr, &p)))
		cond_resched();
	latido_fmt_begin(m, &f);
	lt_fmt_procs(&f, &p);
	latido_fmt_end(m, &f);
	return 0;
}

static int __init latido_procs_init(void)
{
	if (!latido_mode_valid(tasks_mode)) {
		pr_err("tasks_mode=0%ho is refused: 0444, 0440 or 0400\n", tasks_mode);
		return -EINVAL;
	}
	procs_entry = latido_create_single("procs", show_procs);
	if (!procs_entry)
		return -ENOMEM;
	tasks_entry =
		latido_create_seq("tasks", tasks_mode, &latido_tasks_ops, latido_tasks_state_size);
	if (tasks_entry)
		return 0;
	proc_remove(procs_entry);
	return -ENOMEM;
}

static void __exit latido_procs_exit(void)
{
	proc_remove(tasks_entry);
	proc_remove(procs_entry);
}

module_init(latido_procs_init);
module_exit(latido_procs_exit);
MODULE_DESCRIPTION("Latido: /proc/latido/procs and tasks, processes by state and one by one");
MODULE_AUTHOR("The Latido authors");
MODULE_LICENSE("GPL");
MODULE_VERSION(LATIDO_VERSION);
