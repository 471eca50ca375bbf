/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LOG_H
#define LATIDO_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "latido/err.h"

/**
 * Logs go to stderr, one event a line, one write(2) a line, from any thread:
 *
 *	ts=2026-11-21T05:00:00.250Z level=warn comp=store id=pg_reconnect try=3 err="..."
 *
 * error: data at risk or a human needed. warn: degraded, retrying. info: life cycle.
 * debug: per batch. Nothing per event above debug. Under systemd each line carries a <N> priority.
 */
enum lt_log_level { LT_ERROR = 0, LT_WARN, LT_INFO, LT_DEBUG };
enum lt_log_format { LT_LOG_LOGFMT = 0, LT_LOG_JSON };

struct lt_kv {
	const char *key;
	enum { LT_KV_END = 0, LT_KV_STR, LT_KV_I64, LT_KV_U64, LT_KV_F64 } type;
	union {
		const char *s;
		int64_t i;
		uint64_t u;
		double f;
	} v;
};

#define LT_S(k, x)  ((struct lt_kv){.key = (k), .type = LT_KV_STR, .v.s = (x)})
#define LT_I(k, x)  ((struct lt_kv){.key = (k), .type = LT_KV_I64, .v.i = (int64_t)(x)})
#define LT_U(k, x)  ((struct lt_kv){.key = (k), .type = LT_KV_U64, .v.u = (uint64_t)(x)})
#define LT_F(k, x)  ((struct lt_kv){.key = (k), .type = LT_KV_F64, .v.f = (x)})
#define LT_KVS(...) ((const struct lt_kv[]){__VA_ARGS__ __VA_OPT__(, ){NULL, LT_KV_END, {NULL}}})

/**
 * lt_log() - write one line
 * @id: constant that names the event, stable across releases ("pg_reconnect").
 * ...: LT_S(), LT_I(), LT_U(), LT_F() pairs, or nothing.
 */
#define lt_log(level, id, ...)                                     \
	do {                                                       \
		if (lt_log_enabled(level))                         \
			lt_log_kv(level, id, LT_KVS(__VA_ARGS__)); \
	} while (0)

void lt_log_kv(enum lt_log_level level, const char *id, const struct lt_kv *kv);
bool lt_log_enabled(enum lt_log_level level);

/** lt_log_setup() - before threads start. @comp: static; appears as comp=. */
void lt_log_setup(const char *comp, enum lt_log_level level, enum lt_log_format format);
void lt_log_set_level(enum lt_log_level level);

/**
 * struct lt_complaint - state of a message that can repeat; static or embedded, zero-initialised
 *
 * lt_complain() logs the first time, then at most once a minute with the number of repeats;
 * lt_release() logs the recovery once, if anything was complained about. What comes and goes is
 * damped too: of troubles that begin within one minute the first few are logged with their
 * recoveries, the others are counted and appear as "repeated" in the next line. Each complaint
 * belongs to one thread.
 */
struct lt_complaint {
	bool active;
	bool shown;        /* a line was logged since it became active */
	uint64_t count;    /* since it became active */
	uint64_t unlogged; /* since the last line */
	int64_t last_ns;   /* the last line */
	int64_t minute_ns; /* when the first of ... */
	unsigned begins;   /* ... so many troubles was logged */
};

#define lt_complain(c, level, id, ...) lt_complain_kv(c, level, id, LT_KVS(__VA_ARGS__))
#define lt_release(c, id, ...)         lt_release_kv(c, id, LT_KVS(__VA_ARGS__))
void lt_complain_kv(
	struct lt_complaint *c, enum lt_log_level level, const char *id, const struct lt_kv *kv);
void lt_release_kv(struct lt_complaint *c, const char *id, const struct lt_kv *kv);

#endif
