/* SPDX-License-Identifier: MIT */
/* /proc/latido/cpu and ram beside /proc/stat and /proc/meminfo; parameters. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guest.h"

#define DEADLINE_NS (60 * NS_PER_S)
#define TICK_NS     10000000
#define N_MODES     10

void test_parameters(void)
{
	struct stat st;

	check(load("latido_ram", "") == ENOENT, "needs_latido", "latido_ram loaded without latido");
	check(load("latido", "mode=0666") == EINVAL, "mode_refused", "mode=0666 was taken");
	check(load("latido", "mode=0040") == EINVAL, "mode_owner", "mode=0040 was taken");
	if (load("latido", "mode=0440 gid=7"))
		die("latido mode=0440 gid=7");
	check(load("latido_cpu", "period_ms=1") == EINVAL, "period_refused", "1 was taken");
	check(load("latido_cpu", "period_ms=60001") == EINVAL, "period_large", "60001 was taken");
	check(load("latido_procs", "tasks_mode=0777") == EINVAL, "tasks_refused", "0777 was taken");
	if (load("latido_ram", "") || load("latido_procs", "tasks_mode=0440"))
		die("latido_ram, latido_procs");
	check(stat("/proc/latido/ram", &st) == 0 && (st.st_mode & 07777) == 0440 && st.st_gid == 7,
		"mode_and_gid", "ram has mode %o, group %u", st.st_mode, st.st_gid);
	check(stat("/proc/latido/tasks", &st) == 0 && (st.st_mode & 07777) == 0440, "tasks_mode",
		"tasks has mode %o", st.st_mode);
	check(unload("latido") == EWOULDBLOCK, "in_use", "latido went while others use it");
	check(load("latido_ram", "") == EEXIST, "twice", "latido_ram loaded twice");
	if (unload("latido_procs") || unload("latido_ram") || unload("latido"))
		die("unload");
	check(stat("/proc/latido", &st) < 0 && errno == ENOENT, "folder_gone", "it is still there");
}

/* Ticks of /proc/stat by CPU and mode. */
static unsigned parse_stat(const char *text, uint64_t (*v)[N_MODES], unsigned max)
{
	unsigned n = 0;

	for (const char *p = strstr(text, "\ncpu"); p && n < max; p = strstr(p, "\ncpu")) {
		char *end = strchr(p, ' ');

		for (unsigned m = 0; m < N_MODES; m++)
			v[n][m] = strtoull(end, &end, 10);
		n++;
		p = end;
	}
	return n;
}

static const char *const modes[N_MODES] = {"user_ns", "nice_ns", "system_ns", "idle_ns",
	"iowait_ns", "irq_ns", "softirq_ns", "steal_ns", "guest_ns", "guest_nice_ns"};

/* Each value lies between those read before and after. */
static void test_cpu_times(void)
{
	struct text before = {0}, mine = {0}, after = {0};
	uint64_t a[8][N_MODES], b[8][N_MODES];
	unsigned n, wrong = 0;
	char why[160] = "";

	if (read_file("/proc/stat", &before) || read_file("/proc/latido/cpu", &mine) ||
		read_file("/proc/stat", &after))
		die("cpu cannot be read");
	n = parse_stat(before.p, a, 8);
	check(parse_stat(after.p, b, 8) == n && must_number(mine.p, "online_cpus") == n,
		"cpu_count", "/proc/stat has %u", n);
	for (unsigned i = 0; i < n; i++) {
		char key[32];
		const char *row;

		snprintf(key, sizeof(key), "{\"cpu\":%u,", i);
		row = strstr(mine.p, key);
		if (!row)
			die("no row of CPU %u", i);
		for (unsigned m = 0; m < N_MODES; m++) {
			uint64_t ns = must_number(row, modes[m]);

			/* idle time may slip back by a little */
			if (ns + TICK_NS >= a[i][m] * TICK_NS && ns < (b[i][m] + 2) * TICK_NS)
				continue;
			wrong++;
			snprintf(why, sizeof(why), "cpu %u %s: %llu ns, ticks %llu and %llu", i,
				modes[m], (unsigned long long)ns, (unsigned long long)a[i][m],
				(unsigned long long)b[i][m]);
		}
	}
	check(n >= 1 && wrong == 0, "cpu_times", "%u wrong: %s", wrong, why);
	free(before.p);
	free(mine.p);
	free(after.p);
}

static uint64_t busy(const uint64_t *v)
{
	return v[0] + v[1] + v[2] + v[5] + v[6] + v[7];
}

/* In hundredths: 12.34 */
static unsigned used_percent(const char *text)
{
	const char *p = strstr(text, "\"used_percent\":");
	char *end;
	unsigned v = (unsigned)strtoul(p + strlen("\"used_percent\":"), &end, 10) * 100;

	return v + (unsigned)strtoul(end + 1, NULL, 10);
}

/* Waits for the next sample; the file then, and /proc/stat at once. */
static void next_sample(struct text *mine, struct text *stat)
{
	int64_t deadline = now_ns() + DEADLINE_NS;
	uint64_t was, is;

	if (read_file("/proc/latido/cpu", mine))
		die("cpu");
	was = must_number(mine->p, "samples");
	do {
		nap_ms(1);
		if (read_file("/proc/latido/cpu", mine) || read_file("/proc/stat", stat))
			die("cpu");
		is = must_number(mine->p, "samples");
		if (now_ns() > deadline)
			die("no sample was taken");
	} while (is == was);
}

