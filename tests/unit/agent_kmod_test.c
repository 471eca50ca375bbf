/* SPDX-License-Identifier: MIT */
/* The collectors and the stream of top processes on files as Latido's kernel modules show them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../producers/agent/collectors.h"
#include "../../producers/agent/top.h"
#include "../support/tree.h"
#include "latido/clock.h"
#include "latido/log.h"

#define SERVER "tests/data/proc/server"

#define CPU_FILE                                                                        \
	"{\"porcentaje_cpu_uso\":1,\"porcentaje_cpu_libre\":99,\"used_percent\":1.00,"  \
	"\"window_ms\":1000,\"samples\":5,\"online_cpus\":1,\"cpus\":[\n"               \
	"{\"cpu\":0,\"used_percent\":1.00,\"user_ns\":90000000000123456,\"nice_ns\":2," \
	"\"system_ns\":3,\"idle_ns\":90000000000000004,\"iowait_ns\":5,\"irq_ns\":6,"   \
	"\"softirq_ns\":7,\"steal_ns\":8,\"guest_ns\":9,\"guest_nice_ns\":10000000001}\n]}\n"
#define RAM_FILE                                                                      \
	"{\"total_ram\":1,\"total_bytes\":1111,\"free_bytes\":2222,\"used_bytes\":1," \
	"\"available_bytes\":3333,\"buffers_bytes\":4444,\"cached_bytes\":5555,"      \
	"\"shared_bytes\":6666,\"slab_reclaimable_bytes\":7777,"                      \
	"\"slab_unreclaimable_bytes\":8888,\"a_key_of_later\":1}\n"
#define PROCS_FILE                                                                              \
	"{\"procesos_corriendo\":1,\"total_procesos\":77,\"states\":{\"R\":1,\"S\":70,\"P\":6," \
	"\"?\":0},\"threads\":99,\"thread_states\":{\"R\":2,\"S\":90,\"P\":6,\"?\":1}}\n"

struct fixture {
	struct tree tree;
	struct lt_agent_conf conf;
	char procfs[300], sysfs[300];
	char *names[4];
	struct lt_collectors *cs;
	struct lt_snapshot *snapshot;
	struct lt_event e;
	int64_t now_ns;
};

static void advance(struct fixture *f, int64_t ns)
{
	f->now_ns += ns;
	lt_clock_fake(true, f->now_ns, INT64_C(1795247263000000000) + f->now_ns);
}

static struct fixture *fixture_new(int mode)
{
	struct fixture *f = calloc(1, sizeof(*f));

	tree_init(&f->tree, SERVER);
	snprintf(f->procfs, sizeof(f->procfs), "%s/proc", f->tree.root);
	snprintf(f->sysfs, sizeof(f->sysfs), "%s/sys", f->tree.root);
	f->names[0] = (char *)"cpu";
	f->names[1] = (char *)"meminfo";
	f->names[2] = (char *)"processes";
	f->names[3] = (char *)"kmod";
	f->conf = (struct lt_agent_conf){.interval_ms = 1000,
		.procfs = f->procfs,
		.sysfs = f->sysfs,
		.collectors = {f->names, 4},
		.processes_interval_ms = 1000,
		.processes_top = 2,
		.kmod = mode};
	f->snapshot = lt_snapshot_new(10000);
	lt_log_setup("test", LT_ERROR, LT_LOG_LOGFMT);
	advance(f, 1000 * LT_NS_PER_S);
	f->cs = lt_collectors_new(&f->conf, false, NULL);
	assert_non_null(f->cs);
	return f;
}

static void fixture_free(struct fixture *f)
{
	lt_collectors_free(f->cs);
	lt_snapshot_free(f->snapshot);
	tree_fini(&f->tree);
	lt_clock_fake(false, 0, 0);
	free(f);
}

static void sample(struct fixture *f)
{
	advance(f, LT_NS_PER_S);
	assert_int_equal(lt_collectors_sample(f->cs, f->snapshot, &f->e, NULL), LT_OK);
}

static bool has(const struct fixture *f, const char *series, double *v)
{
	for (uint32_t i = 0; i < f->e.n; i++)
		if (strcmp(f->e.shape->series[i].text, series) == 0) {
			*v = lt_event_value(&f->e, i);
			return true;
		}
	return false;
}

static void expect(const struct fixture *f, const char *series, double want)
{
	double v = 0;

	if (!has(f, series, &v))
		fail_msg("%s is missing", series);
	if (v != want)
		fail_msg("%s is %.17g, not %.17g", series, v, want);
}

static void loaded(const struct fixture *f, double cpu, double ram, double procs)
{
	expect(f, "latido_kmod_loaded{module=\"cpu\"}", cpu);
	expect(f, "latido_kmod_loaded{module=\"ram\"}", ram);
	expect(f, "latido_kmod_loaded{module=\"procs\"}", procs);
}

static void load(struct fixture *f)
{
	char path[350];

	snprintf(path, sizeof(path), "%s/latido", f->procfs);
	mkdir(path, 0755);
	tree_print(&f->tree, "proc/latido/cpu", "%s", CPU_FILE);
	tree_print(&f->tree, "proc/latido/ram", "%s", RAM_FILE);
	tree_print(&f->tree, "proc/latido/procs", "%s", PROCS_FILE);
}

static void taken_while_loaded(void **state)
{
	struct fixture *f = fixture_new(LT_KMOD_AUTO);
	double swap = 0, pids = 0, total = 0, v;

	(void)state;
	sample(f);
	loaded(f, 0, 0, 0);
	assert_true(has(f, "node_memory_SwapTotal_bytes", &swap));
	assert_true(has(f, "node_memory_MemTotal_bytes", &total));
	assert_true(has(f, "node_processes_pids", &pids));
	load(f);
	sample(f);
	loaded(f, 1, 1, 1);
	/* nanoseconds, rounded to what a double holds */
	expect(f, "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"}", 90000000.000123456);
	expect(f, "node_cpu_guest_seconds_total{cpu=\"0\",mode=\"nice\"}", 10.000000001);
	/* the CPUs that it does not have are offline */
	assert_false(has(f, "node_cpu_seconds_total{cpu=\"1\",mode=\"user\"}", &v));
	expect(f, "node_memory_MemTotal_bytes", 1111);
	expect(f, "node_memory_MemFree_bytes", 2222);
	expect(f, "node_memory_MemAvailable_bytes", 3333);
	expect(f, "node_memory_Buffers_bytes", 4444);
	expect(f, "node_memory_Cached_bytes", 5555);
	expect(f, "node_memory_Shmem_bytes", 6666);
	expect(f, "node_memory_SReclaimable_bytes", 7777);
	expect(f, "node_memory_SUnreclaim_bytes", 8888);
	expect(f, "node_memory_SwapTotal_bytes", swap);
	expect(f, "node_processes_pids", 77);
	expect(f, "node_processes_threads", 99);
	expect(f, "node_processes_state{state=\"S\"}", 70);
	expect(f, "node_processes_state{state=\"P\"}", 6);
	expect(f, "node_processes_threads_state{thread_state=\"?\"}", 1);
	expect(f, "node_processes_state{state=\"Z\"}", 0);
	tree_remove(&f->tree, "proc/latido/cpu");
	tree_remove(&f->tree, "proc/latido/ram");
	tree_remove(&f->tree, "proc/latido/procs");
	/* An open file of a real module fails then; here it would be read on. */
	lt_collectors_free(f->cs);
	f->cs = lt_collectors_new(&f->conf, false, NULL);
	sample(f);
	loaded(f, 0, 0, 0);
	expect(f, "node_memory_MemTotal_bytes", total);
	expect(f, "node_processes_pids", pids);
	fixture_free(f);
}

