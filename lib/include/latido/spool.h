/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_SPOOL_H
#define LATIDO_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "latido/log.h"
#include "latido/mem.h"
#include "latido/stats.h"

/*
 * A log on disk for what must not be lost: the agent's events until the store has them, and a
 * consumer's inbox of unnumbered events until they are in the database.
 *
 * A folder holds `head` (whose spool it is, epoch, what was issued) and segments
 * `<epoch>-<first seq>.seg`, each a header and records with length, sequence number, time and
 * CRC32C. A record's number is given by lt_spool_append() and never used twice in an epoch.
 * Records are held until they are done, in any order; the oldest are dropped, counted, when the
 * bounds are reached.
 *
 * lt_spool_append() and lt_spool_read() never wait for the disk: a thread of the spool writes,
 * syncs, reads ahead and deletes. What is not written yet, because the disk is slow, full or
 * broken, stays in memory, which is bounded.
 */

struct lt_spool;

#define LT_SPOOL_RECORD_MAX (64u << 20) /* bytes of one record */

/**
 * enum lt_spool_sync - when what was written is forced to the disk
 *
 * A process that is killed loses what lt_spool_append() took in the last milliseconds in any mode:
 * what the thread had not written yet. When the machine itself dies, it is also what was not synced:
 * nothing more (ALWAYS), the last sync_interval_ms (INTERVAL), or what the kernel had not written
 * back, usually 30 s (NEVER).
 */
enum lt_spool_sync { LT_SPOOL_ALWAYS = 0, LT_SPOOL_INTERVAL, LT_SPOOL_NEVER };

/** struct lt_spool_io - the system calls that can fail; tests put others in */
struct lt_spool_io {
	ssize_t (*write)(int fd, const void *p, size_t n, off_t at);
	ssize_t (*read)(int fd, void *p, size_t n, off_t at);
	int (*sync)(int fd);
};

struct lt_spool_options {
	const char *dir;         /* made if missing, mode 0700 */
	const char *source;      /* whose records; at most 128 bytes */
	const char *name;        /* "agent", "inbox": label of the metrics; static */
	int64_t max_bytes;       /* on disk */
	int64_t max_age_ms;      /* 0 = any */
	int64_t segment_bytes;   /* 0 = max_bytes / 512, 64 KiB to 4 MiB */
	int64_t memory_bytes;    /* of records that are not written, and again for reading ahead */
	enum lt_spool_sync sync; /* see there */
	int64_t sync_interval_ms;
	int64_t retry_ms;       /* until a write or read that failed is tried again; 0 = 1000 */
	const char *machine_id; /* file; NULL = /etc/machine-id */
	const struct lt_spool_io *io; /* NULL = the system's */
	/* Spool's thread: something was written, or what lt_spool_read() waits for is there. */
	void (*ready)(void *arg);
	void *arg;
};

/** enum lt_spool_doubt - why the numbers that this spool would give may have been given before */
enum lt_spool_doubt {
	LT_SPOOL_TRUSTED = 0,
	LT_SPOOL_NEW,      /* there was none */
	LT_SPOOL_DAMAGED,  /* the head cannot be read */
	LT_SPOOL_MACHINE,  /* written on another machine: a cloned disk */
	LT_SPOOL_COPIED,   /* the head is not the file it was made as: an older copy was put back */
	LT_SPOOL_CRASHED,  /* the machine went down while it was open: the end may be lost */
	LT_SPOOL_RENAMED,  /* written by another source */
	LT_SPOOL_REPLACED, /* lt_spool_renumber() was asked for */
};
const char *lt_spool_doubt_name(enum lt_spool_doubt d);

/**
 * lt_spool_open() - lock, read and repair a spool, start its thread
 *
 * Blocks while it reads all segments once. A torn end is cut; records that are damaged in the
 * middle are skipped and counted. With a doubt (lt_spool_doubt()) other than NEW or DAMAGED
 * everything is as it was; lt_spool_renumber() starts the new epoch.
 * Return: LT_OK; LT_ECONF (CONFIG): the folder is not usable or in use; LT_EIO (RETRY).
 */
