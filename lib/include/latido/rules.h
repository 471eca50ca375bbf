/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_RULES_H
#define LATIDO_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/err.h"
#include "latido/labels.h"
#include "latido/mem.h"
#include "latido/promql.h"
#include "latido/stats.h"

/*
 * Prometheus rule files as of release 2.42: loading, evaluation of groups, the life of alerts, rule
 * tests. Specification: prometheus.io/docs/prometheus/2.42/configuration/{recording_rules,
 * alerting_rules,template_reference,unit_testing_rules} and, where these are silent, what the
 * server and promtool do.
 *
 * A set of rules, its label pool and the storage it is evaluated over belong to one thread at a
 * time. Nothing here reads a clock: all times are milliseconds since 1970, given by the caller.
 */

/* ---- loading ---- */

/** struct lt_rules_counters - what evaluations did; the caller's, registered where it likes */
struct lt_rules_counters {
	struct lt_counter evaluations; /* of single rules */
	struct lt_counter failures;    /* evaluations that ended with an error */
	struct lt_counter template_failures;
	struct lt_hist group_seconds; /* of whole groups */
};

/**
 * struct lt_rules_opts - how rules are loaded; zero-initialised is valid
 * @interval_ms: of groups that name none; 0: 1 000.
 * @resend_delay_ms: distance at which an active alert is handed to send() again; 0: 60 000.
 * @resolved_retention_ms: for so long a resolved alert is handed to send() again; 0: 900 000.
 * @max_alerts: of one rule, beside the group's own limit; 0: 100 000.
 * @external_labels, @external_url: as in Prometheus's configuration: for templates
 *	($externalLabels, $externalURL), and in the JSON of an alert unless a label of that name is
 *	there. Copied.
 * @promql: limits of expressions; NULL: defaults. Copied.
 * @any_query: accept query() in templates with texts that are not known when loading. Without,
 *	they are refused: a storage that only keeps what rules select could not answer them.
 * @folders: patterns name folders that may be empty: no warning about one while another has files.
 * @accept: can the storage answer this selector? May be NULL: any. A code with @err: an error of the
 *	file, at the selector's place. @ctx is for it. Only called while rules are loaded.
 * @counters: may be NULL; outlives the rules.
 */
struct lt_rules_opts {
	int64_t interval_ms;
	int64_t resend_delay_ms;
	int64_t resolved_retention_ms;
	uint32_t max_alerts;
	const struct lt_label_text *external_labels;
	size_t n_external_labels;
	const char *external_url;
	const struct lt_promql_limits *promql;
	bool any_query;
	bool folders;
	int (*accept)(void *ctx, const struct lt_promql_selector *sel, struct lt_err *err);
	void *ctx;
	struct lt_rules_counters *counters;
};

struct lt_rules;

/**
 * lt_rules_load() - read rule files, check everything, prepare all expressions and templates
 * @globs: file names or patterns as in glob(7). One without a match is an error when it is a plain
 *	name, a warning when it is a pattern (see @folders in the options). A file that several match is read once.
 * @report: all errors and warnings of all files, appended, in order of files and lines:
 *	file:line:col: error: group "g", rule 2, "Name": text
 *	followed by the source line and a caret. At most 100 errors.
 *
 * What Prometheus refuses is an error: unknown keys, values of the wrong type, bad durations, names
 * and expressions (named at their place inside the YAML scalar), bad templates, groups that repeat.
 * Two rules of the same name and labels are a warning, as in promtool.
 * Return: LT_OK, or LT_ECONF (CONFIG) with the number of errors in @err.
 */
int lt_rules_load(struct lt_label_pool *pool, const struct lt_rules_opts *opts,
	const char *const *globs, size_t n_globs, struct lt_rules **out, struct lt_buf *report,
	struct lt_err *err) LT_MUST_CHECK;
/** lt_rules_load_text() - the same from one document in memory; @name stands for the file. */
int lt_rules_load_text(struct lt_label_pool *pool, const struct lt_rules_opts *opts,
	const char *name, const char *text, size_t len, struct lt_rules **out,
	struct lt_buf *report, struct lt_err *err) LT_MUST_CHECK;
/** lt_rules_free() - NULL is fine. */
void lt_rules_free(struct lt_rules *r);

