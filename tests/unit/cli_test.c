/* SPDX-License-Identifier: MIT */
/* What `latido` shows and how: text from outside, numbers, rates, order, columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the four above. */
#include <cmocka.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../consumers/cli/fleet.h"
#include "../../consumers/cli/text.h"
#include "../../consumers/cli/view.h"
#include "latido/clock.h"

static int utf8_locale(void **state)
{
	(void)state;
	setenv("LC_ALL", "C.UTF-8", 1);
	text_init();
	return 0;
}

static int c_locale(void **state)
{
	(void)state;
	setenv("LC_ALL", "C", 1);
	text_init();
	return 0;
}

static void check_clean(const char *in, size_t n, size_t columns, const char *want, size_t width)
{
	struct lt_buf b = {0};
	size_t used = text_clean(&b, in, n, columns);

	assert_string_equal(b.len ? b.data : "", want);
	assert_int_equal(used, width);
	lt_buf_fini(&b);
}

#define CLEAN(in, columns, want, width) check_clean(in, sizeof(in) - 1, columns, want, width)

static void test_clean(void **state)
{
	(void)state;
	CLEAN("worker1", SIZE_MAX, "worker1", 7);
	CLEAN("", 10, "", 0);
	CLEAN("\033[31mred\033[0m", SIZE_MAX, "?[31mred?[0m", 12);
	CLEAN("a\nb\tc\rd\be\x7f", SIZE_MAX, "a?b?c?d?e?", 10);
	CLEAN("a\0b", SIZE_MAX,
		"a\xef\xbf\xbd"
		"b",
		3);
	/* CSI as one character, an override, a zero-width joiner. */
	CLEAN("\xc2\x9b"
	      "31m",
		SIZE_MAX,
		"\xef\xbf\xbd"
		"31m",
		4);
	CLEAN("\xe2\x80\xaegnp.exe", SIZE_MAX, "\xef\xbf\xbdgnp.exe", 8);
	CLEAN("a\xe2\x80\x8d"
	      "b",
		SIZE_MAX,
		"a\xef\xbf\xbd"
		"b",
		3);
	/* Malformed: a lone byte, an overlong NUL, a cut character, a surrogate. */
	CLEAN("\xff", SIZE_MAX, "\xef\xbf\xbd", 1);
	CLEAN("\xc0\x80", SIZE_MAX, "\xef\xbf\xbd\xef\xbf\xbd", 2);
	CLEAN("x\xe2\x82", SIZE_MAX, "x\xef\xbf\xbd\xef\xbf\xbd", 3);
	CLEAN("\xed\xa0\x80", SIZE_MAX, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 3);
	CLEAN("caf\xc3\xa9", SIZE_MAX, "caf\xc3\xa9", 4);
}

static void test_clean_cuts_between_characters(void **state)
{
	(void)state;
	CLEAN("worker1", 7, "worker1", 7);
	CLEAN("worker1", 6, "worke~", 6);
	CLEAN("worker1", 1, "~", 1);
	CLEAN("worker1", 0, "", 0);
	CLEAN("caf\xc3\xa9s", 4, "caf~", 4);
	/* Two columns each. */
	CLEAN("\xe6\xbc\xa2\xe5\xad\x97", 4, "\xe6\xbc\xa2\xe5\xad\x97", 4);
	CLEAN("\xe6\xbc\xa2\xe5\xad\x97", 3, "\xe6\xbc\xa2~", 3);
	CLEAN("\xe6\xbc\xa2\xe5\xad\x97", 2, "~", 1);
}

static void test_clean_without_utf8(void **state)
{
	(void)state;
	CLEAN("caf\xc3\xa9", SIZE_MAX, "caf?", 4);
	CLEAN("\xff\033", SIZE_MAX, "??", 2);
}

