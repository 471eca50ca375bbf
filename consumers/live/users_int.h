/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_USERS_INT_H
#define LATIDO_LIVE_USERS_INT_H

#include <sys/stat.h>

#include "users.h"

/* What users.c and users_edit.c share. */

void token_digest(const char *token, char out[USER_HASH_MAX]);
int users_parse(const char *path, char *text, struct user **list, size_t *n,
	struct lt_err *err) LT_MUST_CHECK;
int users_read(const char *path, char **text, struct stat *st, struct lt_err *err) LT_MUST_CHECK;

#endif
