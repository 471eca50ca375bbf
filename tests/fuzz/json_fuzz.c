/* SPDX-License-Identifier: MIT */
#include "event_check.h"

/*
 * The first byte chooses the topic (a node's, a device's, that of one metric), the rest is the
 * payload: refused with a reason, or events that survive both encodings.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct lt_origin origins[] = {
		{.arrived_ns = 1},
		{.source = "a", .arrived_ns = 1},
		{.source = "a", .arrived_ns = 1, .device = true},
		{.source = "a", .metric = "m", .arrived_ns = 1, .device = true},
	};
	static struct lt_shapes *t;

	if (!t)
		t = lt_shapes_new(FUZZ_TABLE_BYTES, FUZZ_MAX_SERIES);
	if (size)
		fuzz_message(t, &origins[data[0] % LT_ARRAY_LEN(origins)], data + 1, size - 1);
	return 0;
}
