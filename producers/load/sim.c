/* SPDX-License-Identifier: MIT */
/*
 * Every value is linear in a few numbers of the moment: the time since boot T, the day's swing
 * x = sin(day + phase of the node), its integral X since boot, and noise. So an event of 400 series
 * costs two sines and 400 multiplications, and depends on nothing but node, boot and time.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define DAY_S    86400.0
#define WEEK_S   (7 * DAY_S)
#define GIB      (1024.0 * 1024 * 1024)
#define UPTIME_S (30 * DAY_S) /* of a fleet that does not restart: up to this at the start */

enum form {
	F_CONST,   /* a */
	F_BOOT,    /* time of the boot */
	F_NOW,     /* the time */
	F_GAUGE,   /* a (1 + b x), a fiftieth of it noise */
	F_FILL,    /* a (b + (1 - b) of a week's ramp): falls slowly, is cleaned up at once */
	F_COUNT,   /* whole: a (T + b X) */
	F_SECONDS, /* likewise, not whole */
	F_IDLE,    /* T less a (T + b X) */
};

struct term {
	enum form form;
	double a, b;
};

struct load_sim {
	struct lt_snapshot *snapshot;
	struct lt_event event; /* holds the shape */
	struct term *terms;
	uint32_t n, max;
	uint64_t seed;
	int64_t restart_every_ns, began_ns;
};

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* [0, 1) */
static double fraction(uint64_t x)
{
	return (double)(x >> 11) * 0x1p-53;
}

static void row(struct load_sim *s, const char *const *labels, enum form form, double a, double b)
{
	if (s->n == s->max)
		return;
	lt_snapshot_row(s->snapshot, labels, a);
	s->terms[s->n++] = (struct term){form, a, b};
}

static void single(struct load_sim *s, const char *name, enum form form, double a, double b)
{
	if (s->n == s->max)
		return;
	lt_snapshot_family(s->snapshot, name,
		form == F_COUNT || form == F_SECONDS ? LT_KIND_COUNTER : LT_KIND_GAUGE, NULL, 0);
	row(s, NULL, form, a, b);
}

static void add_machine(struct load_sim *s)
{
	single(s, "node_boot_time_seconds", F_BOOT, 0, 0);
	single(s, "node_time_seconds", F_NOW, 0, 0);
	single(s, "node_load1", F_GAUGE, 1.2, 0.6);
	single(s, "node_load5", F_GAUGE, 1.1, 0.6);
	single(s, "node_load15", F_GAUGE, 1.0, 0.6);
	single(s, "node_memory_MemTotal_bytes", F_CONST, 16 * GIB, 0);
	single(s, "node_memory_MemAvailable_bytes", F_GAUGE, 8 * GIB, 0.3);
	single(s, "node_memory_MemFree_bytes", F_GAUGE, 3 * GIB, 0.3);
	single(s, "node_memory_Buffers_bytes", F_GAUGE, GIB / 2, 0.1);
	single(s, "node_memory_Cached_bytes", F_GAUGE, 4 * GIB, 0.2);
	single(s, "node_memory_SwapTotal_bytes", F_CONST, 2 * GIB, 0);
	single(s, "node_memory_SwapFree_bytes", F_CONST, 2 * GIB, 0);
	single(s, "node_procs_running", F_GAUGE, 3, 0.5);
	single(s, "node_procs_blocked", F_CONST, 0, 0);
	single(s, "node_context_switches_total", F_COUNT, 4000, 0.5);
	single(s, "node_intr_total", F_COUNT, 2500, 0.5);
	single(s, "node_forks_total", F_COUNT, 7, 0.5);
}

static void add_cpus(struct load_sim *s, unsigned cpus)
{
	static const char *const keys[] = {"cpu", "mode"};
	static const struct {
		const char *mode;
		double share;
	} modes[] = {{"user", 0.17}, {"system", 0.08}, {"iowait", 0.02}, {"nice", 0.004},
		{"irq", 0.002}, {"softirq", 0.006}, {"steal", 0.001}};
	const double busy = 0.283; /* their sum */
	char cpu[16];

	if (s->n == s->max)
		return;
	lt_snapshot_family(s->snapshot, "node_cpu_seconds_total", LT_KIND_COUNTER, keys, 2);
	for (unsigned i = 0; i < cpus; i++) {
		snprintf(cpu, sizeof(cpu), "%u", i);
		for (size_t k = 0; k < LT_ARRAY_LEN(modes); k++)
			row(s, (const char *const[]){cpu, modes[k].mode}, F_SECONDS, modes[k].share,
				0.7);
		row(s, (const char *const[]){cpu, "idle"}, F_IDLE, busy, 0.7);
	}
}

