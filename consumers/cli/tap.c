/* SPDX-License-Identifier: MIT */
#include <event2/event.h>
#include <fnmatch.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/event.h"
#include "latido/log.h"
#include "latido/redis_layout.h"
#include "text.h"

#define POLL_MAX         64
#define SHAPES_MAX_BYTES (64 << 20)
#define FEW_VALUES       12 /* without --metric, events with more show only how many */
#define NOTICE_NS        (10 * LT_NS_PER_S)
#define REDIS_RETRY_NS   (30 * LT_NS_PER_S)

enum tap_format { TAP_AUTO = 0, TAP_JSON, TAP_PRETTY };

/* A kind of notice that can repeat with every message. */
struct damped {
	int64_t last_ns;
	uint64_t silent;
};

struct tap {
	const struct lt_config *conf;
	const char *source, *metric; /* globs, NULL = all */
	const char *group;           /* of Kafka: go on where it stopped; or NULL */
	enum tap_format format;
	bool quiet;
	uint64_t count; /* events still to print; 0 = no limit */

	struct lt_loop loop;
	struct lt_bus *bus;
	struct lt_timer timeout, again;
	struct event *signals[2];
	struct lt_shapes *shapes;
	struct lt_arena arena;
	struct lt_snapshot *filtered;
	struct lt_buf out;
	struct lt_redis *redis; /* only to look announced shapes up */
	int64_t redis_failed_ns;
	struct damped bad, nameless, topic;
	bool lost; /* the connection, and it was said */
	bool ended;
	int code;
};

static void end(struct tap *t, int code)
{
	if (!t->ended) {
		t->ended = true;
		t->code = code;
		lt_loop_stop(&t->loop);
	}
}

/* ---- notices ---- */

static void damped_notice(struct damped *d, const char *what, const char *topic, const char *why)
{
	struct lt_buf line = {0};
	int64_t now = lt_mono_ns();

	if (d->last_ns && now - d->last_ns < NOTICE_NS) {
		d->silent++;
		return;
	}
	lt_buf_printf(&line, "%s on ", what);
	text_clean(&line, topic, strlen(topic), 200);
	lt_buf_str(&line, ": ");
	text_clean(&line, why, strlen(why), 400);
	if (d->silent)
		lt_buf_printf(&line, " (and %llu more like it)", (unsigned long long)d->silent);
	cli_notice("%s", line.data);
	lt_buf_fini(&line);
	d->last_ns = now;
	d->silent = 0;
}

/* ---- printing ---- */

static void add_json(struct tap *t, const struct lt_event *e)
{
	lt_encode_json(e, &t->out);
	lt_buf_char(&t->out, '\n');
}

static void add_pretty(struct tap *t, const struct lt_event *e)
{
	char time[LT_RFC3339_LEN];
	size_t widest = 0;

	lt_rfc3339_format(e->time_ns, 3, time);
	lt_buf_printf(&t->out, "%.12s  ", time + 11);
	text_clean(&t->out, e->source, strlen(e->source), SIZE_MAX);
	if (e->stream[0])
		lt_buf_printf(&t->out, " [%s]", e->stream);
	if (e->seq)
		lt_buf_printf(&t->out, "  #%llu", (unsigned long long)e->seq);
	lt_buf_printf(&t->out, "  %u value%s%s\n", e->n, e->n == 1 ? "" : "s",
		e->partial ? ", partial" : "");
	if (!t->metric && e->n > FEW_VALUES)
		return;
	for (uint32_t i = 0; i < e->n; i++)
		if (e->shape->series[i].text_len > widest)
			widest = e->shape->series[i].text_len;
	if (widest > 72)
		widest = 72;
	for (uint32_t i = 0; i < e->n; i++) {
		const struct lt_series *s = &e->shape->series[i];
		size_t used;

		lt_buf_str(&t->out, "    ");
		used = text_clean(&t->out, s->text, s->text_len, SIZE_MAX);
		lt_buf_printf(&t->out, "%*s  ", used < widest ? (int)(widest - used) : 0, "");
		lt_buf_double(&t->out, lt_event_value(e, i));
		lt_buf_char(&t->out, '\n');
	}
}

/*
 * The series of @e whose metric's name matches, as an event of their own in @out; false when none
 * does. Valid until the next call.
 */
