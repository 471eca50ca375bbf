/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

#define POLL_MAX   256
#define TOKEN_SEQ  40 /* bits of the number in a token; the rest is the source's */
#define TOKEN_MASK ((UINT64_C(1) << TOKEN_SEQ) - 1)

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct load_connection *c = arg;

	(void)resumed;
	if (!connected && (c->up || !c->path->run->started))
		cli_notice(
			"%s: %s; trying again", c->path->url, err ? err->msg : "connection lost");
	c->up = connected;
	load_run_state(c->path->run);
}

static void on_writable(void *arg)
{
	load_run_writable(arg);
}

static void on_delivered(void *arg, uint64_t token, int code, const struct lt_err *err)
{
	struct load_connection *c = arg;
	struct load_run *r = c->path->run;
	struct load_source *s = &r->sources[token >> TOKEN_SEQ];
	uint64_t seq = (s->seq & ~TOKEN_MASK) | (token & TOKEN_MASK);

	if (code < 0 && c->path->failed == 0)
		cli_notice("%s refuses an event of %s: %s", c->path->url, s->name, err->msg);
	load_source_delivered(r, s, seq, code);
	if (code < 0 && (code == LT_EAUTH || code == LT_EDATA))
		load_run_fail(r, err);
}

/* …/nodes/<source>/ack */
static void take_ack(struct load_run *r, const struct load_path *p, const struct lt_bus_msg *m)
{
	size_t skip = strlen(p->conf->bus.prefix) + strlen("/nodes/");
	const char *name = m->topic + skip;
	const char *end = strlen(m->topic) > skip ? strchr(name, '/') : NULL;
	struct load_source *s = end ? load_sources_find(r, name, (size_t)(end - name)) : NULL;

	if (s && s->path == p)
		load_source_ack(r, s, m->data, m->size);
}

static void on_readable(void *arg)
{
	struct load_connection *c = arg;
	struct lt_bus_msg *list[POLL_MAX];
	size_t n;

	while ((n = lt_bus_poll(c->bus, list, POLL_MAX)) > 0) {
		for (size_t i = 0; i < n; i++) {
			take_ack(c->path->run, c->path, list[i]);
			lt_bus_done(c->bus, list[i]);
		}
	}
}

static int open_connection(struct load_path *p, struct load_connection *c, struct lt_err *err)
{
	char *acks = lt_asprintf("%s/nodes/+/ack", p->conf->bus.prefix);
	/* One of them hears the acknowledgements of all sources of this path. */
	const struct lt_bus_options opt = {.comp = "load",
		.topics = (const char *const *)&acks,
		.n_topics = p->store_acks && c == &p->connections[0],
		.no_retained = true,
		.publishes = true};
	const struct lt_bus_handler handler = {.arg = c,
		.state = on_state,
		.readable = on_readable,
		.writable = on_writable,
		.delivered = on_delivered};
	int rc = LT_ECONF;

	c->path = p;
	c->last = &c->first;
	c->conf = p->conf->bus;
	c->client_id = lt_asprintf("latido-load-%d-%08x", (int)getpid(), (unsigned)lt_random_u64());
	c->conf.mqtt.client_id = c->client_id;
	c->bus = lt_bus_new(&c->conf, &opt, &handler, &p->run->loop, err);
	if (c->bus)
		rc = lt_bus_open(c->bus, err);
	free(acks);
	return rc;
}

int load_path_open(struct load_path *p, struct load_run *r, unsigned n, struct lt_err *err)
{
	p->run = r;
	p->connections = lt_calloc(n, sizeof(*p->connections));
	for (; p->n_connections < n; p->n_connections++) {
		int rc = open_connection(p, &p->connections[p->n_connections], err);

		if (rc != LT_OK) {
			p->n_connections++;
			return rc;
		}
	}
	return LT_OK;
}

bool load_path_up(const struct load_path *p)
{
	for (unsigned i = 0; i < p->n_connections; i++)
		if (!p->connections[i].up)
			return false;
	return true;
}

static void fill(struct load_source *s, const struct load_sent *sent, struct lt_event *e)
{
	struct load_run *r = s->path->run;
	struct load_plan *plan = r->plan;

	if (plan->sim) {
		load_sim_values(plan->sim, s->number, s->boot_ns, sent->wall_ns, r->values);
		e->shape = load_sim_shape(plan->sim);
		e->values = r->values;
		e->n = e->shape->n_series;
	} else {
		const struct load_record *record = &s->path->recording->records[sent->record];

		e->shape = record->shape;
		e->values = record->values;
		e->n = record->n;
	}
	e->source = s->name;
	e->stream = "";
	e->epoch = s->epoch;
	e->oldest_seq = s->oldest;
	e->time_ns = sent->wall_ns;
	e->has_time = true;
	if (plan->interval_min_ns == plan->interval_max_ns)
		e->interval_ms = (uint32_t)(plan->interval_min_ns / LT_NS_PER_MS);
}

int load_path_send(struct load_source *s, uint64_t seq, bool again, struct lt_err *err)
{
	struct load_path *p = s->path;
	struct load_run *r = p->run;
	struct load_connection *c = &p->connections[s->connection];
	struct load_sent *sent = load_sent(s, seq);
	struct lt_event e = {.seq = seq};
	int rc;

	fill(s, sent, &e);
	lt_buf_reset(&r->wire);
	if (r->plan->json)
		lt_encode_json(&e, &r->wire);
	else
		lt_encode_protobuf(&e, true, &r->wire);
	lt_buf_reset(&r->topic);
	lt_buf_printf(&r->topic, "%s/nodes/%s/%s", p->conf->bus.prefix, s->name,
		again ? "backlog" : "metrics");
	rc = lt_bus_publish(c->bus,
		&(struct lt_bus_out){.topic = r->topic.data,
			.key = s->name,
			.data = r->wire.data,
			.size = r->wire.len,
			.content_type = r->plan->json
						? "application/json"
						: "application/x-protobuf;proto=latido.v1.Event",
			.token = ((uint64_t)s->number << TOKEN_SEQ) | (seq & TOKEN_MASK)},
		err);
	if (rc != LT_OK)
		return rc;
	sent->sent_ns = lt_mono_ns();
	if (again) {
		p->resent++;
	} else {
		p->sent++;
		p->values += e.n;
		p->bytes += r->wire.len;
	}
	return LT_OK;
}

void load_path_fini(struct load_path *p)
{
	for (unsigned i = 0; i < p->n_connections; i++) {
		lt_bus_free(p->connections[i].bus);
		free(p->connections[i].client_id);
	}
	free(p->connections);
	p->connections = NULL;
	p->n_connections = 0;
}
