// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "ring.h"

void lt_ring_init(struct lt_ring *r, unsigned int n_cpus, unsigned int n_slots, uint64_t *time_ns,
	struct lt_cpu_sample *samples)
{
	memset(r, 0, sizeof(*r));
	r->n_cpus = n_cpus;
	r->n_slots = n_slots;
	r->time_ns = time_ns;
	r->samples = samples;
}

static struct lt_cpu_sample *slot(const struct lt_ring *r, unsigned int i)
{
	return r->samples + (size_t)i * r->n_cpus;
}

struct lt_cpu_sample *lt_ring_next(struct lt_ring *r, uint64_t time_ns)
{
	if (r->used)
		r->newest = (r->newest + 1) % r->n_slots;
	if (r->used < r->n_slots)
		r->used++;
	r->time_ns[r->newest] = time_ns;
	memset(slot(r, r->newest), 0, r->n_cpus * sizeof(struct lt_cpu_sample));
	return slot(r, r->newest);
}

bool lt_ring_window(
	const struct lt_ring *r, uint64_t window_ns, uint64_t slack_ns, struct lt_ring_window *w)
{
	unsigned int age;

	w->newer = w->older = r->newest;
	w->ns = 0;
	for (age = 1; age < r->used; age++) {
		w->older = (r->newest + r->n_slots - age) % r->n_slots;
		w->ns = r->time_ns[w->newer] - r->time_ns[w->older];
		if (w->ns + slack_ns >= window_ns)
			return true;
	}
	return false;
}

static uint64_t grown(uint64_t from, uint64_t to)
{
	return to > from ? to - from : 0;
}

uint32_t lt_ring_usage(const struct lt_ring *r, const struct lt_ring_window *w, unsigned int cpu)
{
	unsigned int i = cpu < r->n_cpus ? cpu : 0, end = cpu < r->n_cpus ? cpu + 1 : r->n_cpus;
	const struct lt_cpu_sample *a = slot(r, w->older), *b = slot(r, w->newer);
	uint64_t busy = 0, total = 0;

	for (; i < end; i++) {
		uint64_t part;

		if (!(a[i].busy_ns | a[i].idle_ns) || !(b[i].busy_ns | b[i].idle_ns))
			continue;
		part = grown(a[i].busy_ns, b[i].busy_ns);
		busy += part;
		total += part + grown(a[i].idle_ns, b[i].idle_ns);
	}
	while (total >> 50) { /* busy * 10000 fits */
		total >>= 1;
		busy >>= 1;
	}
	return total ? (uint32_t)div64_u64(busy * 10000 + total / 2, total) : 0;
}
