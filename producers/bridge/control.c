/* SPDX-License-Identifier: MIT */
#include "control.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/log.h"

#define MARKER_WAIT_NS (5 * LT_NS_PER_S)
#define FLUSH_NS       (50 * LT_NS_PER_MS)
#define TOKEN_STATUS   1

struct lt_control {
	struct lt_control_options opt;
	struct lt_bus *bus;
	struct lt_outbox *outbox;
	char *topics[3];
	char *status; /* topic */
	char *marker; /* payload, new with each connection */
	bool connected;
	struct lt_timer marker_timer, flush_timer;
	struct lt_complaint marker_complaint, ack_complaint;
};

/* <prefix>/nodes/<source>/ack or <prefix>/devices/<id>/ack */
static bool ack_origin(struct lt_origin *o, const char *prefix, const char *topic)
{
	static const char tail[] = "/ack";
	size_t n = strlen(prefix), len = strlen(topic);
	const char *name;

	if (len < n + 1 + sizeof(tail) || strcmp(topic + len - 4, tail) != 0)
		return false;
	o->device = strncmp(topic + n + 1, "devices/", 8) == 0;
	name = strchr(topic + n + 1, '/') + 1;
	len = (size_t)(topic + len - 4 - name);
	if (!lt_source_valid(name, len))
		return false;
	memcpy(o->source, name, len);
	o->source[len] = '\0';
	return true;
}

static void take(struct lt_control *c, const struct lt_bus_msg *m)
{
	struct lt_origin o = {0};
	struct lt_err err;
	struct lt_ack a;

	if (strcmp(m->topic, c->status) == 0) {
		if (c->marker && m->size == strlen(c->marker) &&
			memcmp(m->data, c->marker, m->size) == 0) {
			lt_timer_stop(&c->marker_timer);
			lt_release(&c->marker_complaint, "acknowledgements_read");
			lt_have_read(c->opt.have);
		}
	} else if (m->size > 0 && ack_origin(&o, c->opt.conf->prefix, m->topic)) {
		int rc = lt_ack_parse(&a, m->data, m->size, &err);

		if (rc == LT_OK && a.epoch > 0) /* else it only asks for a shape */
			lt_have_told(c->opt.have, &o, &a);
		else if (rc < 0)
			lt_complain(&c->ack_complaint, LT_WARN, "ack_invalid",
				LT_S("topic", m->topic), LT_S("err", err.msg));
	}
}

static void take_all(struct lt_control *c)
{
	struct lt_bus_msg *m;

	while (lt_bus_poll(c->bus, &m, 1) == 1) {
		take(c, m);
		lt_bus_done(c->bus, m);
	}
}

static void on_readable(void *arg)
{
	struct lt_control *c = arg;

	take_all(c);
	c->opt.progress(c->opt.arg);
}

static void say(struct lt_control *c, const char *state)
{
	struct lt_err err;
	int rc;

	free(c->marker);
	c->marker =
		lt_asprintf("{\"state\":\"%s\",\"time_ms\":%" PRId64 ",\"id\":\"%016" PRIx64 "\"}",
			state, lt_wall_ns() / LT_NS_PER_MS, lt_random_u64());
	rc = lt_bus_publish(c->bus,
		&(struct lt_bus_out){.topic = c->status,
			.data = c->marker,
			.size = strlen(c->marker),
			.content_type = "application/json",
			.retain = true,
			.token = TOKEN_STATUS},
		&err);
	if (rc < 0) /* without it the timer ends the waiting */
		lt_log(LT_DEBUG, "status_unsent", LT_S("err", err.msg));
}

static void on_marker_timer(void *arg)
{
	struct lt_control *c = arg;

	if (!c->connected)
		return;
	lt_complain(&c->marker_complaint, LT_ERROR, "acknowledgements_unread",
		LT_S("topic", c->status),
		LT_S("err", "our own message does not come back: the broker's ACL must let the "
			    "bridge read and write it, and read and write all .../ack"));
	lt_have_read(c->opt.have);
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct lt_control *c = arg;

	(void)resumed;
	c->connected = connected;
	if (connected) {
		/* What came over the last connection says nothing of what a broker has that came back empty. */
		take_all(c);
		lt_have_reading(c->opt.have);
		say(c, "online");
		lt_timer_start_ns(&c->marker_timer, MARKER_WAIT_NS);
	}
	c->opt.state(c->opt.arg, connected, err);
}

