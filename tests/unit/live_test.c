/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "../../consumers/live/http_parse.h"
#include "../../consumers/live/hub.h"
#include "../../consumers/live/sessions.h"
#include "../../consumers/live/users.h"
#include "latido/clock.h"
#include "latido/fleet.h"

/* ---- requests ---- */

static int parse(const char *text, struct http_head *h, char buf[HTTP_HEAD_MAX])
{
	size_t used;

	snprintf(buf, HTTP_HEAD_MAX, "%s", text);
	return http_parse_head(buf, strlen(buf), h, &used);
}

static void test_request(void **state)
{
	char buf[HTTP_HEAD_MAX];
	struct http_head h;

	(void)state;
	assert_int_equal(parse("GET /a%20b/c%2Fd?x=1&y HTTP/1.1\r\nHOST:  x:80 \r\nA:b\r\n\r\nrest",
				 &h, buf),
		200);
	assert_string_equal(h.path, "/a b/c/d");
	assert_string_equal(h.query, "x=1&y");
	assert_string_equal(h.host, "x:80");
	assert_string_equal(http_header(&h, "a"), "b");
	assert_null(http_header(&h, "c"));
	assert_true(h.keep_alive);
	assert_int_equal(parse("HEAD / HTTP/1.0\r\nHost: x\r\n\r\n", &h, buf), 200);
	assert_false(h.keep_alive);
	assert_int_equal(h.method, HTTP_HEAD);
	assert_int_equal(
		parse("GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n", &h, buf), 200);
	assert_false(h.keep_alive);
	assert_int_equal(
		parse("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 007\r\n\r\n", &h, buf), 200);
	assert_int_equal(h.body_bytes, 7);
}

static void test_pieces_are_waited_for(void **state)
{
	static const char whole[] = "GET /x HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n";
	char buf[HTTP_HEAD_MAX];
	struct http_head h;
	size_t used;

	(void)state;
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		memcpy(buf, whole, n);
		assert_int_equal(http_parse_head(buf, n, &h, &used), 0);
	}
}

static void test_cookies(void **state)
{
	char out[8];

	(void)state;
	assert_true(http_cookie("a=1; b=2;c=3", "b", out, sizeof(out)));
	assert_string_equal(out, "2");
	assert_true(http_cookie("b=", "b", out, sizeof(out)));
	assert_string_equal(out, "");
	assert_false(http_cookie("xb=2", "b", out, sizeof(out)));
	assert_false(http_cookie("b=1; b=2", "b", out, sizeof(out))); /* which one? */
	assert_false(http_cookie("b=12345678", "b", out, sizeof(out)));
	assert_false(http_cookie(NULL, "b", out, sizeof(out)));
}

static void test_parameters(void **state)
{
	struct http_params p = {0};

	(void)state;
	assert_true(http_params_parse(&p, "a=1&a=2&b=x+y%3D%26&c&&d=", 25));
	assert_string_equal(http_param(&p, "a", 1), "2");
	assert_null(http_param(&p, "a", 2));
	assert_string_equal(http_param(&p, "b", 0), "x y=&");
	assert_string_equal(http_param(&p, "c", 0), "");
	assert_string_equal(http_param(&p, "d", 0), "");
	http_params_fini(&p);
	for (size_t i = 0; i < 4; i++) {
		static const char *const bad[] = {"a=%", "a=%0", "a=%00", "a=%ff"};

		assert_false(http_params_parse(&p, bad[i], strlen(bad[i])));
		http_params_fini(&p);
	}
}

