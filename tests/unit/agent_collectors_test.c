/* SPDX-License-Identifier: MIT */
/* The collectors on the tree tests/data/proc/server and on what can become of it. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/collector_fixture.h"
#include "latido/clock.h"

/* ---- what a healthy machine shows ---- */

static void proc_files(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);

	(void)state;
	cl_open(f, NULL);
	cl_sample(f);
	cl_expect(f, "node_load1", 0.21);
	cl_expect(f, "node_load15", 0.39);
	cl_expect(f, "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"}", 1001);
	cl_expect(f, "node_cpu_seconds_total{cpu=\"3\",mode=\"steal\"}", 0.07);
	cl_expect(f, "node_cpu_guest_seconds_total{cpu=\"0\",mode=\"nice\"}", 0.07);
	cl_expect_none(f, "node_cpu_seconds_total{cpu=\"2\",mode=\"user\"}"); /* offline */
	assert_int_equal(cl_count(f, "node_cpu_seconds_total{"), 24);
	cl_expect(f, "node_cpu_core_throttles_total{core=\"0\",package=\"1\"}", 9);
	cl_expect(f, "node_cpu_package_throttles_total{package=\"0\"}", 30);
	assert_int_equal(cl_count(f, "node_cpu_core_throttles_total"), 3);
	cl_expect(f, "node_cpu_isolated{cpu=\"3\"}", 1);
	assert_int_equal(cl_count(f, "node_cpu_isolated"), 2);
	cl_expect(f, "node_intr_total", 8885917);
	cl_expect(f, "node_context_switches_total", 38014093);
	cl_expect(f, "node_boot_time_seconds", 1763700000);
	cl_expect(f, "node_procs_blocked", 1);
	cl_expect(f, "node_memory_MemTotal_bytes", 16384256.0 * 1024);
	cl_expect(f, "node_memory_Active_anon_bytes", 4068420.0 * 1024);
	cl_expect(f, "node_memory_HugePages_Total", 5);
	cl_expect(f, "node_memory_VmallocTotal_bytes", 34359738367.0 * 1024);
	cl_expect(f, "node_vmstat_pgmajfault", 507162);
	cl_expect(f, "node_vmstat_oom_kill", 3);
	cl_expect_none(f, "node_vmstat_nr_free_pages");
	assert_int_equal(cl_count(f, "node_vmstat_"), 8);
	cl_expect(f, "node_pressure_io_waiting_seconds_total", 159.229614);
	cl_expect(f, "node_pressure_memory_stalled_seconds_total", 0.05);
	cl_expect(f, "node_time_clocksource_available_info{clocksource=\"hpet\",device=\"0\"}", 1);
	cl_expect(f, "node_time_clocksource_current_info{clocksource=\"tsc\",device=\"0\"}", 1);
	cl_expect(f, "node_time_seconds", (double)(INT64_C(1795247263000000000) + f->now_ns) / 1e9);
	cl_free(f);
}

static void network_files(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);

	(void)state;
	cl_open(f, NULL);
	cl_sample(f);
	cl_expect(f, "node_network_receive_bytes_total{device=\"eth0\"}", 68210035552);
	cl_expect(f, "node_network_receive_frame_total{device=\"eth0\"}", 11);
	cl_expect(f, "node_network_transmit_carrier_total{device=\"eth0\"}", 10);
	cl_expect(f, "node_network_receive_nohandler_total{device=\"eth0\"}", 21);
	cl_expect_none(f, "node_network_receive_nohandler_total{device=\"br-a1b2c3\"}");
	/* no blank between the colon and the number */
	cl_expect(
		f, "node_network_receive_bytes_total{device=\"docker0\"}", 18446744073709551615.0);
	cl_expect_none(f, "node_network_receive_bytes_total{device=\"lo\"}");
	cl_expect(f, "node_netstat_Tcp_CurrEstab", 2);
	cl_expect(f, "node_netstat_TcpExt_ListenDrops", 6);
	cl_expect(f, "node_netstat_IpExt_OutOctets", 2786264347);
	cl_expect(f, "node_netstat_Icmp6_OutMsgs", 8);
	cl_expect(f, "node_netstat_UdpLite6_InErrors", 0);
	cl_expect_none(f, "node_netstat_Tcp_MaxConn");
	cl_expect_none(f, "node_netstat_Icmp6_InType134");
	cl_expect(f, "node_sockstat_sockets_used", 229);
	cl_expect(f, "node_sockstat_TCP_mem", 1);
	cl_expect(f, "node_sockstat_TCP_mem_bytes", 4096);
	cl_expect(f, "node_sockstat_FRAG6_memory", 0);
	cl_expect(f, "node_sockstat_TCP6_inuse", 17);
	cl_free(f);
}

