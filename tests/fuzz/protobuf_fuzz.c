/* SPDX-License-Identifier: MIT */
#include "event_check.h"

/*
 * Any bytes as a protobuf event, once with a source from the topic (a device's) and once without:
 * refused with a reason, or an event that survives both encodings.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct lt_origin node = {
		.arrived_ns = 1, .content_type = "application/x-protobuf"};
	static const struct lt_origin device = {.source = "a", .device = true, .arrived_ns = 1};
	static struct lt_shapes *t;
	struct lt_origin any = node;

	if (!t)
		t = lt_shapes_new(FUZZ_TABLE_BYTES, FUZZ_MAX_SERIES);
	fuzz_message(t, &device, data, size);
	if (size) {
		/* the encodings that are made of it come without a content type's help */
		any.content_type = NULL;
		if (data[0] == 0x0a)
			fuzz_message(t, &any, data, size);
	}
	return 0;
}
