/* SPDX-License-Identifier: MIT */
/* What retention does, at once: kafka_delete BROKERS TOPIC PARTITION OFFSET deletes all below. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	rd_kafka_topic_partition_list_t *list;
	const rd_kafka_topic_partition_list_t *got;
	rd_kafka_DeleteRecords_t *del;
	rd_kafka_queue_t *queue;
	rd_kafka_event_t *ev;
	rd_kafka_conf_t *conf;
	rd_kafka_t *rk;
	char text[256] = "";
	int code = 1;

	if (argc != 5) {
		fprintf(stderr, "usage: kafka_delete BROKERS TOPIC PARTITION OFFSET\n");
		return 2;
	}
	conf = rd_kafka_conf_new();
	rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], text, sizeof(text));
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	if (!rk) {
		fprintf(stderr, "kafka_delete: %s\n", text);
		return 1;
	}
	queue = rd_kafka_queue_new(rk);
	list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, argv[2], atoi(argv[3]))->offset = atoll(argv[4]);
	del = rd_kafka_DeleteRecords_new(list);
	rd_kafka_DeleteRecords(rk, &del, 1, NULL, queue);
	ev = rd_kafka_queue_poll(queue, 30000);
	if (!ev || rd_kafka_event_error(ev)) {
		fprintf(stderr, "kafka_delete: %s\n",
			ev ? rd_kafka_event_error_string(ev) : "no answer");
	} else {
		got = rd_kafka_DeleteRecords_result_offsets(
			rd_kafka_event_DeleteRecords_result(ev));
		if (got->elems[0].err)
			fprintf(stderr, "kafka_delete: %s\n", rd_kafka_err2str(got->elems[0].err));
		else
			code = 0;
	}
	rd_kafka_event_destroy(ev);
	rd_kafka_DeleteRecords_destroy(del);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(rk);
	return code;
}
