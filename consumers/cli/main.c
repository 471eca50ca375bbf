/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const struct cli_command *const commands[] = {
	&cli_tap, &cli_top, &cli_nodes, &cli_topics, &cli_deadletter, &cli_spool, &cli_gaps};

static void usage(FILE *out)
{
	fprintf(out, "Usage: latido [-c FILE]... COMMAND [OPTION]...\n"
		     "Look at what Latido's nodes and devices send.\n\nCommands:\n");
	for (size_t i = 0; i < LT_ARRAY_LEN(commands); i++)
		fprintf(out, "  %-11s %s\n", commands[i]->name, commands[i]->summary);
	fprintf(out, "  %-11s %s\n\n", "help", "explain a command: latido help top");
	fprintf(out, "  -c, --config FILE  configuration file; may be repeated, later ones win\n"
		     "  -V, --version      print the version and exit\n"
		     "  -h, --help         print this and exit\n");
}

static const struct cli_command *find(const char *name)
{
	for (size_t i = 0; i < LT_ARRAY_LEN(commands); i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	fprintf(stderr, "latido: no command '%s'\nTry 'latido --help'.\n", name);
	return NULL;
}

static int help(int argc, char **argv)
{
	const struct cli_command *cmd;

	if (argc < 2) {
		usage(stdout);
		return LT_EXIT_OK;
	}
	cmd = find(argv[1]);
	if (!cmd)
		return LT_EXIT_USAGE;
	printf("Usage: latido %s\n", cmd->help);
	return LT_EXIT_OK;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const struct cli_command *cmd;

	if (!strcmp(argv[0], "help"))
		return help(argc, argv);
	cmd = find(argv[0]);
	if (!cmd)
		return LT_EXIT_USAGE;
	optind = 0; /* a new scan */
	return cmd->run(cli, argc, argv);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
		{"version", no_argument, NULL, 'V'}, {"help", no_argument, NULL, 'h'}, {0}};
	struct cli cli = {0};
	int code = -1, c;

	signal(SIGPIPE, SIG_IGN);
	/* '+': the options behind the command are the command's. */
	while (code < 0 && (c = getopt_long(argc, argv, "+c:Vh", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			if (cli.n_files == CLI_FILES_MAX) {
				fprintf(stderr, "latido: at most %d configuration files\n",
					CLI_FILES_MAX);
				code = LT_EXIT_USAGE;
			} else {
				cli.files[cli.n_files++] = optarg;
			}
			break;
		case 'V':
			printf("latido %s\n", lt_daemon_version());
			code = LT_EXIT_OK;
			break;
		case 'h':
			usage(stdout);
			code = LT_EXIT_OK;
			break;
		default:
			fprintf(stderr, "Try 'latido --help'.\n");
			code = LT_EXIT_USAGE;
		}
	}
	if (code < 0 && optind == argc) {
		usage(stderr);
		code = LT_EXIT_USAGE;
	}
	if (code < 0)
		code = run(&cli, argc - optind, argv + optind);
	lt_conf_free(cli.handle);
	for (size_t i = 0; i < cli.n_overrides; i++)
		free(cli.overrides[i]);
	if (fflush(stdout) && code == LT_EXIT_OK)
		code = LT_EXIT_FAILURE;
	return code;
}
