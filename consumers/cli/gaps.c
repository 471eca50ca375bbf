/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "latido/clock.h"
#include "latido/event.h"
#include "latido/sink_pg.h"

/* latido gaps: what PostgreSQL knows that it does not hold. */

struct output {
	struct lt_buf text;
	bool json;
	uint64_t rows, events, lost;
};

static void each(void *arg, const struct lt_gap_row *g)
{
	struct output *o = arg;
	uint64_t n = (uint64_t)(g->hi - g->lo) + 1;
	char noticed[LT_RFC3339_LEN];

	lt_rfc3339_format(g->noticed_us * LT_NS_PER_US, 3, noticed);
	if (o->json) {
		lt_buf_str(&o->text, "{\"source\":");
		lt_buf_json_str(&o->text, g->source, strlen(g->source));
		lt_buf_printf(&o->text,
			",\"epoch\":%" PRId64 ",\"kind\":\"%s\",\"lo\":%" PRId64 ",\"hi\":%" PRId64
			",\"noticed\":\"%s\"",
			g->epoch, g->kind, g->lo, g->hi, noticed);
		if (g->detail_len) {
			lt_buf_str(&o->text, ",\"detail\":");
			lt_buf_add(&o->text, g->detail, g->detail_len);
		}
		lt_buf_str(&o->text, "}\n");
	} else {
		if (!o->rows)
			lt_buf_printf(&o->text, "%-24s  %-24s  %16s  %-8s  %10s  %s\n", "noticed",
				"source", "epoch", "kind", "events", "sequence numbers");
		lt_buf_printf(&o->text,
			"%-24s  %-24s  %16" PRId64 "  %-8s  %10" PRIu64 "  %" PRId64 "-%" PRId64,
			noticed, g->source[0] ? g->source : "-", g->epoch, g->kind, n, g->lo,
			g->hi);
		if (g->detail_len) {
			lt_buf_str(&o->text, "  ");
			lt_buf_add(&o->text, g->detail, g->detail_len);
		}
		lt_buf_str(&o->text, "\n");
	}
	o->rows++;
	o->events += n;
	if (strcmp(g->kind, "open") != 0)
		o->lost += n;
}

static int print(struct cli *cli, const char *source, bool open, bool json)
{
	struct output o = {.json = json};
	struct lt_err err;
	bool written;

	if (lt_pg_list_gaps(cli->conf, source, open, each, &o, &err) != LT_OK) {
		cli_notice("%s", err.msg);
		lt_buf_fini(&o.text);
		return LT_EXIT_FAILURE;
	}
	if (!json && o.rows)
		lt_buf_printf(&o.text, "%" PRIu64 " events lost, %" PRIu64 " may still come\n",
			o.lost, o.events - o.lost);
	else if (!json)
		lt_buf_str(&o.text, "no gaps\n");
	written = cli_write(&o.text);
	lt_buf_fini(&o.text);
	return written ? LT_EXIT_OK : cli_exit_code();
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_LONG_OPTIONS,
		{"source", required_argument, NULL, 's'}, {"open", no_argument, NULL, 'O'},
		{"output", required_argument, NULL, 'o'}, {"json", no_argument, NULL, 'j'}, {0}};
	const char *source = "";
	enum cli_output format = CLI_TABLE;
	bool open = false;
	int c, code = -1;

	while (code < 0 &&
		(c = getopt_long(argc, argv, CLI_SHORT_OPTIONS "s:o:j", options, NULL)) != -1) {
		switch (c) {
		case 's':
			source = optarg;
			if (!lt_source_valid(source, strlen(source)))
				code = cli_usage(&cli_gaps, "--source: '%s' cannot be one", source);
			break;
		case 'O':
			open = true;
			break;
		case 'o':
			if (!cli_output(&cli_gaps, optarg, false, &format))
				code = LT_EXIT_USAGE;
			break;
		case 'j':
			format = CLI_JSON;
			break;
		default:
			code = cli_option(cli, &cli_gaps, c);
		}
	}
	if (code < 0)
		code = cli_no_more(&cli_gaps, argc, argv);
	if (code < 0)
		code = cli_configure(cli);
	return code >= 0 ? code : print(cli, source, open, format == CLI_JSON);
}

const struct cli_command cli_gaps = {
	.name = "gaps",
	.summary = "list events that PostgreSQL will never hold",
	.help = "gaps [OPTION]...\n"
		"List the sequence numbers that were given up: their sources can not send them "
		"any more.\n\n"
		"  -s, --source NAME    of one source only\n"
		"      --open           also holes that may still be filled\n"
		"  -o, --output FORMAT  table (default) or json: an object a line\n"
		"  -j, --json           the same as -o json\n"
		"  -c, --config FILE    configuration file; may be repeated, later ones win\n"
		"  -h, --help           print this and exit",
	.run = run,
};
