/* SPDX-License-Identifier: MIT */
#include "bus_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "latido/clock.h"

/* Far more than anything takes; sanitizers on a loaded machine are slow. */
#define DEADLINE_NS (60 * LT_NS_PER_S)
#define CHECK_NS    (2 * LT_NS_PER_MS)

const char *peer_kafka_topic;

struct spinner {
	struct lt_loop *loop;
	struct lt_timer timer;
	bool (*cond)(void *);
	void *arg;
	int64_t until_ns;
	bool late;
};

static void check(void *arg)
{
	struct spinner *s = arg;

	if (s->cond(s->arg)) {
		lt_loop_stop(s->loop);
		return;
	}
	if (lt_mono_ns() > s->until_ns) {
		s->late = true;
		lt_loop_stop(s->loop);
		return;
	}
	lt_timer_start_ns(&s->timer, CHECK_NS);
}

void spin_at(struct lt_loop *loop, bool (*cond)(void *), void *arg, const char *what,
	const char *file, int line)
{
	struct spinner s = {.loop = loop, .cond = cond, .arg = arg};

	s.until_ns = lt_mono_ns() + DEADLINE_NS;
	lt_timer_init(&s.timer, loop, check, &s);
	lt_timer_start_ns(&s.timer, 0);
	lt_loop_run(loop);
	lt_timer_fini(&s.timer);
	if (s.late) {
		print_error("%s:%d: did not come true in time: %s\n", file, line, what);
		_fail(file, line);
	}
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct peer *p = arg;

	assert_int_equal(connected, err == NULL);
	p->connected = connected;
	p->resumed = resumed;
	if (connected) {
		p->n_up++;
		return;
	}
	p->n_down++;
	if (getenv("PEER_LOG"))
		print_message("# %s down: %s\n", p->conf.mqtt.client_id, err->msg);
	p->err = *err;
	if (err->cls == LT_CLS_CONFIG)
		p->worst = *err;
}

void peer_poll(struct peer *p)
{
	struct lt_bus_msg *m[16];
	size_t n;

	while ((n = lt_bus_poll(p->bus, m, LT_ARRAY_LEN(m))) > 0) {
		for (size_t i = 0; i < n; i++) {
			struct got *g;

			if (p->n_got % 256 == 0) {
				p->got = lt_realloc(p->got, (p->n_got + 256) * sizeof(*p->got));
				p->kept = lt_realloc(
					p->kept, (p->n_got + 256) * sizeof(struct lt_bus_msg *));
			}
			g = &p->got[p->n_got++];
			if (lt_bus_caps(p->bus) & LT_BUS_PARTITIONS) {
				assert_true(m[i]->partition >= 0 && m[i]->offset >= 0);
				assert_non_null(m[i]->log);
			} else {
				assert_int_equal(m[i]->partition, -1);
				assert_int_equal(m[i]->offset, -1);
				assert_null(m[i]->log);
				assert_null(m[i]->key);
			}
			assert_true(m[i]->arrived_ns > 0);
			*g = (struct got){.topic = lt_strdup(m[i]->topic),
				.size = m[i]->size,
				.retained = m[i]->retained,
				.redelivered = m[i]->redelivered};
			g->data = lt_malloc(m[i]->size + 1);
			memcpy(g->data, m[i]->data, m[i]->size);
			g->data[m[i]->size] = '\0';
			if (m[i]->content_type)
				g->content_type = lt_strdup(m[i]->content_type);
			if (p->keep)
				p->kept[p->n_kept++] = m[i];
			else
				lt_bus_done(p->bus, m[i]);
		}
	}
}

static void on_readable(void *arg)
{
	struct peer *p = arg;

	if (!p->idle)
		peer_poll(p);
}

static void on_writable(void *arg)
{
	((struct peer *)arg)->n_writable++;
}

static void on_delivered(void *arg, uint64_t token, int code, const struct lt_err *err)
{
	struct peer *p = arg;

	assert_true(token < p->n_tokens);
	assert_int_equal(code == LT_OK, err == NULL);
	p->reports[token]++;
	p->codes[token] = code;
	p->n_reported++;
	if (err) {
		assert_int_equal(err->code, code);
		p->publish_err = *err;
	}
}

