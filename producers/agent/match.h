/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_MATCH_H
#define LATIDO_AGENT_MATCH_H

#include <stdbool.h>

#include "latido/err.h"

/**
 * struct lt_match - a regular expression of the configuration (POSIX extended, unanchored)
 *
 * "\d" is understood as [0-9], so that node_exporter's expressions work as they are. An empty
 * expression matches nothing.
 */
struct lt_match;

/**
 * lt_match_new() - compile
 * @key: configuration key, for the message.
 * Return: NULL with @err (CONFIG) when it is not a regular expression.
 */
struct lt_match *lt_match_new(const char *key, const char *expression, struct lt_err *err);
void lt_match_free(struct lt_match *m);
bool lt_match(const struct lt_match *m, const char *s);

#endif
