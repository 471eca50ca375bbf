/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_STATUS_H
#define LATIDO_STATUS_H

#include "latido/err.h"
#include "latido/mem.h"

/*
 * What an agent says of itself, retained on <prefix>/nodes/<source>/status: its birth, and its will.
 *
 *	{"state":"online","epoch":1763700000000000,"conn":1763700000000500,"run":"9f8e7d6c5b4a3928",
 *	"version":"0.1.0","interval_ms":1000}
 */

#define LT_STATUS_RUN_MAX 32

struct lt_status {
	bool online;
	uint64_t epoch;
	uint64_t conn;                   /* when this connection began, us; rises with each */
	char run[LT_STATUS_RUN_MAX + 1]; /* names the process; empty: it did not say */
};

/**
 * lt_status_parse() - members that are not named above are ignored
 * Return: LT_OK or LT_EDATA: not such an object. Plain "online" and "offline" are fine too.
 */
int lt_status_parse(
	struct lt_status *out, const void *text, size_t size, struct lt_err *err) LT_MUST_CHECK;

#endif
