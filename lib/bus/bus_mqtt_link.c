/* SPDX-License-Identifier: MIT */
#include <MQTTAsync.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bus_mqtt.h"
#include "latido/clock.h"

/* How long the callback brakes for each message when twice the budget is held. */
#define PAUSE_SLICE_MS 250
/* And in the last quarter of the budget, if the user gave something back that lately. */
#define BRAKE_MS       5
#define LATELY_MS      200

/*
 * A client that never connects. Without it, destroying the last client would stop paho's threads,
 * which takes a second and is not safe against a client that is made meanwhile. So paho's two
 * threads stay until the process ends.
 */
static pthread_once_t anchor_once = PTHREAD_ONCE_INIT;
static MQTTAsync anchor;

static void make_anchor(void)
{
	MQTTAsync_init_options init = MQTTAsync_init_options_initializer;

	/*
	 * OpenSSL initialises itself when TLS is first used; paho would have it load everything
	 * at once, which is 1.7 MB of an agent that speaks plain MQTT.
	 */
	init.do_openssl_init = 0;
	MQTTAsync_global_init(&init);
	/* By default it formats a line of trace for most of what it does, and shows it to nobody. */
	if (!getenv("MQTT_C_CLIENT_TRACE"))
		MQTTAsync_setTraceLevel(MQTTASYNC_TRACE_ERROR);
	MQTTAsync_create(
		&anchor, "tcp://127.0.0.1:1", "latido-anchor", MQTTCLIENT_PERSISTENCE_NONE, NULL);
}

/* ---- what paho tells us; paho's threads, paho's lock held ---- */

/* Mark the link as over. Return: false when it was already. */
static bool finish_locked(struct lt_mq_link *l)
{
	if (l->over)
		return false;
	l->over = true;
	return true;
}

static bool finish(struct lt_mq_link *l)
{
	struct lt_mq_core *c = l->w->core;
	bool first;

	pthread_mutex_lock(&c->lock);
	first = finish_locked(l);
	pthread_mutex_unlock(&c->lock);
	return first;
}

static void lost(struct lt_mq_link *l, const struct lt_mq_ev *why)
{
	struct lt_mq_core *c = l->w->core;
	struct lt_mq_ev ev = *why;
	bool first;

	ev.gen = l->gen;
	pthread_mutex_lock(&c->lock);
	first = finish_locked(l);
	/* Lost while we were disconnecting anyway. */
	ev.type = l->pausing ? LT_MQ_EV_PAUSED : LT_MQ_EV_LOST;
	pthread_mutex_unlock(&c->lock);
	if (first)
		lt_mq_post(l->w, &ev);
}

static void on_lost(void *ctx, char *cause)
{
	struct lt_mq_link *l = ctx;
	struct lt_mq_core *c = l->w->core;
	struct lt_mq_ev ev = {.silent = true};

	(void)cause; /* paho 1.3.12 always passes NULL */
	lt_fail(&ev.err, LT_EIO, LT_CLS_RETRY, "mqtt.connect",
		"the connection to the broker at %s:%d was lost", c->host, c->port);
	lost(l, &ev);
}

static void on_disconnected(void *ctx, MQTTProperties *props, enum MQTTReasonCodes reason)
{
	struct lt_mq_link *l = ctx;
	struct lt_mq_ev ev = {.takeover = reason == MQTTREASONCODE_SESSION_TAKEN_OVER};

	(void)props;
	lt_mq_err_disconnect(l->w, reason, &ev.err);
	lost(l, &ev);
}

static void on_paused(void *ctx, MQTTAsync_successData5 *data)
{
	struct lt_mq_link *l = ctx;
	struct lt_mq_ev ev = {.type = LT_MQ_EV_PAUSED, .gen = l->gen};

	(void)data;
	if (finish(l))
		lt_mq_post(l->w, &ev);
}

