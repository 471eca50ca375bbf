/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "latido/clock.h"
#include "latido/daemon.h"
#include "latido/log.h"

#define WATCH_MAX 32
#define TICK_NS   (5 * LT_NS_PER_S)

struct client {
	TAILQ_ENTRY(client) link;
	struct streams *t;
	struct http_conn *conn;
	uint64_t login;
	bool fleet;
	struct hub_source *watch[WATCH_MAX];
	size_t n_watch;
	bool lagging;
	uint64_t skipped;   /* events, since it lags */
	int64_t lagging_ms; /* wall clock when that began */
	int64_t moved_ns;   /* when its queue last became shorter */
	size_t queued;      /* then */
};

TAILQ_HEAD(client_list, client);

struct streams {
	struct lt_loop *loop;
	const struct lt_config *conf;
	struct hub *hub;
	struct client_list clients;
	struct lt_timer second;
	int64_t ticked_ns;
	bool stopping;
};

/* ---- what is sent ---- */

static bool watches(const struct client *c, const struct hub_source *s)
{
	for (size_t i = 0; i < c->n_watch; i++)
		if (c->watch[i] == s)
			return true;
	return false;
}

static bool wants(const struct client *c, const struct hub_frame *f)
{
	return f->kind == FRAME_ALL || (f->kind == FRAME_FLEET && c->fleet) ||
	       (f->kind == FRAME_NODE && watches(c, f->source));
}

static void send_event(struct client *c, uint64_t id, const char *event, const struct lt_buf *data)
{
	struct http_bytes *b = hub_frame_bytes(c->t->hub, id, event, data->data, data->len);

	http_stream_send(c->conn, b);
	http_bytes_put(b);
}

static void send_status(struct client *c)
{
	struct lt_buf data = {0};

	hub_put_status(&data, c->t->hub);
	send_event(c, 0, "status", &data);
	lt_buf_fini(&data);
}

static void send_sources(struct client *c)
{
	const struct hub *h = c->t->hub;
	struct lt_buf data = {0};

	lt_buf_char(&data, '[');
	for (size_t i = 0; i < h->n_sources; i++) {
		if (!h->sources[i]->seen_ms)
			continue;
		if (data.len > 1)
			lt_buf_char(&data, ',');
		hub_put_source(&data, h->sources[i]);
	}
	lt_buf_char(&data, ']');
	send_event(c, 0, "source", &data);
	lt_buf_fini(&data);
}

static void send_alerts(struct client *c)
{
	struct lt_buf data = {0};

	hub_put_alerts(&data, c->t->hub);
	send_event(c, 0, "alerts", &data);
	lt_buf_fini(&data);
}

/* The newest event of each watched stream but those whose bit is set in @told. */
static void send_nodes(struct client *c, const uint16_t told[WATCH_MAX])
{
	struct lt_buf data = {0};

	for (size_t i = 0; i < c->n_watch; i++) {
		const struct hub_source *s = c->watch[i];

		for (size_t k = 0; k < s->n_streams; k++) {
			const struct hub_stream *st = &s->streams[k];

			if (!st->known || (told && (told[i] & 1u << k)))
				continue;
			lt_buf_reset(&data);
			hub_put_complete(&data, s, st->name, st->epoch, st->seq, st->time_ms,
				st->shape, st->values, st->n);
			send_event(c, c->t->hub->last_id, "node", &data);
		}
	}
	lt_buf_fini(&data);
}

/* Everything as it is now. What is being collected is sent first, so that nothing comes twice. */
static void send_newest(struct client *c)
{
	send_status(c);
	send_sources(c);
	if (c->fleet)
		http_stream_send(c->conn, hub_fleet_now(c->t->hub));
	send_nodes(c, NULL);
	send_alerts(c);
}

static void send_complete(struct client *c, const struct hub_frame *f)
{
	struct lt_buf data = {0};

	hub_put_complete(&data, f->source, f->source->streams[f->stream].name, f->epoch, f->seq,
		f->time_ms, f->shape, f->values, f->n);
	send_event(c, f->id, "node", &data);
	lt_buf_fini(&data);
}

/* What came after @id, from the ring. The first event of each watched stream is complete. */
static void send_since(struct client *c, uint64_t id)
{
	uint16_t told[WATCH_MAX] = {0};
	_Static_assert(HUB_STREAMS <= 16, "a bit for each stream");

	for (const struct hub_frame *f = c->t->hub->ring; f; f = f->next) {
		if (f->id <= id || !wants(c, f))
			continue;
		if (f->kind == FRAME_NODE) {
			size_t i = 0;

			while (c->watch[i] != f->source)
				i++;
			if (!(told[i] & 1u << f->stream)) {
				told[i] |= (uint16_t)(1u << f->stream);
				send_complete(c, f);
				continue;
			}
		}
		http_stream_send(c->conn, f->bytes);
	}
	send_nodes(c, told);
}

