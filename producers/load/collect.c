/* SPDX-License-Identifier: MIT */
/* Records what an HTTP endpoint answers to many users, or what a source publishes. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/event/json_read.h"
#include "latido/log.h"
#include "load.h"

#define BODY_MAX_BYTES (16 << 20)
#define USERS_MAX      10000
#define POLL_MAX       64
#define PROGRESS_NS    LT_NS_PER_S

struct collect;

struct user {
	struct collect *c;
	uint32_t number;
	struct lt_timer timer;
	struct evhttp_connection *connection;
	struct evhttp_request *request;
	int64_t due_ns;
};

struct collect {
	const char *url, *source, *out_path;
	uint32_t n_users;
	int64_t interval_min_ns, interval_max_ns, duration_ns, timeout_ns;
	uint64_t count;
	bool quiet, own;
	const struct lt_config *conf;

	struct lt_loop loop;
	struct event *signals[2];
	struct lt_timer end, tick;
	struct evhttp_uri *uri;
	char *host, *target, *authority;
	uint16_t port;
	struct user *users;
	struct lt_bus *bus;
	struct lt_shapes *shapes;
	struct lt_arena arena;
	struct lt_buf line, text;
	uint64_t rng, got, asked, errors;
	struct load_hist latency;
	int64_t began_ns;
	int out, code;
	bool ended, tty;
};

static void end(struct collect *c, int code)
{
	if (c->ended)
		return;
	c->ended = true;
	c->code = code;
	lt_loop_stop(&c->loop);
}

static void write_record(struct collect *c, const char *from, const char *body, size_t size)
{
	size_t at = 0;

	if (c->ended)
		return;
	lt_buf_reset(&c->line);
	load_recording_line(&c->line, lt_mono_ns() - c->began_ns, from, body, size);
	while (at < c->line.len) {
		ssize_t n = write(c->out, c->line.data + at, c->line.len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			cli_notice(
				"%s: %s; the last line is not whole", c->out_path, strerror(errno));
			end(c, LT_EXIT_FAILURE);
			return;
		}
		at += (size_t)n;
	}
	if (++c->got == c->count)
		end(c, LT_EXIT_OK);
}

static void complain(struct collect *c, const char *why)
{
	if (c->errors++ == 0)
		cli_notice("%s: %s", c->url ? c->url : c->conf->bus.url, why);
}

/* ---- HTTP ---- */

static void plan_next(struct user *u)
{
	struct collect *c = u->c;
	int64_t span = c->interval_max_ns - c->interval_min_ns;

	c->rng ^= c->rng << 13;
	c->rng ^= c->rng >> 7;
	c->rng ^= c->rng << 17;
	u->due_ns += c->interval_min_ns + (span ? (int64_t)(c->rng % (uint64_t)(span + 1)) : 0);
	lt_timer_start_ns(&u->timer, u->due_ns - lt_mono_ns());
}

static bool is_json(const char *s, size_t n)
{
	struct json_value v;
	struct json j;

	json_init(&j, s, n);
	return json_value(&j, &v) && json_skip(&j, &v) && json_end(&j);
}

static void on_answer(struct evhttp_request *request, void *arg)
{
	struct user *u = arg;
	struct collect *c = u->c;
	char from[32], why[128];

	u->request = NULL;
	if (c->ended)
		return;
	snprintf(from, sizeof(from), "%" PRIu32, u->number);
	if (!request || evhttp_request_get_response_code(request) == 0) {
		complain(c, "no answer; does the server run?");
	} else if (evhttp_request_get_response_code(request) / 100 != 2) {
		snprintf(why, sizeof(why), "HTTP status %d",
			evhttp_request_get_response_code(request));
		complain(c, why);
	} else {
		struct evbuffer *body = evhttp_request_get_input_buffer(request);
		size_t n = evbuffer_get_length(body);
		const char *s = (const char *)evbuffer_pullup(body, -1);

		if (n == 0 || !is_json(s, n)) {
			complain(c, "an answer is no JSON document");
		} else {
			load_hist_add(&c->latency, lt_mono_ns() - u->due_ns);
			write_record(c, from, s, n);
		}
	}
	if (!c->ended)
		plan_next(u);
}

static void ask(void *arg)
{
	struct user *u = arg;
	struct collect *c = u->c;
	struct evkeyvalq *headers;

	if (!u->connection) {
		u->connection = evhttp_connection_base_new(c->loop.base, NULL, c->host, c->port);
		evhttp_connection_set_max_body_size(u->connection, BODY_MAX_BYTES);
		evhttp_connection_set_timeout(
			u->connection, (int)((c->timeout_ns + LT_NS_PER_S - 1) / LT_NS_PER_S));
	}
	c->asked++;
	u->request = evhttp_request_new(on_answer, u);
	headers = evhttp_request_get_output_headers(u->request);
	evhttp_add_header(headers, "Host", c->authority);
	evhttp_add_header(headers, "Accept", "application/json");
	evhttp_add_header(headers, "User-Agent", "latido-load");
	if (evhttp_make_request(u->connection, u->request, EVHTTP_REQ_GET, c->target) != 0) {
		u->request = NULL; /* it is freed */
		complain(c, "cannot ask");
		plan_next(u);
	}
}

