/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../producers/agent/collector.h"
#include "../support/conf_schema.h"
#include "latido/config.h"

/* What is written about a configuration: --print-config, the sample, the reference page; and the
 * product's own tables, which all of them are made from. */

static struct lt_conf *accepted(const struct lt_conf_schema *schema, const char *text)
{
	struct lt_buf errors = {0};
	struct lt_conf *c = lt_conf_load_text(schema, "f.yaml", text, strlen(text), &errors);

	if (!c)
		fail_msg("refused: %s", errors.data ? errors.data : "");
	lt_buf_fini(&errors);
	return c;
}

/* Printed text without the origins, which differ between loads. */
static void strip_origins(struct lt_buf *b)
{
	char *out = b->data, *line = b->data, *end, *mark;

	for (; *line; line = end + 1) {
		end = strchr(line, '\n');
		*end = '\0';
		mark = strstr(line, " # ");
		for (char *p = mark; p && (p = strstr(p + 1, " # "));)
			mark = p;
		if (mark)
			*mark = '\0';
		mark = line + strlen(line);
		while (mark > line && mark[-1] == ' ')
			mark--;
		memmove(out, line, (size_t)(mark - line));
		out += mark - line;
		*out++ = '\n';
	}
	*out = '\0';
}

static void prints_the_same_after_loading(const struct lt_conf_schema *schema, struct lt_conf *c)
{
	struct lt_buf first = {0}, second = {0};
	struct lt_conf *again;

	lt_conf_print(c, &first);
	again = accepted(schema, first.data);
	lt_conf_print(again, &second);
	strip_origins(&first);
	strip_origins(&second);
	assert_string_equal(first.data, second.data);
	lt_conf_free(again);
	lt_buf_fini(&first);
	lt_buf_fini(&second);
}

static void every_origin_is_printed(void **state)
{
	static const char *const env[] = {
		"LATIDO_ONE_LOGIN_PASSWORD=hunter2", "LATIDO_ONE_LABELS=a=1,b c=yes", NULL};
	static const char *const overrides[] = {"one.wait=90s"};
	char path[] = "/tmp/latido-conf-print-XXXXXX";
	static const char text[] = "one:\n  rate: 0.1\n  names: [\"x, y\", 'no', a-b]\n"
				   "two:\n  token_file: ";
	const char *files[] = {path};
	struct lt_buf out = {0}, errors = {0};
	struct lt_conf *c;
	char *expected;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	assert_int_equal(write(fd, "/proc/sys/kernel/ostype\n", 24), 24);
	close(fd);
	c = lt_conf_load(&test_schema, files, 1, (char **)(uintptr_t)env, overrides, 1, &errors);
	if (!c)
		fail_msg("refused: %s", errors.data);
	lt_conf_print(c, &out);
	expected = lt_asprintf(
		"one:\n"
		"  flag: false                           # default\n"
		"  count: 3                              # default\n"
		"  free_count: -5                        # default\n"
		"  wait: 90s                             # command line\n"
		"  size: 8MiB                            # default\n"
		"  rate: 0.1                             # %s:2\n"
		"  text: \"\"                              # default\n"
		"  word: some                            # default\n"
		"  color: green                          # default\n"
		"  names: [\"x, y\", \"no\", a-b]            # %s:3\n"
		"  colors: []                            # default\n"
		"  labels: {a: \"1\", \"b c\": \"yes\"}        # env LATIDO_ONE_LABELS\n"
		"  login:\n"
		"    user: \"\"                            # default\n"
		"    # password: ***                     # env "
		"LATIDO_ONE_LOGIN_PASSWORD\n"
		"    inner:\n"
		"      level: 1                          # default\n"
		"  last: end                             # default\n"
		"\n"
		"two:\n"
		"  count: 7                              # default\n"
		"  token_file: /proc/sys/kernel/ostype   # %s:5\n",
		path, path, path);
	assert_string_equal(out.data, expected);
	assert_string_equal(((struct test_conf *)lt_conf_root(c))->two.token, "Linux");
	lt_conf_free(c);
	lt_buf_fini(&out);
	lt_buf_fini(&errors);
	free(expected);
	unlink(path);
}

