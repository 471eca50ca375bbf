/* SPDX-License-Identifier: MIT */
/* A mount that does not answer must not hold up anything else. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../producers/agent/mounts.h"
#include "latido/clock.h"
#include "latido/mem.h"

#define LONG_NS  (20 * LT_NS_PER_S) /* waiting ends earlier, by the answers */
#define SHORT_NS (60 * LT_NS_PER_MS)

/* statfs(2) of the tests: paths that begin with /hang wait until the gate opens. */
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_cond = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static int hanging;

static int fake_statfs(const char *path, struct statfs *buf)
{
	memset(buf, 0, sizeof(*buf));
	if (strncmp(path, "/hang", 5) == 0) {
		pthread_mutex_lock(&gate_lock);
		hanging++;
		while (!gate_open)
			pthread_cond_wait(&gate_cond, &gate_lock);
		hanging--;
		pthread_mutex_unlock(&gate_lock);
	}
	if (strncmp(path, "/bad", 4) == 0) {
		errno = EIO;
		return -1;
	}
	buf->f_blocks = strlen(path);
	return 0;
}

static void gate(bool open)
{
	pthread_mutex_lock(&gate_lock);
	gate_open = open;
	pthread_cond_broadcast(&gate_cond);
	pthread_mutex_unlock(&gate_lock);
}

static int hanging_now(void)
{
	int n;

	pthread_mutex_lock(&gate_lock);
	n = hanging;
	pthread_mutex_unlock(&gate_lock);
	return n;
}

static void set_list(struct lt_mounts *ms, const char *const *paths, size_t n)
{
	struct lt_mount **list = lt_calloc(n, sizeof(struct lt_mount *));

	for (size_t i = 0; i < n; i++) {
		list[i] = lt_calloc(1, sizeof(**list));
		list[i]->device = lt_strdup("dev");
		list[i]->fstype = lt_strdup("fs");
		list[i]->mountpoint = lt_strdup(paths[i]);
		list[i]->path = lt_strdup(paths[i]);
	}
	lt_mounts_list(ms, list, n);
}

static int64_t now_ns;

static void at(int64_t ns)
{
	now_ns = ns;
	lt_clock_fake(true, ns, ns);
}

