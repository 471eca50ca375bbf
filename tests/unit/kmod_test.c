/* SPDX-License-Identifier: MIT */
/* The pure part of the kernel modules, as compiled into them, and the agent's reading of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../kmod/fmt.h"
#include "../../kmod/ring.h"
#include "../../producers/agent/kmod.h"
#include "latido/mem.h"

static char text[65536];

/* The document that @write makes, as a string. */
static const char *done(struct lt_fmt *f)
{
	assert_false(f->full);
	assert_true(f->len < sizeof(text));
	text[f->len] = '\0';
	return text;
}

static const char *json(const char *s, size_t n)
{
	struct lt_fmt f;

	lt_fmt_init(&f, text, sizeof(text));
	lt_fmt_json(&f, s, n);
	return done(&f);
}

static void strings(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"", "\"\""},
		{"systemd", "\"systemd\""},
		{"q\"u\\o", "\"q\\\"u\\\\o\""},
		{"a\nb\tc", "\"a\\u000ab\\u0009c\""},
		{"\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\""},
		{"se\xc3\xb1or \xe2\x82\xac \xf0\x9f\x98\x80",
			"\"se\xc3\xb1or \xe2\x82\xac \xf0\x9f\x98\x80\""},
		{"\xff", "\"\\ufffd\""},
		{"\xc0\xaf", "\"\\ufffd\\ufffd\""},                       /* overlong */
		{"\xe0\x80\xaf", "\"\\ufffd\\ufffd\\ufffd\""},            /* overlong */
		{"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},            /* surrogate */
		{"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* above U+10FFFF */
		{"\xf5\x80", "\"\\ufffd\\ufffd\""},
		{"cut\xe2\x82", "\"cut\\ufffd\\ufffd\""},
		{"\x80z", "\"\\ufffdz\""},
		{"\xc3(", "\"\\ufffd(\""},
		{"/slash", "\"/slash\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(json(cases[i].in, strlen(cases[i].in)), cases[i].out);
	assert_string_equal(json("a\0b", 3), "\"a\\u0000b\"");
}

static void cpu_document(void **state)
{
	struct lt_cpu_head h = {2236, 1000, 17, 2};
	struct lt_cpu_row r = {0, 10000, {1, 2, 3, 4, 5, 6, 7, 8, 9, UINT64_MAX}};
	struct lt_fmt f;
	const char *cursor, *row;
	uint64_t cpu, v;

	(void)state;
	lt_fmt_init(&f, text, sizeof(text));
	lt_fmt_cpu_begin(&f, &h);
	lt_fmt_cpu_row(&f, &r, true);
	r.cpu = 11;
	r.usage = 5;
	lt_fmt_cpu_row(&f, &r, false);
	lt_fmt_cpu_end(&f);
	assert_string_equal(done(&f),
		"{\"porcentaje_cpu_uso\":22,\"porcentaje_cpu_libre\":78,\"used_percent\":22.36,"
		"\"window_ms\":1000,\"samples\":17,\"online_cpus\":2,\"cpus\":[\n"
		"{\"cpu\":0,\"used_percent\":100.00,\"user_ns\":1,\"nice_ns\":2,\"system_ns\":3,"
		"\"idle_ns\":4,\"iowait_ns\":5,\"irq_ns\":6,\"softirq_ns\":7,\"steal_ns\":8,"
		"\"guest_ns\":9,\"guest_nice_ns\":18446744073709551615},\n"
		"{\"cpu\":11,\"used_percent\":0.05,\"user_ns\":1,\"nice_ns\":2,\"system_ns\":3,"
		"\"idle_ns\":4,\"iowait_ns\":5,\"irq_ns\":6,\"softirq_ns\":7,\"steal_ns\":8,"
		"\"guest_ns\":9,\"guest_nice_ns\":18446744073709551615}\n]}\n");
	cursor = text;
	assert_true(lt_kmod_cpu_next(&cursor, &cpu, &row));
	assert_int_equal(cpu, 0);
	assert_true(lt_kmod_u64(row, "guest_ns", &v) && v == 9);
	assert_true(lt_kmod_cpu_next(&cursor, &cpu, &row));
	assert_int_equal(cpu, 11);
	assert_true(lt_kmod_u64(row, "guest_nice_ns", &v) && v == UINT64_MAX);
	assert_false(lt_kmod_cpu_next(&cursor, &cpu, &row));
	assert_false(lt_kmod_u64(text, "online", &v)); /* a whole key, not its begin */
}

static void ram_document(void **state)
{
	struct lt_ram r = {UINT64_C(2172649472), 1110552576, 1709178880, 20, 30, 40, 50, 60};
	struct lt_fmt f;

	(void)state;
	lt_fmt_init(&f, text, sizeof(text));
	lt_fmt_ram(&f, &r);
	assert_string_equal(done(&f),
		"{\"total_ram\":2072,\"ram_libre\":1110552576,\"uso_ram\":442,"
		"\"porcentaje_ram\":21,\"used_percent\":21.33,\"free_mb\":1059,"
		"\"total_bytes\":2172649472,\"free_bytes\":1110552576,\"used_bytes\":463470592,"
		"\"available_bytes\":1709178880,\"buffers_bytes\":20,\"cached_bytes\":30,"
		"\"shared_bytes\":40,\"slab_reclaimable_bytes\":50,"
		"\"slab_unreclaimable_bytes\":60}\n");
	/* more available than there is, nothing at all, more than 2^50 bytes */
	r = (struct lt_ram){.total = 100, .available = 200};
	lt_fmt_init(&f, text, sizeof(text));
	lt_fmt_ram(&f, &r);
	assert_non_null(strstr(done(&f), "\"porcentaje_ram\":0,\"used_percent\":0.00,"));
	r = (struct lt_ram){0};
	lt_fmt_init(&f, text, sizeof(text));
	lt_fmt_ram(&f, &r);
	assert_non_null(strstr(done(&f), "\"used_percent\":0.00,"));
	r = (struct lt_ram){.total = UINT64_MAX, .available = UINT64_MAX / 4};
	lt_fmt_init(&f, text, sizeof(text));
	lt_fmt_ram(&f, &r);
	assert_non_null(strstr(done(&f), "\"porcentaje_ram\":75,\"used_percent\":75.00,"));
}

static void procs_document(void **state)
{
	struct lt_procs p = {{0}, {0}};
	uint64_t by_state[128] = {0};
	static const char letters[] = "RSDTtXZPI";
	struct lt_fmt f;

	(void)state;
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(lt_state_index(letters[i]), i);
		p.processes[i] = i + 1;
		p.threads[i] = 10 * (i + 1);
	}
	assert_int_equal(lt_state_index('N'), 9);
	assert_int_equal(lt_state_index('\0'), 9);
	lt_fmt_init(&f, text, sizeof(text));
	lt_fmt_procs(&f, &p);
	assert_string_equal(done(&f),
		"{\"procesos_corriendo\":1,\"total_procesos\":45,\"procesos_durmiendo\":2,"
		"\"procesos_zombie\":7,\"procesos_parados\":9,\"uninterruptible\":3,\"idle\":9,"
		"\"dead\":6,\"parked\":8,\"other\":0,\"states\":{\"R\":1,\"S\":2,\"D\":3,\"T\":4,"
		"\"t\":5,\"X\":6,\"Z\":7,\"P\":8,\"I\":9,\"?\":0},\"threads\":450,"
		"\"thread_states\":{\"R\":10,\"S\":20,\"D\":30,\"T\":40,\"t\":50,\"X\":60,"
		"\"Z\":70,\"P\":80,\"I\":90,\"?\":0}}\n");
	assert_true(lt_kmod_states(text, "thread_states", by_state));
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(by_state[(unsigned char)letters[i]], 10 * (i + 1));
	assert_int_equal(by_state['?'], 0);
	assert_false(lt_kmod_states("{\"states\":{\"R\":1,\"S\"", "states", by_state));
	assert_false(lt_kmod_states("{\"states\":3}", "states", by_state));
}

static void task_document(void **state)
{
	struct lt_task t = {.pid = 4194304,
		.comm = "x\",\"rss_bytes\":7",
		.comm_len = 16,
		.state = 'S',
		.threads = 3,
		.rss_bytes = 4096,
		.cpu_ns = 5,
		.start_ns = UINT64_C(9007199254740993),
		.cgroup = "/a \"b\"",
		.cgroup_len = 6};
	struct lt_kmod_task got;
	struct lt_buf comm = {0};
	struct lt_fmt f;

	(void)state;
	lt_fmt_init(&f, text, sizeof(text));
	lt_fmt_task(&f, &t);
	assert_string_equal(done(&f),
		"{\"pid\":4194304,\"comm\":\"x\\\",\\\"rss_bytes\\\":7\",\"state\":\"S\","
		"\"threads\":3,\"rss_bytes\":4096,\"cpu_ns\":5,\"start_ns\":9007199254740993,"
		"\"cgroup\":\"/a \\\"b\\\"\"}\n");
	/* a name that looks like keys is a name */
	assert_true(lt_kmod_task(text, &got, &comm));
	assert_string_equal(comm.data, "x\",\"rss_bytes\":7");
	assert_true(got.pid == 4194304 && got.rss_bytes == 4096 && got.cpu_ns == 5 &&
		    got.start_ns == UINT64_C(9007199254740993));
	t.cgroup = NULL;
	lt_fmt_init(&f, text, sizeof(text));
	lt_fmt_task(&f, &t);
	assert_non_null(strstr(done(&f), "\"cgroup\":null}\n"));
	assert_false(lt_kmod_task("{\"pid\":1,\"comm\":\"x", &got, &comm));
	assert_false(lt_kmod_task("{\"pid\":1,\"comm\":\"\\ud800\",\"rss_bytes\":1}", &got, &comm));
	assert_false(lt_kmod_task("", &got, &comm));
	lt_buf_fini(&comm);
}

/* Whatever the size of the buffer: nothing behind it is touched, and it is said that it was small. */
static void any_buffer_size(void **state)
{
	struct lt_task t = {
		.pid = 1, .comm = "a\xff\"", .comm_len = 3, .state = 'R', .cgroup = "/"};
	size_t whole;
	struct lt_fmt f;

	(void)state;
	t.cgroup_len = 1;
	lt_fmt_init(&f, text, sizeof(text));
	lt_fmt_task(&f, &t);
	whole = f.len;
	for (size_t size = 0; size <= whole; size++) {
		char *buf = malloc(size ? size : 1); /* the sanitizer watches its end */

		lt_fmt_init(&f, size ? buf : NULL, size);
		lt_fmt_task(&f, &t);
		assert_int_equal(f.full, size < whole);
		free(buf);
	}
}

#define SEC UINT64_C(1000000000)

static void ring_windows(void **state)
{
	struct lt_cpu_sample samples[4 * 2];
	uint64_t times[4];
	struct lt_ring_window w;
	struct lt_cpu_sample *row;
	struct lt_ring r;

	(void)state;
	lt_ring_init(&r, 2, 4, times, samples);
	row = lt_ring_next(&r, 0); /* boot */
	row[0].busy_ns = row[1].busy_ns = 1;
	assert_false(lt_ring_window(&r, SEC, SEC / 2, &w));
	assert_int_equal(lt_ring_usage(&r, &w, 2), 0);
	row = lt_ring_next(&r, 100 * SEC);
	row[0] = (struct lt_cpu_sample){25 * SEC, 75 * SEC};
	row[1] = (struct lt_cpu_sample){50 * SEC, 50 * SEC};
	/* nothing else is a second old: since boot */
	assert_true(lt_ring_window(&r, SEC, SEC / 2, &w));
	assert_int_equal(w.ns, 100 * SEC);
	assert_int_equal(lt_ring_usage(&r, &w, 0), 2500);
	assert_int_equal(lt_ring_usage(&r, &w, 2), 3750);
	/* a second later, a little early: the last second alone */
	row = lt_ring_next(&r, 101 * SEC - 3000000);
	row[0] = (struct lt_cpu_sample){26 * SEC, 75 * SEC};
	row[1] = (struct lt_cpu_sample){50 * SEC, 50 * SEC}; /* stood still */
	assert_true(lt_ring_window(&r, SEC, SEC / 2, &w));
	assert_int_equal(w.ns, SEC - 3000000);
	assert_int_equal(lt_ring_usage(&r, &w, 0), 10000);
	assert_int_equal(lt_ring_usage(&r, &w, 1), 0);
	/* idle time slips back; a CPU goes offline and is left out */
	row = lt_ring_next(&r, 102 * SEC);
	row[0] = (struct lt_cpu_sample){26 * SEC + SEC / 4, 75 * SEC - 1000};
	assert_true(lt_ring_window(&r, SEC, SEC / 2, &w));
	assert_int_equal(lt_ring_usage(&r, &w, 0), 10000);
	assert_int_equal(lt_ring_usage(&r, &w, 1), 0);
	assert_int_equal(lt_ring_usage(&r, &w, 2), 10000);
	/* the boot is forgotten; the ring goes round */
	for (uint64_t i = 103; i < 120; i++) {
		row = lt_ring_next(&r, i * SEC);
		row[0] = (struct lt_cpu_sample){i * SEC / 10, i * SEC - i * SEC / 10};
		row[1] = row[0];
	}
	assert_true(lt_ring_window(&r, SEC, SEC / 2, &w));
	assert_int_equal(w.ns, SEC);
	assert_int_equal(lt_ring_usage(&r, &w, 2), 1000);
}

static void ring_short_periods(void **state)
{
	struct lt_cpu_sample samples[23];
	uint64_t times[23];
	struct lt_ring_window w;
	struct lt_ring r;

	(void)state;
	lt_ring_init(&r, 1, 23, times, samples);
	for (uint64_t i = 0; i < 100; i++) {
		struct lt_cpu_sample *row = lt_ring_next(&r, i * SEC / 20);

		*row = (struct lt_cpu_sample){1 + i * SEC / 80, i * SEC * 3 / 80};
		if (i < 20) {
			assert_false(lt_ring_window(&r, SEC, SEC / 40, &w));
			continue;
		}
		assert_true(lt_ring_window(&r, SEC, SEC / 40, &w));
		assert_int_equal(w.ns, SEC);
		assert_int_equal(lt_ring_usage(&r, &w, 0), 2500);
	}
}

static void ring_large_numbers(void **state)
{
	struct lt_cpu_sample samples[2];
	uint64_t times[2];
	struct lt_ring_window w;
	struct lt_ring r;

	(void)state;
	lt_ring_init(&r, 1, 2, times, samples);
	*lt_ring_next(&r, 0) = (struct lt_cpu_sample){1, 0};
	*lt_ring_next(&r, UINT64_MAX) = (struct lt_cpu_sample){UINT64_MAX / 4, UINT64_MAX / 4};
	assert_true(lt_ring_window(&r, SEC, 0, &w));
	assert_int_equal(lt_ring_usage(&r, &w, 0), 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings),
		cmocka_unit_test(cpu_document),
		cmocka_unit_test(ram_document),
		cmocka_unit_test(procs_document),
		cmocka_unit_test(task_document),
		cmocka_unit_test(any_buffer_size),
		cmocka_unit_test(ring_windows),
		cmocka_unit_test(ring_short_periods),
		cmocka_unit_test(ring_large_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