/* ---- clients ---- */

static void client_free(struct client *c)
{
	for (size_t i = 0; i < c->n_watch; i++)
		c->watch[i]->watchers--;
	TAILQ_REMOVE(&c->t->clients, c, link);
	hub_counters.clients--;
	hub_counters.lagging -= c->lagging;
	free(c);
}

static void on_closed(void *arg)
{
	client_free(arg);
}

/* It has taken all: if it was behind, it is told so and gets the newest state. */
static void on_drained(void *arg)
{
	struct client *c = arg;
	struct lt_buf data = {0};

	if (!c->lagging)
		return;
	hub_flush(c->t->hub);
	c->lagging = false;
	hub_counters.lagging--;
	lt_buf_printf(&data, "{\"events\":%" PRIu64 ",\"since_ms\":%" PRId64 "}", c->skipped,
		c->lagging_ms);
	/* No id: who is cut off before the state that follows goes on from what it had. */
	send_event(c, 0, "skip", &data);
	lt_buf_fini(&data);
	c->skipped = 0;
	send_newest(c);
}

static const struct http_stream_ops stream_ops = {on_drained, on_closed};

static void send_frame(struct client *c, const struct hub_frame *f)
{
	if (!c->lagging) {
		size_t queued = http_stream_queued(c->conn);

		if (queued + f->bytes->size <= (size_t)c->t->conf->live.client_queue_bytes ||
			queued == 0) {
			http_stream_send(c->conn, f->bytes);
			return;
		}
		c->lagging = true;
		hub_counters.lagging++;
		c->skipped = 0;
		c->lagging_ms = lt_wall_ns() / LT_NS_PER_MS;
	}
	c->skipped += f->events;
	hub_counters.skipped += f->events;
}

static void on_publish(void *arg, const struct hub_frame *f)
{
	struct streams *t = arg;
	struct client *c;

	TAILQ_FOREACH(c, &t->clients, link)
	if (wants(c, f))
		send_frame(c, f);
}

/* Once a second: whose queue does not move at all is cut off in the end. */
static void on_second(void *arg)
{
	struct streams *t = arg;
	int64_t now = lt_mono_ns();
	struct client *c, *next;
	struct http_bytes *tick = NULL;

	if (now - t->ticked_ns >= TICK_NS) {
		struct lt_buf data = {0};

		lt_buf_printf(&data, "{\"time_ms\":%" PRId64 "}", lt_wall_ns() / LT_NS_PER_MS);
		tick = hub_frame_bytes(t->hub, 0, "tick", data.data, data.len);
		lt_buf_fini(&data);
		t->ticked_ns = now;
	}
	for (c = TAILQ_FIRST(&t->clients); c; c = next) {
		size_t queued = http_stream_queued(c->conn);

		next = TAILQ_NEXT(c, link);
		if (queued < c->queued || !queued)
			c->moved_ns = now;
		c->queued = queued;
		if (queued && now - c->moved_ns > t->conf->live.stall_ms * LT_NS_PER_MS) {
			struct http_conn *conn = c->conn;

			hub_counters.cut++;
			client_free(c);
			http_stream_cut(conn);
		} else if (tick && !c->lagging) {
			http_stream_send(c->conn, tick);
			c->queued += tick->size;
		}
	}
	http_bytes_put(tick);
	lt_timer_start_ns(&t->second, LT_NS_PER_S);
}

/* ---- opening ---- */

/* Return: false: answered with an error. */
static bool read_wishes(struct streams *t, struct http_req *req, struct client *c)
{
	const char *fleet = http_param(&req->query, "fleet", 0), *name;

	c->fleet = !fleet || strcmp(fleet, "0") != 0;
	for (size_t i = 0; (name = http_param(&req->query, "node", i)); i++) {
		struct hub_source *s;

		if (c->n_watch == WATCH_MAX) {
			http_reply_error(req, 400, 0, "at most %d nodes in one stream", WATCH_MAX);
			return false;
		}
		if (!lt_source_valid(name, strlen(name))) {
			http_reply_error(req, 400, 0, "node: not the name of a source");
			return false;
		}
		s = hub_expect(t->hub, name);
		if (s && !watches(c, s))
			c->watch[c->n_watch++] = s;
	}
	return true;
}

/* Can it go on behind @after? Sources of which events may be missing go into @gaps. */
static bool can_resume(const struct client *c, const char *after, uint64_t *id, struct lt_buf *gaps)
{
	const struct hub *h = c->t->hub;

	if (!after || !hub_parse_id(h, after, id) || *id < h->ring_lost)
		return false;
	for (size_t i = 0; i < c->n_watch; i++) {
		const struct hub_source *s = c->watch[i];

		if (s->warm_since && s->warm_since <= *id + 1)
			continue;
		lt_buf_printf(gaps, gaps->len ? ",\"%s\"" : "\"%s\"", s->name);
	}
	return true;
}

