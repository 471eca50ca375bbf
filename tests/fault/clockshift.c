/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/*
 * LD_PRELOAD: shifts the wall clock of one process by the seconds that stand in the file
 * CLOCKSHIFT_FILE (an int64_t, read at each call, so that the clock can jump while it runs).
 */

static const volatile int64_t *offset_s;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void init(void)
{
	const char *path = getenv("CLOCKSHIFT_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p != MAP_FAILED)
		offset_s = p;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	rc = real(id, ts);
	if (rc == 0 && id == CLOCK_REALTIME && offset_s)
		ts->tv_sec += *offset_s;
	return rc;
}