/* ---- what was loaded ---- */

enum lt_rule_kind { LT_RULE_RECORD = 0, LT_RULE_ALERT };

struct lt_rule_pair {
	const char *name, *value;
};

/** struct lt_rule - one rule; read-only for others, valid as long as its struct lt_rules */
struct lt_rule {
	enum lt_rule_kind kind;
	const char *name; /* of the series or the alert */
	const char *expr_text;
	struct lt_promql_expr *expr;
	int64_t for_ms, keep_firing_ms;
	const struct lt_rule_pair *labels, *annotations; /* by name; templates not expanded */
	size_t n_labels, n_annotations;
	uint32_t line; /* in the file */
	const struct lt_rules_group *group;
	size_t index; /* in the group, from 0 */
	/* Of the last evaluation. */
	bool healthy;
	const char *last_error; /* "" */
	int64_t eval_ms;        /* its time; 0: none yet */
	int64_t eval_ns;        /* how long it took */
	size_t n_samples;
	size_t n_pending, n_firing;
};

/** struct lt_rules_group - rules that are evaluated one after another, at one interval */
struct lt_rules_group {
	const char *file, *name;
	int64_t interval_ms;
	uint32_t limit; /* 0: none */
	size_t n_rules;
	struct lt_rule *const *rules;
	int64_t eval_ms, eval_ns; /* as in a rule */
};

size_t lt_rules_group_count(const struct lt_rules *r);
/** lt_rules_group() - by file name and place in the file; @i from 0. */
struct lt_rules_group *lt_rules_group(const struct lt_rules *r, size_t i);
size_t lt_rules_file_count(const struct lt_rules *r);

/**
 * lt_rules_expr() - every expression whose selectors must find their series
 *
 * Those of the rules, and those of query() in templates. There, where a text is made by printf, one
 * expression stands for each selector, without the matchers that are not known.
 * Return: NULL when @i is beyond the last one.
 */
const struct lt_promql_expr *lt_rules_expr(const struct lt_rules *r, size_t i);

/* ---- alerts ---- */

/** enum lt_alert_state - in the order of severity; INACTIVE: resolved, and kept for resending */
enum lt_alert_state { LT_ALERT_INACTIVE = 0, LT_ALERT_PENDING, LT_ALERT_FIRING };

/**
 * enum lt_alert_event - one step of an alert's life
 *
 * PENDING and FIRING: it became so (with for: 0s both in one evaluation: FIRING alone). RESOLVED:
 * it was firing and ended. CANCELLED: it was pending and ended.
 */
enum lt_alert_event { LT_ALERT_BEGAN = 0, LT_ALERT_FIRED, LT_ALERT_RESOLVED, LT_ALERT_CANCELLED };
/** lt_alert_event_name() - "pending", "firing", "resolved", "cancelled": AlertEvent.state */
const char *lt_alert_event_name(enum lt_alert_event e);

/** struct lt_alert - one alert; times in ms since 1970, 0 = not (yet) */
struct lt_alert {
	uint64_t fingerprint; /* Alertmanager's: over labels and external labels */
	enum lt_alert_state state;
	const struct lt_labels *labels;         /* with alertname, without external labels */
	const struct lt_rule_pair *annotations; /* expanded, by name */
	size_t n_annotations;
	double value;               /* at the last evaluation that was true */
	int64_t active_ms;          /* began to be true; never changes */
	int64_t paused_ms;          /* of the time since then, for so long nobody evaluated */
	int64_t fired_ms;           /* startsAt */
	int64_t resolved_ms;        /* endsAt of a resolved one */
	int64_t sent_ms;            /* handed to send() last */
	int64_t valid_until_ms;     /* endsAt of a firing one, of the last send() */
	int64_t keep_since_ms;      /* false since, and kept firing by keep_firing_for */
	const struct lt_rule *rule; /* NULL: its rule is gone */
	const char *rule_file, *rule_group, *rule_name;
};

/**
 * struct lt_rules_sink - where an evaluation's results go; any callback may be NULL
 *
 * Called on the evaluating thread, in the order in which Prometheus does it: for each rule first its
 * events, then what is to be sent, then its samples. What they are given is valid during the call.
 */
