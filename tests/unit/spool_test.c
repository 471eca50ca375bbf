/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../support/spool_fixture.h"
#include "latido/clock.h"
#include "latido/spool.h"

/* The life of a spool on disk, its bounds, and a random model of all of it. */

static void test_life(void **state)
{
	struct lt_spool *s = sp_open("a");
	struct lt_spool_record r = {0};
	uint64_t epoch = lt_spool_epoch(s);

	(void)state;
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_NEW);
	assert_true(epoch > 1000000);
	assert_int_equal(lt_spool_oldest(s), 0);
	assert_int_equal(lt_spool_read(s, 1, &r), LT_ESTOPPED);
	for (uint64_t i = 1; i <= 100; i++)
		assert_int_equal(sp_append(s, i), i);
	assert_true(lt_spool_sync(s, 10000));
	assert_true(lt_spool_written(s, 100));
	for (uint64_t i = 1; i <= 100; i++)
		sp_expect(s, i, i);
	assert_int_equal(lt_spool_done(s, 10, 20), 11);
	assert_int_equal(lt_spool_done(s, 10, 20), 0);
	assert_int_equal(lt_spool_done(s, 1, 5), 5);
	assert_int_equal(lt_spool_oldest(s), 6);
	assert_int_equal(sp_read(s, 10, &r), LT_OK);
	assert_int_equal(r.seq, 21);
	lt_spool_issue(s, 90);
	assert_int_equal(lt_spool_close(s, 5000), 0);

	s = sp_open("a");
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_TRUSTED);
	assert_int_equal(lt_spool_epoch(s), epoch);
	assert_int_equal(lt_spool_next_seq(s), 101);
	assert_int_equal(lt_spool_base(s), 90);
	assert_int_equal(lt_spool_oldest(s), 6); /* islands are told again by the store */
	sp_expect(s, 15, 15);
	assert_int_equal(lt_spool_done(s, 1, 1000), 95);
	assert_int_equal(lt_spool_close(s, 5000), 0);
	s = sp_open("a");
	assert_int_equal(lt_spool_next_seq(s), 101);
	assert_int_equal(lt_spool_oldest(s), 0);
	assert_int_equal(lt_spool_close(s, 5000), 0);
	lt_spool_record_fini(&r);
}

/* A killed process loses no number that it used, and nothing that was written. */
static void test_kill(void **state)
{
	uint64_t epoch;
	struct lt_spool *s;
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		s = sp_open("kill");
		for (uint64_t i = 1; i <= 50; i++)
			sp_append(s, i);
		if (!lt_spool_sync(s, 10000))
			_exit(1);
		lt_spool_done(s, 1, 10);
		lt_spool_issue(s, 60);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	s = sp_open("kill");
	epoch = lt_spool_epoch(s);
	assert_int_equal(lt_spool_doubt(s), LT_SPOOL_TRUSTED);
	assert_int_equal(lt_spool_next_seq(s), 61);
	assert_int_equal(lt_spool_oldest(s), 11);
	for (uint64_t i = 11; i <= 50; i++)
		sp_expect(s, i, i);
	assert_true(lt_spool_is_done(s, 55)); /* it can never come */
	assert_int_equal(sp_append(s, 61), 61);
	lt_spool_close(s, 5000);
	assert_true(epoch > 0);
}

static void test_in_use(void **state)
{
	struct lt_spool *s = sp_open("used"), *other;
	struct lt_spool_options o = sp_options("used");
	struct lt_err err = {0};

	(void)state;
	assert_int_equal(lt_spool_open(&other, &o, &err), LT_ECONF);
	assert_non_null(strstr(err.msg, "in use"));
	assert_null(other);
	lt_spool_close(s, 1000);
	o.dir = "/proc/none/x";
	assert_int_equal(lt_spool_open(&other, &o, &err), LT_ECONF);
	assert_int_equal(err.cls, LT_CLS_CONFIG);
}

static void test_bounds(void **state)
{
	struct lt_spool_options o = sp_options("bounds");
	struct lt_spool_info info;
	struct lt_spool *s;
	char big[5000] = {0};

	(void)state;
	o.max_bytes = 16384;
	s = sp_open_with(&o);
	for (uint64_t i = 1; i <= 300; i++) {
		sp_append(s, i);
		if (i % 5 == 0)
			assert_true(lt_spool_sync(s, 5000));
	}
	info = sp_info(s);
	assert_true(info.disk_bytes <= 16384 + 4096);
	assert_true(info.dropped_disk > 100);
	assert_int_equal(info.held, 300 - info.dropped_disk);
	assert_int_equal(info.oldest_seq, info.dropped_disk + 1);
	assert_int_equal(info.lost_hi, info.dropped_disk);
	sp_expect(s, info.oldest_seq, info.oldest_seq);
	assert_int_equal(lt_spool_append(s, big, sizeof(big), big, 16000), 0);
	assert_int_equal(sp_info(s).dropped_size, 1);
	lt_spool_close(s, 5000);
	s = sp_open_with(&o);
	assert_int_equal(lt_spool_oldest(s), info.oldest_seq);
	lt_spool_close(s, 5000);
	o.max_age_ms = 1;
	s = sp_open_with(&o);
	while (sp_info(s).held)
		usleep(1000);
	assert_int_equal(lt_spool_next_seq(s), 301);
	lt_spool_close(s, 5000);
}

/* ---- everything at random ---- */

