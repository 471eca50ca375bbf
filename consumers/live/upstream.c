/* SPDX-License-Identifier: MIT */
#include "upstream.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "latido/redis_layout.h"

#define QUEUE_BYTES_MAX (64u << 20)
#define POLL_MS         500
#define SEEN_EVERY      10    /* polls */
#define FIRST_EVENTS    60000 /* read of all windows at the start */
#define PIPELINE        32    /* windows asked for at once, */
#define PIPELINE_EVENTS 2000  /* but hardly more events than these */
#define CHUNK_EVENTS    32    /* of a source; the hub lets more of them wait for their shape */
#define WANTED_MAX      256
#define WINDOWS_MAX     64 /* others are shown with their next event */
#define MAX_SOURCES     20000

struct upstream {
	struct upstream_options opt;
	struct lt_redis *sub, *ask; /* the thread's */
	struct lt_redis_cmd cmd;
	uint64_t alerts_hash;
	bool alerts_known;
	unsigned polls;
	struct lt_waker waker;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock; /* all below */
	pthread_cond_t cond;
	bool stop;
	struct upstream_msg *first, **last;
	size_t queued_bytes;
	uint64_t dropped;
	_Atomic bool wants; /* of the next two there is any */
	uint64_t wanted[WANTED_MAX];
	size_t n_wanted;
	char windows[WINDOWS_MAX][LT_SOURCE_MAX + 1];
	size_t n_windows;
	bool want_positions;
	bool settling; /* we wait for the loop to have taken all */
	struct upstream_position *positions;
	size_t n_positions;
};

/* ---- handing over ---- */

/* @wait: rather than dropping it when the queue is full. */
static void push(struct upstream *u, enum upstream_kind kind, const char *source, int64_t number,
	const void *data, size_t size, bool old)
{
	struct upstream_msg *m = lt_malloc(sizeof(*m) + size + 1);
	const bool wait = old || kind != UP_EVENT;

	*m = (struct upstream_msg){.kind = kind, .number = number, .old = old, .size = size};
	snprintf(m->source, sizeof(m->source), "%s", source);
	if (size)
		memcpy(m->data, data, size);
	m->data[size] = '\0';
	pthread_mutex_lock(&u->lock);
	while (wait && !u->stop && u->queued_bytes > QUEUE_BYTES_MAX)
		pthread_cond_wait(&u->cond, &u->lock);
	if (u->stop || (!wait && u->queued_bytes > QUEUE_BYTES_MAX)) {
		u->dropped += !wait;
		pthread_mutex_unlock(&u->lock);
		free(m);
		return;
	}
	*u->last = m;
	u->last = &m->next;
	u->queued_bytes += sizeof(*m) + size;
	pthread_mutex_unlock(&u->lock);
	lt_waker_wake(&u->waker);
}

static bool stopped(struct upstream *u)
{
	bool stop;

	pthread_mutex_lock(&u->lock);
	stop = u->stop;
	pthread_mutex_unlock(&u->lock);
	return stop;
}

/* ---- shapes ---- */

static int fetch_shapes(struct upstream *u, struct lt_err *err)
{
	uint64_t wanted[WANTED_MAX];
	char hex[LT_REDIS_HASH_LEN];
	size_t n;
	int rc;

	pthread_mutex_lock(&u->lock);
	n = u->n_wanted;
	memcpy(wanted, u->wanted, n * sizeof(*wanted));
	u->n_wanted = 0;
	pthread_mutex_unlock(&u->lock);
	for (size_t i = 0; i < n; i++) {
		struct lt_reply *reply;
		const char *bytes;
		size_t len;

		lt_redis_hash(wanted[i], hex);
		lt_redis_begin(&u->cmd, "GET");
		lt_redis_key(&u->cmd, LT_REDIS_SHAPE, hex);
		rc = lt_redis_call(u->ask, &u->cmd, &reply, err);
		if (rc != LT_OK) {
			while (i < n) /* events wait for them: after the next connect, then */
				upstream_want_shape(u, wanted[i++]);
			return rc;
		}
		bytes = lt_reply_str(reply, &len);
		push(u, UP_SHAPE, "", (int64_t)wanted[i], bytes, len, false);
		lt_reply_free(reply);
	}
	return LT_OK;
}

