/* SPDX-License-Identifier: MIT */
/*
 * Receiving: partitions come and go, messages are handed out and given back.
 *
 * Each partition keeps its messages in order until they are done; what is committed is the offset
 * behind the contiguous done prefix. A user who keeps positions itself (handler.assigned) decides
 * where reading starts; until it has answered, a partition belongs to us and is not read, so a slow
 * answer holds up nobody else in the group.
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
		return LT_OK; /* kf_in_looked() goes on */
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

/* ---- partitions ---- */

static struct kf_part *find_part(struct kf *k, const char *log, int32_t partition)
{
	for (struct kf_part *p = k->parts; p; p = p->next)
		if (p->ours && p->id.partition == partition && strcmp(p->id.log, log) == 0)
			return p;
	return NULL;
}

static struct kf_part *new_part(struct kf *k, const char *log, int32_t partition)
{
	struct kf_part *p = lt_calloc(1, sizeof(*p));
	rd_kafka_queue_t *q = rd_kafka_queue_get_partition(k->in, log, partition);

	p->id = (struct lt_bus_span){.log = kf_intern(k, log),
		.partition = partition,
		.first = RD_KAFKA_OFFSET_INVALID,
		.next = RD_KAFKA_OFFSET_INVALID};
	p->stored = p->taken = p->cleared = -1;
	p->ours = true;
	p->next = k->parts;
	k->parts = p;
	if (q) {
		/* Messages do not mix with the events, which are always taken. */
		rd_kafka_queue_forward(q, k->msgs);
		rd_kafka_queue_destroy(q);
	}
	return p;
}

static void drop_unused(struct kf *k)
{
	int64_t ours = 0;

	for (struct kf_part **at = &k->parts; *at;) {
		struct kf_part *p = *at;

		ours += p->ours;
		if (p->ours || p->in_head) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		free(p);
	}
	lt_gauge_set(&kf_stats.partitions, ours);
}

/* Messages that were taken from librdkafka and not handed out yet. */
static void forget_batch(struct kf *k, const struct kf_part *p)
{
	size_t n = k->batch_at;

	for (size_t i = k->batch_at; i < k->batch_n; i++) {
		rd_kafka_message_t *m = k->batch[i];

		if (p && (m->partition != p->id.partition || !m->rkt ||
				 strcmp(rd_kafka_topic_name(m->rkt), p->id.log) != 0))
			k->batch[n++] = m;
		else
			rd_kafka_message_destroy(m);
	}
	k->batch_n = n;
}

/* ---- assignment ---- */

/* What librdkafka answers may be worth a line; a group that moved on meanwhile is not. */
static void complain(const char *what, rd_kafka_error_t *error)
{
	if (!error)
		return;
	lt_log(LT_DEBUG, "kafka_assignment", LT_S("op", what),
		LT_S("err", rd_kafka_error_string(error)));
	rd_kafka_error_destroy(error);
}

static int64_t resume_at(const struct kf_part *p)
{
	return p->taken >= 0 ? p->taken : p->id.first;
}

/* Start to read @fresh (in the eager protocol: everything, the others from where they are). */
static void start_reading(struct kf *k, const rd_kafka_topic_partition_list_t *fresh)
{
	rd_kafka_topic_partition_list_t *all;

	if (k->cooperative && k->durable) {
		complain("incremental_assign", rd_kafka_incremental_assign(k->in, fresh));
		return;
	}
	all = rd_kafka_topic_partition_list_new(16);
	for (struct kf_part *p = k->parts; p; p = p->next)
		if (p->ours && p->reading)
			rd_kafka_topic_partition_list_add(all, p->id.log, p->id.partition)->offset =
				resume_at(p);
	forget_batch(k, NULL);
	if (rd_kafka_assign(k->in, all) != RD_KAFKA_RESP_ERR_NO_ERROR)
		lt_log(LT_DEBUG, "kafka_assignment", LT_S("op", "assign"));
	rd_kafka_topic_partition_list_destroy(all);
}

static void read_part(struct kf_part *p, int64_t from, rd_kafka_topic_partition_list_t *fresh)
{
	p->id.first = from;
	p->reading = true;
	rd_kafka_topic_partition_list_add(fresh, p->id.log, p->id.partition)->offset = from;
}

