/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bus_mqtt.h"
#include "latido/clock.h"

static char *copy(const char *s)
{
	return lt_strdup(s ? s : "");
}

static void init_cond(pthread_cond_t *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
}

/*
 * The subscribing connection has the configured id, because its session is what must be found
 * again; a publishing connection beside it gets another one.
 */
static void init_worker(struct lt_mq_core *core, enum lt_mq_role role,
	const struct lt_bus_conf *conf, const struct lt_bus_options *opt)
{
	struct lt_mq_worker *w = &core->w[role];
	int64_t keepalive_s = (conf->mqtt.keepalive_ms + 999) / 1000;

	w->core = core;
	w->role = role;
	w->send_end = &w->send;
	w->keepalive_s = (uint32_t)(keepalive_s < 1       ? 1
				    : keepalive_s > 65535 ? 65535
							  : keepalive_s);
	w->client_id = lt_bus_client_id(conf, opt->comp);
	w->clean_start = true;
	if (role == LT_MQ_TX && opt->n_topics > 0) {
		char *id = lt_asprintf("%s-pub", w->client_id);

		free(w->client_id);
		w->client_id = id;
	}
	if (role == LT_MQ_RX && opt->durable) {
		int64_t s = conf->mqtt.session_expiry_ms / 1000;

		w->clean_start = false;
		w->expiry_s = (uint32_t)(s < 1 ? 1 : s > UINT32_MAX - 1 ? UINT32_MAX - 1 : s);
	}
	init_cond(&w->work);
}

struct lt_mq_core *lt_mq_core_new(const struct lt_bus_conf *conf, const struct lt_bus_url *url,
	const struct lt_bus_options *opt)
{
	struct lt_mq_core *c = lt_calloc(1, sizeof(*c));

	c->refs = 1;
	c->tls = strcmp(url->scheme, "mqtts") == 0;
	c->host = lt_strdup(url->host);
	c->port = url->port ? url->port : c->tls ? 8883 : 1883;
	c->verify_hostname = conf->mqtt.verify_hostname;
	c->no_retained = opt->no_retained;
	c->keep = opt->keep;
	c->username = copy(conf->mqtt.username);
	c->password = copy(conf->mqtt.password);
	c->ca_file = copy(conf->mqtt.ca_file);
	c->cert_file = copy(conf->mqtt.cert_file);
	c->key_file = copy(conf->mqtt.key_file);
	c->connect_timeout_s = (int)(conf->mqtt.connect_timeout_ms / 1000) + 10;
	c->limit_bytes = (size_t)conf->queue_bytes;
	c->topics = lt_calloc(opt->n_topics + 1, sizeof(*c->topics));
	for (size_t i = 0; i < opt->n_topics; i++)
		c->topics[i] = lt_strdup(opt->topics[i]);
	c->n_topics = opt->n_topics;
	pthread_mutex_init(&c->lock, NULL);
	init_cond(&c->idle);
	init_cond(&c->space);
	lt_inq_init(&c->in);
	c->events_end = &c->events;
	c->acked_end = &c->acked;
	init_worker(c, LT_MQ_RX, conf, opt);
	init_worker(c, LT_MQ_TX, conf, opt);
	return c;
}

