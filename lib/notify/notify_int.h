/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_NOTIFY_INT_H
#define LATIDO_NOTIFY_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "latido/mem.h"
#include "latido/notify.h"

/*
 * notify.c		options, life, what callers hand in
 * notify_worker.c	the thread of a notifier
 * notify_queue.c	the queue: in order, found by key, bounded
 * notify_http.c	one request (libcurl only here)
 * notify_sign.c	the signature (libsodium only here)
 * notify_stats.c	the metrics of all notifiers
 */

#define NOTIFY_BATCH 64 /* alerts in a request to Alertmanager, as Prometheus */

/** struct message - a message; heap */
struct message {
	struct message *next, *prev; /* in the queue, oldest first */
	struct message *chain;       /* in the table */
	char *key;                   /* id, or fingerprint as text */
	uint64_t hash;
	int64_t created_ms;
	const char *content_type; /* static */
	char *body;
	size_t len;
};
void message_free(struct message *m);

/** struct queue - zero-initialised is empty */
struct queue {
	struct message *first, *last;
	struct message **slots;
	size_t n, cap, bytes;
};
struct message *queue_find(const struct queue *q, const char *key);
void queue_push(struct queue *q, struct message *m);
/** queue_unshift() - in front, for another try. */
void queue_unshift(struct queue *q, struct message *m);
void queue_remove(struct queue *q, struct message *m);
void queue_fini(struct queue *q);

/** struct notify_stats - of one name; never freed, taken up again by the next of that name */
struct notify_stats {
	char *name, *labels;
	struct lt_gauge queued, queued_bytes, capacity;
	struct lt_counter sent, failed, refused, expired, dropped;
	struct lt_hist seconds;
};
/** notify_stats_get() - NULL: more notifiers than there is room for. Loop thread. */
struct notify_stats *notify_stats_get(const char *name);

struct lt_notifier {
	struct lt_notify_opts o; /* own copies */
	char *url;               /* with its path */
	struct notify_stats *stats;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct queue queue;
	struct message *current[NOTIFY_BATCH]; /* under way */
	size_t n_current;
	bool cleared; /* while that was under way */
	bool failing;
	bool stopping;
	bool ended; /* the thread has nothing more to do */
	int64_t stop_at_ns;
	atomic_bool abort;
	/* the thread's own */
	struct http *http;
	struct lt_backoff backoff;
	struct lt_complaint trouble;
};

void *notify_worker(void *arg);

/** enum http_outcome - what an answer means for the message */
enum http_outcome { HTTP_SENT = 0, HTTP_RETRY, HTTP_REFUSED };

/**
 * struct http_answer - of one request
 * @why: text, for logs. @retry_ms: what the server asked for; 0: nothing.
 */
struct http_answer {
	enum http_outcome outcome;
	int64_t retry_ms;
	char why[300];
};

struct http;
/** http_check() - is the URL one that can be used? */
int http_check(const char *url, struct lt_err *err);
struct http *http_open(const struct lt_notifier *n);
void http_close(struct http *h);
void http_post(struct http *h, const char *content_type, const char *id, const char *body,
	size_t len, struct http_answer *a);

#endif
