/* SPDX-License-Identifier: MIT */
#include "http_parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "latido/clock.h"

static bool is_token_char(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. Return: the new length, or SIZE_MAX: a malformed escape or a NUL. */
static size_t percent_decode(char *s, size_t n, bool plus_is_space)
{
	size_t out = 0;

	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c == '%') {
			int a = i + 2 < n ? hex(s[i + 1]) : -1, b = i + 2 < n ? hex(s[i + 2]) : -1;

			if (a < 0 || b < 0)
				return SIZE_MAX;
			c = (char)(a << 4 | b);
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		if (!c)
			return SIZE_MAX;
		s[out++] = c;
	}
	return out;
}

/* No way up, nothing that a log or a file system could misread. */
static bool path_is_clean(const char *s, size_t n)
{
	size_t start = 1;

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f || s[i] == '\\')
			return false;
	for (size_t i = 1; i <= n; i++) {
		if (i < n && s[i] != '/')
			continue;
		if ((i - start == 1 && s[start] == '.') ||
			(i - start == 2 && s[start] == '.' && s[start + 1] == '.'))
			return false;
		start = i + 1;
	}
	return lt_utf8_valid(s, n);
}

/* @s: the target, in place; its end is @n bytes on. */
static int parse_target(char *s, size_t n, struct http_head *out)
{
	char *question = memchr(s, '?', n);
	size_t path_len = question ? (size_t)(question - s) : n;

	if (n == 0 || *s != '/')
		return 400;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] <= 0x20 || (unsigned char)s[i] >= 0x7f || s[i] == '#')
			return 400;
	s[n] = '\0';
	out->query = question ? question + 1 : s + n;
	path_len = percent_decode(s, path_len, false);
	if (path_len == SIZE_MAX || !path_is_clean(s, path_len))
		return 400;
	s[path_len] = '\0';
	out->path = s;
	return 0;
}

/* "GET /path HTTP/1.1", without its line end. */
static int parse_request_line(char *s, size_t n, struct http_head *out)
{
	static const char *const others[] = {
		"PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"};
	char *space = memchr(s, ' ', n), *last = memrchr(s, ' ', n);
	size_t method;

	if (!space || last == space)
		return 400;
	method = (size_t)(space - s);
	if (n - (size_t)(last + 1 - s) != 8 || memcmp(last + 1, "HTTP/", 5))
		return 400;
	if (memcmp(last + 6, "1.1", 3) && memcmp(last + 6, "1.0", 3))
		return 505;
	out->keep_alive = last[8] == '1';
	if (method == 3 && !memcmp(s, "GET", 3)) {
		out->method = HTTP_GET;
	} else if (method == 4 && !memcmp(s, "HEAD", 4)) {
		out->method = HTTP_HEAD;
	} else if (method == 4 && !memcmp(s, "POST", 4)) {
		out->method = HTTP_POST;
	} else {
		for (size_t i = 0; i < LT_ARRAY_LEN(others); i++)
			if (strlen(others[i]) == method && !memcmp(s, others[i], method))
				return 405;
		return method && is_token_char((unsigned char)*s) ? 501 : 400;
	}
	if (last - space - 1 > HTTP_TARGET_MAX)
		return 414;
	return parse_target(space + 1, (size_t)(last - space - 1), out);
}

/* One header line, without its line end. */
static int parse_header(char *s, size_t n, struct http_head *out)
{
	char *colon = memchr(s, ':', n), *value;
	size_t len;

	if (!colon || colon == s)
		return 400;
	for (char *p = s; p < colon; p++) {
		if (!is_token_char((unsigned char)*p))
			return 400;
		if (*p >= 'A' && *p <= 'Z')
			*p |= 0x20;
	}
	*colon = '\0';
	value = colon + 1;
	len = n - (size_t)(value - s);
	while (len && (*value == ' ' || *value == '\t')) {
		value++;
		len--;
	}
	while (len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
		len--;
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7f)
			return 400;
	value[len] = '\0';
	if (out->n_headers == HTTP_HEADERS_MAX)
		return 431;
	out->headers[out->n_headers++] = (struct http_field){s, value};
	return 0;
}

const char *http_header(const struct http_head *h, const char *name)
{
	for (size_t i = 0; i < h->n_headers; i++)
		if (!strcmp(h->headers[i].name, name))
			return h->headers[i].value;
	return NULL;
}

