/* SPDX-License-Identifier: MIT */
#include "bus_mqtt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"

/* The largest payload of an MQTT packet, less what may stand before it. */
#define PAYLOAD_MAX_BYTES (268435455u - 3 * 65536u)
/* A connection that held this long is no reason to wait longer for the next one. */
#define STABLE_NS         (5 * LT_NS_PER_S)
/* A connection that the broker closed when it was this young may have been taken over. */
#define YOUNG_NS          (30 * LT_NS_PER_S)
/* lt_bus_free(): how long to wait for outstanding answers, and for everything. */
#define FREE_ACKS_NS      (800 * LT_NS_PER_MS)
#define FREE_ALL_NS       (1800 * LT_NS_PER_MS)
/* lt_bus_stop_reading(): normally a millisecond; longer only while paho's lock is held elsewhere. */
#define STOP_NS           (1500 * LT_NS_PER_MS)

enum lt_mq_state {
	LT_MQ_OFF = 0,     /* not wanted (yet) */
	LT_MQ_WAIT,        /* for the timer, or for the last link to be closed */
	LT_MQ_CONNECTING,  /* the timer limits it */
	LT_MQ_SUBSCRIBING, /* likewise */
	LT_MQ_UP,
	LT_MQ_PAUSED,  /* the queue is full */
	LT_MQ_STOPPED, /* lt_bus_stop_reading() */
};

struct lt_mq_bus;

/* One connection as the loop sees it. */
struct lt_mq_client {
	struct lt_mq_bus *bus;
	struct lt_mq_worker *w;
	enum lt_mq_role role;
	enum lt_mq_state state;
	bool closing;    /* the worker still has the last link */
	bool due;        /* connect as soon as it has not */
	bool broken;     /* failed or lost since it was last up */
	bool refused;    /* the broker refused a message on this connection */
	bool session;    /* the broker had our session */
	bool asked;      /* this process sent a SUBSCRIBE in that session */
	bool subscribed; /* and it was granted */
	unsigned gen;    /* of the current link; events of others are stale */
	int64_t up_ns;
	struct lt_timer timer;
	struct lt_backoff backoff;
	struct lt_takeovers takeovers;
};

struct lt_mq_bus {
	struct lt_bus base;
	struct lt_mq_core *core;
	bool waker_ok;
	struct lt_mq_client c[LT_MQ_ROLES];
	struct lt_mq_in in;
	bool publishes; /* the options say so */
	bool opened;
	bool reported_up;
	bool want_writable;
	uint32_t max_packet; /* of the publishing connection; 0 = no limit */
	uint32_t window;
};

static struct lt_mq_bus *lt_mq_of(struct lt_bus *b)
{
	return (struct lt_mq_bus *)b;
}

static bool reads(const struct lt_mq_bus *b)
{
	return b->core->n_topics > 0;
}

/* Pausing and resuming is not a loss of the connection, nor is a first attempt a failure. */
static bool client_ok(const struct lt_mq_client *c)
{
	switch (c->state) {
	case LT_MQ_UP:
	case LT_MQ_PAUSED:
	case LT_MQ_STOPPED:
	case LT_MQ_OFF:
		return true;
	default:
		return !c->broken && (c->up_ns != 0 || c->bus->reported_up);
	}
}

static bool is_up(const struct lt_mq_bus *b)
{
	return client_ok(&b->c[LT_MQ_RX]) && client_ok(&b->c[LT_MQ_TX]);
}

static void report_error(struct lt_mq_bus *b, const struct lt_err *err)
{
	lt_counter_add(&lt_bus_stats.failed, 1);
	b->reported_up = false;
	if (b->base.handler.state)
		b->base.handler.state(b->base.handler.arg, false, false, err);
}

/* @again: say so although it was said before, because the session was lost meanwhile. */
static void report_up(struct lt_mq_bus *b, bool again)
{
	if (!is_up(b) || (b->reported_up && !again))
		return;
	lt_counter_add(&lt_bus_stats.connected, 1);
	b->reported_up = true;
	if (b->base.handler.state)
		b->base.handler.state(
			b->base.handler.arg, true, reads(b) && b->c[LT_MQ_RX].session, NULL);
}

