/* SPDX-License-Identifier: MIT */
#include "procfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latido/event.h"
#include "latido/mem.h"

#define FIRST_CAP 4096

void lt_procfile_init(struct lt_procfile *f, char *path, bool single)
{
	*f = (struct lt_procfile){.path = path, .fd = -1, .single = single};
}

static void close_it(struct lt_procfile *f)
{
	if (f->path && f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

void lt_procfile_fini(struct lt_procfile *f)
{
	close_it(f);
	free(f->path);
	free(f->buf);
	*f = (struct lt_procfile){.fd = -1};
}

static int failed(struct lt_procfile *f, int e, struct lt_err *err)
{
	int code;

	switch (e) {
	case ENOENT:
	case ENOTDIR:
	case ENODEV:
	case ENXIO:
	case ENODATA:
	case EOPNOTSUPP:
		code = LT_EAGAIN;
		break;
	case EACCES:
	case EPERM:
		code = LT_EAUTH;
		break;
	default:
		code = LT_EIO;
	}
	close_it(f);
	f->len = 0;
	return lt_fail(err, code, LT_CLS_RETRY, "procfile.read", "%s: %s", f->path, strerror(e));
}

static int open_it(struct lt_procfile *f, struct lt_err *err)
{
	if (f->fd < 0)
		f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return f->fd < 0 ? failed(f, errno, err) : LT_OK;
}

int lt_procfile_read(struct lt_procfile *f, struct lt_err *err)
{
	size_t len = 0;
	int rc = open_it(f, err);

	if (rc != LT_OK)
		return rc;
	for (;;) {
		size_t room = f->cap > len + 1 ? f->cap - len - 1 : 0;
		ssize_t n;

		if (room == 0) {
			size_t cap = f->cap ? f->cap * 2 : FIRST_CAP;

			if (cap > LT_PROCFILE_MAX_BYTES) {
				close_it(f);
				f->len = 0;
				return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "procfile.read",
					"%s: larger than %zu bytes", f->path,
					LT_PROCFILE_MAX_BYTES);
			}
			f->buf = lt_realloc(f->buf, cap);
			f->cap = cap;
			/* A file shown by one read is made anew by each: begin again, so that all
			 * of it is of one moment. */
			if (f->single)
				len = 0;
			continue;
		}
		n = pread(f->fd, f->buf + len, room, (off_t)len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return failed(f, errno, err);
		len += (size_t)n;
		if (n == 0 || (f->single && (size_t)n < room))
			break;
	}
	f->len = len;
	f->buf[len] = '\0';
	if (f->transient)
		close_it(f);
	return LT_OK;
}

int lt_procfile_number(struct lt_procfile *f, double *value, struct lt_err *err)
{
	struct lt_token line, word, more;
	char text[128];
	ssize_t n;
	int rc = open_it(f, err);

	if (rc != LT_OK)
		return rc;
	do
		n = pread(f->fd, text, sizeof(text), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return failed(f, errno, err);
	if (f->transient)
		close_it(f);
	line = (struct lt_token){text, (size_t)n};
	if (!lt_scan_word(&line, &word) || !lt_token_double(word, value) ||
		lt_scan_word(&line, &more))
		return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "procfile.number",
			"%s: does not hold a number", f->path);
	return LT_OK;
}

bool lt_procfile_once(const char *path, char *out, size_t size)
{
	struct lt_procfile f;
	struct lt_token line = {"", 0};
	const char *cursor;
	bool ok;

	out[0] = '\0';
	lt_procfile_init(&f, lt_strdup(path), true);
	ok = lt_procfile_read(&f, NULL) == LT_OK;
	if (ok) {
		cursor = f.buf;
		(void)lt_scan_line(&cursor, &line);
		while (line.len && (line.p[0] == ' ' || line.p[0] == '\t')) {
			line.p++;
			line.len--;
		}
		while (line.len && (line.p[line.len - 1] == ' ' || line.p[line.len - 1] == '\t'))
			line.len--;
		ok = line.len < size;
		if (ok) {
			memcpy(out, line.p, line.len);
			out[line.len] = '\0';
		}
	}
	lt_procfile_fini(&f);
	return ok;
}

bool lt_scan_line(const char **cursor, struct lt_token *line)
{
	const char *p = *cursor, *nl;

	if (!*p)
		return false;
	nl = strchrnul(p, '\n');
	*line = (struct lt_token){p, (size_t)(nl - p)};
	*cursor = *nl ? nl + 1 : nl;
	return true;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool lt_scan_word(struct lt_token *line, struct lt_token *word)
{
	const char *p = line->p, *end = line->p + line->len, *q;

	while (p < end && blank(*p))
		p++;
	for (q = p; q < end && !blank(*q); q++)
		;
	*line = (struct lt_token){q, (size_t)(end - q)};
	*word = (struct lt_token){p, (size_t)(q - p)};
	return q > p;
}

bool lt_token_u64(struct lt_token t, uint64_t *v)
{
	uint64_t x = 0;

	if (t.len == 0)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		unsigned d = (unsigned char)t.p[i] - (unsigned)'0';

		if (d > 9 || __builtin_mul_overflow(x, 10, &x) || __builtin_add_overflow(x, d, &x))
			return false;
	}
	*v = x;
	return true;
}

bool lt_scan_u64(struct lt_token *line, uint64_t *v)
{
	struct lt_token w;

	return lt_scan_word(line, &w) && lt_token_u64(w, v);
}

bool lt_token_double(struct lt_token t, double *v)
{
	char tmp[64], *end;
	uint64_t u;

	if (lt_token_u64(t, &u)) {
		*v = (double)u;
		return true;
	}
	if (t.len == 0 || t.len >= sizeof(tmp))
		return false;
	for (size_t i = 0; i < t.len; i++) /* no hexadecimal, no words */
		if (!strchr("0123456789+-.eE", t.p[i]))
			return false;
	memcpy(tmp, t.p, t.len);
	tmp[t.len] = '\0';
	*v = strtod(tmp, &end);
	return *end == '\0' && end != tmp;
}

bool lt_token_is(struct lt_token t, const char *s)
{
	return strlen(s) == t.len && memcmp(t.p, s, t.len) == 0;
}