static void off_never_looks(void **state)
{
	struct fixture *f = fixture_new(LT_KMOD_OFF);
	double v = 0;

	(void)state;
	load(f);
	sample(f);
	loaded(f, 0, 0, 0);
	assert_true(has(f, "node_memory_MemTotal_bytes", &v) && v != 1111);
	fixture_free(f);
}

/* Documents that are not what they should be: /proc instead, nothing fails. */
static void other_documents_are_refused(void **state)
{
	static const char *const texts[] = {"", "{", "{}", "[]", "null\n",
		"{\"cpus\":[{\"cpu\":0}]}",
		"{\"total_procesos\":0,\"threads\":1,\"states\":{},\"thread_states\":{}}",
		"{\"total_procesos\":5,\"threads\":1,\"states\":{\"R\":},\"thread_states\":{}}",
		"{\"total_bytes\":\"12\"}", "{\"total_bytes\":99999999999999999999999}",
		"{\"cpu\":99999999999999999999999,\"user_ns\":1}", "\xff\xfe\x00\x01"};
	struct fixture *f = fixture_new(LT_KMOD_ON);
	double total = 0, pids = 0, user = 0;

	(void)state;
	sample(f);
	assert_true(has(f, "node_memory_MemTotal_bytes", &total));
	assert_true(has(f, "node_processes_pids", &pids));
	assert_true(has(f, "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"}", &user));
	load(f);
	for (size_t i = 0; i < LT_ARRAY_LEN(texts); i++) {
		tree_print(&f->tree, "proc/latido/cpu", "%s", texts[i]);
		tree_print(&f->tree, "proc/latido/ram", "%s", texts[i]);
		tree_print(&f->tree, "proc/latido/procs", "%s", texts[i]);
		sample(f);
		loaded(f, 0, 0, 0);
		expect(f, "node_memory_MemTotal_bytes", total);
		expect(f, "node_processes_pids", pids);
		expect(f, "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"}", user);
	}
	assert_int_equal(lt_collectors_errors(f->cs, "cpu"), 0);
	assert_int_equal(lt_collectors_errors(f->cs, "processes"), 0);
	load(f);
	sample(f);
	loaded(f, 1, 1, 1);
	fixture_free(f);
}

static void print_tasks(struct fixture *f, unsigned busy_ms)
{
	tree_print(&f->tree, "proc/latido/tasks",
		"{\"pid\":1,\"comm\":\"init\",\"state\":\"S\",\"threads\":1,\"rss_bytes\":100,"
		"\"cpu_ns\":5000000,\"start_ns\":10000000,\"cgroup\":\"/\"}\n"
		"{\"pid\":7,\"comm\":\"b\\\"u\\u000asy\\ufffd\",\"state\":\"R\",\"threads\":1,"
		"\"rss_bytes\":50,\"cpu_ns\":%u000000,\"start_ns\":20000000,\"cgroup\":null}\n"
		"{\"pid\":9,\"comm\":\"idle\",\"state\":\"S\",\"threads\":1,\"rss_bytes\":900,"
		"\"cpu_ns\":%u000000,\"start_ns\":30000000,\"cgroup\":\"/\"}\n",
		busy_ms, busy_ms / 10);
}

static void top_of_tasks(void **state)
{
	struct fixture *f = fixture_new(LT_KMOD_AUTO);
	struct lt_top *top = lt_top_new(&f->conf);

	(void)state;
	load(f);
	print_tasks(f, 1000);
	assert_true(lt_top_due(top, f->now_ns));
	assert_int_equal(lt_top_sample(top, f->snapshot, &f->e, NULL), LT_OK);
	assert_false(lt_top_due(top, f->now_ns));
	/* nothing to compare with: memory alone, the two that have most */
	assert_int_equal(f->e.n, 2);
	expect(f, "latido_process_resident_memory_bytes{comm=\"idle\",pid=\"9\"}", 900);
	expect(f, "latido_process_resident_memory_bytes{comm=\"init\",pid=\"1\"}", 100);
	print_tasks(f, 3000);
	advance(f, 4 * LT_NS_PER_S);
	assert_true(lt_top_due(top, f->now_ns));
	assert_int_equal(lt_top_sample(top, f->snapshot, &f->e, NULL), LT_OK);
	assert_int_equal(f->e.n, 4); /* what used no CPU is not among the top */
	expect(f, "latido_process_cpu_ratio{comm=\"b\\\"u\\nsy\xef\xbf\xbd\",pid=\"7\"}", 0.5);
	expect(f, "latido_process_cpu_ratio{comm=\"idle\",pid=\"9\"}", 0.05);
	lt_top_free(top);
	fixture_free(f);
}

/* The same from /proc; a number that was given again is another process. */
static void top_of_proc(void **state)
{
	static const char stat[] = "%d (%s) S 1 0 0 0 -1 0 0 0 0 0 %d %d 0 0 20 0 1 0 %d 0 %d 0\n";
	struct fixture *f = fixture_new(LT_KMOD_AUTO);
	struct lt_top *top = lt_top_new(&f->conf);
	long page = sysconf(_SC_PAGESIZE), hz = sysconf(_SC_CLK_TCK);
	double v;

	(void)state;
	tree_print(&f->tree, "proc/40/stat", stat, 40, ") (\xff", 100, 0, 5, 3000);
	tree_print(&f->tree, "proc/99/stat", stat, 99, "other", 100, 0, 5, 2000);
	assert_int_equal(lt_top_sample(top, f->snapshot, &f->e, NULL), LT_OK);
	expect(f, "latido_process_resident_memory_bytes{comm=\") (\xef\xbf\xbd\",pid=\"40\"}",
		3000.0 * (double)page);
	tree_print(&f->tree, "proc/40/stat", stat, 40, ") (\xff", 100 + (int)hz, (int)hz, 5, 3000);
	tree_print(&f->tree, "proc/99/stat", stat, 99, "newer", 100 + (int)hz, 0, 6, 2000);
	advance(f, 4 * LT_NS_PER_S);
	assert_int_equal(lt_top_sample(top, f->snapshot, &f->e, NULL), LT_OK);
	expect(f, "latido_process_cpu_ratio{comm=\") (\xef\xbf\xbd\",pid=\"40\"}", 0.5);
	assert_false(has(f, "latido_process_cpu_ratio{comm=\"newer\",pid=\"99\"}", &v));
	lt_top_free(top);
	fixture_free(f);
}

/* A file that is not understood is no reason to have none. */
static void top_of_broken_tasks(void **state)
{
	static const char *const texts[] = {"", "{}\n", "{\"pid\":1,\"comm\":\"x", "\n\n",
		"{\"pid\":1,\"comm\":\"\\u12\",\"rss_bytes\":1,\"cpu_ns\":1,\"start_ns\":1}\n"};
	struct fixture *f = fixture_new(LT_KMOD_AUTO);
	struct lt_top *top = lt_top_new(&f->conf);

	(void)state;
	load(f);
	for (size_t i = 0; i < LT_ARRAY_LEN(texts); i++) {
		tree_print(&f->tree, "proc/latido/tasks", "%s", texts[i]);
		assert_int_equal(lt_top_sample(top, f->snapshot, &f->e, NULL), LT_OK);
		assert_true(f->e.n > 0);
		advance(f, LT_NS_PER_S);
	}
	lt_top_free(top);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken_while_loaded),
		cmocka_unit_test(off_never_looks),
		cmocka_unit_test(other_documents_are_refused),
		cmocka_unit_test(top_of_tasks),
		cmocka_unit_test(top_of_proc),
		cmocka_unit_test(top_of_broken_tasks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
