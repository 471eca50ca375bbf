/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "notify_int.h"

#define DEFAULT_TIMEOUT_MS  10000
#define DEFAULT_QUEUE       10000
#define DEFAULT_QUEUE_BYTES (64u * 1024 * 1024)
#define DEFAULT_BASE_MS     500
#define DEFAULT_CAP_MS      60000
#define DEFAULT_MAX_AGE_MS  (24 * 3600 * INT64_C(1000))

/* ---- life ---- */

static int check(const struct lt_notify_opts *o, struct lt_err *err)
{
	int code;

	if (!o->name || !*o->name || strlen(o->name) > 63)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "notify",
			"a notifier's name must have 1 to 63 characters");
	for (const char *p = o->name; *p; p++) {
		if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-')
			return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "notify",
				"a notifier's name has letters, digits, '_' and '-' only");
	}
	code = http_check(o->url, err);
	if (!code && o->ca_file && access(o->ca_file, R_OK) < 0)
		code = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "notify", "%s: %s", o->ca_file,
			strerror(errno));
	if (code)
		lt_err_prefix(err, "notifier %s", o->name);
	return code;
}

static char *copy(const char *s)
{
	return s ? lt_strdup(s) : NULL;
}

static void copy_opts(struct lt_notifier *n, const struct lt_notify_opts *o)
{
	struct lt_notify_opts *to = &n->o;
	size_t len = strlen(o->url);
	void *secret = NULL;

	*to = *o;
	to->name = lt_strdup(o->name);
	to->bearer_token = copy(o->bearer_token);
	to->ca_file = copy(o->ca_file);
	if (o->secret) {
		secret = lt_malloc(o->secret_len + 1);
		memcpy(secret, o->secret, o->secret_len);
	}
	to->secret = secret;
	while (o->kind == LT_NOTIFY_ALERTMANAGER && len && o->url[len - 1] == '/')
		len--;
	n->url = o->kind == LT_NOTIFY_ALERTMANAGER
			 ? lt_asprintf("%.*s/api/v2/alerts", (int)len, o->url)
			 : lt_strdup(o->url);
	to->url = n->url;
	to->timeout_ms = o->timeout_ms ? o->timeout_ms : DEFAULT_TIMEOUT_MS;
	to->queue_max = o->queue_max ? o->queue_max : DEFAULT_QUEUE;
	to->queue_bytes = o->queue_bytes ? o->queue_bytes : DEFAULT_QUEUE_BYTES;
	to->retry_base_ms = o->retry_base_ms ? o->retry_base_ms : DEFAULT_BASE_MS;
	to->retry_cap_ms = o->retry_cap_ms ? o->retry_cap_ms : DEFAULT_CAP_MS;
	to->max_age_ms = o->max_age_ms ? o->max_age_ms : DEFAULT_MAX_AGE_MS;
}

static void destroy(struct lt_notifier *n)
{
	queue_fini(&n->queue);
	pthread_cond_destroy(&n->wake);
	pthread_mutex_destroy(&n->lock);
	free((void *)(uintptr_t)n->o.name);
	free((void *)(uintptr_t)n->o.bearer_token);
	free((void *)(uintptr_t)n->o.ca_file);
	free((void *)(uintptr_t)n->o.secret);
	free(n->url);
	free(n);
}

int lt_notifier_start(const struct lt_notify_opts *o, struct lt_notifier **out, struct lt_err *err)
{
	int code = check(o, err);
	struct notify_stats *stats;
	struct lt_notifier *n;
	pthread_condattr_t attr;

	if (code)
		return code;
	stats = notify_stats_get(o->name);
	if (!stats)
		return lt_fail(
			err, LT_ECONF, LT_CLS_CONFIG, "notify", "too many notifiers (64 names)");
	n = lt_calloc(1, sizeof(*n));
	copy_opts(n, o);
	n->stats = stats;
	lt_gauge_set(&stats->capacity, (int64_t)n->o.queue_max);
	lt_backoff_init(&n->backoff, n->o.retry_base_ms, n->o.retry_cap_ms);
	pthread_mutex_init(&n->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&n->wake, &attr);
	pthread_condattr_destroy(&attr);
	code = pthread_create(&n->thread, NULL, notify_worker, n);
	if (code) {
		destroy(n);
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "notify", "thread: %s", strerror(code));
	}
	*out = n;
	return LT_OK;
}

