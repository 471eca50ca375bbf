/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LETTER_H
#define LATIDO_LETTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/err.h"
#include "latido/mem.h"

/*
 * A dead letter as one JSON document, for buses without headers (MQTT):
 *
 *	{"consumer":"store","reason":"decode","error":"...","time":"2026-11-21T05:00:00.250Z",
 *	 "topic":"...","key":null,"content_type":null,"partition":-1,"offset":-1,"size":17,
 *	 "truncated":false,"body":"<base64>"}
 */

/** struct lt_letter - strings are NUL-terminated; NULL = none or not known */
struct lt_letter {
	const char *consumer, *reason, *error, *topic, *key, *content_type;
	int64_t time_ns; /* 0 = not known */
	int32_t partition;
	int64_t offset;
	uint64_t size;  /* of the message */
	bool truncated; /* body is only its beginning */
	const void *body;
	size_t body_size;
};

void lt_letter_format(const struct lt_letter *l, struct lt_buf *out);
/**
 * lt_letter_parse() - members that are missing or of another type are taken as not known
 * @arena: owns what @out points to.
 * Return: LT_OK or LT_EDATA: no JSON object, or a body that is not base64.
 */
int lt_letter_parse(struct lt_letter *out, const void *text, size_t size, struct lt_arena *arena,
	struct lt_err *err) LT_MUST_CHECK;

#endif
