/* SPDX-License-Identifier: MIT */
#include "latido/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus_int.h"
#include "bus_queue.h"
#include "latido/mem.h"

struct lt_bus_stats lt_bus_stats;

static const struct lt_stat stat_table[] = {
	{"latido_bus_connects_total", LT_STAT_COUNTER, NULL, "Times the bus became connected.",
		&lt_bus_stats.connected, NULL},
	{"latido_bus_failures_total", LT_STAT_COUNTER, NULL,
		"Connections that were lost or could not be made.", &lt_bus_stats.failed, NULL},
	{"latido_bus_pauses_total", LT_STAT_COUNTER, NULL,
		"Times reading stopped because bus.queue_bytes was reached.", &lt_bus_stats.paused,
		NULL},
	{"latido_bus_foreign_messages_total", LT_STAT_COUNTER, NULL,
		"Messages dropped because only a subscription of an earlier configuration asked "
		"for them.",
		&lt_bus_stats.foreign, NULL},
	{"latido_bus_delivered_total", LT_STAT_COUNTER, NULL,
		"Published messages that the broker has.", &lt_bus_stats.delivered, NULL},
	{"latido_bus_refused_total", LT_STAT_COUNTER, NULL,
		"Published messages that the broker refused for good.", &lt_bus_stats.refused,
		NULL},
	{"latido_bus_full_total", LT_STAT_COUNTER, NULL,
		"Publishes put off because max_inflight was reached or nothing was connected.",
		&lt_bus_stats.full, NULL},
	{"latido_bus_held_bytes", LT_STAT_GAUGE, NULL,
		"Received and not yet done; bounded by bus.queue_bytes.", &lt_bus_stats.held, NULL},
	{"latido_bus_inflight_messages", LT_STAT_GAUGE, NULL,
		"Published and not yet acknowledged by the broker; bounded by max_inflight.",
		&lt_bus_stats.inflight, NULL},
};

void lt_bus_fill(struct lt_bus *b, size_t held_bytes, size_t inflight)
{
	lt_gauge_add(&lt_bus_stats.held, (int64_t)held_bytes - (int64_t)b->told_held);
	lt_gauge_add(&lt_bus_stats.inflight, (int64_t)inflight - (int64_t)b->told_inflight);
	b->told_held = held_bytes;
	b->told_inflight = inflight;
}

/* A transport is added by a line here; several URL schemes may share a table. */
static const struct {
	const char *scheme;
	const struct lt_bus_ops *ops;
} transports[] = {
	{"mqtt", &lt_bus_mqtt_ops},
	{"mqtts", &lt_bus_mqtt_ops},
	{"kafka", &lt_bus_kafka_ops},
	{"kafkas", &lt_bus_kafka_ops},
	{"mem", &lt_bus_mem_ops},
};

static const struct lt_bus_ops *find_ops(const char *scheme)
{
	for (size_t i = 0; i < LT_ARRAY_LEN(transports); i++)
		if (strcmp(transports[i].scheme, scheme) == 0)
			return transports[i].ops;
	return NULL;
}

static int check_options(const struct lt_bus_options *opt, struct lt_err *err)
{
	for (size_t i = 0; i < opt->n_topics; i++)
		if (!lt_topic_filter_valid(opt->topics[i]))
			return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "bus.new",
				"'%.100s' is not a topic filter: '+' must be a whole level and '#' "
				"the last one",
				opt->topics[i]);
	return LT_OK;
}

struct lt_bus *lt_bus_new(const struct lt_bus_conf *conf, const struct lt_bus_options *opt,
	const struct lt_bus_handler *handler, struct lt_loop *loop, struct lt_err *err)
{
	const struct lt_bus_ops *ops;
	struct lt_bus_url url;
	struct lt_bus *b;

	if (lt_bus_url_parse(&url, conf->url, err) < 0 || check_options(opt, err) < 0)
		return NULL;
	ops = find_ops(url.scheme);
	if (!ops) {
		lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "bus.new",
			"bus.url: unknown scheme '%s'; known are mqtt://host:port, "
			"mqtts://host:port, kafka://host:port,host:port,..., kafkas://... and "
			"mem://name",
			url.scheme);
		return NULL;
	}
	lt_stats_add(stat_table, LT_ARRAY_LEN(stat_table));
	b = lt_calloc(1, ops->size);
	b->ops = ops;
	b->conf = conf;
	b->handler = *handler;
	b->loop = loop;
	b->keep = opt->keep;
	if (ops->init(b, opt, err) < 0) {
		lt_bus_free(b);
		return NULL;
	}
	return b;
}

unsigned lt_bus_caps(const struct lt_bus *b)
{
	return b->ops->caps;
}

const char *lt_bus_name(const struct lt_bus *b)
{
	return b->ops->scheme;
}

int lt_bus_open(struct lt_bus *b, struct lt_err *err)
{
	return b->ops->open(b, err);
}

int lt_bus_publish(struct lt_bus *b, const struct lt_bus_out *m, struct lt_err *err)
{
	int rc;

	if (!lt_topic_valid(m->topic))
		return lt_fail(err, LT_EDATA, LT_CLS_POISON, "bus.publish",
			"'%.100s' cannot be a topic: it must be 1 to 65535 bytes of UTF-8 without "
			"'+', '#' and control characters",
			m->topic);
	if (m->content_type && !lt_text_valid(m->content_type, strlen(m->content_type)))
		return lt_fail(err, LT_EDATA, LT_CLS_POISON, "bus.publish",
			"the content type is not printable UTF-8");
	rc = b->ops->publish(b, m, err);
	if (rc == LT_EFULL)
		lt_counter_add(&lt_bus_stats.full, 1);
	return rc;
}

size_t lt_bus_poll(struct lt_bus *b, struct lt_bus_msg **out, size_t max)
{
	return b->ops->poll(b, out, max);
}

void lt_bus_done(struct lt_bus *b, struct lt_bus_msg *m)
{
	if (!m)
		return;
	if (m->kept && b->keep)
		b->keep->done(b->keep->arg, m->kept);
	if (m->replayed)
		free(m);
	else
		b->ops->done(b, m);
}

struct lt_bus_msg *lt_bus_replay(
	const char *topic, const void *data, size_t size, const char *content_type)
{
	struct lt_in *in = lt_in_new(topic, strlen(topic), data, size, content_type,
		content_type ? strlen(content_type) : 0);

	in->m.replayed = true;
	return &in->m;
}

size_t lt_bus_inflight(const struct lt_bus *b)
{
	return b->ops->inflight(b);
}

void lt_bus_seek(struct lt_bus *b, const struct lt_bus_span *parts, size_t n)
{
	if (b->ops->seek)
		b->ops->seek(b, parts, n);
}

void lt_bus_unread(struct lt_bus *b, const struct lt_bus_span *parts, size_t n)
{
	if (b->ops->unread)
		b->ops->unread(b, parts, n);
}

void lt_bus_stop_reading(struct lt_bus *b)
{
	b->ops->stop_reading(b);
}

void lt_bus_free(struct lt_bus *b)
{
	if (!b)
		return;
	b->ops->fini(b);
	lt_bus_fill(b, 0, 0);
	free(b);
}

char *lt_bus_client_id(const struct lt_bus_conf *conf, const char *comp)
{
	char host[256] = "";

	if (conf->mqtt.client_id && conf->mqtt.client_id[0])
		return lt_strdup(conf->mqtt.client_id);
	if (gethostname(host, sizeof(host) - 1) < 0 || !host[0])
		strcpy(host, "localhost");
	return lt_asprintf("latido-%s-%s", comp ? comp : "client", host);
}