static void test_times(void **state)
{
	static const char *const bad_times[] = {
		"", "x", "-1", "1e99", "inf", "0x10", "2026-13-01T00:00:00Z"};
	static const char *const bad_durations[] = {"", "x", "-1", "5q", "1m30", "nan"};
	int64_t ms;

	(void)state;
	assert_true(http_time_ms("1.5", &ms));
	assert_int_equal(ms, 1500);
	assert_true(http_time_ms("2026-11-21T05:00:00.250Z", &ms));
	assert_int_equal(ms, 1795237200250);
	for (size_t i = 0; i < LT_ARRAY_LEN(bad_times); i++)
		assert_false(http_time_ms(bad_times[i], &ms));
	assert_true(http_duration_ms("1h30m", &ms));
	assert_int_equal(ms, 5400000);
	assert_true(http_duration_ms("250ms", &ms));
	assert_int_equal(ms, 250);
	assert_true(http_duration_ms("0.5", &ms));
	assert_int_equal(ms, 500);
	for (size_t i = 0; i < LT_ARRAY_LEN(bad_durations); i++)
		assert_false(http_duration_ms(bad_durations[i], &ms));
}

static void test_content_negotiation(void **state)
{
	(void)state;
	assert_true(http_accepts("gzip, deflate, br", "br"));
	assert_true(http_accepts("br;q=1.0", "br"));
	assert_true(http_accepts("br;q=0.5", "br"));
	assert_false(http_accepts("br;q=0", "br"));
	assert_false(http_accepts("br;q=0.000", "br"));
	assert_false(http_accepts("brotli", "br"));
	assert_false(http_accepts(NULL, "br"));
	assert_true(http_etag_matches("W/\"a\", \"b\"", "\"b\""));
	assert_true(http_etag_matches("*", "\"b\""));
	assert_false(http_etag_matches("\"bb\"", "\"b\""));
	assert_false(http_etag_matches(NULL, "\"b\""));
}

/* ---- users and sessions ---- */

static void test_users_file(void **state)
{
	char folder[] = "/tmp/live-test-XXXXXX", path[64], token[TOKEN_TEXT_MAX];
	struct users u = {.path = path};
	int64_t now = lt_wall_ns();
	struct lt_err err;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/users", folder);
	assert_int_equal(users_refresh(&u, true, &err), LT_OK);
	assert_int_equal(u.n, 0);
	assert_int_equal(users_add(path, "ana", "short", &err), LT_EINVAL);
	assert_int_equal(users_add(path, "ana", "long enough", &err), LT_OK);
	assert_int_equal(users_add(path, "ana", "another one", &err), LT_OK);
	assert_int_equal(users_add_token(path, "ana", token, &err), LT_OK);
	assert_int_equal(users_refresh(&u, true, &err), LT_OK);
	assert_int_equal(u.n, 2);
	assert_true(user_verify(users_find(&u, USER_PASSWORD, "ana")->hash, "another one", 11));
	assert_false(user_verify(users_find(&u, USER_PASSWORD, "ana")->hash, "long enough", 11));
	assert_false(user_verify(NULL, "another one", 11));
	assert_string_equal(users_token(&u, USER_TOKEN, token)->name, "ana");
	token[0] ^= 1;
	assert_null(users_token(&u, USER_TOKEN, token));
	assert_null(users_token(&u, USER_TOKEN, ""));
	/* A link of the same name is something else, and ends by itself. */
	assert_int_equal(users_add_share(path, "ana", 60000, token, &err), LT_OK);
	assert_int_equal(users_refresh(&u, true, &err), LT_OK);
	assert_int_equal(u.n, 3);
	assert_null(users_token(&u, USER_TOKEN, token));
	assert_string_equal(users_token(&u, USER_SHARE, token)->name, "ana");
	assert_false(user_ended(users_find(&u, USER_SHARE, "ana")));
	lt_clock_fake(true, 1, now + 90 * LT_NS_PER_S);
	assert_true(user_ended(users_find(&u, USER_SHARE, "ana")));
	assert_false(user_ended(users_find(&u, USER_PASSWORD, "ana")));
	lt_clock_fake(false, 0, 0);
	assert_int_equal(users_remove(path, "eva", &err), LT_EINVAL);
	assert_int_equal(users_remove(path, "ana", &err), LT_OK);
	assert_int_equal(users_refresh(&u, true, &err), LT_OK);
	assert_int_equal(u.n, 0);
	users_fini(&u);
	unlink(path);
	rmdir(folder);
}

