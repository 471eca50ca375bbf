/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "latido/ack.h"
#include "sink_pg.h"

/*
 * Acknowledgements go out for every numbered source of a committed batch, also for one that sent
 * only what is stored already: it sends because it does not know. Islands are named at once: the
 * source knows best what of the holes is still on its way.
 */

static void publish(
	struct lt_sink_pg *s, const char *source, bool device, const struct lt_ack *a, bool urgent)
{
	struct lt_buf topic = {0}, text = {0};

	lt_buf_printf(
		&topic, "%s/%s/%s/ack", s->conf->bus.prefix, device ? "devices" : "nodes", source);
	lt_ack_format(a, &text);
	lt_outbox_put(s->sink.outbox, topic.data, text.data, text.len, urgent);
	lt_buf_fini(&topic);
	lt_buf_fini(&text);
}

static void acknowledge(struct lt_sink_pg *s, const struct lt_pg_epoch *ep)
{
	const struct lt_pg_have *h = &ep->next;
	struct lt_ack a = {.epoch = (uint64_t)ep->epoch};

	if (h->upto > 0)
		a.have[a.n++] = (struct lt_range){1, (uint64_t)h->upto};
	for (size_t i = 0; i < h->n && a.n < LT_ACK_RANGES_MAX; i++)
		a.have[a.n++] =
			(struct lt_range){(uint64_t)h->above[i].lo, (uint64_t)h->above[i].hi};
	publish(s, ep->source->name, ep->source->device, &a, false);
}

void lt_pg_acknowledge(struct lt_sink_pg *s)
{
	if (!s->sink.outbox)
		return;
	for (size_t i = 0; i < s->n_staged; i++)
		if (s->staged[i]->epoch > s->staged[i]->source->top_epoch)
			s->staged[i]->source->top_epoch = s->staged[i]->epoch;
	for (size_t i = 0; i < s->n_staged; i++)
		if (s->staged[i]->epoch == s->staged[i]->source->top_epoch)
			acknowledge(s, s->staged[i]);
}

/*
 * The newest epoch of each source that was seen lately, one row a range. A broker that was killed may
 * have lost what it retained, and a source that was put back to an older state finds out by that.
 */
static const char sql_recent[] =
	"SELECT s.name, s.kind = 'device', e.epoch, 1::bigint, p.upto, s.id "
	"FROM source s "
	"CROSS JOIN LATERAL (SELECT id, epoch FROM epoch WHERE source_id = s.id AND epoch > 0 "
	"ORDER BY epoch DESC LIMIT 1) e "
	"JOIN progress p ON p.epoch_id = e.id "
	"WHERE p.changed > now() - interval '7 days' AND p.upto > 0 "
	"UNION ALL "
	"SELECT s.name, s.kind = 'device', e.epoch, lower(r), upper(r) - 1, s.id "
	"FROM source s "
	"CROSS JOIN LATERAL (SELECT id, epoch FROM epoch WHERE source_id = s.id AND epoch > 0 "
	"ORDER BY epoch DESC LIMIT 1) e "
	"JOIN progress p ON p.epoch_id = e.id CROSS JOIN LATERAL unnest(p.above) AS r "
	"WHERE p.changed > now() - interval '7 days' "
	"ORDER BY 6, 4";

int lt_pg_announce(struct lt_sink_pg *s, struct lt_err *err)
{
	struct pg_result *r = NULL;
	char name[LT_SOURCE_MAX + 1];
	int rc;

	if (!s->sink.outbox)
		return LT_OK;
	rc = lt_pg_query(&s->pg, sql_recent, NULL, 0, &r, err);
	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r);) {
		struct lt_ack a = {.epoch = (uint64_t)lt_pg_int(r, i, 2)};
		int64_t id = lt_pg_int(r, i, 5);
		bool device = lt_pg_int(r, i, 1);
		size_t n;
		const char *text = lt_pg_bytes(r, i, 0, &n);

		if (n > LT_SOURCE_MAX)
			n = LT_SOURCE_MAX;
		memcpy(name, text, n);
		name[n] = '\0';
		for (; i < lt_pg_rows(r) && lt_pg_int(r, i, 5) == id; i++)
			if (a.n < LT_ACK_RANGES_MAX)
				a.have[a.n++] = (struct lt_range){
					(uint64_t)lt_pg_int(r, i, 3), (uint64_t)lt_pg_int(r, i, 4)};
		publish(s, name, device, &a, true);
	}
	lt_pg_result_free(r);
	return rc;
}
