/* SPDX-License-Identifier: MIT */
#include "state.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "latido/redis_layout.h"
#include "state_commit.h"

#define RENEWALS     5 /* of a lease, in its time */
#define COMMIT_BYTES (4 << 20)
#define ORDER_BITS   12 /* several of one millisecond stay in order */

/* KEYS: the lease, the time of the last evaluation. ARGV: token, milliseconds, that time. */
static const char lease_script[] = "local v = redis.call('GET', KEYS[1])\n"
				   "if v and v ~= ARGV[1] then return 0 end\n"
				   "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
				   "if v and ARGV[3] ~= '0' then\n"
				   "  redis.call('SET', KEYS[2], ARGV[3])\n"
				   "end\n"
				   "return v and 1 or 2\n";

static const char release_script[] = "if redis.call('GET', KEYS[1]) == ARGV[1] then\n"
				     "  return redis.call('DEL', KEYS[1])\n"
				     "end\n"
				     "return 0\n";

struct lt_state {
	struct lt_state_opts opts;
	char *token;
	struct lt_redis *redis;
	struct lt_redis_cmd cmd;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t cond, told;       /* the thread's; of lt_state_flush() */
	struct lt_commit *first, **last; /* waiting */
	size_t n, n_posted;              /* waiting; of them already told to webhooks */
	_Atomic int role;                /* enum lt_role */
	enum lt_role_news news;
	struct lt_inheritance inheritance;
	_Atomic bool forced; /* we lead without ever having asked Redis */
	bool writing;        /* commits that are in no list */
	bool torn;           /* commits were dropped: Redis has not all that is active */
	bool quit;
	int64_t quit_mono_ns;
	_Atomic int64_t evaluated_ms;

	struct lt_commit *building; /* the engine's */
	uint64_t seq;

	pthread_mutex_t done_lock; /* of the connection for lt_state_posted() */
	struct lt_redis *done_redis;
	struct lt_redis_cmd done_cmd;

	int64_t lease_mono_ns; /* when the lease is to be renewed */
	struct lt_backoff backoff;
	int64_t retry_mono_ns;
	struct lt_complaint away;
};

/* ---- commits ---- */

void lt_state_begin(struct lt_state *s)
{
	lt_commit_free(s->building);
	s->building = lt_commit_new();
}

void lt_state_set(
	struct lt_state *s, const char *key, const char *field, const void *value, size_t len)
{
	lt_commit_set(s->building, key, field, value, len);
}

void lt_state_del(struct lt_state *s, const char *key, const char *field)
{
	lt_commit_del(s->building, key, field);
}

void lt_state_clear(struct lt_state *s, const char *key)
{
	lt_commit_clear(s->building, key);
}

static void outbox_key(const struct lt_state *s, size_t webhook, struct lt_buf *out)
{
	lt_buf_reset(out);
	lt_buf_printf(out, LT_REDIS_ALERT_OUTBOX "%s", s->opts.webhooks[webhook]);
}

void lt_state_post(
	struct lt_state *s, const char *id, int64_t created_ms, const void *body, size_t len)
{
	struct lt_commit *c = s->building;
	struct lt_buf key = {0}, value = {0};

	c->order = (created_ms << ORDER_BITS) | (int64_t)(s->seq++ & ((1 << ORDER_BITS) - 1));
	lt_buf_printf(&value, "%lld ", (long long)c->order);
	lt_buf_add(&value, body, len);
	for (size_t i = 0; i < s->opts.n_webhooks; i++) {
		outbox_key(s, i, &key);
		lt_state_set(s, key.data, id, value.data, value.len);
	}
	c->id = lt_commit_put(c, id, strlen(id));
	c->body = lt_commit_put(c, body, len);
	c->has_post = s->opts.n_webhooks > 0;
	lt_buf_fini(&key);
	lt_buf_fini(&value);
}

