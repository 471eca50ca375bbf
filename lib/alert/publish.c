/* SPDX-License-Identifier: MIT */
#include "publish.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "latido/log.h"

#define TOKEN (UINT64_MAX - 1) /* of delivery reports: nobody asks */

struct letter {
	struct letter *next;
	char *topic;
	bool retain;
	size_t size;
	char data[];
};

struct lt_publisher {
	pthread_mutex_t lock;
	struct letter *first, **last;
	size_t n, max;
	struct lt_bus *bus;
	struct lt_waker waker;
	struct lt_publish_info *info;
	struct lt_complaint refused;
};

static void on_wake(void *arg)
{
	lt_publisher_flush(arg);
}

struct lt_publisher *lt_publisher_new(
	struct lt_loop *loop, size_t queue_max, struct lt_publish_info *info, struct lt_err *err)
{
	struct lt_publisher *p = lt_calloc(1, sizeof(*p));

	p->last = &p->first;
	p->max = queue_max;
	p->info = info;
	pthread_mutex_init(&p->lock, NULL);
	if (lt_waker_init(&p->waker, loop, on_wake, p, err) < 0) {
		lt_publisher_free(p);
		return NULL;
	}
	return p;
}

/* With the lock. */
static struct letter *take(struct lt_publisher *p)
{
	struct letter *l = p->first;

	if (!l)
		return NULL;
	p->first = l->next;
	if (!p->first)
		p->last = &p->first;
	p->n--;
	lt_gauge_set(&p->info->waiting, (int64_t)p->n);
	return l;
}

static void free_letter(struct letter *l)
{
	if (!l)
		return;
	free(l->topic);
	free(l);
}

void lt_publisher_free(struct lt_publisher *p)
{
	struct letter *l;

	if (!p)
		return;
	while ((l = take(p)))
		free_letter(l);
	lt_waker_fini(&p->waker);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void lt_publisher_bus(struct lt_publisher *p, struct lt_bus *bus)
{
	p->bus = bus;
	lt_publisher_flush(p);
}

bool lt_publisher_empty(struct lt_publisher *p)
{
	bool empty;

	pthread_mutex_lock(&p->lock);
	empty = !p->first;
	pthread_mutex_unlock(&p->lock);
	return empty;
}

void lt_publisher_put(
	struct lt_publisher *p, const char *topic, const void *data, size_t size, bool retain)
{
	struct letter *l = lt_malloc(sizeof(*l) + size), *old = NULL;

	*l = (struct letter){.topic = lt_strdup(topic), .retain = retain, .size = size};
	if (size)
		memcpy(l->data, data, size);
	pthread_mutex_lock(&p->lock);
	if (p->n >= p->max) {
		old = take(p);
		lt_counter_add(&p->info->dropped, 1);
	}
	*p->last = l;
	p->last = &l->next;
	p->n++;
	lt_gauge_set(&p->info->waiting, (int64_t)p->n);
	pthread_mutex_unlock(&p->lock);
	free_letter(old);
	lt_waker_wake(&p->waker);
}

static int publish(struct lt_publisher *p, const struct letter *l)
{
	bool retains = lt_bus_caps(p->bus) & LT_BUS_RETAIN;
	struct lt_err err;
	int rc;

	rc = lt_bus_publish(p->bus,
		&(struct lt_bus_out){.topic = l->topic,
			.data = l->size ? l->data : NULL,
			.size = l->size,
			.content_type = "application/cloudevents+json",
			.retain = l->retain && retains,
			.token = TOKEN},
		&err);
	if (rc == LT_EFULL || rc == LT_ESTOPPED)
		return rc;
	if (rc == LT_OK) {
		lt_counter_add(&p->info->published, 1);
		return LT_OK;
	}
	lt_counter_add(&p->info->refused, 1);
	lt_complain(&p->refused, LT_ERROR, "alert_not_published", LT_S("topic", l->topic),
		LT_S("err", err.msg));
	return LT_OK;
}

void lt_publisher_flush(struct lt_publisher *p)
{
	struct letter *l;

	while (p->bus) {
		pthread_mutex_lock(&p->lock);
		l = take(p);
		pthread_mutex_unlock(&p->lock);
		if (!l)
			return;
		if (publish(p, l) == LT_OK) {
			free_letter(l);
			continue;
		}
		pthread_mutex_lock(&p->lock); /* it stays the first */
		l->next = p->first;
		if (!p->first)
			p->last = &l->next;
		p->first = l;
		p->n++;
		pthread_mutex_unlock(&p->lock);
		return;
	}
}
