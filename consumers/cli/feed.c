/* SPDX-License-Identifier: MIT */
#include "feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "latido/clock.h"

struct feed {
	struct fleet *fleet; /* the thread's */
	pthread_t thread;
	int fd;
	pthread_mutex_t lock; /* all below */
	pthread_cond_t cond;
	int64_t interval_ms;
	bool stop, hurry, has_table;
	struct fleet_table table;
	struct feed_news news;
};

static void announce(struct feed *f)
{
	uint64_t one = 1;
	ssize_t n = write(f->fd, &one, sizeof(one));

	(void)n; /* a full counter is readable as well */
}

/* Wait for the next turn; false = stop. Called with the lock held. */
static bool wait_turn(struct feed *f, int64_t started_ns)
{
	while (!f->stop && !f->hurry) {
		int64_t at = started_ns + f->interval_ms * LT_NS_PER_MS;
		struct timespec ts = {at / LT_NS_PER_S, at % LT_NS_PER_S};

		if (at <= lt_mono_ns() ||
			pthread_cond_timedwait(&f->cond, &f->lock, &ts) == ETIMEDOUT)
			break;
	}
	f->hurry = false;
	return !f->stop;
}

static void *feed_main(void *arg)
{
	struct feed *f = arg;
	bool go_on;

	do {
		int64_t started = lt_mono_ns();
		struct fleet_table table;
		struct lt_err err;
		int rc = fleet_refresh(f->fleet, &table, &err);

		pthread_mutex_lock(&f->lock);
		f->news.failed = rc != LT_OK;
		if (rc == LT_OK) {
			fleet_table_fini(&f->table);
			f->table = table;
			f->has_table = true;
		} else {
			memcpy(f->news.problem, err.msg, sizeof(f->news.problem));
			f->news.problem[sizeof(f->news.problem) - 1] = '\0';
		}
		announce(f);
		go_on = wait_turn(f, started);
		pthread_mutex_unlock(&f->lock);
	} while (go_on);
	return NULL;
}

struct feed *feed_start(const struct lt_config *conf, int64_t interval_ms, struct lt_err *err)
{
	struct feed *f = lt_calloc(1, sizeof(*f));
	pthread_condattr_t attr;
	int rc;

	f->interval_ms = interval_ms;
	f->fleet = fleet_new(conf, err);
	if (!f->fleet) {
		free(f);
		return NULL;
	}
	f->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&f->cond, &attr);
	pthread_condattr_destroy(&attr);
	rc = f->fd < 0 ? errno : pthread_create(&f->thread, NULL, feed_main, f);
	if (rc) {
		lt_fail(err, LT_EIO, LT_CLS_FATAL, "feed.start", "cannot start a thread: %s",
			strerror(rc));
		if (f->fd >= 0)
			close(f->fd);
		fleet_free(f->fleet);
		free(f);
		return NULL;
	}
	return f;
}

void feed_stop(struct feed *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
	fleet_interrupt(f->fleet);
	pthread_join(f->thread, NULL);
	fleet_free(f->fleet);
	fleet_table_fini(&f->table);
	close(f->fd);
	pthread_cond_destroy(&f->cond);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

int feed_fd(const struct feed *f)
{
	return f->fd;
}

void feed_take(struct feed *f, struct fleet_table *table, struct feed_news *news)
{
	uint64_t count;
	ssize_t n = read(f->fd, &count, sizeof(count));

	(void)n; /* nothing there is fine */
	pthread_mutex_lock(&f->lock);
	*news = f->news;
	news->table = f->has_table;
	if (f->has_table) {
		fleet_table_fini(table);
		*table = f->table;
		f->table = (struct fleet_table){0};
		f->has_table = false;
	}
	pthread_mutex_unlock(&f->lock);
}

void feed_hurry(struct feed *f)
{
	pthread_mutex_lock(&f->lock);
	f->hurry = true;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

void feed_set_interval(struct feed *f, int64_t interval_ms)
{
	pthread_mutex_lock(&f->lock);
	f->interval_ms = interval_ms;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
}