static void disks_and_mounts(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);
	const char *my_data = "{device=\"/dev/sdb\",fstype=\"xfs\",mountpoint=\"/srv/my data\"}";
	char series[256];
	double v = 0;

	(void)state;
	cl_open(f, NULL);
	cl_sample(f);
	cl_expect(f, "node_disk_read_bytes_total{device=\"sda\"}", 1003346126.0 * 512);
	cl_expect(f, "node_disk_io_now{device=\"nvme0n1\"}", 3);
	cl_expect(f, "node_disk_discard_time_seconds_total{device=\"sda\"}", 11130 * 1e-3);
	cl_expect(f, "node_disk_flush_requests_time_seconds_total{device=\"sda\"}", 1944 * 1e-3);
	cl_expect_none(f, "node_disk_io_now{device=\"sda1\"}");
	cl_expect_none(f, "node_disk_io_now{device=\"loop0\"}");
	/* kernels before 4.18 have 11 columns, before 5.5 15 */
	cl_expect(f, "node_disk_io_time_weighted_seconds_total{device=\"sdb\"}", 67070 * 1e-3);
	cl_expect_none(f, "node_disk_discards_completed_total{device=\"sdb\"}");
	cl_expect(f, "node_disk_discard_time_seconds_total{device=\"nvme0n1\"}", 14 * 1e-3);
	cl_expect_none(f, "node_disk_flush_requests_total{device=\"nvme0n1\"}");
	cl_expect(f,
		"node_disk_info{device=\"sda\",major=\"8\",minor=\"0\",model=\"EXAMPLE_DISK_4TB\","
		"path=\"pci-0000:00:1f.2-ata-1\",revision=\"0001\",serial=\"EX123=456\","
		"wwn=\"0x5000000000000001\"}",
		1);
	cl_expect(f,
		"node_disk_info{device=\"nvme0n1\",major=\"259\",minor=\"0\",model=\"\",path=\"\","
		"revision=\"\",serial=\"\",wwn=\"\"}",
		1);
	cl_expect(f, "node_disk_ata_rotation_rate_rpm{device=\"sda\"}", 7200);
	cl_expect(f,
		"node_disk_device_mapper_info{device=\"dm-0\",lv_layer=\"\",lv_name=\"root\","
		"name=\"vg-root\",uuid=\"LVM-abcdef\",vg_name=\"vg\"}",
		1);

	snprintf(series, sizeof(series), "node_filesystem_readonly%s", my_data);
	cl_expect(f, series, 1);
	snprintf(series, sizeof(series), "node_filesystem_device_error%s", my_data);
	cl_expect(f, series, 0);
	snprintf(series, sizeof(series), "node_filesystem_size_bytes%s", my_data);
	assert_true(cl_has(f, series, &v) && v > 0);
	/* \011 is a tab; "roll" is not "ro" */
	cl_expect(f,
		"node_filesystem_readonly{device=\"tmpfs\",fstype=\"tmpfs\",mountpoint=\"/tmp/"
		"a\ttab\"}",
		0);
	/* not there: an error, and nothing else is said */
	cl_expect(f,
		"node_filesystem_device_error{device=\"nas:/export\",fstype=\"nfs4\","
		"mountpoint=\"/backup\"}",
		1);
	cl_expect_none(f, "node_filesystem_size_bytes{device=\"nas:/export\",fstype=\"nfs4\","
			  "mountpoint=\"/backup\"}");
	assert_int_equal(cl_count(f, "node_filesystem_device_error"), 4);
	cl_free(f);
}