static void on_up(void *ctx, MQTTAsync_successData5 *data)
{
	struct lt_mq_link *l = ctx;
	struct lt_mq_worker *w = l->w;
	struct lt_mq_ev ev = {.type = LT_MQ_EV_UP, .gen = l->gen, .window = 65535};
	int n;

	ev.session = data->alt.connect.sessionPresent;
	if (MQTTProperties_hasProperty(&data->properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM)) {
		n = MQTTProperties_getNumericValue(
			&data->properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM);
		if (n > 0)
			ev.window = (uint32_t)n;
	}
	if (MQTTProperties_hasProperty(&data->properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE))
		ev.max_packet = (uint32_t)MQTTProperties_getNumericValue(
			&data->properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE);
	pthread_mutex_lock(&w->core->lock);
	l->up = true;
	/* paho does not know Server Keep Alive; the next connection will comply. */
	if (MQTTProperties_hasProperty(&data->properties, MQTTPROPERTY_CODE_SERVER_KEEP_ALIVE)) {
		n = MQTTProperties_getNumericValue(
			&data->properties, MQTTPROPERTY_CODE_SERVER_KEEP_ALIVE);
		if (n > 0 && (uint32_t)n < w->keepalive_s)
			w->keepalive_s = (uint32_t)n;
	}
	pthread_mutex_unlock(&w->core->lock);
	lt_mq_post(w, &ev);
}

static void on_not_up(void *ctx, MQTTAsync_failureData5 *data)
{
	struct lt_mq_link *l = ctx;
	struct lt_mq_core *c = l->w->core;

	pthread_mutex_lock(&c->lock);
	if (finish_locked(l)) {
		l->fail_code = data->code;
		snprintf(l->fail_text, sizeof(l->fail_text), "%s",
			data->message ? data->message : "");
		l->diagnose = true;
		pthread_cond_signal(&l->w->work);
	}
	pthread_mutex_unlock(&c->lock);
}

/* OpenSSL's line is thread:error:code:library:function:reason:file:line:data. */
static int on_tls_error(const char *str, size_t len, void *ctx)
{
	struct lt_mq_link *l = ctx;
	struct lt_mq_core *c = l->w->core;
	const char *p = str, *end = str + len;

	for (int i = 0; i < 5 && p; i++) {
		p = memchr(p, ':', (size_t)(end - p));
		p = p ? p + 1 : NULL;
	}
	if (!p)
		p = str;
	pthread_mutex_lock(&c->lock);
	if (!l->tls_text[0])
		snprintf(l->tls_text, sizeof(l->tls_text), "%.*s",
			(int)(memchr(p, ':', (size_t)(end - p))
					? (const char *)memchr(p, ':', (size_t)(end - p)) - p
					: end - p),
			p);
	pthread_mutex_unlock(&c->lock);
	return 1;
}

static void subscribe_failed(struct lt_mq_link *l, const char *filter, int reason)
{
	struct lt_mq_ev ev = {.type = LT_MQ_EV_FAILED, .gen = l->gen};

	lt_mq_err_subscribe(filter, reason, &ev.err);
	if (finish(l))
		lt_mq_post(l->w, &ev);
}

static void on_subscribed(void *ctx, MQTTAsync_successData5 *data)
{
	struct lt_mq_link *l = ctx;
	struct lt_mq_core *c = l->w->core;
	struct lt_mq_ev ev = {.type = LT_MQ_EV_SUBSCRIBED, .gen = l->gen};

	for (size_t i = 0; c->n_topics > 1 && i < c->n_topics; i++) {
		if ((int)i >= data->alt.sub.reasonCodeCount ||
			data->alt.sub.reasonCodes[i] >= MQTTREASONCODE_UNSPECIFIED_ERROR) {
			subscribe_failed(l, c->topics[i],
				(int)i < data->alt.sub.reasonCodeCount
					? (int)data->alt.sub.reasonCodes[i]
					: MQTTREASONCODE_UNSPECIFIED_ERROR);
			return;
		}
	}
	pthread_mutex_lock(&c->lock);
	l->w->subscribing = false;
	pthread_mutex_unlock(&c->lock);
	lt_mq_post(l->w, &ev);
}

static void on_not_subscribed(void *ctx, MQTTAsync_failureData5 *data)
{
	struct lt_mq_link *l = ctx;

	/* Otherwise the connection is lost, and that is told by another callback. */
	if (data->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR)
		subscribe_failed(l, l->w->core->topics[0], data->reasonCode);
}