static void enqueue(struct lt_state *s, struct lt_commit *c)
{
	c->next = NULL;
	*s->last = c;
	s->last = &c->next;
	s->n++;
	s->n_posted += c->posted;
	lt_gauge_set(&s->opts.info->waiting, (int64_t)s->n);
	pthread_cond_signal(&s->cond);
}

static struct lt_commit *dequeue(struct lt_state *s)
{
	struct lt_commit *c = s->first;

	if (!c)
		return NULL;
	s->first = c->next;
	if (!s->first)
		s->last = &s->first;
	s->n--;
	s->n_posted -= c->posted;
	lt_gauge_set(&s->opts.info->waiting, (int64_t)s->n);
	return c;
}

void lt_state_commit(struct lt_state *s)
{
	struct lt_commit *c = s->building, *old = NULL;

	s->building = NULL;
	if (!c->n) {
		lt_commit_free(c);
		return;
	}
	pthread_mutex_lock(&s->lock);
	if (s->n >= s->opts.queue_max) {
		/* What is told to nobody is made up for when there is room again. */
		old = c->has_post ? dequeue(s) : c;
		s->torn = true;
		lt_counter_add(&s->opts.info->dropped, 1);
	}
	if (old != c)
		enqueue(s, c);
	pthread_mutex_unlock(&s->lock);
	if (old)
		lt_commit_free(old);
}

static void tell_webhooks(struct lt_state *s, struct lt_commit *c)
{
	if (!c->has_post || c->posted)
		return;
	for (size_t i = 0; i < s->opts.n_webhooks; i++)
		s->opts.post(s->opts.ctx, i, c->text.data + c->id.at, c->order >> ORDER_BITS,
			c->text.data + c->body.at, c->body.len);
	c->posted = true;
}

/* ---- roles ---- */

/* With the lock. */
static void set_news(struct lt_state *s, enum lt_role_news news)
{
	/* An inheritance that nobody has looked at yet is not lost to a mere resync. */
	if (news != LT_NEWS_RESYNC || s->news == LT_NEWS_NONE || s->news == LT_NEWS_FOLLOW)
		s->news = news;
}

static void tell(struct lt_state *s, enum lt_role_news news)
{
	pthread_mutex_lock(&s->lock);
	set_news(s, news);
	pthread_mutex_unlock(&s->lock);
}

enum lt_role_news lt_state_take(struct lt_state *s, struct lt_inheritance *out)
{
	enum lt_role_news news;

	pthread_mutex_lock(&s->lock);
	news = s->news;
	s->news = LT_NEWS_NONE;
	if (news == LT_NEWS_LEAD || news == LT_NEWS_MERGE) {
		lt_buf_fini(&out->alerts);
		*out = s->inheritance;
		s->inheritance = (struct lt_inheritance){0};
	}
	pthread_mutex_unlock(&s->lock);
	return news;
}

static void set_role(struct lt_state *s, enum lt_role role)
{
	pthread_mutex_lock(&s->lock);
	s->role = role;
	s->forced = false;
	pthread_mutex_unlock(&s->lock);
	lt_gauge_set(&s->opts.info->leader, role == LT_ROLE_LEAD);
}

void lt_state_force(struct lt_state *s)
{
	pthread_mutex_lock(&s->lock);
	s->role = LT_ROLE_LEAD;
	s->forced = true;
	pthread_mutex_unlock(&s->lock);
	lt_gauge_set(&s->opts.info->leader, 1);
}

void lt_state_evaluated(struct lt_state *s, int64_t t_ms)
{
	s->evaluated_ms = t_ms;
}

static void drop_commits(struct lt_state *s)
{
	struct lt_commit *c;

	pthread_mutex_lock(&s->lock);
	while ((c = dequeue(s)))
		lt_commit_free(c);
	pthread_cond_broadcast(&s->told);
	pthread_mutex_unlock(&s->lock);
}

static void demote(struct lt_state *s, const char *leader)
{
	if (s->role == LT_ROLE_FOLLOW)
		return;
	lt_log(LT_INFO, "following", LT_S("instance", s->token), LT_S("leader", leader));
	set_role(s, LT_ROLE_FOLLOW);
	drop_commits(s);
	s->opts.demoted(s->opts.ctx);
	tell(s, LT_NEWS_FOLLOW);
}

