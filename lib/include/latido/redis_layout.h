/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_REDIS_LAYOUT_H
#define LATIDO_REDIS_LAYOUT_H

#include "latido/event.h"
#include "latido/redis.h"

/* What writers and readers of Redis share; schemas/redis/README.md describes it. */

#define LT_REDIS_LAYOUT "1"

#define LT_REDIS_META   "latido:meta"
#define LT_REDIS_SEEN   "latido:seen"
#define LT_REDIS_NODE   "latido:node:"   /* <source> */
#define LT_REDIS_WINDOW "latido:window:" /* <source> */
#define LT_REDIS_LIVE   "latido:live:"   /* <source> */
#define LT_REDIS_SHAPE  "latido:shape:"  /* <hash as 16 hex digits> */
#define LT_REDIS_ALERTS "latido:alerts"

/* Of latido-alert. */
#define LT_REDIS_ALERTS          "latido:alerts"          /* fingerprint: active alert */
#define LT_REDIS_ALERT_LEADER    "latido:alert:leader"    /* token of the lease */
#define LT_REDIS_ALERT_EVALUATED "latido:alert:evaluated" /* ms of the last evaluation */
#define LT_REDIS_ALERT_OUTBOX    "latido:alert:outbox:"   /* <webhook>; id: not told yet */
#define LT_REDIS_ALERT_SOURCES   "latido:alert:sources"   /* source: kind and interval */

#define LT_REDIS_HASH_LEN 17
/** lt_redis_hash() - a shape's hash as it stands in its key. */
void lt_redis_hash(uint64_t hash, char out[LT_REDIS_HASH_LEN]);

/**
 * lt_redis_check_layout() - is this database in the layout of this program, or empty?
 * Return: LT_OK; LT_ECONF (CONFIG) with the remedy; what lt_redis_call() returns.
 */
int lt_redis_check_layout(struct lt_redis *r, struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_redis_find_shape() - the shape behind a hash; the pipeline must be empty
 * @t: it is parsed into this table.
 * @out: one reference.
 *
 * Whatever stands under the key, a shape that is returned has this hash.
 * Return: LT_OK; LT_EAGAIN: not known there; else the connection failed.
 */
int lt_redis_find_shape(struct lt_redis *r, struct lt_shapes *t, uint64_t hash,
	struct lt_shape **out, struct lt_err *err) LT_MUST_CHECK;

#endif