static void add_filesystems(struct load_sim *s, unsigned disks)
{
	static const char *const keys[] = {"device", "fstype", "mountpoint"};
	static const struct {
		const char *name;
		enum form form;
		double a, b;
	} families[] = {{"node_filesystem_size_bytes", F_CONST, 200 * GIB, 0},
		{"node_filesystem_avail_bytes", F_FILL, 200 * GIB, 0.4},
		{"node_filesystem_free_bytes", F_FILL, 200 * GIB, 0.45},
		{"node_filesystem_files", F_CONST, 13e6, 0},
		{"node_filesystem_files_free", F_FILL, 13e6, 0.9}};
	char device[32], mount[32];

	for (size_t f = 0; f < LT_ARRAY_LEN(families) && s->n < s->max; f++) {
		lt_snapshot_family(s->snapshot, families[f].name, LT_KIND_GAUGE, keys, 3);
		for (unsigned i = 0; i < disks; i++) {
			snprintf(device, sizeof(device), "/dev/sd%c1", 'a' + (int)i);
			snprintf(mount, sizeof(mount), i ? "/data%u" : "/", i);
			row(s, (const char *const[]){device, "ext4", mount}, families[f].form,
				families[f].a, families[f].b);
		}
	}
}

static void add_counters(struct load_sim *s, const char *const *names, size_t n, const char *key,
	const char *value_format, unsigned devices, double rate)
{
	char value[32];

	for (size_t f = 0; f < n && s->n < s->max; f++) {
		lt_snapshot_family(s->snapshot, names[f], LT_KIND_COUNTER, &key, 1);
		for (unsigned i = 0; i < devices; i++) {
			/* value_format is one of the constants below */
			snprintf(value, sizeof(value), "%s%u", value_format, i);
			row(s, (const char *const[]){value},
				strstr(names[f], "seconds") ? F_SECONDS : F_COUNT,
				strstr(names[f], "bytes")     ? rate * 900
				: strstr(names[f], "errs")    ? rate / 1e6
				: strstr(names[f], "drop")    ? rate / 1e5
				: strstr(names[f], "seconds") ? 0.05
							      : rate,
				0.8);
		}
	}
}

static void add_services(struct load_sim *s)
{
	static const char *const handler[] = {"handler"}, *const queue[] = {"queue"};
	uint32_t half = s->n + (s->max - s->n) / 2;
	char value[32];

	if (s->n == s->max)
		return;
	lt_snapshot_family(s->snapshot, "app_requests_total", LT_KIND_COUNTER, handler, 1);
	for (unsigned i = 0; s->n < half; i++) {
		snprintf(value, sizeof(value), "/api/v1/%u", i);
		row(s, (const char *const[]){value}, F_COUNT, 1 + i % 17, 0.9);
	}
	lt_snapshot_family(s->snapshot, "app_queue_length", LT_KIND_GAUGE, queue, 1);
	for (unsigned i = 0; s->n < s->max; i++) {
		snprintf(value, sizeof(value), "q%u", i);
		row(s, (const char *const[]){value}, F_GAUGE, 10 + i % 50, 0.8);
	}
}

static unsigned part(uint32_t series, unsigned per, unsigned most)
{
	unsigned n = series / per;

	return n < 1 ? 1 : n > most ? most : n;
}

struct load_sim *load_sim_new(uint32_t series, uint64_t seed, int64_t restart_every_ns)
{
	static const char *const network[] = {"node_network_receive_bytes_total",
		"node_network_transmit_bytes_total", "node_network_receive_packets_total",
		"node_network_transmit_packets_total", "node_network_receive_errs_total",
		"node_network_transmit_errs_total", "node_network_receive_drop_total",
		"node_network_transmit_drop_total"};
	static const char *const disk[] = {"node_disk_reads_completed_total",
		"node_disk_writes_completed_total", "node_disk_read_bytes_total",
		"node_disk_written_bytes_total", "node_disk_io_time_seconds_total"};
	struct load_sim *s = lt_calloc(1, sizeof(*s));

