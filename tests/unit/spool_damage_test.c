/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/spool/spool_int.h"
#include "../support/spool_fixture.h"
#include "latido/clock.h"

/* What a disk may do to a spool: torn ends, flipped bits, older copies, errors, no room. */

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
	struct lt_spool *s = sp_open("torn");
	char segment[256];
	uint8_t *bytes;
	size_t size;
	uint64_t last = 0;

	(void)state;
	for (uint64_t i = 1; i <= 6; i++)
		sp_append(s, i);
	lt_spool_issue(s, 6);
	lt_spool_close(s, 5000);
	strcpy(segment, sp_only_segment("torn"));
	bytes = get_file(segment, &size);
	for (size_t cut = 0; cut <= size; cut++) {
		uint64_t have = 0;

		put_file(segment, bytes, cut);
		s = sp_open("torn");
		assert_int_equal(lt_spool_next_seq(s), 7); /* none is used twice */
		for (uint64_t i = 1; i <= 6; i++) {
			if (lt_spool_is_done(s, i))
				continue;
			sp_expect(s, i, i);
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
	struct lt_spool *s = sp_open("flip");
	const uint64_t zero[2] = {0, ~UINT64_C(0)};
	char segment[256];
	uint8_t *bytes;
	size_t size;
	int fd;

	(void)state;
	for (uint64_t i = 8; i <= 12; i++) /* two contexts */
		sp_append(s, i);
	lt_spool_issue(s, 5);
	lt_spool_close(s, 5000);
	strcpy(segment, sp_only_segment("flip"));
	bytes = get_file(segment, &size);
	for (size_t at = 0; at < size; at++) {
		size_t have = 0;

		bytes[at] ^= (uint8_t)(1u << at % 8);
		put_file(segment, bytes, size);
		bytes[at] ^= (uint8_t)(1u << at % 8);
		fd = open(
			sp_path("flip/head"), O_WRONLY); /* what the last turn had found damaged */
		assert_int_equal(pwrite(fd, zero, 16, 512 + 16 * HEAD_DONE), 16);
		close(fd);
		s = sp_open("flip");
		assert_int_equal(lt_spool_next_seq(s), 6);
		for (uint64_t i = 1; i <= 5; i++) {
			if (lt_spool_is_done(s, i))
				continue;
			sp_expect(s, i, i + 7); /* never something wrong */
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
	struct lt_spool_options o = sp_options("d");
	struct lt_spool *s = sp_open_with(&o);
	uint64_t epoch = lt_spool_epoch(s), next;
	struct lt_err err;
	uint64_t other_boot[2] = {1, ~UINT64_C(1)};
	int fd;

	(void)state;
	for (uint64_t i = 1; i <= 40; i++)
		sp_append(s, i);
	lt_spool_sync(s, 5000);
	lt_spool_done(s, 1, 3);
	lt_spool_done(s, 7, 7);
	lt_spool_issue(s, 20);
	lt_spool_close(s, 5000);

	sp_shell("cp -a %s/head %s/head.2 && mv %s/head.2 %s/head", o.dir, o.dir, o.dir, o.dir);
	s = sp_open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_COPIED);
	assert_int_equal(lt_spool_epoch(s), epoch);
	lt_spool_close(s, 5000);
	s = sp_open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_COPIED); /* until something is done about it */
	lt_spool_done(s, 7, 7);
	sp_append(s, 41);
	assert_int_equal(lt_spool_renumber(s, epoch + 10000000, &err), LT_OK);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_TRUSTED);
	assert_true(lt_spool_epoch(s) > epoch + 10000000);
	epoch = lt_spool_epoch(s);
	assert_int_equal(lt_spool_next_seq(s), 38); /* 4 5 6 8 ... 41 became 1 ... 37 */
	sp_expect(s, 1, 4);
	sp_expect(s, 3, 6);
	sp_expect(s, 4, 8);
	sp_expect(s, 37, 41);
	sp_append(s, 42);
	lt_spool_close(s, 5000);
	s = sp_open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_TRUSTED);
	assert_int_equal(lt_spool_epoch(s), epoch);
	assert_int_equal(lt_spool_oldest(s), 1);
	sp_expect(s, 4, 8);
	sp_expect(s, 38, 42);
	lt_spool_close(s, 5000);

	sp_shell("echo fedcba9876543210fedcba9876543210 > %s", sp_machine_file);
	s = sp_open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_MACHINE);
	assert_int_equal(lt_spool_renumber(s, 0, &err), LT_OK);
	assert_true(lt_spool_epoch(s) > epoch);
	lt_spool_close(s, 5000);
	o.source = "n2";
	s = sp_open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_RENAMED);
	assert_int_equal(lt_spool_renumber(s, 0, &err), LT_OK);
	epoch = lt_spool_epoch(s);
	next = lt_spool_next_seq(s);
	lt_spool_close(s, 5000);

	/* The machine went down: another boot, not closed. */
	fd = open(sp_path("d/head"), O_RDWR);
	assert_int_equal(pwrite(fd, other_boot, 16, 512 + 16 * HEAD_BOOT), 16);
	s = sp_open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_TRUSTED); /* it was closed */
	lt_spool_close(s, 5000);
	assert_int_equal(pwrite(fd, other_boot, 16, 512 + 16 * HEAD_BOOT), 16);
	other_boot[0] = 0;
	other_boot[1] = ~UINT64_C(0);
	assert_int_equal(pwrite(fd, other_boot, 16, 512 + 16 * HEAD_CLEAN), 16);
	s = sp_open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_CRASHED);
	assert_int_equal(lt_spool_renumber(s, 0, &err), LT_OK);
	epoch = lt_spool_epoch(s);
	lt_spool_close(s, 5000);
	close(fd);

	/* A damaged head: everything is still there, and in doubt. */
	fd = open(sp_path("d/head"), O_RDWR);
	assert_int_equal(pwrite(fd, "xx", 2, 40), 2);
	close(fd);
	s = sp_open_with(&o);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_DAMAGED);
	assert_int_equal(lt_spool_next_seq(s), next);
	assert_int_equal(lt_spool_renumber(s, 0, &err), LT_OK);
	assert_true(lt_spool_epoch(s) > epoch);
	assert_int_equal(lt_spool_next_seq(s), next);
	sp_expect(s, 1, 4);
	lt_spool_close(s, 5000);
}