struct model {
	uint64_t content[4096]; /* by seq; 0 = not held */
	uint64_t next, issued, epoch;
};

static void compare(struct lt_spool *s, const struct model *m)
{
	struct lt_spool_record r = {0};
	uint64_t seq = 1;

	assert_int_equal(lt_spool_next_seq(s), m->next);
	assert_int_equal(lt_spool_epoch(s), m->epoch);
	for (;;) {
		while (seq < m->next && !m->content[seq])
			seq++;
		if (sp_read(s, seq, &r) == LT_ESTOPPED)
			break;
		assert_int_equal(r.seq, seq);
		assert_true(sp_same(&r, m->content[seq]));
		seq++;
	}
	assert_int_equal(seq, m->next);
	lt_spool_record_fini(&r);
}

static void random_step(struct lt_spool **s, struct lt_spool_options *o, struct model *m,
	uint64_t *content, unsigned *seed)
{
	struct lt_err err;
	uint64_t lo, hi, kept = 0;

	switch (rand_r(seed) % 40) {
	default:
		if (m->next >= 4000)
			break;
		m->content[m->next] = ++*content;
		assert_int_equal(sp_append(*s, *content), m->next);
		m->next++;
		break;
	case 1 ... 5:
		lo = 1 + (uint64_t)rand_r(seed) % m->next;
		hi = lo + (uint64_t)rand_r(seed) % 60;
		lt_spool_done(*s, lo, hi);
		for (; lo <= hi && lo < m->next; lo++)
			m->content[lo] = 0;
		break;
	case 6:
		assert_true(lt_spool_sync(*s, 20000));
		break;
	case 7:
		compare(*s, m);
		break;
	case 8: /* what was done above the contiguous part is forgotten: hold it as done */
		lo = 1;
		while (lo < m->next && !m->content[lo])
			lo++;
		assert_int_equal(lt_spool_close(*s, 20000), 0);
		*s = sp_open_with(o);
		for (; lo < m->next; lo++)
			if (!m->content[lo])
				lt_spool_done(*s, lo, lo);
		break;
	case 9:
		assert_int_equal(lt_spool_renumber(*s, m->epoch + 5, &err), LT_OK);
		assert_true(lt_spool_epoch(*s) > m->epoch + 5);
		m->epoch = lt_spool_epoch(*s);
		for (lo = 1; lo < m->next; lo++)
			if (m->content[lo])
				m->content[++kept] = m->content[lo];
		for (lo = kept + 1; lo < m->next; lo++)
			m->content[lo] = 0;
		m->next = kept + 1;
		break;
	case 10:
		atomic_store(&sp_short_writes, rand_r(seed) % 4);
		break;
	}
}

static void test_model(void **state)
{
	unsigned seed = (unsigned)time(NULL);
	struct lt_spool_options o = sp_options("model");
	struct model *m = calloc(1, sizeof(*m));
	uint64_t content = 0;
	struct lt_spool *s;

	(void)state;
	if (getenv("SEED"))
		seed = (unsigned)atoi(getenv("SEED"));
	printf("# SEED=%u\n", seed);
	o.io = &sp_bad_io;
	o.max_bytes = 64 << 20;
	o.memory_bytes = 64 << 20;
	s = sp_open_with(&o);
	m->next = 1;
	m->epoch = lt_spool_epoch(s);
	for (int i = 0; i < 6000; i++)
		random_step(&s, &o, m, &content, &seed);
	compare(s, m);
	assert_int_equal(sp_info(s).damaged, 0);
	lt_spool_close(s, 20000);
	atomic_store(&sp_short_writes, 0);
	free(m);
}

static void test_inspect(void **state)
{
	struct lt_spool *s = sp_open("look");
	struct lt_spool_report rep;
	struct lt_err err = {0};

	(void)state;
	for (uint64_t i = 1; i <= 50; i++)
		sp_append(s, i);
	lt_spool_issue(s, 44);
	assert_true(lt_spool_sync(s, 5000));
	assert_int_equal(lt_spool_inspect(sp_path("look"), &rep, &err), LT_OK);
	assert_true(rep.head_ok);
	assert_false(rep.clean); /* it is open */
	assert_string_equal(rep.source, "n1");
	assert_int_equal(rep.issued, 44);
	assert_int_equal(rep.epoch, lt_spool_epoch(s));
	assert_true(rep.n > 1);
	assert_int_equal(rep.segments[0].lo, 1);
	assert_int_equal(rep.segments[rep.n - 1].hi, 50);
	for (size_t i = 0; i < rep.n; i++) {
		assert_true(rep.segments[i].header_ok);
		assert_int_equal(rep.segments[i].damaged + rep.segments[i].torn_bytes, 0);
	}
	lt_spool_report_fini(&rep);
	lt_spool_close(s, 5000);
	assert_int_equal(lt_spool_inspect(sp_path("nothing"), &rep, &err), LT_EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, sp_setup, sp_teardown),
		cmocka_unit_test_setup_teardown(test_kill, sp_setup, sp_teardown),
		cmocka_unit_test_setup_teardown(test_in_use, sp_setup, sp_teardown),
		cmocka_unit_test_setup_teardown(test_bounds, sp_setup, sp_teardown),
		cmocka_unit_test_setup_teardown(test_model, sp_setup, sp_teardown),
		cmocka_unit_test_setup_teardown(test_inspect, sp_setup, sp_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
