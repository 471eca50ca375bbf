/* SPDX-License-Identifier: MIT */
#include "sink_redis_write.h"

#include "latido/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHAPE_EXPIRE_S    (7 * 86400)
#define PIPELINE_BYTES    (1024 * 1024)
#define PIPELINE_COMMANDS 4096
/* Redis closes the connection on a command with more than 1024 * 1024. */
#define ARGUMENTS_MAX     1000000

void *hot_vec_add(struct vec *v, size_t size)
{
	if (v->n == v->cap) {
		v->cap = v->cap ? v->cap * 2 : 64;
		v->items = lt_realloc(v->items, v->cap * size);
	}
	return (char *)v->items + size * v->n++;
}

/* ---- pipeline ---- */

static int answer(struct sink_redis *s, const struct op *op, const struct lt_reply *reply,
	struct lt_err *err);

/* Until at most @left are outstanding. */
static int read_some(struct sink_redis *s, size_t left, struct lt_err *err)
{
	int rc = LT_OK;

	if (s->ops_read < s->ops.n)
		lt_counter_add(&hot_stats.pipelines, 1);
	while (s->ops.n - s->ops_read > left && rc == LT_OK) {
		struct lt_reply *reply;
		struct op op;

		rc = lt_redis_read(s->redis, &reply, err);
		if (rc != LT_OK)
			break;
		/* A copy: what the answer leads to may be sent at once and move the vector. */
		op = *VEC_AT(&s->ops, struct op, s->ops_read);
		s->ops_read++;
		rc = answer(s, &op, reply, err);
		lt_reply_free(reply);
	}
	if (rc == LT_OK && s->ops_read) {
		s->ops.n -= s->ops_read;
		memmove(s->ops.items, VEC_AT(&s->ops, struct op, s->ops_read),
			s->ops.n * sizeof(struct op));
		s->ops_read = 0;
	}
	return rc;
}

static int read_answers(struct sink_redis *s, struct lt_err *err)
{
	return read_some(s, 0, err);
}

int hot_send(struct sink_redis *s, struct op op, struct lt_err *err)
{
	int rc = lt_redis_append(s->redis, &s->cmd, err);

	if (rc != LT_OK)
		return rc;
	lt_counter_add(&hot_stats.commands, 1);
	*VEC_ADD(&s->ops, struct op) = op;
	if (s->ops.n - s->ops_read >= PIPELINE_COMMANDS ||
		lt_redis_unread_bytes(s->redis) >= PIPELINE_BYTES)
		/* Not all: Redis shall have work while we make more. */
		return read_some(s, (s->ops.n - s->ops_read) / 2, err);
	return LT_OK;
}

/* One key is in the way; the stream of events must not stop for it. */
static void key_error(struct sink_redis *s, const struct op *op, const struct lt_err *err)
{
	char key[64 + LT_SOURCE_MAX];

	lt_counter_add(&hot_stats.key_errors, 1);
	snprintf(key, sizeof(key), "%s%s", op->key, op->source ? op->source->name : "");
	if (op->shape)
		snprintf(key, sizeof(key), "%s%s", op->key, hot_shape_of(op->shape)->hex);
	lt_complain(&s->key_complaint, LT_WARN, "redis_key", LT_S("key", key),
		LT_S("err", err->msg),
		LT_S("remedy", "another program wrote there: delete the key"));
}

/* ---- shapes in Redis ---- */

static void shape_answer(struct sink_redis *s, struct lt_shape *shape, const struct lt_reply *reply)
{
	struct hot_shape *h = hot_shape_of(shape);
	size_t len;
	const char *there = lt_reply_str(reply, &len);

	h->generation = s->st.generation;
	h->seen_mono_ns = lt_mono_ns();
	h->inline_only = lt_reply_type(reply) != LT_REPLY_NIL &&
			 (len != shape->size || memcmp(there, shape->bytes, len));
	if (h->inline_only)
		lt_complain(&s->collision_complaint, LT_WARN, "shape_collision",
			LT_S("hash", h->hex),
			LT_S("remedy", "two shapes with one hash: their events carry their names"));
}

