/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_USERS_H
#define LATIDO_LIVE_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "latido/err.h"

/*
 * The users file: one entry a line, "user NAME HASH" with a password hash by argon2id, "token NAME
 * DIGEST" with the BLAKE2b digest of a random token, or "share NAME DIGEST UNTIL" with that of a
 * share link's and the second since 1970 at which it ends; '#' begins a comment. Read again when it
 * changes; one that cannot be read keeps nobody in.
 */

#define USER_NAME_MAX  64
#define PASSWORD_MAX   1024
#define PASSWORD_MIN   8
#define SHARE_MS       (30LL * 24 * 3600 * 1000) /* life of a link */
#define SHARE_MAX_MS   (3650LL * 24 * 3600 * 1000)
#define TOKEN_TEXT_MAX 64
#define USER_HASH_MAX  160

enum user_kind { USER_PASSWORD = 0, USER_TOKEN, USER_SHARE };

struct user {
	enum user_kind kind;
	int64_t until_ms; /* SHARE: its end */
	char name[USER_NAME_MAX + 1];
	char hash[USER_HASH_MAX];
};

struct users {
	const char *path;
	struct user *list;
	size_t n;
	struct timespec changed; /* of the file that was read */
	int64_t size, inode;
	int64_t checked_ns;
	struct lt_err failed; /* of the last reading; code 0 = none */
	uint64_t generation;  /* grows whenever the list may be another one */
};

/**
 * users_refresh() - read the file if it is another one than last time; unless @now at most ten times a second
 *
 * No file: nobody may log in, which is no error.
 */
int users_refresh(struct users *u, bool now, struct lt_err *err);
void users_fini(struct users *u);
const struct user *users_find(const struct users *u, enum user_kind kind, const char *name);
/** users_token() - whose token this is, or NULL. Time does not depend on where it differs. */
const struct user *users_token(const struct users *u, enum user_kind kind, const char *token);
/** user_ended() - is it a share link whose time is over? */
bool user_ended(const struct user *u);

/** user_name_valid() - [A-Za-z0-9._@-]{1,64} */
bool user_name_valid(const char *s);
/**
 * user_verify() - is it the password? Takes about 0.1 s and 64 MiB; any thread
 * @hash: NULL: there is no such user; takes as long and says no.
 */
bool user_verify(const char *hash, const char *password, size_t len);

/* ---- users_edit.c: for the command line ---- */

/** users_add() - set the password of a user; written to a new file that replaces the old one. */
int users_add(
	const char *path, const char *name, const char *password, struct lt_err *err) LT_MUST_CHECK;
/** users_add_token() - make a token; @token is the only place where it ever stands. */
int users_add_token(const char *path, const char *name, char token[TOKEN_TEXT_MAX],
	struct lt_err *err) LT_MUST_CHECK;
/** users_add_share() - the same for a share link that ends in @for_ms. */
int users_add_share(const char *path, const char *name, int64_t for_ms, char token[TOKEN_TEXT_MAX],
	struct lt_err *err) LT_MUST_CHECK;
/** users_remove() - a user, its token and share link. Return: LT_EINVAL: there is none. */
int users_remove(const char *path, const char *name, struct lt_err *err) LT_MUST_CHECK;
/** struct users_command - latido-live --add-user and so on: the names, one of them not NULL */
struct users_command {
	const char *path;
	const char *user, *token, *share, *remove;
	const char *expires; /* of share, as written; NULL = 30 days */
	const char *url;     /* of the page, without a path; for the share link */
};
/** users_command() - do it, with questions and answers. Return: exit code. */
int users_command(const struct users_command *c);

#endif
