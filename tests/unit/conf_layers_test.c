/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/conf_schema.h"

/* Where values come from: files, environment, command line, secret files. */

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/latido-conf-test-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

/* Heap path; drop() removes the file and frees it. */
static char *write_bytes(const char *name, const void *data, size_t n)
{
	char *path = lt_asprintf("%s/%s", folder, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), n);
	close(fd);
	return path;
}

static char *write_text(const char *name, const char *text)
{
	return write_bytes(name, text, strlen(text));
}

static void drop(char *path)
{
	unlink(path);
	free(path);
}

struct input {
	const char *files[3], *env[4], *overrides[3];
};

static struct lt_conf *load(const struct input *in, struct lt_buf *errors)
{
	size_t n_files = 0, n_overrides = 0;

	while (n_files < 3 && in->files[n_files])
		n_files++;
	while (n_overrides < 3 && in->overrides[n_overrides])
		n_overrides++;
	return lt_conf_load(&test_schema, in->files, n_files, (char **)(uintptr_t)in->env,
		in->overrides, n_overrides, errors);
}

static void loads(
	const struct input *in, const char *report, void (*check)(const struct test_conf *r))
{
	struct lt_buf errors = {0};
	struct lt_conf *c = load(in, &errors);

	if (!c)
		fail_msg("refused: %s", errors.data ? errors.data : "");
	assert_string_equal(errors.data ? errors.data : "", report);
	check(lt_conf_root(c));
	lt_conf_free(c);
	lt_buf_fini(&errors);
}

static void refused(const struct input *in, const char *fmt, ...) LT_PRINTF(2, 3);
static void refused(const struct input *in, const char *fmt, ...)
{
	struct lt_buf errors = {0};
	char *report;
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&report, fmt, ap) >= 0);
	va_end(ap);
	assert_null(load(in, &errors));
	assert_string_equal(errors.data, report);
	lt_buf_fini(&errors);
	free(report);
}

static void is_layered(const struct test_conf *r)
{
	assert_int_equal(r->one.count, 2);      /* first file only */
	assert_int_equal(r->one.free_count, 3); /* second file over first */
	assert_int_equal(r->one.wait_ms, 4000); /* environment over files */
	assert_int_equal(r->two.count, 5);      /* command line over all */
	assert_int_equal(r->one.names.n, 1);    /* replaced as a whole */
	assert_string_equal(r->one.names.items[0], "z");
}

static void later_layers_win(void **state)
{
	char *a = write_text("a.yaml", "one:\n  count: 2\n  free_count: 2\n  wait: 2s\n"
				       "  names: [x, y]\ntwo:\n  count: 2\n");
	char *b = write_text("b.yaml", "one:\n  free_count: 3\n  wait: 3s\n  names: [z]\n"
				       "two:\n  count: 3\n");

	(void)state;
	loads(
		&(struct input){
			.files = {a, b},
			.env = {"LATIDO_ONE_WAIT=4s", "LATIDO_TWO_COUNT=4"},
			.overrides = {"two.count=9", "two.count=5"},
		},
		"", is_layered);
	drop(a);
	drop(b);
}

static void is_from_environment(const struct test_conf *r)
{
	assert_int_equal(r->one.names.n, 3);
	assert_string_equal(r->one.names.items[1], "b c");
	assert_int_equal(r->one.labels.n, 2);
	assert_string_equal(r->one.labels.keys[1], "rack");
	assert_string_equal(r->one.labels.values[1], "7=8");
	assert_string_equal(r->one.login.user, "null");
	assert_int_equal(r->one.login.inner.level, 12);
}

static void every_type_from_the_environment(void **state)
{
	(void)state;
	loads(&(struct input){.env = {"LATIDO_ONE_NAMES= a,b c ,d",
				      "LATIDO_ONE_LABELS=site=x, rack = 7=8",
				      "LATIDO_ONE_LOGIN_INNER_LEVEL=12"},
		      .overrides = {"one.login.user=null"}},
		"", is_from_environment);
}