/* ---- one connection ---- */

static void client_close(struct lt_mq_client *c)
{
	struct lt_mq_core *core = c->bus->core;

	if (c->closing)
		return;
	pthread_mutex_lock(&core->lock);
	if (!lt_mq_worker_idle_locked(c->w)) {
		c->closing = true;
		c->w->close = true;
		pthread_cond_signal(&c->w->work);
	}
	pthread_mutex_unlock(&core->lock);
}

static void ask_will(struct lt_mq_client *c, struct lt_mq_link *l)
{
	const struct lt_bus_handler *h = &c->bus->base.handler;
	const char *topic = NULL;

	if (c->role != LT_MQ_TX || !h->will)
		return;
	h->will(h->arg, &topic, &l->will);
	if (topic)
		l->will_topic = lt_strdup(topic);
}

static void client_connect(struct lt_mq_client *c)
{
	struct lt_mq_core *core = c->bus->core;
	struct lt_mq_link *l;

	if (c->closing) {
		c->state = LT_MQ_WAIT;
		c->due = true;
		return;
	}
	c->due = false;
	c->refused = false;
	c->state = LT_MQ_CONNECTING;
	l = lt_mq_link_new(c->w, ++c->gen);
	ask_will(c, l);
	pthread_mutex_lock(&core->lock);
	c->w->open = l;
	pthread_cond_signal(&c->w->work);
	pthread_mutex_unlock(&core->lock);
	lt_timer_start_ns(&c->timer, c->bus->base.conf->mqtt.connect_timeout_ms * LT_NS_PER_MS);
}

static void client_failed(struct lt_mq_client *c, const struct lt_err *err)
{
	client_close(c);
	if (c->state == LT_MQ_UP && lt_mono_ns() - c->up_ns >= STABLE_NS)
		lt_backoff_reset(&c->backoff);
	/* A broker that came back empty may have made us a session whose CONNACK was lost: the next
	 * one then says that there is a session, and it has no subscription. */
	if (c->state == LT_MQ_CONNECTING)
		c->subscribed = false;
	c->state = LT_MQ_WAIT;
	c->due = false;
	c->broken = true;
	lt_timer_start_ns(&c->timer, lt_backoff_next_ms(&c->backoff) * LT_NS_PER_MS);
	report_error(c->bus, err);
}

static void client_timer(void *arg)
{
	struct lt_mq_client *c = arg;
	struct lt_err err;

	if (c->state == LT_MQ_WAIT) {
		client_connect(c);
	} else if (c->state == LT_MQ_CONNECTING || c->state == LT_MQ_SUBSCRIBING) {
		lt_fail(&err, LT_ETIMEOUT, LT_CLS_RETRY, "mqtt.connect",
			"the broker at %s:%d did not answer within %lld ms "
			"(bus.mqtt.connect_timeout)",
			c->bus->core->host, c->bus->core->port,
			(long long)c->bus->base.conf->mqtt.connect_timeout_ms);
		client_failed(c, &err);
	}
}

static void client_up(struct lt_mq_client *c)
{
	/* Silently resumed after a pause, but the broker has forgotten what came meanwhile. */
	bool lost_session = c->role == LT_MQ_RX && c->up_ns != 0 && !c->session;

	lt_timer_stop(&c->timer);
	c->state = LT_MQ_UP;
	c->broken = false;
	c->up_ns = lt_mono_ns();
	if (c->role == LT_MQ_RX)
		c->subscribed = true;
	report_up(c->bus, lost_session);
}

/* ---- publishing ---- */

static size_t varint_bytes(size_t n)
{
	return n < 128 ? 1 : n < 16384 ? 2 : n < 2097152 ? 3 : 4;
}

/* Size of the PUBLISH packet; the payload format indicator is always counted. */
static size_t packet_bytes(const struct lt_bus_out *m)
{
	size_t props =
		2 + (m->content_type ? 3 + strlen(m->content_type) : 0) + (m->expiry_s ? 5 : 0);
	size_t n = 2 + strlen(m->topic) + (m->at_most_once ? 0 : 2) + varint_bytes(props) + props +
		   m->size;

	return 1 + varint_bytes(n) + n;
}

