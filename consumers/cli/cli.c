/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/latido/latido.yaml"

const char *cli_name = "latido";
static bool write_failed;

int cli_usage(const struct cli_command *cmd, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s %s: ", cli_name, cmd->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry '%s %s --help'.\n", cli_name, cmd->name);
	return LT_EXIT_USAGE;
}

int cli_option(struct cli *cli, const struct cli_command *cmd, int c)
{
	switch (c) {
	case 'c':
		if (cli->n_files == CLI_FILES_MAX)
			return cli_usage(cmd, "at most %d configuration files", CLI_FILES_MAX);
		cli->files[cli->n_files++] = optarg;
		return -1;
	case 'h':
		printf("Usage: %s %s\n", cli_name, cmd->help);
		return fflush(stdout) ? LT_EXIT_FAILURE : LT_EXIT_OK;
	default: /* getopt_long() has said what is wrong */
		fprintf(stderr, "Try '%s %s --help'.\n", cli_name, cmd->name);
		return LT_EXIT_USAGE;
	}
}

void cli_override(struct cli *cli, const char *key, const char *value)
{
	if (cli->n_overrides < CLI_OVERRIDES_MAX)
		cli->overrides[cli->n_overrides++] = lt_asprintf("%s=%s", key, value);
}

int cli_no_more(const struct cli_command *cmd, int argc, char **argv)
{
	if (optind < argc)
		return cli_usage(cmd, "unexpected argument '%s'", argv[optind]);
	return -1;
}

bool cli_number(const struct cli_command *cmd, const char *option, const char *text, double min,
	double max, double *out)
{
	char *end;

	errno = 0;
	*out = strtod(text, &end);
	if (end == text || *end || errno || !isfinite(*out) || *out < min || *out > max) {
		cli_usage(cmd, "%s: expected a number from %g to %g, got '%s'", option, min, max,
			text);
		return false;
	}
	return true;
}

bool cli_output(const struct cli_command *cmd, const char *text, bool csv, enum cli_output *out)
{
	static const char *const names[] = {"table", "json", "csv"};

	for (size_t i = 0; i < (csv ? 3 : 2); i++) {
		if (strcmp(text, names[i]) == 0) {
			*out = (enum cli_output)i;
			return true;
		}
	}
	cli_usage(
		cmd, "--output: %s, not '%s'", csv ? "table, json or csv" : "table or json", text);
	return false;
}

int cli_configure(struct cli *cli)
{
	struct lt_buf errors = {0};

	if (cli->n_files == 0 && access(DEFAULT_CONFIG, F_OK) == 0)
		cli->files[cli->n_files++] = DEFAULT_CONFIG;
	cli->handle = lt_conf_load(&lt_config_schema, cli->files, cli->n_files, environ,
		(const char *const *)cli->overrides, cli->n_overrides, &errors);
	if (errors.len)
		fputs(errors.data, stderr);
	lt_buf_fini(&errors);
	if (!cli->handle)
		return LT_EXIT_CONFIG;
	cli->conf = lt_conf_root(cli->handle);
	return -1;
}

void cli_notice(const char *fmt, ...)
{
	struct lt_buf line = {0};
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	lt_buf_printf(&line, "%s: %s\n", cli_name, text);
	fwrite(line.data, 1, line.len, stderr);
	lt_buf_fini(&line);
}

bool cli_write(const struct lt_buf *text)
{
	size_t at = 0;

	while (at < text->len) {
		ssize_t n = write(STDOUT_FILENO, text->data + at, text->len - at);

		if (n >= 0) {
			at += (size_t)n;
		} else if (errno != EINTR) {
			if (errno != EPIPE && !write_failed) {
				write_failed = true;
				cli_notice("cannot write the output: %s", strerror(errno));
			}
			return false;
		}
	}
	return true;
}

int cli_exit_code(void)
{
	return write_failed ? LT_EXIT_FAILURE : LT_EXIT_OK;
}
