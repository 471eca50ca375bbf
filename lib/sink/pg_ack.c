/* SPDX-License-Identifier: MIT */
#include "latido/ack.h"
#include "sink_pg.h"

/*
 * Acknowledgements go out for every numbered source of a committed batch, also for one that sent
 * only what is stored already: it sends because it does not know. Islands are named at once: the
 * source knows best what of the holes is still on its way.
 */

static void acknowledge(struct lt_sink_pg *s, const struct lt_pg_epoch *ep, struct lt_buf *topic,
	struct lt_buf *text)
{
	const struct lt_pg_have *h = &ep->next;
	struct lt_ack a = {.epoch = (uint64_t)ep->epoch};

	if (h->upto > 0)
		a.have[a.n++] = (struct lt_range){1, (uint64_t)h->upto};
	for (size_t i = 0; i < h->n && a.n < LT_ACK_RANGES_MAX; i++)
		a.have[a.n++] =
			(struct lt_range){(uint64_t)h->above[i].lo, (uint64_t)h->above[i].hi};
	lt_buf_reset(topic);
	lt_buf_printf(topic, "%s/%s/%s/ack", s->conf->bus.prefix,
		ep->source->device ? "devices" : "nodes", ep->source->name);
	lt_buf_reset(text);
	lt_ack_format(&a, text);
	lt_outbox_put(s->sink.outbox, topic->data, text->data, text->len);
}

void lt_pg_acknowledge(struct lt_sink_pg *s)
{
	struct lt_buf topic = {0}, text = {0};

	if (!s->sink.outbox)
		return;
	for (size_t i = 0; i < s->n_staged; i++)
		if (s->staged[i]->epoch > s->staged[i]->source->top_epoch)
			s->staged[i]->source->top_epoch = s->staged[i]->epoch;
	for (size_t i = 0; i < s->n_staged; i++)
		if (s->staged[i]->epoch == s->staged[i]->source->top_epoch)
			acknowledge(s, s->staged[i], &topic, &text);
	lt_buf_fini(&topic);
	lt_buf_fini(&text);
}
