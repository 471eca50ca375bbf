/* SPDX-License-Identifier: MIT */
/* The real agent in this machine, with and without the modules. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

#define AGENT       "/agent/latido-agent"
#define DEADLINE_NS (120 * NS_PER_S)
#define ADMIN_PORT  9501

static void set_address(int s, const char *name, const char *ip, const char *mask)
{
	struct ifreq r = {0};
	struct sockaddr_in *a = (struct sockaddr_in *)&r.ifr_addr;

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	a->sin_family = AF_INET;
	inet_pton(AF_INET, ip, &a->sin_addr);
	if (ioctl(s, SIOCSIFADDR, &r) < 0)
		die("%s: %s", name, strerror(errno));
	inet_pton(AF_INET, mask, &a->sin_addr);
	if (ioctl(s, SIOCSIFNETMASK, &r) < 0)
		die("%s: %s", name, strerror(errno));
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(s, SIOCSIFFLAGS, &r) < 0)
		die("%s: %s", name, strerror(errno));
}

void network_up(void)
{
	struct text t = {0};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int64_t deadline = now_ns() + DEADLINE_NS;
	struct stat st;

	if (stat(AGENT, &st) < 0)
		return;
	if (read_file("/mod/net.order", &t) == 0)
		for (char *p = strtok(t.p, "\n"); p; p = strtok(NULL, "\n")) {
			int e = load(p, "");

			if (e && e != EEXIST)
				die("insmod %s: %s", p, strerror(e));
		}
	free(t.p);
	while (if_nametoindex("eth0") == 0) {
		if (now_ns() > deadline)
			die("no network interface");
		nap_ms(10);
	}
	set_address(s, "lo", "127.0.0.1", "255.0.0.0");
	set_address(s, "eth0", "10.0.2.15", "255.255.255.0");
	close(s);
}

struct run {
	const char *const *argv;
	const char *out; /* file for standard output */
};

static void run_agent(void *arg)
{
	const struct run *r = arg;
	int fd = open(r->out, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	int err = open("/tmp/agent.log", O_WRONLY | O_CREAT | O_APPEND, 0644);

	dup2(fd, 1);
	dup2(err, 2);
	execv(AGENT, (char *const *)(uintptr_t)r->argv);
	_exit(127);
}

static int wait_exit(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* One snapshot with agent.kmod: @mode, to the host. */
static void send_once(const char *name, const char *mode)
{
	const char *const argv[] = {
		AGENT, "--config", "/agent/once.yaml", "--once", "--print", NULL};
	struct run r = {argv, "/tmp/once.json"};
	int code;

	setenv("LATIDO_AGENT_KMOD", mode, 1);
	code = wait_exit(child(run_agent, &r));
	unsetenv("LATIDO_AGENT_KMOD");
	if (check(code == 0, name, "exit code %d", code))
		send_file(name, "/tmp/once.json");
}

/* A value of the agent's own /metrics. Return: false: not there, or it does not answer. */
static bool agent_metric(const char *name, uint64_t *v)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(ADMIN_PORT)};
	static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";
	static char text[262144];
	size_t len = 0;
	ssize_t n;
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = false;

	inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
	if (connect(s, (struct sockaddr *)&a, sizeof(a)) == 0 &&
		write(s, request, sizeof(request) - 1) == sizeof(request) - 1) {
		while (len < sizeof(text) - 1 &&
			(n = read(s, text + len, sizeof(text) - 1 - len)) > 0)
			len += (size_t)n;
		text[len] = '\0';
		ok = number(text, name, v);
	}
	close(s);
	return ok;
}

static uint64_t wait_delivered(uint64_t more)
{
	int64_t deadline = now_ns() + DEADLINE_NS;
	uint64_t v = 0, goal = 0;

	for (;;) {
		bool there = agent_metric("latido_agent_events_delivered_total", &v);

		if (there && !goal)
			goal = v + more;
		if (there && v >= goal)
			return v;
		if (now_ns() > deadline) {
			send_file("agent.log", "/tmp/agent.log");
			die("the agent has delivered %llu events", (unsigned long long)v);
		}
		nap_ms(50);
	}
}

static void send_state(const char *when)
{
	static const char *const names[] = {"cpu", "ram", "procs", "tasks"};
	char name[64], path[64];

	for (size_t i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "agent.%s.%s", when, names[i]);
		snprintf(path, sizeof(path), "/proc/latido/%s", names[i]);
		send_file(name, path);
	}
	snprintf(name, sizeof(name), "agent.%s.meminfo", when);
	send_file(name, "/proc/meminfo");
}

void test_agent(void)
{
	const char *const argv[] = {AGENT, "--config", "/agent/agent.yaml", NULL};
	struct run r = {argv, "/tmp/agent.out"};
	struct stat st;
	pid_t pid;
	int code;

	if (stat(AGENT, &st) < 0)
		return; /* the host has put none in */
	send_once("once.on", "on");
	send_once("once.off", "off");
	send_state("before");
	pid = child(run_agent, &r);
	wait_delivered(4);
	send_state("after");
	say("NOTE delivered with modules: %llu", (unsigned long long)wait_delivered(0));
	/* Gone and back under it: the agent goes on by /proc, and comes back. */
	unload_all();
	wait_delivered(4);
	load_all();
	wait_delivered(4);
	kill(pid, SIGTERM);
	code = wait_exit(pid);
	check(code == 0, "agent_exit", "exit code %d", code);
	send_file("agent.log", "/tmp/agent.log");
}
