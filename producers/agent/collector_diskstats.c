/* SPDX-License-Identifier: MIT */
/* /proc/diskstats; what udev knows of each disk from /run/udev/data. */
#include <stdlib.h>
#include <string.h>

#include "collector.h"

#define SECTOR_BYTES 512.0 /* whatever the device's own sectors are */
#define FIELDS_MAX   17
#define FIELDS_MIN   11 /* before discards (4.18) and flushes (5.5) were counted */

enum {
	INFO = FIELDS_MAX,
	FILESYSTEM_INFO,
	DEVICE_MAPPER_INFO,
	ATA_WRITE_CACHE,
	ATA_WRITE_CACHE_ENABLED,
	ATA_ROTATION_RATE,
	N_METRICS
};

/* The first FIELDS_MAX in the order of the columns. */
static const struct lt_metric metrics[N_METRICS] = {
	{"node_disk_reads_completed_total", LT_KIND_COUNTER,
		"The total number of reads completed successfully."},
	{"node_disk_reads_merged_total", LT_KIND_COUNTER, "The total number of reads merged."},
	{"node_disk_read_bytes_total", LT_KIND_COUNTER,
		"The total number of bytes read successfully."},
	{"node_disk_read_time_seconds_total", LT_KIND_COUNTER,
		"The total number of seconds spent by all reads."},
	{"node_disk_writes_completed_total", LT_KIND_COUNTER,
		"The total number of writes completed successfully."},
	{"node_disk_writes_merged_total", LT_KIND_COUNTER, "The number of writes merged."},
	{"node_disk_written_bytes_total", LT_KIND_COUNTER,
		"The total number of bytes written successfully."},
	{"node_disk_write_time_seconds_total", LT_KIND_COUNTER,
		"This is the total number of seconds spent by all writes."},
	{"node_disk_io_now", LT_KIND_GAUGE, "The number of I/Os currently in progress."},
	{"node_disk_io_time_seconds_total", LT_KIND_COUNTER, "Total seconds spent doing I/Os."},
	{"node_disk_io_time_weighted_seconds_total", LT_KIND_COUNTER,
		"The weighted # of seconds spent doing I/Os."},
	{"node_disk_discards_completed_total", LT_KIND_COUNTER,
		"The total number of discards completed successfully."},
	{"node_disk_discards_merged_total", LT_KIND_COUNTER,
		"The total number of discards merged."},
	{"node_disk_discarded_sectors_total", LT_KIND_COUNTER,
		"The total number of sectors discarded successfully."},
	{"node_disk_discard_time_seconds_total", LT_KIND_COUNTER,
		"This is the total number of seconds spent by all discards."},
	{"node_disk_flush_requests_total", LT_KIND_COUNTER,
		"The total number of flush requests completed successfully"},
	{"node_disk_flush_requests_time_seconds_total", LT_KIND_COUNTER,
		"This is the total number of seconds spent by all flush requests."},
	[INFO] = {"node_disk_info", LT_KIND_GAUGE, "Info of /sys/block/<block_device>."},
	[FILESYSTEM_INFO] = {"node_disk_filesystem_info", LT_KIND_GAUGE,
		"Info about disk filesystem."},
	[DEVICE_MAPPER_INFO] = {"node_disk_device_mapper_info", LT_KIND_GAUGE,
		"Info about disk device mapper."},
	[ATA_WRITE_CACHE] = {"node_disk_ata_write_cache", LT_KIND_GAUGE,
		"ATA disk has a write cache."},
	[ATA_WRITE_CACHE_ENABLED] = {"node_disk_ata_write_cache_enabled", LT_KIND_GAUGE,
		"ATA disk has its write cache enabled."},
	[ATA_ROTATION_RATE] = {"node_disk_ata_rotation_rate_rpm", LT_KIND_GAUGE,
		"ATA disk rotation rate in RPMs (0 for SSDs)."},
};

static const double factors[FIELDS_MAX] = {
	1, 1, SECTOR_BYTES, 1e-3, 1, 1, SECTOR_BYTES, 1e-3, 1, 1e-3, 1e-3, 1, 1, 1, 1e-3, 1, 1e-3};

/* Properties of the udev database. */
enum {
	DM_LV_LAYER,
	DM_LV_NAME,
	DM_NAME,
	DM_UUID,
	DM_VG_NAME,
	ID_ATA,
	ID_ATA_ROTATION_RATE_RPM,
	ID_ATA_WRITE_CACHE,
	ID_ATA_WRITE_CACHE_ENABLED,
	ID_FS_TYPE,
	ID_FS_USAGE,
	ID_FS_UUID,
	ID_FS_VERSION,
	ID_MODEL,
	ID_PATH,
	ID_REVISION,
	ID_SERIAL_SHORT,
	ID_WWN,
	N_PROPS
};

