/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../lib/event/json_read.h"
#include "latido/clock.h"
#include "latido/log.h"
#include "latido/stats.h"
#include "live.h"

/* Of one address, and of one user, five times as many failures as of both together. */
#define WIDER       5
/* Of one address, so many times as many openings of share links: an office behind one address. */
#define WIDER_SHARE 20

struct login_job {
	struct job job;
	struct live *live;
	struct http_req *req; /* NULL: the client is gone */
	char user[USER_NAME_MAX + 1];
	char password[PASSWORD_MAX + 1];
	size_t password_len;
	char hash[USER_HASH_MAX]; /* "": no such user */
	char keys[3][200];        /* of the limiter */
	bool ok;
};

/* ---- who asks ---- */

static const char *cookie_name(bool secure)
{
	/* The prefix binds it to this host, whole path, TLS (RFC 6265bis, 4.1.3.2). */
	return secure ? "__Host-latido_session" : "latido_session";
}

/* Who began this session, as long as he may: NULL when he was removed or changed his password. */
static const struct user *user_of(const struct live *l, const struct session *x)
{
	const struct user *u =
		users_find(&l->users, x->share ? USER_SHARE : USER_PASSWORD, x->user);

	return u && session_tag_matches(x, u->hash) && !user_ended(u) ? u : NULL;
}

/* @user: who began it; looked up once, because a link may end between two looks. */
static struct session *find_session(struct live *l, struct http_req *req, const struct user **user)
{
	const char *header = http_header(&req->head, "cookie");
	char value[SESSION_COOKIE_LEN + 8];
	struct session *x;

	if (!header || !http_cookie(header, cookie_name(req->secure), value, sizeof(value)))
		return NULL;
	x = session_find(&l->sessions, value);
	if (!x)
		return NULL;
	*user = user_of(l, x);
	return *user ? x : NULL;
}

/* Names a token for its streams; sessions have small numbers. */
static uint64_t token_login(const struct user *u)
{
	char text[16];

	memcpy(text, u->hash, 15);
	text[15] = '\0';
	return strtoull(text, NULL, 16) | UINT64_C(1) << 63;
}

bool login_caller(struct live *l, struct http_req *req, struct caller *out)
{
	const char *header = http_header(&req->head, "authorization");
	const struct user *u;
	struct session *x;

	memset(out, 0, sizeof(*out));
	if (l->conf->live.auth == LT_LIVE_NONE) {
		out->user = "";
		return true;
	}
	users_refresh(&l->users, false, NULL);
	if (header) {
		if (strncasecmp(header, "Bearer ", 7))
			return false;
		u = users_token(&l->users, USER_TOKEN, header + 7 + strspn(header + 7, " "));
		if (!u)
			return false;
		snprintf(req->user, sizeof(req->user), "%s", u->name);
		out->user = req->user;
		out->login = token_login(u);
		return true;
	}
	x = find_session(l, req, &u);
	if (!x)
		return false;
	snprintf(req->user, sizeof(req->user), "%s", x->user);
	out->user = req->user;
	out->session = out->login = x->id;
	out->read_only = x->share;
	out->until_ms = u->until_ms;
	return true;
}

static bool still_in(void *arg, uint64_t login)
{
	struct live *l = arg;
	struct session *x;

	if (!(login >> 63)) {
		x = session_find_id(&l->sessions, login);
		if (x)
			session_used(&l->sessions, x); /* an open stream is use */
		return x;
	}
	for (size_t i = 0; i < l->users.n; i++)
		if (l->users.list[i].kind == USER_TOKEN && token_login(&l->users.list[i]) == login)
			return true;
	return false;
}

void login_enforce(struct live *l)
{
	if (l->conf->live.auth == LT_LIVE_NONE)
		return;
	l->users_enforced = l->users.generation;
	for (size_t i = 0; i < l->sessions.n;)
		if (user_of(l, &l->sessions.list[i]))
			i++;
		else
			session_end(&l->sessions, &l->sessions.list[i]);
	streams_check(l->streams, still_in, l);
}

bool login_origin_ok(struct live *l, struct http_req *req)
{
	const char *origin = http_header(&req->head, "origin");
	const char *site = http_header(&req->head, "sec-fetch-site");
	const struct lt_conf_list *more = &l->conf->live.origins;
	char own[300];

	if (site && !strcmp(site, "cross-site") && !origin)
		return false;
	if (!origin)
		return true;
	snprintf(own, sizeof(own), "%s://%s", req->secure ? "https" : "http", req->head.host);
	if (!strcasecmp(origin, own))
		return true;
	for (size_t i = 0; i < more->n; i++)
		if (!strcasecmp(origin, more->items[i]))
			return true;
	return false;
}