static size_t count_headers(const struct http_head *h, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < h->n_headers; i++)
		n += !strcmp(h->headers[i].name, name);
	return n;
}

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; (p = strcasestr(p, word)); p += len)
		if ((p == list || strchr(" \t,", p[-1])) && (!p[len] || strchr(" \t,;", p[len])))
			return true;
	return false;
}

/* What the headers say about the message itself. */
static int check_framing(struct http_head *out)
{
	const char *length = http_header(out, "content-length");
	const char *connection = http_header(out, "connection");
	const char *expect = http_header(out, "expect");

	if (count_headers(out, "transfer-encoding"))
		return length ? 400 : 501;
	if (count_headers(out, "content-length") > 1 || count_headers(out, "host") != 1 ||
		count_headers(out, "authorization") > 1 || count_headers(out, "cookie") > 1 ||
		count_headers(out, "origin") > 1)
		return 400;
	out->host = http_header(out, "host");
	if (!*out->host || strpbrk(out->host, "/@?# \t,\\"))
		return 400;
	if (length) {
		size_t digits = strspn(length, "0123456789");

		if (!digits || length[digits])
			return 400;
		if (digits > 9)
			return 413;
		out->body_bytes = strtoul(length, NULL, 10);
		if (out->body_bytes && out->method != HTTP_POST)
			return 400;
		if (out->body_bytes > HTTP_BODY_MAX)
			return 413;
	} else if (out->method == HTTP_POST) {
		return 411;
	}
	if (count_headers(out, "connection") > 1)
		out->keep_alive = false;
	else if (connection && has_word(connection, "close"))
		out->keep_alive = false;
	else if (connection && has_word(connection, "keep-alive"))
		out->keep_alive = true;
	if (expect) {
		if (strcasecmp(expect, "100-continue"))
			return 417;
		out->expect_continue = true;
	}
	return 0;
}

/* Where the empty line after the head ends; 0: not there yet. */
static size_t head_size(const char *data, size_t size)
{
	const char *end = memmem(data, size, "\r\n\r\n", 4);

	return end ? (size_t)(end - data) + 4 : 0;
}

int http_parse_head(char *data, size_t size, struct http_head *out, size_t *used)
{
	size_t end = head_size(data, size), at = 0;
	bool first = true;
	int rc;

	memset(out, 0, sizeof(*out));
	*used = 0;
	if (size && !is_token_char((unsigned char)*data))
		return 400;
	if (!end) {
		const char *line = memchr(data, '\n', size);

		/* A bare line feed will never become a good head. */
		if (line && (line == data || line[-1] != '\r'))
			return 400;
		if (!line && size > HTTP_TARGET_MAX + 32)
			return 414;
		return size > HTTP_HEAD_MAX ? 431 : 0;
	}
	if (end > HTTP_HEAD_MAX)
		return 431;
	while (at < end - 2) {
		char *line = data + at;
		char *lf = memchr(line, '\n', end - at);
		size_t n = (size_t)(lf - line);

		if (n == 0 || lf[-1] != '\r' || memchr(line, '\0', n) || memchr(line, '\r', n - 1))
			return 400;
		rc = first ? parse_request_line(line, n - 1, out) : parse_header(line, n - 1, out);
		if (rc)
			return rc;
		first = false;
		at += n + 1;
	}
	rc = check_framing(out);
	if (rc)
		return rc;
	*used = end;
	return 200;
}

bool http_cookie(const char *header, const char *name, char *out, size_t size)
{
	size_t len = strlen(name);
	bool found = false;

	for (const char *p = header; p && *p;) {
		size_t n;

		p += strspn(p, " \t;");
		n = strcspn(p, ";");
		if (n > len && !memcmp(p, name, len) && p[len] == '=') {
			size_t value = n - len - 1;

			if (found || value >= size)
				return false;
			memcpy(out, p + len + 1, value);
			out[value] = '\0';
			found = true;
		}
		p += n;
	}
	return found;
}

/* ---- parameters ---- */

static bool add_part(struct http_params *p, const char *s, size_t n, size_t *at)
{
	size_t len;
	char *to = lt_buf_room(&p->text, n);

	*at = p->text.len;
	if (n)
		memcpy(to, s, n);
	len = percent_decode(to, n, true);
	if (len == SIZE_MAX || !lt_utf8_valid(to, len))
		return false;
	p->text.len += len;
	lt_buf_add(&p->text, "", 1);
	return true;
}