static void count_end(void *arg, uint64_t id)
{
	(void)id;
	++*(int *)arg;
}

static void test_sessions(void **state)
{
	char folder[] = "/tmp/live-test-XXXXXX", path[64], temporary[72];
	char a[SESSION_COOKIE_LEN], b[SESSION_COOKIE_LEN], c[SESSION_COOKIE_LEN];
	struct sessions s = {0}, again = {0};
	int64_t now = lt_wall_ns();
	int ended = 0;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/sessions", folder);
	sessions_load(&s, path, 1000000);
	session_new(&s, "ana", "hash", false, a);
	session_new(&s, "eva", "hash", false, b);
	assert_string_not_equal(a, b);
	assert_string_equal(session_find(&s, a)->user, "ana");
	assert_true(session_tag_matches(session_find(&s, a), "hash"));
	assert_false(session_tag_matches(session_find(&s, a), "other"));
	session_end(&s, session_find(&s, b));
	assert_null(session_find(&s, b));
	assert_null(session_find(&s, ""));
	session_new(&s, "wall", "hash", true, c);
	sessions_save(&s);
	sessions_load(&again, path, 1000000);
	assert_int_equal(again.n, 2);
	assert_false(session_find(&again, a)->share);
	assert_string_equal(session_find(&again, a)->user, "ana");
	lt_clock_fake(true, 1, now + 1001 * LT_NS_PER_S);
	assert_null(session_find(&again, a));
	sessions_expire(&again, count_end, &ended);
	assert_int_equal(ended, 1);
	assert_int_equal(again.n, 1); /* a share link's ends with the link */
	assert_true(session_find(&again, c)->share);
	lt_clock_fake(false, 0, 0);
	sessions_fini(&again);
	/* A new one is a line more; where there is no file, or an old one went, all are written. */
	session_new(&s, "eva", "hash", false, b);
	assert_false(s.dirty);
	sessions_load(&again, path, 1000000);
	assert_int_equal(again.n, 3);
	assert_string_equal(session_find(&again, b)->user, "eva");
	sessions_fini(&again);
	unlink(path);
	session_new(&s, "eva", "hash", false, b);
	assert_true(s.dirty);
	sessions_save(&s);
	session_end(&s, session_find(&s, b));
	session_new(&s, "eva", "hash", false, b);
	sessions_save(&s);
	sessions_load(&again, path, 1000000);
	assert_int_equal(again.n, 4);
	sessions_fini(&again);
	/* Who logged out while the file could not be written is not let in by the next start. */
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	assert_int_equal(mkdir(temporary, 0700), 0);
	session_end(&s, session_find(&s, b));
	sessions_save(&s);
	rmdir(temporary);
	session_new(&s, "eva", "hash", false, c);
	sessions_save(&s);
	sessions_load(&again, path, 1000000);
	assert_int_equal(again.n, 4);
	assert_null(session_find(&again, b));
	assert_non_null(session_find(&again, c));
	sessions_fini(&again);
	sessions_fini(&s);
	unlink(path);
	rmdir(folder);
}

/* Opening a link again and again ends its own sessions, and those of links before those of people. */
static void test_sessions_of_links(void **state)
{
	char ana[SESSION_COOKIE_LEN], wall[SESSION_COOKIE_LEN], first[SESSION_COOKIE_LEN];
	char cookie[SESSION_COOKIE_LEN], link[16];
	struct sessions s = {0};

	(void)state;
	sessions_load(&s, "", 1000000);
	session_new(&s, "ana", "hash", false, ana);
	session_new(&s, "door", "hash", true, cookie);
	session_find(&s, ana)->used_ms -= 5000; /* the least used of all */
	session_new(&s, "wall", "hash", true, first);
	session_find(&s, first)->used_ms -= 1000;
	for (size_t i = 1; i < SESSIONS_PER_LINK; i++)
		session_new(&s, "wall", "hash", true, wall);
	assert_non_null(session_find(&s, first));
	assert_int_equal(s.n, SESSIONS_PER_LINK + 2);
	session_new(&s, "wall", "hash", true, wall);
	assert_int_equal(s.n, SESSIONS_PER_LINK + 2);
	assert_null(session_find(&s, first));
	assert_non_null(session_find(&s, wall));
	assert_non_null(session_find(&s, cookie));
	for (size_t i = 0; i < SESSIONS_MAX; i++) {
		snprintf(link, sizeof(link), "l%zu", i / SESSIONS_PER_LINK);
		session_new(&s, link, "hash", true, cookie);
	}
	assert_int_equal(s.n, SESSIONS_MAX);
	assert_non_null(session_find(&s, cookie));
	assert_non_null(session_find(&s, ana));
	sessions_fini(&s);
}

