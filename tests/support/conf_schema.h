/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TESTS_CONF_SCHEMA_H
#define LATIDO_TESTS_CONF_SCHEMA_H

#include "latido/conf.h"

/* A schema with every type and both depths, which does not change with the product's. */
struct test_conf {
	struct {
		bool flag;
		int64_t count, free_count, wait_ms, size_bytes;
		double rate;
		char *text, *word;
		int color;
		struct lt_conf_list names, colors;
		struct lt_conf_map labels;
		struct {
			char *user, *password;
			struct {
				int64_t level;
			} inner;
		} login;
		char *last;
	} one;
	struct {
		int64_t count;
		char *token;
	} two;
};

extern const struct lt_conf_schema test_schema;

#endif