/*
 * Until the loop has taken what was pushed, and the shapes that it asked for because of it: what waits for
 * a shape is bounded, and a window is longer. No answers may be outstanding.
 */
static int settle(struct upstream *u, struct lt_err *err)
{
	bool more;
	int rc = LT_OK;

	do {
		pthread_mutex_lock(&u->lock);
		u->settling = true;
		lt_waker_wake(&u->waker);
		while (u->settling && !u->stop)
			pthread_cond_wait(&u->cond, &u->lock);
		more = u->n_wanted && !u->stop;
		pthread_mutex_unlock(&u->lock);
		if (more)
			rc = fetch_shapes(u, err);
	} while (more && rc == LT_OK);
	return rc;
}

/* ---- what was missed ---- */

/* Ask the loop where each source stands. */
static struct upstream_position *ask_positions(struct upstream *u, size_t *n)
{
	struct upstream_position *list;

	pthread_mutex_lock(&u->lock);
	u->want_positions = true;
	lt_waker_wake(&u->waker);
	while (u->want_positions && !u->stop)
		pthread_cond_wait(&u->cond, &u->lock);
	list = u->positions;
	*n = u->n_positions;
	u->positions = NULL;
	u->n_positions = 0;
	pthread_mutex_unlock(&u->lock);
	return list;
}

static int by_source(const void *a, const void *b)
{
	return strcmp(a, b); /* the name comes first in the struct */
}

/* One entry of a window: [id, [e, packed]]. */
static void push_entry(
	struct upstream *u, const char *source, int64_t number, const struct lt_reply *entry)
{
	const struct lt_reply *fields = lt_reply_at(entry, 1);
	size_t size;
	const char *data;

	for (size_t i = 0; i + 1 < lt_reply_n(fields); i += 2) {
		if (strcmp(lt_reply_str(lt_reply_at(fields, i), NULL), "e"))
			continue;
		data = lt_reply_str(lt_reply_at(fields, i + 1), &size);
		push(u, UP_EVENT, source, number, data, size, true);
	}
}

/* Newest first when the whole end of a window was asked for, else oldest first. */
static int window_append(struct upstream *u, const char *source,
	const struct upstream_position *have, size_t count, struct lt_err *err)
{
	char id[64];

	lt_redis_begin(&u->cmd, have ? "XRANGE" : "XREVRANGE");
	lt_redis_key(&u->cmd, LT_REDIS_WINDOW, source);
	if (have) {
		snprintf(id, sizeof(id), "(%llu-%llu", (unsigned long long)have->epoch,
			(unsigned long long)have->seq);
		lt_redis_str(&u->cmd, id);
		lt_redis_str(&u->cmd, "+");
	} else {
		lt_redis_str(&u->cmd, "+");
		lt_redis_str(&u->cmd, "-");
	}
	lt_redis_str(&u->cmd, "COUNT");
	lt_redis_u64(&u->cmd, count);
	return lt_redis_append(u->ask, &u->cmd, err);
}

/* Windows, oldest events first, with what the shapes of their first ones are in between. */
static int push_windows(struct upstream *u, const char *const *names, struct lt_reply **entries,
	const bool *newest_first, size_t n, bool numbered, struct lt_err *err)
{
	size_t from = 0, to = 1;
	bool more = true;
	int rc = LT_OK;

	while (more && rc == LT_OK && !stopped(u)) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			size_t len = lt_reply_n(entries[i]);

			for (size_t k = from; k < to && k < len; k++)
				push_entry(u, names[i], numbered ? (int64_t)k + 1 : 0,
					lt_reply_at(entries[i], newest_first[i] ? len - 1 - k : k));
			more = more || to < len;
		}
		rc = settle(u, err);
		from = to;
		to += CHUNK_EVENTS;
	}
	return rc;
}

