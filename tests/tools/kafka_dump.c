/* SPDX-License-Identifier: MIT */
/*
 * kafka_dump CONFIG TOPIC: what a Kafka topic holds, one JSON line a message:
 *
 *	{"partition":0,"offset":17,"key":"n1","time_ns":...,"headers":{"mqtt-topic":"..."},"body":"<base64>"}
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../support/tool.h"
#include "latido/conf.h"
#include "latido/kafka_topics.h"
#include "latido/mem.h"

static bool print(void *arg, const struct lt_bus_msg *m)
{
	struct lt_buf *b = arg;

	lt_buf_reset(b);
	lt_buf_printf(b,
		"{\"partition\":%d,\"offset\":%" PRId64 ",\"time_ns\":%" PRId64 ",\"key\":",
		m->partition, m->offset, m->arrived_ns);
	if (m->key)
		lt_buf_json_str(b, m->key, strlen(m->key));
	else
		lt_buf_str(b, "null");
	lt_buf_str(b, ",\"headers\":{");
	for (size_t i = 0; i < m->n_headers; i++) {
		if (i)
			lt_buf_char(b, ',');
		lt_buf_json_str(b, m->headers[i].name, strlen(m->headers[i].name));
		lt_buf_char(b, ':');
		lt_buf_json_str(b, m->headers[i].value, m->headers[i].size);
	}
	lt_buf_str(b, "},\"body\":\"");
	lt_buf_base64(b, m->data, m->size);
	lt_buf_str(b, "\"}");
	return puts(b->data) >= 0;
}

int main(int argc, char **argv)
{
	struct lt_buf text = {0};
	const struct lt_config *root;
	struct lt_err err = {0};
	struct lt_conf *conf;
	int rc;

	if (argc != 3) {
		fprintf(stderr, "usage: kafka_dump CONFIG TOPIC\n");
		return 2;
	}
	conf = tool_conf(argv[1]);
	root = lt_conf_root(conf);
	rc = lt_kafka_scan(&root->bus, argv[2], print, &text, &err);
	if (rc < 0)
		fprintf(stderr, "kafka_dump: %s\n", err.msg);
	lt_buf_fini(&text);
	lt_conf_free(conf);
	return rc < 0;
}
