/* SPDX-License-Identifier: MIT */
/* The life of alerts: events, sending, reload, restart. Values and texts: test_rules.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "latido/rules.h"

#define T0 INT64_C(1700000000000)
#define S  INT64_C(1000)

struct fixture {
	struct lt_label_pool *pool;
	struct lt_promql_mem *mem;
	struct lt_rules *rules;
	struct lt_buf log; /* what came out, in order */
	struct lt_rules_sink sink;
	size_t changed;
};

static bool on_append(void *ctx, const struct lt_labels *l, int64_t t_ms, double v)
{
	struct fixture *f = ctx;

	if (lt_promql_is_stale(v)) {
		lt_buf_str(&f->log, "stale ");
		lt_labels_format(f->pool, l, &f->log);
		lt_buf_char(&f->log, '\n');
	}
	return lt_promql_mem_add(f->mem, l, t_ms, v);
}

static void on_event(void *ctx, const struct lt_alert *a, enum lt_alert_event e, int64_t t_ms)
{
	struct fixture *f = ctx;

	lt_buf_printf(&f->log, "%s %s %s +%lld\n", lt_alert_event_name(e), a->rule_name,
		lt_labels_value(f->pool, a->labels, "i"), (long long)((t_ms - T0) / S));
}

static void on_send(void *ctx, const struct lt_alert *a, int64_t t_ms)
{
	struct fixture *f = ctx;

	lt_buf_printf(&f->log, "send %s %s%s +%lld\n", a->rule_name,
		lt_labels_value(f->pool, a->labels, "i"),
		a->state == LT_ALERT_INACTIVE ? " ended" : "", (long long)((t_ms - T0) / S));
	if (a->state == LT_ALERT_FIRING)
		assert_int_equal(a->valid_until_ms, t_ms + 240 * S);
}

static void on_changed(void *ctx, const struct lt_alert *a)
{
	struct fixture *f = ctx;

	assert_int_equal(a->state, LT_ALERT_FIRING);
	f->changed++;
}

static struct lt_rules *load(struct fixture *f, const char *text)
{
	static const struct lt_label_text ext = {"zone", "eu", 4, 2};
	const struct lt_rules_opts opts = {.external_labels = &ext, .n_external_labels = 1};
	struct lt_rules *r = NULL;
	struct lt_buf report = {0};
	struct lt_err err = {0};
	int code = lt_rules_load_text(
		f->pool, &opts, "test.yml", text, strlen(text), &r, &report, &err);

	if (code)
		fail_msg("%s", report.data);
	lt_buf_fini(&report);
	return r;
}

static int setup(void **state)
{
	struct fixture *f = lt_calloc(1, sizeof(*f));

	f->pool = lt_label_pool_new();
	f->mem = lt_promql_mem_new(f->pool);
	f->sink = (struct lt_rules_sink){f, on_append, on_event, on_send, on_changed};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	lt_rules_free(f->rules);
	lt_promql_mem_free(f->mem);
	lt_label_pool_free(f->pool);
	lt_buf_fini(&f->log);
	free(f);
	return 0;
}

static void put(struct fixture *f, const char *name, const char *i, int64_t t, double v)
{
	const struct lt_label_text l[] = {
		{"__name__", name, 8, (uint32_t)strlen(name)}, {"i", i, 1, (uint32_t)strlen(i)}};
	const struct lt_labels *set = lt_labels_intern(f->pool, l, 2);

	assert_true(lt_promql_mem_add(f->mem, set, T0 + t * S, v));
	lt_labels_put(f->pool, set);
}

static void eval(struct fixture *f, int64_t t)
{
	for (size_t i = 0; i < lt_rules_group_count(f->rules); i++)
		assert_int_equal(lt_rules_group_eval(f->rules, lt_rules_group(f->rules, i),
					 T0 + t * S, lt_promql_mem_storage(f->mem), &f->sink),
			0);
}

#define expect(f, text)                                                        \
	do {                                                                   \
		assert_string_equal((f)->log.data ? (f)->log.data : "", text); \
		lt_buf_reset(&(f)->log);                                       \
		lt_buf_str(&(f)->log, "");                                     \
	} while (0)

