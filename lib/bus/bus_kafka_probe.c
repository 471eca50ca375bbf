/* SPDX-License-Identifier: MIT */
/* The questions to the brokers that librdkafka only answers blocking. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bus_kafka.h"

/* Under the lock, which is released while librdkafka waits. */
static void look(struct kf_probe *p)
{
	rd_kafka_t *rk = p->rk;
	const struct rd_kafka_metadata *md = NULL;
	int32_t n_parts[LT_ARRAY_LEN(p->n_parts)] = {0};
	const char *bad_log = NULL;
	int rc = RD_KAFKA_RESP_ERR_NO_ERROR;

	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < p->n_logs && rc == 0; i++) {
		rd_kafka_topic_t *t = rd_kafka_topic_new(rk, p->logs[i], NULL);

		if (!t) {
			rc = rd_kafka_last_error();
			break;
		}
		rc = rd_kafka_metadata(rk, 0, t, &md, KF_ASK_MS);
		rd_kafka_topic_destroy(t);
		if (rc == 0) {
			rc = md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR__FAIL;
			n_parts[i] = md->topic_cnt == 1 ? md->topics[0].partition_cnt : 0;
			if (rc == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
				rc = KF_UNKNOWN_TOPIC;
			else if (rc == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
				rc = 0; /* of some partition: the others work */
			if (rc)
				bad_log = p->logs[i];
			rd_kafka_metadata_destroy(md);
		}
	}
	pthread_mutex_lock(&p->lock);
	memcpy(p->n_parts, n_parts, sizeof(n_parts));
	p->bad_log = bad_log;
	p->rc = rc;
	p->looked = true;
}

/* Return: the first offset of that time or later, the end when there is none; -1: no answer. */
static int64_t offset_at(rd_kafka_t *rk, const struct lt_bus_span *id, int64_t at_ms)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	int64_t offset = -1;

	rd_kafka_topic_partition_list_add(list, id->log, id->partition)->offset = at_ms;
	if (rd_kafka_offsets_for_times(rk, list, KF_ASK_MS) == RD_KAFKA_RESP_ERR_NO_ERROR &&
		list->elems[0].err == RD_KAFKA_RESP_ERR_NO_ERROR)
		offset = list->elems[0].offset >= 0 ? list->elems[0].offset : id->next;
	rd_kafka_topic_partition_list_destroy(list);
	return offset;
}

static void ask_limits(struct kf_probe *p)
{
	struct kf_limits *l = p->asked;
	rd_kafka_t *rk = p->rk;
	int64_t since_ms = p->kf->since_ms;

	p->asked = l->next;
	pthread_mutex_unlock(&p->lock);
	l->rc = rd_kafka_query_watermark_offsets(
		rk, l->id.log, l->id.partition, &l->id.first, &l->id.next, KF_ASK_MS);
	l->since = -1;
	if (l->rc == RD_KAFKA_RESP_ERR_NO_ERROR && since_ms > 0)
		l->since = offset_at(rk, &l->id, since_ms);
	pthread_mutex_lock(&p->lock);
	l->next = p->known;
	p->known = l;
}

static void *probe_main(void *arg)
{
	struct kf_probe *p = arg;

	pthread_setname_np(pthread_self(), "kafka-probe");
	pthread_mutex_lock(&p->lock);
	while (!p->quit) {
		if (p->rk && p->look) {
			p->look = false;
			p->running = true;
			look(p);
		} else if (p->rk && p->asked) {
			p->running = true;
			ask_limits(p);
		} else {
			pthread_cond_wait(&p->cond, &p->lock);
			continue;
		}
		p->running = false;
		pthread_cond_broadcast(&p->cond);
		lt_waker_wake(&p->kf->waker);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int kf_probe_start(struct kf_probe *p, struct kf *k, struct lt_err *err)
{
	sigset_t all, old;
	int rc;

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->cond, NULL);
	p->kf = k;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&p->thread, NULL, probe_main, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		p->kf = NULL;
		pthread_mutex_destroy(&p->lock);
		pthread_cond_destroy(&p->cond);
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "bus.open", "cannot start a thread: %s",
			strerror(rc));
	}
	return LT_OK;
}

void kf_probe_look(struct kf_probe *p)
{
	pthread_mutex_lock(&p->lock);
	p->look = true;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
}

void kf_probe_limits(struct kf_probe *p, const struct lt_bus_span *part)
{
	struct kf_limits *l = lt_calloc(1, sizeof(*l));

	l->id = *part;
	pthread_mutex_lock(&p->lock);
	l->next = p->asked;
	p->asked = l;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
}

void kf_probe_rk(struct kf_probe *p, rd_kafka_t *rk)
{
	pthread_mutex_lock(&p->lock);
	p->rk = rk;
	while (p->running)
		pthread_cond_wait(&p->cond, &p->lock);
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
}

static void free_limits(struct kf_limits *l)
{
	while (l) {
		struct kf_limits *next = l->next;

		free(l);
		l = next;
	}
}

void kf_probe_stop(struct kf_probe *p)
{
	if (!p->kf)
		return;
	pthread_mutex_lock(&p->lock);
	p->quit = true;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	free_limits(p->asked);
	free_limits(p->known);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->cond);
	p->kf = NULL;
}
