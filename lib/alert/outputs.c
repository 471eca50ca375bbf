/* SPDX-License-Identifier: MIT */
#include "outputs.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "latido/clock.h"
#include "latido/event.h"
#include "latido/log.h"
#include "latido/notify.h"
#include "latido/redis_layout.h"

struct source_news {
	char name[LT_SOURCE_MAX + 1];
	bool device, gone;
	uint32_t interval_ms;
};

struct lt_outputs {
	const struct lt_config *conf;
	struct lt_publisher *publisher;
	struct lt_state *state;
	struct lt_history *history;
	struct lt_notifier **managers, **webhooks;
	char **webhook_names;
	size_t n_managers;
	pthread_mutex_t lock; /* of the notifiers: other threads call post() and demoted() */
	struct source_news *sources;
	size_t n_sources, cap_sources;
	struct lt_buf json, event, id, text;
};

/* ---- notifiers ---- */

/* Called on a webhook's thread. */
static void posted(void *ctx, const char *name, const char *id, enum lt_notify_outcome how)
{
	struct lt_outputs *o = ctx;

	(void)how; /* counted and logged by the notifier */
	for (size_t i = 0; i < o->conf->alert.webhooks.n; i++)
		if (strcmp(o->webhook_names[i], name) == 0)
			lt_state_posted(o->state, i, id);
}

/* Called on state's thread. */
static void post(
	void *ctx, size_t webhook, const char *id, int64_t created_ms, const char *body, size_t len)
{
	struct lt_outputs *o = ctx;

	pthread_mutex_lock(&o->lock);
	if (o->webhooks[webhook]) /* else it stays in Redis for whoever leads next */
		lt_notifier_post(o->webhooks[webhook], id, created_ms,
			"application/cloudevents+json", body, len);
	pthread_mutex_unlock(&o->lock);
}

static void demoted(void *ctx)
{
	struct lt_outputs *o = ctx;

	pthread_mutex_lock(&o->lock);
	for (size_t i = 0; i < o->n_managers; i++)
		lt_notifier_clear(o->managers[i]);
	for (size_t i = 0; i < o->conf->alert.webhooks.n; i++)
		if (o->webhooks[i])
			lt_notifier_clear(o->webhooks[i]);
	pthread_mutex_unlock(&o->lock);
}

/* The part of a URL that may stand in a log. */
static char *public_url(const char *url)
{
	const char *host = strstr(url, "://"), *end, *at;

	if (!host)
		return lt_strdup("?");
	host += 3;
	end = host + strcspn(host, "/?#");
	at = memrchr(host, '@', (size_t)(end - host));
	if (at)
		host = at + 1;
	return lt_strndup(host, (size_t)(end - host));
}

/* Stays the same when the list of URLs changes around it: outboxes are found by it. */
static char *notifier_name(const char *kind, const char *url)
{
	return lt_asprintf("%s_%08" PRIx32, kind, (uint32_t)XXH3_64bits(url, strlen(url)));
}

static int start_notifiers(struct lt_outputs *o, struct lt_err *err)
{
	const struct lt_alert_conf *c = &o->conf->alert;
	int rc = LT_OK;

	o->managers = lt_calloc(c->alertmanagers.n + 1, sizeof(struct lt_notifier *));
	o->webhooks = lt_calloc(c->webhooks.n + 1, sizeof(struct lt_notifier *));
	o->webhook_names = lt_calloc(c->webhooks.n + 1, sizeof(char *));
	for (size_t i = 0; rc == LT_OK && i < c->alertmanagers.n; i++) {
		const char *url = c->alertmanagers.items[i];
		char *name = notifier_name("alertmanager", url), *host = public_url(url);
		const struct lt_notify_opts opts = {
			.kind = LT_NOTIFY_ALERTMANAGER,
			.name = name,
			.url = url,
			.queue_max = (size_t)c->queue,
		};

		rc = lt_notifier_start(&opts, &o->managers[i], err);
		o->n_managers += rc == LT_OK;
		lt_log(LT_INFO, "notifier", LT_S("name", name), LT_S("host", host));
		free(name);
		free(host);
	}
	for (size_t i = 0; rc == LT_OK && i < c->webhooks.n; i++) {
		const char *url = c->webhooks.items[i];
		char *host = public_url(url);
		struct lt_notify_opts opts = {
			.kind = LT_NOTIFY_WEBHOOK,
			.url = url,
			.secret = *c->webhook_secret ? c->webhook_secret : NULL,
			.secret_len = strlen(c->webhook_secret),
			.queue_max = (size_t)c->queue,
			.max_age_ms = c->webhook_max_age_ms,
			.done = posted,
			.done_ctx = o,
		};

		opts.name = o->webhook_names[i] = notifier_name("webhook", url);
		rc = lt_notifier_start(&opts, &o->webhooks[i], err);
		lt_log(LT_INFO, "notifier", LT_S("name", opts.name), LT_S("host", host));
		free(host);
	}
	return rc;
}

