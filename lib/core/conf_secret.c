/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_priv.h"

#define OP "conf.read"

static int fail_errno(struct lt_err *err)
{
	int e = errno;

	if (e == EACCES || e == EPERM)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP,
			"cannot be read: %s; give user %u the right to read it (chmod, chown)",
			strerror(e), (unsigned)geteuid());
	if (e == ENOENT || e == ENOTDIR)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP,
			"cannot be read: %s; correct the path or create the file", strerror(e));
	if (e == EISDIR)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP,
			"cannot be read: it is a directory; name a file in it");
	return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP, "cannot be read: %s", strerror(e));
}

static int read_all(int fd, size_t max, char **data, size_t *size, struct lt_err *err)
{
	char *buf = lt_malloc(max + 2);
	size_t len = 0;
	ssize_t n;

	/* one byte more than allowed tells a full file from one that is too large */
	while (len <= max) {
		n = read(fd, buf + len, max + 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			fail_errno(err);
			goto fail;
		}
		if (!n)
			break;
		len += (size_t)n;
	}
	if (len > max) {
		lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP,
			"is larger than %zu bytes, the most that is read", max);
		goto fail;
	}
	buf[len] = '\0';
	*data = buf;
	*size = len;
	return LT_OK;
fail:
	explicit_bzero(buf, len);
	free(buf);
	return LT_ECONF;
}

int lt_conf_read_file(
	const char *path, size_t max, bool regular, char **data, size_t *size, struct lt_err *err)
{
	struct stat st;
	int fd, rc;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (regular ? O_NONBLOCK : 0));
	if (fd < 0)
		return fail_errno(err);
	if (fstat(fd, &st)) {
		rc = fail_errno(err);
	} else if (S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		rc = fail_errno(err);
	} else if (regular && !S_ISREG(st.st_mode)) {
		rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP,
			"cannot be read: it is not a regular file");
	} else {
		rc = read_all(fd, max, data, size, err);
	}
	close(fd);
	return rc;
}

/* One line of text; the line's end is not part of it. */
static int read_secret(
	const struct lt_conf_key *key, const char *path, union lt_conf_value *v, struct lt_err *err)
{
	char *data = NULL;
	size_t size = 0, n;
	int rc;

	rc = lt_conf_read_file(path, LT_CONF_SECRET_MAX_BYTES, true, &data, &size, err);
	if (rc)
		return rc;
	n = size;
	if (n && data[n - 1] == '\n')
		n--;
	if (n && data[n - 1] == '\r')
		n--;
	if (!n)
		rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP, "is empty");
	else if (memchr(data, '\n', n))
		rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, OP,
			"has several lines; it must hold the secret alone");
	else
		rc = lt_conf_scan(key, data, n, LT_FORM_BARE, v, err);
	explicit_bzero(data, size);
	free(data);
	return rc;
}

void lt_conf_read_secrets(struct lt_conf_run *run)
{
	const struct lt_conf_schema *schema = run->conf->schema;

	for (size_t i = 0; i < schema->n_sections; i++) {
		for (size_t j = 0; j < schema->sections[i]->n_keys; j++) {
			struct lt_conf_ref ref = lt_conf_ref_at(schema, i, j);
			struct lt_conf_setting *s = &run->conf->settings[ref.index];
			union lt_conf_value v;
			struct lt_err err = {0};
			char path[LT_CONF_NAME_MAX], q[96];

			if (!s->secret_file)
				continue;
			if (!read_secret(ref.key, s->secret_file, &v, &err)) {
				lt_conf_store(ref.key, lt_conf_field(run->conf, &ref), &v);
				continue;
			}
			s->bad = true;
			ref.file = true;
			lt_conf_say(run, LT_CONF_ERROR, &s->pos, lt_conf_path(&ref, path), false,
				"%s %s", lt_conf_quote(s->secret_file, strlen(s->secret_file), q),
				err.msg);
		}
	}
}
