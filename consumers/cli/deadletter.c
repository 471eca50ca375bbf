/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "deadletter_kept.h"
#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/kafka_topics.h"
#include "latido/log.h"
#include "text.h"

#define REPLAY_NS (30 * LT_NS_PER_S)

/* A message named on the command line as PARTITION:OFFSET. */
struct id {
	int32_t partition;
	int64_t offset;
	bool found;
};

struct letter {
	struct letter *next;
	char *topic, *key, *content_type;
	void *data;
	size_t size;
	int32_t partition;
	int64_t offset;
};

struct work {
	const struct lt_config *conf;
	struct lt_loop loop;
	struct lt_bus *bus;
	struct id *ids;
	size_t n_ids;
	bool all, replay;
	const char *consumer; /* only its letters; NULL = all */
	const char *dir;      /* instead of where the configuration says */
	struct lt_buf out;
	struct letter *letters, **letters_end;
	size_t waiting; /* replayed, not acknowledged */
	int code;
};

static const struct lt_bus_header *header(const struct lt_bus_msg *m, const char *name)
{
	for (size_t i = 0; i < m->n_headers; i++)
		if (!strcmp(m->headers[i].name, name) && m->headers[i].value)
			return &m->headers[i];
	return NULL;
}

static char *header_text(const struct lt_bus_msg *m, const char *name)
{
	const struct lt_bus_header *h = header(m, name);
	char *text;

	if (!h)
		return NULL;
	text = lt_malloc(h->size + 1);
	memcpy(text, h->value, h->size);
	text[h->size] = '\0';
	return text;
}

static void add_header(struct lt_buf *out, const struct lt_bus_msg *m, const char *name)
{
	const struct lt_bus_header *h = header(m, name);

	if (h)
		text_clean(out, h->value, h->size, 300);
	else
		lt_buf_str(out, "-");
}

static bool its(const struct work *w, const struct lt_bus_msg *m)
{
	const struct lt_bus_header *h = header(m, "__connect.errors.connector.name");

	return !w->consumer ||
	       (h && h->size == strlen(w->consumer) && memcmp(h->value, w->consumer, h->size) == 0);
}

static bool wanted(struct work *w, const struct lt_bus_msg *m)
{
	if (!its(w, m))
		return false;
	for (size_t i = 0; i < w->n_ids; i++) {
		if (w->ids[i].partition == m->partition && w->ids[i].offset == m->offset)
			return w->ids[i].found = true;
	}
	return w->all;
}

/* ---- list and show ---- */

static bool list_one(void *arg, const struct lt_bus_msg *m)
{
	struct work *w = arg;
	char time[LT_RFC3339_LEN];

	if (!its(w, m))
		return true;
	lt_rfc3339_format(m->arrived_ns, 3, time);
	lt_buf_reset(&w->out);
	lt_buf_printf(&w->out, "%d:%" PRId64 "\t%s\t", m->partition, m->offset, time);
	add_header(&w->out, m, "__connect.errors.connector.name");
	lt_buf_char(&w->out, '\t');
	add_header(&w->out, m, "latido.reason");
	lt_buf_char(&w->out, '\t');
	add_header(&w->out, m, "latido.topic");
	lt_buf_printf(&w->out, "\t%zu B\t", m->size);
	add_header(&w->out, m, "__connect.errors.exception.message");
	lt_buf_char(&w->out, '\n');
	return cli_write(&w->out);
}

static bool show_one(void *arg, const struct lt_bus_msg *m)
{
	struct work *w = arg;

	if (!wanted(w, m))
		return true;
	lt_buf_reset(&w->out);
	if (m->key) {
		lt_buf_str(&w->out, "key: ");
		text_clean(&w->out, m->key, strlen(m->key), 300);
		lt_buf_char(&w->out, '\n');
	}
	for (size_t i = 0; i < m->n_headers; i++) {
		text_clean(&w->out, m->headers[i].name, strlen(m->headers[i].name), 200);
		lt_buf_str(&w->out, ": ");
		if (m->headers[i].value)
			text_clean(&w->out, m->headers[i].value, m->headers[i].size, 1000);
		lt_buf_char(&w->out, '\n');
	}
	lt_buf_printf(&w->out, "body: %zu bytes, base64:\n", m->size);
	lt_buf_base64(&w->out, m->data, m->size);
	lt_buf_char(&w->out, '\n');
	return cli_write(&w->out);
}

/* ---- replay ---- */