/*
 * A page of another site could make its own name point to 127.0.0.1 (DNS rebinding) and would then
 * be of the same origin; but its name stands in Host.
 */
bool login_host_ok(struct live *l, struct http_req *req)
{
	const char *host = req->head.host;
	size_t n;

	if (l->conf->live.auth != LT_LIVE_NONE)
		return true;
	n = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
	if ((n == 9 && !strncasecmp(host, "localhost", 9)) ||
		(n == 5 && !strncmp(host, "[::1]", 5)))
		return true;
	if (n < 16 && !strncmp(host, "127.", 4)) {
		char text[16];
		struct in_addr a;

		memcpy(text, host, n);
		text[n] = '\0';
		if (inet_pton(AF_INET, text, &a) == 1)
			return true;
	}
	for (size_t i = 0; i < l->conf->live.origins.n; i++) {
		const char *allowed = strstr(l->conf->live.origins.items[i], "://");

		if (allowed && !strcasecmp(allowed + 3, host))
			return true;
	}
	return false;
}

/* ---- answers ---- */

static void put_session(struct live *l, struct lt_buf *b, const struct caller *who)
{
	const char *user = who->user;
	bool none = l->conf->live.auth == LT_LIVE_NONE;

	lt_buf_printf(b, "{\"auth\":\"%s\",\"user\":", none ? "none" : "password");
	if (user && *user)
		lt_buf_json_str(b, user, strlen(user));
	else
		lt_buf_str(b, "null");
	lt_buf_str(b, ",\"title\":");
	lt_buf_json_str(b, l->conf->live.title, strlen(l->conf->live.title));
	if (who->read_only)
		lt_buf_str(b, ",\"read_only\":true");
	if (user && *user)
		lt_buf_printf(b, ",\"expires_ms\":%" PRId64,
			who->read_only
				? who->until_ms
				: lt_wall_ns() / LT_NS_PER_MS + l->conf->live.session_expire_ms);
	lt_buf_str(b, "}\n");
}

static const struct caller nobody;

/* @cookie: NULL: as it is; "": is taken away. */
static void reply_session(
	struct live *l, struct http_req *req, const struct caller *who, const char *cookie)
{
	struct http_reply r = {.status = 200, .type = "application/json"};
	struct lt_buf body = {0};
	int64_t age_ms = l->conf->live.session_expire_ms;
	char header[256] = "";

	if (who->read_only)
		age_ms = who->until_ms - lt_wall_ns() / LT_NS_PER_MS;
	put_session(l, &body, who);
	if (cookie) {
		snprintf(header, sizeof(header),
			"Set-Cookie: %s=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%" PRId64
			"%s\r\n",
			cookie_name(req->secure), cookie, *cookie ? age_ms / 1000 : INT64_C(0),
			req->secure ? "; Secure" : "");
		r.headers = header;
	}
	r.data = body.data;
	r.size = body.len;
	http_reply(req, &r);
	lt_buf_fini(&body);
	sodium_memzero(header, sizeof(header));
}

void login_get_session(struct live *l, struct http_req *req, const struct caller *who)
{
	reply_session(l, req, who, NULL);
}

void login_logout(struct live *l, struct http_req *req, const struct caller *who)
{
	for (size_t i = 0; i < l->sessions.n; i++) {
		if (!who->session || l->sessions.list[i].id != who->session)
			continue;
		streams_end_login(l->streams, who->session);
		session_end(&l->sessions, &l->sessions.list[i]);
		sessions_save(&l->sessions);
		break;
	}
	reply_session(l, req, &nobody, "");
}

/* ---- logging in ---- */

static bool take_text(
	struct json *j, const struct json_value *v, char *out, size_t size, size_t *len)
{
	struct lt_buf scratch = {0};
	const char *s;
	size_t n;
	bool ok;

	(void)j;
	if (v->type != JSON_STRING)
		return false;
	s = json_text(v, &scratch, &n);
	ok = n < size && !memchr(s, '\0', n);
	if (ok) {
		memcpy(out, s, n);
		out[n] = '\0';
		*len = n;
	}
	if (scratch.data)
		sodium_memzero(scratch.data, scratch.cap);
	lt_buf_fini(&scratch);
	return ok;
}

