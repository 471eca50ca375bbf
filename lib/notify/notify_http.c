/* SPDX-License-Identifier: MIT */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/daemon.h"
#include "notify_int.h"

#define ANSWER_MAX 200 /* bytes of an answer that are kept, for the log */

struct http {
	const struct lt_notifier *n;
	CURL *curl;
	char error[CURL_ERROR_SIZE];
	char answer[ANSWER_MAX + 1];
	size_t answer_len;
	char *agent;
};

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void init_once(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, global_init);
}

int http_check(const char *url, struct lt_err *err)
{
	char *scheme = NULL, *host = NULL;
	CURLU *u;
	bool good;

	init_once();
	u = curl_url();
	good = !curl_url_set(u, CURLUPART_URL, url, 0) &&
	       !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
	       !curl_url_get(u, CURLUPART_HOST, &host, 0) && *host &&
	       (!strcmp(scheme, "http") || !strcmp(scheme, "https"));
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(u);
	if (good)
		return LT_OK;
	return lt_fail(
		err, LT_ECONF, LT_CLS_CONFIG, "notify", "not a URL like https://host:port/path");
}

static size_t on_answer(char *data, size_t size, size_t n, void *arg)
{
	struct http *h = arg;
	size_t len = size * n, take = ANSWER_MAX - h->answer_len;

	if (take > len)
		take = len;
	memcpy(h->answer + h->answer_len, data, take);
	h->answer_len += take;
	h->answer[h->answer_len] = '\0';
	return len;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct http *h = arg;

	(void)a;
	(void)b;
	(void)c;
	(void)d;
	return atomic_load(&h->n->abort) ? 1 : 0;
}

struct http *http_open(const struct lt_notifier *n)
{
	struct http *h = lt_calloc(1, sizeof(*h));
	CURL *c;

	init_once();
	h->n = n;
	h->agent = lt_asprintf("latido-alert/%s", lt_daemon_version());
	h->agent[strcspn(h->agent, " ")] = '\0';
	h->curl = c = curl_easy_init();
	if (!c)
		return h;
	curl_easy_setopt(c, CURLOPT_URL, n->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)n->o.timeout_ms);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)n->o.timeout_ms);
	curl_easy_setopt(c, CURLOPT_USERAGENT, h->agent);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->error);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_answer);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, h);
	if (n->o.ca_file)
		curl_easy_setopt(c, CURLOPT_CAINFO, n->o.ca_file);
	if (n->o.bearer_token) {
		curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, n->o.bearer_token);
	}
	return h;
}

void http_close(struct http *h)
{
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	free(h->agent);
	free(h);
}

static struct curl_slist *add(struct curl_slist *l, const char *name, const char *value)
{
	char *text = lt_asprintf("%s:%s%s", name, *value ? " " : "", value);
	struct curl_slist *grown = curl_slist_append(l, text);

	free(text);
	return grown ? grown : l;
}

static struct curl_slist *headers(const struct http *h, const char *content_type, const char *id,
	const char *body, size_t len)
{
	const struct lt_notify_opts *o = &h->n->o;
	struct curl_slist *l = add(NULL, "Content-Type", content_type);
	char mac[65], text[128];
	int64_t now_s;

	/* no "Expect: 100-continue" and its second of waiting */
	l = add(l, "Expect", "");
	if (id)
		l = add(l, "Idempotency-Key", id);
	if (o->secret) {
		now_s = lt_wall_ns() / LT_NS_PER_S;
		lt_notify_sign(o->secret, o->secret_len, now_s, body, len, mac);
		snprintf(text, sizeof(text), "t=%lld,v1=%s", (long long)now_s, mac);
		l = add(l, "Latido-Signature", text);
	}
	return l;
}

static enum http_outcome judge(long status)
{
	if (status >= 200 && status < 300)
		return HTTP_SENT;
	if (status == 408 || status == 425 || status == 429 || status >= 500)
		return HTTP_RETRY;
	return HTTP_REFUSED;
}

/* One line of printable text of what the server said. */
static void put_why(const struct http *h, long status, struct http_answer *a)
{
	size_t n = (size_t)snprintf(
		a->why, sizeof(a->why), "HTTP %ld%s", status, h->answer_len ? ": " : "");

	for (size_t i = 0; i < h->answer_len && n + 1 < sizeof(a->why); i++) {
		unsigned char c = (unsigned char)h->answer[i];

		a->why[n++] = c >= 0x20 && c != 0x7f ? (char)c : ' ';
	}
	a->why[n] = '\0';
}

void http_post(struct http *h, const char *content_type, const char *id, const char *body,
	size_t len, struct http_answer *a)
{
	struct curl_slist *l;
	long status = 0;
	curl_off_t wait_s = 0;
	CURLcode code;

	*a = (struct http_answer){.outcome = HTTP_RETRY};
	if (!h->curl) {
		snprintf(a->why, sizeof(a->why), "libcurl cannot be used");
		return;
	}
	l = headers(h, content_type, id, body, len);
	h->error[0] = '\0';
	h->answer_len = 0;
	curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, l);
	curl_easy_setopt(h->curl, CURLOPT_POST, 1L);
	curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
	code = curl_easy_perform(h->curl);
	if (code) {
		snprintf(a->why, sizeof(a->why), "%s",
			*h->error ? h->error : curl_easy_strerror(code));
	} else {
		curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
		a->outcome = judge(status);
		if (a->outcome != HTTP_SENT)
			put_why(h, status, a);
		if (a->outcome == HTTP_RETRY &&
			!curl_easy_getinfo(h->curl, CURLINFO_RETRY_AFTER, &wait_s) && wait_s > 0)
			a->retry_ms = wait_s > 3600 ? 3600000 : (int64_t)wait_s * 1000;
	}
	curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(l);
}
