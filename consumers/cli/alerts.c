/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../../lib/event/json_read.h"
#include "cli.h"
#include "latido/clock.h"
#include "latido/event.h"
#include "latido/promql.h"
#include "latido/redis_layout.h"
#include "latido/sink_pg.h"
#include "text.h"

/* latido alerts: what is active (Redis), and with --history what was (PostgreSQL). */

#define DEFAULT_LIMIT 1000
#define DEFAULT_MS    (24 * 3600 * INT64_C(1000))
#define SUMMARY_MIN   20

struct alert {
	char *json; /* as it stands in Redis; not NUL-terminated text inside */
	size_t len;
	char *state, *name, *source, *severity, *summary, *value;
	int64_t active_ms;
	char fingerprint[32];
};

struct list {
	struct alert *items;
	size_t n, cap;
};

struct query {
	const char *source, *name, *severity, *state;
	bool json, history;
	int64_t from_ms, to_ms; /* of the history */
	double limit;
};

/* ---- reading an AlertEvent ---- */

static char *take_text(const struct json_value *v)
{
	char *out = lt_malloc(v->len + 1);
	size_t n = v->type == JSON_STRING ? json_unescape(v, out) : v->len;

	if (v->type == JSON_NUMBER)
		memcpy(out, v->s, n);
	else if (v->type != JSON_STRING)
		n = 0;
	out[n] = '\0';
	return out;
}

static bool is(const struct json_value *key, const char *name)
{
	return key->len == strlen(name) && memcmp(key->s, name, key->len) == 0;
}

static void keep(char **to, const struct json_value *v)
{
	free(*to);
	*to = take_text(v);
}

static bool read_map(struct json *j, struct alert *a, bool labels)
{
	struct json_value key, v;
	bool first = true;
	int more;

	while ((more = json_member(j, &first, &key)) > 0) {
		if (!json_value(j, &v))
			return false;
		if (labels && is(&key, "alertname"))
			keep(&a->name, &v);
		else if (labels && is(&key, "instance"))
			keep(&a->source, &v);
		else if (labels && is(&key, "severity"))
			keep(&a->severity, &v);
		else if (!labels && is(&key, "summary"))
			keep(&a->summary, &v);
		if (!json_skip(j, &v))
			return false;
	}
	return more == 0;
}

static bool read_alert(struct alert *a)
{
	struct json_value key, v;
	bool first = true;
	struct json j;
	int more;

	json_init(&j, a->json, a->len);
	if (!json_value(&j, &v) || v.type != JSON_OBJECT)
		return false;
	while ((more = json_member(&j, &first, &key)) > 0) {
		bool ok = json_value(&j, &v);

		if (!ok)
			return false;
		if (v.type == JSON_OBJECT && (is(&key, "labels") || is(&key, "annotations"))) {
			ok = read_map(&j, a, is(&key, "labels"));
		} else if (is(&key, "state")) {
			keep(&a->state, &v);
		} else if (is(&key, "value")) {
			keep(&a->value, &v);
		} else if (is(&key, "fingerprint")) {
			snprintf(a->fingerprint, sizeof(a->fingerprint), "%.*s", (int)v.len, v.s);
		} else if (is(&key, "activeAt")) {
			int64_t ns;

			if (v.type == JSON_STRING && lt_rfc3339_parse(v.s, v.len, &ns))
				a->active_ms = ns / LT_NS_PER_MS;
		} else {
			ok = json_skip(&j, &v);
		}
		if (!ok)
			return false;
	}
	return more == 0;
}

static void free_alert(struct alert *a)
{
	free(a->json);
	free(a->state);
	free(a->name);
	free(a->source);
	free(a->severity);
	free(a->summary);
	free(a->value);
}

static const char *or_dash(const char *s)
{
	return s && *s ? s : "-";
}

static bool wanted(const struct query *q, const struct alert *a)
{
	return (!*q->source || (a->source && strcmp(a->source, q->source) == 0)) &&
	       (!*q->name || (a->name && strcmp(a->name, q->name) == 0)) &&
	       (!*q->severity || (a->severity && strcmp(a->severity, q->severity) == 0)) &&
	       (!*q->state || (a->state && strcmp(a->state, q->state) == 0));
}