/* ---- what the former leader left ---- */

static int read_hash(struct lt_state *s, const char *key, struct lt_reply **out, struct lt_err *err)
{
	lt_redis_begin(&s->cmd, "HGETALL");
	lt_redis_str(&s->cmd, key);
	return lt_redis_call(s->redis, &s->cmd, out, err);
}

static int read_alerts(struct lt_state *s, struct lt_inheritance *in, struct lt_err *err)
{
	struct lt_reply *r;
	int rc = read_hash(s, LT_REDIS_ALERTS, &r, err);

	if (rc != LT_OK)
		return rc;
	lt_buf_char(&in->alerts, '[');
	for (size_t i = 1; i < lt_reply_n(r); i += 2) {
		size_t len;
		const char *json = lt_reply_str(lt_reply_at(r, i), &len);

		if (in->n_alerts++)
			lt_buf_char(&in->alerts, ',');
		lt_buf_add(&in->alerts, json, len);
	}
	lt_buf_char(&in->alerts, ']');
	lt_reply_free(r);
	lt_redis_begin(&s->cmd, "GET");
	lt_redis_str(&s->cmd, LT_REDIS_ALERT_EVALUATED);
	rc = lt_redis_call(s->redis, &s->cmd, &r, err);
	if (rc != LT_OK)
		return rc;
	in->evaluated_ms = strtoll(lt_reply_str(r, NULL), NULL, 10);
	lt_reply_free(r);
	return LT_OK;
}

struct letter {
	int64_t order;
	const char *id, *body;
	size_t len;
};

static int by_order(const void *a, const void *b)
{
	const struct letter *x = a, *y = b;

	return x->order < y->order ? -1 : x->order > y->order;
}

/* What was not told by then is told now. */
static int read_outbox(struct lt_state *s, size_t webhook, struct lt_err *err)
{
	struct lt_buf key = {0};
	struct letter *letters;
	struct lt_reply *r;
	size_t n = 0;
	int rc;

	outbox_key(s, webhook, &key);
	rc = read_hash(s, key.data, &r, err);
	lt_buf_fini(&key);
	if (rc != LT_OK)
		return rc;
	letters = lt_calloc(lt_reply_n(r) / 2 + 1, sizeof(*letters));
	for (size_t i = 0; i + 1 < lt_reply_n(r); i += 2) {
		size_t len;
		const char *value = lt_reply_str(lt_reply_at(r, i + 1), &len);
		char *body;
		int64_t order = strtoll(value, &body, 10);

		if (*body++ != ' ')
			continue;
		letters[n++] = (struct letter){order, lt_reply_str(lt_reply_at(r, i), NULL), body,
			len - (size_t)(body - value)};
	}
	qsort(letters, n, sizeof(*letters), by_order);
	for (size_t i = 0; i < n; i++)
		s->opts.post(s->opts.ctx, webhook, letters[i].id, letters[i].order >> ORDER_BITS,
			letters[i].body, letters[i].len);
	free(letters);
	lt_reply_free(r);
	return LT_OK;
}

/* The lease was free and is ours now. */
static int take_over(struct lt_state *s, struct lt_err *err)
{
	struct lt_inheritance in = {0};
	bool forced = s->forced;
	int rc;

	if (s->role == LT_ROLE_LEAD && !forced) {
		tell(s, LT_NEWS_RESYNC);
		return LT_OK;
	}
	rc = read_alerts(s, &in, err);
	for (size_t i = 0; rc == LT_OK && i < s->opts.n_webhooks; i++)
		rc = read_outbox(s, i, err);
	if (rc != LT_OK) {
		lt_buf_fini(&in.alerts);
		return rc;
	}
	lt_log(LT_INFO, "leading", LT_S("instance", s->token), LT_U("alerts", in.n_alerts),
		LT_U("asked", lt_counter_get(&s->opts.info->lease_asked)));
	lt_counter_add(&s->opts.info->takeovers, 1);
	set_role(s, LT_ROLE_LEAD);
	pthread_mutex_lock(&s->lock);
	lt_buf_fini(&s->inheritance.alerts);
	s->inheritance = in;
	pthread_mutex_unlock(&s->lock);
	tell(s, forced ? LT_NEWS_MERGE : LT_NEWS_LEAD);
	return LT_OK;
}

