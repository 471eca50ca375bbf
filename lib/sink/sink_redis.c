/* SPDX-License-Identifier: MIT */
#include "sink_redis_write.h"

#include "latido/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEN_CHUNK      512
#define STATE_MAX_BYTES ((size_t)256 * 1024 * 1024)

extern const char lt_redis_function[];

/* Once connected, a refusal is somebody at work on the server: wait for them to finish. */
static int soften(const struct sink_redis *s, int rc, struct lt_err *err)
{
	if (rc != LT_OK && s->was_open && err && err->cls == LT_CLS_CONFIG)
		err->cls = LT_CLS_RETRY;
	return rc;
}

static void interrupt(struct lt_sink *base)
{
	lt_redis_interrupt(hot_sink(base)->redis);
}

static int sink_init(struct lt_sink *base, const struct lt_config *conf, struct lt_err *err)
{
	struct sink_redis *s = hot_sink(base);

	s->conf = conf;
	s->redis = lt_redis_new(&conf->redis, err);
	if (!s->redis)
		return LT_ECONF;
	hot_state_init(&s->st, conf->hot.max_rate_hz, conf->hot.expire_ms, STATE_MAX_BYTES,
		(size_t)conf->limits.shape_cache_bytes, (uint32_t)conf->limits.max_series);
	base->interrupt = interrupt;
	return LT_OK;
}

static void sink_fini(struct lt_sink *base)
{
	struct sink_redis *s = hot_sink(base);

	lt_redis_free(s->redis);
	s->redis = NULL;
	hot_drop_redos(s);
	hot_state_fini(&s->st);
	lt_redis_cmd_fini(&s->cmd);
	lt_buf_fini(&s->packed);
	free(s->ops.items);
	free(s->redos.items);
	free(s->accepted.items);
	free(s->flying.items);
	free(s->renew.items);
}

static bool holds_text(const struct lt_reply *r, const char *text, size_t len)
{
	size_t n;
	const char *s = lt_reply_str(r, &n);

	if (n == len && !memcmp(s, text, len))
		return true;
	for (size_t i = 0; i < lt_reply_n(r); i++)
		if (holds_text(lt_reply_at(r, i), text, len))
			return true;
	return false;
}

static int load_function(struct sink_redis *s, struct lt_err *err)
{
	struct lt_reply *reply;
	bool there;
	int rc;

	lt_redis_begin(&s->cmd, "FUNCTION");
	lt_redis_str(&s->cmd, "LIST");
	lt_redis_str(&s->cmd, "LIBRARYNAME");
	lt_redis_str(&s->cmd, "latido");
	lt_redis_str(&s->cmd, "WITHCODE");
	rc = lt_redis_call(s->redis, &s->cmd, &reply, err);
	if (rc == LT_EDATA)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "redis.function",
			"Redis %s knows no functions; Redis 7.0 or later is needed",
			lt_redis_where(s->redis));
	if (rc != LT_OK)
		return rc;
	there = holds_text(reply, lt_redis_function, strlen(lt_redis_function));
	lt_reply_free(reply);
	if (there)
		return LT_OK;
	lt_redis_begin(&s->cmd, "FUNCTION");
	lt_redis_str(&s->cmd, "LOAD");
	lt_redis_str(&s->cmd, "REPLACE");
	lt_redis_str(&s->cmd, lt_redis_function);
	rc = lt_redis_call(s->redis, &s->cmd, NULL, err);
	if (rc == LT_EDATA && err)
		err->cls = LT_CLS_CONFIG;
	return rc == LT_EDATA ? LT_ECONF : rc;
}

static int sink_open(struct lt_sink *base, struct lt_err *err)
{
	struct sink_redis *s = hot_sink(base);
	int rc = lt_redis_connect(s->redis, err);

	if (rc == LT_OK)
		rc = lt_redis_check_layout(s->redis, err);
	if (rc == LT_OK)
		rc = load_function(s, err);
	if (rc == LT_OK) {
		s->st.generation++; /* it may have come back empty */
		rc = hot_send_meta(s, err);
	}
	if (rc == LT_OK)
		rc = hot_finish(s, err);
	hot_settle(s, rc);
	if (rc != LT_OK)
		return soften(s, rc, err);
	s->was_open = true;
	lt_counter_add(&hot_stats.connects, 1);
	return LT_OK;
}

