/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "bus_mem_int.h"

static struct mem_bus *mem_of(struct lt_bus *b)
{
	return (struct mem_bus *)b;
}

static void reconnect_later(struct mem_bus *b, const struct lt_err *err)
{
	lt_counter_add(&lt_bus_stats.failed, 1);
	lt_timer_start_ns(&b->timer, lt_backoff_next_ms(&b->backoff) * LT_NS_PER_MS);
	if (b->base.handler.state)
		b->base.handler.state(b->base.handler.arg, false, false, err);
}

static bool has_room(const struct mem_bus *b)
{
	return b->connected && (int64_t)b->out.n < b->base.conf->mqtt.max_inflight;
}

static void report_writable(struct mem_bus *b)
{
	bool room;

	pthread_mutex_lock(&lt_membus_lock);
	room = b->want_writable && has_room(b);
	if (room)
		b->want_writable = false;
	pthread_mutex_unlock(&lt_membus_lock);
	if (room && b->base.handler.writable)
		b->base.handler.writable(b->base.handler.arg);
}

static void connect_now(void *arg)
{
	struct mem_bus *b = arg;
	const struct lt_bus_handler *h = &b->base.handler;
	struct lt_err err = {0};
	struct lt_buf will = {0};
	const char *topic = NULL;
	bool resumed = false;

	if (h->will)
		h->will(h->arg, &topic, &will);
	pthread_mutex_lock(&lt_membus_lock);
	if (b->broker->down) {
		lt_fail(&err, LT_EIO, LT_CLS_RETRY, "mem.connect", "the broker is down");
	} else if (b->broker->refuse_connect) {
		err = b->broker->connect_err;
	} else {
		if (topic) {
			b->will_topic = lt_strdup(topic);
			b->will = will;
			will = (struct lt_buf){0};
		}
		resumed = lt_membus_attach(b);
		lt_membus_pump(b);
	}
	pthread_mutex_unlock(&lt_membus_lock);
	lt_buf_fini(&will);
	if (err.code != LT_OK) {
		reconnect_later(b, &err);
		return;
	}
	lt_counter_add(&lt_bus_stats.connected, 1);
	lt_backoff_reset(&b->backoff);
	if (h->state)
		h->state(h->arg, true, b->n_topics > 0 && resumed, NULL);
	report_writable(b);
}

static void dispatch(void *arg)
{
	struct mem_bus *b = arg;
	const struct lt_bus_handler *h = &b->base.handler;
	struct lt_out *acked;
	struct mem_ev *lost;
	bool readable;

	pthread_mutex_lock(&lt_membus_lock);
	acked = b->acked;
	b->acked = NULL;
	b->acked_end = &b->acked;
	lost = b->lost;
	b->lost = NULL;
	readable = b->in.readable;
	b->in.readable = false;
	for (struct lt_out *o = acked; o; o = o->next_done)
		lt_outq_remove(&b->out, o);
	pthread_mutex_unlock(&lt_membus_lock);
	while (acked) {
		struct lt_out *o = acked;
		struct lt_err err;

		acked = o->next_done;
		lt_counter_add(
			o->code == LT_OK ? &lt_bus_stats.delivered : &lt_bus_stats.refused, 1);
		if (o->code != LT_OK)
			lt_fail(&err, o->code, o->code == LT_EAUTH ? LT_CLS_CONFIG : LT_CLS_POISON,
				"mem.publish", "the broker refuses a message to '%.200s'",
				o->m.topic);
		if (!o->m.at_most_once && h->delivered)
			h->delivered(h->arg, o->m.token, o->code, o->code ? &err : NULL);
		free(o);
	}
	if (lost) {
		if (lost->takeover)
			lt_takeover_note(
				&b->takeovers, lt_mono_ns(), b->client_id, true, &lost->err);
		reconnect_later(b, &lost->err);
		free(lost);
	}
	if (readable && h->readable)
		h->readable(h->arg);
	report_writable(b);
}

