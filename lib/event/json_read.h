/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_EVENT_JSON_READ_H
#define LATIDO_EVENT_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/mem.h"

/*
 * A reader that pulls one JSON value after the other (RFC 8259) and builds no tree: members come in
 * their order, numbers keep their digits, and memory does not depend on what a sender nests.
 */

#define JSON_DEPTH_MAX 64

/** struct json - a position in a text; a copy of it is a bookmark */
struct json {
	const char *p, *end, *start;
	const char *error; /* static text after a failure, which is at p */
};

enum json_type { JSON_OBJECT = 0, JSON_ARRAY, JSON_STRING, JSON_NUMBER, JSON_BOOL, JSON_NULL };

/**
 * struct json_value - one value
 *
 * Scalars are complete. Of an object or array only the bracket has been read: go on with
 * json_member(), json_item() or json_skip().
 */
struct json_value {
	enum json_type type;
	bool truth;    /* BOOL */
	bool escaped;  /* STRING: has backslashes, needs json_unescape() */
	const char *s; /* STRING: between the quotes, valid UTF-8; NUMBER: its text */
	size_t len;
};

void json_init(struct json *j, const char *p, size_t size);
/** json_value() - read a value. Return: false with j->error. */
bool json_value(struct json *j, struct json_value *v);
/**
 * json_member() - in an object: the next member's key, up to its colon
 * @first: true before the first call; the reader clears it.
 * Return: 1; 0 behind the closing brace; -1 with j->error.
 */
int json_member(struct json *j, bool *first, struct json_value *key);
/** json_item() - in an array: 1: a value follows; 0 behind the closing bracket; -1. */
int json_item(struct json *j, bool *first);
/** json_skip() - read the rest of @v, whatever it holds. Return: false with j->error. */
bool json_skip(struct json *j, const struct json_value *v);
/** json_end() - nothing but white space follows. */
bool json_end(struct json *j);

/** json_unescape() - write a STRING's text, at most v->len bytes. Return: how many. */
size_t json_unescape(const struct json_value *v, char *out);
/** json_text() - a STRING's text, in @scratch if it has escapes. Return: its first byte. */
const char *json_text(const struct json_value *v, struct lt_buf *scratch, size_t *n);

/**
 * text_number() - decimal text to the nearest double
 *
 * Takes what JSON takes, also with '+', without digits before or behind the point, and NaN, Inf,
 * +Inf, -Inf in any case. Independent of the locale. Return: false when it is something else, or
 * out of range.
 */
bool text_number(const char *s, size_t n, double *out);

#endif
