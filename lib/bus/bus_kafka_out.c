/* SPDX-License-Identifier: MIT */
/*
 * Publishing. librdkafka keeps what was accepted until a broker has it; delivery reports come as
 * events. What it gives up though it can be delivered later (a fatal error of the idempotent
 * producer, a topic that is away for a moment) is sent again from the report itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus_kafka.h"

int kf_out_open(struct kf *k, struct lt_err *err)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_dup(k->out_conf);
	uint64_t one = 1;
	char text[256];

	k->out = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	if (!k->out) {
		rd_kafka_conf_destroy(conf);
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "bus.open",
			"librdkafka refuses the configuration of bus.kafka: %s", text);
	}
	k->out_events = rd_kafka_queue_get_main(k->out);
	rd_kafka_queue_io_event_enable(k->out_events, k->waker.fd, &one, sizeof(one));
	return LT_OK;
}

static void close_producer(struct kf *k)
{
	rd_kafka_queue_io_event_enable(k->out_events, -1, NULL, 0);
	rd_kafka_queue_destroy(k->out_events);
	rd_kafka_destroy(k->out);
	k->out = NULL;
	k->out_events = NULL;
}

static void free_out(struct kf_out *o)
{
	if (o->headers)
		rd_kafka_headers_destroy(o->headers);
	free(o->log);
	free(o->data);
	free(o->key);
	free(o);
}

/* Consumes @headers on success. */
static rd_kafka_resp_err_t produce(struct kf *k, const char *log, const void *data, size_t size,
	const void *key, size_t key_len, rd_kafka_headers_t *headers, struct kf_out *o)
{
	return rd_kafka_producev(k->out, RD_KAFKA_V_TOPIC(log),
		RD_KAFKA_V_VALUE((void *)data, size), RD_KAFKA_V_KEY((void *)key, key_len),
		RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers),
		RD_KAFKA_V_TIMESTAMP(o->time_ms), RD_KAFKA_V_OPAQUE(o), RD_KAFKA_V_END);
}

static rd_kafka_headers_t *make_headers(const struct lt_bus_out *m, bool name_topic)
{
	rd_kafka_headers_t *h = rd_kafka_headers_new(m->n_headers + 2);

	if (m->content_type)
		rd_kafka_header_add(h, LT_KAFKA_H_CONTENT_TYPE, -1, m->content_type, -1);
	if (name_topic)
		rd_kafka_header_add(h, LT_KAFKA_H_TOPIC, -1, m->topic, -1);
	for (size_t i = 0; i < m->n_headers; i++)
		rd_kafka_header_add(h, m->headers[i].name, -1, m->headers[i].value,
			(ssize_t)m->headers[i].size);
	return h;
}

static int full(struct kf *k, struct lt_err *err)
{
	k->want_writable = true;
	return lt_fail(err, LT_EFULL, LT_CLS_RETRY, "bus.publish", "%s",
		k->connected ? "bus.kafka.max_inflight messages wait for the broker"
			     : "not connected to Kafka");
}

int kf_out_publish(struct lt_bus *b, const struct lt_bus_out *m, struct lt_err *err)
{
	struct kf *k = kf_of(b);
	struct lt_kafka_place place;
	rd_kafka_headers_t *headers;
	rd_kafka_resp_err_t rc;
	struct kf_out *o;
	int code;

	if (k->closing || !k->opened)
		return lt_fail(
			err, LT_ESTOPPED, LT_CLS_RETRY, "bus.publish", "the bus is not open");
	if (m->retain)
		return lt_fail(err, LT_EDATA, LT_CLS_POISON, "bus.publish",
			"Kafka has no retained messages ('%.100s')", m->topic);
	if (m->kept && k->forbidden.cls) {
		if (err)
			*err = k->forbidden;
		return LT_EAUTH;
	}
	if (!k->connected || k->again || k->broken ||
		k->inflight >= (size_t)b->conf->kafka.max_inflight) {
		return full(k, err);
	}
	if (!k->out && (code = kf_out_open(k, err)) < 0)
		return code;
	lt_kafka_place_of(&place, b->conf, m->topic, m->key);
	headers = make_headers(m, place.name_topic || m->name_topic);
	o = lt_calloc(1, sizeof(*o));
	o->token = m->token;
	o->quiet = m->at_most_once;
	o->kept = m->kept;
	o->time_ms = m->time_ns / LT_NS_PER_MS;
	o->main = place.log == b->conf->kafka.topic;
	rc = produce(k, place.log, m->data, m->size, place.key, place.key_len, headers, o);
	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) {
		k->n_out++;
		k->inflight += !o->quiet;
		return LT_OK;
	}
	rd_kafka_headers_destroy(headers);
	free(o);
	switch (rc) {
	case RD_KAFKA_RESP_ERR__QUEUE_FULL:
		return full(k, err);
	case RD_KAFKA_RESP_ERR__FATAL:
		k->broken = true;
		kf_wake(k);
		return full(k, err);
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		return lt_fail(err, LT_EDATA, LT_CLS_POISON, "bus.publish",
			"%zu bytes are more than one message may have", m->size);
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		if (place.log == b->conf->kafka.topic) {
			return full(k, err);
		}
		return kf_error(err, KF_UNKNOWN_TOPIC, "bus.publish", place.log, "");
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		return kf_error(err, rc, "bus.publish", place.log, "");
	default:
		return lt_fail(err, LT_EDATA, LT_CLS_POISON, "bus.publish", "Kafka: %s",
			rd_kafka_err2str(rc));
	}
}

