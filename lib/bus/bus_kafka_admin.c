/* SPDX-License-Identifier: MIT */
/* Topics: made and compared, by librdkafka's admin client. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bus_kafka.h"
#include "latido/kafka_topics.h"

#define ADMIN_MS      30000
#define DAY_MS        (24 * 3600 * 1000LL)
#define PARTITIONS    12
#define COPIES        3
/* An event of 1 MiB and what Kafka packs around it. */
#define MESSAGE_BYTES ((1 << 20) + (64 << 10))

struct admin {
	struct kf k; /* as far as kf_conf_make() needs it */
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	struct lt_err *err;
	int32_t brokers;
	struct lt_kafka_topic topics[LT_KAFKA_TOPICS];
	size_t n;
	const struct rd_kafka_metadata *md;
	lt_kafka_topics_fn fn;
	void *arg;
};

static void add_key(struct lt_kafka_topic *t, const char *key, const char *value)
{
	t->keys[t->n_keys].key = key;
	snprintf(t->keys[t->n_keys].value, sizeof(t->keys[0].value), "%s", value);
	t->n_keys++;
}

static void add_number(struct lt_kafka_topic *t, const char *key, int64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRId64, value);
	add_key(t, key, text);
}

static struct lt_kafka_topic *add_topic(struct admin *a, const char *name, int32_t partitions,
	int32_t copies, const char *policy, int64_t retention_ms)
{
	struct lt_kafka_topic *t = &a->topics[a->n++];

	*t = (struct lt_kafka_topic){.name = name, .partitions = partitions, .copies = copies};
	add_key(t, "cleanup.policy", policy);
	if (retention_ms)
		add_number(t, "retention.ms", retention_ms);
	add_number(t, "max.message.bytes", MESSAGE_BYTES);
	/* With three copies one may be away; acks=all then means two. */
	add_number(t, "min.insync.replicas", copies >= 3 ? 2 : 1);
	return t;
}

static void plan(struct admin *a, const struct lt_bus_conf *c, const struct lt_kafka_topics_wish *w)
{
	int32_t copies = w->copies ? w->copies : a->brokers < COPIES ? a->brokers : COPIES;

	add_topic(a, c->kafka.topic, w->partitions ? w->partitions : PARTITIONS, copies, "delete",
		w->retention_ms ? w->retention_ms : 7 * DAY_MS);
	add_topic(a, c->kafka.deadletter_topic, 3, copies, "delete", 30 * DAY_MS);
	add_number(add_topic(a, c->kafka.alerts_topic, 3, copies, "compact,delete", 30 * DAY_MS),
		"min.compaction.lag.ms", 3600 * 1000);
}

static int admin_open(struct admin *a, const struct lt_bus_conf *c,
	const struct lt_kafka_topics_wish *wish, struct lt_err *err)
{
	rd_kafka_conf_t *conf;
	rd_kafka_queue_t *events;
	rd_kafka_event_t *ev;
	char text[256];
	rd_kafka_resp_err_t rc;

	a->err = err;
	a->k.bus.conf = c;
	a->k.comp = (char *)"topics";
	conf = kf_conf_make(&a->k, false, err);
	if (!conf)
		return LT_ECONF;
	a->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	if (!a->rk) {
		rd_kafka_conf_destroy(conf);
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "kafka.open",
			"librdkafka refuses the configuration of bus.kafka: %s", text);
	}
	a->queue = rd_kafka_queue_new(a->rk);
	rc = rd_kafka_metadata(a->rk, 1, NULL, &a->md, ADMIN_MS / 3);
	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) {
		a->brokers = a->md->broker_cnt;
		plan(a, c, wish);
		return LT_OK;
	}
	/* What went wrong with the connection stands in an event. */
	events = rd_kafka_queue_get_main(a->rk);
	while ((ev = rd_kafka_queue_poll(events, 0))) {
		if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_ERROR)
			kf_note(&a->k, rd_kafka_event_error(ev), rd_kafka_event_error_string(ev));
		rd_kafka_event_destroy(ev);
	}
	rd_kafka_queue_destroy(events);
	if (a->k.last_error.cls) {
		if (err)
			*err = a->k.last_error;
		return a->k.last_error.code;
	}
	return kf_error(err, rc, "kafka.metadata", "", rd_kafka_err2str(rc));
}

static void admin_close(struct admin *a)
{
	if (a->md)
		rd_kafka_metadata_destroy(a->md);
	if (a->queue)
		rd_kafka_queue_destroy(a->queue);
	if (a->rk)
		rd_kafka_destroy(a->rk);
}