static void wrong_values_from_the_environment(void **state)
{
	(void)state;
	refused(&(struct input){.env = {"LATIDO_ONE_COLOR=gren", "LATIDO_ONE_RATE=1,5",
					"LATIDO_TWO_COUNT="}},
		"env LATIDO_ONE_COLOR: error: one.color: not one of red, green, blue: \"gren\"; "
		"did you mean green?\n"
		"  LATIDO_ONE_COLOR=gren\n"
		"                   ^\n"
		"env LATIDO_ONE_RATE: error: one.rate: expected a number, got \"1,5\"\n"
		"  LATIDO_ONE_RATE=1,5\n"
		"                  ^\n"
		"env LATIDO_TWO_COUNT: error: two.count: expected a whole number, got nothing\n"
		"  LATIDO_TWO_COUNT=\n"
		"                   ^\n");
	refused(&(struct input){.env = {"LATIDO_ONE_LABELS=a=1,b", "LATIDO_ONE_NAMES=a,,b"}},
		"env LATIDO_ONE_LABELS: error: one.labels: expected pairs such as key=value, "
		"other=value, got \"b\"\n"
		"  LATIDO_ONE_LABELS=a=1,b\n"
		"                    ^\n"
		"env LATIDO_ONE_NAMES: error: one.names: must not be empty\n"
		"  LATIDO_ONE_NAMES=a,,b\n"
		"                   ^\n");
	refused(&(struct input){.env = {"LATIDO_ONE_LABELS=a=1, a=2"}},
		"env LATIDO_ONE_LABELS: error: one.labels: the key \"a\" is there twice\n"
		"  LATIDO_ONE_LABELS=a=1, a=2\n"
		"                    ^\n");
	refused(&(struct input){.env = {"LATIDO_ONE_LAST=\xff"}},
		"env LATIDO_ONE_LAST: error: one.last: is not UTF-8 text\n"
		"  LATIDO_ONE_LAST=?\n"
		"                  ^\n");
	refused(&(struct input){.env = {"LATIDO_TWO_COUNT=13"}},
		"env LATIDO_TWO_COUNT: error: two.count: is unlucky: 13\n"
		"  LATIDO_TWO_COUNT=13\n"
		"                   ^\n");
}

static void any(const struct test_conf *r)
{
	assert_int_equal(r->two.count, 7);
}

static void unknown_variables_are_at_most_warnings(void **state)
{
	(void)state;
	loads(&(struct input){.env = {"LATIDO_BIN=/x", "LATIDO_CONFIG=y", "LATIDO=z"}}, "", any);
	loads(&(struct input){.env = {"LATIDOX_ONE_COUNT=1", "XLATIDO_ONE_COUNT=1", "LATIDO_ONE"}},
		"", any);
	loads(&(struct input){.env = {"LATIDO_TWO_COUT=hunter2", "LATIDO_ONE_UNHEARD_OF=1",
				      "LATIDO_TWOCOUNT=1"}},
		"env LATIDO_TWO_COUT: warning: names no configuration key and is ignored; did you "
		"mean LATIDO_TWO_COUNT?\n"
		"env LATIDO_ONE_UNHEARD_OF: warning: names no configuration key and is ignored; "
		"latido.yaml(5) lists them\n"
		"env LATIDO_TWOCOUNT: warning: names no configuration key and is ignored; did you "
		"mean LATIDO_TWO_COUNT?\n",
		any);
}

static void wrong_overrides(void **state)
{
	(void)state;
	refused(&(struct input){.overrides = {"one.count=11", "one.cuont=1", "count"}},
		"command line: error: one.count: out of bounds (1 to 10): \"11\"\n"
		"  one.count=11\n"
		"            ^\n"
		"command line: error: unknown key \"one.cuont\"\n"
		"command line: error: expected SECTION.KEY=VALUE\n");
	refused(&(struct input){.overrides = {"=", "a=b.c", "three.x=y"}},
		"command line: error: expected SECTION.KEY=VALUE\n"
		"command line: error: expected SECTION.KEY=VALUE\n"
		"command line: error: unknown key \"three.x\"\n");
}

static void files_that_cannot_be_read(void **state)
{
	char *a = write_text("a.yaml", "one: {cuont: 1}\n"), *locked;
	char *missing = lt_asprintf("%s/missing.yaml", folder);

	(void)state;
	refused(&(struct input){.files = {missing, folder, a}},
		"%s: error: cannot be read: No such file or directory; correct the path or create "
		"the file\n"
		"%s: error: cannot be read: it is a directory; name a file in it\n"
		"%s:1:7: error: one.cuont: unknown key; did you mean count?\n"
		"  one: {cuont: 1}\n"
		"        ^\n",
		missing, folder, a);
	drop(a);
	free(missing);
	if (!geteuid())
		return; /* root reads everything */
	locked = write_text("locked.yaml", "");
	assert_int_equal(chmod(locked, 0), 0);
	refused(&(struct input){.files = {locked}},
		"%s: error: cannot be read: Permission denied; give user %u the right to read it "
		"(chmod, chown)\n",
		locked, (unsigned)geteuid());
	drop(locked);
}

