/* SPDX-License-Identifier: MIT */
#include "have.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "flight.h"
#include "latido/log.h"

/* Ranges of one source. More are holes that nobody fills: what is forgotten may come twice. */
#define TIDY_AT    16
#define RANGES_MAX 4096

struct source {
	struct source *next;     /* same bucket */
	struct source *next_due; /* in the list of those that are due */
	uint64_t hash, epoch;
	struct lt_ranges have;
	bool device;
	bool due, listed;
	bool told; /* the broker has an acknowledgement, since reading began */
	char name[];
};

struct lt_have {
	char *prefix;
	uint64_t seed;
	struct source **buckets;
	size_t n, n_buckets;
	struct source *due;
	bool reading;
	struct lt_complaint full;
	struct lt_buf topic, text;
};

static struct source *find(const struct lt_have *h, const struct lt_origin *o, uint64_t *hash)
{
	struct source *s;

	*hash = XXH3_64bits_withSeed(o->source, strlen(o->source), h->seed) ^ o->device;
	for (s = h->buckets[*hash & (h->n_buckets - 1)]; s; s = s->next)
		if (s->hash == *hash && s->device == o->device && strcmp(s->name, o->source) == 0)
			break;
	return s;
}

static void grow(struct lt_have *h)
{
	size_t n = h->n_buckets * 2;
	struct source **fresh = lt_calloc(n, sizeof(struct source *));

	for (size_t i = 0; i < h->n_buckets; i++) {
		struct source *s, *next;

		for (s = h->buckets[i]; s; s = next) {
			struct source **at = &fresh[s->hash & (n - 1)];

			next = s->next;
			s->next = *at;
			*at = s;
		}
	}
	free(h->buckets);
	h->buckets = fresh;
	h->n_buckets = n;
}

/* NULL: there are too many already. */
static struct source *make(struct lt_have *h, const struct lt_origin *o)
{
	uint64_t hash;
	struct source *s = find(h, o, &hash);
	size_t len = strlen(o->source);

	if (s)
		return s;
	if (h->n >= LT_OUTBOX_MAX) {
		lt_counter_add(&lt_bridge_stats.overfull, 1);
		lt_complain(&h->full, LT_ERROR, "sources_too_many", LT_U("known", h->n),
			LT_S("source", o->source),
			LT_S("err", "further ones are forwarded, but not acknowledged"));
		return NULL;
	}
	if (h->n++ >= h->n_buckets)
		grow(h);
	s = lt_calloc(1, sizeof(*s) + len + 1);
	memcpy(s->name, o->source, len);
	s->hash = hash;
	s->device = o->device;
	s->next = h->buckets[hash & (h->n_buckets - 1)];
	h->buckets[hash & (h->n_buckets - 1)] = s;
	return s;
}

static void due(struct lt_have *h, struct source *s)
{
	s->due = true;
	if (s->listed)
		return;
	s->listed = true;
	s->next_due = h->due;
	h->due = s;
}

bool lt_have_has(const struct lt_have *h, const struct lt_origin *o, uint64_t epoch, uint64_t seq)
{
	uint64_t hash;
	const struct source *s = find(h, o, &hash);

	return s && s->epoch == epoch && lt_ranges_contains(&s->have, seq);
}

static void tidy(struct source *s, uint64_t oldest_seq)
{
	while (s->have.n > 1 &&
		((s->have.n > TIDY_AT && s->have.r[0].hi < oldest_seq) || s->have.n > RANGES_MAX))
		lt_ranges_remove(&s->have, s->have.r[0].lo, s->have.r[0].hi);
}

void lt_have_add(struct lt_have *h, const struct lt_origin *o, uint64_t epoch, uint64_t seq,
	uint64_t oldest_seq)
{
	struct source *s = make(h, o);

	if (!s || epoch < s->epoch)
		return; /* an earlier life: its source waits for nothing of it */
	if (epoch > s->epoch) {
		lt_ranges_clear(&s->have);
		s->epoch = epoch;
	}
	lt_ranges_add(&s->have, seq, seq);
	tidy(s, oldest_seq);
	due(h, s);
}