static int open_http(struct collect *c, struct lt_err *err)
{
	const char *host, *path, *query;
	int64_t middle_ns = (c->interval_min_ns + c->interval_max_ns) / 2;
	int port;

	c->uri = evhttp_uri_parse(c->url);
	host = c->uri ? evhttp_uri_get_host(c->uri) : NULL;
	if (!host || !*host || strcmp(evhttp_uri_get_scheme(c->uri), "http") != 0)
		return lt_fail(err, LT_EINVAL, LT_CLS_CONFIG, "load.collect",
			"--url: expected http://HOST[:PORT]/PATH, got '%.200s'", c->url);
	if (!c->own && load_check_address(c->url, err) != LT_OK)
		return LT_ECONF;
	port = evhttp_uri_get_port(c->uri);
	c->port = (uint16_t)(port > 0 ? port : 80);
	c->host = *host == '[' ? lt_strndup(host + 1, strlen(host) - 2) : lt_strdup(host);
	c->authority = lt_asprintf("%s:%d", host, c->port);
	path = evhttp_uri_get_path(c->uri);
	query = evhttp_uri_get_query(c->uri);
	c->target = lt_asprintf(
		"%s%s%s", path && *path ? path : "/", query ? "?" : "", query ? query : "");
	c->users = lt_calloc(c->n_users, sizeof(*c->users));
	for (uint32_t i = 0; i < c->n_users; i++) {
		struct user *u = &c->users[i];

		u->c = c;
		u->number = i + 1;
		lt_timer_init(&u->timer, &c->loop, ask, u);
		u->due_ns = c->began_ns + (int64_t)((double)middle_ns * i / c->n_users);
		lt_timer_start_ns(&u->timer, u->due_ns - c->began_ns);
	}
	return LT_OK;
}

/* ---- topics ---- */

static void take_message(struct collect *c, const struct lt_bus_msg *m)
{
	const struct lt_decode_limits limits = {
		(size_t)c->conf->limits.max_bytes, (uint32_t)c->conf->limits.max_series};
	struct lt_origin origin = {0};
	struct lt_event *events = NULL;
	enum lt_reason reason;
	struct lt_err err;
	uint64_t hash;

	if (lt_origin_from_topic(&origin, c->conf->bus.prefix, m->topic, &err) != LT_OK)
		return;
	origin.arrived_ns = m->arrived_ns;
	origin.content_type = m->content_type;
	lt_arena_reset(&c->arena);
	if (lt_decode(c->shapes, &limits, &origin, m->data, m->size, &c->arena, &events, &reason,
		    &hash, &err) != LT_OK) {
		complain(c, err.msg);
		return;
	}
	for (const struct lt_event *e = events; e; e = e->next) {
		lt_buf_reset(&c->text);
		lt_encode_json(e, &c->text);
		write_record(c, e->source, c->text.data, c->text.len);
	}
	lt_events_release(events);
}

static void on_readable(void *arg)
{
	struct collect *c = arg;
	struct lt_bus_msg *list[POLL_MAX];
	size_t n;

	while ((n = lt_bus_poll(c->bus, list, POLL_MAX)) > 0) {
		for (size_t i = 0; i < n; i++) {
			take_message(c, list[i]);
			lt_bus_done(c->bus, list[i]);
		}
	}
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct collect *c = arg;

	(void)resumed;
	if (connected && !c->quiet)
		cli_notice("connected to %s", c->conf->bus.url);
	else if (!connected)
		complain(c, err ? err->msg : "connection lost");
}

static int open_topics(struct collect *c, struct lt_err *err)
{
	const char *name = strcmp(c->source, "*") == 0 ? "+" : c->source;
	char *topics[] = {lt_asprintf("%s/nodes/%s/metrics", c->conf->bus.prefix, name),
		lt_asprintf("%s/devices/%s/metrics/#", c->conf->bus.prefix, name)};
	const struct lt_bus_options opt = {.comp = "load",
		.topics = (const char *const *)topics,
		.n_topics = LT_ARRAY_LEN(topics)};
	const struct lt_bus_handler handler = {
		.arg = c, .state = on_state, .readable = on_readable};
	int rc = LT_ECONF;

	if (*name != '+' && !lt_source_valid(name, strlen(name)))
		rc = lt_fail(err, LT_EINVAL, LT_CLS_CONFIG, "load.collect",
			"--source: '%.150s' is no name of a source; '*' means all", name);
	else if (c->own || load_check_address(c->conf->bus.url, err) == LT_OK)
		c->bus = lt_bus_new(&c->conf->bus, &opt, &handler, &c->loop, err);
	if (c->bus)
		rc = lt_bus_open(c->bus, err);
	c->shapes = lt_shapes_new(64 << 20, (uint32_t)c->conf->limits.max_series);
	for (size_t i = 0; i < LT_ARRAY_LEN(topics); i++)
		free(topics[i]);
	return rc;
}

