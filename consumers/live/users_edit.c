/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <termios.h>
#include <unistd.h>

#include "http_parse.h"
#include "latido/clock.h"
#include "latido/daemon.h"
#include "latido/mem.h"
#include "users_int.h"

/* ---- the file ---- */

static int io_fail(const char *path, struct lt_err *err)
{
	return lt_fail(err, LT_EIO, LT_CLS_CONFIG, "live.users", "cannot write %s: %s", path,
		strerror(errno));
}

/* Is this line an entry of that kind and name? */
static bool is_entry(const char *line, size_t len, const char *kind, const char *name)
{
	size_t k = strlen(kind), n = strlen(name);

	return len > k + 1 + n && !memcmp(line, kind, k) && line[k] == ' ' &&
	       !memcmp(line + k + 1, name, n) && line[k + 1 + n] == ' ';
}

/* As root, a new file belongs to whom its folder belongs: the server's user. */
static bool give_to_folder_owner(int fd, int folder)
{
	struct stat st;

	return geteuid() != 0 || (fstat(folder, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) == 0);
}

/*
 * Owner and mode of the old file stay: the server may run as somebody else than who edits.
 * rename(2) makes it whole for whoever reads it meanwhile.
 */
static int replace(const char *path, const struct lt_buf *text, const struct stat *old, int folder,
	struct lt_err *err)
{
	char *temporary = lt_asprintf("%s.new", path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = LT_OK;

	if (fd < 0) {
		rc = io_fail(temporary, err);
		free(temporary);
		return rc;
	}
	if ((!old && !give_to_folder_owner(fd, folder)) ||
		(old && (fchmod(fd, old->st_mode & 0770) < 0 ||
				(geteuid() == 0 && fchown(fd, old->st_uid, old->st_gid) < 0))) ||
		write(fd, text->data, text->len) != (ssize_t)text->len || fsync(fd) < 0)
		rc = io_fail(temporary, err);
	if (close(fd) < 0 && rc == LT_OK)
		rc = io_fail(temporary, err);
	if (rc == LT_OK && rename(temporary, path) < 0)
		rc = io_fail(path, err);
	if (rc != LT_OK)
		unlink(temporary);
	free(temporary);
	return rc;
}

/* Two who add users at once wait for each other. */
static int lock_folder(const char *path, struct lt_err *err)
{
	char *folder = lt_strdup(path), *slash = strrchr(folder, '/');
	int fd;

	if (slash)
		slash[slash == folder] = '\0';
	fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX) < 0) {
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		lt_fail(err, LT_EIO, LT_CLS_CONFIG, "live.users",
			"cannot open the folder of %s: %s; make it first", path, strerror(errno));
	free(folder);
	return fd;
}

/* All lines but the entries that @line replaces; @line NULL: all of that name go. */
static int edit(
	const char *path, const char *kind, const char *name, const char *line, struct lt_err *err)
{
	struct user *list = NULL;
	struct lt_buf out = {0};
	struct stat st;
	char *text = NULL, *copy;
	bool found = false;
	size_t n;
	int rc = LT_OK, lock = lock_folder(path, err);

	if (lock < 0)
		return LT_EIO;
	if (access(path, F_OK) == 0)
		rc = users_read(path, &text, &st, err);
	if (rc == LT_OK && text) {
		copy = lt_strdup(text);
		rc = users_parse(path, copy, &list, &n, err); /* what is broken is not made worse */
		free(list);
		free(copy);
	}
	for (const char *p = text; rc == LT_OK && p && *p;) {
		size_t len = strcspn(p, "\n");
		bool hit = line ? is_entry(p, len, kind, name)
				: is_entry(p, len, "user", name) ||
					   is_entry(p, len, "token", name) ||
					   is_entry(p, len, "share", name);

		found |= hit;
		if (!hit) {
			lt_buf_add(&out, p, len);
			lt_buf_char(&out, '\n');
		}
		p += len + (p[len] == '\n');
	}
	if (rc == LT_OK && !line && !found)
		rc = lt_fail(err, LT_EINVAL, LT_CLS_CONFIG, "live.users", "%s has no user %s", path,
			name);
	if (rc == LT_OK) {
		if (line)
			lt_buf_printf(&out, "%s %s %s\n", kind, name, line);
		else if (!out.len)
			lt_buf_str(&out, "# nobody\n");
		rc = replace(path, &out, text ? &st : NULL, lock, err);
	}
	free(text);
	lt_buf_fini(&out);
	close(lock);
	return rc;
}

static int check_name(const char *name, struct lt_err *err)
{
	if (user_name_valid(name))
		return LT_OK;
	return lt_fail(err, LT_EINVAL, LT_CLS_CONFIG, "live.users",
		"a user's name is 1 to %d of the characters A-Z a-z 0-9 . _ @ -", USER_NAME_MAX);
}

int users_add(const char *path, const char *name, const char *password, struct lt_err *err)
{
	char hash[crypto_pwhash_STRBYTES];
	size_t len = strlen(password);
	int rc = check_name(name, err);

	if (rc != LT_OK)
		return rc;
	if (len < PASSWORD_MIN || len > PASSWORD_MAX)
		return lt_fail(err, LT_EINVAL, LT_CLS_CONFIG, "live.users",
			"a password has %d to %d bytes", PASSWORD_MIN, PASSWORD_MAX);
	if (crypto_pwhash_str(hash, password, len, crypto_pwhash_OPSLIMIT_INTERACTIVE,
		    crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0)
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "live.users",
			"no memory to hash the password; it takes 64 MiB");
	return edit(path, "user", name, hash, err);
}