static void on_will(void *arg, const char **topic, struct lt_buf *payload)
{
	struct lt_control *c = arg;

	*topic = c->status;
	lt_buf_str(payload, "{\"state\":\"offline\"}");
}

static void on_writable(void *arg)
{
	struct lt_control *c = arg;

	lt_outbox_flush(c->outbox, false);
	c->opt.progress(c->opt.arg);
}

static void on_delivered(void *arg, uint64_t token, int code, const struct lt_err *err)
{
	struct lt_control *c = arg;

	if (code != LT_OK)
		lt_complain(token == TOKEN_STATUS ? &c->marker_complaint : &c->ack_complaint,
			LT_ERROR, "answer_refused", LT_S("err", err ? err->msg : ""),
			LT_S("remedy", "the broker's ACL must let the bridge write .../ack and "
				       "its own bridges/<name>/status"));
	c->opt.progress(c->opt.arg);
}

static void on_flush(void *arg)
{
	struct lt_control *c = arg;

	lt_timer_start_ns(&c->flush_timer, FLUSH_NS);
	lt_have_flush(c->opt.have, c->outbox);
}

void lt_control_flush(struct lt_control *c, bool all)
{
	lt_have_flush(c->opt.have, c->outbox);
	lt_outbox_flush(c->outbox, all);
}

void lt_control_earn(struct lt_control *c)
{
	lt_outbox_earn(c->outbox, 1);
}

void lt_control_leave(struct lt_control *c)
{
	if (c->connected)
		say(c, "offline");
}

bool lt_control_idle(const struct lt_control *c)
{
	return !c->connected || (!lt_have_due(c->opt.have) && lt_outbox_empty(c->outbox) &&
					lt_bus_inflight(c->bus) == 0);
}

void lt_control_stats(struct lt_control *c)
{
	lt_outbox_stats(c->outbox);
}

struct lt_control *lt_control_new(const struct lt_control_options *opt, struct lt_err *err)
{
	struct lt_control *c = lt_calloc(1, sizeof(*c));
	const struct lt_bus_handler handler = {.arg = c,
		.state = on_state,
		.readable = on_readable,
		.writable = on_writable,
		.delivered = on_delivered,
		.will = on_will};
	const struct lt_bus_options bus = {.comp = "bridge-control",
		.topics = (const char *const *)c->topics,
		.n_topics = LT_ARRAY_LEN(c->topics)};

	c->opt = *opt;
	c->status = lt_asprintf("%s/bridges/%s/status", opt->conf->prefix, opt->name);
	c->topics[0] = lt_asprintf("%s/nodes/+/ack", opt->conf->prefix);
	c->topics[1] = lt_asprintf("%s/devices/+/ack", opt->conf->prefix);
	c->topics[2] = lt_strdup(c->status);
	lt_timer_init(&c->marker_timer, opt->loop, on_marker_timer, c);
	lt_timer_init(&c->flush_timer, opt->loop, on_flush, c);
	c->outbox = lt_outbox_new(opt->loop);
	c->bus = lt_bus_new(opt->conf, &bus, &handler, opt->loop, err);
	if (!c->bus) {
		lt_control_free(c);
		return NULL;
	}
	lt_outbox_bus(c->outbox, c->bus);
	return c;
}

int lt_control_open(struct lt_control *c, struct lt_err *err)
{
	lt_timer_start_ns(&c->flush_timer, FLUSH_NS);
	return lt_bus_open(c->bus, err);
}

void lt_control_free(struct lt_control *c)
{
	if (!c)
		return;
	lt_outbox_bus(c->outbox, NULL);
	lt_bus_free(c->bus);
	lt_outbox_free(c->outbox);
	lt_timer_fini(&c->marker_timer);
	lt_timer_fini(&c->flush_timer);
	for (size_t i = 0; i < LT_ARRAY_LEN(c->topics); i++)
		free(c->topics[i]);
	free(c->status);
	free(c->marker);
	free(c);
}