static void what_is_printed_loads_to_the_same(void **state)
{
	static const char *const words[] = {
		"",
		"a",
		"null",
		"~",
		"True",
		"12",
		"1e3",
		"-",
		"- a",
		"a: b",
		"a #b",
		"#",
		"a:",
		"x:y",
		"[a]",
		"{",
		"a,b",
		"&a",
		"*a",
		"!a",
		"|",
		">",
		"%a",
		"@a",
		"`a",
		"'a'",
		"\"a\"",
		" a ",
		"a\\",
		"a\tb",
		"a\nb",
		"\n",
		"\x01\x1f\x7f",
		"\xc2\x85",
		"\xe2\x80\xa8",
		"\xef\xbb\xbf",
		"\xf0\x9f\x92\x93",
		"\xc3\xb1",
		"http://a/b?c",
		"? a",
		"---",
		"...",
		"<<",
		"a\r\nb",
	};
	struct lt_buf text = {0};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(words); i++) {
		char *env[] = {lt_asprintf("LATIDO_ONE_LAST=%s", words[i]),
			lt_asprintf("LATIDO_ONE_LOGIN_USER=%s", words[i]), NULL};
		struct lt_conf *c = lt_conf_load(&test_schema, NULL, 0, env, NULL, 0, NULL), *again;
		struct test_conf *r;

		assert_non_null(c);
		prints_the_same_after_loading(&test_schema, c);
		lt_buf_reset(&text);
		lt_conf_print(c, &text);
		again = accepted(&test_schema, text.data);
		r = lt_conf_root(again);
		assert_string_equal(r->one.last, words[i]);
		assert_string_equal(r->one.login.user, words[i]);
		lt_conf_free(again);
		lt_conf_free(c);
		free(env[0]);
		free(env[1]);
	}
	lt_buf_fini(&text);
}

/* ---- the sample ---- */

/* "#key: value" -> "key: value"; help ("# text") stays a comment. */
static void enable(struct lt_buf *b)
{
	char *out = b->data;
	bool start = true;

	for (const char *p = b->data; *p; p++) {
		if (*p == '#' && start && isalpha((unsigned char)p[1]))
			continue;
		start = *p == '\n' || (start && *p == ' ');
		*out++ = *p;
	}
	*out = '\0';
	b->len = (size_t)(out - b->data);
}

static size_t count_keys(const struct lt_conf_schema *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_sections; i++)
		n += s->sections[i]->n_keys;
	return n;
}

static void check_sample(const struct lt_conf_schema *schema)
{
	struct lt_buf sample = {0}, printed = {0}, defaults = {0};
	struct lt_conf *c;
	size_t from_file = 0;

	c = accepted(schema, "");
	lt_conf_print(c, &defaults);
	lt_conf_free(c);
	lt_conf_sample(schema, &sample);

	/* as it is, it sets nothing */
	c = accepted(schema, sample.data);
	lt_conf_print(c, &printed);
	lt_conf_free(c);
	assert_string_equal(printed.data, defaults.data);

	/* with every key enabled, each is set, to its default */
	lt_buf_reset(&printed);
	enable(&sample);
	c = accepted(schema, sample.data);
	lt_conf_print(c, &printed);
	lt_conf_free(c);
	for (const char *p = printed.data; (p = strstr(p, "# f.yaml:")); p++)
		from_file++;
	assert_int_equal(from_file, count_keys(schema));
	strip_origins(&printed);
	strip_origins(&defaults);
	assert_string_equal(printed.data, defaults.data);
	lt_buf_fini(&sample);
	lt_buf_fini(&printed);
	lt_buf_fini(&defaults);
}

static void the_sample_loads_and_holds_every_default(void **state)
{
	(void)state;
	check_sample(&test_schema);
	check_sample(&lt_config_schema);
}

static void sample_text(void **state)
{
	struct lt_buf sample = {0};

	(void)state;
	lt_conf_sample(&test_schema, &sample);
	assert_non_null(
		strstr(sample.data, "\n# The first section.\none:\n"
				    "  # A flag. (true or false; SIGHUP takes a change over)\n"
				    "  #flag: false\n"
				    "  # A count. (whole number, 1 to 10)\n"
				    "  #count: 3\n"
				    "  # Any whole number. (whole number)\n"
				    "  #free_count: -5\n"
				    "  # A wait. (duration, 0 to 7d)\n"
				    "  #wait: 250ms\n"
				    "  # A size. (size, at least 1B)\n"
				    "  #size: 8MiB\n"));
	assert_non_null(strstr(sample.data, "  # A color. (one of red, green, blue)\n"
					    "  #color: green\n"
					    "  # Some names. (list)\n"
					    "  #names: [a, b]\n"
					    "  # Some colors. (list of red, green, blue)\n"
					    "  #colors: []\n"
					    "  # Labels. (map of strings)\n"
					    "  #labels: {}\n"
					    "  login:\n"
					    "    # Who. (string)\n"
					    "    #user: \"\"\n"));
	lt_buf_fini(&sample);
}

/* ---- the reference page ---- */

