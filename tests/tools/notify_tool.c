/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/notify.h"

/*
 * notify_tool alertmanager|webhook URL [key=value...]: one notifier, told what to do on standard input.
 *
 *	alert FINGERPRINT JSON	hand over an alert
 *	post ID JSON		hand over a message
 *	old ID AGE_MS JSON	the same, made AGE_MS ago
 *	clear, info, metrics	as they say
 *	stop MS			stop within MS and leave
 *
 * It writes "done ID OUTCOME" whenever a message has ended.
 */
static const char *const outcomes[] = {"sent", "refused", "expired", "dropped"};

static void on_done(void *ctx, const char *name, const char *id, enum lt_notify_outcome how)
{
	(void)ctx;
	(void)name;
	printf("done %s %s\n", id, outcomes[how]);
	fflush(stdout);
}

static void set_option(struct lt_notify_opts *o, const char *arg)
{
	const char *value = strchr(arg, '=');
	size_t len = value ? (size_t)(value++ - arg) : 0;

	if (len == 6 && !memcmp(arg, "secret", 6)) {
		o->secret = value;
		o->secret_len = strlen(value);
	} else if (len == 5 && !memcmp(arg, "token", 5)) {
		o->bearer_token = value;
	} else if (len == 9 && !memcmp(arg, "queue_max", 9)) {
		o->queue_max = strtoul(value, NULL, 10);
	} else if (len == 7 && !memcmp(arg, "timeout", 7)) {
		o->timeout_ms = strtol(value, NULL, 10);
	} else if (len == 7 && !memcmp(arg, "ca_file", 7)) {
		o->ca_file = value;
	}
}

static void print_metrics(void)
{
	struct lt_buf b = {0};

	lt_stats_render(&b);
	printf("%s# EOF\n", b.data);
	lt_buf_fini(&b);
}

static void obey(struct lt_notifier *n, char *line)
{
	char *word = strtok(line, " "), *key = strtok(NULL, " "), *rest = strtok(NULL, "");
	struct lt_notify_info info;
	int64_t now = lt_wall_ns() / LT_NS_PER_MS;

	if (!strcmp(word, "alert") && rest) {
		lt_notifier_alert(n, strtoull(key, NULL, 16), rest, strlen(rest));
	} else if (!strcmp(word, "post") && rest) {
		lt_notifier_post(n, key, now, "application/json", rest, strlen(rest));
	} else if (!strcmp(word, "old") && rest) {
		now -= strtol(rest, &rest, 10);
		lt_notifier_post(n, key, now, "application/json", rest + 1, strlen(rest + 1));
	} else if (!strcmp(word, "clear")) {
		lt_notifier_clear(n);
		printf("cleared\n");
	} else if (!strcmp(word, "info")) {
		lt_notifier_info(n, &info);
		printf("info %zu %s\n", info.queued, info.failing ? "failing" : "fine");
	} else if (!strcmp(word, "metrics")) {
		print_metrics();
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct lt_notify_opts o = {
		.name = "tool", .retry_base_ms = 20, .retry_cap_ms = 200, .done = on_done};
	struct lt_notifier *n = NULL;
	int64_t stop_ms = 10000;
	struct lt_err err = {0};
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;

	if (argc < 3)
		return 2;
	o.kind = strcmp(argv[1], "webhook") ? LT_NOTIFY_ALERTMANAGER : LT_NOTIFY_WEBHOOK;
	o.url = argv[2];
	for (int i = 3; i < argc; i++)
		set_option(&o, argv[i]);
	if (lt_notifier_start(&o, &n, &err)) {
		printf("error %s\n", err.msg);
		return 1;
	}
	while ((len = getline(&line, &cap, stdin)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "stop ", 5)) {
			stop_ms = strtol(line + 5, NULL, 10);
			break;
		}
		if (*line)
			obey(n, line);
	}
	free(line);
	lt_notifier_stop(n, stop_ms);
	printf("stopped\n");
	return 0;
}
