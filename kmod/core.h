/* SPDX-License-Identifier: GPL-2.0 */
#ifndef LATIDO_KMOD_CORE_H
#define LATIDO_KMOD_CORE_H

#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "fmt.h"

/* What latido.ko gives the others: the folder /proc/latido and its files' owner, the formatting. */

/** latido_mode_valid() - readable by the owner, and writable or executable by nobody. */
bool latido_mode_valid(unsigned short mode);

/** latido_create_single() - a file that @show writes as a whole. Return: NULL: no memory. */
struct proc_dir_entry *latido_create_single(
	const char *name, int (*show)(struct seq_file *m, void *v));
/** latido_create_seq() - a file of records; @state_size bytes of m->private, zeroed. */
struct proc_dir_entry *latido_create_seq(const char *name, unsigned short mode,
	const struct seq_operations *ops, unsigned int state_size);

/** latido_fmt_begin(), latido_fmt_end() - write straight into the buffer of @m. */
void latido_fmt_begin(struct seq_file *m, struct lt_fmt *f);
void latido_fmt_end(struct seq_file *m, const struct lt_fmt *f);

#endif