/*
 * The percentages beside those of /proc/stat read when the samples were taken. The machine is shared
 * with others, so the two are not read at quite the same time: it is tried until they agree within
 * five percent; @expect says that the machine is (1) or is not (0) busy.
 */
static void test_usage(const char *name, unsigned lo, unsigned hi)
{
	int64_t deadline = now_ns() + DEADLINE_NS;
	struct text mine = {0}, stat = {0};
	uint64_t a[8][N_MODES], b[8][N_MODES];
	unsigned n, got = 0;
	double want = -1;
	bool ok = false;

	next_sample(&mine, &stat);
	n = parse_stat(stat.p, a, 8);
	while (!ok && now_ns() < deadline) {
		uint64_t used = 0, total = 0, window;

		next_sample(&mine, &stat);
		parse_stat(stat.p, b, 8);
		for (unsigned i = 0; i < n; i++) {
			used += busy(b[i]) - busy(a[i]);
			total += busy(b[i]) + b[i][3] + b[i][4] - busy(a[i]) - a[i][3] - a[i][4];
		}
		memcpy(a, b, sizeof(a));
		got = used_percent(mine.p);
		window = must_number(mine.p, "window_ms");
		want = total ? 1e4 * (double)used / (double)total : -1;
		ok = want >= 0 && got >= lo && got <= hi && (double)got > want - 500 &&
		     (double)got < want + 500 && window >= 500 && window < 10000;
		ok = ok && must_number(mine.p, "porcentaje_cpu_uso") == (got + 50) / 100 &&
		     must_number(mine.p, "porcentaje_cpu_libre") == 100 - (got + 50) / 100;
	}
	check(ok, name, "last: %u hundredths, /proc/stat says %.0f", got, want);
	free(mine.p);
	free(stat.p);
}

/* Two readers see the same, and reading changes nothing. */
static void test_no_side_effects(void)
{
	struct text first = {0}, t = {0};
	unsigned same = 0, differ = 0;

	if (read_file("/proc/latido/cpu", &first))
		die("cpu");
	for (int i = 0; i < 300; i++) {
		if (read_file("/proc/latido/cpu", &t))
			die("cpu");
		if (must_number(t.p, "samples") != must_number(first.p, "samples")) {
			struct text swap = first; /* a second has passed */

			first = t;
			t = swap;
			continue;
		}
		if (used_percent(t.p) == used_percent(first.p) &&
			must_number(t.p, "window_ms") == must_number(first.p, "window_ms"))
			same++;
		else
			differ++;
	}
	check(same > 0 && differ == 0, "cpu_no_side_effects", "%u same, %u differ", same, differ);
	free(first.p);
	free(t.p);
}

static void spin(void *arg)
{
	(void)arg;
	for (;;)
		;
}

void test_cpu(void)
{
	pid_t pid[2];

	send_file("cpu", "/proc/latido/cpu");
	test_cpu_times();
	test_no_side_effects();
	/* one of two is busy with the spinning child */
	test_usage("cpu_half_busy", 3000, 9500);
	for (int i = 0; i < 2; i++)
		pid[i] = child(spin, NULL);
	test_usage("cpu_busy", 9000, 10000);
	for (int i = 0; i < 2; i++)
		end_child(pid[i]);
}

/* kB of /proc/meminfo that @v bytes are to lie between. */
static bool between(
	const struct text *a, const struct text *b, const char *key, uint64_t v, uint64_t slack)
{
	uint64_t x = must_number(a->p, key) << 10, y = must_number(b->p, key) << 10;
	uint64_t lo = x < y ? x : y, hi = x < y ? y : x;

	return v + slack >= lo && v <= hi + slack;
}

void test_ram(void)
{
	static const char *const keys[][2] = {
		{"MemTotal", "total_bytes"},
		{"MemFree", "free_bytes"},
		{"MemAvailable", "available_bytes"},
		{"Buffers", "buffers_bytes"},
		{"Cached", "cached_bytes"},
		{"Shmem", "shared_bytes"},
		{"SReclaimable", "slab_reclaimable_bytes"},
		{"SUnreclaim", "slab_unreclaimable_bytes"},
	};
	int64_t deadline = now_ns() + DEADLINE_NS;
	struct text a = {0}, m = {0}, b = {0};
	uint64_t total, used, percent;
	const char *wrong = NULL;

	do {
		wrong = NULL;
		if (read_file("/proc/meminfo", &a) || read_file("/proc/latido/ram", &m) ||
			read_file("/proc/meminfo", &b))
			die("ram cannot be read");
		for (size_t i = 0; i < sizeof(keys) / sizeof(*keys) && !wrong; i++)
			if (!between(&a, &b, keys[i][0], must_number(m.p, keys[i][1]),
				    i == 0 ? 0 : 131072))
				wrong = keys[i][0];
	} while (wrong && now_ns() < deadline);
	check(!wrong, "ram", "%s: %s", wrong, m.p);
	total = must_number(m.p, "total_bytes");
	used = must_number(m.p, "used_bytes");
	percent = (used * 10000 + total / 2) / total;
	check(used == total - must_number(m.p, "available_bytes"), "ram_used", "%s", m.p);
	check(must_number(m.p, "total_ram") == total >> 20 &&
			must_number(m.p, "uso_ram") == used >> 20 &&
			must_number(m.p, "ram_libre") == must_number(m.p, "free_bytes") &&
			must_number(m.p, "porcentaje_ram") == (percent + 50) / 100 &&
			used_percent(m.p) == percent,
		"ram_first_users", "%s", m.p);
	send_file("ram", "/proc/latido/ram");
	free(a.p);
	free(m.p);
	free(b.p);
}
