// SPDX-License-Identifier: GPL-2.0
/* latido.ko: the folder /proc/latido, and what the modules that fill it share. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/user_namespace.h>

#include "core.h"

static unsigned short mode = 0444;
module_param(mode, ushort, 0444);
MODULE_PARM_DESC(mode, "mode of /proc/latido/{cpu,ram,procs}, octal: 0444, 0440 or 0400 (0444)");

static unsigned int gid;
module_param(gid, uint, 0444);
MODULE_PARM_DESC(gid, "group of the files, by number (0)");

static struct proc_dir_entry *dir;

EXPORT_SYMBOL_GPL(lt_fmt_cpu_begin);
EXPORT_SYMBOL_GPL(lt_fmt_cpu_row);
EXPORT_SYMBOL_GPL(lt_fmt_cpu_end);
EXPORT_SYMBOL_GPL(lt_fmt_ram);
EXPORT_SYMBOL_GPL(lt_fmt_procs);
EXPORT_SYMBOL_GPL(lt_fmt_task);
EXPORT_SYMBOL_GPL(lt_state_index);

bool latido_mode_valid(unsigned short m)
{
	return (m & 0400) && !(m & ~0444);
}
EXPORT_SYMBOL_GPL(latido_mode_valid);

static struct proc_dir_entry *own(struct proc_dir_entry *entry)
{
	if (entry)
		proc_set_user(entry, GLOBAL_ROOT_UID, make_kgid(&init_user_ns, gid));
	return entry;
}

struct proc_dir_entry *latido_create_single(
	const char *name, int (*show)(struct seq_file *m, void *v))
{
	return own(proc_create_single_data(name, mode, dir, show, NULL));
}
EXPORT_SYMBOL_GPL(latido_create_single);

struct proc_dir_entry *latido_create_seq(const char *name, unsigned short file_mode,
	const struct seq_operations *ops, unsigned int state_size)
{
	return own(proc_create_seq_private(name, file_mode, dir, ops, state_size, NULL));
}
EXPORT_SYMBOL_GPL(latido_create_seq);

void latido_fmt_begin(struct seq_file *m, struct lt_fmt *f)
{
	char *buf;
	size_t size = seq_get_buf(m, &buf);

	lt_fmt_init(f, buf, size);
}
EXPORT_SYMBOL_GPL(latido_fmt_begin);

void latido_fmt_end(struct seq_file *m, const struct lt_fmt *f)
{
	/* -1: seq_file comes again with a larger buffer */
	seq_commit(m, f->full ? -1 : (int)f->len);
}
EXPORT_SYMBOL_GPL(latido_fmt_end);

static int __init latido_init(void)
{
	if (!latido_mode_valid(mode)) {
		pr_err("mode=0%ho is refused: 0444, 0440 or 0400\n", mode);
		return -EINVAL;
	}
	if (!gid_valid(make_kgid(&init_user_ns, gid))) {
		pr_err("gid=%u is refused: no such group number\n", gid);
		return -EINVAL;
	}
	dir = proc_mkdir("latido", NULL);
	return dir ? 0 : -ENOMEM;
}

static void __exit latido_exit(void)
{
	proc_remove(dir);
}

module_init(latido_init);
module_exit(latido_exit);
MODULE_DESCRIPTION("Latido: the folder /proc/latido");
MODULE_AUTHOR("The Latido authors");
MODULE_LICENSE("GPL");
MODULE_VERSION(LATIDO_VERSION);