#define RULE(name, more) "groups: [{name: g, rules: [{alert: " name ", expr: 'x > 5'" more "}]}]\n"

static void life(void **state)
{
	struct fixture *f = *state;

	f->rules = load(f, RULE("A", ", for: 10s"));
	put(f, "x", "1", 0, 9);
	eval(f, 0);
	expect(f, "pending A 1 +0\n");
	eval(f, 9);
	expect(f, "");
	eval(f, 10);
	expect(f, "firing A 1 +10\nsend A 1 +10\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"pending\", i=\"1\"}\n");
	eval(f, 70);
	expect(f, "");
	eval(f, 71); /* the resend delay is over */
	expect(f, "send A 1 +71\n");
	put(f, "x", "1", 80, 1);
	eval(f, 80);
	expect(f, "resolved A 1 +80\nsend A 1 ended +80\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"firing\", i=\"1\"}\n"
		  "stale ALERTS_FOR_STATE{alertname=\"A\", i=\"1\"}\n");
	eval(f, 141); /* resolved ones are sent again, for 15 minutes */
	expect(f, "send A 1 ended +141\n");
	put(f, "x", "1", 150, 9);
	eval(f, 150);
	expect(f, "pending A 1 +150\n");
	put(f, "x", "1", 155, 0);
	eval(f, 155);
	expect(f, "cancelled A 1 +155\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"pending\", i=\"1\"}\n"
		  "stale ALERTS_FOR_STATE{alertname=\"A\", i=\"1\"}\n");
}

static void resolved_is_kept(void **state)
{
	struct fixture *f = *state;

	f->rules = load(f, RULE("A", ""));
	put(f, "x", "1", 0, 9);
	eval(f, 0);
	put(f, "x", "1", 10, 0);
	eval(f, 10);
	lt_buf_reset(&f->log);
	for (int t = 20; t <= 1200; t += 10)
		eval(f, t);
	/* every 70 s: the first evaluation after the delay of 60 */
	assert_string_equal(strrchr(f->log.data, '+'), "+850\n");
}

static void keeps_firing(void **state)
{
	struct fixture *f = *state;

	f->rules = load(f, RULE("A", ", keep_firing_for: 20s"));
	put(f, "x", "1", 0, 9);
	eval(f, 0);
	expect(f, "firing A 1 +0\nsend A 1 +0\n");
	put(f, "x", "1", 10, 0);
	eval(f, 10);
	eval(f, 29);
	put(f, "x", "1", 30, 9);
	eval(f, 30);
	put(f, "x", "1", 40, 0);
	eval(f, 40);
	eval(f, 59);
	expect(f, "");
	eval(f, 60);
	expect(f, "resolved A 1 +60\nsend A 1 ended +60\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"firing\", i=\"1\"}\n"
		  "stale ALERTS_FOR_STATE{alertname=\"A\", i=\"1\"}\n");
}

static void reload(void **state)
{
	struct fixture *f = *state;
	struct lt_rules *fresh;

	f->rules = load(f, "groups:\n"
			   "- {name: g, rules: [{alert: A, expr: 'x > 5', for: 10s},"
			   " {alert: B, expr: 'x > 5'}, {alert: P, expr: x, for: 1h}]}\n"
			   "- {name: gone, rules: [{record: r, expr: x}, {record: s, expr: x}]}\n");
	put(f, "x", "1", 0, 9);
	eval(f, 0);
	lt_buf_reset(&f->log);
	/* A stays with its state though its expression changed; B and P go; s is made elsewhere */
	fresh = load(f, "groups:\n"
			"- {name: g, rules: [{alert: A, expr: 'x > 6', for: 10s}]}\n"
			"- {name: other, rules: [{record: s, expr: x}]}\n");
	lt_rules_adopt(fresh, f->rules, T0 + 5 * S, &f->sink);
	lt_rules_free(f->rules);
	f->rules = fresh;
	expect(f, "resolved B 1 +5\nsend B 1 ended +5\ncancelled P 1 +5\n");
	eval(f, 10);
	expect(f, "firing A 1 +10\nsend A 1 +10\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"pending\", i=\"1\"}\n"
		  "stale ALERTS{alertname=\"B\", alertstate=\"firing\", i=\"1\"}\n"
		  "stale ALERTS_FOR_STATE{alertname=\"B\", i=\"1\"}\n"
		  "stale ALERTS{alertname=\"P\", alertstate=\"pending\", i=\"1\"}\n"
		  "stale ALERTS_FOR_STATE{alertname=\"P\", i=\"1\"}\n"
		  "stale r{i=\"1\"}\n");
}

