/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "../event/json_read.h"
#include "latido/clock.h"
#include "rules_int.h"

/* State over a restart: AlertEvents, as lt_alert_json() writes them, become alerts again. */

#define MAX_PAIRS            256
#define DEFAULT_TOLERANCE_MS 3600000

/* One AlertEvent as it was read; texts are in the arena. */
struct saved {
	struct lt_arena *arena;
	struct lt_label_text labels[MAX_PAIRS];
	size_t n_labels;
	struct lt_rule_pair annotations[MAX_PAIRS];
	size_t n_annotations;
	const char *external[MAX_PAIRS];
	size_t n_external;
	const char *state, *file, *group, *name;
	int64_t active_ms, fired_ms, ends_ms, sent_ms, keep_ms, paused_ms;
	double value;
};

struct reader {
	struct json j;
	struct lt_buf scratch;
	struct saved s;
};

static const char *text_of(struct reader *r, const struct json_value *v)
{
	size_t n;
	const char *p;

	if (v->type != JSON_STRING)
		return NULL;
	p = json_text(v, &r->scratch, &n);
	if (memchr(p, '\0', n))
		return NULL;
	return lt_arena_str(r->s.arena, p, n);
}

static bool read_pair(struct reader *r, const char *what, const struct json_value *key)
{
	struct saved *s = &r->s;
	struct json_value v;
	const char *name = text_of(r, key), *text;

	if (!json_value(&r->j, &v))
		return false;
	text = text_of(r, &v);
	if (!name || !text)
		return json_skip(&r->j, &v);
	if (*what == 'l' && s->n_labels < MAX_PAIRS)
		s->labels[s->n_labels++] = (struct lt_label_text){
			name, text, (uint32_t)strlen(name), (uint32_t)strlen(text)};
	else if (*what == 'a' && s->n_annotations < MAX_PAIRS)
		s->annotations[s->n_annotations++] = (struct lt_rule_pair){name, text};
	else if (!strcmp(what, "rule") && !strcmp(name, "file"))
		s->file = text;
	else if (!strcmp(what, "rule") && !strcmp(name, "group"))
		s->group = text;
	else if (!strcmp(what, "rule") && !strcmp(name, "name"))
		s->name = text;
	return true;
}

static bool read_map(struct reader *r, const char *what)
{
	struct json_value key;
	bool first = true;
	int code;

	while ((code = json_member(&r->j, &first, &key)) == 1) {
		if (!read_pair(r, what, &key))
			return false;
	}
	return code == 0;
}

static bool read_external(struct reader *r)
{
	struct json_value v;
	bool first = true;
	const char *text;
	int code;

	while ((code = json_item(&r->j, &first)) == 1) {
		if (!json_value(&r->j, &v))
			return false;
		text = text_of(r, &v);
		if (!text) {
			if (!json_skip(&r->j, &v))
				return false;
		} else if (r->s.n_external < MAX_PAIRS) {
			r->s.external[r->s.n_external++] = text;
		}
	}
	return code == 0;
}

static void read_scalar(struct reader *r, const char *key, const struct json_value *v)
{
	const struct {
		const char *key;
		int64_t *ms;
	} times[] = {
		{"activeAt", &r->s.active_ms},
		{"startsAt", &r->s.fired_ms},
		{"endsAt", &r->s.ends_ms},
		{"sentAt", &r->s.sent_ms},
		{"keptSince", &r->s.keep_ms},
	};
	const char *text = text_of(r, v);
	double number;
	int64_t ns;

	for (size_t i = 0; text && i < LT_ARRAY_LEN(times); i++) {
		if (!strcmp(times[i].key, key) && lt_rfc3339_parse(text, strlen(text), &ns))
			*times[i].ms = ns / LT_NS_PER_MS;
	}
	if (text && !strcmp(key, "state"))
		r->s.state = text;
	if (!strcmp(key, "value"))
		text_number(text ? text : v->s, text ? strlen(text) : v->len, &r->s.value);
	if (!strcmp(key, "pausedMs") && v->type == JSON_NUMBER &&
		text_number(v->s, v->len, &number) && number >= 0 && number < 9e15)
		r->s.paused_ms = (int64_t)number;
}

