/* SPDX-License-Identifier: MIT */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "feed.h"
#include "latido/clock.h"
#include "term.h"
#include "text.h"
#include "view.h"

#define FILTER_MAX 64

struct top {
	struct fleet_table all;   /* as read */
	struct fleet_table shown; /* filtered and sorted */
	enum view_column sort;
	bool reverse;
	char filter[FILTER_MAX + 1];
	char typing[FILTER_MAX + 1]; /* what the filter was before it is being typed */
	bool editing, paused, help;
	size_t offset; /* first row on the screen */
	double delay_s;
	int64_t read_mono_ns; /* when @all came */
	struct feed_news news;
	const char *where;
	struct lt_buf out;
};

/* ---- rows ---- */

static bool matches(const char *filter, const char *source)
{
	char pattern[FILTER_MAX + 3];

	if (!filter[0])
		return true;
	if (strpbrk(filter, "*?["))
		snprintf(pattern, sizeof(pattern), "%s", filter);
	else
		snprintf(pattern, sizeof(pattern), "*%s*", filter);
	return fnmatch(pattern, source, FNM_CASEFOLD) == 0;
}

static void select_rows(struct top *t)
{
	struct fleet_row *rows = lt_calloc(t->all.n ? t->all.n : 1, sizeof(*rows));
	size_t n = 0;

	for (size_t i = 0; i < t->all.n; i++)
		if (matches(t->filter, t->all.rows[i].source))
			rows[n++] = t->all.rows[i];
	view_sort(rows, n, t->sort, t->reverse);
	fleet_table_fini(&t->shown);
	t->shown = (struct fleet_table){rows, n, t->all.now_ms, t->all.left_out};
}

/* ---- drawing ---- */

struct screen {
	struct lt_buf *out;
	unsigned columns, rows, line; /* line: next to be drawn, from 0 */
};

/*
 * Each line is cleared before it is written: afterwards, when it is full, the cursor still stands on
 * its last character and would erase that.
 */
static void line_begin(struct screen *s, const char *style)
{
	if (style)
		lt_buf_str(s->out, style);
	lt_buf_str(s->out, "\033[K");
}

static void line_end(struct screen *s)
{
	lt_buf_str(s->out, "\033[0m");
	if (++s->line < s->rows)
		lt_buf_str(s->out, "\r\n");
}

static void plain_line(struct screen *s, const char *text, const char *style)
{
	if (s->line >= s->rows)
		return;
	line_begin(s, style);
	text_clean(s->out, text, strlen(text), s->columns);
	line_end(s);
}

static void draw_title(struct top *t, struct screen *s, bool colour)
{
	struct lt_buf b = {0};
	char now[LT_RFC3339_LEN];

	lt_rfc3339_format(lt_wall_ns(), 0, now);
	lt_buf_printf(&b, "latido top - %.8s  ", now + 11);
	view_summary(&t->all, &b);
	plain_line(s, b.data, colour ? "\033[1m" : NULL);
	lt_buf_fini(&b);
}

/* One line for what matters most: trouble, what is being typed, what is filtered. */
static void draw_status(struct top *t, struct screen *s, bool colour)
{
	struct lt_buf b = {0};
	const char *style = NULL;

	if (t->news.failed) {
		style = colour ? "\033[1;31m" : NULL;
		if (t->read_mono_ns)
			lt_buf_printf(&b, "RECONNECTING, last data %.0f s ago: ",
				(double)(lt_mono_ns() - t->read_mono_ns) / 1e9);
		else
			lt_buf_str(&b, "CONNECTING: ");
		lt_buf_str(&b, t->news.problem);
	} else if (t->editing) {
		lt_buf_printf(&b, "filter: %s_", t->filter);
	} else if (!t->read_mono_ns) {
		lt_buf_printf(&b, "reading Redis %s ...", t->where);
	} else {
		lt_buf_printf(&b, "Redis %s, every %g s, by %s%s", t->where, t->delay_s,
			view_column_name(t->sort), t->reverse ? " reversed" : "");
		if (t->filter[0])
			lt_buf_printf(
				&b, ", filter %s (%zu of %zu)", t->filter, t->shown.n, t->all.n);
		if (t->paused)
			lt_buf_str(&b, ", PAUSED");
	}
	plain_line(s, b.data, style);
	lt_buf_fini(&b);
}

