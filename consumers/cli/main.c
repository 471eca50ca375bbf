/* SPDX-License-Identifier: MIT */
#include "cli.h"

static const struct cli_command *const commands[] = {&cli_tap, &cli_top, &cli_nodes, &cli_topics,
	&cli_deadletter, &cli_spool, &cli_gaps, &cli_alerts};

static const struct cli_program latido = {.name = "latido",
	.summary = "Look at what Latido's nodes and devices send.",
	.commands = commands,
	.n_commands = LT_ARRAY_LEN(commands)};

int main(int argc, char **argv)
{
	return cli_main(&latido, argc, argv);
}