static bool filter_metrics(struct tap *t, const struct lt_event *e, struct lt_event *out)
{
	/* Of this family and of the one before: the builder may look back at those. */
	const char *keys[2][LT_LABELS_MAX], *values[LT_LABELS_MAX];
	const char *family = NULL;
	unsigned turn = 0;
	uint32_t n = 0;

	lt_snapshot_begin(t->filtered);
	for (uint32_t i = 0; i < e->n; i++) {
		const struct lt_series *s = &e->shape->series[i];

		if (fnmatch(t->metric, s->name, 0))
			continue;
		for (unsigned k = 0; k < s->n_labels; k++)
			values[k] = s->labels[k].value;
		if (!family || strcmp(family, s->name)) {
			family = s->name;
			turn ^= 1;
			for (unsigned k = 0; k < s->n_labels; k++)
				keys[turn][k] = s->labels[k].name;
			lt_snapshot_family(t->filtered, family, (enum lt_kind)s->kind, keys[turn],
				s->n_labels);
		}
		lt_snapshot_row(t->filtered, values, lt_event_value(e, i));
		n++;
	}
	*out = *e;
	return n && lt_snapshot_event(t->filtered, out, NULL) == LT_OK;
}

static void show(struct tap *t, const struct lt_event *e)
{
	struct lt_event timed = *e, filtered;

	if (t->source && fnmatch(t->source, e->source, 0))
		return;
	timed.has_time = true; /* who reads this later cannot know when it arrived */
	e = &timed;
	if (t->metric) {
		if (!filter_metrics(t, e, &filtered))
			return;
		e = &filtered;
	}
	if (t->format == TAP_JSON)
		add_json(t, e);
	else
		add_pretty(t, e);
	if (t->count && --t->count == 0)
		end(t, LT_EXIT_OK);
}

/* ---- messages ---- */

/* Announced shapes are sent in full once a minute at least; Redis may know them now. */
static bool ask_redis(struct tap *t, const char *source, uint64_t hash)
{
	struct lt_shape *shape;
	int64_t now = lt_mono_ns();

	if (t->redis_failed_ns && now - t->redis_failed_ns < REDIS_RETRY_NS)
		return false;
	if (!t->redis ||
		(!lt_redis_connected(t->redis) && lt_redis_connect(t->redis, NULL) != LT_OK)) {
		t->redis_failed_ns = now;
		return false;
	}
	if (lt_redis_find_shape(t->redis, t->shapes, hash, &shape, NULL) != LT_OK)
		return false;
	lt_shapes_announce(t->shapes, source, shape);
	lt_shape_put(shape);
	return true;
}

static void take_message(struct tap *t, const struct lt_bus_msg *m)
{
	const struct lt_decode_limits limits = {
		(size_t)t->conf->limits.max_bytes, (uint32_t)t->conf->limits.max_series};
	struct lt_origin origin = {0};
	struct lt_event *events = NULL;
	enum lt_reason reason = LT_REASON_NONE;
	uint64_t hash = 0;
	struct lt_err err;
	int rc;

	if (lt_origin_from_topic(&origin, t->conf->bus.prefix, m->topic, &err) != LT_OK) {
		damped_notice(&t->topic, "no events", m->topic, err.msg);
		return;
	}
	if (t->source && fnmatch(t->source, origin.source, 0))
		return; /* not decoded for nothing */
	origin.arrived_ns = m->arrived_ns;
	origin.content_type = m->content_type;
	lt_arena_reset(&t->arena);
	rc = lt_decode(t->shapes, &limits, &origin, m->data, m->size, &t->arena, &events, &reason,
		&hash, &err);
	if (rc == LT_ESHAPE && ask_redis(t, origin.source, hash))
		rc = lt_decode(t->shapes, &limits, &origin, m->data, m->size, &t->arena, &events,
			&reason, &hash, &err);
	if (rc == LT_ESHAPE) {
		damped_notice(&t->nameless, "an event without names", m->topic,
			"its shape was announced before we listened; it comes again within a "
			"minute");
		return;
	}
	if (rc != LT_OK) {
		damped_notice(&t->bad, lt_reason_name(reason), m->topic, err.msg);
		return;
	}
	for (const struct lt_event *e = events; e && !t->ended; e = e->next)
		show(t, e);
	lt_events_release(events);
}