static void on_will(void *arg, const char **topic, struct lt_buf *payload)
{
	struct peer *p = arg;

	p->n_wills++;
	*topic = p->will_topic;
	lt_buf_str(payload, p->will_payload);
}

void peer_conf(struct peer *p, struct lt_loop *loop, const char *url, const char *client_id)
{
	*p = (struct peer){.loop = loop};
	p->conf.url = lt_strdup(url);
	p->conf.prefix = lt_strdup("latido/v1");
	p->conf.queue_bytes = 16 << 20;
	p->conf.mqtt.client_id = lt_strdup(client_id);
	p->conf.mqtt.username = lt_strdup("");
	p->conf.mqtt.password = lt_strdup("");
	p->conf.mqtt.ca_file = lt_strdup("");
	p->conf.mqtt.cert_file = lt_strdup("");
	p->conf.mqtt.key_file = lt_strdup("");
	p->conf.mqtt.verify_hostname = true;
	p->conf.mqtt.keepalive_ms = 60000;
	p->conf.mqtt.session_expiry_ms = 3600000;
	p->conf.mqtt.connect_timeout_ms = 20000;
	p->conf.mqtt.max_inflight = 1000;
	p->conf.kafka.topic = lt_strdup(peer_kafka_topic ? peer_kafka_topic : "latido.metrics");
	p->conf.kafka.deadletter_topic = lt_asprintf("%s.deadletter", p->conf.kafka.topic);
	p->conf.kafka.alerts_topic = lt_asprintf("%s.alerts", p->conf.kafka.topic);
	p->conf.kafka.group = lt_strdup(client_id);
	p->conf.kafka.compression = lt_strdup("zstd");
	p->conf.kafka.sasl_mechanism = lt_strdup("SCRAM-SHA-256");
	p->conf.kafka.username = lt_strdup("");
	p->conf.kafka.password = lt_strdup("");
	p->conf.kafka.ca_file = lt_strdup("");
	p->conf.kafka.cert_file = lt_strdup("");
	p->conf.kafka.key_file = lt_strdup("");
	p->conf.kafka.verify_hostname = true;
	p->conf.kafka.session_timeout_ms = 6000;
	p->conf.kafka.max_inflight = 1000;
	p->conf.backoff_base_ms = 20;
	p->conf.backoff_cap_ms = 200;
}

void peer_open(struct peer *p, const char *const *topics, bool durable, bool no_retained)
{
	struct lt_bus_handler h = {.arg = p,
		.state = on_state,
		.readable = on_readable,
		.writable = on_writable,
		.delivered = on_delivered};
	struct lt_bus_options opt = {
		.comp = "test", .durable = durable, .topics = topics, .no_retained = no_retained};
	struct lt_err err = {0};

	while (topics && topics[opt.n_topics])
		opt.n_topics++;
	if (p->will_topic)
		h.will = on_will;
	p->bus = lt_bus_new(&p->conf, &opt, &h, p->loop, &err);
	if (!p->bus)
		fail_msg("lt_bus_new: %s", err.msg);
	if (lt_bus_open(p->bus, &err) < 0)
		fail_msg("lt_bus_open: %s", err.msg);
}

void peer_close(struct peer *p)
{
	for (size_t i = 0; i < p->n_kept; i++)
		lt_bus_done(p->bus, p->kept[i]);
	lt_bus_free(p->bus);
	for (size_t i = 0; i < p->n_got; i++) {
		free(p->got[i].topic);
		free(p->got[i].data);
		free(p->got[i].content_type);
	}
	free(p->got);
	free(p->kept);
	free(p->reports);
	free(p->codes);
	free(p->conf.url);
	free(p->conf.prefix);
	free(p->conf.mqtt.client_id);
	free(p->conf.mqtt.username);
	free(p->conf.mqtt.password);
	free(p->conf.mqtt.ca_file);
	free(p->conf.mqtt.cert_file);
	free(p->conf.mqtt.key_file);
	free(p->conf.kafka.topic);
	free(p->conf.kafka.deadletter_topic);
	free(p->conf.kafka.alerts_topic);
	free(p->conf.kafka.group);
	free(p->conf.kafka.compression);
	free(p->conf.kafka.sasl_mechanism);
	free(p->conf.kafka.username);
	free(p->conf.kafka.password);
	free(p->conf.kafka.ca_file);
	free(p->conf.kafka.cert_file);
	free(p->conf.kafka.key_file);
	*p = (struct peer){0};
}

