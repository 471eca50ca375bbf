/* SPDX-License-Identifier: MIT */
#include "decode_json.h"

#include <string.h>

#include "latido/clock.h"

/* Numbers below this are seconds: 10^11 ms is March 1973, 10^11 s the year 5138. */
#define SECONDS_BELOW UINT64_C(100000000000)

static bool by_number(const char *s, size_t n, int64_t *out)
{
	uint64_t whole = 0;
	size_t i;
	double x, us;

	for (i = 0; i < n && i < 18 && s[i] >= '0' && s[i] <= '9'; i++)
		whole = whole * 10 + (uint64_t)(s[i] - '0');
	if (i == n)
		return !__builtin_mul_overflow(
			whole, whole < SECONDS_BELOW ? LT_NS_PER_S : LT_NS_PER_MS, out);
	if (!text_number(s, n, &x) || !(x >= 0))
		return false;
	/* With a fraction: to the microsecond, which a double still holds exactly. */
	us = x < (double)SECONDS_BELOW ? x * 1e6 : x * 1e3;
	if (us > (double)(INT64_MAX / LT_NS_PER_US - 1))
		return false;
	*out = (int64_t)(us + 0.5) * LT_NS_PER_US;
	return true;
}

int json_time(struct json_msg *m, const struct json_value *v, int64_t *out)
{
	char quoted[EVENT_QUOTE_LEN];
	const char *s = v->s;
	size_t n = v->len;
	double x;

	*out = 0;
	if (v->type == JSON_STRING)
		s = json_text(v, &m->s->text, &n);
	else if (v->type != JSON_NUMBER)
		return LT_OK;
	if (text_number(s, n, &x)) {
		if (by_number(s, n, out))
			return LT_OK;
	} else if (!lt_rfc3339_parse(s, n, out)) {
		*out = 0;
		return LT_OK;
	} else if (*out >= 0) {
		return LT_OK;
	}
	*out = 0;
	return decode_refuse(m->d, LT_REASON_TIME_RANGE, "event.json",
		"time %s: must lie between 1970 and 2262, as ms, s (below 10^11) or RFC 3339",
		event_quote(quoted, s, n));
}

bool json_hora(const char *s, size_t n, int64_t *out)
{
	char text[20];
	int64_t ns;

	if (n == 19) { /* without a zone: UTC */
		memcpy(text, s, 19);
		text[19] = 'Z';
		s = text;
		n = sizeof(text);
	}
	if (!lt_rfc3339_parse(s, n, &ns) || ns <= 0)
		return false;
	*out = ns;
	return true;
}