static void on_readable(void *arg)
{
	struct tap *t = arg;
	struct lt_bus_msg *list[POLL_MAX];
	size_t n = t->ended ? 0 : lt_bus_poll(t->bus, list, POLL_MAX), shown = 0;

	lt_buf_reset(&t->out);
	while (shown < n && !t->ended)
		take_message(t, list[shown++]);
	if (t->out.len && !cli_write(&t->out)) {
		end(t, cli_exit_code());
		shown = 0;
	}
	/* What was not printed is not done: with a group the next tap begins there. */
	for (size_t i = 0; i < n; i++)
		if (i < shown || !t->group)
			lt_bus_done(t->bus, list[i]);
	/* Until nothing was there; signals and the time limit get their turn in between. */
	if (n && !t->ended)
		lt_timer_start_ns(&t->again, 0);
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct tap *t = arg;

	(void)resumed;
	if (connected) {
		if (!t->quiet)
			cli_notice("connected to %s", t->conf->bus.url);
		t->lost = false;
	} else if (!t->lost) {
		/* Once: further tries fail for the same reason, mostly. */
		t->lost = true;
		cli_notice("%s: %s; trying again", t->conf->bus.url,
			err ? err->msg : "connection lost");
	}
}

static void on_timeout(void *arg)
{
	end(arg, CLI_EXIT_TIMEOUT);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	end(arg, LT_EXIT_OK);
}

/* ---- life ---- */

static char *topic_of(const struct tap *t, const char *kind, const char *tail)
{
	bool exact = t->source && lt_source_valid(t->source, strlen(t->source));

	/* A broker that filters sends less. */
	return lt_asprintf("%s/%s/%s/%s", t->conf->bus.prefix, kind, exact ? t->source : "+", tail);
}

static int open_bus(struct tap *t, struct lt_err *err)
{
	char *topics[] = {topic_of(t, "nodes", "metrics"), topic_of(t, "devices", "metrics/#")};
	const struct lt_bus_options opt = {.comp = "tap",
		.durable = t->group != NULL,
		.topics = (const char *const *)topics,
		.n_topics = LT_ARRAY_LEN(topics)};
	const struct lt_bus_handler handler = {
		.arg = t, .state = on_state, .readable = on_readable};
	int rc = LT_ECONF;

	t->bus = lt_bus_new(&t->conf->bus, &opt, &handler, &t->loop, err);
	if (t->bus && t->group && !(lt_bus_caps(t->bus) & LT_BUS_DEFER_ACK))
		rc = lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "tap",
			"--group is for kafka://; %s has no positions", t->conf->bus.url);
	else if (t->bus)
		rc = lt_bus_open(t->bus, err);
	for (size_t i = 0; i < LT_ARRAY_LEN(topics); i++)
		free(topics[i]);
	return rc;
}

static void tap_fini(struct tap *t)
{
	lt_bus_free(t->bus);
	lt_timer_fini(&t->timeout);
	lt_timer_fini(&t->again);
	for (size_t i = 0; i < LT_ARRAY_LEN(t->signals); i++)
		if (t->signals[i])
			event_free(t->signals[i]);
	lt_redis_free(t->redis);
	lt_snapshot_free(t->filtered);
	lt_shapes_free(t->shapes);
	lt_arena_fini(&t->arena);
	lt_buf_fini(&t->out);
	lt_loop_fini(&t->loop);
}

static int listen_to(struct tap *t, double timeout_s)
{
	static const int signals[] = {SIGINT, SIGTERM};
	struct lt_err err = {0};

	if (lt_loop_init(&t->loop, &err) != LT_OK) {
		cli_notice("%s", err.msg);
		return LT_EXIT_FAILURE;
	}
	t->shapes = lt_shapes_new(SHAPES_MAX_BYTES, (uint32_t)t->conf->limits.max_series);
	t->filtered = lt_snapshot_new((uint32_t)t->conf->limits.max_series);
	t->redis = lt_redis_new(&t->conf->redis, NULL); /* it may be missing */
	lt_timer_init(&t->again, &t->loop, on_readable, t);
	lt_timer_init(&t->timeout, &t->loop, on_timeout, t);
	if (timeout_s > 0)
		lt_timer_start_ns(&t->timeout, (int64_t)(timeout_s * 1e9));
	for (size_t i = 0; i < LT_ARRAY_LEN(signals); i++) {
		t->signals[i] = evsignal_new(t->loop.base, signals[i], on_signal, t);
		event_add(t->signals[i], NULL);
	}
	if (open_bus(t, &err) == LT_OK) {
		lt_loop_run(&t->loop);
	} else {
		cli_notice("%s", err.msg);
		t->code = lt_exit_code(&err);
	}
	tap_fini(t);
	return t->code;
}

