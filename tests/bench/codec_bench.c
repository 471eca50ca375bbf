/* SPDX-License-Identifier: MIT */
/*
 * What a value costs to encode and decode in ns, and on the wire in bytes, for snapshots of 60 and
 * 400 values with names and labels like node_exporter's; beside copying the bare numbers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "../support/bench.h"
#include "latido/clock.h"
#include "latido/event.h"

struct bench {
	struct lt_snapshot *snapshot;
	struct lt_shapes *table;
	struct lt_arena arena;
	struct lt_event e;
	struct lt_buf proto, hash_only, json, out;
	struct lt_buf other, other_json; /* like proto and json, with one name changed */
	struct lt_shapes *small;         /* has room for one shape */
	double *copy;
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

static void do_decode_unknown_json(struct bench *b)
{
	decode_in(b, b->small, &b->json);
	decode_in(b, b->small, &b->other_json);
}

/* What no codec can be quicker than. */
static void do_copy(struct bench *b)
{
	double sum = 0;

	memcpy(b->copy, b->e.values, b->n_values * sizeof(*b->copy));
	for (unsigned i = 0; i < b->n_values; i++)
		sum += b->copy[i];
	b->n_seen += sum > 0;
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * LT_NS_PER_S + t.tv_nsec;
}

/* ns of CPU time of one call: who else is on the machine does not count. */
static double measure(struct bench *b, void (*fn)(struct bench *), double seconds)
{
	int64_t least = (int64_t)(seconds * LT_NS_PER_S), start, t;

	for (unsigned n = 1;; n *= 2) {
		start = cpu_ns();
		for (unsigned i = 0; i < n; i++)
			fn(b);
		t = cpu_ns() - start;
		if (t >= least / 2)
			return (double)t / n;
	}
}

/* Bytes of @m by DEFLATE, as zlib does it by default; of so many like it in one piece. */
static double compressed(const struct lt_buf *m, unsigned times)
{
	uLongf len = compressBound(m->len * times);
	unsigned char *in = lt_malloc(m->len * times), *out = lt_malloc(len);

	for (unsigned i = 0; i < times; i++)
		memcpy(in + i * m->len, m->data, m->len);
	if (compress2(out, &len, in, m->len * times, Z_DEFAULT_COMPRESSION) != Z_OK)
		exit(1);
	free(in);
	free(out);
	return (double)len / times;
}

static void sizes(struct bench *b, struct bench_run *run)
{
	const struct {
		const char *name;
		const struct lt_buf *m;
	} forms[] = {{"protobuf, inline shape", &b->proto}, {"protobuf, hash only", &b->hash_only},
		{"JSON", &b->json}};
	char name[80];

	for (size_t i = 0; i < LT_ARRAY_LEN(forms); i++) {
		bench_result(run, forms[i].name, BENCH_SUBJECT, "bytes/value",
			(double)forms[i].m->len / b->n_values);
		snprintf(name, sizeof(name), "%s, deflated", forms[i].name);
		bench_result(run, name, BENCH_SUBJECT, "bytes/value",
			compressed(forms[i].m, 1) / b->n_values);
	}
	bench_result(run, "bare numbers", BENCH_CEILING, "bytes/value", sizeof(double));
}

static void fill(struct bench *b)
{
	struct lt_shapes_info one;

	b->snapshot = lt_snapshot_new(100000);
	b->table = lt_shapes_new(64 << 20, 100000);
	do_build(b);
	b->copy = lt_calloc(b->n_values, sizeof(*b->copy));
	b->e.source = "worker-17.example";
	b->e.stream = "";
	b->e.epoch = UINT64_C(1763700000000000);
	b->e.seq = 123456;
	b->e.time_ns = INT64_C(1763700000250000000);
	b->e.has_time = true;
	lt_encode_protobuf(&b->e, true, &b->proto);
	lt_encode_protobuf(&b->e, false, &b->hash_only);
	lt_encode_json(&b->e, &b->json);
	decode(b, &b->proto);
	lt_shapes_info(b->table, &one);
	b->small = lt_shapes_new(one.bytes, 100000);
	make(b, "Zart");
	lt_encode_protobuf(&b->e, true, &b->other);
	lt_encode_json(&b->e, &b->other_json);
	make(b, "Part");
}

static void drop(struct bench *b)
{
	lt_snapshot_free(b->snapshot);
	lt_shapes_free(b->small);
	lt_shapes_free(b->table);
	lt_arena_fini(&b->arena);
	lt_buf_fini(&b->proto);
	lt_buf_fini(&b->hash_only);
	lt_buf_fini(&b->json);
	lt_buf_fini(&b->other);
	lt_buf_fini(&b->other_json);
	lt_buf_fini(&b->out);
	free(b->copy);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(struct bench *b);
		unsigned events; /* of one call */
		enum bench_role role;
	} things[] = {
		{"build snapshot, same names", do_build, 1, BENCH_SUBJECT},
		{"encode protobuf, inline shape", do_encode_proto, 1, BENCH_SUBJECT},
		{"encode protobuf, hash only", do_encode_hash, 1, BENCH_SUBJECT},
		{"encode JSON", do_encode_json, 1, BENCH_SUBJECT},
		{"decode protobuf, known shape", do_decode_proto, 1, BENCH_SUBJECT},
		{"decode protobuf, known shape, read all", do_decode_sum, 1, BENCH_SUBJECT},
		{"decode protobuf, known hash", do_decode_hash, 1, BENCH_SUBJECT},
		{"decode protobuf, unknown shape", do_decode_unknown, 2, BENCH_SUBJECT},
		{"decode JSON, known names", do_decode_json, 1, BENCH_SUBJECT},
		{"decode JSON, unknown names", do_decode_unknown_json, 2, BENCH_SUBJECT},
		{"bare copy, read all", do_copy, 1, BENCH_CEILING},
	};
	struct bench all[2] = {{.n_values = 60}, {.n_values = 400}};
	struct lt_shapes_info after;
	struct bench_run run;

	bench_init(&run, "codec", "3", 7, 0.03, argc, argv);
	for (size_t i = 0; i < LT_ARRAY_LEN(all); i++)
		fill(&all[i]);
	for (run.round = 1; run.round <= run.rounds; run.round++)
		for (size_t i = 0; i < LT_ARRAY_LEN(all); i++) {
			bench_case(&run, "%u values an event", all[i].n_values);
			for (size_t t = 0; t < LT_ARRAY_LEN(things); t++)
				bench_result(&run, things[t].name, things[t].role, "ns CPU/value",
					measure(&all[i], things[t].fn, run.seconds) /
						things[t].events / all[i].n_values);
			if (run.round == 1)
				sizes(&all[i], &run);
		}
	for (size_t i = 0; i < LT_ARRAY_LEN(all); i++) {
		lt_shapes_info(all[i].small, &after);
		if (after.hits) {
			fprintf(stderr, "codec_bench: the unknown shape was known\n");
			return 1;
		}
		drop(&all[i]);
	}
	return 0;
}
