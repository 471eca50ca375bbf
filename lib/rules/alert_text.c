/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "latido/clock.h"
#include "rules_int.h"

/* Alerts as text: ids, AlertEvent, Alertmanager's element, CloudEvents. */

/* ---- all labels: those of the alert, and external ones where it has none of that name ---- */

struct label_walk {
	const struct lt_rules *r;
	const struct lt_labels *l;
	size_t i, j;
};

static bool next_label(struct label_walk *w, const char **name, const char **value)
{
	const struct tmap *ext = w->r->external_labels;
	bool have = w->i < w->l->n, more = w->j < ext->n;
	const char *own = have ? lt_sym_text(w->r->pool, w->l->pair[w->i].name, NULL) : NULL;
	int c = !have ? 1 : !more ? -1 : strcmp(own, ext->e[w->j].name);

	if (!have && !more)
		return false;
	if (c <= 0) {
		*name = own;
		*value = lt_sym_text(w->r->pool, w->l->pair[w->i].value, NULL);
		w->i++;
		w->j += !c;
	} else {
		*name = ext->e[w->j].name;
		*value = ext->e[w->j].v.s;
		w->j++;
	}
	return true;
}

static uint64_t fnv1a(uint64_t h, const char *s)
{
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * UINT64_C(1099511628211);
	return (h ^ 0xff) * UINT64_C(1099511628211);
}

uint64_t alert_hash(const struct lt_rules *r, const struct lt_labels *l)
{
	struct label_walk w = {.r = r, .l = l};
	uint64_t h = UINT64_C(14695981039346656037);
	const char *name, *value;

	while (next_label(&w, &name, &value))
		h = fnv1a(fnv1a(h, name), value);
	return h;
}

void lt_alert_fingerprint(const struct lt_alert *a, char out[LT_ALERT_FINGERPRINT_LEN])
{
	snprintf(out, LT_ALERT_FINGERPRINT_LEN, "%016llx", (unsigned long long)a->fingerprint);
}

void lt_alert_id(const struct lt_alert *a, enum lt_alert_event e, struct lt_buf *out)
{
	lt_buf_printf(out, "%016llx.%lld.%s", (unsigned long long)a->fingerprint,
		(long long)a->active_ms, lt_alert_event_name(e));
}

/* ---- members ---- */

static void put_str(struct lt_buf *out, const char *s)
{
	lt_buf_json_str(out, s, strlen(s));
}

static void put_time(struct lt_buf *out, const char *key, int64_t ms)
{
	char text[LT_RFC3339_LEN];

	if (!ms)
		return;
	lt_rfc3339_format(ms * LT_NS_PER_MS, 3, text);
	lt_buf_printf(out, ",\"%s\":\"%s\"", key, text);
}

static void put_labels(const struct lt_rules *r, const struct lt_alert *a, struct lt_buf *out)
{
	struct label_walk w = {.r = r, .l = a->labels};
	const char *name, *value;
	bool first = true;

	lt_buf_str(out, "\"labels\":{");
	while (next_label(&w, &name, &value)) {
		if (!first)
			lt_buf_char(out, ',');
		first = false;
		put_str(out, name);
		lt_buf_char(out, ':');
		put_str(out, value);
	}
	lt_buf_str(out, "},\"annotations\":{");
	for (size_t i = 0; i < a->n_annotations; i++) {
		if (i)
			lt_buf_char(out, ',');
		put_str(out, a->annotations[i].name);
		lt_buf_char(out, ':');
		put_str(out, a->annotations[i].value);
	}
	lt_buf_char(out, '}');
}

/* Names of the labels that are not the alert's own. */
static void put_external(const struct lt_rules *r, const struct lt_alert *a, struct lt_buf *out)
{
	const struct tmap *ext = r->external_labels;
	bool any = false;

	for (size_t i = 0; i < ext->n; i++) {
		if (*lt_labels_value(r->pool, a->labels, ext->e[i].name))
			continue;
		lt_buf_str(out, any ? "," : ",\"externalLabels\":[");
		put_str(out, ext->e[i].name);
		any = true;
	}
	if (any)
		lt_buf_char(out, ']');
}

static void put_ends(const struct lt_alert *a, struct lt_buf *out)
{
	put_time(out, "startsAt", a->fired_ms);
	if (a->state == LT_ALERT_INACTIVE)
		put_time(out, "endsAt", a->resolved_ms);
	else if (a->state == LT_ALERT_FIRING)
		put_time(out, "endsAt", a->valid_until_ms);
}

/* The page of the live view that shows this alert. */
static void put_url(const struct lt_rules *r, const struct lt_alert *a, struct lt_buf *out)
{
	struct lt_buf url = {0};
	size_t len = strlen(r->opts.external_url);

	if (!len)
		return;
	while (len && r->opts.external_url[len - 1] == '/')
		len--;
	lt_buf_printf(&url, "%.*s/alerts/%016llx", (int)len, r->opts.external_url,
		(unsigned long long)a->fingerprint);
	lt_buf_str(out, ",\"generatorURL\":");
	lt_buf_json_str(out, url.data, url.len);
	lt_buf_fini(&url);
}

