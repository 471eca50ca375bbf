/* SPDX-License-Identifier: MIT */
/* lt_decode(): which encoding it is, and the rules that hold for all of them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "event_int.h"

#define OP "event.decode"

int decode_refuse(struct decode *d, enum lt_reason reason, const char *op, const char *fmt, ...)
{
	char msg[sizeof(d->err->msg)];
	va_list ap;

	d->reason = reason;
	if (!d->err)
		return LT_EDATA;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return lt_fail(d->err, LT_EDATA, LT_CLS_POISON, op, "%s", msg);
}

static int check_source(struct decode *d, struct decode_head *h)
{
	const struct lt_origin *o = d->origin;
	size_t n = o ? strlen(o->source) : 0;
	char a[EVENT_QUOTE_LEN], b[EVENT_QUOTE_LEN];

	if (h->source_len == 0) {
		if (n == 0 || !o->device)
			return decode_refuse(d, LT_REASON_DECODE, OP,
				"no source: only devices on their own topic may omit it");
		h->source = o->source;
		h->source_len = n;
		return LT_OK;
	}
	if (!lt_source_valid(h->source, h->source_len))
		return decode_refuse(d, LT_REASON_LIMITS, OP,
			"source %s: must be 1 to 128 of A-Z a-z 0-9 . _ : -",
			event_quote(a, h->source, h->source_len));
	if (n && (n != h->source_len || memcmp(h->source, o->source, n) != 0))
		return decode_refuse(d, LT_REASON_SOURCE_MISMATCH, OP,
			"source is %s, but the topic or key says %s",
			event_quote(a, h->source, h->source_len), event_quote(b, o->source, n));
	return LT_OK;
}

int decode_check(struct decode *d, struct decode_head *h)
{
	int code = check_source(d, h);
	char quoted[EVENT_QUOTE_LEN];

	if (code != LT_OK)
		return code;
	if (h->stream_len &&
		(h->stream_len > LT_STREAM_MAX || !lt_source_valid(h->stream, h->stream_len)))
		return decode_refuse(d, LT_REASON_LIMITS, OP,
			"stream %s: must be at most 64 of A-Z a-z 0-9 . _ : -",
			event_quote(quoted, h->stream, h->stream_len));
	if (h->epoch > LT_EXACT_INT || h->seq > LT_EXACT_INT)
		return decode_refuse(d, LT_REASON_LIMITS, OP,
			"epoch %llu, seq %llu: neither may be above 2^53",
			(unsigned long long)h->epoch, (unsigned long long)h->seq);
	if (!h->epoch != !h->seq)
		return decode_refuse(d, LT_REASON_DECODE, OP,
			"epoch %llu, seq %llu: an event has both or neither",
			(unsigned long long)h->epoch, (unsigned long long)h->seq);
	if (h->oldest_seq > h->seq)
		return decode_refuse(d, LT_REASON_DECODE, OP, "oldest_seq %llu is above seq %llu",
			(unsigned long long)h->oldest_seq, (unsigned long long)h->seq);
	return LT_OK;
}

struct lt_event *decode_add(struct decode *d, const struct decode_head *h, struct lt_shape *shape,
	const uint8_t *values)
{
	struct lt_event *e =
		lt_arena_alloc(d->arena, sizeof(*e) + h->source_len + 1 + h->stream_len + 1);
	char *source = (char *)(e + 1), *stream = source + h->source_len + 1;
	int64_t arrived_ns = d->origin ? d->origin->arrived_ns : 0;

	memcpy(source, h->source, h->source_len);
	source[h->source_len] = '\0';
	if (h->stream_len)
		memcpy(stream, h->stream, h->stream_len);
	stream[h->stream_len] = '\0';
	*e = (struct lt_event){
		.source = source,
		.stream = stream,
		.epoch = h->epoch,
		.seq = h->seq,
		.oldest_seq = h->oldest_seq,
		.time_ns = h->time_ns ? h->time_ns : arrived_ns,
		.has_time = h->time_ns != 0,
		.interval_ms = h->interval_ms,
		.partial = h->partial,
		.device = d->origin && d->origin->device,
		.shape = shape,
		.values = values,
		.n = shape ? shape->n_series : 0,
		.arrived_ns = arrived_ns,
	};
	*d->tail = e;
	d->tail = &e->next;
	d->n_events++;
	return e;
}

enum encoding { ENC_GUESS = 0, ENC_PROTOBUF, ENC_JSON };

static bool starts(const char *s, const char *word)
{
	return strncasecmp(s, word, strlen(word)) == 0;
}

/* Other content types (text/plain, octet-stream) are as good as none. */
static enum encoding by_content_type(const char *type)
{
	static const char json[] = "application/json", protobuf[] = "application/x-protobuf";
	const char *end;