static void process_states(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);

	(void)state;
	cl_open(f, "processes");
	cl_sample(f);
	cl_expect(f, "node_processes_pids", 6);
	cl_expect(f, "node_processes_threads", 8);
	cl_expect(f, "node_processes_max_threads", 7801);
	cl_expect(f, "node_processes_max_processes", 32768);
	cl_expect(f, "node_processes_state{state=\"S\"}", 2);
	cl_expect(f, "node_processes_state{state=\"D\"}", 1); /* ") R (" is a name */
	cl_expect(f, "node_processes_state{state=\"R\"}", 1); /* "a b c) S 1 2" too */
	cl_expect(f, "node_processes_state{state=\"Z\"}", 1);
	cl_expect(f, "node_processes_state{state=\"T\"}", 0);
	cl_expect(f, "node_processes_threads_state{thread_state=\"D\"}", 2);
	cl_expect(f, "node_processes_threads_state{thread_state=\"R\"}", 2);
	cl_expect(f, "node_processes_threads_state{thread_state=\"S\"}", 2);

	/* read again after processes_interval only */
	tree_print(
		&f->tree, "proc/1/stat", "1 (init) t 1 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 22\n");
	for (int i = 0; i < 4; i++) {
		cl_sample(f);
		cl_expect(f, "node_processes_state{state=\"S\"}", 2);
		cl_expect_none(f, "node_processes_state{state=\"t\"}");
	}
	cl_sample(f);
	cl_expect(f, "node_processes_state{state=\"S\"}", 1);
	cl_expect(f, "node_processes_state{state=\"t\"}", 1);
	/* a state once seen stays */
	tree_remove(&f->tree, "proc/1");
	cl_advance(f, 5 * LT_NS_PER_S);
	cl_sample(f);
	cl_expect(f, "node_processes_pids", 5);
	cl_expect(f, "node_processes_state{state=\"t\"}", 0);
	cl_free(f);
}

/* Descriptors of this process that lead to a file of /proc/<pid>. */
static unsigned open_files_of(pid_t pid)
{
	char link[300], target[300], prefix[32];
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	assert_non_null(d);
	snprintf(prefix, sizeof(prefix), "/proc/%d/", (int)pid);
	while ((e = readdir(d))) {
		ssize_t len;

		snprintf(link, sizeof(link), "/proc/self/fd/%s", e->d_name);
		len = readlink(link, target, sizeof(target) - 1);
		if (len < 0)
			continue;
		target[len] = '\0';
		n += strncmp(target, prefix, strlen(prefix)) == 0;
	}
	closedir(d);
	return n;
}

/* The real /proc: files of a process stay open while it lives, and no longer. */
static void ended_processes_are_let_go(void **state)
{
	struct cl_fixture *f = cl_new(NULL);
	pid_t pid[2];
	double v = 0;

	(void)state;
	f->conf.procfs = (char *)"/proc";
	f->conf.processes_interval_ms = 100;
	cl_open(f, "processes");
	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL); /* should this test fail */
			pause();
			_exit(0);
		}
		assert_true(pid[i] > 0);
	}
	cl_sample(f);
	cl_sample(f);
	assert_true(cl_has(f, "node_processes_pids", &v) && v >= 3);
	kill(pid[0], SIGKILL);
	assert_int_equal(waitpid(pid[0], NULL, 0), pid[0]);
	cl_sample(f);
	assert_int_equal(open_files_of(pid[0]), 0);
	assert_true(cl_has(f, "node_processes_pids", &v) && v >= 2);
	/* one that is gone when its turn comes is no error */
	kill(pid[1], SIGKILL);
	assert_int_equal(waitpid(pid[1], NULL, 0), pid[1]);
	cl_sample(f);
	assert_int_equal(open_files_of(pid[1]), 0);
	assert_int_equal(lt_collectors_errors(f->cs, "processes"), 0);
	cl_free(f);
}

static void more_processes_than_stay_open(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);

	(void)state;
	cl_open(f, "processes");
	f->conf.processes_interval_ms = 100;
	for (int i = 1000; i < 1600; i++) {
		char path[64];

		snprintf(path, sizeof(path), "proc/%d/stat", i);
		tree_print(
			&f->tree, path, "%d (p) T 1 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 22\n", i);
	}
	for (int round = 0; round < 3; round++) {
		cl_sample(f);
		cl_expect(f, "node_processes_state{state=\"T\"}", 600);
		cl_expect(f, "node_processes_pids", 606);
		cl_expect(f, "node_processes_threads_state{thread_state=\"D\"}", 2);
	}
	for (int i = 1000; i < 1500; i++) {
		char path[64];

		snprintf(path, sizeof(path), "proc/%d", i);
		tree_remove(&f->tree, path);
	}
	cl_sample(f);
	cl_expect(f, "node_processes_state{state=\"T\"}", 100);
	cl_free(f);
}

