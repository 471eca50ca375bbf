/* SPDX-License-Identifier: MIT */
#include "history.h"

#include <endian.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../sink/pg_conn.h"
#include "latido/clock.h"
#include "latido/log.h"

#define BATCH       200
#define CLEAN_NS    (3600 * LT_NS_PER_S)
#define PG_EPOCH_US INT64_C(946684800000000) /* 2000-01-01 */

static const char insert_sql[] =
	"INSERT INTO alert_event (fingerprint, active_at, state, at, value, name, source, labels, "
	"annotations, rule) "
	"SELECT j->>'fingerprint', (j->>'activeAt')::timestamptz, $2::text, $3::timestamptz, "
	"$4::float8, j->'labels'->>'alertname', j->'labels'->>'instance', j->'labels', "
	"j->'annotations', coalesce(j->'rule', '{}') || jsonb_strip_nulls(jsonb_build_object("
	"'expr', j->'expr', 'for', j->'for')) "
	"FROM (SELECT convert_from($1::bytea, 'UTF8')::jsonb AS j) x "
	"ON CONFLICT DO NOTHING";
static const char clean_sql[] =
	"DELETE FROM alert_event WHERE at < now() - $1::int8 * interval '1 millisecond'";

struct row {
	struct row *next;
	const char *state;
	double value;
	int64_t at_ms;
	size_t len;
	char json[];
};

struct lt_history {
	const struct lt_config *conf;
	struct lt_history_info *info;
	struct lt_pg pg;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct row *first, **last;
	size_t n;
	bool quit, over; /* over: the thread does nothing any more */
	int64_t quit_mono_ns;
	int64_t clean_mono_ns;
	struct lt_backoff backoff;
	struct lt_complaint away, refused;
};

static struct row *take(struct lt_history *h)
{
	struct row *r = h->first;

	if (!r)
		return NULL;
	h->first = r->next;
	if (!h->first)
		h->last = &h->first;
	h->n--;
	lt_gauge_set(&h->info->waiting, (int64_t)h->n);
	return r;
}

void lt_history_put(struct lt_history *h, const char *json, size_t len, const char *state,
	double value, int64_t at_ms)
{
	struct row *r, *old = NULL;

	if (!h)
		return;
	r = lt_malloc(sizeof(*r) + len);
	*r = (struct row){.state = state, .value = value, .at_ms = at_ms, .len = len};
	memcpy(r->json, json, len);
	pthread_mutex_lock(&h->lock);
	if (h->n >= (size_t)h->conf->alert.queue) {
		old = take(h);
		lt_counter_add(&h->info->dropped, 1);
	}
	*h->last = r;
	h->last = &r->next;
	h->n++;
	lt_gauge_set(&h->info->waiting, (int64_t)h->n);
	pthread_cond_signal(&h->cond);
	pthread_mutex_unlock(&h->lock);
	free(old);
}

static int insert(struct lt_history *h, const struct row *r, struct lt_err *err)
{
	uint64_t at = htobe64((uint64_t)(r->at_ms * 1000 - PG_EPOCH_US)), bits;

	memcpy(&bits, &r->value, sizeof(bits));
	bits = htobe64(bits);
	return lt_pg_query(&h->pg, insert_sql,
		(struct lt_pg_param[]){{r->json, r->len}, {r->state, strlen(r->state)},
			{&at, sizeof(at)}, {&bits, sizeof(bits)}},
		4, NULL, err);
}

/* Those that are written are freed; what is left stays in *list. */
static int write_rows(struct lt_history *h, struct row **list, struct lt_err *err)
{
	bool single = false;
	struct row *r;
	int rc;

again:
	rc = single ? LT_OK : lt_pg_exec(&h->pg, "BEGIN", err);
	for (r = *list; rc == LT_OK && r; r = single ? NULL : r->next)
		rc = insert(h, r, err);
	if (rc == LT_OK && !single)
		rc = lt_pg_exec(&h->pg, "COMMIT", err);
	if (rc != LT_OK) {
		lt_pg_rollback(&h->pg);
		if (err->cls != LT_CLS_POISON)
			return rc;
		/* One of them will never be taken: one by one, without that one. */
		if (!single) {
			single = true;
			goto again;
		}
		lt_counter_add(&h->info->refused, 1);
		lt_complain(&h->refused, LT_ERROR, "alert_event_refused", LT_S("err", err->msg));
	}
	while ((r = *list)) {
		*list = r->next;
		free(r);
		if (rc == LT_OK)
			lt_counter_add(&h->info->written, 1);
		if (single && *list)
			goto again;
	}
	return LT_OK;
}