static void make_token(char token[TOKEN_TEXT_MAX], char digest[USER_HASH_MAX])
{
	unsigned char secret[32];

	randombytes_buf(secret, sizeof(secret));
	sodium_bin2base64(token, TOKEN_TEXT_MAX, secret, sizeof(secret),
		sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	token_digest(token, digest);
	sodium_memzero(secret, sizeof(secret));
}

int users_add_token(
	const char *path, const char *name, char token[TOKEN_TEXT_MAX], struct lt_err *err)
{
	char digest[USER_HASH_MAX];
	int rc = check_name(name, err);

	if (rc != LT_OK)
		return rc;
	make_token(token, digest);
	return edit(path, "token", name, digest, err);
}

int users_add_share(const char *path, const char *name, int64_t for_ms, char token[TOKEN_TEXT_MAX],
	struct lt_err *err)
{
	int64_t until_ms = lt_wall_ns() / LT_NS_PER_MS + for_ms;
	char digest[USER_HASH_MAX], line[USER_HASH_MAX + 24];
	int rc = check_name(name, err);

	if (rc != LT_OK)
		return rc;
	make_token(token, digest);
	snprintf(line, sizeof(line), "%s %" PRId64, digest, (until_ms + 999) / 1000);
	return edit(path, "share", name, line, err);
}

int users_remove(const char *path, const char *name, struct lt_err *err)
{
	int rc = check_name(name, err);

	return rc == LT_OK ? edit(path, NULL, name, NULL, err) : rc;
}

/* ---- questions ---- */

static bool read_line(char *out, size_t size)
{
	size_t n = 0;
	int c;

	while ((c = getchar()) != EOF && c != '\n')
		if (n + 1 < size)
			out[n++] = (char)c;
	out[n] = '\0';
	if (n && out[n - 1] == '\r')
		out[--n] = '\0';
	return c != EOF || n;
}

static bool ask(const char *prompt, char *out, size_t size)
{
	struct termios old, silent;
	bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0, ok;

	if (tty) {
		silent = old;
		silent.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
		fprintf(stderr, "%s: ", prompt); /* now: what is typed earlier would be shown */
	}
	ok = read_line(out, size);
	if (tty) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	return ok;
}

static int add_user(const char *path, const char *name, struct lt_err *err)
{
	char first[PASSWORD_MAX + 2], again[PASSWORD_MAX + 2] = "";
	int rc = check_name(name, err);

	if (rc != LT_OK)
		return rc;
	if (!ask("Password", first, sizeof(first)))
		return lt_fail(err, LT_EINVAL, LT_CLS_CONFIG, "live.users",
			"no password: type one, or give it on standard input");
	if (isatty(STDIN_FILENO) &&
		(!ask("Again", again, sizeof(again)) || strcmp(first, again) != 0))
		rc = lt_fail(
			err, LT_EINVAL, LT_CLS_CONFIG, "live.users", "the two are not the same");
	if (rc == LT_OK)
		rc = users_add(path, name, first, err);
	sodium_memzero(first, sizeof(first));
	sodium_memzero(again, sizeof(again));
	return rc;
}

static int add_share(const struct users_command *c, struct lt_err *err)
{
	int64_t for_ms = SHARE_MS;
	char token[TOKEN_TEXT_MAX];
	int rc;

	if (c->expires &&
		(!http_duration_ms(c->expires, &for_ms) || for_ms < 60000 || for_ms > SHARE_MAX_MS))
		return lt_fail(err, LT_EINVAL, LT_CLS_CONFIG, "live.users",
			"--expires %s: expected 1m to 3650d, such as 12h or 30d", c->expires);
	rc = users_add_share(c->path, c->share, for_ms, token, err);
	if (rc != LT_OK)
		return rc;
	printf("%s/?kiosk=1#share=%s\n", c->url, token);
	fprintf(stderr,
		"Whoever opens this link may look, and nothing else, until it expires or "
		"latido-live "
		"--remove-user %s takes it back; shown this once. Its digest is in %s\n",
		c->share, c->path);
	sodium_memzero(token, sizeof(token));
	return LT_OK;
}

int users_command(const struct users_command *c)
{
	const char *path = c->path, *add = c->user, *token = c->token, *remove = c->remove;
	char text[TOKEN_TEXT_MAX];
	struct lt_err err = {0};
	int rc = LT_OK;

	if (!*path) {
		fprintf(stderr, "latido-live: live.users_file is empty\n");
		return LT_EXIT_CONFIG;
	}
	if (add) {
		rc = add_user(path, add, &err);
		if (rc == LT_OK)
			fprintf(stderr, "%s may log in; written to %s\n", add, path);
	} else if (token) {
		rc = users_add_token(path, token, text, &err);
		if (rc == LT_OK) {
			printf("%s\n", text);
			fprintf(stderr,
				"The token of %s, shown this once: send it as "
				"\"Authorization: Bearer ...\". Its digest is in %s\n",
				token, path);
		}
	} else if (c->share) {
		rc = add_share(c, &err);
	} else {
		rc = users_remove(path, remove, &err);
		if (rc == LT_OK)
			fprintf(stderr, "%s is removed from %s\n", remove, path);
	}
	if (rc != LT_OK)
		fprintf(stderr, "latido-live: %s\n", err.msg);
	sodium_memzero(text, sizeof(text));
	return rc == LT_OK ? LT_EXIT_OK : LT_EXIT_FAILURE;
}