/* Two taps must not throw each other, or a daemon, out of the broker. */
static void own_client_id(struct cli *cli)
{
	char id[64];

	snprintf(id, sizeof(id), "latido-tap-%d-%08x", (int)getpid(), (unsigned)lt_random_u64());
	cli_override(cli, "bus.mqtt.client_id", id);
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_LONG_OPTIONS,
		{"source", required_argument, NULL, 's'}, {"metric", required_argument, NULL, 'm'},
		{"output", required_argument, NULL, 'o'}, {"json", no_argument, NULL, 'j'},
		{"pretty", no_argument, NULL, 'p'}, {"count", required_argument, NULL, 'n'},
		{"wait", required_argument, NULL, 'W'}, {"group", required_argument, NULL, 'g'},
		{"quiet", no_argument, NULL, 'q'}, {"bus", required_argument, NULL, 'B'}, {0}};
	struct tap t = {0};
	double number, timeout_s = 0;
	int c, code = -1;

	while (code < 0 && (c = getopt_long(argc, argv, CLI_SHORT_OPTIONS "s:m:o:jpn:W:g:q",
				    options, NULL)) != -1) {
		switch (c) {
		case 's':
			t.source = optarg;
			break;
		case 'm':
			t.metric = optarg;
			break;
		case 'o':
			if (strcmp(optarg, "json") != 0 && strcmp(optarg, "pretty") != 0)
				code = cli_usage(
					&cli_tap, "--output: json or pretty, not '%s'", optarg);
			t.format = *optarg == 'j' ? TAP_JSON : TAP_PRETTY;
			break;
		case 'j':
			t.format = TAP_JSON;
			break;
		case 'p':
			t.format = TAP_PRETTY;
			break;
		case 'n':
			if (!cli_number(&cli_tap, "--count", optarg, 1, 1e15, &number))
				code = LT_EXIT_USAGE;
			else
				t.count = (uint64_t)number;
			break;
		case 'W':
			if (!cli_number(&cli_tap, "--wait", optarg, 0.001, 1e9, &timeout_s))
				code = LT_EXIT_USAGE;
			break;
		case 'g':
			t.group = optarg;
			cli_override(cli, "bus.kafka.group", optarg);
			break;
		case 'q':
			t.quiet = true;
			break;
		case 'B':
			cli_override(cli, "bus.url", optarg);
			break;
		default:
			code = cli_option(cli, &cli_tap, c);
		}
	}
	if (code < 0)
		code = cli_no_more(&cli_tap, argc, argv);
	if (code >= 0)
		return code;
	own_client_id(cli);
	cli_override(cli, "redis.timeout", "1s");
	code = cli_configure(cli);
	if (code >= 0)
		return code;
	if (t.format == TAP_AUTO)
		t.format = isatty(STDOUT_FILENO) ? TAP_PRETTY : TAP_JSON;
	text_init();
	/* The bus logs what it does; here only what a person at a terminal has to know. */
	lt_log_setup("tap", LT_ERROR, LT_LOG_LOGFMT);
	t.conf = cli->conf;
	return listen_to(&t, timeout_s);
}

const struct cli_command cli_tap = {
	.name = "tap",
	.summary = "show events as they pass on the bus",
	.help = "tap [OPTION]...\n"
		"Print decoded events as they pass on the bus: JSON lines into a pipe, a readable "
		"form\n"
		"on a terminal. Notices go to stderr.\n\n"
		"  -s, --source GLOB    only sources whose name matches\n"
		"  -m, --metric GLOB    only metrics whose name matches: 'node_cpu_*'\n"
		"  -o, --output FORMAT  json: lines, also on a terminal; pretty: also into a pipe\n"
		"  -j, --json; -p, --pretty  the same\n"
		"  -n, --count N        end after N events\n"
		"  -W, --wait SECONDS   end with code 27 when that time is over\n"
		"  -g, --group NAME     on Kafka: every event once, from where this group stopped\n"
		"  -q, --quiet          do not say that the connection stands\n"
		"      --bus URL        instead of bus.url\n"
		"  -c, --config FILE    configuration file; may be repeated, later ones win\n"
		"  -h, --help           print this and exit",
	.run = run,
};