static int send_shape(struct sink_redis *s, struct lt_shape *shape, struct lt_err *err)
{
	lt_redis_begin(&s->cmd, "SET");
	lt_redis_key(&s->cmd, LT_REDIS_SHAPE, hot_shape_of(shape)->hex);
	lt_redis_arg(&s->cmd, shape->bytes, shape->size);
	lt_redis_str(&s->cmd, "NX");
	lt_redis_str(&s->cmd, "GET");
	lt_redis_str(&s->cmd, "EX");
	lt_redis_i64(&s->cmd, SHAPE_EXPIRE_S);
	return hot_send(
		s, (struct op){.kind = OP_SHAPE_SET, .key = LT_REDIS_SHAPE, .shape = shape}, err);
}

/* Make sure that what is packed by hash can be unpacked by readers. */
int hot_ensure_shapes(struct sink_redis *s, struct lt_err *err)
{
	int64_t now = lt_mono_ns();
	int rc = LT_OK;

	for (size_t i = 0; i < s->accepted.n && rc == LT_OK; i++) {
		struct lt_shape *shape = VEC_AT(&s->accepted, struct accepted, i)->shape;
		struct hot_shape *h = hot_shape_of(shape);

		if (shape->collides)
			continue;
		if (h->generation != s->st.generation) {
			h->generation = s->st.generation; /* once a batch */
			rc = send_shape(s, shape, err);
		} else if (now - h->seen_mono_ns > HOT_RENEW_NS) {
			h->seen_mono_ns = now;
			lt_redis_begin(&s->cmd, "EXPIRE");
			lt_redis_key(&s->cmd, LT_REDIS_SHAPE, h->hex);
			lt_redis_i64(&s->cmd, SHAPE_EXPIRE_S);
			rc = hot_send(s,
				(struct op){.kind = OP_SHAPE_RENEW,
					.key = LT_REDIS_SHAPE,
					.shape = shape},
				err);
		}
	}
	return rc == LT_OK ? read_answers(s, err) : rc;
}

/* ---- answers ---- */

static struct redo *add_redo(struct sink_redis *s, struct hot_stream *stream)
{
	struct redo *r = VEC_ADD(&s->redos, struct redo);

	*r = (struct redo){.stream = stream};
	return r;
}

static void landed(struct sink_redis *s, struct hot_stream *stream)
{
	lt_counter_add(stream->flying_full ? &hot_stats.fulls : &hot_stats.deltas, 1);
	hot_landed(&s->st, stream);
}

static void apply_answer(
	struct sink_redis *s, struct hot_stream *stream, const struct lt_reply *reply)
{
	size_t len;
	const char *there = lt_reply_str(reply, &len);

	if (lt_reply_type(reply) == LT_REPLY_STRING) {
		struct redo *r = add_redo(s, stream);

		memcpy(r->wanted, there, len < HOT_SHAPE_HEX_LEN ? len : HOT_SHAPE_HEX_LEN);
		if (!r->wanted[0]) /* not ours, and no shape that could be found */
			r->wanted[0] = '-';
		return;
	}
	switch (lt_reply_int(reply)) {
	case 1:
		landed(s, stream);
		return;
	case 2:
		/* What we thought to be there is not: Redis may have been emptied as a whole. */
		lt_counter_add(&hot_stats.rebased, 1);
		add_redo(s, stream);
		return;
	default:
		lt_counter_add(&hot_stats.refused, 1);
		hot_refused(&s->st, stream);
	}
}

static int error_answer(
	struct sink_redis *s, const struct op *op, const struct lt_reply *reply, struct lt_err *err)
{
	struct lt_err why = {0};
	int rc;

	if (op->kind == OP_XADD && strstr(lt_reply_str(reply, NULL), "equal or smaller")) {
		lt_counter_add(&hot_stats.duplicates, 1);
		return LT_OK;
	}
	rc = lt_reply_fail(reply, "redis.reply", &why);
	if (rc != LT_EDATA) {
		if (err)
			*err = why;
		return rc;
	}
	key_error(s, op, &why);
	if (op->kind == OP_APPLY)
		hot_refused(&s->st, op->stream);
	if (op->kind == OP_SHAPE_SET || op->kind == OP_SHAPE_RENEW) {
		struct hot_shape *h = hot_shape_of(op->shape);

		h->inline_only = true;
		h->generation = s->st.generation - 1; /* look again with the next batch */
	}
	return LT_OK;
}

