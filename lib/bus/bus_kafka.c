/* SPDX-License-Identifier: MIT */
/* The life of a Kafka bus and its connection state; messages are in _in.c and _out.c. */
#include "bus_kafka.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

struct kf_stats kf_stats;

static double ms_as_seconds(void *p)
{
	return (double)lt_counter_get(p) / 1000;
}

static const struct lt_stat stat_table[] = {
	{"latido_bus_partitions", LT_STAT_GAUGE, NULL, "Partitions assigned to this process.",
		&kf_stats.partitions, NULL},
	{"latido_bus_lag_messages", LT_STAT_GAUGE, NULL,
		"Messages in the assigned partitions that are not done, all partitions together.",
		&kf_stats.lag, NULL},
	{"latido_bus_lag_max_messages", LT_STAT_GAUGE, NULL,
		"The same of the partition that is furthest behind.", &kf_stats.lag_max, NULL},
	{"latido_bus_assigned_total", LT_STAT_COUNTER, NULL,
		"Partitions that rebalances gave to this process.", &kf_stats.assigned, NULL},
	{"latido_bus_revoked_total", LT_STAT_COUNTER, NULL,
		"Partitions that rebalances took from this process.", &kf_stats.revoked, NULL},
	{"latido_bus_gaps_total", LT_STAT_COUNTER, NULL,
		"Times that a position was not in the log any more.", &kf_stats.lost_spans, NULL},
	{"latido_bus_gap_messages_total", LT_STAT_COUNTER, NULL,
		"Offsets deleted before they were read.", &kf_stats.lost_offsets, NULL},
	{"latido_bus_resent_total", LT_STAT_COUNTER, NULL,
		"Publishes that had to be handed to the client library again.", &kf_stats.resent,
		NULL},
	{"latido_bus_rebuilt_total", LT_STAT_COUNTER, NULL,
		"Producers replaced after a fatal error.", &kf_stats.rebuilt, NULL},
	{"latido_bus_throttled_total", LT_STAT_COUNTER, NULL,
		"Replies that a quota of the brokers delayed.", &kf_stats.throttled, NULL},
	{"latido_bus_throttled_seconds_total", LT_STAT_COUNTER_FN, NULL,
		"For how long quotas of the brokers delayed replies.", &kf_stats.throttled_ms,
		ms_as_seconds},
};

const char *kf_intern(struct kf *k, const char *name)
{
	for (size_t i = 0; i < k->n_names; i++)
		if (strcmp(k->names[i], name) == 0)
			return k->names[i];
	if (k->n_names == LT_ARRAY_LEN(k->names))
		return NULL;
	return k->names[k->n_names++] = lt_strdup(name);
}

int kf_error(struct lt_err *err, int rc, const char *op, const char *what, const char *text)
{
	switch (rc) {
	case KF_UNKNOWN_TOPIC:
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, op,
			"Kafka has no topic '%.200s'; create it by `latido topics create`", what);
	case RD_KAFKA_RESP_ERR__AUTHENTICATION:
	case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
		return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, op,
			"Kafka refused our credentials (bus.kafka.username, password_file): %s",
			text);
	case RD_KAFKA_RESP_ERR__SSL:
		return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, op,
			"TLS with Kafka failed (bus.kafka.ca_file, cert_file): %s", text);
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, op,
			"Kafka does not permit this user to use the topic '%.200s'", what);
	case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
		return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, op,
			"Kafka does not permit this user to join the group '%.200s'", what);
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, op,
			"Kafka does not permit this user to do this: %s", text);
	default:
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, op, "Kafka: %s", text);
	}
}

void kf_wake(struct kf *k)
{
	lt_waker_wake(&k->waker);
}

/* ---- connected or not ---- */

static const char *subject(const struct kf *k, int rc)
{
	return rc == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ? k->group
								  : k->bus.conf->kafka.topic;
}

void kf_note(struct kf *k, rd_kafka_resp_err_t rc, const char *text)
{
	struct lt_err err = {0};

	switch (rc) {
	case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
		k->suspect = true;
		k->next_look_ns = 0;
		return;
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
		if (k->last_error.cls != LT_CLS_CONFIG)
			kf_error(&k->last_error, rc, "bus.connect", "", text);
		return;
	case RD_KAFKA_RESP_ERR__FATAL:
		k->broken = true;
		return;
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		/* Without any permission to write an idempotent producer does not get its number. */
		kf_out_forbidden(k);
		return;
	default:
		kf_error(&err, rc, "bus.kafka", subject(k, rc), text);
		if (err.cls == LT_CLS_CONFIG)
			k->last_error = err;
		if (rc == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED)
			k->posted = err;
		else if (err.cls != LT_CLS_CONFIG)
			lt_log(LT_DEBUG, "kafka_error", LT_S("err", err.msg));
	}
}

