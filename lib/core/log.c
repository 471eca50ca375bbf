/* SPDX-License-Identifier: MIT */
#include "latido/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "latido/clock.h"
#include "latido/mem.h"

#define COMPLAIN_EVERY_NS (60 * LT_NS_PER_S)
#define COMPLAIN_BEGINS   3

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const int syslog_priority[] = {3, 4, 6, 7};

static struct {
	const char *comp;
	_Atomic int level;
	enum lt_log_format format;
	bool journal; /* stderr is the journal's stream: prefix each line with <N> */
} cfg = {.comp = "latido", .level = LT_INFO};

/* sd-daemon(3): JOURNAL_STREAM holds the device and inode of the stream that goes to the journal. */
static bool stderr_is_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return env && sscanf(env, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == dev && st.st_ino == ino;
}

void lt_log_setup(const char *comp, enum lt_log_level level, enum lt_log_format format)
{
	cfg.comp = comp;
	cfg.level = level;
	cfg.format = format;
	cfg.journal = stderr_is_journal();
}

void lt_log_set_level(enum lt_log_level level)
{
	cfg.level = level;
}

bool lt_log_enabled(enum lt_log_level level)
{
	return (int)level <= cfg.level;
}

/* logfmt: a value is quoted when it is empty or has a space, '=', a quote or a control character. */
static bool needs_quotes(const char *s)
{
	if (!*s)
		return true;
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == '"' || *s == '=' || *s == '\\' ||
			(unsigned char)*s >= 0x7f)
			return true;
	return false;
}

static void add_value(struct lt_buf *b, const struct lt_kv *kv, bool json)
{
	switch (kv->type) {
	case LT_KV_STR:
		if (!kv->v.s)
			lt_buf_str(b, json ? "null" : "-");
		else if (json || needs_quotes(kv->v.s))
			lt_buf_json_str(b, kv->v.s, strlen(kv->v.s));
		else
			lt_buf_str(b, kv->v.s);
		break;
	case LT_KV_I64:
		lt_buf_printf(b, "%lld", (long long)kv->v.i);
		break;
	case LT_KV_U64:
		lt_buf_printf(b, "%llu", (unsigned long long)kv->v.u);
		break;
	case LT_KV_F64:
		lt_buf_printf(b, "%.6g", kv->v.f);
		break;
	case LT_KV_END:
		break;
	}
}

static void write_line(const struct lt_buf *line)
{
	size_t done = 0;

	while (done < line->len) {
		ssize_t n = write(STDERR_FILENO, line->data + done, line->len - done);

		if (n < 0 && errno != EINTR)
			return; /* nowhere to say it */
		if (n > 0)
			done += (size_t)n;
	}
}

void lt_log_kv(enum lt_log_level level, const char *id, const struct lt_kv *kv)
{
	bool json = cfg.format == LT_LOG_JSON;
	char ts[LT_RFC3339_LEN];
	struct lt_buf b = {0};
	int saved = errno;

	lt_rfc3339_format(lt_wall_ns(), 3, ts);
	if (cfg.journal)
		lt_buf_printf(&b, "<%d>", syslog_priority[level]);
	lt_buf_printf(&b,
		json ? "{\"ts\":\"%s\",\"level\":\"%s\",\"comp\":\"%s\",\"id\":\"%s\""
		     : "ts=%s level=%s comp=%s id=%s",
		ts, level_names[level], cfg.comp, id);
	for (; kv && kv->type != LT_KV_END; kv++) {
		lt_buf_printf(&b, json ? ",\"%s\":" : " %s=", kv->key);
		add_value(&b, kv, json);
	}
	lt_buf_str(&b, json ? "}\n" : "\n");
	write_line(&b);
	lt_buf_fini(&b);
	errno = saved;
}

/* Copies kv and appends extra; at most 16 pairs. */
static void log_with(
	enum lt_log_level level, const char *id, const struct lt_kv *kv, struct lt_kv extra)
{
	struct lt_kv all[17];
	size_t n = 0;

	for (; kv && kv->type != LT_KV_END && n < 15; kv++)
		all[n++] = *kv;
	all[n++] = extra;
	all[n] = (struct lt_kv){.type = LT_KV_END};
	lt_log_kv(level, id, all);
}

/* Of troubles that begin within COMPLAIN_EVERY_NS, COMPLAIN_BEGINS are logged. */
static bool may_begin(struct lt_complaint *c, int64_t now)
{
	if (c->begins == 0 || now - c->minute_ns >= COMPLAIN_EVERY_NS) {
		c->minute_ns = now;
		c->begins = 0;
	}
	if (c->begins == COMPLAIN_BEGINS)
		return false;
	c->begins++;
	return true;
}

void lt_complain_kv(
	struct lt_complaint *c, enum lt_log_level level, const char *id, const struct lt_kv *kv)
{
	int64_t now = lt_mono_ns();
	bool begins = !c->active;

	c->active = true;
	c->count++;
	c->unlogged++;
	if (begins ? !may_begin(c, now) : now - c->last_ns < COMPLAIN_EVERY_NS)
		return;
	if (lt_log_enabled(level)) {
		if (c->unlogged > 1)
			log_with(level, id, kv, LT_U("repeated", c->unlogged));
		else
			lt_log_kv(level, id, kv);
	}
	c->shown = true;
	c->unlogged = 0;
	c->last_ns = now;
}

void lt_release_kv(struct lt_complaint *c, const char *id, const struct lt_kv *kv)
{
	if (c->active && c->shown && lt_log_enabled(LT_INFO))
		log_with(LT_INFO, id, kv, LT_U("after", c->count));
	c->active = false;
	c->shown = false;
	c->count = 0;
}