/* ---- life ---- */

static void on_end(void *arg)
{
	end(arg, LT_EXIT_OK);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	end(arg, LT_EXIT_OK);
}

static void on_tick(void *arg)
{
	struct collect *c = arg;

	lt_timer_start_ns(&c->tick, PROGRESS_NS);
	if (!c->quiet && c->tty)
		fprintf(stderr,
			"\r%" PRIu64 " documents  errors %" PRIu64
			"  p50 %.3g ms  p99 %.3g ms\033[K",
			c->got, c->errors, (double)load_hist_quantile_ns(&c->latency, 0.5) / 1e6,
			(double)load_hist_quantile_ns(&c->latency, 0.99) / 1e6);
}

static void report(struct collect *c)
{
	if (c->tty && !c->quiet)
		fputc('\n', stderr);
	fprintf(stderr,
		"{\"command\":\"collect\",\"documents\":%" PRIu64 ",\"asked\":%" PRIu64
		",\"errors\":%" PRIu64 ",\"seconds\":%.3f,"
		"\"latency_ms\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}}\n",
		c->got, c->asked, c->errors, (double)(lt_mono_ns() - c->began_ns) / 1e9,
		(double)load_hist_quantile_ns(&c->latency, 0.5) / 1e6,
		(double)load_hist_quantile_ns(&c->latency, 0.99) / 1e6,
		(double)c->latency.max_ns / 1e6);
}

static void collect_fini(struct collect *c)
{
	for (uint32_t i = 0; c->users && i < c->n_users; i++) {
		if (c->users[i].connection)
			evhttp_connection_free(c->users[i].connection);
		lt_timer_fini(&c->users[i].timer);
	}
	free(c->users);
	if (c->bus)
		lt_bus_free(c->bus);
	if (c->uri)
		evhttp_uri_free(c->uri);
	free(c->host);
	free(c->target);
	free(c->authority);
	lt_shapes_free(c->shapes);
	lt_arena_fini(&c->arena);
	lt_buf_fini(&c->line);
	lt_buf_fini(&c->text);
	for (size_t i = 0; i < LT_ARRAY_LEN(c->signals); i++)
		if (c->signals[i])
			event_free(c->signals[i]);
	lt_timer_fini(&c->end);
	lt_timer_fini(&c->tick);
	lt_loop_fini(&c->loop);
	if (c->out > STDOUT_FILENO)
		close(c->out);
}

