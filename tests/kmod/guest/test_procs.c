/* SPDX-License-Identifier: MIT */
/* /proc/latido/procs and tasks beside a walk of /proc. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

#define DEADLINE_NS (60 * NS_PER_S)
#define STATES      "RSDTtXZPI"

struct counts {
	uint64_t processes[128], threads[128];
	uint64_t total, n_threads;
};

static char state_in(const char *stat)
{
	const char *p = strrchr(stat, ')');

	return p && p[1] ? p[2] : '?';
}

static void count_threads(const char *pid, struct counts *c, struct text *t)
{
	char path[300];
	DIR *d;
	struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%s/task", pid);
	d = opendir(path);
	if (!d)
		return;
	while ((e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/task/%.20s/stat", pid, e->d_name);
		if (read_file(path, t))
			continue;
		c->threads[(unsigned char)state_in(t->p) & 127]++;
		c->n_threads++;
	}
	closedir(d);
}

static void walk(struct counts *c)
{
	struct text t = {0};
	DIR *d = opendir("/proc");
	struct dirent *e;
	char path[300];

	memset(c, 0, sizeof(*c));
	while ((e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/stat", e->d_name);
		if (read_file(path, &t))
			continue;
		c->processes[(unsigned char)state_in(t.p) & 127]++;
		c->total++;
		count_threads(e->d_name, c, &t);
	}
	closedir(d);
	free(t.p);
}

static uint64_t state_count(const char *text, const char *object, char state)
{
	const char key[] = {state, '\0'};
	char quoted[32];
	const char *p;

	snprintf(quoted, sizeof(quoted), "\"%s\":{", object);
	p = strstr(text, quoted);
	if (!p)
		die("no %s in %s", object, text);
	return must_number(p, key);
}

static bool same(const char *text, const struct counts *c, char *why, size_t size)
{
	for (const char *s = STATES; *s; s++) {
		uint64_t p = state_count(text, "states", *s);
		uint64_t t = state_count(text, "thread_states", *s);

		if (p == c->processes[(unsigned char)*s] && t == c->threads[(unsigned char)*s])
			continue;
		snprintf(why, size, "%c: %llu processes and %llu threads, the walk has %llu, %llu",
			*s, (unsigned long long)p, (unsigned long long)t,
			(unsigned long long)c->processes[(unsigned char)*s],
			(unsigned long long)c->threads[(unsigned char)*s]);
		return false;
	}
	return must_number(text, "total_procesos") == c->total &&
	       must_number(text, "threads") == c->n_threads;
}

void test_procs(void)
{
	int64_t deadline = now_ns() + DEADLINE_NS;
	struct text m = {0};
	struct counts c;
	char why[160] = "";
	bool ok;
	uint64_t sum = 0;

	/* The kernel's own threads come and go: tried until all stood still for a moment. */
	do {
		walk(&c);
		if (read_file("/proc/latido/procs", &m))
			die("procs");
		ok = same(m.p, &c, why, sizeof(why));
	} while (!ok && now_ns() < deadline);
	check(ok, "procs_as_walked", "%s; %s", why, m.p);
	check(must_number(m.p, "procesos_zombie") == N_ZOMBIES, "procs_zombies", "%s", m.p);
	check(must_number(m.p, "procesos_parados") == N_STOPPED + 1, "procs_stopped", "%s", m.p);
	check(must_number(m.p, "uninterruptible") >= 1, "procs_uninterruptible", "%s", m.p);
	/* the spinning child and this process itself */
	check(must_number(m.p, "procesos_corriendo") >= 2, "procs_running", "%s", m.p);
	check(must_number(m.p, "procesos_durmiendo") >= N_SLEEPERS + 10, "procs_sleeping", "%s",
		m.p);
	check(must_number(m.p, "idle") > 5, "procs_idle", "%s", m.p);
	static const char *const parts[] = {"procesos_corriendo", "procesos_durmiendo",
		"procesos_zombie", "procesos_parados", "uninterruptible", "idle", "dead", "parked",
		"other"};
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		sum += must_number(m.p, parts[i]);
	check(sum == must_number(m.p, "total_procesos"), "procs_add_up", "%s", m.p);
	check(must_number(m.p, "other") == 0, "procs_no_other", "%s", m.p);
	send_text("procs", m.p, m.len);
	free(m.p);
}

/* Lines, each a document by its begin and end, pids rising. Return: how many; -1: not so. */
static int lines(const struct text *t)
{
	const char *p = t->p;
	long last = 0;
	int n = 0;

	while (*p) {
		const char *nl = strchr(p, '\n');
		long pid;

		if (!nl || strncmp(p, "{\"pid\":", 7) != 0 || nl[-1] != '}')
			return -1;
		pid = strtol(p + 7, NULL, 10);
		if (pid <= last)
			return -1;
		last = pid;
		p = nl + 1;
		n++;
	}
	return n;
}

/* All of /proc/PID/stat, status and cgroup to the host, which compares. */
static void send_walk(const char *when)
{
	DIR *d = opendir("/proc");
	struct text stat = {0}, group = {0}, out = {0};
	struct dirent *e;

	out.cap = 1 << 20;
	out.p = malloc(out.cap);
	if (!d || !out.p)
		die("walk");
	while ((e = readdir(d))) {
		char path[300];

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/stat", e->d_name);
		if (read_file(path, &stat))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/cgroup", e->d_name);
		if (read_file(path, &group) || out.len + stat.len + group.len + 64 > out.cap)
			continue;
		/* lengths, since names may hold newlines */
		out.len += (size_t)sprintf(
			out.p + out.len, "%s %zu %zu\n", e->d_name, stat.len, group.len);
		memcpy(out.p + out.len, stat.p, stat.len);
		memcpy(out.p + out.len + stat.len, group.p, group.len);
		out.len += stat.len + group.len;
	}
	closedir(d);
	send_text(when, out.p, out.len);
	free(stat.p);
	free(group.p);
	free(out.p);
}

/* Read in pieces of every size it has the same records. */
static void test_pieces(void)
{
	static const size_t steps[] = {1, 333, 4096, 262144};
	struct text t = {0};
	int n[4];

	for (size_t i = 0; i < 4; i++) {
		if (read_steps("/proc/latido/tasks", steps[i], &t))
			die("tasks");
		n[i] = lines(&t);
	}
	check(n[0] > 500 && n[0] == n[1] && n[1] == n[2] && n[2] == n[3], "tasks_in_pieces",
		"%d, %d, %d, %d lines", n[0], n[1], n[2], n[3]);
	free(t.p);
}

/* A reader may stop anywhere, go back, or be cut off. */
static void test_seek(void)
{
	char a[200], b[200];
	int fd = open("/proc/latido/tasks", O_RDONLY);
	ssize_t n;

	n = read(fd, a, sizeof(a));
	check(n == sizeof(a) && lseek(fd, 0, SEEK_SET) == 0 && read(fd, b, sizeof(b)) == n &&
			memcmp(a, b, 60) == 0,
		"tasks_rewind", "%zd bytes", n);
	check(pread(fd, a, 1, (off_t)1 << 40) == 0, "tasks_beyond_end", "something is there");
	close(fd);
}

void test_tasks(void)
{
	send_walk("walk.before");
	send_file("tasks", "/proc/latido/tasks");
	send_walk("walk.after");
	crowd_start(500);
	test_pieces();
	test_seek();
	crowd_stop();
}
