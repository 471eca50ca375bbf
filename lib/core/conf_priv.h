/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONF_PRIV_H
#define LATIDO_CONF_PRIV_H

#include "latido/conf.h"

/*
 * What the files behind conf.h share.
 *
 * conf.c		the way of a load through the layers, and the result
 * conf_parse.c		YAML text -> tree of nodes with positions
 * conf_apply.c		tree -> settings, by the schema
 * conf_env.c		environment and command line -> settings
 * conf_value.c		one text -> one typed value
 * conf_yaml.c		typed values -> YAML
 * conf_secret.c	reading files: configuration, secrets
 * conf_report.c	error lines, excerpts, "did you mean"
 * conf_print.c		--print-config and the sample
 * conf_man.c		the reference page
 */

#define LT_CONF_MAX_BYTES        (1024 * 1024)
#define LT_CONF_MAX_DEPTH        32
#define LT_CONF_MAX_REPORTS      20
#define LT_CONF_SECRET_MAX_BYTES 4096
#define LT_CONF_NAME_MAX         128 /* "section.key_file" with its NUL */
#define LT_CONF_MAP_KEY_MAX      256

enum lt_conf_source_kind { LT_CONF_FROM_FILE = 0, LT_CONF_FROM_ENV, LT_CONF_FROM_COMMAND };

/** struct lt_conf_source - a place that values come from; lives in the configuration's arena */
struct lt_conf_source {
	enum lt_conf_source_kind kind;
	unsigned layer;   /* rises with precedence, from 1 */
	const char *name; /* as shown: the path, "env NAME", "command line" */
	const char *data; /* the text, while loading; for ENV and COMMAND "NAME=value" */
	size_t size;
	struct lt_conf_source *next;
};

/* @line and @col count from 1, @col in characters; line 0 means the source as a whole. */
struct lt_conf_pos {
	const struct lt_conf_source *src; /* NULL: the built-in default */
	size_t line, col;
};

enum lt_conf_node_kind {
	LT_NODE_SCALAR = 0,
	LT_NODE_SEQ,
	LT_NODE_MAP,
	LT_NODE_BAD, /* already reported; to be skipped */
};

struct lt_conf_node {
	enum lt_conf_node_kind kind;
	bool plain; /* a scalar without quotes */
	struct lt_conf_pos pos;
	const char *text; /* scalar, NUL-terminated, may contain NULs */
	size_t len;
	struct lt_conf_node *key; /* of the map entry whose value this is */
	struct lt_conf_node *child, *next;
	size_t n; /* children */
};

/** struct lt_conf_setting - what is known about one key's value */
struct lt_conf_setting {
	struct lt_conf_pos pos;
	bool file;         /* set by its _file key: */
	char *secret_file; /* heap; the value is this file's content */
	bool bad;          /* reported already */
};

struct lt_conf {
	const struct lt_conf_schema *schema;
	void *root;
	struct lt_conf_setting *settings; /* of all sections' keys in order */
	size_t n_settings;
	struct lt_conf_source *sources;
	struct lt_arena arena; /* sources and their names */
};

/** struct lt_conf_run - one load under way */
struct lt_conf_run {
	struct lt_conf *conf;
	struct lt_buf *out; /* may be NULL */
	size_t n_errors, n_shown, n_unshown;
};

/** struct lt_conf_ref - one key of the schema; @file: its _file companion is meant */
struct lt_conf_ref {
	const struct lt_conf_section *section;
	const struct lt_conf_key *key;
	bool file;
	size_t index; /* in settings */
};

/* ---- conf.c ---- */
/** lt_conf_add_source() - @name is copied, @data borrowed until the load ends. */
struct lt_conf_source *lt_conf_add_source(struct lt_conf_run *run, enum lt_conf_source_kind kind,
	unsigned layer, const char *name, const char *data, size_t size);
/** lt_conf_ref_at() - the n-th key of the section. */
struct lt_conf_ref lt_conf_ref_at(const struct lt_conf_schema *s, size_t section, size_t key);
const struct lt_conf_section *lt_conf_find_section(
	const struct lt_conf_schema *s, const char *name);
/** lt_conf_find() - @name without the section, dots inside; false when there is no such key. */
bool lt_conf_find(const struct lt_conf_schema *s, const struct lt_conf_section *section,
	const char *name, struct lt_conf_ref *ref);
/** lt_conf_path() - "section.key"; returns @out. */
const char *lt_conf_path(const struct lt_conf_ref *ref, char out[LT_CONF_NAME_MAX]);
void *lt_conf_field(const struct lt_conf *c, const struct lt_conf_ref *ref);
/** lt_conf_take() - may this layer set the key now? Reports both forms of a secret in one layer. */
bool lt_conf_take(
	struct lt_conf_run *run, const struct lt_conf_ref *ref, const struct lt_conf_pos *pos);
/** lt_conf_set_text() - set a key from one text; reports what is wrong with it. */
void lt_conf_set_text(struct lt_conf_run *run, const struct lt_conf_ref *ref,
	const struct lt_conf_pos *pos, const char *text, size_t len, int form);

/* ---- conf_parse.c ---- */
/** lt_conf_parse() - NULL when empty or not YAML (then reported); nodes live in @arena. */
struct lt_conf_node *lt_conf_parse(
	struct lt_conf_run *run, const struct lt_conf_source *src, struct lt_arena *arena);

/* ---- conf_apply.c ---- */
void lt_conf_apply(struct lt_conf_run *run, struct lt_conf_node *root);