static int check_size(const struct lt_mq_bus *b, const struct lt_bus_out *m, struct lt_err *err)
{
	size_t bytes;

	if (m->size > PAYLOAD_MAX_BYTES)
		return lt_fail(err, LT_EDATA, LT_CLS_POISON, "mqtt.publish",
			"a message of %zu bytes is too large for MQTT", m->size);
	bytes = packet_bytes(m);
	if (b->max_packet && bytes > b->max_packet)
		return lt_fail(err, LT_EDATA, LT_CLS_POISON, "mqtt.publish",
			"a message of %zu bytes to '%.100s' is larger than the broker takes (%u "
			"bytes; max_packet_size of Mosquitto)",
			bytes, m->topic, b->max_packet);
	return LT_OK;
}

/* Hand over as many as the window allows. */
static void pump(struct lt_mq_bus *b)
{
	struct lt_mq_core *core = b->core;
	struct lt_mq_worker *w = &core->w[LT_MQ_TX];
	struct lt_out *o;

	if (b->c[LT_MQ_TX].state != LT_MQ_UP || !core->out.unsent || core->out.n_sent >= b->window)
		return;
	pthread_mutex_lock(&core->lock);
	if (!w->send)
		pthread_cond_signal(&w->work);
	while (core->out.n_sent < b->window && (o = lt_outq_next(&core->out))) {
		o->next_send = NULL;
		*w->send_end = o;
		w->send_end = &o->next_send;
		core->unacked++;
	}
	pthread_mutex_unlock(&core->lock);
}

static void report_delivered(struct lt_mq_bus *b, struct lt_out *o)
{
	const struct lt_bus_handler *h = &b->base.handler;
	struct lt_err err = {0};

	lt_outq_remove(&b->core->out, o);
	lt_counter_add(o->code == LT_OK ? &lt_bus_stats.delivered : &lt_bus_stats.refused, 1);
	if (o->code != LT_OK && o->reason) {
		b->c[LT_MQ_TX].refused = true;
		lt_mq_err_puback(o->reason, o->m.topic, &err);
	} else if (o->code != LT_OK)
		check_size(b, &o->m, &err);
	if (!o->m.at_most_once && h->delivered)
		h->delivered(h->arg, o->m.token, o->code, o->code == LT_OK ? NULL : &err);
	free(o);
}

/* A broker that came back with a smaller limit: those messages would close the connection. */
static void drop_too_large(struct lt_mq_bus *b)
{
	struct lt_out *o = b->core->out.head;

	while (o) {
		struct lt_out *next = o->next;

		o->code = check_size(b, &o->m, NULL);
		if (o->code != LT_OK)
			report_delivered(b, o);
		o = next;
	}
}

static bool has_room(const struct lt_mq_bus *b)
{
	return b->c[LT_MQ_TX].state == LT_MQ_UP &&
	       (int64_t)b->core->out.n < b->base.conf->mqtt.max_inflight;
}

static void report_writable(struct lt_mq_bus *b)
{
	if (!b->want_writable || !has_room(b))
		return;
	b->want_writable = false;
	if (b->base.handler.writable)
		b->base.handler.writable(b->base.handler.arg);
}

/* ---- events ---- */

static void on_connack(struct lt_mq_client *c, const struct lt_mq_ev *ev)
{
	struct lt_mq_bus *b = c->bus;

	if (c->role == LT_MQ_TX) {
		int64_t window = b->base.conf->mqtt.max_inflight;

		if (window > ev->window)
			window = ev->window;
		b->window = window > LT_MQ_WINDOW_MAX ? LT_MQ_WINDOW_MAX : (uint32_t)window;
		b->max_packet = ev->max_packet;
		drop_too_large(b);
		client_up(c);
		return;
	}
	c->session = ev->session;
	if (!c->session)
		c->asked = c->subscribed = false;
	if (c->subscribed) {
		client_up(c);
		return;
	}
	c->state = LT_MQ_SUBSCRIBING;
	pthread_mutex_lock(&b->core->lock);
	c->w->subscribe = c->w->subscribing = true;
	c->w->subscribed_before = c->asked;
	pthread_cond_signal(&c->w->work);
	pthread_mutex_unlock(&b->core->lock);
	c->asked = true;
}