static void test_cell(void **state)
{
	struct lt_buf b = {0};

	(void)state;
	text_cell(&b, "ab", 4, TEXT_LEFT);
	lt_buf_char(&b, '|');
	text_cell(&b, "ab", 4, TEXT_RIGHT);
	lt_buf_char(&b, '|');
	text_cell(&b, "\xe6\xbc\xa2", 4, TEXT_RIGHT);
	lt_buf_char(&b, '|');
	text_cell(&b, "abcdef", 4, TEXT_RIGHT);
	assert_string_equal(b.data, "ab  |  ab|  \xe6\xbc\xa2|abc~");
	lt_buf_fini(&b);
}

static const char *shown(void (*show)(struct lt_buf *, double), double v)
{
	static struct lt_buf b;

	lt_buf_reset(&b);
	show(&b, v);
	return b.data;
}

static void test_numbers(void **state)
{
	static const struct {
		double v;
		const char *text;
	} bytes[] = {{0, "0"}, {999, "999"}, {999.4, "999"}, {1000, "1.0k"}, {1024, "1.0k"},
		{10188, "9.9k"}, {10240, "10k"}, {1023 * 1024, "1.0M"}, {2.5e9, "2.3G"},
		{1e18, "888P"}, {1e30, "9999E"}, {NAN, "-"}},
	  age[] = {{0, "0.0s"}, {-5, "0.0s"}, {0.84, "0.8s"}, {9.96, "10s"}, {99.6, "2m"},
		  {3599, "60m"}, {7200, "2h"}, {86400 * 3, "3d"}, {NAN, "-"}},
	  percent[] = {{0, "0.0"}, {12.34, "12.3"}, {100, "100.0"}, {NAN, "-"}, {1e300, "99999.0"}};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(bytes); i++)
		assert_string_equal(shown(text_bytes, bytes[i].v), bytes[i].text);
	for (size_t i = 0; i < LT_ARRAY_LEN(age); i++)
		assert_string_equal(shown(text_age, age[i].v), age[i].text);
	for (size_t i = 0; i < LT_ARRAY_LEN(percent); i++)
		assert_string_equal(shown(text_percent, percent[i].v), percent[i].text);
}

/* ---- samples ---- */

struct reading {
	double idle, user, rx, tx;
	int64_t time_ms;
};

static void add_fs(struct lt_snapshot *s, const char *name, const double values[3])
{
	static const char *const keys[] = {"device", "fstype", "mountpoint"};
	static const char *const rows[3][3] = {
		{"/dev/a", "ext4", "/"}, {"/dev/b", "xfs", "/data"}, {"tmpfs", "tmpfs", "/run"}};

	lt_snapshot_family(s, name, LT_KIND_GAUGE, keys, 3);
	for (int i = 0; i < 3; i++)
		lt_snapshot_row(s, rows[i], values[i]);
}

static void add_devices(struct lt_snapshot *s, const char *name, double v)
{
	static const char *const key = "device";
	static const char *const devices[] = {"lo", "eth0", "veth12", "eth1"};

	lt_snapshot_family(s, name, LT_KIND_COUNTER, &key, 1);
	for (size_t i = 0; i < LT_ARRAY_LEN(devices); i++)
		lt_snapshot_row(s, &devices[i], i % 2 ? v / 2 : 1e6 * v);
}

static void feed(struct lt_fleet_sample *sample, struct lt_shapes *shapes, const struct reading *r)
{
	static const char *const keys[] = {"cpu", "mode"};
	static const char *const idle[] = {"0", "idle"}, *const user[] = {"0", "user"};
	struct lt_snapshot *s = lt_snapshot_new(100);
	struct lt_event e = {.source = "n", .stream = "", .interval_ms = 1000};

	lt_snapshot_begin(s);
	lt_snapshot_family(s, "node_cpu_seconds_total", LT_KIND_COUNTER, keys, 2);
	lt_snapshot_row(s, idle, r->idle);
	lt_snapshot_row(s, user, r->user);
	lt_snapshot_value(s, "node_load1", LT_KIND_GAUGE, 1.5);
	lt_snapshot_value(s, "node_memory_MemTotal_bytes", LT_KIND_GAUGE, 1000);
	lt_snapshot_value(s, "node_memory_MemAvailable_bytes", LT_KIND_GAUGE, 250);
	add_devices(s, "node_network_receive_bytes_total", r->rx);
	add_devices(s, "node_network_transmit_bytes_total", r->tx);
	add_fs(s, "node_filesystem_size_bytes", (const double[]){1000, 1000, 1000});
	add_fs(s, "node_filesystem_free_bytes", (const double[]){700, 300, 0});
	add_fs(s, "node_filesystem_avail_bytes", (const double[]){600, 300, 0});
	assert_int_equal(lt_snapshot_event(s, &e, NULL), LT_OK);
	e.time_ns = r->time_ms * LT_NS_PER_MS;
	e.shape = lt_shapes_intern(shapes, e.shape->bytes, e.shape->size, NULL);
	assert_non_null(e.shape);
	lt_fleet_sample_add(sample, &e);
	lt_shape_put(e.shape);
	lt_snapshot_free(s);
}