static void the_page_has_every_key(void **state)
{
	struct lt_buf page = {0};

	(void)state;
	lt_conf_man(&lt_config_schema, &page);
	assert_non_null(strstr(page.data, "*log\\.level*\n\t"));
	assert_non_null(strstr(page.data, "LATIDO\\_LOG\\_LEVEL"));
	assert_non_null(strstr(page.data, "*bus\\.mqtt\\.password\\_file*"));
	for (size_t i = 0; i < lt_config_schema.n_sections; i++) {
		const struct lt_conf_section *section = lt_config_schema.sections[i];
		struct lt_buf name = {0};

		for (size_t j = 0; j < section->n_keys; j++) {
			lt_buf_reset(&name);
			lt_buf_printf(&name, "*%s\\.", section->name);
			for (const char *p = section->keys[j].name; *p; p++)
				lt_buf_printf(&name, "%s%c", strchr("._", *p) ? "\\" : "", *p);
			lt_buf_str(&name, "*\n\t");
			if (!strstr(page.data, name.data))
				fail_msg("no %s", name.data);
		}
		lt_buf_fini(&name);
	}
	lt_buf_fini(&page);
}

/* ---- the product's tables ---- */

static void to_env(char *s)
{
	for (; *s; s++)
		*s = *s == '.' ? '_' : *s;
}

static void tables_keep_their_rules(void **state)
{
	const struct lt_conf_schema *s = &lt_config_schema;
	size_t n = 0, n_all = count_keys(s);
	char **names = lt_calloc(2 * n_all, sizeof(*names));

	(void)state;
	for (size_t i = 0; i < s->n_sections; i++) {
		const struct lt_conf_section *section = s->sections[i];

		assert_true(section->help && strlen(section->help) > 10);
		for (size_t j = 0; j < section->n_keys; j++) {
			const struct lt_conf_key *key = &section->keys[j];

			assert_true(strlen(section->name) + strlen(key->name) < 60);
			assert_non_null(key->def);
			assert_true(key->help && strlen(key->help) > 5);
			assert_non_null(strchr(".,", key->help[strlen(key->help) - 1]));
			assert_true(key->min <= key->max || key->type == LT_CONF_STRING);
			if (key->choices)
				assert_true(key->type == LT_CONF_ENUM || key->type == LT_CONF_LIST);
			else
				assert_int_not_equal(key->type, LT_CONF_ENUM);
			if (key->flags & LT_CONF_SECRET)
				assert_int_equal(key->type, LT_CONF_STRING);
			for (const char *p = key->name; *p; p++)
				assert_true(islower((unsigned char)*p) ||
					    isdigit((unsigned char)*p) || strchr("._", *p));
			names[n++] = lt_asprintf("%s_%s", section->name, key->name);
			if (key->flags & LT_CONF_SECRET)
				names[n++] = lt_asprintf("%s_%s_file", section->name, key->name);
		}
	}
	/* no two keys share a name in the environment */
	for (size_t i = 0; i < n; i++)
		to_env(names[i]);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(names[i], names[j]);
	}
	while (n)
		free(names[--n]);
	free(names);
}

static void every_collector_can_be_configured(void **state)
{
	const struct lt_conf_section *agent = NULL;
	const char *const *names = NULL;
	size_t n_names = 0, n_collectors = 0;

	(void)state;
	for (size_t i = 0; i < lt_config_schema.n_sections; i++) {
		if (!strcmp(lt_config_schema.sections[i]->name, "agent"))
			agent = lt_config_schema.sections[i];
	}
	assert_non_null(agent);
	for (size_t i = 0; i < agent->n_keys; i++) {
		if (!strcmp(agent->keys[i].name, "collectors"))
			names = agent->keys[i].choices;
	}
	assert_non_null(names);
	while (names[n_names])
		n_names++;
	for (; lt_collectors_all[n_collectors]; n_collectors++) {
		size_t i = 0;

		while (i < n_names && strcmp(names[i], lt_collectors_all[n_collectors]->name))
			i++;
		if (i == n_names)
			fail_msg("lib/conf/agent.c lacks the collector %s",
				lt_collectors_all[n_collectors]->name);
	}
	assert_int_equal(n_names, n_collectors);
}