static void sensors(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);
	double v = 0;

	(void)state;
	cl_open(f, NULL);
	cl_sample(f);
#define CORE "{chip=\"platform_coretemp_0\",sensor="
#define NCT  "{chip=\"platform_nct6775_656\",sensor="
	cl_expect(f, "node_hwmon_temp_celsius" CORE "\"temp1\"}", 55);
	cl_expect(f, "node_hwmon_temp_crit_celsius" CORE "\"temp1\"}", 100);
	cl_expect(f, "node_hwmon_temp_crit_alarm_celsius" CORE "\"temp1\"}", 0);
	cl_expect(f, "node_hwmon_temp_alarm" CORE "\"temp2\"}", 1);
	cl_expect(f, "node_hwmon_temp_type" CORE "\"temp2\"}", 1);
	cl_expect_none(f, "node_hwmon_temp_celsius" CORE "\"temp3\"}"); /* no number in it */
	cl_expect(f,
		"node_hwmon_sensor_label{chip=\"platform_coretemp_0\",label=\"Core "
		"0\",sensor=\"temp2\"}",
		1);
	cl_expect(
		f, "node_hwmon_chip_names{chip=\"platform_nct6775_656\",chip_name=\"nct6779\"}", 1);
	cl_expect(f, "node_hwmon_fan_rpm" NCT "\"fan1\"}", 1098);
	cl_expect(f, "node_hwmon_fan_target_rpm" NCT "\"fan1\"}", 900); /* fan01_target */
	cl_expect(f, "node_hwmon_fan_pulses" NCT "\"fan1\"}", 2);
	cl_expect(f, "node_hwmon_fan_beep_enabled" NCT "\"fan1\"}", 1);
	cl_expect(f, "node_hwmon_in_max_volts" NCT "\"in0\"}", 1744 * 0.001);
	cl_expect(f, "node_hwmon_cpu_vid_volts" NCT "\"cpu0\"}", 1200 * 0.001);
	cl_expect(f, "node_hwmon_pwm" NCT "\"pwm1\"}", 94);
	cl_expect(f, "node_hwmon_beep_enabled" NCT "\"beep_enable0\"}", 1);
	cl_expect(f, "node_hwmon_voltage_regulator_version" NCT "\"vrm0\"}", 85);
	cl_expect(f, "node_hwmon_update_interval_seconds" NCT "\"update_interval0\"}", 2);
	cl_expect(f, "node_hwmon_power_average_interval_seconds" NCT "\"power1\"}", 1);
	cl_expect(f, "node_hwmon_power_average_watt" NCT "\"power1\"}", 25);
	cl_expect(f, "node_hwmon_power_accuracy" NCT "\"power1\"}", 0.095);
	cl_expect(f, "node_hwmon_energy_joule_total" NCT "\"energy1\"}", 987.654321);
	cl_expect(f, "node_hwmon_humidity" NCT "\"humidity1\"}", 45123 / 1000000.0);
	/* a bare file beside _input */
	cl_expect(f, "node_hwmon_temp_celsius" NCT "\"temp1\"}", 31);
	cl_expect(f, "node_hwmon_temp_input_celsius" NCT "\"temp1\"}", 32);
	/* no device: by its name */
	cl_expect(f, "node_hwmon_temp_celsius{chip=\"my_chip\",sensor=\"temp1\"}", -5.5);
	cl_expect(f, "node_thermal_zone_temp{type=\"acpitz\",zone=\"10\"}", -2.3);
	cl_expect(f, "node_cooling_device_cur_state{name=\"1\",type=\"intel_powerclamp\"}", -1);
	cl_expect(f, "node_cooling_device_max_state{name=\"0\",type=\"Processor\"}", 3);

	/* a sensor that fails keeps its place; at the next look it is gone */
	tree_remove(&f->tree, "sys/class/thermal/thermal_zone0/temp");
	tree_write(&f->tree, "sys/class/thermal/thermal_zone2/temp", "", 0);
	tree_print(&f->tree, "sys/devices/platform/nct6775.656/hwmon/hwmon1/fan1_input", "broken");
	lt_collectors_free(f->cs);
	cl_open(f, NULL);
	cl_sample(f);
	cl_expect_none(f, "node_thermal_zone_temp{type=\"x86_pkg_temp\",zone=\"0\"}");
	assert_true(
		cl_has(f, "node_thermal_zone_temp{type=\"acpitz\",zone=\"2\"}", &v) && isnan(v));
	cl_expect_none(f, "node_hwmon_fan_rpm" NCT "\"fan1\"}");
	tree_print(&f->tree, "sys/devices/platform/nct6775.656/hwmon/hwmon1/fan1_input", "77\n");
	tree_print(&f->tree, "sys/class/thermal/thermal_zone2/temp", "1000\n");
	cl_advance(f, LT_COLLECT_RESCAN_NS);
	cl_sample(f);
	cl_expect(f, "node_hwmon_fan_rpm" NCT "\"fan1\"}", 77);
	cl_expect(f, "node_thermal_zone_temp{type=\"acpitz\",zone=\"2\"}", 1);
	tree_print(&f->tree, "sys/devices/platform/nct6775.656/hwmon/hwmon1/fan1_input", "x\n");
	cl_sample(f);
	assert_true(cl_has(f, "node_hwmon_fan_rpm" NCT "\"fan1\"}", &v) && isnan(v));
	cl_free(f);
}