/* ---- active ones ---- */

static int read_active(
	const struct lt_config *conf, const struct query *q, struct list *l, struct lt_err *err)
{
	struct lt_redis *redis = lt_redis_new(&conf->redis, err);
	struct lt_redis_cmd cmd = {0};
	struct lt_reply *r = NULL;
	int rc;

	if (!redis)
		return err->code;
	rc = lt_redis_connect(redis, err);
	if (rc == LT_OK)
		rc = lt_redis_check_layout(redis, err);
	lt_redis_begin(&cmd, "HGETALL");
	lt_redis_str(&cmd, LT_REDIS_ALERTS);
	if (rc == LT_OK)
		rc = lt_redis_call(redis, &cmd, &r, err);
	for (size_t i = 1; rc == LT_OK && i < lt_reply_n(r); i += 2) {
		struct alert a = {0};
		const char *json = lt_reply_str(lt_reply_at(r, i), &a.len);

		a.json = lt_strndup(json, a.len);
		if (!read_alert(&a) || !wanted(q, &a)) {
			free_alert(&a);
			continue;
		}
		if (l->n == l->cap) {
			l->cap = l->cap ? l->cap * 2 : 64;
			l->items = lt_realloc(l->items, l->cap * sizeof(*l->items));
		}
		l->items[l->n++] = a;
	}
	lt_reply_free(r);
	lt_redis_cmd_fini(&cmd);
	lt_redis_free(redis);
	return rc;
}

/* Firing ones first, then those that are so for longest. */
static int by_weight(const void *x, const void *y)
{
	const struct alert *a = x, *b = y;
	int fa = a->state && strcmp(a->state, "firing") == 0;
	int fb = b->state && strcmp(b->state, "firing") == 0;

	if (fa != fb)
		return fb - fa;
	if (a->active_ms != b->active_ms)
		return a->active_ms < b->active_ms ? -1 : 1;
	return strcmp(a->fingerprint, b->fingerprint);
}

static size_t width_of(size_t least, const struct list *l, size_t offset)
{
	size_t most = least;

	for (size_t i = 0; i < l->n; i++) {
		const char *s = or_dash(*(char *const *)((const char *)&l->items[i] + offset));

		if (strlen(s) > most)
			most = strlen(s);
	}
	return most < 40 ? most : 40;
}

/* A value for people: six digits are enough. */
static void put_value(struct lt_buf *out, const char *s, size_t n)
{
	char short_text[32] = "-";
	double v;

	if (n)
		snprintf(short_text, sizeof(short_text), "%.*s", (int)n, s);
	if (n && text_number(s, n, &v) && v - v == 0)
		snprintf(short_text, sizeof(short_text), "%.6g", v);
	text_cell(out, short_text, 11, TEXT_RIGHT);
}

static void put_active(const struct list *l, struct lt_buf *out)
{
	size_t name = width_of(5, l, offsetof(struct alert, name));
	size_t source = width_of(6, l, offsetof(struct alert, source));
	size_t used, columns = 0, firing = 0;
	int64_t now_ms = lt_wall_ns() / LT_NS_PER_MS;
	struct winsize w = {0};

	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0)
		columns = w.ws_col;
	used = 9 + name + 2 + source + 2 + 10 + 8 + 13;
	for (size_t i = 0; i <= l->n; i++) {
		const struct alert *a = i ? &l->items[i - 1] : NULL;
		struct lt_buf age = {0};

		text_cell(out, a ? or_dash(a->state) : "state", 7, TEXT_LEFT);
		lt_buf_str(out, "  ");
		text_cell(out, a ? or_dash(a->name) : "alert", name, TEXT_LEFT);
		lt_buf_str(out, "  ");
		text_cell(out, a ? or_dash(a->source) : "source", source, TEXT_LEFT);
		lt_buf_str(out, "  ");
		text_cell(out, a ? or_dash(a->severity) : "severity", 8, TEXT_LEFT);
		lt_buf_str(out, "  ");
		if (a)
			text_age(&age, (double)(now_ms - a->active_ms) / 1000);
		else
			lt_buf_str(&age, "since");
		text_cell(out, age.data, 6, TEXT_RIGHT);
		lt_buf_str(out, "  ");
		lt_buf_fini(&age);
		if (a)
			put_value(out, a->value ? a->value : "", a->value ? strlen(a->value) : 0);
		else
			text_cell(out, "value", 11, TEXT_RIGHT);
		lt_buf_str(out, "  ");
		text_clean(out, a ? or_dash(a->summary) : "summary",
			strlen(a ? or_dash(a->summary) : "summary"),
			columns > used + SUMMARY_MIN ? columns - used : SIZE_MAX);
		lt_buf_char(out, '\n');
		firing += a && a->state && strcmp(a->state, "firing") == 0;
	}
	lt_buf_printf(out, "%zu firing, %zu pending\n", firing, l->n - firing);
}