static int catch_up_some(struct upstream *u, const struct lt_reply *seen, size_t from, size_t to,
	const struct upstream_position *have, size_t n_have, size_t count, struct lt_err *err)
{
	struct lt_reply *entries[PIPELINE] = {NULL};
	const char *names[PIPELINE];
	bool whole[PIPELINE];
	int rc = LT_OK;

	for (size_t i = from; i < to && rc == LT_OK; i++) {
		const struct upstream_position *at;
		struct upstream_position key;

		names[i - from] = lt_reply_str(lt_reply_at(seen, 2 * i), NULL);
		snprintf(key.source, sizeof(key.source), "%s", names[i - from]);
		at = n_have ? bsearch(&key, have, n_have, sizeof(*have), by_source) : NULL;
		if (at && !at->epoch)
			at = NULL; /* unnumbered: nothing tells what is new */
		whole[i - from] = !at;
		rc = window_append(u, names[i - from], at, at ? 10000 : count, err);
	}
	for (size_t i = from; i < to && rc == LT_OK; i++)
		rc = lt_redis_read(u->ask, &entries[i - from], err);
	if (rc == LT_OK)
		rc = push_windows(u, names, entries, whole, to - from, false, err);
	for (size_t i = from; i < to; i++)
		lt_reply_free(entries[i - from]);
	return rc;
}

static int read_seen(struct upstream *u, struct lt_reply **seen, struct lt_err *err)
{
	lt_redis_begin(&u->cmd, "ZREVRANGE");
	lt_redis_str(&u->cmd, LT_REDIS_SEEN);
	lt_redis_i64(&u->cmd, 0);
	lt_redis_i64(&u->cmd, MAX_SOURCES - 1);
	lt_redis_str(&u->cmd, "WITHSCORES");
	return lt_redis_call(u->ask, &u->cmd, seen, err);
}

static void push_seen(struct upstream *u, const struct lt_reply *seen, bool old)
{
	for (size_t i = 0; i + 1 < lt_reply_n(seen); i += 2) {
		size_t len;
		const char *name = lt_reply_str(lt_reply_at(seen, i), &len);

		if (lt_source_valid(name, len))
			push(u, UP_SEEN, name,
				(int64_t)strtod(lt_reply_str(lt_reply_at(seen, i + 1), NULL), NULL),
				NULL, 0, old);
	}
}

static int catch_up(struct upstream *u, struct lt_err *err)
{
	struct upstream_position *have;
	struct lt_reply *seen = NULL;
	size_t n_have, n, count, some;
	int rc = read_seen(u, &seen, err);

	if (rc != LT_OK)
		return rc;
	have = ask_positions(u, &n_have);
	if (n_have)
		qsort(have, n_have, sizeof(*have), by_source);
	push_seen(u, seen, true);
	n = lt_reply_n(seen) / 2;
	count = (size_t)(u->opt.window_ms / 1000);
	if (n && count > FIRST_EVENTS / n)
		count = FIRST_EVENTS / n > 2 ? FIRST_EVENTS / n : 2;
	some = PIPELINE_EVENTS / (count + 1) + 1;
	if (some > PIPELINE)
		some = PIPELINE;
	for (size_t i = 0; i < n && rc == LT_OK && !stopped(u); i += some)
		rc = catch_up_some(
			u, seen, i, i + some < n ? i + some : n, have, n_have, count, err);
	free(have);
	lt_reply_free(seen);
	if (rc == LT_OK)
		push(u, UP_CAUGHT_UP, "", 0, NULL, 0, false);
	return rc;
}

/* ---- what is asked now and then ---- */

