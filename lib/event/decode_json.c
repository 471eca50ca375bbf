/* SPDX-License-Identifier: MIT */
#include "event_int.h"

int decode_json(struct decode *d, const char *p, size_t size)
{
	(void)p;
	return decode_refuse(
		d, LT_REASON_DECODE, "event.json", "%zu bytes that are no protobuf", size);
}