static int print_active(struct cli *cli, const struct query *q)
{
	struct list l = {0};
	struct lt_buf out = {0};
	struct lt_err err;
	int rc = read_active(cli->conf, q, &l, &err);

	if (rc != LT_OK) {
		cli_notice("%s", err.msg);
	} else if (q->json) {
		qsort(l.items, l.n, sizeof(*l.items), by_weight);
		for (size_t i = 0; i < l.n; i++) {
			lt_buf_add(&out, l.items[i].json, l.items[i].len);
			lt_buf_char(&out, '\n');
		}
	} else if (l.n) {
		qsort(l.items, l.n, sizeof(*l.items), by_weight);
		put_active(&l, &out);
	} else {
		lt_buf_str(&out, "no active alerts\n");
	}
	for (size_t i = 0; i < l.n; i++)
		free_alert(&l.items[i]);
	free(l.items);
	if (rc == LT_OK)
		cli_write(&out);
	lt_buf_fini(&out);
	return rc == LT_OK ? cli_exit_code() : LT_EXIT_FAILURE;
}

/* ---- history ---- */

struct output {
	struct lt_buf text;
	bool json;
	size_t rows;
};

static void put_member(struct lt_buf *out, const char *name, const char *s, size_t n)
{
	lt_buf_printf(out, "\"%s\":", name);
	lt_buf_json_str(out, s, n);
	lt_buf_char(out, ',');
}

static void put_severity(struct lt_buf *out, const struct lt_alert_row *r)
{
	struct alert a = {0};
	struct json_value v;
	struct json j;

	json_init(&j, r->labels, r->labels_len);
	if (json_value(&j, &v) && v.type == JSON_OBJECT)
		(void)read_map(&j, &a, true);
	text_clean(out, or_dash(a.severity), strlen(or_dash(a.severity)), SIZE_MAX);
	free_alert(&a);
}