static int collect(struct collect *c)
{
	static const int signals[] = {SIGINT, SIGTERM};
	struct lt_err err = {0};
	int rc = lt_loop_init(&c->loop, &err);

	c->out = STDOUT_FILENO;
	if (rc == LT_OK && strcmp(c->out_path, "-") != 0) {
		c->out = open(c->out_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (c->out < 0)
			rc = lt_fail(&err, LT_EIO, LT_CLS_CONFIG, "load.collect", "%.300s: %s",
				c->out_path, strerror(errno));
	}
	lt_timer_init(&c->end, &c->loop, on_end, c);
	lt_timer_init(&c->tick, &c->loop, on_tick, c);
	for (size_t i = 0; rc == LT_OK && i < LT_ARRAY_LEN(signals); i++) {
		c->signals[i] = evsignal_new(c->loop.base, signals[i], on_signal, c);
		event_add(c->signals[i], NULL);
	}
	c->tty = isatty(STDERR_FILENO);
	c->began_ns = lt_mono_ns();
	if (rc == LT_OK)
		rc = c->url ? open_http(c, &err) : open_topics(c, &err);
	if (rc == LT_OK) {
		if (c->duration_ns)
			lt_timer_start_ns(&c->end, c->duration_ns);
		lt_timer_start_ns(&c->tick, PROGRESS_NS);
		lt_loop_run(&c->loop);
		report(c);
		if (c->code == LT_EXIT_OK && c->got == 0)
			c->code = LT_EXIT_FAILURE;
	} else {
		cli_notice("%s", err.msg);
		c->code = lt_exit_code(&err) == LT_EXIT_OK ? LT_EXIT_FAILURE : lt_exit_code(&err);
	}
	c->ended = true;
	collect_fini(c);
	return c->code;
}

static int parse(struct cli *cli, int argc, char **argv, struct collect *c)
{
	static const struct option options[] = {CLI_LONG_OPTIONS,
		{"url", required_argument, NULL, 'u'}, {"users", required_argument, NULL, 's'},
		{"interval", required_argument, NULL, 'i'}, {"count", required_argument, NULL, 'n'},
		{"duration", required_argument, NULL, 'd'},
		{"timeout", required_argument, NULL, 't'}, {"source", required_argument, NULL, 'N'},
		{"bus", required_argument, NULL, 'B'}, {"output", required_argument, NULL, 'o'},
		{"quiet", no_argument, NULL, 'q'}, {"i-own-this", no_argument, NULL, 'O'}, {0}};
	const struct cli_command *cmd = &load_collect;
	double v = 0;
	int code = -1, o;

	while (code < 0 && (o = getopt_long(argc, argv, CLI_SHORT_OPTIONS "u:s:i:n:d:o:q", options,
				    NULL)) != -1) {
		bool good = true;

		switch (o) {
		case 'u':
			c->url = optarg;
			break;
		case 's':
			good = cli_number(cmd, "--users", optarg, 1, USERS_MAX, &v);
			c->n_users = (uint32_t)v;
			break;
		case 'i':
			good = load_interval(cmd, "--interval", optarg, &c->interval_min_ns,
				&c->interval_max_ns);
			break;
		case 'n':
			good = cli_number(cmd, "--count", optarg, 1, 1e12, &v);
			c->count = (uint64_t)v;
			break;
		case 'd':
			good = load_duration(cmd, "--duration", optarg, &c->duration_ns);
			break;
		case 't':
			good = load_duration(cmd, "--timeout", optarg, &c->timeout_ns);
			break;
		case 'N':
			c->source = optarg;
			break;
		case 'B':
			cli_override(cli, "bus.url", optarg);
			break;
		case 'o':
			c->out_path = optarg;
			break;
		case 'q':
			c->quiet = true;
			break;
		case 'O':
			c->own = true;
			break;
		default:
			code = cli_option(cli, cmd, o);
		}
		if (!good)
			code = LT_EXIT_USAGE;
	}
	if (code < 0)
		code = cli_no_more(cmd, argc, argv);
	if (code < 0 && (c->url != NULL) == (c->source != NULL))
		code = cli_usage(cmd, "either --url or --source");
	if (code < 0 && !c->out_path)
		code = cli_usage(cmd, "--output FILE is missing; '-' is standard output");
	return code;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct collect c = {.n_users = 300,
		.interval_min_ns = LT_NS_PER_S,
		.interval_max_ns = 2 * LT_NS_PER_S,
		.timeout_ns = 10 * LT_NS_PER_S,
		.rng = lt_random_u64()};
	char id[64];
	int code = parse(cli, argc, argv, &c);

	if (code >= 0)
		return code;
	if (!c.count && !c.duration_ns) {
		c.count = 2000;
		c.duration_ns = 180 * LT_NS_PER_S;
	}
	snprintf(id, sizeof(id), "latido-load-%d-%08x", (int)getpid(), (unsigned)lt_random_u64());
	cli_override(cli, "bus.mqtt.client_id", id);
	code = cli_configure(cli);
	if (code >= 0)
		return code;
	lt_log_setup("load", LT_ERROR, LT_LOG_LOGFMT);
	c.conf = cli->conf;
	return collect(&c);
}

const struct cli_command load_collect = {
	.name = "collect",
	.summary = "record what a server answers, or what a source publishes",
	.help = "collect [OPTION]... -o FILE (--url URL | --source NAME)\n"
		"Record JSON documents, a line each: what an HTTP endpoint answers to many users, "
		"or\n"
		"what a source publishes on the bus. Ends after 2000 documents or 3 minutes, if\n"
		"nothing else is said.\n\n"
		"  -u, --url URL        http://HOST:PORT/PATH to ask\n"
		"  -s, --users N        users that ask, each on a connection of its own (300)\n"
		"  -i, --interval TIME  between two questions of a user, or 1s..2s for any in "
		"between\n"
		"                       (1s..2s)\n"
		"      --timeout TIME   of one answer (10s)\n"
		"      --source NAME    instead: the events of this source; '*': of all\n"
		"      --bus URL        instead of bus.url\n"
		"  -n, --count N        end after N documents\n"
		"  -d, --duration TIME  end after that time\n"
		"  -o, --output FILE    the recording; '-' is standard output\n"
		"  -q, --quiet          no progress\n"
		"      --i-own-this     also from addresses that are not this machine's\n"
		"  -c, --config FILE    configuration file; may be repeated, later ones win\n"
		"  -h, --help           print this and exit",
	.run = run,
};
