/* SPDX-License-Identifier: MIT */
#include "outbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "latido/clock.h"
#include "latido/stats.h"

#define FLUSH_NS     (100 * LT_NS_PER_MS)
#define EARNED_MAX   1000.0 /* answers saved up */
#define EARNED_FIRST 20.0
#define BUCKETS      4096

struct letter {
	struct letter *next;        /* in order of arrival */
	struct letter *next_bucket; /* same bucket */
	uint64_t hash;
	char *topic;
	struct lt_buf data;
};

struct lt_outbox {
	pthread_mutex_t lock; /* of the letters */
	struct letter *first, **last;
	struct letter *buckets[BUCKETS];
	size_t n;

	struct lt_bus *bus;
	struct lt_timer timer;
	double earned;
	struct lt_complaint complaint;
	struct lt_counter published, replaced, refused, dropped;
	struct lt_gauge waiting;
};

static void unlink_bucket(struct lt_outbox *b, const struct letter *l)
{
	struct letter **at = &b->buckets[l->hash % BUCKETS];

	while (*at != l)
		at = &(*at)->next_bucket;
	*at = l->next_bucket;
}

static struct letter *pop(struct lt_outbox *b)
{
	struct letter *l = b->first;

	if (!l)
		return NULL;
	b->first = l->next;
	if (!b->first)
		b->last = &b->first;
	unlink_bucket(b, l);
	b->n--;
	return l;
}

static void letter_free(struct letter *l)
{
	if (!l)
		return;
	free(l->topic);
	lt_buf_fini(&l->data);
	free(l);
}

void lt_outbox_put(struct lt_outbox *b, const char *topic, const void *data, size_t size)
{
	uint64_t hash = XXH3_64bits(topic, strlen(topic));
	struct letter *l, *old = NULL;

	pthread_mutex_lock(&b->lock);
	for (l = b->buckets[hash % BUCKETS]; l; l = l->next_bucket)
		if (l->hash == hash && strcmp(l->topic, topic) == 0)
			break;
	if (l) {
		lt_counter_add(&b->replaced, 1);
	} else {
		l = lt_calloc(1, sizeof(*l));
		l->hash = hash;
		l->topic = lt_strdup(topic);
		l->next_bucket = b->buckets[hash % BUCKETS];
		b->buckets[hash % BUCKETS] = l;
		*b->last = l;
		b->last = &l->next;
		if (++b->n > LT_OUTBOX_MAX) {
			old = pop(b);
			lt_counter_add(&b->dropped, 1);
		}
	}
	lt_buf_reset(&l->data);
	lt_buf_add(&l->data, data, size);
	lt_gauge_set(&b->waiting, (int64_t)b->n);
	pthread_mutex_unlock(&b->lock);
	letter_free(old);
}

/* Return: false: the bus takes no more now; the letter is back. */
static bool send(struct lt_outbox *b, struct letter *l)
{
	struct lt_err err;
	int rc = lt_bus_publish(b->bus,
		&(struct lt_bus_out){.topic = l->topic,
			.data = l->data.data,
			.size = l->data.len,
			.content_type = "application/json",
			.retain = true,
			.token = LT_OUTBOX_TOKEN},
		&err);

	if (rc == LT_EFULL || rc == LT_ESTOPPED) {
		/* A newer one may have come; the old news need not go then. */
		pthread_mutex_lock(&b->lock);
		for (struct letter *x = b->buckets[l->hash % BUCKETS]; x; x = x->next_bucket)
			if (x->hash == l->hash && strcmp(x->topic, l->topic) == 0) {
				pthread_mutex_unlock(&b->lock);
				letter_free(l);
				return false;
			}
		l->next_bucket = b->buckets[l->hash % BUCKETS];
		b->buckets[l->hash % BUCKETS] = l;
		l->next = b->first;
		if (!b->first)
			b->last = &l->next;
		b->first = l;
		b->n++;
		pthread_mutex_unlock(&b->lock);
		return false;
	}
	if (rc == LT_OK) {
		lt_counter_add(&b->published, 1);
	} else {
		lt_counter_add(&b->refused, 1);
		lt_complain(&b->complaint, LT_ERROR, "answer_refused", LT_S("topic", l->topic),
			LT_S("err", err.msg));
	}
	letter_free(l);
	return true;
}

void lt_outbox_flush(struct lt_outbox *b, bool all)
{
	while (b->bus && (all || b->earned >= 1)) {
		struct letter *l;

		pthread_mutex_lock(&b->lock);
		l = pop(b);
		lt_gauge_set(&b->waiting, (int64_t)b->n);
		pthread_mutex_unlock(&b->lock);
		if (!l || !send(b, l))
			return;
		b->earned -= 1;
	}
}

static void on_timer(void *arg)
{
	struct lt_outbox *b = arg;

	lt_timer_start_ns(&b->timer, FLUSH_NS);
	lt_outbox_flush(b, false);
}

void lt_outbox_earn(struct lt_outbox *b, size_t messages)
{
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
	b->last = &b->first;
	b->earned = EARNED_FIRST;
	lt_timer_init(&b->timer, loop, on_timer, b);
	return b;
}

void lt_outbox_free(struct lt_outbox *b)
{
	struct letter *l;

	if (!b)
		return;
	while ((l = pop(b)))
		letter_free(l);
	lt_timer_fini(&b->timer);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

void lt_outbox_stats(struct lt_outbox *b)
{
	static struct lt_stat table[5];
	const struct lt_stat rows[LT_ARRAY_LEN(table)] = {
		{"latido_consumer_answers_total", LT_STAT_COUNTER, NULL,
			"Acknowledgements published.", &b->published, NULL},
		{"latido_consumer_answers_replaced_total", LT_STAT_COUNTER, NULL,
			"Acknowledgements that a newer one made unnecessary.", &b->replaced, NULL},
		{"latido_consumer_answers_dropped_total", LT_STAT_COUNTER, "reason=\"refused\"",
			"Acknowledgements that were not published.", &b->refused, NULL},
		{"latido_consumer_answers_dropped_total", LT_STAT_COUNTER, "reason=\"full\"",
			"Acknowledgements that were not published.", &b->dropped, NULL},
		{"latido_consumer_answers_waiting", LT_STAT_GAUGE, NULL,
			"Acknowledgements that wait for their turn.", &b->waiting, NULL},
	};

	memcpy(table, rows, sizeof(table));
	lt_stats_add(table, LT_ARRAY_LEN(table));
}
