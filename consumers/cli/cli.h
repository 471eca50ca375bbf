/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CLI_H
#define LATIDO_CLI_H

#include <getopt.h>

#include "latido/config.h"
#include "latido/daemon.h"

/* Beyond lt_exit: nothing more came in time, as mosquitto_sub says it. */
#define CLI_EXIT_TIMEOUT 27

#define CLI_FILES_MAX     16
#define CLI_OVERRIDES_MAX 16

/** struct cli - what all subcommands share: where the configuration comes from, and it */
struct cli {
	const char *files[CLI_FILES_MAX];
	size_t n_files;
	char *overrides[CLI_OVERRIDES_MAX];
	size_t n_overrides;
	struct lt_conf *handle;
	const struct lt_config *conf;
};

/** struct cli_command - one subcommand; @run gets argv[0] = its name and returns an exit code */
struct cli_command {
	const char *name;
	const char *summary;
	const char *help; /* options, as printed by --help */
	int (*run)(struct cli *cli, int argc, char **argv);
};

/** struct cli_program - a program made of subcommands: latido, latido-load */
struct cli_program {
	const char *name;
	const char *summary;
	const struct cli_command *const *commands;
	size_t n_commands;
};

/** cli_main() - the program's main(): finds the subcommand and runs it. */
int cli_main(const struct cli_program *p, int argc, char **argv);
/* The running program's name, for messages; set by cli_main(). */
extern const char *cli_name;

extern const struct cli_command cli_tap, cli_top, cli_nodes, cli_topics, cli_deadletter, cli_spool,
	cli_gaps, cli_alerts;

/* For the option tables of subcommands. */
#define CLI_SHORT_OPTIONS "c:h"
#define CLI_LONG_OPTIONS                          \
	{"config", required_argument, NULL, 'c'}, \
	{                                         \
		"help", no_argument, NULL, 'h'    \
	}

/**
 * cli_option() - handle a common option, or '?' of a wrong one
 * Return: -1 to go on; else the exit code (help was printed, or what is wrong).
 */
int cli_option(struct cli *cli, const struct cli_command *cmd, int c);
/** cli_override() - "section.key=value", beats files and environment. */
void cli_override(struct cli *cli, const char *key, const char *value);
/** cli_no_more() - complain about arguments behind the options. Return: as cli_option(). */
int cli_no_more(const struct cli_command *cmd, int argc, char **argv);
/** cli_usage() - "latido <cmd>: text" and a hint to stderr. Return: LT_EXIT_USAGE. */
int cli_usage(const struct cli_command *cmd, const char *fmt, ...) LT_PRINTF(2, 3);
/** cli_number() - a decimal number within bounds. Return: false after cli_usage(). */
bool cli_number(const struct cli_command *cmd, const char *option, const char *text, double min,
	double max, double *out);
/** enum cli_output - how a list is printed: -o FORMAT of every command that has lists, -j for json */
enum cli_output { CLI_TABLE = 0, CLI_JSON, CLI_CSV };
/** cli_output() - read such a FORMAT; @csv: it has that, too. Return: false after cli_usage(). */
bool cli_output(const struct cli_command *cmd, const char *text, bool csv, enum cli_output *out);
/** cli_configure() - load the configuration. Return: -1 to go on; else an exit code. */
int cli_configure(struct cli *cli);

/** cli_notice() - "latido: text" to stderr. */
void cli_notice(const char *fmt, ...) LT_PRINTF(1, 2);
/**
 * cli_write() - to stdout, all of it
 * Return: false when that is not possible any more; a reader that went away is no error.
 */
bool cli_write(const struct lt_buf *text);
/** cli_exit_code() - LT_EXIT_FAILURE when cli_write() failed for another reason than EPIPE. */
int cli_exit_code(void);

#endif