static void all_is_in_the_table(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);

	(void)state;
	cl_open(f, NULL);
	cl_sample(f);
	assert_true(f->e.n > 250);
	for (uint32_t i = 0; i < f->e.n; i++) {
		const struct lt_series *s = &f->e.shape->series[i];
		const struct lt_metric *m = lt_collectors_find_metric(s->name);

		if (!m)
			fail_msg("%s is not in the table of its collector", s->name);
		if (m->kind != s->kind)
			fail_msg("%s: kind %d, in the table %d", s->name, s->kind, m->kind);
	}
	for (size_t i = 0; lt_collectors_all[i]; i++)
		for (size_t m = 0; m < lt_collectors_all[i]->n_metrics; m++)
			assert_true(lt_collectors_all[i]->metrics[m].help[0]);
	cl_free(f);
}

static void list_names_what_the_machine_has(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	cl_open(f, NULL);
	lt_collectors_list(f->cs, out);
	fclose(out);
	cl_sample(f);
	for (uint32_t i = 0; i < f->e.n; i++) {
		char line[200];

		snprintf(line, sizeof(line), "\n%s ", f->e.shape->series[i].name);
		if (!strstr(text, line))
			fail_msg("%s is not listed", f->e.shape->series[i].name);
	}
	assert_non_null(strstr(text, "gauge    Memory information field MemTotal_bytes.\n"));
	free(text);
	cl_free(f);
}

/* ---- what changes while it runs ---- */

