/* SPDX-License-Identifier: MIT */
#include "bus_kafka_map.h"

#include <string.h>

/* The text behind "<prefix>/", or NULL. */
static const char *behind_prefix(const char *prefix, const char *topic, size_t len)
{
	size_t n = strlen(prefix);

	return len > n && memcmp(topic, prefix, n) == 0 && topic[n] == '/' ? topic + n + 1 : NULL;
}

/* Is @s "<word>/<level>..."? Gives the level. */
static bool level_behind(
	const char *s, size_t len, const char *word, const char **level, size_t *level_len)
{
	size_t n = strlen(word);
	const char *slash;

	if (len <= n + 1 || memcmp(s, word, n) != 0 || s[n] != '/')
		return false;
	*level = s + n + 1;
	slash = memchr(*level, '/', len - n - 1);
	*level_len = slash ? (size_t)(slash - *level) : len - n - 1;
	return true;
}

/* The level that a message is keyed by: behind the first one of what follows the prefix. */
static void natural_key(const char *rest, size_t len, const char **key, size_t *key_len)
{
	const char *slash = memchr(rest, '/', len), *end;

	*key = slash ? slash + 1 : rest;
	end = memchr(*key, '/', (size_t)(rest + len - *key));
	*key_len = (size_t)((end ? end : rest + len) - *key);
}

void lt_kafka_place_of(struct lt_kafka_place *p, const struct lt_bus_conf *conf, const char *topic,
	const char *key)
{
	size_t len = strlen(topic);
	const char *rest = behind_prefix(conf->prefix, topic, len);
	const char *tail;

	*p = (struct lt_kafka_place){.log = conf->kafka.topic, .name_topic = true};
	if (!rest) {
		rest = topic;
	} else if (level_behind(rest, strlen(rest), "deadletter", &p->key, &p->key_len)) {
		p->log = conf->kafka.deadletter_topic;
		p->key = NULL;
		p->key_len = 0;
	} else if (level_behind(rest, strlen(rest), "alerts", &p->key, &p->key_len)) {
		p->log = conf->kafka.alerts_topic;
		p->name_topic = false;
	} else if (level_behind(rest, strlen(rest), "nodes", &p->key, &p->key_len)) {
		tail = p->key + p->key_len;
		p->name_topic = strcmp(tail, "/metrics") != 0 && strcmp(tail, "/backlog") != 0;
	}
	if (key) {
		p->key = key;
		p->key_len = strlen(key);
	} else if (!p->key && p->log != conf->kafka.deadletter_topic) {
		natural_key(rest, strlen(rest), &p->key, &p->key_len);
	}
}

static bool agrees(const struct lt_bus_conf *conf, const char *named, size_t named_len,
	const char *key, size_t key_len)
{
	const char *rest = behind_prefix(conf->prefix, named, named_len);
	const char *want;
	size_t want_len;

	if (!rest)
		return true; /* not an address of ours: nobody's data */
	natural_key(rest, (size_t)(named + named_len - rest), &want, &want_len);
	return want_len == key_len && memcmp(want, key, key_len) == 0;
}

void lt_kafka_topic_of(struct lt_buf *out, const struct lt_bus_conf *conf, const char *log,
	const char *key, size_t key_len, const char *named, size_t named_len)
{
	const char *kind = "nodes", *tail = "/metrics";
	bool letters = strcmp(log, conf->kafka.deadletter_topic) == 0;

	if (named && named_len && !memchr(named, '\0', named_len) &&
		(letters || agrees(conf, named, named_len, key, key_len))) {
		lt_buf_add(out, named, named_len);
		return;
	}
	if (letters) {
		kind = "deadletter";
		key = "unknown"; /* the key is that of the refused message */
		key_len = strlen(key);
		tail = "";
	} else if (strcmp(log, conf->kafka.alerts_topic) == 0) {
		kind = "alerts";
		tail = "";
	}
	lt_buf_printf(out, "%s/%s/", conf->prefix, kind);
	/* A key that cannot be a level gives an address that is refused, with the reason. */
	if (key_len && memchr(key, '\0', key_len) == NULL)
		lt_buf_add(out, key, key_len);
	lt_buf_str(out, tail);
}

/* Could a topic that begins with "<prefix>/<word>/" match @filter? */
static bool may_match(const char *prefix, const char *word, const char *filter)
{
	struct lt_buf start = {0};
	const char *s, *f = filter;
	bool yes;

	lt_buf_printf(&start, "%s/%s/", prefix, word);
	s = start.data;
	for (;;) {
		size_t sn = strcspn(s, "/"), fn = strcspn(f, "/");

		if (fn == 1 && *f == '#') {
			yes = true;
			break;
		}
		if (!(fn == 1 && *f == '+') && (fn != sn || memcmp(f, s, fn) != 0)) {
			yes = false;
			break;
		}
		s += sn + (s[sn] == '/');
		f += fn;
		if (!*s) { /* all of the fixed levels match */
			yes = *f == '/';
			break;
		}
		if (*f != '/') {
			yes = false;
			break;
		}
		f++;
	}
	lt_buf_fini(&start);
	return yes;
}

size_t lt_kafka_logs(const struct lt_bus_conf *conf, const char *filter, const char *logs[3])
{
	bool letters = may_match(conf->prefix, "deadletter", filter);
	bool alerts = may_match(conf->prefix, "alerts", filter);
	struct lt_buf only = {0};
	size_t n = 0, len;

	if (letters)
		logs[n++] = conf->kafka.deadletter_topic;
	if (alerts)
		logs[n++] = conf->kafka.alerts_topic;
	/* A filter inside deadletter/ or alerts/ has nothing to do with the events. */
	lt_buf_printf(&only, "%s/%s/", conf->prefix, letters ? "deadletter" : "alerts");
	len = only.len;
	if (!(n && strncmp(filter, only.data, len) == 0))
		logs[n++] = conf->kafka.topic;
	lt_buf_fini(&only);
	return n;
}
