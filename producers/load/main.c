/* SPDX-License-Identifier: MIT */
#include "load.h"

static const struct cli_command *const commands[] = {&load_simulate, &load_collect, &load_replay};

static const struct cli_program latido_load = {.name = "latido-load",
	.summary = "Send Latido the events of many sources, and measure.",
	.commands = commands,
	.n_commands = LT_ARRAY_LEN(commands)};

int main(int argc, char **argv)
{
	return cli_main(&latido_load, argc, argv);
}
