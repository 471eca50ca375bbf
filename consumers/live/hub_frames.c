/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "hub.h"
#include "latido/clock.h"

void hub_frame_free(struct hub_frame *f)
{
	http_bytes_put(f->bytes);
	lt_shape_put(f->shape);
	free(f->values);
	free(f);
}

static size_t frame_size(const struct hub_frame *f)
{
	return sizeof(*f) + f->bytes->size + 8 * (size_t)f->n;
}

void hub_trim_ring(struct hub *h, bool all)
{
	int64_t oldest = lt_mono_ns() - h->conf->live.resume_ms * LT_NS_PER_MS;

	while (h->ring && (all || h->ring->mono_ns < oldest ||
				  h->ring_bytes > (size_t)h->conf->live.resume_bytes)) {
		struct hub_frame *f = h->ring;

		hub_counters.ring_cut += !all && f->mono_ns >= oldest;
		h->ring = f->next;
		if (!h->ring)
			h->ring_last = &h->ring;
		h->ring_bytes -= frame_size(f);
		h->ring_lost = f->id;
		hub_frame_free(f);
	}
}

void hub_publish(struct hub *h, struct hub_frame *f, const char *event, const struct lt_buf *data)
{
	f->id = ++h->last_id;
	f->mono_ns = lt_mono_ns();
	f->next = NULL;
	if (!f->bytes)
		f->bytes = hub_frame_bytes(h, f->id, event, data->data, data->len);
	if (h->publish)
		h->publish(h->publish_arg, f);
	*h->ring_last = f;
	h->ring_last = &f->next;
	h->ring_bytes += frame_size(f);
	hub_trim_ring(h, false);
}

void hub_tell(struct hub *h, const char *event, const struct lt_buf *data)
{
	struct hub_frame *f = lt_calloc(1, sizeof(*f));

	f->kind = FRAME_ALL;
	hub_publish(h, f, event, data);
}

static void tell_sources(struct hub *h)
{
	struct lt_buf data = {0};
	size_t n = 0;

	h->sources_changed = false;
	for (size_t i = 0; i < h->n_sources; i++) {
		if (!h->sources[i]->fresh || !h->sources[i]->seen_ms)
			continue;
		h->sources[i]->fresh = false;
		lt_buf_char(&data, n++ ? ',' : '[');
		hub_put_source(&data, h->sources[i]);
	}
	if (n) {
		lt_buf_char(&data, ']');
		hub_tell(h, "source", &data);
	}
	lt_buf_fini(&data);
}

/* Members of a node event, up to its values. */
static void put_node_head(struct lt_buf *b, const struct hub_source *s, const char *stream,
	uint64_t epoch, uint64_t seq, int64_t time_ms)
{
	lt_buf_printf(b,
		"{\"source\":\"%s\",\"stream\":\"%s\",\"epoch\":%llu,\"seq\":%llu,"
		"\"time_ms\":%lld",
		s->name, stream, (unsigned long long)epoch, (unsigned long long)seq,
		(long long)time_ms);
}

static double value_at(const uint8_t *values, uint32_t i)
{
	const struct lt_event e = {.values = values};

	return lt_event_value(&e, i);
}

void hub_put_complete(struct lt_buf *b, const struct hub_source *s, const char *stream,
	uint64_t epoch, uint64_t seq, int64_t time_ms, const struct lt_shape *shape,
	const uint8_t *values, uint32_t n)
{
	char id[33];

	hub_shape_id(shape, id);
	put_node_head(b, s, stream, epoch, seq, time_ms);
	lt_buf_printf(b, ",\"shape\":\"%s\",\"v\":[", id);
	for (uint32_t i = 0; i < n; i++) {
		if (i)
			lt_buf_char(b, ',');
		json_number(b, value_at(values, i));
	}
	lt_buf_str(b, "]}");
}

static void put_difference(struct lt_buf *b, const struct hub_source *s,
	const struct hub_stream *st, const uint8_t *old)
{
	bool first = true;

	put_node_head(b, s, st->name, st->epoch, st->seq, st->time_ms);
	lt_buf_str(b, ",\"d\":[");
	for (uint32_t i = 0; i < st->n; i++) {
		if (!memcmp(st->values + 8 * (size_t)i, old + 8 * (size_t)i, 8))
			continue;
		lt_buf_printf(b, first ? "%u," : ",%u,", i);
		json_number(b, value_at(st->values, i));
		first = false;
	}
	lt_buf_str(b, "]}");
}

void hub_node_frame(struct hub *h, struct hub_source *s, struct hub_stream *st, const uint8_t *old)
{
	struct hub_frame *f = lt_calloc(1, sizeof(*f));
	struct lt_buf data = {0};
	size_t size = 8 * (size_t)st->n;

	f->kind = FRAME_NODE;
	f->source = s;
	f->events = 1;
	f->shape = st->shape;
	lt_shape_get(st->shape);
	f->values = lt_malloc(size ? size : 1);
	if (size)
		memcpy(f->values, st->values, size);
	f->n = st->n;
	f->epoch = st->epoch;
	f->seq = st->seq;
	f->time_ms = st->time_ms;
	f->stream = (uint8_t)(st - s->streams);
	if (old)
		put_difference(&data, s, st, old);
	else
		hub_put_complete(&data, s, st->name, st->epoch, st->seq, st->time_ms, st->shape,
			st->values, st->n);
	/* The id is given when it is sent; the text waits in the frame until then. */
	f->bytes = http_bytes_new(data.data, data.len);
	st->told_id = 1;
	*h->pending_last = f;
	h->pending_last = &f->next;
	lt_buf_fini(&data);
}

static void flush_nodes(struct hub *h)
{
	struct hub_frame *f = h->pending, *next;

	h->pending = NULL;
	h->pending_last = &h->pending;
	for (; f; f = next) {
		struct http_bytes *text = f->bytes;
		const struct lt_buf data = {text->data, text->size, text->size};

		next = f->next;
		f->bytes = NULL;
		hub_publish(h, f, "node", &data);
		http_bytes_put(text);
	}
}

void hub_flush(struct hub *h)
{
	struct lt_buf data = {0};
	struct hub_frame *f;

	if (h->sources_changed)
		tell_sources(h);
	if (h->n_rows) {
		f = lt_calloc(1, sizeof(*f));
		f->kind = FRAME_FLEET;
		f->events = h->n_rows;
		lt_buf_str(&data, "{\"full\":false,\"rows\":[");
		lt_buf_add(&data, h->rows.data, h->rows.len);
		lt_buf_str(&data, "]}");
		h->n_rows = 0;
		lt_buf_reset(&h->rows);
		hub_publish(h, f, "fleet", &data);
		lt_buf_fini(&data);
	}
	flush_nodes(h);
}