/* What a new process makes of the states that the old one wrote. */
static void restart(struct fixture *f, const char *rules, int64_t t, int64_t down, int64_t grace)
{
	struct lt_rules_restore_opts opts = {
		.t_ms = T0 + t * S, .down_ms = T0 + down * S, .grace_ms = grace * S};
	struct lt_buf saved = {0};
	struct lt_err err = {0};

	lt_rules_export(f->rules, &saved);
	lt_rules_free(f->rules);
	f->rules = load(f, rules);
	assert_int_equal(
		lt_rules_restore(f->rules, saved.data, saved.len, &opts, &f->sink, NULL, &err),
		LT_OK);
	lt_buf_fini(&saved);
}

/* The clock of a machine that has just started is set: neither is anything held longer, nor ended. */
static void the_clock_is_set(void **state)
{
	struct fixture *f = *state;
	const char *rules = RULE("A", ", keep_firing_for: 50s");

	f->rules = load(f, rules);
	put(f, "x", "1", 0, 9);
	eval(f, 0);
	lt_buf_reset(&f->log);
	put(f, "x", "1", 10, 0);
	restart(f, rules, 7200, 0, 60);
	lt_rules_set_clock(f->rules, -3600 * S, T0 + 3600 * S);
	eval(f, 3659);
	eval(f, 3660); /* here the grace ends */
	eval(f, 3709);
	lt_rules_set_clock(f->rules, 1000 * S, T0 + 4709 * S);
	eval(f, 4709);
	expect(f, "send A 1 +3659\nsend A 1 +4709\n");
	eval(f, 4710);
	expect(f, "resolved A 1 +4710\nsend A 1 ended +4710\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"firing\", i=\"1\"}\n"
		  "stale ALERTS_FOR_STATE{alertname=\"A\", i=\"1\"}\n");
}

/* Neither is the time begun anew for which an alert is kept, nor is it resolved or told again. */
static void kept_over_a_restart(void **state)
{
	struct fixture *f = *state;
	const char *rules = RULE("A", ", keep_firing_for: 50s");

	f->rules = load(f, rules);
	put(f, "x", "1", 0, 9);
	eval(f, 0);
	put(f, "x", "1", 10, 0);
	eval(f, 10);
	lt_buf_reset(&f->log);
	f->changed = 0;
	restart(f, rules, 30, 20, 5);
	eval(f, 30);
	eval(f, 59);
	expect(f, "");
	assert_int_equal(f->changed, 0); /* it was known since when */
	eval(f, 60);
	expect(f, "resolved A 1 +60\nsend A 1 ended +60\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"firing\", i=\"1\"}\n"
		  "stale ALERTS_FOR_STATE{alertname=\"A\", i=\"1\"}\n");
	/* Whoever keeps the states hears of each beginning and end. */
	put(f, "x", "1", 80, 9);
	eval(f, 80);
	assert_int_equal(f->changed, 0);
	put(f, "x", "1", 90, 0);
	eval(f, 90);
	eval(f, 100);
	assert_int_equal(f->changed, 1);
	put(f, "x", "1", 110, 9);
	eval(f, 110);
	eval(f, 120);
	assert_int_equal(f->changed, 2);
}