static int answer(
	struct sink_redis *s, const struct op *op, const struct lt_reply *reply, struct lt_err *err)
{
	if (lt_reply_type(reply) == LT_REPLY_ERROR)
		return error_answer(s, op, reply, err);
	switch (op->kind) {
	case OP_SHAPE_SET:
		shape_answer(s, op->shape, reply);
		break;
	case OP_SHAPE_RENEW:
		if (lt_reply_int(reply) == 0) /* it is gone: set it again */
			return send_shape(s, op->shape, err);
		break;
	case OP_SHAPE_GET: {
		struct redo *r = VEC_AT(&s->redos, struct redo, op->redo);
		size_t len;
		const char *bytes = lt_reply_str(reply, &len);

		if (len)
			r->old = lt_shapes_intern(s->st.shapes, bytes, len, NULL);
		break;
	}
	case OP_XADD:
		lt_counter_add(&hot_stats.window, 1);
		/* Not when refused: a window nobody can append to has to go some day. */
		if (lt_mono_ns() >= op->source->window_expire_mono_ns) {
			op->source->window_expire_mono_ns = lt_mono_ns() + HOT_RENEW_NS;
			*VEC_ADD(&s->renew, struct hot_source *) = op->source;
		}
		break;
	case OP_PUBLISH:
		if (op->event_ns)
			lt_hist_add(&hot_stats.latency, lt_wall_ns() - op->event_ns);
		break;
	case OP_APPLY:
		apply_answer(s, op->stream, reply);
		break;
	case OP_OTHER:
		break;
	}
	return LT_OK;
}

/* ---- one event ---- */

static int64_t expire_s(const struct sink_redis *s)
{
	return (s->conf->hot.expire_ms + 999) / 1000;
}

static int send_window(struct sink_redis *s, const struct accepted *a, struct lt_err *err)
{
	struct hot_source *src = a->stream->source;
	double size = (double)s->packed.len + 32; /* and the entry around it */
	char id[48];

	src->window_event_bytes +=
		src->window_event_bytes > 0 ? (size - src->window_event_bytes) / 16 : size;
	/* Epoch 0 stands below all others, and Redis counts on from its last one. */
	if (a->event->epoch)
		snprintf(id, sizeof(id), "%llu-%llu", (unsigned long long)a->event->epoch,
			(unsigned long long)a->event->seq);
	else
		strcpy(id, "0-*");
	lt_redis_begin(&s->cmd, "XADD");
	lt_redis_key(&s->cmd, LT_REDIS_WINDOW, src->name);
	lt_redis_str(&s->cmd, "MAXLEN");
	lt_redis_str(&s->cmd, "~");
	lt_redis_i64(&s->cmd, hot_window_maxlen(s->conf->hot.window_events,
				      s->conf->hot.window_bytes, src->window_event_bytes));
	lt_redis_str(&s->cmd, id);
	lt_redis_str(&s->cmd, "e");
	lt_redis_arg(&s->cmd, s->packed.data, s->packed.len);
	return hot_send(
		s, (struct op){.kind = OP_XADD, .key = LT_REDIS_WINDOW, .source = src}, err);
}

int hot_send_event(struct sink_redis *s, const struct accepted *a, struct lt_err *err)
{
	const struct lt_event *e = a->event;
	struct lt_event packed = *e;
	struct hot_source *src = a->stream->source;
	bool with_names = *hot_shape_ref(a->shape) == '-' || e->shape->collides;
	int rc = LT_OK;

	lt_buf_reset(&s->packed);
	packed.has_time = true; /* readers come later: for them arrival is in the past */
	lt_encode_protobuf(&packed, with_names, &s->packed);
	if (with_names)
		lt_counter_add(&hot_stats.inlined, 1);
	if (a->top)
		rc = send_window(s, a, err);
	else
		lt_counter_add(&hot_stats.duplicates, 1);
	if (rc != LT_OK)
		return rc;
	lt_redis_begin(&s->cmd, "PUBLISH");
	lt_redis_key(&s->cmd, LT_REDIS_LIVE, src->name);
	lt_redis_arg(&s->cmd, s->packed.data, s->packed.len);
	return hot_send(s,
		(struct op){.kind = OP_PUBLISH,
			.key = LT_REDIS_LIVE,
			.source = src,
			.event_ns = e->has_time ? e->time_ns : e->arrived_ns},
		err);
}

