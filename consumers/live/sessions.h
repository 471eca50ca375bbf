/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_SESSIONS_H
#define LATIDO_LIVE_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/err.h"
#include "latido/mem.h"

/*
 * Who is logged in. A session's cookie is 256 random bits; only its digest is kept, in memory and,
 * so that logins survive a restart, in a file. Loop thread only.
 */

#define SESSION_COOKIE_LEN 44 /* base64url of 32 bytes, and NUL */
#define SESSIONS_MAX       10000
#define SESSIONS_PER_LINK  200 /* of one share link */

struct session {
	uint64_t id;              /* of this process's run; never 0 */
	unsigned char digest[32]; /* of the cookie */
	char user[65];
	char password_tag[17]; /* digest of the password's hash: a changed password ends it */
	int64_t used_ms;
	bool share; /* of a share link: may only look, and ends with it */
};

struct sessions {
	struct session *list;
	size_t n;
	const char *path; /* "" = none */
	int64_t expire_ms;
	bool dirty;
};

/** sessions_load() - read the file; one that is missing or damaged gives no sessions. */
void sessions_load(struct sessions *s, const char *path, int64_t expire_ms);
/** sessions_save() - write the file if anything changed that is not in it yet. */
void sessions_save(struct sessions *s);
void sessions_fini(struct sessions *s);
/**
 * session_new() - @cookie: out
 *
 * When there are too many, the one that was not used for longest goes: of the link when it has
 * SESSIONS_PER_LINK, of all links when there are SESSIONS_MAX, and of people only when none is a
 * link's. Its line is in the file when this returns, unless one of the others changed as well: then
 * sessions_save() writes it.
 */
struct session *session_new(struct sessions *s, const char *user, const char *password_hash,
	bool share, char cookie[SESSION_COOKIE_LEN]);
/** session_find() - marks it as used. NULL: none, or expired. */
struct session *session_find(struct sessions *s, const char *cookie);
/** session_find_id() - by number, not marked. */
struct session *session_find_id(struct sessions *s, uint64_t id);
/** session_used() - mark it; on disk, a minute is exact enough for days. */
void session_used(struct sessions *s, struct session *x);
/** session_tag_matches() - is it still the password that it began with? */
bool session_tag_matches(const struct session *s, const char *password_hash);
void session_end(struct sessions *s, struct session *x);
/** sessions_expire() - drop what was not used, but of share links; @ended is told of each. */
void sessions_expire(struct sessions *s, void (*ended)(void *arg, uint64_t id), void *arg);

/* ---- attempts to log in ---- */

/**
 * struct limiter - failures by key in a window of time; bounded memory, oldest keys are forgotten
 * first
 */
struct limiter;
struct limiter *limiter_new(int64_t window_ms);
void limiter_free(struct limiter *l);
/** limiter_wait_s() - 0: may try; else seconds until the next try. @limit: failures in the window. */
int limiter_wait_s(struct limiter *l, const char *key, unsigned limit);
/** limiter_failed() - also called before a slow check, and taken back by limiter_forget_one(). */
void limiter_failed(struct limiter *l, const char *key);
void limiter_forget_one(struct limiter *l, const char *key);

#endif
