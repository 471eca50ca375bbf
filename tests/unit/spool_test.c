/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/spool/spool_int.h"
#include "latido/clock.h"

/* The spool on disk: bounds, damage, doubt, and a random model of all of it. */

static char root[64];
static char machine_file[96];

static int setup(void **state)
{
	FILE *f;

	(void)state;
	/* Thousands of opens and closes, each with a sync: not on a real disk, where that can be. */
	strcpy(root, access("/dev/shm", W_OK) == 0 ? "/dev/shm/latido-spool-XXXXXX"
						   : "/tmp/latido-spool-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(machine_file, sizeof(machine_file), "%s/machine-id", root);
	f = fopen(machine_file, "w");
	fputs("0123456789abcdef0123456789abcdef\n", f);
	fclose(f);
	return 0;
}

static void run(const char *fmt, ...) LT_PRINTF(1, 2);
static void run(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	assert_int_equal(system(line), 0);
}

static int teardown(void **state)
{
	(void)state;
	run("rm -rf %s", root);
	return 0;
}

static const char *path(const char *name)
{
	static char p[8][160];
	static int i;

	i = (i + 1) % 8;
	snprintf(p[i], sizeof(p[i]), "%s/%s", root, name);
	return p[i];
}

static struct lt_spool_options options(const char *dir)
{
	return (struct lt_spool_options){.dir = path(dir),
		.source = "n1",
		.name = "test",
		.max_bytes = 1 << 20,
		.segment_bytes = 4096,
		.memory_bytes = 1 << 20,
		.sync = LT_SPOOL_NEVER,
		.sync_interval_ms = 100,
		.machine_id = machine_file};
}

static struct lt_spool *open_with(const struct lt_spool_options *o)
{
	struct lt_spool *s;
	struct lt_err err = {0};

	if (lt_spool_open(&s, o, &err) != LT_OK)
		fail_msg("open: %s", err.msg);
	return s;
}

static struct lt_spool *open_at(const char *dir)
{
	struct lt_spool_options o = options(dir);

	return open_with(&o);
}

static struct lt_spool_info info_of(struct lt_spool *s)
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

static uint64_t append(struct lt_spool *s, uint64_t i)
{
	char text[600];
	char ctx[32];
	int n = snprintf(ctx, sizeof(ctx), "context %llu", (unsigned long long)(i / 10));

	return lt_spool_append(s, text, make(i, text), ctx, (size_t)n);
}

static int read_wait(struct lt_spool *s, uint64_t seq, struct lt_spool_record *r)
{
	int64_t end = lt_mono_ns() + 20 * LT_NS_PER_S;
	int rc;

	while ((rc = lt_spool_read(s, seq, r)) == LT_EAGAIN) {
		assert_true(lt_mono_ns() < end);
		usleep(200);
	}
	return rc;
}

static bool same(const struct lt_spool_record *r, uint64_t i)
{
	char text[600];
	char ctx[32];
	size_t n = make(i, text);
	int c = snprintf(ctx, sizeof(ctx), "context %llu", (unsigned long long)(i / 10));

	return r->data.len == n && memcmp(r->data.data, text, n) == 0 &&
	       r->context.len == (size_t)c && memcmp(r->context.data, ctx, (size_t)c) == 0;
}

static void expect(struct lt_spool *s, uint64_t seq, uint64_t content)
{
	struct lt_spool_record r = {0};

	assert_int_equal(read_wait(s, seq, &r), LT_OK);
	assert_int_equal(r.seq, seq);
	assert_true(same(&r, content));
	lt_spool_record_fini(&r);
}

static char *only_segment(const char *dir)
{
	static char out[256];
	DIR *d = opendir(path(dir));
	const struct dirent *e;

	out[0] = '\0';
	while ((e = readdir(d)))
		if (strstr(e->d_name, ".seg"))
			snprintf(out, sizeof(out), "%s/%.64s", path(dir), e->d_name);
	closedir(d);
	assert_true(out[0] != '\0');
	return out;
}

/* ---- */

static void test_crc(void **state)
{
	uint8_t bytes[300];

	(void)state;
	assert_int_equal(lt_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(lt_crc32c_portable(0, "123456789", 9), 0xe3069283);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 13);
	for (size_t n = 0; n < sizeof(bytes); n++) {
		assert_int_equal(lt_crc32c(7, bytes, n), lt_crc32c_portable(7, bytes, n));
		assert_int_equal(lt_crc32c(lt_crc32c(0, bytes, n / 3), bytes + n / 3, n - n / 3),
			lt_crc32c(0, bytes, n));
	}
}

static void test_ranges(void **state)
{
	struct lt_ranges s = {0};
	bool model[200] = {0};
	unsigned seed = 7;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint64_t lo = (uint64_t)rand_r(&seed) % 200, hi = lo + (uint64_t)rand_r(&seed) % 9;
		bool add = rand_r(&seed) % 2;
		uint64_t changed = 0, first = lo;

		if (hi > 199)
			hi = 199;
		for (uint64_t k = lo; k <= hi; k++) {
			changed += model[k] != add;
			model[k] = add;
		}
		assert_int_equal(
			add ? lt_ranges_add(&s, lo, hi) : lt_ranges_remove(&s, lo, hi), changed);
		while (first < 200 && model[first])
			first++;
		assert_int_equal(lt_ranges_missing(&s, lo), first);
		for (uint64_t k = 0; k < 200; k++)
			assert_int_equal(lt_ranges_contains(&s, k), model[k]);
		for (size_t k = 1; k < s.n; k++)
			assert_true(s.r[k - 1].hi + 1 < s.r[k].lo);
	}
	lt_ranges_fini(&s);
}