/* The members of one AlertEvent, behind its opening brace. */
static bool read_event(struct reader *r, struct lt_arena *arena)
{
	struct json_value key, v;
	bool first = true;
	const char *name;
	int code;

	memset(&r->s, 0, sizeof(r->s));
	r->s.arena = arena;
	while ((code = json_member(&r->j, &first, &key)) == 1) {
		name = text_of(r, &key);
		if (!json_value(&r->j, &v))
			return false;
		if (name && v.type == JSON_OBJECT &&
			(!strcmp(name, "labels") || !strcmp(name, "annotations") ||
				!strcmp(name, "rule"))) {
			if (!read_map(r, name))
				return false;
		} else if (name && v.type == JSON_ARRAY && !strcmp(name, "externalLabels")) {
			if (!read_external(r))
				return false;
		} else if (v.type == JSON_OBJECT || v.type == JSON_ARRAY || !name) {
			if (!json_skip(&r->j, &v))
				return false;
		} else {
			read_scalar(r, name, &v);
		}
	}
	return code == 0;
}

/* ---- whose it is ---- */

static bool fits(const struct lt_rules *r, const struct rule *rule, const struct lt_labels *l)
{
	for (size_t i = 0; i < rule->pub.n_labels; i++) {
		const struct lt_rule_pair *p = &rule->pub.labels[i];

		if (strcmp(p->name, "alertname") && rule->label_tmpl[i]->constant &&
			strcmp(lt_labels_value(r->pool, l, p->name), p->value))
			return false;
	}
	return true;
}

/* The rule of this name that can have made these labels; where it was, or else where it is now. */
static struct rule *find_rule(
	const struct lt_rules *r, const struct saved *s, const struct lt_labels *l)
{
	struct rule *elsewhere = NULL;

	for (size_t i = 0; i < r->n_groups; i++) {
		const struct group *g = r->groups[i];
		bool same = !strcmp(g->pub.file, s->file) && !strcmp(g->pub.name, s->group);

		for (size_t j = 0; j < g->pub.n_rules; j++) {
			struct rule *rule = (struct rule *)g->pub.rules[j];

			if (rule->pub.kind != LT_RULE_ALERT || strcmp(rule->pub.name, s->name) ||
				!fits(r, rule, l))
				continue;
			if (same)
				return rule;
			if (!elsewhere)
				elsewhere = rule;
		}
	}
	return elsewhere;
}

/* ---- what becomes of it ---- */

static const struct lt_labels *own_labels(struct lt_rules *r, const struct saved *s)
{
	struct lt_label_text own[MAX_PAIRS];
	size_t n = 0;

	for (size_t i = 0; i < s->n_labels; i++) {
		bool external = false;

		for (size_t j = 0; j < s->n_external; j++)
			external |= !strcmp(s->external[j], s->labels[i].name);
		if (!external)
			own[n++] = s->labels[i];
	}
	return lt_labels_intern(r->pool, own, n);
}

static struct alert *make_alert(
	struct lt_rules *r, const struct saved *s, const struct lt_labels *l, struct rule *rule)
{
	struct alert *a = lt_calloc(1, sizeof(*a));
	bool firing = !strcmp(s->state, "firing"), pending = !strcmp(s->state, "pending");

	a->pub = (struct lt_alert){
		.fingerprint = alert_hash(r, l),
		.state = firing    ? LT_ALERT_FIRING
			 : pending ? LT_ALERT_PENDING
				   : LT_ALERT_INACTIVE,
		.labels = l,
		.value = s->value,
		.active_ms = s->active_ms,
		.paused_ms = s->paused_ms,
		.fired_ms = pending ? 0 : s->fired_ms,
		.resolved_ms = firing || pending ? 0 : s->ends_ms,
		.valid_until_ms = firing ? s->ends_ms : 0,
		.sent_ms = s->sent_ms,
		.keep_since_ms = s->keep_ms,
		.rule = rule ? &rule->pub : NULL,
		.rule_file = rule ? rule->pub.group->file : s->file,
		.rule_group = rule ? rule->pub.group->name : s->group,
		.rule_name = rule ? rule->pub.name : s->name,
	};
	a->sent = s->sent_ms > 0;
	a->old_text = true;
	alert_annotate(a, s->annotations, s->n_annotations);
	return a;
}

