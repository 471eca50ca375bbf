/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CLOCK_H
#define LATIDO_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LT_NS_PER_S  INT64_C(1000000000)
#define LT_NS_PER_MS INT64_C(1000000)
#define LT_NS_PER_US INT64_C(1000)

/** lt_mono_ns() - CLOCK_MONOTONIC; for distances and deadlines only. */
int64_t lt_mono_ns(void);
/** lt_wall_ns() - CLOCK_REALTIME, UTC, since 1970. */
int64_t lt_wall_ns(void);
/** lt_clock_fake() - tests: both clocks return these until called with on = false. */
void lt_clock_fake(bool on, int64_t mono_ns, int64_t wall_ns);

#define LT_RFC3339_LEN 31
/**
 * lt_rfc3339_format() - "2026-11-21T05:00:00.250Z"
 * @digits: fraction digits, 0 to 9. @out: at least LT_RFC3339_LEN bytes.
 */
void lt_rfc3339_format(int64_t wall_ns, int digits, char out[LT_RFC3339_LEN]);
/** lt_rfc3339_parse() - any offset, fraction up to ns. Return: false when @s is not one
 * (then *@wall_ns is untouched). */
bool lt_rfc3339_parse(const char *s, size_t n, int64_t *wall_ns);

/**
 * struct lt_backoff - capped exponential delay with full jitter
 *
 * Delays are uniform in [base/2, cap_of_this_try]; never below base/2 so that a dead server is not
 * hammered. See "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
 */
struct lt_backoff {
	int64_t base_ms;
	int64_t cap_ms;
	unsigned tries;
	uint64_t rng;
};

void lt_backoff_init(struct lt_backoff *b, int64_t base_ms, int64_t cap_ms);
/** lt_backoff_next_ms() - the delay before the next try. */
int64_t lt_backoff_next_ms(struct lt_backoff *b);
void lt_backoff_reset(struct lt_backoff *b);

#endif
