/* SPDX-License-Identifier: MIT */
/*
 * Receiving: messages are handed out and given back, and what is done is committed.
 *
 * Each partition (bus_kafka_part.c) keeps its messages in order until they are done; what is
 * committed is the offset behind the contiguous done prefix.
 */
#include <stdlib.h>
#include <string.h>

#include "bus_kafka.h"

static const char *const header_type = LT_KAFKA_H_CONTENT_TYPE;

int kf_in_open(struct kf *k, struct lt_err *err)
{
	rd_kafka_topic_partition_list_t *topics;
	uint64_t one = 1;
	char text[256];
	rd_kafka_resp_err_t rc;

	k->in = rd_kafka_new(RD_KAFKA_CONSUMER, k->in_conf, text, sizeof(text));
	if (!k->in)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "bus.open",
			"librdkafka refuses the configuration of bus.kafka: %s", text);
	k->in_conf = NULL; /* belongs to the client now */
	k->cooperative = k->bus.conf->kafka.rebalance == LT_REBALANCE_COOPERATIVE;
	rd_kafka_poll_set_consumer(k->in);
	k->in_events = rd_kafka_queue_get_consumer(k->in);
	k->msgs = rd_kafka_queue_new(k->in);
	rd_kafka_queue_io_event_enable(k->in_events, k->waker.fd, &one, sizeof(one));
	rd_kafka_queue_io_event_enable(k->msgs, k->waker.fd, &one, sizeof(one));
	if (!k->durable)
		return LT_OK; /* kf_part_looked() goes on */
	topics = rd_kafka_topic_partition_list_new((int)k->n_logs);
	for (size_t i = 0; i < k->n_logs; i++)
		rd_kafka_topic_partition_list_add(topics, k->logs[i], RD_KAFKA_PARTITION_UA);
	rc = rd_kafka_subscribe(k->in, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "bus.open", "cannot subscribe: %s",
			rd_kafka_err2str(rc));
	return LT_OK;
}

/* ---- messages ---- */

struct scan {
	const void *named, *type;
	size_t named_len, type_len, n;
};

static void scan_headers(const rd_kafka_headers_t *h, struct scan *s)
{
	const char *name;
	const void *value;
	size_t size;

	while (s->n < KF_HEADERS_MAX && rd_kafka_header_get_all(h, s->n, &name, &value, &size) ==
						RD_KAFKA_RESP_ERR_NO_ERROR) {
		if (value && strcmp(name, LT_KAFKA_H_TOPIC) == 0) {
			s->named = value;
			s->named_len = size;
		} else if (value && strcmp(name, header_type) == 0 && size < 256) {
			s->type = value;
			s->type_len = size;
		}
		s->n++;
	}
}

static char *put_text(char **at, const void *text, size_t n)
{
	char *start = *at;

	if (n)
		memcpy(start, text, n);
	start[n] = '\0';
	*at += n + 1;
	return start;
}

/* Takes @m. The payload stays where librdkafka has it. */
static struct kf_in *make_in(struct kf *k, struct kf_part *p, rd_kafka_message_t *m,
	struct lt_buf *topic, int64_t now_ns)
{
	struct scan s = {0};
	rd_kafka_headers_t *h = NULL;
	rd_kafka_timestamp_type_t type;
	int64_t at_ms = rd_kafka_message_timestamp(m, &type);
	struct lt_bus_header *headers;
	struct kf_in *in;
	char *at;

	if (rd_kafka_message_headers(m, &h) == RD_KAFKA_RESP_ERR_NO_ERROR)
		scan_headers(h, &s);
	lt_buf_reset(topic);
	lt_kafka_topic_of(topic, k->bus.conf, p->id.log, m->key, m->key_len, s.named, s.named_len);
	in = lt_malloc(
		sizeof(*in) + s.n * sizeof(*headers) + topic->len + m->key_len + s.type_len + 3);
	memset(in, 0, sizeof(*in));
	headers = (struct lt_bus_header *)(in + 1);
	at = (char *)(headers + s.n);
	for (size_t i = 0; i < s.n; i++)
		rd_kafka_header_get_all(
			h, i, &headers[i].name, &headers[i].value, &headers[i].size);
	in->m = (struct lt_bus_msg){.topic = put_text(&at, topic->data, topic->len),
		.data = m->payload ? m->payload : "",
		.size = m->len,
		.partition = m->partition,
		.offset = m->offset,
		.log = p->id.log,
		.headers = s.n ? headers : NULL,
		.n_headers = s.n,
		.arrived_ns = now_ns,
		.since_ns = now_ns};
	/* When it was accepted, not when it is read again; but no clock of others runs ahead. */
	if (at_ms > 0 && at_ms * LT_NS_PER_MS < now_ns)
		in->m.arrived_ns = at_ms * LT_NS_PER_MS;
	if (type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME)
		in->m.since_ns = in->m.arrived_ns;
	if (m->key)
		in->m.key = put_text(&at, m->key, m->key_len);
	if (s.type)
		in->m.content_type = put_text(&at, s.type, s.type_len);
	in->rkm = m;
	in->part = p;
	in->cost_bytes = m->len + topic->len + m->key_len + KF_MSG_OVERHEAD;
	return in;
}

