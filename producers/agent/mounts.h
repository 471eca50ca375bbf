/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_MOUNTS_H
#define LATIDO_AGENT_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/vfs.h>

/**
 * Asks mounted file systems for their sizes without ever waiting long: statfs(2) on the mount of a
 * dead server does not return. It is called by worker threads; one that hangs keeps its mount and
 * its thread, the others are served by another one.
 */
struct lt_mounts;

/**
 * struct lt_mount - one mount point and its last answer
 *
 * Labels and path are set once. The second half belongs to the pool.
 */
struct lt_mount {
	char *device, *mountpoint, *fstype; /* labels */
	char *path;                         /* to ask */
	bool readonly;
	bool error;    /* the last answer was an error, or the next one is overdue */
	bool answered; /* buf is set */
	struct statfs buf;

	bool listed;
	bool waiting;     /* to be asked */
	bool running;     /* a worker is asking */
	bool fresh;       /* answer is newer than buf */
	uint64_t round;   /* of lt_mounts_ask() */
	int64_t asked_ns; /* monotonic */
	struct statfs answer;
	int answer_errno;
	struct lt_mount *next_waiting;
};

/** lt_mount_free() - one that was not given to lt_mounts_list(). */
void lt_mount_free(struct lt_mount *m);

typedef int (*lt_mounts_statfs_fn)(const char *path, struct statfs *buf);

/**
 * lt_mounts_new()
 * @overdue_ns: a mount without an answer for so long is in error until one comes.
 * @fn: statfs(2), or a test's.
 */
struct lt_mounts *lt_mounts_new(int64_t overdue_ns, lt_mounts_statfs_fn fn);

/** lt_mounts_free() - never waits for a call that hangs: that thread frees what is left. */
void lt_mounts_free(struct lt_mounts *ms);

/**
 * lt_mounts_list() - replace the list of mounts; those that stay keep their answers
 * @list: @n mounts with labels, path and readonly set, heap; taken over.
 */
void lt_mounts_list(struct lt_mounts *ms, struct lt_mount **list, size_t n);

/**
 * lt_mounts_ask() - ask all of them, waiting at most @patience_ns for the answers
 * @out: n pointers, in the order of the list, valid until the next lt_mounts_list(); only error,
 *	answered, buf and the labels are for the caller.
 *
 * One that does not answer in time keeps its last answer until it is overdue.
 */
size_t lt_mounts_ask(struct lt_mounts *ms, int64_t patience_ns, struct lt_mount *const **out);

/** lt_mounts_threads() - workers at present; at most 8. */
unsigned lt_mounts_threads(struct lt_mounts *ms);

#endif