static int poll_alerts(struct upstream *u, struct lt_err *err)
{
	struct lt_reply *reply;
	struct lt_buf all = {0};
	uint64_t hash = UINT64_C(1469598103934665603);
	int rc;

	lt_redis_begin(&u->cmd, "HGETALL");
	lt_redis_str(&u->cmd, LT_REDIS_ALERTS);
	rc = lt_redis_call(u->ask, &u->cmd, &reply, err);
	if (rc != LT_OK)
		return rc;
	for (size_t i = 0; i < lt_reply_n(reply); i++) {
		size_t len;
		const char *s = lt_reply_str(lt_reply_at(reply, i), &len);

		lt_buf_add(&all, s, strnlen(s, len));
		lt_buf_char(&all, '\0');
	}
	for (size_t i = 0; i < all.len; i++)
		hash = (hash ^ (unsigned char)all.data[i]) * UINT64_C(1099511628211);
	if (!u->alerts_known || hash != u->alerts_hash)
		push(u, UP_ALERTS, "", 0, all.data, all.len, false);
	u->alerts_known = true;
	u->alerts_hash = hash;
	lt_buf_fini(&all);
	lt_reply_free(reply);
	return LT_OK;
}

static int fetch_windows(struct upstream *u, struct lt_err *err)
{
	char wanted[WINDOWS_MAX][LT_SOURCE_MAX + 1];
	size_t n;
	int rc = LT_OK;

	pthread_mutex_lock(&u->lock);
	n = u->n_windows;
	memcpy(wanted, u->windows, n * sizeof(*wanted));
	u->n_windows = 0;
	pthread_mutex_unlock(&u->lock);
	for (size_t i = 0; i < n && rc == LT_OK; i++) {
		const char *const name = wanted[i];
		const bool newest_first = true;
		struct lt_reply *entries;

		rc = window_append(u, name, NULL, (size_t)(u->opt.window_ms / 1000), err);
		if (rc == LT_OK)
			rc = lt_redis_read(u->ask, &entries, err);
		if (rc == LT_OK) {
			rc = push_windows(u, &name, &entries, &newest_first, 1, true, err);
			lt_reply_free(entries);
		}
		if (rc != LT_OK)
			while (i < n)
				upstream_want_window(u, wanted[i++]);
	}
	return rc;
}

static int fetch_wanted(struct upstream *u, struct lt_err *err)
{
	int rc;

	if (!atomic_exchange(&u->wants, false))
		return LT_OK;
	rc = fetch_shapes(u, err);
	return rc == LT_OK ? fetch_windows(u, err) : rc;
}

static int poll_some(struct upstream *u, struct lt_err *err)
{
	struct lt_reply *seen;
	int rc = fetch_wanted(u, err);

	if (rc == LT_OK)
		rc = poll_alerts(u, err);
	if (rc == LT_OK && u->polls++ % SEEN_EVERY == 0) {
		rc = read_seen(u, &seen, err);
		if (rc == LT_OK) {
			push_seen(u, seen, false);
			lt_reply_free(seen);
		}
	}
	return rc;
}

/* ---- the thread ---- */

static int connect_both(struct upstream *u, struct lt_err *err)
{
	struct lt_reply *reply;
	int rc = lt_redis_connect(u->ask, err);

	if (rc == LT_OK)
		rc = lt_redis_check_layout(u->ask, err);
	if (rc == LT_OK)
		rc = lt_redis_connect(u->sub, err);
	if (rc != LT_OK)
		return rc;
	lt_redis_begin(&u->cmd, "PSUBSCRIBE");
	lt_redis_key(&u->cmd, LT_REDIS_LIVE, "*");
	rc = lt_redis_call(u->sub, &u->cmd, &reply, err);
	if (rc == LT_OK)
		lt_reply_free(reply);
	return rc;
}

