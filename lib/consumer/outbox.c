/* SPDX-License-Identifier: MIT */
#include "latido/outbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "latido/ack.h"
#include "latido/clock.h"
#include "latido/stats.h"

#define FLUSH_NS     (100 * LT_NS_PER_MS)
#define EARNED_MAX   1000.0 /* answers saved up */
#define EARNED_FIRST 20.0
/* Nothing came for so many flushes: what still waits costs nobody anything, at this pace. */
#define QUIET_TICKS  5
#define QUIET_EARNED 20.0
#define BUCKETS      4096

struct letter {
	struct letter *next;        /* of those that wait */
	struct letter *next_bucket; /* same bucket */
	uint64_t hash;
	char *topic;
	struct lt_buf data;
	bool waiting;
};

struct letters {
	struct letter *first, **last;
};

struct lt_outbox {
	pthread_mutex_t lock; /* of the letters */
	struct letters urgent, normal;
	struct letter *buckets[BUCKETS];
	size_t n, n_waiting;

	struct lt_bus *bus;
	struct lt_timer timer;
	struct lt_buf topic, data; /* of the one being published */
	double earned;
	unsigned quiet; /* flushes since something was consumed */
	struct lt_complaint complaint;
	struct lt_counter published, replaced, refused, dropped, shapes_asked;
	struct lt_gauge waiting, known;
};

/* All with the lock. */
static struct letter **find(struct lt_outbox *b, const char *topic, uint64_t hash)
{
	struct letter **at = &b->buckets[hash % BUCKETS];

	while (*at && ((*at)->hash != hash || strcmp((*at)->topic, topic) != 0))
		at = &(*at)->next_bucket;
	return at;
}

static void enqueue(struct lt_outbox *b, struct letters *list, struct letter *l)
{
	l->waiting = true;
	l->next = NULL;
	*list->last = l;
	list->last = &l->next;
	b->n_waiting++;
}

static struct letter *dequeue(struct lt_outbox *b, struct letters *list)
{
	struct letter *l = list->first;

	if (!l)
		return NULL;
	list->first = l->next;
	if (!list->first)
		list->last = &list->first;
	l->waiting = false;
	b->n_waiting--;
	return l;
}

void lt_outbox_put(
	struct lt_outbox *b, const char *topic, const void *data, size_t size, bool urgent)
{
	uint64_t hash = XXH3_64bits(topic, strlen(topic));
	struct letter **at, *l;

	pthread_mutex_lock(&b->lock);
	at = find(b, topic, hash);
	l = *at;
	if (!l && b->n >= LT_OUTBOX_MAX) {
		lt_counter_add(&b->dropped, 1);
		pthread_mutex_unlock(&b->lock);
		return;
	}
	if (!l) {
		l = *at = lt_calloc(1, sizeof(*l));
		l->hash = hash;
		l->topic = lt_strdup(topic);
		lt_gauge_set(&b->known, (int64_t)++b->n);
	}
	if (l->waiting)
		lt_counter_add(&b->replaced, 1);
	else
		enqueue(b, urgent ? &b->urgent : &b->normal, l);
	lt_buf_reset(&l->data);
	lt_buf_add(&l->data, data, size);
	lt_gauge_set(&b->waiting, (int64_t)b->n_waiting);
	pthread_mutex_unlock(&b->lock);
}

void lt_outbox_forgotten(struct lt_outbox *b)
{
	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct letter *l = b->buckets[i]; l; l = l->next_bucket)
			if (!l->waiting)
				enqueue(b, &b->urgent, l);
	pthread_mutex_unlock(&b->lock);
	lt_outbox_flush(b, false);
}

/* Takes the next one that may go. Return: false: there is none. */
static bool take(struct lt_outbox *b, bool all, bool *paid)
{
	struct letter *l;

	pthread_mutex_lock(&b->lock);
	l = dequeue(b, &b->urgent);
	*paid = !l;
	if (!l && (all || b->earned >= 1))
		l = dequeue(b, &b->normal);
	if (l) {
		lt_buf_reset(&b->topic);
		lt_buf_str(&b->topic, l->topic);
		lt_buf_reset(&b->data);
		lt_buf_add(&b->data, l->data.data, l->data.len);
	}
	lt_gauge_set(&b->waiting, (int64_t)b->n_waiting);
	pthread_mutex_unlock(&b->lock);
	return l;
}

/* The bus takes no more: it waits again, first of all, unless newer news does. */
static void put_back(struct lt_outbox *b)
{
	struct letter *l;

	pthread_mutex_lock(&b->lock);
	l = *find(b, b->topic.data, XXH3_64bits(b->topic.data, b->topic.len));
	if (l && !l->waiting) {
		l->waiting = true;
		l->next = b->urgent.first;
		if (!b->urgent.first)
			b->urgent.last = &l->next;
		b->urgent.first = l;
		b->n_waiting++;
	}
	pthread_mutex_unlock(&b->lock);
}