static const rd_kafka_metadata_topic_t *find_topic(const struct admin *a, const char *name)
{
	for (int i = 0; i < a->md->topic_cnt; i++)
		if (strcmp(a->md->topics[i].topic, name) == 0 && !a->md->topics[i].err)
			return &a->md->topics[i];
	return NULL;
}

static int create_one(struct admin *a, const struct lt_kafka_topic *t)
{
	char text[256];
	const rd_kafka_topic_result_t **results;
	const char *why;
	rd_kafka_NewTopic_t *nt =
		rd_kafka_NewTopic_new(t->name, t->partitions, t->copies, text, sizeof(text));
	rd_kafka_event_t *ev;
	rd_kafka_resp_err_t rc;
	size_t n;
	int code;

	if (!nt) {
		a->fn(a->arg, t->name, LT_TOPIC_FAILED, text);
		return lt_fail(a->err, LT_ECONF, LT_CLS_CONFIG, "kafka.topics",
			"topic '%.200s': %s", t->name, text);
	}
	for (size_t i = 0; i < t->n_keys; i++)
		rd_kafka_NewTopic_set_config(nt, t->keys[i].key, t->keys[i].value);
	rd_kafka_CreateTopics(a->rk, &nt, 1, NULL, a->queue);
	ev = rd_kafka_queue_poll(a->queue, ADMIN_MS);
	rd_kafka_NewTopic_destroy(nt);
	rc = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
	why = rd_kafka_err2str(rc);
	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) {
		results = rd_kafka_CreateTopics_result_topics(
			rd_kafka_event_CreateTopics_result(ev), &n);
		rc = n ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__FAIL;
		why = n && rd_kafka_topic_result_error_string(results[0])
			      ? rd_kafka_topic_result_error_string(results[0])
			      : rd_kafka_err2str(rc);
	}
	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR ||
		rc == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) { /* somebody was quicker */
		code = LT_OK;
		a->fn(a->arg, t->name,
			rc == RD_KAFKA_RESP_ERR_NO_ERROR ? LT_TOPIC_CREATED : LT_TOPIC_EXISTS, "");
	} else {
		a->fn(a->arg, t->name, LT_TOPIC_FAILED, why);
		code = kf_error(a->err, rc, "kafka.topics", t->name, why);
	}
	rd_kafka_event_destroy(ev);
	return code;
}

/* Made topics show up a moment later; who comes next must find them. */
static int wait_visible(struct admin *a)
{
	int64_t end_ns = lt_mono_ns() + ADMIN_MS * LT_NS_PER_MS;

	for (;;) {
		struct timespec pause = {0, 20 * LT_NS_PER_MS};
		rd_kafka_resp_err_t rc;
		size_t n = 0;

		rd_kafka_metadata_destroy(a->md);
		a->md = NULL;
		rc = rd_kafka_metadata(a->rk, 1, NULL, &a->md, ADMIN_MS / 3);
		if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
			return kf_error(a->err, rc, "kafka.metadata", "", rd_kafka_err2str(rc));
		while (n < a->n && find_topic(a, a->topics[n].name))
			n++;
		if (n == a->n)
			return LT_OK;
		if (lt_mono_ns() > end_ns)
			return lt_fail(a->err, LT_ETIMEOUT, LT_CLS_RETRY, "kafka.topics",
				"topic '%.200s' was made and does not appear", a->topics[n].name);
		nanosleep(&pause, NULL);
	}
}

int lt_kafka_topics_create(const struct lt_bus_conf *conf, const struct lt_kafka_topics_wish *wish,
	lt_kafka_topics_fn fn, void *arg, struct lt_err *err)
{
	struct admin a = {.fn = fn, .arg = arg};
	int rc = admin_open(&a, conf, wish, err);

	for (size_t i = 0; rc == LT_OK && i < a.n; i++) {
		if (find_topic(&a, a.topics[i].name))
			fn(arg, a.topics[i].name, LT_TOPIC_EXISTS, "");
		else
			rc = create_one(&a, &a.topics[i]);
	}
	if (rc == LT_OK)
		rc = wait_visible(&a);
	admin_close(&a);
	return rc;
}

/* ---- check ---- */

static void differs(struct admin *a, const char *name, size_t *n, const char *what, const char *is,
	const char *want)
{
	char text[256];

	snprintf(text, sizeof(text), "%s is %s, expected %s", what, is, want);
	a->fn(a->arg, name, LT_TOPIC_DIFFERS, text);
	(*n)++;
}

static void less_than(
	struct admin *a, const char *name, size_t *n, const char *what, int64_t is, int64_t want)
{
	char is_text[32], want_text[48];

