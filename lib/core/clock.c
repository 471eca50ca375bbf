/* SPDX-License-Identifier: MIT */
#include "latido/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "latido/mem.h"

static _Atomic bool fake;
static _Atomic int64_t fake_mono_ns, fake_wall_ns;

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * LT_NS_PER_S + ts.tv_nsec;
}

int64_t lt_mono_ns(void)
{
	return fake ? fake_mono_ns : read_clock(CLOCK_MONOTONIC);
}

int64_t lt_wall_ns(void)
{
	return fake ? fake_wall_ns : read_clock(CLOCK_REALTIME);
}

void lt_clock_fake(bool on, int64_t mono_ns, int64_t wall_ns)
{
	fake_mono_ns = mono_ns;
	fake_wall_ns = wall_ns;
	fake = on;
}

/* Days since 1970-01-01 of a proleptic Gregorian date (H. Hinnant, "chrono-compatible low-level
 * date algorithms"), and back. */
static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	unsigned yoe = (unsigned)(y - era * 400);
	unsigned doy = (153 * (m + (m > 2 ? -3U : 9U)) + 2) / 5 + d - 1;
	unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + (int64_t)doe - 719468;
}

static void civil_from_days(int64_t z, int64_t *y, unsigned *m, unsigned *d)
{
	z += 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;

	*d = doy - (153 * mp + 2) / 5 + 1;
	*m = mp < 10 ? mp + 3 : mp - 9;
	*y = (int64_t)yoe + era * 400 + (*m <= 2);
}

void lt_rfc3339_format(int64_t wall_ns, int digits, char out[LT_RFC3339_LEN])
{
	int64_t s = wall_ns / LT_NS_PER_S, ns = wall_ns % LT_NS_PER_S;
	int64_t days, rest, y;
	unsigned m, d;
	int n;

	if (ns < 0) {
		ns += LT_NS_PER_S;
		s--;
	}
	days = s / 86400;
	rest = s % 86400;
	if (rest < 0) {
		rest += 86400;
		days--;
	}
	civil_from_days(days, &y, &m, &d);
	n = snprintf(out, LT_RFC3339_LEN, "%04d-%02u-%02uT%02d:%02d:%02d", (int)y, m, d,
		(int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
	if (digits > 0 && digits <= 9) {
		for (int i = 9; i > digits; i--)
			ns /= 10;
		n += snprintf(
			out + n, LT_RFC3339_LEN - (size_t)n, ".%0*lld", digits, (long long)ns);
	}
	snprintf(out + n, LT_RFC3339_LEN - (size_t)n, "Z");
}

/* Reads exactly n digits; -1 when there are none. */
static int digits(const char *s, int n)
{
	int v = 0;

	for (int i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		v = v * 10 + (s[i] - '0');
	}
	return v;
}

bool lt_rfc3339_parse(const char *s, size_t n, int64_t *wall_ns)
{
	static const unsigned char month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t ns = 0, scale = LT_NS_PER_S / 10, total_s, total_ns, offset_s = 0;
	size_t i = 19;

	if (n < 20 || s[4] != '-' || s[7] != '-' || s[13] != ':' || s[16] != ':' ||
		(s[10] != 'T' && s[10] != 't' && s[10] != ' '))
		return false;
	int y = digits(s, 4), mo = digits(s + 5, 2), d = digits(s + 8, 2);
	int h = digits(s + 11, 2), mi = digits(s + 14, 2), sec = digits(s + 17, 2);

	if (y < 0 || mo < 1 || mo > 12 || d < 1 || d > month_days[mo - 1] || h < 0 || h > 23 ||
		mi < 0 || mi > 59 || sec < 0 || sec > 60)
		return false;
	if (mo == 2 && d == 29 && (y % 4 != 0 || (y % 100 == 0 && y % 400 != 0)))
		return false;
	if (s[i] == '.') {
		size_t start = ++i;

		for (; i < n && s[i] >= '0' && s[i] <= '9'; i++) {
			ns += (s[i] - '0') * scale;
			scale /= 10;
		}
		if (i == start)
			return false;
	}
	if (i >= n)
		return false;
	if (s[i] == 'Z' || s[i] == 'z') {
		i++;
	} else if (s[i] == '+' || s[i] == '-') {
		if (n - i != 6 || s[i + 3] != ':')
			return false;
		int oh = digits(s + i + 1, 2), om = digits(s + i + 4, 2);

		if (oh < 0 || oh > 23 || om < 0 || om > 59)
			return false;
		offset_s = (oh * 3600 + om * 60) * (s[i] == '-' ? -1 : 1);
		i += 6;
	}
	if (i != n)
		return false;
	total_s = days_from_civil(y, (unsigned)mo, (unsigned)d) * 86400 + h * 3600 + mi * 60 + sec -
		  offset_s;
	/* Nanoseconds since 1970 fit int64 from 1677 to 2262. */
	if (__builtin_mul_overflow(total_s, LT_NS_PER_S, &total_ns) ||
		__builtin_add_overflow(total_ns, ns, &total_ns))
		return false;
	*wall_ns = total_ns;
	return true;
}

/* ---- backoff ---- */

void lt_backoff_init(struct lt_backoff *b, int64_t base_ms, int64_t cap_ms)
{
	*b = (struct lt_backoff){.base_ms = base_ms < 1 ? 1 : base_ms, .cap_ms = cap_ms};
	if (b->cap_ms < b->base_ms)
		b->cap_ms = b->base_ms;
	b->rng = lt_random_u64();
}

int64_t lt_backoff_next_ms(struct lt_backoff *b)
{
	int64_t top = b->cap_ms, low = b->base_ms / 2;

	if (b->tries < 40 && (b->base_ms << b->tries) >> b->tries == b->base_ms &&
		b->base_ms << b->tries < b->cap_ms)
		top = b->base_ms << b->tries;
	b->tries++;
	/* xorshift64*: jitter needs no more. */
	b->rng ^= b->rng >> 12;
	b->rng ^= b->rng << 25;
	b->rng ^= b->rng >> 27;
	return low + (int64_t)(b->rng * UINT64_C(2685821657736338717) >> 11) % (top - low + 1);
}

void lt_backoff_reset(struct lt_backoff *b)
{
	b->tries = 0;
}
