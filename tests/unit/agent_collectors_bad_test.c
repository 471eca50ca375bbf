/* SPDX-License-Identifier: MIT */
/* The collectors and what goes wrong: files that are missing, cut, hostile, too large. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/collector_fixture.h"
#include "latido/clock.h"

static void one_that_fails_stops_no_other(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);

	(void)state;
	cl_open(f, NULL);
	cl_sample(f);
	tree_print(&f->tree, "proc/loadavg", "full of nonsense\n");
	tree_print(&f->tree, "proc/meminfo", "MemTotal: many kB\n");
	cl_sample(f);
	cl_sample(f);
	cl_expect_none(f, "node_load1");
	assert_int_equal(cl_count(f, "node_memory_"), 0);
	cl_expect(f, "node_intr_total", 8885917);
	assert_int_equal(lt_collectors_errors(f->cs, "loadavg"), 2);
	assert_int_equal(lt_collectors_errors(f->cs, "meminfo"), 2);
	assert_int_equal(lt_collectors_errors(f->cs, "stat"), 0);
	tree_print(&f->tree, "proc/loadavg", "7 8 9 1/1 1\n");
	cl_sample(f);
	cl_expect(f, "node_load1", 7);
	assert_int_equal(lt_collectors_errors(f->cs, "loadavg"), 2);
	cl_free(f);
}

static void what_is_not_there_is_absent(void **state)
{
	struct cl_fixture *f = cl_new(NULL);

	(void)state;
	cl_open(f, NULL);
	assert_non_null(f->cs);
	cl_sample(f);
	/* the system calls alone; whether timex is permitted is not for us to say */
	assert_int_equal(cl_count(f, "node_uname_info"), 1);
	assert_int_equal(cl_count(f, "node_time_seconds"), 1);
	assert_int_equal(cl_count(f, "latido_kmod_loaded"), LT_KMOD_N);
	assert_int_equal(f->e.n - cl_count(f, "node_timex_"), 3 + LT_KMOD_N);
	/* an empty folder is no procfs: there would be processes in it */
	for (size_t i = 0; lt_collectors_all[i]; i++)
		assert_int_equal(lt_collectors_errors(f->cs, lt_collectors_all[i]->name),
			!strcmp(lt_collectors_all[i]->name, "processes"));
	/* looked for again after a while */
	tree_print(&f->tree, "proc/loadavg", "1 2 3 4/5 6\n");
	cl_sample(f);
	cl_expect_none(f, "node_load1");
	cl_advance(f, 60 * LT_NS_PER_S);
	cl_sample(f);
	cl_expect(f, "node_load1", 1);
	/* and gone again: an error once, then absent */
	tree_remove(&f->tree, "proc/loadavg");
	lt_collectors_free(f->cs);
	cl_open(f, NULL);
	cl_sample(f);
	cl_expect_none(f, "node_load1");
	cl_free(f);
}

static void hostile_names(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);
	char name[3001];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	cl_open(f, NULL);
	tree_print(&f->tree, "proc/diskstats",
		" 8 0 a\"b\\c 1 1 1 1 1 1 1 1 1 1 1\n"
		" 8 1 \xff\xfe 1 1 1 1 1 1 1 1 2 1 1\n"
		" 8 2 \xfe\xfe 1 1 1 1 1 1 1 1 3 1 1\n"
		" 8 3 %s 1 1 1 1 1 1 1 1 4 1 1\n"
		" 8 4 %sy 1 1 1 1 1 1 1 1 5 1 1\n"
		" 8 5 twin 1 1 1 1 1 1 1 1 6 1 1\n"
		" 8 6 twin 1 1 1 1 1 1 1 1 7 1 1\n"
		" 8 7 {} 1 1 1 1 1 1 1 1 8 1 1\n",
		name, name);
	tree_print(&f->tree, "proc/net/dev",
		" | \n | \n ../../../x: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
		" twin: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
		" twin: 2 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
		" a:b: 3 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
	tree_print(&f->tree, "proc/1/mounts",
		"\xff / ext4 rw 0 0\n\xfe / ext4 rw 0 0\nd /%s ext4 rw 0 0\nd /%sz ext4 rw 0 0\n"
		"d /a\\777 ext4 rw 0 0\nd /a\\000b ext4 rw 0 0\n",
		name, name);
	tree_print(&f->tree, "proc/meminfo", "Mem Total: 1\n");
	cl_sample(f);
	assert_int_equal(lt_collectors_errors(f->cs, "meminfo"), 1);
	tree_print(&f->tree, "proc/meminfo",
		"A(b): 1 kB\nA_b: 2 kB\n\xff\xff: 3\n%s: 4\nFree: 5 kB\nFree: 6 kB\n", name);
	cl_sample(f);
	cl_expect(f, "node_memory_A_b_bytes", 1024);
	cl_expect(f, "node_memory_Free_bytes", 5 * 1024);
	cl_expect(f, "node_disk_io_now{device=\"a\\\"b\\\\c\"}", 1);
	cl_expect(f, "node_disk_io_now{device=\"twin\"}", 6);
	assert_int_equal(cl_count(f, "node_disk_io_now"), 7);
	cl_expect(f, "node_network_receive_bytes_total{device=\"twin\"}", 1);
	cl_expect(f, "node_network_receive_bytes_total{device=\"a:b\"}", 3);
	assert_int_equal(cl_count(f, "node_filesystem_device_error"), 6);
	assert_int_equal(lt_collectors_errors(f->cs, "diskstats"), 0);
	cl_free(f);
}