static void greet(struct client *c, const char *after)
{
	struct hub *h = c->t->hub;
	struct lt_buf data = {0}, gaps = {0};
	uint64_t id = 0;
	bool resumed;
	char text[40];

	resumed = can_resume(c, after, &id, &gaps);
	for (size_t i = 0; i < c->n_watch; i++) {
		c->watch[i]->watchers++;
		hub_warm(h, c->watch[i]);
	}
	hub_id(h, resumed ? id : h->last_id, text);
	/* A thousand browsers must not all come back in the same moment. */
	lt_buf_printf(&data, "retry: %u\n", 500 + (unsigned)(lt_random_u64() % 1500));
	http_stream_copy(c->conn, data.data, data.len);
	lt_buf_reset(&data);
	lt_buf_printf(&data,
		"{\"id\":\"%s\",\"resumed\":%s,\"gaps\":[%s],\"time_ms\":%" PRId64
		",\"flush_ms\":%" PRId64 ",\"version\":\"%s\"}",
		text, resumed ? "true" : "false", gaps.len ? gaps.data : "",
		lt_wall_ns() / LT_NS_PER_MS, c->t->conf->live.flush_ms, lt_daemon_version());
	/* Without its state a new client has nothing to go on from: that brings the first id. */
	send_event(c, resumed ? id : 0, "hello", &data);
	lt_buf_fini(&data);
	if (resumed) {
		send_status(c);
		send_alerts(c);
		send_since(c, id);
	} else {
		send_newest(c);
	}
	lt_buf_fini(&gaps);
}

void streams_open(struct streams *t, struct http_req *req, uint64_t login)
{
	struct client *c = lt_calloc(1, sizeof(*c));
	const char *after = http_header(&req->head, "last-event-id");
	char *copy;

	c->t = t;
	if (t->stopping) {
		free(c);
		http_reply_error(req, 503, 1, "the server stops");
		return;
	}
	if (!read_wishes(t, req, c)) {
		free(c);
		return;
	}
	if (!after)
		after = http_param(&req->query, "after", 0);
	copy = after ? lt_strdup(after) : NULL; /* the request ends here */
	c->login = login;
	c->moved_ns = lt_mono_ns();
	hub_flush(t->hub); /* what is being collected comes before it, or it would get it twice */
	TAILQ_INSERT_TAIL(&t->clients, c, link);
	hub_counters.clients++;
	c->conn = http_stream_begin(req, "text/event-stream; charset=utf-8", &stream_ops, c);
	greet(c, copy);
	free(copy);
}

static void end(struct client *c, const char *reason)
{
	struct http_conn *conn = c->conn;
	struct lt_buf data = {0};

	lt_buf_printf(&data, "{\"reason\":\"%s\"}", reason);
	send_event(c, 0, "end", &data);
	lt_buf_fini(&data);
	client_free(c);
	http_stream_end(conn);
}

void streams_end_login(struct streams *t, uint64_t login)
{
	struct client *c, *next;

	for (c = TAILQ_FIRST(&t->clients); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (login && c->login == login)
			end(c, "session");
	}
}

void streams_check(struct streams *t, bool (*ok)(void *arg, uint64_t login), void *arg)
{
	struct client *c, *next;

	for (c = TAILQ_FIRST(&t->clients); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->login && !ok(arg, c->login))
			end(c, "session");
	}
}

void streams_stop(struct streams *t)
{
	t->stopping = true;
	while (!TAILQ_EMPTY(&t->clients))
		end(TAILQ_FIRST(&t->clients), "stopping");
}

struct streams *streams_new(struct lt_loop *loop, const struct lt_config *conf, struct hub *h)
{
	struct streams *t = lt_calloc(1, sizeof(*t));

	t->loop = loop;
	t->conf = conf;
	t->hub = h;
	TAILQ_INIT(&t->clients);
	h->publish = on_publish;
	h->publish_arg = t;
	lt_timer_init(&t->second, loop, on_second, t);
	lt_timer_start_ns(&t->second, LT_NS_PER_S);
	return t;
}

void streams_free(struct streams *t)
{
	if (!t)
		return;
	t->hub->publish = NULL;
	while (!TAILQ_EMPTY(&t->clients)) {
		struct client *c = TAILQ_FIRST(&t->clients);
		struct http_conn *conn = c->conn;

		client_free(c);
		http_stream_cut(conn);
	}
	lt_timer_fini(&t->second);
	free(t);
}
