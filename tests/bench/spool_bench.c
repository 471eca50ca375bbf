/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latido/clock.h"
#include "latido/spool.h"

/*
 * Appends a second in each sync mode, beside a bare write(2) (and fdatasync(2)) loop on the same
 * folder in the same run. The spool syncs many appends at once; "one by one" waits for each.
 *
 *	spool_bench [FOLDER [RECORD BYTES]]
 */

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

int main(int argc, char **argv)
{
	char dir[256];
	size_t size = argc > 2 ? strtoul(argv[2], NULL, 10) : 4096;
	char *data = malloc(size);

	snprintf(dir, sizeof(dir), "%s/latido-spool-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
	if (!data || !mkdtemp(dir))
		return 1;
	memset(data, 'x', size);
	printf("%zu bytes a record, in %s; appends a second\n", size, dir);
	printf("  bare write                          %10.0f\n",
		bare(dir, data, size, false, 20000));
	printf("  bare write + fdatasync              %10.0f\n", bare(dir, data, size, true, 300));
	printf("  spool, sync: never                  %10.0f\n",
		spool(dir, data, size, LT_SPOOL_NEVER, false, 20000));
	printf("  spool, sync: interval               %10.0f\n",
		spool(dir, data, size, LT_SPOOL_INTERVAL, false, 20000));
	printf("  spool, sync: always                 %10.0f\n",
		spool(dir, data, size, LT_SPOOL_ALWAYS, false, 5000));
	printf("  spool, sync: always, one by one     %10.0f\n",
		spool(dir, data, size, LT_SPOOL_ALWAYS, true, 300));
	rmdir(dir);
	free(data);
	return 0;
}