static void put_number(struct lt_buf *out, double v)
{
	if (isfinite(v)) {
		lt_buf_double(out, v);
		return;
	}
	lt_buf_char(out, '"');
	lt_buf_double(out, v);
	lt_buf_char(out, '"');
}

static const char *state_name(const struct lt_alert *a)
{
	static const char *const names[] = {"resolved", "pending", "firing"};

	return names[a->state];
}

/* What the rule asks for, and for how many seconds; nothing of a rule that is gone. */
static void put_condition(const struct lt_rule *rule, struct lt_buf *out)
{
	if (!rule)
		return;
	lt_buf_str(out, ",\"expr\":");
	put_str(out, rule->expr_text);
	lt_buf_str(out, ",\"for\":");
	lt_buf_double(out, (double)rule->for_ms / 1000);
	if (rule->keep_firing_ms) {
		lt_buf_str(out, ",\"keepFiringFor\":");
		lt_buf_double(out, (double)rule->keep_firing_ms / 1000);
	}
}

static void put_event(
	const struct lt_rules *r, const struct lt_alert *a, const char *state, struct lt_buf *out)
{
	const char *source = lt_labels_value(r->pool, a->labels, "instance");

	lt_buf_printf(out, "{\"fingerprint\":\"%016llx\",\"state\":\"%s\",",
		(unsigned long long)a->fingerprint, state);
	put_labels(r, a, out);
	put_time(out, "activeAt", a->active_ms);
	put_ends(a, out);
	lt_buf_str(out, ",\"value\":");
	put_number(out, a->value);
	put_url(r, a, out);
	lt_buf_str(out, ",\"rule\":{\"file\":");
	put_str(out, a->rule_file);
	lt_buf_str(out, ",\"group\":");
	put_str(out, a->rule_group);
	lt_buf_str(out, ",\"name\":");
	put_str(out, a->rule_name);
	lt_buf_char(out, '}');
	put_condition(a->rule, out);
	if (*source) {
		lt_buf_str(out, ",\"source\":");
		put_str(out, source);
	}
	put_external(r, a, out);
	if (a->paused_ms)
		lt_buf_printf(out, ",\"pausedMs\":%lld", (long long)a->paused_ms);
	put_time(out, "sentAt", a->sent_ms);
	put_time(out, "keptSince", a->keep_since_ms);
	lt_buf_char(out, '}');
}

void lt_alert_json(const struct lt_rules *r, const struct lt_alert *a, struct lt_buf *out)
{
	put_event(r, a, state_name(a), out);
}

void lt_alert_am_json(const struct lt_rules *r, const struct lt_alert *a, struct lt_buf *out)
{
	lt_buf_char(out, '{');
	put_labels(r, a, out);
	put_ends(a, out);
	put_url(r, a, out);
	lt_buf_char(out, '}');
}

void lt_alert_cloudevent(const struct lt_rules *r, const struct lt_alert *a, enum lt_alert_event e,
	int64_t t_ms, struct lt_buf *out)
{
	const char *source = lt_labels_value(r->pool, a->labels, "instance");
	struct lt_buf text = {0};

	lt_buf_str(out, "{\"specversion\":\"1.0\",\"id\":\"");
	lt_alert_id(a, e, out);
	lt_buf_str(&text, "/latido/alert/");
	tmpl_query_escape(&text, a->rule_group, strlen(a->rule_group));
	lt_buf_str(out, "\",\"source\":");
	lt_buf_json_str(out, text.data, text.len);
	lt_buf_fini(&text);
	lt_buf_printf(out, ",\"type\":\"latido.alert.%s.v1\"", lt_alert_event_name(e));
	if (*source) {
		lt_buf_str(out, ",\"subject\":");
		put_str(out, source);
	}
	put_time(out, "time", t_ms);
	lt_buf_str(out, ",\"datacontenttype\":\"application/json\",\"data\":");
	put_event(r, a, lt_alert_event_name(e), out);
	lt_buf_char(out, '}');
}

void lt_rules_export(const struct lt_rules *r, struct lt_buf *out)
{
	bool first = true;

	lt_buf_char(out, '[');
	for (size_t i = 0; i < r->n_groups; i++) {
		for (size_t j = 0; j < r->groups[i]->pub.n_rules; j++) {
			const struct rule *rule = (const struct rule *)r->groups[i]->pub.rules[j];

			for (const struct alert *a = rule->alerts.first; a; a = a->next) {
				if (!first)
					lt_buf_str(out, ",\n");
				first = false;
				lt_alert_json(r, &a->pub, out);
			}
		}
	}
	lt_buf_char(out, ']');
}