static void tell_down(struct kf *k, const struct lt_err *err)
{
	k->connected = k->answers = false;
	k->next_look_ns = lt_mono_ns() + lt_backoff_next_ms(&k->backoff) * LT_NS_PER_MS;
	if (k->bus.handler.state)
		k->bus.handler.state(k->bus.handler.arg, false, false, err);
}

static void tell_up(struct kf *k)
{
	/* The log keeps everything for a group, also for one that was never here. */
	bool resumed = k->durable && k->n_filters;

	k->suspect = false;
	k->answers = true;
	k->next_look_ns = lt_mono_ns() + KF_LOOK_NS;
	lt_backoff_reset(&k->backoff);
	if (k->connected || (k->n_filters && !k->durable && !k->started))
		return;
	memset(&k->last_error, 0, sizeof(k->last_error));
	k->connected = true;
	if (k->bus.handler.state)
		k->bus.handler.state(k->bus.handler.arg, true, resumed, NULL);
	k->want_writable = true;
}

static void looked(struct kf *k, int rc, const char *bad_log)
{
	struct lt_err err = {0};

	if (rc == 0 && k->posted.cls) {
		/* The brokers answer, but they do not let us into the group. */
		err = k->posted;
		memset(&k->posted, 0, sizeof(k->posted));
	} else if (rc == 0 && !k->in && k->forbidden.cls) {
		/* They answer, and we may read, but not write. */
		err = k->forbidden;
	} else if (rc == 0) {
		kf_part_looked(k);
		tell_up(k);
		return;
	} else if (!bad_log && k->last_error.cls) {
		err = k->last_error;
	} else {
		kf_error(&err, rc, "bus.connect", bad_log ? bad_log : "",
			rc == KF_UNKNOWN_TOPIC ? "" : rd_kafka_err2str((rd_kafka_resp_err_t)rc));
	}
	tell_down(k, &err);
}

static void serve_probe(struct kf *k)
{
	struct kf_probe *p = &k->probe;
	struct kf_limits *known;
	bool answered;
	const char *bad_log;
	int rc;

	pthread_mutex_lock(&p->lock);
	answered = p->looked;
	p->looked = false;
	rc = p->rc;
	bad_log = p->bad_log;
	known = p->known;
	p->known = NULL;
	pthread_mutex_unlock(&p->lock);
	while (known) {
		struct kf_limits *next = known->next;

		kf_part_limits(k, known);
		free(known);
		known = next;
	}
	if (answered)
		looked(k, rc, bad_log);
	else if (!k->connected && k->answers && k->started)
		tell_up(k);
}

/* ---- the loop's side ---- */

static void tell(struct kf *k)
{
	const struct lt_bus_handler *h = &k->bus.handler;

	if (k->want_readable && !k->stopped && kf_in_pending(k)) {
		k->want_readable = false;
		if (h->readable)
			h->readable(h->arg);
	}
	if (k->want_writable && k->connected && !k->again && !k->broken &&
		k->inflight < (size_t)k->bus.conf->kafka.max_inflight) {
		k->want_writable = false;
		if (h->writable)
			h->writable(h->arg);
	}
}

static void serve(struct kf *k)
{
	if (k->in)
		kf_in_serve(k);
	if (k->out)
		kf_out_serve(k);
	serve_probe(k);
	if (k->in)
		kf_in_flush(k);
	if (k->next_look_ns && lt_mono_ns() < k->next_look_ns) {
		/* not yet */
	} else {
		k->next_look_ns = INT64_MAX; /* until it is answered */
		kf_probe_look(&k->probe);
	}
	tell(k);
	lt_bus_fill(&k->bus, k->held_bytes, k->inflight);
}

static void on_wake(void *arg)
{
	serve(arg);
}

static void on_tick(void *arg)
{
	struct kf *k = arg;

	lt_timer_start_ns(&k->tick, k->connected ? KF_TICK_NS : KF_TICK_NS / 10);
	if (k->in)
		kf_part_forward(k);
	serve(k);
	if (k->in)
		kf_in_lag(k);
}

static void on_resend(void *arg)
{
	struct kf *k = arg;

	kf_out_resend(k);
	serve(k);
}

/* ---- ops ---- */

static void add_log(const char **logs, size_t *n, const char *log)
{
	for (size_t i = 0; i < *n; i++)
		if (strcmp(logs[i], log) == 0)
			return;
	logs[(*n)++] = log;
}

static void find_logs(struct kf *k)
{
	for (size_t i = 0; i < k->n_filters; i++) {
		const char *logs[3];
		size_t n = lt_kafka_logs(k->bus.conf, k->filters[i], logs);

		for (size_t j = 0; j < n; j++)
			add_log(k->logs, &k->n_logs, kf_intern(k, logs[j]));
	}
	while (k->main_log < k->n_logs &&
		strcmp(k->logs[k->main_log], k->bus.conf->kafka.topic) != 0)
		k->main_log++;
}