static void eval_begin(struct lt_state *s, const char *script, int keys)
{
	lt_redis_begin(&s->cmd, "EVAL");
	lt_redis_str(&s->cmd, script);
	lt_redis_i64(&s->cmd, keys);
	lt_redis_str(&s->cmd, LT_REDIS_ALERT_LEADER);
}

static int renew(struct lt_state *s, struct lt_err *err)
{
	struct lt_reply *r;
	int64_t answer;
	int rc;

	eval_begin(s, lease_script, 2);
	lt_redis_str(&s->cmd, LT_REDIS_ALERT_EVALUATED);
	lt_redis_str(&s->cmd, s->token);
	lt_redis_i64(&s->cmd, s->opts.lease_ms);
	lt_redis_i64(&s->cmd, s->role == LT_ROLE_LEAD ? s->evaluated_ms : 0);
	lt_counter_add(&s->opts.info->lease_asked, 1);
	rc = lt_redis_call(s->redis, &s->cmd, &r, err);
	if (rc != LT_OK)
		return rc;
	answer = lt_reply_int(r);
	lt_reply_free(r);
	s->lease_mono_ns = lt_mono_ns() + s->opts.lease_ms * LT_NS_PER_MS / RENEWALS;
	if (answer == 2 || (answer == 1 && s->role != LT_ROLE_LEAD))
		return take_over(s, err);
	if (answer == 1 && s->forced)
		return take_over(s, err);
	if (answer == 0) {
		lt_redis_begin(&s->cmd, "GET");
		lt_redis_str(&s->cmd, LT_REDIS_ALERT_LEADER);
		rc = lt_redis_call(s->redis, &s->cmd, &r, err);
		if (rc != LT_OK)
			return rc;
		demote(s, lt_reply_str(r, NULL));
		lt_reply_free(r);
	}
	return LT_OK;
}

/* ---- the thread ---- */

static int connect_redis(struct lt_state *s, struct lt_err *err)
{
	int rc = lt_redis_connect(s->redis, err);

	if (rc == LT_OK)
		rc = lt_redis_check_layout(s->redis, err);
	s->lease_mono_ns = 0;
	return rc;
}

/* Writes the oldest commits. With the lock; it is released meanwhile. */
static int write_commits(struct lt_state *s, struct lt_err *err)
{
	struct lt_commit *batch = NULL, **end = &batch, *c;
	struct lt_reply *r = NULL;
	size_t bytes = 0;
	int rc;

	while (s->first && bytes < COMMIT_BYTES) {
		c = dequeue(s);
		bytes += c->text.len;
		*end = c;
		end = &c->next;
		c->next = NULL;
	}
	s->writing = true;
	pthread_mutex_unlock(&s->lock);
	eval_begin(s, lt_commit_script, 1);
	lt_redis_str(&s->cmd, s->token);
	for (c = batch; c; c = c->next)
		lt_commit_args(c, &s->cmd);
	rc = lt_redis_call(s->redis, &s->cmd, &r, err);
	if (rc == LT_OK && lt_reply_int(r) == 0)
		s->lease_mono_ns = 0; /* not ours any more: who leads is asked at once */
	for (c = batch; c; c = c->next)
		if (rc != LT_OK || lt_reply_int(r) == 1)
			tell_webhooks(s, c);
	pthread_mutex_lock(&s->lock);
	s->writing = false;
	pthread_cond_broadcast(&s->told);
	if (rc != LT_OK) { /* once more when Redis is back, in front of the others */
		*end = s->first;
		if (!s->first)
			s->last = end;
		s->first = batch;
		for (c = batch; c != *end; c = c->next) {
			s->n++;
			s->n_posted += c->posted;
		}
		lt_counter_add(&s->opts.info->failures, 1);
		return rc;
	}
	lt_reply_free(r);
	while ((c = batch)) {
		batch = c->next;
		lt_commit_free(c);
		lt_counter_add(&s->opts.info->commits, 1);
	}
	if (s->torn && !s->first && s->role == LT_ROLE_LEAD) {
		s->torn = false;
		set_news(s, LT_NEWS_RESYNC);
	}
	return LT_OK;
}