static void each(void *arg, const struct lt_alert_row *r)
{
	struct output *o = arg;
	char at[LT_RFC3339_LEN], active[LT_RFC3339_LEN];

	lt_rfc3339_format(r->at_ms * LT_NS_PER_MS, 3, at);
	lt_rfc3339_format(r->active_ms * LT_NS_PER_MS, 3, active);
	if (o->json) {
		struct lt_buf *b = &o->text;
		double v;
		bool number = text_number(r->value, r->value_len, &v);

		lt_buf_char(b, '{');
		put_member(b, "at", at, strlen(at));
		put_member(b, "state", r->state, r->state_len);
		put_member(b, "fingerprint", r->fingerprint, r->fingerprint_len);
		put_member(b, "activeAt", active, strlen(active));
		lt_buf_str(b, "\"value\":");
		if (number && v - v == 0)
			lt_buf_add(b, r->value, r->value_len);
		else if (r->value_len)
			lt_buf_json_str(b, r->value, r->value_len);
		else
			lt_buf_str(b, "null");
		lt_buf_str(b, ",\"labels\":");
		lt_buf_add(b, r->labels, r->labels_len);
		lt_buf_str(b, ",\"annotations\":");
		lt_buf_add(b, r->annotations, r->annotations_len);
		lt_buf_str(b, ",\"rule\":");
		lt_buf_add(b, r->rule, r->rule_len);
		lt_buf_str(b, "}\n");
	} else {
		char state[16], name[LT_LABEL_VALUE_MAX + 1], source[LT_LABEL_VALUE_MAX + 1];
		struct lt_buf age = {0};

		if (!o->rows)
			lt_buf_printf(&o->text, "%-24s  %-9s  %6s  %-28s  %-24s  %11s  %s\n", "at",
				"state", "after", "alert", "source", "value", "severity");
		snprintf(state, sizeof(state), "%.*s", (int)r->state_len, r->state);
		snprintf(name, sizeof(name), "%.*s", (int)r->name_len, r->name);
		snprintf(source, sizeof(source), "%.*s", (int)r->source_len, r->source);
		lt_buf_printf(&o->text, "%-24s  %-9s  ", at, state);
		text_age(&age, (double)(r->at_ms - r->active_ms) / 1000);
		text_cell(&o->text, r->at_ms > r->active_ms ? age.data : "-", 6, TEXT_RIGHT);
		lt_buf_fini(&age);
		lt_buf_str(&o->text, "  ");
		text_cell(&o->text, name, strlen(name) > 28 ? strlen(name) : 28, TEXT_LEFT);
		lt_buf_str(&o->text, "  ");
		text_cell(&o->text, *source ? source : "-",
			strlen(source) > 24 ? strlen(source) : 24, TEXT_LEFT);
		lt_buf_str(&o->text, "  ");
		put_value(&o->text, r->value, r->value_len);
		lt_buf_str(&o->text, "  ");
		put_severity(&o->text, r);
		lt_buf_char(&o->text, '\n');
	}
	o->rows++;
}

static int print_history(struct cli *cli, const struct query *q)
{
	const struct lt_alert_query want = {
		.source = q->source,
		.name = q->name,
		.severity = q->severity,
		.state = q->state,
		.from_ms = q->from_ms,
		.to_ms = q->to_ms,
		.limit = (int64_t)q->limit,
	};
	struct output o = {.json = q->json};
	struct lt_err err;
	bool written;

	if (lt_pg_list_alerts(cli->conf, &want, each, &o, &err) != LT_OK) {
		cli_notice("%s", err.msg);
		lt_buf_fini(&o.text);
		return LT_EXIT_FAILURE;
	}
	if (!o.rows && !q->json)
		lt_buf_str(&o.text, "no alerts\n");
	written = cli_write(&o.text);
	lt_buf_fini(&o.text);
	return written ? LT_EXIT_OK : cli_exit_code();
}

/* "2026-11-21T10:00:00Z", or how long ago: "90m", "7d". */
static bool read_time(const char *option, const char *text, int64_t *out_ms)
{
	int64_t ago_ms, ns;

	if (lt_rfc3339_parse(text, strlen(text), &ns)) {
		*out_ms = ns / LT_NS_PER_MS;
		return true;
	}
	if (lt_promql_parse_duration(text, strlen(text), &ago_ms)) {
		*out_ms = lt_wall_ns() / LT_NS_PER_MS - ago_ms;
		return true;
	}
	cli_usage(&cli_alerts,
		"%s: a time (2026-11-21T10:00:00Z) or how long ago (90m, 7d), not '%s'", option,
		text);
	return false;
}