static void draw_help(struct screen *s)
{
	static const char *const lines[] = {"  q        quit",
		"  /        type a filter: part of a name, or a pattern with * ? [ ]",
		"  Esc      no filter", "  arrows   scroll; Page Up, Page Down, Home, End too",
		"  space    pause", "  + -      longer or shorter interval",
		"  i        the other way round", "  h ?      this help, any key closes it"};
	struct lt_buf b = {0};

	for (size_t i = 0; i < LT_ARRAY_LEN(lines); i++)
		plain_line(s, lines[i], NULL);
	lt_buf_str(&b, "  sort by ");
	for (int c = 0; c < VIEW_MAX; c++)
		lt_buf_printf(&b, " %c %s", view_column_key((enum view_column)c),
			view_column_name((enum view_column)c));
	plain_line(s, b.data, NULL);
	lt_buf_fini(&b);
}

static void draw_rows(struct top *t, struct screen *s, bool colour)
{
	struct view_layout l = {.colour = colour, .sort = t->sort, .reverse = t->reverse};
	/* Header above, key legend below. */
	size_t room = s->rows > s->line + 2 ? s->rows - s->line - 2 : 0;
	double since = (double)(lt_mono_ns() - t->read_mono_ns) / 1e9;

	if (t->offset + room > t->shown.n)
		t->offset = t->shown.n > room ? t->shown.n - room : 0;
	view_fit(&l, t->shown.rows, t->shown.n, s->columns);
	if (s->line < s->rows) {
		line_begin(s, colour ? "\033[7m" : NULL);
		view_header(&l, s->out);
		line_end(s);
	}
	for (size_t i = 0; i < room && t->offset + i < t->shown.n; i++) {
		struct fleet_row row = t->shown.rows[t->offset + i];

		row.age_s += since;
		line_begin(s, NULL);
		view_row(&l, &row, s->out);
		line_end(s);
	}
}

static void draw(struct top *t)
{
	struct screen s = {.out = &t->out};
	bool colour = term_colours();

	term_size(&s.columns, &s.rows);
	lt_buf_reset(&t->out);
	lt_buf_str(&t->out, "\033[H");
	draw_title(t, &s, colour);
	draw_status(t, &s, colour);
	if (t->help)
		draw_help(&s);
	else
		draw_rows(t, &s, colour);
	while (s.line + 1 < s.rows)
		plain_line(&s, "", NULL);
	plain_line(&s,
		"q quit  h help  / filter  s state  c cpu  m memory  d disk  r rx  t tx  l load  a "
		"age  n name",
		colour ? "\033[2m" : NULL);
	cli_write(&t->out);
}

/* ---- keys ---- */

static void scroll(struct top *t, long by)
{
	if (by < 0 && (size_t)-by > t->offset)
		t->offset = 0;
	else
		t->offset += (size_t)by; /* draw_rows() bounds it */
}

static void edit_filter(struct top *t, int key)
{
	size_t n = strlen(t->filter);

	if (key == '\r' || key == '\n') {
		t->editing = false;
	} else if (key == TERM_ESCAPE) {
		strcpy(t->filter, t->typing);
		t->editing = false;
	} else if ((key == 127 || key == '\b') && n) {
		t->filter[n - 1] = '\0';
	} else if (key == 21) { /* Ctrl-U */
		t->filter[0] = '\0';
	} else if (key > ' ' && key < 127 && n < FILTER_MAX) {
		t->filter[n] = (char)key;
		t->filter[n + 1] = '\0';
	}
	t->offset = 0;
	select_rows(t);
}

static void set_delay(struct top *t, struct feed *feed, double s)
{
	t->delay_s = s < 0.25 ? 0.25 : s > 60 ? 60 : s;
	feed_set_interval(feed, (int64_t)(t->delay_s * 1000));
}