/* ["pmessage", pattern, channel, payload]; anything else is an answer to our PING. */
static void take_message(struct upstream *u, const struct lt_reply *r)
{
	const size_t prefix = strlen(LT_REDIS_LIVE);
	const char *channel, *data;
	size_t len, size;

	if (lt_reply_n(r) != 4)
		return;
	channel = lt_reply_str(lt_reply_at(r, 2), &len);
	data = lt_reply_str(lt_reply_at(r, 3), &size);
	if (len > prefix && !memcmp(channel, LT_REDIS_LIVE, prefix) &&
		lt_source_valid(channel + prefix, len - prefix))
		push(u, UP_EVENT, channel + prefix, 0, data, size, false);
}

static void tell_dropped(struct upstream *u)
{
	uint64_t n;

	pthread_mutex_lock(&u->lock);
	n = u->dropped;
	u->dropped = 0;
	pthread_mutex_unlock(&u->lock);
	if (n)
		push(u, UP_LOST, "", (int64_t)n, NULL, 0, false);
}

/* Until the connection breaks or we are stopped. */
static int follow(struct upstream *u, struct lt_err *err)
{
	const int64_t timeout_ns = u->opt.conf->redis.timeout_ms * LT_NS_PER_MS;
	int64_t heard = lt_mono_ns(), polled = 0;
	bool pinged = false;
	int rc = LT_OK;

	while (rc == LT_OK && !stopped(u)) {
		struct lt_reply *reply;
		int64_t now = lt_mono_ns();

		if (now - polled >= POLL_MS * LT_NS_PER_MS) {
			rc = poll_some(u, err);
			polled = now;
			tell_dropped(u);
			if (rc != LT_OK)
				break;
		}
		rc = lt_redis_wait(u->sub, 50, &reply, err);
		now = lt_mono_ns();
		if (rc == LT_OK) {
			take_message(u, reply);
			lt_reply_free(reply);
			heard = now;
			pinged = false;
			rc = fetch_wanted(u, err); /* events wait for it */
			continue;
		}
		if (rc != LT_EAGAIN)
			break;
		rc = fetch_wanted(u, err);
		if (rc == LT_OK && !pinged && now - heard > timeout_ns / 2) {
			lt_redis_begin(&u->cmd, "PING");
			rc = lt_redis_append(u->sub, &u->cmd, err);
			pinged = true;
		} else if (rc == LT_OK && pinged && now - heard > timeout_ns * 2) {
			rc = lt_fail(err, LT_ETIMEOUT, LT_CLS_RETRY, "redis.subscribe",
				"Redis %s does not answer", lt_redis_where(u->sub));
		}
	}
	return rc;
}

static void pause_ms(struct upstream *u, int64_t ms)
{
	int64_t at = lt_mono_ns() + ms * LT_NS_PER_MS;
	struct timespec ts = {at / LT_NS_PER_S, at % LT_NS_PER_S};

	pthread_mutex_lock(&u->lock);
	while (!u->stop && lt_mono_ns() < at)
		pthread_cond_timedwait(&u->cond, &u->lock, &ts);
	pthread_mutex_unlock(&u->lock);
}

static void *thread_main(void *arg)
{
	struct upstream *u = arg;
	struct lt_complaint trouble = {0};
	struct lt_backoff backoff;

	lt_backoff_init(&backoff, 100, 3000);
	while (!stopped(u)) {
		struct lt_err err = {0};
		int rc = connect_both(u, &err);

		if (rc == LT_OK)
			rc = catch_up(u, &err);
		if (rc == LT_OK) {
			lt_release(
				&trouble, "redis_connected", LT_S("where", lt_redis_where(u->sub)));
			lt_backoff_reset(&backoff);
			u->alerts_known = false;
			push(u, UP_STATE, "", 1, NULL, 0, false);
			rc = follow(u, &err);
		}
		lt_redis_close(u->sub);
		lt_redis_close(u->ask);
		if (stopped(u))
			break;
		lt_complain(&trouble, LT_WARN, "redis_lost", LT_S("err", err.msg));
		push(u, UP_STATE, "", 0, err.msg, strlen(err.msg), false);
		pause_ms(u, lt_backoff_next_ms(&backoff));
	}
	return NULL;
}

