/* SPDX-License-Identifier: MIT */
/* What a read costs, beside reading and parsing what it replaces; at 500 processes. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

#define FOR_NS (NS_PER_S)

static volatile uint64_t sink;

/* As an agent does it: the descriptor stays open, and everything is read anew from its begin. */
static size_t reread(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = pread(fd, buf + len, size - len - 1, (off_t)len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	return len;
}

static char buf[1 << 20];

static void parse_numbers(const char *p)
{
	uint64_t sum = 0;

	while (*p) {
		if (isdigit((unsigned char)*p)) {
			char *end;

			sum += strtoull(p, &end, 10);
			p = end;
		} else {
			p++;
		}
	}
	sink += sum;
}

static void one_file(const char *path, bool parse)
{
	static int fd = -1;
	static const char *last;

	if (last != path) {
		if (fd >= 0)
			close(fd);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		last = path;
	}
	if (!reread(fd, buf, sizeof(buf)))
		die("%s is empty", path);
	if (parse)
		parse_numbers(buf);
}

/* Each /proc/PID/stat opened, read, its state and times parsed, closed. */
static void walk(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	char path[64];

	while ((e = readdir(d))) {
		const char *p;
		int fd;

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/stat", e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (reread(fd, buf, sizeof(buf)) && (p = strrchr(buf, ')'))) {
			sink += (uint64_t)p[2];
			parse_numbers(p + 3);
		}
		close(fd);
	}
	closedir(d);
}

static void measure(const char *what, const char *path, bool parse)
{
	int64_t begin, end;
	long n = 0;

	for (int i = 0; i < 2; i++) /* warm */
		path ? one_file(path, parse) : walk();
	begin = now_ns();
	do {
		path ? one_file(path, parse) : walk();
		n++;
		end = now_ns();
	} while (end - begin < FOR_NS);
	say("BENCH %lld %s", (long long)((end - begin) / n), what);
}

void bench(void)
{
	crowd_start(500);
	measure("read /proc/latido/cpu", "/proc/latido/cpu", false);
	measure("read and parse /proc/latido/cpu", "/proc/latido/cpu", true);
	measure("read and parse /proc/stat", "/proc/stat", true);
	measure("read /proc/latido/ram", "/proc/latido/ram", false);
	measure("read and parse /proc/latido/ram", "/proc/latido/ram", true);
	measure("read and parse /proc/meminfo", "/proc/meminfo", true);
	measure("read /proc/latido/procs", "/proc/latido/procs", false);
	measure("read and parse /proc/latido/procs", "/proc/latido/procs", true);
	measure("read /proc/latido/tasks", "/proc/latido/tasks", false);
	measure("read and parse /proc/latido/tasks", "/proc/latido/tasks", true);
	measure("read and parse all of /proc/PID/stat", NULL, true);
	crowd_stop();
	check(true, "bench", "%s", "");
}
