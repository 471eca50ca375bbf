/* SPDX-License-Identifier: MIT */
#include "bus_queue.h"

#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/mem.h"

/* What malloc adds, roughly; keeps a flood of empty messages inside the budget too. */
#define ALLOC_OVERHEAD_BYTES 32

static char *append(char **at, const void *p, size_t n)
{
	char *start = *at;

	if (n)
		memcpy(start, p, n);
	start[n] = '\0';
	*at += n + 1;
	return start;
}

struct lt_in *lt_in_new(const char *topic, size_t topic_len, const void *data, size_t size,
	const char *content_type, size_t content_type_len)
{
	size_t bytes = sizeof(struct lt_in) + topic_len + size + content_type_len + 3;
	struct lt_in *in = lt_malloc(bytes);
	char *at = (char *)(in + 1);

	*in = (struct lt_in){.m = {.size = size, .partition = -1, .offset = -1}};
	in->cost_bytes = bytes + ALLOC_OVERHEAD_BYTES;
	/* Data first: it may be read as something that wants alignment. */
	in->m.data = append(&at, data, size);
	in->m.topic = append(&at, topic, topic_len);
	if (content_type)
		in->m.content_type = append(&at, content_type, content_type_len);
	in->m.arrived_ns = in->m.since_ns = lt_wall_ns();
	return in;
}

void lt_inq_init(struct lt_inq *q)
{
	*q = (struct lt_inq){.want_readable = true};
	q->waiting_end = &q->waiting;
}

void lt_inq_fini(struct lt_inq *q)
{
	while (q->all) {
		struct lt_in *in = q->all;

		q->all = in->next;
		free(in);
	}
	lt_inq_init(q);
}

bool lt_inq_push(struct lt_inq *q, struct lt_in *in)
{
	in->prev = NULL;
	in->next = q->all;
	if (q->all)
		q->all->prev = in;
	q->all = in;
	in->next_waiting = NULL;
	*q->waiting_end = in;
	q->waiting_end = &in->next_waiting;
	q->held_bytes += in->cost_bytes;
	if (q->held_bytes > q->peak_bytes)
		q->peak_bytes = q->held_bytes;
	if (!q->want_readable)
		return false;
	q->want_readable = false;
	q->readable = true;
	return true;
}

size_t lt_inq_poll(struct lt_inq *q, struct lt_bus_msg **out, size_t max)
{
	size_t n = 0;

	while (n < max && q->waiting) {
		struct lt_in *in = q->waiting;

		q->waiting = in->next_waiting;
		if (!q->waiting)
			q->waiting_end = &q->waiting;
		out[n++] = &in->m;
	}
	if (n == 0 && max > 0)
		q->want_readable = true;
	return n;
}

struct lt_in *lt_inq_remove(struct lt_inq *q, struct lt_bus_msg *m)
{
	struct lt_in *in = (struct lt_in *)m;

	if (in->prev)
		in->prev->next = in->next;
	else
		q->all = in->next;
	if (in->next)
		in->next->prev = in->prev;
	q->held_bytes -= in->cost_bytes;
	return in;
}

struct lt_out *lt_out_new(const struct lt_bus_out *m)
{
	size_t topic_len = strlen(m->topic);
	size_t type_len = m->content_type ? strlen(m->content_type) : 0;
	size_t key_len = m->key ? strlen(m->key) : 0;
	struct lt_out *o = lt_malloc(sizeof(*o) + m->size + topic_len + type_len + key_len + 4);
	char *at = (char *)(o + 1);

	*o = (struct lt_out){.m = *m, .accepted_ns = lt_mono_ns()};
	o->m.data = append(&at, m->data, m->size);
	o->m.topic = append(&at, m->topic, topic_len);
	if (m->content_type)
		o->m.content_type = append(&at, m->content_type, type_len);
	if (m->key)
		o->m.key = append(&at, m->key, key_len);
	return o;
}

void lt_outq_fini(struct lt_outq *q)
{
	while (q->head) {
		struct lt_out *o = q->head;

		q->head = o->next;
		free(o);
	}
	*q = (struct lt_outq){0};
}

void lt_outq_add(struct lt_outq *q, struct lt_out *o)
{
	o->prev = q->tail;
	o->next = NULL;
	if (q->tail)
		q->tail->next = o;
	else
		q->head = o;
	q->tail = o;
	if (!q->unsent)
		q->unsent = o;
	q->n++;
	q->n_reported += !o->m.at_most_once;
}

/* From @o on, the first one that is to be sent. */
static struct lt_out *first_unsent(struct lt_out *o)
{
	while (o && o->sent)
		o = o->next;
	return o;
}

struct lt_out *lt_outq_next(struct lt_outq *q)
{
	struct lt_out *o = q->unsent;

	if (!o)
		return NULL;
	o->sent = true;
	q->n_sent++;
	q->unsent = first_unsent(o->next);
	return o;
}

void lt_outq_remove(struct lt_outq *q, struct lt_out *o)
{
	if (q->unsent == o)
		q->unsent = first_unsent(o->next);
	if (o->prev)
		o->prev->next = o->next;
	else
		q->head = o->next;
	if (o->next)
		o->next->prev = o->prev;
	else
		q->tail = o->prev;
	q->n--;
	q->n_sent -= o->sent;
	q->n_reported -= !o->m.at_most_once;
}

void lt_outq_rewind(struct lt_outq *q)
{
	struct lt_out *o = q->head;

	while (o) {
		struct lt_out *next = o->next;

		if (o->done) {
			/* The answer came in time and is about to be reported. */
		} else if (o->m.at_most_once) {
			lt_outq_remove(q, o);
			free(o);
		} else if (o->sent) {
			o->sent = false;
			q->n_sent--;
		}
		o = next;
	}
	q->unsent = first_unsent(q->head);
}

int lt_takeover_note(struct lt_takeovers *t, int64_t now_ns, const char *client_id, bool certain,
	struct lt_err *err)
{
	size_t last = LT_ARRAY_LEN(t->at_ns) - 1;

	memmove(&t->at_ns[0], &t->at_ns[1], last * sizeof(t->at_ns[0]));
	t->at_ns[last] = now_ns;
	t->n++;
	if (t->n > last && now_ns - t->at_ns[0] <= 60 * LT_NS_PER_S)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "bus.connect",
			"three times in a minute the broker closed this connection%s: another "
			"program %s connects with the client id '%s'; give each its own "
			"bus.mqtt.client_id",
			certain ? "" : " soon after it had accepted it",
			certain ? "also" : "probably", client_id);
	if (!certain)
		return LT_OK;
	return lt_fail(err, LT_EIO, LT_CLS_RETRY, "bus.connect",
		"session taken over: another client connected with the client id '%s'", client_id);
}
