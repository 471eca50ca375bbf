/* SPDX-License-Identifier: MIT */
#include "sink_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- shapes and field names ---- */

static bool needs_alias(const struct lt_series *s)
{
	return s->name[0] == '_' && s->n_labels == 0;
}

static void shape_free(void *user)
{
	struct hot_shape *h = user;

	for (uint32_t i = 0; h->alias && i < h->n_alias; i++)
		free(h->alias[i]);
	free(h->alias);
	free(h);
}

struct hot_shape *hot_shape_of(struct lt_shape *s)
{
	struct hot_shape *h = s->user;

	if (h)
		return h;
	h = lt_calloc(1, sizeof(*h));
	lt_redis_hash(s->hash, h->hex);
	for (uint32_t i = 0; i < s->n_series; i++) {
		if (!needs_alias(&s->series[i]))
			continue;
		if (!h->alias) {
			h->alias = lt_calloc(s->n_series, sizeof(*h->alias));
			h->n_alias = s->n_series;
		}
		h->alias[i] = lt_asprintf("%s{}", s->series[i].name);
	}
	s->user = h;
	s->user_free = shape_free;
	return h;
}

const char *hot_field(struct lt_shape *s, uint32_t i, size_t *len)
{
	const struct hot_shape *h = hot_shape_of(s);

	if (h->alias && h->alias[i]) {
		*len = strlen(h->alias[i]);
		return h->alias[i];
	}
	*len = s->series[i].text_len;
	return s->series[i].text;
}

const char *hot_shape_ref(struct lt_shape *s)
{
	const struct hot_shape *h = hot_shape_of(s);

	return s->collides || h->inline_only ? "-" : h->hex;
}

/* ---- what vanished ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char **sorted_fields(struct lt_shape *s)
{
	const char **f = lt_malloc((s->n_series ? s->n_series : 1) * sizeof(*f));
	size_t len;

	for (uint32_t i = 0; i < s->n_series; i++)
		f[i] = hot_field(s, i, &len);
	qsort(f, s->n_series, sizeof(*f), by_text);
	return f;
}

/* Append the fields of @old that @now does not have. Return: how many. */
static unsigned add_vanished(struct lt_redis_cmd *c, struct lt_shape *old, struct lt_shape *now)
{
	const char **a = sorted_fields(old), **b = sorted_fields(now);
	uint32_t i = 0, j = 0;
	unsigned n = 0;

	while (i < old->n_series) {
		int cmp = j < now->n_series ? strcmp(a[i], b[j]) : -1;

		if (cmp < 0) {
			lt_redis_str(c, a[i++]);
			n++;
		} else {
			i += cmp == 0;
			j++;
		}
	}
	free(a);
	free(b);
	return n;
}

/* ---- FCALL ---- */

static size_t add_values(struct lt_redis_cmd *c, const struct hot_frame *f, const uint8_t *base)
{
	struct lt_buf text = {0};
	size_t n = 0, len;

	for (uint32_t i = 0; i < f->shape->n_series; i++) {
		const uint8_t *p = f->values + 8 * (size_t)i;
		const struct lt_event view = {.values = p};
		const char *field;

		if (base && !memcmp(p, base + 8 * (size_t)i, 8))
			continue;
		field = hot_field(f->shape, i, &len);
		lt_redis_arg(c, field, len);
		lt_buf_reset(&text);
		lt_buf_double(&text, lt_event_value(&view, 0));
		lt_redis_arg(c, text.data, text.len);
		n++;
	}
	lt_buf_fini(&text);
	return n;
}

/* The number of deletions stands in front of them and is known afterwards only: fixed width. */
#define DELETIONS_WIDTH 10

void hot_fcall_build(struct lt_redis_cmd *c, struct hot_stream *s, struct hot_fcall *how)
{
	const struct hot_frame *last = s->flying;
	struct hot_frame *complete = NULL;
	const struct hot_frame *base = s->flying_full ? NULL : s->written;
	char digits[DELETIONS_WIDTH + 1];
	unsigned deletions = 0;
	size_t at;

	for (struct hot_frame *f = s->flying; f; f = f->next) {
		last = f;
		if (!f->partial)
			complete = f;
	}
	lt_redis_begin(c, "FCALL");
	lt_redis_str(c, "latido_apply");
	lt_redis_str(c, "1");
	lt_redis_key(c, LT_REDIS_NODE, s->source->name);
	lt_redis_str(c, s->name);
	lt_redis_u64(c, last->epoch);
	lt_redis_u64(c, last->seq);
	lt_redis_i64(c, last->time_ms);
	lt_redis_str(c, last->guard ? "1" : "0");
	lt_redis_u64(c, last->interval_ms);
	lt_redis_str(c, complete ? hot_shape_ref(complete->shape) : "");
	if (base) {
		lt_redis_u64(c, base->epoch);
		lt_redis_u64(c, base->seq);
		lt_redis_i64(c, base->time_ms);
	} else {
		lt_redis_str(c, "0");
		lt_redis_str(c, "0");
		lt_redis_str(c, "");
	}
	lt_redis_str(c, how->previous_ref ? how->previous_ref : "");
	lt_redis_i64(c, how->expire_s);
	lt_redis_i64(c, how->max_fields);
	lt_redis_arg(c, "0000000000", DELETIONS_WIDTH);
	at = c->args.len - 2 - DELETIONS_WIDTH;
	if (complete && how->previous && how->previous != complete->shape)
		deletions = add_vanished(c, how->previous, complete->shape);
	snprintf(digits, sizeof(digits), "%0*u", DELETIONS_WIDTH, deletions);
	memcpy(c->args.data + at, digits, DELETIONS_WIDTH);
	how->fields = 0;
	for (const struct hot_frame *f = s->flying; f; f = f->next)
		how->fields += add_values(c, f, base ? base->values : NULL);
}

int64_t hot_window_maxlen(int64_t max_events, int64_t max_bytes, double event_bytes)
{
	double fit = event_bytes > 0 ? (double)max_bytes / event_bytes : (double)max_events;

	if (fit > (double)max_events)
		fit = (double)max_events;
	return fit < 1 ? 1 : (int64_t)fit;
}
