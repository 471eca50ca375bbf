/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "bus_mem_int.h"
#include "latido/bus_mem.h"

pthread_mutex_t lt_membus_lock = PTHREAD_MUTEX_INITIALIZER;
static struct broker *brokers;

/* ---- the broker; all under lt_membus_lock ---- */

struct broker *lt_membus_broker_get(const char *name)
{
	struct broker *k;

	for (k = brokers; k; k = k->next)
		if (strcmp(k->name, name) == 0)
			return k;
	k = lt_calloc(1, sizeof(*k));
	k->name = lt_strdup(name);
	k->next = brokers;
	brokers = k;
	return k;
}

static void item_free(struct item *it)
{
	free(it->in);
	free(it);
}

static void items_free(struct item *it)
{
	while (it) {
		struct item *next = it->next;

		item_free(it);
		it = next;
	}
}

static void session_free(struct session *s)
{
	items_free(s->queue);
	for (size_t i = 0; i < s->n_filters; i++)
		free(s->filters[i]);
	free(s->filters);
	free(s->client_id);
	free(s);
}

static void session_drop(struct broker *k, struct session *s)
{
	struct session **p = &k->sessions;

	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	session_free(s);
}

static struct session *session_find(struct broker *k, const char *client_id)
{
	struct session *s = k->sessions;

	while (s && strcmp(s->client_id, client_id) != 0)
		s = s->next;
	return s;
}

static struct item *item_new(const struct lt_bus_out *m)
{
	struct item *it = lt_calloc(1, sizeof(*it));

	it->in = lt_in_new(m->topic, strlen(m->topic), m->data, m->size, m->content_type,
		m->content_type ? strlen(m->content_type) : 0);
	it->expires_ns = m->expiry_s ? lt_mono_ns() + m->expiry_s * LT_NS_PER_S : 0;
	return it;
}

static bool expired(const struct item *it)
{
	return it->expires_ns && it->expires_ns <= lt_mono_ns();
}

/* Move what the session has into the bus, as far as its budget allows. */
void lt_membus_session_pump(struct session *s)
{
	struct mem_bus *b = s->bus;

	while (s->queue && b && b->connected && !b->stopped &&
		b->in.held_bytes < (size_t)b->base.conf->queue_bytes) {
		struct item *it = s->queue;

		s->queue = it->next;
		if (!s->queue)
			s->queue_end = &s->queue;
		s->n_queued--;
		if (!expired(it)) {
			it->in->m.arrived_ns = lt_wall_ns();
			if (lt_inq_push(&b->in, it->in))
				lt_waker_wake(&b->waker);
			it->in = NULL;
		}
		item_free(it);
	}
}

static void session_add(struct session *s, struct item *it)
{
	it->next = NULL;
	*s->queue_end = it;
	s->queue_end = &it->next;
	s->n_queued++;
	lt_membus_session_pump(s);
}

static bool session_wants(const struct session *s, const char *topic)
{
	for (size_t i = 0; i < s->n_filters; i++)
		if (lt_topic_match(s->filters[i], topic))
			return true;
	return false;
}

static void retain(struct broker *k, const struct lt_bus_out *m)
{
	struct item **p = &k->retained;

	while (*p && strcmp((*p)->in->m.topic, m->topic) != 0)
		p = &(*p)->next;
	if (*p) {
		struct item *old = *p;

		*p = old->next;
		item_free(old);
	}
	if (m->size > 0) {
		struct item *it = item_new(m);

		it->in->m.retained = true;
		it->next = k->retained;
		k->retained = it;
	}
}

static void route(struct broker *k, const struct lt_bus_out *m)
{
	if (m->retain)
		retain(k, m);
	for (struct session *s = k->sessions; s; s = s->next) {
		if (!session_wants(s, m->topic))
			continue;
		/* As MQTT does at QoS 0: not kept for somebody who is away. */
		if (m->at_most_once && !s->bus)
			continue;
		session_add(s, item_new(m));
	}
}

