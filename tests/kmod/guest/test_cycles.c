/* SPDX-License-Identifier: MIT */
/* Loading and unloading while everything is read, and what is left behind. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

/* struct shared - counted by all processes of the test */
struct shared {
	volatile unsigned long reads, gone, cut, wrong, forks;
	volatile int failed; /* an errno */
};
static struct shared *shared;

static const char *const files[] = {
	"/proc/latido/cpu", "/proc/latido/ram", "/proc/latido/procs", "/proc/latido/tasks"};

void test_open_while_unloading(void)
{
	char buf[300];
	int fd[4];
	ssize_t n;

	for (int i = 0; i < 4; i++) {
		fd[i] = open(files[i], O_RDONLY);
		if (fd[i] < 0 || read(fd[i], buf, i == 3 ? 200 : 10) <= 0)
			die("%s", files[i]);
	}
	unload_all();
	for (int i = 0; i < 4; i++) {
		char name[32];

		snprintf(name, sizeof(name), "open_%s", strrchr(files[i], '/') + 1);
		n = read(fd[i], buf, sizeof(buf));
		check(n < 0 && errno == EIO, name, "read gives %zd", n);
		close(fd[i]);
	}
	load_all();
	for (int i = 0; i < 4; i++) {
		fd[i] = open(files[i], O_RDONLY);
		check(fd[i] >= 0 && read(fd[i], buf, sizeof(buf)) > 0, "readable_again", "%s",
			files[i]);
		close(fd[i]);
	}
}

/* Reads for ever: what is complete must look complete; ENOENT and EIO are the module going. */
static void reader(void *arg)
{
	const char *path = arg;
	struct text t = {0};

	for (;;) {
		int e = read_steps(path, 700, &t);

		if (e == ENOENT || e == ENODEV) {
			__atomic_add_fetch(&shared->gone, 1, __ATOMIC_RELAXED);
		} else if (e == EIO) {
			__atomic_add_fetch(&shared->cut, 1, __ATOMIC_RELAXED);
		} else if (e || t.len < 20 || t.p[0] != '{' || t.p[t.len - 1] != '\n') {
			__atomic_add_fetch(&shared->wrong, 1, __ATOMIC_RELAXED);
		} else {
			__atomic_add_fetch(&shared->reads, 1, __ATOMIC_RELAXED);
		}
	}
}

static void gone(void *arg)
{
	(void)arg;
	_exit(0);
}

static void forker(void *arg)
{
	(void)arg;
	for (;;) {
		pid_t pid = child(gone, NULL);

		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		__atomic_add_fetch(&shared->forks, 1, __ATOMIC_RELAXED);
		nap_ms(1);
	}
}

struct cycle {
	const char *module, *params;
	unsigned n;
};

static void cycler(void *arg)
{
	const struct cycle *c = arg;

	for (unsigned i = 0; i < c->n; i++) {
		int e = load(c->module, c->params);

		if (!e)
			e = unload(c->module);
		if (e) {
			shared->failed = e;
			_exit(1);
		}
	}
	_exit(0);
}

/* The three at the same time, each @n times, with readers on all files and processes that come and
 * go; latido.ko itself, which the others need, once in ten. */
void test_cycles(unsigned n)
{
	static const char *const names[] = {"latido_cpu", "latido_ram", "latido_procs"};
	static const char *const params[] = {"period_ms=50", "", "tasks_mode=0444"};
	pid_t readers[5], cyclers[3];
	unsigned done = 0, failed = 0;
	int64_t begin = now_ns();

	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	for (int i = 0; i < 4; i++)
		readers[i] = child(reader, (void *)(uintptr_t)files[i]);
	readers[4] = child(forker, NULL);
	while (done < n && !failed) {
		unsigned some = n - done < 10 ? n - done : 10;

		if (load("latido", ""))
			die("latido does not load again");
		for (int i = 0; i < 3; i++)
			cyclers[i] = child(cycler, &(struct cycle){names[i], params[i], some});
		for (int i = 0; i < 3; i++) {
			int status = 0;

			while (waitpid(cyclers[i], &status, 0) < 0 && errno == EINTR)
				;
			failed += status != 0;
		}
		if (!failed && unload("latido"))
			die("latido does not unload");
		done += some;
	}
	for (int i = 0; i < 5; i++)
		end_child(readers[i]);
	say("NOTE %u cycles in %lld ms, %lu reads, %lu without the file, %lu cut off, %lu forks",
		done, (long long)((now_ns() - begin) / 1000000), shared->reads, shared->gone,
		shared->cut, shared->forks);
	check(failed == 0 && done == n, "cycles", "errno %d", shared->failed);
	check(shared->wrong == 0 && shared->reads > 0 && shared->gone > 0 && shared->forks > 0,
		"cycles_readers", "%lu wrong, %lu reads", shared->wrong, shared->reads);
}

