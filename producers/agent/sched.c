/* SPDX-License-Identifier: MIT */
#include "sched.h"

#include "latido/clock.h"

/* Floor, also before 1970. */
static int64_t slot_of(const struct lt_sched *s, int64_t wall_ns)
{
	int64_t k = wall_ns / s->interval_ns;

	return wall_ns % s->interval_ns < 0 ? k - 1 : k;
}

void lt_sched_init(struct lt_sched *s, int64_t interval_ms)
{
	*s = (struct lt_sched){.interval_ns = interval_ms * LT_NS_PER_MS};
}

int64_t lt_sched_delay_ns(const struct lt_sched *s, int64_t wall_ns)
{
	return s->interval_ns - (wall_ns - slot_of(s, wall_ns) * s->interval_ns);
}

bool lt_sched_due(struct lt_sched *s, int64_t wall_ns, int64_t mono_ns)
{
	int64_t slot = slot_of(s, wall_ns);
	int64_t elapsed_ns = mono_ns - s->mono_ns;
	int64_t set_ns = (wall_ns - s->wall_ns) - elapsed_ns;
	int64_t passed;

	if (s->started) {
		bool jumped = set_ns > s->interval_ns / 2 || set_ns < -s->interval_ns / 2;

		if (slot == s->slot)
			return false;
		/* Set back by a little, into a slot that had its tick: wait for the next new one. */
		if (slot < s->slot && !jumped)
			return false;
		passed = jumped ? (elapsed_ns + s->interval_ns / 2) / s->interval_ns
				: slot - s->slot;
		s->jumps += jumped;
		if (passed > 1)
			s->missed += (uint64_t)(passed - 1);
	}
	s->started = true;
	s->slot = slot;
	s->wall_ns = wall_ns;
	s->mono_ns = mono_ns;
	return true;
}