static const char *const prop_names[N_PROPS] = {
	"DM_LV_LAYER",
	"DM_LV_NAME",
	"DM_NAME",
	"DM_UUID",
	"DM_VG_NAME",
	"ID_ATA",
	"ID_ATA_ROTATION_RATE_RPM",
	"ID_ATA_WRITE_CACHE",
	"ID_ATA_WRITE_CACHE_ENABLED",
	"ID_FS_TYPE",
	"ID_FS_USAGE",
	"ID_FS_UUID",
	"ID_FS_VERSION",
	"ID_MODEL",
	"ID_PATH",
	"ID_REVISION",
	"ID_SERIAL_SHORT",
	"ID_WWN",
};

struct disk {
	struct lt_device base;
	uint64_t major, minor;
	char major_label[24], minor_label[24];
	char *props[N_PROPS]; /* NULL: not there */
	int64_t props_ns;     /* when to look again */
	size_t n_fields;
	double v[FIELDS_MAX];
};

struct state {
	struct lt_procfile f;
	struct lt_match *ignore;
	struct lt_devices disks; /* struct disk */
};

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	struct state *s = state;

	s->disks.size = sizeof(struct disk);
	lt_procfile_init(&s->f, lt_collect_path(env->conf->procfs, "diskstats"), false);
	s->ignore = lt_match_new(
		"agent.diskstats_ignore_devices", env->conf->diskstats_ignore_devices, err);
	return s->ignore ? lt_procfile_read(&s->f, err) : LT_ECONF;
}

static void clear_props(struct disk *d)
{
	for (size_t i = 0; i < N_PROPS; i++) {
		free(d->props[i]);
		d->props[i] = NULL;
	}
}

static void disk_fini(void *device, struct lt_collect_env *env)
{
	(void)env;
	clear_props(device);
}

/* "E:ID_MODEL=..." lines; a machine without udev has no such file. */
static void read_props(struct disk *d, struct lt_collect_env *env)
{
	struct lt_procfile f;
	struct lt_token line;
	const char *cursor;

	clear_props(d);
	d->props_ns = env->mono_ns + LT_COLLECT_RESCAN_NS;
	lt_procfile_init(&f,
		lt_collect_path(
			env->conf->rootfs, "run/udev/data/b%s:%s", d->major_label, d->minor_label),
		false);
	if (lt_procfile_read(&f, NULL) == LT_OK) {
		cursor = f.buf;
		while (lt_scan_line(&cursor, &line)) {
			const char *eq = memchr(line.p, '=', line.len);

			if (line.len < 2 || memcmp(line.p, "E:", 2) != 0 || !eq)
				continue;
			for (size_t i = 0; i < N_PROPS; i++)
				if (lt_token_is((struct lt_token){line.p + 2,
							(size_t)(eq - line.p - 2)},
					    prop_names[i])) {
					free(d->props[i]);
					d->props[i] = lt_strndup(
						eq + 1, line.len - (size_t)(eq + 1 - line.p));
				}
		}
	}
	lt_procfile_fini(&f);
}

static int read_disks(struct state *s, struct lt_collect_env *env, struct lt_err *err)
{
	const char *cursor = s->f.buf;
	struct lt_token line, key;
	size_t n = 0;

	while (lt_scan_line(&cursor, &line)) {
		uint64_t major, minor, v;
		struct disk *d;
		bool is_new;

		if (line.len == 0)
			continue;
		if (!lt_scan_u64(&line, &major) || !lt_scan_u64(&line, &minor) ||
			!lt_scan_word(&line, &key))
			return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "diskstats.sample",
				"%s: line %zu does not begin with major, minor, name", s->f.path,
				n + 1);
		d = lt_devices_at(&s->disks, n++, key, s->ignore, &is_new);
		if (d->base.ignored)
			continue;
		for (d->n_fields = 0; d->n_fields < FIELDS_MAX && lt_scan_u64(&line, &v);
			d->n_fields++)
			d->v[d->n_fields] = (double)v * factors[d->n_fields];
		if (d->n_fields < FIELDS_MIN)
			return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "diskstats.sample",
				"%s: %s has %zu numbers, not %d or more", s->f.path, d->base.name,
				d->n_fields, FIELDS_MIN);
		if (is_new || d->major != major || d->minor != minor) {
			d->major = major;
			d->minor = minor;
			snprintf(d->major_label, sizeof(d->major_label), "%llu",
				(unsigned long long)major);
			snprintf(d->minor_label, sizeof(d->minor_label), "%llu",
				(unsigned long long)minor);
			d->props_ns = 0;
		}
	}
	/* what is left behind is gone */
	lt_devices_cut(&s->disks, n, disk_fini, env);
	return LT_OK;
}

