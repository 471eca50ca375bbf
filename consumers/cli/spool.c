/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "latido/clock.h"
#include "latido/spool.h"

/* latido spool inspect|verify DIR */

static void show_time(struct lt_buf *out, int64_t ns)
{
	char text[LT_RFC3339_LEN];

	lt_rfc3339_format(ns, 3, text);
	lt_buf_str(out, text);
}

static void show_segment(struct lt_buf *out, const struct lt_spool_segment *g)
{
	lt_buf_printf(out, "%s  %10" PRIu64 " bytes  ", g->name, g->bytes);
	if (!g->header_ok)
		lt_buf_str(out, "header damaged  ");
	if (g->records) {
		lt_buf_printf(out, "%6" PRIu64 " records  %" PRIu64 "-%" PRIu64 "  ", g->records,
			g->lo, g->hi);
		show_time(out, g->first_ns);
		lt_buf_str(out, " to ");
		show_time(out, g->last_ns);
	} else {
		lt_buf_str(out, "no record");
	}
	if (g->damaged)
		lt_buf_printf(out, "  %" PRIu64 " damaged stretches", g->damaged);
	if (g->torn_bytes)
		lt_buf_printf(out, "  %" PRIu64 " bytes behind the last record", g->torn_bytes);
	lt_buf_char(out, '\n');
}

/* Return: how many things are wrong. */
static uint64_t show(struct lt_buf *out, const struct lt_spool_report *r, bool all)
{
	uint64_t problems = !r->head_ok, records = 0, bytes = 0;

	if (r->head_ok)
		lt_buf_printf(out,
			"source %s  epoch %" PRIu64 "  issued up to %" PRIu64
			"  done up to %" PRIu64 "  %s\n",
			r->source, r->epoch, r->issued, r->done_upto,
			r->clean ? "closed" : "open, or its program was killed");
	else
		lt_buf_printf(out, "head: %s\n", r->problem);
	for (size_t i = 0; i < r->n; i++) {
		const struct lt_spool_segment *g = &r->segments[i];
		/* The last one of an open spool is being written to. */
		bool growing = i + 1 == r->n && !r->clean;
		bool bad = !g->header_ok || g->damaged || (g->torn_bytes && !growing);

		problems += !g->header_ok + g->damaged + (g->torn_bytes && !growing);
		records += g->records;
		bytes += g->bytes;
		if (all || bad)
			show_segment(out, g);
	}
	lt_buf_printf(out,
		"%zu segments, %" PRIu64 " records, %" PRIu64 " bytes, %" PRIu64 " problems\n",
		r->n, records, bytes, problems);
	return problems;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_LONG_OPTIONS, {0}};
	struct lt_spool_report report;
	struct lt_buf out = {0};
	struct lt_err err;
	uint64_t problems;
	bool inspect, written;
	int c, code = -1;

	while (code < 0 && (c = getopt_long(argc, argv, CLI_SHORT_OPTIONS, options, NULL)) != -1)
		code = cli_option(cli, &cli_spool, c);
	if (code >= 0)
		return code;
	if (argc - optind != 2)
		return cli_usage(&cli_spool, "expected inspect or verify and a folder");
	inspect = !strcmp(argv[optind], "inspect");
	if (!inspect && strcmp(argv[optind], "verify") != 0)
		return cli_usage(&cli_spool, "expected inspect or verify, not '%s'", argv[optind]);
	if (lt_spool_inspect(argv[optind + 1], &report, &err) != LT_OK) {
		cli_notice("%s", err.msg);
		lt_spool_report_fini(&report);
		return LT_EXIT_FAILURE;
	}
	if (!report.head_ok && !report.n) {
		cli_notice("%s: no spool there (%s)", argv[optind + 1], report.problem);
		lt_spool_report_fini(&report);
		return LT_EXIT_FAILURE;
	}
	problems = show(&out, &report, inspect);
	written = cli_write(&out);
	lt_buf_fini(&out);
	lt_spool_report_fini(&report);
	if (!written)
		return cli_exit_code();
	return problems && !inspect ? LT_EXIT_FAILURE : LT_EXIT_OK;
}

const struct cli_command cli_spool = {
	.name = "spool",
	.summary = "look at the spool of an agent or an inbox on disk",
	.help = "spool inspect|verify DIR\n"
		"inspect lists the segments of a spool with what they hold; verify reads all of "
		"it and\nexits 1 when anything is damaged. Neither changes it, and the spool may "
		"be in use.\n\n"
		"  -c, --config FILE    accepted, not needed\n"
		"  -h, --help           print this and exit",
	.run = run,
};