static void test_life(void **state)
{
	struct lt_spool *s = open_at("a");
	struct lt_spool_record r = {0};
	uint64_t epoch = lt_spool_epoch(s);

	(void)state;
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_NEW);
	assert_true(epoch > 1000000);
	assert_int_equal(lt_spool_oldest(s), 0);
	assert_int_equal(lt_spool_read(s, 1, &r), LT_ESTOPPED);
	for (uint64_t i = 1; i <= 100; i++)
		assert_int_equal(append(s, i), i);
	assert_true(lt_spool_sync(s, 10000));
	assert_true(lt_spool_written(s, 100));
	for (uint64_t i = 1; i <= 100; i++)
		expect(s, i, i);
	assert_int_equal(lt_spool_done(s, 10, 20), 11);
	assert_int_equal(lt_spool_done(s, 10, 20), 0);
	assert_int_equal(lt_spool_done(s, 1, 5), 5);
	assert_int_equal(lt_spool_oldest(s), 6);
	assert_int_equal(read_wait(s, 10, &r), LT_OK);
	assert_int_equal(r.seq, 21);
	lt_spool_issue(s, 90);
	assert_int_equal(lt_spool_close(s, 5000), 0);

	s = open_at("a");
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_TRUSTED);
	assert_int_equal(lt_spool_epoch(s), epoch);
	assert_int_equal(lt_spool_next_seq(s), 101);
	assert_int_equal(lt_spool_base(s), 90);
	assert_int_equal(lt_spool_oldest(s), 6); /* islands are told again by the store */
	expect(s, 15, 15);
	assert_int_equal(lt_spool_done(s, 1, 1000), 95);
	assert_int_equal(lt_spool_close(s, 5000), 0);
	s = open_at("a");
	assert_int_equal(lt_spool_next_seq(s), 101);
	assert_int_equal(lt_spool_oldest(s), 0);
	assert_int_equal(lt_spool_close(s, 5000), 0);
	lt_spool_record_fini(&r);
}

