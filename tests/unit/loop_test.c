/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../lib/core/ready.h"
#include "../../lib/core/sd_notify.h"
#include "latido/admin.h"
#include "latido/clock.h"
#include "latido/daemon.h"
#include "latido/log.h"
#include "latido/loop.h"
#include "latido/stats.h"

static struct lt_loop loop;

static int setup(void **state)
{
	struct lt_err err;

	(void)state;
	return lt_loop_init(&loop, &err);
}

static int teardown(void **state)
{
	(void)state;
	lt_loop_fini(&loop);
	return 0;
}

/* ---- timers and wakers ---- */

static char order[8];

static void note(void *arg)
{
	strncat(order, arg, sizeof(order) - strlen(order) - 1);
	if (strlen(order) == 2)
		lt_loop_stop(&loop);
}

static void timers_fire_in_order_of_their_time(void **state)
{
	struct lt_timer a, b, c;

	(void)state;
	lt_timer_init(&a, &loop, note, (char[]){"a"});
	lt_timer_init(&b, &loop, note, (char[]){"b"});
	lt_timer_init(&c, &loop, note, (char[]){"c"});
	lt_timer_start_ns(&a, 30 * LT_NS_PER_MS);
	lt_timer_start_ns(&b, -5);
	lt_timer_start_ns(&c, LT_NS_PER_MS);
	assert_true(lt_timer_pending(&c));
	lt_timer_stop(&c);
	assert_false(lt_timer_pending(&c));
	lt_loop_run(&loop);
	assert_string_equal(order, "ba");
	lt_timer_fini(&a);
	lt_timer_fini(&b);
	lt_timer_fini(&c);
	lt_timer_fini(&c);
}

#define WAKES 20000
static struct lt_waker waker;
static _Atomic int produced;
static int seen;

static void *produce(void *arg)
{
	(void)arg;
	for (int i = 0; i < WAKES; i++) {
		atomic_fetch_add(&produced, 1);
		lt_waker_wake(&waker);
	}
	return NULL;
}

static void on_wake(void *arg)
{
	(void)arg;
	seen = atomic_load(&produced);
	if (seen == 2 * WAKES)
		lt_loop_stop(&loop);
}

static void waker_never_misses_the_last_wake(void **state)
{
	pthread_t threads[2];
	struct lt_err err;

	(void)state;
	assert_int_equal(lt_waker_init(&waker, &loop, on_wake, NULL, &err), LT_OK);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, produce, NULL), 0);
	lt_loop_run(&loop);
	assert_int_equal(seen, 2 * WAKES);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	lt_waker_fini(&waker);
	lt_waker_fini(&waker);
}

/* ---- the admin listener ---- */

struct client {
	int port;
	const char *request;
	char answer[65536];
};

static void *fetch(void *arg)
{
	struct client *c = arg;
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->port)};
	size_t len = 0;
	ssize_t n;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0 &&
		write(fd, c->request, strlen(c->request)) > 0)
		while (len < sizeof(c->answer) - 1 &&
			(n = read(fd, c->answer + len, sizeof(c->answer) - 1 - len)) > 0)
			len += (size_t)n;
	c->answer[len] = '\0';
	close(fd);
	lt_waker_wake(&waker);
	return NULL;
}

static void stop_loop(void *arg)
{
	(void)arg;
	lt_loop_stop(&loop);
}

static const char *get(struct client *c, const char *request)
{
	struct lt_err err;
	pthread_t thread;

	c->request = request;
	assert_int_equal(lt_waker_init(&waker, &loop, stop_loop, NULL, &err), LT_OK);
	assert_int_equal(pthread_create(&thread, NULL, fetch, c), 0);
	lt_loop_run(&loop);
	pthread_join(thread, NULL);
	lt_waker_fini(&waker);
	return c->answer;
}

#define GET(path) "GET " path " HTTP/1.0\r\n\r\n"

