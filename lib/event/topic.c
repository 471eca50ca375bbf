/* SPDX-License-Identifier: MIT */
/* From an MQTT topic to where a message came from. */
#include <string.h>

#include "event_int.h"

static int bad_topic(const char *topic, const char *what, struct lt_err *err)
{
	char quoted[EVENT_QUOTE_LEN];

	return lt_fail(err, LT_EDATA, LT_CLS_POISON, "event.topic", "topic %s: %s",
		event_quote(quoted, topic, strlen(topic)), what);
}

/* The level at *p, which moves behind its '/' or to the end. */
static size_t level(const char **p, const char **start)
{
	size_t n = strcspn(*p, "/");

	*start = *p;
	*p += n;
	if (**p == '/')
		(*p)++;
	return n;
}

static bool is(const char *s, size_t n, const char *word)
{
	return n == strlen(word) && memcmp(s, word, n) == 0;
}

/* The levels behind devices/<id>/metrics/, joined with '_'. */
static int metric_of(struct lt_origin *o, const char *rest, const char *topic, struct lt_err *err)
{
	struct lt_buf name = {0};
	int code = LT_OK;

	if (rest[strlen(rest) - 1] == '/' || rest[0] == '/' || strstr(rest, "//"))
		return bad_topic(topic, "an empty level in the metric's name", err);
	if (!lt_utf8_valid(rest, strlen(rest)))
		return bad_topic(topic, "not valid UTF-8", err);
	event_metric_name(&name, rest, strlen(rest)); /* '/' becomes '_' as well */
	if (name.len > LT_LABEL_NAME_MAX)
		code = bad_topic(topic, "the metric's name is longer than 128 characters", err);
	else
		memcpy(o->metric, name.data, name.len + 1);
	lt_buf_fini(&name);
	return code;
}

int lt_origin_from_topic(
	struct lt_origin *o, const char *prefix, const char *topic, struct lt_err *err)
{
	static const char expected[] = "expected <prefix>/nodes/<source>/metrics, .../backlog or "
				       "<prefix>/devices/<id>/metrics[/<name>]";
	size_t n = strlen(prefix), source_len;
	const char *p = topic, *s, *source;

	if (strncmp(p, prefix, n) != 0 || p[n] != '/')
		return bad_topic(topic, expected, err);
	p += n + 1;
	n = level(&p, &s);
	if (is(s, n, "nodes"))
		o->device = false;
	else if (is(s, n, "devices"))
		o->device = true;
	else
		return bad_topic(topic, expected, err);
	source_len = level(&p, &source);
	if (!lt_source_valid(source, source_len))
		return bad_topic(topic, "the source must be 1 to 128 of A-Z a-z 0-9 . _ : -", err);
	n = level(&p, &s);
	o->backlog = !o->device && is(s, n, "backlog");
	if (!o->backlog && !is(s, n, "metrics"))
		return bad_topic(topic, expected, err);
	o->metric[0] = '\0';
	if (s[n] == '/') {
		int code = o->device && *p ? metric_of(o, p, topic, err)
					   : bad_topic(topic, expected, err);

		if (code != LT_OK)
			return code;
	}
	memcpy(o->source, source, source_len);
	o->source[source_len] = '\0';
	return LT_OK;
}