int lt_spool_open(struct lt_spool **out, const struct lt_spool_options *opt,
	struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_spool_close() - write and sync what is in memory, end the thread, free
 * @timeout_ms: how long to wait for a disk that does not take it.
 *
 * Return: records that were lost because of that. NULL is fine.
 */
size_t lt_spool_close(struct lt_spool *s, int64_t timeout_ms);

enum lt_spool_doubt lt_spool_doubt(struct lt_spool *s);
uint64_t lt_spool_epoch(struct lt_spool *s);
/** lt_spool_next_seq() - what the next append gets; from 1. */
uint64_t lt_spool_next_seq(struct lt_spool *s);
/** lt_spool_oldest() - lowest number that is held and not done; 0 = none. */
uint64_t lt_spool_oldest(struct lt_spool *s);
/** lt_spool_issued() - the highest number that ever left this machine, see lt_spool_issue(). */
uint64_t lt_spool_issued(struct lt_spool *s);
/** lt_spool_base() - lt_spool_issued() as it was when the spool was opened or renumbered. */
uint64_t lt_spool_base(struct lt_spool *s);

/**
 * lt_spool_append() - take one record
 * @data: copied.
 * @context: bytes that many records share, such as the names of an event's values: stored once a
 *	segment and whenever they differ from the last; @context_size 0 = none.
 *
 * Never blocks on the disk. A full memory drops its oldest record.
 * Return: the record's number; 0: larger than the bounds allow (counted as dropped).
 */
uint64_t lt_spool_append(struct lt_spool *s, const void *data, size_t size, const void *context,
	size_t context_size);

/** lt_spool_written() - whether @seq has left the memory of this process (or is done). */
bool lt_spool_written(struct lt_spool *s, uint64_t seq);

/**
 * lt_spool_issue() - @seq is about to leave this machine
 *
 * Before the first message with it is handed to a bus. Survives a kill of the process: the number
 * will not be given to something else.
 */
void lt_spool_issue(struct lt_spool *s, uint64_t seq);

/** struct lt_spool_record - what lt_spool_read() found; bytes are copies in the buffers */
struct lt_spool_record {
	uint64_t seq;
	int64_t time_ns; /* wall clock of the append */
	struct lt_buf data, context;
};
void lt_spool_record_fini(struct lt_spool_record *r);

/**
 * lt_spool_read() - the first record at or above @seq that is not done
 * @r: zero-initialised before the first use; overwritten.
 *
 * Return: LT_OK; LT_EAGAIN: it is being read from disk, ready() follows; LT_ESTOPPED: there is none.
 */
int lt_spool_read(struct lt_spool *s, uint64_t seq, struct lt_spool_record *r);

/** lt_spool_next_held() - the first record at or above @seq that is not done; 0 = none. */
uint64_t lt_spool_next_held(struct lt_spool *s, uint64_t seq);

/** lt_spool_done() - [lo, hi] need not be kept. Return: how many records that freed. */
uint64_t lt_spool_done(struct lt_spool *s, uint64_t lo, uint64_t hi);
/** lt_spool_is_done() - done, dropped, damaged or never given. */
bool lt_spool_is_done(struct lt_spool *s, uint64_t seq);

/**
 * lt_spool_renumber() - start a new epoch: held records become 1, 2, 3, ... of it
 * @after_epoch: the new one is higher, and higher than the present one.
 *
 * For numbers that somebody else may have used. Blocks while what is held is copied.
 * Return: LT_OK; LT_EIO (RETRY): no room for the copy; nothing has changed.
 */
int lt_spool_renumber(struct lt_spool *s, uint64_t after_epoch, struct lt_err *err) LT_MUST_CHECK;

/** lt_spool_sync() - wait until everything is written and synced. Return: false: not in time. */
bool lt_spool_sync(struct lt_spool *s, int64_t timeout_ms);

/** struct lt_spool_info - for metrics, logs and tests */
struct lt_spool_info {
	uint64_t epoch, next_seq, oldest_seq, issued;
	uint64_t held;         /* records not done */
	uint64_t memory_bytes; /* not written */
	uint64_t disk_bytes, segments;
	uint64_t written, syncs, write_errors, read_errors;
	uint64_t dropped_disk, dropped_memory, dropped_size; /* records lost to the bounds */
	uint64_t damaged;                                    /* records lost to damage */
	uint64_t lost_lo, lost_hi; /* the last range that was lost, any reason; 0 = none */
	uint64_t cut_bytes;        /* torn end at open */
};
void lt_spool_info(struct lt_spool *s, struct lt_spool_info *out);

/** lt_spool_stats() - register this spool's metrics; it must outlive the process's last reader. */
void lt_spool_stats(struct lt_spool *s);

/* ---- for latido spool: read only, no lock ---- */

/** struct lt_spool_segment - what one segment file holds */
struct lt_spool_segment {
	char name[64];
	uint64_t epoch, first_seq; /* of the header */
	uint64_t records, lo, hi;  /* valid ones; lo, hi 0 = none */
	uint64_t contexts;
	uint64_t bytes;      /* of the file */
	uint64_t torn_bytes; /* behind the last valid record */
	uint64_t damaged;    /* stretches between valid records that are none */
	int64_t first_ns, last_ns;
	bool header_ok;
	char source[129];
};

/** struct lt_spool_report - lt_spool_inspect()'s result */
struct lt_spool_report {
	bool head_ok, clean;
	char problem[256]; /* of the head */
	char source[129];
	uint64_t epoch, issued, done_upto;
	struct lt_spool_segment *segments; /* ascending */
	size_t n;
};

/** lt_spool_inspect() - reads all of a spool, open elsewhere or not. Frees by the next. */
int lt_spool_inspect(const char *dir, struct lt_spool_report *out, struct lt_err *err);
void lt_spool_report_fini(struct lt_spool_report *r);

/**
 * lt_spool_scan() - all records, as far as they can be read, in the order of their numbers
 *
 * Of one that is in use: as of some moment. @record: return false to end the scan.
 */
int lt_spool_scan(const char *dir,
	bool (*record)(void *arg, uint64_t seq, int64_t time_ns, const void *data, size_t size),
	void *arg, struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_spool_check() - parse the bytes of a segment file (fuzzing, inspect)
 * @record: may be NULL; called for each valid record.
 */
void lt_spool_check(const void *bytes, size_t size, struct lt_spool_segment *out,
	void (*record)(void *arg, uint64_t seq, int64_t time_ns, const void *data, size_t size,
		const void *context, size_t context_size),
	void *arg);

#endif