static int clean(struct lt_history *h, struct lt_err *err)
{
	uint64_t keep_ms = htobe64((uint64_t)h->conf->alert.history_retention_ms);

	if (!keep_ms || lt_mono_ns() < h->clean_mono_ns)
		return LT_OK;
	h->clean_mono_ns = lt_mono_ns() + CLEAN_NS;
	return lt_pg_query(&h->pg, clean_sql, (struct lt_pg_param[]){{&keep_ms, sizeof(keep_ms)}},
		1, NULL, err);
}

static void wait_until(struct lt_history *h, int64_t mono_ns)
{
	struct timespec t = {.tv_sec = mono_ns / LT_NS_PER_S, .tv_nsec = mono_ns % LT_NS_PER_S};

	pthread_cond_timedwait(&h->cond, &h->lock, &t);
}

static void free_rows(struct row *r)
{
	while (r) {
		struct row *next = r->next;

		free(r);
		r = next;
	}
}

static void *history_main(void *arg)
{
	struct lt_history *h = arg;
	struct row *list = NULL;
	int64_t retry_ns = 0;
	struct lt_err err = {0};

	pthread_setname_np(pthread_self(), "alert-history");
	pthread_mutex_lock(&h->lock);
	for (;;) {
		struct row **end = &list, *r;
		int rc = LT_OK;

		for (size_t n = 0; (n || !list) && n < BATCH && (r = take(h)); n++) {
			r->next = NULL;
			*end = r;
			end = &r->next;
		}
		if (h->quit && (!list || lt_mono_ns() >= h->quit_mono_ns))
			break;
		if (!list) {
			wait_until(h, lt_mono_ns() + 60 * LT_NS_PER_S);
			continue;
		}
		if (lt_mono_ns() < retry_ns) {
			if (h->quit)
				break;
			wait_until(h, retry_ns);
			continue;
		}
		pthread_mutex_unlock(&h->lock);
		if (!h->pg.conn)
			rc = lt_pg_connect(&h->pg, &h->conf->postgres, &err);
		if (rc == LT_OK)
			rc = write_rows(h, &list, &err);
		if (rc == LT_OK)
			rc = clean(h, &err);
		if (rc == LT_OK) {
			lt_backoff_reset(&h->backoff);
			lt_release(&h->away, "alert_history_back");
		} else {
			lt_complain(&h->away, LT_WARN, "alert_history_away", LT_S("err", err.msg));
			lt_pg_close(&h->pg);
			retry_ns = lt_mono_ns() + lt_backoff_next_ms(&h->backoff) * LT_NS_PER_MS;
		}
		pthread_mutex_lock(&h->lock);
	}
	h->over = true;
	pthread_cond_broadcast(&h->cond);
	pthread_mutex_unlock(&h->lock);
	free_rows(list);
	return NULL;
}

struct lt_history *lt_history_start(
	const struct lt_config *conf, struct lt_history_info *info, struct lt_err *err)
{
	struct lt_history *h = lt_calloc(1, sizeof(*h));
	pthread_condattr_t mono;
	sigset_t all, old;
	int rc;

	h->conf = conf;
	h->info = info;
	h->last = &h->first;
	h->pg.interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	lt_backoff_init(&h->backoff, 500, 10000);
	pthread_mutex_init(&h->lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&h->cond, &mono);
	pthread_condattr_destroy(&mono);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&h->thread, NULL, history_main, h);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		lt_fail(err, LT_EIO, LT_CLS_FATAL, "alert.history", "cannot start a thread: %s",
			strerror(rc));
		close(h->pg.interrupt_fd);
		free(h);
		return NULL;
	}
	return h;
}

void lt_history_stop(struct lt_history *h, int64_t deadline_ms)
{
	uint64_t one = 1;
	int64_t end_ns = lt_mono_ns() + deadline_ms * LT_NS_PER_MS;
	bool over;

	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	h->quit = true;
	h->quit_mono_ns = end_ns;
	pthread_cond_broadcast(&h->cond);
	/* The thread may sit in libpq: at the deadline it is interrupted there. */
	while (!h->over && lt_mono_ns() < end_ns)
		wait_until(h, end_ns);
	over = h->over;
	pthread_mutex_unlock(&h->lock);
	if (!over && write(h->pg.interrupt_fd, &one, sizeof(one)) < 0)
		lt_log(LT_DEBUG, "alert_history_interrupt");
	pthread_join(h->thread, NULL);
	free_rows(h->first);
	lt_pg_close(&h->pg);
	close(h->pg.interrupt_fd);
	pthread_mutex_destroy(&h->lock);
	pthread_cond_destroy(&h->cond);
	free(h);
}