/* ---- the hash ---- */

static int send_apply(struct sink_redis *s, struct hot_stream *stream, struct lt_shape *previous,
	const char *previous_ref, struct lt_err *err)
{
	struct hot_source *src = stream->source;
	int64_t now = lt_mono_ns();
	struct hot_fcall how = {
		.previous = previous,
		.previous_ref = previous_ref,
		/* Snapshots of several streams share a hash; without a bound, made-up names would
		 * fill it for ever. */
		.max_fields = 4 * s->conf->limits.max_series,
	};

	if (stream->flying_full || now >= src->hash_expire_mono_ns) {
		how.expire_s = expire_s(s);
		src->hash_expire_mono_ns = now + HOT_RENEW_NS;
	}
	hot_fcall_build(&s->cmd, stream, &how);
	if (s->cmd.n > ARGUMENTS_MAX) {
		lt_counter_add(&hot_stats.key_errors, 1);
		lt_complain(&s->wide_complaint, LT_WARN, "snapshot_too_wide",
			LT_S("source", src->name), LT_U("arguments", s->cmd.n),
			LT_S("remedy", "it is in the window, but not in the hash; lower "
				       "limits.max_series"));
		hot_refused(&s->st, stream);
		return LT_OK;
	}
	lt_counter_add(&hot_stats.fields, how.fields);
	return hot_send(s,
		(struct op){
			.kind = OP_APPLY, .key = LT_REDIS_NODE, .source = src, .stream = stream},
		err);
}

static int write_stream(struct sink_redis *s, struct hot_stream *stream, struct lt_err *err)
{
	struct hot_frame *old;

	if (stream->flying) {
		/* Written twice in one batch: what the second one is based on must be known. */
		int rc = hot_finish(s, err);

		if (rc != LT_OK)
			return rc;
		hot_put_back(&s->st, stream); /* no-op unless Redis kept asking */
	}
	hot_take_off(&s->st, stream, lt_mono_ns());
	*VEC_ADD(&s->flying, struct hot_stream *) = stream;
	old = stream->written;
	if (stream->flying_full && old && !old->partial)
		return send_apply(s, stream, old->shape, hot_shape_ref(old->shape), err);
	return send_apply(s, stream, NULL, NULL, err);
}

int hot_write_source(struct sink_redis *s, struct hot_source *src, struct lt_err *err)
{
	int rc = LT_OK;

	for (struct hot_stream *stream = src->streams; stream && rc == LT_OK; stream = stream->next)
		if (stream->pending)
			rc = write_stream(s, stream, err);
	return rc;
}

/* Redis holds another shape: what was in it and is no more has to be deleted. */
static int fetch_old_shapes(struct sink_redis *s, struct lt_err *err)
{
	int rc = LT_OK;

	for (size_t i = 0; i < s->redos.n && rc == LT_OK; i++) {
		struct redo *r = VEC_AT(&s->redos, struct redo, i);

		if (!r->wanted[0] || r->wanted[0] == '-')
			continue;
		lt_redis_begin(&s->cmd, "GET");
		lt_redis_key(&s->cmd, LT_REDIS_SHAPE, r->wanted);
		rc = hot_send(s,
			(struct op){.kind = OP_SHAPE_GET,
				.key = LT_REDIS_SHAPE,
				.source = r->stream->source,
				.redo = i},
			err);
	}
	return rc == LT_OK ? read_answers(s, err) : rc;
}

static int send_again(struct sink_redis *s, const struct redo *r, struct lt_err *err)
{
	struct hot_stream *stream = r->stream;
	struct lt_shape *shape = stream->flying->shape;
	struct hot_shape *h = hot_shape_of(shape);
	int rc = LT_OK;

	hot_forget_written(&s->st, stream);
	stream->flying_full = true;
	if (r->wanted[0]) {
		/* A forged or damaged value under that key is not the shape that we look for. */
		bool known = r->old && !strcmp(hot_shape_of(r->old)->hex, r->wanted);

		if (known)
			return send_apply(s, stream, r->old, r->wanted, err);
		lt_counter_add(&hot_stats.resets, 1);
		return send_apply(s, stream, NULL, "*", err);
	}
	if (!shape->collides && h->generation != s->st.generation) {
		h->generation = s->st.generation;
		rc = send_shape(s, shape, err);
	}
	return rc == LT_OK ? send_apply(s, stream, NULL, NULL, err) : rc;
}