void lt_outbox_flush(struct lt_outbox *b, bool all)
{
	bool paid;

	while (b->bus && take(b, all, &paid)) {
		struct lt_err err;
		int rc = lt_bus_publish(b->bus,
			&(struct lt_bus_out){.topic = b->topic.data,
				.data = b->data.data,
				.size = b->data.len,
				.content_type = "application/json",
				.retain = true,
				.token = LT_OUTBOX_TOKEN},
			&err);

		if (rc == LT_EFULL || rc == LT_ESTOPPED) {
			put_back(b);
			return;
		}
		b->earned -= paid;
		if (rc == LT_OK) {
			lt_counter_add(&b->published, 1);
		} else {
			lt_counter_add(&b->refused, 1);
			lt_complain(&b->complaint, LT_ERROR, "answer_refused",
				LT_S("topic", b->topic.data), LT_S("err", err.msg));
		}
	}
}

void lt_outbox_need_shape(
	struct lt_outbox *b, const char *prefix, const char *source, uint64_t hash)
{
	struct lt_err err;

	if (!b->bus)
		return;
	lt_buf_reset(&b->topic);
	lt_buf_printf(&b->topic, "%s/nodes/%s/ack", prefix, source);
	lt_buf_reset(&b->data);
	lt_ack_format_need(hash, &b->data);
	if (lt_bus_publish(b->bus,
		    &(struct lt_bus_out){.topic = b->topic.data,
			    .data = b->data.data,
			    .size = b->data.len,
			    .content_type = "application/json",
			    .token = LT_OUTBOX_TOKEN},
		    &err) == LT_OK)
		lt_counter_add(&b->shapes_asked, 1);
}

bool lt_outbox_empty(struct lt_outbox *b)
{
	bool empty;

	pthread_mutex_lock(&b->lock);
	empty = b->n_waiting == 0;
	pthread_mutex_unlock(&b->lock);
	return empty;
}

static void on_timer(void *arg)
{
	struct lt_outbox *b = arg;

	lt_timer_start_ns(&b->timer, FLUSH_NS);
	if (b->quiet < QUIET_TICKS)
		b->quiet++;
	else if (b->earned < QUIET_EARNED)
		b->earned = QUIET_EARNED;
	lt_outbox_flush(b, false);
}

void lt_outbox_earn(struct lt_outbox *b, size_t messages)
{
	b->quiet = 0;
	b->earned += (double)messages / LT_OUTBOX_SHARE;
	if (b->earned > EARNED_MAX)
		b->earned = EARNED_MAX;
}

void lt_outbox_bus(struct lt_outbox *b, struct lt_bus *bus)
{
	b->bus = bus;
	if (bus)
		lt_timer_start_ns(&b->timer, FLUSH_NS);
	else
		lt_timer_stop(&b->timer);
}

struct lt_outbox *lt_outbox_new(struct lt_loop *loop)
{
	struct lt_outbox *b = lt_calloc(1, sizeof(*b));

	pthread_mutex_init(&b->lock, NULL);
	b->urgent.last = &b->urgent.first;
	b->normal.last = &b->normal.first;
	b->earned = EARNED_FIRST;
	lt_timer_init(&b->timer, loop, on_timer, b);
	return b;
}

void lt_outbox_free(struct lt_outbox *b)
{
	struct letter *l;

	if (!b)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while ((l = b->buckets[i])) {
			b->buckets[i] = l->next_bucket;
			free(l->topic);
			lt_buf_fini(&l->data);
			free(l);
		}
	lt_buf_fini(&b->topic);
	lt_buf_fini(&b->data);
	lt_timer_fini(&b->timer);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

void lt_outbox_stats(struct lt_outbox *b)
{
	static struct lt_stat table[7];
	const struct lt_stat rows[LT_ARRAY_LEN(table)] = {
		{"latido_consumer_answers_total", LT_STAT_COUNTER, NULL,
			"Acknowledgements published.", &b->published, NULL},
		{"latido_consumer_answers_replaced_total", LT_STAT_COUNTER, NULL,
			"Acknowledgements that a newer one made unnecessary.", &b->replaced, NULL},
		{"latido_consumer_answers_dropped_total", LT_STAT_COUNTER, "reason=\"refused\"",
			"Acknowledgements that were not published.", &b->refused, NULL},
		{"latido_consumer_answers_dropped_total", LT_STAT_COUNTER, "reason=\"full\"",
			"Acknowledgements that were not published.", &b->dropped, NULL},
		{"latido_consumer_shape_requests_total", LT_STAT_COUNTER, NULL,
			"Times that a source was asked for the names and labels that it had "
			"announced.",
			&b->shapes_asked, NULL},
		{"latido_consumer_answers_waiting", LT_STAT_GAUGE, NULL,
			"Acknowledgements that wait for their turn.", &b->waiting, NULL},
		{"latido_consumer_answers_known", LT_STAT_GAUGE, NULL,
			"Sources whose last acknowledgement is remembered.", &b->known, NULL},
	};

	memcpy(table, rows, sizeof(table));
	lt_stats_add(table, LT_ARRAY_LEN(table));
}
