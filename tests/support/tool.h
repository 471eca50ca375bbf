/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TEST_TOOL_H
#define LATIDO_TEST_TOOL_H

#include "latido/config.h"

/**
 * tool_conf() - the configuration file of a program under tests/tools
 *
 * What is wrong with it is said, and the program ends with 78. Return: to be freed by the caller.
 */
struct lt_conf *tool_conf(const char *path);

#endif