/* Without Redis nobody waits for it. */
static void tell_without_redis(struct lt_state *s)
{
	for (struct lt_commit *c = s->first; c; c = c->next) {
		bool before = c->posted;

		tell_webhooks(s, c);
		s->n_posted += c->posted && !before;
	}
	pthread_cond_broadcast(&s->told);
}

static void away(struct lt_state *s, const struct lt_err *err)
{
	lt_complain(&s->away, LT_WARN, "alert_state_away", LT_S("redis", lt_redis_where(s->redis)),
		LT_S("err", err->msg));
	lt_redis_close(s->redis);
	s->retry_mono_ns = lt_mono_ns() + lt_backoff_next_ms(&s->backoff) * LT_NS_PER_MS;
}

static int step(struct lt_state *s, struct lt_err *err)
{
	int rc = LT_OK;

	if (!lt_redis_connected(s->redis))
		rc = connect_redis(s, err);
	if (rc == LT_OK && lt_mono_ns() >= s->lease_mono_ns)
		rc = renew(s, err);
	return rc;
}

static void wait_until(struct lt_state *s, int64_t mono_ns)
{
	struct timespec t = {.tv_sec = mono_ns / LT_NS_PER_S, .tv_nsec = mono_ns % LT_NS_PER_S};

	pthread_cond_timedwait(&s->cond, &s->lock, &t);
}

static void release_lease(struct lt_state *s)
{
	if (s->role != LT_ROLE_LEAD || !lt_redis_connected(s->redis))
		return;
	eval_begin(s, release_script, 1);
	lt_redis_str(&s->cmd, s->token);
	if (lt_redis_call(s->redis, &s->cmd, NULL, NULL) != LT_OK)
		lt_log(LT_DEBUG, "lease_not_released");
}

static void *state_main(void *arg)
{
	struct lt_state *s = arg;
	struct lt_err err;

	pthread_setname_np(pthread_self(), "alert-state");
	pthread_mutex_lock(&s->lock);
	while (!s->quit || (s->first && lt_mono_ns() < s->quit_mono_ns)) {
		int rc = LT_OK;

		pthread_mutex_unlock(&s->lock);
		if (lt_mono_ns() >= s->retry_mono_ns) {
			rc = step(s, &err);
			if (rc == LT_OK) {
				lt_backoff_reset(&s->backoff);
				lt_release(&s->away, "alert_state_back");
				s->retry_mono_ns = 0;
			} else {
				away(s, &err);
			}
		}
		pthread_mutex_lock(&s->lock);
		if (s->first && s->role == LT_ROLE_LEAD && lt_redis_connected(s->redis)) {
			rc = write_commits(s, &err);
			if (rc != LT_OK)
				away(s, &err);
			continue;
		}
		if (s->first && s->role == LT_ROLE_LEAD)
			tell_without_redis(s);
		if (s->quit && (s->role != LT_ROLE_LEAD || !lt_redis_connected(s->redis)))
			break;
		if (!s->quit)
			wait_until(s,
				lt_redis_connected(s->redis) ? s->lease_mono_ns : s->retry_mono_ns);
	}
	pthread_mutex_unlock(&s->lock);
	release_lease(s);
	return NULL;
}