static void admin_answers(void **state)
{
	static struct lt_counter n = {7};
	static const struct lt_stat table[] = {
		{"t_total", LT_STAT_COUNTER, NULL, "Help.", &n, NULL}};
	struct client *c = calloc(1, sizeof(*c));
	char *large = malloc(20001);
	struct lt_err err = {0};
	struct lt_admin *a;

	(void)state;
	a = lt_admin_new(&loop, "127.0.0.1:0", &err);
	assert_non_null(a);
	c->port = lt_admin_port(a);
	lt_stats_add(table, 1);
	lt_ready_reset(NULL);
	lt_ready_set("mqtt", true, NULL);
	assert_non_null(strstr(get(c, GET("/readyz")), "200 OK"));
	lt_ready_set("redis", false, "refused \"x\"");
	assert_non_null(strstr(get(c, GET("/readyz")), "503 Service Unavailable"));
	assert_non_null(
		strstr(c->answer, "{\"ready\":false,\"mqtt\":{\"ready\":true},"
				  "\"redis\":{\"ready\":false,\"reason\":\"refused \\\"x\\\"\"}}"));
	assert_non_null(strstr(get(c, GET("/healthz")), "\r\n\r\nok\n"));
	assert_non_null(strstr(get(c, GET("/metrics")), "\nt_total 7\n"));
	assert_non_null(strstr(get(c, GET("/version")), lt_daemon_version()));
	assert_non_null(strstr(get(c, GET("/../etc/passwd")), "404"));
	assert_null(strstr(
		get(c, "POST /metrics HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"), "t_total"));
	memset(large, 'a', 20000);
	memcpy(large, "GET /", 5);
	memcpy(large + 19980, " HTTP/1.0\r\n\r\n", 14);
	assert_null(strstr(get(c, large), "200 OK"));
	lt_admin_free(a);
	lt_stats_clear();
	lt_ready_reset(NULL);
	free(large);
	free(c);
}

static void admin_refuses_bad_addresses(void **state)
{
	static const char *const bad[] = {"", "localhost", "127.0.0.1", "127.0.0.1:", "[::1]",
		"1.2.3.4.5:80", "127.0.0.1:99999", "name:80"};
	struct lt_err err = {0};
	struct lt_admin *a;
	char address[32];

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(bad); i++) {
		assert_null(lt_admin_new(&loop, bad[i], &err));
		assert_int_equal(err.cls, LT_CLS_CONFIG);
	}
	a = lt_admin_new(&loop, "127.0.0.1:0", &err);
	snprintf(address, sizeof(address), "127.0.0.1:%d", lt_admin_port(a));
	assert_null(lt_admin_new(&loop, address, &err));
	assert_non_null(strstr(err.msg, "in use"));
	assert_non_null(strstr(err.msg, address));
	lt_admin_free(a);
}

/* ---- logs and the service manager ---- */

static char captured[8192];

static void capture(void (*fn)(void))
{
	int pipes[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe(pipes), 0);
	fflush(stderr);
	dup2(pipes[1], STDERR_FILENO);
	fn();
	dup2(saved, STDERR_FILENO);
	close(pipes[1]);
	n = read(pipes[0], captured, sizeof(captured) - 1);
	captured[n < 0 ? 0 : n] = '\0';
	close(pipes[0]);
	close(saved);
}

static void write_logs(void)
{
	lt_log_setup("test", LT_INFO, LT_LOG_LOGFMT);
	lt_log(LT_INFO, "plain");
	lt_log(LT_DEBUG, "hidden");
	lt_log(LT_WARN, "typed", LT_S("s", "two words"), LT_S("e", ""), LT_S("q", "a\"b"),
		LT_S("null", NULL), LT_I("i", -3), LT_U("u", 18446744073709551615u),
		LT_F("f", 0.5));
	lt_log_setup("test", LT_DEBUG, LT_LOG_JSON);
	lt_log(LT_DEBUG, "json", LT_S("s", "a\nb"), LT_I("i", 1));
}

static void log_lines_are_logfmt_or_json(void **state)
{
	(void)state;
	lt_clock_fake(true, 0, 0);
	capture(write_logs);
	lt_clock_fake(false, 0, 0);
	lt_log_setup("test", LT_INFO, LT_LOG_LOGFMT);
	assert_string_equal(captured,
		"ts=1970-01-01T00:00:00.000Z level=info comp=test id=plain\n"
		"ts=1970-01-01T00:00:00.000Z level=warn comp=test id=typed s=\"two words\" e=\"\" "
		"q=\"a\\\"b\" null=- i=-3 u=18446744073709551615 f=0.5\n"
		"{\"ts\":\"1970-01-01T00:00:00.000Z\",\"level\":\"debug\",\"comp\":\"test\","
		"\"id\":\"json\",\"s\":\"a\\nb\",\"i\":1}\n");
}