static bool collect_one(void *arg, const struct lt_bus_msg *m)
{
	struct work *w = arg;
	struct letter *l;
	char *topic;

	if (!wanted(w, m))
		return true;
	if (header(m, "latido.truncated")) {
		cli_notice("%d:%" PRId64 " was too large to be kept whole: left out", m->partition,
			m->offset);
		w->code = LT_EXIT_FAILURE;
		return true;
	}
	topic = header_text(m, "latido.topic");
	if (!topic) {
		cli_notice("%d:%" PRId64 " does not say where it came from: left out", m->partition,
			m->offset);
		w->code = LT_EXIT_FAILURE;
		return true;
	}
	l = lt_calloc(1, sizeof(*l));
	l->topic = topic;
	l->key = m->key ? lt_strdup(m->key) : NULL;
	l->content_type = header_text(m, "content-type");
	l->data = lt_malloc(m->size + 1);
	memcpy(l->data, m->data, m->size);
	l->size = m->size;
	l->partition = m->partition;
	l->offset = m->offset;
	*w->letters_end = l;
	w->letters_end = &l->next;
	return true;
}

static void free_letter(struct letter *l)
{
	free(l->topic);
	free(l->key);
	free(l->content_type);
	free(l->data);
	free(l);
}

static void send_letters(struct work *w)
{
	static const struct lt_bus_header mark = {"latido.replay", "1", 1};

	while (w->letters) {
		struct letter *l = w->letters;
		struct lt_err err = {0};
		int rc = lt_bus_publish(w->bus,
			&(struct lt_bus_out){.topic = l->topic,
				.key = l->key,
				.data = l->data,
				.size = l->size,
				.content_type = l->content_type,
				.headers = &mark,
				.n_headers = 1},
			&err);

		if (rc == LT_EFULL)
			return;
		if (rc == LT_OK) {
			w->waiting++;
		} else {
			cli_notice("%d:%" PRId64 ": %s", l->partition, l->offset, err.msg);
			w->code = LT_EXIT_FAILURE;
		}
		w->letters = l->next;
		free_letter(l);
	}
	if (!w->waiting)
		lt_loop_stop(&w->loop);
}

static void on_writable(void *arg)
{
	send_letters(arg);
}

static void on_delivered(void *arg, uint64_t token, int code, const struct lt_err *err)
{
	struct work *w = arg;

	(void)token;
	if (code < 0) {
		cli_notice("%s", err->msg);
		w->code = LT_EXIT_FAILURE;
	}
	if (--w->waiting == 0 && !w->letters)
		lt_loop_stop(&w->loop);
}

static void on_timeout(void *arg)
{
	struct work *w = arg;

	cli_notice("%s did not acknowledge everything within %d s", w->conf->bus.url,
		(int)(REPLAY_NS / LT_NS_PER_S));
	w->code = LT_EXIT_FAILURE;
	lt_loop_stop(&w->loop);
}

static int replay(struct work *w)
{
	const struct lt_bus_options opt = {.comp = "deadletter"};
	const struct lt_bus_handler h = {
		.arg = w, .writable = on_writable, .delivered = on_delivered};
	struct lt_timer limit = {0}, first = {0};
	struct lt_err err = {0};
	size_t n = 0;

	for (struct letter *l = w->letters; l; l = l->next)
		n++;
	if (n && lt_loop_init(&w->loop, &err) == LT_OK) {
		lt_timer_init(&limit, &w->loop, on_timeout, w);
		lt_timer_start_ns(&limit, REPLAY_NS);
		lt_timer_init(&first, &w->loop, on_writable, w);
		lt_timer_start_ns(&first, 0);
		w->bus = lt_bus_new(&w->conf->bus, &opt, &h, &w->loop, &err);
		if (w->bus && lt_bus_open(w->bus, &err) == LT_OK)
			lt_loop_run(&w->loop);
		lt_bus_free(w->bus);
		lt_timer_fini(&limit);
		lt_timer_fini(&first);
		lt_loop_fini(&w->loop);
	}
	if (err.cls) {
		cli_notice("%s", err.msg);
		return LT_EXIT_FAILURE;
	}
	if (w->code == LT_EXIT_OK)
		cli_notice("%zu message%s sent again", n, n == 1 ? "" : "s");
	return w->code;
}

/* ---- the command ---- */

static int parse_ids(struct work *w, int argc, char **argv)
{
	w->ids = lt_calloc((size_t)argc + 1, sizeof(*w->ids));
	for (int i = 0; i < argc; i++) {
		struct id *id = &w->ids[w->n_ids++];
		char tail;

		if (sscanf(argv[i], "%" SCNd32 ":%" SCNd64 "%c", &id->partition, &id->offset,
			    &tail) != 2)
			return cli_usage(&cli_deadletter,
				"'%s' is not PARTITION:OFFSET, as list prints it", argv[i]);
	}
	return -1;
}

