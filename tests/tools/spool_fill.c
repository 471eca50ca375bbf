/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/event.h"
#include "latido/spool.h"

/*
 * Fills an agent's spool as if it had sampled without a broker:
 *
 *	spool_fill DIR SOURCE EVENTS VALUES     one event for each of the last EVENTS seconds
 */

int main(int argc, char **argv)
{
	struct lt_spool_options o = {.name = "fill",
		.max_bytes = INT64_C(1) << 40,
		.segment_bytes = 512 << 10, /* as with the default agent.spool.max_bytes */
		.memory_bytes = 256 << 20,
		.sync = LT_SPOOL_NEVER};
	struct lt_snapshot *snap = lt_snapshot_new(100000);
	struct lt_event e = {.stream = "", .has_time = true, .interval_ms = 1000};
	struct lt_buf body = {0};
	struct lt_spool *s;
	struct lt_err err;
	int64_t start_ns;
	long events, values;

	if (argc != 5) {
		fprintf(stderr, "usage: spool_fill DIR SOURCE EVENTS VALUES\n");
		return 2;
	}
	o.dir = argv[1];
	o.source = e.source = argv[2];
	events = strtol(argv[3], NULL, 10);
	values = strtol(argv[4], NULL, 10);
	if (lt_spool_open(&s, &o, &err) != LT_OK)
		goto failed;
	start_ns = lt_wall_ns() - events * LT_NS_PER_S;
	for (long i = 0; i < events; i++) {
		lt_snapshot_begin(snap);
		for (long v = 0; v < values; v++) {
			char name[64];

			snprintf(name, sizeof(name), "node_filled_metric_%ld_total", v);
			lt_snapshot_value(snap, name, LT_KIND_COUNTER, (double)(i * v) + 0.25);
		}
		if (lt_snapshot_event(snap, &e, &err) != LT_OK)
			goto failed;
		e.time_ns = start_ns + i * LT_NS_PER_S;
		lt_buf_reset(&body);
		lt_encode_protobuf(&e, false, &body);
		lt_spool_append(s, body.data, body.len, e.shape->bytes, e.shape->size);
		if (i % 1000 == 999 && !lt_spool_sync(s, 60000))
			return 1;
	}
	lt_buf_fini(&body);
	lt_snapshot_free(snap);
	return lt_spool_close(s, 60000) != 0;
failed:
	fprintf(stderr, "spool_fill: %s\n", err.msg);
	return 1;
}
