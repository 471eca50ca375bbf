/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_NOTIFY_H
#define LATIDO_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/err.h"
#include "latido/stats.h"

/*
 * Notifications over HTTP: Alertmanagers and webhooks. Each notifier has a bounded queue and a thread
 * of its own, so one that is down delays nobody else. Starting and stopping belong to the loop's thread;
 * everything else may be called from any thread and never waits for a peer.
 */

enum lt_notify_kind { LT_NOTIFY_ALERTMANAGER = 0, LT_NOTIFY_WEBHOOK };

/**
 * enum lt_notify_outcome - how a webhook's message ended
 *
 * SENT: answered 2xx. REFUSED: an answer that repeating would not change (4xx except 408, 425 and
 * 429). EXPIRED: older than max_age_ms. DROPPED: the queue was full and it was the oldest.
 */
enum lt_notify_outcome {
	LT_NOTIFY_SENT = 0,
	LT_NOTIFY_REFUSED,
	LT_NOTIFY_EXPIRED,
	LT_NOTIFY_DROPPED,
};

/**
 * struct lt_notify_opts - one notifier; strings are copied
 * @name: for logs, the label notifier="..." and @done; unique in its set; letters, digits, '_', '-'.
 * @url: of a webhook: all of it; of an Alertmanager: without /api/v2/alerts. http or https; user and
 *	password may stand in it.
 * @secret, @secret_len: webhook: key of the signature; NULL: none.
 * @bearer_token: Authorization: Bearer; NULL: none.
 * @ca_file: instead of the system's certificates; NULL.
 * @timeout_ms: of one request; 0: 10 000.
 * @queue_max: messages; 0: 10 000.
 * @queue_bytes: of their bodies together; 0: 64 MiB.
 * @retry_base_ms, @retry_cap_ms: of the delays between tries; 0: 500 and 60 000.
 * @max_age_ms: webhook: after so long a message is given up; 0: 24 h.
 * @done: webhook: called on the notifier's thread when a message has ended, before the next is sent,
 *	so what it makes durable here is repeated at most once after a kill; for DROPPED on the
 *	thread whose message found the queue full. May block. NULL: nobody is told.
 */
struct lt_notify_opts {
	enum lt_notify_kind kind;
	const char *name;
	const char *url;
	const void *secret;
	size_t secret_len;
	const char *bearer_token;
	const char *ca_file;
	int64_t timeout_ms;
	size_t queue_max;
	size_t queue_bytes;
	int64_t retry_base_ms, retry_cap_ms;
	int64_t max_age_ms;
	void (*done)(void *ctx, const char *name, const char *id, enum lt_notify_outcome how);
	void *done_ctx;
};

struct lt_notifier;

/**
 * lt_notifier_start() - check the options and start the thread
 *
 * The peer may be down. Its metrics are in /metrics until the process ends. Return: LT_OK;
 * LT_ECONF (CONFIG): the URL or another option is wrong.
 */
int lt_notifier_start(
	const struct lt_notify_opts *o, struct lt_notifier **out, struct lt_err *err) LT_MUST_CHECK;
/**
 * lt_notifier_stop() - send what is queued until @deadline_ms from now, then end the thread and free
 *
 * A request that is under way at the deadline is broken off. Messages that are left are not done().
 * NULL is fine.
 */
void lt_notifier_stop(struct lt_notifier *n, int64_t deadline_ms);

/**
 * lt_notifier_alert() - hand an Alertmanager the state of one alert
 * @fingerprint: a newer state replaces the one that is still queued.
 * @json: the element of POST /api/v2/alerts (lt_alert_am_json()); copied.
 *
 * Up to 64 alerts go in one request. A failed request is repeated with backoff, with the newest
 * states; the caller sends each alert again every resend delay anyway. When the queue is full the
 * oldest is dropped and counted.
 */
void lt_notifier_alert(struct lt_notifier *n, uint64_t fingerprint, const char *json, size_t len);

/**
 * lt_notifier_post() - hand a webhook one message
 * @id: what makes it unique (lt_alert_id()); sent as Idempotency-Key. One that is queued or under way
 *	already is ignored.
 * @created_ms: wall clock, for max_age_ms.
 * @content_type: static, "application/cloudevents+json".
 *
 * Messages are sent one after another, in order, each until its end (enum lt_notify_outcome). With a
 * secret each request carries
 *	Latido-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">
 * made anew for each try, so that a receiver can refuse old ones.
 */
void lt_notifier_post(struct lt_notifier *n, const char *id, int64_t created_ms,
	const char *content_type, const char *body, size_t len);

/** lt_notifier_clear() - forget what is queued (this instance is no longer the one that sends). */
void lt_notifier_clear(struct lt_notifier *n);

struct lt_notify_info {
	const char *name;
	enum lt_notify_kind kind;
	size_t queued; /* under way included */
	bool failing;  /* the last try failed */
};
void lt_notifier_info(struct lt_notifier *n, struct lt_notify_info *out);

/** lt_notify_sign() - hex HMAC-SHA256 of "<t>.<body>" with a NUL: 65 bytes; for receivers and tests */
void lt_notify_sign(const void *secret, size_t secret_len, int64_t t_s, const char *body,
	size_t len, char out[65]);

#endif