static void done(struct lt_out *o, int code, int reason)
{
	struct lt_mq_core *c = o->owner;

	pthread_mutex_lock(&c->lock);
	if (!o->done) {
		o->done = true;
		o->code = code;
		o->reason = reason;
		o->next_done = NULL;
		if (!c->acked)
			lt_mq_wake_locked(c);
		*c->acked_end = o;
		c->acked_end = &o->next_done;
		if (c->unacked > 0 && --c->unacked == 0)
			pthread_cond_broadcast(&c->idle);
	}
	pthread_mutex_unlock(&c->lock);
}

static void on_sent(void *ctx, MQTTAsync_successData5 *data)
{
	(void)data;
	done(ctx, LT_OK, 0);
}

static void on_not_sent(void *ctx, MQTTAsync_failureData5 *data)
{
	struct lt_out *o = ctx;

	/*
	 * Only a PUBACK comes with code 0. In all other cases the connection is gone, reasonCode
	 * may be uninitialised, and the message is sent again.
	 */
	if (data->code != 0 || data->reasonCode < MQTTREASONCODE_UNSPECIFIED_ERROR)
		return;
	done(o, data->reasonCode == MQTTREASONCODE_NOT_AUTHORIZED ? LT_EAUTH : LT_EDATA,
		data->reasonCode);
}

static struct lt_in *copy_message(const char *topic, int topic_len, MQTTAsync_message *msg)
{
	MQTTProperty *type =
		MQTTProperties_getProperty(&msg->properties, MQTTPROPERTY_CODE_CONTENT_TYPE);
	struct lt_in *in;

	in = lt_in_new(topic, topic_len > 0 ? (size_t)topic_len : strlen(topic), msg->payload,
		(size_t)msg->payloadlen, type ? type->value.data.data : NULL,
		type ? (size_t)type->value.data.len : 0);
	in->m.retained = msg->retained;
	in->m.redelivered = msg->dup;
	return in;
}

static bool asked_for(const struct lt_mq_core *c, const char *topic)
{
	for (size_t i = 0; i < c->n_topics; i++)
		if (lt_topic_match(c->topics[i], topic))
			return true;
	return false;
}

/*
 * Waits for the user to give something back, but not for long, because nobody in this process can
 * use paho meanwhile. In the last quarter of the budget only one who gave something back lately is
 * waited for: he is merely slower than the broker, and need not disconnect, which costs a second or
 * two. For one who hangs it would only pile up messages in the socket.
 */
static void brake_locked(const struct lt_mq_link *l)
{
	struct lt_mq_core *c = l->w->core;
	bool leaving = l->pausing || l->over;
	size_t most = leaving ? 2 * c->limit_bytes : c->limit_bytes / 4 * 3;
	struct timespec until;
	int64_t ns;

	if (c->in.held_bytes <= most)
		return;
	ns = lt_mono_ns();
	if (!leaving && (l->w->subscribing || ns - c->given_back_ns > LATELY_MS * LT_NS_PER_MS))
		return;
	ns += (leaving ? PAUSE_SLICE_MS : BRAKE_MS) * LT_NS_PER_MS;
	until.tv_sec = ns / LT_NS_PER_S;
	until.tv_nsec = ns % LT_NS_PER_S;
	while (!c->stopping && c->in.held_bytes > most)
		if (pthread_cond_timedwait(&c->space, &c->lock, &until) == ETIMEDOUT)
			break;
}

/* The queue is full: a regular DISCONNECT. Called without our lock. */
static void give_up(struct lt_mq_link *l)
{
	MQTTAsync_disconnectOptions opts = MQTTAsync_disconnectOptions_initializer5;

	opts.onSuccess5 = on_paused;
	opts.context = l;
	/* Queued for paho's sending thread. DISCONNECTED: on_lost() has the news. */
	MQTTAsync_disconnect(l->handle, &opts);
}