static void on_assign(struct kf *k, const rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_topic_partition_list_t *fresh = rd_kafka_topic_partition_list_new(list->cnt);
	struct lt_bus_span *spans = lt_calloc((size_t)list->cnt + 1, sizeof(*spans));
	bool ask = k->bus.handler.assigned && k->durable;

	for (int i = 0; i < list->cnt; i++) {
		struct kf_part *p = new_part(k, list->elems[i].topic, list->elems[i].partition);

		spans[i] = p->id;
		if (!ask)
			read_part(p, RD_KAFKA_OFFSET_INVALID, fresh);
	}
	lt_counter_add(&kf_stats.assigned, (uint64_t)list->cnt);
	k->joined = true;
	lt_log(LT_INFO, "partitions_assigned", LT_I("n", list->cnt));
	/* With nothing in @fresh this tells the group that we are ready. */
	start_reading(k, fresh);
	rd_kafka_topic_partition_list_destroy(fresh);
	if (ask && list->cnt)
		k->bus.handler.assigned(k->bus.handler.arg, spans, (size_t)list->cnt);
	free(spans);
	drop_unused(k);
}

static void on_revoke(struct kf *k, const rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_topic_partition_list_t *gone = rd_kafka_topic_partition_list_new(list->cnt);

	kf_in_flush(k);
	for (int i = 0; i < list->cnt; i++) {
		struct kf_part *p = find_part(k, list->elems[i].topic, list->elems[i].partition);

		if (!p)
			continue;
		p->ours = false;
		forget_batch(k, p);
		if (p->reading)
			rd_kafka_topic_partition_list_add(gone, p->id.log, p->id.partition);
	}
	if (k->cooperative)
		complain("incremental_unassign", rd_kafka_incremental_unassign(k->in, gone));
	else
		rd_kafka_assign(k->in, NULL);
	rd_kafka_topic_partition_list_destroy(gone);
	lt_counter_add(&kf_stats.revoked, (uint64_t)list->cnt);
	lt_log(LT_INFO, "partitions_revoked", LT_I("n", list->cnt));
	drop_unused(k);
}

static void on_rebalance(struct kf *k, rd_kafka_event_t *ev)
{
	const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(ev);

	switch (rd_kafka_event_error(ev)) {
	case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS:
		on_assign(k, list);
		break;
	case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
		on_revoke(k, list);
		break;
	default:
		kf_note(k, rd_kafka_event_error(ev), rd_kafka_event_error_string(ev));
		rd_kafka_assign(k->in, NULL);
	}
}

void kf_in_seek(struct lt_bus *b, const struct lt_bus_span *parts, size_t n)
{
	struct kf *k = kf_of(b);
	rd_kafka_topic_partition_list_t *fresh = rd_kafka_topic_partition_list_new((int)n + 1);

	for (size_t i = 0; i < n; i++) {
		struct kf_part *p = find_part(k, parts[i].log, parts[i].partition);

		if (p && !p->reading)
			read_part(p,
				parts[i].first >= 0 ? parts[i].first : RD_KAFKA_OFFSET_BEGINNING,
				fresh);
	}
	if (fresh->cnt)
		start_reading(k, fresh);
	rd_kafka_topic_partition_list_destroy(fresh);
}

/* As if they were revoked and assigned again, and the group knows nothing of it. */
void kf_in_unread(struct lt_bus *b, const struct lt_bus_span *parts, size_t n)
{
	struct kf *k = kf_of(b);
	rd_kafka_topic_partition_list_t *none, *gone;

	gone = rd_kafka_topic_partition_list_new((int)n + 1);
	for (size_t i = 0; i < n; i++) {
		struct kf_part *p = find_part(k, parts[i].log, parts[i].partition);

		if (!p || !p->reading)
			continue;
		p->ours = false;
		forget_batch(k, p);
		rd_kafka_topic_partition_list_add(gone, p->id.log, p->id.partition);
	}
	if (k->cooperative && gone->cnt) {
		complain("incremental_unassign", rd_kafka_incremental_unassign(k->in, gone));
	} else if (gone->cnt) {
		none = rd_kafka_topic_partition_list_new(0);
		start_reading(k, none);
		rd_kafka_topic_partition_list_destroy(none);
	}
	for (int i = 0; i < gone->cnt; i++)
		new_part(k, gone->elems[i].topic, gone->elems[i].partition);
	rd_kafka_topic_partition_list_destroy(gone);
	drop_unused(k);
}