void lt_have_repeat(struct lt_have *h, const struct lt_origin *o)
{
	struct source *s = make(h, o);

	if (s && s->have.n)
		due(h, s);
}

static bool says_all(const struct source *s, const struct lt_ack *a)
{
	size_t n = s->have.n < LT_ACK_RANGES_MAX ? s->have.n : LT_ACK_RANGES_MAX;

	return a->epoch == s->epoch && a->n == n &&
	       (n == 0 || memcmp(a->have, s->have.r, n * sizeof(*a->have)) == 0);
}

void lt_have_told(struct lt_have *h, const struct lt_origin *o, const struct lt_ack *a)
{
	struct source *s = make(h, o);

	if (!s)
		return;
	s->told = true;
	if (a->epoch > s->epoch) {
		lt_ranges_clear(&s->have);
		s->epoch = a->epoch;
	}
	if (a->epoch == s->epoch)
		for (size_t i = 0; i < a->n; i++)
			lt_ranges_add(&s->have, a->have[i].lo, a->have[i].hi);
	tidy(s, 0);
	if (says_all(s, a))
		s->due = false; /* the broker has it, whoever put it there */
	else if (s->have.n)
		due(h, s);
}

void lt_have_reading(struct lt_have *h)
{
	h->reading = true;
	for (size_t i = 0; i < h->n_buckets; i++)
		for (struct source *s = h->buckets[i]; s; s = s->next)
			s->told = false;
}

void lt_have_read(struct lt_have *h)
{
	if (!h->reading)
		return;
	h->reading = false;
	for (size_t i = 0; i < h->n_buckets; i++)
		for (struct source *s = h->buckets[i]; s; s = s->next)
			if (!s->told && s->have.n)
				due(h, s);
}

static void publish(struct lt_have *h, const struct source *s, struct lt_outbox *out)
{
	struct lt_ack a = {.epoch = s->epoch};

	a.n = s->have.n < LT_ACK_RANGES_MAX ? s->have.n : LT_ACK_RANGES_MAX;
	memcpy(a.have, s->have.r, a.n * sizeof(*a.have));
	lt_buf_reset(&h->topic);
	lt_buf_reset(&h->text);
	lt_buf_printf(
		&h->topic, "%s/%s/%s/ack", h->prefix, s->device ? "devices" : "nodes", s->name);
	lt_ack_format(&a, &h->text);
	lt_outbox_put(out, h->topic.data, h->text.data, h->text.len, false);
}

void lt_have_flush(struct lt_have *h, struct lt_outbox *out)
{
	while (!h->reading && h->due) {
		struct source *s = h->due;

		h->due = s->next_due;
		s->listed = false;
		if (s->due)
			publish(h, s, out);
		s->due = false;
	}
}

bool lt_have_due(const struct lt_have *h)
{
	return h->due || h->reading;
}

size_t lt_have_sources(const struct lt_have *h)
{
	return h->n;
}

struct lt_have *lt_have_new(const char *prefix)
{
	struct lt_have *h = lt_calloc(1, sizeof(*h));

	h->prefix = lt_strdup(prefix);
	h->seed = lt_random_u64();
	h->n_buckets = 256;
	h->buckets = lt_calloc(h->n_buckets, sizeof(struct source *));
	h->reading = true;
	return h;
}

void lt_have_free(struct lt_have *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n_buckets; i++) {
		struct source *s = h->buckets[i];

		while (s) {
			struct source *next = s->next;

			lt_ranges_fini(&s->have);
			free(s);
			s = next;
		}
	}
	free(h->buckets);
	free(h->prefix);
	lt_buf_fini(&h->topic);
	lt_buf_fini(&h->text);
	free(h);
}