/*
 * With slub_debug=U the kernel knows who allocated each object. What a module that is gone has
 * allocated has an address in the space of modules that no symbol covers any more: printed bare. So
 * has what another module allocated while it was loaded, in code that is gone since: that is known
 * from before ours were there.
 */
#define ADDRESS_LEN 19
static char known[256][ADDRESS_LEN];
static unsigned n_known;

static bool is_known(const char *address)
{
	for (unsigned i = 0; i < n_known; i++)
		if (strncmp(known[i], address, ADDRESS_LEN - 1) == 0)
			return true;
	return false;
}

/* Calls @fn for each bare address. Return: how many caches were looked at. */
static unsigned each_bare(void (*fn)(const char *cache, const char *address))
{
	DIR *d = opendir("/sys/kernel/debug/slab");
	struct text t = {0};
	struct dirent *e;
	unsigned caches = 0;
	char path[300];

	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, "kmalloc", 7) != 0)
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/debug/slab/%s/alloc_traces", e->d_name);
		if (read_file(path, &t) || !t.len)
			continue;
		caches++;
		for (const char *p = t.p; (p = strstr(p, " 0xffffffffc")); p++)
			fn(e->d_name, p + 1);
		for (const char *p = t.p; (p = strstr(p, "[latido")); p++)
			fn(e->d_name, p);
	}
	if (d)
		closedir(d);
	free(t.p);
	return caches;
}

static void learn(const char *cache, const char *address)
{
	(void)cache;
	if (is_known(address))
		return;
	if (n_known == sizeof(known) / sizeof(*known))
		die("more addresses without a symbol than expected");
	snprintf(known[n_known++], ADDRESS_LEN, "%s", address);
}

void slab_baseline(void)
{
	each_bare(learn);
}

static unsigned n_left;
static char first_left[400];

static void left(const char *cache, const char *address)
{
	if (is_known(address))
		return;
	if (!n_left++)
		snprintf(first_left, sizeof(first_left), "%s %.100s", cache, address);
}

static void test_slab(void)
{
	unsigned caches = each_bare(left);

	if (!caches) {
		say("NOTE no /sys/kernel/debug/slab: slub_debug=U is off");
		return;
	}
	check(caches > 5 && n_left == 0, "no_slab_leak", "%u caches, %u left, as: %s", caches,
		n_left, first_left);
}

static void test_kmemleak(void)
{
	struct text t = {0};

	if (read_file("/sys/kernel/debug/kmemleak", &t))
		return; /* only in the debug kernel */
	/* An object is reported by the second scan that does not find it, when it is 5 s old. */
	write_file("/sys/kernel/debug/kmemleak", "scan");
	nap_ms(6000);
	write_file("/sys/kernel/debug/kmemleak", "scan");
	if (read_file("/sys/kernel/debug/kmemleak", &t))
		die("kmemleak");
	check(t.len == 0, "kmemleak", "%.700s", t.p);
	free(t.p);
}

void test_leaks(void)
{
	struct text t = {0};
	struct stat st;

	if (read_file("/proc/modules", &t))
		die("/proc/modules");
	check(!strstr(t.p, "latido"), "modules_gone", "%.200s", t.p);
	check(stat("/proc/latido", &st) < 0 && errno == ENOENT, "nothing_left", "/proc/latido");
	if (read_file("/proc/vmallocinfo", &t) == 0)
		check(!strstr(t.p, "[latido"), "no_vmalloc_leak", "in /proc/vmallocinfo");
	free(t.p);
	test_slab();
	test_kmemleak();
}