/* A killed process loses no number that it used, and nothing that was written. */
static void test_kill(void **state)
{
	uint64_t epoch;
	struct lt_spool *s;
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		s = open_at("kill");
		for (uint64_t i = 1; i <= 50; i++)
			append(s, i);
		if (!lt_spool_sync(s, 10000))
			_exit(1);
		lt_spool_done(s, 1, 10);
		lt_spool_issue(s, 60);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	s = open_at("kill");
	epoch = lt_spool_epoch(s);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_TRUSTED);
	assert_int_equal(lt_spool_next_seq(s), 61);
	assert_int_equal(lt_spool_oldest(s), 11);
	for (uint64_t i = 11; i <= 50; i++)
		expect(s, i, i);
	assert_true(lt_spool_is_done(s, 55)); /* it can never come */
	assert_int_equal(append(s, 61), 61);
	lt_spool_close(s, 5000);
	assert_true(epoch > 0);
}

static void test_in_use(void **state)
{
	struct lt_spool *s = open_at("used"), *other;
	struct lt_spool_options o = options("used");
	struct lt_err err = {0};

	(void)state;
	assert_int_equal(lt_spool_open(&other, &o, &err), LT_ECONF);
	assert_non_null(strstr(err.msg, "in use"));
	assert_null(other);
	lt_spool_close(s, 1000);
	o.dir = "/proc/none/x";
	assert_int_equal(lt_spool_open(&other, &o, &err), LT_ECONF);
	assert_int_equal(err.cls, LT_CLS_CONFIG);
}

/* ---- damage ---- */

static size_t file_size(const char *p)
{
	struct stat st;

	assert_int_equal(stat(p, &st), 0);
	return (size_t)st.st_size;
}

static void put_file(const char *p, const uint8_t *bytes, size_t size)
{
	int fd = open(p, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, bytes, size), size);
	close(fd);
}

static uint8_t *get_file(const char *p, size_t *size)
{
	uint8_t *bytes = malloc(*size = file_size(p));
	int fd = open(p, O_RDONLY);

	assert_int_equal(read(fd, bytes, *size), *size);
	close(fd);
	return bytes;
}

static void test_torn(void **state)
{
	struct lt_spool *s = open_at("torn");
	char segment[256];
	uint8_t *bytes;
	size_t size;
	uint64_t last = 0;

	(void)state;
	for (uint64_t i = 1; i <= 6; i++)
		append(s, i);
	lt_spool_issue(s, 6);
	lt_spool_close(s, 5000);
	strcpy(segment, only_segment("torn"));
	bytes = get_file(segment, &size);
	for (size_t cut = 0; cut <= size; cut++) {
		uint64_t have = 0;

		put_file(segment, bytes, cut);
		s = open_at("torn");
		assert_int_equal(lt_spool_next_seq(s), 7); /* none is used twice */
		for (uint64_t i = 1; i <= 6; i++) {
			if (lt_spool_is_done(s, i))
				continue;
			expect(s, i, i);
			have = i;
		}
		assert_true(have >= last);
		last = have;
		lt_spool_close(s, 5000);
		if (have)
			assert_true(file_size(segment) <= cut); /* the torn end is gone */
	}
	assert_int_equal(last, 6);
	free(bytes);
}

static void test_bit_flips(void **state)
{
	struct lt_spool *s = open_at("flip");
	const uint64_t zero[2] = {0, ~UINT64_C(0)};
	char segment[256];
	uint8_t *bytes;
	size_t size;
	int fd;

	(void)state;
	for (uint64_t i = 8; i <= 12; i++) /* two contexts */
		append(s, i);
	lt_spool_issue(s, 5);
	lt_spool_close(s, 5000);
	strcpy(segment, only_segment("flip"));
	bytes = get_file(segment, &size);
	for (size_t at = 0; at < size; at++) {
		size_t have = 0;

		bytes[at] ^= (uint8_t)(1u << at % 8);
		put_file(segment, bytes, size);
		bytes[at] ^= (uint8_t)(1u << at % 8);
		fd = open(path("flip/head"), O_WRONLY); /* what the last turn had found damaged */
		assert_int_equal(pwrite(fd, zero, 16, 512 + 16 * HEAD_DONE), 16);
		close(fd);
		s = open_at("flip");
		assert_int_equal(lt_spool_next_seq(s), 6);
		for (uint64_t i = 1; i <= 5; i++) {
			if (lt_spool_is_done(s, i))
				continue;
			expect(s, i, i + 7); /* never something wrong */
			have++;
		}
		/* One record, or those of one context. */
		assert_in_range(have, at < SEG_HEADER_BYTES ? 5 : 2, 5);
		lt_spool_close(s, 5000);
	}
	free(bytes);
}

