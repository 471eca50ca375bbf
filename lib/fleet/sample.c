/* SPDX-License-Identifier: MIT */
#include "latido/fleet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Counters of two events closer than this say little: scheduling noise and clock ticks. */
#define MIN_DISTANCE_S 0.05

struct filesystem {
	uint32_t size, free, avail; /* index of each series, NONE = not there */
	const struct lt_series *of;
};

#define NONE UINT32_MAX

/* Where in a shape's values the interesting ones are. */
struct view {
	uint32_t *cpu_idle, *cpu_busy, *rx, *tx, *io_read, *io_write;
	uint32_t n_cpu_idle, n_cpu_busy, n_rx, n_tx, n_io_read, n_io_write;
	uint32_t mem_total, mem_available, load1, boot_time;
	const struct lt_series *uname, *os; /* their labels tell */
	bool is_node;
	struct filesystem *fs;
	uint32_t n_fs;
};

static const char *label(const struct lt_series *s, const char *name)
{
	for (unsigned i = 0; i < s->n_labels; i++)
		if (!strcmp(s->labels[i].name, name))
			return s->labels[i].value;
	return "";
}

static void add(uint32_t **list, uint32_t *n, uint32_t i)
{
	if ((*n & (*n - 1)) == 0) /* 0, 1, 2, 4, 8 ... */
		*list = lt_realloc(*list, (*n ? 2 * (size_t)*n : 1) * sizeof(**list));
	(*list)[(*n)++] = i;
}

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

/* What other interfaces carry already, or what never leaves the machine. */
static bool is_virtual(const char *device)
{
	static const char *const names[] = {"veth", "docker", "br-", "cni", "flannel", "cali",
		"virbr", "vmbr", "tap", "fwbr", "fwpr", "fwln", "ifb", "dummy"};

	if (!strcmp(device, "lo"))
		return true;
	for (size_t i = 0; i < LT_ARRAY_LEN(names); i++)
		if (starts(device, names[i]))
			return true;
	return false;
}

static bool is_real_filesystem(const struct lt_series *s)
{
	static const char *const types[] = {"tmpfs", "ramfs", "devtmpfs", "squashfs", "iso9660"};
	const char *type = label(s, "fstype");

	for (size_t i = 0; i < LT_ARRAY_LEN(types); i++)
		if (!strcmp(type, types[i]))
			return false;
	return true;
}

static bool same_filesystem(const struct lt_series *a, const struct lt_series *b)
{
	return !strcmp(label(a, "mountpoint"), label(b, "mountpoint")) &&
	       !strcmp(label(a, "device"), label(b, "device"));
}

static void add_filesystem(struct view *v, const struct lt_series *s, uint32_t i, size_t member)
{
	struct filesystem *fs = NULL;

	if (!is_real_filesystem(s))
		return;
	for (uint32_t k = 0; k < v->n_fs && !fs; k++)
		if (same_filesystem(v->fs[k].of, s))
			fs = &v->fs[k];
	if (!fs) {
		if (v->n_fs == 256) /* a row shows one of them; quadratic search has to end */
			return;
		v->fs = lt_realloc(v->fs, (v->n_fs + 1) * sizeof(*v->fs));
		fs = &v->fs[v->n_fs++];
		*fs = (struct filesystem){NONE, NONE, NONE, s};
	}
	memcpy((char *)fs + member, &i, sizeof(i));
}

/* Partitions and what lies on other disks would be counted twice. */
static bool is_whole_disk(const char *device)
{
	static const char *const layers[] = {"loop", "ram", "zram", "dm-", "md", "sr", "fd"};
	size_t n = strlen(device);

	for (size_t i = 0; i < LT_ARRAY_LEN(layers); i++)
		if (starts(device, layers[i]))
			return false;
	if (starts(device, "nvme") || starts(device, "mmcblk"))
		return !strchr(device + 4, 'p');
	return n && (device[n - 1] < '0' || device[n - 1] > '9');
}