static int work_on(struct work *w, lt_kafka_scan_fn fn)
{
	const struct lt_bus_conf *bus = &w->conf->bus;
	const char *dir = w->dir ? w->dir : w->conf->store.deadletter_dir;
	bool kafka = !w->dir && strncmp(bus->url, "kafka", 5) == 0;
	struct lt_err err = {0};
	int rc;

	if (!kafka && !dir[0]) {
		cli_notice("bus.url is %s: MQTT keeps no dead letters; let latido-store keep them "
			   "(store.deadletter_dir), or name its folder with --dir",
			bus->url);
		return LT_EXIT_CONFIG;
	}
	if (kafka)
		rc = lt_kafka_scan(bus, bus->kafka.deadletter_topic, fn, w, &err);
	else
		rc = cli_kept_scan(dir, fn, w, &err);
	if (rc < 0) {
		cli_notice("%s", err.msg);
		return err.cls == LT_CLS_CONFIG ? LT_EXIT_CONFIG : LT_EXIT_FAILURE;
	}
	for (size_t i = 0; i < w->n_ids; i++) {
		if (w->ids[i].found)
			continue;
		cli_notice("there is no dead letter %d:%" PRId64, w->ids[i].partition,
			w->ids[i].offset);
		w->code = LT_EXIT_FAILURE;
	}
	return w->replay ? replay(w) : w->code == LT_EXIT_OK ? cli_exit_code() : w->code;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_LONG_OPTIONS, {"all", no_argument, NULL, 'a'},
		{"bus", required_argument, NULL, 'b'}, {"dir", required_argument, NULL, 'd'},
		{"consumer", required_argument, NULL, 'C'}, {0}};
	struct work w = {.letters_end = &w.letters};
	lt_kafka_scan_fn fn = NULL;
	const char *verb;
	int c, code = -1;

	while (code < 0 &&
		(c = getopt_long(argc, argv, CLI_SHORT_OPTIONS "ab:", options, NULL)) != -1) {
		if (c == 'a')
			w.all = true;
		else if (c == 'b')
			cli_override(cli, "bus.url", optarg);
		else if (c == 'd')
			w.dir = optarg;
		else if (c == 'C')
			w.consumer = optarg;
		else
			code = cli_option(cli, &cli_deadletter, c);
	}
	verb = code < 0 && optind < argc ? argv[optind++] : "";
	if (!strcmp(verb, "list"))
		fn = list_one;
	else if (!strcmp(verb, "show"))
		fn = show_one;
	else if (!strcmp(verb, "replay"))
		fn = collect_one;
	else if (code < 0)
		code = cli_usage(&cli_deadletter, "what to do? list, show or replay");
	w.replay = fn == collect_one;
	if (code < 0)
		code = parse_ids(&w, argc - optind, argv + optind);
	if (code < 0 && fn == list_one && w.n_ids)
		code = cli_usage(&cli_deadletter, "list takes no arguments");
	if (code < 0 && fn != list_one && !w.n_ids && !w.all)
		code = cli_usage(&cli_deadletter, "which? PARTITION:OFFSET, or --all");
	if (code < 0)
		code = cli_configure(cli);
	if (code < 0) {
		text_init();
		lt_log_setup("deadletter", LT_ERROR, LT_LOG_LOGFMT);
		w.conf = cli->conf;
		code = work_on(&w, fn);
	}
	while (w.letters) {
		struct letter *l = w.letters;

		w.letters = l->next;
		free_letter(l);
	}
	free(w.ids);
	lt_buf_fini(&w.out);
	return code;
}

const struct cli_command cli_deadletter = {
	.name = "deadletter",
	.summary = "list, show or replay what could not be decoded",
	.help = "deadletter list|show|replay [OPTION]... [PARTITION:OFFSET]...\n"
		"Look at the messages that a consumer refused, and send them again to where they\n"
		"came from, in Kafka with the header latido.replay=1.\n\n"
		"  -a, --all          show or replay all of them\n"
		"      --consumer NAME  only what this one refused, such as store or bridge\n"
		"      --dir DIR      where latido-store keeps those of MQTT, instead of\n"
		"                     store.deadletter_dir\n"
		"      --bus URL      instead of bus.url\n"
		"  -c, --config FILE  configuration file; may be repeated, later ones win\n"
		"  -h, --help         print this and exit",
	.run = run,
};