static bool usable(const struct saved *s)
{
	if (!s->state || !s->name || !s->file || !s->group || s->active_ms <= 0)
		return false;
	if (!strcmp(s->state, "pending"))
		return true;
	if (!strcmp(s->state, "firing"))
		return s->fired_ms > 0;
	return !strcmp(s->state, "resolved") && s->fired_ms > 0 && s->ends_ms > 0;
}

/* Its rule is gone, or it was pending for too long without anybody looking. */
static void end_at_once(struct lt_rules *r, struct alert *a,
	const struct lt_rules_restore_opts *opts, const struct lt_rules_sink *sink)
{
	bool fired = a->pub.state == LT_ALERT_FIRING;

	if (a->pub.state != LT_ALERT_INACTIVE) {
		alert_end(a, opts->t_ms, sink);
		if (fired)
			alert_send(r, a, opts->t_ms, r->opts.interval_ms, sink);
	}
	alert_free(r->pool, a);
}

static bool restore_one(struct lt_rules *r, const struct saved *s,
	const struct lt_rules_restore_opts *opts, const struct lt_rules_sink *sink)
{
	int64_t down = opts->down_ms && opts->t_ms > opts->down_ms ? opts->t_ms - opts->down_ms : 0;
	int64_t tolerance = opts->tolerance_ms ? opts->tolerance_ms : DEFAULT_TOLERANCE_MS;
	const struct lt_labels *l;
	struct rule *rule;
	struct alert *a;

	if (!usable(s))
		return false;
	l = own_labels(r, s);
	rule = find_rule(r, s, l);
	if (rule && alert_set_find(&rule->alerts, l)) {
		lt_labels_put(r->pool, l);
		return false;
	}
	a = make_alert(r, s, l, rule);
	if (!rule || (a->pub.state == LT_ALERT_PENDING && down > tolerance) ||
		(a->pub.state == LT_ALERT_INACTIVE &&
			opts->t_ms - a->pub.resolved_ms > r->opts.resolved_retention_ms)) {
		end_at_once(r, a, opts, sink);
		return false;
	}
	if (a->pub.state == LT_ALERT_PENDING)
		a->pub.paused_ms += down;
	if (a->pub.state != LT_ALERT_INACTIVE)
		a->grace_until_ms = opts->t_ms + opts->grace_ms;
	alert_set_add(&rule->alerts, a);
	if (a->pub.state == LT_ALERT_PENDING)
		rule->pub.n_pending++;
	else if (a->pub.state == LT_ALERT_FIRING)
		rule->pub.n_firing++;
	return true;
}

static bool read_and_restore(struct lt_rules *r, struct reader *rd,
	const struct lt_rules_restore_opts *opts, const struct lt_rules_sink *sink, size_t *n)
{
	lt_arena_reset(&r->scratch);
	if (!read_event(rd, &r->scratch))
		return false;
	*n += restore_one(r, &rd->s, opts, sink);
	return true;
}

static bool restore_all(struct lt_rules *r, struct reader *rd,
	const struct lt_rules_restore_opts *opts, const struct lt_rules_sink *sink, size_t *n)
{
	struct json_value v;
	bool first = true;
	int code;

	if (!json_value(&rd->j, &v))
		return false;
	if (v.type == JSON_OBJECT)
		return read_and_restore(r, rd, opts, sink, n) && json_end(&rd->j);
	if (v.type != JSON_ARRAY)
		return false;
	while ((code = json_item(&rd->j, &first)) == 1) {
		if (!json_value(&rd->j, &v) || v.type != JSON_OBJECT ||
			!read_and_restore(r, rd, opts, sink, n))
			return false;
	}
	return code == 0 && json_end(&rd->j);
}

int lt_rules_restore(struct lt_rules *r, const char *json, size_t len,
	const struct lt_rules_restore_opts *opts, const struct lt_rules_sink *sink, size_t *n,
	struct lt_err *err)
{
	struct reader *rd = lt_calloc(1, sizeof(*rd));
	size_t count = 0;
	int code = LT_OK;

	json_init(&rd->j, json, len);
	if (!restore_all(r, rd, opts, sink, &count))
		code = lt_fail(err, LT_EDATA, LT_CLS_POISON, "rules.restore",
			"not an AlertEvent or a list of them, at byte %zu: %s",
			(size_t)(rd->j.p - rd->j.start),
			rd->j.error ? rd->j.error : "an object is missing");
	if (n)
		*n = count;
	lt_buf_fini(&rd->scratch);
	free(rd);
	return code;
}
