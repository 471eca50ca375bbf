/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_RULES_INT_H
#define LATIDO_RULES_INT_H

#include <string.h>

#include "doc.h"
#include "latido/rules.h"
#include "tmpl.h"

/*
 * What the files behind rules.h share.
 *
 * doc.c, report.c		YAML with places, reports
 * load.c, load_rule.c		files -> groups and rules
 * expand.c			templates of an alert
 * group.c			one evaluation of a group
 * alert.c, alert_set.c		the life of alerts
 * alert_text.c			alerts as JSON
 * adopt.c			state over a reload
 * restore.c			state over a restart
 * check.c			--check-rules
 * test_file.c, test_run.c	--test-rules
 */

/** value_bits() - tells 0 from -0 and one NaN from another. */
static inline uint64_t value_bits(double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

/** struct alert - an alert in its rule's set; heap */
struct alert {
	struct lt_alert pub; /* first: what others see */
	struct alert *next, *prev;
	bool sent;              /* pub.sent_ms counts */
	bool in_result;         /* during an evaluation */
	bool old_text;          /* restored or adopted: its annotations are made anew */
	int64_t grace_until_ms; /* restored: stays as it is until then */
	void *text;             /* memory of the annotations */
	/* Series of this alert, made when they are needed: ALERTS by state, ALERTS_FOR_STATE. */
	const struct lt_labels *series[3];
};

/** struct alert_set - alerts of a rule, found by their labels; zero-initialised is empty */
struct alert_set {
	struct alert *first, *last;
	struct alert **slots;
	size_t n, cap;
};
struct alert *alert_set_find(const struct alert_set *s, const struct lt_labels *l);
/** alert_set_add() - takes over the alert's reference to its labels. */
void alert_set_add(struct alert_set *s, struct alert *a);
/** alert_set_remove() - out of the set, not freed. */
void alert_set_remove(struct alert_set *s, struct alert *a);
void alert_free(struct lt_label_pool *pool, struct alert *a);
void alert_set_fini(struct lt_label_pool *pool, struct alert_set *s);
/** alert_set_annotations() - copy them into the alert. */
void alert_annotate(struct alert *a, const struct lt_rule_pair *p, size_t n);

/** struct series_list - label sets, each with a reference */
struct series_list {
	const struct lt_labels **l;
	size_t n, cap;
};
/** series_list_add() - takes over the reference. */
void series_list_add(struct series_list *s, const struct lt_labels *l);
void series_list_fini(struct lt_label_pool *pool, struct series_list *s);

/** struct made - what a rule's labels make of an element's; the element last seen at its place */
struct made {
	const struct lt_labels *from, *to;
};

struct rule;
/** made_at() - the one for element @i; grows. */
struct made *made_at(struct rule *rule, size_t i);

struct rule {
	struct lt_rule pub;                          /* first */
	struct tmpl **label_tmpl, **annotation_tmpl; /* of alerts */
	bool labels_constant;                        /* no template in the labels */
	bool annotations_constant;                   /* by labels and value: nothing queried */
	char *error;                                 /* pub.last_error */
	struct made *made;
	size_t n_made;
	struct series_list before; /* of the previous evaluation */
	struct alert_set alerts;
	int64_t hold_since_ms, hold_until_ms; /* lt_rules_hold() */
	uint32_t col;                         /* beside pub.line */
	bool done; /* of the group's current state since lt_rules_adopt() */
};

struct group {
	struct lt_rules_group pub; /* first */
	struct series_list
		stale; /* of rules that are gone: marked at the end of the next evaluation */
	uint64_t evaluations;
};

struct lt_rules {
	struct lt_label_pool *pool;
	struct lt_arena arena; /* texts, rules, templates */
	struct lt_rules_opts opts;
	struct lt_promql_limits limits;
	struct tmap *external_labels;
	struct group **groups;
	size_t n_groups, cap_groups, n_files;
	struct lt_promql_expr **exprs; /* those of rules first; owned */
	size_t n_exprs, cap_exprs;
	struct series_list orphans; /* of groups that are gone */
	bool has_orphans;
	/* Of evaluations. */
	struct lt_promql_result result;
	struct lt_promql_result query_result;
	struct lt_arena scratch;
	struct lt_buf text;
	const struct lt_labels **seen; /* table of pointers */
	size_t seen_cap;
};

/** rules_add_expr() - the set owns @e. */
void rules_add_expr(struct lt_rules *r, struct lt_promql_expr *e);

/** load_groups() - all groups of a parsed file into @r; reports. */
void load_groups(struct lt_rules *r, struct report *rep, const struct node *root);
/** load_rule() - one rule; NULL: reported. */
struct rule *load_rule(struct lt_rules *r, struct report *rep, const struct node *n,
	struct group *g, size_t index);
/** load_queries() - expressions for what a rule's templates query; reports what cannot be known. */
void load_queries(struct lt_rules *r, struct report *rep, const struct tmpl *t,
	const struct node *at, const char *what);
/** load_string() - a scalar as text; NULL: reported or null. */
const char *load_string(struct report *rep, const struct node *n, const char *what);
/** load_duration() - false: reported. */
bool load_duration(struct report *rep, const struct node *n, const char *what, int64_t *ms);
bool load_int(struct report *rep, const struct node *n, const char *what, int64_t *v);
/** load_unknown() - report keys that are not in @known (NULL-terminated). */
void load_unknown(struct report *rep, const struct node *map, const char *const *known);
const struct node *load_get(const struct node *map, const char *key);
/** load_pairs() - a map of texts, by name. @n: out. */
const struct lt_rule_pair *load_pairs(struct lt_rules *r, struct report *rep,
	const struct node *map, const char *what, size_t *n);
/** rules_new(), rules_read() - for check.c and test_run.c: the two halves of lt_rules_load(). */
struct lt_rules *rules_new(struct lt_label_pool *pool, const struct lt_rules_opts *opts);
void rules_read(struct lt_rules *r, struct report *rep, const char *const *globs, size_t n_globs);
void rules_read_file(struct lt_rules *r, struct report *rep, struct doc_file *f);

/** expand_labels() - the labels of the alert that @sample makes; with a reference. */
const struct lt_labels *expand_labels(struct lt_rules *r, struct rule *rule,
	const struct lt_promql_sample *sample, int64_t t_ms,
	const struct lt_promql_storage *storage);
/** expand_annotations() - in r->scratch. */
const struct lt_rule_pair *expand_annotations(struct lt_rules *r, struct rule *rule,
	const struct lt_promql_sample *sample, int64_t t_ms,
	const struct lt_promql_storage *storage);

/** alert_eval() - one evaluation of an alerting rule over r->result; code with @err: it failed. */
int alert_eval(struct lt_rules *r, struct rule *rule, int64_t t_ms, int64_t interval_ms,
	const struct lt_promql_storage *storage, const struct lt_rules_sink *sink,
	struct series_list *out_series, struct lt_err *err);
/** alert_look() - lt_rules_look() over r->result. */
size_t alert_look(struct lt_rules *r, struct rule *rule, int64_t t_ms, int64_t interval_ms,
	const struct lt_promql_storage *storage, const struct lt_rules_sink *sink);
/** alert_end() - the alert ends now: event and send; not removed. */
void alert_end(struct alert *a, int64_t t_ms, const struct lt_rules_sink *sink);
void alert_send(struct lt_rules *r, struct alert *a, int64_t t_ms, int64_t interval_ms,
	const struct lt_rules_sink *sink);
/**
 * seen_begin() - an empty set of label sets, for up to @n
 *
 * seen_add(): false: it was there.
 */
void seen_begin(struct lt_rules *r, size_t n);
bool seen_add(struct lt_rules *r, const struct lt_labels *l);
bool seen_has(const struct lt_rules *r, const struct lt_labels *l);
/** rules_mark_orphans() - when all groups have been evaluated since lt_rules_adopt() */
void rules_mark_orphans(struct lt_rules *r, int64_t t_ms, const struct lt_rules_sink *sink);
/** alert_hash() - Alertmanager's fingerprint. */
uint64_t alert_hash(const struct lt_rules *r, const struct lt_labels *l);

#endif
