/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define SERIES_MAX 100000

static int parse(struct cli *cli, int argc, char **argv, struct load_plan *plan,
	struct load_words *words, double *series, int64_t *restart_ns)
{
	static const struct option options[] = {LOAD_LONG_OPTIONS,
		{"series", required_argument, NULL, 'N'},
		{"restart-every", required_argument, NULL, 'E'}, {0}};
	int c, code = -1;

	while (code < 0 && (c = getopt_long(argc, argv, CLI_SHORT_OPTIONS "s:i:r:n:d:o:jq", options,
				    NULL)) != -1) {
		switch (c) {
		case 'N':
			if (!cli_number(&load_simulate, "--series", optarg, 1, SERIES_MAX, series))
				code = LT_EXIT_USAGE;
			break;
		case 'E':
			if (!load_duration(&load_simulate, "--restart-every", optarg, restart_ns))
				code = LT_EXIT_USAGE;
			break;
		default:
			code = load_option(cli, &load_simulate, plan, words, c);
		}
	}
	return code < 0 ? cli_no_more(&load_simulate, argc, argv) : code;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct load_plan plan = {.command = "simulate",
		.prefix = "sim",
		.sources = 100,
		.connections = 1,
		.drain_ns = 60 * LT_NS_PER_S,
		.resend_ns = 10 * LT_NS_PER_S,
		.seed = lt_random_u64() >> 16};
	struct load_words words = {0};
	double series = 400;
	int64_t restart_ns = 0;
	int code = parse(cli, argc, argv, &plan, &words, &series, &restart_ns);

	if (code < 0 && !plan.count && !plan.duration_ns)
		plan.duration_ns = 60 * LT_NS_PER_S;
	if (code < 0)
		code = load_settle(cli, &load_simulate, &plan, &words);
	if (code < 0) {
		plan.sim = load_sim_new((uint32_t)series, plan.seed, restart_ns);
		code = load_run(&plan);
	}
	load_plan_fini(&plan);
	return code;
}

const struct cli_command load_simulate = {
	.name = "simulate",
	.summary = "play a fleet of nodes with plausible values",
	.help = "simulate [OPTION]...\n"
		"Play many nodes: gauges that follow the time of day, counters that rise and "
		"begin\n"
		"anew when a node restarts. Numbered and sent again like an agent's events.\n\n"
		"  -s, --sources N            nodes (100)\n"
		"      --series N             values of each event (400)\n"
		"      --restart-every TIME   mean time between restarts of a node "
		"(never)\n" LOAD_HELP "Without --count and --duration it lasts 60 s.",
	.run = run,
};
