/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ACK_H
#define LATIDO_ACK_H

#include "latido/err.h"
#include "latido/mem.h"
#include "latido/ranges.h"

/*
 * What the store (or the bridge) has of one epoch of a source, retained on
 * <prefix>/nodes/<source>/ack:
 *
 *	{"epoch":1763700000000000,"have":[[1,500],[520,530]],"need_shape":["9f8e7d6c5b4a3928"]}
 *
 * have starts with [1, upto] (left out while that is empty), then islands, ascending. A hole between
 * two ranges is a request to send that again.
 *
 * need_shape may also come alone, not retained: the next event is to carry its names and labels.
 */

#define LT_ACK_RANGES_MAX 32
#define LT_ACK_BYTES_MAX  65536

struct lt_ack {
	uint64_t epoch;
	struct lt_range have[LT_ACK_RANGES_MAX];
	size_t n;
	bool need_shape; /* somebody does not know a shape that was announced */
};

/**
 * lt_ack_parse() - unknown members are ignored
 * Return: LT_OK or LT_EDATA: not an acknowledgement, ranges that are not ascending or too many.
 */
int lt_ack_parse(
	struct lt_ack *out, const void *text, size_t size, struct lt_err *err) LT_MUST_CHECK;
void lt_ack_format(const struct lt_ack *a, struct lt_buf *out);
/** lt_ack_format_need() - the request for a shape that was announced as @hash, alone. */
void lt_ack_format_need(uint64_t hash, struct lt_buf *out);

#endif
