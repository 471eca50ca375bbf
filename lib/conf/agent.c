/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <string.h>

#include "sections.h"

#define SECTION lt_agent_conf

static const char *const encodings[] = {"protobuf", "json", NULL};
static const char *const shapes[] = {"always", "announced", NULL};
static const char *const kmods[] = {"auto", "on", "off", NULL};
static const char *const syncs[] = {"always", "interval", "never", NULL};
/* Those of producers/agent/collectors.c; a test compares the two. */
static const char *const collectors[] = {"cpu", "diskstats", "filesystem", "hwmon", "kmod",
	"latido", "loadavg", "meminfo", "netdev", "netstat", "pressure", "processes", "sockstat",
	"stat", "thermal_zone", "time", "timex", "uname", "vmstat", NULL};

static const struct lt_conf_key keys[] = {
	KEY(STRING, "source", source, "", .max = 128,
		.help = "Name of this node: letters, digits and . _ : -. Empty: the host name."),
	KEY(DURATION, "interval", interval_ms, "1s", .min = 100, .max = HOUR,
		.help = "Distance of two snapshots, aligned to the wall clock."),
	KEY(ENUM, "encoding", encoding, "protobuf", .choices = encodings,
		.help = "How events are written; json is larger and can be read with any tool."),
	KEY(ENUM, "shape", shape, "always", .choices = shapes,
		.help = "Whether each event carries the names and labels of its values, or only "
			"those after a connect, a change and each announce_interval: a third of "
			"the "
			"bytes, for fleets that fill a network."),
	KEY(DURATION, "announce_interval", announce_interval_ms, "60s", .min = SECOND, .max = HOUR,
		.help = "With shape: announced, how often names and labels are sent again."),
	KEY(SIZE, "queue_max_bytes", queue_max_bytes, "16MiB", .min = 64 * KIB, .max = 4 * GIB,
		.help = "Without a spool: memory for events that the broker has not acknowledged; "
			"when it is full the oldest are dropped and counted."),
	KEY(STRING, "spool.dir", spool.dir, "", .max = 1024,
		.help = "Folder for events until the store has acknowledged them; it survives "
			"restarts and outages. Empty: none, and events are only kept in memory "
			"until "
			"the broker has them."),
	KEY(SIZE, "spool.max_bytes", spool.max_bytes, "256MiB", .min = MIB, .max = 1024 * GIB,
		.help = "Size of the spool on disk; when it is full the oldest events are dropped, "
			"counted, and recorded as a gap."),
	KEY(DURATION, "spool.max_age", spool.max_age_ms, "0", .min = 0, .max = 3650 * DAY,
		.help = "Events that have waited longer are dropped likewise. 0: none are."),
	KEY(SIZE, "spool.memory_bytes", spool.memory_bytes, "4MiB", .min = 256 * KIB,
		.max = 4 * GIB,
		.help = "Memory for events that the disk has not taken yet, because it is slow, "
			"full or broken."),
	KEY(ENUM, "spool.sync", spool.sync, "interval", .choices = syncs,
		.help = "When the disk is made to keep what was written, which matters only if the "
			"machine itself goes down: always: after each write; interval: every "
			"spool.sync_interval; never: when the kernel likes to, usually within 30 "
			"s."),
	KEY(DURATION, "spool.sync_interval", spool.sync_interval_ms, "1s", .min = 10, .max = HOUR,
		.help = "With spool.sync: interval, what a power failure may cost."),
	KEY(INT, "backlog_rate", backlog_rate, "500", .min = 1, .max = 100000,
		.help = "Events a second that are sent again or late at most, beside the live "
			"ones."),
	KEY(DURATION, "drain_timeout", drain_timeout_ms, "10s", .min = 0, .max = HOUR,
		.help = "After SIGTERM, how long to go on sending what is queued."),
	KEY(STRING, "admin", admin, "127.0.0.1:9501", .max = 256,
		.help = "Listen address of /metrics, /healthz and /readyz; empty: none."),
	KEY(STRING, "procfs", procfs, "/proc", .min = 1, .max = 1024,
		.help = "Where the host's /proc is mounted; in a container for example "
			"/host/proc."),
	KEY(STRING, "sysfs", sysfs, "/sys", .min = 1, .max = 1024,
		.help = "Where the host's /sys is mounted."),
	KEY(STRING, "rootfs", rootfs, "/", .min = 1, .max = 1024,
		.help = "Where the host's root is mounted; file systems are measured below it and "
			"reported without it."),
	KEY(LIST, "collectors", collectors, "", .choices = collectors,
		.help = "The collectors to run; empty: all. latido-agent --list-metrics says what "
			"they measure."),
	KEY(DURATION, "processes_interval", processes_interval_ms, "5s", .min = 100, .max = HOUR,
		.help = "The process table costs most; it is read no more often than this, and the "
			"last values are sent between."),
	KEY(BOOL, "processes_stream", processes_stream, "false",
		.help = "Also publish the top processes by CPU and by memory, every "
			"processes_interval, as a stream of its own named processes. Each process "
			"that comes into it is new series for the store."),
	KEY(INT, "processes_top", processes_top, "10", .min = 1, .max = 100,
		.help = "With processes_stream: how many by CPU and how many by memory."),
	KEY(ENUM, "kmod", kmod, "auto", .choices = kmods,
		.help = "Take CPU times, memory and process states from Latido's kernel modules "
			"(/proc/latido): auto: where they are loaded; on: likewise, and log when "
			"one is not; off: never. The metrics are the same."),
	KEY(STRING, "filesystem_ignore_types", filesystem_ignore_types,
		"^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|"
		"hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|"
		"selinuxfs|squashfs|sysfs|tracefs)$",
		.max = 4096,
		.help = "File system types that are left out: a POSIX extended regular expression "
			"(and \\d), "
			"by default node_exporter's. Empty: none is."),
	KEY(STRING, "filesystem_ignore_mounts", filesystem_ignore_mounts,
		"^/(dev|proc|run|sys|mnt|media|var/lib/docker/.+|var/lib/containers/storage/.+)"
		"($|/)",
		.max = 4096,
		.help = "Mount points that are left out, likewise; the default is that of Debian's "
			"node_exporter."),
	KEY(STRING, "diskstats_ignore_devices", diskstats_ignore_devices,
		"^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme[0-9]+n[0-9]+p)[0-9]+$", .max = 4096,
		.help = "Block devices that are left out, likewise; by default partitions, RAM "
			"disks, loop devices and floppies."),
	KEY(STRING, "netdev_ignore_devices", netdev_ignore_devices, "^lo$", .max = 4096,
		.help = "Network interfaces that are left out, likewise."),
};