	s->max = series;
	s->terms = lt_calloc(series, sizeof(*s->terms));
	s->seed = seed;
	s->restart_every_ns = restart_every_ns;
	s->began_ns = lt_wall_ns();
	s->snapshot = lt_snapshot_new(series);
	lt_snapshot_begin(s->snapshot);
	add_machine(s);
	add_cpus(s, part(series, 50, 64));
	add_filesystems(s, part(series, 100, 16));
	add_counters(
		s, network, LT_ARRAY_LEN(network), "device", "eth", part(series, 100, 16), 800);
	add_counters(s, disk, LT_ARRAY_LEN(disk), "device", "sd", part(series, 100, 16), 40);
	add_services(s);
	if (lt_snapshot_event(s->snapshot, &s->event, NULL) != LT_OK)
		abort(); /* names that are ours */
	return s;
}

void load_sim_free(struct load_sim *s)
{
	if (!s)
		return;
	lt_snapshot_free(s->snapshot);
	free(s->terms);
	free(s);
}

struct lt_shape *load_sim_shape(const struct load_sim *s)
{
	return s->event.shape;
}

int64_t load_sim_boot_ns(const struct load_sim *s, uint32_t node, int64_t wall_ns)
{
	uint64_t r = mix(s->seed ^ mix(node));
	int64_t period_ns, offset_ns;

	if (s->restart_every_ns == 0)
		return s->began_ns - (int64_t)(fraction(r) * UPTIME_S * 1e9) - LT_NS_PER_S;
	/* Each node has its own distance, from half of to one and a half times the mean. */
	period_ns = (int64_t)((double)s->restart_every_ns * (0.5 + fraction(r)));
	offset_ns = (int64_t)(fraction(mix(r)) * (double)period_ns);
	return (wall_ns - offset_ns) / period_ns * period_ns + offset_ns;
}

static double value_of(
	const struct term *t, double since_s, double x, double integral, double week, double noise)
{
	switch (t->form) {
	case F_GAUGE:
		return t->a * (1 + t->b * x + 0.02 * noise);
	case F_FILL:
		return floor(t->a * (t->b + (1 - t->b) * (1 - week)));
	case F_COUNT:
		return floor(t->a * (since_s + t->b * integral));
	case F_SECONDS:
		return t->a * (since_s + t->b * integral);
	case F_IDLE:
		return since_s - t->a * (since_s + t->b * integral);
	default:
		return t->a;
	}
}

void load_sim_values(
	struct load_sim *s, uint32_t node, int64_t boot_ns, int64_t wall_ns, uint8_t *out)
{
	uint64_t r = mix(s->seed ^ mix(node)), state = mix(r ^ (uint64_t)wall_ns);
	const double now_s = (double)wall_ns / 1e9, boot_s = (double)boot_ns / 1e9;
	const double since_s = (double)(wall_ns - boot_ns) / 1e9;
	const double phase = 2 * M_PI * fraction(mix(r + 1)), turn = 2 * M_PI / DAY_S;
	const double x = sin(fmod(now_s, DAY_S) * turn + phase);
	const double integral =
		(cos(fmod(boot_s, DAY_S) * turn + phase) - cos(fmod(now_s, DAY_S) * turn + phase)) /
		turn;
	const double week = fmod(now_s / WEEK_S + fraction(mix(r + 2)), 1);

	for (uint32_t i = 0; i < s->n; i++) {
		const struct term *t = &s->terms[i];
		double v;
		uint64_t bits;

		state = state * 6364136223846793005u + 1442695040888963407u;
		v = t->form == F_BOOT ? floor(boot_s)
		    : t->form == F_NOW
			    ? now_s
			    : value_of(t, since_s, x, integral, week, 2 * fraction(state) - 1);
		memcpy(&bits, &v, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		bits = __builtin_bswap64(bits);
#endif
		memcpy(out + 8 * (size_t)i, &bits, 8);
	}
}