static bool half_free(struct lt_mq_bus *b)
{
	lt_mq_in_flush(&b->in);
	return b->in.held_bytes <= b->core->limit_bytes / 2;
}

static void on_closed(struct lt_mq_client *c)
{
	c->closing = false;
	if (c->role == LT_MQ_TX)
		lt_outq_rewind(&c->bus->core->out);
	if (c->state == LT_MQ_WAIT && c->due)
		client_connect(c);
	else if (c->state == LT_MQ_PAUSED && half_free(c->bus))
		client_connect(c);
}

/*
 * A broker that is restarted or cannot be reached refuses us in between: see LT_MQ_EV_FAILED. And
 * Mosquitto 2.0.11 closes the connection after it has refused a message.
 */
static void note_takeover(struct lt_mq_client *c, struct lt_mq_ev *ev)
{
	int64_t now = lt_mono_ns();

	if (ev->takeover ||
		(ev->silent && !c->refused && c->state == LT_MQ_UP && now - c->up_ns < YOUNG_NS))
		lt_takeover_note(&c->takeovers, now, c->w->client_id, ev->takeover, &ev->err);
}

static void on_event(struct lt_mq_bus *b, struct lt_mq_ev *ev)
{
	struct lt_mq_client *c = &b->c[ev->role];

	if (ev->type == LT_MQ_EV_CLOSED) {
		on_closed(c);
		return;
	}
	if (ev->gen != c->gen || c->closing || c->state == LT_MQ_STOPPED)
		return;
	switch (ev->type) {
	case LT_MQ_EV_UP:
		on_connack(c, ev);
		break;
	case LT_MQ_EV_SUBSCRIBED:
		client_up(c);
		break;
	case LT_MQ_EV_LOST:
		note_takeover(c, ev);
		client_failed(c, &ev->err);
		break;
	case LT_MQ_EV_FAILED:
		c->takeovers.n = 0;
		client_failed(c, &ev->err);
		break;
	case LT_MQ_EV_PAUSED:
		lt_counter_add(&lt_bus_stats.paused, 1);
		lt_timer_stop(&c->timer);
		c->state = LT_MQ_PAUSED;
		client_close(c);
		break;
	case LT_MQ_EV_CLOSED:
		break;
	}
}

static void note_fill(struct lt_mq_bus *b)
{
	lt_bus_fill(&b->base, b->in.held_bytes, b->core->out.n_reported);
}

static void on_readable(void *arg)
{
	struct lt_mq_bus *b = arg;

	if (b->base.handler.readable)
		b->base.handler.readable(b->base.handler.arg);
}

/* The waker: whatever the workers and paho's threads left for us, in the order that it happened. */
static void dispatch(void *arg)
{
	struct lt_mq_bus *b = arg;
	struct lt_mq_core *core = b->core;
	struct lt_out *acked;
	struct lt_mq_ev *events;
	bool readable;

	pthread_mutex_lock(&core->lock);
	acked = core->acked;
	core->acked = NULL;
	core->acked_end = &core->acked;
	events = core->events;
	core->events = NULL;
	core->events_end = &core->events;
	readable = core->in.readable;
	core->in.readable = false;
	pthread_mutex_unlock(&core->lock);
	while (acked) {
		struct lt_out *o = acked;

		acked = o->next_done;
		report_delivered(b, o);
	}
	while (events) {
		struct lt_mq_ev *ev = events;

		events = ev->next;
		on_event(b, ev);
		free(ev);
	}
	pump(b);
	if (readable)
		lt_mq_in_announce(&b->in);
	report_writable(b);
	lt_mq_in_flush(&b->in);
	note_fill(b);
}

/* ---- lt_bus_ops ---- */

/*
 * paho 1.3.12 sends every MQTT connection through the HTTP proxy of the environment, which no
 * broker on the local network survives and no option turns off.
 */
