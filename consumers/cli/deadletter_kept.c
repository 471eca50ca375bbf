/* SPDX-License-Identifier: MIT */
#include "deadletter_kept.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "latido/inbox.h"
#include "latido/letter.h"
#include "latido/spool.h"

#define HEADERS_MAX 12

struct kept {
	lt_kafka_scan_fn fn;
	void *arg;
	struct lt_arena arena;
	struct lt_bus_header headers[HEADERS_MAX];
	size_t n;
};

static void add(struct kept *k, const char *name, const char *value)
{
	if (value)
		k->headers[k->n++] = (struct lt_bus_header){name, value, strlen(value)};
}

static bool one(void *arg, uint64_t seq, int64_t time_ns, const void *record, size_t record_size)
{
	struct kept *k = arg;
	struct lt_bus_msg m = {.topic = "", .partition = 0, .offset = (int64_t)seq};
	char partition[16], offset[24];
	const char *topic, *type;
	struct lt_letter l;
	const void *text;
	size_t size;

	lt_arena_reset(&k->arena);
	if (!lt_inbox_record(record, record_size, &topic, &type, &text, &size))
		return true;
	if (lt_letter_parse(&l, text, size, &k->arena, NULL) < 0) {
		/* Somebody else's: shown as it is. */
		l = (struct lt_letter){.body = text, .body_size = size, .partition = -1};
	}
	k->n = 0;
	add(k, "__connect.errors.topic", l.topic);
	if (l.partition >= 0) {
		snprintf(partition, sizeof(partition), "%d", l.partition);
		snprintf(offset, sizeof(offset), "%lld", (long long)l.offset);
		add(k, "__connect.errors.partition", partition);
		add(k, "__connect.errors.offset", offset);
	}
	add(k, "__connect.errors.connector.name", l.consumer);
	add(k, "__connect.errors.exception.message", l.error);
	add(k, "latido.reason", l.reason);
	add(k, "latido.topic", l.topic);
	add(k, "content-type", l.content_type);
	add(k, "latido.truncated", l.truncated ? "1" : NULL);
	m.key = l.key;
	m.data = l.body;
	m.size = l.body_size;
	m.arrived_ns = l.time_ns ? l.time_ns : time_ns;
	m.headers = k->headers;
	m.n_headers = k->n;
	return k->fn(k->arg, &m);
}

int cli_kept_scan(const char *dir, lt_kafka_scan_fn fn, void *arg, struct lt_err *err)
{
	struct kept k = {.fn = fn, .arg = arg};
	int rc = lt_spool_scan(dir, one, &k, err);

	lt_arena_fini(&k.arena);
	return rc;
}