/* ---- delivery reports ---- */

/* What a failed delivery means. Return: LT_EAGAIN: it is to be sent again. */
static int judge(const struct kf_out *o, const rd_kafka_message_t *m, struct lt_err *err)
{
	const char *log = rd_kafka_topic_name(m->rkt);

	switch (m->err) {
	case RD_KAFKA_RESP_ERR_NO_ERROR:
		return LT_OK;
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
		return lt_fail(err, LT_EDATA, LT_CLS_POISON, "bus.publish",
			"%zu bytes are more than topic '%.100s' takes (max.message.bytes)", m->len,
			log);
	case RD_KAFKA_RESP_ERR_INVALID_MSG:
	case RD_KAFKA_RESP_ERR_INVALID_RECORD:
	case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
	case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
		return lt_fail(err, LT_EDATA, LT_CLS_POISON, "bus.publish",
			"Kafka refused a message for '%.100s': %s", log, rd_kafka_err2str(m->err));
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		return kf_error(err, m->err, "bus.publish", log, rd_kafka_err2str(m->err));
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		if (o->main)
			return LT_EAGAIN;
		kf_error(err, KF_UNKNOWN_TOPIC, "bus.publish", log, "");
		return err->code = LT_EDATA;
	default:
		return LT_EAGAIN;
	}
}

static void *copy(const void *p, size_t n)
{
	void *to = lt_malloc(n + 1);

	if (n)
		memcpy(to, p, n);
	return to;
}

static void keep(struct kf *k, struct kf_out *o, const rd_kafka_message_t *m)
{
	rd_kafka_headers_t *h;

	o->log = lt_strdup(rd_kafka_topic_name(m->rkt));
	o->data = copy(m->payload, m->len);
	o->size = m->len;
	o->key = m->key ? copy(m->key, m->key_len) : NULL;
	o->key_len = m->key_len;
	if (rd_kafka_message_headers(m, &h) == RD_KAFKA_RESP_ERR_NO_ERROR)
		o->headers = rd_kafka_headers_copy(h);
	o->next = NULL;
	*k->again_end = o;
	k->again_end = &o->next;
	lt_counter_add(&kf_stats.resent, 1);
	if (!lt_timer_pending(&k->resend))
		lt_timer_start_ns(&k->resend, KF_RESEND_NS);
}

/* Permission was granted, or at least: Kafka no longer refuses the producer at once. */
static void permitted(struct kf *k)
{
	memset(&k->forbidden, 0, sizeof(k->forbidden));
	lt_release(&k->forbids, "kafka_permits", LT_S("bus", k->bus.conf->url));
	k->next_look_ns = 0;
	kf_wake(k);
}

static void reported(struct kf *k, const rd_kafka_message_t *m)
{
	struct kf_out *o = m->_private;
	struct lt_err err = {0};
	int code = judge(o, m, &err);

	k->n_out--;
	if (code == LT_OK && k->forbidden.cls)
		permitted(k);
	if (code == LT_EAGAIN && o->kept && k->forbidden.cls) {
		err = k->forbidden;
		code = LT_EAUTH;
	}
	if (code == LT_EAGAIN && !o->quiet && !k->closing) {
		keep(k, o, m);
		return;
	}
	if (!o->quiet) {
		k->inflight--;
		lt_counter_add(code < 0 ? &lt_bus_stats.refused : &lt_bus_stats.delivered, 1);
		if (k->bus.handler.delivered && !k->closing)
			k->bus.handler.delivered(
				k->bus.handler.arg, o->token, code, code < 0 ? &err : NULL);
	}
	free_out(o);
}

