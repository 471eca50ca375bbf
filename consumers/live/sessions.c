/* SPDX-License-Identifier: MIT */
#include "sessions.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "users.h"

static uint64_t next_id = 1;

static int64_t now_ms(void)
{
	return lt_wall_ns() / LT_NS_PER_MS;
}

static void digest_of(const char *cookie, unsigned char out[32])
{
	crypto_generichash(out, 32, (const unsigned char *)cookie, strlen(cookie), NULL, 0);
}

static void tag_of(const char *password_hash, char out[17])
{
	unsigned char digest[16];

	crypto_generichash(digest, sizeof(digest), (const unsigned char *)password_hash,
		strlen(password_hash), NULL, 0);
	sodium_bin2hex(out, 17, digest, 8);
}

/* A link is known to many: its sessions go before those of people who know a password. */
static bool goes_before(const struct session *a, const struct session *b)
{
	return a->share != b->share ? a->share : a->used_ms < b->used_ms;
}

static void drop(struct sessions *s, size_t i)
{
	s->list[i] = s->list[--s->n];
	s->dirty = true;
}

/* However often a link is opened, it has room for so many, at the cost of its own oldest. */
static void make_room_for_link(struct sessions *s, const char *link)
{
	size_t n = 0, oldest = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (!s->list[i].share || strcmp(s->list[i].user, link) != 0)
			continue;
		if (!n++ || goes_before(&s->list[i], &s->list[oldest]))
			oldest = i;
	}
	if (n >= SESSIONS_PER_LINK)
		drop(s, oldest);
}

static struct session *add(struct sessions *s)
{
	size_t first = 0;

	if (s->n == SESSIONS_MAX) {
		for (size_t i = 1; i < s->n; i++)
			if (goes_before(&s->list[i], &s->list[first]))
				first = i;
		drop(s, first);
	}
	if ((s->n & (s->n - 1)) == 0)
		s->list = lt_realloc(s->list, (s->n ? 2 * s->n : 1) * sizeof(*s->list));
	memset(&s->list[s->n], 0, sizeof(*s->list));
	s->list[s->n].id = next_id++;
	return &s->list[s->n++];
}

/* Share links have an end of their own. */
static bool unused(const struct sessions *s, const struct session *x, int64_t now)
{
	return !x->share && now - x->used_ms > s->expire_ms;
}

/* "DIGEST USER TAG MS", a line a session; " share" behind those of share links. */
static void load_line(struct sessions *s, const char *line)
{
	struct session x = {0}, *slot;
	char hex[65], kind[8] = "";
	size_t n;

	if (sscanf(line, "%64[0-9a-f] %64s %16[0-9a-f] %" SCNd64 " %7s", hex, x.user,
		    x.password_tag, &x.used_ms, kind) < 4 ||
		(*kind && strcmp(kind, "share") != 0) ||
		sodium_hex2bin(x.digest, 32, hex, strlen(hex), NULL, &n, NULL) || n != 32 ||
		!user_name_valid(x.user) || x.used_ms > now_ms() + 60000 ||
		(!*kind && now_ms() - x.used_ms > s->expire_ms))
		return;
	x.share = *kind != '\0';
	if (x.share)
		make_room_for_link(s, x.user);
	slot = add(s);
	x.id = slot->id;
	*slot = x;
}

void sessions_load(struct sessions *s, const char *path, int64_t expire_ms)
{
	char line[256];
	FILE *f;

	s->path = path;
	s->expire_ms = expire_ms;
	f = *path ? fopen(path, "re") : NULL;
	if (!f) {
		if (*path && errno != ENOENT)
			lt_log(LT_WARN, "sessions_unreadable", LT_S("file", path),
				LT_S("err", strerror(errno)));
		return;
	}
	while (fgets(line, sizeof(line), f) && s->n < SESSIONS_MAX)
		load_line(s, line);
	fclose(f);
}

static int write_file(const char *path, int how, const struct lt_buf *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | how, 0600);
	bool ok;

	if (fd < 0)
		return -1;
	ok = !text->len || write(fd, text->data, text->len) == (ssize_t)text->len;
	return close(fd) == 0 && ok ? 0 : -1;
}

static void put_line(struct lt_buf *text, const struct session *x)
{
	char hex[65];

	sodium_bin2hex(hex, sizeof(hex), x->digest, 32);
	lt_buf_printf(text, "%s %s %s %" PRId64 "%s\n", hex, x->user, x->password_tag, x->used_ms,
		x->share ? " share" : "");
}

/*
 * A line more in the file, which is what there is in memory but for this one: logging in costs the
 * same however many are. Where that cannot be, all is written anew.
 */
static void append(struct sessions *s, const struct session *x)
{
	struct lt_buf text = {0};

	if (!s->dirty && *s->path) {
		put_line(&text, x);
		s->dirty = write_file(s->path, O_APPEND, &text) < 0;
		lt_buf_fini(&text);
	}
}

