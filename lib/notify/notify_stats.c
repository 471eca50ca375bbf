/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <string.h>

#include "notify_int.h"

#define MAX_NOTIFIERS 64

/* One table for all, so that each metric stands once with all its notifiers. */
static const struct {
	const char *name, *help;
	enum lt_stat_type type;
	size_t offset;
} metrics[] = {
	{"latido_notify_queue_messages", "Messages that wait or are under way.", LT_STAT_GAUGE,
		offsetof(struct notify_stats, queued)},
	{"latido_notify_queue_bytes", "Bytes of the messages that wait.", LT_STAT_GAUGE,
		offsetof(struct notify_stats, queued_bytes)},
	{"latido_notify_queue_capacity", "Messages that the queue can hold.", LT_STAT_GAUGE,
		offsetof(struct notify_stats, capacity)},
	{"latido_notify_sent_total", "Alerts or messages that were taken by the receiver.",
		LT_STAT_COUNTER, offsetof(struct notify_stats, sent)},
	{"latido_notify_failed_total", "Requests that failed and are repeated.", LT_STAT_COUNTER,
		offsetof(struct notify_stats, failed)},
	{"latido_notify_refused_total", "Alerts or messages that the receiver refused for good.",
		LT_STAT_COUNTER, offsetof(struct notify_stats, refused)},
	{"latido_notify_expired_total", "Messages given up because of their age.", LT_STAT_COUNTER,
		offsetof(struct notify_stats, expired)},
	{"latido_notify_dropped_total", "Alerts or messages dropped from a full queue.",
		LT_STAT_COUNTER, offsetof(struct notify_stats, dropped)},
	{"latido_notify_request_seconds", "Duration of requests, answered or not.", LT_STAT_HIST,
		offsetof(struct notify_stats, seconds)},
};

static struct notify_stats *known[MAX_NOTIFIERS];
static size_t n_known;
static struct lt_stat table[MAX_NOTIFIERS * LT_ARRAY_LEN(metrics)];

static void rebuild(void)
{
	size_t row = 0;

	for (size_t m = 0; m < LT_ARRAY_LEN(metrics); m++) {
		for (size_t i = 0; i < n_known; i++) {
			table[row++] = (struct lt_stat){
				.name = metrics[m].name,
				.type = metrics[m].type,
				.labels = known[i]->labels,
				.help = metrics[m].help,
				.p = (char *)known[i] + metrics[m].offset,
			};
		}
	}
	lt_stats_add(table, row);
}

struct notify_stats *notify_stats_get(const char *name)
{
	struct notify_stats *s = NULL;

	for (size_t i = 0; i < n_known && !s; i++) {
		if (!strcmp(known[i]->name, name))
			s = known[i];
	}
	if (!s) {
		if (n_known == MAX_NOTIFIERS)
			return NULL;
		s = lt_calloc(1, sizeof(*s));
		s->name = lt_strdup(name);
		s->labels = lt_asprintf("notifier=\"%s\"", name);
		known[n_known++] = s;
	}
	rebuild();
	return s;
}
