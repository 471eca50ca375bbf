/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "notify_int.h"

static void update_gauges(struct lt_notifier *n)
{
	lt_gauge_set(&n->stats->queued, (int64_t)(n->queue.n + n->n_current));
	lt_gauge_set(&n->stats->queued_bytes, (int64_t)n->queue.bytes);
}

/* With the lock: until something changes or @until_ns (monotonic; 0: no limit). */
static void wait_until(struct lt_notifier *n, int64_t until_ns)
{
	struct timespec ts;

	if (n->stopping && (!until_ns || until_ns > n->stop_at_ns))
		until_ns = n->stop_at_ns;
	if (!until_ns) {
		pthread_cond_wait(&n->wake, &n->lock);
		return;
	}
	ts.tv_sec = until_ns / LT_NS_PER_S;
	ts.tv_nsec = until_ns % LT_NS_PER_S;
	pthread_cond_timedwait(&n->wake, &n->lock, &ts);
}

/* With the lock: is there something to do? False: the thread ends. */
static bool wait_for_work(struct lt_notifier *n)
{
	while (!n->queue.n && !n->stopping)
		wait_until(n, 0);
	if (n->stopping && (!n->queue.n || lt_mono_ns() >= n->stop_at_ns))
		return false;
	return true;
}

static void take(struct lt_notifier *n)
{
	size_t max = n->o.kind == LT_NOTIFY_ALERTMANAGER ? NOTIFY_BATCH : 1;

	while (n->queue.n && n->n_current < max) {
		struct message *m = n->queue.first;

		queue_remove(&n->queue, m);
		n->current[n->n_current++] = m;
	}
	n->cleared = false;
	update_gauges(n);
}

static void send_alerts(struct lt_notifier *n, struct http_answer *a)
{
	struct lt_buf body = {0};

	for (size_t i = 0; i < n->n_current; i++) {
		lt_buf_char(&body, i ? ',' : '[');
		lt_buf_add(&body, n->current[i]->body, n->current[i]->len);
	}
	lt_buf_char(&body, ']');
	http_post(n->http, "application/json", NULL, body.data, body.len, a);
	lt_buf_fini(&body);
}

static void send_current(struct lt_notifier *n, struct http_answer *a)
{
	const struct message *m = n->current[0];
	int64_t start = lt_mono_ns();

	if (n->o.kind == LT_NOTIFY_ALERTMANAGER)
		send_alerts(n, a);
	else
		http_post(n->http, m->content_type, m->key, m->body, m->len, a);
	lt_hist_add(&n->stats->seconds, lt_mono_ns() - start);
}

/* Without the lock: the messages under way have ended. */
static void finish(struct lt_notifier *n, enum lt_notify_outcome how)
{
	if (n->o.kind == LT_NOTIFY_WEBHOOK && n->o.done)
		n->o.done(n->o.done_ctx, n->o.name, n->current[0]->key, how);
	pthread_mutex_lock(&n->lock);
	for (size_t i = 0; i < n->n_current; i++)
		message_free(n->current[i]);
	n->n_current = 0;
	update_gauges(n);
	pthread_mutex_unlock(&n->lock);
}

/* With the lock: back in front, unless it was cleared or there is a newer state of the alert. */
static void put_back(struct lt_notifier *n)
{
	while (n->n_current) {
		struct message *m = n->current[--n->n_current];

		if (n->cleared || queue_find(&n->queue, m->key))
			message_free(m);
		else
			queue_unshift(&n->queue, m);
	}
	update_gauges(n);
}

static bool is_expired(const struct lt_notifier *n)
{
	return n->o.kind == LT_NOTIFY_WEBHOOK &&
	       lt_wall_ns() / LT_NS_PER_MS - n->current[0]->created_ms > n->o.max_age_ms;
}

static void retry_later(struct lt_notifier *n, const struct http_answer *a)
{
	int64_t wait_ms = lt_backoff_next_ms(&n->backoff), until_ns;

	if (a->retry_ms > wait_ms)
		wait_ms = a->retry_ms < n->o.retry_cap_ms ? a->retry_ms : n->o.retry_cap_ms;
	lt_counter_add(&n->stats->failed, 1);
	lt_complain(&n->trouble, LT_WARN, "notify_failed", LT_S("notifier", n->o.name),
		LT_S("err", a->why), LT_I("wait_ms", wait_ms));
	until_ns = lt_mono_ns() + wait_ms * LT_NS_PER_MS;
	pthread_mutex_lock(&n->lock);
	n->failing = true;
	put_back(n);
	while (n->queue.n && lt_mono_ns() < until_ns &&
		!(n->stopping && lt_mono_ns() >= n->stop_at_ns))
		wait_until(n, until_ns);
	pthread_mutex_unlock(&n->lock);
}

static void on_answer(struct lt_notifier *n, const struct http_answer *a)
{
	if (a->outcome == HTTP_RETRY) {
		retry_later(n, a);
		return;
	}
	lt_backoff_reset(&n->backoff);
	pthread_mutex_lock(&n->lock);
	n->failing = false;
	pthread_mutex_unlock(&n->lock);
	if (a->outcome == HTTP_SENT) {
		lt_release(&n->trouble, "notify_works", LT_S("notifier", n->o.name));
		lt_counter_add(&n->stats->sent, n->n_current);
		finish(n, LT_NOTIFY_SENT);
		return;
	}
	lt_counter_add(&n->stats->refused, n->n_current);
	lt_complain(&n->trouble, LT_ERROR, "notify_refused", LT_S("notifier", n->o.name),
		LT_S("err", a->why), LT_U("messages", n->n_current));
	finish(n, LT_NOTIFY_REFUSED);
}

void *notify_worker(void *arg)
{
	struct lt_notifier *n = arg;
	struct http_answer answer;

	n->http = http_open(n);
	pthread_mutex_lock(&n->lock);
	while (wait_for_work(n)) {
		take(n);
		pthread_mutex_unlock(&n->lock);
		if (is_expired(n)) {
			lt_counter_add(&n->stats->expired, 1);
			finish(n, LT_NOTIFY_EXPIRED);
		} else {
			send_current(n, &answer);
			on_answer(n, &answer);
		}
		pthread_mutex_lock(&n->lock);
	}
	put_back(n);
	n->ended = true;
	pthread_cond_broadcast(&n->wake);
	pthread_mutex_unlock(&n->lock);
	http_close(n->http);
	return NULL;
}