static void files_that_are_too_large(void **state)
{
	size_t n = 1024 * 1024 + 1;
	char *data = lt_malloc(n), *path;

	(void)state;
	memset(data, '\n', n);
	path = write_bytes("large.yaml", data, n);
	refused(&(struct input){.files = {path}},
		"%s: error: is larger than 1048576 bytes, the most that is read\n", path);
	drop(path);
	path = write_bytes("large.yaml", data, n - 1);
	loads(&(struct input){.files = {path}}, "", any);
	drop(path);
	free(data);
}

static void has_secret(const struct test_conf *r)
{
	assert_string_equal(r->one.login.password, "s3cret #:\xc3\xb1");
}

static void secrets_from_files(void **state)
{
	static const char *const texts[] = {
		"s3cret #:\xc3\xb1", "s3cret #:\xc3\xb1\n", "s3cret #:\xc3\xb1\r\n"};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(texts); i++) {
		char *secret = write_text("secret", texts[i]);
		char *text = lt_asprintf("one:\n  login:\n    password_file: %s\n", secret);
		char *conf = write_text("a.yaml", text);
		char *other = write_text("b.yaml", "one: {login: {password: other}}\n");
		char *var = lt_asprintf("LATIDO_ONE_LOGIN_PASSWORD_FILE=%s", secret);

		loads(&(struct input){.files = {conf}}, "", has_secret);
		loads(&(struct input){.files = {other, conf}}, "", has_secret);
		loads(&(struct input){.files = {other}, .env = {var}}, "", has_secret);
		/* a later layer's own value wins, and the file need not even be there */
		drop(secret);
		loads(&(struct input){.files = {conf},
			      .env = {"LATIDO_ONE_LOGIN_PASSWORD=s3cret #:\xc3\xb1"}},
			"", has_secret);
		drop(conf);
		drop(other);
		free(text);
		free(var);
	}
}

/* What the file "secret" with this content is answered with. */
static void refused_secret(const char *content, size_t n, const char *why)
{
	char *secret = write_bytes("secret", content, n);
	char *text = lt_asprintf("one:\n  login:\n    password_file: %s\n", secret);
	char *conf = write_text("a.yaml", text);

	refused(&(struct input){.files = {conf}},
		"%s:3:20: error: one.login.password_file: \"%s\" %s\n"
		"      password_file: %s\n"
		"                     ^\n",
		conf, secret, why, secret);
	drop(secret);
	drop(conf);
	free(text);
}

static void secret_files_that_are_refused(void **state)
{
	char large[4097];

	(void)state;
	memset(large, 'x', sizeof(large));
	refused_secret("", 0, "is empty");
	refused_secret("\n", 1, "is empty");
	refused_secret(
		"hunter2\nhunter3\n", 16, "has several lines; it must hold the secret alone");
	refused_secret("hun\0ter2", 8, "holds a NUL byte");
	refused_secret("hun\xffter2", 8, "is not UTF-8 text");
	refused_secret(large, 65, "is too long: 65 bytes, at most 64 fit");
	refused_secret(large, 4097, "is larger than 4096 bytes, the most that is read");
	refused(&(struct input){.env = {"LATIDO_TWO_TOKEN_FILE=/dev/null",
					"LATIDO_ONE_LOGIN_PASSWORD_FILE=/nowhere/at/all"}},
		"env LATIDO_ONE_LOGIN_PASSWORD_FILE: error: one.login.password_file: "
		"\"/nowhere/at/all\" cannot be read: No such file or directory; correct the path "
		"or create the file\n"
		"  LATIDO_ONE_LOGIN_PASSWORD_FILE=/nowhere/at/all\n"
		"                                 ^\n"
		"env LATIDO_TWO_TOKEN_FILE: error: two.token_file: \"/dev/null\" cannot be read: "
		"it is not a regular file\n"
		"  LATIDO_TWO_TOKEN_FILE=/dev/null\n"
		"                        ^\n");
	refused(&(struct input){.env = {"LATIDO_TWO_TOKEN_FILE=/x", "LATIDO_TWO_TOKEN=hunter2"}},
		"env LATIDO_TWO_TOKEN: error: two.token: set token or token_file, not both\n"
		"env LATIDO_TWO_TOKEN_FILE: error: two.token_file: \"/x\" cannot be read: No such "
		"file or directory; correct the path or create the file\n"
		"  LATIDO_TWO_TOKEN_FILE=/x\n"
		"                        ^\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(later_layers_win),
		cmocka_unit_test(every_type_from_the_environment),
		cmocka_unit_test(wrong_values_from_the_environment),
		cmocka_unit_test(unknown_variables_are_at_most_warnings),
		cmocka_unit_test(wrong_overrides),
		cmocka_unit_test(files_that_cannot_be_read),
		cmocka_unit_test(files_that_are_too_large),
		cmocka_unit_test(secrets_from_files),
		cmocka_unit_test(secret_files_that_are_refused),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