/* Return: false to quit. */
static bool press(struct top *t, struct feed *feed, int key)
{
	unsigned columns, rows;
	enum view_column column;

	if (t->editing && key < TERM_RESIZE) {
		edit_filter(t, key);
		return true;
	}
	if (t->help) {
		t->help = false;
		return key != 'q';
	}
	term_size(&columns, &rows);
	switch (key) {
	case 'q':
		return false;
	case 'h':
	case '?':
		t->help = true;
		return true;
	case '/':
		t->editing = true;
		strcpy(t->typing, t->filter);
		return true;
	case TERM_ESCAPE:
		t->filter[0] = '\0';
		break;
	case ' ':
		t->paused = !t->paused;
		if (!t->paused)
			feed_hurry(feed);
		break;
	case '+':
		set_delay(t, feed, t->delay_s * 2);
		return true;
	case '-':
		set_delay(t, feed, t->delay_s / 2);
		return true;
	case 'i':
		t->reverse = !t->reverse;
		break;
	case TERM_UP:
		scroll(t, -1);
		return true;
	case TERM_DOWN:
		scroll(t, 1);
		return true;
	case TERM_PAGE_UP:
		scroll(t, -(long)rows / 2);
		return true;
	case TERM_PAGE_DOWN:
		scroll(t, (long)rows / 2);
		return true;
	case TERM_HOME:
		t->offset = 0;
		return true;
	case TERM_END:
		t->offset = t->shown.n;
		return true;
	default:
		column = view_column_of_key(key);
		if (column == VIEW_MAX)
			return true;
		t->reverse = t->sort == column ? !t->reverse : false;
		t->sort = column;
	}
	select_rows(t);
	return true;
}

/* ---- the two ways to run ---- */

static void take_news(struct top *t, struct feed *feed)
{
	if (t->paused)
		return;
	feed_take(feed, &t->all, &t->news);
	if (t->news.table) {
		t->read_mono_ns = lt_mono_ns();
		select_rows(t);
	}
}

static int interact(struct top *t, struct cli *cli)
{
	struct lt_err err;
	struct feed *feed;
	int key = TERM_RESIZE, code = LT_EXIT_OK;

	term_block_signals();
	feed = feed_start(cli->conf, (int64_t)(t->delay_s * 1000), &err);
	if (!feed) {
		cli_notice("%s", err.msg);
		return lt_exit_code(&err);
	}
	if (term_enter(&err) != LT_OK) {
		cli_notice("%s", err.msg);
		code = LT_EXIT_FAILURE;
		key = TERM_QUIT;
	}
	while (key != TERM_QUIT) {
		if (key == TERM_WAKE)
			take_news(t, feed);
		else if (key != TERM_NONE && key != TERM_RESIZE && !press(t, feed, key))
			break;
		draw(t);
		/* Ages and the clock go on once a second whatever Redis does. */
		key = term_key(1000, t->paused ? -1 : feed_fd(feed));
	}
	term_leave();
	feed_stop(feed);
	return code;
}

static void print_once(struct top *t, struct lt_buf *out)
{
	struct view_layout l = {.sort = t->sort, .reverse = t->reverse};
	char now[LT_RFC3339_LEN];

	lt_rfc3339_format(t->all.now_ms * LT_NS_PER_MS, 0, now);
	lt_buf_printf(out, "latido top - %s  ", now);
	view_summary(&t->all, out);
	lt_buf_char(out, '\n');
	view_fit(&l, t->shown.rows, t->shown.n, 0);
	view_header(&l, out);
	lt_buf_char(out, '\n');
	for (size_t i = 0; i < t->shown.n; i++) {
		view_row(&l, &t->shown.rows[i], out);
		lt_buf_char(out, '\n');
	}
}

static void sleep_s(double s)
{
	struct timespec ts = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};

	nanosleep(&ts, NULL);
}

