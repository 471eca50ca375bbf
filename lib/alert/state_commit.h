/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_STATE_COMMIT_H
#define LATIDO_ALERT_STATE_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/mem.h"
#include "latido/redis.h"

/*
 * What one evaluation changes in Redis and tells webhooks: operations in the words of
 * lt_commit_script, and at most one message. Whoever holds a commit owns it; no lock.
 */

/* A word of a commit: its place in the text. */
struct lt_commit_word {
	size_t at, len;
};

struct lt_commit {
	struct lt_commit *next;
	struct lt_buf text;           /* all words, each ended by a zero byte */
	struct lt_commit_word *words; /* of operations, as the script wants them */
	size_t n, cap;
	bool has_post, posted; /* a message for the webhooks; they have it */
	int64_t order;
	struct lt_commit_word id, body; /* of the message */
};

/**
 * lt_commit_script - carries commits out while the lease is the caller's
 *
 * KEYS: the lease. ARGV: token, then the words of commits. Answers 0 when the lease is another's.
 */
extern const char lt_commit_script[];

/** lt_commit_new() - an empty one. */
struct lt_commit *lt_commit_new(void);
/** lt_commit_free() - NULL is fine. */
void lt_commit_free(struct lt_commit *c);
/** lt_commit_put() - add bytes that are no word of an operation; both are copied. */
struct lt_commit_word lt_commit_put(struct lt_commit *c, const void *p, size_t n);
/** lt_commit_set() - a field of a hash. */
void lt_commit_set(
	struct lt_commit *c, const char *key, const char *field, const void *value, size_t len);
/** lt_commit_del() - a field of a hash. */
void lt_commit_del(struct lt_commit *c, const char *key, const char *field);
/** lt_commit_clear() - a whole key. */
void lt_commit_clear(struct lt_commit *c, const char *key);
/** lt_commit_args() - append the words to a command. */
void lt_commit_args(const struct lt_commit *c, struct lt_redis_cmd *cmd);

#endif