/* ---- the loop's side ---- */

static void on_wake(void *arg)
{
	struct upstream *u = arg;
	struct upstream_msg *m, *next;
	bool positions, settling;

	pthread_mutex_lock(&u->lock);
	m = u->first;
	u->first = NULL;
	u->last = &u->first;
	u->queued_bytes = 0;
	positions = u->want_positions;
	settling = u->settling;
	pthread_cond_broadcast(&u->cond);
	pthread_mutex_unlock(&u->lock);
	for (; m; m = next) {
		next = m->next;
		u->opt.message(u->opt.arg, m);
		free(m);
	}
	u->opt.batch_end(u->opt.arg);
	if (settling) {
		pthread_mutex_lock(&u->lock);
		u->settling = false;
		pthread_cond_broadcast(&u->cond);
		pthread_mutex_unlock(&u->lock);
	}
	if (positions) {
		size_t n;
		struct upstream_position *list = u->opt.positions(u->opt.arg, &n);

		pthread_mutex_lock(&u->lock);
		u->positions = list;
		u->n_positions = n;
		u->want_positions = false;
		pthread_cond_broadcast(&u->cond);
		pthread_mutex_unlock(&u->lock);
	}
}

void upstream_want_shape(struct upstream *u, uint64_t hash)
{
	pthread_mutex_lock(&u->lock);
	for (size_t i = 0; i < u->n_wanted; i++)
		if (u->wanted[i] == hash)
			hash = 0;
	if (hash && u->n_wanted < WANTED_MAX)
		u->wanted[u->n_wanted++] = hash;
	u->wants = u->n_wanted || u->n_windows;
	pthread_mutex_unlock(&u->lock);
}

void upstream_want_window(struct upstream *u, const char *source)
{
	pthread_mutex_lock(&u->lock);
	if (u->n_windows < WINDOWS_MAX)
		snprintf(u->windows[u->n_windows++], sizeof(*u->windows), "%s", source);
	u->wants = true;
	pthread_mutex_unlock(&u->lock);
}

struct upstream *upstream_start(
	struct lt_loop *loop, const struct upstream_options *opt, struct lt_err *err)
{
	struct upstream *u = lt_calloc(1, sizeof(*u));
	pthread_condattr_t attr;
	sigset_t all, old;
	int rc;

	u->opt = *opt;
	u->last = &u->first;
	pthread_mutex_init(&u->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&u->cond, &attr);
	pthread_condattr_destroy(&attr);
	u->sub = lt_redis_new(&opt->conf->redis, err);
	u->ask = u->sub ? lt_redis_new(&opt->conf->redis, err) : NULL;
	if (!u->ask || lt_waker_init(&u->waker, loop, on_wake, u, err) != LT_OK) {
		upstream_stop(u);
		return NULL;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&u->thread, NULL, thread_main, u);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		lt_fail(err, LT_EIO, LT_CLS_FATAL, "live.upstream", "cannot start a thread: %s",
			strerror(rc));
		upstream_stop(u);
		return NULL;
	}
	u->running = true;
	return u;
}

void upstream_stop(struct upstream *u)
{
	struct upstream_msg *m, *next;

	if (!u)
		return;
	if (u->running) {
		pthread_mutex_lock(&u->lock);
		u->stop = true;
		pthread_cond_broadcast(&u->cond);
		pthread_mutex_unlock(&u->lock);
		lt_redis_interrupt(u->sub);
		lt_redis_interrupt(u->ask);
		pthread_join(u->thread, NULL);
	}
	lt_waker_fini(&u->waker);
	lt_redis_free(u->sub);
	lt_redis_free(u->ask);
	lt_redis_cmd_fini(&u->cmd);
	for (m = u->first; m; m = next) {
		next = m->next;
		free(m);
	}
	free(u->positions);
	pthread_mutex_destroy(&u->lock);
	pthread_cond_destroy(&u->cond);
	free(u);
}
