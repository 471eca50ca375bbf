/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_SOURCES_INT_H
#define LATIDO_ALERT_SOURCES_INT_H

#include "latido/log.h"
#include "sources.h"

/* What sources.c (events) and sources_watch.c (silence, clocks) share. */

/* Which values of a shape may be wanted; hangs on the shape, so it holds plain memory only. */
struct plan {
	uint64_t id;
	uint32_t generation;
	uint32_t n;
	uint32_t idx[];
};

/* The series of these values for one source. */
struct binding {
	struct binding *next;
	uint64_t plan;
	int64_t used_ms;
	uint32_t generation;
	uint32_t n;
	struct lt_as_series *s[]; /* NULL: not selected after all, or over a limit */
};

struct stream {
	struct stream *next;
	uint64_t epoch, seq;
	int64_t last_ms;    /* time of the newest sample */
	int64_t arrived_ms; /* of the newest event */
	uint32_t interval_ms;
	bool silent;
	struct binding *bindings; /* one, unless its events are partial */
	char name[];
};

struct source {
	struct source *next; /* same bucket */
	uint64_t hash;
	int64_t arrived_ms;          /* newest event of all streams */
	struct lt_source_mark since; /* the oldest event */
	int64_t shift_ms; /* what its newest sample's time is later than it said itself */
	int64_t down_ms;  /* up = 0 was said last */
	uint32_t interval_ms;
	uint32_t made;   /* series, since ... */
	int64_t made_ms; /* ... then */
	bool device, silent;
	bool back; /* heard since the bus is there (again) */
	uint8_t votes;
	int64_t lag_ms;  /* candidate for ... */
	int64_t skew_ms; /* ... what its clock is behind */
	struct stream *streams;
	struct lt_as_series *up;
	uint32_t generation; /* of @up and of the bindings */
	char name[];
};

struct lt_sources {
	struct lt_as *a;
	struct lt_label_pool *pool;
	struct lt_sources_opts opts;
	struct lt_sources_info *info;
	struct source **table;
	size_t n, cap;
	uint64_t next_plan;
	uint32_t mark;
	struct lt_complaint full, skewed, crowded;
};

/** sources_tell() - its interval changed, or it is forgotten. */
void sources_tell(const struct lt_sources *t, const struct source *src, bool gone);
/** sources_bind_up() - its series up, with the rules of now. */
void sources_bind_up(struct lt_sources *t, struct source *src);
/** sources_unbind() - forget which series a stream writes. */
void sources_unbind(struct lt_sources *t, struct stream *st);
/** sources_drop() - free one that is in no list any more. */
void sources_drop(struct lt_sources *t, struct source *src);
/** sources_find() - made if new. Return: NULL: over alert.max_sources. */
struct source *sources_find(struct lt_sources *t, const char *name, bool device);

#endif