/* ---- life ---- */

static char *instance_name(const struct lt_alert_conf *c)
{
	char host[256] = "";

	if (*c->instance)
		return lt_strdup(c->instance);
	gethostname(host, sizeof(host) - 1);
	return lt_asprintf("%s:%d", host, (int)getpid());
}

struct lt_outputs *lt_outputs_start(
	const struct lt_config *conf, struct lt_outputs_info *info, struct lt_err *err)
{
	struct lt_outputs *o = lt_calloc(1, sizeof(*o));
	char *instance = instance_name(&conf->alert);
	struct lt_state_opts state = {
		.redis = &conf->redis,
		.instance = instance,
		.lease_ms = conf->alert.lease_ms,
		.queue_max = (size_t)conf->alert.queue,
		.info = &info->state,
		.ctx = o,
		.post = post,
		.demoted = demoted,
	};
	int rc;

	o->conf = conf;
	pthread_mutex_init(&o->lock, NULL);
	rc = start_notifiers(o, err);
	if (rc == LT_OK && conf->alert.history) {
		o->history = lt_history_start(conf, &info->history, err);
		rc = o->history ? LT_OK : err->code;
	}
	if (rc == LT_OK) {
		state.webhooks = (const char *const *)o->webhook_names;
		state.n_webhooks = conf->alert.webhooks.n;
		pthread_mutex_lock(&o->lock); /* nothing is posted before o->state is there */
		o->state = lt_state_start(&state, err);
		pthread_mutex_unlock(&o->lock);
		rc = o->state ? LT_OK : err->code;
	}
	free(instance);
	if (rc != LT_OK) {
		lt_outputs_stop(o, 0);
		return NULL;
	}
	return o;
}

static int64_t left_ms(int64_t end_mono_ns)
{
	int64_t ms = (end_mono_ns - lt_mono_ns()) / LT_NS_PER_MS;

	return ms > 0 ? ms : 0;
}

/*
 * What is under way is finished. What waits for a webhook that is down stands in Redis, and an
 * Alertmanager gets it from the next leader: nobody waits for such a one for long.
 */
static void stop_notifier(struct lt_notifier *n, int64_t end_ns, int64_t rest_ms)
{
	int64_t wait_ms = left_ms(end_ns) - rest_ms;
	struct lt_notify_info info;

	if (!n)
		return;
	lt_notifier_info(n, &info);
	if (info.failing || wait_ms < rest_ms)
		wait_ms = left_ms(end_ns) / 4;
	lt_notifier_stop(n, wait_ms);
}

