/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TESTS_KMOD_GUEST_H
#define LATIDO_TESTS_KMOD_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The first process of the emulated machine: loads the modules, compares them with /proc, and writes
 * what it finds to the second serial line, one line a check ("ok NAME", "FAIL NAME: why"), files as
 * "FILE NAME BYTES" and their content. The last line is "DONE passed failed": without it nothing
 * has passed.
 */

#define NS_PER_S INT64_C(1000000000)

/* ---- util.c ---- */

extern int out_fd;
extern unsigned n_passed, n_failed;

void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** check() - count @ok; the reason stands behind the name when it is not. */
bool check(bool ok, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/** die() - report, and power off without the last line. */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

int64_t now_ns(void);
void nap_ms(long ms);
/** struct text - a file's content; NUL-terminated; one buffer that is used again */
struct text {
	char *p;
	size_t len, cap;
};
/** read_file() - all of it. Return: 0, or an errno. */
int read_file(const char *path, struct text *t);
/** read_steps() - all of it, by reads of @step bytes. */
int read_steps(const char *path, size_t step, struct text *t);
int write_file(const char *path, const char *text);
/** send_file() - the content of @path to the host, under @name. */
void send_file(const char *name, const char *path);
void send_text(const char *name, const char *p, size_t len);
/** number() - what follows "key": or key and a blank in @text. Return: false: it is not there. */
bool number(const char *text, const char *key, uint64_t *v);
/** must_number() - dies when it is not there. */
uint64_t must_number(const char *text, const char *key);

/* load() - an errno, or 0. */
int load(const char *module, const char *params);
int unload(const char *module);
/** load_all(), unload_all() - the four of Latido; die on failure. */
void load_all(void);
void unload_all(void);

/* ---- children.c ---- */

enum { N_SLEEPERS = 4, N_STOPPED = 2, N_ZOMBIES = 3, N_THREADS = 5 };
/** children_start() - some in each state, with names that break JSON, and one in a cgroup. */
void children_start(void);
void children_stop(void);
/** crowd_start() - @n more that sleep. */
void crowd_start(unsigned n);
void crowd_stop(void);
/** child() - a process that runs @fn, which does not return. */
pid_t child(void (*fn)(void *arg), void *arg);
void end_child(pid_t pid);

/* ---- the checks ---- */

void test_parameters(void);
void test_cpu(void);
void test_ram(void);
void test_procs(void);
void test_tasks(void);
void test_open_while_unloading(void);
void test_cycles(unsigned n);
/** slab_baseline() - before the first module of ours: what is no leak. */
void slab_baseline(void);
void test_leaks(void);
/** network_up() - with the modules that it needs; nothing when there is no agent to use it. */
void network_up(void);
void test_agent(void);
void bench(void);

#endif
