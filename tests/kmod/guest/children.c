/* SPDX-License-Identifier: MIT */
/* Processes in every state that can be made on purpose. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

#define CGROUP    "/sys/fs/cgroup/de \"prueba\"\\x"
#define RSS_BYTES ((size_t)24 << 20)
#define READY_S   60
#define CROWD_MAX 2000

/* What may not stand in JSON as it is: tests/kmod/test_kmod.py knows them too. */
static const char *const hostile[] = {
	"q\"u\\o",
	"new\nline\ttab",
	"\x01\x1f\x7f",
	"\xff\xfe\xc0\xaf",
	"se\xc3\xb1or\xe2\x82\xac",
	"cut\xe2\x82",           /* a euro sign without its end */
	"\xed\xa0\x80surrogate", /* not UTF-8 */
	") R 0 0 (",
};
#define N_HOSTILE (sizeof(hostile) / sizeof(*hostile))

static pid_t all[64], crowd[CROWD_MAX];
static unsigned n_all, n_crowd;

pid_t child(void (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid == 0) {
		fn(arg);
		_exit(99);
	}
	return pid;
}

void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

static void sleeper(void *name)
{
	if (name)
		prctl(PR_SET_NAME, name);
	for (;;)
		pause();
}

static void spinner(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, "spinner");
	for (;;)
		;
}

static void ended(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, "zombie");
	_exit(0);
}

static void *thread(void *arg)
{
	for (;;)
		pause();
	return arg;
}

/* Its resident memory does not change any more. */
static void threaded(void *arg)
{
	char *p = mmap(NULL, RSS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t t;

	(void)arg;
	if (p == MAP_FAILED)
		_exit(1);
	memset(p, 1, RSS_BYTES);
	for (int i = 1; i < N_THREADS; i++)
		if (pthread_create(&t, NULL, thread, NULL))
			_exit(1);
	prctl(PR_SET_NAME, "threaded");
	sleeper(NULL);
}

/* The parent of a vfork() waits uninterruptibly. */
static void blocked(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, "blocked");
	/* NOLINTNEXTLINE: what vfork does is what is wanted */
	if (vfork() == 0)
		for (;;)
			pause();
	_exit(0);
}

static void traced(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, "traced");
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	for (;;)
		pause();
}

static char state_of(pid_t pid)
{
	struct text t = {0};
	char path[64], state = '?';
	const char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (read_file(path, &t) == 0 && (p = strrchr(t.p, ')')))
		state = p[2];
	free(t.p);
	return state;
}

static void wait_for(pid_t pid, char state)
{
	int64_t deadline = now_ns() + READY_S * NS_PER_S;

	while (state_of(pid) != state) {
		if (now_ns() > deadline)
			die("process %d is %c, not %c", (int)pid, state_of(pid), state);
		nap_ms(2);
	}
}

/* Started, and at rest in its final state. */
static pid_t start(void (*fn)(void *arg), const void *arg, char state)
{
	pid_t pid = child(fn, (void *)(uintptr_t)arg);

	wait_for(pid, state);
	all[n_all++] = pid;
	return pid;
}

static void wait_for_threads(pid_t pid)
{
	int64_t deadline = now_ns() + READY_S * NS_PER_S;
	struct text t = {0};
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	do {
		nap_ms(5);
		if (now_ns() > deadline || read_file(path, &t))
			die("the process with threads did not come up");
	} while (!strstr(t.p, "(threaded) S"));
	free(t.p);
}

void children_start(void)
{
	char path[256], text[32];
	pid_t pid;

	for (int i = 0; i < N_SLEEPERS; i++)
		start(sleeper, "sleeper", 'S');
	for (int i = 0; i < N_ZOMBIES; i++)
		start(ended, NULL, 'Z');
	for (int i = 0; i < N_STOPPED; i++) {
		pid = start(sleeper, "stopped", 'S');
		kill(pid, SIGSTOP);
		wait_for(pid, 'T');
	}
	start(blocked, NULL, 'D');
	start(traced, NULL, 't');
	for (size_t i = 0; i < N_HOSTILE; i++) {
		pid = start(sleeper, hostile[i], 'S');
		snprintf(text, sizeof(text), "hostile.%zu", i);
		send_text(text, hostile[i], strnlen(hostile[i], 15));
		say("PID hostile.%zu %d", i, (int)pid);
	}
	wait_for_threads(start(threaded, NULL, 'S'));
	say("PID threaded %d", (int)all[n_all - 1]);
	pid = start(sleeper, "grouped", 'S');
	say("PID grouped %d", (int)pid);
	if (mkdir(CGROUP, 0755) < 0)
		die("mkdir %s: %s", CGROUP, strerror(errno));
	snprintf(path, sizeof(path), "%s/cgroup.procs", CGROUP);
	snprintf(text, sizeof(text), "%d", (int)pid);
	if (write_file(path, text))
		die("%s", path);
	start(spinner, NULL, 'R');
	say("PID spinner %d", (int)all[n_all - 1]);
}

void children_stop(void)
{
	while (n_all)
		end_child(all[--n_all]);
	/* the child of vfork() is ours now: all others are waited for */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

void crowd_start(unsigned n)
{
	for (n_crowd = 0; n_crowd < n && n_crowd < CROWD_MAX; n_crowd++)
		crowd[n_crowd] = child(sleeper, NULL);
	wait_for(crowd[n_crowd - 1], 'S');
}

void crowd_stop(void)
{
	while (n_crowd)
		end_child(crowd[--n_crowd]);
}