static bool is_connected(void *arg)
{
	return ((struct peer *)arg)->connected;
}

static bool is_down(void *arg)
{
	struct peer *p = arg;

	return !p->connected && p->n_down > 0;
}

void peer_wait_up(struct peer *p)
{
	spin(p->loop, is_connected, p);
}

void peer_wait_down(struct peer *p)
{
	spin(p->loop, is_down, p);
}

struct want {
	struct peer *p;
	size_t n;
};

static bool has_got(void *arg)
{
	struct want *w = arg;

	return w->p->n_got >= w->n;
}

void peer_wait_got(struct peer *p, size_t n)
{
	struct want w = {p, n};

	spin(p->loop, has_got, &w);
}

static bool all_reported(void *arg)
{
	struct peer *p = arg;

	return p->n_reported >= p->n_tokens;
}

void peer_wait_reported(struct peer *p)
{
	spin(p->loop, all_reported, p);
	assert_int_equal(p->n_reported, p->n_tokens);
	for (size_t i = 0; i < p->n_tokens; i++)
		assert_int_equal(p->reports[i], 1);
	assert_int_equal(lt_bus_inflight(p->bus), 0);
}

static bool is_worst(void *arg)
{
	return ((struct peer *)arg)->worst.code != LT_OK;
}

void peer_wait_worst(struct peer *p)
{
	spin(p->loop, is_worst, p);
}

int peer_try_publish(struct peer *p, const struct lt_bus_out *m, struct lt_err *err)
{
	struct lt_bus_out out = *m;
	int rc;

	if (p->n_tokens % 256 == 0) {
		p->reports = lt_realloc(p->reports, (p->n_tokens + 256) * sizeof(*p->reports));
		p->codes = lt_realloc(p->codes, (p->n_tokens + 256) * sizeof(*p->codes));
	}
	out.token = p->n_tokens;
	p->reports[p->n_tokens] = 0;
	rc = lt_bus_publish(p->bus, &out, err);
	if (rc == LT_OK && !m->at_most_once)
		p->n_tokens++;
	return rc;
}

struct sending {
	struct peer *p;
	struct lt_bus_out m;
	int rc;
	struct lt_err err;
	unsigned n_writable;
	bool first;
};

static bool sent(void *arg)
{
	struct sending *s = arg;

	/* Not polled: writable() has to come. */
	if (!s->first && s->p->n_writable == s->n_writable)
		return false;
	s->first = false;
	s->n_writable = s->p->n_writable;
	s->rc = peer_try_publish(s->p, &s->m, &s->err);
	return s->rc != LT_EFULL;
}

void peer_publish(struct peer *p, const char *topic, const void *data, size_t size, bool retain)
{
	struct sending s = {.p = p,
		.m = {.topic = topic, .data = data, .size = size, .retain = retain},
		.first = true};

	if (!sent(&s))
		spin(p->loop, sent, &s);
	if (s.rc != LT_OK)
		fail_msg("publish: %s", s.err.msg);
}

void peer_publish_text(struct peer *p, const char *topic, const char *text)
{
	peer_publish(p, topic, text, strlen(text), false);
}

void peer_done_kept(struct peer *p, size_t n)
{
	assert_true(n <= p->n_kept);
	for (size_t i = 0; i < n; i++)
		lt_bus_done(p->bus, p->kept[i]);
	p->n_kept -= n;
	memmove(p->kept, p->kept + n, p->n_kept * sizeof(struct lt_bus_msg *));
}

bool peer_has(const struct peer *p, const char *topic, const char *text)
{
	for (size_t i = 0; i < p->n_got; i++)
		if (strcmp(p->got[i].topic, topic) == 0 && strcmp(p->got[i].data, text) == 0)
			return true;
	return false;
}

size_t peer_count(const struct peer *p, const char *topic)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_got; i++)
		n += strcmp(p->got[i].topic, topic) == 0;
	return n;
}