/* {"user": "...", "password": "..."} */
static bool parse_body(const struct http_req *req, struct login_job *j)
{
	struct json_value key, v;
	bool first = true, user = false, password = false;
	struct json text;
	size_t len;
	int rc;

	json_init(&text, req->body, req->body_size);
	if (!json_value(&text, &v) || v.type != JSON_OBJECT)
		return false;
	while ((rc = json_member(&text, &first, &key)) == 1) {
		if (!json_value(&text, &v))
			return false;
		if (key.len == 4 && !memcmp(key.s, "user", 4)) {
			if (user || !take_text(&text, &v, j->user, sizeof(j->user), &len))
				return false;
			user = true;
		} else if (key.len == 8 && !memcmp(key.s, "password", 8)) {
			if (password || !take_text(&text, &v, j->password, sizeof(j->password),
						&j->password_len))
				return false;
			password = true;
		} else if (!json_skip(&text, &v)) {
			return false;
		}
	}
	return rc == 0 && json_end(&text) && user && password;
}

static void run(struct job *job, struct worker *w)
{
	struct login_job *j = (struct login_job *)job;

	(void)w;
	j->ok = user_verify(*j->hash ? j->hash : NULL, j->password, j->password_len);
	sodium_memzero(j->password, sizeof(j->password));
}

static void done(struct job *job)
{
	struct login_job *j = (struct login_job *)job;
	struct live *l = j->live;
	char cookie[SESSION_COOKIE_LEN];

	if (j->ok)
		for (size_t i = 0; i < 3; i++)
			limiter_forget_one(l->limiter, j->keys[i]);
	if (j->req) {
		j->req->on_gone = NULL;
		if (j->ok) {
			const struct caller who = {.user = j->user};

			session_new(&l->sessions, j->user, j->hash, false, cookie);
			sessions_save(&l->sessions);
			lt_log(LT_INFO, "login", LT_S("user", j->user), LT_S("from", j->req->peer));
			reply_session(l, j->req, &who, cookie);
			sodium_memzero(cookie, sizeof(cookie));
		} else {
			lt_log(LT_WARN, "login_failed",
				LT_S("user", *j->hash ? j->user : "(unknown)"),
				LT_S("from", j->req->peer));
			http_reply_error(j->req, 401, 0, "user or password is wrong");
		}
	}
	sodium_memzero(j, sizeof(*j));
	free(j);
}

static void gone(void *arg)
{
	((struct login_job *)arg)->req = NULL;
}

static bool is_json(const char *type)
{
	return type && !strncasecmp(type, "application/json", 16) &&
	       (!type[16] || type[16] == ';' || type[16] == ' ');
}

/* Failures count before the check, or a hundred tries at once would all get through. */
static int limit(struct live *l, struct login_job *j)
{
	const unsigned n = (unsigned)l->conf->live.login_attempts;
	int wait = 0;

	snprintf(j->keys[0], sizeof(j->keys[0]), "both %s %s", j->req->peer, j->user);
	snprintf(j->keys[1], sizeof(j->keys[1]), "from %s", j->req->peer);
	snprintf(j->keys[2], sizeof(j->keys[2]), "user %s", j->user);
	for (size_t i = 0; i < 3; i++) {
		int w = limiter_wait_s(l->limiter, j->keys[i], i ? n * WIDER : n);

		wait = w > wait ? w : wait;
	}
	if (!wait)
		for (size_t i = 0; i < 3; i++)
			limiter_failed(l->limiter, j->keys[i]);
	return wait;
}