static void complain_often(void)
{
	struct lt_complaint c = {0};

	for (int i = 0; i < 100; i++) {
		lt_clock_fake(true, i * LT_NS_PER_S, 0);
		lt_complain(&c, LT_WARN, "again", LT_I("i", i));
	}
	lt_release(&c, "better");
	lt_release(&c, "better");
}

/* A trouble that comes and goes once a second for 70 seconds. */
static void flap(void)
{
	struct lt_complaint c = {0};

	for (int i = 0; i < 70; i++) {
		lt_clock_fake(true, i * LT_NS_PER_S, 0);
		lt_complain(&c, LT_WARN, "lost", LT_I("i", i));
		lt_release(&c, "back");
	}
}

static void flapping_is_damped(void **state)
{
	(void)state;
	capture(flap);
	lt_clock_fake(false, 0, 0);
	assert_string_equal(captured,
		"ts=1970-01-01T00:00:00.000Z level=warn comp=test id=lost i=0\n"
		"ts=1970-01-01T00:00:00.000Z level=info comp=test id=back after=1\n"
		"ts=1970-01-01T00:00:00.000Z level=warn comp=test id=lost i=1\n"
		"ts=1970-01-01T00:00:00.000Z level=info comp=test id=back after=1\n"
		"ts=1970-01-01T00:00:00.000Z level=warn comp=test id=lost i=2\n"
		"ts=1970-01-01T00:00:00.000Z level=info comp=test id=back after=1\n"
		"ts=1970-01-01T00:00:00.000Z level=warn comp=test id=lost i=60 repeated=58\n"
		"ts=1970-01-01T00:00:00.000Z level=info comp=test id=back after=1\n"
		"ts=1970-01-01T00:00:00.000Z level=warn comp=test id=lost i=61\n"
		"ts=1970-01-01T00:00:00.000Z level=info comp=test id=back after=1\n"
		"ts=1970-01-01T00:00:00.000Z level=warn comp=test id=lost i=62\n"
		"ts=1970-01-01T00:00:00.000Z level=info comp=test id=back after=1\n");
}

static void complaints_are_damped(void **state)
{
	(void)state;
	capture(complain_often);
	lt_clock_fake(false, 0, 0);
	assert_string_equal(captured,
		"ts=1970-01-01T00:00:00.000Z level=warn comp=test id=again i=0\n"
		"ts=1970-01-01T00:00:00.000Z level=warn comp=test id=again i=60 repeated=60\n"
		"ts=1970-01-01T00:00:00.000Z level=info comp=test id=better after=100\n");
}

static void service_manager_is_told(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/latido-test-XXXXXX", text[64];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ssize_t n;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/notify", dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	unsetenv("NOTIFY_SOCKET");
	lt_sd_notify("READY=1"); /* nobody to tell: nothing happens */
	setenv("NOTIFY_SOCKET", sun.sun_path, 1);
	lt_sd_notify("STATUS=%d", 5);
	n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
	assert_int_equal(n, 8);
	assert_memory_equal(text, "STATUS=5", 8);
	setenv("WATCHDOG_USEC", "3000000", 1);
	assert_int_equal(lt_sd_watchdog_us(), 3000000);
	setenv("WATCHDOG_PID", "1", 1);
	assert_int_equal(lt_sd_watchdog_us(), 0);
	close(fd);
	unlink(sun.sun_path);
	lt_sd_notify("READY=1"); /* the manager is gone: no harm */
	rmdir(dir);
	unsetenv("NOTIFY_SOCKET");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_in_order_of_their_time),
		cmocka_unit_test(waker_never_misses_the_last_wake),
		cmocka_unit_test(admin_answers),
		cmocka_unit_test(admin_refuses_bad_addresses),
		cmocka_unit_test(log_lines_are_logfmt_or_json),
		cmocka_unit_test(complaints_are_damped),
		cmocka_unit_test(flapping_is_damped),
		cmocka_unit_test(service_manager_is_told),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
