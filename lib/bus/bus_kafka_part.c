/* SPDX-License-Identifier: MIT */
/*
 * The partitions of a consumer: they come and go, reading begins somewhere, positions may be lost.
 *
 * A user who keeps positions itself (handler.assigned) decides where reading starts; until it has
 * answered, a partition belongs to us and is not read, so a slow answer holds up nobody else in the
 * group.
 */
#include <stdlib.h>
#include <string.h>

#include "bus_kafka.h"

struct kf_part *kf_part_find(struct kf *k, const char *log, int32_t partition)
{
	for (struct kf_part *p = k->parts; p; p = p->next)
		if (p->ours && p->id.partition == partition && strcmp(p->id.log, log) == 0)
			return p;
	return NULL;
}

/* Messages do not mix with the events, which are always taken. */
static void forward(struct kf *k, const char *log, int32_t partition)
{
	rd_kafka_queue_t *q = rd_kafka_queue_get_partition(k->in, log, partition);

	if (!q)
		return;
	rd_kafka_queue_forward(q, k->msgs);
	rd_kafka_queue_destroy(q);
}

void kf_part_forward(struct kf *k)
{
	for (const struct kf_part *p = k->parts; p; p = p->next)
		if (p->ours && p->reading)
			forward(k, p->id.log, p->id.partition);
}

static struct kf_part *new_part(struct kf *k, const char *log, int32_t partition)
{
	struct kf_part *p = lt_calloc(1, sizeof(*p));

	p->id = (struct lt_bus_span){.log = kf_intern(k, log),
		.partition = partition,
		.first = RD_KAFKA_OFFSET_INVALID,
		.next = RD_KAFKA_OFFSET_INVALID};
	p->stored = p->taken = p->cleared = -1;
	p->ours = true;
	p->next = k->parts;
	k->parts = p;
	forward(k, log, partition);
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

void kf_part_forget(struct kf *k, const struct kf_part *p)
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

void kf_part_complain(const char *what, rd_kafka_error_t *error)
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

	lt_timer_start_ns(&k->tick, KF_FORWARD_NS);
	if (k->cooperative && k->durable) {
		kf_part_complain("incremental_assign", rd_kafka_incremental_assign(k->in, fresh));
		return;
	}
	all = rd_kafka_topic_partition_list_new(16);
	for (struct kf_part *p = k->parts; p; p = p->next)
		if (p->ours && p->reading)
			rd_kafka_topic_partition_list_add(all, p->id.log, p->id.partition)->offset =
				resume_at(p);
	kf_part_forget(k, NULL);
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
		struct kf_part *p = kf_part_find(k, list->elems[i].topic, list->elems[i].partition);

		if (!p)
			continue;
		p->ours = false;
		kf_part_forget(k, p);
		if (p->reading)
			rd_kafka_topic_partition_list_add(gone, p->id.log, p->id.partition);
	}
	if (k->cooperative)
		kf_part_complain(
			"incremental_unassign", rd_kafka_incremental_unassign(k->in, gone));
	else
		rd_kafka_assign(k->in, NULL);
	rd_kafka_topic_partition_list_destroy(gone);
	lt_counter_add(&kf_stats.revoked, (uint64_t)list->cnt);
	lt_log(LT_INFO, "partitions_revoked", LT_I("n", list->cnt));
	drop_unused(k);
}

void kf_part_rebalance(struct kf *k, rd_kafka_event_t *ev)
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

void kf_part_seek(struct lt_bus *b, const struct lt_bus_span *parts, size_t n)
{
	struct kf *k = kf_of(b);
	rd_kafka_topic_partition_list_t *fresh = rd_kafka_topic_partition_list_new((int)n + 1);

	for (size_t i = 0; i < n; i++) {
		struct kf_part *p = kf_part_find(k, parts[i].log, parts[i].partition);

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
void kf_part_unread(struct lt_bus *b, const struct lt_bus_span *parts, size_t n)
{
	struct kf *k = kf_of(b);
	rd_kafka_topic_partition_list_t *none, *gone;

	gone = rd_kafka_topic_partition_list_new((int)n + 1);
	for (size_t i = 0; i < n; i++) {
		struct kf_part *p = kf_part_find(k, parts[i].log, parts[i].partition);

		if (!p || !p->reading)
			continue;
		p->ours = false;
		kf_part_forget(k, p);
		rd_kafka_topic_partition_list_add(gone, p->id.log, p->id.partition);
	}
	if (k->cooperative && gone->cnt) {
		kf_part_complain(
			"incremental_unassign", rd_kafka_incremental_unassign(k->in, gone));
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

void kf_part_looked(struct kf *k)
{
	struct kf_probe *pr = &k->probe;

	if (!k->in || k->durable)
		return;
	for (size_t i = 0; i < pr->n_logs; i++) {
		for (int32_t n = 0; n < pr->n_parts[i]; n++) {
			struct kf_part *p;

			if (kf_part_find(k, pr->logs[i], n))
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
bool kf_part_step(struct kf *k, struct kf_part *p, int64_t offset)
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

void kf_part_limits(struct kf *k, const struct kf_limits *l)
{
	struct kf_part *p = kf_part_find(k, l->id.log, l->id.partition);

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