static void product_defaults(void **state)
{
	struct lt_conf *c = accepted(&lt_config_schema, "");
	const struct lt_config *r = lt_conf_root(c);

	(void)state;
	assert_string_equal(r->bus.url, "mqtt://127.0.0.1:1883");
	assert_int_equal(r->bus.queue_bytes, 64 << 20);
	assert_int_equal(r->bus.mqtt.keepalive_ms, 30000);
	assert_int_equal(r->bus.mqtt.session_expiry_ms, 3600000);
	assert_true(r->bus.mqtt.verify_hostname);
	assert_string_equal(r->postgres.dsn, "host=/run/postgresql dbname=latido");
	assert_int_equal(r->limits.max_bytes, 1 << 20);
	assert_int_equal(r->limits.max_series, 100000);
	assert_int_equal(r->agent.interval_ms, 1000);
	assert_int_equal(r->agent.encoding, LT_ENC_PROTOBUF);
	assert_int_equal(r->hot.batch.linger_ms, 0);
	assert_true(r->hot.max_rate_hz == 2);
	assert_int_equal(r->store.batch.linger_ms, 200);
	assert_true(r->store.retention_ms == 7 * 86400000LL);
	assert_true(r->store.migrate);
	prints_the_same_after_loading(&lt_config_schema, c);
	lt_conf_free(c);
}