static void add_series(struct view *v, const struct lt_series *s, uint32_t i)
{
	if (starts(s->name, "node_"))
		v->is_node = true;
	if (!strcmp(s->name, "node_cpu_seconds_total")) {
		if (!strcmp(label(s, "mode"), "idle"))
			add(&v->cpu_idle, &v->n_cpu_idle, i);
		else
			add(&v->cpu_busy, &v->n_cpu_busy, i);
	} else if (!strcmp(s->name, "node_network_receive_bytes_total")) {
		if (!is_virtual(label(s, "device")))
			add(&v->rx, &v->n_rx, i);
	} else if (!strcmp(s->name, "node_network_transmit_bytes_total")) {
		if (!is_virtual(label(s, "device")))
			add(&v->tx, &v->n_tx, i);
	} else if (!strcmp(s->name, "node_disk_read_bytes_total")) {
		if (is_whole_disk(label(s, "device")))
			add(&v->io_read, &v->n_io_read, i);
	} else if (!strcmp(s->name, "node_disk_written_bytes_total")) {
		if (is_whole_disk(label(s, "device")))
			add(&v->io_write, &v->n_io_write, i);
	} else if (!strcmp(s->name, "node_boot_time_seconds")) {
		v->boot_time = i;
	} else if (!strcmp(s->name, "node_uname_info")) {
		v->uname = s;
	} else if (!strcmp(s->name, "node_os_info")) {
		v->os = s;
	} else if (!strcmp(s->name, "node_memory_MemTotal_bytes")) {
		v->mem_total = i;
	} else if (!strcmp(s->name, "node_memory_MemAvailable_bytes")) {
		v->mem_available = i;
	} else if (!strcmp(s->name, "node_load1")) {
		v->load1 = i;
	} else if (!strcmp(s->name, "node_filesystem_size_bytes")) {
		add_filesystem(v, s, i, offsetof(struct filesystem, size));
	} else if (!strcmp(s->name, "node_filesystem_free_bytes")) {
		add_filesystem(v, s, i, offsetof(struct filesystem, free));
	} else if (!strcmp(s->name, "node_filesystem_avail_bytes")) {
		add_filesystem(v, s, i, offsetof(struct filesystem, avail));
	}
}

static void view_free(void *user)
{
	struct view *v = user;

	free(v->cpu_idle);
	free(v->cpu_busy);
	free(v->rx);
	free(v->tx);
	free(v->io_read);
	free(v->io_write);
	free(v->fs);
	free(v);
}

static const struct view *view_of(struct lt_shape *shape)
{
	struct view *v = shape->user;

	if (v)
		return v;
	v = lt_calloc(1, sizeof(*v));
	v->mem_total = v->mem_available = v->load1 = v->boot_time = NONE;
	for (uint32_t i = 0; i < shape->n_series; i++)
		add_series(v, &shape->series[i], i);
	shape->user = v;
	shape->user_free = view_free;
	return v;
}

static double sum(const struct lt_event *e, const uint32_t *list, uint32_t n)
{
	double total = 0, v;

	for (uint32_t i = 0; i < n; i++) {
		v = lt_event_value(e, list[i]);
		if (!isnan(v))
			total += v;
	}
	return total;
}

static double at(const struct lt_event *e, uint32_t i)
{
	return i == NONE ? NAN : lt_event_value(e, i);
}

/*
 * Seconds since the counters in @c, 0 when they cannot be compared (the first ones, a reset, too
 * close); @c becomes the new ones unless they are too close.
 */
static double advance(struct lt_fleet_counters *c, struct lt_fleet_counters *old,
	const struct lt_event *e, double a, double b)
{
	double s;

	*old = *c;
	s = old->any ? (double)(e->time_ns - old->time_ns) / 1e9 : 0;
	if (old->any && s >= 0 && s < MIN_DISTANCE_S)
		return 0;
	*c = (struct lt_fleet_counters){true, e->time_ns, a, b};
	if (!old->any || s < 0 || a < old->a || b < old->b)
		return 0;
	return s;
}

/* As df(1) counts: reserved blocks are neither used nor available. */
static double used_pct(const struct lt_event *e, const struct filesystem *fs)
{
	double size = at(e, fs->size), avail = at(e, fs->avail), unused = at(e, fs->free), used;

	if (isnan(unused))
		unused = avail;
	used = size - unused;
	return used + avail > 0 ? 100 * used / (used + avail) : NAN;
}

void lt_fleet_sample_init(struct lt_fleet_sample *s)
{
	*s = (struct lt_fleet_sample){.cpu_pct = NAN,
		.mem_pct = NAN,
		.disk_pct = NAN,
		.rx_bytes_s = NAN,
		.tx_bytes_s = NAN,
		.io_bytes_s = NAN,
		.load1 = NAN,
		.boot_time_s = NAN,
		.memory_bytes = NAN,
		.main = NAN};
}