static void test_doubts(void **state)
{
	struct lt_spool_options o = options("d");
	struct lt_spool *s = open_with(&o);
	uint64_t epoch = lt_spool_epoch(s), next;
	struct lt_err err;
	uint64_t other_boot[2] = {1, ~UINT64_C(1)};
	int fd;

	(void)state;
	for (uint64_t i = 1; i <= 40; i++)
		append(s, i);
	lt_spool_sync(s, 5000);
	lt_spool_done(s, 1, 3);
	lt_spool_done(s, 7, 7);
	lt_spool_issue(s, 20);
	lt_spool_close(s, 5000);

	run("cp -a %s/head %s/head.2 && mv %s/head.2 %s/head", o.dir, o.dir, o.dir, o.dir);
	s = open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_COPIED);
	assert_int_equal(lt_spool_epoch(s), epoch);
	lt_spool_close(s, 5000);
	s = open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_COPIED); /* until something is done about it */
	lt_spool_done(s, 7, 7);
	append(s, 41);
	assert_int_equal(lt_spool_renumber(s, epoch + 10000000, &err), LT_OK);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_TRUSTED);
	assert_true(lt_spool_epoch(s) > epoch + 10000000);
	epoch = lt_spool_epoch(s);
	assert_int_equal(lt_spool_next_seq(s), 38); /* 4 5 6 8 ... 41 became 1 ... 37 */
	expect(s, 1, 4);
	expect(s, 3, 6);
	expect(s, 4, 8);
	expect(s, 37, 41);
	append(s, 42);
	lt_spool_close(s, 5000);
	s = open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_TRUSTED);
	assert_int_equal(lt_spool_epoch(s), epoch);
	assert_int_equal(lt_spool_oldest(s), 1);
	expect(s, 4, 8);
	expect(s, 38, 42);
	lt_spool_close(s, 5000);

	run("echo fedcba9876543210fedcba9876543210 > %s", machine_file);
	s = open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_MACHINE);
	assert_int_equal(lt_spool_renumber(s, 0, &err), LT_OK);
	assert_true(lt_spool_epoch(s) > epoch);
	lt_spool_close(s, 5000);
	o.source = "n2";
	s = open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_RENAMED);
	assert_int_equal(lt_spool_renumber(s, 0, &err), LT_OK);
	epoch = lt_spool_epoch(s);
	next = lt_spool_next_seq(s);
	lt_spool_close(s, 5000);

	/* The machine went down: another boot, not closed. */
	fd = open(path("d/head"), O_RDWR);
	assert_int_equal(pwrite(fd, other_boot, 16, 512 + 16 * HEAD_BOOT), 16);
	s = open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_TRUSTED); /* it was closed */
	lt_spool_close(s, 5000);
	assert_int_equal(pwrite(fd, other_boot, 16, 512 + 16 * HEAD_BOOT), 16);
	other_boot[0] = 0;
	other_boot[1] = ~UINT64_C(0);
	assert_int_equal(pwrite(fd, other_boot, 16, 512 + 16 * HEAD_CLEAN), 16);
	s = open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_CRASHED);
	assert_int_equal(lt_spool_renumber(s, 0, &err), LT_OK);
	epoch = lt_spool_epoch(s);
	lt_spool_close(s, 5000);
	close(fd);

	/* A damaged head: everything is still there, and in doubt. */
	fd = open(path("d/head"), O_RDWR);
	assert_int_equal(pwrite(fd, "xx", 2, 40), 2);
	close(fd);
	s = open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_DAMAGED);
	assert_int_equal(lt_spool_next_seq(s), next);
	assert_int_equal(lt_spool_renumber(s, 0, &err), LT_OK);
	assert_true(lt_spool_epoch(s) > epoch);
	assert_int_equal(lt_spool_next_seq(s), next);
	expect(s, 1, 4);
	lt_spool_close(s, 5000);
}