#define assert_near(a, b) assert_true(fabs((a) - (b)) < 1e-9)

static void test_sample(void **state)
{
	struct lt_shapes *shapes = lt_shapes_new(1 << 20, 100);
	struct lt_fleet_sample s;

	(void)state;
	lt_fleet_sample_init(&s);
	feed(&s, shapes, &(struct reading){100, 50, 1000, 500, 10000});
	/* Rates need a second reading. */
	assert_true(isnan(s.cpu_pct) && isnan(s.rx_bytes_s) && isnan(s.tx_bytes_s));
	assert_near(s.mem_pct, 75);
	assert_near(s.load1, 1.5);
	assert_near(s.disk_pct, 70); /* /data; tmpfs does not count */
	assert_int_equal(s.interval_ms, 1000);

	feed(&s, shapes, &(struct reading){101.5, 50.5, 5000, 700, 12000});
	assert_near(s.cpu_pct, 25);
	assert_near(s.rx_bytes_s, 2000); /* lo and veth do not count */
	assert_near(s.tx_bytes_s, 100);

	/* A restart: counters begin anew; the last rates stay until there are new ones. */
	feed(&s, shapes, &(struct reading){1, 1, 10, 10, 13000});
	assert_near(s.cpu_pct, 25);
	feed(&s, shapes, &(struct reading){1, 2, 10, 10, 14000});
	assert_near(s.cpu_pct, 100);
	assert_near(s.rx_bytes_s, 0);
	/* The same event again, and one from before, say nothing. */
	feed(&s, shapes, &(struct reading){1, 2, 10, 10, 14000});
	feed(&s, shapes, &(struct reading){1, 1, 10, 10, 13000});
	assert_near(s.cpu_pct, 100);
	lt_shapes_free(shapes);
}

static void test_state(void **state)
{
	(void)state;
	assert_int_equal(lt_fleet_state_of(4.9, 1000), LT_FLEET_LIVE);
	assert_int_equal(lt_fleet_state_of(5.1, 1000), LT_FLEET_LATE);
	assert_int_equal(lt_fleet_state_of(15.1, 1000), LT_FLEET_STALE);
	assert_int_equal(lt_fleet_state_of(24, 10000), LT_FLEET_LIVE);
	assert_int_equal(lt_fleet_state_of(26, 10000), LT_FLEET_LATE);
	assert_int_equal(lt_fleet_state_of(51, 10000), LT_FLEET_STALE);
	assert_int_equal(lt_fleet_state_of(59, 0), LT_FLEET_LIVE);
	assert_int_equal(lt_fleet_state_of(61, 0), LT_FLEET_LATE);
	assert_int_equal(lt_fleet_state_of(301, 0), LT_FLEET_STALE);
}

/* ---- rows ---- */

static struct fleet_row row(const char *source, enum lt_fleet_state state, double cpu, double age)
{
	struct fleet_row r = {.state = state,
		.age_s = age,
		.cpu_pct = cpu,
		.mem_pct = NAN,
		.disk_pct = NAN,
		.rx_bytes_s = NAN,
		.tx_bytes_s = NAN,
		.load1 = NAN};

