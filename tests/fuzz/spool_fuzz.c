/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "latido/spool.h"

/* Any bytes as a segment file: whatever is found lies inside them, in rising order. */

struct check {
	const uint8_t *lo, *hi;
	uint64_t last_seq, n;
};

static void record(void *arg, uint64_t seq, int64_t time_ns, const void *data, size_t size,
	const void *context, size_t context_size)
{
	struct check *c = arg;
	const uint8_t *d = data, *x = context;

	(void)time_ns;
	if (seq <= c->last_seq || d < c->lo || size > (size_t)(c->hi - d))
		abort();
	if (context_size && (x < c->lo || context_size > (size_t)(c->hi - x)))
		abort();
	c->last_seq = seq;
	c->n++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct check c = {.lo = data, .hi = data + size};
	struct lt_spool_segment seg;

	lt_spool_check(data, size, &seg, record, &c);
	if (seg.records != c.n || seg.torn_bytes > size || strlen(seg.source) > 128)
		abort();
	return 0;
}