static int on_message(void *ctx, char *topic, int topic_len, MQTTAsync_message *msg)
{
	struct lt_mq_link *l = ctx;
	struct lt_mq_core *c = l->w->core;
	struct lt_in *in = copy_message(topic, topic_len, msg);
	const struct lt_bus_keep *keep;
	bool pause = false, once = msg->qos == 0;

	MQTTAsync_freeMessage(&msg);
	MQTTAsync_free(topic);
	if (!asked_for(c, in->m.topic)) {
		/* A subscription of an earlier configuration that the session still has. */
		free(in);
		lt_counter_add(&lt_bus_stats.foreign, 1);
		return 1;
	}
	pthread_mutex_lock(&c->lock);
	keep = once ? NULL : c->keep;
	if (keep) {
		pthread_mutex_unlock(&c->lock);
		/* Before the PUBACK, which paho sends when this function returns. */
		in->m.kept = keep->keep(keep->arg, &in->m);
		pthread_mutex_lock(&c->lock);
	}
	if (lt_inq_push(&c->in, in))
		lt_mq_wake_locked(c);
	if (c->in.held_bytes >= c->limit_bytes && !l->pausing && !l->over)
		pause = l->pausing = true;
	if (pause) {
		pthread_mutex_unlock(&c->lock);
		give_up(l);
		pthread_mutex_lock(&c->lock);
	}
	brake_locked(l);
	pthread_mutex_unlock(&c->lock);
	return 1;
}

/* ---- what the worker does; no lock held ---- */

static void open_failed(struct lt_mq_link *l, const struct lt_err *err)
{
	struct lt_mq_ev ev = {.type = LT_MQ_EV_FAILED, .gen = l->gen, .err = *err};

	if (finish(l))
		lt_mq_post(l->w, &ev);
}

static int check_file(const char *key, const char *path, struct lt_err *err)
{
	if (path[0] && access(path, R_OK) < 0)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "mqtt.tls",
			"bus.mqtt.%s: cannot read '%.200s': %s", key, path, strerror(errno));
	return LT_OK;
}

static int check_files(const struct lt_mq_core *c, struct lt_err *err)
{
	if (check_file("ca_file", c->ca_file, err) < 0 ||
		check_file("cert_file", c->cert_file, err) < 0 ||
		check_file("key_file", c->key_file, err) < 0)
		return err->code;
	return LT_OK;
}

/*
 * Find the address here, without paho's lock. The numeric form is then passed on, except to TLS,
 * which needs the name to check the certificate. IPv4 first, as paho does; the next attempt takes
 * the next address.
 */
static int make_uri(struct lt_mq_link *l, char *uri, size_t size, struct lt_err *err)
{
	const struct lt_mq_core *c = l->w->core;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *res = NULL;
	const struct addrinfo *a = NULL;
	char num[NI_MAXHOST];
	unsigned n = 0, pick;
	int rc;

	rc = getaddrinfo(c->host, NULL, &hints, &res);
	if (rc != 0)
		return lt_mq_err_resolve(c, rc, err);
	for (a = res; a; a = a->ai_next)
		n++;
	pick = l->w->address % n;
	for (int pass = 0; pass < 2; pass++) {
		for (a = res; a; a = a->ai_next)
			if ((a->ai_family == AF_INET) == (pass == 0) && pick-- == 0)
				break;
		if (a)
			break;
	}
	rc = getnameinfo(a->ai_addr, a->ai_addrlen, num, sizeof(num), NULL, 0, NI_NUMERICHOST);
	if (rc == 0) {
		const char *host = c->tls ? c->host : num;
		bool v6 = strchr(host, ':') != NULL;

		snprintf(uri, size, "%s://%s%s%s:%d", c->tls ? "ssl" : "tcp", v6 ? "[" : "", host,
			v6 ? "]" : "", c->port);
	}
	freeaddrinfo(res);
	return rc == 0 ? LT_OK : lt_mq_err_resolve(c, rc, err);
}

static void add_number(MQTTProperties *props, enum MQTTPropertyCodes code, uint32_t n)
{
	MQTTProperty p = {.identifier = code};

	if (code == MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR)
		p.value.byte = (unsigned char)n;
	else
		p.value.integer4 = n;
	MQTTProperties_add(props, &p);
}