void hot_drop_redos(struct sink_redis *s)
{
	for (size_t i = 0; i < s->redos.n; i++)
		lt_shape_put(VEC_AT(&s->redos, struct redo, i)->old);
	s->redos.n = 0;
}

static int renew_windows(struct sink_redis *s, struct lt_err *err)
{
	int rc = LT_OK;

	for (size_t i = 0; i < s->renew.n && rc == LT_OK; i++) {
		struct hot_source *src = *VEC_AT(&s->renew, struct hot_source *, i);

		lt_redis_begin(&s->cmd, "EXPIRE");
		lt_redis_key(&s->cmd, LT_REDIS_WINDOW, src->name);
		lt_redis_i64(&s->cmd, expire_s(s));
		rc = hot_send(s,
			(struct op){.kind = OP_OTHER, .key = LT_REDIS_WINDOW, .source = src}, err);
	}
	s->renew.n = 0;
	return rc;
}

int hot_send_meta(struct sink_redis *s, struct lt_err *err)
{
	s->meta_due = false;
	lt_redis_begin(&s->cmd, "HSET");
	lt_redis_str(&s->cmd, LT_REDIS_META);
	lt_redis_str(&s->cmd, "layout");
	lt_redis_str(&s->cmd, LT_REDIS_LAYOUT);
	lt_redis_str(&s->cmd, "writer");
	lt_redis_key(&s->cmd, "latido-hot ", lt_daemon_version());
	return hot_send(s, (struct op){.kind = OP_OTHER, .key = LT_REDIS_META}, err);
}

/* Read what is outstanding and answer Redis's wishes until it has none. */
int hot_finish(struct sink_redis *s, struct lt_err *err)
{
	struct vec round = {0};
	int rc = read_answers(s, err);

	if (rc == LT_OK && s->renew.n)
		rc = renew_windows(s, err);
	for (int i = 0; i < 3 && rc == LT_OK && s->redos.n; i++) {
		bool lost = false;

		rc = fetch_old_shapes(s, err);
		for (size_t k = 0; k < s->redos.n; k++)
			lost |= !VEC_AT(&s->redos, struct redo, k)->wanted[0];
		if (lost) {
			s->st.generation++;
			s->meta_due = true;
		}
		/* New wishes come while the old ones are sent. */
		round = s->redos;
		s->redos = (struct vec){0};
		for (size_t k = 0; k < round.n; k++) {
			struct redo *r = VEC_AT(&round, struct redo, k);

			if (rc == LT_OK)
				rc = send_again(s, r, err);
			lt_shape_put(r->old);
		}
		free(round.items);
		if (rc == LT_OK)
			rc = read_answers(s, err);
	}
	if (rc == LT_OK && s->meta_due)
		rc = hot_send_meta(s, err);
	if (rc == LT_OK)
		rc = read_answers(s, err);
	return rc;
}

/* Whatever is not known to have arrived waits again; what is only half sent is dropped. */
void hot_settle(struct sink_redis *s, int rc)
{
	for (size_t i = 0; i < s->flying.n; i++) {
		struct hot_stream *stream = *VEC_AT(&s->flying, struct hot_stream *, i);

		if (stream->flying)
			hot_put_back(&s->st, stream);
	}
	s->flying.n = 0;
	hot_drop_redos(s);
	s->renew.n = 0;
	s->ops.n = s->ops_read = 0;
	if (rc != LT_OK)
		lt_redis_close(s->redis);
	lt_gauge_set(&hot_stats.sources, (int64_t)s->st.n_sources);
	lt_gauge_set(&hot_stats.pending, (int64_t)s->st.n_pending);
	lt_gauge_set(&hot_stats.bytes, (int64_t)s->st.bytes);
}