/* ---- a disk that fails ---- */

static atomic_int write_errno, read_errno, sync_errno;
static atomic_int short_writes;

static ssize_t bad_write(int fd, const void *p, size_t n, off_t at)
{
	if (atomic_load(&write_errno)) {
		errno = atomic_load(&write_errno);
		return -1;
	}
	if (atomic_load(&short_writes) && n > 100) {
		atomic_fetch_sub(&short_writes, 1);
		n = 100;
	}
	return pwrite(fd, p, n, at);
}

static ssize_t bad_read(int fd, void *p, size_t n, off_t at)
{
	if (atomic_load(&read_errno)) {
		errno = atomic_load(&read_errno);
		return -1;
	}
	return pread(fd, p, n, at);
}

static int bad_sync(int fd)
{
	if (atomic_load(&sync_errno)) {
		errno = atomic_load(&sync_errno);
		return -1;
	}
	return fdatasync(fd);
}

static const struct lt_spool_io bad_io = {bad_write, bad_read, bad_sync};

static void wait_for(struct lt_spool *s, bool (*done)(const struct lt_spool_info *))
{
	int64_t end = lt_mono_ns() + 20 * LT_NS_PER_S;

	for (;;) {
		struct lt_spool_info info = info_of(s);

		if (done(&info))
			return;
		assert_true(lt_mono_ns() < end);
		usleep(1000);
	}
}

static bool write_failed_once(const struct lt_spool_info *i)
{
	return i->write_errors > 0;
}

static bool all_written(const struct lt_spool_info *i)
{
	return i->memory_bytes == 0;
}

static void test_full_disk(void **state)
{
	struct lt_spool_options o = options("full");
	struct lt_spool_info info;
	struct lt_spool *s;

	(void)state;
	o.io = &bad_io;
	o.memory_bytes = 20000;
	o.sync = LT_SPOOL_ALWAYS;
	s = open_with(&o);
	for (uint64_t i = 1; i <= 10; i++)
		append(s, i);
	wait_for(s, all_written);
	atomic_store(&write_errno, ENOSPC);
	for (uint64_t i = 11; i <= 20; i++)
		append(s, i);
	wait_for(s, write_failed_once);
	for (uint64_t i = 1; i <= 20; i++)
		expect(s, i, i); /* from disk and from memory */
	lt_spool_done(s, 12, 12);
	for (uint64_t i = 21; i <= 200; i++)
		append(s, i);
	info = info_of(s);
	assert_true(info.memory_bytes <= 20000);
	assert_true(info.dropped_memory > 0);
	assert_int_equal(info.held, 199 - info.dropped_memory);
	assert_int_equal(lt_spool_oldest(s), 1); /* what is on disk is safe there */
	expect(s, 200, 200);
	atomic_store(&short_writes, 3);
	atomic_store(&write_errno, 0);
	wait_for(s, all_written);
	assert_int_equal(info_of(s).held, info.held);
	expect(s, 200, 200);
	expect(s, 5, 5);
	atomic_store(&sync_errno, EIO);
	append(s, 201);
	assert_true(lt_spool_sync(s, 5000));
	atomic_store(&sync_errno, 0);
	append(s, 202);
	assert_int_equal(lt_spool_close(s, 10000), 0);
	s = open_with(&o);
	assert_int_equal(lt_spool_next_seq(s), 203);
	assert_int_equal(info_of(s).held, info.held + 2);
	expect(s, 202, 202);
	lt_spool_close(s, 5000);

	/* Closing does not wait for ever. */
	s = open_with(&o);
	atomic_store(&write_errno, ENOSPC);
	append(s, 203);
	assert_int_equal(lt_spool_close(s, 50), 1);
	atomic_store(&write_errno, 0);
	s = open_with(&o);
	assert_int_equal(lt_spool_next_seq(s), 203); /* it was never issued */
	lt_spool_close(s, 5000);
}