static void product_checks(void **state)
{
	static const struct {
		const char *text, *error; /* NULL: accepted */
	} cases[] = {
		{"bus: {url: \"mqtt://[::1]:1883\"}", NULL},
		{"bus: {url: \"mqtts://broker.example\", mqtt: {ca_file: /ca.pem}}", NULL},
		{"bus: {url: \"mem://\"}", NULL},
		{"bus: {url: \"mem://fleet\"}", NULL},
		{"bus: {url: broker}", "bus.url: expected mqtt://HOST:PORT"},
		{"bus: {url: \"http://broker\"}", "bus.url: expected mqtt://HOST:PORT"},
		{"bus: {url: \"kafka://broker\"}", NULL},
		{"bus: {url: \"kafkas://a:1,b,[::1]:3/\", kafka: {ca_file: /ca}}", NULL},
		{"bus: {url: \"kafka://a,,b\"}", "bus.url: "},
		{"bus: {url: \"kafka://a:0\"}", "bus.url: "},
		{"bus: {url: \"kafka://a/topic\"}", "bus.url: nothing may follow the last port"},
		{"bus: {url: \"kafka://me:hunter2@a\"}", "bus.url: credentials do not belong"},
		{"bus: {url: \"kafka://a\", kafka: {ca_file: /ca}}",
			"bus.kafka.ca_file: is of use with kafkas://"},
		{"bus: {url: \"kafkas://a\", kafka: {key_file: /k}}", "bus.kafka."},
		{"bus: {url: \"kafka://a\", kafka: {password: x}}",
			"bus.kafka.password: a password needs kafka.username"},
		{"bus: {url: \"kafka://a\", kafka: {username: u, sasl_mechanism: MD5}}",
			"bus.kafka.sasl_mechanism: expected SCRAM-SHA-256"},
		{"bus: {url: \"mqtt://u:hunter2@broker\"}", "bus.url: credentials do not belong"},
		{"bus: {url: \"mqtt://:1883\"}", "bus.url: the host is missing"},
		{"bus: {url: \"mqtt://\"}", "bus.url: the host is missing"},
		{"bus: {url: \"mqtt://a:65536\"}", "bus.url: after the host a port"},
		{"bus: {url: \"mqtt://a:0\"}", "bus.url: after the host a port"},
		{"store: {admin: \"127.0.0.1:0\"}", NULL},
		{"bus: {url: \"mqtt://a:b\"}", "bus.url: after the host a port"},
		{"bus: {url: \"mqtt://::1:1883\"}", "bus.url: the host is missing"},
		{"bus: {url: \"mqtt://[::1\"}", "bus.url: an IPv6 address stands in"},
		{"bus: {url: \"mqtt://[::1]x\"}", "bus.url: after the host a port"},
		{"bus: {url: \"mqtt://a b\"}", "bus.url: ' ' cannot be part of a host name"},
		{"bus: {url: \"mqtt://a:1/t\"}", "bus.url: nothing may follow the port"},
		{"bus: {prefix: /a}", "bus.prefix: has an empty level"},
		{"bus: {prefix: a/#}", "bus.prefix: a prefix has no wildcards"},
		{"bus: {prefix: $SYS}", "bus.prefix: topics that start with $"},
		{"bus: {mqtt: {ca_file: /ca.pem}}", "bus.mqtt.ca_file: is of use with mqtts://"},
		{"bus: {url: \"mqtts://a\", mqtt: {cert_file: /c}}",
			"bus.mqtt.cert_file: is of no use without mqtt.key_file"},
		{"bus: {url: \"mqtts://a\", mqtt: {key_file: /c}}",
			"bus.mqtt.key_file: is of no use without mqtt.cert_file"},
		{"bus: {mqtt: {password: x}}", "bus.mqtt.password: a password needs"},
		{"bus: {backoff_base: 50s}", "bus.backoff_cap: must not be shorter"},
		{"redis: {url: \"unix:///run/redis.sock\"}", NULL},
		{"redis: {url: \"unix:///run/redis.sock?db=3\"}", NULL},
		{"redis: {url: \"redis://localhost\"}", NULL},
		{"redis: {url: \"redis://[::1]:6379/12\"}", NULL},
		{"redis: {url: \"redis://:hunter2@a\"}", "redis.url: the password does not belong"},
		{"redis: {url: \"redis://me@a:1\", password: x}", NULL},
		{"redis: {url: \"redis://me@a:1\"}", "redis.url: a user needs"},
		{"redis: {url: \"rediss://a\"}", "redis.url: TLS to Redis"},
		{"redis: {url: \"redis://a/b\"}", "redis.url: the part after the port"},
		{"redis: {url: \"unix://run/a\"}", "redis.url: expected unix:///PATH"},
		{"redis: {url: \"unix:///run/a?x=1\"}", "redis.url: only ?db=NUMBER"},
		{"redis: {url: \"tcp://a\"}", "redis.url: expected redis://HOST:PORT"},
		{"redis: {username: x}", "redis.username: a user needs"},
		{"postgres: {dsn: \"postgresql://me@h/db?sslmode=require\"}", NULL},
		{"postgres: {dsn: \"host=a passfile=/x dbname=nopassword\"}", NULL},
		{"postgres: {dsn: \"host=a password = hunter2\"}",
			"postgres.dsn: the password does not belong here"},
		{"postgres: {dsn: \"postgres://me:hunter2@h/db\"}",
			"postgres.dsn: the password does not belong here"},
		{"postgres: {dsn: \"postgres://h/db?password=hunter2\"}",
			"postgres.dsn: the password does not belong here"},
		{"postgres: {dsn: \"mysql://h/db\"}", "postgres.dsn: expected postgresql://"},
		{"agent: {source: \"a/b\"}", "agent.source: may hold letters, digits"},
		{"agent: {admin: \"\"}", NULL},
		{"agent: {admin: \"0.0.0.0\"}", "agent.admin: the port is missing"},
		{"agent: {procfs: proc}", "agent.procfs: must be an absolute path"},
		{"agent: {netdev_ignore_devices: \"(\"}",
			"agent.netdev_ignore_devices: not a POSIX extended"},
		{"agent: {netdev_ignore_devices: "
		 "\"((((((((((((((((((a+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)\"}",
			"agent.netdev_ignore_devices: its repetitions multiply"},
		{"agent: {netdev_ignore_devices: \"((a{200}){200}){200}\"}",
			"agent.netdev_ignore_devices: its repetitions multiply"},
		{"agent: {netdev_ignore_devices: \"^(a{1,3}|[]+{]+|\\\\d+|[[:alpha:]]{2,})+$\"}",
			NULL},
		{"agent: {collectors: [cpu, meminfo]}", NULL},
		{"agent: {collectors: [cpu, memnfo]}", "\"memnfo\"; did you mean meminfo?"},
		{"hot: {max_rate_hz: 0}", "hot.max_rate_hz: must be at least 0.001"},
		{"hot: {max_rate_hz: 0.2}", NULL},
		{"store: {retention: 0}", NULL},
		{"store: {retention: 23h}", "store.retention: must be at least 1d"},
		{"store: {admin: \"127.0.0.1:x\"}", "store.admin: after the host a port"},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(cases); i++) {
		const char *text = cases[i].text;
		struct lt_buf errors = {0};
		struct lt_conf *c =
			lt_conf_load_text(&lt_config_schema, "f.yaml", text, strlen(text), &errors);

		if (!c != !!cases[i].error)
			fail_msg("%s: %s", text, c ? "accepted" : errors.data);
		if (!c && (!strstr(errors.data, cases[i].error) || strstr(errors.data, "hunter2")))
			fail_msg("%s: %s", text, errors.data);
		lt_conf_free(c);
		lt_buf_fini(&errors);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_origin_is_printed),
		cmocka_unit_test(what_is_printed_loads_to_the_same),
		cmocka_unit_test(the_sample_loads_and_holds_every_default),
		cmocka_unit_test(sample_text),
		cmocka_unit_test(the_page_has_every_key),
		cmocka_unit_test(tables_keep_their_rules),
		cmocka_unit_test(every_collector_can_be_configured),
		cmocka_unit_test(product_defaults),
		cmocka_unit_test(product_checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
