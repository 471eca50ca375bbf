/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/*
 * LD_PRELOAD: what the fault suite does to one process, by the two int64_t in the file
 * LATIDO_SHIM_FILE, which are looked at in each call, so that they can change while it runs: by how
 * many seconds its wall clock is off, and whether there is no room for what it writes by pwrite(2).
 */

/* Later times are of the wall clock, earlier ones of the monotonic clock. */
#define WALL_S 1000000000

static const volatile int64_t *control;
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

__attribute__((constructor)) static void init(void)
{
	const char *path = getenv("LATIDO_SHIM_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p != MAP_FAILED)
		control = p;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc;

	if (!real_clock_gettime)
		*(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	rc = real_clock_gettime(id, ts);
	if (rc == 0 && id == CLOCK_REALTIME && control)
		ts->tv_sec += control[0];
	return rc;
}

/* The kernel's clock is not off: without this a deadline in the past would be waited for in a loop. */
int pthread_cond_timedwait(
	pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until)
{
	struct timespec ts = *until;

	if (!real_timedwait)
		*(void **)&real_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
	if (control && ts.tv_sec > WALL_S)
		ts.tv_sec -= control[0];
	return real_timedwait(cond, lock, &ts);
}

static ssize_t write_at(int fd, const void *p, size_t n, off_t at)
{
	if (!real_pwrite)
		*(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
	if (control && control[1]) {
		errno = ENOSPC;
		return -1;
	}
	return real_pwrite(fd, p, n, at);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	return write_at(fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t at)
{
	return write_at(fd, p, n, at);
}