	strncpy(r.source, source, LT_SOURCE_MAX);
	return r;
}

static void check_order(enum view_column by, bool reverse, const char *want)
{
	struct fleet_row rows[] = {row("a", LT_FLEET_LIVE, 10, 1),
		row("b", LT_FLEET_STALE, NAN, 100), row("c", LT_FLEET_LIVE, 90, 2),
		row("d", LT_FLEET_LATE, 20, 7), row("e", LT_FLEET_LIVE, 90, 0)};
	char got[LT_ARRAY_LEN(rows) + 1] = "";

	view_sort(rows, LT_ARRAY_LEN(rows), by, reverse);
	for (size_t i = 0; i < LT_ARRAY_LEN(rows); i++)
		got[i] = rows[i].source[0];
	assert_string_equal(got, want);
}

static void test_order(void **state)
{
	(void)state;
	check_order(VIEW_SOURCE, false, "abcde");
	check_order(VIEW_SOURCE, true, "edcba");
	check_order(VIEW_STATE, false, "bdcea");
	check_order(VIEW_CPU, false, "cedab");
	check_order(VIEW_CPU, true, "adceb"); /* unknown stays last */
	check_order(VIEW_AGE, false, "bdcae");
	check_order(VIEW_MEM, false, "abcde");
	view_sort(NULL, 0, VIEW_CPU, false);
}

static void test_columns_by_width(void **state)
{
	struct fleet_row r = row("a-rather-long-name-of-a-source", LT_FLEET_LATE, 12.34, 7);
	struct view_layout l = {0};
	struct lt_buf b = {0};

	(void)state;
	view_fit(&l, &r, 1, 0);
	view_row(&l, &r, &b);
	assert_string_equal(b.data, "a-rather-long-name-of-a-source late    12.3      -      -     "
				    " -      -       -   7.0s");
	for (unsigned columns = 24; columns < 120; columns++) {
		lt_buf_reset(&b);
		view_fit(&l, &r, 1, columns);
		view_header(&l, &b);
		assert_true(b.len <= columns);
		lt_buf_reset(&b);
		view_row(&l, &r, &b);
		assert_true(b.len <= columns);
		assert_non_null(strstr(b.data, " late "));
		assert_non_null(strstr(b.data, " 7.0s"));
	}
	view_fit(&l, &r, 1, 40);
	lt_buf_reset(&b);
	view_row(&l, &r, &b);
	assert_string_equal(b.data, "a-rather-lon~ late    12.3      -   7.0s");
	lt_buf_fini(&b);
}

static void test_hostile_name_in_a_row(void **state)
{
	struct fleet_row r = row("\033]0;owned\a\033[2J", LT_FLEET_LIVE, 1, 1);
	struct view_layout l = {.colour = true};
	struct lt_buf b = {0};

	(void)state;
	view_fit(&l, &r, 1, 80);
	view_row(&l, &r, &b);
	assert_memory_equal(b.data, "?]0;owned??[2J ", 15);
	assert_null(strchr(b.data, '\a'));
	lt_buf_fini(&b);
}

static void test_column_names(void **state)
{
	(void)state;
	for (int c = 0; c < VIEW_MAX; c++) {
		assert_int_equal(view_column_of(view_column_name((enum view_column)c)), c);
		assert_int_equal(view_column_of_key(view_column_key((enum view_column)c)), c);
	}
	assert_int_equal(view_column_of("nonsense"), VIEW_MAX);
	assert_int_equal(view_column_of_key('z'), VIEW_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_clean, utf8_locale),
		cmocka_unit_test_setup(test_clean_cuts_between_characters, utf8_locale),
		cmocka_unit_test_setup(test_clean_without_utf8, c_locale),
		cmocka_unit_test_setup(test_cell, utf8_locale),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_sample),
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_order),
		cmocka_unit_test_setup(test_columns_by_width, utf8_locale),
		cmocka_unit_test_setup(test_hostile_name_in_a_row, utf8_locale),
		cmocka_unit_test(test_column_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
