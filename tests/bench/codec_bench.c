/* SPDX-License-Identifier: MIT */
/*
 * What a value costs to encode and decode: ns a value, best of several rounds, for snapshots of 60
 * and 400 values with names and labels like node_exporter's.
 *
 * usage: codec_bench [rounds]
 */
#include <stdio.h>
#include <stdlib.h>

#include "latido/clock.h"
#include "latido/event.h"

struct bench {
	struct lt_snapshot *snapshot;
	struct lt_shapes *table;
	struct lt_arena arena;
	struct lt_event e;
	struct lt_buf proto, hash_only, json, out;
	struct lt_buf other;     /* like proto, with one name changed */
	struct lt_shapes *small; /* has room for one shape */
	unsigned n_values;
	int64_t n_seen; /* keeps the compiler from dropping the work */
};

static void build(struct bench *b, const char *part)
{
	static const char *const cpu_mode[] = {"cpu", "mode"}, *const device[] = {"device"};
	static const char *const modes[] = {
		"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"};
	unsigned n = 0;
	char text[64], name[64];

	lt_snapshot_begin(b->snapshot);
	lt_snapshot_family(b->snapshot, "node_cpu_seconds_total", LT_KIND_COUNTER, cpu_mode, 2);
	for (unsigned cpu = 0; n < b->n_values * 2 / 5; cpu++) {
		snprintf(text, sizeof(text), "%u", cpu);
		for (unsigned m = 0; m < 8; m++, n++)
			lt_snapshot_row(
				b->snapshot, (const char *const[]){text, modes[m]}, n * 1234.25);
	}
	for (unsigned f = 0; n < b->n_values * 4 / 5; f++) {
		snprintf(name, sizeof(name), "node_network_statistic_%u_bytes_total", f);
		lt_snapshot_family(b->snapshot, name, LT_KIND_COUNTER, device, 1);
		for (unsigned i = 0; i < 4; i++, n++) {
			snprintf(text, sizeof(text), "eth%u", i);
			lt_snapshot_row(b->snapshot, (const char *const[]){text}, n * 1e6 + 7);
		}
	}
	for (unsigned f = 0; n < b->n_values; f++, n++) {
		snprintf(name, sizeof(name), "node_memory_%s%u_bytes", part, f);
		lt_snapshot_value(b->snapshot, name, LT_KIND_GAUGE, n * 4096.0);
	}
	b->n_values = n;
}

static void make(struct bench *b, const char *part)
{
	struct lt_err err;

	build(b, part);
	if (lt_snapshot_event(b->snapshot, &b->e, &err) != LT_OK) {
		fprintf(stderr, "codec_bench: %s\n", err.msg);
		exit(1);
	}
}

static void do_build(struct bench *b)
{
	make(b, "Part");
}

static void do_encode_proto(struct bench *b)
{
	lt_buf_reset(&b->out);
	lt_encode_protobuf(&b->e, true, &b->out);
}

static void do_encode_hash(struct bench *b)
{
	lt_buf_reset(&b->out);
	lt_encode_protobuf(&b->e, false, &b->out);
}

static void do_encode_json(struct bench *b)
{
	lt_buf_reset(&b->out);
	lt_encode_json(&b->e, &b->out);
}

static void decode_in(struct bench *b, struct lt_shapes *table, const struct lt_buf *msg)
{
	static const struct lt_origin o = {.source = "worker-17.example"};
	struct lt_event *e;
	enum lt_reason reason;
	uint64_t missing;
	struct lt_err err;

	lt_arena_reset(&b->arena);
	if (lt_decode(table, NULL, &o, msg->data, msg->len, &b->arena, &e, &reason, &missing,
		    &err) != LT_OK) {
		fprintf(stderr, "codec_bench: %s\n", err.msg);
		exit(1);
	}
	b->n_seen += e->n;
	lt_events_release(e);
}

static void decode(struct bench *b, const struct lt_buf *msg)
{
	decode_in(b, b->table, msg);
}

static void do_decode_proto(struct bench *b)
{
	decode(b, &b->proto);
}

static void do_decode_hash(struct bench *b)
{
	decode(b, &b->hash_only);
}

static void do_decode_json(struct bench *b)
{
	decode(b, &b->json);
}