/* Its sequence was replaced, yet somebody goes on with it: nothing of that reaches Redis. */
static void note_old(struct sink_redis *s, const struct lt_event *e)
{
	uint64_t newest = hot_epoch(&s->st, e->source);

	lt_counter_add(&hot_stats.old, 1);
	if (e->epoch && e->epoch < newest)
		lt_complain(&s->epoch_complaint, LT_WARN, "epoch_replaced",
			LT_S("source", e->source), LT_U("epoch", e->epoch), LT_U("newer", newest),
			LT_S("remedy", "if it lasts, two agents use one agent.source, or its clock "
				       "was set "
				       "back: give each its own, or start the agent again"));
}

static int accept_all(
	struct sink_redis *s, const struct lt_batch *b, size_t *bad, struct lt_err *err)
{
	int64_t now = lt_mono_ns();

	for (size_t i = 0; i < b->n; i++) {
		const struct lt_event *e = b->events[i];
		struct hot_stream *stream;
		int verdict = hot_accept(&s->st, e, now, &stream, err);
		struct accepted *a;

		if (verdict < 0) {
			*bad = i;
			return verdict;
		}
		if (verdict == HOT_OLD) {
			note_old(s, e);
			continue;
		}
		a = VEC_ADD(&s->accepted, struct accepted);
		*a = (struct accepted){e, stream, stream->shape, verdict == HOT_TOP};
		lt_shape_get(a->shape);
	}
	return LT_OK;
}

static int send_seen(struct sink_redis *s, struct lt_err *err)
{
	size_t n = 0;
	int rc = LT_OK;

	for (size_t i = 0; i <= s->accepted.n && rc == LT_OK; i++) {
		bool last = i == s->accepted.n;

		if (n && (last || n == SEEN_CHUNK)) {
			rc = hot_send(s, (struct op){.kind = OP_OTHER, .key = LT_REDIS_SEEN}, err);
			n = 0;
		}
		if (last || rc != LT_OK)
			break;
		struct hot_source *src = VEC_AT(&s->accepted, struct accepted, i)->stream->source;

		if (src->seen_ms == INT64_MIN)
			continue;
		if (n++ == 0) {
			lt_redis_begin(&s->cmd, "ZADD");
			lt_redis_str(&s->cmd, LT_REDIS_SEEN);
			lt_redis_str(&s->cmd, "GT");
		}
		lt_redis_i64(&s->cmd, src->seen_ms);
		lt_redis_str(&s->cmd, src->name);
		src->seen_ms = INT64_MIN;
	}
	return rc;
}

static int write_due(struct sink_redis *s, struct lt_err *err)
{
	int64_t now = lt_mono_ns();
	struct hot_source *src;
	int rc = LT_OK;

	while (rc == LT_OK && (src = hot_next_due_source(&s->st, now)))
		rc = hot_write_source(s, src, err);
	return rc;
}

static int put_accepted(struct sink_redis *s, struct lt_err *err)
{
	int64_t now = lt_mono_ns();
	int rc = hot_ensure_shapes(s, err);

	for (size_t i = 0; i < s->accepted.n && rc == LT_OK; i++) {
		struct accepted *a = VEC_AT(&s->accepted, struct accepted, i);
		struct hot_source *src = a->stream->source;

		rc = hot_send_event(s, a, err);
		if (rc != LT_OK)
			break;
		/* stage() copies by the shape of the event, not of the stream's last one. */
		if (hot_stage(&s->st, a->stream, a->shape, a->event, now))
			rc = hot_write_source(s, src, err);
		else if (!hot_due(&s->st, src, now))
			lt_counter_add(&hot_stats.deferred, 1);
	}
	if (rc == LT_OK)
		rc = write_due(s, err);
	if (rc == LT_OK)
		rc = send_seen(s, err);
	return rc == LT_OK ? hot_finish(s, err) : rc;
}

