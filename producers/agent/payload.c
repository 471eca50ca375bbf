/* SPDX-License-Identifier: MIT */
#include "payload.h"

#include <inttypes.h>
#include <string.h>

/* Numbers of Event's fields with their wire types (schemas/latido/v1/event.proto). */
#define TAG_SOURCE (1 << 3 | 2)
#define TAG_EPOCH  (2 << 3 | 1)
#define TAG_SEQ    (3 << 3 | 0)
#define TAG_OLDEST (5 << 3 | 0)
#define TAG_SHAPE  (6 << 3 | 2)

static void varint(struct lt_buf *out, uint64_t n)
{
	while (n > 0x7f) {
		lt_buf_char(out, (char)((n & 0x7f) | 0x80));
		n >>= 7;
	}
	lt_buf_char(out, (char)n);
}

static void bytes(struct lt_buf *out, char tag, const void *p, size_t n)
{
	lt_buf_char(out, tag);
	varint(out, n);
	lt_buf_add(out, p, n);
}

/* Size of the field source in front of a body; names are shorter than 16 KiB. */
static size_t source_bytes(const uint8_t *body, size_t size)
{
	size_t len, head = 2;

	if (size < 3 || body[0] != TAG_SOURCE)
		return 0;
	len = body[1] & 0x7f;
	if (body[1] & 0x80) {
		len |= (size_t)body[2] << 7;
		head = 3;
	}
	return head + len <= size ? head + len : 0;
}

static void write_protobuf(struct lt_buf *out, const char *source, uint64_t epoch, uint64_t seq,
	uint64_t oldest_seq, const uint8_t *body, size_t size, const void *shape, size_t shape_size)
{
	size_t skip = source_bytes(body, size);

	bytes(out, TAG_SOURCE, source, strlen(source));
	lt_buf_char(out, TAG_EPOCH);
	for (int i = 0; i < 8; i++)
		lt_buf_char(out, (char)(epoch >> 8 * i));
	lt_buf_char(out, TAG_SEQ);
	varint(out, seq);
	lt_buf_char(out, TAG_OLDEST);
	varint(out, oldest_seq);
	/* Fields may come in any order. */
	if (shape_size)
		bytes(out, TAG_SHAPE, shape, shape_size);
	lt_buf_add(out, body + skip, size - skip);
}

#define JSON_START "{\"source\":\""

static void write_json(struct lt_buf *out, const char *source, uint64_t epoch, uint64_t seq,
	uint64_t oldest_seq, const char *body, size_t size)
{
	size_t start = strlen(JSON_START);
	/* A source has no character that would be escaped. */
	const char *end = size > start && memcmp(body, JSON_START, start) == 0
				  ? memchr(body + start, '"', size - start)
				  : NULL;
	const char *rest = end ? end + 1 : body + 1;

	lt_buf_printf(out,
		"{\"source\":\"%s\",\"epoch\":%" PRIu64 ",\"seq\":%" PRIu64 ",\"oldest\":%" PRIu64,
		source, epoch, seq, oldest_seq);
	if (!end)
		lt_buf_char(out, ',');
	lt_buf_add(out, rest, (size_t)(body + size - rest));
}

void lt_payload_write(struct lt_buf *out, const char *source, uint64_t epoch, uint64_t seq,
	uint64_t oldest_seq, const void *body, size_t size, const void *shape, size_t shape_size)
{
	lt_buf_reset(out);
	if (size && *(const char *)body == '{')
		write_json(out, source, epoch, seq, oldest_seq, body, size);
	else
		write_protobuf(out, source, epoch, seq, oldest_seq, body, size, shape, shape_size);
}

const char *lt_payload_type(const void *body, size_t size)
{
	return size && *(const char *)body == '{' ? "application/json"
						  : "application/x-protobuf;proto=latido.v1.Event";
}
