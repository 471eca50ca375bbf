// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/latido/cpu: usage over the last full second, and the times of each online CPU.
 *
 * A work item samples every period_ms, and readers are shown what it has computed: reading has no
 * side effects, and two readers see the same. The raw times are those of the moment of reading.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpumask.h>
#include <linux/kernel_stat.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/tick.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "core.h"
#include "ring.h"

#define WINDOW_MS     1000
#define PERIOD_MIN_MS 50
#define PERIOD_MAX_MS 60000

static unsigned int period_ms = WINDOW_MS;
module_param(period_ms, uint, 0444);
MODULE_PARM_DESC(period_ms, "distance of two samples in ms, 50 to 60000 (1000)");

static struct proc_dir_entry *entry;
static struct lt_ring ring;
static void *ring_times, *ring_samples;
static uint32_t *usage; /* by CPU, as of the last sample */
static uint32_t usage_all;
static uint64_t window_ms, n_samples;
static DEFINE_MUTEX(lock); /* ring and usage */

static void sample_fn(struct work_struct *work);
static DECLARE_DELAYED_WORK(sample_work, sample_fn);

/* As /proc/stat has them: what tick_nohz counts stands still nowhere. */
static uint64_t idle_ns(u64 us, u64 ticked_ns)
{
	return us == (u64)-1 ? ticked_ns : us * NSEC_PER_USEC;
}

static void read_cpu(unsigned int cpu, uint64_t *ns)
{
	struct kernel_cpustat s;
	bool online = cpu_online(cpu);

	kcpustat_cpu_fetch(&s, cpu);
	ns[LT_CPU_USER] = s.cpustat[CPUTIME_USER];
	ns[LT_CPU_NICE] = s.cpustat[CPUTIME_NICE];
	ns[LT_CPU_SYSTEM] = s.cpustat[CPUTIME_SYSTEM];
	ns[LT_CPU_IDLE] = idle_ns(
		online ? get_cpu_idle_time_us(cpu, NULL) : (u64)-1, s.cpustat[CPUTIME_IDLE]);
	ns[LT_CPU_IOWAIT] = idle_ns(
		online ? get_cpu_iowait_time_us(cpu, NULL) : (u64)-1, s.cpustat[CPUTIME_IOWAIT]);
	ns[LT_CPU_IRQ] = s.cpustat[CPUTIME_IRQ];
	ns[LT_CPU_SOFTIRQ] = s.cpustat[CPUTIME_SOFTIRQ];
	ns[LT_CPU_STEAL] = s.cpustat[CPUTIME_STEAL];
	ns[LT_CPU_GUEST] = s.cpustat[CPUTIME_GUEST];
	ns[LT_CPU_GUEST_NICE] = s.cpustat[CPUTIME_GUEST_NICE];
}

/* The lock is held. */
static void take_sample(void)
{
	struct lt_cpu_sample *row = lt_ring_next(&ring, ktime_get_boottime_ns());
	struct lt_ring_window w;
	unsigned int cpu;

	for_each_online_cpu(cpu) {
		uint64_t ns[LT_CPU_MODES];

		read_cpu(cpu, ns);
		row[cpu].busy_ns = ns[LT_CPU_USER] + ns[LT_CPU_NICE] + ns[LT_CPU_SYSTEM] +
				   ns[LT_CPU_IRQ] + ns[LT_CPU_SOFTIRQ] + ns[LT_CPU_STEAL];
		row[cpu].idle_ns = ns[LT_CPU_IDLE] + ns[LT_CPU_IOWAIT];
	}
	n_samples++;
	/* Half a period of slack: a work item is never on time to the nanosecond. Until there is a
	 * sample a second old, the oldest is that of the boot.
	 */
	lt_ring_window(&ring, (uint64_t)WINDOW_MS * NSEC_PER_MSEC,
		(uint64_t)period_ms * NSEC_PER_MSEC / 2, &w);
	usage_all = lt_ring_usage(&ring, &w, nr_cpu_ids);
	for (cpu = 0; cpu < nr_cpu_ids; cpu++)
		usage[cpu] = lt_ring_usage(&ring, &w, cpu);
	window_ms = div_u64(w.ns + NSEC_PER_MSEC / 2, NSEC_PER_MSEC);
}

static void sample_fn(struct work_struct *work)
{
	mutex_lock(&lock);
	take_sample();
	mutex_unlock(&lock);
	schedule_delayed_work(&sample_work, msecs_to_jiffies(period_ms));
}

static int show(struct seq_file *m, void *v)
{
	struct lt_cpu_head head = {0};
	struct lt_cpu_row row;
	struct lt_fmt f;
	bool first = true;
	unsigned int cpu;

	mutex_lock(&lock);
	head.usage = usage_all;
	head.window_ms = window_ms;
	head.samples = n_samples;
	head.online = num_online_cpus();
	latido_fmt_begin(m, &f);
	lt_fmt_cpu_begin(&f, &head);
	for_each_online_cpu(cpu) {
		row.cpu = cpu;
		row.usage = usage[cpu];
		read_cpu(cpu, row.ns);
		lt_fmt_cpu_row(&f, &row, first);
		first = false;
	}
	lt_fmt_cpu_end(&f);
	latido_fmt_end(m, &f);
	mutex_unlock(&lock);
	return 0;
}

static int make_ring(void)
{
	unsigned int slots = WINDOW_MS / period_ms + 3, cpu;
	struct lt_cpu_sample *boot;

	usage = kvcalloc(nr_cpu_ids, sizeof(*usage), GFP_KERNEL);
	ring_times = kvcalloc(slots, sizeof(*ring.time_ns), GFP_KERNEL);
	ring_samples = kvcalloc(array_size(slots, nr_cpu_ids), sizeof(*ring.samples), GFP_KERNEL);
	if (!usage || !ring_times || !ring_samples)
		return -ENOMEM;
	lt_ring_init(&ring, nr_cpu_ids, slots, ring_times, ring_samples);
	boot = lt_ring_next(&ring, 0);
	for_each_online_cpu(cpu)
		boot[cpu].busy_ns = 1; /* 0 would be: not online */
	return 0;
}

static void free_ring(void)
{
	kvfree(usage);
	kvfree(ring_times);
	kvfree(ring_samples);
}

static int __init latido_cpu_init(void)
{
	int rc;

	if (period_ms < PERIOD_MIN_MS || period_ms > PERIOD_MAX_MS) {
		pr_err("period_ms=%u is refused: %d to %d\n", period_ms, PERIOD_MIN_MS,
			PERIOD_MAX_MS);
		return -EINVAL;
	}
	rc = make_ring();
	if (rc)
		goto out_ring;
	sample_fn(NULL);
	entry = latido_create_single("cpu", show);
	if (entry)
		return 0;
	rc = -ENOMEM;
	cancel_delayed_work_sync(&sample_work);
out_ring:
	free_ring();
	return rc;
}

static void __exit latido_cpu_exit(void)
{
	proc_remove(entry); /* waits for readers */
	cancel_delayed_work_sync(&sample_work);
	free_ring();
}

module_init(latido_cpu_init);
module_exit(latido_cpu_exit);
MODULE_DESCRIPTION("Latido: /proc/latido/cpu, usage and times of the CPUs");
MODULE_AUTHOR("The Latido authors");
MODULE_LICENSE("GPL");
MODULE_VERSION(LATIDO_VERSION);
