/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "guest.h"

static void mount_at(const char *type, const char *path, bool must)
{
	mkdir(path, 0755);
	if (mount(type, path, type, 0, NULL) < 0 && must && errno != EBUSY)
		die("mount %s: %s", path, strerror(errno));
}

static void open_result_line(void)
{
	struct termios raw;
	int fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		die("/dev/ttyS1: %s", strerror(errno));
	if (tcgetattr(fd, &raw) == 0) {
		cfmakeraw(&raw); /* files go out byte by byte as they are */
		tcsetattr(fd, TCSANOW, &raw);
	}
	out_fd = fd;
}

/* No WARN (512), oops (128) ...: only that modules from outside the tree, unsigned, were loaded. */
static void test_taint(void)
{
	struct text t = {0};
	unsigned long taint;

	if (read_file("/proc/sys/kernel/tainted", &t))
		die("/proc/sys/kernel/tainted");
	taint = strtoul(t.p, NULL, 10);
	check(taint == 12288 || taint == 4096, "taint", "it is %lu: see the kernel's log", taint);
	free(t.p);
}

static void run(void)
{
	const char *cycles = getenv("LT_CYCLES");

	if (getenv("LT_BENCH")) {
		load_all();
		bench();
		unload_all();
		return;
	}
	network_up();
	slab_baseline();
	test_parameters();
	load_all();
	children_start();
	test_cpu();
	test_ram();
	test_procs();
	test_tasks();
	test_agent();
	children_stop();
	test_open_while_unloading();
	unload_all();
	test_cycles(cycles ? (unsigned)atoi(cycles) : 100);
	test_leaks();
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	mount_at("devtmpfs", "/dev", false);
	mount_at("proc", "/proc", true);
	mount_at("sysfs", "/sys", true);
	mount_at("tmpfs", "/tmp", true);
	mount_at("tmpfs", "/run", true);
	mount_at("debugfs", "/sys/kernel/debug", false);
	mount_at("cgroup2", "/sys/fs/cgroup", true);
	open_result_line();
	say("guest is up");
	run();
	test_taint();
	say("DONE %u %u", n_passed, n_failed);
	tcdrain(out_fd);
	sync();
	reboot(RB_POWER_OFF);
	return 0;
}