static int sink_put(struct lt_sink *base, const struct lt_batch *b, size_t *bad, struct lt_err *err)
{
	struct sink_redis *s = hot_sink(base);
	struct lt_err why = {0};
	int rc;

	if (!lt_redis_connected(s->redis))
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "redis.put", "Redis %s: not connected",
			lt_redis_where(s->redis));
	hot_begin(&s->st);
	rc = accept_all(s, b, bad, &why);
	if (rc == LT_OK)
		rc = put_accepted(s, &why);
	hot_settle(s, rc == LT_EDATA ? LT_OK : rc);
	for (size_t i = 0; i < s->accepted.n; i++) {
		struct accepted *a = VEC_AT(&s->accepted, struct accepted, i);

		if (rc != LT_OK)
			hot_undo(&s->st, a->stream);
		lt_shape_put(a->shape);
	}
	if (rc == LT_OK)
		lt_counter_add(&hot_stats.events, s->accepted.n);
	s->accepted.n = 0;
	soften(s, rc, &why);
	if (rc != LT_OK && err)
		*err = why;
	return rc;
}

static int chores(struct sink_redis *s, int64_t now, struct lt_err *err)
{
	s->chores_mono_ns = now + HOT_RENEW_NS;
	lt_counter_add(&hot_stats.forgotten, hot_evict(&s->st, now));
	lt_redis_begin(&s->cmd, "ZREMRANGEBYSCORE");
	lt_redis_str(&s->cmd, LT_REDIS_SEEN);
	lt_redis_str(&s->cmd, "-inf");
	lt_redis_i64(&s->cmd, lt_wall_ns() / LT_NS_PER_MS - s->conf->hot.expire_ms);
	s->meta_due = true;
	return hot_send(s, (struct op){.kind = OP_OTHER, .key = LT_REDIS_SEEN}, err);
}

static int64_t sink_tick(struct lt_sink *base, struct lt_err *err)
{
	struct sink_redis *s = hot_sink(base);
	int64_t now = lt_mono_ns(), due;
	struct lt_err why = {0};
	int rc;

	if (!lt_redis_connected(s->redis))
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "redis.tick", "Redis %s: not connected",
			lt_redis_where(s->redis));
	rc = write_due(s, &why);
	if (rc == LT_OK && now >= s->chores_mono_ns)
		rc = chores(s, now, &why);
	if (rc == LT_OK)
		rc = hot_finish(s, &why);
	hot_settle(s, rc);
	if (rc != LT_OK) {
		soften(s, rc, &why);
		if (err)
			*err = why;
		return rc;
	}
	now = lt_mono_ns();
	due = hot_next_due_ns(&s->st, now);
	if (due > s->chores_mono_ns - now)
		due = s->chores_mono_ns - now;
	return due > 0 ? due : 0;
}

static int sink_flush(struct lt_sink *base, struct lt_err *err)
{
	struct sink_redis *s = hot_sink(base);
	struct hot_source *src;
	int rc = LT_OK;

	if (!s->st.n_pending)
		return LT_OK;
	if (!lt_redis_connected(s->redis))
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "redis.flush", "Redis %s: not connected",
			lt_redis_where(s->redis));
	while (rc == LT_OK && (src = hot_any_pending(&s->st)))
		rc = hot_write_source(s, src, err);
	if (rc == LT_OK)
		rc = hot_finish(s, err);
	hot_settle(s, rc);
	return rc;
}

static int sink_find_shape(
	struct lt_sink *base, uint64_t hash, struct lt_buf *bytes, struct lt_err *err)
{
	struct sink_redis *s = hot_sink(base);
	struct lt_shape *shape;
	int rc = lt_redis_find_shape(s->redis, s->st.shapes, hash, &shape, err);

	if (rc != LT_OK)
		return rc == LT_EAGAIN ? rc : soften(s, rc, err);
	lt_buf_add(bytes, shape->bytes, shape->size);
	lt_shape_put(shape);
	return LT_OK;
}

const struct lt_sink_ops lt_sink_redis_ops = {
	.name = "redis",
	.size = sizeof(struct sink_redis),
	.init = sink_init,
	.open = sink_open,
	.put = sink_put,
	.tick = sink_tick,
	.find_shape = sink_find_shape,
	.flush = sink_flush,
	.fini = sink_fini,
};