void lt_notifier_stop(struct lt_notifier *n, int64_t deadline_ms)
{
	struct timespec at;
	int64_t at_ns;

	if (!n)
		return;
	pthread_mutex_lock(&n->lock);
	n->stopping = true;
	n->stop_at_ns = lt_mono_ns() + deadline_ms * LT_NS_PER_MS;
	pthread_cond_broadcast(&n->wake);
	at_ns = n->stop_at_ns;
	at.tv_sec = at_ns / LT_NS_PER_S;
	at.tv_nsec = at_ns % LT_NS_PER_S;
	/* Not pthread_clockjoin_np(): ThreadSanitizer does not know it. */
	while (!n->ended && lt_mono_ns() < at_ns)
		pthread_cond_timedwait(&n->wake, &n->lock, &at);
	if (!n->ended)
		atomic_store(&n->abort, true);
	pthread_mutex_unlock(&n->lock);
	pthread_join(n->thread, NULL);
	lt_gauge_set(&n->stats->queued, 0);
	lt_gauge_set(&n->stats->queued_bytes, 0);
	destroy(n);
}

/* ---- messages ---- */

static void update_gauges(struct lt_notifier *n)
{
	lt_gauge_set(&n->stats->queued, (int64_t)(n->queue.n + n->n_current));
	lt_gauge_set(&n->stats->queued_bytes, (int64_t)n->queue.bytes);
}

/* With the lock: room for one more of @len. Return: what had to go, oldest first. */
static struct message *make_room(struct lt_notifier *n, size_t len)
{
	struct message *out = NULL, **tail = &out, *m;

	while (n->queue.n && (n->queue.n + n->n_current >= n->o.queue_max ||
				     n->queue.bytes + len > n->o.queue_bytes)) {
		m = n->queue.first;
		queue_remove(&n->queue, m);
		m->next = NULL;
		*tail = m;
		tail = &m->next;
		lt_counter_add(&n->stats->dropped, 1);
	}
	return out;
}

static bool is_current(const struct lt_notifier *n, const char *key)
{
	for (size_t i = 0; i < n->n_current; i++) {
		if (!strcmp(n->current[i]->key, key))
			return !n->cleared;
	}
	return false;
}

static void drop_all(struct lt_notifier *n, struct message *list)
{
	for (struct message *m = list, *next; m; m = next) {
		next = m->next;
		if (n->o.kind == LT_NOTIFY_WEBHOOK && n->o.done)
			n->o.done(n->o.done_ctx, n->o.name, m->key, LT_NOTIFY_DROPPED);
		message_free(m);
	}
}

static void add(struct lt_notifier *n, struct message *m)
{
	struct message *dropped, *old;

	pthread_mutex_lock(&n->lock);
	old = queue_find(&n->queue, m->key);
	if (n->o.kind == LT_NOTIFY_WEBHOOK && (old || is_current(n, m->key))) {
		pthread_mutex_unlock(&n->lock);
		message_free(m);
		return;
	}
	if (old) {
		queue_remove(&n->queue, old);
		message_free(old);
	}
	dropped = make_room(n, m->len);
	if (m->len > n->o.queue_bytes) {
		lt_counter_add(&n->stats->dropped, 1);
		m->next = dropped;
		dropped = m;
	} else {
		queue_push(&n->queue, m);
	}
	update_gauges(n);
	pthread_cond_broadcast(&n->wake);
	pthread_mutex_unlock(&n->lock);
	drop_all(n, dropped);
}

static struct message *make(const char *key, const char *body, size_t len)
{
	struct message *m = lt_calloc(1, sizeof(*m));

	m->key = lt_strdup(key);
	m->body = lt_strndup(body, len);
	m->len = len;
	return m;
}

void lt_notifier_alert(struct lt_notifier *n, uint64_t fingerprint, const char *json, size_t len)
{
	char key[17];

	snprintf(key, sizeof(key), "%016llx", (unsigned long long)fingerprint);
	add(n, make(key, json, len));
}

void lt_notifier_post(struct lt_notifier *n, const char *id, int64_t created_ms,
	const char *content_type, const char *body, size_t len)
{
	struct message *m = make(id, body, len);

	m->created_ms = created_ms;
	m->content_type = content_type;
	add(n, m);
}

void lt_notifier_clear(struct lt_notifier *n)
{
	pthread_mutex_lock(&n->lock);
	queue_fini(&n->queue);
	n->cleared = true;
	update_gauges(n);
	pthread_cond_broadcast(&n->wake);
	pthread_mutex_unlock(&n->lock);
}

void lt_notifier_info(struct lt_notifier *n, struct lt_notify_info *out)
{
	pthread_mutex_lock(&n->lock);
	*out = (struct lt_notify_info){
		.name = n->o.name,
		.kind = n->o.kind,
		.queued = n->queue.n + n->n_current,
		.failing = n->failing,
	};
	pthread_mutex_unlock(&n->lock);
}
