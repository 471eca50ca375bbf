/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_USERS_H
#define LATIDO_LIVE_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "latido/err.h"

/*
 * The users file: one entry a line, "user NAME HASH" with a password hash by argon2id, or
 * "token NAME DIGEST" with the BLAKE2b digest of a random token; '#' begins a comment. Read again
 * when it changes; one that cannot be read keeps nobody in.
 */

#define USER_NAME_MAX  64
#define PASSWORD_MAX   1024
#define PASSWORD_MIN   8
#define TOKEN_TEXT_MAX 64
#define USER_HASH_MAX  160

struct user {
	bool token;
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
};

/**
 * users_refresh() - read the file if it is another one than last time; at most once a second
 *
 * No file: nobody may log in, which is no error.
 */
int users_refresh(struct users *u, bool now, struct lt_err *err);
void users_fini(struct users *u);
const struct user *users_find(const struct users *u, const char *name);
/** users_token() - whose token this is, or NULL. Time does not depend on where it differs. */
const struct user *users_token(const struct users *u, const char *token);

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
/** users_remove() - a user and its token. Return: LT_EINVAL: there is none. */
int users_remove(const char *path, const char *name, struct lt_err *err) LT_MUST_CHECK;
/** users_command() - latido-live --add-user and so on, with questions. Return: exit code. */
int users_command(const char *path, const char *add, const char *token, const char *remove);

#endif