/* What belongs together of the options. Return: -1, or the exit code after cli_usage(). */
static int check(const struct query *q, bool range)
{
	static const char *const states[] = {"firing", "pending", "resolved", "cancelled"};
	bool known = !*q->state;

	for (size_t i = 0; i < (q->history ? 4 : 2); i++)
		known = known || strcmp(q->state, states[i]) == 0;
	if (!known)
		return cli_usage(&cli_alerts, "--state: %s, not '%s'",
			q->history ? "firing, pending, resolved or cancelled"
				   : "firing or pending (more with --history)",
			q->state);
	if (range && !q->history)
		return cli_usage(
			&cli_alerts, "--hours, --since, --until and --number are about --history");
	if (q->from_ms > q->to_ms)
		return cli_usage(&cli_alerts, "--since is later than --until");
	return -1;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_LONG_OPTIONS,
		{"source", required_argument, NULL, 's'}, {"alert", required_argument, NULL, 'a'},
		{"state", required_argument, NULL, 'S'}, {"severity", required_argument, NULL, 'V'},
		{"since", required_argument, NULL, 'F'}, {"until", required_argument, NULL, 'U'},
		{"history", no_argument, NULL, 'H'}, {"hours", required_argument, NULL, 't'},
		{"number", required_argument, NULL, 'n'}, {"output", required_argument, NULL, 'o'},
		{"json", no_argument, NULL, 'j'}, {"redis", required_argument, NULL, 'R'}, {0}};
	int64_t now_ms = lt_wall_ns() / LT_NS_PER_MS;
	struct query q = {.source = "",
		.name = "",
		.severity = "",
		.state = "",
		.from_ms = now_ms - DEFAULT_MS,
		.to_ms = INT64_MAX / LT_NS_PER_MS, /* also of a database whose clock is ahead */
		.limit = DEFAULT_LIMIT};
	enum cli_output format = CLI_TABLE;
	bool range = false;
	double hours;
	int c, code = -1;

	while (code < 0 && (c = getopt_long(argc, argv, CLI_SHORT_OPTIONS "s:a:t:n:o:j", options,
				    NULL)) != -1) {
		switch (c) {
		case 's':
			q.source = optarg;
			break;
		case 'a':
			q.name = optarg;
			break;
		case 'S':
			q.state = optarg;
			break;
		case 'V':
			q.severity = optarg;
			break;
		case 'F':
		case 'U':
			range = true;
			if (!read_time(c == 'F' ? "--since" : "--until", optarg,
				    c == 'F' ? &q.from_ms : &q.to_ms))
				code = LT_EXIT_USAGE;
			break;
		case 'H':
			q.history = true;
			break;
		case 't':
			range = true;
			if (!cli_number(&cli_alerts, "--hours", optarg, 0.001, 1e6, &hours))
				code = LT_EXIT_USAGE;
			else
				q.from_ms = now_ms - (int64_t)(hours * 3600 * 1000);
			break;
		case 'n':
			range = true;
			if (!cli_number(&cli_alerts, "--number", optarg, 1, 1e9, &q.limit))
				code = LT_EXIT_USAGE;
			break;
		case 'o':
			if (!cli_output(&cli_alerts, optarg, false, &format))
				code = LT_EXIT_USAGE;
			break;
		case 'j':
			format = CLI_JSON;
			break;
		case 'R':
			cli_override(cli, "redis.url", optarg);
			break;
		default:
			code = cli_option(cli, &cli_alerts, c);
		}
	}
	if (code < 0)
		code = cli_no_more(&cli_alerts, argc, argv);
	if (code < 0)
		code = check(&q, range);
	if (code < 0)
		code = cli_configure(cli);
	if (code >= 0)
		return code;
	q.json = format == CLI_JSON;
	text_init();
	return q.history ? print_history(cli, &q) : print_active(cli, &q);
}

const struct cli_command cli_alerts = {
	.name = "alerts",
	.summary = "list active alerts, or what became of former ones",
	.help = "alerts [OPTION]...\n"
		"List what is firing and pending now, from Redis; with --history every transition "
		"of\n"
		"the last day, from PostgreSQL, oldest first.\n\n"
		"  -s, --source NAME    of one source (label instance) only\n"
		"  -a, --alert NAME     of one name (label alertname) only\n"
		"      --severity NAME  of this label severity only\n"
		"      --state STATE    firing or pending only; --history: resolved, cancelled, "
		"too\n"
		"      --history        what was\n"
		"  -t, --hours N        how far back (24)\n"
		"      --since TIME     from then on: 2026-11-21T10:00:00Z, or how long ago: 90m, "
		"7d\n"
		"      --until TIME     until then\n"
		"  -n, --number N       the newest N of them (1000)\n"
		"  -o, --output FORMAT  table (default) or json: an object a line\n"
		"  -j, --json           the same as -o json\n"
		"      --redis URL      instead of redis.url\n"
		"  -c, --config FILE    configuration file; may be repeated, later ones win\n"
		"  -h, --help           print this and exit",
	.run = run,
};
