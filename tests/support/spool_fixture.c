/* SPDX-License-Identifier: MIT */
#include "spool_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latido/clock.h"

static char root[64];
char sp_machine_file[96];

int sp_setup(void **state)
{
	FILE *f;

	(void)state;
	/* Thousands of opens and closes, each with a sync: not on a real disk, where that can be. */
	strcpy(root, access("/dev/shm", W_OK) == 0 ? "/dev/shm/latido-spool-XXXXXX"
						   : "/tmp/latido-spool-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(sp_machine_file, sizeof(sp_machine_file), "%s/machine-id", root);
	f = fopen(sp_machine_file, "w");
	fputs("0123456789abcdef0123456789abcdef\n", f);
	fclose(f);
	return 0;
}

void sp_shell(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	assert_int_equal(system(line), 0);
}

int sp_teardown(void **state)
{
	(void)state;
	sp_shell("rm -rf %s", root);
	return 0;
}

const char *sp_path(const char *name)
{
	static char p[8][160];
	static int i;

	i = (i + 1) % 8;
	snprintf(p[i], sizeof(p[i]), "%s/%s", root, name);
	return p[i];
}

struct lt_spool_options sp_options(const char *dir)
{
	return (struct lt_spool_options){.dir = sp_path(dir),
		.source = "n1",
		.name = "test",
		.max_bytes = 1 << 20,
		.segment_bytes = 4096,
		.memory_bytes = 1 << 20,
		.sync = LT_SPOOL_NEVER,
		.sync_interval_ms = 100,
		.retry_ms = 2,
		.machine_id = sp_machine_file};
}

struct lt_spool *sp_open_with(const struct lt_spool_options *o)
{
	struct lt_spool *s;
	struct lt_err err = {0};

	if (lt_spool_open(&s, o, &err) != LT_OK)
		fail_msg("open: %s", err.msg);
	return s;
}

struct lt_spool *sp_open(const char *dir)
{
	struct lt_spool_options o = sp_options(dir);

	return sp_open_with(&o);
}

struct lt_spool_info sp_info(struct lt_spool *s)
{
	struct lt_spool_info info;

	lt_spool_info(s, &info);
	return info;
}

/* The content of number @i of a test: its length and bytes follow from it. */
static size_t make(uint64_t i, char out[600])
{
	size_t n = 1 + (size_t)(i * 7919 % 500);

	for (size_t k = 0; k < n; k++)
		out[k] = (char)(i * 31 + k * 7 + (i >> 8));
	return n;
}

uint64_t sp_append(struct lt_spool *s, uint64_t i)
{
	char text[600];
	char ctx[32];
	int n = snprintf(ctx, sizeof(ctx), "context %llu", (unsigned long long)(i / 10));

	return lt_spool_append(s, text, make(i, text), ctx, (size_t)n);
}

int sp_read(struct lt_spool *s, uint64_t seq, struct lt_spool_record *r)
{
	int64_t end = lt_mono_ns() + 20 * LT_NS_PER_S;
	int rc;

	while ((rc = lt_spool_read(s, seq, r)) == LT_EAGAIN) {
		assert_true(lt_mono_ns() < end);
		usleep(200);
	}
	return rc;
}

bool sp_same(const struct lt_spool_record *r, uint64_t i)
{
	char text[600];
	char ctx[32];
	size_t n = make(i, text);
	int c = snprintf(ctx, sizeof(ctx), "context %llu", (unsigned long long)(i / 10));

	return r->data.len == n && memcmp(r->data.data, text, n) == 0 &&
	       r->context.len == (size_t)c && memcmp(r->context.data, ctx, (size_t)c) == 0;
}

void sp_expect(struct lt_spool *s, uint64_t seq, uint64_t content)
{
	struct lt_spool_record r = {0};

	assert_int_equal(sp_read(s, seq, &r), LT_OK);
	assert_int_equal(r.seq, seq);
	assert_true(sp_same(&r, content));
	lt_spool_record_fini(&r);
}

char *sp_only_segment(const char *dir)
{
	static char out[256];
	DIR *d = opendir(sp_path(dir));
	const struct dirent *e;

	out[0] = '\0';
	while ((e = readdir(d)))
		if (strstr(e->d_name, ".seg"))
			snprintf(out, sizeof(out), "%s/%.64s", sp_path(dir), e->d_name);
	closedir(d);
	assert_true(out[0] != '\0');
	return out;
}

/* ---- a disk that fails ---- */

atomic_int sp_write_errno, sp_read_errno, sp_sync_errno;
atomic_int sp_short_writes;

static ssize_t bad_write(int fd, const void *p, size_t n, off_t at)
{
	if (atomic_load(&sp_write_errno)) {
		errno = atomic_load(&sp_write_errno);
		return -1;
	}
	if (atomic_load(&sp_short_writes) && n > 100) {
		atomic_fetch_sub(&sp_short_writes, 1);
		n = 100;
	}
	return pwrite(fd, p, n, at);
}

static ssize_t bad_read(int fd, void *p, size_t n, off_t at)
{
	if (atomic_load(&sp_read_errno)) {
		errno = atomic_load(&sp_read_errno);
		return -1;
	}
	return pread(fd, p, n, at);
}

static int bad_sync(int fd)
{
	if (atomic_load(&sp_sync_errno)) {
		errno = atomic_load(&sp_sync_errno);
		return -1;
	}
	return fdatasync(fd);
}

const struct lt_spool_io sp_bad_io = {bad_write, bad_read, bad_sync};
