/* SPDX-License-Identifier: MIT */
#include "latido/deadletter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/daemon.h"
#include "latido/letter.h"

#define FORBIDDEN_NS (2 * LT_NS_PER_S)

struct lt_deadletter {
	struct lt_deadletter *next;
	struct lt_bus_msg *msg;
	enum lt_reason reason;
	uint64_t token;
	bool cut; /* the bus refused it whole */
	char error[256];
};

static void on_again(void *arg)
{
	lt_deadletters_send(arg);
}

void lt_deadletters_init(struct lt_deadletters *d, struct lt_bus *bus, const char *prefix,
	const char *comp, struct lt_counter *by_reason, struct lt_counter *refused)
{
	*d = (struct lt_deadletters){.bus = bus,
		.from = bus,
		.comp = comp,
		.by_reason = by_reason,
		.refused = refused,
		.next_token = 1};
	d->waiting_tail = &d->waiting;
	lt_timer_init(&d->again, bus->loop, on_again, d);
	d->topic = lt_asprintf("%s/deadletter/%s", prefix, comp);
}

static void wait_for_bus(struct lt_deadletters *d, struct lt_deadletter *letter)
{
	letter->next = NULL;
	*d->waiting_tail = letter;
	d->waiting_tail = &letter->next;
}

void lt_deadletters_add(
	struct lt_deadletters *d, struct lt_bus_msg *m, enum lt_reason reason, const char *error)
{
	struct lt_deadletter *letter = lt_calloc(1, sizeof(*letter));

	letter->msg = m;
	letter->reason = reason;
	letter->token = d->next_token++;
	d->n++;
	strncpy(letter->error, error, sizeof(letter->error) - 1);
	wait_for_bus(d, letter);
	lt_counter_add(&d->by_reason[reason], 1);
	lt_complain(&d->complaints[reason], LT_WARN, "message_refused", LT_S("topic", m->topic),
		LT_S("reason", lt_reason_name(reason)), LT_U("size", m->size),
		LT_S("err", letter->error), LT_S("kept_in", d->topic));
	lt_deadletters_send(d);
}

static void write_envelope(struct lt_buf *b, const char *comp, const struct lt_deadletter *letter)
{
	const struct lt_bus_msg *m = letter->msg;
	bool cut = m->size > LT_DEADLETTER_BODY_MAX;

	lt_buf_reset(b);
	lt_letter_format(&(struct lt_letter){.consumer = comp,
				 .reason = lt_reason_name(letter->reason),
				 .error = letter->error,
				 .topic = m->topic,
				 .key = m->key,
				 .content_type = m->content_type,
				 .time_ns = m->arrived_ns,
				 .partition = m->partition,
				 .offset = m->offset,
				 .size = m->size,
				 .truncated = cut,
				 .body = m->data,
				 .body_size = cut ? LT_DEADLETTER_BODY_MAX : m->size},
		b);
}

/*
 * Where headers are carried the body stays as it was, and the headers have the names of Kafka
 * Connect, which replay tools and consoles know.
 */
struct headers {
	struct lt_bus_header h[10];
	size_t n;
	char partition[16], offset[24];
};

static void add_header(struct headers *h, const char *name, const char *value)
{
	h->h[h->n++] = (struct lt_bus_header){name, value, strlen(value)};
}

static void make_headers(struct headers *h, const char *comp, const struct lt_deadletter *letter)
{
	const struct lt_bus_msg *m = letter->msg;

	h->n = 0;
	snprintf(h->partition, sizeof(h->partition), "%d", m->partition);
	snprintf(h->offset, sizeof(h->offset), "%lld", (long long)m->offset);
	add_header(h, "__connect.errors.topic", m->log ? m->log : m->topic);
	add_header(h, "__connect.errors.partition", h->partition);
	add_header(h, "__connect.errors.offset", h->offset);
	add_header(h, "__connect.errors.connector.name", comp);
	add_header(h, "__connect.errors.stage", "VALUE_CONVERTER");
	add_header(h, "__connect.errors.exception.class.name", lt_reason_name(letter->reason));
	add_header(h, "__connect.errors.exception.message", letter->error);
	add_header(h, "latido.reason", lt_reason_name(letter->reason));
	add_header(h, "latido.topic", m->topic);
	if (letter->cut)
		add_header(h, "latido.truncated", "1");
}

