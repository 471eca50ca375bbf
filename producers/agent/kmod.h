/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_KMOD_H
#define LATIDO_AGENT_KMOD_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/config.h"
#include "latido/log.h"
#include "latido/mem.h"
#include "procfile.h"

/*
 * The files of Latido's kernel modules (kmod/README.md), for the collectors that take their figures
 * from there when they can: what is missing, unreadable or not understood is taken from /proc.
 */

enum lt_kmod_file { LT_KMOD_CPU = 0, LT_KMOD_RAM, LT_KMOD_PROCS, LT_KMOD_N };

/** lt_kmod_names - of the modules, without "latido_". */
extern const char *const lt_kmod_names[LT_KMOD_N];

struct lt_kmod {
	int mode; /* enum lt_kmod_mode */
	struct {
		struct lt_procfile f;
		uint64_t tick; /* of the last read */
		bool ok;
		struct lt_complaint complaint;
	} file[LT_KMOD_N];
};

void lt_kmod_init(struct lt_kmod *k, const struct lt_agent_conf *conf);
void lt_kmod_fini(struct lt_kmod *k);

/**
 * lt_kmod_read() - a module's file, read once a @tick
 *
 * Return: its text, NUL-terminated; NULL: agent.kmod is off, the module is not loaded, or its file
 * cannot be read. With agent.kmod: on that is logged, once.
 */
const char *lt_kmod_read(struct lt_kmod *k, enum lt_kmod_file which, uint64_t tick);

/** lt_kmod_refuse() - the text of this tick is not what it should be: log it, once, and forget it. */
void lt_kmod_refuse(struct lt_kmod *k, enum lt_kmod_file which, const char *what);

/* ---- the documents; each function returns false when @text is not one ---- */

/** lt_kmod_u64() - the number behind "key": from @text on, in a document without strings. */
bool lt_kmod_u64(const char *text, const char *key, uint64_t *v);

/** lt_kmod_cpu_next() - the next CPU's row; *@cursor begins at the text, and is moved. */
bool lt_kmod_cpu_next(const char **cursor, uint64_t *cpu, const char **row);

/** lt_kmod_states() - the counts in the object @key by letter; others are left as they are. */
bool lt_kmod_states(const char *text, const char *key, uint64_t by_state[128]);

/** struct lt_kmod_task - a line of /proc/latido/tasks */
struct lt_kmod_task {
	uint64_t pid, rss_bytes, cpu_ns, start_ns;
};
/** lt_kmod_task() - @comm: emptied, then the name. */
bool lt_kmod_task(const char *line, struct lt_kmod_task *t, struct lt_buf *comm);

/** lt_kmod_string() - append the text of the JSON string that begins at @p. Return: behind it, or NULL. */
const char *lt_kmod_string(const char *p, struct lt_buf *out);

#endif