static int paho_connect(struct lt_mq_link *l)
{
	const struct lt_mq_core *c = l->w->core;
	MQTTAsync_connectOptions opts = MQTTAsync_connectOptions_initializer5;
	MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
	MQTTAsync_SSLOptions ssl = MQTTAsync_SSLOptions_initializer;
	MQTTProperties props = MQTTProperties_initializer, will_props = MQTTProperties_initializer;
	uint32_t expiry_s = l->w->expiry_s;
	size_t packet = c->limit_bytes;
	int rc;

	opts.cleanstart = l->w->clean_start;
	if (l->will_topic) {
		will.topicName = l->will_topic;
		will.payload.data = l->will.data;
		will.payload.len = (int)l->will.len;
		will.qos = 1;
		will.retained = 1;
		opts.will = &will;
		opts.willProperties = &will_props;
		add_number(&will_props, MQTTPROPERTY_CODE_WILL_DELAY_INTERVAL, LT_MQ_WILL_DELAY_S);
		/* The delay ends with the session, so there must be one. */
		opts.cleanstart = 0;
		expiry_s = LT_MQ_WILL_SESSION_S;
	}
	if (packet < LT_MQ_PACKET_MIN_BYTES)
		packet = LT_MQ_PACKET_MIN_BYTES;
	if (packet < UINT32_MAX)
		add_number(&props, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, (uint32_t)packet);
	add_number(&props, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, expiry_s);
	opts.connectProperties = &props;
	opts.keepAliveInterval = (int)l->w->keepalive_s;
	opts.maxInflight = 65535; /* the window is ours */
	opts.connectTimeout = c->connect_timeout_s;
	opts.automaticReconnect = 0;
	opts.username = c->username[0] ? c->username : NULL;
	opts.password = c->password[0] ? c->password : NULL;
	if (c->tls) {
		ssl.trustStore = c->ca_file[0] ? c->ca_file : NULL;
		ssl.keyStore = c->cert_file[0] ? c->cert_file : NULL;
		ssl.privateKey = c->key_file[0] ? c->key_file : NULL;
		ssl.enableServerCertAuth = 1;
		ssl.verify = c->verify_hostname;
		ssl.ssl_error_cb = on_tls_error;
		ssl.ssl_error_context = l;
		opts.ssl = &ssl;
	}
	opts.onSuccess5 = on_up;
	opts.onFailure5 = on_not_up;
	opts.context = l;
	rc = MQTTAsync_connect(l->handle, &opts);
	MQTTProperties_free(&props);
	MQTTProperties_free(&will_props);
	return rc;
}

void lt_mq_link_open(struct lt_mq_link *l)
{
	const struct lt_mq_core *c = l->w->core;
	MQTTAsync_createOptions opts = MQTTAsync_createOptions_initializer5;
	struct lt_err err = {0};
	char uri[NI_MAXHOST + 32];
	MQTTAsync handle = NULL;
	int rc;

	if ((c->tls && check_files(c, &err) < 0) || make_uri(l, uri, sizeof(uri), &err) < 0) {
		open_failed(l, &err);
		return;
	}
	pthread_once(&anchor_once, make_anchor);
	opts.maxBufferedMessages = 65535; /* never reached: our window is smaller */
	opts.persistQoS0 = 0;
	rc = MQTTAsync_createWithOptions(
		&handle, uri, l->w->client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &opts);
	l->handle = handle;
	if (rc == MQTTASYNC_SUCCESS) {
		MQTTAsync_setConnectionLostCallback(handle, l, on_lost);
		MQTTAsync_setMessageArrivedCallback(handle, l, on_message);
		MQTTAsync_setDisconnected(handle, l, on_disconnected);
		rc = paho_connect(l);
	}
	if (rc != MQTTASYNC_SUCCESS) {
		const char *text = MQTTAsync_strerror(rc);

		lt_fail(&err, LT_ECONF, LT_CLS_CONFIG, "mqtt.connect",
			"cannot connect to %s:%d with this configuration: %s (%d)", c->host,
			c->port, text ? text : "unknown error", rc);
		open_failed(l, &err);
	}
}