static void enlist(struct kf *k, struct kf_in *in)
{
	struct kf_part *p = in->part;

	if (p->in_tail)
		p->in_tail->next = in;
	else
		p->in_head = in;
	p->in_tail = in;
	p->taken = in->m.offset + 1;
	k->held_bytes += in->cost_bytes;
}

/* The done prefix of a partition moves on. */
static void settle(struct kf_part *p)
{
	while (p->in_head && p->in_head->done) {
		struct kf_in *in = p->in_head;

		p->in_head = in->next;
		if (!p->in_head)
			p->in_tail = NULL;
		p->stored = in->m.offset + 1;
		p->dirty = true;
		free(in);
	}
}

static bool wanted(const struct kf *k, const char *topic)
{
	for (size_t i = 0; i < k->n_filters; i++)
		if (lt_topic_match(k->filters[i], topic))
			return true;
	return false;
}

/* The next message that can be handed out, or NULL. */
static rd_kafka_message_t *next_message(struct kf *k)
{
	if (k->batch_at == k->batch_n) {
		ssize_t n =
			rd_kafka_consume_batch_queue(k->msgs, 0, k->batch, LT_ARRAY_LEN(k->batch));

		k->batch_at = 0;
		k->batch_n = n > 0 ? (size_t)n : 0;
	}
	return k->batch_at < k->batch_n ? k->batch[k->batch_at++] : NULL;
}

static void release(struct kf *k, struct kf_in *in)
{
	k->held_bytes -= in->cost_bytes;
	rd_kafka_message_destroy(in->rkm);
	in->rkm = NULL;
	in->done = true;
	if (in->part->in_head == in)
		settle(in->part);
}

size_t kf_in_poll(struct lt_bus *b, struct lt_bus_msg **out, size_t max)
{
	struct kf *k = kf_of(b);
	int64_t now_ns = lt_wall_ns();
	struct kf_part *p = NULL;
	struct lt_buf topic = {0};
	size_t n = 0;

	while (n < max && k->in && !k->stopped && !k->blocked) {
		rd_kafka_message_t *m;
		struct kf_in *in;

		if (k->held_bytes >= k->limit_bytes) {
			k->starved = true;
			break;
		}
		m = next_message(k);
		if (!m)
			break;
		if (m->err) {
			kf_note(k, m->err, rd_kafka_message_errstr(m));
			rd_kafka_message_destroy(m);
			continue;
		}
		if (!p || p->id.partition != m->partition ||
			strcmp(p->id.log, rd_kafka_topic_name(m->rkt)) != 0)
			p = kf_part_find(k, rd_kafka_topic_name(m->rkt), m->partition);
		if (!p || !p->reading) { /* not ours any more, or to be read from elsewhere */
			rd_kafka_message_destroy(m);
			continue;
		}
		if (kf_part_step(k, p, m->offset)) {
			k->batch_at--;
			k->blocked = true;
			break;
		}
		in = make_in(k, p, m, &topic, now_ns);
		enlist(k, in);
		if (wanted(k, in->m.topic))
			out[n++] = &in->m;
		else
			release(k, in);
	}
	lt_buf_fini(&topic);
	if (n == 0 && max > 0)
		k->want_readable = true;
	return n;
}

bool kf_in_pending(struct kf *k)
{
	if (!k->in || k->blocked || k->held_bytes >= k->limit_bytes)
		return false;
	return k->batch_at < k->batch_n || rd_kafka_queue_length(k->msgs) > 0;
}

void kf_in_done(struct lt_bus *b, struct lt_bus_msg *m)
{
	struct kf *k = kf_of(b);

	release(k, (struct kf_in *)m);
	if (k->starved && k->held_bytes < k->limit_bytes) {
		k->starved = false;
		kf_wake(k);
	}
}