/* ---- a disk that fails ---- */

static void wait_for(struct lt_spool *s, bool (*done)(const struct lt_spool_info *))
{
	int64_t end = lt_mono_ns() + 20 * LT_NS_PER_S;

	for (;;) {
		struct lt_spool_info info = sp_info(s);

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
	struct lt_spool_options o = sp_options("full");
	struct lt_spool_info info;
	struct lt_spool *s;

	(void)state;
	o.io = &sp_bad_io;
	o.memory_bytes = 20000;
	o.sync = LT_SPOOL_ALWAYS;
	s = sp_open_with(&o);
	for (uint64_t i = 1; i <= 10; i++)
		sp_append(s, i);
	wait_for(s, all_written);
	atomic_store(&sp_write_errno, ENOSPC);
	for (uint64_t i = 11; i <= 20; i++)
		sp_append(s, i);
	wait_for(s, write_failed_once);
	for (uint64_t i = 1; i <= 20; i++)
		sp_expect(s, i, i); /* from disk and from memory */
	lt_spool_done(s, 12, 12);
	for (uint64_t i = 21; i <= 200; i++)
		sp_append(s, i);
	info = sp_info(s);
	assert_true(info.memory_bytes <= 20000);
	assert_true(info.dropped_memory > 0);
	assert_int_equal(info.held, 199 - info.dropped_memory);
	assert_int_equal(lt_spool_oldest(s), 1); /* what is on disk is safe there */
	sp_expect(s, 200, 200);
	atomic_store(&sp_short_writes, 3);
	atomic_store(&sp_write_errno, 0);
	wait_for(s, all_written);
	assert_int_equal(sp_info(s).held, info.held);
	sp_expect(s, 200, 200);
	sp_expect(s, 5, 5);
	atomic_store(&sp_sync_errno, EIO);
	sp_append(s, 201);
	assert_true(lt_spool_sync(s, 5000));
	atomic_store(&sp_sync_errno, 0);
	sp_append(s, 202);
	assert_int_equal(lt_spool_close(s, 10000), 0);
	s = sp_open_with(&o);
	assert_int_equal(lt_spool_next_seq(s), 203);
	assert_int_equal(sp_info(s).held, info.held + 2);
	sp_expect(s, 202, 202);
	lt_spool_close(s, 5000);

	/* Closing does not wait for ever. */
	s = sp_open_with(&o);
	atomic_store(&sp_write_errno, ENOSPC);
	sp_append(s, 203);
	assert_int_equal(lt_spool_close(s, 50), 1);
	atomic_store(&sp_write_errno, 0);
	s = sp_open_with(&o);
	assert_int_equal(lt_spool_next_seq(s), 203); /* it was never issued */
	lt_spool_close(s, 5000);
}

static void test_read_errors(void **state)
{
	struct lt_spool_options o = sp_options("rerr");
	struct lt_spool_record r = {0};
	struct lt_spool *s;

	(void)state;
	o.io = &sp_bad_io;
	s = sp_open_with(&o);
	for (uint64_t i = 1; i <= 5; i++)
		sp_append(s, i);
	wait_for(s, all_written);
	atomic_store(&sp_read_errno, EIO);
	assert_int_equal(lt_spool_read(s, 1, &r), LT_EAGAIN);
	while (sp_info(s).read_errors == 0)
		usleep(1000);
	atomic_store(&sp_read_errno, 0);
	sp_expect(s, 1, 1); /* it was tried again */
	lt_spool_close(s, 5000);
	s = sp_open_with(&o);
	atomic_store(&sp_read_errno, EIO);
	/* It stays: in the end the records are given up, counted. */
	assert_int_equal(sp_read(s, 1, &r), LT_ESTOPPED);
	assert_int_equal(sp_info(s).damaged, 5);
	assert_int_equal(lt_spool_oldest(s), 0);
	atomic_store(&sp_read_errno, 0);
	assert_int_equal(sp_append(s, 6), 6);
	sp_expect(s, 6, 6);
	lt_spool_close(s, 5000);
	lt_spool_record_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc),
		cmocka_unit_test_setup_teardown(test_torn, sp_setup, sp_teardown),
		cmocka_unit_test_setup_teardown(test_bit_flips, sp_setup, sp_teardown),
		cmocka_unit_test_setup_teardown(test_doubts, sp_setup, sp_teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, sp_setup, sp_teardown),
		cmocka_unit_test_setup_teardown(test_read_errors, sp_setup, sp_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