static void core_free(struct lt_mq_core *c)
{
	while (c->events) {
		struct lt_mq_ev *ev = c->events;

		c->events = ev->next;
		free(ev);
	}
	for (int i = 0; i < LT_MQ_ROLES; i++) {
		lt_mq_link_free(c->w[i].open);
		pthread_cond_destroy(&c->w[i].work);
		free(c->w[i].client_id);
	}
	lt_inq_fini(&c->in);
	lt_outq_fini(&c->out);
	for (size_t i = 0; i < c->n_topics; i++)
		free(c->topics[i]);
	free(c->topics);
	free(c->host);
	free(c->username);
	free(c->password);
	free(c->ca_file);
	free(c->cert_file);
	free(c->key_file);
	pthread_cond_destroy(&c->idle);
	pthread_cond_destroy(&c->space);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void lt_mq_core_put(struct lt_mq_core *c)
{
	bool last;

	pthread_mutex_lock(&c->lock);
	last = --c->refs == 0;
	pthread_mutex_unlock(&c->lock);
	if (last)
		core_free(c);
}

void lt_mq_wake_locked(struct lt_mq_core *c)
{
	if (!c->detached)
		lt_waker_wake(&c->waker);
}

void lt_mq_post(struct lt_mq_worker *w, const struct lt_mq_ev *ev)
{
	struct lt_mq_core *c = w->core;
	struct lt_mq_ev *queued = lt_malloc(sizeof(*queued));

	*queued = *ev;
	queued->next = NULL;
	queued->role = w->role;
	pthread_mutex_lock(&c->lock);
	*c->events_end = queued;
	c->events_end = &queued->next;
	lt_mq_wake_locked(c);
	pthread_cond_broadcast(&c->idle);
	pthread_mutex_unlock(&c->lock);
}

struct lt_mq_link *lt_mq_link_new(struct lt_mq_worker *w, unsigned gen)
{
	struct lt_mq_link *l = lt_calloc(1, sizeof(*l));

	l->w = w;
	l->gen = gen;
	return l;
}

void lt_mq_link_free(struct lt_mq_link *l)
{
	if (!l)
		return;
	free(l->will_topic);
	lt_buf_fini(&l->will);
	free(l);
}

bool lt_mq_worker_idle_locked(const struct lt_mq_worker *w)
{
	return !w->open && !w->cur && !w->close;
}

static void forget_sends(struct lt_mq_worker *w)
{
	w->send = NULL;
	w->send_end = &w->send;
}

/* Carry out a request to close, or to quit. Called and left with the lock. */
static void close_link(struct lt_mq_worker *w)
{
	struct lt_mq_core *c = w->core;
	struct lt_mq_link *cur = w->cur, *unopened = w->open;
	struct lt_mq_ev ev = {.type = LT_MQ_EV_CLOSED};

	forget_sends(w);
	w->subscribe = w->subscribing = false;
	w->open = NULL;
	pthread_mutex_unlock(&c->lock);
	lt_mq_link_free(unopened);
	if (cur)
		lt_mq_link_close(cur);
	pthread_mutex_lock(&c->lock);
	w->cur = NULL;
	w->close = false;
	if (w->role == LT_MQ_TX)
		c->unacked = 0;
	pthread_mutex_unlock(&c->lock);
	lt_mq_post(w, &ev);
	pthread_mutex_lock(&c->lock);
}

/* Do the next request. Called and left with the lock. Return: false when there is none. */
static bool work_once(struct lt_mq_worker *w)
{
	struct lt_mq_core *c = w->core;
	struct lt_mq_link *l = w->cur;

	if (w->close) {
		close_link(w);
	} else if (w->open && !l) {
		l = w->cur = w->open;
		w->open = NULL;
		pthread_mutex_unlock(&c->lock);
		lt_mq_link_open(l);
		pthread_mutex_lock(&c->lock);
	} else if (l && l->diagnose) {
		l->diagnose = false;
		pthread_mutex_unlock(&c->lock);
		lt_mq_link_diagnose(l);
		pthread_mutex_lock(&c->lock);
	} else if (l && w->subscribe) {
		bool before = w->subscribed_before;

		w->subscribe = false;
		pthread_mutex_unlock(&c->lock);
		lt_mq_link_subscribe(l, before);
		pthread_mutex_lock(&c->lock);
	} else if (l && w->send) {
		struct lt_out *o = w->send;

		forget_sends(w);
		pthread_mutex_unlock(&c->lock);
		while (o) {
			/* Once sent it may be acknowledged and freed at any moment. */
			struct lt_out *next = o->next_send;

			lt_mq_link_send(l, o);
			o = next;
		}
		pthread_mutex_lock(&c->lock);
	} else {
		return false;
	}
	return true;
}

static void *worker_main(void *arg)
{
	struct lt_mq_worker *w = arg;
	struct lt_mq_core *c = w->core;

	pthread_setname_np(pthread_self(), w->role == LT_MQ_RX ? "mqtt-rx" : "mqtt-tx");
	pthread_mutex_lock(&c->lock);
	while (!w->quit)
		if (!work_once(w))
			pthread_cond_wait(&w->work, &c->lock);
	close_link(w);
	w->exited = true;
	pthread_cond_broadcast(&c->idle);
	pthread_mutex_unlock(&c->lock);
	lt_mq_core_put(c);
	return NULL;
}

int lt_mq_worker_start(struct lt_mq_worker *w, struct lt_err *err)
{
	struct lt_mq_core *c = w->core;
	sigset_t all, old;
	int rc;

	if (w->started)
		return LT_OK;
	/* Signals are the loop's; paho's threads inherit this mask from the worker. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_mutex_lock(&c->lock);
	c->refs++;
	pthread_mutex_unlock(&c->lock);
	rc = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0) {
		lt_mq_core_put(c);
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "mqtt.thread",
			"cannot start a thread: %s", strerror(rc));
	}
	w->started = true;
	return LT_OK;
}