static void test_read_errors(void **state)
{
	struct lt_spool_options o = options("rerr");
	struct lt_spool_record r = {0};
	struct lt_spool *s;

	(void)state;
	o.io = &bad_io;
	s = open_with(&o);
	for (uint64_t i = 1; i <= 5; i++)
		append(s, i);
	wait_for(s, all_written);
	atomic_store(&read_errno, EIO);
	assert_int_equal(lt_spool_read(s, 1, &r), LT_EAGAIN);
	while (info_of(s).read_errors == 0)
		usleep(1000);
	atomic_store(&read_errno, 0);
	expect(s, 1, 1); /* it was tried again */
	lt_spool_close(s, 5000);
	s = open_with(&o);
	atomic_store(&read_errno, EIO);
	/* It stays: in the end the records are given up, counted. */
	assert_int_equal(read_wait(s, 1, &r), LT_ESTOPPED);
	assert_int_equal(info_of(s).damaged, 5);
	assert_int_equal(lt_spool_oldest(s), 0);
	atomic_store(&read_errno, 0);
	assert_int_equal(append(s, 6), 6);
	expect(s, 6, 6);
	lt_spool_close(s, 5000);
	lt_spool_record_fini(&r);
}

static void test_bounds(void **state)
{
	struct lt_spool_options o = options("bounds");
	struct lt_spool_info info;
	struct lt_spool *s;
	char big[5000] = {0};

	(void)state;
	o.max_bytes = 16384;
	s = open_with(&o);
	for (uint64_t i = 1; i <= 300; i++) {
		append(s, i);
		if (i % 5 == 0)
			assert_true(lt_spool_sync(s, 5000));
	}
	info = info_of(s);
	assert_true(info.disk_bytes <= 16384 + 4096);
	assert_true(info.dropped_disk > 100);
	assert_int_equal(info.held, 300 - info.dropped_disk);
	assert_int_equal(info.oldest_seq, info.dropped_disk + 1);
	assert_int_equal(info.lost_hi, info.dropped_disk);
	expect(s, info.oldest_seq, info.oldest_seq);
	assert_int_equal(lt_spool_append(s, big, sizeof(big), big, 16000), 0);
	assert_int_equal(info_of(s).dropped_size, 1);
	lt_spool_close(s, 5000);
	s = open_with(&o);
	assert_int_equal(lt_spool_oldest(s), info.oldest_seq);
	lt_spool_close(s, 5000);
	o.max_age_ms = 1;
	s = open_with(&o);
	while (info_of(s).held)
		usleep(1000);
	assert_int_equal(lt_spool_next_seq(s), 301);
	lt_spool_close(s, 5000);
}

/* ---- everything at random ---- */

struct model {
	uint64_t content[4096]; /* by seq; 0 = not held */
	uint64_t next, issued, epoch;
};

static void compare(struct lt_spool *s, const struct model *m)
{
	struct lt_spool_record r = {0};
	uint64_t seq = 1;

	assert_int_equal(lt_spool_next_seq(s), m->next);
	assert_int_equal(lt_spool_epoch(s), m->epoch);
	for (;;) {
		while (seq < m->next && !m->content[seq])
			seq++;
		if (read_wait(s, seq, &r) == LT_ESTOPPED)
			break;
		assert_int_equal(r.seq, seq);
		assert_true(same(&r, m->content[seq]));
		seq++;
	}
	assert_int_equal(seq, m->next);
	lt_spool_record_fini(&r);
}

