/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_SPOOL_INT_H
#define LATIDO_SPOOL_INT_H

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "latido/ranges.h"
#include "latido/spool.h"

/*
 * spool.c: what the callers do, in memory; thread.c: what the disk does; open.c: reading a folder,
 * repair, renumbering; segment.c: the format; head.c: the head.
 *
 * Numbers on disk are little-endian.
 */

static inline void put32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, 4);
}

static inline void put64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, 8);
}

static inline uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return le32toh(v);
}

static inline uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return le64toh(v);
}

/** lt_crc32c() - continue @crc (0 at first) over @n bytes. */
uint32_t lt_crc32c(uint32_t crc, const void *p, size_t n);
uint32_t lt_crc32c_portable(uint32_t crc, const void *p, size_t n);

/* ---- segment.c ---- */

#define SEG_HEADER_BYTES 256
#define SEG_RECORD_BYTES 32 /* in front of each record's data */

struct seg_header {
	uint64_t epoch, first_seq, machine;
	int64_t created_ns;
	char source[129];
};
void seg_header_write(const struct seg_header *h, uint8_t out[SEG_HEADER_BYTES]);
bool seg_header_read(struct seg_header *h, const uint8_t *p, size_t n);

/** seg_record_write() - append a record, or a context for those that follow it. */
void seg_record_write(
	struct lt_buf *out, bool context, uint64_t seq, int64_t time_ns, const void *p, size_t n);

/** struct seg_record - one parsed record; offsets into the segment */
struct seg_record {
	uint64_t seq;
	int64_t time_ns;
	size_t at, size;       /* of the data */
	size_t ctx, ctx_bytes; /* of its context; 0, 0 = none */
};

/** struct seg_parser - goes through a segment's bytes; continues when more were appended */
struct seg_parser {
	size_t at;             /* next byte to look at */
	size_t end;            /* behind the last valid record or the header */
	size_t ctx, ctx_bytes; /* in force; ctx_lost: a damaged stretch may have held another */
	uint64_t last_seq;
	uint64_t damaged; /* stretches that were skipped */
	uint64_t contexts;
	bool skipping, ctx_lost;
};
void seg_parser_init(struct seg_parser *p);
/** seg_next() - Return: false: no further valid record in these bytes. */
bool seg_next(struct seg_parser *p, const uint8_t *bytes, size_t n, struct seg_record *r);

void seg_name(char out[64], uint64_t epoch, uint64_t first_seq);
bool seg_name_parse(const char *name, uint64_t *epoch, uint64_t *first_seq);

/* ---- head.c ---- */

/** struct head - the mapped file; its figures survive a kill of the process at once */
struct head {
	int fd;
	uint8_t *map;
	uint64_t machine;
	uint64_t epoch;
	char source[129];
};
enum head_field { HEAD_ISSUED = 0, HEAD_ASSIGNED, HEAD_DONE, HEAD_CLEAN, HEAD_BOOT, HEAD_DOUBT };

/**
 * head_load() - map an existing head
 * Return: LT_OK; LT_EAGAIN: there is none; LT_EDATA: damaged; LT_EIO. @copied: it is another file
 * than it was when it was made.
 */
int head_load(struct head *h, int dir_fd, bool *copied, struct lt_err *err);
/** head_create() - replace the head by a new one with h->epoch, source, machine; figures 0. */
int head_create(struct head *h, int dir_fd, struct lt_err *err);
void head_close(struct head *h);
uint64_t head_get(const struct head *h, enum head_field f);
void head_set(struct head *h, enum head_field f, uint64_t v);
/** head_read_only() - for inspect. Return: as head_load(). */
int head_read_only(struct head *h, int dir_fd, uint64_t fields[6], struct lt_err *err);
/** machine_hash() - of the machine id file; 0 when there is none. */
uint64_t machine_hash(const char *path);
uint64_t boot_hash(void);

/* ---- the spool ---- */

struct context {
	size_t refs, size;
	uint32_t crc;
	uint8_t bytes[];
};

struct mem_record {
	struct mem_record *next;
	uint64_t seq;
	int64_t time_ns;
	struct context *context;
	size_t size;
	uint8_t data[];
};

struct segment {
	uint64_t first_seq, last_seq; /* last_seq < first_seq: empty */
	size_t bytes;
	int64_t last_mono_ns; /* of the last append */
};

/** struct loaded - one segment in memory, for reading */
struct loaded {
	uint64_t first_seq; /* names the segment; 0 = none */
	struct lt_buf bytes;
	struct seg_parser parser;
	struct seg_record *records;
	size_t n, cap;
};

struct lt_spool {
	struct lt_spool_options opt;
	struct lt_spool_io io;
	char *dir, *source;
	int dir_fd, lock_fd;
	size_t segment_bytes;
	enum lt_spool_doubt doubt;

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work; /* for the thread */
	pthread_cond_t idle; /* for those who wait for it */
	bool started;

	/* under lock */
	struct head head;
	uint64_t next_seq, base;
	struct lt_ranges gone; /* done, dropped, damaged; 0 always is */
	struct mem_record *mem, **mem_end;
	size_t mem_bytes;
	struct mem_record *busy_end; /* the thread is writing up to this one; NULL = not writing */
	struct context *last_context;
	struct segment *segments; /* ascending; the last one may be active */
	size_t n_segments, segments_cap;
	uint64_t want; /* lt_spool_read() waits for it; 0 = nothing */
	unsigned want_failures;
	int64_t want_retry_ns;
	struct loaded loaded;
	bool quit, paused, sync_wanted, dirty;
	bool running; /* the thread is outside the lock */
	int64_t write_retry_ns, synced_ns, age_check_ns;
	int64_t quit_ns; /* give up writing */
	struct lt_spool_info info;

	/* the thread's; also open and renumber while it is paused */
	int active_fd; /* of the last segment; -1 = the next write makes one */
	struct context *active_context;
	struct lt_buf out;
	unsigned write_failures;
	struct lt_complaint write_complaint, read_complaint, drop_complaint;
	struct lt_stat *stats;
};

/* spool.c */
void spool_lose(struct lt_spool *s, uint64_t lo, uint64_t hi, uint64_t *counter, const char *why);
void spool_forget_mem(struct lt_spool *s, struct mem_record **at);
void context_put(struct context *c);

/* thread.c */
void *spool_thread(void *arg);
/** spool_write() - thread or paused, without the lock: all of out's records to disk. */
int spool_new_segment(struct lt_spool *s, uint64_t first_seq, struct lt_err *err);
int spool_load(struct lt_spool *s, const struct segment *seg, struct loaded *into, bool skip_bad);
void spool_unlink(struct lt_spool *s, uint64_t epoch, uint64_t first_seq);
void spool_drop_oldest(struct lt_spool *s, uint64_t *counter, const char *why);

/* open.c */
int spool_scan(struct lt_spool *s, struct lt_err *err);
void loaded_fini(struct loaded *l);

#endif