struct lt_rules_sink {
	void *ctx;
	/**
	 * @append: a sample of a recording rule, of ALERTS or ALERTS_FOR_STATE; also staleness
	 * markers of series that vanished. Must be found by the next rule's evaluation. Return:
	 * false when the storage refuses it as out of order: it is then not counted as there,
	 * and the rule is unhealthy until its next evaluation.
	 */
	bool (*append)(void *ctx, const struct lt_labels *labels, int64_t t_ms, double v);
	/** @event: an alert's state changed; each one once, with its id (lt_alert_id()) */
	void (*event)(void *ctx, const struct lt_alert *a, enum lt_alert_event e, int64_t t_ms);
	/** @send: to be sent to Alertmanager now: new, due again, or resolved */
	void (*send)(void *ctx, const struct lt_alert *a, int64_t t_ms);
	/** @changed: what lt_rules_restore() needs of it changed without a step; may be NULL */
	void (*changed)(void *ctx, const struct lt_alert *a);
};

/**
 * lt_rules_group_eval() - evaluate all rules of a group at one time
 * @t_ms: should rise from call to call.
 *
 * A rule that fails leaves its alerts as they are, its series without sample, the reason in
 * last_error, and the others undisturbed, as in Prometheus.
 * Return: the number of rules that failed.
 */
size_t lt_rules_group_eval(struct lt_rules *r, struct lt_rules_group *g, int64_t t_ms,
	const struct lt_promql_storage *storage, const struct lt_rules_sink *sink);

/**
 * lt_rules_look() - look at an alerting rule without @for between two evaluations of its group
 * @t_ms: after the last evaluation, before the next one.
 *
 * What its expression finds now and did not before fires now. All else is left to the evaluations:
 * whether alerts end, values and texts of those that are active, samples, sending again, errors.
 * Return: how many fired.
 */
size_t lt_rules_look(struct lt_rules *r, const struct lt_rule *rule, int64_t t_ms,
	const struct lt_promql_storage *storage, const struct lt_rules_sink *sink);

/** lt_rules_each_alert() - all alerts that are held, resolved ones too (state INACTIVE). */
void lt_rules_each_alert(
	const struct lt_rules *r, void (*fn)(void *ctx, const struct lt_alert *a), void *ctx);

/**
 * lt_rules_twin() - another rule's active alert with the labels, and so the fingerprint, of @a
 *
 * Return: a firing one before a pending one; NULL: there is none. Of equal ones the one of the first
 * rule.
 */
const struct lt_alert *lt_rules_twin(const struct lt_rules *r, const struct lt_alert *a);

/**
 * lt_rules_adopt() - carry the state of @old over, before @old is freed and @r takes its place
 * @t_ms: time of the last evaluation.
 *
 * Rules are matched as in Prometheus: by file and group, there by name and labels. Series that no
 * rule of @r makes any more get a staleness marker now; alerts whose rule is gone are cancelled or
 * resolved now, by event() and send() (Prometheus leaves them to Alertmanager's time limit). Both
 * use the same pool. @old is empty afterwards.
 */
void lt_rules_adopt(
	struct lt_rules *r, struct lt_rules *old, int64_t t_ms, const struct lt_rules_sink *sink);

/** lt_rules_resend() - forget what was sent: the next evaluations send all (after a take-over). */
void lt_rules_resend(struct lt_rules *r);

/**
 * lt_rules_send() - while nobody can evaluate: send what is due again
 *
 * Alertmanager takes what is not sent again for ended.
 */
void lt_rules_send(struct lt_rules *r, int64_t t_ms, const struct lt_rules_sink *sink);

/**
 * lt_rules_set_clock() - the wall clock was set by @by_ms and is @now_ms
 *
 * Forward, the time jumped over does not count for keep_firing_for. Backward, nothing was told, ended
 * or kept later than now: else it would be sent, or end, only when the clock is there again.
 */
void lt_rules_set_clock(struct lt_rules *r, int64_t by_ms, int64_t now_ms);

/**
 * lt_rules_forget() - drop all alerts without telling anybody, for lt_rules_restore() to bring others
 *
 * Recorded series go on; those of alerts that do not come again end with the next evaluation.
 */
void lt_rules_forget(struct lt_rules *r);

/* ---- alerts as text ---- */

