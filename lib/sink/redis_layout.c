/* SPDX-License-Identifier: MIT */
#include "latido/redis_layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void lt_redis_hash(uint64_t hash, char out[LT_REDIS_HASH_LEN])
{
	snprintf(out, LT_REDIS_HASH_LEN, "%016" PRIx64, hash);
}

int lt_redis_check_layout(struct lt_redis *r, struct lt_err *err)
{
	struct lt_redis_cmd cmd = {0};
	struct lt_reply *reply;
	int rc;

	lt_redis_begin(&cmd, "HGET");
	lt_redis_str(&cmd, LT_REDIS_META);
	lt_redis_str(&cmd, "layout");
	rc = lt_redis_call(r, &cmd, &reply, err);
	lt_redis_cmd_fini(&cmd);
	if (rc == LT_EDATA)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "redis.layout",
			"Redis %s: " LT_REDIS_META
			" is not a hash, so this database is used by something "
			"else; choose another database in redis.url",
			lt_redis_where(r));
	if (rc != LT_OK)
		return rc;
	if (lt_reply_type(reply) == LT_REPLY_STRING &&
		strcmp(lt_reply_str(reply, NULL), LT_REDIS_LAYOUT))
		rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "redis.layout",
			"Redis %s holds Latido's layout %.20s, this program knows layout %s; run "
			"the matching "
			"version, choose another database in redis.url, or delete the keys "
			"latido:*",
			lt_redis_where(r), lt_reply_str(reply, NULL), LT_REDIS_LAYOUT);
	lt_reply_free(reply);
	return rc;
}

int lt_redis_find_shape(struct lt_redis *r, struct lt_shapes *t, uint64_t hash,
	struct lt_shape **out, struct lt_err *err)
{
	struct lt_redis_cmd cmd = {0};
	struct lt_shape *shape = NULL;
	struct lt_reply *reply = NULL;
	char hex[LT_REDIS_HASH_LEN];
	const char *bytes;
	size_t len;
	int rc;

	*out = NULL;
	lt_redis_hash(hash, hex);
	lt_redis_begin(&cmd, "GET");
	lt_redis_key(&cmd, LT_REDIS_SHAPE, hex);
	rc = lt_redis_call(r, &cmd, &reply, err);
	lt_redis_cmd_fini(&cmd);
	if (rc != LT_OK && rc != LT_EDATA) /* LT_EDATA: not even a string */
		return rc;
	if (rc == LT_OK) {
		bytes = lt_reply_str(reply, &len);
		if (len)
			shape = lt_shapes_intern(t, bytes, len, NULL);
		lt_reply_free(reply);
	}
	if (shape && shape->hash == hash) {
		*out = shape;
		return LT_OK;
	}
	lt_shape_put(shape);
	return lt_fail(err, LT_EAGAIN, LT_CLS_RETRY, "redis.find_shape",
		"shape %s is not known to Redis %s", hex, lt_redis_where(r));
}
