/* SPDX-License-Identifier: MIT */
/* What every program with subcommands does before one of them runs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static void usage(const struct cli_program *p, FILE *out)
{
	fprintf(out, "Usage: %s [-c FILE]... COMMAND [OPTION]...\n%s\n\nCommands:\n", p->name,
		p->summary);
	for (size_t i = 0; i < p->n_commands; i++)
		fprintf(out, "  %-11s %s\n", p->commands[i]->name, p->commands[i]->summary);
	fprintf(out, "  %-11s explain a command: %s help %s\n\n", "help", p->name,
		p->commands[0]->name);
	fprintf(out, "  -c, --config FILE  configuration file; may be repeated, later ones win\n"
		     "  -V, --version      print the version and exit\n"
		     "  -h, --help         print this and exit\n");
}

static const struct cli_command *find(const struct cli_program *p, const char *name)
{
	for (size_t i = 0; i < p->n_commands; i++)
		if (!strcmp(p->commands[i]->name, name))
			return p->commands[i];
	fprintf(stderr, "%s: no command '%s'\nTry '%s --help'.\n", p->name, name, p->name);
	return NULL;
}

static int help(const struct cli_program *p, int argc, char **argv)
{
	const struct cli_command *cmd;

	if (argc < 2) {
		usage(p, stdout);
		return LT_EXIT_OK;
	}
	cmd = find(p, argv[1]);
	if (!cmd)
		return LT_EXIT_USAGE;
	printf("Usage: %s %s\n", p->name, cmd->help);
	return LT_EXIT_OK;
}

static int run(const struct cli_program *p, struct cli *cli, int argc, char **argv)
{
	const struct cli_command *cmd;

	if (!strcmp(argv[0], "help"))
		return help(p, argc, argv);
	cmd = find(p, argv[0]);
	if (!cmd)
		return LT_EXIT_USAGE;
	optind = 0; /* a new scan */
	return cmd->run(cli, argc, argv);
}

int cli_main(const struct cli_program *p, int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
		{"version", no_argument, NULL, 'V'}, {"help", no_argument, NULL, 'h'}, {0}};
	struct cli cli = {0};
	int code = -1, c;

	cli_name = p->name;
	signal(SIGPIPE, SIG_IGN);
	/* '+': the options behind the command are the command's. */
	while (code < 0 && (c = getopt_long(argc, argv, "+c:Vh", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			if (cli.n_files == CLI_FILES_MAX) {
				fprintf(stderr, "%s: at most %d configuration files\n", p->name,
					CLI_FILES_MAX);
				code = LT_EXIT_USAGE;
			} else {
				cli.files[cli.n_files++] = optarg;
			}
			break;
		case 'V':
			printf("%s %s\n", p->name, lt_daemon_version());
			code = LT_EXIT_OK;
			break;
		case 'h':
			usage(p, stdout);
			code = LT_EXIT_OK;
			break;
		default:
			fprintf(stderr, "Try '%s --help'.\n", p->name);
			code = LT_EXIT_USAGE;
		}
	}
	if (code < 0 && optind == argc) {
		usage(p, stderr);
		code = LT_EXIT_USAGE;
	}
	if (code < 0)
		code = run(p, &cli, argc - optind, argv + optind);
	lt_conf_free(cli.handle);
	for (size_t i = 0; i < cli.n_overrides; i++)
		free(cli.overrides[i]);
	if (fflush(stdout) && code == LT_EXIT_OK)
		code = LT_EXIT_FAILURE;
	return code;
}