/** lt_alert_id() - append "<fingerprint>.<active_ms>.<pending|firing|resolved|cancelled>" */
void lt_alert_id(const struct lt_alert *a, enum lt_alert_event e, struct lt_buf *out);
#define LT_ALERT_FINGERPRINT_LEN 17
/** lt_alert_fingerprint() - 16 hex digits */
void lt_alert_fingerprint(const struct lt_alert *a, char out[LT_ALERT_FINGERPRINT_LEN]);
/**
 * lt_alert_json() - append the AlertEvent as JSON, one line
 *
 * Its members labels, annotations, startsAt, endsAt, generatorURL are an element of Alertmanager's
 * POST /api/v2/alerts; all of it can be read by lt_rules_restore().
 */
void lt_alert_json(const struct lt_rules *r, const struct lt_alert *a, struct lt_buf *out);
/** lt_alert_am_json() - only the element for Alertmanager. */
void lt_alert_am_json(const struct lt_rules *r, const struct lt_alert *a, struct lt_buf *out);
/** lt_alert_cloudevent() - the AlertEvent as data of a CloudEvent 1.0, structured JSON: webhooks, MQTT */
void lt_alert_cloudevent(const struct lt_rules *r, const struct lt_alert *a, enum lt_alert_event e,
	int64_t t_ms, struct lt_buf *out);

/* ---- over a restart ---- */

/** lt_rules_export() - append all alerts as a JSON array of AlertEvents. */
void lt_rules_export(const struct lt_rules *r, struct lt_buf *out);

/**
 * struct lt_rules_restore_opts - how states are taken up again
 * @t_ms: now.
 * @down_ms: when the last evaluation before was.
 * @tolerance_ms: a pending alert is given up (cancelled) when nobody evaluated for longer; 0: 1 h,
 *	as --rules.alert.for-outage-tolerance.
 * @grace_ms: for so long after @t_ms a restored alert stays as it is while its expression finds
 *	nothing, because sources may not have been heard again yet; 0: not at all.
 *
 * Time during which nobody evaluated does not count for `for`, as in Prometheus; activeAt stays.
 */
struct lt_rules_restore_opts {
	int64_t t_ms, down_ms, tolerance_ms, grace_ms;
};

/**
 * lt_rules_restore() - take up alerts from JSON: one AlertEvent or an array of them
 * @n: out, may be NULL: how many were taken up.
 *
 * Before the first evaluation, or after lt_rules_forget(). An alert that is there already is left alone. One whose rule is no
 * longer there is resolved or cancelled at once by @sink. Return: LT_OK, or LT_EDATA (POISON): not
 * such JSON; what was understood until there is taken up.
 */
int lt_rules_restore(struct lt_rules *r, const char *json, size_t len,
	const struct lt_rules_restore_opts *opts, const struct lt_rules_sink *sink, size_t *n,
	struct lt_err *err) LT_MUST_CHECK;

/**
 * lt_rules_hold() - alerts of @rule that began before @since_ms stay as they are until @until_ms
 * while its expression finds nothing: its windows may lack samples. 0: not held (any more).
 *
 * What it does find counts as always.
 */
void lt_rules_hold(
	struct lt_rules *r, const struct lt_rule *rule, int64_t since_ms, int64_t until_ms);

/**
 * lt_rules_pause() - for @by_ms nobody could evaluate: of pending alerts that does not count for `for`
 * @sink: hears of each one that changed.
 */
void lt_rules_pause(struct lt_rules *r, int64_t by_ms, const struct lt_rules_sink *sink);

/* ---- for the command line ---- */

/**
 * lt_rules_check() - latido-alert --check-rules
 * @out: for a human: per file what was found, or its errors.
 *
 * Return: LT_OK or LT_ECONF.
 */
int lt_rules_check(const char *const *globs, size_t n_globs, const struct lt_rules_opts *opts,
	struct lt_buf *out);

/**
 * lt_rules_test() - latido-alert --test-rules: test files in promtool's format
 * @out: for a human: per file "SUCCESS" or "FAILED" with what differs.
 *
 * Return: LT_OK, or LT_ECONF when a file cannot be used or a test fails: where promtool fails.
 */
int lt_rules_test(const char *const *files, size_t n_files, const struct lt_rules_opts *opts,
	struct lt_buf *out);

#endif