static void copy_label(char out[LT_FLEET_LABEL_MAX], const char *value)
{
	size_t n = strnlen(value, LT_FLEET_LABEL_MAX - 1);

	while (n && ((unsigned char)value[n] & 0xc0) == 0x80) /* not in the middle of a character */
		n--;
	memcpy(out, value, n);
	out[n] = '\0';
}

/* What hardly ever changes. */
static void add_facts(struct lt_fleet_sample *s, const struct view *v, const struct lt_event *e)
{
	s->is_node |= v->is_node;
	if (v->uname) {
		copy_label(s->release, label(v->uname, "release"));
		copy_label(s->machine, label(v->uname, "machine"));
	}
	if (v->os)
		copy_label(s->os, label(v->os, "pretty_name"));
	if (v->boot_time != NONE)
		s->boot_time_s = at(e, v->boot_time);
	if (v->mem_total != NONE)
		s->memory_bytes = at(e, v->mem_total);
	if (v->n_cpu_idle)
		s->cpus = v->n_cpu_idle;
	/* A device: the series that it began with, and another one only when that never comes. */
	if (!s->is_node && e->n &&
		(!*s->main_series || !strncmp(s->main_series, e->shape->series[0].text,
					     sizeof(s->main_series) - 1))) {
		if (!*s->main_series)
			snprintf(s->main_series, sizeof(s->main_series), "%s",
				e->shape->series[0].text);
		s->main = lt_event_value(e, 0);
	}
}

void lt_fleet_sample_add(struct lt_fleet_sample *s, const struct lt_event *e)
{
	const struct view *v = view_of(e->shape);
	struct lt_fleet_counters old;
	double seconds, worst = NAN;

	if (e->interval_ms && (!s->interval_ms || e->interval_ms < s->interval_ms))
		s->interval_ms = e->interval_ms;
	if (v->n_cpu_idle && v->n_cpu_busy) {
		double idle = sum(e, v->cpu_idle, v->n_cpu_idle);
		double total = idle + sum(e, v->cpu_busy, v->n_cpu_busy);

		if (advance(&s->cpu, &old, e, idle, total) > 0 && total > old.b)
			s->cpu_pct =
				fmin(100, fmax(0, 100 * (1 - (idle - old.a) / (total - old.b))));
	}
	if (v->n_rx && v->n_tx) {
		double rx = sum(e, v->rx, v->n_rx), tx = sum(e, v->tx, v->n_tx);

		seconds = advance(&s->net, &old, e, rx, tx);
		if (seconds > 0) {
			s->rx_bytes_s = (rx - old.a) / seconds;
			s->tx_bytes_s = (tx - old.b) / seconds;
		}
	}
	if (v->n_io_read && v->n_io_write) {
		double read = sum(e, v->io_read, v->n_io_read);
		double written = sum(e, v->io_write, v->n_io_write);

		seconds = advance(&s->io, &old, e, read, written);
		if (seconds > 0)
			s->io_bytes_s = (read + written - old.a - old.b) / seconds;
	}
	add_facts(s, v, e);
	if (at(e, v->mem_total) > 0 && !isnan(at(e, v->mem_available)))
		s->mem_pct = 100 * (1 - at(e, v->mem_available) / at(e, v->mem_total));
	if (v->load1 != NONE)
		s->load1 = at(e, v->load1);
	for (uint32_t i = 0; i < v->n_fs; i++)
		worst = fmax(worst, used_pct(e, &v->fs[i])); /* fmax() ignores NaN */
	if (!isnan(worst))
		s->disk_pct = worst;
}

const char *lt_fleet_state_word(enum lt_fleet_state s)
{
	static const char *const words[] = {"live", "late", "stale"};

	return words[s];
}

enum lt_fleet_state lt_fleet_state_of(double age_s, uint32_t interval_ms)
{
	/* Who announces no interval may be silent for a while. */
	double late = 60, stale = 300;

	if (interval_ms) {
		late = fmax(5, 2.5 * interval_ms / 1000);
		stale = fmax(15, 5.0 * interval_ms / 1000);
	}
	return age_s > stale ? LT_FLEET_STALE : age_s > late ? LT_FLEET_LATE : LT_FLEET_LIVE;
}