/* ---- commits and lag ---- */

void kf_in_flush(struct kf *k)
{
	rd_kafka_topic_partition_list_t *list = NULL;

	for (struct kf_part *p = k->parts; p; p = p->next) {
		if (!p->dirty)
			continue;
		p->dirty = false;
		if (!p->ours || !k->durable)
			continue;
		if (!list)
			list = rd_kafka_topic_partition_list_new(16);
		rd_kafka_topic_partition_list_add(list, p->id.log, p->id.partition)->offset =
			p->stored;
	}
	if (!list)
		return;
	rd_kafka_offsets_store(k->in, list);
	rd_kafka_topic_partition_list_destroy(list);
}

void kf_in_lag(struct kf *k)
{
	int64_t sum = 0, most = 0;

	for (const struct kf_part *p = k->parts; p; p = p->next) {
		int64_t low, high, at = p->stored >= 0 ? p->stored : p->id.first, lag;

		if (!p->ours ||
			rd_kafka_get_watermark_offsets(k->in, p->id.log, p->id.partition, &low,
				&high) != RD_KAFKA_RESP_ERR_NO_ERROR ||
			high < 0)
			continue;
		if (at < 0)
			at = p->in_head ? p->in_head->m.offset : low;
		lag = high > at ? high - at : 0;
		sum += lag;
		if (lag > most)
			most = lag;
	}
	lt_gauge_set(&kf_stats.lag, sum);
	lt_gauge_set(&kf_stats.lag_max, most);
}

/* ---- events ---- */

static void handle(struct kf *k, rd_kafka_event_t *ev)
{
	switch (rd_kafka_event_type(ev)) {
	case RD_KAFKA_EVENT_REBALANCE:
		kf_part_rebalance(k, ev);
		break;
	case RD_KAFKA_EVENT_ERROR:
		kf_note(k, rd_kafka_event_error(ev), rd_kafka_event_error_string(ev));
		break;
	default: /* offset commits: for lag tools only */
		break;
	}
	rd_kafka_event_destroy(ev);
}

void kf_in_serve(struct kf *k)
{
	for (int i = 0; i < KF_SERVE_MAX; i++) {
		rd_kafka_event_t *ev = rd_kafka_queue_poll(k->in_events, 0);

		if (!ev)
			return;
		handle(k, ev);
	}
	kf_wake(k);
}

/*
 * Leaves the group, which commits: what was done regularly is not done again. A broker that was there
 * a moment ago gets the time that a busy one needs. Return: false: librdkafka still waits for it.
 */
static bool leave(struct kf *k)
{
	int64_t end_ns = lt_mono_ns() + (k->connected && k->joined ? 10000 : 1500) * LT_NS_PER_MS;
	rd_kafka_error_t *error;

	kf_in_flush(k);
	error = rd_kafka_consumer_close_queue(k->in, k->in_events);
	if (error) {
		kf_part_complain("close", error);
		return true;
	}
	while (!rd_kafka_consumer_closed(k->in) && lt_mono_ns() < end_ns) {
		rd_kafka_event_t *ev = rd_kafka_queue_poll(k->in_events, 50);

		if (ev)
			handle(k, ev);
	}
	return rd_kafka_consumer_closed(k->in);
}

void kf_in_fini(struct kf *k)
{
	bool left;

	if (!k->in)
		return;
	k->bus.handler.assigned = NULL;
	left = leave(k);
	kf_part_forget(k, NULL);
	while (k->parts) {
		struct kf_part *p = k->parts;

		while (p->in_head) {
			struct kf_in *in = p->in_head;

			p->in_head = in->next;
			if (in->rkm)
				rd_kafka_message_destroy(in->rkm);
			free(in);
		}
		k->parts = p->next;
		free(p);
	}
	rd_kafka_queue_io_event_enable(k->in_events, -1, NULL, 0);
	rd_kafka_queue_io_event_enable(k->msgs, -1, NULL, 0);
	rd_kafka_queue_destroy(k->msgs);
	rd_kafka_queue_destroy(k->in_events);
	/*
	 * librdkafka 2.0 ends the process by an assertion when a consumer with the cooperative
	 * assignor is destroyed before its first assignment; and destroying one that could not
	 * leave its group waits for Kafka as long as a session lasts. Both are left alone: they
	 * hold nothing of ours.
	 */
	if (left && (k->joined || !k->cooperative || !k->durable))
		rd_kafka_destroy_flags(k->in, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	k->in = NULL;
	lt_gauge_set(&kf_stats.partitions, 0);
}
