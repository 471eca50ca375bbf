/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

int out_fd = 1;
unsigned n_passed, n_failed;

static void put(const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(out_fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return; /* the last line will be missing */
		p += w;
		n -= (size_t)w;
	}
}

static void vsay(const char *begin, const char *fmt, va_list args)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "%s", begin);

	vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, args);
	strcat(line, "\n");
	put(line, strlen(line));
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsay("", fmt, args);
	va_end(args);
}

bool check(bool ok, const char *name, const char *fmt, ...)
{
	char begin[128];
	va_list args;

	if (ok) {
		n_passed++;
		say("ok %s", name);
		return ok;
	}
	n_failed++;
	snprintf(begin, sizeof(begin), "FAIL %s: ", name);
	va_start(args, fmt);
	vsay(begin, fmt, args);
	va_end(args);
	return ok;
}

void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsay("DIED ", fmt, args);
	va_end(args);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

void nap_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

int read_steps(const char *path, size_t step, struct text *t)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), e = 0;

	t->len = 0;
	if (fd < 0)
		return errno;
	for (;;) {
		ssize_t n;

		if (t->cap < t->len + step + 1) {
			t->cap = 2 * (t->len + step + 1);
			t->p = realloc(t->p, t->cap);
			if (!t->p)
				abort();
		}
		n = read(fd, t->p + t->len, step);
		if (n < 0)
			e = errno;
		if (n <= 0)
			break;
		t->len += (size_t)n;
	}
	close(fd);
	if (t->p)
		t->p[t->len] = '\0';
	return e;
}

int read_file(const char *path, struct text *t)
{
	return read_steps(path, 65536, t);
}

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), e = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		e = errno;
	close(fd);
	return e;
}

void send_text(const char *name, const char *p, size_t len)
{
	say("FILE %s %zu", name, len);
	put(p, len);
	say("%s", "");
}

void send_file(const char *name, const char *path)
{
	struct text t = {0};
	int e = read_file(path, &t);

	if (e)
		die("%s: %s", path, strerror(e));
	send_text(name, t.p, t.len);
	free(t.p);
}

bool number(const char *text, const char *key, uint64_t *v)
{
	char quoted[64];
	const char *p;

	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	p = strstr(text, quoted);
	if (!p) { /* as /proc/meminfo and /proc/stat have them: at the begin of a line */
		size_t n = strlen(key);

		for (p = text; p && (strncmp(p, key, n) != 0 || (p[n] != ':' && p[n] != ' '));) {
			p = strchr(p, '\n');
			p = p ? p + 1 : NULL;
		}
		if (!p)
			return false;
		p += n + 1;
	} else {
		p += strlen(quoted);
	}
	*v = strtoull(p, NULL, 10);
	return true;
}

uint64_t must_number(const char *text, const char *key)
{
	uint64_t v;

	if (!number(text, key, &v))
		die("there is no %s in: %.300s", key, text);
	return v;
}

int load(const char *module, const char *params)
{
	char path[64];
	int fd, e = 0;

	snprintf(path, sizeof(path), "/mod/%s.ko", module);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	if (syscall(SYS_finit_module, fd, params, 0) < 0)
		e = errno;
	close(fd);
	return e;
}

int unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) < 0 ? errno : 0;
}

static const char *const modules[] = {"latido", "latido_cpu", "latido_ram", "latido_procs"};

void load_all(void)
{
	for (size_t i = 0; i < 4; i++) {
		int e = load(modules[i], "");

		if (e)
			die("insmod %s: %s", modules[i], strerror(e));
	}
}

void unload_all(void)
{
	for (size_t i = 4; i-- > 0;) {
		int e = unload(modules[i]);

		if (e)
			die("rmmod %s: %s", modules[i], strerror(e));
	}
}