static int batch(struct top *t, struct cli *cli, long times)
{
	struct lt_err err;
	struct fleet *f = fleet_new(cli->conf, &err);
	int code = LT_EXIT_OK;

	if (!f) {
		cli_notice("%s", err.msg);
		return LT_EXIT_CONFIG;
	}
	for (long i = 0; times == 0 || i < times; i++) {
		if (i)
			sleep_s(t->delay_s);
		fleet_table_fini(&t->all);
		lt_buf_reset(&t->out);
		if (fleet_refresh(f, &t->all, &err) != LT_OK) {
			cli_notice("%s", err.msg);
			code = LT_EXIT_FAILURE;
			continue;
		}
		code = LT_EXIT_OK;
		select_rows(t);
		if (i)
			lt_buf_char(&t->out, '\n');
		print_once(t, &t->out);
		if (!cli_write(&t->out)) {
			code = cli_exit_code();
			break;
		}
	}
	fleet_free(f);
	return code;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_LONG_OPTIONS, {"batch", no_argument, NULL, 'b'},
		{"number", required_argument, NULL, 'n'}, {"delay", required_argument, NULL, 'd'},
		{"sort", required_argument, NULL, 's'}, {"reverse", no_argument, NULL, 'r'},
		{"filter", required_argument, NULL, 'f'}, {"redis", required_argument, NULL, 'R'},
		{0}};
	struct top t = {.sort = VIEW_STATE, .delay_s = 1};
	double times = 0;
	bool batched = false;
	int c, code = -1;

	while (code < 0 && (c = getopt_long(argc, argv, CLI_SHORT_OPTIONS "bn:d:s:rf:", options,
				    NULL)) != -1) {
		switch (c) {
		case 'b':
			batched = true;
			break;
		case 'n':
			if (!cli_number(&cli_top, "--number", optarg, 1, 1e9, &times))
				code = LT_EXIT_USAGE;
			break;
		case 'd':
			if (!cli_number(&cli_top, "--delay", optarg, 0.1, 3600, &t.delay_s))
				code = LT_EXIT_USAGE;
			break;
		case 's':
			t.sort = view_column_of(optarg);
			if (t.sort == VIEW_MAX)
				code = cli_usage(&cli_top, "--sort: no column '%s'", optarg);
			break;
		case 'r':
			t.reverse = true;
			break;
		case 'f':
			if (strlen(optarg) > FILTER_MAX)
				code = cli_usage(
					&cli_top, "--filter: at most %d characters", FILTER_MAX);
			else
				strcpy(t.filter, optarg);
			break;
		case 'R':
			cli_override(cli, "redis.url", optarg);
			break;
		default:
			code = cli_option(cli, &cli_top, c);
		}
	}
	if (code < 0)
		code = cli_no_more(&cli_top, argc, argv);
	if (code < 0 && !batched && !term_usable()) {
		/* As with -b, but a pipe that nobody asked to fill for ever gets one table. */
		batched = true;
		times = times > 0 ? times : 1;
	}
	if (code < 0 && !batched)
		cli_override(cli, "redis.timeout", "2s"); /* somebody waits for the answer */
	if (code < 0)
		code = cli_configure(cli);
	if (code >= 0)
		return code;
	text_init();
	t.where = cli->conf->redis.url;
	code = batched ? batch(&t, cli, (long)times) : interact(&t, cli);
	fleet_table_fini(&t.all);
	fleet_table_fini(&t.shown);
	lt_buf_fini(&t.out);
	return code;
}

const struct cli_command cli_top = {
	.name = "top",
	.summary = "a live table of all sources",
	.help = "top [OPTION]...\n"
		"A live table of all nodes and devices, fed by Redis. Press h for the keys.\n\n"
		"  -s, --sort COLUMN    state (default), source, cpu, memory, disk, receive, "
		"transmit,\n"
		"                       load or age\n"
		"  -r, --reverse        the other way round\n"
		"  -f, --filter TEXT    only sources with TEXT in their name, or a pattern with * "
		"? [ ]\n"
		"  -d, --delay SECONDS  between two readings (1)\n"
		"  -b, --batch          print tables one after another instead of using the "
		"screen\n"
		"  -n, --number N       with -b: so many tables, then end\n"
		"      --redis URL      instead of redis.url\n"
		"  -c, --config FILE    configuration file; may be repeated, later ones win\n"
		"  -h, --help           print this and exit",
	.run = run,
};