void lt_outputs_stop(struct lt_outputs *o, int64_t deadline_ms)
{
	int64_t end_ns = lt_mono_ns() + deadline_ms * LT_NS_PER_MS;
	size_t n_managers;

	if (!o)
		return;
	/* What Redis has not taken yet is not told yet either. */
	if (o->state)
		lt_state_flush(o->state, deadline_ms / 4);
	/* Webhooks first: what they take is still taken out of Redis. */
	for (size_t i = 0; i < o->conf->alert.webhooks.n; i++) {
		struct lt_notifier *n;

		pthread_mutex_lock(&o->lock);
		n = o->webhooks[i];
		o->webhooks[i] = NULL;
		pthread_mutex_unlock(&o->lock);
		stop_notifier(n, end_ns, deadline_ms / 4);
	}
	pthread_mutex_lock(&o->lock);
	n_managers = o->n_managers;
	o->n_managers = 0;
	pthread_mutex_unlock(&o->lock);
	for (size_t i = 0; i < n_managers; i++)
		stop_notifier(o->managers[i], end_ns, deadline_ms / 4);
	/* Another may lead from here on, whatever PostgreSQL does with what is left. */
	lt_state_stop(o->state, left_ms(end_ns) / 2);
	lt_history_stop(o->history, left_ms(end_ns));
	for (size_t i = 0; i < o->conf->alert.webhooks.n; i++)
		free(o->webhook_names[i]);
	free(o->sources);
	pthread_mutex_destroy(&o->lock);
	free(o->webhook_names);
	free(o->managers);
	free(o->webhooks);
	lt_buf_fini(&o->json);
	lt_buf_fini(&o->event);
	lt_buf_fini(&o->id);
	lt_buf_fini(&o->text);
	free(o);
}

void lt_outputs_publisher(struct lt_outputs *o, struct lt_publisher *p)
{
	o->publisher = p;
}

struct lt_state *lt_outputs_state(struct lt_outputs *o)
{
	return o->state;
}

/* ---- what happens ---- */

/* Does another rule's alert with the same labels stand before it? */
static bool outdone(const struct lt_rules *r, const struct lt_alert *a)
{
	const struct lt_alert *twin = lt_rules_twin(r, a);

	return a->state == LT_ALERT_INACTIVE || (twin && twin->state > a->state);
}

static bool ended(enum lt_alert_event e)
{
	return e == LT_ALERT_RESOLVED || e == LT_ALERT_CANCELLED;
}

static void publish(struct lt_outputs *o, const char *fingerprint, bool over)
{
	if (!o->publisher)
		return;
	lt_buf_reset(&o->text);
	lt_buf_printf(&o->text, "%s/alerts/%s", o->conf->bus.prefix, fingerprint);
	lt_publisher_put(o->publisher, o->text.data, o->event.data, o->event.len, !over);
	if (over)
		lt_publisher_put(o->publisher, o->text.data, NULL, 0, true);
}

void lt_outputs_event(struct lt_outputs *o, const struct lt_rules *r, const struct lt_alert *a,
	enum lt_alert_event e, int64_t t_ms)
{
	char fingerprint[LT_ALERT_FINGERPRINT_LEN];
	bool over = ended(e);

	lt_alert_fingerprint(a, fingerprint);
	lt_buf_reset(&o->json);
	lt_buf_reset(&o->event);
	lt_buf_reset(&o->id);
	lt_alert_json(r, a, &o->json);
	lt_alert_cloudevent(r, a, e, t_ms, &o->event);
	lt_alert_id(a, e, &o->id);

	lt_state_begin(o->state);
	if (over)
		lt_state_del(o->state, LT_REDIS_ALERTS, fingerprint);
	else
		lt_state_set(o->state, LT_REDIS_ALERTS, fingerprint, o->json.data, o->json.len);
	if (e == LT_ALERT_FIRED || e == LT_ALERT_RESOLVED)
		lt_state_post(o->state, o->id.data, t_ms, o->event.data, o->event.len);
	lt_state_commit(o->state);
	lt_history_put(
		o->history, o->json.data, o->json.len, lt_alert_event_name(e), a->value, t_ms);
	publish(o, fingerprint, over);
	if (e != LT_ALERT_BEGAN && e != LT_ALERT_CANCELLED)
		lt_log(LT_INFO, "alert", LT_S("state", lt_alert_event_name(e)),
			LT_S("name", a->rule_name), LT_S("id", o->id.data),
			LT_F("value", a->value));
}