void sessions_save(struct sessions *s)
{
	static struct lt_complaint trouble;
	struct lt_buf text = {0};
	char *temporary;

	if (!s->dirty || !*s->path)
		return;
	for (size_t i = 0; i < s->n; i++)
		put_line(&text, &s->list[i]);
	temporary = lt_asprintf("%s.new", s->path);
	/* While it fails the file may still name sessions that have ended: it is tried again. */
	s->dirty = write_file(temporary, O_CREAT | O_TRUNC, &text) < 0 ||
		   rename(temporary, s->path) < 0;
	if (s->dirty)
		lt_complain(&trouble, LT_WARN, "sessions_not_saved", LT_S("file", s->path),
			LT_S("err", strerror(errno)));
	else
		lt_release(&trouble, "sessions_saved");
	free(temporary);
	lt_buf_fini(&text);
}

void sessions_fini(struct sessions *s)
{
	free(s->list);
	s->list = NULL;
	s->n = 0;
}

struct session *session_new(struct sessions *s, const char *user, const char *password_hash,
	bool share, char cookie[SESSION_COOKIE_LEN])
{
	unsigned char secret[32];
	struct session *x;

	if (share)
		make_room_for_link(s, user);
	x = add(s);
	randombytes_buf(secret, sizeof(secret));
	sodium_bin2base64(cookie, SESSION_COOKIE_LEN, secret, sizeof(secret),
		sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	digest_of(cookie, x->digest);
	snprintf(x->user, sizeof(x->user), "%s", user);
	tag_of(password_hash, x->password_tag);
	x->used_ms = now_ms();
	x->share = share;
	append(s, x);
	return x;
}

struct session *session_find(struct sessions *s, const char *cookie)
{
	unsigned char digest[32];

	if (strlen(cookie) != SESSION_COOKIE_LEN - 1)
		return NULL;
	digest_of(cookie, digest);
	for (size_t i = 0; i < s->n; i++) {
		struct session *x = &s->list[i];

		if (sodium_memcmp(x->digest, digest, 32))
			continue;
		if (unused(s, x, now_ms()))
			return NULL;
		session_used(s, x);
		return x;
	}
	return NULL;
}

struct session *session_find_id(struct sessions *s, uint64_t id)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->list[i].id == id)
			return &s->list[i];
	return NULL;
}

void session_used(struct sessions *s, struct session *x)
{
	int64_t now = now_ms();

	if (now - x->used_ms <= 60000 && now >= x->used_ms)
		return;
	x->used_ms = now;
	s->dirty = true;
}

bool session_tag_matches(const struct session *s, const char *password_hash)
{
	char tag[17];

	tag_of(password_hash, tag);
	return !strcmp(tag, s->password_tag);
}

void session_end(struct sessions *s, struct session *x)
{
	*x = s->list[--s->n];
	s->dirty = true;
}

void sessions_expire(struct sessions *s, void (*ended)(void *arg, uint64_t id), void *arg)
{
	int64_t now = now_ms();

	for (size_t i = 0; i < s->n;) {
		if (unused(s, &s->list[i], now)) {
			ended(arg, s->list[i].id);
			session_end(s, &s->list[i]);
		} else {
			i++;
		}
	}
}

/* ---- attempts ---- */

#define LIMITER_KEYS 8192 /* a power of two */
#define LIMITER_WAYS 8

/* Failures leak away evenly: after the whole window none is left. */
struct limiter {
	int64_t window_ns;
	uint64_t seed;
	struct {
		uint64_t key; /* 0 = free */
		double count;
		int64_t at_ns;
	} slot[LIMITER_KEYS];
};

struct limiter *limiter_new(int64_t window_ms)
{
	struct limiter *l = lt_calloc(1, sizeof(*l));

	l->window_ns = window_ms * LT_NS_PER_MS;
	l->seed = lt_random_u64();
	return l;
}

void limiter_free(struct limiter *l)
{
	free(l);
}

static size_t slot_of(struct limiter *l, const char *key)
{
	uint64_t x = l->seed;
	size_t base, oldest;

	for (; *key; key++)
		x = (x ^ (unsigned char)*key) * UINT64_C(1099511628211);
	x |= 1;
	base = (size_t)(x >> 20) & (LIMITER_KEYS - 1) & ~(size_t)(LIMITER_WAYS - 1);
	oldest = base;
	for (size_t i = base; i < base + LIMITER_WAYS; i++) {
		if (l->slot[i].key == x)
			return i;
		if (l->slot[i].at_ns < l->slot[oldest].at_ns)
			oldest = i;
	}
	l->slot[oldest].key = x;
	l->slot[oldest].count = 0;
	l->slot[oldest].at_ns = lt_mono_ns();
	return oldest;
}

static void leak(struct limiter *l, size_t i, unsigned limit)
{
	int64_t now = lt_mono_ns();
	double gone = (double)(now - l->slot[i].at_ns) / (double)l->window_ns * limit;

	l->slot[i].count = l->slot[i].count > gone ? l->slot[i].count - gone : 0;
	l->slot[i].at_ns = now;
}

int limiter_wait_s(struct limiter *l, const char *key, unsigned limit)
{
	size_t i = slot_of(l, key);
	double over;

	leak(l, i, limit);
	over = l->slot[i].count - (limit - 1);
	if (over <= 0)
		return 0;
	return 1 + (int)(over / limit * (double)l->window_ns / 1e9);
}

void limiter_failed(struct limiter *l, const char *key)
{
	l->slot[slot_of(l, key)].count += 1;
}

void limiter_forget_one(struct limiter *l, const char *key)
{
	size_t i = slot_of(l, key);

	l->slot[i].count = l->slot[i].count > 1 ? l->slot[i].count - 1 : 0;
}
