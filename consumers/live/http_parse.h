/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_HTTP_PARSE_H
#define LATIDO_LIVE_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/mem.h"

/*
 * What clients send, read strictly (RFC 9110, RFC 9112): whatever two readers could understand in
 * two ways is refused, because behind a proxy that is how requests are smuggled. Bare line feeds,
 * folded lines, spaces before a colon, two lengths, any Transfer-Encoding, bodies of GET: all errors.
 * Pure functions; the fuzz target http_fuzz.c runs them.
 */

#define HTTP_HEAD_MAX    16384 /* request line and headers */
#define HTTP_TARGET_MAX  8192
#define HTTP_HEADERS_MAX 64
#define HTTP_PARAMS_MAX  128
#define HTTP_BODY_MAX    65536

enum http_method { HTTP_GET = 0, HTTP_HEAD, HTTP_POST };

struct http_field {
	const char *name, *value; /* NUL-terminated; header names in lower case */
};

/** struct http_head - one request without its body; points into the buffer that was parsed */
struct http_head {
	enum http_method method;
	bool keep_alive;
	const char *
		path; /* decoded; starts with '/', no "." or ".." segments, no control characters */
	const char *query; /* raw, without '?'; "" when there is none */
	const char *host;
	size_t body_bytes; /* Content-Length */
	bool expect_continue;
	struct http_field headers[HTTP_HEADERS_MAX];
	size_t n_headers;
};

/**
 * http_parse_head() - read a request's head
 * @data: changed in place; must live as long as @out.
 * @used: out: bytes of the head when complete.
 *
 * Return: 0: not complete yet; 200: complete; else the status to refuse it with. After a refusal
 * nothing more of that connection can be trusted.
 */
int http_parse_head(char *data, size_t size, struct http_head *out, size_t *used);

/** http_header() - value of a header, NULL when it is not there. @name: lower case. */
const char *http_header(const struct http_head *h, const char *name);

/**
 * http_cookie() - value of a cookie in a Cookie header
 * @out: copied and NUL-terminated. Return: false: not there, twice there, or too long.
 */
bool http_cookie(const char *header, const char *name, char *out, size_t size);

/** struct http_params - of a query or a form (application/x-www-form-urlencoded), decoded */
struct http_params {
	struct lt_buf text;
	struct {
		size_t name, value; /* offsets into text */
	} at[HTTP_PARAMS_MAX];
	size_t n;
};

/**
 * http_params_parse() - add the parameters of @text; "+" is a space
 * Return: false: malformed escapes, not UTF-8, NUL, or too many.
 */
bool http_params_parse(struct http_params *p, const char *text, size_t size);
void http_params_fini(struct http_params *p);
/** http_param() - the @nth value of a name, NULL when there is none. */
const char *http_param(const struct http_params *p, const char *name, size_t nth);
/** http_param_i() - name and value of parameter @i. */
const char *http_param_name(const struct http_params *p, size_t i);
const char *http_param_value(const struct http_params *p, size_t i);

/**
 * http_time_ms() - seconds since 1970 with a fraction, or RFC 3339
 * Return: false: neither, or beyond the years 1970 to 2262.
 */
bool http_time_ms(const char *s, int64_t *ms);
/** http_duration_ms() - seconds with a fraction, or Prometheus durations: 30s, 1h30m, 250ms, 7d. */
bool http_duration_ms(const char *s, int64_t *ms);

/** http_etag_matches() - does If-None-Match name this entity tag (quoted)? Weak comparison. */
bool http_etag_matches(const char *header, const char *etag);
/** http_accepts() - does Accept-Encoding take this coding, "br" or "gzip"? */
bool http_accepts(const char *header, const char *coding);

#endif
