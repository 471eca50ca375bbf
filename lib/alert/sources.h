/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_SOURCES_H
#define LATIDO_ALERT_SOURCES_H

#include "latido/event.h"
#include "series.h"

/*
 * Events into series. For each shape it is found once which of its values some rule may want; for
 * each source, once, which series these are. An event of a known shape then costs a few nanoseconds
 * for each wanted value and nothing for the others.
 *
 * Labels are the event's with instance="<source>" and job="node" or "device"; where the event has
 * labels of these names, they become exported_instance and exported_job, as at a Prometheus scrape.
 *
 * Time of a sample (also in latido-alert(1)): the event's own, but never later than it arrived.
 * Where a source's clock stepped back, or is wrong by a constant more than max_lag_ms, arrival
 * counts. Events that are older than the newest one of their stream, and those that arrive more
 * than max_lag_ms late without such a constant (a backlog), are dropped and counted.
 */

struct lt_sources_opts {
	int64_t max_lag_ms;
	int64_t silence_ms; /* until an irregular source is taken for silent */
	int64_t forget_ms;  /* silent for so long: no longer known */
	size_t max_sources;
	uint32_t max_source_series; /* new ones of one source in LT_MADE_MS */
	/* A source is new, has another interval, or is forgotten; may be NULL. */
	void (*changed)(
		void *ctx, const char *source, bool device, uint32_t interval_ms, bool gone);
	void *ctx;
};

#define LT_MADE_MS 300000

/** struct lt_sources_info - for metrics; any thread */
struct lt_sources_info {
	struct lt_gauge sources, silent;
	struct lt_counter events, values, late, old, lagging, skewed, ahead, refused, crowded,
		plans, bindings;
};

struct lt_sources;

struct lt_sources *lt_sources_new(
	struct lt_as *a, const struct lt_sources_opts *opts, struct lt_sources_info *info);
void lt_sources_free(struct lt_sources *t);

/**
 * lt_sources_event() - take over one event
 * @now_ms: wall clock.
 * @evaluated_ms: rules were evaluated up to here already, for counting late ones.
 */
void lt_sources_event(
	struct lt_sources *t, const struct lt_event *e, int64_t now_ms, int64_t evaluated_ms);
/**
 * lt_sources_fill() - an event that may be older than what was taken over already
 *
 * Newer ones are lt_sources_event()s; of others the values that are not there yet join their series.
 * Return: was anything of it new?
 */
bool lt_sources_fill(struct lt_sources *t, const struct lt_event *e, int64_t now_ms);
/**
 * lt_sources_known() - a source of which somebody else knows that it was there
 * @interval_ms: 0 = not known.
 */
void lt_sources_known(
	struct lt_sources *t, const char *name, bool device, int64_t seen_ms, uint32_t interval_ms);
/**
 * lt_sources_check() - who has fallen silent?
 * @known_ms: everything that arrived until then has been taken over.
 *
 * Streams that are silent for 3 of their intervals: their series end. Sources of which that holds
 * for all: up is 0, again and again.
 */
void lt_sources_check(struct lt_sources *t, int64_t known_ms);
/** struct lt_source_mark - an event of a source */
struct lt_source_mark {
	int64_t t_ms;        /* of its samples; INT64_MAX: there was none */
	uint64_t epoch, seq; /* 0: unnumbered */
};

/** struct lt_source_state - what is known of a source; borrowed */
struct lt_source_state {
	const char *name;
	bool device;
	struct lt_source_mark since;  /* the oldest event taken over */
	struct lt_source_mark newest; /* but for t_ms, which is that of all streams */
	bool back;                    /* it was heard since lt_sources_pause() */
	int64_t shift_ms;             /* its samples have its own times and so much */
};
void lt_sources_each(const struct lt_sources *t,
	void (*fn)(void *ctx, const struct lt_source_state *s), void *ctx);
/** enum lt_back - who was heard since lt_sources_pause() */
enum lt_back {
	LT_BACK_NONE = 0,
	LT_BACK_SOME,
	LT_BACK_ALL, /* but for those that are silent */
};
enum lt_back lt_sources_back(const struct lt_sources *t);
size_t lt_sources_count(const struct lt_sources *t);
/** lt_sources_pause() - nobody could be heard until @now_ms: silence begins anew. */
void lt_sources_pause(struct lt_sources *t, int64_t now_ms);
/** lt_sources_shift() - the wall clock was set by so much: remembered arrivals move along. */
void lt_sources_shift(struct lt_sources *t, int64_t by_ms);

#endif