static int mem_init(struct lt_bus *base, const struct lt_bus_options *opt, struct lt_err *err)
{
	struct mem_bus *b = mem_of(base);
	struct lt_bus_url url;
	int rc = lt_bus_url_parse(&url, base->conf->url, err);

	if (rc < 0)
		return rc;
	lt_inq_init(&b->in);
	b->acked_end = &b->acked;
	b->client_id = lt_bus_client_id(base->conf, opt->comp);
	b->topics = lt_calloc(opt->n_topics + 1, sizeof(*b->topics));
	for (size_t i = 0; i < opt->n_topics; i++)
		b->topics[i] = lt_strdup(opt->topics[i]);
	b->n_topics = opt->n_topics;
	b->durable = opt->durable && opt->n_topics > 0;
	b->no_retained = opt->no_retained;
	lt_backoff_init(&b->backoff, base->conf->backoff_base_ms, base->conf->backoff_cap_ms);
	rc = lt_waker_init(&b->waker, base->loop, dispatch, b, err);
	if (rc < 0)
		return rc;
	lt_timer_init(&b->timer, base->loop, connect_now, b);
	pthread_mutex_lock(&lt_membus_lock);
	b->broker = lt_membus_broker_get(url.host);
	pthread_mutex_unlock(&lt_membus_lock);
	return LT_OK;
}

static int mem_open(struct lt_bus *base, struct lt_err *err)
{
	(void)err;
	lt_timer_start_ns(&mem_of(base)->timer, 0);
	return LT_OK;
}

static int mem_publish(struct lt_bus *base, const struct lt_bus_out *m, struct lt_err *err)
{
	struct mem_bus *b = mem_of(base);
	int rc = LT_OK;

	pthread_mutex_lock(&lt_membus_lock);
	if (b->broker->limit_bytes && m->size > b->broker->limit_bytes) {
		rc = lt_fail(err, LT_EDATA, LT_CLS_POISON, "mem.publish",
			"a message of %zu bytes is larger than the broker takes (%zu bytes)",
			m->size, b->broker->limit_bytes);
	} else if (!has_room(b)) {
		b->want_writable = true;
		rc = lt_fail(err, LT_EFULL, LT_CLS_RETRY, "mem.publish",
			b->connected ? "mqtt.max_inflight messages wait for an answer"
				     : "not connected");
	} else {
		lt_outq_add(&b->out, lt_out_new(m));
		lt_membus_pump(b);
	}
	pthread_mutex_unlock(&lt_membus_lock);
	return rc;
}

static size_t mem_poll(struct lt_bus *base, struct lt_bus_msg **out, size_t max)
{
	struct mem_bus *b = mem_of(base);
	size_t n;

	pthread_mutex_lock(&lt_membus_lock);
	n = lt_inq_poll(&b->in, out, max);
	pthread_mutex_unlock(&lt_membus_lock);
	return n;
}

static void mem_done(struct lt_bus *base, struct lt_bus_msg *m)
{
	struct mem_bus *b = mem_of(base);
	struct lt_in *in;

	pthread_mutex_lock(&lt_membus_lock);
	in = lt_inq_remove(&b->in, m);
	if (b->session)
		lt_membus_session_pump(b->session);
	pthread_mutex_unlock(&lt_membus_lock);
	free(in);
}

static size_t mem_inflight(const struct lt_bus *base)
{
	size_t n;

	pthread_mutex_lock(&lt_membus_lock);
	n = ((const struct mem_bus *)base)->out.n_reported;
	pthread_mutex_unlock(&lt_membus_lock);
	return n;
}

static void mem_stop_reading(struct lt_bus *base)
{
	struct mem_bus *b = mem_of(base);

	pthread_mutex_lock(&lt_membus_lock);
	b->stopped = true;
	if (b->session && !b->durable)
		lt_membus_session_subscribe(b->session, NULL, 0);
	pthread_mutex_unlock(&lt_membus_lock);
}

static void mem_fini(struct lt_bus *base)
{
	struct mem_bus *b = mem_of(base);

	pthread_mutex_lock(&lt_membus_lock);
	lt_membus_disconnect(b, NULL, false);
	pthread_mutex_unlock(&lt_membus_lock);
	lt_membus_forget_will(b);
	lt_timer_fini(&b->timer);
	lt_waker_fini(&b->waker);
	lt_inq_fini(&b->in);
	lt_outq_fini(&b->out);
	free(b->lost);
	for (size_t i = 0; i < b->n_topics; i++)
		free(b->topics[i]);
	free(b->topics);
	free(b->client_id);
}

const struct lt_bus_ops lt_bus_mem_ops = {
	.scheme = "mem",
	.size = sizeof(struct mem_bus),
	.caps = LT_BUS_RETAIN,
	.init = mem_init,
	.open = mem_open,
	.publish = mem_publish,
	.poll = mem_poll,
	.done = mem_done,
	.inflight = mem_inflight,
	.stop_reading = mem_stop_reading,
	.fini = mem_fini,
};
