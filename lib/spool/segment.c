/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "spool_int.h"

/*
 * A segment: 256 bytes of header, then records one behind the other.
 *
 *	header   "LTSPSEG1"  u32 crc of the rest  u32 source length  u64 epoch  u64 first seq
 *	         u64 machine  i64 created  source
 *	record   u32 magic  u32 crc of what follows in the header  u32 length  u32 crc of the data
 *	         u64 seq, highest bit: a context  i64 time  data
 *
 * The record's header has a checksum of its own, so that damaged data cost one record: the length is
 * still to be trusted. Behind a damaged header the next one is searched by its magic.
 */

#define SEG_MAGIC    "LTSPSEG1"
#define REC_MAGIC    0x4352544cu /* "LTRC" */
#define CONTEXT_FLAG (UINT64_C(1) << 63)

void seg_header_write(const struct seg_header *h, uint8_t out[SEG_HEADER_BYTES])
{
	size_t len = strnlen(h->source, sizeof(h->source) - 1);

	memset(out, 0, SEG_HEADER_BYTES);
	memcpy(out, SEG_MAGIC, 8);
	put32(out + 12, (uint32_t)len);
	put64(out + 16, h->epoch);
	put64(out + 24, h->first_seq);
	put64(out + 32, h->machine);
	put64(out + 40, (uint64_t)h->created_ns);
	memcpy(out + 48, h->source, len);
	put32(out + 8, lt_crc32c(0, out + 12, SEG_HEADER_BYTES - 12));
}

bool seg_header_read(struct seg_header *h, const uint8_t *p, size_t n)
{
	uint32_t len;

	if (n < SEG_HEADER_BYTES || memcmp(p, SEG_MAGIC, 8) != 0 ||
		get32(p + 8) != lt_crc32c(0, p + 12, SEG_HEADER_BYTES - 12))
		return false;
	len = get32(p + 12);
	if (len >= sizeof(h->source))
		return false;
	*h = (struct seg_header){.epoch = get64(p + 16),
		.first_seq = get64(p + 24),
		.machine = get64(p + 32),
		.created_ns = (int64_t)get64(p + 40)};
	memcpy(h->source, p + 48, len);
	return h->first_seq > 0;
}

void seg_record_write(
	struct lt_buf *out, bool context, uint64_t seq, int64_t time_ns, const void *p, size_t n)
{
	uint8_t h[SEG_RECORD_BYTES];

	put32(h, REC_MAGIC);
	put32(h + 8, (uint32_t)n);
	put32(h + 12, lt_crc32c(0, p, n));
	put64(h + 16, seq | (context ? CONTEXT_FLAG : 0));
	put64(h + 24, (uint64_t)time_ns);
	put32(h + 4, lt_crc32c(0, h + 8, SEG_RECORD_BYTES - 8));
	lt_buf_add(out, h, sizeof(h));
	lt_buf_add(out, p, n);
}

void seg_parser_init(struct seg_parser *p)
{
	*p = (struct seg_parser){.at = SEG_HEADER_BYTES, .end = SEG_HEADER_BYTES};
}

static bool header_at(const uint8_t *p, size_t room)
{
	return room >= SEG_RECORD_BYTES && get32(p) == REC_MAGIC &&
	       get32(p + 4) == lt_crc32c(0, p + 8, SEG_RECORD_BYTES - 8);
}

static void skip(struct seg_parser *p, size_t n)
{
	p->skipping = true;
	p->at += n;
}

bool seg_next(struct seg_parser *p, const uint8_t *bytes, size_t n, struct seg_record *r)
{
	while (p->at + SEG_RECORD_BYTES <= n) {
		const uint8_t *h = bytes + p->at;
		size_t room = n - p->at, size;
		uint64_t seq;
		bool context;

		if (!header_at(h, room)) {
			/* What was lost may have been a context: records until the next one are void. */
			const uint8_t *next = memchr(h + 1, REC_MAGIC & 0xff, room - 1);

			if (!p->skipping)
				p->ctx_lost = true;
			skip(p, next ? (size_t)(next - h) : room);
			continue;
		}
		size = get32(h + 8);
		seq = get64(h + 16);
		context = seq & CONTEXT_FLAG;
		seq &= ~CONTEXT_FLAG;
		if (size > room - SEG_RECORD_BYTES) {
			/* Written in part, or a length that another program made up. */
			skip(p, 1);
			continue;
		}
		if (get32(h + 12) != lt_crc32c(0, h + SEG_RECORD_BYTES, size)) {
			p->ctx_lost |= context;
			skip(p, SEG_RECORD_BYTES + size);
			continue;
		}
		p->damaged += p->skipping;
		p->skipping = false;
		p->at += SEG_RECORD_BYTES + size;
		p->end = p->at;
		if (context) {
			p->ctx = size ? (size_t)(h - bytes) + SEG_RECORD_BYTES : 0;
			p->ctx_bytes = size;
			p->ctx_lost = false;
			p->contexts++;
			continue;
		}
		if (p->ctx_lost || seq <= p->last_seq) {
			p->damaged++;
			continue;
		}
		p->last_seq = seq;
		*r = (struct seg_record){.seq = seq,
			.time_ns = (int64_t)get64(h + 24),
			.at = (size_t)(h - bytes) + SEG_RECORD_BYTES,
			.size = size,
			.ctx = p->ctx,
			.ctx_bytes = p->ctx_bytes};
		return true;
	}
	return false;
}

void seg_name(char out[64], uint64_t epoch, uint64_t first_seq)
{
	snprintf(out, 64, "%016llx-%016llx.seg", (unsigned long long)epoch,
		(unsigned long long)first_seq);
}

bool seg_name_parse(const char *name, uint64_t *epoch, uint64_t *first_seq)
{
	unsigned long long e, f;
	char again[64];

	if (sscanf(name, "%16llx-%16llx.seg", &e, &f) != 2)
		return false;
	seg_name(again, e, f);
	*epoch = e;
	*first_seq = f;
	return strcmp(again, name) == 0;
}

void lt_spool_check(const void *bytes, size_t size, struct lt_spool_segment *out,
	void (*record)(void *arg, uint64_t seq, int64_t time_ns, const void *data, size_t size,
		const void *context, size_t context_size),
	void *arg)
{
	const uint8_t *b = bytes;
	struct seg_header h;
	struct seg_parser p;
	struct seg_record r;

	memset(out, 0, sizeof(*out));
	out->bytes = size;
	out->header_ok = seg_header_read(&h, b, size);
	if (out->header_ok) {
		out->epoch = h.epoch;
		out->first_seq = h.first_seq;
		strcpy(out->source, h.source);
	}
	seg_parser_init(&p);
	while (seg_next(&p, b, size, &r)) {
		if (!out->records++) {
			out->lo = r.seq;
			out->first_ns = r.time_ns;
		}
		out->hi = r.seq;
		out->last_ns = r.time_ns;
		if (record)
			record(arg, r.seq, r.time_ns, b + r.at, r.size, b + r.ctx, r.ctx_bytes);
	}
	out->contexts = p.contexts;
	out->damaged = p.damaged;
	out->torn_bytes = size > p.end ? size - p.end : 0;
}
