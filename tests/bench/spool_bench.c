/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/bench.h"
#include "latido/clock.h"
#include "latido/spool.h"

/*
 * Appends a second in each sync mode, beside a bare write(2) (and fdatasync(2)) loop in the same
 * folder, /var/tmp or what SPOOL_FOLDER names. The spool syncs many appends at once; "one by one"
 * waits for each.
 */
#define RECORD_BYTES 4096

static double bare(const char *dir, const char *data, size_t size, bool sync, int n)
{
	char path[512];
	int64_t begin;
	int fd;

	snprintf(path, sizeof(path), "%s/bare", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		exit(1);
	begin = lt_mono_ns();
	for (int i = 0; i < n; i++)
		if (write(fd, data, size) != (ssize_t)size || (sync && fdatasync(fd) < 0))
			exit(1);
	begin = lt_mono_ns() - begin;
	close(fd);
	unlink(path);
	return n / ((double)begin / 1e9);
}

static double spool(const char *dir, const char *data, size_t size, enum lt_spool_sync sync,
	bool one_by_one, int n)
{
	char path[512];
	struct lt_spool_options o = {.dir = path,
		.source = "bench",
		.name = "bench",
		.max_bytes = INT64_C(1) << 30,
		.memory_bytes = 64 << 20,
		.sync = sync,
		.sync_interval_ms = 1000};
	struct lt_spool_info info;
	struct lt_spool *s;
	struct lt_err err;
	int64_t begin;

	snprintf(path, sizeof(path), "%s/spool", dir);
	if (lt_spool_open(&s, &o, &err) != LT_OK) {
		fprintf(stderr, "spool_bench: %s\n", err.msg);
		exit(1);
	}
	begin = lt_mono_ns();
	for (int i = 0; i < n; i++) {
		lt_spool_append(s, data, size, NULL, 0);
		if (one_by_one && !lt_spool_sync(s, 60000))
			exit(1);
		/* As fast as the disk takes it: what is dropped would be no append. */
		if (i % 256 == 255)
			while (lt_spool_info(s, &info), info.memory_bytes > 32 << 20)
				usleep(100);
	}
	/* Everything is with the kernel; in the modes that sync, all but the last interval on disk. */
	while (lt_spool_info(s, &info), info.memory_bytes > 0)
		usleep(100);
	begin = lt_mono_ns() - begin;
	if (info.held != (uint64_t)n)
		exit(1);
	lt_spool_close(s, 60000);
	snprintf(path, sizeof(path), "rm -rf '%s/spool'", dir);
	if (system(path) != 0)
		exit(1);
	return n / ((double)begin / 1e9);
}

static void one_round(const struct bench_run *b, const char *dir, const char *data)
{
	const int n = 1 + (int)(20000 * b->seconds), synced = 1 + (int)(300 * b->seconds);
	const double bare_write = bare(dir, data, RECORD_BYTES, false, n);
	const double never = spool(dir, data, RECORD_BYTES, LT_SPOOL_NEVER, false, n);
	const double bare_sync = bare(dir, data, RECORD_BYTES, true, synced);
	const double each = spool(dir, data, RECORD_BYTES, LT_SPOOL_ALWAYS, true, synced);
	struct bench_run c = *b;

	bench_case(&c, "%d bytes a record, not waiting for the disk", RECORD_BYTES);
	bench_result(&c, "spool, sync: never", BENCH_SUBJECT, "appends/s", never);
	bench_result(&c, "spool, sync: interval", BENCH_SUBJECT, "appends/s",
		spool(dir, data, RECORD_BYTES, LT_SPOOL_INTERVAL, false, n));
	bench_result(&c, "bare write", BENCH_CEILING, "appends/s", bare_write);
	bench_case(&c, "%d bytes a record, on the disk", RECORD_BYTES);
	bench_result(&c, "spool, sync: always, many waiting", BENCH_SUBJECT, "appends/s",
		spool(dir, data, RECORD_BYTES, LT_SPOOL_ALWAYS, false, n / 4 + 1));
	bench_result(&c, "spool, sync: always, one by one", BENCH_SUBJECT, "appends/s", each);
	bench_result(&c, "bare write and fdatasync", BENCH_CEILING, "appends/s", bare_sync);
}

int main(int argc, char **argv)
{
	const char *folder = getenv("SPOOL_FOLDER");
	struct bench_run b;
	char *data, dir[256];

	bench_init(&b, "spool", "spool", 5, 1, argc, argv);
	data = malloc(RECORD_BYTES);
	snprintf(dir, sizeof(dir), "%s/latido-spool-XXXXXX", folder ? folder : "/var/tmp");
	if (!data || !mkdtemp(dir))
		return 1;
	memset(data, 'x', RECORD_BYTES);
	for (b.round = 1; b.round <= b.rounds; b.round++)
		one_round(&b, dir, data);
	rmdir(dir);
	free(data);
	return 0;
}