static void send_retained(struct broker *k, struct session *s)
{
	for (struct item *r = k->retained; r; r = r->next) {
		struct lt_bus_out m = {.topic = r->in->m.topic,
			.data = r->in->m.data,
			.size = r->in->m.size,
			.content_type = r->in->m.content_type};
		struct item *it;

		if (expired(r) || !session_wants(s, m.topic))
			continue;
		it = item_new(&m);
		it->in->m.retained = true;
		session_add(s, it);
	}
}

void lt_membus_forget_will(struct mem_bus *b)
{
	free(b->will_topic);
	b->will_topic = NULL;
	lt_buf_fini(&b->will);
	b->will = (struct lt_buf){0};
}

/* The connection ends. @err: not regularly, so the will is due. */
void lt_membus_disconnect(struct mem_bus *b, const struct lt_err *err, bool takeover)
{
	struct session *s = b->session;

	if (!b->connected)
		return;
	b->connected = false;
	b->session = NULL;
	s->bus = NULL;
	if (!s->durable)
		session_drop(b->broker, s);
	lt_outq_rewind(&b->out);
	if (err) {
		struct lt_bus_out m = {.topic = b->will_topic,
			.data = b->will.data,
			.size = b->will.len,
			.retain = true};

		if (m.topic)
			route(b->broker, &m);
		if (!b->lost)
			b->lost = lt_calloc(1, sizeof(*b->lost));
		b->lost->err = *err;
		b->lost->takeover = takeover;
		lt_waker_wake(&b->waker);
	}
	lt_membus_forget_will(b);
}

static void cut_all(struct broker *k, const char *client_id)
{
	struct lt_err err;
	struct session *s, *next;

	lt_fail(&err, LT_EIO, LT_CLS_RETRY, "mem.connect", "the connection was lost");
	for (s = k->sessions; s; s = next) {
		next = s->next;
		if (s->bus && (!client_id || strcmp(s->client_id, client_id) == 0))
			lt_membus_disconnect(s->bus, &err, false);
	}
}

static void ack(struct mem_bus *b, struct lt_out *o, int code)
{
	o->done = true;
	o->code = code;
	o->next_done = NULL;
	*b->acked_end = o;
	b->acked_end = &o->next_done;
	lt_waker_wake(&b->waker);
}

/* Send what is accepted and not sent; in order. */
void lt_membus_pump(struct mem_bus *b)
{
	struct broker *k = b->broker;
	struct lt_out *o;

	while (b->connected && (o = lt_outq_next(&b->out))) {
		if (k->refuse_filter && lt_topic_match(k->refuse_filter, o->m.topic)) {
			ack(b, o, k->refuse_code);
			continue;
		}
		route(k, &o->m);
		if (!k->hold_acks || o->m.at_most_once)
			ack(b, o, LT_OK);
	}
}

static void release_acks(struct broker *k)
{
	for (struct session *s = k->sessions; s; s = s->next)
		for (struct lt_out *o = s->bus ? s->bus->out.head : NULL; o; o = o->next)
			if (o->sent && !o->done)
				ack(s->bus, o, LT_OK);
}

static struct session *session_new(struct broker *k, const char *client_id, bool durable)
{
	struct session *s = lt_calloc(1, sizeof(*s));

	s->client_id = lt_strdup(client_id);
	s->durable = durable;
	s->queue_end = &s->queue;
	s->next = k->sessions;
	k->sessions = s;
	return s;
}

void lt_membus_session_subscribe(struct session *s, char **topics, size_t n)
{
	for (size_t i = 0; i < s->n_filters; i++)
		free(s->filters[i]);
	free(s->filters);
	s->filters = lt_calloc(n + 1, sizeof(*s->filters));
	for (size_t i = 0; i < n; i++)
		s->filters[i] = lt_strdup(topics[i]);
	s->n_filters = n;
}