/* ---- without a group: all partitions, from their ends ---- */

void kf_in_looked(struct kf *k)
{
	struct kf_probe *pr = &k->probe;

	if (!k->in || k->durable)
		return;
	for (size_t i = 0; i < pr->n_logs; i++) {
		for (int32_t n = 0; n < pr->n_parts[i]; n++) {
			struct kf_part *p;

			if (find_part(k, pr->logs[i], n))
				continue;
			p = new_part(k, pr->logs[i], n);
			p->asking = true;
			kf_probe_limits(&k->probe, &p->id);
		}
	}
	drop_unused(k);
}

static void start_without_group(struct kf *k, struct kf_part *p, const struct kf_limits *l)
{
	rd_kafka_topic_partition_list_t *none;

	/* Partitions that appear later are new altogether. */
	p->id.first = k->started ? l->id.first : l->since >= 0 ? l->since : l->id.next;
	p->reading = true;
	for (const struct kf_part *other = k->parts; other; other = other->next)
		if (other->asking)
			return;
	none = rd_kafka_topic_partition_list_new(0);
	start_reading(k, none);
	rd_kafka_topic_partition_list_destroy(none);
	k->started = true;
}

/* ---- positions that the log does not have ---- */

/*
 * librdkafka goes to the oldest offset by itself when a position is out of range. That shows as a
 * step in the offsets; whether the step is a hole (which Kafka may have) or a loss, the log's start
 * tells. Nothing is handed out until that is known, so a loss is told before what comes after it.
 */
static bool step_is_open(struct kf *k, struct kf_part *p, int64_t offset)
{
	if (resume_at(p) < 0 || offset == resume_at(p) || offset == p->cleared ||
		p->id.log != k->logs[k->main_log])
		return false;
	p->step = offset;
	if (!p->asking) {
		p->asking = true;
		kf_probe_limits(&k->probe, &p->id);
	}
	return true;
}

static void resolve_step(struct kf *k, struct kf_part *p, const struct kf_limits *l)
{
	struct lt_bus_span gap = p->id;

	p->cleared = p->step;
	gap.first = resume_at(p);
	gap.next = l->id.first < p->step ? l->id.first : p->step;
	if (p->step > gap.first && gap.next <= gap.first)
		return; /* a hole: compaction, transactions */
	lt_counter_add(&kf_stats.lost_spans, 1);
	if (gap.next > gap.first)
		lt_counter_add(&kf_stats.lost_offsets, (uint64_t)(gap.next - gap.first));
	else
		gap.next = p->step;
	lt_log(LT_ERROR, "kafka_gap", LT_S("topic", gap.log), LT_I("partition", gap.partition),
		LT_I("position", gap.first), LT_I("continues", gap.next), LT_I("end", l->id.next),
		LT_S("err",
			gap.next > gap.first
				? "messages were deleted before they were read; longer retention "
				  "or more consumers are needed"
				: "the topic has fewer messages than were read from it: it was "
				  "made anew or its broker lost data"));
	if (k->bus.handler.lost)
		k->bus.handler.lost(k->bus.handler.arg, &gap);
}

void kf_in_limits(struct kf *k, const struct kf_limits *l)
{
	struct kf_part *p = find_part(k, l->id.log, l->id.partition);

	k->blocked = false;
	if (!p || !p->asking)
		return;
	if (l->rc != RD_KAFKA_RESP_ERR_NO_ERROR) {
		k->blocked = p->reading;
		kf_probe_limits(&k->probe, &p->id); /* it takes its time to fail */
		return;
	}
	p->asking = false;
	if (!k->durable && !p->reading)
		start_without_group(k, p, l);
	else
		resolve_step(k, p, l);
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
			p = find_part(k, rd_kafka_topic_name(m->rkt), m->partition);
		if (!p) { /* not ours any more */
			rd_kafka_message_destroy(m);
			continue;
		}
		if (step_is_open(k, p, m->offset)) {
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
		on_rebalance(k, ev);
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
		complain("close", error);
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
	forget_batch(k, NULL);
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
