/* SPDX-License-Identifier: MIT */
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "json_read.h"

/* Longer than any double that was printed on purpose: denormals have up to 767 digits. */
#define NUMBER_MAX 800

static locale_t c_locale;

static void make_locale(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* What the short way cannot do exactly. @n characters are known to be a number. */
static bool by_strtod(const char *s, size_t n, double *out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	char text[NUMBER_MAX + 1];

	if (n > NUMBER_MAX)
		return false;
	pthread_once(&once, make_locale);
	memcpy(text, s, n);
	text[n] = '\0';
	*out = c_locale ? strtod_l(text, NULL, c_locale) : strtod(text, NULL);
	return isfinite(*out);
}

static bool special(const char *s, size_t n, bool negative, double *out)
{
	if (n == 3 && strncasecmp(s, "nan", 3) == 0)
		*out = NAN;
	else if (n == 3 && strncasecmp(s, "inf", 3) == 0)
		*out = negative ? -INFINITY : INFINITY;
	else
		return false;
	return true;
}

bool text_number(const char *s, size_t n, double *out)
{
	/* 10^22 is the largest power of ten that a double holds exactly */
	static const double power[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
		1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
	const char *p = s, *end = s + n;
	bool negative = false, point = false, exact = true, exp_negative = false;
	uint64_t mantissa = 0;
	long scale = 0, exponent = 0;
	size_t n_digits = 0;

	if (p < end && (*p == '-' || *p == '+'))
		negative = *p++ == '-';
	if (p < end && (*p | 32) >= 'a')
		return special(p, (size_t)(end - p), negative, out);
	for (; p < end; p++) {
		if (*p == '.') {
			if (point)
				return false;
			point = true;
		} else if (*p >= '0' && *p <= '9') {
			n_digits++;
			scale -= point;
			if (mantissa < (UINT64_C(1) << 53) / 10)
				mantissa = mantissa * 10 + (uint64_t)(*p - '0');
			else
				exact = false;
		} else {
			break;
		}
	}
	if (n_digits == 0)
		return false;
	if (p < end && (*p | 32) == 'e') {
		const char *digits;

		p++;
		if (p < end && (*p == '-' || *p == '+'))
			exp_negative = *p++ == '-';
		for (digits = p; p < end && *p >= '0' && *p <= '9'; p++)
			if (exponent < 100000)
				exponent = exponent * 10 + (*p - '0');
		if (p == digits)
			return false;
	}
	if (p != end)
		return false;
	scale += exp_negative ? -exponent : exponent;
	if (exact && mantissa == 0) {
		*out = negative ? -0.0 : 0.0;
		return true;
	}
	/* Both factors exact, so one rounding: the nearest double (Clinger 1990). */
	if (exact && scale >= -22 && scale <= 22) {
		double v = (double)mantissa;

		v = scale < 0 ? v / power[-scale] : v * power[scale];
		*out = negative ? -v : v;
		return true;
	}
	return by_strtod(s, n, out);
}
