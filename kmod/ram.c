// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/latido/ram: memory, as /proc/meminfo counts it. Totals of swap are not exported to modules.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include "core.h"

static struct proc_dir_entry *entry;

static uint64_t pages(long n)
{
	return n > 0 ? (uint64_t)n << PAGE_SHIFT : 0;
}

static int show(struct seq_file *m, void *v)
{
	struct sysinfo i = {0};
	struct lt_ram r;
	struct lt_fmt f;
	long swap_cache = 0;

	si_meminfo(&i); /* in pages: mem_unit is PAGE_SIZE */
#ifdef CONFIG_SWAP
	swap_cache = (long)global_node_page_state(NR_SWAPCACHE);
#endif
	r.total = pages((long)i.totalram);
	r.free = pages((long)i.freeram);
	r.available = pages(si_mem_available());
	r.buffers = pages((long)i.bufferram);
	r.cached =
		pages((long)global_node_page_state(NR_FILE_PAGES) - swap_cache - (long)i.bufferram);
	r.shared = pages((long)i.sharedram);
	r.slab_reclaimable = pages((long)global_node_page_state_pages(NR_SLAB_RECLAIMABLE_B));
	r.slab_unreclaimable = pages((long)global_node_page_state_pages(NR_SLAB_UNRECLAIMABLE_B));
	latido_fmt_begin(m, &f);
	lt_fmt_ram(&f, &r);
	latido_fmt_end(m, &f);
	return 0;
}

static int __init latido_ram_init(void)
{
	entry = latido_create_single("ram", show);
	return entry ? 0 : -ENOMEM;
}

static void __exit latido_ram_exit(void)
{
	proc_remove(entry);
}

module_init(latido_ram_init);
module_exit(latido_ram_exit);
MODULE_DESCRIPTION("Latido: /proc/latido/ram, memory");
MODULE_AUTHOR("The Latido authors");
MODULE_LICENSE("GPL");
MODULE_VERSION(LATIDO_VERSION);