void lt_outputs_send(struct lt_outputs *o, const struct lt_rules *r, const struct lt_alert *a)
{
	lt_buf_reset(&o->event);
	lt_alert_am_json(r, a, &o->event);
	for (size_t i = 0; i < o->n_managers; i++)
		lt_notifier_alert(o->managers[i], a->fingerprint, o->event.data, o->event.len);
	if (a->state != LT_ALERT_INACTIVE)
		lt_outputs_refresh(o, r, a);
}

void lt_outputs_refresh(struct lt_outputs *o, const struct lt_rules *r, const struct lt_alert *a)
{
	char fingerprint[LT_ALERT_FINGERPRINT_LEN];

	lt_alert_fingerprint(a, fingerprint);
	lt_buf_reset(&o->json);
	lt_alert_json(r, a, &o->json);
	lt_state_begin(o->state);
	lt_state_set(o->state, LT_REDIS_ALERTS, fingerprint, o->json.data, o->json.len);
	lt_state_commit(o->state);
}

struct walk {
	struct lt_outputs *o;
	const struct lt_rules *r;
	int64_t t_ms;
};

static void resync_one(void *ctx, const struct lt_alert *a)
{
	struct walk *w = ctx;
	struct lt_outputs *o = w->o;
	char fingerprint[LT_ALERT_FINGERPRINT_LEN];

	if (outdone(w->r, a))
		return;
	lt_alert_fingerprint(a, fingerprint);
	lt_buf_reset(&o->json);
	lt_alert_json(w->r, a, &o->json);
	lt_state_set(o->state, LT_REDIS_ALERTS, fingerprint, o->json.data, o->json.len);
}

void lt_outputs_resync(struct lt_outputs *o, const struct lt_rules *r)
{
	struct walk w = {.o = o, .r = r};

	lt_state_begin(o->state);
	lt_state_clear(o->state, LT_REDIS_ALERTS);
	lt_rules_each_alert(r, resync_one, &w);
	lt_state_commit(o->state);
}

static void republish_one(void *ctx, const struct lt_alert *a)
{
	struct walk *w = ctx;
	char fingerprint[LT_ALERT_FINGERPRINT_LEN];

	if (outdone(w->r, a))
		return;
	lt_alert_fingerprint(a, fingerprint);
	lt_buf_reset(&w->o->event);
	lt_alert_cloudevent(w->r, a, a->state == LT_ALERT_FIRING ? LT_ALERT_FIRED : LT_ALERT_BEGAN,
		w->t_ms, &w->o->event);
	publish(w->o, fingerprint, false);
}

void lt_outputs_republish(struct lt_outputs *o, const struct lt_rules *r, int64_t t_ms)
{
	struct walk w = {.o = o, .r = r, .t_ms = t_ms};

	if (o->publisher)
		lt_rules_each_alert(r, republish_one, &w);
}

void lt_outputs_source(
	struct lt_outputs *o, const char *source, bool device, uint32_t interval_ms, bool gone)
{
	struct source_news *n;

	if (o->n_sources == o->cap_sources) {
		o->cap_sources = o->cap_sources ? o->cap_sources * 2 : 64;
		o->sources = lt_realloc(o->sources, o->cap_sources * sizeof(*o->sources));
	}
	n = &o->sources[o->n_sources++];
	*n = (struct source_news){.device = device, .gone = gone, .interval_ms = interval_ms};
	snprintf(n->name, sizeof(n->name), "%s", source);
}

void lt_outputs_flush_sources(struct lt_outputs *o, bool wanted)
{
	char value[32];

	if (wanted && o->n_sources) {
		lt_state_begin(o->state);
		for (size_t i = 0; i < o->n_sources; i++) {
			const struct source_news *n = &o->sources[i];
			int len = snprintf(value, sizeof(value), "%s %" PRIu32,
				n->device ? "device" : "node", n->interval_ms);

			if (n->gone)
				lt_state_del(o->state, LT_REDIS_ALERT_SOURCES, n->name);
			else
				lt_state_set(o->state, LT_REDIS_ALERT_SOURCES, n->name, value,
					(size_t)len);
		}
		lt_state_commit(o->state);
	}
	o->n_sources = 0;
}
