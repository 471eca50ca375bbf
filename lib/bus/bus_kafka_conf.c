/* SPDX-License-Identifier: MIT */
/* Our configuration in librdkafka's words. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#include "bus_kafka.h"

/* For librdkafka's own queues on top of what is held here. */
#define PREFETCH_MIN_KBYTES 1024

struct setting {
	rd_kafka_conf_t *conf;
	struct lt_err *err;
	int rc;
};

static void set(struct setting *s, const char *name, const char *value)
{
	char text[256];

	if (s->rc == LT_OK &&
		rd_kafka_conf_set(s->conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
		s->rc = lt_fail(s->err, LT_ECONF, LT_CLS_CONFIG, "bus.new",
			"librdkafka refuses %s: %s", name, text);
}

static void set_int(struct setting *s, const char *name, int64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRId64, value);
	set(s, name, text);
}

static void set_text(struct setting *s, const char *name, const char *value)
{
	if (value && value[0])
		set(s, name, value);
}

/* bus.kafka.properties: the last word, also about what is set here. */
static void set_properties(struct setting *s, const struct lt_conf_map *map)
{
	for (size_t i = 0; i < map->n; i++) {
		char text[256];
		rd_kafka_conf_res_t res;

		if (s->rc != LT_OK)
			return;
		res = rd_kafka_conf_set(s->conf, map->keys[i], map->values[i], text, sizeof(text));
		if (res == RD_KAFKA_CONF_UNKNOWN)
			s->rc = lt_fail(s->err, LT_ECONF, LT_CLS_CONFIG, "bus.new",
				"bus.kafka.properties: librdkafka has no property '%.100s'",
				map->keys[i]);
		else if (res != RD_KAFKA_CONF_OK) /* its text would show the value */
			s->rc = lt_fail(s->err, LT_ECONF, LT_CLS_CONFIG, "bus.new",
				"bus.kafka.properties: bad value for '%.100s'%s%s", map->keys[i],
				strstr(map->keys[i], "password") ? "" : ": ",
				strstr(map->keys[i], "password") ? "" : text);
	}
}

static void set_servers(struct setting *s, const char *url)
{
	struct lt_buf list = {0};
	const char *p = strstr(url, "://") + 3;

	while (*p && *p != '/') {
		size_t n = strcspn(p, ",/");
		const char *close = *p == '[' ? memchr(p, ']', n) : NULL;
		const char *from = close ? close : p;

		lt_buf_printf(&list, "%s%.*s%s", list.len ? "," : "", (int)n, p,
			memchr(from, ':', n - (size_t)(from - p)) ? "" : ":9092");
		p += n;
		if (*p == ',')
			p++;
	}
	set(s, "bootstrap.servers", list.data);
	lt_buf_fini(&list);
}

static void set_security(struct setting *s, const struct lt_bus_conf *c)
{
	bool tls = strncasecmp(c->url, "kafkas://", 9) == 0;
	bool sasl = c->kafka.username && c->kafka.username[0];

	set(s, "security.protocol",
		tls    ? sasl ? "sasl_ssl" : "ssl"
		: sasl ? "sasl_plaintext"
		       : "plaintext");
	if (sasl) {
		set(s, "sasl.mechanism", c->kafka.sasl_mechanism);
		set(s, "sasl.username", c->kafka.username);
		set(s, "sasl.password", c->kafka.password);
	}
	if (!tls)
		return;
	set_text(s, "ssl.ca.location", c->kafka.ca_file);
	set_text(s, "ssl.certificate.location", c->kafka.cert_file);
	set_text(s, "ssl.key.location", c->kafka.key_file);
	set(s, "ssl.endpoint.identification.algorithm",
		c->kafka.verify_hostname ? "https" : "none");
}

static void set_consumer(struct setting *s, const struct kf *k)
{
	const struct lt_bus_conf *c = k->bus.conf;
	int64_t prefetch_kbytes = c->queue_bytes / 4 / 1024;
	int64_t session_ms = c->kafka.session_timeout_ms;

	if (prefetch_kbytes < PREFETCH_MIN_KBYTES)
		prefetch_kbytes = PREFETCH_MIN_KBYTES;
	if (prefetch_kbytes > 2097151)
		prefetch_kbytes = 2097151;
	set(s, "group.id", k->group);
	set(s, "enable.auto.offset.store", "false");
	set(s, "enable.auto.commit", k->durable ? "true" : "false");
	set_int(s, "auto.commit.interval.ms", 1000);
	/* Where the log no longer has a position: step_is_open() notices it. */
	set(s, "auto.offset.reset",
		c->kafka.start == 0 || k->bus.handler.assigned ? "earliest" : "latest");
	set(s, "enable.partition.eof", "false");
	set(s, "partition.assignment.strategy",
		c->kafka.rebalance == LT_REBALANCE_EAGER ? "range,roundrobin"
							 : "cooperative-sticky");
	set_int(s, "session.timeout.ms", session_ms);
	set_int(s, "max.poll.interval.ms", session_ms > 300000 ? session_ms : 300000);
	set_int(s, "heartbeat.interval.ms", session_ms / 10 < 3000 ? session_ms / 10 : 3000);
	set_int(s, "queued.max.messages.kbytes", prefetch_kbytes);
	set_int(s, "queued.min.messages", 100000);
	set_int(s, "fetch.message.max.bytes", 1 << 20);
	set_int(s, "fetch.wait.max.ms", 100);
	set(s, "check.crcs", "true");
	set(s, "allow.auto.create.topics", "false");
}

static void set_producer(struct setting *s, const struct lt_bus_conf *c)
{
	set(s, "enable.idempotence", "true");
	set(s, "acks", "all");
	set(s, "partitioner", "murmur2_random");
	set(s, "compression.codec", c->kafka.compression);
	set_int(s, "linger.ms", c->kafka.linger_ms);
	/* Nothing accepted is given up. */
	set_int(s, "message.timeout.ms", 0);
	/* lt_bus_inflight() counts, with room for those that need no report. */
	set_int(s, "queue.buffering.max.messages", c->kafka.max_inflight + 1000);
	set_int(s, "queue.buffering.max.kbytes", 1 << 20);
	/* The topic's limit is the one that counts. */
	set_int(s, "message.max.bytes", 16 << 20);
	set_int(s, "topic.metadata.propagation.max.ms", 5000);
}

/* Connections that come and go are told by state(); this is for those who look closely. */
static void on_log(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
	(void)rk;
	/* A producer's fatal error is told by kf_out_forbidden() or rebuild(). */
	lt_log(level <= LOG_CRIT && strcmp(fac, "FATAL") != 0 ? LT_WARN : LT_DEBUG, "kafka_client",
		LT_S("facility", fac), LT_S("text", text));
}

/* A quota of the brokers makes librdkafka wait; called when its queues are served. */
static void on_throttle(rd_kafka_t *rk, const char *name, int32_t id, int throttle_ms, void *arg)
{
	(void)rk;
	(void)id;
	(void)arg;
	if (throttle_ms > 0) {
		lt_counter_add(&kf_stats.throttled, 1);
		lt_counter_add(&kf_stats.throttled_ms, (uint64_t)throttle_ms);
		lt_log(LT_DEBUG, "kafka_throttled", LT_S("broker", name), LT_I("ms", throttle_ms));
	}
}

rd_kafka_conf_t *kf_conf_make(struct kf *k, bool consumer, struct lt_err *err)
{
	const struct lt_bus_conf *c = k->bus.conf;
	struct setting s = {.conf = rd_kafka_conf_new(), .err = err, .rc = LT_OK};
	char *client = lt_asprintf("latido-%s", k->comp);

	set_servers(&s, c->url);
	set(&s, "client.id", client);
	set_security(&s, c);
	set_int(&s, "reconnect.backoff.ms", c->backoff_base_ms);
	set_int(&s, "reconnect.backoff.max.ms",
		c->backoff_cap_ms > c->backoff_base_ms ? c->backoff_cap_ms : c->backoff_base_ms);
	set_int(&s, "socket.timeout.ms", 10000);
	set(&s, "socket.keepalive.enable", "true");
	set(&s, "socket.nagle.disable", "true");
	set(&s, "log.connection.close", "false");
	set_int(&s, "topic.metadata.refresh.interval.ms", 10000);
	if (consumer)
		set_consumer(&s, k);
	else
		set_producer(&s, c);
	set_properties(&s, &c->kafka.properties);
	free(client);
	rd_kafka_conf_set_log_cb(s.conf, on_log);
	rd_kafka_conf_set_throttle_cb(s.conf, on_throttle);
	rd_kafka_conf_set_opaque(s.conf, k);
	rd_kafka_conf_set_events(s.conf, RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_REBALANCE |
						 RD_KAFKA_EVENT_OFFSET_COMMIT | RD_KAFKA_EVENT_DR);
	if (s.rc != LT_OK) {
		rd_kafka_conf_destroy(s.conf);
		return NULL;
	}
	return s.conf;
}