/* Who takes over drops what it found by itself and goes on with what was told. */
static void forgotten(void **state)
{
	struct lt_rules_restore_opts opts = {.t_ms = T0 + 20 * S, .down_ms = T0 + 20 * S};
	struct fixture *f = *state;
	struct lt_buf saved = {0};
	struct lt_err err = {0};

	f->rules = load(f, RULE("A", ""));
	put(f, "x", "1", 0, 9);
	eval(f, 0);
	lt_rules_export(f->rules, &saved);
	put(f, "x", "2", 5, 9);
	eval(f, 10);
	lt_buf_reset(&f->log);
	lt_rules_forget(f->rules);
	assert_int_equal(lt_rules_group(f->rules, 0)->rules[0]->n_firing, 0);
	assert_int_equal(
		lt_rules_restore(f->rules, saved.data, saved.len, &opts, &f->sink, NULL, &err),
		LT_OK);
	lt_buf_fini(&saved);
	eval(f, 20);
	expect(f, "firing A 2 +20\nsend A 2 +20\n"); /* 1 was told */
}

/* Windows that are not complete end nothing that began before; what begins later ends as always. */
static void held(void **state)
{
	struct fixture *f = *state;
	const struct lt_rule *rule;

	f->rules = load(f, RULE("A", ", for: 10s"));
	put(f, "x", "1", 0, 9);
	put(f, "x", "2", 5, 9);
	eval(f, 0);
	eval(f, 10);
	rule = lt_rules_group(f->rules, 0)->rules[0];
	lt_rules_hold(f->rules, rule, T0 + 11 * S, T0 + 100 * S);
	put(f, "x", "1", 20, 1);
	put(f, "x", "2", 20, 1);
	put(f, "x", "3", 20, 9);
	lt_buf_reset(&f->log);
	eval(f, 20);
	eval(f, 40);
	/* 1 stays firing, 2 pending: it is not seen */
	expect(f, "pending A 3 +20\nfiring A 3 +40\nsend A 3 +40\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"pending\", i=\"3\"}\n");
	put(f, "x", "3", 50, 1);
	eval(f, 50);
	expect(f, "resolved A 3 +50\nsend A 3 ended +50\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"firing\", i=\"3\"}\n"
		  "stale ALERTS_FOR_STATE{alertname=\"A\", i=\"3\"}\n");
	put(f, "x", "1", 60, 9);
	eval(f, 60);
	put(f, "x", "1", 70, 1);
	eval(f, 70);
	expect(f, ""); /* found in between, and held as before */
	lt_rules_hold(f->rules, rule, 0, 0);
	eval(f, 71);
	expect(f, "resolved A 1 +71\ncancelled A 2 +71\nsend A 1 ended +71\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"firing\", i=\"1\"}\n"
		  "stale ALERTS_FOR_STATE{alertname=\"A\", i=\"1\"}\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"pending\", i=\"2\"}\n"
		  "stale ALERTS_FOR_STATE{alertname=\"A\", i=\"2\"}\n");
}

static void restarts(void **state)
{
	struct fixture *f = *state;

	f->rules = load(f, RULE("A", ", for: 10s"));
	put(f, "x", "1", 0, 9);
	eval(f, 0);
	eval(f, 10);
	put(f, "x", "2", 15, 9);
	eval(f, 15);
	lt_buf_reset(&f->log);
	/* 30 s away: the firing one is neither repeated nor resolved while nothing is heard */
	restart(f, RULE("A", ", for: 10s"), 45, 15, 10);
	lt_promql_mem_free(f->mem);
	f->mem = lt_promql_mem_new(f->pool);
	eval(f, 46);
	expect(f, "");
	put(f, "x", "1", 50, 9);
	put(f, "x", "2", 50, 9);
	eval(f, 50);
	expect(f, ""); /* the other one waited 0 s before and 5 s since */
	eval(f, 55);
	expect(f, "firing A 2 +55\nsend A 2 +55\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"pending\", i=\"2\"}\n");
	put(f, "x", "1", 60, 0);
	eval(f, 60);
	lt_buf_reset(&f->log);
	/* the rule is gone: what it said ends */
	restart(f, RULE("B", ""), 70, 60, 0);
	expect(f, "resolved A 2 +70\nsend A 2 ended +70\n");
}

