/* SPDX-License-Identifier: MIT */
#include "fake_sink.h"

#include <stdio.h>

struct fake_sink fake_sink = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static int fake_open(struct lt_sink *s, struct lt_err *err)
{
	int rc = LT_OK;

	(void)s;
	pthread_mutex_lock(&fake_sink.mutex);
	fake_sink.opens++;
	if (fake_sink.fail_opens > 0) {
		fake_sink.fail_opens--;
		rc = lt_fail(err, LT_EIO, fake_sink.open_class, "fake.open", "no server");
	}
	pthread_mutex_unlock(&fake_sink.mutex);
	return rc;
}

static int fake_put(struct lt_sink *s, const struct lt_batch *b, size_t *bad, struct lt_err *err)
{
	int rc = LT_OK;

	pthread_mutex_lock(&fake_sink.mutex);
	fake_sink.puts++;
	fake_sink.largest = b->n > fake_sink.largest ? b->n : fake_sink.largest;
	while (fake_sink.block) {
		fake_sink.blocked = true;
		pthread_cond_wait(&fake_sink.cond, &fake_sink.mutex);
	}
	fake_sink.blocked = false;
	if (fake_sink.fail_puts > 0) {
		fake_sink.fail_puts--;
		rc = lt_fail(err, LT_EIO, LT_CLS_RETRY, "fake.put", "server went away");
	}
	for (size_t i = 0; rc == LT_OK && i < b->n; i++)
		if (fake_sink.poison_seq && b->events[i]->seq == fake_sink.poison_seq) {
			*bad = i;
			rc = lt_fail(err, LT_EDATA, LT_CLS_POISON, "fake.put", "cannot be stored");
		}
	for (size_t i = 0; rc == LT_OK && fake_sink.answer && i < b->n; i++) {
		char text[32], topic[32];
		int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)b->events[i]->seq);

		snprintf(topic, sizeof(topic), "ack/%d", (int)(b->events[i]->seq % 3));
		lt_outbox_put(s->outbox, topic, text, (size_t)n, false);
	}
	for (size_t i = 0; rc == LT_OK && i < b->n && fake_sink.n < FAKE_SEEN_MAX; i++)
		fake_sink.seqs[fake_sink.n++] = b->events[i]->seq;
	pthread_mutex_unlock(&fake_sink.mutex);
	return rc;
}

static int fake_find_shape(
	struct lt_sink *s, uint64_t hash, struct lt_buf *bytes, struct lt_err *err)
{
	(void)s;
	(void)hash;
	fake_sink.finds++;
	if (fake_sink.fail_finds > 0) {
		fake_sink.fail_finds--;
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "fake.find", "server went away");
	}
	if (!fake_sink.shape.len)
		return LT_EAGAIN;
	lt_buf_add(bytes, fake_sink.shape.data, fake_sink.shape.len);
	return LT_OK;
}

static int fake_flush(struct lt_sink *s, struct lt_err *err)
{
	(void)s;
	(void)err;
	fake_sink.flushes++;
	return LT_OK;
}

void fake_sink_interrupt(struct lt_sink *s)
{
	(void)s;
	pthread_mutex_lock(&fake_sink.mutex);
	fake_sink.block = false;
	pthread_cond_signal(&fake_sink.cond);
	pthread_mutex_unlock(&fake_sink.mutex);
}

static int fake_init(struct lt_sink *s, const struct lt_config *conf, struct lt_err *err)
{
	(void)conf;
	(void)err;
	s->interrupt = fake_sink_interrupt;
	return LT_OK;
}

static void fake_fini(struct lt_sink *s)
{
	(void)s;
}

const struct lt_sink_ops fake_sink_ops = {.name = "fake",
	.size = sizeof(struct lt_sink),
	.init = fake_init,
	.open = fake_open,
	.put = fake_put,
	.find_shape = fake_find_shape,
	.flush = fake_flush,
	.fini = fake_fini};

void fake_sink_reset(void)
{
	fake_sink.n = fake_sink.opens = fake_sink.puts = fake_sink.flushes = fake_sink.largest =
		fake_sink.finds = 0;
	fake_sink.fail_opens = fake_sink.fail_puts = fake_sink.fail_finds = 0;
	fake_sink.open_class = LT_CLS_RETRY;
	fake_sink.poison_seq = 0;
	fake_sink.block = fake_sink.blocked = fake_sink.answer = false;
}