/* The picture of the fleet has its numbers short: within half a unit of their last digit, and never as 1e5. */
static void test_short_numbers(void **state)
{
	static const struct {
		double v;
		const char *text;
	} exact[] = {{0, "0"}, {-0.0, "0"}, {1, "1"}, {-2.5, "-2.5"}, {99.96, "100"}, {0.1, "0.1"},
		{12.34, "12.3"}, {0.00123456, "0.00123"}, {999.4, "999"}, {999.6, "1000"},
		{1234, "1230"}, {123456789, "123000000"}, {-98765, "-98800"},
		{1e14, "100000000000000"}, {0.0999, "0.0999"}, {0.09999, "0.1"}};
	struct lt_buf b = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(exact) / sizeof(*exact); i++) {
		lt_buf_reset(&b);
		json_short(&b, exact[i].v, 3);
		lt_buf_char(&b, '\0');
		assert_string_equal(b.data, exact[i].text);
	}
	srand(7);
	for (int digits = 3; digits <= 6; digits++)
		for (int i = 0; i < 20000; i++) {
			double v = (rand() - RAND_MAX / 2) / (double)RAND_MAX *
				   pow(10, rand() % 22 - 5);
			double least = pow(10, floor(log10(fabs(v))) - digits + 1);

			if (fabs(v) >= 1000 && least < 1)
				least = 1; /* whole */

			lt_buf_reset(&b);
			json_short(&b, v, digits);
			lt_buf_char(&b, '\0');
			if (fabs(strtod(b.data, NULL) - v) > 0.5001 * least)
				fail_msg("%d digits of %.17g: %s", digits, v, b.data);
			if (fabs(v) >= 0.001 && fabs(v) < 1e15)
				assert_null(strchr(b.data, 'e'));
		}
	lt_buf_fini(&b);
}

static void test_limiter(void **state)
{
	struct limiter *l = limiter_new(10000);
	int64_t t = 1000 * LT_NS_PER_S;

	(void)state;
	lt_clock_fake(true, t, t);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(limiter_wait_s(l, "k", 3), 0);
		limiter_failed(l, "k");
	}
	assert_true(limiter_wait_s(l, "k", 3) > 0);
	assert_int_equal(limiter_wait_s(l, "other", 3), 0);
	limiter_forget_one(l, "k");
	assert_int_equal(limiter_wait_s(l, "k", 3), 0);
	limiter_failed(l, "k");
	lt_clock_fake(true, t + 4 * LT_NS_PER_S, t); /* a third of the window and a bit */
	assert_int_equal(limiter_wait_s(l, "k", 3), 0);
	for (int i = 0; i < 100000;
		i++) { /* many addresses do not make one forget what it knows of all */
		char key[16];

		snprintf(key, sizeof(key), "x%d", i);
		limiter_failed(l, key);
	}
	lt_clock_fake(false, 0, 0);
	limiter_free(l);
}

static int setup(void **state)
{
	(void)state;
	return sodium_init() < 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_pieces_are_waited_for),
		cmocka_unit_test(test_cookies),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_content_negotiation),
		cmocka_unit_test(test_users_file),
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_sessions_of_links),
		cmocka_unit_test(test_short_numbers),
		cmocka_unit_test(test_limiter),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
