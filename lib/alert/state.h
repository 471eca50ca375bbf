/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_STATE_H
#define LATIDO_ALERT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/config.h"
#include "latido/stats.h"

/*
 * What has to outlive this process, in Redis (schemas/redis/README.md): the active alerts, who of
 * several latido-alerts leads, what the leader has still to tell each webhook, which sources there
 * are. A thread of its own with a connection of its own; nobody waits for it.
 *
 * Only the leader writes, and each of its writes is carried out by Redis only while the lease is
 * its own (the lease's token fences it). A transition goes to a webhook when Redis has it, so that
 * whoever leads next goes on with exactly what was not told. When Redis is away the leader goes on
 * without: rather twice than never.
 */

enum lt_role {
	LT_ROLE_NONE = 0, /* not known yet */
	LT_ROLE_FOLLOW,
	LT_ROLE_LEAD,
};

/** enum lt_role_news - what lt_state_take() tells */
enum lt_role_news {
	LT_NEWS_NONE = 0,
	LT_NEWS_FOLLOW, /* somebody else leads */
	LT_NEWS_LEAD,   /* we lead; what the former leader left is in struct lt_inheritance */
	LT_NEWS_MERGE,  /* we led without Redis; what it had from before is there */
	LT_NEWS_RESYNC, /* Redis was away or emptied: write everything again */
};

/** struct lt_inheritance - what Redis had; zero-initialised is valid */
struct lt_inheritance {
	struct lt_buf alerts; /* JSON array of AlertEvents */
	size_t n_alerts;
	int64_t evaluated_ms; /* the last evaluation; 0: not known */
};

struct lt_state_info {
	struct lt_gauge leader, waiting;
	struct lt_counter commits, failures, dropped, takeovers, lease_asked;
};

struct lt_state_opts {
	const struct lt_redis_conf *redis; /* borrowed */
	const char *instance;              /* copied */
	int64_t lease_ms;
	const char *const *webhooks; /* names of outboxes; borrowed */
	size_t n_webhooks;
	size_t queue_max;
	struct lt_state_info *info;
	void *ctx;
	/* A webhook is to be told; state's thread. */
	void (*post)(void *ctx, size_t webhook, const char *id, int64_t created_ms,
		const char *body, size_t len);
	/* We lead no longer: forget what is queued; state's thread. */
	void (*demoted)(void *ctx);
};

struct lt_state;

/** lt_state_start() - Return: NULL with @err. Redis may be down. */
struct lt_state *lt_state_start(const struct lt_state_opts *opts, struct lt_err *err);
/** lt_state_stop() - write what waits until @deadline_ms from now, give the lease back, end. */
void lt_state_stop(struct lt_state *s, int64_t deadline_ms);

/**
 * lt_state_flush() - wait until webhooks were told (post()) what was committed so far
 *
 * Not when somebody else leads, or nobody is known to; at most @deadline_ms.
 */
void lt_state_flush(struct lt_state *s, int64_t deadline_ms);

/** lt_state_take() - is there news? @out: filled for LEAD and MERGE; the caller's. */
enum lt_role_news lt_state_take(struct lt_state *s, struct lt_inheritance *out);
/** lt_state_force() - lead without Redis, as long as nobody else is seen to. */
void lt_state_force(struct lt_state *s);
/** lt_state_evaluated() - rules were evaluated up to here; any thread. */
void lt_state_evaluated(struct lt_state *s, int64_t t_ms);

/* ---- writing: one commit at a time, on one thread ---- */

void lt_state_begin(struct lt_state *s);
/** lt_state_set(), lt_state_del() - a field of a hash. */
void lt_state_set(
	struct lt_state *s, const char *key, const char *field, const void *value, size_t len);
void lt_state_del(struct lt_state *s, const char *key, const char *field);
/** lt_state_clear() - all of a hash. */
void lt_state_clear(struct lt_state *s, const char *key);
/** lt_state_post() - what every webhook gets once this commit is written. */
void lt_state_post(
	struct lt_state *s, const char *id, int64_t created_ms, const void *body, size_t len);
/**
 * lt_state_commit() - hand it over
 *
 * When the queue is full, it goes if it tells webhooks nothing, else the oldest one. Later, when all that
 * waits is written, LT_NEWS_RESYNC asks for what is active.
 */
void lt_state_commit(struct lt_state *s);

/** lt_state_posted() - a webhook has it, or never will; any thread, blocks for a round trip. */
void lt_state_posted(struct lt_state *s, size_t webhook, const char *id);

#endif
