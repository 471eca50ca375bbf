/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "hub.h"

/* The last five minutes of each row in steps: newest value of each step, and how many events came. */

void hub_spark_init(struct hub_source *s)
{
	for (size_t c = 0; c < COLS; c++)
		for (size_t i = 0; i < SPARK_POINTS; i++)
			s->spark[c][i] = NAN;
}

static void clear(struct hub_source *s, size_t i)
{
	for (size_t c = 0; c < COLS; c++)
		s->spark[c][i] = NAN;
	s->beats[i] = 0;
}

void hub_spark_add(struct hub_source *s, int64_t time_ms)
{
	int64_t slot = time_ms / SPARK_STEP_MS;
	size_t i = (size_t)(slot % SPARK_POINTS);

	if (slot <= 0 || slot <= s->spark_slot - SPARK_POINTS)
		return;
	if (!s->spark_first || slot < s->spark_first)
		s->spark_first = slot;
	if (slot - s->spark_slot >= SPARK_POINTS) {
		hub_spark_init(s);
		for (size_t k = 0; k < SPARK_POINTS; k++)
			s->beats[k] = 0;
		s->spark_slot = slot;
	}
	while (s->spark_slot < slot)
		clear(s, (size_t)(++s->spark_slot % SPARK_POINTS));
	for (size_t c = 0; c < COLS; c++)
		if (!isnan(s->values[c]))
			s->spark[c][i] = (float)s->values[c];
	if (s->beats[i] < UINT16_MAX)
		s->beats[i]++;
}