void login_post(struct live *l, struct http_req *req, const struct caller *who)
{
	struct login_job *j;
	const struct user *u;
	int wait;

	(void)who;
	if (l->conf->live.auth == LT_LIVE_NONE) {
		reply_session(l, req, &nobody, NULL);
		return;
	}
	/* A form of another site can send no JSON, and a script of one only with its Origin. */
	if (!is_json(http_header(&req->head, "content-type"))) {
		http_reply_error(req, 415, 0, "expected Content-Type: application/json");
		return;
	}
	j = lt_calloc(1, sizeof(*j));
	j->live = l;
	j->req = req;
	if (!parse_body(req, j) || !user_name_valid(j->user)) {
		sodium_memzero(j, sizeof(*j));
		free(j);
		http_reply_error(req, 400, 0, "expected {\"user\": ..., \"password\": ...}");
		return;
	}
	wait = limit(l, j);
	if (wait) {
		lt_log(LT_WARN, "login_limited", LT_S("from", req->peer));
		sodium_memzero(j, sizeof(*j));
		free(j);
		http_reply_error(req, 429, wait, "too many failed logins; try again in %d s", wait);
		return;
	}
	users_refresh(&l->users, true, NULL);
	u = users_find(&l->users, USER_PASSWORD, j->user);
	if (u)
		snprintf(j->hash, sizeof(j->hash), "%s", u->hash);
	j->job.run = run;
	j->job.done = done;
	req->on_gone = gone;
	req->gone_arg = j;
	if (!workers_submit(l->hashing, &j->job)) {
		req->on_gone = NULL;
		sodium_memzero(j, sizeof(*j));
		free(j);
		http_reply_error(req, 503, 2, "too many logins at once; try again");
	}
}

/* ---- share links ---- */

/* {"token": "..."} */
static bool parse_token(const struct http_req *req, char token[TOKEN_TEXT_MAX])
{
	struct json_value key, v;
	bool first = true, found = false;
	struct json text;
	size_t len;
	int rc;

	json_init(&text, req->body, req->body_size);
	if (!json_value(&text, &v) || v.type != JSON_OBJECT)
		return false;
	while ((rc = json_member(&text, &first, &key)) == 1) {
		if (!json_value(&text, &v))
			return false;
		if (key.len == 5 && !memcmp(key.s, "token", 5)) {
			if (found || !take_text(&text, &v, token, TOKEN_TEXT_MAX, &len))
				return false;
			found = true;
		} else if (!json_skip(&text, &v)) {
			return false;
		}
	}
	return rc == 0 && json_end(&text) && found;
}

/* The token stands behind the "#" of the link, and comes here in a body: no log has it. */
void login_share(struct live *l, struct http_req *req, const struct caller *who)
{
	const unsigned n = (unsigned)l->conf->live.login_attempts;
	char token[TOKEN_TEXT_MAX], key[200], opened[200], cookie[SESSION_COOKIE_LEN];
	struct caller caller = {.read_only = true};
	const struct user *u;
	int wait;

	(void)who;
	if (l->conf->live.auth == LT_LIVE_NONE) {
		reply_session(l, req, &nobody, NULL);
		return;
	}
	if (!is_json(http_header(&req->head, "content-type"))) {
		http_reply_error(req, 415, 0, "expected Content-Type: application/json");
		return;
	}
	if (!parse_token(req, token)) {
		http_reply_error(req, 400, 0, "expected {\"token\": ...}");
		return;
	}
	snprintf(key, sizeof(key), "share %s", req->peer);
	wait = limiter_wait_s(l->limiter, key, n * WIDER);
	if (wait) {
		sodium_memzero(token, sizeof(token));
		http_reply_error(req, 429, wait, "too many failed logins; try again in %d s", wait);
		return;
	}
	/* Each opening makes a session and writes the file of all: not without bound either. */
	snprintf(opened, sizeof(opened), "opened %s", req->peer);
	wait = limiter_wait_s(l->limiter, opened, n * WIDER_SHARE);
	if (wait) {
		sodium_memzero(token, sizeof(token));
		http_reply_error(
			req, 429, wait, "share links opened too often; try again in %d s", wait);
		return;
	}
	users_refresh(&l->users, true, NULL);
	u = users_token(&l->users, USER_SHARE, token);
	sodium_memzero(token, sizeof(token));
	if (!u || user_ended(u)) {
		limiter_failed(l->limiter, key);
		lt_log(LT_WARN, "share_refused", LT_S("link", u ? u->name : "(unknown)"),
			LT_S("from", req->peer));
		http_reply_error(req, 401, 0, "this link has expired or was taken back");
		return;
	}
	snprintf(req->user, sizeof(req->user), "%s", u->name);
	caller.user = req->user;
	caller.until_ms = u->until_ms;
	limiter_failed(l->limiter, opened);
	session_new(&l->sessions, u->name, u->hash, true, cookie);
	sessions_save(&l->sessions);
	lt_log(LT_INFO, "share_opened", LT_S("link", u->name), LT_S("from", req->peer));
	reply_session(l, req, &caller, cookie);
	sodium_memzero(cookie, sizeof(cookie));
}
