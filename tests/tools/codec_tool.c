/* SPDX-License-Identifier: MIT */
/*
 * The event codec for tests in other languages. Each line of standard input is a topic below the
 * prefix "t", a space and a payload in hexadecimal; each is answered by one line of JSON:
 *
 *	{"code":"LT_OK","reason":"none","error":"","events":[{
 *	   "source","stream","epoch","seq","oldest_seq","time_ns","has_time","interval_ms","partial",
 *	   "series":[[text, kind, bits of the value in hexadecimal],...],
 *	   "json": its JSON form, "pb", "pb_hash": its wire form with and without shape, hexadecimal}]}
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/event.h"

static void add_hex(struct lt_buf *out, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;

	lt_buf_char(out, '"');
	for (size_t i = 0; i < n; i++)
		lt_buf_printf(out, "%02x", p[i]);
	lt_buf_char(out, '"');
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Return: false when @hex is no hexadecimal text in lower case. */
static bool read_hex(struct lt_buf *out, const char *hex)
{
	lt_buf_reset(out);
	for (; hex[0]; hex += 2) {
		if (digit(hex[0]) < 0 || digit(hex[1]) < 0)
			return false;
		lt_buf_char(out, (char)(digit(hex[0]) << 4 | digit(hex[1])));
	}
	return true;
}

static void add_event(struct lt_buf *out, const struct lt_event *e)
{
	struct lt_buf form = {0};

	lt_buf_printf(out,
		"{\"source\":\"%s\",\"stream\":\"%s\",\"epoch\":%llu,\"seq\":%llu,"
		"\"oldest_seq\":%llu,\"time_ns\":%lld,\"has_time\":%s,\"interval_ms\":%u,"
		"\"partial\":%s,\"series\":[",
		e->source, e->stream, (unsigned long long)e->epoch, (unsigned long long)e->seq,
		(unsigned long long)e->oldest_seq, (long long)e->time_ns,
		e->has_time ? "true" : "false", e->interval_ms, e->partial ? "true" : "false");
	for (uint32_t i = 0; i < e->n; i++) {
		const struct lt_series *s = &e->shape->series[i];
		double v = lt_event_value(e, i);
		uint64_t bits;

		memcpy(&bits, &v, 8);
		lt_buf_str(out, i ? ",[" : "[");
		lt_buf_json_str(out, s->text, s->text_len);
		lt_buf_printf(out, ",%u,\"%016llx\"]", s->kind, (unsigned long long)bits);
	}
	lt_buf_str(out, "],\"json\":");
	lt_encode_json(e, &form);
	lt_buf_json_str(out, form.data, form.len);
	lt_buf_reset(&form);
	lt_encode_protobuf(e, true, &form);
	lt_buf_str(out, ",\"pb\":");
	add_hex(out, form.data, form.len);
	lt_buf_reset(&form);
	lt_encode_protobuf(e, false, &form);
	lt_buf_str(out, ",\"pb_hash\":");
	add_hex(out, form.data, form.len);
	lt_buf_char(out, '}');
	lt_buf_fini(&form);
}

static void answer(struct lt_shapes *t, char *line, struct lt_buf *out)
{
	struct lt_origin o = {.arrived_ns = 1};
	struct lt_arena arena = {0};
	struct lt_event *first = NULL;
	struct lt_err err = {0};
	enum lt_reason reason = LT_REASON_NONE;
	struct lt_buf payload = {0};
	uint64_t missing;
	char *hex = strchr(line, ' ');
	int code;

	if (!hex || !read_hex(&payload, hex + 1)) {
		fprintf(stderr, "codec_tool: expected a topic, a space and hexadecimal text\n");
		exit(2);
	}
	*hex = '\0';
	code = lt_origin_from_topic(&o, "t", line, &err);
	if (code == LT_OK)
		code = lt_decode(t, NULL, &o, payload.data, payload.len, &arena, &first, &reason,
			&missing, &err);
	lt_buf_printf(out, "{\"code\":\"%s\",\"reason\":\"%s\",\"error\":", lt_code_name(code),
		lt_reason_name(reason));
	lt_buf_json_str(out, err.msg, strlen(err.msg));
	lt_buf_str(out, ",\"events\":[");
	for (const struct lt_event *e = first; e; e = e->next) {
		if (e != first)
			lt_buf_char(out, ',');
		add_event(out, e);
	}
	lt_buf_str(out, "]}\n");
	lt_events_release(first);
	lt_arena_fini(&arena);
	lt_buf_fini(&payload);
}

int main(void)
{
	struct lt_shapes *t = lt_shapes_new(64 << 20, 100000);
	struct lt_buf out = {0};
	char *line = NULL;
	size_t cap = 0;

	while (getline(&line, &cap, stdin) > 0) {
		line[strcspn(line, "\n")] = '\0';
		lt_buf_reset(&out);
		answer(t, line, &out);
		if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
			return 1;
	}
	free(line);
	lt_buf_fini(&out);
	lt_shapes_free(t);
	return 0;
}
