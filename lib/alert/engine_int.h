/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ALERT_ENGINE_INT_H
#define LATIDO_ALERT_ENGINE_INT_H

#include <pthread.h>

#include "backfill.h"
#include "engine.h"
#include "latido/redis.h"

/* Looks at one rule (engine_looks.c). */
struct engine_look {
	bool wanted;
	bool by_value;      /* its expression is a threshold */
	int64_t crossed_ms; /* time of a sample that crossed it and was not seen; INT64_MIN: none */
	uint64_t values;    /* that had been taken over then */
	int64_t next_mono_ns; /* not before */
	int64_t paid_mono_ns; /* what looks at it took is paid for then */
};

struct engine_looks {
	struct engine_look *all; /* of all rules of all groups, in their order */
	size_t n_others;         /* wanted, and no threshold */
	size_t first;            /* whose turn it is */
	int64_t paid_mono_ns;    /* of all thresholds */
};

struct engine_group {
	struct lt_rules_group *group;
	struct engine_look *looks; /* of its rules */
	int64_t next_ms;           /* instant of its next evaluation */
	struct lt_complaint failing;
};

/* What a rule's selectors look back on, those of the recorded series that it reads included. */
struct engine_window {
	const struct lt_rule *rule;
	char *text; /* its expression; outlives the rule */
	int64_t needs_ms;
	int64_t since_ms; /* its series are kept */
	int64_t hole_ms; /* end of an outage that left a hole in its series; 0: none that matters */
	bool stored;     /* what long windows need is in PostgreSQL: events, nothing made here */
	bool asked;      /* it is part of what is being filled, or was */
	bool filled;     /* from there, or nothing was missing */
};

/* What loading rules takes from the configuration; a copy, since SIGHUP changes it. */
struct engine_rules_conf {
	char **globs;
	size_t n_globs;
	int64_t interval_ms, resend_ms, max_rule_series, max_samples;
};

struct lt_engine {
	const struct lt_config *conf;
	struct lt_engine_info *info;
	struct lt_label_pool *pool;
	struct lt_as *store;
	struct lt_sources *sources;
	struct lt_rules *rules;
	struct lt_rules_sink sink;
	struct lt_outputs *outputs; /* NULL: closed */
	struct lt_redis *redis;     /* for warming */
	struct engine_rules_conf rules_conf;

	struct engine_group *groups;
	size_t n_groups;
	struct engine_looks looks;
	int64_t at_ms;        /* the instant being evaluated for */
	int64_t evaluated_ms; /* the newest that was */
	int64_t checked_ms;
	int64_t put_mono_ns, behind_ns; /* of the last batch */
	int64_t swept_mono_ns, started_mono_ns;
	int64_t rest_mono_ns;   /* while events wait nothing is evaluated until then */
	int64_t rewarm_mono_ns; /* 0: not again */
	int64_t rewarm_ms;      /* from when on */
	int64_t heard_ms;       /* wall clock: the last batch */
	int64_t offset_ns;      /* wall clock less monotonic clock */
	bool open, paused;
	int64_t paused_ms; /* since when; 0: nothing was evaluated before */

	struct engine_window *windows; /* of all rules */
	size_t n_windows;
	struct lt_backfill *backfill; /* NULL: not wanted */
	bool ask_windows, filling, cold;
	int64_t opened_ms, back_ms; /* back_ms: the bus came (again) */
	struct {
		int64_t from_ms, to_ms; /* to_ms 0: there is none */
		int64_t heard_ms;       /* since then somebody is heard */
		bool asked;             /* it is part of what is being filled */
	} hole;                         /* what was published in outages of the bus */
	int64_t asked_mono_ns, taken_mono_ns, held_mono_ns;
	uint64_t filled_series, filled_samples, skipped_before;

	enum lt_role role;
	struct lt_inheritance inheritance;

	pthread_mutex_t lock;
	bool bus_connected, republish;  /* of the bus */
	struct engine_rules_conf fresh; /* to be loaded */
	bool reload;
};

/* engine.c */
void engine_grid(struct lt_engine *e, int64_t t_ms);

/* engine_looks.c */
/** engine_looks_new() - of rules whose selectors @store has just got; before lt_as_commit(). */
void engine_looks_new(struct engine_looks *l, const struct lt_rules *rules, struct lt_as *store);
void engine_looks_free(struct engine_looks *l);
/** engine_looks_evaluated() - all rules of @g know what there was at the instant g->next_ms. */
void engine_looks_evaluated(struct lt_engine *e, struct engine_group *g);
/**
 * engine_look() - look at the rules that events have touched
 * @known_ms: everything that arrived until then has been taken over.
 *
 * Return: ns after which there is something to look at again; INT64_MAX: nothing, so far.
 */
int64_t engine_look(struct lt_engine *e, int64_t now_ms, int64_t known_ms);

/* engine_windows.c */
/** engine_windows_load() - after rules were loaded: what they need, and whether it is there. */
void engine_windows_load(struct lt_engine *e, int64_t now_ms);
void engine_windows_free(struct engine_window *w, size_t n);
/**
 * engine_windows_back() - the bus is there (again): what is active is held for alert.grace
 *
 * What was published since e->heard_ms is missing in the windows, and is asked for when every source
 * was heard again or is silent.
 */
void engine_windows_back(struct lt_engine *e, int64_t now_ms);
void engine_windows_shift(struct lt_engine *e, int64_t by_ms, int64_t now_ms);
/**
 * engine_windows_tick() - ask for what is missing and take what has come
 * @heard_all: what Redis and the bus have of the past was taken over.
 *
 * Return: is more expected soon?
 */
bool engine_windows_tick(struct lt_engine *e, int64_t now_ms, bool heard_all);

/* engine_rules.c */
void engine_limits(const struct lt_alert_conf *c, struct lt_as_limits *limits);
bool engine_append(void *ctx, const struct lt_labels *labels, int64_t t_ms, double v);
void engine_event(void *ctx, const struct lt_alert *a, enum lt_alert_event ev, int64_t t_ms);
void engine_send(void *ctx, const struct lt_alert *a, int64_t t_ms);
void engine_changed(void *ctx, const struct lt_alert *a);
void engine_copy_conf(struct lt_engine *e, const struct lt_alert_conf *c);
void engine_free_conf(struct lt_engine *e);
/** engine_load() - the rules of rules_conf, in place of none. */
int engine_load(struct lt_engine *e, struct lt_buf *report, struct lt_err *err);
void engine_take_reload(struct lt_engine *e, int64_t now_ms);
void engine_take_role(struct lt_engine *e, int64_t now_ms);
void engine_clock_jump(struct lt_engine *e, int64_t by_ms, int64_t now_ms);

#endif