static int publish(struct lt_deadletters *d, const struct lt_deadletter *letter, struct lt_err *err)
{
	const struct lt_bus_msg *m = letter->msg;
	struct lt_bus_out out = {
		.topic = d->topic, .key = m->key, .token = letter->token, .kept = true};
	struct headers h;

	if (lt_bus_caps(d->bus) & LT_BUS_HEADERS) {
		make_headers(&h, d->comp, letter);
		out.headers = h.h;
		out.n_headers = h.n;
		out.data = m->data;
		out.size = letter->cut ? LT_DEADLETTER_BODY_MAX : m->size;
		out.content_type = m->content_type;
	} else {
		write_envelope(&d->envelope, d->comp, letter);
		out.data = d->envelope.data;
		out.size = d->envelope.len;
		out.content_type = "application/json";
	}
	return lt_bus_publish(d->bus, &out, err);
}

static void finish(struct lt_deadletters *d, struct lt_deadletter *letter)
{
	lt_bus_done(d->from, letter->msg);
	d->n--;
	free(letter);
}

static void refused(
	struct lt_deadletters *d, const struct lt_deadletter *letter, const struct lt_err *err)
{
	lt_counter_add(d->refused, 1);
	lt_log(LT_ERROR, "deadletter_lost", LT_S("topic", letter->msg->topic),
		LT_U("size", letter->msg->size), LT_S("reason", lt_reason_name(letter->reason)),
		LT_I("partition", letter->msg->partition), LT_I("offset", letter->msg->offset),
		LT_S("err", err ? err->msg : ""));
}

/* Refused for its size, perhaps: its beginning is better than nothing. */
static bool cut(struct lt_deadletter *letter, int code)
{
	if (code != LT_EDATA || letter->cut || letter->msg->size <= LT_DEADLETTER_BODY_MAX)
		return false;
	return letter->cut = true;
}

/* A human has to allow it; without its dead letter a refused message would be lost. */
static void forbid(struct lt_deadletters *d, const struct lt_err *err)
{
	d->forbidden = true;
	lt_complain(&d->forbids, LT_ERROR, "deadletters_forbidden", LT_S("topic", d->topic),
		LT_S("err", err->msg),
		LT_S("remedy", "allow this user to write to the topic of the dead letters; what "
			       "was refused waits, nothing is lost meanwhile"));
	lt_ready_set("deadletters", false, err->msg);
	lt_timer_start_ns(&d->again, FORBIDDEN_NS);
}

static void permit(struct lt_deadletters *d)
{
	if (!d->forbidden)
		return;
	d->forbidden = false;
	lt_timer_stop(&d->again);
	lt_release(&d->forbids, "deadletters_permitted", LT_S("topic", d->topic));
	lt_ready_set("deadletters", true, NULL);
}

void lt_deadletters_send(struct lt_deadletters *d)
{
	while (d->waiting) {
		struct lt_deadletter *letter = d->waiting;
		struct lt_err err = {0};
		int rc;

		if (d->forbidden && (d->sent || lt_timer_pending(&d->again)))
			return;
		rc = publish(d, letter, &err);
		if (rc == LT_EFULL || rc == LT_ESTOPPED)
			return; /* writable() comes */
		if (rc == LT_EAUTH) {
			forbid(d, &err);
			return;
		}
		if (cut(letter, rc))
			continue;
		d->waiting = letter->next;
		if (!d->waiting)
			d->waiting_tail = &d->waiting;
		if (rc < 0) {
			refused(d, letter, &err);
			finish(d, letter);
			continue;
		}
		letter->next = d->sent;
		d->sent = letter;
	}
}

bool lt_deadletters_delivered(
	struct lt_deadletters *d, uint64_t token, int code, const struct lt_err *err)
{
	for (struct lt_deadletter **at = &d->sent; *at; at = &(*at)->next) {
		struct lt_deadletter *letter = *at;

		if (letter->token != token)
			continue;
		*at = letter->next;
		if (code == LT_EAUTH || cut(letter, code)) {
			wait_for_bus(d, letter);
			if (code == LT_EAUTH)
				forbid(d, err);
			lt_deadletters_send(d);
			return true;
		}
		if (code < 0)
			refused(d, letter, err);
		else if (d->accepted)
			d->accepted(d->arg, letter->msg);
		finish(d, letter);
		permit(d); /* refused for another reason: permission is not missing, at least */
		lt_deadletters_send(d);
		return true;
	}
	return false;
}

bool lt_deadletters_empty(const struct lt_deadletters *d)
{
	return !d->waiting && !d->sent;
}

void lt_deadletters_fini(struct lt_deadletters *d)
{
	while (d->waiting || d->sent) {
		struct lt_deadletter **list = d->waiting ? &d->waiting : &d->sent;
		struct lt_deadletter *letter = *list;

		*list = letter->next;
		finish(d, letter);
	}
	lt_timer_fini(&d->again);
	free(d->topic);
	lt_buf_fini(&d->envelope);
}
