// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/latido/tasks: one line of JSON a process, in ascending order of pid.
 *
 * An iterator: *pos is the pid looked for next. Memory is one line and one task reference between
 * start and stop, however many processes there are; nothing is held between two reads. So it is no
 * snapshot: a process may begin or end while it is read.
 */
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/seqlock.h>
#include <linux/threads.h>

#include "compat.h"
#include "core.h"
#include "procs.h"

struct tasks_state {
	char comm[TASK_COMM_LEN];
	char cgroup[PATH_MAX];
};
const unsigned int latido_tasks_state_size = sizeof(struct tasks_state);

/* The first process from *pos on, with a reference, and its pid in *pos; or NULL. */
static struct task_struct *find(loff_t *pos)
{
	struct task_struct *found = NULL;
	int nr = *pos > 0 ? (int)min_t(loff_t, *pos, PID_MAX_LIMIT) : 1;
	bool more = true;

	while (more && !found) {
		unsigned int i;

		rcu_read_lock();
		for (i = 0; i < LATIDO_PIDS_AT_ONCE && more && !found; i++) {
			struct pid *pid = lt_find_ge_pid(nr);

			more = pid;
			if (!more)
				break;
			nr = pid_nr(pid);
			found = pid_task(pid, PIDTYPE_TGID);
			if (found)
				get_task_struct(found);
			else
				nr++; /* a thread, a session, ... */
		}
		rcu_read_unlock();
		cond_resched();
	}
	if (found)
		*pos = nr;
	return found;
}

static void *tasks_start(struct seq_file *m, loff_t *pos)
{
	return find(pos);
}

static void *tasks_next(struct seq_file *m, void *v, loff_t *pos)
{
	put_task_struct(v);
	++*pos;
	return find(pos);
}

static void tasks_stop(struct seq_file *m, void *v)
{
	if (v)
		put_task_struct(v);
}

static uint64_t sum_runtime(struct task_struct *t)
{
	uint64_t ns = t->signal->sum_sched_runtime; /* of threads that have ended */
	struct task_struct *thread;

	for_each_thread(t, thread)
		ns += READ_ONCE(thread->se.sum_exec_runtime);
	return ns;
}

/*
 * CPU time of all threads; under RCU. What /proc/PID/stat splits into utime and stime. A thread that
 * ends meanwhile moves its time into the sum: then once more, and in the end with the lock that it
 * takes for that.
 */
static uint64_t cpu_ns(struct task_struct *t)
{
	struct signal_struct *sig = t->signal;
	unsigned int i, seq;
	unsigned long flags;
	uint64_t ns;

	for (i = 0; i < 4; i++) {
		seq = read_seqbegin(&sig->stats_lock);
		ns = sum_runtime(t);
		if (!read_seqretry(&sig->stats_lock, seq))
			return ns;
	}
	read_seqlock_excl_irqsave(&sig->stats_lock, flags);
	ns = sum_runtime(t);
	read_sequnlock_excl_irqrestore(&sig->stats_lock, flags);
	return ns;
}

/* exit_mm() takes the same lock before it gives the mm away. */
static uint64_t rss_bytes(struct task_struct *t)
{
	uint64_t bytes = 0;

	task_lock(t);
	if (t->mm && !(t->flags & PF_KTHREAD))
		bytes = (uint64_t)get_mm_rss(t->mm) << PAGE_SHIFT;
	task_unlock(t);
	return bytes;
}

static int tasks_show(struct seq_file *m, void *v)
{
	struct tasks_state *s = m->private;
	struct task_struct *t = v;
	struct lt_task task = {0};
	struct lt_fmt f;
	int n;

	get_task_comm(s->comm, t);
	task.pid = task_tgid_nr(t);
	task.comm = s->comm;
	task.comm_len = strnlen(s->comm, sizeof(s->comm));
	task.rss_bytes = rss_bytes(t);
	task.start_ns = t->start_boottime;
	rcu_read_lock();
	task.state = task_state_to_char(t);
	task.threads = get_nr_threads(t);
	task.cpu_ns = cpu_ns(t);
	n = lt_task_cgroup(t, s->cgroup, sizeof(s->cgroup));
	rcu_read_unlock();
	if (n >= 0) {
		task.cgroup = s->cgroup;
		task.cgroup_len = n;
	}
	latido_fmt_begin(m, &f);
	lt_fmt_task(&f, &task);
	latido_fmt_end(m, &f);
	return 0;
}

const struct seq_operations latido_tasks_ops = {
	.start = tasks_start,
	.next = tasks_next,
	.stop = tasks_stop,
	.show = tasks_show,
};
