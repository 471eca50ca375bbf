/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TEST_SPOOL_FIXTURE_H
#define LATIDO_TEST_SPOOL_FIXTURE_H

#include <stdatomic.h>

#include "latido/mem.h"
#include "latido/spool.h"

/* A folder for one test's spools, records whose content follows from a number, a disk that fails. */

extern char sp_machine_file[96];

int sp_setup(void **state);
int sp_teardown(void **state);
/** sp_shell() - a command line that must succeed. */
void sp_shell(const char *fmt, ...) LT_PRINTF(1, 2);
/** sp_path() - "<folder>/<name>", in one of a few static buffers. */
const char *sp_path(const char *name);

/** sp_options() - 1 MiB in segments of 4 KiB, no syncs, source n1, tries again after 2 ms. */
struct lt_spool_options sp_options(const char *dir);
struct lt_spool *sp_open_with(const struct lt_spool_options *o);
struct lt_spool *sp_open(const char *dir);
struct lt_spool_info sp_info(struct lt_spool *s);

/** sp_append() - content number @i, with a context that ten neighbours share. */
uint64_t sp_append(struct lt_spool *s, uint64_t i);
/** sp_read() - lt_spool_read() that waits for the disk. */
int sp_read(struct lt_spool *s, uint64_t seq, struct lt_spool_record *r);
bool sp_same(const struct lt_spool_record *r, uint64_t i);
/** sp_expect() - @seq is held and has content number @content. */
void sp_expect(struct lt_spool *s, uint64_t seq, uint64_t content);
/** sp_only_segment() - path of the spool's one segment; static buffer. */
char *sp_only_segment(const char *dir);

/* sp_bad_io fails as these say; sp_short_writes is how many writes take only 100 bytes. */
extern const struct lt_spool_io sp_bad_io;
extern atomic_int sp_write_errno, sp_read_errno, sp_sync_errno, sp_short_writes;

#endif