static void restart_too_late(void **state)
{
	struct fixture *f = *state;

	f->rules = load(f, RULE("A", ", for: 2h"));
	put(f, "x", "1", 0, 9);
	eval(f, 0);
	lt_buf_reset(&f->log);
	restart(f, RULE("A", ", for: 2h"), 3601, 0, 0);
	expect(f, "cancelled A 1 +3601\n");
}

static size_t look(struct fixture *f, int64_t t)
{
	return lt_rules_look(f->rules, lt_rules_group(f->rules, 0)->rules[0], T0 + t * S,
		lt_promql_mem_storage(f->mem), &f->sink);
}

static void looks(void **state)
{
	struct fixture *f = *state;

	f->rules = load(f, "groups: [{name: g, limit: 2, rules: [{alert: A, expr: 'x > 5', "
			   "annotations: {v: '{{ $value }}'}}]}]\n");
	put(f, "x", "1", 0, 9);
	eval(f, 1);
	expect(f, "firing A 1 +1\nsend A 1 +1\n");
	/* What is active stays as it is, true or not. */
	put(f, "x", "1", 2, 1);
	assert_int_equal(look(f, 2), 0);
	expect(f, "");
	put(f, "x", "2", 3, 7);
	assert_int_equal(look(f, 3), 1);
	expect(f, "firing A 2 +3\nsend A 2 +3\n");
	assert_int_equal(lt_rules_group(f->rules, 0)->rules[0]->n_firing, 2);
	/* Beyond the group's limit: what that means is said by the evaluation. */
	put(f, "x", "3", 4, 7);
	put(f, "x", "4", 4, 7);
	assert_int_equal(look(f, 4), 0);
	expect(f, "");
	put(f, "x", "3", 5, 1);
	eval(f, 5);
	expect(f, "resolved A 1 +5\nfiring A 4 +5\nsend A 1 ended +5\nsend A 4 +5\n"
		  "stale ALERTS{alertname=\"A\", alertstate=\"firing\", i=\"1\"}\n"
		  "stale ALERTS_FOR_STATE{alertname=\"A\", i=\"1\"}\n");
	/* An alert that lived through an evaluation may begin again. */
	put(f, "x", "2", 6, 1);
	put(f, "x", "4", 6, 1);
	eval(f, 6);
	lt_buf_reset(&f->log);
	put(f, "x", "2", 7, 8);
	assert_int_equal(look(f, 7), 1);
	expect(f, "firing A 2 +7\nsend A 2 +7\n");
}

static void looks_that_cannot_be(void **state)
{
	struct fixture *f = *state;

	f->rules = load(f, "groups: [{name: g, rules: [{alert: A, expr: 'x > 5 or x < 3', "
			   "labels: {i: same}}]}]\n");
	put(f, "x", "1", 0, 9);
	put(f, "x", "2", 0, 9);
	/* Two with the same labels, then an expression that fails: the evaluation says so. */
	assert_int_equal(look(f, 0), 0);
	expect(f, "");
	lt_rules_free(f->rules);
	f->rules = load(f, "groups: [{name: g, rules: [{alert: A, expr: 'x / on() x'}]}]\n");
	assert_int_equal(look(f, 1), 0);
	expect(f, "");
	lt_rules_free(f->rules);
	f->rules = load(f, "groups: [{name: g, rules: [{alert: A, expr: '1'}]}]\n");
	assert_int_equal(look(f, 2), 1);
	assert_int_equal(look(f, 3), 0);
	expect(f, "firing A  +2\nsend A  +2\n");
}