static struct disk *disk(const struct state *s, size_t i)
{
	return (struct disk *)s->disks.v + i;
}

static const char *prop(const struct disk *d, int i)
{
	return d->props[i] ? d->props[i] : "";
}

static void emit_props(struct state *s, struct lt_snapshot *out)
{
	static const char *const info[] = {
		"device", "major", "minor", "model", "path", "revision", "serial", "wwn"};
	static const char *const fs[] = {"device", "type", "usage", "uuid", "version"};
	static const char *const dm[] = {
		"device", "lv_layer", "lv_name", "name", "uuid", "vg_name"};
	static const char *const device[] = {"device"};
	static const int ata[] = {
		ID_ATA_WRITE_CACHE, ID_ATA_WRITE_CACHE_ENABLED, ID_ATA_ROTATION_RATE_RPM};

	lt_snapshot_family(out, metrics[INFO].name, metrics[INFO].kind, info, LT_ARRAY_LEN(info));
	for (size_t i = 0; i < s->disks.n; i++) {
		const struct disk *d = disk(s, i);

		if (!d->base.ignored)
			lt_snapshot_row(out,
				(const char *const[]){d->base.name, d->major_label, d->minor_label,
					prop(d, ID_MODEL), prop(d, ID_PATH), prop(d, ID_REVISION),
					prop(d, ID_SERIAL_SHORT), prop(d, ID_WWN)},
				1);
	}
	lt_snapshot_family(out, metrics[FILESYSTEM_INFO].name, LT_KIND_GAUGE, fs, LT_ARRAY_LEN(fs));
	for (size_t i = 0; i < s->disks.n; i++) {
		const struct disk *d = disk(s, i);

		if (!d->base.ignored && *prop(d, ID_FS_TYPE))
			lt_snapshot_row(out,
				(const char *const[]){d->base.name, prop(d, ID_FS_TYPE),
					prop(d, ID_FS_USAGE), prop(d, ID_FS_UUID),
					prop(d, ID_FS_VERSION)},
				1);
	}
	lt_snapshot_family(
		out, metrics[DEVICE_MAPPER_INFO].name, LT_KIND_GAUGE, dm, LT_ARRAY_LEN(dm));
	for (size_t i = 0; i < s->disks.n; i++) {
		const struct disk *d = disk(s, i);

		if (!d->base.ignored && *prop(d, DM_NAME))
			lt_snapshot_row(out,
				(const char *const[]){d->base.name, prop(d, DM_LV_LAYER),
					prop(d, DM_LV_NAME), prop(d, DM_NAME), prop(d, DM_UUID),
					prop(d, DM_VG_NAME)},
				1);
	}
	for (size_t m = 0; m < LT_ARRAY_LEN(ata); m++) {
		lt_snapshot_family(
			out, metrics[ATA_WRITE_CACHE + m].name, LT_KIND_GAUGE, device, 1);
		for (size_t i = 0; i < s->disks.n; i++) {
			const struct disk *d = disk(s, i);
			const char *text = prop(d, ata[m]);
			double v;

			if (!d->base.ignored && *prop(d, ID_ATA) &&
				lt_token_double((struct lt_token){text, strlen(text)}, &v))
				lt_snapshot_row(out, (const char *const[]){d->base.name}, v);
		}
	}
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	static const char *const device[] = {"device"};
	struct state *s = state;
	int rc = lt_procfile_read(&s->f, err);

	if (rc == LT_OK)
		rc = read_disks(s, env, err);
	if (rc != LT_OK)
		return rc;
	for (size_t i = 0; i < s->disks.n; i++)
		if (!disk(s, i)->base.ignored && env->mono_ns >= disk(s, i)->props_ns)
			read_props(disk(s, i), env);
	for (size_t m = 0; m < FIELDS_MAX; m++) {
		lt_snapshot_family(out, metrics[m].name, metrics[m].kind, device, 1);
		for (size_t i = 0; i < s->disks.n; i++)
			if (!disk(s, i)->base.ignored && m < disk(s, i)->n_fields)
				lt_snapshot_row(out, (const char *const[]){disk(s, i)->base.name},
					disk(s, i)->v[m]);
	}
	emit_props(s, out);
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	(void)env;
	lt_procfile_fini(&s->f);
	lt_match_free(s->ignore);
	lt_devices_cut(&s->disks, 0, disk_fini, env);
}

const struct lt_collector lt_collector_diskstats = {
	.name = "diskstats",
	.help = "reads, writes, discards and flushes of each disk; what udev knows of it",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