	if (is >= want)
		return;
	snprintf(is_text, sizeof(is_text), "%" PRId64, is);
	snprintf(want_text, sizeof(want_text), "%" PRId64 " or more", want);
	differs(a, name, n, what, is_text, want_text);
}

static const char *config_value(const rd_kafka_ConfigEntry_t **entries, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), key) == 0)
			return rd_kafka_ConfigEntry_value(entries[i]);
	return NULL;
}

/* "a,b" and "b,a" are the same set. */
static bool same_words(const char *a, const char *b)
{
	size_t n = strcspn(a, ",");

	if (strlen(a) != strlen(b))
		return false;
	return strcmp(a, b) == 0 ||
	       (a[n] && strncmp(b, a + n + 1, strlen(a + n + 1)) == 0 && strstr(b, ",") &&
		       strncmp(strstr(b, ",") + 1, a, n) == 0);
}

static void compare_key(
	struct admin *a, const struct lt_kafka_topic *t, size_t i, const char *value, size_t *n)
{
	const char *key = t->keys[i].key;
	char *end;
	int64_t is;

	if (!value) {
		differs(a, t->name, n, key, "not known", t->keys[i].value);
		return;
	}
	is = strtoll(value, &end, 10);
	if (*value && !*end) {
		if (strcmp(key, "retention.ms") == 0 && is < 0)
			return; /* for ever */
		less_than(a, t->name, n, key, is, strtoll(t->keys[i].value, NULL, 10));
	} else if (!same_words(value, t->keys[i].value)) {
		differs(a, t->name, n, key, value, t->keys[i].value);
	}
}

static int compare_config(struct admin *a, const struct lt_kafka_topic *t, size_t *n)
{
	rd_kafka_ConfigResource_t *res =
		rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, t->name);
	const rd_kafka_ConfigResource_t **got;
	const rd_kafka_ConfigEntry_t **entries;
	rd_kafka_event_t *ev;
	rd_kafka_resp_err_t rc;
	size_t n_got = 0, n_entries;
	int code = LT_OK;

	rd_kafka_DescribeConfigs(a->rk, &res, 1, NULL, a->queue);
	ev = rd_kafka_queue_poll(a->queue, ADMIN_MS);
	rd_kafka_ConfigResource_destroy(res);
	rc = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) {
		got = rd_kafka_DescribeConfigs_result_resources(
			rd_kafka_event_DescribeConfigs_result(ev), &n_got);
		rc = n_got ? rd_kafka_ConfigResource_error(got[0]) : RD_KAFKA_RESP_ERR__FAIL;
	}
	if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) {
		a->fn(a->arg, t->name, LT_TOPIC_FAILED, rd_kafka_err2str(rc));
		code = kf_error(a->err, rc, "kafka.topics", t->name, rd_kafka_err2str(rc));
	} else {
		entries = rd_kafka_ConfigResource_configs(got[0], &n_entries);
		for (size_t i = 0; i < t->n_keys; i++)
			compare_key(a, t, i, config_value(entries, n_entries, t->keys[i].key), n);
	}
	rd_kafka_event_destroy(ev);
	return code;
}

static int check_one(struct admin *a, const struct lt_kafka_topic *t, size_t *n)
{
	const rd_kafka_metadata_topic_t *m = find_topic(a, t->name);
	size_t before = *n;
	int rc;

	if (!m) {
		a->fn(a->arg, t->name, LT_TOPIC_MISSING, "");
		(*n)++;
		return LT_OK;
	}
	less_than(a, t->name, n, "the number of partitions", m->partition_cnt, t->partitions);
	for (int i = 0; i < m->partition_cnt; i++)
		if (m->partitions[i].replica_cnt < t->copies) {
			less_than(a, t->name, n, "the number of copies",
				m->partitions[i].replica_cnt, t->copies);
			break;
		}
	rc = compare_config(a, t, n);
	if (rc == LT_OK && *n == before)
		a->fn(a->arg, t->name, LT_TOPIC_SAME, "");
	return rc;
}

int lt_kafka_topics_check(const struct lt_bus_conf *conf, const struct lt_kafka_topics_wish *wish,
	lt_kafka_topics_fn fn, void *arg, struct lt_err *err)
{
	struct admin a = {.fn = fn, .arg = arg};
	size_t n = 0;
	int rc = admin_open(&a, conf, wish, err);

	for (size_t i = 0; rc == LT_OK && i < a.n; i++)
		rc = check_one(&a, &a.topics[i], &n);
	admin_close(&a);
	if (rc == LT_OK && n)
		return lt_fail(err, LT_ECONFLICT, LT_CLS_CONFIG, "kafka.topics",
			"%zu differences from what Latido wants", n);
	return rc;
}