bool http_params_parse(struct http_params *p, const char *text, size_t size)
{
	for (size_t at = 0; at < size;) {
		const char *s = text + at;
		const char *amp = memchr(s, '&', size - at);
		size_t n = amp ? (size_t)(amp - s) : size - at;
		const char *eq = memchr(s, '=', n);
		size_t name = eq ? (size_t)(eq - s) : n;

		at += n + 1;
		if (n == 0)
			continue;
		if (p->n == HTTP_PARAMS_MAX || !add_part(p, s, name, &p->at[p->n].name) ||
			!add_part(
				p, eq ? eq + 1 : s + n, eq ? n - name - 1 : 0, &p->at[p->n].value))
			return false;
		p->n++;
	}
	return true;
}

void http_params_fini(struct http_params *p)
{
	lt_buf_fini(&p->text);
	p->n = 0;
}

const char *http_param_name(const struct http_params *p, size_t i)
{
	return p->text.data + p->at[i].name;
}

const char *http_param_value(const struct http_params *p, size_t i)
{
	return p->text.data + p->at[i].value;
}

const char *http_param(const struct http_params *p, const char *name, size_t nth)
{
	for (size_t i = 0; i < p->n; i++)
		if (!strcmp(http_param_name(p, i), name) && nth-- == 0)
			return http_param_value(p, i);
	return NULL;
}

/* ---- times ---- */

/* Plain decimal; strtod() alone would take hexadecimal and "inf". */
static bool decimal(const char *s, double *out)
{
	char *end;

	if (!*s || strspn(s, "0123456789.eE+-") != strlen(s))
		return false;
	*out = strtod(s, &end);
	return !*end && isfinite(*out);
}

bool http_time_ms(const char *s, int64_t *ms)
{
	int64_t ns;
	double v;

	if (decimal(s, &v)) {
		if (v < 0 || v > 9223372036.0)
			return false;
		*ms = (int64_t)llround(v * 1000);
		return true;
	}
	if (!lt_rfc3339_parse(s, strlen(s), &ns) || ns < 0)
		return false;
	*ms = ns / LT_NS_PER_MS;
	return true;
}

bool http_duration_ms(const char *s, int64_t *ms)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
		{"w", 604800000}, {"y", 31536000000}};
	double v;
	int64_t sum = 0;

	if (decimal(s, &v)) {
		if (v < 0 || v > 1e9)
			return false;
		*ms = (int64_t)llround(v * 1000);
		return true;
	}
	if (!*s)
		return false;
	for (size_t i; *s; s += strlen(units[i].name)) {
		char *end;
		uint64_t n = strtoull(s, &end, 10);

		if (*s < '0' || *s > '9' || n > 1000000000)
			return false;
		s = end;
		for (i = 0; i < LT_ARRAY_LEN(units); i++)
			if (!strncmp(s, units[i].name, strlen(units[i].name)))
				break;
		if (i == LT_ARRAY_LEN(units))
			return false;
		sum += (int64_t)n * units[i].ms;
		if (sum > 1000000000000)
			return false;
	}
	*ms = sum;
	return true;
}

bool http_etag_matches(const char *header, const char *etag)
{
	size_t len = strlen(etag);

	for (const char *p = header; p && *p;) {
		p += strspn(p, " \t,");
		if (*p == '*')
			return true;
		if (!strncmp(p, "W/", 2))
			p += 2;
		if (!strncmp(p, etag, len) && (!p[len] || strchr(" \t,", p[len])))
			return true;
		p += strcspn(p, ",");
	}
	return false;
}

bool http_accepts(const char *header, const char *coding)
{
	size_t len = strlen(coding);

	for (const char *p = header; p && *p;) {
		p += strspn(p, " \t,");
		if (!strncasecmp(p, coding, len) && (!p[len] || strchr(" \t,;", p[len]))) {
			const char *q = p + len + strspn(p + len, " \t;");

			/* q=0, q=0.0 and so on: not wanted. */
			return strncasecmp(q, "q=0", 3) ||
			       strspn(q + 2, "0.") != strcspn(q + 2, " \t,");
		}
		p += strcspn(p, ",");
	}
	return false;
}