/* ---- conf_env.c ---- */
void lt_conf_apply_env(struct lt_conf_run *run, char **environ_, unsigned layer);
void lt_conf_apply_overrides(
	struct lt_conf_run *run, const char *const *overrides, size_t n, unsigned layer);
/** lt_conf_env_name() - "LATIDO_BUS_MQTT_PASSWORD_FILE"; returns @out. */
const char *lt_conf_env_name(
	const struct lt_conf_schema *s, const struct lt_conf_ref *ref, char out[LT_CONF_NAME_MAX]);

/* ---- conf_value.c ---- */
enum lt_conf_form {
	LT_FORM_BARE = 0, /* default, environment, command line: no quotes, commas part lists */
	LT_FORM_PLAIN,    /* YAML scalar without quotes */
	LT_FORM_QUOTED,   /* YAML scalar with quotes, or a block scalar */
};

union lt_conf_value {
	bool b;
	int64_t i;
	double f;
	int e;
	char *s;
	struct lt_conf_list list;
	struct lt_conf_map map;
};

/** lt_conf_scan() - @text to a value of the key's type within its bounds; LT_ECONF with a reason. */
int lt_conf_scan(const struct lt_conf_key *key, const char *text, size_t len, int form,
	union lt_conf_value *out, struct lt_err *err);
/** lt_conf_scan_item() - one list item or map value: a string. */
int lt_conf_scan_item(const struct lt_conf_key *key, const char *text, size_t len, int form,
	char **out, struct lt_err *err);
/** lt_conf_scan_map_key() - a map's key: not empty, of bounded length, without NUL. */
int lt_conf_scan_map_key(const char *text, size_t len, char **out, struct lt_err *err);
void lt_conf_list_add(struct lt_conf_list *l, char *item);
void lt_conf_map_add(struct lt_conf_map *m, char *key, char *value);
void lt_conf_value_fini(const struct lt_conf_key *key, union lt_conf_value *v);
/** lt_conf_store() - move @v into the struct's field, freeing what was there. */
void lt_conf_store(const struct lt_conf_key *key, void *field, union lt_conf_value *v);
void lt_conf_field_fini(const struct lt_conf_key *key, void *field);
/** lt_conf_type_name() - "a duration such as 30s", for messages. */
const char *lt_conf_type_name(enum lt_conf_type t);
/** lt_conf_peek() - the field's value; what it points to still belongs to the field. */
union lt_conf_value lt_conf_peek(const struct lt_conf_key *key, const void *field);
/** lt_conf_put_number() - an INT, DURATION or SIZE as it would stand in YAML. */
void lt_conf_put_number(struct lt_buf *b, enum lt_conf_type t, int64_t v);
/** lt_conf_put_bounds() - "100ms to 1h". */
void lt_conf_put_bounds(struct lt_buf *b, const struct lt_conf_key *key);

/* ---- conf_yaml.c ---- */
/** lt_conf_put_field() - the field's value as YAML, on one line. */
void lt_conf_put_field(struct lt_buf *b, const struct lt_conf_key *key, const void *field);
/** lt_conf_put_string() - as a YAML scalar, quoted unless it is surely read as a string. */
void lt_conf_put_string(struct lt_buf *b, const char *s);
/** lt_conf_put_kind() - "duration, 100ms to 1h"; "one of a, b", for the sample and the page. */
void lt_conf_put_kind(struct lt_buf *b, const struct lt_conf_key *key);

/* ---- conf_secret.c ---- */
/**
 * lt_conf_read_file() - a whole file of at most @max bytes
 * @regular: refuse pipes and devices, which could make us wait.
 * @data: heap, with a NUL behind it.
 */
int lt_conf_read_file(
	const char *path, size_t max, bool regular, char **data, size_t *size, struct lt_err *err);
/** lt_conf_read_secrets() - the content of every _file key into its field. */
void lt_conf_read_secrets(struct lt_conf_run *run);

/* ---- conf_report.c ---- */
enum lt_conf_severity { LT_CONF_ERROR = 0, LT_CONF_WARNING };

/**
 * lt_conf_say() - one report, with the source line and a caret
 * @path: "section.key", or NULL.
 * @hide: the line holds a secret: no excerpt.
 */
void lt_conf_say(struct lt_conf_run *run, enum lt_conf_severity sev, const struct lt_conf_pos *pos,
	const char *path, bool hide, const char *fmt, ...) LT_PRINTF(6, 7);
/** lt_conf_say_rest() - how many reports there was no room for. */
void lt_conf_say_rest(struct lt_conf_run *run);
/** lt_conf_quote() - @s in quotes, without control characters, cut to fit; returns @out. */
const char *lt_conf_quote(const char *s, size_t n, char out[96]);

/** struct lt_conf_guess - the best candidate so far for a misspelt name */
struct lt_conf_guess {
	const char *name;
	size_t len;
	const char *best; /* NULL: nothing is close */
	unsigned distance;
};
void lt_conf_guess_init(struct lt_conf_guess *g, const char *name, size_t len);
/** lt_conf_guess_try() - @candidate must outlive the guess. */
void lt_conf_guess_try(struct lt_conf_guess *g, const char *candidate, size_t len);
/** lt_conf_is_secret_name() - is it, or is it close to, the last part of a secret key? */
bool lt_conf_is_secret_name(const struct lt_conf_schema *s, const char *name, size_t len);

#endif
