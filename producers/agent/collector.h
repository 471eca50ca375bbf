/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_COLLECTOR_H
#define LATIDO_AGENT_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "kmod.h"
#include "latido/config.h"
#include "latido/event.h"
#include "latido/mem.h"
#include "match.h"
#include "procfile.h"

/**
 * struct lt_metric - one row of a collector's table of metrics, for --list-metrics
 * @name: a metric name; or, where the kernel says which there are, a pattern with one '*'.
 * @help: for a pattern, a '*' in it stands for what the name has there.
 *
 * Everything that a collector emits is in its table.
 */
struct lt_metric {
	const char *name;
	enum lt_kind kind;
	const char *help;
};

/** struct lt_collect_env - what collectors share; lives as long as they do, one thread */
struct lt_collect_env {
	const struct lt_agent_conf *conf;
	bool once;       /* one sample only: wait for slow answers */
	uint64_t tick;   /* number of this sample, from 1 */
	int64_t mono_ns; /* when this sample began */
	int64_t wall_ns;
	struct lt_procfile stat; /* /proc/stat, for cpu and stat: read by lt_collect_stat() */
	uint64_t stat_tick;
	int stat_rc;
	struct lt_err stat_err;
	struct lt_kmod kmod;
	unsigned files_max;  /* that may stay open of one sort that is many alike */
	unsigned open_files; /* kept open by lt_collect_keep() */
};

/**
 * struct lt_collector - a collector, described
 *
 * One static one a file. The runner (collectors.h) owns the state: @state_size bytes, zeroed before
 * each init. A collector whose sample() fails is ended and begun again before its next sample, so
 * that it opens its files afresh.
 */
struct lt_collector {
	const char *name; /* as in agent.collectors */
	const char *help;
	const struct lt_metric *metrics;
	size_t n_metrics;
	size_t state_size;
	/* Look if what it reads is there. LT_EAGAIN: this machine does not have it ("absent": looked
	 * for again now and then). Other codes: broken. fini() is safe after a failure. May be NULL. */
	int (*init)(void *state, struct lt_collect_env *env, struct lt_err *err);
	/* Read first, then emit into @out: nothing may be emitted by a sample that fails. */
	int (*sample)(void *state, struct lt_collect_env *env, struct lt_snapshot *out,
		struct lt_err *err);
	void (*fini)(void *state, struct lt_collect_env *env); /* may be NULL */
};

/** lt_collectors_all - NULL-terminated, in the order of their values in an event. */
extern const struct lt_collector *const lt_collectors_all[];

/** lt_collect_path() - "<root>/<fmt...>"; heap. A root of "/" adds nothing. */
char *lt_collect_path(const char *root, const char *fmt, ...) LT_PRINTF(2, 3);

/** lt_collect_stat() - /proc/stat, read once a sample. Return: as lt_procfile_read(). */
int lt_collect_stat(struct lt_collect_env *env, struct lt_err *err) LT_MUST_CHECK;
/** lt_collect_stat_close() - the next lt_collect_stat() opens it afresh. */
void lt_collect_stat_close(struct lt_collect_env *env);

/**
 * lt_collect_keep() - a file of many alike (a sensor, an interface) wants to stay open
 *
 * Sets @f->transient when there are enough open files already. lt_collect_drop() ends @f.
 */
void lt_collect_keep(struct lt_collect_env *env, struct lt_procfile *f);
void lt_collect_drop(struct lt_collect_env *env, struct lt_procfile *f);

/* How often what seldom changes (which sensors there are, properties of disks) is looked up again. */
#define LT_COLLECT_RESCAN_NS (60 * INT64_C(1000000000))

/**
 * struct lt_names - metric names made from what a file calls its values
 *
 * A file has the same names in the same order from read to read: the i-th is compared with the i-th
 * of last time, and only a new one is made into a metric name.
 */
struct lt_names {
	struct lt_name {
		char *text; /* group and key */
		size_t group_len, key_len;
		char *name; /* NULL: not wanted */
	} * v;
	size_t n, cap;
};

/** lt_names_make_fn - the metric name (heap) of a key, or NULL: not wanted */
typedef char *(*lt_names_make_fn)(struct lt_token group, struct lt_token key, void *arg);

/**
 * lt_names_at() - the @i-th name; @i counts from 0 without leaving one out
 * @group, @key: what the file calls it; group may be empty.
 *
 * What a metric name cannot have becomes '_'; of equal names only the first is wanted.
 * Return: the metric name, valid until lt_names_at() meets a new key or _fini(); NULL: not wanted.
 */
const char *lt_names_at(struct lt_names *ns, size_t i, struct lt_token group, struct lt_token key,
	lt_names_make_fn make, void *arg);
void lt_names_fini(struct lt_names *ns);
/** lt_names_clean() - replace what a metric name cannot have by '_'. Return: false when too long. */
bool lt_names_clean(char *name);

/**
 * struct lt_device - first member of what a collector knows of a disk or an interface
 * @ignored: by the configuration, or its name stands in the file a second time.
 */
struct lt_device {
	char *name;
	size_t name_len;
	bool ignored;
};

/** struct lt_devices - growable array of them, in the order of the file; .size is the caller's */
struct lt_devices {
	size_t size; /* of an element */
	void *v;
	size_t n, cap;
};

/**
 * lt_devices_at() - the device that the @at-th line of the file is about
 *
 * Usually the one that was there last time; else it is moved there, or is a new one, zeroed behind
 * its struct lt_device (*@is_new).
 * Return: valid until the next call.
 */
void *lt_devices_at(struct lt_devices *ds, size_t at, struct lt_token name,
	const struct lt_match *ignore, bool *is_new);
/** lt_devices_cut() - forget all from the @n-th on: those are gone; @fini frees what follows the base. */
void lt_devices_cut(struct lt_devices *ds, size_t n,
	void (*fini)(void *device, struct lt_collect_env *env), struct lt_collect_env *env);

/** struct lt_pair - a value that waits for its sample to succeed */
struct lt_pair {
	const char *name;
	double value;
};
/** struct lt_pairs - growable list of them */
struct lt_pairs {
	struct lt_pair *v;
	size_t n, cap;
};
void lt_pairs_add(struct lt_pairs *ps, const char *name, double value);
/** lt_pairs_emit() - emit them; the list is empty then. */
void lt_pairs_emit(struct lt_pairs *ps, struct lt_snapshot *out, enum lt_kind kind);
void lt_pairs_fini(struct lt_pairs *ps);

/**
 * lt_collect_children() - names in a folder that begin with @prefix and a digit, sorted by number
 * Return: how many, or a negative code (LT_EAGAIN: no such folder); lt_collect_children_free().
 */
int lt_collect_children(const char *dir, const char *prefix, char ***names, struct lt_err *err);
void lt_collect_children_free(char **names, int n);

#endif
