/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/ack.h"
#include "load.h"

static size_t place_of(const struct load_run *r, const char *name, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)name[i]) * 0x100000001b3u;
	return (size_t)(h ^ (h >> 29)) & (r->names - 1);
}

struct load_source *load_sources_find(struct load_run *r, const char *name, size_t n)
{
	for (size_t at = place_of(r, name, n); r->by_name[at]; at = (at + 1) & (r->names - 1)) {
		struct load_source *s = &r->sources[r->by_name[at] - 1];

		if (strncmp(s->name, name, n) == 0 && s->name[n] == '\0')
			return s;
	}
	return NULL;
}

static void enter(struct load_run *r, struct load_source *s)
{
	size_t at = place_of(r, s->name, strlen(s->name));

	while (r->by_name[at])
		at = (at + 1) & (r->names - 1);
	r->by_name[at] = s->number + 1;
}

int load_sources_make(struct load_run *r, struct lt_err *err)
{
	struct load_plan *plan = r->plan;
	uint64_t epoch = (uint64_t)(lt_wall_ns() / LT_NS_PER_US);
	unsigned share = 0;
	size_t p = 0;

	r->sources = lt_calloc(plan->sources, sizeof(*r->sources));
	r->heap = lt_calloc(plan->sources, sizeof(*r->heap));
	for (r->names = 64; r->names < 2 * (size_t)plan->sources; r->names *= 2)
		;
	r->by_name = lt_calloc(r->names, sizeof(*r->by_name));
	for (uint32_t i = 0; i < plan->sources; i++) {
		struct load_source *s = &r->sources[i];

		/* The paths get their percentages of the sources, one behind the other. */
		while (p + 1 < plan->n_paths &&
			(uint64_t)i * 100 >=
				(uint64_t)plan->sources * (share + plan->paths[p].share))
			share += plan->paths[p++].share;
		s->number = i;
		s->path = &plan->paths[p];
		s->connection = s->path->sources++ % plan->connections;
		s->epoch = epoch;
		s->oldest = 1;
		s->sent = lt_calloc(LOAD_WINDOW, sizeof(*s->sent));
		if (plan->sim)
			s->boot_ns = load_sim_boot_ns(plan->sim, i, lt_wall_ns());
		snprintf(s->name, sizeof(s->name), "%s-%05u", plan->prefix, (unsigned)i + 1);
		if (!lt_source_valid(s->name, strlen(s->name)))
			return lt_fail(err, LT_EINVAL, LT_CLS_CONFIG, "load.sources",
				"'%.100s' is no name of a source: letters, digits and ._:-",
				s->name);
		enter(r, s);
	}
	return LT_OK;
}

void load_sources_free(struct load_run *r)
{
	for (uint32_t i = 0; r->sources && i < r->plan->sources; i++)
		free(r->sources[i].sent);
	free(r->sources);
	free(r->heap);
	free(r->by_name);
}

static void acknowledge(struct load_run *r, struct load_source *s, uint64_t seq, int64_t now_ns)
{
	struct load_sent *sent = load_sent(s, seq);

	if (sent->acknowledged)
		return;
	sent->acknowledged = true;
	s->path->acknowledged++;
	r->under_way--;
	load_hist_add(&r->acknowledged, now_ns - sent->due_ns);
	while (s->oldest <= s->seq && load_sent(s, s->oldest)->acknowledged)
		s->oldest++;
}

void load_source_delivered(struct load_run *r, struct load_source *s, uint64_t seq, int code)
{
	/* The acknowledgement may have been faster, and the place of this number taken by another. */
	bool known = seq <= s->seq && s->seq - seq < LOAD_WINDOW;
	struct load_sent *sent = known ? load_sent(s, seq) : NULL;
	int64_t now_ns = lt_mono_ns();

	if (code < 0) {
		s->path->failed++;
		return; /* it will be sent again */
	}
	if (!sent || sent->delivered)
		return;
	sent->delivered = true;
	s->path->delivered++;
	load_hist_add(&r->broker, now_ns - sent->due_ns);
	if (!s->path->store_acks)
		acknowledge(r, s, seq, now_ns);
}

void load_source_ack(struct load_run *r, struct load_source *s, const void *text, size_t size)
{
	int64_t now_ns = lt_mono_ns();
	struct lt_ack ack;

	if (lt_ack_parse(&ack, text, size, NULL) != LT_OK || ack.epoch != s->epoch)
		return;
	for (size_t i = 0; i < ack.n; i++) {
		uint64_t lo = ack.have[i].lo > s->oldest ? ack.have[i].lo : s->oldest;
		uint64_t hi = ack.have[i].hi < s->seq ? ack.have[i].hi : s->seq;

		for (uint64_t seq = lo; seq <= hi; seq++)
			acknowledge(r, s, seq, now_ns);
	}
}
