/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

/* "50/50", "10/20/70" */
static int parse_split(struct load_plan *plan, const char *text)
{
	unsigned sum = 0;

	for (plan->n_paths = 0; plan->n_paths < LOAD_PATHS_MAX;) {
		char *end;
		unsigned long v = strtoul(text, &end, 10);

		if (end == text || v < 1 || v > 100)
			break;
		plan->paths[plan->n_paths++].share = (unsigned)v;
		sum += (unsigned)v;
		if (*end == '\0' && sum == 100)
			return -1;
		if (*end != '/')
			break;
		text = end + 1;
	}
	plan->n_paths = 0;
	return cli_usage(&load_replay, "--split: expected percentages that make 100, as in 50/50");
}

/* "Python,Go": what the halves are called. The list is cut up in place. */
static int name_parts(struct load_plan *plan, char *tags)
{
	static const char *const letters[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
	size_t n = 0;

	for (size_t i = 0; i < plan->n_paths && plan->n_paths > 1; i++)
		plan->paths[i].tag = letters[i];
	for (char *at = tags; at; n++) {
		char *comma = strchr(at, ',');

		if (comma)
			*comma++ = '\0';
		if (n == plan->n_paths || !*at || !lt_utf8_valid(at, strlen(at)))
			return cli_usage(&load_replay, "--api: expected %zu names, as in Python,Go",
				plan->n_paths);
		plan->paths[n].tag = at;
		at = comma;
	}
	if (n && n != plan->n_paths)
		return cli_usage(&load_replay, "--api: %zu names for %zu parts", n, plan->n_paths);
	return -1;
}

static int parse(struct cli *cli, int argc, char **argv, struct load_plan *plan,
	struct load_words *words, char **tags)
{
	static const struct option options[] = {LOAD_LONG_OPTIONS,
		{"split", required_argument, NULL, 'P'}, {"api", required_argument, NULL, 'a'},
		{0}};
	int c, code = -1;

	while (code < 0 && (c = getopt_long(argc, argv, CLI_SHORT_OPTIONS "s:i:r:n:d:o:jq", options,
				    NULL)) != -1) {
		switch (c) {
		case 'P':
			code = parse_split(plan, optarg);
			break;
		case 'a':
			*tags = optarg;
			break;
		default:
			code = load_option(cli, &load_replay, plan, words, c);
		}
	}
	if (code < 0 && optind >= argc)
		code = cli_usage(&load_replay, "which recording?");
	if (code < 0 && optind + 1 < argc)
		code = cli_usage(&load_replay, "unexpected argument '%s'", argv[optind + 1]);
	return code;
}

static int read_recordings(struct load_plan *plan, const char *path)
{
	struct lt_err err;

	for (size_t i = 0; i < plan->n_paths; i++) {
		struct load_path *p = &plan->paths[i];

		p->recording = lt_calloc(1, sizeof(*p->recording));
		if (load_recording_read(p->recording, path, p->tag, &p->conf->limits, &err) !=
			LT_OK) {
			cli_notice("%s", err.msg);
			return LT_EXIT_FAILURE;
		}
	}
	return -1;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct load_plan plan = {.command = "replay",
		.prefix = "user",
		.sources = 150,
		.connections = 1,
		.drain_ns = 60 * LT_NS_PER_S,
		.resend_ns = 10 * LT_NS_PER_S,
		.seed = lt_random_u64() >> 16};
	struct load_words words = {0};
	char *tags = NULL;
	int code = parse(cli, argc, argv, &plan, &words, &tags);

	/* The first users' pace, if nothing else is said. */
	if (code < 0 && !plan.interval_min_ns && !words.flat_out && words.rate == 0) {
		plan.interval_min_ns = LT_NS_PER_S;
		plan.interval_max_ns = 4 * LT_NS_PER_S;
	}
	if (code < 0)
		code = load_settle(cli, &load_replay, &plan, &words);
	if (code < 0)
		code = name_parts(&plan, tags);
	if (code < 0)
		code = read_recordings(&plan, argv[optind]);
	if (code < 0) {
		if (!plan.count && !plan.duration_ns)
			plan.count = plan.paths[0].recording->n;
		code = load_run(&plan);
	}
	load_plan_fini(&plan);
	return code;
}

const struct cli_command load_replay = {
	.name = "replay",
	.summary = "send a recording as if from many sources",
	.help = "replay [OPTION]... FILE\n"
		"Send the documents of a recording one after the other, each from the next source\n"
		"that is due; numbered and sent again like an agent's events.\n\n"
		"  -s, --sources N            sources (150)\n"
		"      --split PERCENT/...    shares of the sources; each goes to the --bus at its "
		"place\n"
		"      --api NAME,...         label api of the parts (a,b,...); also without "
		"--split\n" LOAD_HELP
		"Without --count and --duration every document is sent once. Without a pace the\n"
		"interval is 1s..4s.",
	.run = run,
};
