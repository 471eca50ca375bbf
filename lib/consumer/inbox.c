/* SPDX-License-Identifier: MIT */
#include "latido/inbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"

#define MEMORY_BYTES  (8 << 20)
#define WRITE_WAIT_NS LT_NS_PER_S
#define CLOSE_MS      5000

struct lt_inbox {
	struct lt_spool *spool;
	struct lt_bus_keep keep;
	char *start; /* of the topics */
	void (*wake)(void *arg);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t written;
	atomic_bool frozen;
	atomic_bool replaying;
	uint64_t next, end; /* of an earlier life: [next, end) */
	struct lt_spool_record record;
};

/* A record: topic, content type, each with a NUL behind it, and the payload. */
static void encode(struct lt_buf *out, const struct lt_bus_msg *m)
{
	lt_buf_add(out, m->topic, strlen(m->topic) + 1);
	lt_buf_str(out, m->content_type ? m->content_type : "");
	lt_buf_char(out, '\0');
	lt_buf_add(out, m->data, m->size);
}

/* Client library's thread: the broker is told that we have it when this returns. */
static uint64_t keep(void *arg, const struct lt_bus_msg *m)
{
	struct lt_inbox *in = arg;
	struct lt_buf text = {0};
	struct timespec until;
	int64_t end_ns;
	uint64_t seq;

	if (strncmp(m->topic, in->start, strlen(in->start)) != 0)
		return 0;
	encode(&text, m);
	seq = lt_spool_append(in->spool, text.data, text.len, NULL, 0);
	lt_buf_fini(&text);
	if (!seq)
		return 0; /* counted; too large for any consumer's limit, too */
	end_ns = lt_mono_ns() + WRITE_WAIT_NS;
	until = (struct timespec){.tv_sec = end_ns / LT_NS_PER_S, .tv_nsec = end_ns % LT_NS_PER_S};
	pthread_mutex_lock(&in->lock);
	/* A disk that hangs must not stop all connections: the spool complains, and goes on. */
	while (!lt_spool_written(in->spool, seq))
		if (pthread_cond_timedwait(&in->written, &in->lock, &until) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&in->lock);
	return seq;
}

static void done(void *arg, uint64_t seq)
{
	struct lt_inbox *in = arg;

	if (!atomic_load(&in->frozen))
		lt_spool_done(in->spool, seq, seq);
}

static void ready(void *arg)
{
	struct lt_inbox *in = arg;

	pthread_mutex_lock(&in->lock);
	pthread_cond_broadcast(&in->written);
	pthread_mutex_unlock(&in->lock);
	if (atomic_load(&in->replaying))
		in->wake(in->arg);
}

bool lt_inbox_record(const void *record, size_t size, const char **topic, const char **type,
	const void **data, size_t *data_size)
{
	const char *start = record, *end = start + size, *at, *body;

	at = size ? memchr(start, '\0', size) : NULL;
	body = at ? memchr(at + 1, '\0', (size_t)(end - at - 1)) : NULL;
	if (!body)
		return false;
	*topic = start;
	*type = at + 1;
	*data = body + 1;
	*data_size = (size_t)(end - body - 1);
	return true;
}

struct lt_bus_msg *lt_inbox_next(struct lt_inbox *in)
{
	while (atomic_load(&in->replaying)) {
		const char *topic, *type;
		const void *data;
		struct lt_bus_msg *m;
		size_t size;
		int rc = lt_spool_read(in->spool, in->next, &in->record);

		if (rc == LT_EAGAIN)
			return NULL;
		if (rc != LT_OK || in->record.seq >= in->end) {
			atomic_store(&in->replaying, false);
			return NULL;
		}
		in->next = in->record.seq + 1;
		if (!lt_inbox_record(in->record.data.data, in->record.data.len, &topic, &type,
			    &data, &size)) {
			lt_spool_done(in->spool, in->record.seq, in->record.seq);
			continue;
		}
		m = lt_bus_replay(topic, data, size, *type ? type : NULL);
		m->kept = in->record.seq;
		m->arrived_ns = in->record.time_ns;
		m->redelivered = true;
		return m;
	}
	return NULL;
}

bool lt_inbox_replaying(struct lt_inbox *in)
{
	return atomic_load(&in->replaying);
}

const struct lt_bus_keep *lt_inbox_keep(struct lt_inbox *in)
{
	return &in->keep;
}

void lt_inbox_freeze(struct lt_inbox *in)
{
	atomic_store(&in->frozen, true);
}

void lt_inbox_stats(struct lt_inbox *in)
{
	lt_spool_stats(in->spool);
}

struct lt_inbox *lt_inbox_open(const struct lt_inbox_options *o, struct lt_err *err)
{
	struct lt_inbox *in = lt_calloc(1, sizeof(*in));
	const struct lt_spool_options opt = {.dir = o->dir,
		.source = o->name,
		.name = o->name,
		.max_bytes = o->max_bytes,
		.max_age_ms = o->max_age_ms,
		.memory_bytes = MEMORY_BYTES,
		.sync = LT_SPOOL_INTERVAL,
		.sync_interval_ms = 1000,
		.ready = ready,
		.arg = in};
	struct lt_spool_info info;
	pthread_condattr_t attr;

	in->wake = o->wake;
	in->arg = o->arg;
	in->keep = (struct lt_bus_keep){in, keep, done};
	in->start = lt_strdup(o->start);
	pthread_mutex_init(&in->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&in->written, &attr);
	pthread_condattr_destroy(&attr);
	if (lt_spool_open(&in->spool, &opt, err) != LT_OK) {
		lt_inbox_free(in);
		return NULL;
	}
	/* Numbers are only names in here: whether they were used before matters to nobody. */
	lt_spool_info(in->spool, &info);
	in->next = 1;
	in->end = info.next_seq;
	atomic_store(&in->replaying, info.held > 0);
	lt_log(LT_INFO, "inbox_open", LT_S("dir", o->dir), LT_U("held", info.held));
	return in;
}

struct lt_inbox *lt_inbox_devices(const char *dir, int64_t max_bytes, const char *prefix,
	void (*wake)(void *arg), void *arg, struct lt_err *err)
{
	char *start = lt_asprintf("%s/devices/", prefix);
	struct lt_inbox *in = lt_inbox_open(&(struct lt_inbox_options){.dir = dir,
						    .name = "inbox",
						    .start = start,
						    .max_bytes = max_bytes,
						    .wake = wake,
						    .arg = arg},
		err);

	free(start);
	return in;
}

void lt_inbox_free(struct lt_inbox *in)
{
	if (!in)
		return;
	lt_spool_close(in->spool, CLOSE_MS);
	lt_spool_record_fini(&in->record);
	pthread_mutex_destroy(&in->lock);
	pthread_cond_destroy(&in->written);
	free(in->start);
	free(in);
}