static pthread_once_t proxy_once = PTHREAD_ONCE_INIT;
static void forget_proxy(void)
{
	if (getenv("http_proxy"))
		unsetenv("http_proxy");
	if (getenv("https_proxy"))
		unsetenv("https_proxy");
}

static int lt_mq_init(struct lt_bus *base, const struct lt_bus_options *opt, struct lt_err *err)
{
	struct lt_mq_bus *b = lt_mq_of(base);
	struct lt_bus_url url;
	int rc = lt_bus_url_parse(&url, base->conf->url, err);

	if (rc < 0)
		return rc;
	pthread_once(&proxy_once, forget_proxy);
	b->publishes = opt->publishes;
	b->core = lt_mq_core_new(base->conf, &url, opt);
	rc = lt_waker_init(&b->core->waker, base->loop, dispatch, b, err);
	if (rc < 0)
		return rc;
	b->waker_ok = true;
	lt_mq_in_init(&b->in, b->core, base->loop, on_readable, b);
	for (int i = 0; i < LT_MQ_ROLES; i++) {
		struct lt_mq_client *c = &b->c[i];

		c->bus = b;
		c->w = &b->core->w[i];
		c->role = (enum lt_mq_role)i;
		lt_timer_init(&c->timer, base->loop, client_timer, c);
		lt_backoff_init(
			&c->backoff, base->conf->backoff_base_ms, base->conf->backoff_cap_ms);
	}
	return LT_OK;
}

/* The first attempt is made from the loop, because it asks the handler for a will. */
static int client_start(struct lt_mq_client *c, struct lt_err *err)
{
	int rc = lt_mq_worker_start(c->w, err);

	if (rc < 0)
		return rc;
	c->state = LT_MQ_WAIT;
	lt_timer_start_ns(&c->timer, 0);
	return LT_OK;
}

static int lt_mq_open(struct lt_bus *base, struct lt_err *err)
{
	struct lt_mq_bus *b = lt_mq_of(base);
	int rc = LT_OK;

	b->opened = true;
	if (reads(b))
		rc = client_start(&b->c[LT_MQ_RX], err);
	if (rc == LT_OK && (!reads(b) || base->handler.will || b->publishes))
		rc = client_start(&b->c[LT_MQ_TX], err);
	return rc;
}

static int lt_mq_publish(struct lt_bus *base, const struct lt_bus_out *m, struct lt_err *err)
{
	struct lt_mq_bus *b = lt_mq_of(base);
	struct lt_out *o;
	int rc = check_size(b, m, err);

	if (rc < 0)
		return rc;
	if (b->opened && b->c[LT_MQ_TX].state == LT_MQ_OFF) {
		rc = client_start(&b->c[LT_MQ_TX], err);
		if (rc < 0)
			return rc;
	}
	if (!has_room(b)) {
		b->want_writable = true;
		return lt_fail(err, LT_EFULL, LT_CLS_RETRY, "mqtt.publish",
			b->c[LT_MQ_TX].state == LT_MQ_UP
				? "mqtt.max_inflight messages wait for the broker's answer"
				: "not connected to the broker");
	}
	o = lt_out_new(m);
	o->owner = b->core;
	lt_outq_add(&b->core->out, o);
	pump(b);
	note_fill(b);
	return LT_OK;
}

static size_t lt_mq_poll(struct lt_bus *base, struct lt_bus_msg **out, size_t max)
{
	struct lt_mq_bus *b = lt_mq_of(base);
	size_t n = lt_mq_in_poll(&b->in, out, max);

	note_fill(b);
	return n;
}

static void lt_mq_done(struct lt_bus *base, struct lt_bus_msg *m)
{
	struct lt_mq_bus *b = lt_mq_of(base);
	struct lt_mq_client *rx = &b->c[LT_MQ_RX];

	if (lt_mq_in_done(&b->in, m))
		lt_mq_in_flush(&b->in);
	note_fill(b);
	if (rx->state == LT_MQ_PAUSED && !rx->closing && half_free(b))
		client_connect(rx);
}

static size_t lt_mq_inflight(const struct lt_bus *base)
{
	return ((const struct lt_mq_bus *)base)->core->out.n_reported;
}