/* Return: true when the session existed. */
bool lt_membus_attach(struct mem_bus *b)
{
	struct broker *k = b->broker;
	struct session *s = session_find(k, b->client_id);
	struct lt_err err;
	bool resumed;

	if (s && s->bus) {
		lt_fail(&err, LT_EIO, LT_CLS_RETRY, "mem.connect", "session taken over");
		lt_membus_disconnect(s->bus, &err, true);
		s = session_find(k, b->client_id);
	}
	if (s && !b->durable) {
		session_drop(k, s);
		s = NULL;
	}
	resumed = s != NULL;
	if (!s)
		s = session_new(k, b->client_id, b->durable);
	s->bus = b;
	b->session = s;
	b->connected = true;
	if (b->stopped)
		return resumed;
	if (!resumed || !b->subscribed) {
		lt_membus_session_subscribe(s, b->topics, b->n_topics);
		if (!b->no_retained)
			send_retained(k, s);
		b->subscribed = true;
	}
	lt_membus_session_pump(s);
	return resumed;
}

/* ---- hooks ---- */

void lt_bus_mem_reset(const char *name)
{
	struct broker **p = &brokers, *k;

	pthread_mutex_lock(&lt_membus_lock);
	while (*p && strcmp((*p)->name, name) != 0)
		p = &(*p)->next;
	k = *p;
	if (k) {
		*p = k->next;
		while (k->sessions)
			session_drop(k, k->sessions);
		items_free(k->retained);
		free(k->refuse_filter);
		free(k->name);
		free(k);
	}
	pthread_mutex_unlock(&lt_membus_lock);
}

void lt_bus_mem_down(const char *name, bool down)
{
	struct broker *k;

	pthread_mutex_lock(&lt_membus_lock);
	k = lt_membus_broker_get(name);
	k->down = down;
	if (down)
		cut_all(k, NULL);
	pthread_mutex_unlock(&lt_membus_lock);
}

void lt_bus_mem_cut(const char *name, const char *client_id)
{
	pthread_mutex_lock(&lt_membus_lock);
	cut_all(lt_membus_broker_get(name), client_id);
	pthread_mutex_unlock(&lt_membus_lock);
}

void lt_bus_mem_forget(const char *name)
{
	struct broker *k;

	pthread_mutex_lock(&lt_membus_lock);
	k = lt_membus_broker_get(name);
	cut_all(k, NULL);
	while (k->sessions)
		session_drop(k, k->sessions);
	items_free(k->retained);
	k->retained = NULL;
	pthread_mutex_unlock(&lt_membus_lock);
}

void lt_bus_mem_hold_acks(const char *name, bool hold)
{
	struct broker *k;

	pthread_mutex_lock(&lt_membus_lock);
	k = lt_membus_broker_get(name);
	k->hold_acks = hold;
	if (!hold)
		release_acks(k);
	pthread_mutex_unlock(&lt_membus_lock);
}

void lt_bus_mem_refuse_connect(const char *name, const struct lt_err *err)
{
	struct broker *k;

	pthread_mutex_lock(&lt_membus_lock);
	k = lt_membus_broker_get(name);
	k->refuse_connect = err != NULL;
	if (err)
		k->connect_err = *err;
	pthread_mutex_unlock(&lt_membus_lock);
}

void lt_bus_mem_refuse_publish(const char *name, const char *filter, int code)
{
	struct broker *k;

	pthread_mutex_lock(&lt_membus_lock);
	k = lt_membus_broker_get(name);
	free(k->refuse_filter);
	k->refuse_filter = filter ? lt_strdup(filter) : NULL;
	k->refuse_code = code;
	pthread_mutex_unlock(&lt_membus_lock);
}

void lt_bus_mem_limit(const char *name, size_t bytes)
{
	pthread_mutex_lock(&lt_membus_lock);
	lt_membus_broker_get(name)->limit_bytes = bytes;
	pthread_mutex_unlock(&lt_membus_lock);
}

size_t lt_bus_mem_queued(const char *name, const char *client_id)
{
	struct session *s;
	size_t n;

	pthread_mutex_lock(&lt_membus_lock);
	s = session_find(lt_membus_broker_get(name), client_id);
	n = s ? s->n_queued : 0;
	pthread_mutex_unlock(&lt_membus_lock);
	return n;
}
