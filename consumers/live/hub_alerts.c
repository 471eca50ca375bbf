/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "../../lib/event/json_read.h"
#include "hub.h"
#include "latido/log.h"

#define ALERT_MAX  65536
#define ALERTS_MAX 10000

/* One JSON object on one line: white space between its tokens may hold line feeds, strings not. */
static char *one_object(const char *text, size_t size)
{
	struct json_value v;
	struct json j;
	char *copy;

	if (size > ALERT_MAX)
		return NULL;
	json_init(&j, text, size);
	if (!json_value(&j, &v) || v.type != JSON_OBJECT || !json_skip(&j, &v) || !json_end(&j))
		return NULL;
	copy = lt_strndup(text, size);
	for (char *p = copy; *p; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	return copy;
}

static struct hub_alert *find(struct hub *h, const char *fingerprint)
{
	for (size_t i = 0; i < h->n_alerts; i++)
		if (!strcmp(h->alerts[i].fingerprint, fingerprint))
			return &h->alerts[i];
	return NULL;
}

static void tell(struct hub *h, const char *json)
{
	struct lt_buf data = {0};

	lt_buf_str(&data, json);
	hub_tell(h, "alert", &data);
	lt_buf_fini(&data);
}

static void take_one(struct hub *h, const char *fingerprint, const char *text)
{
	static struct lt_complaint bad;
	struct hub_alert *a;
	char *json = NULL;

	if (strlen(fingerprint) == 16 && strspn(fingerprint, "0123456789abcdef") == 16)
		json = one_object(text, strlen(text));
	if (!json) {
		lt_complain(&bad, LT_WARN, "bad_alert", LT_S("fingerprint", fingerprint));
		return;
	}
	a = find(h, fingerprint);
	if (!a) {
		if (h->n_alerts == ALERTS_MAX) {
			free(json);
			return;
		}
		h->alerts = lt_realloc(h->alerts, (h->n_alerts + 1) * sizeof(*h->alerts));
		a = &h->alerts[h->n_alerts++];
		*a = (struct hub_alert){.json = lt_strdup("")};
		memcpy(a->fingerprint, fingerprint, sizeof(a->fingerprint));
	}
	a->seen = true;
	if (!strcmp(a->json, json)) {
		free(json);
		return;
	}
	free(a->json);
	a->json = json;
	tell(h, json);
}

/* Those that are not in the hash any more. */
static void drop_gone(struct hub *h)
{
	size_t kept = 0;

	for (size_t i = 0; i < h->n_alerts; i++) {
		struct hub_alert *a = &h->alerts[i];

		if (a->seen) {
			h->alerts[kept++] = *a;
		} else {
			struct lt_buf data = {0};

			lt_buf_printf(
				&data, "{\"fingerprint\":\"%s\",\"gone\":true}", a->fingerprint);
			hub_tell(h, "alert", &data);
			lt_buf_fini(&data);
			free(a->json);
		}
	}
	h->n_alerts = kept;
}

void hub_take_alerts(struct hub *h, const char *pairs, size_t size)
{
	const char *end = pairs + size;

	for (size_t i = 0; i < h->n_alerts; i++)
		h->alerts[i].seen = false;
	for (const char *p = pairs; p < end;) {
		const char *text = p + strlen(p) + 1;

		if (text >= end)
			break;
		take_one(h, p, text);
		p = text + strlen(text) + 1;
	}
	drop_gone(h);
}

void hub_free_alerts(struct hub *h)
{
	for (size_t i = 0; i < h->n_alerts; i++)
		free(h->alerts[i].json);
	free(h->alerts);
	h->alerts = NULL;
	h->n_alerts = 0;
}