void lt_mq_link_diagnose(struct lt_mq_link *l)
{
	struct lt_mq_core *c = l->w->core;
	struct lt_mq_ev ev = {.type = LT_MQ_EV_FAILED, .gen = l->gen};
	char tls_text[sizeof(l->tls_text)];

	pthread_mutex_lock(&c->lock);
	memcpy(tls_text, l->tls_text, sizeof(tls_text));
	pthread_mutex_unlock(&c->lock);
	l->w->address++;
	if (l->fail_code > 0) {
		lt_mq_err_connack(l->w, l->fail_code, &ev.err);
	} else if (tls_text[0]) {
		lt_mq_err_tls(c, tls_text, &ev.err);
	} else if (lt_mq_err_tcp(c, &ev.err) < 0) {
		/* it says what is wrong */
	} else if (c->tls && strstr(l->fail_text, "TLS connect failure")) {
		lt_mq_err_tls(c, "", &ev.err);
	} else if (c->tls && !c->cert_file[0]) {
		lt_fail(&ev.err, LT_EAUTH, LT_CLS_CONFIG, "mqtt.tls",
			"the broker at %s:%d closed the connection after the TLS handshake; it "
			"probably wants a client certificate (bus.mqtt.cert_file, "
			"bus.mqtt.key_file)",
			c->host, c->port);
	} else {
		lt_fail(&ev.err, LT_EIO, LT_CLS_RETRY, "mqtt.connect",
			"the broker at %s:%d closed the connection before it answered; if that "
			"lasts, check that the port speaks MQTT %s",
			c->host, c->port, c->tls ? "over TLS" : "without TLS");
	}
	lt_mq_post(l->w, &ev);
}

void lt_mq_link_subscribe(struct lt_mq_link *l, bool before)
{
	const struct lt_mq_core *c = l->w->core;
	MQTTAsync_responseOptions opts = MQTTAsync_responseOptions_initializer;
	MQTTSubscribe_options sub = MQTTSubscribe_options_initializer;
	MQTTSubscribe_options *subs = lt_malloc(c->n_topics * sizeof(*subs));
	int *qos = lt_malloc(c->n_topics * sizeof(*qos));
	int rc;

	sub.retainHandling = c->no_retained ? 2 : before ? 1 : 0;
	for (size_t i = 0; i < c->n_topics; i++) {
		subs[i] = sub;
		qos[i] = 1;
	}
	opts.onSuccess5 = on_subscribed;
	opts.onFailure5 = on_not_subscribed;
	opts.context = l;
	opts.subscribeOptions = sub;
	opts.subscribeOptionsList = subs;
	opts.subscribeOptionsCount = (int)c->n_topics;
	rc = MQTTAsync_subscribeMany(l->handle, (int)c->n_topics, c->topics, qos, &opts);
	free(subs);
	free(qos);
	if (rc != MQTTASYNC_SUCCESS)
		on_lost(l, NULL);
}

/* Text that a receiver may treat as UTF-8. */
static bool is_text(const char *content_type)
{
	return content_type && (strncmp(content_type, "text/", 5) == 0 ||
				       strncmp(content_type, "application/json", 16) == 0);
}

void lt_mq_link_send(struct lt_mq_link *l, struct lt_out *o)
{
	MQTTAsync_message msg = MQTTAsync_message_initializer;
	MQTTAsync_responseOptions opts = MQTTAsync_responseOptions_initializer;
	MQTTProperty type = {.identifier = MQTTPROPERTY_CODE_CONTENT_TYPE};
	int rc;

	msg.payload = (void *)o->m.data;
	msg.payloadlen = (int)o->m.size;
	msg.qos = o->m.at_most_once ? 0 : 1;
	msg.retained = o->m.retain;
	if (o->m.content_type) {
		type.value.data.data = (char *)o->m.content_type;
		type.value.data.len = (int)strlen(o->m.content_type);
		MQTTProperties_add(&msg.properties, &type);
	}
	if (is_text(o->m.content_type))
		add_number(&msg.properties, MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR, 1);
	if (o->m.expiry_s) {
		int64_t left = o->m.expiry_s - (lt_mono_ns() - o->accepted_ns) / LT_NS_PER_S;

		add_number(&msg.properties, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL,
			left < 1 ? 1 : (uint32_t)left);
	}
	opts.onSuccess5 = on_sent;
	opts.onFailure5 = on_not_sent;
	opts.context = o;
	rc = MQTTAsync_sendMessage(l->handle, o->m.topic, &msg, &opts);
	MQTTProperties_free(&msg.properties);
	if (rc != MQTTASYNC_SUCCESS)
		on_lost(l, NULL); /* it will be sent again */
}

void lt_mq_link_close(struct lt_mq_link *l)
{
	MQTTAsync handle = l->handle;

	/* Sends the DISCONNECT; no callback runs after it. */
	if (handle)
		MQTTAsync_destroy(&handle);
	lt_mq_link_free(l);
}