	if (!type)
		return ENC_GUESS;
	end = type + strcspn(type, "; ");
	if (starts(type, protobuf) && end == type + strlen(protobuf))
		return ENC_PROTOBUF;
	if ((starts(type, json) && end == type + strlen(json)) ||
		(end - type > 5 && starts(end - 5, "+json")))
		return ENC_JSON;
	return ENC_GUESS;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int decode_any(struct decode *d, const uint8_t *p, size_t size)
{
	const struct lt_origin *o = d->origin;
	enum encoding enc = by_content_type(o ? o->content_type : NULL);
	bool text_topic = o && o->metric[0];
	size_t skip = 0;
	int code;

	if (enc != ENC_GUESS)
		return enc == ENC_JSON ? decode_json(d, (const char *)p, size)
				       : decode_protobuf(d, p, size);
	while (skip < size && is_space(p[skip]))
		skip++;
	if (p[0] == 0x0a) {
		/* Our producers write the source first. A JSON text may begin with a newline too. */
		struct lt_err first = {0}, *err = d->err;
		enum lt_reason reason;

		d->err = err ? &first : NULL;
		code = decode_protobuf(d, p, size);
		d->err = err;
		reason = d->reason;
		if (code == LT_EDATA && skip < size &&
			(p[skip] == '{' || p[skip] == '[' || text_topic)) {
			d->reason = LT_REASON_NONE;
			code = decode_json(d, (const char *)p, size);
			/* Not even JSON: then the first answer is the better one. */
			if (code == LT_OK || d->reason != LT_REASON_DECODE)
				return code;
			d->reason = reason;
		}
		if (code != LT_OK && err)
			*err = first;
		return code;
	}
	/* No first byte of a protobuf event is printable but '2' (shape before source) and 'A'
	 * (hash before source); text wins these. */
	if (skip == size || p[skip] >= 0x20 || text_topic)
		return decode_json(d, (const char *)p, size);
	return decode_protobuf(d, p, size);
}

static int decode_message(struct decode *d, const struct lt_decode_limits *limits,
	const void *payload, size_t size, struct lt_event **out, enum lt_reason *reason)
{
	int code;

	d->tail = &d->first;
	d->limits = (struct lt_decode_limits){EVENT_DEFAULT_BYTES, EVENT_DEFAULT_SERIES};
	if (limits)
		d->limits = *limits;
	if (size > d->limits.max_bytes)
		code = decode_refuse(d, LT_REASON_TOO_LARGE, OP,
			"%zu bytes, more than limits.max_bytes = %zu", size, d->limits.max_bytes);
	else if (size == 0)
		code = decode_refuse(d, LT_REASON_DECODE, OP, "empty message");
	else
		code = decode_any(d, payload, size);
	if (code != LT_OK) {
		lt_events_release(d->first);
		d->first = NULL;
	}
	*out = d->first;
	*reason = d->reason;
	return code;
}

int lt_decode(struct lt_shapes *t, const struct lt_decode_limits *limits,
	const struct lt_origin *origin, const void *payload, size_t size, struct lt_arena *arena,
	struct lt_event **out, enum lt_reason *reason, uint64_t *missing_hash, struct lt_err *err)
{
	struct decode d = {.t = t, .origin = origin, .arena = arena, .err = err};
	int code = decode_message(&d, limits, payload, size, out, reason);

	*missing_hash = d.missing_hash;
	return code;
}

int lt_identify(struct lt_shapes *t, const struct lt_decode_limits *limits,
	const struct lt_origin *origin, const void *payload, size_t size, struct lt_arena *arena,
	struct lt_event **out, enum lt_reason *reason, struct lt_err *err)
{
	struct decode d = {.t = t, .origin = origin, .arena = arena, .err = err, .identity = true};

	return decode_message(&d, limits, payload, size, out, reason);
}

void lt_events_release(struct lt_event *first)
{
	for (; first; first = first->next) {
		lt_shape_put(first->shape);
		first->shape = NULL;
	}
}