/* Decoding and reading every value once. */
static void do_decode_sum(struct bench *b)
{
	static const struct lt_origin o = {.source = "worker-17.example"};
	struct lt_event *e;
	enum lt_reason reason;
	uint64_t missing;
	double sum = 0;

	lt_arena_reset(&b->arena);
	if (lt_decode(b->table, NULL, &o, b->proto.data, b->proto.len, &b->arena, &e, &reason,
		    &missing, NULL) != LT_OK)
		exit(1);
	for (uint32_t i = 0; i < e->n; i++)
		sum += lt_event_value(e, i);
	b->n_seen += sum > 0;
	lt_events_release(e);
}

/* Two messages that push each other's shape out of the table, in turns. */
static void do_decode_unknown(struct bench *b)
{
	decode_in(b, b->small, &b->proto);
	decode_in(b, b->small, &b->other);
}

static void measure(struct bench *b, const char *what, void (*fn)(struct bench *), size_t bytes,
	unsigned rounds, unsigned events)
{
	double best = 1e300;
	int64_t start, t;
	unsigned n = 1;

	/* as many calls as take about 20 ms */
	for (;; n *= 2) {
		start = lt_mono_ns();
		for (unsigned i = 0; i < n; i++)
			fn(b);
		t = lt_mono_ns() - start;
		if (t > 10 * LT_NS_PER_MS)
			break;
	}
	for (unsigned r = 0; r < rounds; r++) {
		start = lt_mono_ns();
		for (unsigned i = 0; i < n; i++)
			fn(b);
		t = lt_mono_ns() - start;
		if ((double)t / n < best)
			best = (double)t / n;
	}
	best /= events; /* of one call */
	printf("%-36s %4u values %7zu bytes %9.0f ns/event %8.2f ns/value\n", what, b->n_values,
		bytes, best, best / b->n_values);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const unsigned sizes[] = {60, 400};
	unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 20;

	for (size_t i = 0; i < LT_ARRAY_LEN(sizes); i++) {
		struct bench b = {.n_values = sizes[i]};
		struct lt_shapes_info one, after;

		b.snapshot = lt_snapshot_new(100000);
		b.table = lt_shapes_new(64 << 20, 100000);
		do_build(&b);
		b.e.source = "worker-17.example";
		b.e.stream = "";
		b.e.epoch = UINT64_C(1763700000000000);
		b.e.seq = 123456;
		b.e.time_ns = INT64_C(1763700000250000000);
		b.e.has_time = true;
		lt_encode_protobuf(&b.e, true, &b.proto);
		lt_encode_protobuf(&b.e, false, &b.hash_only);
		lt_encode_json(&b.e, &b.json);
		decode(&b, &b.proto);
		lt_shapes_info(b.table, &one);
		b.small = lt_shapes_new(one.bytes, 100000);
		make(&b, "Zart");
		lt_encode_protobuf(&b.e, true, &b.other);
		make(&b, "Part");

		measure(&b, "build snapshot, same names", do_build, 0, rounds, 1);
		measure(&b, "encode protobuf, inline shape", do_encode_proto, b.proto.len, rounds,
			1);
		measure(&b, "encode protobuf, hash only", do_encode_hash, b.hash_only.len, rounds,
			1);
		measure(&b, "encode JSON", do_encode_json, b.json.len, rounds, 1);
		measure(&b, "decode protobuf, known inline shape", do_decode_proto, b.proto.len,
			rounds, 1);
		measure(&b, "  and read the values", do_decode_sum, b.proto.len, rounds, 1);
		measure(&b, "decode protobuf, hash only", do_decode_hash, b.hash_only.len, rounds,
			1);
		measure(&b, "decode JSON, known names", do_decode_json, b.json.len, rounds, 1);
		measure(&b, "decode protobuf, unknown shape", do_decode_unknown, b.proto.len,
			rounds, 2);
		lt_shapes_info(b.small, &after);
		if (after.hits) {
			fprintf(stderr, "codec_bench: the unknown shape was known\n");
			return 1;
		}
		lt_snapshot_free(b.snapshot);
		lt_shapes_free(b.small);
		lt_buf_fini(&b.other);
		lt_shapes_free(b.table);
		lt_arena_fini(&b.arena);
		lt_buf_fini(&b.proto);
		lt_buf_fini(&b.hash_only);
		lt_buf_fini(&b.json);
		lt_buf_fini(&b.out);
	}
	return 0;
}
