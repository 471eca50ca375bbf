/* SPDX-License-Identifier: MIT */
#include "lag.h"

#include <string.h>

#include "latido/clock.h"

#define KEEP_MIN_NS (15 * LT_NS_PER_S)

void lt_lag_init(struct lt_lag *l, int64_t interval_ms, bool all_come)
{
	memset(l, 0, sizeof(*l));
	l->all_come = all_come;
	l->keep_ns = 2 * interval_ms * LT_NS_PER_MS;
	if (l->keep_ns < KEEP_MIN_NS)
		l->keep_ns = KEEP_MIN_NS;
}

void lt_lag_sent(struct lt_lag *l, int64_t time_ns)
{
	/* Of a long row the oldest counts: every second one will do. */
	if (l->n_sent == LT_LAG_SENT_MAX) {
		l->n_sent /= 2;
		for (size_t i = 1; i < l->n_sent; i++)
			l->sent_ns[i] = l->sent_ns[2 * i];
	}
	l->sent_ns[l->n_sent++] = time_ns;
}

bool lt_lag_came(struct lt_lag *l, int64_t time_ns)
{
	for (size_t i = 0; i < l->n_sent; i++) {
		if (l->sent_ns[i] != time_ns)
			continue;
		l->n_sent -= i + 1;
		memmove(l->sent_ns, l->sent_ns + i + 1, l->n_sent * sizeof(*l->sent_ns));
		return true;
	}
	return false;
}

void lt_lag_lost(struct lt_lag *l)
{
	l->n_sent = 0;
}

void lt_lag_done(struct lt_lag *l, int64_t since_ns, int64_t now_ns, int64_t mono_ns)
{
	if (!since_ns)
		return;
	l->last_ns = now_ns > since_ns ? now_ns - since_ns : 0;
	l->last_mono_ns = mono_ns;
}

int64_t lt_lag_ns(const struct lt_lag *l, int64_t since_ns, int64_t now_ns, int64_t mono_ns)
{
	int64_t lag = 0;

	if (l->last_mono_ns && mono_ns - l->last_mono_ns < l->keep_ns)
		lag = l->last_ns;
	if (l->all_come && l->n_sent && (!since_ns || l->sent_ns[0] < since_ns))
		since_ns = l->sent_ns[0];
	if (since_ns && now_ns - since_ns > lag)
		lag = now_ns - since_ns;
	return lag;
}
