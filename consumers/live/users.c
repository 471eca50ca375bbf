/* SPDX-License-Identifier: MIT */
#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "latido/clock.h"
#include "latido/mem.h"
#include "users_int.h"

#define FILE_MAX 1048576

bool user_name_valid(const char *s)
{
	size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-");

	return n > 0 && n <= USER_NAME_MAX && !s[n];
}

void token_digest(const char *token, char out[USER_HASH_MAX])
{
	unsigned char digest[32];

	crypto_generichash(
		digest, sizeof(digest), (const unsigned char *)token, strlen(token), NULL, 0);
	sodium_bin2hex(out, USER_HASH_MAX, digest, sizeof(digest));
}

static int bad_line(const char *path, unsigned line, const char *why, struct lt_err *err)
{
	return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "live.users",
		"%s:%u: %s; a line is \"user NAME HASH\", \"token NAME DIGEST\" or \"share NAME "
		"DIGEST UNTIL\", written by latido-live --add-user, --add-token and --add-share",
		path, line, why);
}

static int parse_line(char *s, struct user *u, const char **why)
{
	char *save = NULL, *kind = strtok_r(s, " \t", &save), *name = strtok_r(NULL, " \t", &save);
	char *hash = strtok_r(NULL, " \t", &save), *until = strtok_r(NULL, " \t", &save), *end;
	long long seconds;

	*why = "not an entry";
	memset(u, 0, sizeof(*u));
	if (!kind || !name || !hash || strtok_r(NULL, " \t", &save) ||
		strlen(hash) >= sizeof(u->hash))
		return -1;
	if (!strcmp(kind, "token"))
		u->kind = USER_TOKEN;
	else if (!strcmp(kind, "share"))
		u->kind = USER_SHARE;
	else if (strcmp(kind, "user") != 0)
		return -1;
	if ((u->kind == USER_SHARE) != (until != NULL))
		return -1;
	if (until) {
		*why = "not a time in seconds since 1970";
		errno = 0;
		seconds = strtoll(until, &end, 10);
		if (errno || *end || *until == '-' || seconds > INT64_MAX / 1000)
			return -1;
		u->until_ms = (int64_t)seconds * 1000;
	}
	*why = "not a user's name";
	if (!user_name_valid(name))
		return -1;
	*why = "not a hash";
	if (u->kind != USER_PASSWORD ? strlen(hash) != 64 || strspn(hash, "0123456789abcdef") != 64
				     : strncmp(hash, crypto_pwhash_STRPREFIX,
					       strlen(crypto_pwhash_STRPREFIX)) != 0)
		return -1;
	snprintf(u->name, sizeof(u->name), "%s", name);
	snprintf(u->hash, sizeof(u->hash), "%s", hash);
	return 0;
}

int users_parse(const char *path, char *text, struct user **list, size_t *n, struct lt_err *err)
{
	struct user *found = NULL;
	size_t count = 0;
	unsigned number = 0;

	for (char *line = text, *next; line; line = next) {
		const char *why;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		number++;
		line[strcspn(line, "\r")] = '\0';
		line += strspn(line, " \t");
		if (!*line || *line == '#')
			continue;
		found = lt_realloc(found, (count + 1) * sizeof(*found));
		if (parse_line(line, &found[count], &why) < 0) {
			free(found);
			return bad_line(path, number, why, err);
		}
		count++;
	}
	*list = found;
	*n = count;
	return LT_OK;
}

int users_read(const char *path, char **text, struct stat *st, struct lt_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	*text = NULL;
	if (fd < 0)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "live.users",
			"cannot read live.users_file %s: %s; make it with latido-live --add-user "
			"NAME",
			path, strerror(errno));
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode) || st->st_size > FILE_MAX ||
		(st->st_mode & 07)) {
		bool open_to_all = S_ISREG(st->st_mode) && (st->st_mode & 07);

		close(fd);
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "live.users",
			open_to_all ? "%s may be read or written by everybody; chmod o= %s"
				    : "%s is not a regular file of at most 1 MiB%.0s",
			path, path);
	}
	*text = lt_malloc((size_t)st->st_size + 1);
	while (n < (size_t)st->st_size) {
		ssize_t got = read(fd, *text + n, (size_t)st->st_size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	(*text)[n] = '\0';
	close(fd);
	return LT_OK;
}

int users_refresh(struct users *u, bool now, struct lt_err *err)
{
	struct user *list;
	struct stat st;
	char *text;
	size_t n;
	int rc;

	if (!now && u->checked_ns && lt_mono_ns() - u->checked_ns < LT_NS_PER_S / 10) {
		if (u->failed.code && err)
			*err = u->failed;
		return u->failed.code;
	}
	u->checked_ns = lt_mono_ns();
	u->failed.code = LT_OK;
	if (stat(u->path, &st) < 0 &&
		errno == ENOENT) { /* nobody was added yet, or all were removed */
		users_fini(u);
		u->generation++;
		u->changed = (struct timespec){0};
		return LT_OK;
	}
	if (stat(u->path, &st) == 0 && st.st_mtim.tv_sec == u->changed.tv_sec &&
		st.st_mtim.tv_nsec == u->changed.tv_nsec && st.st_size == u->size &&
		(int64_t)st.st_ino == u->inode)
		return LT_OK;
	memset(&st, 0, sizeof(st));
	rc = users_read(u->path, &text, &st, &u->failed);
	if (rc == LT_OK) {
		rc = users_parse(u->path, text, &list, &n, &u->failed);
		sodium_memzero(text, strlen(text));
		free(text);
	}
	u->generation++;
	free(u->list);
	u->list = rc == LT_OK ? list : NULL;
	u->n = rc == LT_OK ? n : 0;
	/* One that is wrong is looked at again next time, and complained about then. */
	u->changed = rc == LT_OK ? st.st_mtim : (struct timespec){0};
	u->size = st.st_size;
	u->inode = (int64_t)st.st_ino;
	if (rc != LT_OK && err)
		*err = u->failed;
	return rc;
}

void users_fini(struct users *u)
{
	free(u->list);
	u->list = NULL;
	u->n = 0;
}

const struct user *users_find(const struct users *u, enum user_kind kind, const char *name)
{
	for (size_t i = 0; i < u->n; i++)
		if (u->list[i].kind == kind && !strcmp(u->list[i].name, name))
			return &u->list[i];
	return NULL;
}

bool user_ended(const struct user *u)
{
	return u->kind == USER_SHARE && lt_wall_ns() / LT_NS_PER_MS >= u->until_ms;
}

const struct user *users_token(const struct users *u, enum user_kind kind, const char *token)
{
	const struct user *found = NULL;
	char digest[USER_HASH_MAX];

	if (!*token || strlen(token) >= TOKEN_TEXT_MAX)
		return NULL;
	token_digest(token, digest);
	for (size_t i = 0; i < u->n; i++)
		if (u->list[i].kind == kind && !sodium_memcmp(u->list[i].hash, digest, 64))
			found = &u->list[i];
	return found;
}

bool user_verify(const char *hash, const char *password, size_t len)
{
	/* Of nothing that anybody could type: so that unknown users take as long. */
	static const char nobody[] = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$"
				     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	bool ok = crypto_pwhash_str_verify(hash ? hash : nobody, password, len) == 0;

	return ok && hash;
}