void kf_out_serve(struct kf *k)
{
	for (int i = 0; i < KF_SERVE_MAX; i++) {
		rd_kafka_event_t *ev = rd_kafka_queue_poll(k->out_events, 0);
		const rd_kafka_message_t *m;

		if (!ev) {
			if (k->broken && !lt_timer_pending(&k->resend))
				lt_timer_start_ns(&k->resend, 0);
			return;
		}
		switch (rd_kafka_event_type(ev)) {
		case RD_KAFKA_EVENT_DR:
			while ((m = rd_kafka_event_message_next(ev)))
				reported(k, m);
			break;
		case RD_KAFKA_EVENT_ERROR:
			kf_note(k, rd_kafka_event_error(ev), rd_kafka_event_error_string(ev));
			break;
		default:
			break;
		}
		rd_kafka_event_destroy(ev);
	}
	kf_wake(k); /* others want their turn too */
}

void kf_out_forbidden(struct kf *k)
{
	const struct lt_bus_conf *c = k->bus.conf;

	lt_fail(&k->forbidden, LT_EAUTH, LT_CLS_CONFIG, "bus.publish",
		"Kafka does not permit this user to write, neither to the topic '%.200s' nor to "
		"any other; allow it (ACL operation Write)",
		k->in ? c->kafka.deadletter_topic : c->kafka.topic);
	k->forbidden_ns = lt_mono_ns();
	k->broken = true;
	k->next_look_ns = 0;
	if (k->in)
		lt_complain(&k->forbids, LT_ERROR, "kafka_forbids", LT_S("err", k->forbidden.msg));
	lt_timer_start_ns(&k->resend, KF_FORBIDDEN_NS);
}

/*
 * After a fatal error librdkafka fails everything that it holds, in order; when the last report is
 * in, a new producer takes its place and gets it all in that order.
 */
static bool rebuild(struct kf *k)
{
	struct lt_err err = {0};

	rd_kafka_purge(k->out, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	kf_out_serve(k);
	if (k->n_out) {
		lt_timer_start_ns(&k->resend, KF_RESEND_NS / 10);
		return false;
	}
	if (!k->in)
		kf_probe_rk(&k->probe, NULL);
	close_producer(k);
	if (kf_out_open(k, &err) < 0) {
		lt_log(LT_ERROR, "kafka_producer", LT_S("err", err.msg));
		lt_timer_start_ns(&k->resend, KF_RESEND_NS);
		return false;
	}
	if (!k->in)
		kf_probe_rk(&k->probe, k->out);
	k->broken = false;
	lt_counter_add(&kf_stats.rebuilt, 1);
	if (!k->forbidden.cls)
		lt_log(LT_WARN, "kafka_producer_rebuilt", LT_U("unsent", k->inflight));
	return true;
}

void kf_out_resend(struct kf *k)
{
	if (k->broken && k->out && !rebuild(k))
		return;
	if (k->forbidden.cls && lt_mono_ns() - k->forbidden_ns > 2 * KF_FORBIDDEN_NS)
		permitted(k);
	else if (k->forbidden.cls) /* look again whether the new one lives */
		lt_timer_start_ns(&k->resend, 2 * KF_FORBIDDEN_NS);
	while (k->again && k->out) {
		struct kf_out *o = k->again;
		rd_kafka_headers_t *headers = o->headers;
		struct kf_out *fresh = lt_calloc(1, sizeof(*fresh));

		fresh->token = o->token;
		fresh->kept = o->kept;
		fresh->main = o->main;
		fresh->time_ms = o->time_ms;
		o->headers = NULL;
		if (produce(k, o->log, o->data, o->size, o->key, o->key_len, headers, fresh) !=
			RD_KAFKA_RESP_ERR_NO_ERROR) {
			o->headers = headers;
			free(fresh);
			lt_timer_start_ns(&k->resend, KF_RESEND_NS);
			return;
		}
		k->n_out++;
		k->again = o->next;
		if (!k->again)
			k->again_end = &k->again;
		free_out(o);
	}
	k->want_writable = true;
}

void kf_out_fini(struct kf *k)
{
	if (k->out) {
		rd_kafka_purge(k->out, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		for (int i = 0; k->n_out && i < 100; i++) {
			rd_kafka_event_t *ev = rd_kafka_queue_poll(k->out_events, 10);
			const rd_kafka_message_t *m;

			while (ev && (m = rd_kafka_event_message_next(ev)))
				reported(k, m);
			rd_kafka_event_destroy(ev);
		}
		close_producer(k);
	}
	while (k->again) {
		struct kf_out *o = k->again;

		k->again = o->next;
		free_out(o);
	}
}