void lt_state_posted(struct lt_state *s, size_t webhook, const char *id)
{
	struct lt_buf key = {0};
	bool behind;
	int rc = LT_OK;

	pthread_mutex_lock(&s->lock);
	behind = s->n_posted > 0;
	pthread_mutex_unlock(&s->lock);
	outbox_key(s, webhook, &key);
	if (!behind) {
		pthread_mutex_lock(&s->done_lock);
		if (!lt_redis_connected(s->done_redis))
			rc = lt_redis_connect(s->done_redis, NULL);
		lt_redis_begin(&s->done_cmd, "HDEL");
		lt_redis_str(&s->done_cmd, key.data);
		lt_redis_str(&s->done_cmd, id);
		if (rc == LT_OK)
			rc = lt_redis_call(s->done_redis, &s->done_cmd, NULL, NULL);
		pthread_mutex_unlock(&s->done_lock);
	}
	if (behind || rc != LT_OK) {
		struct lt_commit *c = lt_commit_new();

		c->posted = true;
		lt_commit_del(c, key.data, id);
		pthread_mutex_lock(&s->lock);
		enqueue(s, c);
		pthread_mutex_unlock(&s->lock);
	}
	lt_buf_fini(&key);
}

/* ---- life ---- */

static void state_free(struct lt_state *s)
{
	drop_commits(s);
	if (s->building)
		lt_commit_free(s->building);
	lt_redis_free(s->redis);
	lt_redis_free(s->done_redis);
	lt_redis_cmd_fini(&s->cmd);
	lt_redis_cmd_fini(&s->done_cmd);
	lt_buf_fini(&s->inheritance.alerts);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->done_lock);
	pthread_cond_destroy(&s->cond);
	pthread_cond_destroy(&s->told);
	free(s->token);
	free(s);
}

struct lt_state *lt_state_start(const struct lt_state_opts *opts, struct lt_err *err)
{
	struct lt_state *s = lt_calloc(1, sizeof(*s));
	pthread_condattr_t mono;
	sigset_t all, old;
	int rc;

	s->opts = *opts;
	s->token = lt_asprintf("%s/%016llx", opts->instance, (unsigned long long)lt_random_u64());
	s->last = &s->first;
	lt_backoff_init(&s->backoff, 100, 2000);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->done_lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&s->cond, &mono);
	pthread_cond_init(&s->told, &mono);
	pthread_condattr_destroy(&mono);
	s->redis = lt_redis_new(opts->redis, err);
	s->done_redis = s->redis ? lt_redis_new(opts->redis, err) : NULL;
	if (!s->done_redis) {
		state_free(s);
		return NULL;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, state_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		lt_fail(err, LT_EIO, LT_CLS_FATAL, "alert.state", "cannot start a thread: %s",
			strerror(rc));
		state_free(s);
		return NULL;
	}
	return s;
}

/* With the lock. */
static bool something_to_tell(const struct lt_state *s)
{
	if (s->role != LT_ROLE_LEAD)
		return false;
	for (const struct lt_commit *c = s->first; c; c = c->next) {
		if (c->has_post && !c->posted)
			return true;
	}
	return s->writing;
}

void lt_state_flush(struct lt_state *s, int64_t deadline_ms)
{
	int64_t end_ns = lt_mono_ns() + deadline_ms * LT_NS_PER_MS;
	struct timespec t = {.tv_sec = end_ns / LT_NS_PER_S, .tv_nsec = end_ns % LT_NS_PER_S};

	pthread_mutex_lock(&s->lock);
	while (something_to_tell(s) && lt_mono_ns() < end_ns)
		pthread_cond_timedwait(&s->told, &s->lock, &t);
	pthread_mutex_unlock(&s->lock);
}

void lt_state_stop(struct lt_state *s, int64_t deadline_ms)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->quit = true;
	s->quit_mono_ns = lt_mono_ns() + deadline_ms * LT_NS_PER_MS;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
	if (deadline_ms <= 0)
		lt_redis_interrupt(s->redis);
	pthread_join(s->thread, NULL);
	state_free(s);
}