/* With a wildcard over everything, topics that do not exist are no reason to complain. */
static void choose_needed(struct kf *k)
{
	struct kf_probe *p = &k->probe;

	if (k->n_logs == 1)
		p->logs[p->n_logs++] = k->logs[0];
	else
		p->logs[p->n_logs++] = kf_intern(k, k->bus.conf->kafka.topic);
	for (size_t i = 0; i < k->n_logs; i++)
		add_log(p->logs, &p->n_logs, k->logs[i]);
}

/*
 * A consumer that was never assigned anything is left alone at the end, see kf_in_fini(), and its
 * threads may hold a TLS connection when the process ends: OpenSSL must not tidy up under them.
 */
static pthread_once_t openssl_once = PTHREAD_ONCE_INIT;
static void keep_openssl(void)
{
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
}

static int kf_init(struct lt_bus *b, const struct lt_bus_options *opt, struct lt_err *err)
{
	struct kf *k = kf_of(b);
	const struct lt_bus_conf *c = b->conf;
	const char *comp = opt->comp ? opt->comp : "client";

	pthread_once(&openssl_once, keep_openssl);
	k->waker.fd = -1;
	k->again_end = &k->again;
	k->want_readable = true;
	k->comp = lt_strdup(comp);
	k->durable = opt->durable;
	k->since_ms = opt->since_ns / LT_NS_PER_MS;
	k->group = c->kafka.group && c->kafka.group[0] ? lt_strdup(c->kafka.group)
						       : lt_asprintf("latido-%s", comp);
	k->limit_bytes = (size_t)c->queue_bytes / 4 * 3; /* the rest: kf_conf_make() */
	k->filters = lt_calloc(opt->n_topics + 1, sizeof(*k->filters));
	for (; k->n_filters < opt->n_topics; k->n_filters++)
		k->filters[k->n_filters] = lt_strdup(opt->topics[k->n_filters]);
	lt_backoff_init(&k->backoff, c->backoff_base_ms, c->backoff_cap_ms);
	find_logs(k);
	choose_needed(k);
	k->out_conf = kf_conf_make(k, false, err);
	if (!k->out_conf)
		return LT_ECONF;
	if (k->n_filters) {
		k->in_conf = kf_conf_make(k, true, err);
		if (!k->in_conf)
			return LT_ECONF;
	}
	return LT_OK;
}

static int kf_open(struct lt_bus *b, struct lt_err *err)
{
	struct kf *k = kf_of(b);
	int rc = lt_waker_init(&k->waker, b->loop, on_wake, k, err);

	if (rc < 0)
		return rc;
	lt_timer_init(&k->tick, b->loop, on_tick, k);
	lt_timer_init(&k->resend, b->loop, on_resend, k);
	lt_stats_add(stat_table, LT_ARRAY_LEN(stat_table));
	rc = kf_probe_start(&k->probe, k, err);
	if (rc < 0)
		return rc;
	k->opened = true;
	rc = k->n_filters ? kf_in_open(k, err) : kf_out_open(k, err);
	if (rc < 0)
		return rc;
	kf_probe_rk(&k->probe, k->in ? k->in : k->out);
	lt_timer_start_ns(&k->tick, 0);
	return LT_OK;
}

static size_t kf_inflight(const struct lt_bus *b)
{
	return ((const struct kf *)b)->inflight;
}

static void kf_stop_reading(struct lt_bus *b)
{
	kf_of(b)->stopped = true;
}

static void kf_fini(struct lt_bus *b)
{
	struct kf *k = kf_of(b);

	k->closing = true;
	kf_probe_stop(&k->probe);
	kf_in_fini(k);
	kf_out_fini(k);
	lt_timer_fini(&k->tick);
	lt_timer_fini(&k->resend);
	lt_waker_fini(&k->waker);
	if (k->in_conf)
		rd_kafka_conf_destroy(k->in_conf);
	if (k->out_conf)
		rd_kafka_conf_destroy(k->out_conf);
	for (size_t i = 0; i < k->n_filters; i++)
		free(k->filters[i]);
	free(k->filters);
	for (size_t i = 0; i < k->n_names; i++)
		free((char *)k->names[i]);
	free(k->comp);
	free(k->group);
}

const struct lt_bus_ops lt_bus_kafka_ops = {
	.scheme = "kafka",
	.size = sizeof(struct kf),
	.caps = LT_BUS_DEFER_ACK | LT_BUS_PARTITIONS | LT_BUS_HEADERS,
	.init = kf_init,
	.open = kf_open,
	.publish = kf_out_publish,
	.poll = kf_in_poll,
	.done = kf_in_done,
	.seek = kf_part_seek,
	.unread = kf_part_unread,
	.inflight = kf_inflight,
	.stop_reading = kf_stop_reading,
	.fini = kf_fini,
};
