/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../producers/agent/match.h"
#include "../../producers/agent/procfile.h"
#include "../support/tree.h"
#include "latido/mem.h"

static void stays_open_and_grows(void **state)
{
	struct tree t;
	struct lt_procfile f;
	struct lt_err err;
	char *big = malloc(100000);
	int fd;

	(void)state;
	tree_init(&t, NULL);
	for (int single = 0; single < 2; single++) {
		lt_procfile_init(&f, lt_strdup(tree_path(&t, "file")), single);
		assert_int_equal(lt_procfile_read(&f, &err), LT_EAGAIN);
		assert_non_null(strstr(err.msg, "No such file"));
		tree_print(&t, "file", "one\n");
		assert_int_equal(lt_procfile_read(&f, &err), LT_OK);
		assert_string_equal(f.buf, "one\n");
		fd = f.fd;
		memset(big, 'x', 100000);
		tree_write(&t, "file", big, 100000);
		assert_int_equal(lt_procfile_read(&f, &err), LT_OK);
		assert_int_equal(f.fd, fd);
		assert_int_equal(f.len, 100000);
		assert_int_equal(strlen(f.buf), 100000);
		tree_write(&t, "file", "", 0);
		assert_int_equal(lt_procfile_read(&f, &err), LT_OK);
		assert_int_equal(f.len, 0);
		assert_string_equal(f.buf, "");
		lt_procfile_fini(&f);
		lt_procfile_fini(&f);
		tree_remove(&t, "file");
	}
	free(big);
	tree_fini(&t);
}

static void errors_by_class(void **state)
{
	struct tree t;
	struct lt_procfile f;
	struct lt_err err;

	(void)state;
	tree_init(&t, NULL);
	lt_procfile_init(&f, lt_strdup(t.root), true); /* a folder opens, but cannot be read */
	assert_int_equal(lt_procfile_read(&f, &err), LT_EIO);
	assert_int_equal(f.fd, -1);
	lt_procfile_fini(&f);
	tree_print(&t, "file", "x");
	lt_procfile_init(&f, lt_strdup(tree_path(&t, "file/below")), true);
	assert_int_equal(lt_procfile_read(&f, &err), LT_EAGAIN);
	lt_procfile_fini(&f);
	tree_fini(&t);
}

static int number_of(const struct tree *t, const char *text, double *v)
{
	struct lt_procfile f;
	int rc;

	tree_print(t, "number", "%s", text);
	lt_procfile_init(&f, lt_strdup(tree_path(t, "number")), true);
	rc = lt_procfile_number(&f, v, NULL);
	lt_procfile_fini(&f);
	return rc;
}

static void numbers(void **state)
{
	static const char *const bad[] = {"", "\n", "x", "1 2", "1x", "0x10", "nan", "inf", "--1",
		"1e", ".",
		"1111111111111111111111111111111111111111111111111111111111111111111111111111"};
	struct tree t;
	double v = 0;

	(void)state;
	tree_init(&t, NULL);
	assert_int_equal(number_of(&t, "42\n", &v), LT_OK);
	assert_true(v == 42);
	assert_int_equal(number_of(&t, " -7.5e1 \n", &v), LT_OK);
	assert_true(v == -75);
	assert_int_equal(number_of(&t, "18446744073709551616", &v), LT_OK);
	assert_true(v == 18446744073709551616.0);
	for (size_t i = 0; i < LT_ARRAY_LEN(bad); i++)
		if (number_of(&t, bad[i], &v) != LT_EDATA)
			fail_msg("\"%s\" was taken for a number", bad[i]);
	tree_fini(&t);
}

static void scanning(void **state)
{
	const char *cursor = "  a bc\t12 \n\n18446744073709551615 18446744073709551616 x";
	struct lt_token line, word;
	uint64_t v = 0;

	(void)state;
	assert_true(lt_scan_line(&cursor, &line));
	assert_true(lt_scan_word(&line, &word) && lt_token_is(word, "a"));
	assert_false(lt_token_is(word, "ab"));
	assert_true(lt_scan_word(&line, &word) && lt_token_is(word, "bc"));
	assert_true(lt_scan_u64(&line, &v) && v == 12);
	assert_false(lt_scan_word(&line, &word));
	assert_true(lt_scan_line(&cursor, &line) && line.len == 0);
	assert_true(lt_scan_line(&cursor, &line));
	assert_true(lt_scan_u64(&line, &v) && v == UINT64_MAX);
	assert_false(lt_scan_u64(&line, &v));
	assert_false(lt_scan_u64(&line, &v));
	assert_false(lt_scan_line(&cursor, &line));
}

static void first_lines(void **state)
{
	struct tree t;
	char out[8];

	(void)state;
	tree_init(&t, NULL);
	assert_false(lt_procfile_once(tree_path(&t, "f"), out, sizeof(out)));
	tree_print(&t, "f", " \t a b \nc");
	assert_true(lt_procfile_once(tree_path(&t, "f"), out, sizeof(out)));
	assert_string_equal(out, "a b");
	tree_print(&t, "f", "1234567\n");
	assert_true(lt_procfile_once(tree_path(&t, "f"), out, sizeof(out)));
	tree_print(&t, "f", "12345678\n");
	assert_false(lt_procfile_once(tree_path(&t, "f"), out, sizeof(out)));
	assert_string_equal(out, "");
	tree_fini(&t);
}

static bool matches(const char *expression, const char *s)
{
	struct lt_err err;
	struct lt_match *m = lt_match_new("key", expression, &err);
	bool yes;

	if (!m)
		fail_msg("%s", err.msg);
	yes = lt_match(m, s);
	lt_match_free(m);
	return yes;
}

static void expressions(void **state)
{
	/* node_exporter's own */
	const char *disks = "^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$";
	struct lt_err err;

	(void)state;
	assert_true(matches(disks, "sda1") && matches(disks, "nvme0n1p12"));
	assert_false(matches(disks, "sda") || matches(disks, "nvme0n1") || matches(disks, "sdad"));
	assert_true(matches("^[\\d]x[^\\d]$", "1xy"));
	assert_false(matches("^[\\d]x[^\\d]$", "1x2"));
	assert_true(matches("[]\\d]z", "]z") && matches("[^]x]d", "yd"));
	assert_true(matches("a\\.d", "xa.d") && !matches("a\\.d", "axd"));
	assert_false(matches("", "") || matches("", "x"));
	assert_null(lt_match_new("agent.x", "(a", &err));
	assert_int_equal(err.cls, LT_CLS_CONFIG);
	assert_non_null(strstr(err.msg, "agent.x"));
	lt_match_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stays_open_and_grows),
		cmocka_unit_test(errors_by_class),
		cmocka_unit_test(numbers),
		cmocka_unit_test(scanning),
		cmocka_unit_test(first_lines),
		cmocka_unit_test(expressions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