/* Until the condition holds; the deadline is only there for a test that fails. */
#define UNTIL(condition)                                                 \
	do {                                                             \
		time_t give_up = time(NULL) + 60;                        \
		while (!(condition)) {                                   \
			if (time(NULL) > give_up)                        \
				fail_msg("not reached: %s", #condition); \
			usleep(1000);                                    \
		}                                                        \
	} while (0)

static void answers_in_order(void **state)
{
	static const char *const paths[] = {"/a", "/bad", "/longer"};
	struct lt_mounts *ms = lt_mounts_new(5 * LT_NS_PER_S, fake_statfs);
	struct lt_mount *const *list;

	(void)state;
	at(1);
	assert_int_equal(lt_mounts_ask(ms, LONG_NS, &list), 0);
	set_list(ms, paths, 3);
	for (int round = 0; round < 100; round++) {
		assert_int_equal(lt_mounts_ask(ms, LONG_NS, &list), 3);
		assert_true(list[0]->answered && !list[0]->error);
		assert_int_equal(list[0]->buf.f_blocks, 2);
		assert_true(list[1]->error && !list[1]->answered);
		assert_int_equal(list[2]->buf.f_blocks, 7);
		assert_int_equal(lt_mounts_threads(ms), 1);
	}
	lt_mounts_free(ms);
	lt_clock_fake(false, 0, 0);
}

static void one_that_hangs_is_left_behind(void **state)
{
	static const char *const paths[] = {"/hang", "/a", "/b"};
	struct lt_mounts *ms = lt_mounts_new(5 * LT_NS_PER_S, fake_statfs);
	struct lt_mount *const *list;

	(void)state;
	gate(false);
	at(LT_NS_PER_S);
	set_list(ms, paths, 3);
	/* Another worker serves the others, however little patience there is, in a few rounds. */
	UNTIL(lt_mounts_ask(ms, SHORT_NS, &list) == 3 && list[1]->answered && list[2]->answered);
	assert_false(list[0]->answered || list[0]->error);
	UNTIL(hanging_now() == 1);
	/* overdue only after its time */
	at(5 * LT_NS_PER_S);
	(void)lt_mounts_ask(ms, LONG_NS, &list);
	assert_false(list[0]->error);
	at(6 * LT_NS_PER_S);
	(void)lt_mounts_ask(ms, LONG_NS, &list);
	assert_true(list[0]->error);
	assert_true(list[1]->answered);
	/* it is never asked twice at a time */
	for (int i = 0; i < 50; i++)
		(void)lt_mounts_ask(ms, LONG_NS, &list);
	assert_int_equal(hanging_now(), 1);
	assert_true(lt_mounts_threads(ms) <= 3);
	/* it comes back */
	gate(true);
	UNTIL(lt_mounts_ask(ms, SHORT_NS, &list) == 3 && list[0]->answered);
	assert_false(list[0]->error);
	assert_int_equal(list[0]->buf.f_blocks, 5);
	UNTIL(lt_mounts_threads(ms) == 1);
	lt_mounts_free(ms);
	lt_clock_fake(false, 0, 0);
}

static void more_hang_than_there_are_workers(void **state)
{
	char names[20][16];
	const char *paths[21];
	struct lt_mounts *ms = lt_mounts_new(5 * LT_NS_PER_S, fake_statfs);
	struct lt_mount *const *list;

	(void)state;
	gate(false);
	at(LT_NS_PER_S);
	for (size_t i = 0; i < 20; i++) {
		snprintf(names[i], sizeof(names[i]), "/hang%zu", i);
		paths[i] = names[i];
	}
	paths[20] = "/a";
	set_list(ms, paths, 21);
	UNTIL(lt_mounts_ask(ms, SHORT_NS, &list) == 21 && hanging_now() == 8);
	assert_int_equal(lt_mounts_threads(ms), 8);
	at(10 * LT_NS_PER_S);
	(void)lt_mounts_ask(ms, SHORT_NS, &list);
	for (size_t i = 0; i < 21; i++)
		assert_true(list[i]->error);
	/* unmounted while they hang; what is mounted now is asked when a worker is free */
	set_list(ms, (const char *const[]){"/a", "/hang3"}, 2);
	gate(true);
	UNTIL(lt_mounts_ask(ms, SHORT_NS, &list) == 2 && list[0]->answered && list[1]->answered);
	UNTIL(hanging_now() == 0);
	lt_mounts_free(ms);
	lt_clock_fake(false, 0, 0);
}

static void free_does_not_wait_for_one_that_hangs(void **state)
{
	static const char *const paths[] = {"/hang", "/a"};
	struct lt_mounts *ms = lt_mounts_new(5 * LT_NS_PER_S, fake_statfs);
	struct lt_mount *const *list;

	(void)state;
	gate(false);
	at(LT_NS_PER_S);
	set_list(ms, paths, 2);
	UNTIL(lt_mounts_ask(ms, SHORT_NS, &list) == 2 && hanging_now() == 1 && list[1]->answered);
	lt_mounts_free(ms); /* its thread frees the rest; a leak is the sanitizer's to find */
	assert_int_equal(hanging_now(), 1);
	gate(true);
	UNTIL(hanging_now() == 0);
	lt_clock_fake(false, 0, 0);
}

static void answers_survive_a_new_list(void **state)
{
	struct lt_mounts *ms = lt_mounts_new(5 * LT_NS_PER_S, fake_statfs);
	struct lt_mount *const *list;
	const struct lt_mount *a;

	(void)state;
	at(1);
	set_list(ms, (const char *const[]){"/a", "/b"}, 2);
	(void)lt_mounts_ask(ms, LONG_NS, &list);
	a = list[0];
	set_list(ms, (const char *const[]){"/c", "/a", "/a"}, 3);
	(void)lt_mounts_ask(ms, LONG_NS, &list);
	assert_ptr_equal(list[1], a);
	assert_true(list[0]->answered && list[1]->answered && list[2]->answered);
	set_list(ms, NULL, 0);
	assert_int_equal(lt_mounts_ask(ms, LONG_NS, &list), 0);
	lt_mounts_free(ms);
	lt_mounts_free(NULL);
	lt_clock_fake(false, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_in_order),
		cmocka_unit_test(one_that_hangs_is_left_behind),
		cmocka_unit_test(more_hang_than_there_are_workers),
		cmocka_unit_test(free_does_not_wait_for_one_that_hangs),
		cmocka_unit_test(answers_survive_a_new_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
