/* SPDX-License-Identifier: MIT */
/* Reads a topic from its oldest message to where it ends now; for the command line. */
#include <stdlib.h>
#include <string.h>

#include "bus_kafka.h"
#include "latido/kafka_topics.h"

#define SCAN_MS 10000

struct scanner {
	struct kf k; /* as far as kf_conf_make() needs it */
	rd_kafka_t *rk;
	rd_kafka_topic_partition_list_t *parts; /* offset: where it ends */
	int open;                               /* partitions that have not ended */
};

/* Where each partition begins and ends; partitions without a message are left out. */
static int find_ends(struct scanner *s, const char *log, struct lt_err *err)
{
	rd_kafka_topic_t *t = rd_kafka_topic_new(s->rk, log, NULL);
	const struct rd_kafka_metadata *md = NULL;
	rd_kafka_resp_err_t rc = rd_kafka_metadata(s->rk, 0, t, &md, SCAN_MS);

	rd_kafka_topic_destroy(t);
	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR)
		rc = md->topics[0].err;
	for (int i = 0; rc == RD_KAFKA_RESP_ERR_NO_ERROR && i < md->topics[0].partition_cnt; i++) {
		int64_t low, high;

		rc = rd_kafka_query_watermark_offsets(s->rk, log, i, &low, &high, SCAN_MS);
		if (rc == RD_KAFKA_RESP_ERR_NO_ERROR && high > low)
			rd_kafka_topic_partition_list_add(s->parts, log, i)->offset = high;
	}
	if (md)
		rd_kafka_metadata_destroy(md);
	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR)
		return LT_OK;
	return kf_error(err, rc == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? KF_UNKNOWN_TOPIC : rc,
		"kafka.scan", log, rd_kafka_err2str(rc));
}

static void start(struct scanner *s)
{
	rd_kafka_topic_partition_list_t *from = rd_kafka_topic_partition_list_copy(s->parts);

	for (int i = 0; i < from->cnt; i++)
		from->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
	s->open = from->cnt;
	rd_kafka_assign(s->rk, from);
	rd_kafka_topic_partition_list_destroy(from);
}

/* @partition was read up to @offset. */
static void reached(struct scanner *s, const char *log, int32_t partition, int64_t offset)
{
	rd_kafka_topic_partition_t *p =
		rd_kafka_topic_partition_list_find(s->parts, log, partition);

	if (p && p->offset >= 0 && offset >= p->offset) {
		p->offset = -1;
		s->open--;
	}
}

static bool hand_out(struct scanner *s, const rd_kafka_message_t *m, const char *log,
	lt_kafka_scan_fn fn, void *arg)
{
	struct lt_bus_header headers[KF_HEADERS_MAX];
	struct lt_bus_msg out = {.topic = log,
		.log = log,
		.data = m->payload ? m->payload : "",
		.size = m->len,
		.partition = m->partition,
		.offset = m->offset,
		.headers = headers};
	rd_kafka_timestamp_type_t type;
	rd_kafka_headers_t *h;
	char *key = m->key ? lt_malloc(m->key_len + 1) : NULL;
	bool go_on;

	(void)s;
	if (key) {
		memcpy(key, m->key, m->key_len);
		key[m->key_len] = '\0';
	}
	out.key = key;
	out.arrived_ns = rd_kafka_message_timestamp(m, &type) * LT_NS_PER_MS;
	if (rd_kafka_message_headers(m, &h) == RD_KAFKA_RESP_ERR_NO_ERROR)
		while (out.n_headers < KF_HEADERS_MAX &&
			rd_kafka_header_get_all(h, out.n_headers, &headers[out.n_headers].name,
				&headers[out.n_headers].value,
				&headers[out.n_headers].size) == RD_KAFKA_RESP_ERR_NO_ERROR)
			out.n_headers++;
	go_on = fn(arg, &out);
	free(key);
	return go_on;
}

static int read_all(
	struct scanner *s, const char *log, lt_kafka_scan_fn fn, void *arg, struct lt_err *err)
{
	int64_t silent_ns = lt_mono_ns();
	bool go_on = true;

	while (s->open && go_on) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(s->rk, 200);

		if (!m || (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)) {
			if (m)
				rd_kafka_message_destroy(m);
			if (lt_mono_ns() - silent_ns > SCAN_MS * LT_NS_PER_MS)
				return lt_fail(err, LT_ETIMEOUT, LT_CLS_RETRY, "kafka.scan",
					"Kafka stopped to answer while '%.200s' was read", log);
			continue;
		}
		silent_ns = lt_mono_ns();
		if (!m->err)
			go_on = hand_out(s, m, log, fn, arg);
		/* Behind the last message there may be holes: the end of the partition tells. */
		reached(s, log, m->partition, m->err ? INT64_MAX : m->offset + 1);
		rd_kafka_message_destroy(m);
	}
	return LT_OK;
}

int lt_kafka_scan(const struct lt_bus_conf *conf, const char *log, lt_kafka_scan_fn fn, void *arg,
	struct lt_err *err)
{
	struct scanner s = {.k = {.bus = {.conf = conf}, .comp = (char *)"scan"}};
	rd_kafka_conf_t *rk_conf;
	char text[256];
	int rc;

	s.k.group = (char *)"latido-scan"; /* a name is needed; nothing is joined or committed */
	rk_conf = kf_conf_make(&s.k, true, err);
	if (!rk_conf)
		return LT_ECONF;
	rd_kafka_conf_set(rk_conf, "enable.partition.eof", "true", NULL, 0);
	s.rk = rd_kafka_new(RD_KAFKA_CONSUMER, rk_conf, text, sizeof(text));
	if (!s.rk) {
		rd_kafka_conf_destroy(rk_conf);
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "kafka.scan",
			"librdkafka refuses the configuration of bus.kafka: %s", text);
	}
	rd_kafka_poll_set_consumer(s.rk);
	s.parts = rd_kafka_topic_partition_list_new(4);
	rc = find_ends(&s, log, err);
	if (rc == LT_OK) {
		start(&s);
		rc = read_all(&s, log, fn, arg, err);
	}
	rd_kafka_topic_partition_list_destroy(s.parts);
	rd_kafka_destroy_flags(s.rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	return rc;
}