static void interfaces_and_disks_come_and_go(void **state)
{
	static const char head[] = "Inter-|   Receive  |  Transmit\n face |bytes |bytes\n";
	struct cl_fixture *f = cl_new(CL_SERVER);

	(void)state;
	cl_open(f, NULL);
	cl_sample(f);
	tree_print(&f->tree, "proc/net/dev", "%s%s", head,
		" veth1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
		"  eth0: 2 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
	tree_print(&f->tree, "sys/class/net/veth1/statistics/rx_nohandler", "5\n");
	tree_print(&f->tree, "proc/diskstats",
		" 8 0 sda 1 1 1 1 1 1 1 1 7 1 1\n 8 32 sdc 1 1 1 1 1 1 1 1 8 1 1\n");
	cl_sample(f);
	cl_expect(f, "node_network_receive_bytes_total{device=\"veth1\"}", 1);
	cl_expect(f, "node_network_receive_nohandler_total{device=\"veth1\"}", 5);
	cl_expect(f, "node_network_receive_bytes_total{device=\"eth0\"}", 2);
	cl_expect_none(f, "node_network_receive_bytes_total{device=\"docker0\"}");
	cl_expect(f, "node_disk_io_now{device=\"sda\"}", 7);
	cl_expect(f, "node_disk_io_now{device=\"sdc\"}", 8);
	assert_int_equal(cl_count(f, "node_disk_io_now"), 2);
	/* sdc under the number that sda had */
	tree_print(&f->tree, "proc/diskstats", " 8 0 sdc 1 1 1 1 1 1 1 1 9 1 1\n");
	tree_print(&f->tree, "proc/net/dev", "%s", head);
	cl_sample(f);
	cl_expect(f, "node_disk_io_now{device=\"sdc\"}", 9);
	assert_int_equal(cl_count(f, "node_disk_info{device=\"sdc\",major=\"8\",minor=\"0\""), 1);
	assert_int_equal(cl_count(f, "node_disk_io_now"), 1);
	assert_int_equal(cl_count(f, "node_network_"), 0);
	assert_int_equal(lt_collectors_errors(f->cs, "netdev"), 0);
	cl_free(f);
}

static void cpu_counters(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);
	const char *idle = "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}";
	const char *user = "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"}";

	(void)state;
	cl_open(f, "cpu");
	tree_print(&f->tree, "proc/stat", "cpu 1\ncpu0 500 0 0 10000 0\ncpu1 1 1 1 1\n");
	cl_sample(f);
	cl_expect(f, idle, 100);
	/* slips back a little: what was shown stays */
	tree_print(&f->tree, "proc/stat", "cpu 1\ncpu0 499 0 0 9900 0\n");
	cl_sample(f);
	cl_expect(f, idle, 100);
	cl_expect(f, user, 5);
	cl_expect_none(f, "node_cpu_seconds_total{cpu=\"1\",mode=\"user\"}");
	/* by 3 s: it begins anew */
	tree_print(&f->tree, "proc/stat", "cpu 1\ncpu0 3 0 0 200 0\ncpu1 7 1 1 1\n");
	cl_sample(f);
	cl_expect(f, idle, 2);
	cl_expect(f, user, 0.03);
	cl_expect(f, "node_cpu_seconds_total{cpu=\"1\",mode=\"user\"}", 0.07);
	/* many, in another order, one twice */
	tree_print(&f->tree, "proc/stat", "cpu 1\ncpu10 1 0 0 1\ncpu1 8 0 0 1\ncpu1 9 0 0 1\n");
	cl_sample(f);
	cl_expect(f, "node_cpu_seconds_total{cpu=\"1\",mode=\"user\"}", 0.08);
	cl_expect(f, "node_cpu_seconds_total{cpu=\"10\",mode=\"idle\"}", 0.01);
	assert_int_equal(cl_count(f, "node_cpu_seconds_total"), 16);
	cl_free(f);
}

static void mounts_change(void **state)
{
	struct cl_fixture *f = cl_new(CL_SERVER);

	(void)state;
	cl_open(f, "filesystem");
	cl_sample(f);
	tree_print(&f->tree, "proc/1/mounts",
		"/dev/a / ext4 ro,x 0 0\n"
		"a\\134040b\\012 /tmp/a\\011tab tmpfs rw 0 0\n"
		"none /no\\134such\\040dir tmpfs rw 0 0\n");
	cl_sample(f);
	cl_expect(f, "node_filesystem_readonly{device=\"/dev/a\",fstype=\"ext4\",mountpoint=\"/\"}",
		1);
	cl_expect(f,
		"node_filesystem_device_error{device=\"none\",fstype=\"tmpfs\","
		"mountpoint=\"/no\\\\such dir\"}",
		1);
	assert_int_equal(cl_count(f, "node_filesystem_device_error"), 3);
	/* hidepid: only our own mounts can be read */
	tree_remove(&f->tree, "proc/1");
	tree_print(&f->tree, "proc/mounts", "/dev/own / ext4 rw 0 0\n");
	lt_collectors_free(f->cs);
	cl_open(f, "filesystem");
	cl_sample(f);
	cl_expect(f,
		"node_filesystem_readonly{device=\"/dev/own\",fstype=\"ext4\",mountpoint=\"/\"}",
		0);
	cl_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(proc_files),
		cmocka_unit_test(network_files),
		cmocka_unit_test(disks_and_mounts),
		cmocka_unit_test(process_states),
		cmocka_unit_test(ended_processes_are_let_go),
		cmocka_unit_test(more_processes_than_stay_open),
		cmocka_unit_test(sensors),
		cmocka_unit_test(all_is_in_the_table),
		cmocka_unit_test(list_names_what_the_machine_has),
		cmocka_unit_test(interfaces_and_disks_come_and_go),
		cmocka_unit_test(cpu_counters),
		cmocka_unit_test(mounts_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