static void random_step(struct lt_spool **s, struct lt_spool_options *o, struct model *m,
	uint64_t *content, unsigned *seed)
{
	struct lt_err err;
	uint64_t lo, hi, kept = 0;

	switch (rand_r(seed) % 40) {
	default:
		if (m->next >= 4000)
			break;
		m->content[m->next] = ++*content;
		assert_int_equal(append(*s, *content), m->next);
		m->next++;
		break;
	case 1 ... 5:
		lo = 1 + (uint64_t)rand_r(seed) % m->next;
		hi = lo + (uint64_t)rand_r(seed) % 60;
		lt_spool_done(*s, lo, hi);
		for (; lo <= hi && lo < m->next; lo++)
			m->content[lo] = 0;
		break;
	case 6:
		assert_true(lt_spool_sync(*s, 20000));
		break;
	case 7:
		compare(*s, m);
		break;
	case 8: /* what was done above the contiguous part is forgotten: hold it as done */
		lo = 1;
		while (lo < m->next && !m->content[lo])
			lo++;
		assert_int_equal(lt_spool_close(*s, 20000), 0);
		*s = open_with(o);
		for (; lo < m->next; lo++)
			if (!m->content[lo])
				lt_spool_done(*s, lo, lo);
		break;
	case 9:
		assert_int_equal(lt_spool_renumber(*s, m->epoch + 5, &err), LT_OK);
		assert_true(lt_spool_epoch(*s) > m->epoch + 5);
		m->epoch = lt_spool_epoch(*s);
		for (lo = 1; lo < m->next; lo++)
			if (m->content[lo])
				m->content[++kept] = m->content[lo];
		for (lo = kept + 1; lo < m->next; lo++)
			m->content[lo] = 0;
		m->next = kept + 1;
		break;
	case 10:
		atomic_store(&short_writes, rand_r(seed) % 4);
		break;
	}
}

static void test_model(void **state)
{
	unsigned seed = (unsigned)time(NULL);
	struct lt_spool_options o = options("model");
	struct model *m = calloc(1, sizeof(*m));
	uint64_t content = 0;
	struct lt_spool *s;

	(void)state;
	if (getenv("SEED"))
		seed = (unsigned)atoi(getenv("SEED"));
	printf("# SEED=%u\n", seed);
	o.io = &bad_io;
	o.max_bytes = 64 << 20;
	o.memory_bytes = 64 << 20;
	s = open_with(&o);
	m->next = 1;
	m->epoch = lt_spool_epoch(s);
	for (int i = 0; i < 6000; i++)
		random_step(&s, &o, m, &content, &seed);
	compare(s, m);
	assert_int_equal(info_of(s).damaged, 0);
	lt_spool_close(s, 20000);
	atomic_store(&short_writes, 0);
	free(m);
}

static void test_inspect(void **state)
{
	struct lt_spool *s = open_at("look");
	struct lt_spool_report rep;
	struct lt_err err = {0};

	(void)state;
	for (uint64_t i = 1; i <= 50; i++)
		append(s, i);
	lt_spool_issue(s, 44);
	assert_true(lt_spool_sync(s, 5000));
	assert_int_equal(lt_spool_inspect(path("look"), &rep, &err), LT_OK);
	assert_true(rep.head_ok);
	assert_false(rep.clean); /* it is open */
	assert_string_equal(rep.source, "n1");
	assert_int_equal(rep.issued, 44);
	assert_int_equal(rep.epoch, lt_spool_epoch(s));
	assert_true(rep.n > 1);
	assert_int_equal(rep.segments[0].lo, 1);
	assert_int_equal(rep.segments[rep.n - 1].hi, 50);
	for (size_t i = 0; i < rep.n; i++) {
		assert_true(rep.segments[i].header_ok);
		assert_int_equal(rep.segments[i].damaged + rep.segments[i].torn_bytes, 0);
	}
	lt_spool_report_fini(&rep);
	lt_spool_close(s, 5000);
	assert_int_equal(lt_spool_inspect(path("nothing"), &rep, &err), LT_EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test_setup_teardown(test_life, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_use, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bit_flips, setup, teardown),
		cmocka_unit_test_setup_teardown(test_doubts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_model, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inspect, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
