/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONF_H
#define LATIDO_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "latido/mem.h"

/**
 * Configuration: one YAML file for all programs, one described table a section. The same table
 * gives parsing, bounds, defaults, environment overrides, --print-config, --print-sample-config and
 * the reference page latido.yaml(5).
 *
 * Precedence: command line > environment (LATIDO_<SECTION>_<KEY>) > file (later -c wins) > default.
 *
 * YAML subset: block or flow maps and sequences of scalars. Refused with file:line:col: duplicate
 * keys, anchors, aliases, tags, several documents, files over 1 MiB, depth over 32. Booleans are
 * true and false only. Durations need a unit (250ms, 30s, 5m, 12h, 7d), sizes too (4096B, 64KiB,
 * 8MiB, 1GiB); 0 needs none.
 */
enum lt_conf_type {
	LT_CONF_BOOL = 0, /* bool */
	LT_CONF_INT,      /* int64_t */
	LT_CONF_FLOAT,    /* double */
	LT_CONF_DURATION, /* int64_t, milliseconds */
	LT_CONF_SIZE,     /* int64_t, bytes */
	LT_CONF_STRING,   /* char *, heap, never NULL after loading */
	LT_CONF_ENUM,     /* int: index into choices */
	LT_CONF_LIST,     /* struct lt_conf_list of strings */
	LT_CONF_MAP,      /* struct lt_conf_map, string to string */
};

struct lt_conf_list {
	char **items;
	size_t n;
};
struct lt_conf_map {
	char **keys;
	char **values;
	size_t n;
};

enum lt_conf_flags {
	LT_CONF_RELOAD = 1, /* SIGHUP takes it over */
	LT_CONF_SECRET = 2, /* never printed; the key <name>_file reads it from a file instead */
};

/**
 * struct lt_conf_key - one row of a section's table
 * @name: may have dots ("mqtt.client_id"): nested maps in YAML, underscores in the environment.
 * @offset: of the field in the section's struct.
 * @def: default as in the environment: strings without quotes, for LIST "a, b", for MAP "".
 * @min, @max: bounds for numbers (ms, bytes), both 0 = none; for strings and list items the
 *	shortest and longest length in bytes.
 * @choices: NULL-terminated, for ENUM; for LIST what its items may be, or NULL.
 * @help: sentences in plain text. Keys with a common dotted prefix stand together.
 */
struct lt_conf_key {
	const char *name;
	enum lt_conf_type type;
	size_t offset;
	const char *def;
	int64_t min, max;
	const char *const *choices;
	unsigned flags;
	const char *help;
};

struct lt_conf_check;

struct lt_conf_section {
	const char *name;
	const char *help;
	size_t offset; /* of the section's struct in the root struct */
	const struct lt_conf_key *keys;
	size_t n_keys;
	/* What a table cannot say: called after loading with the section's struct; answers by
	 * lt_conf_reject(). May be NULL. */
	void (*check)(struct lt_conf_check *k, const void *section);
};

/**
 * lt_conf_reject() - from a check hook: this key's value is wrong; reported where it was set
 * @key: as in the table. A key that was reported already is not reported again.
 *
 * The source line is shown with the report unless the key is a secret; use lt_conf_reject_hidden()
 * where a value may hold credentials.
 */
void lt_conf_reject(struct lt_conf_check *k, const char *key, const char *fmt, ...) LT_PRINTF(3, 4);
void lt_conf_reject_hidden(struct lt_conf_check *k, const char *key, const char *fmt, ...)
	LT_PRINTF(3, 4);

struct lt_conf_schema {
	const struct lt_conf_section *const *sections; /* in the order of the sample and the page */
	size_t n_sections;
	size_t root_size;
	const char *env_prefix; /* "LATIDO" */
};

/** struct lt_conf - one loaded configuration; remembers where each value came from */
struct lt_conf;

/**
 * lt_conf_load() - defaults, then files, environment and overrides, into a new root struct
 * @files: paths in order; none is fine.
 * @environ_: like environ(7); NULL = none.
 * @overrides: "section.key=value" pairs from the command line.
 * @errors: all errors and warnings of the run (at most 20), a line each:
 *	file:line:col: error: section.key: text
 * followed by the source line and a caret, with "did you mean" where a name is close.
 *
 * Return: the configuration, or NULL when there was an error; warnings alone do not fail.
 */
struct lt_conf *lt_conf_load(const struct lt_conf_schema *schema, const char *const *files,
	size_t n_files, char **environ_, const char *const *overrides, size_t n_overrides,
	struct lt_buf *errors);
/**
 * lt_conf_load_text() - the same from one document in memory, without environment
 * @name: stands for the file name in messages.
 */
struct lt_conf *lt_conf_load_text(const struct lt_conf_schema *schema, const char *name,
	const char *text, size_t size, struct lt_buf *errors);
void lt_conf_free(struct lt_conf *c);
/** lt_conf_root() - the root struct; valid until lt_conf_free(). */
void *lt_conf_root(struct lt_conf *c);

/**
 * lt_conf_print() - effective YAML that loads again, each value with its origin: "# default",
 * "# file:line", "# env NAME" or "# command line". A secret stands there as a comment only; one
 * that came from a file as its _file key.
 */
void lt_conf_print(const struct lt_conf *c, struct lt_buf *out);
/**
 * lt_conf_sample() - commented YAML with every key, its help, bounds and default
 *
 * Nothing is set in it: a line "#key: value" is the default, to be changed after removing the '#';
 * "# text" is help.
 */
void lt_conf_sample(const struct lt_conf_schema *schema, struct lt_buf *out);
/** lt_conf_man() - the keys as the scdoc body of latido.yaml(5). */
void lt_conf_man(const struct lt_conf_schema *schema, struct lt_buf *out);

#endif