static struct timespec deadline(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / LT_NS_PER_S, .tv_nsec = ns % LT_NS_PER_S};
}

/*
 * Waits until the connection is gone, because until then messages are acknowledged. Should that
 * take too long (paho's lock is held by a name server's time-out), what still arrives is queued
 * like the rest, and lt_bus_poll() has it.
 */
static void lt_mq_stop_reading(struct lt_bus *base)
{
	struct lt_mq_bus *b = lt_mq_of(base);
	struct lt_mq_core *core = b->core;
	struct lt_mq_client *rx = &b->c[LT_MQ_RX];
	struct timespec until = deadline(lt_mono_ns() + STOP_NS);

	if (rx->state == LT_MQ_OFF || rx->state == LT_MQ_STOPPED)
		return;
	pthread_mutex_lock(&core->lock);
	core->stopping = true;
	pthread_cond_broadcast(&core->space);
	pthread_mutex_unlock(&core->lock);
	lt_timer_stop(&rx->timer);
	rx->state = LT_MQ_STOPPED;
	rx->broken = false;
	client_close(rx);
	pthread_mutex_lock(&core->lock);
	while (!lt_mq_worker_idle_locked(rx->w))
		if (pthread_cond_timedwait(&core->idle, &core->lock, &until) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&core->lock);
}

static void wait_for_workers(struct lt_mq_bus *b)
{
	struct lt_mq_core *core = b->core;
	struct timespec acks, all;
	int64_t now = lt_mono_ns();

	acks = deadline(now + FREE_ACKS_NS);
	all = deadline(now + FREE_ALL_NS);
	pthread_mutex_lock(&core->lock);
	core->stopping = true;
	pthread_cond_broadcast(&core->space);
	/* paho sends no DISCONNECT while a message is half written. */
	while (b->c[LT_MQ_TX].state == LT_MQ_UP && core->unacked > 0)
		if (pthread_cond_timedwait(&core->idle, &core->lock, &acks) == ETIMEDOUT)
			break;
	for (int i = 0; i < LT_MQ_ROLES; i++) {
		core->w[i].quit = true;
		pthread_cond_signal(&core->w[i].work);
	}
	for (int i = 0; i < LT_MQ_ROLES; i++)
		while (core->w[i].started && !core->w[i].exited)
			if (pthread_cond_timedwait(&core->idle, &core->lock, &all) == ETIMEDOUT)
				break;
	core->detached = true;
	core->keep = NULL;
	pthread_mutex_unlock(&core->lock);
}

static void lt_mq_fini(struct lt_bus *base)
{
	struct lt_mq_bus *b = lt_mq_of(base);
	struct lt_mq_core *core = b->core;
	bool exited[LT_MQ_ROLES];

	for (int i = 0; i < LT_MQ_ROLES; i++)
		lt_timer_fini(&b->c[i].timer);
	lt_mq_in_fini(&b->in);
	if (!core)
		return;
	wait_for_workers(b);
	pthread_mutex_lock(&core->lock);
	for (int i = 0; i < LT_MQ_ROLES; i++)
		exited[i] = core->w[i].exited;
	pthread_mutex_unlock(&core->lock);
	for (int i = 0; i < LT_MQ_ROLES; i++) {
		if (!core->w[i].started)
			continue;
		if (exited[i])
			pthread_join(core->w[i].thread, NULL);
		else
			pthread_detach(core->w[i].thread);
	}
	if (b->waker_ok)
		lt_waker_fini(&core->waker);
	lt_mq_core_put(core);
}

const struct lt_bus_ops lt_bus_mqtt_ops = {
	.scheme = "mqtt",
	.size = sizeof(struct lt_mq_bus),
	.caps = LT_BUS_RETAIN,
	.init = lt_mq_init,
	.open = lt_mq_open,
	.publish = lt_mq_publish,
	.poll = lt_mq_poll,
	.done = lt_mq_done,
	.inflight = lt_mq_inflight,
	.stop_reading = lt_mq_stop_reading,
	.fini = lt_mq_fini,
};