struct cut {
	struct cl_fixture *f;
	size_t files;
	uint32_t n;
};

/* Each file of the tree, cut at many places, filled with zeros, or with one long line. */
static void cut_file(void *arg, const char *path)
{
	struct cut *c = arg;
	struct cl_fixture *f = c->f;
	size_t size;
	char *text = tree_read(&f->tree, path, &size);
	char *junk = calloc(1, 70000);

	c->files++;
	for (size_t at = 0; at<size; at += size> 64 ? 1 + size / 24 : 1) {
		tree_write(&f->tree, path, text, at);
		cl_advance(f, LT_COLLECT_RESCAN_NS);
		cl_sample(f);
		cl_sample(f);
	}
	tree_write(&f->tree, path, junk, 100);
	cl_sample(f);
	memset(junk, '9', 70000);
	tree_write(&f->tree, path, junk, 70000);
	cl_sample(f);
	memset(junk, ' ', 70000);
	tree_write(&f->tree, path, junk, 70000);
	cl_sample(f);
	/* all is as before when the file is */
	tree_write(&f->tree, path, text, size);
	cl_advance(f, LT_COLLECT_RESCAN_NS);
	cl_sample(f);
	cl_sample(f);
	if (f->e.n != c->n)
		fail_msg("%s mended: %u values, not %u", path, f->e.n, c->n);
	/* Without it from the start; in this tree, unlike in /proc, what was open stays readable. */
	tree_remove(&f->tree, path);
	lt_collectors_free(f->cs);
	cl_open(f, NULL);
	cl_sample(f);
	tree_write(&f->tree, path, text, size);
	lt_collectors_free(f->cs);
	cl_open(f, NULL);
	free(junk);
	free(text);
}

static void any_file_truncated(void **state)
{
	struct cut c = {cl_new(CL_SERVER), 0, 0};
	struct cl_fixture *f = c.f;

	(void)state;
	f->conf.processes_interval_ms = 100;
	cl_open(f, NULL);
	cl_sample(f);
	c.n = f->e.n;
	tree_each_file(&f->tree, cut_file, &c);
	assert_true(c.files > 100);
	cl_free(f);
}

static void too_large_is_refused(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);
	size_t size = LT_PROCFILE_MAX_BYTES + 1;
	char *big = malloc(size);

	(void)state;
	memset(big, '1', size);
	tree_write(&f->tree, "proc/loadavg", big, size);
	free(big);
	cl_open(f, "loadavg");
	cl_sample(f);
	assert_int_equal(f->e.n, 1);
	assert_int_equal(lt_collectors_errors(f->cs, "loadavg"), 2); /* at start, and now */
	cl_free(f);
}

static void bad_configuration(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);

	(void)state;
	f->conf.netdev_ignore_devices = (char *)"(";
	cl_open(f, "netdev");
	assert_null(f->cs);
	assert_int_equal(f->err.cls, LT_CLS_CONFIG);
	assert_non_null(strstr(f->err.msg, "agent.netdev_ignore_devices"));
	cl_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_fails_stops_no_other),
		cmocka_unit_test(what_is_not_there_is_absent),
		cmocka_unit_test(hostile_names),
		cmocka_unit_test(any_file_truncated),
		cmocka_unit_test(too_large_is_refused),
		cmocka_unit_test(bad_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
