/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"
#include "latido/clock.h"
#include "text.h"
#include "view.h"

static const struct {
	const char *name;
	size_t offset;
} numbers[] = {
	{"cpu_percent", offsetof(struct fleet_row, cpu_pct)},
	{"memory_percent", offsetof(struct fleet_row, mem_pct)},
	{"disk_percent", offsetof(struct fleet_row, disk_pct)},
	{"network_receive_bytes_per_second", offsetof(struct fleet_row, rx_bytes_s)},
	{"network_transmit_bytes_per_second", offsetof(struct fleet_row, tx_bytes_s)},
	{"load1", offsetof(struct fleet_row, load1)},
	{"age_seconds", offsetof(struct fleet_row, age_s)},
};

static double number(const struct fleet_row *r, size_t i)
{
	double v;

	memcpy(&v, (const char *)r + numbers[i].offset, sizeof(v));
	return round(v * 1000) / 1000; /* what they are computed from is no more exact */
}

static void put_table(
	const struct fleet_table *t, enum view_column sort, bool reverse, struct lt_buf *out)
{
	struct view_layout l = {.sort = sort, .reverse = reverse};
	struct winsize w = {0};

	if (isatty(STDOUT_FILENO))
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &w);
	view_fit(&l, t->rows, t->n, w.ws_col);
	view_header(&l, out);
	lt_buf_char(out, '\n');
	for (size_t i = 0; i < t->n; i++) {
		view_row(&l, &t->rows[i], out);
		lt_buf_char(out, '\n');
	}
}

static void put_json(const struct fleet_table *t, struct lt_buf *out)
{
	char seen[LT_RFC3339_LEN];

	lt_buf_char(out, '[');
	for (size_t i = 0; i < t->n; i++) {
		const struct fleet_row *r = &t->rows[i];

		lt_rfc3339_format(r->seen_ms * LT_NS_PER_MS, 3, seen);
		lt_buf_str(out, i ? ",\n {\"source\":" : "\n {\"source\":");
		lt_buf_json_str(out, r->source, strlen(r->source));
		lt_buf_printf(out, ",\"state\":\"%s\",\"seen\":\"%s\"",
			lt_fleet_state_word(r->state), seen);
		for (size_t k = 0; k < LT_ARRAY_LEN(numbers); k++) {
			lt_buf_printf(out, ",\"%s\":", numbers[k].name);
			if (isfinite(number(r, k)))
				lt_buf_double(out, number(r, k));
			else
				lt_buf_str(out, "null");
		}
		lt_buf_char(out, '}');
	}
	lt_buf_str(out, t->n ? "\n]\n" : "]\n");
}

/* RFC 4180; a text that a spreadsheet would take for a formula stays text. */
static void put_csv_text(const char *s, struct lt_buf *out)
{
	struct lt_buf clean = {0};
	bool formula = *s && strchr("=+-@", *s);

	text_clean(&clean, s, strlen(s), SIZE_MAX);
	s = clean.len ? clean.data : "";
	if (!formula && !strpbrk(s, ",\"")) {
		lt_buf_str(out, s);
	} else {
		lt_buf_str(out, formula ? "\"'" : "\"");
		for (; *s; s++) {
			if (*s == '"')
				lt_buf_char(out, '"');
			lt_buf_char(out, *s);
		}
		lt_buf_char(out, '"');
	}
	lt_buf_fini(&clean);
}

static void put_csv(const struct fleet_table *t, struct lt_buf *out)
{
	char seen[LT_RFC3339_LEN];

	lt_buf_str(out, "source,state,seen");
	for (size_t k = 0; k < LT_ARRAY_LEN(numbers); k++)
		lt_buf_printf(out, ",%s", numbers[k].name);
	lt_buf_str(out, "\r\n");
	for (size_t i = 0; i < t->n; i++) {
		const struct fleet_row *r = &t->rows[i];

		put_csv_text(r->source, out);
		lt_rfc3339_format(r->seen_ms * LT_NS_PER_MS, 3, seen);
		lt_buf_printf(out, ",%s,%s", lt_fleet_state_word(r->state), seen);
		for (size_t k = 0; k < LT_ARRAY_LEN(numbers); k++) {
			lt_buf_char(out, ',');
			if (isfinite(number(r, k)))
				lt_buf_double(out, number(r, k));
		}
		lt_buf_str(out, "\r\n");
	}
}

static int print_nodes(struct cli *cli, enum cli_output format, enum view_column sort, bool reverse)
{
	struct fleet_table t;
	struct lt_buf out = {0};
	struct lt_err err;
	struct fleet *f = fleet_new(cli->conf, &err);
	int code = LT_EXIT_FAILURE;

	if (!f) {
		cli_notice("%s", err.msg);
		return LT_EXIT_CONFIG;
	}
	if (fleet_refresh(f, &t, &err) == LT_OK) {
		view_sort(t.rows, t.n, sort, reverse);
		if (format == CLI_JSON)
			put_json(&t, &out);
		else if (format == CLI_CSV)
			put_csv(&t, &out);
		else
			put_table(&t, sort, reverse, &out);
		cli_write(&out);
		code = cli_exit_code();
	} else {
		cli_notice("%s", err.msg);
	}
	fleet_table_fini(&t);
	lt_buf_fini(&out);
	fleet_free(f);
	return code;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_LONG_OPTIONS,
		{"output", required_argument, NULL, 'o'}, {"sort", required_argument, NULL, 's'},
		{"json", no_argument, NULL, 'j'}, {"reverse", no_argument, NULL, 'r'},
		{"redis", required_argument, NULL, 'R'}, {0}};
	enum view_column sort = VIEW_SOURCE;
	enum cli_output format = CLI_TABLE;
	bool reverse = false;
	int c, code = -1;

	while (code < 0 &&
		(c = getopt_long(argc, argv, CLI_SHORT_OPTIONS "o:js:r", options, NULL)) != -1) {
		switch (c) {
		case 'o':
			if (!cli_output(&cli_nodes, optarg, true, &format))
				code = LT_EXIT_USAGE;
			break;
		case 'j':
			format = CLI_JSON;
			break;
		case 's':
			sort = view_column_of(optarg);
			if (sort == VIEW_MAX)
				code = cli_usage(&cli_nodes, "--sort: no column '%s'", optarg);
			break;
		case 'r':
			reverse = true;
			break;
		case 'R':
			cli_override(cli, "redis.url", optarg);
			break;
		default:
			code = cli_option(cli, &cli_nodes, c);
		}
	}
	if (code < 0)
		code = cli_no_more(&cli_nodes, argc, argv);
	if (code < 0)
		code = cli_configure(cli);
	if (code >= 0)
		return code;
	text_init();
	return print_nodes(cli, format, sort, reverse);
}

const struct cli_command cli_nodes = {
	.name = "nodes",
	.summary = "list the sources with their newest values, once",
	.help = "nodes [OPTION]...\n"
		"List all nodes and devices with their newest values, once, from Redis.\n\n"
		"  -o, --output FORMAT  table (default), json or csv\n"
		"  -j, --json           the same as -o json\n"
		"  -s, --sort COLUMN    source (default), state, cpu, memory, disk, receive, "
		"transmit,\n"
		"                       load or age\n"
		"  -r, --reverse        the other way round\n"
		"      --redis URL      instead of redis.url\n"
		"  -c, --config FILE    configuration file; may be repeated, later ones win\n"
		"  -h, --help           print this and exit",
	.run = run,
};