static void texts(void **state)
{
	struct fixture *f = *state;
	struct lt_buf b = {0};

	f->rules = load(f, RULE("A", ", labels: {s: 'a \"b\"'}, annotations: {v: '{{ $value }}'}"));
	put(f, "x", "1", 0, 9);
	eval(f, 0);
	lt_rules_export(f->rules, &b);
	/* the fingerprint is Alertmanager's: FNV-1a over alertname, i, s, zone */
	assert_string_equal(b.data,
		"[{\"fingerprint\":\"8f72c5b7fa4520e1\",\"state\":\"firing\",\"labels\":{"
		"\"alertname\":\"A\",\"i\":\"1\",\"s\":\"a \\\"b\\\"\",\"zone\":\"eu\"},"
		"\"annotations\":{\"v\":\"9\"},\"activeAt\":\"2023-11-14T22:13:20.000Z\","
		"\"startsAt\":\"2023-11-14T22:13:20.000Z\",\"endsAt\":\"2023-11-14T22:17:20.000Z\","
		"\"value\":9,\"rule\":{\"file\":\"test.yml\",\"group\":\"g\",\"name\":\"A\"},"
		"\"expr\":\"x > 5\",\"for\":0,"
		"\"externalLabels\":[\"zone\"],\"sentAt\":\"2023-11-14T22:13:20.000Z\"}]");
	lt_buf_fini(&b);
}

static void bad_states(void **state)
{
	static const char *const texts[] = {"", "{", "[1]", "5", "[{}", "{\"labels\":[}", "[{},]"};
	const struct lt_rules_restore_opts opts = {.t_ms = T0};
	struct fixture *f = *state;
	struct lt_err err = {0};

	f->rules = load(f, RULE("A", ""));
	for (size_t i = 0; i < LT_ARRAY_LEN(texts); i++)
		assert_int_equal(lt_rules_restore(f->rules, texts[i], strlen(texts[i]), &opts, NULL,
					 NULL, &err),
			LT_EDATA);
	assert_int_equal(lt_rules_restore(f->rules, "[{}, {\"state\": \"firing\"}]", 25, &opts,
				 NULL, NULL, &err),
		LT_OK);
}

static void folders(void **state)
{
	struct fixture *f = *state;
	char path[] = "/tmp/latido-rules-XXXXXX", *none;
	const struct lt_rules_opts strict = {0}, lax = {.folders = true};
	const char *globs[2];
	struct lt_buf report = {0};
	struct lt_rules *r;
	struct lt_err err;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "groups: []\n", 11), 11);
	close(fd);
	none = lt_asprintf("%s-none/*.yaml", path);
	path[strlen(path) - 1] = '?';
	globs[0] = none;
	globs[1] = path;
	assert_int_equal(lt_rules_load(f->pool, &lax, globs, 2, &r, &report, &err), LT_OK);
	assert_true(lt_rules_file_count(r) >= 1);
	lt_rules_free(r);
	assert_int_equal(report.len, 0);
	assert_int_equal(lt_rules_load(f->pool, &strict, globs, 2, &r, &report, &err), LT_OK);
	lt_rules_free(r);
	assert_non_null(strstr(report.data, none));
	lt_buf_reset(&report);
	assert_int_equal(lt_rules_load(f->pool, &lax, globs, 1, &r, &report, &err), LT_OK);
	lt_rules_free(r);
	assert_non_null(strstr(report.data, none)); /* there is none at all */
	lt_buf_fini(&report);
	path[strlen(path) - 1] = none[strlen(path) - 1];
	assert_int_equal(unlink(path), 0);
	free(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(life, setup, teardown),
		cmocka_unit_test_setup_teardown(resolved_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_firing, setup, teardown),
		cmocka_unit_test_setup_teardown(kept_over_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(the_clock_is_set, setup, teardown),
		cmocka_unit_test_setup_teardown(reload, setup, teardown),
		cmocka_unit_test_setup_teardown(held, setup, teardown),
		cmocka_unit_test_setup_teardown(forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(restarts, setup, teardown),
		cmocka_unit_test_setup_teardown(restart_too_late, setup, teardown),
		cmocka_unit_test_setup_teardown(looks, setup, teardown),
		cmocka_unit_test_setup_teardown(looks_that_cannot_be, setup, teardown),
		cmocka_unit_test_setup_teardown(texts, setup, teardown),
		cmocka_unit_test_setup_teardown(folders, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_states, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