static void check(struct lt_conf_check *k, const void *section)
{
	const struct lt_agent_conf *c = section;

	for (const char *p = c->source; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("._:-", *p)) {
			lt_conf_reject(k, "source",
				"may hold letters, digits and . _ : - only, since it is a level of "
				"a topic");
			break;
		}
	}
	lt_check_address(k, "admin", c->admin);
	if (*c->spool.dir)
		lt_check_absolute(k, "spool.dir", c->spool.dir);
	lt_check_absolute(k, "procfs", c->procfs);
	lt_check_absolute(k, "sysfs", c->sysfs);
	lt_check_absolute(k, "rootfs", c->rootfs);
	lt_check_regex(k, "filesystem_ignore_types", c->filesystem_ignore_types);
	lt_check_regex(k, "filesystem_ignore_mounts", c->filesystem_ignore_mounts);
	lt_check_regex(k, "diskstats_ignore_devices", c->diskstats_ignore_devices);
	lt_check_regex(k, "netdev_ignore_devices", c->netdev_ignore_devices);
}

const struct lt_conf_section lt_agent_section = {
	.name = "agent",
	.help = "latido-agent, which samples one node.",
	.offset = offsetof(struct lt_config, agent),
	.keys = keys,
	.n_keys = LT_ARRAY_LEN(keys),
	.check = check,
};
